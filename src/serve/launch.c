/* launch.c - one launch: its events, what the daemon did for it, who waits for it, its view. */
#include "launch.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "keep.h"
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t wall_ns(void)
{
    return dgo_clock_wall_ns(dgo_clock_system());
}

const char *launch_state_text(const struct launch *launch)
{
    switch (launch->phase) {
    case PHASE_PREPARING:
        return "preparing";
    case PHASE_WAITING:
        return "waiting";
    case PHASE_ENDED:
        return "ended";
    case PHASE_RUNNING:
        break;
    }
    return launch_state_name(launch->state);
}

void launch_set_known(json_t *object, const char *key, uint64_t value)
{
    if (value)
        json_object_set_new(object, key, json_integer((json_int_t)value));
}

void launch_tell(struct launch *launch, const char *text)
{
    json_t *event = json_pack("{s:I, s:s, s:o}", "launch", (json_int_t)launch->id, "state",
                              launch_state_text(launch), "text", view_text(text));

    if (text != launch->text)
        (void)dgo_text_copy(launch->text, sizeof launch->text, text);
    launch_set_known(event, "pid", (uint64_t)launch->pid);
    launch_set_known(event, "port", launch->port);
    json_object_set_new(event, "attempt", json_integer(launch->restart_count));
    fleet_tell(launch->fleet, "launch", event);
}

/* ---- what the daemon did ---- */

static struct action *last_action(struct launch *launch)
{
    return launch->action_count ? &launch->action[launch->action_count - 1] : NULL;
}

void launch_act(struct launch *launch, const char *name, const char *why, const char *what)
{
    struct action *action;

    if (launch->action_count == LAUNCH_ACTION_MAX) {
        memmove(launch->action, launch->action + 1,
                (LAUNCH_ACTION_MAX - 1) * sizeof launch->action[0]);
        launch->action_count--;
    }
    action = &launch->action[launch->action_count++];
    *action = (struct action){.time_ns = wall_ns(), .name = name};
    (void)dgo_text_copy(action->why, sizeof action->why, why);
    (void)dgo_text_copy(action->what, sizeof action->what, what);
}

/* What came of the last thing that the daemon did. */
static void effect(struct launch *launch, const char *verdict)
{
    struct action *action = last_action(launch);
    struct dgo_text text;

    if (!action || action->effect[0])
        return;
    text = DGO_TEXT(action->effect);
    dgo_text_addf(&text, "%s: %s", verdict, launch->text);
}

/* ---- the ledger ---- */

static void release(struct launch *launch)
{
    if (launch->ledger_id)
        (void)dgo_vram_release(launch->ledger_id, NULL);
    launch->ledger_id = 0;
    memset(launch->reserved_bytes, 0, sizeof launch->reserved_bytes);
}

/* The plan's bytes without the margin, which stays free.  Called before every start: a smaller
 * plan after running out of memory is another promise. */
static enum dgo_status admit(void *data, struct dgo_error *err)
{
    struct launch *launch = data;
    const struct dgo_estimate *estimate = &launch->flow->plan.estimate;
    struct dgo_ledger_request request = {.what = launch->name};
    enum dgo_status status;

    for (uint32_t i = 0; i < estimate->device_count; i++) {
        const struct dgo_device_estimate *device = &estimate->device[i];

        request.bytes[device->gpu_index] += device->weights_bytes + device->context_bytes +
                                            device->compute_bytes + device->overhead_bytes;
    }
    release(launch);
    status = dgo_vram_reserve(&request, &launch->ledger_id, err);
    if (status != DGO_OK)
        return status;
    for (uint32_t g = 0; g < DGO_GPU_MAX; g++)
        launch->reserved_bytes[g] = request.bytes[g];
    json_decref(launch->plan);
    launch->plan = NULL;
    log_begin(launch->log);
    keep_save_plan(fleet_options(launch->fleet)->directory, launch->id, &launch->flow->plan);
    return DGO_OK;
}

/* ---- life ---- */

static void on_engine_line(const char *text, void *data)
{
    struct launch *launch = data;

    if (text[0])
        log_add(launch->log, text);
}

static void set_comparison(struct launch *launch)
{
    json_decref(launch->comparison);
    launch->comparison =
        view_comparison(&launch->flow->machine, supervise_comparison(launch->supervise),
                        supervise_report(launch->supervise));
}

static void on_drifted(uint32_t gpu_index, const char *text, void *data)
{
    struct launch *launch = data;

    set_comparison(launch);
    fleet_tell(launch->fleet, "drift",
               json_pack("{s:I, s:I, s:I, s:o}", "launch", (json_int_t)launch->id, "pid",
                         (json_int_t)launch->pid, "gpu", (json_int_t)gpu_index, "text",
                         view_text(text)));
}

static struct supervise_options supervise_options_of(struct launch *launch)
{
    const struct options *options = &launch->options;
    const uint64_t keep_ns = option_number(fleet_policy(launch->fleet), OPTION_KEEP_ENGINES);

    return (struct supervise_options){
        .oom = (enum oom_policy)option_number(fleet_policy(launch->fleet), OPTION_OOM),
        .restart_max = (uint32_t)option_number(options, OPTION_RESTART),
        .ready_timeout_ns = option_number(options, OPTION_READY_TIMEOUT),
        .stop_timeout_ns = option_number(options, OPTION_STOP_TIMEOUT),
        .extra_args = launch->extra,
        .extra_count = launch->extra_count,
        .source = (uint32_t)launch->id,
        .admit = admit,
        .line = on_engine_line,
        .drifted = on_drifted,
        .data = launch,
        .sampler = watch_sampler(fleet_watch(launch->fleet)),
        .keep = {.path = launch->keep_socket[0] && keep_ns ? launch->keep_socket : NULL,
                 .wait_ns = keep_ns,
                 .log_fd = log_fd(launch->log)},
    };
}

enum dgo_status launch_start(struct launch *launch, struct dgo_error *err)
{
    struct supervise_options wanted;
    enum dgo_status status;

    launch->started_ns = wall_ns();
    launch->phase = PHASE_RUNNING;
    launch->state = LAUNCH_STARTING;
    wanted = supervise_options_of(launch);
    status =
        supervise_start(fleet_app(launch->fleet), launch->flow, &wanted, &launch->supervise, err);
    if (status != DGO_OK) {
        release(launch);
        launch->phase = PHASE_PREPARING;
    }
    return status;
}

/* The engine holds its memory already: its reservation is a fact, not a wish. */
static void reserve_held(struct launch *launch)
{
    struct dgo_ledger_request request = {.what = launch->name, .owner = (uint64_t)launch->pid};
    struct dgo_error err = {0};

    for (uint32_t g = 0; g < DGO_GPU_MAX; g++)
        request.bytes[g] = launch->reserved_bytes[g];
    if (dgo_vram_hold(&request, dgo_machine_is_live(&launch->flow->machine), &launch->ledger_id,
                      &err) != DGO_OK)
        dgo_log(DGO_LOG_WARN, "%s: its memory is in no reservation: %s", launch->name, err.text);
}

static void replay_line(const char *line, size_t length, void *data)
{
    supervise_replay(data, line, length);
}

enum dgo_status launch_adopt(struct launch *launch, struct dgo_error *err)
{
    struct supervise_options wanted = supervise_options_of(launch);
    enum dgo_status status;

    wanted.keep.path = launch->keep_socket;
    launch->phase = PHASE_RUNNING;
    launch->state = LAUNCH_STARTING;
    status = supervise_adopt(fleet_app(launch->fleet), launch->flow, &wanted, launch->port,
                             &launch->supervise, err);
    if (status != DGO_OK) {
        launch->phase = PHASE_PREPARING;
        return status;
    }
    log_replay(launch->log, replay_line, launch->supervise);
    launch->told_line = log_next(launch->log) - 1;
    reserve_held(launch);
    return DGO_OK;
}

json_t *launch_plan_view(struct launch *launch)
{
    const struct flow *flow = launch->flow;

    if (!launch->plan && flow && flow->planned)
        launch->plan = view_plan(&flow->machine, flow->model, &flow->plan,
                                 flow->command_made ? &flow->command : NULL);
    return launch->plan;
}

static void became_ready(struct launch *launch)
{
    const struct flow *flow = launch->flow;

    launch->ready_ns = launch->last_request_ns = wall_ns();
    launch->was_ready = true;
    set_comparison(launch);
    /* A described machine's free memory does not shrink: there a promise stays one. */
    if (dgo_machine_is_live(&flow->machine) && launch->ledger_id)
        (void)dgo_vram_settle(launch->ledger_id, NULL);
    effect(launch, "it works");
}

static void tell_plan(struct launch *launch)
{
    json_t *plan = launch_plan_view(launch);

    if (plan)
        fleet_tell(launch->fleet, "plan",
                   json_pack("{s:I, s:O}", "launch", (json_int_t)launch->id, "plan", plan));
}

static void on_end(struct launch *launch)
{
    launch->phase = PHASE_ENDED;
    launch->ended_ns = wall_ns();
    launch->pid = 0;
    if (supervise_outcome(launch->supervise, &launch->outcome) == DGO_ECANCELLED &&
        launch->stop_asked)
        launch->outcome = (struct dgo_error){0};
    launch->wanted &= launch->was_ready || launch->outcome.status == DGO_OK;
    effect(launch, "it did not help");
    release(launch);
    (void)launch_plan_view(launch); /* the flow goes; what it planned is still shown */
    supervise_free(launch->supervise);
    launch->supervise = NULL;
    flow_done(launch->flow);
    free(launch->flow);
    launch->flow = NULL;
}

void launch_on_state(struct launch *launch, const struct launch_event *event)
{
    const bool was_starting = launch->state == LAUNCH_STARTING;

    if (launch->phase != PHASE_RUNNING)
        return;
    launch->state = event->state;
    launch->pid = event->pid;
    launch->port = event->port;
    (void)dgo_text_copy(launch->text, sizeof launch->text, event->text);
    switch (event->state) {
    case LAUNCH_LOADING:
        if (launch->ledger_id && launch->pid && dgo_machine_is_live(&launch->flow->machine))
            (void)dgo_vram_adopt(launch->ledger_id, (uint64_t)launch->pid, NULL);
        if (was_starting)
            tell_plan(launch);
        break;
    case LAUNCH_READY:
        became_ready(launch);
        break;
    case LAUNCH_RESTARTING:
        effect(launch, "it did not help");
        launch->restart_count++;
        launch_act(launch,
                   strstr(event->text, "Trying a smaller plan") ? "smaller_plan" : "restart",
                   event->text, "");
        break;
    case LAUNCH_ENDED:
        on_end(launch);
        break;
    default:
        break;
    }
    launch_tell(launch, launch->text);
    fleet_keep(launch);
    launch_settle_waits(launch);
    if (launch->phase == PHASE_ENDED)
        fleet_changed(launch->fleet);
}

void launch_end(struct launch *launch, const struct dgo_error *failure)
{
    launch->phase = PHASE_ENDED;
    launch->ended_ns = wall_ns();
    if (failure) {
        launch->outcome = *failure;
        launch->wanted = false; /* the next daemon would fail with it again */
    }
    release(launch);
    if (launch->flow) {
        (void)launch_plan_view(launch);
        flow_done(launch->flow);
        free(launch->flow);
        launch->flow = NULL;
    }
    launch_tell(launch, failure ? failure->text : "stopped");
    fleet_keep(launch);
    launch_settle_waits(launch);
    fleet_changed(launch->fleet);
}

void launch_stop(struct launch *launch, bool kill, const char *why)
{
    launch->stop_asked = true;
    launch->wanted = false;
    fleet_keep(launch);
    if (why)
        launch_act(launch, "stop", why, "");
    if (launch->phase == PHASE_RUNNING) {
        const bool stopping = supervise_state(launch->supervise) == LAUNCH_STOPPING;

        if (!stopping || kill)
            supervise_stop(launch->supervise);
        if (kill && !stopping)
            supervise_stop(launch->supervise); /* the second one kills */
    } else if (launch->phase == PHASE_WAITING && !launch->preparation) {
        launch_end(launch, NULL);
    } /* else prepare_done sees stop_asked */
}

void launch_pin(struct launch *launch, bool pinned)
{
    launch->pinned = pinned;
    fleet_keep(launch);
    launch_tell(launch, launch->text);
}

void launch_request_begins(struct launch *launch)
{
    launch->active_requests++;
    launch->request_count++;
    launch->last_request_ns = wall_ns();
}

void launch_request_ends(struct launch *launch)
{
    if (launch->active_requests > 0)
        launch->active_requests--;
    launch->last_request_ns = wall_ns();
    if (launch->active_requests == 0)
        admit_idle(launch);
}

void launch_free(struct launch *launch)
{
    while (launch->waits)
        launch_wait_cancel(launch->waits);
    if (launch->preparation) { /* its job reads what is freed below */
        (void)dgo_cancel(launch->preparing, NULL);
        (void)dgo_wait(launch->preparing, DGO_FOREVER, NULL, NULL);
        launch->preparation->launch = NULL; /* its end, which comes yet, frees it */
    }
    release(launch);
    if (fleet_is_left(launch->fleet))
        supervise_leave(launch->supervise);
    else
        supervise_free(launch->supervise);
    if (launch->flow) {
        flow_done(launch->flow);
        free(launch->flow);
    }
    json_decref(launch->plan);
    json_decref(launch->comparison);
    json_decref(launch->intent);
    json_decref(launch->cards);
    free(launch->preset);
    log_free(launch->log);
    dgo_arena_done(&launch->arena);
    config_unref(launch->config);
    free(launch->model_name);
    free(launch->model_path);
    free(launch);
}
