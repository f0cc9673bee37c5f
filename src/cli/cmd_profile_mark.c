/* cmd_profile_mark.c - `dualgpuopt profile mark`: says on the daemon's timeline what happens now.
 */
#include "client.h"
#include "cmd_profile.h"
#include "print.h"

static int run(const struct cmd_call *call)
{
    json_t *body = json_pack("{s:s}", "text", call->args[0]), *answer = NULL;
    struct dgo_error err = {0};
    int status = 0;

    if (!body) {
        print_message("the text of a mark is UTF-8");
        return dgo_status_exit(DGO_EUSAGE);
    }
    if (client_ask(&call->options, "POST", "/api/v1/marks", body, &answer, &err) != DGO_OK)
        status = print_failure(&err);
    else if (option_given(&call->options, OPTION_JSON))
        status = print_json(json_incref(answer));
    json_decref(answer);
    json_decref(body);
    return status;
}

const struct cmd cmd_profile_mark = {
    .name = "profile mark",
    .does = "say on the daemon's timeline what happens now",
    .usage = "TEXT",
    .examples = "dualgpuopt profile mark \"browser closed\"",
    .details =
        "The text stands beside the memory on the page and in the store, to tell later what\n"
        "a change was.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_SOCKET, OPTION_STATE_DIR, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
