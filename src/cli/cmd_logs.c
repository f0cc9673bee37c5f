/* cmd_logs.c - `dualgpuopt logs LAUNCH`: an engine's log. */
#include "ask.h"
#include "client.h"
#include "dgo_units.h"
#include "print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static json_t *ask_log(const struct cmd_call *call, json_int_t id, json_int_t after, uint64_t limit,
                       int *exit_status)
{
    char path[128];
    json_t *answer = NULL;
    struct dgo_error err = {0};

    snprintf(path, sizeof path,
             "/api/v1/launches/%" JSON_INTEGER_FORMAT "/log?after=%" JSON_INTEGER_FORMAT
             "&limit=%" PRIu64,
             id, after, limit);
    if (client_ask(&call->options, "GET", path, NULL, &answer, &err) != DGO_OK)
        *exit_status = print_failure(&err);
    return answer;
}

/* Returns the sequence of the last line. */
static json_int_t print_lines(const json_t *log)
{
    const json_t *line;
    size_t at;

    json_array_foreach(json_object_get(log, "lines"), at, line)
    {
        printf("%s\n", json_string_value(json_object_get(line, "text")));
    }
    fflush(stdout);
    return json_integer_value(json_object_get(log, "next")) - 1;
}

static bool has_ended(const struct cmd_call *call, json_int_t id)
{
    char path[64];
    json_t *launch = NULL;
    const char *state;
    bool ended;

    snprintf(path, sizeof path, "/api/v1/launches/%" JSON_INTEGER_FORMAT, id);
    if (client_ask(&call->options, "GET", path, NULL, &launch, NULL) != DGO_OK)
        return true;
    state = json_string_value(json_object_get(launch, "state"));
    ended = !state || strcmp(state, "ended") == 0;
    json_decref(launch);
    return ended;
}

/* New lines until it has ended; asked three times a second, which is nothing to the daemon. */
static int follow(const struct cmd_call *call, json_int_t id, json_int_t last)
{
    const struct timespec pause = {.tv_nsec = 300 * 1000 * 1000};
    int exit_status = 0;

    for (;;) {
        const bool ended = has_ended(call, id);
        json_t *log = ask_log(call, id, last, 2000, &exit_status);

        if (!log)
            return exit_status;
        last = print_lines(log);
        json_decref(log);
        if (ended)
            return 0;
        (void)nanosleep(&pause, NULL);
    }
}

static int run(const struct cmd_call *call)
{
    const uint64_t limit = option_number(&call->options, OPTION_LINES);
    int exit_status = 0;
    json_t *launches = ask_launches(call, &exit_status);
    const json_t *launch = launches ? ask_find(launches, call->args[0], &exit_status) : NULL;
    const json_int_t id = json_integer_value(json_object_get(launch, "id"));
    json_t *log = launch ? ask_log(call, id, 0, limit, &exit_status) : NULL;

    json_decref(launches);
    if (!log)
        return exit_status;
    if (option_given(&call->options, OPTION_JSON))
        return print_json(log);

    const json_int_t last = print_lines(log);

    json_decref(log);
    return option_given(&call->options, OPTION_FOLLOW) ? follow(call, id, last) : 0;
}

const struct cmd cmd_logs = {
    .name = "logs",
    .does = "show the log of an engine that the daemon runs",
    .usage = "LAUNCH [--follow] [--lines N]",
    .examples = "dualgpuopt logs qwen\n"
                "dualgpuopt logs 3 --follow\n"
                "dualgpuopt logs qwen --lines 20 --json",
    .details = "LAUNCH is a number or a name, as ps lists them.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_FOLLOW, OPTION_LINES, OPTION_JSON, OPTION_SOCKET, OPTION_STATE_DIR,
                OPTION_HELP},
    .run = run,
};
