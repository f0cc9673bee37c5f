/* test_engine_end.c - why an engine ended: its log, else the driver, the kernel, its exit. */
#include "check.h"
#include "dgo_units.h"
#include "driver.h"
#include "engine_end.h"

#include <signal.h>

enum { PID = 4711 };

static struct dgo_sample look; /* 400 KiB */
static struct dgo_plan plan;

/* Planned: 6 GiB of each of two cards, 1 GiB kept as margin.  UINT64_MAX: not known. */
static const struct row {
    const char *name;
    struct dgo_exit exit;
    bool was_ready;
    uint64_t free_mib[2], held_mib;
    uint64_t age_s, xids, kernel_kills;
    enum dgo_trouble trouble;
    const char *trouble_device;
    bool simulated;
    const char *word; /* its last line */
    int32_t device;   /* that ran out; -1: none */
    const char *says;
} rows[] = {
    {"the log names the card",
     {.code = 1},
     .free_mib = {9000, 9000},
     .trouble = DGO_TROUBLE_OOM_WEIGHTS,
     .trouble_device = "CUDA1",
     .device = 1,
     .says = "CUDA1"},
    {"half of the margin is gone while it served",
     {.signalled = true, .signal = SIGABRT},
     .was_ready = true,
     .free_mib = {1024, 12},
     .device = 1,
     .says = "CUDA1 ran out of memory, as it seems: the driver saw 12.00 MiB free of the 1.00 GiB "
             "that are kept as margin; the engine was ended by signal 6"},
    {"the least of two that are short",
     {.code = 1},
     .was_ready = true,
     .free_mib = {3, 12},
     .device = 0,
     .says = "CUDA0"},
    {"a margin that is nearly whole explains nothing",
     {.code = 1},
     .was_ready = true,
     .free_mib = {900, 1000},
     .device = -1,
     .says = "the engine ended with status 1; it wrote"},
    {"less free than it had still to take",
     {.code = 1},
     .free_mib = {3000, 3000},
     .held_mib = 2048,
     .device = 0,
     .says = "had still to take 4.00 GiB"},
    {"enough free for what it had still to take",
     {.code = 1},
     .free_mib = {4200, 4200},
     .held_mib = 2048,
     .device = -1,
     .says = "before it was ready"},
    {"what it holds is not known: only the margin tells",
     {.code = 1},
     .free_mib = {3000, 3000},
     .held_mib = UINT64_MAX,
     .device = -1,
     .says = "before it was ready"},
    {"free memory is not known",
     {.code = 1},
     .free_mib = {UINT64_MAX, UINT64_MAX},
     .device = -1,
     .says = "status 1"},
    {"an old look",
     {.code = 1},
     .was_ready = true,
     .free_mib = {3, 3},
     .age_s = 6,
     .device = -1,
     .says = "status 1"},
    {"a described machine",
     {.code = 1},
     .was_ready = true,
     .free_mib = {3, 3},
     .simulated = true,
     .device = -1,
     .says = "status 1"},
    {"it ended by itself, without a failure",
     {.code = 0},
     .was_ready = true,
     .free_mib = {3, 3},
     .device = -1,
     .says = "status 0"},
    {"an Xid since the start",
     {.signalled = true, .signal = SIGSEGV},
     .was_ready = true,
     .free_mib = {2000, 2000},
     .xids = 2,
     .device = -1,
     .says = "; the driver reported Xid 31 of CUDA0 meanwhile; it wrote nothing"},
    {"the kernel killed for want of memory",
     {.signalled = true, .signal = SIGKILL},
     .was_ready = true,
     .free_mib = {2000, 2000},
     .kernel_kills = 1,
     .device = -1,
     .says = "most likely by the kernel, which killed 1 since it was started"},
    {"another signal is not the kernel's",
     {.signalled = true, .signal = SIGTERM},
     .was_ready = true,
     .free_mib = {2000, 2000},
     .kernel_kills = 1,
     .device = -1,
     .says = "(Terminated); it wrote nothing"},
    {"its last words, escaped",
     {.code = 3},
     .free_mib = {9000, 9000},
     .word = "fire \033[31m",
     .device = -1,
     .says = "status 3 before it was ready; its last words: fire \\x1b"},
};

static void set_up_row(const struct row *row)
{
    memset(&look, 0, sizeof look);
    memset(&plan, 0, sizeof plan);
    look.sequence = 1;
    look.age_ns = row->age_s * DGO_NS_PER_S;
    look.machine.origin.simulated = row->simulated;
    look.machine.gpu_count = plan.estimate.device_count = 2;
    for (uint32_t g = 0; g < 2; g++) {
        struct dgo_gpu *gpu = &look.machine.gpu[g];
        struct dgo_device_estimate *device = &plan.estimate.device[g];

        snprintf(device->name, sizeof device->name, "CUDA%u", (unsigned)g);
        device->gpu_index = g;
        device->weights_bytes = 5 * DGO_GIB;
        device->overhead_bytes = device->margin_bytes = DGO_GIB;
        if (row->free_mib[g] != UINT64_MAX)
            GPU_SET(gpu, FREE_BYTES, free_bytes, row->free_mib[g] * DGO_MIB);
        gpu->process_count = 1;
        gpu->process[0].pid = PID;
        gpu->process[0].used_known = row->held_mib != UINT64_MAX;
        gpu->process[0].used_bytes = (row->held_mib ? row->held_mib : 6 * 1024) * DGO_MIB;
    }
    GPU_SET(&look.machine.gpu[0], XID_COUNT, xid_count, row->xids);
    GPU_SET(&look.machine.gpu[0], XID_LAST, xid_last, 31);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        const uint64_t xid_before[DGO_GPU_MAX] = {row->xids ? 1 : 0};
        struct engine_words words = {.count = 0};
        struct dgo_report report = {.trouble = row->trouble};
        struct engine_end_verdict verdict;

        set_up_row(row);
        if (row->trouble_device)
            strcpy(report.trouble_device, row->trouble_device);
        if (row->word)
            engine_words_add(&words, row->word, strlen(row->word));
        engine_words_add(&words, "", 0);
        engine_end_judge(&(struct engine_end){.exit = &row->exit,
                                              .report = &report,
                                              .plan = &plan,
                                              .words = &words,
                                              .look = &look,
                                              .xid_before = xid_before,
                                              .kernel_kills = row->kernel_kills,
                                              .pid = PID,
                                              .was_ready = row->was_ready},
                         &verdict);
        CHECK_ROW_U64(verdict.device, row->device, row->name);
        CHECK_ROW(verdict.out_of_vram == (row->device >= 0), row->name);
        CHECK_ROW_U64(verdict.failure.status, DGO_ECHILD, row->name);
        if (!strstr(verdict.failure.text, row->says))
            print_error("# \"%s\"\n", verdict.failure.text);
        CHECK_ROW(strstr(verdict.failure.text, row->says) != NULL, row->name);
    }
}

static void test_nobody_looks(void **state)
{
    static struct engine_witness witness;
    struct engine_end end = {0};

    (void)state;
    engine_witness_start(&witness);
    engine_words_add(&witness.words, "a", 1);
    engine_witness_testify(&witness, &end);
    assert_null(end.look);
    assert_int_equal(end.words->count, 1);
    engine_witness_start(&witness);
    assert_int_equal(end.words->count, 0);
    engine_witness_done(&witness);
}

static void test_sentences_end(void **state)
{
    static const char *const sentences[][2] = {
        {"it wrote nothing", "it wrote nothing."}, {"as is.", "as is."}, {"", ""}, {"abc", "ab."}};

    (void)state;
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        char whole[64];
        struct dgo_text text = DGO_TEXT(whole);

        engine_end_add_sentence(&text, sentences[i][0], i == 3 ? 2 : 60);
        assert_string_equal(whole, sentences[i][1]);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_nobody_looks),
    cmocka_unit_test(test_sentences_end),
};

CHECK_MAIN(tests)
