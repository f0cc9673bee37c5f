/* prometheus.c - reads metrics text, line by line. */
#include "prometheus.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_name(char c, bool first)
{
    return isalpha((unsigned char)c) || c == '_' || c == ':' ||
           (!first && isdigit((unsigned char)c));
}

static size_t skip_blanks(const char *line, size_t length, size_t at)
{
    while (at < length && (line[at] == ' ' || line[at] == '\t'))
        at++;
    return at;
}

/* Past the closing brace, which may stand in a quoted value too; `length` when there is none. */
static size_t end_of_labels(const char *line, size_t length, size_t at)
{
    bool quoted = false;

    for (; at < length; at++) {
        if (quoted && line[at] == '\\')
            at++;
        else if (line[at] == '"')
            quoted = !quoted;
        else if (!quoted && line[at] == '}')
            return at + 1;
    }
    return length;
}

/* A number of the machine's making is shorter; what follows it is a time. */
static bool read_value(const char *line, size_t length, double *value)
{
    char text[64];
    size_t used = 0;
    char *end = NULL;

    while (used < length && used + 1 < sizeof text && !isspace((unsigned char)line[used])) {
        text[used] = line[used];
        used++;
    }
    if (used == 0 || (used < length && !isspace((unsigned char)line[used])))
        return false;
    text[used] = '\0';
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

static bool read_line(const char *line, size_t length, struct prometheus_sample *sample)
{
    size_t at = 0;

    *sample = (struct prometheus_sample){.name = line};
    while (at < length && is_name(line[at], at == 0))
        at++;
    sample->name_length = at;
    if (at == 0)
        return false;
    at = skip_blanks(line, length, at);
    if (at < length && line[at] == '{') {
        const size_t end = end_of_labels(line, length, at + 1);

        if (line[end - 1] != '}' || end == at + 1)
            return false;
        sample->labels = line + at + 1;
        sample->labels_length = end - at - 2;
        at = end;
    }
    at = skip_blanks(line, length, at);
    return read_value(line + at, length - at, &sample->value);
}

bool prometheus_next(struct prometheus *metrics, struct prometheus_sample *sample)
{
    while (metrics->at < metrics->length) {
        const char *line = metrics->text + metrics->at;
        const char *end = memchr(line, '\n', metrics->length - metrics->at);
        const size_t length = end ? (size_t)(end - line) : metrics->length - metrics->at;

        metrics->at += length + (end != NULL);
        if (read_line(line, length, sample))
            return true;
    }
    return false;
}

bool prometheus_is(const struct prometheus_sample *sample, const char *name)
{
    return strlen(name) == sample->name_length &&
           memcmp(name, sample->name, sample->name_length) == 0;
}

bool prometheus_label(const struct prometheus_sample *sample, const char *name, const char **value,
                      size_t *value_length)
{
    const size_t wanted = strlen(name);
    size_t at = 0;

    while (sample->labels && at < sample->labels_length) {
        const char *labels = sample->labels;
        const size_t length = sample->labels_length;
        size_t start, end;

        while (at < length && (labels[at] == ',' || labels[at] == ' '))
            at++;
        start = at;
        while (at < length && is_name(labels[at], at == start))
            at++;
        end = at;
        if (at + 1 >= length || labels[at] != '=' || labels[at + 1] != '"')
            return false;
        *value = labels + at + 2;
        for (at += 2; at < length && labels[at] != '"'; at++)
            if (labels[at] == '\\')
                at++;
        if (at >= length)
            return false;
        *value_length = (size_t)(labels + at - *value);
        at++;
        if (end - start == wanted && memcmp(labels + start, name, wanted) == 0)
            return true;
    }
    return false;
}
