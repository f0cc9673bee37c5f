/* config_internal.h - what the files of the configuration share. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config.h"
#include "dgo_arena.h"
#include "dgo_text.h"
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

/* A YAML scalar that means `text`, in quotes where it needs them. */
void config_add_scalar(struct dgo_text *out, const char *text);

/* Whether a scalar needs none. */
bool config_is_plain(const char *text);

enum { CONFIG_GROUP_NAME_MAX = 64 };

/* `rest` is what stands behind "groups.": NAME.members, NAME.swap, NAME.exclusive, NAME.persistent,
 * or NAME for its members.  *yaml becomes the whole group with that changed, or stays empty where
 * the group is to go (value_count 0 and NAME alone).  Sentences name no line: they are about what
 * was asked for. */
DGO_MUST_CHECK
enum dgo_status config_change_group(const struct config_groups *groups, const char *rest,
                                    const char *const *values, uint32_t value_count,
                                    char name[CONFIG_GROUP_NAME_MAX], struct dgo_text *yaml,
                                    struct dgo_error *err);

/* The value of `groups`; on failure with line and column. */
DGO_MUST_CHECK
enum dgo_status config_read_groups(const struct yaml_node *map, struct dgo_arena *arena,
                                   struct config_groups *groups, struct dgo_error *err);

#endif
