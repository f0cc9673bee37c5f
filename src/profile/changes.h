/* changes.h - change points of a series as its samples come.  Private to profile. */
#ifndef CHANGES_H
#define CHANGES_H

#include "dgo_trend.h"

enum { CHANGES_RECENT_MAX = 64 };

struct changes_kept {
    double axis_s;
    struct dgo_trace_change change;
};

struct changes {
    double level_mib;     /* that holds; NAN until the first sample */
    double candidate_mib; /* of samples that left it; NAN: none did */
    double candidate_s, candidate_time;
    uint32_t candidate_count;
    float recent[CHANGES_RECENT_MAX]; /* |deviation| from the level, a ring for the MAD */
    uint32_t recent_count;
    double mad_mib;
    uint32_t count;
    struct changes_kept kept[DGO_TRACE_CHANGE_MAX]; /* in the order of time */
};

void changes_init(struct changes *changes);

/* `axis_s` decides, `told_s` is what a change is noted under. */
void changes_add(struct changes *changes, double axis_s, double told_s, double used_mib);

#endif
