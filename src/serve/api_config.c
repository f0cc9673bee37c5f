/* api_config.c - the settings in force, and the few that a client may change: what plans, paces,
 * admits and warns.  A key that names a file, a program, an address or a host is the owner's, who
 * has the command line and the file (docs/decisions/0065-settings-by-clients.md). */
#include "api.h"

#include "dgo_log.h"
#include "dgo_text.h"
#include "intent.h"
#include "view_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_MAX = 256, MEMBERS_MAX = 64 };

/* Beside the words of an intent. */
static const enum option_id paces[] = {
    OPTION_CONCURRENT,      OPTION_ADMISSION,     OPTION_OOM,
    OPTION_IDLE_TIMEOUT,    OPTION_KEEP_ENGINES,  OPTION_NO_ON_DEMAND,
    OPTION_REQUEST_TIMEOUT, OPTION_QUEUE_TIMEOUT,
};
static const enum setting_id warns[] = {
    SETTING_ALERTS_MEMORY_PERCENT, SETTING_ALERTS_FREE, SETTING_ALERTS_TIME_TO_FULL,
    SETTING_ALERTS_TEMPERATURE_C,  SETTING_ALERTS_HOLD,
};
static const char group_prefix[] = "groups.", component_prefix[] = "components.";

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool paces_or_plans(enum option_id id)
{
    for (size_t i = 0; i < sizeof paces / sizeof paces[0]; i++)
        if (paces[i] == id)
            return true;
    return intent_allows(id, INTENT_LAUNCH);
}

static bool may_change(const char *key)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (strcmp(option_specs[i].name, key) == 0)
            return paces_or_plans((enum option_id)i);
    for (size_t i = 0; i < sizeof warns / sizeof warns[0]; i++)
        if (strcmp(setting_specs[warns[i]].name, key) == 0)
            return true;
    return starts_with(key, group_prefix) || starts_with(key, component_prefix);
}

/* `config show --json`, and of each value whether a client may change it. */
static json_t *view_for_clients(const struct config *config)
{
    json_t *view = view_config(config), *row;
    size_t at;

    json_array_foreach(json_object_get(view, "values"), at, row)
    {
        const char *key = json_string_value(json_object_get(row, "key"));

        json_object_set_new(row, "editable", json_boolean(may_change(key)));
    }
    return view;
}

void api_config(struct http_request *request, void *data)
{
    http_answer_json(request, 200, view_for_clients(daemon_config(data)));
}

/* ---- one change, on a worker ---- */

struct change {
    const char *key;
    const char *value[MEMBERS_MAX];
    uint32_t count; /* 0: the key is taken out */
    char number[32];
};

/* A name may be in any language; nothing that moves a cursor or ends a line is part of one. */
static bool is_good_name(const char *text)
{
    char shown[4 * VALUE_MAX + 1];

    return dgo_text_copy_escaped(shown, sizeof shown, text, strlen(text)) &&
           strcmp(shown, text) == 0;
}

static enum dgo_status read_members(const json_t *list, struct change *change,
                                    struct dgo_error *err)
{
    size_t at;
    const json_t *member;

    if (json_array_size(list) > MEMBERS_MAX)
        return dgo_fail(err, DGO_EUSAGE, "a list has at most %d names", MEMBERS_MAX);
    json_array_foreach(list, at, member)
    {
        const char *text = json_string_value(member);

        if (!text || !text[0] || strlen(text) >= VALUE_MAX || !is_good_name(text))
            return dgo_fail(err, DGO_EUSAGE, "value[%zu] is no name", at);
        change->value[change->count++] = text;
    }
    return DGO_OK;
}

static enum dgo_status read_value(const json_t *value, struct change *change, struct dgo_error *err)
{
    const bool of_group = starts_with(change->key, group_prefix);

    if (json_is_array(value) && of_group)
        return read_members(value, change, err);
    if (json_is_null(value))
        return DGO_OK;
    change->count = 1;
    change->value[0] = change->number;
    if (json_is_boolean(value)) {
        change->value[0] = json_is_true(value) ? "true" : "false";
    } else if (json_is_integer(value)) {
        snprintf(change->number, sizeof change->number, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(value));
    } else if (json_is_string(value) && json_string_length(value) > 0 &&
               json_string_length(value) < VALUE_MAX && is_good_name(json_string_value(value))) {
        change->value[0] = json_string_value(value);
    } else {
        return dgo_fail(err, DGO_EUSAGE, "value is a text, a number, true, false%s, or null%s",
                        of_group ? ", a list of names" : "",
                        of_group ? "" : " for what holds without a setting");
    }
    return DGO_OK;
}

/* What the file takes as any text, and a plan would refuse later. */
static enum dgo_status check_text(const struct change *change, struct dgo_error *err)
{
    enum dgo_kv_type type;

    if (change->count && strcmp(change->key, option_specs[OPTION_KV_TYPE].name) == 0 &&
        dgo_kv_type_parse(change->value[0], &type, NULL) != DGO_OK)
        return dgo_fail(err, DGO_EUSAGE, "kv-type: there is no type '%.60s' of a KV cache",
                        change->value[0]);
    if (change->count && strcmp(change->key, option_specs[OPTION_USE].name) == 0 &&
        strspn(change->value[0], "0123456789,") != strlen(change->value[0]))
        return dgo_fail(err, DGO_EUSAGE, "use: GPUs by index, like 0,2");
    return DGO_OK;
}

static enum dgo_status set_value(struct task *task, struct dgo_error *err)
{
    const struct options *given = config_watch_given(task->daemon->config);
    struct change change = {.key = json_string_value(json_object_get(task->body, "key"))};
    const struct config *config = NULL;
    enum dgo_status status = read_value(json_object_get(task->body, "value"), &change, err);

    task->param = "value";
    if (status == DGO_OK)
        status = check_text(&change, err);
    if (status == DGO_OK)
        status = config_set(given, task->daemon->environment, change.key, change.value,
                            change.count, err);
    if (status != DGO_OK)
        return status;
    dgo_log(DGO_LOG_INFO, "a client changed the configuration: %s", change.key);
    status = config_open(given, task->daemon->environment, &config, err);
    if (status == DGO_OK)
        task->answer = view_for_clients(config);
    config_unref(config);
    return status;
}

static void refuse(struct http_request *request, unsigned status, const char *type,
                   const char *sentence)
{
    http_answer_verdict(request, &(struct verdict){status, type, sentence}, "key",
                        status == 403 ? "EUNSUPPORTED" : "EUSAGE");
}

void api_set_config(struct http_request *request, void *data)
{
    static const char *const keys[] = {"key", "value", NULL};
    json_t *body = api_body(request, keys);
    const char *key = json_string_value(json_object_get(body, "key"));
    const char *nearest = key ? config_nearest_key(key) : NULL;
    char sentence[400], shown[128];

    if (!body)
        return;
    if (key && json_object_get(body, "value") && may_change(key) && is_good_name(key) &&
        strlen(key) < VALUE_MAX) {
        task_start(data, request, body, set_value);
        return;
    }
    dgo_text_copy_escaped(shown, sizeof shown, key ? key : "", key ? strlen(key) : 0);
    if (!key || !json_object_get(body, "value"))
        refuse(request, 400, "invalid_request", "a key and a value are needed");
    else if (nearest && strcmp(nearest, key) == 0) {
        snprintf(sentence, sizeof sentence,
                 "%s is not changed over HTTP; 'dualgpuopt config set %s ...' or the file does",
                 shown, shown);
        refuse(request, 403, "forbidden", sentence);
    } else {
        snprintf(sentence, sizeof sentence, "there is no key '%s'%s%s%s", shown,
                 nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
        refuse(request, 400, "invalid_request", sentence);
    }
    json_decref(body);
}
