/* dgo_store_timeline.h - the timeline that outlives the program: buckets of each series by the
 * hour, and events.
 *
 * An hour of a series is one row; putting it again takes its place, so that the hour that is not
 * over is written anew at each flush and a crash loses at most what came after the last one.  The
 * same store, errors and threads as dgo_store.h. */
#ifndef DGO_STORE_TIMELINE_H
#define DGO_STORE_TIMELINE_H

#include "dgo_store.h"

enum { DGO_STORE_BUCKET_MAX = 3600, DGO_STORE_SERIES_TEXT_MAX = 128 };

/* mean NAN: no sample. */
struct dgo_stored_bucket {
    float min, max, mean, last;
};

struct dgo_timeline_record {
    const char *series; /* what it is of, in the caller's words */
    uint64_t start_ns, width_ns;
    uint32_t count; /* at most DGO_STORE_BUCKET_MAX */
    const struct dgo_stored_bucket *bucket;
};

struct dgo_event_record {
    uint64_t time_ns;
    const char *kind, *text;
    uint32_t gpu_index, pid; /* gpu_index UINT32_MAX: none */
};

/* All of them or none, in one transaction. */
DGO_MUST_CHECK
enum dgo_status dgo_store_put_timeline(struct dgo_store *store,
                                       const struct dgo_timeline_record *records, uint32_t count,
                                       const struct dgo_event_record *events, uint32_t event_count,
                                       struct dgo_error *err);

/* Removes what ended before. */
DGO_MUST_CHECK
enum dgo_status dgo_store_trim_timeline(struct dgo_store *store, uint64_t before_ns,
                                        struct dgo_error *err);

/* Rows that begin within [from_ns, to_ns), oldest first; one call of `each` a row, whose pointers
 * live during it.  `series` NULL: of all. */
typedef void (*dgo_timeline_record_fn)(const struct dgo_timeline_record *record, void *data);
DGO_MUST_CHECK
enum dgo_status dgo_store_each_timeline(struct dgo_store *store, const char *series,
                                        uint64_t from_ns, uint64_t to_ns,
                                        dgo_timeline_record_fn each, void *data,
                                        struct dgo_error *err);

typedef void (*dgo_event_record_fn)(const struct dgo_event_record *event, void *data);
DGO_MUST_CHECK
enum dgo_status dgo_store_each_event(struct dgo_store *store, uint64_t from_ns, uint64_t to_ns,
                                     dgo_event_record_fn each, void *data, struct dgo_error *err);

#endif
