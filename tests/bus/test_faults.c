/* test_faults.c - what the system refuses: threads, memory, scheduling classes, descriptors, files.
 * Whatever it is, jobs run, events arrive, and it is said why things are not as they should be.
 *
 * Memory is mapped once a process, so each row of it has a process of its own. */
#include "faults.h"
#include "../resource/jobs.h"

#include "dgo_bus.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
int __lsan_do_recoverable_leak_check(void);
#endif

enum { CALLS_MOST = 200 /* of one kind that a whole run makes, by far */ };

static void wait_until(_Atomic uint32_t *count, uint32_t want)
{
    while (atomic_load(count) < want)
        sched_yield();
}

static bool decisions_say(const char *what)
{
    struct dgo_decision decisions[DGO_DECISION_MAX];
    const uint32_t count = dgo_resource_decisions(decisions, DGO_DECISION_MAX);

    for (uint32_t i = 0; i < count; i++)
        if (strstr(decisions[i].why, what))
            return true;
    return false;
}

/* The keeper looks while something runs.  The bound only ends a test that has failed. */
static void work_until_decisions_say(const char *what)
{
    const struct timespec moment = {0, 1000000};
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran};

    for (uint32_t turn = 0; !decisions_say(what); turn++) {
        assert_true(turn < 30000);
        submit(&job, NULL);
        wait_until(&ran, turn + 1);
        nanosleep(&moment, NULL);
    }
}

/* ---- one whole life: start, jobs of every lane, delays, events, stop ---- */

enum { LIFE_OK, LIFE_NO_SENTENCE, LIFE_NO_JOB, LIFE_NO_EVENT, LIFE_NO_DRAIN, LIFE_NO_STOP };

static enum dgo_status count_event(const struct dgo_event *event, void *data)
{
    (void)event;
    atomic_fetch_add((_Atomic uint32_t *)data, 1);
    return DGO_OK;
}

/* A refusal must say so; then nothing is expected of the bus. */
static int live_on_a_bus(void)
{
    static const struct dgo_topic topics[] = {
        {0, "number", DGO_TOPIC_NORMAL, DGO_TOPIC_CPU, DGO_TOPIC_NEVER, sizeof(uint32_t), 0, 0}};
    _Atomic uint32_t seen = 0;
    const struct dgo_subscriber subscriber = {
        .name = "counter", .topics = 1, .fn = count_event, .data = &seen};
    struct dgo_subscription name;
    struct dgo_error err = {0};
    struct dgo_bus *bus = NULL;
    enum dgo_status status = dgo_bus_new(topics, 1, NULL, &bus, &err);
    int result = LIFE_OK;

    if (status == DGO_OK)
        status = dgo_bus_log_start(bus, 1, 16, &err);
    if (status == DGO_OK)
        status = dgo_bus_subscribe(bus, &subscriber, &name, &err);
    if (status != DGO_OK) {
        dgo_bus_free(bus);
        return (status == DGO_ENOMEM || status == DGO_ELIMIT) && err.text[0] ? LIFE_OK
                                                                             : LIFE_NO_SENTENCE;
    }
    for (uint32_t i = 0; i < 100; i++)
        if (dgo_bus_publish(bus, 0, 0, &i) != DGO_OK)
            result = LIFE_NO_EVENT;
    if (dgo_bus_drain(bus, DGO_FOREVER, NULL) != DGO_OK || atomic_load(&seen) != 100)
        result = LIFE_NO_EVENT;
    dgo_bus_free(bus);
    return result;
}

static int live(const struct dgo_resource_config *config)
{
    _Atomic uint32_t ran = 0;
    uint32_t refused = 0;
    struct dgo_error err = {0};
    const bool is_started = dgo_resource_start(config, &err) == DGO_OK;
    int result;

    if (!is_started && (!err.text[0] || !dgo_resource_get()->is_inline))
        return LIFE_NO_SENTENCE;
    err.text[0] = '\0';
    for (int lane = DGO_LANE_EXPRESS; lane < DGO_LANE_UI; lane++)
        for (int i = 0; i < 20; i++) {
            const struct dgo_job job = {.fn = count_up,
                                        .arg = &ran,
                                        .lane = (enum dgo_lane)lane,
                                        .delay_ns = i % 5 == 0 ? 1000 : 0};
            struct dgo_future future;
            struct dgo_result end;

            const enum dgo_status status = dgo_submit(&job, &future, &err);

            /* Nobody keeps the time; said, not forgotten. */
            if ((status == DGO_EBUSY || status == DGO_ESTATE) && job.delay_ns && err.text[0]) {
                refused++;
                continue;
            }
            if (status != DGO_OK)
                return LIFE_NO_JOB;
            if (i % 2 == 0 && is_started && !dgo_resource_get()->is_inline && !job.delay_ns &&
                (dgo_wait(future, DGO_FOREVER, &end, NULL) != DGO_OK ||
                 end.outcome != DGO_OUTCOME_DONE))
                return LIFE_NO_JOB;
        }
    result = live_on_a_bus();
    if (result != LIFE_OK)
        return result;
    if (dgo_resource_get()->is_inline)
        dgo_resource_run_due();
    else
        wait_until(&ran, 80 - refused);
    if (dgo_resource_drain(DGO_FOREVER, NULL) != DGO_OK)
        return LIFE_NO_DRAIN;
    if (is_started && dgo_resource_stop(DGO_FOREVER, NULL) != DGO_OK)
        return LIFE_NO_STOP;
    return atomic_load(&ran) >= 64 - refused ? LIFE_OK
                                             : LIFE_NO_JOB; /* of an inline one 16 wait for time */
}

/* ---- in a process of its own ---- */

enum { NOTHING_FAILED = 100, LEAKED = 101, NOT_WHOLE_AGAIN = 102 };

/* Call number `passed` of the kind fails, and `failing - 1` after it.  Then all is well again, and
 * a second life must be a whole one. */
static int die_of(enum fault fault, uint32_t passed, uint32_t failing)
{
    const struct dgo_resource_config config = {.workers = 2, .background_workers = 1};
    int result;

    fault_order(fault, passed, failing);
    result = live(&config);
    faults_forget();
    if (result != LIFE_OK)
        return result;
    if (faults_met(fault) == 0)
        return NOTHING_FAILED;
    if (live(&config) != LIFE_OK || dgo_resource_start(&config, NULL) != DGO_OK ||
        dgo_resource_get()->is_inline || dgo_resource_stop(DGO_FOREVER, NULL) != DGO_OK)
        return NOT_WHOLE_AGAIN;
#if defined(__SANITIZE_ADDRESS__)
    if (__lsan_do_recoverable_leak_check())
        return LEAKED;
#endif
    return LIFE_OK;
}

static int in_a_process(enum fault fault, uint32_t passed, uint32_t failing)
{
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(die_of(fault, passed, failing));
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_every_call_fails_once(void **state)
{
    static const struct {
        const char *name;
        enum fault fault;
        uint32_t failing;
        uint32_t least; /* calls that there are, or the rows prove nothing */
    } cases[] = {
        {"no thread", FAULT_THREAD, 1, 4},
        {"no thread from then on", FAULT_THREAD, 9999, 4},
        {"no memory", FAULT_MEMORY, 1, 8},
        {"no memory from then on", FAULT_MEMORY, 9999, 8},
        {"no scheduling class", FAULT_SCHED, 1, 2},
        {"no class at all", FAULT_SCHED, 9999, 2},
        {"no file", FAULT_OPEN, 1, 2},
        {"no file from then on", FAULT_OPEN, 9999, 2},
    };

    (void)state;
#if defined(__SANITIZE_THREAD__)
    print_message("# the thread sanitizer allows no threads in a child: not run under it\n");
    return;
#endif
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t passed = 0;
        int result = LIFE_OK;

        for (; passed < CALLS_MOST; passed++) {
            result = in_a_process(cases[i].fault, passed, cases[i].failing);
            if (result != LIFE_OK)
                break;
        }
        if (result != NOTHING_FAILED)
            print_message("# %s: call %u: %d\n", cases[i].name, passed, result);
        CHECK_ROW(result == NOTHING_FAILED, cases[i].name);
        CHECK_ROW(passed >= cases[i].least, cases[i].name);
    }
}

/* ---- threads and classes, in words ---- */

static void test_refusals(void **state)
{
    static const struct {
        const char *name;
        uint32_t threads, classes;
        bool is_inline;
        const char *policy, *why;
    } cases[] = {
        {"nothing", 0, 0, false, "SCHED_IDLE", NULL},
        {"no keeper", 1, 0, false, "SCHED_IDLE", "refused the keeper's thread"},
        {"one worker less", 2, 0, false, "SCHED_IDLE", "refused a thread: 2 of 3"},
        {"no thread at all", 1000, 0, true, NULL, "refused a thread: 0 of 3"},
        {"no class at all", 0, 1000, false, "SCHED_OTHER", "refused SCHED_IDLE"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_resource_config config = {.workers = 3, .background_workers = 1};
        struct dgo_lane_stats stats;
        _Atomic uint32_t ran = 0;

        fault_order(FAULT_THREAD, 0, cases[i].threads);
        fault_order(FAULT_SCHED, 0, cases[i].classes);
        CHECK_ROW(dgo_resource_start(&config, NULL) == DGO_OK, cases[i].name);
        CHECK_ROW(dgo_resource_get()->is_inline == cases[i].is_inline, cases[i].name);
        for (int lane = DGO_LANE_EXPRESS; lane < DGO_LANE_UI; lane++) {
            const struct dgo_job job = {.fn = count_up, .arg = &ran, .lane = (enum dgo_lane)lane};
            struct dgo_future future;

            submit(&job, &future);
            CHECK_ROW(wait_for(future).outcome == DGO_OUTCOME_DONE, cases[i].name);
            submit(&job, NULL);
        }
        CHECK_ROW(dgo_resource_drain(DGO_FOREVER, NULL) == DGO_OK, cases[i].name);
        CHECK_ROW_U64(atomic_load(&ran), 8, cases[i].name);
        if (cases[i].policy) {
            dgo_lane_read_stats(DGO_LANE_BACKGROUND, &stats);
            CHECK_ROW(strcmp(stats.policy, cases[i].policy) == 0, cases[i].name);
        }
        if (cases[i].why)
            work_until_decisions_say(cases[i].why);
        faults_forget();
        stop_now();
    }
}

/* Lanes whose threads could not be made are looked after by the NORMAL ones. */
static void test_orphans(void **state)
{
    const struct dgo_resource_config config = {.workers = 1};
    _Atomic uint32_t ran = 0;

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    fault_order(FAULT_THREAD, 0, 1000);
    for (int i = 0; i < 50; i++) {
        const struct dgo_job job = {.fn = count_up, .arg = &ran, .lane = DGO_LANE_BLOCKING};

        submit(&job, NULL);
    }
    wait_until(&ran, 50);
    faults_forget();
    stop_now();
}

static void test_no_memory(void **state)
{
    const struct dgo_resource_config config = {.workers = 1, .queue_limit = DGO_QUEUE_LIMIT_MAX};
    struct dgo_error err = {0};
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran};

    (void)state;
    fault_order(FAULT_MEMORY, 0, 10000);
    assert_int_equal(dgo_resource_start(&config, &err), DGO_ENOMEM);
    assert_true(err.text[0] != '\0');
    assert_true(dgo_resource_get()->is_inline);
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_COUNT; id++)
        assert_true(rm.lane[id].closed); /* a push that began in an earlier life is refused */
    submit(&job, NULL);
    assert_int_equal(atomic_load(&ran), 1);
    faults_forget();
}

static void test_no_ui_descriptor(void **state)
{
    struct dgo_error err = {0};
    int fd = -1;

    (void)state;
    start_with(1, 0);
    fault_order(FAULT_EVENTFD, 0, 1);
    assert_int_not_equal(dgo_resource_ui_attach(&fd, &err), DGO_OK);
    assert_true(err.text[0] != '\0');
    assert_int_equal(dgo_resource_ui_attach(&fd, &err), DGO_OK);
    assert_true(fd >= 0);
    stop_now();
}

/* ---- files of /proc and of cgroups, while it runs ---- */

/* An engine whose threads cannot be looked at (here: no descriptors are left) has not gone. */
static void test_blind(void **state)
{
    struct dgo_budget_facts facts;

    (void)state;
    start_with(1, 0);
    assert_int_equal(dgo_resource_protect((uint32_t)getpid(), 3, NULL), DGO_OK);
    fault_order(FAULT_OPEN, 0, UINT32_MAX);
    work_until_decisions_say("threads cannot be read");
    dgo_resource_budget(&facts);
    assert_int_equal(facts.engine_threads, 3);
    faults_forget();
    stop_now();
    dgo_resource_unprotect((uint32_t)getpid());
}

static void test_no_proc_at_all(void **state)
{
    const struct dgo_resource_config config = {.workers = 1, .root = "/nowhere/at/all"};

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    work_until_decisions_say("whether there is a quota is not known");
    stop_now();
}

static void write_file(const char *root, const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", root, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* A quota that was read once holds, though its file cannot be read any more. */
static void test_quota_stays(void **state)
{
    static const char *const folders[] = {"proc", "proc/self", "sys", "sys/fs", "sys/fs/cgroup"};
    char root[] = "/tmp/dgo-faults-XXXXXX", path[256], loop[256];
    const struct dgo_resource_config config = {.workers = 1, .root = root};
    struct dgo_budget_facts facts;

    (void)state;
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    write_file(root, "proc/self/status", "Cpus_allowed_list:\t0-3\n");
    write_file(root, "proc/self/cgroup", "0::/\n");
    write_file(root, "sys/fs/cgroup/cpu.max", "150000 100000\n");
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    /* A link to itself cannot be read, and takes the file's place in one step: where there is none
     * there is no quota. */
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    snprintf(loop, sizeof loop, "%s/proc/self/loop", root);
    assert_int_equal(symlink("cgroup", loop), 0);
    assert_int_equal(rename(loop, path), 0);
    work_until_decisions_say("the quota read before is taken to hold");
    dgo_resource_budget(&facts);
    assert_true(facts.quota_known);
    assert_int_equal(facts.quota_permille, 1500);
    stop_now();
    snprintf(path, sizeof path, "rm -rf '%s'", root);
    assert_int_equal(system(path), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_call_fails_once), /* first: the parent has mapped nothing */
    cmocka_unit_test(test_no_memory),             /* then: later there are slots from before */
    cmocka_unit_test(test_refusals),
    cmocka_unit_test(test_orphans),
    cmocka_unit_test(test_no_ui_descriptor),
    cmocka_unit_test(test_blind),
    cmocka_unit_test(test_no_proc_at_all),
    cmocka_unit_test(test_quota_stays),
};

CHECK_MAIN(tests)
