/* graph_fill.c - reads from a model what its graph is made of, beside the kinds of its layers. */
#include "graph.h"

#include <stdio.h>
#include <string.h>

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

bool graph_is_sparse(const struct dgo_model *model)
{
    for (uint32_t l = 0; l < model->layer_count; l++)
        if (model->layer[l].index_key_length > 0)
            return true;
    return false;
}

static void fill_latent(const struct dgo_model *model, struct memory_graph *graph)
{
    graph->query_rank = key_number(model, "attention.q_lora_rank");
    graph->latent = key_number(model, "attention.kv_lora_rank");
    graph->rotated = key_number(model, "rope.dimension_count");
    graph->head_key = key_number(model, "attention.key_length_mla");
    graph->head_value = key_number(model, "attention.value_length_mla");
    if (graph_is_sparse(model)) /* a next-token block by itself is not */
        graph->index_heads = key_number(model, "attention.indexer.head_count");
    graph->index_width = key_number(model, "attention.indexer.key_length");
    graph->index_best = key_number(model, "attention.indexer.top_k");
}

/* As CUDA's kernel for an indexer's scores has it; elsewhere the CPU computes them. */
static bool index_known(const struct memory_graph *graph)
{
    enum { WIDTH = 128, HEADS = 64, HALF_THE_HEADS = 32 };

    return graph->index_heads == 0 ||
           (graph->index_width == WIDTH && graph->query_rank > 0 && graph->index_best > 0 &&
            graph->key_type != DGO_KV_IQ4_NL &&
            (graph->index_heads == HEADS || graph->index_heads == HALF_THE_HEADS));
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

/* ALiBi, which the file seldom names; of Baichuan the one with 40 layers has it. */
static bool biases_scores(const struct dgo_model *model)
{
    static const char *const always[] = {"bloom", "refact"};
    enum { LAYERS_OF_13B = 40 };

    return DGO_TEXT_IN(model->architecture, always) ||
           key_is_set(model, "attention.max_alibi_bias", 0) ||
           (strcmp(model->architecture, "baichuan") == 0 && model->layer_count == LAYERS_OF_13B);
}

static void fill_model(const struct dgo_model *model, struct memory_graph *graph)
{
    enum { LAYERS_OF_7B = 32 }; /* the engine knows Baichuan 7B by them */
    enum { PERIOD = 4 };        /* smallthinker: as many layers as that are all rotated */

    graph->embedding = model->embedding_length;
    graph->streams = graph->recipe & RECIPE_STREAMS;
    graph->layer_embedding = graph_layer_embedding(model);
    if (graph_borrows(model, graph->recipe)) {
        graph->lender[0] = graph_cache_count(model) - 1;
        graph->lender[1] = graph_cache_count(model) - 2;
    }
    graph->vocabulary = model->vocab_size;
    graph->expert_count = model->expert_count;
    graph->expert_used_count = model->expert_used_count;
    graph->expert_inner = model->expert_feed_forward_length;
    graph->shared_inner = shared_inner(model);
    fill_groups(model, graph);
    recipe_fill_late(model, graph);
    graph->shares_scaled = key_is_set(model, "expert_weights_scale", 1.0);
    if (key_is_set(model, "embedding_scale", 1.0))
        graph->recipe |= RECIPE_SCALED;
    if (graph->recipe & RECIPE_POSITIONS_BY_FILE && has_sections(model))
        graph->recipe |= RECIPE_POSITIONS_4;
    graph->rows_scaled = recipe_scales_rows(model);
    graph->router_first = recipe_asks_first(model);
    graph->norms_bare = recipe_norms_barely(model);
    if (recipe_norms_plainly(model))
        graph->recipe |= RECIPE_LAYER_NORM;
    if (!has_window(model) || (graph->router_first && model->layer_count == PERIOD))
        graph->recipe &= ~(uint32_t)RECIPE_ROPE_IN_WINDOWS;
    graph->halves = (uint8_t)recipe_halves(model);
    if (graph->recipe & RECIPE_ROPE_IN_7B && model->layer_count != LAYERS_OF_7B)
        graph->recipe |= RECIPE_NO_ROPE;
    graph->scores_biased = biases_scores(model);
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

bool graph_fill(const struct dgo_model *model, const struct dgo_settings *settings,
                const struct plan_memory *memory, struct memory_graph *graph)
{
    const struct recipe *recipe = recipe_find(model->architecture);

    memset(graph, 0, sizeof *graph);
    if (!recipe || (!model->verified && !memory->terms.fed) ||
        model->expert_used_count > GRAPH_USED_MAX)
        return false;
    if (!recipe_holds(recipe, memory->terms.rule) ||
        (recipe->flags & RECIPE_NO_EXPERTS && model->expert_count > 0))
        return false;
    graph->recipe = recipe->flags;
    graph->rule = memory->terms.rule;
    if (graph->recipe & RECIPE_WHOLE_NEWEST && graph->rule->graphs >= GRAPHS_MOST)
        graph->recipe |= RECIPE_WHOLE;
    if (!graph_mixes_embeddings(graph))
        graph->recipe &= ~(uint32_t)RECIPE_SCALED_ROWS;
    graph->fused = memory_attention_fused(model, settings);
    graph->turns_values = !graph->fused && !memory_values_transposed(model, settings);
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
    if (!index_known(graph) || (graph->streams && !streams_known(model, graph)))
        return false;
    if (!graph_fill_layers(model, graph))
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
    graph_widen_borrowed(graph);
    graph->states_unsure = graph->has_state_space && attends && graph->slot_count > 1;
    return true;
}
