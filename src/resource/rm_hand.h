/* rm_hand.h - what a worker has in hand: the batch it took, how far it is, what goes to others.
 *
 * Only the worker writes `hand`: batches so far << 32 | entries << 8 | begun.  It says that it
 * begins an entry by a plain store and looks whether the hand is closed; who shares what is left
 * closes the hand and looks how far the worker is.  Between store and look both need a full
 * barrier.  The worker comes by for every job, the other once in a long while, so that one pays for
 * both: membarrier(2) makes every running thread of the process pass one.  Where the kernel has
 * none, the worker pays.  Each entry is begun by exactly one of the two:
 *  - the other sees the store: the entry is the worker's, those after it go;
 *  - it does not: then the worker sees HAND_CLOSED, waits for the verdict, and keeps what it is
 * told. The wait is for a copy under a lock that is only tried for.  `hand` changes with each
 * entry: that is how the keeper sees whether a worker moves. */
#ifndef RM_HAND_H
#define RM_HAND_H

#include "rm.h"

enum rm_closed {
    HAND_OPEN,
    HAND_CLOSED,  /* somebody looks at it */
    HAND_SETTLED, /* `kept` of the entries are the worker's, the others are gone */
};

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

/* By the worker that found its hand closed: what it is left with. */
static inline uint64_t rm_hand_settle(struct rm_worker *worker, uint64_t hand)
{
    uint32_t closed;

    for (uint32_t spin = 1;
         (closed = atomic_load_explicit(&worker->closed, memory_order_acquire)) == HAND_CLOSED;
         spin++)
        if (spin % 128)
            dgo_pause();
        else
            sched_yield();
    if (closed == HAND_SETTLED) {
        const uint64_t kept = atomic_load_explicit(&worker->kept, memory_order_relaxed);

        hand = (hand & ~UINT64_C(0xff00)) | kept << 8;
        if (rm_hand_begun(hand) > kept)
            hand = (hand & ~UINT64_C(0xff)) | kept;
        atomic_store_explicit(&worker->hand, hand, memory_order_relaxed);
        atomic_store_explicit(&worker->closed, HAND_OPEN, memory_order_release);
    }
    return hand;
}

/* By the worker: begins the next entry, false when nothing is left. */
static inline bool rm_hand_next(struct rm_worker *worker, uint32_t *index)
{
    uint64_t hand = atomic_load_explicit(&worker->hand, memory_order_relaxed);

    *index = rm_hand_begun(hand);
    hand += rm_hand_left(hand) != 0;
    if (__builtin_expect(rm.has_membarrier, 1)) {
        atomic_store_explicit(&worker->hand, hand, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_store(&worker->hand, hand);
    }
    if (__builtin_expect(atomic_load(&worker->closed), HAND_OPEN))
        hand = rm_hand_settle(worker, hand);
    return rm_hand_begun(hand) > *index;
}

/* False: nothing is left, or somebody else is at it.  Else open it again. */
static inline bool rm_hand_close(struct rm_worker *worker, uint32_t *first, uint32_t *count)
{
    uint32_t open = HAND_OPEN;
    uint64_t hand;

    if (rm_hand_left(atomic_load_explicit(&worker->hand, memory_order_relaxed)) == 0 ||
        !atomic_compare_exchange_strong(&worker->closed, &open, HAND_CLOSED))
        return false;
    if (worker != rm_me.worker && rm.has_membarrier && !rm_sys_membarrier()) {
        atomic_store_explicit(&worker->closed, HAND_OPEN, memory_order_release);
        return false;
    }
    hand = atomic_load(&worker->hand);
    *first = rm_hand_begun(hand);
    *count = rm_hand_left(hand);
    return true;
}

/* By who closed it: the rest of the entries from `first` on was given away, or was not. */
static inline void rm_hand_open(struct rm_worker *worker, uint32_t first, bool is_given)
{
    atomic_store_explicit(&worker->kept, first, memory_order_relaxed);
    atomic_store_explicit(&worker->closed, is_given ? HAND_SETTLED : HAND_OPEN,
                          memory_order_release);
}

#endif
