/* ring.h - one tier of one series: a ring of buckets of one width.  Private to profile. */
#ifndef RING_H
#define RING_H

#include "dgo_timeline.h"

struct ring_bucket {
    float min, max, mean, last; /* mean NAN: no sample */
};

struct ring {
    uint64_t width_ns;
    uint32_t cell_count;
    struct ring_bucket *cell;
    uint64_t newest; /* number of the newest bucket, time / width; when count > 0 */
    uint64_t count;  /* samples in the newest bucket; 0: the ring is empty */
    double sum;      /* of the newest bucket */
    uint64_t oldest; /* first bucket ever written */
};

/* The newest bucket takes a sample that is older than it.  Returns whether it was. */
bool ring_add(struct ring *ring, uint64_t time_ns, float value);

/* The earliest time the ring can still tell of. */
uint64_t ring_reaches_ns(const struct ring *ring);

/* At most `max` points of [from_ns, to_ns). */
uint32_t ring_read(const struct ring *ring, uint64_t from_ns, uint64_t to_ns,
                   struct dgo_timeline_point *points, uint32_t max);

#endif
