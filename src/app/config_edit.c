/* config_edit.c - one key of the configuration file set or taken out, all other text kept. */
#include "config_internal.h"

#include "dgo_clock.h"
#include "dgo_file.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const uint64_t lock_wait_ns = 5 * DGO_NS_PER_S;

/* What is asked for, and the file it is done to. */
struct edit {
    const char *bytes;
    size_t length;
    char section[64]; /* "alerts" of "alerts.free"; "" none */
    const char *leaf;
    const char *value; /* as YAML; NULL: take out */
};

/* The bytes from `at` to `end` give way to `text`. */
struct change {
    size_t at, end;
    char text[4 * PATH_MAX];
};

/* ---- values as YAML ------------------------------------------------------------------------ */

/* Needs no quotes: letters, digits and what cannot start or end anything in YAML. */
bool config_is_plain(const char *text)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+";
    const char *const first = text;

    for (; *text; text++)
        if (!strchr(good, *text) && !(*text == '-' && text > first))
            return false;
    return text > first;
}

void config_add_scalar(struct dgo_text *out, const char *text)
{
    if (config_is_plain(text)) {
        dgo_text_add(out, text);
        return;
    }
    dgo_text_add(out, "\"");
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            dgo_text_addf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            dgo_text_addf(out, "\\x%02x", c);
        else
            dgo_text_add_bytes(out, text, 1);
    }
    dgo_text_add(out, "\"");
}

static void add_value(struct dgo_text *out, const char *key, const char *const *values,
                      uint32_t count)
{
    const bool is_list = strcmp(key, "models") == 0;

    if (is_list)
        dgo_text_add(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            dgo_text_add(out, ", ");
        config_add_scalar(out, values[i]);
    }
    if (is_list)
        dgo_text_add(out, "]");
}

/* ---- where --------------------------------------------------------------------------------- */

static const struct yaml_node *last_child(const struct yaml_node *map)
{
    const struct yaml_node *last = map->first;

    while (last && last->next)
        last = last->next;
    return last;
}

/* The start of the line behind the one that `at` ends in. */
static size_t next_line(const struct edit *edit, size_t at)
{
    const char *end;

    if (at > 0 && edit->bytes[at - 1] == '\n')
        return at; /* a block of text ends there already */
    end = memchr(edit->bytes + at, '\n', edit->length - at);
    return end ? (size_t)(end - edit->bytes) + 1 : edit->length;
}

static size_t line_start(const struct edit *edit, size_t at)
{
    while (at > 0 && edit->bytes[at - 1] != '\n')
        at--;
    return at;
}

/* A new pair behind the line that ends at `at`, `indent` blanks in. */
static void add_line(const struct edit *edit, size_t at, uint32_t indent, const char *pair,
                     struct change *change)
{
    const bool cut = at > 0 && edit->bytes[at - 1] != '\n'; /* the last line has no end */

    change->at = change->end = at;
    (void)snprintf(change->text, sizeof change->text, "%s%*s%s\n", cut ? "\n" : "", (int)indent, "",
                   pair);
}

/* A pair into a map, which may be empty text (a section whose lines are all comments). */
static void add_pair(const struct edit *edit, const struct yaml_node *map, uint32_t empty_indent,
                     const char *pair, struct change *change)
{
    if (map && map->kind == YAML_MAP && map->flow) {
        change->at = change->end = map->at + 1;
        (void)snprintf(change->text, sizeof change->text, "%s%s", pair,
                       map->child_count ? ", " : "");
    } else if (map && map->first) {
        add_line(edit, next_line(edit, last_child(map)->end), map->first->key_column - 1, pair,
                 change);
    } else {
        add_line(edit, map && map->key ? next_line(edit, map->key_end) : edit->length, empty_indent,
                 pair, change);
    }
}

static void replace_value(const struct edit *edit, const struct yaml_node *node,
                          struct change *change)
{
    const bool block = node->kind != YAML_SCALAR && !node->flow;
    const char *colon = memchr(edit->bytes + node->key_end, ':', edit->length - node->key_end);

    change->at = node->at;
    change->end = node->end;
    if ((block || node->at == node->end) && colon) /* from the colon: lines of items, or nothing */
        change->at = (size_t)(colon - edit->bytes) + 1;
    if (change->end < change->at)
        change->end = change->at;
    (void)snprintf(change->text, sizeof change->text, "%s%s%s",
                   edit->bytes[change->at - 1] == ':' ? " " : "", edit->value,
                   change->end > change->at && edit->bytes[change->end - 1] == '\n' ? "\n" : "");
}

static void take_out(const struct edit *edit, const struct yaml_node *map,
                     const struct yaml_node *node, struct change *change)
{
    const struct yaml_node *before = NULL;

    for (const struct yaml_node *child = map->first; child != node; child = child->next)
        before = child;
    change->text[0] = '\0';
    if (!map->flow) {
        change->at = line_start(edit, node->key_at);
        change->end = next_line(edit, node->end > node->key_end ? node->end : node->key_end);
    } else if (node->next) {
        change->at = node->key_at;
        change->end = node->next->key_at;
    } else {
        change->at = before ? before->end : node->key_at;
        change->end = node->end;
    }
}

static enum dgo_status find_change(const struct edit *edit, const struct yaml_node *root,
                                   struct change *change, struct dgo_error *err)
{
    const bool nested = edit->section[0] != '\0';
    const bool is_map = root && root->kind == YAML_MAP;
    const struct yaml_node *section = is_map && nested ? yaml_child(root, edit->section) : NULL;
    const struct yaml_node *map = nested ? section : root;
    const struct yaml_node *node =
        map && map->kind == YAML_MAP ? yaml_child(map, edit->leaf) : NULL;
    char pair[sizeof change->text - 128];

    if (!edit->value) {
        if (!node)
            return dgo_fail(err, DGO_ENOTFOUND, "%s%s%s is not in the file", edit->section,
                            nested ? "." : "", edit->leaf);
        if (nested && map->child_count == 1)
            take_out(edit, root, section, change);
        else
            take_out(edit, map, node, change);
        return DGO_OK;
    }
    if (node) {
        replace_value(edit, node, change);
        return DGO_OK;
    }
    (void)snprintf(pair, sizeof pair, "%s: %s", edit->leaf, edit->value);
    if (!nested || section) {
        add_pair(edit, map, section ? 2 : 0, pair, change);
        return DGO_OK;
    }
    if (is_map && !root->flow)
        (void)snprintf(pair, sizeof pair, "%s:\n%*s%s: %s", edit->section,
                       (int)root->first->key_column + 1, "", edit->leaf, edit->value);
    else
        (void)snprintf(pair, sizeof pair, "%s: {%s: %s}", edit->section, edit->leaf, edit->value);
    add_pair(edit, is_map ? root : NULL, 0, pair, change);
    return DGO_OK;
}

/* "alerts.free" is `free` in the section `alerts`. */
static void find_section(struct edit *edit, const char *key)
{
    static const char *const sections[] = {"alerts.", "components.", "groups."};

    edit->leaf = key;
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (strncmp(key, sections[i], strlen(sections[i])) == 0) {
            edit->leaf = key + strlen(sections[i]);
            (void)snprintf(edit->section, sizeof edit->section, "%.*s",
                           (int)strlen(sections[i]) - 1, key);
        }
}

/* A group is written anew as a whole: what of it is not said stays as the file has it. */
static enum dgo_status write_group(struct edit *edit, const struct yaml_node *root,
                                   struct dgo_arena *arena, const char *const *values,
                                   uint32_t value_count, char name[CONFIG_GROUP_NAME_MAX],
                                   struct dgo_text *yaml, struct dgo_error *err)
{
    const struct yaml_node *map =
        root && root->kind == YAML_MAP ? yaml_child(root, "groups") : NULL;
    struct config_groups *groups = dgo_arena_take(arena, sizeof *groups);
    enum dgo_status status;

    if (!groups)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    *groups = (struct config_groups){0};
    status = map ? config_read_groups(map, arena, groups, err) : DGO_OK;
    if (status == DGO_OK)
        status = config_change_group(groups, edit->leaf, values, value_count, name, yaml, err);
    edit->leaf = name;
    edit->value = yaml->length ? yaml->data : NULL;
    return status;
}

static enum dgo_status apply(const struct edit *edit, const struct change *change, char **out,
                             size_t *out_length, struct dgo_error *err)
{
    const size_t added = strlen(change->text), rest = edit->length - change->end;
    char *made = malloc(change->at + added + rest + 1);

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    memcpy(made, edit->bytes, change->at);
    memcpy(made + change->at, change->text, added);
    memcpy(made + change->at + added, edit->bytes + change->end, rest);
    *out = made;
    *out_length = change->at + added + rest;
    return DGO_OK;
}

enum dgo_status config_edit(const char *bytes, size_t length, const char *key,
                            const char *const *values, uint32_t value_count, char **out,
                            size_t *out_length, struct dgo_error *err)
{
    struct edit edit = {.bytes = bytes, .length = length};
    struct dgo_arena arena = {.limit_bytes = YAML_MEMORY_MAX};
    const struct yaml_node *root = NULL;
    struct change *change = calloc(1, sizeof *change);
    char value[2 * PATH_MAX], name[CONFIG_GROUP_NAME_MAX];
    struct dgo_text text = DGO_TEXT(value);
    enum dgo_status status;

    find_section(&edit, key);
    status = change ? yaml_tree_parse_any(bytes, length, &arena, &root, err)
                    : dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (status == DGO_OK && strcmp(edit.section, "groups") == 0) {
        status = write_group(&edit, root, &arena, values, value_count, name, &text, err);
    } else if (value_count) {
        add_value(&text, key, values, value_count);
        edit.value = value;
    }
    if (status == DGO_OK && text.truncated)
        status = dgo_fail(err, DGO_ELIMIT, "%s: that much cannot be written", key);
    if (status == DGO_OK)
        status = find_change(&edit, root, change, err);
    if (status == DGO_OK)
        status = apply(&edit, change, out, out_length, err);
    dgo_arena_done(&arena);
    free(change);
    return status;
}

/* ---- in the file --------------------------------------------------------------------------- */

/* Two who set at once do it one after the other: a lock on the folder, ended with close(*fd). */
static enum dgo_status lock_folder(const char *path, int *fd, struct dgo_error *err)
{
    const struct timespec pause = {.tv_nsec = 20 * (long)DGO_NS_PER_MS};
    const uint64_t start_ns = dgo_clock_monotonic_ns(dgo_clock_system());
    char folder[PATH_MAX];
    char *slash;
    enum dgo_status status;

    (void)snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    (void)snprintf(slash ? slash : folder, 2, slash == folder ? "/" : slash ? "" : ".");
    status = access(folder, F_OK) == 0 ? DGO_OK : dgo_folder_make(folder, err);
    if (status != DGO_OK)
        return status;
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot open the folder %s", folder);
    while (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
        if (dgo_clock_monotonic_ns(dgo_clock_system()) - start_ns > lock_wait_ns) {
            close(*fd);
            return dgo_fail(err, DGO_EBUSY, "the folder %s is locked by another process", folder);
        }
        (void)nanosleep(&pause, NULL);
    }
    return DGO_OK;
}

struct setting_job {
    const struct options *given;
    char *const *environment;
    const char *key;
    const char *const *values;
    uint32_t value_count;
    struct dgo_error *err;
};

/* The key and its values alone, so that the sentence is about them and no line of the file. */
static enum dgo_status check_alone(const struct setting_job *job)
{
    const struct config *config = NULL;
    struct dgo_error err = {0};
    char *bytes = NULL;
    size_t length = 0;
    enum dgo_status status =
        config_edit("", 0, job->key, job->values, job->value_count, &bytes, &length, job->err);

    if (status != DGO_OK)
        return status;
    status = config_parse(job->given, job->environment, bytes, length, &config, &err);
    free(bytes);
    config_unref(config);
    if (status != DGO_OK) {
        const char *said = strstr(err.text, ": line 1, column ");

        said = said ? strstr(said + strlen(": line 1, column "), ": ") : NULL;
        return dgo_fail(job->err, DGO_EUSAGE, "%s", said ? said + 2 : err.text);
    }
    return DGO_OK;
}

static enum dgo_status change_file(const struct setting_job *job, const char *path)
{
    const struct config *config = NULL;
    char *bytes = NULL, *made = NULL;
    size_t length = 0, made_length = 0;
    enum dgo_status status =
        dgo_file_read(path, "the configuration", YAML_BYTES_MAX, &bytes, &length, job->err);

    if (status == DGO_ENOTFOUND)
        status = DGO_OK;
    if (status == DGO_OK)
        status = config_parse(job->given, job->environment, bytes ? bytes : "", length, &config,
                              job->err);
    config_unref(config);
    config = NULL;
    if (status == DGO_OK)
        status = config_edit(bytes ? bytes : "", length, job->key, job->values, job->value_count,
                             &made, &made_length, job->err);
    if (status == DGO_OK)
        status = config_parse(job->given, job->environment, made, made_length, &config, job->err);
    if (status == DGO_OK)
        status = dgo_file_save(path, made, made_length, job->err);
    config_unref(config);
    free(bytes);
    free(made);
    return status;
}

static enum dgo_status job_set(void *data)
{
    const struct setting_job *job = data;
    char path[PATH_MAX];
    enum dgo_status status = DGO_OK;
    int lock = -1;

    config_path(job->given, job->environment, path);
    if (!path[0])
        return dgo_fail(job->err, DGO_EUSAGE,
                        "no folder for the configuration: set HOME or give --config FILE");
    if (job->value_count > 0 &&
        strncmp(job->key, "groups.", 7) != 0) /* their sentences name no line */
        status = check_alone(job);
    if (status == DGO_OK)
        status = lock_folder(path, &lock, job->err);
    if (status != DGO_OK)
        return status;
    status = change_file(job, path);
    close(lock);
    return status;
}

enum dgo_status config_set(const struct options *given, char *const *environment, const char *key,
                           const char *const *values, uint32_t value_count, struct dgo_error *err)
{
    return app_run(COMPONENT_CONFIGURATION, job_set,
                   &(struct setting_job){given, environment, key, values, value_count, err});
}
