/* cmd_inspect.c - `dualgpuopt inspect MODEL`: what a model file holds. */
#include "cmd.h"
#include "flow.h"
#include "print.h"
#include "view.h"

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    struct dgo_error err = {0};
    int status = 0;

    flow_init(&flow, &call->options, call->environment);
    if (flow_read(&flow, call->args[0], &err) != DGO_OK)
        status = print_failure(&err);
    else if (option_given(&call->options, OPTION_JSON))
        status = print_json(view_model(flow.model));
    else
        print_model(flow.model);
    flow_done(&flow);
    return status;
}

const struct cmd cmd_inspect = {
    .name = "inspect",
    .does = "show what a model file holds: layers and their bytes, KV per token, types",
    .usage = "MODEL.gguf [--json]",
    .examples = "dualgpuopt inspect model.gguf\n"
                "dualgpuopt inspect model-00001-of-00003.gguf\n"
                "dualgpuopt inspect model.gguf --json",
    .details = "Reads headers only. Any shard of a split model may be given.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_JSON, OPTION_HELP},
    .run = run,
};
