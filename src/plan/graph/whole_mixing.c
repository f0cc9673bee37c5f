/* whole_mixing.c - layers of RWKV 7 in a whole graph: a state mixed over time in place of
 * attention, and one over channels in place of a feed-forward.
 *
 * Both are told the token before: two rows for each slot, kept beside the state.  A layer asks for
 * what it kept at once, so the channels of the layer before are put down behind that. */
#include "whole_states.h"

/* What the channels of a layer are made of. */
struct channels {
    int32_t kept, normed, residual;
};

static uint64_t wide(const struct builder *b)
{
    return whole_floats(b, b->model->embedding_length);
}

static uint64_t row_bytes(const struct builder *b)
{
    return b->model->embedding_length * sizeof(float);
}

/* The same values in another shape, which nothing is written over. */
static int32_t seen(struct builder *b, int32_t of)
{
    return net_view(&b->graph, of, wide(b));
}

static int32_t product(struct builder *b, uint32_t l, enum part part, int32_t of)
{
    const struct weight *w = &b->part[l][part];

    return whole_product(b, w, of, whole_floats(b, w->tensor->dim[1]), b->tokens);
}

static int32_t changed(struct builder *b, uint32_t l, enum part part, int32_t of)
{
    return whole_changed(b, &b->part[l][part], of, wide(b), b->tokens);
}

static int32_t joined(struct builder *b, int32_t first, int32_t second)
{
    return whole_sum(b, first, second, wide(b), b->tokens);
}

static int32_t acted(struct builder *b, int32_t of, uint64_t bytes)
{
    return whole_over(b, of, NET_NONE, bytes);
}

static int32_t normed(struct builder *b, uint32_t l, enum part weight, enum part bias, int32_t of)
{
    return changed(b, l, bias, whole_normed(b, &b->part[l][weight], of, wide(b), b->tokens, l));
}

/* Each token's predecessor: the kept one of each slot before the others. */
static int32_t shifted(struct builder *b, int32_t kept, int32_t rows)
{
    const uint64_t slots = b->to->settings->slot_count;
    const bool alone = b->tokens == slots;
    const int32_t before = net_view(&b->graph, kept, (2 * slots - 1) * row_bytes(b));
    const int32_t others = net_view(&b->graph, rows, alone ? 0 : wide(b) - row_bytes(b));

    return whole_made(b, before, others, wide(b));
}

/* By way of a low rank, whose second matrix is the next part; acted on between them. */
static int32_t ranked(struct builder *b, uint32_t l, enum part in, int32_t of, bool acts)
{
    const uint64_t rank = whole_floats(b, b->part[l][in].tensor->dim[1]);
    int32_t made = product(b, l, in, of);

    if (acts)
        made = acted(b, made, rank);
    return product(b, l, in + 1, made);
}

/* Keys, changed by how fast they are learnt. */
static int32_t keys_of(struct builder *b, uint32_t l, int32_t plain, int32_t rate)
{
    const int32_t scaled = changed(b, l, MIX_K_A, plain);
    const int32_t slowed = joined(b, joined(b, rate, scaled), scaled);

    return joined(b, plain, slowed);
}

/* Values, pulled towards those of the first layer. */
static int32_t values_of(struct builder *b, uint32_t l, int32_t mixture, int32_t *first)
{
    const int32_t plain = product(b, l, MIX_VALUES, mixture);
    int32_t pull, by;

    if (*first == NET_NONE) {
        *first = plain;
        return plain;
    }
    pull = joined(b, *first, plain);
    by = changed(b, l, MIX_V0, ranked(b, l, MIX_V1, mixture, false));
    return joined(b, plain, joined(b, pull, acted(b, by, wide(b))));
}

struct mixed {
    int32_t receptance, keys, values, result, mixtures;
};

/* What the state makes of the mixtures; it is kept. */
static struct mixed mix(struct builder *b, uint32_t l, int32_t mixtures, int32_t cache,
                        int32_t state, int32_t *first_values)
{
    const uint64_t states = b->shape->state_bytes * b->to->settings->slot_count;
    struct mixed m = {.mixtures = mixtures};
    int32_t decay, rate, plain, sides[2];

    m.receptance = seen(b, product(b, l, MIX_RECEPTANCES, seen(b, mixtures)));
    decay = changed(b, l, MIX_W0, ranked(b, l, MIX_W1, seen(b, mixtures), true));
    for (int i = 0; i < 3; i++)
        decay = acted(b, decay, wide(b));
    plain = product(b, l, MIX_KEYS, seen(b, mixtures));
    rate = acted(b, changed(b, l, MIX_A0, ranked(b, l, MIX_A1, seen(b, mixtures), false)), wide(b));
    m.keys = seen(b, keys_of(b, l, plain, rate));
    m.values = seen(b, values_of(b, l, seen(b, mixtures), first_values));
    plain = whole_made(b, seen(b, changed(b, l, MIX_K_K, plain)), NET_NONE, wide(b));
    sides[0] = acted(b, plain, wide(b));
    sides[1] = whole_over(b, plain, seen(b, rate), wide(b));
    m.result = whole_node(b, (struct net_op){.bytes = wide(b) + states,
                                             .source = {m.receptance, seen(b, decay), m.keys,
                                                        m.values, sides[0], sides[1], state},
                                             PLAIN});
    whole_write_state(b, cache, net_view(&b->graph, m.result, states));
    return m;
}

/* Normed by heads, with what keys and values add to it, and gated. */
static int32_t mixed_out(struct builder *b, uint32_t l, const struct mixed *m)
{
    const struct weight *w = b->part[l];
    const uint64_t heads = wide(b) / memory_key_number(b->model, "wkv.head_size");
    int32_t made = whole_made(b, seen(b, m->result), NET_NONE, wide(b)), more;

    made = changed(b, l, MIX_NORM_BIAS, changed(b, l, MIX_NORM, seen(b, made)));
    more = joined(b, m->keys, m->receptance);
    more = whole_over(b, more, net_view(&b->graph, whole_stored(b, &w[MIX_R_K]), row_bytes(b)),
                      wide(b));
    more = whole_made(b, more, NET_NONE, heads);
    made = joined(b, made, seen(b, whole_over(b, m->values, more, wide(b))));
    made = joined(b, made, ranked(b, l, MIX_G1, seen(b, m->mixtures), true));
    return product(b, l, MIX_OUT, made);
}

/* Where rows are picked all three are, the residual behind the product. */
static int32_t channels_out(struct builder *b, uint32_t l, const struct channels *c)
{
    const struct weight *w = b->part[l];
    const bool last = whole_is_last(b, l);
    const uint64_t rows = last ? b->rows : b->tokens;
    const uint64_t bytes = rows * row_bytes(b);
    const uint64_t inner = rows * w[CHANNEL_KEY].tensor->dim[1] * sizeof(float);
    int32_t before = seen(b, shifted(b, c->kept, c->normed)), in = seen(b, c->normed), made;
    int32_t residual = seen(b, c->residual);

    if (last) {
        before = whole_picked(b, before, b->model->embedding_length);
        in = whole_picked(b, in, b->model->embedding_length);
    }
    made = whole_changed(b, &w[CHANNEL_LERP], whole_sum(b, before, in, bytes, rows), bytes, rows);
    made = whole_product(b, &w[CHANNEL_KEY], whole_sum(b, made, in, bytes, rows), inner, rows);
    made = acted(b, acted(b, made, inner), inner);
    made = whole_product(b, &w[CHANNEL_VALUE], made, bytes, rows);
    if (last)
        residual = whole_picked(b, residual, b->model->embedding_length);
    return whole_sum(b, made, residual, bytes, rows);
}

static int32_t stream_of(struct builder *b, uint32_t l, int32_t embeddings,
                         const struct channels *before)
{
    if (l > 0)
        return channels_out(b, l - 1, before);
    embeddings = whole_normed(b, &b->embedding_norm, embeddings, wide(b), b->tokens, 0);
    return whole_changed(b, &b->embedding_norm_bias, embeddings, wide(b), b->tokens);
}

bool whole_mixes(const struct builder *b)
{
    return whole_kind(b, 0)->mixer == GRAPH_MIXING;
}

int32_t whole_mixing(struct builder *b, int32_t embeddings)
{
    enum { MIXTURES = 6 };
    const uint64_t slots = b->to->settings->slot_count;
    int32_t first_values = NET_NONE;
    struct channels channels = {0};

    for (uint32_t l = 0; l < b->memory->layer_count; l++) {
        const int32_t shifts = whole_state_cache(b, l, b->shape->shift_bytes);
        const int32_t kept = whole_read_state(b, shifts, b->shape->shift_bytes);
        const int32_t states = whole_state_cache(b, l, b->shape->state_bytes);
        const int32_t state = whole_read_state(b, states, b->shape->state_bytes);
        const int32_t stream = seen(b, stream_of(b, l, embeddings, &channels));
        const int32_t in = normed(b, l, ATTN_NORM, ATTN_NORM_BIAS, stream);
        const int32_t moved = joined(b, shifted(b, kept, in), in);
        const uint64_t all = MIXTURES * wide(b);
        int32_t made = whole_made(b, moved, NET_NONE, all);
        struct mixed mixed;

        made = whole_changed(b, &b->part[l][MIX_LERP], made, all, MIXTURES * b->tokens);
        made = whole_over(b, made, in, all);
        mixed = mix(b, l, made, states, state, &first_values);
        made = joined(b, seen(b, mixed_out(b, l, &mixed)), stream);
        channels = (struct channels){.kept = kept,
                                     .normed = normed(b, l, MIXER_NORM, MIXER_NORM_BIAS, made),
                                     .residual = made};
        made = whole_made(b, net_view(&b->graph, in, row_bytes(b)),
                          net_view(&b->graph, channels.normed, row_bytes(b)),
                          2 * slots * row_bytes(b));
        whole_write_state(b, shifts, net_view(&b->graph, made, 2 * slots * row_bytes(b)));
    }
    return channels_out(b, b->memory->layer_count - 1, &channels);
}
