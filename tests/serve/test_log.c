/* test_log.c - what an engine says again and again is counted, not kept, in memory and in the file.
 */
#include "log.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE "I srv  update_slots: all slots are idle"

static const struct {
    const char *name, *said, *want; /* lines, each ended by '\n' */
} rows[] = {
    {"an idle engine",
     "0.01.000.000 " IDLE "\n0.02.000.000 " IDLE "\n0.03.000.000 " IDLE "\n0.04.000.000 " IDLE
     "\n0.05.000.000 I srv  done\n",
     "0.01.000.000 " IDLE "\n0.02.000.000 " IDLE
     "\n(said 2 times more)\n0.05.000.000 I srv  done\n"},
    {"two in a row stay", "a\na\nb\nb\na\n", "a\na\nb\nb\na\n"},
    {"in turns they stay", "a\nb\na\nb\na\nb\n", "a\nb\na\nb\na\nb\n"},
    {"other numbers are other lines", "1 %\n2 %\n3 %\n4 %\n", "1 %\n2 %\n3 %\n4 %\n"},
    {"no time of llama.cpp's", "0.1.2 x\n0.1.3 x\n0.1.4 x\n", "0.1.2 x\n0.1.3 x\n0.1.4 x\n"},
    {"a time alone", "0.01.000.000 \n0.02.000.000 \n0.03.000.000 \n.\n",
     "0.01.000.000 \n0.02.000.000 \n(said 1 times more)\n.\n"},
    {"counted anew", "a\na\na\nb\na\na\na\nc\n",
     "a\na\n(said 1 times more)\nb\na\na\n(said 1 times more)\nc\n"},
};

static void add_lines(struct log *log, const char *lines)
{
    char line[128];

    for (const char *at = lines; *at; at += strlen(line) + 1) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        log_add(log, line);
    }
}

static void read_back(const struct log *log, char *text, size_t size)
{
    json_t *lines = log_lines(log, 1, LOG_LINES), *line;
    size_t at;

    text[0] = '\0';
    json_array_foreach(lines, at, line)
    {
        const size_t length = strlen(text);

        snprintf(text + length, size - length, "%s\n",
                 json_string_value(json_object_get(line, "text")));
    }
    json_decref(lines);
}

static void test_rows(void **state)
{
    char path[] = "/tmp/dgo-log-XXXXXX", text[1024];
    const int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct log *log = log_new(path);
        size_t length;
        FILE *file;

        assert_non_null(log);
        assert_int_equal(truncate(path, 0), 0);
        add_lines(log, rows[i].said);
        read_back(log, text, sizeof text);
        CHECK_ROW(strcmp(text, rows[i].want) == 0, rows[i].name);
        file = fopen(path, "re");
        assert_non_null(file);
        length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[length] = '\0';
        CHECK_ROW(strcmp(text, rows[i].want) == 0, rows[i].name);
        log_free(log);
    }
    unlink(path);
}

/* A start of its own: what the one before said is told before it. */
static void test_new_start(void **state)
{
    struct log *log = log_new(NULL);
    char text[1024];

    (void)state;
    assert_non_null(log);
    add_lines(log, "a\na\na\na\n");
    log_begin(log);
    add_lines(log, "a\n");
    read_back(log, text, sizeof text);
    assert_string_equal(text, "a\na\n(said 2 times more)\na\n");
    log_free(log);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_new_start),
};
CHECK_MAIN(tests)
