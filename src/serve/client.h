/* client.h - what the commands ask the daemon, over its Unix socket.  Blocking; not on a loop. */
#ifndef CLIENT_H
#define CLIENT_H

#include "options.h"

#include <jansson.h>

/* One request; `body` (may be NULL) is borrowed.  *answer is the JSON of a 2xx, the caller's.  An
 * error that the daemon answered comes back as its status and sentence; where none runs it is
 * DGO_ENOTFOUND with what to do. */
DGO_MUST_CHECK
enum dgo_status client_ask(const struct options *options, const char *method, const char *path,
                           const json_t *body, json_t **answer, struct dgo_error *err);

#endif
