/* test_nvml_process.c - who uses a card, through every size that the driver's entries have had. */
#include "rig.h"

#include "dgo_units.h"

#define UNKNOWN UINT64_MAX
#define CARD    "card A\nmemory 24576 0 0\n"

/* Processes as "pid:MiB:kinds", biggest first, in one line; readable in a failing row. */
static const char *listed(void)
{
    static char text[512];
    const struct dgo_gpu *gpu = &rig.gpu[0];
    size_t length = 0;

    text[0] = '\0';
    if (!gpu->processes_known)
        return "unknown";
    for (uint32_t i = 0; i < gpu->process_count && length < sizeof text - 64; i++) {
        const struct dgo_gpu_process *process = &gpu->process[i];
        char used[32] = "?";

        if (process->used_known)
            snprintf(used, sizeof used, "%llu",
                     (unsigned long long)(process->used_bytes / DGO_MIB));
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%u:%s:%s%s",
                                   i ? " " : "", process->pid, used, process->compute ? "C" : "",
                                   process->graphics ? "G" : "");
    }
    return text;
}

#define THREE "process compute 300 30\nprocess compute 100 10\nprocess compute 200 20\n"

static void test_lists(void **state)
{
    static const struct {
        const char *name, *scenario, *want;
    } cases[] = {
        {"nobody", CARD, ""},
        {"entries of 24 bytes", "stride 24\n" CARD THREE, "300:30:C 200:20:C 100:10:C"},
        {"entries of 32 bytes", "stride 32\n" CARD THREE, "300:30:C 200:20:C 100:10:C"},
        {"entries of 16 bytes", "stride 16\n" CARD THREE, "300:30:C 200:20:C 100:10:C"},
        {"one entry of 16", "stride 16\n" CARD "process compute 300 30\n", "300:30:C"},
        {"one entry of 32", "stride 32\n" CARD "process compute 300 30\n", "300:30:C"},
        {"32 bytes, written in part", "stride 32\nwritten 24\n" CARD THREE,
         "300:30:C 200:20:C 100:10:C"},
        {"24 bytes, written in part", "stride 24\nwritten 16\n" CARD THREE,
         "300:30:C 200:20:C 100:10:C"},
        {"second version",
         "missing nvmlDeviceGetComputeRunningProcesses_v3\nstride 32\n" CARD THREE,
         "300:30:C 200:20:C 100:10:C"},
        {"first version",
         "missing nvmlDeviceGetComputeRunningProcesses_v3\n"
         "missing nvmlDeviceGetComputeRunningProcesses_v2\n" CARD THREE,
         "300:30:C 200:20:C 100:10:C"},
        {"in two lists, the greater counts",
         CARD "process compute 100 10\nprocess graphics 100 25\nprocess graphics 200 20\n",
         "100:25:CG 200:20:G"},
        {"under a service", CARD "process mps 100 10\nprocess compute 100 10\n", "100:10:C"},
        {"hidden use", CARD "process compute 100 unknown\nprocess compute 200 20\n",
         "200:20:C 100:?:C"},
        {"hidden in one list only", CARD "process compute 100 unknown\nprocess graphics 100 20\n",
         "100:20:CG"},
        {"all hidden, 32 bytes",
         "stride 32\n" CARD "process compute 100 unknown\nprocess compute 200 unknown\n",
         "100:?:C 200:?:C"},
        {"more than the card has", CARD "process compute 100 99999\nprocess compute 200 20\n",
         "200:20:C 100:?:C"},
        {"no such process", "stride 32\n" CARD "process compute 0 10\nprocess compute 0 20\n",
         "unknown"},
        {"grew after its size was asked", "hide 2\n" CARD THREE, "300:30:C 200:20:C 100:10:C"},
        {"compute not supported",
         "fail nvmlDeviceGetComputeRunningProcesses_v3 3\n" CARD "process graphics 100 10\n",
         "100:10:G"},
        {"none supported",
         "fail nvmlDeviceGetComputeRunningProcesses_v3 3\n"
         "fail nvmlDeviceGetGraphicsRunningProcesses_v3 3\n"
         "fail nvmlDeviceGetMPSComputeRunningProcesses_v3 3\n" CARD,
         "unknown"},
        {"none permitted",
         "fail nvmlDeviceGetComputeRunningProcesses_v3 4\n"
         "fail nvmlDeviceGetGraphicsRunningProcesses_v3 4\n"
         "fail nvmlDeviceGetMPSComputeRunningProcesses_v3 4\n" CARD,
         "unknown"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW_U64(rig_look(cases[i].scenario, &err), DGO_OK, cases[i].name);
        if (strcmp(listed(), cases[i].want) != 0)
            print_error("got \"%s\"\n", listed());
        CHECK_ROW(strcmp(listed(), cases[i].want) == 0, cases[i].name);
        CHECK_ROW(rig.gpu[0].problem[0] == '\0', cases[i].name);
    }
}

/* Random lists through each size: what went in comes out. */
static void test_any_list(void **state)
{
    static const unsigned strides[] = {16, 24, 32};
    uint64_t seed = check_seed();

    (void)state;
    for (int round = 0; round < 60; round++) {
        const uint32_t count = 1 + (uint32_t)check_below(&seed, 40);
        const unsigned stride = strides[check_below(&seed, 3)];
        char scenario[4096];
        size_t length = (size_t)snprintf(scenario, sizeof scenario, "stride %u\n" CARD, stride);
        uint64_t sum = 0, got = 0;
        struct dgo_error err = {0};

        for (uint32_t i = 0; i < count; i++) {
            const uint64_t mib = check_below(&seed, 24576);

            sum += mib;
            length += (size_t)snprintf(
                scenario + length, sizeof scenario - length, "process compute %u %llu\n",
                1 + i * 100000 + (unsigned)check_below(&seed, 90000), (unsigned long long)mib);
        }
        assert_int_equal(rig_look(scenario, &err), DGO_OK);
        assert_int_equal(rig.gpu[0].process_count, count);
        for (uint32_t i = 0; i < count; i++)
            got += rig.gpu[0].process[i].used_bytes / DGO_MIB;
        assert_int_equal(got, sum);
    }
}

static void test_more_than_listed(void **state)
{
    char scenario[8192] = CARD;
    size_t length = strlen(scenario);
    struct dgo_error err = {0};

    (void)state;
    for (unsigned i = 1; i <= 100; i++)
        length += (size_t)snprintf(scenario + length, sizeof scenario - length,
                                   "process graphics %u %u\n", i, i);
    assert_int_equal(rig_look(scenario, &err), DGO_OK);
    assert_int_equal(rig.gpu[0].process_count, DGO_GPU_PROCESS_MAX);
    assert_int_equal(rig.gpu[0].process_more, 100 - DGO_GPU_PROCESS_MAX);
    assert_int_equal(rig.gpu[0].process[0].pid, 100); /* the biggest are listed */
    assert_int_equal(rig.gpu[0].process[63].pid, 37);
}

static void test_names(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    rig_write("/proc/100/comm", "llama-server\n");
    rig_write("/proc/200/comm", "evil\x1b[31m\xe2\x80\x8b\n");
    assert_int_equal(rig_look(CARD "process compute 100 30\nprocess compute 200 20\n"
                                   "process compute 300 10\n",
                              &err),
                     DGO_OK);
    assert_string_equal(rig.gpu[0].process[0].name, "llama-server");
    assert_string_equal(rig.gpu[0].process[1].name, "evil\\x1b[31m\\u{200b}");
    assert_string_equal(rig.gpu[0].process[2].name, ""); /* of another namespace */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
        RIG_TEST(test_lists),
        RIG_TEST(test_any_list),
        RIG_TEST(test_more_than_listed),
        RIG_TEST(test_names),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
