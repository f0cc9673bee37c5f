/* form.c - walks over the parts of a form by its boundary. */
#include "form.h"

#include "dgo_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char form_type[] = "multipart/form-data";

/* RFC 2046: bchars. */
static const char boundary_characters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "abcdefghijklmnopqrstuvwxyz'()+_,-./:=? ";

struct span {
    const char *at, *end;
};

static bool starts(struct span span, const char *word, size_t length)
{
    return (size_t)(span.end - span.at) >= length && memcmp(span.at, word, length) == 0;
}

static bool take(struct span *span, const char *word, size_t length)
{
    if (!starts(*span, word, length))
        return false;
    span->at += length;
    return true;
}

static void skip_blanks(struct span *span)
{
    while (span->at < span->end && (*span->at == ' ' || *span->at == '\t'))
        span->at++;
}

/* What stands before `word`, behind which `span` then starts. */
static bool take_until(struct span *span, const char *word, size_t length, struct span *before)
{
    const char *found = memmem(span->at, (size_t)(span->end - span->at), word, length);

    if (!found)
        return false;
    *before = (struct span){span->at, found};
    span->at = found + length;
    return true;
}

/* ---- NAME=VALUE behind a semicolon, as Content-Type and Content-Disposition have them ---- */

struct parameter {
    struct span name, value;
    bool quoted; /* value may hold a backslash before a character that is meant as it is */
};

/* False at the end; `*bad` is set where it is no parameter. */
static bool take_parameter(struct span *span, struct parameter *parameter, bool *bad)
{
    skip_blanks(span);
    if (span->at == span->end)
        return false;
    *bad = true;
    if (*span->at != ';')
        return false;
    span->at++;
    skip_blanks(span);
    if (span->at == span->end) { /* one that only ends the list */
        *bad = false;
        return false;
    }
    parameter->name.at = span->at;
    while (span->at < span->end && !strchr("=; \t\"", *span->at))
        span->at++;
    parameter->name.end = span->at;
    skip_blanks(span);
    if (parameter->name.at == parameter->name.end || !take(span, "=", 1))
        return false;
    skip_blanks(span);
    parameter->quoted = take(span, "\"", 1);
    parameter->value.at = span->at;
    if (parameter->quoted) {
        while (span->at < span->end && *span->at != '"')
            span->at += *span->at == '\\' && span->at + 1 < span->end ? 2 : 1;
        if (span->at >= span->end)
            return false;
        parameter->value.end = span->at++;
    } else {
        while (span->at < span->end && !strchr("; \t\"", *span->at))
            span->at++;
        parameter->value.end = span->at;
    }
    *bad = false;
    return true;
}

static bool is_named(const struct parameter *parameter, const char *name)
{
    const size_t length = strlen(name);

    return (size_t)(parameter->name.end - parameter->name.at) == length &&
           strncasecmp(parameter->name.at, name, length) == 0;
}

/* The value as it is meant; false where it does not fit. */
static bool copy_value(const struct parameter *parameter, char *to, size_t size)
{
    size_t length = 0;

    for (const char *from = parameter->value.at; from < parameter->value.end; from++) {
        if (parameter->quoted && *from == '\\' && from + 1 < parameter->value.end)
            from++;
        if (length + 1 >= size)
            return false;
        to[length++] = *from;
    }
    to[length] = '\0';
    return true;
}

/* ---- the head of the request ---- */

bool form_is(const char *type)
{
    const size_t length = sizeof form_type - 1;

    return strncasecmp(type, form_type, length) == 0 && strchr("; \t", type[length]);
}

enum dgo_status form_boundary(const char *type, char boundary[FORM_BOUNDARY_MAX + 1],
                              struct dgo_error *err)
{
    struct span rest = {type + sizeof form_type - 1, type + strlen(type)};
    struct parameter parameter;
    char found[FORM_BOUNDARY_MAX + 1] = "";
    bool bad = false;

    if (!form_is(type))
        return dgo_fail(err, DGO_EUSAGE, "Content-Type is not %s", form_type);
    while (take_parameter(&rest, &parameter, &bad)) {
        size_t length;

        if (!is_named(&parameter, "boundary"))
            continue;
        if (found[0])
            return dgo_fail(err, DGO_EUSAGE, "Content-Type has two boundaries");
        if (!copy_value(&parameter, found, sizeof found))
            return dgo_fail(err, DGO_EUSAGE, "a boundary has at most %d characters",
                            FORM_BOUNDARY_MAX);
        length = strlen(found);
        if (length == 0 || strspn(found, boundary_characters) != length || found[length - 1] == ' ')
            return dgo_fail(err, DGO_EUSAGE, "the boundary in Content-Type is none");
    }
    if (bad || !found[0])
        return dgo_fail(err, DGO_EUSAGE, "Content-Type needs a boundary: %s; boundary=...",
                        form_type);
    memcpy(boundary, found, sizeof found);
    return DGO_OK;
}

void form_type_text(const char *boundary, char text[FORM_TYPE_MAX])
{
    const char *quote = strpbrk(boundary, "(),/:=? ") ? "\"" : ""; /* RFC 2045: tspecials */

    snprintf(text, FORM_TYPE_MAX, "%s; boundary=%s%s%s", form_type, quote, boundary, quote);
}

/* ---- the parts ---- */

/* Where the next delimiter line is: behind a line break, or at the very start. */
static bool take_delimiter(struct span *span, const char *delimiter, size_t length, bool first,
                           struct span *before)
{
    /* delimiter is "\r\n--BOUNDARY" */
    if (first && take(span, delimiter + 2, length - 2)) {
        *before = (struct span){span->at, span->at};
        return true;
    }
    return take_until(span, delimiter, length, before);
}

/* Whether the head of a part says that it is the field `name`, and no file. */
static bool is_field(struct span head, const char *name)
{
    static const char disposition[] = "content-disposition:";
    struct span line;

    while (head.at < head.end) {
        struct parameter parameter;
        bool named = false, is_file = false, bad = false;

        if (!take_until(&head, "\r\n", 2, &line)) {
            line = head;
            head.at = head.end;
        }
        if ((size_t)(line.end - line.at) < sizeof disposition - 1 ||
            strncasecmp(line.at, disposition, sizeof disposition - 1) != 0)
            continue;
        line.at += sizeof disposition - 1;
        skip_blanks(&line);
        while (line.at < line.end && *line.at != ';') /* "form-data" */
            line.at++;
        while (take_parameter(&line, &parameter, &bad)) {
            char value[64];

            is_file |= is_named(&parameter, "filename") || is_named(&parameter, "filename*");
            named |= is_named(&parameter, "name") && copy_value(&parameter, value, sizeof value) &&
                     strcmp(value, name) == 0;
        }
        return named && !is_file && !bad;
    }
    return false;
}

static bool is_plain(struct span text)
{
    while (text.at < text.end) {
        uint32_t character;
        const uint32_t length = dgo_utf8_decode(text.at, (size_t)(text.end - text.at), &character);

        if (length == 0 || character == 0)
            return false;
        text.at += length;
    }
    return true;
}

enum dgo_status form_text(const char *body, size_t length, const char *boundary, const char *name,
                          char *value, size_t value_size, struct dgo_error *err)
{
    struct span rest = {body, body + length}, head, content;
    char delimiter[FORM_BOUNDARY_MAX + 8];
    const size_t size = (size_t)snprintf(delimiter, sizeof delimiter, "\r\n--%s", boundary);

    if (!take_delimiter(&rest, delimiter, size, true, &content))
        return dgo_fail(err, DGO_EFORMAT, "the body has not the boundary that its type names");
    for (uint32_t part = 0; part < FORM_PARTS_MAX; part++) {
        if (starts(rest, "--", 2))
            return dgo_fail(err, DGO_ENOTFOUND, "the form has no field \"%s\"", name);
        skip_blanks(&rest); /* RFC 2046 lets a line be padded */
        if (!take(&rest, "\r\n", 2))
            return dgo_fail(err, DGO_EFORMAT, "the form has a boundary that ends no line");
        if (take(&rest, "\r\n", 2))
            head = (struct span){rest.at, rest.at}; /* a part without a head */
        else if (!take_until(&rest, "\r\n\r\n", 4, &head) || head.end - head.at > FORM_HEAD_MAX)
            return dgo_fail(err, DGO_EFORMAT, "a part of the form has a head without end");
        rest.at -= 2; /* the line break before a delimiter may be the one that ends the head */
        if (!take_delimiter(&rest, delimiter, size, false, &content))
            return dgo_fail(err, DGO_EFORMAT, "the form ends in the middle of a part");
        if (!is_field(head, name))
            continue;
        content.at += content.at < content.end ? 2 : 0;
        if (!is_plain(content))
            return dgo_fail(err, DGO_EFORMAT, "\"%s\" is no text", name);
        if ((size_t)(content.end - content.at) >= value_size)
            return dgo_fail(err, DGO_ELIMIT, "a name has at most %zu bytes", value_size - 1);
        memcpy(value, content.at, (size_t)(content.end - content.at));
        value[content.end - content.at] = '\0';
        return DGO_OK;
    }
    return dgo_fail(err, DGO_ELIMIT, "a form has at most %d parts", FORM_PARTS_MAX);
}
