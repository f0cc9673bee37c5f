/* dgo_json.h - walks JSON text that others wrote, value by value, without keeping any of it.
 *
 * Strict RFC 8259: no comments, no trailing commas, no NaN, valid UTF-8, nothing behind the value.
 * Memory is bounded whatever the text claims: depth, key and string lengths have limits, and what
 * exceeds one is an error that names the byte.  Pure; any thread. */
#ifndef DGO_JSON_H
#define DGO_JSON_H

#include "dgo_base.h"

enum {
    DGO_JSON_DEPTH_MAX = 16,
    DGO_JSON_KEY_MAX = 320,   /* bytes of a decoded key, terminator included */
    DGO_JSON_TEXT_MAX = 1024, /* of a string that is handed on; a longer one is cut */
};

enum dgo_json_kind {
    DGO_JSON_NULL,
    DGO_JSON_FALSE,
    DGO_JSON_TRUE,
    DGO_JSON_NUMBER,
    DGO_JSON_STRING,
    DGO_JSON_OPEN,  /* an object or an array begins; its values follow, one level deeper */
    DGO_JSON_CLOSE, /* and ends: told at its own level, with its own key */
};

/* Where a value lies: one step a level. */
struct dgo_json_step {
    bool is_index;
    uint64_t index;             /* in an array, from 0; in an object, the how-manyth key */
    char key[DGO_JSON_KEY_MAX]; /* of an object, decoded; "" in an array */
};

struct dgo_json_value {
    uint32_t depth; /* steps; 0: the outermost value */
    const struct dgo_json_step *step;
    enum dgo_json_kind kind;
    bool is_array;    /* OPEN, CLOSE */
    double real;      /* NUMBER */
    bool is_whole;    /* NUMBER: a whole number from 0 to 2^64 - 1, without point or exponent */
    uint64_t whole;   /* when is_whole */
    const char *text; /* STRING: decoded, NUL-terminated; lives during the call */
    size_t length;    /* of the whole string, even where `text` is cut */
    bool cut;         /* the string was longer than DGO_JSON_TEXT_MAX - 1 */
    uint64_t pos;     /* first byte of the value in the text */
};

/* Returns DGO_OK to go on; anything else ends the walk with that status (and its sentence). */
typedef enum dgo_status (*dgo_json_fn)(const struct dgo_json_value *value, void *data,
                                       struct dgo_error *err);

/* DGO_EFORMAT, "byte N: ...".  `base_pos` is added to every position: where the text lies in its
 * file. */
DGO_MUST_CHECK
enum dgo_status dgo_json_walk(const char *text, size_t length, uint64_t base_pos, dgo_json_fn each,
                              void *data, struct dgo_error *err);

/* Whether the steps are these keys, "quantization_config.bits"; a '#' in `path` stands for any
 * index of an array. */
bool dgo_json_at(const struct dgo_json_value *value, const char *path);

#endif
