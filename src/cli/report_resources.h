/* report_resources.h - the figures of `bench resources` for people: a table, or a Markdown report
 * with pictures.  Reads what measure_view made. */
#ifndef REPORT_RESOURCES_H
#define REPORT_RESOURCES_H

#include "dgo_base.h"

#include <jansson.h>

void report_resources_print(const json_t *figures);

/* Writes PATH and, beside it, PATH's name with -completion.svg and -engine.svg in the place of .md.
 * DGO_EIO names the file. */
DGO_MUST_CHECK
enum dgo_status report_resources_write(const char *path, const json_t *figures,
                                       struct dgo_error *err);

#endif
