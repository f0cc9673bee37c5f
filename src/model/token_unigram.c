/* token_unigram.c - SentencePiece unigram: normalised, then the row of tokens whose scores add up
 * to the most. */
#include "token.h"

#include <float.h>
#include <string.h>

/* What a place in the input becomes: so many bytes of output for so many of input. */
struct normalized {
    const char *bytes;
    uint32_t length, taken;
};

/* A unit of the double array as SentencePiece packs it: label, leaf bit, offset to the children. */
static uint32_t unit(const struct dgo_vocab *vocab, uint32_t index)
{
    uint32_t value = 0;

    if (index < vocab->charsmap_units)
        memcpy(&value, vocab->charsmap + (size_t)index * 4, 4); /* little-endian, as the machine */
    return value;
}

static uint32_t unit_offset(uint32_t value)
{
    return (value >> 10) << ((value & (1u << 9)) >> 6);
}

/* The longest prefix that the map replaces; 0 none. */
static uint32_t longest_replaced(const struct dgo_vocab *vocab, const char *text, uint32_t length,
                                 uint32_t *replacement)
{
    uint32_t node = unit_offset(unit(vocab, 0)), longest = 0;

    for (uint32_t i = 0; i < length && vocab->charsmap_units > 0; i++) {
        const unsigned char byte = (unsigned char)text[i];

        if (byte == 0)
            break;
        node ^= byte;
        const uint32_t value = unit(vocab, node);

        if ((value & ((1u << 31) | 0xff)) != byte)
            break;
        node ^= unit_offset(value);
        if (value >> 8 & 1) {
            longest = i + 1;
            *replacement = unit(vocab, node) & ((1u << 31) - 1);
        }
    }
    return longest;
}

/* How far the text goes along with the user-defined tokens, whether or not one ends there. */
static uint32_t user_defined_prefix(const struct dgo_vocab *vocab, const char *text,
                                    uint32_t length)
{
    uint32_t node = 0, i = 0;

    for (; i < length; i++) {
        node = trie_next(&vocab->user_defined, node, (unsigned char)text[i]);
        if (!node)
            break;
    }
    return i;
}

static struct normalized normalize_at(const struct dgo_vocab *vocab, const char *text,
                                      uint32_t length)
{
    const uint32_t own = user_defined_prefix(vocab, text, length);
    uint32_t replacement = 0, code_point;

    if (own > 0)
        return (struct normalized){text, own, own};
    const uint32_t replaced = longest_replaced(vocab, text, length, &replacement);

    if (replaced > 0 && replacement < vocab->replacements_bytes) {
        const char *bytes = vocab->replacements + replacement;

        return (struct normalized){
            bytes, (uint32_t)strnlen(bytes, vocab->replacements_bytes - replacement), replaced};
    }
    const uint32_t taken = unicode_decode(text, length, &code_point);

    if (taken == 1 && (unsigned char)text[0] >= 0x80)
        return (struct normalized){"\xef\xbf\xbd", 3, 1};
    return (struct normalized){text, taken, taken};
}

static bool put(struct dgo_tokenizer *t, size_t *length, const char *bytes, size_t count)
{
    if (*length + count > t->text_room &&
        !token_grow(t, &t->text, &t->text_room, *length + count, 1))
        return false;
    memcpy(t->text + *length, bytes, count);
    *length += count;
    return true;
}

/* Into t->text. */
static bool normalize(struct dgo_tokenizer *t, const char *text, uint32_t length, size_t *made)
{
    const struct dgo_vocab *vocab = t->vocab;
    const char *space = vocab->escape_whitespaces ? "\xe2\x96\x81" : " ";
    const bool prepend = !vocab->whitespace_as_suffix && vocab->add_space_prefix;
    const bool append = vocab->whitespace_as_suffix && vocab->add_space_prefix;
    bool prepended = false, in_word = false, good = true;

    *made = 0;
    for (uint32_t at = 0; at < length && good;) {
        const struct normalized one = normalize_at(vocab, text + at, length - at);

        for (uint32_t i = 0; i < one.length && good; i++) {
            const bool blank = one.bytes[i] == ' ';

            if (!blank && !in_word &&
                ((prepend && !prepended) || vocab->remove_extra_whitespaces)) {
                good = put(t, made, space, strlen(space));
                prepended = true;
            }
            in_word = !blank;
            if (!blank)
                good = good && put(t, made, one.bytes + i, 1);
            else if (!vocab->remove_extra_whitespaces)
                good = put(t, made, space, strlen(space));
        }
        at += one.taken;
    }
    return good && (!append || put(t, made, space, strlen(space)));
}

static void challenge(struct dgo_tokenizer *t, uint32_t at, uint32_t from, uint32_t token,
                      double score)
{
    if (score > t->best[at]) {
        t->best[at] = score;
        t->best_from[at] = from;
        t->best_token[at] = token;
    }
}

/* Every token that begins at `at`, and the unknown one where no token is its whole character. */
static void extend(struct dgo_tokenizer *t, uint32_t at, uint32_t length)
{
    const struct dgo_vocab *vocab = t->vocab;
    uint32_t size = unicode_length((unsigned char)t->text[at]);
    uint32_t node = 0;
    bool whole = false;

    size = size < length - at ? size : length - at;
    for (uint32_t end = at; end < length;) {
        node = trie_next(&vocab->trie, node, (unsigned char)t->text[end++]);
        if (!node)
            break;
        const uint32_t token = vocab->trie.value[node];

        if (token == TOKEN_NONE)
            continue;
        whole = whole || end - at == size;
        challenge(t, end, at, token,
                  t->best[at] + (vocab->type[token] == TYPE_USER_DEFINED
                                     ? 0.0
                                     : (double)vocab->score[token]));
    }
    if (!whole)
        challenge(t, at + size, at, vocab->unk, t->best[at] + (double)vocab->unknown_score);
}

/* From the end back; unknown neighbours are one. */
static bool emit_best(struct dgo_tokenizer *t, uint32_t length)
{
    const size_t first = t->token_count;
    bool unknown_before = false;

    for (uint32_t at = length; at > 0; at = t->best_from[at]) {
        const bool unknown = t->best_token[at] == t->vocab->unk;

        if (!(unknown && unknown_before) && !token_emit(t, t->best_token[at]))
            return false;
        unknown_before = unknown;
    }
    for (size_t i = first, j = t->token_count; i + 1 < j; i++) {
        const uint32_t swap = t->token[i];

        t->token[i] = t->token[--j];
        t->token[j] = swap;
    }
    return true;
}

static bool grow_best(struct dgo_tokenizer *t, size_t wanted)
{
    size_t room[3] = {t->best_room, t->best_room, t->best_room};

    if (wanted <= t->best_room)
        return true;
    if (!token_grow(t, &t->best, &room[0], wanted, sizeof *t->best) ||
        !token_grow(t, &t->best_from, &room[1], wanted, sizeof *t->best_from) ||
        !token_grow(t, &t->best_token, &room[2], wanted, sizeof *t->best_token))
        return false;
    t->best_room = room[0];
    return true;
}

bool unigram_text(struct dgo_tokenizer *t, const char *text, uint32_t length)
{
    size_t made;

    if (!normalize(t, text, length, &made))
        return false;
    if (made == 0)
        return true;
    if (made > DGO_TOKENIZE_BYTES_MAX) {
        dgo_fail(t->err, DGO_ELIMIT, "a text is longer than %d MiB once normalised",
                 DGO_TOKENIZE_BYTES_MAX >> 20);
        return false;
    }
    if (!grow_best(t, made + 1))
        return false;
    for (size_t i = 0; i <= made; i++) {
        t->best[i] = i ? -DBL_MAX : 0;
        t->best_from[i] = 0;
        t->best_token[i] = t->vocab->unk;
    }
    for (uint32_t at = 0; at < made;) {
        const uint32_t size = unicode_length((unsigned char)t->text[at]);

        extend(t, at, (uint32_t)made);
        at += size < made - at ? size : (uint32_t)made - at;
    }
    return emit_best(t, (uint32_t)made);
}
