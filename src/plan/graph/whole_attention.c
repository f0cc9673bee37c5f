/* whole_attention.c - attention of a whole graph: heads and their rotation. */
#include "whole_attention.h"

int32_t whole_rotated(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const struct weight table = {.tensor = b->rope, .home = whole_home(b, l)};
    const uint64_t positions = b->shape->recipe & RECIPE_POSITIONS_4 ? 4 : 1;
    int32_t *factors = &b->inputs.rope[table.home];
    const int32_t where =
        whole_input(b, &b->inputs.positions, positions * b->tokens * sizeof(int32_t));

    /* gemma4: layers with windows do without. */
    const bool plain = b->shape->recipe & RECIPE_BORROWS && whole_kind(b, l)->window;

    if (b->rope && !plain && *factors == NET_NONE)
        *factors = whole_stored(b, &table);
    return whole_node(b, (struct net_op){.bytes = bytes,
                                         .source = SOURCES(of, where, plain ? NET_NONE : *factors),
                                         .reusable = 1,
                                         .light = true,
                                         PLAIN});
}

bool whole_is_rotated(const struct builder *b, uint32_t l)
{
    return whole_kind(b, l)->rotated;
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
    if (whole_is_rotated(b, l))
        made = whole_rotated(b, l, made, bytes);
    if (w->tensor && !norm_wide && norm_last)
        made = whole_normed(b, w, made, bytes, rows, l);
    return made;
}

static int32_t projected(struct builder *b, uint32_t l, enum part weight, enum part bias,
                         int32_t of, uint64_t width)
{
    const int32_t made =
        whole_product(b, &b->part[l][weight], of, whole_floats(b, width), b->tokens);

    if (b->shape->recipe & RECIPE_NO_BIASES)
        return made;
    return whole_changed(b, &b->part[l][bias], made, whole_floats(b, width), b->tokens);
}

const struct dgo_layer *whole_lender(const struct builder *b, uint32_t l)
{
    const struct graph_layer *kind = whole_kind(b, l);

    return &b->model->layer[kind->borrows ? b->shape->lender[kind->window] : l];
}

/* Normed heads without a weight: of the keys' product where the file has none for values. */
static int32_t normed_values(struct builder *b, uint32_t l, int32_t of, uint64_t width)
{
    static const struct weight none;
    const uint64_t bytes = whole_floats(b, width);

    return whole_normed(b, &none, net_view(&b->graph, of, bytes), bytes,
                        b->model->layer[l].head_count_kv * b->tokens, b->memory->layer_count);
}

/* Keys and values in the engine's order; `all`: the product that holds them too, or none. */
static void keys_and_values(struct builder *b, uint32_t l, int32_t in, int32_t all, int32_t *keys,
                            int32_t *values)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const struct graph_layer *kind = whole_kind(b, l);
    const bool keys_first = b->shape->recipe & RECIPE_KEYS_FIRST;
    const uint64_t q = (uint64_t)layer->head_count * layer->key_length;
    const uint64_t k = (uint64_t)layer->head_count_kv * layer->key_length;
    const uint64_t v = (uint64_t)layer->head_count_kv * layer->value_length;
    const uint64_t row = all == NET_NONE ? k : q + k + v;
    int32_t product = NET_NONE;

    for (int i = 0; i < 2; i++) {
        if ((i == 0) == keys_first) {
            product = all == NET_NONE ? projected(b, l, ATTN_K, ATTN_K_BIAS, in, k) : all;
            *keys =
                heads(b, l, product, ATTN_K_NORM, k, layer->head_count_kv, whole_span(b, row, k));
            *keys = whole_turned_key(b, l, *keys, whole_floats(b, k));
        } else {
            *values = kind->values_are_keys ? product
                      : all == NET_NONE     ? projected(b, l, ATTN_V, ATTN_V_BIAS, in, v)
                                            : net_view(&b->graph, all, whole_span(b, row, v));
            if (kind->values_normed)
                *values = normed_values(b, l, *values, v);
            *values = whole_turned_value(b, l, *values, whole_floats(b, v));
        }
    }
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

/* Multiplied by a gate of what came in: one value for each of the result's, or one for a head. */
static int32_t gated_apart(struct builder *b, uint32_t l, int32_t in, int32_t result)
{
    const struct dgo_layer *layer = &b->model->layer[l];
    const uint64_t bytes = whole_floats(b, (uint64_t)layer->head_count * layer->value_length);
    const uint64_t gate_bytes = whole_floats(b, whole_kind(b, l)->gate);
    int32_t gate = whole_product(b, &b->part[l][DELTA_GATE], in, gate_bytes, b->tokens);

    gate = whole_over(b, gate, NET_NONE, gate_bytes);
    if (gate_bytes == bytes)
        return whole_sum(b, result, gate, bytes, b->tokens);
    result = net_view(&b->graph, result, bytes); /* by heads */
    return whole_over(b, result, net_view(&b->graph, gate, gate_bytes), bytes);
}

int32_t whole_attention(struct builder *b, uint32_t l, int32_t in)
{
    const struct dgo_layer *layer = &b->model->layer[l], *lender = whole_lender(b, l);
    const uint64_t q = (uint64_t)layer->head_count * lender->key_length;
    const uint64_t k = (uint64_t)lender->head_count_kv * lender->key_length;
    const uint64_t v = (uint64_t)lender->head_count_kv * lender->value_length;
    const bool gated = whole_kind(b, l)->queries_gated;
    int32_t all = NET_NONE, plain, queries, keys = 0, values = 0, made;

    if (b->part[l][ATTN_QKV].tensor)
        plain = all = projected(b, l, ATTN_QKV, ATTN_QKV_BIAS, in, q + k + v);
    else
        plain = projected(b, l, ATTN_Q, ATTN_Q_BIAS, in, gated ? 2 * q : q);
    queries = heads(b, l, plain, ATTN_Q_NORM, q, layer->head_count,
                    gated ? whole_span(b, 2 * q, 2 * q - layer->key_length)
                          : whole_span(b, all == NET_NONE ? q : q + k + v, q));
    if (b->shape->recipe & RECIPE_QUERIES_SCALED && !whole_is_rotated(b, l))
        queries = scaled(b, queries, whole_floats(b, q));
    queries = whole_turned_key(b, l, queries, whole_floats(b, q));
    if (!whole_kind(b, l)->borrows)
        keys_and_values(b, l, in, all, &keys, &values);
    made = whole_attended(b, l, queries, keys, values);
    if (whole_kind(b, l)->gate > 0)
        return gated_apart(b, l, in, whole_turned_back(b, l, made));
    return gated ? gated_by(b, l, whole_turned_back(b, l, made), plain) : made;
}
