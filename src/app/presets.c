/* presets.c - named launches, one YAML file each. */
#include "presets.h"

#include "dgo_arena.h"
#include "dgo_file.h"
#include "dgo_text.h"
#include "yaml_tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options that shape a launch.  What is about one call (json, dry-run) is not a preset's. */
static const enum option_id launch_options[] = {OPTIONS_OF_PLAN,     OPTION_RETRY_SMALLER,
                                                OPTION_RESTART,      OPTION_READY_TIMEOUT,
                                                OPTION_STOP_TIMEOUT, OPTION_IDLE_TIMEOUT};

static bool is_launch_option(enum option_id id)
{
    for (size_t i = 0; i < sizeof launch_options / sizeof launch_options[0]; i++)
        if (launch_options[i] == id)
            return true;
    return false;
}

enum dgo_status preset_check_name(const char *name, struct dgo_error *err)
{
    const size_t length = strlen(name);
    bool good = length > 0 && length < PRESET_NAME_MAX && isalnum((unsigned char)name[0]);
    char shown[96];

    for (size_t i = 0; i < length && good; i++)
        good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
    if (good)
        return DGO_OK;
    dgo_text_copy_escaped(shown, sizeof shown, name, length);
    return dgo_fail(err, DGO_EUSAGE,
                    "'%.60s' is no name of a preset: up to %d letters, digits, '.', '_' and '-', a "
                    "letter or digit first",
                    shown, PRESET_NAME_MAX - 1);
}

void preset_folder(char *const *environment, char path[PATH_MAX])
{
    const char *folder = option_find_variable(environment, "XDG_CONFIG_HOME");
    const char *home = option_find_variable(environment, "HOME");
    int length = PATH_MAX;

    if (folder && folder[0] == '/')
        length = snprintf(path, PATH_MAX, "%s/dualgpuopt/presets", folder);
    else if (home && home[0] == '/')
        length = snprintf(path, PATH_MAX, "%s/.config/dualgpuopt/presets", home);
    if (length < 0 || length >= PATH_MAX)
        path[0] = '\0';
}

static enum dgo_status preset_path(char *const *environment, const char *name, char path[PATH_MAX],
                                   struct dgo_error *err)
{
    char folder[PATH_MAX];
    enum dgo_status status = preset_check_name(name, err);

    if (status != DGO_OK)
        return status;
    preset_folder(environment, folder);
    if (!folder[0])
        return dgo_fail(err, DGO_ENOTFOUND,
                        "there is no home folder to keep presets in; set HOME or XDG_CONFIG_HOME");
    if (snprintf(path, PATH_MAX, "%.4000s/%s.yaml", folder, name) >= PATH_MAX)
        return dgo_fail(err, DGO_ELIMIT, "the path of the preset '%s' is too long", name);
    return DGO_OK;
}

/* ---- values ---- */

static bool is_yes(const char *text)
{
    return strcmp(text, "true") == 0;
}

enum dgo_status preset_set(struct preset *preset, enum option_id id, const char *text,
                           struct dgo_error *err)
{
    const struct option_spec *spec = &option_specs[id];
    char shown[80];
    uint64_t number;
    uint32_t i = 0;
    enum dgo_status status;

    if (!is_launch_option(id))
        return dgo_fail(err, DGO_EUSAGE, "'%s' says nothing about a launch", spec->name);
    snprintf(shown, sizeof shown, "%s", spec->name);
    if (spec->kind == KIND_FLAG && !is_yes(text) && strcmp(text, "false") != 0)
        return dgo_fail(err, DGO_EUSAGE, "%s: '%.40s' is neither true nor false", shown, text);
    if (spec->kind != KIND_FLAG) {
        status = option_parse(spec, shown, text, &number, err);
        if (status != DGO_OK)
            return status;
    }
    while (i < preset->option_count && preset->option[i].id != id)
        i++;
    if (i == PRESET_OPTION_MAX)
        return dgo_fail(err, DGO_ELIMIT, "more than %d options in a preset", PRESET_OPTION_MAX);
    if (!dgo_text_copy(preset->option[i].text, PRESET_TEXT_MAX, text))
        return dgo_fail(err, DGO_ELIMIT, "%s: a value of more than %d bytes", shown,
                        PRESET_TEXT_MAX - 1);
    preset->option[i].id = id;
    preset->option_count += i == preset->option_count;
    return DGO_OK;
}

enum dgo_status preset_apply(const struct preset *preset, struct options *options,
                             struct dgo_error *err)
{
    for (uint32_t i = 0; i < preset->option_count; i++) {
        const enum option_id id = preset->option[i].id;
        const bool flag = option_specs[id].kind == KIND_FLAG;
        enum dgo_status status;

        if (options->value[id].given && options->value[id].origin == ORIGIN_FLAG)
            continue;
        if (flag && !is_yes(preset->option[i].text)) {
            options->value[id].given = false;
            continue;
        }
        status = options_set(options, id, flag ? NULL : preset->option[i].text, ORIGIN_FLAG, err);
        if (status != DGO_OK) {
            dgo_error_prefix(err, status, "preset %s", preset->name);
            return status;
        }
    }
    return DGO_OK;
}

bool preset_has_alias(const struct preset *preset, const char *name)
{
    for (uint32_t i = 0; i < preset->alias_count; i++)
        if (strcmp(preset->alias[i], name) == 0)
            return true;
    return false;
}

enum dgo_status preset_add_alias(struct preset *preset, const char *alias, struct dgo_error *err)
{
    char shown[4 * PRESET_ALIAS_BYTES];
    const size_t length = strlen(alias);

    if (length == 0 || length >= PRESET_ALIAS_BYTES ||
        !dgo_text_copy_escaped(shown, sizeof shown, alias, length) || strcmp(shown, alias) != 0)
        return dgo_fail(err, DGO_EUSAGE, "an alias is a name of 1 to %d bytes on one line",
                        PRESET_ALIAS_BYTES - 1);
    if (preset_has_alias(preset, alias))
        return DGO_OK;
    if (preset->alias_count == PRESET_ALIAS_MAX)
        return dgo_fail(err, DGO_ELIMIT, "more than %d aliases", PRESET_ALIAS_MAX);
    (void)dgo_text_copy(preset->alias[preset->alias_count++], PRESET_ALIAS_BYTES, alias);
    return DGO_OK;
}

/* ---- reading ---- */

static enum dgo_status bad(const struct yaml_node *node, struct dgo_error *err, const char *what)
{
    return dgo_fail(err, DGO_EFORMAT, "line %" PRIu32 ", column %" PRIu32 ": %s", node->line,
                    node->column, what);
}

static enum dgo_status read_option(const struct yaml_node *node, struct preset *preset,
                                   struct dgo_error *err)
{
    const char *names[sizeof launch_options / sizeof launch_options[0] + 1] = {NULL};
    struct dgo_error said = {0};
    const char *nearest;

    if (node->kind != YAML_SCALAR)
        return bad(node, err, "an option is one value");
    for (size_t i = 0; i < sizeof launch_options / sizeof launch_options[0]; i++) {
        names[i] = option_specs[launch_options[i]].name;
        if (strcmp(names[i], node->key) != 0)
            continue;
        if (preset_set(preset, launch_options[i], node->raw, &said) == DGO_OK)
            return DGO_OK;
        return dgo_fail(err, DGO_EFORMAT, "line %" PRIu32 ", column %" PRIu32 ": %s", node->line,
                        node->column, said.text);
    }
    nearest = nearest_word(node->key, names);
    return dgo_fail(err, DGO_EFORMAT,
                    "line %" PRIu32 ", column %" PRIu32 ": a preset has no option '%.40s'%s%s",
                    node->key_line, node->key_column, node->key, nearest ? "; did you mean " : "",
                    nearest ? nearest : "");
}

static enum dgo_status read_args(const struct yaml_node *list, struct preset *preset,
                                 struct dgo_error *err)
{
    if (list->kind != YAML_LIST)
        return bad(list, err, "args is a list of words: [--no-warmup]");
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        if (node->kind != YAML_SCALAR)
            return bad(node, err, "a word of the engine's is expected here");
        if (preset->arg_count == PRESET_ARG_MAX)
            return bad(node, err, "more than 64 words for the engine");
        if (!dgo_text_copy(preset->arg[preset->arg_count++], PRESET_TEXT_MAX, node->raw))
            return bad(node, err, "a word of more than 511 bytes");
    }
    return DGO_OK;
}

static enum dgo_status read_aliases(const struct yaml_node *list, struct preset *preset,
                                    struct dgo_error *err)
{
    struct dgo_error said = {0};

    if (list->kind != YAML_LIST)
        return bad(list, err, "aliases is a list of names: [gpt-4o-mini]");
    for (const struct yaml_node *node = list->first; node; node = node->next)
        if (node->kind != YAML_SCALAR)
            return bad(node, err, "a name is expected here");
        else if (preset_add_alias(preset, node->raw, &said) != DGO_OK)
            return bad(node, err, said.text);
    return DGO_OK;
}

static enum dgo_status read_key(const struct yaml_node *node, struct preset *preset,
                                struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    if (strcmp(node->key, "version") == 0) {
        if (node->kind != YAML_SCALAR || strcmp(node->raw, "1") != 0)
            return bad(node, err, "this program knows presets of version 1");
    } else if (strcmp(node->key, "model") == 0) {
        if (node->kind != YAML_SCALAR || !node->raw[0] ||
            !dgo_text_copy(preset->model, sizeof preset->model, node->raw))
            return bad(node, err, "model is the path of a model");
    } else if (strcmp(node->key, "options") == 0) {
        if (node->kind != YAML_MAP)
            return bad(node, err, "options is a map: {ctx: 16384}");
        for (const struct yaml_node *one = node->first; one && status == DGO_OK; one = one->next)
            status = read_option(one, preset, err);
    } else if (strcmp(node->key, "args") == 0) {
        status = read_args(node, preset, err);
    } else if (strcmp(node->key, "aliases") == 0) {
        status = read_aliases(node, preset, err);
    } else {
        return dgo_fail(
            err, DGO_EFORMAT,
            "line %" PRIu32 ", column %" PRIu32
            ": a preset has no '%.40s'; it has version, model, options, args and aliases",
            node->key_line, node->key_column, node->key);
    }
    return status;
}

enum dgo_status preset_parse(const char *name, const char *text, size_t length,
                             struct preset *preset, struct dgo_error *err)
{
    struct dgo_arena arena = {.limit_bytes = YAML_MEMORY_MAX};
    const struct yaml_node *root = NULL;
    enum dgo_status status = preset_check_name(name, err);

    memset(preset, 0, sizeof *preset);
    if (status == DGO_OK)
        status = yaml_tree_parse(text, length, &arena, &root, err);
    if (status == DGO_OK && root->kind != YAML_MAP)
        status = bad(root, err, "a preset is a map of version, model, options and args");
    if (status == DGO_OK && !yaml_child(root, "version"))
        status = bad(root, err, "a preset begins with version: 1");
    for (const struct yaml_node *node = root && status == DGO_OK ? root->first : NULL;
         node && status == DGO_OK; node = node->next)
        status = read_key(node, preset, err);
    if (status == DGO_OK && !preset->model[0])
        status = bad(root, err, "a preset names its model");
    dgo_arena_done(&arena);
    if (status != DGO_OK) {
        dgo_error_prefix(err, status, "%s.yaml", name);
        return status;
    }
    (void)dgo_text_copy(preset->name, sizeof preset->name, name);
    for (uint32_t i = 0; i < preset->arg_count; i++)
        preset->arg_list[i] = preset->arg[i];
    return DGO_OK;
}

static void note_name(const char *name, const struct preset *preset, const char *problem,
                      void *data)
{
    const char **nearest = data; /* [0] asked for, [1] found */
    const char *words[] = {name, NULL};

    (void)preset;
    (void)problem;
    if (!nearest[1] && nearest_word(nearest[0], words))
        nearest[1] = strdup(name);
}

enum dgo_status preset_read(char *const *environment, const char *name, struct preset *preset,
                            struct dgo_error *err)
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t length;
    enum dgo_status status = preset_path(environment, name, path, err);

    if (status != DGO_OK)
        return status;
    status = dgo_file_read(path, "the preset", PRESET_BYTES_MAX, &text, &length, err);
    if (status == DGO_ENOTFOUND) {
        const char *nearest[2] = {name, NULL};

        if (preset_each(environment, note_name, nearest, NULL) != DGO_OK)
            nearest[1] = NULL; /* a hint the less */
        dgo_fail(err, DGO_ENOTFOUND,
                 "there is no preset '%s'%s%s; `dualgpuopt presets list` has them", name,
                 nearest[1] ? "; did you mean " : "", nearest[1] ? nearest[1] : "");
        free((void *)nearest[1]);
        return DGO_ENOTFOUND;
    }
    if (status == DGO_OK)
        status = preset_parse(name, text, length, preset, err);
    free(text);
    return status;
}

struct alias_search {
    const char *name;
    struct preset *preset;
    bool found;
};

static void note_alias(const char *name, const struct preset *preset, const char *problem,
                       void *data)
{
    struct alias_search *search = data;

    (void)name;
    (void)problem; /* told where presets are listed */
    if (search->found || !preset || !preset_has_alias(preset, search->name))
        return;
    memcpy(search->preset, preset, sizeof *preset);
    for (uint32_t i = 0; i < preset->arg_count; i++)
        search->preset->arg_list[i] = search->preset->arg[i];
    search->found = true;
}

enum dgo_status preset_find(char *const *environment, const char *name, struct preset *preset,
                            struct dgo_error *err)
{
    struct alias_search search = {.name = name, .preset = preset};
    enum dgo_status status = DGO_ENOTFOUND;

    if (preset_check_name(name, NULL) == DGO_OK)
        status = preset_read(environment, name, preset, err);
    if (status != DGO_ENOTFOUND)
        return status;
    status = preset_each(environment, note_alias, &search, err);
    if (status == DGO_OK && !search.found)
        status = dgo_fail(err, DGO_ENOTFOUND, "there is no preset of that name or alias");
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum dgo_status preset_each(char *const *environment, preset_fn each, void *data,
                            struct dgo_error *err)
{
    char folder[PATH_MAX];
    char **names = calloc(PRESET_MAX, sizeof *names);
    struct preset *preset = malloc(sizeof *preset);
    struct dirent *entry;
    uint32_t count = 0;
    DIR *dir = NULL;

    preset_folder(environment, folder);
    if (folder[0])
        dir = opendir(folder); /* none yet is none to tell */
    while (names && preset && dir && (entry = readdir(dir)) && count < PRESET_MAX) {
        const size_t length = strlen(entry->d_name);
        char name[PRESET_NAME_MAX];

        if (length <= 5 || length - 5 >= sizeof name ||
            strcmp(entry->d_name + length - 5, ".yaml") != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(length - 5), entry->d_name);
        if (preset_check_name(name, NULL) == DGO_OK && (names[count] = strdup(name)))
            count++;
    }
    if (dir)
        closedir(dir);
    if (names)
        qsort(names, count, sizeof *names, by_text);
    for (uint32_t i = 0; i < count; i++) {
        struct dgo_error problem = {0};
        char path[PATH_MAX];
        char *text = NULL;
        size_t length;
        const bool good = preset_path(environment, names[i], path, &problem) == DGO_OK &&
                          dgo_file_read(path, "the preset", PRESET_BYTES_MAX, &text, &length,
                                        &problem) == DGO_OK &&
                          preset_parse(names[i], text, length, preset, &problem) == DGO_OK;

        each(names[i], good ? preset : NULL, good ? NULL : problem.text, data);
        free(text);
        free(names[i]);
    }
    free(names);
    free(preset);
    return names && preset ? DGO_OK : dgo_fail(err, DGO_ENOMEM, "out of memory for presets");
}

/* ---- writing ---- */

/* Bytes of a character beyond ASCII that YAML takes for the end of a line or does not take at all;
 * 0 for all others. */
static uint32_t unprintable_bytes(const unsigned char *at, uint32_t *code)
{
    if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f) {
        *code = at[1];
        return 2;
    }
    if (at[0] < 0xe0 || at[0] > 0xef || at[1] == 0 || at[2] == 0)
        return 0;
    *code = (at[0] & 0xfU) << 12 | (at[1] & 0x3fU) << 6 | (at[2] & 0x3fU);
    return *code == 0x2028 || *code == 0x2029 || *code == 0xfeff || *code >= 0xfffe ? 3 : 0;
}

/* In double quotes, which need no look at what YAML would make of a plain word. */
static void add_quoted(struct dgo_text *text, const char *value)
{
    uint32_t code, length;

    dgo_text_add(text, "\"");
    for (const char *at = value; *at; at++)
        if (*at == '"' || *at == '\\') {
            dgo_text_addf(text, "\\%c", *at);
        } else if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            dgo_text_addf(text, "\\x%02x", (unsigned)(unsigned char)*at);
        } else if ((length = unprintable_bytes((const unsigned char *)at, &code)) != 0) {
            dgo_text_addf(text, "\\u%04x", (unsigned)code);
            at += length - 1;
        } else {
            dgo_text_add_bytes(text, at, 1);
        }
    dgo_text_add(text, "\"");
}

bool preset_text(const struct preset *preset, struct dgo_text *text)
{
    dgo_text_addf(text, "version: %d\nmodel: ", PRESET_VERSION);
    add_quoted(text, preset->model);
    dgo_text_add(text, "\n");
    if (preset->option_count)
        dgo_text_add(text, "options:\n");
    for (uint32_t i = 0; i < preset->option_count; i++) {
        dgo_text_addf(text, "  %s: ", option_specs[preset->option[i].id].name);
        if (option_specs[preset->option[i].id].kind == KIND_FLAG)
            dgo_text_add(text, preset->option[i].text);
        else
            add_quoted(text, preset->option[i].text);
        dgo_text_add(text, "\n");
    }
    if (preset->arg_count)
        dgo_text_add(text, "args:\n");
    for (uint32_t i = 0; i < preset->arg_count; i++) {
        dgo_text_add(text, "  - ");
        add_quoted(text, preset->arg[i]);
        dgo_text_add(text, "\n");
    }
    if (preset->alias_count)
        dgo_text_add(text, "aliases:\n");
    for (uint32_t i = 0; i < preset->alias_count; i++) {
        dgo_text_add(text, "  - ");
        add_quoted(text, preset->alias[i]);
        dgo_text_add(text, "\n");
    }
    return !text->truncated;
}

/* The file's path and text. */
static enum dgo_status prepare(char *const *environment, const struct preset *preset, bool replace,
                               char path[PATH_MAX], struct dgo_text *text, struct dgo_error *err)
{
    struct preset *back = malloc(sizeof *back);
    enum dgo_status status = preset_path(environment, preset->name, path, err);

    if (status == DGO_OK && !back)
        status = dgo_fail(err, DGO_ENOMEM, "out of memory for a preset");
    if (status == DGO_OK && !replace && access(path, F_OK) == 0)
        status = dgo_fail(err, DGO_EBUSY, "there is a preset '%s' already; --replace replaces it",
                          preset->name);
    if (status == DGO_OK && !preset_text(preset, text))
        status = dgo_fail(err, DGO_ELIMIT, "the preset is longer than %d bytes", PRESET_BYTES_MAX);
    if (status == DGO_OK) /* what cannot be read back is not written */
        status = preset_parse(preset->name, text->data, text->length, back, err);
    free(back);
    return status;
}

static enum dgo_status write_or_check(char *const *environment, const struct preset *preset,
                                      bool replace, bool write, struct dgo_error *err)
{
    char path[PATH_MAX];
    char *bytes = calloc(1, PRESET_BYTES_MAX);
    struct dgo_text text = {.data = bytes, .size = PRESET_BYTES_MAX};
    enum dgo_status status = bytes ? prepare(environment, preset, replace, path, &text, err)
                                   : dgo_fail(err, DGO_ENOMEM, "out of memory for a preset");

    if (status == DGO_OK && write)
        status = dgo_file_save(path, bytes, text.length, err);
    free(bytes);
    return status;
}

enum dgo_status preset_write(char *const *environment, const struct preset *preset, bool replace,
                             struct dgo_error *err)
{
    return write_or_check(environment, preset, replace, true, err);
}

enum dgo_status preset_write_check(char *const *environment, const struct preset *preset,
                                   bool replace, struct dgo_error *err)
{
    return write_or_check(environment, preset, replace, false, err);
}

enum dgo_status preset_remove(char *const *environment, const char *name, struct dgo_error *err)
{
    char path[PATH_MAX];
    enum dgo_status status = preset_path(environment, name, path, err);

    if (status != DGO_OK)
        return status;
    if (unlink(path) == 0)
        return DGO_OK;
    if (errno == ENOENT)
        return dgo_fail(err, DGO_ENOTFOUND, "there is no preset '%s'", name);
    return dgo_fail_errno(err, DGO_EIO, errno, "the preset '%s' cannot be removed", name);
}
