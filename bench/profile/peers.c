/* peers.c - least squares with R2, a Precog-like suffix search, Mann-Kendall with Sen's slope, and
 * the lower envelope with its tests of shape, each as published, on the points of a trace.
 *
 * Settings: R2 > 0.8 (common practice); Precog (arXiv 2101.09799): a suffix with R2 > 0.88 and a
 * slope above 0; Mann-Kendall p < 0.01 and 64 MiB; the envelope with 48 blocks as the description
 * that this project started from gives it. */
#include "peers.h"

#include "rank.h"

#include <math.h>

enum { POINTS = 240, BLOCKS = 48 };

static uint32_t means(const struct dgo_trace *trace, double *x, double *y)
{
    struct dgo_trace_point points[POINTS];
    const uint32_t count = dgo_trace_points(trace, points, POINTS);
    uint32_t written = 0;

    for (uint32_t i = count / 25; i < count; i++) { /* 4 % of warm-up left out, as all of them do */
        if (isnan(points[i].mean_mib))
            continue;
        x[written] = points[i].seconds / 3600;
        y[written++] = points[i].mean_mib;
    }
    return written;
}

static uint32_t floors(const struct dgo_trace *trace, double *x, double *y)
{
    struct dgo_trace_point points[BLOCKS * 8];
    const uint32_t count = dgo_trace_points(trace, points, BLOCKS * 8);
    const uint32_t first = count / 25;
    uint32_t written = 0;

    for (uint32_t b = 0; b < BLOCKS && count >= BLOCKS * 2; b++) {
        double least = NAN;

        for (uint32_t i = first + b * (count - first) / BLOCKS;
             i < first + (b + 1) * (count - first) / BLOCKS; i++)
            least = fmin(least, points[i].min_mib);
        if (isnan(least))
            continue;
        x[written] = b;
        y[written++] = least;
    }
    return written;
}

static double fit(const double *x, const double *y, uint32_t count, double *slope)
{
    double mx = 0, my = 0, xx = 0, xy = 0, yy = 0;

    for (uint32_t i = 0; i < count; i++) {
        mx += x[i] / count;
        my += y[i] / count;
    }
    for (uint32_t i = 0; i < count; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        xy += (x[i] - mx) * (y[i] - my);
        yy += (y[i] - my) * (y[i] - my);
    }
    *slope = xx > 0 ? xy / xx : 0;
    return xx > 0 && yy > 0 ? xy * xy / xx / yy : 0;
}

static bool ols(const struct dgo_trace *trace)
{
    double x[POINTS], y[POINTS], slope;
    const uint32_t count = means(trace, x, y);

    return fit(x, y, count, &slope) > 0.8 && slope > 0;
}

static bool precog(const struct dgo_trace *trace)
{
    double x[POINTS], y[POINTS], slope;
    const uint32_t count = means(trace, x, y);

    for (uint32_t first = 0; first + count / 4 < count; first += count / 100 + 1)
        if (fit(x + first, y + first, count - first, &slope) > 0.88 && slope > 0)
            return y[count - 1] > 0.4 * 24576;
    return false;
}

/* As published: no correction for autocorrelation. */
static double plain_z(const double *y, uint32_t count)
{
    const double n = count;
    double s = 0;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++)
            s += (y[j] > y[i]) - (y[j] < y[i]);
    return s / sqrt(n * (n - 1) * (2 * n + 5) / 18);
}

static bool mann_kendall(const struct dgo_trace *trace)
{
    double x[BLOCKS * 8], y[BLOCKS * 8];
    struct rank_slope slope;
    const uint32_t count = floors(trace, x, y);

    return count > 3 && rank_theil_sen(x, y, count, 1.96, &slope) && slope.slope * count >= 64 &&
           plain_z(y, count) > 2.576;
}

static double slope_of(const double *x, const double *y, uint32_t first, uint32_t end)
{
    struct rank_slope slope;

    return rank_theil_sen(x + first, y + first, end - first, 1.96, &slope) ? slope.slope : 0;
}

static bool envelope(const struct dgo_trace *trace)
{
    double x[BLOCKS * 8], y[BLOCKS * 8], up = 0, down = 0, jump = 0;
    const uint32_t n = floors(trace, x, y), third = n / 3;

    if (n < 12 || plain_z(y, n) <= 3)
        return false;

    const double b = slope_of(x, y, 0, n);

    for (uint32_t i = 1; i < n; i++) {
        up += fmax(0, y[i] - y[i - 1]);
        down += fmax(0, y[i - 1] - y[i]);
        jump = fmax(jump, y[i] - y[i - 1]);
    }
    return b * n >= 64 && slope_of(x, y, n - third, n) >= 0.34 * b &&
           slope_of(x, y, third, n - third) >= 0.07 * b &&
           y[n - 1] - y[n / 2] >= 0.35 * (y[n / 2] - y[0]) && jump <= 0.6 * (y[n - 1] - y[0]) &&
           down <= 0.75 * up;
}

const struct peer peers[PEER_COUNT] = {
    {"least squares", ols},
    {"Precog-like", precog},
    {"Mann-Kendall", mann_kendall},
    {"envelope", envelope},
};
