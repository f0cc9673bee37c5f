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

/* Where the first layers have caches and the rest none: how many have. */
static uint32_t count_caches(const struct dgo_model *model)
{
    uint32_t count = 0;

    while (count < model->layer_count && model->layer[count].head_count_kv > 0)
        count++;
    return count;
}

/* Whether the last layers attend to the caches of the last two that have one. */
static bool borrows(const struct dgo_model *model, uint32_t recipe)
{
    return recipe & RECIPE_BORROWS && count_caches(model) >= 2;
}

static enum graph_mixer find_mixer(const struct dgo_model *model, uint32_t recipe,
                                   const struct dgo_layer *layer,
                                   const struct layer_traits *traits_of)
{
    if (layer->recurrent && traits_of->tensor[T_STATE_SKIP])
        return layer->head_count_kv > 0 ? GRAPH_STATE_AND_ATTENTION : GRAPH_STATE_SPACE;
    if (layer->recurrent && memory_key_number(model, "shortconv.l_cache"))
        return GRAPH_CONVOLUTION;
    if (layer->recurrent)
        return memory_key_number(model, "kda.head_dim") ? GRAPH_KIMI_DELTA : GRAPH_DELTA;
    if (layer->head_count_kv == 0 && !borrows(model, recipe))
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
    if (kind->mixer == GRAPH_ATTENTION && traits_of->tensor[T_ATTN_GATE])
        kind->gate = (uint32_t)traits_of->tensor[T_ATTN_GATE]->dim[1];
    kind->mixer_normed = traits_of->tensor[T_MIXER_NORM];
    kind->values_normed = recipe & RECIPE_BORROWS;
    kind->values_are_keys = kind->values_normed && !traits_of->tensor[T_VALUES];
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

/* Without flash attention values lie transposed, in streams as long as the widest layer's: a copy
 * reaches over the rest of all streams but the last. */
static void widen_borrowed(struct memory_graph *graph)
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

static bool fill_layers(const struct dgo_model *model, struct memory_graph *graph)
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

/* --- sizes of the whole ---------------------------------------------------------------------- */

static bool is_packed(enum dgo_kv_type type)
{
    return memory_kv_type(type)->block_values > 1;
}

/* A packed cache is turned (Hadamard) before it is packed: by the largest power of two that divides
 * a head for keys, by 64 for values; heads that 64 does not divide are not.  Nor is any where
 * windows and states come together (lfm2), whose cache the engine makes in another way. */
static void fill_turns(const struct dgo_model *model, struct memory_graph *graph)
{
    enum { VALUE_TURN = 64 };
    uint64_t head[2] = {0}, value[2] = {0};
    bool recurrent = false, window = false;

    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];

        recurrent = recurrent || layer->recurrent;
        window = window || layer->sliding_window;
        if (layer->head_count_kv == 0)
            continue;
        head[layer->sliding_window] = dgo_max_u64(head[layer->sliding_window], layer->key_length);
        value[layer->sliding_window] =
            dgo_max_u64(value[layer->sliding_window], layer->value_length);
    }
    for (int i = 0; i < 2 && !model->mla && !(recurrent && window); i++) {
        const uint64_t size = head[i] & -head[i];

        if (is_packed(graph->key_type) && head[i] % VALUE_TURN == 0)
            graph->key_turn_bytes[i] = size * size * sizeof(float);
        if (is_packed(graph->value_type) && value[i] % VALUE_TURN == 0)
            graph->value_turn_bytes[i] = VALUE_TURN * VALUE_TURN * sizeof(float);
    }
}

static uint32_t key_number(const struct dgo_model *model, const char *suffix)
{
    return (uint32_t)memory_key_number(model, suffix);
}

static bool has_part(const struct dgo_model *model, const char *part)
{
    for (uint32_t t = 0; t < model->tensor_count; t++)
        if (strstr(model->tensor[t].name, part))
            return true;
    return false;
}

static void fill_states(const struct dgo_model *model, struct memory_graph *graph)
{
    graph->convolution = key_number(model, "ssm.conv_kernel");
    graph->state_inner = key_number(model, "ssm.inner_size");
    graph->state_groups = key_number(model, "ssm.group_count");
    graph->state_size = key_number(model, "ssm.state_size");
    graph->state_heads = key_number(model, "ssm.time_step_rank");
    graph->selective = graph->state_groups == 0 && graph->state_heads > 0;
    graph->parts_normed = has_part(model, ".ssm_b_norm");
    if (key_number(model, "kda.head_dim")) {
        graph->state_size = key_number(model, "kda.head_dim");
        graph->state_inner = graph->state_size * model->layer[0].head_count;
    }
    memory_state_bytes(model, &graph->shift_bytes, &graph->state_bytes);
}

static void fill_latent(const struct dgo_model *model, struct memory_graph *graph)
{
    graph->query_rank = key_number(model, "attention.q_lora_rank");
    graph->latent = key_number(model, "attention.kv_lora_rank");
    graph->rotated = key_number(model, "rope.dimension_count");
    graph->head_key = key_number(model, "attention.key_length_mla");
    graph->head_value = key_number(model, "attention.value_length_mla");
}

/* Whether a key says that something is done, or by how much. */
static bool key_is_set(const struct dgo_model *model, const char *suffix, double none)
{
    char name[128];

    snprintf(name, sizeof name, "%s.%s", model->architecture, suffix);
    const struct dgo_model_key *key = dgo_model_find(model, name);

    if (!key || key->is_array)
        return false;
    return key->kind == DGO_VALUE_FLOAT ? key->real != 0 && key->real != none : key->number != 0;
}

static bool has_sections(const struct dgo_model *model)
{
    char name[128];

    snprintf(name, sizeof name, "%s.rope.dimension_sections", model->architecture);
    const struct dgo_model_key *key = dgo_model_find(model, name);

    return key && key->elements && key->length > 1 && key->elements[0] > 0 && key->elements[1] > 0;
}

static uint32_t shared_inner(const struct dgo_model *model)
{
    for (uint32_t t = 0; t < model->tensor_count; t++)
        if (strstr(model->tensor[t].name, ".ffn_up_shexp.weight"))
            return (uint32_t)model->tensor[t].dim[1];
    return 0;
}

/* As the engine asks of them, which loads nothing else. */
static void fill_groups(const struct dgo_model *model, struct memory_graph *graph)
{
    const uint32_t groups = key_number(model, "expert_group_count");
    const uint32_t used = key_number(model, "expert_group_used_count");

    if (groups < 2 || used == 0 || used >= groups || groups >= model->expert_count ||
        model->expert_count % groups != 0)
        return;
    graph->expert_groups = groups;
    graph->expert_groups_used = used;
}

bool graph_has_tensor(const struct dgo_model *model, const char *name)
{
    for (uint32_t t = 0; t < model->tensor_count; t++)
        if (strcmp(model->tensor[t].name, name) == 0)
            return true;
    return false;
}

static bool has_window(const struct dgo_model *model)
{
    for (uint32_t l = 0; l < model->layer_count; l++)
        if (model->layer[l].sliding_window)
            return true;
    return false;
}

static void fill_model(const struct dgo_model *model, struct memory_graph *graph)
{
    enum { LAYERS_OF_7B = 32 }; /* the engine knows Baichuan 7B by them */

    graph->embedding = model->embedding_length;
    graph->streams = graph->recipe & RECIPE_STREAMS;
    graph->layer_embedding = graph_layer_embedding(model);
    if (borrows(model, graph->recipe)) {
        graph->lender[0] = count_caches(model) - 1;
        graph->lender[1] = count_caches(model) - 2;
    }
    graph->vocabulary = model->vocab_size;
    graph->expert_count = model->expert_count;
    graph->expert_used_count = model->expert_used_count;
    graph->expert_inner = model->expert_feed_forward_length;
    graph->shared_inner = shared_inner(model);
    fill_groups(model, graph);
    graph->shares_scaled = key_is_set(model, "expert_weights_scale", 1.0);
    if (key_is_set(model, "embedding_scale", 1.0))
        graph->recipe |= RECIPE_SCALED;
    if (graph->recipe & RECIPE_POSITIONS_BY_FILE && has_sections(model))
        graph->recipe |= RECIPE_POSITIONS_4;
    if (recipe_norms_plainly(model))
        graph->recipe |= RECIPE_LAYER_NORM;
    if (!has_window(model))
        graph->recipe &= ~(uint32_t)RECIPE_ROPE_IN_WINDOWS;
    graph->halves = (uint8_t)recipe_halves(model);
    if (graph->recipe & RECIPE_ROPE_IN_7B && model->layer_count != LAYERS_OF_7B)
        graph->recipe |= RECIPE_NO_ROPE;
    graph->positions_added = graph_has_tensor(model, "position_embd.weight");
    graph->embeddings_normed = graph_has_tensor(model, "token_embd_norm.weight") &&
                               graph_has_tensor(model, "output_norm.weight");
    if (key_is_set(model, "expert_weights_norm", 0))
        graph->recipe |= RECIPE_SHARES_NORMED;
}

/* Four of them, and embeddings for each layer: what the engine takes without keys is not read. */
static bool streams_known(const struct dgo_model *model, const struct memory_graph *graph)
{
    enum { STREAMS = 4 };
    const uint32_t count = key_number(model, "altup.num_inputs");

    return graph->layer_embedding > 0 && (count == 0 || count == STREAMS) &&
           key_number(model, "altup.active_idx") == 0;
}

static bool is_newest(const struct memory_build *rule)
{
    return rule->measured_build >= memory_build_find(0)->measured_build;
}

bool graph_fill(const struct dgo_model *model, const struct dgo_settings *settings,
                const struct plan_memory *memory, struct memory_graph *graph)
{
    const struct recipe *recipe = recipe_find(model->architecture);

    memset(graph, 0, sizeof *graph);
    if (!recipe || !model->verified || model->expert_used_count > GRAPH_USED_MAX)
        return false;
    if (!recipe_holds(recipe, memory->terms.rule) ||
        (recipe->flags & RECIPE_NO_EXPERTS && model->expert_count > 0))
        return false;
    graph->recipe = recipe->flags;
    graph->rule = memory->terms.rule;
    if (graph->recipe & RECIPE_WHOLE_NEWEST && is_newest(graph->rule))
        graph->recipe |= RECIPE_WHOLE;
    if (!graph_mixes_embeddings(graph))
        graph->recipe &= ~(uint32_t)RECIPE_SCALED_ROWS;
    graph->fused = memory_attention_fused(model, settings);
    graph->key_type = settings->key_type;
    graph->value_type = settings->value_type;
    graph->token_count = memory->graph_tokens;
    graph->row_count = memory->output_row_count;
    graph->states_out = settings->states_out;
    graph->slot_count = settings->slot_count;
    graph->state_count = 1 + (memory_rolls_back(model) ? settings->rollback_tokens : 0);
    graph->stream_count = memory->stream_count;
    graph->cells = memory->ctx_tokens_per_slot;
    graph->window_cells = memory->window_cells;
    fill_model(model, graph);
    fill_latent(model, graph);
    fill_turns(model, graph);
    if (graph->streams && !streams_known(model, graph))
        return false;
    if (!fill_layers(model, graph))
        return false;
    bool attends = false;

    graph->scattered_values = 1;

    for (uint32_t k = 0; k < graph->kind_count; k++) {
        const struct graph_layer *kind = &graph->kind[k];

        if (kind->window && !(graph->recipe & RECIPE_KEYS_FIRST))
            graph->recipe |= RECIPE_KEYS_FIRST; /* two caches: keys are put down first */
        if (kind->mixer == GRAPH_DELTA && !kind->fused_product)
            return false; /* an older file: its products are cut differently */
        if (kind->mixer >= GRAPH_DELTA)
            fill_states(model, graph);
        if (kind->mixer == GRAPH_STATE_SPACE || kind->mixer == GRAPH_STATE_AND_ATTENTION)
            graph->has_state_space = true;
        if (graph->selective && !graph->parts_normed && key_is_set(model, "ssm.dt_b_c_rms", 0))
            return false; /* normed without weights: not compared */
        attends = attends || kind->mixer == GRAPH_ATTENTION || kind->mixer == GRAPH_EXPANDED;
        if (memory_values_transposed(model, settings))
            graph->scattered_values = dgo_max_u64(graph->scattered_values, kind->values);
    }
    widen_borrowed(graph);
    graph->states_unsure = graph->has_state_space && attends && graph->slot_count > 1;
    return true;
}
