/* rm_worker.c - the threads of the lanes: take a batch, run it, rest, be woken, make room. */
#include "rm_hand.h"

#include "dgo_units.h"

#include <stdio.h>

/* A worker that is faster than who submits would fight with it for the same cache lines, a job or
 * two at a time.  After NAP_AFTER such batches in a row it lets work gather for NAP_NS.  Where a
 * job takes less than NAP_EST_NS, workers also sleep by themselves rather than be woken (doze). */
enum {
    NAP_AFTER = 16,
    NAP_BELOW = 8,
    NAP_NS = 30000,
    NAP_EST_NS = 1000,
    DOZE_NS = 300000,
    DOZE_DOUBLED = 2,
    DOZE_BELOW_NS = 100000,
};

enum { SPIN_NS = 4000, SPIN_WORTH_PERMILLE = 250, WAKE_NEXT_NS = 50000, AHEAD = 12 };

bool rm_lane_has_work(const struct rm_lane *lane)
{
    return atomic_load_explicit(&lane->ring_count, memory_order_relaxed) != 0 ||
           atomic_load(&lane->inbox) >= RM_INBOX_FIRST || rm_shards_have_work(lane);
}

static bool may_run_one_more(const struct rm_lane *lane)
{
    return atomic_load(&lane->active) < atomic_load(&lane->allowed) + atomic_load(&lane->blocked);
}

/* ---- waking ---- */

static void release(struct rm_worker *worker)
{
    atomic_store(&worker->park, 1);
    dgo_wake_up(&worker->park, 1);
}

/* Takes one worker out of the idle ones; whoever clears its bit counts it as active. */
static struct rm_worker *pick_idle(struct rm_lane *lane)
{
    uint64_t mask = atomic_load(&lane->idle_mask);

    while (mask) {
        const uint32_t number = (uint32_t)__builtin_ctzll(mask);
        const uint64_t bit = UINT64_C(1) << number;
        const uint64_t before = atomic_fetch_and(&lane->idle_mask, ~bit);

        if (before & bit) {
            atomic_fetch_add(&lane->active, 1);
            return &lane->worker[number];
        }
        mask = before;
    }
    return NULL;
}

/* With the lock: nobody is in the middle of a push, and what others stored is there.  The holder of
 * BACKGROUND's lock may have been put aside for long; there a wrong yes does no harm. */
bool rm_lane_has_work_surely(struct rm_lane *lane)
{
    bool has_work;

    if (lane->id == DGO_LANE_BACKGROUND) {
        if (!dgo_try_lock(&lane->lock))
            return true;
    } else {
        rm_lane_lock(lane);
    }
    has_work = rm_lane_has_work(lane);
    rm_lane_unlock(lane);
    return has_work;
}

/* Cheap reasons to leave it; the keeper's wake would cost an engine more than ours costs us. */
static bool is_wake_vain(const struct rm_lane *lane)
{
    if (atomic_load(&lane->idle_mask) != 0)
        return !may_run_one_more(lane);
    return !lane->eager && atomic_load(&lane->blocked) <= 0 &&
           !atomic_load_explicit(&lane->is_orphan, memory_order_relaxed);
}

static void wake_nobody_idle(struct rm_lane *lane)
{
    if ((lane->eager || atomic_load(&lane->blocked) > 0) && rm_lane_has_work(lane)) {
        if ((uint32_t)atomic_load(&lane->threads) < lane->thread_max)
            rm_lane_spawn(lane);
        rm_keeper_arm();
    }
    if (lane->id != DGO_LANE_NORMAL && atomic_load_explicit(&lane->is_orphan, memory_order_relaxed))
        rm_lane_wake(&rm.lane[DGO_LANE_NORMAL]);
}

void rm_lane_wake(struct rm_lane *lane)
{
    /* A thread of the idle class may be put aside in the middle of it, with the lane's one wake in
     * hand: the keeper does it. */
    if (rm_me.is_idle_class && (is_wake_vain(lane) || rm_keeper_ask(lane->id)))
        return;
    for (;;) {
        struct rm_worker *worker;

        if (atomic_load(&lane->idle_mask) == 0) {
            wake_nobody_idle(lane);
            return;
        }
        if (!may_run_one_more(lane))
            return;
        if (!lane->eager && (atomic_load(&lane->waking) || atomic_exchange(&lane->waking, 1)))
            return; /* one is on its way; it looks at the queue after it cleared the flag */
        atomic_fetch_add(&lane->wakers, 1); /* stop waits for it: the next life counts anew */
        worker = pick_idle(lane);
        if (worker) {
            atomic_fetch_add_explicit(&lane->wakes, 1, memory_order_relaxed);
            release(worker);
        }
        atomic_fetch_sub(&lane->wakers, 1);
        if (worker)
            return;
        if (lane->eager)
            continue; /* nobody sleeps any more */
        atomic_store(&lane->waking, 0);
        if (!rm_lane_has_work_surely(lane))
            return; /* else: others may have trusted the flag meanwhile */
    }
}

/* ---- resting ---- */

static bool is_spare(const struct rm_worker *worker)
{
    return worker->lane->eager || worker->number >= worker->lane->thread_base;
}

/* What a NORMAL worker looks after besides its lane. */
static bool has_foreign_work(const struct rm_lane *lane)
{
    if (lane->id != DGO_LANE_NORMAL)
        return false;
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_UI; id++)
        if (atomic_load_explicit(&rm.lane[id].is_orphan, memory_order_relaxed) &&
            rm_lane_has_work(&rm.lane[id]))
            return true;
    return false;
}

/* Looks for a moment before it sleeps, where looking has paid of late. */
static bool spin(struct rm_worker *worker)
{
    struct rm_lane *lane = worker->lane;
    uint64_t until_ns;
    bool won = false;

    if (lane->id == DGO_LANE_BACKGROUND || lane->eager || !rm_size_may_spin())
        return false;
    if (worker->spin_won_permille < SPIN_WORTH_PERMILLE && ++worker->batches % 32 != 0)
        return false;
    until_ns = dgo_monotonic_ns() + SPIN_NS;
    do
        for (uint32_t i = 0; i < 16 && !won; i++) {
            dgo_pause();
            won = rm_lane_has_work(lane);
        }
    while (!won && dgo_monotonic_ns() < until_ns);
    worker->spin_won_permille += (won ? 1000u - worker->spin_won_permille : 0u) / 8;
    if (!won)
        worker->spin_won_permille -= worker->spin_won_permille / 8;
    return won;
}

/* The work that was missed between the last look and the announcement.  With the lock: a push
 * before it is seen here, a push after it sees the announcement. */
static bool look_again(struct rm_worker *worker, bool *is_closed)
{
    struct rm_lane *lane = worker->lane;
    bool has_work;

    rm_lane_lock(lane);
    *is_closed = lane->closed;
    has_work = rm_lane_has_work(lane);
    rm_lane_unlock(lane);
    return (has_work || has_foreign_work(lane)) && may_run_one_more(lane);
}

/* Back from the idle ones, by itself or because somebody is waking it right now. */
static void stand_up(struct rm_worker *worker, uint64_t bit)
{
    struct rm_lane *lane = worker->lane;

    if (atomic_fetch_and(&lane->idle_mask, ~bit) & bit) {
        atomic_fetch_add(&lane->active, 1);
        return;
    }
    while (atomic_load(&worker->park) == 0)
        dgo_sleep_on(&worker->park, 0, UINT64_MAX);
    atomic_store(&lane->waking, 0);
}

/* A spare worker that has slept long enough goes, unless it is needed just now. */
static bool leave(struct rm_worker *worker, uint64_t bit)
{
    struct rm_lane *lane = worker->lane;

    if (!(atomic_fetch_and(&lane->idle_mask, ~bit) & bit)) {
        while (atomic_load(&worker->park) == 0)
            dgo_sleep_on(&worker->park, 0, UINT64_MAX);
        atomic_store(&lane->waking, 0);
        return false;
    }
    if (!rm_lane_has_work(lane))
        return true;
    atomic_fetch_add(&lane->active, 1);
    return false;
}

static void sleep_ns(struct rm_worker *worker, uint64_t ns)
{
    atomic_store(&worker->park, 0); /* only the end of the manager wakes it sooner */
    if (atomic_load(&rm.phase) != RM_CLOSING)
        dgo_sleep_on(&worker->park, 0, dgo_monotonic_ns() + ns);
}

/* Where jobs are tiny, a wake costs who submits as much as hundreds of them.  A worker beside one
 * that is awake, and one that was woken as soon as it slept, sleeps for a moment by itself instead
 * of being woken.  True: look for work again. */
static bool doze(struct rm_worker *worker)
{
    struct rm_lane *lane = worker->lane;
    bool is_one_awake, has_work;
    uint64_t taken;

    if (lane->id != DGO_LANE_NORMAL ||
        atomic_load_explicit(&lane->est_ns, memory_order_relaxed) > NAP_EST_NS)
        return false;
    taken = atomic_load_explicit(&lane->taken, memory_order_relaxed);
    is_one_awake = atomic_fetch_add(&lane->dozing, 1) + 1 < atomic_load(&lane->active) &&
                   taken != worker->seen_taken; /* not where that one is stuck in a job */
    worker->seen_taken = taken;
    rm_quiet_changed();
    if (is_one_awake)
        sleep_ns(worker, (uint64_t)DOZE_NS
                             << (worker->dozes < DOZE_DOUBLED ? worker->dozes : DOZE_DOUBLED));
    else if (worker->slept_ns < DOZE_BELOW_NS)
        sleep_ns(worker, NAP_NS);
    atomic_fetch_sub(&lane->dozing, 1);
    has_work = rm_lane_has_work(lane);
    worker->dozes = has_work ? 0 : worker->dozes + 1;
    worker->slept_ns = UINT64_MAX; /* no second time in a row */
    return is_one_awake || has_work;
}

/* Sleeps until there is work.  False: the thread ends, and is not counted as active any more. */
static bool rest(struct rm_worker *worker)
{
    struct rm_lane *lane = worker->lane;
    const uint64_t bit = UINT64_C(1) << worker->number;
    bool is_closed;

    rm_worker_unblock(worker);
    if (spin(worker) || doze(worker))
        return true;
    worker->small_batches = worker->dozes = 0;
    atomic_store(&worker->park, 0);
    atomic_fetch_or(&lane->idle_mask, bit);
    atomic_fetch_sub(&lane->active, 1);
    rm_quiet_changed();
    if (look_again(worker, &is_closed) || is_closed) {
        stand_up(worker, bit);
        if (!is_closed)
            return true;
        atomic_fetch_sub(&lane->active, 1);
        return false;
    }
    worker->slept_ns = dgo_monotonic_ns();
    while (atomic_load(&worker->park) == 0) {
        const uint64_t until_ns =
            is_spare(worker) ? dgo_monotonic_ns() + RM_IDLE_S * DGO_NS_PER_S : UINT64_MAX;

        if (!dgo_sleep_on(&worker->park, 0, until_ns)) {
            if (leave(worker, bit))
                return false;
            return true;
        }
    }
    atomic_store(&lane->waking, 0);
    worker->slept_ns = dgo_monotonic_ns() - worker->slept_ns;
    return true;
}

/* ---- working ---- */

static uint32_t batch_size(const struct rm_lane *lane)
{
    const uint32_t est_ns = atomic_load_explicit(&lane->est_ns, memory_order_relaxed);

    if (lane->eager || est_ns >= RM_BATCH_NS)
        return 1;
    return est_ns * RM_BATCH_MAX <= RM_BATCH_NS ? RM_BATCH_MAX : RM_BATCH_NS / est_ns;
}

static void learn(struct rm_lane *lane, uint64_t took_ns, uint32_t count)
{
    const uint32_t before = atomic_load_explicit(&lane->est_ns, memory_order_relaxed);
    const uint64_t each = took_ns / count;
    const uint32_t now = each > UINT32_MAX / 8 ? UINT32_MAX / 8 : (uint32_t)each;

    /* Upwards faster: a long job must not have others behind it in the same batch. */
    atomic_store_explicit(
        &lane->est_ns, now > before ? before + (now - before + 1) / 2 : before - (before - now) / 4,
        memory_order_relaxed);
}

static void prefetch(const struct rm_entry *entry)
{
    if (!((uint32_t)entry->ref & (RM_TAG_STRAND | RM_TAG_PLAIN)))
        dgo_prefetch_to_write(rm_job_at((uint32_t)entry->ref & RM_INDEX_MASK));
}

/* EXPRESS jobs do not wait for the end of a NORMAL worker's batch. */
static void help_express(struct rm_thread *self)
{
    struct rm_lane *express = &rm.lane[DGO_LANE_EXPRESS];
    struct rm_entry entry;

    while (atomic_load_explicit(&express->ring_count, memory_order_relaxed) != 0 &&
           rm_lane_take(express, &entry, 1) == 1)
        rm_run_entry(self, &entry);
}

static void run_batch(struct rm_worker *worker, struct rm_thread *self, uint32_t count)
{
    const bool is_normal = worker->lane->id == DGO_LANE_NORMAL;
    uint32_t i;

    rm_hand_fill(worker, count);
    for (i = 0; i < count && i < AHEAD; i++)
        prefetch(&worker->batch[i]);
    atomic_store_explicit(&worker->in_job, true, memory_order_relaxed);
    while (rm_hand_next(worker, &i)) {
        const struct rm_entry *entry = &worker->batch[i];

        if (i + AHEAD < count)
            prefetch(&worker->batch[i + AHEAD]);
        if (atomic_load_explicit(&rm.phase, memory_order_relaxed) == RM_CLOSING)
            rm_cancel_ref(self, entry->ref);
        else
            rm_run_entry(self, entry);
        if (atomic_load_explicit(&worker->lent, memory_order_relaxed))
            rm_worker_unblock(worker);
        if (is_normal)
            help_express(self);
    }
    atomic_store_explicit(&worker->in_job, false, memory_order_relaxed);
}

static uint32_t gather(struct rm_worker *worker, struct rm_lane *lane)
{
    if (!rm_lane_has_work(lane))
        return 0;
    return rm_lane_take(lane, worker->batch, lane == worker->lane ? batch_size(lane) : 1);
}

static void nap_if_too_fast(struct rm_worker *worker, uint32_t count)
{

    struct rm_lane *lane = worker->lane;

    if (lane->id != DGO_LANE_NORMAL || count >= NAP_BELOW ||
        atomic_load_explicit(&lane->est_ns, memory_order_relaxed) > NAP_EST_NS) {
        worker->small_batches = 0;
        return;
    }
    if (++worker->small_batches < NAP_AFTER)
        return;
    worker->small_batches = 0;
    sleep_ns(worker, NAP_NS);
}

/* One round: false when there was nothing to do. */
static bool work(struct rm_worker *worker, struct rm_thread *self)
{
    struct rm_lane *lane = worker->lane;
    const bool is_background = lane->id == DGO_LANE_BACKGROUND;
    uint32_t count = gather(worker, lane);
    uint32_t left;
    uint64_t begun_ns = 0, used_ns = 0;
    bool is_limited;

    if (count == 0 && has_foreign_work(lane))
        for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_UI && count == 0; id++)
            if (atomic_load_explicit(&rm.lane[id].is_orphan, memory_order_relaxed))
                count = gather(worker, &rm.lane[id]);
    if (count == 0)
        return false;
    left = atomic_load_explicit(&lane->ring_count, memory_order_relaxed);
    if (left &&
        (lane->eager || is_background ||
         (uint64_t)left * atomic_load_explicit(&lane->est_ns, memory_order_relaxed) > WAKE_NEXT_NS))
        rm_lane_wake(lane);
    if (is_background || ++worker->batches % 8 == 0 || count < RM_BATCH_MAX / 2)
        begun_ns = dgo_monotonic_ns();
    is_limited = rm_share_is_limited(lane->id);
    if (is_limited)
        used_ns = rm_sys_thread_cpu_ns();
    run_batch(worker, self, count);
    if (begun_ns)
        learn(lane, dgo_monotonic_ns() - begun_ns, count);
    if (is_limited)
        rm_share_pay(worker, rm_sys_thread_cpu_ns() - used_ns);
    nap_if_too_fast(worker, count);
    return true;
}

static void set_out(struct rm_worker *worker, struct rm_thread *self)
{
    char name[16];
    struct rm_lane *lane = worker->lane;
    const char *policy = "SCHED_OTHER";

    snprintf(name, sizeof name, "dgo-%.6s-%u", dgo_lane_name(lane->id), worker->number);
    rm_sys_thread_name(name);
    rm_sys_precise_timers();
    atomic_store(&worker->thread_id, rm_sys_thread_id());
    self->worker = worker;
    if (lane->id == DGO_LANE_EXPRESS)
        policy = rm_sys_be_express();
    if (lane->id == DGO_LANE_BACKGROUND) {
        policy = rm_sys_be_idle();
        self->is_idle_class = true;
    }
    atomic_store(&lane->policy, policy);
}

void *rm_worker_main(void *data)
{
    struct rm_worker *worker = data;
    struct rm_thread *self = rm_thread();
    struct rm_lane *lane = worker->lane;

    set_out(worker, self);
    while (self->worker == worker) { /* else a child, forked in a job: its only thread ends */
        if (atomic_load(&lane->active) >
                atomic_load(&lane->allowed) + atomic_load(&lane->blocked) &&
            !rest(worker))
            break;
        rm_keeper_arm();
        if (!work(worker, self) && !rest(worker))
            break;
    }
    if (self->worker != worker)
        return NULL;
    self->worker = NULL;
    atomic_fetch_sub(&lane->threads, 1);
    atomic_store(&worker->alive, false);
    return NULL;
}

/* ---- without threads ---- */

void rm_run_here(struct rm_thread *self)
{
    static const enum dgo_lane order[] = {DGO_LANE_EXPRESS, DGO_LANE_NORMAL, DGO_LANE_BACKGROUND,
                                          DGO_LANE_BLOCKING};
    uint32_t epoch;

    if (self->is_draining)
        return; /* the outer call goes on with it: jobs run one after the other */
    self->is_draining = true;
    epoch = rm_outside_begin();
    for (uint32_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct rm_entry entry;

        if (atomic_load(&rm.phase) == RM_OFF) /* in a child that was forked in a job */
            break;
        if (!rm_lane_has_work(&rm.lane[order[i]]) ||
            rm_lane_take(&rm.lane[order[i]], &entry, 1) == 0)
            continue;
        rm_run_entry(self, &entry);
        i = UINT32_MAX; /* again from the first lane */
    }
    rm_outside_end(epoch);
    self->is_draining = false;
}
