/* test_shards.c - each thread's own way into a lane: the bound stays exact, orders stay, threads
 * come and go. */
#include "jobs.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT = 128 };

static void attach(void)
{
    int fd;

    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
}

/* Jobs of a lane that nobody serves, until it refuses one. */
static uint32_t fill_ui_lane(_Atomic uint32_t *ran)
{
    const struct dgo_job job = {.fn = count_up, .arg = ran, .lane = DGO_LANE_UI};
    uint32_t accepted = 0;

    while (dgo_submit(&job, NULL, NULL) == DGO_OK)
        accepted++;
    return accepted;
}

static void *submit_one(void *ran)
{
    const struct dgo_job job = {.fn = count_up, .arg = ran, .lane = DGO_LANE_UI};

    submit(&job, NULL);
    return NULL;
}

static void submit_one_elsewhere(_Atomic uint32_t *ran)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, submit_one, ran), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void drain_ui(void)
{
    assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL), DGO_OK);
}

/* The other thread keeps places for jobs that it never submits; here they are found. */
static void test_the_bound_is_exact(void **state)
{
    _Atomic uint32_t ran = 0;

    (void)state;
    for (int life = 0; life < 3; life++) { /* a restart begins with all places */
        start_with(1, LIMIT);
        attach();
        submit_one_elsewhere(&ran);
        assert_int_equal(fill_ui_lane(&ran), LIMIT - 1);
        assert_int_equal(fill_ui_lane(&ran), 0);
        drain_ui();
        assert_int_equal(atomic_exchange(&ran, 0), LIMIT);
        assert_int_equal(fill_ui_lane(&ran), LIMIT);
        assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
        assert_places_are_back();
        atomic_store(&ran, 0);
    }
}

/* A callback's place is reserved when its job is accepted, and given back with it. */
static void seen(const struct dgo_result *result, void *data)
{
    (void)result;
    atomic_fetch_add((_Atomic uint32_t *)data, 1);
}

static enum dgo_status nothing(void *data)
{
    (void)data;
    return DGO_OK;
}

static void test_callbacks_have_their_places(void **state)
{
    _Atomic uint32_t done = 0, ran = 0;
    const struct dgo_job job = {
        .fn = nothing, .arg = &done, .done = seen, .done_lane = DGO_LANE_UI};
    uint32_t accepted = 0;

    (void)state;
    start_with(2, LIMIT);
    attach();
    while (dgo_submit(&job, NULL, NULL) == DGO_OK)
        accepted++;
    assert_int_equal(accepted, LIMIT); /* though NORMAL was emptied all the time */
    assert_int_equal(fill_ui_lane(&ran), 0);
    while (atomic_load(&done) < LIMIT)
        drain_ui();
    assert_int_equal(fill_ui_lane(&ran), LIMIT);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    assert_places_are_back();
}

/* ---- order ---- */

enum { THREADS = RM_SHARDS + 8, EACH = 600 }; /* some have to do without a shard */

struct numbered {
    uint32_t thread, number;
};
static uint32_t last[THREADS];
static _Atomic uint32_t wrong;

static enum dgo_status check_number(void *data)
{
    const struct numbered *job = data;

    if (job->number != last[job->thread] + 1)
        atomic_fetch_add(&wrong, 1);
    last[job->thread] = job->number;
    return DGO_OK;
}

/* With a key of its own now and then, which no other job has: it takes the other way in. */
static void *submit_in_order(void *data)
{
    struct numbered *jobs = data;

    for (uint32_t i = 0; i < EACH; i++) {
        struct dgo_job job = {.fn = check_number, .arg = &jobs[i], .lane = DGO_LANE_UI};

        if (i % 7 == 3) {
            job.on_full = DGO_FULL_COALESCE;
            job.key = 1 + jobs[i].thread * EACH + i;
        }
        while (dgo_submit(&job, NULL, NULL) == DGO_EBUSY)
            sched_yield();
    }
    return NULL;
}

static void test_every_thread_keeps_its_order(void **state)
{
    struct numbered *jobs = test_calloc(THREADS * EACH, sizeof *jobs);
    pthread_t threads[THREADS];
    uint32_t sum = 0;

    (void)state;
    start_with(1, LIMIT);
    attach();
    for (uint32_t t = 0; t < THREADS; t++) {
        for (uint32_t i = 0; i < EACH; i++)
            jobs[t * EACH + i] = (struct numbered){t, i + 1};
        assert_int_equal(pthread_create(&threads[t], NULL, submit_in_order, &jobs[t * EACH]), 0);
    }
    while (sum < THREADS * EACH) {
        drain_ui();
        sum = 0;
        for (uint32_t t = 0; t < THREADS; t++)
            sum += last[t];
        assert_int_equal(atomic_load(&wrong), 0);
    }
    for (uint32_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    stop_now();
    test_free(jobs);
}

/* ---- another bound ---- */

static void test_another_start_may_have_another_bound(void **state)
{
    static const uint32_t limits[] = {LIMIT, 64 * LIMIT, 16, 256 * LIMIT};
    _Atomic uint32_t ran = 0;

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        start_with(1, limits[i]);
        attach();
        assert_int_equal(fill_ui_lane(&ran), limits[i]);
        drain_ui();
        assert_int_equal(atomic_exchange(&ran, 0), limits[i]);
        stop_now();
        assert_places_are_back();
    }
}

/* ---- threads that come and go ---- */

static void *look_for_shard(void *data)
{
    submit_one(data);
    return (void *)(uintptr_t)rm_me.shard;
}

static void test_shards_are_handed_on(void **state)
{
    _Atomic uint32_t ran = 0;

    (void)state;
    start_with(1, LIMIT);
    attach();
    for (uint32_t i = 0; i < 3 * RM_SHARDS; i++) {
        pthread_t thread;
        void *shard;

        assert_int_equal(pthread_create(&thread, NULL, look_for_shard, &ran), 0);
        assert_int_equal(pthread_join(thread, &shard), 0);
        assert_true((uintptr_t)shard >= 1 && (uintptr_t)shard <= RM_SHARDS);
        drain_ui();
    }
    assert_int_equal(atomic_load(&ran), 3 * RM_SHARDS);
    stop_now();
}

/* What waited in the parent is nothing to the child, which has all places. */
static void test_a_child_starts_anew(void **state)
{
#ifndef __SANITIZE_THREAD__ /* which gives up in a child with threads of its own */
    _Atomic uint32_t ran = 0;
    pid_t child;
    int status;

    (void)state;
    start_with(1, LIMIT);
    attach();
    fill_ui_lane(&ran);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct dgo_resource_config config = {.workers = 1, .queue_limit = LIMIT};
        _Atomic uint32_t own = 0;
        int fd;

        if (dgo_resource_start(&config, NULL) != DGO_OK ||
            dgo_resource_ui_attach(&fd, NULL) != DGO_OK)
            _exit(1);
        if (fill_ui_lane(&own) != LIMIT)
            _exit(2);
        if (dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL) != DGO_OK || own != LIMIT)
            _exit(3);
        _exit(dgo_resource_stop(DGO_FOREVER, NULL) == DGO_OK ? 0 : 4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
#else
    (void)state;
    printf("# skipped: a child with threads under the thread sanitizer\n");
#endif
}

/* A job that nobody can name is its entry, one with a future or a deadline has a slot: both wait in
 * the same queue. */
static void test_named_and_unnamed_keep_their_order(void **state)
{
    struct notebook book = {0};
    struct noted noted[240];
    struct dgo_future futures[240];

    (void)state;
    start_with(1, 0);
    attach();
    for (int i = 0; i < 240; i++) {
        const struct dgo_job job = {.fn = take_note,
                                    .arg = &noted[i],
                                    .lane = DGO_LANE_UI,
                                    .within_ns = i % 5 == 4 ? DGO_FOREVER : 0};

        noted[i] = (struct noted){&book, i};
        submit(&job, i % 3 == 2 ? &futures[i] : NULL);
    }
    drain_ui();
    assert_int_equal(book.count, 240);
    for (int i = 0; i < 240; i++)
        assert_int_equal(book.entry[i], i);
    for (int i = 2; i < 240; i += 3)
        assert_int_equal(dgo_wait(futures[i], 0, NULL, NULL), DGO_OK);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    assert_places_are_back();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_bound_is_exact),
    cmocka_unit_test(test_callbacks_have_their_places),
    cmocka_unit_test(test_every_thread_keeps_its_order),
    cmocka_unit_test(test_named_and_unnamed_keep_their_order),
    cmocka_unit_test(test_another_start_may_have_another_bound),
    cmocka_unit_test(test_shards_are_handed_on),
    cmocka_unit_test(test_a_child_starts_anew),
};

CHECK_MAIN(tests)
