/* watch.h - the sampler in the running program: its looks on the bus and in the VRAM ledger.
 * Private to app and the faces.
 *
 * Each look, well or not, publishes TOPIC_GPU_SAMPLE (the newest wins); so does a driver that
 * stopped to answer, once.  The event is small: who wants the figures calls watch_latest. */
#ifndef WATCH_H
#define WATCH_H

#include "dgo_app.h"
#include "dgo_sampler.h"

struct watch_options {
    struct dgo_gpu_options gpu;
    uint64_t interval_ns;    /* 0: DGO_SAMPLER_INTERVAL_NS */
    uint64_t margin_bytes;   /* of each GPU, for the ledger (vram_observe) */
    dgo_sample_fn on_sample; /* every look, on the sampler's thread, before it is published */
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

/* After it nothing is published any more.  Loop thread; accepts NULL. */
void watch_stop(struct watch *watch);

#endif
