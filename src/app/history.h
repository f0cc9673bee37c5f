/* history.h - a launch that became ready, into the store.  Private to app. */
#ifndef HISTORY_H
#define HISTORY_H

#include "dgo_profile.h"
#include "dgo_store.h"
#include "flow.h"

/* Writes on the BLOCKING lane, since a store may wait for another process for seconds; copies what
 * may change until then.  The flow's model and store must live until history_settle.  Nothing
 * happens without a store; a failure is logged.  `overhead` is what the launch took of
 * `overhead_count` cards outside the engine's books. */
void history_start(struct flow *flow, const struct dgo_comparison *comparison,
                   const struct dgo_report *report, const struct dgo_overhead_record *overhead,
                   uint32_t overhead_count);

/* The launch of `overhead` holds another amount than was written. */
void history_drift(struct flow *flow, const struct dgo_overhead_record *overhead);

/* Waits until nothing is being written any more.  Any thread but a worker's. */
void history_settle(void);

#endif
