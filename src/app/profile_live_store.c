/* profile_live_store.c - the timeline into the store by the hour, and back. */
#include "profile_live_internal.h"

#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTES = 60, SERIES_MAX = 1024, EVENT_MAX = 512 };
static const uint64_t minute_ns = 60 * DGO_NS_PER_S, hour_ns = 3600 * DGO_NS_PER_S;
static const uint64_t day_ns = 86400 * DGO_NS_PER_S;

/* "0/4242@77/used", "0/card/used", "host/card/host_free". */
static void name_series(const struct dgo_series_key *key, char *name, size_t size)
{
    struct dgo_text text = {.data = name, .size = size};

    name[0] = '\0';
    if (key->gpu_index == DGO_TIMELINE_NO_GPU)
        dgo_text_add(&text, "host");
    else
        dgo_text_addf(&text, "%" PRIu32, key->gpu_index);
    if (key->pid)
        dgo_text_addf(&text, "/%" PRIu32 "@%" PRIu64, key->pid, key->start);
    else
        dgo_text_add(&text, "/card");
    dgo_text_addf(&text, "/%s", dgo_series_kind_name(key->kind));
}

static bool parse_series(const char *name, struct dgo_series_key *key)
{
    const char *slash = strchr(name, '/'), *kind = strrchr(name, '/');
    unsigned gpu = 0, pid = 0;
    unsigned long long start = 0;

    *key = (struct dgo_series_key){.gpu_index = DGO_TIMELINE_NO_GPU};
    if (!slash || kind == slash || !dgo_series_kind_parse(kind + 1, &key->kind))
        return false;
    if (strncmp(name, "host/", 5) != 0) {
        if (sscanf(name, "%u/", &gpu) != 1 || gpu >= DGO_GPU_MAX)
            return false;
        key->gpu_index = gpu;
    }
    if (strncmp(slash, "/card/", 6) == 0)
        return true;
    if (sscanf(slash, "/%u@%llu/", &pid, &start) != 2 || pid == 0)
        return false;
    key->pid = pid;
    key->start = start;
    return true;
}

/* ---- writing ---------------------------------------------------------------------------- */

struct flush {
    struct dgo_timeline_series series[SERIES_MAX];
    char name[SERIES_MAX][DGO_STORE_SERIES_TEXT_MAX];
    struct dgo_stored_bucket bucket[SERIES_MAX][MINUTES];
    struct dgo_timeline_record record[SERIES_MAX];
    struct dgo_timeline_event event[EVENT_MAX];
    struct dgo_event_record event_record[EVENT_MAX];
};

/* One hour of one series; false when there is nothing.  A minute at a time: joined buckets of a
 * longer span need not begin with a minute. */
static bool take_hour(struct profile_live *live, const struct dgo_timeline_series *series,
                      uint64_t start_ns, struct dgo_stored_bucket bucket[MINUTES])
{
    bool any = false;

    for (uint32_t m = 0; m < MINUTES; m++) {
        const uint64_t from_ns = start_ns + m * minute_ns;
        struct dgo_timeline_point point = {.mean = NAN};

        if (from_ns + minute_ns > series->first_ns && from_ns <= series->last_ns)
            any |= dgo_timeline_query(live->timeline, &series->key, from_ns, from_ns + minute_ns,
                                      &point, 1) > 0;
        bucket[m] = (struct dgo_stored_bucket){point.min, point.max, point.mean, point.last};
    }
    return any;
}

static uint32_t take_events(struct profile_live *live, struct flush *flush, uint64_t from_ns)
{
    uint32_t count =
        dgo_timeline_events(live->timeline, from_ns, UINT64_MAX, flush->event, EVENT_MAX);

    count = count < EVENT_MAX ? count : EVENT_MAX;
    for (uint32_t i = 0; i < count; i++)
        flush->event_record[i] =
            (struct dgo_event_record){.time_ns = flush->event[i].time_ns,
                                      .kind = dgo_timeline_event_name(flush->event[i].kind),
                                      .text = flush->event[i].text,
                                      .gpu_index = flush->event[i].gpu_index,
                                      .pid = flush->event[i].pid};
    return count;
}

static enum dgo_status flush_hour(struct profile_live *live, struct flush *flush, uint64_t start_ns,
                                  uint32_t event_count, struct dgo_error *err)
{
    uint32_t listed = dgo_timeline_list(live->timeline, flush->series, SERIES_MAX), count = 0;

    listed = listed < SERIES_MAX ? listed : SERIES_MAX;
    for (uint32_t i = 0; i < listed; i++) {
        if (flush->series[i].last_ns < start_ns ||
            !take_hour(live, &flush->series[i], start_ns, flush->bucket[count]))
            continue;
        name_series(&flush->series[i].key, flush->name[count], sizeof flush->name[count]);
        flush->record[count] = (struct dgo_timeline_record){.series = flush->name[count],
                                                            .start_ns = start_ns,
                                                            .width_ns = minute_ns,
                                                            .count = MINUTES,
                                                            .bucket = flush->bucket[count]};
        count++;
    }
    return dgo_store_put_timeline(live->store, flush->record, count, flush->event_record,
                                  event_count, err);
}

enum dgo_status profile_live_flush(struct profile_live *live, struct dgo_error *err)
{
    struct flush *flush = malloc(sizeof *flush);
    enum dgo_status status = DGO_OK;
    uint64_t now_ns, from_ns;
    uint32_t event_count;

    if (!flush)
        return dgo_fail(err, DGO_ENOMEM, "no memory to write the timeline");
    pthread_mutex_lock(&live->lock);
    now_ns = live->axis_ns;
    pthread_mutex_unlock(&live->lock);
    /* A day at most: the minutes of the timeline reach no further back. */
    from_ns = dgo_max_u64(live->kept_ns, now_ns - dgo_min_u64(now_ns, day_ns));
    event_count = take_events(live, flush, live->kept_ns ? live->kept_ns + 1 : 0);
    for (uint64_t hour = from_ns / hour_ns; status == DGO_OK && hour <= now_ns / hour_ns; hour++) {
        status = flush_hour(live, flush, hour * hour_ns, event_count, err);
        event_count = 0; /* with the first hour */
    }
    if (status == DGO_OK)
        live->kept_ns = now_ns;
    free(flush);
    return status;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* A minute comes back as its least, greatest and last value. */
static void restore_bucket(struct profile_live *live, const struct dgo_series_key *key,
                           uint64_t time_ns, const struct dgo_stored_bucket *bucket)
{
    const float values[] = {bucket->min, bucket->max, bucket->last};
    struct dgo_profiler_reading reading = {.gpu_index = key->gpu_index,
                                           .pid = key->pid,
                                           .start = key->start,
                                           .sample.seconds = (double)time_ns / 1e9};

    for (uint32_t i = 0; i < 3; i++) {
        (void)dgo_timeline_add(live->timeline, key, time_ns + i, (double)values[i], NULL);
        if (key->kind != DGO_SERIES_USED)
            continue;
        reading.sample.used_mib = (double)values[i] / (double)DGO_MIB;
        (void)dgo_profiler_add(live->profiler, &reading, NULL);
    }
}

static void restore(const struct dgo_timeline_record *record, void *data)
{
    struct profile_live *live = data;
    struct dgo_series_key key;

    if (!parse_series(record->series, &key))
        return;
    for (uint32_t i = 0; i < record->count; i++) {
        const uint64_t time_ns = record->start_ns + i * record->width_ns;

        if (isnan(record->bucket[i].mean))
            continue;
        restore_bucket(live, &key, time_ns, &record->bucket[i]);
        live->axis_ns = dgo_max_u64(live->axis_ns, time_ns);
    }
}

static void restore_event(const struct dgo_event_record *record, void *data)
{
    struct profile_live *live = data;
    struct dgo_timeline_event event = {
        .time_ns = record->time_ns, .gpu_index = record->gpu_index, .pid = record->pid};

    if (!dgo_timeline_event_parse(record->kind, &event.kind))
        return;
    (void)dgo_text_copy_escaped(event.text, sizeof event.text, record->text, strlen(record->text));
    dgo_timeline_note(live->timeline, &event);
    live->kept_ns = dgo_max_u64(live->kept_ns, record->time_ns);
}

void profile_live_restore(struct profile_live *live, uint64_t now_ns)
{
    const uint64_t from_ns = now_ns - dgo_min_u64(now_ns, day_ns);
    struct dgo_error err = {0};
    enum dgo_status status =
        dgo_store_each_timeline(live->store, NULL, from_ns, now_ns, restore, live, &err);

    if (status == DGO_OK)
        status = dgo_store_each_event(live->store, from_ns, now_ns, restore_event, live, &err);
    if (status != DGO_OK)
        dgo_log(DGO_LOG_WARN, "what was kept of the timeline cannot be read: %s", err.text);
    live->kept_ns = dgo_max_u64(live->kept_ns, live->axis_ns);
}
