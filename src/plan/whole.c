/* whole.c - the graph of a whole model, layer by layer, in the order of the engine's nodes.
 *
 * FORMULAS "Parts in host memory".  Only models whose every tensor is known here are built: plain
 * stacks of attention and a feed-forward, dense or routed. */
#include "whole.h"

#include "net.h"

#include <stdlib.h>
#include <string.h>

/* The tensors of a layer, as the names end. */
enum part {
    ATTN_NORM,
    ATTN_Q,
    ATTN_Q_BIAS,
    ATTN_K,
    ATTN_K_BIAS,
    ATTN_V,
    ATTN_V_BIAS,
    ATTN_Q_NORM,
    ATTN_K_NORM,
    ATTN_SINKS,
    ATTN_OUT,
    ATTN_OUT_BIAS,
    POST_ATTN_NORM,
    FFN_NORM,
    FFN_GATE,
    FFN_UP,
    FFN_DOWN,
    POST_FFN_NORM,
    ROUTER,
    ROUTER_BIAS,
    EXP_GATE,
    EXP_GATE_BIAS,
    EXP_UP,
    EXP_UP_BIAS,
    EXP_DOWN,
    EXP_DOWN_BIAS,
    PART_COUNT,
};

static const char *const part_names[PART_COUNT] = {
    [ATTN_NORM] = "attn_norm.weight",
    [ATTN_Q] = "attn_q.weight",
    [ATTN_Q_BIAS] = "attn_q.bias",
    [ATTN_K] = "attn_k.weight",
    [ATTN_K_BIAS] = "attn_k.bias",
    [ATTN_V] = "attn_v.weight",
    [ATTN_V_BIAS] = "attn_v.bias",
    [ATTN_Q_NORM] = "attn_q_norm.weight",
    [ATTN_K_NORM] = "attn_k_norm.weight",
    [ATTN_SINKS] = "attn_sinks.weight",
    [ATTN_OUT] = "attn_output.weight",
    [ATTN_OUT_BIAS] = "attn_output.bias",
    [POST_ATTN_NORM] = "post_attention_norm.weight",
    [FFN_NORM] = "ffn_norm.weight",
    [FFN_GATE] = "ffn_gate.weight",
    [FFN_UP] = "ffn_up.weight",
    [FFN_DOWN] = "ffn_down.weight",
    [POST_FFN_NORM] = "post_ffw_norm.weight",
    [ROUTER] = "ffn_gate_inp.weight",
    [ROUTER_BIAS] = "ffn_gate_inp.bias",
    [EXP_GATE] = "ffn_gate_exps.weight",
    [EXP_GATE_BIAS] = "ffn_gate_exps.bias",
    [EXP_UP] = "ffn_up_exps.weight",
    [EXP_UP_BIAS] = "ffn_up_exps.bias",
    [EXP_DOWN] = "ffn_down_exps.weight",
    [EXP_DOWN_BIAS] = "ffn_down_exps.bias",
};

/* How the graph of an architecture differs from llama's. */
struct style {
    const char *architecture;
    bool keys_first;     /* keys before values */
    bool norm_last;      /* heads are rotated, then normed */
    bool input_scaled;   /* embeddings are multiplied before the first layer */
    bool scale_input;    /* by a tensor of its own, one value for each token */
    bool chosen_softmax; /* the odds of the chosen experts, not of all */
    uint8_t positions;   /* for each token; 0: one */
};

static const struct style styles[] = {
    {.architecture = "llama"},
    {.architecture = "qwen2"},
    {.architecture = "qwen3"},
    {.architecture = "qwen3moe"},
    {.architecture = "mistral3"},
    {.architecture = "seed_oss"},
    {.architecture = "hunyuan-dense", .norm_last = true},
    {.architecture = "qwen3vl", .positions = 4},
    {.architecture = "granite", .input_scaled = true},
    {.architecture = "gemma2", .keys_first = true, .input_scaled = true, .scale_input = true},
    {.architecture = "gemma3", .keys_first = true, .input_scaled = true, .scale_input = true},
    {.architecture = "gpt-oss", .keys_first = true, .chosen_softmax = true},
};

/* A tensor of the file, and where it lies. */
struct weight {
    const struct dgo_tensor *tensor; /* NULL: the model has none */
    int32_t home;
};

struct builder {
    const struct whole_placement *to;
    const struct dgo_model *model;
    const struct plan_memory *memory;
    const struct style *style;
    struct override_set *overrides;
    struct weight (*part)[PART_COUNT]; /* of each layer */
    struct weight embedding, output, output_norm;
    const struct dgo_tensor *rope; /* its factors; on every device */

    struct net graph;
    uint64_t tokens, rows; /* of the graph that is being built */
    /* What comes in from outside, made when first used: that is the order of the engine, too. */
    struct inputs {
        int32_t positions, out_rows;
        int32_t rope[NET_BACKENDS_MAX]; /* no input, but one tensor for all layers of a backend */
        /* Of the cache with every cell and of the one with a window. */
        struct cache_inputs {
            int32_t key_rows, value_rows, mask, key_turn, value_turn;
        } cache[2];
    } inputs;
};

/* --- the file's tensors ---------------------------------------------------------------------- */

static int32_t cpu_of(const struct builder *b)
{
    return (int32_t)b->to->device_count;
}

static int32_t layer_home(const struct builder *b, uint32_t l)
{
    return b->to->layer_device[l] == ASSIGN_CPU ? cpu_of(b) : b->to->layer_device[l];
}

static int32_t tensor_home(const struct builder *b, const struct dgo_tensor *tensor, int32_t home)
{
    const int32_t device = override_device(b->overrides, tensor->name);

    if (device == DGO_OVERRIDE_HOST)
        return cpu_of(b);
    if (device != OVERRIDE_NONE)
        return device;
    return memory_expert_on_host(tensor, b->to->settings) ? cpu_of(b) : home;
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
            (struct weight){tensor, tensor_home(b, tensor, layer_home(b, tensor->layer))};
        return true;
    }
    return false;
}

static bool note_tensor(struct builder *b, const struct dgo_tensor *tensor)
{
    const int32_t output_home = layer_home(b, b->memory->layer_count);

    switch (tensor->class) {
    case DGO_TENSOR_INPUT:
        if (strcmp(tensor->name, "token_embd.weight") != 0)
            return false;
        b->embedding = (struct weight){tensor, tensor_home(b, tensor, cpu_of(b))};
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

static bool has_layer(const struct builder *b, uint32_t l)
{
    static const enum part needed[] = {ATTN_NORM, ATTN_Q, ATTN_K, ATTN_V, ATTN_OUT};
    const struct weight *w = b->part[l];

    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!w[needed[i]].tensor)
            return false;
    if (!w[FFN_NORM].tensor && !w[POST_ATTN_NORM].tensor)
        return false;
    if (w[ROUTER].tensor)
        return w[EXP_GATE].tensor && w[EXP_UP].tensor && w[EXP_DOWN].tensor;
    return w[FFN_GATE].tensor && w[FFN_UP].tensor && w[FFN_DOWN].tensor;
}

static bool note_tensors(struct builder *b)
{
    for (uint32_t i = 0; i < b->model->tensor_count; i++)
        if (!note_tensor(b, &b->model->tensor[i]))
            return false;
    for (uint32_t l = 0; l < b->memory->layer_count; l++)
        if (!has_layer(b, l))
            return false;
    return b->embedding.tensor && b->output.tensor && b->output_norm.tensor;
}

/* --- nodes ----------------------------------------------------------------------------------- */

static uint64_t floats(const struct builder *b, uint64_t width)
{
    return width * b->tokens * sizeof(float);
}

#define SOURCES(...)                                                                               \
    {                                                                                              \
        __VA_ARGS__, NET_NONE                                                                      \
    }

static int32_t stored(struct builder *b, const struct weight *w)
{
    return net_stored(&b->graph, w->tensor->size_bytes, memory_tensor_device_bytes(w->tensor),
                      w->home, true);
}

static int32_t input(struct builder *b, int32_t *made, uint64_t bytes)
{
    if (*made == NET_NONE)
        *made = net_input(&b->graph, bytes);
    return *made;
}

static int32_t node(struct builder *b, struct net_op op)
{
    bool ended = false;

    for (int i = 0; i < NET_SOURCES_MAX; i++) {
        ended = ended || op.source[i] == NET_NONE;
        if (ended)
            op.source[i] = NET_NONE;
    }
    return net_add(&b->graph, &op);
}

/* Most nodes: what lies nowhere yet and goes where its operands are. */
#define PLAIN .written = NET_NONE, .on = NET_NONE

static int32_t product(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                       uint64_t rows)
{
    return node(b, (struct net_op){
                       .bytes = bytes, .rows = rows, .source = SOURCES(stored(b, w), of), PLAIN});
}

/* Added, or multiplied with: written over what it changes. */
static int32_t changed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                       uint64_t rows)
{
    if (!w->tensor)
        return of;
    return node(b, (struct net_op){.bytes = bytes,
                                   .rows = rows,
                                   .source = SOURCES(of, stored(b, w)),
                                   .reusable = 1,
                                   PLAIN});
}

static int32_t sum(struct builder *b, int32_t first, int32_t second, uint64_t bytes, uint64_t rows)
{
    return node(
        b,
        (struct net_op){
            .bytes = bytes, .rows = rows, .source = SOURCES(first, second), .reusable = 3, PLAIN});
}

/* A norm is told to run with its layer where all layers are on devices, or few tokens come. */
static int8_t norm_place(const struct builder *b, uint32_t l)
{
    enum { FEW_TOKENS = 32 };
    bool full = true;

    if (l >= b->memory->layer_count)
        return NET_NONE;
    for (uint32_t i = 0; i <= b->memory->layer_count; i++)
        full = full && b->to->layer_device[i] != ASSIGN_CPU;
    return full || b->tokens < FEW_TOKENS ? (int8_t)layer_home(b, l) : (int8_t)NET_NONE;
}

static int32_t normed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                      uint64_t rows, uint32_t l)
{
    const int32_t norm = node(b, (struct net_op){.bytes = bytes,
                                                 .rows = rows,
                                                 .source = SOURCES(of),
                                                 .reusable = 1,
                                                 .written = NET_NONE,
                                                 .on = norm_place(b, l)});

    return changed(b, w, norm, bytes, rows);
}

static int32_t picked(struct builder *b, int32_t of)
{
    return node(b, (struct net_op){.bytes = b->rows * b->model->embedding_length * sizeof(float),
                                   .source = SOURCES(of, input(b, &b->inputs.out_rows,
                                                               b->rows * sizeof(int32_t))),
                                   PLAIN});
}

/* --- attention ------------------------------------------------------------------------------- */

static int32_t rotated(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const struct weight table = {b->rope, layer_home(b, l)};
    const uint64_t positions = b->style->positions ? b->style->positions : 1;
    int32_t *factors = &b->inputs.rope[table.home];
    const int32_t where = input(b, &b->inputs.positions, positions * b->tokens * sizeof(int32_t));

    if (b->rope && *factors == NET_NONE)
        *factors = stored(b, &table);
    return node(b, (struct net_op){.bytes = bytes,
                                   .source = SOURCES(of, where, *factors),
                                   .reusable = 1,
                                   .light = true,
                                   PLAIN});
}

/* Queries and keys as heads: normed and rotated, and turned for a packed cache. */
static int32_t heads(struct builder *b, uint32_t l, int32_t plain, enum part norm, uint64_t width,
                     uint64_t head_count)
{
    const struct weight *w = &b->part[l][norm];
    const uint64_t bytes = floats(b, width);
    const uint64_t rows = head_count * b->tokens;
    int32_t made = net_view(&b->graph, plain, bytes);

    if (w->tensor && !b->style->norm_last)
        made = normed(b, w, made, bytes, rows, l);
    made = rotated(b, l, made, bytes);
    if (w->tensor && b->style->norm_last)
        made = normed(b, w, made, bytes, rows, l);
    return made;
}

static struct cache_inputs *inputs_of(struct builder *b, uint32_t l)
{
    return &b->inputs.cache[b->model->layer[l].sliding_window];
}

/* A packed cache takes keys, values and gives results that a matrix of `size` turned. */
static int32_t turned(struct builder *b, enum dgo_kv_type type, int32_t *matrix, uint64_t size,
                      int32_t of, uint64_t bytes)
{
    int32_t turn;

    if (memory_kv_type(type)->block_values == 1)
        return of;
    turn = input(b, matrix, size * size * sizeof(float));
    of = net_view(&b->graph, of, bytes);
    return node(b, (struct net_op){.bytes = bytes, .source = SOURCES(turn, of), PLAIN});
}

static int32_t turned_key(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const uint64_t head = b->model->layer[l].key_length;

    /* The greatest power of two that divides a head. */
    return turned(b, b->to->settings->key_type, &inputs_of(b, l)->key_turn, head & -head, of,
                  bytes);
}

static int32_t turned_value(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    enum { VALUE_ROTATION = 64 };

    return turned(b, b->to->settings->value_type, &inputs_of(b, l)->value_turn, VALUE_ROTATION, of,
                  bytes);
}

static int32_t projected(struct builder *b, uint32_t l, enum part weight, enum part bias,
                         int32_t of, uint64_t width)
{
    const int32_t made = product(b, &b->part[l][weight], of, floats(b, width), b->tokens);

    return changed(b, &b->part[l][bias], made, floats(b, width), b->tokens);
}

static uint64_t cells_of(const struct builder *b, uint32_t l)
{
    return b->model->layer[l].sliding_window ? b->memory->window_cells
                                             : b->memory->ctx_tokens_per_slot;
}

/* What the cache of a layer is for the graph: a tensor that is written, and the views read. */
struct kept_rows {
    int32_t cache, read;
};

static struct kept_rows cache_of(struct builder *b, uint32_t l, enum dgo_kv_type type,
                                 uint64_t width, uint64_t head)
{
    enum { ROW = MEMORY_DEVICE_ROW };
    const struct dgo_ggml_type *kind = memory_kv_type(type);
    const uint64_t bytes =
        width / kind->block_values * kind->block_bytes * cells_of(b, l) * b->memory->stream_count;
    const uint64_t rest = kind->block_values > 1 ? (ROW - head % ROW) % ROW : 0;
    const int32_t home = b->memory->kv_on_host ? cpu_of(b) : layer_home(b, l);
    struct kept_rows made;

    made.cache = net_stored(&b->graph, bytes, bytes, home, false);
    made.read = net_stored(&b->graph, bytes, bytes + rest / kind->block_values * kind->block_bytes,
                           home, false);
    return made;
}

static void write_rows(struct builder *b, int32_t cache, int32_t rows, int32_t where,
                       uint64_t bytes)
{
    node(b, (struct net_op){.rows = b->tokens,
                            .source = SOURCES(net_view(&b->graph, rows, bytes), where, cache),
                            .written = cache,
                            .on = NET_NONE});
}

static int32_t mask_of(struct builder *b, uint32_t l)
{
    const uint64_t value = b->memory->terms.attention_fused ? 2 : 4;

    return input(b, &inputs_of(b, l)->mask, value * cells_of(b, l) * b->tokens);
}

/* Keys and values go to their rows; transposed values (not fused) one by one. */
static void keep(struct builder *b, uint32_t l, const int32_t cache[2], const int32_t rows[2],
                 const uint64_t width[2])
{
    const uint64_t numbers = b->tokens * sizeof(int64_t);
    const uint64_t each = b->memory->terms.attention_fused ? 1 : width[1];

    write_rows(b, cache[0], rows[0], input(b, &inputs_of(b, l)->key_rows, numbers),
               floats(b, width[0]));
    write_rows(b, cache[1], rows[1], input(b, &inputs_of(b, l)->value_rows, numbers * each),
               floats(b, width[1]));
}

/* An f32 cache is copied to f16. */
static int32_t as_f16(struct builder *b, int32_t read, enum dgo_kv_type type)
{
    if (type != DGO_KV_F32)
        return read;
    return node(b, (struct net_op){.bytes = b->graph.failed ? 0 : b->graph.tensor[read].bytes / 2,
                                   .source = SOURCES(read),
                                   PLAIN});
}

static int32_t attend_fused(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                            int32_t values, uint64_t bytes)
{
    const struct dgo_settings *settings = b->to->settings;
    const struct weight *sinks = &b->part[l][ATTN_SINKS];

    queries = net_view(
        &b->graph, queries,
        floats(b, (uint64_t)b->model->layer[l].head_count * b->model->layer[l].key_length));
    keys = as_f16(b, keys, settings->key_type);
    values = as_f16(b, values, settings->value_type);
    return node(b, (struct net_op){.bytes = bytes,
                                   .source = {queries, keys, values, mask_of(b, l),
                                              sinks->tensor ? stored(b, sinks) : NET_NONE},
                                   .light = true,
                                   PLAIN});
}

static int32_t attend_plainly(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                              int32_t values, uint64_t bytes)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t scores = floats(b, layer->head_count * cells_of(b, l));
    const struct weight *sinks = &b->part[l][ATTN_SINKS];
    int32_t odds, mixed;

    queries =
        net_view(&b->graph, queries, floats(b, (uint64_t)layer->head_count * layer->key_length));
    odds = node(b, (struct net_op){.bytes = scores, .source = SOURCES(keys, queries), PLAIN});
    odds = node(b, (struct net_op){.bytes = scores,
                                   .rows = layer->head_count * b->tokens,
                                   .source = SOURCES(odds, mask_of(b, l),
                                                     sinks->tensor ? stored(b, sinks) : NET_NONE),
                                   .reusable = 1,
                                   PLAIN});
    mixed = node(b, (struct net_op){.bytes = bytes, .source = SOURCES(values, odds), PLAIN});
    return node(
        b, (struct net_op){.bytes = bytes,
                           .source = SOURCES(net_view(&b->graph, mixed, bytes)),
                           .written = NET_NONE,
                           .on = b->memory->kv_on_host ? (int8_t)cpu_of(b) : (int8_t)NET_NONE});
}

/* Queries, keys and values of what came in, and what they make of the cache. */
static int32_t attention(struct builder *b, uint32_t l, int32_t in)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const struct dgo_settings *settings = b->to->settings;
    const uint64_t q = (uint64_t)layer->head_count * layer->key_length;
    const uint64_t k = (uint64_t)layer->head_count_kv * layer->key_length;
    const uint64_t v = (uint64_t)layer->head_count_kv * layer->value_length;
    const uint64_t mixed = floats(b, (uint64_t)layer->head_count * layer->value_length);
    const bool fused = b->memory->terms.attention_fused;
    int32_t queries = projected(b, l, ATTN_Q, ATTN_Q_BIAS, in, q), keys = 0, values = 0, made;

    queries = heads(b, l, queries, ATTN_Q_NORM, q, layer->head_count);
    queries = turned_key(b, l, queries, floats(b, q));
    for (int i = 0; i < 2; i++) {
        if ((i == 0) == b->style->keys_first) {
            keys = projected(b, l, ATTN_K, ATTN_K_BIAS, in, k);
            keys = heads(b, l, keys, ATTN_K_NORM, k, layer->head_count_kv);
            keys = turned_key(b, l, keys, floats(b, k));
        } else {
            values = projected(b, l, ATTN_V, ATTN_V_BIAS, in, v);
            values = turned_value(b, l, values, floats(b, v));
        }
    }
    const struct kept_rows key_cache = cache_of(b, l, settings->key_type, k, layer->key_length);
    const struct kept_rows value_cache =
        cache_of(b, l, settings->value_type, v, layer->value_length);

    keep(b, l, (int32_t[]){key_cache.cache, value_cache.cache}, (int32_t[]){keys, values},
         (uint64_t[]){k, v});
    made = (fused ? attend_fused : attend_plainly)(b, l, queries, key_cache.read, value_cache.read,
                                                   mixed);
    made = turned_value(b, l, made, mixed);
    return net_view(&b->graph, made, mixed);
}

/* --- feed-forward ---------------------------------------------------------------------------- */

static int32_t dense(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t inner = rows * b->model->layer[l].feed_forward_length * sizeof(float);
    const int32_t gate = product(b, &w[FFN_GATE], in, inner, rows);
    const int32_t up = product(b, &w[FFN_UP], in, inner, rows);
    const int32_t both =
        node(b, (struct net_op){.bytes = inner, .source = SOURCES(gate, up), PLAIN});

    return product(b, &w[FFN_DOWN], both, rows * b->model->embedding_length * sizeof(float), rows);
}

static int32_t expert_product(struct builder *b, uint32_t l, enum part weight, enum part bias,
                              int32_t of, int32_t chosen, uint64_t width, uint64_t rows)
{
    const uint64_t bytes = width * b->model->expert_used_count * rows * sizeof(float);
    const struct weight *added = &b->part[l][bias];
    int32_t made =
        node(b, (struct net_op){.bytes = bytes,
                                .rows = rows,
                                .source = SOURCES(stored(b, &b->part[l][weight]), of, chosen),
                                PLAIN});

    if (added->tensor)
        made = node(b, (struct net_op){.bytes = bytes,
                                       .rows = rows * b->model->expert_used_count,
                                       .source = SOURCES(made, stored(b, added), chosen),
                                       .reusable = 1,
                                       PLAIN});
    return made;
}

/* The chosen experts' shares of the result. */
static int32_t shares_of(struct builder *b, int32_t odds, int32_t chosen, uint64_t odds_bytes,
                         uint64_t rows)
{
    const uint64_t bytes = b->model->expert_used_count * rows * sizeof(float);
    int32_t shares =
        node(b, (struct net_op){.bytes = bytes,
                                .source = SOURCES(net_view(&b->graph, odds, odds_bytes), chosen),
                                PLAIN});
    int32_t total;

    shares = net_view(&b->graph, shares, bytes);
    if (b->style->chosen_softmax)
        return node(b, (struct net_op){.bytes = bytes, .source = SOURCES(shares), PLAIN});
    total =
        node(b, (struct net_op){.bytes = rows * sizeof(float), .source = SOURCES(shares), PLAIN});
    total =
        node(b, (struct net_op){.bytes = rows * sizeof(float), .source = SOURCES(total), PLAIN});
    return node(b, (struct net_op){.bytes = bytes, .source = SOURCES(shares, total), PLAIN});
}

static int32_t added_up(struct builder *b, int32_t results, uint64_t rows)
{
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    int32_t made = net_view(&b->graph, results, bytes);

    if (b->model->expert_used_count == 1)
        return node(b, (struct net_op){.bytes = bytes, .source = SOURCES(made), PLAIN});
    for (uint32_t i = 1; i < b->model->expert_used_count; i++)
        made = node(b, (struct net_op){.bytes = bytes,
                                       .source = SOURCES(made, net_view(&b->graph, results, bytes)),
                                       .reusable = 1,
                                       PLAIN});
    return made;
}

static int32_t routed(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct dgo_model *model = b->model;
    const uint64_t wide = rows * model->embedding_length * sizeof(float);
    const uint64_t odds_bytes = rows * model->expert_count * sizeof(float);
    const uint64_t inner = model->expert_feed_forward_length;
    const uint64_t used = model->expert_used_count;
    int32_t odds = product(b, &b->part[l][ROUTER], in, odds_bytes, rows);
    int32_t order, chosen, shares, view, gate, up, both, down;

    if (b->part[l][ROUTER_BIAS].tensor)
        odds = changed(b, &b->part[l][ROUTER_BIAS], odds, odds_bytes, rows);
    else
        odds = node(
            b, (struct net_op){.bytes = odds_bytes, .source = SOURCES(odds), .reusable = 1, PLAIN});
    order = node(b, (struct net_op){.bytes = odds_bytes, .source = SOURCES(odds), PLAIN});
    chosen = net_view(&b->graph, order, odds_bytes);
    shares = shares_of(b, odds, chosen, odds_bytes, rows);
    view = net_view(&b->graph, in, wide);
    gate = expert_product(b, l, EXP_GATE, EXP_GATE_BIAS, view, chosen, inner, rows);
    up = expert_product(b, l, EXP_UP, EXP_UP_BIAS, view, chosen, inner, rows);
    both = node(b, (struct net_op){.bytes = inner * used * rows * sizeof(float),
                                   .source = SOURCES(gate, up),
                                   PLAIN});
    down =
        expert_product(b, l, EXP_DOWN, EXP_DOWN_BIAS, both, chosen, model->embedding_length, rows);
    down = node(b, (struct net_op){.bytes = wide * used,
                                   .source = SOURCES(down, net_view(&b->graph, shares,
                                                                    used * rows * sizeof(float))),
                                   .reusable = 1,
                                   PLAIN});
    return added_up(b, down, rows);
}

/* --- the whole ------------------------------------------------------------------------------- */

static int32_t layer(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const bool last = l + 1 == b->memory->layer_count;
    const bool norms_after = w[FFN_NORM].tensor && w[POST_ATTN_NORM].tensor;
    const uint64_t wide = floats(b, b->model->embedding_length);
    const uint64_t rows = last ? b->rows : b->tokens;
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    int32_t made = normed(b, &w[ATTN_NORM], in, wide, b->tokens, l), normed_in;

    made = attention(b, l, made);
    made = product(b, &w[ATTN_OUT], made, wide, b->tokens);
    made = changed(b, &w[ATTN_OUT_BIAS], made, wide, b->tokens);
    if (last)
        made = picked(b, made);
    if (last && !norms_after)
        in = picked(b, in);
    if (norms_after)
        made = normed(b, &w[POST_ATTN_NORM], made, bytes, rows, l);
    if (last && norms_after)
        in = picked(b, in);
    in = sum(b, made, in, bytes, rows);
    normed_in = normed(b, &w[w[FFN_NORM].tensor ? FFN_NORM : POST_ATTN_NORM], in, bytes, rows, l);
    made = w[ROUTER].tensor ? routed(b, l, normed_in, rows) : dense(b, l, normed_in, rows);
    if (w[POST_FFN_NORM].tensor) /* this one is not told where to run */
        made = normed(b, &w[POST_FFN_NORM], made, bytes, rows, b->memory->layer_count);
    return sum(b, made, in, bytes, rows);
}

/* The token's embeddings; and a second way in, for those that come from outside, which is reserved
 * though nothing uses it. */
static int32_t embeddings(struct builder *b)
{
    const uint64_t wide = floats(b, b->model->embedding_length);
    const int32_t tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    const int32_t outside = net_input(&b->graph, wide); /* in place of tokens: no node uses it */
    const int32_t mixed_tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    const int32_t table = stored(b, &b->embedding);
    const int32_t mixed_in = net_input(&b->graph, wide);
    const int32_t slots = net_input(&b->graph, b->tokens * sizeof(int64_t));
    int32_t made = node(b, (struct net_op){.bytes = wide, .source = SOURCES(table, tokens), PLAIN});
    const int32_t second =
        node(b, (struct net_op){.bytes = wide, .source = SOURCES(table, mixed_tokens), PLAIN});
    const int32_t mixed = node(
        b, (struct net_op){
               .bytes = wide, .rows = b->tokens, .source = SOURCES(mixed_in), .kept = true, PLAIN});

    (void)outside;
    node(b, (struct net_op){.rows = b->tokens,
                            .source = SOURCES(second, slots, mixed),
                            .written = mixed,
                            .on = NET_NONE});
    if (b->style->input_scaled)
        made =
            node(b, (struct net_op){.bytes = wide,
                                    .rows = b->tokens,
                                    .source = SOURCES(
                                        made, b->style->scale_input
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
    stream = normed(b, &b->output_norm, stream, bytes, b->rows, b->memory->layer_count);
    node(b, (struct net_op){.bytes = b->rows * b->model->vocab_size * sizeof(float),
                            .rows = b->rows,
                            .source = SOURCES(stored(b, &b->output), stream),
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

static const struct style *style_of(const struct dgo_model *model)
{
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
        if (strcmp(model->architecture, styles[i].architecture) == 0)
            return &styles[i];
    return NULL;
}

bool whole_compute_bytes(const struct whole_placement *placement,
                         uint64_t device_bytes[DGO_GPU_MAX], uint64_t *host_bytes)
{
    uint64_t peak_bytes[NET_BACKENDS_MAX] = {0};
    struct builder b = {.to = placement,
                        .memory = placement->memory,
                        .model = placement->memory->model,
                        .style = style_of(placement->memory->model)};
    bool made = false;

    /* Compared with the engine for whole layers on devices and its own rows of logits alone. */
    if (placement->settings->split_mode == DGO_SPLIT_TENSOR ||
        placement->settings->output_row_count != 0 || placement->settings->rollback_tokens != 0)
        return false;
    if (!b.memory->replayed || placement->settings->states_out || placement->settings->own_draft ||
        !b.memory->terms.rule->replayed || b.memory->terms.adapted || !b.style ||
        placement->settings->remote ||
        override_set_make(placement->settings, &b.overrides, NULL) != DGO_OK)
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
