/* token_unicode.c - classes of code points, and UTF-8 as leniently as the engine reads it. */
#include "token.h"

#include <stdlib.h>
#include <utf8proc.h>

bool unicode_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* The ranges that the engine calls Han; not all that Unicode does. */
bool unicode_is_han(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df},
        {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b820, 0x2ceaf},
        {0x2ceb0, 0x2ebef}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* Unicode 15.1 added one block of ideographs and five symbols; Debian 12's utf8proc knows 15.0, the
 * engine 15.1. */
static uint8_t class_of_new(uint32_t code_point)
{
    if (code_point >= 0x2ebf0 && code_point <= 0x2ee5d)
        return CLASS_LETTER;
    if ((code_point >= 0x2ffc && code_point <= 0x2fff) || code_point == 0x31ef)
        return CLASS_SYMBOL;
    return CLASS_OTHER;
}

static uint8_t class_of(uint32_t code_point)
{
    if (unicode_is_space(code_point))
        return CLASS_SPACE;
    switch (utf8proc_category((utf8proc_int32_t)code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CLASS_LETTER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return CLASS_MARK;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return CLASS_NUMBER;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return CLASS_PUNCTUATION;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
        return CLASS_SYMBOL;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
        return CLASS_CONTROL;
    default:
        return class_of_new(code_point);
    }
}

uint8_t unicode_class(struct dgo_tokenizer *t, uint32_t code_point)
{
    const uint32_t page = code_point >> 8;

    if (page >= sizeof t->class_page / sizeof t->class_page[0])
        return CLASS_OTHER;
    if (!t->class_page[page]) {
        uint8_t *made = malloc(256);

        if (!made)
            return class_of(code_point);
        for (uint32_t i = 0; i < 256; i++)
            made[i] = class_of(page << 8 | i);
        t->class_page[page] = made;
    }
    return t->class_page[page][code_point & 0xff];
}

uint32_t unicode_length(unsigned char first)
{
    if (first < 0xc0)
        return 1;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Overlong forms and what is above U+10FFFF are no characters, surrogates are: as in the engine. */
uint32_t unicode_decode(const char *text, size_t length, uint32_t *code_point)
{
    const unsigned char *p = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint32_t count = unicode_length(p[0]);
    uint32_t value;

    *code_point = 0xfffd;
    if (p[0] < 0x80) {
        *code_point = p[0];
        return 1;
    }
    if (p[0] < 0xc0 || p[0] >= 0xf8 || length < count)
        return 1;
    value = p[0] & (0xffu >> (count + 1));
    for (uint32_t i = 1; i < count; i++) {
        if ((p[i] & 0xc0u) != 0x80)
            return 1;
        value = value << 6 | (p[i] & 0x3fu);
    }
    if (value < least[count] || value > 0x10ffff)
        return 1;
    *code_point = value;
    return count;
}

uint32_t unicode_encode(uint32_t c, char to[4])
{
    unsigned char *p = (unsigned char *)to;

    if (c < 0x80) {
        p[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (unsigned char)(0xc0 | c >> 6);
        p[1] = (unsigned char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (unsigned char)(0xe0 | c >> 12);
        p[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        p[2] = (unsigned char)(0x80 | (c & 0x3f));
        return 3;
    }
    p[0] = (unsigned char)(0xf0 | c >> 18);
    p[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
    p[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
    p[3] = (unsigned char)(0x80 | (c & 0x3f));
    return 4;
}
