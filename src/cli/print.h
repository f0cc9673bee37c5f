/* print.h - what all commands print with: messages on stderr, tables, bars and JSON on stdout. */
#ifndef PRINT_H
#define PRINT_H

#include "dgo_base.h"
#include "dgo_engine.h"
#include "dgo_gpu.h"
#include "dgo_model.h"
#include "dgo_plan.h"
#include "dgo_profile.h"
#include "dgo_worth.h"

#include <jansson.h>

/* "dualgpuopt: <text>" on stderr, escaped. */
void print_message(const char *fmt, ...) DGO_PRINTF(1, 2);

/* The sentence of a failure on stderr; returns its exit status. */
int print_failure(const struct dgo_error *err);

/* The object on stdout, and releases it; NULL is "out of memory". Returns the exit status. */
int print_json(json_t *object);

/* Columns that size themselves.  Cells are escaped when added; numbers are right-aligned. */
enum { TABLE_COLUMN_MAX = 16, TABLE_ROW_MAX = 1100, TABLE_CELL_MAX = 72 };
struct table;
struct table *table_new(void); /* never NULL: without memory the program ends with status 1 */
void table_column(struct table *table, const char *title, bool right);
void table_cell(struct table *table, const char *fmt, ...) DGO_PRINTF(2, 3); /* row by row */
void table_layers(struct table *table, const struct dgo_estimate *estimate); /* of each card */
void table_print(struct table *table);                                       /* and frees it */

/* What the terminal can show: UTF-8 blocks or ASCII; colour per NO_COLOR and isatty(stdout). */
bool print_unicode(void);
bool print_colour(void);

/* "8.03 B", "4.98 M": a count of parameters as people say it. */
enum { PARAMETERS_TEXT_MAX = 32 };
const char *parameters_text(uint64_t count, char text[PARAMETERS_TEXT_MAX]);

void print_machine(const struct dgo_machine *machine);
void print_model(const struct dgo_model *model);
void print_estimate(const struct dgo_machine *machine, const struct dgo_estimate *estimate);
void print_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                const struct dgo_plan *plan, const struct dgo_command *command,
                char *const *environment, const char *calibrated);
struct rival;
void print_rivals(const struct rival *rivals, uint32_t count);
void print_needs(const struct dgo_machine *machine, const struct dgo_needs *needs);
void print_comparison(const struct dgo_comparison *comparison);
void print_profile(const json_t *profile); /* what view_profile made; only reads it */
/* ", 1024 tokens of KV cache or 0.5 layers": as much as is known. */
void print_worth(const struct dgo_worth *worth, double mib);
void print_resources(const json_t *resources); /* what view_resources made; only reads it */

struct batch_report;
void print_batch(const struct batch_report *report);
void print_advice(const struct batch_report *report); /* where it was advised */

/* "SIMULATED: ..." line where the machine is. */
void print_machine_origin(const struct dgo_machine *machine);

#endif
