/* test_context_table.c - every cell is what a plan says, and is not computed twice. */
#include "check.h"
#include "context_table.h"
#include "makers.h"

static const struct dgo_engine_rules rules = {0};
static struct dgo_machine machine;
static struct context_table table, again;
static struct dgo_plan plan;

static void check_longest(const struct dgo_model *model, uint32_t s, uint32_t t)
{
    const struct context_cell *cell = &table.longest[s][t];
    struct dgo_intent intent = {.slot_count = table.slots[s],
                                .ctx_tokens = cell->ctx_tokens,
                                .kv_type_given = true,
                                .key_type = table.type[t],
                                .value_type = table.type[t],
                                .cpu_layers_refused = true,
                                .alone = true};

    if (!cell->fits)
        return;
    assert_int_equal(cell->ctx_tokens % 256, 0);
    assert_false(cell->host);
    assert_int_equal(dgo_plan_make(&machine, model, &intent, &rules, &plan, NULL), DGO_OK);
    if (cell->ctx_tokens >= model->context_length)
        return;
    intent.ctx_tokens += 256; /* with the micro-batch that the longest was found with */
    intent.ubatch_tokens = cell->ubatch_tokens;
    assert_int_equal(dgo_plan_make(&machine, model, &intent, &rules, &plan, NULL), DGO_ENOFIT);
}

static void cells_are_plans(void **state)
{
    struct dgo_model *model = make_model(&make_32b);
    const struct dgo_intent intent = {.slot_count = 3};
    const uint32_t slots[] = {1, 2, 3, 4, 8};

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090, make_3060}, 2);
    assert_int_equal(context_table_make(&machine, model, &intent, &rules, &table, NULL), DGO_OK);
    assert_int_equal(table.slots_count, 5);
    assert_memory_equal(table.slots, slots, sizeof slots);
    assert_int_equal(table.type_count, 3);
    assert_int_equal(table.size[0], 4096);
    assert_int_equal(table.size[table.size_count - 1], 40960);
    for (uint32_t s = 0; s < table.slots_count; s++)
        for (uint32_t t = 0; t < table.type_count; t++) {
            check_longest(model, s, t);
            /* fewer slots and smaller caches never have less context */
            if (s > 0)
                assert_true(table.longest[s][t].ctx_tokens <= table.longest[s - 1][t].ctx_tokens);
            if (t > 0)
                assert_true(table.longest[s][t].ctx_tokens >= table.longest[s][t - 1].ctx_tokens);
        }
    /* Longer ones are cut off by training only; speed falls with the context. */
    for (uint32_t c = 1; c < table.size_count; c++)
        if (table.at[c][0].fits && !table.at[c][0].host)
            assert_true(table.at[c][0].decode_tokens_per_second <
                        table.at[c - 1][0].decode_tokens_per_second);
    assert_int_equal(context_table_make(&machine, model, &intent, &rules, &again, NULL), DGO_OK);
    assert_int_equal(again.cache_hits, again.type_count * (again.slots_count + again.size_count));
    assert_memory_equal(table.at, again.at, sizeof table.at);
    make_model_done(model);
}

static const struct {
    const char *name;
    struct dgo_intent intent;
    uint32_t types, sizes, slots;
} rows[] = {
    {"no flash attention, no quantised cache", {.flash_attention_off = true}, 1, 5, 4},
    {"a type that was asked for",
     {.kv_type_given = true, .key_type = DGO_KV_Q5_0, .value_type = DGO_KV_Q5_0},
     1,
     5,
     4},
    {"a context that was asked for", {.ctx_tokens = 12000}, 3, 1, 4},
    {"sixteen slots", {.slot_count = 16}, 3, 5, 5},
};

static void the_intent_narrows_it(void **state)
{
    struct dgo_model *model = make_model(&make_32b);

    (void)state;
    make_machine(&machine, (struct make_card[]){make_3090, make_3060}, 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_ROW_U64(context_table_make(&machine, model, &rows[i].intent, &rules, &table, NULL),
                      DGO_OK, rows[i].name);
        CHECK_ROW_U64(table.type_count, rows[i].types, rows[i].name);
        CHECK_ROW_U64(table.size_count, rows[i].sizes, rows[i].name);
        CHECK_ROW_U64(table.slots_count, rows[i].slots, rows[i].name);
    }
    make_model_done(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_plans),
        cmocka_unit_test(the_intent_narrows_it),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
