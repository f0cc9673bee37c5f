/* keep.h - what of a launch is on disk: its log and its record, by number.  Private to the fleet.
 */
#ifndef KEEP_H
#define KEEP_H

#include "dgo_base.h"

/* False: nothing is kept (no directory, or a name too long). */
bool keep_log_path(const char *directory, uint64_t id, char *path, size_t size);

void keep_remove(const char *directory, uint64_t id);

#endif
