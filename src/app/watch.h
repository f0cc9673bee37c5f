/* watch.h - the sampler in the running program: its looks on the bus and in the VRAM ledger, and
 * beside them what running engines say of their work.  Private to app and the faces.
 *
 * Each look, well or not, publishes TOPIC_GPU_SAMPLE (the newest wins); so does a driver that
 * stopped to answer, once.  The event is small: who wants the figures calls watch_latest.  Engines
 * are asked at each look, one after the other, on the BLOCKING lane: one that does not answer
 * delays neither looks nor callers.  Each answer publishes TOPIC_ENGINE_LOAD.  The launches of this
 * program are found by TOPIC_LAUNCH_STATE and need not be added. */
#ifndef WATCH_H
#define WATCH_H

#include "dgo_app.h"
#include "dgo_sampler.h"

/* An engine has told of its work at that time (monotonic).  In a job of the BLOCKING lane. */
typedef void (*watch_load_fn)(const struct dgo_engine_load *load, uint64_t at_ns, void *data);

enum { WATCH_ENGINE_MAX = 32 };

struct watch_options {
    struct dgo_gpu_options gpu;
    uint64_t interval_ns;    /* 0: DGO_SAMPLER_INTERVAL_NS */
    uint64_t margin_bytes;   /* of each GPU, for the ledger (vram_observe) */
    dgo_sample_fn on_sample; /* every look, on the sampler's thread, before it is published */
    watch_load_fn on_load;   /* every answer of an engine */
    void *data;
};

struct watch;

/* Loop thread.  A machine without a GPU is no failure: it is a sample with a `problem`. */
DGO_MUST_CHECK
enum dgo_status watch_start(struct dgo_app *app, const struct watch_options *options,
                            struct watch **watch, struct dgo_error *err);

/* The newest look with its age.  Any thread. */
void watch_latest(struct watch *watch, struct dgo_sample *sample);

/* For dgo_sampler_wait, _set_interval and _look_now.  Any thread. */
struct dgo_sampler *watch_sampler(struct watch *watch);

/* Asks the engine at `url` ("http://127.0.0.1:8080") from now on; the same pid again is another
 * address of the same engine.  Any thread.  DGO_EUSAGE, DGO_ELIMIT. */
DGO_MUST_CHECK
enum dgo_status watch_add_engine(struct watch *watch, uint32_t pid, const char *url,
                                 const char *key, struct dgo_error *err);
void watch_remove_engine(struct watch *watch, uint32_t pid);

/* How often the cards are looked at, and why: half as often while an engine streams on a machine
 * where the resource manager finds it tight (dgo_budget_facts).  Any thread. */
struct watch_pace {
    uint64_t interval_ns, normal_ns;
    bool slowed;
    uint64_t change_count; /* ever */
    struct dgo_sampler_counts counts;
    bool stale;      /* the look under way lasts too long, or the driver is away */
    uint64_t age_ns; /* of the newest readings */
};
void watch_read_pace(struct watch *watch, struct watch_pace *pace);

/* The newest answers of engines that answer; returns how many.  Any thread. */
uint32_t watch_loads(struct watch *watch, struct dgo_engine_load *loads, uint32_t max);

/* After it nothing is published any more.  Loop thread; accepts NULL. */
void watch_stop(struct watch *watch);

#endif
