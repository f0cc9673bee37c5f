/* compare_show.h - a difference for people and for programs.  Private to the command. */
#ifndef COMPARE_SHOW_H
#define COMPARE_SHOW_H

#include "compare.h"
#include "dgo_worth.h"

#include <jansson.h>

/* `live` NULL: of files or marks.  view: a new reference, NULL without memory. */
json_t *compare_view(const struct dgo_difference *difference, const struct dgo_worth *worth,
                     const struct compare_live *live);
void compare_print(const struct dgo_difference *difference, const struct dgo_worth *worth,
                   const struct compare_live *live);

/* What changed of the cards themselves: what the driver keeps, the window to the host, the display.
 * Silent where nothing did, or nothing is known. */
void compare_print_cards(const struct dgo_snapshot *before, const struct dgo_snapshot *after);

/* ---- stored (compare_stored.c) ---- */

/* Adds .snapshots, what was compared, and .hash of it. */
DGO_MUST_CHECK
enum dgo_status compare_stored_add(json_t *view, const struct dgo_snapshot *before,
                                   const struct dgo_snapshot *after, uint32_t count,
                                   struct dgo_error *err);
/* Of a file that holds such a view; both arrays have DGO_DIFFERENCE_REPEAT_MAX.  DGO_EFORMAT, also
 * where the hash is another. */
DGO_MUST_CHECK
enum dgo_status compare_stored_read(const char *path, struct dgo_snapshot *before,
                                    struct dgo_snapshot *after, uint32_t *count,
                                    struct dgo_error *err);

#endif
