/* test_nvml.c - loading, losing and finding again NVIDIA's library, and its cards as a whole. */
#include "rig.h"

#include "dgo_units.h"

#include <dlfcn.h>

#define CARD_3090                                                                                  \
    "card NVIDIA GeForce RTX 3090\n uuid GPU-aaaa\n pci 00000000:0A:00.0\n memory 24576 450 "      \
    "1000\n"                                                                                       \
    " compute 8.6\n busy 40\n memory_busy 20\n temperature 55\n power 120000\n"                    \
    " power_instant 121000\n power_limit 350000\n core_clock 1800\n memory_clock 405\n"            \
    " memory_clock_max 9751\n pcie_gen 1\n pcie_width 16\n pcie_gen_max 4\n pcie_width_max 16\n"   \
    " cores 10496\n bus_bits 384\n"
#define CARD_3060 "card NVIDIA GeForce RTX 3060\n pci 00000000:0B:00.0\n memory 12288 300 100\n"

static void test_two_cards(void **state)
{
    const struct dgo_gpu *one = &rig.gpu[0], *other = &rig.gpu[1];
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(rig_look("driver 550.54.14\n" CARD_3090 CARD_3060, &err), DGO_OK);
    assert_string_equal(rig.source, "nvml");
    assert_string_equal(rig.driver, "550.54.14");
    assert_false(rig.origin.simulated);
    assert_int_equal(rig.gpu_count, 2);
    assert_string_equal(one->name, "NVIDIA GeForce RTX 3090");
    assert_string_equal(one->uuid, "GPU-aaaa");
    assert_string_equal(one->pci_id, "0000:0a:00.0");
    assert_string_equal(one->problem, "");
    assert_int_equal(one->vendor, DGO_VENDOR_NVIDIA);
    for (int field = 0; field <= DGO_GPU_FP16_FLOPS; field++)
        assert_true(dgo_gpu_knows(one, (enum dgo_gpu_field)field));
    assert_int_equal(one->total_bytes, 24576 * DGO_MIB);
    assert_int_equal(one->reserved_bytes, 450 * DGO_MIB);
    assert_int_equal(one->used_bytes, 1000 * DGO_MIB);
    assert_int_equal(one->free_bytes, (24576 - 450 - 1000) * DGO_MIB);
    assert_int_equal(one->busy_permille, 400);
    assert_int_equal(one->memory_busy_permille, 200);
    assert_int_equal(one->temperature_c, 55);
    assert_int_equal(one->power_mw, 121000); /* the instant one, which is cheap to ask */
    assert_int_equal(one->power_limit_mw, 350000);
    assert_int_equal(one->core_clock_mhz, 1800);
    assert_int_equal(one->memory_clock_mhz, 405);
    assert_int_equal(one->pcie_gen, 1); /* idle */
    assert_int_equal(one->pcie_gen_max, 4);
    assert_int_equal(one->compute_major * 10 + one->compute_minor, 86);
    assert_int_equal(one->core_count, 10496);
    assert_true(one->bandwidth_bytes_per_s > 935e9 && one->bandwidth_bytes_per_s < 937e9);
    assert_true(one->processes_known);
    assert_int_equal(one->process_count, 0);

    assert_string_equal(other->pci_id, "0000:0b:00.0");
    assert_false(dgo_gpu_knows(other, DGO_GPU_BUSY_PERMILLE));
    assert_true(other->bandwidth_bytes_per_s == 360e9); /* from the table of facts */

    assert_true(rig.host.memory_known);
    assert_int_equal(rig.host.total_bytes, 64 * DGO_GIB);
    assert_int_equal(rig.host.free_bytes, 60 * DGO_GIB);
    assert_int_equal(rig.host.core_count, 4);
}

/* No GPU, a broken driver: the status and what the sentence must say. */
static void test_open_failures(void **state)
{
    static const struct {
        const char *name, *scenario, *library;
        enum dgo_status status;
        const char *says, *next;
    } cases[] = {
        {"no such library", "", "/nonexistent/libnvidia-ml.so.1", DGO_ENOGPU, "does not exist",
         "--gpus FILE"},
        {"no library at all", "", "/proc/self/maps", DGO_EDRIVER, "cannot be loaded", "reinstall"},
        {"too old", "missing nvmlDeviceGetCount_v2\n" CARD_3060, FAKE_NVML, DGO_EDRIVER,
         "lacks nvmlDeviceGetCount_v2", "update the driver"},
        {"module not loaded", "fail nvmlInit_v2 9\n", FAKE_NVML, DGO_EDRIVER, "not loaded",
         "modprobe nvidia"},
        {"half upgraded", "fail nvmlInit_v2 18\n", FAKE_NVML, DGO_EDRIVER, "different versions",
         "reboot"},
        {"no permission", "fail nvmlInit_v2 4\n", FAKE_NVML, DGO_EDRIVER, "permission denied",
         "container"},
        {"blocked", "fail nvmlInit_v2 17\n", FAKE_NVML, DGO_EDRIVER, "blocked", "/dev/nvidia"},
        {"unknown code", "fail nvmlInit_v2 999\n", FAKE_NVML, DGO_EDRIVER, "Unknown Error", "999"},
        {"count fails", "fail nvmlDeviceGetCount_v2 999\n" CARD_3060, FAKE_NVML, DGO_EDRIVER,
         "does not count", "999"},
        {"no cards", "driver 550\n", FAKE_NVML, DGO_ENOGPU, "reports no card", "--gpus FILE"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_gpu_options options = {.nvml_library = cases[i].library,
                                                .system_root = rig_root};
        struct dgo_gpu_source *source = NULL;
        struct dgo_error err = {0};

        rig_scenario(cases[i].scenario);
        CHECK_ROW_U64(dgo_gpu_open(&options, &source, &err), cases[i].status, cases[i].name);
        CHECK_ROW(source == NULL, cases[i].name);
        CHECK_ROW(strstr(err.text, cases[i].says), cases[i].name);
        CHECK_ROW(strstr(err.text, cases[i].next), cases[i].name);
        CHECK_ROW_U64(dgo_gpu_open(&options, &source, NULL), cases[i].status, cases[i].name);
    }
}

/* The library by its usual names; means nothing where a driver is installed. */
static void test_not_installed(void **state)
{
    const struct dgo_gpu_options options = {.system_root = rig_root};
    struct dgo_gpu_source *source = NULL;
    struct dgo_error err = {0};
    void *library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);

    (void)state;
    if (library) {
        dlclose(library);
        print_message("# skipped: an NVIDIA driver is installed here\n");
        return; /* cmocka's skip() is a failure to readers of TAP */
    }
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_ENOGPU);
    assert_non_null(strstr(err.text, "no GPU found: libnvidia-ml.so.1 is not installed"));
    assert_non_null(strstr(err.text, "--gpus FILE"));
    rig_pci_card("0000:01:00.0", "active");
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_ENOGPU);
    assert_non_null(strstr(err.text, "an NVIDIA card is at PCI 0000:01:00.0"));
    assert_non_null(strstr(err.text, "install the NVIDIA driver"));
    setenv("DUALGPUOPT_NVML", FAKE_NVML, 1);
    rig_scenario(CARD_3060);
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_OK);
    dgo_gpu_close(source);
}

static void test_lost_card_is_listed(void **state)
{
    const struct dgo_gpu_options options = rig_options();
    struct dgo_gpu_source *source = NULL;

    (void)state;
    rig_scenario(CARD_3090 CARD_3060);
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[1].problem, "");

    rig_scenario(CARD_3090 CARD_3060 "lost\n");
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(rig.gpu_count, 2);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_non_null(strstr(rig.gpu[1].problem, "lost"));
    assert_string_equal(rig.gpu[1].name, "NVIDIA GeForce RTX 3060"); /* known from before */
    assert_false(dgo_gpu_knows(&rig.gpu[1], DGO_GPU_FREE_BYTES));
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK); /* no handle any more */
    assert_non_null(strstr(rig.gpu[1].problem, "lost"));

    rig_scenario(CARD_3090 CARD_3060);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[1].problem, "");
    assert_true(dgo_gpu_knows(&rig.gpu[1], DGO_GPU_FREE_BYTES));
    dgo_gpu_close(source);
}

static void test_lost_from_the_start(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(rig_look(CARD_3090 CARD_3060 "fail nvmlDeviceGetHandleByIndex_v2 15\n", &err),
                     DGO_OK);
    assert_int_equal(rig.gpu_count, 2);
    assert_non_null(strstr(rig.gpu[1].problem, "lost"));
    assert_string_equal(rig.gpu[1].name, "");
    assert_int_equal(rig.gpu[1].vendor, DGO_VENDOR_NVIDIA);
    assert_int_equal(rig_look(CARD_3090 CARD_3060 "fail nvmlDeviceGetHandleByIndex_v2 8\n", &err),
                     DGO_OK);
    assert_non_null(strstr(rig.gpu[1].problem, "power cables"));
}

static uint32_t count_lines(const char *line)
{
    char path[PATH_MAX], text[256];
    uint32_t count = 0;
    FILE *file;

    snprintf(path, sizeof path, "%s/trace.txt", rig_root);
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(text, sizeof text, file)) {
        text[strcspn(text, "\n")] = '\0';
        count += strcmp(text, line) == 0;
    }
    fclose(file);
    return count;
}

static void scenario_with_trace(const char *before, const char *after)
{
    rig_write("/scenario.txt", "trace %s/trace.txt\n%s%s", rig_root, before, after);
}

/* Codes that mean the driver went away: one failure, then loaded afresh when it is back. */
static void test_driver_goes_and_comes_back(void **state)
{
    static const struct {
        const char *name, *gone, *says;
    } cases[] = {
        {"uninitialised", "fail nvmlDeviceGetMemoryInfo_v2 1\n", "went away (code 1)"},
        {"module unloaded", "fail nvmlDeviceGetMemoryInfo_v2 9\nfail nvmlInit_v2 9\n",
         "went away (code 9)"},
        {"upgraded",
         "fail nvmlDeviceGetTemperature 18\nmissing nvmlDeviceGetTemperatureV\n"
         "fail nvmlDeviceGetTemperatureV 18\nfail nvmlInit_v2 18\n",
         "went away (code 18)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_gpu_options options = rig_options();
        struct dgo_gpu_source *source = NULL;
        struct dgo_error err = {0};

        scenario_with_trace("driver 1\n", CARD_3090 CARD_3060);
        CHECK_ROW_U64(dgo_gpu_open(&options, &source, &err), DGO_OK, cases[i].name);
        CHECK_ROW_U64(dgo_gpu_take(source, &rig, &err), DGO_OK, cases[i].name);
        rig_write("/scenario.txt", "driver 1\n%s%s", cases[i].gone, CARD_3090 CARD_3060);
        rig.gpu_count = 99;
        CHECK_ROW_U64(dgo_gpu_take(source, &rig, &err), DGO_EDRIVER, cases[i].name);
        CHECK_ROW_U64(rig.gpu_count, 99, cases[i].name); /* written on success only */
        CHECK_ROW(strstr(err.text, cases[i].says), cases[i].name);
        CHECK_ROW_U64(dgo_gpu_take(source, &rig, &err), DGO_EDRIVER, cases[i].name);
        CHECK_ROW_U64(err.status, DGO_EDRIVER, cases[i].name);
        CHECK_ROW_U64(dgo_gpu_take(source, &rig, NULL), DGO_EDRIVER, cases[i].name);
        rig_scenario("driver 2\n" CARD_3090);
        CHECK_ROW_U64(dgo_gpu_take(source, &rig, &err), DGO_OK, cases[i].name);
        CHECK_ROW_U64(rig.gpu_count, 1, cases[i].name);
        CHECK_ROW(strcmp(rig.driver, "2") == 0, cases[i].name);
        CHECK_ROW(dgo_gpu_knows(&rig.gpu[0], DGO_GPU_FREE_BYTES), cases[i].name);
        dgo_gpu_close(source);
    }
}

/* When no card answers anything the library itself is suspect: the next look loads it again. */
static void test_silent_driver_is_reloaded(void **state)
{
    const struct dgo_gpu_options options = rig_options();
    struct dgo_gpu_source *source = NULL;

    (void)state;
    scenario_with_trace("", "card A\n memory 1024 0 0\n");
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(count_lines("call nvmlInit_v2"), 1);
    scenario_with_trace("fail nvmlDeviceGetMemoryInfo_v2 999\nfail nvmlDeviceGetMemoryInfo 999\n",
                        "card A\n memory 1024 0 0\n");
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_non_null(strstr(rig.gpu[0].problem, "memory cannot be read (code 999)"));
    scenario_with_trace("", "card A\n memory 1024 0 0\n");
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_int_equal(count_lines("call nvmlInit_v2"), 2);
    assert_int_equal(count_lines("call nvmlShutdown"), 1);
    dgo_gpu_close(source);
    assert_int_equal(count_lines("call nvmlShutdown"), 2);
}

/* Handles are fetched once, what does not change is asked once, and nothing is even looked up that
 * blocks or that could make a context. */
static void test_what_is_called(void **state)
{
    const struct dgo_gpu_options options = rig_options();
    struct dgo_gpu_source *source = NULL;

    (void)state;
    scenario_with_trace("topology 0 1 30\n", CARD_3090 CARD_3060);
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    dgo_gpu_close(source);
    assert_int_equal(count_lines("call nvmlInit_v2"), 1);
    assert_int_equal(count_lines("call nvmlDeviceGetHandleByIndex_v2"), 2);
    assert_int_equal(count_lines("call nvmlDeviceGetName"), 2);
    assert_int_equal(count_lines("call nvmlDeviceGetTopologyCommonAncestor"), 1);
    assert_int_equal(count_lines("call nvmlDeviceGetMemoryInfo_v2"), 6);
    assert_int_equal(count_lines("call nvmlShutdown"), 1);
    assert_int_equal(count_lines("find nvmlDeviceGetMemoryInfo_v2"), 1);
    assert_int_equal(count_lines("find nvmlDeviceGetPcieThroughput"), 0);
}

/* A laptop's sleeping card is listed from what the kernel says, and no call is made for it. */
static void test_asleep(void **state)
{
    struct dgo_gpu_options options = rig_options();
    struct dgo_gpu_source *source = NULL;

    (void)state;
    rig_pci_card("0000:0a:00.0", "suspended");
    rig_pci_card("0000:0b:00.0", "active");
    rig_write("/proc/driver/nvidia/gpus/0000:0a:00.0/information",
              "Model: \t\t NVIDIA GeForce RTX 4060 Laptop GPU\nIRQ:   \t\t 100\n");
    scenario_with_trace("", CARD_3090 CARD_3060);
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(rig.gpu_count, 2);
    assert_string_equal(rig.gpu[0].name, "NVIDIA GeForce RTX 4060 Laptop GPU");
    assert_string_equal(rig.gpu[0].pci_id, "0000:0a:00.0");
    assert_non_null(strstr(rig.gpu[0].problem, "asleep"));
    assert_string_equal(rig.gpu[1].problem, "");
    assert_int_equal(count_lines("call nvmlDeviceGetHandleByIndex_v2"), 1);

    rig_pci_card("0000:0a:00.0", "active");
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_string_equal(rig.gpu[0].name, "NVIDIA GeForce RTX 3090");
    rig_pci_card("0000:0a:00.0", "suspended"); /* with a handle: found by its own address */
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_non_null(strstr(rig.gpu[0].problem, "asleep"));
    assert_string_equal(rig.gpu[0].name, "NVIDIA GeForce RTX 3090");
    dgo_gpu_close(source);

    options.wake = true;
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[0].problem, "");
    dgo_gpu_close(source);
}

/* A laptop's idle card: the driver is let go, and the card is met again when somebody woke it. */
static void test_idle_card_is_let_go(void **state)
{
    static const char card[] = "card NVIDIA GeForce RTX 4060 Laptop GPU\n pci 00000000:0A:00.0\n"
                               " memory 8188 300 0\n busy 0\n";
    const struct dgo_gpu_options options = rig_options();
    struct dgo_gpu_source *source = NULL;

    (void)state;
    rig_pci_card("0000:0a:00.0", "active");
    rig_write("/sys/bus/pci/devices/0000:0a:00.0/power/control", "auto\n");
    scenario_with_trace("", card);
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_int_equal(count_lines("call nvmlShutdown"), 1);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_non_null(strstr(rig.gpu[0].problem, "left alone"));
    assert_string_equal(rig.gpu[0].name, "NVIDIA GeForce RTX 4060 Laptop GPU");
    rig_pci_card("0000:0a:00.0", "suspended");
    for (int i = 0; i < 100; i++)
        assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_non_null(strstr(rig.gpu[0].problem, "asleep"));
    assert_int_equal(count_lines("call nvmlInit_v2"), 1);
    rig_pci_card("0000:0a:00.0", "active");
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_true(dgo_gpu_knows(&rig.gpu[0], DGO_GPU_FREE_BYTES));
    assert_int_equal(count_lines("call nvmlInit_v2"), 2);
    /* Kept awake by somebody else: looked at again, and not let go soon. */
    for (int i = 0; i < 100; i++)
        assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_int_equal(count_lines("call nvmlInit_v2"), 3);
    dgo_gpu_close(source);
    /* A server's card, which may not sleep, is never let go. */
    rig_write("/sys/bus/pci/devices/0000:0a:00.0/power/control", "on\n");
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    for (int i = 0; i < 30; i++)
        assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_int_equal(count_lines("call nvmlInit_v2"), 4);
    dgo_gpu_close(source);
}

static void test_more_cards_than_fit(void **state)
{
    char text[1024] = "";
    struct dgo_error err = {0};

    (void)state;
    for (int i = 0; i < 20; i++)
        strcat(text, "card A\n memory 1024 0 0\n");
    assert_int_equal(rig_look(text, &err), DGO_OK);
    assert_int_equal(rig.gpu_count, DGO_GPU_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
        RIG_TEST(test_two_cards),
        RIG_TEST(test_open_failures),
        RIG_TEST(test_not_installed),
        RIG_TEST(test_lost_card_is_listed),
        RIG_TEST(test_lost_from_the_start),
        RIG_TEST(test_driver_goes_and_comes_back),
        RIG_TEST(test_silent_driver_is_reloaded),
        RIG_TEST(test_what_is_called),
        RIG_TEST(test_asleep),
        RIG_TEST(test_idle_card_is_let_go),
        RIG_TEST(test_more_cards_than_fit),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
