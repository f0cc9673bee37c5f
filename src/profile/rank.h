/* rank.h - statistics that a few wild values cannot bend: median, Mann-Kendall, Theil-Sen.
 * Private to profile.  Pure; any thread. */
#ifndef RANK_H
#define RANK_H

#include "dgo_base.h"

enum { RANK_POINT_MAX = 64, RANK_PAIR_MAX = RANK_POINT_MAX * (RANK_POINT_MAX - 1) / 2 };

/* Each reorders what it is given.  count 0 gives NAN. */
double rank_median(double *values, uint32_t count);
float rank_median_f(float *values, uint32_t count);

/* The value that the share 0..1 of them lies below. */
double rank_quantile(double *values, uint32_t count, double share);

/* Mann-Kendall's z of y over its order, variance corrected for ties and, by Hamed and Rao (1998),
 * for the autocorrelation of the ranks of what is left after the slope; count <= RANK_POINT_MAX.
 * 0 below 4 points. */
double rank_mann_kendall(const double *y, uint32_t count, double slope, const double *x);

/* Theil and Sen's slope of y over x, with the interval of `z` standard deviations of Kendall's S
 * (1.96: 95 %).  Pairs of equal x are left out; false when none is left. */
struct rank_slope {
    double slope, low, high;
};
bool rank_theil_sen(const double *x, const double *y, uint32_t count, double z,
                    struct rank_slope *slope);

#endif
