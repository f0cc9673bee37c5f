/* whole_feed.c - the feed-forward of a whole graph, dense or routed. */
#include "whole_parts.h"

static int32_t dense(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t inner = rows * b->model->layer[l].feed_forward_length * sizeof(float);
    const int32_t gate = whole_product(b, &w[FFN_GATE], in, inner, rows);
    const int32_t up = whole_product(b, &w[FFN_UP], in, inner, rows);
    const int32_t both =
        whole_node(b, (struct net_op){.bytes = inner, .source = SOURCES(gate, up), PLAIN});

    return whole_product(b, &w[FFN_DOWN], both, rows * b->model->embedding_length * sizeof(float),
                         rows);
}

static int32_t expert_product(struct builder *b, uint32_t l, enum part weight, enum part bias,
                              int32_t of, int32_t chosen, uint64_t width, uint64_t rows)
{
    const uint64_t bytes = width * b->model->expert_used_count * rows * sizeof(float);
    const struct weight *added = &b->part[l][bias];
    int32_t made = whole_node(
        b, (struct net_op){.bytes = bytes,
                           .rows = rows,
                           .source = SOURCES(whole_stored(b, &b->part[l][weight]), of, chosen),
                           PLAIN});

    if (added->tensor)
        made =
            whole_node(b, (struct net_op){.bytes = bytes,
                                          .rows = rows * b->model->expert_used_count,
                                          .source = SOURCES(made, whole_stored(b, added), chosen),
                                          .reusable = 1,
                                          PLAIN});
    return made;
}

/* The chosen experts' shares of the result. */
static int32_t shares_of(struct builder *b, int32_t odds, int32_t chosen, uint64_t odds_bytes,
                         uint64_t rows)
{
    const uint64_t bytes = b->model->expert_used_count * rows * sizeof(float);
    int32_t shares = whole_node(
        b, (struct net_op){.bytes = bytes,
                           .source = SOURCES(net_view(&b->graph, odds, odds_bytes), chosen),
                           PLAIN});
    int32_t total;

    shares = net_view(&b->graph, shares, bytes);
    if (b->style->chosen_softmax)
        return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(shares), PLAIN});
    total = whole_node(
        b, (struct net_op){.bytes = rows * sizeof(float), .source = SOURCES(shares), PLAIN});
    total = whole_node(
        b, (struct net_op){.bytes = rows * sizeof(float), .source = SOURCES(total), PLAIN});
    return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(shares, total), PLAIN});
}

static int32_t added_up(struct builder *b, int32_t results, uint64_t rows)
{
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    int32_t made = net_view(&b->graph, results, bytes);

    if (b->model->expert_used_count == 1)
        return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(made), PLAIN});
    for (uint32_t i = 1; i < b->model->expert_used_count; i++)
        made = whole_node(
            b, (struct net_op){.bytes = bytes,
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
    int32_t odds = whole_product(b, &b->part[l][ROUTER], in, odds_bytes, rows);
    int32_t order, chosen, shares, view, gate, up, both, down;

    if (b->part[l][ROUTER_BIAS].tensor)
        odds = whole_changed(b, &b->part[l][ROUTER_BIAS], odds, odds_bytes, rows);
    else
        odds = whole_node(
            b, (struct net_op){.bytes = odds_bytes, .source = SOURCES(odds), .reusable = 1, PLAIN});
    order = whole_node(b, (struct net_op){.bytes = odds_bytes, .source = SOURCES(odds), PLAIN});
    chosen = net_view(&b->graph, order, odds_bytes);
    shares = shares_of(b, odds, chosen, odds_bytes, rows);
    view = net_view(&b->graph, in, wide);
    gate = expert_product(b, l, EXP_GATE, EXP_GATE_BIAS, view, chosen, inner, rows);
    up = expert_product(b, l, EXP_UP, EXP_UP_BIAS, view, chosen, inner, rows);
    both = whole_node(b, (struct net_op){.bytes = inner * used * rows * sizeof(float),
                                         .source = SOURCES(gate, up),
                                         PLAIN});
    down =
        expert_product(b, l, EXP_DOWN, EXP_DOWN_BIAS, both, chosen, model->embedding_length, rows);
    down = whole_node(
        b, (struct net_op){
               .bytes = wide * used,
               .source = SOURCES(down, net_view(&b->graph, shares, used * rows * sizeof(float))),
               .reusable = 1,
               PLAIN});
    return added_up(b, down, rows);
}

int32_t whole_feed(struct builder *b, uint32_t l, int32_t in, uint64_t rows)
{
    return b->part[l][ROUTER].tensor ? routed(b, l, in, rows) : dense(b, l, in, rows);
}
