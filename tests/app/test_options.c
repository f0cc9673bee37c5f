/* test_options.c - the option table is whole; values from flags and the environment; typos. */
#include "check.h"
#include "options.h"

static void test_every_row_is_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = &option_specs[i];

        CHECK_ROW(strlen(spec->help) > 10, spec->name);
        CHECK_ROW((spec->metavar == NULL) == (spec->kind == KIND_FLAG), spec->name);
        for (unsigned j = 0; j < i; j++)
            CHECK_ROW(strcmp(spec->name, option_specs[j].name) != 0, spec->name);
    }
}

static const struct {
    const char *name, *variable, *value; /* variable NULL: as a flag */
    enum option_id id;
    bool good;
    uint64_t number;
    const char *sentence; /* part of the error */
} rows[] = {
    {"count", NULL, "4", OPTION_PARALLEL, true, 4, NULL},
    {"count below", NULL, "0", OPTION_PARALLEL, false, 0, "--parallel: '0'"},
    {"count above", NULL, "257", OPTION_PARALLEL, false, 0, "from 1 to 256"},
    {"tokens", NULL, "8192", OPTION_CTX, true, 8192, NULL},
    {"tokens max", NULL, "max", OPTION_CTX, true, OPTION_TOKENS_MAX, NULL},
    {"tokens words", NULL, "lots", OPTION_CTX, false, 0, "--ctx"},
    {"size", NULL, "512MiB", OPTION_MARGIN, true, 536870912, NULL},
    {"size wrong", NULL, "plenty", OPTION_MARGIN, false, 0, "--margin: 'plenty' is not a size"},
    {"sizes, by index", NULL, "0=1GiB,2=0", OPTION_MARGIN, true, 0, NULL},
    {"sizes, for all and one", NULL, "512MiB,1=1GiB", OPTION_MARGIN, true, 536870912, NULL},
    {"sizes, index", NULL, "x=1GiB", OPTION_MARGIN, false, 0, "'x' is no index from 0 to 15"},
    {"sizes, far index", NULL, "16=1GiB", OPTION_MARGIN, false, 0, "'16' is no index"},
    {"sizes, twice", NULL, "1=1GiB,1=2GiB", OPTION_MARGIN, false, 0, "index 1 is given twice"},
    {"sizes, no size", NULL, "1=", OPTION_MARGIN, false, 0, "--margin: '' is not a size"},
    {"sizes, end", NULL, "1=1GiB,", OPTION_MARGIN, false, 0, "--margin: '' is not a size"},
    {"duration", NULL, "2m", OPTION_READY_TIMEOUT, true, UINT64_C(120000000000), NULL},
    {"choice", NULL, "context", OPTION_OBJECTIVE, true, 1, NULL},
    {"choice wrong", NULL, "fast", OPTION_OBJECTIVE, false, 0, "speed|context|safe"},
    {"choice part", NULL, "spee", OPTION_OBJECTIVE, false, 0, "speed|context|safe"},
    {"empty text", NULL, "", OPTION_GPUS, false, 0, "--gpus: a value is needed"},
    {"environment count", "DUALGPUOPT_PARALLEL=8", NULL, OPTION_PARALLEL, true, 8, NULL},
    {"environment bad", "DUALGPUOPT_PARALLEL=many", NULL, OPTION_PARALLEL, false, 0,
     "DUALGPUOPT_PARALLEL"},
    {"environment dashes", "DUALGPUOPT_KV_TYPE=q8_0", NULL, OPTION_KV_TYPE, true, 0, NULL},
    {"environment flag", "DUALGPUOPT_JSON=1", NULL, OPTION_JSON, true, 1, NULL},
    {"environment flag odd", "DUALGPUOPT_JSON=perhaps", NULL, OPTION_JSON, false, 0,
     "neither 1 nor 0"},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *environment[] = {(char *)rows[i].variable, NULL};
        struct options options;
        struct dgo_error err = {0};
        enum dgo_status status = options_init(&options, environment, &err);

        if (!rows[i].variable) {
            CHECK_ROW(status == DGO_OK, rows[i].name);
            status = options_set(&options, rows[i].id, rows[i].value, ORIGIN_FLAG, &err);
        }
        CHECK_ROW((status == DGO_OK) == rows[i].good, rows[i].name);
        if (rows[i].good) {
            CHECK_ROW(option_given(&options, rows[i].id), rows[i].name);
            CHECK_ROW_U64(option_number(&options, rows[i].id), rows[i].number, rows[i].name);
            CHECK_ROW(options.value[rows[i].id].origin ==
                          (rows[i].variable ? ORIGIN_ENVIRONMENT : ORIGIN_FLAG),
                      rows[i].name);
        } else {
            CHECK_ROW(err.status == DGO_EUSAGE && strstr(err.text, rows[i].sentence), rows[i].name);
        }
    }
}

static void test_a_flag_beats_the_environment_beats_the_default(void **state)
{
    char *environment[] = {(char *)"DUALGPUOPT_HOST=::1", NULL};
    struct options options;

    (void)state;
    assert_int_equal(options_init(&options, environment + 1, NULL), DGO_OK);
    assert_string_equal(option_text(&options, OPTION_HOST), "127.0.0.1");
    assert_int_equal(options_init(&options, environment, NULL), DGO_OK);
    assert_string_equal(option_text(&options, OPTION_HOST), "::1");
    assert_int_equal(options_set(&options, OPTION_HOST, "0.0.0.0", ORIGIN_FLAG, NULL), DGO_OK);
    assert_string_equal(option_text(&options, OPTION_HOST), "0.0.0.0");
}

static void test_a_flag_variable_can_say_no(void **state)
{
    char *environment[] = {(char *)"DUALGPUOPT_JSON=0", NULL};
    struct options options;

    (void)state;
    assert_int_equal(options_init(&options, environment, NULL), DGO_OK);
    assert_false(option_given(&options, OPTION_JSON));
}

static void test_nearest_word(void **state)
{
    static const char *const words[] = {"parallel", "ctx", "objective", "gpus", NULL};
    static const struct {
        const char *word, *want;
    } typos[] = {
        {"paralel", "parallel"}, {"cxt", "ctx"}, {"objetcive", "objective"}, {"gpu", "gpus"},
        {"zebra", NULL},         {"", NULL},     {"parallels", "parallel"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof typos / sizeof typos[0]; i++) {
        const char *got = nearest_word(typos[i].word, words);

        CHECK_ROW((got == NULL) == (typos[i].want == NULL) &&
                      (!got || strcmp(got, typos[i].want) == 0),
                  typos[i].word);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_row_is_whole),
    cmocka_unit_test(test_values),
    cmocka_unit_test(test_a_flag_beats_the_environment_beats_the_default),
    cmocka_unit_test(test_a_flag_variable_can_say_no),
    cmocka_unit_test(test_nearest_word),
};

CHECK_MAIN(tests)
