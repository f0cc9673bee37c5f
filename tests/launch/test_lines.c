/* test_lines.c - line ends, pieces of long lines and odd bytes, whole and byte by byte. */
#include "check.h"
#include "dgo_text.h"
#include "lines.h"

static const struct {
    const char *name;
    const char *bytes;
    const char *want; /* each line in brackets, partial ones with + */
} cases[] = {
    {"nothing", "", ""},
    {"one line", "abc\n", "[abc]"},
    {"no newline at the end", "abc", "[abc]"},
    {"two lines", "abc\nd\n", "[abc][d]"},
    {"empty line", "\n", "[]"},
    {"empty lines between", "a\n\n\nb\n", "[a][][][b]"},
    {"cr lf", "a\r\nb\r\n", "[a][b]"},
    {"empty line with cr lf", "\r\n", "[]"},
    {"empty lines with cr lf", "a\r\n\r\n\r\nb", "[a][][][b]"},
    {"lone cr redraws", "1%\r2%\r3%\n", "[1%][2%][3%]"},
    {"cr in front shows nothing", "\r1%\r2%", "[1%][2%]"},
    {"crs alone show nothing", "\r\r\r", ""},
    {"cr cr lf is one ending more", "a\r\r\nb", "[a][][b]"},
    {"lf cr", "a\n\rb\n", "[a][b]"},
    {"cr at the very end", "abc\r", "[abc]"},
    {"escape bytes pass", "\x1b[31m\xff\n", "[\x1b[31m\xff]"},
};

static void add_line(struct dgo_text *text, const struct line *line)
{
    assert_int_equal(line->text[line->length], 0);
    dgo_text_add(text, "[");
    dgo_text_add_bytes(text, line->text, line->length);
    dgo_text_add(text, line->partial ? "]+" : "]");
}

/* Feeds `length` bytes in pieces of `piece`. */
static void cut(const char *bytes, size_t length, size_t piece, struct dgo_text *text)
{
    struct lines *lines = calloc(1, sizeof *lines);
    struct line line;

    assert_non_null(lines);
    for (size_t at = 0; at < length; at += piece) {
        const char *next = bytes + at;
        size_t left = length - at < piece ? length - at : piece;

        while (lines_next(lines, &next, &left, &line))
            add_line(text, &line);
        assert_int_equal(left, 0);
    }
    if (lines_end(lines, &line))
        add_line(text, &line);
    assert_false(lines_end(lines, &line));
    free(lines);
}

static void test_lines_do_not_depend_on_the_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece <= 4; piece++) {
            char got[256];
            struct dgo_text text = DGO_TEXT(got);

            cut(cases[i].bytes, strlen(cases[i].bytes), piece, &text);
            if (strcmp(got, cases[i].want))
                print_error("got %s\n", got);
            CHECK_ROW(!strcmp(got, cases[i].want), cases[i].name);
        }
    }
}

static void test_nul_bytes_count(void **state)
{
    struct lines lines = {.length = 0};
    const char bytes[] = "a\0b\n";
    const char *next = bytes;
    size_t left = 4;
    struct line line;

    (void)state;
    assert_true(lines_next(&lines, &next, &left, &line));
    assert_int_equal(line.length, 3);
    assert_memory_equal(line.text, "a\0b", 4);
}

static const struct {
    const char *name;
    size_t length; /* of the line */
    const char *ending;
    size_t want[4]; /* length of each piece, 0 ends */
} long_cases[] = {
    {"one less", DGO_LINE_MAX - 1, "\n", {DGO_LINE_MAX - 1}},
    {"exactly one", DGO_LINE_MAX, "\n", {DGO_LINE_MAX}},
    {"exactly one with cr lf", DGO_LINE_MAX, "\r\n", {DGO_LINE_MAX}},
    {"exactly one without an end", DGO_LINE_MAX, "", {DGO_LINE_MAX}},
    {"one more", DGO_LINE_MAX + 1, "\n", {DGO_LINE_MAX, 1}},
    {"three", 3 * DGO_LINE_MAX, "\n", {DGO_LINE_MAX, DGO_LINE_MAX, DGO_LINE_MAX}},
    {"without an end", 2 * DGO_LINE_MAX + 5, "", {DGO_LINE_MAX, DGO_LINE_MAX, 5}},
};

static void check_pieces(size_t row, const char *bytes, size_t length)
{
    struct lines lines = {.length = 0};
    const char *next = bytes;
    size_t left = length, piece = 0;
    struct line line;

    for (; lines_next(&lines, &next, &left, &line) || lines_end(&lines, &line); piece++) {
        const bool last = piece == 3 || long_cases[row].want[piece + 1] == 0;

        CHECK_ROW_U64(line.length, long_cases[row].want[piece], long_cases[row].name);
        CHECK_ROW_U64(line.partial, !last, long_cases[row].name);
    }
    CHECK_ROW(piece < 4 && long_cases[row].want[piece] == 0, long_cases[row].name);
}

static void test_long_lines_come_in_marked_pieces(void **state)
{
    static char bytes[4 * DGO_LINE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof long_cases / sizeof long_cases[0]; i++) {
        memset(bytes, 'x', long_cases[i].length);
        memcpy(bytes + long_cases[i].length, long_cases[i].ending, strlen(long_cases[i].ending));
        check_pieces(i, bytes, long_cases[i].length + strlen(long_cases[i].ending));
    }
}

/* Whatever the pieces, no byte that is not a line end is lost or invented. */
static void test_property_bytes_are_kept(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (int round = 0; round < 200; round++) {
        static const char alphabet[] = {'a', 'b', '\n', '\r', '\0', '\xff'};
        static char bytes[3 * DGO_LINE_MAX], want[3 * DGO_LINE_MAX], got[3 * DGO_LINE_MAX];
        const size_t length = check_below(&seed, sizeof bytes);
        const uint64_t kinds = 1 + check_below(&seed, sizeof alphabet);
        struct lines lines = {.length = 0};
        size_t wanted = 0, have = 0, at = 0;
        struct line line;

        for (size_t i = 0; i < length; i++) {
            bytes[i] = alphabet[check_below(&seed, kinds)];
            if (bytes[i] != '\n' && bytes[i] != '\r')
                want[wanted++] = bytes[i];
        }
        while (at < length) {
            size_t left = 1 + check_below(&seed, length - at);
            const char *next = bytes + at;

            at += left;
            while (lines_next(&lines, &next, &left, &line)) {
                memcpy(got + have, line.text, line.length);
                have += line.length;
            }
        }
        if (lines_end(&lines, &line)) {
            memcpy(got + have, line.text, line.length);
            have += line.length;
        }
        assert_int_equal(have, wanted);
        assert_memory_equal(got, want, have);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_lines_do_not_depend_on_the_pieces),
    cmocka_unit_test(test_nul_bytes_count),
    cmocka_unit_test(test_long_lines_come_in_marked_pieces),
    cmocka_unit_test(test_property_bytes_are_kept),
};

CHECK_MAIN(tests)
