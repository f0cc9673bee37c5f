/* dgo_app.h - the running program: the loop, the resource manager and the bus, joined.
 *
 * One app a process.  The thread that opens it is the loop's and the UI thread; all calls are made
 * on it. */
#ifndef DGO_APP_H
#define DGO_APP_H

#include "dgo_alerts.h"
#include "dgo_base.h"
#include "dgo_bus.h"
#include "dgo_recording.h"
#include "dgo_resource.h"

#include <systemd/sd-event.h>

enum component {
#define X(id, name, state, lane, hint, vram_bytes, what) COMPONENT_##id,
#include "components.def"
#undef X
    COMPONENT_COUNT
};

/* Identity of a component of ours; registers all of them at the first call.  Any thread. */
dgo_component_id app_component(enum component component);
/* Whether its code exists; one that is only planned comes with its feature.  Any thread. */
bool app_component_present(enum component component);

/* dgo_run_on_cpu for a component of ours.  Any thread. */
enum dgo_status app_run(enum component component, dgo_job_fn fn, void *arg);

enum launch_state {
    LAUNCH_STARTING,   /* the process is being started */
    LAUNCH_LOADING,    /* it runs and is not ready */
    LAUNCH_READY,      /* it answers, and its figures are known */
    LAUNCH_RESTARTING, /* it ended and will be started again */
    LAUNCH_STOPPING,   /* it was told to stop */
    LAUNCH_ENDED       /* for good */
};
const char *launch_state_name(enum launch_state state); /* "starting", ... */

/* Payload of TOPIC_LAUNCH_STATE. */
struct launch_event {
    enum launch_state state;
    uint32_t attempt; /* starts before this one */
    int32_t pid;      /* 0: none */
    uint16_t port;
    char text[640]; /* one sentence for people; may be "" */
};

/* Payload of TOPIC_ENGINE_LINE: a line of the engine's log, escaped, cut at its size. */
struct line_event {
    char text[1024];
};

/* Payload of TOPIC_SELF_CHECK: the events of one round, counted from 1. */
struct check_event {
    uint64_t number;
};

/* Payload of TOPIC_GPU_SAMPLE: that there is a newer look at the machine (watch.h). */
struct sample_event {
    uint64_t sequence; /* of the look; 0: there was none yet */
    uint64_t wall_ns;  /* when it was; 0: nothing new, it has become stale */
    uint32_t gpu_count;
    bool stale;
};

/* Payload of TOPIC_ALERT (dgo_alerts.h). */
struct alert_event {
    enum dgo_alert_rule rule;
    enum dgo_alert_level level, before; /* level normal: it is over */
    uint32_t gpu_index, pid;
    double value;
    uint64_t wall_ns;
    char text[256];
};

/* Payload of TOPIC_CONFIG_CHANGED (config_watch.h). */
struct config_event {
    uint64_t generation; /* of the values in force: grows with each change */
    bool accepted;       /* else the file is broken and nothing changed */
    char text[640];      /* one sentence for people */
};

/* Payload of TOPIC_ENGINE_LOAD is struct dgo_engine_load; the source is the engine's pid. */

enum topic {
#define X(id, name, priority, hint, drop, payload, batch_events, batch_ns) TOPIC_##id,
#include "topics.def"
#undef X
    TOPIC_COUNT
};

/* The row of a topic; NULL behind the last one. */
const struct dgo_topic *app_topic(uint16_t topic);

struct dgo_app {
    sd_event *loop;
    struct dgo_bus *bus;
    sd_event_source *ui_source;
};

DGO_MUST_CHECK
enum dgo_status dgo_app_open(struct dgo_app *app, struct dgo_error *err);
void dgo_app_close(struct dgo_app *app); /* accepts a zeroed one */

#endif
