/* watch.c - publishes the sampler's looks, and that a driver has stopped to answer. */
#include "watch.h"

#include "dgo_log.h"
#include "dgo_resource.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "pace.h"
#include "vram.h"
#include "watch_engines.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct watch {
    struct dgo_bus *bus;
    struct dgo_sampler *sampler;
    sd_event_source *timer;
    uint64_t margin_bytes;
    dgo_sample_fn on_sample;
    void *data;
    _Atomic bool told_stale; /* the last event said so */
    struct watch_engines *engines;
    struct dgo_subscription launches;
    pthread_mutex_t lock; /* of what follows */
    struct pace pace;
    uint64_t interval_ns;
};

static const uint64_t patience_ns = DGO_NS_PER_S;
static const uint64_t check_us = 1000 * 1000;

static void publish(struct watch *watch, const struct sample_event *event)
{
    watch->told_stale = event->stale;
    (void)dgo_bus_publish(watch->bus, TOPIC_GPU_SAMPLE, 0, event); /* closing: nobody listens */
}

/* What a card holds decides what may be promised; a described machine has no memory to promise. */
static void tell_ledger(const struct watch *watch, const struct dgo_sample *sample)
{
    struct dgo_error err = {0};

    if (sample->stale || !dgo_machine_is_live(&sample->machine))
        return;
    if (vram_observe(&sample->machine, watch->margin_bytes, &err) != DGO_OK)
        dgo_log(DGO_LOG_DEBUG, "ledger: %s", err.text);
}

static void keep_pace(struct watch *watch)
{
    struct dgo_budget_facts facts;
    const bool streaming = watch_engines_busy(watch->engines);
    uint64_t interval_ns;
    bool changed;

    dgo_resource_budget(&facts);
    pthread_mutex_lock(&watch->lock);
    interval_ns = pace_look(&watch->pace, facts.tight, streaming);
    changed = interval_ns != watch->interval_ns;
    watch->interval_ns = interval_ns;
    pthread_mutex_unlock(&watch->lock);
    if (changed)
        dgo_sampler_set_interval(watch->sampler, interval_ns);
}

static void on_look(const struct dgo_sample *sample, void *data)
{
    struct watch *watch = data;

    tell_ledger(watch, sample);
    if (watch->on_sample)
        watch->on_sample(sample, watch->data);
    publish(watch, &(struct sample_event){.sequence = sample->sequence,
                                          .wall_ns = sample->wall_ns,
                                          .gpu_count = sample->machine.gpu_count,
                                          .stale = sample->stale});
    watch_engines_ask(watch->engines);
    keep_pace(watch);
}

/* A stuck thread cannot tell that it is stuck. */
static int on_timer(sd_event_source *source, uint64_t usec, void *data)
{
    struct watch *watch = data;
    uint64_t age_ns = 0, sequence = 0;
    const bool stale = dgo_sampler_is_stale(watch->sampler, &age_ns, &sequence);

    if (stale && sequence > 0 && !watch->told_stale)
        publish(watch, &(struct sample_event){.sequence = sequence, .stale = true});
    (void)sd_event_source_set_time(source, usec + check_us);
    return 0;
}

static enum dgo_status on_launch(const struct dgo_event *event, void *data)
{
    watch_engines_on_launch(((struct watch *)data)->engines, event->source, event->payload);
    return DGO_OK;
}

static enum dgo_status follow_launches(struct watch *watch, struct dgo_error *err)
{
    const struct dgo_subscriber subscriber = {.name = "watch",
                                              .topics = DGO_TOPIC_BIT(TOPIC_LAUNCH_STATE),
                                              .fn = on_launch,
                                              .data = watch};

    return dgo_bus_subscribe(watch->bus, &subscriber, &watch->launches, err);
}

enum dgo_status watch_start(struct dgo_app *app, const struct watch_options *options,
                            struct watch **watch, struct dgo_error *err)
{
    struct watch *made = calloc(1, sizeof *made);
    enum dgo_status status = DGO_OK;
    int result;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->bus = app->bus;
    made->margin_bytes = options->margin_bytes;
    made->on_sample = options->on_sample;
    made->data = options->data;
    made->interval_ns = made->pace.normal_ns =
        options->interval_ns ? options->interval_ns : DGO_SAMPLER_INTERVAL_NS;
    pthread_mutex_init(&made->lock, NULL);
    result = sd_event_add_time_relative(app->loop, &made->timer, CLOCK_MONOTONIC, check_us, 100000,
                                        on_timer, made);
    if (result >= 0)
        result = sd_event_source_set_enabled(made->timer, SD_EVENT_ON);
    if (result < 0)
        status = dgo_fail_errno(err, DGO_EIO, -result, "the event loop has no timer for the GPUs");
    if (status == DGO_OK)
        status = watch_engines_new(app->bus, options->on_load, options->data, &made->engines, err);
    if (status == DGO_OK)
        status = follow_launches(made, err);
    if (status == DGO_OK)
        status =
            dgo_sampler_start(&(struct dgo_sampler_options){.gpu = options->gpu,
                                                            .interval_ns = options->interval_ns,
                                                            .on_sample = on_look,
                                                            .data = made},
                              &made->sampler, err);
    if (status != DGO_OK) {
        watch_stop(made);
        return status;
    }
    *watch = made;
    return DGO_OK;
}

void watch_latest(struct watch *watch, struct dgo_sample *sample)
{
    dgo_sampler_latest(watch->sampler, sample);
}

struct dgo_sampler *watch_sampler(struct watch *watch)
{
    return watch->sampler;
}

enum dgo_status watch_add_engine(struct watch *watch, uint32_t pid, const char *url,
                                 const char *key, struct dgo_error *err)
{
    return watch_engines_add(watch->engines, pid, url, key, err);
}

void watch_remove_engine(struct watch *watch, uint32_t pid)
{
    watch_engines_remove(watch->engines, pid);
}

void watch_read_pace(struct watch *watch, struct watch_pace *pace)
{
    pthread_mutex_lock(&watch->lock);
    *pace = (struct watch_pace){.interval_ns = watch->interval_ns,
                                .normal_ns = watch->pace.normal_ns,
                                .slowed = watch->pace.slowed,
                                .change_count = watch->pace.change_count};
    pthread_mutex_unlock(&watch->lock);
    dgo_sampler_count(watch->sampler, &pace->counts);
    pace->stale = dgo_sampler_is_stale(watch->sampler, &pace->age_ns, NULL);
}

uint32_t watch_loads(struct watch *watch, struct dgo_engine_load *loads, uint32_t max)
{
    return watch_engines_loads(watch->engines, loads, max);
}

void watch_stop(struct watch *watch)
{
    if (!watch)
        return;
    sd_event_source_disable_unref(watch->timer);
    if (!dgo_sampler_stop(watch->sampler, patience_ns))
        dgo_log(DGO_LOG_WARN, "the driver does not answer; its thread is left behind");
    (void)dgo_bus_unsubscribe(watch->bus, watch->launches, NULL);
    watch_engines_free(watch->engines);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
