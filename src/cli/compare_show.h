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

#endif
