/* history.h - a launch that became ready, into the store.  Private to app. */
#ifndef HISTORY_H
#define HISTORY_H

#include "dgo_profile.h"
#include "flow.h"

/* Writes on the BLOCKING lane, since a store may wait for another process for seconds; copies what
 * may change until then.  The flow's model and store must live until the resource manager has
 * stopped.  Nothing happens without a store; a failure is logged. */
void history_start(struct flow *flow, const struct dgo_comparison *comparison,
                   const struct dgo_report *report);

#endif
