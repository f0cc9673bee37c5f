/* window.c - block minima of a stretch of a trace, and the shape of their growth. */
#include "window.h"

#include <math.h>
#include <string.h>

static double value_of(const struct trace_cell *cell, bool idle, double least_mib)
{
    if (cell->count == 0 || (double)cell->min < least_mib)
        return NAN;
    return idle ? (double)cell->idle_min : (double)cell->min;
}

bool window_fill(const struct dgo_trace *trace, struct window_span span, enum window_axis axis,
                 bool idle, struct window *window)
{
    double least[WINDOW_BLOCK_MAX], most[WINDOW_BLOCK_MAX], middle[WINDOW_BLOCK_MAX];
    double total = 0, at = 0;
    const uint32_t cells = span.end - span.first;
    const uint32_t blocks = cells / 2 < WINDOW_BLOCK_MAX ? cells / 2 : WINDOW_BLOCK_MAX;

    *window = (struct window){.span_s = cells * trace->width_s};
    for (uint32_t i = span.first; i < span.end; i++)
        window->requests += trace_requests(trace, &trace->cell[i]);
    total = axis == WINDOW_TIME ? cells : window->requests;
    if (blocks < WINDOW_BLOCK_MIN || total <= 0)
        return false;
    for (uint32_t b = 0; b < blocks; b++)
        least[b] = most[b] = middle[b] = NAN;
    for (uint32_t i = span.first; i < span.end; i++) {
        const struct trace_cell *cell = &trace->cell[i];
        const double value = value_of(cell, idle, span.least_mib);
        const double step = axis == WINDOW_TIME ? 1 : trace_requests(trace, cell);
        uint32_t block;

        at += step;
        block = (uint32_t)((at - step / 2) / total * blocks);
        block = block < blocks ? block : blocks - 1;
        if (isnan(value))
            continue;
        if (isnan(least[block]) || value < least[block])
            least[block] = value;
        most[block] = fmax(most[block], (double)cell->max);
        middle[block] = (block + 0.5) / blocks * total;
    }
    for (uint32_t b = 0; b < blocks; b++) {
        if (isnan(least[b]))
            continue;
        window->x[window->count] =
            axis == WINDOW_TIME ? middle[b] * trace->width_s / 3600 : middle[b];
        window->swing_mib[window->count] = most[b] - least[b];
        window->y_mib[window->count++] = least[b];
    }
    return window->count >= WINDOW_BLOCK_MIN;
}

static double median_of(const double *values, uint32_t first, uint32_t end)
{
    double copy[WINDOW_BLOCK_MAX];

    memcpy(copy, values + first, (end - first) * sizeof *copy);
    return rank_median(copy, end - first);
}

/* Rise over run between the medians of the first and the last third of [first, end).  Not
 * Theil-Sen: of a staircase most pairs are level, and its median step is none. */
static double part_slope(const struct window *window, uint32_t first, uint32_t end)
{
    const uint32_t third = (end - first + 2) / 3;
    const double run =
        median_of(window->x, end - third, end) - median_of(window->x, first, first + third);

    return run > 0 ? (median_of(window->y_mib, end - third, end) -
                      median_of(window->y_mib, first, first + third)) /
                         run
                   : 0;
}

static double square(double x)
{
    return x * x;
}

/* Root mean square distance from the line, and whether a distance is like the one before it: noise
 * about a line forgets, a walk remembers (the idea of Dickey and Fuller's test). */
static void judge_residual(const struct window *window, struct shape *shape)
{
    const uint32_t n = window->count;
    double left[WINDOW_BLOCK_MAX], mean = 0, sum = 0, next = 0;

    for (uint32_t i = 0; i < n; i++) {
        left[i] = window->y_mib[i] - shape->slope.slope * window->x[i];
        mean += left[i] / n;
    }
    for (uint32_t i = 0; i < n; i++)
        sum += square(left[i] - mean);
    for (uint32_t i = 0; i + 1 < n; i++)
        next += (left[i] - mean) * (left[i + 1] - mean);
    shape->residual = sqrt(sum / n) / fmax(1e-9, fabs(shape->growth_mib));
    shape->residual_memory = sum > 0 ? next / sum : 0;
}

struct moments {
    double mean, variance;
    uint32_t count;
};

static struct moments moments_of(const double *values, uint32_t count)
{
    struct moments moments = {.count = count};

    for (uint32_t i = 0; i < count; i++)
        moments.mean += values[i] / count;
    for (uint32_t i = 0; i < count; i++)
        moments.variance += square(values[i] - moments.mean) / (count > 1 ? count - 1 : 1);
    return moments;
}

/* The floors of WINDOW_PART_COUNT parts, and the steps from each to the next. */
static void judge_steps(const struct window *window, struct shape *shape)
{
    double floor_mib[WINDOW_PART_COUNT], step[WINDOW_PART_COUNT - 1];
    const double tiny = fmax(1e-9, fabs(shape->growth_mib) * 1e-3);

    for (uint32_t p = 0; p < WINDOW_PART_COUNT; p++) {
        const uint32_t first = p * window->count / WINDOW_PART_COUNT;
        const uint32_t end = (p + 1) * window->count / WINDOW_PART_COUNT;

        floor_mib[p] = window->y_mib[first];
        for (uint32_t i = first; i < end; i++)
            floor_mib[p] = fmin(floor_mib[p], window->y_mib[i]);
        if (p > 0)
            step[p - 1] = floor_mib[p] - floor_mib[p - 1];
    }

    const struct moments all = moments_of(step, WINDOW_PART_COUNT - 1);
    const struct moments early = moments_of(step, 6), late = moments_of(step + 6, 5);

    shape->drift_t = all.mean / fmax(tiny / 11, sqrt(all.variance / all.count));
    shape->half_t =
        (early.mean - late.mean) /
        fmax(tiny / 11, sqrt(early.variance / early.count + late.variance / late.count));
}

/* What the window's end still holds of each moment's level: the least of all later values. */
static void judge_retained(const struct window *window, struct shape *shape)
{
    double held = window->y_mib[window->count - 1], net = 0, squares = 0, largest = 0;

    for (uint32_t i = window->count - 1; i > 0; i--) {
        const double before = fmin(held, window->y_mib[i - 1]), step = held - before;

        net += step;
        squares += square(step);
        largest = fmax(largest, step);
        held = before;
    }
    shape->retained_mib = net;
    shape->jump_share = net > 0 ? largest / net : 0;
    shape->moments = squares > 0 ? square(net) / squares : 0;
}

/* Load that rises takes its swings along; a leak under steady load leaves them as they are.  The
 * growth within a block is no swing. */
static void judge_swings(const struct window *window, struct shape *shape)
{
    double swing[WINDOW_BLOCK_MAX];
    const uint32_t n = window->count, third = n / 3;
    struct rank_slope slope;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t next = i + 1 < n ? i + 1 : i;

        swing[i] = fmax(0, window->swing_mib[i] -
                               fabs(window->y_mib[next] - window->y_mib[next > 0 ? next - 1 : 0]));
    }
    if (!rank_theil_sen(window->x, swing, n, 1.96, &slope))
        return;
    shape->swing_z = rank_mann_kendall(swing, n, slope.slope, window->x);
    shape->swing_ratio = median_of(swing, n - third, n) / fmax(1e-9, median_of(swing, 0, third));
    shape->swing_share = median_of(swing, 0, n) / fmax(1e-9, fabs(shape->growth_mib));
}

/* Least squares of the blocks [first, end). */
struct line {
    double slope, error;
};
static struct line line_of(const struct window *window, uint32_t first, uint32_t end)
{
    const double n = end - first;
    double x = 0, y = 0, xx = 0, xy = 0, left = 0;

    for (uint32_t i = first; i < end; i++) {
        x += window->x[i] / n;
        y += window->y_mib[i] / n;
    }
    for (uint32_t i = first; i < end; i++) {
        xx += square(window->x[i] - x);
        xy += (window->x[i] - x) * (window->y_mib[i] - y);
    }
    for (uint32_t i = first; i < end; i++)
        left += square(window->y_mib[i] - y - xy / xx * (window->x[i] - x));
    return (struct line){xy / xx, sqrt(left / (n - 2) / xx)};
}

/* A line goes on as it was; logarithms, roots and what fills up do not. */
static void judge_bend(const struct window *window, struct shape *shape)
{
    const struct line early = line_of(window, 0, window->count / 2);
    const struct line late = line_of(window, window->count / 2, window->count);

    shape->bend = early.slope > 0 ? late.slope / early.slope : 0;
    shape->bend_error =
        early.slope > 0 ? hypot(late.error, shape->bend * early.error) / early.slope : INFINITY;
}

double window_slope(const struct window *window)
{
    return line_of(window, 0, window->count).slope;
}

/* What is left of `values` once `base` is taken out of them; returns how much that was, squared. */
static double take_out(double *values, const double *base, uint32_t count)
{
    double product = 0, norm = 0;

    for (uint32_t i = 0; i < count; i++) {
        product += values[i] * base[i];
        norm += base[i] * base[i];
    }
    if (norm <= 0)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        values[i] -= product / norm * base[i];
    return product * product / norm;
}

/* A smooth bend, as of the load of the day: powers of x up to the third, each made orthogonal to
 * those before it. */
static void judge_curve(const struct window *window, struct shape *shape)
{
    const uint32_t n = window->count, third = n / 3;
    double base[4][WINDOW_BLOCK_MAX], left[WINDOW_BLOCK_MAX], curves = 0, all = 0;

    memcpy(left, window->y_mib, n * sizeof *left);
    for (uint32_t power = 0; power < 4; power++) {
        for (uint32_t i = 0; i < n; i++)
            base[power][i] = pow(window->x[i] / window->x[n - 1] - 0.5, power);
        for (uint32_t lower = 0; lower < power; lower++)
            (void)take_out(base[power], base[lower], n);

        const double taken = take_out(left, base[power], n);

        curves += power < 2 ? 0 : taken;
    }
    for (uint32_t i = 0; i < n; i++)
        all += square(left[i]);
    shape->curve_gain = curves / fmax(1e-9, curves + all);

    const struct line middle = line_of(window, third, n - third);
    const struct line late = line_of(window, n - third, n);

    shape->curve_end =
        middle.slope > 0 ? (late.slope + 2 * hypot(late.error, middle.error)) / middle.slope : 1;
}

static void judge_downs(const struct window *window, struct shape *shape)
{
    double up = 0, down = 0;

    for (uint32_t i = 1; i < window->count; i++) {
        const double step = window->y_mib[i] - window->y_mib[i - 1];

        up += fmax(0, step);
        down += fmax(0, -step);
    }
    shape->down_share = up > 0 ? down / up : 1;
}

void window_shape(const struct window *window, struct shape *shape)
{
    const uint32_t n = window->count, half = n / 2;
    const double length = window->x[n - 1] - window->x[0];

    memset(shape, 0, sizeof *shape);
    if (!rank_theil_sen(window->x, window->y_mib, n, 1.96, &shape->slope))
        return;

    const double slope = shape->slope.slope;

    shape->z = rank_mann_kendall(window->y_mib, n, slope, window->x);
    shape->growth_mib = slope * length;
    judge_residual(window, shape);
    judge_steps(window, shape);
    judge_retained(window, shape);
    judge_swings(window, shape);
    judge_bend(window, shape);
    judge_curve(window, shape);
    judge_downs(window, shape);
    if (slope > 0) {
        const double early = part_slope(window, 0, half), late = part_slope(window, half, n);

        shape->half_ratio = early > 0 ? late / early : late > 0 ? INFINITY : 0;
        shape->end_ratio = part_slope(window, n - n / 4, n) / slope;
    }
}
