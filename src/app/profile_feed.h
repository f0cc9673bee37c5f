/* profile_feed.h - looks at a machine, and what engines say, into a profiler and a timeline.
 * Private to app and the faces.  One owner at a time. */
#ifndef PROFILE_FEED_H
#define PROFILE_FEED_H

#include "dgo_profiler.h"
#include "dgo_recording.h"
#include "dgo_timeline.h"

enum { PROFILE_ENGINE_MAX = 16 };

/* What each engine said last: its requests go with the memory of its process. */
struct profile_loads {
    uint32_t count;
    struct dgo_engine_load engine[PROFILE_ENGINE_MAX];
};
void profile_loads_add(struct profile_loads *loads, const struct dgo_engine_load *load);

/* The memory of each card and of each process on it.  Cards and processes beyond the profiler's
 * bounds are left out; DGO_ENOMEM. */
enum dgo_status profile_feed(struct dgo_profiler *profiler, const struct dgo_machine *machine,
                             const struct profile_loads *loads, double seconds,
                             struct dgo_error *err);

/* Every reading that a timeline keeps. */
enum dgo_status profile_feed_timeline(struct dgo_timeline *timeline,
                                      const struct dgo_machine *machine,
                                      const struct profile_loads *loads, uint64_t time_ns,
                                      struct dgo_error *err);

#endif
