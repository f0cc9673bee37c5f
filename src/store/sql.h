/* sql.h - the database handle, its statements and SQLite's results as ours; private to the folder.
 */
#ifndef SQL_H
#define SQL_H

#include "dgo_store.h"

#include <sqlite3.h>

/* Prepared once, when the store is opened: a file that lacks a table is found out there. */
enum sql_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_GET_PROBE,
    SQL_PUT_PROBE,
    SQL_TRIM_PROBES,
    SQL_PUT_LAUNCH,
    SQL_PUT_FIGURE,
    SQL_TRIM_LAUNCHES,
    SQL_EACH_LAUNCH,
    SQL_FIND_LAUNCH,
    SQL_GET_FIGURES,
    SQL_PUT_CALIBRATION,
    SQL_TRIM_CALIBRATIONS,
    SQL_FIND_CALIBRATION,
    SQL_PUT_OVERHEAD,
    SQL_TRIM_OVERHEADS,
    SQL_FIND_OVERHEADS,
    SQL_PUT_TIMELINE,
    SQL_PUT_EVENT,
    SQL_TRIM_TIMELINE,
    SQL_TRIM_EVENTS,
    SQL_EACH_TIMELINE,
    SQL_EACH_EVENT,
    SQL_STATEMENT_COUNT
};

struct dgo_store {
    sqlite3 *db;
    sqlite3_stmt *statement[SQL_STATEMENT_COUNT];
    char path[4096]; /* of the file */
};

/* The sentence for a failed SQLite call. */
enum dgo_status sql_fail(const struct dgo_store *store, int result, struct dgo_error *err);

/* Whether the result says that the file is no good, rather than the disk or the moment. */
bool sql_is_damage(int result);

/* SQLITE_OK, or the first failure. */
int sql_prepare(struct dgo_store *store);

/* NULL becomes "". */
int sql_bind_text(sqlite3_stmt *statement, int at, const char *text);
/* Fails with SQLITE_TOOBIG above INT64_MAX. */
int sql_bind_u64(sqlite3_stmt *statement, int at, uint64_t value);

/* Never NULL; "" for a NULL column. */
const char *sql_text(sqlite3_stmt *statement, int column);
uint64_t sql_u64(sqlite3_stmt *statement, int column);

/* Steps a statement that gives no rows, and resets it.  SQLITE_OK when done. */
int sql_run(struct dgo_store *store, enum sql_statement which);

/* The whole of `body` or nothing of it. */
int sql_transaction(struct dgo_store *store, int (*body)(struct dgo_store *store, void *data),
                    void *data);

/* Binds texts to the parameters from `at` on; SQLITE_OK, or the first failure. */
int sql_bind_texts(sqlite3_stmt *statement, int at, const char *const *text, int count);

/* Leaves so many rows, by a statement that trims to ?1. */
int sql_trim(struct dgo_store *store, enum sql_statement which, int rows_max);

/* Runs a statement that puts a row, unless `bound`, the result of binding its parameters, is a
 * failure, and trims its table: both or neither.  Lets go of the parameters. */
enum dgo_status sql_put_row(struct dgo_store *store, enum sql_statement put, int bound,
                            enum sql_statement trim, int rows_max, struct dgo_error *err);

#endif
