/* flow_wishes.h - private to app: options that only some engines have an answer to. */
#ifndef FLOW_WISHES_H
#define FLOW_WISHES_H

#include "flow.h"

/* DGO_EUSAGE names the first option that the flow's engine has no answer to. */
DGO_MUST_CHECK enum dgo_status flow_check_wishes(const struct flow *flow, struct dgo_error *err);

#endif
