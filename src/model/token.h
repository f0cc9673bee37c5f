/* token.h - private to model: a vocabulary taken apart, and the tokenizers over it. */
#ifndef TOKEN_H
#define TOKEN_H

#include "dgo_arena.h"
#include "dgo_read.h"
#include "dgo_token.h"

enum token_kind {
    TOKEN_BPE,     /* merges with ranks over words */
    TOKEN_SPM,     /* merges by score over the whole text, byte fallback */
    TOKEN_UNIGRAM, /* the likeliest row of tokens */
    TOKEN_WORDS,   /* WordPiece: the longest token first */
    TOKEN_RWKV,    /* the longest token first, on bytes */
};

/* tokenizer.ggml.token_type */
enum token_type {
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN,
    TYPE_CONTROL,
    TYPE_USER_DEFINED,
    TYPE_UNUSED,
    TYPE_BYTE
};

#define TOKEN_NONE UINT32_MAX

/* In front of a BPE token that is no text in GPT-2's byte alphabet: the rest is as it was written,
 * and no word can be equal to it, because no UTF-8 begins so. */
#define TOKEN_WRITTEN ((char)0xff)

/* ---- token_table.c: strings and pairs by hash ---- */

/* Open addressing; a table whose probes grow beyond a bound refuses: colliding keys are no honest
 * vocabulary. */
struct string_table {
    const char **text;
    uint32_t *length;
    uint32_t count, room; /* of strings */
    uint32_t *slot;       /* id + 1 */
    uint32_t slot_mask;
};
/* Room for `most` strings, whose bytes must outlive the table. */
bool strings_init(struct string_table *table, uint32_t most, struct dgo_arena *arena);
uint32_t strings_find(const struct string_table *table, const char *text, size_t length);
/* The id of the string, a new one where it is not there yet; TOKEN_NONE: collisions or no room. */
uint32_t strings_add(struct string_table *table, const char *text, uint32_t length);

/* What two neighbours become: (left, right) -> (order, result); the least order goes first. */
struct pair {
    uint32_t left, right, order, result;
};
struct pair_table {
    struct pair *slot; /* left TOKEN_NONE: empty */
    uint32_t mask, count;
};
bool pairs_init(struct pair_table *table, uint32_t most, struct dgo_arena *arena);
const struct pair *pairs_find(const struct pair_table *table, uint32_t left, uint32_t right);
/* The first of two equal pairs stays.  false: collisions. */
bool pairs_add(struct pair_table *table, const struct pair *pair);

/* ---- token_trie.c: the tokens that begin here ---- */

struct trie {
    uint32_t *child; /* of (node, byte), by hash; node 0 is the root */
    uint64_t *key;
    uint32_t *value; /* of a node; TOKEN_NONE: no token ends here */
    uint32_t mask, node_count, node_room;
    uint32_t first[256]; /* children of the root; 0: none */
};
bool trie_init(struct trie *trie, uint64_t bytes, struct dgo_arena *arena);
bool trie_add(struct trie *trie, const char *text, size_t length, uint32_t value);
uint32_t trie_next(const struct trie *trie, uint32_t node, unsigned char byte); /* 0: none */

/* ---- token_pre.c: where a text is cut before merging ---- */

enum { STAGE_MAX = 8 };

/* One regular expression; `wide` ones see code points, the others classes of them (token_split.c).
 */
struct pre_stage {
    bool wide;
    const char *pattern; /* UTF-8; \p{L} and so on are written out by token_split.c */
};
struct pre_rule {
    const char *names; /* of tokenizer.ggml.pre, space-separated */
    struct pre_stage stage[STAGE_MAX];
    bool ignore_merges; /* a word that is a token is that token */
    bool add_bos, add_sep;
    bool raw;           /* UTF-8 and <0xNN>, not the byte alphabet of GPT-2; spaces are U+2581 */
    bool newline_words; /* gemma4: newlines that are a token are that token */
    bool han;           /* Han letters are a class of their own */
    bool exact;         /* agreed with the engine */
};
const struct pre_rule *pre_find(const char *name); /* NULL: not known */
const struct pre_rule *pre_default(void);

/* Compiled stages; immutable. */
struct pre_code;
enum dgo_status pre_compile(const struct pre_rule *rule, struct pre_code **code,
                            struct dgo_error *err) DGO_MUST_CHECK;
void pre_free(struct pre_code *code); /* accepts NULL */

/* ---- the vocabulary ---- */

struct dgo_vocab {
    struct dgo_arena arena;
    enum token_kind kind;
    char name[96];
    bool exact;
    uint32_t token_count;
    struct string_table strings; /* ids below token_count are tokens; above: parts of merges */
    uint8_t *type;
    float *score;
    uint32_t byte_token[256];  /* for what is no token: <0xNN>, or the byte alone */
    uint32_t byte_symbol[256]; /* BPE: of a byte in GPT-2's alphabet */
    struct pair_table pairs;
    const struct pre_rule *rule; /* BPE */
    struct pre_code *code;

    uint32_t bos, eos, unk, sep;
    bool add_bos, add_eos, add_sep;
    bool add_space_prefix, remove_extra_whitespaces, escape_whitespaces, whitespace_as_suffix;
    bool lowercase, strip_accents;
    uint32_t longest_token;

    uint32_t special_count;
    uint32_t *special;              /* ids, the longest text first */
    uint32_t *special_rank;         /* by id; TOKEN_NONE: not special */
    bool *strip_left, *strip_right; /* by id; NULL: nobody */
    struct trie special_trie;

    struct trie trie;         /* UNIGRAM, RWKV: tokens by their bytes */
    struct trie user_defined; /* UNIGRAM */
    float unknown_score;
    const unsigned char *charsmap; /* UNIGRAM: normalisation, as SentencePiece writes it */
    uint32_t charsmap_units;       /* of its double array */
    const char *replacements;
    uint32_t replacements_bytes;
};

/* token_read.c: arrays and settings from the file. */
struct token_source {
    struct dgo_vocab *vocab;
    struct dgo_error *err;
    const char **text; /* of each token, as written */
    uint32_t *length;
    const char **merge; /* "left right" */
    uint32_t *merge_length;
    uint32_t merge_count;
    uint64_t text_bytes;
    char model[32], pre[64], model_name[256], architecture[64];
};
struct gguf_file;
/* `fresh` stands at the start of the file; each use of it is a copy. */
enum dgo_status token_read(const struct dgo_reader *fresh, const struct gguf_file *file,
                           struct token_source *source) DGO_MUST_CHECK;

/* token_build.c: what follows from them. */
enum dgo_status token_build(struct token_source *source) DGO_MUST_CHECK;
/* token_special.c: which tokens are cut out of a text first. */
enum dgo_status token_mark_special(struct token_source *source) DGO_MUST_CHECK;

/* ---- one thread's tokenizer ---- */

enum { WORD_CACHE_SLOTS = 1 << 14, WORD_CACHE_BYTES = 24, WORD_CACHE_TOKENS = 7 };

struct word_entry {
    uint8_t length, count;
    char text[WORD_CACHE_BYTES];
    uint32_t token[WORD_CACHE_TOKENS];
};

struct symbol {
    uint32_t id;             /* of its string; TOKEN_NONE: none has it */
    uint32_t start, length;  /* bytes of the word */
    uint32_t previous, next; /* TOKEN_NONE: none */
};
struct candidate {
    uint64_t key; /* order << 32 | left symbol: the least goes first, then the leftmost */
    uint32_t left_id, right_id, result;
};

struct span {
    uint32_t start, end; /* bytes of the text */
    uint32_t token;      /* TOKEN_NONE: plain text */
};

struct dgo_tokenizer {
    const struct dgo_vocab *vocab;
    struct dgo_error *err;
    uint32_t *token; /* what was made */
    size_t token_count, token_room;

    /* Grown as texts need them; never shrunk while small. */
    char *text; /* the text as it is merged: escaped or normalised */
    size_t text_room;
    uint32_t *code_point;
    uint32_t *offset; /* of each code point in `text`, and the end */
    uint8_t *class;
    size_t point_room;
    uint32_t *cut[2]; /* lengths of words in code points */
    size_t cut_room[2];
    struct symbol *symbol;
    size_t symbol_room;
    struct candidate *heap;
    size_t heap_count, heap_room;
    struct span *span;
    size_t span_room;
    double *best; /* UNIGRAM: by byte */
    uint32_t *best_from, *best_token;
    size_t best_room;

    uint8_t *class_page[0x1100]; /* classes of 256 code points each, made when needed */
    void *match_8, *match_32;    /* PCRE2 match data */
    void *context_8, *context_32;
    struct word_entry *cache; /* BPE */
};

/* Grows *array to hold `wanted` elements; false: no memory (the error is written). */
bool token_grow(struct dgo_tokenizer *t, void *array, size_t *room, size_t wanted, size_t size);
bool token_emit(struct dgo_tokenizer *t, uint32_t token);

/* token_unicode.c: code points as llama.cpp sees them. */
enum {
    CLASS_NUMBER = 0xd1,
    CLASS_LETTER = 0xd2,
    CLASS_PUNCTUATION = 0xd3,
    CLASS_MARK = 0xd4,
    CLASS_SYMBOL = 0xd5,
    CLASS_HAN = 0xd6,         /* a letter; where the rule asks for it */
    CLASS_HAN_UNKNOWN = 0xd8, /* in their ranges, and not assigned */
    CLASS_CONTROL = 0xd7,     /* only asked for by WordPiece */
    CLASS_OTHER = 0xd0,
    CLASS_SPACE = 0x0b,
};
uint8_t unicode_class(struct dgo_tokenizer *t, uint32_t code_point);
bool unicode_is_space(uint32_t code_point);
bool unicode_is_han(uint32_t code_point);
/* One code point as llama.cpp decodes it: lenient, U+FFFD for a byte that begins none.  Returns the
 * bytes taken, at least 1. */
uint32_t unicode_decode(const char *text, size_t length, uint32_t *code_point);
uint32_t unicode_encode(uint32_t code_point, char to[4]);
/* Bytes that the first one promises; 1 for one that promises nothing. */
uint32_t unicode_length(unsigned char first);

/* token_split.c: decodes t->text[0..length) and cuts it into words, *count lengths in *words. */
bool token_split(struct dgo_tokenizer *t, size_t length, const uint32_t **words, size_t *count);

/* token_merge.c */
bool merge_word(struct dgo_tokenizer *t, const char *word, uint32_t length);
bool merge_text(struct dgo_tokenizer *t, const char *text, uint32_t length);
/* token_unigram.c, token_words.c */
bool unigram_text(struct dgo_tokenizer *t, const char *text, uint32_t length);
bool wordpiece_text(struct dgo_tokenizer *t, const char *text, uint32_t length);
bool rwkv_text(struct dgo_tokenizer *t, const char *text, uint32_t length);

/* token_special.c: t->span[0..*count) covers the text. */
bool special_partition(struct dgo_tokenizer *t, const char *text, uint32_t length, bool parse,
                       size_t *count);

#endif
