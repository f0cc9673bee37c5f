/* prop_plan.c - a whole plan against brute force: of all orders, subsets and cuts of random cards,
 * with layers on the CPU where the cards are too small, none is faster; and none, on fewer or more
 * cards either, decodes in less than the lower bound that is told with it, whatever experts stay in
 * host memory. */
#include "check.h"

#include "dgo_plan.h"
#include "makers.h"

#include <math.h>

enum { MACHINE_COUNT = 250, EXPERTS_MACHINE_COUNT = 40, CARD_MAX = 3 };

static const struct dgo_engine_rules rules = {0};
static struct dgo_machine machine;
static struct dgo_plan plan;

struct brute {
    const struct dgo_model *model;
    const struct dgo_intent *intent;
    uint32_t devices;             /* how many are used */
    uint32_t cpu_least, cpu_most; /* layers on the CPU */
    uint32_t experts_most;        /* layers whose experts stay in host memory */
    double best_s;                /* of a request, on as many cards as the plan uses */
    double best_decode_s;         /* of a token, on any number of them */
    uint32_t tried, fitting;
};

/* What the speed objective weighs. */
static double request_s(const struct dgo_prediction *predicted)
{
    return predicted->generated_tokens / predicted->decode_tokens_per_second +
           predicted->prompt_tokens / predicted->prefill_tokens_per_second;
}

static void judge(struct brute *b, struct dgo_settings *settings, uint32_t cpu_layers)
{
    struct dgo_alternative judged;

    settings->gpu_layer_count = b->model->layer_count + 1 - cpu_layers;
    settings->tensor_split_given = settings->device_count > 1;
    settings->sized_by_role = true; /* what fits is what the search says fits */
    b->tried++;
    assert_int_equal(dgo_plan_judge(&machine, b->model, b->intent, &rules, settings, &judged, NULL),
                     DGO_OK);
    if (!judged.estimate.fits)
        return;
    b->best_decode_s = fmin(b->best_decode_s, 1 / judged.predicted.decode_tokens_per_second);
    if (settings->device_count != plan.settings.device_count)
        return; /* a card more has a price of its own */
    b->fitting++;
    b->best_s = fmin(b->best_s, request_s(&judged.predicted));
}

/* Every card that is left takes every number of the items that are left; the last takes all. */
static void place(struct brute *b, struct dgo_settings *settings, uint32_t used, uint32_t left,
                  uint32_t cpu_layers)
{
    const uint32_t at = settings->device_count;

    if (at == b->devices) {
        if (left == 0)
            judge(b, settings, cpu_layers);
        return;
    }
    for (uint32_t g = 0; g < machine.gpu_count; g++)
        for (uint32_t take = 1; take <= left && !(used >> g & 1); take++) {
            if (at + 1 == b->devices && take != left)
                continue;
            settings->device_gpu[at] = g;
            settings->tensor_split[at] = (float)take;
            settings->device_count = at + 1;
            place(b, settings, used | 1U << g, left - take, cpu_layers);
            settings->device_count = at;
        }
}

static void brute_force(struct brute *b)
{
    const uint32_t layers = b->model->layer_count;
    struct dgo_settings settings = plan.settings;

    b->best_s = b->best_decode_s = INFINITY;
    settings.split_mode = DGO_SPLIT_LAYER;
    for (b->devices = 1; b->devices <= machine.gpu_count; b->devices++)
        for (uint32_t cpu = b->cpu_least; cpu <= b->cpu_most; cpu++)
            for (uint32_t experts = 0; experts <= b->experts_most; experts++) {
                settings.device_count = 0;
                settings.cpu_moe_layer_count = experts;
                memset(settings.tensor_split, 0, sizeof settings.tensor_split);
                place(b, &settings, 0, layers + 1 - cpu, cpu);
            }
}

/* A token of what was told with the plan takes no less than the bound that was told. */
static void check_bound(const struct brute *b, uint32_t n)
{
    const double bound_s =
        1 / plan.predicted.decode_tokens_per_second / (1 + plan.predicted.lower_bound_gap);

    if (b->best_decode_s < bound_s * (1 - 1e-9))
        fail_msg("machine %u: a token takes %.9f s at least, it is said, and %.9f s are enough", n,
                 bound_s, b->best_decode_s);
}

static void random_machine(uint64_t *state, uint64_t model_mib, uint32_t most)
{
    struct make_card cards[CARD_MAX];
    const uint32_t count = 1 + (uint32_t)check_below(state, most);

    for (uint32_t c = 0; c < count; c++) {
        const uint64_t free_mib =
            check_below(state, 3) == 0 /* hardly more than a layer, or the output alone */
                ? 600 + check_below(state, model_mib / 4)
                : 600 + model_mib / 8 + check_below(state, model_mib * 3 / (2 * count) + 1);

        cards[c] =
            (struct make_card){free_mib + 300, free_mib, 100 + (double)check_below(state, 1500)};
    }
    make_machine(&machine, cards, count);
}

static void no_placement_is_faster(void **unused)
{
    static const struct make_shape shape = {.architecture = "llama",
                                            .layer_count = 5,
                                            .embedding = 4096,
                                            .head_count = 32,
                                            .head_count_kv = 8,
                                            .head_length = 128,
                                            .feed_forward = 14336,
                                            .vocab = 64000,
                                            .trained_ctx = 8192,
                                            .type = 12};
    struct dgo_model *model = make_model(&shape);
    uint64_t state = check_seed();
    uint32_t planned = 0, hosted = 0, several = 0, tried = 0;

    (void)unused;
    for (uint32_t n = 0; n < MACHINE_COUNT; n++) {
        const struct dgo_intent intent = {
            .ctx_tokens = 4096,
            .ubatch_tokens = 512,
            .kv_type_given = true,
            .prompt_tokens = (double)(600 + check_below(&state, 4000)),
            .generated_tokens = (double)(1 + check_below(&state, 800)),
            .alone = true,
        };
        struct brute b = {.model = model, .intent = &intent};

        random_machine(&state, 1100, CARD_MAX);
        if (dgo_plan_make(&machine, model, &intent, &rules, &plan, NULL) != DGO_OK)
            continue;
        const bool host = plan.estimate.host.layer_count > 0;

        b.cpu_least = host ? 1 : 0;
        b.cpu_most = host ? model->layer_count : 0;
        brute_force(&b);
        planned++;
        hosted += host;
        several += plan.estimate.device_count > 1;
        tried += b.tried;
        assert_true(b.fitting > 0);
        if (request_s(&plan.predicted) > b.best_s * (1 + 1e-5))
            fail_msg("machine %u: the plan takes %.6f s, brute force found %.6f s", n,
                     request_s(&plan.predicted), b.best_s);
        check_bound(&b, n);
    }
    fprintf(stderr, "# %u plans, %u of them with the CPU, %u on several cards; %u placements\n",
            planned, hosted, several, tried);
    assert_true(planned > MACHINE_COUNT / 2 && hosted > 5 && several > 20);
    make_model_done(model);
}

/* Of `layer_count` layers on up to `most` cards: plans, those with experts in host memory, and how
 * far they are from the bound together. */
static void hold_against_the_bound(uint32_t layer_count, uint32_t most, uint64_t *state,
                                   uint32_t *planned, uint32_t *experts, double *gap)
{
    const struct make_shape shape = {.architecture = "qwen3moe",
                                     .layer_count = layer_count,
                                     .embedding = 2048,
                                     .head_count = 32,
                                     .head_count_kv = 4,
                                     .head_length = 128,
                                     .feed_forward = 768,
                                     .vocab = 64000,
                                     .trained_ctx = 8192,
                                     .type = 12,
                                     .expert_count = 128,
                                     .expert_used_count = 8};
    struct dgo_model *model = make_model(&shape);

    for (uint32_t n = 0; n < EXPERTS_MACHINE_COUNT; n++) {
        const struct dgo_intent intent = {.ctx_tokens = 256U << check_below(state, 6),
                                          .ubatch_tokens = 512,
                                          .kv_type_given = true,
                                          .alone = true};
        struct brute b = {.model = model,
                          .intent = &intent,
                          .cpu_most = model->layer_count,
                          .experts_most = model->layer_count};

        random_machine(state, 350 * layer_count, most);
        machine.host.bandwidth_bytes_per_s = (20 + (double)check_below(state, 400)) * 1e9;
        if (dgo_plan_make(&machine, model, &intent, &rules, &plan, NULL) != DGO_OK)
            continue;
        ++*planned;
        *experts += plan.settings.cpu_moe_layer_count > 0;
        *gap += plan.predicted.lower_bound_gap;
        brute_force(&b);
        check_bound(&b, n);
    }
    make_model_done(model);
}

/* With experts: any number of layers on the CPU, experts of any number of layers in host memory,
 * any cards in any order, any cut.  None decodes in less than the bound; one card that can be
 * filled layer by layer comes near it. */
static void no_experts_beat_the_bound(void **unused)
{
    uint64_t state = check_seed();
    uint32_t planned = 0, experts = 0, alone = 0, experts_alone = 0;
    double gap = 0, gap_alone = 0;

    (void)unused;
    hold_against_the_bound(4, CARD_MAX, &state, &planned, &experts, &gap);
    hold_against_the_bound(16, 1, &state, &alone, &experts_alone, &gap_alone);
    fprintf(stderr,
            "# %u plans, %u with experts in host memory, %.1f %% above the bound; %u on one card, "
            "%u, %.1f %%\n",
            planned, experts, 100 * gap / planned, alone, experts_alone, 100 * gap_alone / alone);
    assert_true(planned > EXPERTS_MACHINE_COUNT / 2 && experts > EXPERTS_MACHINE_COUNT / 8);
    assert_true(alone > EXPERTS_MACHINE_COUNT / 2 && experts_alone > EXPERTS_MACHINE_COUNT / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_placement_is_faster),
                                       cmocka_unit_test(no_experts_beat_the_bound)};

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
