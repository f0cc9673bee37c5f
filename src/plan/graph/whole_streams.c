/* whole_streams.c - gemma3n's four streams, of a whole graph: graph_streams.c says what they are.
 */
#include "whole_parts.h"

enum { STREAMS = 4, OTHERS = STREAMS - 1, EITHER = 3 };

static uint64_t single(const struct builder *b)
{
    return whole_floats(b, b->model->embedding_length);
}

static uint64_t wide(const struct builder *b)
{
    return STREAMS * single(b);
}

/* A view of the stream that goes through attention. */
static int32_t active(struct builder *b, int32_t streams)
{
    return net_view(&b->graph, streams, single(b));
}

/* --- into streams and out of them ------------------------------------------------------------ */

static int32_t magnitude(struct builder *b, int32_t of, uint64_t streams)
{
    const int32_t squares = whole_over(b, of, NET_NONE, streams * single(b));

    return whole_over(b, whole_made(b, squares, NET_NONE, whole_floats(b, streams)), NET_NONE,
                      whole_floats(b, streams));
}

/* The others, made as long as one is; `like`: a view of it for each use. */
static int32_t lengthened(struct builder *b, int32_t others, int32_t like)
{
    const uint64_t bytes = OTHERS * single(b);
    const int32_t sized = whole_over(b, others, magnitude(b, like, 1), bytes);

    return whole_over(b, sized, magnitude(b, others, OTHERS), bytes);
}

void whole_streams_look_up(struct builder *b)
{
    const uint64_t embedded =
        whole_floats(b, (uint64_t)b->shape->layer_embedding * b->memory->layer_count);

    whole_look_up(b);
    b->layer_embeddings.looked_up = whole_over(
        b, net_view(&b->graph, b->layer_embeddings.looked_up, embedded), NET_NONE, embedded);
}

int32_t whole_streams_open(struct builder *b, int32_t embeddings)
{
    const uint64_t others = OTHERS * single(b);
    int32_t made;

    if (graph_mixes_embeddings(b->shape))
        whole_streams_look_up(b);
    made = whole_made(b, embeddings, NET_NONE, others);
    made = whole_product(b, &b->split_up, made, others, b->tokens);
    return whole_made(b, embeddings, lengthened(b, made, embeddings), wide(b));
}

int32_t whole_streams_close(struct builder *b, int32_t streams)
{
    const int32_t rest = net_view(&b->graph, streams, OTHERS * single(b));
    int32_t made = whole_product(b, &b->joined_again, rest, OTHERS * single(b), b->tokens), sum;

    made = lengthened(b, made, active(b, streams));
    sum = active(b, streams);
    for (int i = 0; i < OTHERS; i++)
        sum = whole_over(b, sum, net_view(&b->graph, made, single(b)), single(b));
    sum = whole_over(b, sum, NET_NONE, single(b));
    return whole_picked(b, sum, b->model->embedding_length);
}

/* --- a layer --------------------------------------------------------------------------------- */

/* What says how much of each stream there is in one; a layer asks twice. */
struct router {
    int32_t norm, product;
};

static int32_t shares(struct builder *b, uint32_t l, const struct router *router, int32_t of)
{
    static const struct weight none;
    int32_t made = whole_normed(b, &none, of, single(b), b->tokens, l);

    made = whole_node(b, (struct net_op){.bytes = single(b),
                                         .rows = b->tokens,
                                         .source = SOURCES(made, router->norm),
                                         .reusable = 1,
                                         PLAIN});
    made = whole_over(b, made, NET_NONE, single(b));
    made = whole_node(b, (struct net_op){.bytes = whole_floats(b, STREAMS),
                                         .rows = b->tokens,
                                         .source = SOURCES(router->product, made),
                                         PLAIN});
    return whole_over(b, made, NET_NONE, whole_floats(b, STREAMS));
}

static int32_t predicted(struct builder *b, uint32_t l, const struct router *router,
                         int32_t streams)
{
    const uint64_t factors_bytes = whole_floats(b, (uint64_t)STREAMS * STREAMS);
    const int32_t turned = whole_made(b, net_view(&b->graph, streams, wide(b)), NET_NONE, wide(b));
    const int32_t factors =
        whole_product(b, &b->part[l][STREAM_PREDICT], shares(b, l, router, active(b, streams)),
                      factors_bytes, b->tokens);
    int32_t made = whole_made(b, turned, net_view(&b->graph, factors, factors_bytes), wide(b));

    made = whole_made(b, net_view(&b->graph, made, wide(b)), NET_NONE, wide(b));
    return whole_sum(b, made, streams, wide(b), b->tokens);
}

/* Only what is far above the mean goes on. */
static int32_t thinned(struct builder *b, int32_t gate, uint64_t bytes)
{
    const uint64_t one = whole_floats(b, 1);
    const int32_t mean = whole_made(b, gate, NET_NONE, one);
    const int32_t off = whole_over(b, gate, mean, bytes);
    const int32_t squares = whole_over(b, off, NET_NONE, bytes);
    const int32_t cut = whole_over(b, whole_made(b, squares, NET_NONE, one), NET_NONE, one);

    gate = whole_over(b, gate, whole_sum(b, mean, cut, one, b->tokens), bytes);
    return whole_over(b, gate, NET_NONE, bytes);
}

static int32_t feed(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = whole_floats(b, w[FFN_DOWN].tensor->dim[0]);
    const int32_t up = whole_product(b, &w[FFN_UP], in, bytes, b->tokens);
    int32_t gate = whole_product(b, &w[FFN_GATE], in, bytes, b->tokens);

    if (whole_kind(b, l)->thinned)
        gate = thinned(b, gate, bytes);
    gate = whole_over(b, gate, NET_NONE, bytes);
    return whole_product(b, &w[FFN_DOWN], whole_sum(b, up, gate, bytes, b->tokens), single(b),
                         b->tokens);
}

/* Attention and a product of low rank beside it, then the feed-forward. */
static int32_t run_active(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const uint64_t bytes = single(b), low_rank = whole_floats(b, w[LOW_IN].tensor->dim[1]);
    const int32_t normed = whole_normed(b, &w[ATTN_NORM], in, bytes, b->tokens, l);
    int32_t made = whole_mixed_out(b, l, whole_mixed(b, l, in, normed)), low;

    made = whole_normed(b, &w[POST_ATTN_NORM], made, bytes, b->tokens, l);
    made = whole_sum(b, made, in, bytes, b->tokens);
    low = whole_product(b, &w[LOW_IN], normed, low_rank, b->tokens);
    low = whole_product(b, &w[LOW_OUT], low, bytes, b->tokens);
    low = whole_normed(b, &w[LOW_NORM], low, bytes, b->tokens, l);
    made = whole_sum(b, made, whole_sum(b, low, normed, bytes, b->tokens), bytes, b->tokens);
    made = whole_over(b, made, NET_NONE, bytes);
    low = feed(b, l, whole_normed(b, &w[FFN_NORM], made, bytes, b->tokens, l));
    low = whole_normed(b, &w[POST_FFN_NORM], low, bytes, b->tokens, b->memory->layer_count);
    return whole_sum(b, low, made, bytes, b->tokens);
}

/* All streams by what is new in one. */
static int32_t corrected(struct builder *b, uint32_t l, const struct router *router,
                         int32_t guessed, int32_t found)
{
    const uint64_t bytes = whole_floats(b, STREAMS);
    const int32_t news = whole_over(b, found, active(b, guessed), single(b));
    const int32_t repeated = whole_made(b, news, NET_NONE, wide(b));
    int32_t factors = whole_product(b, &b->part[l][STREAM_CORRECT], shares(b, l, router, found),
                                    bytes, b->tokens);

    factors = whole_over(b, factors, NET_NONE, bytes);
    factors = whole_made(b, net_view(&b->graph, factors, bytes), NET_NONE, bytes);
    return whole_sum(b, whole_over(b, repeated, factors, wide(b)), guessed, wide(b), b->tokens);
}

int32_t whole_streams_layer(struct builder *b, uint32_t l, int32_t streams)
{
    const struct router router = {.norm = whole_stored(b, &b->part[l][STREAM_ROUTER_NORM]),
                                  .product = whole_stored(b, &b->part[l][STREAM_ROUTER])};
    const int32_t guessed = predicted(b, l, &router, streams);
    const int32_t made = corrected(b, l, &router, guessed, run_active(b, l, active(b, guessed)));
    const int32_t first = active(b, made);
    const int32_t rest = net_view(&b->graph, made, OTHERS * single(b));
    int32_t own =
        whole_changed(b, &b->part[l][STREAM_SCALE], active(b, made), single(b), b->tokens);

    own = whole_embedded(b, l, own, b->tokens);
    own =
        whole_over(b, rest, own, OTHERS * single(b)); /* over a copy of the view, if there is one */
    return whole_made(b, first, own, wide(b));
}
