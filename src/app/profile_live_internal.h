/* profile_live_internal.h - the inside of the live profiler.  Private to its files. */
#ifndef PROFILE_LIVE_INTERNAL_H
#define PROFILE_LIVE_INTERNAL_H

#include "alert_sinks.h"
#include "dgo_burst.h"
#include "dgo_profiler.h"
#include "dgo_store_timeline.h"
#include "profile_feed.h"
#include "profile_live.h"

#include <pthread.h>
#include <stdatomic.h>

struct profile_live {
    struct dgo_bus *bus;
    struct dgo_timeline *timeline; /* has its own lock */
    struct alert_sinks *sinks;
    pthread_mutex_t lock; /* of everything below up to the store */
    struct dgo_profiler *profiler;
    struct dgo_alerts *alerts;
    struct profile_loads loads;
    struct {
        uint32_t pid;
        uint64_t heard_ns; /* monotonic */
        struct dgo_burst burst;
    } burst[PROFILE_ENGINE_MAX];
    struct dgo_oom oom[DGO_GPU_MAX];
    uint64_t axis_ns, monotonic_ns; /* of the last look */
    uint64_t judged_ns, flushed_ns; /* on the axis */
    double changes_told_s;          /* up to there changes are on the timeline; 0: nothing is */
    bool driver_lost, clock_behind; /* and told */
    _Atomic bool unkept;            /* no machine's own readings: nothing of them is kept */
    struct dgo_origin origin;       /* of the last look */
    _Atomic bool judging, flushing; /* a job of that kind is under way */
    _Atomic uint32_t jobs;
    struct dgo_store *store; /* of the flushing job alone, and of start and stop; NULL: none */
    uint64_t kept_ns;        /* up to there everything is in the store */
    uint32_t flush_failures;
};

/* Reads the last day back into timeline and profiler. */
void profile_live_restore(struct profile_live *live, uint64_t now_ns);

/* Writes the hours since kept_ns; in a job, or when none runs. */
enum dgo_status profile_live_flush(struct profile_live *live, struct dgo_error *err);

/* What a look means for alerts; under the lock. */
void profile_live_watch(struct profile_live *live, const struct dgo_sample *sample);
void profile_live_watch_leaks(struct profile_live *live);

#endif
