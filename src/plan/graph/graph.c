/* graph.c - the whole of a graph: inputs, layers, output.  And the blocks that all layers share. */
#include "graph.h"

enum { ROW_INDEX_BYTES = 8, POSITION_BYTES = 4, F16_BYTES = 2 };
enum { EITHER = 3 }; /* of two operands: a sum is written over one of them */

/* --- blocks ---------------------------------------------------------------------------------- */

uint64_t draw_bytes(const struct drawing *d, uint64_t width)
{
    return width * d->row_count * sizeof(float);
}

tape_ref draw_product(struct drawing *d, uint64_t width, tape_ref input)
{
    return TAPE_PUT(d->tape, draw_bytes(d, width), 0, input);
}

tape_ref draw_norm(struct drawing *d, uint64_t width, tape_ref input)
{
    const uint8_t over = d->graph->recipe & RECIPE_LAYER_NORM ? 0 : 1;

    return TAPE_PUT(d->tape, draw_bytes(d, width), over, input);
}

tape_ref draw_heads(struct drawing *d, uint64_t width, tape_ref input)
{
    return TAPE_PUT(d->tape, draw_bytes(d, width), 0, tape_view(d->tape, input), d->positions);
}

tape_ref draw_sum(struct drawing *d, tape_ref a, tape_ref b)
{
    return TAPE_PUT(d->tape, draw_bytes(d, d->graph->embedding), EITHER, a, b);
}

tape_ref draw_written(struct drawing *d, tape_ref into, tape_ref values, tape_ref where)
{
    const tape_ref made = tape_view(d->tape, into);
    const tape_ref sources[] = {values, where, into};

    for (uint32_t s = 0; s < 3 && made != TAPE_OUTSIDE; s++)
        d->tape->tensor[made].source[s] = sources[s];
    if (made != TAPE_OUTSIDE)
        d->tape->tensor[made].source_count = 3;
    return made;
}

void draw_wanted_rows(struct drawing *d, tape_ref *out, tape_ref *residual)
{
    if (!d->picks_rows)
        return;
    d->row_count = d->graph->row_count;
    *out = TAPE_PUT(d->tape, draw_bytes(d, d->graph->embedding), 0, *out, d->rows_wanted);
    *residual = TAPE_PUT(d->tape, draw_bytes(d, d->graph->embedding), 0, *residual, d->rows_wanted);
}

/* --- inputs ---------------------------------------------------------------------------------- */

/* An input that is not used takes nothing. */
static void open_inputs(struct drawing *d)
{
    const struct memory_graph *g = d->graph;
    const uint64_t tokens = g->token_count;
    const uint64_t mask_value = g->fused ? F16_BYTES : sizeof(float);

    for (int window = 0; window < 2; window++) {
        const uint64_t cells = window ? g->window_cells : g->cells;

        d->key_rows[window] = tape_input(d->tape, tokens * ROW_INDEX_BYTES);
        d->value_rows[window] = tape_input(d->tape, tokens * ROW_INDEX_BYTES * g->scattered_values);
        d->mask[window] = tape_input(d->tape, mask_value * cells * tokens);
        d->key_turn[window] = tape_input(d->tape, g->key_turn_bytes[window]);
        d->value_turn[window] = tape_input(d->tape, g->value_turn_bytes[window]);
    }
    d->positions =
        tape_input(d->tape, tokens * POSITION_BYTES * (g->recipe & RECIPE_POSITIONS_4 ? 4 : 1));
    d->rows_wanted = tape_input(d->tape, g->row_count * POSITION_BYTES);
    d->query_scales = tape_input(d->tape, tokens * sizeof(float));
    d->states = tape_input(d->tape, g->slot_count * POSITION_BYTES);
    d->states_again = tape_input(d->tape, g->slot_count * POSITION_BYTES);
}

/* Embeddings for single layers: older builds multiply them at once. */
static tape_ref looked_up(struct drawing *d)
{
    const uint64_t bytes = graph_embedded_bytes(d->graph) * d->graph->layer_count;
    const tape_ref input = tape_input(d->tape, bytes);

    if (graph_mixes_embeddings(d->graph))
        return input;
    return TAPE_PUT(d->tape, bytes, 1, tape_view(d->tape, input));
}

/* The first device gets the embeddings, and beside them those of tokens that are given as
 * embeddings: a copy of them is made and never given back. */
static void open_stream(struct drawing *d, bool first)
{
    const uint64_t embedding = draw_bytes(d, d->graph->embedding);

    /* Where positions are looked up next, in host memory, all of it stays there. */
    if (first && !d->graph->positions_added && graph_mixes_embeddings(d->graph)) {
        const tape_ref given = tape_input(d->tape, embedding),
                       found = tape_input(d->tape, embedding);
        const tape_ref slots = tape_input(d->tape, d->graph->token_count * ROW_INDEX_BYTES);
        const tape_ref copy = TAPE_PUT(d->tape, embedding, 0, given);
        const tape_ref mixed = draw_written(d, copy, found, slots);

        tape_expand(d->tape, mixed);
    }
    d->stream = tape_input(d->tape, embedding);
    d->looked_up = d->embedded = TAPE_OUTSIDE; /* on later devices: one more input a layer */
    if (!first)
        return;
    if (d->graph->layer_embedding > 0)
        d->looked_up = looked_up(d);
    if (d->graph->recipe & RECIPE_SCALED_ROWS)
        d->stream = TAPE_PUT(d->tape, embedding, 1, d->stream,
                             tape_input(d->tape, d->graph->token_count * sizeof(float)));
    else if (d->graph->recipe & RECIPE_SCALED)
        d->stream = TAPE_PUT(d->tape, embedding, 1, d->stream);
    if (d->graph->recipe & RECIPE_SCALED) /* before a first layer's state is asked for */
        tape_expand(d->tape, d->stream);
    if (d->graph->positions_added)
        d->stream = TAPE_PUT(d->tape, embedding, EITHER, d->stream, tape_input(d->tape, embedding));
    if (d->graph->embeddings_normed)
        d->stream = draw_norm(d, d->graph->embedding, d->stream);
    d->embeddings = d->stream;
}

/* --- layers ---------------------------------------------------------------------------------- */

/* Attention and a state space beside each other, each with a norm of its own. */
static tape_ref draw_both(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const tape_ref attention = draw_attention(d, layer, normed);
    const tape_ref again = draw_norm(d, d->graph->embedding, d->stream);

    return draw_sum(d, attention, draw_state_space(d, again));
}

static tape_ref draw_mixer(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    switch ((enum graph_mixer)layer->mixer) {
    case GRAPH_LATENT:
        return draw_latent(d, layer, normed);
    case GRAPH_EXPANDED:
        return draw_expanded(d, layer, normed);
    case GRAPH_DELTA:
        return draw_delta(d, normed);
    case GRAPH_KIMI_DELTA:
        return draw_kimi_delta(d, normed);
    case GRAPH_STATE_SPACE:
        return draw_state_space(d, normed);
    case GRAPH_CONVOLUTION:
        return draw_convolution(d, normed);
    case GRAPH_STATE_AND_ATTENTION:
        return draw_both(d, layer, normed);
    case GRAPH_ATTENTION:
    case GRAPH_MIXING: /* as a whole only */
    case GRAPH_NO_MIXER:
        break;
    }
    return draw_attention(d, layer, normed);
}

static tape_ref draw_feed(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    if (layer->routed)
        return draw_experts(d, layer, normed);
    return draw_dense(d, layer, normed);
}

static tape_ref sum_up(struct drawing *d, bool own_first, tape_ref part, tape_ref residual)
{
    if (own_first)
        return draw_sum(d, residual, part);
    return draw_sum(d, part, residual);
}

/* Both parts are made of one norm, or of two of the same; the feed-forward's is put down first. */
static void draw_parallel(struct drawing *d, const struct graph_layer *layer, tape_ref normed)
{
    const uint64_t width = d->graph->embedding;
    tape_ref residual = d->stream;
    tape_ref mixed =
        draw_mixer(d, layer, layer->mixer_normed ? draw_norm(d, width, residual) : normed);

    if (d->picks_rows) {
        draw_wanted_rows(d, &mixed, &residual);
        normed = TAPE_PUT(d->tape, draw_bytes(d, width), 0, normed, d->rows_wanted);
    }
    if (layer->feed_normed_before)
        normed = draw_norm(d, width, residual);
    const tape_ref feed = draw_feed(d, layer, normed);

    switch ((enum graph_halves)d->graph->halves) {
    case HALVES_ATTENTION_FIRST:
        d->stream = draw_sum(d, draw_sum(d, mixed, feed), residual);
        break;
    case HALVES_JOINED:
        d->stream = draw_sum(d, draw_sum(d, feed, mixed), residual);
        break;
    case HALVES_APART:
        d->stream = draw_sum(d, feed, draw_sum(d, mixed, residual));
        break;
    default:
        d->stream = draw_sum(d, draw_sum(d, feed, residual), mixed);
        break;
    }
}

/* Attention and a dense feed-forward; beside both the experts, of what came into the layer. */
static void draw_aside(struct drawing *d, const struct graph_layer *layer, tape_ref part)
{
    const uint64_t width = d->graph->embedding;
    tape_ref residual = d->stream;

    part = draw_mixer(d, layer, part);
    draw_wanted_rows(d, &part, &residual);
    const tape_ref own = draw_sum(d, part, residual);
    const tape_ref dense = draw_sum(d, draw_dense(d, layer, draw_norm(d, width, own)), own);

    d->stream = draw_sum(d, draw_experts(d, layer, draw_norm(d, width, residual)), dense);
}

static void draw_layer(struct drawing *d, const struct graph_layer *layer)
{
    const uint64_t width = d->graph->embedding;
    const uint32_t recipe = d->graph->recipe;
    tape_ref residual = d->stream, part;

    part = layer->normed_before ? draw_norm(d, width, residual) : residual;
    if (d->graph->halves != HALVES_IN_TURN) {
        draw_parallel(d, layer, part);
        return;
    }
    if (layer->experts_aside) {
        draw_aside(d, layer, part);
        return;
    }
    if (layer->mixer == GRAPH_NO_MIXER || (!layer->dense && !layer->routed)) {
        part = layer->mixer ? draw_mixer(d, layer, part) : draw_feed(d, layer, part);
        draw_wanted_rows(d, &part, &residual);
        d->stream = sum_up(d, recipe & RECIPE_OWN_FIRST, part, residual);
        return;
    }
    part = draw_mixer(d, layer, part);
    draw_wanted_rows(d, &part, &residual);
    residual = sum_up(d, recipe & (RECIPE_OWN_FIRST | RECIPE_MIXER_OWN_FIRST), part, residual);
    if (layer->twin) {
        d->stream = sum_up(d, false, draw_twins(d, layer, residual), residual);
        return;
    }
    part = layer->feed_normed_before ? draw_norm(d, width, residual) : residual;
    d->stream = sum_up(d, recipe & (RECIPE_OWN_FIRST | RECIPE_FEED_OWN_FIRST),
                       draw_feed(d, layer, part), residual);
    if (layer->embedded)
        d->stream = draw_sum(d, d->stream, draw_embedded(d, d->stream));
}

/* --- the whole ------------------------------------------------------------------------------- */

/* Whether such a layer may lie on a device in that role. */
static bool has_kind(const struct graph_layer *layer, const struct memory_role *role)
{
    if (layer->mixer < GRAPH_ATTENTION || layer->mixer > GRAPH_LATENT)
        return true;
    return !(layer->window ? role->no_window_layer : role->no_full_layer);
}

enum { FEW = 3 };

/* Few layers are sized as if they were more: the search for a placement does not know how many a
 * device holds (decision 89).  Where layers borrow caches, which ones a device holds counts
 * anyway: the search takes the most there can be. */
static bool is_few(const struct memory_graph *graph, const struct memory_role *role)
{
    if (role->layer_count == 0)
        return true;
    return role->layer_count <= FEW && !role->drawn_if_few && !(graph->recipe & RECIPE_BORROWS);
}

/* Which layers lie on a device; where that is not known, all that could. */
static void find_run(const struct memory_graph *graph, const struct memory_role *role,
                     uint32_t *first, uint32_t *end)
{
    const bool behind_leading = role->layer_count > 0 && role->layer_first >= graph->leading_count;

    *first = behind_leading ? graph->leading_count : 0;
    *end = graph->layer_count;
    if (role->first_layer_only) {
        *end = 1;
    } else if (role->last_layer_only) {
        *first = graph->layer_count - 1;
    } else if (!is_few(graph, role)) {
        *first = role->layer_first;
        *end = role->layer_first + role->layer_count;
    }
}

/* What the allocator does in a layer follows from those just before it: three in a row that came
 * twice before add nothing.  Gives the layers that are left. */
enum { KEPT_MAX = 48, BEFORE = 2 };

/* The last layer up to `l` that follows layers like the last ones kept: there a gap may end. */
static uint32_t resume_at(const uint8_t *kind, uint32_t last_kept, uint32_t l)
{
    for (uint32_t r = l; r > last_kept + BEFORE; r--)
        if (kind[r - 1] == kind[last_kept] && kind[r - 2] == kind[last_kept - 1])
            return r;
    return l;
}

/* As many layers as there is room for on a tape. */
static uint32_t kept_most(const struct memory_graph *graph)
{
    enum { TENSORS = 88, FOR_EACH_EXPERT = 2, INPUTS = 32 }; /* of a layer */
    const uint32_t most =
        (TAPE_TENSORS_MAX - INPUTS) / (TENSORS + FOR_EACH_EXPERT * graph->expert_used_count);

    return most < KEPT_MAX ? most : KEPT_MAX;
}

static uint32_t choose_layers(const struct memory_graph *graph, uint32_t first, uint32_t end,
                              uint32_t kept[KEPT_MAX])
{
    const uint8_t *kind = graph->layer;
    const uint32_t most = kept_most(graph);

    enum { TWICE = 2, K = GRAPH_KINDS_MAX };
    uint8_t seen[K * K * K] = {0};
    uint32_t count = 0;

    for (uint32_t l = first; l < end && count < most; l++) {
        bool is_new = true;

        if (l >= first + BEFORE) {
            uint8_t *times = &seen[(kind[l - 2] * K + kind[l - 1]) * K + kind[l]];

            is_new = *times < TWICE || l + 1 == end;
            *times = (uint8_t)(*times + (*times < TWICE));
        }
        if (!is_new)
            continue;
        uint32_t r = l;

        if (count >= BEFORE && kept[count - 1] + 1 < l)
            r = resume_at(kind, kept[count - 1], l);
        for (; r <= l && count < most; r++)
            kept[count++] = r;
    }
    if (count > 0)
        kept[count - 1] = end - 1; /* rows are picked there */
    return count;
}

/* Older builds: the last layer's result is kept, for guesses may be made of it. */
static void pick_late(struct drawing *d)
{
    d->last_kept = d->stream;
    d->row_count = d->graph->row_count;
    d->stream =
        TAPE_PUT(d->tape, draw_bytes(d, d->graph->embedding), 0, d->last_kept, d->rows_wanted);
}

static void draw_run(struct drawing *d, const struct memory_role *role, uint32_t first,
                     uint32_t end)
{
    const struct memory_graph *g = d->graph;
    const bool ends = role->holds_output || role->last_layer_only || !is_few(g, role);
    uint32_t kept[KEPT_MAX];
    const uint32_t count = choose_layers(g, first, end, kept);

    for (uint32_t i = 0; i < count; i++) {
        const struct graph_layer *layer = &g->kind[g->layer[kept[i]]];
        const bool last = ends && kept[i] + 1 == g->layer_count;

        if (g->streams) { /* rows are picked behind the last one */
            draw_streams_layer(d, layer);
            continue;
        }
        d->picks_rows = last && !g->states_out && !graph_picks_late(g);
        if (last || has_kind(layer, role))
            draw_layer(d, layer);
        if (last && !g->states_out && graph_picks_late(g) && !g->late_normed)
            pick_late(d);
    }
}

/* Where hidden states are handed out, those of all tokens are normed and kept to the end; the
 * wanted rows are picked of them. */
static void draw_output(struct drawing *d)
{
    const struct memory_graph *g = d->graph;
    const tape_ref normed = draw_norm(d, g->embedding, d->stream);
    const bool all = g->states_out || (graph_picks_late(g) && g->late_normed);
    tape_ref wanted = normed;

    if (all) {
        d->row_count = g->row_count;
        wanted = TAPE_PUT(d->tape, draw_bytes(d, g->embedding), 0, normed, d->rows_wanted);
    }
    if (g->rows_scaled)
        wanted = draw_product(d, g->embedding, wanted);
    d->stream = draw_product(d, g->vocabulary, wanted);
    tape_expand(d->tape, d->stream);
    if (all || g->rows_scaled)
        TAPE_WRITE(d->tape, normed);
}

void graph_draw(const struct memory_graph *graph, const struct memory_role *role, struct tape *tape)
{
    struct drawing d = {
        .graph = graph, .tape = tape, .row_count = graph->token_count, .last_kept = TAPE_OUTSIDE};
    uint32_t first, end;

    tape_init(tape, role->pipeline);
    open_inputs(&d);
    if (graph->streams)
        draw_open_streams(&d, role);
    else
        open_stream(&d, role->position == 0);
    find_run(graph, role, &first, &end);
    draw_run(&d, role, first, end);
    if (graph->streams)
        draw_close_streams(&d, role);
    if (role->holds_output)
        draw_output(&d);
    tape_expand(tape, d.stream);
    if (d.last_kept != TAPE_OUTSIDE)
        TAPE_WRITE(tape, d.last_kept);
}
