/* season.c - the same hours of successive days: what grew between them is no load of the day.
 *
 * Seasonal Mann-Kendall and Sen's seasonal slope (Hirsch, Slack and Smith 1982), on the least value
 * of each hour.  Days are few, so Hirsch and Slack's matrix of covariances (1984) cannot be had:
 * one factor for the autocorrelation of what the hours grew takes its place. */
#include "season.h"

#include <math.h>
#include <string.h>

enum {
    HOUR_MAX = 160,
    LAG_DAY = 24,
    LAG_LEAST = 18,
    LAG_MOST = 36,
    PAIR_MAX = HOUR_MAX * (HOUR_MAX / LAG_LEAST) / 2,
};
static const double hour_s = 3600;
/* What is full after two days looks like a leak for as long; most of another day tells. */
static const double cycles_least = 2.75;
static const double better_lag = 0.6; /* spread of another period, to be taken for the day's */

/* Hours, oldest first; NAN: no sample. */
struct hours {
    uint32_t count, lag;
    double mib[HOUR_MAX];
    bool quiet[HOUR_MAX];
};

/* An hour of which a part is unknown tells the least of another part of it: it is left out. */
static void fill(const struct dgo_trace *trace, struct window_span life, bool idle,
                 struct hours *hours)
{
    const uint32_t whole = (uint32_t)((life.end - life.first) * trace->width_s / hour_s);
    uint32_t cells[HOUR_MAX] = {0}, most = 0;

    memset(hours, 0, sizeof *hours);
    hours->count = whole < HOUR_MAX ? whole : HOUR_MAX;
    for (uint32_t h = 0; h < hours->count; h++)
        hours->mib[h] = NAN;
    for (uint32_t i = life.first; i < life.end; i++) {
        const struct trace_cell *cell = &trace->cell[i];
        const uint32_t back = (uint32_t)((life.end - 1 - i) * trace->width_s / hour_s);

        if (back >= hours->count || cell->count == 0)
            continue;

        const uint32_t h = hours->count - 1 - back;

        hours->mib[h] = fmin(hours->mib[h], idle ? (double)cell->idle_min
                                                 : (double)cell->min); /* of NAN, the number */
        cells[h]++;
        most = cells[h] > most ? cells[h] : most;
    }
    for (uint32_t h = 0; h < hours->count; h++)
        if (cells[h] * 4 < most * 3)
            hours->mib[h] = NAN;
}

/* What the quiet hours, or the others, grew since one period before; in time. */
static uint32_t differences(const struct hours *hours, bool quiet, double *grew)
{
    uint32_t count = 0;

    for (uint32_t h = hours->lag; h < hours->count; h++)
        if (!isnan(hours->mib[h]) && !isnan(hours->mib[h - hours->lag]) && hours->quiet[h] == quiet)
            grew[count++] = hours->mib[h] - hours->mib[h - hours->lag];
    return count;
}

static double spread_at(const struct hours *hours, uint32_t lag)
{
    double grew[HOUR_MAX];
    uint32_t count = 0;

    for (uint32_t h = lag; h < hours->count; h++)
        if (!isnan(hours->mib[h]) && !isnan(hours->mib[h - lag]))
            grew[count++] = hours->mib[h] - hours->mib[h - lag];
    if (count < lag)
        return INFINITY;

    const double high = rank_quantile(grew, count, 0.8);

    return high - rank_quantile(grew, count, 0.2);
}

/* The period after which the hours differ the most evenly: pitch by average magnitude difference.
 */
static uint32_t find_lag(const struct hours *hours)
{
    uint32_t best = LAG_DAY;
    double least = better_lag * spread_at(hours, LAG_DAY);

    for (uint32_t lag = LAG_LEAST; lag <= LAG_MOST; lag++) {
        const double spread = hours->count >= cycles_least * lag ? spread_at(hours, lag) : INFINITY;

        if (lag != LAG_DAY && spread < least) {
            least = spread;
            best = lag;
        }
    }
    return best;
}

/* Slopes of all pairs of one hour of the day, MiB an hour; Kendall's S of them and its variance. */
struct pairs {
    uint32_t count;
    double slope[PAIR_MAX];
    double s, variance;
};

static void pair_up(const struct hours *hours, bool quiet_only, struct pairs *pairs)
{
    pairs->count = 0;
    pairs->s = pairs->variance = 0;
    for (uint32_t phase = 0; phase < hours->lag; phase++) {
        double n = 0;

        for (uint32_t h = phase; h < hours->count; h += hours->lag) {
            if (isnan(hours->mib[h]) || (quiet_only && !hours->quiet[h]))
                continue;
            n++;
            for (uint32_t later = h + hours->lag; later < hours->count; later += hours->lag) {
                const double rise = hours->mib[later] - hours->mib[h];

                if (isnan(rise) || pairs->count == PAIR_MAX)
                    continue;
                pairs->slope[pairs->count++] = rise / (later - h);
                pairs->s += (rise > 0) - (rise < 0);
            }
        }
        pairs->variance += n * (n - 1) * (2 * n + 5) / 18;
    }
}

/* The day's own course: the median of each hour of it, growth taken out. */
static void find_course(const struct hours *hours, double slope, double *course)
{
    for (uint32_t phase = 0; phase < hours->lag; phase++) {
        double level[HOUR_MAX / LAG_LEAST + 1];
        uint32_t count = 0;

        for (uint32_t h = phase; h < hours->count; h += hours->lag)
            if (!isnan(hours->mib[h]))
                level[count++] = hours->mib[h] - slope * h;
        course[phase] = rank_median(level, count);
    }
}

/* The calmest third of the day's hours: load differs from day to day, and on weekends, where there
 * is load. */
static void find_quiet(struct hours *hours, const double *course)
{
    double copy[LAG_MOST];
    uint32_t count = 0;

    for (uint32_t phase = 0; phase < hours->lag; phase++)
        if (!isnan(course[phase]))
            copy[count++] = course[phase];

    const double calm = rank_quantile(copy, count, 1.0 / 3);

    for (uint32_t h = 0; h < hours->count; h++)
        hours->quiet[h] = course[h % hours->lag] <= calm;
}

/* How many values each that is like its neighbours stands for. */
static double inflation(const double *values, uint32_t count)
{
    double mean = 0, all = 0, factor = 1;

    for (uint32_t i = 0; i < count; i++)
        mean += values[i] / count;
    for (uint32_t i = 0; i < count; i++)
        all += (values[i] - mean) * (values[i] - mean);
    for (uint32_t lag = 1; lag < count / 2 && all > 1e-9; lag++) {
        double sum = 0;

        for (uint32_t i = 0; i + lag < count; i++)
            sum += (values[i] - mean) * (values[i + lag] - mean);
        if (sum <= 0)
            break;
        factor += 2 * sum / all;
    }
    return factor;
}

/* What is left of the quiet hours once the day's course is out, growth left in. */
static void judge_rest(const struct hours *hours, const double *course, struct season *season)
{
    const double slope = season->slope.slope;
    double rest[HOUR_MAX], off[HOUR_MAX], squares = 0, mean = 0, held, net = 0, steps = 0;
    double largest = 0, xx = 0, middle = 0;
    uint32_t at[HOUR_MAX], n = 0;

    for (uint32_t h = 0; h < hours->count; h++) {
        if (isnan(hours->mib[h]) || !hours->quiet[h])
            continue;
        at[n] = h;
        rest[n++] = hours->mib[h] - course[h % hours->lag];
    }
    if (n < 2) { /* no line goes through them */
        season->t = 0;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        off[i] = rest[i] - slope * at[i];
        mean += off[i] / n;
        middle += (double)at[i] / n;
    }
    for (uint32_t i = 0; i < n; i++) {
        squares += (off[i] - mean) * (off[i] - mean);
        xx += (at[i] - middle) * (at[i] - middle);
    }

    /* The course was fitted to the same few days. */
    const double cycles = (double)hours->count / hours->lag;
    const double variance = squares / n * cycles / (cycles - 1);
    const double error = sqrt(variance * inflation(off, n) / xx);

    season->t = slope / fmax(1e-9, error);
    season->residual = sqrt(variance) / fmax(1e-9, fabs(season->growth_mib));
    season->slope.low = slope - 1.96 * error;
    season->slope.high = slope + 1.96 * error;
    held = rest[n - 1];
    for (uint32_t i = n - 1; i > 0; i--) {
        const double before = fmin(held, rest[i - 1]), apart = at[i] - at[i - 1];
        const double step = held - before;

        net += step;
        steps += step * step / apart; /* what came unseen came evenly */
        largest = fmax(largest, step / apart);
        held = before;
    }
    season->jump_share = net > 0 ? largest / net : 0;
    season->moments = steps > 0 ? net * net / steps : 0;
}

/* A step shows twice: the hours after it grew by it, until the same hour of the next day. */
static double largest_step(const struct hours *hours)
{
    double largest = 0;

    for (uint32_t h = hours->lag + 1; h < hours->count; h++) {
        const double now = hours->mib[h] - hours->mib[h - hours->lag];
        const double before = hours->mib[h - 1] - hours->mib[h - 1 - hours->lag];

        if (hours->quiet[h] && hours->quiet[h - 1] && fabs(now - before) > largest)
            largest = fabs(now - before);
    }
    return largest;
}

/* Growth of the last third of the differences over that of the first. */
static double late_over_early(const double *grew, uint32_t count)
{
    double part[HOUR_MAX];
    const uint32_t third = count / 3;

    memcpy(part, grew, third * sizeof *part);

    const double early = rank_median(part, third);

    memcpy(part, grew + count - third, third * sizeof *part);
    return rank_median(part, third) / fmax(1e-9, early);
}

bool season_look(const struct dgo_trace *trace, struct window_span life, bool idle,
                 struct season *season)
{
    struct hours hours = {0};
    struct pairs pairs = {0};
    double course[LAG_MOST], grew[HOUR_MAX], busy[HOUR_MAX];

    memset(season, 0, sizeof *season);
    fill(trace, life, idle, &hours);
    if (hours.count < cycles_least * LAG_DAY)
        return false;
    hours.lag = find_lag(&hours);
    pair_up(&hours, false, &pairs);
    if (pairs.count < hours.lag)
        return false;
    find_course(&hours, rank_median(pairs.slope, pairs.count), course);
    find_quiet(&hours, course);
    pair_up(&hours, true, &pairs);

    const uint32_t count = differences(&hours, true, grew);
    const uint32_t busy_count = differences(&hours, false, busy);

    if (count < LAG_DAY / 3 || pairs.variance <= 0)
        return false;
    season->period_s = hours.lag * hour_s;
    season->span_s = hours.count * hour_s;
    season->slope.slope = rank_median(pairs.slope, pairs.count);
    season->growth_mib = season->slope.slope * hours.count;
    season->z = pairs.s / sqrt(pairs.variance);

    season->late_share = late_over_early(grew, count);

    const double usual = rank_median(grew, count); /* and sorts them */

    season->step_share = largest_step(&hours) / fmax(1e-9, usual);
    season->low_share = rank_quantile(grew, count, 0.2) / fmax(1e-9, usual);
    season->quiet_share = usual / fmax(1e-9, rank_median(busy, busy_count));
    find_course(&hours, season->slope.slope, course);
    judge_rest(&hours, course, season);
    return true;
}
