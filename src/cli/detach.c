/* detach.c - a `run` as a wish to the daemon: the options that were given, as an intent. */
#include "detach.h"

#include "client.h"
#include "print.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an intent may say (src/serve/intent.c); others of `run` are the daemon's to decide. */
static const enum option_id wishes[] = {
    OPTION_CTX,           OPTION_PARALLEL,         OPTION_OBJECTIVE,
    OPTION_KV_TYPE,       OPTION_MARGIN,           OPTION_NO_CPU_LAYERS,
    OPTION_BATCH,         OPTION_UBATCH,           OPTION_NO_FLASH_ATTENTION,
    OPTION_PROMPT_TOKENS, OPTION_GENERATED_TOKENS, OPTION_USE,
    OPTION_SPREAD,        OPTION_THREADS,          OPTION_RESTART,
    OPTION_READY_TIMEOUT, OPTION_STOP_TIMEOUT,     OPTION_DRAFT,
};

static json_t *make_intent(const struct options *options)
{
    json_t *intent = json_object();

    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        const enum option_id id = wishes[i];
        char key[64];

        if (!option_given(options, id) || options->value[id].origin == ORIGIN_DEFAULT)
            continue;
        snprintf(key, sizeof key, "%s", option_specs[id].name);
        for (char *c = key; *c; c++)
            *c = *c == '-' ? '_' : *c;
        if (option_specs[id].kind == KIND_FLAG)
            json_object_set_new(intent, key, json_true());
        else if (option_specs[id].kind == KIND_COUNT)
            json_object_set_new(intent, key, json_integer((json_int_t)option_number(options, id)));
        else
            json_object_set_new(intent, key, json_string(option_text(options, id)));
    }
    return intent;
}

/* A preset goes to the daemon by its name, so that its engine, its aliases and its idle time-out
 * count there, too.  Words of the call's own replace the preset's: then it is only a name. */
static json_t *make_body(const struct cmd_call *call)
{
    json_t *extra = json_array();
    json_t *body = json_pack("{s:o, s:b}", "intent", make_intent(&call->options), "pinned",
                             (int)option_given(&call->options, OPTION_PINNED));
    const char *preset = call->preset_rest ? option_text(&call->options, OPTION_PRESET) : NULL;

    if (preset)
        json_object_set_new(body, "preset", json_string(preset));
    if (!preset || !call->preset_model) {
        char *path = realpath(call->args[0], NULL); /* the daemon may stand in another folder */

        json_object_set_new(body, "path", json_string(path ? path : call->args[0]));
        free(path);
    }
    if (!preset && call->preset_model)
        json_object_set_new(body, "name", json_string(option_text(&call->options, OPTION_PRESET)));
    for (uint32_t i = 0; !preset && i < call->rest_count; i++)
        json_array_append_new(extra, json_string(call->rest[i]));
    json_object_set_new(body, "extra", extra);
    if (option_given(&call->options, OPTION_NAME))
        json_object_set_new(body, "name", json_string(option_text(&call->options, OPTION_NAME)));
    return body;
}

int run_detached(const struct cmd_call *call)
{
    json_t *body = make_body(call), *launch = NULL;
    struct dgo_error err = {0};
    const enum dgo_status status =
        client_ask(&call->options, "POST", "/api/v1/launches", body, &launch, &err);

    json_decref(body);
    if (status != DGO_OK)
        return print_failure(&err);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(launch);
    printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(json_object_get(launch, "id")));
    print_message("launch %" JSON_INTEGER_FORMAT
                  " \"%s\": %s; dualgpuopt logs %" JSON_INTEGER_FORMAT " --follow shows its log",
                  json_integer_value(json_object_get(launch, "id")),
                  json_string_value(json_object_get(launch, "name")),
                  json_string_value(json_object_get(launch, "state")),
                  json_integer_value(json_object_get(launch, "id")));
    json_decref(launch);
    return 0;
}
