/* presets.h - named launches: a model, the options of its plan, the engine's own flags.
 *
 * One YAML file each, $XDG_CONFIG_HOME/dualgpuopt/presets/NAME.yaml (docs/decisions/
 * 0040-presets.md):
 *     version: 1
 *     model: /models/qwen3-32b.gguf
 *     options: {engine: vllm, ctx: 16384, parallel: 4, use: "0,1"}    any option of `plan`
 *     args: [--no-warmup]
 *     aliases: ["Qwen/Qwen3:8b"]      other names by which clients of the daemon ask for it
 * A preset is a value; what it says is checked when it is read, and again when it is written.  Any
 * thread; reading and writing may block.  Private to app and the faces. */
#ifndef PRESETS_H
#define PRESETS_H

#include "options.h"

#include <limits.h>

enum {
    PRESET_VERSION = 1,
    PRESET_NAME_MAX = 64, /* terminator included */
    PRESET_OPTION_MAX = 40,
    PRESET_TEXT_MAX = 512,
    PRESET_ARG_MAX = 64,
    PRESET_ALIAS_MAX = 32,
    PRESET_ALIAS_BYTES = 128, /* terminator included */
    PRESET_MAX = 1000,        /* in a folder */
    PRESET_BYTES_MAX = 64 * 1024,
};

struct preset {
    char name[PRESET_NAME_MAX];
    char model[PATH_MAX];
    uint32_t option_count;
    struct {
        enum option_id id;
        char text[PRESET_TEXT_MAX]; /* "true" of a flag */
    } option[PRESET_OPTION_MAX];
    uint32_t arg_count;
    char arg[PRESET_ARG_MAX][PRESET_TEXT_MAX]; /* of the engine, after the plan's own */
    const char *arg_list[PRESET_ARG_MAX + 1];  /* the same as pointers; set by preset_read */
    uint32_t alias_count;
    char alias[PRESET_ALIAS_MAX][PRESET_ALIAS_BYTES];
};

bool preset_has_alias(const struct preset *preset, const char *name);

/* Letters, digits, '.', '_', '-', beginning with a letter or digit: it is a file's name too.
 * DGO_EUSAGE says so. */
DGO_MUST_CHECK
enum dgo_status preset_check_name(const char *name, struct dgo_error *err);

/* The folder, "" where there is no home. */
void preset_folder(char *const *environment, char path[PATH_MAX]);

/* DGO_ENOTFOUND names the nearest; DGO_EFORMAT "NAME.yaml: line L, column C: ...". */
DGO_MUST_CHECK
enum dgo_status preset_read(char *const *environment, const char *name, struct preset *preset,
                            struct dgo_error *err);

/* By its name or, where no preset has that name, by an alias: of several the first by name.
 * DGO_ENOTFOUND without a hint: a client's word need not be meant for a preset. */
DGO_MUST_CHECK
enum dgo_status preset_find(char *const *environment, const char *name, struct preset *preset,
                            struct dgo_error *err);

/* Another name for it.  One that is there already is no error; DGO_EUSAGE for one that is no line
 * of text, DGO_ELIMIT. */
DGO_MUST_CHECK
enum dgo_status preset_add_alias(struct preset *preset, const char *alias, struct dgo_error *err);

/* The same from text, as if it stood in that file: for an HTTP body, and tests. */
DGO_MUST_CHECK
enum dgo_status preset_parse(const char *name, const char *text, size_t length,
                             struct preset *preset, struct dgo_error *err);

/* All or nothing.  One that is there is replaced only when told (DGO_EBUSY otherwise). */
DGO_MUST_CHECK
enum dgo_status preset_write(char *const *environment, const struct preset *preset, bool replace,
                             struct dgo_error *err);
/* Whether preset_write would: the name, what is there, what it says.  Writes nothing. */
DGO_MUST_CHECK
enum dgo_status preset_write_check(char *const *environment, const struct preset *preset,
                                   bool replace, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status preset_remove(char *const *environment, const char *name, struct dgo_error *err);

/* The file's text for a preset; false: it did not fit. */
struct dgo_text;
bool preset_text(const struct preset *preset, struct dgo_text *text);

/* Names in order; one that cannot be read is told with its sentence, and `preset` NULL. */
typedef void (*preset_fn)(const char *name, const struct preset *preset, const char *problem,
                          void *data);
DGO_MUST_CHECK
enum dgo_status preset_each(char *const *environment, preset_fn each, void *data,
                            struct dgo_error *err);

/* Sets an option of the preset, replacing an earlier one; DGO_EUSAGE for a value that the option
 * does not take, or an option that says nothing about a plan (json, help, ...). */
DGO_MUST_CHECK
enum dgo_status preset_set(struct preset *preset, enum option_id id, const char *text,
                           struct dgo_error *err);

/* The preset's options under those that a flag gave: flag > preset > environment > file > default.
 * `preset` outlives `options`. */
DGO_MUST_CHECK
enum dgo_status preset_apply(const struct preset *preset, struct options *options,
                             struct dgo_error *err);

#endif
