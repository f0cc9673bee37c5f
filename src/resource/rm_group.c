/* rm_group.c - jobs that end together; a waiter helps with the group's own jobs only. */
#include "rm.h"

#include "dgo_units.h"

#include <inttypes.h>

struct group {
    struct dgo_lock lock;
    uint32_t generation; /* with the lock */
    bool in_use;
    uint32_t first; /* index + 1 of the newest job, linked through group_next */
    _Atomic uint32_t pending, cancelled;
    _Atomic uint32_t changed; /* futex: counts ends while somebody waits */
    _Atomic uint32_t waiters;
};
static struct group groups[DGO_GROUP_MAX];

/* The group, locked; or NULL. */
static struct group *lock_group(struct dgo_group name)
{
    struct group *group;

    if (name.generation == 0 || name.index >= DGO_GROUP_MAX)
        return NULL;
    group = &groups[name.index];
    dgo_lock(&group->lock);
    if (group->in_use && group->generation == name.generation)
        return group;
    dgo_unlock(&group->lock);
    return NULL;
}

static enum dgo_status no_group(struct dgo_error *err)
{
    return dgo_fail(err, DGO_ENOTFOUND, "the group does not exist (any more)");
}

enum dgo_status dgo_group_new(struct dgo_group *name, struct dgo_error *err)
{
    for (uint32_t i = 0; i < DGO_GROUP_MAX; i++) {
        struct group *group = &groups[i];
        bool found;

        dgo_lock(&group->lock);
        /* A freed group whose jobs are still on their way stays as it is until they ended. */
        found = !group->in_use && atomic_load(&group->pending) == 0;
        if (found) {
            group->in_use = true;
            group->generation = rm_next_generation(group->generation);
            group->first = 0;
            atomic_store(&group->cancelled, 0);
            *name = (struct dgo_group){i, group->generation};
        }
        dgo_unlock(&group->lock);
        if (found)
            return DGO_OK;
    }
    return dgo_fail(err, DGO_ELIMIT, "%d groups exist already; free one first", DGO_GROUP_MAX);
}

void dgo_group_free(struct dgo_group name)
{
    struct group *group = lock_group(name);

    if (!group)
        return;
    group->in_use = false;
    dgo_unlock(&group->lock);
}

uint32_t dgo_group_pending(struct dgo_group name)
{
    struct group *group = lock_group(name);
    uint32_t pending = 0;

    if (group) {
        pending = atomic_load(&group->pending);
        dgo_unlock(&group->lock);
    }
    return pending;
}

/* The group, locked, where one more may join. */
static enum dgo_status lock_to_join(struct dgo_group name, struct group **group,
                                    struct dgo_error *err)
{
    *group = lock_group(name);
    if (!*group)
        return no_group(err);
    if (atomic_load(&(*group)->cancelled)) {
        dgo_unlock(&(*group)->lock);
        return dgo_fail(err, DGO_ECANCELLED, "the group was cancelled");
    }
    return DGO_OK;
}

/* With the lock, which it gives back: one less. */
static void end_one(struct group *group)
{
    atomic_fetch_sub(&group->pending, 1);
    atomic_fetch_add(&group->changed, 1);
    dgo_unlock(&group->lock);
    if (atomic_load(&group->waiters))
        dgo_wake_up(&group->changed, INT32_MAX); /* groups are static: never too late */
}

enum dgo_status rm_group_enter(struct dgo_group name, struct dgo_error *err)
{
    struct group *group;
    const enum dgo_status status = lock_to_join(name, &group, err);

    if (status != DGO_OK)
        return status;
    atomic_fetch_add(&group->pending, 1);
    dgo_unlock(&group->lock);
    return DGO_OK;
}

/* Also when it was freed meanwhile: its place is kept while anything is pending. */
void rm_group_exit(struct dgo_group name)
{
    dgo_lock(&groups[name.index].lock);
    end_one(&groups[name.index]);
}

enum dgo_status rm_group_join(struct dgo_group name, uint32_t index, struct rm_job *job,
                              struct dgo_error *err)
{
    struct group *group;
    const enum dgo_status status = lock_to_join(name, &group, err);

    if (status != DGO_OK)
        return status;
    job->group = (uint16_t)(name.index + 1);
    job->group_prev = 0;
    job->group_next = group->first;
    if (group->first)
        rm_job_at(group->first - 1)->group_prev = index + 1;
    group->first = index + 1;
    atomic_fetch_add(&group->pending, 1);
    dgo_unlock(&group->lock);
    return DGO_OK;
}

void rm_group_leave(uint32_t index, struct rm_job *job)
{
    struct group *group = &groups[job->group - 1];

    dgo_lock(&group->lock);
    if (job->group_prev)
        rm_job_at(job->group_prev - 1)->group_next = job->group_next;
    else if (group->first == index + 1)
        group->first = job->group_next;
    if (job->group_next)
        rm_job_at(job->group_next - 1)->group_prev = job->group_prev;
    end_one(group);
}

bool rm_group_cancelled(const struct rm_job *job)
{
    return atomic_load_explicit(&groups[job->group - 1].cancelled, memory_order_relaxed) != 0;
}

/* Claims one waiting job of the group, newest first: the oldest are the next of the workers.  A
 * waiter takes only what it may run, a canceller everything. */
static struct rm_job *claim_one(struct group *group, const struct rm_thread *self, bool cancelling,
                                bool has_waited, uint32_t *index)
{
    for (uint32_t at = group->first; at; at = rm_job_at(at - 1)->group_next) {
        struct rm_job *job = rm_job_at(at - 1);
        uint64_t state = atomic_load_explicit(&job->state, memory_order_acquire);

        if ((state & RM_PHASE) != RM_PENDING ||
            (!cancelling && (state & RM_DELAYED || !rm_may_claim(self, job, has_waited))) ||
            !rm_job_claim(job, rm_generation(state), &state))
            continue;
        *index = at - 1;
        return job;
    }
    return NULL;
}

/* Whether this thread is in the middle of one of the group's jobs: it would wait for itself. */
static bool is_within(const struct rm_thread *self, struct dgo_group name)
{
    for (const struct rm_frame *frame = self->frame; frame; frame = frame->outer)
        if (frame->group == name.index + 1)
            return true;
    return false;
}

static void sleep_until_changed(struct rm_thread *self, struct group *group, uint32_t changed,
                                uint64_t until_ns)
{
    atomic_fetch_add(&group->waiters, 1);
    if (self->worker)
        rm_worker_block(self->worker);
    dgo_sleep_on(&group->changed, changed, until_ns);
    if (self->worker)
        rm_worker_unblock(self->worker);
    atomic_fetch_sub(&group->waiters, 1);
}

enum dgo_status dgo_group_wait(struct dgo_group name, uint64_t timeout_ns, struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    const uint64_t begun_ns = dgo_monotonic_ns();
    const uint64_t until_ns = rm_time_after(begun_ns, timeout_ns);
    const uint64_t patient_ns = begun_ns + RM_PATIENCE_NS;

    for (;;) {
        struct group *group = lock_group(name);
        const uint64_t now_ns = dgo_monotonic_ns();
        uint64_t wake_ns = until_ns;
        uint32_t index = 0;
        struct rm_job *job;
        uint32_t changed, pending, epoch;

        if (!group)
            return no_group(err);
        if (is_within(self, name)) {
            dgo_unlock(&group->lock);
            return dgo_fail(err, DGO_ESTATE, "a job cannot wait for the group that it belongs to");
        }
        changed = atomic_load(&group->changed);
        pending = atomic_load(&group->pending);
        epoch = rm_outside_begin();
        job = claim_one(group, self, false, now_ns >= patient_ns, &index);
        dgo_unlock(&group->lock);
        if (job) {
            rm_note_stale(job);
            rm_job_run(self, job, index);
        }
        rm_outside_end(epoch);
        if (job)
            continue;
        if (pending == 0)
            return DGO_OK;
        if (now_ns >= until_ns)
            return dgo_fail(err, DGO_ETIMEOUT, "%" PRIu32 " jobs of the group have not ended yet",
                            pending);
        if (rm_waiter_keeps_time(&wake_ns))
            continue;
        if (self->is_ui && now_ns < patient_ns)
            wake_ns = dgo_min_u64(wake_ns, patient_ns);
        sleep_until_changed(self, group, changed, wake_ns);
    }
}

/* What waits ends now, what runs is asked to stop, nothing more may join. */
enum dgo_status dgo_group_cancel(struct dgo_group name, struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();

    for (;;) {
        struct group *group = lock_group(name);
        uint32_t index = 0;
        struct rm_job *job;

        if (!group)
            return no_group(err);
        atomic_store(&group->cancelled, 1);
        job = claim_one(group, self, true, false, &index);
        dgo_unlock(&group->lock);
        if (!job)
            return DGO_OK;
        rm_note_stale(job);
        rm_job_end(self, job, index, (struct dgo_result){DGO_OUTCOME_CANCELLED, DGO_ECANCELLED});
    }
}

void rm_groups_forget(void)
{
    for (uint32_t i = 0; i < DGO_GROUP_MAX; i++) {
        atomic_store(&groups[i].lock.word, 0);
        groups[i].in_use = false;
        groups[i].first = 0;
        atomic_store(&groups[i].pending, 0);
        atomic_store(&groups[i].waiters, 0);
    }
}
