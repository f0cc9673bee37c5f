/* What a client may wish, and that nothing else gets through. */
#include "check.h"

#include "intent.h"

#define OK(text)                                                                                   \
    {                                                                                              \
        "fine: " text, text, INTENT_LAUNCH, DGO_OK                                                 \
    }
#define REFUSED(text)                                                                              \
    {                                                                                              \
        "refused: " text, text, INTENT_LAUNCH, DGO_EUSAGE                                          \
    }

static const struct {
    const char *name, *intent;
    enum intent_use use;
    enum dgo_status want;
} rows[] = {
    OK("{}"),
    OK("{\"ctx\": 8192, \"parallel\": 2, \"kv_type\": \"q8_0\", \"spread\": true}"),
    OK("{\"ctx\": \"max\", \"objective\": \"safe\", \"no_cpu_layers\": false}"),
    OK("{\"margin\": \"1GiB\", \"use\": \"0,1\", \"restart\": 0, \"stop_timeout\": \"3s\"}"),
    OK("{\"margin\": 1073741824, \"threads\": 4, \"batch\": 512, \"ubatch\": 128}"),
    REFUSED("[]"),
    REFUSED("{\"engine\": \"/bin/sh\"}"),
    REFUSED("{\"gpus\": \"/etc/passwd\"}"),
    REFUSED("{\"nvml\": \"/tmp/x.so\"}"),
    REFUSED("{\"state_dir\": \"/tmp\"}"),
    REFUSED("{\"host\": \"0.0.0.0\"}"),
    REFUSED("{\"port\": 22}"),
    REFUSED("{\"models\": \"/\"}"),
    REFUSED("{\"oom\": \"stop\"}"),
    REFUSED("{\"Ctx\": 1}"),
    REFUSED("{\"no-cpu-layers\": 1}"),
    REFUSED("{\"ctx\": -1}"),
    REFUSED("{\"ctx\": 0}"),
    REFUSED("{\"ctx\": 1e3}"),
    REFUSED("{\"ctx\": \"8192; rm -rf /\"}"),
    REFUSED("{\"ctx\": null}"),
    REFUSED("{\"parallel\": 9223372036854775807}"),
    REFUSED("{\"parallel\": \"2\"}"),
    REFUSED("{\"spread\": 1}"),
    REFUSED("{\"spread\": \"true\"}"),
    REFUSED("{\"kv_type\": \"\"}"),
    REFUSED("{\"kv_type\": \"q8_0\\u0000\"}"),
    REFUSED("{\"kv_type\": \"\\u202eq8_0\"}"),
    REFUSED("{\"kv_type\": {\"a\": 1}}"),
    REFUSED("{\"objective\": 0}"),
    REFUSED("{\"objective\": \"fast\"}"),
    {"a launch's word in a plan", "{\"restart\": 1}", INTENT_PLAN, DGO_EUSAGE},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *intent = json_loads(rows[i].intent, JSON_ALLOW_NUL, NULL);
        struct options options = {0};
        struct dgo_arena arena = {0};
        struct dgo_error err = {0};
        const char *param = NULL;

        CHECK_ROW(intent != NULL, rows[i].name);
        CHECK_ROW_U64(intent_apply(intent, rows[i].use, &options, &arena, &param, &err),
                      rows[i].want, rows[i].name);
        CHECK_ROW(rows[i].want == DGO_OK || err.text[0], rows[i].name);
        dgo_arena_done(&arena);
        json_decref(intent);
    }
}

static void test_values(void **state)
{
    json_t *intent = json_pack("{s:i, s:s, s:b, s:s}", "parallel", 3, "ctx", "max", "spread", 0,
                               "kv_type", "q4_0");
    struct options options = {0};
    struct dgo_arena arena = {0};
    const char *param = NULL;

    (void)state;
    options.value[OPTION_SPREAD].given = true; /* the daemon's own; a client may undo it */
    assert_int_equal(intent_apply(intent, INTENT_PLAN, &options, &arena, &param, NULL), DGO_OK);
    assert_int_equal(option_number(&options, OPTION_PARALLEL), 3);
    assert_true(option_number(&options, OPTION_CTX) == OPTION_TOKENS_MAX);
    assert_false(option_given(&options, OPTION_SPREAD));
    json_decref(intent);
    assert_string_equal(option_text(&options, OPTION_KV_TYPE), "q4_0"); /* its own copy */
    dgo_arena_done(&arena);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_values),
};
CHECK_MAIN(tests)
