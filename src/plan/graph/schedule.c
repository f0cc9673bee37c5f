/* schedule.c - where each node of a graph is computed, and what that reserves on each backend.
 *
 * As ggml_backend_sched does it: FORMULAS "Parts in host memory" has the rules. */
#include "net.h"

#include <stdlib.h>

enum { HOST_ALIGN = 32 };

/* One step of the allocator: a node, the copy of a split's input, or the word that the input is
 * needed until then. */
struct step {
    int32_t tensor;
    bool only_uses;
};

struct schedule {
    struct net *graph;
    int32_t *copy; /* of a tensor on a backend: [tensor * backends + backend] */
    struct step *step;
    uint32_t step_count, first_count; /* first_count: tensors of the graph before any copy */
    uint32_t backend_count, copies;
    bool op_offload;
    struct heap heap[NET_BACKENDS_MAX];
};

static int32_t root_of(const struct net *graph, int32_t t)
{
    return graph->tensor[t].root == NET_NONE ? t : graph->tensor[t].root;
}

/* A view is where its memory is. */
static int32_t backend_of(const struct net *graph, int32_t t)
{
    return graph->tensor[root_of(graph, t)].backend;
}

/* --- places ---------------------------------------------------------------------------------- */

/* What is written lies somewhere; else the first weight among the operands decides, and a large
 * batch goes to the first device with a weight of host memory. */
static int8_t drawn_to(const struct schedule *s, const struct net_tensor *node)
{
    const struct net *graph = s->graph;
    const int8_t cpu = (int8_t)graph->device_count;

    if (node->root != NET_NONE && graph->tensor[node->root].home != NET_NONE)
        return graph->tensor[node->root].home;
    for (int i = 0; i < NET_SOURCES_MAX && node->source[i] != NET_NONE && !node->light; i++) {
        const struct net_tensor *source = &graph->tensor[node->source[i]];

        if (!source->weight)
            continue;
        return source->home == cpu && !source->stays && s->op_offload && node->many_rows
                   ? 0
                   : source->home;
    }
    return NET_NONE;
}

/* The same backend for the nodes behind (or before) one that has it.  `devices`: the CPU is not
 * handed on. */
static void spread(struct net *graph, bool down, bool devices)
{
    const int8_t cpu = (int8_t)graph->device_count;
    int8_t at = NET_NONE;

    for (uint32_t i = 0; i < graph->node_count; i++) {
        struct net_tensor *node = &graph->tensor[graph->node[down ? i : graph->node_count - 1 - i]];

        if (node->cpu_only)
            continue;
        if (node->backend == NET_NONE)
            node->backend = at;
        else
            at = devices && node->backend == cpu ? NET_NONE : node->backend;
    }
}

static void place_leaves(struct net *graph)
{
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const struct net_tensor *node = &graph->tensor[graph->node[i]];

        for (int k = 0; k < NET_SOURCES_MAX && node->source[k] != NET_NONE; k++)
            if (graph->tensor[node->source[k]].leaf)
                graph->tensor[node->source[k]].backend = node->backend;
    }
}

static void assign_backends(struct schedule *s)
{
    struct net *graph = s->graph;

    for (uint32_t i = 0; i < graph->node_count; i++) {
        struct net_tensor *node = &graph->tensor[graph->node[i]];

        if (node->cpu_only)
            node->backend = (int8_t)graph->device_count;
        else if (node->backend == NET_NONE)
            node->backend = drawn_to(s, node);
    }
    spread(graph, true, true);
    spread(graph, false, true);
    spread(graph, true, false);
    spread(graph, false, false);
    place_leaves(graph);
}

/* --- splits ---------------------------------------------------------------------------------- */

static int32_t *copy_on(struct schedule *s, int32_t t, int32_t backend)
{
    return &s->copy[(uint32_t)t * s->backend_count + (uint32_t)backend];
}

/* A weight that lies elsewhere begins a new split: what came for the one before is given back. */
static bool begins_split(const struct schedule *s, const struct net_tensor *node)
{
    for (int i = 0; i < NET_SOURCES_MAX && node->source[i] != NET_NONE; i++) {
        const struct net_tensor *source = &s->graph->tensor[node->source[i]];

        if ((uint32_t)node->source[i] < s->first_count && source->weight &&
            source->home != node->backend)
            return true;
    }
    return false;
}

static int32_t add_copy(struct schedule *s, int32_t t, int8_t backend)
{
    struct net *graph = s->graph;
    const struct net_tensor *from = &graph->tensor[t];
    const int32_t made =
        net_stored(graph, from->bytes, from->bytes + from->row_padding_bytes, NET_NONE, false);

    if (graph->failed)
        return NET_NONE;
    graph->tensor[made].backend = backend;
    graph->tensor[made].kept = s->copies > 1;
    return made;
}

/* Operands of other backends come as copies, the first time that a backend needs them. */
static void bring_operands(struct schedule *s, int32_t n, struct step inputs[], uint32_t *count)
{
    struct net *graph = s->graph;

    for (int i = 0; i < NET_SOURCES_MAX; i++) {
        const int32_t t = graph->tensor[n].source[i];
        const int8_t at = graph->tensor[n].backend;
        int32_t *copy;

        if (t == NET_NONE)
            return;
        if (backend_of(graph, t) == at)
            continue;
        copy = copy_on(s, t, at);
        if (*copy == NET_NONE) {
            *copy = add_copy(s, t, at);
            if (graph->failed)
                return;
            inputs[(*count)++] = (struct step){.tensor = t, .only_uses = true};
            inputs[(*count)++] = (struct step){.tensor = *copy};
        }
        graph->tensor[n].source[i] = *copy;
    }
}

/* Nodes of one backend in a row are a split; its inputs come first. */
static void cut_into_splits(struct schedule *s)
{
    struct net *graph = s->graph;
    uint32_t first = 0;

    while (first < graph->node_count && !graph->failed) {
        const int8_t at = graph->tensor[graph->node[first]].backend;
        struct step *inputs = &s->step[s->step_count];
        uint32_t count = 0, i = first;

        for (; i < graph->node_count && graph->tensor[graph->node[i]].backend == at; i++) {
            if (count > 0 && begins_split(s, &graph->tensor[graph->node[i]]))
                break;
            bring_operands(s, graph->node[i], inputs, &count);
            if (graph->failed)
                return;
        }
        s->step_count += count;
        for (; first < i; first++)
            s->step[s->step_count++] = (struct step){.tensor = graph->node[first]};
    }
}

/* --- the allocator --------------------------------------------------------------------------- */

static uint64_t reserved_bytes(const struct schedule *s, const struct net_tensor *tensor)
{
    if ((uint32_t)tensor->backend == s->graph->device_count)
        return dgo_pad_u64(tensor->bytes, HOST_ALIGN);
    return dgo_pad_u64(tensor->bytes + tensor->row_padding_bytes + tensor->room_bytes,
                       MEMORY_DEVICE_ALIGN);
}

static void take(struct schedule *s, struct net_tensor *tensor)
{
    if (!tensor->block.taken)
        tensor->block = heap_take(&s->heap[tensor->backend], reserved_bytes(s, tensor));
}

/* A node may be written over an operand that nobody else uses and that lies as it will: not over a
 * view, nor over the copy of one that came with what lies between its rows. */
static bool take_over(struct net *graph, struct net_tensor *node)
{
    for (int i = 0; i < NET_SOURCES_MAX && node->source[i] != NET_NONE; i++) {
        struct net_tensor *source = &graph->tensor[node->source[i]];

        if (!(node->reusable >> i & 1) || source->root != NET_NONE || source->kept ||
            !source->block.taken || source->children != 1 || source->bytes != node->bytes)
            continue;
        node->block = source->block;
        node->backend = source->backend;
        source->block = (struct block){0};
        return true;
    }
    return false;
}

static void use(struct schedule *s, int32_t t)
{
    struct net_tensor *tensor = &s->graph->tensor[root_of(s->graph, t)];

    if (--tensor->children == 0 && !tensor->kept)
        heap_give(&s->heap[tensor->backend], &tensor->block);
}

static void count_uses(struct schedule *s)
{
    struct net *graph = s->graph;

    for (uint32_t i = 0; i < s->step_count; i++) {
        const struct net_tensor *tensor = &graph->tensor[s->step[i].tensor];

        if (s->step[i].only_uses)
            graph->tensor[root_of(graph, s->step[i].tensor)].children++;
        for (int k = 0; k < NET_SOURCES_MAX && !s->step[i].only_uses; k++)
            if (tensor->source[k] != NET_NONE)
                graph->tensor[root_of(graph, tensor->source[k])].children++;
    }
}

static void run_step(struct schedule *s, const struct step *step)
{
    struct net_tensor *tensor = &s->graph->tensor[step->tensor];

    if (step->only_uses) {
        use(s, step->tensor);
        return;
    }
    if (tensor->root == NET_NONE && tensor->home == NET_NONE && !take_over(s->graph, tensor))
        take(s, tensor);
    for (int k = 0; k < NET_SOURCES_MAX && tensor->source[k] != NET_NONE; k++)
        use(s, tensor->source[k]);
}

/* Inputs lie in host memory before anything is computed; with a pipeline several times, as do the
 * copies that cross. */
static void take_first(struct schedule *s)
{
    struct net *graph = s->graph;

    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        struct net_tensor *tensor = &graph->tensor[t];

        if (!tensor->input && (t < s->first_count || s->copies == 1))
            continue;
        take(s, tensor);
        for (uint32_t c = 1; c < s->copies && !tensor->unused; c++)
            heap_take(&s->heap[tensor->backend], reserved_bytes(s, tensor));
        tensor->kept = tensor->kept || s->copies > 1;
    }
    for (uint32_t t = 0; t < s->first_count; t++)
        if (graph->tensor[t].leaf)
            take(s, &graph->tensor[t]);
}

static void run(struct schedule *s)
{
    take_first(s);
    count_uses(s);
    for (uint32_t i = 0; i < s->step_count; i++)
        run_step(s, &s->step[i]);
}

bool net_schedule(struct net *graph, bool op_offload, uint32_t copies,
                  uint64_t peak_bytes[NET_BACKENDS_MAX])
{
    struct schedule *s = calloc(1, sizeof *s);
    const size_t cells = (size_t)graph->tensor_count * (graph->device_count + 1);
    bool made = false;

    if (!s || graph->failed)
        goto out;
    s->graph = graph;
    s->backend_count = graph->device_count + 1;
    s->first_count = graph->tensor_count;
    s->copies = copies;
    s->op_offload = op_offload && graph->device_count > 0;
    s->copy = malloc(cells * sizeof *s->copy);
    /* Each operand of each node comes at most once. */
    s->step = malloc((size_t)graph->node_count * (2 * NET_SOURCES_MAX + 1) * sizeof *s->step);
    if (!s->copy || !s->step)
        goto out;
    for (size_t i = 0; i < cells; i++)
        s->copy[i] = NET_NONE;
    assign_backends(s);
    cut_into_splits(s);
    if (graph->failed)
        goto out;
    run(s);
    for (uint32_t b = 0; b < s->backend_count; b++)
        peak_bytes[b] = s->heap[b].peak;
    made = true;
out:
    if (s) {
        free(s->copy);
        free(s->step);
    }
    free(s);
    return made;
}
