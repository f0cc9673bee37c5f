/* overheads.c - what launches took of cards outside the engine's books. */
#include "sql.h"

#include "dgo_text.h"

/* Parameters of the insert, and columns of the select, as sql.c numbers them. */
enum { PUT_LAUNCH = 1, PUT_KEY, PUT_NAME, PUT_DRIVER, PUT_HASH, PUT_READY, PUT_BYTES, PUT_PROCESS };
enum { AT_LAUNCH, AT_KEY, AT_READY, AT_BYTES, AT_PROCESS };

static int bind_record(sqlite3_stmt *row, const struct dgo_overhead_record *record)
{
    int result = sql_bind_u64(row, PUT_LAUNCH, record->launch_ns);

    if (result == SQLITE_OK)
        result = sql_bind_text(row, PUT_KEY, record->device_key);
    if (result == SQLITE_OK)
        result = sql_bind_text(row, PUT_NAME, record->device_name);
    if (result == SQLITE_OK)
        result = sql_bind_text(row, PUT_DRIVER, record->driver);
    if (result == SQLITE_OK)
        result = sql_bind_text(row, PUT_HASH, record->binary_hash);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_READY, record->ready_bytes);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_BYTES, record->bytes);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_PROCESS, record->by_process);
    return result;
}

static int put_record(struct dgo_store *store, void *data)
{
    const int result = sql_run(store, SQL_PUT_OVERHEAD);

    (void)data;
    if (result != SQLITE_OK)
        return result;
    (void)sqlite3_bind_int(store->statement[SQL_TRIM_OVERHEADS], 1, DGO_STORE_OVERHEAD_MAX);
    return sql_run(store, SQL_TRIM_OVERHEADS);
}

enum dgo_status dgo_store_put_overhead(struct dgo_store *store,
                                       const struct dgo_overhead_record *record,
                                       struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[SQL_PUT_OVERHEAD];
    int result = bind_record(row, record);

    if (result == SQLITE_OK)
        result = sql_transaction(store, put_record, NULL);
    (void)sqlite3_clear_bindings(row);
    return result == SQLITE_OK ? DGO_OK : sql_fail(store, result, err);
}

enum dgo_status dgo_store_find_overheads(struct dgo_store *store,
                                         const struct dgo_overhead_record *like,
                                         struct dgo_overhead_record *found, uint32_t max,
                                         uint32_t *count, struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[SQL_FIND_OVERHEADS];
    const char *const texts[] = {like->device_name, like->driver, like->binary_hash};
    int result = SQLITE_OK;

    *count = 0;
    for (int i = 0; result == SQLITE_OK && i < 3; i++)
        result = sql_bind_text(row, i + 1, texts[i]);
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
