/* context_table.h - the context calculator: the longest context by cache type and slots, and what
 * shorter ones would be like.  Private to app and the faces; any thread.
 *
 * Every cell is a plan of its own (plan_cache.h), without alternatives: what was asked before is
 * not computed again, and what is being computed is waited for. */
#ifndef CONTEXT_TABLE_H
#define CONTEXT_TABLE_H

#include "dgo_plan.h"

enum { CONTEXT_SLOTS_MAX = 5, CONTEXT_TYPES_MAX = 4, CONTEXT_SIZES_MAX = 12 };

/* One plan, in short. */
struct context_cell {
    bool fits;
    uint32_t ctx_tokens; /* of each slot */
    bool host;           /* layers, experts or cache in host memory */
    uint32_t ubatch_tokens;
    double decode_tokens_per_second, prefill_tokens_per_second;
};

struct context_table {
    uint32_t type_count;
    enum dgo_kv_type type[CONTEXT_TYPES_MAX];
    /* The longest context on the GPUs alone, a multiple of 256. */
    uint32_t slots_count;
    uint32_t slots[CONTEXT_SLOTS_MAX];
    struct context_cell longest[CONTEXT_SLOTS_MAX][CONTEXT_TYPES_MAX];
    /* Given contexts with the intent's slots; host memory may help. */
    uint32_t size_count;
    uint32_t size[CONTEXT_SIZES_MAX];
    struct context_cell at[CONTEXT_SIZES_MAX][CONTEXT_TYPES_MAX];
    uint32_t cache_hits; /* cells that were known */
};

/* Types, slots and sizes follow from the model and the intent.  A cell that cannot be (a cache type
 * the model's heads do not divide into) is one that does not fit; only what no cell could do is a
 * failure: DGO_ENOGPU, DGO_EUNSUPPORTED, DGO_ENOMEM. */
DGO_MUST_CHECK
enum dgo_status context_table_make(const struct dgo_machine *machine, const struct dgo_model *model,
                                   const struct dgo_intent *intent,
                                   const struct dgo_engine_rules *rules,
                                   struct context_table *table, struct dgo_error *err);

#endif
