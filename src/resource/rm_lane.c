/* rm_lane.c - the queue of a lane: three rings behind a lock, shards and an inbox in front of it.
 * What leaves it: rm_take.c.
 *
 * A push goes to the shard of its thread (rm_shard.c).  A thread that has none takes the lock if it
 * is free and may be held by it, else it goes to the inbox.  Who holds the lock first moves what
 * waits in front to the rings, so each producer's order stays: a thread with a shard that needs the
 * rings themselves (its job has a key, or there is no room) waits for the lock.  Rings have more
 * room than the bound of the lane: strands and returned batches are never refused. */
#include "rm_ring.h"

#include <string.h>

bool rm_lane_open(struct rm_lane *lane, enum dgo_lane id, uint32_t limit)
{
    uint32_t size = 1;

    while (size < limit + RM_RING_SLACK)
        size <<= 1;
    if (!lane->ring[0].entry || lane->ring_mask + 1 < size) {
        /* Never unmapped: a late caller may still look.  Only a greater limit maps again. */
        struct rm_entry *entries = rm_sys_map(size * sizeof *entries * DGO_LEVEL_COUNT);

        if (!entries)
            return false;
        for (uint32_t level = 0; level < DGO_LEVEL_COUNT; level++)
            lane->ring[level].entry = entries + (size_t)level * size;
        lane->ring_mask = size - 1;
    }
    if (id != DGO_LANE_EXPRESS && !lane->shard_entry) { /* once: late callers look without a lock */
        const uint32_t shard_size = id == DGO_LANE_BACKGROUND ? RM_SHARD_LONG : RM_SHARD_SIZE;
        struct rm_entry *entries = rm_sys_map(shard_size * sizeof *entries * RM_SHARDS);

        if (entries) { /* without them everything takes the lock */
            lane->shard_entry = entries;
            lane->shard_mask = shard_size - 1;
        }
    }
    rm_lane_lock(lane);
    for (uint32_t level = 0; level < DGO_LEVEL_COUNT; level++)
        lane->ring[level].head = lane->ring[level].tail = 0;
    memset(lane->key_bucket, 0, sizeof lane->key_bucket);
    atomic_store(&lane->limit, limit);
    lane->pops = 0;
    atomic_store(&lane->taken, 0);
    lane->closed = false;
    atomic_store(&lane->ring_count, 0);
    atomic_store(&lane->stale, 0);
    atomic_store(&lane->queued_max, 0);
    rm_shards_open(lane);
    atomic_store(&lane->inbox, RM_INBOX_EMPTY);
    rm_lane_unlock(lane);
    return true;
}

uint32_t rm_lane_queued(const struct rm_lane *lane)
{
    return atomic_load_explicit(&lane->ring_count, memory_order_relaxed) +
           atomic_load_explicit(&lane->inbox_count, memory_order_relaxed) + rm_shards_queued(lane);
}

/* ---- with the lock held ---- */

static uint32_t *bucket_of(struct rm_lane *lane, const struct rm_job *job)
{
    const uint64_t hash = (job->key ^ job->component) * UINT64_C(0x9e3779b97f4a7c15);

    return &lane->key_bucket[hash >> 56];
}

static void unlink_key(struct rm_lane *lane, struct rm_job *job)
{
    uint32_t *at = bucket_of(lane, job);

    while (*at && rm_job_at(*at - 1) != job)
        at = &rm_job_at(*at - 1)->key_next;
    if (*at)
        *at = job->key_next;
}

void rm_lane_let_go(struct rm_lane *lane, uint64_t ref)
{
    struct rm_job *job = job_of(ref);

    unlink_key(lane, job);
    rm_job_release(rm_thread(), job, (uint32_t)ref & RM_INDEX_MASK, RM_LINKED);
}

static void ring_put(struct rm_lane *lane, uint64_t ref, enum dgo_level level)
{
    struct rm_ring *ring = &lane->ring[level];

    if (ring->head == ring->tail)
        ring->served_ms = atomic_load_explicit(&rm.coarse_ms, memory_order_relaxed);
    if ((uint32_t)ref & RM_TAG_KEYED) {
        struct rm_job *job = job_of(ref);
        uint32_t *bucket = bucket_of(lane, job);

        job->ring_pos = ring->tail;
        job->key_next = *bucket;
        *bucket = ((uint32_t)ref & RM_INDEX_MASK) + 1;
    }
    *ring_at(lane, ring, ring->tail++) = (struct rm_entry){.ref = ref, .level = (uint8_t)level};
    add_count(lane, 1);
    note_length(lane);
}

/* A claimed job, to be ended once the lock is released. */
static void add_dead(uint32_t *list, uint32_t index)
{
    rm_job_at(index)->next = *list;
    *list = index + 1;
}

/* The waiting job with the key of `job` gives its place to it. */
static bool take_place(struct rm_lane *lane, uint64_t ref, struct rm_dead *dead)
{
    struct rm_job *job = job_of(ref);
    uint32_t *at = bucket_of(lane, job);

    for (; *at; at = &rm_job_at(*at - 1)->key_next) {
        const uint32_t index = *at - 1;
        struct rm_job *old = rm_job_at(index);
        uint64_t state = atomic_load_explicit(&old->state, memory_order_acquire);

        if (old->key != job->key || old->component != job->component ||
            !rm_job_claim(old, rm_generation(state), &state))
            continue;
        *at = old->key_next;
        job->ring_pos = old->ring_pos;
        ring_at(lane, &lane->ring[old->level], old->ring_pos)->ref = ref;
        job->level = old->level;
        job->key_next = *bucket_of(lane, job);
        *bucket_of(lane, job) = ((uint32_t)ref & RM_INDEX_MASK) + 1;
        atomic_fetch_and(&old->state, ~(uint64_t)RM_LINKED);
        add_dead(&dead->coalesced, index);
        return true;
    }
    return false;
}

/* Ends the oldest job that may be dropped, looking at the oldest few of each level, lowest first;
 * what stood before it moves up. */
static bool drop_oldest(struct rm_lane *lane, struct rm_dead *dead)
{
    static const enum dgo_level lowest_first[] = {DGO_LEVEL_LOW, DGO_LEVEL_MIDDLE, DGO_LEVEL_HIGH};

    for (uint32_t i = 0; i < DGO_LEVEL_COUNT; i++) {
        struct rm_ring *ring = &lane->ring[lowest_first[i]];
        uint32_t at = ring->head;

        for (; at != ring->tail && at - ring->head < 64; at++) {
            const uint64_t ref = ring_at(lane, ring, at)->ref;
            uint64_t state;

            if (!((uint32_t)ref & RM_TAG_DROPPABLE) ||
                !rm_job_claim(job_of(ref), rm_generation(ref), &state))
                continue;
            for (; at != ring->head; at--) {
                const struct rm_entry *moved = ring_at(lane, ring, at - 1);

                *ring_at(lane, ring, at) = *moved;
                if ((uint32_t)moved->ref & RM_TAG_KEYED)
                    job_of(moved->ref)->ring_pos = at;
            }
            ring->head++;
            add_count(lane, UINT32_MAX);
            rm_places_leave(lane, 1);
            add_dead(&dead->dropped, (uint32_t)ref & RM_INDEX_MASK);
            return true;
        }
    }
    return false;
}

static bool is_stale(uint64_t ref)
{
    uint64_t state;

    if ((uint32_t)ref & (RM_TAG_STRAND | RM_TAG_DONE | RM_TAG_PLAIN))
        return false;
    state = atomic_load_explicit(&job_of(ref)->state, memory_order_acquire);
    return rm_generation(state) != rm_generation(ref) || (state & RM_PHASE) != RM_PENDING;
}

/* Cancelled and waited-for jobs leave their references behind; this makes room of them. */
static void sweep(struct rm_lane *lane)
{
    atomic_store_explicit(&lane->stale, 0, memory_order_relaxed);
    for (uint32_t level = 0; level < DGO_LEVEL_COUNT; level++) {
        struct rm_ring *ring = &lane->ring[level];
        uint32_t to = ring->head;

        for (uint32_t at = ring->head; at != ring->tail; at++) {
            const struct rm_entry *entry = ring_at(lane, ring, at);
            const uint64_t ref = entry->ref;
            const bool is_keyed = (uint32_t)ref & RM_TAG_KEYED;

            if (is_stale(ref)) {
                if (is_keyed)
                    rm_lane_let_go(lane, ref);
                continue;
            }
            if (is_keyed)
                job_of(ref)->ring_pos = to;
            *ring_at(lane, ring, to++) = *entry;
        }
        add_count(lane, to - ring->tail);
        rm_places_leave(lane, ring->tail - to);
        ring->tail = to;
    }
}

/* Out of an inbox or a shard. */
void rm_lane_admit_keyed(struct rm_lane *lane, uint64_t ref, struct rm_dead *dead)
{
    if (take_place(lane, ref, dead))
        rm_places_leave(lane, 1);
    else
        ring_put(lane, ref, (enum dgo_level)job_of(ref)->level);
}

/* Moves the inbox, which is newest first, to the rings, oldest first. */
static void empty_inbox(struct rm_lane *lane, struct rm_dead *dead)
{
    uint64_t head = atomic_load_explicit(&lane->inbox, memory_order_relaxed);
    uint32_t moved = 0;
    uint64_t oldest_first = 0; /* tagged index + RM_INBOX_FIRST, linked through the same field */

    if (head < RM_INBOX_FIRST)
        return;
    head = atomic_exchange_explicit(&lane->inbox, RM_INBOX_EMPTY, memory_order_acquire);
    while (head >= RM_INBOX_FIRST) {
        const uint32_t tagged = (uint32_t)(head - RM_INBOX_FIRST);
        uint32_t *link = tagged & RM_TAG_STRAND ? rm_strand_link(tagged)
                         : tagged & RM_TAG_DONE ? &job_of(tagged)->post_next
                                                : &job_of(tagged)->next;
        const uint64_t next = *link ? (uint64_t)*link - 1 + RM_INBOX_FIRST : 0;

        *link = oldest_first ? (uint32_t)(oldest_first - RM_INBOX_FIRST) + 1 : 0;
        oldest_first = head;
        head = next;
    }
    while (oldest_first) {
        const uint32_t tagged = (uint32_t)(oldest_first - RM_INBOX_FIRST);
        struct rm_job *job;
        uint64_t ref;

        moved++;
        if (tagged & RM_TAG_STRAND) {
            const uint32_t next = *rm_strand_link(tagged);

            oldest_first = next ? (uint64_t)next - 1 + RM_INBOX_FIRST : 0;
            rm_strand_linked(tagged, false);
            ref = rm_strand_ref(tagged);
            if (rm_strand_is_of(tagged, lane->id))
                ring_put(lane, ref, rm_strand_level(tagged));
            else
                rm_places_leave(lane, 1);
            continue;
        }
        job = job_of(tagged);
        ref =
            rm_ref(rm_generation(atomic_load_explicit(&job->state, memory_order_relaxed)), tagged);
        if (tagged & RM_TAG_DONE) {
            oldest_first = job->post_next ? (uint64_t)job->post_next - 1 + RM_INBOX_FIRST : 0;
            ring_put(lane, ref, DGO_LEVEL_MIDDLE);
            continue;
        }
        oldest_first = job->next ? (uint64_t)job->next - 1 + RM_INBOX_FIRST : 0;
        if (tagged & RM_TAG_KEYED) { /* stays linked, now in the key table */
            rm_lane_admit_keyed(lane, ref, dead);
            continue;
        }
        ring_put(lane, ref, job->level);
        rm_job_release(rm_thread(), job, tagged & RM_INDEX_MASK, RM_LINKED);
    }
    atomic_fetch_sub_explicit(&lane->inbox_count, moved, memory_order_relaxed);
}

void rm_lane_empty_front(struct rm_lane *lane, struct rm_dead *dead)
{
    empty_inbox(lane, dead);
    rm_shards_move(lane, dead);
}

/* ---- push ---- */

static enum rm_push push_locked(struct rm_lane *lane, uint64_t ref, enum dgo_level level,
                                bool has_place, struct rm_dead *dead)
{
    if (lane->closed)
        return RM_CLOSED_LANE;
    rm_lane_empty_front(lane, dead);
    if ((uint32_t)ref & RM_TAG_KEYED && take_place(lane, ref, dead)) {
        if (has_place)
            rm_places_leave(lane, 1);
        return RM_PUSHED;
    }
    if (!has_place && !rm_place_take(lane)) {
        if (atomic_load_explicit(&lane->stale, memory_order_relaxed) > lane->limit / 8)
            sweep(lane);
        if (!rm_place_take(lane) &&
            !((uint32_t)ref & RM_TAG_DROPPABLE && drop_oldest(lane, dead) && rm_place_take(lane)))
            return RM_FULL;
    }
    ring_put(lane, ref, level);
    if ((uint32_t)ref & RM_TAG_KEPT)
        rm_job_release(rm_thread(), job_of(ref), (uint32_t)ref & RM_INDEX_MASK, RM_LINKED);
    return RM_PUSHED;
}

static enum rm_push push_inbox(struct rm_lane *lane, uint64_t ref, bool has_place)
{
    const uint32_t tagged = (uint32_t)ref;
    uint32_t *link = tagged & RM_TAG_STRAND ? rm_strand_link(tagged)
                     : tagged & RM_TAG_DONE ? &job_of(ref)->post_next
                                            : &job_of(ref)->next;
    uint64_t head = atomic_load_explicit(&lane->inbox, memory_order_relaxed);

    if (!has_place && !rm_place_take(lane))
        return RM_FULL;
    if (!(tagged & (RM_TAG_STRAND | RM_TAG_DONE | RM_TAG_KEPT | RM_TAG_KEYED)))
        atomic_fetch_or_explicit(&job_of(ref)->state, RM_LINKED, memory_order_relaxed);
    if (tagged & RM_TAG_STRAND && rm_strand_linked(tagged, true)) {
        /* It is there, or somebody is just putting it there: that one's reference is made when
         * the inbox is emptied, and will be the newest. */
        rm_places_leave(lane, 1);
        return RM_PUSHED;
    }
    atomic_fetch_add_explicit(&lane->inbox_count, 1, memory_order_relaxed);
    do {
        if (head == RM_INBOX_CLOSED) {
            if (tagged & RM_TAG_STRAND)
                rm_strand_linked(tagged, false);
            atomic_fetch_sub_explicit(&lane->inbox_count, 1, memory_order_relaxed);
            if (!has_place)
                rm_places_leave(lane, 1);
            return RM_CLOSED_LANE;
        }
        *link = head ? (uint32_t)(head - RM_INBOX_FIRST) + 1 : 0;
        /* Sequentially consistent: the sleeper's announcement is looked at after it. */
    } while (!atomic_compare_exchange_weak(&lane->inbox, &head, tagged + (uint64_t)RM_INBOX_FIRST));
    return RM_PUSHED;
}

static bool try_for(struct rm_lane *lane, uint32_t tries)
{
    while (!dgo_try_lock(&lane->lock)) {
        if (--tries == 0)
            return false;
        dgo_pause();
    }
    return true;
}

/* The bound is reached, and what waits is not stale: the lock would not help. */
static bool is_full_surely(struct rm_lane *lane, uint64_t ref, bool has_place)
{
    if (has_place || (uint32_t)ref & (RM_TAG_KEYED | RM_TAG_DROPPABLE) ||
        atomic_load_explicit(&lane->stale, memory_order_relaxed) > lane->limit / 8)
        return false;
    if (!rm_place_take(lane))
        return true;
    rm_places_leave(lane, 1);
    return false;
}

/* The threads of BACKGROUND may sleep with its lock in hand, and so might one of theirs with any
 * other: there nobody waits for a lock, and keys are looked at when the front is emptied. */
static enum rm_push push(struct rm_lane *lane, struct rm_thread *self, uint64_t ref,
                         enum dgo_level level, bool has_place, struct rm_dead *dead)
{
    const bool may_wait = !self->is_idle_class && lane->id != DGO_LANE_BACKGROUND;
    const uint32_t shard = rm_shard_of(self, lane);
    enum rm_push pushed = RM_FULL;
    bool is_held;

    if (shard != RM_NO_SHARD && !(may_wait && (uint32_t)ref & RM_TAG_KEYED)) {
        const struct rm_entry entry = {.ref = ref, .level = (uint8_t)level};

        pushed = rm_shard_push(lane, shard, &entry, has_place);
        if (pushed == RM_PUSHED && (uint32_t)ref & RM_TAG_KEPT)
            rm_job_release(self, job_of(ref), (uint32_t)ref & RM_INDEX_MASK, RM_LINKED);
    } else if (!may_wait) {
        pushed = push_inbox(lane, ref, has_place);
    }
    if (pushed != RM_FULL || is_full_surely(lane, ref, has_place))
        return pushed;
    if (self->is_idle_class) {
        is_held = false;
    } else if (may_wait && shard != RM_NO_SHARD) {
        rm_lane_lock(lane);
        is_held = true;
    } else {
        is_held = try_for(lane, may_wait ? 64 : 1024);
    }
    if (!is_held) /* a strand or a callback is late rather than lost */
        return has_place || (may_wait && shard == RM_NO_SHARD) ? push_inbox(lane, ref, has_place)
                                                               : RM_FULL;
    pushed = push_locked(lane, ref, level, has_place, dead);
    rm_lane_unlock(lane);
    return pushed;
}

enum rm_push rm_lane_push(struct rm_lane *lane, struct rm_thread *self, uint64_t ref,
                          enum dgo_level level, enum rm_place place, struct rm_dead *dead)
{
    enum rm_push pushed;

    if (place == RM_PLACE_ADD)
        add_places(lane, 1);
    pushed = push(lane, self, ref, level, place != RM_PLACE_ASK, dead);
    if (pushed != RM_PUSHED && place != RM_PLACE_ASK)
        rm_places_leave(lane, 1);
    return pushed;
}

/* A second reference at a higher level: a favour, left out where it would have to wait. */
void rm_lane_raise(struct rm_lane *lane, struct rm_thread *self, uint64_t ref, enum dgo_level level)
{
    if (self->is_idle_class || lane->id == DGO_LANE_BACKGROUND || !dgo_try_lock(&lane->lock))
        return;
    if (!lane->closed && ring_length(&lane->ring[level]) < lane->limit + RM_RING_SLACK / 2) {
        add_places(lane, 1);
        ring_put(lane, ref, level);
    }
    rm_lane_unlock(lane);
}

/* ---- the end ---- */

/* Into a closed lane whose thread still comes by: callbacks and strands of the UI lane, while stop
 * waits for those who hand them over. */
bool rm_lane_push_late(struct rm_lane *lane, uint64_t ref)
{
    bool is_open;

    if (!((uint32_t)ref & (RM_TAG_DONE | RM_TAG_STRAND)))
        return false;
    rm_lane_lock(lane);
    is_open = lane->closed && lane->takes_late;
    if (is_open) {
        add_places(lane, 1);
        ring_put(lane, ref, DGO_LEVEL_MIDDLE);
    }
    rm_lane_unlock(lane);
    return is_open;
}

/* Nothing comes late any more.  Not while something is left, and not while anybody outside is at
 * work: he may have taken it (who takes is counted before), and hand something over. */
bool rm_lane_seal(struct rm_lane *lane)
{
    bool is_sealed;

    rm_lane_lock(lane);
    is_sealed = !rm_lane_has_work(lane) && atomic_load(&rm.outside) == 0;
    lane->takes_late &= !is_sealed;
    rm_lane_unlock(lane);
    return is_sealed;
}

/* From here on every push is refused.  What waits is still there for rm_lane_take. */
void rm_lane_close(struct rm_lane *lane)
{
    struct rm_dead dead = {0};
    uint64_t head;

    rm_lane_lock(lane);
    if (lane->closed) { /* already: its inbox, too */
        rm_lane_unlock(lane);
        return;
    }
    lane->closed = true;
    lane->takes_late = lane->id == DGO_LANE_UI;
    rm_shards_close(lane);
    rm_lane_empty_front(lane, &dead);
    head = RM_INBOX_EMPTY;
    while (!atomic_compare_exchange_strong(&lane->inbox, &head, RM_INBOX_CLOSED)) {
        empty_inbox(lane, &dead);
        head = RM_INBOX_EMPTY;
    }
    rm_lane_unlock(lane);
    rm_end_dead(rm_thread(), &dead);
}
