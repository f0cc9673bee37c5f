/* text.c - the bounded builder and the escaping rule. */
#include "dgo_text.h"

#include <stdio.h>
#include <string.h>

void dgo_text_clear(struct dgo_text *text)
{
    text->length = 0;
    text->truncated = false;
    text->data[0] = '\0';
}

void dgo_text_add_bytes(struct dgo_text *text, const char *bytes, size_t length)
{
    const size_t room = text->size - text->length - 1;

    if (length > room) {
        length = room;
        text->truncated = true;
    }
    if (length)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void dgo_text_add(struct dgo_text *text, const char *string)
{
    dgo_text_add_bytes(text, string, strlen(string));
}

void dgo_text_addf(struct dgo_text *text, const char *fmt, ...)
{
    const size_t room = text->size - text->length;
    va_list args;
    int wanted;

    va_start(args, fmt);
    wanted = vsnprintf(text->data + text->length, room, fmt, args);
    va_end(args);
    if (wanted < 0) {
        text->data[text->length] = '\0';
        text->truncated = true;
    } else if ((size_t)wanted >= room) {
        text->length = text->size - 1;
        text->truncated = true;
    } else {
        text->length += (size_t)wanted;
    }
}

uint32_t dgo_utf8_decode(const char *bytes, size_t length, uint32_t *code_point)
{
    const unsigned char *p = (const unsigned char *)bytes;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t count, value;

    if (length == 0)
        return 0;
    if (p[0] < 0x80) {
        *code_point = p[0];
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        count = 2;
        value = p[0] & 0x1fu;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        count = 3;
        value = p[0] & 0x0fu;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        count = 4;
        value = p[0] & 0x07u;
    } else {
        return 0;
    }
    if (length < count)
        return 0;
    for (uint32_t i = 1; i < count; i++) {
        if ((p[i] & 0xc0u) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3fu);
    }
    if (value < least[count] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code_point = value;
    return count;
}

/* Characters that take no room or reorder what is around them: Unicode category Cf and the line
 * and paragraph separators.  Ranges of Unicode 15. */
static bool is_hidden(uint32_t code_point)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00ad, 0x00ad},   {0x0600, 0x0605},   {0x061c, 0x061c},   {0x06dd, 0x06dd},
        {0x070f, 0x070f},   {0x0890, 0x0891},   {0x08e2, 0x08e2},   {0x180e, 0x180e},
        {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},   {0xfeff, 0xfeff},
        {0xfff9, 0xfffb},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f},
        {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0001, 0xe007f},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (code_point >= ranges[i].first && code_point <= ranges[i].last)
            return true;
    return false;
}

/* Adds a whole escape or character, or nothing: half of one would be a new character. */
static bool add_whole(struct dgo_text *text, const char *bytes, size_t length)
{
    if (text->size - text->length - 1 < length) {
        text->truncated = true;
        return false;
    }
    dgo_text_add_bytes(text, bytes, length);
    return true;
}

void dgo_text_add_escaped(struct dgo_text *text, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        uint32_t code_point = 0;
        const uint32_t taken = dgo_utf8_decode(bytes + i, length - i, &code_point);
        char escape[16];
        int escape_length = 0;

        if (taken == 0)
            escape_length = snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)bytes[i]);
        else if (code_point == '\t')
            escape_length = snprintf(escape, sizeof escape, " ");
        else if (code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0))
            escape_length = snprintf(escape, sizeof escape, "\\x%02x", (unsigned)code_point);
        else if (is_hidden(code_point))
            escape_length = snprintf(escape, sizeof escape, "\\u{%04x}", (unsigned)code_point);

        const bool added = escape_length > 0 ? add_whole(text, escape, (size_t)escape_length)
                                             : add_whole(text, bytes + i, taken);

        if (!added)
            return;
        i += taken ? taken : 1;
    }
}

bool dgo_text_in(const char *text, const char *const *array, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, array[i]) == 0)
            return true;
    return false;
}

bool dgo_text_copy(char *to, size_t to_size, const char *from)
{
    struct dgo_text text = {.data = to, .size = to_size};

    to[0] = '\0';
    dgo_text_add(&text, from);
    return !text.truncated;
}

bool dgo_text_copy_escaped(char *to, size_t to_size, const char *from, size_t from_length)
{
    struct dgo_text text = {.data = to, .size = to_size};

    to[0] = '\0';
    dgo_text_add_escaped(&text, from, from_length);
    return !text.truncated;
}
