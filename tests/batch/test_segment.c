/* test_segment.c - buckets against an independent optimum: every bound, every cut, no shortcut. */
#include "workloads.h"

#include "check.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

/* O(k n^2) over the sorted requests themselves or, where they are many, over distinct lengths with
 * their counts: least[j] = min over i of least[i] + sum of (longest - each) in (i, j]. */
static void brute_force(const struct dgo_workload *workload, uint64_t least_of_k[DGO_BUCKET_MAX])
{
    const uint32_t count = workload->count;
    uint32_t *sorted = malloc(count * sizeof *sorted), *value = malloc(count * sizeof *value);
    uint64_t *times = calloc(count, sizeof *times);
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++)
        sorted[i] = workload->request[i].prompt_tokens;
    qsort(sorted, count, sizeof *sorted, ascending);
    for (uint32_t i = 0; i < count; i++) {
        if (n == 0 || value[n - 1] != sorted[i])
            value[n++] = sorted[i];
        times[n - 1]++;
    }
    uint64_t *before = malloc((n + 1) * sizeof *before), *now = malloc((n + 1) * sizeof *now);

    for (uint32_t j = 0; j <= n; j++)
        before[j] = j == 0 ? 0 : UINT64_MAX;
    for (uint32_t k = 1; k <= DGO_BUCKET_MAX; k++) {
        now[0] = 0;
        for (uint32_t j = 1; j <= n; j++) {
            uint64_t waste = 0;

            now[j] = UINT64_MAX;
            for (uint32_t i = j; i-- > 0;) { /* the last bucket takes value[i] too */
                waste += (uint64_t)(value[j - 1] - value[i]) * times[i];
                if (before[i] != UINT64_MAX && before[i] + waste < now[j])
                    now[j] = before[i] + waste;
            }
        }
        least_of_k[k - 1] = now[n];
        memcpy(before, now, (n + 1) * sizeof *before);
    }
    free(sorted);
    free(value);
    free(times);
    free(before);
    free(now);
}

/* What the bounds really cost, counted request by request. */
static uint64_t cost_of(const struct dgo_workload *workload, const struct dgo_buckets *buckets)
{
    uint64_t waste = 0;

    for (uint32_t i = 0; i < workload->count; i++) {
        const uint32_t length = workload->request[i].prompt_tokens;
        uint32_t b = 0;

        while (b < buckets->bound_count && buckets->bound[b] < length)
            b++;
        assert_true(b < buckets->bound_count);
        waste += buckets->bound[b] - length;
    }
    return waste;
}

static void check_optimal(const struct dgo_workload *workload, const char *name)
{
    struct dgo_arena arena = {0};
    struct dgo_lengths lengths;
    struct dgo_buckets buckets[DGO_BUCKET_MAX];
    uint64_t least[DGO_BUCKET_MAX];

    workload_lengths(workload, &arena, &lengths);
    assert_int_equal(dgo_buckets_make(&lengths, DGO_BUCKET_MAX, buckets, NULL), DGO_OK);
    brute_force(workload, least);
    for (unsigned k = 1; k <= DGO_BUCKET_MAX; k++) {
        const struct dgo_buckets *made = &buckets[k - 1];
        uint64_t requests = 0;

        CHECK_ROW_U64(made->k, k, name);
        CHECK_ROW_U64(made->waste_tokens, least[k - 1], name);
        CHECK_ROW_U64(cost_of(workload, made), made->waste_tokens, name);
        CHECK_ROW(made->bound_count <= k, name);
        CHECK_ROW(made->bound[made->bound_count - 1] == lengths.length[lengths.distinct - 1], name);
        for (uint32_t b = 0; b < made->bound_count; b++) {
            requests += made->requests[b];
            CHECK_ROW(b == 0 || made->bound[b] > made->bound[b - 1], name);
        }
        CHECK_ROW_U64(requests, workload->count, name);
    }
    dgo_arena_done(&arena);
}

static void test_random(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        static const uint32_t most[] = {3, 20, 300, 20000};
        struct dgo_workload workload;

        workload_random(&workload, &seed, 1 + (uint32_t)check_below(&seed, 300), most[round % 4]);
        check_optimal(&workload, "random");
        dgo_workload_done(&workload);
    }
}

static void test_seeded_trace(void **state)
{
    struct dgo_workload workload;

    (void)state;
    workload_seeded(&workload);
    check_optimal(&workload, "seeded trace");
    dgo_workload_done(&workload);
}

static void test_traces(void **state)
{
    static const char *const names[] = {"azure_llm_2023_conv.csv", "azure_llm_2023_code.csv"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct dgo_workload workload;

        if (!workload_trace(&workload, names[i])) {
            print_message("# skipped: no %s\n", names[i]);
            return; /* cmocka's skip() is a failure to readers of TAP */
        }
        check_optimal(&workload, names[i]);
        dgo_workload_done(&workload);
    }
}

static void test_edges(void **state)
{
    static const struct {
        const char *name;
        uint32_t count, lengths[4];
        uint64_t waste_1, waste_2;
    } cases[] = {
        {"one request", 1, {7}, 0, 0},
        {"all equal", 3, {5, 5, 5}, 0, 0},
        {"no tokens", 2, {0, 0}, 0, 0},
        {"two lengths", 3, {10, 4, 10}, 6, 0},
        {"the longest there may be", 2, {1, DGO_REQUEST_TOKENS_MAX}, DGO_REQUEST_TOKENS_MAX - 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_workload workload = {0};
        struct dgo_arena arena = {0};
        struct dgo_lengths lengths;
        struct dgo_buckets buckets[DGO_BUCKET_MAX];

        for (uint32_t j = 0; j < cases[i].count; j++)
            assert_int_equal(
                dgo_workload_add(&workload,
                                 &(struct dgo_request){.prompt_tokens = cases[i].lengths[j]}, NULL),
                DGO_OK);
        workload_lengths(&workload, &arena, &lengths);
        assert_int_equal(dgo_buckets_make(&lengths, DGO_BUCKET_MAX, buckets, NULL), DGO_OK);
        CHECK_ROW_U64(buckets[0].waste_tokens, cases[i].waste_1, cases[i].name);
        CHECK_ROW_U64(buckets[1].waste_tokens, cases[i].waste_2, cases[i].name);
        CHECK_ROW_U64(buckets[DGO_BUCKET_MAX - 1].waste_tokens, 0, cases[i].name);
        dgo_arena_done(&arena);
        dgo_workload_done(&workload);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_random),
    cmocka_unit_test(test_seeded_trace),
    cmocka_unit_test(test_traces),
    cmocka_unit_test(test_edges),
};
CHECK_MAIN(tests)
