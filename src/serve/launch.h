/* launch.h - what the files of the fleet share about one launch.  Private to them. */
#ifndef LAUNCH_H
#define LAUNCH_H

#include "dgo_arena.h"
#include "fleet.h"
#include "log.h"
#include "presets.h"

struct action {
    uint64_t time_ns; /* wall */
    const char *name; /* "smaller_plan", "restart", "evicted", ... */
    char why[320], what[160];
    char effect[160]; /* "": not known yet */
};

struct launch_wait {
    struct launch_wait *previous, *next;
    struct launch *launch;
    launch_settled_fn fn;
    void *data;
    bool until_ready; /* else until it was admitted or not */
};

/* One job of preparing; the worker's until it is done. */
struct preparation {
    struct launch *launch;
    struct flow *flow;
    const char *path;
    bool check_devices;
    bool adopt; /* the plan is the kept one, the engine runs */
    uint64_t id;
    uint16_t port;
    const char *directory;
    char group_rule[200]; /* why others have to go whatever memory there is; "": they need not */
    /* Others, in the order in which they would have to go. */
    uint32_t other_count;
    struct {
        uint64_t id;
        bool must_go; /* by the rule of a group */
        int64_t gives_bytes[DGO_GPU_MAX];
    } other[FLEET_MAX];
    /* Out: */
    enum dgo_status status;
    struct dgo_error err;
    bool in_the_way[FLEET_MAX]; /* DGO_ENOFIT: with these gone it fits */
    bool fits_without;          /* some of them are */
};

struct launch {
    struct launch *previous, *next;
    struct fleet *fleet;
    uint64_t id;
    char name[LAUNCH_NAME_MAX];
    char *model_name, *model_path;
    const char *origin;
    struct preset *preset; /* or NULL */
    json_t *intent;        /* or NULL */
    enum launch_phase phase;
    enum admission admission;
    bool pinned, wanted, freed, stop_asked, was_ready;
    bool adopt;                  /* its engine may run, left by the daemon before us */
    const struct config *config; /* whose texts the options are */
    struct dgo_arena arena;      /* texts of options, extra */
    struct options options;
    const char **extra;
    uint32_t extra_count;

    struct flow *flow; /* while it is prepared, and from admission on */
    struct supervise *supervise;
    uint64_t ledger_id; /* 0: nothing reserved */
    uint64_t reserved_bytes[DGO_GPU_MAX];
    struct preparation *preparation; /* under way; NULL: none */
    struct dgo_future preparing;     /* its job */

    enum launch_state state; /* as the last event said */
    char text[640];
    int32_t pid;
    uint16_t port;
    uint32_t restart_count;
    uint64_t created_ns, started_ns, ready_ns, ended_ns, last_request_ns; /* wall; 0: not yet */
    uint32_t active_requests;
    uint64_t request_count;
    struct dgo_error outcome;
    uint32_t in_the_way_count;
    uint64_t in_the_way[FLEET_MAX];

    json_t *plan, *comparison; /* views, made when they change */
    struct action action[LAUNCH_ACTION_MAX];
    uint32_t action_count;
    struct log *log;
    uint64_t told_line; /* sequence of the last line that was told */
    struct launch_wait *waits;
    char keep_socket[108]; /* "": the engine ends with us */
    json_t *cards;         /* of the record it was restored from; or NULL */
};

/* ---- fleet.c ---- */
struct dgo_app *fleet_app(struct fleet *fleet);
struct watch *fleet_watch(struct fleet *fleet);
const struct fleet_options *fleet_options(const struct fleet *fleet);
const struct options *fleet_policy(const struct fleet *fleet);          /* the options in force */
const struct config_group *fleet_group_of(const struct launch *launch); /* NULL: none */
void fleet_tell(struct fleet *fleet, const char *type, json_t *object);
void fleet_changed(struct fleet *fleet);       /* somebody ended or came: look at the queue again */
void fleet_look_again(struct fleet *fleet);    /* at those that were not looked at yet */
void fleet_keep(struct launch *launch);        /* its record, on disk */
bool fleet_is_left(const struct fleet *fleet); /* engines stay for the next one of us */
bool fleet_queue_waits(const struct fleet *fleet);
DGO_MUST_CHECK
enum dgo_status fleet_make_launch(struct fleet *fleet, const struct wish *wish, uint64_t id,
                                  struct launch **launch, const char **param,
                                  struct dgo_error *err);

/* ---- restore.c ---- */
void restore_end_kept(struct launch *launch); /* the engine at its socket, if there is one */
json_t *restore_cards(const struct dgo_machine *machine); /* who they are, in their order */

/* ---- launch.c ---- */
enum dgo_status launch_start(struct launch *launch, struct dgo_error *err);
enum dgo_status launch_adopt(struct launch *launch, struct dgo_error *err);
void launch_on_state(struct launch *launch, const struct launch_event *event);
void launch_end(struct launch *launch, const struct dgo_error *failure); /* never supervised */
void launch_act(struct launch *launch, const char *name, const char *why, const char *what);
void launch_tell(struct launch *launch, const char *text);
const char *launch_state_text(const struct launch *launch);
json_t *launch_plan_view(struct launch *launch); /* made once a plan; borrowed, NULL: none */
void launch_set_known(json_t *object, const char *key, uint64_t value); /* 0 is unknown */

/* ---- launch_wait.c ---- */
void launch_settle_waits(struct launch *launch);

/* ---- launch.c ---- */
void launch_free(struct launch *launch);

/* ---- prepare.c ---- */
enum dgo_status prepare_start(struct launch *launch, struct dgo_error *err);

/* ---- admit.c ---- */
void prepare_done(struct launch *launch); /* what follows a preparation */
void admit_next(struct fleet *fleet);     /* prepares the next one, if none is under way */
/* Whether one launch may end another to make room. */
bool admit_may_evict(const struct launch *launch, const struct launch *other);
/* Nobody asks it any more: those that wait for its memory are looked at again. */
void admit_idle(const struct launch *launch);
/* Whether the rules of groups let `launch` run only without `other`; *rule then says which. */
bool admit_must_go(const struct launch *launch, const struct launch *other, char rule[200]);

#endif
