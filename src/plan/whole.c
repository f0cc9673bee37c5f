/* whole.c - the graph of a whole model, layer by layer, in the order of the engine's nodes.
 *
 * FORMULAS "Parts in host memory".  Only models whose every tensor is known here are built: stacks
 * of attention and a feed-forward, dense or routed, of architectures that recipes.c marks. */
#include "whole_parts.h"

#include <stdlib.h>
#include <string.h>

static const char *const part_names[PART_COUNT] = {
    [ATTN_NORM] = "attn_norm.weight",
    [ATTN_NORM_BIAS] = "attn_norm.bias",
    [ATTN_QKV] = "attn_qkv.weight",
    [ATTN_QKV_BIAS] = "attn_qkv.bias",
    [ATTN_Q] = "attn_q.weight",
    [ATTN_Q_BIAS] = "attn_q.bias",
    [ATTN_K] = "attn_k.weight",
    [ATTN_K_BIAS] = "attn_k.bias",
    [ATTN_V] = "attn_v.weight",
    [ATTN_V_BIAS] = "attn_v.bias",
    [ATTN_Q_NORM] = "attn_q_norm.weight",
    [ATTN_K_NORM] = "attn_k_norm.weight",
    [ATTN_SINKS] = "attn_sinks.weight",
    [LATENT_Q] = "attn_q_a.weight",
    [LATENT_Q_NORM] = "attn_q_a_norm.weight",
    [LATENT_Q_HEADS] = "attn_q_b.weight",
    [LATENT_KV] = "attn_kv_a_mqa.weight",
    [LATENT_KV_NORM] = "attn_kv_a_norm.weight",
    [LATENT_K_HEADS] = "attn_k_b.weight",
    [LATENT_V_HEADS] = "attn_v_b.weight",
    [DELTA_GATE] = "attn_gate.weight",
    [SSM_CONV] = "ssm_conv1d.weight",
    [SSM_DT] = "ssm_dt.bias",
    [SSM_A] = "ssm_a",
    [SSM_ALPHA] = "ssm_alpha.weight",
    [SSM_BETA] = "ssm_beta.weight",
    [SSM_BETA_ALPHA] = "ssm_ba.weight",
    [SSM_NORM] = "ssm_norm.weight",
    [SSM_OUT] = "ssm_out.weight",
    [ATTN_OUT] = "attn_output.weight",
    [ATTN_OUT_BIAS] = "attn_output.bias",
    [POST_ATTN_NORM] = "post_attention_norm.weight",
    [FFN_NORM] = "ffn_norm.weight",
    [FFN_NORM_BIAS] = "ffn_norm.bias",
    [FFN_GATE] = "ffn_gate.weight",
    [FFN_UP] = "ffn_up.weight",
    [FFN_UP_BIAS] = "ffn_up.bias",
    [FFN_DOWN] = "ffn_down.weight",
    [FFN_DOWN_BIAS] = "ffn_down.bias",
    [POST_FFN_NORM] = "post_ffw_norm.weight",
    [ROUTER] = "ffn_gate_inp.weight",
    [ROUTER_BIAS] = "ffn_gate_inp.bias",
    [CHOICE_BIAS] = "exp_probs_b.bias",
    [EXP_GATE_UP] = "ffn_gate_up_exps.weight",
    [EXP_GATE_UP_BIAS] = "ffn_gate_up_exps.bias",
    [EXP_GATE] = "ffn_gate_exps.weight",
    [EXP_GATE_BIAS] = "ffn_gate_exps.bias",
    [EXP_UP] = "ffn_up_exps.weight",
    [EXP_UP_BIAS] = "ffn_up_exps.bias",
    [EXP_DOWN] = "ffn_down_exps.weight",
    [EXP_DOWN_BIAS] = "ffn_down_exps.bias",
    [SHARED_ROUTER] = "ffn_gate_inp_shexp.weight",
    [SHARED_GATE] = "ffn_gate_shexp.weight",
    [SHARED_UP] = "ffn_up_shexp.weight",
    [SHARED_DOWN] = "ffn_down_shexp.weight",
};

/* --- the file's tensors ---------------------------------------------------------------------- */

static int32_t tensor_home(const struct builder *b, const struct dgo_tensor *tensor, int32_t home)
{
    const int32_t device = override_device(b->overrides, tensor->name);

    if (device == DGO_OVERRIDE_HOST)
        return whole_cpu(b);
    if (device != OVERRIDE_NONE)
        return device;
    return memory_expert_on_host(tensor, b->to->settings) ? whole_cpu(b) : home;
}

/* False: a tensor of a layer that no node here uses. */
static bool note_layer_tensor(struct builder *b, const struct dgo_tensor *tensor)
{
    const char *name = strchr(tensor->name, '.'); /* blk.N.name */

    if (tensor->layer >= b->memory->layer_count)
        return true; /* next-token blocks are not loaded */
    name = name ? strchr(name + 1, '.') : NULL;
    for (int p = 0; name && p < PART_COUNT; p++) {
        if (strcmp(name + 1, part_names[p]) != 0)
            continue;
        b->part[tensor->layer][p] =
            (struct weight){tensor, tensor_home(b, tensor, whole_home(b, tensor->layer))};
        return true;
    }
    return false;
}

static bool note_tensor(struct builder *b, const struct dgo_tensor *tensor)
{
    const int32_t output_home = whole_home(b, b->memory->layer_count);

    switch (tensor->class) {
    case DGO_TENSOR_INPUT:
        if (strcmp(tensor->name, "token_embd.weight") != 0)
            return false;
        b->embedding = (struct weight){tensor, tensor_home(b, tensor, whole_cpu(b))};
        if (b->model->tied_embeddings)
            b->output = (struct weight){tensor, tensor_home(b, tensor, output_home)};
        return true;
    case DGO_TENSOR_LAYER:
        return note_layer_tensor(b, tensor);
    case DGO_TENSOR_OUTPUT:
        if (strcmp(tensor->name, "output.weight") == 0)
            b->output = (struct weight){tensor, tensor_home(b, tensor, output_home)};
        else if (strcmp(tensor->name, "output_norm.weight") == 0)
            b->output_norm = (struct weight){tensor, tensor_home(b, tensor, output_home)};
        else if (strcmp(tensor->name, "output_norm.bias") == 0)
            b->output_norm_bias = (struct weight){tensor, tensor_home(b, tensor, output_home)};
        else
            return false;
        return true;
    case DGO_TENSOR_TABLE:
        if (strcmp(tensor->name, "rope_freqs.weight") != 0)
            return false;
        b->rope = tensor;
        return true;
    }
    return false;
}

static bool has_all(const struct weight *w, const enum part *needed, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!w[needed[i]].tensor)
            return false;
    return true;
}

#define HAS(w, ...)                                                                                \
    has_all(w, (const enum part[]){__VA_ARGS__},                                                   \
            sizeof((const enum part[]){__VA_ARGS__}) / sizeof(enum part))

static bool has_mixer(const struct builder *b, uint32_t l)
{
    const struct weight *w = b->part[l];

    switch ((enum graph_mixer)whole_kind(b, l)->mixer) {
    case GRAPH_ATTENTION:
        return w[ATTN_OUT].tensor && !w[DELTA_GATE].tensor &&
               (w[ATTN_QKV].tensor || HAS(w, ATTN_Q, ATTN_K, ATTN_V));
    case GRAPH_LATENT:
        return HAS(w, ATTN_OUT, LATENT_KV, LATENT_KV_NORM, LATENT_K_HEADS, LATENT_V_HEADS) &&
               (b->shape->query_rank > 0 ? HAS(w, LATENT_Q, LATENT_Q_NORM, LATENT_Q_HEADS)
                                         : w[ATTN_Q].tensor != NULL);
    case GRAPH_DELTA:
        return HAS(w, ATTN_QKV, DELTA_GATE, SSM_CONV, SSM_DT, SSM_A, SSM_NORM, SSM_OUT) &&
               (w[SSM_BETA_ALPHA].tensor || HAS(w, SSM_ALPHA, SSM_BETA));
    default:
        return false;
    }
}

static bool has_feed(const struct builder *b, uint32_t l)
{
    const struct weight *w = b->part[l];

    if (!whole_kind(b, l)->routed)
        return HAS(w, FFN_UP, FFN_DOWN);
    if (whole_kind(b, l)->shared && !HAS(w, SHARED_GATE, SHARED_UP, SHARED_DOWN))
        return false;
    return HAS(w, ROUTER, EXP_DOWN) && (w[EXP_GATE_UP].tensor || HAS(w, EXP_GATE, EXP_UP));
}

static bool note_tensors(struct builder *b)
{
    for (uint32_t i = 0; i < b->model->tensor_count; i++)
        if (!note_tensor(b, &b->model->tensor[i]))
            return false;
    for (uint32_t l = 0; l < b->memory->layer_count; l++)
        if (!has_mixer(b, l) || !has_feed(b, l))
            return false;
    return b->embedding.tensor && b->output.tensor && b->output_norm.tensor;
}

/* --- layer after layer ------------------------------------------------------------------------ */

static int32_t picked(struct builder *b, int32_t of)
{
    return whole_node(b,
                      (struct net_op){.bytes = b->rows * b->model->embedding_length * sizeof(float),
                                      .source = SOURCES(of, whole_input(b, &b->inputs.out_rows,
                                                                        b->rows * sizeof(int32_t))),
                                      PLAIN});
}

/* The first half of a layer: what is added to the residual. */
static int32_t mixed(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    int32_t made;

    if (whole_kind(b, l)->mixer == GRAPH_DELTA)
        return whole_delta(b, l, in);
    if (whole_kind(b, l)->mixer == GRAPH_LATENT)
        made = whole_latent(b, l, in);
    else
        made = whole_attention(b, l, in);
    if (whole_kind(b, l)->mixer == GRAPH_ATTENTION && !whole_kind(b, l)->queries_gated)
        made = whole_turned_back(b, l, made);
    made = whole_product(b, &w[ATTN_OUT], made, wide, b->tokens);
    return whole_changed(b, &w[ATTN_OUT_BIAS], made, wide, b->tokens);
}

/* Attention and feed-forward are made of one norm; the feed-forward is put down first. */
static int32_t parallel(struct builder *b, uint32_t l, int32_t normed, int32_t in)
{
    const bool last = l + 1 == b->memory->layer_count;
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const uint64_t rows = last ? b->rows : b->tokens;
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    int32_t heads = whole_attention(b, l, normed), made;

    made = whole_feed(b, l, last ? picked(b, normed) : normed, rows);
    made = whole_sum(b, made, last ? picked(b, in) : in, bytes, rows);
    heads = whole_turned_back(b, l, heads);
    heads = whole_product(b, &b->part[l][ATTN_OUT], heads, wide, b->tokens);
    heads = whole_changed(b, &b->part[l][ATTN_OUT_BIAS], heads, wide, b->tokens);
    return whole_sum(b, made, last ? picked(b, heads) : heads, bytes, rows);
}

static int32_t feed_normed(struct builder *b, uint32_t l, int32_t in, uint64_t bytes, uint64_t rows)
{
    const struct weight *w = b->part[l];

    if (!whole_kind(b, l)->feed_normed_before)
        return in;
    in = whole_normed(b, &w[w[FFN_NORM].tensor ? FFN_NORM : POST_ATTN_NORM], in, bytes, rows, l);
    return whole_changed(b, &w[FFN_NORM_BIAS], in, bytes, rows);
}

static int32_t layer(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const bool last = l + 1 == b->memory->layer_count && !graph_picks_late(b->shape);
    const bool norms_after =
        w[POST_ATTN_NORM].tensor && (w[FFN_NORM].tensor || w[POST_FFN_NORM].tensor);
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const uint64_t rows = last ? b->rows : b->tokens;
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    const bool told = b->shape->recipe & RECIPE_LAST_NORM_TOLD;
    int32_t made = in;

    if (w[ATTN_NORM].tensor)
        made = whole_normed(b, &w[ATTN_NORM], in, wide, b->tokens, l);
    made = whole_changed(b, &w[ATTN_NORM_BIAS], made, wide, b->tokens);
    if (b->shape->recipe & RECIPE_PARALLEL)
        return parallel(b, l, made, in);
    made = mixed(b, l, made);
    if (last)
        made = picked(b, made);
    if (last && !norms_after)
        in = picked(b, in);
    if (norms_after)
        made = whole_normed(b, &w[POST_ATTN_NORM], made, bytes, rows, l);
    if (last && norms_after)
        in = picked(b, in);
    in = whole_sum(b, made, in, bytes, rows);
    made = whole_feed(b, l, feed_normed(b, l, in, bytes, rows), rows);
    if (w[POST_FFN_NORM].tensor)
        made = whole_normed(b, &w[POST_FFN_NORM], made, bytes, rows,
                            told ? l : b->memory->layer_count);
    if (b->shape->recipe & RECIPE_FEED_OWN_FIRST)
        return whole_sum(b, in, made, bytes, rows);
    return whole_sum(b, made, in, bytes, rows);
}

/* A second way in, for embeddings that come from outside among tokens: reserved though nothing uses
 * it.  `table`: the token's embeddings. */
static void mixed_embeddings(struct builder *b, int32_t table)
{
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const int32_t mixed_tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    const int32_t mixed_in = net_input(&b->graph, wide);
    const int32_t slots = net_input(&b->graph, b->tokens * sizeof(int64_t));
    const int32_t second = whole_node(
        b, (struct net_op){.bytes = wide, .source = SOURCES(table, mixed_tokens), PLAIN});
    const int32_t mixed = whole_node(
        b, (struct net_op){
               .bytes = wide, .rows = b->tokens, .source = SOURCES(mixed_in), .kept = true, PLAIN});

    whole_node(b, (struct net_op){.rows = b->tokens,
                                  .source = SOURCES(second, slots, mixed),
                                  .written = mixed,
                                  .on = NET_NONE});
}

static int32_t embeddings(struct builder *b)
{
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const int32_t tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    const bool mixes = graph_mixes_embeddings(b->shape);
    /* In place of tokens: no node uses it. */
    const int32_t outside = mixes ? net_input(&b->graph, wide) : net_unused_input(&b->graph, wide);
    const int32_t table = whole_stored(b, &b->embedding);
    int32_t made =
        whole_node(b, (struct net_op){.bytes = wide, .source = SOURCES(table, tokens), PLAIN});

    (void)outside;
    if (mixes)
        mixed_embeddings(b, table);
    if (b->shape->recipe & RECIPE_SCALED)
        made = whole_node(
            b, (struct net_op){
                   .bytes = wide,
                   .rows = b->tokens,
                   .source = SOURCES(made, b->shape->recipe & RECIPE_SCALED_ROWS
                                               ? net_input(&b->graph, b->tokens * sizeof(float))
                                               : NET_NONE),
                   .reusable = 1,
                   PLAIN});
    return made;
}

static void build(struct builder *b)
{
    const uint64_t bytes = b->rows * b->model->embedding_length * sizeof(float);
    int32_t stream;

    memset(&b->inputs, 0xff, sizeof b->inputs); /* NET_NONE, all of them */
    stream = embeddings(b);
    for (uint32_t l = 0; l < b->memory->layer_count; l++)
        stream = layer(b, l, stream);
    if (graph_picks_late(b->shape)) {
        if (!b->graph.failed)
            b->graph.tensor[stream].kept = b->shape->recipe & RECIPE_LAST_KEPT;
        stream = picked(b, stream);
    }
    stream = whole_normed(b, &b->output_norm, stream, bytes, b->rows, b->memory->layer_count);
    stream = whole_changed(b, &b->output_norm_bias, stream, bytes, b->rows);
    whole_node(b, (struct net_op){.bytes = b->rows * b->model->vocab_size * sizeof(float),
                                  .rows = b->rows,
                                  .source = SOURCES(whole_stored(b, &b->output), stream),
                                  .kept = true,
                                  PLAIN});
}

/* The graph of a micro-batch and that of a token for each slot are both reserved. */
static bool run_graphs(struct builder *b, uint64_t peak_bytes[NET_BACKENDS_MAX])
{
    const uint64_t slots = b->to->settings->slot_count;
    const uint64_t tokens[] = {b->memory->graph_tokens, slots};
    bool made = true;

    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0] && made; i++) {
        uint64_t peak[NET_BACKENDS_MAX] = {0};

        b->tokens = tokens[i];
        b->rows = dgo_min_u64(b->memory->output_row_count, tokens[i]);
        net_init(&b->graph, b->to->device_count);
        build(b);
        made = net_schedule(&b->graph, b->memory->op_offload, b->to->pipeline ? MEMORY_COPIES : 1,
                            peak);
        net_done(&b->graph);
        for (uint32_t k = 0; k <= b->to->device_count; k++)
            peak_bytes[k] = dgo_max_u64(peak_bytes[k], peak[k]);
    }
    return made;
}

/* With the engine: whole layers on devices of this machine, and none of what drafts ask for. */
static bool is_compared(const struct builder *b)
{
    const struct dgo_settings *settings = b->to->settings;

    if (!b->memory->replayed || !b->memory->terms.rule->exact || b->memory->terms.adapted ||
        !(b->shape->recipe & RECIPE_WHOLE))
        return false;
    if (settings->split_mode == DGO_SPLIT_TENSOR || settings->remote)
        return false;
    return settings->rollback_tokens == 0 && !settings->states_out && !settings->own_draft &&
           (settings->output_row_count == 0 || !graph_mixes_embeddings(b->shape));
}

bool whole_compute_bytes(const struct whole_placement *placement,
                         uint64_t device_bytes[DGO_GPU_MAX], uint64_t *host_bytes)
{
    uint64_t peak_bytes[NET_BACKENDS_MAX] = {0};
    struct builder b = {.to = placement,
                        .memory = placement->memory,
                        .model = placement->memory->model,
                        .shape = &placement->memory->graph};
    bool made = false;

    if (!is_compared(&b) || override_set_make(placement->settings, &b.overrides, NULL) != DGO_OK)
        return false;
    b.part = calloc(b.memory->layer_count, sizeof *b.part);
    made = b.part && note_tensors(&b) && run_graphs(&b, peak_bytes);
    free(b.part);
    override_set_free(b.overrides);
    if (!made)
        return false;
    memcpy(device_bytes, peak_bytes, placement->device_count * sizeof *device_bytes);
    *host_bytes = peak_bytes[placement->device_count];
    return true;
}
