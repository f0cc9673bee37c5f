/* whole_states.c - mixers of a whole graph that keep a state for each slot: gated delta nets,
 * state spaces. */
#include "whole_states.h"

/* Rows of a cache of states: one for each slot, and as many again for each guess that may be
 * refused. */
static uint64_t state_rows(const struct builder *b)
{
    return b->to->settings->slot_count * b->shape->state_count;
}

int32_t whole_state_cache(struct builder *b, uint32_t l, uint64_t slot_bytes)
{
    const uint64_t bytes = slot_bytes * state_rows(b);

    return net_stored(&b->graph, bytes, bytes,
                      b->memory->kv_on_host ? whole_cpu(b) : whole_home(b, l), false);
}

void whole_write_state(struct builder *b, int32_t cache, int32_t from)
{
    whole_node(b,
               (struct net_op){.source = SOURCES(from, cache), .written = cache, .on = NET_NONE});
}

int32_t whole_read_state(struct builder *b, int32_t cache, uint64_t slot_bytes)
{
    const uint64_t slots = b->to->settings->slot_count;
    const int32_t cleared = net_view(&b->graph, cache, slot_bytes);
    const int32_t rows = net_view(&b->graph, cache, slot_bytes * state_rows(b));
    int32_t made;

    whole_node(b, (struct net_op){.source = SOURCES(cleared), .written = cache, .on = NET_NONE});
    made =
        whole_node(b, (struct net_op){.bytes = slot_bytes * slots,
                                      .source = SOURCES(rows, whole_input(b, &b->inputs.slots,
                                                                          slots * sizeof(int32_t))),
                                      PLAIN});
    whole_write_state(b, cache, net_view(&b->graph, made, 0));
    return net_view(&b->graph, made, slot_bytes * b->slots);
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

/* Mamba 1 sees its tokens slot by slot, delta nets at the end: a product has as many rows as a slot
 * has tokens. */
static int32_t product_by_slots(struct builder *b, uint32_t l, enum part part, int32_t of,
                                uint64_t width)
{
    return whole_product(b, &b->part[l][part], of, whole_floats(b, width),
                         b->tokens / b->to->settings->slot_count);
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
    const int32_t cache = whole_state_cache(b, l, shift_bytes);
    const int32_t kept = whole_read_state(b, cache, shift_bytes);
    const int32_t mixed = seen(b, product(b, l, ATTN_QKV, normed, width), width);
    const int32_t input =
        whole_node(b, (struct net_op){.bytes = whole_floats(b, width) + kept_bytes,
                                      .source = SOURCES(kept, mixed),
                                      PLAIN});

    for (uint64_t i = 0; i < b->shape->state_count; i++) /* one token later each */
        whole_write_state(b, cache,
                          net_view(&b->graph, input,
                                   whole_floats(b, width) + kept_bytes - behind * sizeof(float)));
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
    const uint64_t slots = b->to->settings->slot_count, states = g->state_bytes * slots;
    const int32_t input = convolved(b, l, normed, width);
    const int32_t cache = whole_state_cache(b, l, g->state_bytes);
    const int32_t state = whole_read_state(b, cache, g->state_bytes);
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
    made = whole_node(
        b, (struct net_op){.bytes = whole_floats(b, g->state_inner) + states * g->state_count,
                           .source = SOURCES(queries, keys, values, decay, beta, state),
                           PLAIN});
    whole_write_state(
        b, cache,
        net_view(&b->graph, made, states * dgo_min_u64(b->tokens / slots, g->state_count)));
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
    made = product_by_slots(b, l, SSM_OUT, seen(b, made, inner), b->model->embedding_length);
    return net_view(&b->graph, made, wide);
}

/* --- state spaces ------------------------------------------------------------------------- */

bool whole_reads_first(const struct builder *b, uint32_t l)
{
    const uint8_t mixer = whole_kind(b, l)->mixer;

    return mixer == GRAPH_STATE_SPACE || mixer == GRAPH_CONVOLUTION ||
           (mixer == GRAPH_KIMI_DELTA && !b->part[l][KIMI_DECAY_OUT].tensor);
}

void whole_read_ahead(struct builder *b, uint32_t l)
{
    const uint64_t bytes = b->shape->shift_bytes;

    if (b->ahead.layer == l)
        return;
    b->ahead.layer = l;
    b->ahead.cache = whole_state_cache(b, l, bytes);
    b->ahead.kept = whole_read_state(b, b->ahead.cache, bytes);
}

/* Feed-forwards between are put down with the rest. */
void whole_look_ahead(struct builder *b, uint32_t l)
{
    uint32_t next = l + 1;

    while (next < b->memory->layer_count && whole_kind(b, next)->mixer == GRAPH_NO_MIXER &&
           !whole_kind(b, next)->routed)
        next++;
    if (next < b->memory->layer_count && whole_reads_first(b, next))
        whole_read_ahead(b, next);
}

/* How wide the in-product is: a gate, what the convolution takes, and the steps (Mamba 2). */
static uint64_t product_width(const struct memory_graph *g)
{
    const uint64_t parts = (uint64_t)g->state_groups * g->state_size;

    return 2 * ((uint64_t)g->state_inner + parts) + (g->selective ? 0 : g->state_heads);
}

static uint64_t mixed_width(const struct memory_graph *g)
{
    return g->state_inner + 2 * (uint64_t)g->state_groups * g->state_size;
}

/* The convolution's input: what is kept of the last tokens, and the new values. */
static int32_t behind_kept(struct builder *b, int32_t all)
{
    const struct memory_graph *g = b->shape;
    const uint64_t slots = b->to->settings->slot_count, mixed = mixed_width(g);
    const uint64_t bytes = whole_floats(b, mixed) + g->shift_bytes * slots;
    const int32_t values = net_view(&b->graph, all, whole_span(b, product_width(g), mixed));
    const int32_t input = whole_node(
        b, (struct net_op){.bytes = bytes, .source = SOURCES(b->ahead.kept, values), PLAIN});

    whole_write_state(b, b->ahead.cache,
                      net_view(&b->graph, input, bytes - b->tokens / slots * sizeof(float)));
    return input;
}

static int32_t convolved_values(struct builder *b, uint32_t l, int32_t input)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = whole_floats(b, mixed_width(b->shape));
    int32_t made =
        whole_node(b, (struct net_op){.bytes = bytes,
                                      .rows = b->tokens,
                                      .source = SOURCES(input, whole_stored(b, &w[SSM_CONV])),
                                      PLAIN});

    made = whole_changed(b, &w[SSM_CONV_BIAS], made, bytes, b->tokens);
    return whole_node(
        b, (struct net_op){.bytes = bytes, .source = SOURCES(made), .reusable = 1, PLAIN});
}

/* What the scan takes besides its states: values, steps, and how states are written and read. */
struct scan_parts {
    int32_t values, steps, in, out;
};

static struct scan_parts wide_parts(struct builder *b, uint32_t l, int32_t all, int32_t values)
{
    const struct memory_graph *g = b->shape;
    const uint64_t mixed = mixed_width(g), heads = g->state_heads;
    const uint64_t part = (uint64_t)g->state_groups * g->state_size;
    const int32_t steps = net_view(&b->graph, all, whole_span(b, product_width(g), heads));

    return (struct scan_parts){
        .values = net_view(&b->graph, values, whole_span(b, mixed, g->state_inner)),
        .steps = whole_changed(b, &b->part[l][SSM_DT], made_of(b, steps, heads),
                               whole_floats(b, heads), b->tokens),
        .in = net_view(&b->graph, values, whole_span(b, mixed, part)),
        .out = net_view(&b->graph, values, whole_span(b, mixed, part)),
    };
}

static int32_t part_normed(struct builder *b, uint32_t l, enum part norm, int32_t both,
                           uint64_t row, uint64_t width)
{
    const int32_t part = net_view(&b->graph, both, whole_span(b, row, width));

    if (!b->part[l][norm].tensor)
        return part;
    return whole_normed(b, &b->part[l][norm], part, whole_floats(b, width), b->tokens, l);
}

/* Mamba 1: one product of the values for steps of low rank and both parts. */
static struct scan_parts selective_parts(struct builder *b, uint32_t l, int32_t values)
{
    const struct memory_graph *g = b->shape;
    const uint64_t rank = g->state_heads, row = rank + 2 * (uint64_t)g->state_size;
    const int32_t both = product_by_slots(b, l, SSM_X, values, row);
    struct scan_parts parts = {.values = seen(b, values, g->state_inner)};

    parts.steps = part_normed(b, l, SSM_STEPS_NORM, both, row, rank);
    if (!g->parts_normed)
        parts.steps = made_of(b, parts.steps, rank);
    parts.steps = product_by_slots(b, l, SSM_STEPS, parts.steps, g->state_inner);
    parts.steps = whole_changed(b, &b->part[l][SSM_DT], parts.steps,
                                whole_floats(b, g->state_inner), b->tokens);
    parts.in = part_normed(b, l, SSM_B_NORM, both, row, g->state_size);
    parts.out = part_normed(b, l, SSM_C_NORM, both, row, g->state_size);
    return parts;
}

/* Part of which slots' states are read: it is copied to a device by itself. */
static int32_t slots_part(struct builder *b, int32_t *made, uint64_t count)
{
    const int32_t all =
        whole_input(b, &b->inputs.slots, b->to->settings->slot_count * sizeof(int32_t));

    if (*made == NET_NONE)
        *made = net_view(&b->graph, all, count * sizeof(int32_t));
    return *made;
}

/* States of all slots but one are read once more, to be kept where they are. */
static void keep_others(struct builder *b, int32_t cache)
{
    const uint64_t others = b->shape->rule->others_read ? b->to->settings->slot_count - 1 : 0;
    const uint64_t bytes = b->shape->state_bytes;
    const int32_t rows = net_view(&b->graph, cache, bytes * (others + 1));
    const int32_t made = whole_node(
        b, (struct net_op){.bytes = others * bytes,
                           .source = SOURCES(rows, slots_part(b, &b->inputs.slots_kept, others)),
                           PLAIN});

    whole_write_state(b, cache, net_view(&b->graph, made, 0));
}

void whole_scan(struct builder *b, uint32_t l, int32_t normed)
{
    const struct memory_graph *g = b->shape;
    const uint64_t slots = b->to->settings->slot_count, states = g->state_bytes * slots;
    const int32_t all = g->selective ? product_by_slots(b, l, SSM_IN, normed, product_width(g))
                                     : product(b, l, SSM_IN, normed, product_width(g));
    const int32_t input = behind_kept(b, all), cache = whole_state_cache(b, l, g->state_bytes);
    struct scan_parts parts;
    int32_t values, scan;

    whole_node(b, (struct net_op){.source = SOURCES(net_view(&b->graph, cache, g->state_bytes)),
                                  .written = cache,
                                  .on = NET_NONE});
    values = convolved_values(b, l, input);
    parts = g->selective ? selective_parts(b, l, values) : wide_parts(b, l, all, values);
    scan = whole_node(
        b, (struct net_op){
               .bytes = whole_floats(b, g->state_inner) + states,
               .rows = 1, /* all in a row: never for a device's sake where A lies in host memory */
               .source = {net_view(&b->graph, cache, states), parts.values, parts.steps,
                          whole_stored(b, &b->part[l][SSM_A]), parts.in, parts.out,
                          slots_part(b, &b->inputs.slots_scanned, slots)},
               PLAIN});
    keep_others(b, cache);
    whole_write_state(b, cache, net_view(&b->graph, scan, states));
    b->scanned = (struct scanned){all, values, scan};
}

int32_t whole_scan_out(struct builder *b, uint32_t l)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const uint64_t inner = g->state_inner, bytes = whole_floats(b, inner);
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const int32_t values =
        g->selective ? b->scanned.values
                     : net_view(&b->graph, b->scanned.values, whole_span(b, mixed_width(g), inner));
    const int32_t gate = made_of(
        b, net_view(&b->graph, b->scanned.all, whole_span(b, product_width(g), inner)), inner);
    int32_t made = whole_changed(b, &w[SSM_D], values, bytes, g->state_heads * b->tokens);

    made = whole_sum(b, seen(b, b->scanned.scan, inner), made, bytes, b->tokens);
    made = whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(gate, made), PLAIN});
    if (w[SSM_NORM].tensor)
        made = whole_normed(b, &w[SSM_NORM], seen(b, made, inner), bytes,
                            g->state_groups * b->tokens, l);
    if (!g->selective)
        return whole_product(b, &w[SSM_OUT], seen(b, made, inner), wide, b->tokens);
    made = product_by_slots(b, l, SSM_OUT, seen(b, made, inner), b->model->embedding_length);
    return net_view(&b->graph, made, wide);
}
