/* graph_experts.c - the feed-forward: dense, or routed over experts. */
#include "graph.h"

/* What a gate and what it gates become; without one, written over the product. */
static tape_ref inner_product(struct drawing *d, uint64_t inner, bool gated, tape_ref normed)
{
    const tape_ref first = draw_product(d, inner, normed);

    return gated ? TAPE_PUT(d->tape, draw_bytes(d, inner), 0, first, draw_product(d, inner, normed))
                 : first;
}

tape_ref draw_dense(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const uint64_t inner = layer->inner;
    const tape_ref act = layer->gate_fused
                             ? draw_product(d, inner, draw_product(d, 2 * inner, normed))
                             : inner_product(d, inner, layer->gated, normed);

    return draw_product(d, d->graph->embedding, act);
}

/* --- the router ------------------------------------------------------------------------------ */

struct choice {
    tape_ref experts; /* which ones */
    tape_ref shares;  /* what each of them counts */
};

static tape_ref share_out(struct drawing *d, tape_ref shares)
{
    const struct memory_graph *g = d->graph;
    const uint64_t used = g->expert_used_count;

    if (g->recipe & RECIPE_SHARES_LATE)
        shares = draw_product(d, used, tape_view(d->tape, shares));
    if (g->recipe & RECIPE_SHARES_NORMED) {
        const tape_ref view = tape_view(d->tape, shares);

        shares = TAPE_PUT(d->tape, draw_bytes(d, used), 0, view, draw_product(d, 1, view));
    }
    if (g->shares_scaled)
        shares = draw_product(d, used, tape_view(d->tape, shares));
    return shares;
}

/* Only the experts of the groups whose two best ones add up to most are left to choose from. */
static tape_ref of_best_groups(struct drawing *d, tape_ref by)
{
    const struct memory_graph *g = d->graph;
    const uint64_t experts = g->expert_count, groups = g->expert_groups;
    const uint64_t left = experts / groups * g->expert_groups_used;
    enum { BEST = 2 };
    const tape_ref view = tape_view(d->tape, by);
    const tape_ref best = tape_view(d->tape, draw_product(d, experts, view));
    tape_ref made = TAPE_PUT(d->tape, draw_bytes(d, BEST * groups), 0, view, best), chosen;

    made = draw_product(d, groups, tape_view(d->tape, made));
    chosen = tape_view(d->tape, draw_product(d, groups, tape_view(d->tape, made)));
    made = TAPE_PUT(d->tape, draw_bytes(d, left), 0, view, chosen);
    made = draw_written(d, draw_product(d, experts, view), made, chosen);
    return tape_view(d->tape, made);
}

static struct choice choose(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    const uint64_t experts = g->expert_count;
    const tape_ref said = draw_product(d, experts, normed);
    tape_ref odds = said, by;
    struct choice choice;

    if (g->recipe & RECIPE_ROUTER_RAW)
        odds = draw_product(d, experts, said);
    by = g->recipe & RECIPE_ROUTER_RAW ? said : odds;
    if (layer->choice_biased)
        by = TAPE_PUT(d->tape, draw_bytes(d, experts), 1, by);
    if (g->expert_groups > 0)
        by = of_best_groups(d, by);
    choice.experts = tape_view(d->tape, draw_product(d, experts, by));
    choice.shares = TAPE_PUT(d->tape, draw_bytes(d, g->expert_used_count), 0,
                             tape_view(d->tape, odds), choice.experts);
    choice.shares = share_out(d, choice.shares);
    tape_expand(d->tape, choice.shares);
    return choice;
}

/* --- the experts ----------------------------------------------------------------------------- */

/* Products with as many experts as are used; some files have a scale for each expert. */
static tape_ref expert_product(struct drawing *d, uint64_t width, bool scaled, tape_ref input,
                               tape_ref experts)
{
    const struct memory_graph *g = d->graph;
    const uint64_t bytes = draw_bytes(d, width * g->expert_used_count);
    const tape_ref product = TAPE_PUT(d->tape, bytes, 0, input, experts);

    if (!scaled)
        return product;
    const tape_ref scales = draw_product(d, g->expert_count, TAPE_OUTSIDE);
    const tape_ref chosen =
        TAPE_PUT(d->tape, draw_bytes(d, g->expert_used_count), 0, scales, experts);

    return TAPE_PUT(d->tape, bytes, 1, product, chosen);
}

static tape_ref expert_inner(struct drawing *d, const struct graph_layer *layer, tape_ref input,
                             tape_ref experts)
{
    const struct memory_graph *g = d->graph;
    const uint64_t inner = g->expert_inner, bytes = draw_bytes(d, inner * g->expert_used_count);

    if (layer->experts_fused) {
        const tape_ref both = expert_product(d, 2 * inner, false, input, experts);

        return TAPE_PUT(d->tape, bytes, 0, tape_view(d->tape, both), tape_view(d->tape, both));
    }
    if (layer->experts_ungated)
        return expert_product(d, inner, layer->experts_scaled, input, experts);
    const tape_ref gate = expert_product(d, inner, layer->experts_scaled, input, experts);
    const tape_ref up = expert_product(d, inner, layer->experts_scaled, input, experts);

    return TAPE_PUT(d->tape, bytes, 0, gate, up);
}

/* The results of the experts used, one after the other. */
static tape_ref add_up(struct drawing *d, tape_ref results)
{
    const struct memory_graph *g = d->graph;
    tape_ref part[GRAPH_USED_MAX], sum;
    const uint32_t used = g->expert_used_count; /* graph_fill knows the bound */

    if (used == 0) /* what a file claims */
        return results;
    for (uint32_t e = 0; e < used; e++) {
        part[e] = tape_view(d->tape, results);
        tape_expand(d->tape, part[e]);
    }
    if (used == 1)
        return draw_product(d, g->embedding, part[0]);
    sum = part[0];
    for (uint32_t e = 1; e < used; e++) {
        sum = draw_sum(d, sum, part[e]);
        tape_expand(d->tape, sum);
    }
    return sum;
}

static tape_ref draw_shared(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    tape_ref result = draw_product(
        d, g->embedding, inner_product(d, g->shared_inner, !layer->shared_ungated, normed));

    if (layer->shared_gated) {
        tape_ref gate = draw_product(d, 1, normed);

        if (g->recipe & RECIPE_GATE_PROPORTION)
            gate = TAPE_PUT(d->tape, draw_bytes(d, 1), 1, draw_product(d, 1, gate), gate);
        result = TAPE_PUT(d->tape, draw_bytes(d, g->embedding), 1, result, gate);
    }
    return result;
}

/* The router may be asked with something else than the experts get. */
static tape_ref routed(struct drawing *d, const struct graph_layer *layer, tape_ref asked,
                       tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    const struct choice choice = choose(d, layer, asked);
    const uint64_t wide = (uint64_t)g->embedding * g->expert_used_count;
    tape_ref input = tape_view(d->tape, normed), results;

    if (g->recipe & RECIPE_SHARES_FIRST) {
        input = draw_product(d, wide, input); /* repeated for each of them */
        input = TAPE_PUT(d->tape, draw_bytes(d, wide), 1, input, choice.shares);
    }
    results = expert_inner(d, layer, input, choice.experts);
    results = expert_product(d, g->embedding, layer->experts_scaled, results, choice.experts);
    if (!(g->recipe & RECIPE_SHARES_FIRST))
        results =
            TAPE_PUT(d->tape, draw_bytes(d, wide), 1, results, tape_view(d->tape, choice.shares));
    results = add_up(d, results);
    if (layer->dense_too)
        return draw_sum(d, draw_dense(d, layer, normed), results);
    return layer->shared ? draw_sum(d, results, draw_shared(d, layer, normed)) : results;
}

tape_ref draw_experts(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    return routed(d, layer, normed, normed);
}

/* The norms behind either are written over it. */
tape_ref draw_twins(struct drawing *d, const struct graph_layer *layer, tape_ref residual)
{
    const uint64_t width = d->graph->embedding;
    const tape_ref asked = draw_norm(d, width, residual);
    const tape_ref experts = routed(d, layer, asked, draw_norm(d, width, residual));

    return draw_sum(d, draw_dense(d, layer, draw_norm(d, width, residual)), experts);
}
