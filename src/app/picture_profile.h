/* picture_profile.h - what the profiler found, as files to show to somebody: an SVG picture, a page
 * and a table.  Private to app and the faces; any thread, the profiler's owner. */
#ifndef PICTURE_PROFILE_H
#define PICTURE_PROFILE_H

#include "dgo_profiler.h"
#include "dgo_text.h"
#include "dgo_worth.h"
#include "profile_file.h"

enum {
    PICTURE_PROFILE_MAX = 2 << 20, /* bytes that hold the picture, at its largest */
    PAGE_PROFILE_MAX = 8 << 20,    /* and the page */
};

/* The memory of each card and process over time, each in a strip of its own scale, with its
 * verdict, its episodes, lasting changes and the marks of the user.  The series that matter most,
 * 64 at most; the others are counted.  After dgo_profiler_find_patterns.  `stats` tells whether it
 * is simulated; may be NULL.  False: it did not fit into `out`. */
bool picture_profile(const struct dgo_profiler *profiler, const struct profile_file_stats *stats,
                     struct dgo_text *out);

/* One file with everything in it, no script and nothing fetched: the picture, verdicts with their
 * evidence, changes, what could be freed and what that is worth (`worth` may be NULL).  `source` is
 * the name of what was judged. */
bool page_profile(const struct dgo_profiler *profiler, const struct dgo_worth *worth,
                  const struct profile_file_stats *stats, const char *source, struct dgo_text *out);

/* The series as CSV, quoted by RFC 4180, a header line first; what is unknown is empty.  Appends
 * row `index` or, for UINT32_MAX, the header. */
void csv_profile(const struct dgo_profiler *profiler, uint32_t index, struct dgo_text *out);

#endif
