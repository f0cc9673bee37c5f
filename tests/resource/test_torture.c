/* test_torture.c - everything at once, seeded, for a few seconds: submits, cancels, waits, groups,
 * delays, strands, sizes, forks, and a stop in the middle of it.  The laws must hold every time:
 *     accepted = done + failed + cancelled + expired,  each callback exactly once,
 *     a strand never runs twice at a time,  nothing runs after stop has returned. */
#include "jobs.h"

#include <sys/wait.h>
#include <unistd.h>

/* A million operations; the thread sanitizer is fifty times as slow. */
#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 20 };
#else
enum { ROUNDS = 230 };
#endif
enum { PRODUCERS = 3, STEPS = 1500, STRANDS = 4 };

static const struct dgo_component components[] = {
    {"torture_a", DGO_LANE_NORMAL, DGO_HINT_CPU, 0, "storms of the torture test"},
    {"torture_b", DGO_LANE_EXPRESS, DGO_HINT_CPU, 0, "storms of the torture test"},
    {"torture_c", DGO_LANE_BACKGROUND, DGO_HINT_CPU, 0, "storms of the torture test"},
    {"torture_d", DGO_LANE_BLOCKING, DGO_HINT_CPU, 0, "storms of the torture test"},
};
static dgo_component_id ids[4];

static _Atomic uint64_t ended[DGO_OUTCOME_COUNT];
static _Atomic uint64_t callbacks_wanted, callbacks_seen, runs;
static _Atomic bool is_over; /* the manager has been stopped: nothing may run */
static _Atomic uint32_t late;

static void note_run(void)
{
    atomic_fetch_add(&runs, 1);
    if (atomic_load(&is_over))
        atomic_fetch_add(&late, 1);
}

static enum dgo_status job_ok(void *data)
{
    (void)data;
    note_run();
    return DGO_OK;
}
static enum dgo_status job_fails(void *data)
{
    (void)data;
    note_run();
    return DGO_EIO;
}
static enum dgo_status job_spins(void *data)
{
    (void)data;
    note_run();
    for (int i = 0; i < 2000 && !dgo_job_should_stop(); i++)
        dgo_pause();
    return DGO_OK;
}
static enum dgo_status job_nests(void *data)
{
    const struct dgo_job inner = {.component = ids[0], .fn = job_ok, .arg = data};
    struct dgo_future future;

    note_run();
    if (dgo_submit(&inner, &future, NULL) != DGO_OK)
        return DGO_OK;
    return dgo_wait(future, DGO_FOREVER, NULL, NULL);
}
static void note_end(const struct dgo_result *result, void *data)
{
    (void)data;
    atomic_fetch_add(&ended[result->outcome], 1);
    atomic_fetch_add(&callbacks_seen, 1);
}

struct strand_check {
    _Atomic uint32_t inside, overlaps;
};
static enum dgo_status strand_runs(void *data)
{
    struct strand_check *check = data;

    note_run();
    if (atomic_fetch_add(&check->inside, 1) != 0)
        atomic_fetch_add(&check->overlaps, 1);
    for (int i = 0; i < 50; i++)
        dgo_pause();
    atomic_fetch_sub(&check->inside, 1);
    return DGO_OK;
}

static struct strand_check checks[STRANDS];
static struct dgo_strand strands[STRANDS];
static struct dgo_group group;

struct producer {
    pthread_t thread;
    uint64_t seed;
};

static void random_job(uint64_t *seed, struct dgo_job *job)
{
    static const dgo_job_fn fns[] = {job_ok, job_ok, job_ok, job_fails, job_spins, job_nests};
    static const enum dgo_lane done_lanes[] = {DGO_LANE_OWN, DGO_LANE_OWN, DGO_LANE_NORMAL,
                                               DGO_LANE_UI, DGO_LANE_BACKGROUND};

    *job = (struct dgo_job){
        .component = ids[check_below(seed, 4)],
        .fn = fns[check_below(seed, 6)],
        .level = (enum dgo_level)check_below(seed, DGO_LEVEL_COUNT),
        .on_full = (enum dgo_full)check_below(seed, 4),
        .key = 1 + check_below(seed, 5),
    };
    if (check_below(seed, 3) == 0) {
        job->done = note_end;
        job->done_lane = done_lanes[check_below(seed, 5)];
    }
    if (check_below(seed, 8) == 0)
        job->within_ns = 1 + check_below(seed, 2 * DGO_NS_PER_MS);
    if (check_below(seed, 16) == 0)
        job->delay_ns = 1 + check_below(seed, 2 * DGO_NS_PER_MS);
    if (check_below(seed, 6) == 0)
        job->group = group;
}

static void step(uint64_t *seed)
{
    struct dgo_future future = {0, 0};
    struct dgo_job job;
    const uint64_t what = check_below(seed, 16);

    if (what == 0) {
        dgo_strand_kick(strands[check_below(seed, STRANDS)],
                        (enum dgo_level)check_below(seed, DGO_LEVEL_COUNT));
        return;
    }
    if (what == 1) {
        dgo_strand_kick_after(strands[check_below(seed, STRANDS)], check_below(seed, 1000000));
        return;
    }
    random_job(seed, &job);
    if (job.done) /* counted before: the end may come at once */
        atomic_fetch_add(&callbacks_wanted, 1);
    if (dgo_submit(&job, what < 8 ? &future : NULL, NULL) != DGO_OK) {
        if (job.done)
            atomic_fetch_sub(&callbacks_wanted, 1);
        return;
    }
    if (what >= 8)
        return;
    if (what < 4)
        dgo_cancel(future, NULL);
    if (what == 7 || dgo_wait(future, check_below(seed, 100000), NULL, NULL) == DGO_ETIMEOUT)
        dgo_future_forget(future);
}

static void *produce(void *data)
{
    struct producer *producer = data;

    for (int i = 0; i < STEPS; i++)
        step(&producer->seed);
    return NULL;
}

static void check_law(uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) {
        struct dgo_component_stats stats;

        dgo_component_read_stats(ids[i], &stats);
        if (stats.accepted != stats.done + stats.failed + stats.cancelled + stats.expired)
            fail_msg("seed %llu, %s: %llu accepted, but %llu done, %llu failed, %llu cancelled, "
                     "%llu expired",
                     (unsigned long long)seed, components[i].name,
                     (unsigned long long)stats.accepted, (unsigned long long)stats.done,
                     (unsigned long long)stats.failed, (unsigned long long)stats.cancelled,
                     (unsigned long long)stats.expired);
    }
}

/* A child that is forked in the middle of it: inline, whole, and it can start anew. */
static int child_of_the_storm(void)
{
    const struct dgo_job job = {.component = ids[0], .fn = job_ok};
    struct dgo_future future;

    if (dgo_resource_get()->is_started || dgo_submit(&job, &future, NULL) != DGO_OK ||
        dgo_wait(future, DGO_FOREVER, NULL, NULL) != DGO_OK)
        return 1;
    if (dgo_resource_start(&(struct dgo_resource_config){.workers = 1}, NULL) != DGO_OK ||
        dgo_submit(&job, &future, NULL) != DGO_OK ||
        dgo_wait(future, DGO_FOREVER, NULL, NULL) != DGO_OK ||
        dgo_resource_stop(DGO_FOREVER, NULL) != DGO_OK)
        return 2;
    return 0;
}

static void fork_in_the_middle(void)
{
#ifndef __SANITIZE_THREAD__ /* which gives up in a child with threads of its own */
    const pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(child_of_the_storm());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#else
    (void)child_of_the_storm;
#endif
}

static void one_round(uint64_t *seed)
{
    struct dgo_resource_config config = {
        .workers = 1 + (uint32_t)check_below(seed, 3),
        .background_workers = 1 + (uint32_t)check_below(seed, 2),
        .queue_limit = check_below(seed, 2) ? 16 : 512,
    };
    const bool stops_early = check_below(seed, 2);
    struct producer producers[PRODUCERS];
    int fd;

    atomic_store(&is_over, false);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    assert_int_equal(dgo_group_new(&group, NULL), DGO_OK);
    for (size_t i = 0; i < STRANDS; i++) {
        checks[i] = (struct strand_check){0};
        assert_int_equal(
            dgo_strand_new(ids[i], DGO_LANE_OWN, strand_runs, &checks[i], &strands[i], NULL),
            DGO_OK);
    }
    for (size_t i = 0; i < PRODUCERS; i++) {
        producers[i].seed = check_random(seed);
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    if (check_below(seed, 4) == 0)
        fork_in_the_middle();
    for (int i = 0; i < 200; i++) {
        const int32_t allowed = 1 + (int32_t)check_below(seed, 4);

        atomic_store(&rm.lane[DGO_LANE_NORMAL].allowed, allowed); /* as the budget does */
        rm_lane_wake(&rm.lane[DGO_LANE_NORMAL]);
        dgo_resource_ui_drain(DGO_NS_PER_MS / 4, NULL, NULL);
    }
    if (!stops_early)
        for (size_t i = 0; i < PRODUCERS; i++)
            assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
    if (check_below(seed, 2))
        dgo_group_cancel(group, NULL);
    assert_int_equal(dgo_resource_stop(check_below(seed, 2) ? DGO_FOREVER : 0, NULL), DGO_OK);
    if (!stops_early)
        atomic_store(&is_over, true);
    for (size_t i = 0; stops_early && i < PRODUCERS; i++)
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
    check_law(*seed);
    assert_places_are_back();
    assert_int_equal(atomic_load(&late), 0);
    assert_int_equal(dgo_group_pending(group), 0);
    dgo_group_free(group);
    for (size_t i = 0; i < STRANDS; i++) {
        assert_int_equal(atomic_load(&checks[i].overlaps), 0);
        dgo_strand_free(strands[i]);
    }
}

static void test_storms(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    assert_int_equal(dgo_component_register(components, 4, ids, NULL), DGO_OK);
    for (int round = 0; round < ROUNDS; round++)
        one_round(&seed);
    assert_int_equal(atomic_load(&callbacks_wanted), atomic_load(&callbacks_seen));
    assert_true(atomic_load(&runs) > 1000);
}

/* Every slot comes back: after all that, as many jobs fit as at the start. */
static void test_no_slot_is_lost(void **state)
{
    struct gate gate = {0};
    const struct dgo_job job = {.fn = wait_at_gate, .arg = &gate, .lane = DGO_LANE_UI};
    uint32_t accepted = 0;
    int fd;

    (void)state;
    start_with(1, 512);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    while (dgo_submit(&job, NULL, NULL) == DGO_OK)
        accepted++;
    assert_int_equal(accepted, 512);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
}

/* Pushes that began in one life of the manager and end in another, which may have another bound. */
static void *produce_for_ever(void *is_over_now)
{
    static _Atomic uint32_t ran;
    const struct dgo_job job = {.fn = count_up, .arg = &ran, .lane = DGO_LANE_NORMAL};

    while (!atomic_load((_Atomic bool *)is_over_now))
        if (dgo_submit(&job, NULL, NULL) != DGO_OK) /* full, or just being stopped */
            sched_yield();
    return NULL;
}

static void test_lives_follow_each_other_under_producers(void **state)
{
    static const uint32_t limits[] = {64, 20000, 512, 70000};
    _Atomic bool is_over_now = false;
    pthread_t threads[2];

    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce_for_ever, &is_over_now), 0);
    for (uint32_t life = 0; life < 40; life++) {
        start_with(1, limits[life % 4]);
        for (uint32_t i = 0; i < 20; i++)
            sched_yield();
        assert_int_equal(dgo_resource_stop(life % 3 == 0 ? DGO_FOREVER : 0, NULL), DGO_OK);
    }
    atomic_store(&is_over_now, true);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_places_are_back();
}

/* One thread to a lane with one thread, one level: the order of submission. */
struct fifo {
    uint32_t producer, number;
};
static uint32_t last_number[PRODUCERS];
static _Atomic uint32_t out_of_order;

static enum dgo_status check_order(void *data)
{
    const struct fifo *item = data;

    if (item->number != last_number[item->producer] + 1)
        atomic_fetch_add(&out_of_order, 1);
    last_number[item->producer] = item->number;
    return DGO_OK;
}

static void *produce_in_order(void *data)
{
    struct fifo *items = data;

    for (uint32_t i = 0; i < 5000; i++) {
        const struct dgo_job job = {
            .fn = check_order, .arg = &items[i], .lane = DGO_LANE_BACKGROUND};

        while (dgo_submit(&job, NULL, NULL) == DGO_EBUSY)
            sched_yield();
    }
    return NULL;
}

static void test_order_of_producers(void **state)
{
    const struct dgo_resource_config config = {.workers = 1, .background_workers = 1};
    struct fifo *items = test_calloc(PRODUCERS * 5000, sizeof *items);
    pthread_t threads[PRODUCERS];

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    for (uint32_t p = 0; p < PRODUCERS; p++) {
        for (uint32_t i = 0; i < 5000; i++)
            items[p * 5000 + i] = (struct fifo){p, i + 1};
        assert_int_equal(pthread_create(&threads[p], NULL, produce_in_order, &items[p * 5000]), 0);
    }
    for (uint32_t p = 0; p < PRODUCERS; p++)
        assert_int_equal(pthread_join(threads[p], NULL), 0);
    assert_int_equal(dgo_resource_stop(DGO_FOREVER, NULL), DGO_OK);
    assert_int_equal(atomic_load(&out_of_order), 0);
    for (uint32_t p = 0; p < PRODUCERS; p++)
        assert_int_equal(last_number[p], 5000);
    test_free(items);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_storms),
    cmocka_unit_test(test_no_slot_is_lost),
    cmocka_unit_test(test_lives_follow_each_other_under_producers),
    cmocka_unit_test(test_order_of_producers),
};

CHECK_MAIN(tests)
