/* dgo_file.h - small files read whole and saved atomically.  Any thread; may block. */
#ifndef DGO_FILE_H
#define DGO_FILE_H

#include "dgo_base.h"

/* Reads up to `limit_bytes`; *bytes is malloc'ed, with a NUL behind the last byte.  `what` stands
 * in the sentence ("the machine file").  DGO_ENOTFOUND: there is none; DGO_ELIMIT: it is larger. */
DGO_MUST_CHECK
enum dgo_status dgo_file_read(const char *path, const char *what, size_t limit_bytes, char **bytes,
                              size_t *length, struct dgo_error *err);

/* Replaces the file or makes it (0600), all or nothing, even when the power fails: a file beside it
 * is written, synced and renamed.  Its mode is kept; a symbolic link stays one, its target is
 * replaced.  Missing folders are made. */
DGO_MUST_CHECK
enum dgo_status dgo_file_save(const char *path, const char *bytes, size_t length,
                              struct dgo_error *err);

/* Makes the folder with its parents (0700). */
DGO_MUST_CHECK
enum dgo_status dgo_folder_make(const char *path, struct dgo_error *err);

#endif
