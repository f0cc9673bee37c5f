/* token_special.c - tokens that are cut out of a text before anything else. */
#include "token.h"

#include <stdlib.h>
#include <string.h>

/* What the engine takes for a control token whatever the file says (llama-vocab.cpp): the names
 * that models give to the end of a turn, of generation, and to the parts of fill-in-the-middle. */
static const char *const control_names[] = {"<|eot_id|>",
                                            "<|im_end|>",
                                            "<|end|>",
                                            "<|return|>",
                                            "<|call|>",
                                            "<|flush|>",
                                            "<|calls|>",
                                            "<end_of_turn>",
                                            "<|endoftext|>",
                                            "</s>",
                                            "<|eom_id|>",
                                            "<EOT>",
                                            "_<EOT>",
                                            "[EOT]",
                                            "[EOS]",
                                            "<|end_of_text|>",
                                            "<end_of_utterance>",
                                            "<eos>",
                                            "<turn|>",
                                            "<|tool_response>",
                                            "<｜end▁of▁sentence｜>",
                                            "[e~[",
                                            "<|fim_prefix|>",
                                            "<fim-prefix>",
                                            "<fim_prefix>",
                                            "<｜fim▁begin｜>",
                                            "<PRE>",
                                            "▁<PRE>",
                                            "<|code_prefix|>",
                                            "<|prefix|>",
                                            "<|fim_suffix|>",
                                            "<fim-suffix>",
                                            "<fim_suffix>",
                                            "<｜fim▁hole｜>",
                                            "<SUF>",
                                            "▁<SUF>",
                                            "<|code_suffix|>",
                                            "<|suffix|>",
                                            "<|fim_middle|>",
                                            "<fim-middle>",
                                            "<fim_middle>",
                                            "<｜fim▁end｜>",
                                            "<MID>",
                                            "▁<MID>",
                                            "<|code_middle|>",
                                            "<|middle|>",
                                            "<|fim_pad|>",
                                            "<fim-pad>",
                                            "<fim_pad>",
                                            "<PAD>",
                                            "[PAD]",
                                            "<|fim_repo|>",
                                            "<|repo_name|>",
                                            "<fim-repo>",
                                            "<REPO>",
                                            "<reponame>",
                                            "<|file_sep|>"};
/* Shown, and so "user defined". */
static const char *const shown_names[] = {"<|channel|>", "<|message|>", "<|start|>",
                                          "<|constrain|>"};

/* The token that is written so in the file; TOKEN_NONE: none. */
static uint32_t find_written(const struct dgo_vocab *vocab, const char *name)
{
    char marked[64] = {TOKEN_WRITTEN};
    uint32_t id = strings_find(&vocab->strings, name, strlen(name));

    if (id >= vocab->token_count && strlen(name) + 1 < sizeof marked) {
        memcpy(marked + 1, name, strlen(name));
        id = strings_find(&vocab->strings, marked, strlen(name) + 1);
    }
    return id < vocab->token_count ? id : TOKEN_NONE;
}

static void set_type(struct dgo_vocab *vocab, const char *name, uint8_t type)
{
    const uint32_t id = find_written(vocab, name);

    if (id != TOKEN_NONE)
        vocab->type[id] = type;
}

static bool is_special(uint8_t type)
{
    return type == TYPE_CONTROL || type == TYPE_USER_DEFINED || type == TYPE_UNKNOWN;
}

struct ranked {
    uint32_t id, length;
};

static int longest_first(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;

    if (left->length != right->length)
        return left->length < right->length ? 1 : -1;
    return (left->id > right->id) - (left->id < right->id);
}

static void name_types(struct dgo_vocab *vocab)
{
    for (size_t i = 0; i < sizeof control_names / sizeof control_names[0]; i++) {
        const uint32_t id = find_written(vocab, control_names[i]);

        if (id != TOKEN_NONE && vocab->type[id] != TYPE_USER_DEFINED)
            vocab->type[id] = TYPE_CONTROL;
    }
    for (size_t i = 0; i < sizeof shown_names / sizeof shown_names[0]; i++)
        set_type(vocab, shown_names[i], TYPE_USER_DEFINED);
    if (find_written(vocab, "<|tool_response>") != TOKEN_NONE)
        set_type(vocab, "</s>", TYPE_NORMAL);
}

static bool contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Some models' special tokens take the space beside them; their files do not say so. */
static bool mark_strips(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    const bool mask = contains(source->pre, "jina-v2-de") || contains(source->pre, "jina-v2-es") ||
                      contains(source->pre, "jina-v2-code") ||
                      contains(source->architecture, "nomic-bert-moe") ||
                      contains(source->architecture, "jina-bert-v3");
    const bool phi3 = contains(source->model_name, "phi-3") || contains(source->model_name, "phi3");
    const bool modern = contains(source->model_name, "modern-bert");
    uint32_t id;

    if (!mask && !phi3 && !modern)
        return true;
    vocab->strip_left = dgo_arena_take_array(&vocab->arena, vocab->token_count, sizeof(bool));
    vocab->strip_right = dgo_arena_take_array(&vocab->arena, vocab->token_count, sizeof(bool));
    if (!vocab->strip_left || !vocab->strip_right)
        return false;
    if (mask || modern) {
        id = find_written(vocab, mask ? "<mask>" : "[MASK]");
        if (id != TOKEN_NONE)
            vocab->strip_left[id] = true;
        return true;
    }
    for (uint32_t i = 0; i < vocab->special_count; i++)
        vocab->strip_right[vocab->special[i]] = true;
    id = find_written(vocab, "</s>");
    if (id != TOKEN_NONE)
        vocab->strip_right[id] = true;
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>"};

    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        id = find_written(vocab, plain[i]);
        if (id != TOKEN_NONE)
            vocab->strip_right[id] = false;
    }
    return true;
}

enum dgo_status token_mark_special(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    const uint32_t count = vocab->token_count;
    struct ranked *ranked = NULL;
    uint32_t found = 0;
    uint64_t bytes = 0;
    bool made;

    name_types(vocab);
    for (uint32_t i = 0; i < count; i++)
        if (is_special(vocab->type[i])) {
            found++;
            bytes += vocab->strings.length[i];
        }
    ranked = malloc((found + 1) * sizeof *ranked);
    vocab->special = dgo_arena_take_array(&vocab->arena, found, sizeof *vocab->special);
    vocab->special_rank = dgo_arena_take_array(&vocab->arena, count, sizeof *vocab->special_rank);
    made = ranked && vocab->special && vocab->special_rank &&
           trie_init(&vocab->special_trie, bytes, &vocab->arena);
    found = 0;
    for (uint32_t i = 0; made && i < count; i++) {
        vocab->special_rank[i] = TOKEN_NONE;
        if (is_special(vocab->type[i]))
            ranked[found++] = (struct ranked){i, vocab->strings.length[i]};
    }
    if (made)
        qsort(ranked, found, sizeof *ranked, longest_first);
    for (uint32_t i = 0; made && i < found; i++) {
        const char *text = vocab->strings.text[ranked[i].id];
        uint32_t length = ranked[i].length;

        if (length > 0 && text[0] == TOKEN_WRITTEN && vocab->kind == TOKEN_BPE) {
            text++;
            length--;
        }
        vocab->special[i] = ranked[i].id;
        vocab->special_rank[ranked[i].id] = i;
        made = trie_add(&vocab->special_trie, text, length, ranked[i].id);
    }
    vocab->special_count = made ? found : 0;
    made = made && mark_strips(source);
    free(ranked);
    return made ? DGO_OK : dgo_fail(source->err, DGO_ENOMEM, "out of memory for special tokens");
}

/* ---- in a text ---- */

struct hit {
    uint32_t rank, start, end, token;
};

static int by_rank(const void *a, const void *b)
{
    const struct hit *left = a, *right = b;

    if (left->rank != right->rank)
        return left->rank < right->rank ? -1 : 1;
    return (left->start > right->start) - (left->start < right->start);
}

static int by_start(const void *a, const void *b)
{
    const struct hit *left = a, *right = b;

    return (left->start > right->start) - (left->start < right->start);
}

static bool add_hit(struct dgo_tokenizer *t, struct hit **hits, size_t *count, size_t *room,
                    const struct hit *hit)
{
    if (*count == *room) {
        const size_t more = *room ? *room * 2 : 64;
        struct hit *grown = realloc(*hits, more * sizeof *grown);

        if (!grown) {
            dgo_fail(t->err, DGO_ENOMEM, "out of memory for special tokens of a text");
            return false;
        }
        *hits = grown;
        *room = more;
    }
    (*hits)[(*count)++] = *hit;
    return true;
}

/* Every place where a special token stands, overlapping ones too. */
static bool find_hits(struct dgo_tokenizer *t, const char *text, uint32_t length, bool parse,
                      struct hit **hits, size_t *count)
{
    const struct dgo_vocab *vocab = t->vocab;
    const struct trie *trie = &vocab->special_trie;
    size_t room = 0;

    for (uint32_t i = 0; i < length; i++) {
        uint32_t node = trie->first[(unsigned char)text[i]];

        for (uint32_t j = i; node;) {
            const uint32_t token = trie->value[node];

            if (token != TOKEN_NONE && (parse || vocab->type[token] == TYPE_USER_DEFINED) &&
                !add_hit(t, hits, count, &room,
                         &(struct hit){vocab->special_rank[token], i, j + 1, token}))
                return false;
            if (++j >= length)
                break;
            node = trie_next(trie, node, (unsigned char)text[j]);
        }
    }
    return true;
}

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* The engine looks for the longest token first, from the left, in what is still plain text: a hit
 * stays if nothing of it was taken before.  `taken` marks bytes; a hit's strips are taken too. */
static size_t keep_hits(const struct dgo_vocab *vocab, const char *text, uint32_t length,
                        struct hit *hits, size_t count, uint8_t *taken)
{
    size_t kept = 0;

    for (size_t h = 0; h < count; h++) {
        struct hit hit = hits[h];

        if (memchr(taken + hit.start, 1, hit.end - hit.start))
            continue;
        memset(taken + hit.start, 1, hit.end - hit.start);
        if (vocab->strip_left && vocab->strip_left[hit.token])
            while (hit.start > 0 && !taken[hit.start - 1] && is_space(text[hit.start - 1]))
                taken[--hit.start] = 1;
        if (vocab->strip_right && vocab->strip_right[hit.token])
            while (hit.end < length && !taken[hit.end] && is_space(text[hit.end]))
                taken[hit.end++] = 1;
        hits[kept++] = hit;
    }
    return kept;
}

static bool add_span(struct dgo_tokenizer *t, size_t *count, uint32_t start, uint32_t end,
                     uint32_t token)
{
    if (start == end && token == TOKEN_NONE)
        return true;
    if (*count == t->span_room &&
        !token_grow(t, &t->span, &t->span_room, *count + 1, sizeof *t->span))
        return false;
    t->span[(*count)++] = (struct span){start, end, token};
    return true;
}

bool special_partition(struct dgo_tokenizer *t, const char *text, uint32_t length, bool parse,
                       size_t *count)
{
    struct hit *hits = NULL;
    uint8_t *taken = NULL;
    size_t hit_count = 0;
    uint32_t at = 0;
    bool made = find_hits(t, text, length, parse, &hits, &hit_count);

    *count = 0;
    if (made && hit_count > 0) {
        taken = calloc(length, 1);
        made = taken != NULL;
        if (made) {
            qsort(hits, hit_count, sizeof *hits, by_rank);
            hit_count = keep_hits(t->vocab, text, length, hits, hit_count, taken);
            qsort(hits, hit_count, sizeof *hits, by_start);
        } else {
            dgo_fail(t->err, DGO_ENOMEM, "out of memory for special tokens of a text");
        }
    }
    for (size_t h = 0; made && h < hit_count; h++) {
        made = add_span(t, count, at, hits[h].start, TOKEN_NONE) &&
               add_span(t, count, hits[h].start, hits[h].end, hits[h].token);
        at = hits[h].end;
    }
    made = made && add_span(t, count, at, length, TOKEN_NONE);
    free(taken);
    free(hits);
    return made;
}
