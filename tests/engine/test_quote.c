/* Words to shell text and back; commands with their environment. */
#include "engine_check.h"

static void test_quote(void **state)
{
    static const struct {
        const char *name, *word, *want;
    } rows[] = {
        {"plain", "llama-server", "llama-server"},
        {"path", "/usr/bin/x_1.2+3:4,5@6%7", "/usr/bin/x_1.2+3:4,5@6%7"},
        {"nothing", "", "''"},
        {"blank", "a b", "'a b'"},
        {"single quote", "it's", "'it'\\''s'"},
        {"only a quote", "'", "''\\'''"},
        {"dollar", "$HOME", "'$HOME'"},
        {"new line", "a\nb", "'a\nb'"},
        {"equals sign is no assignment", "A=b", "'A=b'"},
        {"tilde", "~/model.gguf", "'~/model.gguf'"},
        {"bytes above 127", "\xc3\xa9", "'\xc3\xa9'"},
        {"regex", "blk\\.[0-9]+=CPU", "'blk\\.[0-9]+=CPU'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[256];
        struct dgo_text text = DGO_TEXT(out);

        dgo_word_quote(&text, rows[i].word);
        CHECK_ROW(strcmp(out, rows[i].want) == 0, rows[i].name);
    }
}

static void test_split(void **state)
{
    static const struct {
        const char *name, *text;
        uint32_t count;
        const char *words[4];
    } rows[] = {
        {"nothing", "", 0, {0}},
        {"blanks only", " \t \n ", 0, {0}},
        {"two words", "-c 4096", 2, {"-c", "4096"}},
        {"blanks around", "  -c\t4096  ", 2, {"-c", "4096"}},
        {"single quotes", "'a b' c", 2, {"a b", "c"}},
        {"double quotes", "\"a b\" c", 2, {"a b", "c"}},
        {"quotes inside a word", "a'b c'd\"e f\"", 1, {"ab cde f"}},
        {"empty words", "'' \"\"", 2, {"", ""}},
        {"backslash", "a\\ b \\'", 2, {"a b", "'"}},
        {"backslash in double quotes", "\"a\\\"b\\nc\\$\"", 1, {"a\"b\\nc$"}},
        {"nothing is special in single quotes", "'$`\"\\'", 1, {"$`\"\\"}},
        {"continued line", "-c \\\n 4096", 2, {"-c", "4096"}},
        {"continued line inside a word", "40\\\n96", 1, {"4096"}},
        {"continued line in double quotes", "\"40\\\n96\"", 1, {"4096"}},
        {"line break at the end", "-c 4096\n", 2, {"-c", "4096"}},
        {"hash inside a word", "a#b", 1, {"a#b"}},
        {"tilde inside a word", "a~b", 1, {"a~b"}},
        {"new line in quotes", "'a\nb'", 1, {"a\nb"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_arena arena = {0};
        const char *words[4];
        uint32_t count = 99;

        CHECK_ROW(dgo_words_split(rows[i].text, &arena, &count, words, 4, NULL) == DGO_OK,
                  rows[i].name);
        CHECK_ROW_U64(count, rows[i].count, rows[i].name);
        for (uint32_t w = 0; w < count; w++)
            CHECK_ROW(strcmp(words[w], rows[i].words[w]) == 0, rows[i].name);
        dgo_arena_done(&arena);
    }
}

static void test_split_refuses(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } rows[] = {
        {"variable", "-m $HOME/x", "character 4"},
        {"variable in double quotes", "\"$HOME\"", "expand"},
        {"command", "a `b`", "quote it"},
        {"glob", "*.gguf", "quote it"},
        {"set of characters", "a[0-9]", "quote it"},
        {"pipe", "a | b", "quote it"},
        {"background", "a &", "quote it"},
        {"sequence", "a; b", "quote it"},
        {"redirection", "a > b", "quote it"},
        {"subshell", "(a)", "quote it"},
        {"comment", "a #b", "start of a word"},
        {"home", "~/x", "start of a word"},
        {"open single quote", "a 'b", "never closed"},
        {"open double quote", "a \"b", "never closed"},
        {"backslash at the end", "a\\", "nothing follows"},
        {"second command", "a\nb", "only one command"},
        {"too many words", "a b c", "more than 2"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_arena arena = {0};
        struct dgo_error err = {0};
        const char *words[2];
        uint32_t count = 99;

        CHECK_ROW(dgo_words_split(rows[i].text, &arena, &count, words, 2, &err) != DGO_OK,
                  rows[i].name);
        CHECK_ROW_U64(count, 99, rows[i].name);
        CHECK_ROW(strstr(err.text, rows[i].says), rows[i].name);
        dgo_arena_done(&arena);
    }
}

static void test_split_without_memory(void **state)
{
    struct dgo_arena arena = {.limit_bytes = 4};
    const char *words[2];
    uint32_t count;

    (void)state;
    assert_int_equal(dgo_words_split("some words", &arena, &count, words, 2, NULL), DGO_ENOMEM);
    dgo_arena_done(&arena);
}

static char *parent[] = {(char *)"HOME=/home/u",     (char *)"LLAMA_ARG_FIT=on",
                         (char *)"LLAMA_ARGUMENT=1", (char *)"LLAMA_ARG_X Y=1",
                         (char *)"SET=old",          (char *)"GONE=1",
                         (char *)"GONER=1",          NULL};

static void example_command(struct dgo_command *command)
{
    memset(command, 0, sizeof *command);
    command->arg_count = 2;
    command->arg[0] = "engine";
    command->arg[1] = "a b";
    command->env_count = 4;
    command->env[0] = (struct dgo_env_change){"LLAMA_ARG_*", NULL, "x"};
    command->env[1] = (struct dgo_env_change){"GONE", NULL, "x"};
    command->env[2] = (struct dgo_env_change){"SET", "new value", "x"};
    command->env[3] = (struct dgo_env_change){"EMPTY", "", "x"};
}

static void test_environment(void **state)
{
    static const char *const want[] = {"HOME=/home/u", "LLAMA_ARGUMENT=1", "GONER=1",
                                       "SET=new value", "EMPTY="};
    struct dgo_command command;
    struct dgo_arena arena = {0};
    const char **got;

    (void)state;
    example_command(&command);
    got = dgo_command_environment(&command, parent, &arena);
    assert_non_null(got);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_string_equal(got[i], want[i]);
    assert_null(got[sizeof want / sizeof want[0]]);
    got = dgo_command_environment(&command, NULL, &arena);
    assert_string_equal(got[0], "SET=new value");
    assert_null(got[2]);
    for (uint32_t n = 1; n <= 3; n++) {
        arena.fail_after = n;
        assert_null(dgo_command_environment(&command, parent, &arena));
    }
    dgo_arena_done(&arena);
}

static void test_text(void **state)
{
    struct dgo_command command;
    char out[512], small[16];
    struct dgo_text text = DGO_TEXT(out), cut = DGO_TEXT(small);

    (void)state;
    example_command(&command);
    dgo_command_text(&command, parent, &text);
    assert_string_equal(out, "env -u LLAMA_ARG_FIT -u 'LLAMA_ARG_X Y' -u GONE SET='new value' "
                             "EMPTY='' engine 'a b'");
    dgo_text_clear(&text);
    command.env_count = 0;
    dgo_text_add(&text, "$ ");
    dgo_command_text(&command, parent, &text);
    assert_string_equal(out, "$ engine 'a b'");
    example_command(&command);
    dgo_command_text(&command, parent, &cut);
    assert_true(cut.truncated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quote),         cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_refuses), cmocka_unit_test(test_split_without_memory),
        cmocka_unit_test(test_environment),   cmocka_unit_test(test_text),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
