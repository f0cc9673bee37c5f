/* test_pack.c - packings that hold every request, never below the bound, and optimal where they say
 * so. */
#include "workloads.h"

#include "check.h"

#include <stdlib.h>

/* What a heuristic placed, added up by an independent hand. */
struct seen {
    uint64_t *fill; /* [bins] */
    uint32_t bins, capacity;
    uint64_t items;
};

static void place(uint32_t bin, uint32_t length, uint64_t times, void *data)
{
    struct seen *seen = data;

    assert_true(bin < seen->bins);
    seen->fill[bin] += (uint64_t)length * times;
    seen->items += times;
    assert_true(seen->fill[bin] <= seen->capacity);
}

typedef enum dgo_status (*heuristic)(const struct dgo_lengths *, uint32_t, dgo_place_fn, void *,
                                     uint64_t *, struct dgo_error *);

static void check_heuristic(heuristic pack, const struct dgo_lengths *lengths, uint32_t capacity,
                            uint64_t said, uint64_t items, const char *name)
{
    struct seen seen = {.bins = (uint32_t)said, .capacity = capacity};
    uint64_t bins = 0;

    seen.fill = calloc(said + 1, sizeof *seen.fill);
    assert_int_equal(pack(lengths, capacity, place, &seen, &bins, NULL), DGO_OK);
    CHECK_ROW_U64(bins, said, name);
    CHECK_ROW_U64(seen.items, items, name);
    free(seen.fill);
}

static void check_packing(const struct dgo_workload *workload, uint32_t capacity, double gap_most,
                          const char *name)
{
    struct dgo_arena arena = {0};
    struct dgo_lengths lengths;
    struct dgo_packing packing;

    workload_lengths(workload, &arena, &lengths);
    assert_int_equal(dgo_pack(&lengths, capacity, &packing, NULL), DGO_OK);
    CHECK_ROW(packing.lower_bound <= packing.bins, name);
    CHECK_ROW(packing.lower_bound * capacity >= packing.tokens, name);
    CHECK_ROW((double)(packing.bins - packing.lower_bound) <=
                  gap_most * (double)packing.lower_bound,
              name);
    CHECK_ROW_U64(packing.items + packing.too_long, workload->count, name);
    check_heuristic(dgo_pack_first_fit, &lengths, capacity, packing.ffd_bins, packing.items, name);
    check_heuristic(dgo_pack_best_fit, &lengths, capacity, packing.bfd_bins, packing.items, name);
    dgo_arena_done(&arena);
}

static void test_traces(void **state)
{
    static const char *const names[] = {"azure_llm_2023_conv.csv", "azure_llm_2023_code.csv"};
    static const uint32_t capacities[] = {8192, 14050, 16384, 32768, 131072};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct dgo_workload workload;

        if (!workload_trace(&workload, names[i])) {
            print_message("# skipped: no %s\n", names[i]);
            return; /* cmocka's skip() is a failure to readers of TAP */
        }
        for (size_t c = 0; c < sizeof capacities / sizeof capacities[0]; c++)
            check_packing(&workload, capacities[c], 0.01, names[i]);
        dgo_workload_done(&workload);
    }
}

static void test_seeded_trace(void **state)
{
    struct dgo_workload workload;

    (void)state;
    workload_seeded(&workload);
    check_packing(&workload, 16384, 0.02, "seeded, wide bins");
    check_packing(&workload, 9000, 0.02, "seeded, bins of one long request");
    check_packing(&workload, 100, 1, "seeded, hardly one fits");
    dgo_workload_done(&workload);
}

/* First fit as the book has it, one item after the other. */
static uint64_t plain_first_fit(const struct dgo_lengths *lengths, uint32_t capacity)
{
    uint32_t *room = malloc((dgo_lengths_count(lengths) + 1) * sizeof *room);
    uint64_t bins = 0;

    for (uint32_t i = lengths->distinct; i-- > 0;)
        for (uint64_t c = lengths->count_before[i]; c < lengths->count_before[i + 1]; c++) {
            uint64_t b = 0;

            if (lengths->length[i] > capacity)
                continue;
            while (b < bins && room[b] < lengths->length[i])
                b++;
            if (b == bins)
                room[bins++] = capacity;
            room[b] -= lengths->length[i];
        }
    free(room);
    return bins;
}

/* The least number of bins by trying everything: at most 9 items. */
static uint32_t fewest(const uint32_t *items, uint32_t count, uint32_t capacity, uint32_t *room,
                       uint32_t used, uint32_t best)
{
    if (used >= best)
        return best;
    if (count == 0)
        return used;
    for (uint32_t b = 0; b <= used; b++) {
        if (b == used)
            room[b] = capacity;
        if (room[b] < items[0])
            continue;
        room[b] -= items[0];
        best = fewest(items + 1, count - 1, capacity, room, used + (b == used), best);
        room[b] += items[0];
    }
    return best;
}

static void test_small_ones_are_optimal(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        const uint32_t capacity = 10 + (uint32_t)check_below(&seed, 60);
        const uint32_t count = 1 + (uint32_t)check_below(&seed, 9);
        struct dgo_workload workload;
        struct dgo_arena arena = {0};
        struct dgo_lengths lengths;
        struct dgo_packing packing;
        uint32_t items[9], room[10];

        workload_random(&workload, &seed, count, capacity);
        for (uint32_t i = 0; i < count; i++) /* what is small packs itself */
            workload.request[i].prompt_tokens =
                1 + workload.request[i].prompt_tokens / 2 + capacity / 4;
        for (uint32_t i = 0; i < count; i++)
            items[i] = workload.request[i].prompt_tokens;
        workload_lengths(&workload, &arena, &lengths);
        assert_int_equal(dgo_pack(&lengths, capacity, &packing, NULL), DGO_OK);
        CHECK_ROW_U64(packing.bins, fewest(items, count, capacity, room, 0, count + 1), "small");
        CHECK_ROW_U64(packing.lower_bound, packing.bins, "small, proven");
        CHECK_ROW_U64(packing.ffd_bins, plain_first_fit(&lengths, capacity), "first fit");
        dgo_arena_done(&arena);
        dgo_workload_done(&workload);
    }
}

/* Made so that first fit needs one bin more: only the search finds the pairs. */
static void test_search_beats_the_heuristics(void **state)
{
    static const uint32_t items[] = {6, 5, 4, 3, 2}; /* 20 in bins of 10: 6+4, 5+3+2 */
    static const uint32_t hard[] = {44, 24, 24, 22, 21, 17, 8, 8, 6, 6}; /* 180 in 3 bins of 60 */
    static const struct {
        const char *name;
        const uint32_t *items;
        uint32_t count, capacity, bins;
    } cases[] = {{"easy", items, 5, 10, 2}, {"hard", hard, 10, 60, 3}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_workload workload = {0};
        struct dgo_arena arena = {0};
        struct dgo_lengths lengths;
        struct dgo_packing packing;

        for (uint32_t j = 0; j < cases[i].count; j++)
            assert_int_equal(
                dgo_workload_add(&workload,
                                 &(struct dgo_request){.prompt_tokens = cases[i].items[j]}, NULL),
                DGO_OK);
        workload_lengths(&workload, &arena, &lengths);
        assert_int_equal(dgo_pack(&lengths, cases[i].capacity, &packing, NULL), DGO_OK);
        CHECK_ROW_U64(packing.bins, cases[i].bins, cases[i].name);
        dgo_arena_done(&arena);
        dgo_workload_done(&workload);
    }
}

static void test_edges(void **state)
{
    struct dgo_workload workload = {0};
    struct dgo_arena arena = {0};
    struct dgo_lengths lengths;
    struct dgo_packing packing;

    (void)state;
    workload_lengths(&workload, &arena, &lengths);
    assert_int_equal(dgo_pack(&lengths, 0, &packing, NULL), DGO_EINVAL);
    assert_int_equal(dgo_pack(&lengths, DGO_PACK_CAPACITY_MAX + 1, &packing, NULL), DGO_EINVAL);
    assert_int_equal(dgo_pack(&lengths, 5, &packing, NULL), DGO_OK);
    assert_int_equal(packing.bins, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(
            dgo_workload_add(&workload, &(struct dgo_request){.prompt_tokens = i * 5}, NULL),
            DGO_OK);
    dgo_arena_done(&arena);
    workload_lengths(&workload, &arena, &lengths);
    assert_int_equal(dgo_pack(&lengths, 5, &packing, NULL), DGO_OK);
    assert_int_equal(packing.too_long, 1);
    assert_int_equal(packing.bins, 1);
    assert_int_equal(packing.lower_bound, 1);
    dgo_arena_done(&arena);
    dgo_workload_done(&workload);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_traces),
    cmocka_unit_test(test_seeded_trace),
    cmocka_unit_test(test_small_ones_are_optimal),
    cmocka_unit_test(test_search_beats_the_heuristics),
    cmocka_unit_test(test_edges),
};
CHECK_MAIN(tests)
