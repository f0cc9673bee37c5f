/* view_profile.h - what the profiler found, as JSON.  Private to app and the faces. */
#ifndef VIEW_PROFILE_H
#define VIEW_PROFILE_H

#include "dgo_profiler.h"
#include "dgo_worth.h"
#include "profile_file.h"

#include <jansson.h>

enum { VIEW_PROFILE_SHAPE = 24 }; /* values of .over_time_mib */

/* .series[], .changes[], .marks[], .could_free[], and what could not be read.  `worth` of the model
 * that the memory is wanted for and `stats` may be NULL.  A new reference, NULL without memory. */
json_t *view_profile(const struct dgo_profiler *profiler, const struct dgo_worth *worth,
                     const struct profile_file_stats *stats);

/* Adds .kv_tokens and .layers, what so many MiB are to the model; `worth` may be NULL. */
void view_add_worth(json_t *view, const struct dgo_worth *worth, double mib);

#endif
