/* One name out of a body, whatever else is in it. */
#include "check.h"

#include "peek.h"

static const struct {
    const char *name, *body;
    enum dgo_status status;
    const char *want;
} rows[] = {
    {"first", "{\"model\":\"a\",\"n\":1}", DGO_OK, "a"},
    {"last, spaces", " { \"n\" : [1, {\"model\": \"no\"}] , \"model\" : \"b/c\" } ", DGO_OK, "b/c"},
    {"behind a text that looks like it",
     "{\"prompt\":\"\\\"model\\\":\\\"x\\\"}\",\"model\":\"y\"}", DGO_OK, "y"},
    {"escapes", "{\"model\":\"\\u0061\\n\\\"\"}", DGO_OK, "a\n\""},
    {"first of two", "{\"model\":\"one\",\"model\":\"two\"}", DGO_OK, "one"},
    {"empty", "{\"model\":\"\"}", DGO_OK, ""},
    {"none", "{\"n\":1}", DGO_ENOTFOUND, NULL},
    {"empty object", "{}", DGO_ENOTFOUND, NULL},
    {"deeper only", "{\"x\":{\"model\":\"a\"}}", DGO_ENOTFOUND, NULL},
    {"a number", "{\"model\":3}", DGO_EFORMAT, NULL},
    {"null", "{\"model\":null}", DGO_EFORMAT, NULL},
    {"a list", "[\"model\"]", DGO_EFORMAT, NULL},
    {"nothing", "", DGO_EFORMAT, NULL},
    {"cut in a key", "{\"mod", DGO_EFORMAT, NULL},
    {"cut in a value", "{\"model\":\"ab", DGO_EFORMAT, NULL},
    {"cut after a backslash", "{\"model\":\"ab\\", DGO_EFORMAT, NULL},
    {"half a surrogate", "{\"model\":\"\\ud800\"}", DGO_EFORMAT, NULL},
    {"a NUL", "{\"model\":\"\\u0000\"}", DGO_EFORMAT, NULL},
    {"no colon", "{\"model\" \"a\"}", DGO_EFORMAT, NULL},
    {"too long", "{\"model\":\"0123456789012345678901234567890123456789\"}", DGO_ELIMIT, NULL},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char value[32] = "untouched";
        struct dgo_error err = {0};
        /* A copy of exactly its size, so that a step beyond is found. */
        const size_t length = strlen(rows[i].body);
        char *body = malloc(length + 1);

        memcpy(body, rows[i].body, length);
        CHECK_ROW_U64(peek_text(body, length, "model", value, sizeof value, &err), rows[i].status,
                      rows[i].name);
        if (rows[i].want)
            CHECK_ROW(strcmp(value, rows[i].want) == 0, rows[i].name);
        free(body);
    }
}

/* Every cut and every changed byte of a body: an answer, no step outside. */
static void test_every_cut(void **state)
{
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"\\\"a\\\\\"}],"
                               "\"stream\":true,\"model\":\"m\"}";

    (void)state;
    for (size_t length = 0; length < sizeof body; length++) {
        char *copy = malloc(length + 1), value[8];

        memcpy(copy, body, length);
        (void)!peek_text(copy, length, "model", value, sizeof value, NULL);
        for (size_t at = 0; at < length; at++) {
            static const char bytes[] = "\"\\{}[],: \0a";

            for (size_t b = 0; b < sizeof bytes; b++) {
                copy[at] = bytes[b];
                (void)!peek_text(copy, length, "model", value, sizeof value, NULL);
            }
            copy[at] = body[at];
        }
        free(copy);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_every_cut),
};
CHECK_MAIN(tests)
