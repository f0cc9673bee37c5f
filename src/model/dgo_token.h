/* dgo_token.h - text to tokens, with the vocabulary of a model file, as llama.cpp does it.
 *
 * A vocabulary is read once and never changes: threads share it.  A tokenizer is one thread's
 * scratch memory and word cache beside it.  Which kinds agree token by token with the engine was
 * measured (docs/MEASUREMENTS.md, "Tokenizers"); dgo_vocab_exact says whether this one is among
 * them.  Memory follows the vocabulary and the longest text, within fixed limits. */
#ifndef DGO_TOKEN_H
#define DGO_TOKEN_H

#include "dgo_base.h"

enum {
    DGO_VOCAB_TOKENS_MAX = 1 << 20, /* the largest known has 262144 */
    DGO_VOCAB_MERGES_MAX = 1 << 21,
    DGO_TOKEN_BYTES_MAX = 1 << 12,     /* of one token */
    DGO_VOCAB_TEXT_MAX = 16 << 20,     /* of all tokens, and of all merges */
    DGO_TOKENIZE_BYTES_MAX = 64 << 20, /* of one text */
};

struct dgo_vocab;
struct dgo_tokenizer;

/* Reads the vocabulary of a GGUF file (any part of a split model).  Errors name the byte:
 * DGO_EFORMAT, DGO_ELIMIT, DGO_EIO; DGO_EUNSUPPORTED: a tokenizer that is not known here, or a file
 * without one. */
enum dgo_status dgo_vocab_open(const char *path, struct dgo_vocab **vocab,
                               struct dgo_error *err) DGO_MUST_CHECK;
/* The same from bytes in memory. */
enum dgo_status dgo_vocab_parse(const void *data, size_t length, struct dgo_vocab **vocab,
                                struct dgo_error *err) DGO_MUST_CHECK;
void dgo_vocab_close(struct dgo_vocab *vocab); /* accepts NULL */

uint32_t dgo_vocab_size(const struct dgo_vocab *vocab);
/* "gpt2/llama-bpe", "llama", "bert", ...: tokenizer.ggml.model and, where it has one, .pre. */
const char *dgo_vocab_name(const struct dgo_vocab *vocab);
/* Whether this kind agreed with the engine on the whole corpus; if not, counts are an estimate. */
bool dgo_vocab_exact(const struct dgo_vocab *vocab);

enum dgo_status dgo_tokenizer_new(const struct dgo_vocab *vocab, struct dgo_tokenizer **tokenizer,
                                  struct dgo_error *err) DGO_MUST_CHECK;
void dgo_tokenizer_free(struct dgo_tokenizer *tokenizer); /* accepts NULL */

/* What is done beside the text itself. */
struct dgo_tokenize_options {
    bool add_special;   /* the tokens that begin and end a prompt, as the model's file wishes */
    bool parse_special; /* "<|im_end|>" in the text is that token */
};

/* `tokens` points into the tokenizer and lives until its next call.  DGO_ELIMIT: the text is too
 * long; DGO_ENOMEM. */
enum dgo_status dgo_tokenize(struct dgo_tokenizer *tokenizer, const char *text, size_t length,
                             const struct dgo_tokenize_options *options, const uint32_t **tokens,
                             size_t *count, struct dgo_error *err) DGO_MUST_CHECK;

#endif
