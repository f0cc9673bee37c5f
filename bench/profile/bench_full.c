/* bench_full.c - when is the card full, on memory that follows the load of the day: does the range
 * that is told hold the moment at which it is, and how often is it told falsely to be near.
 *
 * usage: bench_full [HOURS [RUNS [SEED]]] [--set daily|unseen]
 *
 * Leaking shapes are judged after HOURS on a card that the leak needs 0.2 to 4 days more to fill
 * than to the greatest value so far, and then go on until it is full, for 20 days at most.  Normal
 * ones run for HOURS on a card that their greatest value leaves 50 to 1000 MiB of; then again, with
 * something that runs away at 0.2 to 20 MiB/s from a moment after the first day on, until it is
 * full: is that told before. */
#include "dgo_alerts.h"
#include "shapes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double day_s = 86400, wait_s = 20 * 86400.0;

struct coverage {
    uint32_t runs, full, by_days, held, early, late;
    double width_s, off_s;
};

/* INFINITY: not within wait_s. */
static double run_until_full(const struct shape_row *row, struct shape_state *state, double from_s,
                             double capacity_mib)
{
    struct dgo_trace_sample sample;

    for (double t = from_s; t < from_s + wait_s; t++) {
        sample = (struct dgo_trace_sample){.seconds = t};
        shape_next(row, state, t, &sample);
        if (sample.used_mib >= capacity_mib)
            return t - from_s;
    }
    return INFINITY;
}

static void judge_one(const struct shape_row *row, uint64_t seed, double span_s,
                      struct coverage *coverage)
{
    struct dgo_trend_question question = {.capacity_mib = NAN, .planned_mib = NAN};
    struct dgo_trace *trace = NULL;
    struct dgo_trace_sample sample = {0};
    struct dgo_error err = {0};
    struct dgo_trend trend;
    struct shape_state state, chance;
    double greatest_mib = 0;

    if (dgo_trace_new(&trace, &err) != DGO_OK)
        exit(1);
    shape_start(row, &state, seed, span_s);
    chance = state;
    for (double t = 0; t < span_s; t++) {
        shape_next(row, &state, t, &sample);
        if (dgo_trace_add(trace, &sample, &err) != DGO_OK)
            exit(1);
        greatest_mib = fmax(greatest_mib, sample.used_mib);
    }

    const double capacity_mib = greatest_mib + shape_uniform(&chance, 0.2, 4) * state.p[2] * day_s;

    question.card_free_mib = capacity_mib - sample.used_mib;
    dgo_trace_judge(trace, &question, &trend);
    dgo_trace_free(trace);
    coverage->runs++;
    if (!trend.time_to_full_known || !trend.by_days)
        return;
    coverage->by_days++;

    const double full_s = run_until_full(row, &state, span_s, capacity_mib);

    if (isinf(full_s))
        return;
    coverage->full++;
    coverage->early += full_s < trend.seconds_to_full_low;
    coverage->late += full_s > trend.seconds_to_full_high;
    coverage->held += full_s >= trend.seconds_to_full_low && full_s <= trend.seconds_to_full_high;
    coverage->width_s += trend.seconds_to_full_high - trend.seconds_to_full_low;
    coverage->off_s += fabs(trend.seconds_to_full - full_s);
}

/* ---- false alerts ----------------------------------------------------------------------- */

struct heard {
    uint32_t first_day, later;
    double days;
};

static void hear(const struct dgo_alert *alert, void *data)
{
    struct heard *heard = data;

    if (alert->level <= alert->before)
        return;
    heard->first_day += alert->seconds < day_s;
    heard->later += alert->seconds >= day_s;
}

/* A card that the shape fills up to a little. */
static double capacity_above(const struct shape_row *row, struct shape_state state, double span_s,
                             struct shape_state *chance)
{
    struct dgo_trace_sample sample = {0};
    double greatest_mib = 0;

    for (double t = 0; t < span_s; t++) {
        shape_next(row, &state, t, &sample);
        greatest_mib = fmax(greatest_mib, sample.used_mib);
    }
    return greatest_mib + shape_scale(chance, 50, 1000);
}

static void watch_one(const struct shape_row *row, uint64_t seed, double span_s,
                      struct heard *heard)
{
    struct dgo_trace_sample sample = {0};
    struct dgo_alerts *alerts = NULL;
    struct dgo_error err = {0};
    struct shape_state state;
    struct dgo_oom oom = {0};

    if (dgo_alerts_new(hear, heard, &alerts, &err) != DGO_OK)
        exit(1);
    shape_start(row, &state, seed, span_s);

    struct shape_state chance = state;
    const double capacity_mib = capacity_above(row, state, span_s, &chance);

    for (double t = 0; t < span_s; t++) {
        shape_next(row, &state, t, &sample);
        dgo_alerts_observe(alerts, DGO_ALERT_OOM, 0, 0, t,
                           dgo_oom_add(&oom, t, sample.used_mib, capacity_mib), "memory");
    }
    heard->days += span_s / day_s;
    dgo_alerts_free(alerts);
}

/* ---- true alerts ------------------------------------------------------------------------ */

enum { RUN_MAX = 1000 };

struct told {
    uint32_t runs, count; /* told, within the last hour before the card was full */
    double lead_s[RUN_MAX];
};

static void run_away_one(const struct shape_row *row, uint64_t seed, double span_s,
                         struct told *told)
{
    struct dgo_trace_sample sample = {0};
    struct shape_state state;
    struct dgo_oom oom = {0};
    double since_s = NAN;

    shape_start(row, &state, seed, span_s);

    struct shape_state chance = state;
    const double capacity_mib = capacity_above(row, state, span_s, &chance);
    const double from_s = shape_uniform(&chance, day_s, span_s);
    const double mib_per_s = shape_scale(&chance, 0.2, 20);
    bool on = false;

    for (double t = 0; t < span_s + day_s; t++) {
        shape_next(row, &state, t, &sample);

        const double used_mib = sample.used_mib + mib_per_s * fmax(0, t - from_s);

        if (used_mib >= capacity_mib) {
            told->runs++;
            if (on && told->count < RUN_MAX)
                told->lead_s[told->count++] = fmin(3600, t - since_s);
            return;
        }

        const bool now = dgo_oom_add(&oom, t, used_mib, capacity_mib) >= 1;

        if (now && !on)
            since_s = t;
        on = now;
    }
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    double numbers[3] = {72, 20, 1};
    const char *only = "daily";
    struct coverage all = {0};

    for (int i = 1, at = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--set") && i + 1 < argc)
            only = argv[++i];
        else if (at < 3)
            numbers[at++] = atof(argv[i]);
    }

    const enum shape_set set = strcmp(only, "unseen") ? SHAPE_DAILY : SHAPE_UNSEEN;
    const uint32_t runs = (uint32_t)numbers[1];

    for (uint32_t i = 0; i < shape_day_count; i++) {
        const struct shape_row *row = &shape_day_rows[i];
        struct coverage coverage = {0};
        struct heard heard = {0};
        struct told told = {0};

        if (row->set != set)
            continue;
        for (uint32_t run = 0; run < runs; run++) {
            const uint64_t seed = (uint64_t)numbers[2] * 1000003 + run;

            if (row->leaks) {
                judge_one(row, seed, numbers[0] * 3600, &coverage);
            } else {
                watch_one(row, seed, numbers[0] * 3600, &heard);
                run_away_one(row, seed, numbers[0] * 3600, &told);
            }
        }
        qsort(told.lead_s, told.count, sizeof told.lead_s[0], by_size);
        if (row->leaks) {
            const double n = coverage.full;

            printf("| %s | %u of %u by days | %u full | in range %.2f, before %.2f, after %.2f | "
                   "width %.1f d | off %.1f d |\n",
                   row->name, coverage.by_days, coverage.runs, coverage.full, coverage.held / n,
                   coverage.early / n, coverage.late / n, coverage.width_s / n / day_s,
                   coverage.off_s / n / day_s);
            all.full += coverage.full;
            all.held += coverage.held;
            all.early += coverage.early;
            all.late += coverage.late;
        } else {
            printf("| %s | false alerts a day: first %.2f, later %.2f | runaway told %u of %u, "
                   "%.0f s before, %.0f at least |\n",
                   row->name, heard.first_day / (double)runs,
                   heard.later / fmax(1e-9, heard.days - (double)runs), told.count, told.runs,
                   told.count ? told.lead_s[told.count / 2] : NAN,
                   told.count ? told.lead_s[0] : NAN);
        }
        fflush(stdout);
    }
    printf("%s: %u full, in range %.3f, before %.3f, after %.3f\n", only, all.full,
           all.held / (double)all.full, all.early / (double)all.full, all.late / (double)all.full);
    return 0;
}
