/* dgo_lock.h - a lock of one word (a moment of spinning, then the kernel), and sleeping on a word.
 *
 * Its own, because the queues need a try that costs one instruction, and because a child after
 * fork must be able to reset it.  Locks here are held for tens of nanoseconds, and never by a
 * SCHED_IDLE thread where a thread of another class may want them (docs/decisions/0003). */
#ifndef DGO_LOCK_H
#define DGO_LOCK_H

#include "dgo_base.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

/* Sleeps while *word is `value`, until `until_ns` of dgo_monotonic_ns (UINT64_MAX: for ever).  May
 * return early; false only when the time is over. */
bool dgo_sleep_on(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns);
void dgo_wake_up(_Atomic uint32_t *word, int count);
uint64_t dgo_monotonic_ns(void);

/* The caller may be put aside by the scheduler for long (BACKGROUND lane): it must not hold a lock
 * that threads of other lanes want. */
bool dgo_thread_is_idle_class(void);
/* Whether the caller is a thread of a lane, not a program's own that runs a job inline. */
bool dgo_on_worker(void);

struct dgo_lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody sleeps */
};

static inline void dgo_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Brings a line that is about to be written.  The builtin would only bring it for reading where the
 * compiler builds for any x86-64, and the write would go for it once more. */
static inline void dgo_prefetch_to_write(const void *line)
{
#if defined(__x86_64__)
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

static inline bool dgo_try_lock(struct dgo_lock *lock)
{
    uint32_t free_word = 0;

    return atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&lock->word, &free_word, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void dgo_lock(struct dgo_lock *lock)
{
    for (uint32_t spin = 0; spin < 200; spin++) {
        if (dgo_try_lock(lock))
            return;
        dgo_pause();
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        dgo_sleep_on(&lock->word, 2, UINT64_MAX);
}

static inline void dgo_unlock(struct dgo_lock *lock)
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        dgo_wake_up(&lock->word, 1);
}

/* The same word used the other way, always: given back by a plain store, which costs nothing, so
 * whoever cannot have it spins, then yields, then looks again every 50 us (the holder may be of the
 * idle class, and put aside). */
static inline void dgo_spin_lock(struct dgo_lock *lock)
{
    for (uint32_t spin = 1; !dgo_try_lock(lock); spin++) {
        const struct timespec moment = {0, 50000};

        if (spin % 128)
            dgo_pause();
        else if (spin < 128 * 64)
            sched_yield();
        else
            nanosleep(&moment, NULL);
    }
}

static inline void dgo_spin_unlock(struct dgo_lock *lock)
{
    atomic_store_explicit(&lock->word, 0, memory_order_release);
}

#endif
