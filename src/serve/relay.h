/* relay.h - a request to an engine and its answer back, as it is made: libcurl on the loop.
 * Private to the folder.  Loop thread only.
 *
 * What the engine sends and the client does not take waits in a bounded buffer; beyond it the
 * engine is not read any more.  A client that goes away ends the request to the engine, which then
 * stops generating. */
#ifndef RELAY_H
#define RELAY_H

#include "http.h"

enum { RELAY_BUFFER_MAX = 256 * 1024 };

struct relay;

DGO_MUST_CHECK
enum dgo_status relay_new(sd_event *loop, struct relay **relay, struct dgo_error *err);
void relay_free(struct relay *relay); /* breaks all; accepts NULL */

struct relay_request {
    struct http_request *request; /* its path, method and body are sent on, its token is not */
    const char *host;
    uint16_t port;
    uint64_t timeout_ns; /* of the whole answer; 0: none */
    const char *type;    /* of the body; printable */
    /* Nobody listens there, or, `was_sent`, the connection broke before a byte of an answer came:
     * true takes the request back, and it is not answered.  May be NULL. */
    bool (*unreachable)(void *owner, bool was_sent);
    void *owner; /* for relay_cancel, too */
};
/* The request is answered from here on. */
DGO_MUST_CHECK
enum dgo_status relay_start(struct relay *relay, const struct relay_request *wanted,
                            struct dgo_error *err);
/* A short GET of our own: `done` is called once, with NULL when nothing came within the time or it
 * was not 200, also by relay_free. */
typedef void (*relay_got_fn)(const char *text, size_t length, void *data);
DGO_MUST_CHECK
enum dgo_status relay_get(struct relay *relay, const char *host, uint16_t port, const char *path,
                          uint64_t timeout_ns, relay_got_fn done, void *data,
                          struct dgo_error *err);

/* The client is gone: nothing of the request is touched any more. */
void relay_cancel(struct relay *relay, const void *owner);

#endif
