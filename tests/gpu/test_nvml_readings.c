/* test_nvml_readings.c - NVIDIA readings over time: tiers, counters that wrap, throttling, memory
 * errors, Xid events, slices, who is busy; each with what is known to mislead (pitfalls 11 to 17 of
 * the driver's interface). */
#include "rig.h"

#include "dgo_units.h"
#include "nvml.h"

#define CARD "card NVIDIA GeForce RTX 3090\n memory 24576 450 1000\n"

static struct dgo_gpu_source *source;
static const struct dgo_gpu *const gpu = &rig.gpu[0];

/* NULL: with the scenario that is there. */
static void open_with(const char *scenario)
{
    const struct dgo_gpu_options options = rig_options();

    if (scenario)
        rig_scenario(scenario);
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
}

static void take(unsigned tiers)
{
    assert_int_equal(dgo_gpu_take_tiers(source, tiers, &rig, NULL), DGO_OK);
}

static void done(void)
{
    dgo_gpu_close(source);
    source = NULL;
}

static void trace_with(const char *text)
{
    char scenario[4096];

    snprintf(scenario, sizeof scenario, "trace %s/trace.txt\n%s", rig_root, text);
    rig_scenario(scenario);
}

static int count_calls(const char *name)
{
    char path[128], line[128], wanted[128];
    FILE *file;
    int count = 0;

    snprintf(path, sizeof path, "%s/trace.txt", rig_root);
    snprintf(wanted, sizeof wanted, "call %s\n", name);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        count += strcmp(line, wanted) == 0;
    if (file)
        fclose(file);
    return count;
}

/* ---- one look ------------------------------------------------------------------------------ */

static void test_every_reading(void **state)
{
    (void)state;
    open_with(CARD " throttle 36\n pstate 2\n slowdown 93\n fan 45\n encoder 10\n decoder 5\n"
                   " ecc_corrected 3\n ecc_uncorrected 1\n bar1_total 256\n bar1_used 5\n"
                   " display 1\n field 82 71 u32\n field 83 123456789 u64\n field 94 7 u32\n"
                   " field 142 1 u32\n field 143 2 u32\n field 144 1 u32\n field 145 0 u32\n"
                   " field 230 1 u32\n");
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->throttle_mask, 1u << DGO_THROTTLE_POWER_CAP | 1u << DGO_THROTTLE_HEAT);
    assert_int_equal(gpu->performance_state, 2);
    assert_int_equal(gpu->slowdown_temperature_c, 93);
    assert_int_equal(gpu->fan_permille, 450);
    assert_int_equal(gpu->encoder_busy_permille, 100);
    assert_int_equal(gpu->decoder_busy_permille, 50);
    assert_int_equal(gpu->ecc_corrected, 3);
    assert_int_equal(gpu->ecc_uncorrected, 1);
    assert_int_equal(gpu->bar1_total_bytes, 256 * DGO_MIB);
    assert_int_equal(gpu->bar1_used_bytes, 5 * DGO_MIB);
    assert_int_equal(gpu->display_active, 1);
    assert_int_equal(gpu->memory_temperature_c, 71);
    assert_int_equal(gpu->energy_mj, 123456789);
    assert_int_equal(gpu->pcie_replays, 7);
    assert_int_equal(gpu->remapped_rows, 3);
    assert_int_equal(gpu->remap_pending, 1);
    assert_int_equal(gpu->remap_failed, 0);
    assert_true(dgo_gpu_knows(gpu, DGO_GPU_REMAP_FAILED));
    assert_string_equal(dgo_recovery_name(gpu->recovery_action), "reset");
    done();
}

/* What must not be believed, by one reading each. */
static void test_doubtful_readings(void **state)
{
    static const struct {
        const char *name, *lines;
        enum dgo_gpu_field field;
        bool known;
    } cases[] = {
        {"fan above 100 % is as intended", "fan 130\n", DGO_GPU_FAN_PERMILLE, true},
        {"fan of a server", "", DGO_GPU_FAN_PERMILLE, false},
        {"fan gone mad", "fan 60000\n", DGO_GPU_FAN_PERMILLE, false},
        {"state unknown", "pstate 32\n", DGO_GPU_PERFORMANCE_STATE, false},
        {"power not told (laptop)", "power_limit 100000\n", DGO_GPU_POWER_MW, false},
        {"memory temperature of nothing", "field 82 0 u32\n", DGO_GPU_MEMORY_TEMPERATURE_C, false},
        {"energy of an odd type", "field 83 5 f64\n", DGO_GPU_ENERGY_MJ, false},
        {"energy below zero", "field 83 18446744073709551615 i64\n", DGO_GPU_ENERGY_MJ, false},
        {"window larger used than whole", "bar1_total 1\n bar1_used 2\n", DGO_GPU_BAR1_TOTAL_BYTES,
         false},
        {"retired pages pend on old cards", "field 31 1 u32\n", DGO_GPU_REMAP_PENDING, true},
        {"old name of the throttle reasons",
         "fail nvmlDeviceGetCurrentClocksEventReasons 13\n throttle 4\n", DGO_GPU_THROTTLE_MASK,
         true},
        {"encoder busier than ever", "encoder 101\n", DGO_GPU_ENCODER_BUSY_PERMILLE, false},
        {"no permission is not zero", "ecc_corrected 3\n fail nvmlDeviceGetTotalEccErrors 4\n",
         DGO_GPU_ECC_CORRECTED, false},
        {"blocked is not zero", "busy 5\n fail nvmlDeviceGetUtilizationRates 17\n",
         DGO_GPU_BUSY_PERMILLE, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char scenario[512];

        snprintf(scenario, sizeof scenario, CARD "%s", cases[i].lines);
        open_with(scenario);
        take(DGO_TIERS_ALL);
        CHECK_ROW_U64(dgo_gpu_knows(gpu, cases[i].field), cases[i].known, cases[i].name);
        done();
    }
}

/* ---- tiers --------------------------------------------------------------------------------- */

static void test_tiers(void **state)
{
    (void)state;
    trace_with(CARD " busy 10\n fan 40\n display 1\n slowdown 93\n");
    open_with(NULL);
    take(DGO_TIER_BIT(DGO_TIER_FAST)); /* the first one reads all */
    assert_int_equal(gpu->fan_permille, 400);
    trace_with(CARD " busy 20\n fan 50\n display 0\n slowdown 90\n");
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->busy_permille, 200);
    assert_int_equal(gpu->fan_permille, 400); /* kept */
    take(DGO_TIER_BIT(DGO_TIER_SLOW));
    assert_int_equal(gpu->fan_permille, 500);
    assert_int_equal(gpu->display_active, 0);
    assert_int_equal(gpu->slowdown_temperature_c, 93);
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->slowdown_temperature_c, 90);
    assert_int_equal(count_calls("nvmlDeviceGetFanSpeed"), 3);
    assert_int_equal(count_calls("nvmlDeviceGetName"), 1);
    assert_int_equal(count_calls("nvmlDeviceGetPcieThroughput"), 0);
    done();
}

/* A function that is not supported is not asked for ever, and asked again when things may have
 * changed. */
static void test_unsupported_is_dropped(void **state)
{
    (void)state;
    trace_with(CARD);
    open_with(NULL);
    for (int i = 0; i < 10; i++)
        take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(count_calls("nvmlDeviceGetUtilizationRates"), 3);
    trace_with(CARD " busy 30\n");
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_BUSY_PERMILLE));
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->busy_permille, 300);
    done();
}

/* The lists are of the same moment as the sum they must add up to. */
static void test_processes_follow_the_memory(void **state)
{
    (void)state;
    open_with("card A\n memory 24576 450 1000\n process compute 100 900\n");
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->unattributed_bytes, 100 * DGO_MIB);
    rig_scenario("card A\n memory 24576 450 1000\n process compute 100 900\n"
                 " process compute 200 50\n");
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->process_count, 1); /* nothing says that it has changed */
    rig_scenario("card A\n memory 24576 450 3000\n process compute 100 900\n"
                 " process compute 200 2050\n");
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->process_count, 2);
    assert_int_equal(gpu->unattributed_bytes, 50 * DGO_MIB);
    rig_scenario("card A\n memory 24576 450 3001\n process compute 100 unknown\n");
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_UNATTRIBUTED_BYTES));
    rig_scenario("card A\n memory 24576 450 3002\n process compute 100 4000\n");
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->unattributed_bytes, 0);
    done();
}

/* ---- counters ------------------------------------------------------------------------------ */

static void test_counter(void **state)
{
    static const struct {
        const char *name;
        uint64_t before, after;
        unsigned bits;
        bool told;
        uint64_t grown;
    } cases[] = {
        {"grows", 1000, 3000, 64, true, 2000},
        {"stands still", 1000, 1000, 64, true, 0},
        {"wraps at 32 bits", UINT32_MAX - 99, 900, 32, true, 1000},
        {"wraps at 32 bits in 64", UINT32_MAX - 99, 900, 64, true, 1000},
        {"begins anew", UINT64_C(1) << 40, 900, 64, false, 0},
        {"jumps beyond the link", 1000, UINT64_C(1) << 40, 64, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nvml_counter counter = {0};
        double per_s = -1;

        CHECK_ROW(!nvml_count(&counter, cases[i].before, cases[i].bits, 5000000, 1e9, &per_s),
                  cases[i].name);
        CHECK_ROW_U64(nvml_count(&counter, cases[i].after, cases[i].bits, 7000000, 1e9, &per_s),
                      cases[i].told, cases[i].name);
        CHECK_ROW_U64(counter.total, cases[i].grown, cases[i].name);
        if (cases[i].told)
            CHECK_ROW_U64((uint64_t)per_s, cases[i].grown / 2, cases[i].name);
        /* Two looks at one moment tell no rate. */
        CHECK_ROW(!nvml_count(&counter, cases[i].after, cases[i].bits, 7000000, 1e9, &per_s),
                  cases[i].name);
    }
}

static void test_link_counters(void **state)
{
    (void)state;
    open_with(CARD " field 197 4294967000 u32\n field 198 5 u32\n field 138 100 u64\n");
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->pcie_tx_bytes, 0);
    assert_true(dgo_gpu_knows(gpu, DGO_GPU_PCIE_TX_BYTES));
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_PCIE_TX_BYTES_PER_S));
    rig_scenario(CARD " field 197 704 u32\n field 198 5 u32\n field 138 103 u64\n");
    usleep(2000);
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->pcie_tx_bytes, 1000);
    assert_true(gpu->pcie_tx_bytes_per_s > 0);
    assert_int_equal(gpu->pcie_rx_bytes, 0);
    assert_true(dgo_gpu_knows(gpu, DGO_GPU_PCIE_RX_BYTES_PER_S));
    assert_int_equal(gpu->nvlink_tx_bytes, 3 * DGO_KIB);
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_NVLINK_RX_BYTES));
    done();
}

/* NVLink 5 counts bytes in fields of its own; a card that answers both is of that kind. */
static void test_nvlink5_counters(void **state)
{
    static const struct {
        const char *name, *before, *after;
        uint64_t tx_bytes, rx_bytes;
    } rows[] = {
        {"older links, in KiB", " field 138 100 u64\n field 139 50 u64\n",
         " field 138 103 u64\n field 139 51 u64\n", 3 * DGO_KIB, DGO_KIB},
        {"NVLink 5, in bytes", " field 202 5000 u64\n field 204 70 u64\n",
         " field 202 6000 u64\n field 204 75 u64\n", 1000, 5},
        {"both answer, the older ones stand still",
         " field 138 0 u64\n field 139 0 u64\n field 202 5000 u64\n field 204 70 u64\n",
         " field 138 0 u64\n field 139 0 u64\n field 202 6000 u64\n field 204 75 u64\n", 1000, 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char scenario[512];

        snprintf(scenario, sizeof scenario, CARD "%s", rows[i].before);
        open_with(scenario);
        take(DGO_TIERS_ALL);
        snprintf(scenario, sizeof scenario, CARD "%s", rows[i].after);
        rig_scenario(scenario);
        usleep(2000);
        take(DGO_TIER_BIT(DGO_TIER_FAST));
        CHECK_ROW_U64(gpu->nvlink_tx_bytes, rows[i].tx_bytes, rows[i].name);
        CHECK_ROW_U64(gpu->nvlink_rx_bytes, rows[i].rx_bytes, rows[i].name);
        CHECK_ROW(dgo_gpu_knows(gpu, DGO_GPU_NVLINK_TX_BYTES_PER_S) &&
                      gpu->nvlink_tx_bytes_per_s > 0,
                  rows[i].name);
        done();
    }
}

/* ---- pitfalls, each by its name ------------------------------------------------------------ */

/* cudaMallocManaged is in no process's figure: what a card holds of it is nobody's, not zero. */
static void test_managed_memory_is_unattributed(void **state)
{
    (void)state;
    open_with("card NVIDIA H100\n memory 81559 479 61440\n process compute self 5120\n");
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->used_bytes, 61440 * DGO_MIB);
    assert_int_equal(gpu->process_sum_bytes, 5120 * DGO_MIB);
    assert_true(dgo_gpu_knows(gpu, DGO_GPU_UNATTRIBUTED_BYTES));
    assert_int_equal(gpu->unattributed_bytes, (61440 - 5120) * DGO_MIB);
    done();
}

/* utilization.memory is how long the memory bus worked, not how full the memory is: an idle desktop
 * at its lowest clock shows 23 %. */
static void test_bus_load_is_not_memory_in_use(void **state)
{
    (void)state;
    open_with(
        "card NVIDIA GeForce RTX 4080 SUPER\n memory 16376 434 596\n busy 0\n memory_busy 23\n");
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->busy_permille, 0);
    assert_int_equal(gpu->memory_busy_permille, 230);
    assert_int_equal(gpu->used_bytes, 596 * DGO_MIB);
    assert_int_equal(gpu->free_bytes, (16376 - 434 - 596) * DGO_MIB);
    done();
}

/* An idle card lets its bus link fall to the first generation: what it can is what it has at most,
 * idle or not. */
static void test_link_of_an_idle_card_is_not_narrow(void **state)
{
    static const char *const generations[] = {"1", "4"};
    double peak[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        char scenario[512];

        snprintf(scenario, sizeof scenario,
                 "topology 0 1 30\n"
                 "card A\n memory 16376 434 0\n pcie_gen %s\n pcie_width 16\n pcie_gen_max 4\n "
                 "pcie_width_max 16\n"
                 "card B\n memory 16376 434 0\n pcie_gen %s\n pcie_width 16\n pcie_gen_max 4\n "
                 "pcie_width_max 16\n",
                 generations[i], generations[i]);
        open_with(scenario);
        take(DGO_TIERS_ALL);
        assert_int_equal(gpu->pcie_gen, (uint32_t)atoi(generations[i]));
        assert_int_equal(gpu->pcie_gen_max, 4);
        peak[i] = rig.link[0][1].bandwidth_bytes_per_s;
        done();
    }
    assert_true(peak[0] > 0);
    assert_true(peak[0] >= peak[1] && peak[0] <= peak[1]);
}

/* A call that now and then takes a hundred times as long is not made in every look where another
 * field has the same reading for microseconds; and its time is told with the look. */
static void test_slow_power_call_is_spared(void **state)
{
    (void)state;
    trace_with(CARD " power 120000\n power_instant 121000\n");
    open_with(NULL);
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->power_mw, 121000);
    assert_int_equal(count_calls("nvmlDeviceGetPowerUsage"), 0);
    done();
}

/* A throttling that came and went between two looks is in the times. */
static void test_throttle_between_looks(void **state)
{
    (void)state;
    open_with(CARD " throttle 0\n field 74 1000 u64\n field 270 5 u64\n");
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->throttle_mask, 0);
    rig_scenario(CARD " throttle 1\n field 74 1000 u64\n field 270 6 u64\n");
    take(DGO_TIERS_ALL);
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->throttle_mask,
                     1u << DGO_THROTTLE_IDLE | 1u << DGO_THROTTLE_HARDWARE_HEAT);
    take(DGO_TIERS_ALL);
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->throttle_mask, 1u << DGO_THROTTLE_IDLE);
    done();
}

/* ---- events -------------------------------------------------------------------------------- */

static void test_xid_events(void **state)
{
    (void)state;
    open_with(CARD "card B\n memory 1000 0 0\n");
    take(DGO_TIERS_ALL);
    assert_true(dgo_gpu_knows(gpu, DGO_GPU_XID_COUNT));
    assert_int_equal(gpu->xid_count, 0);
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_XID_LAST));
    rig_scenario(CARD "card B\n memory 1000 0 0\n xid 31\n xid 79\n");
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(gpu->xid_count, 0);
    assert_int_equal(rig.gpu[1].xid_count, 2);
    assert_int_equal(rig.gpu[1].xid_last, 79);
    take(DGO_TIER_BIT(DGO_TIER_FAST));
    assert_int_equal(rig.gpu[1].xid_count, 2);
    done();
    /* A driver without events: unknown, and everything else is as ever. */
    open_with("missing nvmlEventSetCreate\n" CARD);
    take(DGO_TIERS_ALL);
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_XID_COUNT));
    assert_int_equal(gpu->used_bytes, 1000 * DGO_MIB);
    done();
    open_with(CARD " fail nvmlDeviceRegisterEvents 4\n");
    take(DGO_TIERS_ALL);
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_XID_COUNT));
    done();
}

/* ---- slices -------------------------------------------------------------------------------- */

static void test_slices(void **state)
{
    (void)state;
    open_with("card NVIDIA A100-SXM4-40GB\n memory 40960 500 100\n mig 1\n temperature 40\n"
              " slice 3g.20gb 20096 1000\n slice none\n slice 1g.5gb 4864 0\n");
    take(DGO_TIERS_ALL);
    assert_true(gpu->sliced);
    assert_non_null(strstr(gpu->problem, "MIG is on"));
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES)); /* nobody may plan with the whole */
    assert_int_equal(gpu->temperature_c, 40);
    assert_int_equal(gpu->slice_count, 2);
    assert_string_equal(gpu->slice[0].name, "MIG 3g.20gb");
    assert_string_equal(gpu->slice[1].uuid, "MIG-3");
    assert_true(gpu->slice[0].memory_known);
    assert_int_equal(gpu->slice[0].used_bytes, 1000 * DGO_MIB);
    rig_scenario("card NVIDIA A100-SXM4-40GB\n memory 40960 500 100\n mig 0\n");
    take(DGO_TIERS_ALL);
    assert_false(gpu->sliced);
    assert_int_equal(gpu->slice_count, 0);
    assert_int_equal(gpu->used_bytes, 100 * DGO_MIB);
    done();
}

/* ---- who is busy --------------------------------------------------------------------------- */

static void test_busy_processes(void **state)
{
    static const struct {
        const char *name, *lines;
        bool known;
        uint32_t permille;
    } cases[] = {
        {"a sample", "sample 100 80 1000\n", true, 800},
        {"the greater of two", "sample 100 20 1000\n sample 100 60 1001\n", true, 600},
        {"none is nobody", "", true, 0},
        {"more than all of the time", "sample 100 4000 1000\n", true, 0},
        {"of another", "sample 200 80 1000\n", true, 0},
        {"of no time", "sample 100 80 0\n", true, 0},
        {"not supported", "fail nvmlDeviceGetProcessUtilization 3\n", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char scenario[512];

        snprintf(scenario, sizeof scenario, CARD " process compute 100 900\n %s", cases[i].lines);
        open_with(scenario);
        take(DGO_TIERS_ALL);
        CHECK_ROW_U64(gpu->process[0].busy_known, cases[i].known, cases[i].name);
        CHECK_ROW_U64(gpu->process[0].busy_permille, cases[i].permille, cases[i].name);
        done();
    }
    /* An old sample again is no sample. */
    open_with(CARD " process compute 100 900\n sample 100 80 1000\n");
    take(DGO_TIERS_ALL);
    take(DGO_TIERS_ALL);
    assert_int_equal(gpu->process[0].busy_permille, 0);
    done();
}

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_every_reading),
        RIG_TEST(test_doubtful_readings),
        RIG_TEST(test_tiers),
        RIG_TEST(test_unsupported_is_dropped),
        RIG_TEST(test_processes_follow_the_memory),
        RIG_TEST(test_counter),
        RIG_TEST(test_link_counters),
        RIG_TEST(test_nvlink5_counters),
        RIG_TEST(test_managed_memory_is_unattributed),
        RIG_TEST(test_bus_load_is_not_memory_in_use),
        RIG_TEST(test_link_of_an_idle_card_is_not_narrow),
        RIG_TEST(test_slow_power_call_is_spared),
        RIG_TEST(test_throttle_between_looks),
        RIG_TEST(test_xid_events),
        RIG_TEST(test_slices),
        RIG_TEST(test_busy_processes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
