/* profiler.h - the inside of a profiler.  Private to profile. */
#ifndef PROFILER_H
#define PROFILER_H

#include "dgo_profiler.h"

enum { PROFILER_CHAIN_COUNT = 4096 };

struct profiler_series {
    struct dgo_series_report report;
    struct dgo_trace *trace;
    double planned_mib; /* NAN: none */
    double judged_s;    /* of the trace's axis */
    uint32_t hits;      /* judgements in a row that suspected or more */
    bool in_episode, grew_in_another_life;
    struct profiler_series *next; /* in its chain */
};

struct dgo_profiler {
    struct dgo_profiler_options options;
    uint32_t count, room;
    bool sorted;
    struct profiler_series **series;
    struct profiler_series **chain;
    double capacity_mib[DGO_PROFILER_GPU_MAX];
    struct dgo_card_state card[DGO_PROFILER_GPU_MAX];
    uint32_t mark_count;
    struct dgo_mark mark[DGO_PROFILER_MARK_MAX];
};

#endif
