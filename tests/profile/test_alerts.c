/* test_alerts.c - levels, hold, hysteresis, cooldown; a full card that stands still is normal; out
 * of memory is seen before it comes. */
#include "check.h"
#include "dgo_alerts.h"

#include <math.h>

static const struct {
    const char *name;
    enum dgo_alert_rule rule;
    double value;
    enum dgo_alert_level level;
} levels[] = {
    {"memory 50", DGO_ALERT_MEMORY, 50, DGO_ALERT_NORMAL},
    {"memory 75", DGO_ALERT_MEMORY, 75, DGO_ALERT_WARNING},
    {"memory 90", DGO_ALERT_MEMORY, 90, DGO_ALERT_CRITICAL},
    {"memory 95.2", DGO_ALERT_MEMORY, 95.2, DGO_ALERT_EMERGENCY},
    {"memory 100", DGO_ALERT_MEMORY, 100, DGO_ALERT_EMERGENCY},
    {"temperature 60", DGO_ALERT_TEMPERATURE, 60, DGO_ALERT_NORMAL},
    {"temperature 70", DGO_ALERT_TEMPERATURE, 70, DGO_ALERT_WARNING},
    {"temperature 72", DGO_ALERT_TEMPERATURE, 72, DGO_ALERT_WARNING},
    {"temperature 80", DGO_ALERT_TEMPERATURE, 80, DGO_ALERT_CRITICAL},
    {"temperature 85", DGO_ALERT_TEMPERATURE, 85, DGO_ALERT_CRITICAL},
    {"temperature 90", DGO_ALERT_TEMPERATURE, 90, DGO_ALERT_EMERGENCY},
    {"temperature 95", DGO_ALERT_TEMPERATURE, 95, DGO_ALERT_EMERGENCY},
    {"power 60", DGO_ALERT_POWER, 60, DGO_ALERT_NORMAL},
    {"power 90", DGO_ALERT_POWER, 90, DGO_ALERT_WARNING},
    {"power 98", DGO_ALERT_POWER, 98, DGO_ALERT_CRITICAL},
    {"power 100", DGO_ALERT_POWER, 100, DGO_ALERT_CRITICAL},
    {"unknown", DGO_ALERT_MEMORY, NAN, DGO_ALERT_NORMAL},
};

static void test_levels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        CHECK_ROW_U64(dgo_alert_level_of(levels[i].rule, levels[i].value), levels[i].level,
                      levels[i].name);
}

struct heard {
    uint32_t count;
    struct dgo_alert alert[64];
};

static void hear(const struct dgo_alert *alert, void *data)
{
    struct heard *heard = data;

    assert_true(heard->count < 64);
    heard->alert[heard->count++] = *alert;
}

static struct dgo_alerts *open_alerts(struct heard *heard)
{
    struct dgo_alerts *alerts = NULL;
    struct dgo_error err = {0};

    *heard = (struct heard){0};
    assert_int_equal(dgo_alerts_new(hear, heard, &alerts, &err), DGO_OK);
    return alerts;
}

static void heat(struct dgo_alerts *alerts, double from, double to, double celsius)
{
    for (double s = from; s < to; s++)
        dgo_alerts_observe(alerts, DGO_ALERT_TEMPERATURE, 0, 0, s, celsius, "GPU 0 is hot");
}

static void test_hold_hysteresis_cooldown(void **state)
{
    struct heard heard;
    struct dgo_alerts *alerts = open_alerts(&heard);

    (void)state;
    heat(alerts, 0, 5, 82); /* shorter than the hold */
    heat(alerts, 5, 20, 60);
    assert_int_equal(heard.count, 0);
    heat(alerts, 20, 40, 82);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.alert[0].level, DGO_ALERT_CRITICAL);
    assert_true(heard.alert[0].seconds == 30);
    heat(alerts, 40, 60, 78); /* within the hysteresis of 3 */
    assert_int_equal(heard.count, 1);
    heat(alerts, 60, 80, 76); /* below it: a warning still */
    assert_int_equal(heard.count, 2);
    assert_int_equal(heard.alert[1].level, DGO_ALERT_WARNING);
    heat(alerts, 80, 90, 60);
    assert_int_equal(heard.count, 3);
    assert_int_equal(heard.alert[2].level, DGO_ALERT_NORMAL);
    heat(alerts, 90, 120, 72); /* the same again at once: keeps silent */
    assert_int_equal(heard.count, 3);
    heat(alerts, 120, 140, 95); /* worse than before: told */
    assert_int_equal(heard.count, 4);
    assert_int_equal(heard.alert[3].level, DGO_ALERT_EMERGENCY);
    heat(alerts, 140, 150, 60);
    heat(alerts, 1000, 1020, 72); /* long after: told again */
    assert_int_equal(heard.alert[heard.count - 1].level, DGO_ALERT_WARNING);
    dgo_alerts_free(alerts);
}

static void test_flapping_is_one_alert(void **state)
{
    struct heard heard;
    struct dgo_alerts *alerts = open_alerts(&heard);

    (void)state;
    for (uint32_t s = 0; s < 3600; s++)
        heat(alerts, s, s + 1, s % 2 ? 79 : 81);
    assert_int_equal(heard.count, 1);
    for (uint32_t i = 0; i < 2000; i++) /* more things than there are places */
        dgo_alerts_observe(alerts, DGO_ALERT_LEAK, 1, i + 1, 4000 + i, 0, "quiet");
    assert_int_equal(dgo_alerts_active(alerts, NULL, 0), 1);
    dgo_alerts_free(alerts);
}

/* ---- out of memory soon ----------------------------------------------------------------- */

static double worst_of(double from_mib, double mib_per_s, double seconds, double capacity_mib,
                       double *at_free_mib)
{
    struct dgo_oom oom = {0};
    double worst = 0;

    for (double s = 0; s < seconds; s++) {
        const double used = fmin(capacity_mib, from_mib + mib_per_s * s);
        const double value = dgo_oom_add(&oom, s, used, capacity_mib);

        if (value > worst && at_free_mib)
            *at_free_mib = capacity_mib - used;
        worst = fmax(worst, value);
    }
    return worst;
}

static void test_oom_is_seen_before(void **state)
{
    struct dgo_oom oom = {0};
    double free_mib = 0, first_s = NAN;

    (void)state;
    for (double s = 0; s < 1800; s++) { /* 10 MiB/s into 12 GiB: full after 20 minutes */
        const double value = dgo_oom_add(&oom, s, 12000 + 10 * s, 24000);

        if (value >= 1 && isnan(first_s))
            first_s = s;
    }
    assert_true(first_s > 500 && first_s < 700); /* about ten minutes before */
    assert_true(worst_of(12000, 10, 1300, 24000, &free_mib) >= 3);
    assert_true(worst_of(23000, 0, 7200, 24000, NULL) == 0); /* full enough, and stands still */
    assert_true(worst_of(23900, 0, 7200, 24000, NULL) == 0);
    assert_true(worst_of(12000, 0.05, 7200, 24000, NULL) == 0); /* slow: the leak's matter */
}

/* A model is loaded into a card that has room for it: steep, and over. */
static void test_a_load_is_no_alarm(void **state)
{
    struct dgo_oom oom = {0};
    uint32_t alarms = 0;

    (void)state;
    for (double s = 0; s < 600; s++) {
        const double used = 500 + fmin(14000, fmax(0, s - 100) * 700);

        alarms += dgo_oom_add(&oom, s, used, 24000) >= 2;
    }
    assert_int_equal(alarms, 0);
    assert_true(dgo_oom_is_static(&oom, 800));
    /* One step that takes most of what was left. */
    assert_true(dgo_oom_add(&oom, 600, 23000, 24000) >= 1);
    assert_false(dgo_oom_is_static(&oom, 700));
}

/* Seconds of an alarm on one day of a load that leaves `left_mib` at its height. */
static uint32_t alarms_of_day(struct dgo_oom *oom, uint32_t day, double left_mib)
{
    uint32_t alarms = 0;

    for (double s = 0; s < 86400; s += 10) {
        const double load = 0.5 * (1 - cos(6.283185307179586 * s / 86400));
        const double used = 12000 + (12000 - left_mib) * load;

        alarms += dgo_oom_add(oom, day * 86400.0 + s, used, 24000) >= 1;
    }
    return alarms;
}

static void test_a_height_of_days_before_is_no_alarm(void **state)
{
    struct dgo_oom oom = {0};

    (void)state;
    assert_true(alarms_of_day(&oom, 0, 300) > 0); /* never so high before */
    assert_int_equal(alarms_of_day(&oom, 1, 300), 0);
    assert_int_equal(alarms_of_day(&oom, 2, 280), 0); /* days differ a little */
    assert_true(alarms_of_day(&oom, 3, 50) > 0);      /* further than ever */
    assert_int_equal(alarms_of_day(&oom, 4, 50), 0);  /* now it is one of them */
    for (uint32_t day = 5; day < 12; day++)
        (void)alarms_of_day(&oom, day, 6000);
    assert_true(alarms_of_day(&oom, 12, 50) > 0); /* a week later it is news again */
}

/* As high as before, but in seconds: told. */
static void test_a_plunge_is_told_at_any_height(void **state)
{
    struct dgo_oom oom = {0};
    double worst = 0, told_mib = NAN;

    (void)state;
    (void)alarms_of_day(&oom, 0, 20);
    for (double s = 0; s < 1000; s++) {
        const double used = fmin(23970, 12000 + 14 * s);

        const double value = dgo_oom_add(&oom, 86400 + s, used, 24000);

        if (value >= 2 && isnan(told_mib))
            told_mib = 24000 - used;
        worst = fmax(worst, value);
    }
    assert_true(worst >= 3);
    assert_true(told_mib > 14 * 60); /* a minute before at least */
}

/* Little is left, and the level trembles there: that is no climb.  A climb into it is told, however
 * slow; once. */
static void test_little_is_left(void **state)
{
    struct dgo_oom oom = {0}, trembling = {0};
    uint32_t alarms = 0, changes = 0;
    double before = 0;

    (void)state;
    for (double s = 0; s < 20000; s++)
        if (dgo_oom_add(&trembling, s, 23700 + 80 * sin(s / 40), 24000) > 0 && s > 200)
            alarms++; /* the first time up is a climb */
    assert_int_equal(alarms, 0);
    for (double s = 0; s < 2900; s++) {
        const double value = dgo_oom_add(&oom, s, 23400 + 0.2 * s, 24000);

        assert_true(value == 0 || value == 2);
        changes += value != before;
        before = value;
    }
    assert_int_equal(changes, 1);
    assert_true(before == 2);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_levels),
    cmocka_unit_test(test_hold_hysteresis_cooldown),
    cmocka_unit_test(test_flapping_is_one_alert),
    cmocka_unit_test(test_oom_is_seen_before),
    cmocka_unit_test(test_a_load_is_no_alarm),
    cmocka_unit_test(test_a_height_of_days_before_is_no_alarm),
    cmocka_unit_test(test_a_plunge_is_told_at_any_height),
    cmocka_unit_test(test_little_is_left),
};
CHECK_MAIN(tests)
