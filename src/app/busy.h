/* busy.h - the work that components really do, on one fixed input, as calls that can be made again
 * and again: what `bench resources` and tests load the resource manager with.
 *
 * busy_open is the caller's; busy_do may run in any number of threads at a time. */
#ifndef BUSY_H
#define BUSY_H

#include "dgo_app.h"
#include "flow.h"

/* X(ID, component, weight in the mix) */
#define BUSY_TABLE(X)                                                                              \
    X(OPTIMIZER, OPTIMIZER, 2)                                                                     \
    X(ESTIMATE, ESTIMATE, 4)                                                                       \
    X(VIEW, VIEW_FORMATTING, 12)                                                                   \
    X(PREVIEW, COMMAND_PREVIEW, 8)                                                                 \
    X(MODEL, MODEL_READING, 4)                                                                     \
    X(TIMELINE, TIMELINE, 16)                                                                      \
    X(LEAK, LEAK_ANALYSIS, 2)                                                                      \
    X(BATCH, BATCH, 1)

enum busy_kind {
#define X(id, component, weight) BUSY_##id,
    BUSY_TABLE(X)
#undef X
        BUSY_KIND_COUNT
};

struct busy;

enum component busy_component(enum busy_kind kind);

/* A flow whose model was read and planned for, with its command; it outlives the busy. */
DGO_MUST_CHECK
enum dgo_status busy_open(struct flow *flow, struct busy **busy, struct dgo_error *err);
void busy_close(struct busy *busy); /* accepts NULL */

/* Once; a status other than DGO_OK is a defect. */
enum dgo_status busy_do(struct busy *busy, enum busy_kind kind);

/* A workload as it was recorded once: which component is asked when. */
struct busy_event {
    uint64_t at_ns; /* from the beginning */
    enum busy_kind kind;
};

/* Fills `event` with arrivals at random (Poisson, `per_second` of them, kinds by weight) that are
 * the same for the same seed, up to `length_ns` or `max`; returns how many. */
uint32_t busy_schedule(uint64_t seed, double per_second, uint64_t length_ns,
                       struct busy_event *event, uint32_t max);

#endif
