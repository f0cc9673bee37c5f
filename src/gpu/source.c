/* source.c - opens a file or all drivers that answer, joins their cards, completes what they give.
 */
#include "consumer.h"
#include "driver.h"
#include "near.h"
#include "recording.h"

#include "dgo_log.h"
#include "dgo_text.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 4 };

/* A driver that answered when the source was opened. */
struct part {
    const struct gpu_driver *driver;
    void *state;
    uint32_t count; /* cards it has had at most: those of the parts behind keep their numbers */
};

struct dgo_gpu_source {
    uint32_t part_count;
    struct part part[PARTS_MAX];
    char root[256];
    struct dgo_machine scratch; /* outputs are written on success only */
    struct dgo_machine of_part; /* what one driver gave, where there are several */
    struct dgo_machine last;    /* the same: where a driver that went away had its cards */
    struct consumers consumers;
    struct { /* it stays where it was plugged in: asked once */
        char pci_id[GPU_PCI_ID_MAX];
        bool node_known;
        uint32_t node;
    } place[DGO_GPU_MAX];
};

/* The drivers of real machines, in the order of their cards. */
static const struct gpu_driver *const drivers[] = {&gpu_driver_nvml, &gpu_driver_amd,
                                                   &gpu_driver_intel};

static enum dgo_status add_part(const struct gpu_driver *driver,
                                const struct dgo_gpu_options *options,
                                struct dgo_gpu_source *source, struct dgo_error *err)
{
    struct part *part = &source->part[source->part_count];
    const enum dgo_status status = driver->open(options, &part->state, err);

    if (status != DGO_OK)
        return status;
    part->driver = driver;
    source->part_count++;
    return DGO_OK;
}

/* A driver that is there and broken is a failure only where no other has cards. */
static enum dgo_status open_real(const struct dgo_gpu_options *options,
                                 struct dgo_gpu_source *source, struct dgo_error *err)
{
    struct dgo_error broken = {0};
    char tried[400];
    struct dgo_text text = DGO_TEXT(tried);

    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        struct dgo_error one = {0};
        const enum dgo_status status = add_part(drivers[i], options, source, &one);

        if (status == DGO_ENOGPU)
            dgo_text_addf(&text, "%s%s", text.length ? "; " : "", one.text);
        else if (status != DGO_OK && broken.status == DGO_OK)
            broken = one;
    }
    if (source->part_count > 0) {
        if (broken.status != DGO_OK)
            dgo_log(DGO_LOG_WARN, "%s", broken.text);
        return DGO_OK;
    }
    if (broken.status != DGO_OK)
        return dgo_fail(err, broken.status, "%s", broken.text);
    return dgo_fail(err, DGO_ENOGPU,
                    "no GPU found: %s; to plan for a machine that a file describes, use "
                    "--gpus FILE",
                    tried);
}

enum dgo_status dgo_gpu_open(const struct dgo_gpu_options *given, struct dgo_gpu_source **source,
                             struct dgo_error *err)
{
    struct dgo_gpu_options options = given ? *given : (struct dgo_gpu_options){0};
    struct dgo_gpu_source *opened = calloc(1, sizeof *opened);
    enum dgo_status status;

    if (!opened)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (!options.system_root)
        options.system_root = getenv("DUALGPUOPT_SYSTEM_ROOT");
    if (!options.system_root)
        options.system_root = "";
    if (!dgo_text_copy(opened->root, sizeof opened->root, options.system_root)) {
        free(opened);
        return dgo_fail(err, DGO_EINVAL, "DUALGPUOPT_SYSTEM_ROOT is too long");
    }
    if (!options.machine_file)
        status = open_real(&options, opened, err);
    else if (dgo_recording_is_one(options.machine_file))
        status = add_part(&gpu_driver_recording, &options, opened, err);
    else
        status = add_part(&gpu_driver_machine_file, &options, opened, err);
    if (status != DGO_OK) {
        free(opened);
        return status;
    }
    *source = opened;
    return DGO_OK;
}

/* What is used and no process owns up to: scanout, the driver's own, processes of other namespaces.
 * Unknown while one hides its use. */
static void tell_unattributed(struct dgo_gpu *gpu)
{
    if (!gpu->processes_known || !gpu->process_sum_known || !dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES))
        return;
    GPU_SET(gpu, UNATTRIBUTED_BYTES, unattributed_bytes,
            gpu->used_bytes > gpu->process_sum_bytes ? gpu->used_bytes - gpu->process_sum_bytes
                                                     : 0);
}

/* Published figures, where nothing better is known. */
static void fill_facts(struct dgo_gpu *gpu)
{
    struct dgo_gpu_facts facts;

    if (!dgo_gpu_facts(gpu->name, &facts))
        return;
    if (!dgo_gpu_knows(gpu, DGO_GPU_BANDWIDTH_BYTES_PER_S) && facts.bandwidth_bytes_per_s > 0)
        GPU_SET(gpu, BANDWIDTH_BYTES_PER_S, bandwidth_bytes_per_s, facts.bandwidth_bytes_per_s);
    if (!dgo_gpu_knows(gpu, DGO_GPU_FP16_FLOPS) && facts.fp16_flops > 0)
        GPU_SET(gpu, FP16_FLOPS, fp16_flops, facts.fp16_flops);
    /* The slot may give less, so what is known of the link, however little, is not added to. */
    if (facts.pcie_gen > 0 && !dgo_gpu_knows(gpu, DGO_GPU_PCIE_GEN) &&
        !dgo_gpu_knows(gpu, DGO_GPU_PCIE_GEN_MAX) && !dgo_gpu_knows(gpu, DGO_GPU_PCIE_WIDTH) &&
        !dgo_gpu_knows(gpu, DGO_GPU_PCIE_WIDTH_MAX)) {
        GPU_SET(gpu, PCIE_GEN_MAX, pcie_gen_max, facts.pcie_gen);
        GPU_SET(gpu, PCIE_WIDTH_MAX, pcie_width_max, facts.pcie_width);
    }
}

/* What every source lacks alike: published figures of known cards, and links' bandwidth. */
static void complete(struct dgo_machine *machine)
{
    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        struct dgo_gpu *gpu = &machine->gpu[i];

        tell_unattributed(gpu);
        if (gpu->vendor == DGO_VENDOR_UNKNOWN)
            gpu->vendor = gpu_vendor_of(gpu->name);
        fill_facts(gpu);
    }
    gpu_fill_link_bandwidth(machine);
}

/* ---- several drivers ----------------------------------------------------------------------- */

static void append_text(char *to, size_t size, const char *text)
{
    struct dgo_text joined = {.data = to, .size = size, .length = strlen(to)};

    if (text[0] == '\0')
        return;
    if (to[0] != '\0')
        dgo_text_add(&joined, ", ");
    dgo_text_add(&joined, text);
}

/* The cards of one driver, from number `first` on; what it no longer has keeps its place. */
static void append_part(struct dgo_gpu_source *source, struct part *part, uint32_t first,
                        const char *problem)
{
    struct dgo_machine *all = &source->scratch, *of_part = &source->of_part;
    const uint32_t room = DGO_GPU_MAX - first;

    part->count = part->count > of_part->gpu_count ? part->count : of_part->gpu_count;
    part->count = part->count < room ? part->count : room;
    for (uint32_t i = 0; i < part->count; i++) {
        struct dgo_gpu *gpu = &all->gpu[first + i];

        if (i < of_part->gpu_count) {
            *gpu = of_part->gpu[i];
            for (uint32_t j = 0; j < of_part->gpu_count && j < part->count; j++)
                all->link[first + i][first + j] = of_part->link[i][j];
            continue;
        }
        *gpu = (struct dgo_gpu){.vendor = source->last.gpu[first + i].vendor};
        memcpy(gpu->name, source->last.gpu[first + i].name, sizeof gpu->name);
        memcpy(gpu->uuid, source->last.gpu[first + i].uuid, sizeof gpu->uuid);
        memcpy(gpu->pci_id, source->last.gpu[first + i].pci_id, sizeof gpu->pci_id);
        dgo_text_copy(gpu->problem, sizeof gpu->problem, problem);
    }
}

/* Fails only when every driver does. */
static enum dgo_status take_parts(struct dgo_gpu_source *source, unsigned tiers,
                                  struct dgo_error *err)
{
    struct dgo_machine *all = &source->scratch;
    struct dgo_error first_failure = {0};
    uint32_t failed = 0;

    for (uint32_t p = 0; p < source->part_count; p++) {
        struct part *part = &source->part[p];
        struct dgo_error one = {0};

        memset(&source->of_part, 0, sizeof source->of_part);
        if (part->driver->take(part->state, tiers, &source->of_part, &one) != DGO_OK) {
            first_failure = failed++ ? first_failure : one;
            source->of_part.gpu_count = 0;
        } else if (!all->host.memory_known) {
            all->host = source->of_part.host;
        }
        append_part(source, part, all->gpu_count, one.text[0] ? one.text : "it is no longer there");
        all->gpu_count += part->count;
        append_text(all->source, sizeof all->source, part->driver->name);
        append_text(all->driver, sizeof all->driver, source->of_part.driver);
    }
    if (failed == source->part_count)
        return dgo_fail(err, first_failure.status, "%s", first_failure.text);
    memcpy(&source->last, all, sizeof source->last);
    return DGO_OK;
}

static void tell_places(struct dgo_gpu_source *source)
{
    for (uint32_t i = 0; i < source->scratch.gpu_count; i++) {
        struct dgo_gpu *gpu = &source->scratch.gpu[i];

        if (strcmp(source->place[i].pci_id, gpu->pci_id) != 0) {
            dgo_text_copy(source->place[i].pci_id, sizeof source->place[i].pci_id, gpu->pci_id);
            source->place[i].node_known =
                gpu_near_node(source->root, gpu->pci_id, &source->place[i].node);
        }
        if (source->place[i].node_known)
            GPU_SET(gpu, NUMA_NODE, numa_node, source->place[i].node);
    }
}

bool gpu_source_stay_near(const struct dgo_gpu_source *source, const struct dgo_machine *machine)
{
    return gpu_stay_near(source->root, machine);
}

/* ---- one look ------------------------------------------------------------------------------ */

enum dgo_status dgo_gpu_take(struct dgo_gpu_source *source, struct dgo_machine *machine,
                             struct dgo_error *err)
{
    return dgo_gpu_take_tiers(source, DGO_TIERS_ALL, machine, err);
}

enum dgo_status dgo_gpu_take_tiers(struct dgo_gpu_source *source, unsigned tiers,
                                   struct dgo_machine *machine, struct dgo_error *err)
{
    struct part *only = &source->part[0];
    enum dgo_status status;

    memset(&source->scratch, 0, sizeof source->scratch);
    if (source->part_count == 1) {
        dgo_text_copy(source->scratch.source, sizeof source->scratch.source, only->driver->name);
        status = only->driver->take(only->state, tiers, &source->scratch, err);
    } else {
        status = take_parts(source, tiers, err);
    }
    if (status != DGO_OK)
        return status;
    if (dgo_machine_is_live(&source->scratch)) {
        gpu_tell_consumers(&source->consumers, source->root,
                           tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES), &source->scratch);
        tell_places(source);
    }
    complete(&source->scratch);
    memcpy(machine, &source->scratch, sizeof *machine);
    return DGO_OK;
}

void dgo_gpu_close(struct dgo_gpu_source *source)
{
    if (!source)
        return;
    for (uint32_t p = 0; p < source->part_count; p++)
        source->part[p].driver->close(source->part[p].state);
    free(source);
}
