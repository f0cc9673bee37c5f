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
    struct block block = {.bytes = bytes};

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

void heap_give(struct heap *heap, struct block *block)
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
        remove_hole(heap, i);
    }
    if (i > 0 && heap->hole[i - 1].at + heap->hole[i - 1].bytes == hole.at) {
        hole.at = heap->hole[--i].at;
        hole.bytes += heap->hole[i].bytes;
        remove_hole(heap, i);
    }
    if (hole.at + hole.bytes == heap->end) {
        heap->end = hole.at;
        return;
    }
    if (heap->count == HOLES_MAX)
        return; /* lost: too much is counted, never too little */
    memmove(&heap->hole[i + 1], &heap->hole[i], (heap->count - i) * sizeof hole);
    heap->hole[i] = hole;
    heap->count++;
}
