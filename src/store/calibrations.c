/* calibrations.c - what cards reach, by card, quantisation and binary. */
#include "sql.h"

#include "dgo_text.h"

/* Parameters of the insert, as sql.c numbers them. */
enum {
    PUT_MADE = 1,
    PUT_KEY,
    PUT_NAME,
    PUT_QUANTISATION,
    PUT_HASH,
    PUT_BUILD,
    PUT_DECODE,
    PUT_PROMPT,
    PUT_LAUNCH,
    PUT_OVERHEAD,
    PUT_SIMULATED
};

static int bind_figure(sqlite3_stmt *row, int at, double value)
{
    return value > 0 ? sqlite3_bind_double(row, at, value) : sqlite3_bind_null(row, at);
}

static int bind_record(sqlite3_stmt *row, const struct dgo_calibration_record *record)
{
    const char *const texts[] = {record->device_key, record->device_name, record->quantisation,
                                 record->binary_hash};
    int result = sql_bind_u64(row, PUT_MADE, record->made_ns);

    if (result == SQLITE_OK)
        result = sql_bind_texts(row, PUT_KEY, texts, 4);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_BUILD, record->build);
    if (result == SQLITE_OK)
        result = bind_figure(row, PUT_DECODE, record->decode_bytes_per_s);
    if (result == SQLITE_OK)
        result = bind_figure(row, PUT_PROMPT, record->prompt_flops);
    if (result == SQLITE_OK)
        result = bind_figure(row, PUT_LAUNCH, record->layer_launch_s);
    if (result == SQLITE_OK)
        result = record->overhead_known ? sql_bind_u64(row, PUT_OVERHEAD, record->overhead_bytes)
                                        : sqlite3_bind_null(row, PUT_OVERHEAD);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, PUT_SIMULATED, record->simulated);
    return result;
}

enum dgo_status dgo_store_put_calibration(struct dgo_store *store,
                                          const struct dgo_calibration_record *record,
                                          struct dgo_error *err)
{
    return sql_put_row(store, SQL_PUT_CALIBRATION,
                       bind_record(store->statement[SQL_PUT_CALIBRATION], record),
                       SQL_TRIM_CALIBRATIONS, DGO_STORE_CALIBRATION_MAX, err);
}

/* From the row the statement stands on; false: not what we write. */
static bool read_record(sqlite3_stmt *row, const struct dgo_calibration_record *like,
                        struct dgo_calibration_record *found)
{
    const uint64_t build = sql_u64(row, 3);

    *found = *like;
    found->made_ns = sql_u64(row, 0);
    found->build = (uint32_t)build;
    found->decode_bytes_per_s = sqlite3_column_double(row, 4);
    found->prompt_flops = sqlite3_column_double(row, 5);
    found->layer_launch_s = sqlite3_column_double(row, 6);
    found->overhead_known = sqlite3_column_type(row, 7) != SQLITE_NULL;
    found->overhead_bytes = sql_u64(row, 7);
    found->simulated = sql_u64(row, 8) != 0;
    return build <= UINT32_MAX && found->decode_bytes_per_s >= 0 && found->prompt_flops >= 0 &&
           found->layer_launch_s >= 0 &&
           dgo_text_copy(found->quantisation, sizeof found->quantisation, sql_text(row, 1)) &&
           dgo_text_copy(found->binary_hash, sizeof found->binary_hash, sql_text(row, 2));
}

enum dgo_status dgo_store_find_calibration(struct dgo_store *store,
                                           const struct dgo_calibration_record *like,
                                           struct dgo_calibration_record *found,
                                           struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[SQL_FIND_CALIBRATION];
    const char *const texts[] = {like->device_key, like->device_name, like->quantisation,
                                 like->binary_hash};
    struct dgo_calibration_record record;
    enum dgo_status status = DGO_OK;
    int result = sql_bind_texts(row, 1, texts, 4);

    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 5, like->simulated);
    if (result == SQLITE_OK)
        result = sqlite3_step(row);
    if (result == SQLITE_DONE)
        status = dgo_fail(err, DGO_ENOTFOUND, "\"%s\" was not calibrated", like->device_name);
    else if (result != SQLITE_ROW)
        status = sql_fail(store, result, err);
    else if (!read_record(row, like, &record))
        status = sql_fail(store, SQLITE_CORRUPT, err);
    else
        *found = record;
    (void)sqlite3_reset(row);
    (void)sqlite3_clear_bindings(row);
    return status;
}
