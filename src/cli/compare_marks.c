/* compare_marks.c - what stood in the daemon's timeline when a mark was set. */
#include "compare.h"

#include "client.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PARTS = 6 }; /* as dgo_snapshot_take counts them */

static enum dgo_status ask_timeline(const struct options *options, uint64_t since_ns,
                                    uint64_t until_ns, const char *kinds, json_t **answer,
                                    struct dgo_error *err)
{
    char path[200];

    (void)snprintf(path, sizeof path,
                   "/api/v1/timeline?since_ns=%" PRIu64 "&until_ns=%" PRIu64
                   "&points=2000&series=%s",
                   since_ns, until_ns, kinds);
    return client_ask(options, "GET", path, NULL, answer, err);
}

/* The last mark of that text. */
static enum dgo_status find_mark(const struct options *options, const char *mark, uint64_t *time_ns,
                                 struct dgo_error *err)
{
    char line[400];
    struct dgo_text there = DGO_TEXT(line);
    json_t *answer = NULL;
    const json_t *event;
    size_t at;
    enum dgo_status status = ask_timeline(options, 1, 0, "none", &answer, err);

    if (status != DGO_OK)
        return status;
    *time_ns = 0;
    json_array_foreach(json_object_get(answer, "events"), at, event)
    {
        const char *kind = json_string_value(json_object_get(event, "kind"));
        const char *text = json_string_value(json_object_get(event, "text"));

        if (!kind || !text || strcmp(kind, "mark") != 0)
            continue;
        if (strcmp(text, mark) == 0)
            *time_ns = (uint64_t)json_integer_value(json_object_get(event, "time_ns"));
        dgo_text_addf(&there, "%s\"%s\"", there.length ? ", " : "", text);
    }
    json_decref(answer);
    if (*time_ns == 0)
        return dgo_fail(
            err, DGO_ENOTFOUND, "there is no mark \"%.100s\" on the daemon's timeline; %s%s", mark,
            there.length ? "there are " : "dualgpuopt profile mark TEXT sets one", line);
    return DGO_OK;
}

/* The widest point: of which tier the daemon could still tell. */
static double widest_s(const json_t *timeline)
{
    const json_t *series, *point;
    double widest = 0;
    size_t s, p;

    json_array_foreach(json_object_get(timeline, "series"), s, series)
    {
        json_array_foreach(json_object_get(series, "points"), p, point)
        {
            widest = fmax(widest, json_number_value(json_object_get(point, "span_ns")) / 1e9);
        }
    }
    return widest;
}

static struct dgo_profiler_reading key_of(const json_t *series)
{
    return (struct dgo_profiler_reading){
        .gpu_index = (uint32_t)json_integer_value(json_object_get(series, "gpu")),
        .pid = (uint32_t)json_integer_value(json_object_get(series, "pid")),
        .start = (uint64_t)json_integer_value(json_object_get(series, "start"))};
}

static enum dgo_status feed(struct dgo_profiler *profiler, const json_t *timeline,
                            struct dgo_error *err)
{
    const json_t *series, *point;
    enum dgo_status status = DGO_OK;
    size_t s, p;

    json_array_foreach(json_object_get(timeline, "series"), s, series)
    {
        struct dgo_profiler_reading reading = key_of(series);

        json_array_foreach(json_object_get(series, "points"), p, point)
        {
            const double from_ns = json_number_value(json_object_get(point, "time_ns"));
            const double span_ns = json_number_value(json_object_get(point, "span_ns"));

            reading.sample.seconds = (from_ns + span_ns / 2) / 1e9;
            reading.sample.used_mib =
                json_number_value(json_object_get(point, "mean")) / (double)DGO_MIB;
            if (status == DGO_OK)
                status = dgo_profiler_add(profiler, &reading, err);
        }
    }
    return status;
}

/* Names and roles, which the timeline does not keep. */
static enum dgo_status name_processes(const struct options *options, struct dgo_profiler *profiler,
                                      struct dgo_error *err)
{
    json_t *profile = NULL;
    const json_t *series;
    size_t at;
    const enum dgo_status status =
        client_ask(options, "GET", "/api/v1/profile", NULL, &profile, err);

    json_array_foreach(json_object_get(profile, "series"), at, series)
    {
        const struct dgo_profiler_reading key = key_of(series);
        const char *name = json_string_value(json_object_get(series, "name"));

        if (key.pid && name)
            dgo_profiler_set_name(profiler, key.gpu_index, key.pid, key.start, name);
    }
    json_decref(profile);
    return status;
}

/* Parts no finer than what the daemon still knows of that time. */
static enum dgo_status ask_before(const struct options *options, uint64_t time_ns, double *part_s,
                                  json_t **timeline, struct dgo_error *err)
{
    for (int tries = 0;; tries++) {
        const uint64_t span_ns = (uint64_t)(PARTS * *part_s * 1e9);
        const enum dgo_status status = ask_timeline(
            options, time_ns - dgo_min_u64(span_ns, time_ns - 1), time_ns, "used", timeline, err);

        if (status != DGO_OK || tries == 3 || widest_s(*timeline) <= *part_s)
            return status;
        *part_s = widest_s(*timeline);
        json_decref(*timeline);
        *timeline = NULL;
    }
}

enum dgo_status compare_marks_take(const struct options *options, const char *mark, double part_s,
                                   struct dgo_snapshot *snapshot, struct dgo_error *err)
{
    struct dgo_profiler *profiler = NULL;
    json_t *timeline = NULL;
    uint64_t time_ns = 0;
    enum dgo_status status = find_mark(options, mark, &time_ns, err);

    part_s = fmax(part_s, 1);
    if (status == DGO_OK)
        status = ask_before(options, time_ns, &part_s, &timeline, err);
    if (status == DGO_OK)
        status = dgo_profiler_new(NULL, &profiler, err);
    if (status == DGO_OK)
        status = feed(profiler, timeline, err);
    if (status == DGO_OK)
        status = name_processes(options, profiler, err);
    if (status == DGO_OK) {
        dgo_profiler_judge(profiler);
        dgo_snapshot_take(profiler, part_s, snapshot);
        if (snapshot->count == 0)
            status = dgo_fail(err, DGO_ENOTFOUND,
                              "the daemon has no readings from the %.0f s before the mark "
                              "\"%.100s\"",
                              PARTS * part_s, mark);
    }
    json_decref(timeline);
    dgo_profiler_free(profiler);
    return status;
}
