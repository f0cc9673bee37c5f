/* json.c - a strict JSON walker with bounded memory. */
#include "dgo_json.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct walk {
    const char *text;
    size_t length, at;
    uint64_t base;
    dgo_json_fn each;
    void *data;
    struct dgo_error *err;
    uint32_t depth;
    bool in_array[DGO_JSON_DEPTH_MAX];
    struct dgo_json_step step[DGO_JSON_DEPTH_MAX];
    char string[DGO_JSON_TEXT_MAX];
};

static enum dgo_status wrong(const struct walk *walk, size_t at, const char *what)
{
    return dgo_fail(walk->err, DGO_EFORMAT, "byte %" PRIu64 ": %s", walk->base + at, what);
}

static void skip_space(struct walk *walk)
{
    while (walk->at < walk->length && memchr(" \t\r\n", walk->text[walk->at], 4))
        walk->at++;
}

/* The byte at hand; 0 at the end, which no JSON holds outside of strings. */
static char here(const struct walk *walk)
{
    return walk->at < walk->length ? walk->text[walk->at] : '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- strings ---- */

/* A string on its way into a buffer: what does not fit is counted, not kept. */
struct sink {
    char *to;
    size_t size, length;
};

static void put(struct sink *sink, const char *bytes, size_t count)
{
    if (sink->length < sink->size - 1 && count <= sink->size - 1 - sink->length)
        memcpy(sink->to + sink->length, bytes, count);
    else if (sink->length < sink->size) /* cut before a character, never inside one */
        memset(sink->to + sink->length, 0, sink->size - sink->length);
    sink->length += count;
}

static void put_code_point(struct sink *sink, uint32_t c)
{
    char bytes[4];
    size_t count;

    if (c < 0x80) {
        bytes[0] = (char)c;
        count = 1;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xc0 | c >> 6);
        bytes[1] = (char)(0x80 | (c & 0x3f));
        count = 2;
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xe0 | c >> 12);
        bytes[1] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (c & 0x3f));
        count = 3;
    } else {
        bytes[0] = (char)(0xf0 | c >> 18);
        bytes[1] = (char)(0x80 | (c >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[3] = (char)(0x80 | (c & 0x3f));
        count = 4;
    }
    put(sink, bytes, count);
}

/* Four hexadecimal digits at `at`; UINT32_MAX when they are none. */
static uint32_t hex4(const struct walk *walk, size_t at)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    uint32_t value = 0;

    for (size_t i = at; i < at + 4; i++) {
        const char *found =
            i < walk->length && walk->text[i] ? strchr(digits, walk->text[i]) : NULL;

        if (!found)
            return UINT32_MAX;
        value = value << 4 | ((uint32_t)(found - digits) & 15);
    }
    return value;
}

/* After a backslash. */
static enum dgo_status read_escape(struct walk *walk, struct sink *sink)
{
    static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const size_t start = walk->at - 1;
    const char *found;
    uint32_t c;

    if (here(walk) == 'u') {
        c = hex4(walk, walk->at + 1);
        walk->at += 5;
        if (c >= 0xd800 && c < 0xdc00 && walk->at + 1 < walk->length &&
            walk->text[walk->at] == '\\' && walk->text[walk->at + 1] == 'u') {
            const uint32_t low = hex4(walk, walk->at + 2);

            if (low < 0xdc00 || low >= 0xe000)
                return wrong(walk, start, "half of a surrogate pair");
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            walk->at += 6;
        }
        if (c == UINT32_MAX || c == 0 || (c >= 0xd800 && c < 0xe000))
            return wrong(walk, start, "a \\u escape that is no character");
        put_code_point(sink, c);
        return DGO_OK;
    }
    found = here(walk) ? strchr(plain, here(walk)) : NULL;
    if (!found)
        return wrong(walk, start, "an unknown escape in a string");
    put(sink, &means[found - plain], 1);
    walk->at++;
    return DGO_OK;
}

/* At the opening quote. */
static enum dgo_status read_string(struct walk *walk, struct sink *sink)
{
    const size_t start = walk->at++;
    enum dgo_status status = DGO_OK;

    while (status == DGO_OK && walk->at < walk->length) {
        const unsigned char c = (unsigned char)walk->text[walk->at];
        uint32_t code_point, count;

        if (c == '"') {
            walk->at++;
            sink->to[sink->length < sink->size ? sink->length : sink->size - 1] = '\0';
            return DGO_OK;
        }
        if (c < 0x20)
            return wrong(walk, walk->at, "a control character in a string");
        if (c == '\\') {
            walk->at++;
            status = read_escape(walk, sink);
            continue;
        }
        count = dgo_utf8_decode(walk->text + walk->at, walk->length - walk->at, &code_point);
        if (count == 0)
            return wrong(walk, walk->at, "invalid UTF-8 in a string");
        put(sink, walk->text + walk->at, count);
        walk->at += count;
    }
    return status == DGO_OK ? wrong(walk, start, "a string without an end") : status;
}

/* ---- numbers and words ---- */

static enum dgo_status read_number(struct walk *walk, struct dgo_json_value *value)
{
    enum { NUMBER_MAX = 64 };
    const size_t start = walk->at;
    char digits[NUMBER_MAX];
    bool whole = here(walk) != '-';
    size_t length;

    walk->at += !whole;
    if (!is_digit(here(walk)))
        return wrong(walk, start, "a value is expected here");
    if (here(walk) == '0' && walk->at + 1 < walk->length && is_digit(walk->text[walk->at + 1]))
        return wrong(walk, start, "a number that begins with 0");
    while (is_digit(here(walk)))
        walk->at++;
    if (here(walk) == '.') {
        whole = false;
        walk->at++;
        if (!is_digit(here(walk)))
            return wrong(walk, start, "a number without digits after its point");
        while (is_digit(here(walk)))
            walk->at++;
    }
    if (here(walk) == 'e' || here(walk) == 'E') {
        whole = false;
        walk->at++;
        walk->at += here(walk) == '+' || here(walk) == '-';
        if (!is_digit(here(walk)))
            return wrong(walk, start, "a number without digits in its exponent");
        while (is_digit(here(walk)))
            walk->at++;
    }
    length = walk->at - start;
    if (length >= sizeof digits)
        return wrong(walk, start, "a number of more than 63 characters");
    memcpy(digits, walk->text + start, length);
    digits[length] = '\0';
    value->kind = DGO_JSON_NUMBER;
    value->real = strtod(digits, NULL);
    value->is_whole =
        whole && (length < 20 || (length == 20 && strcmp(digits, "18446744073709551615") <= 0));
    value->whole = value->is_whole ? strtoull(digits, NULL, 10) : 0;
    return DGO_OK;
}

static enum dgo_status read_word(struct walk *walk, struct dgo_json_value *value)
{
    static const struct {
        const char *word;
        enum dgo_json_kind kind;
    } words[] = {{"null", DGO_JSON_NULL}, {"true", DGO_JSON_TRUE}, {"false", DGO_JSON_FALSE}};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const size_t length = strlen(words[i].word);

        if (walk->length - walk->at >= length &&
            memcmp(walk->text + walk->at, words[i].word, length) == 0) {
            value->kind = words[i].kind;
            walk->at += length;
            return DGO_OK;
        }
    }
    return read_number(walk, value);
}

/* ---- the walk ---- */

static enum dgo_status tell(struct walk *walk, struct dgo_json_value *value)
{
    value->depth = walk->depth;
    value->step = walk->step;
    value->pos += walk->base;
    return walk->each(value, walk->data, walk->err);
}

/* A scalar, or the opening of a container, which the caller then fills. */
static enum dgo_status read_value(struct walk *walk, bool *opened)
{
    struct dgo_json_value value = {.pos = walk->at};
    enum dgo_status status = DGO_OK;
    const char c = here(walk);

    *opened = c == '{' || c == '[';
    if (*opened) {
        value.kind = DGO_JSON_OPEN;
        value.is_array = c == '[';
        walk->at++;
    } else if (c == '"') {
        struct sink sink = {walk->string, sizeof walk->string, 0};

        status = read_string(walk, &sink);
        value.kind = DGO_JSON_STRING;
        value.text = walk->string;
        value.length = sink.length;
        value.cut = sink.length >= sizeof walk->string;
    } else {
        status = read_word(walk, &value);
    }
    if (status == DGO_OK)
        status = tell(walk, &value);
    if (status == DGO_OK && *opened) {
        if (walk->depth == DGO_JSON_DEPTH_MAX)
            return wrong(walk, (size_t)(value.pos - walk->base), "nested too deeply");
        walk->in_array[walk->depth] = value.is_array;
        walk->step[walk->depth] = (struct dgo_json_step){.is_index = value.is_array};
        walk->depth++;
    }
    return status;
}

/* "key": in front of an object's value. */
static enum dgo_status read_key(struct walk *walk, struct dgo_json_step *step)
{
    struct sink sink = {step->key, sizeof step->key, 0};
    const size_t start = walk->at;
    enum dgo_status status;

    if (here(walk) != '"')
        return wrong(walk, start, "a key in quotes is expected here");
    status = read_string(walk, &sink);
    if (status != DGO_OK)
        return status;
    if (sink.length >= sizeof step->key)
        return wrong(walk, start, "a key that is too long");
    skip_space(walk);
    if (here(walk) != ':')
        return wrong(walk, walk->at, "a colon is expected here");
    walk->at++;
    skip_space(walk);
    return DGO_OK;
}

static enum dgo_status close_container(struct walk *walk)
{
    struct dgo_json_value value = {.kind = DGO_JSON_CLOSE, .pos = walk->at};

    walk->at++;
    walk->depth--;
    value.is_array = walk->in_array[walk->depth];
    return tell(walk, &value);
}

/* One step inside the innermost container: a value, or its end. */
static enum dgo_status read_inside(struct walk *walk, bool *fresh)
{
    struct dgo_json_step *step = &walk->step[walk->depth - 1];
    const bool is_array = walk->in_array[walk->depth - 1];
    enum dgo_status status = DGO_OK;
    bool opened;

    skip_space(walk);
    if (here(walk) == (is_array ? ']' : '}')) {
        *fresh = false;
        return close_container(walk);
    }
    if (!*fresh) {
        if (here(walk) != ',')
            return wrong(walk, walk->at,
                         walk->at < walk->length ? "a comma or the end of a list is expected here"
                                                 : "the text ends inside a list or an object");
        walk->at++;
        skip_space(walk);
        step->index++;
    }
    if (!is_array)
        status = read_key(walk, step);
    if (status == DGO_OK)
        status = read_value(walk, &opened);
    if (status == DGO_OK)
        *fresh = opened;
    return status;
}

enum dgo_status dgo_json_walk(const char *text, size_t length, uint64_t base_pos, dgo_json_fn each,
                              void *data, struct dgo_error *err)
{
    struct walk *walk = calloc(1, sizeof *walk);
    enum dgo_status status;
    bool fresh = false;

    if (!walk)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    walk->text = text;
    walk->length = length;
    walk->base = base_pos;
    walk->each = each;
    walk->data = data;
    walk->err = err;
    skip_space(walk);
    status = read_value(walk, &fresh);
    while (status == DGO_OK && walk->depth > 0)
        status = read_inside(walk, &fresh);
    skip_space(walk);
    if (status == DGO_OK && walk->at < length)
        status = wrong(walk, walk->at, "text behind the value");
    free(walk);
    return status;
}

bool dgo_json_at(const struct dgo_json_value *value, const char *path)
{
    for (uint32_t i = 0; i < value->depth; i++) {
        const struct dgo_json_step *step = &value->step[i];
        const size_t length = strcspn(path, ".");

        if (step->is_index ? length != 1 || path[0] != '#'
                           : strlen(step->key) != length || memcmp(step->key, path, length) != 0)
            return false;
        path += length;
        if (i + 1 < value->depth) {
            if (*path != '.')
                return false;
            path++;
        }
    }
    return *path == '\0';
}
