/* test_season.c - memory that follows the load of the day: a leak under it is found by the same
 * hours of other days, and what only looks like one is not called so. */
#include "check.h"
#include "dgo_trend.h"
#include "shapes.h"

#include <math.h>

static const struct dgo_trend_question process = {
    .capacity_mib = NAN, .card_free_mib = NAN, .planned_mib = NAN};

static const double turn = 6.283185307179586;

struct days {
    const char *name;
    double period_h, load_mib;
    double leak_mib_per_h;
    double full_after_h; /* the leak is a cache and stops then; 0: never */
    double more_a_day;   /* load on top of load */
    double weekend;      /* share of the load on days 2 and 3; 0: as ever */
    double jitter_mib;
    double gap_h; /* no samples for so long in the second day */
    double hours;
    enum dgo_verdict least, most;
};

static double value_of(const struct days *days, double hour, uint64_t *seed)
{
    const double day = floor(hour / 24);
    double load =
        0.5 * (1 - cos(turn * hour / days->period_h)) * (1 + days->more_a_day * hour / 24);
    double grown = hour;

    if (days->weekend > 0 && (day == 2 || day == 3))
        load *= days->weekend;
    if (days->full_after_h > 0)
        grown = fmin(hour, days->full_after_h);
    return 9000 + days->load_mib * load + days->leak_mib_per_h * grown +
           days->jitter_mib * (double)check_below(seed, 1000) / 1000;
}

static struct dgo_trend judge(const struct days *days, const struct dgo_trend_question *question)
{
    struct dgo_trace *trace = NULL;
    struct dgo_error err = {0};
    struct dgo_trend trend;
    uint64_t seed = 7;

    assert_int_equal(dgo_trace_new(&trace, &err), DGO_OK);
    for (uint32_t m = 0; m < days->hours * 60; m++) {
        const double hour = m / 60.0;

        if (days->gap_h > 0 && hour >= 30 && hour < 30 + days->gap_h)
            continue;
        assert_int_equal(
            dgo_trace_add(trace,
                          &(struct dgo_trace_sample){.seconds = m * 60.0,
                                                     .used_mib = value_of(days, hour, &seed)},
                          &err),
            DGO_OK);
    }
    dgo_trace_judge(trace, question, &trend);
    dgo_trace_find_pattern(trace, question, &trend);
    dgo_trace_free(trace);
    return trend;
}

#define NO   DGO_VERDICT_STEADY
#define GREW DGO_VERDICT_GROWING
#define LEAK DGO_VERDICT_SUSPECTED

static const struct days rows[] = {
    {"load alone", 24, 2000, 0, 0, 0, 0, 20, 0, 96, NO, NO},
    {"load and leak", 24, 2000, 10, 0, 0, 0, 20, 0, 96, LEAK, LEAK},
    {"load far larger than the leak", 24, 3000, 4, 0, 0, 0, 20, 0, 96, LEAK, LEAK},
    {"two days are too few", 24, 2000, 10, 0, 0, 0, 20, 0, 48, NO, GREW},
    {"six days", 24, 2000, 10, 0, 0, 0, 20, 0, 140, LEAK, LEAK},
    {"a day of 25 hours", 25, 2000, 10, 0, 0, 0, 20, 0, 96, LEAK, LEAK},
    {"a weekend within", 24, 1000, 10, 0, 0, 0.3, 20, 0, 120, LEAK, LEAK},
    {"a weekend, no leak", 24, 2000, 0, 0, 0, 0.3, 20, 0, 120, NO, NO},
    {"a cache, full after two days", 24, 1000, 20, 48, 0, 0, 20, 0, 80, NO, GREW},
    {"the same a day later", 24, 1000, 20, 48, 0, 0, 20, 0, 100, NO, GREW},
    {"more load every day", 24, 2000, 0, 0, 0.3, 0, 20, 0, 96, NO, GREW},
    {"a gap of six hours", 24, 2000, 10, 0, 0, 0, 20, 6, 96, LEAK, LEAK},
    {"noise as large as a day's leak", 24, 2000, 10, 0, 0, 0, 240, 0, 96, LEAK, LEAK},
};

static void test_days(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct dgo_trend trend = judge(&rows[i], &process);

        if (trend.verdict < rows[i].least || trend.verdict > rows[i].most)
            fail_msg("\"%s\" is %s: %s", rows[i].name, dgo_verdict_name(trend.verdict),
                     trend.evidence);
        if (rows[i].least < LEAK)
            continue;
        if (fabs(trend.slope_mib_per_hour - rows[i].leak_mib_per_h) >
            0.1 * rows[i].leak_mib_per_h + 0.3)
            fail_msg("\"%s\": %s", rows[i].name, trend.evidence);
        CHECK_ROW(trend.slope_low <= trend.slope_mib_per_hour &&
                      trend.slope_mib_per_hour <= trend.slope_high,
                  rows[i].name);
    }
}

static void test_says_days(void **state)
{
    const struct dgo_trend trend = judge(&rows[1], &process);

    (void)state;
    assert_true(trend.by_days);
    assert_non_null(strstr(trend.evidence, "same hours of other days"));
}

/* A card's series mixes causes, by days as otherwise. */
static void test_card_only_grows(void **state)
{
    struct dgo_trend_question card = process;
    struct dgo_trend trend;

    (void)state;
    card.is_device = true;
    card.capacity_mib = 24576;
    card.card_free_mib = 9000;
    trend = judge(&rows[1], &card);
    assert_int_equal(trend.verdict, DGO_VERDICT_GROWING);
    assert_true(trend.time_to_full_known);
}

/* At the low of the night most of the card is free, and the heights of the days fill it. */
static void test_full_at_a_height(void **state)
{
    struct dgo_trend_question question = process;
    struct dgo_trend trend;
    uint64_t seed = 7;
    double hour = 96, capacity_mib;

    (void)state;
    question.card_free_mib = 2500;
    trend = judge(&rows[1], &question);
    assert_true(trend.time_to_full_known && trend.by_days);
    assert_true(fabs(trend.day_period_s - 86400) < 1);
    capacity_mib = value_of(&rows[1], hour, &seed) + question.card_free_mib;
    while (value_of(&rows[1], hour, &seed) < capacity_mib)
        hour += 1 / 60.0;

    const double full_s = (hour - 96) * 3600;

    assert_true(trend.seconds_to_full_low <= full_s && full_s <= trend.seconds_to_full_high);
    assert_true(fabs(trend.seconds_to_full - full_s) < 86400);
    /* What is free at night over the slope: days too late. */
    assert_true(question.card_free_mib / trend.slope_mib_per_hour * 3600 > full_s + 5 * 86400.0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_days),
    cmocka_unit_test(test_says_days),
    cmocka_unit_test(test_card_only_grows),
    cmocka_unit_test(test_full_at_a_height),
};
CHECK_MAIN(tests)
