/* test_manager.c - being there at all times: before start, after stop, after fork, without
 * threads; strands; the UI descriptor. */
#include "jobs.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

static enum dgo_status who_runs(void *data)
{
    *(pthread_t *)data = pthread_self();
    return DGO_OK;
}

static void test_always_there(void **state)
{
    pthread_t ran_in = 0;
    const struct dgo_job job = {.fn = who_runs, .arg = &ran_in};

    (void)state;
    assert_non_null(dgo_resource_get());
    assert_true(dgo_resource_get()->is_inline);
    assert_false(dgo_resource_get()->is_started);
    submit(&job, NULL);
    assert_true(pthread_equal(ran_in, pthread_self()));
    start_with(1, 0);
    assert_true(dgo_resource_get()->is_started);
    assert_false(dgo_resource_get()->is_inline);
    assert_int_equal(dgo_resource_start(NULL, NULL), DGO_ESTATE);
    stop_now();
    assert_true(dgo_resource_get()->is_inline);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_ESTATE);
    ran_in = 0;
    submit(&job, NULL);
    assert_true(pthread_equal(ran_in, pthread_self()));
}

static void test_sync_call_runs_in_the_caller(void **state)
{
    pthread_t ran_in = 0;

    (void)state;
    start_with(2, 0);
    assert_int_equal(dgo_run_on_cpu(0, who_runs, &ran_in), DGO_OK);
    assert_true(pthread_equal(ran_in, pthread_self()));
    stop_now();
}

static void *sync_call_as_ui(void *data)
{
    int fd;

    if (dgo_resource_ui_attach(&fd, NULL) != DGO_OK)
        return NULL;
    dgo_run_on_cpu(0, who_runs, data);
    return NULL;
}

static void test_sync_call_of_the_ui_thread_runs_elsewhere(void **state)
{
    struct dgo_component_stats before, after;
    pthread_t ran_in = 0, ui;

    (void)state;
    start_with(1, 0);
    dgo_component_read_stats(0, &before);
    assert_int_equal(pthread_create(&ui, NULL, sync_call_as_ui, &ran_in), 0);
    assert_int_equal(pthread_join(ui, NULL), 0);
    assert_true(ran_in != 0 && !pthread_equal(ran_in, ui));
    dgo_component_read_stats(0, &after);
    assert_int_equal(after.ui_waits - before.ui_waits, 1);
    stop_now();
}

static enum dgo_status stop_inside(void *data)
{
    (void)data;
    if (dgo_resource_stop(0, NULL) != DGO_ESTATE || dgo_resource_drain(0, NULL) != DGO_ESTATE)
        return DGO_EIO;
    return DGO_OK;
}

static void test_stop_inside_a_job(void **state)
{
    const struct dgo_job job = {.fn = stop_inside};
    struct dgo_future future;

    (void)state;
    start_with(1, 0);
    submit(&job, &future);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    stop_now();
}

/* ---- stop: drained, or cancelled ---- */

struct ends {
    _Atomic uint32_t ran, done, cancelled;
};
static enum dgo_status run_end(void *data)
{
    atomic_fetch_add(&((struct ends *)data)->ran, 1);
    return DGO_OK;
}
static void note_end(const struct dgo_result *result, void *data)
{
    struct ends *ends = data;

    atomic_fetch_add(result->outcome == DGO_OUTCOME_DONE ? &ends->done : &ends->cancelled, 1);
}

static void test_stop(void **state)
{
    static const struct {
        const char *name;
        uint64_t drain_ns;
    } cases[] = {{"drains", DGO_FOREVER}, {"cancels", 0}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ends ends = {0};
        const struct dgo_job job = {
            .fn = run_end, .arg = &ends, .done = note_end, .lane = DGO_LANE_BACKGROUND};

        start_with(1, 1 << 15);
        for (int n = 0; n < 10000; n++)
            submit(&job, NULL);
        assert_int_equal(dgo_resource_stop(cases[i].drain_ns, NULL), DGO_OK);
        CHECK_ROW_U64(atomic_load(&ends.done) + atomic_load(&ends.cancelled), 10000, cases[i].name);
        CHECK_ROW_U64(atomic_load(&ends.done), atomic_load(&ends.ran), cases[i].name);
        if (i == 0)
            CHECK_ROW_U64(atomic_load(&ends.ran), 10000, cases[i].name);
    }
}

/* ---- fork ---- */

static int child_of_fork(struct dgo_future parents)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran};

    if (!dgo_resource_get()->is_inline || dgo_resource_get()->is_started)
        return 1;
    if (dgo_submit(&job, NULL, NULL) != DGO_OK || atomic_load(&ran) != 1)
        return 2;
    if (dgo_wait(parents, DGO_FOREVER, NULL, NULL) != DGO_ESTATE)
        return 3;
    return 0;
}

static void test_fork(void **state)
{
    struct gate gate = {0};
    const struct dgo_job job = {.fn = wait_at_gate, .arg = &gate};
    struct dgo_future future;
    int status;
    pid_t child;

    (void)state;
    start_with(2, 0);
    submit(&job, &future);
    await_waiting(&gate, 1);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(child_of_fork(future));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    open_gate(&gate); /* the parent goes on as before */
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    stop_now();
}

/* A child may start a manager of its own. */
static int child_with_threads(void)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_resource_config config = {.workers = 1};
    const struct dgo_job job = {.fn = count_up, .arg = &ran};
    struct dgo_future future;

    if (dgo_resource_start(&config, NULL) != DGO_OK)
        return 1;
    for (int i = 0; i < 100; i++)
        if (dgo_submit(&job, &future, NULL) != DGO_OK ||
            dgo_wait(future, DGO_FOREVER, NULL, NULL) != DGO_OK)
            return 2;
    if (dgo_resource_stop(DGO_FOREVER, NULL) != DGO_OK)
        return 3;
    return atomic_load(&ran) == 100 ? 0 : 4;
}

static void test_start_after_fork(void **state)
{
    int status;
    pid_t child;

    (void)state;
#if defined(__SANITIZE_THREAD__)
    print_message("# the thread sanitizer allows no threads in a child: not run under it\n");
    return; /* cmocka's skip() would print "not ok" */
#endif
    start_with(2, 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(child_with_threads());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    stop_now();
}

/* The parent's kick in an hour is the parent's: the child's, in a moment, is the earlier one. */
static int child_with_a_strand(struct dgo_strand strand, _Atomic uint32_t *runs)
{
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE};
    struct timespec pause = {.tv_nsec = 2 * 1000000};

    if (dgo_resource_start(&config, NULL) != DGO_OK)
        return 1;
    dgo_strand_kick_after(strand,
                          2 * 3600 * DGO_NS_PER_S); /* after the parent's, and all there is */
    if (rm_delay_next_ns() == UINT64_MAX)
        return 2;
    dgo_strand_kick_after(strand, DGO_NS_PER_MS);
    nanosleep(&pause, NULL);
    dgo_resource_run_due();
    if (atomic_load(runs) != 1)
        return 3;
    dgo_strand_free(strand);
    return dgo_resource_stop(DGO_FOREVER, NULL) == DGO_OK ? 0 : 4;
}

static void test_a_delayed_kick_after_fork(void **state)
{
    _Atomic uint32_t runs = 0;
    struct dgo_strand strand;
    int status;
    pid_t child;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, count_up, &runs, &strand, NULL), DGO_OK);
    dgo_strand_kick_after(strand, 3600 * DGO_NS_PER_S);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(child_with_a_strand(strand, &runs));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    dgo_strand_free(strand);
    stop_now();
}

static void test_bad_configurations(void **state)
{
    static const struct {
        const char *name;
        struct dgo_resource_config config;
    } cases[] = {
        {"too many workers", {.workers = DGO_WORKER_MAX + 1}},
        {"too many background workers", {.background_workers = DGO_WORKER_MAX + 1}},
        {"too many blocking threads", {.blocking_max = DGO_BLOCKING_MAX + 1}},
        {"too long a queue", {.queue_limit = DGO_QUEUE_LIMIT_MAX + 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW(dgo_resource_start(&cases[i].config, &err) == DGO_EINVAL, cases[i].name);
        CHECK_ROW(err.text[0] != '\0', cases[i].name);
    }
}

/* ---- the UI descriptor ---- */

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

static void test_ui_descriptor(void **state)
{
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran, .lane = DGO_LANE_UI};
    uint32_t count;
    int fd;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    assert_int_equal(dgo_resource_ui_fd(), fd);
    assert_false(is_readable(fd));
    for (int i = 0; i < 5; i++)
        submit(&job, NULL);
    assert_true(is_readable(fd));
    assert_int_equal(dgo_resource_ui_drain(0, &count, NULL), DGO_OK);
    assert_int_equal(count, 1);   /* the budget was used up ... */
    assert_true(is_readable(fd)); /* ... so there is more */
    assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, &count, NULL), DGO_OK);
    assert_int_equal(count, 4);
    assert_false(is_readable(fd));
    dgo_resource_request_stop();
    assert_true(is_readable(fd));
    assert_int_equal(dgo_resource_ui_drain(0, NULL, NULL), DGO_ECANCELLED);
    stop_now();
}

/* The signal came before the thread was there: it finds its descriptor readable. */
static int child_that_is_told_to_stop(void)
{
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE};
    int fd;

    if (dgo_resource_start(&config, NULL) != DGO_OK)
        return 1;
    dgo_resource_request_stop();
    if (dgo_resource_ui_attach(&fd, NULL) != DGO_OK || !is_readable(fd))
        return 2;
    return dgo_resource_ui_drain(0, NULL, NULL) == DGO_ECANCELLED ? 0 : 3;
}

static void test_stop_is_asked_for_before_the_ui_thread(void **state)
{
    int status;
    pid_t child;

    (void)state;
    child = fork(); /* which has no descriptor yet */
    assert_true(child >= 0);
    if (child == 0)
        _exit(child_that_is_told_to_stop());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- strands ---- */

struct strand_test {
    _Atomic uint32_t runs, inside;
    struct gate *gate;
};
static enum dgo_status run_strand(void *data)
{
    struct strand_test *test = data;

    if (atomic_fetch_add(&test->inside, 1) != 0)
        abort();
    if (test->gate && atomic_load(&test->runs) == 0)
        wait_at_gate(test->gate);
    atomic_fetch_add(&test->runs, 1);
    atomic_fetch_sub(&test->inside, 1);
    return DGO_OK;
}

static void test_kicks_are_one(void **state)
{
    struct gate gate = {0};
    struct strand_test test = {.gate = &gate};
    struct dgo_strand strand;

    (void)state;
    start_with(2, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, run_strand, &test, &strand, NULL), DGO_OK);
    dgo_strand_kick(strand, DGO_LEVEL_MIDDLE);
    await_waiting(&gate, 1);
    for (int i = 0; i < 1000; i++) /* it runs: all of these are one more run */
        dgo_strand_kick(strand, DGO_LEVEL_HIGH);
    open_gate(&gate);
    assert_int_equal(dgo_resource_drain(DGO_FOREVER, NULL), DGO_OK);
    assert_int_equal(atomic_load(&test.runs), 2);
    dgo_strand_free(strand);
    dgo_strand_kick(strand, DGO_LEVEL_MIDDLE); /* stale: nothing */
    assert_int_equal(dgo_resource_drain(DGO_FOREVER, NULL), DGO_OK);
    assert_int_equal(atomic_load(&test.runs), 2);
    stop_now();
}

static void test_free_waits_for_the_run(void **state)
{
    struct gate gate = {0};
    struct strand_test test = {.gate = &gate};
    struct dgo_strand strand;

    (void)state;
    start_with(2, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, run_strand, &test, &strand, NULL), DGO_OK);
    dgo_strand_kick(strand, DGO_LEVEL_MIDDLE);
    await_waiting(&gate, 1);
    open_gate(&gate);
    dgo_strand_free(strand);
    assert_int_equal(atomic_load(&test.inside), 0);
    assert_int_equal(atomic_load(&test.runs), 1);
    stop_now();
}

static void test_strand_without_a_manager(void **state)
{
    struct strand_test test = {0};
    struct dgo_strand strand;

    (void)state;
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, run_strand, &test, &strand, NULL), DGO_OK);
    dgo_strand_kick(strand, DGO_LEVEL_MIDDLE);
    dgo_strand_kick_after(strand, 1000);
    assert_int_equal(atomic_load(&test.runs), 2);
    dgo_strand_free(strand);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_always_there),
    cmocka_unit_test(test_sync_call_runs_in_the_caller),
    cmocka_unit_test(test_sync_call_of_the_ui_thread_runs_elsewhere),
    cmocka_unit_test(test_stop_inside_a_job),
    cmocka_unit_test(test_stop),
    cmocka_unit_test(test_fork),
    cmocka_unit_test(test_start_after_fork),
    cmocka_unit_test(test_a_delayed_kick_after_fork),
    cmocka_unit_test(test_bad_configurations),
    cmocka_unit_test(test_ui_descriptor),
    cmocka_unit_test(test_stop_is_asked_for_before_the_ui_thread),
    cmocka_unit_test(test_kicks_are_one),
    cmocka_unit_test(test_free_waits_for_the_run),
    cmocka_unit_test(test_strand_without_a_manager),
};

CHECK_MAIN(tests)
