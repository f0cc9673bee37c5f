/* intent.h - private to the plan module: the defaults behind an intent, and the longest context.
 */
#ifndef PLAN_INTENT_H
#define PLAN_INTENT_H

#include "search.h"

#include "dgo_units.h"

enum {
    INTENT_CTX_STEP = 256,      /* the engine pads each slot's context to it */
    INTENT_CTX_DEFAULT = 8192,  /* for each slot, when the user does not say and training allows */
    INTENT_CTX_FLOOR = 4096,    /* shorter only where asked for, or where nothing else is left:
                                 * what the engine's own --fit keeps, too */
    INTENT_CTX_UNKNOWN = 32768, /* the cap when the model does not say how it was trained */
    INTENT_BATCH_DEFAULT = 2048,
    INTENT_UBATCH_DEFAULT = 512,
};

/* Left free on each GPU: for fragmentation, growing scratch pools and a desktop's windows; the
 * greater of a floor and a share.  `safe` expects somebody else on the card. */
#define INTENT_MARGIN_BYTES         (256 * DGO_MIB)
#define INTENT_MARGIN_PERMILLE      20
#define INTENT_SAFE_MARGIN_BYTES    DGO_GIB
#define INTENT_SAFE_MARGIN_PERMILLE 80

/* The request that all searches for this intent start from: everything but context and cache types
 * is settled.  Fails with DGO_ENOGPU or DGO_EINVAL, where no placement could help. */
DGO_MUST_CHECK
enum dgo_status intent_request(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_intent *intent,
                               const struct dgo_engine_rules *rules, struct search_request *request,
                               struct dgo_error *err);

/* Whether the plan may go to an 8-bit cache by itself. */
bool intent_cache_open(const struct dgo_intent *intent, const struct dgo_settings *settings);
void intent_set_cache(struct search_request *request, enum dgo_kv_type key, enum dgo_kv_type value);

/* Context of each slot: the longest that is worth planning, a multiple of the step. */
uint32_t intent_ctx_cap(const struct dgo_model *model);
uint32_t intent_ctx_default(const struct dgo_model *model);
uint32_t intent_ctx_floor(const struct dgo_model *model);
void intent_set_ctx(struct search_request *request, uint32_t ctx_per_slot);
uint32_t intent_ctx(const struct dgo_settings *settings);

/* The longest context for each slot within [least, most] (multiples of the step) that fits; 0 when
 * not even `least` does.  More context never needs less memory, so halving finds it. */
DGO_MUST_CHECK
enum dgo_status intent_longest_ctx(const struct search_request *request, uint32_t least,
                                   uint32_t most, uint32_t *longest, struct dgo_error *err);

#endif
