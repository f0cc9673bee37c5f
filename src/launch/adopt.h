/* adopt.h - both ends of the socket at which a guard keeps an engine; private to the folder. */
#ifndef ADOPT_H
#define ADOPT_H

#include "spawn.h"

/* The guard's end, 0600; it replaces what is left there of an engine that is gone. */
enum dgo_status adopt_listen(const char *path, int *fd, struct dgo_error *err) DGO_MUST_CHECK;

#endif
