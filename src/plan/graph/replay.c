/* replay.c - the compute buffer of a device by running the engine's allocator over its graph. */
#include "graph.h"

#include "dgo_units.h"

/* The nodes behind a state space have no weights.  They go to the device of the node before them,
 * which may be the next one: the products that they are made of go there, and their result comes
 * back, as inputs, with all slots' states at worst.  Whether it happens depends on the layers at
 * the cut; this counts it always. */
static uint64_t crossing_bytes(const struct memory_graph *g)
{
    const uint64_t mixed = g->state_inner + 2 * (uint64_t)g->state_groups * g->state_size;
    const uint64_t row = (2 * (uint64_t)g->state_inner + mixed + g->state_heads) * sizeof(float);
    const uint64_t states = g->slot_count * g->state_count * g->state_bytes;

    return MEMORY_COPIES * (g->token_count * row + states);
}

/* A device behind the first gets its layers' embeddings one by one, and of each layer that borrows
 * a cache from a device before it a copy of that. */
static uint64_t brought_bytes(const struct memory_graph *g, const struct memory_role *role)
{
    const bool known = role->layer_count > 0;
    const uint32_t first = known ? role->layer_first : 0;
    const uint32_t end = known ? first + role->layer_count : g->layer_count;
    const uint64_t embedded = dgo_pad_u64(graph_embedded_bytes(g), MEMORY_DEVICE_ALIGN);
    uint64_t bytes = 0;

    for (uint32_t l = first; l < end && role->pipeline && role->position > 0; l++) {
        const struct graph_layer *kind = &g->kind[g->layer[l]];

        bytes += embedded;
        if (!known || g->lender[kind->window] < first)
            bytes += kind->borrowed_bytes;
    }
    return MEMORY_COPIES * bytes;
}

/* The next layer's state is read before the result of a single expert is put in order, which is
 * made on the next device then, as is its sum with the residual. */
static uint64_t single_expert_bytes(const struct memory_graph *g, const struct memory_role *role)
{
    bool convolves = false;

    for (uint32_t k = 0; k < g->kind_count; k++)
        convolves = convolves || g->kind[k].mixer == GRAPH_CONVOLUTION;
    return convolves && g->expert_used_count == 1 && role->pipeline && role->position > 0
               ? (MEMORY_COPIES + 1) * g->embedding * g->token_count * sizeof(float)
               : 0;
}

bool memory_replay_bytes(const struct memory_graph *graph, const struct memory_role *role,
                         uint64_t *bytes)
{
    struct tape tape;

    graph_draw(graph, role, &tape);
    if (tape.overflown)
        return false;
    *bytes = tape_peak(&tape) + brought_bytes(graph, role) + single_expert_bytes(graph, role);
    if (role->pipeline && role->position > 0)
        *bytes += MEMORY_COPIES * (graph->rule->other_inputs - 1U) * graph->embedding *
                  graph->token_count * sizeof(float);
    /* The search does not know which layers: fewer may be in the way of each other. */
    if (graph->recipe & RECIPE_BORROWS && role->pipeline && role->layer_count == 0)
        *bytes += graph->embedding * graph->token_count * sizeof(float);
    if (graph->has_state_space && role->pipeline)
        *bytes += crossing_bytes(graph);
    if (graph->states_unsure)
        *bytes += 2 * (uint64_t)graph->embedding * graph->token_count * sizeof(float);
    return true;
}
