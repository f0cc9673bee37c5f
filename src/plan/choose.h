/* choose.h - private to the plan module: the order in which what the user left open gives way:
 * micro-batch, cache type, context, host memory. */
#ifndef PLAN_CHOOSE_H
#define PLAN_CHOOSE_H

#include "search.h"

struct planning {
    const struct dgo_model *model;
    const struct dgo_intent *intent;
    struct search_request request; /* defaults filled in; context as asked for */
    bool longest;                  /* the most context that fits is wanted */
    bool ctx_free;                 /* the planner may choose a shorter context than its default */
    bool cpu_allowed;
    bool cache_open;  /* an 8-bit cache may be taken */
    bool ubatch_open; /* another micro-batch may be taken */
    struct search_answer answer;
};

/* What is asked for and what is open.  Fails as intent_request. */
DGO_MUST_CHECK
enum dgo_status choose_begin(const struct dgo_machine *machine, const struct dgo_model *model,
                             const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                             struct planning *planning, struct dgo_error *err);

/* The placement for the intent, in planning->answer. */
DGO_MUST_CHECK
enum dgo_status choose_placement(struct planning *planning, bool *found, struct dgo_error *err);

/* Where nothing was found: the placement that comes nearest, in planning->answer, and what was
 * asked for it.  Its estimate may say that it fits: the search had to take a bound for a device
 * that in the end needed less. */
DGO_MUST_CHECK
enum dgo_status choose_nearest(struct planning *planning, struct search_request *request,
                               struct dgo_error *err);

/* One attempt at exactly this; keeps the answer when it is found. */
DGO_MUST_CHECK
enum dgo_status choose_try_at(struct planning *planning, uint32_t ctx, enum dgo_kv_type cache,
                              enum search_room room, bool *found, struct dgo_error *err);

/* Whether experts may go to host memory while all layers are on GPUs. */
bool choose_experts_allowed(const struct planning *planning);

/* The longest context in that room with this cache, and its placement. */
DGO_MUST_CHECK
enum dgo_status choose_try_longest(struct planning *planning, uint32_t least, uint32_t most,
                                   enum dgo_kv_type cache, enum search_room room, bool *found,
                                   struct dgo_error *err);

/* Layers or experts in host memory. */
DGO_MUST_CHECK
enum dgo_status choose_try_host(struct planning *planning, uint32_t ctx, bool *found,
                                struct dgo_error *err);

#endif
