/* gguf.h - private to model: one GGUF file taken apart, before anybody asks what it means. */
#ifndef GGUF_H
#define GGUF_H

#include "dgo_arena.h"
#include "dgo_model.h"
#include "dgo_read.h"

/* What no honest file reaches; each keeps a hostile one from costing more than a moment. */
enum {
    GGUF_HEADER_BYTES_MAX = 256 << 20, /* all before the tensor data; a 260k vocabulary takes 15 */
    GGUF_MEMORY_BYTES_MAX = 64 << 20,  /* of one open model; DeepSeek-V3 takes 0.4 */
    GGUF_KEY_MAX = 65536,
    GGUF_KEY_LENGTH_MAX = 65535, /* the format's own limit */
    GGUF_STRING_BYTES_MAX = 1 << 30,
    GGUF_ALIGNMENT_MAX = 1 << 20,
    GGUF_ALIGNMENT_DEFAULT = 32,
    GGUF_TEXT_KEPT_MAX = 255,
    GGUF_SNIFF_BYTES = 64,
    GGUF_KEY_COUNT_POS = 16, /* where the header says how many pairs there are */

};

/* Everything points into the arena it was parsed with. */
struct gguf_file {
    uint32_t version;
    uint64_t alignment;
    uint64_t data_offset; /* of the data section in the file */
    uint64_t file_bytes;
    uint32_t key_count;
    struct dgo_model_key *key;
    uint32_t tensor_count;
    struct dgo_tensor *tensor; /* class, layer and shard not yet set */
};

/* Takes a file apart: `in` gives its first bytes, `file_bytes` is how long the whole file is.
 * Sentences say "byte N: ..."; the caller puts the name in front. */
enum dgo_status gguf_parse(struct dgo_reader *in, uint64_t file_bytes, struct dgo_arena *arena,
                           struct gguf_file *file, struct dgo_error *err) DGO_MUST_CHECK;

/* The pair called `name`; NULL: the file has none. */
const struct dgo_model_key *gguf_find(const struct gguf_file *file, const char *name);

/* Whether the pair is a number that fits; a whole floating-point number is none. */
bool gguf_number(const struct dgo_model_key *key, uint64_t *number);

/* What a file that does not begin with "GGUF" looks like, as the end of a sentence. */
const char *gguf_looks_like(const unsigned char *head, size_t length);

/* No name may occur twice: the engine refuses such a file, and a sum would count it twice. */
struct gguf_name {
    const char *text;
    uint64_t pos; /* of its byte in the file, or of what the caller counts */
};

/* Sorts; the index of the second of two equal names, 0: all differ. */
uint32_t gguf_find_twice(struct gguf_name *names, uint32_t count);

/* --- shared by gguf.c and gguf_keys.c only --------------------------------------------------- */

struct gguf_parser {
    struct dgo_reader *in;
    struct dgo_arena *arena;
    struct gguf_file *file;
    struct dgo_error *err;
};

enum dgo_status gguf_read_keys(struct gguf_parser *parser, uint64_t count) DGO_MUST_CHECK;

/* A name with its length in front, at most `most` bytes of printable ASCII, from the arena. */
enum dgo_status gguf_read_name(struct gguf_parser *parser, const char *what, size_t most,
                               const char **name) DGO_MUST_CHECK;

/* Zeroed memory for the file's content; NULL with the sentence written. */
void *gguf_take(struct gguf_parser *parser, uint64_t count, size_t size) DGO_MUST_CHECK;

/* The sentence for a reader that failed inside `what`. */
enum dgo_status gguf_cut(const struct gguf_parser *parser, const char *what);

/* The same with the sentence, for names of one file. */
enum dgo_status gguf_check_unique(struct gguf_name *names, uint32_t count, const char *what,
                                  struct dgo_error *err) DGO_MUST_CHECK;

#endif
