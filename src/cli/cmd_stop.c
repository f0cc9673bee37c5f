/* cmd_stop.c - `dualgpuopt stop LAUNCH...`: ends engines that the daemon runs. */
#include "ask.h"
#include "client.h"
#include "print.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static json_t *ask_stop(const struct cmd_call *call, json_int_t id, bool kill, int *exit_status)
{
    json_t *body = json_pack("{s:b}", "kill", (int)kill), *answer = NULL;
    struct dgo_error err = {0};
    char path[64];

    snprintf(path, sizeof path, "/api/v1/launches/%" JSON_INTEGER_FORMAT "/stop", id);
    if (client_ask(&call->options, "POST", path, body, &answer, &err) != DGO_OK)
        *exit_status = print_failure(&err);
    json_decref(body);
    return answer;
}

/* As it is when it has ended; it does, by the stop ladder. */
static json_t *wait_ended(const struct cmd_call *call, json_int_t id, int *exit_status)
{
    const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
    char path[64];

    snprintf(path, sizeof path, "/api/v1/launches/%" JSON_INTEGER_FORMAT, id);
    for (;;) {
        json_t *launch = NULL;
        struct dgo_error err = {0};
        const char *state;

        if (client_ask(&call->options, "GET", path, NULL, &launch, &err) != DGO_OK) {
            *exit_status = print_failure(&err);
            return NULL;
        }
        state = json_string_value(json_object_get(launch, "state"));
        if (state && strcmp(state, "ended") == 0)
            return launch;
        json_decref(launch);
        (void)nanosleep(&pause, NULL);
    }
}

static void stop_one(const struct cmd_call *call, const json_t *launch, json_t *ended,
                     int *exit_status)
{
    const json_int_t id = json_integer_value(json_object_get(launch, "id"));
    json_t *answer = ask_stop(call, id, option_given(&call->options, OPTION_KILL), exit_status);
    json_t *last = answer ? wait_ended(call, id, exit_status) : NULL;

    json_decref(answer);
    if (!last)
        return;
    if (!option_given(&call->options, OPTION_JSON))
        print_message("stopped %s", json_string_value(json_object_get(last, "name")));
    json_array_append_new(ended, last);
}

static void stop_all(const struct cmd_call *call, const json_t *launches, json_t *ended,
                     int *exit_status)
{
    const json_t *launch;
    size_t at;

    json_array_foreach(json_object_get(launches, "launches"), at, launch)
    {
        if (strcmp(json_string_value(json_object_get(launch, "state")), "ended") != 0)
            stop_one(call, launch, ended, exit_status);
    }
}

static int run(const struct cmd_call *call)
{
    const bool all = option_given(&call->options, OPTION_ALL);
    int exit_status = 0;
    json_t *launches, *ended;

    if (all == (call->arg_count > 0)) {
        print_message("name launches, or say --all");
        return dgo_status_exit(DGO_EUSAGE);
    }
    launches = ask_launches(call, &exit_status);
    if (!launches)
        return exit_status;
    ended = json_array();
    if (all)
        stop_all(call, launches, ended, &exit_status);
    for (uint32_t i = 0; i < call->arg_count; i++) {
        const json_t *launch = ask_find(launches, call->args[i], &exit_status);

        if (launch)
            stop_one(call, launch, ended, &exit_status);
    }
    json_decref(launches);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(json_pack("{s:o}", "launches", ended)) || exit_status;
    json_decref(ended);
    return exit_status;
}

const struct cmd cmd_stop = {
    .name = "stop",
    .does = "stop engines that the daemon runs",
    .usage = "LAUNCH... | --all [--kill]",
    .examples = "dualgpuopt stop qwen\n"
                "dualgpuopt stop 3 4\n"
                "dualgpuopt stop --all --kill",
    .details = "Returns when they have ended: TERM first, KILL after --stop-timeout of the launch.",
    .arg_max = 64,
    .options = {OPTION_ALL, OPTION_KILL, OPTION_JSON, OPTION_SOCKET, OPTION_STATE_DIR, OPTION_HELP},
    .run = run,
};
