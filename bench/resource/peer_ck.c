/* peer_ck.c - Concurrency Kit as a peer: ck_ring for many producers and consumers; who finds it
 * empty sleeps on a futex word that each push changes. */
#include "peers.h"

#include "dgo_lock.h"

#include <ck_ring.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { SIZE = 4096, WORKERS_MAX = 8 };

static ck_ring_t ring;
static ck_ring_buffer_t *buffer;
static pthread_t threads[WORKERS_MAX];
static int thread_count;
static peer_tiny_fn run_tiny;
static _Atomic uint32_t pushed, sleepers;
static _Atomic bool is_over;

static void *work(void *unused)
{
    (void)unused;
    for (;;) {
        const uint32_t seen = atomic_load(&pushed);
        void *item;

        if (ck_ring_dequeue_mpmc(&ring, buffer, &item)) {
            run_tiny();
            continue;
        }
        if (atomic_load(&is_over))
            return NULL;
        atomic_fetch_add(&sleepers, 1);
        dgo_sleep_on(&pushed, seen, UINT64_MAX);
        atomic_fetch_sub(&sleepers, 1);
    }
}

void peer_ck_start(int workers, peer_tiny_fn tiny)
{
    run_tiny = tiny;
    ck_ring_init(&ring, SIZE);
    buffer = calloc(SIZE, sizeof *buffer);
    atomic_store(&is_over, false);
    for (thread_count = 0; thread_count < workers && thread_count < WORKERS_MAX; thread_count++)
        if (pthread_create(&threads[thread_count], NULL, work, NULL) != 0)
            abort();
}

static void wake(void)
{
    atomic_fetch_add(&pushed, 1);
    if (atomic_load(&sleepers))
        dgo_wake_up(&pushed, 1);
}

void peer_ck_push(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while (!ck_ring_enqueue_mpmc(&ring, buffer, &ring))
            sched_yield();
        wake();
    }
}

void peer_ck_stop(void)
{
    atomic_store(&is_over, true);
    atomic_fetch_add(&pushed, 1);
    dgo_wake_up(&pushed, INT32_MAX);
    for (int i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);
    free(buffer);
}
