/* whole_latent.c - latent attention of a whole graph, over a cache that is latent or not. */
#include "whole_attention.h"

/* What the layer gets, by way of a low rank where the file has one. */
static int32_t ranked(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const uint64_t rank = whole_floats(b, b->shape->query_rank);

    if (rank == 0)
        return in;
    in = whole_product(b, &w[LATENT_Q], in, rank, b->tokens);
    return whole_normed(b, &w[LATENT_Q_NORM], in, rank, b->tokens, l);
}

static int32_t ranked_queries(struct builder *b, uint32_t l, int32_t of, uint64_t row)
{
    return whole_product(b, &b->part[l][b->shape->query_rank > 0 ? LATENT_Q_HEADS : ATTN_Q], of,
                         whole_floats(b, row), b->tokens);
}

/* Each head's queries, turned into the cache's space; behind them the rotated part. */
static int32_t latent_queries(struct builder *b, uint32_t l, int32_t of)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const uint64_t heads = b->model->layer[l].head_count;
    const uint64_t row = heads * g->head_key;
    const int32_t made = ranked_queries(b, l, of, row);
    int32_t absorbed, turned_part;

    absorbed = whole_product(b, &w[LATENT_K_HEADS],
                             net_view(&b->graph, made, whole_span(b, row, row - g->rotated)),
                             whole_floats(b, heads * g->latent), b->tokens);
    absorbed = net_view(&b->graph, absorbed, whole_floats(b, heads * g->latent));
    turned_part = net_view(&b->graph, made, whole_span(b, row, row - (g->head_key - g->rotated)));
    if (whole_is_rotated(b, l))
        turned_part = whole_rotated(b, l, turned_part, whole_floats(b, heads * g->rotated));
    return whole_made(b, absorbed, turned_part, whole_floats(b, heads * (g->latent + g->rotated)));
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
    if (whole_is_rotated(b, l))
        turned_part = whole_rotated(b, l, turned_part, whole_floats(b, g->rotated));
    return whole_made(b, made, turned_part, whole_floats(b, width));
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

/* What attention is made of; a mask is put down when it is asked for. */
struct latent_parts {
    int32_t in, ranked, queries, read;
};

static int32_t latent_mask(struct builder *b, uint32_t l, const struct latent_parts *of)
{
    return b->shape->index_heads > 0 ? whole_index_mask(b, l, of->in, of->ranked)
                                     : whole_mask(b, l);
}

static int32_t latent_fused(struct builder *b, uint32_t l, const struct latent_parts *of)
{
    const struct memory_graph *g = b->shape;
    const uint64_t heads = b->model->layer[l].head_count;
    const enum dgo_kv_type type = b->to->settings->key_type;
    int32_t values = latent_values(b, l, of->read);
    const int32_t keys = whole_as_f16(b, l, of->read, type, g->latent + g->rotated);

    values = whole_as_f16(b, l, values, type, g->latent);
    /* Copies of a cache in host memory are two: the values' is no part of the keys'. */
    const bool in_host = b->memory->kv_on_host || whole_home(b, l) == whole_cpu(b);
    const uint64_t apart = in_host && graph_unpacked_bytes(g, whole_kind(b, l)) > 0
                               ? b->memory->stream_count * whole_cells(b, l) * g->latent * 2
                               : 0;

    return whole_node(
        b, (struct net_op){.bytes = whole_floats(b, heads * g->latent),
                           .room_bytes = graph_unpacked_bytes(g, whole_kind(b, l)) + apart,
                           .cpu_only = whole_attends_on_cpu(b, l),
                           .source = SOURCES(of->queries, keys, values, latent_mask(b, l, of)),
                           .light = true,
                           PLAIN});
}

/* Values lie as keys do: they are turned over first. */
static int32_t latent_plain(struct builder *b, uint32_t l, const struct latent_parts *of)
{
    const struct memory_graph *g = b->shape;
    const uint64_t heads = b->model->layer[l].head_count;
    const uint64_t scores = whole_floats(b, heads * whole_cells(b, l));
    const uint64_t cells = b->memory->stream_count * whole_cells(b, l);
    const struct dgo_ggml_type *kind = memory_kv_type(b->to->settings->key_type);
    int32_t odds, values;

    values = whole_node(
        b, (struct net_op){.bytes = cells * g->latent / kind->block_values * kind->block_bytes,
                           .source = SOURCES(latent_values(b, l, of->read)),
                           PLAIN});
    odds = whole_node(
        b, (struct net_op){.bytes = scores, .source = SOURCES(of->read, of->queries), PLAIN});
    odds = whole_node(b, (struct net_op){.bytes = scores,
                                         .rows = heads * b->tokens,
                                         .source = SOURCES(odds, latent_mask(b, l, of)),
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
    struct latent_parts of = {.in = in};

    b->latent_in = in;
    whole_index_keys(b, l, in);
    of.ranked = ranked(b, l, in);
    of.queries = latent_queries(b, l, of.ranked);

    const int32_t keys = latent_keys(b, l, in);
    const struct kept_rows cache = whole_cache(b, l, b->to->settings->key_type, width, width);
    int32_t made;

    whole_write_rows(
        b, cache.cache, keys,
        whole_input(b, &whole_cache_inputs(b, l)->key_rows, b->tokens * sizeof(int64_t)));
    of.queries = net_view(&b->graph, of.queries, whole_floats(b, heads * width));
    of.read = cache.read;
    made = (b->memory->terms.attention_fused ? latent_fused : latent_plain)(b, l, &of);
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

int32_t whole_latent_gated(struct builder *b, uint32_t l, int32_t made)
{
    const uint64_t heads = b->model->layer[l].head_count, few = whole_floats(b, heads);
    const uint64_t bytes = whole_floats(b, heads * b->shape->head_value);
    int32_t gate = whole_product(b, &b->part[l][DELTA_GATE], b->latent_in, few, b->tokens);

    gate = whole_over(b, net_view(&b->graph, gate, few), NET_NONE, few);
    made = whole_over(b, net_view(&b->graph, made, bytes), gate, bytes);
    return whole_made(b, made, NET_NONE, bytes);
}

/* --- latent attention whose cache is not latent ------------------------------------------------
 */

static int32_t expanded_queries(struct builder *b, uint32_t l, int32_t in)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t row = (uint64_t)layer->head_count * layer->key_length;
    const uint64_t bytes = whole_floats(b, row);
    const int32_t made = net_view(&b->graph, ranked_queries(b, l, ranked(b, l, in), row), bytes);

    return whole_turned_key(b, l, whole_rotated(b, l, made, bytes), bytes);
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
    values =
        whole_made(b, net_view(&b->graph, all, whole_span(b, row, row - plain_key)), NET_NONE, v);
    values = whole_turned_value(b, l, values, v);
    keys = net_view(&b->graph, both, whole_span(b, width, g->rotated));
    keys = whole_made(b, whole_rotated(b, l, keys, whole_floats(b, g->rotated)), NET_NONE,
                      whole_floats(b, heads * g->rotated));
    all = net_view(&b->graph, all, whole_span(b, row, row - layer->value_length));
    keys = whole_turned_key(b, l, whole_made(b, all, keys, k), k);
    return whole_attended(b, l, queries, keys, values);
}
