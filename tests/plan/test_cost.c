/* test_cost.c - the speed model: what is read, what is assumed, and a bound that never lies. */
#include "check.h"

#include "cost.h"
#include "makers.h"

#include <math.h>
#include <stdbool.h>

#define NEAR(got, want) (fabs((got) - (want)) <= 1e-6 * fabs(want))

static struct plan_memory memory;
static struct cost_model cost;
static struct dgo_machine machine;

static struct dgo_settings settings_of(const struct dgo_model *model, uint32_t ctx)
{
    return (struct dgo_settings){.ctx_tokens = ctx,
                                 .slot_count = 1,
                                 .batch_tokens = 2048,
                                 .ubatch_tokens = 512,
                                 .op_offload = true,
                                 .gpu_layer_count = model->layer_count + 1,
                                 .device_count = 1};
}

static void fill(const struct make_card *cards, uint32_t count, const struct dgo_model *model,
                 const struct dgo_settings *settings)
{
    make_machine(&machine, cards, count);
    assert_int_equal(memory_make(model, settings, NULL, &memory, NULL), DGO_OK);
    cost_make(&machine, &memory, &(struct cost_request){.slot_count = settings->slot_count}, &cost);
}

/* Weights once, the cache at half of its context, at the card's share of its bandwidth. */
static void reads_weights_and_half_the_cache(void **unused)
{
    struct dgo_model *model = make_model(&make_8b);
    const struct dgo_settings settings = settings_of(model, 8192);

    (void)unused;
    fill(&make_3090, 1, model, &settings);
    const double bytes =
        (double)model->layer[0].weights_bytes + 2.0 * 8 * 256 * 8192 / 2; /* f16, 8 heads */

    assert_true(NEAR(cost.read_bytes[0], bytes));
    assert_true(NEAR(cost_decode_s(&cost, 0, 0), bytes / (0.75 * 936e9) + COST_LAYER_LAUNCH));
    assert_true(NEAR(cost.read_bytes[model->layer_count], (double)model->output_bytes));
    make_model_done(model);
}

static double fetch_s(const struct dgo_gpu *gpu, const struct dgo_model *model, uint32_t mask)
{
    struct dgo_settings settings = settings_of(model, 8192);

    settings.cpu_moe_layer_count = model->layer_count;
    make_machine(&machine, (const struct make_card[]){make_3090, make_3090}, 2);
    for (uint32_t g = 0; g < 2; g++) {
        machine.gpu[g].pcie_gen = gpu[g].pcie_gen;
        machine.gpu[g].pcie_width = gpu[g].pcie_width;
        machine.gpu[g].known |= UINT64_C(1) << DGO_GPU_PCIE_GEN | UINT64_C(1) << DGO_GPU_PCIE_WIDTH;
    }
    assert_int_equal(memory_make(model, &settings, NULL, &memory, NULL), DGO_OK);
    cost_make(&machine, &memory, &(struct cost_request){.slot_count = 1, .gpu_mask = mask}, &cost);
    return cost.fetched_bytes[0] / cost.rates.upload_rate[1];
}

/* Experts in host memory come over the link of the card that computes with them, not over the best
 * one of the machine; layers on the CPU over the best of those that may be used. */
static void fetches_over_its_own_link(void **unused)
{
    static const struct dgo_gpu links[] = {{.pcie_gen = 4, .pcie_width = 16},
                                           {.pcie_gen = 4, .pcie_width = 4}};
    struct dgo_model *model = make_model(&make_moe30b);
    const double wide = fetch_s((const struct dgo_gpu[]){links[0], links[0]}, model, 0);
    const double narrow = fetch_s(links, model, 0);

    (void)unused;
    assert_true(NEAR(narrow, 4 * wide));
    assert_true(cost_prefill_s(&cost, 1, 0) - cost_prefill_s(&cost, 0, 0) > 2.9 * wide);
    assert_true(NEAR(cost.rates.best_upload_rate, cost.rates.upload_rate[0]));
    fetch_s(links, model, 2);
    assert_true(NEAR(cost.rates.best_upload_rate, cost.rates.upload_rate[1]));
    make_model_done(model);
}

/* Tied embeddings have no output matrix of their own in host memory; it is read there all the same.
 */
static void reads_tied_output_on_the_cpu(void **unused)
{
    struct make_shape shape = make_8b;

    shape.tied = true;
    struct dgo_model *model = make_model(&shape);
    const struct dgo_settings settings = settings_of(model, 8192);

    (void)unused;
    fill(&make_3090, 1, model, &settings);
    assert_true(memory.host_weights_bytes[model->layer_count] < model->input_bytes);
    assert_true(cost.host_read_bytes[model->layer_count] >= (double)model->input_bytes);
    make_model_done(model);
}

/* Of 128 experts 8 are read for a token; a whole micro-batch touches nearly all. */
static void reads_the_active_experts(void **unused)
{
    struct dgo_model *model = make_model(&make_moe30b);
    struct dgo_settings settings = settings_of(model, 256);
    const double experts = (double)model->layer[0].expert_bytes;

    (void)unused;
    fill(&make_3090, 1, model, &settings);
    const double dense = (double)memory.weights_bytes[0] - experts;

    assert_true(cost.read_bytes[0] > dense + experts / 16);
    assert_true(cost.read_bytes[0] < dense + experts / 16 + 1e6);
    assert_true(cost.touched_bytes[0] > dense + 0.99 * experts);
    assert_true(cost.kept_read_bytes[0] == 0);
    settings.cpu_moe_layer_count = 1;
    fill(&make_3090, 1, model, &settings);
    assert_true(NEAR(cost.kept_read_bytes[0], experts / 16));
    assert_true(cost.read_bytes[0] < dense + 1e6);
    assert_true(cost_decode_s(&cost, 0, 0) > cost_decode_s(&cost, 0, 1));
    make_model_done(model);
}

/* A window is never read beyond itself. */
static void reads_the_window_only(void **unused)
{
    struct dgo_model *model = make_model(&make_8b);
    const struct dgo_settings settings = settings_of(model, 32768);

    (void)unused;
    model->sliding_window = 1024;
    model->layer[3].sliding_window = true;
    fill(&make_3090, 1, model, &settings);
    const double window = cost.read_bytes[3] - (double)model->layer[3].weights_bytes;

    assert_true(NEAR(window, 2.0 * 8 * 256 * 1024));
    assert_true(cost.read_bytes[0] - cost.read_bytes[3] > 14.9 * window);
    make_model_done(model);
}

static void assumes_what_is_unknown(void **unused)
{
    const struct make_card none[] = {{24576, 24000, 0}, {24576, 24000, 0}};
    const struct make_card some[] = {{24576, 24000, 600}, {24576, 24000, 0}, {24576, 24000, 400}};
    struct dgo_model *model = make_model(&make_tiny);
    const struct dgo_settings settings = settings_of(model, 1024);

    (void)unused;
    fill(none, 2, model, &settings);
    assert_true(cost.rates.assumed[0] && cost.rates.assumed[1]);
    assert_true(NEAR(cost.rates.gpu_rate[0], COST_GPU_BANDWIDTH * COST_BANDWIDTH_SHARE));
    fill(some, 3, model, &settings);
    assert_true(!cost.rates.assumed[0] && cost.rates.assumed[1] && !cost.rates.assumed[2]);
    assert_true(NEAR(cost.rates.gpu_rate[1], 500e9 * COST_BANDWIDTH_SHARE));
    assert_false(cost.rates.host_assumed);
    make_model_done(model);
}

static void links_set_the_price_of_a_hop(void **unused)
{
    static const struct {
        const char *name;
        enum dgo_link_kind kind;
        bool p2p;
        double bandwidth, hop_s, rate;
    } rows[] = {
        {"unknown", DGO_LINK_UNKNOWN, false, 0, COST_HOP_HOST, COST_LINK_BANDWIDTH},
        {"nvlink", DGO_LINK_NVLINK, false, 50e9, COST_HOP_DIRECT, 40e9},
        {"bridge without p2p: through the host", DGO_LINK_PHB, false, 16e9, COST_HOP_HOST, 6.4e9},
        {"bridge with p2p", DGO_LINK_PHB, true, 16e9, COST_HOP_DIRECT, 12.8e9},
        {"sockets", DGO_LINK_SYS, false, 16e9, COST_HOP_SOCKETS, 6.4e9},
    };
    const struct make_card cards[] = {make_3090, make_3090};
    struct dgo_model *model = make_model(&make_tiny);
    const struct dgo_settings settings = settings_of(model, 1024);

    (void)unused;
    fill(cards, 2, model, &settings);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        machine.link[0][1] = (struct dgo_link){.kind = rows[row].kind,
                                               .p2p_known = true,
                                               .p2p = rows[row].p2p,
                                               .bandwidth_bytes_per_s = rows[row].bandwidth};
        cost_make(&machine, &memory, &(struct cost_request){.slot_count = 1}, &cost);
        CHECK_ROW(NEAR(cost_hop_decode_s(&cost, 0, 1), rows[row].hop_s), rows[row].name);
        CHECK_ROW(NEAR(cost.rates.link_rate[0][1], rows[row].rate), rows[row].name);
    }
    make_model_done(model);
}

/* 1500 tokens: three micro-batches in one batch; 5000: ten in three batches. */
static void prompts_are_cut(void **unused)
{
    struct dgo_model *model = make_model(&make_8b);
    const struct dgo_settings settings = settings_of(model, 8192);

    (void)unused;
    fill(&make_3090, 1, model, &settings);
    assert_true(cost.ubatch_count == 3 && cost.batch_count == 1);
    assert_true(cost.ubatch_tokens == 500 && cost_pipeline_repeats(&cost) == 2);
    cost_make(
        &machine, &memory,
        &(struct cost_request){.slot_count = 1, .prompt_tokens = 5000, .generated_tokens = 10},
        &cost);
    assert_true(cost.ubatch_count == 10 && cost.batch_count == 3);
    assert_true(cost_pipeline_repeats(&cost) == 7);
    make_model_done(model);
}

/* A pipeline pays the slowest stage again, not the sum. */
static void pipelines_overlap(void **unused)
{
    const struct make_card cards[] = {make_3090, make_3090};
    struct dgo_model *model = make_model(&make_8b);
    struct dgo_settings settings = settings_of(model, 8192);
    struct dgo_estimate estimate;

    (void)unused;
    settings.device_count = 2;
    settings.device_gpu[1] = 1;
    fill(cards, 2, model, &settings);
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, NULL),
                     DGO_OK);
    assert_true(estimate.pipeline);
    const double overlapped = cost_prompt_s(&cost, &estimate);

    estimate.pipeline = false;
    assert_true(overlapped < cost_prompt_s(&cost, &estimate) * 0.7);
    make_model_done(model);
}

/* Whatever the split, a step takes at least the bound. */
static void nothing_beats_the_bound(void **unused)
{
    uint64_t state = check_seed();
    struct dgo_model *model = make_model(&make_8b);

    (void)unused;
    for (uint32_t n = 0; n < 300; n++) {
        const struct make_card cards[] = {
            {24576, 500 + check_below(&state, 9000), 100 + (double)check_below(&state, 900)},
            {24576, 500 + check_below(&state, 9000), 100 + (double)check_below(&state, 900)}};
        struct dgo_settings settings = settings_of(model, 256 * (1 + (uint32_t)(n % 64)));
        uint64_t rooms[DGO_GPU_MAX] = {0};
        struct dgo_estimate estimate;

        settings.device_count = 2;
        settings.device_gpu[1] = 1;
        settings.tensor_split_given = true;
        settings.tensor_split[0] = 1 + (float)check_below(&state, 32);
        settings.tensor_split[1] = 33 - settings.tensor_split[0];
        fill(cards, 2, model, &settings);
        assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, NULL),
                         DGO_OK);
        /* Rooms that just hold this split: it is then one of those the bound speaks of. */
        for (uint32_t d = 0; d < 2; d++)
            rooms[estimate.device[d].gpu_index] =
                estimate.device[d].weights_bytes + estimate.device[d].context_bytes;
        const double bound = cost_lower_bound_s(&cost, &memory, rooms);

        assert_true(bound > 0);
        assert_true(bound <= cost_decode_step_s(&cost, &estimate) * (1 + 1e-9));
    }
    make_model_done(model);
}

static void names_go_both_ways(void **unused)
{
    struct dgo_error err = {0};
    enum dgo_kv_type type;

    (void)unused;
    for (int i = 0; i < DGO_KV_TYPE_COUNT; i++) {
        const char *name = dgo_kv_type_name((enum dgo_kv_type)i);

        CHECK_ROW(dgo_kv_type_parse(name, &type, NULL) == DGO_OK, name);
        CHECK_ROW_U64(type, i, name);
    }
    assert_int_equal(dgo_kv_type_parse("Q8_0", &type, NULL), DGO_OK);
    assert_int_equal(dgo_kv_type_parse("q8", &type, &err), DGO_EINVAL);
    assert_non_null(strstr(err.text, "q8_0"));
    assert_string_equal(dgo_objective_name(DGO_OBJECTIVE_SAFE), "safe");
    assert_string_equal(dgo_objective_name((enum dgo_objective)9), "unknown");
    assert_string_equal(dgo_kv_type_name((enum dgo_kv_type)99), "unknown");
    assert_string_equal(dgo_figure_source_name(DGO_FIGURE_BOUND), "bound");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_weights_and_half_the_cache),
        cmocka_unit_test(reads_tied_output_on_the_cpu),
        cmocka_unit_test(fetches_over_its_own_link),
        cmocka_unit_test(reads_the_active_experts),
        cmocka_unit_test(reads_the_window_only),
        cmocka_unit_test(assumes_what_is_unknown),
        cmocka_unit_test(links_set_the_price_of_a_hop),
        cmocka_unit_test(prompts_are_cut),
        cmocka_unit_test(pipelines_overlap),
        cmocka_unit_test(nothing_beats_the_bound),
        cmocka_unit_test(names_go_both_ways),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
