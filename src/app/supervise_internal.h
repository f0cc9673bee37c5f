/* supervise_internal.h - a launch as its two files see it: what happens to it (supervise.c), and
 * its process being started or taken over (supervise_engine.c). */
#ifndef SUPERVISE_INTERNAL_H
#define SUPERVISE_INTERNAL_H

#include "supervise.h"

struct supervise {
    struct dgo_app *app;
    struct flow *flow;
    struct supervise_options options;
    enum launch_state state;
    uint16_t port;
    uint32_t starts, restarts, port_tries;
    struct dgo_process *process;
    struct dgo_health *health;
    sd_event_source *timer; /* back-off, or the grace after health */
    bool healthy, in_grace; /* in_grace: loaded and healthy, listening not seen in the log */
    uint64_t ready_ns;      /* monotonic; 0: never */
    struct dgo_report report;
    struct dgo_comparison comparison;
    bool was_ready, adopted;
    struct learn *learn; /* NULL: nothing is learnt */
    bool learning;       /* all but ready: what the cards hold is looked at */
    struct engine_witness witness;
    struct dgo_error failure; /* status DGO_OK: none */
};

/* ---- supervise.c ---- */

/* The state it is in from now on, told to the bus with a sentence. */
void supervise_enter(struct supervise *launch, enum launch_state state, const char *fmt, ...)
    DGO_PRINTF(3, 4);
void supervise_on_line(struct dgo_process *process, enum dgo_stream stream, const char *line,
                       size_t length, bool partial, void *launch);
void supervise_on_exit(struct dgo_process *process, const struct dgo_exit *end, void *launch);
void supervise_on_healthy(struct dgo_health *health, void *launch);
void supervise_on_ready_timeout(struct dgo_health *health, const char *last_error, void *launch);

/* ---- supervise_engine.c ---- */

/* Asks for admission, chooses a port, starts process and health check: LAUNCH_LOADING.  A failure
 * may leave the process running. */
DGO_MUST_CHECK
enum dgo_status supervise_start_engine(struct supervise *launch, struct dgo_error *err);
/* The same for one that runs already. */
DGO_MUST_CHECK
enum dgo_status supervise_adopt_engine(struct supervise *launch, struct dgo_error *err);

#endif
