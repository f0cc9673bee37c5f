/* flow_estimate.h - from a command line of the engine to an estimate.  Private to flow. */
#ifndef FLOW_ESTIMATE_H
#define FLOW_ESTIMATE_H

#include "flow.h"

/* After the machine, the model and the engine's rules are known.  Reads the files that the flags
 * name (draft model, projector, adapters). */
DGO_MUST_CHECK enum dgo_status flow_estimate_flags(struct flow *flow, const char *const *args,
                                                   uint32_t arg_count,
                                                   struct dgo_estimate *estimate,
                                                   struct dgo_error *err);

#endif
