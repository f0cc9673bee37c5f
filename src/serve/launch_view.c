/* launch_view.c - what a launch is, for its callers and as JSON (docs/HTTP.md). */
#include "launch.h"

#include "view.h"

#include <stdio.h>
#include <string.h>

uint64_t launch_id(const struct launch *launch)
{
    return launch->id;
}
const char *launch_name(const struct launch *launch)
{
    return launch->name;
}
const char *launch_model(const struct launch *launch)
{
    return launch->model_name;
}
uint64_t launch_started_ns(const struct launch *launch)
{
    return launch->started_ns;
}

int32_t launch_pid(const struct launch *launch)
{
    return launch->phase == PHASE_ENDED ? 0 : launch->pid;
}
uint64_t launch_reserved_bytes(const struct launch *launch, uint32_t gpu_index)
{
    return launch->reserved_bytes[gpu_index];
}
enum launch_phase launch_phase(const struct launch *launch)
{
    return launch->phase;
}
bool launch_is_ready(const struct launch *launch)
{
    return launch->phase == PHASE_RUNNING && launch->state == LAUNCH_READY;
}
uint16_t launch_port(const struct launch *launch)
{
    return launch->port;
}
uint64_t launch_request_count(const struct launch *launch)
{
    return launch->request_count;
}
uint32_t launch_active_requests(const struct launch *launch)
{
    return launch->active_requests;
}
uint32_t launch_restart_count(const struct launch *launch)
{
    return launch->restart_count;
}
const char *launch_host(const struct launch *launch)
{
    return option_text(&launch->options, OPTION_HOST);
}

enum dgo_status launch_outcome(const struct launch *launch, struct dgo_error *err)
{
    if (launch->outcome.status != DGO_OK && err)
        *err = launch->outcome;
    return launch->outcome.status;
}

uint32_t launch_in_the_way(const struct launch *launch, uint64_t ids[FLEET_MAX])
{
    memcpy(ids, launch->in_the_way, launch->in_the_way_count * sizeof ids[0]);
    return launch->in_the_way_count;
}

static void set_actions(json_t *object, const struct launch *launch)
{
    json_t *actions = json_array();

    for (uint32_t i = 0; i < launch->action_count; i++) {
        const struct action *action = &launch->action[i];
        json_t *one = json_pack("{s:I, s:s, s:o}", "time_ns", (json_int_t)action->time_ns, "action",
                                action->name, "why", view_text(action->why));

        if (action->what[0])
            json_object_set_new(one, "what", view_text(action->what));
        if (action->effect[0])
            json_object_set_new(one, "effect", view_text(action->effect));
        json_array_append_new(actions, one);
    }
    json_object_set_new(object, "actions", actions);
}

static void set_times(json_t *object, const struct launch *launch)
{
    launch_set_known(object, "created_ns", launch->created_ns);
    launch_set_known(object, "started_ns", launch->started_ns);
    launch_set_known(object, "ready_ns", launch->ready_ns);
    launch_set_known(object, "ended_ns", launch->ended_ns);
    launch_set_known(object, "last_request_ns", launch->last_request_ns);
}

static void set_address(json_t *object, const struct launch *launch)
{
    const char *host = launch_host(launch);
    const bool is_v6 = strchr(host, ':') != NULL;
    char url[96];

    launch_set_known(object, "pid", (uint64_t)launch->pid);
    if (launch->phase != PHASE_RUNNING || !launch->port)
        return;
    launch_set_known(object, "port", launch->port);
    snprintf(url, sizeof url, "http://%s%s%s:%u", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
             launch->port);
    json_object_set_new(object, "url", json_string(url));
}

json_t *launch_view(struct launch *launch)
{
    json_t *object =
        json_pack("{s:I, s:o, s:o, s:s, s:o, s:s, s:b, s:b, s:b, s:i, s:i, s:I}", "id",
                  (json_int_t)launch->id, "name", view_text(launch->name), "model",
                  view_text(launch->model_name), "state", launch_state_text(launch), "text",
                  view_text(launch->text), "origin", launch->origin, "pinned", (int)launch->pinned,
                  "wanted", (int)launch->wanted, "failed",
                  launch->phase == PHASE_ENDED && launch->outcome.status != DGO_OK, "restart_count",
                  (int)launch->restart_count, "active_request_count", (int)launch->active_requests,
                  "request_count", (json_int_t)launch->request_count);
    const struct config_group *group = fleet_group_of(launch);
    json_t *reserved = json_array();

    if (group)
        json_object_set_new(object, "group", view_text(group->name));
    if (launch->flow && launch->flow->machine.gpu_count) {
        json_object_set_new(object, "simulated",
                            json_boolean(launch->flow->machine.origin.simulated));
        view_add_recorded(object, &launch->flow->machine.origin);
    }
    set_times(object, launch);
    set_address(object, launch);
    if (launch_plan_view(launch))
        json_object_set(object, "plan", launch->plan);
    if (launch->comparison)
        json_object_set(object, "comparison", launch->comparison);
    for (uint32_t g = 0; launch->flow && g < launch->flow->machine.gpu_count; g++)
        json_array_append_new(reserved, json_integer((json_int_t)launch->reserved_bytes[g]));
    json_object_set_new(object, "reserved_bytes", reserved);
    if (launch->preset)
        json_object_set_new(object, "preset", view_text(launch->preset->name));
    if (launch->intent)
        json_object_set(object, "intent", launch->intent);
    set_actions(object, launch);
    return object;
}

json_t *launch_log_view(struct launch *launch, uint64_t after, uint32_t limit)
{
    return log_view(launch->log, after, limit);
}
