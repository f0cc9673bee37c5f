/* rm_lock.h - a lock of one word: a moment of spinning, then the kernel.
 *
 * Its own, because the queues need a try that costs one instruction, and because a child after
 * fork must be able to reset it.  Locks here are held for tens of nanoseconds, and never by a
 * SCHED_IDLE thread where a thread of another class may want them (docs/decisions/0003). */
#ifndef RM_LOCK_H
#define RM_LOCK_H

#include "rm_sys.h"

struct rm_lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody sleeps */
};

static inline void rm_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline bool rm_try_lock(struct rm_lock *lock)
{
    uint32_t free_word = 0;

    return atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&lock->word, &free_word, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void rm_lock(struct rm_lock *lock)
{
    for (uint32_t spin = 0; spin < 200; spin++) {
        if (rm_try_lock(lock))
            return;
        rm_pause();
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        rm_sys_wait(&lock->word, 2, UINT64_MAX);
}

static inline void rm_unlock(struct rm_lock *lock)
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        rm_sys_wake(&lock->word, 1);
}

#endif
