/* cut.h - private to the plan module: how -sm tensor cuts every tensor and cache over the cards.
 *
 * llama.cpp makes one device of all cards (ggml-backend-meta.cpp) and asks for each tensor which
 * dimension is cut where (llama-model.cpp, llama_meta_device_get_split_state); this repeats its
 * answers.  FORMULAS "Tensor split". */
#ifndef PLAN_CUT_H
#define PLAN_CUT_H

#include "memory.h"

struct cut_part {
    uint64_t weights_bytes, context_bytes;
};

/* Why the engine would not cut this model with these settings, a sentence; NULL: it would. */
const char *cut_refusal(const struct dgo_model *model, const struct dgo_settings *settings,
                        const struct dgo_engine_rules *rules);

/* What each of the settings' devices gets of the layers from `first_layer` on (the output layer,
 * layer_count, with them); -ts says the shares, none or all zero: equal ones.  Fails with
 * DGO_EUNSUPPORTED where the engine would abort: a matrix it measures others by is missing, or a
 * fused one has another width. */
DGO_MUST_CHECK
enum dgo_status cut_make(const struct dgo_model *model, const struct dgo_settings *settings,
                         const struct plan_memory *memory, uint32_t first_layer,
                         struct cut_part part[DGO_GPU_MAX], struct dgo_error *err);

#endif
