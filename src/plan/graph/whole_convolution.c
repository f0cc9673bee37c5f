/* whole_convolution.c - mixers of a whole graph that are convolutions over the last tokens: short
 * ones, and Kimi's delta attention, which has one for queries, keys and values each. */
#include "whole_states.h"

/* What a convolution runs over: the last tokens' values, and the new ones behind them. */
static int32_t behind_kept(struct builder *b, int32_t cache, int32_t kept, uint64_t kept_bytes,
                           int32_t values, uint64_t width)
{
    const uint64_t slots = b->slots;
    const uint64_t bytes = whole_floats(b, width) + kept_bytes * slots;
    const int32_t input = whole_made(b, kept, values, bytes);

    /* The view begins behind the oldest tokens of the first row. */
    whole_write_state(b, cache,
                      net_view(&b->graph, input, bytes - b->tokens / slots * sizeof(float)));
    return input;
}

/* --- short convolutions ---------------------------------------------------------------------- */

/* A part of the product, the rows of which hold three. */
static int32_t third(struct builder *b, int32_t all)
{
    const uint64_t width = b->model->embedding_length;

    return net_view(&b->graph, all, whole_span(b, 3 * width, width));
}

void whole_convolution(struct builder *b, uint32_t l, int32_t normed)
{
    const uint64_t width = b->model->embedding_length, wide = whole_floats(b, width);
    const int32_t all = whole_product(b, &b->part[l][SHORT_IN], net_view(&b->graph, normed, wide),
                                      3 * wide, b->tokens / b->slots);
    const int32_t values = whole_made(b, third(b, all), third(b, all), wide);

    b->scanned.all = all;
    b->scanned.values = behind_kept(b, b->ahead.cache, b->ahead.kept, b->shape->shift_bytes,
                                    net_view(&b->graph, values, wide), width);
}

int32_t whole_convolution_out(struct builder *b, uint32_t l)
{
    const struct weight *w = b->part[l];
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const int32_t gate = third(b, b->scanned.all);
    int32_t made = whole_node(
        b, (struct net_op){.bytes = wide,
                           .rows = b->tokens,
                           .source = SOURCES(b->scanned.values, whole_stored(b, &w[SHORT_CONV])),
                           PLAIN});

    made = whole_node(
        b, (struct net_op){.bytes = wide, .source = SOURCES(gate, made), .reusable = 2, PLAIN});
    made = whole_product(b, &w[SHORT_OUT], made, wide, b->tokens / b->slots);
    return net_view(&b->graph, made, wide);
}

/* --- Kimi's delta attention ------------------------------------------------------------------ */

enum { PARTS = 3 }; /* queries, keys, values */

/* One of them as it goes to its convolution, over a third of the state. */
static int32_t part_in(struct builder *b, uint32_t l, enum part product, int32_t normed,
                       int32_t cache, int32_t kept)
{
    const uint64_t slots = b->slots, width = b->shape->state_inner;
    const uint64_t shift = b->shape->shift_bytes, own = shift / PARTS;
    const int32_t old = net_view(&b->graph, kept, (slots - 1) * shift + own);
    const int32_t made =
        whole_product(b, &b->part[l][product], normed, whole_floats(b, width), b->tokens);

    return behind_kept(b, cache, old, own, net_view(&b->graph, made, whole_floats(b, width)),
                       width);
}

/* A weight seen in another shape draws nothing to itself. */
static int32_t reshaped(struct builder *b, const struct weight *w)
{
    return net_view(&b->graph, whole_stored(b, w), w->tensor->size_bytes);
}

/* Convolved; queries and keys are normed head by head. */
static int32_t part_out(struct builder *b, uint32_t l, enum part kernel, int32_t input, bool normed)
{
    const uint64_t bytes = whole_floats(b, b->shape->state_inner);
    int32_t made = whole_made(b, input, reshaped(b, &b->part[l][kernel]), bytes);

    made = whole_over(b, net_view(&b->graph, made, bytes), NET_NONE, bytes);
    made = net_view(&b->graph, made, bytes);
    return normed ? whole_over(b, made, NET_NONE, bytes) : made;
}

/* How much of the state is forgotten, where one matrix says it. */
static int32_t plain_decay(struct builder *b, uint32_t l, int32_t normed)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = whole_floats(b, b->shape->state_inner);
    int32_t made = whole_product(b, &w[KIMI_DECAY_IN], normed, bytes, b->tokens);

    made = net_view(&b->graph, whole_changed(b, &w[SSM_DT], made, bytes, b->tokens), bytes);
    made = whole_over(b, made, reshaped(b, &w[SSM_A]), bytes);
    return net_view(&b->graph, whole_over(b, made, NET_NONE, bytes), bytes);
}

/* By way of a low rank. */
static int32_t decay(struct builder *b, uint32_t l, int32_t normed)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = whole_floats(b, b->shape->state_inner);
    int32_t made = whole_product(b, &w[KIMI_DECAY_IN], normed,
                                 whole_floats(b, w[KIMI_DECAY_IN].tensor->dim[1]), b->tokens);

    made = whole_product(b, &w[KIMI_DECAY_OUT], made, bytes, b->tokens);
    made = whole_changed(b, &w[SSM_DT], made, bytes, b->tokens);
    made = net_view(&b->graph, whole_over(b, made, NET_NONE, bytes), bytes);
    return net_view(&b->graph, whole_over(b, made, reshaped(b, &w[SSM_A]), bytes), bytes);
}

static int32_t kimi_result(struct builder *b, uint32_t l, int32_t normed)
{
    static const enum part products[PARTS] = {ATTN_Q, ATTN_K, ATTN_V};
    static const enum part kernels[PARTS] = {KIMI_CONV_Q, KIMI_CONV_K, KIMI_CONV_V};
    const struct memory_graph *g = b->shape;
    const uint64_t states = g->state_bytes * b->slots;
    const uint64_t heads = whole_floats(b, g->state_inner / g->state_size);
    int32_t shifts = b->ahead.cache, kept = b->ahead.kept;
    int32_t part[PARTS], cache, state, forget, beta, made;

    if (!whole_reads_first(b, l)) {
        shifts = whole_state_cache(b, l, g->shift_bytes);
        kept = whole_read_state(b, shifts, g->shift_bytes);
    }
    for (int i = 0; i < PARTS; i++)
        part[i] = part_in(b, l, products[i], normed, shifts, kept);
    cache = whole_state_cache(b, l, g->state_bytes);
    state = whole_read_state(b, cache, g->state_bytes);
    for (int i = 0; i < PARTS; i++)
        part[i] = part_out(b, l, kernels[i], part[i], i < PARTS - 1);
    forget = (whole_reads_first(b, l) ? plain_decay : decay)(b, l, normed);
    beta = whole_product(b, &b->part[l][SSM_BETA], normed, heads, b->tokens);
    beta = whole_over(b, net_view(&b->graph, beta, heads), NET_NONE, heads);
    made = whole_node(
        b, (struct net_op){.bytes = whole_floats(b, g->state_inner) + states,
                           .source = SOURCES(part[0], part[1], part[2], forget, beta, state),
                           PLAIN});
    whole_write_state(b, cache, net_view(&b->graph, made, states));
    return net_view(&b->graph, made, whole_floats(b, g->state_inner));
}

/* Gated by what came in, whole or by way of a low rank. */
static int32_t kimi_gate(struct builder *b, uint32_t l, int32_t normed)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = whole_floats(b, b->shape->state_inner);
    int32_t gate = whole_product(b, &w[KIMI_GATE_IN], normed,
                                 whole_floats(b, w[KIMI_GATE_IN].tensor->dim[1]), b->tokens);

    if (w[KIMI_GATE_OUT].tensor)
        gate = whole_product(b, &w[KIMI_GATE_OUT], gate, bytes, b->tokens);
    return whole_over(b, net_view(&b->graph, gate, bytes), NET_NONE, bytes);
}

static int32_t kimi_out(struct builder *b, uint32_t l, int32_t result, int32_t normed)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const uint64_t bytes = whole_floats(b, g->state_inner);
    int32_t made = whole_made(b, result, NET_NONE, bytes);

    made = whole_normed(b, &w[SSM_NORM], net_view(&b->graph, made, bytes), bytes,
                        g->state_inner / g->state_size * b->tokens, l);
    made = whole_sum(b, made, kimi_gate(b, l, normed), bytes, b->tokens);
    return whole_product(b, &w[ATTN_OUT], whole_made(b, made, NET_NONE, bytes),
                         whole_floats(b, b->model->embedding_length), b->tokens);
}

int32_t whole_kimi(struct builder *b, uint32_t l, int32_t normed)
{
    const int32_t result = kimi_result(b, l, normed);

    if (!whole_reads_first(b, l))
        return kimi_out(b, l, result,
                        net_view(&b->graph, normed, whole_floats(b, b->model->embedding_length)));
    b->scanned.all = normed;
    b->scanned.values = result;
    return NET_NONE;
}

int32_t whole_kimi_out(struct builder *b, uint32_t l)
{
    return kimi_out(b, l, b->scanned.values, b->scanned.all);
}
