/* test_plan.c - intent to plan: what is chosen, what gives way, and that every figure is honest. */
#include "check.h"

#include "fixtures.h"
#include "intent.h"
#include "makers.h"
#include "memory.h"
#include "search.h"

#include <math.h>
#include <stdbool.h>

enum { CARD_MAX = 12, ANY = UINT32_MAX };

#define A3090                                                                                      \
    {                                                                                              \
        24576, 24100, 936                                                                          \
    }
#define A3060                                                                                      \
    {                                                                                              \
        12288, 11900, 360                                                                          \
    }
#define A4060TI                                                                                    \
    {                                                                                              \
        16380, 15900, 288                                                                          \
    }

static const struct {
    const char *name;
    const struct make_shape *shape;
    struct make_card cards[CARD_MAX];
    struct dgo_intent intent;
    enum dgo_status status;
    uint32_t ctx;      /* of each slot; ANY: not looked at */
    uint32_t gpus;     /* bit for each GPU in use; ANY: not looked at */
    bool cpu, experts; /* layers, experts in host memory */
    enum dgo_kv_type cache;
} cases[] = {
    {.name = "a model that fits the fast card leaves the slow one out",
     .shape = &make_8b,
     .cards = {A3090, A3060},
     .ctx = 8192,
     .gpus = 1},
    {.name = "whichever place the fast card has",
     .shape = &make_8b,
     .cards = {A3060, A3090},
     .ctx = 8192,
     .gpus = 2},
    {.name = "one of two equal cards for short prompts",
     .shape = &make_8b,
     .cards = {A3090, A3090},
     .intent = {.prompt_tokens = 500, .generated_tokens = 500},
     .ctx = 8192,
     .gpus = 1},
    {.name = "both for long prompts",
     .shape = &make_8b,
     .cards = {A3090, A3090},
     .intent = {.prompt_tokens = 16000, .generated_tokens = 100},
     .ctx = 8192,
     .gpus = 3},
    {.name = "both where one is too small",
     .shape = &make_32b,
     .cards = {A3060, A4060TI},
     .ctx = 8192,
     .gpus = 3},
    {.name = "a big model takes both",
     .shape = &make_70b,
     .cards = {A3090, A3090},
     .ctx = 8192,
     .gpus = 3},
    {.name = "three cards, the slow one left out",
     .shape = &make_70b,
     .cards = {A3090, A4060TI, A3090},
     .ctx = 8192,
     .gpus = 5},
    {.name = "three cards, all needed",
     .shape = &make_70b,
     .cards = {A3060, A3060, A3090},
     .ctx = 8192,
     .gpus = 7},
    {.name = "ten cards",
     .shape = &make_70b,
     .cards = {A3060, A3060, A3060, A3060, A3060, A3060, A3060, A3060, A3060, A3060},
     .ctx = 8192,
     .gpus = ANY},
    {.name = "a mask is obeyed",
     .shape = &make_8b,
     .cards = {A3090, A3060},
     .intent = {.gpu_mask = 2},
     .ctx = 8192,
     .gpus = 2},
    {.name = "context as asked for, padded",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.ctx_tokens = 20000},
     .ctx = 20224,
     .gpus = 1},
    {.name = "context of each slot",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.ctx_tokens = 4096, .slot_count = 4},
     .ctx = 4096,
     .gpus = 1},
    {.name = "all that was trained for",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.ctx_tokens = DGO_CTX_MAX},
     .ctx = 131072,
     .gpus = 1},
    {.name = "a second card for the longest context",
     .shape = &make_32b,
     .cards = {A3090, A3060},
     .intent = {.ctx_tokens = DGO_CTX_MAX},
     .ctx = 40960,
     .gpus = 3},
    {.name = "training shorter than the default",
     .shape = &make_tiny,
     .cards = {A3060},
     .ctx = 2048,
     .gpus = 1},
    {.name = "8-bit cache where f16 does not fit",
     .shape = &make_32b,
     .cards = {A3090},
     .intent = {.ctx_tokens = 28672},
     .ctx = 28672,
     .gpus = 1,
     .cache = DGO_KV_Q8_0},
    {.name = "not where the type was given",
     .shape = &make_32b,
     .cards = {A3090},
     .intent = {.ctx_tokens = 28672, .kv_type_given = true},
     .ctx = 28672,
     .gpus = 1,
     .cpu = true},
    {.name = "nor without flash attention",
     .shape = &make_32b,
     .cards = {A3090},
     .intent = {.ctx_tokens = 28672, .flash_attention_off = true},
     .ctx = 28672,
     .gpus = 1,
     .cpu = true},
    {.name = "objective context takes the 8-bit cache",
     .shape = &make_32b,
     .cards = {A3090},
     .intent = {.objective = DGO_OBJECTIVE_CONTEXT},
     .ctx = ANY,
     .gpus = 1,
     .cache = DGO_KV_Q8_0},
    {.name = "but not when f16 reaches training",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.objective = DGO_OBJECTIVE_CONTEXT},
     .ctx = 131072,
     .gpus = 1},
    {.name = "layers in host memory as a last resort",
     .shape = &make_70b,
     .cards = {A3090, A3060},
     .ctx = 4096,
     .gpus = 3,
     .cpu = true},
    {.name = "experts before layers",
     .shape = &make_moe30b,
     .cards = {A3060},
     .ctx = 8192,
     .gpus = 1,
     .experts = true},
    {.name = "refused, it does not fit",
     .shape = &make_70b,
     .cards = {A3090, A3060},
     .intent = {.cpu_layers_refused = true},
     .status = DGO_ENOFIT,
     .ctx = 4096,
     .gpus = 3,
     .cache = DGO_KV_Q8_0},
    {.name = "a context too long for all",
     .shape = &make_8b,
     .cards = {A3060},
     .intent = {.ctx_tokens = 131072, .cpu_layers_refused = true, .kv_type_given = true},
     .status = DGO_ENOFIT,
     .ctx = 131072,
     .gpus = 1},
    {.name = "no cards", .shape = &make_8b, .status = DGO_ENOGPU},
    {.name = "a mask that leaves none",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.gpu_mask = 8},
     .status = DGO_EINVAL},
    {.name = "too many slots",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.slot_count = 100000},
     .status = DGO_EINVAL},
    {.name = "a packed value cache without flash attention",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.flash_attention_off = true,
                .kv_type_given = true,
                .key_type = DGO_KV_Q8_0,
                .value_type = DGO_KV_Q8_0},
     .status = DGO_EINVAL},
    {.name = "more tokens than can be counted",
     .shape = &make_8b,
     .cards = {A3090},
     .intent = {.ctx_tokens = UINT32_MAX - 1},
     .status = DGO_EINVAL},
};

static uint64_t taken_bytes(const struct dgo_device_estimate *device)
{
    return device->weights_bytes + device->context_bytes + device->compute_bytes +
           device->overhead_bytes + device->margin_bytes;
}

static uint32_t used_gpus(const struct dgo_estimate *estimate)
{
    uint32_t used = 0;

    for (uint32_t d = 0; d < estimate->device_count; d++)
        used |= UINT32_C(1) << estimate->device[d].gpu_index;
    return used;
}

/* What is true of every plan that fits, whatever was asked for. */
static void check_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                       const struct dgo_settings *settings, const struct dgo_estimate *estimate,
                       const struct dgo_prediction *predicted, const char *name)
{
    struct dgo_estimate again;
    uint64_t margins[DGO_GPU_MAX] = {0};
    uint32_t layers = estimate->host.layer_count;

    CHECK_ROW(estimate->fits, name);
    for (uint32_t d = 0; d < estimate->device_count; d++) {
        const struct dgo_device_estimate *device = &estimate->device[d];

        CHECK_ROW(device->layer_count + device->holds_output > 0, name);
        CHECK_ROW(taken_bytes(device) <= device->free_bytes, name);
        CHECK_ROW_U64(device->holds_output, d + 1 == estimate->device_count, name);
        margins[device->gpu_index] = device->margin_bytes;
        layers += device->layer_count;
        if (settings->tensor_split_given)
            CHECK_ROW(settings->tensor_split[d] == floorf(settings->tensor_split[d]), name);
    }
    CHECK_ROW_U64(layers, model->layer_count, name);
    CHECK_ROW(dgo_estimate_make(machine, model, settings, NULL, margins, &again, NULL) == DGO_OK,
              name);
    CHECK_ROW(memcmp(&again, estimate, sizeof again) == 0, name);
    CHECK_ROW(predicted->decode_tokens_per_second > 0, name);
    CHECK_ROW(predicted->prefill_tokens_per_second > 0, name);
    CHECK_ROW(predicted->lower_bound_gap >= 0, name);
}

static void check_row(size_t row, const struct dgo_machine *machine, const struct dgo_model *model,
                      const struct dgo_plan *plan)
{
    const char *name = cases[row].name;

    if (cases[row].ctx != ANY)
        CHECK_ROW_U64(plan->estimate.ctx_tokens_per_slot, cases[row].ctx, name);
    if (cases[row].gpus != ANY)
        CHECK_ROW_U64(used_gpus(&plan->estimate), cases[row].gpus, name);
    CHECK_ROW_U64(plan->settings.key_type, cases[row].cache, name);
    CHECK_ROW_U64(plan->settings.value_type, cases[row].cache, name);
    CHECK_ROW_U64(plan->estimate.host.layer_count > 0, cases[row].cpu, name);
    CHECK_ROW_U64(plan->settings.cpu_moe_layer_count > 0, cases[row].experts, name);
    CHECK_ROW_U64(plan->estimate.fits, cases[row].status == DGO_OK, name);
    if (cases[row].status == DGO_OK)
        check_plan(machine, model, &plan->settings, &plan->estimate, &plan->predicted, name);
    for (uint32_t i = 0; i < plan->alternative_count; i++) {
        const struct dgo_alternative *other = &plan->alternative[i];

        CHECK_ROW(other->why[0] != '\0', name);
        if (other->estimate.fits && strstr(other->why, "default split") == NULL)
            check_plan(machine, model, &other->settings, &other->estimate, &other->predicted, name);
    }
}

static void plans_follow_the_intent(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;

    (void)unused;
    for (size_t row = 0; row < sizeof cases / sizeof cases[0]; row++) {
        struct dgo_model *model = make_model(cases[row].shape);
        struct dgo_error err = {0};
        enum dgo_status status;

        make_machine(&machine, cases[row].cards, CARD_MAX);
        status = dgo_plan_make(&machine, model, &cases[row].intent, NULL, &plan, &err);
        if (status != cases[row].status)
            print_error("%s\n", err.text);
        CHECK_ROW_U64(status, cases[row].status, cases[row].name);
        CHECK_ROW_U64(err.status, cases[row].status, cases[row].name);
        CHECK_ROW(status == DGO_OK || strlen(err.text) > 20, cases[row].name);
        if (status == DGO_OK || status == DGO_ENOFIT)
            check_row(row, &machine, model, &plan);
        make_model_done(model);
    }
}

/* An engine that keeps the whole context in layers with a window needs as much as without one. */
static void window_kept_whole(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {A3090};
    struct dgo_model *model = make_model(&make_8b);
    uint64_t bytes[3];

    (void)unused;
    make_machine(&machine, cards, 1);
    for (int i = 0; i < 3; i++) {
        const struct dgo_intent intent = {.ctx_tokens = 16384, .swa_full = i == 2};

        model->sliding_window = i > 0 ? 1024 : 0;
        for (uint32_t l = 0; l < model->layer_count; l += 2)
            model->layer[l].sliding_window = i > 0;
        assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
        assert_int_equal(plan.settings.swa_full, i == 2);
        bytes[i] = plan.estimate.device[0].context_bytes;
    }
    assert_true(bytes[1] < bytes[0] * 6 / 10);
    assert_int_equal(bytes[2], bytes[0]);
    make_model_done(model);
}

/* The sentence names the card and the bytes; with so much more on every card it does fit. */
static void nofit_names_card_and_bytes(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {A3090, A3060};
    const struct dgo_intent intent = {.cpu_layers_refused = true, .ctx_tokens = 8192};
    struct dgo_model *model = make_model(&make_70b);
    struct dgo_error err = {0};
    char missing[DGO_UNIT_TEXT_MAX];

    (void)unused;
    make_machine(&machine, cards, 2);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, &err), DGO_ENOFIT);
    assert_true(plan.estimate.limiting_device >= 0);
    const struct dgo_device_estimate *device = &plan.estimate.device[plan.estimate.limiting_device];

    assert_int_equal(plan.estimate.missing_bytes, taken_bytes(device) - device->free_bytes);
    char card[32];

    snprintf(card, sizeof card, "GPU %u ", device->gpu_index);
    assert_non_null(strstr(err.text, card));
    assert_non_null(strstr(err.text, dgo_bytes_text(plan.estimate.missing_bytes, missing)));
    for (uint32_t g = 0; g < machine.gpu_count; g++)
        machine.gpu[g].free_bytes += plan.estimate.missing_bytes;
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, &err), DGO_OK);
    make_model_done(model);
}

static void host_too_small(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {A3090};
    const struct dgo_intent intent = {0};
    struct dgo_model *model = make_model(&make_70b);
    struct dgo_error err = {0};

    (void)unused;
    make_machine(&machine, cards, 1);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, &err), DGO_OK);
    assert_true(plan.estimate.host.layer_count > 0);
    machine.host.free_bytes = 8 * DGO_GIB;
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, &err), DGO_ENOFIT);
    assert_false(plan.estimate.fits);
    assert_non_null(strstr(err.text, "GPU 0 "));
    assert_non_null(strstr(err.text, "host memory"));
    make_model_done(model);
}

/* Host memory too small for all experts, and large enough for those that no card has room for. */
static void host_holds_some_experts(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {A3060};
    struct dgo_model *model = make_model(&make_moe30b);
    uint32_t ctx[2];

    (void)unused;
    make_machine(&machine, cards, 1);
    machine.host.free_bytes = 9 * DGO_GIB;
    for (uint32_t longest = 0; longest < 2; longest++) {
        const struct dgo_intent intent = {.ctx_tokens = longest ? DGO_CTX_MAX : 0};

        assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
        check_plan(&machine, model, &plan.settings, &plan.estimate, &plan.predicted, "experts");
        assert_true(plan.settings.cpu_moe_layer_count > 0);
        assert_true(plan.settings.cpu_moe_layer_count < model->layer_count);
        assert_int_equal(plan.estimate.host.layer_count, 0);
        ctx[longest] = plan.estimate.ctx_tokens_per_slot;
    }
    assert_int_equal(ctx[0], 8192); /* the default is kept */
    assert_true(ctx[1] > ctx[0]);
    make_model_done(model);
}

/* The most that fits is with experts in host memory, and what the GPUs alone can do stands beside
 * it; who refuses host memory gets that. */
static void experts_make_room_for_context(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan, alone;
    const struct make_card cards[] = {{24576, 18800, 936}};
    const struct dgo_intent most = {.ctx_tokens = DGO_CTX_MAX};
    const struct dgo_intent refused = {.ctx_tokens = DGO_CTX_MAX, .cpu_layers_refused = true};
    struct dgo_model *model = make_model(&make_moe30b);
    bool told = false;

    (void)unused;
    make_machine(&machine, cards, 1);
    assert_int_equal(dgo_plan_make(&machine, model, &refused, NULL, &alone, NULL), DGO_OK);
    assert_int_equal(alone.settings.cpu_moe_layer_count, 0);
    assert_int_equal(dgo_plan_make(&machine, model, &most, NULL, &plan, NULL), DGO_OK);
    assert_int_equal(plan.estimate.ctx_tokens_per_slot, model->context_length / 256 * 256);
    assert_true(plan.estimate.ctx_tokens_per_slot > alone.estimate.ctx_tokens_per_slot);
    assert_true(plan.settings.cpu_moe_layer_count > 0);
    for (uint32_t i = 0; i < plan.alternative_count; i++)
        told |= strstr(plan.alternative[i].why, "GPUs alone") &&
                plan.alternative[i].estimate.ctx_tokens == alone.estimate.ctx_tokens;
    assert_true(told);
    make_model_done(model);
}

static void margins_are_honoured(void **unused)
{
    static const struct {
        const char *name;
        uint64_t given;
        enum dgo_objective objective;
        uint64_t least, most; /* of a card of 24576 MiB, safety included */
    } rows[] = {
        {"default", 0, DGO_OBJECTIVE_SPEED, 491 * DGO_MIB, 512 * DGO_MIB},
        {"given", 3 * DGO_GIB, DGO_OBJECTIVE_SPEED, 3 * DGO_GIB, 3100 * DGO_MIB},
        {"none", UINT64_MAX, DGO_OBJECTIVE_SPEED, 0, 0},
        {"safe", 0, DGO_OBJECTIVE_SAFE, 1966 * DGO_MIB, 2000 * DGO_MIB},
    };
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {A3090};
    struct dgo_model *model = make_model(&make_8b);

    (void)unused;
    make_machine(&machine, cards, 1);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        const struct dgo_intent intent = {.margin_bytes = rows[row].given,
                                          .objective = rows[row].objective,
                                          .ctx_tokens = DGO_CTX_MAX};

        CHECK_ROW(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL) == DGO_OK,
                  rows[row].name);
        CHECK_ROW(plan.estimate.device[0].margin_bytes >= rows[row].least, rows[row].name);
        CHECK_ROW(plan.estimate.device[0].margin_bytes <= rows[row].most, rows[row].name);
        CHECK_ROW(taken_bytes(&plan.estimate.device[0]) <= plan.estimate.device[0].free_bytes,
                  rows[row].name);
    }
    make_model_done(model);
}

static uint64_t smallest_spare(const struct dgo_estimate *estimate)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t d = 0; d < estimate->device_count; d++)
        least =
            dgo_min_u64(least, estimate->device[d].free_bytes - (taken_bytes(&estimate->device[d]) -
                                                                 estimate->device[d].margin_bytes));
    return least;
}

static void safe_leaves_more(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan fast, safe;
    const struct make_card cards[] = {A3090, A3060};
    const struct dgo_intent speed = {.ctx_tokens = 16384};
    const struct dgo_intent careful = {.ctx_tokens = 16384, .objective = DGO_OBJECTIVE_SAFE};
    struct dgo_model *model = make_model(&make_32b);

    (void)unused;
    make_machine(&machine, cards, 2);
    assert_int_equal(dgo_plan_make(&machine, model, &speed, NULL, &fast, NULL), DGO_OK);
    assert_int_equal(dgo_plan_make(&machine, model, &careful, NULL, &safe, NULL), DGO_OK);
    assert_true(smallest_spare(&safe.estimate) > smallest_spare(&fast.estimate) + DGO_GIB);
    assert_true(safe.predicted.decode_tokens_per_second < fast.predicted.decode_tokens_per_second);
    make_model_done(model);
}

static void unknown_bandwidth_is_told(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {{24576, 24100, 0}, A3060};
    const struct dgo_intent intent = {0};
    struct dgo_model *model = make_model(&make_8b);

    (void)unused;
    make_machine(&machine, cards, 2);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
    assert_true(plan.predicted.bandwidth_assumed);
    make_machine(&machine, cards + 1, 1);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
    assert_false(plan.predicted.bandwidth_assumed);
    make_model_done(model);
}

static double request_s(const struct dgo_prediction *predicted)
{
    return 1500 / predicted->prefill_tokens_per_second + 400 / predicted->decode_tokens_per_second;
}

/* Every split of two cards, judged one by one, is no faster than the plan with as many cards. */
static void no_split_is_faster(void **unused)
{
    static const struct make_card machines[][2] = {
        {A3060, A4060TI}, {A3090, A3060}, {{24576, 12000, 936}, {24576, 20000, 936}}};
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    static struct search_answer answer;
    struct dgo_model *model = make_model(&make_32b);
    const struct dgo_intent intent = {.ctx_tokens = 28672, .kv_type_given = true};
    uint32_t judged = 0;

    (void)unused;
    for (size_t m = 0; m < sizeof machines / sizeof machines[0]; m++) {
        struct search_request request;

        make_machine(&machine, machines[m], 2);
        assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
        assert_int_equal(plan.settings.device_count, 2);
        assert_int_equal(plan.estimate.host.layer_count, 0);
        assert_int_equal(intent_request(&machine, model, &intent, NULL, &request, NULL), DGO_OK);
        for (uint32_t cut = 1; cut <= model->layer_count; cut++)
            for (uint32_t first = 0; first < 2; first++) {
                struct dgo_settings settings = plan.settings;

                settings.device_gpu[0] = first;
                settings.device_gpu[1] = 1 - first;
                settings.tensor_split[0] = (float)cut;
                settings.tensor_split[1] = (float)(model->layer_count + 1 - cut);
                assert_int_equal(search_judge(&request, &settings, &answer, NULL), DGO_OK);
                if (!answer.estimate.fits)
                    continue;
                judged++;
                assert_true(request_s(&answer.predicted) >=
                            request_s(&plan.predicted) * (1 - 2e-6));
            }
    }
    assert_true(judged > 20);
    make_model_done(model);
}

static void random_cards(uint64_t *state, struct make_card *cards, uint32_t count)
{
    for (uint32_t g = 0; g < count; g++) {
        cards[g].free_mib = 2000 + check_below(state, 14000);
        cards[g].total_mib = 16384; /* fixed: a margin is a share of it */
        cards[g].bandwidth_gbs = 200 + (double)check_below(state, 800);
    }
}

static uint32_t planned_ctx(const struct dgo_machine *machine, const struct dgo_model *model,
                            const struct dgo_intent *intent)
{
    static struct dgo_plan plan;
    const enum dgo_status status = dgo_plan_make(machine, model, intent, NULL, &plan, NULL);

    assert_true(status == DGO_OK || status == DGO_ENOFIT);
    return status == DGO_OK ? plan.estimate.ctx_tokens_per_slot : 0;
}

/* More memory on a card never gives less context. */
static void context_grows_with_memory(void **unused)
{
    static const struct dgo_intent intents[] = {
        {.ctx_tokens = DGO_CTX_MAX},
        {.ctx_tokens = DGO_CTX_MAX, .cpu_layers_refused = true},
        {.ctx_tokens = 0},
        {.ctx_tokens = 0, .cpu_layers_refused = true},
        {.objective = DGO_OBJECTIVE_CONTEXT},
        {.ctx_tokens = DGO_CTX_MAX, .slot_count = 3, .objective = DGO_OBJECTIVE_SAFE},
    };
    static struct dgo_machine machine;
    uint64_t state = check_seed();
    struct dgo_model *models[] = {make_model(&make_8b), make_model(&make_32b),
                                  make_model(&make_moe30b)};

    (void)unused;
    for (uint32_t n = 0; n < 150; n++) {
        const struct dgo_intent *intent = &intents[n % (sizeof intents / sizeof intents[0])];
        const struct dgo_model *model = models[check_below(&state, 3)];
        const uint32_t count = 1 + (uint32_t)check_below(&state, 3);
        struct make_card cards[3];
        uint32_t before = 0;

        random_cards(&state, cards, count);
        for (uint32_t step = 0; step < 4; step++) {
            make_machine(&machine, cards, count);
            const uint32_t ctx = planned_ctx(&machine, model, intent);

            if (ctx < before)
                fail_msg("machine %u: %u tokens after %u with less memory", n, ctx, before);
            before = ctx;
            cards[check_below(&state, count)].free_mib += check_below(&state, 3000);
        }
    }
    for (size_t m = 0; m < 3; m++)
        make_model_done(models[m]);
}

static uint32_t layers_on(const struct dgo_plan *plan, uint32_t gpu)
{
    for (uint32_t d = 0; d < plan->estimate.device_count; d++)
        if (plan->estimate.device[d].gpu_index == gpu)
            return plan->estimate.device[d].layer_count + plan->estimate.device[d].holds_output;
    return 0;
}

/* Cards that change places change shares; where two splits are equally fast, either is right. */
static void shares_follow_the_cards(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan one, other;
    uint64_t state = check_seed();
    struct dgo_model *model = make_model(&make_32b);
    const struct dgo_intent intent = {.cpu_layers_refused = true};
    uint32_t compared = 0;

    (void)unused;
    for (uint32_t n = 0; n < 60; n++) {
        struct make_card cards[2], swapped[2];

        random_cards(&state, cards, 2);
        swapped[0] = cards[1];
        swapped[1] = cards[0];
        make_machine(&machine, cards, 2);
        const enum dgo_status status = dgo_plan_make(&machine, model, &intent, NULL, &one, NULL);

        make_machine(&machine, swapped, 2);
        assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &other, NULL), status);
        if (status != DGO_OK)
            continue;
        compared++;
        if (layers_on(&one, 0) == layers_on(&other, 1) &&
            layers_on(&one, 1) == layers_on(&other, 0))
            continue;

        const double speed = one.predicted.decode_tokens_per_second;

        if (fabs(other.predicted.decode_tokens_per_second / speed - 1) > 1e-6)
            fail_msg("machine %u: %u and %u layers at %.6f tokens/s, swapped %u and %u at %.6f", n,
                     layers_on(&one, 0), layers_on(&one, 1), speed, layers_on(&other, 1),
                     layers_on(&other, 0), other.predicted.decode_tokens_per_second);
    }
    assert_true(compared > 5);
    make_model_done(model);
}

/* The families whose graphs and caches differ: plan and estimate agree on all of them. */
static void every_family_is_planned(void **unused)
{
    static const struct make_card machines[][4] = {
        {A3090, A3060}, {A3060, A3060, A3090}, {{81920, 80000, 2000}, {81920, 80000, 2000}}};
    static struct dgo_machine machine;
    static struct dgo_plan plan;

    (void)unused;
    for (size_t f = 0; f < FIXTURE_COUNT; f++) {
        struct dgo_error err = {0};
        struct dgo_model *model = fixture_open(fixture_names[f], &err);

        CHECK_ROW(model != NULL, fixture_names[f]);
        for (size_t m = 0; m < sizeof machines / sizeof machines[0]; m++)
            for (uint32_t slots = 1; slots <= 4; slots += 3) {
                const struct dgo_intent intent = {.slot_count = slots};
                enum dgo_status status;

                make_machine(&machine, machines[m], 4);
                status = dgo_plan_make(&machine, model, &intent, NULL, &plan, &err);
                if (status == DGO_OK)
                    check_plan(&machine, model, &plan.settings, &plan.estimate, &plan.predicted,
                               fixture_names[f]);
                else
                    CHECK_ROW_U64(status, DGO_ENOFIT, err.text);
                CHECK_ROW(status == DGO_OK || strcmp(fixture_names[f], "ds3") == 0, err.text);
            }
        dgo_model_close(model);
    }
}

/* Next-token blocks count in -ngl and -ts though the engine does not load them. */
static void next_token_blocks_are_counted(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {A3060, A4060TI};
    const struct dgo_intent intent = {0};
    struct dgo_model *model = make_model(&make_32b);
    float sum = 0;

    (void)unused;
    model->mtp_layer_count = 2;
    make_machine(&machine, cards, 2);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
    check_plan(&machine, model, &plan.settings, &plan.estimate, &plan.predicted, "mtp");
    assert_int_equal(plan.settings.gpu_layer_count, model->layer_count + 3);
    for (uint32_t d = 0; d < plan.settings.device_count; d++)
        sum += plan.settings.tensor_split[d];
    assert_true(sum == (float)(model->layer_count + 3));
    make_model_done(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_follow_the_intent),
        cmocka_unit_test(window_kept_whole),
        cmocka_unit_test(nofit_names_card_and_bytes),
        cmocka_unit_test(host_too_small),
        cmocka_unit_test(host_holds_some_experts),
        cmocka_unit_test(experts_make_room_for_context),
        cmocka_unit_test(margins_are_honoured),
        cmocka_unit_test(safe_leaves_more),
        cmocka_unit_test(unknown_bandwidth_is_told),
        cmocka_unit_test(no_split_is_faster),
        cmocka_unit_test(context_grows_with_memory),
        cmocka_unit_test(shares_follow_the_cards),
        cmocka_unit_test(every_family_is_planned),
        cmocka_unit_test(next_token_blocks_are_counted),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
