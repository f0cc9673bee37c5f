/* test_compare.c - plan against log: rounding as printed, sums, the host's many names, verdicts. */
#include "check.h"
#include "dgo_profile.h"
#include "dgo_units.h"

/* As the engine module reads "1056.00 MiB" from a log. */
static uint64_t logged(double mib)
{
    return (uint64_t)(mib * (double)DGO_MIB + 0.5);
}

static void report_add(struct dgo_report *report, const char *name, bool is_host,
                       enum dgo_buffer_kind kind, double mib)
{
    struct dgo_report_device *device = NULL;

    for (uint32_t d = 0; d < report->device_count; d++)
        if (!strcmp(report->device[d].name, name))
            device = &report->device[d];
    if (!device) {
        device = &report->device[report->device_count++];
        snprintf(device->name, sizeof device->name, "%s", name);
        device->is_host = is_host;
    }
    device->known |= UINT64_C(1) << kind;
    device->bytes[kind] += logged(mib);
}

static struct dgo_device_estimate device(const char *name, uint64_t weights, uint64_t context,
                                         uint64_t compute)
{
    struct dgo_device_estimate estimate = {
        .weights_bytes = weights, .context_bytes = context, .compute_bytes = compute};

    snprintf(estimate.name, sizeof estimate.name, "%s", name);
    return estimate;
}

static const struct {
    const char *name;
    uint64_t planned_bytes;
    double measured_mib;
    bool weights_equal, context_equal; /* the same figure as weights, as context */
} roundings[] = {
    {"zero", 0, 0.00, true, true},
    {"whole MiB", 1056 * DGO_MIB, 1056.00, true, true},
    /* Rows of the truth table: bytes, and what llama.cpp printed of them. */
    {"llama 8B weights", 4536295680, 4326.15, true, true},
    {"one hundredth more", 4536295680, 4326.16, false, true},
    {"one hundredth less", 4536295680, 4326.14, false, true},
    {"two hundredths", 4536295680, 4326.17, false, false},
    {"one byte under a half", 5242, 0.00, true, true},
    {"just over a half", 5243, 0.01, true, true},
    {"just over a half, printed as less", 5243, 0.00, false, true},
    {"exact half goes to even, down", 128 * DGO_KIB, 0.12, true, true},
    {"exact half goes to even, up", 384 * DGO_KIB, 0.38, true, true},
    {"a petabyte", 1024 * DGO_TIB + 5243, 1073741824.01, true, true},
    {"one MiB off", 1056 * DGO_MIB, 1057.00, false, false},
};

static void test_equal_means_printed_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof roundings / sizeof roundings[0]; i++) {
        const char *name = roundings[i].name;
        struct dgo_estimate estimate = {.device_count = 1};
        struct dgo_report report = {0};
        struct dgo_comparison got;

        estimate.device[0] =
            device("CUDA0", roundings[i].planned_bytes, roundings[i].planned_bytes, 0);
        report_add(&report, "CUDA0", false, DGO_BUFFER_MODEL, roundings[i].measured_mib);
        report_add(&report, "CUDA0", false, DGO_BUFFER_CONTEXT, roundings[i].measured_mib);
        dgo_compare(&estimate, &report, &got);
        CHECK_ROW_U64(got.row_count, 2, name);
        CHECK_ROW_U64(got.row[0].weights.measured_bytes, logged(roundings[i].measured_mib), name);
        CHECK_ROW_U64(got.row[0].weights.planned_bytes, roundings[i].planned_bytes, name);
        CHECK_ROW_U64(got.row[0].weights.equal, roundings[i].weights_equal, name);
        CHECK_ROW_U64(got.row[0].context.equal, roundings[i].context_equal, name);
        CHECK_ROW_U64(got.weights_equal, roundings[i].weights_equal, name);
        CHECK_ROW_U64(got.context_equal, roundings[i].context_equal, name);
    }
}

/* The rounding is printf's, at every value. */
static void test_property_rounding_is_printfs(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (int round = 0; round < 20000; round++) {
        const uint64_t bytes = check_below(&seed, round % 2 ? 64 * DGO_MIB : 1024 * DGO_TIB) &
                               ~((UINT64_C(1) << check_below(&seed, 20)) - 1);
        struct dgo_estimate estimate = {.device_count = 1};
        struct dgo_report report = {0};
        struct dgo_comparison got;
        char text[64];

        estimate.device[0] = device("CUDA0", bytes, 0, 0);
        snprintf(text, sizeof text, "%.2f", (double)bytes / 1024.0 / 1024.0);
        report_add(&report, "CUDA0", false, DGO_BUFFER_MODEL, strtod(text, NULL));
        dgo_compare(&estimate, &report, &got);
        if (!got.row[0].weights.equal)
            fail_msg("%llu bytes print as %s", (unsigned long long)bytes, text);
    }
}

static void test_the_host_is_one_row(void **state)
{
    struct dgo_estimate estimate = {.device_count = 1,
                                    .host = {.weights_bytes = 300 * DGO_MIB,
                                             .context_bytes = 64 * DGO_MIB,
                                             .compute_bytes = 24 * DGO_MIB,
                                             .output_bytes = DGO_MIB}};
    struct dgo_report report = {0};
    struct dgo_comparison got;

    (void)state;
    estimate.device[0] = device("CUDA0", DGO_GIB, DGO_GIB, DGO_MIB);
    report_add(&report, "CPU_Mapped", true, DGO_BUFFER_MODEL, 100.00);
    report_add(&report, "CPU_REPACK", true, DGO_BUFFER_MODEL, 150.01);
    report_add(&report, "CPU", true, DGO_BUFFER_MODEL, 50.01);
    report_add(&report, "CPU", true, DGO_BUFFER_CONTEXT, 64.00);
    report_add(&report, "CUDA_Host", true, DGO_BUFFER_COMPUTE, 24.02);
    report_add(&report, "CUDA_Host", true, DGO_BUFFER_OUTPUT, 1.00);
    report_add(&report, "CUDA0", false, DGO_BUFFER_MODEL, 1024.00);
    report_add(&report, "CUDA0", false, DGO_BUFFER_CONTEXT, 1024.00);
    report_add(&report, "CUDA0", false, DGO_BUFFER_COMPUTE, 1.00);
    dgo_compare(&estimate, &report, &got);
    assert_int_equal(got.row_count, 2);
    assert_string_equal(got.row[0].name, "CUDA0");
    assert_string_equal(got.row[1].name, "host");
    assert_true(got.row[1].is_host);
    assert_int_equal(got.row[1].weights.measured_bytes,
                     logged(100) + logged(150.01) + logged(50.01));
    assert_true(got.row[1].weights.equal); /* three printed figures: two hundredths of slack */
    assert_true(got.row[1].context.equal);
    assert_false(got.row[1].compute.equal); /* one printed figure: none */
    assert_true(got.row[1].output.equal);
    assert_true(got.weights_equal && got.context_equal && got.compute_known);
    assert_int_equal(got.compute_worst_bytes, 0); /* the host is not judged */
}

static const struct {
    const char *name;
    double weights[2], context[2], compute[2]; /* logged; -1: not */
    bool weights_equal, context_equal, compute_known;
    uint64_t worst_bytes;
    const char *sentence; /* a part of it */
} verdicts[] = {
    {"as planned", {1000, 900}, {64, 32}, {10, 20}, true, true, true, 0, "As planned"},
    {"compute below its bound",
     {1000, 900},
     {64, 32},
     {9, 20},
     true,
     true,
     true,
     DGO_MIB,
     "within 1.00 MiB"},
    {"compute over the plan by less than it leaves free",
     {1000, 900},
     {64, 32},
     {10, 20.5},
     true,
     true,
     true,
     DGO_MIB / 2,
     "within 0.50 MiB"},
    {"compute over the plan",
     {1000, 900},
     {64, 32},
     {10, 23},
     true,
     true,
     true,
     3 * DGO_MIB,
     "the compute buffer of CUDA1 is larger than planned"},
    {"more context",
     {1000, 900},
     {64, 44},
     {10, 20},
     true,
     false,
     true,
     0,
     "CUDA1 holds 12.00 MiB more of context than planned (44.00 MiB, planned 32.00 MiB)"},
    {"less weights, and the worst is named",
     {500, 901},
     {64, 32},
     {10, 20},
     false,
     true,
     true,
     0,
     "CUDA0 holds 500.00 MiB less of weights"},
    {"nothing was logged",
     {-1, -1},
     {-1, -1},
     {-1, -1},
     false,
     false,
     false,
     0,
     "logged no buffer sizes"},
    {"a part was logged", {1000, -1}, {64, 32}, {10, -1}, false, true, false, 0, "only a part"},
};

static void test_verdicts(void **state)
{
    static const char *const names[] = {"CUDA0", "CUDA1"};

    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        struct dgo_estimate estimate = {.device_count = 2};
        struct dgo_report report = {0};
        struct dgo_comparison got;

        estimate.device[0] = device("CUDA0", 1000 * DGO_MIB, 64 * DGO_MIB, 10 * DGO_MIB);
        estimate.device[1] = device("CUDA1", 900 * DGO_MIB, 32 * DGO_MIB, 20 * DGO_MIB);
        for (int d = 0; d < 2; d++) {
            if (verdicts[i].weights[d] >= 0)
                report_add(&report, names[d], false, DGO_BUFFER_MODEL, verdicts[i].weights[d]);
            if (verdicts[i].context[d] >= 0)
                report_add(&report, names[d], false, DGO_BUFFER_CONTEXT, verdicts[i].context[d]);
            if (verdicts[i].compute[d] >= 0)
                report_add(&report, names[d], false, DGO_BUFFER_COMPUTE, verdicts[i].compute[d]);
        }
        dgo_compare(&estimate, &report, &got);
        CHECK_ROW_U64(got.weights_equal, verdicts[i].weights_equal, verdicts[i].name);
        CHECK_ROW_U64(got.as_planned, verdicts[i].weights_equal && verdicts[i].context_equal,
                      verdicts[i].name);
        CHECK_ROW_U64(got.context_equal, verdicts[i].context_equal, verdicts[i].name);
        CHECK_ROW_U64(got.compute_known, verdicts[i].compute_known, verdicts[i].name);
        CHECK_ROW_U64(got.compute_worst_bytes, verdicts[i].worst_bytes, verdicts[i].name);
        if (!strstr(got.sentence, verdicts[i].sentence))
            print_error("%s\n", got.sentence);
        CHECK_ROW(strstr(got.sentence, verdicts[i].sentence), verdicts[i].name);
    }
}

static void test_a_device_without_a_share_need_not_be_logged(void **state)
{
    struct dgo_estimate estimate = {.device_count = 2};
    struct dgo_report report = {0};
    struct dgo_comparison got;

    (void)state;
    estimate.device[0] = device("CUDA0", DGO_MIB, DGO_MIB, DGO_MIB);
    estimate.device[1] = device("CUDA1", 0, 0, 0);
    report_add(&report, "CUDA0", false, DGO_BUFFER_MODEL, 1);
    report_add(&report, "CUDA0", false, DGO_BUFFER_CONTEXT, 1);
    report_add(&report, "CUDA0", false, DGO_BUFFER_COMPUTE, 1);
    dgo_compare(&estimate, &report, &got);
    assert_false(got.row[1].weights.known);
    assert_true(got.row[1].weights.equal);
    assert_true(got.weights_equal && got.context_equal && got.compute_known);
}

static void test_a_device_nobody_planned_is_shown(void **state)
{
    struct dgo_estimate estimate = {.device_count = 1};
    struct dgo_report report = {0};
    struct dgo_comparison got;

    (void)state;
    estimate.device[0] = device("CUDA0", DGO_MIB, 0, 0);
    report_add(&report, "CUDA0", false, DGO_BUFFER_MODEL, 1);
    report_add(&report, "Vulkan0", false, DGO_BUFFER_CONTEXT, 7);
    report_add(&report, "Vulkan1", false, DGO_BUFFER_CONTEXT, 0); /* holds nothing: no row */
    dgo_compare(&estimate, &report, &got);
    assert_int_equal(got.row_count, 3);
    assert_string_equal(got.row[1].name, "Vulkan0");
    assert_true(got.row[1].unplanned);
    assert_true(got.weights_equal);
    assert_false(got.context_equal);
    assert_non_null(strstr(got.sentence, "Vulkan0 holds 7.00 MiB more of context"));
}

/* The most of everything fits: 16 devices planned, 24 logged under other names. */
static void test_rows_are_bounded(void **state)
{
    struct dgo_estimate estimate = {.device_count = DGO_GPU_MAX};
    struct dgo_report report = {0};
    struct dgo_comparison got;
    char name[16];

    (void)state;
    for (uint32_t d = 0; d < DGO_GPU_MAX; d++) {
        snprintf(name, sizeof name, "CUDA%u", d);
        estimate.device[d] = device(name, DGO_MIB, 0, 0);
    }
    for (uint32_t d = 0; d < DGO_GPU_MAX + 8; d++) {
        snprintf(name, sizeof name, "Other%u", d);
        report_add(&report, name, false, DGO_BUFFER_MODEL, 1);
    }
    dgo_compare(&estimate, &report, &got);
    assert_int_equal(got.row_count, DGO_COMPARISON_MAX);
    assert_true(got.row[DGO_COMPARISON_MAX - 1].is_host);
    assert_false(got.weights_equal);
}

static void test_no_gpu_at_all(void **state)
{
    struct dgo_estimate estimate = {.device_count = 0};
    struct dgo_report report = {0};
    struct dgo_comparison got;

    (void)state;
    dgo_compare(&estimate, &report, &got);
    assert_int_equal(got.row_count, 1);
    assert_non_null(strstr(got.sentence, "No GPU"));
}

/* ---- pools of blocks ---- */

static const struct {
    const char *name;
    uint64_t planned, measured; /* tokens; 0 measured: the engine has not said */
    double requests;            /* that it says fit; 0 not said */
    bool as_planned;
    const char *sentence;
} pools[] = {
    {"the same", 40960, 40960, 5, true,
     "As planned: the pool holds 40960 tokens, exactly the planned ones; 5.00 requests of full "
     "length fit, 5.00 were planned."},
    {"more", 40960, 45056, 5.5, true, "10.0 % more than the 40960 planned; 5.50 requests"},
    {"a little less", 100000, 95000, 0, true,
     "As planned: the pool holds 95000 tokens, 5.0 % fewer than the 100000 planned."},
    {"less", 100000, 94999, 11.6, false, "Not as planned: the pool holds 94999 tokens, 5.0 %"},
    {"not said", 100000, 0, 0, false, "has not said how large its pool is"},
};

static void test_pools(void **state)
{
    struct dgo_plan *plan = calloc(1, sizeof *plan);

    (void)state;
    assert_non_null(plan);
    plan->partitioned = true;
    plan->settings.ctx_tokens = 8192;
    plan->estimate.device_count = 1;
    /* What a card's buffers are does not decide: it is printed in GiB, and planned as a bound. */
    plan->estimate.device[0] = device("CUDA0", logged(100), logged(100), logged(100));
    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
        struct dgo_report report = {.kv_tokens = pools[i].measured,
                                    .concurrency = pools[i].requests};
        struct dgo_comparison got;

        report_add(&report, "CUDA0", false, DGO_BUFFER_MODEL, 101);
        plan->partition.kv_tokens = pools[i].planned;
        dgo_compare(&plan->estimate, &report, &got);
        dgo_compare_pool(plan, &report, &got);
        CHECK_ROW(got.as_planned == pools[i].as_planned, pools[i].name);
        CHECK_ROW(got.pool.known == (pools[i].measured > 0), pools[i].name);
        if (!strstr(got.sentence, pools[i].sentence))
            fail_msg("%s: '%s' does not say '%s'", pools[i].name, got.sentence, pools[i].sentence);
    }
    free(plan);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_equal_means_printed_alike),
    cmocka_unit_test(test_property_rounding_is_printfs),
    cmocka_unit_test(test_the_host_is_one_row),
    cmocka_unit_test(test_verdicts),
    cmocka_unit_test(test_a_device_without_a_share_need_not_be_logged),
    cmocka_unit_test(test_a_device_nobody_planned_is_shown),
    cmocka_unit_test(test_rows_are_bounded),
    cmocka_unit_test(test_no_gpu_at_all),
    cmocka_unit_test(test_pools),
};

CHECK_MAIN(tests)
