/* fleet.h - many launches: each one prepared, admitted against the VRAM ledger, supervised,
 * remembered.  Private to the folder.
 *
 *     wish ─► PREPARING (plan, on a worker) ─► reserve ─► supervise ─► ENDED
 *                  ▲            │ does not fit
 *                  └─ WAITING ◄─┘ (queue; or evict: others were told to stop)
 *
 * One launch is prepared at a time, in the order they came, so that each plan sees what those
 * before it were promised.  Loop thread only. */
#ifndef FLEET_H
#define FLEET_H

#include "config_watch.h"
#include "dgo_app.h"
#include "flow.h"
#include "supervise.h"
#include "watch.h"

#include <jansson.h>

enum {
    FLEET_MAX = 64,       /* launches that have not ended */
    FLEET_ENDED_MAX = 32, /* remembered after their end; the oldest go */
    LAUNCH_NAME_MAX = 128,
    LAUNCH_ACTION_MAX = 16, /* remembered of one launch */
};

enum admission { ADMIT_REFUSE, ADMIT_QUEUE, ADMIT_EVICT };
enum launch_phase { PHASE_PREPARING, PHASE_WAITING, PHASE_RUNNING, PHASE_ENDED };

struct fleet;
struct launch;

struct fleet_options {
    const struct config_watch *config; /* policies, and what a launch starts from */
    char *const *environment;
    const char *directory;     /* records and logs; NULL: nothing is kept.  Outlives the fleet */
    const char *daemon_socket; /* engines are kept beside it; NULL: they end with us.  Likewise */
};

/* What happened, for who shows it: `type` is an event of docs/HTTP.md; takes over `object`. */
typedef void (*fleet_event_fn)(const char *type, json_t *object, void *data);

DGO_MUST_CHECK
enum dgo_status fleet_new(struct dgo_app *app, struct watch *watch,
                          const struct fleet_options *options, fleet_event_fn event, void *data,
                          struct fleet **fleet, struct dgo_error *err);
/* Kills what still runs, unless it is left to the next one of us (fleet_leave). */
void fleet_free(struct fleet *fleet);

/* Takes up what the daemon before us left: engines that are kept are taken over, launches that were
 * wanted and run no more are started again, but for those that a request had started. */
void fleet_restore(struct fleet *fleet);

struct preset;

struct wish {
    const char *model_name, *model_path; /* name: what clients say */
    const char *name;                    /* of the launch; NULL: model_name */
    struct preset *preset;    /* below the intent; taken over, also by a failure; or NULL */
    const json_t *intent;     /* borrowed; may be NULL */
    const char *const *extra; /* engine flags of a local user */
    uint32_t extra_count;
    bool pinned;
    bool admission_given;
    enum admission admission;
    const char *origin; /* "api", "cli", "proxy", "restart": a literal */
};

/* DGO_EBUSY when a launch of that name has not ended; DGO_ELIMIT; DGO_EUSAGE with *param. */
DGO_MUST_CHECK
enum dgo_status fleet_launch(struct fleet *fleet, const struct wish *wish, struct launch **launch,
                             const char **param, struct dgo_error *err);

struct launch *fleet_find(struct fleet *fleet, uint64_t id);
/* Not ended, by its name, its model's or an alias of its preset; NULL. */
struct launch *fleet_find_name(struct fleet *fleet, const char *name);
/* The only one that has not ended; NULL: none or several. */
struct launch *fleet_only(struct fleet *fleet);
struct launch *fleet_next(struct fleet *fleet, const struct launch *after); /* NULL: the first */
uint32_t fleet_running_count(const struct fleet *fleet);

/* What launches were promised and have not taken, by GPU; with `returned`, also what ours hold,
 * which they would give back. */
void fleet_free_change(struct fleet *fleet, bool as_if_alone, int64_t change[DGO_GPU_MAX]);

void launch_stop(struct launch *launch, bool kill, const char *why);
void launch_pin(struct launch *launch, bool pinned);
/* DGO_ESTATE while it has not ended.  Its log is removed. */
enum dgo_status launch_forget(struct launch *launch, struct dgo_error *err);
/* All that has not ended is told to stop; fleet_running_count becomes 0. */
void fleet_stop_all(struct fleet *fleet, bool kill);
/* fleet_free lets the engines live, for a daemon that comes back within keep_ns. */
void fleet_leave(struct fleet *fleet);

/* A request for it begins and ends; while one lasts it is not idle. */
void launch_request_begins(struct launch *launch);
void launch_request_ends(struct launch *launch);

/* Calls `fn` once, on the loop, when the launch is ready or has ended or was refused; 0 tokens are
 * none.  A token that is cancelled is not called. */
typedef void (*launch_settled_fn)(struct launch *launch, void *data);
struct launch_wait;
struct launch_wait *launch_wait_ready(struct launch *launch, launch_settled_fn fn, void *data);
/* The same, already when it was admitted or not. */
struct launch_wait *launch_wait_admitted(struct launch *launch, launch_settled_fn fn, void *data);
void launch_wait_cancel(struct launch_wait *wait); /* accepts NULL */

uint64_t launch_id(const struct launch *launch);
const char *launch_name(const struct launch *launch);
const char *launch_model(const struct launch *launch);
int32_t launch_pid(const struct launch *launch);         /* 0: no engine runs */
uint64_t launch_started_ns(const struct launch *launch); /* wall; 0: not yet, or not by us */
uint64_t launch_reserved_bytes(const struct launch *launch, uint32_t gpu_index);
enum launch_phase launch_phase(const struct launch *launch);
bool launch_is_ready(const struct launch *launch);
uint16_t launch_port(const struct launch *launch);
uint64_t launch_request_count(const struct launch *launch);
uint32_t launch_active_requests(const struct launch *launch);
uint32_t launch_restart_count(const struct launch *launch);
const char *launch_host(const struct launch *launch);
/* After its end: DGO_OK when it was stopped as wished, else why not. */
enum dgo_status launch_outcome(const struct launch *launch, struct dgo_error *err);
/* Launches that would have to stop for one that was refused; ids, and how many. */
uint32_t launch_in_the_way(const struct launch *launch, uint64_t ids[FLEET_MAX]);

json_t *launch_view(struct launch *launch);
json_t *fleet_view(struct fleet *fleet);       /* all of them, oldest first */
json_t *fleet_queue_view(struct fleet *fleet); /* ids of those that wait for memory */
json_t *launch_log_view(struct launch *launch, uint64_t after, uint32_t limit);

#endif
