/* heap.c - best fit among holes, as ggml-alloc does it. */
#include "heap.h"

#include <string.h>

static void remove_hole(struct heap *heap, uint32_t i)
{
    memmove(&heap->hole[i], &heap->hole[i + 1], (heap->count - i - 1) * sizeof heap->hole[0]);
    heap->count--;
}

struct block heap_take(struct heap *heap, uint64_t bytes)
{
    uint32_t best = heap->count;
    struct block block = {.bytes = bytes, .taken = true};

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
    if (heap->hole[best].bytes == 0)
        remove_hole(heap, best);
    return block;
}

static uint64_t end_of(const struct block *hole)
{
    return hole->at + hole->bytes;
}

/* One with the next (behind the last hole: the open end) where that begins where it ends. */
static void join_next(struct heap *heap, uint32_t i)
{
    const uint64_t end = end_of(&heap->hole[i]);

    if (i + 1 == heap->count) {
        if (end == heap->end) {
            heap->end = heap->hole[i].at;
            heap->count--;
        }
    } else if (end == heap->hole[i + 1].at) {
        heap->hole[i].bytes += heap->hole[i + 1].bytes;
        remove_hole(heap, i + 1);
    }
}

/* Behind a hole, or before it. */
static bool join(struct heap *heap, const struct block *block)
{
    for (uint32_t i = 0; i < heap->count; i++) {
        struct block *hole = &heap->hole[i];

        if (end_of(hole) == block->at) {
            hole->bytes += block->bytes;
            join_next(heap, i);
            return true;
        }
        if (end_of(block) == hole->at) {
            hole->at = block->at;
            hole->bytes += block->bytes;
            if (i > 0)
                join_next(heap, i - 1);
            return true;
        }
    }
    if (end_of(block) != heap->end)
        return false;
    heap->end = block->at;
    if (heap->count > 0)
        join_next(heap, heap->count - 1);
    return true;
}

void heap_give(struct heap *heap, struct block *block)
{
    const struct block hole = *block;
    uint32_t i = 0;

    *block = (struct block){0};
    if (!hole.taken || join(heap, &hole) || heap->count == HOLES_MAX)
        return; /* lost where there is no room: too much is counted, never too little */
    while (i < heap->count && heap->hole[i].at < hole.at)
        i++;
    memmove(&heap->hole[i + 1], &heap->hole[i], (heap->count - i) * sizeof hole);
    heap->hole[i] = hole;
    heap->count++;
}
