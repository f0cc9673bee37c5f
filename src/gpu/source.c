/* source.c - opens the machine file or the first driver that answers, and completes what it gives.
 */
#include "consumer.h"
#include "driver.h"
#include "recording.h"

#include "dgo_text.h"

#include <stdlib.h>
#include <string.h>

struct dgo_gpu_source {
    const struct gpu_driver *driver;
    void *state;
    char root[256];
    struct dgo_machine scratch; /* outputs are written on success only */
    struct consumers consumers;
};

/* The drivers of real machines, in the order they are tried. */
static const struct gpu_driver *const drivers[] = {&gpu_driver_nvml};

static enum dgo_status open_real(const struct dgo_gpu_options *options,
                                 struct dgo_gpu_source *source, struct dgo_error *err)
{
    struct dgo_error broken = {0};
    char tried[400];
    struct dgo_text text = DGO_TEXT(tried);

    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        struct dgo_error one = {0};

        source->driver = drivers[i];

        const enum dgo_status status = drivers[i]->open(options, &source->state, &one);

        if (status == DGO_OK)
            return DGO_OK;
        if (status == DGO_ENOGPU)
            dgo_text_addf(&text, "%s%s", text.length ? "; " : "", one.text);
        else if (broken.status == DGO_OK)
            broken = one;
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
    if (options.machine_file) {
        opened->driver = dgo_recording_is_one(options.machine_file) ? &gpu_driver_recording
                                                                    : &gpu_driver_machine_file;
        status = opened->driver->open(&options, &opened->state, err);
    } else {
        status = open_real(&options, opened, err);
    }
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

/* What every source lacks alike: published figures of known cards, and links' bandwidth. */
static void complete(struct dgo_machine *machine)
{
    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        struct dgo_gpu *gpu = &machine->gpu[i];
        double bandwidth = 0, flops = 0;

        tell_unattributed(gpu);

        if (gpu->vendor == DGO_VENDOR_UNKNOWN)
            gpu->vendor = gpu_vendor_of(gpu->name);
        if (!dgo_gpu_facts(gpu->name, &bandwidth, &flops))
            continue;
        if (!dgo_gpu_knows(gpu, DGO_GPU_BANDWIDTH_BYTES_PER_S) && bandwidth > 0)
            GPU_SET(gpu, BANDWIDTH_BYTES_PER_S, bandwidth_bytes_per_s, bandwidth);
        if (!dgo_gpu_knows(gpu, DGO_GPU_FP16_FLOPS) && flops > 0)
            GPU_SET(gpu, FP16_FLOPS, fp16_flops, flops);
    }
    gpu_fill_link_bandwidth(machine);
}

enum dgo_status dgo_gpu_take(struct dgo_gpu_source *source, struct dgo_machine *machine,
                             struct dgo_error *err)
{
    return dgo_gpu_take_tiers(source, DGO_TIERS_ALL, machine, err);
}

enum dgo_status dgo_gpu_take_tiers(struct dgo_gpu_source *source, unsigned tiers,
                                   struct dgo_machine *machine, struct dgo_error *err)
{
    enum dgo_status status;

    memset(&source->scratch, 0, sizeof source->scratch);
    dgo_text_copy(source->scratch.source, sizeof source->scratch.source, source->driver->name);
    status = source->driver->take(source->state, tiers, &source->scratch, err);
    if (status != DGO_OK)
        return status;
    if (!source->scratch.simulated)
        gpu_tell_consumers(&source->consumers, source->root,
                           tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES), &source->scratch);
    complete(&source->scratch);
    memcpy(machine, &source->scratch, sizeof *machine);
    return DGO_OK;
}

void dgo_gpu_close(struct dgo_gpu_source *source)
{
    if (!source)
        return;
    source->driver->close(source->state);
    free(source);
}
