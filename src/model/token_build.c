/* token_build.c - tables from the arrays of a vocabulary: strings, pairs that merge, tries. */
#include "token.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes hashed while the pairs of a SentencePiece vocabulary are looked for; honest ones of 256 k
 * tokens take some 10^8. */
#define SPLIT_WORK_MAX (UINT64_C(1) << 32)

static enum dgo_status no_memory(const struct token_source *source)
{
    return dgo_fail(source->err, DGO_ENOMEM, "out of memory for a vocabulary");
}

/* ---- GPT-2's alphabet: each byte as a printable character ---- */

/* The byte that a character of the alphabet stands for; -1: none. */
static int alphabet_byte(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
        return (int)c;
    if (c < 0x100 || c > 0x143)
        return -1;
    /* 0x100.. are the other bytes in order: 0x00-0x20, 0x7f-0xa0, 0xad. */
    c -= 0x100;
    return c <= 0x20 ? (int)c : c <= 0x42 ? (int)(c - 0x21 + 0x7f) : 0xad;
}

/* The bytes that a text in the alphabet stands for; false: it is no such text. */
static bool decode_alphabet(const char *text, uint32_t length, char *to, uint32_t *made)
{
    *made = 0;
    for (uint32_t at = 0; at < length;) {
        uint32_t point;
        int byte;

        at += unicode_decode(text + at, length - at, &point);
        byte = alphabet_byte(point);
        if (byte < 0)
            return false;
        to[(*made)++] = (char)byte;
    }
    return true;
}

static bool is_printable_ascii(const char *text, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (text[i] < 0x21 || text[i] > 0x7e)
            return false;
    return true;
}

/* The string by which words find this token. */
static bool token_string(const struct token_source *source, uint32_t i, const char **text,
                         uint32_t *length)
{
    struct dgo_vocab *vocab = source->vocab;
    char *made;

    *text = source->text[i];
    *length = source->length[i];
    if (*length == 0) { /* as the engine calls them */
        made = dgo_arena_take(&vocab->arena, 32);
        if (!made)
            return false;
        *length = (uint32_t)snprintf(made, 32, "[EMPTY_%" PRIu32 "]", i);
        *text = made;
        return true;
    }
    if (vocab->kind != TOKEN_BPE || vocab->rule->raw)
        return true;
    made = dgo_arena_take(&vocab->arena, (size_t)*length + 2);
    if (!made)
        return false;
    const bool special = vocab->type[i] == TYPE_CONTROL || vocab->type[i] == TYPE_USER_DEFINED ||
                         vocab->type[i] == TYPE_UNKNOWN;
    uint32_t decoded;

    if ((!special || is_printable_ascii(*text, *length)) &&
        decode_alphabet(*text, *length, made, &decoded)) {
        *length = decoded;
    } else {
        made[0] = TOKEN_WRITTEN;
        memcpy(made + 1, *text, *length);
        ++*length;
    }
    *text = made;
    return true;
}

static enum dgo_status add_tokens(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;

    for (uint32_t i = 0; i < vocab->token_count; i++) {
        const char *text;
        uint32_t length, id;

        if (!token_string(source, i, &text, &length))
            return no_memory(source);
        id = strings_add(&vocab->strings, text, length);
        if (id == TOKEN_NONE)
            return dgo_fail(source->err, DGO_EFORMAT,
                            "token %" PRIu32 ": too many tokens have its hash", i);
        if (id != i)
            return dgo_fail(source->err, DGO_EFORMAT,
                            "tokens %" PRIu32 " and %" PRIu32 " are the same", id, i);
        if (length > vocab->longest_token)
            vocab->longest_token = length;
    }
    return DGO_OK;
}

/* ---- bytes ---- */

static void find_byte_tokens(struct dgo_vocab *vocab)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        const char raw = (char)byte;
        uint32_t id;

        snprintf(name, sizeof name, "<0x%02X>", byte);
        id = strings_find(&vocab->strings, name, 6);
        if (vocab->kind == TOKEN_BPE && !vocab->rule->raw)
            /* The engine looks for the bytes of the alphabet's text: only ASCII has one each. */
            id = byte >= 0x21 && byte <= 0x7e ? strings_find(&vocab->strings, &raw, 1) : TOKEN_NONE;
        else if (vocab->kind == TOKEN_SPM && id >= vocab->token_count)
            id = strings_find(&vocab->strings, &raw, 1);
        vocab->byte_token[byte] = id < vocab->token_count ? id : TOKEN_NONE;
    }
}

/* ---- pairs ---- */

/* "left right" into the two strings and what they become, one behind the other in the arena; false:
 * it can never be reached. */
static bool read_merge(const struct token_source *source, uint32_t i, char **text, uint32_t *left,
                       uint32_t *right)
{
    const char *merge = source->merge[i];
    const uint32_t length = source->merge_length[i];
    const char *space = length > 1 ? memchr(merge + 1, ' ', length - 1) : NULL;
    const bool raw = source->vocab->rule->raw;

    *text = NULL;
    if (!space)
        return false;
    *left = (uint32_t)(space - merge);
    *right = length - *left - 1;
    *text = dgo_arena_take(&source->vocab->arena, (size_t)length + 1);
    if (!*text || *right == 0)
        return false;
    if (raw) {
        memcpy(*text, merge, *left);
        memcpy(*text + *left, space + 1, *right);
        return true;
    }
    return decode_alphabet(merge, *left, *text, left) &&
           decode_alphabet(space + 1, *right, *text + *left, right);
}

static enum dgo_status add_merges(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;

    for (uint32_t i = 0; i < source->merge_count; i++) {
        struct pair pair = {.order = i};
        uint32_t left = 0, right = 0;
        char *text;

        if (!read_merge(source, i, &text, &left, &right)) {
            if (!text && source->merge_length[i] > 1 &&
                memchr(source->merge[i] + 1, ' ', source->merge_length[i] - 1))
                return no_memory(source);
            continue;
        }
        pair.left = strings_add(&vocab->strings, text, left);
        pair.right = strings_add(&vocab->strings, text + left, right);
        pair.result = strings_add(&vocab->strings, text, left + right);
        if (pair.left == TOKEN_NONE || pair.right == TOKEN_NONE || pair.result == TOKEN_NONE ||
            !pairs_add(&vocab->pairs, &pair))
            return dgo_fail(source->err, DGO_EFORMAT,
                            "merge %" PRIu32 ": too many merges have its hash", i);
    }
    return DGO_OK;
}

/* Higher scores first, as unsigned numbers. */
static uint32_t order_of(float score)
{
    uint32_t bits;

    if (!(score == score))
        return UINT32_MAX;
    if (!(score < 0) && !(score > 0))
        score = 0; /* -0 is 0 */
    memcpy(&bits, &score, 4);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return ~bits;
}

/* Every way to make a token of two strings that merging can meet: tokens, and single characters. */
static enum dgo_status add_splits(struct token_source *source, uint32_t i)
{
    struct dgo_vocab *vocab = source->vocab;
    const char *text = vocab->strings.text[i];
    const uint32_t length = vocab->strings.length[i];

    for (uint32_t at = unicode_length((unsigned char)text[0]); at < length;
         at += unicode_length((unsigned char)text[at])) {
        const struct pair pair = {
            .left = strings_find(&vocab->strings, text, at),
            .right = strings_find(&vocab->strings, text + at, length - at),
            .order = order_of(vocab->score[i]),
            .result = i,
        };

        if (pair.left != TOKEN_NONE && pair.right != TOKEN_NONE && !pairs_add(&vocab->pairs, &pair))
            return dgo_fail(source->err, DGO_EFORMAT,
                            "token %" PRIu32 ": too many tokens have its hash", i);
    }
    return DGO_OK;
}

static uint32_t characters(const char *text, uint32_t length)
{
    uint32_t count = 0;

    for (uint32_t at = 0; at < length; at += unicode_length((unsigned char)text[at]))
        count++;
    return count;
}

static enum dgo_status add_characters(struct token_source *source, uint32_t i)
{
    struct dgo_vocab *vocab = source->vocab;
    const char *text = vocab->strings.text[i];
    const uint32_t length = vocab->strings.length[i];

    for (uint32_t at = 0; at < length;) {
        uint32_t size = unicode_length((unsigned char)text[at]);

        size = size < length - at ? size : length - at;
        if (strings_add(&vocab->strings, text + at, size) == TOKEN_NONE)
            return dgo_fail(source->err, DGO_EFORMAT,
                            "token %" PRIu32 ": too many characters have its hash", i);
        at += size;
    }
    return DGO_OK;
}

/* ---- kinds ---- */

static enum dgo_status build_bpe(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    /* Each merge brings three strings at most. */
    const uint64_t room = vocab->token_count + UINT64_C(3) * source->merge_count + 256;
    char *bytes = dgo_arena_take(&vocab->arena, 256);
    enum dgo_status status;

    if (!bytes || !strings_init(&vocab->strings, (uint32_t)room, &vocab->arena) ||
        !pairs_init(&vocab->pairs, source->merge_count, &vocab->arena))
        return no_memory(source);
    status = add_tokens(source);
    for (unsigned byte = 0; byte < 256 && status == DGO_OK; byte++) {
        bytes[byte] = (char)byte;
        vocab->byte_symbol[byte] = strings_add(&vocab->strings, &bytes[byte], 1);
    }
    if (status == DGO_OK)
        status = add_merges(source);
    if (status == DGO_OK)
        status = pre_compile(vocab->rule, &vocab->code, source->err);
    return status;
}

static enum dgo_status build_spm(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    uint64_t work = 0, splits = 0;
    enum dgo_status status;

    for (uint32_t i = 0; i < vocab->token_count; i++) {
        splits += characters(source->text[i], source->length[i]);
        work += (uint64_t)source->length[i] * source->length[i];
    }
    if (work > SPLIT_WORK_MAX)
        return dgo_fail(source->err, DGO_ELIMIT, "the vocabulary has too many long tokens");
    if (!strings_init(&vocab->strings, (uint32_t)(vocab->token_count + splits), &vocab->arena) ||
        !pairs_init(&vocab->pairs, (uint32_t)splits, &vocab->arena))
        return no_memory(source);
    status = add_tokens(source);
    for (uint32_t i = 0; i < vocab->token_count && status == DGO_OK; i++)
        status = add_characters(source, i);
    for (uint32_t i = 0; i < vocab->token_count && status == DGO_OK; i++)
        status = add_splits(source, i);
    return status;
}

static enum dgo_status build_strings_only(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;

    if (!strings_init(&vocab->strings, vocab->token_count, &vocab->arena))
        return no_memory(source);
    return add_tokens(source);
}

static enum dgo_status build_unigram(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    float least = FLT_MAX;
    bool made;
    enum dgo_status status = build_strings_only(source);

    if (status != DGO_OK)
        return status;
    made = trie_init(&vocab->trie, source->text_bytes, &vocab->arena) &&
           trie_init(&vocab->user_defined, source->text_bytes, &vocab->arena);
    for (uint32_t i = 0; i < vocab->token_count && made; i++) {
        const char *text = vocab->strings.text[i];
        const uint32_t length = vocab->strings.length[i];
        const uint8_t type = vocab->type[i];

        if (type == TYPE_NORMAL && vocab->score[i] < least)
            least = vocab->score[i];
        if (type == TYPE_NORMAL || type == TYPE_USER_DEFINED || type == TYPE_UNUSED)
            made = trie_add(&vocab->trie, text, length, i);
        if (type == TYPE_USER_DEFINED)
            made = made && trie_add(&vocab->user_defined, text, length, i);
    }
    vocab->unknown_score = least - 10; /* the engine's penalty */
    return made ? DGO_OK : no_memory(source);
}

/* "\n", "\x00" and so on as the bytes they mean. */
static uint32_t unescape(const char *text, uint32_t length, char *to)
{
    uint32_t made = 0;

    for (uint32_t i = 0; i < length; i++) {
        if (text[i] != '\\' || i + 1 == length) {
            to[made++] = text[i];
            continue;
        }
        switch (text[++i]) {
        case 't':
            to[made++] = '\t';
            break;
        case 'n':
            to[made++] = '\n';
            break;
        case 'r':
            to[made++] = '\r';
            break;
        case 'x':
            if (i + 2 < length) {
                const char hex[3] = {text[i + 1], text[i + 2], '\0'};

                to[made++] = (char)strtoul(hex, NULL, 16);
                i += 2;
            }
            break;
        default:
            to[made++] = text[i];
        }
    }
    return made;
}

static enum dgo_status build_rwkv(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    enum dgo_status status = build_strings_only(source);

    if (status == DGO_OK && !trie_init(&vocab->trie, source->text_bytes, &vocab->arena))
        status = no_memory(source);
    for (uint32_t i = 0; i < vocab->token_count && status == DGO_OK; i++) {
        char bytes[DGO_TOKEN_BYTES_MAX];
        const uint32_t length = unescape(source->text[i], source->length[i], bytes);

        if (!trie_add(&vocab->trie, bytes, length, i))
            status = no_memory(source);
    }
    return status;
}

enum dgo_status token_build(struct token_source *source)
{
    static enum dgo_status (*const build[])(struct token_source *) = {
        [TOKEN_BPE] = build_bpe,         [TOKEN_SPM] = build_spm,
        [TOKEN_UNIGRAM] = build_unigram, [TOKEN_WORDS] = build_strings_only,
        [TOKEN_RWKV] = build_rwkv,
    };
    struct dgo_vocab *vocab = source->vocab;
    enum dgo_status status = build[vocab->kind](source);

    if (status != DGO_OK)
        return status;
    if ((vocab->kind == TOKEN_UNIGRAM || vocab->kind == TOKEN_WORDS) && vocab->unk == TOKEN_NONE)
        return dgo_fail(source->err, DGO_EFORMAT, "the vocabulary has no unknown token");
    find_byte_tokens(vocab);
    return token_mark_special(source);
}
