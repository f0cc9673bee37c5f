/* front.c - which engine a request is for, and how it comes to run.
 *
 *     body ─► .model ─► launch? ─── ready ────────────────────────────► relay
 *                          │ └───── not ready: wait, in order ─────────►
 *                          └─ none: looked up in the folders, launched, waited for */
#include "front.h"

#include "api.h"
#include "catalog.h"
#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "form.h"
#include "peek.h"
#include "relay.h"
#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An engine that has just died is not known to be dead yet: a moment later it is. */
enum { TRY_AGAIN_MS = 100, TRIES_MAX = 30 };

struct front {
    struct daemon *daemon;
    struct relay *relay;
    struct visit *visits;
};

/* One request on its way to its engine. */
struct visit {
    struct visit *previous, *next;
    struct front *front;
    struct http_request *request;
    char model[CATALOG_NAME_MAX];
    char type[FORM_TYPE_MAX]; /* of the body, as the engine is told it */
    struct launch_wait *wait;
    sd_event_source *patience, *again;
    uint32_t tries;
    bool was_resent; /* once only: a request that ends its engine must not end them all */
    uint64_t launch; /* whose request this is, once it is relayed; 0: not yet */
    uint64_t tried;  /* that could not be reached */
    const struct config *config;
    bool looking; /* a worker looks it up; it may outlive the request */
    struct catalog *catalog;
    const struct catalog_model *found;
    struct preset *preset; /* until the launch has it */
    enum dgo_status status;
    struct dgo_error err;
};

static void end_visit(struct visit *visit)
{
    struct launch *launch =
        visit->launch ? fleet_find(visit->front->daemon->fleet, visit->launch) : NULL;

    if (launch)
        launch_request_ends(launch);
    launch_wait_cancel(visit->wait);
    sd_event_source_disable_unref(visit->patience);
    sd_event_source_disable_unref(visit->again);
    if (visit->previous)
        visit->previous->next = visit->next;
    else
        visit->front->visits = visit->next;
    if (visit->next)
        visit->next->previous = visit->previous;
    catalog_free(visit->catalog);
    free(visit->preset);
    config_unref(visit->config);
    free(visit);
}

/* The request is over, however: with it ends the visit, unless a worker still holds it. */
static void on_gone(struct http_request *request, void *data)
{
    struct visit *visit = data;

    (void)request;
    visit->request = NULL;
    relay_cancel(visit->front->relay, visit);
    if (!visit->looking)
        end_visit(visit);
}

static void wait_for(struct visit *visit, struct launch *launch);

static int on_again(sd_event_source *source, uint64_t now_us, void *data)
{
    struct visit *visit = data;
    struct launch *launch = fleet_find(visit->front->daemon->fleet, visit->tried);
    struct dgo_error err = {0};

    (void)source;
    (void)now_us;
    visit->again = sd_event_source_disable_unref(visit->again);
    if (launch && launch_phase(launch) != PHASE_ENDED) {
        wait_for(visit, launch);
        return 0;
    }
    dgo_fail(&err, DGO_ECHILD, "the engine has ended");
    http_answer_error(visit->request, &err, NULL);
    return 0;
}

static bool on_unreachable(void *data, bool was_sent)
{
    struct visit *visit = data;
    struct launch *launch = fleet_find(visit->front->daemon->fleet, visit->launch);

    if ((was_sent && visit->was_resent) || ++visit->tries > TRIES_MAX ||
        sd_event_add_time_relative(visit->front->daemon->app.loop, &visit->again, CLOCK_MONOTONIC,
                                   TRY_AGAIN_MS * 1000, 1000, on_again, visit) < 0)
        return false;
    visit->was_resent |= was_sent;
    if (launch)
        launch_request_ends(launch);
    visit->tried = visit->launch;
    visit->launch = 0;
    return true;
}

static void relay_now(struct visit *visit, struct launch *launch)
{
    struct daemon *daemon = visit->front->daemon;
    struct dgo_error err = {0};

    visit->patience = sd_event_source_disable_unref(visit->patience);
    visit->launch = launch_id(launch);
    launch_request_begins(launch);
    if (relay_start(visit->front->relay,
                    &(struct relay_request){
                        .request = visit->request,
                        .host = launch_host(launch),
                        .port = launch_port(launch),
                        .type = visit->type,
                        .timeout_ns = option_number(daemon_options(daemon), OPTION_REQUEST_TIMEOUT),
                        .unreachable = on_unreachable,
                        .owner = visit},
                    &err) != DGO_OK)
        http_answer_error(visit->request, &err, NULL);
}

static void on_settled(struct launch *launch, void *data)
{
    struct visit *visit = data;
    struct dgo_error err = {0};

    visit->wait = NULL;
    if (launch_is_ready(launch)) {
        relay_now(visit, launch);
        return;
    }
    if (launch_outcome(launch, &err) == DGO_OK)
        dgo_fail(&err, DGO_ECANCELLED, "\"%s\" was stopped while the request waited for it",
                 launch_name(launch));
    http_answer_error(visit->request, &err, "model");
}

static int on_impatience(sd_event_source *source, uint64_t now_us, void *data)
{
    struct visit *visit = data;
    struct dgo_error err = {0};

    (void)source;
    (void)now_us;
    dgo_fail(&err, DGO_ETIMEOUT, "the model was not ready in time; allow more by --queue-timeout");
    http_answer_error(visit->request, &err, "model");
    return 0;
}

static void wait_for(struct visit *visit, struct launch *launch)
{
    const uint64_t patience_ns =
        option_number(daemon_options(visit->front->daemon), OPTION_QUEUE_TIMEOUT);

    if (launch_is_ready(launch)) {
        relay_now(visit, launch);
        return;
    }
    visit->wait = launch_wait_ready(launch, on_settled, visit);
    if (patience_ns && !visit->patience)
        (void)sd_event_add_time_relative(visit->front->daemon->app.loop, &visit->patience,
                                         CLOCK_MONOTONIC, patience_ns / DGO_NS_PER_US, 1000,
                                         on_impatience, visit);
    if (!visit->wait)
        http_answer_error(visit->request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
}

/* ---- on demand ---- */

static enum dgo_status job_look_up(void *data)
{
    struct visit *visit = data;

    visit->status = api_find_asked(visit->front->daemon->environment, visit->config, visit->model,
                                   &visit->catalog, &visit->found, &visit->preset, &visit->err);
    return visit->status;
}

static void on_looked_up(const struct dgo_result *result, void *data)
{
    struct visit *visit = data;
    struct fleet *fleet = visit->front->daemon->fleet;
    struct launch *launch;
    const char *param = "model";

    visit->looking = false;
    if (!visit->request) {
        end_visit(visit);
        return;
    }
    if (result->outcome != DGO_OUTCOME_DONE && visit->status == DGO_OK)
        visit->status = dgo_fail(&visit->err, DGO_ECANCELLED, "the daemon ends");
    /* Meanwhile another request may have started it. */
    launch = fleet_find_name(fleet, visit->model);
    if (!launch && visit->preset) /* asked for by an alias that its preset has only now */
        launch = fleet_find_name(fleet, visit->preset->name);
    if (visit->status == DGO_OK && !launch) {
        const struct wish wish = {.model_name = visit->found->name,
                                  .model_path = visit->found->path,
                                  .name = visit->preset ? visit->preset->name : NULL,
                                  .preset = visit->preset,
                                  .origin = "request"};

        visit->preset = NULL;
        visit->status = fleet_launch(fleet, &wish, &launch, &param, &visit->err);
    }
    if (visit->status != DGO_OK)
        http_answer_error(visit->request, &visit->err, param);
    else
        wait_for(visit, launch);
}

static void look_up(struct visit *visit)
{
    struct dgo_error err = {0};

    visit->looking = true;
    visit->config = config_ref(daemon_config(visit->front->daemon));
    if (dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_API_REQUEST),
                                     .fn = job_look_up,
                                     .arg = visit,
                                     .done = on_looked_up,
                                     .done_lane = DGO_LANE_UI},
                   NULL, &err) == DGO_OK)
        return;
    visit->looking = false;
    http_answer_error(visit->request, &err, NULL);
}

/* ---- the routes ---- */

static struct visit *new_visit(struct front *front, struct http_request *request)
{
    struct visit *visit = calloc(1, sizeof *visit);

    if (!visit)
        return NULL;
    visit->front = front;
    visit->request = request;
    visit->next = front->visits;
    if (visit->next)
        visit->next->previous = visit;
    front->visits = visit;
    http_wait(request);
    http_on_gone(request, on_gone, visit);
    return visit;
}

/* The name of the model, out of JSON or a form, and the type that goes on to the engine: what of it
 * we understood, not what the client wrote. */
static enum dgo_status read_model(struct visit *visit, const char **param, struct dgo_error *err)
{
    const char *type = http_header(visit->request, "Content-Type");
    char boundary[FORM_BOUNDARY_MAX + 1];
    size_t length;
    const char *body = http_body(visit->request, &length);

    if (!type || !form_is(type)) {
        snprintf(visit->type, sizeof visit->type, "application/json");
        return peek_text(body, length, "model", visit->model, sizeof visit->model, err);
    }
    if (form_boundary(type, boundary, err) != DGO_OK) {
        *param = NULL;
        return DGO_EUSAGE;
    }
    form_type_text(boundary, visit->type);
    return form_text(body, length, boundary, "model", visit->model, sizeof visit->model, err);
}

void front_forward(struct http_request *request, void *data)
{
    struct daemon *daemon = data;
    struct visit *visit = new_visit(daemon->front, request);
    struct launch *launch;
    struct dgo_error err = {0};
    const char *param = "model";
    enum dgo_status status;

    if (!visit) {
        http_answer_error(request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
        return;
    }
    status = read_model(visit, &param, &err);
    if (status != DGO_OK && status != DGO_ENOTFOUND) {
        http_answer_error(request, &err, param);
        return;
    }
    launch =
        status == DGO_OK ? fleet_find_name(daemon->fleet, visit->model) : fleet_only(daemon->fleet);
    if (launch)
        wait_for(visit, launch);
    else if (status != DGO_OK)
        http_answer_error(request, &err, "model");
    else if (option_given(daemon_options(daemon), OPTION_NO_ON_DEMAND))
        http_answer_verdict(request,
                            &(struct verdict){404, "not_found", "no launch serves this model"},
                            "model", "ENOTFOUND");
    else
        look_up(visit);
}

static json_t *model_row(const char *name, uint64_t created_ns, bool running)
{
    return json_pack("{s:o, s:s, s:I, s:s, s:b}", "id", view_text(name), "object", "model",
                     "created", (json_int_t)(created_ns / DGO_NS_PER_S), "owned_by", "dualgpuopt",
                     "running", (int)running);
}

static bool is_listed(const json_t *list, const char *name)
{
    size_t at;
    const json_t *row;

    json_array_foreach(list, at, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "id")), name) == 0)
            return true;
    }
    return false;
}

static void add_preset(const char *name, const struct preset *preset, const char *problem,
                       void *list)
{
    (void)preset;
    if (!problem && !is_listed(list, name))
        json_array_append_new(list, model_row(name, 0, false));
}

/* task->body holds the launches already; presets and folders follow. */
static enum dgo_status add_models(struct task *task, struct dgo_error *err)
{
    json_t *list = task->body;
    struct catalog *catalog = NULL;
    const enum dgo_status status = api_scan(task->config, &catalog, err);
    struct dgo_error none = {0};

    if (status == DGO_OK &&
        preset_each(task->daemon->environment, add_preset, list, &none) != DGO_OK)
        dgo_log(DGO_LOG_INFO, "presets are not listed: %s", none.text);
    for (uint32_t i = 0; status == DGO_OK && i < catalog->model_count; i++)
        if (!is_listed(list, catalog->model[i].name))
            json_array_append_new(list, model_row(catalog->model[i].name, 0, false));
    if (status == DGO_OK)
        task->answer = json_pack("{s:s, s:O}", "object", "list", "data", list);
    catalog_free(catalog);
    return status;
}

void front_models(struct http_request *request, void *data)
{
    struct daemon *daemon = data;
    json_t *list = json_array();

    for (struct launch *launch = fleet_next(daemon->fleet, NULL); launch;
         launch = fleet_next(daemon->fleet, launch))
        if (launch_phase(launch) != PHASE_ENDED)
            json_array_append_new(
                list, model_row(launch_name(launch), daemon->started_ns, launch_is_ready(launch)));
    task_start(daemon, request, list, add_models);
}

struct relay *front_relay(struct front *front)
{
    return front->relay;
}

enum dgo_status front_new(struct daemon *daemon, struct front **front, struct dgo_error *err)
{
    struct front *made = calloc(1, sizeof *made);
    enum dgo_status status;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->daemon = daemon;
    status = relay_new(daemon->app.loop, &made->relay, err);
    if (status != DGO_OK) {
        free(made);
        return status;
    }
    *front = made;
    return DGO_OK;
}

void front_stop(struct front *front)
{
    if (!front)
        return;
    relay_free(front->relay);
    front->relay = NULL;
    for (struct visit *visit = front->visits, *next; visit; visit = next) {
        next = visit->next;
        if (visit->request)
            http_on_gone(visit->request, NULL, NULL);
        visit->request = NULL;
        launch_wait_cancel(visit->wait);
        visit->wait = NULL;
        if (!visit->looking) /* else its job ends it, while the app closes */
            end_visit(visit);
    }
}

void front_free(struct front *front)
{
    free(front);
}
