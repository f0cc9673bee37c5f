/* test_overhead.c - what a launch took outside the engine's books, others' memory told apart; what
 * several teach, with one that is far off. */
#include "check.h"
#include "dgo_overhead.h"
#include "dgo_units.h"

enum { ENGINE = 4242, BROWSER = 77, STRANGER = 78, HIDDEN = -1, GONE = -2 };

/* MiB; a process that is not there is GONE, one whose figure is hidden HIDDEN. */
struct card {
    int free_mib;
    int engine_mib, browser_mib, stranger_mib;
};

static const struct {
    const char *name;
    struct card before, after;
    uint32_t books_mib;
    bool nobody_before, nobody_lists; /* the driver lists no processes at all */
    enum dgo_status status;
    uint64_t want_mib;
    enum dgo_overhead_way way;
    const char *says;
} launches[] = {
    {"alone on the card",
     {20000, GONE, GONE, GONE},
     {15700, 4300, GONE, GONE},
     4000,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"the driver keeps 18 MiB for it",
     {20000, GONE, 100, GONE},
     {15682, 4300, 100, GONE},
     4000,
     .want_mib = 318,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"a browser grew meanwhile",
     {20000, GONE, 100, GONE},
     {14800, 4300, 1000, GONE},
     4000,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"a browser gave back meanwhile",
     {20000, GONE, 1000, GONE},
     {16600, 4300, 100, GONE},
     4000,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"a process appeared and one ended",
     {20000, GONE, 500, GONE},
     {14200, 4300, GONE, 2000},
     4000,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"memory went that no process owns up to",
     {20000, GONE, 100, GONE},
     {14700, 4300, 100, GONE},
     4000,
     .status = DGO_EINVAL,
     .says = "somebody else's memory changed"},
    {"nobody looked before",
     {0, GONE, GONE, GONE},
     {15700, 4300, GONE, GONE},
     4000,
     .nobody_before = true,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"a neighbour hides its figure and stays",
     {20000, GONE, HIDDEN, GONE},
     {15700, 4300, HIDDEN, GONE},
     4000,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"one that hides its figure came: the engine's own is enough",
     {20000, GONE, GONE, GONE},
     {12000, 4300, GONE, HIDDEN},
     4000,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_PROCESS},
    {"the engine hides its own, nobody came",
     {20000, GONE, GONE, GONE},
     {15700, HIDDEN, GONE, GONE},
     4000,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_CARD},
    {"the engine hides its own, and somebody came",
     {20000, GONE, GONE, GONE},
     {12000, HIDDEN, GONE, HIDDEN},
     4000,
     .status = DGO_ENOTFOUND,
     .says = "came or went"},
    {"no processes are listed",
     {20000, GONE, GONE, GONE},
     {15700, GONE, GONE, GONE},
     4000,
     .nobody_lists = true,
     .want_mib = 300,
     .way = DGO_OVERHEAD_BY_CARD},
    {"no processes are listed, and nobody looked before",
     {0, GONE, GONE, GONE},
     {15700, GONE, GONE, GONE},
     4000,
     .nobody_lists = true,
     .nobody_before = true,
     .status = DGO_ENOTFOUND,
     .says = "nobody looked"},
    {"less than the books say",
     {20000, GONE, GONE, GONE},
     {16500, 3500, GONE, GONE},
     4000,
     .status = DGO_EINVAL,
     .says = "no overhead"},
    {"under another pid, as in a container",
     {20000, GONE, GONE, GONE},
     {15700, GONE, GONE, 4300},
     4000,
     .status = DGO_EINVAL,
     .says = "no overhead"},
    {"too much for an overhead",
     {20000, GONE, GONE, GONE},
     {10000, 10000, GONE, GONE},
     4000,
     .status = DGO_EINVAL,
     .says = "no overhead"},
    {"exactly the books",
     {20000, GONE, GONE, GONE},
     {16000, 4000, GONE, GONE},
     4000,
     .want_mib = 0,
     .way = DGO_OVERHEAD_BY_PROCESS},
};

static void add_process(struct dgo_gpu *gpu, uint32_t pid, int mib)
{
    struct dgo_gpu_process *process = &gpu->process[gpu->process_count];

    if (mib == GONE)
        return;
    gpu->process_count++;
    *process = (struct dgo_gpu_process){.pid = pid, .used_known = mib != HIDDEN};
    if (mib == HIDDEN)
        gpu->process_sum_known = false;
    else
        gpu->process_sum_bytes += process->used_bytes = (uint64_t)mib * DGO_MIB;
}

static void make(struct dgo_machine *machine, const struct card *card, bool lists)
{
    struct dgo_gpu *gpu = &machine->gpu[1];

    memset(machine, 0, sizeof *machine);
    machine->gpu_count = 2;
    strcpy(gpu->uuid, "GPU-1");
    gpu->known = UINT64_C(1) << DGO_GPU_FREE_BYTES;
    gpu->free_bytes = (uint64_t)card->free_mib * DGO_MIB;
    gpu->processes_known = gpu->process_sum_known = lists;
    add_process(gpu, ENGINE, card->engine_mib);
    add_process(gpu, BROWSER, card->browser_mib);
    add_process(gpu, STRANGER, card->stranger_mib);
}

static void test_one_launch(void **state)
{
    static struct dgo_machine before, after;

    (void)state;
    for (size_t i = 0; i < sizeof launches / sizeof launches[0]; i++) {
        const char *name = launches[i].name;
        const struct dgo_overhead_question question = {
            .before = launches[i].nobody_before ? NULL : &before,
            .after = &after,
            .gpu_index = 1,
            .pid = ENGINE,
            .books_bytes = launches[i].books_mib * DGO_MIB,
        };
        struct dgo_overhead found = {.bytes = 1};
        struct dgo_error err = {0};

        make(&before, &launches[i].before, !launches[i].nobody_lists);
        make(&after, &launches[i].after, !launches[i].nobody_lists);
        CHECK_ROW_U64(dgo_overhead_measure(&question, &found, &err), launches[i].status, name);
        if (launches[i].status != DGO_OK) {
            CHECK_ROW_U64(found.bytes, 1, name); /* left alone */
            CHECK_ROW(strstr(err.text, launches[i].says) != NULL, name);
            continue;
        }
        CHECK_ROW_U64(found.bytes, launches[i].want_mib * DGO_MIB, name);
        CHECK_ROW(found.way == launches[i].way, name);
    }
}

/* Another card in the place of the one before: nothing can be said of it. */
static void test_another_card(void **state)
{
    static struct dgo_machine before, after;
    const struct card empty = {20000, GONE, GONE, GONE}, full = {15700, HIDDEN, GONE, GONE};
    struct dgo_overhead found;
    struct dgo_error err = {0};

    (void)state;
    make(&before, &empty, true);
    make(&after, &full, true);
    strcpy(after.gpu[1].uuid, "GPU-2");
    assert_int_equal(dgo_overhead_measure(
                         &(struct dgo_overhead_question){
                             .before = &before, .after = &after, .gpu_index = 1, .pid = ENGINE},
                         &found, &err),
                     DGO_ENOTFOUND);
}

/* ---- while it runs ---- */

static const struct {
    const char *name;
    uint32_t mib[16]; /* held, a look every 10 s, 0: the end; 300 as it became ready */
    const char *told; /* after each look: '1' it has become that */
    uint64_t want_mib;
} drifts[] = {
    {"steady", {300, 301, 299, 300, 300}, "00000", 300},
    {"a little more is none", {331, 331, 331, 331, 331, 331}, "000000", 300},
    {"more, and it stays", {400, 401, 399, 400, 400}, "00010", 400},
    {"less, and it stays", {200, 200, 200, 200}, "0001", 200},
    {"a moment of a request", {300, 900, 300, 900, 300, 300}, "000000", 300},
    {"back before its time", {400, 400, 400, 300, 400, 400}, "000000", 300},
    {"it goes on growing", {400, 420, 440, 460, 480, 500, 520, 540}, "00000000", 300},
    {"grown, then steady", {400, 450, 500, 500, 500, 500}, "000001", 500},
    {"and back again", {400, 400, 400, 400, 300, 300, 300, 300}, "00010001", 300},
    {"a step after it was told is measured from there",
     {400, 400, 400, 400, 430, 430, 430, 430},
     "00010000",
     400},
};

static void test_drift(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof drifts / sizeof drifts[0]; i++) {
        struct dgo_overhead_drift drift = {.bytes = 300 * DGO_MIB};

        for (uint32_t at = 0; at < 16 && drifts[i].mib[at]; at++)
            CHECK_ROW_U64(dgo_overhead_follow(&drift, drifts[i].mib[at] * DGO_MIB,
                                              (at + 1) * 10 * DGO_NS_PER_S),
                          drifts[i].told[at] == '1', drifts[i].name);
        CHECK_ROW_U64(drift.bytes, drifts[i].want_mib * DGO_MIB, drifts[i].name);
    }
}

/* ---- several ---- */

#define SAME  true, false /* the same card; it did not drift */
#define OTHER false, false

static const struct {
    const char *name;
    uint32_t count;
    struct dgo_overhead_sample sample[16]; /* MiB; newest first */
    uint32_t launches;
    uint64_t want_mib, spread_mib;
} lessons[] = {
    {"none", 0, {{0}}, 0, 0, 0},
    {"one", 1, {{9, SAME, 300}}, 1, 300, 0},
    {"two: the greater", 2, {{9, SAME, 300}, {8, SAME, 340}}, 2, 340, 0},
    {"three alike", 3, {{9, SAME, 300}, {8, SAME, 300}, {7, SAME, 300}}, 3, 300, 0},
    {"one poisoned",
     4,
     {{9, SAME, 300}, {8, SAME, 3000}, {7, SAME, 302}, {6, SAME, 300}},
     4,
     302 + 3 * 2,
     3 * 2},
    {"they spread", 3, {{9, SAME, 290}, {8, SAME, 300}, {7, SAME, 310}}, 3, 330, 30},
    {"two cards of one launch are one launch", 2, {{9, SAME, 300}, {9, OTHER, 310}}, 1, 310, 0},
    {"the card itself before its namesake",
     6,
     {{9, SAME, 300},
      {9, OTHER, 500},
      {8, SAME, 300},
      {8, OTHER, 500},
      {7, SAME, 300},
      {7, OTHER, 500}},
     3,
     300,
     0},
    {"a namesake stands in",
     4,
     {{9, OTHER, 300}, {8, OTHER, 300}, {7, OTHER, 300}, {6, SAME, 310}},
     4,
     300,
     0},
    {"the newest nine count",
     12,
     {{12, SAME, 400},
      {11, SAME, 400},
      {10, SAME, 400},
      {9, SAME, 400},
      {8, SAME, 400},
      {7, SAME, 100},
      {6, SAME, 100},
      {5, SAME, 100},
      {4, SAME, 100},
      {3, SAME, 100},
      {2, SAME, 100},
      {1, SAME, 100}},
     9,
     400,
     0},
};

static void test_several(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lessons / sizeof lessons[0]; i++) {
        struct dgo_overhead_sample sample[16];
        struct dgo_overhead_lesson lesson = {0};

        memcpy(sample, lessons[i].sample, sizeof sample);
        for (size_t s = 0; s < 16; s++)
            sample[s].bytes *= DGO_MIB;
        CHECK_ROW(dgo_overhead_learn(sample, lessons[i].count, &lesson) == (lessons[i].count > 0),
                  lessons[i].name);
        CHECK_ROW_U64(lesson.launch_count, lessons[i].launches, lessons[i].name);
        CHECK_ROW_U64(lesson.bytes, lessons[i].want_mib * DGO_MIB, lessons[i].name);
        CHECK_ROW_U64(lesson.spread_bytes, lessons[i].spread_mib * DGO_MIB, lessons[i].name);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_one_launch),
    cmocka_unit_test(test_another_card),
    cmocka_unit_test(test_drift),
    cmocka_unit_test(test_several),
};

CHECK_MAIN(tests)
