/* Any words come back from their shell text as they were, by our reading and by the shell's. */
#include "engine_check.h"

#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 8, WORD_BYTES_MAX = 24, ROUNDS = 3000, SHELL_ROUNDS = 150 };

struct words {
    uint32_t count;
    const char *at[WORDS_MAX];
    char bytes[WORDS_MAX][WORD_BYTES_MAX + 1];
};

/* Half of the words are made of the characters that matter to a shell. */
static void random_words(uint64_t *seed, struct words *words)
{
    static const char sharp[] = "'\"\\$` \t\n*?#~=;&|<>()[]{}!-";

    words->count = (uint32_t)check_below(seed, WORDS_MAX + 1);
    for (uint32_t w = 0; w < words->count; w++) {
        const uint64_t length = check_below(seed, WORD_BYTES_MAX + 1);
        const bool is_sharp = check_below(seed, 2);

        for (uint64_t i = 0; i < length; i++)
            words->bytes[w][i] = is_sharp ? sharp[check_below(seed, sizeof sharp - 1)]
                                          : (char)(1 + check_below(seed, 255));
        words->bytes[w][length] = '\0';
        words->at[w] = words->bytes[w];
    }
}

static void write_words(const struct words *words, struct dgo_text *text)
{
    for (uint32_t w = 0; w < words->count; w++) {
        dgo_text_add(text, w ? " " : "");
        dgo_word_quote(text, words->at[w]);
    }
    assert_false(text->truncated);
}

/* What /bin/sh makes of the text as arguments; each ends in a NUL. */
static size_t ask_shell(const char *text, char *output, size_t size)
{
    char script[8192];
    size_t length = 0;
    ssize_t got;
    int pipe_fds[2], status;
    pid_t pid;

    /* The first word keeps printf from printing one for no words. */
    snprintf(script, sizeof script, "printf '%%s\\0' first %s", text);
    assert_int_equal(pipe(pipe_fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    while ((got = read(pipe_fds[0], output + length, size - length)) > 0)
        length += (size_t)got;
    close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return length;
}

static void check_with_shell(const char *text, uint32_t count, const char *const *words)
{
    char output[4096];
    const size_t length = ask_shell(text, output, sizeof output);
    const char *at = output + strlen("first") + 1;

    for (uint32_t w = 0; w < count; w++) {
        if (at >= output + length || strcmp(at, words[w]) != 0)
            fail_msg("sh reads word %u of <%s> differently", (unsigned)w, text);
        at += strlen(at) + 1;
    }
    assert_true(at == output + length);
}

static void test_identity(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct words words;
        char line[4096];
        struct dgo_text text = DGO_TEXT(line);
        struct dgo_arena arena = {0};
        const char *read[WORDS_MAX];
        uint32_t count = 0;

        random_words(&seed, &words);
        write_words(&words, &text);
        assert_int_equal(dgo_words_split(line, &arena, &count, read, WORDS_MAX, NULL), DGO_OK);
        assert_int_equal(count, words.count);
        for (uint32_t w = 0; w < count; w++)
            assert_string_equal(read[w], words.at[w]);
        dgo_arena_done(&arena);
        if (round < SHELL_ROUNDS)
            check_with_shell(line, words.count, words.at);
    }
}

/* Text that we accept, the shell reads in the same way. */
static void test_no_other_reading(void **state)
{
    static const char alphabet[] = "aab-1 \t'\"\\\n#{}!^,.%@+:$*";
    uint64_t seed = check_seed();
    int asked = 0;

    (void)state;
    for (int round = 0; round < ROUNDS && asked < SHELL_ROUNDS; round++) {
        const uint64_t length = check_below(&seed, 16);
        struct dgo_arena arena = {0};
        const char *read[WORDS_MAX];
        uint32_t count = 0;
        char line[17];

        for (uint64_t i = 0; i < length; i++)
            line[i] = alphabet[check_below(&seed, sizeof alphabet - 1)];
        line[length] = '\0';
        if (dgo_words_split(line, &arena, &count, read, WORDS_MAX, NULL) == DGO_OK) {
            check_with_shell(line, count, read);
            asked++;
        }
        dgo_arena_done(&arena);
    }
    assert_true(asked > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_no_other_reading),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
