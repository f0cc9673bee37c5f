/* dgo_sampler.h - the machine over time: a thread of its own looks through a source again and
 * again, and whoever wants the newest look gets a copy that costs no driver call.
 *
 * A driver call that never returns blocks this thread and nobody else: what was read last is still
 * given, with its age and marked stale after three intervals.  A driver that went away is tried
 * again after 1, 2, 4 ... 30 s.  Readings differ in cost, so each tier has its own period; between
 * two looks of its tier a reading keeps its value.  Memory is fixed: nothing grows with time.
 *
 * A sampler's functions may be called from any thread; none of them calls the driver. */
#ifndef DGO_SAMPLER_H
#define DGO_SAMPLER_H

#include "dgo_base.h"
#include "dgo_clock.h"
#include "dgo_gpu.h"

/* One look, about 400 KiB: static or heap. */
struct dgo_sample {
    uint64_t sequence;                /* 1, 2, 3 ...; 0: there was no look yet */
    uint64_t monotonic_ns;            /* when the look ended; of the sampler's clock */
    uint64_t wall_ns;                 /* the same, since 1970 */
    uint64_t took_ns;                 /* by the driver */
    uint64_t tier_ns[DGO_TIER_COUNT]; /* monotonic, when the readings of each tier were taken */
    uint64_t age_ns;                  /* since the look, at the time of dgo_sampler_latest */
    bool stale;                 /* older than three intervals, or the driver went away since */
    char problem[640];          /* why there is nothing newer, for people; "" when all is well */
    struct dgo_machine machine; /* of the last look that succeeded */
};

/* A look has ended, well or not (`problem`).  On the sampler's thread, which waits for it; no
 * function of the sampler but dgo_sampler_latest and dgo_sampler_set_interval may be called in it.
 * Not called after dgo_sampler_stop returned. */
typedef void (*dgo_sample_fn)(const struct dgo_sample *sample, void *data);

#define DGO_SAMPLER_INTERVAL_NS     UINT64_C(1000000000)
#define DGO_SAMPLER_INTERVAL_MIN_NS UINT64_C(10000000)

/* Zero-initialised it is right for a daemon. */
struct dgo_sampler_options {
    struct dgo_gpu_options gpu;
    uint64_t interval_ns;    /* of the fast tier; 0: DGO_SAMPLER_INTERVAL_NS */
    dgo_sample_fn on_sample; /* NULL: none */
    void *data;
    const struct dgo_clock *clock; /* stamps the looks; NULL: the machine's */
};

struct dgo_sampler;

/* Starts the thread and returns; it opens the source itself, so a machine without a GPU is a
 * sample with a `problem`, not a failure here.  Paths are copied. */
DGO_MUST_CHECK
enum dgo_status dgo_sampler_start(const struct dgo_sampler_options *options,
                                  struct dgo_sampler **sampler, struct dgo_error *err);

/* The newest look with its age. */
void dgo_sampler_latest(struct dgo_sampler *sampler, struct dgo_sample *sample);

/* Age and staleness alone, without the copy; `sequence` may be NULL. */
bool dgo_sampler_is_stale(struct dgo_sampler *sampler, uint64_t *age_ns, uint64_t *sequence);

/* Waits for a look after number `after`.  DGO_ETIMEOUT; the problem's status when the last attempt
 * failed, with its sentence. */
enum dgo_status dgo_sampler_wait(struct dgo_sampler *sampler, uint64_t after, uint64_t timeout_ns,
                                 struct dgo_error *err);

/* How its looks went since the start. */
struct dgo_sampler_counts {
    uint64_t looks;    /* that have ended, well or not */
    uint64_t failures; /* of them: the driver refused, or was not there */
    uint64_t late;     /* began half an interval or more after their time: no processor was free */
    uint64_t skipped;  /* that fell out, because one before took an interval or longer */
    uint64_t stale;    /* took longer than three intervals: what was shown was stale meanwhile */
    uint64_t last_ns, longest_ns; /* how long looks took; 0: none has ended */
};
void dgo_sampler_count(struct dgo_sampler *sampler, struct dgo_sampler_counts *counts);

/* From the next look on; shorter while somebody watches, longer while an engine must not be
 * disturbed.  Below DGO_SAMPLER_INTERVAL_MIN_NS it is that. */
void dgo_sampler_set_interval(struct dgo_sampler *sampler, uint64_t interval_ns);

/* Looks now and not at the end of the interval, and reads every tier. */
void dgo_sampler_look_now(struct dgo_sampler *sampler);

/* Ends the thread.  One that is stuck in the driver is left behind after `patience_ns`: it ends
 * when the call returns, touches nothing but its own memory until then, and calls nobody.  Accepts
 * NULL; returns false when a thread was left behind. */
bool dgo_sampler_stop(struct dgo_sampler *sampler, uint64_t patience_ns);

#endif
