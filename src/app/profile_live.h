/* profile_live.h - the profiler in the running program: looks and loads into the timeline, verdicts
 * every five minutes, alerts, and the store every minute.  Private to app and the faces.
 *
 * The axis of time is wall time that never goes back: a clock that is set back is noted as an event
 * and the axis goes on by the monotonic clock until the wall has caught up.  Any thread, but for
 * start and stop: the loop's. */
#ifndef PROFILE_LIVE_H
#define PROFILE_LIVE_H

#include "config.h"
#include "dgo_alerts.h"
#include "dgo_app.h"
#include "dgo_recording.h"
#include "dgo_timeline.h"

#include <jansson.h>

struct profile_live;

struct profile_live_options {
    const char *state_directory;        /* NULL: nothing is kept */
    const struct option_value *setting; /* of SETTING_COUNT: the alerts.* of the configuration;
                                         * NULL: the defaults */
};

/* What was kept of the last day is there again.  A store that cannot be opened is said in the log
 * and is no failure. */
DGO_MUST_CHECK
enum dgo_status profile_live_start(struct dgo_app *app, const struct profile_live_options *options,
                                   struct profile_live **live, struct dgo_error *err);

/* Writes what is not written yet, and waits for jobs of its own.  Looks must have stopped.  Accepts
 * NULL. */
void profile_live_stop(struct profile_live *live);

/* As dgo_sample_fn and watch_load_fn want them; `data` is the struct profile_live. */
void profile_live_sample(const struct dgo_sample *sample, void *data);
void profile_live_load(const struct dgo_engine_load *load, uint64_t at_ns, void *data);

/* alerts.* as they are from now on: levels, command, webhook.  A command or webhook that cannot be
 * is said in the log, and both stay as they were.  `setting` is of SETTING_COUNT. */
void profile_live_set_alerts(struct profile_live *live, const struct option_value *setting);

void profile_live_note(struct profile_live *live, enum dgo_timeline_event_kind kind,
                       uint32_t gpu_index, uint32_t pid, const char *text);

/* What a plan gives a process of ours: growth below it is filling. */
void profile_live_plan(struct profile_live *live, uint32_t gpu_index, uint32_t pid,
                       uint64_t planned_bytes);
/* The same, as a point of the timeline at the newest look, for each look while the process runs, so
 * that its line begins and ends with it: nothing for a look from before `started_ns` (wall). */
void profile_live_planned(struct profile_live *live, uint32_t gpu_index, uint32_t pid,
                          uint64_t started_ns, uint64_t planned_bytes);

/* New references; NULL without memory.  view: as `profile report --json`, judged now. */
json_t *profile_live_view(struct profile_live *live);
json_t *profile_live_alerts(struct profile_live *live);

struct profile_live_query {
    uint64_t since_ns, until_ns; /* until_ns 0: now; since_ns 0: ten minutes before */
    uint32_t points;             /* of each series, 1..2000; 0: 240 */
    const char *kinds;           /* "used,power"; NULL: all */
};
json_t *profile_live_timeline(struct profile_live *live, const struct profile_live_query *query);

#endif
