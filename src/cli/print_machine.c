/* print_machine.c - a machine and a model for people. */
#include "print.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void print_machine_origin(const struct dgo_machine *machine)
{
    char origin[DGO_ORIGIN_TEXT_MAX];

    if (dgo_origin_text(&machine->origin, origin)[0])
        printf("%s: these GPUs come from a %s\n", origin,
               strcmp(machine->source, "recording") == 0 ? "recording" : "machine file");
}

/* A reading for a table, or "?" where it is unknown: unknown is not zero. */
static const char *bytes_cell(const struct dgo_gpu *gpu, enum dgo_gpu_field field, uint64_t bytes,
                              char text[DGO_UNIT_TEXT_MAX])
{
    if (!dgo_gpu_knows(gpu, field))
        return "?";
    return dgo_bytes_text(bytes, text);
}

static void link_cell(const struct dgo_gpu *gpu, char *text, size_t size)
{
    const bool now = dgo_gpu_knows(gpu, DGO_GPU_PCIE_GEN) && dgo_gpu_knows(gpu, DGO_GPU_PCIE_WIDTH);
    const bool most =
        dgo_gpu_knows(gpu, DGO_GPU_PCIE_GEN_MAX) && dgo_gpu_knows(gpu, DGO_GPU_PCIE_WIDTH_MAX);

    if (now && most &&
        (gpu->pcie_gen != gpu->pcie_gen_max || gpu->pcie_width != gpu->pcie_width_max))
        snprintf(text, size, "gen%" PRIu32 " x%" PRIu32 " of gen%" PRIu32 " x%" PRIu32,
                 gpu->pcie_gen, gpu->pcie_width, gpu->pcie_gen_max, gpu->pcie_width_max);
    else if (now)
        snprintf(text, size, "gen%" PRIu32 " x%" PRIu32, gpu->pcie_gen, gpu->pcie_width);
    else
        snprintf(text, size, "?");
}

/* Where the machine has several: which cards share one. */
static void print_nodes(const struct dgo_machine *machine)
{
    bool begun = false;

    for (uint32_t i = 0; i < machine->gpu_count; i++)
        if (dgo_gpu_knows(&machine->gpu[i], DGO_GPU_NUMA_NODE)) {
            printf("%s GPU %" PRIu32 " node %" PRIu32, begun ? "," : "NUMA:", i,
                   machine->gpu[i].numa_node);
            begun = true;
        }
    if (begun)
        putchar('\n');
}

static void print_gpu_table(const struct dgo_machine *machine)
{
    struct table *table = table_new();

    table_column(table, "gpu", true);
    table_column(table, "card", false);
    table_column(table, "total", true);
    table_column(table, "reserved", true);
    table_column(table, "used", true);
    table_column(table, "free", true);
    table_column(table, "bandwidth", true);
    table_column(table, "PCIe", false);
    table_column(table, "PCI id", false);
    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        const struct dgo_gpu *gpu = &machine->gpu[i];
        char text[DGO_UNIT_TEXT_MAX], link[48];

        table_cell(table, "%" PRIu32, i);
        table_cell(table, "%s", gpu->name[0] ? gpu->name : "?");
        table_cell(table, "%s", bytes_cell(gpu, DGO_GPU_TOTAL_BYTES, gpu->total_bytes, text));
        table_cell(table, "%s", bytes_cell(gpu, DGO_GPU_RESERVED_BYTES, gpu->reserved_bytes, text));
        table_cell(table, "%s", bytes_cell(gpu, DGO_GPU_USED_BYTES, gpu->used_bytes, text));
        table_cell(table, "%s", bytes_cell(gpu, DGO_GPU_FREE_BYTES, gpu->free_bytes, text));
        table_cell(table, "%s",
                   dgo_gpu_knows(gpu, DGO_GPU_BANDWIDTH_BYTES_PER_S)
                       ? dgo_rate_text(gpu->bandwidth_bytes_per_s, text)
                       : "?");
        link_cell(gpu, link, sizeof link);
        table_cell(table, "%s", link);
        table_cell(table, "%s", gpu->pci_id[0] ? gpu->pci_id : "?");
    }
    table_print(table);
    print_nodes(machine);
    for (uint32_t i = 0; i < machine->gpu_count; i++)
        if (machine->gpu[i].problem[0])
            printf("gpu %" PRIu32 ": %s\n", i, machine->gpu[i].problem);
}

static void consumer_row(struct table *table, uint32_t gpu, const struct dgo_gpu_process *process)
{
    char text[DGO_UNIT_TEXT_MAX];

    table_cell(table, "%" PRIu32, gpu);
    table_cell(table, "%s", process->used_known ? dgo_bytes_text(process->used_bytes, text) : "?");
    table_cell(table, "%" PRIu32, process->pid);
    table_cell(table, "%s", process->name[0] ? process->name : "?");
    table_cell(table, "%s", dgo_process_role_name(process->role));
    table_cell(table, "%s%s%s", process->compute ? "compute" : "",
               process->compute && process->graphics ? "+" : "",
               process->graphics ? "graphics" : "");
    table_cell(table, "%s", process->owner);
    table_cell(table, "%.44s", process->container[0] ? process->container : process->command);
}

/* Memory that no process is named for. */
static void sum_row(struct table *table, uint32_t gpu, const char *what, uint64_t bytes)
{
    char text[DGO_UNIT_TEXT_MAX];

    table_cell(table, "%" PRIu32, gpu);
    table_cell(table, "%s", dgo_bytes_text(bytes, text));
    table_cell(table, "%s", "");
    table_cell(table, "%s", what);
    for (int i = 0; i < 4; i++)
        table_cell(table, "%s", "");
}

/* What a card's memory went to, the greatest first; with what no process owns up to and what the
 * driver keeps for itself, the rows add up to all that is not free. */
static void consumer_rows(struct table *table, const struct dgo_gpu *gpu, uint32_t index)
{
    uint64_t listed = 0;

    for (uint32_t p = 0; p < gpu->process_count; p++) {
        consumer_row(table, index, &gpu->process[p]);
        listed += gpu->process[p].used_bytes;
    }
    if (gpu->process_more && gpu->process_sum_known)
        sum_row(table, index, "further processes", gpu->process_sum_bytes - listed);
    if (dgo_gpu_knows(gpu, DGO_GPU_UNATTRIBUTED_BYTES) && gpu->unattributed_bytes)
        sum_row(table, index, "unattributed", gpu->unattributed_bytes);
    if (dgo_gpu_knows(gpu, DGO_GPU_RESERVED_BYTES) && gpu->reserved_bytes)
        sum_row(table, index, "driver reserved", gpu->reserved_bytes);
}

static void print_consumers(const struct dgo_machine *machine)
{
    static const struct {
        const char *title;
        bool right;
    } columns[] = {
        {"gpu", true},   {"used", true},  {"pid", true},    {"process", false},
        {"role", false}, {"kind", false}, {"owner", false}, {"container or command", false}};
    struct table *table;
    uint32_t count = 0;

    for (uint32_t i = 0; i < machine->gpu_count; i++)
        count += machine->gpu[i].process_count;
    if (count == 0)
        return;
    printf("\n");
    table = table_new();
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        table_column(table, columns[i].title, columns[i].right);
    for (uint32_t i = 0; i < machine->gpu_count; i++)
        consumer_rows(table, &machine->gpu[i], i);
    table_print(table);
    for (uint32_t i = 0; i < machine->gpu_count; i++)
        if (machine->gpu[i].process_more)
            printf("gpu %" PRIu32 ": %" PRIu32 " more processes\n", i,
                   machine->gpu[i].process_more);
}

/* What a person must know about a card beside its memory. */
static void print_health(const struct dgo_gpu *gpu, uint32_t index)
{
    if (dgo_gpu_knows(gpu, DGO_GPU_XID_COUNT) && gpu->xid_count)
        printf("gpu %" PRIu32 ": %" PRIu64 " driver errors since the start, the last Xid %" PRIu32
               "\n",
               index, gpu->xid_count, gpu->xid_last);
    if (dgo_gpu_knows(gpu, DGO_GPU_ECC_UNCORRECTED) && gpu->ecc_uncorrected)
        printf("gpu %" PRIu32 ": %" PRIu64 " memory errors that could not be corrected\n", index,
               gpu->ecc_uncorrected);
    if (dgo_gpu_knows(gpu, DGO_GPU_REMAP_PENDING) && gpu->remap_pending)
        printf("gpu %" PRIu32 ": bad memory is to be replaced at the next reset\n", index);
    if (dgo_gpu_knows(gpu, DGO_GPU_REMAP_FAILED) && gpu->remap_failed)
        printf("gpu %" PRIu32 ": bad memory could not be replaced\n", index);
    if (dgo_gpu_knows(gpu, DGO_GPU_RECOVERY_ACTION) && gpu->recovery_action)
        printf("gpu %" PRIu32 ": the driver asks for: %s\n", index,
               dgo_recovery_name(gpu->recovery_action));
    for (uint32_t i = 0; i < gpu->slice_count; i++) {
        const struct dgo_gpu_slice *slice = &gpu->slice[i];
        char used[DGO_UNIT_TEXT_MAX], total[DGO_UNIT_TEXT_MAX];

        printf("gpu %" PRIu32 ", slice %" PRIu32 ": %s, %s of %s used\n", index, i, slice->name,
               slice->memory_known ? dgo_bytes_text(slice->used_bytes, used) : "?",
               slice->memory_known ? dgo_bytes_text(slice->total_bytes, total) : "?");
    }
}

static void print_links(const struct dgo_machine *machine)
{
    for (uint32_t a = 0; a < machine->gpu_count; a++)
        for (uint32_t b = a + 1; b < machine->gpu_count; b++) {
            const struct dgo_link *link = &machine->link[a][b];
            char text[DGO_UNIT_TEXT_MAX];

            if (link->kind == DGO_LINK_UNKNOWN && !link->p2p_known)
                continue;
            printf("link %" PRIu32 "-%" PRIu32 ": %s%s", a, b, dgo_link_kind_name(link->kind),
                   !link->p2p_known ? ""
                   : link->p2p      ? ", peer to peer"
                                    : ", no peer to peer");
            if (link->bandwidth_bytes_per_s > 0)
                printf(", %s", dgo_rate_text(link->bandwidth_bytes_per_s, text));
            printf("\n");
        }
}

void print_machine(const struct dgo_machine *machine)
{
    char total[DGO_UNIT_TEXT_MAX], spare[DGO_UNIT_TEXT_MAX];

    print_machine_origin(machine);
    print_gpu_table(machine);
    for (uint32_t i = 0; i < machine->gpu_count; i++)
        print_health(&machine->gpu[i], i);
    print_links(machine);
    if (machine->host.memory_known)
        printf("host: %s of memory, %s free\n", dgo_bytes_text(machine->host.total_bytes, total),
               dgo_bytes_text(machine->host.free_bytes, spare));
    if (machine->driver[0])
        printf("driver: %s\n", machine->driver);
    print_consumers(machine);
}
