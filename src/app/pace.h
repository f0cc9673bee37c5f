/* pace.h - how often the cards are looked at: half as often while an engine streams on a machine
 * where the resource manager keeps everything else out of its way.  Private to app. */
#ifndef PACE_H
#define PACE_H

#include "dgo_base.h"

/* Zero-initialised but for normal_ns; the caller locks. */
struct pace {
    uint64_t normal_ns;
    bool slowed;
    uint32_t calm_looks;   /* in a row, while slowed */
    uint64_t change_count; /* ever */
};

enum { PACE_FACTOR = 2, PACE_CALM_LOOKS = 5 };

/* At each look; returns the interval from now on.  Slower at once, for a streaming engine must not
 * wait for an average to follow; back after PACE_CALM_LOOKS looks at which one of the two was over.
 */
uint64_t pace_look(struct pace *pace, bool tight, bool streaming);

#endif
