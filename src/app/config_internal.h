/* config_internal.h - what the files of the configuration share. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config.h"
#include "dgo_arena.h"
#include "yaml_tree.h"

/* Counted, with the memory that its values point into. */
struct config_box {
    struct config config; /* first: what is handed out */
    struct dgo_arena arena;
    _Atomic uint32_t refs;
};

/* `bytes` with the key set to the values, or without it; *out is malloc'ed. */
DGO_MUST_CHECK
enum dgo_status config_edit(const char *bytes, size_t length, const char *key,
                            const char *const *values, uint32_t value_count, char **out,
                            size_t *out_length, struct dgo_error *err);

/* The value of `groups`; on failure with line and column. */
DGO_MUST_CHECK
enum dgo_status config_read_groups(const struct yaml_node *map, struct dgo_arena *arena,
                                   struct config_groups *groups, struct dgo_error *err);

#endif
