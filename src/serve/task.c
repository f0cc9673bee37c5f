/* task.c - a request whose answer is made by a worker. */
#include "daemon.h"

#include "dgo_text.h"

#include <stdlib.h>
#include <string.h>

static enum dgo_status job_task(void *data)
{
    struct task *task = data;

    task->status = task->fn(task, &task->err);
    if (task->status == DGO_OK && task->answer) /* here too: it may be megabytes */
        task->text = json_dumps(task->answer, JSON_COMPACT);
    return task->status;
}

static void on_done(const struct dgo_result *result, void *data)
{
    struct task *task = data;

    if (result->outcome != DGO_OUTCOME_DONE && task->status == DGO_OK)
        task->status = dgo_fail(&task->err, DGO_ECANCELLED, "the daemon ends");
    if (task->request)
        http_on_gone(task->request, NULL, NULL);
    if (!task->request)
        ;
    else if (task->status == DGO_OK && task->text)
        http_answer_text(task->request, 200, "application/json", task->text, strlen(task->text));
    else if (task->status == DGO_OK)
        http_answer_error(task->request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
    else
        http_answer_error(task->request, &task->err, task->param);
    free(task->text);
    json_decref(task->answer);
    json_decref(task->body);
    config_unref(task->config);
    free(task);
}

static void on_gone(struct http_request *request, void *data)
{
    struct task *task = data;

    (void)request;
    task->request = NULL;
}

void task_start(struct daemon *daemon, struct http_request *request, json_t *body,
                enum dgo_status (*fn)(struct task *task, struct dgo_error *err))
{
    struct task *task = calloc(1, sizeof *task);
    struct dgo_error err = {0};

    if (!task) {
        json_decref(body);
        http_answer_error(request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
        return;
    }
    *task = (struct task){.daemon = daemon,
                          .config = config_ref(daemon_config(daemon)),
                          .request = request,
                          .fn = fn,
                          .body = body};
    if (body) {
        const bool alone = json_is_false(json_object_get(body, "beside"));

        fleet_free_change(daemon->fleet, alone, task->free_change_bytes);
        task->name = json_string_value(json_object_get(body, "model"));
    } else {
        const char *name = http_query(request, "name");

        if (name && dgo_text_copy(task->name_copy, sizeof task->name_copy, name))
            task->name = task->name_copy;
    }
    http_wait(request);
    http_on_gone(request, on_gone, task);
    if (dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_API_REQUEST),
                                     .fn = job_task,
                                     .arg = task,
                                     .done = on_done,
                                     .done_lane = DGO_LANE_UI},
                   NULL, &err) != DGO_OK) {
        http_on_gone(request, NULL, NULL);
        http_answer_error(request, &err, NULL);
        json_decref(body);
        config_unref(task->config);
        free(task);
    }
}
