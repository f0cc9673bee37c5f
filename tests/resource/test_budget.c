/* test_budget.c - what files say about our CPUs, and what is made of it. */
#include "check.h"

#include "jobs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a root of files ---- */

static char root[64];

static void make_folders(char *path)
{
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = '\0';
            mkdir(path, 0700);
            *at = '/';
        }
}

static void write_file(const char *name, const char *text)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", root, name);
    make_folders(path);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int new_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/dgo-budget-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void test_limits(void **state)
{
    static const struct {
        const char *name;
        struct {
            const char *path, *text;
        } files[6];
        uint32_t cpus;
        uint32_t quota_permille; /* 0: none */
    } cases[] = {
        {"v2, none",
         {{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "max 100000\n"}},
         4,
         0},
        {"v2, one and a half",
         {{"proc/self/cgroup", "0::/a/b\n"}, {"sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"}},
         4,
         1500},
        {"v2, an ancestor is tighter",
         {{"proc/self/cgroup", "0::/a/b\n"},
          {"sys/fs/cgroup/a/cpu.max", "50000 100000\n"},
          {"sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"}},
         4,
         500},
        {"v2 in a container: the path is not mounted",
         {{"proc/self/cgroup", "0::/docker/xyz\n"}, {"sys/fs/cgroup/cpu.max", "200000 100000\n"}},
         4,
         2000},
        {"v1",
         {{"proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/y\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "30000\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "10000\n"}},
         4,
         3000},
        {"v1, no limit",
         {{"proc/self/cgroup", "4:cpu:/x\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "10000\n"}},
         4,
         0},
        {"v1, the folder has both names",
         {{"proc/self/cgroup", "4:cpu,cpuacct:/x\n"},
          {"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "5000\n"},
          {"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "10000\n"}},
         4,
         500},
        {"cpuset is not cpu",
         {{"proc/self/cgroup", "4:cpuset:/x\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "5000\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "10000\n"}},
         4,
         0},
        {"rubbish",
         {{"proc/self/cgroup", ":::\nx\n0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", "?\n"}},
         4,
         0},
        {"a period of 0",
         {{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", "10 0\n"}},
         4,
         0},
        {"v2, the file is missing", {{"proc/self/cgroup", "0::/a\n"}}, 4, 0},
        {"v2, negative",
         {{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", "-1 100000\n"}},
         4,
         0},
        {"v2, larger than any number",
         {{"proc/self/cgroup", "0::/a\n"},
          {"sys/fs/cgroup/a/cpu.max", "99999999999999999999999 100000\n"}},
         4,
         0},
        {"v2, more CPUs than there are numbers for",
         {{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", "18446744073709551 1\n"}},
         4,
         0},
        {"v2, cut off after the quota",
         {{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", "150000"}},
         4,
         0},
        {"v2, empty", {{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", ""}}, 4, 0},
        {"v2, rubbish below a group that is in order",
         {{"proc/self/cgroup", "0::/a/b\n"},
          {"sys/fs/cgroup/a/cpu.max", "200000 100000\n"},
          {"sys/fs/cgroup/a/b/cpu.max", "max max\n"}},
         4,
         2000},
        {"v1, rubbish",
         {{"proc/self/cgroup", "4:cpu:/x\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "many\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "10000\n"}},
         4,
         0},
        {"v1, no period",
         {{"proc/self/cgroup", "4:cpu:/x\n"}, {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "30000\n"}},
         4,
         0},
        {"v1, a negative period",
         {{"proc/self/cgroup", "4:cpu:/x\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "30000\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "-10000\n"}},
         4,
         0},
        {"v1, larger than any number",
         {{"proc/self/cgroup", "4:cpu:/x\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "99999999999999999999999\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "1\n"}},
         4,
         0},
        {"both versions, the tighter one counts",
         {{"proc/self/cgroup", "4:cpu:/x\n0::/y\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "20000\n"},
          {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "10000\n"},
          {"sys/fs/cgroup/unified/y/cpu.max", "150000 100000\n"}},
         4,
         1500},
        {"a path that climbs out",
         {{"proc/self/cgroup", "0::/../../a\n"}, {"sys/fs/cgroup/cpu.max", "100000 100000\n"}},
         4,
         1000},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rm_budget_limits limits;

        assert_int_equal(new_root(state), 0);
        write_file("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-3\n");
        for (size_t f = 0; f < 6 && cases[i].files[f].path; f++)
            write_file(cases[i].files[f].path, cases[i].files[f].text);
        rm_budget_read(root, &limits);
        CHECK_ROW_U64(limits.cpus, cases[i].cpus, cases[i].name);
        CHECK_ROW(limits.quota_known == (cases[i].quota_permille != 0), cases[i].name);
        CHECK_ROW_U64(limits.quota_permille, cases[i].quota_permille, cases[i].name);
        remove_root(state);
    }
}

static void test_nothing_readable(void **state)
{
    struct rm_budget_limits limits;

    (void)state;
    rm_budget_read("/nowhere/at/all", &limits);
    assert_true(limits.cpus >= 1); /* from the kernel itself */
    assert_false(limits.quota_known);
    assert_true(limits.cgroup_unread); /* which is not "no quota" */
}

/* A kernel without cgroups has no such file, and no quota. */
static void test_no_cgroups(void **state)
{
    struct rm_budget_limits limits;

    assert_int_equal(new_root(state), 0);
    write_file("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-3\n");
    rm_budget_read(root, &limits);
    assert_false(limits.quota_known);
    assert_false(limits.cgroup_unread);
    remove_root(state);
}

/* Kernels without SCHED_INFO have no schedstat, and others hide stat: each alone is enough, and
 * without both as many are taken to run as were told. */
static void test_half_an_engine(void **state)
{
    static const struct {
        const char *name, *schedstat[2], *stat;
        uint32_t told, runnable;
        bool is_blind;
    } cases[] = {
        {"both", {"5000 1 7\n", "9000 1 7\n"}, "42 (llama) S 1\n", 4, 0, false},
        {"no schedstat", {NULL, NULL}, "42 (llama) R 1\n", 4, 1, false},
        {"no schedstat, asleep", {NULL, NULL}, "42 (llama) S 1\n", 4, 0, false},
        {"no stat, and it ran", {"5000 1 7\n", "9000 1 7\n"}, NULL, 4, 1, false},
        {"no stat, and it did not", {"5000 1 7\n", "5000 1 7\n"}, NULL, 4, 0, false},
        {"rubbish", {"?\n", "-\n"}, "llama\n", 4, 4, true},
        {"cut off", {"5000", "5000"}, "42 (lla", 4, 4, true},
        {"nothing, told nothing", {NULL, NULL}, NULL, 0, 1, true},
    };
    static struct rm_budget_engine engine;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rm_budget_feel feel;

        assert_int_equal(new_root(state), 0);
        engine = (struct rm_budget_engine){.pid = 42, .threads_told = cases[i].told};
        write_file("proc/42/task/42/comm", "llama\n");
        if (cases[i].stat)
            write_file("proc/42/task/42/stat", cases[i].stat);
        for (int look = 0; look < 2; look++) {
            if (cases[i].schedstat[look])
                write_file("proc/42/task/42/schedstat", cases[i].schedstat[look]);
            rm_budget_feel(root, &engine, 1000000u * (uint32_t)(look + 1), &feel);
        }
        CHECK_ROW(feel.alive, cases[i].name);
        CHECK_ROW_U64(feel.runnable, cases[i].runnable, cases[i].name);
        CHECK_ROW(feel.is_blind == cases[i].is_blind, cases[i].name);
        remove_root(state);
    }
}

static void test_engine(void **state)
{
    static struct rm_budget_engine engine;
    struct rm_budget_feel feel;

    engine = (struct rm_budget_engine){.pid = 42};
    assert_int_equal(new_root(state), 0);
    rm_budget_feel(root, &engine, 1000000, &feel);
    assert_false(feel.alive);
    write_file("proc/42/task/42/schedstat", "5000 1000 7\n");
    write_file("proc/42/task/42/stat", "42 (a) b) S 1 1\n");
    write_file("proc/42/task/43/schedstat", "5000 2000 7\n");
    write_file("proc/42/task/43/stat", "43 (llama) R 1 1\n");
    rm_budget_feel(root, &engine, 1000000, &feel);
    assert_true(feel.alive);
    assert_int_equal(feel.runnable, 1);
    assert_int_equal(feel.delay_permille, 0); /* nothing to compare with yet */
    write_file("proc/42/task/42/schedstat", "5000 1100 7\n");
    write_file("proc/42/task/43/schedstat", "5000 52000 7\n");
    write_file("proc/42/task/44/schedstat", "5000 99999999 7\n"); /* new: not since the last look */
    write_file("proc/42/task/44/stat", "44 (llama) R 1 1\n");
    rm_budget_feel(root, &engine, 2000000, &feel);
    assert_int_equal(feel.runnable, 2);
    assert_int_equal(feel.delay_permille, 50);
    engine.threads_told = 1;
    rm_budget_feel(root, &engine, 3000000, &feel);
    assert_int_equal(feel.runnable, 1);
    remove_root(state);
}

/* ---- deciding ---- */

static void test_beginning(void **state)
{
    static const struct {
        const char *name;
        struct rm_budget_limits limits;
        uint32_t asked, want;
    } cases[] = {
        {"all CPUs", {.cpus = 8}, 0, 8},
        {"a quota of 2.5", {.cpus = 8, .quota_known = true, .quota_permille = 2500}, 0, 2},
        {"a quota below one", {.cpus = 8, .quota_known = true, .quota_permille = 300}, 0, 1},
        {"a quota above the CPUs", {.cpus = 2, .quota_known = true, .quota_permille = 9000}, 0, 2},
        {"as asked for", {.cpus = 8}, 3, 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rm_budget budget;

        rm_budget_init(&budget, &cases[i].limits, cases[i].asked, 0);
        CHECK_ROW_U64(budget.normal, cases[i].want, cases[i].name);
    }
}

static uint32_t step(struct rm_budget *budget, struct rm_budget_input input, char why[128])
{
    struct rm_budget_output output;

    rm_budget_step(budget, &input, &output);
    strcpy(why, output.why);
    return budget->normal;
}

static void test_steps(void **state)
{
    struct rm_budget_input input = {.now_ns = DGO_NS_PER_S, .limits = {.cpus = 8}};
    struct rm_budget budget;
    char why[128];

    (void)state;
    rm_budget_init(&budget, &input.limits, 0, 0);
    assert_int_equal(step(&budget, input, why), 8);
    assert_string_equal(why, "");
    /* An engine with four busy threads begins: at once four less. */
    input.protecting = true;
    input.engine_threads = 4;
    assert_int_equal(step(&budget, input, why), 4);
    assert_non_null(strstr(why, "4 engine threads"));
    /* It waits for CPUs all the same: halved, halved, never 0. */
    input.delay_permille = 25;
    assert_int_equal(step(&budget, input, why), 2);
    assert_non_null(strstr(why, "2.5 %"));
    assert_int_equal(step(&budget, input, why), 1);
    assert_int_equal(step(&budget, input, why), 1);
    assert_string_equal(why, "");
    /* Between the two bounds nothing moves. */
    input.delay_permille = 10;
    input.now_ns += 10 * DGO_NS_PER_S;
    assert_int_equal(step(&budget, input, why), 1);
    /* Calm for a second: one more, and no faster. */
    input.delay_permille = 0;
    assert_int_equal(step(&budget, input, why), 1);
    input.now_ns += DGO_NS_PER_S / 2;
    assert_int_equal(step(&budget, input, why), 1);
    input.now_ns += DGO_NS_PER_S / 2;
    assert_int_equal(step(&budget, input, why), 2);
    input.now_ns += DGO_NS_PER_S / 2;
    assert_int_equal(step(&budget, input, why), 2);
    /* The engine is gone and jobs wait: back to all, step by step. */
    input.protecting = false;
    input.engine_threads = 0;
    input.queue_wait_ns = 50 * DGO_NS_PER_MS;
    for (uint32_t want = 3; want <= 8; want++) {
        input.now_ns += 20 * DGO_NS_PER_MS;
        assert_int_equal(step(&budget, input, why), want);
    }
    assert_int_equal(step(&budget, input, why), 8);
}

/* An engine that needs every CPU: NORMAL's one thread may use a small part of the time. */
static void test_shares(void **state)
{
    struct rm_budget_input input = {
        .now_ns = DGO_NS_PER_S, .limits = {.cpus = 2}, .protecting = true, .engine_threads = 2};
    struct rm_budget budget;
    char why[128];

    (void)state;
    rm_budget_init(&budget, &input.limits, 0, 0);
    step(&budget, input, why);
    assert_int_equal(budget.normal, 1);
    step(&budget, input, why);
    assert_int_equal(budget.normal_duty_permille, RM_DUTY_NORMAL_PERMILLE);
    assert_int_equal(budget.background_duty_permille, 1000); /* SCHED_IDLE does it */
    /* It is hurt all the same: BACKGROUND halves, at most once in RM_ADAPT_NS, and never to 0. */
    input.delay_permille = 100;
    for (int i = 0; i < 4; i++) {
        input.now_ns += 20 * DGO_NS_PER_MS;
        step(&budget, input, why);
    }
    assert_in_range(budget.background_duty_permille, 500, 1000);
    for (int i = 0; i < 100; i++) {
        input.now_ns += 20 * DGO_NS_PER_MS;
        step(&budget, input, why);
    }
    assert_int_equal(budget.background_duty_permille, RM_DUTY_TRICKLE_PERMILLE);
    /* Calm again: doubled each second. */
    input.delay_permille = 0;
    for (int i = 0; i < 40; i++) { /* until the average has followed */
        input.now_ns += 20 * DGO_NS_PER_MS;
        step(&budget, input, why);
    }
    for (uint32_t want = 2 * RM_DUTY_TRICKLE_PERMILLE; want < 1000; want *= 2) {
        input.now_ns += RM_CALM_NS;
        step(&budget, input, why);
        assert_int_equal(budget.background_duty_permille, want);
    }
    assert_int_equal(budget.normal_duty_permille, RM_DUTY_NORMAL_PERMILLE);
    /* One engine thread: a CPU is left, and all of it is ours. */
    input.engine_threads = 1;
    for (int i = 0; i < 20; i++) {
        input.now_ns += RM_CALM_NS;
        step(&budget, input, why);
    }
    assert_int_equal(budget.normal_duty_permille, 1000);
    /* The engine stops: nobody to be kind to. */
    input.engine_threads = 2;
    step(&budget, input, why);
    assert_int_equal(budget.normal_duty_permille, RM_DUTY_NORMAL_PERMILLE);
    input.protecting = false;
    step(&budget, input, why);
    assert_int_equal(budget.normal_duty_permille, 1000);
}

static void test_quota(void **state)
{
    struct rm_budget_input input = {
        .now_ns = DGO_NS_PER_S, .limits = {.cpus = 8, .quota_known = true, .quota_permille = 1000}};
    struct rm_budget budget;
    char why[128];

    (void)state;
    rm_budget_init(&budget, &input.limits, 0, 0);
    step(&budget, input, why);
    assert_int_equal(budget.background_duty_permille, 1000); /* nobody to be kind to */
    input.protecting = true;
    input.engine_threads = 1;
    step(&budget, input, why);
    assert_int_equal(budget.normal, 1);
    assert_int_equal(budget.background, 1);
    assert_int_equal(budget.background_duty_permille, RM_DUTY_TRICKLE_PERMILLE);
    /* With four CPUs there is one left for each of us. */
    input.limits.quota_permille = 4000;
    rm_budget_init(&budget, &input.limits, 1, 0);
    step(&budget, input, why);
    assert_int_equal(budget.normal, 1);
    assert_int_equal(budget.background, 2);
    assert_int_equal(budget.background_duty_permille, 1000);
    /* The group was throttled since: NORMAL halves. */
    rm_budget_init(&budget, &input.limits, 0, 0);
    step(&budget, input, why);
    assert_int_equal(budget.normal, 3);
    input.limits.throttled = 5;
    step(&budget, input, why);
    assert_int_equal(budget.normal, 2);
    assert_non_null(strstr(why, "throttled"));
}

/* Whatever comes in: at least one thread, never more than there are. */
static void test_bounds(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (int round = 0; round < 200; round++) {
        struct rm_budget_input input = {
            .limits = {.cpus = 1 + (uint32_t)check_below(&seed, 64),
                       .quota_known = check_below(&seed, 2),
                       .quota_permille = (uint32_t)check_below(&seed, 20000)}};
        struct rm_budget budget;
        char why[128];

        rm_budget_init(&budget, &input.limits, (uint32_t)check_below(&seed, 10),
                       (uint32_t)check_below(&seed, 10));
        for (int i = 0; i < 200; i++) {
            input.now_ns += check_below(&seed, DGO_NS_PER_S);
            input.protecting = check_below(&seed, 2);
            input.engine_threads = (uint32_t)check_below(&seed, 100);
            input.delay_permille = (uint32_t)check_below(&seed, 1001);
            input.limits.throttled += check_below(&seed, 2);
            input.queue_wait_ns = check_below(&seed, 100000000);
            step(&budget, input, why);
            assert_in_range(budget.normal, 1, budget.normal_most);
            assert_in_range(budget.background, 1, budget.background_most);
            assert_in_range(budget.background_duty_permille, RM_DUTY_TRICKLE_PERMILLE, 1000);
            assert_in_range(budget.normal_duty_permille, RM_DUTY_NORMAL_PERMILLE, 1000);
        }
    }
}

/* ---- looking ---- */

enum { HELD_UP_MS = 50, SOON_MS = 10000 };

/* True once the manager has seen so many; a look put off by 400 times what it was held up is late.
 */
static bool sees_engine_threads(uint32_t want)
{
    struct dgo_budget_facts facts = {0};

    for (int ms = 0; ms < SOON_MS && facts.engine_threads != want; ms++) {
        usleep(1000);
        dgo_resource_budget(&facts);
    }
    return facts.engine_threads == want;
}

/* A busy machine holds the looking thread up, here a pipe that nobody fills: the next look comes in
 * its time all the same. */
static void test_held_up(void **state)
{
    char pipe_path[128], path[128];
    struct dgo_error err = {0};
    struct dgo_resource_config config = {.root = root};
    struct dgo_future future;
    struct gate gate = {0};
    int pipe_end;

    assert_int_equal(new_root(state), 0);
    snprintf(pipe_path, sizeof pipe_path, "%s/proc/42/task/42/schedstat", root);
    snprintf(path, sizeof path, "%s/proc/schedstat", root);
    write_file("proc/self/status", "Cpus_allowed_list:\t0-1\n");
    write_file("proc/42/task/42/stat", "42 (llama) R 1\n");
    write_file("proc/schedstat", "5000 1000 7\n");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(dgo_resource_start(&config, &err), DGO_OK);
    assert_int_equal(dgo_submit(&(struct dgo_job){.fn = wait_at_gate, .arg = &gate}, &future, &err),
                     DGO_OK); /* it looks while there is work */
    assert_int_equal(dgo_resource_protect(42, 0, &err), DGO_OK);
    pipe_end = open(pipe_path, O_WRONLY);
    assert_true(pipe_end >= 0);
    assert_int_equal(rename(path, pipe_path), 0); /* for the next looks */
    usleep(HELD_UP_MS * 1000);
    assert_int_equal(write(pipe_end, "5000 1000 7\n", 12), 12);
    close(pipe_end);
    assert_true(sees_engine_threads(1));
    write_file("proc/42/task/43/stat", "43 (llama) R 1\n");
    write_file("proc/42/task/43/schedstat", "5000 1000 7\n");
    assert_true(sees_engine_threads(2));
    open_gate(&gate);
    assert_int_equal(dgo_wait(future, UINT64_MAX, NULL, &err), DGO_OK);
    assert_int_equal(dgo_resource_stop(DGO_NS_PER_S, &err), DGO_OK);
    remove_root(state);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_limits),     cmocka_unit_test(test_nothing_readable),
    cmocka_unit_test(test_no_cgroups), cmocka_unit_test(test_half_an_engine),
    cmocka_unit_test(test_engine),     cmocka_unit_test(test_beginning),
    cmocka_unit_test(test_steps),      cmocka_unit_test(test_shares),
    cmocka_unit_test(test_quota),      cmocka_unit_test(test_bounds),
    cmocka_unit_test(test_held_up),
};

CHECK_MAIN(tests)
