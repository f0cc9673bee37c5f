/* One field out of a form with files, whatever else is in it. */
#include "check.h"

#include "form.h"

#include <stdlib.h>
#include <string.h>

#define CRLF             "\r\n"
#define FIELD            "Content-Disposition: form-data; name="
#define FILE_            "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"" CRLF
#define PART(head, text) "--B" CRLF head CRLF CRLF text CRLF

static const struct {
    const char *name, *type;
    enum dgo_status status;
    const char *want;
} types[] = {
    {"plain", "multipart/form-data; boundary=abc", DGO_OK, "abc"},
    {"quoted, with what must be quoted", "multipart/form-data; boundary=\"a:b c\"", DGO_OK,
     "a:b c"},
    {"capitals, no space, charset first", "Multipart/Form-Data;charset=utf-8;BOUNDARY=x", DGO_OK,
     "x"},
    {"a semicolon at the end", "multipart/form-data; boundary=x;", DGO_OK, "x"},
    {"a browser's", "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", DGO_OK,
     "----WebKitFormBoundary7MA4YWxkTrZu0gW"},
    {"70 characters",
     "multipart/form-data; boundary="
     "0123456789012345678901234567890123456789012345678901234567890123456789",
     DGO_OK, "0123456789012345678901234567890123456789012345678901234567890123456789"},
    {"71 characters",
     "multipart/form-data; boundary="
     "01234567890123456789012345678901234567890123456789012345678901234567890",
     DGO_EUSAGE, NULL},
    {"none", "multipart/form-data", DGO_EUSAGE, NULL},
    {"empty", "multipart/form-data; boundary=", DGO_EUSAGE, NULL},
    {"empty, quoted", "multipart/form-data; boundary=\"\"", DGO_EUSAGE, NULL},
    {"two", "multipart/form-data; boundary=a; boundary=b", DGO_EUSAGE, NULL},
    {"a quote without end", "multipart/form-data; boundary=\"abc", DGO_EUSAGE, NULL},
    {"a line break in quotes", "multipart/form-data; boundary=\"a\r\nX: y\"", DGO_EUSAGE, NULL},
    {"a backslash before one", "multipart/form-data; boundary=\"a\\\r\"", DGO_EUSAGE, NULL},
    {"a quote inside", "multipart/form-data; boundary=\"a\\\"b\"", DGO_EUSAGE, NULL},
    {"a space at its end", "multipart/form-data; boundary=\"a \"", DGO_EUSAGE, NULL},
    {"more than ASCII", "multipart/form-data; boundary=\"\xc3\xa4\"", DGO_EUSAGE, NULL},
    {"behind a comma", "multipart/form-data, boundary=a", DGO_EUSAGE, NULL},
    {"no semicolon", "multipart/form-data boundary=a", DGO_EUSAGE, NULL},
    {"mixed", "multipart/mixed; boundary=a", DGO_EUSAGE, NULL},
    {"a longer word", "multipart/form-data-2; boundary=a", DGO_EUSAGE, NULL},
};

static void test_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char boundary[FORM_BOUNDARY_MAX + 1] = "untouched", again[FORM_BOUNDARY_MAX + 1];
        char *type = strdup(types[i].type), text[FORM_TYPE_MAX];
        struct dgo_error err = {0};

        CHECK_ROW_U64(form_boundary(type, boundary, &err), types[i].status, types[i].name);
        CHECK_ROW(strcmp(boundary, types[i].want ? types[i].want : "untouched") == 0,
                  types[i].name);
        if (types[i].want) { /* what the engine is told means the same */
            form_type_text(boundary, text);
            CHECK_ROW_U64(form_boundary(text, again, &err), DGO_OK, text);
            CHECK_ROW(strcmp(again, boundary) == 0, text);
        }
        free(type);
    }
}

static const struct {
    const char *name, *body;
    enum dgo_status status;
    const char *want;
} bodies[] = {
    {"alone", PART(FIELD "\"model\"", "m") "--B--" CRLF, DGO_OK, "m"},
    {"behind a file",
     PART(FILE_ "Content-Type: audio/wav", "RIFF") PART(FIELD "\"model\"", "m/x") "--B--", DGO_OK,
     "m/x"},
    {"before a file that is cut", PART(FIELD "\"model\"", "m") "--B" CRLF FILE_ CRLF "RIFF", DGO_OK,
     "m"},
    {"without quotes, in capitals", PART("CONTENT-DISPOSITION: form-data; NAME=model", "m") "--B--",
     DGO_OK, "m"},
    {"a second header, before it",
     PART("Content-Type: text/plain" CRLF FIELD "\"model\"", "m") "--B--", DGO_OK, "m"},
    {"a preamble", "hello" CRLF PART(FIELD "\"model\"", "m") "--B--", DGO_OK, "m"},
    {"padding behind the boundary", "--B \t" CRLF FIELD "\"model\"" CRLF CRLF "m" CRLF "--B--",
     DGO_OK, "m"},
    {"the first of two", PART(FIELD "\"model\"", "one") PART(FIELD "\"model\"", "two") "--B--",
     DGO_OK, "one"},
    {"empty", PART(FIELD "\"model\"", "") "--B--", DGO_OK, ""},
    {"a line break in it", PART(FIELD "\"model\"", "a" CRLF "b") "--B--", DGO_OK, "a" CRLF "b"},
    {"nearly the boundary in it", PART(FIELD "\"model\"", "a" CRLF "--A" CRLF "-B") "--B--", DGO_OK,
     "a" CRLF "--A" CRLF "-B"},
    {"the field's text in a file",
     PART(FILE_, CRLF FIELD "\"model\"" CRLF CRLF "evil") PART(FIELD "\"model\"", "good") "--B--",
     DGO_OK, "good"},
    {"a name that only begins so", PART(FIELD "\"model2\"", "x") "--B--", DGO_ENOTFOUND, NULL},
    {"a name in the name", PART(FIELD "\"x; name=model\"", "x") "--B--", DGO_ENOTFOUND, NULL},
    {"an escaped quote before it", PART(FIELD "\"x\\\"; name=\\\"model\"", "x") "--B--",
     DGO_ENOTFOUND, NULL},
    {"a file of that name", PART(FIELD "\"model\"; filename=\"m\"", "x") "--B--", DGO_ENOTFOUND,
     NULL},
    {"a file of that name, filename first",
     PART("Content-Disposition: form-data; filename=m; "
          "name=model",
          "x") "--B--",
     DGO_ENOTFOUND, NULL},
    {"a disposition that is none", PART(FIELD "\"model\"; ;;=", "x") "--B--", DGO_ENOTFOUND, NULL},
    {"no disposition", PART("Content-Type: text/plain", "x") "--B--", DGO_ENOTFOUND, NULL},
    {"no head", "--B" CRLF CRLF "x" CRLF "--B--", DGO_ENOTFOUND, NULL},
    {"no head and nothing", "--B" CRLF CRLF "--B--", DGO_ENOTFOUND, NULL},
    {"no part", "--B--", DGO_ENOTFOUND, NULL},
    {"nothing", "", DGO_EFORMAT, NULL},
    {"another boundary", "--C" CRLF FIELD "\"model\"" CRLF CRLF "m" CRLF "--C--", DGO_EFORMAT,
     NULL},
    {"a longer boundary", "--BB" CRLF FIELD "\"model\"" CRLF CRLF "m" CRLF "--BB--", DGO_EFORMAT,
     NULL},
    {"the boundary in the middle of a line",
     "x--B" CRLF FIELD "\"model\"" CRLF CRLF "m" CRLF "--C--", DGO_EFORMAT, NULL},
    {"cut behind the boundary", "--B", DGO_EFORMAT, NULL},
    {"cut in the head", "--B" CRLF FIELD "\"mod", DGO_EFORMAT, NULL},
    {"cut in the value", "--B" CRLF FIELD "\"model\"" CRLF CRLF "m", DGO_EFORMAT, NULL},
    {"bare line feeds", "--B\n" FIELD "\"model\"\n\nm\n--B--", DGO_EFORMAT, NULL},
    {"no text", PART(FIELD "\"model\"", "\xff\xfe") "--B--", DGO_EFORMAT, NULL},
    {"JSON", "{\"model\":\"m\"}", DGO_EFORMAT, NULL},
    {"too long", PART(FIELD "\"model\"", "0123456789012345678901234567890123456789") "--B--",
     DGO_ELIMIT, NULL},
};

static enum dgo_status read_copy(const char *bytes, size_t length, char value[32])
{
    char *copy = malloc(length + 1); /* of its size: a step beyond is found */
    enum dgo_status status;

    memcpy(copy, bytes, length);
    copy = realloc(copy, length ? length : 1);
    status = form_text(copy, length, "B", "model", value, 32, NULL);
    free(copy);
    return status;
}

static void test_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char value[32] = "untouched";

        CHECK_ROW_U64(read_copy(bodies[i].body, strlen(bodies[i].body), value), bodies[i].status,
                      bodies[i].name);
        CHECK_ROW(strcmp(value, bodies[i].want ? bodies[i].want : "untouched") == 0,
                  bodies[i].name);
    }
}

/* Every cut and every changed byte: an answer, no step outside. */
static void test_every_cut(void **state)
{
    static const char body[] = PART(FILE_, "RIFF") PART(FIELD "\"model\"", "m") "--B--" CRLF;
    static const char bytes[] = "\r\n-B\":;=\\ \0\xff";
    char value[32];

    (void)state;
    for (size_t length = 0; length < sizeof body; length++) {
        char copy[sizeof body];

        memcpy(copy, body, length);
        (void)!read_copy(copy, length, value);
        for (size_t at = 0; at < length; at++) {
            for (size_t b = 0; b < sizeof bytes; b++) {
                copy[at] = bytes[b];
                (void)!read_copy(copy, length, value);
            }
            copy[at] = body[at];
        }
    }
}

/* A NUL in a name, a head of 9 KiB, and 129 parts before it. */
static void test_limits(void **state)
{
    static const char nul[] = PART(FIELD "\"model\"", "a\0b") "--B--";
    static const char part[] = PART(FIELD "\"x\"", "x");
    char *long_head = calloc(1, 10000), *many = calloc(FORM_PARTS_MAX + 4, sizeof part), value[32];

    (void)state;
    assert_non_null(long_head);
    assert_non_null(many);
    assert_int_equal(read_copy(nul, sizeof nul - 1, value), DGO_EFORMAT);
    strcpy(long_head, "--B" CRLF "X: ");
    memset(long_head + strlen(long_head), 'x', 9000);
    strcat(long_head, CRLF FIELD "\"model\"" CRLF CRLF "m" CRLF "--B--");
    assert_int_equal(read_copy(long_head, strlen(long_head), value), DGO_EFORMAT);
    for (int before = FORM_PARTS_MAX - 1; before <= FORM_PARTS_MAX; before++) {
        char *end = many;

        for (int i = 0; i < before; i++, end += sizeof part - 1)
            memcpy(end, part, sizeof part);
        strcpy(end, PART(FIELD "\"model\"", "last") "--B--");
        assert_int_equal(read_copy(many, strlen(many), value),
                         before < FORM_PARTS_MAX ? DGO_OK : DGO_ELIMIT);
    }
    assert_string_equal(value, "last");
    free(long_head);
    free(many);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_types),
    cmocka_unit_test(test_bodies),
    cmocka_unit_test(test_every_cut),
    cmocka_unit_test(test_limits),
};
CHECK_MAIN(tests)
