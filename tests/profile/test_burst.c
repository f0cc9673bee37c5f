/* test_burst.c - bursts of requests told from pauses, lonely requests and restarts. */
#include "check.h"
#include "dgo_burst.h"
#include "dgo_units.h"

/* One answer a second: busy, waiting, requests ended, tokens generated. */
struct answer {
    uint32_t busy, waiting;
    uint64_t requests, generated;
};

enum { ANSWER_MAX = 24 };

static const struct {
    const char *name;
    uint32_t count;
    struct answer answer[ANSWER_MAX];
    const char *edges; /* of each answer: '.', 'B' began, 'E' ended */
    uint64_t requests, generated;
    uint32_t busy_most;
} rows[] = {
    {"a lonely request",
     8,
     {{0, 0, 0, 0},
      {1, 0, 0, 0},
      {0, 0, 1, 50},
      {0, 0, 1, 50},
      {0, 0, 1, 50},
      {0, 0, 1, 50},
      {0, 0, 1, 50},
      {0, 0, 1, 50}},
     "........",
     0,
     0,
     0},
    {"two at once",
     8,
     {{0, 0, 0, 0},
      {2, 0, 0, 0},
      {1, 0, 1, 50},
      {0, 0, 2, 90},
      {0, 0, 2, 90},
      {0, 0, 2, 90},
      {0, 0, 2, 90},
      {0, 0, 2, 90}},
     ".B....E.",
     2,
     90,
     2},
    {"three that come and go between the looks",
     7,
     {{0, 0, 7, 100},
      {0, 0, 10, 160},
      {0, 0, 10, 160},
      {0, 0, 10, 160},
      {0, 0, 10, 160},
      {0, 0, 10, 160},
      {0, 0, 10, 160}},
     ".B..E..",
     3,
     60,
     0},
    {"a short pause does not end it",
     12,
     {{0, 0, 0, 0},
      {1, 0, 0, 0},
      {0, 0, 1, 10},
      {0, 0, 1, 10},
      {1, 0, 1, 10},
      {1, 0, 2, 20},
      {0, 0, 3, 30},
      {0, 0, 3, 30},
      {0, 0, 3, 30},
      {0, 0, 3, 30},
      {0, 0, 3, 30},
      {0, 0, 3, 30}},
     ".....B...E..",
     3,
     30,
     1},
    {"one long request",
     18,
     {{0, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {1, 0, 0, 0},
      {0, 0, 1, 999},
      {0, 0, 1, 999},
      {0, 0, 1, 999},
      {0, 0, 1, 999},
      {0, 0, 1, 999}},
     "...........B....E.",
     1,
     999,
     1},
    {"found at work: what was before is not counted",
     6,
     {{2, 3, 40, 9000},
      {2, 0, 42, 9100},
      {0, 0, 44, 9200},
      {0, 0, 44, 9200},
      {0, 0, 44, 9200},
      {0, 0, 44, 9200}},
     "B....E",
     4,
     200,
     2},
    {"the engine was started anew",
     5,
     {{0, 0, 50, 500}, {2, 0, 50, 500}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}},
     ".BE..",
     2,
     0,
     2},
    {"idle all the time",
     4,
     {{0, 0, 5, 5}, {0, 0, 5, 5}, {0, 0, 5, 5}, {0, 0, 5, 5}},
     "....",
     0,
     0,
     0},
};

static struct dgo_engine_load load_of(const struct answer *answer)
{
    return (struct dgo_engine_load){
        .known = 1u << DGO_LOAD_BUSY | 1u << DGO_LOAD_WAITING | 1u << DGO_LOAD_REQUESTS |
                 1u << DGO_LOAD_GENERATED_TOKENS | 1u << DGO_LOAD_SLOTS,
        .busy = answer->busy,
        .waiting = answer->waiting,
        .requests = answer->requests,
        .generated_tokens = answer->generated,
        .slots = 4,
    };
}

static void test_rows(void **state)
{
    static const char marks[] = {
        [DGO_BURST_NONE] = '.', [DGO_BURST_BEGAN] = 'B', [DGO_BURST_ENDED] = 'E'};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_burst burst = {.seen = false};
        struct dgo_burst_report report = {.requests = 0};
        char edges[ANSWER_MAX + 1] = "";

        for (uint32_t a = 0; a < rows[i].count; a++) {
            const struct dgo_engine_load load = load_of(&rows[i].answer[a]);

            edges[a] = marks[dgo_burst_add(&burst, &load, (a + 1) * DGO_NS_PER_S, &report)];
        }
        if (strcmp(edges, rows[i].edges) != 0)
            print_error("# \"%s\", not as row %zu wants\n", edges, i);
        CHECK_ROW(strcmp(edges, rows[i].edges) == 0, rows[i].name);
        CHECK_ROW_U64(report.requests, rows[i].requests, rows[i].name);
        CHECK_ROW_U64(report.generated_tokens, rows[i].generated, rows[i].name);
        CHECK_ROW_U64(report.busy_most, rows[i].busy_most, rows[i].name);
    }
}

/* An engine that tells little is not said to have done nothing. */
static void test_unknown_is_not_zero(void **state)
{
    struct dgo_burst burst = {.seen = false};
    struct dgo_burst_report report;
    struct dgo_engine_load load = {.known = 1u << DGO_LOAD_BUSY};
    char line[128];
    struct dgo_text text = DGO_TEXT(line);

    (void)state;
    assert_int_equal(dgo_burst_add(&burst, &load, DGO_NS_PER_S, &report), DGO_BURST_NONE);
    load.busy = 3;
    assert_int_equal(dgo_burst_add(&burst, &load, 2 * DGO_NS_PER_S, &report), DGO_BURST_BEGAN);
    load.busy = 0;
    for (uint64_t s = 3; s < 5; s++)
        assert_int_equal(dgo_burst_add(&burst, &load, s * DGO_NS_PER_S, &report), DGO_BURST_NONE);
    assert_int_equal(dgo_burst_add(&burst, &load, 5 * DGO_NS_PER_S, &report), DGO_BURST_ENDED);
    dgo_burst_text(DGO_BURST_ENDED, &report, &text);
    assert_null(strstr(line, "token"));
    assert_non_null(strstr(line, "3 requests, up to 3 busy"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_unknown_is_not_zero),
};

CHECK_MAIN(tests)
