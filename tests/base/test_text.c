/* test_text.c - the builder never overruns; escaping leaves nothing that drives a terminal. */
#include "check.h"
#include "dgo_text.h"

static void test_builder_stops_at_its_size(void **state)
{
    char buffer[8];
    struct dgo_text text = DGO_TEXT(buffer);

    (void)state;
    dgo_text_add(&text, "abc");
    dgo_text_addf(&text, "%d", 42);
    assert_string_equal(buffer, "abc42");
    assert_false(text.truncated);
    dgo_text_addf(&text, "%s", "too long");
    assert_true(text.truncated);
    assert_int_equal(strlen(buffer), 7);
    dgo_text_add(&text, "x");
    assert_int_equal(strlen(buffer), 7);
    dgo_text_clear(&text);
    assert_string_equal(buffer, "");
    assert_false(text.truncated);
}

static const struct {
    const char *name, *bytes;
    size_t length;
    const char *want;
} escapes[] = {
    {"plain", "plain", 5, "plain"},
    {"umlaut stays", "\xc3\xbc", 2, "\xc3\xbc"},
    {"emoji stays", "\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
    {"tab is a space", "a\tb", 3, "a b"},
    {"newline", "a\nb", 3, "a\\x0ab"},
    {"escape sequence", "\x1b[31m", 5, "\\x1b[31m"},
    {"NUL inside", "a\0b", 3, "a\\x00b"},
    {"DEL", "\x7f", 1, "\\x7f"},
    {"C1 control", "\xc2\x9b", 2, "\\x9b"},
    {"lone continuation", "\x80", 1, "\\x80"},
    {"overlong slash", "\xc0\xaf", 2, "\\xc0\\xaf"},
    {"surrogate", "\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},
    {"above the last plane", "\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"},
    {"cut in the middle", "\xe2\x82", 2, "\\xe2\\x82"},
    {"bidi override", "\xe2\x80\xae", 3, "\\u{202e}"},
    {"zero width space", "\xe2\x80\x8b", 3, "\\u{200b}"},
    {"byte order mark", "\xef\xbb\xbf", 3, "\\u{feff}"},
    {"tag character", "\xf3\xa0\x80\x81", 4, "\\u{e0001}"},
};

static void test_escaping(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        char buffer[64];

        CHECK_ROW(dgo_text_copy_escaped(buffer, sizeof buffer, escapes[i].bytes, escapes[i].length),
                  escapes[i].name);
        CHECK_ROW(strcmp(buffer, escapes[i].want) == 0, escapes[i].name);
    }
}

static void test_an_escape_is_never_cut(void **state)
{
    char buffer[8];

    (void)state;
    assert_false(dgo_text_copy_escaped(buffer, sizeof buffer, "abcdef\x1b", 7));
    assert_string_equal(buffer, "abcdef");
    assert_false(dgo_text_copy_escaped(buffer, sizeof buffer, "abcdef\xc3\xbc", 8));
    assert_string_equal(buffer, "abcdef");
}

static void test_one_of_an_array(void **state)
{
    static const char *const kinds[] = {"mamba", "mamba2", ""};

    (void)state;
    assert_true(DGO_TEXT_IN("mamba2", kinds));
    assert_true(DGO_TEXT_IN("", kinds));
    assert_false(DGO_TEXT_IN("mamba3", kinds));
    assert_false(DGO_TEXT_IN("Mamba", kinds));
    assert_false(dgo_text_in("mamba", kinds, 0));
}

static void test_any_bytes_give_printable_utf8(void **state)
{
    uint64_t random = check_seed();

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char bytes[24], buffer[256];
        const size_t length = (size_t)check_below(&random, sizeof bytes + 1);

        for (size_t i = 0; i < length; i++)
            bytes[i] = (char)check_random(&random);
        assert_true(dgo_text_copy_escaped(buffer, sizeof buffer, bytes, length));
        for (size_t i = 0; buffer[i];) {
            uint32_t code_point = 0;
            const uint32_t taken = dgo_utf8_decode(buffer + i, strlen(buffer + i), &code_point);

            assert_in_range(taken, 1, 4);
            assert_true(code_point >= 0x20 && (code_point < 0x7f || code_point >= 0xa0));
            i += taken;
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_builder_stops_at_its_size),     cmocka_unit_test(test_escaping),
    cmocka_unit_test(test_an_escape_is_never_cut),        cmocka_unit_test(test_one_of_an_array),
    cmocka_unit_test(test_any_bytes_give_printable_utf8),
};

CHECK_MAIN(tests)
