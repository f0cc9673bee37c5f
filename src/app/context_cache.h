/* context_cache.h - results that were computed once, by key: bounded, least recently used out
 * first, and computed by one thread only however many ask at the same time.
 *
 * Any thread.  `compute` runs in the thread that asked first, without a lock; it must not ask the
 * same cache.  Others that ask for its key meanwhile wait and get the same answer.  A failure is an
 * answer too, and is kept when asking again could not change it. */
#ifndef CONTEXT_CACHE_H
#define CONTEXT_CACHE_H

#include "dgo_base.h"

enum { CONTEXT_CACHE_MAX = 256 };

/* A digest of everything that the result follows from; see plan_cache.h. */
struct context_key {
    uint64_t word[2];
};

/* Starts empty: {0}.  Feed fields, not structs: their padding is noise. */
void context_key_add(struct context_key *key, uint64_t value);
void context_key_add_text(struct context_key *key, const char *text);
void context_key_add_real(struct context_key *key, double value);

struct context_cache;

enum context_source {
    CONTEXT_COMPUTED, /* by the caller */
    CONTEXT_HIT,      /* was there */
    CONTEXT_JOINED    /* somebody else was at it: waited for that */
};

struct context_cache_stats {
    uint64_t hits, misses, joined; /* every question is one of the three */
    uint64_t evicted;
    uint64_t bypassed; /* of the misses: all entries were in use, so the result was not kept */
    uint64_t dropped;  /* of the misses: a failure that may pass, so it was not kept */
    uint32_t entries, capacity;
    uint64_t bytes; /* taken by values */
};

/* Writes *value (`value_bytes` of the cache) and returns a status with its sentence.  The value
 * counts for DGO_OK and for DGO_ENOFIT, which comes with the nearest thing that would fit. */
typedef enum dgo_status (*context_compute_fn)(void *value, void *arg, struct dgo_error *err);

enum dgo_status context_cache_new(uint32_t capacity, size_t value_bytes,
                                  struct context_cache **cache,
                                  struct dgo_error *err) DGO_MUST_CHECK;
void context_cache_free(struct context_cache *cache); /* nobody asks any more; accepts NULL */

/* `source` may be NULL. */
enum dgo_status context_cache_get(struct context_cache *cache, const struct context_key *key,
                                  void *value, context_compute_fn compute, void *arg,
                                  enum context_source *source,
                                  struct dgo_error *err) DGO_MUST_CHECK;

void context_cache_read_stats(struct context_cache *cache, struct context_cache_stats *stats);

#endif
