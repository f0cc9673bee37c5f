/* bench_run.h - one run of llama-bench on one device, and its times.  Private to app. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "dgo_arena.h"
#include "dgo_calibration.h"
#include "flow.h"

/* How the engine is shown one device alone, as a launch of a plan would. */
struct bench_device {
    char name[24]; /* "CUDA0"; "none" for the CPU */
    const char *const *environment;
    struct dgo_arena arena; /* of the environment */
    struct dgo_command command;
    bool command_made;
};

DGO_MUST_CHECK
enum dgo_status bench_device_make(struct flow *flow, const struct dgo_model *model, int32_t gpu,
                                  struct bench_device *device, struct dgo_error *err);
void bench_device_done(struct bench_device *device);

struct bench_request {
    const char *bench, *model_path;
    const struct bench_device *device;
    uint32_t prompt_tokens, generated_tokens; /* 0: that half is left out */
    uint32_t repeats;
    uint64_t timeout_ns;
    int nice;
    uint32_t core_count;
};

/* Medians over the repeats.  DGO_ETIMEOUT; DGO_ECHILD with the last thing it said. */
DGO_MUST_CHECK
enum dgo_status bench_run(const struct bench_request *request, struct dgo_timing *timing,
                          struct dgo_error *err);

/* The times in what llama-bench wrote (a JSON object a line, between lines of log); false: none. */
bool bench_read(const char *output, struct dgo_timing *timing);

#endif
