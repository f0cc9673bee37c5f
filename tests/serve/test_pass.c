/* Metrics of engines with our labels: joined by family, named as OpenMetrics wants, hostile ones
 * left out. */
#include "check.h"

#include "pass.h"

static const struct om_label one[] = {{"launch", "1"}, {"model", "a\"b\\c"}, {NULL, NULL}};
static const struct om_label two[] = {{"launch", "2"}, {NULL, NULL}};

static char *passed(bool strict, const char *first, const char *second)
{
    struct pass *pass = pass_new();
    struct om om;
    size_t length = 0;
    char *text, *terminated;

    assert_non_null(pass);
    assert_int_equal(om_open(&om, strict, NULL), DGO_OK);
    pass_add(pass, first, strlen(first), one);
    if (second)
        pass_add(pass, second, strlen(second), two);
    pass_write(pass, &om);
    text = om_close(&om, &length);
    assert_non_null(text);
    terminated = strndup(text, length);
    free(text);
    pass_free(pass);
    return terminated;
}

#define OURS "launch=\"1\",model=\"a\\\"b\\\\c\""

static const struct {
    const char *name;
    bool strict;
    const char *first, *second, *want;
} rows[] = {
    {"a counter, strict", true,
     "# HELP llamacpp:prompt_tokens_total Number of tokens.\n"
     "# TYPE llamacpp:prompt_tokens_total counter\n"
     "llamacpp:prompt_tokens_total 12\n",
     NULL,
     "# HELP llamacpp_prompt_tokens Number of tokens.\n"
     "# TYPE llamacpp_prompt_tokens counter\n"
     "llamacpp_prompt_tokens_total{" OURS "} 12\n# EOF\n"},
    {"the same, old", false,
     "# TYPE llamacpp:prompt_tokens_total counter\r\nllamacpp:prompt_tokens_total 12\r\n", NULL,
     "# HELP llamacpp_prompt_tokens_total \n# TYPE llamacpp_prompt_tokens_total counter\n"
     "llamacpp_prompt_tokens_total{" OURS "} 12\n"},
    {"two engines, one family", true, "# TYPE x gauge\nx 1\n", "# TYPE x gauge\nx{a=\"b\"} 2.5e3\n",
     "# HELP x \n# TYPE x gauge\nx{" OURS "} 1\nx{launch=\"2\",a=\"b\"} 2.5e3\n# EOF\n"},
    {"a histogram", true, "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 3\nh_count 2\n", NULL,
     "# HELP h \n# TYPE h histogram\nh_bucket{" OURS ",le=\"1\"} 2\nh_sum{" OURS
     "} 3\nh_count{" OURS "} 2\n# EOF\n"},
    {"a timestamp is left out", true, "# TYPE x gauge\nx 1 1700000000000\n", NULL,
     "# HELP x \n# TYPE x gauge\nx{" OURS "} 1\n# EOF\n"},
    {"no type", false, "x 1\n", NULL, "# HELP x \n# TYPE x untyped\nx{" OURS "} 1\n"},
    {"not well formed", true,
     "x{ 1\nx{a} 1\nx{a=\"b} 1\nx{a=\"b\"\nx\nx one\n1x 1\n{} 1\n-\n# TYPE\n# TYPE y\nx{a=\"\\\n",
     NULL, "# EOF\n"},
    {"empty", true, "", NULL, "# EOF\n"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *got = passed(rows[i].strict, rows[i].first, rows[i].second);

        if (strcmp(got, rows[i].want) != 0)
            print_error("row \"%s\" gave:\n%s\n", rows[i].name, got);
        CHECK_ROW(strcmp(got, rows[i].want) == 0, rows[i].name);
        free(got);
    }
}

/* More than the bounds: memory and output stay within them. */
static void test_bounds(void **state)
{
    const size_t size = 4 << 20;
    char *text = malloc(size), *got;
    size_t length = 0, lines = 0;

    (void)state;
    for (unsigned i = 0; length + 64 < size; i++)
        length += (size_t)snprintf(text + length, 64, "metric_%u{a=\"%u\"} %u\n", i % 2000, i, i);
    got = passed(true, text, NULL);
    for (const char *at = got; (at = strchr(at, '\n')); at++)
        lines++;
    assert_true(lines <= PASS_SAMPLE_MAX + 2 * PASS_FAMILY_MAX + 1);
    free(got);
    memset(text, 'x', size - 1);
    text[size - 1] = '\0';
    got = passed(true, text, NULL);
    assert_string_equal(got, "# EOF\n");
    free(got);
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_bounds),
};
CHECK_MAIN(tests)
