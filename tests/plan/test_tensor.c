/* test_tensor.c - sizes of -sm tensor as llama-server 0.7.0 (build 11669) logged them on pretend
 * cards, and where the link pays. */
#include "check.h"

#include "dgo_tensor.h"
#include "fixtures.h"
#include "makers.h"

#include <math.h>

static const struct dgo_engine_rules rules = {.build = 11669};
static struct dgo_machine machine;
static struct dgo_plan plan;

static void make_plan(const struct dgo_model *model, const struct dgo_intent *intent)
{
    assert_int_equal(dgo_plan_make(&machine, model, intent, &rules, &plan, NULL), DGO_OK);
}

/* -c 8192 -np 1 -fa on, equal cards and shares.  The largest share, which is what the engine logs.
 */
static const struct {
    const char *fixture;
    uint32_t cards, ubatch;
    double model_mib, kv_mib, compute_mib; /* logged */
} rows[] = {
    {"llama8b", 2, 512, 2163.58, 512, 124.01},
    {"llama8b", 2, 256, 2163.58, 512, 62.01},
    {"llama8b", 3, 512, 1447.15, 344, 124.01}, /* 8 heads on 3 cards */
    {"q3_32b", 2, 512, 8718.12, 1024, 198.01},
    {"q3_4bt", 2, 512, 1195.54, 576, 85.01}, /* tied embeddings */
    {"q3moe", 2, 512, 8195.71, 384, 92.01},  /* routers are whole */
    {"gemma3", 2, 512, 8057.68, 632, 177.52},
    {"gptoss", 2, 512, 5483.54, 105, 98.77},
};

static bool near_logged(double mib, double logged)
{
    return fabs(mib - logged) < 0.02; /* the log rounds to hundredths */
}

static void check_row(size_t row)
{
    const char *name = rows[row].fixture;
    struct dgo_model *model = fixture_open(name, NULL);
    struct make_card cards[3];
    const struct dgo_intent intent = {.ctx_tokens = 8192, .ubatch_tokens = rows[row].ubatch};
    static struct dgo_estimate made;
    struct dgo_settings settings;
    double weights = 0, context = 0, compute = 0;

    assert_non_null(model);
    for (int c = 0; c < 3; c++)
        cards[c] = (struct make_card){49152, 48700, 936};
    make_machine(&machine, cards, rows[row].cards);
    make_plan(model, &intent);
    settings = plan.settings;
    settings.split_mode = DGO_SPLIT_TENSOR;
    settings.tensor_split_given = false;
    settings.device_count = rows[row].cards;
    for (uint32_t d = 0; d < settings.device_count; d++)
        settings.device_gpu[d] = d;
    CHECK_ROW_U64(dgo_estimate_make(&machine, model, &settings, &rules, NULL, &made, NULL), DGO_OK,
                  name);
    CHECK_ROW(made.fits && !made.pipeline, name);
    for (uint32_t d = 0; d < made.device_count; d++) {
        weights = fmax(weights, (double)made.device[d].weights_bytes / DGO_MIB);
        context = fmax(context, (double)made.device[d].context_bytes / DGO_MIB);
        compute = fmax(compute, (double)made.device[d].compute_bytes / DGO_MIB);
    }
    if (!near_logged(weights, rows[row].model_mib) || !near_logged(context, rows[row].kv_mib) ||
        !near_logged(compute, rows[row].compute_mib))
        fail_msg("%s on %u: %.2f %.2f %.2f", name, rows[row].cards, weights, context, compute);
    dgo_model_close(model);
}

static void sizes_are_the_engines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(i);
}

static const struct {
    const char *name;
    const struct make_shape *shape;
    double link_gbs; /* 0: through the host */
    bool pays;
    const char *verdict;
} links[] = {
    {"a large model over NVLink", &make_70b, 112, true, "the link pays"},
    {"a large model between sockets", &make_70b, 0, false, "measure before"},
    {"an 8B between sockets", &make_8b, 0, false, "does not pay"},
    {"a small model even over NVLink: launches and sums are most of it", &make_tiny, 112, false,
     "does not pay"},
};

static void only_where_the_link_pays(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        struct dgo_model *model = make_model(links[i].shape);
        const struct make_card card = {49152, 48600, 768};
        const struct dgo_intent intent = {.ctx_tokens = 2048};
        struct dgo_tensor_split split;
        char text[512];

        make_machine(&machine, (struct make_card[]){card, card}, 2);
        machine.link[0][1] = machine.link[1][0] =
            links[i].link_gbs > 0
                ? (struct dgo_link){.kind = DGO_LINK_NVLINK,
                                    .p2p_known = true,
                                    .p2p = true,
                                    .bandwidth_bytes_per_s = links[i].link_gbs * 1e9}
                : (struct dgo_link){.kind = DGO_LINK_SYS};
        make_plan(model, &intent);
        assert_int_equal(
            dgo_tensor_split_make(&machine, model, &intent, &rules, &plan, &split, NULL), DGO_OK);
        CHECK_ROW(split.pays == links[i].pays, links[i].name);
        dgo_tensor_split_text(model, &plan, &split, text);
        CHECK_ROW(!split.possible || strstr(text, links[i].verdict), links[i].name);
        make_model_done(model);
    }
}

static void faster_cards_get_more_heads(void **state)
{
    struct dgo_model *model = make_model(&make_8b);
    const struct dgo_intent intent = {.ctx_tokens = 2048};
    struct dgo_tensor_split split;

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090, make_3060}, 2);
    make_plan(model, &intent);
    assert_int_equal(dgo_tensor_split_make(&machine, model, &intent, &rules, &plan, &split, NULL),
                     DGO_OK);
    assert_int_equal(split.parts, 8);
    assert_int_equal(split.device[0].gpu_index, 0);
    assert_int_equal(split.device[0].part, 6); /* 936 : 360 is 5.8 : 2.2 */
    assert_int_equal(split.device[1].part, 2);
    make_model_done(model);
}

static void refusals(void **state)
{
    struct dgo_model *model = make_model(&make_8b);
    const struct dgo_intent intent = {.ctx_tokens = 2048},
                            plain = {.ctx_tokens = 2048, .flash_attention_off = true};
    struct dgo_tensor_split split;

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090}, 1);
    make_plan(model, &intent);
    assert_int_equal(dgo_tensor_split_make(&machine, model, &intent, &rules, &plan, &split, NULL),
                     DGO_OK);
    assert_false(split.possible);
    assert_non_null(strstr(split.why_not, "two cards"));
    make_machine(&machine, (struct make_card[]){make_3090, make_3090}, 2);
    make_plan(model, &plain);
    assert_int_equal(dgo_tensor_split_make(&machine, model, &plain, &rules, &plan, &split, NULL),
                     DGO_OK);
    assert_non_null(strstr(split.why_not, "flash attention"));
    make_model_done(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_the_engines),
        cmocka_unit_test(only_where_the_link_pays),
        cmocka_unit_test(faster_cards_get_more_heads),
        cmocka_unit_test(refusals),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
