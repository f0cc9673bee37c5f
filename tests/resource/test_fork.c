/* test_fork.c - what a child has of the manager it was forked under: nothing that the parent goes
 * on with, and all of it to begin anew.  Each child answers by its exit status, and in time. */
#include "child.h"
#include "jobs.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BEHIND = 40 };

#ifdef __SANITIZE_ADDRESS__ /* a child loses what the stacks of the other threads held */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

/* Counters that parent and child both see. */
static _Atomic uint32_t *shared_counter(void)
{
    void *memory =
        mmap(NULL, sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(memory != MAP_FAILED);
    return memory;
}

/* ---- before the first start ---- */

static void *kick_it(void *strand)
{
    dgo_strand_kick(*(struct dgo_strand *)strand, DGO_LEVEL_MIDDLE);
    return NULL;
}

static struct gate first_gate;
static _Atomic uint32_t first_runs;
static enum dgo_status wait_the_first_time(void *data)
{
    (void)data;
    if (atomic_fetch_add(&first_runs, 1) == 0)
        wait_at_gate(&first_gate);
    return DGO_OK;
}

/* A strand that runs in another thread of the parent runs nowhere in the child. */
static void test_a_strand_that_ran_elsewhere(void **state)
{
    struct dgo_strand strand;
    pthread_t kicker;
    pid_t child;

    (void)state;
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, wait_the_first_time, NULL, &strand, NULL),
                     DGO_OK);
    assert_int_equal(pthread_create(&kicker, NULL, kick_it, &strand), 0);
    await_waiting(&first_gate, 1);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dgo_strand_kick(strand, DGO_LEVEL_MIDDLE);
        dgo_strand_free(strand);
        _exit(atomic_load(&first_runs) == 2 ? 0 : 1);
    }
    assert_ends_well(child);
    open_gate(&first_gate);
    assert_int_equal(pthread_join(kicker, NULL), 0);
    assert_int_equal(atomic_load(&first_runs), 1);
    dgo_strand_free(strand);
}

static void *free_it(void *strand)
{
    dgo_strand_free(*(struct dgo_strand *)strand);
    return NULL;
}

/* Nor is a place lost whose strand was being freed. */
static void test_a_strand_that_was_being_freed(void **state)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    struct dgo_strand strand, other;
    pthread_t kicker, freer;
    pid_t child;

    (void)state;
    first_gate = (struct gate){0};
    atomic_store(&first_runs, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, wait_the_first_time, NULL, &strand, NULL),
                     DGO_OK);
    assert_int_equal(pthread_create(&kicker, NULL, kick_it, &strand), 0);
    await_waiting(&first_gate, 1);
    assert_int_equal(pthread_create(&freer, NULL, free_it, &strand), 0);
    nanosleep(&moment, NULL); /* most likely it is at it by now */
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dgo_strand_free(strand); /* if it was not */
        for (int i = 0; i < DGO_STRAND_MAX; i++)
            if (dgo_strand_new(0, DGO_LANE_NORMAL, wait_the_first_time, NULL, &other, NULL) !=
                DGO_OK)
                _exit(1);
        _exit(0);
    }
    assert_ends_well(child);
    open_gate(&first_gate);
    assert_int_equal(pthread_join(kicker, NULL), 0);
    assert_int_equal(pthread_join(freer, NULL), 0);
}

/* ---- a job that forks, and returns in both ---- */

static pid_t forked;
static enum dgo_status fork_here(void *data)
{
    (void)data;
    forked = fork();
    return forked >= 0 ? DGO_OK : DGO_EIO;
}

/* What its worker has in hand, and what waits in its lane, is the parent's. */
static void test_the_child_of_a_workers_job(void **state)
{
    _Atomic uint32_t *ran = shared_counter();
    struct gate gate = {0};
    const struct dgo_job blocker = {.fn = wait_at_gate, .arg = &gate};
    const struct dgo_job forks = {.fn = fork_here};
    const struct dgo_job behind = {.fn = count_up, .arg = ran};

    (void)state;
#if defined(__SANITIZE_THREAD__)
    print_message("# the thread sanitizer allows no threads in a child: not run under it\n");
    return;
#endif
    start_with(1, 0);
    submit(&blocker, NULL);
    await_waiting(&gate, 1);
    submit(&forks, NULL);
    for (int i = 0; i < BEHIND; i++)
        submit(&behind, NULL);
    open_gate(&gate);
    assert_int_equal(dgo_resource_drain(DGO_FOREVER, NULL), DGO_OK);
    assert_ends_well(forked);
    assert_int_equal(atomic_load(ran), BEHIND);
    stop_now();
    munmap((void *)(uintptr_t)ran, sizeof *ran);
}

struct forks {
    _Atomic uint32_t *ran;
    struct dgo_job behind;
};
static enum dgo_status submit_and_fork(void *data)
{
    const struct forks *forks = data;

    for (int i = 0; i < BEHIND; i++)
        if (dgo_submit(&forks->behind, NULL, NULL) != DGO_OK)
            return DGO_EIO;
    return fork_here(NULL);
}

static void test_the_child_of_a_callers_job(void **state)
{
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE};
    _Atomic uint32_t *ran = shared_counter();
    struct forks forks = {ran, {.fn = count_up, .arg = ran}};
    const struct dgo_job job = {.fn = submit_and_fork, .arg = &forks};

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    submit(&job, NULL); /* and runs all of it */
    if (forked == 0)
        _exit(0);
    assert_ends_well(forked);
    assert_int_equal(atomic_load(ran), BEHIND);
    stop_now();
    munmap((void *)(uintptr_t)ran, sizeof *ran);
}

static _Atomic uint32_t told;
static void note_end(const struct dgo_result *result, void *data)
{
    (void)result;
    (void)data;
    atomic_fetch_add(&told, 1);
}

/* Its slot and its group are the parent's to give back, and so is its callback. */
static int child_with_slots(void)
{
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE};
    const struct dgo_job job = {.fn = fork_here, .lane = DGO_LANE_UI};
    struct dgo_future future[64];
    struct dgo_group group;

    if (atomic_load(&told) != 0)
        return 1;
    if (dgo_resource_start(&config, NULL) != DGO_OK)
        return 2;
    for (int i = 0; i < 64; i++) {
        if (dgo_submit(&job, &future[i], NULL) != DGO_OK)
            return 3;
        for (int k = 0; k < i; k++)
            if (future[k].index == future[i].index)
                return 4;
    }
    for (int i = 0; i < DGO_GROUP_MAX; i++)
        if (dgo_group_new(&group, NULL) != DGO_OK)
            return 5;
    return 0;
}

static void test_the_child_of_a_job_with_a_name(void **state)
{
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE};
    struct dgo_job job = {.fn = fork_here, .done = note_end};
    struct dgo_future future;

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_group_new(&job.group, NULL), DGO_OK);
    submit(&job, &future);
    if (forked == 0)
        _exit(child_with_slots());
    assert_ends_well(forked);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    assert_int_equal(atomic_load(&told), 1);
    dgo_group_free(job.group);
    stop_now();
}

/* ---- what is decided in the child ---- */

static void *change_facts(void *is_over)
{
    const struct dgo_ledger_gpu seen = {.known = true, .total_bytes = 1 << 30, .free_bytes = 1000};

    while (!atomic_load((_Atomic uint32_t *)is_over))
        if (dgo_resource_set_vram(0, &seen, NULL) != DGO_OK)
            break;
    return NULL;
}

/* Another thread was working out where components run: the child does that by itself. */
static void test_the_policy_of_a_child(void **state)
{
    static const struct dgo_component row = {"fork_gpu", DGO_LANE_NORMAL, DGO_HINT_AUTO, 1 << 20,
                                             "has two places to run"};
    const struct dgo_ledger_gpu roomy = {
        .known = true, .total_bytes = 1 << 30, .free_bytes = 1 << 29};
    _Atomic uint32_t is_over = 0;
    dgo_component_id id;
    pthread_t changer;

    (void)state;
    assert_int_equal(dgo_component_register(&row, 1, &id, NULL), DGO_OK);
    assert_int_equal(pthread_create(&changer, NULL, change_facts, &is_over), 0);
    for (int i = 0; i < 200; i++) {
        const pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
            _exit(dgo_resource_set_vram(0, &roomy, NULL) == DGO_OK && !dgo_should_use_cpu(id) ? 0
                                                                                              : 1);
        assert_ends_well(child);
    }
    atomic_store(&is_over, 1);
    assert_int_equal(pthread_join(changer, NULL), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_strand_that_ran_elsewhere),
    cmocka_unit_test(test_a_strand_that_was_being_freed),
    cmocka_unit_test(test_the_policy_of_a_child),
    cmocka_unit_test(test_the_child_of_a_workers_job),
    cmocka_unit_test(test_the_child_of_a_callers_job),
    cmocka_unit_test(test_the_child_of_a_job_with_a_name),
};

CHECK_MAIN(tests)
