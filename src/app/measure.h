/* measure.h - what the resource manager is worth: one recorded workload of real components, with it
 * and without it, at three loads, beside a real engine where one can be had.
 *
 * Loop thread only; takes `length_ns` for each of seven or fourteen phases. */
#ifndef MEASURE_H
#define MEASURE_H

#include "busy.h"

#include <jansson.h>

enum { MEASURE_LEVELS = 3, MEASURE_PHASE_MAX = 2 * MEASURE_LEVELS };

struct measure_times {
    uint32_t count;
    uint64_t p50_ns, p99_ns, worst_ns; /* from the moment it was due to its end */
};

struct measure_phase {
    bool managed;           /* false: no manager, everything in the one thread that asks */
    uint32_t load_permille; /* of one CPU, that the workload would take alone */
    uint32_t offered, done, failed, refused;
    struct measure_times all, of[BUSY_KIND_COUNT];
    uint32_t cpu_permille; /* of one CPU, of this process */
    uint64_t rss_bytes;    /* 0 unknown */
    bool own_vram_known;
    uint64_t own_vram_bytes; /* what drivers say of this process */
    bool vram_known;
    uint64_t vram_bytes; /* used on all cards at the end, by everybody */
    bool tokens_known;
    double tokens_per_second; /* of the engine beside it, median */
};

struct measure {
    uint64_t length_ns;   /* of a phase */
    uint64_t mix_cost_ns; /* of one piece of the mix, alone */
    bool has_engine;
    char no_engine[320]; /* why not; else "" */
    bool vram_before_known;
    uint64_t vram_before_bytes; /* on all cards, before the engine */
    double tokens_alone;        /* the engine with nothing beside it; 0 unknown */
    struct measure_phase phase[MEASURE_PHASE_MAX]; /* by load, first without */
};

struct measure_options {
    uint64_t total_ns;
    /* Called before each phase, with words for people.  May be NULL. */
    void (*tell)(const char *text, void *data);
    void *data;
};

/* The flow has been prepared (flow_prepare).  An engine that cannot be started is no failure; the
 * figures are then without one.  Leaves the manager started as it found it. */
DGO_MUST_CHECK
enum dgo_status measure_run(struct dgo_app *app, struct flow *flow,
                            const struct measure_options *options, struct measure *measure,
                            struct dgo_error *err);

/* The figures as JSON; a new reference, NULL without memory. */
json_t *measure_view(const struct flow *flow, const struct measure *measure);

#endif
