/* withdrawn.c - whether the engine would switch flash attention off by itself (-fa auto).
 *
 * It does where no card has a kernel for it (kernels.c).  Else it lays out the graph of a token for
 * each slot before it reserves anything, and where one layer's attention would not run on that
 * layer's device it does without for all of them.  What attention makes has no weight of its own:
 * it runs where the rows of the cache were written just before it, if that is a device, else where
 * what comes next runs, if that is one.  FORMULAS "Flash attention". */
#include "graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct look {
    const struct dgo_model *model;
    const struct dgo_settings *settings;
    const struct override_set *overrides;
    const struct memory_build *rule;
    const int32_t *layer_device;
    /* So many slots that the product behind attention runs on a device where its weight lies in
     * host memory; where heads are latent it has the tokens of one stream alone. */
    bool offloads_behind;
};

/* Seen of each with build 11669.  The delta nets' norm comes first, so they are not among them. */
bool memory_states_come_first(const struct dgo_model *model)
{
    static const char *const names[] = {"falcon-h1", "granitehybrid", "jamba",  "lfm2",
                                        "lfm2moe",   "nemotron_h",    "plamo2", "nemotron_h_moe"};

    return DGO_TEXT_IN(model->architecture, names);
}

/* Routed experts are asked for at once, and the product behind attention with them. */
static bool is_routed(const struct dgo_model *model, uint32_t l)
{
    char name[DGO_TENSOR_NAME_MAX];

    snprintf(name, sizeof name, "blk.%" PRIu32 ".ffn_gate_inp.weight", l);
    return model->expert_count > 0 && graph_has_tensor(model, name);
}

/* A layer that is a feed-forward alone; one that borrows its cache has the product behind it. */
static bool only_feeds(const struct dgo_model *model, uint32_t l)
{
    char name[DGO_TENSOR_NAME_MAX];

    snprintf(name, sizeof name, "blk.%" PRIu32 ".attn_output.weight", l);
    return !model->layer[l].recurrent && model->layer[l].head_count_kv == 0 &&
           !graph_has_tensor(model, name);
}

/* The product behind attention: of latent heads the one that widens the values; where attention and
 * feed-forward are made of one norm, that of the feed-forward, which is put down first; a router
 * that is asked with what comes into the layer. */
static const char *product_name(const struct dgo_model *model, uint32_t l)
{
    const enum graph_halves halves = recipe_halves(model);

    if (recipe_asks_first(model) && is_routed(model, l))
        return ".ffn_gate_inp.weight";
    if (halves != HALVES_IN_TURN && halves != HALVES_ATTENTION_FIRST) {
        if (is_routed(model, l))
            return ".ffn_gate_inp.weight";
        return graph_has_tensor(model, "blk.0.ffn_gate.weight") ? ".ffn_gate.weight"
                                                                : ".ffn_up.weight";
    }
    return model->mla ? ".attn_v_b.weight" : ".attn_output.weight";
}

/* Where what a weight of the layer is multiplied with runs. */
static int32_t weight_device(const struct look *look, uint32_t l, const char *name)
{
    int32_t device = look->layer_device[l];
    const bool looks_at_tensors = look->overrides || look->settings->host_plain;

    bool stays = false; /* laid out anew for the CPU */

    for (uint32_t t = 0; t < look->model->tensor_count && looks_at_tensors; t++) {
        const struct dgo_tensor *tensor = &look->model->tensor[t];
        int32_t sent;

        if (tensor->class != DGO_TENSOR_LAYER || tensor->layer != l || !strstr(tensor->name, name))
            continue;
        stays = memory_is_repacked(tensor, look->settings);
        sent = override_device(look->overrides, tensor->name);
        if (sent != OVERRIDE_NONE)
            device = sent == DGO_OVERRIDE_HOST ? ASSIGN_CPU : sent;
    }
    return device == ASSIGN_CPU && look->offloads_behind && !stays ? 0 : device;
}

static int32_t product_device(const struct look *look, uint32_t l)
{
    return weight_device(look, l, product_name(look->model, l));
}

/* The mask of sparse attention comes between the cache's rows and attention; it is made where the
 * indexer's last product is. */
static int32_t mask_device(const struct look *look, uint32_t l)
{
    char name[DGO_TENSOR_NAME_MAX];

    snprintf(name, sizeof name, "blk.%" PRIu32 ".indexer.proj.weight", l);
    return graph_has_tensor(look->model, name) ? weight_device(look, l, ".indexer.proj.weight")
                                               : look->layer_device[l];
}

/* Latent heads without an indexer: each stream's results are widened by themselves. */
static bool latent_alone(const struct dgo_model *model)
{
    return model->mla && !graph_is_sparse(model);
}

static int32_t next_device(const struct look *look, uint32_t l)
{
    const struct dgo_model *model = look->model;
    uint32_t state = model->layer[l].recurrent ? l : l + 1;

    while (state < model->layer_count && only_feeds(model, state) && !is_routed(model, state))
        state++; /* put down with the rest */
    if (memory_states_come_first(model) && state < model->layer_count &&
        model->layer[state].recurrent && (state == l || !is_routed(model, l)))
        return look->settings->kv_on_host ? ASSIGN_CPU : look->layer_device[state];
    return product_device(look, l);
}

/* Whether that many rows of a weight in host memory are a device's work. */
static bool offloads(const struct dgo_settings *settings, uint64_t rows)
{
    return settings->op_offload && settings->device_count > 0 && rows >= DGO_OFFLOAD_ROWS_MIN;
}

static bool strays(const struct look *look, uint32_t l)
{
    const struct dgo_layer *layer = &look->model->layer[l];
    const int32_t home = look->layer_device[l];
    int32_t at;

    if ((layer->recurrent && layer->head_count_kv == 0) || only_feeds(look->model, l))
        return false;
    if (!memory_layer_has_kernel(look->model, look->settings, look->rule, l))
        return home != ASSIGN_CPU;
    at = look->settings->kv_on_host ? ASSIGN_CPU : home;
    if (layer->head_count_kv ==
        0) /* it writes nothing: its queries' norm, by heads, comes before */
        at = home == ASSIGN_CPU &&
                     offloads(look->settings, layer->head_count * look->settings->slot_count)
                 ? 0
                 : home;
    if (at == home && home != ASSIGN_CPU)
        at = mask_device(look, l);
    if (at == ASSIGN_CPU)
        at = next_device(look, l);
    return at != home;
}

static enum dgo_status find(const struct dgo_model *model, const struct dgo_settings *settings,
                            const struct memory_build *rule, const int32_t *layer_device,
                            bool *withdrawn, struct dgo_error *err)
{
    struct override_set *overrides = NULL;
    enum dgo_status status = override_set_make(settings, &overrides, err);
    const struct look look = {.model = model,
                              .settings = settings,
                              .overrides = overrides,
                              .rule = rule,
                              .layer_device = layer_device,
                              .offloads_behind = offloads(settings, settings->slot_count) &&
                                                 (settings->kv_unified || !latent_alone(model))};

    *withdrawn = false;
    for (uint32_t l = 0; l < model->layer_count && status == DGO_OK && !*withdrawn; l++)
        *withdrawn = strays(&look, l);
    override_set_free(overrides);
    return status;
}

/* A packed cache of values keeps it: the engine then takes auto for on. */
enum dgo_status withdrawn_settle(const struct dgo_model *model, const struct memory_build *rule,
                                 struct dgo_settings *settings, const int32_t *layer_device,
                                 struct dgo_error *err)
{
    bool withdrawn = false;
    enum dgo_status status;

    if (!settings->flash_attention_auto || !memory_attention_fused(model, settings) ||
        settings->split_mode == DGO_SPLIT_TENSOR ||
        memory_kv_type(settings->value_type)->block_values > 1)
        return DGO_OK;
    status = find(model, settings, rule, layer_device, &withdrawn, err);
    if (withdrawn)
        settings->flash_attention = DGO_FA_WITHDRAWN;
    return status;
}
