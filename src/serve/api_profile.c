/* api_profile.c - the profiler by HTTP: the timeline, verdicts, marks. */
#include "api.h"

#include "dgo_text.h"
#include "fleet.h"
#include "profile_live.h"

#include <stdlib.h>
#include <string.h>

enum { MARK_MAX = 100 };

static uint64_t number_of(struct http_request *request, const char *name)
{
    const char *text = http_query(request, name);
    char *end = NULL;
    const unsigned long long number = text ? strtoull(text, &end, 10) : 0;

    return text && end != text && *end == '\0' && text[0] != '-' ? number : 0;
}

static uint64_t count_in(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* Weeks of many series are megabytes: not on the loop. */
static enum dgo_status draw(struct task *task, struct dgo_error *err)
{
    const struct profile_live_query query = {
        .since_ns = count_in(task->body, "since_ns"),
        .until_ns = count_in(task->body, "until_ns"),
        .points = (uint32_t)dgo_min_u64(count_in(task->body, "points"), UINT32_MAX),
        .kinds = json_string_value(json_object_get(task->body, "series")),
    };

    task->answer = profile_live_timeline(task->daemon->profile, &query);
    return task->answer ? DGO_OK : dgo_fail(err, DGO_ENOMEM, "out of memory");
}

void api_timeline(struct http_request *request, void *data)
{
    const char *series = http_query(request, "series");
    json_t *query =
        json_pack("{s:I, s:I, s:I}", "since_ns", (json_int_t)number_of(request, "since_ns"),
                  "until_ns", (json_int_t)number_of(request, "until_ns"), "points",
                  (json_int_t)number_of(request, "points"));
    json_t *kinds = series ? json_string(series) : NULL;

    if (series) /* what is no text names no kind */
        json_object_set_new(query, "series", kinds ? kinds : json_string("?"));
    task_start(data, request, query, draw);
}

/* Judging every series takes milliseconds: not on the loop. */
static enum dgo_status judge(struct task *task, struct dgo_error *err)
{
    task->answer = profile_live_view(task->daemon->profile);
    return task->answer ? DGO_OK : dgo_fail(err, DGO_ENOMEM, "out of memory");
}

void api_profile(struct http_request *request, void *data)
{
    task_start(data, request, NULL, judge);
}

void api_mark(struct http_request *request, void *data)
{
    static const char *const keys[] = {"text", NULL};
    struct daemon *daemon = data;
    json_t *body = api_body(request, keys);
    const char *text = json_string_value(json_object_get(body, "text"));

    if (!body)
        return;
    if (!text || !text[0] || strlen(text) > MARK_MAX) {
        http_answer_verdict(request,
                            &(struct verdict){400, "invalid_request",
                                              "text is what happens now, in 1 to 100 bytes"},
                            "text", "EINVAL");
    } else {
        profile_live_note(daemon->profile, DGO_TIMELINE_MARK, DGO_TIMELINE_NO_GPU, 0, text);
        http_answer_json(request, 200, json_pack("{s:s}", "text", text));
    }
    json_decref(body);
}

/* ---- launches on the timeline ----------------------------------------------------------- */

static bool is_new_state(struct daemon *daemon, json_int_t id, const char *state)
{
    uint32_t at = 0;

    while (at < NOTED_MAX && daemon->noted[at].id != id)
        at++;
    if (at == NOTED_MAX) {
        at = daemon->noted_at++ % NOTED_MAX;
        daemon->noted[at].id = id;
        daemon->noted[at].state[0] = '\0';
    }
    if (strcmp(daemon->noted[at].state, state) == 0)
        return false;
    (void)dgo_text_copy(daemon->noted[at].state, sizeof daemon->noted[at].state, state);
    return true;
}

/* Growth below what was planned is filling. */
static void note_plan(struct daemon *daemon, json_int_t id, uint32_t pid)
{
    const struct launch *launch = fleet_find(daemon->fleet, (uint64_t)id);

    for (uint32_t g = 0; launch && g < DGO_GPU_MAX; g++)
        if (launch_reserved_bytes(launch, g) > 0)
            profile_live_plan(daemon->profile, g, pid, launch_reserved_bytes(launch, g));
}

void profile_note_plans(struct daemon *daemon)
{
    const struct launch *launch = NULL;

    while ((launch = fleet_next(daemon->fleet, launch)))
        for (uint32_t g = 0; launch_pid(launch) > 0 && g < DGO_GPU_MAX; g++)
            if (launch_reserved_bytes(launch, g) > 0)
                profile_live_planned(daemon->profile, g, (uint32_t)launch_pid(launch),
                                     launch_started_ns(launch), launch_reserved_bytes(launch, g));
}

void profile_note_launch(struct daemon *daemon, const json_t *launch)
{
    static const struct {
        const char *state;
        enum dgo_timeline_event_kind kind;
    } kinds[] = {{"starting", DGO_TIMELINE_LAUNCH},
                 {"loading", DGO_TIMELINE_LOAD},
                 {"ready", DGO_TIMELINE_READY},
                 {"restarting", DGO_TIMELINE_END}, /* with the reason: the engine did end */
                 {"ended", DGO_TIMELINE_END}};
    const json_int_t id = json_integer_value(json_object_get(launch, "launch"));
    const char *state = json_string_value(json_object_get(launch, "state"));
    const char *says = json_string_value(json_object_get(launch, "text"));
    const json_int_t pid = json_integer_value(json_object_get(launch, "pid"));
    char line[DGO_TIMELINE_EVENT_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(line);

    if (id <= 0 || !state || !is_new_state(daemon, id, state))
        return;
    dgo_text_addf(&text, "launch %d %.16s%s%.80s", (int)id, state, says && says[0] ? ": " : "",
                  says ? says : "");
    for (uint32_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].state, state) == 0)
            profile_live_note(daemon->profile, kinds[i].kind, DGO_TIMELINE_NO_GPU,
                              pid > 0 ? (uint32_t)pid : 0, line);
    if (strcmp(state, "ready") == 0 && pid > 0)
        note_plan(daemon, id, (uint32_t)pid);
}

void profile_note_drift(struct daemon *daemon, const json_t *drift)
{
    profile_live_note(daemon->profile, DGO_TIMELINE_DRIFT,
                      (uint32_t)json_integer_value(json_object_get(drift, "gpu")),
                      (uint32_t)json_integer_value(json_object_get(drift, "pid")),
                      json_string_value(json_object_get(drift, "text")));
}
