/* test_lanes.c - queues: what a full one does, levels and their bound, blocked workers, idleness,
 * and that nothing is allocated once things run. */
#include "jobs.h"

#include <malloc.h>
#include <stdlib.h>

/* ---- counting allocations ---- */

static _Atomic uint64_t allocations;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 1
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
void *malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, size);
}
#endif

/* Gives the processor away: on a busy machine a thread that only yields keeps those of
 * SCHED_IDLE, which it waits for, from ever running. */
static void wait_a_moment(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

/* ---- a full queue ---- */

/* The UI lane is drained by this thread alone, so what waits is exact. */
static void test_full(void **state)
{
    static const struct {
        const char *name;
        enum dgo_full on_full;
        enum dgo_status want;
        uint32_t ran_at_once;
        int order[6]; /* -1 ends it */
    } cases[] = {
        {"reject", DGO_FULL_REJECT, DGO_EBUSY, 0, {1, 2, 3, 4, -1}},
        {"inline", DGO_FULL_INLINE, DGO_OK, 1, {5, 1, 2, 3, 4, -1}},
        {"drop oldest", DGO_FULL_DROP_OLDEST, DGO_OK, 0, {2, 3, 4, 5, -1}},
        {"coalesce takes the place", DGO_FULL_COALESCE, DGO_OK, 0, {5, 2, 3, 4, -1}},
    };
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct notebook book = {0};
        struct noted noted[5];
        uint32_t ran;

        start_with(DGO_WORKERS_NONE, 4);
        assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
        for (int n = 0; n < 5; n++) {
            const struct dgo_job job = {.fn = take_note,
                                        .arg = &noted[n],
                                        .lane = DGO_LANE_UI,
                                        .on_full = cases[i].on_full,
                                        .key = n == 4 ? 1 : (uint64_t)n + 1};

            noted[n] = (struct noted){&book, n + 1};
            CHECK_ROW(dgo_submit(&job, NULL, NULL) == (n == 4 ? cases[i].want : DGO_OK),
                      cases[i].name);
        }
        CHECK_ROW_U64(book.count, cases[i].ran_at_once, cases[i].name);
        assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, &ran, NULL), DGO_OK);
        CHECK_ROW_U64(ran, 4, cases[i].name);
        for (uint32_t n = 0; cases[i].order[n] >= 0; n++)
            CHECK_ROW(n < book.count && book.entry[n] == cases[i].order[n], cases[i].name);
        stop_now();
    }
}

static void test_coalesced_end_as_cancelled(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {
        .fn = count_up, .arg = &ran, .lane = DGO_LANE_UI, .on_full = DGO_FULL_COALESCE, .key = 9};
    struct dgo_component_stats before, after;
    struct dgo_future future[100];
    uint32_t cancelled = 0;
    int fd;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    dgo_component_read_stats(0, &before);
    for (int i = 0; i < 100; i++)
        submit(&job, &future[i]);
    for (int i = 0; i < 100; i++)
        cancelled += wait_for(future[i]).outcome == DGO_OUTCOME_CANCELLED;
    dgo_component_read_stats(0, &after);
    assert_int_equal(cancelled, 99);
    assert_int_equal(atomic_load(&ran), 1);
    assert_int_equal(after.coalesced - before.coalesced, 99);
    stop_now();
}

/* Cancelled jobs leave references behind; they must not fill the queue for ever. */
static void test_cancelled_make_room(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran, .lane = DGO_LANE_UI};
    int fd;

    (void)state;
    start_with(DGO_WORKERS_NONE, 8);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    for (int i = 0; i < 1000; i++) {
        struct dgo_future future;

        submit(&job, &future);
        assert_int_equal(dgo_cancel(future, NULL), DGO_OK);
        dgo_future_forget(future);
    }
    assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL), DGO_OK);
    assert_int_equal(atomic_load(&ran), 0);
    stop_now();
}

/* A callback's place is kept when its job is accepted, so a UI that does not drain pushes back. */
static void done_counts(const struct dgo_result *result, void *data)
{
    (void)result;
    atomic_fetch_add((_Atomic uint32_t *)data, 100);
}

static void test_callbacks_are_bounded(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {
        .fn = count_up, .arg = &ran, .done = done_counts, .done_lane = DGO_LANE_UI};
    uint32_t accepted = 0;
    int fd;

    (void)state;
    start_with(DGO_WORKERS_NONE, 8);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    for (int i = 0; i < 20; i++)
        accepted += dgo_submit(&job, NULL, NULL) == DGO_OK;
    assert_int_equal(accepted, 8);
    assert_int_equal(atomic_load(&ran), 8);
    assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL), DGO_OK);
    assert_int_equal(atomic_load(&ran), 808);
    assert_int_equal(dgo_submit(&job, NULL, NULL), DGO_OK);
    stop_now(); /* on this thread: the last callback is called here */
    assert_int_equal(atomic_load(&ran), 909);
}

/* ---- levels ---- */

static void test_levels_in_order(void **state)
{
    static const enum dgo_level levels[] = {DGO_LEVEL_LOW, DGO_LEVEL_MIDDLE, DGO_LEVEL_HIGH};
    static const int want[] = {2, 2, 2, 1, 1, 1, 0, 0, 0};
    struct notebook book = {0};
    struct noted noted[9];
    int fd;

    (void)state;
    start_with(DGO_WORKERS_NONE, 0);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    for (int i = 0; i < 9; i++) {
        const struct dgo_job job = {
            .fn = take_note, .arg = &noted[i], .lane = DGO_LANE_UI, .level = levels[i % 3]};

        noted[i] = (struct noted){&book, i % 3};
        submit(&job, NULL);
    }
    assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL), DGO_OK);
    for (int i = 0; i < 9; i++)
        assert_int_equal(book.entry[i], want[i]);
    stop_now();
}

/* The written bound: with HIGH never empty, a lower level is served once in RM_STARVE_POPS. */
static void test_no_level_starves(void **state)
{
    static _Atomic uint32_t high, low, middle;
    struct dgo_job job = {.fn = count_up, .lane = DGO_LANE_UI};
    uint32_t ran = 0;
    int fd;

    (void)state;
    start_with(DGO_WORKERS_NONE, 4096);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    for (int i = 0; i < 1220; i++) {
        job.arg = &high;
        job.level = DGO_LEVEL_HIGH;
        submit(&job, NULL);
        job.arg = i % 2 ? &low : &middle;
        job.level = i % 2 ? DGO_LEVEL_LOW : DGO_LEVEL_MIDDLE;
        submit(&job, NULL);
    }
    while (ran < 1220) {
        uint32_t more;

        assert_int_equal(dgo_resource_ui_drain(0, &more, NULL), DGO_OK);
        ran += more;
    }
    assert_true(atomic_load(&low) >= 1220 / (2 * RM_STARVE_POPS));
    assert_true(atomic_load(&middle) >= 1220 / (2 * RM_STARVE_POPS));
    assert_true(atomic_load(&high) > 1100);
    stop_now();
}

/* ---- blocked workers ---- */

static void test_blocked_workers_are_replaced(void **state)
{
    static const struct {
        const char *name;
        enum dgo_lane lane;
        uint32_t blockers;
    } cases[] = {
        {"normal", DGO_LANE_NORMAL, 2},
        {"express", DGO_LANE_EXPRESS, 1},
        {"background", DGO_LANE_BACKGROUND, 1},
        {"blocking", DGO_LANE_BLOCKING, 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_resource_config config = {.workers = 2, .background_workers = 1};
        struct gate gate = {0};
        _Atomic uint32_t ran = 0;
        const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate, .lane = cases[i].lane};
        const struct dgo_job counted = {.fn = count_up, .arg = &ran, .lane = cases[i].lane};

        assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
        for (uint32_t b = 0; b < cases[i].blockers; b++)
            submit(&blocker, NULL);
        await_waiting(&gate, cases[i].blockers);
        for (int n = 0; n < 100; n++)
            submit(&counted, NULL);
        while (atomic_load(&ran) < 100) /* hangs where nobody takes their place */
            wait_a_moment();
        open_gate(&gate);
        stop_now();
    }
}

/* Jobs that were taken together with one that blocks are not stuck behind it. */
static void test_a_batch_is_not_stuck(void **state)
{
    struct gate gate = {0};
    _Atomic uint32_t ran = 0;
    struct dgo_job jobs[64];

    (void)state;
    start_with(1, 1 << 15);
    for (int i = 0; i < 64; i++) /* short ones first, so that batches grow */
        jobs[i] = (struct dgo_job){.fn = count_up, .arg = &ran};
    for (int i = 0; i < 200; i++)
        assert_int_equal(dgo_submit_many(jobs, 64, NULL, NULL, NULL), DGO_OK);
    while (atomic_load(&ran) < 64 * 200)
        wait_a_moment();
    jobs[1] = (struct dgo_job){.fn = wait_at_gate, .arg = &gate};
    assert_int_equal(dgo_submit_many(jobs, 64, NULL, NULL, NULL), DGO_OK);
    while (atomic_load(&ran) < 64 * 200 + 63)
        wait_a_moment();
    open_gate(&gate);
    stop_now();
}

static struct dgo_lock *held_lock;
static enum dgo_status hold_a_lane(void *data)
{
    struct timespec pause = {.tv_nsec = 150000000}; /* more ticks than a quiet keeper stays for */

    dgo_spin_lock(held_lock);
    nanosleep(&pause, NULL);
    dgo_spin_unlock(held_lock);
    return wait_at_gate(data);
}

/* Nor are they where the lane would not take them back at first. */
static void test_a_refused_batch_is_tried_again(void **state)
{
    static const enum dgo_lane lanes[] = {DGO_LANE_NORMAL, DGO_LANE_BACKGROUND};
    const struct dgo_resource_config config = {.workers = 1, .background_workers = 1};

    (void)state;
    for (size_t lane = 0; lane < sizeof lanes / sizeof lanes[0]; lane++) {
        struct gate gate = {0};
        _Atomic uint32_t ran = 0;
        struct dgo_job jobs[64];

        assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
        for (int i = 0; i < 64; i++)
            jobs[i] = (struct dgo_job){.fn = count_up, .arg = &ran, .lane = lanes[lane]};
        for (uint32_t i = 1; i <= 100; i++) { /* so that batches grow */
            assert_int_equal(dgo_submit_many(jobs, 64, NULL, NULL, NULL), DGO_OK);
            while (atomic_load(&ran) < 64 * i)
                wait_a_moment();
        }
        held_lock = &rm.lane[lanes[lane]].lock;
        jobs[1] = (struct dgo_job){.fn = hold_a_lane, .arg = &gate, .lane = lanes[lane]};
        assert_int_equal(dgo_submit_many(jobs, 64, NULL, NULL, NULL), DGO_OK);
        while (atomic_load(&ran) < 64 * 100 + 63) /* hangs where it was tried once */
            wait_a_moment();
        assert_int_equal(atomic_load(&gate.waiting), 1);
        open_gate(&gate);
        stop_now();
    }
}

/* A worker dozes beside one that works off tiny jobs, but not beside one that is stuck: a job that
 * comes then is to wake it. */
static void test_nobody_dozes_beside_a_stuck_one(void **state)
{
    struct gate gate = {0};
    _Atomic uint32_t ran = 0;
    const struct dgo_job tiny = {.fn = count_up, .arg = &ran};
    const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate};

    (void)state;
    start_with(2, 1 << 15);
    for (uint32_t i = 0; i < 20000; i++)
        submit(&tiny, NULL);
    submit(&blocker, NULL);
    await_waiting(&gate, 1);
    while (atomic_load(&rm.lane[DGO_LANE_NORMAL].idle_mask) == 0) /* hangs where it dozes on */
        wait_a_moment();
    open_gate(&gate);
    stop_now();
    assert_int_equal(atomic_load(&ran), 20000);
}

static enum dgo_status announced(void *data)
{
    dgo_blocking_begin();
    wait_at_gate(data);
    dgo_blocking_end();
    return DGO_OK;
}

static void test_announced_blocking(void **state)
{
    struct gate gate = {0};
    _Atomic uint32_t ran = 0;
    const struct dgo_job blocker = {.fn = announced, .arg = &gate};
    const struct dgo_job counted = {.fn = count_up, .arg = &ran};

    (void)state;
    start_with(1, 0);
    submit(&blocker, NULL);
    await_waiting(&gate, 1);
    submit(&counted, NULL);
    while (atomic_load(&ran) < 1)
        wait_a_moment();
    open_gate(&gate);
    stop_now();
}

/* ---- rest ---- */

/* When all is quiet the workers sleep without a timeout and the keeper stops ticking. */
static void test_idle_wakes_nobody(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran};
    uint64_t wakes[2] = {0, 0};

    (void)state;
    start_with(2, 0);
    submit(&job, NULL);
    assert_int_equal(dgo_resource_drain(DGO_FOREVER, NULL), DGO_OK);
    while (rm_keeper_is_armed()) /* a few ticks, then it goes to sleep by itself */
        wait_a_moment();
    for (int look = 0; look < 2; look++) {
        const struct timespec moment = {0, 30 * 1000000};

        for (uint32_t lane = DGO_LANE_EXPRESS; lane < DGO_LANE_UI; lane++) {
            struct dgo_lane_stats stats;

            dgo_lane_read_stats((enum dgo_lane)lane, &stats);
            wakes[look] += stats.wakes;
            assert_int_equal(stats.running, 0);
        }
        if (look == 0)
            nanosleep(&moment, NULL); /* nothing to wait for: nothing is what is tested */
    }
    assert_int_equal(wakes[0], wakes[1]);
    assert_false(rm_keeper_is_armed());
    stop_now();
}

static void test_no_allocation_in_steady_state(void **state)
{
    _Atomic uint32_t ran = 0;
    struct dgo_job job = {.fn = count_up, .arg = &ran};
    uint64_t before = 0;

    (void)state;
    start_with(2, 0);
    for (int round = 0; round < 2; round++) {
        before = atomic_load(&allocations);
        for (int i = 0; i < 20000; i++) {
            struct dgo_future future;

            job.lane = i % 3 ? DGO_LANE_NORMAL : DGO_LANE_EXPRESS;
            job.on_full = DGO_FULL_INLINE;
            submit(&job, i % 4 ? NULL : &future);
            if (i % 4 == 0)
                wait_for(future);
        }
        assert_int_equal(dgo_resource_drain(DGO_FOREVER, NULL), DGO_OK);
    }
    assert_int_equal(atomic_load(&allocations) - before, 0);
    stop_now();
#ifndef COUNTS_ALLOCATIONS
    print_message("# allocations are not counted under a sanitizer\n");
#endif
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_full),
    cmocka_unit_test(test_coalesced_end_as_cancelled),
    cmocka_unit_test(test_cancelled_make_room),
    cmocka_unit_test(test_callbacks_are_bounded),
    cmocka_unit_test(test_levels_in_order),
    cmocka_unit_test(test_no_level_starves),
    cmocka_unit_test(test_blocked_workers_are_replaced),
    cmocka_unit_test(test_a_batch_is_not_stuck),
    cmocka_unit_test(test_a_refused_batch_is_tried_again),
    cmocka_unit_test(test_nobody_dozes_beside_a_stuck_one),
    cmocka_unit_test(test_announced_blocking),
    cmocka_unit_test(test_idle_wakes_nobody),
    cmocka_unit_test(test_no_allocation_in_steady_state),
};

CHECK_MAIN(tests)
