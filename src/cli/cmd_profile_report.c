/* cmd_profile_report.c - `dualgpuopt profile report`: whose memory grew, whether it leaks, and when
 * the card is full. */
#include "cmd_profile.h"

#include "client.h"
#include "dgo_app.h"
#include "dgo_file.h"
#include "dgo_units.h"
#include "flow.h"
#include "picture_profile.h"
#include "print.h"
#include "profile_file.h"
#include "view.h"
#include "view_profile.h"

#include <stdio.h>
#include <stdlib.h>

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

/* ---- files ------------------------------------------------------------------------------- */

/* Writes a file's text; false: it did not fit. */
typedef bool write_fn(const struct work *work, struct dgo_text *out);

static bool write_svg(const struct work *work, struct dgo_text *out)
{
    return picture_profile(work->profiler, &work->stats, out);
}

static bool write_html(const struct work *work, struct dgo_text *out)
{
    const bool known = work->worth.token_bytes || work->worth.layer_bytes;
    const struct dgo_worth *worth = known ? &work->worth : NULL;

    return page_profile(work->profiler, worth, &work->stats, work->path, out);
}

static enum dgo_status save(const struct work *work, write_fn *write, const char *path, size_t size,
                            struct dgo_error *err)
{
    struct dgo_text text = {.data = malloc(size), .size = size};
    enum dgo_status status;

    if (!text.data)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    text.data[0] = '\0';
    if (write(work, &text))
        status = dgo_file_save(path, text.data, text.length, err);
    else
        status = dgo_fail(err, DGO_ELIMIT, "'%.200s' would be larger than %zu bytes", path, size);
    free(text.data);
    return status;
}

static enum dgo_status save_all(const struct cmd_call *call, const struct work *work,
                                struct dgo_error *err)
{
    static const struct {
        enum option_id option;
        write_fn *write;
        size_t size;
    } files[] = {{OPTION_SVG, write_svg, PICTURE_PROFILE_MAX},
                 {OPTION_HTML, write_html, PAGE_PROFILE_MAX}};
    enum dgo_status status = DGO_OK;

    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == DGO_OK; i++)
        if (option_given(&call->options, files[i].option))
            status = save(work, files[i].write, option_text(&call->options, files[i].option),
                          files[i].size, err);
    return status;
}

static int print_csv(const struct work *work)
{
    char line[8 * DGO_TREND_EVIDENCE_MAX];

    for (uint32_t i = UINT32_MAX; i == UINT32_MAX || i < dgo_profiler_count(work->profiler); i++) {
        struct dgo_text text = DGO_TEXT(line);

        csv_profile(work->profiler, i, &text);
        if (fputs(line, stdout) == EOF)
            return 1;
    }
    return 0;
}

static int print_text(json_t *profile, const char *source)
{
    struct dgo_origin origin;
    char text[DGO_ORIGIN_TEXT_MAX];

    if (!profile) {
        print_message("out of memory");
        return 1;
    }
    view_read_origin(profile, &origin);
    if (dgo_origin_text(&origin, text)[0])
        printf("%s: these readings come from a %s\n", text, source);
    print_profile(profile);
    json_decref(profile);
    return 0;
}

/* ---- the daemon -------------------------------------------------------------------------- */

/* What it cannot give: it keeps no file, and knows the sizes of its cards. */
static const enum option_id of_files[] = {OPTION_GPUS, OPTION_SVG, OPTION_HTML, OPTION_CSV};

static enum dgo_status check_daemon_options(const struct options *options, struct dgo_error *err)
{
    for (size_t i = 0; i < sizeof of_files / sizeof of_files[0]; i++) {
        const enum option_id id = of_files[i];

        if (option_given(options, id) && options->value[id].origin == ORIGIN_FLAG)
            return dgo_fail(err, DGO_EUSAGE,
                            "--%s is for a FILE; dualgpuopt profile record makes one",
                            option_specs[id].name);
    }
    return DGO_OK;
}

static void add_worth(json_t *profile, const struct dgo_worth *worth)
{
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(profile, "could_free"), i, row)
    {
        view_add_worth(row, worth, json_number_value(json_object_get(row, "used_mib")));
    }
}

/* The running daemon's own judgement. */
static int report_daemon(const struct cmd_call *call)
{
    struct dgo_worth worth = {0};
    struct dgo_error err = {0}, why = {0};
    json_t *profile = NULL;
    enum dgo_status status = check_daemon_options(&call->options, &err);

    if (status == DGO_OK)
        status = profile_read_worth(call, &worth, &err);
    if (status == DGO_OK) {
        status = client_ask(&call->options, "GET", "/api/v1/profile", NULL, &profile, &why);
        if (status != DGO_OK)
            status = dgo_fail(&err, status, "%s%s", why.text,
                              status == DGO_ENOTFOUND ? "; or name a recording or CSV file" : "");
    }
    if (status != DGO_OK)
        return print_failure(&err);
    add_worth(profile, &worth);
    return option_given(&call->options, OPTION_JSON) ? print_json(profile)
                                                     : print_text(profile, "file");
}

/* ---- the command ------------------------------------------------------------------------- */

static int show(const struct cmd_call *call, const struct work *work)
{
    struct dgo_error err = {0};

    for (uint32_t i = 0; i < work->stats.problem_count; i++)
        print_message("left out, %s", work->stats.problem[i]);
    if (work->stats.bad_lines > work->stats.problem_count)
        print_message("%llu more lines were left out",
                      (unsigned long long)(work->stats.bad_lines - work->stats.problem_count));
    if (save_all(call, work, &err) != DGO_OK)
        return print_failure(&err);
    if (option_given(&call->options, OPTION_CSV))
        return print_csv(work);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(view_profile(work->profiler, &work->worth, &work->stats));
    return print_text(view_profile(work->profiler, &work->worth, &work->stats), "recording");
}

static int run(const struct cmd_call *call)
{
    static struct work work;
    struct dgo_error err = {0};
    enum dgo_status status;
    int result;

    if (option_given(&call->options, OPTION_CSV) && option_given(&call->options, OPTION_JSON)) {
        print_message("profile report prints one of --csv and --json");
        return dgo_status_exit(DGO_EUSAGE);
    }
    if (call->arg_count == 0)
        return report_daemon(call);
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
    .does = "judge memory over time: leaks, patterns, time to full, what could be freed",
    .usage = "[FILE] [--gpus FILE] [--model MODEL] [--svg FILE] [--html FILE] [--csv | --json]",
    .examples = "dualgpuopt profile report --model model.gguf\n"
                "dualgpuopt profile report machine.jsonl\n"
                "dualgpuopt profile report machine.jsonl --model model.gguf\n"
                "dualgpuopt profile report machine.jsonl --html report.html --svg timeline.svg\n"
                "dualgpuopt profile report machine.jsonl --csv > verdicts.csv\n"
                "dualgpuopt profile report memory.csv --json\n"
                "dualgpuopt profile report memory.csv --gpus examples/machines/two-unequal.yaml",
    .details =
        "Without FILE the daemon tells what it has seen on this machine.\n"
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
        "in tokens of KV cache and layers.\n\n"
        "--svg draws each series with its verdict, --html writes one page with everything in it,\n"
        "--csv prints the table of series.",
    .arg_max = 1,
    .options = {OPTION_GPUS, OPTION_MODEL, OPTION_KV_TYPE, OPTION_SVG, OPTION_HTML, OPTION_CSV,
                OPTION_SOCKET, OPTION_STATE_DIR, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
