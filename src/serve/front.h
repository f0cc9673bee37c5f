/* front.h - the OpenAI-compatible front: a request goes to the engine that serves its model, which
 * is started where it does not run.  Private to the folder.  Loop thread only. */
#ifndef FRONT_H
#define FRONT_H

#include "daemon.h"

DGO_MUST_CHECK
enum dgo_status front_new(struct daemon *daemon, struct front **front, struct dgo_error *err);
/* Breaks what is under way.  Before the servers are closed.  Accepts NULL. */
void front_stop(struct front *front);
/* After the app is closed: its jobs may end visits until then.  Accepts NULL. */
void front_free(struct front *front);

struct relay *front_relay(struct front *front);

void front_models(struct http_request *request, void *daemon);
void front_forward(struct http_request *request, void *daemon);

#endif
