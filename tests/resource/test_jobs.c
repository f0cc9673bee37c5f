/* test_jobs.c - a job's life: outcomes, waiting, cancelling, deadlines, groups, what a full queue
 * does, and the order of levels. */
#include "jobs.h"

static enum dgo_status say_ok(void *data)
{
    (void)data;
    return DGO_OK;
}
static enum dgo_status say_io(void *data)
{
    (void)data;
    return DGO_EIO;
}
static enum dgo_status say_cancelled(void *data)
{
    (void)data;
    return DGO_ECANCELLED;
}

/* ---- outcomes, in every way the manager can be ---- */

static const struct {
    const char *name;
    bool started;
    uint32_t workers;
} managers[] = {
    {"not started", false, 0},
    {"no threads", true, DGO_WORKERS_NONE},
    {"one worker", true, 1},
    {"three workers", true, 3},
};

static void test_outcomes(void **state)
{
    static const struct {
        const char *name;
        dgo_job_fn fn;
        enum dgo_outcome want;
        enum dgo_status status;
    } cases[] = {
        {"ok is done", say_ok, DGO_OUTCOME_DONE, DGO_OK},
        {"an error is failed", say_io, DGO_OUTCOME_FAILED, DGO_EIO},
        {"cancelled by itself", say_cancelled, DGO_OUTCOME_CANCELLED, DGO_ECANCELLED},
    };

    (void)state;
    for (size_t m = 0; m < sizeof managers / sizeof managers[0]; m++) {
        if (managers[m].started)
            start_with(managers[m].workers, 0);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            for (int lane = DGO_LANE_OWN; lane < DGO_LANE_UI; lane++) {
                const struct dgo_job job = {.lane = (enum dgo_lane)lane, .fn = cases[i].fn};
                struct dgo_future future;
                struct dgo_result result;

                submit(&job, &future);
                result = wait_for(future);
                CHECK_ROW(result.outcome == cases[i].want, cases[i].name);
                CHECK_ROW(result.status == cases[i].status, cases[i].name);
            }
        if (managers[m].started)
            stop_now();
    }
}

static void test_bad_jobs(void **state)
{
    static const struct {
        const char *name;
        struct dgo_job job;
    } cases[] = {
        {"no function", {.fn = NULL}},
        {"lane out of range", {.fn = say_ok, .lane = (enum dgo_lane)77}},
        {"level out of range", {.fn = say_ok, .level = (enum dgo_level)9}},
        {"coalesce without a key", {.fn = say_ok, .on_full = DGO_FULL_COALESCE}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW(dgo_submit(&cases[i].job, NULL, &err) == DGO_EINVAL, cases[i].name);
        CHECK_ROW(err.text[0] != '\0', cases[i].name);
    }
}

/* ---- futures ---- */

static void test_stale_futures(void **state)
{
    const struct dgo_job job = {.fn = say_ok};
    struct dgo_future future, none = {0, 0}, wild = {123456789, 5};
    struct dgo_error err = {0};

    (void)state;
    start_with(1, 0);
    submit(&job, &future);
    wait_for(future);
    assert_int_equal(dgo_wait(future, 0, NULL, &err), DGO_ENOTFOUND);
    assert_true(err.text[0] != '\0');
    assert_int_equal(dgo_cancel(future, NULL), DGO_ENOTFOUND);
    assert_false(dgo_future_ended(future));
    dgo_future_forget(future);
    dgo_future_forget(none);
    assert_int_equal(dgo_wait(none, 0, NULL, NULL), DGO_ENOTFOUND);
    assert_int_equal(dgo_wait(wild, 0, NULL, NULL), DGO_ENOTFOUND);
    submit(&job, &future);
    stop_now();
    /* Ended by the stop, still there to be asked about. */
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
}

static void test_wait_times_out(void **state)
{
    struct gate gate = {0};
    const struct dgo_job job = {.fn = wait_at_gate, .arg = &gate};
    struct dgo_future future;

    (void)state;
    start_with(1, 0);
    submit(&job, &future);
    await_waiting(&gate, 1);
    assert_int_equal(dgo_wait(future, 0, NULL, NULL), DGO_ETIMEOUT);
    assert_int_equal(dgo_wait(future, 1000, NULL, NULL), DGO_ETIMEOUT);
    assert_false(dgo_future_ended(future));
    open_gate(&gate);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    stop_now();
}

/* ---- cancel ---- */

static enum dgo_status until_stopped(void *data)
{
    struct gate *gate = data;

    atomic_fetch_add(&gate->waiting, 1);
    dgo_wake_up(&gate->waiting, INT32_MAX);
    while (!dgo_job_should_stop())
        dgo_pause();
    return DGO_ECANCELLED;
}

static void test_cancel(void **state)
{
    struct gate gate = {0}, other = {0};
    _Atomic uint32_t ran = 0;
    const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate, .lane = DGO_LANE_BACKGROUND};
    const struct dgo_job counted = {.fn = count_up, .arg = &ran, .lane = DGO_LANE_BACKGROUND};
    const struct dgo_job stubborn = {.fn = until_stopped, .arg = &other};
    struct dgo_future block, count, run;
    struct dgo_resource_config config = {.workers = 1, .background_workers = 1};

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    submit(&blocker, &block);
    await_waiting(&gate, 1);
    /* before: its lane's only thread is busy and the keeper is slower than this */
    submit(&counted, &count);
    if (dgo_cancel(count, NULL) == DGO_OK) {
        assert_int_equal(wait_for(count).outcome, DGO_OUTCOME_CANCELLED);
        assert_int_equal(atomic_load(&ran), 0);
    } else {
        wait_for(count);
    }
    /* during */
    submit(&stubborn, &run);
    await_waiting(&other, 1);
    assert_int_equal(dgo_cancel(run, NULL), DGO_EBUSY);
    assert_int_equal(wait_for(run).outcome, DGO_OUTCOME_CANCELLED);
    /* after */
    open_gate(&gate);
    while (!dgo_future_ended(block))
        dgo_pause();
    assert_int_equal(dgo_cancel(block, NULL), DGO_ESTATE);
    assert_int_equal(wait_for(block).outcome, DGO_OUTCOME_DONE);
    stop_now();
}

/* Without threads nothing runs between submit and cancel inside a job: exact. */
struct nest {
    struct dgo_result inner;
    enum dgo_status cancelled;
    _Atomic uint32_t ran;
};
static enum dgo_status cancel_inside(void *data)
{
    struct nest *nest = data;
    const struct dgo_job job = {.fn = count_up, .arg = &nest->ran};
    struct dgo_future future;

    if (dgo_submit(&job, &future, NULL) != DGO_OK)
        return DGO_EIO;
    nest->cancelled = dgo_cancel(future, NULL);
    return dgo_wait(future, 0, &nest->inner, NULL);
}

static void test_cancel_exactly(void **state)
{
    struct nest nest = {.cancelled = DGO_EIO};
    const struct dgo_job job = {.fn = cancel_inside, .arg = &nest};
    struct dgo_future future;

    (void)state;
    start_with(DGO_WORKERS_NONE, 0);
    submit(&job, &future);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    assert_int_equal(nest.cancelled, DGO_OK);
    assert_int_equal(nest.inner.outcome, DGO_OUTCOME_CANCELLED);
    assert_int_equal(atomic_load(&nest.ran), 0);
    stop_now();
}

/* ---- nesting ---- */

static enum dgo_status nested(void *data)
{
    uint32_t *depth = data;
    const struct dgo_job job = {.fn = nested, .arg = depth};
    struct dgo_future future;
    struct dgo_result result;
    enum dgo_status status;

    if (*depth == 0)
        return DGO_OK;
    --*depth;
    status = dgo_submit(&job, &future, NULL);
    if (status != DGO_OK)
        return status;
    status = dgo_wait(future, DGO_FOREVER, &result, NULL);
    return status == DGO_OK ? result.status : status;
}

static void test_nesting_never_deadlocks(void **state)
{
    (void)state;
    for (size_t m = 1; m < sizeof managers / sizeof managers[0]; m++) {
        uint32_t depth = 64;
        const struct dgo_job job = {.fn = nested, .arg = &depth};
        struct dgo_future future;

        start_with(managers[m].workers, 0);
        submit(&job, &future);
        CHECK_ROW(wait_for(future).outcome == DGO_OUTCOME_DONE, managers[m].name);
        CHECK_ROW_U64(depth, 0, managers[m].name);
        stop_now();
    }
}

static enum dgo_status forever(void *data)
{
    const struct dgo_job job = {.fn = forever, .arg = data};

    ++*(uint32_t *)data;
    return dgo_submit(&job, NULL, NULL);
}

static void test_inline_nesting_is_bounded(void **state)
{
    uint32_t count = 0;

    (void)state;
    assert_int_equal(forever(&count), DGO_OK); /* outermost accepted, the innermost refused */
    assert_int_equal(count, 1 + RM_INLINE_DEPTH_MAX);
}

/* ---- deadlines and delays ---- */

static void test_deadline(void **state)
{
    struct dgo_clock_fake fake;
    struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE, .clock = &fake.clock};
    _Atomic uint32_t ran = 0;
    struct dgo_job job = {.fn = count_up, .arg = &ran, .lane = DGO_LANE_UI, .within_ns = 100};
    struct dgo_future early, late;
    uint32_t drained;
    int fd;

    (void)state;
    dgo_clock_fake_init(&fake, 1000, 1000);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    submit(&job, &early);
    job.within_ns = 1000;
    submit(&job, &late);
    dgo_clock_fake_advance(&fake, 101);
    assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, &drained, NULL), DGO_OK);
    assert_int_equal(wait_for(early).outcome, DGO_OUTCOME_EXPIRED);
    assert_int_equal(wait_for(late).outcome, DGO_OUTCOME_DONE);
    assert_int_equal(atomic_load(&ran), 1);
    stop_now();
}

static void test_delay_in_order(void **state)
{
    static const struct {
        int number;
        uint64_t delay_ns;
    } rows[] = {{3, 300}, {1, 100}, {2, 200}, {5, 500}, {4, 400}};
    struct dgo_clock_fake fake;
    struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE, .clock = &fake.clock};
    static const int want[] = {1, 3, 4, 5};
    struct notebook book = {0};
    struct noted noted[5];
    struct dgo_future gone;

    (void)state;
    dgo_clock_fake_init(&fake, 1, 1);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    for (size_t i = 0; i < 5; i++) {
        const struct dgo_job job = {
            .fn = take_note, .arg = &noted[i], .delay_ns = rows[i].delay_ns};

        noted[i] = (struct noted){&book, rows[i].number};
        submit(&job, i == 2 ? &gone : NULL);
    }
    assert_int_equal(dgo_cancel(gone, NULL), DGO_OK); /* number 2 */
    assert_int_equal(wait_for(gone).outcome, DGO_OUTCOME_CANCELLED);
    assert_int_equal(dgo_resource_run_due(), 0);
    dgo_clock_fake_advance(&fake, 350);
    dgo_resource_run_due();
    assert_int_equal(book.count, 2);
    dgo_clock_fake_advance(&fake, 350);
    dgo_resource_run_due();
    assert_int_equal(book.count, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(book.entry[i], want[i]);
    stop_now();
}

static void test_delay_with_threads(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran, .delay_ns = 3 * DGO_NS_PER_MS};
    struct dgo_future future;
    const uint64_t begun_ns = dgo_monotonic_ns();

    (void)state;
    start_with(1, 0);
    submit(&job, &future);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    assert_true(dgo_monotonic_ns() - begun_ns >= 3 * DGO_NS_PER_MS);
    stop_now();
}

/* ---- groups ---- */

static void test_group(void **state)
{
    (void)state;
    for (size_t m = 1; m < sizeof managers / sizeof managers[0]; m++) {
        _Atomic uint32_t ran = 0;
        struct dgo_group group;
        struct dgo_job job = {.fn = count_up, .arg = &ran};

        start_with(managers[m].workers, 0);
        assert_int_equal(dgo_group_new(&group, NULL), DGO_OK);
        job.group = group;
        for (int i = 0; i < 1000; i++)
            submit(&job, NULL);
        CHECK_ROW(dgo_group_wait(group, DGO_FOREVER, NULL) == DGO_OK, managers[m].name);
        CHECK_ROW_U64(atomic_load(&ran), 1000, managers[m].name);
        CHECK_ROW_U64(dgo_group_pending(group), 0, managers[m].name);
        dgo_group_free(group);
        CHECK_ROW(dgo_group_wait(group, 0, NULL) == DGO_ENOTFOUND, managers[m].name);
        CHECK_ROW(dgo_submit(&job, NULL, NULL) == DGO_ENOTFOUND, managers[m].name);
        stop_now();
    }
}

static enum dgo_status group_inside(void *data)
{
    struct dgo_job job = {.fn = count_up, .arg = data};
    struct dgo_group group;
    enum dgo_status status = dgo_group_new(&group, NULL);

    job.group = group;
    for (int i = 0; i < 50 && status == DGO_OK; i++)
        status = dgo_submit(&job, NULL, NULL);
    if (status == DGO_OK)
        status = dgo_group_wait(group, DGO_FOREVER, NULL);
    dgo_group_free(group);
    return status;
}

static void test_group_wait_inside_a_job(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = group_inside, .arg = &ran};
    struct dgo_future future;

    (void)state;
    start_with(1, 0);
    submit(&job, &future);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    assert_int_equal(atomic_load(&ran), 50);
    stop_now();
}

static void test_group_cancel(void **state)
{
    struct gate gate = {0};
    _Atomic uint32_t ran = 0;
    struct dgo_group group;
    struct dgo_job job = {.fn = until_stopped, .arg = &gate};
    struct dgo_future running, waiting[20];
    uint32_t cancelled = 0;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_group_new(&group, NULL), DGO_OK);
    job.group = group;
    submit(&job, &running);
    await_waiting(&gate, 1);
    job.fn = count_up;
    job.arg = &ran;
    for (int i = 0; i < 20; i++)
        submit(&job, &waiting[i]);
    assert_int_equal(dgo_group_cancel(group, NULL), DGO_OK);
    assert_int_equal(dgo_submit(&job, NULL, NULL), DGO_ECANCELLED);
    assert_int_equal(dgo_group_wait(group, DGO_FOREVER, NULL), DGO_OK);
    assert_int_equal(wait_for(running).outcome, DGO_OUTCOME_CANCELLED);
    for (int i = 0; i < 20; i++)
        cancelled += wait_for(waiting[i]).outcome == DGO_OUTCOME_CANCELLED;
    assert_int_equal(cancelled + atomic_load(&ran), 20);
    dgo_group_free(group);
    stop_now();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_outcomes),
    cmocka_unit_test(test_bad_jobs),
    cmocka_unit_test(test_stale_futures),
    cmocka_unit_test(test_wait_times_out),
    cmocka_unit_test(test_cancel),
    cmocka_unit_test(test_cancel_exactly),
    cmocka_unit_test(test_nesting_never_deadlocks),
    cmocka_unit_test(test_inline_nesting_is_bounded),
    cmocka_unit_test(test_deadline),
    cmocka_unit_test(test_delay_in_order),
    cmocka_unit_test(test_delay_with_threads),
    cmocka_unit_test(test_group),
    cmocka_unit_test(test_group_wait_inside_a_job),
    cmocka_unit_test(test_group_cancel),
};

CHECK_MAIN(tests)
