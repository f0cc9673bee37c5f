/* rm_submit.c - accepting a job, and what happens when it cannot be taken. */
#include "rm.h"

#include "dgo_units.h"

/* A future of a job that ended before its submission returned: no slot, the status itself. */
#define ENDED_INDEX UINT32_MAX

static enum dgo_status check(const struct dgo_job *spec, struct dgo_error *err)
{
    if (!spec->fn)
        return dgo_fail(err, DGO_EINVAL, "a job needs a function");
    if ((unsigned)spec->lane >= DGO_LANE_COUNT || (unsigned)spec->done_lane >= DGO_LANE_COUNT ||
        (unsigned)spec->level >= DGO_LEVEL_COUNT || (unsigned)spec->on_full > DGO_FULL_DROP_OLDEST)
        return dgo_fail(err, DGO_EINVAL, "a job's lane, level or policy is out of range");
    if (spec->on_full == DGO_FULL_COALESCE && spec->key == 0)
        return dgo_fail(err, DGO_EINVAL, "a job that is to be coalesced needs a key other than 0");
    return DGO_OK;
}

static uint32_t component_of(const struct dgo_job *spec)
{
    return spec->component < dgo_component_count() ? spec->component : 0;
}

static struct dgo_result inline_result(enum dgo_status status)
{
    return (struct dgo_result){status == DGO_OK           ? DGO_OUTCOME_DONE
                               : status == DGO_ECANCELLED ? DGO_OUTCOME_CANCELLED
                                                          : DGO_OUTCOME_FAILED,
                               status};
}

/* With what dgo_job_should_stop looks at, where the job has a group or a deadline. */
static enum dgo_status call_inline(struct rm_thread *self, const struct dgo_job *spec)
{
    struct rm_job *const outer = self->job;
    const uint32_t epoch = self->epoch;
    const uint32_t group = spec->group.generation ? spec->group.index + 1 : 0;
    const struct rm_frame frame = {.outer = self->frame, .group = group};
    struct rm_job stand_in;
    enum dgo_status status;

    self->job = NULL;
    if (group || spec->within_ns) {
        stand_in = (struct rm_job){
            .group = (uint16_t)group,
            .deadline_ns = spec->within_ns ? rm_time_after(rm_now_ns(), spec->within_ns) : 0,
        };
        self->job = &stand_in;
    }
    self->frame = &frame;
    self->depth++;
    status = spec->fn(spec->arg);
    self->depth--;
    self->frame = frame.outer;
    self->job = outer;
    if (group && self->epoch == epoch)
        rm_group_exit(spec->group);
    return status;
}

/* Runs the job here and now; it has no slot. */
static enum dgo_status run_inline(struct rm_thread *self, const struct dgo_job *spec,
                                  struct dgo_future *future, struct dgo_error *err)
{
    const uint32_t component = component_of(spec);
    struct dgo_result result;

    if (spec->delay_ns)
        return dgo_fail(err, DGO_ESTATE, "a delayed job needs the resource manager to be started");
    if (self->depth >= RM_INLINE_DEPTH_MAX) {
        rm_count(self, component, RM_REJECTED);
        return dgo_fail(err, DGO_ELIMIT,
                        "%d jobs run inside each other in this thread; start the resource manager "
                        "with threads, or let the job loop instead of submitting itself",
                        RM_INLINE_DEPTH_MAX);
    }
    if (spec->group.generation) {
        const enum dgo_status entered = rm_group_enter(spec->group, err);

        if (entered != DGO_OK) {
            rm_count(self, component, RM_REJECTED);
            return entered;
        }
    }
    rm_count(self, component, RM_RAN_INLINE);
    result = inline_result(call_inline(self, spec));
    if (spec->done) {
        struct rm_job *const outer = self->job;

        self->job = NULL;
        self->depth++; /* inside a job as far as stop and the bound of depth are concerned */
        spec->done(&result, spec->arg);
        self->depth--;
        self->job = outer;
    }
    if (future)
        *future = (struct dgo_future){ENDED_INDEX, (uint32_t)result.status + 1};
    return DGO_OK;
}

bool rm_future_inline(struct dgo_future future, struct dgo_result *result)
{
    if (future.index != ENDED_INDEX || future.generation == 0)
        return false;
    *result = inline_result((enum dgo_status)(future.generation - 1));
    return true;
}

static enum dgo_status refuse_full(struct rm_thread *self, const struct dgo_job *spec,
                                   enum dgo_lane lane, struct dgo_future *future,
                                   struct dgo_error *err)
{
    if (spec->on_full == DGO_FULL_INLINE && !spec->delay_ns &&
        (lane != DGO_LANE_UI || self->is_ui) && self->depth < RM_INLINE_DEPTH_MAX) {
        const uint32_t epoch = rm_outside_begin(); /* stop and drain wait for it, too */
        const enum dgo_status status = run_inline(self, spec, future, err);

        rm_outside_end(epoch);
        return status;
    }
    rm_count(self, component_of(spec), RM_REJECTED);
    return dgo_fail(err, DGO_EBUSY, "the %s lane has no room: %u jobs wait of at most %u",
                    dgo_lane_name(lane), rm_lane_queued(&rm.lane[lane]), rm.lane[lane].limit);
}

static bool is_timed(struct rm_thread *self)
{
    return ++self->sample % RM_TIMED_OF == 0;
}

static struct rm_job *fill(struct rm_thread *self, const struct dgo_job *spec, enum dgo_lane lane,
                           bool is_timed_job, bool is_held, uint32_t *index)
{
    struct rm_job *job = rm_slot_take(self, index);
    uint64_t flags = RM_PENDING;
    uint64_t now_ns = 0;

    if (!job)
        return NULL;
    if (is_timed_job || spec->within_ns)
        now_ns = rm_now_ns();
    job->fn = spec->fn;
    job->arg = spec->arg;
    job->done = spec->done;
    job->deadline_ns = spec->within_ns ? rm_time_after(now_ns, spec->within_ns) : 0;
    job->queued_ns = is_timed_job && !spec->delay_ns ? now_ns : 0;
    job->component = (uint16_t)component_of(spec);
    job->group = 0;
    job->lane = (uint8_t)lane;
    job->level = (uint8_t)spec->level;
    job->done_lane = (uint8_t)(spec->done ? spec->done_lane : DGO_LANE_OWN);
    job->on_full = (uint8_t)spec->on_full;
    if (spec->on_full == DGO_FULL_COALESCE)
        job->key = spec->key; /* in the second line, which most jobs never touch */
    if (is_held)
        flags |= RM_HELD;
    if (spec->on_full == DGO_FULL_COALESCE || spec->group.generation)
        flags |= RM_LINKED; /* until it has left the inbox and the key table */
    if (spec->delay_ns)
        flags |= RM_DELAYED;
    atomic_store_explicit(
        &job->state,
        rm_ref(rm_generation(atomic_load_explicit(&job->state, memory_order_relaxed)),
               (uint32_t)flags),
        memory_order_release);
    return job;
}

static uint64_t ref_of(const struct rm_job *job, uint32_t index)
{
    uint32_t tagged = index;

    if (job->on_full == DGO_FULL_COALESCE)
        tagged |= RM_TAG_KEYED;
    else if (job->on_full == DGO_FULL_DROP_OLDEST)
        tagged |= RM_TAG_DROPPABLE;
    if (job->group && job->on_full != DGO_FULL_COALESCE)
        tagged |= RM_TAG_KEPT;
    return rm_ref(rm_generation(atomic_load_explicit(&job->state, memory_order_relaxed)), tagged);
}

static void wake(enum dgo_lane lane)
{
    if (lane == DGO_LANE_UI)
        rm_ui_signal();
    else
        rm_lane_wake(&rm.lane[lane]);
}

/* The job could not be queued.  A waiter of its group may be running it already: then it is in. */
static bool take_back(struct rm_thread *self, struct rm_job *job, uint32_t index,
                      uint32_t generation, bool is_linked)
{
    uint64_t state;

    if (!rm_job_claim(job, generation, &state)) {
        if (is_linked)
            rm_job_release(self, job, index, RM_LINKED);
        return false;
    }
    if (job->group)
        rm_group_leave(index, job);
    if (job->done_lane != DGO_LANE_OWN)
        rm_places_leave(&rm.lane[job->done_lane], 1);
    rm_slot_give(self, job, index);
    return true;
}

/* Puts a filled job where it belongs. */
static enum rm_push place(struct rm_thread *self, const struct dgo_job *spec, struct rm_job *job,
                          uint32_t index, enum dgo_lane lane)
{
    const uint64_t ref = ref_of(job, index);
    struct rm_dead dead = {0};
    enum rm_push pushed;

    if (spec->delay_ns)
        return rm_delay_add(ref, rm_time_after(rm_now_ns(), spec->delay_ns));
    pushed = rm_lane_push(&rm.lane[lane], self, ref, spec->level, RM_PLACE_ASK, &dead);
    if (dead.coalesced | dead.dropped)
        rm_end_dead(self, &dead);
    return pushed;
}

static enum dgo_status accept_one(struct rm_thread *self, const struct dgo_job *spec,
                                  struct dgo_future *future, enum dgo_lane *lane_out,
                                  struct dgo_error *err)
{
    const enum dgo_lane lane =
        spec->lane == DGO_LANE_OWN ? rm_component_lane(component_of(spec)) : spec->lane;
    const bool has_done_lane = spec->done && spec->done_lane != DGO_LANE_OWN;
    const bool is_linked = spec->group.generation || spec->on_full == DGO_FULL_COALESCE;
    const bool is_timed_job = is_timed(self) || lane == DGO_LANE_EXPRESS;
    struct rm_job *job;
    uint32_t index, generation;
    enum rm_push pushed;

    *lane_out = lane;
    if (self->ends >= RM_INLINE_DEPTH_MAX) {
        rm_count(self, component_of(spec), RM_REJECTED);
        return dgo_fail(
            err, DGO_ELIMIT,
            "%d jobs ended inside each other, for each callback submitted one that took "
            "the next one's place",
            RM_INLINE_DEPTH_MAX);
    }
    if (has_done_lane && !rm_place_take(&rm.lane[spec->done_lane]))
        return refuse_full(self, spec, spec->done_lane, future, err);
    job = fill(self, spec, lane, is_timed_job, future != NULL, &index);
    if (!job) {
        if (has_done_lane)
            rm_places_leave(&rm.lane[spec->done_lane], 1);
        return refuse_full(self, spec, lane, future, err);
    }
    generation = rm_generation(atomic_load_explicit(&job->state, memory_order_relaxed));
    if (spec->group.generation) {
        const enum dgo_status joined = rm_group_join(spec->group, index, job, err);

        if (joined != DGO_OK) {
            take_back(self, job, index, generation, false);
            rm_count(self, component_of(spec), RM_REJECTED);
            return joined;
        }
    }
    if (future)
        *future = (struct dgo_future){index, generation};
    pushed = place(self, spec, job, index, lane);
    if (pushed != RM_PUSHED && take_back(self, job, index, generation, is_linked)) {
        if (future)
            *future = (struct dgo_future){0, 0};
        if (pushed == RM_FULL)
            return refuse_full(self, spec, lane, future, err);
        rm_count(self, component_of(spec), RM_REJECTED);
        return dgo_fail(err, DGO_ESTATE, "the resource manager is stopping");
    }
    rm_count(self, component_of(spec), RM_ACCEPTED);
    return DGO_OK;
}

/* Nobody will ask for it: the entry of its queue can be all there is of it. */
static bool is_plain(const struct dgo_job *spec, const struct dgo_future *future)
{
    return !future && spec->fn && !spec->done && !(spec->delay_ns | spec->within_ns) &&
           !spec->group.generation && (unsigned)spec->on_full <= DGO_FULL_INLINE &&
           (unsigned)spec->lane < DGO_LANE_COUNT && (unsigned)spec->level < DGO_LEVEL_COUNT;
}

/* What most jobs come by: plain, into the shard of a thread that has one. */
static bool accept_plain(struct rm_thread *self, const struct dgo_job *spec,
                         const struct dgo_future *future, enum dgo_lane *lane)
{
    uint32_t component, queued_at, shard;
    struct rm_lane *where;

    if (!is_plain(spec, future))
        return false;
    component = component_of(spec);
    *lane = spec->lane == DGO_LANE_OWN ? rm_component_lane(component) : spec->lane;
    where = &rm.lane[*lane];
    shard = self->shard;
    if (shard - 1 >= RM_SHARDS || !where->shard_entry)
        return false;
    queued_at = is_timed(self) ? rm_entry_time(rm_now_ns()) : 0;
    if (!rm_shard_push_plain(where, shard, spec, component, queued_at)) {
        const struct rm_entry entry = rm_plain_entry(where, spec, component, queued_at);

        if (rm_shard_push(where, shard, &entry, false) != RM_PUSHED)
            return false;
    }
    rm_count(self, component, RM_ACCEPTED);
    return true;
}

enum dgo_status dgo_submit(const struct dgo_job *spec, struct dgo_future *future,
                           struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    const uint32_t phase = atomic_load_explicit(&rm.phase, memory_order_acquire);
    enum dgo_lane lane;
    enum dgo_status status;

    if (phase == RM_ON && accept_plain(self, spec, future, &lane)) {
        if (lane != DGO_LANE_NORMAL || rm_lane_wants_wake(&rm.lane[lane]))
            rm_submitted(self, lane);
        return DGO_OK;
    }
    status = check(spec, err);
    if (status != DGO_OK)
        return status;
    if (phase == RM_OFF)
        return run_inline(self, spec, future, err);
    if (phase == RM_CLOSING || (phase == RM_DRAINING && self->depth == 0)) {
        rm_count(self, component_of(spec), RM_REJECTED);
        return dgo_fail(err, DGO_ESTATE, "the resource manager is stopping");
    }
    status = accept_one(self, spec, future, &lane, err);
    if (status == DGO_OK)
        rm_submitted(self, lane);
    return status;
}

/* Somebody has to look after what was queued. */
void rm_submitted(struct rm_thread *self, enum dgo_lane lane)
{
    wake(lane);
    if (!atomic_load_explicit(&rm.threaded, memory_order_relaxed))
        rm_run_here(self);
}

enum dgo_status dgo_submit_many(const struct dgo_job *jobs, size_t count,
                                struct dgo_future *futures, size_t *accepted, struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    enum dgo_status status = DGO_OK;
    uint32_t lanes = 0;
    size_t taken = 0;

    for (; taken < count && status == DGO_OK; taken++) {
        const uint32_t phase = atomic_load_explicit(&rm.phase, memory_order_acquire);
        struct dgo_future *future = futures ? &futures[taken] : NULL;
        enum dgo_lane lane;

        if (phase != RM_ON) {
            status = dgo_submit(&jobs[taken], future, err);
        } else {
            if (!accept_plain(self, &jobs[taken], future, &lane)) {
                status = check(&jobs[taken], err);
                if (status == DGO_OK)
                    status = accept_one(self, &jobs[taken], future, &lane, err);
            }
            if (status == DGO_OK)
                lanes |= UINT32_C(1) << lane;
        }
        if (status != DGO_OK)
            break;
    }
    for (uint32_t lane = 1; lane < DGO_LANE_COUNT; lane++)
        if (lanes & UINT32_C(1) << lane)
            wake((enum dgo_lane)lane);
    if (lanes && !atomic_load_explicit(&rm.threaded, memory_order_relaxed))
        rm_run_here(self);
    if (accepted)
        *accepted = taken;
    return status;
}
