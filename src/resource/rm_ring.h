/* rm_ring.h - the small change of a lane's rings; all of it with the lane's lock held. */
#ifndef RM_RING_H
#define RM_RING_H

#include "rm.h"

static inline uint32_t ring_length(const struct rm_ring *ring)
{
    return ring->tail - ring->head;
}

static inline struct rm_entry *ring_at(const struct rm_lane *lane, const struct rm_ring *ring,
                                       uint32_t position)
{
    return &ring->entry[position & lane->ring_mask];
}

static inline struct rm_job *job_of(uint64_t ref)
{
    return rm_job_at((uint32_t)ref & RM_INDEX_MASK);
}

static inline void note_length(struct rm_lane *lane)
{
    const uint32_t length = atomic_load_explicit(&lane->ring_count, memory_order_relaxed);

    if (length == 1)
        atomic_store_explicit(&lane->served_ms,
                              atomic_load_explicit(&rm.coarse_ms, memory_order_relaxed),
                              memory_order_relaxed);
    if (length > atomic_load_explicit(&lane->queued_max, memory_order_relaxed))
        atomic_store_explicit(&lane->queued_max, length, memory_order_relaxed);
}

static inline void note_taken(struct rm_lane *lane, uint32_t count)
{
    atomic_store_explicit(&lane->served_ms,
                          atomic_load_explicit(&rm.coarse_ms, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&lane->taken,
                          atomic_load_explicit(&lane->taken, memory_order_relaxed) + count,
                          memory_order_relaxed);
}

static inline void add_count(struct rm_lane *lane, uint32_t change)
{
    atomic_store_explicit(&lane->ring_count,
                          atomic_load_explicit(&lane->ring_count, memory_order_relaxed) + change,
                          memory_order_relaxed);
}

/* Beyond the bound, too: what was accepted before comes back, or is never refused. */
static inline void add_places(struct rm_lane *lane, uint32_t count)
{
    atomic_fetch_add_explicit(&lane->places, count, memory_order_relaxed);
}

/* rm_lane.c: the keyed slot left the key table; if its job has ended already, it is free now. */
void rm_lane_let_go(struct rm_lane *lane, uint64_t ref);

/* rm_lane.c: what waits in front of the rings goes into them. */
void rm_lane_empty_front(struct rm_lane *lane, struct rm_dead *dead);

#endif
