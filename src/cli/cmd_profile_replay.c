/* cmd_profile_replay.c - `dualgpuopt profile replay`: what a recording holds, as rows, in time, or
 * as the CSV of the profiler. */
#include "cmd_profile.h"
#include "dgo_burst.h"
#include "dgo_recording.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "print.h"
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENGINES_MAX = 16 };

struct seen_gpu {
    char name[DGO_GPU_TEXT_MAX];
    bool used_known;
    uint64_t least_bytes, most_bytes, last_bytes;
};

struct replay {
    bool csv, quiet; /* quiet: only the sums are wanted */
    double speed;    /* 0: as fast as it can be read */
    uint64_t looks, failures, marks, bursts, last_ns, at_ns;
    struct dgo_origin origin; /* of the last look */
    bool origin_told;
    uint32_t gpu_count;
    struct seen_gpu gpu[DGO_GPU_MAX];
    uint32_t engine_count;
    struct dgo_engine_load engine[ENGINES_MAX]; /* the newest of each */
    struct dgo_burst burst[ENGINES_MAX];        /* of the same engines */
};

/* ---- CSV ----------------------------------------------------------------------------------- */

/* Requests and busy of the engine with that pid; of all engines together for pid 0. */
static void csv_load(const struct replay *replay, uint32_t pid)
{
    uint64_t requests = 0, busy = 0;
    bool requests_known = false, busy_known = false;

    for (uint32_t i = 0; i < replay->engine_count; i++) {
        const struct dgo_engine_load *load = &replay->engine[i];

        if (pid && load->pid != pid && load->pid != 0)
            continue;
        requests_known |= dgo_load_knows(load, DGO_LOAD_REQUESTS);
        busy_known |= dgo_load_knows(load, DGO_LOAD_BUSY);
        requests += load->requests;
        busy += load->busy;
    }
    putchar(',');
    if (requests_known)
        printf("%" PRIu64, requests);
    putchar(',');
    if (busy_known)
        printf("%" PRIu64, busy);
    putchar('\n');
}

static void csv_row(const struct replay *replay, uint32_t gpu, uint32_t pid, uint64_t used_bytes)
{
    printf("%.3f,%" PRIu32 ",%" PRIu32 ",%.3f", (double)replay->at_ns / 1e9, gpu, pid,
           (double)used_bytes / (double)DGO_MIB);
    csv_load(replay, pid);
}

static void csv_sample(const struct replay *replay, const struct dgo_machine *machine)
{
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if (dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES))
            csv_row(replay, g, 0, gpu->used_bytes);
        for (uint32_t p = 0; p < gpu->process_count; p++)
            if (gpu->process[p].used_known)
                csv_row(replay, g, gpu->process[p].pid, gpu->process[p].used_bytes);
    }
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void row_sample(const struct replay *replay, const struct dgo_sample *sample)
{
    char used[DGO_UNIT_TEXT_MAX], total[DGO_UNIT_TEXT_MAX];

    if (sample->problem[0] != '\0') {
        printf("%10.3f  %s\n", (double)replay->at_ns / 1e9, sample->problem);
        return;
    }
    for (uint32_t g = 0; g < sample->machine.gpu_count; g++) {
        const struct dgo_gpu *gpu = &sample->machine.gpu[g];

        printf("%10.3f  gpu %" PRIu32 "  %s of %s used", (double)replay->at_ns / 1e9, g,
               dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES) ? dgo_bytes_text(gpu->used_bytes, used) : "?",
               dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) ? dgo_bytes_text(gpu->total_bytes, total)
                                                       : "?");
        if (dgo_gpu_knows(gpu, DGO_GPU_BUSY_PERMILLE))
            printf(", %" PRIu32 " %% busy", gpu->busy_permille / 10);
        if (dgo_gpu_knows(gpu, DGO_GPU_TEMPERATURE_C))
            printf(", %" PRId32 " C", gpu->temperature_c);
        if (dgo_gpu_knows(gpu, DGO_GPU_POWER_MW))
            printf(", %" PRIu32 " W", gpu->power_mw / 1000);
        printf("%s%s\n", gpu->problem[0] ? ", " : "", gpu->problem);
    }
}

static void row_load(const struct replay *replay, const struct dgo_engine_load *load)
{
    printf("%10.3f  engine", (double)replay->at_ns / 1e9);
    if (load->pid)
        printf(" %" PRIu32, load->pid);
    if (dgo_load_knows(load, DGO_LOAD_REQUESTS))
        printf(", %" PRIu64 " requests", load->requests);
    if (dgo_load_knows(load, DGO_LOAD_BUSY))
        printf(", %" PRIu32 " busy", load->busy);
    if (dgo_load_knows(load, DGO_LOAD_GENERATED_TOKENS_PER_S))
        printf(", %.1f tokens/s", load->generated_tokens_per_s);
    printf("\n");
}

/* ---- sums ---------------------------------------------------------------------------------- */

static void add_sample(struct replay *replay, const struct dgo_sample *sample)
{
    if (sample->problem[0] != '\0') {
        replay->failures++;
        return;
    }
    replay->looks++;
    replay->origin = sample->machine.origin;
    if (sample->machine.gpu_count > replay->gpu_count)
        replay->gpu_count = sample->machine.gpu_count;
    for (uint32_t g = 0; g < sample->machine.gpu_count; g++) {
        const struct dgo_gpu *gpu = &sample->machine.gpu[g];
        struct seen_gpu *seen = &replay->gpu[g];

        dgo_text_copy(seen->name, sizeof seen->name, gpu->name);
        if (!dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES))
            continue;
        seen->least_bytes =
            seen->used_known ? dgo_min_u64(seen->least_bytes, gpu->used_bytes) : gpu->used_bytes;
        seen->most_bytes = dgo_max_u64(seen->most_bytes, gpu->used_bytes);
        seen->last_bytes = gpu->used_bytes;
        seen->used_known = true;
    }
}

/* As on the daemon's timeline. */
static void follow_burst(struct replay *replay, uint32_t engine)
{
    const struct dgo_engine_load *load = &replay->engine[engine];
    struct dgo_burst_report report;
    const enum dgo_burst_edge edge =
        dgo_burst_add(&replay->burst[engine], load, replay->at_ns, &report);
    char line[200];
    struct dgo_text text = DGO_TEXT(line);

    if (edge == DGO_BURST_NONE)
        return;
    replay->bursts += edge == DGO_BURST_BEGAN;
    dgo_burst_text(edge, &report, &text);
    if (replay->quiet || replay->csv)
        return;
    printf("%10.3f  engine", (double)replay->at_ns / 1e9);
    if (load->pid)
        printf(" %" PRIu32, load->pid);
    printf(", %s\n", line);
}

static void add_load(struct replay *replay, const struct dgo_engine_load *load)
{
    uint32_t i = 0;

    while (i < replay->engine_count && replay->engine[i].pid != load->pid)
        i++;
    if (i == ENGINES_MAX)
        return;
    replay->engine[i] = *load;
    if (i == replay->engine_count)
        replay->engine_count++;
    follow_burst(replay, i);
}

static void pace(const struct replay *replay)
{
    const uint64_t ahead_ns = replay->at_ns - replay->last_ns;
    const double ns = replay->speed > 0 ? (double)ahead_ns / replay->speed : 0;
    const struct timespec rest = {.tv_sec = (time_t)(ns / 1e9),
                                  .tv_nsec = (long)(ns - 1e9 * (double)(time_t)(ns / 1e9))};

    if (ns <= 0)
        return;
    fflush(stdout);
    nanosleep(&rest, NULL);
}

static void tell_origin(struct replay *replay, const struct dgo_origin *origin)
{
    char text[DGO_ORIGIN_TEXT_MAX];

    replay->origin_told = true;
    if (dgo_origin_text(origin, text)[0])
        printf("%s: these readings come from a recording\n", text);
}

static void take(struct replay *replay, const struct dgo_recording_item *item)
{
    const bool rows = !replay->quiet && !replay->csv;

    replay->at_ns = item->at_ns;
    pace(replay);
    replay->last_ns = replay->at_ns;
    switch (item->kind) {
    case DGO_RECORDED_SAMPLE:
        if (rows && !replay->origin_told)
            tell_origin(replay, &item->sample->machine.origin);
        add_sample(replay, item->sample);
        if (rows)
            row_sample(replay, item->sample);
        else if (replay->csv && item->sample->problem[0] == '\0')
            csv_sample(replay, &item->sample->machine);
        break;
    case DGO_RECORDED_LOAD:
        if (rows)
            row_load(replay, &item->load);
        add_load(replay, &item->load);
        break;
    case DGO_RECORDED_MARK:
        replay->marks++;
        if (rows)
            printf("%10.3f  mark: %s\n", (double)replay->at_ns / 1e9, item->mark);
        break;
    }
}

static json_t *view(const struct replay *replay)
{
    json_t *gpus = json_array(), *object;

    for (uint32_t g = 0; g < replay->gpu_count; g++) {
        const struct seen_gpu *seen = &replay->gpu[g];
        json_t *gpu = json_pack("{s:i, s:s}", "index", (int)g, "name", seen->name);

        if (seen->used_known) {
            json_object_set_new(gpu, "used_least_bytes",
                                json_integer((json_int_t)seen->least_bytes));
            json_object_set_new(gpu, "used_most_bytes", json_integer((json_int_t)seen->most_bytes));
            json_object_set_new(gpu, "used_last_bytes", json_integer((json_int_t)seen->last_bytes));
        }
        json_array_append_new(gpus, gpu);
    }
    object = json_pack("{s:s, s:b, s:f, s:I, s:I, s:I, s:I, s:I, s:o}", "schema",
                       "dualgpuopt.replay/1", "simulated", (int)replay->origin.simulated, "seconds",
                       (double)replay->last_ns / 1e9, "looks", (json_int_t)replay->looks,
                       "failed_looks", (json_int_t)replay->failures, "marks",
                       (json_int_t)replay->marks, "bursts", (json_int_t)replay->bursts, "engines",
                       (json_int_t)replay->engine_count, "gpus", gpus);
    view_add_recorded(object, &replay->origin);
    return object;
}

static int run(const struct cmd_call *call)
{
    const struct options *options = &call->options;
    static struct replay replay;
    struct dgo_recording *recording = NULL;
    static struct dgo_recording_item item;
    struct dgo_error err = {0};
    enum dgo_status status = dgo_recording_open(call->args[0], &recording, &err);

    replay.csv = option_given(options, OPTION_CSV);
    replay.quiet = option_given(options, OPTION_JSON);
    replay.speed = (double)option_number(options, OPTION_SPEED);
    if (status == DGO_OK && replay.csv)
        printf("seconds,gpu,pid,used_mib,requests,busy\n");
    while (status == DGO_OK) {
        status = dgo_recording_next(recording, &item, &err);
        if (status == DGO_OK)
            take(&replay, &item);
    }
    dgo_recording_close(recording);
    if (err.status != DGO_OK)
        return print_failure(&err);
    if (replay.quiet)
        return print_json(view(&replay));
    return 0;
}

const struct cmd cmd_profile_replay = {
    .name = "profile replay",
    .does = "show what a recording holds, or turn it into CSV",
    .usage = "FILE [--speed N] [--csv | --json]",
    .examples = "dualgpuopt profile replay machine.jsonl\n"
                "dualgpuopt profile replay machine.jsonl --speed 1\n"
                "dualgpuopt profile replay machine.jsonl --csv > machine.csv",
    .details =
        "--csv gives seconds,gpu,pid,used_mib,requests,busy: a row for each card (pid 0) and each\n"
        "process at each look. Any command shows the recorded machine with --gpus FILE.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_SPEED, OPTION_CSV, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
