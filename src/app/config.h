/* config.h - the settings in force: options, settings.def, model folders and placed components,
 * each with its origin.  A flag beats the environment, that the configuration file, that the
 * default.
 *
 * The file is YAML (yaml_tree.h), $XDG_CONFIG_HOME/dualgpuopt/config.yaml or --config FILE:
 *     ctx: 16384              any option by its name
 *     models: [~/models]      folders of model files
 *     alerts: {free: 1GiB}    settings.def
 *     components: {optimizer: cpu}
 *     groups: {chat: {members: [qwen, gemma], exclusive: false}}
 * Private to app and the faces.  A configuration is made once and never changes afterwards; it is
 * counted, so a job can keep the one it began with while a newer one is in force. */
#ifndef CONFIG_H
#define CONFIG_H

#include "dgo_app.h"
#include "options.h"

#include <limits.h>

enum setting_id {
#define X(id, key, kind, least, most, metavar, value, help) SETTING_##id,
#include "settings.def"
#undef X
    SETTING_COUNT
};
extern const struct option_spec setting_specs[SETTING_COUNT];

enum {
    CONFIG_FOLDER_MAX = 32,
    CONFIG_GROUP_MAX = 32,
    CONFIG_MEMBER_MAX = 256, /* of a group; each is compared with all others */
    CONFIG_TEXT_MAX = 1 << 20
};

/* A value that may come from a list. */
struct config_folders {
    enum option_origin origin;
    uint32_t line;
    uint32_t count;
    const char *path[CONFIG_FOLDER_MAX]; /* absolute */
};

/* Models that may run beside each other or not; the words are those of llama-swap.  A member is a
 * launch's name or a model's. */
struct config_group {
    const char *name;
    const char **member;
    uint32_t member_count;
    bool swap;       /* one member at a time; default yes */
    bool exclusive;  /* a member that starts ends what is of no group or of another; default yes */
    bool persistent; /* no launch of another group ends its members; default no */
    uint32_t line;
};
struct config_groups {
    uint32_t count;
    struct config_group group[CONFIG_GROUP_MAX];
};

struct config_place {
    bool given;
    enum option_origin origin;
    enum dgo_hint hint;
    uint32_t line;
};

struct config {
    char path[PATH_MAX]; /* of the file, whether it is there or not; "": no home to look in */
    bool from_file;      /* it is there */
    uint64_t digest;     /* of its bytes: whether it changed */
    struct options options;
    struct option_value setting[SETTING_COUNT];
    struct config_folders folders;
    struct config_place component[COMPONENT_COUNT];
    struct config_groups groups;
};

/* Reads the file and joins it with `given` (defaults, environment, flags: options.h).  A file that
 * is not there is an empty one, unless --config or its variable named it.  A broken one fails with
 * "PATH: line L, column C: ..." and changes nothing.  `given` and `environment` outlive the
 * configuration.  Any thread. */
DGO_MUST_CHECK
enum dgo_status config_open(const struct options *given, char *const *environment,
                            const struct config **config, struct dgo_error *err);

/* The same from bytes, as if they stood in the file: what `config check` and an edit ask. */
DGO_MUST_CHECK
enum dgo_status config_parse(const struct options *given, char *const *environment,
                             const char *bytes, size_t length, const struct config **config,
                             struct dgo_error *err);

/* The group that has this member; NULL: none. */
const struct config_group *config_group_of(const struct config_groups *groups, const char *name);

const struct config *config_ref(const struct config *config);
void config_unref(const struct config *config); /* accepts NULL */

/* Where the file is looked for: --config, its variable, XDG_CONFIG_HOME, ~/.config.  "" where there
 * is no home. */
void config_path(const struct options *given, char *const *environment, char path[PATH_MAX]);

/* Tells the resource manager where components run (dgo_component_override), and takes back what
 * `before` said and this one does not.  The environment's word is left to the resource manager,
 * which reads it itself.  `before` may be NULL. */
void config_place_components(const struct config *config, const struct config *before);

/* Options that make sense in a file: all but those that name the file or show something once. */
bool config_option_is_key(enum option_id id);

/* The nearest known key, for "did you mean"; NULL: none is near. */
const char *config_nearest_key(const char *key);

/* Writes `key`: `values` into the file: the text around it and all comments elsewhere stay as they
 * are (a list that is replaced loses the comments inside it).  The result is read back before it is
 * saved; a file that is broken is not touched.  Saving is atomic: a file beside it is written,
 * synced and renamed; a symbolic link stays one.  value_count 0 takes the key out.  Any thread. */
DGO_MUST_CHECK
enum dgo_status config_set(const struct options *given, char *const *environment, const char *key,
                           const char *const *values, uint32_t value_count, struct dgo_error *err);

#endif
