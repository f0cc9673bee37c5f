/* cmd_estimate.c - `dualgpuopt estimate MODEL -- FLAGS`: what a given command line would use. */
#include "cmd.h"
#include "flow.h"
#include "print.h"
#include "view.h"

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    static struct dgo_estimate estimate;
    struct dgo_error err = {0};
    int status = 0;

    flow_init(&flow, &call->options, call->environment);
    if (flow_estimate(&flow, call->args[0], call->rest, call->rest_count, &estimate, &err) !=
        DGO_OK) {
        status = print_failure(&err);
    } else {
        if (option_given(&call->options, OPTION_JSON))
            status = print_json(view_estimate(&flow.machine, &estimate));
        else
            print_estimate(&flow.machine, &estimate);
        if (!estimate.fits)
            status = dgo_status_exit(DGO_ENOFIT);
    }
    flow_done(&flow);
    return status;
}

const struct cmd cmd_estimate = {
    .name = "estimate",
    .does = "tell what a given llama-server command line would use, per device",
    .usage = "MODEL.gguf [options] -- ENGINE FLAGS",
    .examples = "dualgpuopt estimate model.gguf -- -c 32768 -np 4 -ts 3,1\n"
                "dualgpuopt estimate model.gguf --json --engine-build b10256 -- -ngl 20 -fa off",
    .details =
        "The flags are read as llama-server reads them, LLAMA_ARG_ variables included, with its\n"
        "defaults for the rest. Draft model, projector and adapters are read from their files.\n"
        "Servers of --rpc are those that --node describes.\n"
        "Devices are numbered in the machine's order, or in that of --use, which stands for\n"
        "CUDA_VISIBLE_DEVICES. What does not fit exits with 3. No margin is kept unless --margin\n"
        "asks for one.",
    .arg_min = 1,
    .arg_max = 1,
    .takes_rest = true,
    .options = {OPTION_GPUS, OPTION_USE, OPTION_ENGINE_BUILD, OPTION_ASK_ENGINE, OPTION_ENGINE,
                OPTION_MARGIN, OPTION_NODE, OPTION_NETWORK, OPTION_JSON, OPTION_STATE_DIR,
                OPTION_VERBOSE, OPTION_NVML, OPTION_HELP},
    .run = run,
};
