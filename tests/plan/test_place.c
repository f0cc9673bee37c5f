/* test_place.c - the exact split on problems small enough to solve on paper. */
#include "check.h"

#include "place.h"

#include <math.h>
#include <stdbool.h>

enum { CARD_MAX = 4 };

struct want {
    uint32_t device, count;
};

static const struct {
    const char *name;
    uint32_t items; /* of one byte and one second each, times the card's slowness */
    bool single;
    uint32_t cards;
    struct {
        uint64_t room;
        double slowness;
    } card[CARD_MAX];
    uint64_t fixed[PLACE_ROLE_COUNT]; /* middle, first, last, alone */
    double boundary, stage_weight;
    uint32_t cpu_min, cpu_max;
    bool found;
    uint32_t cpu_items;
    struct want want[CARD_MAX];
} cases[] = {
    {.name = "all on the only card",
     .items = 5,
     .single = true,
     .cards = 1,
     .card = {{10, 1}},
     .found = true,
     .want = {{0, 5}}},
    {.name = "the faster of two",
     .items = 5,
     .single = true,
     .cards = 2,
     .card = {{10, 2}, {10, 1}},
     .found = true,
     .want = {{1, 5}}},
    {.name = "one byte short", .items = 5, .single = true, .cards = 1, .card = {{4, 1}}},
    {.name = "fixed bytes count",
     .items = 5,
     .single = true,
     .cards = 1,
     .card = {{5, 1}},
     .fixed = {0, 0, 0, 1}},
    {.name = "fast card filled first",
     .items = 8,
     .cards = 2,
     .card = {{5, 1}, {5, 3}},
     .found = true,
     .want = {{0, 5}, {1, 3}}},
    {.name = "fast card last when listed last",
     .items = 8,
     .cards = 2,
     .card = {{5, 3}, {5, 1}},
     .found = true,
     .want = {{0, 3}, {1, 5}}},
    {.name = "the last role takes its bytes",
     .items = 8,
     .cards = 2,
     .card = {{4, 1}, {6, 1}},
     .fixed = {0, 0, 2, 2},
     .found = true,
     .want = {{0, 4}, {1, 4}}},
    {.name = "order turned round where the last role is too dear",
     .items = 8,
     .cards = 2,
     .card = {{9, 1}, {2, 1}},
     .fixed = {0, 0, 2, 2},
     .found = true,
     .want = {{1, 2}, {0, 6}}},
    {.name = "slow card left out",
     .items = 8,
     .cards = 3,
     .card = {{5, 1}, {5, 9}, {5, 1}},
     .boundary = 1,
     .found = true,
     .want = {{0, 5}, {2, 3}}},
    {.name = "too little for all three", .items = 16, .cards = 3, .card = {{5, 1}, {5, 1}, {5, 1}}},
    {.name = "equal cards share evenly when stages count",
     .items = 8,
     .cards = 2,
     .card = {{9, 1}, {9, 1}},
     .stage_weight = 0.1,
     .found = true,
     .want = {{0, 4}, {1, 4}}},
    {.name = "a third card pays when stages count much",
     .items = 9,
     .cards = 3,
     .card = {{9, 1}, {9, 1}, {9, 1}},
     .boundary = 1,
     .stage_weight = 3,
     .found = true,
     .want = {{0, 3}, {1, 3}, {2, 3}}},
    {.name = "fewest layers on the CPU",
     .items = 8,
     .single = true,
     .cards = 1,
     .card = {{5, 1}},
     .cpu_min = 1,
     .cpu_max = 7,
     .found = true,
     .cpu_items = 3,
     .want = {{0, 5}}},
    {.name = "host too small",
     .items = 8,
     .single = true,
     .cards = 1,
     .card = {{5, 1}},
     .cpu_min = 1,
     .cpu_max = 2},
    {.name = "CPU and two cards",
     .items = 12,
     .cards = 2,
     .card = {{5, 1}, {4, 1}},
     .cpu_min = 1,
     .cpu_max = 11,
     .found = true,
     .cpu_items = 3,
     .want = {{0, 5}, {1, 4}}},
    {.name = "nothing to place on", .items = 3, .single = true, .cards = 0},
};

static void make_problem(struct place_problem *p, size_t row)
{
    memset(p, 0, sizeof *p);
    p->item_count = cases[row].items;
    p->device_count = cases[row].cards;
    p->single = cases[row].single;
    p->stage_weight = cases[row].stage_weight;
    p->cpu_items_min = cases[row].cpu_min;
    p->cpu_items_max = cases[row].cpu_max;
    for (uint32_t i = 0; i < p->item_count; i++) {
        p->bytes[i] = 1;
        p->cpu_cost[i] = 20;
    }
    for (uint32_t d = 0; d < p->device_count; d++) {
        p->device[d].room_bytes = cases[row].card[d].room;
        memcpy(p->device[d].fixed_bytes, cases[row].fixed, sizeof cases[row].fixed);
        p->device[d].head_fixed_bytes = cases[row].fixed[PLACE_FIRST];
        for (int i = 0; i < 2; i++)
            p->device[d].tail_fixed_bytes[i] = cases[row].fixed[PLACE_LAST];
        for (uint32_t i = 0; i < p->item_count; i++)
            p->device[d].cost[i] = p->device[d].stage[i] = cases[row].card[d].slowness;
        for (uint32_t other = 0; other < p->device_count; other++)
            p->boundary[d][other] = cases[row].boundary;
    }
}

static void solves_small_problems(void **unused)
{
    static struct place_problem p;

    (void)unused;
    for (size_t row = 0; row < sizeof cases / sizeof cases[0]; row++) {
        const char *name = cases[row].name;
        struct place_answer answer = {0};
        bool found = true, fits = true;

        make_problem(&p, row);
        CHECK_ROW(place_solve(&p, &found, &answer, NULL) == DGO_OK, name);
        CHECK_ROW(place_fits(&p, &fits, NULL) == DGO_OK, name);
        CHECK_ROW_U64(found, cases[row].found, name);
        CHECK_ROW_U64(fits, cases[row].found, name);
        if (!found)
            continue;
        CHECK_ROW_U64(answer.cpu_items, cases[row].cpu_items, name);
        for (uint32_t s = 0; s < CARD_MAX; s++) {
            CHECK_ROW_U64(s<answer.segment_count, cases[row].want[s].count> 0, name);
            if (s == answer.segment_count)
                break;
            CHECK_ROW_U64(answer.segment[s].device, cases[row].want[s].device, name);
            CHECK_ROW_U64(answer.segment[s].count, cases[row].want[s].count, name);
        }
    }
}

/* Items of different sizes: the only cut that fits is found wherever it lies. */
static void finds_the_only_cut(void **unused)
{
    static struct place_problem p;

    (void)unused;
    for (uint32_t cut = 1; cut < 20; cut++) {
        struct place_answer answer;
        bool found = false;

        memset(&p, 0, sizeof p);
        p.item_count = 20;
        p.device_count = 2;
        for (uint32_t i = 0; i < 20; i++) {
            p.bytes[i] = 10 + i % 7;
            p.device[i < cut ? 0 : 1].room_bytes += p.bytes[i];
        }
        for (uint32_t role = 0; role < PLACE_ROLE_COUNT; role++)
            p.device[0].fixed_bytes[role] = role & PLACE_LAST ? 1 : 0;
        p.device[0].tail_fixed_bytes[0] = p.device[0].tail_fixed_bytes[1] = 1;
        assert_int_equal(place_solve(&p, &found, &answer, NULL), DGO_OK);
        assert_true(found);
        assert_int_equal(answer.segment[0].device, 0);
        assert_int_equal(answer.segment[0].count, cut);
        p.device[0].room_bytes -= 1;
        assert_int_equal(place_solve(&p, &found, &answer, NULL), DGO_OK);
        assert_false(found && answer.segment[0].device == 0 && answer.segment[0].count == cut);
    }
}

/* The output alone may need more than the output with a layer, and the first layer alone less than
 * a longer run: neither ends the search, and what begins on the CPU has no first layer. */
static void short_runs_have_rooms_of_their_own(void **unused)
{
    static struct place_problem p;
    struct place_answer answer;
    bool found = false, fits = false;

    (void)unused;
    memset(&p, 0, sizeof p);
    p.item_count = 3;
    p.device_count = 2;
    for (uint32_t i = 0; i < 3; i++)
        p.bytes[i] = 1;
    for (uint32_t d = 0; d < 2; d++) {
        p.device[d].room_bytes = d == 0 ? 1 : 4;
        for (uint32_t role = 0; role < PLACE_ROLE_COUNT; role++)
            p.device[d].fixed_bytes[role] = 10;
        p.device[d].head_fixed_bytes = d == 0 ? 0 : 10;
        p.device[d].tail_fixed_bytes[0] = 4; /* with one item 5 of 4 */
        p.device[d].tail_fixed_bytes[1] = 2; /* with two 4 of 4 */
    }
    assert_int_equal(place_solve(&p, &found, &answer, NULL), DGO_OK);
    assert_int_equal(place_fits(&p, &fits, NULL), DGO_OK);
    assert_true(found && fits);
    assert_int_equal(answer.segment[0].device, 0);
    assert_int_equal(answer.segment[0].count, 1);
    assert_int_equal(answer.segment[1].count, 2);
    p.cpu_items_min = p.cpu_items_max = 1;
    assert_int_equal(place_solve(&p, &found, &answer, NULL), DGO_OK);
    assert_int_equal(place_fits(&p, &fits, NULL), DGO_OK);
    assert_false(found || fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solves_small_problems),
        cmocka_unit_test(finds_the_only_cut),
        cmocka_unit_test(short_runs_have_rooms_of_their_own),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
