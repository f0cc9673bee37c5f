/* timelines.c - hours of series as rows, their buckets as little-endian floats; events. */
#include "dgo_store_timeline.h"
#include "sql.h"

#include "dgo_read.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKET_BYTES = 4 * 4 };

static void put_f32(unsigned char *at, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(bits >> 8 * i);
}

/* The caller's buffer holds DGO_STORE_BUCKET_MAX of them. */
static int encode(const struct dgo_timeline_record *record, unsigned char *bytes)
{
    for (uint32_t i = 0; i < record->count; i++) {
        const struct dgo_stored_bucket *bucket = &record->bucket[i];
        const float values[] = {bucket->min, bucket->max, bucket->mean, bucket->last};

        for (int v = 0; v < 4; v++)
            put_f32(bytes + i * BUCKET_BYTES + 4 * v, values[v]);
    }
    return (int)(record->count * BUCKET_BYTES);
}

struct batch {
    const struct dgo_timeline_record *record;
    const struct dgo_event_record *event;
    uint32_t count, event_count;
    unsigned char *bytes;
};

static int put_record(struct dgo_store *store, const struct dgo_timeline_record *record,
                      unsigned char *bytes)
{
    sqlite3_stmt *row = store->statement[SQL_PUT_TIMELINE];
    int result = sql_bind_text(row, 1, record->series);

    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 2, record->start_ns);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 3, record->width_ns);
    if (result == SQLITE_OK)
        result = sqlite3_bind_blob(row, 4, bytes, encode(record, bytes), SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sql_run(store, SQL_PUT_TIMELINE);
    (void)sqlite3_clear_bindings(row);
    return result;
}

static int put_event(struct dgo_store *store, const struct dgo_event_record *event)
{
    sqlite3_stmt *row = store->statement[SQL_PUT_EVENT];
    int result = sql_bind_u64(row, 1, event->time_ns);

    if (result == SQLITE_OK)
        result = sql_bind_text(row, 2, event->kind);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 3, event->gpu_index);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 4, event->pid);
    if (result == SQLITE_OK)
        result = sql_bind_text(row, 5, event->text);
    if (result == SQLITE_OK)
        result = sql_run(store, SQL_PUT_EVENT);
    (void)sqlite3_clear_bindings(row);
    return result;
}

static int put_batch(struct dgo_store *store, void *data)
{
    const struct batch *batch = data;
    int result = SQLITE_OK;

    for (uint32_t i = 0; i < batch->count && result == SQLITE_OK; i++)
        result = put_record(store, &batch->record[i], batch->bytes);
    for (uint32_t i = 0; i < batch->event_count && result == SQLITE_OK; i++)
        result = put_event(store, &batch->event[i]);
    return result;
}

enum dgo_status dgo_store_put_timeline(struct dgo_store *store,
                                       const struct dgo_timeline_record *records, uint32_t count,
                                       const struct dgo_event_record *events, uint32_t event_count,
                                       struct dgo_error *err)
{
    struct batch batch = {records, events, count, event_count, NULL};
    int result;

    for (uint32_t i = 0; i < count; i++)
        if (records[i].count > DGO_STORE_BUCKET_MAX)
            return dgo_fail(err, DGO_ELIMIT, "a row of the timeline has at most %d buckets",
                            DGO_STORE_BUCKET_MAX);
    batch.bytes = malloc((size_t)DGO_STORE_BUCKET_MAX * BUCKET_BYTES);
    if (!batch.bytes)
        return dgo_fail(err, DGO_ENOMEM, "no memory to write the timeline");
    result = sql_transaction(store, put_batch, &batch);
    free(batch.bytes);
    return result == SQLITE_OK ? DGO_OK : sql_fail(store, result, err);
}

static int trim(struct dgo_store *store, void *data)
{
    const uint64_t before_ns = *(const uint64_t *)data;
    int result = sql_bind_u64(store->statement[SQL_TRIM_TIMELINE], 1, before_ns);

    if (result == SQLITE_OK)
        result = sql_run(store, SQL_TRIM_TIMELINE);
    if (result == SQLITE_OK)
        result = sql_bind_u64(store->statement[SQL_TRIM_EVENTS], 1, before_ns);
    return result == SQLITE_OK ? sql_run(store, SQL_TRIM_EVENTS) : result;
}

enum dgo_status dgo_store_trim_timeline(struct dgo_store *store, uint64_t before_ns,
                                        struct dgo_error *err)
{
    const int result = sql_transaction(store, trim, &before_ns);

    return result == SQLITE_OK ? DGO_OK : sql_fail(store, result, err);
}

/* False: not what we write. */
static bool decode(sqlite3_stmt *row, struct dgo_timeline_record *record,
                   struct dgo_stored_bucket *bucket)
{
    const void *bytes = sqlite3_column_blob(row, 3);
    const int length = sqlite3_column_bytes(row, 3);
    struct dgo_reader in;

    if (length < 0 || length % BUCKET_BYTES || length / BUCKET_BYTES > DGO_STORE_BUCKET_MAX)
        return false;
    *record = (struct dgo_timeline_record){.series = sql_text(row, 0),
                                           .start_ns = sql_u64(row, 1),
                                           .width_ns = sql_u64(row, 2),
                                           .count = (uint32_t)(length / BUCKET_BYTES),
                                           .bucket = bucket};
    dgo_read_memory(&in, bytes, (size_t)length);
    for (uint32_t i = 0; i < record->count; i++) {
        bucket[i].min = dgo_read_f32(&in);
        bucket[i].max = dgo_read_f32(&in);
        bucket[i].mean = dgo_read_f32(&in);
        bucket[i].last = dgo_read_f32(&in);
    }
    return record->width_ns > 0 && record->width_ns < UINT64_C(86400000000000);
}

enum dgo_status dgo_store_each_timeline(struct dgo_store *store, const char *series,
                                        uint64_t from_ns, uint64_t to_ns,
                                        dgo_timeline_record_fn each, void *data,
                                        struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[SQL_EACH_TIMELINE];
    struct dgo_stored_bucket *bucket = malloc(DGO_STORE_BUCKET_MAX * sizeof *bucket);
    struct dgo_timeline_record record;
    int result = bucket ? SQLITE_OK : SQLITE_NOMEM;

    if (result == SQLITE_OK)
        result = series ? sqlite3_bind_text(row, 1, series, -1, SQLITE_STATIC)
                        : sqlite3_bind_null(row, 1);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 2, dgo_min_u64(from_ns, INT64_MAX));
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 3, dgo_min_u64(to_ns, INT64_MAX));
    while (result == SQLITE_OK && (result = sqlite3_step(row)) == SQLITE_ROW) {
        if (decode(row, &record, bucket))
            each(&record, data);
        result = SQLITE_OK;
    }
    (void)sqlite3_reset(row);
    (void)sqlite3_clear_bindings(row);
    free(bucket);
    return result == SQLITE_DONE ? DGO_OK : sql_fail(store, result, err);
}

enum dgo_status dgo_store_each_event(struct dgo_store *store, uint64_t from_ns, uint64_t to_ns,
                                     dgo_event_record_fn each, void *data, struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[SQL_EACH_EVENT];
    int result = sql_bind_u64(row, 1, dgo_min_u64(from_ns, INT64_MAX));

    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 2, dgo_min_u64(to_ns, INT64_MAX));
    while (result == SQLITE_OK && (result = sqlite3_step(row)) == SQLITE_ROW) {
        const struct dgo_event_record event = {
            .time_ns = sql_u64(row, 0),
            .kind = sql_text(row, 1),
            .gpu_index = (uint32_t)dgo_min_u64(sql_u64(row, 2), UINT32_MAX),
            .pid = (uint32_t)dgo_min_u64(sql_u64(row, 3), UINT32_MAX),
            .text = sql_text(row, 4)};

        each(&event, data);
        result = SQLITE_OK;
    }
    (void)sqlite3_reset(row);
    return result == SQLITE_DONE ? DGO_OK : sql_fail(store, result, err);
}
