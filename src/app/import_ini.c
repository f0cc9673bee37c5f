/* import_ini.c - llama.cpp's presets.ini: a section a model, its keys the flags of llama-server
 * without their dashes, [*] for all. */
#include "import.h"

#include "dgo_text.h"
#include "flag_look.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
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
    bool opens;          /* [section] */
    const char *section; /* "" before the first */
    const char *key, *value;
};

/* The lines that say something; their words are cut out of `text`. */
struct ini {
    char *text;
    struct ini_line *line;
    uint32_t count;
};

/* The text between blanks, ended where it lies; NULL: `size` bytes do not hold it. */
static const char *cut_out(char *from, size_t length, size_t size)
{
    while (length && isspace((unsigned char)*from))
        from++, length--;
    while (length && isspace((unsigned char)from[length - 1]))
        length--;
    from[length] = '\0';
    return length < size ? from : NULL;
}

/* What stands between `first` and `end`; false: neither [name] nor key = value, or too long. */
static bool read_line(char *first, char *end, struct ini_line *line)
{
    char *mark = memchr(first, *first == '[' ? ']' : '=', (size_t)(end - first));

    line->opens = *first == '[';
    if (!mark || mark == first || (line->opens && mark == first + 1))
        return false;
    if (line->opens) {
        line->section = cut_out(first + 1, (size_t)(mark - first) - 1, KEY_MAX);
        return line->section != NULL;
    }
    line->key = cut_out(first, (size_t)(mark - first), KEY_MAX);
    line->value = cut_out(mark + 1, (size_t)(end - mark) - 1, VALUE_MAX);
    return line->key && line->value;
}

static enum dgo_status too_much(struct dgo_error *err)
{
    return dgo_fail(err, DGO_ELIMIT, "more than %d sections, %d lines, or %d lines in [*]",
                    IMPORT_ENTRY_MAX, LINES_MAX, COMMON_LINES_MAX);
}

static enum dgo_status read_lines(struct ini *ini, struct dgo_error *err)
{
    const char *section = "";
    uint32_t number = 0, sections = 0, common = 0;
    size_t length;

    for (char *at = ini->text; *at; at += length) {
        struct ini_line line = {.section = section};
        char *const end = at + strcspn(at, "\n"), *const first = at + strspn(at, " \t\r");

        length = (size_t)(end - at) + (*end == '\n');
        line.number = ++number;
        if (first >= end || *first == ';' || *first == '#')
            continue;
        if (!read_line(first, end, &line))
            return dgo_fail(err, DGO_EFORMAT,
                            "line %u: neither [name] nor key = value, or too long",
                            (unsigned)number);
        section = line.section;
        sections += line.opens;
        common += strcmp(section, "*") == 0;
        if (ini->count == LINES_MAX || sections > IMPORT_ENTRY_MAX || common > COMMON_LINES_MAX)
            return too_much(err);
        ini->line[ini->count++] = line;
    }
    if (!sections)
        return dgo_fail(err, DGO_EFORMAT, "it has no [section], as llama.cpp's presets.ini has");
    return DGO_OK;
}

/* What the router does with a model, not how the model runs. */
static bool is_router_key(const char *key)
{
    static const char *const keys[] = {"load-on-startup", "stop-timeout", "version"};

    return DGO_TEXT_IN(key, keys);
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
static bool says_itself(const struct ini *ini, const char *section, const char *key)
{
    for (uint32_t i = 0; i < ini->count; i++) {
        const struct ini_line *line = &ini->line[i];

        if (!line->opens && strcmp(line->key, key) == 0 && strcmp(line->section, section) == 0)
            return true;
    }
    return false;
}

static bool read_section(const struct import_call *call, const struct ini *ini,
                         const struct ini_line *head)
{
    struct import_entry *entry = import_begin(call, head->section, head->number);

    if (!entry)
        return false;
    for (uint32_t i = 0; i < ini->count; i++) {
        const struct ini_line *line = &ini->line[i];

        if (!line->opens &&
            (strcmp(line->section, head->section) == 0 ||
             (strcmp(line->section, "*") == 0 && !says_itself(ini, head->section, line->key))))
            take_key(entry, line);
    }
    import_end(entry);
    return true;
}

enum dgo_status import_llama_preset(const struct import_call *call, struct dgo_error *err)
{
    struct ini ini = {0};
    enum dgo_status status = DGO_ENOMEM;

    if (strlen(call->text) != call->length)
        return dgo_fail(err, DGO_EFORMAT, "it holds a NUL byte: no text");
    ini.text = strdup(call->text);
    ini.line = calloc(LINES_MAX, sizeof *ini.line);
    if (ini.text && ini.line)
        status = read_lines(&ini, err);
    for (uint32_t i = 0; i < ini.count && status == DGO_OK; i++) {
        const struct ini_line *line = &ini.line[i];

        if (line->opens && strcmp(line->section, "*") != 0 && !read_section(call, &ini, line))
            status = DGO_ENOMEM;
    }
    if (status == DGO_ENOMEM)
        (void)dgo_fail(err, DGO_ENOMEM, "out of memory for presets");
    free(ini.line);
    free(ini.text);
    return status;
}
