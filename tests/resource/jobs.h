/* jobs.h - jobs that tests submit: counting, remembering their order, waiting at a gate. */
#ifndef JOBS_H
#define JOBS_H

#include "check.h"

#include "dgo_resource.h"
#include "dgo_units.h"
#include "rm.h"

/* A door that a job waits at, blocked in the kernel as a file read would be. */
struct gate {
    _Atomic uint32_t is_open, waiting;
};

static inline enum dgo_status wait_at_gate(void *data)
{
    struct gate *gate = data;

    atomic_fetch_add(&gate->waiting, 1);
    dgo_wake_up(&gate->waiting, INT32_MAX);
    while (atomic_load(&gate->is_open) == 0)
        dgo_sleep_on(&gate->is_open, 0, UINT64_MAX);
    return DGO_OK;
}

static inline void open_gate(struct gate *gate)
{
    atomic_store(&gate->is_open, 1);
    dgo_wake_up(&gate->is_open, INT32_MAX);
}

/* Returns once `count` jobs wait at the gate. */
static inline void await_waiting(struct gate *gate, uint32_t count)
{
    for (uint32_t now = atomic_load(&gate->waiting); now < count; now = atomic_load(&gate->waiting))
        dgo_sleep_on(&gate->waiting, now, UINT64_MAX);
}

static inline enum dgo_status count_up(void *data)
{
    atomic_fetch_add((_Atomic uint32_t *)data, 1);
    return DGO_OK;
}

/* Jobs that write down in which order they ran. */
struct notebook {
    uint32_t count;
    int entry[256];
    struct dgo_lock lock;
};
struct noted {
    struct notebook *book;
    int number;
};
static inline enum dgo_status take_note(void *data)
{
    const struct noted *noted = data;

    dgo_lock(&noted->book->lock);
    if (noted->book->count < 256)
        noted->book->entry[noted->book->count++] = noted->number;
    dgo_unlock(&noted->book->lock);
    return DGO_OK;
}

static inline void start_with(uint32_t workers, uint32_t queue_limit)
{
    struct dgo_error err = {0};
    const struct dgo_resource_config config = {.workers = workers, .queue_limit = queue_limit};

    if (dgo_resource_start(&config, &err) != DGO_OK)
        fail_msg("start: %s", err.text);
}

static inline void stop_now(void)
{
    struct dgo_error err = {0};

    if (dgo_resource_stop(DGO_FOREVER, &err) != DGO_OK)
        fail_msg("stop: %s", err.text);
}

/* Stopped, and nobody pushes: every place is given back, or kept by a thread for pushes to come. */
static inline void assert_places_are_back(void)
{
    for (uint32_t id = 0; id < DGO_LANE_COUNT; id++) {
        struct rm_lane *lane = &rm.lane[id];
        uint32_t kept = 0;

        for (uint32_t n = 0; n < RM_SHARDS; n++)
            kept += (uint32_t)(atomic_load(&lane->shard[n].word) & RM_SHARD_PLACES);
        assert_int_equal(atomic_load(&lane->places), kept);
        assert_int_equal(atomic_load(&lane->inbox_count), 0);
    }
}

static inline void submit(const struct dgo_job *job, struct dgo_future *future)
{
    struct dgo_error err = {0};

    if (dgo_submit(job, future, &err) != DGO_OK)
        fail_msg("submit: %s", err.text);
}

static inline struct dgo_result wait_for(struct dgo_future future)
{
    struct dgo_result result = {DGO_OUTCOME_COUNT, DGO_OK};
    struct dgo_error err = {0};

    if (dgo_wait(future, 60 * DGO_NS_PER_S, &result, &err) != DGO_OK)
        fail_msg("wait: %s", err.text);
    return result;
}

#endif
