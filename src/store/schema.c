/* schema.c - the tables, version by version. */
#include "schema.h"

#include <stdio.h>

const char *const schema_steps[] = {
    /* 0 -> 1.  Kinds are words, so that the order of an enum in the source does not matter. */
    "CREATE TABLE probe("
    "  id INTEGER PRIMARY KEY,"
    "  binary_hash TEXT NOT NULL UNIQUE,"
    "  build INTEGER NOT NULL,"
    "  version TEXT NOT NULL,"
    "  flags TEXT NOT NULL) STRICT;" /* one a line */
    "CREATE TABLE launch("
    "  id INTEGER PRIMARY KEY,"
    "  started_ns INTEGER NOT NULL,"
    "  model_path TEXT NOT NULL,"
    "  model_name TEXT NOT NULL,"
    "  model_key TEXT NOT NULL,"
    "  binary_hash TEXT NOT NULL,"
    "  build INTEGER NOT NULL,"
    "  settings_json TEXT NOT NULL,"
    "  devices_json TEXT NOT NULL,"
    "  simulated INTEGER NOT NULL) STRICT;"
    "CREATE INDEX launch_same ON launch(binary_hash, model_key);"
    "CREATE TABLE figure("
    "  launch_id INTEGER NOT NULL REFERENCES launch(id) ON DELETE CASCADE,"
    "  position INTEGER NOT NULL,"
    "  device TEXT NOT NULL,"
    "  kind TEXT NOT NULL,"
    "  planned_bytes INTEGER NOT NULL,"
    "  measured_bytes INTEGER," /* NULL: not known */
    "  PRIMARY KEY(launch_id, position)) STRICT, WITHOUT ROWID;",
    /* 1 -> 2.  What cards reach; NULL: not measured. */
    "CREATE TABLE calibration("
    "  id INTEGER PRIMARY KEY,"
    "  made_ns INTEGER NOT NULL,"
    "  device_key TEXT NOT NULL," /* UUID of the card, else its name; "cpu" */
    "  device_name TEXT NOT NULL,"
    "  quantisation TEXT NOT NULL,"
    "  binary_hash TEXT NOT NULL,"
    "  build INTEGER NOT NULL,"
    "  decode_bytes_per_s REAL,"
    "  prompt_flops REAL,"
    "  layer_launch_s REAL,"
    "  overhead_bytes INTEGER,"
    "  simulated INTEGER NOT NULL,"
    "  UNIQUE(device_key, quantisation, binary_hash, simulated)) STRICT;",
    /* 2 -> 3.  An hour of a series a row: buckets of four little-endian floats. */
    "CREATE TABLE timeline("
    "  series TEXT NOT NULL,"
    "  start_ns INTEGER NOT NULL,"
    "  width_ns INTEGER NOT NULL,"
    "  buckets BLOB NOT NULL,"
    "  PRIMARY KEY(series, start_ns)) STRICT;"
    "CREATE INDEX timeline_time ON timeline(start_ns);"
    "CREATE TABLE event("
    "  id INTEGER PRIMARY KEY,"
    "  time_ns INTEGER NOT NULL,"
    "  kind TEXT NOT NULL,"
    "  gpu_index INTEGER NOT NULL,"
    "  pid INTEGER NOT NULL,"
    "  text TEXT NOT NULL) STRICT;"
    "CREATE INDEX event_time ON event(time_ns);",
    /* 3 -> 4.  What launches took of cards outside the engine's books. */
    "CREATE TABLE overhead("
    "  id INTEGER PRIMARY KEY,"
    "  launch_ns INTEGER NOT NULL," /* when it was ready: the same for all its cards */
    "  device_key TEXT NOT NULL,"   /* UUID of the card, else its name */
    "  device_name TEXT NOT NULL,"
    "  driver TEXT NOT NULL,"
    "  binary_hash TEXT NOT NULL,"
    "  ready_bytes INTEGER NOT NULL," /* as it became ready */
    "  bytes INTEGER NOT NULL,"       /* as it was last seen to hold */
    "  by_process INTEGER NOT NULL,"
    "  UNIQUE(launch_ns, device_key, binary_hash)) STRICT;"
    "CREATE INDEX overhead_same ON overhead(device_name, driver, binary_hash);",
};
const int schema_step_count = sizeof schema_steps / sizeof schema_steps[0];

int schema_pragma(sqlite3 *db, const char *text, int *value)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(db, text, -1, &statement, NULL);

    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        *value = sqlite3_column_int(statement, 0);
        result = SQLITE_OK;
    }
    (void)sqlite3_finalize(statement);
    return result;
}

static int set_version(sqlite3 *db, int version)
{
    char text[96];

    (void)snprintf(text, sizeof text, "PRAGMA user_version = %d; PRAGMA application_id = %d",
                   version, SCHEMA_APPLICATION_ID);
    return sqlite3_exec(db, text, NULL, NULL, NULL);
}

int schema_migrate(sqlite3 *db, const char *const *steps, int step_count)
{
    int version = 0;
    int result = schema_pragma(db, "PRAGMA user_version", &version);

    if (result != SQLITE_OK || version >= step_count)
        return result;
    result = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (result != SQLITE_OK)
        return result;
    /* Again, now that nobody else can write: another process may have been faster. */
    result = schema_pragma(db, "PRAGMA user_version", &version);
    for (; result == SQLITE_OK && version < step_count; version++)
        result = sqlite3_exec(db, steps[version], NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = set_version(db, version);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (result != SQLITE_OK && !sqlite3_get_autocommit(db))
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}
