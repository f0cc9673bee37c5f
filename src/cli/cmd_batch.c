/* cmd_batch.c - `dualgpuopt batch FILE`: how long requests are, and what follows for the engine. */
#include "batch.h"
#include "cmd.h"
#include "dgo_units.h"
#include "flow.h"
#include "print.h"

#include <inttypes.h>

/* With a model: what this machine, or the one of a file, makes of the workload. */
static enum dgo_status advise(const struct cmd_call *call, struct flow *flow,
                              struct batch_report *report, struct dgo_error *err)
{
    const char *model = option_text(&call->options, OPTION_MODEL);
    enum dgo_status status = flow_read(flow, model, err);

    if (status == DGO_OK)
        status = flow_look(flow, err);
    if (status == DGO_OK)
        status = flow_intend(flow, err);
    if (status == DGO_OK)
        status = flow_find_engine(flow, false, err);
    if (status == DGO_OK)
        status = batch_advise(report, flow, err);
    return status;
}

static int show(const struct cmd_call *call, const struct flow *flow,
                const struct batch_report *report)
{
    const struct requests *requests = report->requests;
    const bool json = option_given(&call->options, OPTION_JSON);

    if (requests->bad_lines > 0 && json)
        print_message("%" PRIu64 " of %" PRIu64 " lines could not be read and were skipped",
                      requests->bad_lines, requests->lines);
    if (json)
        return print_json(view_batch(report));
    print_batch(report);
    if (report->advised) {
        print_simulated(&flow->machine);
        print_advice(report);
    }
    return 0;
}

static int run(const struct cmd_call *call)
{
    static struct requests requests;
    static struct batch_report report;
    static struct flow flow;
    const struct requests_question question = {
        .paths = call->args,
        .path_count = call->arg_count,
        .columns = option_text(&call->options, OPTION_COLUMNS),
    };
    const struct batch_question wanted = {
        .capacity_tokens = (uint32_t)option_number(&call->options, OPTION_CAPACITY),
        .generated_tokens = (double)option_number(&call->options, OPTION_GENERATED_TOKENS),
        .token_latency_s =
            (double)option_number(&call->options, OPTION_TOKEN_LATENCY) / (double)DGO_NS_PER_S,
    };
    struct dgo_error err = {0};
    enum dgo_status status;
    int exit_status = 0;

    flow_init(&flow, &call->options, call->environment);
    status = requests_read(&question, &requests, &err);
    if (status == DGO_OK)
        status = batch_analyse(&requests, &wanted, &report, &err);
    if (status == DGO_OK && option_given(&call->options, OPTION_MODEL))
        status = advise(call, &flow, &report, &err);
    if (status == DGO_OK)
        exit_status = show(call, &flow, &report);
    else
        exit_status = print_failure(&err);
    batch_done(&report);
    requests_done(&requests);
    flow_done(&flow);
    return exit_status;
}

const struct cmd cmd_batch = {
    .name = "batch",
    .does = "analyse a file of requests: token lengths, buckets, packing, batch advice",
    .usage = "FILE... [options]",
    .examples = "dualgpuopt batch requests.jsonl\n"
                "dualgpuopt batch trace.csv --columns ContextTokens,GeneratedTokens\n"
                "dualgpuopt batch trace.csv --model model.gguf --token-latency 50ms\n"
                "dualgpuopt batch prompts.txt --capacity 8192 --json",
    .details =
        "FILE is a CSV of lengths with a header line, JSON lines (chat or completion requests,\n"
        "OpenAI batch files, lengths), or text with a prompt a line; - is standard input. Lines\n"
        "that cannot be read are counted, named and skipped. With --model the planner tells how "
        "many\n"
        "slots, which context and batches suit these requests on the GPUs, and what to expect.",
    .arg_min = 1,
    .arg_max = 64,
    .options =
        {OPTION_COLUMNS,      OPTION_CAPACITY,  OPTION_MODEL,         OPTION_GPUS,
         OPTION_USE,          OPTION_CTX,       OPTION_TOKEN_LATENCY, OPTION_GENERATED_TOKENS,
         OPTION_KV_TYPE,      OPTION_MARGIN,    OPTION_NO_CPU_LAYERS, OPTION_BATCH,
         OPTION_UBATCH,       OPTION_OBJECTIVE, OPTION_JSON,          OPTION_ENGINE,
         OPTION_ENGINE_BUILD, OPTION_STATE_DIR, OPTION_NVML,          OPTION_VERBOSE,
         OPTION_HELP},
    .run = run,
};
