/* picture.h - plans as SVG pictures.  Private to app and the faces; any thread. */
#ifndef PICTURE_H
#define PICTURE_H

#include "dgo_plan.h"
#include "dgo_text.h"

/* Each GPU of the machine as a bar of its memory: what others use, weights, cache, compute,
 * overhead, margin and what is left; the cards that the plan leaves out are shown empty.  Ample
 * room for PICTURE_PLAN_MAX bytes of text; false: it did not fit into `out`. */
enum { PICTURE_PLAN_MAX = 65536 };
bool picture_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                  const struct dgo_plan *plan, struct dgo_text *out);

#endif
