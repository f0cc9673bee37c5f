/* ring.c - a ring of buckets: adding is O(1), reading joins whole buckets. */
#include "ring.h"

#include <math.h>

static struct ring_bucket *bucket_of(const struct ring *ring, uint64_t number)
{
    return &ring->cell[number % ring->cell_count];
}

static void clear(struct ring_bucket *bucket)
{
    *bucket = (struct ring_bucket){.mean = NAN};
}

/* Buckets between the newest and `number` saw no sample; a gap longer than the ring empties it. */
static void move_to(struct ring *ring, uint64_t number)
{
    uint64_t from = ring->newest + 1;

    if (number - ring->newest > ring->cell_count)
        from = number - ring->cell_count + 1;
    for (uint64_t empty = from; empty < number; empty++)
        clear(bucket_of(ring, empty));
    ring->newest = number;
    ring->count = 0;
    ring->sum = 0;
}

bool ring_add(struct ring *ring, uint64_t time_ns, float value)
{
    const uint64_t number = time_ns / ring->width_ns;
    const bool first = ring->count == 0;
    const bool backwards = !first && number < ring->newest;
    struct ring_bucket *bucket;

    if (first) {
        ring->oldest = ring->newest = number; /* nothing before it is ever read */
    } else if (number > ring->newest) {
        move_to(ring, number);
    }
    bucket = bucket_of(ring, ring->newest);
    ring->sum += value;
    ring->count++;
    *bucket = (struct ring_bucket){
        .min = ring->count == 1 || value < bucket->min ? value : bucket->min,
        .max = ring->count == 1 || value > bucket->max ? value : bucket->max,
        .mean = (float)(ring->sum / (double)ring->count),
        .last = value,
    };
    return backwards;
}

static uint64_t oldest_number(const struct ring *ring)
{
    const uint64_t held =
        ring->newest >= ring->cell_count ? ring->newest - ring->cell_count + 1 : 0;

    return dgo_max_u64(held, ring->oldest);
}

uint64_t ring_reaches_ns(const struct ring *ring)
{
    return ring->count ? oldest_number(ring) * ring->width_ns : UINT64_MAX;
}

/* One point of the buckets [first, end); false when none has a sample. */
static bool join(const struct ring *ring, uint64_t first, uint64_t end,
                 struct dgo_timeline_point *point)
{
    double sum = 0;
    uint32_t count = 0;

    for (uint64_t number = first; number < end; number++) {
        const struct ring_bucket *bucket = bucket_of(ring, number);

        if (isnan(bucket->mean))
            continue;
        point->min = count == 0 || bucket->min < point->min ? bucket->min : point->min;
        point->max = count == 0 || bucket->max > point->max ? bucket->max : point->max;
        point->last = bucket->last;
        sum += bucket->mean;
        count++;
    }
    if (count == 0)
        return false;
    point->mean = (float)(sum / count);
    point->time_ns = first * ring->width_ns;
    point->span_ns = (end - first) * ring->width_ns;
    return true;
}

uint32_t ring_read(const struct ring *ring, uint64_t from_ns, uint64_t to_ns,
                   struct dgo_timeline_point *points, uint32_t max)
{
    uint32_t written = 0;

    if (ring->count == 0 || to_ns <= from_ns || max == 0)
        return 0;

    const uint64_t first = dgo_max_u64(from_ns / ring->width_ns, oldest_number(ring));
    const uint64_t end = dgo_min_u64((to_ns - 1) / ring->width_ns, ring->newest) + 1;
    const uint64_t span = end > first ? end - first : 0;
    const uint64_t step = (span + max - 1) / max;

    for (uint64_t at = first; at < end && written < max; at += step)
        written += join(ring, at, dgo_min_u64(at + step, end), &points[written]);
    return written;
}
