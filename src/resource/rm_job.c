/* rm_job.c - the life of a job: claimed once, run, ended once, its slot free when nobody needs it.
 */
#include "rm.h"

#include "dgo_units.h"

/* The one gate to running, cancelling or expiring a job. */
bool rm_job_claim(struct rm_job *job, uint32_t generation, uint64_t *state)
{
    uint64_t seen = atomic_load_explicit(&job->state, memory_order_acquire);

    do {
        if (rm_generation(seen) != generation || (seen & RM_PHASE) != RM_PENDING)
            return false;
        *state = (seen & ~(uint64_t)(RM_PHASE | RM_DELAYED)) | RM_RUNNING;
    } while (!atomic_compare_exchange_weak_explicit(&job->state, &seen, *state,
                                                    memory_order_acq_rel, memory_order_acquire));
    return true;
}

/* Clears one reason to keep the slot; whoever clears the last one of an ended job frees it. */
void rm_job_release(struct rm_thread *self, struct rm_job *job, uint32_t index, uint32_t flag)
{
    const uint64_t left =
        atomic_fetch_and_explicit(&job->state, ~(uint64_t)flag, memory_order_acq_rel) &
        ~(uint64_t)flag;

    if ((left & RM_PHASE) == RM_ENDED && !(left & (RM_HELD | RM_LINKED | RM_BUSY)))
        rm_slot_give(self, job, index);
}

static enum rm_counter counter_of(enum dgo_outcome outcome)
{
    static const enum rm_counter counters[] = {
        [DGO_OUTCOME_DONE] = RM_DONE,
        [DGO_OUTCOME_FAILED] = RM_FAILED,
        [DGO_OUTCOME_CANCELLED] = RM_CANCELLED,
        [DGO_OUTCOME_EXPIRED] = RM_EXPIRED,
    };

    return counters[outcome];
}

/* Hands the callback to its lane; false when that lane takes nothing any more. */
static bool post_done(struct rm_thread *self, struct rm_job *job, uint32_t index)
{
    struct rm_lane *lane = &rm.lane[job->done_lane];
    const enum dgo_lane lane_id = (enum dgo_lane)job->done_lane;
    struct rm_dead dead = {0};
    enum rm_push pushed;
    const uint32_t generation =
        rm_generation(atomic_fetch_or_explicit(&job->state, RM_POST, memory_order_acq_rel));

    pushed = rm_lane_push(lane, self, rm_ref(generation, index | RM_TAG_DONE), DGO_LEVEL_MIDDLE,
                          RM_PLACE_HAS, &dead);
    rm_end_dead(self, &dead);
    if (pushed != RM_PUSHED && !rm_lane_push_late(lane, rm_ref(generation, index | RM_TAG_DONE))) {
        atomic_fetch_and_explicit(&job->state, ~(uint64_t)RM_POST, memory_order_acq_rel);
        return false;
    }
    if (lane_id == DGO_LANE_UI)
        rm_ui_signal();
    else
        rm_lane_wake(lane);
    return true;
}

/* The claimed job has its result.  Nobody but its claimer gets here, so it happens once. */
void rm_job_end(struct rm_thread *self, struct rm_job *job, uint32_t index,
                struct dgo_result result)
{
    const dgo_done_fn done = job->done;
    void *const arg = job->arg;
    uint64_t state = atomic_load_explicit(&job->state, memory_order_relaxed);

    rm_count(self, job->component, counter_of(result.outcome));
    if (!(state & (RM_HELD | RM_LINKED | RM_WAITER)) && !done && !job->group) {
        rm_slot_give(self, job, index); /* nobody else knows it: no ceremony */
        return;
    }
    job->result = result;
    while (!atomic_compare_exchange_weak_explicit(
        &job->state, &state, (state & ~(uint64_t)RM_PHASE) | RM_ENDED | RM_BUSY,
        memory_order_acq_rel, memory_order_relaxed))
        ;
    atomic_store_explicit(&job->ended, rm_generation(state), memory_order_release);
    if (state & RM_WAITER)
        dgo_wake_up(&job->ended, INT32_MAX);
    if (job->group)
        rm_group_leave(index, job);
    if (done) {
        if (job->done_lane != DGO_LANE_OWN && post_done(self, job, index))
            return; /* the slot goes with the callback */
        const uint32_t epoch = self->epoch;

        self->depth++;
        done(&result, arg);
        self->depth--;
        if (self->epoch != epoch)
            return; /* a child that was forked in it: the slot is nobody's here */
    }
    rm_job_release(self, job, index, RM_BUSY);
}

static struct dgo_result result_of(enum dgo_status status)
{
    return (struct dgo_result){status == DGO_OK           ? DGO_OUTCOME_DONE
                               : status == DGO_ECANCELLED ? DGO_OUTCOME_CANCELLED
                                                          : DGO_OUTCOME_FAILED,
                               status};
}

static void note_express(struct rm_thread *self, const struct rm_job *job, uint64_t run_ns)
{
    if (run_ns <= RM_EXPRESS_JOB_US * DGO_NS_PER_US)
        return;
    rm_count(self, job->component, RM_OVER_BUDGET);
    if (rm_count_of(job->component, RM_OVER_BUDGET) >= RM_DEMOTE_AFTER)
        rm_component_demote(job->component);
}

/* Runs or expires a claimed job. */
void rm_job_run(struct rm_thread *self, struct rm_job *job, uint32_t index)
{
    struct rm_job *const outer = self->job;
    const bool is_express = job->lane == DGO_LANE_EXPRESS;
    const uint32_t epoch = self->epoch;
    struct rm_frame frame;
    uint64_t begun_ns = 0;
    enum dgo_status status;

    if (job->queued_ns | job->deadline_ns || is_express) {
        begun_ns = rm_now_ns();
        if (job->queued_ns)
            rm_count_queue(self, job->component, &rm.lane[job->lane], begun_ns - job->queued_ns);
        if (job->deadline_ns && begun_ns > job->deadline_ns) {
            rm_job_end(self, job, index, (struct dgo_result){DGO_OUTCOME_EXPIRED, DGO_ETIMEOUT});
            return;
        }
    }
    if (job->group && rm_group_cancelled(job)) {
        rm_job_end(self, job, index, (struct dgo_result){DGO_OUTCOME_CANCELLED, DGO_ECANCELLED});
        return;
    }
    frame = (struct rm_frame){
        .outer = self->frame,
        .index = index,
        .generation = rm_generation(atomic_load_explicit(&job->state, memory_order_relaxed)),
        .group = job->group,
    };
    self->frame = &frame;
    self->job = job;
    self->depth++;
    status = job->fn(job->arg);
    self->depth--;
    self->job = outer;
    self->frame = frame.outer;
    if (self->epoch != epoch)
        return; /* a child that was forked in it: the job is its parent's */
    if (begun_ns && (job->queued_ns || is_express)) {
        const uint64_t run_ns = rm_now_ns() - begun_ns;

        rm_count_run(self, job->component, run_ns);
        if (is_express)
            note_express(self, job, run_ns);
    }
    rm_job_end(self, job, index, result_of(status));
}

static void run_done(struct rm_thread *self, struct rm_job *job, uint32_t index,
                     uint32_t generation)
{
    uint64_t seen = atomic_load_explicit(&job->state, memory_order_acquire);
    const uint32_t epoch = self->epoch;

    do
        if (rm_generation(seen) != generation || !(seen & RM_POST))
            return;
    while (!atomic_compare_exchange_weak_explicit(&job->state, &seen, seen & ~(uint64_t)RM_POST,
                                                  memory_order_acq_rel, memory_order_acquire));
    self->depth++;
    job->done(&job->result, job->arg);
    self->depth--;
    if (self->epoch == epoch) /* else a child that was forked in it */
        rm_job_release(self, job, index, RM_BUSY);
}

static void run_plain(struct rm_thread *self, const struct rm_entry *entry)
{
    const uint32_t component = (uint32_t)entry->ref & RM_INDEX_MASK;
    struct rm_job *const outer = self->job;
    uint64_t begun_ns = 0;
    enum dgo_status status;

    if (entry->queued_at) {
        begun_ns = rm_now_ns();
        rm_count_queue(self, component, &rm.lane[entry->lane],
                       rm_since_entry_time(entry->queued_at, begun_ns));
    }
    self->job = NULL;
    self->depth++;
    status = entry->fn(entry->arg);
    self->depth--;
    self->job = outer;
    if (begun_ns)
        rm_count_run(self, component, rm_now_ns() - begun_ns);
    rm_count(self, component, counter_of(result_of(status).outcome));
}

bool rm_run_entry(struct rm_thread *self, const struct rm_entry *entry)
{
    const uint64_t ref = entry->ref;
    const uint32_t tagged = (uint32_t)ref;
    struct rm_job *job;
    uint64_t state;

    if (tagged & RM_TAG_PLAIN) {
        run_plain(self, entry);
        return true;
    }
    if (tagged & RM_TAG_STRAND)
        return rm_strand_run_ref(self, ref);
    job = rm_job_at(tagged & RM_INDEX_MASK);
    if (tagged & RM_TAG_DONE) {
        run_done(self, job, tagged & RM_INDEX_MASK, rm_generation(ref));
        return true;
    }
    if (!rm_job_claim(job, rm_generation(ref), &state))
        return false;
    rm_job_run(self, job, tagged & RM_INDEX_MASK);
    return true;
}

/* What is left in a queue when the manager stops: jobs end, callbacks and strands run here. */
void rm_cancel_ref(struct rm_thread *self, uint64_t ref)
{
    const uint32_t index = (uint32_t)ref & RM_INDEX_MASK;
    struct rm_job *job;
    uint64_t state;

    if ((uint32_t)ref & RM_TAG_STRAND) {
        rm_strand_run_ref(self, ref);
        return;
    }
    if ((uint32_t)ref & RM_TAG_PLAIN) {
        rm_count(self, index, RM_CANCELLED);
        return;
    }
    job = rm_job_at(index);
    if ((uint32_t)ref & RM_TAG_DONE)
        run_done(self, job, index, rm_generation(ref));
    else if (rm_job_claim(job, rm_generation(ref), &state))
        rm_job_end(self, job, index, (struct dgo_result){DGO_OUTCOME_CANCELLED, DGO_ECANCELLED});
}

static void end_list(struct rm_thread *self, uint32_t first, enum rm_counter why)
{
    while (first) {
        const uint32_t index = first - 1;
        struct rm_job *job = rm_job_at(index);

        first = job->next;
        rm_count(self, job->component, why);
        rm_job_end(self, job, index, (struct dgo_result){DGO_OUTCOME_CANCELLED, DGO_ECANCELLED});
    }
}

void rm_end_dead(struct rm_thread *self, struct rm_dead *dead)
{
    self->ends++;
    if (dead->coalesced)
        end_list(self, dead->coalesced, RM_COALESCED);
    if (dead->dropped)
        end_list(self, dead->dropped, RM_DROPPED);
    self->ends--;
    *dead = (struct rm_dead){0};
}
