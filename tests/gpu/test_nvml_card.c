/* test_nvml_card.c - one card's readings, with each way that drivers are known to mislead a row. */
#include "rig.h"
#include "usage.h"

#include "dgo_units.h"

#define MIB(n)  ((uint64_t)(n)*DGO_MIB)
#define UNKNOWN UINT64_MAX

static uint64_t reading(enum dgo_gpu_field field, uint64_t value)
{
    return dgo_gpu_knows(&rig.gpu[0], field) ? value : UNKNOWN;
}

static void test_memory(void **state)
{
    static const struct {
        const char *name, *scenario;
        uint64_t total, reserved, used, free;
        const char *problem; /* "" none */
    } cases[] = {
        {"v2 tells reserved apart", "card A\nmemory 24576 450 1000\n", MIB(24576), MIB(450),
         MIB(1000), MIB(23126), ""},
        {"v1 where v2 is missing",
         "missing nvmlDeviceGetMemoryInfo_v2\ncard A\nmemory 24576 450 1000\n", MIB(24576), UNKNOWN,
         MIB(1450), MIB(23126), ""},
        {"v1 where v2 is refused",
         "card A\nfail nvmlDeviceGetMemoryInfo_v2 25\nmemory 24576 450 1000\n", MIB(24576), UNKNOWN,
         MIB(1450), MIB(23126), ""},
        {"neither",
         "missing nvmlDeviceGetMemoryInfo\ncard A\nfail nvmlDeviceGetMemoryInfo_v2 999\n", UNKNOWN,
         UNKNOWN, UNKNOWN, UNKNOWN, "memory cannot be read (code 999): Unknown Error"},
        {"no permission",
         "card A\nfail nvmlDeviceGetMemoryInfo_v2 4\nfail nvmlDeviceGetMemoryInfo 4\n", UNKNOWN,
         UNKNOWN, UNKNOWN, UNKNOWN, "permission denied"},
        {"free above total", "card A\nmemory_bytes 1000000000 0 2000000000 0\n", UNKNOWN, UNKNOWN,
         UNKNOWN, UNKNOWN, "cannot be true: total 953.67 MiB, free 1.86 GiB"},
        {"used above total", "card A\nmemory_bytes 1000000000 0 0 2000000000\n", UNKNOWN, UNKNOWN,
         UNKNOWN, UNKNOWN, "cannot be true"},
        {"reserved above total", "card A\nmemory_bytes 1000000000 2000000000 0 0\n", UNKNOWN,
         UNKNOWN, UNKNOWN, UNKNOWN, "cannot be true"},
        {"free and used above total", "card A\nmemory_bytes 1000000000 0 900000000 900000000\n",
         UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "cannot be true"},
        {"sum wraps around",
         "card A\nmemory_bytes 70368744177664 0 18446744073709551615 18446744073709551615\n",
         UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "cannot be true"},
        {"total of nothing", "card A\nmemory_bytes 0 0 0 0\n", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN,
         "cannot be true: total 0 B"},
        {"absurd total", "card A\nmemory_bytes 18446744073709551615 0 1000 1000\n", UNKNOWN,
         UNKNOWN, UNKNOWN, UNKNOWN, "cannot be true"},
        {"used holds the reserved part after all",
         "card A\nmemory_bytes 1000000000 100000000 700000000 300000000\n", 1000000000, UNKNOWN,
         300000000, 700000000, ""},
        {"rounded apart", "card A\nmemory_bytes 1000000000 100000000 700000000 200100000\n",
         1000000000, 100000000, 200100000, 700000000, ""},
        {"shared with the host, code 3",
         "card NVIDIA GB10\nfail nvmlDeviceGetMemoryInfo_v2 3\nfail nvmlDeviceGetMemoryInfo 3\n"
         "process compute 4194000 512\nprocess compute 4194001 256\n",
         64 * DGO_GIB, UNKNOWN, MIB(768), 60 * DGO_GIB, ""},
        {"shared with the host, zeros", "card NVIDIA Jetson AGX Orin\nmemory_bytes 0 0 0 0\n",
         64 * DGO_GIB, UNKNOWN, 0, 60 * DGO_GIB, ""},
        {"code 3 of a card with its own memory",
         "card NVIDIA GeForce RTX 3090\nfail nvmlDeviceGetMemoryInfo_v2 3\n"
         "fail nvmlDeviceGetMemoryInfo 3\n",
         UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "does not support it"},
        {"in slices", "card NVIDIA A100-SXM4-40GB\nmemory 40960 500 0\nmig 1\n", UNKNOWN, UNKNOWN,
         UNKNOWN, UNKNOWN, "MIG is on"},
        {"not in slices", "card NVIDIA A100-SXM4-40GB\nmemory 40960 500 0\nmig 0\n", MIB(40960),
         MIB(500), 0, MIB(40460), ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_gpu *gpu = &rig.gpu[0];
        const char *name = cases[i].name;
        struct dgo_error err = {0};

        CHECK_ROW_U64(rig_look(cases[i].scenario, &err), DGO_OK, name);
        CHECK_ROW_U64(reading(DGO_GPU_TOTAL_BYTES, gpu->total_bytes), cases[i].total, name);
        CHECK_ROW_U64(reading(DGO_GPU_RESERVED_BYTES, gpu->reserved_bytes), cases[i].reserved,
                      name);
        CHECK_ROW_U64(reading(DGO_GPU_USED_BYTES, gpu->used_bytes), cases[i].used, name);
        CHECK_ROW_U64(reading(DGO_GPU_FREE_BYTES, gpu->free_bytes), cases[i].free, name);
        if (cases[i].problem[0] == '\0')
            CHECK_ROW(gpu->problem[0] == '\0', name);
        else
            CHECK_ROW(strstr(gpu->problem, cases[i].problem), name);
    }
}

static void test_readings(void **state)
{
    static const struct {
        const char *name, *line;
        enum dgo_gpu_field field;
        size_t at;
        uint64_t want;
    } cases[] = {
#define ROW(name, line, ID, member, want)                                                          \
    {name, line, DGO_GPU_##ID, offsetof(struct dgo_gpu, member), want}
        ROW("busy", "busy 40", BUSY_PERMILLE, busy_permille, 400),
        ROW("idle is known", "busy 0", BUSY_PERMILLE, busy_permille, 0),
        ROW("busy not supported", "", BUSY_PERMILLE, busy_permille, UNKNOWN),
        ROW("busy above all", "busy 4000", BUSY_PERMILLE, busy_permille, UNKNOWN),
        ROW("the bus is no memory", "busy 1\nmemory_busy 23", MEMORY_BUSY_PERMILLE,
            memory_busy_permille, 230),
        ROW("busy not permitted", "busy 40\nfail nvmlDeviceGetUtilizationRates 4", BUSY_PERMILLE,
            busy_permille, UNKNOWN),
        ROW("busy blocked", "busy 40\nfail nvmlDeviceGetUtilizationRates 17", BUSY_PERMILLE,
            busy_permille, UNKNOWN),
        ROW("temperature", "temperature 55", TEMPERATURE_C, temperature_c, 55),
        ROW("temperature of older drivers", "missing nvmlDeviceGetTemperatureV\ntemperature 55",
            TEMPERATURE_C, temperature_c, 55),
        ROW("temperature of the sun", "temperature 5500", TEMPERATURE_C, temperature_c, UNKNOWN),
        ROW("instant power first", "power 100000\npower_instant 121000", POWER_MW, power_mw,
            121000),
        ROW("average power otherwise", "power 100000", POWER_MW, power_mw, 100000),
        ROW("a laptop tells none", "", POWER_MW, power_mw, UNKNOWN),
        ROW("power without fields", "missing nvmlDeviceGetFieldValues\npower 100000", POWER_MW,
            power_mw, 100000),
        ROW("limit", "power_limit 350000", POWER_LIMIT_MW, power_limit_mw, 350000),
        ROW("link now", "pcie_gen 1\npcie_gen_max 4", PCIE_GEN, pcie_gen, 1),
        ROW("link at most", "pcie_gen 1\npcie_gen_max 4", PCIE_GEN_MAX, pcie_gen_max, 4),
        ROW("lanes of nothing", "pcie_width 0", PCIE_WIDTH, pcie_width, UNKNOWN),
        ROW("lanes all ones", "pcie_width -1", PCIE_WIDTH, pcie_width, UNKNOWN),
        ROW("cores", "cores 10496", CORE_COUNT, core_count, 10496),
        ROW("compute", "compute 12.0", COMPUTE_MAJOR, compute_major, 12),
        ROW("clock", "core_clock 1800\nmemory_clock 405", MEMORY_CLOCK_MHZ, memory_clock_mhz, 405),
        ROW("clock missing", "missing nvmlDeviceGetClockInfo\ncore_clock 1800", CORE_CLOCK_MHZ,
            core_clock_mhz, UNKNOWN),
#undef ROW
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_gpu *gpu = &rig.gpu[0];
        struct dgo_error err = {0};
        char scenario[512];
        uint32_t value;

        snprintf(scenario, sizeof scenario, "card A\nmemory 1024 0 0\n%s\n", cases[i].line);
        CHECK_ROW_U64(rig_look(scenario, &err), DGO_OK, cases[i].name);
        memcpy(&value, (const char *)gpu + cases[i].at, sizeof value);
        CHECK_ROW_U64(reading(cases[i].field, value), cases[i].want, cases[i].name);
        CHECK_ROW(gpu->problem[0] == '\0', cases[i].name);
    }
}

/* Bandwidth by clock and bus tells apart cards of one name; the table of facts is for the rest. */
static void test_bandwidth(void **state)
{
    static const struct {
        const char *name, *card;
        double want_gbs; /* 0 unknown */
    } cases[] = {
        {"by clock and bus", "card NVIDIA GeForce RTX 3080\nbus_bits 384\nmemory_clock_max 9501\n",
         912.1},
        {"by name", "card NVIDIA GeForce RTX 3080\n", 760},
        {"by name, bus only", "card NVIDIA GeForce RTX 3080\nbus_bits 320\n", 760},
        {"clock of nothing", "card NVIDIA GeForce RTX 3080\nbus_bits 320\nmemory_clock_max 0\n",
         760},
        {"nothing known", "card NVIDIA Something 9999\n", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_gpu *gpu = &rig.gpu[0];
        struct dgo_error err = {0};
        double difference;

        CHECK_ROW_U64(rig_look(cases[i].card, &err), DGO_OK, cases[i].name);
        difference = gpu->bandwidth_bytes_per_s / 1e9 - cases[i].want_gbs;
        CHECK_ROW(difference < 0.1 && difference > -0.1, cases[i].name);
        CHECK_ROW_U64(dgo_gpu_knows(gpu, DGO_GPU_BANDWIDTH_BYTES_PER_S), cases[i].want_gbs > 0,
                      cases[i].name);
    }
}

static void test_identity(void **state)
{
    static const struct {
        const char *name, *line, *pci_id, *card_name;
    } cases[] = {
        {"long domain, capitals", "card A\npci 00000000:0A:1F.0\n", "0000:0a:1f.0", "A"},
        {"long domain used", "card A\npci 00010000:01:00.0\n", "10000:01:00.0", "A"},
        {"no domain", "card A\npci 0a:00.0\n", "0000:0a:00.0", "A"},
        {"no address but numbers", "card A\npci 2:1c:3\n", "0002:1c:03.0", "A"},
        {"not supported", "card A\nfail nvmlDeviceGetPciInfo_v3 3\n", "", "A"},
        {"missing", "missing nvmlDeviceGetPciInfo_v3\nmissing nvmlDeviceGetName\ncard A\n", "", ""},
        {"a name that drives the terminal", "card A\x1b[2J\xe2\x80\xae\n", "0000:01:00.0",
         "A\\x1b[2J\\u{202e}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW_U64(rig_look(cases[i].line, &err), DGO_OK, cases[i].name);
        CHECK_ROW(strcmp(rig.gpu[0].pci_id, cases[i].pci_id) == 0, cases[i].name);
        CHECK_ROW(strcmp(rig.gpu[0].name, cases[i].card_name) == 0, cases[i].name);
    }
}

/* What a process holds of the pretend backend is used, and missing from free, at the next look; and
 * the process is listed where the scenario says so. */
static void test_backend_usage(void **state)
{
    char path[PATH_MAX], error[256];
    struct dgo_error err = {0};
    struct pretend_usage *usage;

    (void)state;
    snprintf(path, sizeof path, "%s/usage", rig_root);
    usage = pretend_usage_open(path, error, sizeof error);
    assert_non_null(usage);
    assert_true(pretend_usage_take(usage, 1, MIB(1024), MIB(4000), MIB(4000)));
    setenv("PRETEND_GPU_USAGE", path, 1);
    assert_int_equal(
        rig_look("backend_processes\ncard A\nmemory 4096 96 0\ncard B\nmemory 4096 96 0\n", &err),
        DGO_OK);
    assert_int_equal(rig.gpu[0].free_bytes, MIB(4000));
    assert_int_equal(rig.gpu[0].process_count, 0);
    assert_int_equal(rig.gpu[1].used_bytes, MIB(1024));
    assert_int_equal(rig.gpu[1].free_bytes, MIB(4000 - 1024));
    assert_int_equal(rig.gpu[1].process_count, 1);
    assert_int_equal(rig.gpu[1].process[0].pid, getpid());
    assert_int_equal(rig.gpu[1].process[0].used_bytes, MIB(1024));
    pretend_usage_close(usage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
        RIG_TEST(test_memory),   RIG_TEST(test_readings),      RIG_TEST(test_bandwidth),
        RIG_TEST(test_identity), RIG_TEST(test_backend_usage),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
