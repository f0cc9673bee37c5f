/* test_pattern.c - the engine's patterns of tensor names, and tensors on cards out of use.
 *
 * What is found and what is refused is what llama-server 0.7.0 finds and refuses. */
#include "check.h"
#include "fixtures.h"

#include "memory.h"
#include "pattern.h"

#include <stdlib.h>

static void test_found(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool found;
    } rows[] = {
        {"ffn_down", "blk.3.ffn_down.weight", true},
        {"", "blk.3.ffn_down.weight", true},
        {"^ffn_down", "blk.3.ffn_down.weight", false},
        {"blk\\.\\d+\\.ffn_(up|down)", "blk.12.ffn_up.weight", true},
        {"blk\\.[\\d]\\.ffn", "blk.3.ffn_up.weight", true},
        {"blk\\.[[:digit:]]\\.ffn", "blk.3.ffn_up.weight", true},
        {"blk\\.\\D\\.ffn", "blk.3.ffn_up.weight", false},
        {"(?!.*ffn)blk\\.3", "blk.3.ffn_up.weight", false},
        {"^(?!blk\\.3).*ffn", "blk.4.ffn_up.weight", true},
        {"(?:1|2)\\.ffn_up\\b", "blk.2.ffn_up.weight", true},
        {"(?:1|2)\\.ffn\\b", "blk.2.ffn_up.weight", false},
        {"b\\l\\k", "blk.2.ffn_up.weight", true}, /* letters that stand for themselves */
        {"[\\e\\z]xps", "blk.2.ffn_up_exps.weight", true},
        {"[]x]", "x]", false}, /* an empty list finds nothing */
        {"blk.*?up{1}", "blk.2.ffn_up.weight", true},
        {"up.weight$", "blk.2.ffn_up.weight", true},
        {"BLK", "blk.2.ffn_up.weight", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};
        struct pattern *pattern = NULL;

        if (pattern_make(rows[i].pattern, &pattern, &err) != DGO_OK)
            fail_msg("'%s': %s", rows[i].pattern, err.text);
        CHECK_ROW(pattern_finds(pattern, rows[i].name) == rows[i].found, rows[i].pattern);
        pattern_free(pattern);
    }
}

static void test_refused(void **state)
{
    /* From the names on, PCRE2 would take them. */
    static const char *const rows[] = {
        "ffn_(down", "ffn)",    "[a",      "a\\", "*a",  "(?<n>a)",
        "(?i)a",     "(?<=a)b", "(*FAIL)", "a{",  "a{1", "a{,2}",
    };
    enum { LONG = 5000 };
    char *text = calloc(1, LONG + 1);
    struct pattern *pattern = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW(pattern_make(rows[i], &pattern, &err) == DGO_EINVAL, rows[i]);
        assert_non_null(strstr(err.text, "ECMAScript"));
    }
    assert_non_null(text);
    memset(text, '(', LONG);
    assert_int_equal(pattern_make(text, &pattern, NULL), DGO_ELIMIT);
    free(text);
}

/* One that would try for longer than anybody waits finds nothing. */
static void test_bounded(void **state)
{
    enum { LENGTH = 60 };
    char name[LENGTH + 1] = "";
    struct pattern *pattern = NULL;

    (void)state;
    memset(name, 'a', LENGTH);
    assert_int_equal(pattern_make("^(a|a|a)*b$", &pattern, NULL), DGO_OK);
    assert_false(pattern_finds(pattern, name));
    pattern_free(pattern);
}

/* A card that has no part in the context: what finds no tensor is nothing, what finds one is the
 * engine's end. */
static void test_unused_card(void **state)
{
    struct dgo_override row = {.pattern = "nothing_here", .device = DGO_OVERRIDE_UNUSED};
    struct dgo_settings settings = {.ctx_tokens = 4096,
                                    .slot_count = 1,
                                    .batch_tokens = 2048,
                                    .ubatch_tokens = 512,
                                    .op_offload = true,
                                    .gpu_layer_count = 999,
                                    .device_count = 1,
                                    .override = &row,
                                    .override_count = 1};
    struct dgo_machine machine = {.gpu_count = 1};
    struct dgo_error err = {0};
    struct dgo_model *model = fixture_open("llama8b", &err);
    struct dgo_estimate plain, moved;

    (void)state;
    assert_non_null(model);
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &moved, &err),
                     DGO_OK);
    settings.override_count = 0;
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &plain, &err),
                     DGO_OK);
    assert_int_equal(moved.device[0].weights_bytes, plain.device[0].weights_bytes);
    assert_int_equal(moved.device[0].compute_bytes, plain.device[0].compute_bytes);
    settings.override_count = 1;
    row.pattern = "blk\\.7\\.ffn_down";
    assert_int_equal(dgo_estimate_make(&machine, model, &settings, NULL, NULL, &moved, &err),
                     DGO_EINVAL);
    assert_non_null(strstr(err.text, "blk.7.ffn_down.weight"));
    assert_non_null(strstr(err.text, "-dev"));
    dgo_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_unused_card),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
