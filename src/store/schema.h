/* schema.h - the tables and how older files come to them; private to the folder. */
#ifndef SCHEMA_H
#define SCHEMA_H

#include <sqlite3.h>

/* In the file's header: whose database it is. */
#define SCHEMA_APPLICATION_ID 0x44474f31 /* "DGO1" */

/* steps[n] takes a file of version n to version n + 1.  A step that was released never changes. */
extern const char *const schema_steps[];
extern const int schema_step_count;

/* Runs the steps that the file lacks, all or none. */
int schema_migrate(sqlite3 *db, const char *const *steps, int step_count);

int schema_pragma(sqlite3 *db, const char *text, int *value);

#endif
