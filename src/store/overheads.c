/* overheads.c - what launches took of cards outside the engine's books. */
#include "sql.h"

#include "dgo_text.h"

/* Parameters of the insert, and columns of the select, as sql.c numbers them. */
enum { PUT_LAUNCH = 1, PUT_KEY, PUT_NAME, PUT_DRIVER, PUT_HASH, PUT_READY, PUT_BYTES, PUT_PROCESS };
enum { AT_LAUNCH, AT_KEY, AT_READY, AT_BYTES, AT_PROCESS };

static int bind_record(sqlite3_stmt *row, const struct dgo_overhead_record *record)
{
    const char *const texts[] = {record->device_key, record->device_name, record->driver,
                                 record->binary_hash};
    int result = sql_bind_u64(row, PUT_LAUNCH, record->launch_ns);

    if (result == SQLITE_OK)
        result = sql_bind_texts(row, PUT_KEY, texts, 4);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_READY, record->ready_bytes);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_BYTES, record->bytes);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_PROCESS, record->by_process);
    return result;
}

enum dgo_status dgo_store_put_overhead(struct dgo_store *store,
                                       const struct dgo_overhead_record *record,
                                       struct dgo_error *err)
{
    return sql_put_row(store, SQL_PUT_OVERHEAD,
                       bind_record(store->statement[SQL_PUT_OVERHEAD], record), SQL_TRIM_OVERHEADS,
                       DGO_STORE_OVERHEAD_MAX, err);
}

enum dgo_status dgo_store_find_overheads(struct dgo_store *store,
                                         const struct dgo_overhead_record *like,
                                         struct dgo_overhead_record *found, uint32_t max,
                                         uint32_t *count, struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[SQL_FIND_OVERHEADS];
    const char *const texts[] = {like->device_name, like->driver, like->binary_hash};
    int result = sql_bind_texts(row, 1, texts, 3);

    *count = 0;
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(row, 4, max);
    while (result == SQLITE_OK && (result = sqlite3_step(row)) == SQLITE_ROW) {
        struct dgo_overhead_record *record = &found[(*count)++];

        *record = *like;
        record->launch_ns = sql_u64(row, AT_LAUNCH);
        record->ready_bytes = sql_u64(row, AT_READY);
        record->bytes = sql_u64(row, AT_BYTES);
        record->by_process = sql_u64(row, AT_PROCESS) != 0;
        result = dgo_text_copy(record->device_key, sizeof record->device_key, sql_text(row, AT_KEY))
                     ? SQLITE_OK
                     : SQLITE_CORRUPT;
    }
    (void)sqlite3_reset(row);
    (void)sqlite3_clear_bindings(row);
    return result == SQLITE_DONE ? DGO_OK : sql_fail(store, result, err);
}
