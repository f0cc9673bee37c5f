/* pace.c - slower at once, back with patience. */
#include "pace.h"

uint64_t pace_look(struct pace *pace, bool tight, bool streaming)
{
    const bool was_slowed = pace->slowed;

    if (tight && streaming) {
        pace->slowed = true;
        pace->calm_looks = 0;
    } else if (pace->slowed && ++pace->calm_looks >= PACE_CALM_LOOKS) {
        pace->slowed = false;
        pace->calm_looks = 0;
    }
    pace->change_count += pace->slowed != was_slowed;
    return pace->slowed ? pace->normal_ns * PACE_FACTOR : pace->normal_ns;
}
