/* test_lengths.c - percentiles, histogram, padding and arrivals against plain counting. */
#include "workloads.h"

#include "check.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

static void test_percentiles(void **state)
{
    static const double shares[] = {0, 0.01, 0.5, 0.9, 0.99, 0.999, 1};
    uint64_t seed = check_seed();

    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        struct dgo_workload workload;
        struct dgo_arena arena = {0};
        struct dgo_lengths lengths;
        const uint32_t count = 1 + (uint32_t)check_below(&seed, 200);
        uint32_t *sorted = malloc(count * sizeof *sorted);

        workload_random(&workload, &seed, count, 1u << check_below(&seed, 20));
        workload_lengths(&workload, &arena, &lengths);
        for (uint32_t i = 0; i < count; i++)
            sorted[i] = workload.request[i].prompt_tokens;
        qsort(sorted, count, sizeof *sorted, ascending);
        for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
            const double rank = ceil(shares[i] * count - 1e-9);
            const uint32_t want = sorted[rank < 1 ? 0 : (uint32_t)rank - 1];

            CHECK_ROW_U64(dgo_lengths_percentile(&lengths, shares[i]), want, "percentile");
        }
        for (uint32_t i = 0; i < count; i++) {
            uint64_t above = 0;

            for (uint32_t j = 0; j < count; j++)
                above += sorted[j] > sorted[i];
            CHECK_ROW_U64(dgo_lengths_above(&lengths, sorted[i]), above, "above");
        }
        free(sorted);
        dgo_arena_done(&arena);
        dgo_workload_done(&workload);
    }
}

static void test_histogram_counts_everybody(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        struct dgo_workload workload;
        struct dgo_arena arena = {0};
        struct dgo_lengths lengths;
        struct dgo_histogram histogram;
        uint64_t sum = 0;

        workload_random(&workload, &seed, 500, 1u << check_below(&seed, 31));
        workload.request[0].prompt_tokens = round % 2 ? 0 : DGO_REQUEST_TOKENS_MAX;
        workload_lengths(&workload, &arena, &lengths);
        dgo_histogram_make(&lengths, &histogram);
        for (uint32_t b = 0; b < histogram.bins; b++) {
            uint64_t want = 0;

            for (uint32_t i = 0; i < workload.count; i++)
                want += workload.request[i].prompt_tokens <= histogram.up_to[b] &&
                        (b == 0 || workload.request[i].prompt_tokens > histogram.up_to[b - 1]);
            CHECK_ROW_U64(histogram.count[b], want, "bin");
            sum += want;
        }
        CHECK_ROW_U64(sum, workload.count, "all bins");
        dgo_arena_done(&arena);
        dgo_workload_done(&workload);
    }
}

static void test_padding(void **state)
{
    struct dgo_workload workload = {0};
    struct dgo_arena arena = {0};
    struct dgo_lengths lengths;
    struct dgo_padding padding;
    static const uint32_t prompts[] = {10, 2, 10, 2, 10};

    (void)state;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(
            dgo_workload_add(&workload, &(struct dgo_request){.prompt_tokens = prompts[i]}, NULL),
            DGO_OK);
    workload_lengths(&workload, &arena, &lengths);
    dgo_padding_make(&workload, &lengths, 2, &padding);
    assert_int_equal(padding.tokens, 34);
    assert_int_equal(padding.arrival_waste_tokens, 16); /* 10 2 | 10 2 | 10 */
    assert_int_equal(padding.sorted_waste_tokens, 8);   /* 10 10 | 10 2 | 2 */
    dgo_padding_make(&workload, &lengths, 1, &padding);
    assert_int_equal(padding.arrival_waste_tokens, 0);
    assert_int_equal(padding.sorted_waste_tokens, 0);
    dgo_arena_done(&arena);
    dgo_workload_done(&workload);
}

static void test_arrivals(void **state)
{
    struct dgo_workload workload = {.arrivals_known = true};
    struct dgo_arrivals arrivals;

    (void)state;
    /* Backwards in the file, one each second for two minutes, and ten at once in the last. */
    for (int i = 120; i >= 0; i--)
        for (int times = i == 120 ? 10 : 1; times > 0; times--)
            assert_int_equal(
                dgo_workload_add(&workload, &(struct dgo_request){.arrival_s = 1000.0 + i}, NULL),
                DGO_OK);
    dgo_workload_sort(&workload);
    assert_true(workload.request[0].arrival_s == 0);
    assert_true(workload.request[workload.count - 1].arrival_s == 120);
    assert_true(dgo_arrivals_make(&workload, &arrivals));
    assert_true(fabs(arrivals.mean_per_s - 129.0 / 120) < 1e-9);
    assert_true(fabs(arrivals.peak_minute_per_s - 69.0 / 60) < 1e-9);
    workload.count = 1;
    assert_false(dgo_arrivals_make(&workload, &arrivals));
    dgo_workload_done(&workload);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_percentiles),
    cmocka_unit_test(test_histogram_counts_everybody),
    cmocka_unit_test(test_padding),
    cmocka_unit_test(test_arrivals),
};
CHECK_MAIN(tests)
