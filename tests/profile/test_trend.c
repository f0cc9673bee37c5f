/* test_trend.c - verdicts on known cases, on made series by shape, and on real memory that does not
 * leak; and what may never be said. */
#include "check.h"
#include "dgo_trend.h"
#include "shapes.h"

#include <math.h>

static const struct dgo_trend_question process = {
    .capacity_mib = NAN, .card_free_mib = NAN, .planned_mib = NAN};

static struct dgo_trace *open_trace(void)
{
    struct dgo_trace *trace = NULL;
    struct dgo_error err = {0};

    assert_int_equal(dgo_trace_new(&trace, &err), DGO_OK);
    return trace;
}

static void add(struct dgo_trace *trace, const struct dgo_trace_sample *sample)
{
    struct dgo_error err = {0};

    assert_int_equal(dgo_trace_add(trace, sample, &err), DGO_OK);
}

static struct dgo_trend judge(struct dgo_trace *trace, const struct dgo_trend_question *question)
{
    struct dgo_trend trend;

    dgo_trace_judge(trace, question, &trend);
    dgo_trace_find_pattern(trace, question, &trend);
    dgo_trace_free(trace);
    return trend;
}

static struct dgo_trend judge_shape(const char *name, uint64_t seed, double hours,
                                    const struct dgo_trend_question *question)
{
    struct dgo_trace *trace = open_trace();
    struct dgo_trace_sample sample;
    struct shape_state state;

    const struct shape_row *row;

    for (uint32_t i = 0; (row = shape_at(i)); i++) {
        if (strcmp(row->name, name) != 0)
            continue;
        shape_start(row, &state, seed, hours * 3600);
        for (double t = 0; t < hours * 3600; t++) {
            shape_next(row, &state, t, &sample);
            add(trace, &sample);
        }
        return judge(trace, question);
    }
    fail_msg("there is no shape \"%s\"", name);
    return (struct dgo_trend){0};
}

/* ---- by shape --------------------------------------------------------------------------- */

/* Of RUNS runs, how many must at least, and may at most, be suspected or confirmed; the pattern
 * that most must have, where it is certain. */
enum { RUNS = 12 };
static const struct {
    const char *name;
    double hours;
    uint32_t least, most;
    enum dgo_pattern pattern; /* UNKNOWN: not asked */
} expectations[] = {
    {"flat", 6, 0, 0, DGO_PATTERN_STEADY},
    {"one step", 6, 0, 0, DGO_PATTERN_STEP},
    {"saturating", 6, 0, 0, DGO_PATTERN_SATURATING},
    {"high water", 6, 0, 1, DGO_PATTERN_UNKNOWN},
    {"sawtooth", 6, 0, 0, DGO_PATTERN_SAWTOOTH},
    {"periodic", 6, 0, 0, DGO_PATTERN_PERIODIC},
    {"desktop", 6, 0, 0, DGO_PATTERN_NOISY},
    {"load and unload", 6, 0, 0, DGO_PATTERN_LOAD_UNLOAD},
    {"spikes", 6, 0, 0, DGO_PATTERN_SPIKE},
    {"served", 6, 0, 0, DGO_PATTERN_UNKNOWN},
    {"linear", 6, RUNS, RUNS, DGO_PATTERN_GROWTH},
    {"linear under sawtooth", 24, RUNS - 1, RUNS, DGO_PATTERN_GROWTH},
    {"linear under load", 24, RUNS - 1, RUNS, DGO_PATTERN_GROWTH},
    {"chunks", 24, RUNS - 4, RUNS, DGO_PATTERN_GROWTH},
    {"late", 6, RUNS - 2, RUNS, DGO_PATTERN_GROWTH},
    {"by request", 6, RUNS - 2, RUNS, DGO_PATTERN_GROWTH},
    {"log growth", 24, 0, 0, DGO_PATTERN_SATURATING},
    {"diurnal", 48, 0, 0, DGO_PATTERN_UNKNOWN},
    {"apps kept open", 6, 0, 1, DGO_PATTERN_UNKNOWN},
    {"windows", 6, 0, 1, DGO_PATTERN_UNKNOWN},
    {"random walk", 6, 0, 1, DGO_PATTERN_UNKNOWN},
    {"cache fill", 6, 0, 0, DGO_PATTERN_SATURATING},
    {"bursts", 24, RUNS - 1, RUNS, DGO_PATTERN_GROWTH},
    {"with restarts", 24, RUNS - 1, RUNS, DGO_PATTERN_UNKNOWN},
    {"slow fill", 6, 0, 0, DGO_PATTERN_SATURATING},
    {"power", 6, 0, 0, DGO_PATTERN_SATURATING},
    {"power", 24, 0, 0, DGO_PATTERN_SATURATING},
    {"slower leak", 6, RUNS - 4, RUNS, DGO_PATTERN_GROWTH},
    {"by turns", 6, 0, 0, DGO_PATTERN_LOAD_UNLOAD},
    {"by turns, leak", 6, RUNS / 2, RUNS, DGO_PATTERN_LOAD_UNLOAD},
    {"cut back", 6, 0, 0, DGO_PATTERN_SAWTOOTH},
    {"cut back, leak", 24, RUNS / 2, RUNS, DGO_PATTERN_UNKNOWN},
};

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++) {
        uint32_t flagged = 0, shaped = 0;

        for (uint32_t run = 0; run < RUNS; run++) {
            const struct dgo_trend trend =
                judge_shape(expectations[i].name, 100 + run, expectations[i].hours, &process);

            flagged += trend.verdict >= DGO_VERDICT_SUSPECTED;
            shaped += trend.pattern == expectations[i].pattern;
            CHECK_ROW(trend.evidence[0] != '\0', expectations[i].name);
        }
        if (flagged < expectations[i].least || flagged > expectations[i].most)
            fail_msg("\"%s\": %u of %d flagged", expectations[i].name, flagged, RUNS);
        if (expectations[i].pattern != DGO_PATTERN_UNKNOWN && shaped * 2 <= RUNS)
            fail_msg("\"%s\": %u of %d are \"%s\"", expectations[i].name, shaped, RUNS,
                     dgo_pattern_name(expectations[i].pattern));
    }
}

/* ---- reported cases --------------------------------------------------------------------- */

/* llama.cpp with speculative decoding and CUDA graphs: +7.96 MiB a request, straight to the end of
 * the card; +0.04 without graphs (ggml-org/llama.cpp issue 25835). */
static struct dgo_trend serve_requests(double mib_per_request, uint32_t requests)
{
    struct dgo_trace *trace = open_trace();

    for (uint32_t s = 0; s < requests * 10; s++) {
        const uint32_t served = s / 10;
        const bool busy = s % 10 < 6;

        add(trace, &(struct dgo_trace_sample){.seconds = s,
                                              .used_mib = 15000 + (busy ? 180 : 0) +
                                                          mib_per_request * served,
                                              .requests_known = true,
                                              .requests = served,
                                              .busy_known = true,
                                              .busy = busy});
    }
    return judge(trace, &process);
}

static void test_graphs_by_request(void **state)
{
    struct dgo_trend trend = serve_requests(7.96, 400);

    (void)state;
    assert_int_equal(trend.verdict, DGO_VERDICT_CONFIRMED);
    assert_true(trend.per_request_known && fabs(trend.mib_per_request - 7.96) < 0.05);
    assert_true(trend.mib_per_request_low > 7.8 && trend.mib_per_request_high < 8.1);
    assert_true(fabs(trend.request_count - 370) < 25);
    assert_true(trend.on_idle_floor);
    trend = serve_requests(0.04, 400);
    assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
    /* Fewer than 100 requests confirm nothing. */
    trend = serve_requests(7.96, 90);
    assert_true(trend.verdict < DGO_VERDICT_CONFIRMED);
}

/* About 90 MB at a time (ikawrakow/ik_llama.cpp issue 1232). */
static void test_steps_of_90_mb(void **state)
{
    struct dgo_trace *trace = open_trace();
    struct dgo_trend trend;

    (void)state;
    for (uint32_t s = 0; s < 6 * 3600; s++)
        add(trace, &(struct dgo_trace_sample){.seconds = s, .used_mib = 11000 + 86 * (s / 2400)});
    trend = judge(trace, &process);
    assert_int_equal(trend.verdict, DGO_VERDICT_SUSPECTED);
    assert_true(trend.alike_steps);
}

/* vLLM after its start: 60 993 to 83 521 MiB, then level: reported as a leak, and none (eugr/
 * spark-vllm-docker issue 43). */
static void test_rise_that_is_no_leak(void **state)
{
    struct dgo_trace *trace = open_trace();
    struct dgo_trend trend;

    (void)state;
    for (uint32_t s = 0; s < 6 * 3600; s++)
        add(trace, &(struct dgo_trace_sample){
                       .seconds = s, .used_mib = 60993 + 22528 * (1 - exp(-(double)s / 2500))});
    trend = judge(trace, &process);
    assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
    assert_int_equal(trend.pattern, DGO_PATTERN_SATURATING);
}

/* ---- what may be said ------------------------------------------------------------------- */

static void test_limits_of_verdicts(void **state)
{
    struct dgo_trend_question card = process, planned = process;
    struct dgo_trend trend;

    (void)state;
    card.is_device = true;
    card.capacity_mib = 24576;
    card.card_free_mib = 1000;
    for (uint64_t seed = 0; seed < 5; seed++) {
        trend = judge_shape("by request", seed, 6, &card);
        assert_true(trend.verdict <= DGO_VERDICT_GROWING);
        trend = judge_shape("with restarts", seed, 24, &card);
        assert_true(trend.verdict <= DGO_VERDICT_GROWING);
    }
    trend = judge_shape("linear", 1, 6, &card);
    assert_int_equal(trend.verdict, DGO_VERDICT_GROWING);
    assert_true(trend.time_to_full_known);
    assert_true(trend.seconds_to_full_low <= trend.seconds_to_full &&
                trend.seconds_to_full <= trend.seconds_to_full_high);
    assert_true(fabs(trend.seconds_to_full - 1000 / trend.slope_mib_per_hour * 3600) < 1);
    planned.planned_mib = 20000; /* growth below the plan is filling */
    trend = judge_shape("linear", 1, 6, &planned);
    assert_int_equal(trend.verdict, DGO_VERDICT_GROWING);
    /* Two hours of a process under load are not enough. */
    trend = judge_shape("linear", 1, 2, &process);
    assert_int_equal(trend.verdict, DGO_VERDICT_GROWING);
}

/* The memory grows with the load and the idle floor does not. */
static void test_idle_floor_decides(void **state)
{
    struct dgo_trace *trace = open_trace();
    struct dgo_trend trend;

    (void)state;
    for (uint32_t s = 0; s < 6 * 3600; s++) {
        const bool busy = s % 60 < 40;

        add(trace, &(struct dgo_trace_sample){.seconds = s,
                                              .used_mib = 9000 + (busy ? s / 10.0 : 0),
                                              .busy_known = true,
                                              .busy = busy});
    }
    trend = judge(trace, &process);
    assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
    assert_true(trend.on_idle_floor);
}

/* ---- odd input -------------------------------------------------------------------------- */

static void test_irregular_clocks(void **state)
{
    uint64_t seed = check_seed();
    struct dgo_trace *trace = open_trace();
    struct dgo_trace_stats stats;
    struct dgo_trend trend;
    double told = 1e9, real = 0;

    (void)state;
    while (real < 8 * 3600) {
        const double step = 1 + (double)check_below(&seed, 20);

        real += step;
        told += step;
        if (check_below(&seed, 500) == 0)
            told -= 3600; /* set back an hour */
        if (check_below(&seed, 500) == 0)
            told += 2 * 86400; /* and forward two days */
        add(trace, &(struct dgo_trace_sample){.seconds = told, .used_mib = 8000 + real * 0.02});
    }
    add(trace, &(struct dgo_trace_sample){.seconds = NAN, .used_mib = 1});
    add(trace, &(struct dgo_trace_sample){.seconds = told, .used_mib = INFINITY});
    dgo_trace_read_stats(trace, &stats);
    assert_true(stats.clock_jumps > 0);
    assert_true(fabs(stats.last_s - stats.first_s - real) < 0.05 * real);
    trend = judge(trace, &process);
    assert_int_equal(trend.verdict, DGO_VERDICT_SUSPECTED);
    assert_true(fabs(trend.slope_mib_per_hour - 72) < 6);
}

static void test_weeks_are_bounded(void **state)
{
    struct dgo_trace *trace = open_trace();
    struct dgo_trace_stats stats;

    (void)state;
    for (uint32_t m = 0; m < 60 * 24 * 30; m++)
        add(trace, &(struct dgo_trace_sample){.seconds = m * 60.0, .used_mib = 100});
    dgo_trace_read_stats(trace, &stats);
    assert_true(stats.cell_count <= DGO_TRACE_CELL_MAX);
    assert_true(stats.cell_s <= DGO_TRACE_CELL_S_MAX);
    dgo_trace_free(trace);
}

static void test_too_short(void **state)
{
    struct dgo_trace *trace = open_trace();
    struct dgo_trend trend;

    (void)state;
    dgo_trace_judge(trace, &process, &trend);
    assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
    assert_int_equal(trend.pattern, DGO_PATTERN_UNKNOWN);
    for (uint32_t s = 0; s < 300; s++)
        add(trace, &(struct dgo_trace_sample){.seconds = s, .used_mib = s * 10.0});
    trend = judge(trace, &process);
    assert_true(trend.verdict <= DGO_VERDICT_GROWING);
    assert_int_equal(trend.pattern, DGO_PATTERN_UNKNOWN);
}

static void test_change_points(void **state)
{
    struct dgo_trace *trace = open_trace();
    struct dgo_trace_stats stats;

    (void)state;
    for (uint32_t s = 0; s < 1000; s++)
        add(trace, &(struct dgo_trace_sample){
                       .seconds = s,
                       .used_mib = 500 + (s >= 300 ? 4512 : 0) - (s >= 700 ? 100 : 0) +
                                   (s == 500 || s == 501 ? 3000 : 0) + (double)(s % 3)});
    dgo_trace_read_stats(trace, &stats);
    assert_int_equal(stats.change_count, 2); /* two seconds away are a spike, no change */
    assert_true(stats.change[0].seconds == 300 && fabs(stats.change[0].delta_mib - 4512) < 4);
    assert_true(stats.change[1].seconds == 700 && fabs(stats.change[1].delta_mib + 100) < 4);
    dgo_trace_free(trace);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_shapes),
    cmocka_unit_test(test_graphs_by_request),
    cmocka_unit_test(test_steps_of_90_mb),
    cmocka_unit_test(test_rise_that_is_no_leak),
    cmocka_unit_test(test_limits_of_verdicts),
    cmocka_unit_test(test_idle_floor_decides),
    cmocka_unit_test(test_irregular_clocks),
    cmocka_unit_test(test_weeks_are_bounded),
    cmocka_unit_test(test_too_short),
    cmocka_unit_test(test_change_points),
};
CHECK_MAIN(tests)
