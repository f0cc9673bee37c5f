/* import_ini.c - llama.cpp's presets.ini: a section a model, its keys the flags of llama-server
 * without their dashes, [*] for all. */
#include "import.h"

#include "flag_look.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    KEY_MAX = 128,
    VALUE_MAX = 4096,
    FLAG_MAX = KEY_MAX + 8,
    LINES_MAX = 2048,      /* that say something */
    COMMON_LINES_MAX = 64, /* of [*]: each is looked for in every section */
};

struct ini_line {
    uint32_t number;
    char section[KEY_MAX]; /* "" before the first */
    bool opens;            /* [section] */
    char key[KEY_MAX], value[VALUE_MAX];
};

/* The text between blanks; false: it is longer than there is room for. */
static bool take(const char *from, size_t length, char *to, size_t size)
{
    while (length && isspace((unsigned char)*from))
        from++, length--;
    while (length && isspace((unsigned char)from[length - 1]))
        length--;
    if (length >= size)
        return false;
    memcpy(to, from, length);
    to[length] = '\0';
    return true;
}

/* The next line that says something, from *at on; false: the end, or a line that is none. */
static bool next_line(const char **at, struct ini_line *line, bool *bad)
{
    *bad = false;
    while (**at) {
        const char *start = *at;
        const size_t length = strcspn(start, "\n");
        const char *first = start + strspn(start, " \t\r"), *equals;

        *at += length + (start[length] == '\n');
        line->number++;
        if (first >= start + length || *first == ';' || *first == '#')
            continue;
        line->opens = *first == '[';
        if (line->opens) {
            const char *close = memchr(first, ']', length - (size_t)(first - start));

            *bad = !close || close == first + 1 ||
                   !take(first + 1, (size_t)(close - first) - 1, line->section, KEY_MAX);
            return !*bad;
        }
        equals = memchr(first, '=', length - (size_t)(first - start));
        *bad = !equals || equals == first ||
               !take(first, (size_t)(equals - first), line->key, KEY_MAX) ||
               !take(equals + 1, length - (size_t)(equals - start) - 1, line->value, VALUE_MAX);
        return !*bad;
    }
    return false;
}

/* What the router does with a model, not how the model runs. */
static bool is_router_key(const char *key)
{
    static const char *const keys[] = {"load-on-startup", "stop-timeout", "version"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

/* 1, 0; -1 neither. */
static int truth(const char *value)
{
    static const char *const yes[] = {"true", "on", "1", "yes", "enabled"};
    static const char *const no[] = {"false", "off", "0", "no", "disabled"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcasecmp(value, yes[i]) == 0)
            return 1;
        if (strcasecmp(value, no[i]) == 0)
            return 0;
    }
    return -1;
}

/* A switch: `false` is the spelling that turns it off. */
static void take_switch(struct import_entry *entry, const struct ini_line *line, const char *flag)
{
    const int on = truth(line->value);
    enum dgo_flag_about about;
    uint32_t values;
    char off[FLAG_MAX];

    if (on == 1) {
        (void)import_flag(entry, line->number, flag, NULL);
        return;
    }
    snprintf(off, sizeof off, "--no-%s", line->key);
    if (on == 0 && dgo_flag_look(off, &about, &values))
        (void)import_flag(entry, line->number, off, NULL);
    else
        import_note(entry, line->number, "not kept: %s = %.60s", line->key, line->value);
}

static void take_key(struct import_entry *entry, const struct ini_line *line)
{
    enum dgo_flag_about about;
    char flag[FLAG_MAX];
    uint32_t values = 0;

    snprintf(flag, sizeof flag, "--%s", line->key);
    if (!dgo_flag_look(flag, &about, &values))
        snprintf(flag, sizeof flag, "-%s", line->key);
    if (is_router_key(line->key))
        import_note(entry, line->number, "not kept: %s, which is the router's", line->key);
    else if (!dgo_flag_look(flag, &about, &values))
        import_note(entry, line->number, "not kept: %s is no flag of llama-server known here",
                    line->key);
    else if (values)
        (void)import_flag(entry, line->number, flag, line->value);
    else
        take_switch(entry, line, flag);
}

/* Whether the section has a line of its own for what [*] says. */
static bool says_itself(const char *text, const char *section, const char *key)
{
    struct ini_line line = {0};
    bool bad;

    while (next_line(&text, &line, &bad))
        if (!line.opens && strcmp(line.section, section) == 0 && strcmp(line.key, key) == 0)
            return true;
    return false;
}

static bool read_section(const struct import_call *call, const char *section, uint32_t number)
{
    struct import_entry *entry = import_begin(call, section, number);
    const char *at = call->text;
    struct ini_line line = {0};
    bool bad;

    if (!entry)
        return false;
    while (next_line(&at, &line, &bad))
        if (!line.opens &&
            (strcmp(line.section, section) == 0 ||
             (strcmp(line.section, "*") == 0 && !says_itself(call->text, section, line.key))))
            take_key(entry, &line);
    import_end(entry);
    return true;
}

/* Read once for its form and its sections, then once more for each of these. */
enum dgo_status import_llama_preset(const struct import_call *call, struct dgo_error *err)
{
    const char *at = call->text;
    struct ini_line line = {0};
    uint32_t sections = 0, lines = 0, common = 0;
    bool bad;

    if (strlen(call->text) != call->length)
        return dgo_fail(err, DGO_EFORMAT, "it holds a NUL byte: no text");
    while (next_line(&at, &line, &bad)) {
        lines++;
        sections += line.opens;
        common += strcmp(line.section, "*") == 0;
    }
    if (bad)
        return dgo_fail(err, DGO_EFORMAT, "line %u: neither [name] nor key = value, or too long",
                        (unsigned)line.number);
    if (sections > IMPORT_ENTRY_MAX || lines > LINES_MAX || common > COMMON_LINES_MAX)
        return dgo_fail(err, DGO_ELIMIT, "more than %d sections, %d lines, or %d lines in [*]",
                        IMPORT_ENTRY_MAX, LINES_MAX, COMMON_LINES_MAX);
    if (!sections)
        return dgo_fail(err, DGO_EFORMAT, "it has no [section], as llama.cpp's presets.ini has");
    at = call->text;
    line = (struct ini_line){0};
    while (next_line(&at, &line, &bad))
        if (line.opens && strcmp(line.section, "*") != 0 &&
            !read_section(call, line.section, line.number))
            return dgo_fail(err, DGO_ENOMEM, "out of memory for presets");
    return DGO_OK;
}
