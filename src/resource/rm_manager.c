/* rm_manager.c - the one manager: start, stop, fork, and being there all the time. */
#include "rm_hand.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rm rm;

static struct dgo_resource inline_one = {.is_inline = true,
                                         .why = "not started: every job runs in its caller"};
static struct dgo_resource started_one;
static struct dgo_resource *_Atomic current = &inline_one;

const struct dgo_resource *dgo_resource_get(void)
{
    return atomic_load_explicit(&current, memory_order_acquire);
}

/* ---- fork ---- */

/* What waits in the lane, and what its threads did, is the parent's. */
static void forget_lane(struct rm_lane *lane)
{
    atomic_store(&lane->lock.word, 0);
    atomic_store(&lane->spawn_lock.word, 0);
    atomic_store(&lane->ring_count, 0);
    atomic_store(&lane->wakers, 0);
    for (uint32_t i = 0; i < DGO_WORKER_MAX; i++) {
        struct rm_worker *worker = &lane->worker[i];

        worker->joinable = false;
        atomic_store(&worker->hand, 0); /* a job that forked and returns begins no other one */
        atomic_store(&worker->closed, HAND_OPEN);
        atomic_store(&worker->lent, false);
        atomic_store(&worker->alive, false);
    }
}

/* The child has one thread.  Whatever the others held or ran is void; the manager is inline until
 * it is started again. */
void rm_after_fork(void)
{
    static struct dgo_resource child = {
        .is_inline = true, .why = "after fork: every job runs in its caller until it is started"};
    struct rm_thread *self = rm_thread();

    atomic_store(&rm.phase, RM_OFF);
    atomic_store(&rm.threaded, false);
    atomic_fetch_add(&rm.fork_epoch, 1);
    self->epoch = atomic_load(&rm.fork_epoch);
    self->magazine_count = 0;
    self->worker = NULL;
    self->is_idle_class = false;
    self->is_ui = false;
    self->job = NULL;
    self->frame = NULL;
    for (uint32_t id = 0; id < DGO_LANE_COUNT; id++)
        forget_lane(&rm.lane[id]);
    atomic_store(&rm.start_lock.word, 0);
    atomic_store(&rm.outside, 0);
    atomic_store(&rm.drainers, 0);
    atomic_store(&rm.ui_fd, 0); /* shared with the parent: not ours any more */
    rm_slots_forget();
    rm_shards_forget(self);
    rm_groups_forget();
    rm_strands_forget();
    rm_delay_forget();
    rm_keeper_forget();
    rm_components_forget();
    rm_policy_forget();
    rm_size_forget();
    child.generation = rm.generation;
    atomic_store(&current, &child);
}

/* ---- start ---- */

static const char *read_env(const struct dgo_resource_config *config, const char *name)
{
    return config->getenv ? config->getenv(name, config->getenv_data) : getenv(name);
}

static enum dgo_status read_workers(struct dgo_resource_config *config, struct dgo_error *err)
{
    const char *text = read_env(config, "DUALGPUOPT_CPU_WORKERS");
    uint64_t workers;

    if (config->workers == 0 && text && *text) {
        const enum dgo_status status =
            dgo_u64_parse(text, "DUALGPUOPT_CPU_WORKERS", 0, DGO_WORKER_MAX, &workers, err);

        if (status != DGO_OK)
            return status;
        config->workers = (uint32_t)workers;
    }
    return DGO_OK;
}

static enum dgo_status check_config(const struct dgo_resource_config *config, struct dgo_error *err)
{
    const bool has_threads = config->workers != DGO_WORKERS_NONE;

    if ((has_threads && config->workers > DGO_WORKER_MAX) ||
        config->background_workers > DGO_WORKER_MAX || config->express_workers > DGO_WORKER_MAX)
        return dgo_fail(err, DGO_EINVAL, "at most %d workers a lane", DGO_WORKER_MAX);
    if (config->blocking_max > DGO_BLOCKING_MAX)
        return dgo_fail(err, DGO_EINVAL, "at most %d threads for blocking jobs", DGO_BLOCKING_MAX);
    if (config->queue_limit > DGO_QUEUE_LIMIT_MAX)
        return dgo_fail(err, DGO_EINVAL, "at most %d jobs may wait in a lane", DGO_QUEUE_LIMIT_MAX);
    if (config->root && strlen(config->root) >= sizeof rm.root)
        return dgo_fail(err, DGO_EINVAL, "the root folder's name is too long");
    return DGO_OK;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How many threads each lane begins with, and may have.  They were 0 before, so nobody counts. */
static void size_lane(enum dgo_lane id, uint32_t base, uint32_t most)
{
    struct rm_lane *lane = &rm.lane[id];

    if (lane->id != id ||
        lane->eager != (id == DGO_LANE_BLOCKING)) { /* the first time: late callers look */
        lane->id = id;
        lane->eager = id == DGO_LANE_BLOCKING;
    }
    atomic_store(&lane->idle_mask, 0);
    atomic_store(&lane->waking, 0);
    atomic_store(&lane->active, 0);
    atomic_store(&lane->dozing, 0);
    atomic_store(&lane->blocked, 0);
    atomic_store(&lane->threads, 0);
    atomic_store(&lane->wakes, 0);
    atomic_store(&lane->replacements, 0);
    atomic_store(&lane->is_orphan, false);
    atomic_store(&lane->est_ns, RM_BATCH_NS);
    atomic_store(&lane->policy, NULL);
    lane->thread_base = base;
    lane->thread_max = least(most, DGO_WORKER_MAX); /* last: from now on pushes make threads */
}

static uint32_t spawn_all(enum dgo_lane id, uint32_t count)
{
    uint32_t made = 0;

    for (uint32_t i = 0; i < count; i++)
        made += rm_lane_spawn(&rm.lane[id]);
    if (made < count)
        rm_size_note(id, count, made, "the system refused a thread: %" PRIu32 " of %" PRIu32, made,
                     count);
    return made;
}

/* Threads for all lanes.  False: not even one for NORMAL. */
static bool start_threads(const struct dgo_resource_config *config)
{
    struct dgo_budget_facts facts;
    const uint32_t blocking = config->blocking_max ? config->blocking_max : DGO_BLOCKING_MAX;
    uint32_t express;

    rm.has_membarrier = rm_sys_membarrier_register();
    rm_size_start(config->workers, config->background_workers);
    dgo_resource_budget(&facts);
    express = config->express_workers ? config->express_workers : facts.cpus > 8 ? 2 : 1;
    size_lane(DGO_LANE_EXPRESS, express, express + 3);
    size_lane(DGO_LANE_NORMAL, facts.budget, 2 * facts.budget + 2);
    size_lane(DGO_LANE_BACKGROUND, facts.background, 2 * facts.background);
    size_lane(DGO_LANE_BLOCKING, 0, blocking);
    atomic_store(&rm.lane[DGO_LANE_EXPRESS].allowed, (int32_t)express);
    atomic_store(&rm.lane[DGO_LANE_BLOCKING].allowed, (int32_t)blocking);
    atomic_store(&rm.threaded, true);
    if (!rm_keeper_start())
        rm_size_note(DGO_LANE_NORMAL, 0, 0,
                     "the system refused the keeper's thread: delays and blocked workers are not "
                     "looked after");
    if (spawn_all(DGO_LANE_NORMAL, facts.budget) == 0)
        return false;
    spawn_all(DGO_LANE_EXPRESS, express);
    spawn_all(DGO_LANE_BACKGROUND, facts.background);
    rm_lane_wake(&rm.lane[DGO_LANE_BLOCKING]); /* a push so far could not make its thread */
    return true;
}

static void join_threads(void)
{
    rm_keeper_stop();
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_UI; id++)
        rm_lane_join(&rm.lane[id]);
}

static void close_lanes(void)
{
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_COUNT; id++)
        rm_lane_close(&rm.lane[id]);
}

static void cancel_waiting(struct rm_thread *self)
{
    struct rm_entry entry;

    rm_delay_close(self);
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_COUNT; id++)
        while (rm_lane_take(&rm.lane[id], &entry, 1) == 1)
            rm_cancel_ref(self, entry.ref);
}

static enum dgo_status open_lanes(uint32_t limit, struct dgo_error *err)
{
    /* One slot for each place in a queue, and what is running or ended and not yet waited for. */
    if (!rm_slots_reserve(limit * (DGO_LANE_COUNT - 1) + RM_RING_SLACK))
        return dgo_fail(err, DGO_ENOMEM, "no memory for jobs; they run in their callers");
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_COUNT; id++) {
        size_lane((enum dgo_lane)id, 0, 0);
        if (!rm_lane_open(&rm.lane[id], (enum dgo_lane)id, limit))
            return dgo_fail(err, DGO_ENOMEM, "no memory for queues; jobs run in their callers");
    }
    return DGO_OK;
}

static enum dgo_status start_locked(struct dgo_resource_config *config, struct dgo_error *err)
{
    const uint32_t limit = config->queue_limit ? config->queue_limit : DGO_QUEUE_LIMIT_DEFAULT;
    bool has_threads = false;
    enum dgo_status status;

    rm.clock = config->clock;
    dgo_text_copy(rm.root, sizeof rm.root, config->root ? config->root : "");
    rm.generation++;
    status = rm_component_read_env(config, err);
    if (status != DGO_OK)
        return status;
    status = open_lanes(limit, err);
    if (status != DGO_OK) {
        close_lanes(); /* a push that began before the last stop finds none of them open */
        cancel_waiting(rm_thread());
        return status;
    }
    rm_policy_refresh();
    rm_delay_open();
    atomic_store(&rm.stop_requested, false);
    atomic_store(&rm.coarse_ms, (uint32_t)(dgo_monotonic_ns() / DGO_NS_PER_MS));
    atomic_store(&rm.phase, RM_ON);
    if (config->workers != DGO_WORKERS_NONE) {
        has_threads = start_threads(config);
        if (!has_threads) {
            atomic_store(&rm.threaded, false);
            rm_keeper_stop();
        }
    }
    started_one.is_started = true;
    started_one.is_inline = !has_threads;
    started_one.generation = rm.generation;
    started_one.why = has_threads                           ? "started with threads"
                      : config->workers == DGO_WORKERS_NONE ? "started without threads, as asked"
                                                            : "the system refused every thread";
    atomic_store(&current, &started_one);
    return DGO_OK;
}

enum dgo_status dgo_resource_start(const struct dgo_resource_config *given, struct dgo_error *err)
{
    struct dgo_resource_config config = given ? *given : (struct dgo_resource_config){0};
    enum dgo_status status = read_workers(&config, err);

    if (status == DGO_OK)
        status = check_config(&config, err);
    if (status != DGO_OK)
        return status;
    rm_thread();
    dgo_lock(&rm.start_lock);
    if (atomic_load(&rm.phase) != RM_OFF)
        status = dgo_fail(err, DGO_ESTATE, "the resource manager is started already");
    else
        status = start_locked(&config, err);
    dgo_unlock(&rm.start_lock);
    return status;
}

/* ---- drain ---- */

static bool is_quiet(bool with_ui)
{
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_COUNT; id++) {
        if (id == DGO_LANE_UI && !with_ui)
            continue;
        if (rm_lane_has_work(&rm.lane[id]) || rm_lane_busy(&rm.lane[id]) > 0)
            return false;
    }
    return atomic_load(&rm.outside) == 0;
}

/* Work moves between lanes, so quiet must be seen twice with nothing taken in between. */
static bool is_surely_quiet(bool with_ui)
{
    uint64_t taken[2] = {0, 0};

    for (uint32_t look = 0; look < 2; look++) {
        if (!is_quiet(with_ui))
            return false;
        for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_COUNT; id++)
            taken[look] += atomic_load(&rm.lane[id].taken);
    }
    return taken[0] == taken[1];
}

enum dgo_status dgo_resource_drain(uint64_t timeout_ns, struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    const uint64_t until_ns = rm_time_after(dgo_monotonic_ns(), timeout_ns);
    enum dgo_status status = DGO_OK;

    if (atomic_load(&rm.phase) == RM_OFF)
        return DGO_OK;
    if (self->depth > 0)
        return dgo_fail(err, DGO_ESTATE, "a job cannot wait for all jobs to end");
    atomic_fetch_add(&rm.drainers, 1);
    for (;;) {
        const uint32_t seen = atomic_load(&rm.quiet);
        uint64_t now_ns;

        if (!atomic_load(&rm.threaded))
            rm_run_here(self);
        if (self->is_ui)
            dgo_resource_ui_drain(DGO_NS_PER_MS, NULL, NULL);
        if (is_surely_quiet(self->is_ui))
            break;
        now_ns = dgo_monotonic_ns();
        if (now_ns >= until_ns) {
            status = dgo_fail(err, DGO_ETIMEOUT, "jobs are still on their way");
            break;
        }
        dgo_sleep_on(&rm.quiet, seen,
                     dgo_min_u64(until_ns, now_ns + (self->is_ui ? 1 : 10) * DGO_NS_PER_MS));
    }
    atomic_fetch_sub(&rm.drainers, 1);
    return status;
}

uint32_t dgo_resource_run_due(void)
{
    if (atomic_load(&rm.phase) != RM_ON || atomic_load(&rm.threaded))
        return 0;
    return rm_delay_run(rm_thread(), rm_now_ns());
}

/* ---- stop ---- */

/* Waiters that run the job they wait for, callers without threads, a UI thread that drains.  What
 * they hand to the UI lane meanwhile is seen to here. */
static void wait_for_outsiders(struct rm_thread *self)
{
    atomic_fetch_add(&rm.drainers, 1);
    while (atomic_load(&rm.outside) > 0) {
        const uint32_t seen = atomic_load(&rm.quiet);

        cancel_waiting(self);
        if (atomic_load(&rm.outside) > 0)
            dgo_sleep_on(&rm.quiet, seen, dgo_monotonic_ns() + 10 * DGO_NS_PER_MS);
    }
    atomic_fetch_sub(&rm.drainers, 1);
}

enum dgo_status dgo_resource_stop(uint64_t drain_ns, struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    uint32_t on = RM_ON;

    if (self->depth > 0)
        return dgo_fail(err, DGO_ESTATE, "a job cannot stop the resource manager that runs it");
    if (!atomic_compare_exchange_strong(&rm.phase, &on, RM_DRAINING))
        return dgo_fail(err, DGO_ESTATE, "the resource manager is not started");
    if (drain_ns)
        dgo_resource_drain(drain_ns, NULL); /* what it leaves is cancelled */
    dgo_lock(&rm.start_lock);
    atomic_store(&rm.phase, RM_CLOSING);
    close_lanes();
    cancel_waiting(self);
    join_threads();
    cancel_waiting(self); /* what workers handed over last */
    do {
        wait_for_outsiders(self);
        cancel_waiting(self);
    } while (!rm_lane_seal(&rm.lane[DGO_LANE_UI]));
    atomic_store(&rm.threaded, false);
    atomic_store(&rm.phase, RM_OFF);
    wait_for_outsiders(self); /* who began before it saw that; from now on they run on their own */
    inline_one.generation = rm.generation;
    inline_one.why = "stopped: every job runs in its caller";
    atomic_store(&current, &inline_one);
    dgo_unlock(&rm.start_lock);
    return DGO_OK;
}
