/* test_profiler.c - series together: restarts under other numbers, changes and their cause, two
 * cards at once, episodes, bounds. */
#include "check.h"
#include "dgo_profiler.h"

#include <math.h>

static struct dgo_profiler *open_profiler(double judge_every_s)
{
    struct dgo_profiler *profiler = NULL;
    struct dgo_error err = {0};

    assert_int_equal(
        dgo_profiler_new(&(struct dgo_profiler_options){judge_every_s}, &profiler, &err), DGO_OK);
    return profiler;
}

static void add(struct dgo_profiler *profiler, uint32_t gpu, uint32_t pid, double seconds,
                double used_mib)
{
    struct dgo_error err = {0};

    assert_int_equal(
        dgo_profiler_add(
            profiler,
            &(struct dgo_profiler_reading){
                .gpu_index = gpu, .pid = pid, .sample = {.seconds = seconds, .used_mib = used_mib}},
            &err),
        DGO_OK);
}

static const struct dgo_series_report *report_of(const struct dgo_profiler *profiler, uint32_t gpu,
                                                 uint32_t pid)
{
    for (uint32_t i = 0; i < dgo_profiler_count(profiler); i++) {
        const struct dgo_series_report *report = dgo_profiler_report(profiler, i);

        if (report->gpu_index == gpu && report->pid == pid)
            return report;
    }
    fail_msg("there is no series of GPU %u, process %u", gpu, pid);
    return NULL;
}

/* The same program twice, under two numbers: what grew in both is confirmed. */
static void test_restart_confirms(void **state)
{
    struct dgo_profiler *profiler = open_profiler(0);

    (void)state;
    for (uint32_t s = 0; s < 10 * 3600; s += 2) {
        const bool second = s >= 5 * 3600;
        const uint32_t at = second ? s - 5 * 3600 : s;

        add(profiler, 0, second ? 200 : 100, s, 9000 + at * 0.05);
        add(profiler, 1, 300, s, 9000 + s * 0.02); /* grows alike, and never restarted */
    }
    dgo_profiler_judge(profiler);
    assert_int_equal(report_of(profiler, 0, 100)->trend.verdict, DGO_VERDICT_CONFIRMED);
    assert_int_equal(report_of(profiler, 0, 200)->trend.verdict, DGO_VERDICT_CONFIRMED);
    assert_int_equal(report_of(profiler, 1, 300)->trend.verdict, DGO_VERDICT_SUSPECTED);
    dgo_profiler_free(profiler);
}

static void test_changes_have_a_cause(void **state)
{
    struct dgo_profiler *profiler = open_profiler(0);
    struct dgo_change_report change[16];
    uint32_t count;

    (void)state;
    for (uint32_t s = 0; s < 1000; s++) {
        const double graphs = s >= 400 ? 90 : 0, browser = s >= 700 ? 300 : 0;

        for (uint32_t gpu = 0; gpu < 2; gpu++) {
            add(profiler, gpu, 0, s, 9500 + graphs + (gpu == 0 ? browser : 0));
            add(profiler, gpu, 42, s, 9000 + graphs);
        }
    }
    dgo_profiler_set_name(profiler, 0, 42, 0, "llama-server");
    dgo_profiler_judge(profiler);
    count = dgo_profiler_changes(profiler, change, 16);
    /* The engine on both cards at once, told as its own; then the card by somebody unknown. */
    assert_int_equal(count, 3);
    assert_true(change[0].pid == 42 && change[0].gpu_index == 0 && change[0].gpu_count == 2);
    assert_true(change[1].pid == 42 && change[1].gpu_index == 1 && change[1].gpu_count == 2);
    assert_string_equal(change[0].name, "llama-server");
    assert_true(change[2].pid == 0 && change[2].gpu_index == 0 && change[2].gpu_count == 1);
    assert_true(change[2].seconds == 700 && fabs(change[2].delta_mib - 300) < 2);
    dgo_profiler_free(profiler);
}

/* ---- a process that came or went is the cause of a card's step ---- */

enum { STEPS_MAX = 4 };

/* MiB that a process holds over [from, until) seconds of a thousand. */
struct guest {
    uint32_t pid, from, until;
    double mib, first_mib; /* first_mib: for its first two seconds; 0: at once */
};

static const struct {
    const char *name;
    uint32_t every_s; /* a look */
    struct guest guest[3];
    double hidden_mib; /* from 500 s on, of no process */
    uint32_t count;
    struct {
        uint32_t pid;
        enum dgo_change_how how;
        double delta_mib;
    } want[STEPS_MAX];
} guests[] = {
    {"one appears", 1, {{7, 500, 1000, 4000, 0}}, 0, 1, {{7, DGO_CHANGE_APPEARED, 4000}}},
    {"one appears and fills up",
     1,
     {{7, 498, 1000, 4000, 1500}},
     0,
     1,
     {{7, DGO_CHANGE_APPEARED, 4000}}},
    {"seen at every second look only",
     4,
     {{7, 500, 1000, 4000, 0}},
     0,
     1,
     {{7, DGO_CHANGE_APPEARED, 4000}}},
    {"one ends", 1, {{7, 0, 500, 4000, 0}}, 0, 1, {{7, DGO_CHANGE_ENDED, -4000}}},
    {"comes and goes",
     1,
     {{7, 300, 700, 900, 0}},
     0,
     2,
     {{7, DGO_CHANGE_APPEARED, 900}, {7, DGO_CHANGE_ENDED, -900}}},
    {"two appear, each with its own",
     1,
     {{7, 500, 1000, 4000, 0}, {8, 500, 1000, 1000, 0}},
     0,
     2,
     {{7, DGO_CHANGE_APPEARED, 4000}, {8, DGO_CHANGE_APPEARED, 1000}}},
    {"a small one appears beside the cause",
     1,
     {{7, 500, 1000, 4000, 0}, {8, 500, 1000, 50, 0}},
     0,
     1,
     {{7, DGO_CHANGE_APPEARED, 4000}}},
    {"one of another size appears: it is not the cause",
     1,
     {{7, 500, 1000, 300, 0}},
     4000,
     1,
     {{0, DGO_CHANGE_LEVEL, 4300}}},
    {"one that appeared long before",
     1,
     {{7, 300, 1000, 4000, 0}},
     4000,
     2,
     {{7, DGO_CHANGE_APPEARED, 4000}, {0, DGO_CHANGE_LEVEL, 4000}}},
    {"one was there from the start",
     1,
     {{7, 0, 1000, 4000, 0}},
     4000,
     1,
     {{0, DGO_CHANGE_LEVEL, 4000}}},
    {"one ends as another appears: the level holds",
     1,
     {{7, 0, 500, 4000, 0}, {8, 500, 1000, 4000, 0}},
     0,
     0,
     {{0}}},
};

static double held(const struct guest *guest, uint32_t s)
{
    return s < guest->from || s >= guest->until          ? 0
           : guest->first_mib > 0 && s < guest->from + 2 ? guest->first_mib
                                                         : guest->mib;
}

static void test_guests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof guests / sizeof guests[0]; i++) {
        struct dgo_profiler *profiler = open_profiler(0);
        struct dgo_change_report change[16];
        uint32_t count;

        for (uint32_t s = 0; s < 1000; s += guests[i].every_s) {
            double card = 500 + (s >= 500 ? guests[i].hidden_mib : 0);

            for (size_t g = 0; g < 3; g++)
                if (guests[i].guest[g].pid && held(&guests[i].guest[g], s) > 0) {
                    card += held(&guests[i].guest[g], s);
                    add(profiler, 0, guests[i].guest[g].pid, s, held(&guests[i].guest[g], s));
                    dgo_profiler_set_command(profiler, 0, guests[i].guest[g].pid, 0, "train --big");
                }
            add(profiler, 0, 0, s, card);
        }
        dgo_profiler_judge(profiler);
        count = dgo_profiler_changes(profiler, change, 16);
        CHECK_ROW_U64(count, guests[i].count, guests[i].name);
        for (uint32_t c = 0; c < count; c++) {
            char line[256];
            struct dgo_text text = DGO_TEXT(line);

            CHECK_ROW_U64(change[c].pid, guests[i].want[c].pid, guests[i].name);
            CHECK_ROW(change[c].how == guests[i].want[c].how, guests[i].name);
            CHECK_ROW(fabs(change[c].delta_mib - guests[i].want[c].delta_mib) < 2, guests[i].name);
            dgo_change_text(&change[c], &text);
            CHECK_ROW((strstr(line, "train --big") != NULL) == (change[c].pid != 0),
                      guests[i].name);
        }
        dgo_profiler_free(profiler);
    }
}

/* One event an episode: it begins once, and ends when the growth does. */
static void test_one_episode(void **state)
{
    struct dgo_profiler *profiler = open_profiler(300);
    const struct dgo_series_report *report;

    (void)state;
    for (uint32_t s = 0; s < 12 * 3600; s += 2)
        add(profiler, 0, 5, s, 9000 + fmin(s, 6 * 3600) * 0.05);
    dgo_profiler_judge(profiler);
    report = report_of(profiler, 0, 5);
    assert_int_equal(report->episode_count, 1);
    assert_int_equal(report->episode[0].worst, DGO_VERDICT_SUSPECTED);
    assert_true(report->episode[0].began_s > 3 * 3600 && report->episode[0].began_s < 5 * 3600);
    assert_true(report->episode[0].ended_s > 6 * 3600 && report->episode[0].ended_s < 10 * 3600);
    assert_int_equal(report->trend.verdict, DGO_VERDICT_STEADY); /* it stands still since */
    dgo_profiler_free(profiler);
}

static void test_time_to_full(void **state)
{
    struct dgo_profiler *profiler = open_profiler(0);
    const struct dgo_trend *trend;

    (void)state;
    dgo_profiler_set_capacity(profiler, 0, 24576);
    dgo_profiler_set_capacity(profiler, 1, 12288);
    for (uint32_t s = 0; s < 6 * 3600; s += 5) {
        add(profiler, 0, 0, s, 20000 + s * 0.05);
        add(profiler, 0, 5, s, 19000 + s * 0.05);
        add(profiler, 1, 0, s, 1200);
    }
    dgo_profiler_judge(profiler);
    trend = &report_of(profiler, 0, 5)->trend;
    assert_true(trend->time_to_full_known);
    /* What the whole card has left, not what its one process leaves. */
    assert_true(fabs(trend->seconds_to_full - (24576 - 21080) / 0.05) < 1500);
    assert_false(report_of(profiler, 1, 0)->trend.time_to_full_known); /* steady */
    assert_true(fabs(dgo_profiler_imbalance(profiler) - (21080.0 / 24576 - 1200.0 / 12288)) < 0.01);
    dgo_profiler_free(profiler);
}

static void test_thousands_of_series(void **state)
{
    struct dgo_profiler *profiler = open_profiler(300);
    struct dgo_error err = {0};

    (void)state;
    for (uint32_t s = 0; s < 20; s++)
        for (uint32_t pid = 1; pid <= 4000; pid++)
            add(profiler, pid % 4, pid, s * 60, pid);
    dgo_profiler_judge(profiler);
    assert_int_equal(dgo_profiler_count(profiler), 4000);
    for (uint32_t i = 1; i < 4000; i++) { /* by card, then process */
        const struct dgo_series_report *a = dgo_profiler_report(profiler, i - 1);
        const struct dgo_series_report *b = dgo_profiler_report(profiler, i);

        assert_true(a->gpu_index < b->gpu_index ||
                    (a->gpu_index == b->gpu_index && a->pid < b->pid));
    }
    assert_int_equal(
        dgo_profiler_add(profiler, &(struct dgo_profiler_reading){.gpu_index = 99}, &err),
        DGO_ELIMIT);
    dgo_profiler_free(profiler);
}

static void test_marks(void **state)
{
    struct dgo_profiler *profiler = open_profiler(0);
    const struct dgo_mark *mark;

    (void)state;
    for (uint32_t i = 0; i < DGO_PROFILER_MARK_MAX + 10; i++)
        dgo_profiler_mark(profiler, i, "browser closed\x1b[2J");
    assert_int_equal(dgo_profiler_marks(profiler, &mark), DGO_PROFILER_MARK_MAX);
    assert_true(mark[0].seconds == 10);
    assert_null(strchr(mark[0].text, '\x1b'));
    dgo_profiler_free(profiler);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_restart_confirms),
    cmocka_unit_test(test_changes_have_a_cause),
    cmocka_unit_test(test_guests),
    cmocka_unit_test(test_one_episode),
    cmocka_unit_test(test_time_to_full),
    cmocka_unit_test(test_thousands_of_series),
    cmocka_unit_test(test_marks),
};
CHECK_MAIN(tests)
