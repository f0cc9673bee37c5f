/* view.h - the values of every module as JSON: the one rendering that --json, the page and the API
 * share.  Base units, snake_case, unknown is left out (never 0).
 *
 * Each function returns a new reference (json_decref it), or NULL without memory.  Any thread. */
#ifndef VIEW_H
#define VIEW_H

#include "dgo_engine.h"
#include "dgo_gpu.h"
#include "dgo_model.h"
#include "dgo_plan.h"
#include "dgo_profile.h"

#include <jansson.h>

/* JSON is UTF-8: text that is none (a path may be any bytes) is shown escaped. */
json_t *view_text(const char *text);

/* Adds .recorded and, where it is known, .recorded_ns to what has .simulated already; of this
 * machine, or of one that is simulated, nothing. */
void view_add_recorded(json_t *object, const struct dgo_origin *origin);
/* The opposite: of .simulated, .recorded and .recorded_ns. */
void view_read_origin(const json_t *object, struct dgo_origin *origin);

json_t *view_machine(const struct dgo_machine *machine);
json_t *view_model(const struct dgo_model *model);
json_t *view_estimate(const struct dgo_machine *machine, const struct dgo_estimate *estimate);

/* Exactly what the engine is told, and nothing that changes from day to day (no free memory): the
 * same settings give the same bytes. */
json_t *view_settings(const struct dgo_settings *settings);

/* .devices[], .host, settings and .predicted{} of a plan that is not the plan itself. */
json_t *view_alternative(const struct dgo_machine *machine,
                         const struct dgo_alternative *alternative);

/* `command` may be NULL (no engine file for it); then .command and .environment are left out. */
json_t *view_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                  const struct dgo_plan *plan, const struct dgo_command *command);

/* Adds .explanation[] to a plan, and .command_explanation[] where it has a command. */
void view_explain(json_t *object, const struct dgo_machine *machine, const struct dgo_model *model,
                  const struct dgo_plan *plan, const struct dgo_command *command);

/* Plan against measured, by device: .devices[] with planned{} and measured{}, .equal. */
json_t *view_comparison(const struct dgo_machine *machine, const struct dgo_comparison *comparison,
                        const struct dgo_report *report);

#endif
