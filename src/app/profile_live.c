/* profile_live.c - looks and loads come in, verdicts and pictures go out. */
#include "profile_live_internal.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "view.h"
#include "view_profile.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const uint64_t judge_every_ns = 300 * DGO_NS_PER_S, flush_every_ns = 60 * DGO_NS_PER_S;
static const uint64_t keep_ns = 14 * UINT64_C(86400) * DGO_NS_PER_S;
static const uint64_t jump_ns = 2 * DGO_NS_PER_S;

enum {
    PROCESS_SERIES_MAX = 128,
    POINT_MAX = 2000,
    POINTS_ALL_MAX = 200 * 1000, /* of one answer: some 25 MB of JSON */
    SERIES_LIST_MAX = 1024,
    EVENT_LIST_MAX = 512,
};

/* ---- alerts ----------------------------------------------------------------------------- */

static void on_alert(const struct dgo_alert *alert, void *data)
{
    struct profile_live *live = data;
    struct dgo_timeline_event event = {.time_ns = live->axis_ns,
                                       .kind = DGO_TIMELINE_ALERT,
                                       .gpu_index = alert->gpu_index,
                                       .pid = alert->pid};

    (void)dgo_text_copy(event.text, sizeof event.text, alert->text);
    dgo_timeline_note(live->timeline, &event);
    alert_sinks_tell(live->sinks, alert, live->axis_ns);
}

/* ---- jobs ------------------------------------------------------------------------------- */

static enum dgo_status job_judge(void *data)
{
    struct profile_live *live = data;

    pthread_mutex_lock(&live->lock);
    dgo_profiler_trim(live->profiler, PROCESS_SERIES_MAX);
    dgo_profiler_judge(live->profiler);
    profile_live_watch_leaks(live);
    pthread_mutex_unlock(&live->lock);
    return DGO_OK;
}

static void judged(const struct dgo_result *result, void *data)
{
    struct profile_live *live = data;

    (void)result;
    live->judging = false;
    live->jobs--;
}

static uint64_t axis_of(struct profile_live *live)
{
    uint64_t axis_ns;

    pthread_mutex_lock(&live->lock);
    axis_ns = live->axis_ns;
    pthread_mutex_unlock(&live->lock);
    return axis_ns;
}

static enum dgo_status job_flush(void *data)
{
    struct profile_live *live = data;
    const uint64_t now_ns = axis_of(live);
    struct dgo_error err = {0};
    enum dgo_status status = profile_live_flush(live, &err);

    if (status == DGO_OK && now_ns > keep_ns)
        status = dgo_store_trim_timeline(live->store, now_ns - keep_ns, &err);
    /* Once, and again when it has worked in between: a full disk is full for hours. */
    if (status != DGO_OK && live->flush_failures++ == 0)
        dgo_log(DGO_LOG_WARN, "the timeline is not kept: %s", err.text);
    if (status == DGO_OK)
        live->flush_failures = 0;
    return status;
}

static void flushed(const struct dgo_result *result, void *data)
{
    struct profile_live *live = data;

    (void)result;
    live->flushing = false;
    live->jobs--;
}

/* One of a kind at a time; a queue that is full means that the next look tries again. */
static void start_job(struct profile_live *live, _Atomic bool *running, enum component component,
                      dgo_job_fn fn, dgo_done_fn done)
{
    struct dgo_error err = {0};

    if (atomic_exchange(running, true))
        return;
    live->jobs++;
    if (dgo_submit(
            &(struct dgo_job){
                .component = app_component(component), .fn = fn, .arg = live, .done = done},
            NULL, &err) == DGO_OK)
        return;
    live->jobs--;
    *running = false;
    dgo_log(DGO_LOG_DEBUG, "profiler: %s", err.text);
}

/* ---- a look ----------------------------------------------------------------------------- */

/* The axis follows the wall, but never back.  A look that failed brings the last good one with its
 * age: time goes on while the driver is away, or no alert about it would ever be due. */
static void move_axis(struct profile_live *live, const struct dgo_sample *sample)
{
    const uint64_t monotonic_ns = sample->monotonic_ns + sample->age_ns;
    const uint64_t wall_ns = sample->wall_ns + sample->age_ns;
    const uint64_t passed_ns = live->monotonic_ns ? monotonic_ns - live->monotonic_ns : 0;
    const uint64_t expected_ns = live->axis_ns ? live->axis_ns + passed_ns : wall_ns;

    const bool behind = live->monotonic_ns && wall_ns + jump_ns < live->axis_ns;

    if (behind && !live->clock_behind)
        dgo_timeline_note(live->timeline,
                          &(struct dgo_timeline_event){.time_ns = expected_ns,
                                                       .kind = DGO_TIMELINE_CLOCK,
                                                       .gpu_index = DGO_TIMELINE_NO_GPU,
                                                       .text = "the clock was set back"});
    live->clock_behind = behind;
    live->axis_ns = dgo_max_u64(wall_ns, expected_ns);
    live->monotonic_ns = monotonic_ns;
}

/* A change is known when its level has held, and whose it is when the processes were listed. */
static const double change_settled_s = 10;

static void note_changes(struct profile_live *live)
{
    static struct dgo_change_report change[DGO_PROFILER_CHANGE_MAX]; /* under the lock */
    const double settled_s = (double)live->axis_ns / 1e9 - change_settled_s;
    uint32_t count;

    if (live->changes_told_s <= 0) /* what the store brought back is told already */
        live->changes_told_s = settled_s + change_settled_s;
    if (settled_s < live->changes_told_s + change_settled_s / 2)
        return;
    dgo_profiler_refresh(live->profiler);
    count = dgo_profiler_changes(live->profiler, change, DGO_PROFILER_CHANGE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct dgo_timeline_event event = {.time_ns = (uint64_t)(change[i].seconds * 1e9),
                                           .kind = DGO_TIMELINE_CHANGE,
                                           .gpu_index = change[i].gpu_index,
                                           .pid = change[i].pid};
        struct dgo_text text = DGO_TEXT(event.text);

        if (change[i].seconds <= live->changes_told_s || change[i].seconds > settled_s)
            continue;
        dgo_change_text(&change[i], &text);
        dgo_timeline_note(live->timeline, &event);
    }
    live->changes_told_s = settled_s;
}

struct look {
    struct profile_live *live;
    const struct dgo_sample *sample;
};

static enum dgo_status job_look(void *data)
{
    const struct look *look = data;
    struct profile_live *live = look->live;
    const struct dgo_sample *sample = look->sample;
    struct dgo_error err = {0};
    enum dgo_status status = DGO_OK;

    pthread_mutex_lock(&live->lock);
    move_axis(live, sample);
    if (sample->problem[0] == '\0') {
        live->origin = sample->machine.origin;
        status = profile_feed_timeline(live->timeline, &sample->machine, &live->loads,
                                       live->axis_ns, &err);
        if (status == DGO_OK)
            status = profile_feed(live->profiler, &sample->machine, &live->loads,
                                  (double)live->axis_ns / 1e9, &err);
    }
    note_changes(live);
    profile_live_watch(live, sample);
    pthread_mutex_unlock(&live->lock);
    if (status != DGO_OK)
        dgo_log(DGO_LOG_DEBUG, "profiler: %s", err.text);
    return status;
}

void profile_live_sample(const struct dgo_sample *sample, void *data)
{
    struct profile_live *live = data;
    struct look look = {live, sample};

    (void)app_run(COMPONENT_TIMELINE, job_look, &look);
    if (live->axis_ns - live->judged_ns >= judge_every_ns) {
        live->judged_ns = live->axis_ns;
        start_job(live, &live->judging, COMPONENT_LEAK_ANALYSIS, job_judge, judged);
    }
    live->unkept |= !dgo_machine_is_live(&sample->machine);
    if (live->store && !live->unkept && live->axis_ns - live->flushed_ns >= flush_every_ns) {
        live->flushed_ns = live->axis_ns;
        start_job(live, &live->flushing, COMPONENT_HISTORY, job_flush, flushed);
    }
}

/* Of that engine; the one that was not heard of longest makes room. */
static struct dgo_burst *burst_of(struct profile_live *live, uint32_t pid, uint64_t at_ns)
{
    uint32_t oldest = 0;

    for (uint32_t i = 0; i < PROFILE_ENGINE_MAX; i++) {
        if (live->burst[i].heard_ns && live->burst[i].pid == pid) {
            live->burst[i].heard_ns = at_ns;
            return &live->burst[i].burst;
        }
        if (live->burst[i].heard_ns < live->burst[oldest].heard_ns)
            oldest = i;
    }
    live->burst[oldest].pid = pid;
    live->burst[oldest].heard_ns = at_ns;
    live->burst[oldest].burst = (struct dgo_burst){.seen = false};
    return &live->burst[oldest].burst;
}

static void follow_requests(struct profile_live *live, const struct dgo_engine_load *load,
                            uint64_t at_ns)
{
    struct dgo_burst_report report;
    const enum dgo_burst_edge edge =
        dgo_burst_add(burst_of(live, load->pid, at_ns), load, at_ns, &report);
    struct dgo_timeline_event event = {.time_ns = live->axis_ns,
                                       .kind = DGO_TIMELINE_BURST,
                                       .gpu_index = DGO_TIMELINE_NO_GPU,
                                       .pid = load->pid};
    struct dgo_text text = DGO_TEXT(event.text);

    if (edge == DGO_BURST_NONE || live->axis_ns == 0)
        return;
    dgo_burst_text(edge, &report, &text);
    dgo_timeline_note(live->timeline, &event);
}

void profile_live_load(const struct dgo_engine_load *load, uint64_t at_ns, void *data)
{
    struct profile_live *live = data;

    pthread_mutex_lock(&live->lock);
    profile_loads_add(&live->loads, load);
    follow_requests(live, load, at_ns);
    pthread_mutex_unlock(&live->lock);
}

void profile_live_note(struct profile_live *live, enum dgo_timeline_event_kind kind,
                       uint32_t gpu_index, uint32_t pid, const char *text)
{
    struct dgo_timeline_event event = {.kind = kind, .gpu_index = gpu_index, .pid = pid};

    (void)dgo_text_copy_escaped(event.text, sizeof event.text, text, strlen(text));
    pthread_mutex_lock(&live->lock);
    event.time_ns = live->axis_ns ? live->axis_ns : dgo_clock_wall_ns(dgo_clock_system());
    if (kind == DGO_TIMELINE_MARK || kind == DGO_TIMELINE_DRIFT) /* in the report, too */
        dgo_profiler_mark(live->profiler, (double)event.time_ns / 1e9, event.text);
    pthread_mutex_unlock(&live->lock);
    dgo_timeline_note(live->timeline, &event);
}

void profile_live_plan(struct profile_live *live, uint32_t gpu_index, uint32_t pid,
                       uint64_t planned_bytes)
{
    pthread_mutex_lock(&live->lock);
    for (uint32_t i = 0; i < dgo_profiler_count(live->profiler); i++) {
        const struct dgo_series_report *report = dgo_profiler_report(live->profiler, i);

        if (report->gpu_index == gpu_index && report->pid == pid)
            dgo_profiler_set_plan(live->profiler, gpu_index, pid, report->start,
                                  (double)planned_bytes / (double)DGO_MIB);
    }
    pthread_mutex_unlock(&live->lock);
}

void profile_live_planned(struct profile_live *live, uint32_t gpu_index, uint32_t pid,
                          uint64_t started_ns, uint64_t planned_bytes)
{
    const struct dgo_series_key key = {
        .kind = DGO_SERIES_PLANNED, .gpu_index = gpu_index, .pid = pid};
    const uint64_t time_ns = axis_of(live);

    if (time_ns >= started_ns)
        (void)dgo_timeline_add(live->timeline, &key, time_ns, (double)planned_bytes, NULL);
}

/* ---- views ------------------------------------------------------------------------------ */

json_t *profile_live_view(struct profile_live *live)
{
    json_t *view;

    pthread_mutex_lock(&live->lock);
    dgo_profiler_judge(live->profiler);
    dgo_profiler_find_patterns(live->profiler);
    view = view_profile(live->profiler, NULL, NULL);
    if (view)
        json_object_set_new(view, "simulated", json_boolean(live->origin.simulated));
    view_add_recorded(view, &live->origin);
    pthread_mutex_unlock(&live->lock);
    return view;
}

json_t *profile_live_alerts(struct profile_live *live)
{
    struct dgo_alert *active = calloc(DGO_ALERT_STATE_MAX, sizeof *active);
    json_t *view = json_array();
    uint32_t count;

    if (!active)
        return view;
    pthread_mutex_lock(&live->lock);
    count = dgo_alerts_active(live->alerts, active, DGO_ALERT_STATE_MAX);
    pthread_mutex_unlock(&live->lock);
    for (uint32_t i = 0; i < count && i < DGO_ALERT_STATE_MAX; i++)
        json_array_append_new(view, alert_view(&active[i], (uint64_t)(active[i].seconds * 1e9)));
    free(active);
    return view;
}

static bool is_wanted(const char *kinds, enum dgo_series_kind kind)
{
    const char *name = dgo_series_kind_name(kind);
    const size_t length = strlen(name);

    if (!kinds || !kinds[0])
        return true;
    for (const char *at = kinds; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

static json_t *view_point(const struct dgo_timeline_point *point)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "time_ns", (json_int_t)point->time_ns,
                     "span_ns", (json_int_t)point->span_ns, "min", (double)point->min, "max",
                     (double)point->max, "mean", (double)point->mean, "last", (double)point->last);
}

static json_t *view_series(struct profile_live *live, const struct dgo_series_key *key,
                           const struct profile_live_query *query,
                           struct dgo_timeline_point *points)
{
    const uint32_t count = dgo_timeline_query(live->timeline, key, query->since_ns, query->until_ns,
                                              points, query->points);
    json_t *list = json_array(), *series;

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, view_point(&points[i]));
    series = json_pack("{s:s, s:s, s:o}", "kind", dgo_series_kind_name(key->kind), "unit",
                       dgo_series_kind_unit(key->kind), "points", list);
    if (series && key->gpu_index != DGO_TIMELINE_NO_GPU)
        json_object_set_new(series, "gpu", json_integer((json_int_t)key->gpu_index));
    if (series && key->pid)
        json_object_set_new(series, "pid", json_integer((json_int_t)key->pid));
    if (series && key->start)
        json_object_set_new(series, "start", json_integer((json_int_t)key->start));
    return series;
}

static json_t *view_events(struct profile_live *live, const struct profile_live_query *query)
{
    struct dgo_timeline_event *event = calloc(EVENT_LIST_MAX, sizeof *event);
    json_t *list = json_array();
    const uint32_t count = event ? dgo_timeline_events(live->timeline, query->since_ns,
                                                       query->until_ns, event, EVENT_LIST_MAX)
                                 : 0;

    for (uint32_t i = 0; i < count && i < EVENT_LIST_MAX; i++) {
        json_t *one =
            json_pack("{s:I, s:s, s:o}", "time_ns", (json_int_t)event[i].time_ns, "kind",
                      dgo_timeline_event_name(event[i].kind), "text", view_text(event[i].text));

        if (one && event[i].gpu_index != DGO_TIMELINE_NO_GPU)
            json_object_set_new(one, "gpu", json_integer((json_int_t)event[i].gpu_index));
        if (one && event[i].pid)
            json_object_set_new(one, "pid", json_integer((json_int_t)event[i].pid));
        json_array_append_new(list, one);
    }
    free(event);
    return list;
}

/* Moves those that are asked for to the front; returns how many. */
static uint32_t keep_wanted(struct dgo_timeline_series *series, uint32_t count,
                            const struct profile_live_query *query)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count && i < SERIES_LIST_MAX; i++)
        if (is_wanted(query->kinds, series[i].key.kind) && series[i].last_ns >= query->since_ns)
            series[kept++] = series[i];
    return kept;
}

json_t *profile_live_timeline(struct profile_live *live, const struct profile_live_query *asked)
{
    struct profile_live_query query = *asked;
    struct dgo_timeline_series *series = calloc(SERIES_LIST_MAX, sizeof *series);
    struct dgo_timeline_point *points = calloc(POINT_MAX, sizeof *points);
    json_t *list = json_array(), *view = NULL;

    if (query.until_ns == 0)
        query.until_ns = axis_of(live) + 1;
    if (query.since_ns == 0)
        query.since_ns = query.until_ns - dgo_min_u64(query.until_ns, 600 * DGO_NS_PER_S);
    query.points = query.points ? (uint32_t)dgo_min_u64(query.points, POINT_MAX) : 240;
    if (series && points) {
        const uint32_t wanted =
            keep_wanted(series, dgo_timeline_list(live->timeline, series, SERIES_LIST_MAX), &query);

        if (wanted)
            query.points = (uint32_t)dgo_min_u64(query.points, POINTS_ALL_MAX / wanted);
        for (uint32_t i = 0; i < wanted; i++)
            json_array_append_new(list, view_series(live, &series[i].key, &query, points));
        view = json_pack("{s:s, s:I, s:I, s:O, s:o}", "schema", "dualgpuopt.timeline/1", "since_ns",
                         (json_int_t)query.since_ns, "until_ns", (json_int_t)query.until_ns,
                         "series", list, "events", view_events(live, &query));
    }
    json_decref(list);
    free(series);
    free(points);
    return view;
}

/* ---- life ------------------------------------------------------------------------------- */

static void open_store(struct profile_live *live, const char *directory)
{
    char notice[DGO_STORE_NOTICE_MAX] = "";
    struct dgo_error err = {0};

    if (!directory)
        return;
    if (dgo_store_open(directory, &live->store, notice, &err) != DGO_OK) {
        dgo_log(DGO_LOG_WARN, "the timeline is not kept: %s", err.text);
        return;
    }
    if (notice[0])
        dgo_log(DGO_LOG_WARN, "%s", notice);
    profile_live_restore(live, dgo_clock_wall_ns(dgo_clock_system()));
}

static const char *text_of(const struct option_value *setting, enum setting_id id)
{
    return setting && setting[id].given ? setting[id].text : NULL;
}

/* The settings name the level that matters of each rule; the others stay where they are. */
static void set_limits(struct profile_live *live, const struct option_value *setting)
{
    const double hold_s = (double)setting[SETTING_ALERTS_HOLD].number / 1e9;

    dgo_alerts_set_level(live->alerts, DGO_ALERT_MEMORY, DGO_ALERT_EMERGENCY,
                         (double)setting[SETTING_ALERTS_MEMORY_PERCENT].number);
    dgo_alerts_set_level(live->alerts, DGO_ALERT_TEMPERATURE, DGO_ALERT_CRITICAL,
                         (double)setting[SETTING_ALERTS_TEMPERATURE_C].number);
    dgo_alerts_set_hold(live->alerts, DGO_ALERT_MEMORY, hold_s);
    dgo_alerts_set_hold(live->alerts, DGO_ALERT_TEMPERATURE, hold_s);
    for (uint32_t g = 0; g < DGO_GPU_MAX; g++) {
        live->oom[g].soon_limit_s = (double)setting[SETTING_ALERTS_TIME_TO_FULL].number / 1e9;
        live->oom[g].little_mib = (double)setting[SETTING_ALERTS_FREE].number / (double)DGO_MIB;
    }
}

void profile_live_set_alerts(struct profile_live *live, const struct option_value *setting)
{
    struct dgo_error err = {0};

    pthread_mutex_lock(&live->lock);
    set_limits(live, setting);
    pthread_mutex_unlock(&live->lock);
    if (alert_sinks_set(live->sinks, text_of(setting, SETTING_ALERTS_COMMAND),
                        text_of(setting, SETTING_ALERTS_WEBHOOK), &err) != DGO_OK)
        dgo_log(DGO_LOG_WARN, "alerts go where they went before: %s", err.text);
}

enum dgo_status profile_live_start(struct dgo_app *app, const struct profile_live_options *options,
                                   struct profile_live **live, struct dgo_error *err)
{
    struct profile_live *made = calloc(1, sizeof *made);
    enum dgo_status status;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "no memory for the profiler");
    made->bus = app->bus;
    pthread_mutex_init(&made->lock, NULL);
    status = dgo_timeline_new(NULL, &made->timeline, err);
    if (status == DGO_OK)
        status = dgo_profiler_new(NULL, &made->profiler, err);
    if (status == DGO_OK)
        status = dgo_alerts_new(on_alert, made, &made->alerts, err);
    if (status == DGO_OK)
        status =
            alert_sinks_new(app->bus, text_of(options->setting, SETTING_ALERTS_COMMAND),
                            text_of(options->setting, SETTING_ALERTS_WEBHOOK), &made->sinks, err);
    if (status != DGO_OK) {
        profile_live_stop(made);
        return status;
    }
    if (options->setting)
        set_limits(made, options->setting);
    open_store(made, options->state_directory);
    *live = made;
    return DGO_OK;
}

void profile_live_stop(struct profile_live *live)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    struct dgo_error err = {0};

    if (!live)
        return;
    while (live->jobs > 0)
        (void)nanosleep(&pause, NULL);
    if (live->store && live->axis_ns && !live->unkept && profile_live_flush(live, &err) != DGO_OK)
        dgo_log(DGO_LOG_WARN, "the end of the timeline is not kept: %s", err.text);
    dgo_store_close(live->store);
    alert_sinks_free(live->sinks);
    dgo_alerts_free(live->alerts);
    dgo_profiler_free(live->profiler);
    dgo_timeline_free(live->timeline);
    pthread_mutex_destroy(&live->lock);
    free(live);
}
