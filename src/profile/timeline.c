/* timeline.c - series by key, each with its tiers; events in a ring of their own. */
#include "dgo_timeline.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "ring.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    uint64_t width_ns;
    uint32_t cell_count;
} tiers[DGO_TIMELINE_TIER_COUNT] = {
    {DGO_NS_PER_S, 3600},          {10 * DGO_NS_PER_S, 2160},   {60 * DGO_NS_PER_S, 1440},
    {600 * DGO_NS_PER_S, 7 * 144}, {3600 * DGO_NS_PER_S, 1440},
};
enum { PROCESS_TIER_COUNT = 3 };

struct series {
    struct dgo_timeline_series about;
    uint32_t tier_count;
    struct ring tier[DGO_TIMELINE_TIER_COUNT];
    struct ring_bucket *cells; /* of all tiers */
    uint32_t next;             /* in its chain, 0 ends it, else index + 1 */
};

struct dgo_timeline {
    pthread_mutex_t lock;
    uint32_t series_max, series_count;
    struct series **series; /* in the order they came */
    uint32_t *chain;        /* hash table, chain_count long: index + 1 of the first */
    uint32_t chain_count;   /* a power of two */
    uint32_t event_max;
    uint64_t event_count; /* ever */
    struct dgo_timeline_event *event;
    uint64_t sample_count, backwards, evicted;
    size_t bytes;
};

static const char *const kind_names[] = {
#define X(id, name, unit) name,
    DGO_SERIES_KIND_TABLE(X)
#undef X
};
static const char *const kind_units[] = {
#define X(id, name, unit) unit,
    DGO_SERIES_KIND_TABLE(X)
#undef X
};
static const char *const event_names[] = {
#define X(id, name) name,
    DGO_TIMELINE_EVENT_TABLE(X)
#undef X
};

const char *dgo_series_kind_name(enum dgo_series_kind kind)
{
    return (unsigned)kind < DGO_SERIES_KIND_COUNT ? kind_names[kind] : "unknown";
}

const char *dgo_series_kind_unit(enum dgo_series_kind kind)
{
    return (unsigned)kind < DGO_SERIES_KIND_COUNT ? kind_units[kind] : "";
}

bool dgo_series_kind_parse(const char *name, enum dgo_series_kind *kind)
{
    for (uint32_t i = 0; i < DGO_SERIES_KIND_COUNT; i++) {
        if (!strcmp(kind_names[i], name)) {
            *kind = (enum dgo_series_kind)i;
            return true;
        }
    }
    return false;
}

const char *dgo_timeline_event_name(enum dgo_timeline_event_kind kind)
{
    return (unsigned)kind < DGO_TIMELINE_EVENT_KIND_COUNT ? event_names[kind] : "unknown";
}

bool dgo_timeline_event_parse(const char *name, enum dgo_timeline_event_kind *kind)
{
    for (uint32_t i = 0; i < DGO_TIMELINE_EVENT_KIND_COUNT; i++) {
        if (!strcmp(event_names[i], name)) {
            *kind = (enum dgo_timeline_event_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- series by key ---------------------------------------------------------------------- */

static bool same_key(const struct dgo_series_key *a, const struct dgo_series_key *b)
{
    return a->kind == b->kind && a->gpu_index == b->gpu_index && a->pid == b->pid &&
           a->start == b->start;
}

static uint32_t chain_of(const struct dgo_timeline *timeline, const struct dgo_series_key *key)
{
    uint64_t hash = ((uint64_t)key->gpu_index << 32 | key->pid) * 0x9e3779b97f4a7c15u;

    hash = (hash ^ hash >> 29 ^ key->start ^ (uint64_t)key->kind << 56) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(hash >> 40) & (timeline->chain_count - 1);
}

static struct series *find(struct dgo_timeline *timeline, const struct dgo_series_key *key)
{
    for (uint32_t at = timeline->chain[chain_of(timeline, key)]; at;
         at = timeline->series[at - 1]->next)
        if (same_key(&timeline->series[at - 1]->about.key, key))
            return timeline->series[at - 1];
    return NULL;
}

static void link_all(struct dgo_timeline *timeline)
{
    memset(timeline->chain, 0, timeline->chain_count * sizeof *timeline->chain);
    for (uint32_t i = 0; i < timeline->series_count; i++) {
        uint32_t *chain = &timeline->chain[chain_of(timeline, &timeline->series[i]->about.key)];

        timeline->series[i]->next = *chain;
        *chain = i + 1;
    }
}

static size_t cells_of(uint32_t tier_count)
{
    return tier_count == PROCESS_TIER_COUNT ? DGO_TIMELINE_CELLS_PROCESS
                                            : DGO_TIMELINE_CELLS_DEVICE;
}

static void free_series(struct series *series)
{
    if (series)
        free(series->cells);
    free(series);
}

/* Cells are zeroed pages until a sample touches them. */
static struct series *make_series(const struct dgo_series_key *key)
{
    struct series *series = calloc(1, sizeof *series);
    struct ring_bucket *cell;

    if (!series)
        return NULL;
    series->about.key = *key;
    series->tier_count = key->pid ? PROCESS_TIER_COUNT : DGO_TIMELINE_TIER_COUNT;
    series->cells = cell = calloc(cells_of(series->tier_count), sizeof *series->cells);
    if (!cell) {
        free(series);
        return NULL;
    }
    for (uint32_t t = 0; t < series->tier_count; t++) {
        series->tier[t] = (struct ring){
            .width_ns = tiers[t].width_ns, .cell_count = tiers[t].cell_count, .cell = cell};
        cell += tiers[t].cell_count;
    }
    return series;
}

/* The process series that was unheard of for longest makes room. */
static bool evict(struct dgo_timeline *timeline)
{
    uint32_t oldest = UINT32_MAX;

    for (uint32_t i = 0; i < timeline->series_count; i++) {
        const struct dgo_timeline_series *about = &timeline->series[i]->about;

        if (about->key.pid &&
            (oldest == UINT32_MAX || about->last_ns < timeline->series[oldest]->about.last_ns))
            oldest = i;
    }
    if (oldest == UINT32_MAX)
        return false;
    timeline->bytes -= cells_of(PROCESS_TIER_COUNT) * sizeof(struct ring_bucket);
    free_series(timeline->series[oldest]);
    memmove(&timeline->series[oldest], &timeline->series[oldest + 1],
            (timeline->series_count - oldest - 1) * sizeof(struct series *));
    timeline->series_count--;
    timeline->evicted++;
    link_all(timeline);
    return true;
}

static enum dgo_status open_series(struct dgo_timeline *timeline, const struct dgo_series_key *key,
                                   struct series **series, struct dgo_error *err)
{
    *series = find(timeline, key);
    if (*series)
        return DGO_OK;
    if (timeline->series_count == timeline->series_max && !evict(timeline))
        return dgo_fail(err, DGO_ELIMIT, "the timeline holds its %u series", timeline->series_max);
    *series = make_series(key);
    if (!*series)
        return dgo_fail(err, DGO_ENOMEM, "no memory for another series of the timeline");
    timeline->bytes += cells_of((*series)->tier_count) * sizeof(struct ring_bucket);
    timeline->series[timeline->series_count++] = *series;

    uint32_t *chain = &timeline->chain[chain_of(timeline, key)];

    (*series)->next = *chain;
    *chain = timeline->series_count;
    return DGO_OK;
}

/* ---- public ----------------------------------------------------------------------------- */

enum dgo_status dgo_timeline_new(const struct dgo_timeline_config *config,
                                 struct dgo_timeline **timeline, struct dgo_error *err)
{
    struct dgo_timeline *made = calloc(1, sizeof *made);

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "no memory for a timeline");
    made->series_max =
        config && config->series_max ? config->series_max : (uint32_t)DGO_TIMELINE_SERIES_MAX;
    made->event_max =
        config && config->event_max ? config->event_max : (uint32_t)DGO_TIMELINE_EVENT_MAX;
    made->chain_count = 16;
    while (made->chain_count < made->series_max && made->chain_count < 1u << 20)
        made->chain_count *= 2;
    made->series = calloc(made->series_max, sizeof(struct series *));
    made->chain = calloc(made->chain_count, sizeof *made->chain);
    made->event = calloc(made->event_max, sizeof *made->event);
    pthread_mutex_init(&made->lock, NULL);
    if (!made->series || !made->chain || !made->event) {
        dgo_timeline_free(made);
        return dgo_fail(err, DGO_ENOMEM, "no memory for a timeline");
    }
    *timeline = made;
    return DGO_OK;
}

void dgo_timeline_free(struct dgo_timeline *timeline)
{
    if (!timeline)
        return;
    for (uint32_t i = 0; i < timeline->series_count; i++)
        free_series(timeline->series[i]);
    free(timeline->series);
    free(timeline->chain);
    free(timeline->event);
    pthread_mutex_destroy(&timeline->lock);
    free(timeline);
}

static void take(struct dgo_timeline *timeline, struct series *series, uint64_t time_ns,
                 double value)
{
    struct dgo_timeline_series *about = &series->about;

    if (about->sample_count == 0)
        about->first_ns = about->last_ns = time_ns;
    timeline->backwards += time_ns < about->last_ns;
    about->last_ns = dgo_max_u64(about->last_ns, time_ns);
    for (uint32_t t = 0; t < series->tier_count; t++)
        (void)ring_add(&series->tier[t], about->last_ns, (float)value);
    about->last = value;
    about->sample_count++;
    timeline->sample_count++;
}

enum dgo_status dgo_timeline_add(struct dgo_timeline *timeline, const struct dgo_series_key *key,
                                 uint64_t time_ns, double value, struct dgo_error *err)
{
    struct series *series;
    enum dgo_status status;

    if (!isfinite(value))
        return DGO_OK;
    pthread_mutex_lock(&timeline->lock);
    status = open_series(timeline, key, &series, err);
    if (status == DGO_OK)
        take(timeline, series, time_ns, value);
    pthread_mutex_unlock(&timeline->lock);
    return status;
}

void dgo_timeline_note(struct dgo_timeline *timeline, const struct dgo_timeline_event *event)
{
    pthread_mutex_lock(&timeline->lock);
    timeline->event[timeline->event_count++ % timeline->event_max] = *event;
    pthread_mutex_unlock(&timeline->lock);
}

/* The finest tier that still tells of `from_ns`, or of the series' beginning. */
static const struct ring *choose_tier(const struct series *series, uint64_t from_ns)
{
    const uint64_t wanted = dgo_max_u64(from_ns, series->about.first_ns);

    for (uint32_t t = 0; t + 1 < series->tier_count; t++)
        if (ring_reaches_ns(&series->tier[t]) <= wanted)
            return &series->tier[t];
    return &series->tier[series->tier_count - 1];
}

uint32_t dgo_timeline_query(struct dgo_timeline *timeline, const struct dgo_series_key *key,
                            uint64_t from_ns, uint64_t to_ns, struct dgo_timeline_point *points,
                            uint32_t point_max)
{
    uint32_t count = 0;

    pthread_mutex_lock(&timeline->lock);

    const struct series *series = find(timeline, key);

    if (series)
        count = ring_read(choose_tier(series, from_ns), from_ns, to_ns, points, point_max);
    pthread_mutex_unlock(&timeline->lock);
    return count;
}

uint32_t dgo_timeline_list(struct dgo_timeline *timeline, struct dgo_timeline_series *series,
                           uint32_t max)
{
    uint32_t count;

    pthread_mutex_lock(&timeline->lock);
    count = timeline->series_count;
    for (uint32_t i = 0; i < count && i < max; i++)
        series[i] = timeline->series[i]->about;
    pthread_mutex_unlock(&timeline->lock);
    return count;
}

uint32_t dgo_timeline_events(struct dgo_timeline *timeline, uint64_t from_ns, uint64_t to_ns,
                             struct dgo_timeline_event *events, uint32_t max)
{
    uint32_t count = 0;

    pthread_mutex_lock(&timeline->lock);

    const uint64_t held = dgo_min_u64(timeline->event_count, timeline->event_max);

    for (uint64_t i = timeline->event_count - held; i < timeline->event_count; i++) {
        const struct dgo_timeline_event *event = &timeline->event[i % timeline->event_max];

        if (event->time_ns < from_ns || event->time_ns >= to_ns)
            continue;
        if (count < max)
            events[count] = *event;
        count++;
    }
    pthread_mutex_unlock(&timeline->lock);
    return count;
}

void dgo_timeline_read_stats(struct dgo_timeline *timeline, struct dgo_timeline_stats *stats)
{
    pthread_mutex_lock(&timeline->lock);
    *stats = (struct dgo_timeline_stats){
        .series_count = timeline->series_count,
        .series_max = timeline->series_max,
        .event_count = (uint32_t)dgo_min_u64(timeline->event_count, timeline->event_max),
        .event_max = timeline->event_max,
        .sample_count = timeline->sample_count,
        .backwards = timeline->backwards,
        .evicted = timeline->evicted,
        .bytes = timeline->bytes,
    };
    pthread_mutex_unlock(&timeline->lock);
}
