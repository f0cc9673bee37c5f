/* token_read.c - the arrays and settings of a tokenizer, from the metadata of a GGUF file.
 *
 * dgo_model.h walks over the arrays and keeps only where they begin; here they are read, each count
 * checked against a limit before memory follows it. */
#include "gguf.h"
#include "token.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Types of values in the file. */
enum { GGUF_U8 = 0, GGUF_I8 = 1, GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8 };

#define PREFIX "tokenizer.ggml."

/* An array about to be read: the reader stands at its first element. */
struct array {
    struct dgo_reader in;
    uint32_t type;
    uint64_t length;
};

static enum dgo_status cut(const struct token_source *source, const char *name)
{
    return dgo_fail(source->err, DGO_EFORMAT, "the file ends inside %s; was the download complete?",
                    name);
}

/* 1: there is one; 0: there is not; -1: it is broken, or longer than `most`. */
static int open_array(const struct dgo_reader *fresh, const struct gguf_file *file,
                      struct token_source *source, const char *name, uint64_t most,
                      struct array *array)
{
    const struct dgo_model_key *key = gguf_find(file, name);

    if (!key || !key->is_array)
        return 0;
    array->in = *fresh;
    dgo_read_skip(&array->in, key->pos + 8 + strlen(name) + 4); /* length, name, type */
    array->type = dgo_read_u32(&array->in);
    array->length = dgo_read_u64(&array->in);
    if (array->in.failed) {
        cut(source, name);
        return -1;
    }
    if (array->length > most) {
        dgo_fail(source->err, DGO_ELIMIT,
                 "byte %" PRIu64 ": %s has %" PRIu64 " elements, at most %" PRIu64 " are taken",
                 key->pos, name, array->length, most);
        return -1;
    }
    return 1;
}

/* Strings one behind the other in the arena, each with a NUL. */
static enum dgo_status read_strings(struct token_source *source, struct array *array,
                                    const char *name, uint64_t longest, const char ***texts,
                                    uint32_t **lengths)
{
    struct dgo_arena *arena = &source->vocab->arena;
    uint64_t total = 0;

    *texts = dgo_arena_take_array(arena, array->length, sizeof **texts);
    *lengths = dgo_arena_take_array(arena, array->length, sizeof **lengths);
    if (array->type != GGUF_STRING)
        return dgo_fail(source->err, DGO_EFORMAT, "%s is no array of strings", name);
    for (uint64_t i = 0; i < array->length && *texts && *lengths; i++) {
        const uint64_t length = dgo_read_u64(&array->in);
        char *text;

        if (array->in.failed)
            return cut(source, name);
        if (length > longest)
            return dgo_fail(source->err, DGO_ELIMIT,
                            "%s: element %" PRIu64 " has %" PRIu64 " bytes, at most %" PRIu64
                            " are taken",
                            name, i, length, longest);
        total += length;
        if (total > DGO_VOCAB_TEXT_MAX)
            return dgo_fail(source->err, DGO_ELIMIT, "%s: more than %d MiB of text", name,
                            DGO_VOCAB_TEXT_MAX >> 20);
        text = dgo_arena_take(arena, (size_t)length + 1);
        if (!text)
            break;
        dgo_read_bytes(&array->in, text, (size_t)length);
        if (array->in.failed)
            return cut(source, name);
        (*texts)[i] = text;
        (*lengths)[i] = (uint32_t)strlen(text); /* the engine, too, ends it at a NUL */
    }
    if (array->length > 0 && (!*texts || !*lengths || !(*texts)[array->length - 1]))
        return dgo_fail(source->err, DGO_ENOMEM, "out of memory for %s", name);
    source->text_bytes = dgo_max_u64(source->text_bytes, total);
    return DGO_OK;
}

static enum dgo_status read_tokens(const struct dgo_reader *fresh, const struct gguf_file *file,
                                   struct token_source *source)
{
    struct array array;
    const int there =
        open_array(fresh, file, source, PREFIX "tokens", DGO_VOCAB_TOKENS_MAX, &array);

    if (there < 0)
        return source->err->status;
    if (there == 0 || array.length == 0)
        return dgo_fail(source->err, DGO_EUNSUPPORTED, "the file holds no vocabulary");
    source->vocab->token_count = (uint32_t)array.length;
    return read_strings(source, &array, PREFIX "tokens", DGO_TOKEN_BYTES_MAX, &source->text,
                        &source->length);
}

static enum dgo_status read_scores(const struct dgo_reader *fresh, const struct gguf_file *file,
                                   struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    struct array array;
    const int there =
        open_array(fresh, file, source, PREFIX "scores", DGO_VOCAB_TOKENS_MAX, &array);

    vocab->score = dgo_arena_take_array(&vocab->arena, vocab->token_count, sizeof *vocab->score);
    if (!vocab->score)
        return dgo_fail(source->err, DGO_ENOMEM, "out of memory for a vocabulary");
    if (there <= 0)
        return there < 0 ? source->err->status : DGO_OK;
    if ((array.type != GGUF_F32 && array.type != GGUF_I32) || array.length < vocab->token_count)
        return dgo_fail(source->err, DGO_EFORMAT, PREFIX "scores has not a number for each token");
    for (uint32_t i = 0; i < vocab->token_count; i++)
        vocab->score[i] = array.type == GGUF_F32 ? dgo_read_f32(&array.in)
                                                 : (float)(int32_t)dgo_read_u32(&array.in);
    return array.in.failed ? cut(source, PREFIX "scores") : DGO_OK;
}

static enum dgo_status read_types(const struct dgo_reader *fresh, const struct gguf_file *file,
                                  struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    struct array array;
    const int there =
        open_array(fresh, file, source, PREFIX "token_type", DGO_VOCAB_TOKENS_MAX, &array);

    vocab->type = dgo_arena_take_array(&vocab->arena, vocab->token_count, sizeof *vocab->type);
    if (!vocab->type)
        return dgo_fail(source->err, DGO_ENOMEM, "out of memory for a vocabulary");
    if (there < 0)
        return source->err->status;
    if (there > 0 &&
        ((array.type != GGUF_I32 && array.type != GGUF_U32) || array.length < vocab->token_count))
        return dgo_fail(source->err, DGO_EFORMAT,
                        PREFIX "token_type has not a type for each token");
    for (uint32_t i = 0; i < vocab->token_count; i++) {
        const uint32_t type = there > 0 ? dgo_read_u32(&array.in) : TYPE_NORMAL;

        vocab->type[i] = type <= TYPE_BYTE ? (uint8_t)type : 0;
    }
    return there > 0 && array.in.failed ? cut(source, PREFIX "token_type") : DGO_OK;
}

static enum dgo_status read_merges(const struct dgo_reader *fresh, const struct gguf_file *file,
                                   struct token_source *source)
{
    struct array array;
    const int there =
        open_array(fresh, file, source, PREFIX "merges", DGO_VOCAB_MERGES_MAX, &array);

    if (there <= 0)
        return there < 0 ? source->err->status : DGO_OK;
    source->merge_count = (uint32_t)array.length;
    return read_strings(source, &array, PREFIX "merges", 2 * DGO_TOKEN_BYTES_MAX + 1,
                        &source->merge, &source->merge_length);
}

/* SentencePiece's table of replacements: its size, a double array, strings. */
static enum dgo_status read_charsmap(const struct dgo_reader *fresh, const struct gguf_file *file,
                                     struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    struct array array;
    const int there =
        open_array(fresh, file, source, PREFIX "precompiled_charsmap", DGO_VOCAB_TEXT_MAX, &array);
    uint32_t units_bytes;
    unsigned char *bytes;

    if (there <= 0 || array.length == 0)
        return there < 0 ? source->err->status : DGO_OK;
    if ((array.type != GGUF_U8 && array.type != GGUF_I8) || array.length < 5)
        return dgo_fail(source->err, DGO_EFORMAT, PREFIX "precompiled_charsmap is no table");
    bytes = dgo_arena_take(&vocab->arena, (size_t)array.length + 1);
    if (!bytes)
        return dgo_fail(source->err, DGO_ENOMEM, "out of memory for a vocabulary");
    dgo_read_bytes(&array.in, bytes, (size_t)array.length);
    if (array.in.failed)
        return cut(source, PREFIX "precompiled_charsmap");
    memcpy(&units_bytes, bytes, 4);
    if (units_bytes >= array.length - 4)
        return dgo_fail(source->err, DGO_EFORMAT,
                        PREFIX "precompiled_charsmap says that its table has %" PRIu32
                               " bytes, of %" PRIu64,
                        units_bytes, array.length);
    vocab->charsmap = bytes + 4;
    vocab->charsmap_units = units_bytes / 4;
    vocab->replacements = (const char *)bytes + 4 + units_bytes;
    vocab->replacements_bytes = (uint32_t)(array.length - 4 - units_bytes);
    return DGO_OK;
}

static void read_text(const struct gguf_file *file, const char *name, char *to, size_t size)
{
    const struct dgo_model_key *key = gguf_find(file, name);

    to[0] = '\0';
    if (key && !key->is_array && key->kind == DGO_VALUE_STRING && key->text && key->length < size)
        memcpy(to, key->text, key->length + 1);
}

static void read_flag(const struct gguf_file *file, const char *name, bool *flag)
{
    const struct dgo_model_key *key = gguf_find(file, name);

    if (key && !key->is_array && key->kind == DGO_VALUE_BOOL)
        *flag = key->number != 0;
}

/* A token that is out of the vocabulary is no token. */
static void read_id(const struct gguf_file *file, const char *name, uint32_t count, uint32_t *id)
{
    uint64_t number;

    if (*id >= count)
        *id = TOKEN_NONE;
    if (gguf_number(gguf_find(file, name), &number) && number < count)
        *id = (uint32_t)number;
}

/* What a kind is when the file does not say; llama.cpp's own defaults. */
static const struct kind {
    const char *model;
    enum token_kind kind;
    uint32_t bos, eos, unk, sep;
    bool add_bos, add_eos, add_sep, add_space_prefix, escape;
} kinds[] = {
    {"gpt2", TOKEN_BPE, 11, 11, TOKEN_NONE, TOKEN_NONE, false, false, false, false, false},
    {"gemma4", TOKEN_BPE, TOKEN_NONE, TOKEN_NONE, TOKEN_NONE, TOKEN_NONE, false, false, false,
     false, true},
    {"llama", TOKEN_SPM, 1, 2, 0, TOKEN_NONE, true, false, false, true, true},
    {"bert", TOKEN_WORDS, 101, TOKEN_NONE, 100, 102, true, false, true, false, true},
    {"t5", TOKEN_UNIGRAM, TOKEN_NONE, 1, 2, TOKEN_NONE, false, true, false, false, true},
    {"rwkv", TOKEN_RWKV, TOKEN_NONE, TOKEN_NONE, TOKEN_NONE, TOKEN_NONE, false, false, false, false,
     true},
};

static enum dgo_status choose_kind(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    const struct kind *kind = NULL;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(source->model, kinds[i].model) == 0)
            kind = &kinds[i];
    if (!kind)
        return dgo_fail(source->err, DGO_EUNSUPPORTED,
                        "the tokenizer '%.30s' is not known here; a running engine can count",
                        source->model[0] ? source->model : "(none)");
    vocab->kind = kind->kind;
    vocab->bos = kind->bos;
    vocab->eos = kind->eos;
    vocab->unk = kind->unk;
    vocab->sep = kind->sep;
    vocab->add_bos = kind->add_bos;
    vocab->add_eos = kind->add_eos;
    vocab->add_sep = kind->add_sep;
    vocab->add_space_prefix = kind->add_space_prefix;
    vocab->escape_whitespaces = kind->escape;
    vocab->lowercase = true;
    if (strcmp(kind->model, "gemma4") == 0)
        dgo_text_copy(source->pre, sizeof source->pre, "gemma4");
    return DGO_OK;
}

/* Which expressions cut the text; vocabularies without a name get the engine's default ones. */
static enum dgo_status choose_rule(struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;

    if (vocab->kind != TOKEN_BPE) {
        vocab->exact = true;
        dgo_text_copy(vocab->name, sizeof vocab->name, source->model);
        return DGO_OK;
    }
    vocab->rule = source->pre[0] ? pre_find(source->pre) : pre_default();
    if (!vocab->rule)
        return dgo_fail(source->err, DGO_EUNSUPPORTED,
                        "the pre-tokenizer '%.60s' is not known here; a running engine can count",
                        source->pre);
    vocab->exact = vocab->rule->exact;
    vocab->add_bos = vocab->rule->add_bos;
    vocab->add_sep = vocab->rule->add_sep;
    vocab->escape_whitespaces = vocab->rule->raw;
    struct dgo_text name = DGO_TEXT(vocab->name);

    dgo_text_addf(&name, "%s/%s", source->model, source->pre[0] ? source->pre : "default");
    return DGO_OK;
}

static void read_settings(const struct gguf_file *file, struct token_source *source)
{
    struct dgo_vocab *vocab = source->vocab;
    const uint32_t count = vocab->token_count;

    read_id(file, PREFIX "bos_token_id", count, &vocab->bos);
    read_id(file, PREFIX "eos_token_id", count, &vocab->eos);
    read_id(file, PREFIX "unknown_token_id", count, &vocab->unk);
    read_id(file, PREFIX "seperator_token_id", count, &vocab->sep); /* the key is spelt so */
    read_flag(file, PREFIX "add_bos_token", &vocab->add_bos);
    read_flag(file, PREFIX "add_eos_token", &vocab->add_eos);
    read_flag(file, PREFIX "add_sep_token", &vocab->add_sep);
    read_flag(file, PREFIX "add_space_prefix", &vocab->add_space_prefix);
    read_flag(file, PREFIX "remove_extra_whitespaces", &vocab->remove_extra_whitespaces);
    read_flag(file, PREFIX "normalizer.lowercase", &vocab->lowercase);
    vocab->strip_accents = vocab->lowercase;
    read_flag(file, PREFIX "normalizer.strip_accents", &vocab->strip_accents);
    if (vocab->rule && vocab->rule->newline_words)
        vocab->add_bos = true; /* the engine does so whatever the file says */
}

enum dgo_status token_read(const struct dgo_reader *fresh, const struct gguf_file *file,
                           struct token_source *source)
{
    enum dgo_status status;

    read_text(file, PREFIX "model", source->model, sizeof source->model);
    read_text(file, PREFIX "pre", source->pre, sizeof source->pre);
    read_text(file, "general.name", source->model_name, sizeof source->model_name);
    read_text(file, "general.architecture", source->architecture, sizeof source->architecture);
    for (char *at = source->model_name; *at; at++)
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
    status = choose_kind(source);
    if (status == DGO_OK)
        status = choose_rule(source);
    if (status == DGO_OK)
        status = read_tokens(fresh, file, source);
    if (status == DGO_OK)
        status = read_scores(fresh, file, source);
    if (status == DGO_OK)
        status = read_types(fresh, file, source);
    if (status == DGO_OK && source->vocab->kind == TOKEN_BPE)
        status = read_merges(fresh, file, source);
    if (status == DGO_OK && source->vocab->kind == TOKEN_UNIGRAM)
        status = read_charsmap(fresh, file, source);
    if (status == DGO_OK)
        read_settings(file, source);
    return status;
}
