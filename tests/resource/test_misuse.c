/* test_misuse.c - what a caller should not do, and what would never end by itself: each has an
 * answer, in every way the manager can be. */
#include "jobs.h"

#include <pthread.h>
#include <unistd.h>

/* Long enough for a busy machine; what hangs is told by it. */
#define PATIENCE_NS (2 * DGO_NS_PER_S)
enum { HANGS_S = 30 };

/* ---- waiting for what cannot end ---- */

struct waits {
    struct dgo_future future, inner;
    struct dgo_group group;
    enum dgo_status for_itself, for_its_group;
};

static enum dgo_status wait_for_itself(void *data)
{
    struct waits *waits = data;

    waits->for_itself = dgo_wait(waits->future, PATIENCE_NS / 10, NULL, NULL);
    waits->for_its_group = dgo_group_wait(waits->group, PATIENCE_NS / 10, NULL);
    return DGO_OK;
}

static void test_a_job_cannot_wait_for_itself(void **state)
{
    struct waits waits = {.for_itself = DGO_OK};
    struct dgo_job job = {.fn = wait_for_itself, .arg = &waits};

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_group_new(&waits.group, NULL), DGO_OK);
    job.group = waits.group;
    submit(&job, &waits.future);
    assert_int_equal(wait_for(waits.future).outcome, DGO_OUTCOME_DONE);
    assert_int_equal(waits.for_itself, DGO_ESTATE);
    assert_int_equal(waits.for_its_group, DGO_ESTATE);
    dgo_group_free(waits.group);
    stop_now();
}

/* It runs the inner job while it waits for it, and that one waits for the outer one. */
static enum dgo_status wait_in_a_ring(void *data)
{
    struct waits *waits = data;
    const struct dgo_job inner = {.fn = wait_for_itself, .arg = data};

    if (dgo_submit(&inner, &waits->inner, NULL) != DGO_OK)
        return DGO_EIO;
    return dgo_wait(waits->inner, PATIENCE_NS, NULL, NULL);
}

static void test_jobs_in_one_thread_cannot_wait_in_a_ring(void **state)
{
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE};
    struct waits waits = {.for_itself = DGO_OK};
    struct dgo_job job = {.fn = wait_in_a_ring, .arg = &waits};

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_group_new(&waits.group, NULL), DGO_OK);
    job.group = waits.group;
    submit(&job, &waits.future);
    assert_int_equal(wait_for(waits.future).outcome, DGO_OUTCOME_DONE);
    assert_int_equal(waits.for_itself, DGO_ESTATE);
    assert_int_equal(waits.for_its_group, DGO_ESTATE);
    dgo_group_free(waits.group);
    stop_now();
}

/* Without threads the waiter is the one who lets the time pass. */
static void test_a_delayed_job_without_threads(void **state)
{
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE};
    _Atomic uint32_t ran = 0;
    struct dgo_job job = {.fn = count_up, .arg = &ran, .delay_ns = 5 * DGO_NS_PER_MS};
    struct dgo_future future;

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    submit(&job, &future);
    assert_int_equal(dgo_wait(future, DGO_NS_PER_MS, NULL, NULL), DGO_ETIMEOUT);
    assert_int_equal(dgo_wait(future, PATIENCE_NS, NULL, NULL), DGO_OK);
    assert_int_equal(atomic_load(&ran), 1);
    assert_int_equal(dgo_group_new(&job.group, NULL), DGO_OK);
    submit(&job, NULL);
    assert_int_equal(dgo_group_wait(job.group, PATIENCE_NS, NULL), DGO_OK);
    assert_int_equal(atomic_load(&ran), 2);
    dgo_group_free(job.group);
    stop_now();
}

/* ---- the UI thread waits for a group behind jobs that wait for the UI thread ---- */

enum { STUCK = 8 }; /* more than one worker and all that step in for it */

static enum dgo_status wait_for_the_face(void *data)
{
    const struct dgo_job face = {.fn = count_up, .arg = data, .lane = DGO_LANE_UI};
    struct dgo_future future;

    if (dgo_submit(&face, &future, NULL) != DGO_OK)
        return DGO_EIO;
    return dgo_wait(future, DGO_FOREVER, NULL, NULL);
}

static void *wait_as_the_face(void *data)
{
    enum dgo_status *status = data;
    _Atomic uint32_t ran = 0, drawn = 0;
    const struct dgo_job stuck = {.fn = wait_for_the_face, .arg = &drawn};
    struct dgo_job job = {.fn = count_up, .arg = &ran};
    int fd;

    if (dgo_resource_ui_attach(&fd, NULL) != DGO_OK || dgo_group_new(&job.group, NULL) != DGO_OK)
        return NULL;
    for (int i = 0; i < STUCK; i++)
        submit(&stuck, NULL);
    submit(&job, NULL);
    *status = dgo_group_wait(job.group, PATIENCE_NS, NULL);
    dgo_group_free(job.group);
    dgo_resource_drain(DGO_FOREVER, NULL);
    return NULL;
}

static void test_the_face_waits_for_a_group(void **state)
{
    enum dgo_status status = DGO_EIO;
    pthread_t face;

    (void)state;
    start_with(1, 0);
    assert_int_equal(pthread_create(&face, NULL, wait_as_the_face, &status), 0);
    assert_int_equal(pthread_join(face, NULL), 0);
    assert_int_equal(status, DGO_OK);
    stop_now();
}

/* ---- done-callbacks ---- */

enum { AGAIN_MAX = 1000 };

struct again {
    struct dgo_job job;
    uint32_t count;
    enum dgo_status refused;
};
static enum dgo_status nothing(void *data)
{
    (void)data;
    return DGO_OK;
}
static void submit_again(const struct dgo_result *result, void *data)
{
    struct again *again = data;
    enum dgo_status status;

    (void)result;
    if (++again->count >= AGAIN_MAX)
        return;
    status = dgo_submit(&again->job, NULL, NULL);
    if (status != DGO_OK)
        again->refused = status;
}

/* Where jobs run in their callers, a callback that submits its job once more goes deeper. */
static void test_callbacks_that_submit_are_bounded(void **state)
{
    struct again again = {.job = {.fn = nothing, .arg = &again, .done = submit_again}};

    (void)state;
    submit(&again.job, NULL);
    assert_true(again.count <= RM_INLINE_DEPTH_MAX);
    assert_int_equal(again.refused, DGO_ELIMIT);
}

/* Nor does it where each takes the place of the one whose callback submitted it. */
static void test_callbacks_that_replace_are_bounded(void **state)
{
    static const enum dgo_full policies[] = {DGO_FULL_COALESCE, DGO_FULL_DROP_OLDEST};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct gate gate = {0};
        const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate};
        struct again again = {.job = {.fn = nothing,
                                      .arg = &again,
                                      .done = submit_again,
                                      .on_full = policies[i],
                                      .key = 1}};
        uint32_t count;

        start_with(1, 1);
        submit(&blocker, NULL);
        await_waiting(&gate, 1);
        submit(&again.job, NULL); /* waits */
        submit(&again.job, NULL); /* ends it, and so on */
        count = again.count;
        again.count = AGAIN_MAX; /* no more */
        open_gate(&gate);
        assert_true(count > 0 && count <= RM_INLINE_DEPTH_MAX);
        assert_int_equal(again.refused, DGO_ELIMIT);
        stop_now();
    }
}

static void note_stop(const struct dgo_result *result, void *data)
{
    (void)result;
    *(enum dgo_status *)data = dgo_resource_stop(0, NULL);
}

static void test_stop_in_a_callback(void **state)
{
    struct gate gate = {0};
    _Atomic uint32_t ran = 0;
    enum dgo_status stopped = DGO_OK;
    const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate};
    const struct dgo_job filler = {.fn = count_up, .arg = &ran};
    const struct dgo_job job = {
        .fn = nothing, .arg = &stopped, .done = note_stop, .on_full = DGO_FULL_INLINE};

    (void)state;
    alarm(HANGS_S);
    start_with(1, 1);
    submit(&blocker, NULL);
    await_waiting(&gate, 1);
    while (dgo_submit(&filler, NULL, NULL) == DGO_OK)
        ;
    submit(&job, NULL); /* the lane is full: in its caller */
    assert_int_equal(stopped, DGO_ESTATE);
    open_gate(&gate);
    stop_now();
    alarm(0);
}

/* ---- jobs in their callers obey their group and their deadline ---- */

static void test_a_cancelled_group_takes_no_inline_job(void **state)
{
    _Atomic uint32_t ran = 0;
    struct dgo_job job = {.fn = count_up, .arg = &ran};

    (void)state;
    assert_int_equal(dgo_group_new(&job.group, NULL), DGO_OK);
    submit(&job, NULL);
    assert_int_equal(dgo_group_cancel(job.group, NULL), DGO_OK);
    assert_int_equal(dgo_submit(&job, NULL, NULL), DGO_ECANCELLED);
    dgo_group_free(job.group);
    assert_int_equal(dgo_submit(&job, NULL, NULL), DGO_ENOTFOUND);
    assert_int_equal(atomic_load(&ran), 1);
}

static enum dgo_status until_told(void *data)
{
    const uint64_t until_ns = dgo_monotonic_ns() + PATIENCE_NS;

    if (data) {
        atomic_store((_Atomic uint32_t *)data, 1);
        dgo_wake_up(data, INT32_MAX);
    }
    while (!dgo_job_should_stop())
        if (dgo_monotonic_ns() >= until_ns)
            return DGO_EIO;
    return DGO_ECANCELLED;
}

static void *run_inline_in_a_group(void *data)
{
    struct dgo_future future;

    if (dgo_submit(data, &future, NULL) == DGO_OK &&
        wait_for(future).outcome == DGO_OUTCOME_CANCELLED)
        return data;
    return NULL;
}

static void test_an_inline_job_is_asked_to_stop(void **state)
{
    _Atomic uint32_t is_there = 0;
    struct dgo_job job = {.fn = until_told, .arg = &is_there};
    const struct dgo_job timed = {.fn = until_told, .within_ns = DGO_NS_PER_MS};
    struct dgo_future future;
    pthread_t caller;
    void *went_well;

    (void)state;
    assert_int_equal(dgo_group_new(&job.group, NULL), DGO_OK);
    assert_int_equal(pthread_create(&caller, NULL, run_inline_in_a_group, &job), 0);
    while (!atomic_load(&is_there))
        dgo_sleep_on(&is_there, 0, UINT64_MAX);
    assert_int_equal(dgo_group_cancel(job.group, NULL), DGO_OK);
    assert_int_equal(pthread_join(caller, &went_well), 0);
    assert_non_null(went_well);
    dgo_group_free(job.group);
    submit(&timed, &future);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_CANCELLED);
    assert_false(dgo_job_should_stop());
}

/* ---- calls without a function ---- */

static void test_no_function(void **state)
{
    const struct dgo_placed placed = {.gpu = nothing};
    enum dgo_place place;

    (void)state;
    assert_int_equal(dgo_run_on_cpu(0, NULL, NULL), DGO_EINVAL);
    assert_int_equal(dgo_run_placed(&placed, &place), DGO_EINVAL);
}

/* ---- what waits for its time ---- */

/* A job that was cancelled does not keep its place among those that wait for their time. */
static void test_cancelled_delays_make_room(void **state)
{
    const struct dgo_job job = {.fn = nothing, .delay_ns = 3600 * DGO_NS_PER_S};
    struct dgo_job grouped = job;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_group_new(&grouped.group, NULL), DGO_OK);
    for (int i = 0; i < 3 * DGO_DELAYED_MAX; i++) {
        struct dgo_future future;

        submit(i % 2 ? &job : &grouped, &future);
        assert_int_equal(dgo_cancel(future, NULL), DGO_OK);
        assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_CANCELLED);
    }
    for (int i = 0; i < DGO_DELAYED_MAX - 1; i++)
        submit(&job, NULL);
    dgo_group_free(grouped.group);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    assert_places_are_back();
}

static void test_freed_strands_make_room(void **state)
{
    _Atomic uint32_t runs = 0;
    struct dgo_strand strand;

    (void)state;
    start_with(1, 0);
    for (uint64_t i = 0; i < 2 * DGO_DELAYED_MAX; i++) {
        assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, count_up, &runs, &strand, NULL),
                         DGO_OK);
        dgo_strand_kick_after(strand, 3600 * DGO_NS_PER_S + i);
        dgo_strand_kick_after(strand, 3600 * DGO_NS_PER_S - i); /* the earlier one counts */
        dgo_strand_free(strand);
    }
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, count_up, &runs, &strand, NULL), DGO_OK);
    for (uint64_t i = 0; i < 2 * DGO_DELAYED_MAX; i++) /* earlier and earlier */
        dgo_strand_kick_after(strand, 3600 * DGO_NS_PER_S - i * DGO_NS_PER_MS);
    assert_int_equal(dgo_resource_drain(DGO_FOREVER, NULL), DGO_OK);
    assert_int_equal(atomic_load(&runs),
                     0); /* where there is no room, it would be kicked at once */
    dgo_strand_free(strand);
    stop_now();
}

/* An earlier kick took the place of a later one; the later one's time is not that of the next. */
static void test_a_kick_keeps_its_time(void **state)
{
    struct dgo_clock_fake fake;
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE, .clock = &fake.clock};
    _Atomic uint32_t runs = 0;
    struct dgo_strand strand;
    static const struct {
        uint64_t advance_ns, kick_after_ns; /* 0: no kick */
        uint32_t runs;
    } steps[] = {{0, 100, 0}, {0, 50, 0}, {60, 200, 1}, {60, 0, 1}, {150, 0, 2}, {1000, 0, 2}};

    (void)state;
    dgo_clock_fake_init(&fake, 1000, 1);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, count_up, &runs, &strand, NULL), DGO_OK);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        dgo_clock_fake_advance(&fake, steps[i].advance_ns);
        dgo_resource_run_due();
        if (steps[i].kick_after_ns)
            dgo_strand_kick_after(strand, steps[i].kick_after_ns);
        assert_int_equal(atomic_load(&runs), steps[i].runs);
    }
    dgo_strand_free(strand);
    stop_now();
}

/* Its time comes when its lane has been closed: it ends, and its slot is free again. */
static void test_a_delayed_job_meets_a_closed_lane(void **state)
{
    struct dgo_clock_fake fake;
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE, .clock = &fake.clock};
    const struct dgo_job job = {.fn = nothing, .delay_ns = 10};
    struct rm_lane *lane = &rm.lane[DGO_LANE_NORMAL];
    struct dgo_future future;

    (void)state;
    dgo_clock_fake_init(&fake, 1000, 1);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    submit(&job, &future);
    rm_lane_close(lane);
    dgo_clock_fake_advance(&fake, 20);
    dgo_resource_run_due();
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_CANCELLED);
    assert_int_equal(atomic_load(&rm_job_at(future.index)->state) & RM_PHASE, RM_FREE);
    assert_true(rm_lane_open(lane, DGO_LANE_NORMAL, DGO_QUEUE_LIMIT_DEFAULT)); /* stop closes it */
    stop_now();
}

/* So that a test that failed is the only one. */
static int stop_if_started(void **state)
{
    (void)state;
    (void)dgo_resource_stop(0, NULL);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, stop_if_started)

static const struct CMUnitTest tests[] = {
    TEST(test_callbacks_that_submit_are_bounded),
    TEST(test_a_cancelled_group_takes_no_inline_job),
    TEST(test_an_inline_job_is_asked_to_stop),
    TEST(test_no_function),
    TEST(test_a_job_cannot_wait_for_itself),
    TEST(test_jobs_in_one_thread_cannot_wait_in_a_ring),
    TEST(test_a_delayed_job_without_threads),
    TEST(test_the_face_waits_for_a_group),
    TEST(test_callbacks_that_replace_are_bounded),
    TEST(test_stop_in_a_callback),
    TEST(test_cancelled_delays_make_room),
    TEST(test_freed_strands_make_room),
    TEST(test_a_kick_keeps_its_time),
    TEST(test_a_delayed_job_meets_a_closed_lane),
};

CHECK_MAIN(tests)
