/* token_split.c - a text into words: code points, their classes, and the expressions of a
 * pre-tokenizer run over them.
 *
 * Classes are one byte each (0xd1 a number, 0xd2 a letter, ...; ASCII is itself), so an expression
 * with \p{L} becomes one over bytes; those with characters of their own see code points.  Neither
 * needs PCRE2's own Unicode tables: what a character is comes from one place. */
#define PCRE2_CODE_UNIT_WIDTH 0
#include "token.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN_MAX = 4096, JIT_STACK_BYTES = 4 << 20 };

struct pre_code {
    uint32_t stage_count;
    bool any_wide, han;
    struct {
        pcre2_code_8 *bytes;
        pcre2_code_32 *points;
    } stage[STAGE_MAX];
};

/* ---- compiling ---- */

/* The members of a class among ASCII, and the byte that stands for all others. */
static const struct {
    const char *name, *members;
} classes[] = {
    {"\\p{N}", "\xd1"
               "0-9"},
    {"\\p{L}", "\xd2"
               "A-Za-z"},
    {"\\p{P}", "\xd3"
               "!-#%-*,-/:-;?-@\\[-\\]_\\{\\}"},
    {"\\p{M}", "\xd4"},
    {"\\p{S}", "\xd5"
               "$+<->\\^`|~"},
};

/* \p{L} and so on as members, in brackets where it is not in some already. */
static bool expand(const char *pattern, char to[PATTERN_MAX])
{
    size_t length = 0;
    bool inside = false;

    for (const char *at = pattern; *at;) {
        const char *add = NULL;
        size_t taken = at[0] == '\\' && at[1] ? 2 : 1;

        for (size_t c = 0; c < sizeof classes / sizeof classes[0] && !add; c++)
            if (strncmp(at, classes[c].name, strlen(classes[c].name)) == 0) {
                add = classes[c].members;
                taken = strlen(classes[c].name);
            }
        const size_t needed = add ? strlen(add) + 2 : taken;

        if (length + needed + 1 > PATTERN_MAX)
            return false;
        if (add && !inside)
            to[length++] = '[';
        memcpy(to + length, add ? add : at, add ? strlen(add) : taken);
        length += add ? strlen(add) : taken;
        if (add && !inside)
            to[length++] = ']';
        if (!add && taken == 1)
            inside = *at == '[' ? true : *at == ']' ? false : inside;
        at += taken;
    }
    to[length] = '\0';
    return true;
}

static bool compile_bytes(const char *pattern, pcre2_code_8 **code)
{
    char expanded[PATTERN_MAX];
    PCRE2_SIZE offset;
    int error;

    if (!expand(pattern, expanded))
        return false;
    *code = pcre2_compile_8((PCRE2_SPTR8)expanded, PCRE2_ZERO_TERMINATED,
                            PCRE2_NEVER_UTF | PCRE2_DOLLAR_ENDONLY, &error, &offset, NULL);
    if (*code)
        pcre2_jit_compile_8(*code, PCRE2_JIT_COMPLETE); /* where there is none, it interprets */
    return *code != NULL;
}

static bool compile_points(const char *pattern, pcre2_code_32 **code)
{
    uint32_t points[PATTERN_MAX];
    size_t length = strlen(pattern), count = 0;
    PCRE2_SIZE offset;
    int error;

    for (size_t i = 0; i < length && count < PATTERN_MAX; count++)
        i += unicode_decode(pattern + i, length - i, &points[count]);
    *code = pcre2_compile_32(points, count, PCRE2_NEVER_UTF | PCRE2_DOLLAR_ENDONLY, &error, &offset,
                             NULL);
    if (*code)
        pcre2_jit_compile_32(*code, PCRE2_JIT_COMPLETE);
    return *code != NULL;
}

enum dgo_status pre_compile(const struct pre_rule *rule, struct pre_code **made,
                            struct dgo_error *err)
{
    struct pre_code *code = calloc(1, sizeof *code);

    if (!code)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    code->han = rule->han;
    while (code->stage_count < STAGE_MAX && rule->stage[code->stage_count].pattern) {
        const struct pre_stage *stage = &rule->stage[code->stage_count];
        const bool good =
            stage->wide ? compile_points(stage->pattern, &code->stage[code->stage_count].points)
                        : compile_bytes(stage->pattern, &code->stage[code->stage_count].bytes);

        code->stage_count++;
        code->any_wide = code->any_wide || stage->wide;
        if (!good) {
            pre_free(code);
            return dgo_fail(err, DGO_EUNSUPPORTED, "the pre-tokenizer '%.60s' does not compile",
                            rule->names);
        }
    }
    *made = code;
    return DGO_OK;
}

void pre_free(struct pre_code *code)
{
    for (uint32_t i = 0; code && i < code->stage_count; i++) {
        pcre2_code_free_8(code->stage[i].bytes);
        pcre2_code_free_32(code->stage[i].points);
    }
    free(code);
}

/* ---- code points ---- */

/* The three arrays of code points have one size. */
static bool grow_points(struct dgo_tokenizer *t, size_t wanted)
{
    size_t room[3] = {t->point_room, t->point_room, t->point_room};

    if (wanted <= t->point_room)
        return true;
    if (!token_grow(t, &t->offset, &room[0], wanted, sizeof *t->offset) ||
        !token_grow(t, &t->code_point, &room[1], wanted, sizeof *t->code_point) ||
        !token_grow(t, &t->class, &room[2], wanted, sizeof *t->class))
        return false;
    t->point_room = room[0];
    return true;
}

/* Code points, classes and byte offsets of t->text, which is UTF-8 as the engine would write it
 * again (tokenize.c). */
static bool read_points(struct dgo_tokenizer *t, size_t length, size_t *count)
{
    const struct pre_code *code = t->vocab->code;
    size_t at = 0, points = 0;

    if (!grow_points(t, length + 1))
        return false;
    for (; at < length; points++) {
        uint32_t point;
        const uint32_t taken = unicode_decode(t->text + at, length - at, &point);

        t->offset[points] = (uint32_t)at;
        if (point < 0x80) {
            t->class[points] = (uint8_t)point;
        } else {
            t->class[points] = unicode_class(t, point);
            if (t->class[points] == CLASS_CONTROL)
                t->class[points] = CLASS_OTHER;
            if (code->han && unicode_is_han(point))
                t->class[points] = t->class[points] == CLASS_LETTER ? CLASS_HAN : CLASS_HAN_UNKNOWN;
            else if (t->class[points] == CLASS_SPACE)
                point = CLASS_SPACE; /* so the engine's expressions see it */
        }
        t->code_point[points] = point;
        at += taken;
    }
    t->offset[points] = (uint32_t)at;
    *count = points;
    return true;
}

/* ---- cutting ---- */

struct cutting {
    struct dgo_tokenizer *t;
    uint32_t **out;
    size_t *room, count;
};

static bool add_cut(struct cutting *cutting, size_t length)
{
    if (length == 0)
        return true;
    if (cutting->count == *cutting->room && !token_grow(cutting->t, cutting->out, cutting->room,
                                                        cutting->count + 1, sizeof **cutting->out))
        return false;
    (*cutting->out)[cutting->count++] = (uint32_t)length;
    return true;
}

/* One search from `at` in a piece; 1 a match in [*from, *to), 0 none, -1 a failure. */
static int search(struct dgo_tokenizer *t, uint32_t stage, size_t start, size_t length, size_t at,
                  uint32_t options, size_t *from, size_t *to)
{
    const struct pre_code *code = t->vocab->code;
    PCRE2_SIZE *found;
    int answer;

    if (code->stage[stage].bytes) {
        answer = pcre2_match_8(code->stage[stage].bytes, t->class + start, length, at, options,
                               t->match_8, t->context_8);
        found = pcre2_get_ovector_pointer_8(t->match_8);
    } else {
        answer = pcre2_match_32(code->stage[stage].points, t->code_point + start, length, at,
                                options, t->match_32, t->context_32);
        found = pcre2_get_ovector_pointer_32(t->match_32);
    }
    if (answer == PCRE2_ERROR_NOMATCH)
        return 0;
    if (answer < 0) {
        dgo_fail(t->err, DGO_ELIMIT, "a word is too involved to be cut");
        return -1;
    }
    *from = found[0];
    *to = found[1];
    return 1;
}

/* What matches is a word, and so is what lies between matches.  After an empty match a longer one
 * at the same place is looked for, then one place further. */
static bool cut_piece(struct cutting *cutting, uint32_t stage, size_t start, size_t length)
{
    size_t at = 0, done = 0, from = 0, to = 0;
    uint32_t options = 0;

    while (at <= length) {
        const int answer = search(cutting->t, stage, start, length, at, options, &from, &to);

        if (answer < 0)
            return false;
        if (answer == 0 && options == 0)
            break;
        if (answer == 0) {
            options = 0;
            at++;
            continue;
        }
        if (!add_cut(cutting, from - done) || !add_cut(cutting, to - from))
            return false;
        options = from == to ? PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED : 0;
        done = at = to;
    }
    return add_cut(cutting, length - done);
}

static bool ensure_match_data(struct dgo_tokenizer *t)
{
    if (t->match_8)
        return true;
    t->match_8 = pcre2_match_data_create_8(8, NULL);
    t->match_32 = pcre2_match_data_create_32(8, NULL);
    t->context_8 = pcre2_match_context_create_8(NULL);
    t->context_32 = pcre2_match_context_create_32(NULL);
    if (t->match_8 && t->match_32 && t->context_8 && t->context_32)
        return true;
    dgo_fail(t->err, DGO_ENOMEM, "out of memory");
    return false;
}

bool token_split(struct dgo_tokenizer *t, size_t length, const uint32_t **words, size_t *count)
{
    const struct pre_code *code = t->vocab->code;
    size_t points, pieces = 1;

    if (!ensure_match_data(t) || !read_points(t, length, &points) ||
        !token_grow(t, &t->cut[0], &t->cut_room[0], 1, sizeof *t->cut[0]))
        return false;
    t->cut[0][0] = (uint32_t)points;
    for (uint32_t stage = 0; stage < code->stage_count; stage++) {
        struct cutting cutting = {.t = t, .out = &t->cut[1], .room = &t->cut_room[1]};
        size_t start = 0;

        for (size_t p = 0; p < pieces; p++) {
            if (!cut_piece(&cutting, stage, start, t->cut[0][p]))
                return false;
            start += t->cut[0][p];
        }
        pieces = cutting.count;
        uint32_t *const swap = t->cut[0];
        const size_t room = t->cut_room[0];

        t->cut[0] = t->cut[1];
        t->cut_room[0] = t->cut_room[1];
        t->cut[1] = swap;
        t->cut_room[1] = room;
    }
    *words = t->cut[0];
    *count = pieces;
    return true;
}
