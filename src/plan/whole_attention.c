/* whole_attention.c - attention of a whole graph: heads, rotation, the cache, scores. */
#include "whole_parts.h"

static int32_t rotated(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const struct weight table = {.tensor = b->rope, .home = whole_home(b, l)};
    const uint64_t positions = b->shape->recipe & RECIPE_POSITIONS_4 ? 4 : 1;
    int32_t *factors = &b->inputs.rope[table.home];
    const int32_t where =
        whole_input(b, &b->inputs.positions, positions * b->tokens * sizeof(int32_t));

    if (b->rope && *factors == NET_NONE)
        *factors = whole_stored(b, &table);
    return whole_node(b, (struct net_op){.bytes = bytes,
                                         .source = SOURCES(of, where, *factors),
                                         .reusable = 1,
                                         .light = true,
                                         PLAIN});
}

/* In memory of their own; `second` may be none. */
static int32_t joined(struct builder *b, int32_t first, int32_t second, uint64_t bytes)
{
    return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(first, second), PLAIN});
}

static bool is_rotated(const struct builder *b, uint32_t l)
{
    return graph_rotated(b->shape->recipe, &b->model->layer[l], l);
}

/* Queries and keys as heads: normed and rotated, and turned for a packed cache.  A norm as wide as
 * all heads comes before they are parted. */
static int32_t heads(struct builder *b, uint32_t l, int32_t plain, enum part norm, uint64_t width,
                     uint64_t head_count, uint64_t span)
{
    const struct weight *w = &b->part[l][norm];
    const bool norm_last = b->shape->recipe & RECIPE_NORM_LAST;
    const bool norm_wide = w->tensor && w->tensor->dim[0] == width && head_count > 1;
    const uint64_t bytes = whole_floats(b, width);
    const uint64_t rows = head_count * b->tokens;
    int32_t made = plain;

    if (norm_wide)
        made = whole_normed(b, w, made, bytes, b->tokens, l);
    made = net_view(&b->graph, made, norm_wide ? bytes : span);
    if (w->tensor && !norm_wide && !norm_last)
        made = whole_normed(b, w, made, bytes, rows, l);
    if (is_rotated(b, l))
        made = rotated(b, l, made, bytes);
    if (w->tensor && !norm_wide && norm_last)
        made = whole_normed(b, w, made, bytes, rows, l);
    return made;
}

static struct cache_inputs *inputs_of(struct builder *b, uint32_t l)
{
    return &b->inputs.cache[b->model->layer[l].sliding_window];
}

/* What is cut out of a wider product is copied before it is seen in another way. */
static int32_t in_one_piece(struct builder *b, int32_t of, uint64_t bytes)
{
    const bool whole = b->graph.failed || b->graph.tensor[of].bytes == bytes;

    return whole ? of : joined(b, of, NET_NONE, bytes);
}

/* A packed cache takes keys, values and gives results that a matrix turned. */
static int32_t turned(struct builder *b, uint64_t turn_bytes, int32_t *matrix, int32_t of,
                      uint64_t bytes)
{
    int32_t turn;

    if (turn_bytes == 0)
        return of;
    turn = whole_input(b, matrix, turn_bytes);
    of = net_view(&b->graph, in_one_piece(b, of, bytes), bytes);
    return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(turn, of), PLAIN});
}

static int32_t turned_key(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const bool window = b->model->layer[l].sliding_window;

    return turned(b, b->shape->key_turn_bytes[window], &inputs_of(b, l)->key_turn, of, bytes);
}

static int32_t turned_value(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const bool window = b->model->layer[l].sliding_window;

    return turned(b, b->shape->value_turn_bytes[window], &inputs_of(b, l)->value_turn, of, bytes);
}

static int32_t projected(struct builder *b, uint32_t l, enum part weight, enum part bias,
                         int32_t of, uint64_t width)
{
    const int32_t made =
        whole_product(b, &b->part[l][weight], of, whole_floats(b, width), b->tokens);

    return whole_changed(b, &b->part[l][bias], made, whole_floats(b, width), b->tokens);
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
    const int32_t home = b->memory->kv_on_host ? whole_cpu(b) : whole_home(b, l);
    struct kept_rows made;

    made.cache = net_stored(&b->graph, bytes, bytes, home, false);
    made.read = net_stored(&b->graph, bytes, bytes + rest / kind->block_values * kind->block_bytes,
                           home, false);
    return made;
}

/* Parts of a fused product lie with what is between them, and are copied so. */
static uint64_t bytes_of(const struct builder *b, int32_t t)
{
    return b->graph.failed ? 0 : b->graph.tensor[t].bytes;
}

/* Rows go to the cache as they lie. */
static void write_rows(struct builder *b, int32_t cache, int32_t rows, int32_t where)
{
    const uint64_t bytes = bytes_of(b, rows);

    whole_node(b, (struct net_op){.rows = b->tokens,
                                  .source = SOURCES(net_view(&b->graph, rows, bytes), where, cache),
                                  .written = cache,
                                  .on = NET_NONE});
}

static int32_t mask_of(struct builder *b, uint32_t l)
{
    const uint64_t value = b->memory->terms.attention_fused ? 2 : 4;

    return whole_input(b, &inputs_of(b, l)->mask, value * cells_of(b, l) * b->tokens);
}

/* Keys and values go to their rows; transposed values (not fused) one by one. */
static void keep(struct builder *b, uint32_t l, const int32_t cache[2], const int32_t rows[2],
                 const uint64_t width[2])
{
    const uint64_t numbers = b->tokens * sizeof(int64_t);
    const bool transposed = b->memory->terms.values_transposed;
    const uint64_t each = transposed ? width[1] : 1;
    int32_t values = rows[1];

    write_rows(b, cache[0], rows[0], whole_input(b, &inputs_of(b, l)->key_rows, numbers));
    if (transposed)
        values = in_one_piece(b, values, whole_floats(b, width[1]));
    write_rows(b, cache[1], values, whole_input(b, &inputs_of(b, l)->value_rows, numbers * each));
}

/* An f32 cache is copied to f16: of layer `l`, `width` values in each cell. */
static int32_t as_f16(struct builder *b, uint32_t l, int32_t read, enum dgo_kv_type type,
                      uint64_t width)
{
    const uint64_t cells = b->memory->stream_count * cells_of(b, l);

    if (type != DGO_KV_F32)
        return read;
    return whole_node(
        b,
        (struct net_op){.bytes = cells * width * sizeof(uint16_t), .source = SOURCES(read), PLAIN});
}

static int32_t attend_fused(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                            int32_t values, uint64_t bytes)
{
    const struct dgo_settings *settings = b->to->settings;
    const struct dgo_layer *layer = &b->model->layer[l];
    const struct weight *sinks = &b->part[l][ATTN_SINKS];

    queries = net_view(&b->graph, queries, bytes_of(b, queries));
    keys =
        as_f16(b, l, keys, settings->key_type, (uint64_t)layer->head_count_kv * layer->key_length);
    values = as_f16(b, l, values, settings->value_type,
                    (uint64_t)layer->head_count_kv * layer->value_length);
    return whole_node(
        b, (struct net_op){.bytes = bytes + graph_unpacked_bytes(b->shape, whole_kind(b, l)),
                           .source = SOURCES(queries, keys, values, mask_of(b, l),
                                             sinks->tensor ? whole_stored(b, sinks) : NET_NONE),
                           .light = true,
                           PLAIN});
}

static int32_t attend_plainly(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                              int32_t values, uint64_t bytes)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t scores = whole_floats(b, layer->head_count * cells_of(b, l));
    const struct weight *sinks = &b->part[l][ATTN_SINKS];
    int32_t odds, mixed;

    if (!b->memory->terms.values_transposed) /* turned over first */
        values = whole_node(
            b, (struct net_op){.bytes = bytes_of(b, values), .source = SOURCES(values), PLAIN});
    queries = net_view(&b->graph, queries, bytes_of(b, queries));
    odds = whole_node(b, (struct net_op){.bytes = scores, .source = SOURCES(keys, queries), PLAIN});
    odds = whole_node(
        b, (struct net_op){.bytes = scores,
                           .rows = layer->head_count * b->tokens,
                           .source = SOURCES(odds, mask_of(b, l),
                                             sinks->tensor ? whole_stored(b, sinks) : NET_NONE),
                           .reusable = 1,
                           PLAIN});
    mixed = whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(values, odds), PLAIN});
    return whole_node(
        b, (struct net_op){.bytes = bytes,
                           .source = SOURCES(net_view(&b->graph, mixed, bytes)),
                           .written = NET_NONE,
                           .on = b->memory->kv_on_host ? (int8_t)whole_cpu(b) : (int8_t)NET_NONE});
}

/* Keys and values in the engine's order; `all`: the product that holds them too, or none. */
static void keys_and_values(struct builder *b, uint32_t l, int32_t in, int32_t all, int32_t *keys,
                            int32_t *values)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const bool keys_first = b->shape->recipe & RECIPE_KEYS_FIRST;
    const uint64_t q = (uint64_t)layer->head_count * layer->key_length;
    const uint64_t k = (uint64_t)layer->head_count_kv * layer->key_length;
    const uint64_t v = (uint64_t)layer->head_count_kv * layer->value_length;
    const uint64_t row = all == NET_NONE ? k : q + k + v;

    for (int i = 0; i < 2; i++) {
        if ((i == 0) == keys_first) {
            *keys = all == NET_NONE ? projected(b, l, ATTN_K, ATTN_K_BIAS, in, k) : all;
            *keys = heads(b, l, *keys, ATTN_K_NORM, k, layer->head_count_kv, whole_span(b, row, k));
            *keys = turned_key(b, l, *keys, whole_floats(b, k));
        } else {
            *values = all == NET_NONE ? projected(b, l, ATTN_V, ATTN_V_BIAS, in, v)
                                      : net_view(&b->graph, all, whole_span(b, row, v));
            *values = turned_value(b, l, *values, whole_floats(b, v));
        }
    }
}

static int32_t attended(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                        int32_t values)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const struct dgo_settings *settings = b->to->settings;
    const uint64_t k = (uint64_t)layer->head_count_kv * layer->key_length;
    const uint64_t v = (uint64_t)layer->head_count_kv * layer->value_length;
    const uint64_t mixed = whole_floats(b, (uint64_t)layer->head_count * layer->value_length);
    const struct kept_rows key_cache = cache_of(b, l, settings->key_type, k, layer->key_length);
    const struct kept_rows value_cache =
        cache_of(b, l, settings->value_type, v, layer->value_length);

    keep(b, l, (int32_t[]){key_cache.cache, value_cache.cache}, (int32_t[]){keys, values},
         (uint64_t[]){k, v});
    return (b->memory->terms.attention_fused ? attend_fused : attend_plainly)(
        b, l, queries, key_cache.read, value_cache.read, mixed);
}

int32_t whole_turned_back(struct builder *b, uint32_t l, int32_t results)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t bytes = whole_floats(b, (uint64_t)layer->head_count * layer->value_length);

    if (!b->memory->terms.attention_fused)
        return results; /* put in order already, and no view; values are not packed */
    results = net_view(&b->graph, results, bytes); /* older builds: not what is behind them */
    return net_view(&b->graph, turned_value(b, l, results, bytes), bytes);
}

/* By a factor for each token. */
static int32_t scaled(struct builder *b, int32_t queries, uint64_t bytes)
{
    const int32_t by = whole_input(b, &b->inputs.query_scales, b->tokens * sizeof(float));

    return whole_node(
        b, (struct net_op){.bytes = bytes, .source = SOURCES(queries, by), .reusable = 1, PLAIN});
}

/* Multiplied by a gate that stands beside each query. */
static int32_t gated_by(struct builder *b, uint32_t l, int32_t result, int32_t plain)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t bytes = whole_floats(b, (uint64_t)layer->head_count * layer->value_length);
    const uint64_t row = 2 * (uint64_t)layer->head_count * layer->key_length;
    int32_t gate = net_view(&b->graph, plain, whole_span(b, row, row - layer->key_length));

    gate = whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(gate), PLAIN});
    gate = whole_node(
        b, (struct net_op){.bytes = bytes, .source = SOURCES(gate), .reusable = 1, PLAIN});
    return whole_sum(b, result, gate, bytes, b->tokens);
}

int32_t whole_attention(struct builder *b, uint32_t l, int32_t in)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t q = (uint64_t)layer->head_count * layer->key_length;
    const uint64_t k = (uint64_t)layer->head_count_kv * layer->key_length;
    const uint64_t v = (uint64_t)layer->head_count_kv * layer->value_length;
    const bool gated = whole_kind(b, l)->queries_gated;
    int32_t all = NET_NONE, plain, queries, keys = 0, values = 0, made;

    if (b->part[l][ATTN_QKV].tensor)
        plain = all = projected(b, l, ATTN_QKV, ATTN_QKV_BIAS, in, q + k + v);
    else
        plain = projected(b, l, ATTN_Q, ATTN_Q_BIAS, in, gated ? 2 * q : q);
    queries = heads(b, l, plain, ATTN_Q_NORM, q, layer->head_count,
                    gated ? whole_span(b, 2 * q, 2 * q - layer->key_length)
                          : whole_span(b, all == NET_NONE ? q : q + k + v, q));
    if (b->shape->recipe & RECIPE_QUERIES_SCALED && !is_rotated(b, l))
        queries = scaled(b, queries, whole_floats(b, q));
    queries = turned_key(b, l, queries, whole_floats(b, q));
    keys_and_values(b, l, in, all, &keys, &values);
    made = attended(b, l, queries, keys, values);
    return gated ? gated_by(b, l, whole_turned_back(b, l, made), plain) : made;
}

/* --- latent attention ------------------------------------------------------------------------- */

/* By way of a low rank, where the file has one. */
static int32_t ranked_queries(struct builder *b, uint32_t l, int32_t in, uint64_t row)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const uint64_t rank = whole_floats(b, g->query_rank);

    if (g->query_rank > 0) {
        in = whole_product(b, &w[LATENT_Q], in, rank, b->tokens);
        in = whole_normed(b, &w[LATENT_Q_NORM], in, rank, b->tokens, l);
    }
    return whole_product(b, &w[g->query_rank > 0 ? LATENT_Q_HEADS : ATTN_Q], in,
                         whole_floats(b, row), b->tokens);
}

/* Each head's queries, turned into the cache's space; behind them the rotated part. */
static int32_t latent_queries(struct builder *b, uint32_t l, int32_t in)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const uint64_t heads = b->model->layer[l].head_count;
    const uint64_t row = heads * g->head_key;
    const int32_t made = ranked_queries(b, l, in, row);
    int32_t absorbed, turned_part;

    absorbed = whole_product(b, &w[LATENT_K_HEADS],
                             net_view(&b->graph, made, whole_span(b, row, row - g->rotated)),
                             whole_floats(b, heads * g->latent), b->tokens);
    absorbed = net_view(&b->graph, absorbed, whole_floats(b, heads * g->latent));
    turned_part = net_view(&b->graph, made, whole_span(b, row, row - (g->head_key - g->rotated)));
    if (is_rotated(b, l))
        turned_part = rotated(b, l, turned_part, whole_floats(b, heads * g->rotated));
    return joined(b, absorbed, turned_part, whole_floats(b, heads * (g->latent + g->rotated)));
}

/* What the cache takes: the compressed part, normed, and the rotated one behind it. */
static int32_t latent_keys(struct builder *b, uint32_t l, int32_t in)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const uint64_t width = g->latent + g->rotated;
    const int32_t both = whole_product(b, &w[LATENT_KV], in, whole_floats(b, width), b->tokens);
    int32_t made = net_view(&b->graph, both, whole_span(b, width, g->latent)), turned_part;

    made = whole_normed(b, &w[LATENT_KV_NORM], made, whole_floats(b, g->latent), b->tokens, l);
    made = net_view(&b->graph, made, whole_floats(b, g->latent));
    turned_part = net_view(&b->graph, both, whole_span(b, width, g->rotated));
    if (is_rotated(b, l))
        turned_part = rotated(b, l, turned_part, whole_floats(b, g->rotated));
    return joined(b, made, turned_part, whole_floats(b, width));
}

/* The compressed parts in the rows of the cache: what is between the first and the last. */
static int32_t latent_values(struct builder *b, uint32_t l, int32_t read)
{
    enum { ROW = MEMORY_DEVICE_ROW };
    const struct memory_graph *g = b->shape;
    const struct dgo_ggml_type *kind = memory_kv_type(b->to->settings->key_type);
    const uint64_t behind = (uint64_t)g->rotated / kind->block_values * kind->block_bytes;
    const uint64_t rest = kind->block_values > 1 ? (ROW - g->latent % ROW) % ROW : 0;
    const uint64_t bytes = b->graph.failed ? 0 : b->graph.tensor[read].bytes - behind;

    return net_stored(&b->graph, bytes, bytes + rest / kind->block_values * kind->block_bytes,
                      b->memory->kv_on_host ? whole_cpu(b) : whole_home(b, l), false);
}

static int32_t latent_fused(struct builder *b, uint32_t l, int32_t queries, int32_t read)
{
    const struct memory_graph *g = b->shape;
    const uint64_t heads = b->model->layer[l].head_count;
    const enum dgo_kv_type type = b->to->settings->key_type;
    int32_t values = latent_values(b, l, read);
    const int32_t keys = as_f16(b, l, read, type, g->latent + g->rotated);

    values = as_f16(b, l, values, type, g->latent);
    return whole_node(b, (struct net_op){.bytes = whole_floats(b, heads * g->latent) +
                                                  graph_unpacked_bytes(g, whole_kind(b, l)),
                                         .source = SOURCES(queries, keys, values, mask_of(b, l)),
                                         .light = true,
                                         PLAIN});
}

/* Values lie as keys do: they are turned over first. */
static int32_t latent_plain(struct builder *b, uint32_t l, int32_t queries, int32_t read)
{
    const struct memory_graph *g = b->shape;
    const uint64_t heads = b->model->layer[l].head_count;
    const uint64_t scores = whole_floats(b, heads * cells_of(b, l));
    const uint64_t cells = b->memory->stream_count * cells_of(b, l);
    const struct dgo_ggml_type *kind = memory_kv_type(b->to->settings->key_type);
    int32_t odds, values;

    values = whole_node(
        b, (struct net_op){.bytes = cells * g->latent / kind->block_values * kind->block_bytes,
                           .source = SOURCES(latent_values(b, l, read)),
                           PLAIN});
    odds = whole_node(b, (struct net_op){.bytes = scores, .source = SOURCES(read, queries), PLAIN});
    odds = whole_node(b, (struct net_op){.bytes = scores,
                                         .rows = heads * b->tokens,
                                         .source = SOURCES(odds, mask_of(b, l)),
                                         .reusable = 1,
                                         PLAIN});
    return whole_node(b, (struct net_op){.bytes = whole_floats(b, heads * g->latent),
                                         .source = SOURCES(values, odds),
                                         PLAIN});
}

int32_t whole_latent(struct builder *b, uint32_t l, int32_t in)
{
    const struct memory_graph *g = b->shape;
    const uint64_t heads = b->model->layer[l].head_count, width = g->latent + g->rotated;
    const uint64_t mixed = whole_floats(b, heads * g->head_value);
    int32_t queries = latent_queries(b, l, in);
    const int32_t keys = latent_keys(b, l, in);
    const struct kept_rows cache = cache_of(b, l, b->to->settings->key_type, width, width);
    int32_t made;

    write_rows(b, cache.cache, keys,
               whole_input(b, &inputs_of(b, l)->key_rows, b->tokens * sizeof(int64_t)));
    queries = net_view(&b->graph, queries, whole_floats(b, heads * width));
    made =
        (b->memory->terms.attention_fused ? latent_fused : latent_plain)(b, l, queries, cache.read);
    made = whole_product(b, &b->part[l][LATENT_V_HEADS],
                         net_view(&b->graph, made, whole_floats(b, heads * g->latent)), mixed,
                         b->tokens / b->memory->stream_count); /* its rows are those of a stream */
    made = whole_node(
        b, (struct net_op){.bytes = mixed,
                           .source = SOURCES(net_view(&b->graph, made, mixed)),
                           .written = NET_NONE,
                           .on = b->memory->kv_on_host && !b->memory->terms.attention_fused
                                     ? (int8_t)whole_cpu(b)
                                     : (int8_t)NET_NONE});
    return net_view(&b->graph, made, mixed);
}

/* --- latent attention whose cache is not latent ------------------------------------------------
 */

static int32_t expanded_queries(struct builder *b, uint32_t l, int32_t in)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t row = (uint64_t)layer->head_count * layer->key_length;
    const uint64_t bytes = whole_floats(b, row);
    const int32_t made = net_view(&b->graph, ranked_queries(b, l, in, row), bytes);

    return turned_key(b, l, rotated(b, l, made, bytes), bytes);
}

int32_t whole_expanded(struct builder *b, uint32_t l, int32_t in)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t heads = layer->head_count, plain_key = layer->key_length - g->rotated;
    const uint64_t width = g->latent + g->rotated, row = heads * (plain_key + layer->value_length);
    const uint64_t k = whole_floats(b, heads * layer->key_length);
    const uint64_t v = whole_floats(b, heads * layer->value_length);
    const int32_t queries = expanded_queries(b, l, in);
    const int32_t both = whole_product(b, &w[LATENT_KV], in, whole_floats(b, width), b->tokens);
    int32_t all = net_view(&b->graph, both, whole_span(b, width, g->latent)), keys, values;

    all = whole_normed(b, &w[LATENT_KV_NORM], all, whole_floats(b, g->latent), b->tokens, l);
    all = whole_product(b, &w[LATENT_KV_HEADS], all, whole_floats(b, row), b->tokens);
    values = joined(b, net_view(&b->graph, all, whole_span(b, row, row - plain_key)), NET_NONE, v);
    values = turned_value(b, l, values, v);
    keys = net_view(&b->graph, both, whole_span(b, width, g->rotated));
    keys = joined(b, rotated(b, l, keys, whole_floats(b, g->rotated)), NET_NONE,
                  whole_floats(b, heads * g->rotated));
    all = net_view(&b->graph, all, whole_span(b, row, row - layer->value_length));
    keys = turned_key(b, l, joined(b, all, keys, k), k);
    return attended(b, l, queries, keys, values);
}
