/* net.h - private to the plan module: the tensors of one graph of the engine, and what each of
 * its backends reserves for them.
 *
 * Backends are numbered as the engine does: devices in their order, the CPU last. */
#ifndef PLAN_NET_H
#define PLAN_NET_H

#include "heap.h"

enum { NET_SOURCES_MAX = 7, NET_NONE = -1, NET_BACKENDS_MAX = DGO_GPU_MAX + 1 };

/* Of one graph: 512 layers with 64 experts of each token's have 100 000.  What a file claims must
 * not take more. */
enum { NET_TENSORS_MAX = 1 << 17 };

struct net_tensor {
    uint64_t bytes;
    uint32_t row_padding_bytes; /* more on a device, behind a quantised tensor */
    uint64_t room_bytes;        /* more on a device, where it is computed there */
    int32_t root;               /* of a view: the tensor whose memory it is */
    int32_t source[NET_SOURCES_MAX];
    int8_t home;       /* the backend where it lies before the graph is there; NET_NONE: nowhere */
    int8_t backend;    /* that computes it; NET_NONE: the scheduler decides */
    uint8_t reusable;  /* a bit for each source of its own shape, which it may be written over */
    bool weight;       /* it draws its operation to its home */
    bool stays;        /* never to another device */
    bool input, kept;  /* filled from outside; never given back */
    bool leaf;         /* made of nothing, where its user runs: there from the beginning */
    bool unused;       /* by any node: there is one of it, with a pipeline, too */
    bool light;        /* not drawn by weights: rotations, fused attention */
    bool cpu_only;     /* no device can compute it */
    bool many_rows;    /* worth computing on a device where its weights do not lie */
    uint32_t children; /* uses still to come, those of its views too */
    struct block block;
};

struct net {
    struct net_tensor *tensor;
    uint32_t tensor_count, tensor_room;
    int32_t *node; /* in the order of their computation */
    uint32_t node_count, node_room;
    uint32_t device_count;
    bool failed; /* out of room or memory: nothing below holds */
};

/* What a new node is besides its bytes; sources end with the first NET_NONE. */
struct net_op {
    uint64_t bytes, room_bytes;
    uint64_t rows;
    int32_t source[NET_SOURCES_MAX];
    uint8_t reusable;
    bool light, kept, cpu_only;
    int32_t written; /* the tensor that it changes in place; NET_NONE: none */
    int8_t on;       /* told where to run; NET_NONE: not */
};

void net_init(struct net *graph, uint32_t device_count);
void net_done(struct net *graph);

/* Each gives the tensor's number. */
int32_t net_input(struct net *graph, uint64_t bytes);
int32_t net_unused_input(struct net *graph, uint64_t bytes);
int32_t net_leaf(struct net *graph, uint64_t bytes);
int32_t net_stored(struct net *graph, uint64_t bytes, uint64_t device_bytes, int32_t home,
                   bool weight);
int32_t net_view(struct net *graph, int32_t of, uint64_t bytes);
int32_t net_add(struct net *graph, const struct net_op *op);

/* schedule.c: gives every node a backend, cuts the graph where it changes and runs the allocator;
 * `peak_bytes` of each backend, the CPU's last.  `op_offload`: large batches go to the first device
 * with weights of host memory.  False: out of memory.  The graph is used up. */
DGO_MUST_CHECK
bool net_schedule(struct net *graph, bool op_offload, uint32_t copies,
                  uint64_t peak_bytes[NET_BACKENDS_MAX]);

#endif
