/* beside.c - what a server loads beside its model: a draft model, a vision projector.
 *
 * FORMULAS "Beside the model". */
#include "memory.h"

#include "dgo_units.h"

#include <string.h>

static struct dgo_device_estimate *device_of(struct dgo_estimate *estimate, uint32_t gpu_index)
{
    for (uint32_t d = 0; d < estimate->device_count; d++)
        if (estimate->device[d].gpu_index == gpu_index)
            return &estimate->device[d];
    return NULL;
}

static void add_device(struct dgo_device_estimate *to, const struct dgo_device_estimate *from)
{
    to->weights_bytes += from->weights_bytes;
    to->context_bytes += from->context_bytes;
    to->compute_bytes += from->compute_bytes;
    if (from->compute_bytes > 0 && from->compute_source == DGO_FIGURE_BOUND)
        to->compute_source = DGO_FIGURE_BOUND;
}

void dgo_estimate_add(struct dgo_estimate *estimate, const struct dgo_estimate *beside)
{
    for (uint32_t d = 0; d < beside->device_count; d++) {
        const struct dgo_device_estimate *from = &beside->device[d];
        struct dgo_device_estimate *to = device_of(estimate, from->gpu_index);

        if (to) {
            add_device(to, from);
        } else if (estimate->device_count < DGO_GPU_MAX) {
            to = &estimate->device[estimate->device_count++];
            *to = *from;
            to->layer_count = 0;
            to->holds_output = false;
        }
    }
    estimate->host.weights_bytes += beside->host.weights_bytes;
    estimate->host.context_bytes += beside->host.context_bytes;
    estimate->host.compute_bytes += beside->host.compute_bytes;
    estimate->host.output_bytes += beside->host.output_bytes;
    dgo_estimate_judge(estimate);
}

/* The widest moment of an encoder's layer over one picture: residual, normed input, queries, keys,
 * values, and either the feed-forward or, unfused, the scores of all heads. */
static uint64_t encoder_bytes(const struct dgo_model *projector)
{
    enum { TOKENS_LEAST = 4096 }; /* files of models that take any size do not say how many */
    const uint64_t image = memory_key_number(projector, "vision.image_size");
    const uint64_t patch = memory_key_number(projector, "vision.patch_size");
    const uint64_t width = memory_key_number(projector, "vision.embedding_length");
    const uint64_t inner = memory_key_number(projector, "vision.feed_forward_length");
    const uint64_t heads = memory_key_number(projector, "vision.attention.head_count");
    const uint64_t side = patch ? image / patch : 0;
    const uint64_t tokens =
        dgo_max_u64(dgo_min_u64(side, 1024) * dgo_min_u64(side, 1024) + 1, TOKENS_LEAST);
    const uint64_t picture = 3 * dgo_min_u64(image, 1 << 14) * dgo_min_u64(image, 1 << 14);

    return (tokens * (6 * dgo_min_u64(width, 1 << 16) + 3 * dgo_min_u64(inner, 1 << 18)) +
            dgo_min_u64(heads, 256) * tokens * dgo_min_u64(tokens, 1 << 14) + 2 * picture) *
           sizeof(float);
}

enum dgo_status dgo_estimate_add_projector(struct dgo_estimate *estimate,
                                           const struct dgo_model *projector, int32_t device,
                                           struct dgo_error *err)
{
    uint64_t weights = 0;
    const uint64_t compute = encoder_bytes(projector);

    if (strcmp(projector->architecture, "clip") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "architecture \"%s\" is no projector; give the mmproj file of the model",
                        projector->architecture);
    for (uint32_t i = 0; i < projector->tensor_count; i++)
        weights += dgo_pad_u64(projector->tensor[i].size_bytes, MEMORY_DEVICE_ALIGN);
    if (device < 0 || (uint32_t)device >= estimate->device_count) {
        estimate->host.weights_bytes += weights;
        estimate->host.compute_bytes += compute;
    } else {
        struct dgo_device_estimate *to = &estimate->device[device];

        to->weights_bytes += weights;
        to->compute_bytes += compute;
        to->compute_source = DGO_FIGURE_BOUND;
    }
    dgo_estimate_judge(estimate);
    return DGO_OK;
}
