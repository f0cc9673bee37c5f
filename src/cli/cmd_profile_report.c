/* cmd_profile_report.c - `dualgpuopt profile report`: whose memory grew, whether it leaks, and when
 * the card is full. */
#include "cmd_profile.h"

#include "dgo_app.h"
#include "dgo_units.h"
#include "flow.h"
#include "print.h"
#include "profile_file.h"
#include "view_profile.h"

static const double judge_every_s = 300;

/* The cards' sizes, for the time to full; a machine file tells them. */
static enum dgo_status take_capacities(const struct cmd_call *call, struct dgo_profiler *profiler,
                                       struct dgo_error *err)
{
    static struct flow flow;
    enum dgo_status status;

    if (!option_given(&call->options, OPTION_GPUS))
        return DGO_OK;
    flow_init(&flow, &call->options, call->environment);
    status = flow_look(&flow, err);
    for (uint32_t g = 0; status == DGO_OK && g < flow.machine.gpu_count; g++)
        if (dgo_gpu_knows(&flow.machine.gpu[g], DGO_GPU_TOTAL_BYTES))
            dgo_profiler_set_capacity(profiler, g,
                                      (double)flow.machine.gpu[g].total_bytes / (double)DGO_MIB);
    flow_done(&flow);
    return status;
}

struct work {
    const char *path;
    struct dgo_profiler *profiler;
    struct profile_file_stats stats;
    struct dgo_worth worth;
    struct dgo_error err;
};

static enum dgo_status job_read(void *data)
{
    struct work *work = data;

    return profile_file_read(work->path, work->profiler, &work->stats, &work->err);
}

static enum dgo_status job_judge(void *data)
{
    struct work *work = data;

    dgo_profiler_judge(work->profiler);
    return DGO_OK;
}

static enum dgo_status job_find_patterns(void *data)
{
    struct work *work = data;

    dgo_profiler_find_patterns(work->profiler);
    return DGO_OK;
}

static int show(const struct cmd_call *call, const struct work *work)
{
    for (uint32_t i = 0; i < work->stats.problem_count; i++)
        print_message("left out, %s", work->stats.problem[i]);
    if (work->stats.bad_lines > work->stats.problem_count)
        print_message("%llu more lines were left out",
                      (unsigned long long)(work->stats.bad_lines - work->stats.problem_count));
    if (option_given(&call->options, OPTION_JSON))
        return print_json(view_profile(work->profiler, &work->worth, &work->stats));
    if (work->stats.simulated)
        printf("SIMULATED: these readings come from a recording\n");
    print_profile(work->profiler, &work->worth);
    return 0;
}

static int run(const struct cmd_call *call)
{
    static struct work work;
    struct dgo_error err = {0};
    enum dgo_status status;
    int result;

    status = dgo_profiler_new(&(struct dgo_profiler_options){.judge_every_s = judge_every_s},
                              &work.profiler, &err);
    work.path = call->args[0];
    if (status == DGO_OK)
        status = profile_read_worth(call, &work.worth, &err);
    if (status == DGO_OK)
        status = take_capacities(call, work.profiler, &err);
    if (status == DGO_OK) {
        status = app_run(COMPONENT_LEAK_ANALYSIS, job_read, &work);
        err = work.err;
    }
    if (status == DGO_OK)
        status = app_run(COMPONENT_LEAK_ANALYSIS, job_judge, &work);
    if (status == DGO_OK)
        status = app_run(COMPONENT_PATTERN_ANALYSIS, job_find_patterns, &work);
    result = status == DGO_OK ? show(call, &work) : print_failure(&err);
    dgo_profiler_free(work.profiler);
    return result;
}

const struct cmd cmd_profile_report = {
    .name = "profile report",
    .does = "judge a recording: leaks, patterns, time to full",
    .usage = "FILE [--gpus FILE] [--model MODEL] [--json]",
    .examples = "dualgpuopt profile report machine.jsonl\n"
                "dualgpuopt profile report machine.jsonl --model model.gguf\n"
                "dualgpuopt profile report memory.csv --json\n"
                "dualgpuopt profile report memory.csv --gpus examples/machines/two-unequal.yaml",
    .details =
        "FILE is a recording, or CSV whose first line names the columns seconds,gpu,pid,used_mib\n"
        "(in any order; requests,busy,start,name,total_mib may follow; - is stdin). A row without "
        "a\n"
        "pid is the whole card. Verdicts: steady; growing, which is all that can be said of a "
        "card;\n"
        "suspected_leak, of a process or of its floor while the engine was idle; confirmed_leak, "
        "when\n"
        "the growth follows the requests or came again after a restart. --gpus tells how large "
        "the\n"
        "cards are, where the file does not, for the time until they are full. Then what could be\n"
        "freed, of desktop, browsers and others that are no engine; --model says what it would "
        "buy,\n"
        "in tokens of KV cache and layers.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_GPUS, OPTION_MODEL, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
