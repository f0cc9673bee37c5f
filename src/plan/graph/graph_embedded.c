/* graph_embedded.c - embeddings of tokens for single layers (gemma3n, gemma4), and what else comes
 * into host memory for each token.
 *
 * All layers' are made on the first device, when the first layer asks for its own, of what was read
 * and of the stream's beginning.  Later devices get those of their layers one by one. */
#include "graph.h"

uint32_t graph_layer_embedding(const struct dgo_model *model)
{
    enum { WIDTH_MAX = 1 << 16 }; /* what a file claims; the models there are have 256 */

    return (uint32_t)dgo_min_u64(memory_key_number(model, "embedding_length_per_layer_input"),
                                 WIDTH_MAX);
}

uint64_t graph_host_bytes(const struct dgo_model *model, uint64_t token_bytes)
{
    /* Values for each token: its number twice, a place of eight bytes, a scale, and three more
     * positions where there are four. */
    enum { INPUTS = 8, ALIGNMENT_BYTES = 64 * 1024 }; /* rows, slots and where tensors begin */
    const struct recipe *recipe = recipe_find(model->architecture);

    if (graph_has_tensor(model, "position_embd.weight"))
        return 2 * token_bytes * model->embedding_length; /* and what is mixed in */
    if (!recipe || !(recipe->flags & RECIPE_BORROWS))
        return token_bytes * MEMORY_COPIES * INPUTS + ALIGNMENT_BYTES;
    return token_bytes * (MEMORY_COPIES * INPUTS +
                          (recipe->flags & RECIPE_STREAMS ? model->embedding_length : 0) +
                          (uint64_t)graph_layer_embedding(model) * model->layer_count) +
           ALIGNMENT_BYTES;
}

uint64_t graph_embedded_bytes(const struct memory_graph *graph)
{
    return graph->layer_embedding * graph->token_count * sizeof(float);
}

static tape_ref make_all(struct drawing *d)
{
    const uint64_t bytes = graph_embedded_bytes(d->graph) * d->graph->layer_count;
    const tape_ref product = TAPE_PUT(d->tape, bytes, 0, d->embeddings);
    const tape_ref normed = TAPE_PUT(d->tape, bytes, 0, tape_view(d->tape, product));
    const bool late = !d->graph->streams && graph_mixes_embeddings(d->graph);
    const tape_ref scaled = late ? TAPE_PUT(d->tape, bytes, 1, d->looked_up) : d->looked_up;
    const tape_ref sum = TAPE_PUT(d->tape, bytes, 1, normed, tape_view(d->tape, scaled));

    return TAPE_PUT(d->tape, bytes, 0, tape_view(d->tape, sum)); /* layer behind layer */
}

tape_ref draw_embedded(struct drawing *d, tape_ref by)
{
    const uint64_t width = d->graph->layer_embedding;
    const tape_ref gate = draw_product(d, width, by);
    tape_ref own;

    if (d->embedded == TAPE_OUTSIDE && d->looked_up != TAPE_OUTSIDE)
        d->embedded = make_all(d);
    own = tape_view(d->tape, d->embedded);
    if (d->picks_rows)
        own = TAPE_PUT(d->tape, draw_bytes(d, width), 0, own, d->rows_wanted);
    own = TAPE_PUT(d->tape, draw_bytes(d, width), 1, gate, own);
    return draw_product(d, d->graph->embedding, own);
}
