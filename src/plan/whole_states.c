/* whole_states.c - mixers of a whole graph that keep a state for each slot: gated delta nets. */
#include "whole_parts.h"

/* A cache of states, one row for each slot; it lies as the cache of keys does. */
static int32_t state_cache(struct builder *b, uint32_t l, uint64_t slot_bytes)
{
    const uint64_t bytes = slot_bytes * b->to->settings->slot_count;

    return net_stored(&b->graph, bytes, bytes,
                      b->memory->kv_on_host ? whole_cpu(b) : whole_home(b, l), false);
}

static void write_state(struct builder *b, int32_t cache, int32_t from)
{
    whole_node(b,
               (struct net_op){.source = SOURCES(from, cache), .written = cache, .on = NET_NONE});
}

/* A state is cleared in place, those of the batch are read, and the others moved: none, in the
 * graph that is reserved. */
static int32_t read_state(struct builder *b, int32_t cache, uint64_t slot_bytes)
{
    const uint64_t slots = b->to->settings->slot_count;
    const int32_t cleared = net_view(&b->graph, cache, slot_bytes);
    const int32_t rows = net_view(&b->graph, cache, slot_bytes * slots);
    int32_t made;

    whole_node(b, (struct net_op){.source = SOURCES(cleared), .written = cache, .on = NET_NONE});
    made =
        whole_node(b, (struct net_op){.bytes = slot_bytes * slots,
                                      .source = SOURCES(rows, whole_input(b, &b->inputs.slots,
                                                                          slots * sizeof(int32_t))),
                                      PLAIN});
    write_state(b, cache, net_view(&b->graph, made, 0));
    return net_view(&b->graph, made, slot_bytes * slots);
}

/* As wide as `of` is, and not written over it. */
static int32_t made_of(struct builder *b, int32_t of, uint64_t width)
{
    return whole_node(
        b, (struct net_op){.bytes = whole_floats(b, width), .source = SOURCES(of), PLAIN});
}

static int32_t changed_alone(struct builder *b, int32_t of, uint64_t width)
{
    return whole_node(
        b, (struct net_op){
               .bytes = whole_floats(b, width), .source = SOURCES(of), .reusable = 1, PLAIN});
}

static int32_t product(struct builder *b, uint32_t l, enum part part, int32_t of, uint64_t width)
{
    return whole_product(b, &b->part[l][part], of, whole_floats(b, width), b->tokens);
}

static int32_t seen(struct builder *b, int32_t of, uint64_t width)
{
    return net_view(&b->graph, of, whole_floats(b, width));
}

/* What queries, keys and values are cut from: a convolution over the last tokens' and the new ones.
 */
static int32_t convolved(struct builder *b, uint32_t l, int32_t normed, uint64_t width)
{
    const uint64_t shift_bytes = b->shape->shift_bytes;
    const uint64_t kept_bytes = shift_bytes * b->to->settings->slot_count;
    /* The view begins behind the oldest tokens of the first row. */
    const uint64_t behind = b->tokens / b->to->settings->slot_count;
    const int32_t cache = state_cache(b, l, shift_bytes);
    const int32_t kept = read_state(b, cache, shift_bytes);
    const int32_t mixed = seen(b, product(b, l, ATTN_QKV, normed, width), width);
    const int32_t input =
        whole_node(b, (struct net_op){.bytes = whole_floats(b, width) + kept_bytes,
                                      .source = SOURCES(kept, mixed),
                                      PLAIN});

    write_state(
        b, cache,
        net_view(&b->graph, input, whole_floats(b, width) + kept_bytes - behind * sizeof(float)));
    return input;
}

/* How much of the state is forgotten, and how much of the new is taken: from one product
 * (qwen3next) or two. */
static void decay_and_beta(struct builder *b, uint32_t l, int32_t normed, int32_t *decay,
                           int32_t *beta)
{
    const struct weight *w = b->part[l];
    const uint64_t heads = b->shape->state_heads, bytes = whole_floats(b, heads);
    int32_t both = NET_NONE, made;

    if (w[SSM_BETA_ALPHA].tensor) {
        both = product(b, l, SSM_BETA_ALPHA, normed, 2 * heads);
        made = made_of(b, seen(b, both, heads), heads);
    } else {
        made = seen(b, product(b, l, SSM_ALPHA, normed, heads), heads);
    }
    made = whole_changed(b, &w[SSM_DT], made, bytes, b->tokens);
    made = changed_alone(b, made, heads);
    *decay = seen(b, whole_changed(b, &w[SSM_A], made, bytes, b->tokens), heads);
    made = both == NET_NONE ? product(b, l, SSM_BETA, normed, heads) : both;
    *beta = seen(b, made_of(b, seen(b, made, heads), heads), heads);
}

/* Normed; in qwen3next repeated for each value head. */
static int32_t part_of(struct builder *b, int32_t mixed, uint64_t mixed_width)
{
    const struct memory_graph *g = b->shape;
    const uint64_t width = (uint64_t)g->state_groups * g->state_size;
    const uint64_t all = (uint64_t)g->state_heads * g->state_size;
    int32_t made = net_view(&b->graph, mixed, whole_span(b, mixed_width, width));

    made = changed_alone(b, made_of(b, made, width), width);
    if (!(g->recipe & RECIPE_KEYS_REPEATED) || g->state_heads == g->state_groups)
        return made;
    return seen(b, made_of(b, seen(b, made, width), all), all);
}

static int32_t net_result(struct builder *b, uint32_t l, int32_t normed)
{
    const struct memory_graph *g = b->shape;
    const uint64_t width = g->state_inner + 2 * (uint64_t)g->state_groups * g->state_size;
    const uint64_t states = g->state_bytes * b->to->settings->slot_count;
    const int32_t input = convolved(b, l, normed, width);
    const int32_t cache = state_cache(b, l, g->state_bytes);
    const int32_t state = read_state(b, cache, g->state_bytes);
    int32_t mixed, queries, keys, values, decay, beta, made;

    mixed = whole_node(
        b, (struct net_op){.bytes = whole_floats(b, width),
                           .rows = b->tokens,
                           .source = SOURCES(input, whole_stored(b, &b->part[l][SSM_CONV])),
                           PLAIN});
    mixed = changed_alone(b, mixed, width);
    queries = part_of(b, mixed, width);
    keys = part_of(b, mixed, width);
    decay_and_beta(b, l, normed, &decay, &beta);
    values = net_view(&b->graph, mixed, whole_span(b, width, g->state_inner));
    made = whole_node(b, (struct net_op){.bytes = whole_floats(b, g->state_inner) + states,
                                         .source = {queries, keys, values, decay, beta, state},
                                         PLAIN});
    write_state(b, cache, net_view(&b->graph, made, states));
    return seen(b, made, g->state_inner);
}

int32_t whole_delta(struct builder *b, uint32_t l, int32_t normed)
{
    const struct weight *w = b->part[l];
    const uint64_t inner = b->shape->state_inner, bytes = whole_floats(b, inner);
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    int32_t made = net_result(b, l, normed), gate;

    made = whole_normed(b, &w[SSM_NORM], made, bytes, b->shape->state_heads * b->tokens, l);
    gate = seen(b, product(b, l, DELTA_GATE, normed, inner), inner);
    made = whole_sum(b, made, made_of(b, gate, inner), bytes, b->tokens);
    /* Its rows are those of a slot. */
    made = whole_product(b, &w[SSM_OUT], seen(b, made, inner), wide,
                         b->tokens / b->to->settings->slot_count);
    return net_view(&b->graph, made, wide);
}
