/* whole_feed.c - the feed-forward of a whole graph, dense or routed. */
#include "whole_parts.h"

static const struct weight none;

/* A gate and what it gates, and back to the width of the embeddings. */
static int32_t gated(struct builder *b, const struct weight *gate, const struct weight *gate_bias,
                     const struct weight *up, const struct weight *up_bias,
                     const struct weight *down, int32_t in, uint64_t rows)
{
    const uint64_t inner = rows * down->tensor->dim[0] * sizeof(float);
    int32_t first = whole_product(b, gate, in, inner, rows), second, both;

    first = whole_changed(b, gate_bias, first, inner, rows);
    second = whole_product(b, up, in, inner, rows);
    second = whole_changed(b, up_bias, second, inner, rows);
    both = whole_node(b, (struct net_op){.bytes = inner, .source = SOURCES(first, second), PLAIN});
    return whole_product(b, down, both, rows * b->model->embedding_length * sizeof(float), rows);
}

/* One product, which may hold a gate too. */
static int32_t ungated(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const bool fused = whole_kind(b, l)->gate_fused;
    const uint64_t inner = rows * w[FFN_DOWN].tensor->dim[0] * sizeof(float);
    const uint64_t wide = rows * b->model->embedding_length * sizeof(float);
    int32_t made = whole_product(b, &w[FFN_UP], in, fused ? 2 * inner : inner, rows);

    made = whole_changed(b, &w[FFN_UP_BIAS], made, inner, rows);
    made = whole_node(
        b,
        (struct net_op){.bytes = inner, .source = SOURCES(made), .reusable = fused ? 0 : 1, PLAIN});
    made = whole_changed(b, &w[FFN_ACT_SCALES], made, inner, rows);
    return whole_product(b, &w[FFN_DOWN], made, wide, rows);
}

int32_t whole_dense(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t wide = rows * b->model->embedding_length * sizeof(float);
    int32_t made;

    if (w[FFN_GATE].tensor)
        made = gated(b, &w[FFN_GATE], &w[FFN_GATE_BIAS], &w[FFN_UP], &w[FFN_UP_BIAS], &w[FFN_DOWN],
                     in, rows);
    else
        made = ungated(b, l, in, rows);
    return whole_changed(b, &w[FFN_DOWN_BIAS], made, wide, rows);
}

/* By a factor for each expert, repeated for all tokens first. */
static int32_t scaled_by_expert(struct builder *b, const struct weight *w, int32_t of,
                                struct choice choice, uint64_t bytes, uint64_t rows)
{
    const struct weight scale = {.tensor = w->scale, .home = w->scale_home};
    int32_t factors;

    if (!w->scale)
        return of;
    factors = net_view(&b->graph, whole_stored(b, &scale), b->model->expert_count * sizeof(float));
    factors = whole_made(b, factors, NET_NONE, rows * b->model->expert_count * sizeof(float));
    factors = whole_node(b, (struct net_op){.bytes = rows * choice.used * sizeof(float),
                                            .source = SOURCES(factors, choice.experts),
                                            PLAIN});
    return whole_node(b, (struct net_op){.bytes = bytes,
                                         .rows = rows * choice.used,
                                         .source = SOURCES(of, factors),
                                         .reusable = 1,
                                         PLAIN});
}

/* `bias`: PART_COUNT where there is none. */
static int32_t expert_product(struct builder *b, uint32_t l, enum part weight, enum part bias,
                              int32_t of, struct choice choice, uint64_t width, uint64_t rows)
{
    const uint64_t bytes = width * choice.used * rows * sizeof(float);
    const struct weight *added = bias == PART_COUNT ? &none : &b->part[l][bias];
    int32_t made = whole_node(
        b,
        (struct net_op){.bytes = bytes,
                        .rows = rows,
                        .source = SOURCES(whole_stored(b, &b->part[l][weight]), of, choice.experts),
                        PLAIN});

    made = scaled_by_expert(b, &b->part[l][weight], made, choice, bytes, rows);
    if (added->tensor)
        made = whole_node(
            b, (struct net_op){.bytes = bytes,
                               .rows = rows * choice.used,
                               .source = SOURCES(made, whole_stored(b, added), choice.experts),
                               .reusable = 1,
                               PLAIN});
    return made;
}

/* The chosen experts' shares of the result. */
static int32_t shares_of(struct builder *b, int32_t odds, int32_t chosen, uint32_t used,
                         uint64_t odds_bytes, uint64_t rows)
{
    const uint64_t bytes = used * rows * sizeof(float);
    int32_t shares = whole_node(
        b, (struct net_op){.bytes = bytes,
                           .source = SOURCES(net_view(&b->graph, odds, odds_bytes), chosen),
                           PLAIN});
    const uint32_t recipe = b->shape->recipe;
    int32_t total;

    if (recipe & RECIPE_SHARES_LATE) {
        shares = net_view(&b->graph, shares, bytes);
        shares = whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(shares), PLAIN});
        shares = net_view(&b->graph, shares, bytes);
    }
    if (recipe & RECIPE_SHARES_NORMED) {
        shares = net_view(&b->graph, shares, bytes);
        total = whole_node(
            b, (struct net_op){.bytes = rows * sizeof(float), .source = SOURCES(shares), PLAIN});
        total = whole_over(b, total, NET_NONE, rows * sizeof(float));
        /* Over the sum, where one expert is all of it. */
        shares = whole_node(
            b, (struct net_op){
                   .bytes = bytes, .source = SOURCES(shares, total), .reusable = 2, PLAIN});
        shares = net_view(&b->graph, shares, bytes);
    }
    if (b->shape->shares_scaled)
        shares = whole_node(
            b, (struct net_op){.bytes = bytes, .source = SOURCES(shares), .reusable = 1, PLAIN});
    return shares;
}

static int32_t added_up(struct builder *b, int32_t results, uint32_t used, uint64_t rows)
{
    const uint64_t row = b->model->embedding_length * sizeof(float), bytes = rows * row;
    /* Of one expert's rows: those of the others lie between them. */
    const uint64_t span = ((rows - 1) * used + 1) * row;
    int32_t made = net_view(&b->graph, results, span);

    if (used == 1)
        return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(made), PLAIN});
    for (uint32_t i = 1; i < used; i++)
        made = whole_node(
            b, (struct net_op){.bytes = bytes,
                               .source = SOURCES(made, net_view(&b->graph, results, span)),
                               .reusable = 1,
                               PLAIN});
    return made;
}

/* Only the experts of the groups whose two best ones add up to most are left to choose from. */
static int32_t of_best_groups(struct builder *b, int32_t by, uint64_t rows)
{
    const struct memory_graph *g = b->shape;
    const uint64_t all = rows * g->expert_count * sizeof(float);
    const uint64_t groups = rows * g->expert_groups * sizeof(float);
    const uint64_t left = all / g->expert_groups * g->expert_groups_used;
    enum { BEST = 2 };
    const int32_t view = net_view(&b->graph, by, all);
    const int32_t best = net_view(&b->graph, whole_made(b, view, NET_NONE, all), all);
    int32_t made = net_view(&b->graph, whole_made(b, view, best, BEST * groups), BEST * groups);
    int32_t chosen, filled;

    made = net_view(&b->graph, whole_made(b, made, NET_NONE, groups), groups);
    chosen = net_view(&b->graph, whole_made(b, made, NET_NONE, groups), groups);
    made = whole_made(b, view, chosen, left);
    filled = whole_made(b, view, NET_NONE, all);
    made = whole_node(b, (struct net_op){.bytes = all,
                                         .source = SOURCES(made, chosen, filled),
                                         .written = filled,
                                         .on = NET_NONE});
    return net_view(&b->graph, made, all);
}

/* An expert's number becomes that of its group. */
static int32_t group_numbers(struct builder *b, int32_t experts, uint64_t bytes)
{
    const int32_t numbers = whole_made(b, experts, NET_NONE, bytes);

    return whole_made(b, whole_over(b, numbers, NET_NONE, bytes), NET_NONE, bytes);
}

/* By what the router said; `groups`: so many groups are chosen, 0: experts. */
static struct choice chosen_by(struct builder *b, uint32_t l, int32_t said, uint64_t groups,
                               uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = rows * b->model->expert_count * sizeof(float);
    const bool raw = b->shape->recipe & RECIPE_ROUTER_RAW;
    int32_t odds, by, order;
    struct choice choice = {.used = b->model->expert_used_count};

    odds = said = whole_changed(b, &w[ROUTER_BIAS], said, bytes, rows);
    if (!(b->shape->recipe & RECIPE_SHARES_LATE))
        odds = whole_node(
            b, (struct net_op){
                   .bytes = bytes, .rows = rows, .source = SOURCES(odds), .reusable = 1, PLAIN});
    by = whole_changed(b, &w[CHOICE_BIAS], raw ? said : odds, bytes, rows);
    if (whole_kind(b, l)->grouped) /* by something else than their shares */
        by = whole_over(b, said, NET_NONE, bytes);
    if (b->shape->expert_groups > 0)
        by = of_best_groups(b, by, rows);
    order = whole_made(b, by, NET_NONE, bytes);
    choice.experts = net_view(&b->graph, order, bytes);
    if (groups > 0 && groups < b->model->expert_count) {
        choice.used = (uint32_t)dgo_min_u64(choice.used, groups);
        choice.experts = group_numbers(b, choice.experts, choice.used * rows * sizeof(float));
    }
    choice.shares = shares_of(b, odds, choice.experts, choice.used, bytes, rows);
    return choice;
}

static struct choice choose(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const uint64_t bytes = rows * b->model->expert_count * sizeof(float);

    if (b->shape->router_first)
        return b->choice;
    return chosen_by(b, l, whole_product(b, &b->part[l][ROUTER], in, bytes, rows), 0, rows);
}

void whole_choose_first(struct builder *b, uint32_t l, int32_t in)
{
    const bool last = whole_is_last(b, l);
    int32_t said;

    if (!b->shape->router_first || !whole_kind(b, l)->routed)
        return;
    said = whole_product(b, &b->part[l][ROUTER], in, whole_floats(b, b->model->expert_count),
                         b->tokens);
    if (last)
        said = whole_picked(b, said, b->model->expert_count);
    b->choice = chosen_by(b, l, said, 0, last ? b->rows : b->tokens);
}

/* What the chosen experts make of it, one row for each. */
static int32_t expert_inner(struct builder *b, uint32_t l, int32_t in, struct choice choice,
                            uint64_t rows)
{
    const uint64_t inner = b->model->expert_feed_forward_length;
    const uint64_t bytes = inner * choice.used * rows * sizeof(float);
    int32_t gate, up;

    if (whole_kind(b, l)->experts_ungated) {
        up = expert_product(b, l, EXP_UP, EXP_UP_BIAS, in, choice, inner, rows);
        return whole_over(b, up, NET_NONE, bytes);
    }
    if (b->part[l][EXP_GATE_UP].tensor) {
        const int32_t both =
            expert_product(b, l, EXP_GATE_UP, EXP_GATE_UP_BIAS, in, choice, 2 * inner, rows);

        gate = net_view(&b->graph, both, bytes);
        up = net_view(&b->graph, both, bytes);
    } else {
        gate = expert_product(b, l, EXP_GATE, EXP_GATE_BIAS, in, choice, inner, rows);
        up = expert_product(b, l, EXP_UP, EXP_UP_BIAS, in, choice, inner, rows);
    }
    return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(gate, up), PLAIN});
}

static int32_t shared_ungated(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t inner = rows * w[SHARED_DOWN].tensor->dim[0] * sizeof(float);
    const int32_t made = whole_product(b, &w[SHARED_UP], in, inner, rows);

    return whole_product(b, &w[SHARED_DOWN], whole_over(b, made, NET_NONE, inner),
                         rows * b->model->embedding_length * sizeof(float), rows);
}

/* The expert for all; it may have a gate, one value for each row. */
static int32_t shared(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t one = rows * sizeof(float);
    int32_t made, gate;

    if (whole_kind(b, l)->shared_ungated)
        return shared_ungated(b, l, in, rows);
    made = gated(b, &w[SHARED_GATE], &none, &w[SHARED_UP], &none, &w[SHARED_DOWN], in, rows);
    if (!w[SHARED_ROUTER].tensor)
        return made;
    gate = whole_product(b, &w[SHARED_ROUTER], in, one, rows);
    if (b->shape->recipe & RECIPE_GATE_PROPORTION) {
        const int32_t act = whole_node(
            b, (struct net_op){.bytes = one, .source = SOURCES(gate), .reusable = 1, PLAIN});

        gate = whole_node(
            b, (struct net_op){.bytes = one, .source = SOURCES(act, gate), .reusable = 3, PLAIN});
    } else {
        gate = whole_node(
            b, (struct net_op){.bytes = one, .source = SOURCES(gate), .reusable = 1, PLAIN});
    }
    return whole_node(b, (struct net_op){.bytes = rows * b->model->embedding_length * sizeof(float),
                                         .source = SOURCES(made, gate),
                                         .reusable = 1,
                                         PLAIN});
}

static int32_t repeated(struct builder *b, int32_t of, uint64_t bytes)
{
    return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(of), PLAIN});
}

static int32_t shared_out(struct builder *b, int32_t of, int32_t shares, uint64_t bytes)
{
    return whole_node(
        b, (struct net_op){.bytes = bytes, .source = SOURCES(of, shares), .reusable = 1, PLAIN});
}

/* What the chosen experts give, one behind the other; the router may have been asked with something
 * else than they get. */
static int32_t expert_results(struct builder *b, uint32_t l, struct choice choice, int32_t in,
                              uint64_t rows)
{
    const uint64_t wide = rows * b->model->embedding_length * sizeof(float);
    const uint64_t used = choice.used;
    const bool shares_first = b->shape->recipe & RECIPE_SHARES_FIRST;
    int32_t made = net_view(&b->graph, in, wide), shares;

    if (shares_first)
        made = shared_out(b, repeated(b, made, wide * used), choice.shares, wide * used);
    made = expert_inner(b, l, made, choice, rows);
    made = expert_product(b, l, EXP_DOWN, EXP_DOWN_BIAS, made, choice, b->model->embedding_length,
                          rows);
    shares = net_view(&b->graph, choice.shares, used * rows * sizeof(float));
    return shares_first ? made : shared_out(b, made, shares, wide * used);
}

/* The result of a single expert is put in order when it is asked for, not before. */
static bool added_at_once(const struct builder *b)
{
    return b->model->expert_used_count != 1;
}

/* The experts' sum, and what those of their groups make of it. */
static int32_t grouped(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t wide = rows * b->model->embedding_length * sizeof(float);
    const uint64_t inner = w[GROUP_DOWN].tensor->dim[0];
    const int32_t said =
        whole_product(b, &w[ROUTER], in, rows * b->model->expert_count * sizeof(float), rows);
    const bool at_once = added_at_once(b);
    struct choice choice = chosen_by(b, l, said, 0, rows);
    int32_t sum = expert_results(b, l, choice, in, rows), made, gate, up;

    sum = at_once ? added_up(b, sum, choice.used, rows) : sum;
    choice = chosen_by(b, l, said, w[GROUP_DOWN].tensor->dim[2], rows);
    sum = at_once ? sum : added_up(b, sum, 1, rows);
    made = net_view(&b->graph, sum, wide);
    gate = expert_product(b, l, GROUP_GATE, PART_COUNT, made, choice, inner, rows);
    up = expert_product(b, l, GROUP_UP, PART_COUNT, made, choice, inner, rows);
    made = whole_made(b, gate, up, inner * choice.used * rows * sizeof(float));
    made = expert_product(b, l, GROUP_DOWN, PART_COUNT, made, choice, b->model->embedding_length,
                          rows);
    made =
        shared_out(b, made, net_view(&b->graph, choice.shares, choice.used * rows * sizeof(float)),
                   wide * choice.used);
    made = whole_over(b, added_up(b, made, choice.used, rows), NET_NONE, wide);
    return whole_sum(b, sum, made, wide, rows);
}

static int32_t routed(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const uint64_t wide = rows * b->model->embedding_length * sizeof(float);
    const bool at_once = added_at_once(b);

    if (whole_kind(b, l)->grouped)
        return grouped(b, l, in, rows);

    int32_t made = expert_results(b, l, choose(b, l, in, rows), in, rows), dense;

    if (whole_kind(b, l)->dense_too) { /* of the same */
        made = at_once ? added_up(b, made, b->model->expert_used_count, rows) : made;
        dense = whole_dense(b, l, in, rows);
        return whole_sum(b, dense,
                         at_once ? made : added_up(b, made, b->model->expert_used_count, rows),
                         wide, rows);
    }
    if (!at_once)
        whole_look_ahead(b, l);
    made = added_up(b, made, b->model->expert_used_count, rows);
    if (at_once)
        whole_look_ahead(b, l);
    if (whole_kind(b, l)->shared)
        made = whole_sum(b, made, shared(b, l, in, rows), wide, rows);
    return made;
}

int32_t whole_feed(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    return (whole_kind(b, l)->routed ? routed : whole_dense)(b, l, in, rows);
}

int32_t whole_twins(struct builder *b, uint32_t l, int32_t residual, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t wide = rows * b->model->embedding_length * sizeof(float);
    const uint32_t untold = b->memory->layer_count;
    int32_t made = whole_normed(b, &w[ROUTER_IN_SCALE], residual, wide, rows, untold);
    const struct choice choice = choose(b, l, made, rows);
    int32_t dense;

    made = whole_normed(b, &w[TWIN_NORM], residual, wide, rows, l);
    made = expert_results(b, l, choice, made, rows);
    made = added_at_once(b) ? added_up(b, made, b->model->expert_used_count, rows) : made;
    dense = whole_dense(b, l, whole_normed(b, &w[FFN_NORM], residual, wide, rows, l), rows);
    dense = whole_normed(b, &w[POST_DENSE_NORM], dense, wide, rows, l);
    made = added_at_once(b) ? made : added_up(b, made, b->model->expert_used_count, rows);
    made = whole_normed(b, &w[POST_EXPERTS_NORM], made, wide, rows, l);
    return whole_sum(b, dense, made, wide, rows);
}
