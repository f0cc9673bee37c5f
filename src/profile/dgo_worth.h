/* dgo_worth.h - whose memory could be had, and what memory is worth to the model that wants it.
 *
 * Pure; any thread. */
#ifndef DGO_WORTH_H
#define DGO_WORTH_H

#include "dgo_difference.h"
#include "dgo_model.h"

/* 0 bytes: unknown. */
struct dgo_worth {
    uint64_t token_bytes; /* KV cache of a token at f16: dgo_model_kv_bytes_per_token */
    uint64_t layer_bytes; /* weights of a layer, the mean of all */
};

struct dgo_worth dgo_worth_of(const struct dgo_model *model);

/* How much of it so many MiB are; NAN: unknown. */
double dgo_worth_tokens(const struct dgo_worth *worth, double mib);
double dgo_worth_layers(const struct dgo_worth *worth, double mib);

/* A process that is no engine and holds memory at the end. */
struct dgo_freeable {
    uint32_t gpu_index, pid;
    char name[DGO_PROFILER_NAME_MAX];
    bool role_known; /* else it may be an engine: nobody said what it is */
    enum dgo_process_role role;
    double used_mib;
};

/* The largest first, those of unknown role last; less than 1 MiB is left out.  Of a snapshot, so
 * that what is freed and what is compared are the same figures.  Returns how many. */
uint32_t dgo_freeable_find(const struct dgo_snapshot *snapshot, struct dgo_freeable *rows,
                           uint32_t max);

#endif
