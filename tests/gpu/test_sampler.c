/* test_sampler.c - the sampling thread: fresh looks, a driver that sticks, one that goes and comes
 * back, and an end in time whatever the driver does. */
#include "rig.h"

#include "dgo_sampler.h"
#include "dgo_units.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define CARD(used) "card NVIDIA GeForce RTX 3090\n memory 24576 450 " used "\n busy 40\n"

static const uint64_t patience_ns = 120 * DGO_NS_PER_S;
static struct dgo_sample sample;

static struct dgo_sampler *start(uint64_t interval_ms, dgo_sample_fn fn, void *data)
{
    const struct dgo_sampler_options options = {.gpu = rig_options(),
                                                .interval_ns = interval_ms * DGO_NS_PER_MS,
                                                .on_sample = fn,
                                                .data = data};
    struct dgo_sampler *sampler = NULL;
    struct dgo_error err = {0};

    assert_int_equal(dgo_sampler_start(&options, &sampler, &err), DGO_OK);
    return sampler;
}

/* Looks until one satisfies the row or patience ends.  A thread that gets no processor is late, and
 * late is stale too: conditions name what they wait for. */
static bool comes_true(struct dgo_sampler *sampler, bool (*holds)(const struct dgo_sample *))
{
    for (int i = 0; i < 6000; i++) {
        dgo_sampler_latest(sampler, &sample);
        if (holds(&sample))
            return true;
        usleep(10000);
    }
    return false;
}

static bool uses_2000(const struct dgo_sample *s)
{
    return s->sequence > 0 && s->machine.gpu[0].used_bytes == 2000 * DGO_MIB;
}
static bool is_stuck(const struct dgo_sample *s)
{
    return s->stale && s->sequence > 0 && strstr(s->problem, "does not answer");
}
static bool is_gone(const struct dgo_sample *s)
{
    return s->stale && strstr(s->problem, "went away");
}
static bool is_back(const struct dgo_sample *s)
{
    return !s->stale && strcmp(s->machine.driver, "560") == 0;
}

static void test_fresh_looks(void **state)
{
    struct dgo_sampler *sampler;
    struct dgo_error err = {0};
    uint64_t age_ns = 0, sequence = 0;

    (void)state;
    rig_scenario(CARD("1000"));
    sampler = start(20, NULL, NULL);
    assert_int_equal(dgo_sampler_wait(sampler, 0, patience_ns, &err), DGO_OK);
    assert_int_equal(dgo_sampler_wait(sampler, 3, patience_ns, &err), DGO_OK);
    dgo_sampler_latest(sampler, &sample);
    assert_true(sample.sequence >= 4);
    assert_int_equal(sample.machine.gpu[0].used_bytes, 1000 * DGO_MIB);
    assert_true(sample.wall_ns > 0 && sample.monotonic_ns > 0);
    assert_true(sample.tier_ns[DGO_TIER_FAST] == sample.monotonic_ns);
    assert_true(sample.tier_ns[DGO_TIER_RARE] > 0);
    assert_true(sample.tier_ns[DGO_TIER_RARE] < sample.monotonic_ns); /* not read each time */
    (void)dgo_sampler_is_stale(sampler, &age_ns, &sequence);
    assert_true(sequence >= sample.sequence);
    rig_scenario(CARD("2000"));
    assert_true(comes_true(sampler, uses_2000));
    assert_true(dgo_sampler_stop(sampler, patience_ns));
    assert_true(dgo_sampler_stop(NULL, 0));
}

/* Until the thread is inside the call that takes a minute. */
static bool is_called(const char *trace)
{
    char line[128];
    bool found = false;

    for (int i = 0; i < 6000 && !found; i++) {
        FILE *file = fopen(trace, "r");

        while (file && !found && fgets(line, sizeof line, file))
            found = strcmp(line, "call nvmlDeviceGetMemoryInfo_v2\n") == 0;
        if (file)
            fclose(file);
        usleep(10000);
    }
    return found;
}

/* Whether callers go on with what was read last, told to be old, and whether the stuck thread is
 * left behind. */
static bool stuck_driver_is_survived(void)
{
    char trace[128], scenario[400];
    struct dgo_sampler *sampler = start(20, NULL, NULL);
    struct dgo_error err = {0};

    if (dgo_sampler_wait(sampler, 0, patience_ns, &err) != DGO_OK)
        return false;
    snprintf(trace, sizeof trace, "%s/trace.txt", rig_root);
    snprintf(scenario, sizeof scenario,
             "trace %s\ndelay nvmlDeviceGetMemoryInfo_v2 3600000\n" CARD("1000"), trace);
    rig_scenario(scenario);
    return is_called(trace) && comes_true(sampler, is_stuck) &&
           sample.age_ns > 60 * DGO_NS_PER_MS &&
           sample.machine.gpu[0].used_bytes == 1000 * DGO_MIB &&
           dgo_sampler_wait(sampler, sample.sequence, DGO_NS_PER_MS, &err) == DGO_ETIMEOUT &&
           strstr(err.text, "did not answer") && !dgo_sampler_stop(sampler, DGO_NS_PER_MS);
}

/* In a process of its own, so that the thread left behind meets no other test. */
static void test_stuck_driver(void **state)
{
    int status = -1;
    pid_t child;

    (void)state;
    rig_scenario(CARD("1000"));
    child = fork();
    if (child == 0)
        _exit(stuck_driver_is_survived() ? 0 : 1);
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A call of ten intervals: looks fall out, and what was read before was stale meanwhile.  Slower is
 * always possible: the counts are at least those. */
static void test_counts(void **state)
{
    struct dgo_sampler_counts counts;
    struct dgo_sampler *sampler;
    struct dgo_error err = {0};

    (void)state;
    rig_scenario("delay nvmlDeviceGetMemoryInfo_v2 100\n" CARD("1000"));
    sampler = start(10, NULL, NULL);
    assert_int_equal(dgo_sampler_wait(sampler, 1, patience_ns, &err), DGO_OK);
    dgo_sampler_count(sampler, &counts);
    assert_true(counts.looks >= 1);
    assert_int_equal(counts.failures, 0);
    assert_true(counts.skipped >= 10 * counts.looks);
    assert_int_equal(counts.stale, counts.looks);
    assert_true(counts.longest_ns >= counts.last_ns && counts.last_ns >= 100 * DGO_NS_PER_MS);
    rig_scenario("fail nvmlInit_v2 9\n");
    assert_true(comes_true(sampler, is_gone));
    dgo_sampler_count(sampler, &counts);
    assert_true(counts.failures >= 1 && counts.failures < counts.looks);
    assert_true(dgo_sampler_stop(sampler, patience_ns));
}

static void test_driver_goes_and_returns(void **state)
{
    struct dgo_sampler *sampler;
    struct dgo_error err = {0};
    char path[128];

    (void)state;
    rig_scenario("driver 550\n" CARD("1000"));
    sampler = start(20, NULL, NULL);
    assert_int_equal(dgo_sampler_wait(sampler, 0, patience_ns, &err), DGO_OK);
    snprintf(path, sizeof path, "%s/scenario.txt", rig_root);
    assert_int_equal(unlink(path), 0); /* the module is unloaded */
    assert_true(comes_true(sampler, is_gone));
    assert_string_equal(sample.machine.driver, "550");
    assert_int_equal(dgo_sampler_wait(sampler, sample.sequence, patience_ns, &err), DGO_EDRIVER);
    rig_scenario("driver 560\n" CARD("1000"));
    assert_true(comes_true(sampler, is_back));
    assert_string_equal(sample.problem, "");
    assert_true(dgo_sampler_stop(sampler, patience_ns));
}

/* A machine without a GPU is a problem that is told, and looked for again. */
static void test_no_gpu_at_first(void **state)
{
    struct dgo_sampler *sampler;
    struct dgo_error err = {0};

    (void)state;
    rig_scenario("fail nvmlInit_v2 9\n");
    sampler = start(20, NULL, NULL);
    assert_int_equal(dgo_sampler_wait(sampler, 0, patience_ns, &err), DGO_EDRIVER);
    dgo_sampler_latest(sampler, &sample);
    assert_true(sample.stale);
    assert_int_equal(sample.sequence, 0);
    assert_non_null(strstr(sample.problem, "modprobe"));
    rig_scenario(CARD("2000"));
    assert_true(comes_true(sampler, uses_2000));
    assert_true(dgo_sampler_stop(sampler, patience_ns));
}

struct heard {
    _Atomic uint64_t calls, failures;
    _Atomic uint64_t last;
    _Atomic bool closed, late, out_of_order;
};

static void hear(const struct dgo_sample *heard_sample, void *data)
{
    struct heard *heard = data;

    heard->calls++;
    heard->failures += heard_sample->problem[0] != '\0';
    if (heard_sample->sequence < heard->last)
        heard->out_of_order = true;
    heard->last = heard_sample->sequence;
    usleep(2000);
    if (heard->closed)
        heard->late = true;
}

static void test_callback(void **state)
{
    static struct heard heard;
    struct dgo_sampler *sampler;
    struct dgo_error err = {0};

    (void)state;
    rig_scenario(CARD("1000"));
    sampler = start(10, hear, &heard);
    assert_int_equal(dgo_sampler_wait(sampler, 10, patience_ns, &err), DGO_OK);
    assert_true(dgo_sampler_stop(sampler, patience_ns));
    heard.closed = true;
    assert_true(heard.calls >= 10);
    assert_false(heard.out_of_order);
    assert_int_equal(heard.failures, 0);
    usleep(50000);
    assert_false(heard.late);
}

/* A long interval is cut short by a shorter one and by the wish to look now. */
static void test_interval_changes(void **state)
{
    struct dgo_sampler *sampler;
    struct dgo_error err = {0};

    (void)state;
    rig_scenario(CARD("1000"));
    sampler = start(3600 * 1000, NULL, NULL);
    assert_int_equal(dgo_sampler_wait(sampler, 0, patience_ns, &err), DGO_OK);
    dgo_sampler_look_now(sampler);
    assert_int_equal(dgo_sampler_wait(sampler, 1, patience_ns, &err), DGO_OK);
    dgo_sampler_set_interval(sampler, 10 * DGO_NS_PER_MS);
    assert_int_equal(dgo_sampler_wait(sampler, 5, patience_ns, &err), DGO_OK);
    assert_true(dgo_sampler_stop(sampler, patience_ns));
}

static void *read_much(void *data)
{
    struct dgo_sample *own = malloc(sizeof *own);

    for (int i = 0; own && i < 300; i++) {
        uint64_t age_ns;

        dgo_sampler_latest(data, own);
        (void)dgo_sampler_is_stale(data, &age_ns, NULL);
        if (i % 50 == 0)
            dgo_sampler_set_interval(data, (uint64_t)(10 + i) * DGO_NS_PER_MS);
    }
    free(own);
    return NULL;
}

static void test_many_readers(void **state)
{
    struct dgo_sampler *sampler;
    pthread_t reader[4];

    (void)state;
    rig_scenario(CARD("1000"));
    sampler = start(10, NULL, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&reader[i], NULL, read_much, sampler), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(reader[i], NULL);
    assert_true(dgo_sampler_stop(sampler, patience_ns));
}

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_fresh_looks),      RIG_TEST(test_stuck_driver),
        RIG_TEST(test_counts),           RIG_TEST(test_driver_goes_and_returns),
        RIG_TEST(test_no_gpu_at_first),  RIG_TEST(test_callback),
        RIG_TEST(test_interval_changes), RIG_TEST(test_many_readers),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
