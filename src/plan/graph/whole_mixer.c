/* whole_mixer.c - the first half of a layer of a whole graph, by its kind. */
#include "whole_parts.h"

int32_t whole_normed_by(struct builder *b, uint32_t l, enum part weight, enum part bias, int32_t of)
{
    static const struct weight none;
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const struct weight *w = &b->part[l][weight];

    of = whole_normed(b, &none, of, wide, b->tokens, l);
    if (w->tensor && b->norm_made.weight != w) /* falcon-h1 norms twice by one */
        b->norm_made = (struct norm_made){.weight = w, .stored = whole_stored(b, w)};
    if (w->tensor)
        of = whole_node(b, (struct net_op){.bytes = wide,
                                           .rows = b->tokens,
                                           .source = SOURCES(of, b->norm_made.stored),
                                           .reusable = 1,
                                           PLAIN});
    return whole_changed(b, &b->part[l][bias], of, wide, b->tokens);
}

/* Attention and a state space beside each other, each with a norm of its own. */
static int32_t both(struct builder *b, uint32_t l, int32_t stream, int32_t normed)
{
    const int32_t heads = whole_attention(b, l, normed);

    whole_read_ahead(b, l);
    whole_scan(b, l, whole_normed_by(b, l, ATTN_NORM, ATTN_NORM_BIAS, stream));
    return heads;
}

int32_t whole_mixed(struct builder *b, uint32_t l, int32_t stream, int32_t in)
{
    switch ((enum graph_mixer)whole_kind(b, l)->mixer) {
    case GRAPH_DELTA:
        return whole_delta(b, l, in);
    case GRAPH_LATENT:
        return whole_latent(b, l, in);
    case GRAPH_EXPANDED:
        return whole_expanded(b, l, in);
    case GRAPH_STATE_SPACE:
        whole_scan(b, l, in);
        return NET_NONE;
    case GRAPH_CONVOLUTION:
        whole_convolution(b, l, in);
        return NET_NONE;
    case GRAPH_KIMI_DELTA:
        return whole_kimi(b, l, in);
    case GRAPH_STATE_AND_ATTENTION:
        return both(b, l, stream, in);
    default:
        return whole_attention(b, l, in);
    }
}

int32_t whole_mixed_out(struct builder *b, uint32_t l, int32_t made)
{
    const struct weight *w = b->part[l];
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const struct graph_layer *kind = whole_kind(b, l);

    if (kind->mixer == GRAPH_KIMI_DELTA && made == NET_NONE)
        return whole_kimi_out(b, l);
    if (kind->mixer == GRAPH_DELTA || kind->mixer == GRAPH_KIMI_DELTA)
        return made;
    if (kind->mixer == GRAPH_LATENT && w[DELTA_GATE].tensor)
        made = whole_latent_gated(b, l, made);
    if (kind->mixer == GRAPH_CONVOLUTION)
        return whole_convolution_out(b, l);
    if (kind->mixer == GRAPH_STATE_SPACE)
        return whole_scan_out(b, l);
    if (kind->mixer != GRAPH_LATENT && !kind->queries_gated && kind->gate == 0)
        made = whole_turned_back(b, l, made);
    made = whole_product(b, &w[ATTN_OUT], made, wide, b->tokens);
    made = whole_changed(b, &w[ATTN_OUT_BIAS], made, wide, b->tokens);
    if (kind->mixer == GRAPH_STATE_AND_ATTENTION)
        return whole_sum(b, made, whole_scan_out(b, l), wide, b->tokens);
    return made;
}
