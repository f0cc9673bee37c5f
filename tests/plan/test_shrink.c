/* test_shrink.c - after out of memory: less on the card that failed, every time, until the end. */
#include "check.h"

#include "makers.h"

#include <stdbool.h>

enum { STEP_MAX = 2000, CARD_MAX = 4 };

#define A3090                                                                                      \
    {                                                                                              \
        24576, 24100, 936                                                                          \
    }
#define A3060                                                                                      \
    {                                                                                              \
        12288, 11900, 360                                                                          \
    }

static const struct {
    const char *name;
    const struct make_shape *shape;
    struct make_card cards[CARD_MAX];
    struct dgo_intent intent;
    int32_t device; /* that fails each time, while the plan has it; -1 unknown */
    const char *first_change;
} cases[] = {
    {.name = "first layers move to the other card",
     .shape = &make_32b,
     .cards = {A3090, A3060},
     .device = 0,
     .first_change = "layers"},
    {.name = "one card: the micro-batch",
     .shape = &make_8b,
     .cards = {A3060},
     .intent = {.ctx_tokens = DGO_CTX_MAX},
     .device = 0,
     .first_change = "micro-batch"},
    {.name = "unknown device",
     .shape = &make_70b,
     .cards = {A3090, A3090},
     .device = -1,
     .first_change = "micro-batch"},
    {.name = "no host memory",
     .shape = &make_32b,
     .cards = {A3090},
     .intent = {.cpu_layers_refused = true},
     .device = 0,
     .first_change = "micro-batch"},
    {.name = "experts to the host",
     .shape = &make_moe30b,
     .cards = {A3060},
     .device = 0,
     .first_change = "experts"},
    {.name = "layers on the CPU already",
     .shape = &make_70b,
     .cards = {A3090, A3060},
     .device = 1,
     .first_change = "layers"},
    {.name = "most spare",
     .shape = &make_32b,
     .cards = {A3090, A3060},
     .intent = {.objective = DGO_OBJECTIVE_SAFE},
     .device = 0,
     .first_change = "layers"},
    {.name = "no margin was wanted",
     .shape = &make_8b,
     .cards = {A3060},
     .intent = {.margin_bytes = UINT64_MAX},
     .device = 0,
     .first_change = "micro-batch"},
};

static uint64_t used_on(const struct dgo_plan *plan, uint32_t gpu)
{
    for (uint32_t d = 0; d < plan->estimate.device_count; d++) {
        const struct dgo_device_estimate *device = &plan->estimate.device[d];

        if (device->gpu_index == gpu)
            return device->weights_bytes + device->context_bytes + device->compute_bytes;
    }
    return 0;
}

static bool same_launch(const struct dgo_plan *a, const struct dgo_plan *b)
{
    return memcmp(&a->settings, &b->settings, sizeof a->settings) == 0;
}

/* What every step promises: a plan that fits, less where it failed, margins that only grow. */
static void check_step(const struct dgo_plan *from, const struct dgo_plan *to, int32_t device,
                       const char *change, const char *name)
{
    CHECK_ROW(to->estimate.fits, name);
    CHECK_ROW(!same_launch(from, to), name);
    CHECK_ROW(change[0] != '\0', name);
    CHECK_ROW(to->settings.ctx_tokens <= from->settings.ctx_tokens, name);
    CHECK_ROW(to->settings.ubatch_tokens <= from->settings.ubatch_tokens, name);
    CHECK_ROW(to->estimate.host.layer_count >= from->estimate.host.layer_count, name);
    CHECK_ROW_U64(to->settings.key_type, from->settings.key_type, name);
    for (uint32_t g = 0; g < DGO_GPU_MAX; g++)
        CHECK_ROW(to->margin_bytes[g] >= from->margin_bytes[g], name);
    for (uint32_t d = 0; d < from->estimate.device_count; d++)
        if (device < 0 || device == (int32_t)d)
            CHECK_ROW(used_on(to, from->estimate.device[d].gpu_index) <
                          used_on(from, from->estimate.device[d].gpu_index),
                      name);
}

static void shrinks_until_nothing_is_left(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan, next;

    (void)unused;
    for (size_t row = 0; row < sizeof cases / sizeof cases[0]; row++) {
        const char *name = cases[row].name;
        struct dgo_model *model = make_model(cases[row].shape);
        struct dgo_error err = {0};
        enum dgo_status status;
        uint32_t steps = 0;
        char change[160];

        make_machine(&machine, cases[row].cards, CARD_MAX);
        status = dgo_plan_make(&machine, model, &cases[row].intent, NULL, &plan, &err);
        CHECK_ROW(status == DGO_OK, name);
        while (status == DGO_OK && steps < STEP_MAX) {
            const int32_t last = (int32_t)plan.estimate.device_count - 1;
            const int32_t device = cases[row].device > last ? last : cases[row].device;

            status = dgo_plan_shrink(&machine, model, &cases[row].intent, NULL, &plan, device,
                                     &next, change, &err);
            if (status != DGO_OK)
                break;
            if (steps++ == 0 &&
                strncmp(change, cases[row].first_change, strlen(cases[row].first_change)) != 0) {
                print_error("first change: %s\n", change);
                CHECK_ROW(false, name);
            }
            check_step(&plan, &next, device, change, name);
            plan = next;
        }
        CHECK_ROW_U64(status, DGO_ENOFIT, name);
        CHECK_ROW(steps > 1, name);
        CHECK_ROW(strstr(err.text, "nothing smaller") != NULL, name);
        make_model_done(model);
    }
}

/* Cards that fail in turns cannot pass the model to and fro for ever. */
static void ends_whichever_card_fails(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    const struct make_card cards[] = {A3090, A3060, A3090};
    const struct dgo_intent intent = {.cpu_layers_refused = true};
    uint64_t state = check_seed();
    struct dgo_model *model = make_model(&make_8b);

    (void)unused;
    make_machine(&machine, cards, 3);
    for (uint32_t n = 0; n < 3; n++) {
        uint32_t steps = 0;

        assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
        for (; steps < STEP_MAX; steps++) {
            const int32_t device = (int32_t)check_below(&state, plan.estimate.device_count + 1) - 1;

            /* In place: the smaller plan may overwrite the failed one. */
            if (dgo_plan_shrink(&machine, model, &intent, NULL, &plan, device, &plan, NULL, NULL) !=
                DGO_OK)
                break;
        }
        assert_true(steps > 1 && steps < STEP_MAX);
    }
    make_model_done(model);
}

static void refuses_what_is_no_device(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan, next;
    const struct make_card cards[] = {A3090};
    const struct dgo_intent intent = {0};
    struct dgo_model *model = make_model(&make_8b);
    struct dgo_error err = {0};

    (void)unused;
    make_machine(&machine, cards, 1);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, NULL, &plan, NULL), DGO_OK);
    assert_int_equal(dgo_plan_shrink(&machine, model, &intent, NULL, &plan, 1, &next, NULL, &err),
                     DGO_EINVAL);
    assert_int_equal(dgo_plan_shrink(&machine, model, &intent, NULL, &plan, -2, &next, NULL, &err),
                     DGO_EINVAL);
    make_model_done(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shrinks_until_nothing_is_left),
        cmocka_unit_test(ends_whichever_card_fails),
        cmocka_unit_test(refuses_what_is_no_device),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
