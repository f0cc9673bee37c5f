/* cmd_gpus.c - `dualgpuopt gpus`: the machine. */
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
    if (flow_look(&flow, &err) != DGO_OK)
        status = print_failure(&err);
    else if (option_given(&call->options, OPTION_JSON))
        status = print_json(view_machine(&flow.machine));
    else
        print_machine(&flow.machine);
    flow_done(&flow);
    return status;
}

const struct cmd cmd_gpus = {
    .name = "gpus",
    .does = "show the GPUs: memory, link, topology, who uses them",
    .usage = "[--gpus FILE] [--json]",
    .examples = "dualgpuopt gpus\n"
                "dualgpuopt gpus --json\n"
                "dualgpuopt gpus --gpus examples/machines/two-unequal.yaml",
    .options = {OPTION_GPUS, OPTION_JSON, OPTION_VERBOSE, OPTION_NVML, OPTION_HELP},
    .run = run,
};
