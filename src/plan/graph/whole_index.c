/* whole_index.c - sparse attention of a whole graph: an indexer scores every cell of the cache for
 * every token, and the mask leaves the best ones alone.
 *
 * It keeps keys of its own in a second cache; a layer without an indexer attends to what the last
 * one before it picked. */
#include "whole_attention.h"

/* Its keys are rotated as the model's, and then turned by a matrix, packed or not. */
static int32_t turned(struct builder *b, uint32_t l, int32_t of, uint64_t bytes)
{
    const uint64_t side = b->shape->index_width;
    const int32_t made = whole_rotated(b, l, net_view(&b->graph, of, bytes), bytes);
    const int32_t turn = whole_input(b, &b->inputs.index_turn, side * side * sizeof(float));

    return whole_made(b, turn, made, bytes);
}

static struct kept_rows index_cache(struct builder *b, uint32_t l)
{
    return whole_cache(b, l, b->to->settings->key_type, b->shape->index_width,
                       b->shape->index_width);
}

void whole_index_keys(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = whole_floats(b, b->shape->index_width);
    int32_t keys;

    if (!whole_kind(b, l)->indexed)
        return;
    keys = whole_product(b, &w[INDEX_KEY], in, bytes, b->tokens);
    keys = whole_layer_normed(b, &w[INDEX_KEY_NORM], keys, bytes, b->tokens, l);
    keys = whole_changed(b, &w[INDEX_KEY_NORM_BIAS], keys, bytes, b->tokens);
    whole_write_rows(b, index_cache(b, l).cache, turned(b, l, keys, bytes),
                     whole_input(b, &b->inputs.index_rows, b->tokens * sizeof(int64_t)));
}

/* Every cell's score for every token; always fused, and so is its mask. */
static int32_t scores(struct builder *b, uint32_t l, int32_t in, int32_t ranked)
{
    const struct memory_graph *g = b->shape;
    const struct weight *w = b->part[l];
    const uint64_t wide = whole_floats(b, (uint64_t)g->index_heads * g->index_width);
    const uint64_t few = whole_floats(b, g->index_heads);
    const uint64_t cells = whole_cells(b, l);
    const int32_t queries =
        turned(b, l, whole_product(b, &w[INDEX_QUERIES], ranked, wide, b->tokens), wide);
    int32_t shares = whole_product(b, &w[INDEX_SHARES], in, few, b->tokens);

    shares = whole_made(b, net_view(&b->graph, shares, few), NET_NONE, few);
    return whole_node(
        b, (struct net_op){.bytes = whole_floats(b, cells),
                           .source = SOURCES(net_view(&b->graph, queries, wide),
                                             index_cache(b, l).read, shares,
                                             whole_input(b, &b->inputs.index_mask,
                                                         b->tokens * cells * sizeof(uint16_t))),
                           PLAIN});
}

/* The mask again, shut but for the cells that were picked. */
int32_t whole_index_mask(struct builder *b, uint32_t l, int32_t in, int32_t ranked)
{
    const uint64_t cells = whole_cells(b, l);
    const uint64_t best = whole_floats(b, dgo_min_u64(b->shape->index_best, cells));
    const uint64_t bytes = b->tokens * cells * (b->memory->terms.attention_fused ? 2 : 4);
    const int32_t nothing = whole_node(
        b, (struct net_op){
               .bytes = best, .source = SOURCES(net_leaf(&b->graph, best)), .reusable = 1, PLAIN});
    int32_t shut, made;

    if (whole_kind(b, l)->indexed) {
        made = whole_made(b, scores(b, l, in, ranked), NET_NONE, best);
        b->best_cells = whole_made(b, made, NET_NONE, best);
    }
    shut = whole_over(b, whole_mask(b, l), NET_NONE, bytes);
    made = whole_node(
        b,
        (struct net_op){.bytes = bytes,
                        .source = SOURCES(nothing, net_view(&b->graph, b->best_cells, best), shut),
                        .written = shut,
                        .on = NET_NONE});
    return whole_node(
        b, (struct net_op){.bytes = bytes,
                           .source = SOURCES(net_view(&b->graph, made, bytes), whole_mask(b, l)),
                           .reusable = 2,
                           PLAIN});
}
