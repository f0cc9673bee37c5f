/* fleet.c - the list of launches: how they come, how they are told, and what time does to them. */
#include "launch.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "intent.h"
#include "keep.h"
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICK_MS = 100, REST_MS = 1000, LOOK_AGAIN_MS = 5000 };

struct fleet {
    struct dgo_app *app;
    struct watch *watch;
    struct fleet_options options;
    fleet_event_fn event;
    void *data;
    struct launch *first, *last;
    uint64_t last_id;
    struct dgo_subscription subscription;
    sd_event_source *tick, *again;
    uint32_t tick_ms;    /* to the next tick: REST_MS while nothing runs */
    uint64_t elapsed_ms; /* over all ticks */
    bool leaving;        /* nothing new is taken */
    bool left;           /* engines stay */
};

struct dgo_app *fleet_app(struct fleet *fleet)
{
    return fleet->app;
}
struct watch *fleet_watch(struct fleet *fleet)
{
    return fleet->watch;
}
const struct fleet_options *fleet_options(const struct fleet *fleet)
{
    return &fleet->options;
}

const struct options *fleet_policy(const struct fleet *fleet)
{
    return &config_watch_current(fleet->options.config)->options;
}

/* By the launch's own name, else by its model's. */
const struct config_group *fleet_group_of(const struct launch *launch)
{
    const struct config_groups *groups =
        &config_watch_current(launch->fleet->options.config)->groups;
    const struct config_group *group = config_group_of(groups, launch->name);

    return group ? group : config_group_of(groups, launch->model_name);
}

void fleet_tell(struct fleet *fleet, const char *type, json_t *object)
{
    fleet->event(type, object, fleet->data);
}

/* ---- the list ---- */

struct launch *fleet_next(struct fleet *fleet, const struct launch *after)
{
    return after ? after->next : fleet->first;
}

struct launch *fleet_find(struct fleet *fleet, uint64_t id)
{
    struct launch *launch = fleet->first;

    while (launch && launch->id != id)
        launch = launch->next;
    return launch;
}

struct launch *fleet_find_name(struct fleet *fleet, const char *name)
{
    for (struct launch *launch = fleet->first; launch; launch = launch->next)
        if (launch->phase != PHASE_ENDED && !launch->stop_asked && strcmp(launch->name, name) == 0)
            return launch;
    for (struct launch *launch = fleet->first; launch; launch = launch->next)
        if (launch->phase != PHASE_ENDED && !launch->stop_asked &&
            strcmp(launch->model_name, name) == 0)
            return launch;
    for (struct launch *launch = fleet->first; launch; launch = launch->next)
        if (launch->phase != PHASE_ENDED && !launch->stop_asked && launch->preset &&
            preset_has_alias(launch->preset, name))
            return launch;
    return NULL;
}

struct launch *fleet_only(struct fleet *fleet)
{
    struct launch *only = NULL;

    for (struct launch *launch = fleet->first; launch; launch = launch->next) {
        if (launch->phase == PHASE_ENDED || launch->stop_asked)
            continue;
        if (only)
            return NULL;
        only = launch;
    }
    return only;
}

uint32_t fleet_running_count(const struct fleet *fleet)
{
    uint32_t count = 0;

    for (const struct launch *launch = fleet->first; launch; launch = launch->next)
        count += launch->phase != PHASE_ENDED;
    return count;
}

static void append(struct fleet *fleet, struct launch *launch)
{
    launch->previous = fleet->last;
    if (fleet->last)
        fleet->last->next = launch;
    else
        fleet->first = launch;
    fleet->last = launch;
}

static void unlink_launch(struct fleet *fleet, struct launch *launch)
{
    if (launch->previous)
        launch->previous->next = launch->next;
    else
        fleet->first = launch->next;
    if (launch->next)
        launch->next->previous = launch->previous;
    else
        fleet->last = launch->previous;
}

static void drop(struct fleet *fleet, struct launch *launch)
{
    unlink_launch(fleet, launch);
    keep_remove(fleet->options.directory, launch->id, true);
    launch_free(launch);
}

static void trim_ended(struct fleet *fleet)
{
    uint32_t count = 0;

    for (struct launch *launch = fleet->last, *previous; launch; launch = previous) {
        previous = launch->previous;
        if (launch->phase == PHASE_ENDED && ++count > FLEET_ENDED_MAX)
            drop(fleet, launch);
    }
}

enum dgo_status launch_forget(struct launch *launch, struct dgo_error *err)
{
    if (launch->phase != PHASE_ENDED)
        return dgo_fail(err, DGO_ESTATE, "launch %" PRIu64 " has not ended; stop it first",
                        launch->id);
    drop(launch->fleet, launch);
    return DGO_OK;
}

/* ---- memory ---- */

void fleet_free_change(struct fleet *fleet, bool as_if_alone, int64_t change[DGO_GPU_MAX])
{
    static struct dgo_ledger ledger; /* 70 KiB; loop thread only */

    (void)fleet;
    dgo_vram_snapshot(&ledger);
    memset(change, 0, sizeof(int64_t) * DGO_GPU_MAX);
    for (uint32_t i = 0; i < ledger.entry_count; i++) {
        const struct dgo_ledger_entry *entry = &ledger.entry[i];

        for (uint32_t g = 0; g < DGO_GPU_MAX; g++) {
            const uint64_t held = entry->measured_bytes[g], planned = entry->planned_bytes[g];

            if (as_if_alone)
                change[g] += (int64_t)held;
            else if (entry->state != DGO_LEDGER_SETTLED && planned > held)
                change[g] -= (int64_t)(planned - held);
        }
    }
}

static int on_again(sd_event_source *source, void *data)
{
    struct fleet *fleet = data;

    (void)source;
    trim_ended(fleet);
    admit_next(fleet);
    return 0;
}

void fleet_look_again(struct fleet *fleet)
{
    (void)sd_event_source_set_enabled(fleet->again, SD_EVENT_ONESHOT);
}

void fleet_changed(struct fleet *fleet)
{
    for (struct launch *launch = fleet->first; launch; launch = launch->next)
        launch->freed |= launch->phase == PHASE_WAITING;
    (void)sd_event_source_set_enabled(fleet->again, SD_EVENT_ONESHOT);
}

/* ---- new ones ---- */

static bool is_good_name(const char *name)
{
    const size_t length = strlen(name);
    uint32_t code_point;

    if (length == 0 || length >= LAUNCH_NAME_MAX)
        return false;
    for (size_t i = 0; i < length;) {
        const uint32_t step = dgo_utf8_decode(name + i, length - i, &code_point);

        if (step == 0 || code_point < ' ' || code_point == 0x7f)
            return false;
        i += step;
    }
    return true;
}

static enum dgo_status copy_extra(struct launch *launch, const struct wish *wish,
                                  struct dgo_error *err)
{
    const struct preset *preset = launch->preset;
    const uint32_t first = preset ? preset->arg_count : 0;

    launch->extra = dgo_arena_take_array(&launch->arena, first + wish->extra_count + 2,
                                         sizeof(char *)); /* see tell_metrics */
    if (!launch->extra)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < first; i++)
        launch->extra[i] = preset->arg[i];
    for (uint32_t i = 0; i < wish->extra_count; i++) {
        launch->extra[first + i] =
            dgo_arena_take_text(&launch->arena, wish->extra[i], strlen(wish->extra[i]));
        if (!launch->extra[first + i])
            return dgo_fail(err, DGO_ENOMEM, "out of memory");
    }
    launch->extra_count = first + wish->extra_count;
    return DGO_OK;
}

static enum dgo_status fill(struct launch *launch, const struct wish *wish, const char **param,
                            struct dgo_error *err)
{
    struct fleet *fleet = launch->fleet;
    char path[PATH_MAX];
    const bool kept = keep_path(fleet->options.directory, launch->id, KEEP_LOG, path);
    enum dgo_status status;

    launch->config = config_ref(config_watch_current(fleet->options.config));
    launch->options = launch->config->options;
    *param = "preset";
    status = launch->preset ? preset_apply(launch->preset, &launch->options, err) : DGO_OK;
    if (status == DGO_OK)
        status =
            intent_apply(wish->intent, INTENT_LAUNCH, &launch->options, &launch->arena, param, err);
    if (status == DGO_OK)
        status = copy_extra(launch, wish, err);
    if (status != DGO_OK)
        return status;
    launch->intent = wish->intent ? json_deep_copy(wish->intent) : NULL;
    launch->model_name = strdup(wish->model_name);
    launch->model_path = strdup(wish->model_path);
    launch->log = log_new(kept ? path : NULL);
    if (!launch->model_name || !launch->model_path || !launch->log)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    (void)dgo_text_copy(launch->name, sizeof launch->name,
                        wish->name ? wish->name : wish->model_name);
    if (!kept || !fleet->options.daemon_socket ||
        !keep_socket(fleet->options.daemon_socket, launch->id, launch->keep_socket,
                     sizeof launch->keep_socket))
        launch->keep_socket[0] = '\0';
    return DGO_OK;
}

static enum dgo_status check_wish(struct fleet *fleet, const struct wish *wish, const char **param,
                                  struct dgo_error *err)
{
    const char *name = wish->name ? wish->name : wish->model_name;
    const struct launch *other = fleet_find_name(fleet, name);

    *param = "name";
    if (!is_good_name(name))
        return dgo_fail(err, DGO_EUSAGE, "a launch's name has 1 to %d bytes of text",
                        LAUNCH_NAME_MAX - 1);
    if (other)
        return dgo_fail(err, DGO_EBUSY, "\"%s\" is launch %" PRIu64 " already; give another name",
                        other->name, other->id);
    *param = NULL;
    if (fleet->leaving)
        return dgo_fail(err, DGO_ESTATE, "the daemon ends");
    if (fleet_running_count(fleet) == FLEET_MAX)
        return dgo_fail(err, DGO_ELIMIT, "%d launches exist already; stop one first", FLEET_MAX);
    return DGO_OK;
}

enum dgo_status fleet_make_launch(struct fleet *fleet, const struct wish *wish, uint64_t id,
                                  struct launch **launch, const char **param, struct dgo_error *err)
{
    enum dgo_status status = check_wish(fleet, wish, param, err);
    struct launch *made = status == DGO_OK ? calloc(1, sizeof *made) : NULL;

    if (!made) {
        free(wish->preset);
        return status != DGO_OK ? status
                                : dgo_fail(err, DGO_ENOMEM, "out of memory for another launch");
    }
    made->preset = wish->preset;
    made->fleet = fleet;
    made->id = id;
    made->origin = wish->origin;
    made->pinned = wish->pinned;
    made->wanted = true;
    made->admission = wish->admission_given
                          ? wish->admission
                          : (enum admission)option_number(fleet_policy(fleet), OPTION_ADMISSION);
    made->created_ns = made->last_request_ns = dgo_clock_wall_ns(dgo_clock_system());
    status = fill(made, wish, param, err);
    if (status != DGO_OK) {
        launch_free(made);
        return status;
    }
    fleet->last_id = dgo_max_u64(fleet->last_id, id);
    append(fleet, made);
    *launch = made;
    return DGO_OK;
}

enum dgo_status fleet_launch(struct fleet *fleet, const struct wish *wish, struct launch **launch,
                             const char **param, struct dgo_error *err)
{
    const enum dgo_status status =
        fleet_make_launch(fleet, wish, fleet->last_id + 1, launch, param, err);

    if (status != DGO_OK)
        return status;
    launch_tell(*launch, "looks for a plan");
    fleet_keep(*launch);
    fleet_changed(fleet);
    return DGO_OK;
}

/* ---- time ---- */

/* Lines are told in batches: an engine that loads writes hundreds at once. */
static void tell_lines(struct fleet *fleet)
{
    for (struct launch *launch = fleet->first; launch; launch = launch->next) {
        if (launch->told_line + 1 == log_next(launch->log))
            continue;
        fleet_tell(fleet, "lines",
                   json_pack("{s:I, s:o}", "launch", (json_int_t)launch->id, "lines",
                             log_lines(launch->log, launch->told_line + 1, LOG_LINES)));
        launch->told_line = log_next(launch->log) - 1;
    }
}

/* Its preset's, where that says; else what holds for all now. */
static uint64_t idle_limit_ns(const struct launch *launch)
{
    for (uint32_t i = 0; launch->preset && i < launch->preset->option_count; i++)
        if (launch->preset->option[i].id == OPTION_IDLE_TIMEOUT)
            return option_number(&launch->options, OPTION_IDLE_TIMEOUT);
    return option_number(fleet_policy(launch->fleet), OPTION_IDLE_TIMEOUT);
}

static void stop_idle(struct fleet *fleet)
{
    const uint64_t now_ns = dgo_clock_wall_ns(dgo_clock_system());
    char after[DGO_UNIT_TEXT_MAX], why[96];

    for (struct launch *launch = fleet->first; launch; launch = launch->next) {
        const uint64_t limit_ns = idle_limit_ns(launch);

        if (limit_ns == 0 || !launch_is_ready(launch) || launch->stop_asked || launch->pinned ||
            launch->active_requests > 0 || launch->last_request_ns > now_ns ||
            now_ns - launch->last_request_ns < limit_ns)
            continue;
        snprintf(why, sizeof why, "nobody asked for it for %s", dgo_duration_text(limit_ns, after));
        launch_stop(launch, false, why);
    }
}

static void set_tick(struct fleet *fleet, uint32_t tick_ms)
{
    fleet->tick_ms = tick_ms;
    (void)sd_event_source_set_time_relative(fleet->tick, tick_ms * 1000ull);
    (void)sd_event_source_set_enabled(fleet->tick, SD_EVENT_ONESHOT);
}

/* Whether one more of these periods is over since the last tick. */
static bool passes(const struct fleet *fleet, uint64_t period_ms)
{
    return fleet->elapsed_ms / period_ms != (fleet->elapsed_ms - fleet->tick_ms) / period_ms;
}

static int on_tick(sd_event_source *source, uint64_t now_us, void *data)
{
    struct fleet *fleet = data;

    (void)source;
    (void)now_us;
    fleet->elapsed_ms += fleet->tick_ms;
    tell_lines(fleet);
    if (passes(fleet, 1000))
        stop_idle(fleet);
    if (passes(fleet, LOOK_AGAIN_MS) && fleet_queue_waits(fleet))
        fleet_changed(fleet); /* others than ours may have gone */
    set_tick(fleet, fleet_running_count(fleet) > 0 ? TICK_MS : REST_MS);
    return 0;
}

static enum dgo_status on_event(const struct dgo_event *event, void *data)
{
    struct fleet *fleet = data;
    struct launch *launch = fleet_find(fleet, event->source);

    if (launch)
        launch_on_state(launch, event->payload);
    if (fleet->tick_ms == REST_MS) /* there will be lines to tell */
        set_tick(fleet, TICK_MS);
    return DGO_OK;
}

/* ---- life ---- */

enum dgo_status fleet_new(struct dgo_app *app, struct watch *watch,
                          const struct fleet_options *options, fleet_event_fn event, void *data,
                          struct fleet **fleet, struct dgo_error *err)
{
    struct fleet *made = calloc(1, sizeof *made);
    const struct dgo_subscriber subscriber = {
        .name = "fleet",
        .topics = DGO_TOPIC_BIT(TOPIC_LAUNCH_STATE),
        .fn = on_event,
        .data = made,
        .lane = DGO_LANE_UI,
        .depth = 4096,
    };
    enum dgo_status status;
    int result;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->app = app;
    made->watch = watch;
    made->options = *options;
    made->event = event;
    made->data = data;
    made->tick_ms = TICK_MS;
    result = sd_event_add_defer(app->loop, &made->again, on_again, made);
    if (result >= 0)
        result = sd_event_source_set_enabled(made->again, SD_EVENT_OFF);
    if (result >= 0)
        result = sd_event_add_time_relative(app->loop, &made->tick, CLOCK_MONOTONIC, TICK_MS * 1000,
                                            10000, on_tick, made);
    status = result < 0 ? dgo_fail_errno(err, DGO_EIO, -result, "the loop has no timer left")
                        : dgo_bus_subscribe(app->bus, &subscriber, &made->subscription, err);
    if (status != DGO_OK) {
        fleet_free(made);
        return status;
    }
    *fleet = made;
    return DGO_OK;
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet)
        return;
    (void)dgo_bus_unsubscribe(fleet->app->bus, fleet->subscription, NULL);
    sd_event_source_disable_unref(fleet->tick);
    sd_event_source_disable_unref(fleet->again);
    while (fleet->first) {
        struct launch *launch = fleet->first;

        unlink_launch(fleet, launch);
        launch_free(launch);
    }
    free(fleet);
}

void fleet_stop_all(struct fleet *fleet, bool kill)
{
    fleet->leaving = true;
    for (struct launch *launch = fleet->first, *next; launch; launch = next) {
        next = launch->next;
        if (launch->phase != PHASE_ENDED) {
            const bool wanted = launch->wanted;

            launch_stop(launch, kill, NULL);
            launch->wanted = wanted; /* it is us who end, nobody stopped it */
            fleet_keep(launch);
        }
    }
}

void fleet_leave(struct fleet *fleet)
{
    fleet->leaving = fleet->left = true;
}

bool fleet_is_left(const struct fleet *fleet)
{
    return fleet->left;
}

/* ---- views ---- */

bool fleet_queue_waits(const struct fleet *fleet)
{
    for (const struct launch *launch = fleet->first; launch; launch = launch->next)
        if (launch->phase == PHASE_WAITING)
            return true;
    return false;
}

json_t *fleet_view(struct fleet *fleet)
{
    json_t *list = json_array();

    for (struct launch *launch = fleet->first; launch; launch = launch->next)
        json_array_append_new(list, launch_view(launch));
    return list;
}

json_t *fleet_queue_view(struct fleet *fleet)
{
    json_t *list = json_array();

    for (struct launch *launch = fleet->first; launch; launch = launch->next)
        if (launch->phase == PHASE_WAITING)
            json_array_append_new(list, json_integer((json_int_t)launch->id));
    return list;
}
