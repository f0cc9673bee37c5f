/* graph_mixers.c - attention: over heads, gated, latent. */
#include "graph.h"

enum { F16_BYTES = 2 };

/* --- attention ------------------------------------------------------------------------------- */

static bool is_packed(enum dgo_kv_type type)
{
    return type != DGO_KV_F16 && type != DGO_KV_F32;
}

/* CUDA's kernels for single tokens read packed caches as they are, where a head has 64, 128 or 256
 * values; others that take several heads of queries for one of keys at once do not, and do not
 * compute ALiBi. */
static bool reads_packed(const struct memory_graph *graph, const struct graph_layer *layer)
{
    const uint32_t head = layer->heads ? layer->queries / layer->heads : 0;
    const bool quantised = memory_kv_type(graph->key_type)->block_values > 1 ||
                           memory_kv_type(graph->value_type)->block_values > 1;

    return graph->token_count <= graph->stream_count &&
           (head == 64 || head == 128 || head == 256) &&
           (quantised || layer->queries == layer->keys || graph->scores_biased);
}

/* Latent values are a part of the keys. */
uint64_t graph_unpacked_bytes(const struct memory_graph *graph, const struct graph_layer *layer)
{
    const uint64_t cells =
        graph->stream_count * (layer->window ? graph->window_cells : graph->cells);
    const bool latent = layer->mixer == GRAPH_LATENT;
    const uint64_t keys = latent ? graph->latent + graph->rotated : layer->keys;
    uint64_t width = 0;

    if (!latent && reads_packed(graph, layer))
        return 0;
    if (is_packed(graph->key_type))
        width += keys;
    if (is_packed(graph->value_type) && !latent)
        width += layer->values;
    return cells * width * F16_BYTES;
}

/* An f32 cache is copied to f16 for flash attention, no other is. */
static tape_ref copied(struct drawing *d, const struct graph_layer *layer, bool is_f32,
                       uint64_t width)
{
    const struct memory_graph *g = d->graph;
    const uint64_t cells = g->stream_count * (layer->window ? g->window_cells : g->cells);

    return is_f32 ? TAPE_PUT(d->tape, cells * width * F16_BYTES, 0, TAPE_OUTSIDE) : TAPE_OUTSIDE;
}

/* Values that lie as keys do are turned over for plain attention. */
static tape_ref turned_over(struct drawing *d, const struct graph_layer *layer)
{
    const struct memory_graph *g = d->graph;
    const struct dgo_ggml_type *type = memory_kv_type(g->value_type);
    const uint64_t cells = g->stream_count * (layer->window ? g->window_cells : g->cells);
    const uint64_t row = layer->values / type->block_values * type->block_bytes;

    return g->turns_values ? TAPE_PUT(d->tape, cells * row, 0, TAPE_OUTSIDE) : TAPE_OUTSIDE;
}

/* Whether that cache's rows are turned: an input of no bytes stands for no matrix. */
static bool is_turn(const struct drawing *d, tape_ref turn)
{
    return turn != TAPE_OUTSIDE && d->tape->tensor[turn].bytes > 0;
}

/* Turned to be packed, or as they are.  What is cut out of a wider product is copied first. */
static tape_ref turned(struct drawing *d, tape_ref turn, uint64_t width, bool cut, tape_ref heads)
{
    tape_ref view = tape_view(d->tape, heads);

    if (!is_turn(d, turn))
        return view;
    if (cut)
        view = tape_view(d->tape, draw_product(d, width, view));
    return tape_view(d->tape, TAPE_PUT(d->tape, draw_bytes(d, width), 0, turn, view));
}

/* Queries against a cache: results in order, head beside head. */
static tape_ref against_cache(struct drawing *d, const struct graph_layer *layer, tape_ref queries)
{
    const struct memory_graph *g = d->graph;
    const uint64_t mixed = draw_bytes(d, layer->mixed);
    const uint64_t cells = layer->window ? g->window_cells : g->cells;
    const tape_ref mask = d->mask[layer->window];

    queries = tape_view(d->tape, queries);
    if (g->fused)
        return TAPE_PUT(d->tape, mixed + graph_unpacked_bytes(g, layer), 0, queries,
                        copied(d, layer, g->key_type == DGO_KV_F32, layer->keys),
                        copied(d, layer, g->value_type == DGO_KV_F32, layer->values), mask);
    const tape_ref values = turned_over(d, layer);
    tape_ref scores = TAPE_PUT(d->tape, draw_bytes(d, layer->heads * cells), 0, queries);

    scores = TAPE_PUT(d->tape, draw_bytes(d, layer->heads * cells), 1, scores, mask);
    return TAPE_PUT(d->tape, mixed, 0,
                    tape_view(d->tape, TAPE_PUT(d->tape, mixed, 0, values, scores)));
}

/* Whether queries and keys are views of one product still. */
static bool heads_cut(const struct graph_layer *layer)
{
    return layer->fused_product && !layer->heads_remade;
}

/* Keys and values go to their cache. */
static void keep(struct drawing *d, const struct graph_layer *layer, tape_ref keys, tape_ref values)
{
    const bool keys_first = d->graph->recipe & RECIPE_KEYS_FIRST, window = layer->window;
    const bool cut = layer->fused_product && !layer->values_normed;

    keys = turned(d, d->key_turn[window], layer->keys, heads_cut(layer), keys);
    values = turned(d, d->value_turn[window], layer->values, cut, values);
    tape_expand(d->tape, keys_first ? keys : values);
    tape_expand(d->tape, keys_first ? values : keys);
    TAPE_WRITE(d->tape, tape_view(d->tape, keys), d->key_rows[window]);
    if (cut && !d->graph->fused && !d->graph->turns_values && !is_turn(d, d->value_turn[window]))
        values = draw_product(d, layer->values, values); /* they are scattered one by one */
    TAPE_WRITE(d->tape, tape_view(d->tape, values), d->value_rows[window]);
}

tape_ref draw_attend(struct drawing *d, const struct graph_layer *layer, tape_ref queries,
                     tape_ref keys, tape_ref values)
{
    const bool window = layer->window;
    tape_ref result;

    queries = turned(d, d->key_turn[window], layer->queries, heads_cut(layer), queries);
    tape_expand(d->tape, queries);
    if (!layer->borrows)
        keep(d, layer, keys, values);
    result = against_cache(d, layer, queries);
    tape_expand(d->tape, result);
    if (is_turn(d, d->value_turn[window]))
        result = TAPE_PUT(d->tape, draw_bytes(d, layer->mixed), 0, d->value_turn[window],
                          tape_view(d->tape, result));
    /* Without flash attention it was put in order already. */
    return d->graph->fused ? tape_view(d->tape, result) : result;
}

/* Queries with a gate beside each. */
static tape_ref gated_attention(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    tape_ref both = draw_product(d, 2 * (uint64_t)layer->queries, normed);
    const tape_ref queries = draw_heads(d, layer->queries, both);
    const tape_ref keys = draw_heads(d, layer->keys, draw_product(d, layer->keys, normed));
    const tape_ref values = draw_product(d, layer->values, normed);
    const tape_ref result = draw_attend(d, layer, queries, keys, values);
    tape_ref gate = draw_product(d, layer->mixed, tape_view(d->tape, both));
    enum { EITHER = 3 };

    gate = TAPE_PUT(d->tape, draw_bytes(d, layer->mixed), EITHER, result, gate);
    return draw_product(d, d->graph->embedding, gate);
}

/* Results multiplied by a gate of their own: one value for each of theirs, or one for a head. */
static tape_ref gated(struct drawing *d, const struct graph_layer *layer, tape_ref normed,
                      tape_ref result)
{
    enum { GATE = 2 };
    const tape_ref gate = draw_product(d, layer->gate, normed);
    const bool wide = layer->gate == layer->mixed;

    return TAPE_PUT(d->tape, draw_bytes(d, layer->mixed), wide ? GATE : 0, result,
                    wide ? gate : tape_view(d->tape, gate));
}

tape_ref draw_attention(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    tape_ref queries, keys, values;

    if (layer->queries_gated)
        return gated_attention(d, layer, normed);
    if (layer->fused_product) {
        const uint64_t all = (uint64_t)layer->queries + layer->keys + layer->values;

        queries = keys = values = draw_product(d, all, normed);
    } else if (layer->borrows) {
        queries = draw_product(d, layer->queries, normed);
        keys = values = TAPE_OUTSIDE;
    } else {
        queries = draw_product(d, layer->queries, normed);
        keys = draw_product(d, layer->keys, normed);
        values = layer->values_are_keys ? keys : draw_product(d, layer->values, normed);
    }
    if (layer->heads_remade) {
        queries = draw_heads(d, layer->queries, queries);
        keys = layer->borrows ? keys : draw_heads(d, layer->keys, keys);
    } else if (d->graph->recipe & RECIPE_QUERIES_SCALED) {
        queries = TAPE_PUT(d->tape, draw_bytes(d, layer->queries), 0, tape_view(d->tape, queries),
                           d->query_scales);
    }
    if (layer->values_normed)
        values = TAPE_PUT(d->tape, draw_bytes(d, layer->values), 0, tape_view(d->tape, values));
    const tape_ref result = draw_attend(d, layer, queries, keys, values);

    return draw_product(d, d->graph->embedding,
                        layer->gate > 0 ? gated(d, layer, normed, result) : result);
}

/* --- latent attention ------------------------------------------------------------------------ */

static tape_ref rotated_part(struct drawing *d, const struct graph_layer *layer, uint64_t width,
                             tape_ref heads)
{
    return layer->heads_remade ? draw_heads(d, width, heads) : tape_view(d->tape, heads);
}

tape_ref draw_latent(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t heads = layer->heads, key = g->latent + g->rotated;
    tape_ref queries = normed, absorbed, rotated, keys, compressed, result;

    if (g->query_rank > 0)
        queries = draw_norm(d, g->query_rank, draw_product(d, g->query_rank, normed));
    queries = draw_product(d, heads * g->head_key, queries);
    absorbed = draw_product(d, heads * g->latent, tape_view(tape, queries));
    rotated = rotated_part(d, layer, heads * g->rotated, queries);
    queries = TAPE_PUT(tape, draw_bytes(d, heads * key), 0, tape_view(tape, absorbed), rotated);
    keys = draw_product(d, key, normed);
    compressed = tape_view(tape, draw_product(d, g->latent, tape_view(tape, keys))); /* its norm */
    rotated = rotated_part(d, layer, g->rotated, keys);
    keys = TAPE_PUT(tape, draw_bytes(d, key), 0, compressed, rotated);
    tape_expand(tape, queries);
    tape_expand(tape, compressed);
    tape_expand(tape, keys);
    TAPE_WRITE(tape, tape_view(tape, keys), d->key_rows[0]);
    queries = tape_view(tape, queries);
    if (g->fused) {
        const uint64_t cells =
            g->key_type == DGO_KV_F32 ? g->stream_count * g->cells * F16_BYTES : 0;
        const tape_ref copies[] = {
            cells ? TAPE_PUT(tape, cells * key, 0, TAPE_OUTSIDE) : TAPE_OUTSIDE,
            cells ? TAPE_PUT(tape, cells * g->latent, 0, TAPE_OUTSIDE) : TAPE_OUTSIDE,
        };

        result = TAPE_PUT(tape, draw_bytes(d, heads * g->latent) + graph_unpacked_bytes(g, layer),
                          0, queries, copies[0], copies[1], d->mask[0]);
    } else {
        const tape_ref values =
            TAPE_PUT(tape, g->stream_count * g->cells * g->latent * F16_BYTES, 0, TAPE_OUTSIDE);
        const tape_ref mask = d->mask[0];
        tape_ref scores = TAPE_PUT(tape, draw_bytes(d, heads * g->cells), 0, queries);

        scores = TAPE_PUT(tape, draw_bytes(d, heads * g->cells), 1, scores, mask);
        result = TAPE_PUT(tape, draw_bytes(d, heads * g->latent), 0, values, scores);
    }
    result = draw_product(d, heads * g->head_value, tape_view(tape, result));
    result = draw_product(d, heads * g->head_value, tape_view(tape, result)); /* in order */
    tape_expand(tape, result);
    return draw_product(d, g->embedding, tape_view(tape, result));
}

/* --- latent attention whose cache is not latent ----------------------------------------------- */

tape_ref draw_expanded(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t rotated = (uint64_t)layer->heads * g->rotated;
    tape_ref queries = normed, compressed, all, keys, values, result;

    if (g->query_rank > 0)
        queries = draw_norm(d, g->query_rank, draw_product(d, g->query_rank, normed));
    queries = draw_heads(d, layer->queries, draw_product(d, layer->queries, queries));
    compressed = draw_product(d, g->latent + g->rotated, normed);
    all = draw_product(d, g->latent, tape_view(tape, compressed)); /* its norm */
    all = draw_product(d, layer->keys - rotated + layer->values, all);
    values = draw_product(d, layer->values, tape_view(tape, all));
    keys = draw_product(d, rotated, draw_heads(d, g->rotated, compressed)); /* for each head */
    keys = TAPE_PUT(tape, draw_bytes(d, layer->keys), 0, tape_view(tape, all), keys);
    result = draw_attend(d, layer, queries, keys, values);
    return draw_product(d, g->embedding, result);
}
