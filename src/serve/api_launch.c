/* api_launch.c - launches by HTTP: start, look, log, stop, pin, forget. */
#include "api.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct launch *find(struct http_request *request, struct daemon *daemon)
{
    struct launch *launch = fleet_find(daemon->fleet, http_number(request));

    if (!launch)
        http_answer_verdict(request, &(struct verdict){404, "not_found", "there is no such launch"},
                            NULL, "ENOTFOUND");
    return launch;
}

void api_launches(struct http_request *request, void *data)
{
    struct daemon *daemon = data;

    http_answer_json(request, 200, json_pack("{s:o}", "launches", fleet_view(daemon->fleet)));
}

void api_one(struct http_request *request, void *data)
{
    struct launch *launch = find(request, data);

    if (launch)
        http_answer_json(request, 200, launch_view(launch));
}

static uint64_t number_of(struct http_request *request, const char *name, uint64_t most,
                          uint64_t otherwise)
{
    const char *text = http_query(request, name);
    uint64_t value;

    return text && dgo_u64_parse(text, name, 0, most, &value, NULL) == DGO_OK ? value : otherwise;
}

void api_log(struct http_request *request, void *data)
{
    struct launch *launch = find(request, data);

    if (launch)
        http_answer_json(request, 200,
                         launch_log_view(launch, number_of(request, "after", INT64_MAX, 0),
                                         (uint32_t)number_of(request, "limit", 2000, 200)));
}

void api_stop(struct http_request *request, void *data)
{
    static const char *const keys[] = {"kill", NULL};
    json_t *body = api_body(request, keys);
    struct launch *launch = body ? find(request, data) : NULL;

    if (launch) {
        launch_stop(launch, json_is_true(json_object_get(body, "kill")), NULL);
        http_answer_json(request, 202, launch_view(launch));
    }
    json_decref(body);
}

void api_pin(struct http_request *request, void *data)
{
    static const char *const keys[] = {"pinned", NULL};
    json_t *body = api_body(request, keys);
    const json_t *pinned = json_object_get(body, "pinned");
    struct launch *launch = NULL;

    if (body && !json_is_boolean(pinned))
        http_answer_verdict(request,
                            &(struct verdict){400, "invalid_request", "pinned is true or false"},
                            "pinned", "EUSAGE");
    else if (body)
        launch = find(request, data);
    if (launch) {
        launch_pin(launch, json_is_true(pinned));
        http_answer_json(request, 200, launch_view(launch));
    }
    json_decref(body);
}

void api_forget(struct http_request *request, void *data)
{
    struct launch *launch = find(request, data);
    struct dgo_error err = {0};

    if (!launch)
        return;
    if (launch_forget(launch, &err) == DGO_OK)
        http_answer_json(request, 200, json_pack("{s:b}", "forgotten", 1));
    else
        http_answer_error(request, &err, NULL);
    daemon_changed(data);
}

/* ---- a new launch: the model is looked up by a worker, then the fleet takes it ---- */

enum { EXTRA_MAX = 256 };

struct starting {
    struct daemon *daemon;
    const struct config *config;
    struct http_request *request; /* NULL: the client is gone */
    json_t *body;
    struct catalog *catalog;
    const struct catalog_model *model;
    struct preset *preset; /* until the launch has it */
    struct launch_wait *wait;
    enum dgo_status status;
    struct dgo_error err;
};

static void free_starting(struct starting *starting)
{
    catalog_free(starting->catalog);
    free(starting->preset);
    config_unref(starting->config);
    json_decref(starting->body);
    free(starting);
}

static void on_gone(struct http_request *request, void *data)
{
    struct starting *starting = data;

    (void)request;
    starting->request = NULL;
    if (starting->wait) { /* nothing else holds it any more; the launch goes on */
        launch_wait_cancel(starting->wait);
        free_starting(starting);
    }
}

static void answer_refused(struct http_request *request, struct launch *launch,
                           const struct dgo_error *err)
{
    const struct verdict verdict = policy_of_error(err);
    uint64_t ids[FLEET_MAX];
    const uint32_t count = launch_in_the_way(launch, ids);
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer((json_int_t)ids[i]));
    http_answer_json(request, verdict.status,
                     json_pack("{s:{s:s, s:s, s:n, s:s}, s:o, s:I}", "error", "message", err->text,
                               "type", verdict.type, "param", "code", policy_code(err->status),
                               "would_have_to_stop", list, "launch",
                               (json_int_t)launch_id(launch)));
}

static void on_admitted(struct launch *launch, void *data)
{
    struct starting *starting = data;
    struct http_request *request = starting->request;
    struct dgo_error err = {0};

    starting->wait = NULL;
    if (request) {
        http_on_gone(request, NULL, NULL);
        if (launch_phase(launch) == PHASE_ENDED && launch_outcome(launch, &err) != DGO_OK)
            answer_refused(request, launch, &err);
        else
            http_answer_json(request, 202, launch_view(launch));
    }
    free_starting(starting);
}

static bool read_admission(const json_t *value, struct wish *wish)
{
    static const char *const words[] = {"refuse", "queue", "evict"};

    if (!value)
        return true;
    for (unsigned i = 0; i < 3; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), words[i]) == 0) {
            wish->admission = (enum admission)i;
            wish->admission_given = true;
            return true;
        }
    return false;
}

/* Flags of the engine: only from a user of this machine, by the Unix socket. */
static enum dgo_status read_extra(const struct starting *starting, const char *extra[EXTRA_MAX],
                                  struct wish *wish, const char **param, struct dgo_error *err)
{
    const json_t *list = json_object_get(starting->body, "extra");

    *param = "extra";
    if (!list)
        return DGO_OK;
    if (!http_is_local(starting->request))
        return dgo_fail(err, DGO_EUSAGE, "flags of the engine are not taken over the network");
    if (!json_is_array(list) || json_array_size(list) > EXTRA_MAX)
        return dgo_fail(err, DGO_EUSAGE, "extra is a list of at most %d words", EXTRA_MAX);
    for (uint32_t i = 0; i < json_array_size(list); i++) {
        extra[i] = json_string_value(json_array_get(list, i));
        if (!extra[i])
            return dgo_fail(err, DGO_EUSAGE, "extra[%u] is no word", (unsigned)i);
    }
    wish->extra = extra;
    wish->extra_count = (uint32_t)json_array_size(list);
    return DGO_OK;
}

static enum dgo_status begin(struct starting *starting, struct launch **launch, const char **param,
                             struct dgo_error *err)
{
    const char *extra[EXTRA_MAX];
    const json_t *name = json_object_get(starting->body, "name");
    struct wish wish = {
        .model_name = starting->model->name,
        .model_path = starting->model->path,
        .name = json_string_value(name),
        .intent = json_object_get(starting->body, "intent"),
        .pinned = json_is_true(json_object_get(starting->body, "pinned")),
        .origin = http_is_local(starting->request) ? "cli" : "api",
    };
    enum dgo_status status;

    *param = "admission";
    if (!read_admission(json_object_get(starting->body, "admission"), &wish))
        return dgo_fail(err, DGO_EUSAGE, "admission is refuse, queue or evict");
    *param = "name";
    if (name && !json_is_string(name))
        return dgo_fail(err, DGO_EUSAGE, "name is a text");
    status = read_extra(starting, extra, &wish, param, err);
    if (status != DGO_OK)
        return status;
    if (!wish.name && starting->preset && !json_object_get(starting->body, "model") &&
        !json_object_get(starting->body, "path"))
        wish.name = starting->preset->name; /* as clients of the front ask for it */
    wish.preset = starting->preset;
    starting->preset = NULL;
    status = fleet_launch(starting->daemon->fleet, &wish, launch, param, err);
    return status;
}

static void on_found(const struct dgo_result *result, void *data)
{
    struct starting *starting = data;
    struct launch *launch = NULL;
    const char *param = "model";

    if (!starting->request) {
        free_starting(starting);
        return;
    }
    if (result->outcome != DGO_OUTCOME_DONE && starting->status == DGO_OK)
        starting->status = dgo_fail(&starting->err, DGO_ECANCELLED, "the daemon ends");
    if (starting->status == DGO_OK)
        starting->status = begin(starting, &launch, &param, &starting->err);
    if (starting->status == DGO_OK)
        starting->wait = launch_wait_admitted(launch, on_admitted, starting);
    if (starting->wait)
        return;
    http_on_gone(starting->request, NULL, NULL);
    if (launch)
        http_answer_json(starting->request, 202, launch_view(launch));
    else
        http_answer_error(starting->request, &starting->err, param);
    free_starting(starting);
}

static enum dgo_status job_find(void *data)
{
    struct starting *starting = data;
    const char *name = json_string_value(json_object_get(starting->body, "model"));
    const char *path = json_string_value(json_object_get(starting->body, "path"));

    starting->status = api_read_preset(starting->daemon->environment, starting->body,
                                       &starting->preset, &starting->err);
    if (starting->status != DGO_OK)
        return starting->status;
    if (starting->preset && !name && !path)
        path = starting->preset->model; /* the user's own file names it */
    starting->status =
        path ? api_take_path(path, &starting->catalog, &starting->model, &starting->err)
             : api_find_model(starting->config, name, &starting->catalog, &starting->model,
                              &starting->err);
    return starting->status;
}

void api_launch(struct http_request *request, void *data)
{
    static const char *const keys[] = {"model",     "preset", "intent", "name", "pinned",
                                       "admission", "extra",  "path",   NULL};
    json_t *body = api_body(request, keys);
    struct starting *starting = body ? calloc(1, sizeof *starting) : NULL;
    struct dgo_error err = {0};

    if (!body)
        return;
    if (!starting) {
        json_decref(body);
        http_answer_error(request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
        return;
    }
    *starting = (struct starting){.daemon = data,
                                  .config = config_ref(daemon_config(data)),
                                  .request = request,
                                  .body = body};
    if (json_object_get(body, "path") && !http_is_local(request)) {
        http_answer_error(
            request,
            &(struct dgo_error){DGO_EUSAGE, "a path is not taken over the network; name a model"},
            "path");
        free_starting(starting);
        return;
    }
    http_wait(request);
    http_on_gone(request, on_gone, starting);
    if (dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_API_REQUEST),
                                     .fn = job_find,
                                     .arg = starting,
                                     .done = on_found,
                                     .done_lane = DGO_LANE_UI},
                   NULL, &err) != DGO_OK) {
        http_on_gone(request, NULL, NULL);
        http_answer_error(request, &err, NULL);
        free_starting(starting);
    }
}
