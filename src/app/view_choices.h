/* view_choices.h - what could be instead of a plan, as JSON: needs, the engine's own choices, the
 * context table.  As view.h. */
#ifndef VIEW_CHOICES_H
#define VIEW_CHOICES_H

#include "context_table.h"
#include "dgo_tensor.h"
#include "rivals.h"
#include "view.h"

json_t *view_needs(const struct dgo_machine *machine, const struct dgo_needs *needs);
json_t *view_rivals(const struct dgo_machine *machine, const struct rival *rivals, uint32_t count);
json_t *view_tensor_split(const struct dgo_model *model, const struct dgo_plan *plan,
                          const struct dgo_tensor_split *split);
json_t *view_context_table(const struct dgo_machine *machine, const struct context_table *table);

/* "12.00 GiB more on GPU 1 (NVIDIA GeForce RTX 3060)" */
enum { NEED_TEXT_MAX = 192 };
const char *need_text(const struct dgo_machine *machine, const struct dgo_need *need,
                      char text[NEED_TEXT_MAX]);

#endif
