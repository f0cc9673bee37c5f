/* yaml_tree.h - a strict subset of YAML as a tree that remembers lines: machine files, the
 * configuration.  Not part of the library's face.
 *
 * Maps, lists and scalars only: no anchors, aliases, tags, merge keys or second documents, no key
 * twice, and bounded in size, depth and keys.  Files of other programs may have anchors, aliases
 * and merge keys (yaml_tree_parse_foreign).  Scalars stay text; what they mean is the reader's. The
 * tree lives in the caller's arena.  Any thread. */
#ifndef YAML_TREE_H
#define YAML_TREE_H

#include "dgo_arena.h"
#include "dgo_base.h"

enum {
    YAML_BYTES_MAX = 1 << 20,
    YAML_DEPTH_MAX = 16,
    YAML_KEYS_MAX = 256, /* of one map */
    YAML_MEMORY_MAX = 64 * (1 << 20),
    YAML_ANCHORS_MAX = 256,
    YAML_COPIES_MAX = 100000, /* nodes that aliases stand for, all together */
};

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    uint32_t line, column; /* from 1 */
    size_t at, end;   /* bytes from the start of the text; of a block list or map the end is that
                         of its last child */
    const char *text; /* of a scalar, escaped: fit to be shown */
    const char *raw;  /* the same, as written: fit to name a file */
    bool quoted;
    bool flow;       /* [a, b] or {k: v} */
    const char *key; /* of a map's child, escaped */
    uint32_t key_line, key_column;
    size_t key_at, key_end;
    uint32_t child_count;
    struct yaml_node *first, *next;
};

/* Parses `length` bytes; the tree lives in `arena`.  Fails with "line L, column C: ...". */
enum dgo_status yaml_tree_parse(const char *bytes, size_t length, struct dgo_arena *arena,
                                const struct yaml_node **root,
                                struct dgo_error *err) DGO_MUST_CHECK;

/* The same, but a text without any value (empty, or comments alone) is no error: *root is NULL. */
enum dgo_status yaml_tree_parse_any(const char *bytes, size_t length, struct dgo_arena *arena,
                                    const struct yaml_node **root,
                                    struct dgo_error *err) DGO_MUST_CHECK;

/* As yaml_tree_parse, for a file that another program's users wrote: *name stands for a copy of
 * what &name is at, with the line of the alias, and `<<` puts in the keys that a map does not have
 * itself. Byte offsets (at, end) of copies are those of the original. */
enum dgo_status yaml_tree_parse_foreign(const char *bytes, size_t length, struct dgo_arena *arena,
                                        const struct yaml_node **root,
                                        struct dgo_error *err) DGO_MUST_CHECK;

/* The child with that key, or NULL. */
const struct yaml_node *yaml_child(const struct yaml_node *map, const char *key);

#endif
