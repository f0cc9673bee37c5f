/* flow_engine.h - the arrows of flow.h that talk to an engine's binary, as they run inside their
 * job.  Private to app. */
#ifndef FLOW_ENGINE_H
#define FLOW_ENGINE_H

#include "flow.h"

/* Sets flow->engine by --for, the name of --engine, or the name of its binary; llama.cpp
 * otherwise. */
DGO_MUST_CHECK
enum dgo_status flow_engine_choose(struct flow *flow, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status flow_engine_find(struct flow *flow, bool needed, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status flow_engine_check(struct flow *flow, struct dgo_error *err);

/* Whether the engine, in the environment of that command, sees each device of the estimate. */
DGO_MUST_CHECK
enum dgo_status flow_engine_sees(const struct flow *flow, const struct dgo_command *command,
                                 const char *const *environment,
                                 const struct dgo_estimate *estimate, struct dgo_error *err);

#endif
