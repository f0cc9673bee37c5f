/* plan_cache.h - plans that were made before, for the same model, memory, wish and engine build.
 *
 * One cache for the process; any thread.  The largest context of a machine is searched for once,
 * however often a face moves a slider back and forth.  Private to app. */
#ifndef PLAN_CACHE_H
#define PLAN_CACHE_H

#include "context_cache.h"
#include "dgo_plan.h"

enum { PLAN_CACHE_ENTRIES = 32 };

/* Everything that a plan follows from.  Not in it: the cards' temperature, clocks, power and use,
 * which change with every look and decide nothing. */
void plan_cache_key(const struct dgo_machine *machine, const struct dgo_model *model,
                    const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                    struct context_key *key);

/* As dgo_plan_make, which it calls as the optimizer where the plan is not there yet. */
enum dgo_status plan_cache_get(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_intent *intent,
                               const struct dgo_engine_rules *rules, struct dgo_plan *plan,
                               enum context_source *source, struct dgo_error *err) DGO_MUST_CHECK;

void plan_cache_read_stats(struct context_cache_stats *stats);

#endif
