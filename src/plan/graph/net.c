/* net.c - the tensors of a graph, one behind the other. */
#include "net.h"

#include "dgo_plan.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 512 };

void net_init(struct net *graph, uint32_t device_count)
{
    memset(graph, 0, sizeof *graph);
    graph->device_count = device_count;
}

void net_done(struct net *graph)
{
    free(graph->tensor);
    free(graph->node);
    memset(graph, 0, sizeof *graph);
}

static bool grow(void **rows, uint32_t *room, uint32_t count, size_t size)
{
    const uint32_t wanted = *room ? 2 * *room : ROOM_FIRST;
    void *grown;

    if (count < *room)
        return true;
    grown = realloc(*rows, wanted * size);
    if (!grown)
        return false;
    *rows = grown;
    *room = wanted;
    return true;
}

/* The first tensor of a graph that ran out of room takes what follows: nobody reads it. */
static int32_t push(struct net *graph, struct net_tensor tensor)
{
    void *rows = graph->tensor;

    if (graph->failed || graph->tensor_count == NET_TENSORS_MAX ||
        !grow(&rows, &graph->tensor_room, graph->tensor_count, sizeof tensor)) {
        graph->failed = true;
        return 0;
    }
    graph->tensor = rows;
    graph->tensor[graph->tensor_count] = tensor;
    return (int32_t)graph->tensor_count++;
}

static struct net_tensor blank(uint64_t bytes)
{
    struct net_tensor tensor = {
        .bytes = bytes, .root = NET_NONE, .home = NET_NONE, .backend = NET_NONE};

    for (int i = 0; i < NET_SOURCES_MAX; i++)
        tensor.source[i] = NET_NONE;
    return tensor;
}

int32_t net_input(struct net *graph, uint64_t bytes)
{
    struct net_tensor tensor = blank(bytes);

    tensor.input = true;
    tensor.backend = (int8_t)graph->device_count;
    return push(graph, tensor);
}

int32_t net_unused_input(struct net *graph, uint64_t bytes)
{
    const int32_t made = net_input(graph, bytes);

    graph->tensor[made].unused = !graph->failed;
    return made;
}

int32_t net_leaf(struct net *graph, uint64_t bytes)
{
    struct net_tensor tensor = blank(bytes);

    tensor.leaf = true;
    return push(graph, tensor);
}

int32_t net_stored(struct net *graph, uint64_t bytes, uint64_t device_bytes, int32_t home,
                   bool weight)
{
    struct net_tensor tensor = blank(bytes);

    tensor.row_padding_bytes = (uint32_t)(device_bytes - bytes);
    tensor.home = tensor.backend = (int8_t)home;
    tensor.weight = weight;
    return push(graph, tensor);
}

int32_t net_view(struct net *graph, int32_t of, uint64_t bytes)
{
    struct net_tensor tensor = blank(bytes);

    if (graph->failed)
        return 0;
    tensor.root = graph->tensor[of].root == NET_NONE ? of : graph->tensor[of].root;
    return push(graph, tensor);
}

int32_t net_add(struct net *graph, const struct net_op *op)
{
    struct net_tensor tensor = blank(op->bytes);
    void *nodes = graph->node;
    int32_t made;

    tensor.room_bytes = op->room_bytes;
    memcpy(tensor.source, op->source, sizeof tensor.source);
    tensor.root = op->written;
    tensor.reusable = op->reusable;
    tensor.light = op->light;
    tensor.kept = op->kept;
    tensor.cpu_only = op->cpu_only;
    tensor.many_rows = op->rows >= DGO_OFFLOAD_ROWS_MIN;
    tensor.backend = op->on;
    made = push(graph, tensor);
    if (graph->failed || !grow(&nodes, &graph->node_room, graph->node_count, sizeof made)) {
        graph->failed = true;
        return 0;
    }
    graph->node = nodes;
    graph->node[graph->node_count++] = made;
    return made;
}
