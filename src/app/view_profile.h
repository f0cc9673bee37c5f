/* view_profile.h - what the profiler found, as JSON.  Private to app and the faces. */
#ifndef VIEW_PROFILE_H
#define VIEW_PROFILE_H

#include "dgo_profiler.h"
#include "profile_file.h"

#include <jansson.h>

/* .series[], .changes[], .marks[], and what could not be read.  `stats` may be NULL.  A new
 * reference, NULL without memory. */
json_t *view_profile(const struct dgo_profiler *profiler, const struct profile_file_stats *stats);

#endif
