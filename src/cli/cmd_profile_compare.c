/* cmd_profile_compare.c - `dualgpuopt profile compare`: what a change did to the memory of the
 * GPUs, and what it is worth. */
#include "cmd_profile.h"

#include "compare_show.h"
#include "dgo_app.h"
#include "dgo_units.h"
#include "print.h"
#include "profile_file.h"

struct work {
    const struct cmd_call *call;
    double part_s; /* of --marks */
    uint32_t pair_count;
    struct dgo_snapshot before[DGO_DIFFERENCE_REPEAT_MAX], after[DGO_DIFFERENCE_REPEAT_MAX];
    struct dgo_difference difference;
    struct dgo_error err;
};

/* ---- files and marks --------------------------------------------------------------------- */

static enum dgo_status take_file(const char *path, struct dgo_snapshot *snapshot,
                                 struct dgo_error *err)
{
    struct dgo_profiler *profiler = NULL;
    struct profile_file_stats stats;
    enum dgo_status status = dgo_profiler_new(NULL, &profiler, err);

    if (status == DGO_OK)
        status = profile_file_read(path, profiler, &stats, err);
    if (status == DGO_OK) {
        dgo_profiler_judge(profiler);
        dgo_snapshot_take(profiler, 0, snapshot);
    }
    dgo_profiler_free(profiler);
    return status;
}

static enum dgo_status take(struct work *work, const char *what, struct dgo_snapshot *snapshot)
{
    const struct options *options = &work->call->options;
    enum dgo_status status;

    if (option_given(options, OPTION_MARKS))
        status = compare_marks_take(options, what, work->part_s, snapshot, &work->err);
    else
        status = take_file(what, snapshot, &work->err);
    if (status == DGO_OK && !snapshot->quiet)
        print_message("%s: a card still moved then; what it held is uncertain", what);
    return status;
}

static enum dgo_status job_take(void *data)
{
    struct work *work = data;
    enum dgo_status status = DGO_OK;

    if (work->call->arg_count == 1)
        return compare_stored_read(work->call->args[0], work->before, work->after,
                                   &work->pair_count, &work->err);
    for (uint32_t i = 0; i < work->pair_count && status == DGO_OK; i++) {
        status = take(work, work->call->args[2 * i], &work->before[i]);
        if (status == DGO_OK)
            status = take(work, work->call->args[2 * i + 1], &work->after[i]);
    }
    return status;
}

/* ---- the running machine ----------------------------------------------------------------- */

static enum dgo_status take_live(struct work *work, struct compare_live *live)
{
    const struct cmd_call *call = work->call;
    enum dgo_status status;

    live->options = &call->options;
    live->before = work->before;
    live->after = work->after;
    live->repeat_count = (uint32_t)option_number(&call->options, OPTION_REPEATS);
    live->still_s = (double)option_number(&call->options, OPTION_SETTLE) / 1e9;
    live->wait_s = (double)option_number(&call->options, OPTION_SETTLE_TIMEOUT) / 1e9;
    live->interval_ns =
        dgo_max_u64(option_number(&call->options, OPTION_INTERVAL), DGO_SAMPLER_INTERVAL_MIN_NS);
    if (call->rest_count)
        live->change = (struct compare_change){.kind = COMPARE_COMMAND, .argv = call->rest};
    status = compare_live_run(live, &work->err);
    work->pair_count = live->pair_count;
    return status;
}

/* ---- the command ------------------------------------------------------------------------- */

static enum dgo_status check_usage(const struct cmd_call *call, struct dgo_error *err)
{
    const bool marks = option_given(&call->options, OPTION_MARKS);

    if (call->arg_count % 2 && (call->arg_count != 1 || marks))
        return dgo_fail(err, DGO_EUSAGE,
                        "profile compare takes pairs: BEFORE AFTER, again for each repeat, at most "
                        "%d of them; one STORED comparison; or none for the running machine",
                        DGO_DIFFERENCE_REPEAT_MAX);
    if (call->arg_count && call->rest_count)
        return dgo_fail(err, DGO_EUSAGE,
                        "a command is for the running machine: leave away '%.100s' or what follows "
                        "--",
                        call->args[0]);
    if (marks && !call->arg_count)
        return dgo_fail(err, DGO_EUSAGE, "--marks needs two: BEFORE AFTER");
    return DGO_OK;
}

static int show_json(const struct work *work, const struct dgo_worth *worth,
                     const struct compare_live *live)
{
    json_t *view = compare_view(&work->difference, worth, live);
    struct dgo_error err = {0};

    if (view &&
        compare_stored_add(view, work->before, work->after, work->pair_count, &err) != DGO_OK) {
        json_decref(view);
        return print_failure(&err);
    }
    return print_json(view);
}

static int run(const struct cmd_call *call)
{
    static struct work work;
    static struct compare_live live;
    const bool is_live = call->arg_count == 0;
    struct dgo_worth worth = {0};
    struct dgo_error err = {0};
    enum dgo_status status = check_usage(call, &err);

    work.call = call;
    work.pair_count = call->arg_count / 2;
    work.part_s = (double)option_number(&call->options, OPTION_SETTLE) / 1e9 / 5;
    if (status == DGO_OK)
        status = profile_read_worth(call, &worth, &err);
    if (status == DGO_OK) {
        status = is_live ? take_live(&work, &live)
                         : app_run(COMPONENT_PATTERN_ANALYSIS, job_take, &work);
        err = work.err;
    }
    if (status != DGO_OK)
        return print_failure(&err);
    dgo_difference_make(work.before, work.after, work.pair_count, &work.difference);
    if (option_given(&call->options, OPTION_JSON))
        return show_json(&work, &worth, is_live ? &live : NULL);
    compare_print(&work.difference, &worth, is_live ? &live : NULL);
    compare_print_cards(&work.before[0], &work.after[work.pair_count - 1]);
    return 0;
}

const struct cmd cmd_profile_compare = {
    .name = "profile compare",
    .does = "what a change did to the memory of the GPUs",
    .usage = "[-- COMMAND...] | BEFORE AFTER [BEFORE AFTER ...] | --marks BEFORE AFTER | STORED",
    .examples = "dualgpuopt profile compare --model model.gguf\n"
                "dualgpuopt profile compare --repeats 3 -- firefox\n"
                "dualgpuopt profile compare before.jsonl after.jsonl --model model.gguf\n"
                "dualgpuopt profile compare --json -- firefox > firefox.json\n"
                "dualgpuopt profile compare firefox.json --model model.gguf\n"
                "dualgpuopt profile mark before; dualgpuopt profile mark after\n"
                "dualgpuopt profile compare --marks before after --json",
    .details =
        "Without files the running machine is compared, as the daemon sees it where one runs: the\n"
        "memory of all cards must stand still (who moves is named), is measured, then COMMAND "
        "runs\n"
        "or you are asked to make your change, and it is measured again. With --repeats the "
        "change\n"
        "is taken back (a COMMAND that still runs is ended) and all of it is done again.\n\n"
        "Each file is a recording or CSV (profile report --help), of which the quiet end counts; "
        "each\n"
        "mark (profile mark) stands for the seconds before it on the daemon's timeline.\n\n"
        "The noise is how much the memory differs from itself, before against before; below it, "
        "or\n"
        "2 MiB, nothing is said. With repeats the median is told, with its range, and only what "
        "all\n"
        "of them agree on. --json keeps the snapshots with a hash of them; such a file as STORED "
        "is\n"
        "checked and shown again. --model says what the memory is worth in tokens and layers.",
    .arg_max = 2 * DGO_DIFFERENCE_REPEAT_MAX,
    .takes_rest = true,
    .options = {OPTION_REPEATS, OPTION_SETTLE, OPTION_SETTLE_TIMEOUT, OPTION_INTERVAL, OPTION_MARKS,
                OPTION_MODEL, OPTION_KV_TYPE, OPTION_GPUS, OPTION_NVML, OPTION_SOCKET,
                OPTION_STATE_DIR, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
