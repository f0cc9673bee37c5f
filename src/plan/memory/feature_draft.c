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

bool memory_feeds(const struct dgo_settings *settings, uint32_t l)
{
    const struct dgo_model_key *layers = settings->feeds ? fed_layers(settings->feeds) : NULL;

    return layers && fed_between(layers, l, l + 1) > 0;
}

/* --- what the draft shares with the model ---------------------------------------------------- */

/* Among the draft's devices. */
static int32_t device_among(const struct dgo_settings *draft, uint32_t gpu)
{
    for (uint32_t d = 0; d < draft->device_count; d++)
        if (draft->device_gpu[d] == gpu)
            return (int32_t)d;
    return DGO_FEEDING_ELSEWHERE;
}

static int32_t place_of(const struct dgo_settings *settings, const struct override_set *overrides,
                        const char *name, int32_t home, const struct dgo_settings *draft)
{
    const int32_t sent = override_device(overrides, name);
    const int32_t device = sent == OVERRIDE_NONE ? home : sent;

    return device < 0 ? DGO_OVERRIDE_HOST : device_among(draft, settings->device_gpu[device]);
}

enum dgo_status dgo_feeding_find(const struct dgo_model *model, const struct dgo_settings *settings,
                                 const struct dgo_estimate *estimate,
                                 const struct dgo_settings *draft, struct dgo_feeding *feeding,
                                 struct dgo_error *err)
{
    const char *const table = "token_embd.weight";
    struct override_set *overrides = NULL;
    const enum dgo_status status = override_set_make(settings, &overrides, err);
    int32_t output = DGO_OVERRIDE_HOST;

    for (uint32_t d = 0; d < settings->device_count; d++)
        if (estimate->device[d].holds_output)
            output = (int32_t)d;
    feeding->model = model;
    if (status == DGO_OK) {
        feeding->embedding_device = place_of(settings, overrides, table, DGO_OVERRIDE_HOST, draft);
        feeding->output_device = place_of(
            settings, overrides, model->tied_embeddings ? table : "output.weight", output, draft);
    }
    override_set_free(overrides);
    return status;
}

/* --- bounds, where the graphs are not known -------------------------------------------------- */

static bool has_output(const struct dgo_model *draft)
{
    for (uint32_t i = 0; i < draft->tensor_count; i++)
        if (strcmp(draft->tensor[i].name, "output.weight") == 0)
            return true;
    return false;
}

/* A draft without an output of its own uses the model's, where that lies: it makes logits of every
 * token, and the hidden states come over as those of any later device. */
static void add_shared(struct dgo_estimate *estimate, const struct dgo_feeding *feeding)
{
    enum { STATES = 3 * (1 + MEMORY_COPIES) };
    const uint64_t bytes = estimate->ubatch_tokens * sizeof(float) *
                           (2 * (uint64_t)feeding->model->vocab_size +
                            STATES * (uint64_t)feeding->model->embedding_length);
    const bool on_host = feeding->output_device == DGO_OVERRIDE_HOST;
    const uint32_t device = on_host ? 0 : (uint32_t)feeding->output_device;

    if (on_host)
        estimate->host.compute_bytes += bytes;
    if (feeding->output_device == DGO_FEEDING_ELSEWHERE || device >= estimate->device_count)
        return;
    estimate->device[device].compute_bytes += bytes;
    estimate->device[device].compute_source = DGO_FIGURE_BOUND;
}

/* What comes into a chosen layer is kept to the end of the graph: E each, where the layer runs; one
 * more was seen, for a hole that no longer fits. */
static void add_kept(struct dgo_estimate *estimate, const struct dgo_model *model,
                     const struct dgo_model_key *layers)
{
    const uint64_t e = (uint64_t)model->embedding_length * estimate->ubatch_tokens * sizeof(float);
    const bool partial = estimate->host.layer_count > 0 || estimate->host.holds_output;

    for (uint32_t d = 0; d < estimate->device_count; d++) {
        struct dgo_device_estimate *device = &estimate->device[d];
        const uint64_t kept = partial ? layers->length
                                      : fed_between(layers, device->layer_first,
                                                    device->layer_first + device->layer_count);

        if (device->compute_bytes == 0)
            continue;
        device->compute_bytes += (kept + 1) * e;
        device->compute_source = DGO_FIGURE_BOUND;
    }
    if (partial)
        estimate->host.compute_bytes += (layers->length + 1) * e;
}

void memory_add_fed(struct dgo_estimate *estimate, const struct dgo_model *model,
                    const struct dgo_settings *settings)
{
    const struct dgo_model_key *layers = settings->feeds ? fed_layers(settings->feeds) : NULL;

    if (layers)
        add_kept(estimate, model, layers);
    if (settings->feeding && !has_output(model))
        add_shared(estimate, settings->feeding);
}
