/* api.c - the route table, and the routes that only look. */
#include "api.h"

#include "catalog.h"
#include "dgo_clock.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "flow.h"
#include "front.h"
#include "intent.h"
#include "metrics.h"
#include "proof.h"
#include "view.h"
#include "view_resources.h"

#include <stdlib.h>
#include <string.h>

static void healthz(struct http_request *request, void *data)
{
    (void)data;
    http_answer_json(request, 200, json_pack("{s:s}", "status", "ok"));
}

static void view(struct http_request *request, void *data)
{
    struct daemon *daemon = data;

    if (!daemon->view) {
        json_t *object = daemon_view(daemon);

        daemon->view = object ? json_dumps(object, JSON_COMPACT) : NULL;
        json_decref(object);
    }
    if (daemon->view)
        http_answer_text(request, 200, "application/json", daemon->view, strlen(daemon->view));
    else
        http_answer_error(request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
}

static void events(struct http_request *request, void *data)
{
    events_serve(((struct daemon *)data)->events, request);
}

static void resources(struct http_request *request, void *data)
{
    struct daemon *daemon = data;
    struct dgo_sample *sample = daemon->sample;
    struct proof_question question = {.alone = true};
    struct proof *proof = malloc(sizeof *proof);
    struct watch_pace pace;

    watch_latest(daemon->watch, sample);
    watch_read_pace(daemon->watch, &pace);
    if (sample->machine.gpu_count > 0 && dgo_machine_is_live(&sample->machine))
        question.machine = &sample->machine;
    else if (sample->problem[0] && dgo_machine_is_live(&sample->machine))
        question.driver_problem = sample->problem;
    if (proof)
        proof_take(&question, proof);
    http_answer_json(request, 200,
                     view_resources(&daemon->app, &sample->machine, &pace, NULL, proof));
    free(proof);
}

/* ---- models, plans, estimates: on a worker ---- */

static void add_preset(const char *name, const struct preset *preset, const char *problem,
                       void *data)
{
    json_t *row = json_pack("{s:o}", "name", view_text(name)), *options = json_object();
    json_t *aliases = json_array();

    for (uint32_t i = 0; preset && i < preset->option_count; i++)
        json_object_set_new(options, option_specs[preset->option[i].id].name,
                            view_text(preset->option[i].text));
    for (uint32_t i = 0; preset && i < preset->alias_count; i++)
        json_array_append_new(aliases, view_text(preset->alias[i]));
    if (preset)
        json_object_set_new(row, "model", view_text(preset->model));
    if (problem)
        json_object_set_new(row, "problem", view_text(problem));
    json_object_set_new(row, "options", options);
    json_object_set_new(row, "aliases", aliases);
    json_array_append_new(data, row);
}

static enum dgo_status list_presets(struct task *task, struct dgo_error *err)
{
    json_t *list = json_array();
    const enum dgo_status status = preset_each(task->daemon->environment, add_preset, list, err);

    task->answer = json_pack("{s:o}", "presets", list);
    return status;
}

static void presets(struct http_request *request, void *data)
{
    task_start(data, request, NULL, list_presets);
}

static enum dgo_status list_models(struct task *task, struct dgo_error *err)
{
    struct catalog *catalog = NULL;
    const enum dgo_status status = api_scan(task->config, &catalog, err);

    if (status == DGO_OK)
        task->answer = catalog_view(catalog);
    catalog_free(catalog);
    return status;
}

static void models(struct http_request *request, void *data)
{
    task_start(data, request, NULL, list_models);
}

/* What a flow of a task stands on. */
struct ground {
    struct options options;
    struct dgo_arena arena;
    struct catalog *catalog;
    struct preset *preset;
    struct flow *flow;
    const char *path; /* of the model */
};

static enum dgo_status find_path(struct task *task, struct ground *ground, struct dgo_error *err)
{
    const struct catalog_model *model = NULL;
    enum dgo_status status;

    task->param = "preset";
    status = api_read_preset(task->daemon->environment, task->body, &ground->preset, err);
    if (status != DGO_OK)
        return status;
    if (ground->preset && !task->name) { /* the user's own file names it */
        ground->path = ground->preset->model;
        return DGO_OK;
    }
    task->param = "model";
    status = api_find_model(task->config, task->name, &ground->catalog, &model, err);
    if (status == DGO_OK)
        ground->path = model->path;
    return status;
}

/* A flow with the model of the task, and its options. */
static enum dgo_status begin_flow(struct task *task, struct ground *ground, struct dgo_error *err)
{
    enum dgo_status status = find_path(task, ground, err);

    if (status != DGO_OK)
        return status;
    task->param = NULL;
    ground->options = task->config->options;
    if (ground->preset)
        status = preset_apply(ground->preset, &ground->options, err);
    if (status == DGO_OK)
        status = intent_apply(json_object_get(task->body, "intent"), INTENT_PLAN, &ground->options,
                              &ground->arena, &task->param, err);
    if (status != DGO_OK)
        return status;
    ground->flow = calloc(1, sizeof *ground->flow);
    if (!ground->flow)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    flow_init(ground->flow, &ground->options, task->daemon->environment);
    memcpy(ground->flow->free_change_bytes, task->free_change_bytes,
           sizeof task->free_change_bytes);
    return DGO_OK;
}

static void end_flow(struct ground *ground)
{
    if (ground->flow)
        flow_done(ground->flow);
    free(ground->flow);
    dgo_arena_done(&ground->arena);
    catalog_free(ground->catalog);
    free(ground->preset);
}

static enum dgo_status make_plan(struct task *task, struct dgo_error *err)
{
    struct ground ground = {0};
    enum dgo_status status = begin_flow(task, &ground, err);
    struct flow *flow = ground.flow;

    if (status == DGO_OK) {
        status = flow_prepare(flow, ground.path, false, err);
        if (status == DGO_OK)
            status = flow_command(flow, flow_shown_port(flow), NULL, 0, err);
        if (status == DGO_OK || (status == DGO_ENOFIT && flow->planned)) {
            task->answer = view_plan(&flow->machine, flow->model, &flow->plan,
                                     flow->command_made ? &flow->command : NULL);
            if (status == DGO_ENOFIT)
                json_object_set_new(task->answer, "problem", view_text(err->text));
            status = DGO_OK;
        }
        if (task->answer && json_is_true(json_object_get(task->body, "explain")))
            view_explain(task->answer, &flow->machine, flow->model, &flow->plan,
                         flow->command_made ? &flow->command : NULL);
    }
    end_flow(&ground);
    return status;
}

static void plan(struct http_request *request, void *data)
{
    static const char *const keys[] = {"model", "preset", "intent", "explain", "beside", NULL};
    json_t *body = api_body(request, keys);

    if (body)
        task_start(data, request, body, make_plan);
}

static enum dgo_status make_model(struct task *task, struct dgo_error *err)
{
    struct ground ground = {0};
    enum dgo_status status = begin_flow(task, &ground, err);
    struct flow *flow = ground.flow;

    if (status == DGO_OK)
        status = flow_read(flow, ground.path, err);
    if (status == DGO_OK)
        task->answer = view_model(flow->model);
    end_flow(&ground);
    return status;
}

static void inspect(struct http_request *request, void *data)
{
    task_start(data, request, NULL, make_model);
}

enum { FLAGS_MAX = 256, FLAG_TEXT_MAX = 4096 };

/* The engine's flags, which are read and never run. */
static enum dgo_status read_flags(const json_t *list, const char *flags[FLAGS_MAX], uint32_t *count,
                                  struct dgo_error *err)
{
    if (!json_is_array(list) || json_array_size(list) > FLAGS_MAX)
        return dgo_fail(err, DGO_EUSAGE, "flags is a list of at most %d words", FLAGS_MAX);
    *count = (uint32_t)json_array_size(list);
    for (uint32_t i = 0; i < *count; i++) {
        flags[i] = json_string_value(json_array_get(list, i));
        if (!flags[i] || strlen(flags[i]) > FLAG_TEXT_MAX)
            return dgo_fail(err, DGO_EUSAGE, "flags[%u] is no word", (unsigned)i);
    }
    return DGO_OK;
}

static enum dgo_status set_build(const json_t *build, struct options *options,
                                 struct dgo_error *err)
{
    if (!build)
        return DGO_OK;
    if (!json_is_string(build) || json_string_length(build) > 16)
        return dgo_fail(err, DGO_EUSAGE, "engine_build is a text like \"11669\"");
    return options_set(options, OPTION_ENGINE_BUILD, json_string_value(build), ORIGIN_FLAG, err);
}

static enum dgo_status make_estimate(struct task *task, struct dgo_error *err)
{
    struct ground ground = {0};
    const char *flags[FLAGS_MAX];
    uint32_t flag_count = 0;
    struct dgo_estimate estimate;
    enum dgo_status status = begin_flow(task, &ground, err);
    struct flow *flow = ground.flow;

    if (status == DGO_OK) {
        task->param = "flags";
        status = read_flags(json_object_get(task->body, "flags"), flags, &flag_count, err);
    }
    if (status == DGO_OK) {
        task->param = "engine_build";
        status = set_build(json_object_get(task->body, "engine_build"), &ground.options, err);
    }
    if (status == DGO_OK) {
        task->param = NULL;
        status = flow_estimate(flow, ground.path, flags, flag_count, &estimate, err);
    }
    if (status == DGO_OK)
        task->answer = view_estimate(&flow->machine, &estimate);
    end_flow(&ground);
    return status;
}

static void estimate(struct http_request *request, void *data)
{
    static const char *const keys[] = {"model",        "preset", "intent", "flags",
                                       "engine_build", "beside", NULL};
    json_t *body = api_body(request, keys);

    if (body)
        task_start(data, request, body, make_estimate);
}

#define OPEN                                                                                       \
    {                                                                                              \
        .open = true                                                                               \
    }
#define LOOK                                                                                       \
    {                                                                                              \
        .open = false                                                                              \
    }
#define WRITE                                                                                      \
    {                                                                                              \
        .body = true, .body_max = HTTP_API_BODY_MAX                                                \
    }
#define FRONT                                                                                      \
    {                                                                                              \
        .body = true, .body_max = HTTP_FRONT_BODY_MAX                                              \
    }

#define UPLOAD                                                                                     \
    {                                                                                              \
        .body = true, .form = true, .body_max = HTTP_UPLOAD_BODY_MAX                               \
    }

/* docs/HTTP.md, "Routes", in its order; tests/serve walks the same rows. */
const struct http_route api_routes[] = {
    {"GET", "/healthz", healthz, OPEN},
    {"GET", "/api/v1/view", view, LOOK},
    {"GET", "/api/v1/events", events, LOOK},
    {"GET", "/api/v1/models", models, LOOK},
    {"GET", "/api/v1/model", inspect, LOOK},
    {"POST", "/api/v1/plan", plan, WRITE},
    {"POST", "/api/v1/estimate", estimate, WRITE},
    {"GET", "/api/v1/launches", api_launches, LOOK},
    {"POST", "/api/v1/launches", api_launch, WRITE},
    {"GET", "/api/v1/launches/*", api_one, LOOK},
    {"GET", "/api/v1/launches/*/log", api_log, LOOK},
    {"POST", "/api/v1/launches/*/stop", api_stop, WRITE},
    {"POST", "/api/v1/launches/*/pin", api_pin, WRITE},
    {"DELETE", "/api/v1/launches/*", api_forget, LOOK},
    {"GET", "/api/v1/timeline", api_timeline, LOOK},
    {"GET", "/api/v1/profile", api_profile, LOOK},
    {"POST", "/api/v1/marks", api_mark, WRITE},
    {"GET", "/api/v1/resources", resources, LOOK},
    {"GET", "/api/v1/config", api_config, LOOK},
    {"POST", "/api/v1/config", api_set_config, WRITE},
    {"GET", "/api/v1/presets", presets, LOOK},
    {"GET", "/metrics", metrics_serve, LOOK},
    {"GET", "/v1/models", front_models, LOOK},
    {"POST", "/v1/chat/completions", front_forward, FRONT},
    {"POST", "/v1/completions", front_forward, FRONT},
    {"POST", "/v1/embeddings", front_forward, FRONT},
    {"POST", "/v1/rerank", front_forward, FRONT},
    {"POST", "/v1/responses", front_forward, FRONT},
    {"POST", "/v1/reranking", front_forward, FRONT},
    {"POST", "/v1/messages", front_forward, FRONT},
    {"POST", "/v1/messages/count_tokens", front_forward, FRONT},
    {"POST", "/v1/audio/speech", front_forward, FRONT},
    {"POST", "/v1/audio/transcriptions", front_forward, UPLOAD},
    {"POST", "/v1/audio/translations", front_forward, UPLOAD},
    {"POST", "/v1/images/generations", front_forward, FRONT},
    {"POST", "/v1/images/edits", front_forward, UPLOAD},
    {"POST", "/v1/images/variations", front_forward, UPLOAD},
    {"POST", "/completion", front_forward, FRONT},
    {"POST", "/infill", front_forward, FRONT},
    {"POST", "/rerank", front_forward, FRONT},
    {"POST", "/reranking", front_forward, FRONT},
    {NULL, NULL, NULL, LOOK},
};
