/* cmd_profile_compare.c - `dualgpuopt profile compare`: what a change did to the memory of the
 * GPUs, and what it is worth. */
#include "cmd_profile.h"

#include "dgo_app.h"
#include "dgo_worth.h"
#include "print.h"
#include "profile_file.h"
#include "view.h"
#include "view_profile.h"

#include <math.h>
#include <stdio.h>

static const char *const kind_names[] = {"changed", "appeared", "disappeared"};

struct work {
    const char *const *path;
    uint32_t pair_count;
    struct dgo_snapshot before[DGO_DIFFERENCE_REPEAT_MAX], after[DGO_DIFFERENCE_REPEAT_MAX];
    struct dgo_difference difference;
    struct dgo_error err;
};

static enum dgo_status take(const char *path, struct dgo_snapshot *snapshot, struct dgo_error *err)
{
    struct dgo_profiler *profiler = NULL;
    struct profile_file_stats stats;
    enum dgo_status status = dgo_profiler_new(NULL, &profiler, err);

    if (status == DGO_OK)
        status = profile_file_read(path, profiler, &stats, err);
    if (status == DGO_OK) {
        dgo_profiler_judge(profiler);
        dgo_snapshot_take(profiler, snapshot);
        if (!snapshot->quiet)
            print_message("%s: a card still moved at its end; what it held then is uncertain",
                          path);
    }
    dgo_profiler_free(profiler);
    return status;
}

static enum dgo_status job_compare(void *data)
{
    struct work *work = data;
    enum dgo_status status = DGO_OK;

    for (uint32_t i = 0; i < work->pair_count && status == DGO_OK; i++) {
        status = take(work->path[2 * i], &work->before[i], &work->err);
        if (status == DGO_OK)
            status = take(work->path[2 * i + 1], &work->after[i], &work->err);
    }
    if (status == DGO_OK)
        dgo_difference_make(work->before, work->after, work->pair_count, &work->difference);
    return status;
}

/* ---- for programs ----------------------------------------------------------------------- */

static json_t *view_row(const struct dgo_difference_row *row, const struct dgo_worth *worth)
{
    json_t *view = json_pack(
        "{s:s, s:I, s:o, s:f, s:f, s:f, s:[f, f], s:f, s:b}", "kind", kind_names[row->kind], "gpu",
        (json_int_t)row->gpu_index, "pid",
        row->pid ? json_integer((json_int_t)row->pid) : json_null(), "before_mib", row->before_mib,
        "after_mib", row->after_mib, "delta_mib", row->delta_mib, "delta_interval", row->low_mib,
        row->high_mib, "floor_mib", row->floor_mib, "measurable", (int)row->measurable);

    if (view && row->name[0])
        json_object_set_new(view, "name", view_text(row->name));
    view_add_worth(view, worth, row->delta_mib);
    return view;
}

static json_t *view(const struct work *work, const struct dgo_worth *worth)
{
    json_t *rows = json_array();

    for (uint32_t i = 0; i < work->difference.count; i++)
        json_array_append_new(rows, view_row(&work->difference.row[i], worth));
    return json_pack("{s:s, s:I, s:f, s:o}", "schema", "dualgpuopt.difference/1", "repeats",
                     (json_int_t)work->difference.repeat_count, "total_mib",
                     work->difference.total_mib, "rows", rows);
}

/* ---- for people ------------------------------------------------------------------------- */

static void add_row(struct table *table, const struct dgo_difference_row *row)
{
    table_cell(table, "%u", row->gpu_index);
    if (row->pid)
        table_cell(table, "%u", row->pid);
    else
        table_cell(table, "card");
    table_cell(table, "%s", row->name);
    table_cell(table, "%.1f", row->before_mib);
    table_cell(table, "%.1f", row->after_mib);
    if (!row->measurable)
        table_cell(table, "%s", "no measurable change");
    else if (row->low_mib < row->high_mib)
        table_cell(table, "%+.1f (%+.1f to %+.1f)", row->delta_mib, row->low_mib, row->high_mib);
    else
        table_cell(table, "%+.1f", row->delta_mib);
    table_cell(table, "%s", row->kind == DGO_CHANGED ? "" : kind_names[row->kind]);
    table_cell(table, "%.1f", row->floor_mib);
}

static void print_difference(const struct work *work, const struct dgo_worth *worth)
{
    const double freed_mib = -work->difference.total_mib;
    struct table *table = table_new();

    table_column(table, "gpu", true);
    table_column(table, "pid", true);
    table_column(table, "process", false);
    table_column(table, "before MiB", true);
    table_column(table, "after MiB", true);
    table_column(table, "change", false);
    table_column(table, "", false);
    table_column(table, "noise", true);
    for (uint32_t i = 0; i < work->difference.count; i++)
        add_row(table, &work->difference.row[i]);
    table_print(table);
    printf("\n%.1f MiB %s over the cards", fabs(freed_mib), freed_mib >= 0 ? "freed" : "taken");
    print_worth(worth, fabs(freed_mib));
    printf("%s\n", work->pair_count < 3 ? "; repeat it three times before you rely on it" : "");
}

static int run(const struct cmd_call *call)
{
    static struct work work;
    struct dgo_worth worth = {0};
    struct dgo_error err = {0};
    enum dgo_status status;

    work.path = call->args;
    work.pair_count = call->arg_count / 2;
    if (call->arg_count % 2 || work.pair_count > DGO_DIFFERENCE_REPEAT_MAX) {
        print_message("profile compare takes pairs: BEFORE AFTER, again for each repeat, at most "
                      "%d of them",
                      DGO_DIFFERENCE_REPEAT_MAX);
        return dgo_status_exit(DGO_EUSAGE);
    }
    status = profile_read_worth(call, &worth, &err);
    if (status == DGO_OK) {
        status = app_run(COMPONENT_PATTERN_ANALYSIS, job_compare, &work);
        err = work.err;
    }
    if (status != DGO_OK)
        return print_failure(&err);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(view(&work, &worth));
    print_difference(&work, &worth);
    return 0;
}

const struct cmd cmd_profile_compare = {
    .name = "profile compare",
    .does = "what a change did to the memory of the GPUs",
    .usage = "BEFORE AFTER [BEFORE AFTER ...] [--model MODEL] [--json]",
    .examples = "dualgpuopt profile record --seconds 90 -o before.jsonl\n"
                "dualgpuopt profile record --seconds 90 -o after.jsonl\n"
                "dualgpuopt profile compare before.jsonl after.jsonl --model model.gguf\n"
                "dualgpuopt profile compare b1.jsonl a1.jsonl b2.jsonl a2.jsonl b3.jsonl a3.jsonl",
    .details =
        "Each file is a recording or CSV (profile report --help). The quiet end of each counts; "
        "how\n"
        "much it differs from what came before it in the same file is the noise, below which, or\n"
        "below 2 MiB, nothing is said. With repeats the median is told, with its range, and only\n"
        "what all of them agree on. --model says what the memory is worth in tokens and layers.",
    .arg_min = 2,
    .arg_max = 2 * DGO_DIFFERENCE_REPEAT_MAX,
    .options = {OPTION_MODEL, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
