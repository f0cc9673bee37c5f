/* dgo_profile.h - judging what was measured: plan against reality, by device and kind.
 *
 * Pure functions on values.  Any thread. */
#ifndef DGO_PROFILE_H
#define DGO_PROFILE_H

#include "dgo_base.h"
#include "dgo_engine.h"
#include "dgo_plan.h"

enum { DGO_COMPARISON_MAX = DGO_GPU_MAX + 1 }; /* devices, and the host last */

struct dgo_compared {
    bool known; /* the engine logged it */
    /* The planned bytes print as the figure that the engine printed (0.01 MiB).  Where a figure is
     * the sum of several that were printed, each but the first may add one hundredth: a context has
     * up to two (cache and sliding-window cache or state), the host one for each of its buffer
     * types.  A planned 0 that was not logged is equal. */
    bool equal;
    uint64_t planned_bytes, measured_bytes;
};

struct dgo_comparison_row {
    char name[32]; /* "CUDA0"; "host" for the last row */
    bool is_host;
    bool unplanned;     /* the engine uses a device that the plan does not know */
    uint32_t gpu_index; /* in the machine, when !is_host && !unplanned */
    struct dgo_compared weights, context, compute;
    struct dgo_compared output; /* logits; always host memory */
    /* Outside the engine's books (dgo_overhead.h): known where the driver was asked, by the caller;
     * never judged. */
    struct dgo_compared overhead;
    int64_t drift_bytes; /* of the overhead: now, less than as it became ready */
};

/* The cache of an engine that gives all that is left to one pool of blocks. */
struct dgo_compared_pool {
    bool known;              /* the engine said how large it is */
    uint64_t planned_tokens; /* of all requests together; 0: no such engine */
    uint64_t measured_tokens;
    double planned_requests, measured_requests; /* of full length, side by side; 0: not said */
};
/* A pool smaller than planned by more is not as planned: what a batch needs beside it is a bound.
 */
enum { DGO_POOL_SHORT_PERCENT = 5 };

struct dgo_comparison {
    uint32_t row_count;
    struct dgo_comparison_row row[DGO_COMPARISON_MAX];
    /* Over all devices: every figure equal.  The host is shown, not judged: a mapped model file is
     * logged with whatever lies between the tensors that are used. */
    bool weights_equal, context_equal;
    struct dgo_compared_pool pool;
    bool as_planned;              /* every figure equal; the pool, where there is one */
    bool compute_known;           /* of every device */
    uint64_t compute_worst_bytes; /* largest |planned - measured| of a device's compute buffer */
    char sentence[256];           /* the verdict for people */
};

/* Host memory under all its names (CPU, CPU_Mapped, CPU_REPACK, CUDA_Host, ...) is one row. */
void dgo_compare(const struct dgo_estimate *estimate, const struct dgo_report *report,
                 struct dgo_comparison *comparison);

/* After dgo_compare, for a plan of shards and stages: there the pool is judged and the verdict is
 * about it; figures of the cards are shown. */
void dgo_compare_pool(const struct dgo_plan *plan, const struct dgo_report *report,
                      struct dgo_comparison *comparison);

#endif
