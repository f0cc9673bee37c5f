/* watch_engines.c - asks the engines in turn, in a job of the BLOCKING lane. */
#include "watch_engines.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "engine_load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { SKIP_MAX = 30 };

struct engine {
    bool used;
    bool answered;           /* the last time */
    uint32_t launch;         /* of ours, that it belongs to; 0: it was pointed at */
    uint32_t failures, skip; /* in a row; looks before it is asked again */
    uint32_t generation;     /* of its place: an answer of an engine that is gone is dropped */
    struct load_source source;
};

struct watch_engines {
    struct dgo_bus *bus;
    watch_load_fn on_load;
    void *data;
    struct dgo_strand strand;
    _Atomic uint32_t count;   /* so that a look without engines costs nothing */
    struct load_source asked; /* the strand's own */
    pthread_mutex_t lock;     /* guards the engines; not held while one is asked */
    struct engine engine[WATCH_ENGINE_MAX];
};

static void tell(struct watch_engines *engines, const struct dgo_engine_load *load, uint64_t now_ns)
{
    if (engines->on_load)
        engines->on_load(load, now_ns, engines->data);
    (void)dgo_bus_publish(engines->bus, TOPIC_ENGINE_LOAD, load->pid, load);
}

/* The lock is held.  What does not answer is asked less and less often. */
static void take_answer(struct engine *engine, const struct load_source *source, bool answered)
{
    engine->source = *source;
    engine->answered = answered;
    engine->failures = answered ? 0 : engine->failures + 1;
    engine->skip = engine->failures > 5 ? SKIP_MAX : (1u << engine->failures) - 1;
}

static void ask_one(struct watch_engines *engines, uint32_t index)
{
    const uint64_t now_ns = dgo_clock_monotonic_ns(dgo_clock_system());
    struct engine *engine = &engines->engine[index];
    struct dgo_error err = {0};
    uint32_t generation;
    enum dgo_status status;
    bool was_answering, current;

    pthread_mutex_lock(&engines->lock);
    current = engine->used && engine->skip == 0;
    engine->skip -= engine->skip > 0;
    generation = engine->generation;
    was_answering = engine->answered;
    engines->asked = engine->source;
    pthread_mutex_unlock(&engines->lock);
    if (!current)
        return;
    status = load_ask(&engines->asked, now_ns, &err);
    pthread_mutex_lock(&engines->lock);
    current = engine->used && engine->generation == generation;
    if (current)
        take_answer(engine, &engines->asked, status == DGO_OK);
    pthread_mutex_unlock(&engines->lock);
    if (current && status == DGO_OK)
        tell(engines, &engines->asked.track.load, now_ns);
    else if (current && was_answering)
        dgo_log(DGO_LOG_INFO, "engine %u: %s", engines->asked.pid, err.text);
}

static enum dgo_status ask_all(void *data)
{
    struct watch_engines *engines = data;

    for (uint32_t i = 0; i < WATCH_ENGINE_MAX && !dgo_job_should_stop(); i++)
        ask_one(engines, i);
    return DGO_OK;
}

enum dgo_status watch_engines_new(struct dgo_bus *bus, watch_load_fn on_load, void *data,
                                  struct watch_engines **engines, struct dgo_error *err)
{
    struct watch_engines *made = calloc(1, sizeof *made);
    enum dgo_status status;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->bus = bus;
    made->on_load = on_load;
    made->data = data;
    pthread_mutex_init(&made->lock, NULL);
    status = dgo_strand_new(app_component(COMPONENT_ENGINE_METRICS), DGO_LANE_BLOCKING, ask_all,
                            made, &made->strand, err);
    if (status != DGO_OK) {
        pthread_mutex_destroy(&made->lock);
        free(made);
        return status;
    }
    *engines = made;
    return DGO_OK;
}

void watch_engines_free(struct watch_engines *engines)
{
    if (!engines)
        return;
    dgo_strand_free(engines->strand);
    pthread_mutex_destroy(&engines->lock);
    free(engines);
}

/* The lock is held.  NULL: none with that pid, or no room for a new one. */
static struct engine *place_of(struct watch_engines *engines, uint32_t pid, bool make)
{
    struct engine *unused = NULL;

    for (uint32_t i = 0; i < WATCH_ENGINE_MAX; i++) {
        struct engine *engine = &engines->engine[i];

        if (engine->used && engine->source.pid == pid)
            return engine;
        if (!engine->used && !unused)
            unused = engine;
    }
    return make ? unused : NULL;
}

static enum dgo_status add(struct watch_engines *engines, uint32_t launch, uint32_t pid,
                           const char *url, const char *key, struct dgo_error *err)
{
    struct load_source source = {.url = ""};
    enum dgo_status status = load_source_init(&source, url, key, pid, err);
    struct engine *engine;

    if (status != DGO_OK)
        return status;
    pthread_mutex_lock(&engines->lock);
    engine = place_of(engines, pid, true);
    if (engine) {
        engines->count += !engine->used;
        *engine = (struct engine){
            .used = true, .generation = engine->generation + 1, .launch = launch, .source = source};
    } else {
        status = dgo_fail(err, DGO_ELIMIT, "more than %d engines are watched", WATCH_ENGINE_MAX);
    }
    pthread_mutex_unlock(&engines->lock);
    return status;
}

enum dgo_status watch_engines_add(struct watch_engines *engines, uint32_t pid, const char *url,
                                  const char *key, struct dgo_error *err)
{
    return add(engines, 0, pid, url, key, err);
}

/* The lock is held. */
static void drop(struct watch_engines *engines, struct engine *engine)
{
    engine->used = engine->answered = false;
    engine->generation++;
    engines->count--;
}

void watch_engines_remove(struct watch_engines *engines, uint32_t pid)
{
    struct engine *engine;

    pthread_mutex_lock(&engines->lock);
    engine = place_of(engines, pid, false);
    if (engine)
        drop(engines, engine);
    pthread_mutex_unlock(&engines->lock);
}

/* A launch is asked while it is ready. */
static void follow(struct watch_engines *engines, uint32_t launch, const struct launch_event *event)
{
    char url[64];
    struct dgo_error err = {0};

    snprintf(url, sizeof url, "http://127.0.0.1:%u", event->port);
    if (add(engines, launch, (uint32_t)event->pid, url, NULL, &err) != DGO_OK)
        dgo_log(DGO_LOG_WARN, "%s", err.text);
}

static void forget(struct watch_engines *engines, uint32_t launch)
{
    pthread_mutex_lock(&engines->lock);
    for (uint32_t i = 0; i < WATCH_ENGINE_MAX; i++)
        if (engines->engine[i].used && engines->engine[i].launch == launch)
            drop(engines, &engines->engine[i]);
    pthread_mutex_unlock(&engines->lock);
}

void watch_engines_on_launch(struct watch_engines *engines, uint32_t launch,
                             const struct launch_event *event)
{
    if (event->state == LAUNCH_READY && event->pid > 0 && event->port)
        follow(engines, launch, event);
    else if (event->state != LAUNCH_READY)
        forget(engines, launch);
}

uint32_t watch_engines_loads(struct watch_engines *engines, struct dgo_engine_load *loads,
                             uint32_t max)
{
    uint32_t count = 0;

    pthread_mutex_lock(&engines->lock);
    for (uint32_t i = 0; i < WATCH_ENGINE_MAX && count < max; i++)
        if (engines->engine[i].used && engines->engine[i].answered)
            loads[count++] = engines->engine[i].source.track.load;
    pthread_mutex_unlock(&engines->lock);
    return count;
}

bool watch_engines_busy(struct watch_engines *engines)
{
    bool busy = false;

    if (engines->count == 0)
        return false;
    pthread_mutex_lock(&engines->lock);
    for (uint32_t i = 0; i < WATCH_ENGINE_MAX; i++)
        busy |= engines->engine[i].used && engines->engine[i].answered &&
                engines->engine[i].source.track.load.busy > 0;
    pthread_mutex_unlock(&engines->lock);
    return busy;
}

void watch_engines_ask(struct watch_engines *engines)
{
    if (engines->count > 0)
        dgo_strand_kick(engines->strand, DGO_LEVEL_LOW);
}
