/* replay.c - the allocator of the engine's graphs, run over the graph of a few layers.
 *
 * FORMULAS "Replay" has the order of the nodes, which `GGML_SCHED_DEBUG=2` makes the engine print.
 * A tensor is taken before those that it is made of are given back; one that is written over
 * its only operand (sums, norms, rotations) is not a tensor here. */
#include "memory.h"

#include <assert.h>
#include <string.h>

enum {
    HOLES_MAX = 32,
    LAYERS = 4, /* more of the same repeat what these did */
};

struct block {
    uint64_t at, bytes;
};

/* Holes in order of their place; behind the last taken block all is free. */
struct heap {
    struct block hole[HOLES_MAX];
    uint32_t count;
    uint64_t end, peak;
};

/* Best fit, of equal holes the last; the free space at the end only where none is large enough. */
static struct block take(struct heap *heap, uint64_t bytes)
{
    uint32_t best = heap->count;
    struct block block = {.bytes = dgo_pad_u64(bytes, MEMORY_DEVICE_ALIGN)};

    for (uint32_t i = 0; i < heap->count; i++)
        if (heap->hole[i].bytes >= block.bytes &&
            (best == heap->count || heap->hole[i].bytes <= heap->hole[best].bytes))
            best = i;
    if (best == heap->count) {
        block.at = heap->end;
        heap->end += block.bytes;
        heap->peak = dgo_max_u64(heap->peak, heap->end);
        return block;
    }
    block.at = heap->hole[best].at;
    heap->hole[best].at += block.bytes;
    heap->hole[best].bytes -= block.bytes;
    if (heap->hole[best].bytes == 0) {
        memmove(&heap->hole[best], &heap->hole[best + 1],
                (heap->count - best - 1) * sizeof heap->hole[0]);
        heap->count--;
    }
    return block;
}

/* Joins what is free before and behind; `block` is empty afterwards. */
static void give(struct heap *heap, struct block *block)
{
    uint32_t i = 0;
    struct block hole = *block;

    *block = (struct block){0};
    if (hole.bytes == 0)
        return;
    while (i < heap->count && heap->hole[i].at < hole.at)
        i++;
    if (i < heap->count && hole.at + hole.bytes == heap->hole[i].at) {
        hole.bytes += heap->hole[i].bytes;
        memmove(&heap->hole[i], &heap->hole[i + 1], (heap->count - i - 1) * sizeof hole);
        heap->count--;
    }
    if (i > 0 && heap->hole[i - 1].at + heap->hole[i - 1].bytes == hole.at) {
        hole.at = heap->hole[--i].at;
        hole.bytes += heap->hole[i].bytes;
        memmove(&heap->hole[i], &heap->hole[i + 1], (heap->count - i - 1) * sizeof hole);
        heap->count--;
    }
    if (hole.at + hole.bytes == heap->end) {
        heap->end = hole.at;
        return;
    }
    assert(heap->count < HOLES_MAX);
    memmove(&heap->hole[i + 1], &heap->hole[i], (heap->count - i) * sizeof hole);
    heap->hole[i] = hole;
    heap->count++;
}

static void attend(struct heap *heap, const struct memory_graph *g, struct block *result)
{
    if (g->scores > 0) {
        struct block scores = take(heap, g->scores), mixed;

        give(heap, result); /* the queries */
        mixed = take(heap, g->mixed);
        give(heap, &scores);
        *result = take(heap, g->mixed);
        give(heap, &mixed);
        return;
    }
    struct block keys = take(heap, g->key_copy), values = take(heap, g->value_copy);
    struct block mixed = take(heap, g->mixed);

    give(heap, result);
    give(heap, &keys);
    give(heap, &values);
    *result = mixed;
    if (g->value_packed) { /* turned back */
        *result = take(heap, g->mixed);
        give(heap, &mixed);
    }
}

/* As wide as `plain`, made of it and in its place: what is written over a view needs a block of its
 * own. */
static struct block remade(struct heap *heap, struct block plain)
{
    struct block block = take(heap, plain.bytes);

    give(heap, &plain);
    return block;
}

/* A packed cache takes keys and values that were turned. */
static struct block turned(struct heap *heap, bool packed, struct block plain)
{
    return packed ? remade(heap, plain) : plain;
}

/* Leaves attention's part of the residual; `masks` is given back where nothing attends later. */
static struct block attention(struct heap *heap, const struct memory_graph *g, struct block *masks)
{
    struct block normed = take(heap, g->embedding);
    /* Norm and rotation are the first that is written over heads, a view of the product. */
    struct block queries = turned(heap, g->key_packed, remade(heap, take(heap, g->queries)));
    struct block first, second, out;

    if (g->keys_first) {
        first = turned(heap, g->key_packed, remade(heap, take(heap, g->keys)));
        second = take(heap, g->values);
        give(heap, &normed);
        second = turned(heap, g->value_packed, second);
        give(heap, &first);
        give(heap, &second);
    } else {
        first = turned(heap, g->value_packed, take(heap, g->values));
        second = take(heap, g->keys);
        give(heap, &normed);
        second = turned(heap, g->key_packed, remade(heap, second));
        give(heap, &second);
        give(heap, &first);
    }
    attend(heap, g, &queries);
    if (masks)
        give(heap, masks);
    out = take(heap, g->embedding);
    give(heap, &queries);
    return out;
}

static struct block feed_forward(struct heap *heap, const struct memory_graph *g)
{
    struct block normed = take(heap, g->embedding);
    struct block gate = take(heap, g->inner), up = take(heap, g->inner), product, out;

    give(heap, &normed);
    product = take(heap, g->inner);
    give(heap, &gate);
    give(heap, &up);
    out = take(heap, g->embedding);
    give(heap, &product);
    return out;
}

static struct block experts(struct heap *heap, const struct memory_graph *g)
{
    struct block normed = take(heap, g->embedding);
    struct block odds = take(heap, g->router), order = take(heap, g->router);
    struct block weights = take(heap, g->router_used), sum = {0}, shares;
    struct block gate, up, product, down, out;

    give(heap, &odds);
    if (!g->weights_softmax)
        sum = take(heap, g->router_sum);
    shares = take(heap, g->router_used);
    give(heap, &weights);
    give(heap, &sum);
    gate = take(heap, g->expert_inner);
    up = take(heap, g->expert_inner);
    give(heap, &normed);
    product = take(heap, g->expert_inner);
    give(heap, &gate);
    give(heap, &up);
    down = take(heap, g->expert_out);
    give(heap, &product);
    give(heap, &order);
    give(heap, &shares);
    out = take(heap, g->embedding); /* the first two of the experts used, added; or a copy */
    give(heap, &down);
    return out;
}

/* One layer: `stream` is what goes from layer to layer, empty where it lies outside the heap. */
static void layer(struct heap *heap, const struct memory_graph *g, bool routed,
                  struct block *stream)
{
    struct block sum = attention(heap, g, NULL), out;

    give(heap, stream);
    out = routed ? experts(heap, g) : feed_forward(heap, g);
    give(heap, &sum);
    *stream = out;
}

/* The last layer and the output: behind attention only the wanted rows go on. */
static void last_layer(struct heap *heap, const struct memory_graph *g, struct block *stream,
                       struct block *masks)
{
    struct block out = attention(heap, g, masks);
    struct block rows = take(heap, g->row), other;

    give(heap, &out);
    other = take(heap, g->row);
    give(heap, stream);
    give(heap, &other);
    out = take(heap, g->logits);
    give(heap, &rows);
    give(heap, &out);
}

/* Which layers have a window: it shows where what attention takes depends on its cells. */
enum order { ALL_FULL, ALL_WINDOWS, WINDOW_FIRST, FULL_FIRST };

static bool is_window(enum order order, uint32_t l)
{
    return order == ALL_WINDOWS || (order >= WINDOW_FIRST && (l + (order == FULL_FIRST)) % 2 == 0);
}

static uint64_t peak_bytes(const struct memory_graph *full, const struct memory_role *role,
                           uint64_t inputs, bool routed, enum order order)
{
    const bool first = role->position == 0;
    const bool last = role->holds_output || role->last_layer_only;
    const bool one = role->first_layer_only || role->last_layer_only;
    const uint32_t plain = one ? !last : LAYERS;
    struct memory_graph window = *full;
    struct heap heap = {0};
    struct block stream = {0}, masks = {0}, mixed = {0}, tokens = {0};
    uint32_t l = 0;

    window.scores = full->window_scores;
    window.key_copy = full->window_key_copy;
    window.value_copy = full->window_value_copy;
    if (!role->pipeline) { /* inputs are tensors like any other, in the order of their use */
        mixed = take(&heap, full->embedding);
        tokens = take(&heap, full->embedding);
        stream = take(&heap, full->embedding);
        masks = take(&heap, inputs);
    }
    if (first) { /* embeddings that come from outside, which are reserved and not used */
        take(&heap, full->embedding);
        give(&heap, &mixed);
        give(&heap, &tokens);
    }
    if (first && full->input_scaled && role->pipeline)
        stream = take(&heap, full->embedding);
    for (; l < plain; l++)
        layer(&heap, is_window(order, l) ? &window : full, routed, &stream);
    if (last)
        last_layer(&heap, is_window(order, l) ? &window : full, &stream, &masks);
    return heap.peak;
}

uint64_t memory_replay_bytes(const struct memory_graph *graph, const struct memory_role *role,
                             uint64_t inputs)
{
    uint64_t most = 0;

    for (int routed = !graph->has_dense; routed <= graph->has_experts; routed++) {
        for (enum order order = ALL_FULL; order <= FULL_FIRST; order++) {
            if (order == ALL_WINDOWS ? !role->no_full_layer : role->no_full_layer)
                continue;
            if (order > ALL_WINDOWS && (!graph->has_windows || role->no_window_layer))
                continue;
            most = dgo_max_u64(most, peak_bytes(graph, role, inputs, routed, order));
        }
    }
    if (role->pipeline)
        most += MEMORY_COPIES * (inputs + (role->position == 0 ? 3 : 1) * graph->embedding);
    return most;
}
