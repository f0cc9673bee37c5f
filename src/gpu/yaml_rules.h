/* yaml_rules.h - maps of a YAML tree into structs, by tables of keys; private to gpu.
 *
 * A key that is not in the table is an error with a proposal; so is a value of another kind or out
 * of range.  Every sentence starts with "line L, column C: ". */
#ifndef GPU_YAML_RULES_H
#define GPU_YAML_RULES_H

#include "yaml_tree.h"

struct yaml_loader {
    void *data;      /* the reader's own */
    uint64_t *known; /* where rules with a bit set it; NULL nowhere */
    struct dgo_error *err;
};

/* How a value is written and stored. */
enum yaml_value_kind {
    VALUE_TEXT,  /* char [size] */
    VALUE_MIB,   /* uint64_t bytes */
    VALUE_RATE,  /* double: the number times `scale` */
    VALUE_COUNT, /* uint32_t */
    VALUE_BOOL,  /* bool */
    VALUE_OWN,   /* by `read` */
};

struct yaml_rule {
    const char *key;
    enum yaml_value_kind kind;
    bool required;
    size_t at, size; /* in the struct that the map fills */
    double least, most, scale;
    int bit; /* set in `known`; -1 none */
    enum dgo_status (*read)(struct yaml_loader *loader, const struct yaml_node *node, void *into);
};

struct yaml_rules {
    const char *what; /* "a GPU" */
    const struct yaml_rule *rule;
    size_t count;
};

#define YAML_IN(type, member) .at = offsetof(type, member), .size = sizeof(((type *)0)->member)

enum dgo_status yaml_fail(struct yaml_loader *loader, uint32_t line, uint32_t column,
                          const char *fmt, ...) DGO_PRINTF(4, 5);

enum dgo_status yaml_read_map(struct yaml_loader *loader, const struct yaml_rules *rules,
                              const struct yaml_node *map, void *into) DGO_MUST_CHECK;

/* A number as `rule` wants it, for values that are no map's. */
enum dgo_status yaml_read_number(struct yaml_loader *loader, const struct yaml_rule *rule,
                                 const struct yaml_node *node, double *value) DGO_MUST_CHECK;

#endif
