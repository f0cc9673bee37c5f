/* peek.c - walks over JSON by its strings and brackets only. */
#include "peek.h"

#include "dgo_text.h"

#include <jansson.h>
#include <string.h>

struct walk {
    const char *at, *end;
};

static void skip_space(struct walk *walk)
{
    while (walk->at < walk->end && strchr(" \t\r\n", *walk->at) && *walk->at)
        walk->at++;
}

static bool take(struct walk *walk, char wanted)
{
    skip_space(walk);
    if (walk->at == walk->end || *walk->at != wanted)
        return false;
    walk->at++;
    return true;
}

/* A string with its quotes; false where there is none or it has no end. */
static bool take_string(struct walk *walk, const char **start, size_t *length)
{
    skip_space(walk);
    *start = walk->at;
    if (!take(walk, '"'))
        return false;
    while (walk->at < walk->end && *walk->at != '"')
        walk->at += *walk->at == '\\' && walk->at + 1 < walk->end ? 2 : 1;
    if (walk->at >= walk->end)
        return false;
    walk->at++;
    *length = (size_t)(walk->at - *start);
    return true;
}

/* Any value: to the comma or bracket that ends it, at the depth where it began. */
static bool skip_value(struct walk *walk)
{
    size_t depth = 0;

    for (;;) {
        const char *start;
        size_t length;

        skip_space(walk);
        if (walk->at >= walk->end)
            return false;
        switch (*walk->at) {
        case '"':
            if (!take_string(walk, &start, &length))
                return false;
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return true;
            depth--;
            break;
        case ',':
            if (depth == 0)
                return true;
            break;
        default:
            break;
        }
        walk->at++;
    }
}

/* A string literal as the text it means. */
static enum dgo_status decode(const char *literal, size_t length, char *text, size_t size,
                              struct dgo_error *err)
{
    json_t *value = json_loadb(literal, length, JSON_DECODE_ANY, NULL);
    const char *decoded = json_string_value(value);
    enum dgo_status status = DGO_OK;

    if (!decoded)
        status = dgo_fail(err, DGO_EFORMAT, "the body is no valid JSON");
    else if (!dgo_text_copy(text, size, decoded))
        status = dgo_fail(err, DGO_ELIMIT, "a name has at most %zu bytes", size - 1);
    json_decref(value);
    return status;
}

enum dgo_status peek_text(const char *text, size_t length, const char *key, char *value,
                          size_t value_size, struct dgo_error *err)
{
    struct walk walk = {text, text + length};
    const size_t key_length = strlen(key);
    const char *start;
    size_t size;

    if (!take(&walk, '{'))
        return dgo_fail(err, DGO_EFORMAT, "the body is no JSON object");
    do {
        bool found;

        if (take(&walk, '}'))
            break;
        if (!take_string(&walk, &start, &size) || !take(&walk, ':'))
            return dgo_fail(err, DGO_EFORMAT, "the body is no valid JSON");
        found = size == key_length + 2 && memcmp(start + 1, key, key_length) == 0;
        if (found) {
            if (!take_string(&walk, &start, &size))
                return dgo_fail(err, DGO_EFORMAT, "\"%s\" is no text", key);
            return decode(start, size, value, value_size, err);
        }
        if (!skip_value(&walk))
            return dgo_fail(err, DGO_EFORMAT, "the body is no valid JSON");
    } while (take(&walk, ','));
    return dgo_fail(err, DGO_ENOTFOUND, "the body has no \"%s\"", key);
}
