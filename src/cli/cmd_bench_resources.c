/* cmd_bench_resources.c - `dualgpuopt bench resources MODEL`: a workload of real components with
 * the resource manager and without it, at three loads, beside a real engine; a table or a report.
 */
#include "cmd_bench.h"
#include "dgo_app.h"
#include "dgo_units.h"
#include "measure.h"
#include "print.h"
#include "report_resources.h"

#include <stdio.h>
#include <string.h>

static void tell(const char *text, void *data)
{
    (void)data;
    print_message("%s", text);
}

static int show(const struct cmd_call *call, const struct flow *flow, json_t *figures)
{
    const char *path = option_text(&call->options, OPTION_OUTPUT);
    struct dgo_error err = {0};
    int status = 0;

    if (path && report_resources_write(path, figures, &err) != DGO_OK)
        status = print_failure(&err);
    else if (path)
        print_message("written: %s, with its pictures beside it", path);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(figures) ? 1 : status;
    if (!path) {
        print_machine_origin(&flow->machine);
        report_resources_print(figures);
    }
    json_decref(figures);
    return status;
}

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    static struct measure measure;
    const struct measure_options options = {
        .total_ns = option_number(&call->options, OPTION_TIME_LIMIT), .tell = tell};
    struct dgo_app app = {0};
    struct dgo_error err = {0};
    enum dgo_status status;
    int exit_status;

    flow_init(&flow, &call->options, call->environment);
    status = flow_prepare(&flow, call->args[0], false, &err);
    if (status == DGO_OK)
        status = dgo_app_open(&app, &err);
    if (status == DGO_OK) {
        status = measure_run(&app, &flow, &options, &measure, &err);
        if (status == DGO_OK && measure.no_engine[0])
            print_message("no engine beside it: %s", measure.no_engine);
    }
    exit_status =
        status == DGO_OK ? show(call, &flow, measure_view(&flow, &measure)) : print_failure(&err);
    dgo_app_close(&app);
    flow_done(&flow);
    return exit_status;
}

const struct cmd cmd_bench_resources = {
    .name = "bench resources",
    .does = "a workload of real components with the resource manager and without it",
    .usage = "MODEL [--time-limit TIME] [-o REPORT.md] [options]",
    .examples =
        "dualgpuopt bench resources model.gguf\n"
        "dualgpuopt bench resources model.gguf --time-limit 1m -o report.md\n"
        "dualgpuopt bench resources model.gguf --gpus examples/machines/two-equal.yaml --json",
    .details =
        "Plans, estimates, views, previews, headers, timelines, leak verdicts and buckets are "
        "asked\n"
        "for at the same recorded moments twice: by one thread that does everything itself, and\n"
        "through the resource manager; at 2, 10 and 50 % of a CPU. Beside them the engine answers\n"
        "requests, where llama-server can be started. Shown are the times from due to done, CPU,\n"
        "memory, VRAM and the engine's tokens a second. Machines are noisy: compare what stands "
        "in\n"
        "one report.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_TIME_LIMIT, OPTION_OUTPUT, OPTION_GPUS, OPTION_USE, OPTION_CTX,
                OPTION_PARALLEL, OPTION_KV_TYPE, OPTION_MARGIN, OPTION_ENGINE, OPTION_ENGINE_BUILD,
                OPTION_THREADS, OPTION_STATE_DIR, OPTION_NVML, OPTION_JSON, OPTION_VERBOSE,
                OPTION_HELP},
    .run = run,
};
