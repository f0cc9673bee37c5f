/* dgo_calibration.h - from an engine's timings to what a card reaches.
 *
 * A model that lies on one device whole is timed twice: tokens one by one, and a prompt at once.
 * With the time of a layer's launches known (from a model too small for anything else to count),
 * what is left of a token's time is reading, and what is left of a prompt's is computing.  The
 * planner's speed model (docs/FORMULAS.md, "Speed") then says the same times again.
 *
 * Pure; any thread. */
#ifndef DGO_CALIBRATION_H
#define DGO_CALIBRATION_H

#include "dgo_gpu.h"
#include "dgo_model.h"
#include "dgo_plan.h"

/* One model on one device; times of one token and of the whole prompt. */
struct dgo_timing {
    uint32_t generated_tokens, prompt_tokens; /* how long the runs were */
    double token_s, prompt_s;                 /* 0: not measured */
};

/* What a device reaches; 0: not known. */
struct dgo_calibration {
    double layer_launch_s;
    double decode_bytes_per_s;
    double prompt_flops;
    bool overhead_known;
    uint64_t overhead_bytes; /* on the card, outside the engine's books */
};

enum { DGO_CALIBRATE_CPU = -1 };

/* Launches of one layer, from a model whose weights take no time to read: a token's time shared by
 * its layers and the output. */
double dgo_calibration_launch_s(const struct dgo_model *tiny, const struct dgo_timing *timing);

/* Fills decode_bytes_per_s and prompt_flops from `calibration->layer_launch_s` (0: the constant of
 * the speed model).  `gpu` is an index of the machine or DGO_CALIBRATE_CPU.  DGO_EINVAL where the
 * launches take most of the time: the model is too small to tell how fast the device reads; and
 * where it would read faster than its memory can. */
DGO_MUST_CHECK
enum dgo_status dgo_calibration_solve(const struct dgo_machine *machine, int32_t gpu,
                                      const struct dgo_model *model,
                                      const struct dgo_engine_rules *rules,
                                      const struct dgo_timing *timing,
                                      struct dgo_calibration *calibration, struct dgo_error *err);

/* Makes the machine say what was measured: later plans use it in the place of published peaks. */
void dgo_calibration_apply(struct dgo_machine *machine, int32_t gpu,
                           const struct dgo_calibration *calibration);

/* Ready-made settings of a model alone on that card, for its command and its size; `ctx_tokens` is
 * padded as ever. */
void dgo_calibration_settings(const struct dgo_model *model, uint32_t gpu, uint32_t ctx_tokens,
                              struct dgo_settings *settings);

#endif
