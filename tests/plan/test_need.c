/* test_need.c - what is said to be needed is enough, and a MiB less is not. */
#include "check.h"

#include "dgo_plan.h"
#include "makers.h"

static const struct dgo_engine_rules rules = {0};
static struct dgo_machine machine, other;
static struct dgo_plan plan;

/* Whether the GPUs carry it all with `bytes` more where the need says. */
static bool fits_with_intent(const struct dgo_model *model, const struct dgo_intent *asked,
                             const struct dgo_need *need, uint64_t bytes)
{
    struct dgo_intent intent = *asked;

    intent.cpu_layers_refused = need->kind != DGO_NEED_HOST;
    intent.alone = true;
    other = machine;
    for (uint32_t g = 0; g < other.gpu_count; g++)
        if (need->kind == DGO_NEED_EVERY_GPU ||
            (need->kind == DGO_NEED_ONE_GPU && need->gpu_index == g)) {
            other.gpu[g].free_bytes += bytes;
            other.gpu[g].total_bytes += bytes;
        }
    if (need->kind == DGO_NEED_HOST)
        other.host.free_bytes += bytes;
    return dgo_plan_make(&other, model, &intent, &rules, &plan, NULL) == DGO_OK;
}

static bool fits_with(const struct dgo_model *model, const struct dgo_need *need, uint64_t bytes)
{
    return fits_with_intent(model, &(struct dgo_intent){0}, need, bytes);
}

static const struct {
    const char *name;
    const struct make_shape *shape;
    struct make_card cards[3];
    uint64_t host_free_mib;
    uint32_t kinds; /* bit per enum dgo_need_kind that is answered */
} rows[] = {
    {"fits", &make_8b, {{24576, 24100, 936}}, 60000, 0},
    {"one card short",
     &make_70b,
     {{24576, 24100, 936}, {12288, 11900, 360}},
     60000,
     1 << DGO_NEED_ONE_GPU | 1 << DGO_NEED_EVERY_GPU | 1 << DGO_NEED_CARD},
    {"a single card",
     &make_32b,
     {{12288, 11900, 360}},
     60000,
     1 << DGO_NEED_ONE_GPU | 1 << DGO_NEED_CARD},
    {"not even with the host",
     &make_70b,
     {{12288, 11900, 360}, {12288, 11900, 360}},
     8000,
     1 << DGO_NEED_ONE_GPU | 1 << DGO_NEED_EVERY_GPU | 1 << DGO_NEED_CARD | 1 << DGO_NEED_HOST},
    {"experts",
     &make_moe30b,
     {{8192, 7900, 288}},
     60000,
     1 << DGO_NEED_ONE_GPU | 1 << DGO_NEED_CARD},
};

static void check_row(size_t row)
{
    struct dgo_model *model = make_model(rows[row].shape);
    const struct dgo_intent intent = {0};
    struct dgo_needs needs;
    uint32_t kinds = 0;

    make_machine(&machine, rows[row].cards, 3);
    machine.host.free_bytes = rows[row].host_free_mib * DGO_MIB;
    CHECK_ROW_U64(dgo_plan_need(&machine, model, &intent, &rules, &needs, NULL), DGO_OK,
                  rows[row].name);
    CHECK_ROW(needs.nothing == (rows[row].kinds == 0), rows[row].name);
    for (uint32_t i = 0; i < needs.count; i++) {
        const struct dgo_need *need = &needs.need[i];

        kinds |= 1U << need->kind;
        CHECK_ROW(need->decode_tokens_per_second > 0, rows[row].name);
        if (need->kind == DGO_NEED_CARD)
            continue;
        CHECK_ROW(fits_with(model, need, need->bytes), rows[row].name);
        CHECK_ROW(!fits_with(model, need, need->bytes - DGO_MIB), rows[row].name);
    }
    CHECK_ROW_U64(kinds, rows[row].kinds, rows[row].name);
    make_model_done(model);
}

static void the_smallest_that_is_enough(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(i);
}

/* Random cards, models and margins: each answer is enough, and a MiB less of it is not. */
static void random_machines(void **state)
{
    static const struct make_shape *const shapes[] = {&make_8b, &make_32b, &make_70b, &make_moe30b};
    static const uint64_t gib[] = {4, 6, 8, 12, 16, 24};
    enum { MACHINES = 16 };
    uint64_t random = check_seed();
    uint32_t short_of = 0;

    (void)state;
    for (uint32_t n = 0; n < MACHINES; n++) {
        struct dgo_model *model = make_model(shapes[check_below(&random, 4)]);
        const struct dgo_intent intent = {.ctx_tokens = 2048u << check_below(&random, 3)};
        const uint32_t count = 1 + (uint32_t)check_below(&random, 3);
        struct make_card cards[3];
        struct dgo_needs needs;

        for (uint32_t c = 0; c < count; c++) {
            const uint64_t mib = gib[check_below(&random, 6)] * 1024;

            cards[c] = (struct make_card){mib, mib - 100 - check_below(&random, mib / 2),
                                          200 + (double)check_below(&random, 1000)};
        }
        make_machine(&machine, cards, count);
        machine.host.free_bytes = check_below(&random, 64) * DGO_GIB;
        assert_int_equal(dgo_plan_need(&machine, model, &intent, &rules, &needs, NULL), DGO_OK);
        short_of += !needs.nothing;
        assert_true(needs.nothing == (needs.count == 0));
        for (uint32_t i = 0; i < needs.count; i++)
            if (needs.need[i].kind != DGO_NEED_CARD &&
                (!fits_with_intent(model, &intent, &needs.need[i], needs.need[i].bytes) ||
                 fits_with_intent(model, &intent, &needs.need[i], needs.need[i].bytes - DGO_MIB)))
                fail_msg("machine %u: need %u (kind %d, %llu MiB) is not the smallest", n, i,
                         needs.need[i].kind, (unsigned long long)(needs.need[i].bytes / DGO_MIB));
        make_model_done(model);
    }
    fprintf(stderr, "# %u of %d machines were short of memory\n", short_of, MACHINES);
    assert_true(short_of > MACHINES / 4 && short_of < MACHINES);
}

/* Another planner: each card must hold a part of a size that depends on the number of cards. */
struct equal_parts {
    uint32_t parts;
    uint64_t part_bytes;
};

static enum dgo_status holds_parts(const struct dgo_machine *with, const struct dgo_intent *intent,
                                   bool *fits, double *speed, void *data, struct dgo_error *err)
{
    const struct equal_parts *equal = data;
    uint32_t holding = 0;

    (void)intent;
    (void)err;
    for (uint32_t g = 0; g < with->gpu_count; g++)
        holding += with->gpu[g].free_bytes >= equal->part_bytes;
    *fits = holding >= equal->parts;
    *speed = 7;
    return DGO_OK;
}

/* Equal shards: one card more does nothing for two that are both too small, and nor does memory on
 * one of them. */
static void the_needs_of_another_planner(void **state)
{
    struct equal_parts equal = {2, 10 * DGO_GIB};
    const struct dgo_intent intent = {0};
    struct dgo_needs needs;

    (void)state;
    make_machine(&machine, (struct make_card[]){{8192, 8192, 400}, {8192, 8000, 400}}, 2);
    assert_int_equal(dgo_plan_need_by(&machine, &intent, holds_parts, &equal, &needs, NULL),
                     DGO_OK);
    assert_false(needs.nothing);
    assert_int_equal(needs.count, 1);
    assert_int_equal(needs.need[0].kind, DGO_NEED_EVERY_GPU);
    assert_int_equal(needs.need[0].bytes, (10 * 1024 - 8000) * DGO_MIB);
    assert_true(needs.need[0].decode_tokens_per_second == 7);
    equal.parts = 1;
    assert_int_equal(dgo_plan_need_by(&machine, &intent, holds_parts, &equal, &needs, NULL),
                     DGO_OK);
    assert_int_equal(needs.count, 4); /* either card, both, or an 11 GiB one more */
    assert_int_equal(needs.need[3].kind, DGO_NEED_CARD);
    assert_int_equal(needs.need[3].bytes, 11 * DGO_GIB);
    equal.part_bytes = 8 * DGO_GIB;
    assert_int_equal(dgo_plan_need_by(&machine, &intent, holds_parts, &equal, &needs, NULL),
                     DGO_OK);
    assert_true(needs.nothing);
}

/* What was judged is what a plan says of the same settings. */
static void a_plan_is_judged_as_it_was_made(void **state)
{
    struct dgo_model *model = make_model(&make_32b);
    const struct dgo_intent intent = {.ctx_tokens = 8192};
    struct dgo_alternative judged;

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090, make_3060}, 2);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, &rules, &plan, NULL), DGO_OK);
    assert_int_equal(
        dgo_plan_judge(&machine, model, &intent, &rules, &plan.settings, &judged, NULL), DGO_OK);
    assert_true(judged.predicted.decode_tokens_per_second ==
                plan.predicted.decode_tokens_per_second);
    assert_memory_equal(&judged.estimate.device[0], &plan.estimate.device[0],
                        sizeof judged.estimate.device[0]);
    make_model_done(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_that_is_enough),
        cmocka_unit_test(random_machines),
        cmocka_unit_test(the_needs_of_another_planner),
        cmocka_unit_test(a_plan_is_judged_as_it_was_made),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
