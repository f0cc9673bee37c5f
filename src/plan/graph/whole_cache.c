/* whole_cache.c - what the cache of a whole graph takes, and what attention makes of it. */
#include "whole_attention.h"

struct cache_inputs *whole_cache_inputs(struct builder *b, uint32_t l)
{
    return &b->inputs.cache[b->model->layer[l].sliding_window];
}

/* What is cut out of a wider product is copied before it is seen in another way. */
int32_t whole_in_one_piece(struct builder *b, int32_t of, uint64_t bytes)
{
    const bool whole = b->graph.failed || b->graph.tensor[of].bytes == bytes;

    return whole ? of : whole_made(b, of, NET_NONE, bytes);
}

/* A packed cache takes keys, values and gives results that a matrix turned. */
static int32_t turned(struct builder *b, uint64_t turn_bytes, int32_t *matrix, int32_t of,
                      uint64_t bytes)
{
    int32_t turn;

    if (turn_bytes == 0)
        return of;
    turn = whole_input(b, matrix, turn_bytes);
    of = net_view(&b->graph, whole_in_one_piece(b, of, bytes), bytes);
    return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(turn, of), PLAIN});
}

int32_t whole_turned_key(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const bool window = b->model->layer[l].sliding_window;

    return turned(b, b->shape->key_turn_bytes[window], &whole_cache_inputs(b, l)->key_turn, of,
                  bytes);
}

int32_t whole_turned_value(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const bool window = b->model->layer[l].sliding_window;

    return turned(b, b->shape->value_turn_bytes[window], &whole_cache_inputs(b, l)->value_turn, of,
                  bytes);
}

uint64_t whole_cells(const struct builder *b, uint32_t l)
{
    return b->model->layer[l].sliding_window ? b->memory->window_cells
                                             : b->memory->ctx_tokens_per_slot;
}

struct kept_rows whole_cache(struct builder *b, uint32_t l, enum dgo_kv_type type, uint64_t width,
                             uint64_t head)
{
    enum { ROW = MEMORY_DEVICE_ROW };
    const struct dgo_ggml_type *kind = memory_kv_type(type);
    const uint64_t bytes = width / kind->block_values * kind->block_bytes * whole_cells(b, l) *
                           b->memory->stream_count;
    const uint64_t rest = kind->block_values > 1 ? (ROW - head % ROW) % ROW : 0;
    const uint32_t lender = (uint32_t)(whole_lender(b, l) - b->model->layer);
    const int32_t home = b->memory->kv_on_host ? whole_cpu(b) : whole_home(b, lender);
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
void whole_write_rows(struct builder *b, int32_t cache, int32_t rows, int32_t where)
{
    const uint64_t bytes = bytes_of(b, rows);

    whole_node(b, (struct net_op){.rows = b->tokens,
                                  .source = SOURCES(net_view(&b->graph, rows, bytes), where, cache),
                                  .written = cache,
                                  .on = NET_NONE});
}

int32_t whole_mask(struct builder *b, uint32_t l)
{
    const uint64_t value = b->memory->terms.attention_fused ? 2 : 4;

    return whole_input(b, &whole_cache_inputs(b, l)->mask, value * whole_cells(b, l) * b->tokens);
}

/* Keys and values go to their rows; transposed values (not fused) one by one. */
static void keep(struct builder *b, uint32_t l, const int32_t cache[2], const int32_t rows[2],
                 const uint64_t width[2])
{
    const uint64_t numbers = b->tokens * sizeof(int64_t);
    const bool transposed = b->memory->terms.values_transposed;
    /* All rows are as wide as the widest layer's. */
    const uint64_t each = transposed ? b->shape->scattered_values : 1;
    int32_t values = rows[1];

    whole_write_rows(b, cache[0], rows[0],
                     whole_input(b, &whole_cache_inputs(b, l)->key_rows, numbers));
    if (transposed)
        values = whole_in_one_piece(b, values, whole_floats(b, width[1]));
    if (transposed && each > width[1])
        values = whole_made(b, values, NET_NONE, whole_floats(b, each));
    whole_write_rows(b, cache[1], values,
                     whole_input(b, &whole_cache_inputs(b, l)->value_rows, numbers * each));
}

/* Transposed values lie in streams as long as the widest layer's: what is read reaches over the
 * rest of all streams but the last. */
static int32_t read_values(struct builder *b, uint32_t l, int32_t read, uint64_t width)
{
    const struct dgo_ggml_type *kind = memory_kv_type(b->to->settings->value_type);
    const uint64_t rest = b->shape->scattered_values - width;

    if (!b->memory->terms.values_transposed || b->graph.failed)
        return read;
    b->graph.tensor[read].bytes +=
        (b->memory->stream_count - 1) * whole_cells(b, l) * rest * kind->block_bytes;
    return read;
}

/* An f32 cache is copied to f16: of layer `l`, `width` values in each cell. */
int32_t whole_as_f16(struct builder *b, uint32_t l, int32_t read, enum dgo_kv_type type,
                     uint64_t width)
{
    const uint64_t cells = b->memory->stream_count * whole_cells(b, l);

    if (type != DGO_KV_F32)
        return read;
    return whole_node(
        b,
        (struct net_op){.bytes = cells * width * sizeof(uint16_t), .source = SOURCES(read), PLAIN});
}

/* Of models with heads of two sizes cards may have a kernel for those of one. */
bool whole_attends_on_cpu(const struct builder *b, uint32_t l)
{
    return b->memory->attention_on_cpu &&
           !memory_layer_has_kernel(b->model, b->to->settings, b->memory->terms.rule, l);
}

static int32_t attend_fused(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                            int32_t values, uint64_t bytes)
{
    const struct dgo_settings *settings = b->to->settings;
    const struct dgo_layer *layer = whole_lender(b, l);
    const struct weight *sinks = &b->part[l][ATTN_SINKS];

    queries = net_view(&b->graph, queries, bytes_of(b, queries));
    keys = whole_as_f16(b, l, keys, settings->key_type,
                        (uint64_t)layer->head_count_kv * layer->key_length);
    values = whole_as_f16(b, l, values, settings->value_type,
                          (uint64_t)layer->head_count_kv * layer->value_length);
    return whole_node(
        b, (struct net_op){.bytes = bytes,
                           .room_bytes = graph_unpacked_bytes(b->shape, whole_kind(b, l)),
                           .cpu_only = whole_attends_on_cpu(b, l),
                           .source = SOURCES(queries, keys, values, whole_mask(b, l),
                                             sinks->tensor ? whole_stored(b, sinks) : NET_NONE),
                           .light = true,
                           PLAIN});
}

static int32_t attend_plainly(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                              int32_t values, uint64_t bytes)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t scores = whole_floats(b, layer->head_count * whole_cells(b, l));
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
                           .source = SOURCES(odds, whole_mask(b, l),
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

int32_t whole_attended(struct builder *b, uint32_t l, int32_t queries, int32_t keys, int32_t values)
{
    const struct dgo_layer *layer = whole_lender(b, l);
    const struct dgo_settings *settings = b->to->settings;
    const uint64_t k = (uint64_t)layer->head_count_kv * layer->key_length;
    const uint64_t v = (uint64_t)layer->head_count_kv * layer->value_length;
    const uint64_t mixed =
        whole_floats(b, (uint64_t)b->model->layer[l].head_count * layer->value_length);
    const struct kept_rows key_cache = whole_cache(b, l, settings->key_type, k, layer->key_length);
    const struct kept_rows value_cache =
        whole_cache(b, l, settings->value_type, v, layer->value_length);

    if (!whole_kind(b, l)->borrows)
        keep(b, l, (int32_t[]){key_cache.cache, value_cache.cache}, (int32_t[]){keys, values},
             (uint64_t[]){k, v});
    return (b->memory->terms.attention_fused ? attend_fused : attend_plainly)(
        b, l, queries, key_cache.read, read_values(b, l, value_cache.read, v), mixed);
}

int32_t whole_turned_back(struct builder *b, uint32_t l, int32_t results)
{
    const uint64_t bytes =
        whole_floats(b, (uint64_t)b->model->layer[l].head_count * whole_lender(b, l)->value_length);

    if (!b->memory->terms.attention_fused)
        return results; /* put in order already, and no view; values are not packed */
    results = net_view(&b->graph, results, bytes); /* older builds: not what is behind them */
    return net_view(&b->graph, whole_turned_value(b, l, results, bytes), bytes);
}
