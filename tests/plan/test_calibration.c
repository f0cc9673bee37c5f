/* test_calibration.c - what was measured is what later plans predict. */
#include "check.h"

#include "dgo_calibration.h"
#include "makers.h"

#include <math.h>

#define NEAR(a, b) (fabs((a) - (b)) <= 1e-9 * fabs(b))

static struct dgo_machine machine;
static const struct dgo_engine_rules rules = {0};

static const struct {
    const char *name;
    const struct make_shape *shape;
    double token_s, prompt_s, layer_launch_s;
} rows[] = {
    {"8B on a fast card", &make_8b, 0.0071, 0.14, 9e-6},
    {"8B on a slow card", &make_8b, 0.021, 0.9, 25e-6},
    {"experts", &make_moe30b, 0.0075, 0.3, 10e-6},
    {"launches unknown", &make_8b, 0.0071, 0.14, 0},
};

/* The decode rate and the prompt's, put back into the machine, give the same times again. */
static void a_plan_predicts_what_was_measured(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_model *model = make_model(rows[i].shape);
        const struct dgo_timing timing = {.generated_tokens = 512,
                                          .prompt_tokens = 512,
                                          .token_s = rows[i].token_s,
                                          .prompt_s = rows[i].prompt_s};
        struct dgo_calibration found = {.layer_launch_s = rows[i].layer_launch_s};
        const struct dgo_intent intent = {
            .ctx_tokens = 512, .prompt_tokens = 512, .generated_tokens = 512, .gpu_mask = 1};
        static struct dgo_plan plan;
        struct dgo_error err = {0};

        make_machine(&machine, (struct make_card[]){make_4090}, 1);
        CHECK_ROW_U64(dgo_calibration_solve(&machine, 0, model, &rules, &timing, &found, &err),
                      DGO_OK, rows[i].name);
        dgo_calibration_apply(&machine, 0, &found);
        CHECK_ROW_U64(dgo_plan_make(&machine, model, &intent, &rules, &plan, &err), DGO_OK,
                      rows[i].name);
        CHECK_ROW(NEAR(plan.predicted.decode_tokens_per_second, 1 / rows[i].token_s), rows[i].name);
        CHECK_ROW(NEAR(plan.predicted.prefill_tokens_per_second, 512 / rows[i].prompt_s),
                  rows[i].name);
        make_model_done(model);
    }
}

static void the_cpu_is_a_device_too(void **state)
{
    struct dgo_model *model = make_model(&make_8b);
    const struct dgo_timing timing = {.generated_tokens = 64, .prompt_tokens = 64, .token_s = 0.2};
    struct dgo_calibration found = {0};

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090}, 1);
    assert_int_equal(
        dgo_calibration_solve(&machine, DGO_CALIBRATE_CPU, model, &rules, &timing, &found, NULL),
        DGO_OK);
    /* 4.6 GB in 0.2 s */
    assert_true(found.decode_bytes_per_s > 20e9 && found.decode_bytes_per_s < 26e9);
    assert_true(found.prompt_flops == 0); /* was not timed */
    dgo_calibration_apply(&machine, DGO_CALIBRATE_CPU, &found);
    assert_true(machine.host.decode_bytes_per_s == found.decode_bytes_per_s);
    make_model_done(model);
}

static void a_model_of_launches_tells_no_rate(void **state)
{
    struct dgo_model *model = make_model(&make_tiny);
    const struct dgo_timing timing = {
        .generated_tokens = 64, .prompt_tokens = 64, .token_s = 6e-5, .prompt_s = 1e-3};
    struct dgo_calibration found = {.layer_launch_s = 1e-5, .decode_bytes_per_s = 77};
    struct dgo_error err = {0};

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090}, 1);
    assert_int_equal(dgo_calibration_solve(&machine, 0, model, &rules, &timing, &found, &err),
                     DGO_EINVAL);
    assert_non_null(strstr(err.text, "take a larger one"));
    assert_true(found.decode_bytes_per_s == 77); /* outputs on success only */
    assert_true(NEAR(dgo_calibration_launch_s(model, &timing), 6e-5 / 5));
    make_model_done(model);
}

/* A cache that holds the model, or an engine whose clock is wrong. */
static void no_memory_is_faster_than_it_can(void **state)
{
    static const struct {
        const char *name;
        double bandwidth_gbs, token_s;
        int32_t gpu;
        enum dgo_status want;
    } rates[] = {
        {"near the peak", 1008, 0.00505, 0, DGO_OK},
        {"beyond it", 1008, 0.003, 0, DGO_EINVAL},
        {"peak unknown", 0, 0.003, 0, DGO_OK},
        {"no memory is so fast", 0, 0.00001, 0, DGO_EINVAL},
        {"nor that of a CPU", 1008, 0.00001, DGO_CALIBRATE_CPU, DGO_EINVAL},
    };
    struct dgo_model *model = make_model(&make_8b);

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        const struct dgo_timing timing = {
            .generated_tokens = 64, .prompt_tokens = 64, .token_s = rates[i].token_s};
        struct dgo_calibration found = {.layer_launch_s = 1e-9};
        struct dgo_error err = {0};

        make_machine(&machine, (struct make_card[]){{24576, 24000, rates[i].bandwidth_gbs}}, 1);
        CHECK_ROW_U64(
            dgo_calibration_solve(&machine, rates[i].gpu, model, &rules, &timing, &found, &err),
            rates[i].want, rates[i].name);
        CHECK_ROW((found.decode_bytes_per_s > 0) == (rates[i].want == DGO_OK), rates[i].name);
        CHECK_ROW(rates[i].want == DGO_OK || strstr(err.text, "more than the memory can"),
                  rates[i].name);
    }
    make_model_done(model);
}

/* A measured overhead takes the place of the assumed one. */
static void overhead_counts(void **state)
{
    struct dgo_model *model = make_model(&make_8b);
    struct dgo_settings settings;
    static struct dgo_estimate estimate;

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090}, 1);
    dgo_calibration_apply(
        &machine, 0,
        &(struct dgo_calibration){.overhead_known = true, .overhead_bytes = 123 * DGO_MIB});
    dgo_calibration_settings(model, 0, 4096, &settings);
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, &rules, NULL, &estimate, NULL),
                     DGO_OK);
    assert_int_equal(estimate.device[0].overhead_bytes, 123 * DGO_MIB);
    assert_int_equal(estimate.ctx_tokens, 4096);
    make_model_done(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_predicts_what_was_measured),
        cmocka_unit_test(the_cpu_is_a_device_too),
        cmocka_unit_test(a_model_of_launches_tells_no_rate),
        cmocka_unit_test(no_memory_is_faster_than_it_can),
        cmocka_unit_test(overhead_counts),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
