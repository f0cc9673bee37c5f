/* history.h - a launch that became ready, into the store.  Private to app. */
#ifndef HISTORY_H
#define HISTORY_H

#include "dgo_profile.h"
#include "flow.h"

/* Nothing happens without a store; a failure is logged, and returned for the counters only. */
enum dgo_status history_add(struct flow *flow, const struct dgo_comparison *comparison,
                            const struct dgo_report *report);

#endif
