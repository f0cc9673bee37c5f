/* rm_wait.c - what the holder of a future may do: wait, look, cancel, forget. */
#include "rm.h"

#include "dgo_units.h"

/* The job was claimed past its queue: the reference there is dead weight until it is swept. */
void rm_note_stale(const struct rm_job *job)
{
    atomic_fetch_add_explicit(&rm.lane[job->lane].stale, 1, memory_order_relaxed);
}

/* Around taking and running jobs in a thread that is no worker: stop waits for it.  Counted before
 * the claim, or stop might return between the two. */
uint32_t rm_outside_begin(void)
{
    atomic_fetch_add(&rm.outside, 1);
    return atomic_load(&rm.fork_epoch);
}

void rm_outside_end(uint32_t epoch)
{
    if (atomic_load(&rm.fork_epoch) != epoch)
        return; /* a child that was forked meanwhile counts anew */
    atomic_fetch_sub(&rm.outside, 1);
    rm_quiet_changed();
}

/* Runs the job in a waiter, unless somebody else has it. */
static bool claim_and_run(struct rm_thread *self, struct rm_job *job, struct dgo_future future)
{
    const uint32_t epoch = rm_outside_begin();
    uint64_t state;
    bool is_claimed;

    is_claimed = rm_job_claim(job, future.generation, &state);
    if (is_claimed) {
        rm_note_stale(job);
        rm_job_run(self, job, future.index);
    }
    rm_outside_end(epoch);
    return is_claimed;
}

void rm_quiet_changed(void)
{
    if (atomic_load(&rm.drainers) == 0)
        return;
    atomic_fetch_add(&rm.quiet, 1);
    dgo_wake_up(&rm.quiet, INT32_MAX);
}

static enum dgo_status not_there(struct dgo_future future, struct dgo_error *err)
{
    if (atomic_load(&rm.phase) == RM_OFF && future.generation != 0)
        return dgo_fail(err, DGO_ESTATE,
                        "the job was not accepted by this resource manager: it was stopped since, "
                        "or belongs to the process before fork");
    return dgo_fail(err, DGO_ENOTFOUND, "the job is unknown: waited for or forgotten before");
}

/* A waiter runs the job it waits for, where it may.  The UI thread gives workers a moment first,
 * and takes the job only then, so that it cannot wait for a lane that waits for it. */
bool rm_may_claim(const struct rm_thread *self, const struct rm_job *job, bool has_waited)
{
    if (job->lane == DGO_LANE_UI)
        return self->is_ui;
    return !self->is_ui || has_waited || !atomic_load(&rm.threaded);
}

/* Whether this thread is in the middle of it: it would wait for itself. */
static bool is_within(const struct rm_thread *self, struct dgo_future future)
{
    for (const struct rm_frame *frame = self->frame; frame; frame = frame->outer)
        if (frame->index == future.index && frame->generation == future.generation)
            return true;
    return false;
}

/* Without threads nobody keeps the time but who waits. */
bool rm_waiter_keeps_time(uint64_t *wake_ns)
{
    uint64_t next_ns;

    if (atomic_load(&rm.threaded) || atomic_load(&rm.phase) != RM_ON)
        return false;
    if (dgo_resource_run_due() > 0)
        return true;
    next_ns = rm_delay_next_ns();
    if (next_ns != UINT64_MAX && rm.clock) /* another clock: look often */
        next_ns = dgo_monotonic_ns() + RM_TICK_MS * DGO_NS_PER_MS;
    *wake_ns = dgo_min_u64(*wake_ns, next_ns);
    return false;
}

static void expire(struct rm_thread *self, struct rm_job *job, uint32_t index, uint32_t generation)
{
    uint64_t state;

    if (!rm_job_claim(job, generation, &state))
        return;
    rm_note_stale(job);
    rm_job_end(self, job, index, (struct dgo_result){DGO_OUTCOME_EXPIRED, DGO_ETIMEOUT});
}

/* Sleeps until the job ends, `until_ns`, or something has to be tried again.  The word is read
 * before the announcement: whoever ends the job afterwards changes it, whatever lives in the slot
 * by then.  A future that somebody else used up meanwhile is nothing to wait for. */
static void sleep_on(struct rm_thread *self, struct rm_job *job, uint32_t generation,
                     uint64_t until_ns)
{
    const uint32_t was = atomic_load(&job->ended);
    uint64_t state = atomic_load(&job->state);

    do {
        if ((state & RM_PHASE) == RM_ENDED || rm_generation(state) != generation ||
            !(state & RM_HELD))
            return;
    } while (!atomic_compare_exchange_weak(&job->state, &state, state | RM_WAITER));
    if (self->worker)
        rm_worker_block(self->worker);
    dgo_sleep_on(&job->ended, was, until_ns);
    if (self->worker)
        rm_worker_unblock(self->worker);
}

/* Uses the future up; false when another thread was first.  Of several waiters only that one reads
 * the result: the slot may be another job's for the rest. */
static bool let_go(struct rm_thread *self, struct rm_job *job, struct dgo_future future,
                   struct dgo_result *ended)
{
    uint64_t state = atomic_load(&job->state), left;

    do {
        if (rm_generation(state) != future.generation || !(state & RM_HELD) || state & RM_TAKEN)
            return false;
        left = ended ? state | RM_TAKEN : state & ~(uint64_t)RM_HELD;
    } while (!atomic_compare_exchange_weak(&job->state, &state, left));
    if (ended) {
        *ended = job->result;
        state = left;
        do
            left = state & ~(uint64_t)(RM_HELD | RM_TAKEN);
        while (!atomic_compare_exchange_weak(&job->state, &state, left));
    }
    if ((left & RM_PHASE) == RM_ENDED && !(left & (RM_LINKED | RM_BUSY)))
        rm_slot_give(self, job, future.index);
    return true;
}

enum dgo_status dgo_wait(struct dgo_future future, uint64_t timeout_ns, struct dgo_result *result,
                         struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    const uint64_t begun_ns = dgo_monotonic_ns();
    const uint64_t until_ns = rm_time_after(begun_ns, timeout_ns);
    const uint64_t patient_ns = begun_ns + RM_PATIENCE_NS;
    struct dgo_result ended;

    if (rm_future_inline(future, &ended)) {
        if (result)
            *result = ended;
        return DGO_OK;
    }
    for (;;) {
        uint64_t state, now_ns, wake_ns = until_ns;
        struct rm_job *job = rm_job_find(future, &state);

        if (!job)
            return not_there(future, err);
        if ((state & RM_PHASE) == RM_ENDED) {
            if (!let_go(self, job, future, &ended))
                return not_there(future, err);
            if (result)
                *result = ended;
            return DGO_OK;
        }
        now_ns = dgo_monotonic_ns();
        if ((state & RM_PHASE) == RM_PENDING && !(state & RM_DELAYED)) {
            if (job->deadline_ns && rm_now_ns() > job->deadline_ns) {
                expire(self, job, future.index, future.generation);
                continue;
            }
            if (rm_may_claim(self, job, now_ns >= patient_ns) && claim_and_run(self, job, future))
                continue;
            if (self->is_ui)
                wake_ns = wake_ns < patient_ns ? wake_ns : patient_ns;
            if (job->deadline_ns && !rm.clock && job->deadline_ns < wake_ns)
                wake_ns = job->deadline_ns + 1;
        }
        if (is_within(self, future))
            return dgo_fail(err, DGO_ESTATE, "a job cannot wait for itself");
        if (now_ns >= until_ns)
            return dgo_fail(err, DGO_ETIMEOUT, "the job has not ended yet");
        if (rm_waiter_keeps_time(&wake_ns))
            continue;
        sleep_on(self, job, future.generation, wake_ns);
    }
}

bool dgo_future_ended(struct dgo_future future)
{
    struct dgo_result inline_result;
    uint64_t state;

    if (rm_future_inline(future, &inline_result))
        return true;
    return rm_job_find(future, &state) && (state & RM_PHASE) == RM_ENDED;
}

void dgo_future_forget(struct dgo_future future)
{
    uint64_t state;
    struct rm_job *job = rm_job_find(future, &state);

    if (job)
        let_go(rm_thread(), job, future, NULL);
}

enum dgo_status dgo_cancel(struct dgo_future future, struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    struct dgo_result inline_result;
    uint64_t state;
    struct rm_job *job;

    if (rm_future_inline(future, &inline_result))
        return dgo_fail(err, DGO_ESTATE, "the job has ended already");
    job = rm_job_find(future, &state);
    if (!job)
        return not_there(future, err);
    if (rm_job_claim(job, future.generation, &state)) {
        rm_note_stale(job);
        rm_job_end(self, job, future.index,
                   (struct dgo_result){DGO_OUTCOME_CANCELLED, DGO_ECANCELLED});
        return DGO_OK;
    }
    state = atomic_load(&job->state);
    do {
        if (rm_generation(state) != future.generation)
            return not_there(future, err);
        if ((state & RM_PHASE) == RM_ENDED)
            return dgo_fail(err, DGO_ESTATE, "the job has ended already");
    } while (!atomic_compare_exchange_weak(&job->state, &state, state | RM_CANCEL));
    return dgo_fail(err, DGO_EBUSY, "the job is running; it was asked to stop");
}

bool dgo_job_should_stop(void)
{
    const struct rm_thread *self = rm_thread();
    const struct rm_job *job = self->job;

    if (atomic_load_explicit(&rm.phase, memory_order_relaxed) == RM_CLOSING)
        return true;
    if (!job)
        return false;
    if (atomic_load_explicit(&job->state, memory_order_relaxed) & RM_CANCEL)
        return true;
    if (job->group && rm_group_cancelled(job))
        return true;
    return job->deadline_ns && rm_now_ns() > job->deadline_ns;
}
