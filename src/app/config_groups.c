/* config_groups.c - which models may run beside each other, as the configuration file says. */
#include "config_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct reading {
    struct dgo_arena *arena;
    struct config_groups *groups;
    struct dgo_error *err;
};

static const struct {
    const char *key;
    size_t at; /* a bool of struct config_group */
} switches[] = {
    {"swap", offsetof(struct config_group, swap)},
    {"exclusive", offsetof(struct config_group, exclusive)},
    {"persistent", offsetof(struct config_group, persistent)},
};
static const char *const keys[] = {"members", "swap", "exclusive", "persistent", NULL};

static enum dgo_status fail_at(const struct reading *reading, const struct yaml_node *node,
                               const char *fmt, ...) DGO_PRINTF(3, 4);

static enum dgo_status fail_at(const struct reading *reading, const struct yaml_node *node,
                               const char *fmt, ...)
{
    char what[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return dgo_fail(reading->err, DGO_EFORMAT, "line %" PRIu32 ", column %" PRIu32 ": %s",
                    node->line, node->column, what);
}

static enum dgo_status fail_key(const struct reading *reading, const struct yaml_node *node,
                                const char *group)
{
    const char *nearest = nearest_word(node->key, keys);

    return dgo_fail(reading->err, DGO_EFORMAT,
                    "line %" PRIu32 ", column %" PRIu32
                    ": unknown key 'groups.%.60s.%.60s'; %s%s%s",
                    node->key_line, node->key_column, group, node->key,
                    nearest ? "did you mean '" : "a group has members, swap, exclusive, persistent",
                    nearest ? nearest : "", nearest ? "'?" : "");
}

const struct config_group *config_group_of(const struct config_groups *groups, const char *name)
{
    for (uint32_t g = 0; g < groups->count; g++)
        for (uint32_t m = 0; m < groups->group[g].member_count; m++)
            if (strcmp(groups->group[g].member[m], name) == 0)
                return &groups->group[g];
    return NULL;
}

static enum dgo_status read_members(const struct reading *reading, const struct yaml_node *list,
                                    struct config_group *group)
{
    if (list->kind != YAML_LIST || !list->first)
        return fail_at(reading, list, "groups.%.60s.members must be a list like [qwen, gemma]",
                       group->name);
    if (list->child_count > CONFIG_MEMBER_MAX)
        return fail_at(reading, list, "groups.%.60s has more than %d members", group->name,
                       CONFIG_MEMBER_MAX);
    group->member = dgo_arena_take_array(reading->arena, list->child_count, sizeof(char *));
    if (!group->member)
        return dgo_fail(reading->err, DGO_ENOMEM, "out of memory");
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        const struct config_group *other;

        if (node->kind != YAML_SCALAR || !node->raw[0])
            return fail_at(reading, node, "groups.%.60s.members: a name is needed", group->name);
        other = config_group_of(reading->groups, node->raw); /* this one too: it is counted */
        if (other)
            return fail_at(reading, node, "'%.60s' is a member of group '%.60s' already",
                           node->text, other->name);
        group->member[group->member_count++] = node->raw;
    }
    return DGO_OK;
}

static enum dgo_status read_switch(const struct reading *reading, const struct yaml_node *node,
                                   const char *group, bool *value)
{
    const bool yes = node->kind == YAML_SCALAR && strcmp(node->text, "true") == 0;
    const bool no = node->kind == YAML_SCALAR && strcmp(node->text, "false") == 0;

    if (yes == no || node->quoted)
        return fail_at(reading, node, "groups.%.60s.%s must be true or false", group, node->key);
    *value = yes;
    return DGO_OK;
}

static enum dgo_status read_group(const struct reading *reading, const struct yaml_node *map)
{
    struct config_group *group = &reading->groups->group[reading->groups->count];
    enum dgo_status status = DGO_OK;

    if (map->kind != YAML_MAP)
        return fail_at(reading, map, "groups.%.60s must be a map like {members: [qwen, gemma]}",
                       map->key);
    if (reading->groups->count == CONFIG_GROUP_MAX)
        return fail_at(reading, map, "more than %d groups", CONFIG_GROUP_MAX);
    reading->groups->count++;
    *group = (struct config_group){
        .name = map->key, .swap = true, .exclusive = true, .line = map->key_line};
    for (const struct yaml_node *node = map->first; node && status == DGO_OK; node = node->next) {
        size_t at = 0;

        while (at < 3 && strcmp(switches[at].key, node->key) != 0)
            at++;
        if (at < 3)
            status =
                read_switch(reading, node, group->name, (bool *)((char *)group + switches[at].at));
        else if (strcmp(node->key, "members") == 0)
            status = read_members(reading, node, group);
        else
            status = fail_key(reading, node, group->name);
    }
    if (status == DGO_OK && group->member_count == 0)
        status = fail_at(reading, map, "groups.%.60s has no members", group->name);
    return status;
}

/* ---- a change ---- */

/* "chat.swap": the key behind the last point, where it is one, and the name before it. */
static const char *split_name(const struct config_groups *groups, const char *rest, size_t *length)
{
    const char *point = strrchr(rest, '.');

    *length = strlen(rest);
    for (uint32_t g = 0; g < groups->count; g++)
        if (strcmp(groups->group[g].name, rest) == 0)
            return "members";
    if (!point)
        return "members";
    *length = (size_t)(point - rest);
    return point + 1;
}

static const struct config_group *find_group(const struct config_groups *groups, const char *name)
{
    for (uint32_t g = 0; g < groups->count; g++)
        if (strcmp(groups->group[g].name, name) == 0)
            return &groups->group[g];
    return NULL;
}

static enum dgo_status check_members(const struct config_groups *groups, const char *name,
                                     const char *const *members, uint32_t count,
                                     struct dgo_error *err)
{
    if (count > CONFIG_MEMBER_MAX)
        return dgo_fail(err, DGO_ELIMIT, "a group has at most %d members", CONFIG_MEMBER_MAX);
    for (uint32_t m = 0; m < count; m++) {
        const struct config_group *other = config_group_of(groups, members[m]);
        char shown[128];

        dgo_text_copy_escaped(shown, sizeof shown, members[m], strlen(members[m]));
        if (!members[m][0])
            return dgo_fail(err, DGO_EUSAGE, "a member of a group needs a name");
        if (other && strcmp(other->name, name) != 0)
            return dgo_fail(err, DGO_EUSAGE, "'%s' is a member of group '%.60s' already", shown,
                            other->name);
        for (uint32_t before = 0; before < m; before++)
            if (strcmp(members[before], members[m]) == 0)
                return dgo_fail(err, DGO_EUSAGE, "'%s' stands twice among the members", shown);
    }
    return DGO_OK;
}

static enum dgo_status change_switch(struct config_group *group, const char *key,
                                     const char *const *values, uint32_t count,
                                     struct dgo_error *err)
{
    static const struct config_group usual = {.swap = true, .exclusive = true};

    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        bool *value = (bool *)((char *)group + switches[i].at);

        if (strcmp(switches[i].key, key) != 0)
            continue;
        if (count == 0)
            *value = *(const bool *)((const char *)&usual + switches[i].at);
        else if (count == 1 && (strcmp(values[0], "true") == 0 || strcmp(values[0], "false") == 0))
            *value = values[0][0] == 't';
        else
            return dgo_fail(err, DGO_EUSAGE, "groups.%.60s.%s must be true or false", group->name,
                            key);
        return DGO_OK;
    }
    return dgo_fail(err, DGO_EUSAGE,
                    "groups.%.60s.%.60s is no key: a group has members, swap, exclusive, "
                    "persistent",
                    group->name, key);
}

static void write_group(const struct config_group *group, struct dgo_text *yaml)
{
    dgo_text_add(yaml, "{members: [");
    for (uint32_t m = 0; m < group->member_count; m++) {
        if (m)
            dgo_text_add(yaml, ", ");
        config_add_scalar(yaml, group->member[m]);
    }
    dgo_text_addf(yaml, "]%s%s%s}", group->swap ? "" : ", swap: false",
                  group->exclusive ? "" : ", exclusive: false",
                  group->persistent ? ", persistent: true" : "");
}

enum dgo_status config_change_group(const struct config_groups *groups, const char *rest,
                                    const char *const *values, uint32_t value_count,
                                    char name[CONFIG_GROUP_NAME_MAX], struct dgo_text *yaml,
                                    struct dgo_error *err)
{
    size_t length;
    const char *key = split_name(groups, rest, &length);
    const bool of_members = strcmp(key, "members") == 0;
    const struct config_group *there;
    struct config_group group = {.swap = true, .exclusive = true};
    enum dgo_status status;

    if (length == 0 || length >= CONFIG_GROUP_NAME_MAX)
        return dgo_fail(err, DGO_EUSAGE, "a group's name has 1 to %d characters",
                        CONFIG_GROUP_NAME_MAX - 1);
    (void)snprintf(name, CONFIG_GROUP_NAME_MAX, "%.*s", (int)length, rest);
    there = find_group(groups, name);
    if (!there && (!config_is_plain(name) || strchr(name, '.')))
        return dgo_fail(err, DGO_EUSAGE, "a group's name has letters, digits, - and _");
    if (!there && (!of_members || value_count == 0))
        return dgo_fail(err, DGO_ENOTFOUND, "there is no group '%s': give it members first", name);
    if (!there && groups->count == CONFIG_GROUP_MAX)
        return dgo_fail(err, DGO_ELIMIT, "there are at most %d groups", CONFIG_GROUP_MAX);
    if (there)
        group = *there;
    group.name = name;
    if (of_members && value_count == 0)
        return DGO_OK;
    if (of_members) {
        group.member = (const char **)(uintptr_t)values; /* only read */
        group.member_count = value_count;
        status = check_members(groups, name, values, value_count, err);
    } else {
        status = change_switch(&group, key, values, value_count, err);
    }
    if (status == DGO_OK)
        write_group(&group, yaml);
    return status;
}

enum dgo_status config_read_groups(const struct yaml_node *map, struct dgo_arena *arena,
                                   struct config_groups *groups, struct dgo_error *err)
{
    const struct reading reading = {arena, groups, err};
    enum dgo_status status = DGO_OK;

    if (map->kind == YAML_SCALAR && !map->quoted && !map->text[0])
        return DGO_OK; /* "groups:" with nothing below it */
    if (map->kind != YAML_MAP)
        return fail_at(&reading, map, "groups must be a map like {chat: {members: [qwen, gemma]}}");
    for (const struct yaml_node *node = map->first; node && status == DGO_OK; node = node->next)
        status = read_group(&reading, node);
    return status;
}
