/* token_words.c - the longest token first: WordPiece over words, RWKV over bytes. */
#include "token.h"

#include <string.h>
#include <utf8proc.h>

/* ---- WordPiece ---- */

static bool is_chinese(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
        {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* The first code point of its canonical decomposition: the letter without its accent. */
static uint32_t decomposed(uint32_t c)
{
    utf8proc_int32_t parts[32];
    int last = 0;

    if (c < 0xc0 || c >= 0x110000 ||
        utf8proc_decompose_char((utf8proc_int32_t)c, parts, 32,
                                UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &last) <= 0)
        return c;
    return (uint32_t)parts[0];
}

/* A word with the mark of a word's beginning before it: the longest tokens from the left, or the
 * unknown one when some part has none. */
static bool emit_word(struct dgo_tokenizer *t, const char *word, size_t length)
{
    const struct dgo_vocab *vocab = t->vocab;
    const size_t before = t->token_count;

    for (size_t at = 0; at < length;) {
        size_t end = length - at < vocab->longest_token ? length : at + vocab->longest_token;
        uint32_t token = TOKEN_NONE;

        for (; end > at && token == TOKEN_NONE; end--)
            token = strings_find(&vocab->strings, word + at, end - at);
        if (token == TOKEN_NONE) {
            t->token_count = before;
            return token_emit(t, vocab->unk);
        }
        if (!token_emit(t, token))
            return false;
        at = end + 1;
    }
    return true;
}

enum { MARK_BYTES = 3 }; /* U+2581 */

/* Ends the word that t->text holds, if it holds one. */
static bool end_word(struct dgo_tokenizer *t, size_t *length)
{
    const bool good = *length == MARK_BYTES || emit_word(t, t->text, *length);

    *length = MARK_BYTES;
    return good;
}

static bool put_point(struct dgo_tokenizer *t, size_t *length, uint32_t point)
{
    if (*length + 4 > t->text_room && !token_grow(t, &t->text, &t->text_room, *length + 4, 1))
        return false;
    *length += unicode_encode(point, t->text + *length);
    return true;
}

static bool take_point(struct dgo_tokenizer *t, size_t *length, uint32_t point)
{
    const struct dgo_vocab *vocab = t->vocab;

    if (vocab->strip_accents)
        point = decomposed(point);
    const uint8_t class = unicode_class(t, point);

    if (class == CLASS_SPACE)
        return end_word(t, length);
    if (point == 0 || point == 0xfffd || class == CLASS_CONTROL ||
        (vocab->strip_accents && class == CLASS_MARK))
        return true;
    const uint32_t shown =
        vocab->lowercase ? (uint32_t)utf8proc_tolower((utf8proc_int32_t)point) : point;

    if (class == CLASS_PUNCTUATION || (point < 0x7f && class == CLASS_SYMBOL) ||
        is_chinese(point)) /* a word of its own */
        return end_word(t, length) && put_point(t, length, shown) && end_word(t, length);
    return put_point(t, length, shown);
}

bool wordpiece_text(struct dgo_tokenizer *t, const char *text, uint32_t length)
{
    size_t made = 0;

    if (!put_point(t, &made, 0x2581))
        return false;
    for (uint32_t at = 0; at < length;) {
        uint32_t point;

        at += unicode_decode(text + at, length - at, &point);
        if (!take_point(t, &made, point))
            return false;
    }
    return end_word(t, &made);
}

/* ---- RWKV ---- */

bool rwkv_text(struct dgo_tokenizer *t, const char *text, uint32_t length)
{
    const struct dgo_vocab *vocab = t->vocab;

    for (uint32_t at = 0; at < length;) {
        uint32_t node = 0, token = TOKEN_NONE, end = at;

        for (uint32_t i = at; i < length; i++) {
            node = trie_next(&vocab->trie, node, (unsigned char)text[i]);
            if (!node)
                break;
            if (vocab->trie.value[node] != TOKEN_NONE) {
                token = vocab->trie.value[node];
                end = i + 1;
            }
        }
        if (token == TOKEN_NONE) { /* one byte is unknown */
            token = vocab->unk;
            end = at + 1;
        }
        if (token != TOKEN_NONE && !token_emit(t, token))
            return false;
        at = end;
    }
    return true;
}
