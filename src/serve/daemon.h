/* daemon.h - what the routes share.  Private to the folder.  Loop thread only. */
#ifndef DAEMON_H
#define DAEMON_H

#include "config_watch.h"
#include "dgo_app.h"
#include "dgo_serve.h"
#include "events.h"
#include "fleet.h"
#include "http.h"
#include "options.h"
#include "watch.h"

#include <limits.h>

struct front;

enum { NOTED_MAX = 16 };

struct daemon {
    struct dgo_app app;
    char *const *environment;
    struct config_watch *config;
    struct watch *watch;
    struct profile_live *profile;
    struct {
        json_int_t id;
        char state[16];
    } noted[NOTED_MAX]; /* what the timeline was told of launches, the newest in turn */
    uint32_t noted_at;
    struct dgo_sample *sample; /* the newest look */
    struct fleet *fleet;
    struct events *events;
    struct front *front;
    struct http *tcp, *local;
    char *view; /* /api/v1/view, until something changes; NULL */
    sd_event_source *snapshot;
    bool stopping;
    uint64_t started_ns;
    char directory[PATH_MAX], socket[108]; /* "": none */
    int lock_fd;
    char listen[80], token[TOKEN_TEXT + 1];
    serve_say_fn say;
};

/* The settings in force: of this turn of the loop.  A worker takes a reference (config_ref). */
const struct config *daemon_config(const struct daemon *daemon);
const struct options *daemon_options(const struct daemon *daemon);

json_t *daemon_view(void *daemon);
/* Something that the view shows has changed. */
void daemon_changed(struct daemon *daemon);

/* Work of a request that may take long or block, on a worker: fills `answer` or fails. */
struct task {
    struct daemon *daemon;
    const struct config *config;  /* as they were when it began */
    struct http_request *request; /* NULL: the client is gone */
    enum dgo_status (*fn)(struct task *task, struct dgo_error *err);
    json_t *body;     /* of the request; freed with the task */
    const char *name; /* a model's; lives in body or in the task */
    char name_copy[600];
    int64_t free_change_bytes[DGO_GPU_MAX];
    json_t *answer;
    char *text; /* the answer as it is sent */
    const char *param;
    struct dgo_error err;
    enum dgo_status status;
};
/* Takes over `body` (may be NULL). */
void task_start(struct daemon *daemon, struct http_request *request, json_t *body,
                enum dgo_status (*fn)(struct task *task, struct dgo_error *err));

/* The request's body as an object without other keys than these (NULL ends them); NULL: it was
 * answered with 400. */
json_t *api_body(struct http_request *request, const char *const *keys);
/* An event of a launch, for the timeline: each of its states once, and its plan. */
void profile_note_launch(struct daemon *daemon, const json_t *launch);
void profile_note_drift(struct daemon *daemon, const json_t *drift);
/* What was planned for those that run, at this look: a line beside what they use. */
void profile_note_plans(struct daemon *daemon);

/* api.c, api_launch.c, page.c */
extern const struct http_route api_routes[];
void page_serve(struct http_request *request, void *daemon);

#endif
