/* graph_states.c - mixers that keep a state for each slot: gated delta nets, state spaces, short
 * convolutions. */
#include "graph.h"

enum { EITHER = 3 };

static tape_ref load_state(struct drawing *d, uint64_t slot_bytes)
{
    const tape_ref state = TAPE_PUT(d->tape, slot_bytes * d->graph->slot_count, 0, d->states);

    tape_expand(d->tape, state);
    TAPE_WRITE(d->tape, tape_view(d->tape, state));
    return state;
}

/* What a convolution runs over: its state, and the new values behind it. */
static tape_ref behind_state(struct drawing *d, tape_ref shift, uint64_t shift_bytes,
                             uint64_t width, tape_ref values)
{
    const tape_ref input =
        TAPE_PUT(d->tape, draw_bytes(d, width) + shift_bytes * d->graph->slot_count, 0,
                 tape_view(d->tape, shift), tape_view(d->tape, values));

    TAPE_WRITE(d->tape, tape_view(d->tape, input));
    return input;
}

/* --- gated delta nets ------------------------------------------------------------------------ */

static tape_ref delta_net(struct drawing *d, tape_ref normed, tape_ref mixed, tape_ref state)
{
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t keys = (uint64_t)g->state_groups * g->state_size, heads = g->state_heads;
    const tape_ref v = tape_view(tape, mixed);
    tape_ref q = draw_product(d, keys, tape_view(tape, mixed));
    tape_ref k = draw_product(d, keys, tape_view(tape, mixed));
    tape_ref decay, beta;

    if (g->recipe & RECIPE_POSITIONS_4) { /* qwen3.5: two products; qwen3next: one */
        decay = draw_product(d, heads, tape_view(tape, draw_product(d, heads, normed)));
        beta = draw_product(d, heads, tape_view(tape, draw_product(d, heads, normed)));
    } else {
        const tape_ref both = draw_product(d, 2 * heads, normed);

        decay = draw_product(d, heads, tape_view(tape, both));
        beta = draw_product(d, heads, tape_view(tape, both));
    }
    if (g->recipe & RECIPE_KEYS_REPEATED && heads != g->state_groups) {
        q = draw_product(d, heads * g->state_size, tape_view(tape, q));
        k = draw_product(d, heads * g->state_size, tape_view(tape, k));
    }
    return TAPE_PUT(tape,
                    draw_bytes(d, g->state_inner) + g->slot_count * g->state_count * g->state_bytes,
                    0, q, k, v, decay, beta, tape_view(tape, state));
}

tape_ref draw_delta(struct drawing *d, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t mixed = g->state_inner + 2 * (uint64_t)g->state_groups * g->state_size;
    tape_ref shift, input, state, result, gate;

    tape_expand(tape, normed);
    shift = load_state(d, g->shift_bytes);
    input = behind_state(d, shift, g->shift_bytes, mixed, draw_product(d, mixed, normed));
    state = load_state(d, g->state_bytes);
    result = delta_net(d, normed, draw_product(d, mixed, input), state);
    TAPE_WRITE(tape, tape_view(tape, result));
    result = draw_product(d, g->state_inner, tape_view(tape, result)); /* its norm */
    gate = draw_product(d, g->state_inner, normed);
    gate = draw_product(d, g->state_inner, tape_view(tape, gate));
    result = TAPE_PUT(tape, draw_bytes(d, g->state_inner), EITHER, result, gate);
    return tape_view(tape, draw_product(d, g->embedding, tape_view(tape, result)));
}

/* --- Kimi's delta attention ------------------------------------------------------------------ */

/* Queries, keys and values have a convolution each, over thirds of the state. */
tape_ref draw_kimi_delta(struct drawing *d, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t width = g->state_inner, heads = width / g->state_size;
    tape_ref part[3], state, decay, beta, result, gate;
    const tape_ref shift = load_state(d, g->shift_bytes);

    for (int i = 0; i < 3; i++)
        part[i] = behind_state(d, shift, g->shift_bytes / 3, width, draw_product(d, width, normed));
    state = load_state(d, g->state_bytes);
    for (int i = 0; i < 3; i++) {
        part[i] = draw_product(d, width, tape_view(tape, draw_product(d, width, part[i])));
        part[i] =
            i < 2 ? draw_product(d, width, tape_view(tape, part[i])) : tape_view(tape, part[i]);
    }
    decay = draw_product(d, width, draw_product(d, g->state_size, normed));
    decay = tape_view(tape, draw_product(d, width, tape_view(tape, decay)));
    beta = draw_product(d, heads, tape_view(tape, draw_product(d, heads, normed)));
    result = TAPE_PUT(tape, draw_bytes(d, width) + g->slot_count * g->state_count * g->state_bytes,
                      0, part[0], part[1], part[2], decay, beta, tape_view(tape, state));
    TAPE_WRITE(tape, tape_view(tape, result));
    result = draw_product(d, width, tape_view(tape, result));
    result = draw_product(d, width, tape_view(tape, result)); /* its norm */
    gate = draw_product(d, g->state_size, tape_view(tape, normed));
    gate = draw_product(d, width, gate);
    gate = draw_product(d, width, tape_view(tape, gate));
    result = TAPE_PUT(tape, draw_bytes(d, width), EITHER, result, gate);
    return draw_product(d, g->embedding, draw_product(d, width, result));
}

/* --- state spaces (Mamba 2) ------------------------------------------------------------------ */

/* The states of all slots but one are read once more, to be kept where they are. */
static void keep_others(struct drawing *d)
{
    const struct memory_graph *g = d->graph;
    const uint64_t count = g->rule->others_read && g->slot_count > 1 ? g->slot_count - 1 : 0;
    const tape_ref others = TAPE_PUT(d->tape, count * g->state_bytes, 0, d->states_again);

    TAPE_WRITE(d->tape, tape_view(d->tape, others));
}

/* Mamba 1: one product of the values for steps of low rank and both parts. */
static tape_ref draw_selective(struct drawing *d, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t inner = g->state_inner, rank = g->state_heads, size = g->state_size;
    const tape_ref shift = load_state(d, g->shift_bytes);
    const tape_ref all = draw_product(d, 2 * inner, normed);
    const tape_ref values =
        draw_product(d, inner, behind_state(d, shift, g->shift_bytes, inner, all));
    const tape_ref both = draw_product(d, rank + 2 * size, values);
    const uint64_t widths[] = {rank, size, size};
    tape_ref part[3], scan, gate, own;

    for (int i = 0; i < 3; i++) {
        part[i] = tape_view(tape, both);
        if (g->parts_normed || i == 0)
            part[i] = draw_product(d, widths[i], part[i]);
    }
    scan = TAPE_PUT(tape, draw_bytes(d, inner) + g->slot_count * g->state_count * g->state_bytes, 0,
                    tape_view(tape, values), draw_product(d, inner, part[0]), part[1], part[2],
                    d->states_again);
    tape_expand(tape, scan);
    keep_others(d);
    TAPE_WRITE(tape, tape_view(tape, scan));
    gate = draw_product(d, inner, tape_view(tape, all));
    own = TAPE_PUT(tape, draw_bytes(d, inner), 1, values);
    own = TAPE_PUT(tape, draw_bytes(d, inner), EITHER, tape_view(tape, scan), own);
    own = TAPE_PUT(tape, draw_bytes(d, inner), 0, gate, own);
    return draw_product(d, g->embedding, own);
}

/* Mamba 2: one product for all of it. */
static tape_ref draw_wide(struct drawing *d, tape_ref normed)
{
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t inner = g->state_inner, heads = g->state_heads;
    const uint64_t mixed = inner + 2 * (uint64_t)g->state_groups * g->state_size;
    const tape_ref shift = load_state(d, g->shift_bytes);
    const tape_ref all = draw_product(d, inner + mixed + heads, normed);
    tape_ref values, steps, scan, gate, own;

    values = draw_product(d, mixed, behind_state(d, shift, g->shift_bytes, mixed, all));
    steps = draw_product(d, heads, tape_view(tape, all));
    scan = TAPE_PUT(tape, draw_bytes(d, inner) + g->slot_count * g->state_count * g->state_bytes, 0,
                    tape_view(tape, values), steps, tape_view(tape, values),
                    tape_view(tape, values), d->states_again);
    tape_expand(tape, scan);
    keep_others(d);
    TAPE_WRITE(tape, tape_view(tape, scan));
    gate = draw_product(d, inner, tape_view(tape, all));
    own = draw_product(d, inner, tape_view(tape, values));
    own = TAPE_PUT(tape, draw_bytes(d, inner), EITHER, tape_view(tape, scan), own);
    own = TAPE_PUT(tape, draw_bytes(d, inner), 0, gate, own);
    own = draw_product(d, inner, tape_view(tape, own)); /* its norm, over groups */
    return draw_product(d, g->embedding, tape_view(tape, own));
}

tape_ref draw_state_space(struct drawing *d, tape_ref normed)
{
    return d->graph->selective ? draw_selective(d, normed) : draw_wide(d, normed);
}

/* --- short convolutions ---------------------------------------------------------------------- */

tape_ref draw_convolution(struct drawing *d, tape_ref normed)
{
    enum { CONVOLVED = 2 };
    const struct memory_graph *g = d->graph;
    struct tape *tape = d->tape;
    const uint64_t width = g->embedding;
    const tape_ref shift = load_state(d, g->shift_bytes);
    const tape_ref all = draw_product(d, 3 * width, tape_view(tape, normed));
    tape_ref values =
        TAPE_PUT(tape, draw_bytes(d, width), 0, tape_view(tape, all), tape_view(tape, all));

    values = draw_product(d, width, behind_state(d, shift, g->shift_bytes, width, values));
    values = TAPE_PUT(tape, draw_bytes(d, width), CONVOLVED, tape_view(tape, all), values);
    return tape_view(tape, draw_product(d, width, values));
}
