/* cmd_batch.c - `dualgpuopt batch FILE`: how long requests are, and what follows for the engine. */
#include "batch.h"
#include "cmd.h"
#include "counting.h"
#include "dgo_app.h"
#include "dgo_file.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "flow.h"
#include "print.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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

static enum dgo_status write_picture(const struct batch_report *report, const char *path,
                                     struct dgo_error *err)
{
    static char picture[PICTURE_BATCH_MAX];
    struct dgo_text text = DGO_TEXT(picture);

    if (!picture_batch(report, &text))
        return dgo_fail(err, DGO_ELIMIT, "the picture is larger than %d bytes", PICTURE_BATCH_MAX);
    return dgo_file_save(path, picture, text.length, err);
}

static int show(const struct cmd_call *call, const struct flow *flow,
                const struct batch_report *report)
{
    const struct requests *requests = report->requests;
    const bool json = option_given(&call->options, OPTION_JSON);
    const char *svg = option_text(&call->options, OPTION_SVG);
    struct dgo_error err = {0};

    if (svg && write_picture(report, svg, &err) != DGO_OK)
        return print_failure(&err);
    if (requests->bad_lines > 0 && json)
        print_message("%" PRIu64 " of %" PRIu64 " lines could not be read and were skipped",
                      requests->bad_lines, requests->lines);
    if (json)
        return print_json(view_batch(report));
    print_batch(report);
    if (report->advised) {
        print_machine_origin(&flow->machine);
        print_advice(report);
    }
    return 0;
}

/* ---- counting ---- */

enum { PARALLEL_BYTES = 4 << 20 }; /* below, starting threads costs more than it gains */

static void show_progress(uint64_t done_bytes, uint64_t total_bytes, void *data)
{
    char done[DGO_UNIT_TEXT_MAX];

    (void)data;
    if (total_bytes > 0)
        fprintf(stderr, "\rcounting: %3.0f %% of %s ",
                100 * (double)done_bytes / (double)total_bytes, dgo_bytes_text(total_bytes, done));
    else
        fprintf(stderr, "\rcounting: %s ", dgo_bytes_text(done_bytes, done));
}

static bool is_big(const struct cmd_call *call)
{
    struct stat about;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < call->arg_count; i++) {
        if (stat(call->args[i], &about) != 0 || !S_ISREG(about.st_mode))
            return true; /* nobody knows how long a pipe is */
        bytes += (uint64_t)about.st_size;
    }
    return bytes > PARALLEL_BYTES;
}

/* Opens what counts: an engine, a vocabulary, or nothing (then texts are estimated). */
static enum dgo_status open_counting(const struct cmd_call *call, bool big,
                                     struct counting *counting, struct dgo_error *err)
{
    const char *url = option_text(&call->options, OPTION_ENGINE_URL);
    const char *model = option_text(&call->options, OPTION_MODEL);
    struct dgo_budget_facts facts = {0};
    struct dgo_error why = {0};
    enum dgo_status status;

    if (url)
        return counting_open_engine(url, counting, err);
    if (!model)
        return DGO_OK;
    if (big)
        dgo_resource_budget(&facts);
    status = counting_open_model(model, big ? 2 * facts.budget + 1 : 1, counting, &why);
    if (status == DGO_EUNSUPPORTED) { /* lengths that are given need no tokenizer */
        print_message("%s; texts are estimated from their bytes", why.text);
        return DGO_OK;
    }
    if (status != DGO_OK)
        return dgo_fail(err, status, "%s", why.text);
    return DGO_OK;
}

static enum dgo_status read_requests(const struct cmd_call *call, const struct counting *counting,
                                     bool big, struct requests *requests, struct dgo_error *err)
{
    const bool shown = big && isatty(STDERR_FILENO);
    const struct requests_question question = {
        .paths = call->args,
        .path_count = call->arg_count,
        .columns = option_text(&call->options, OPTION_COLUMNS),
        .counters = counting->counter,
        .counter_count = counting->slot_count,
        .progress = shown ? show_progress : NULL,
    };
    const enum dgo_status status = requests_read(&question, requests, err);

    if (shown)
        fprintf(stderr, "\r%40s\r", "");
    return status;
}

static enum dgo_status analyse(const struct cmd_call *call, struct flow *flow,
                               struct batch_report *report, const struct requests *requests,
                               struct dgo_error *err)
{
    const struct batch_question wanted = {
        .capacity_tokens = (uint32_t)option_number(&call->options, OPTION_CAPACITY),
        .generated_tokens = (double)option_number(&call->options, OPTION_GENERATED_TOKENS),
        .token_latency_s =
            (double)option_number(&call->options, OPTION_TOKEN_LATENCY) / (double)DGO_NS_PER_S,
        .flush_after_s =
            (double)option_number(&call->options, OPTION_FLUSH_AFTER) / (double)DGO_NS_PER_S,
    };
    enum dgo_status status = batch_analyse(requests, &wanted, report, err);

    if (status == DGO_OK && option_given(&call->options, OPTION_MODEL)) {
        status = advise(call, flow, report, err);
        if (status == DGO_ENOGPU || status == DGO_EUNSUPPORTED) { /* the rest holds without */
            dgo_text_copy(report->no_advice, sizeof report->no_advice, err->text);
            print_message("no advice for an engine: %s", err->text);
            status = DGO_OK;
        }
    }
    if (status == DGO_OK)
        status = batch_group(report, &wanted, err);
    return status;
}

static int run(const struct cmd_call *call)
{
    static struct requests requests;
    static struct batch_report report;
    static struct flow flow;
    static struct counting counting;
    struct dgo_app app = {0};
    struct dgo_error err = {0};
    const bool big = is_big(call);
    enum dgo_status status = DGO_OK;
    int exit_status = 0;

    flow_init(&flow, &call->options, call->environment);
    if (big)
        status = dgo_app_open(&app, &err);
    if (status == DGO_OK)
        status = open_counting(call, big, &counting, &err);
    if (status == DGO_OK)
        status = read_requests(call, &counting, big, &requests, &err);
    if (status == DGO_OK)
        status = analyse(call, &flow, &report, &requests, &err);
    if (status == DGO_OK) {
        report.tokenizer = requests.counted && counting.name[0] ? counting.name : NULL;
        exit_status = show(call, &flow, &report);
    } else {
        exit_status = print_failure(&err);
    }
    batch_done(&report);
    requests_done(&requests);
    counting_close(&counting);
    flow_done(&flow);
    dgo_app_close(&app);
    return exit_status;
}

const struct cmd cmd_batch = {
    .name = "batch",
    .does = "analyse a file of requests: token lengths, buckets, packing, batch advice",
    .usage = "FILE... [options]",
    .examples = "dualgpuopt batch requests.jsonl\n"
                "dualgpuopt batch trace.csv --columns ContextTokens,GeneratedTokens\n"
                "dualgpuopt batch trace.csv --model model.gguf --token-latency 50ms\n"
                "dualgpuopt batch prompts.txt --model model.gguf --svg lengths.svg\n"
                "dualgpuopt batch prompts.txt --capacity 8192 --json",
    .details =
        "FILE is a CSV of lengths with a header line, JSON lines (chat or completion requests,\n"
        "OpenAI batch files, lengths), text with a prompt a line, or a recording of an engine\n"
        "(profile record); - is standard input. Lines\n"
        "that cannot be read are counted, named and skipped. With --model the planner tells how "
        "many\n"
        "slots, which context and batches suit these requests on the GPUs, and what to expect; "
        "texts are\n"
        "counted with its own vocabulary, or by the engine at --engine-url.",
    .arg_min = 1,
    .arg_max = 64,
    .options = {OPTION_COLUMNS,
                OPTION_CAPACITY,
                OPTION_MODEL,
                OPTION_ENGINE_URL,
                OPTION_FLUSH_AFTER,
                OPTION_SVG,
                OPTION_GPUS,
                OPTION_USE,
                OPTION_CTX,
                OPTION_TOKEN_LATENCY,
                OPTION_GENERATED_TOKENS,
                OPTION_KV_TYPE,
                OPTION_MARGIN,
                OPTION_NO_CPU_LAYERS,
                OPTION_BATCH,
                OPTION_UBATCH,
                OPTION_OBJECTIVE,
                OPTION_JSON,
                OPTION_ENGINE,
                OPTION_ENGINE_BUILD,
                OPTION_STATE_DIR,
                OPTION_NVML,
                OPTION_VERBOSE,
                OPTION_HELP},
    .run = run,
};
