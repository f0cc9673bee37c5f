/* assign.c - layers to devices exactly as the engine does it: float32 prefix sums of the shares.
 *
 * llama_model_base::load_tensors; FORMULAS "Split". */
#include "memory.h"

#include <stdio.h>
#include <string.h>

uint64_t assign_free_bytes(const struct dgo_gpu *gpu)
{
    if (dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
        return gpu->free_bytes;
    if (dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES))
        return gpu->total_bytes;
    return 0;
}

void assign_device_name(const struct dgo_machine *machine, uint32_t gpu_index, char name[16])
{
    /* Nearly every card that nobody knows is an NVIDIA one of another name. */
    static const char *const backends[] = {
        [DGO_VENDOR_UNKNOWN] = "CUDA",
        [DGO_VENDOR_NVIDIA] = "CUDA",
        [DGO_VENDOR_AMD] = "ROCm",
        [DGO_VENDOR_INTEL] = "Vulkan",
    };
    const char *backend = backends[machine->gpu[gpu_index].vendor];
    uint32_t rank = 0;

    for (uint32_t g = 0; g < gpu_index; g++)
        rank += strcmp(backends[machine->gpu[g].vendor], backend) == 0;
    snprintf(name, 16, "%s%u", backend, rank);
}

/* The running sums of the shares, divided by their total: in float, in this order. */
static uint32_t fill_shares(const struct dgo_machine *machine, const struct dgo_settings *settings,
                            float shares[DGO_GPU_MAX])
{
    /* -sm tensor: all cards are one device to the engine. */
    const uint32_t count = settings->split_mode != DGO_SPLIT_LAYER && settings->device_count
                               ? 1
                               : settings->device_count;
    bool given = false;
    float sum = 0.0F;

    for (uint32_t d = 0; d < count && settings->tensor_split_given; d++)
        given = given || settings->tensor_split[d] != 0.0F;
    for (uint32_t d = 0; d < count; d++) {
        sum += given ? settings->tensor_split[d]
                     : (float)assign_free_bytes(&machine->gpu[settings->device_gpu[d]]);
        shares[d] = sum;
    }
    for (uint32_t d = 0; d < count; d++)
        shares[d] /= sum;
    return count;
}

/* std::upper_bound: the first device whose share ends after `at`. */
static int32_t find_device(const float *shares, uint32_t count, float at)
{
    for (uint32_t d = 0; d < count; d++) {
        if (shares[d] > at)
            return (int32_t)d;
    }
    return (int32_t)count - 1;
}

void assign_layers(const struct dgo_machine *machine, const struct dgo_model *model,
                   const struct dgo_settings *settings, int32_t layer_device[DGO_LAYER_MAX + 1],
                   int32_t *block_device)
{
    float shares[DGO_GPU_MAX];
    const uint32_t count = fill_shares(machine, settings, shares);
    const uint32_t all = assign_all_layers(model);
    const uint32_t on_gpu = settings->gpu_layer_count < all ? settings->gpu_layer_count : all;
    const uint32_t first = all - on_gpu;

    for (uint32_t l = 0; l < all; l++) {
        const int32_t device = l < first || count == 0
                                   ? ASSIGN_CPU
                                   : find_device(shares, count, (float)(l - first) / (float)on_gpu);

        if (l < model->layer_count)
            layer_device[l] = device;
        if (l == model->layer_count && block_device)
            *block_device = device;
        layer_device[model->layer_count] = device; /* the last counts */
    }
}
