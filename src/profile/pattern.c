/* pattern.c - the shape of a trace in one word: the first test that speaks decides. */
#include "pattern.h"

#include "rank.h"

#include <math.h>
#include <string.h>

enum { GRID = 512, SAMPLES_LEAST = 20 };
static const double least_s = 600, spike_s = 60;

/* The trace on a grid of equal steps; gaps hold the last value. */
struct picture {
    uint32_t count;
    double step_s, span_s;
    double mean[GRID], min[GRID], max[GRID];
    double p5, p20, p50, p80, p90, p95; /* of the means */
    double flat_mib;                    /* what counts as flat */
    double least, greatest;             /* of all samples */
};

static double share_of(const double *values, uint32_t count, double share)
{
    double copy[GRID];

    memcpy(copy, values, count * sizeof *copy);
    return rank_quantile(copy, count, share);
}

static void take_picture(const struct dgo_trace *trace, double capacity_mib, bool close,
                         struct picture *picture)
{
    struct dgo_trace_point all[DGO_TRACE_CELL_MAX];
    const struct dgo_trace_point *points = all;
    double mean = NAN, min = NAN, max = NAN;

    memset(picture, 0, sizeof *picture);
    picture->count = dgo_trace_points(trace, all, close ? DGO_TRACE_CELL_MAX : GRID);
    if (picture->count == 0)
        return;
    if (picture->count > GRID) { /* close: the newest cells, as they are */
        points += picture->count - GRID;
        picture->count = GRID;
    }
    picture->step_s = points[0].span_s;
    picture->span_s = trace->last_s - trace->origin_s;
    picture->least = trace->greatest_mib;
    for (uint32_t i = 0; i < picture->count; i++) {
        if (!isnan(points[i].mean_mib)) {
            mean = points[i].mean_mib;
            min = points[i].min_mib;
            max = points[i].max_mib;
            picture->least = fmin(picture->least, min);
            picture->greatest = fmax(picture->greatest, max);
        } else {
            min = max = mean;
        }
        if (isnan(mean)) /* a gap before the first sample of the part */
            mean = min = max = trace->last_mib;
        picture->mean[i] = mean;
        picture->min[i] = min;
        picture->max[i] = max;
    }
    picture->p5 = share_of(picture->mean, picture->count, 0.05);
    picture->p20 = share_of(picture->mean, picture->count, 0.20);
    picture->p50 = share_of(picture->mean, picture->count, 0.50);
    picture->p80 = share_of(picture->mean, picture->count, 0.80);
    picture->p90 = share_of(picture->mean, picture->count, 0.90);
    picture->p95 = share_of(picture->mean, picture->count, 0.95);
    picture->flat_mib =
        fmax(16, 0.005 * (isnan(capacity_mib) || capacity_mib <= 0 ? picture->p50 : capacity_mib));
}

/* ---- tests, in the order they are made -------------------------------------------------- */

/* Two levels, most of the time at one of them, and at least twice back to the lower. */
static bool is_load_unload(const struct picture *picture)
{
    const double low = picture->least, high = picture->p90, apart = high - low;
    uint32_t near = 0, returns = 0;
    bool up = false;

    if (apart < fmax(256, 0.3 * high))
        return false;
    for (uint32_t i = 0; i < picture->count; i++) {
        const double value = picture->mean[i];
        const bool at_low = value<low + 0.15 * apart, at_high = value> high - 0.3 * apart;

        near += at_low || at_high;
        if (at_high)
            up = true;
        if (at_low && up) {
            returns++;
            up = false;
        }
    }
    return returns >= 2 && near * 10 >= picture->count * 8;
}

/* Several models by turns: two levels or more, held flat, with leaps up and down between them. */
static bool is_by_turns(const struct picture *picture)
{
    const double range = picture->greatest - picture->least, leap = 0.1 * picture->greatest;
    uint32_t up = 0, down = 0, still = 0;

    if (range < 0.5 * picture->greatest || range < 512)
        return false;
    for (uint32_t i = 1; i < picture->count; i++) {
        const double step = picture->mean[i] - picture->mean[i - 1];

        up += step > leap;
        down += step < -leap;
        still += fabs(step) < 0.01 * range;
    }
    return up >= 2 && down >= 2 && still * 10 >= picture->count * 7;
}

/* Flat but for excursions that are over within a minute, out of the band that the samples tremble
 * in.  A cell wider than that hides how long its own took; its neighbours must be flat then.  Of
 * many, some lie side by side. */
static bool is_spike(const struct picture *picture)
{
    const double top = share_of(picture->max, picture->count, 0.5);
    const double bottom = share_of(picture->min, picture->count, 0.5);
    const double spread = picture->p80 - picture->p20;
    const double tall = fmax(fmax(64, 2 * picture->flat_mib), 2 * (top - bottom) + 3 * spread);
    const double height = fmax(picture->greatest - top, bottom - picture->least);
    const uint32_t longest = (uint32_t)ceil(spike_s / picture->step_s) + 1;
    uint32_t run = 0, spikes = 0, long_ones = 0, away_count = 0;

    if (spread > picture->flat_mib && spread * 8 > height)
        return false;
    for (uint32_t i = 0; i < picture->count; i++) {
        const bool away = picture->max[i] > top + tall || picture->min[i] < bottom - tall;

        run = away ? run + 1 : 0;
        away_count += away;
        spikes += run == 1;
        long_ones += run == longest + 1;
    }
    return spikes > 0 && long_ones * 4 < spikes && away_count * 4 < picture->count;
}

static double squares_about_mean(const double *sum, const double *sum2, uint32_t a, uint32_t b)
{
    const double n = b - a, s = sum[b] - sum[a];

    return n > 0 ? fmax(0, sum2[b] - sum2[a] - s * s / n) : 0;
}

/* One or two levels that follow one another: what is left after the best cut, and the best second
 * cut, is a twentieth of the variance. */
static bool is_step(const struct picture *picture)
{
    double sum[GRID + 1] = {0}, sum2[GRID + 1] = {0};
    uint32_t cut[2] = {0};

    for (uint32_t i = 0; i < picture->count; i++) {
        const double value = picture->mean[i] - picture->p50;

        sum[i + 1] = sum[i] + value;
        sum2[i + 1] = sum2[i] + value * value;
    }

    const double all = squares_about_mean(sum, sum2, 0, picture->count);
    double best = all;

    for (uint32_t i = 1; i < picture->count; i++) {
        const double left =
            squares_about_mean(sum, sum2, 0, i) + squares_about_mean(sum, sum2, i, picture->count);

        if (left < best) {
            best = left;
            cut[0] = i;
        }
    }
    if (best <= 0.05 * all)
        return true;

    const double first = best;

    for (uint32_t i = 1; i < picture->count; i++) {
        const uint32_t a = i < cut[0] ? i : cut[0], b = i < cut[0] ? cut[0] : i;
        const double left = squares_about_mean(sum, sum2, 0, a) +
                            squares_about_mean(sum, sum2, a, b) +
                            squares_about_mean(sum, sum2, b, picture->count);

        if (left < best) {
            best = left;
            cut[1] = i;
        }
    }
    return best <= 0.03 * all && best < 0.3 * first;
}

static double mean_of(const double *values, uint32_t first, uint32_t end)
{
    double sum = 0;

    for (uint32_t i = first; i < end; i++)
        sum += values[i];
    return sum / (end - first);
}

/* Rises that become ever smaller, and what is reached is kept. */
static bool is_saturating(const struct picture *picture)
{
    const uint32_t n = picture->count, part = n / 8;
    double range = picture->p95 - picture->p5;

    if (part == 0)
        return false;

    const double start = mean_of(picture->mean, 0, part > 8 ? part / 8 : 1);
    const double middle = mean_of(picture->mean, n / 2 - part / 2, n / 2 + part - part / 2);
    const double end = mean_of(picture->mean, n - part, n);

    range = fmax(range, end - start);
    return end - start > picture->flat_mib && end - start >= 0.6 * range &&
           end - middle < 0.5 * (middle - start) && end >= middle - 0.1 * range;
}

/* Least squares over the index, taken out. */
static void detrend(const struct picture *picture, double *left)
{
    const double n = picture->count, middle = (n - 1) / 2;
    const double mean = mean_of(picture->mean, 0, picture->count);
    double xy = 0, xx = 0;

    for (uint32_t i = 0; i < picture->count; i++) {
        xy += (i - middle) * (picture->mean[i] - mean);
        xx += (i - middle) * (i - middle);
    }
    for (uint32_t i = 0; i < picture->count; i++)
        left[i] = picture->mean[i] - mean - xy / xx * (i - middle);
}

static double correlation(const double *left, uint32_t count, uint32_t lag)
{
    double sum = 0, all = 0;

    for (uint32_t i = 0; i < count; i++)
        all += left[i] * left[i];
    for (uint32_t i = 0; i + lag < count; i++)
        sum += left[i] * left[i + lag];
    return all > 0 ? sum / all * count / (count - lag) : 0;
}

/* The lag of a peak of the autocorrelation that comes again at twice the lag, after it has fallen
 * below zero; 0: none.  At least three periods. */
static uint32_t period_of(const struct picture *picture)
{
    double left[GRID], at[GRID / 3 + 2];
    const uint32_t lag_max = picture->count / 3;
    uint32_t lag = 1;

    detrend(picture, left);
    for (uint32_t l = 0; l <= lag_max + 1; l++)
        at[l] = correlation(left, picture->count, l);
    while (lag < lag_max && at[lag] > 0)
        lag++;
    for (uint32_t best = 0; lag <= lag_max; lag++) {
        const bool peak = at[lag] >= at[lag - 1] && at[lag] >= at[lag + 1];

        if (peak && at[lag] > 0.4 && correlation(left, picture->count, 2 * lag) > 0.4)
            best = lag;
        if (best)
            return best;
    }
    return 0;
}

/* Rises slowly and falls at once, or the other way round: within a tenth of the range, noise. */
static bool is_skewed(const struct picture *picture)
{
    const double range = picture->p95 - picture->p5;
    uint32_t up = 0, down = 0;

    for (uint32_t i = 1; i < picture->count; i++) {
        const double step = picture->mean[i] - picture->mean[i - 1];

        up += step > 0.002 * range;
        down += step < -0.002 * range;
    }
    return up > 3 * down || down > 3 * up;
}

/* Near a line: what wanders climbs in leaps. */
static bool is_climb(const struct picture *picture, uint32_t first, uint32_t last, uint32_t fallen)
{
    const double n = last - first + 1, middle = (first + last) / 2.0;
    const double mean = mean_of(picture->mean, first, last + 1);
    const double height = fabs(picture->mean[last] - picture->mean[fallen]);
    double xy = 0, xx = 0, yy = 0;

    /* The fall begins at the top and is over at once. */
    for (uint32_t i = fallen; i < picture->count && i < fallen + (last - first) / 3; i++)
        if (fabs(picture->mean[last] - picture->mean[i]) > 1.25 * height)
            return false;
    for (uint32_t i = first; i <= last; i++) {
        if (fabs(picture->mean[i] - picture->mean[fallen]) > 1.25 * height)
            return false;

        const double apart = picture->mean[i] - mean;

        xy += (i - middle) * apart;
        xx += (i - middle) * (i - middle);
        yy += apart * apart;
    }
    return n > 2 && xy * xy >= 0.85 * xx * yy;
}

/* Climbs, and falls at once: `sign` -1 for the other way round.  The period is the usual distance
 * of the falls; 0: fewer than three teeth, or they are less than half of it. */
static double teeth_of(const struct picture *picture, double sign)
{
    const double height = 0.35 * (picture->p95 - picture->p5);
    const uint32_t fall_max = 2, climb_least = 6;
    double apart[GRID], low = INFINITY;
    uint32_t teeth = 0, low_at = 0, last_at = 0, low_end = 0, covered = 0;

    for (uint32_t i = 0; i + 1 < picture->count; i++) {
        const uint32_t end = i + fall_max < picture->count ? i + fall_max : picture->count - 1;
        const double now = sign * picture->mean[i];
        double after = now;

        if (now <= low) {
            low = now;
            low_at = i;
        }
        for (uint32_t j = i + 1; j <= end; j++)
            if (sign * picture->mean[j] < after) {
                after = sign * picture->mean[j];
                low_end = j;
            }
        if (now - after < height || now - low < height || i - low_at < climb_least ||
            sign * picture->mean[i + 1] > now)
            continue;
        if (is_climb(picture, low_at, i, low_end)) {
            apart[teeth++] = i - last_at;
            last_at = i;
            covered += low_end - low_at;
        }
        low = after;
        low_at = i = low_end;
    }
    return teeth < 3 || covered * 2 < picture->count
               ? 0
               : rank_median(apart + 1, teeth - 1) * picture->step_s;
}

/* Most of what it moves are teeth, so that a few leaps in noise are none. */
static bool is_toothed(const struct picture *picture, struct dgo_trend *trend)
{
    double period_s = teeth_of(picture, 1);

    if (period_s <= 0)
        period_s = teeth_of(picture, -1);
    if (period_s <= 0 || picture->span_s < 2 * period_s)
        return false;
    trend->period_s = period_s;
    return true;
}

static bool is_flat(const struct picture *picture)
{
    return picture->p95 - picture->p5 < picture->flat_mib;
}

/* What repeats fast is seen closer by: a period of a few cells has no shape. */
static enum dgo_pattern repeated(const struct dgo_trace *trace, struct picture *picture,
                                 struct dgo_trend *trend)
{
    enum { CELLS_LEAST = 12 };
    uint32_t lag = period_of(picture);

    if (lag < CELLS_LEAST && trace->cell_count > picture->count) {
        const double far_s = lag * picture->step_s;

        take_picture(trace, NAN, true, picture);
        lag = period_of(picture);
        if (lag == 0 && far_s > 0) {
            trend->period_s = far_s;
            return DGO_PATTERN_PERIODIC;
        }
    }
    if (lag == 0)
        return DGO_PATTERN_NOISY;
    trend->period_s = lag * picture->step_s;
    return is_skewed(picture) ? DGO_PATTERN_SAWTOOTH : DGO_PATTERN_PERIODIC;
}

void pattern_judge(const struct dgo_trace *trace, double capacity_mib, struct dgo_trend *trend)
{
    struct picture picture;

    trend->period_s = NAN;
    trend->pattern = DGO_PATTERN_UNKNOWN;
    take_picture(trace, capacity_mib, false, &picture);
    if (trace->sample_count < SAMPLES_LEAST || picture.span_s < least_s || picture.count < 16)
        return;
    if (is_load_unload(&picture) || is_by_turns(&picture))
        trend->pattern = DGO_PATTERN_LOAD_UNLOAD;
    else if (trend->verdict >= DGO_VERDICT_SUSPECTED)
        trend->pattern = DGO_PATTERN_GROWTH;
    else if (is_spike(&picture))
        trend->pattern = DGO_PATTERN_SPIKE;
    else if (is_flat(&picture))
        trend->pattern = DGO_PATTERN_STEADY;
    else if (is_step(&picture))
        trend->pattern = DGO_PATTERN_STEP;
    else if (is_toothed(&picture, trend))
        trend->pattern = DGO_PATTERN_SAWTOOTH;
    else if (is_saturating(&picture))
        trend->pattern = DGO_PATTERN_SATURATING;
    else if (trend->verdict == DGO_VERDICT_GROWING)
        trend->pattern = DGO_PATTERN_GROWTH;
    else
        trend->pattern = repeated(trace, &picture, trend);
}
