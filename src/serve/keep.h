/* keep.h - what of a launch is on disk: its record, its plan and its log, by number; and where its
 * engine is found again.  Private to the fleet.  Loop thread, except where it says so.
 *
 * Records are there for the next one of us after a crash, not for a machine that lost its power
 * (its engines are gone too), so nothing is synced. */
#ifndef KEEP_H
#define KEEP_H

#include "dgo_base.h"
#include "dgo_plan.h"

#include <jansson.h>
#include <limits.h>

enum { KEEP_LAUNCH_MAX = 256 };

enum keep_file { KEEP_RECORD, KEEP_PLAN, KEEP_LOG, KEEP_FILE_COUNT };

/* Makes the folder (0700) and locks it: one daemon at a time writes there.  The lock ends with the
 * process or with close(*lock_fd).  DGO_EBUSY names the folder. */
DGO_MUST_CHECK
enum dgo_status keep_open(const char *directory, int *lock_fd, struct dgo_error *err);

/* False: nothing is kept (no directory, or a name too long). */
bool keep_path(const char *directory, uint64_t id, enum keep_file file, char path[PATH_MAX]);
/* Of the socket at which a guard keeps the engine: beside the daemon's own. */
bool keep_socket(const char *daemon_socket, uint64_t id, char *path, size_t size);

/* All or nothing, not synced.  A failure is said and done without. */
void keep_save_record(const char *directory, uint64_t id, const json_t *record);
void keep_save_plan(const char *directory, uint64_t id, const struct dgo_plan *plan);
/* DGO_EFORMAT: another version of this program wrote it, or it is damaged.  Any thread. */
DGO_MUST_CHECK
enum dgo_status keep_load_plan(const char *directory, uint64_t id, struct dgo_plan *plan,
                               struct dgo_error *err);

/* Record and plan; the log too, where `all`. */
void keep_remove(const char *directory, uint64_t id, bool all);

/* Removes files of launches that are not `known`: ended ones of the daemon before. */
void keep_sweep(const char *directory, bool (*known)(uint64_t id, void *data), void *data);

/* Every record, by number; returns how many.  Those that cannot be read are said and removed. */
uint32_t keep_load_records(const char *directory, json_t *records[KEEP_LAUNCH_MAX]);

#endif
