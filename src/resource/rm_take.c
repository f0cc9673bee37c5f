/* rm_take.c - what leaves the queue of a lane: by level, whole batches at a time, and back. */
#include "rm_ring.h"

/* Strictly by level, but for the bound: a lower level that waits is served once in
 * RM_STARVE_POPS, or when it was not served for RM_STARVE_MS. */
static struct rm_ring *next_ring(struct rm_lane *lane, uint32_t now_ms)
{
    static const enum dgo_level order[] = {DGO_LEVEL_HIGH, DGO_LEVEL_MIDDLE, DGO_LEVEL_LOW};
    const uint32_t turn = ++lane->pops % (2 * RM_STARVE_POPS);
    struct rm_ring *best = NULL, *lower[2] = {NULL, NULL};
    uint32_t lower_count = 0;

    for (uint32_t i = 0; i < DGO_LEVEL_COUNT; i++) {
        struct rm_ring *ring = &lane->ring[order[i]];

        if (ring->head == ring->tail)
            continue;
        if (!best)
            best = ring;
        else
            lower[lower_count++] = ring;
    }
    if (lower_count == 0)
        return best;
    if (turn == 0)
        return lower[0];
    if (turn == RM_STARVE_POPS)
        return lower[lower_count - 1];
    for (uint32_t i = 0; i < lower_count; i++)
        if (now_ms - lower[i]->served_ms > RM_STARVE_MS)
            return lower[i];
    return best;
}

/* So that only as much of it is ever touched as waited at once. */
static void rewind_if_empty(struct rm_ring *ring)
{
    if (ring->head == ring->tail)
        ring->head = ring->tail = 0;
}

static uint32_t take_locked(struct rm_lane *lane, struct rm_entry *entries, uint32_t most)
{
    const uint32_t now_ms = atomic_load_explicit(&rm.coarse_ms, memory_order_relaxed);
    uint32_t count = 0;

    while (count < most) {
        struct rm_ring *ring = next_ring(lane, now_ms);

        if (!ring)
            break;
        entries[count] = *ring_at(lane, ring, ring->head++);
        rewind_if_empty(ring);
        ring->served_ms = now_ms;
        if ((uint32_t)entries[count].ref & RM_TAG_KEYED)
            rm_lane_let_go(lane, entries[count].ref);
        count++;
    }
    add_count(lane, 0 - count);
    rm_places_leave(lane, count);
    note_taken(lane, count);
    return count;
}

/* Nothing else can interleave while only one level waits: the common case is one copy. */
static uint32_t take_run(struct rm_lane *lane, struct rm_entry *entries, uint32_t most)
{
    struct rm_ring *ring = &lane->ring[DGO_LEVEL_MIDDLE];
    const uint32_t length = ring_length(ring);
    const uint32_t count = most < length ? most : length;
    uint32_t keyed = 0;

    if (ring_length(&lane->ring[DGO_LEVEL_HIGH]) + ring_length(&lane->ring[DGO_LEVEL_LOW]) != 0)
        return take_locked(lane, entries, most);
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = *ring_at(lane, ring, ring->head + i);
        keyed |= (uint32_t)entries[i].ref;
    }
    if (keyed & RM_TAG_KEYED)
        return take_locked(lane, entries, most);
    ring->head += count;
    rewind_if_empty(ring);
    ring->served_ms = atomic_load_explicit(&rm.coarse_ms, memory_order_relaxed);
    add_count(lane, 0 - count);
    rm_places_leave(lane, count);
    note_taken(lane, count);
    return count;
}

/* A look at a shard costs its thread the line that it pushes by.  While the rings hold a batch of
 * tiny jobs, and not more than is soon done, there is no need for one. */
static bool has_enough(const struct rm_lane *lane, uint32_t most)
{
    const uint32_t waiting = atomic_load_explicit(&lane->ring_count, memory_order_relaxed);

    return most == RM_BATCH_MAX && waiting >= most && !lane->closed &&
           (uint64_t)waiting * atomic_load_explicit(&lane->est_ns, memory_order_relaxed) <=
               RM_FRONT_NS;
}

uint32_t rm_lane_take(struct rm_lane *lane, struct rm_entry *entries, uint32_t most)
{
    struct rm_dead dead = {0};
    uint32_t count;

    rm_lane_lock(lane);
    if (!has_enough(lane, most))
        rm_lane_empty_front(lane, &dead);
    count = take_run(lane, entries, most);
    rm_lane_unlock(lane);
    rm_end_dead(rm_thread(), &dead);
    return count;
}

/* A stuck worker's share goes back to the front; false when it stays with the worker. */
bool rm_lane_return(struct rm_lane *lane, const struct rm_entry *entries, uint32_t count)
{
    struct rm_ring *ring = &lane->ring[DGO_LEVEL_MIDDLE];
    bool is_returned;

    /* Never wait here: in the BACKGROUND lane the holder may be asleep; the next tick tries. */
    if (!dgo_try_lock(&lane->lock))
        return false;
    is_returned = !lane->closed && ring_length(ring) + count < lane->limit + RM_RING_SLACK / 2;
    for (uint32_t i = count; is_returned && i-- > 0;) {
        struct rm_entry *entry = ring_at(lane, ring, --ring->head);

        *entry = entries[i];
        /* A key left the table when its job was taken; it must not be looked for again. */
        entry->ref &= ~(uint64_t)RM_TAG_KEYED;
        add_count(lane, 1);
        add_places(lane, 1);
    }
    rm_lane_unlock(lane);
    return is_returned;
}
