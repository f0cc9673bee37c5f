/* test_presets.c - named launches: what is written is read back, bad files are told by line, names
 * are safe as file names, flags win. */
#include "check.h"
#include "dgo_text.h"
#include "presets.h"

#include <unistd.h>

static char home[] = "/tmp/dgo-presets-XXXXXX";
static char variable[64];
static char *environment[] = {variable, NULL};

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(home))
        return -1;
    snprintf(variable, sizeof variable, "XDG_CONFIG_HOME=%s", home);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", home);
    return system(command);
}

static struct preset made, back;

static void test_round_trip(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    memset(&made, 0, sizeof made);
    strcpy(made.name, "coder-1.5");
    strcpy(made.model, "/models/we\"ird \\ name\t.gguf");
    assert_int_equal(preset_set(&made, OPTION_CTX, "max", &err), DGO_OK);
    assert_int_equal(preset_set(&made, OPTION_SPREAD, "true", &err), DGO_OK);
    assert_int_equal(preset_set(&made, OPTION_USE, "0,1", &err), DGO_OK);
    assert_int_equal(preset_set(&made, OPTION_CTX, "8192", &err), DGO_OK); /* replaces */
    strcpy(made.arg[0], "--no-warmup");
    assert_int_equal(preset_add_alias(&made, "Qwen/Qwen3:8b \"x\"", NULL), DGO_OK);
    assert_int_equal(preset_add_alias(&made, "zweiter Näme", NULL), DGO_OK);
    assert_int_equal(preset_add_alias(&made, "zweiter Näme", NULL), DGO_OK);
    strcpy(made.arg[1], "no: [yaml]");
    made.arg_count = 2;
    if (preset_write(environment, &made, false, &err) != DGO_OK)
        fail_msg("%s", err.text);
    if (preset_read(environment, "coder-1.5", &back, &err) != DGO_OK)
        fail_msg("%s", err.text);
    assert_string_equal(back.model, made.model);
    assert_int_equal(back.option_count, 3);
    assert_string_equal(back.option[0].text, "8192");
    assert_string_equal(back.arg[1], "no: [yaml]");
    assert_ptr_equal(back.arg_list[1], back.arg[1]);
    assert_int_equal(back.alias_count, 2);
    assert_string_equal(back.alias[0], "Qwen/Qwen3:8b \"x\"");
    memset(&back, 0xff, sizeof back);
    assert_int_equal(preset_find(environment, "zweiter Näme", &back, &err), DGO_OK);
    assert_string_equal(back.name, "coder-1.5");
    assert_ptr_equal(back.arg_list[0], back.arg[0]);
    assert_int_equal(preset_find(environment, "coder-1.5", &back, &err), DGO_OK);
    assert_int_equal(preset_find(environment, "zweiter", &back, &err), DGO_ENOTFOUND);
    assert_int_equal(preset_write(environment, &made, false, &err), DGO_EBUSY);
    assert_int_equal(preset_write(environment, &made, true, &err), DGO_OK);
}

/* Characters that YAML does not take as they are, or takes for the end of a line, and their
 * neighbours that it does. */
static void test_every_character_comes_back(void **state)
{
    static const uint32_t codes[] = {0x01,   0x09,   0x0a,   0x7e,   0x7f,   0x80,
                                     0x85,   0x9f,   0xa0,   0x2027, 0x2028, 0x2029,
                                     0x202a, 0xfefe, 0xfeff, 0xff00, 0xfffd, 0xfffe};
    struct dgo_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const uint32_t code = codes[i];
        char *at;

        memset(&made, 0, sizeof made);
        strcpy(made.name, "odd");
        strcpy(made.model, "/m/a");
        at = made.model + strlen(made.model);
        if (code < 0x80) {
            *at++ = (char)code;
        } else if (code < 0x800) {
            *at++ = (char)(0xc0 | code >> 6);
            *at++ = (char)(0x80 | (code & 0x3f));
        } else {
            *at++ = (char)(0xe0 | code >> 12);
            *at++ = (char)(0x80 | (code >> 6 & 0x3f));
            *at++ = (char)(0x80 | (code & 0x3f));
        }
        strcpy(at, " b.gguf");
        if (preset_write(environment, &made, true, &err) != DGO_OK ||
            preset_read(environment, "odd", &back, &err) != DGO_OK)
            fail_msg("U+%04X: %s", (unsigned)code, err.text);
        assert_string_equal(back.model, made.model);
    }
    assert_int_equal(preset_remove(environment, "odd", &err), DGO_OK);
}

static const struct {
    const char *name, *text, *sentence;
} bad[] = {
    {"nothing", "", "x.yaml"},
    {"a list", "- a\n", "is a map"},
    {"no version", "model: a\n", "version: 1"},
    {"another version", "version: 2\nmodel: a\n", "line 1, column 10: this program knows"},
    {"no model", "version: 1\n", "names its model"},
    {"unknown key", "version: 1\nmodle: a\n", "line 2, column 1: a preset has no 'modle'"},
    {"unknown option", "version: 1\nmodel: a\noptions: {ctxx: 1}\n", "did you mean ctx"},
    {"bad value", "version: 1\nmodel: a\noptions: {ctx: many}\n", "line 3, column 16"},
    {"flag with a word", "version: 1\nmodel: a\noptions: {spread: maybe}\n", "neither true nor"},
    {"option of one call", "version: 1\nmodel: a\noptions: {json: true}\n", "no option 'json'"},
    {"aliases no list", "version: 1\nmodel: a\naliases: x\n", "aliases is a list"},
    {"an alias of two lines", "version: 1\nmodel: a\naliases: [\"x\\ny\"]\n", "on one line"},
    {"an alias with a bidi mark", "version: 1\nmodel: a\naliases: [\"x\\u202ey\"]\n",
     "on one line"},
    {"an empty alias", "version: 1\nmodel: a\naliases: ['']\n", "1 to 127 bytes"},
    {"args no list", "version: 1\nmodel: a\nargs: --x\n", "args is a list"},
    {"anchors", "version: 1\nmodel: &a b\n", "line 2"},
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW(preset_parse("x", bad[i].text, strlen(bad[i].text), &back, &err) != DGO_OK,
                  bad[i].name);
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("%s: '%s'", bad[i].name, err.text);
    }
}

static void test_names(void **state)
{
    static const char *const refused[] = {"",
                                          ".",
                                          "..",
                                          "../etc",
                                          "a/b",
                                          "-",
                                          ".a",
                                          "a b",
                                          "a\n",
                                          "\xc3\xa4",
                                          ("0123456789012345678901234567890123456789"
                                           "0123456789012345678901234567890123456789")};

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        CHECK_ROW(preset_check_name(refused[i], NULL) == DGO_EUSAGE, refused[i]);
    assert_int_equal(preset_check_name("Qwen3-32B.q4_k", NULL), DGO_OK);
}

static void test_flags_win(void **state)
{
    struct options options;
    struct dgo_error err = {0};
    static char word[] = "DUALGPUOPT_PARALLEL=7";
    static char *none[] = {word, NULL};

    (void)state;
    memset(&made, 0, sizeof made);
    strcpy(made.name, "a");
    assert_int_equal(preset_set(&made, OPTION_CTX, "1024", NULL), DGO_OK);
    assert_int_equal(preset_set(&made, OPTION_PARALLEL, "3", NULL), DGO_OK);
    assert_int_equal(options_init(&options, none, &err), DGO_OK);
    assert_int_equal(options_set(&options, OPTION_CTX, "2048", ORIGIN_FLAG, &err), DGO_OK);
    assert_int_equal(preset_apply(&made, &options, &err), DGO_OK);
    assert_int_equal(option_number(&options, OPTION_CTX), 2048);
    assert_int_equal(option_number(&options, OPTION_PARALLEL), 3);
}

static void count(const char *name, const struct preset *preset, const char *problem, void *data)
{
    int *seen = data;

    (void)name;
    seen[preset ? 0 : 1]++;
    assert_true((preset != NULL) != (problem != NULL));
}

static void test_list_and_remove(void **state)
{
    struct dgo_error err = {0};
    char path[256];
    int seen[2] = {0};
    FILE *file;

    (void)state;
    snprintf(path, sizeof path, "%s/dualgpuopt/presets/broken.yaml", home);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("version: 9\n", file);
    fclose(file);
    assert_int_equal(preset_each(environment, count, seen, &err), DGO_OK);
    assert_int_equal(seen[0], 1);
    assert_int_equal(seen[1], 1);
    assert_int_equal(preset_read(environment, "coder-1.4", &back, &err), DGO_ENOTFOUND);
    assert_non_null(strstr(err.text, "did you mean coder-1.5"));
    assert_int_equal(preset_remove(environment, "coder-1.5", &err), DGO_OK);
    assert_int_equal(preset_remove(environment, "coder-1.5", &err), DGO_ENOTFOUND);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_every_character_comes_back),
    cmocka_unit_test(test_bad_files),  cmocka_unit_test(test_names),
    cmocka_unit_test(test_flags_win),  cmocka_unit_test(test_list_and_remove),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
