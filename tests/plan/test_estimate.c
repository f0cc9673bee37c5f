/* test_estimate.c - estimates as a whole: golden figures, rounding, build rules, fitting, and what
 * is refused. */
#include "check.h"
#include "fixtures.h"

#include "dgo_units.h"
#include "memory.h"

#include <math.h>

enum { ALL = 999 };

static void make_cards(uint32_t count, uint64_t gib, struct dgo_machine *machine)
{
    memset(machine, 0, sizeof *machine);
    machine->gpu_count = count;
    for (uint32_t g = 0; g < count; g++) {
        machine->gpu[g].vendor = DGO_VENDOR_NVIDIA;
        machine->gpu[g].free_bytes = gib * DGO_GIB;
        machine->gpu[g].known = UINT64_C(1) << DGO_GPU_FREE_BYTES;
    }
}

static struct dgo_settings make_settings(uint32_t device_count)
{
    struct dgo_settings settings = {.ctx_tokens = 8192,
                                    .slot_count = 1,
                                    .batch_tokens = 2048,
                                    .ubatch_tokens = 512,
                                    .op_offload = true,
                                    .gpu_layer_count = ALL,
                                    .device_count = device_count};

    for (uint32_t d = 0; d < device_count; d++)
        settings.device_gpu[d] = d;
    return settings;
}

static struct dgo_model *open_fixture(const char *name)
{
    struct dgo_error err = {0};
    struct dgo_model *model = fixture_open(name, &err);

    if (!model) {
        print_error("%s: %s\n", name, err.text);
        fail();
    }
    return model;
}

static struct dgo_estimate estimate_of(const struct dgo_machine *machine,
                                       const struct dgo_model *model,
                                       const struct dgo_settings *settings, uint32_t build)
{
    struct dgo_estimate estimate;
    struct dgo_error err = {0};

    if (dgo_estimate_make(machine, model, settings, &(struct dgo_engine_rules){build}, NULL,
                          &estimate, &err)) {
        print_error("%s\n", err.text);
        fail();
    }
    return estimate;
}

/* --- latent attention without flash attention ------------------------------------------------ */

/* Compute of the first and a middle device as llama-server 0.7.0 logs it, three cards. */
static const struct {
    uint32_t width, heads, used, inner;
    double first, middle;
} latent_shapes[] = {
    {7168, 64, 8, 2048, 1469.04, 1348.02},
    {5120, 64, 8, 2048, 1409.04, 1324.02},
    {5120, 128, 6, 1536, 2624.04, 2518.02},
    {2048, 16, 6, 1408, 423.04, 390.12},
};

static void test_latent_unfused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof latent_shapes / sizeof latent_shapes[0]; i++) {
        struct dgo_model *model = open_fixture("ds3");
        struct dgo_settings settings = make_settings(3);
        struct dgo_machine machine;

        make_cards(3, 600, &machine);
        settings.flash_attention = DGO_FA_OFF;
        model->embedding_length = latent_shapes[i].width;
        model->expert_used_count = latent_shapes[i].used;
        model->expert_feed_forward_length = latent_shapes[i].inner;
        for (uint32_t l = 0; l < model->layer_count; l++)
            model->layer[l].head_count = latent_shapes[i].heads;
        const struct dgo_estimate estimate = estimate_of(&machine, model, &settings, 11669);
        const double first = (double)estimate.device[0].compute_bytes / DGO_MIB;
        const double middle = (double)estimate.device[1].compute_bytes / DGO_MIB;

        if (first < latent_shapes[i].first - 0.2 || first > latent_shapes[i].first + 20 ||
            middle < latent_shapes[i].middle - 0.2 || middle > latent_shapes[i].middle + 7)
            fail_msg("width %u: first %.2f, engine %.2f; middle %.2f, engine %.2f",
                     latent_shapes[i].width, first, latent_shapes[i].first, middle,
                     latent_shapes[i].middle);
        dgo_model_close(model);
    }
}

/* --- golden figures: MiB as the engine logs them, build 10256 -------------------------------- */

static const struct {
    const char *model;
    uint32_t cards;
    uint64_t gib;
    double want[2][3]; /* weights, context, compute of each card */
    double host[2];    /* weights, compute */
} golden[] = {
    {"llama8b", 1, 24, {{4326.15, 1024.00, 116.01}}, {281.81, 24.01}},
    {"llama8b", 2, 24, {{2082.34, 544.00, 172.04}, {2243.80, 480.00, 204.04}}, {281.81, 48.05}},
    {"q3_32b", 1, 24, {{17433.65, 2048.00, 194.01}}, {417.30, 28.01}},
    {"q3_32b", 2, 24, {{8675.42, 1056.00, 258.04}, {8758.23, 992.00, 298.04}}, {417.30, 52.05}},
    {"q3_4bt", 1, 24, {{2181.67, 1152.00, 83.01}}, {208.65, 18.01}},
    {"q3_4bt", 2, 24, {{1041.31, 608.00, 127.04}, {1140.36, 544.00, 147.04}}, {208.65, 42.05}},
    {"q3moe", 1, 24, {{16342.62, 768.00, 92.01}}, {166.92, 16.01}},
    {"q3moe", 2, 24, {{8384.99, 400.00, 132.04}, {7957.63, 368.00, 148.04}}, {166.92, 40.05}},
    {"gemma3", 2, 24, {{7176.82, 644.00, 235.07}, {7830.79, 620.00, 277.07}}, {1102.50, 59.08}},
    {"gptoss", 2, 24, {{5613.05, 106.50, 144.32}, {5336.33, 103.50, 166.82}}, {586.82, 46.33}},
    {"ds3", 2, 300, {{174261.89, 279.00, 482.02}, {186395.84, 270.00, 522.02}}, {497.11, 60.03}},
    {"q35moe", 2, 24, {{9516.49, 113.50, 116.06}, {9006.41, 109.31, 132.06}}, {272.81, 40.07}},
};

static bool near(uint64_t bytes, double mib, double within)
{
    return fabs((double)bytes / (double)DGO_MIB - mib) <= within;
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        struct dgo_model *model = open_fixture(golden[i].model);
        struct dgo_machine machine;
        const struct dgo_settings settings = make_settings(golden[i].cards);
        struct dgo_estimate estimate;

        make_cards(golden[i].cards, golden[i].gib, &machine);
        estimate = estimate_of(&machine, model, &settings, 10256);
        CHECK_ROW(estimate.pipeline == (golden[i].cards > 1), golden[i].model);
        for (uint32_t d = 0; d < golden[i].cards; d++) {
            const struct dgo_device_estimate *device = &estimate.device[d];

            CHECK_ROW(near(device->weights_bytes, golden[i].want[d][0], 0.006), golden[i].model);
            CHECK_ROW(near(device->context_bytes, golden[i].want[d][1], 0.006), golden[i].model);
            CHECK_ROW(near(device->compute_bytes, golden[i].want[d][2], 0.1), golden[i].model);
            CHECK_ROW(device->compute_source == DGO_FIGURE_FORMULA, golden[i].model);
        }
        CHECK_ROW(near(estimate.host.weights_bytes, golden[i].host[0], 0.006), golden[i].model);
        CHECK_ROW(near(estimate.host.compute_bytes, golden[i].host[1], 0.1), golden[i].model);
        CHECK_ROW_U64(estimate.host.output_bytes, model->vocab_size * 4ull, golden[i].model);
        dgo_model_close(model);
    }
}

/* Compute buffers in MiB of Qwen3 4B (tied) on two cards, as llama-server 0.7.0 logs them. */
static const struct {
    const char *name;
    uint32_t ctx, slots, ubatch;
    bool unified, unfused;
    enum dgo_kv_type type;
    double want[2];
} replayed[] = {
    {"a micro-batch is as many tokens for each slot",
     8192,
     7,
     512,
     false,
     false,
     DGO_KV_F16,
     {146.76, 101.21}},
    {"in one pool, too", 8192, 3, 100, true, false, DGO_KV_F16, {34.28, 25.31}},
    {"an f32 cache is copied to f16", 65536, 1, 128, false, false, DGO_KV_F32, {342.76, 331.51}},
    {"scores of slots that are not fused", 8192, 5, 64, false, true, DGO_KV_F16, {29.59, 23.87}},
};

static void test_replayed(void **state)
{
    struct dgo_model *model = open_fixture("q3_4bt");
    struct dgo_machine machine;

    (void)state;
    make_cards(2, 48, &machine);
    for (size_t i = 0; i < sizeof replayed / sizeof replayed[0]; i++) {
        struct dgo_settings settings = make_settings(2);
        struct dgo_estimate estimate;

        settings.ctx_tokens = replayed[i].ctx;
        settings.slot_count = replayed[i].slots;
        settings.output_row_count = 0; /* a server's: one a slot */
        settings.ubatch_tokens = replayed[i].ubatch;
        settings.kv_unified = replayed[i].unified;
        settings.key_type = settings.value_type = replayed[i].type;
        settings.flash_attention = replayed[i].unfused ? DGO_FA_OFF : DGO_FA_ON;
        estimate = estimate_of(&machine, model, &settings, 11669);
        for (uint32_t d = 0; d < 2; d++) {
            CHECK_ROW(near(estimate.device[d].compute_bytes, replayed[i].want[d], 0.1),
                      replayed[i].name);
            CHECK_ROW(estimate.device[d].compute_source == DGO_FIGURE_FORMULA, replayed[i].name);
        }
    }
    dgo_model_close(model);
}

/* --- the context, rounded as the engine does ------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t ctx, slots;
    bool unified;
    uint32_t batch, ubatch;
    uint32_t want_ctx, want_slot, want_batch, want_ubatch;
} contexts[] = {
    {"a multiple of 256 stays", 8192, 1, false, 2048, 512, 8192, 8192, 2048, 512},
    {"rounded up", 5000, 1, false, 2048, 512, 5120, 5120, 2048, 512},
    {"none given: as trained", 0, 1, false, 2048, 512, 131072, 131072, 2048, 512},
    {"shared out over slots", 8192, 4, false, 2048, 512, 8192, 2048, 2048, 512},
    {"each slot rounded up", 1000, 3, false, 2048, 512, 1536, 512, 1000, 512},
    {"one pool for all slots", 8192, 4, true, 2048, 512, 8192, 8192, 2048, 512},
    {"a short context cuts the batch", 100, 1, false, 2048, 512, 256, 256, 100, 100},
    {"a small batch cuts the micro-batch", 8192, 1, false, 128, 512, 8192, 8192, 128, 128},
};

static void test_contexts(void **state)
{
    struct dgo_model *model = open_fixture("llama8b");
    struct dgo_machine machine;

    (void)state;
    make_cards(1, 80, &machine);
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
        struct dgo_settings settings = make_settings(1);
        struct dgo_estimate estimate;

        settings.ctx_tokens = contexts[i].ctx;
        settings.slot_count = contexts[i].slots;
        settings.kv_unified = contexts[i].unified;
        settings.batch_tokens = contexts[i].batch;
        settings.ubatch_tokens = contexts[i].ubatch;
        estimate = estimate_of(&machine, model, &settings, 0);
        CHECK_ROW_U64(estimate.ctx_tokens, contexts[i].want_ctx, contexts[i].name);
        CHECK_ROW_U64(estimate.ctx_tokens_per_slot, contexts[i].want_slot, contexts[i].name);
        CHECK_ROW_U64(estimate.batch_tokens, contexts[i].want_batch, contexts[i].name);
        CHECK_ROW_U64(estimate.ubatch_tokens, contexts[i].want_ubatch, contexts[i].name);
        /* 32 layers, keys and values, 1024 values of 2 bytes a token */
        CHECK_ROW_U64(estimate.device[0].context_bytes, contexts[i].want_ctx * 131072ull,
                      contexts[i].name);
    }
    dgo_model_close(model);
}

/* --- builds ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t build, rows, slots;
    uint32_t want_build;
    enum dgo_figure_source source;
    double last_mib; /* compute of the second card */
} builds[] = {
    {"old: rows of a whole micro-batch", 9000, 0, 1, 10256, DGO_FIGURE_FORMULA, 354.55},
    {"the last of them", 9429, 0, 1, 10256, DGO_FIGURE_FORMULA, 354.55},
    {"from here one row a slot", 9430, 0, 1, 10256, DGO_FIGURE_FORMULA, 204.04},
    {"measured", 10256, 0, 1, 10256, DGO_FIGURE_FORMULA, 204.04},
    {"rows given", 10256, 512, 1, 10256, DGO_FIGURE_FORMULA, 354.55},
    {"servers of 0.5.0 and before", 10257, 0, 1, 11146, DGO_FIGURE_FORMULA, 172.04},
    {"0.5.0, measured", 11146, 0, 1, 11146, DGO_FIGURE_FORMULA, 172.04},
    {"between: the greater, a bound", 11147, 0, 1, 11669, DGO_FIGURE_BOUND, 204.04},
    {"between, the last", 11668, 0, 1, 11669, DGO_FIGURE_BOUND, 204.04},
    {"measured, newest", 11669, 0, 1, 11669, DGO_FIGURE_FORMULA, 172.04},
    {"newer than any known", 99999, 0, 1, 11669, DGO_FIGURE_FORMULA, 172.04},
    {"unknown is the newest", 0, 0, 1, 11669, DGO_FIGURE_FORMULA, 172.04},
};

static void test_builds(void **state)
{
    struct dgo_model *model = open_fixture("llama8b");
    struct dgo_machine machine;

    (void)state;
    make_cards(2, 24, &machine);
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        struct dgo_settings settings = make_settings(2);
        struct dgo_estimate estimate;

        settings.slot_count = builds[i].slots;
        settings.output_row_count = builds[i].rows;
        estimate = estimate_of(&machine, model, &settings, builds[i].build);
        CHECK_ROW_U64(estimate.build, builds[i].want_build, builds[i].name);
        CHECK_ROW_U64(estimate.newer_build, builds[i].build > 11669 ? builds[i].build : 0,
                      builds[i].name);
        CHECK_ROW(estimate.device[1].compute_source == builds[i].source, builds[i].name);
        CHECK_ROW(near(estimate.device[1].compute_bytes, builds[i].last_mib, 0.5), builds[i].name);
    }
    dgo_model_close(model);
}

/* An output in host memory comes to the first card for many rows, whose logits are made there. */
static void test_visiting_output(void **state)
{
    enum { ROWS = 512 };
    struct dgo_model *model = open_fixture("llama8b");
    struct dgo_settings settings = make_settings(2);
    struct dgo_machine machine;
    struct dgo_estimate estimate;

    (void)state;
    make_cards(2, 24, &machine);
    settings.gpu_layer_count = 0;
    settings.output_row_count = ROWS;
    settings.remote = true; /* no whole graph for these: a bound */
    estimate = estimate_of(&machine, model, &settings, 0);
    assert_int_equal(estimate.device[0].compute_source, DGO_FIGURE_BOUND);
    assert_true(estimate.device[0].compute_bytes >=
                model->output_bytes + (uint64_t)model->vocab_size * ROWS * sizeof(float));
    dgo_model_close(model);
}

/* A bound between two builds is under neither. */
static void test_between_builds(void **state)
{
    (void)state;
    for (int m = 0; m < FIXTURE_COUNT; m++) {
        struct dgo_model *model = open_fixture(fixture_names[m]);
        struct dgo_machine machine;

        make_cards(3, 300, &machine);
        for (uint32_t variant = 0; variant < 8; variant++) {
            struct dgo_settings settings = make_settings(variant & 1 ? 1 : 3);
            struct dgo_estimate old, older, between, new;

            settings.key_type = settings.value_type = variant & 2 ? DGO_KV_Q8_0 : DGO_KV_F16;
            settings.ubatch_tokens = variant & 4 ? 2048 : 512;
            old = estimate_of(&machine, model, &settings, 10256);
            older = estimate_of(&machine, model, &settings, 11146);
            between = estimate_of(&machine, model, &settings, 11300);
            new = estimate_of(&machine, model, &settings, 11669);
            for (uint32_t d = 0; d < settings.device_count; d++) {
                CHECK_ROW(between.device[d].compute_bytes >= old.device[d].compute_bytes,
                          fixture_names[m]);
                CHECK_ROW(between.device[d].compute_bytes >= older.device[d].compute_bytes,
                          fixture_names[m]);
                CHECK_ROW(between.device[d].compute_bytes >= new.device[d].compute_bytes,
                          fixture_names[m]);
            }
        }
        dgo_model_close(model);
    }
}

/* --- pipeline parallelism -------------------------------------------------------------------- */

static void test_pipeline(void **state)
{
    static const struct {
        const char *name;
        uint32_t cards, gpu_layers, cpu_moe;
        bool none, kv_on_host, want;
    } rows[] = {
        {"two cards, all on them", 2, ALL, 0, false, false, true},
        {"just all", 2, 49, 0, false, false, true},
        {"one card", 1, ALL, 0, false, false, false},
        {"one layer on the CPU", 2, 48, 0, false, false, false},
        {"split mode none", 2, ALL, 0, true, false, false},
        {"cache on the host", 2, ALL, 0, false, true, false},
        {"experts on the host", 2, ALL, 1, false, false, false},
    };
    struct dgo_model *model = open_fixture("q3moe");
    struct dgo_machine machine;

    (void)state;
    make_cards(2, 24, &machine);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_settings settings = make_settings(rows[i].cards);
        struct dgo_estimate estimate;

        settings.gpu_layer_count = rows[i].gpu_layers;
        settings.cpu_moe_layer_count = rows[i].cpu_moe;
        settings.split_mode = rows[i].none ? DGO_SPLIT_NONE : DGO_SPLIT_LAYER;
        settings.kv_on_host = rows[i].kv_on_host;
        estimate = estimate_of(&machine, model, &settings, 0);
        CHECK_ROW(estimate.pipeline == rows[i].want, rows[i].name);
    }
    dgo_model_close(model);
}

/* --- few rows ----------------------------------------------------------------------------------
 */

/* Weights of host memory visit a device for 32 rows or more (GGML_OP_OFFLOAD_MIN_BATCH): with fewer
 * the host computes its layers, as without op-offload. */
static void test_few_rows(void **state)
{
    static const char *const names[] = {"llama8b", "q3moe", "gemma3", "ds3", "q35moe"};
    struct dgo_machine machine;

    (void)state;
    make_cards(2, 600, &machine);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct dgo_model *model = open_fixture(names[i]);
        struct dgo_settings settings = make_settings(2);
        uint64_t visiting, staying;

        settings.gpu_layer_count = 4;
        settings.ubatch_tokens = DGO_OFFLOAD_ROWS_MIN - 1;
        visiting = estimate_of(&machine, model, &settings, 0).host.compute_bytes;
        settings.op_offload = false;
        staying = estimate_of(&machine, model, &settings, 0).host.compute_bytes;
        CHECK_ROW_U64(visiting, staying, names[i]);
        dgo_model_close(model);
    }
}

/* --- does it fit ----------------------------------------------------------------------------- */

static uint64_t need_of(const struct dgo_device_estimate *device)
{
    return device->weights_bytes + device->context_bytes + device->compute_bytes +
           device->overhead_bytes + device->margin_bytes;
}

static void test_fit_to_the_byte(void **state)
{
    struct dgo_model *model = open_fixture("llama8b");
    const struct dgo_settings settings = make_settings(2);
    const uint64_t margins[DGO_GPU_MAX] = {DGO_GIB, 5 * DGO_MIB};
    struct dgo_machine machine;
    struct dgo_estimate estimate;

    (void)state;
    make_cards(2, 24, &machine);
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, margins, &estimate, NULL),
                     DGO_OK);
    assert_true(estimate.fits);
    assert_int_equal(estimate.limiting_device, -2);
    assert_true(estimate.device[0].margin_bytes == DGO_GIB);

    /* -ts keeps the split while the free memory shrinks to exactly what is needed. */
    struct dgo_settings fixed = settings;

    fixed.tensor_split_given = true;
    fixed.tensor_split[0] = fixed.tensor_split[1] = 1;
    machine.gpu[0].free_bytes = need_of(&estimate.device[0]);
    machine.gpu[1].free_bytes = need_of(&estimate.device[1]);
    assert_int_equal(dgo_estimate_make(&machine, model, &fixed, NULL, margins, &estimate, NULL),
                     DGO_OK);
    assert_true(estimate.fits);
    machine.gpu[1].free_bytes -= 7;
    assert_int_equal(dgo_estimate_make(&machine, model, &fixed, NULL, margins, &estimate, NULL),
                     DGO_OK);
    assert_false(estimate.fits);
    assert_int_equal(estimate.limiting_device, 1);
    assert_true(estimate.missing_bytes == 7);
    machine.gpu[0].free_bytes -= 8;
    assert_int_equal(dgo_estimate_make(&machine, model, &fixed, NULL, margins, &estimate, NULL),
                     DGO_OK);
    assert_int_equal(estimate.limiting_device, 0);
    assert_true(estimate.missing_bytes == 8);
    dgo_model_close(model);
}

static void test_host_limits(void **state)
{
    struct dgo_model *model = open_fixture("q3_32b");
    struct dgo_settings settings = make_settings(1);
    struct dgo_machine machine;
    struct dgo_estimate estimate;

    (void)state;
    make_cards(1, 24, &machine);
    machine.host.memory_known = true;
    machine.host.free_bytes = 64 * DGO_GIB;
    settings.gpu_layer_count = 10;
    estimate = estimate_of(&machine, model, &settings, 0);
    assert_true(estimate.fits);
    assert_int_equal(estimate.host.layer_count, 55);
    machine.host.free_bytes = 8 * DGO_GIB;
    estimate = estimate_of(&machine, model, &settings, 0);
    assert_false(estimate.fits);
    assert_int_equal(estimate.limiting_device, -1);
    assert_true(estimate.missing_bytes > DGO_GIB);
    machine.host.memory_known = false;
    estimate = estimate_of(&machine, model, &settings, 0);
    assert_true(estimate.fits);
    assert_false(estimate.host.free_known);
    dgo_model_close(model);
}

/* A card without layers costs nothing and limits nothing, however full it is. */
static void test_idle_card(void **state)
{
    struct dgo_model *model = open_fixture("llama8b");
    struct dgo_settings settings = make_settings(2);
    struct dgo_machine machine;
    struct dgo_estimate estimate;

    (void)state;
    make_cards(2, 24, &machine);
    machine.gpu[1].free_bytes = 0;
    settings.tensor_split_given = true;
    settings.tensor_split[0] = 1;
    estimate = estimate_of(&machine, model, &settings, 0);
    assert_true(estimate.fits);
    assert_int_equal(estimate.device[1].layer_count, 0);
    assert_true(estimate.device[1].compute_bytes == 0);
    /* The first device that works is the first, whatever its number: it has the wider inputs. */
    settings.tensor_split[0] = 0;
    settings.tensor_split[1] = 1;
    estimate = estimate_of(&machine, model, &settings, 0);
    assert_true(near(estimate.device[1].compute_bytes, 244.06, 0.1));
    dgo_model_close(model);
}

static void test_overhead(void **state)
{
    static const struct {
        const char *name;
        uint32_t cores, major, minor;
        uint64_t want_mib; /* 96 + 2.5 for each multiprocessor */
    } rows[] = {
        {"unknown: as 84 multiprocessors", 0, 0, 0, 306},
        {"RTX 3090: 82", 10496, 8, 6, 301},
        {"RTX 4060 Ti: 34", 4352, 8, 9, 181},
        {"A100: 108 of 64 cores", 6912, 8, 0, 366},
        {"T4: 40 of 64 cores", 2560, 7, 5, 196},
        {"P40: 30 of 128 cores", 3840, 6, 1, 171},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_gpu gpu = {.core_count = rows[i].cores,
                              .compute_major = rows[i].major,
                              .compute_minor = rows[i].minor};

        if (rows[i].cores)
            gpu.known = UINT64_C(1) << DGO_GPU_CORE_COUNT | UINT64_C(1) << DGO_GPU_COMPUTE_MAJOR |
                        UINT64_C(1) << DGO_GPU_COMPUTE_MINOR;
        CHECK_ROW_U64(memory_overhead_bytes(&gpu), rows[i].want_mib * DGO_MIB, rows[i].name);
    }
}

static void test_overhead_sources(void **state)
{
    static const struct {
        const char *name;
        bool known;
        uint32_t launches, mib; /* 0 launches: calibrated */
        enum dgo_overhead_source source;
        uint64_t want_mib;
    } rows[] = {
        {"nobody measured", false, 0, 0, DGO_OVERHEAD_ASSUMED, 306},
        {"calibrated", true, 0, 120, DGO_OVERHEAD_CALIBRATED, 120},
        {"one launch took less: no reason to plan with less", true, 1, 120, DGO_OVERHEAD_ASSUMED,
         306},
        {"one launch took more", true, 1, 500, DGO_OVERHEAD_ASSUMED, 500},
        {"two", true, 2, 120, DGO_OVERHEAD_ASSUMED, 306},
        {"three", true, 3, 120, DGO_OVERHEAD_LEARNT, 120},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_gpu gpu = {.engine_overhead_bytes = rows[i].mib * DGO_MIB,
                              .engine_overhead_launches = rows[i].launches};

        if (rows[i].known)
            gpu.known |= UINT64_C(1) << DGO_GPU_ENGINE_OVERHEAD_BYTES;
        if (rows[i].launches)
            gpu.known |= UINT64_C(1) << DGO_GPU_ENGINE_OVERHEAD_LAUNCHES;
        CHECK_ROW_U64(memory_overhead_bytes(&gpu), rows[i].want_mib * DGO_MIB, rows[i].name);
        CHECK_ROW(dgo_overhead_source(&gpu) == rows[i].source, rows[i].name);
    }
}

/* --- what the engine would refuse ------------------------------------------------------------ */

static void no_slots(struct dgo_settings *s)
{
    s->slot_count = 0;
}
static void many_slots(struct dgo_settings *s)
{
    s->slot_count = 257;
}
static void no_batch(struct dgo_settings *s)
{
    s->ubatch_tokens = 0;
}
static void wild_batch(struct dgo_settings *s)
{
    s->ctx_tokens = 1 << 20; /* no batch is larger */
    s->batch_tokens = s->ubatch_tokens = UINT32_MAX;
}
static void wild_ctx(struct dgo_settings *s)
{
    s->ctx_tokens = UINT32_MAX;
}
static void many_devices(struct dgo_settings *s)
{
    s->device_count = DGO_GPU_MAX + 1;
}
static void no_such_gpu(struct dgo_settings *s)
{
    s->device_gpu[1] = 7;
}
static void twice(struct dgo_settings *s)
{
    s->device_gpu[1] = 0;
}
static void negative_share(struct dgo_settings *s)
{
    s->tensor_split_given = true;
    s->tensor_split[1] = -1;
}
static void share_not_a_number(struct dgo_settings *s)
{
    s->tensor_split_given = true;
    s->tensor_split[0] = NAN;
}
static void packed_values_unfused(struct dgo_settings *s)
{
    s->flash_attention = DGO_FA_OFF;
    s->value_type = DGO_KV_Q8_0;
}
static void wild_type(struct dgo_settings *s)
{
    s->key_type = (enum dgo_kv_type)77;
}

static const struct {
    const char *name;
    void (*spoil)(struct dgo_settings *settings);
    const char *sentence; /* a part of it */
} refused[] = {
    {"no slots", no_slots, "0 slots (-np)"},
    {"too many slots", many_slots, "257 slots (-np), the engine takes 1 to 256"},
    {"no batch", no_batch, "at least one token"},
    {"a batch out of range", wild_batch, "1048576 tokens (-ub)"},
    {"a context out of range", wild_ctx, "4294967295 tokens (-c)"},
    {"too many devices", many_devices, "17 devices"},
    {"no such GPU", no_such_gpu, "device 7: the machine has 2 GPUs"},
    {"one GPU twice", twice, "GPU 0 is named twice"},
    {"a negative share", negative_share, "tensor split of device 1"},
    {"a share that is no number", share_not_a_number, "tensor split of device 0"},
    {"packed values without flash attention", packed_values_unfused, "needs flash attention"},
    {"a type that does not exist", wild_type, "unknown cache type"},
};

static void test_refused(void **state)
{
    struct dgo_model *model = open_fixture("llama8b");
    struct dgo_machine machine;

    (void)state;
    make_cards(2, 24, &machine);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct dgo_settings settings = make_settings(2);
        struct dgo_estimate estimate, untouched;
        struct dgo_error err = {0};

        memset(&estimate, 0x5a, sizeof estimate);
        memcpy(&untouched, &estimate, sizeof estimate);
        refused[i].spoil(&settings);
        CHECK_ROW(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, &err) ==
                      DGO_EINVAL,
                  refused[i].name);
        CHECK_ROW(strstr(err.text, refused[i].sentence), refused[i].name);
        CHECK_ROW(memcmp(&estimate, &untouched, sizeof estimate) == 0, refused[i].name);
    }
    dgo_model_close(model);
}

static void test_refused_latent_types(void **state)
{
    struct dgo_model *model = open_fixture("ds3");
    struct dgo_settings settings = make_settings(2);
    struct dgo_machine machine;
    struct dgo_estimate estimate;
    struct dgo_error err = {0};

    (void)state;
    make_cards(2, 300, &machine);
    settings.key_type = DGO_KV_Q8_0;
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, &err),
                     DGO_EINVAL);
    assert_non_null(strstr(err.text, "same type"));
    dgo_model_close(model);
}

static void test_no_language_model(void **state)
{
    struct dgo_model *model = calloc(1, sizeof *model);
    struct dgo_settings settings = make_settings(1);
    struct dgo_machine machine;
    struct dgo_estimate estimate;
    struct dgo_error err = {0};

    (void)state;
    assert_non_null(model);
    strcpy(model->architecture, "clip");
    make_cards(1, 24, &machine);
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, &err),
                     DGO_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "clip"));
    free(model);
}

/* A damaged file must not make sums wrap around to something that fits. */
static void test_impossible_shape(void **state)
{
    struct dgo_model *model = open_fixture("llama8b");
    struct dgo_settings settings = make_settings(1);
    const struct dgo_layer sound = model->layer[5];
    struct dgo_machine machine;
    struct dgo_estimate estimate;
    struct dgo_error err = {0};

    (void)state;
    make_cards(1, 24, &machine);
    for (int i = 0; i < 4; i++) {
        struct dgo_layer *layer = &model->layer[5];

        *layer = sound;
        if (i == 0)
            layer->head_count_kv = UINT32_MAX;
        else if (i == 1)
            layer->key_length = 1U << 31;
        else if (i == 2)
            layer->feed_forward_length = UINT32_MAX;
        else
            layer->head_count_kv = layer->value_length = 4096;
        assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, &err),
                         DGO_EUNSUPPORTED);
    }
    dgo_model_close(model);
}

/* A state whose size the keys do not tell is refused, not taken for nothing. */
static void test_unknown_state(void **state)
{
    struct dgo_model *model = open_fixture("llama8b");
    struct dgo_settings settings = make_settings(1);
    struct dgo_machine machine;
    struct dgo_estimate estimate;
    struct dgo_error err = {0};

    (void)state;
    make_cards(1, 24, &machine);
    model->layer[3].recurrent = true;
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, &err),
                     DGO_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "recurrent state"));
    dgo_model_close(model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_golden),
    cmocka_unit_test(test_latent_unfused),
    cmocka_unit_test(test_few_rows),
    cmocka_unit_test(test_replayed),
    cmocka_unit_test(test_contexts),
    cmocka_unit_test(test_builds),
    cmocka_unit_test(test_visiting_output),
    cmocka_unit_test(test_between_builds),
    cmocka_unit_test(test_pipeline),
    cmocka_unit_test(test_fit_to_the_byte),
    cmocka_unit_test(test_host_limits),
    cmocka_unit_test(test_idle_card),
    cmocka_unit_test(test_overhead),
    cmocka_unit_test(test_overhead_sources),
    cmocka_unit_test(test_refused),
    cmocka_unit_test(test_refused_latent_types),
    cmocka_unit_test(test_no_language_model),
    cmocka_unit_test(test_impossible_shape),
    cmocka_unit_test(test_unknown_state),
};
CHECK_MAIN(tests)
