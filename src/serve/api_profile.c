/* api_profile.c - the profiler by HTTP: the timeline, verdicts, marks. */
#include "api.h"

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

void api_timeline(struct http_request *request, void *data)
{
    struct daemon *daemon = data;
    const struct profile_live_query query = {
        .since_ns = number_of(request, "since_ns"),
        .until_ns = number_of(request, "until_ns"),
        .points = (uint32_t)dgo_min_u64(number_of(request, "points"), UINT32_MAX),
        .kinds = http_query(request, "series"),
    };

    http_answer_json(request, 200, profile_live_timeline(daemon->profile, &query));
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
    struct daemon *daemon = data;
    json_t *body = api_body(request);
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
