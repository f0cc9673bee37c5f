/* test_patterns.c - what made series are called: of all shapes that one word is right for, how many
 * get it, and no pattern is lost. */
#include "check.h"
#include "dgo_trend.h"
#include "shapes.h"

#include <math.h>

enum { RUNS = 6, HOURS = 6, STEP_S = 4 };
static const double least_right = 0.80, least_of_each = 0.55;

static const struct dgo_trend_question process = {
    .capacity_mib = NAN, .card_free_mib = NAN, .planned_mib = NAN};

static enum dgo_pattern pattern_of(const struct shape_row *row, uint64_t seed, double span_s)
{
    struct dgo_trace *trace = NULL;
    struct dgo_trace_sample sample;
    struct shape_state state;
    struct dgo_trend trend;
    struct dgo_error err = {0};

    assert_int_equal(dgo_trace_new(&trace, &err), DGO_OK);
    shape_start(row, &state, seed, span_s);
    for (uint32_t t = 0; t < span_s; t++) {
        shape_next(row, &state, t, &sample);
        if (t % STEP_S == 0)
            assert_int_equal(dgo_trace_add(trace, &sample, &err), DGO_OK);
    }
    dgo_trace_judge(trace, &process, &trend);
    dgo_trace_find_pattern(trace, &process, &trend);
    dgo_trace_free(trace);
    return trend.pattern;
}

static void test_called_right(void **state)
{
    double right[DGO_PATTERN_COUNT] = {0}, all_right = 0;
    uint32_t runs[DGO_PATTERN_COUNT] = {0}, all = 0;
    const struct shape_row *row;

    (void)state;
    for (uint32_t i = 0; (row = shape_at(i)); i++) {
        if (row->pattern == DGO_PATTERN_UNKNOWN)
            continue;
        for (uint32_t run = 0; run < RUNS; run++) {
            right[row->pattern] += pattern_of(row, 300 + run, HOURS * 3600.0) == row->pattern;
            runs[row->pattern]++;
        }
    }
    for (uint32_t p = DGO_PATTERN_STEADY; p < DGO_PATTERN_COUNT; p++) {
        const char *name = dgo_pattern_name((enum dgo_pattern)p);

        if (runs[p] == 0 || right[p] < least_of_each * runs[p])
            fail_msg("\"%s\": %.0f of %u runs are called so", name, right[p], runs[p]);
        all_right += right[p];
        all += runs[p];
    }
    print_message("# right: %.3f of %u\n", all_right / all, all);
    if (all_right < least_right * all)
        fail_msg("%.3f of all runs are called what they are", all_right / all);
}

/* Under ten minutes there is none. */
static void test_too_short_for_a_word(void **state)
{
    const struct shape_row *row;

    (void)state;
    for (uint32_t i = 0; (row = shape_at(i)); i++)
        CHECK_ROW(pattern_of(row, 1, 540) == DGO_PATTERN_UNKNOWN, row->name);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_called_right),
    cmocka_unit_test(test_too_short_for_a_word),
};
CHECK_MAIN(tests)
