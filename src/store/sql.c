/* sql.c - every statement of the store in one table, and SQLite's results as ours. */
#include "sql.h"

#include <string.h>

#define LAUNCH_COLUMNS                                                                             \
    "id, started_ns, model_path, model_name, model_key, binary_hash, build, settings_json, "       \
    "devices_json, simulated"

static const char *const texts[SQL_STATEMENT_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_GET_PROBE] = "SELECT build, version, flags FROM probe WHERE binary_hash = ?1",
    [SQL_PUT_PROBE] = "INSERT OR REPLACE INTO probe(binary_hash, build, version, flags) "
                      "VALUES(?1, ?2, ?3, ?4)",
    [SQL_TRIM_PROBES] = "DELETE FROM probe WHERE id NOT IN "
                        "(SELECT id FROM probe ORDER BY id DESC LIMIT ?1)",
    [SQL_PUT_LAUNCH] = "INSERT INTO launch(started_ns, model_path, model_name, model_key, "
                       "binary_hash, build, settings_json, devices_json, simulated) "
                       "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [SQL_PUT_FIGURE] = "INSERT INTO figure(launch_id, position, device, kind, planned_bytes, "
                       "measured_bytes) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_TRIM_LAUNCHES] = "DELETE FROM launch WHERE id <= (SELECT max(id) FROM launch) - ?1",
    [SQL_EACH_LAUNCH] = "SELECT " LAUNCH_COLUMNS " FROM launch ORDER BY id DESC LIMIT ?1",
    [SQL_FIND_LAUNCH] =
        "SELECT " LAUNCH_COLUMNS " FROM launch WHERE binary_hash = ?1 AND model_key = ?2 "
        "AND settings_json = ?3 AND simulated = ?4 AND EXISTS(SELECT 1 FROM figure "
        "WHERE launch_id = launch.id AND measured_bytes IS NOT NULL) ORDER BY id DESC LIMIT 1",
    [SQL_GET_FIGURES] = "SELECT device, kind, planned_bytes, measured_bytes FROM figure "
                        "WHERE launch_id = ?1 ORDER BY position LIMIT ?2",
    [SQL_PUT_CALIBRATION] =
        "INSERT OR REPLACE INTO calibration(made_ns, device_key, device_name, quantisation, "
        "binary_hash, build, decode_bytes_per_s, prompt_flops, layer_launch_s, overhead_bytes, "
        "simulated) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_TRIM_CALIBRATIONS] = "DELETE FROM calibration WHERE id NOT IN "
                              "(SELECT id FROM calibration ORDER BY id DESC LIMIT ?1)",
    /* The card itself before its namesakes, the real one before a simulated one, then the same
     * quantisation, the same binary, the newest. */
    [SQL_FIND_CALIBRATION] =
        "SELECT made_ns, quantisation, binary_hash, build, decode_bytes_per_s, prompt_flops, "
        "layer_launch_s, overhead_bytes, simulated FROM calibration "
        "WHERE (device_key = ?1 OR device_name = ?2) AND simulated <= ?5 "
        "ORDER BY simulated, device_key = ?1 DESC, quantisation = ?3 DESC, "
        "binary_hash = ?4 DESC, made_ns DESC, id DESC LIMIT 1",
    [SQL_PUT_OVERHEAD] =
        "INSERT OR REPLACE INTO overhead(launch_ns, device_key, device_name, driver, binary_hash, "
        "ready_bytes, bytes, by_process) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [SQL_TRIM_OVERHEADS] = "DELETE FROM overhead WHERE id NOT IN "
                           "(SELECT id FROM overhead ORDER BY launch_ns DESC, id DESC LIMIT ?1)",
    [SQL_FIND_OVERHEADS] = "SELECT launch_ns, device_key, ready_bytes, bytes, by_process "
                           "FROM overhead WHERE device_name = ?1 AND driver = ?2 AND "
                           "binary_hash = ?3 ORDER BY launch_ns DESC, id DESC LIMIT ?4",
    [SQL_PUT_TIMELINE] = "INSERT OR REPLACE INTO timeline(series, start_ns, width_ns, buckets) "
                         "VALUES(?1, ?2, ?3, ?4)",
    [SQL_PUT_EVENT] =
        "INSERT INTO event(time_ns, kind, gpu_index, pid, text) VALUES(?1, ?2, ?3, ?4, ?5)",
    [SQL_TRIM_TIMELINE] = "DELETE FROM timeline WHERE start_ns < ?1",
    [SQL_TRIM_EVENTS] = "DELETE FROM event WHERE time_ns < ?1",
    [SQL_EACH_TIMELINE] =
        "SELECT series, start_ns, width_ns, buckets FROM timeline WHERE (?1 IS NULL OR "
        "series = ?1) AND start_ns >= ?2 AND start_ns < ?3 ORDER BY start_ns, series",
    [SQL_EACH_EVENT] = "SELECT time_ns, kind, gpu_index, pid, text FROM event "
                       "WHERE time_ns >= ?1 AND time_ns < ?2 ORDER BY time_ns, id",
};

bool sql_is_damage(int result)
{
    /* ERROR: a table or a column is missing; MISMATCH: a value is not of its column's type. */
    return (result & 0xff) == SQLITE_CORRUPT || (result & 0xff) == SQLITE_NOTADB ||
           (result & 0xff) == SQLITE_ERROR || (result & 0xff) == SQLITE_MISMATCH;
}

enum dgo_status sql_fail(const struct dgo_store *store, int result, struct dgo_error *err)
{
    const char *path = store->path;

    if (sql_is_damage(result))
        return dgo_fail(err, DGO_EFORMAT,
                        "\"%s\" is damaged; it will be moved aside when the program starts again",
                        path);
    switch (result & 0xff) {
    case SQLITE_NOMEM:
        return dgo_fail(err, DGO_ENOMEM, "no memory for \"%s\"", path);
    case SQLITE_TOOBIG:
        return dgo_fail(err, DGO_ELIMIT, "a value is too large for \"%s\"", path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return dgo_fail(err, DGO_EBUSY, "\"%s\" is held by another process for too long", path);
    case SQLITE_FULL:
        return dgo_fail(err, DGO_EIO, "\"%s\" cannot grow: the disk is full", path);
    case SQLITE_READONLY:
        return dgo_fail(err, DGO_EIO, "\"%s\" cannot be written: it is read-only", path);
    default:
        return dgo_fail(err, DGO_EIO, "\"%s\" cannot be used: %s", path, sqlite3_errstr(result));
    }
}

int sql_prepare(struct dgo_store *store)
{
    for (int i = 0; i < SQL_STATEMENT_COUNT; i++) {
        const int result = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                              &store->statement[i], NULL);

        if (result != SQLITE_OK)
            return result;
    }
    return SQLITE_OK;
}

int sql_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    const size_t length = text ? strlen(text) : 0;

    if (length > DGO_STORE_TEXT_MAX)
        return SQLITE_TOOBIG;
    return sqlite3_bind_text(statement, at, text ? text : "", (int)length, SQLITE_STATIC);
}

int sql_bind_u64(sqlite3_stmt *statement, int at, uint64_t value)
{
    return value > INT64_MAX ? SQLITE_TOOBIG
                             : sqlite3_bind_int64(statement, at, (sqlite3_int64)value);
}

const char *sql_text(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);

    return text ? (const char *)text : "";
}

uint64_t sql_u64(sqlite3_stmt *statement, int column)
{
    const sqlite3_int64 value = sqlite3_column_int64(statement, column);

    return value < 0 ? 0 : (uint64_t)value;
}

int sql_run(struct dgo_store *store, enum sql_statement which)
{
    sqlite3_stmt *statement = store->statement[which];
    const int result = sqlite3_step(statement);

    (void)sqlite3_reset(statement); /* repeats the failure of the step */
    return result == SQLITE_DONE ? SQLITE_OK : result;
}

int sql_transaction(struct dgo_store *store, int (*body)(struct dgo_store *store, void *data),
                    void *data)
{
    int result = sql_run(store, SQL_BEGIN);

    if (result != SQLITE_OK)
        return result;
    result = body(store, data);
    if (result == SQLITE_OK)
        result = sql_run(store, SQL_COMMIT);
    if (result != SQLITE_OK && !sqlite3_get_autocommit(store->db))
        (void)sql_run(store, SQL_ROLLBACK);
    return result;
}

int sql_bind_texts(sqlite3_stmt *statement, int at, const char *const *text, int count)
{
    int result = SQLITE_OK;

    for (int i = 0; result == SQLITE_OK && i < count; i++)
        result = sql_bind_text(statement, at + i, text[i]);
    return result;
}

int sql_trim(struct dgo_store *store, enum sql_statement which, int rows_max)
{
    (void)sqlite3_bind_int(store->statement[which], 1, rows_max);
    return sql_run(store, which);
}

struct row_put {
    enum sql_statement put, trim;
    int rows_max;
};

static int put_row(struct dgo_store *store, void *data)
{
    const struct row_put *row = data;
    const int result = sql_run(store, row->put);

    return result == SQLITE_OK ? sql_trim(store, row->trim, row->rows_max) : result;
}

enum dgo_status sql_put_row(struct dgo_store *store, enum sql_statement put, int bound,
                            enum sql_statement trim, int rows_max, struct dgo_error *err)
{
    struct row_put row = {put, trim, rows_max};
    const int result = bound == SQLITE_OK ? sql_transaction(store, put_row, &row) : bound;

    (void)sqlite3_clear_bindings(store->statement[put]);
    return result == SQLITE_OK ? DGO_OK : sql_fail(store, result, err);
}
