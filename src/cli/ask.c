/* ask.c - the daemon's launches for the commands. */
#include "ask.h"

#include "client.h"
#include "dgo_units.h"
#include "print.h"

#include <string.h>

json_t *ask_launches(const struct cmd_call *call, int *exit_status)
{
    json_t *answer = NULL;
    struct dgo_error err = {0};

    if (client_ask(&call->options, "GET", "/api/v1/launches", NULL, &answer, &err) != DGO_OK)
        *exit_status = print_failure(&err);
    return answer;
}

static bool is_named(const json_t *launch, const char *word)
{
    return strcmp(json_string_value(json_object_get(launch, "name")), word) == 0 ||
           strcmp(json_string_value(json_object_get(launch, "model")), word) == 0;
}

const json_t *ask_find(const json_t *launches, const char *word, int *exit_status)
{
    const json_t *list = json_object_get(launches, "launches");
    const json_t *launch, *found = NULL;
    bool is_number;
    uint64_t id = 0;
    size_t at;

    is_number = dgo_u64_parse(word, "launch", 1, INT64_MAX, &id, NULL) == DGO_OK;
    json_array_foreach(list, at, launch)
    {
        const bool ended =
            strcmp(json_string_value(json_object_get(launch, "state")), "ended") == 0;

        if (is_number && (uint64_t)json_integer_value(json_object_get(launch, "id")) == id)
            return launch;
        if (is_named(launch, word) && (!ended || !found))
            found = launch;
    }
    if (!found) {
        print_message("there is no launch '%s'; dualgpuopt ps --all lists them", word);
        *exit_status = 1;
    }
    return found;
}
