/* store.c - opens the database, whatever state it is in, or says why not. */
#include "folder.h"
#include "schema.h"
#include "sql.h"

#include "dgo_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUSY_WAIT_MS = 5000 };

static void close_db(struct dgo_store *store)
{
    for (int i = 0; i < SQL_STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(store->statement[i]);
        store->statement[i] = NULL;
    }
    (void)sqlite3_close(store->db);
    store->db = NULL;
}

/* A file from outside: no triggers or views of its making run with our rights, and broken cells are
 * met where they are read. */
static int set_up(sqlite3 *db)
{
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 2 * DGO_STORE_TEXT_MAX);
    return sqlite3_exec(db,
                        "PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
                        NULL, NULL, NULL);
}

static int on_check_row(void *data, int count, char **values, char **names)
{
    (void)names;
    *(bool *)data = count == 1 && values[0] && !strcmp(values[0], "ok");
    return 0;
}

/* All pages are looked at: the file is small because its tables are trimmed. */
static int check(sqlite3 *db)
{
    bool sound = false;
    const int result = sqlite3_exec(db, "PRAGMA quick_check(1)", on_check_row, &sound, NULL);

    return result == SQLITE_OK && !sound ? SQLITE_CORRUPT : result;
}

/* Whose file is it?  *foreign and *newer are set for files that must be left alone. */
static int identify(sqlite3 *db, bool *foreign, bool *newer)
{
    int application = 0, version = 0, tables = 0;
    int result = schema_pragma(db, "PRAGMA application_id", &application);

    if (result == SQLITE_OK)
        result = schema_pragma(db, "PRAGMA user_version", &version);
    if (result == SQLITE_OK)
        result = schema_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables);
    *foreign = application != SCHEMA_APPLICATION_ID && (application != 0 || tables > 0);
    *newer = !*foreign && version > schema_step_count;
    return result;
}

/* One attempt.  *result is SQLite's when the status is not DGO_OK because of it. */
static enum dgo_status open_db(struct dgo_store *store, int *result, struct dgo_error *err)
{
    bool foreign = false, newer = false;

    *result =
        sqlite3_open_v2(store->path, &store->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (*result == SQLITE_OK) {
        (void)sqlite3_busy_timeout(store->db, BUSY_WAIT_MS); /* even a reader may have to wait */
        *result = identify(store->db, &foreign, &newer);
    }
    if (*result == SQLITE_OK && foreign)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "\"%s\" is a database of another program; move it away to use this folder",
                        store->path);
    if (*result == SQLITE_OK && newer)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "\"%s\" was written by a newer version of this program; update it, or "
                        "move the file away",
                        store->path);
    if (*result == SQLITE_OK)
        *result = set_up(store->db);
    if (*result == SQLITE_OK)
        *result = check(store->db);
    if (*result == SQLITE_OK)
        *result = schema_migrate(store->db, schema_steps, schema_step_count);
    if (*result == SQLITE_OK)
        *result = sql_prepare(store);
    return *result == SQLITE_OK ? DGO_OK : sql_fail(store, *result, err);
}

static enum dgo_status open_or_replace(struct dgo_store *store, char *notice, struct dgo_error *err)
{
    int result = SQLITE_OK;
    enum dgo_status status = folder_touch(store->path, err);

    if (status != DGO_OK)
        return status;
    status = open_db(store, &result, err);
    if (status == DGO_OK || !sql_is_damage(result))
        return status;
    close_db(store);
    status = folder_move_aside(store->path, err);
    if (status == DGO_OK)
        status = folder_touch(store->path, err);
    if (status == DGO_OK)
        status = open_db(store, &result, err);
    if (status == DGO_OK && notice)
        (void)snprintf(notice, DGO_STORE_NOTICE_MAX,
                       "The history was damaged and begins anew; the old file is %.160s.damaged.",
                       store->path);
    return status;
}

enum dgo_status dgo_store_open(const char *directory, struct dgo_store **store,
                               char notice[DGO_STORE_NOTICE_MAX], struct dgo_error *err)
{
    struct dgo_store *made = calloc(1, sizeof *made);
    enum dgo_status status;
    int lock_fd = -1;

    if (notice)
        notice[0] = '\0';
    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "no memory for the store");

    struct dgo_text path = DGO_TEXT(made->path);

    dgo_text_addf(&path, "%s/history.db", directory);
    status = path.truncated
                 ? dgo_fail(err, DGO_EINVAL, "the path of the store's folder is too long")
                 : folder_lock(directory, &lock_fd, err);
    if (status == DGO_OK)
        status = open_or_replace(made, notice, err);
    if (lock_fd >= 0)
        close(lock_fd);
    if (status != DGO_OK) {
        dgo_store_close(made);
        return status;
    }
    *store = made;
    return DGO_OK;
}

void dgo_store_close(struct dgo_store *store)
{
    if (!store)
        return;
    close_db(store);
    free(store);
}
