/* cmd_config.c - `dualgpuopt config`: the settings in force, where each came from, and the file. */
#include "cmd.h"
#include "config.h"
#include "dgo_app.h"
#include "print.h"
#include "view_config.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_string(value) ? json_string_value(value) : "";
}

/* "file, line 3", "DUALGPUOPT_CTX", "flag", "default". */
static void print_origin(struct table *table, const json_t *value)
{
    const char *origin = text_of(value, "origin");

    if (strcmp(origin, "file") == 0)
        table_cell(table, "file, line %lld",
                   (long long)json_integer_value(json_object_get(value, "line")));
    else if (strcmp(origin, "environment") == 0)
        table_cell(table, "%s", text_of(value, "variable"));
    else
        table_cell(table, "%s", origin);
}

/* "qwen, gemma; one at a time, without others" */
static void show_groups(struct table *table, const struct config_groups *groups, bool with_origin)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        const struct config_group *group = &groups->group[i];
        char members[256];
        struct dgo_text text = DGO_TEXT(members);

        for (uint32_t m = 0; m < group->member_count; m++)
            dgo_text_addf(&text, "%s%s", m ? ", " : "", group->member[m]);
        table_cell(table, "groups.%s", group->name);
        table_cell(table, "%s%s%s%s", members, group->swap ? "; one at a time" : "; together",
                   group->exclusive ? ", without others" : "",
                   group->persistent ? ", not ended by others" : "");
        if (with_origin)
            table_cell(table, "file, line %u", (unsigned)group->line);
    }
}

static int show(const struct cmd_call *call, const struct config *config)
{
    json_t *view = view_config(config);
    const bool with_origin = option_given(&call->options, OPTION_ORIGIN);
    struct table *table;
    const json_t *value;
    size_t at;

    if (option_given(&call->options, OPTION_JSON) || !view)
        return print_json(view);
    table = table_new();
    table_column(table, "key", false);
    table_column(table, "value", false);
    if (with_origin)
        table_column(table, "from", false);
    json_array_foreach(json_object_get(view, "values"), at, value)
    {
        if (!json_object_get(value, "value"))
            continue;
        table_cell(table, "%s", text_of(value, "key"));
        table_cell(table, "%s", text_of(value, "text"));
        if (with_origin)
            print_origin(table, value);
    }
    show_groups(table, &config->groups, with_origin);
    table_print(table);
    if (config->from_file)
        print_message("the file is %s", config->path);
    else if (config->path[0])
        print_message("there is no %s: 'dualgpuopt config set KEY VALUE' makes it", config->path);
    json_decref(view);
    return 0;
}

static int get_groups(const struct cmd_call *call, const struct config *config)
{
    struct table *table;

    if (option_given(&call->options, OPTION_JSON))
        return print_json(view_groups(&config->groups));
    if (config->groups.count == 0) {
        print_message("groups has no value");
        return 1;
    }
    table = table_new();
    table_column(table, "group", false);
    table_column(table, "members", false);
    show_groups(table, &config->groups, false);
    table_print(table);
    return 0;
}

static int get(const struct cmd_call *call, const struct config *config)
{
    json_t *view = view_config(config);
    const json_t *value, *found = NULL;
    struct dgo_error err = {0};
    const char *nearest;
    size_t at;
    int status = 0;

    if (strcmp(call->args[1], "groups") == 0) {
        json_decref(view);
        return get_groups(call, config);
    }
    if (!view)
        return print_json(NULL);
    json_array_foreach(json_object_get(view, "values"), at, value)
    {
        if (strcmp(text_of(value, "key"), call->args[1]) == 0)
            found = value;
    }
    nearest = found ? NULL : config_nearest_key(call->args[1]);
    if (!found) {
        if (nearest)
            dgo_fail(&err, DGO_EUSAGE, "there is no key '%.60s'; did you mean '%s'?", call->args[1],
                     nearest);
        else
            dgo_fail(&err, DGO_EUSAGE,
                     "there is no key '%.60s'; 'man dualgpuopt-config' lists them", call->args[1]);
        status = print_failure(&err);
    } else if (option_given(&call->options, OPTION_JSON)) {
        status = print_json(json_deep_copy(found));
    } else if (json_object_get(found, "value")) {
        printf("%s\n", text_of(found, "text"));
    } else {
        print_message("%s has no value", call->args[1]);
        status = 1;
    }
    json_decref(view);
    return status;
}

static int set(const struct cmd_call *call, uint32_t value_count)
{
    struct dgo_error err = {0};
    char path[PATH_MAX];

    if (config_set(&call->options, call->environment, call->args[1],
                   value_count ? call->args + 2 : NULL, value_count, &err) != DGO_OK)
        return print_failure(&err);
    config_path(&call->options, call->environment, path);
    print_message("saved %s", path);
    return 0;
}

static int show_path(const struct cmd_call *call)
{
    char path[PATH_MAX];

    config_path(&call->options, call->environment, path);
    if (!path[0]) {
        print_message("no folder for the configuration: set HOME or give --config FILE");
        return 1;
    }
    if (option_given(&call->options, OPTION_JSON))
        return print_json(json_pack("{s:s}", "path", path));
    printf("%s\n", path);
    return 0;
}

static int check(const struct cmd_call *call)
{
    struct options options = call->options;
    const struct config *config = NULL;
    struct dgo_error err = {0};
    int status = 0;

    if (call->arg_count > 1 &&
        options_set(&options, OPTION_CONFIG, call->args[1], ORIGIN_FLAG, &err) != DGO_OK)
        return print_failure(&err);
    if (config_open(&options, call->environment, &config, &err) != DGO_OK) {
        if (option_given(&options, OPTION_JSON)) {
            (void)print_json(json_pack("{s:b, s:s}", "good", 0, "error", err.text));
            return dgo_status_exit(err.status);
        }
        return print_failure(&err);
    }
    if (option_given(&options, OPTION_JSON))
        status = print_json(json_pack("{s:b, s:s, s:b}", "good", 1, "path", config->path,
                                      "from_file", config->from_file));
    else
        print_message(config->from_file ? "%s is good" : "there is no %s, which is good too",
                      config->path);
    config_unref(config);
    return status;
}

static int with_config(const struct cmd_call *call,
                       int (*fn)(const struct cmd_call *, const struct config *))
{
    const struct config *config = NULL;
    struct dgo_error err = {0};
    int status;

    if (config_open(&call->options, call->environment, &config, &err) != DGO_OK)
        return print_failure(&err);
    status = fn(call, config);
    config_unref(config);
    return status;
}

static int run(const struct cmd_call *call)
{
    const char *verb = call->arg_count ? call->args[0] : "show";
    const uint32_t more = call->arg_count ? call->arg_count - 1 : 0;

    if (strcmp(verb, "show") == 0 && more == 0)
        return with_config(call, show);
    if (strcmp(verb, "get") == 0 && more == 1)
        return with_config(call, get);
    if (strcmp(verb, "set") == 0 && more >= 2)
        return set(call, more - 1);
    if (strcmp(verb, "unset") == 0 && more == 1)
        return set(call, 0);
    if (strcmp(verb, "path") == 0 && more == 0)
        return show_path(call);
    if (strcmp(verb, "check") == 0 && more <= 1)
        return check(call);
    print_message("usage: dualgpuopt config show | get KEY | set KEY VALUE... | unset KEY | path | "
                  "check [FILE]");
    return dgo_status_exit(DGO_EUSAGE);
}

const struct cmd cmd_config = {
    .name = "config",
    .does = "show and change the settings, and tell where each value came from",
    .usage = "[show | get KEY | set KEY VALUE... | unset KEY | path | check [FILE]] [options]",
    .examples = "dualgpuopt config show --origin\n"
                "dualgpuopt config set models ~/models /srv/models\n"
                "dualgpuopt config set alerts.free 1GiB\n"
                "dualgpuopt config set groups.chat.members qwen gemma\n"
                "dualgpuopt config set groups.chat.exclusive false\n"
                "dualgpuopt config get kv-type\n"
                "dualgpuopt config unset kv-type\n"
                "dualgpuopt config check",
    .details =
        "The file is $XDG_CONFIG_HOME/dualgpuopt/config.yaml, else "
        "~/.config/dualgpuopt/config.yaml;\n"
        "'man dualgpuopt-config' lists its keys. A flag beats the environment, the environment "
        "the\n"
        "file, the file the default. set keeps the rest of the file with its comments, reads the\n"
        "result back before it saves, and saves all or nothing. A running daemon notices the "
        "change;\n"
        "a broken file changes nothing there.",
    .arg_max = CONFIG_FOLDER_MAX + 2,
    .reads_config = true,
    .options = {OPTION_CONFIG, OPTION_ORIGIN, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
