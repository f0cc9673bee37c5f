/* graph_kinds.c - reads from a model which kinds of layers its graph has, and in which order. */
#include "graph.h"

#include <stdio.h>
#include <string.h>

/* --- what a layer's tensors show ------------------------------------------------------------- */

enum trait {
    T_ATTN_NORM,
    T_FEED_NORM,
    T_QKV,
    T_QUERIES,
    T_ATTN_GATE,
    T_GATE_EXPERTS,
    T_STATE_SKIP,
    T_HEAD_NORM,
    T_GATE,
    T_UP,
    T_ROUTER,
    T_GATE_UP,
    T_CHOICE_BIAS,
    T_EXPERT_SCALE,
    T_SHARED,
    T_SHARED_GATE,
    T_GROUPS,
    T_DOWN,
    T_POST_ATTN_NORM,
    T_POST_FEED_NORM,
    T_SHARED_OWN_GATE,
    T_VALUES,
    T_TWIN_NORM,
    T_LAYER_GATE,
    T_MIXER_NORM,
    T_ATTN_OUT_NORM,
    T_ASIDE_NORM,
    T_EXPANDED,
    T_COUNT
};

static const struct {
    const char *suffix;
    enum trait trait;
} traits[] = {
    {"attn_norm.weight", T_ATTN_NORM},
    {"ffn_norm.weight", T_FEED_NORM},
    {"post_attention_norm.weight", T_POST_ATTN_NORM},
    {"post_ffw_norm.weight", T_POST_FEED_NORM},
    {"ffn_gate_shexp.weight", T_SHARED_OWN_GATE},
    {"attn_qkv.weight", T_QKV},
    {"attn_q.weight", T_QUERIES},
    {"attn_gate.weight", T_ATTN_GATE},
    {"ffn_gate_exps.weight", T_GATE_EXPERTS},
    {"ssm_d", T_STATE_SKIP},
    {"attn_q_norm.weight", T_HEAD_NORM},
    {"ffn_gate.weight", T_GATE},
    {"ffn_up.weight", T_UP},
    {"ffn_down.weight", T_DOWN},
    {"ffn_gate_inp.weight", T_ROUTER},
    {"ffn_gate_up_exps.weight", T_GATE_UP},
    {"exp_probs_b.bias", T_CHOICE_BIAS},
    {"ffn_down_exps.scale", T_EXPERT_SCALE},
    {"ffn_up_shexp.weight", T_SHARED},
    {"attn_v.weight", T_VALUES},
    {"pre_ffw_norm_2.weight", T_TWIN_NORM},
    {"inp_gate.weight", T_LAYER_GATE},
    {"attn_norm_2.weight", T_MIXER_NORM},
    {"attn_output_norm.weight", T_ATTN_OUT_NORM},
    {"ffn_norm_exps.weight", T_ASIDE_NORM},
    {"attn_kv_b.weight", T_EXPANDED},
    {"ffn_gate_inp_shexp.weight", T_SHARED_GATE},
    {"ffn_down_chexps.weight", T_GROUPS},
};

/* The tensor's rows where a trait tells by its shape. */
struct layer_traits {
    const struct dgo_tensor *tensor[T_COUNT];
};

bool graph_is_named(const char *name, const char *part)
{
    const size_t length = strlen(name);

    return strncmp(part, name, length) == 0 &&
           (part[length] == '\0' || strcmp(part + length, ".weight") == 0 ||
            strcmp(part + length, ".bias") == 0);
}

static void note_tensor(const struct dgo_tensor *tensor, struct layer_traits *layer)
{
    const char *suffix = strchr(tensor->name, '.'); /* "blk.12.ffn_up.weight" */

    suffix = suffix ? strchr(suffix + 1, '.') : NULL;
    if (!suffix)
        return;
    for (size_t i = 0; i < sizeof traits / sizeof traits[0]; i++)
        if (graph_is_named(suffix + 1, traits[i].suffix))
            layer->tensor[traits[i].trait] = tensor;
}

/* --- one layer ------------------------------------------------------------------------------- */

/* Whether positions are rotated into queries and keys of layer `l`. */
static bool is_rotated(const struct dgo_model *model, uint32_t recipe, uint32_t l)
{
    if (recipe & RECIPE_NO_ROPE)
        return false;
    if (recipe & RECIPE_ROPE_IN_WINDOWS)
        return model->layer[l].sliding_window || l < recipe_rotated_first(model);
    return !(recipe & RECIPE_ROPE_NOT_FOURTH) || (l + 1) % 4 != 0;
}

uint32_t graph_cache_count(const struct dgo_model *model)
{
    uint32_t count = 0;

    while (count < model->layer_count && model->layer[count].head_count_kv > 0)
        count++;
    return count;
}

bool graph_borrows(const struct dgo_model *model, uint32_t recipe)
{
    return recipe & RECIPE_BORROWS && graph_cache_count(model) >= 2;
}

static enum graph_mixer find_mixer(const struct dgo_model *model, uint32_t recipe,
                                   const struct dgo_layer *layer,
                                   const struct layer_traits *traits_of)
{
    if (layer->recurrent && memory_key_number(model, "wkv.head_size"))
        return GRAPH_MIXING;
    if (layer->recurrent && traits_of->tensor[T_STATE_SKIP])
        return layer->head_count_kv > 0 ? GRAPH_STATE_AND_ATTENTION : GRAPH_STATE_SPACE;
    if (layer->recurrent && memory_key_number(model, "shortconv.l_cache"))
        return GRAPH_CONVOLUTION;
    if (layer->recurrent)
        return memory_key_number(model, "kda.head_dim") ? GRAPH_KIMI_DELTA : GRAPH_DELTA;
    if (layer->head_count_kv == 0 && !graph_borrows(model, recipe))
        return GRAPH_NO_MIXER;
    if (model->mla)
        return GRAPH_LATENT;
    return traits_of->tensor[T_EXPANDED] ? GRAPH_EXPANDED : GRAPH_ATTENTION;
}

static void fill_mixer(const struct dgo_model *model, uint32_t recipe, uint32_t l,
                       const struct layer_traits *traits_of, struct graph_layer *kind)
{
    const struct dgo_layer *layer = &model->layer[l];
    const struct dgo_tensor *head_norm = traits_of->tensor[T_HEAD_NORM];
    const bool norm_over_heads = head_norm && head_norm->dim[0] == layer->key_length;

    kind->heads = layer->head_count;
    kind->queries = layer->head_count * layer->key_length;
    kind->keys = layer->head_count_kv * layer->key_length;
    kind->values = layer->head_count_kv * layer->value_length;
    kind->mixed = layer->head_count * layer->value_length;
    kind->window = layer->sliding_window;
    kind->normed_before = traits_of->tensor[T_ATTN_NORM];
    kind->fused_product = traits_of->tensor[T_QKV];
    kind->queries_gated = traits_of->tensor[T_QUERIES] &&
                          traits_of->tensor[T_QUERIES]->dim[1] == 2 * (uint64_t)kind->queries;
    kind->rotated = is_rotated(model, recipe, l);
    kind->heads_remade = norm_over_heads || kind->rotated;
    kind->mixer = (uint8_t)find_mixer(model, recipe, layer, traits_of);
    kind->indexed = layer->index_key_length > 0;
    if (kind->mixer == GRAPH_ATTENTION && traits_of->tensor[T_ATTN_GATE])
        kind->gate = (uint32_t)traits_of->tensor[T_ATTN_GATE]->dim[1];
    kind->mixer_normed = traits_of->tensor[T_MIXER_NORM];
    kind->values_normed = recipe & RECIPE_BORROWS;
    kind->values_are_keys = kind->values_normed && !traits_of->tensor[T_VALUES];
}

/* Norms that have no tensors. */
static void norm_barely(struct graph_layer *kind)
{
    kind->normed_before = kind->feed_normed_before = true;
}

static void fill_feed(const struct dgo_model *model, const struct layer_traits *traits_of,
                      struct graph_layer *kind)
{
    const struct dgo_tensor *up = traits_of->tensor[T_UP], *down = traits_of->tensor[T_DOWN];

    kind->routed = traits_of->tensor[T_ROUTER] && model->expert_count > 0;
    kind->dense = down && !kind->routed;
    kind->twin = down && kind->routed && traits_of->tensor[T_TWIN_NORM];
    kind->experts_aside = down && kind->routed && traits_of->tensor[T_ASIDE_NORM];
    kind->dense_too = down && kind->routed && traits_of->tensor[T_ATTN_OUT_NORM];
    kind->embedded = traits_of->tensor[T_LAYER_GATE];
    kind->inner = down ? (uint32_t)down->dim[0] : 0;
    kind->feed_normed_before =
        traits_of->tensor[T_FEED_NORM] || traits_of->tensor[T_ATTN_OUT_NORM] ||
        (traits_of->tensor[T_POST_ATTN_NORM] && !traits_of->tensor[T_POST_FEED_NORM]);
    kind->gated = traits_of->tensor[T_GATE];
    kind->gate_fused = kind->dense && !kind->gated && up && up->dim[1] == 2 * down->dim[0];
    kind->experts_ungated =
        kind->routed && !traits_of->tensor[T_GATE_EXPERTS] && !traits_of->tensor[T_GATE_UP];
    kind->experts_fused = traits_of->tensor[T_GATE_UP];
    kind->experts_scaled = traits_of->tensor[T_EXPERT_SCALE];
    kind->choice_biased = traits_of->tensor[T_CHOICE_BIAS];
    kind->grouped = kind->routed && traits_of->tensor[T_GROUPS];
    kind->shared = traits_of->tensor[T_SHARED];
    kind->shared_ungated = kind->shared && !traits_of->tensor[T_SHARED_OWN_GATE];
    kind->shared_gated = traits_of->tensor[T_SHARED_GATE];
}

/* --- the order ------------------------------------------------------------------------------- */

/* The number of a kind; GRAPH_KINDS_MAX: there are too many. */
static uint32_t find_kind(struct memory_graph *graph, const struct graph_layer *kind)
{
    for (uint32_t k = 0; k < graph->kind_count; k++)
        if (memcmp(&graph->kind[k], kind, sizeof *kind) == 0)
            return k;
    if (graph->kind_count == GRAPH_KINDS_MAX)
        return GRAPH_KINDS_MAX;
    graph->kind[graph->kind_count] = *kind;
    return graph->kind_count++;
}

/* Whether a kind of the layers before `l` is among those from there on. */
static bool comes_again(const struct memory_graph *graph, uint32_t l)
{
    for (uint32_t later = l; later < graph->layer_count; later++)
        for (uint32_t before = 0; before < l; before++)
            if (graph->layer[later] == graph->layer[before])
                return true;
    return false;
}

/* A view of the lender's rows, as a copy of it is allocated. */
static uint64_t borrowed_bytes(const struct memory_graph *graph, const struct graph_layer *kind,
                               enum dgo_kv_type type, uint64_t width, uint64_t head)
{
    enum { ROW = MEMORY_DEVICE_ROW };
    const struct dgo_ggml_type *of = memory_kv_type(type);
    const uint64_t cells =
        graph->stream_count * (kind->window ? graph->window_cells : graph->cells);
    const uint64_t rest = of->block_values > 1 ? (ROW - head % ROW) % ROW : 0;

    return dgo_pad_u64((width * cells + rest) / of->block_values * of->block_bytes,
                       MEMORY_DEVICE_ALIGN);
}

void graph_widen_borrowed(struct memory_graph *graph)
{
    for (uint32_t k = 0; k < graph->kind_count && graph->scattered_values > 1; k++) {
        struct graph_layer *kind = &graph->kind[k];
        const uint64_t cells = kind->window ? graph->window_cells : graph->cells;
        const uint64_t rest = graph->scattered_values - kind->values;

        if (kind->borrows && graph->stream_count > 1)
            kind->borrowed_bytes += (graph->stream_count - 1) * cells * rest *
                                    memory_kv_type(graph->value_type)->block_bytes;
    }
}

static void fill_borrower(const struct dgo_model *model, struct memory_graph *graph,
                          struct graph_layer *kind)
{
    const struct dgo_layer *lender = &model->layer[graph->lender[kind->window]];

    kind->borrows = true;
    kind->queries = kind->heads * lender->key_length; /* a layer without a cache says no lengths */
    kind->mixed = kind->heads * lender->value_length;
    kind->keys = lender->head_count_kv * lender->key_length;
    kind->values = lender->head_count_kv * lender->value_length;
    kind->borrowed_bytes =
        borrowed_bytes(graph, kind, graph->key_type, kind->keys, lender->key_length) +
        borrowed_bytes(graph, kind, graph->value_type, kind->values, lender->value_length);
}

bool graph_fill_layers(const struct dgo_model *model, struct memory_graph *graph)
{
    enum { THINNED = 10 }; /* gemma3n's first layers; no key says it */
    struct layer_traits layers[DGO_LAYER_MAX] = {0};

    for (uint32_t t = 0; t < model->tensor_count; t++) {
        const struct dgo_tensor *tensor = &model->tensor[t];

        if (tensor->class == DGO_TENSOR_LAYER && tensor->layer < model->layer_count)
            note_tensor(tensor, &layers[tensor->layer]);
    }
    for (uint32_t l = 0; l < model->layer_count; l++) {
        struct graph_layer kind;

        memset(&kind, 0, sizeof kind); /* compared whole */
        fill_mixer(model, graph->recipe, l, &layers[l], &kind);
        if (kind.mixer == GRAPH_ATTENTION && model->layer[l].head_count_kv == 0)
            fill_borrower(model, graph, &kind);
        fill_feed(model, &layers[l], &kind);
        kind.thinned = graph->streams && l < THINNED;
        if (graph->norms_bare)
            norm_barely(&kind);
        const uint32_t number = find_kind(graph, &kind);

        if (number == GRAPH_KINDS_MAX)
            return false;
        graph->layer[l] = (uint8_t)number;
    }
    graph->layer_count = model->layer_count;
    for (uint32_t l = 1; l < graph->layer_count; l++)
        if (graph->layer[l] != graph->layer[l - 1] && !comes_again(graph, l))
            graph->leading_count = l;
    return graph->layer_count > 0;
}
