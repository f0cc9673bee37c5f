/* config.c - the configuration file into values, and whose word counts for each. */
#include "config.h"

#include "config_internal.h"
#include "dgo_file.h"
#include "dgo_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct option_spec setting_specs[SETTING_COUNT] = {
#define X(id, key, kind, least, most, metavar, value, help)                                        \
    [SETTING_##id] = {key, KIND_##kind, least, most, metavar, value, help},
#include "settings.def"
#undef X
};

struct loader {
    struct config *config;
    struct dgo_arena *arena;
    char *const *environment;
    struct dgo_error *err;
};

/* ---- keys ---------------------------------------------------------------------------------- */

bool config_option_is_key(enum option_id id)
{
    return id != OPTION_HELP && id != OPTION_CONFIG && id != OPTION_ORIGIN;
}

enum { KEY_COUNT_MAX = OPTION_COUNT + SETTING_COUNT + COMPONENT_COUNT + 5, KEY_TEXT_MAX = 64 };

static const char *component_name(unsigned component)
{
    return dgo_component_get(app_component((enum component)component))->name;
}

const char *config_nearest_key(const char *key)
{
    static _Thread_local char component_keys[COMPONENT_COUNT][KEY_TEXT_MAX];
    const char *words[KEY_COUNT_MAX + 1] = {"models", "alerts", "components", "groups"};
    const size_t length = strlen(key);
    size_t count = 4;
    const char *nearest;

    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (config_option_is_key((enum option_id)i))
            words[count++] = option_specs[i].name;
    for (unsigned i = 0; i < SETTING_COUNT; i++)
        words[count++] = setting_specs[i].name;
    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        (void)snprintf(component_keys[i], KEY_TEXT_MAX, "components.%s", component_name(i));
        words[count++] = component_keys[i];
    }
    nearest = nearest_word(key, words);
    for (size_t i = 0; !nearest && length >= 3 && i < count; i++)
        if (strncmp(words[i], key, length) == 0)
            nearest = words[i]; /* "alerts.memory" for "alerts.memory-percent" */
    return nearest;
}

static enum dgo_status fail_at(struct loader *loader, uint32_t line, uint32_t column,
                               const char *fmt, ...) DGO_PRINTF(4, 5);

static enum dgo_status fail_at(struct loader *loader, uint32_t line, uint32_t column,
                               const char *fmt, ...)
{
    char what[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return dgo_fail(loader->err, DGO_EFORMAT, "line %" PRIu32 ", column %" PRIu32 ": %s", line,
                    column, what);
}

/* `prefix` is the section with its point, or "". */
static enum dgo_status fail_unknown(struct loader *loader, const char *prefix,
                                    const struct yaml_node *node)
{
    char key[2 * KEY_TEXT_MAX];
    const char *nearest;

    (void)snprintf(key, sizeof key, "%s%.60s", prefix, node->key);
    nearest = config_nearest_key(key);
    if (nearest && strncmp(nearest, prefix, strlen(prefix)) == 0)
        return fail_at(loader, node->key_line, node->key_column,
                       "unknown key '%s%.60s'; did you mean '%s'?", prefix, node->key, nearest);
    return fail_at(loader, node->key_line, node->key_column,
                   "unknown key '%s%.60s'; 'man dualgpuopt-config' lists those there are", prefix,
                   node->key);
}

/* ---- values -------------------------------------------------------------------------------- */

static enum dgo_status fail_memory(struct loader *loader)
{
    return dgo_fail(loader->err, DGO_ENOMEM, "out of memory");
}

/* "~/models" as people write it; what is relative would mean another file with every folder one
 * stands in. */
static enum dgo_status take_path(struct loader *loader, const char *shown, const char *text,
                                 bool name_is_good, const char **path)
{
    const char *home = option_find_variable(loader->environment, "HOME");
    char whole[PATH_MAX];

    if (text[0] == '~' && (text[1] == '/' || text[1] == '\0') && home) {
        if ((size_t)snprintf(whole, sizeof whole, "%s%s", home, text + 1) >= sizeof whole)
            return dgo_fail(loader->err, DGO_EFORMAT, "%s: a path that long cannot be", shown);
        text = whole;
    }
    if (text[0] != '/' && !(name_is_good && !strchr(text, '/')))
        return dgo_fail(loader->err, DGO_EFORMAT,
                        "%s: '%.80s' must be an absolute path (or start with ~/)", shown, text);
    *path = dgo_arena_take_text(loader->arena, text, strlen(text));
    return *path ? DGO_OK : fail_memory(loader);
}

static bool is_path(const struct option_spec *spec, bool *name_is_good)
{
    *name_is_good = spec->metavar && strcmp(spec->metavar, "PATH") == 0; /* looked for on PATH */
    return spec->kind == KIND_TEXT && (*name_is_good || strcmp(spec->metavar, "FILE") == 0 ||
                                       strcmp(spec->metavar, "DIR") == 0);
}

static enum dgo_status read_flag(struct loader *loader, const struct option_spec *spec,
                                 const struct yaml_node *node, struct option_value *value)
{
    const bool yes = strcmp(node->text, "true") == 0, no = strcmp(node->text, "false") == 0;

    if (node->quoted || yes == no)
        return fail_at(loader, node->line, node->column, "%s must be true or false, not '%.40s'",
                       spec->name, node->text);
    *value = (struct option_value){
        .given = yes, .origin = ORIGIN_FILE, .number = yes, .line = node->line};
    return DGO_OK;
}

/* A value of a row; one that was given nearer to the person stays. */
static enum dgo_status read_value(struct loader *loader, const struct option_spec *spec,
                                  const struct yaml_node *node, struct option_value *value)
{
    struct option_value read = {.given = true, .origin = ORIGIN_FILE, .line = node->line};
    char shown[2 * KEY_TEXT_MAX];
    bool name_is_good;
    enum dgo_status status;

    if (node->kind != YAML_SCALAR)
        return fail_at(loader, node->line, node->column, "%s must be one value, not a %s",
                       spec->name, node->kind == YAML_LIST ? "list" : "map");
    if (node->text[0] == '\0')
        return fail_at(loader, node->line, node->column,
                       "%s has no value; write one or take the line out", spec->name);
    (void)snprintf(shown, sizeof shown, "line %" PRIu32 ", column %" PRIu32 ": %s", node->line,
                   node->column, spec->name);
    if (spec->kind == KIND_FLAG) {
        status = read_flag(loader, spec, node, &read);
    } else {
        read.text = node->raw;
        status = option_parse(spec, shown, node->text, &read.number, loader->err);
        if (status == DGO_OK && is_path(spec, &name_is_good))
            status = take_path(loader, shown, node->raw, name_is_good, &read.text);
    }
    if (status != DGO_OK && loader->err && status == DGO_EUSAGE)
        loader->err->status = DGO_EFORMAT; /* not the command line is wrong, the file is */
    if (status == DGO_OK && value->origin < ORIGIN_ENVIRONMENT)
        *value = read;
    return status == DGO_EUSAGE ? DGO_EFORMAT : status;
}

static enum dgo_status read_folders(struct loader *loader, const struct yaml_node *node)
{
    struct config_folders read = {.origin = ORIGIN_FILE, .line = node->line};
    const struct yaml_node *child = node->kind == YAML_LIST ? node->first : node;

    if (node->kind == YAML_MAP)
        return fail_at(loader, node->line, node->column,
                       "models must be a list of folders like [~/models]");
    for (; child; child = child->next) {
        char shown[KEY_TEXT_MAX];
        enum dgo_status status;

        if (child->kind != YAML_SCALAR || child->text[0] == '\0')
            return fail_at(loader, child->line, child->column, "models: a folder must be text");
        if (read.count == CONFIG_FOLDER_MAX)
            return fail_at(loader, child->line, child->column, "more than %d folders in models",
                           CONFIG_FOLDER_MAX);
        (void)snprintf(shown, sizeof shown, "line %" PRIu32 ", column %" PRIu32 ": models",
                       child->line, child->column);
        status = take_path(loader, shown, child->raw, false, &read.path[read.count++]);
        if (status != DGO_OK)
            return status;
        if (node->kind != YAML_LIST)
            break;
    }
    if (loader->config->folders.origin < ORIGIN_ENVIRONMENT)
        loader->config->folders = read;
    return DGO_OK;
}

/* "alerts:" with nothing below it, or with comments alone. */
static bool is_nothing(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->quoted && node->text[0] == '\0';
}

static enum dgo_status read_components(struct loader *loader, const struct yaml_node *map)
{
    if (is_nothing(map))
        return DGO_OK;
    if (map->kind != YAML_MAP)
        return fail_at(loader, map->line, map->column,
                       "components must be a map like {optimizer: cpu}");
    for (const struct yaml_node *child = map->first; child; child = child->next) {
        unsigned at = 0;
        enum dgo_hint hint;

        while (at < COMPONENT_COUNT && strcmp(component_name(at), child->key) != 0)
            at++;
        if (at == COMPONENT_COUNT)
            return fail_unknown(loader, "components.", child);
        if (child->kind != YAML_SCALAR || dgo_hint_parse(child->text, &hint, NULL) != DGO_OK)
            return fail_at(loader, child->line, child->column,
                           "components.%s must be cpu, gpu or auto", child->key);
        if (loader->config->component[at].origin < ORIGIN_ENVIRONMENT)
            loader->config->component[at] =
                (struct config_place){true, ORIGIN_FILE, hint, child->line};
    }
    return DGO_OK;
}

static enum dgo_status read_section(struct loader *loader, const char *section,
                                    const struct yaml_node *map)
{
    const size_t length = strlen(section);

    if (is_nothing(map))
        return DGO_OK;
    if (map->kind != YAML_MAP)
        return fail_at(loader, map->line, map->column, "%s must be a map", section);
    for (const struct yaml_node *child = map->first; child; child = child->next) {
        char prefix[KEY_TEXT_MAX];
        unsigned at = 0;
        enum dgo_status status;

        while (at < SETTING_COUNT &&
               !(strncmp(setting_specs[at].name, section, length) == 0 &&
                 setting_specs[at].name[length] == '.' &&
                 strcmp(setting_specs[at].name + length + 1, child->key) == 0))
            at++;
        (void)snprintf(prefix, sizeof prefix, "%s.", section);
        if (at == SETTING_COUNT)
            return fail_unknown(loader, prefix, child);
        status = read_value(loader, &setting_specs[at], child, &loader->config->setting[at]);
        if (status != DGO_OK)
            return status;
    }
    return DGO_OK;
}

static bool is_section(const char *key)
{
    const size_t length = strlen(key);

    for (unsigned i = 0; i < SETTING_COUNT; i++)
        if (strncmp(setting_specs[i].name, key, length) == 0 &&
            setting_specs[i].name[length] == '.')
            return true;
    return false;
}

static enum dgo_status read_root(struct loader *loader, const struct yaml_node *root)
{
    enum dgo_status status = DGO_OK;

    if (is_nothing(root))
        return DGO_OK;
    if (root->kind != YAML_MAP)
        return fail_at(loader, root->line, root->column,
                       "the file must be lines like \"ctx: 8192\"");
    for (const struct yaml_node *child = root->first; child && status == DGO_OK;
         child = child->next) {
        unsigned at = 0;

        while (at < OPTION_COUNT && !(config_option_is_key((enum option_id)at) &&
                                      strcmp(option_specs[at].name, child->key) == 0))
            at++;
        if (at < OPTION_COUNT)
            status =
                read_value(loader, &option_specs[at], child, &loader->config->options.value[at]);
        else if (strcmp(child->key, "models") == 0)
            status = read_folders(loader, child);
        else if (strcmp(child->key, "components") == 0)
            status = read_components(loader, child);
        else if (strcmp(child->key, "groups") == 0)
            status = config_read_groups(child, loader->arena, &loader->config->groups, loader->err);
        else if (is_section(child->key))
            status = read_section(loader, child->key, child);
        else
            status = fail_unknown(loader, "", child);
    }
    return status;
}

/* ---- environment --------------------------------------------------------------------------- */

/* Not the file is wrong, the command line is. */
static enum dgo_status as_usage(struct dgo_error *err, enum dgo_status status)
{
    if (status != DGO_EFORMAT)
        return status;
    if (err)
        err->status = DGO_EUSAGE;
    return DGO_EUSAGE;
}

/* DUALGPUOPT_MODELS, folders with ':' between them, as in PATH. */
static enum dgo_status read_folders_variable(struct loader *loader)
{
    const char *text = option_find_variable(loader->environment, "DUALGPUOPT_MODELS");
    struct config_folders *folders = &loader->config->folders;

    if (!text)
        return DGO_OK;
    folders->origin = ORIGIN_ENVIRONMENT;
    while (*text) {
        const size_t length = strcspn(text, ":");
        char folder[PATH_MAX];
        enum dgo_status status;

        if (length > 0) {
            if (length >= sizeof folder || folders->count == CONFIG_FOLDER_MAX)
                return dgo_fail(loader->err, DGO_EUSAGE, "DUALGPUOPT_MODELS: too much");
            memcpy(folder, text, length);
            folder[length] = '\0';
            status = take_path(loader, "DUALGPUOPT_MODELS", folder, false,
                               &folders->path[folders->count++]);
            if (status != DGO_OK)
                return as_usage(loader->err, status);
        }
        text += length + (text[length] == ':');
    }
    return DGO_OK;
}

static enum dgo_status read_component_variables(struct loader *loader)
{
    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        char key[KEY_TEXT_MAX], variable[OPTION_VARIABLE_MAX];
        const struct option_spec spec = {.name = key};
        struct config_place *place = &loader->config->component[i];
        const char *text;

        (void)snprintf(key, sizeof key, "component.%s", component_name(i));
        option_variable(&spec, variable);
        text = option_find_variable(loader->environment, variable);
        if (!text)
            continue;
        *place = (struct config_place){.given = true, .origin = ORIGIN_ENVIRONMENT};
        if (dgo_hint_parse(text, &place->hint, NULL) != DGO_OK)
            return dgo_fail(loader->err, DGO_EUSAGE, "%s: '%.40s' is neither cpu, gpu nor auto",
                            variable, text);
    }
    return DGO_OK;
}

static enum dgo_status read_environment(struct loader *loader)
{
    enum dgo_status status = DGO_OK;

    for (unsigned i = 0; i < SETTING_COUNT && status == DGO_OK; i++) {
        const struct option_spec *spec = &setting_specs[i];
        struct option_value *value = &loader->config->setting[i];

        if (spec->value) {
            *value = (struct option_value){.given = true, .text = spec->value};
            status = option_parse(spec, spec->name, spec->value, &value->number, loader->err);
        }
        if (status == DGO_OK)
            status = option_read_variable(spec, loader->environment, value, loader->err);
    }
    if (status == DGO_OK)
        status = read_folders_variable(loader);
    return status == DGO_OK ? read_component_variables(loader) : status;
}

/* FNV-1a: whether the file says the same as before. */
static uint64_t digest_of(const char *bytes, size_t length)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < length; i++)
        digest = (digest ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return digest;
}

/* ---- the whole ----------------------------------------------------------------------------- */

void config_path(const struct options *given, char *const *environment, char path[PATH_MAX])
{
    const char *named = option_text(given, OPTION_CONFIG);
    const char *folder = option_find_variable(environment, "XDG_CONFIG_HOME");
    const char *home = option_find_variable(environment, "HOME");
    size_t length;

    if (named)
        length = (size_t)snprintf(path, PATH_MAX, "%s", named);
    else if (folder && folder[0] == '/') /* a relative one is to be ignored, says the standard */
        length = (size_t)snprintf(path, PATH_MAX, "%s/dualgpuopt/config.yaml", folder);
    else if (home && home[0] == '/')
        length = (size_t)snprintf(path, PATH_MAX, "%s/.config/dualgpuopt/config.yaml", home);
    else
        length = PATH_MAX;
    if (length >= PATH_MAX)
        path[0] = '\0';
}

static enum dgo_status load(struct config_box *box, char *const *environment, const char *bytes,
                            size_t length, struct dgo_error *err)
{
    struct loader loader = {&box->config, &box->arena, environment, err};
    const struct yaml_node *root = NULL;
    enum dgo_status status = read_environment(&loader);

    if (status != DGO_OK)
        return status;
    status = yaml_tree_parse_any(bytes, length, &box->arena, &root, err);
    if (status == DGO_OK && root)
        status = read_root(&loader, root);
    if (status != DGO_OK)
        return dgo_error_prefix(err, status, "%s", box->config.path);
    return DGO_OK;
}

struct opening {
    const struct options *given;
    char *const *environment;
    const char *bytes; /* NULL: the file's */
    size_t length;
    const struct config **config;
    struct dgo_error *err;
};

static enum dgo_status job_open(void *data)
{
    const struct opening *opening = data;
    struct config_box *box = calloc(1, sizeof *box);
    const char *bytes = opening->bytes;
    size_t length = opening->length;
    char *read = NULL;
    enum dgo_status status = DGO_OK;

    if (!box)
        return dgo_fail(opening->err, DGO_ENOMEM, "out of memory");
    box->arena.limit_bytes = YAML_MEMORY_MAX;
    atomic_init(&box->refs, 1);
    box->config.options = *opening->given;
    config_path(opening->given, opening->environment, box->config.path);
    if (!bytes && box->config.path[0]) {
        struct dgo_error err = {0};

        status = dgo_file_read(box->config.path, "the configuration", YAML_BYTES_MAX, &read,
                               &length, &err);
        box->config.from_file = status == DGO_OK;
        if (status == DGO_ENOTFOUND && !option_given(opening->given, OPTION_CONFIG))
            status = DGO_OK;
        if (status != DGO_OK)
            dgo_fail(opening->err, status, "%s", err.text);
        bytes = read;
    }
    box->config.digest = digest_of(bytes ? bytes : "", length);
    if (status == DGO_OK)
        status = load(box, opening->environment, bytes ? bytes : "", length, opening->err);
    free(read);
    if (status == DGO_OK)
        *opening->config = &box->config;
    else
        config_unref(&box->config);
    return status;
}

enum dgo_status config_open(const struct options *given, char *const *environment,
                            const struct config **config, struct dgo_error *err)
{
    return app_run(COMPONENT_CONFIGURATION, job_open,
                   &(struct opening){
                       .given = given, .environment = environment, .config = config, .err = err});
}

enum dgo_status config_parse(const struct options *given, char *const *environment,
                             const char *bytes, size_t length, const struct config **config,
                             struct dgo_error *err)
{
    return app_run(COMPONENT_CONFIGURATION, job_open,
                   &(struct opening){given, environment, bytes, length, config, err});
}

static struct config_box *box_of(const struct config *config)
{
    return (struct config_box *)(uintptr_t)config; /* handed out const, ours to count */
}

const struct config *config_ref(const struct config *config)
{
    atomic_fetch_add(&box_of(config)->refs, 1);
    return config;
}

void config_unref(const struct config *config)
{
    struct config_box *box = config ? box_of(config) : NULL;

    if (!box || atomic_fetch_sub(&box->refs, 1) > 1)
        return;
    dgo_arena_done(&box->arena);
    free(box);
}

void config_place_components(const struct config *config, const struct config *before)
{
    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        const struct config_place *place = &config->component[i];
        char origin[64];

        if (place->given && place->origin == ORIGIN_FILE) {
            (void)snprintf(origin, sizeof origin, "the configuration file, line %" PRIu32,
                           place->line);
            (void)dgo_component_override(component_name(i), place->hint, origin, NULL);
        } else if (!place->given && before && before->component[i].given) {
            dgo_component_override_clear(component_name(i));
        }
    }
}
