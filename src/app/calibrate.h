/* calibrate.h - times the real engine on one device after the other, under limits, and keeps what
 * each reaches.  Private to app and the faces.
 *
 * llama-bench, which comes with llama-server, runs a model that lies on the device whole: the
 * user's, where it fits, else a probe of the same type (probe_model.h).  Its times become rates by
 * dgo_calibration_solve.  Blocks for as long as the limits allow; runs as the component
 * `profiling`.
 */
#ifndef CALIBRATE_H
#define CALIBRATE_H

#include "dgo_calibration.h"
#include "dgo_store.h"
#include "flow.h"

/* What the measurement may take. */
struct calibrate_limits {
    uint64_t time_ns;    /* of all devices together */
    uint64_t vram_bytes; /* of weights, on each card */
    uint32_t core_count; /* 0: as the engine likes */
    int nice;
};

struct calibrate_result {
    int32_t gpu; /* index in the machine, DGO_CALIBRATE_CPU */
    char device_name[96];
    enum dgo_status status;
    struct dgo_error problem; /* when it failed */
    bool probe;               /* timed with a probe, not with the user's model */
    uint64_t model_bytes;     /* of what was timed */
    struct dgo_timing timing;
    struct dgo_calibration_record record;
    bool kept; /* in the store */
};

struct calibrate_session {
    struct flow *flow;     /* looked, engine found; the model may be NULL */
    uint32_t type;         /* ggml type of the probe's matrices */
    char quantisation[32]; /* its name, or the main one of the user's model */
    char bench[PATH_MAX];  /* llama-bench */
    char folder[256];      /* of the probes; removed by calibrate_done */
    struct calibrate_limits limits;
    uint64_t deadline_ns; /* monotonic */
    uint64_t now_wall_ns;
};

/* Finds llama-bench beside the engine or on the PATH, and makes the folder.  `type_name` (may be
 * NULL) is the probes' type where there is no model; Q4_K else. */
DGO_MUST_CHECK
enum dgo_status calibrate_start(struct flow *flow, const struct calibrate_limits *limits,
                                const char *type_name, struct calibrate_session *session,
                                struct dgo_error *err);

/* One device; `share` of the time that is left may be used.  What went wrong is in the result, and
 * is no reason not to go on with the next. */
void calibrate_device(struct calibrate_session *session, int32_t gpu, double share,
                      struct calibrate_result *result);

void calibrate_done(struct calibrate_session *session);

/* What earlier calibrations say about this machine and engine, into flow->machine; after
 * flow_find_engine.  `text` (may be NULL) is told where the figures come from, "" without any:
 * "calibrated on 2026-11-27 (Q4_K, build 11669)". */
void calibrate_recall(struct flow *flow, char text[160]);

#endif
