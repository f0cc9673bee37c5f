/* context_cache.c - a keyed, bounded, single-flight cache. */
#include "context_cache.h"

#include "dgo_resource.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Few entries, compared by two words: walking them costs less than any result that is kept here. */
struct entry {
    enum { EMPTY, FLYING, READY } state;
    bool lasting;     /* READY: stays when nobody waits for it any more */
    uint32_t waiters; /* hold the entry: it is not given to another key */
    struct context_key key;
    uint64_t used_at; /* the cache's own count of questions */
    enum dgo_status status;
    struct dgo_error err;
    void *value;
};

struct context_cache {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    size_t value_bytes;
    uint64_t now;
    struct context_cache_stats stats;
    struct entry entry[];
};

/* ---- keys ---- */

/* One round of murmur3's finaliser: each bit of the input moves about half of the output's. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    z = (z ^ (z >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return z ^ (z >> 33);
}

void context_key_add(struct context_key *key, uint64_t value)
{
    key->word[0] = mix(key->word[0] + value + UINT64_C(0x9e3779b97f4a7c15));
    key->word[1] = mix((key->word[1] ^ value) * UINT64_C(0xd6e8feb86659fd93) + 1);
}

void context_key_add_text(struct context_key *key, const char *text)
{
    const size_t length = strlen(text);

    context_key_add(key, length);
    for (size_t at = 0; at < length; at += 8) {
        uint64_t word = 0;

        memcpy(&word, text + at, length - at < 8 ? length - at : 8);
        context_key_add(key, word);
    }
}

void context_key_add_real(struct context_key *key, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    context_key_add(key, bits);
}

/* ---- life ---- */

enum dgo_status context_cache_new(uint32_t capacity, size_t value_bytes,
                                  struct context_cache **cache, struct dgo_error *err)
{
    struct context_cache *made;

    if (capacity == 0 || capacity > CONTEXT_CACHE_MAX || value_bytes == 0)
        return dgo_fail(err, DGO_EINVAL, "a cache has 1 to %d entries of at least one byte",
                        CONTEXT_CACHE_MAX);
    made = calloc(1, sizeof *made + capacity * sizeof made->entry[0]);
    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a cache");
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->landed, NULL);
    made->value_bytes = value_bytes;
    made->stats.capacity = capacity;
    *cache = made;
    return DGO_OK;
}

void context_cache_free(struct context_cache *cache)
{
    if (!cache)
        return;
    for (uint32_t i = 0; i < cache->stats.capacity; i++)
        free(cache->entry[i].value);
    pthread_cond_destroy(&cache->landed);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* ---- asking; all with the lock, which join gives up while it waits ---- */

static struct entry *find(struct context_cache *cache, const struct context_key *key)
{
    for (uint32_t i = 0; i < cache->stats.capacity; i++) {
        struct entry *entry = &cache->entry[i];

        if (entry->state != EMPTY && entry->key.word[0] == key->word[0] &&
            entry->key.word[1] == key->word[1])
            return entry;
    }
    return NULL;
}

/* An entry for a new key: an empty one, else the one unused for longest; NULL: all are in use. */
static struct entry *take(struct context_cache *cache, const struct context_key *key)
{
    struct entry *best = NULL;

    for (uint32_t i = 0; i < cache->stats.capacity; i++) {
        struct entry *entry = &cache->entry[i];

        if (entry->state == FLYING || entry->waiters > 0)
            continue;
        if (!best ||
            (best->state != EMPTY && (entry->state == EMPTY || entry->used_at < best->used_at)))
            best = entry;
    }
    if (!best)
        return NULL;
    if (!best->value) {
        best->value = malloc(cache->value_bytes);
        if (!best->value)
            return NULL;
        cache->stats.bytes += cache->value_bytes;
    }
    if (best->state == READY)
        cache->stats.evicted++;
    else
        cache->stats.entries++;
    best->state = FLYING;
    best->key = *key;
    return best;
}

static void drop(struct context_cache *cache, struct entry *entry)
{
    entry->state = EMPTY;
    cache->stats.entries--;
}

/* A plan that does not fit comes with the nearest one that would. */
static bool has_value(enum dgo_status status)
{
    return status == DGO_OK || status == DGO_ENOFIT;
}

static enum dgo_status answer(struct context_cache *cache, struct entry *entry, void *value,
                              struct dgo_error *err)
{
    entry->used_at = ++cache->now;
    if (has_value(entry->status))
        memcpy(value, entry->value, cache->value_bytes);
    if (err && entry->status != DGO_OK)
        *err = entry->err;
    return entry->status;
}

/* Asking again would give the same; the rest (no memory, cancelled ...) may pass. */
static bool is_lasting(enum dgo_status status)
{
    return status == DGO_OK || status == DGO_ENOFIT || status == DGO_EINVAL ||
           status == DGO_EUNSUPPORTED;
}

static enum dgo_status join(struct context_cache *cache, struct entry *entry, void *value,
                            struct dgo_error *err)
{
    enum dgo_status status;

    entry->waiters++;
    cache->stats.joined++;
    pthread_mutex_unlock(&cache->lock);
    dgo_blocking_begin(); /* in a job, another worker takes the place meanwhile */
    pthread_mutex_lock(&cache->lock);
    while (entry->state == FLYING)
        pthread_cond_wait(&cache->landed, &cache->lock);
    pthread_mutex_unlock(&cache->lock);
    dgo_blocking_end();
    pthread_mutex_lock(&cache->lock);
    status = answer(cache, entry, value, err);
    if (--entry->waiters == 0 && !entry->lasting)
        drop(cache, entry);
    return status;
}

static void land(struct context_cache *cache, struct entry *entry, const void *value,
                 enum dgo_status status, const struct dgo_error *err)
{
    if (has_value(status))
        memcpy(entry->value, value, cache->value_bytes);
    entry->status = status;
    entry->err = *err;
    entry->lasting = is_lasting(status);
    entry->state = READY;
    entry->used_at = ++cache->now;
    if (!entry->lasting) {
        cache->stats.dropped++;
        if (entry->waiters == 0)
            drop(cache, entry);
    }
    pthread_cond_broadcast(&cache->landed);
}

enum dgo_status context_cache_get(struct context_cache *cache, const struct context_key *key,
                                  void *value, context_compute_fn compute, void *arg,
                                  enum context_source *source, struct dgo_error *err)
{
    enum context_source how = CONTEXT_COMPUTED;
    struct dgo_error own = {0};
    enum dgo_status status;
    struct entry *entry;

    pthread_mutex_lock(&cache->lock);
    entry = find(cache, key);
    if (entry && (entry->state == FLYING || !entry->lasting)) {
        how = CONTEXT_JOINED;
        status = join(cache, entry, value, err);
    } else if (entry) {
        how = CONTEXT_HIT;
        cache->stats.hits++;
        status = answer(cache, entry, value, err);
    } else {
        cache->stats.misses++;
        entry = take(cache, key);
        cache->stats.bypassed += !entry;
        pthread_mutex_unlock(&cache->lock);
        status = compute(value, arg, &own);
        pthread_mutex_lock(&cache->lock);
        if (entry)
            land(cache, entry, value, status, &own);
        if (err && status != DGO_OK)
            *err = own;
    }
    pthread_mutex_unlock(&cache->lock);
    if (source)
        *source = how;
    return status;
}

void context_cache_read_stats(struct context_cache *cache, struct context_cache_stats *stats)
{
    pthread_mutex_lock(&cache->lock);
    *stats = cache->stats;
    pthread_mutex_unlock(&cache->lock);
}
