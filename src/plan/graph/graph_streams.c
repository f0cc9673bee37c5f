/* graph_streams.c - gemma3n: four streams go from layer to layer, one of them through attention and
 * feed-forward; the others are predicted from all and corrected by what came out of it.
 *
 * The streams are made where the output layer lies, for the tensor that does it is there. */
#include "graph.h"

enum { STREAMS = 4, OTHERS = STREAMS - 1, EITHER = 3, LOW_RANK = 64 };

static uint64_t wide(const struct drawing *d)
{
    return draw_bytes(d, (uint64_t)STREAMS * d->graph->embedding);
}

/* --- into streams and out of them ------------------------------------------------------------ */

static tape_ref magnitude(struct drawing *d, uint64_t streams, uint8_t over, tape_ref of)
{
    const tape_ref squares =
        TAPE_PUT(d->tape, draw_bytes(d, streams * d->graph->embedding), over, of);

    return draw_product(d, streams, squares);
}

/* The other streams, as long as `like` is. */
static tape_ref lengthened(struct drawing *d, tape_ref others, tape_ref like)
{
    const uint64_t bytes = draw_bytes(d, (uint64_t)OTHERS * d->graph->embedding);
    const tape_ref sized = TAPE_PUT(d->tape, bytes, 1, others, magnitude(d, 1, 0, like));

    return TAPE_PUT(d->tape, bytes, 1, sized, magnitude(d, OTHERS, 1, others));
}

static tape_ref split_up(struct drawing *d, tape_ref embeddings)
{
    const uint64_t others = (uint64_t)OTHERS * d->graph->embedding;
    const tape_ref made = draw_product(d, others, draw_product(d, others, embeddings));

    return TAPE_PUT(d->tape, wide(d), 0, embeddings, lengthened(d, made, embeddings));
}

/* One behind the other for each token: a layer's prediction begins with it. */
static tape_ref turned_over(struct drawing *d, tape_ref streams)
{
    return TAPE_PUT(d->tape, wide(d), 0, tape_view(d->tape, streams));
}

/* Made here and copied to the first device, which is all that is done with them. */
static void make_for_first(struct drawing *d, uint64_t embedded_bytes)
{
    const tape_ref read = tape_input(d->tape, embedded_bytes);
    const tape_ref scaled = TAPE_PUT(d->tape, embedded_bytes, 1, read);
    const tape_ref streams = split_up(d, tape_input(d->tape, draw_bytes(d, d->graph->embedding)));

    tape_expand(d->tape, scaled);
    TAPE_WRITE(d->tape, turned_over(d, streams));
    TAPE_WRITE(d->tape, streams);
    TAPE_WRITE(d->tape, scaled);
}

void draw_open_streams(struct drawing *d, const struct memory_role *role)
{
    const uint64_t embedding = draw_bytes(d, d->graph->embedding);
    const uint64_t embedded = graph_embedded_bytes(d->graph) * d->graph->layer_count;

    d->looked_up = d->embedded = TAPE_OUTSIDE;
    if (role->holds_output && role->pipeline)
        make_for_first(d, embedded);
    if (role->position == 0) {
        d->looked_up = tape_input(d->tape, embedded);
        d->embeddings = tape_input(d->tape, embedding);
    }
    if (role->position == 0 && !role->pipeline) {
        d->looked_up = TAPE_PUT(d->tape, embedded, 1, d->looked_up);
        tape_expand(d->tape, d->looked_up);
        d->stream = split_up(d, d->embeddings);
        d->stream_turned = turned_over(d, d->stream);
        d->stream_active = tape_view(d->tape, d->stream);
        return;
    }
    d->stream = tape_input(d->tape, wide(d));
    d->stream_turned = tape_input(d->tape, wide(d));
    d->stream_active = tape_input(d->tape, embedding);
}

void draw_close_streams(struct drawing *d, const struct memory_role *role)
{
    const uint64_t embedding = d->graph->embedding;
    tape_ref others, sum;

    if (!role->holds_output) {
        tape_expand(d->tape, d->stream_turned);
        return;
    }
    sum = tape_view(d->tape, d->stream);
    others = draw_product(d, OTHERS * embedding, tape_view(d->tape, d->stream));
    others = lengthened(d, others, tape_view(d->tape, d->stream));
    for (int i = 0; i < OTHERS; i++)
        sum = TAPE_PUT(d->tape, draw_bytes(d, embedding), 1, sum, tape_view(d->tape, others));
    d->row_count = d->graph->row_count;
    d->stream = TAPE_PUT(d->tape, draw_bytes(d, embedding), 0, sum, d->rows_wanted);
}

/* --- a layer --------------------------------------------------------------------------------- */

static tape_ref shares(struct drawing *d, tape_ref of)
{
    const tape_ref normed = TAPE_PUT(d->tape, draw_bytes(d, d->graph->embedding), 1, of);

    return draw_product(d, STREAMS, normed);
}

static tape_ref predict(struct drawing *d)
{
    const tape_ref factors = draw_product(d, STREAMS * STREAMS, shares(d, d->stream_active));
    const tape_ref made =
        TAPE_PUT(d->tape, wide(d), 0, d->stream_turned, tape_view(d->tape, factors));
    const tape_ref in_order = TAPE_PUT(d->tape, wide(d), 0, tape_view(d->tape, made));

    return TAPE_PUT(d->tape, wide(d), EITHER, in_order, d->stream);
}

static tape_ref correct(struct drawing *d, tape_ref predicted, tape_ref found)
{
    const tape_ref news = TAPE_PUT(d->tape, draw_bytes(d, d->graph->embedding), 1, found,
                                   tape_view(d->tape, predicted));
    const tape_ref repeated = TAPE_PUT(d->tape, wide(d), 0, news);
    const tape_ref factors = draw_product(d, STREAMS, shares(d, found));
    const tape_ref turned = draw_product(d, STREAMS, tape_view(d->tape, factors));
    const tape_ref change = TAPE_PUT(d->tape, wide(d), 1, repeated, turned);

    return TAPE_PUT(d->tape, wide(d), EITHER, change, predicted);
}

/* Only what is far above the mean goes on. */
static tape_ref thinned(struct drawing *d, uint64_t inner, tape_ref gate)
{
    const tape_ref mean = draw_product(d, 1, gate);
    const tape_ref off = TAPE_PUT(d->tape, draw_bytes(d, inner), 1, gate, mean);
    const tape_ref cut = TAPE_PUT(d->tape, draw_bytes(d, 1), EITHER, mean, draw_product(d, 1, off));

    return TAPE_PUT(d->tape, draw_bytes(d, inner), 1, gate, cut);
}

static tape_ref feed(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const tape_ref up = draw_product(d, layer->inner, normed);
    tape_ref gate = draw_product(d, layer->inner, normed);

    if (layer->thinned)
        gate = thinned(d, layer->inner, gate);
    return draw_product(d, d->graph->embedding,
                        TAPE_PUT(d->tape, draw_bytes(d, layer->inner), EITHER, up, gate));
}

/* Attention and a product of low rank beside it, then the feed-forward. */
static tape_ref run_active(struct drawing *d, const struct graph_layer *layer, tape_ref predicted)
{
    const uint64_t width = d->graph->embedding;
    const tape_ref active = tape_view(d->tape, predicted);
    const tape_ref normed = draw_norm(d, width, active);
    const tape_ref low = draw_product(d, width, draw_product(d, LOW_RANK, normed));
    const tape_ref beside = draw_sum(d, low, normed);
    const tape_ref attention = draw_sum(d, draw_attention(d, layer, normed), active);
    const tape_ref both = draw_sum(d, attention, beside);

    return draw_sum(d, feed(d, layer, draw_norm(d, width, both)), both);
}

void draw_streams_layer(struct drawing *d, const struct graph_layer *layer)
{
    const uint64_t width = d->graph->embedding;
    const tape_ref predicted = predict(d);
    const tape_ref corrected = correct(d, predicted, run_active(d, layer, predicted));
    const tape_ref first = tape_view(d->tape, corrected);
    const tape_ref rest = tape_view(d->tape, corrected);
    const tape_ref scaled =
        TAPE_PUT(d->tape, draw_bytes(d, width), 1, tape_view(d->tape, corrected));
    const tape_ref others =
        TAPE_PUT(d->tape, draw_bytes(d, OTHERS * width), 1, rest, draw_embedded(d, scaled));

    d->stream = TAPE_PUT(d->tape, wide(d), 0, first, others);
    d->stream_turned = turned_over(d, d->stream);
    d->stream_active = tape_view(d->tape, d->stream);
}
