/* whole_embedded.c - embeddings of tokens for single layers (gemma3n, gemma4), of a whole graph. */
#include "whole_parts.h"

static uint64_t all_bytes(const struct builder *b)
{
    return whole_floats(b, (uint64_t)b->shape->layer_embedding * b->memory->layer_count);
}

static int32_t multiplied(struct builder *b, int32_t looked_up)
{
    return whole_over(b, looked_up, NET_NONE, all_bytes(b));
}

void whole_look_up(struct builder *b)
{
    const int32_t tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    int32_t made = whole_made(b, whole_stored(b, &b->layer_embedding), tokens, all_bytes(b));

    if (!b->shape->streams && !graph_mixes_embeddings(b->shape))
        made = multiplied(b, net_view(&b->graph, made, all_bytes(b)));
    b->layer_embeddings.looked_up = made;
}

/* Those of all layers at once: what was looked up and a product of the stream's beginning. */
static int32_t make_all(struct builder *b)
{
    const uint64_t bytes = all_bytes(b), rows = b->memory->layer_count * b->tokens;
    const uint32_t untold = b->memory->layer_count;
    int32_t made =
        whole_product(b, &b->layer_embedding_product, b->layer_embeddings.stream, bytes, b->tokens);
    int32_t scaled = b->layer_embeddings.looked_up;

    made = whole_over(b, made, NET_NONE, bytes);
    made = whole_normed(b, &b->layer_embedding_norm, net_view(&b->graph, made, bytes), bytes, rows,
                        untold);
    if (!b->shape->streams && graph_mixes_embeddings(b->shape))
        scaled = multiplied(b, scaled);
    made =
        whole_node(b, (struct net_op){.bytes = bytes,
                                      .source = SOURCES(made, net_view(&b->graph, scaled, bytes)),
                                      .reusable = 1,
                                      PLAIN});
    return whole_made(b, net_view(&b->graph, made, bytes), NET_NONE, bytes); /* layer by layer */
}

int32_t whole_embedded(struct builder *b, uint32_t l, int32_t by, uint64_t rows)
{
    const struct weight *w = b->part[l];
    const uint64_t width = b->shape->layer_embedding, bytes = rows * width * sizeof(float);
    const uint64_t wide = rows * b->model->embedding_length * sizeof(float);
    int32_t gate = whole_product(b, &w[LAYER_GATE], by, bytes, rows), own;

    gate = whole_over(b, gate, NET_NONE, bytes);
    if (b->layer_embeddings.all == NET_NONE)
        b->layer_embeddings.all = make_all(b);
    own = net_view(&b->graph, b->layer_embeddings.all, whole_floats(b, width));
    if (!b->shape->streams && whole_is_last(b, l))
        own = whole_picked(b, own, width);
    gate = whole_over(b, gate, own, bytes);
    gate = whole_product(b, &w[LAYER_PROJ], gate, wide, rows);
    return whole_normed(b, &w[LAYER_POST_NORM], gate, wide, rows, l);
}
