/* machine_file.c - a machine that a file describes, so that a plan can be made for hardware that is
 * not here. */
#include "machine_file.h"

#include "dgo_file.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "driver.h"
#include "yaml_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- a GPU --------------------------------------------------------------------------------- */

static enum dgo_status read_pcie(struct yaml_loader *loader, const struct yaml_node *node,
                                 void *into)
{
    static const struct yaml_rule rule[] = {
        {"gen", VALUE_COUNT, true, YAML_IN(struct dgo_gpu, pcie_gen_max), .least = 1, .most = 7,
         .bit = DGO_GPU_PCIE_GEN_MAX},
        {"width", VALUE_COUNT, true, YAML_IN(struct dgo_gpu, pcie_width_max), .least = 1,
         .most = 32, .bit = DGO_GPU_PCIE_WIDTH_MAX},
    };
    static const struct yaml_rules rules = {"pcie", rule, sizeof rule / sizeof rule[0]};
    struct dgo_gpu *gpu = into;
    const enum dgo_status status = yaml_read_map(loader, &rules, node, gpu);

    if (status != DGO_OK)
        return status;
    GPU_SET(gpu, PCIE_GEN, pcie_gen, gpu->pcie_gen_max);
    GPU_SET(gpu, PCIE_WIDTH, pcie_width, gpu->pcie_width_max);
    return DGO_OK;
}

/* "8.6", quoted or not */
static enum dgo_status read_compute(struct yaml_loader *loader, const struct yaml_node *node,
                                    void *into)
{
    struct dgo_gpu *gpu = into;
    unsigned major = 0, minor = 0;
    int used = 0;

    if (node->kind != YAML_SCALAR || strspn(node->text, "0123456789.") != strlen(node->text) ||
        sscanf(node->text, "%2u.%2u%n", &major, &minor, &used) != 2 || node->text[used] != '\0')
        return yaml_fail(loader, node->line, node->column,
                         "compute must be a capability like \"8.6\"");
    GPU_SET(gpu, COMPUTE_MAJOR, compute_major, major);
    GPU_SET(gpu, COMPUTE_MINOR, compute_minor, minor);
    return DGO_OK;
}

static enum dgo_status read_pci_id(struct yaml_loader *loader, const struct yaml_node *node,
                                   void *into)
{
    struct dgo_gpu *gpu = into;

    if (node->kind != YAML_SCALAR || !gpu_pci_normalise(node->text, gpu->pci_id))
        return yaml_fail(loader, node->line, node->column,
                         "pci_id must be a PCI address like \"0000:01:00.0\"");
    return DGO_OK;
}

/* 16 TiB is beyond any card; it keeps sums of 16 cards far from overflow. */
#define MIB_MOST 16777216

static const struct yaml_rule gpu_rule[] = {
    {"name", VALUE_TEXT, true, YAML_IN(struct dgo_gpu, name), .bit = -1},
    {"total_mib", VALUE_MIB, true, YAML_IN(struct dgo_gpu, total_bytes), .least = 1,
     .most = MIB_MOST, .bit = DGO_GPU_TOTAL_BYTES},
    {"free_mib", VALUE_MIB, true, YAML_IN(struct dgo_gpu, free_bytes), .most = MIB_MOST,
     .bit = DGO_GPU_FREE_BYTES},
    {"used_mib", VALUE_MIB, false, YAML_IN(struct dgo_gpu, used_bytes), .most = MIB_MOST,
     .bit = DGO_GPU_USED_BYTES},
    {"reserved_mib", VALUE_MIB, false, YAML_IN(struct dgo_gpu, reserved_bytes), .most = MIB_MOST,
     .bit = DGO_GPU_RESERVED_BYTES},
    {"uuid", VALUE_TEXT, false, YAML_IN(struct dgo_gpu, uuid), .bit = -1},
    {"pci_id", VALUE_OWN, .bit = -1, .read = read_pci_id},
    {"bandwidth_gbs", VALUE_RATE, false, YAML_IN(struct dgo_gpu, bandwidth_bytes_per_s), .least = 1,
     .most = 100000, .scale = 1e9, .bit = DGO_GPU_BANDWIDTH_BYTES_PER_S},
    {"fp16_tflops", VALUE_RATE, false, YAML_IN(struct dgo_gpu, fp16_flops), .least = 0.01,
     .most = 100000, .scale = 1e12, .bit = DGO_GPU_FP16_FLOPS},
    {"pcie", VALUE_OWN, .bit = -1, .read = read_pcie},
    {"compute", VALUE_OWN, .bit = -1, .read = read_compute},
};
static const struct yaml_rules gpu_rules = {"a GPU", gpu_rule,
                                            sizeof gpu_rule / sizeof gpu_rule[0]};

/* Used and reserved follow from the others as far as they do; see USED_BYTES in fields.def. */
static void derive_used(struct dgo_gpu *gpu)
{
    const uint64_t taken = gpu->total_bytes - gpu->free_bytes;
    const bool used_known = dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES);

    if (!used_known)
        GPU_SET(gpu, USED_BYTES, used_bytes, taken - gpu->reserved_bytes);
    else if (!dgo_gpu_knows(gpu, DGO_GPU_RESERVED_BYTES))
        GPU_SET(gpu, RESERVED_BYTES, reserved_bytes, taken - gpu->used_bytes);
}

static enum dgo_status read_gpu(struct yaml_loader *loader, const struct yaml_node *node,
                                struct dgo_gpu *gpu)
{
    enum dgo_status status;

    loader->known = &gpu->known;
    status = yaml_read_map(loader, &gpu_rules, node, gpu);
    loader->known = NULL;
    if (status != DGO_OK)
        return status;

    const struct yaml_node *free_node = yaml_child(node, "free_mib");
    const struct yaml_node *total_node = yaml_child(node, "total_mib");

    if (gpu->free_bytes > gpu->total_bytes)
        return yaml_fail(loader, free_node->line, free_node->column,
                         "free_mib %.40s is more than total_mib %.40s", free_node->text,
                         total_node->text);
    if (gpu->used_bytes + gpu->reserved_bytes + gpu->free_bytes > gpu->total_bytes)
        return yaml_fail(
            loader, total_node->line, total_node->column,
            "used_mib, reserved_mib and free_mib together are more than total_mib %.40s",
            total_node->text);
    derive_used(gpu);
    return DGO_OK;
}

/* Two cards of one address would be taken for one by every engine. */
static enum dgo_status check_twins(struct yaml_loader *loader, const struct yaml_node *node,
                                   uint32_t index)
{
    const struct dgo_machine *machine = loader->data;
    const struct dgo_gpu *gpus = machine->gpu;

    for (uint32_t i = 0; i < index; i++) {
        const char *same = NULL;

        if (gpus[index].uuid[0] != '\0' && strcasecmp(gpus[i].uuid, gpus[index].uuid) == 0)
            same = "uuid";
        if (gpus[index].pci_id[0] != '\0' && strcmp(gpus[i].pci_id, gpus[index].pci_id) == 0)
            same = "pci_id";
        if (same)
            return yaml_fail(loader, node->line, node->column,
                             "GPU %" PRIu32 " and GPU %" PRIu32 " have the same %s", i, index,
                             same);
    }
    return DGO_OK;
}

static enum dgo_status read_gpus(struct yaml_loader *loader, const struct yaml_node *node,
                                 void *into)
{
    struct dgo_machine *machine = into;
    uint32_t index = 0;

    if (node->kind == YAML_LIST && node->child_count == 0)
        return yaml_fail(loader, node->line, node->column,
                         "gpus is empty; a machine to plan for needs at least one, like "
                         "{name: NVIDIA GeForce RTX 3090, total_mib: 24576, free_mib: 24100}");
    if (node->kind != YAML_LIST)
        return yaml_fail(
            loader, node->line, node->column,
            "gpus must be a list like [{name: ..., total_mib: 24576, free_mib: 24100}]");
    for (const struct yaml_node *child = node->first; child; child = child->next, index++) {
        enum dgo_status status;

        if (index == DGO_GPU_MAX)
            return yaml_fail(loader, child->line, child->column, "more than %d GPUs", DGO_GPU_MAX);
        status = read_gpu(loader, child, &machine->gpu[index]);
        if (status == DGO_OK)
            status = check_twins(loader, child, index);
        if (status != DGO_OK)
            return status;
    }
    machine->gpu_count = index;
    return DGO_OK;
}

/* ---- the host and the links ---------------------------------------------------------------- */

static enum dgo_status read_host(struct yaml_loader *loader, const struct yaml_node *node,
                                 void *into)
{
    static const struct yaml_rule rule[] = {
        {"total_mib", VALUE_MIB, true, YAML_IN(struct dgo_host, total_bytes), .least = 1,
         .most = MIB_MOST, .bit = -1},
        {"free_mib", VALUE_MIB, true, YAML_IN(struct dgo_host, free_bytes), .most = MIB_MOST,
         .bit = -1},
        {"bandwidth_gbs", VALUE_RATE, false, YAML_IN(struct dgo_host, bandwidth_bytes_per_s),
         .least = 0.1, .most = 100000, .scale = 1e9, .bit = -1},
        {"cores", VALUE_COUNT, false, YAML_IN(struct dgo_host, core_count), .least = 1,
         .most = 65536, .bit = -1},
    };
    static const struct yaml_rules rules = {"host", rule, sizeof rule / sizeof rule[0]};
    struct dgo_machine *machine = into;
    const enum dgo_status status = yaml_read_map(loader, &rules, node, &machine->host);
    const struct yaml_node *free_node;

    if (status != DGO_OK)
        return status;
    free_node = yaml_child(node, "free_mib");
    if (machine->host.free_bytes > machine->host.total_bytes)
        return yaml_fail(loader, free_node->line, free_node->column,
                         "free_mib %.40s of host is more than its total_mib", free_node->text);
    machine->host.memory_known = true;
    return DGO_OK;
}

struct file_link {
    uint32_t between[2];
    struct dgo_link link;
};

static enum dgo_status read_between(struct yaml_loader *loader, const struct yaml_node *node,
                                    void *into)
{
    const struct dgo_machine *machine = loader->data;
    struct file_link *link = into;
    const struct yaml_rule index = {
        .key = "between", .kind = VALUE_COUNT, .most = machine->gpu_count - 1.0};
    uint32_t count = 0;

    if (node->kind != YAML_LIST || node->child_count != 2)
        return yaml_fail(loader, node->line, node->column,
                         "between must be two GPU numbers, counted from 0, like [0, 1]");
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        double number = 0;
        const enum dgo_status status = yaml_read_number(loader, &index, child, &number);

        if (status != DGO_OK)
            return status;
        link->between[count++] = (uint32_t)number;
    }
    if (link->between[0] == link->between[1])
        return yaml_fail(loader, node->line, node->column, "between must be two different GPUs");
    return DGO_OK;
}

static enum dgo_status read_kind(struct yaml_loader *loader, const struct yaml_node *node,
                                 void *into)
{
    struct file_link *link = into;

    for (int kind = DGO_LINK_UNKNOWN; kind <= DGO_LINK_SYS; kind++) {
        if (node->kind == YAML_SCALAR &&
            strcasecmp(node->text, dgo_link_kind_name((enum dgo_link_kind)kind)) == 0) {
            link->link.kind = (enum dgo_link_kind)kind;
            return DGO_OK;
        }
    }
    return yaml_fail(loader, node->line, node->column,
                     "kind must be one of nvlink, pix, pxb, phb, node, sys");
}

static const struct yaml_rule link_rule[] = {
    {"between", VALUE_OWN, true, .bit = -1, .read = read_between},
    {"kind", VALUE_OWN, .bit = -1, .read = read_kind},
    {"p2p", VALUE_BOOL, false, YAML_IN(struct file_link, link.p2p), .bit = -1},
    {"bandwidth_gbs", VALUE_RATE, false, YAML_IN(struct file_link, link.bandwidth_bytes_per_s),
     .least = 0.01, .most = 100000, .scale = 1e9, .bit = -1},
};
static const struct yaml_rules link_rules = {"a link", link_rule,
                                             sizeof link_rule / sizeof link_rule[0]};

static enum dgo_status read_links(struct yaml_loader *loader, const struct yaml_node *node)
{
    uint32_t seen[DGO_GPU_MAX] = {0}; /* bit b of row a: given */

    if (node->kind != YAML_LIST)
        return yaml_fail(loader, node->line, node->column,
                         "links must be a list like [{between: [0, 1], kind: phb}]");
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        struct file_link link = {0};
        const enum dgo_status status = yaml_read_map(loader, &link_rules, child, &link);
        const uint32_t a = link.between[0], b = link.between[1];

        if (status != DGO_OK)
            return status;
        if (seen[a] >> b & 1)
            return yaml_fail(loader, child->line, child->column,
                             "the link between %" PRIu32 " and %" PRIu32 " is given twice", a, b);
        seen[a] |= UINT32_C(1) << b;
        seen[b] |= UINT32_C(1) << a;
        link.link.p2p_known = yaml_child(child, "p2p") != NULL;
        gpu_set_link(loader->data, a, b, &link.link);
    }
    return DGO_OK;
}

/* Links name GPUs by number, so they are read when all are known, wherever they stand. */
static enum dgo_status links_later(struct yaml_loader *loader, const struct yaml_node *node,
                                   void *into)
{
    (void)loader, (void)node, (void)into;
    return DGO_OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

static const struct yaml_rule machine_rule[] = {
    {"gpus", VALUE_OWN, true, .bit = -1, .read = read_gpus},
    {"host", VALUE_OWN, .bit = -1, .read = read_host},
    {"links", VALUE_OWN, .bit = -1, .read = links_later},
};
static const struct yaml_rules machine_rules = {"a machine file", machine_rule,
                                                sizeof machine_rule / sizeof machine_rule[0]};

enum dgo_status gpu_machine_parse(const char *bytes, size_t length, struct dgo_machine *machine,
                                  struct dgo_error *err)
{
    struct dgo_arena arena = {.limit_bytes = YAML_MEMORY_MAX};
    struct yaml_loader loader = {.data = machine, .err = err};
    const struct yaml_node *root = NULL;
    enum dgo_status status = yaml_tree_parse(bytes, length, &arena, &root, err);

    if (status == DGO_OK)
        status = yaml_read_map(&loader, &machine_rules, root, machine);
    if (status == DGO_OK && yaml_child(root, "links"))
        status = read_links(&loader, yaml_child(root, "links"));
    machine->origin.simulated = true;
    dgo_arena_done(&arena);
    return status;
}

static enum dgo_status machine_file_open(const struct dgo_gpu_options *options, void **state,
                                         struct dgo_error *err)
{
    const char *path = options->machine_file;
    char *bytes = NULL;
    struct dgo_machine *machine = calloc(1, sizeof *machine);
    enum dgo_status status = DGO_ENOMEM;
    size_t length = 0;

    if (!machine) {
        dgo_fail(err, DGO_ENOMEM, "out of memory");
        goto out;
    }
    status = dgo_file_read(path, "the machine file", YAML_BYTES_MAX, &bytes, &length, err);
    if (status != DGO_OK)
        goto out;
    status = gpu_machine_parse(bytes, length, machine, err);
    if (status != DGO_OK) {
        dgo_error_prefix(err, status, "%s", path);
        goto out;
    }
    *state = machine;
    machine = NULL;
out:
    free(bytes);
    free(machine);
    return status;
}

/* The file is read once: a described machine does not change while it is looked at. */
static enum dgo_status machine_file_take(void *state, unsigned tiers, struct dgo_machine *machine,
                                         struct dgo_error *err)
{
    const struct dgo_machine *described = state;
    char source[sizeof machine->source];

    (void)tiers, (void)err;
    memcpy(source, machine->source, sizeof source);
    *machine = *described;
    memcpy(machine->source, source, sizeof source);
    return DGO_OK;
}

static void machine_file_close(void *state)
{
    free(state);
}

const struct gpu_driver gpu_driver_machine_file = {.name = "machine file",
                                                   .open = machine_file_open,
                                                   .take = machine_file_take,
                                                   .close = machine_file_close};
