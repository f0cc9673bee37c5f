/* test_prometheus.c - samples of metrics text, from well-formed to hostile. */
#include "check.h"
#include "prometheus.h"

/* All samples as "name{labels}=value;". */
static void dump(const char *bytes, size_t length, char *text, size_t size)
{
    struct prometheus in = {.text = bytes, .length = length};
    struct prometheus_sample sample;
    size_t used = 0;

    text[0] = '\0';
    while (prometheus_next(&in, &sample) && used < size)
        used += (size_t)snprintf(text + used, size - used, "%.*s{%.*s}=%g;",
                                 (int)sample.name_length, sample.name, (int)sample.labels_length,
                                 sample.labels ? sample.labels : "", sample.value);
}

static void test_samples(void **state)
{
    static const struct {
        const char *name, *text, *want;
    } cases[] = {
        {"one", "a 1\n", "a{}=1;"},
        {"no end of line", "a 1", "a{}=1;"},
        {"comments and blanks", "# HELP a b\n# TYPE a gauge\n\na 1\n\n", "a{}=1;"},
        {"colons in a name", "llamacpp:requests_processing 2\n",
         "llamacpp:requests_processing{}=2;"},
        {"labels", "v{m=\"x\",k=\"y\"} 3\n", "v{m=\"x\",k=\"y\"}=3;"},
        {"a brace in a label", "v{m=\"}\"} 3\n", "v{m=\"}\"}=3;"},
        {"a quote in a label", "v{m=\"\\\"}\"} 3\n", "v{m=\"\\\"}\"}=3;"},
        {"a time behind the value", "a 1.5e3 1700000000000\n", "a{}=1500;"},
        {"an empty set of labels", "a{} 4\n", "a{}=4;"},
        {"carriage return", "a 1\r\n", "a{}=1;"},
        {"no number", "a NaN\nb +Inf\nc x\nd\ne 1\n", "e{}=1;"},
        {"labels without an end", "a{m=\"x 1\nb 2\n", "b{}=2;"},
        {"only a brace", "a{", ""},
        {"a number without an end",
         "a 11111111111111111111111111111111111111111111111111111111111111111111111\nb 1\n",
         "b{}=1;"},
        {"a digit first", "1a 1\nb 1\n", "b{}=1;"},
        {"nothing", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];

        dump(cases[i].text, strlen(cases[i].text), text, sizeof text);
        CHECK_ROW(strcmp(text, cases[i].want) == 0, cases[i].name);
    }
}

static void test_labels(void **state)
{
    static const struct {
        const char *name, *text, *label, *want; /* NULL: none */
    } cases[] = {
        {"the first", "v{m=\"x\",k=\"y\"} 1", "m", "x"},
        {"the second", "v{m=\"x\", k=\"y\"} 1", "k", "y"},
        {"another", "v{m=\"x\"} 1", "k", NULL},
        {"a comma in a value", "v{m=\"a,k=\\\"z\\\"\",k=\"y\"} 1", "k", "y"},
        {"an empty value", "v{m=\"\"} 1", "m", ""},
        {"none at all", "v 1", "m", NULL},
        {"no quotes", "v{m=x} 1", "m", NULL},
        {"a longer name", "v{model=\"x\"} 1", "m", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct prometheus in = {.text = cases[i].text, .length = strlen(cases[i].text)};
        struct prometheus_sample sample;
        const char *value = NULL;
        size_t length = 0;

        CHECK_ROW(prometheus_next(&in, &sample), cases[i].name);
        CHECK_ROW_U64(prometheus_label(&sample, cases[i].label, &value, &length),
                      cases[i].want != NULL, cases[i].name);
        if (cases[i].want)
            CHECK_ROW(length == strlen(cases[i].want) && memcmp(value, cases[i].want, length) == 0,
                      cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_labels),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
