/* heap.h - private to the plan module: the allocator of the engine's graphs (FORMULAS "Replay"). */
#ifndef PLAN_HEAP_H
#define PLAN_HEAP_H

#include "memory.h"

enum { HOLES_MAX = 256 }; /* the engine's own bound, where it gives up */

struct block {
    uint64_t at, bytes;
    bool taken; /* also if it has no bytes */
};

/* Holes in order of their place; behind the last taken block all is free. */
struct heap {
    struct block hole[HOLES_MAX];
    uint32_t count;
    uint64_t end, peak;
};

/* Best fit, of equal holes the last; the free space at the end only where none is large enough.
 * `bytes` are rounded up already. */
struct block heap_take(struct heap *heap, uint64_t bytes);

/* Joins what is free before and behind; `block` is empty afterwards.  A block of no bytes that lies
 * within a hole becomes one of its own, and then no hole is joined to the one before it. */
void heap_give(struct heap *heap, struct block *block);

#endif
