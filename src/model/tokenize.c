/* tokenize.c - a vocabulary opened, and texts turned into its tokens. */
#define PCRE2_CODE_UNIT_WIDTH 0
#include "gguf.h"
#include "token.h"

#include <errno.h>
#include <fcntl.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BUFFER_BYTES = 128 << 10, VOCAB_MEMORY_MAX = 768 << 20 };

static enum dgo_status take_apart(const struct dgo_reader *fresh, uint64_t file_bytes,
                                  struct dgo_vocab **made, struct dgo_error *err)
{
    struct dgo_vocab *vocab = calloc(1, sizeof *vocab);
    struct token_source *source = calloc(1, sizeof *source);
    struct dgo_error own = {0};
    struct dgo_reader in = *fresh;
    struct gguf_file file;
    enum dgo_status status = DGO_ENOMEM;

    if (!vocab || !source) {
        dgo_fail(&own, DGO_ENOMEM, "out of memory");
        goto out;
    }
    vocab->arena.limit_bytes = VOCAB_MEMORY_MAX;
    source->vocab = vocab;
    source->err = &own;
    status = gguf_parse(&in, file_bytes, &vocab->arena, &file, &own);
    if (status == DGO_OK)
        status = token_read(fresh, &file, source);
    if (status == DGO_OK)
        status = token_build(source);
out:
    if (status == DGO_OK)
        *made = vocab;
    else {
        dgo_fail(err, own.status, "%s", own.text);
        dgo_vocab_close(vocab);
    }
    free(source);
    return status;
}

enum dgo_status dgo_vocab_parse(const void *data, size_t length, struct dgo_vocab **vocab,
                                struct dgo_error *err)
{
    struct dgo_reader fresh;

    dgo_read_memory(&fresh, data, length);
    return take_apart(&fresh, length, vocab, err);
}

/* The vocabulary of a split model is in its first part. */
static void first_part(char *path)
{
    const size_t suffix = strlen("-00001-of-00001.gguf"), length = strlen(path);
    char *at = length > suffix ? path + length - suffix : NULL;

    if (at && at[0] == '-' && strncmp(at + 6, "-of-", 4) == 0 && strspn(at + 1, "0123456789") == 5)
        memcpy(at, "-00001", 6);
}

enum dgo_status dgo_vocab_open(const char *path, struct dgo_vocab **vocab, struct dgo_error *err)
{
    char first[4096];
    struct dgo_reader fresh;
    struct stat about;
    unsigned char *buffer = NULL;
    enum dgo_status status;
    int fd;

    if (snprintf(first, sizeof first, "%s", path) >= (int)sizeof first)
        return dgo_fail(err, DGO_EINVAL, "the path is longer than %zu bytes", sizeof first - 1);
    first_part(first);
    fd = open(first, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dgo_fail_errno(err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                              "%.300s cannot be read", first);
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        status = dgo_fail(err, DGO_EUNSUPPORTED, "%.300s is no GGUF file", first);
        goto out;
    }
    buffer = malloc(READ_BUFFER_BYTES);
    if (!buffer) {
        status = dgo_fail(err, DGO_ENOMEM, "out of memory");
        goto out;
    }
    dgo_read_file(&fresh, fd, dgo_min_u64((uint64_t)about.st_size, GGUF_HEADER_BYTES_MAX), buffer,
                  READ_BUFFER_BYTES);
    status = take_apart(&fresh, (uint64_t)about.st_size, vocab, err);
    if (status != DGO_OK)
        dgo_error_prefix(err, status, "%.300s", first);
out:
    free(buffer);
    close(fd);
    return status;
}

void dgo_vocab_close(struct dgo_vocab *vocab)
{
    if (!vocab)
        return;
    pre_free(vocab->code);
    dgo_arena_done(&vocab->arena);
    free(vocab);
}

uint32_t dgo_vocab_size(const struct dgo_vocab *vocab)
{
    return vocab->token_count;
}

const char *dgo_vocab_name(const struct dgo_vocab *vocab)
{
    return vocab->name;
}

bool dgo_vocab_exact(const struct dgo_vocab *vocab)
{
    return vocab->exact;
}

/* ---- one thread's tokenizer ---- */

enum dgo_status dgo_tokenizer_new(const struct dgo_vocab *vocab, struct dgo_tokenizer **tokenizer,
                                  struct dgo_error *err)
{
    struct dgo_tokenizer *made = calloc(1, sizeof *made);

    if (made && vocab->kind == TOKEN_BPE)
        made->cache = calloc(WORD_CACHE_SLOTS, sizeof *made->cache);
    if (!made || (vocab->kind == TOKEN_BPE && !made->cache)) {
        free(made);
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a tokenizer");
    }
    made->vocab = vocab;
    *tokenizer = made;
    return DGO_OK;
}

void dgo_tokenizer_free(struct dgo_tokenizer *t)
{
    if (!t)
        return;
    free(t->token);
    free(t->text);
    free(t->code_point);
    free(t->offset);
    free(t->class);
    free(t->cut[0]);
    free(t->cut[1]);
    free(t->symbol);
    free(t->heap);
    free(t->span);
    free(t->best);
    free(t->best_from);
    free(t->best_token);
    for (size_t i = 0; i < sizeof t->class_page / sizeof t->class_page[0]; i++)
        free(t->class_page[i]);
    pcre2_match_data_free_8(t->match_8);
    pcre2_match_data_free_32(t->match_32);
    pcre2_match_context_free_8(t->context_8);
    pcre2_match_context_free_32(t->context_32);
    free(t->cache);
    free(t);
}

bool token_grow(struct dgo_tokenizer *t, void *array, size_t *room, size_t wanted, size_t size)
{
    void **at = array, *grown;
    size_t more = *room ? *room : 256;

    if (wanted <= *room)
        return true;
    while (more < wanted)
        more += more / 2 + 1;
    grown = realloc(*at, more * size);
    if (!grown) {
        dgo_fail(t->err, DGO_ENOMEM, "out of memory for a text of %zu parts", wanted);
        return false;
    }
    *at = grown;
    *room = more;
    return true;
}

bool token_emit(struct dgo_tokenizer *t, uint32_t token)
{
    if (t->token_count == t->token_room &&
        !token_grow(t, &t->token, &t->token_room, t->token_count + 1, sizeof *t->token))
        return false;
    t->token[t->token_count++] = token;
    return true;
}

/* Into t->text: spaces as U+2581 where asked for, and where `mend` what is no UTF-8 as U+FFFD. */
static bool write_text(struct dgo_tokenizer *t, const char *text, uint32_t length, bool prefix,
                       bool escape, bool mend, size_t *made)
{
    char *to;

    if (!token_grow(t, &t->text, &t->text_room, 3 * ((size_t)length + 1) + 4, 1))
        return false;
    to = t->text;
    if (prefix)
        to += unicode_encode(0x2581, to);
    for (uint32_t at = 0; at < length;) {
        const unsigned char byte = (unsigned char)text[at];
        uint32_t point;

        if (byte == ' ' && escape) {
            to += unicode_encode(0x2581, to);
            at++;
        } else if (byte < 0x80 || !mend) {
            *to++ = text[at++];
        } else {
            at += unicode_decode(text + at, length - at, &point);
            to += unicode_encode(point, to);
        }
    }
    *made = (size_t)(to - t->text);
    return true;
}

static bool bpe_text(struct dgo_tokenizer *t, const char *text, uint32_t length)
{
    const uint32_t *words;
    size_t made, count, point = 0;

    if (!write_text(t, text, length, false, t->vocab->escape_whitespaces, true, &made) ||
        !token_split(t, made, &words, &count))
        return false;
    for (size_t w = 0; w < count; w++) {
        const uint32_t start = t->offset[point], end = t->offset[point + words[w]];

        point += words[w];
        if (!merge_word(t, t->text + start, end - start))
            return false;
    }
    return true;
}

static bool spm_text(struct dgo_tokenizer *t, const char *text, uint32_t length, bool after_special)
{
    size_t made;

    return write_text(t, text, length, after_special && t->vocab->add_space_prefix, true, false,
                      &made) &&
           merge_text(t, t->text, (uint32_t)made);
}

static bool plain_text(struct dgo_tokenizer *t, const char *text, uint32_t length,
                       bool after_special)
{
    switch (t->vocab->kind) {
    case TOKEN_BPE:
        return bpe_text(t, text, length);
    case TOKEN_SPM:
        return spm_text(t, text, length, after_special);
    case TOKEN_UNIGRAM:
        return unigram_text(t, text, length);
    case TOKEN_WORDS:
        return wordpiece_text(t, text, length);
    default:
        return rwkv_text(t, text, length);
    }
}

static bool emit_if(struct dgo_tokenizer *t, bool wanted, uint32_t token)
{
    return !wanted || token == TOKEN_NONE || token_emit(t, token);
}

static bool tokenize(struct dgo_tokenizer *t, const char *text, uint32_t length,
                     const struct dgo_tokenize_options *options)
{
    const struct dgo_vocab *vocab = t->vocab;
    const bool words = vocab->kind == TOKEN_WORDS, special = options->add_special;
    bool after_special = true;
    size_t count;

    if (!emit_if(t, special && (words || vocab->add_bos) && vocab->kind != TOKEN_RWKV,
                 vocab->bos) ||
        !special_partition(t, text, length, options->parse_special, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct span span = t->span[i];
        const bool good =
            span.token != TOKEN_NONE
                ? token_emit(t, span.token)
                : plain_text(t, text + span.start, span.end - span.start, after_special);

        if (!good)
            return false;
        after_special = span.token != TOKEN_NONE;
    }
    return emit_if(t, special && words, vocab->sep) &&
           emit_if(t, special && !words && vocab->add_eos && vocab->kind != TOKEN_RWKV, vocab->eos);
}

enum dgo_status dgo_tokenize(struct dgo_tokenizer *t, const char *text, size_t length,
                             const struct dgo_tokenize_options *options, const uint32_t **tokens,
                             size_t *count, struct dgo_error *err)
{
    struct dgo_error own = {0};

    if (length > DGO_TOKENIZE_BYTES_MAX)
        return dgo_fail(err, DGO_ELIMIT, "a text of %zu bytes; at most %d MiB are taken at once",
                        length, DGO_TOKENIZE_BYTES_MAX >> 20);
    t->err = &own;
    t->token_count = 0;
    const bool good = tokenize(t, text, (uint32_t)length, options);

    t->err = NULL;
    if (!good)
        return dgo_fail(err, own.status ? own.status : DGO_ENOMEM, "%s", own.text);
    *tokens = t->token;
    *count = t->token_count;
    return DGO_OK;
}
