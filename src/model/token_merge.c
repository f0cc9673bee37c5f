/* token_merge.c - neighbours merged in order of rank or score, and words remembered. */
#include "token.h"

#include <string.h>

/* Up to here the least of all pairs is looked for anew each time; longer rows keep a heap. */
enum { SHORT_WORD = 24 };

static bool precedes(const struct candidate *a, const struct candidate *b)
{
    return a->key < b->key;
}

static bool heap_push(struct dgo_tokenizer *t, const struct candidate *added)
{
    size_t at = t->heap_count;

    if (at == t->heap_room && !token_grow(t, &t->heap, &t->heap_room, at + 1, sizeof *t->heap))
        return false;
    t->heap_count++;
    while (at > 0 && precedes(added, &t->heap[(at - 1) / 2])) {
        t->heap[at] = t->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    t->heap[at] = *added;
    return true;
}

static struct candidate heap_pop(struct dgo_tokenizer *t)
{
    const struct candidate least = t->heap[0], last = t->heap[--t->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= t->heap_count)
            break;
        if (child + 1 < t->heap_count && precedes(&t->heap[child + 1], &t->heap[child]))
            child++;
        if (!precedes(&t->heap[child], &last))
            break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = last;
    return least;
}

/* What `left` and its neighbour would become; false: nothing. */
static bool candidate_of(const struct dgo_tokenizer *t, uint32_t left, struct candidate *made)
{
    const struct symbol *a = &t->symbol[left];
    const struct pair *pair;

    if (a->next == TOKEN_NONE || a->id == TOKEN_NONE || t->symbol[a->next].id == TOKEN_NONE)
        return false;
    pair = pairs_find(&t->vocab->pairs, a->id, t->symbol[a->next].id);
    if (!pair)
        return false;
    *made = (struct candidate){.key = (uint64_t)pair->order << 32 | left,
                               .left_id = pair->left,
                               .right_id = pair->right,
                               .result = pair->result};
    return true;
}

static void join(struct dgo_tokenizer *t, uint32_t left, uint32_t result)
{
    struct symbol *a = &t->symbol[left], *b = &t->symbol[a->next];

    a->id = result;
    a->length += b->length;
    a->next = b->next;
    b->length = 0; /* gone */
    if (a->next != TOKEN_NONE)
        t->symbol[a->next].previous = left;
}

static void merge_short(struct dgo_tokenizer *t)
{
    for (;;) {
        struct candidate best = {.key = UINT64_MAX}, one;

        for (uint32_t s = 0; s != TOKEN_NONE; s = t->symbol[s].next)
            if (candidate_of(t, s, &one) && precedes(&one, &best))
                best = one;
        if (best.key == UINT64_MAX)
            return;
        join(t, (uint32_t)best.key, best.result);
    }
}

static bool merge_long(struct dgo_tokenizer *t, uint32_t count)
{
    struct candidate one;

    t->heap_count = 0;
    for (uint32_t s = 0; s + 1 < count; s++)
        if (candidate_of(t, s, &one) && !heap_push(t, &one))
            return false;
    while (t->heap_count > 0) {
        const struct candidate least = heap_pop(t);
        const uint32_t left = (uint32_t)least.key;
        const struct symbol *symbol = &t->symbol[left];

        /* Stale: one of the two was merged since. */
        if (symbol->length == 0 || symbol->id != least.left_id || symbol->next == TOKEN_NONE ||
            t->symbol[symbol->next].id != least.right_id)
            continue;
        join(t, left, least.result);
        if (symbol->previous != TOKEN_NONE && candidate_of(t, symbol->previous, &one) &&
            !heap_push(t, &one))
            return false;
        if (candidate_of(t, left, &one) && !heap_push(t, &one))
            return false;
    }
    return true;
}

/* A symbol that is no token: its bytes, as far as there are tokens for them. */
static bool emit_bytes(struct dgo_tokenizer *t, const unsigned char *bytes, uint32_t length)
{
    const struct dgo_vocab *vocab = t->vocab;

    for (uint32_t i = 0; i < length; i++) {
        uint32_t token = vocab->byte_token[bytes[i]];

        if (vocab->kind == TOKEN_SPM && token == TOKEN_NONE)
            token = vocab->unk;
        if (token != TOKEN_NONE && !token_emit(t, token))
            return false;
    }
    return true;
}

static bool emit_symbols(struct dgo_tokenizer *t, const char *word)
{
    for (uint32_t s = 0; s != TOKEN_NONE; s = t->symbol[s].next) {
        const struct symbol *symbol = &t->symbol[s];
        const bool good =
            symbol->id < t->vocab->token_count
                ? token_emit(t, symbol->id)
                : emit_bytes(t, (const unsigned char *)word + symbol->start, symbol->length);

        if (!good)
            return false;
    }
    return true;
}

/* The symbols that merging starts from: bytes, or characters as their first byte promises. */
static bool read_symbols(struct dgo_tokenizer *t, const char *word, uint32_t length,
                         uint32_t *count)
{
    const struct dgo_vocab *vocab = t->vocab;
    const bool bytes = vocab->kind == TOKEN_BPE && !vocab->rule->raw;
    uint32_t made = 0;

    if (length > t->symbol_room &&
        !token_grow(t, &t->symbol, &t->symbol_room, length, sizeof *t->symbol))
        return false;
    for (uint32_t at = 0; at < length; made++) {
        uint32_t size = bytes ? 1 : unicode_length((unsigned char)word[at]);

        size = size < length - at ? size : length - at;
        t->symbol[made] = (struct symbol){
            .id = bytes ? vocab->byte_symbol[(unsigned char)word[at]]
                        : strings_find(&vocab->strings, word + at, size),
            .start = at,
            .length = size,
            .previous = made ? made - 1 : TOKEN_NONE,
            .next = made + 1,
        };
        at += size;
    }
    t->symbol[made - 1].next = TOKEN_NONE;
    *count = made;
    return true;
}

bool merge_text(struct dgo_tokenizer *t, const char *text, uint32_t length)
{
    uint32_t count;

    if (length == 0)
        return true;
    if (!read_symbols(t, text, length, &count))
        return false;
    if (count > SHORT_WORD) {
        if (!merge_long(t, count))
            return false;
    } else {
        merge_short(t);
    }
    return emit_symbols(t, text);
}

static uint32_t word_slot(const char *word, uint32_t length)
{
    uint64_t hash = length, part = 0;

    for (; length >= 8; length -= 8, word += 8) {
        memcpy(&part, word, 8);
        hash = (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    part = 0;
    memcpy(&part, word, length);
    hash = (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 40) % WORD_CACHE_SLOTS;
}

static bool is_newlines(const char *word, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (word[i] != '\n')
            return false;
    return true;
}

static bool merge_new_word(struct dgo_tokenizer *t, const char *word, uint32_t length)
{
    const struct pre_rule *rule = t->vocab->rule;

    if (rule->ignore_merges || (rule->newline_words && is_newlines(word, length))) {
        const uint32_t whole = strings_find(&t->vocab->strings, word, length);

        if (whole < t->vocab->token_count)
            return token_emit(t, whole);
    }
    return merge_text(t, word, length);
}

bool merge_word(struct dgo_tokenizer *t, const char *word, uint32_t length)
{
    const size_t before = t->token_count;
    struct word_entry *entry;

    if (length > WORD_CACHE_BYTES)
        return merge_new_word(t, word, length);
    entry = &t->cache[word_slot(word, length)];
    if (entry->length == length && entry->count > 0 && memcmp(entry->text, word, length) == 0) {
        for (uint32_t i = 0; i < entry->count; i++)
            if (!token_emit(t, entry->token[i]))
                return false;
        return true;
    }
    if (!merge_new_word(t, word, length))
        return false;
    const size_t count = t->token_count - before;

    if (count == 0 || count > WORD_CACHE_TOKENS)
        return true;
    entry->length = (uint8_t)length;
    entry->count = (uint8_t)count;
    memcpy(entry->text, word, length);
    memcpy(entry->token, t->token + before, count * sizeof *entry->token);
    return true;
}
