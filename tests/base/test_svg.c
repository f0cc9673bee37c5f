/* test_svg.c - what is written is XML that a page can show, whatever the words and numbers were. */
#include "check.h"
#include "dgo_svg.h"

#include <math.h>

static const struct {
    const char *name, *text, *want;
} escapes[] = {
    {"plain", "RTX 3090", "RTX 3090"},
    {"markup", "<script>&\"'", "&lt;script&gt;&amp;&quot;&#39;"},
    {"control", "a\x1b[0m", "a\\x1b[0m"},
    {"umlaut stays", "\xc3\xbc<", "\xc3\xbc&lt;"},
    {"no character of XML", "a\xef\xbf\xbe\xef\xbf\xbf", "a\\u{fffe}\\u{ffff}"},
    {"nothing", "", ""},
};

static void test_escaping(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        char buffer[128];
        struct dgo_text text = DGO_TEXT(buffer);

        dgo_svg_escape(&text, escapes[i].text);
        CHECK_ROW(strcmp(buffer, escapes[i].want) == 0, escapes[i].name);
    }
}

static const struct {
    const char *name;
    double x, y, width, height;
    const char *want;
} rects[] = {
    {"whole numbers", 1, 2, 30, 4,
     "<rect class=\"s1\" x=\"1\" y=\"2\" width=\"30\" height=\"4\"/>\n"},
    {"hundredths", 0.5, -0.25, 10.004, 1.999,
     "<rect class=\"s1\" x=\"0.5\" y=\"-0.25\" width=\"10\" height=\"2\"/>\n"},
    {"one digit", 0.05, 0, 1.1, 1,
     "<rect class=\"s1\" x=\"0.05\" y=\"0\" width=\"1.1\" "
     "height=\"1\"/>\n"},
    {"no width", 1, 1, 0, 5, ""},
    {"negative", 1, 1, -3, 5, ""},
    {"unknown", NAN, 1, 3, 5, ""},
    {"endless", 1, 1, INFINITY, 5, ""},
};

static void test_rectangles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rects / sizeof rects[0]; i++) {
        char buffer[256];
        struct dgo_text text = DGO_TEXT(buffer);
        struct dgo_svg svg = {.out = &text};

        dgo_svg_rect(&svg, rects[i].x, rects[i].y, rects[i].width, rects[i].height,
                     DGO_SVG_SERIES_1, NULL);
        CHECK_ROW(strcmp(buffer, rects[i].want) == 0, rects[i].name);
    }
}

static const struct {
    const char *name;
    double y[4];
    const char *want;
} lines[] = {
    {"whole", {1, 2, 3, 4}, "<polyline class=\"s2\" points=\"0,1 1,2 2,3 3,4\"/>\n"},
    {"a gap",
     {1, NAN, 3, 4},
     "<polyline class=\"s2\" points=\"0,1\"/>\n<polyline class=\"s2\" points=\"2,3 3,4\"/>\n"},
    {"unknown at the end", {1, 2, NAN, NAN}, "<polyline class=\"s2\" points=\"0,1 1,2\"/>\n"},
    {"one at the end", {NAN, NAN, NAN, 4}, "<polyline class=\"s2\" points=\"3,4\"/>\n"},
    {"nothing known", {NAN, NAN, INFINITY, NAN}, ""},
};

static void test_lines_have_gaps(void **state)
{
    const double x[] = {0, 1, 2, 3};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char buffer[256];
        struct dgo_text text = DGO_TEXT(buffer);
        struct dgo_svg svg = {.out = &text};

        dgo_svg_polyline(&svg, x, lines[i].y, 4, DGO_SVG_SERIES_2, NULL);
        CHECK_ROW(strcmp(buffer, lines[i].want) == 0, lines[i].name);
    }
}

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;

    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        count++;
    return count;
}

static void test_a_whole_picture(void **state)
{
    static char buffer[8192];
    struct dgo_text text = DGO_TEXT(buffer);
    struct dgo_svg svg;

    (void)state;
    dgo_svg_begin(&svg, &text, 640, 120, "two <GPUs>", "what each holds");
    dgo_svg_group_begin(&svg, "CUDA0");
    dgo_svg_group_begin(&svg, NULL);
    dgo_svg_rect(&svg, 0, 0, 10, 10, DGO_SVG_HATCHED, "margin & more");
    dgo_svg_line(&svg, 0, 0, 10, 10, DGO_SVG_GRID);
    dgo_svg_text(&svg, 5, 8, DGO_SVG_MIDDLE, DGO_SVG_ON_PAINT, "weights");
    assert_true(dgo_svg_end(&svg)); /* closes both groups */
    assert_int_equal(count_of(buffer, "<g>"), 2);
    assert_int_equal(count_of(buffer, "</g>"), 2);
    assert_non_null(strstr(buffer, "aria-label=\"two &lt;GPUs&gt;\""));
    assert_non_null(strstr(buffer, "<desc>what each holds</desc>"));
    assert_non_null(strstr(buffer, "<title>margin &amp; more</title></rect>"));
    assert_non_null(strstr(buffer, "prefers-color-scheme:dark"));
    assert_string_equal(buffer + text.length - 7, "</svg>\n");
}

static void test_a_cut_picture_is_told(void **state)
{
    char buffer[64];
    struct dgo_text text = DGO_TEXT(buffer);
    struct dgo_svg svg;

    (void)state;
    dgo_svg_begin(&svg, &text, 1, 1, "t", NULL);
    assert_false(dgo_svg_end(&svg));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_escaping),
    cmocka_unit_test(test_rectangles),
    cmocka_unit_test(test_lines_have_gaps),
    cmocka_unit_test(test_a_whole_picture),
    cmocka_unit_test(test_a_cut_picture_is_told),
};

CHECK_MAIN(tests)
