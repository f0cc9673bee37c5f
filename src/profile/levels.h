/* levels.h - levels that come back: models that take turns, caches that are cut.  Private to
 * profile. */
#ifndef LEVELS_H
#define LEVELS_H

#include "rank.h"
#include "trace.h"

/* Between jumps a stretch begins and ends at a level.  Each is held against the nearest of the
 * same kind before it that memory had left in between. */
struct levels {
    uint32_t stretches, returns; /* returns: levels that were there before */
    uint32_t up, down;           /* of returns: clearly higher, clearly lower */
    double even_share;           /* of those up, within a factor of three of the usual slope */
    double late_share;           /* slope of the later half of them over that of the earlier */
    double end_share;            /* of the span that was over when the last one came up */
    struct rank_slope slope;     /* MiB an hour; the interval holds the middle of the slopes */
    double span_s, growth_mib;
};

/* False when fewer than two levels came back. */
bool levels_look(const struct dgo_trace *trace, struct levels *levels);

#endif
