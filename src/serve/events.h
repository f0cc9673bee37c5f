/* events.h - server-sent events: what happened is kept once, and each client reads along at its
 * own pace.  Private to the folder.
 *
 * A ring holds the last events; a client is a place in it.  A snapshot is kept apart, the newest
 * only: a client that is slow skips snapshots and loses no event, until the ring has gone around;
 * then it is dropped and comes back.  Memory does not depend on how slow clients are.  Loop thread
 * only. */
#ifndef EVENTS_H
#define EVENTS_H

#include "http.h"

enum { EVENTS_KEPT = 512, EVENTS_PING_S = 15 };

struct events;

/* `snapshot` makes the newest view when a client comes and there is none yet. */
DGO_MUST_CHECK
enum dgo_status events_new(sd_event *loop, json_t *(*snapshot)(void *data), void *data,
                           struct events **events, struct dgo_error *err);
void events_free(struct events *events); /* after the servers are closed; accepts NULL */

uint32_t events_client_count(const struct events *events);

/* Takes over `object`; NULL (no memory) is nothing. */
void events_publish(struct events *events, const char *type, json_t *object);
void events_snapshot(struct events *events, json_t *object);

/* Answers the request with the stream. */
void events_serve(struct events *events, struct http_request *request);

#endif
