/* dgo_timeline.h - readings over time in bounded memory: tiers of buckets from 1 s to 1 h, and what
 * happened beside them.
 *
 * A series is one reading of one card, or of one process on one card.  Every sample goes into one
 * bucket of each tier, and a bucket keeps the smallest, the greatest, the mean and the last value:
 * a spike of one sample is still there in the hour's bucket.  Adding is O(1) (after a gap, bounded
 * by the ring's length); memory is DGO_TIMELINE_CELLS_* buckets of 16 bytes for each series,
 * touched only as they fill.
 *
 * Time is the caller's: nanoseconds on any axis that does not go back (wall time at the start plus
 * monotonic time since).  A sample before the newest bucket counts in that bucket and is counted in
 * `backwards`: a clock that jumps loses nothing and breaks nothing.
 *
 * Any thread: a lock inside, held for one call. */
#ifndef DGO_TIMELINE_H
#define DGO_TIMELINE_H

#include "dgo_base.h"

enum {
    DGO_TIMELINE_TIER_COUNT = 5,
    /* 1 s x 1 h, 10 s x 6 h, 1 min x 24 h; cards also 10 min x 7 d and 1 h x 60 d */
    DGO_TIMELINE_CELLS_PROCESS = 3600 + 2160 + 1440,
    DGO_TIMELINE_CELLS_DEVICE = DGO_TIMELINE_CELLS_PROCESS + 1008 + 1440,
    DGO_TIMELINE_SERIES_MAX = 1024, /* default bound; the process series unheard of longest goes */
    DGO_TIMELINE_EVENT_MAX = 1024,  /* default bound; the oldest event goes */
    DGO_TIMELINE_EVENT_TEXT_MAX = 128,
    DGO_TIMELINE_NO_GPU = UINT32_MAX, /* an event or a series of the whole machine */
};

/* X(ID, name, unit) */
#define DGO_SERIES_KIND_TABLE(X)                                                                   \
    X(USED, "used", "bytes")                                                                       \
    X(RESERVED, "reserved", "bytes")                                                               \
    X(FREE, "free", "bytes")                                                                       \
    X(UNATTRIBUTED, "unattributed", "bytes")                                                       \
    X(UTILISATION, "utilisation", "percent")                                                       \
    X(MEMORY_UTILISATION, "memory_utilisation", "percent")                                         \
    X(TEMPERATURE, "temperature", "celsius")                                                       \
    X(POWER, "power", "watts")                                                                     \
    X(PCIE_RX, "pcie_rx", "bytes_per_second")                                                      \
    X(PCIE_TX, "pcie_tx", "bytes_per_second")                                                      \
    X(HOST_FREE, "host_free", "bytes")                                                             \
    X(REQUESTS, "requests", "count")                                                               \
    X(BUSY, "busy", "count")                                                                       \
    X(TOKENS_PER_SECOND, "tokens_per_second", "tokens_per_second")                                 \
    X(KV_USED, "kv_used", "tokens")                                                                \
    X(PLANNED, "planned", "bytes")

#define DGO_SERIES_KIND_ENUM(id, name, unit) DGO_SERIES_##id,
enum dgo_series_kind { DGO_SERIES_KIND_TABLE(DGO_SERIES_KIND_ENUM) DGO_SERIES_KIND_COUNT };
#undef DGO_SERIES_KIND_ENUM

const char *dgo_series_kind_name(enum dgo_series_kind kind); /* "used", ...; "unknown" */
const char *dgo_series_kind_unit(enum dgo_series_kind kind);
bool dgo_series_kind_parse(const char *name, enum dgo_series_kind *kind);

/* What a series is of.  A pid is used again by others, so a process is its pid and its start. */
struct dgo_series_key {
    enum dgo_series_kind kind;
    uint32_t gpu_index; /* DGO_TIMELINE_NO_GPU: the host */
    uint32_t pid;       /* 0: the whole card */
    uint64_t start;     /* of the process, as its source counts (clock ticks); 0 unknown */
};

/* X(ID, name) */
#define DGO_TIMELINE_EVENT_TABLE(X)                                                                \
    X(LAUNCH, "launch")                                                                            \
    X(LOAD, "load")                                                                                \
    X(READY, "ready")                                                                              \
    X(END, "end")                                                                                  \
    X(BURST, "burst")                                                                              \
    X(ALERT, "alert")                                                                              \
    X(CHANGE, "change")                                                                            \
    X(DRIFT, "drift")                                                                              \
    X(DRIVER, "driver")                                                                            \
    X(CLOCK, "clock")                                                                              \
    X(MARK, "mark")

#define DGO_TIMELINE_EVENT_ENUM(id, name) DGO_TIMELINE_##id,
enum dgo_timeline_event_kind {
    DGO_TIMELINE_EVENT_TABLE(DGO_TIMELINE_EVENT_ENUM) DGO_TIMELINE_EVENT_KIND_COUNT
};
#undef DGO_TIMELINE_EVENT_ENUM

const char *dgo_timeline_event_name(enum dgo_timeline_event_kind kind); /* "launch", ... */
bool dgo_timeline_event_parse(const char *name, enum dgo_timeline_event_kind *kind);

struct dgo_timeline_event {
    uint64_t time_ns;
    enum dgo_timeline_event_kind kind;
    uint32_t gpu_index; /* DGO_TIMELINE_NO_GPU: none in particular */
    uint32_t pid;       /* 0: none */
    char text[DGO_TIMELINE_EVENT_TEXT_MAX];
};

/* Floats: 24 bits, so 24 GiB are kept to 2 KiB. */
struct dgo_timeline_point {
    uint64_t time_ns; /* start of the span */
    uint64_t span_ns;
    float min, max, mean, last;
};

struct dgo_timeline_series {
    struct dgo_series_key key;
    uint64_t first_ns, last_ns, sample_count;
    double last;
};

struct dgo_timeline_stats {
    uint32_t series_count, series_max, event_count, event_max;
    uint64_t sample_count, backwards, evicted; /* evicted: series that made room */
    size_t bytes;                              /* of all rings */
};

struct dgo_timeline_config {
    uint32_t series_max, event_max; /* 0: the defaults */
};

struct dgo_timeline;

DGO_MUST_CHECK
enum dgo_status dgo_timeline_new(const struct dgo_timeline_config *config,
                                 struct dgo_timeline **timeline, struct dgo_error *err);
void dgo_timeline_free(struct dgo_timeline *timeline); /* accepts NULL */

/* One sample; the first of a key makes its series.  A value that is no number is left out.
 * DGO_ENOMEM; DGO_ELIMIT when every series is of a card and the bound is reached. */
enum dgo_status dgo_timeline_add(struct dgo_timeline *timeline, const struct dgo_series_key *key,
                                 uint64_t time_ns, double value, struct dgo_error *err);

void dgo_timeline_note(struct dgo_timeline *timeline, const struct dgo_timeline_event *event);

/* [from_ns, to_ns) of a series as at most `point_max` points, oldest first, from the finest tier
 * that reaches back to `from_ns`; spans without a sample are left out.  Each point joins whole
 * buckets, so its min and max are true.  Returns how many; 0 for a series that is not known. */
uint32_t dgo_timeline_query(struct dgo_timeline *timeline, const struct dgo_series_key *key,
                            uint64_t from_ns, uint64_t to_ns, struct dgo_timeline_point *points,
                            uint32_t point_max);

/* Copies up to `max`; returns how many there are.  Series in the order they came; events of
 * [from_ns, to_ns), oldest first. */
uint32_t dgo_timeline_list(struct dgo_timeline *timeline, struct dgo_timeline_series *series,
                           uint32_t max);
uint32_t dgo_timeline_events(struct dgo_timeline *timeline, uint64_t from_ns, uint64_t to_ns,
                             struct dgo_timeline_event *events, uint32_t max);

void dgo_timeline_read_stats(struct dgo_timeline *timeline, struct dgo_timeline_stats *stats);

#endif
