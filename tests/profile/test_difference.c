/* test_difference.c - what changed is told, noise is not; appeared, disappeared, repeats. */
#include "check.h"
#include "dgo_difference.h"

#include <math.h>

static struct dgo_snapshot before[4], after[4];
static struct dgo_difference difference;

/* 90 s of a card with an engine, and a browser unless it was closed.  `noise`: swing of the card.
 */
static void record(struct dgo_snapshot *snapshot, double browser_mib, double engine_mib,
                   double noise_mib, uint32_t browser_pid)
{
    struct dgo_profiler *profiler = NULL;
    struct dgo_error err = {0};

    assert_int_equal(dgo_profiler_new(NULL, &profiler, &err), DGO_OK);
    for (uint32_t s = 0; s < 90; s++) {
        const double wander = noise_mib * (s / 15 % 2 ? 1 : -1) / 2;
        const struct dgo_profiler_reading reading[] = {
            {.sample = {.seconds = s,
                        .used_mib = 300 + browser_mib + engine_mib + wander + noise_mib / 2}},
            {.pid = 10, .start = 5, .sample = {.seconds = s, .used_mib = engine_mib}},
            {.pid = browser_pid, .start = 6, .sample = {.seconds = s, .used_mib = browser_mib}},
        };

        for (uint32_t i = 0; i < (browser_mib > 0 ? 3u : 2u); i++)
            assert_int_equal(dgo_profiler_add(profiler, &reading[i], &err), DGO_OK);
    }
    if (browser_mib > 0)
        dgo_profiler_set_name(profiler, 0, browser_pid, 6, "firefox");
    dgo_profiler_judge(profiler);
    dgo_snapshot_take(profiler, 0, snapshot);
    dgo_profiler_free(profiler);
}

static const struct dgo_difference_row *row_of(uint32_t pid)
{
    for (uint32_t i = 0; i < difference.count; i++)
        if (difference.row[i].pid == pid)
            return &difference.row[i];
    fail_msg("there is no row of process %u", pid);
    return NULL;
}

static void test_browser_closed(void **state)
{
    (void)state;
    record(&before[0], 800, 9000, 0, 20);
    record(&after[0], 0, 9000.5, 0, 20);
    assert_true(before[0].quiet && after[0].quiet);
    dgo_difference_make(before, after, 1, &difference);
    assert_int_equal(difference.count, 3);
    assert_int_equal(row_of(20)->kind, DGO_DISAPPEARED);
    assert_true(fabs(row_of(20)->delta_mib + 800) < 0.1 && row_of(20)->measurable);
    assert_false(row_of(10)->measurable); /* half a MiB */
    assert_true(fabs(row_of(0)->delta_mib + 799.5) < 0.1 && row_of(0)->measurable);
    assert_true(fabs(difference.total_mib + 799.5) < 0.1);
    assert_string_equal(row_of(20)->name, "firefox");
}

static void test_noise_is_no_change(void **state)
{
    (void)state;
    record(&before[0], 800, 9000, 60, 20);
    record(&after[0], 780, 9000, 60, 20);
    dgo_difference_make(before, after, 1, &difference);
    assert_true(row_of(0)->floor_mib >= 50);
    assert_false(row_of(0)->measurable);
    assert_true(row_of(20)->measurable); /* its own series is quiet */
    assert_true(fabs(row_of(20)->delta_mib + 20) < 0.1);
}

static void test_repeats(void **state)
{
    static const double closed[] = {400, 420, 390};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) { /* each time another process */
        record(&before[i], 800, 9000, 0, 20 + i);
        record(&after[i], 800 - closed[i], 9000, 0, 20 + i);
    }
    dgo_difference_make(before, after, 3, &difference);
    assert_int_equal(difference.count, 3);
    assert_true(fabs(row_of(20)->delta_mib + 400) < 0.1);
    assert_true(fabs(row_of(20)->low_mib + 420) < 0.1 && fabs(row_of(20)->high_mib + 390) < 0.1);
    assert_true(row_of(20)->measurable);
    /* One repeat that says the opposite takes the claim away. */
    record(&after[2], 1200, 9000, 0, 22);
    dgo_difference_make(before, after, 3, &difference);
    assert_false(row_of(20)->measurable);
}

/* A day at 1 Hz, its cells more than a minute wide; the browser was closed ten minutes before. */
static void test_who_holds_it_now(void **state)
{
    struct dgo_profiler *profiler = NULL;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(dgo_profiler_new(NULL, &profiler, &err), DGO_OK);
    for (uint32_t s = 0; s < 86400; s++) {
        const struct dgo_profiler_reading reading[] = {
            {.pid = 10, .start = 5, .sample = {.seconds = s, .used_mib = s < 86000 ? 900 : 700}},
            {.pid = 20, .start = 6, .sample = {.seconds = s, .used_mib = 500}}};

        for (uint32_t i = 0; i < (s < 85800 ? 2u : 1u); i++)
            assert_int_equal(dgo_profiler_add(profiler, &reading[i], &err), DGO_OK);
    }
    dgo_profiler_judge(profiler);
    dgo_snapshot_now(profiler, &before[0]);
    assert_int_equal(before[0].count, 1);
    assert_true(before[0].entry[0].pid == 10 && fabs(before[0].entry[0].used_mib - 700) < 0.1);
    dgo_profiler_free(profiler);
}

static void test_a_card_that_went_away(void **state)
{
    (void)state;
    record(&before[0], 800, 9000, 0, 20);
    record(&after[0], 0, 9000, 0, 20);
    after[0].count = 0;
    dgo_difference_make(before, after, 1, &difference);
    assert_true(difference.count == 0 && difference.unread_count == 1 && difference.unread[0] == 0);
    assert_false(difference.total_measurable);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_who_holds_it_now), cmocka_unit_test(test_a_card_that_went_away),
    cmocka_unit_test(test_browser_closed),   cmocka_unit_test(test_noise_is_no_change),
    cmocka_unit_test(test_repeats),
};
CHECK_MAIN(tests)
