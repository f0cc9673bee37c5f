/* test_json.c - the walker tells each value once with its place, and refuses what is no JSON. */
#include "check.h"
#include "dgo_json.h"
#include "dgo_text.h"

#include <stdlib.h>

/* Each value as "path=kind value;". */
static enum dgo_status note(const struct dgo_json_value *value, void *data, struct dgo_error *err)
{
    struct dgo_text *text = data;

    (void)err;
    for (uint32_t i = 0; i < value->depth; i++)
        if (value->step[i].is_index)
            dgo_text_addf(text, "[%u]", (unsigned)value->step[i].index);
        else
            dgo_text_addf(text, ".%s", value->step[i].key);
    switch (value->kind) {
    case DGO_JSON_NULL:
        dgo_text_add(text, "=null;");
        break;
    case DGO_JSON_FALSE:
        dgo_text_add(text, "=false;");
        break;
    case DGO_JSON_TRUE:
        dgo_text_add(text, "=true;");
        break;
    case DGO_JSON_NUMBER:
        dgo_text_addf(text, value->is_whole ? "=%.0f;" : "=%g real;", value->real);
        break;
    case DGO_JSON_STRING:
        dgo_text_addf(text, "='%s';", value->text);
        break;
    case DGO_JSON_OPEN:
        dgo_text_add(text, value->is_array ? "[;" : "{;");
        break;
    case DGO_JSON_CLOSE:
        dgo_text_add(text, value->is_array ? "];" : "};");
        break;
    }
    return DGO_OK;
}

static const struct {
    const char *name, *json, *want;
} good[] = {
    {"a number", "12", "=12;"},
    {"the greatest whole number", " 18446744073709551615 ", "=18446744073709551616;"},
    {"one more is a real", "18446744073709551616", "=1.84467e+19 real;"},
    {"negative and exponent", "[-1,2.5e3]", "[;[0]=-1 real;[1]=2500 real;];"},
    {"words", "[null,true,false]", "[;[0]=null;[1]=true;[2]=false;];"},
    {"nested", "{\"a\":{\"b\":[{}]},\"c\":\"d\"}",
     "{;.a{;.a.b[;.a.b[0]{;.a.b[0]};.a.b];.a};.c='d';};"},
    {"escapes", "\"\\u00e4\\n\\\"\\ud83d\\ude00\"", "='\xc3\xa4\n\"\xf0\x9f\x98\x80';"},
    {"empty containers", "[[],{}]", "[;[0][;[0]];[1]{;[1]};];"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char told[512];
        struct dgo_text text = DGO_TEXT(told);

        CHECK_ROW(dgo_json_walk(good[i].json, strlen(good[i].json), 0, note, &text, NULL) == DGO_OK,
                  good[i].name);
        CHECK_ROW(strcmp(told, good[i].want) == 0, good[i].name);
    }
}

static const struct {
    const char *name, *json, *sentence;
} bad[] = {
    {"nothing", "", "byte 100: a value"},
    {"cut object", "{\"a\":1", "byte 106: the text ends"},
    {"trailing comma", "[1,]", "byte 103: a value"},
    {"comma in front", "[,1]", "byte 101: a value"},
    {"two values", "1 2", "byte 102: text behind"},
    {"leading zero", "[01]", "byte 101: a number that begins with 0"},
    {"bare point", "[1.]", "digits after its point"},
    {"bare exponent", "[1e]", "digits in its exponent"},
    {"not a number", "[NaN]", "byte 101"},
    {"single quotes", "{'a':1}", "a key in quotes"},
    {"no colon", "{\"a\" 1}", "a colon"},
    {"comment", "[1 /* */]", "a comma"},
    {"control character", "\"a\nb\"", "control character"},
    {"open string", "\"abc", "without an end"},
    {"bad UTF-8", "\"\xff\"", "invalid UTF-8"},
    {"lone surrogate", "\"\\ud800\"", "no character"},
    {"a NUL by escape", "\"\\u0000\"", "no character"},
    {"bad escape", "\"\\x41\"", "unknown escape"},
    {"too deep", "[[[[[[[[[[[[[[[[[[[[", "nested too deeply"},
    {"wrong bracket", "[1}", "a comma"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char told[512];
        struct dgo_text text = DGO_TEXT(told);
        struct dgo_error err = {0};

        CHECK_ROW(dgo_json_walk(bad[i].json, strlen(bad[i].json), 100, note, &text, &err) ==
                      DGO_EFORMAT,
                  bad[i].name);
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("%s: '%s'", bad[i].name, err.text);
    }
}

static enum dgo_status count_cut(const struct dgo_json_value *value, void *data,
                                 struct dgo_error *err)
{
    (void)err;
    *(bool *)data = value->kind == DGO_JSON_STRING && value->cut && value->length == 5000 &&
                    strlen(value->text) < DGO_JSON_TEXT_MAX;
    return DGO_OK;
}

static void test_long_string_is_cut(void **state)
{
    enum { LENGTH = 5000 };
    char *json = malloc(LENGTH + 3);
    bool seen = false;

    (void)state;
    assert_non_null(json);
    memset(json, 'a', LENGTH + 2);
    json[0] = json[LENGTH + 1] = '"';
    assert_int_equal(dgo_json_walk(json, LENGTH + 2, 0, count_cut, &seen, NULL), DGO_OK);
    assert_true(seen);
    free(json);
}

static enum dgo_status find_bits(const struct dgo_json_value *value, void *data,
                                 struct dgo_error *err)
{
    (void)err;
    if (dgo_json_at(value, "q.#.bits"))
        *(uint64_t *)data += value->whole;
    return DGO_OK;
}

static void test_places(void **state)
{
    static const char json[] = "{\"q\":[{\"bits\":4},{\"bits\":8,\"bitsy\":1}],\"bits\":2}";
    uint64_t sum = 0;

    (void)state;
    assert_int_equal(dgo_json_walk(json, sizeof json - 1, 0, find_bits, &sum, NULL), DGO_OK);
    assert_int_equal(sum, 12);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_good),
    cmocka_unit_test(test_bad),
    cmocka_unit_test(test_long_string_is_cut),
    cmocka_unit_test(test_places),
};

CHECK_MAIN(tests)
