/* test_edges.c - the judge on series at the edge of what numbers can be: constant, two points,
 * gaps, clocks that are set back, counters and memory near 2^63. */
#include "check.h"
#include "dgo_trend.h"

#include <math.h>

static const struct dgo_trend_question process = {
    .capacity_mib = 24576, .card_free_mib = 4000, .planned_mib = NAN};

enum { DAYS = 4, MINUTES = DAYS * 24 * 60 };

typedef struct dgo_trace_sample sample_at(uint32_t minute);

/* Judges what `at` gives; nothing that is told may be other than a number. */
static struct dgo_trend judge(sample_at *at, uint32_t minutes)
{
    struct dgo_trace *trace = NULL;
    struct dgo_error err = {0};
    struct dgo_trend trend;

    assert_int_equal(dgo_trace_new(&trace, &err), DGO_OK);
    for (uint32_t m = 0; m < minutes; m++) {
        const struct dgo_trace_sample sample = at(m);

        assert_int_equal(dgo_trace_add(trace, &sample, &err), DGO_OK);
    }
    dgo_trace_judge(trace, &process, &trend);
    dgo_trace_find_pattern(trace, &process, &trend);
    dgo_trace_free(trace);
    if (trend.slope_known)
        assert_true(isfinite(trend.slope_mib_per_hour) && isfinite(trend.slope_low) &&
                    isfinite(trend.slope_high) && isfinite(trend.mann_kendall_z));
    if (trend.time_to_full_known)
        assert_true(isfinite(trend.seconds_to_full) && trend.seconds_to_full_low >= 0);
    assert_null(strstr(trend.evidence, "nan"));
    assert_true(trend.evidence[0] != '\0' || minutes == 0);
    return trend;
}

static struct dgo_trace_sample plain(uint32_t minute, double mib)
{
    return (struct dgo_trace_sample){.seconds = minute * 60.0, .used_mib = mib};
}

static struct dgo_trace_sample constant(uint32_t m)
{
    return plain(m, 9000);
}
static struct dgo_trace_sample nothing(uint32_t m)
{
    return plain(m, 0);
}
static struct dgo_trace_sample vast(uint32_t m)
{
    return plain(m, 9223372036854775807.0 / 1048576 + m % 2);
}

static void test_constant(void **state)
{
    sample_at *const series[] = {constant, nothing, vast};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        const struct dgo_trend trend = judge(series[i], MINUTES);

        assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
        assert_int_equal(trend.pattern, DGO_PATTERN_STEADY);
        assert_false(trend.time_to_full_known);
        assert_false(trend.by_days);
    }
}

static struct dgo_trace_sample doubled(uint32_t m)
{
    return plain(m, 4000 + 4000.0 * m);
}

static void test_few_points(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= 3; count++) {
        const struct dgo_trend trend = judge(doubled, count);

        assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
        assert_int_equal(trend.pattern, DGO_PATTERN_UNKNOWN);
        assert_false(trend.slope_known);
        assert_non_null(strstr(trend.evidence, "too short"));
    }
}

/* A leak of 10 MiB an hour under a day's load; every other reading is unknown, and hours lack. */
static double leaking(uint32_t m)
{
    return 9000 + 1000 * (1 - cos(6.283185307179586 * m / 1440)) + m / 6.0;
}
static struct dgo_trace_sample with_gaps(uint32_t m)
{
    const bool gone = m % 2 || (m / 60) % 7 == 3;

    return plain(m, gone ? NAN : leaking(m));
}
static struct dgo_trace_sample unknown(uint32_t m)
{
    return plain(m, m % 3 == 0 ? NAN : m % 3 == 1 ? INFINITY : -1);
}

static void test_gaps(void **state)
{
    struct dgo_trend trend = judge(with_gaps, MINUTES);
    struct dgo_trace *trace = NULL;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(trend.verdict, DGO_VERDICT_SUSPECTED);
    assert_true(fabs(trend.slope_mib_per_hour - 10) < 0.5);
    assert_int_equal(dgo_trace_new(&trace, &err), DGO_OK);
    for (uint32_t m = 0; m < MINUTES; m++) {
        const struct dgo_trace_sample sample = unknown(m);

        assert_int_equal(dgo_trace_add(trace, &sample, &err), DGO_OK);
    }
    dgo_trace_judge(trace, &process, &trend); /* nothing known: nothing said */
    assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
    assert_false(trend.slope_known);
    dgo_trace_free(trace);
}

/* The clock is set back an hour on the second day and forward again on the third. */
static struct dgo_trace_sample set_back(uint32_t m)
{
    struct dgo_trace_sample sample = plain(m, leaking(m));

    if (m >= 2000 && m < 3500)
        sample.seconds -= 3600;
    return sample;
}

static void test_clock_set_back(void **state)
{
    const struct dgo_trend trend = judge(set_back, MINUTES);

    (void)state;
    assert_int_equal(trend.verdict, DGO_VERDICT_SUSPECTED);
    assert_true(fabs(trend.slope_mib_per_hour - 10) < 1.5);
}

/* Above 2^53 a double no longer counts by ones: what cannot be counted confirms nothing. */
static struct dgo_trace_sample large_counter(uint32_t m)
{
    struct dgo_trace_sample sample = plain(m, 9000 + (m % 60) * 0.1);

    sample.requests_known = true;
    sample.requests = 9223372036854775807.0 + m;
    return sample;
}
/* Just below the end, and begun anew. */
static struct dgo_trace_sample wrapping_counter(uint32_t m)
{
    struct dgo_trace_sample sample = plain(m, leaking(m));

    sample.requests_known = true;
    sample.requests = m < 600 ? 9223372036854700000.0 : m - 600;
    return sample;
}

static void test_large_counters(void **state)
{
    struct dgo_trend trend = judge(large_counter, MINUTES);

    (void)state;
    assert_int_equal(trend.verdict, DGO_VERDICT_STEADY);
    if (trend.per_request_known)
        assert_true(isfinite(trend.request_count) && isfinite(trend.mib_per_request));
    trend = judge(wrapping_counter, MINUTES);
    assert_true(trend.request_count < 1e6);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_constant),       cmocka_unit_test(test_few_points),
    cmocka_unit_test(test_gaps),           cmocka_unit_test(test_clock_set_back),
    cmocka_unit_test(test_large_counters),
};
CHECK_MAIN(tests)
