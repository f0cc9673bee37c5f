/* rm_shard.c - ways into a lane that belong to one thread each, and the places of its bound.
 *
 * A push is the writing of one entry and one compare-and-swap on a word that nobody else writes:
 * it publishes the entry, uses up a place and orders what follows, all in one.  Threads do not
 * fight for a line then, and one that the scheduler puts aside in the middle holds nothing.
 * Whoever has the lane's lock moves the entries to its rings.  Places are handed out by the
 * handful; what a thread keeps of them is taken back when the lane seems full, so the bound is
 * exact.  EXPRESS has no shards: NORMAL workers look into it between any two jobs, at one word. */
#include "rm_ring.h"

enum { ENTRIES_A_LINE = 2, LINES_AHEAD = 8 };

/* ---- whose they are ---- */

static _Atomic uint32_t owned; /* bit n: a thread has shard n of every lane */
static _Atomic uint32_t used;  /* shards below it were owned at some time */

static uint32_t own(struct rm_thread *self)
{
    uint32_t mask = atomic_load(&owned), number;

    do {
        if (mask == (UINT32_C(1) << RM_SHARDS) - 1) {
            self->shard = RM_NO_SHARD;
            return RM_NO_SHARD;
        }
        number = (uint32_t)__builtin_ctz(~mask);
    } while (!atomic_compare_exchange_weak(&owned, &mask, mask | UINT32_C(1) << number));
    for (uint32_t seen = atomic_load(&used); seen <= number;)
        if (atomic_compare_exchange_weak(&used, &seen, number + 1))
            break;
    self->shard = (uint8_t)(number + 1);
    return self->shard;
}

/* Decided once: a thread that had to do without would overtake itself if it got one later. */
uint32_t rm_shard_of(struct rm_thread *self, const struct rm_lane *lane)
{
    if (!lane->shard_entry)
        return RM_NO_SHARD;
    return self->shard ? self->shard : own(self);
}

void rm_shard_leave(struct rm_thread *self)
{
    if (self->shard && self->shard != RM_NO_SHARD)
        atomic_fetch_and(&owned, ~(UINT32_C(1) << (self->shard - 1)));
    self->shard = 0;
}

/* In a child only the thread that forked is left: what others held of any lane is free again. */
void rm_shards_forget(struct rm_thread *self)
{
    atomic_store(&owned, 0);
    self->shard = 0;
    for (uint32_t id = 0; id < DGO_LANE_COUNT; id++) {
        struct rm_lane *lane = &rm.lane[id];

        atomic_store(&lane->places, 0);
        atomic_store(&lane->inbox_count, 0);
        for (uint32_t n = 0; n < RM_SHARDS; n++)
            atomic_fetch_and(&lane->shard[n].word, ~RM_SHARD_PLACES);
    }
}

/* ---- places ---- */

static uint32_t take_places(struct rm_lane *lane, uint32_t most)
{
    const uint32_t limit = atomic_load_explicit(&lane->limit, memory_order_relaxed);
    uint32_t taken = atomic_load_explicit(&lane->places, memory_order_relaxed), count;

    do {
        if (taken >= limit)
            return 0;
        count = limit - taken < most ? limit - taken : most;
    } while (!atomic_compare_exchange_weak_explicit(&lane->places, &taken, taken + count,
                                                    memory_order_relaxed, memory_order_relaxed));
    return count;
}

/* What threads keep for pushes to come goes back. */
static bool collect_places(struct rm_lane *lane)
{
    const uint32_t count = atomic_load(&used);
    uint32_t sum = 0;

    for (uint32_t n = 0; n < count && lane->shard_entry; n++) {
        uint64_t word = atomic_load_explicit(&lane->shard[n].word, memory_order_relaxed);

        while ((word & RM_SHARD_PLACES) != 0 &&
               !atomic_compare_exchange_weak(&lane->shard[n].word, &word, word & ~RM_SHARD_PLACES))
            ;
        sum += (uint32_t)(word & RM_SHARD_PLACES);
    }
    if (sum)
        rm_places_leave(lane, sum);
    return sum != 0;
}

bool rm_place_take(struct rm_lane *lane)
{
    return take_places(lane, 1) || (collect_places(lane) && take_places(lane, 1));
}

void rm_places_leave(struct rm_lane *lane, uint32_t count)
{
    atomic_fetch_sub_explicit(&lane->places, count, memory_order_relaxed);
}

/* ---- push ---- */

static bool has_gap(struct rm_lane *lane, uint32_t n, uint32_t tail)
{
    struct rm_shard *shard = &lane->shard[n];
    uint32_t head = atomic_load_explicit(&shard->seen_head, memory_order_relaxed);

    if (tail - head <= lane->shard_mask)
        return true;
    head = atomic_load_explicit(&lane->shard_head[n], memory_order_acquire);
    atomic_store_explicit(&shard->seen_head, head, memory_order_relaxed);
    return tail - head <= lane->shard_mask;
}

static void prefetch_ahead(const struct rm_lane *lane, const struct rm_entry *entries,
                           uint32_t tail)
{
    dgo_prefetch_to_write(&entries[(tail + LINES_AHEAD * ENTRIES_A_LINE) & lane->shard_mask]);
}

/* RM_FULL: no place, or no gap, which only strands and callbacks can bring about. */
enum rm_push rm_shard_push(struct rm_lane *lane, uint32_t number, const struct rm_entry *entry,
                           bool has_place)
{
    const uint32_t n = number - 1;
    struct rm_shard *shard = &lane->shard[n];
    struct rm_entry *entries = lane->shard_entry + (size_t)n * (lane->shard_mask + 1);
    uint64_t word = atomic_load_explicit(&shard->word, memory_order_relaxed);

    for (;;) {
        const uint32_t tail = (uint32_t)(word >> 32);

        if (word & RM_SHARD_CLOSED)
            return RM_CLOSED_LANE;
        if (!has_gap(lane, n, tail))
            return RM_FULL;
        if (!has_place && (word & RM_SHARD_PLACES) == 0) {
            const uint32_t places = take_places(lane, RM_PLACES_AT_ONCE);

            if (!places)
                return RM_FULL;
            word = atomic_fetch_add_explicit(&shard->word, places, memory_order_relaxed) + places;
            continue; /* closed meanwhile? */
        }
        if (tail % ENTRIES_A_LINE == 0)
            prefetch_ahead(lane, entries, tail);
        entries[tail & lane->shard_mask] = *entry;
        /* Sequentially consistent: the sleeper's announcement is looked at after it. */
        if (atomic_compare_exchange_strong(&shard->word, &word,
                                           word + RM_SHARD_ONE_MORE - (has_place ? 0 : 1)))
            return RM_PUSHED;
    }
}

/* The way of most jobs: false where anything stands in it, and then they take the other one. */
bool rm_shard_push_plain(struct rm_lane *lane, uint32_t number, const struct dgo_job *spec,
                         uint32_t component, uint32_t queued_at)
{
    const uint32_t n = number - 1;
    struct rm_shard *shard = &lane->shard[n];
    uint64_t word = atomic_load_explicit(&shard->word, memory_order_relaxed);
    const uint32_t tail = (uint32_t)(word >> 32);
    struct rm_entry *entries = lane->shard_entry + (size_t)n * (lane->shard_mask + 1);
    struct rm_entry *entry = &entries[tail & lane->shard_mask];

    if ((uint32_t)word - 1 >= RM_SHARD_PLACES || /* none kept, or closed */
        tail - atomic_load_explicit(&shard->seen_head, memory_order_relaxed) > lane->shard_mask)
        return false;
    if (tail % ENTRIES_A_LINE == 0)
        prefetch_ahead(lane, entries, tail);
    *entry = rm_plain_entry(lane, spec, component, queued_at);
    return atomic_compare_exchange_strong(&shard->word, &word, word + RM_SHARD_ONE_MORE - 1);
}

bool rm_shards_have_work(const struct rm_lane *lane)
{
    const uint32_t count = atomic_load_explicit(&used, memory_order_relaxed);

    if (!lane->shard_entry)
        return false;
    for (uint32_t n = 0; n < count; n++)
        if ((uint32_t)(atomic_load(&lane->shard[n].word) >> 32) !=
            atomic_load_explicit(&lane->shard_head[n], memory_order_relaxed))
            return true;
    return false;
}

uint32_t rm_shards_queued(const struct rm_lane *lane)
{
    const uint32_t count = atomic_load_explicit(&used, memory_order_relaxed);
    uint32_t sum = 0;

    for (uint32_t n = 0; n < count && lane->shard_entry; n++)
        sum += (uint32_t)(atomic_load_explicit(&lane->shard[n].word, memory_order_relaxed) >> 32) -
               atomic_load_explicit(&lane->shard_head[n], memory_order_relaxed);
    return sum <= (lane->shard_mask + 1) * RM_SHARDS ? sum : 0; /* moved on between two loads */
}

/* ---- with the lane's lock held ---- */

/* So that only as much of it is ever touched as waited at once.  Its owner's next push fails then,
 * and is made again where it begins. */
static void rewind_if_empty(struct rm_lane *lane, uint32_t n, uint32_t tail)
{
    uint64_t word = atomic_load_explicit(&lane->shard[n].word, memory_order_relaxed);
    const uint64_t begin = (tail | lane->shard_mask) + UINT32_C(1);

    if ((tail & lane->shard_mask) < RM_SHARD_REWIND || (uint32_t)(word >> 32) != tail ||
        word & RM_SHARD_CLOSED)
        return;
    if (atomic_compare_exchange_strong(&lane->shard[n].word, &word,
                                       (begin & UINT32_MAX) << 32 | (uint32_t)word))
        atomic_store_explicit(&lane->shard_head[n], (uint32_t)begin, memory_order_release);
}

static uint32_t move_one(struct rm_lane *lane, uint32_t n, struct rm_dead *dead)
{
    const uint32_t now_ms = atomic_load_explicit(&rm.coarse_ms, memory_order_relaxed);
    const struct rm_entry *entries = lane->shard_entry + (size_t)n * (lane->shard_mask + 1);
    /* Acquire: what was written before the entries, too. */
    const uint32_t tail =
        (uint32_t)(atomic_load_explicit(&lane->shard[n].word, memory_order_acquire) >> 32);
    uint32_t head = atomic_load_explicit(&lane->shard_head[n], memory_order_relaxed);
    uint32_t moved = 0;

    if (head == tail)
        return 0;
    for (; head != tail; head++) {
        const struct rm_entry *entry = &entries[head & lane->shard_mask];
        struct rm_ring *ring = &lane->ring[entry->level];

        if ((uint32_t)entry->ref & RM_TAG_KEYED) {
            rm_lane_admit_keyed(lane, entry->ref, dead);
            continue;
        }
        if (ring->head == ring->tail)
            ring->served_ms = now_ms;
        *ring_at(lane, ring, ring->tail++) = *entry;
        moved++;
    }
    atomic_store_explicit(&lane->shard_head[n], tail, memory_order_release);
    rewind_if_empty(lane, n, tail);
    return moved;
}

void rm_shards_move(struct rm_lane *lane, struct rm_dead *dead)
{
    const uint32_t count = atomic_load_explicit(&used, memory_order_relaxed);
    uint32_t moved = 0;

    for (uint32_t n = 0; n < count && lane->shard_entry; n++)
        moved += move_one(lane, n, dead);
    if (moved) {
        add_count(lane, moved);
        note_length(lane);
    }
}

void rm_shards_close(struct rm_lane *lane)
{
    for (uint32_t n = 0; n < RM_SHARDS && lane->shard_entry; n++)
        atomic_fetch_or(&lane->shard[n].word, RM_SHARD_CLOSED);
}

/* One entry is skipped: a push that began before the last end must not succeed now.  What it took
 * of the places it gives back as it would have: they are counted on, not counted anew. */
void rm_shards_open(struct rm_lane *lane)
{
    for (uint32_t n = 0; n < RM_SHARDS && lane->shard_entry; n++) {
        const uint32_t tail = (uint32_t)(atomic_load(&lane->shard[n].word) >> 32) + 1;
        uint64_t left;

        atomic_store(&lane->shard_head[n], tail);
        atomic_store(&lane->shard[n].seen_head, tail);
        left = atomic_exchange(&lane->shard[n].word, (uint64_t)tail << 32) & RM_SHARD_PLACES;
        rm_places_leave(lane, (uint32_t)left);
    }
}
