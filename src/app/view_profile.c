/* view_profile.c - what the profiler found, as JSON. */
#include "view_profile.h"

#include "view.h"

#include <math.h>
#include <stdlib.h>

/* The keys that readers rely on are always there: unknown is null, not left out. */
static json_t *real_or_null(bool known, double value)
{
    return known && isfinite(value) ? json_real(value) : json_null();
}

static json_t *interval(bool known, double low, double high)
{
    return known ? json_pack("[o, o]", real_or_null(true, low), real_or_null(true, high))
                 : json_null();
}

static json_t *view_evidence(const struct dgo_trend *trend)
{
    json_t *evidence =
        json_pack("{s:o, s:I, s:I}", "text", view_text(trend->evidence), "lives",
                  (json_int_t)trend->lives, "growing_lives", (json_int_t)trend->growing_lives);

    if (evidence && trend->slope_known)
        json_object_update_new(
            evidence,
            json_pack("{s:f, s:f, s:f, s:s, s:b, s:b, s:b, s:b}", "window_seconds", trend->window_s,
                      "growth_mib", trend->growth_mib, "mann_kendall_z", trend->mann_kendall_z,
                      "floor", trend->on_idle_floor ? "idle" : "envelope", "sustained",
                      trend->sustained, "spread", trend->spread, "not_slowing", trend->not_slowing,
                      "not_random", trend->not_random));
    if (evidence && trend->per_request_known)
        json_object_update_new(
            evidence,
            json_pack("{s:f, s:f, s:o}", "requests", trend->request_count, "mib_per_request",
                      trend->mib_per_request, "mib_per_request_interval",
                      interval(true, trend->mib_per_request_low, trend->mib_per_request_high)));
    return evidence;
}

static json_t *view_episodes(const struct dgo_series_report *report)
{
    json_t *episodes = json_array();

    for (uint32_t i = 0; i < report->episode_count; i++) {
        const struct dgo_episode *episode = &report->episode[i];

        json_array_append_new(episodes,
                              json_pack("{s:f, s:o, s:s, s:f}", "began_seconds", episode->began_s,
                                        "ended_seconds", real_or_null(true, episode->ended_s),
                                        "verdict", dgo_verdict_name(episode->worst),
                                        "slope_mib_per_hour", episode->slope_mib_per_hour));
    }
    return episodes;
}

static void add_stats(json_t *series, const struct dgo_trace_stats *stats)
{
    json_object_update_new(series, json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "samples",
                                             (json_int_t)stats->sample_count, "first_seconds",
                                             stats->first_s, "last_seconds", stats->last_s,
                                             "least_mib", stats->least_mib, "greatest_mib",
                                             stats->greatest_mib, "last_mib", stats->last_mib));
    if (stats->clock_jumps)
        json_object_set_new(series, "clock_jumps", json_integer((json_int_t)stats->clock_jumps));
}

/* The greatest value of each of equal parts; null: no reading. */
static json_t *view_shape(const struct dgo_profiler *profiler, uint32_t index)
{
    struct dgo_trace_point point[VIEW_PROFILE_SHAPE];
    const uint32_t count = dgo_profiler_points(profiler, index, point, VIEW_PROFILE_SHAPE);
    json_t *shape = json_array();

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(shape, real_or_null(true, point[i].max_mib));
    return shape;
}

static json_t *view_series(const struct dgo_profiler *profiler, uint32_t index)
{
    const struct dgo_series_report *report = dgo_profiler_report(profiler, index);
    const struct dgo_trend *trend = &report->trend;
    json_t *series = json_pack(
        "{s:I, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "gpu", (json_int_t)report->gpu_index,
        "pid", report->pid ? json_integer((json_int_t)report->pid) : json_null(), "verdict",
        dgo_verdict_name(trend->verdict), "pattern", dgo_pattern_name(trend->pattern),
        "slope_mib_per_hour", real_or_null(trend->slope_known, trend->slope_mib_per_hour),
        "slope_interval", interval(trend->slope_known, trend->slope_low, trend->slope_high),
        "seconds_to_full", real_or_null(trend->time_to_full_known, trend->seconds_to_full),
        "seconds_to_full_interval",
        interval(trend->time_to_full_known, trend->seconds_to_full_low,
                 trend->seconds_to_full_high),
        "evidence", view_evidence(trend), "episodes", view_episodes(report));

    if (!series)
        return NULL;
    if (report->name[0])
        json_object_set_new(series, "name", view_text(report->name));
    if (report->role_known)
        json_object_set_new(series, "role", json_string(dgo_process_role_name(report->role)));
    if (report->start)
        json_object_set_new(series, "start", json_integer((json_int_t)report->start));
    if (!isnan(trend->period_s))
        json_object_set_new(series, "period_seconds", json_real(trend->period_s));
    add_stats(series, &report->stats);
    json_object_set_new(series, "over_time_mib", view_shape(profiler, index));
    return series;
}

static json_t *view_changes(const struct dgo_profiler *profiler)
{
    struct dgo_change_report change[DGO_PROFILER_CHANGE_MAX];
    const uint32_t count = dgo_profiler_changes(profiler, change, DGO_PROFILER_CHANGE_MAX);
    json_t *changes = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_t *one = json_pack(
            "{s:f, s:I, s:o, s:f, s:I}", "seconds", change[i].seconds, "gpu",
            (json_int_t)change[i].gpu_index, "pid",
            change[i].pid ? json_integer((json_int_t)change[i].pid) : json_null(), "delta_mib",
            change[i].delta_mib, "gpu_count", (json_int_t)change[i].gpu_count);

        if (one && change[i].name[0])
            json_object_set_new(one, "name", view_text(change[i].name));
        if (one && change[i].command[0])
            json_object_set_new(one, "command", view_text(change[i].command));
        if (one && change[i].how != DGO_CHANGE_LEVEL)
            json_object_set_new(one, "how", json_string(dgo_change_how_name(change[i].how)));
        json_array_append_new(changes, one);
    }
    return changes;
}

static json_t *view_marks(const struct dgo_profiler *profiler)
{
    const struct dgo_mark *mark;
    const uint32_t count = dgo_profiler_marks(profiler, &mark);
    json_t *marks = json_array();

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(marks, json_pack("{s:f, s:o}", "seconds", mark[i].seconds, "text",
                                               view_text(mark[i].text)));
    return marks;
}

static void add_file(json_t *profile, const struct profile_file_stats *stats)
{
    json_t *problems = json_array();

    for (uint32_t i = 0; i < stats->problem_count; i++)
        json_array_append_new(problems, view_text(stats->problem[i]));
    json_object_update_new(profile, json_pack("{s:b, s:I, s:I, s:o}", "simulated",
                                              (int)stats->origin.simulated, "readings",
                                              (json_int_t)stats->readings, "bad_lines",
                                              (json_int_t)stats->bad_lines, "problems", problems));
    view_add_recorded(profile, &stats->origin);
}

void view_add_worth(json_t *view, const struct dgo_worth *worth, double mib)
{
    if (view && worth && worth->token_bytes)
        json_object_set_new(view, "kv_tokens", json_real(dgo_worth_tokens(worth, mib)));
    if (view && worth && worth->layer_bytes)
        json_object_set_new(view, "layers", json_real(dgo_worth_layers(worth, mib)));
}

static json_t *view_freeable(const struct dgo_profiler *profiler, const struct dgo_worth *worth)
{
    struct dgo_snapshot snapshot;
    struct dgo_freeable row[DGO_SNAPSHOT_ENTRY_MAX];
    json_t *rows = json_array();
    uint32_t count;

    dgo_snapshot_now(profiler, &snapshot);
    count = dgo_freeable_find(&snapshot, row, DGO_SNAPSHOT_ENTRY_MAX);
    for (uint32_t i = 0; i < count; i++) {
        json_t *one = json_pack("{s:I, s:I, s:o, s:f}", "gpu", (json_int_t)row[i].gpu_index, "pid",
                                (json_int_t)row[i].pid, "role",
                                row[i].role_known ? json_string(dgo_process_role_name(row[i].role))
                                                  : json_null(),
                                "used_mib", row[i].used_mib);

        if (one && row[i].name[0])
            json_object_set_new(one, "name", view_text(row[i].name));
        view_add_worth(one, worth, row[i].used_mib);
        json_array_append_new(rows, one);
    }
    return rows;
}

json_t *view_profile(const struct dgo_profiler *profiler, const struct dgo_worth *worth,
                     const struct profile_file_stats *stats)
{
    const double imbalance = dgo_profiler_imbalance(profiler);
    json_t *series = json_array(), *profile;

    for (uint32_t i = 0; i < dgo_profiler_count(profiler); i++)
        json_array_append_new(series, view_series(profiler, i));
    profile = json_pack("{s:s, s:o, s:o, s:o, s:o}", "schema", "dualgpuopt.profile/1", "series",
                        series, "changes", view_changes(profiler), "marks", view_marks(profiler),
                        "could_free", view_freeable(profiler, worth));
    if (profile && stats)
        add_file(profile, stats);
    if (profile && !isnan(imbalance))
        json_object_set_new(profile, "imbalance", json_real(imbalance));
    return profile;
}
