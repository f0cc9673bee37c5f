/* rm_hand.h - what a worker has in hand: the batch it took, which of it has begun, what may be
 * shared.
 *
 * `hand` is one word: batches so far << 32 | HAND_CLOSED | taken << 8 | begun.  The worker begins
 * an entry by a compare-and-swap on it, and whoever gives the rest of a batch to others closes it
 * by one, so each entry is begun by exactly one of them.  While it is closed, which lasts for a
 * copy under the lane's lock that nobody waits for, only the worker that would begin the next one
 * waits. The word changes with each entry: that is how the keeper sees whether the worker moves. */
#ifndef RM_HAND_H
#define RM_HAND_H

#include "rm.h"

#define HAND_CLOSED UINT64_C(0x10000)

static inline uint32_t rm_hand_begun(uint64_t hand)
{
    return (uint32_t)hand & 0xff;
}
static inline uint32_t rm_hand_taken(uint64_t hand)
{
    return (uint32_t)hand >> 8 & 0xff;
}
static inline uint32_t rm_hand_left(uint64_t hand)
{
    return rm_hand_taken(hand) - rm_hand_begun(hand);
}

/* By the worker, with nothing left: `count` entries lie in its batch. */
static inline void rm_hand_fill(struct rm_worker *worker, uint32_t count)
{
    const uint64_t batch = atomic_load_explicit(&worker->hand, memory_order_relaxed) >> 32;

    atomic_store_explicit(&worker->hand, (batch + 1) << 32 | count << 8, memory_order_release);
}

/* By the worker: false when nothing is left. */
static inline bool rm_hand_next(struct rm_worker *worker, uint32_t *index)
{
    uint64_t hand = atomic_load_explicit(&worker->hand, memory_order_acquire);

    for (uint32_t spin = 1;; spin++) {
        if (hand & HAND_CLOSED) {
            if (spin % 128)
                dgo_pause();
            else
                sched_yield();
            hand = atomic_load_explicit(&worker->hand, memory_order_acquire);
            continue;
        }
        if (rm_hand_left(hand) == 0)
            return false;
        if (atomic_compare_exchange_weak_explicit(&worker->hand, &hand, hand + 1,
                                                  memory_order_relaxed, memory_order_acquire)) {
            *index = rm_hand_begun(hand);
            return true;
        }
    }
}

/* False: nothing is left, or somebody else has it. */
static inline bool rm_hand_close(struct rm_worker *worker, uint32_t *first, uint32_t *count)
{
    uint64_t hand = atomic_load_explicit(&worker->hand, memory_order_acquire);

    do
        if (hand & HAND_CLOSED || rm_hand_left(hand) == 0)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&worker->hand, &hand, hand | HAND_CLOSED,
                                                  memory_order_acquire, memory_order_acquire));
    *first = rm_hand_begun(hand);
    *count = rm_hand_left(hand);
    return true;
}

static inline void rm_hand_open(struct rm_worker *worker, bool is_empty)
{
    uint64_t hand = atomic_load_explicit(&worker->hand, memory_order_relaxed) & ~HAND_CLOSED;

    if (is_empty)
        hand += rm_hand_left(hand);
    atomic_store_explicit(&worker->hand, hand, memory_order_release);
}

#endif
