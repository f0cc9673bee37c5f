/* whole.h - private to the plan module: compute buffers of a whole placement, by building the
 * engine's graph and running its scheduler over it. */
#ifndef PLAN_WHOLE_H
#define PLAN_WHOLE_H

#include "memory.h"

struct whole_placement {
    const struct dgo_settings *settings;
    const struct plan_memory *memory;
    const int32_t *layer_device; /* of the repeating layers and, last, of the output; ASSIGN_CPU */
    uint32_t device_count;       /* that the engine has */
    bool pipeline;
    bool all_on_devices; /* every layer of the model, and its output */
};

/* What each device and the host reserve.  False, with nothing written: this model, build or setting
 * is not described so, or memory ran out. */
DGO_MUST_CHECK
bool whole_compute_bytes(const struct whole_placement *placement,
                         uint64_t device_bytes[DGO_GPU_MAX], uint64_t *host_bytes);

/* The same of the context in which the model's own next-token block drafts; `layer_device` has the
 * device of the block and that of the output, all else is the model's. */
DGO_MUST_CHECK
bool whole_draft_bytes(const struct whole_placement *placement,
                       const struct dgo_engine_rules *rules, uint64_t device_bytes[DGO_GPU_MAX],
                       uint64_t *host_bytes);

/* What a drawn buffer of a draft that is fed may be short of on a device; 0: nothing.  EAGLE3's was
 * by E in one of 21 launches, a corrected block of DSpark's by 5 rows for each slot. */
uint64_t whole_fed_unsure_bytes(const struct plan_memory *memory);

#endif
