/* feature_draft.c - draft models that are fed what chosen layers of the model made (EAGLE3, DFlash,
 * DSpark).
 *
 * FORMULAS "Drafts". */
#include "memory.h"

#include <stdio.h>
#include <string.h>

/* NULL: no such draft. */
static const struct dgo_model_key *fed_layers(const struct dgo_model *draft)
{
    char name[80];
    const struct dgo_model_key *key;

    snprintf(name, sizeof name, "%.48s.target_layers", draft->architecture);
    key = dgo_model_find(draft, name);
    return key && key->is_array && key->elements && key->length > 0 ? key : NULL;
}

bool dgo_draft_is_fed(const struct dgo_model *draft)
{
    return fed_layers(draft) != NULL;
}

uint32_t memory_fed_layer_count(const struct dgo_model *model)
{
    const struct dgo_model_key *layers = fed_layers(model);

    return layers ? (uint32_t)layers->length : 0;
}

static uint64_t fed_between(const struct dgo_model_key *layers, uint32_t first, uint32_t end)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < layers->length; i++)
        count += layers->elements[i] >= first && layers->elements[i] < end;
    return count;
}

/* A draft without an output of its own uses the model's, where that lies: it makes logits of every
 * token, and the hidden states come over as those of any later device. */
static uint64_t shared_output_bytes(const struct dgo_model *model, const struct dgo_model *draft,
                                    const struct dgo_estimate *estimate)
{
    enum { STATES = 3 * (1 + MEMORY_COPIES) };
    const uint64_t token_bytes = estimate->ubatch_tokens * sizeof(float);

    for (uint32_t i = 0; i < draft->tensor_count; i++)
        if (strcmp(draft->tensor[i].name, "output.weight") == 0)
            return 0;
    return token_bytes *
           (2 * (uint64_t)model->vocab_size + STATES * (uint64_t)model->embedding_length);
}

/* What comes into a chosen layer is kept to the end of the graph: E each, where the layer runs; one
 * more was seen, for a hole that no longer fits. */
void dgo_estimate_add_fed(struct dgo_estimate *estimate, const struct dgo_model *model,
                          const struct dgo_model *draft)
{
    const struct dgo_model_key *layers = fed_layers(draft);
    const uint64_t e = (uint64_t)model->embedding_length * estimate->ubatch_tokens * sizeof(float);
    const bool partial = estimate->host.layer_count > 0 || estimate->host.holds_output;
    const uint64_t shared = layers ? shared_output_bytes(model, draft, estimate) : 0;

    for (uint32_t d = 0; layers && d < estimate->device_count; d++) {
        struct dgo_device_estimate *device = &estimate->device[d];
        const uint64_t kept = partial ? layers->length
                                      : fed_between(layers, device->layer_first,
                                                    device->layer_first + device->layer_count);

        if (device->compute_bytes == 0)
            continue;
        device->compute_bytes += (kept + 1) * e;
        if (device->holds_output || (estimate->host.holds_output && d == 0))
            device->compute_bytes += shared;
        device->compute_source = DGO_FIGURE_BOUND;
    }
    if (layers && partial)
        estimate->host.compute_bytes += (layers->length + 1) * e;
    if (estimate->host.holds_output)
        estimate->host.compute_bytes += shared;
}
