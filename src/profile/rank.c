/* rank.c - median, Mann-Kendall with its corrections, Theil-Sen with its interval. */
#include "rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int by_value_f(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

double rank_quantile(double *values, uint32_t count, double share)
{
    if (count == 0)
        return NAN;
    qsort(values, count, sizeof *values, by_value);

    const double at = share * (count - 1);
    const uint32_t below = (uint32_t)at;

    if (below + 1 >= count)
        return values[count - 1];
    return values[below] + (values[below + 1] - values[below]) * (at - below);
}

double rank_median(double *values, uint32_t count)
{
    return rank_quantile(values, count, 0.5);
}

float rank_median_f(float *values, uint32_t count)
{
    if (count == 0)
        return NAN;
    qsort(values, count, sizeof *values, by_value_f);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* The sum of t (t - 1) (2t + 5) over the groups of equal values. */
static double tie_term(const double *y, uint32_t count)
{
    double sorted[RANK_POINT_MAX], sum = 0;

    memcpy(sorted, y, count * sizeof *y);
    qsort(sorted, count, sizeof *sorted, by_value);
    for (uint32_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && sorted[end] <= sorted[i]; end++)
            continue;

        const double t = end - i;

        sum += t * (t - 1) * (2 * t + 5);
    }
    return sum;
}

/* Ranks, equal values sharing theirs. */
static void rank_of(const double *y, uint32_t count, double *rank)
{
    for (uint32_t i = 0; i < count; i++) {
        double below = 0, equal = 0;

        for (uint32_t j = 0; j < count; j++) {
            below += y[j] < y[i];
            equal += y[j] <= y[i] && y[j] >= y[i];
        }
        rank[i] = below + (equal + 1) / 2;
    }
}

/* Hamed and Rao's factor on the variance: autocorrelations of the ranks beyond chance count. */
static double autocorrelation_factor(const double *x, const double *y, uint32_t count, double slope)
{
    double left[RANK_POINT_MAX], rank[RANK_POINT_MAX], mean = 0, variance = 0, sum = 0;
    const double n = count;

    /* Rounded, so that a straight line's last bits are ties and no pattern. */
    for (uint32_t i = 0; i < count; i++)
        left[i] = rint((y[i] - slope * x[i]) * 1e6);
    rank_of(left, count, rank);
    for (uint32_t i = 0; i < count; i++)
        mean += rank[i] / n;
    for (uint32_t i = 0; i < count; i++)
        variance += (rank[i] - mean) * (rank[i] - mean);
    if (variance < 0.25) /* all of them equal */
        return 1;
    for (uint32_t lag = 1; lag < count / 3; lag++) {
        double covariance = 0;

        for (uint32_t i = 0; i + lag < count; i++)
            covariance += (rank[i] - mean) * (rank[i + lag] - mean);
        covariance /= variance;
        if (fabs(covariance) > 1.96 / sqrt(n))
            sum += (n - lag) * (n - lag - 1) * (n - lag - 2) * covariance;
    }
    return fmax(1, 1 + 2 / (n * (n - 1) * (n - 2)) * sum);
}

double rank_mann_kendall(const double *y, uint32_t count, double slope, const double *x)
{
    const double n = count;
    int32_t s = 0;

    if (count < 4)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++)
            s += (y[j] > y[i]) - (y[j] < y[i]);

    const double variance = (n * (n - 1) * (2 * n + 5) - tie_term(y, count)) / 18 *
                            autocorrelation_factor(x, y, count, slope);

    if (variance <= 0 || s == 0)
        return 0;
    return (s > 0 ? s - 1 : s + 1) / sqrt(variance);
}

bool rank_theil_sen(const double *x, const double *y, uint32_t count, double z,
                    struct rank_slope *slope)
{
    double pair[RANK_PAIR_MAX];
    const double n = count;
    uint32_t pairs = 0;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++)
            if (x[j] > x[i])
                pair[pairs++] = (y[j] - y[i]) / (x[j] - x[i]);
    if (pairs == 0)
        return false;

    const double spread = z * sqrt((n * (n - 1) * (2 * n + 5) - tie_term(y, count)) / 18);

    slope->slope = rank_median(pair, pairs); /* and sorts them */

    const double low = floor((pairs - spread) / 2), high = ceil((pairs + spread) / 2);

    slope->low = pair[low > 0 ? (uint32_t)low : 0];
    slope->high = pair[high < pairs - 1 ? (uint32_t)high : pairs - 1];
    return true;
}
