/* test_races.c - what the Spin models found (docs/decisions/0005-models.md), made to happen in C:
 * stops in the middle of strands, delays and UI jobs, and futures that somebody else uses up. */
#include "jobs.h"

#include <pthread.h>

/* ---- strands and stop ---- */

static void test_stop_runs_a_queued_turn(void **state)
{
    struct gate gate = {0};
    const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate, .lane = DGO_LANE_BACKGROUND};
    const struct dgo_resource_config config = {.workers = 1, .background_workers = 1};
    _Atomic uint32_t runs = 0;
    struct dgo_strand strand;

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_UI, count_up, &runs, &strand, NULL), DGO_OK);
    submit(&blocker, NULL);
    await_waiting(&gate, 1);
    dgo_strand_kick(strand, DGO_LEVEL_MIDDLE); /* nobody drains the UI lane */
    assert_int_equal(atomic_load(&runs), 0);
    open_gate(&gate);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    assert_int_equal(atomic_load(&runs), 1); /* a kick is a promise */

    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    dgo_strand_free(strand);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, count_up, &runs, &strand, NULL), DGO_OK);
    dgo_strand_kick(strand, DGO_LEVEL_MIDDLE);
    assert_int_equal(dgo_resource_drain(DGO_FOREVER, NULL), DGO_OK);
    assert_int_equal(atomic_load(&runs), 2);
    dgo_strand_free(strand);
    stop_now();
}

static void test_stop_runs_a_delayed_kick(void **state)
{
    _Atomic uint32_t runs = 0;
    struct dgo_strand strand;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, count_up, &runs, &strand, NULL), DGO_OK);
    dgo_strand_kick_after(strand, 3600 * DGO_NS_PER_S);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    assert_int_equal(atomic_load(&runs), 1);

    start_with(1, 0); /* its time was forgotten with it: an hour from before would win otherwise */
    dgo_strand_kick_after(strand, 1);
    for (int i = 0; i < 10000 && atomic_load(&runs) < 2; i++)
        dgo_sleep_on(&runs, 1, dgo_monotonic_ns() + DGO_NS_PER_MS);
    assert_int_equal(atomic_load(&runs), 2);
    dgo_strand_free(strand);
    stop_now();
}

struct ticker {
    struct dgo_strand strand;
    _Atomic uint32_t runs;
};
static enum dgo_status tick(void *data)
{
    struct ticker *ticker = data;

    atomic_fetch_add(&ticker->runs, 1);
    dgo_strand_kick_after(ticker->strand, DGO_NS_PER_MS);
    return DGO_OK;
}

static void test_stop_ends_a_ticking_strand(void **state)
{
    struct ticker ticker = {0};
    uint32_t runs;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, tick, &ticker, &ticker.strand, NULL),
                     DGO_OK);
    dgo_strand_kick(ticker.strand, DGO_LEVEL_MIDDLE);
    while (atomic_load(&ticker.runs) < 3)
        dgo_sleep_on(&ticker.runs, atomic_load(&ticker.runs), dgo_monotonic_ns() + DGO_NS_PER_MS);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    runs = atomic_load(&ticker.runs);
    dgo_strand_kick_after(ticker.strand, DGO_NS_PER_MS); /* in its caller, once */
    assert_int_equal(atomic_load(&ticker.runs), runs + 1);
    dgo_strand_free(ticker.strand);
}

/* ---- futures that two hold ---- */

struct waiting {
    struct dgo_future future;
    _Atomic uint32_t is_there;
    enum dgo_status status;
};
static void *wait_long(void *data)
{
    struct waiting *waiting = data;

    atomic_store(&waiting->is_there, 1);
    waiting->status = dgo_wait(waiting->future, 60 * DGO_NS_PER_S, NULL, NULL);
    return NULL;
}

/* Until the waiter has announced itself in the job's state word. */
static void await_announced(struct dgo_future future)
{
    while (!(atomic_load(&rm_job_at(future.index)->state) & RM_WAITER))
        sched_yield();
}

static void test_forgotten_by_another(void **state)
{
    struct gate gate = {0};
    const struct dgo_job job = {.fn = wait_at_gate, .arg = &gate};
    struct waiting waiting = {0};
    pthread_t thread;

    (void)state;
    start_with(1, 0);
    submit(&job, &waiting.future);
    await_waiting(&gate, 1);
    assert_int_equal(pthread_create(&thread, NULL, wait_long, &waiting), 0);
    await_announced(waiting.future);
    dgo_future_forget(waiting.future);
    open_gate(&gate);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiting.status, DGO_ENOTFOUND);
    stop_now();
}

static void test_two_wait_for_one(void **state)
{
    struct gate gate = {0};
    const struct dgo_job job = {.fn = wait_at_gate, .arg = &gate};
    struct waiting waiting[2] = {{.status = DGO_EIO}, {.status = DGO_EIO}};
    pthread_t thread[2];

    (void)state;
    start_with(1, 0);
    for (int round = 0; round < 200; round++) {
        gate = (struct gate){0};
        submit(&job, &waiting[0].future);
        waiting[1].future = waiting[0].future;
        await_waiting(&gate, 1);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, wait_long, &waiting[i]), 0);
        await_announced(waiting[0].future);
        open_gate(&gate);
        for (int i = 0; i < 3; i++) { /* the slot's next jobs, while the second may still sleep */
            _Atomic uint32_t ran = 0;
            const struct dgo_job next = {.fn = count_up, .arg = &ran};
            struct dgo_future future;

            submit(&next, &future);
            wait_for(future);
        }
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_join(thread[i], NULL), 0);
        /* One of them has it; the other knows that it is gone. */
        assert_true(waiting[0].status == DGO_OK || waiting[1].status == DGO_OK);
        for (int i = 0; i < 2; i++)
            assert_true(waiting[i].status == DGO_OK || waiting[i].status == DGO_ENOTFOUND);
    }
    stop_now();
}

/* ---- stop and those who run jobs without being workers ---- */

static _Atomic uint32_t stopped, late, inside;

static enum dgo_status linger(void *data)
{
    (void)data;
    atomic_store(&inside, 1);
    dgo_wake_up(&inside, INT32_MAX);
    for (int i = 0; i < 50; i++) {
        struct timespec pause = {.tv_nsec = 1000000};

        nanosleep(&pause, NULL);
        if (atomic_load(&stopped))
            atomic_fetch_add(&late, 1);
    }
    return DGO_OK;
}

static void *drain_ui(void *data)
{
    int fd;

    (void)data;
    if (dgo_resource_ui_attach(&fd, NULL) == DGO_OK)
        dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL);
    return NULL;
}

static void test_stop_waits_for_a_ui_job(void **state)
{
    const struct dgo_job job = {.fn = linger, .lane = DGO_LANE_UI};
    pthread_t ui;

    (void)state;
    start_with(1, 0);
    submit(&job, NULL);
    assert_int_equal(pthread_create(&ui, NULL, drain_ui, NULL), 0);
    while (!atomic_load(&inside))
        dgo_sleep_on(&inside, 0, UINT64_MAX);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    atomic_store(&stopped, 1);
    assert_int_equal(pthread_join(ui, NULL), 0);
    assert_int_equal(atomic_load(&late), 0);
}

static void *submit_inline(void *data)
{
    const struct dgo_job job = {.fn = linger, .on_full = DGO_FULL_INLINE};

    (void)data;
    submit(&job, NULL);
    return NULL;
}

/* The lane was full, so the job runs in its caller. */
static void test_stop_waits_for_an_inline_job(void **state)
{
    struct gate gate = {0};
    _Atomic uint32_t ran = 0;
    const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate};
    const struct dgo_job filler = {.fn = count_up, .arg = &ran};
    pthread_t caller;

    (void)state;
    atomic_store(&stopped, 0);
    atomic_store(&inside, 0);
    atomic_store(&late, 0);
    start_with(1, 1);
    submit(&blocker, NULL);
    await_waiting(&gate, 1);
    while (dgo_submit(&filler, NULL, NULL) == DGO_OK)
        ;
    assert_int_equal(pthread_create(&caller, NULL, submit_inline, NULL), 0);
    while (!atomic_load(&inside))
        dgo_sleep_on(&inside, 0, UINT64_MAX);
    open_gate(&gate);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    atomic_store(&stopped, 1);
    assert_int_equal(pthread_join(caller, NULL), 0);
    assert_int_equal(atomic_load(&late), 0);
}

static pthread_t told_in;
static void note_thread(const struct dgo_result *result, void *data)
{
    (void)result;
    (void)data;
    told_in = pthread_self();
}

static void *open_later(void *data)
{
    struct timespec pause = {.tv_nsec = 30000000};

    nanosleep(&pause, NULL);
    open_gate(data);
    return NULL;
}

/* The job ends while stop joins its worker; its callback still belongs to the UI thread. */
static void test_callbacks_of_the_ui_lane_stay_there(void **state)
{
    struct gate gate = {0};
    const struct dgo_job job = {
        .fn = wait_at_gate, .arg = &gate, .done = note_thread, .done_lane = DGO_LANE_UI};
    pthread_t helper;
    int fd;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    submit(&job, NULL);
    await_waiting(&gate, 1);
    assert_int_equal(pthread_create(&helper, NULL, open_later, &gate), 0);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    assert_int_equal(pthread_join(helper, NULL), 0);
    assert_true(pthread_equal(told_in, pthread_self()));
}

/* ---- delays and stop ---- */

struct late_submit {
    _Atomic uint32_t stop_it;
    uint32_t accepted, ended;
};
static enum dgo_status nothing(void *data)
{
    (void)data;
    return DGO_OK;
}
static void *submit_delayed(void *data)
{
    struct late_submit *late_one = data;
    const struct dgo_job job = {.fn = nothing, .delay_ns = DGO_NS_PER_S};

    while (!atomic_load(&late_one->stop_it)) {
        struct dgo_future future;

        if (dgo_submit(&job, &future, NULL) != DGO_OK)
            continue;
        late_one->accepted++;
        dgo_cancel(future, NULL);
        if (dgo_wait(future, 60 * DGO_NS_PER_S, NULL, NULL) != DGO_ETIMEOUT)
            late_one->ended++;
    }
    return NULL;
}

static void test_no_delayed_job_is_left(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct late_submit late_one = {0};
        pthread_t thread;

        start_with(1, 0);
        assert_int_equal(pthread_create(&thread, NULL, submit_delayed, &late_one), 0);
        sched_yield();
        assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
        atomic_store(&late_one.stop_it, 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(late_one.accepted, late_one.ended);
        assert_int_equal(rm_delay_next_ns(), UINT64_MAX);
    }
}

/* ---- threads of the idle class ---- */

static enum dgo_status submit_from_background(void *data)
{
    const struct dgo_job job = {.fn = count_up, .arg = data};

    return dgo_submit(&job, NULL, NULL);
}

/* A BACKGROUND thread wakes nobody by itself: the keeper does, and the job runs all the same. */
static void test_the_keeper_wakes_for_background(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {
        .fn = submit_from_background, .arg = &ran, .lane = DGO_LANE_BACKGROUND};

    (void)state;
    start_with(2, 0);
    for (uint32_t i = 0; i < 200; i++) {
        submit(&job, NULL);
        while (atomic_load(&ran) <= i)
            dgo_sleep_on(&ran, i, dgo_monotonic_ns() + 10 * DGO_NS_PER_MS);
    }
    assert_int_equal(atomic_load(&ran), 200);
    stop_now();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_stop_runs_a_queued_turn),
    cmocka_unit_test(test_stop_runs_a_delayed_kick),
    cmocka_unit_test(test_stop_ends_a_ticking_strand),
    cmocka_unit_test(test_forgotten_by_another),
    cmocka_unit_test(test_two_wait_for_one),
    cmocka_unit_test(test_stop_waits_for_a_ui_job),
    cmocka_unit_test(test_stop_waits_for_an_inline_job),
    cmocka_unit_test(test_callbacks_of_the_ui_lane_stay_there),
    cmocka_unit_test(test_no_delayed_job_is_left),
    cmocka_unit_test(test_the_keeper_wakes_for_background),
};

CHECK_MAIN(tests)
