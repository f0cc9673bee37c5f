/* launches.c - the history: what was planned, what was measured. */
#include "sql.h"

#include "dgo_text.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_names[DGO_BUFFER_KIND_COUNT] = {
    [DGO_BUFFER_MODEL] = "weights",
    [DGO_BUFFER_CONTEXT] = "context",
    [DGO_BUFFER_COMPUTE] = "compute",
    [DGO_BUFFER_OUTPUT] = "output",
};

/* Columns of a launch, as sql.c names them. */
enum {
    AT_ID,
    AT_STARTED,
    AT_PATH,
    AT_NAME,
    AT_KEY,
    AT_HASH,
    AT_BUILD,
    AT_SETTINGS,
    AT_DEVICES,
    AT_SIMULATED
};

static const char *key_of(const struct dgo_launch_record *record)
{
    return record->model_key ? record->model_key : record->model_path;
}

static int put_row(struct dgo_store *store, const struct dgo_launch_record *record)
{
    sqlite3_stmt *row = store->statement[SQL_PUT_LAUNCH];
    const char *const texts[] = {NULL,
                                 NULL,
                                 record->model_path,
                                 record->model_name,
                                 key_of(record),
                                 record->binary_hash,
                                 NULL,
                                 record->settings_json,
                                 record->devices_json};
    int result = sql_bind_u64(row, AT_STARTED, record->started_ns);

    for (int at = AT_PATH; result == SQLITE_OK && at <= AT_DEVICES; at++)
        if (at != AT_BUILD)
            result = sql_bind_text(row, at, texts[at]);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, AT_BUILD, record->build);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, AT_SIMULATED, record->simulated);
    if (result == SQLITE_OK)
        result = sql_run(store, SQL_PUT_LAUNCH);
    (void)sqlite3_clear_bindings(row);
    return result;
}

static int put_figure(struct dgo_store *store, sqlite3_int64 launch_id, uint32_t position,
                      const struct dgo_launch_figure *figure)
{
    sqlite3_stmt *row = store->statement[SQL_PUT_FIGURE];
    int result = sqlite3_bind_int64(row, 1, launch_id);

    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 2, position);
    if (result == SQLITE_OK)
        result = sql_bind_text(row, 3, figure->device);
    if (result == SQLITE_OK)
        result = sql_bind_text(row, 4, kind_names[figure->kind]);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 5, figure->planned_bytes);
    if (result == SQLITE_OK)
        result = figure->measured_known ? sql_bind_u64(row, 6, figure->measured_bytes)
                                        : sqlite3_bind_null(row, 6);
    if (result == SQLITE_OK)
        result = sql_run(store, SQL_PUT_FIGURE);
    (void)sqlite3_clear_bindings(row);
    return result;
}

static int put_launch(struct dgo_store *store, void *data)
{
    const struct dgo_launch_record *record = data;
    int result = put_row(store, record);
    const sqlite3_int64 id = sqlite3_last_insert_rowid(store->db);

    for (uint32_t i = 0; result == SQLITE_OK && i < record->figure_count; i++)
        result = put_figure(store, id, i, &record->figure[i]);
    if (result != SQLITE_OK)
        return result;
    return sql_trim(store, SQL_TRIM_LAUNCHES, DGO_STORE_LAUNCH_MAX);
}

enum dgo_status dgo_store_put_launch(struct dgo_store *store,
                                     const struct dgo_launch_record *record, struct dgo_error *err)
{
    struct dgo_launch_record copy = *record;

    if (record->figure_count > DGO_STORE_FIGURE_MAX)
        return dgo_fail(err, DGO_ELIMIT, "a launch has at most %d figures", DGO_STORE_FIGURE_MAX);
    for (uint32_t i = 0; i < record->figure_count; i++)
        if ((unsigned)record->figure[i].kind >= DGO_BUFFER_KIND_COUNT)
            return dgo_fail(err, DGO_EINVAL, "a figure is of no known kind");

    const int result = sql_transaction(store, put_launch, &copy);

    return result == SQLITE_OK ? DGO_OK : sql_fail(store, result, err);
}

static bool find_kind(const char *name, enum dgo_buffer_kind *kind)
{
    for (uint32_t i = 0; i < DGO_BUFFER_KIND_COUNT; i++) {
        if (!strcmp(kind_names[i], name)) {
            *kind = i;
            return true;
        }
    }
    return false;
}

/* The figures of a launch with their device names copied, because a row's texts end with it. */
struct figures {
    uint32_t count;
    struct dgo_launch_figure figure[DGO_STORE_FIGURE_MAX];
    char device[DGO_STORE_FIGURE_MAX][64];
};

static int read_figures(struct dgo_store *store, sqlite3_int64 launch_id, struct figures *figures)
{
    sqlite3_stmt *row = store->statement[SQL_GET_FIGURES];
    int result = sqlite3_bind_int64(row, 1, launch_id);

    figures->count = 0;
    if (result == SQLITE_OK)
        result = sqlite3_bind_int(row, 2, DGO_STORE_FIGURE_MAX);
    if (result != SQLITE_OK)
        return result;
    while ((result = sqlite3_step(row)) == SQLITE_ROW && figures->count < DGO_STORE_FIGURE_MAX) {
        struct dgo_launch_figure *figure = &figures->figure[figures->count];
        char *device = figures->device[figures->count];

        if (!find_kind(sql_text(row, 1), &figure->kind))
            continue; /* of a version that knows more kinds */
        (void)dgo_text_copy(device, sizeof figures->device[0], sql_text(row, 0));
        figure->device = device;
        figure->planned_bytes = sql_u64(row, 2);
        figure->measured_known = sqlite3_column_type(row, 3) != SQLITE_NULL;
        figure->measured_bytes = sql_u64(row, 3);
        figures->count++;
    }
    (void)sqlite3_reset(row);
    return result == SQLITE_DONE || result == SQLITE_ROW ? SQLITE_OK : result;
}

static struct dgo_launch_record record_of(sqlite3_stmt *row, const struct figures *figures)
{
    return (struct dgo_launch_record){
        .started_ns = sql_u64(row, AT_STARTED),
        .model_path = sql_text(row, AT_PATH),
        .model_name = sql_text(row, AT_NAME),
        .model_key = sql_text(row, AT_KEY),
        .binary_hash = sql_text(row, AT_HASH),
        .build = (uint32_t)dgo_min_u64(sql_u64(row, AT_BUILD), UINT32_MAX),
        .settings_json = sql_text(row, AT_SETTINGS),
        .devices_json = sql_text(row, AT_DEVICES),
        .simulated = sql_u64(row, AT_SIMULATED) != 0,
        .figure_count = figures->count,
        .figure = figures->figure,
    };
}

/* Hands every row of a bound statement to `each`. */
static enum dgo_status hand_over(struct dgo_store *store, enum sql_statement which,
                                 dgo_launch_record_fn each, void *data, uint32_t *count,
                                 struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[which];
    struct figures *figures = malloc(sizeof *figures);
    int result = figures ? SQLITE_OK : SQLITE_NOMEM;
    uint32_t handed = 0;

    while (result == SQLITE_OK && (result = sqlite3_step(row)) == SQLITE_ROW) {
        result = read_figures(store, sqlite3_column_int64(row, AT_ID), figures);
        if (result != SQLITE_OK)
            break;

        const struct dgo_launch_record record = record_of(row, figures);

        each(&record, data);
        handed++;
    }
    (void)sqlite3_reset(row);
    (void)sqlite3_clear_bindings(row);
    free(figures);
    if (result != SQLITE_DONE)
        return sql_fail(store, result, err);
    if (count)
        *count = handed;
    return DGO_OK;
}

enum dgo_status dgo_store_each_launch(struct dgo_store *store, uint32_t count_max,
                                      dgo_launch_record_fn each, void *data, uint32_t *count,
                                      struct dgo_error *err)
{
    const int result = sql_bind_u64(store->statement[SQL_EACH_LAUNCH], 1, count_max);

    if (result != SQLITE_OK)
        return sql_fail(store, result, err);
    return hand_over(store, SQL_EACH_LAUNCH, each, data, count, err);
}

enum dgo_status dgo_store_find_launch(struct dgo_store *store, const struct dgo_launch_query *query,
                                      dgo_launch_record_fn found, void *data, struct dgo_error *err)
{
    sqlite3_stmt *row = store->statement[SQL_FIND_LAUNCH];
    enum dgo_status status;
    uint32_t count = 0;
    int result = sql_bind_text(row, 1, query->binary_hash);

    if (result == SQLITE_OK)
        result = sql_bind_text(row, 2, query->model_key);
    if (result == SQLITE_OK)
        result = sql_bind_text(row, 3, query->settings_json);
    if (result == SQLITE_OK)
        result = sql_bind_u64(row, 4, query->simulated);
    if (result != SQLITE_OK)
        return sql_fail(store, result, err);
    status = hand_over(store, SQL_FIND_LAUNCH, found, data, &count, err);
    if (status == DGO_OK && count == 0)
        return dgo_fail(err, DGO_ENOTFOUND, "this was not launched before");
    return status;
}
