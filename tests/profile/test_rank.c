/* test_rank.c - Mann-Kendall and Theil-Sen against figures worked out by hand and by others. */
#include "check.h"
#include "rank.h"

#include <math.h>

static void test_quantiles(void **state)
{
    double values[] = {5, 1, 4, 2, 3};
    float single[] = {7, 3};

    (void)state;
    assert_true(rank_median(values, 5) == 3);
    assert_true(fabs(rank_quantile(values, 5, 0.1) - 1.4) < 1e-12);
    assert_true(rank_quantile(values, 5, 1) == 5);
    assert_true(rank_median_f(single, 2) == 5);
    assert_true(isnan(rank_median(values, 0)));
}

/* S of 1..n is n (n - 1) / 2, its variance n (n - 1) (2n + 5) / 18. */
static void test_mann_kendall(void **state)
{
    double x[10], up[10], down[10], level[10];

    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        x[i] = i;
        up[i] = i;
        down[i] = 100 - 2.0 * i;
        level[i] = 4;
    }
    assert_true(fabs(rank_mann_kendall(up, 10, 1, x) - 44 / sqrt(125)) < 1e-9);
    assert_true(fabs(rank_mann_kendall(down, 10, -2, x) + 44 / sqrt(125)) < 1e-9);
    assert_true(rank_mann_kendall(level, 10, 0, x) == 0);
    /* One pair of ties: S = 44, and 2 * 1 * 9 = 18 less in the numerator of the variance. */
    up[1] = up[0];
    assert_true(fabs(rank_mann_kendall(up, 10, 1, x) - 43 / sqrt((2250.0 - 18) / 18)) < 0.2);
}

static double plain_z(const double *y, double n)
{
    double s = 0;

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++)
            s += (y[j] > y[i]) - (y[j] < y[i]);
    return s / sqrt(n * (n - 1) * (2 * n + 5) / 18);
}

/* Smooth noise looks like a trend to the plain test; the corrected variance is larger. */
static void test_autocorrelation_is_corrected(void **state)
{
    uint64_t seed = check_seed();
    uint32_t flagged = 0, plain = 0;

    (void)state;
    for (uint32_t run = 0; run < 2000; run++) {
        double x[48], y[48], value = 0;
        struct rank_slope slope;

        for (uint32_t i = 0; i < 48; i++) {
            value = 0.8 * value + (double)check_below(&seed, 1000) - 500;
            x[i] = i;
            y[i] = value;
        }
        assert_true(rank_theil_sen(x, y, 48, 1.96, &slope));
        flagged += fabs(rank_mann_kendall(y, 48, slope.slope, x)) > 3;
        plain += fabs(plain_z(y, 48)) > 3;
    }
    assert_true(plain > 300);
    assert_true(flagged * 3 < plain * 2); /* half of them, give or take by chance */
}

static void test_theil_sen(void **state)
{
    double x[40], y[40];
    struct rank_slope slope;

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        x[i] = i * 0.5;
        y[i] = 10 + 3 * x[i] + (i % 2 ? 0.1 : -0.1);
    }
    y[5] = 1000; /* a few wild values do not bend it */
    y[20] = -500;
    y[33] = 4000;
    assert_true(rank_theil_sen(x, y, 40, 1.96, &slope));
    assert_true(fabs(slope.slope - 3) < 0.02);
    assert_true(slope.low <= slope.slope && slope.slope <= slope.high);
    assert_true(slope.low > 2.8 && slope.high < 3.2);
    for (uint32_t i = 0; i < 40; i++)
        x[i] = 7;
    assert_false(rank_theil_sen(x, y, 40, 1.96, &slope));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_quantiles),
    cmocka_unit_test(test_mann_kendall),
    cmocka_unit_test(test_autocorrelation_is_corrected),
    cmocka_unit_test(test_theil_sen),
};
CHECK_MAIN(tests)
