/* nvml_slice.c - the slices (MIG) of an NVIDIA card, each a device of its own to the driver. */
#include "nvml.h"

#include <string.h>

static void read_slice(struct nvml_look *look, struct dgo_gpu_slice *slice)
{
    struct nvml_memory_v2 second = {.version = NVML_VERSION(struct nvml_memory_v2, 2)};
    struct nvml_memory first = {0};

    nvml_read_names(look, slice->name, slice->uuid);
    if (NVML_CALL(look, nvmlDeviceGetMemoryInfo_v2, &second)) {
        slice->total_bytes = second.total;
        slice->used_bytes = second.used;
        slice->free_bytes = second.free;
    } else if (NVML_CALL(look, nvmlDeviceGetMemoryInfo, &first)) {
        slice->total_bytes = first.total;
        slice->used_bytes = first.used;
        slice->free_bytes = first.free;
    } else {
        return;
    }
    slice->memory_known =
        slice->used_bytes <= slice->total_bytes && slice->free_bytes <= slice->total_bytes;
}

void nvml_read_slices(struct nvml_look *look, struct dgo_gpu *gpu)
{
    unsigned most = 0;

    gpu->slice_count = 0;
    memset(gpu->slice, 0, sizeof gpu->slice);
    if (!NVML_CALL(look, nvmlDeviceGetMaxMigDeviceCount, &most))
        return;
    /* Places are numbered to the most there can be, and empty ones are "not found". */
    for (unsigned i = 0; i < most && i < 64 && gpu->slice_count < DGO_GPU_SLICE_MAX; i++) {
        /* A slice refuses what its card has: what is remembered of the card is left alone. */
        struct nvml_look of_slice = {.api = look->api};

        if (!NVML_CALL(look, nvmlDeviceGetMigDeviceHandleByIndex, i, &of_slice.device))
            continue;
        read_slice(&of_slice, &gpu->slice[gpu->slice_count++]);
        look->gone = of_slice.gone;
    }
}
