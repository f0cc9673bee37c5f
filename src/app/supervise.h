/* supervise.h - one launch from command to end: start, wait until ready, compare, restart, stop.
 *
 * Publishes launch.state and engine.line on the app's bus; a face subscribes and shows them.  Loop
 * thread only. */
#ifndef SUPERVISE_H
#define SUPERVISE_H

#include "dgo_app.h"
#include "dgo_launch.h"
#include "dgo_profile.h"
#include "engine_end.h"
#include "flow.h"

/* What follows when the engine ran out of memory. */
enum oom_policy {
    OOM_STOP,    /* the launch ends, with the reason; a ready engine is a crash like any other */
    OOM_SMALLER, /* the next smaller plan, at once */
    OOM_RESTART, /* the same plan again, with back-off: somebody else may have taken the memory */
};

struct supervise_options {
    uint16_t port; /* 0: a free one is found, and another when it is taken meanwhile */
    enum oom_policy oom;
    uint32_t restart_max;          /* of a ready engine that crashed, and of OOM_RESTART */
    uint64_t ready_timeout_ns;     /* 0: no end */
    uint64_t stop_timeout_ns;      /* from TERM to KILL; 0: KILL follows at once */
    const char *const *extra_args; /* these and the strings outlive the launch */
    uint32_t extra_count;
    uint32_t source; /* of the events it publishes: the number of the launch; 0: the only one */
    /* Before each start, with the flow's plan as it is now; a failure ends the launch.  May be
     * NULL. */
    enum dgo_status (*admit)(void *data, struct dgo_error *err);
    /* Every line of the engine's log, escaped, also those that the bus drops.  May be NULL; frees
     * nothing. */
    void (*line)(const char *text, void *data);
    /* The comparison has changed: the running engine holds another amount of a card than as it
     * became ready.  May be NULL. */
    void (*drifted)(uint32_t gpu_index, const char *text, void *data);
    void *data; /* of all three */
    /* So that an end can be explained by what the driver saw, and so that the launch teaches what
     * the engine takes outside its books.  Outlives the launch; may be NULL. */
    struct dgo_sampler *sampler;
    struct dgo_process_keep keep; /* the path outlives the launch */
};

struct supervise;

/* Starts the engine of a flow that has been prepared with a binary.  The flow must outlive it;
 * its plan and command change when a smaller plan is taken. */
DGO_MUST_CHECK
enum dgo_status supervise_start(struct dgo_app *app, struct flow *flow,
                                const struct supervise_options *options, struct supervise **launch,
                                struct dgo_error *err);

/* Takes over the engine that is kept at options->keep.path and listens on `port`; the flow holds
 * the plan and the command that it was started with.  Then give it what its log said so far, by
 * supervise_replay, before the loop turns. */
DGO_MUST_CHECK
enum dgo_status supervise_adopt(struct dgo_app *app, struct flow *flow,
                                const struct supervise_options *options, uint16_t port,
                                struct supervise **launch, struct dgo_error *err);
void supervise_replay(struct supervise *launch, const char *line, size_t length);

/* Frees it, and leaves the engine to another one of us where it is kept; else it ends.  Accepts
 * NULL. */
void supervise_leave(struct supervise *launch);

/* Stops for good: TERM first, KILL at the second call.  LAUNCH_ENDED follows. */
void supervise_stop(struct supervise *launch);

enum launch_state supervise_state(const struct supervise *launch);
uint16_t supervise_port(const struct supervise *launch);
const struct dgo_report *supervise_report(const struct supervise *launch);
/* Valid from LAUNCH_READY on. */
const struct dgo_comparison *supervise_comparison(const struct supervise *launch);

/* After LAUNCH_ENDED: DGO_OK when it was ready and then stopped by us, else why not. */
DGO_MUST_CHECK
enum dgo_status supervise_outcome(const struct supervise *launch, struct dgo_error *err);

void supervise_free(struct supervise *launch); /* kills what still runs; accepts NULL */

#endif
