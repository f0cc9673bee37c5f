/* folder.h - the store's folder: made, locked while opening, a damaged file moved aside; private to
 * the folder. */
#ifndef FOLDER_H
#define FOLDER_H

#include "dgo_base.h"

/* Makes the folder with its parents and locks it against other openers.  The lock ends with
 * close(*fd). */
enum dgo_status folder_lock(const char *directory, int *fd, struct dgo_error *err) DGO_MUST_CHECK;

/* Makes the file, empty and 0600, when it is not there; fails when it cannot be written. */
enum dgo_status folder_touch(const char *path, struct dgo_error *err) DGO_MUST_CHECK;

/* Renames the database and its log; the database last, so that an interrupted move is found and
 * ended by the next. */
enum dgo_status folder_move_aside(const char *path, struct dgo_error *err) DGO_MUST_CHECK;

#endif
