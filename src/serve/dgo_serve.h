/* dgo_serve.h - the daemon: many launches, the HTTP interface and the page, on one loop.
 *
 * docs/HTTP.md says what it answers; docs/decisions/0030 and 0031 say why it is made so. */
#ifndef DGO_SERVE_H
#define DGO_SERVE_H

#include "dgo_base.h"
#include "options.h"

/* Runs until a signal ends it (TERM and INT: engines are stopped first, a second one kills them).
 * `say` gets sentences for people (the address with a fresh token among them), also before it
 * serves.  Main thread, before any other thread exists. */
typedef void (*serve_say_fn)(const char *text);
DGO_MUST_CHECK
enum dgo_status serve_run(const struct options *options, char *const *environment, serve_say_fn say,
                          struct dgo_error *err);

/* Where the daemon's Unix socket is: --socket, else in the runtime or the state folder.  False:
 * there is no such place.  Any thread. */
bool serve_socket_path(const struct options *options, char *path, size_t size);

#endif
