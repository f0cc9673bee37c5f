/* pass.c - reads the text format of engines line by line and writes it again by families. */
#include "pass.h"

#include "dgo_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct sample {
    struct sample *next;
    const char *suffix; /* "_bucket", "_sum", "_count", "" */
    char *labels, *value;
};

struct family {
    char name[OM_NAME_MAX], type[16];
    char *help; /* or NULL */
    struct sample *first, *last;
};

struct pass {
    uint32_t family_count, sample_count;
    struct family family[PASS_FAMILY_MAX];
};

struct pass *pass_new(void)
{
    return calloc(1, sizeof(struct pass));
}

void pass_free(struct pass *pass)
{
    for (uint32_t i = 0; pass && i < pass->family_count; i++) {
        for (struct sample *sample = pass->family[i].first, *next; sample; sample = next) {
            next = sample->next;
            free(sample->labels);
            free(sample->value);
            free(sample);
        }
        free(pass->family[i].help);
    }
    free(pass);
}

/* [a-zA-Z_:][a-zA-Z0-9_:]*, with '_' for ':'; returns its length in the text, 0: none. */
static size_t read_name(const char *at, char name[OM_NAME_MAX])
{
    size_t length = 0;

    while (isalnum((unsigned char)at[length]) || at[length] == '_' || at[length] == ':') {
        if (length + 1 >= OM_NAME_MAX)
            return 0;
        name[length] = at[length] == ':' ? '_' : at[length];
        length++;
    }
    name[length] = '\0';
    return length && !isdigit((unsigned char)name[0]) ? length : 0;
}

static bool strip(char *name, const char *suffix)
{
    const size_t length = strlen(name), tail = strlen(suffix);

    if (length <= tail || strcmp(name + length - tail, suffix) != 0)
        return false;
    name[length - tail] = '\0';
    return true;
}

static struct family *find(struct pass *pass, const char *name, bool make)
{
    struct family *family;

    for (uint32_t i = 0; i < pass->family_count; i++)
        if (strcmp(pass->family[i].name, name) == 0)
            return &pass->family[i];
    if (!make || pass->family_count == PASS_FAMILY_MAX)
        return NULL;
    family = &pass->family[pass->family_count++];
    (void)dgo_text_copy(family->name, sizeof family->name, name);
    strcpy(family->type, "unknown");
    return family;
}

/* "# TYPE name counter", "# HELP name text" */
static void read_comment(struct pass *pass, const char *line)
{
    const bool is_type = strncmp(line, "# TYPE ", 7) == 0;
    char name[OM_NAME_MAX];
    struct family *family;
    size_t length;

    if (!is_type && strncmp(line, "# HELP ", 7) != 0)
        return;
    length = read_name(line + 7, name);
    if (length == 0 || line[7 + length] != ' ')
        return;
    (void)strip(name, "_total"); /* what the family is called where it is a counter */
    family = find(pass, name, true);
    if (family && is_type) {
        static const char *const types[] = {"gauge", "counter", "histogram", "summary"};

        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
            if (strcmp(types[i], line + 8 + length) == 0)
                strcpy(family->type, types[i]);
    } else if (family && !family->help) {
        char help[256];

        dgo_text_copy_escaped(help, sizeof help, line + 8 + length, strlen(line + 8 + length));
        for (char *c = help; *c; c++)
            *c = *c == '\\' ? '/' : *c;
        family->help = strdup(help);
    }
}

/* {a="b",...}: its length with both braces, 0 when it is not well formed. */
static size_t read_labels(const char *at)
{
    size_t i = 1;

    while (at[i] && at[i] != '}') {
        const size_t name = strspn(at + i, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789_");

        i += name;
        if (name == 0 || at[i] != '=' || at[i + 1] != '"')
            return 0;
        for (i += 2; at[i] != '"'; i++) {
            if (at[i] == '\\')
                i++;
            if (!at[i] || (unsigned char)at[i] < ' ')
                return 0;
        }
        i++;
        if (at[i] == ',')
            i++;
        else if (at[i] != '}')
            return 0;
    }
    return at[i] == '}' ? i + 1 : 0;
}

static void write_ours(struct dgo_text *text, const struct om_label *labels)
{
    for (const struct om_label *label = labels; label->name; label++) {
        char clean[256];

        dgo_text_copy_escaped(clean, sizeof clean, label->value, strlen(label->value));
        dgo_text_addf(text, "%s%s=\"", label == labels ? "" : ",", label->name);
        for (const char *c = clean; *c; c++)
            dgo_text_addf(text, "%s%c", *c == '\\' || *c == '"' ? "\\" : "", *c);
        dgo_text_add(text, "\"");
    }
}

/* The family of a sample and what follows the family's name in its own. */
static struct family *family_of(struct pass *pass, const char *name, const char **suffix)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    char stem[OM_NAME_MAX];
    struct family *family;

    *suffix = "";
    (void)dgo_text_copy(stem, sizeof stem, name);
    (void)strip(stem, "_total");
    family = find(pass, stem, false);
    for (size_t i = 0; !family && i < sizeof suffixes / sizeof suffixes[0]; i++) {
        (void)dgo_text_copy(stem, sizeof stem, name);
        if (!strip(stem, suffixes[i]))
            continue;
        family = find(pass, stem, false);
        *suffix = suffixes[i];
    }
    return family ? family : find(pass, name, true);
}

static void read_sample(struct pass *pass, const char *line, const struct om_label *labels)
{
    char name[OM_NAME_MAX], joined[PASS_LINE_MAX];
    struct dgo_text text = DGO_TEXT(joined);
    size_t at = read_name(line, name);
    const size_t own = at && line[at] == '{' ? read_labels(line + at) : 0;
    struct family *family;
    struct sample *sample;
    const char *suffix;
    char *end;

    if (at == 0 || (line[at] == '{' && own == 0) || pass->sample_count == PASS_SAMPLE_MAX)
        return;
    write_ours(&text, labels);
    if (own > 2) {
        dgo_text_add(&text, ",");
        dgo_text_add_bytes(&text, line + at + 1, own - 2 - (line[at + own - 2] == ','));
    }
    at += own;
    if (line[at] != ' ' || text.truncated)
        return;
    (void)strtod(line + at + 1, &end);
    if (end == line + at + 1 || (*end && *end != ' '))
        return;
    family = family_of(pass, name, &suffix);
    sample = family ? calloc(1, sizeof *sample) : NULL;
    if (!sample)
        return;
    sample->suffix = suffix;
    sample->labels = strdup(joined);
    sample->value = strndup(line + at + 1, (size_t)(end - line) - at - 1);
    if (family->last)
        family->last->next = sample;
    else
        family->first = sample;
    family->last = sample;
    pass->sample_count++;
}

void pass_add(struct pass *pass, const char *text, size_t length, const struct om_label *labels)
{
    const char *end = text + length;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const size_t size = (size_t)((newline ? newline : end) - text);
        char line[PASS_LINE_MAX];

        if (size > 0 && size < sizeof line && !memchr(text, '\0', size)) {
            memcpy(line, text, size);
            line[size - (line[size - 1] == '\r')] = '\0';
            if (line[0] == '#')
                read_comment(pass, line);
            else
                read_sample(pass, line, labels);
        }
        text += size + 1;
    }
}

void pass_write(const struct pass *pass, struct om *om)
{
    for (uint32_t i = 0; i < pass->family_count; i++) {
        const struct family *family = &pass->family[i];
        const bool counter = strcmp(family->type, "counter") == 0;
        const char *suffix = counter ? "_total" : "";
        const char *type =
            !om->strict && strcmp(family->type, "unknown") == 0 ? "untyped" : family->type;

        if (!family->first)
            continue;
        fprintf(om->out, "# HELP %s%s %s\n", family->name, om->strict ? "" : suffix,
                family->help ? family->help : "");
        fprintf(om->out, "# TYPE %s%s %s\n", family->name, om->strict ? "" : suffix, type);
        for (const struct sample *sample = family->first; sample; sample = sample->next)
            if (sample->labels && sample->value)
                fprintf(om->out, "%s%s%s{%s} %s\n", family->name, suffix, sample->suffix,
                        sample->labels, sample->value);
    }
}
