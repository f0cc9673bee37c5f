/* measured.h - what earlier launches of the same binary measured, in the place of what is
 * calculated. Private to app. */
#ifndef MEASURED_H
#define MEASURED_H

#include "flow.h"

/* Replaces the compute figures of `estimate` by those of the newest launch of the flow's binary
 * with the flow's model and exactly these settings, if the store has one, and judges again.  A
 * launch on simulated cards counts for a simulated machine only.  The store must not be in use. */
void measured_use(struct flow *flow, const struct dgo_settings *settings,
                  struct dgo_estimate *estimate);

#endif
