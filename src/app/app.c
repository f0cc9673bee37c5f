/* app.c - starts and stops the loop, the resource manager and the bus. */
#include "dgo_app.h"

#include "dgo_log.h"
#include "dgo_units.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>

static const struct dgo_component rows[COMPONENT_COUNT] = {
#define X(id, name, state, lane, hint, vram_bytes, what)                                           \
    [COMPONENT_##id] = {name, DGO_LANE_##lane, DGO_HINT_##hint, vram_bytes, what},
#include "components.def"
#undef X
};

enum component_state { PRESENT, PLANNED };
static const enum component_state states[COMPONENT_COUNT] = {
#define X(id, name, state, lane, hint, vram_bytes, what) [COMPONENT_##id] = state,
#include "components.def"
#undef X
};

static const struct dgo_topic topics[TOPIC_COUNT] = {
#define X(id, name, priority, hint, drop, payload, batch_events, batch_ns)                         \
    [TOPIC_##id] = {TOPIC_##id,           name,                                                    \
                    DGO_TOPIC_##priority, DGO_TOPIC_##hint,                                        \
                    DGO_TOPIC_##drop,     sizeof(payload),                                         \
                    batch_events,         batch_ns},
#include "topics.def"
#undef X
};

static dgo_component_id ids[COMPONENT_COUNT];

static void register_components(void)
{
    struct dgo_error err = {0};

    if (dgo_component_register(rows, COMPONENT_COUNT, ids, &err) != DGO_OK)
        dgo_log(DGO_LOG_ERROR, "components: %s", err.text); /* they all run as "other" then */
}

dgo_component_id app_component(enum component component)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, register_components);
    return ids[component];
}

bool app_component_present(enum component component)
{
    return states[component] == PRESENT;
}

enum dgo_status app_run(enum component component, dgo_job_fn fn, void *arg)
{
    return dgo_run_on_cpu(app_component(component), fn, arg);
}

const struct dgo_topic *app_topic(uint16_t topic)
{
    return topic < TOPIC_COUNT ? &topics[topic] : NULL;
}

const char *launch_state_name(enum launch_state state)
{
    static const char *const names[] = {"starting",   "loading",  "ready",
                                        "restarting", "stopping", "ended"};

    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

/* UI jobs wait: run them, but give the loop its turn after 5 ms. */
static int on_ui_ready(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct dgo_error err = {0};
    uint32_t ran = 0;

    (void)source;
    (void)fd;
    (void)events;
    (void)data;
    if (dgo_resource_ui_drain(5 * DGO_NS_PER_MS, &ran, &err) == DGO_EIO)
        dgo_log(DGO_LOG_WARN, "ui lane: %s", err.text);
    return 0;
}

enum dgo_status dgo_app_open(struct dgo_app *app, struct dgo_error *err)
{
    const struct dgo_resource_config config = {0};
    const struct dgo_bus_config bus_config = {.component = app_component(COMPONENT_EVENT_HANDLERS)};
    enum dgo_status status;
    int fd = -1, result;

    *app = (struct dgo_app){0};
    status = dgo_resource_start(&config, err);
    if (status != DGO_OK)
        return status;
    result = sd_event_default(&app->loop);
    if (result < 0)
        status = dgo_fail_errno(err, DGO_EIO, -result, "the event loop cannot be made");
    if (status == DGO_OK)
        status = dgo_resource_ui_attach(&fd, err);
    if (status == DGO_OK) {
        result = sd_event_add_io(app->loop, &app->ui_source, fd, EPOLLIN, on_ui_ready, app);
        if (result < 0)
            status = dgo_fail_errno(err, DGO_EIO, -result, "the event loop cannot watch its jobs");
    }
    if (status == DGO_OK)
        status = dgo_bus_new(topics, TOPIC_COUNT, &bus_config, &app->bus, err);
    if (status != DGO_OK)
        dgo_app_close(app);
    return status;
}

void dgo_app_close(struct dgo_app *app)
{
    struct dgo_error err = {0};

    sd_event_source_disable_unref(app->ui_source);
    dgo_bus_free(app->bus);
    if (dgo_resource_stop(DGO_NS_PER_S, &err) != DGO_OK)
        dgo_log(DGO_LOG_DEBUG, "stop: %s", err.text);
    sd_event_unref(app->loop);
    *app = (struct dgo_app){0};
}
