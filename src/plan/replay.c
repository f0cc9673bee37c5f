/* replay.c - the compute buffer of a device by running the engine's allocator over its graph. */
#include "graph.h"

/* The nodes behind a state space have no weights.  They go to the device of the node before them,
 * which may be the next one: the products that they are made of go there, and their result comes
 * back, as inputs.  Whether it happens depends on the layers at the cut; this counts it always. */
static uint64_t crossing_bytes(const struct memory_graph *g)
{
    const uint64_t mixed = g->state_inner + 2 * (uint64_t)g->state_groups * g->state_size;
    const uint64_t row = (g->state_inner + mixed + g->state_heads) * sizeof(float);

    return MEMORY_COPIES * g->token_count * row;
}

bool memory_replay_bytes(const struct memory_graph *graph, const struct memory_role *role,
                         uint64_t *bytes)
{
    struct tape tape;

    graph_draw(graph, role, &tape);
    if (tape.overflown)
        return false;
    *bytes = tape_peak(&tape);
    if (graph->has_state_space && role->pipeline)
        *bytes += crossing_bytes(graph);
    return true;
}
