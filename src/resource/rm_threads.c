/* rm_threads.c - threads of lanes come, go, and step in for each other. */
#include "rm_hand.h"

bool rm_lane_spawn(struct rm_lane *lane)
{
    struct rm_worker *worker = NULL;
    uint32_t phase;
    bool made = false;

    if (!dgo_try_lock(&lane->spawn_lock))
        return false; /* somebody is at it; the keeper looks again */
    for (uint32_t i = 0; i < lane->thread_max && i < DGO_WORKER_MAX && !worker; i++)
        if (!atomic_load(&lane->worker[i].alive))
            worker = &lane->worker[i];
    phase = atomic_load(&rm.phase); /* under the lock that rm_lane_join takes after it closed */
    if (worker && (phase == RM_ON || phase == RM_DRAINING)) {
        if (worker->joinable)
            pthread_join(worker->thread, NULL); /* it has ended */
        worker->lane = lane;
        worker->number = (uint32_t)(worker - lane->worker);
        worker->joinable = false;
        atomic_store(&worker->hand, 0); /* `closed` is for who closed it to open */
        atomic_store(&worker->in_job, false);
        rm_worker_unblock(worker); /* the keeper may have found its forerunner blocked, too late */
        atomic_store(&worker->alive, true);
        atomic_fetch_add(&lane->threads, 1);
        atomic_fetch_add(&lane->active, 1);
        made = worker->joinable = rm_sys_thread(&worker->thread, rm_worker_main, worker) == 0;
        if (!made) {
            atomic_fetch_sub(&lane->active, 1);
            atomic_fetch_sub(&lane->threads, 1);
            atomic_store(&worker->alive, false);
        }
    }
    atomic_store(&lane->is_orphan, atomic_load(&lane->threads) == 0);
    dgo_unlock(&lane->spawn_lock);
    return made;
}

void rm_lane_join(struct rm_lane *lane)
{
    dgo_lock(&lane->spawn_lock);
    for (uint32_t i = 0; i < DGO_WORKER_MAX; i++) {
        struct rm_worker *worker = &lane->worker[i];

        if (!worker->joinable)
            continue;
        /* Whoever sleeps is taken out of the idle ones first, as by any waker. */
        if (atomic_fetch_and(&lane->idle_mask, ~(UINT64_C(1) << i)) >> i & 1)
            atomic_fetch_add(&lane->active, 1);
        atomic_store(&worker->park, 1);
        dgo_wake_up(&worker->park, 1);
        pthread_join(worker->thread, NULL);
        worker->joinable = false;
        rm_worker_unblock(worker);
    }
    dgo_unlock(&lane->spawn_lock);
    while (atomic_load(&lane->wakers) > 0) { /* put aside in the middle of a wake */
        const struct timespec moment = {.tv_nsec = 50000};

        nanosleep(&moment, NULL);
    }
}

/* Puts back what the worker took and has not begun. */
void rm_worker_share(struct rm_worker *worker)
{
    uint32_t first, count;
    bool is_given;

    if (!rm_hand_close(worker, &first, &count))
        return;
    is_given = count != 0 && rm_lane_return(worker->lane, worker->batch + first, count);
    rm_hand_open(worker, first, is_given);
    rm_lane_wake(worker->lane);
}

/* The worker is going to wait, or was found waiting: another one takes its place. */
void rm_worker_block(struct rm_worker *worker)
{
    struct rm_lane *lane = worker->lane;

    if (atomic_exchange(&worker->lent, true))
        return;
    atomic_fetch_add(&lane->blocked, 1);
    rm_worker_share(worker);
    if (!rm_lane_has_work_surely(lane))
        return;
    atomic_fetch_add_explicit(&lane->replacements, 1, memory_order_relaxed);
    rm_lane_wake(lane);
}

void rm_worker_unblock(struct rm_worker *worker)
{
    if (atomic_exchange(&worker->lent, false))
        atomic_fetch_sub(&worker->lane->blocked, 1);
}

void dgo_blocking_begin(void)
{
    struct rm_thread *self = rm_thread();

    if (self->worker)
        rm_worker_block(self->worker);
}

void dgo_blocking_end(void)
{
    struct rm_thread *self = rm_thread();

    if (self->worker)
        rm_worker_unblock(self->worker);
}
