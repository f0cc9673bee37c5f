/* http_internal.h - what the three files of the server share: connections and requests as they are.
 * Private to http.c, http_request.c and http_answer.c. */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include "http.h"

#include "dgo_arena.h"

#include <microhttpd.h>

enum { HEADERS_MAX = 4 };

struct connection {
    struct connection *previous, *next;
    struct MHD_Connection *mhd;
    uint64_t deadline_ns; /* for what the client still has to send; 0: nothing */
};

struct http {
    sd_event *loop;
    struct MHD_Daemon *daemon;
    struct policy policy;
    struct http_options options;
    sd_event_source *io, *timer, *again, *sweep;
    struct connection *connections;
    struct http_request *requests;
    uint32_t client_count;
    uint64_t body_bytes; /* held by all requests */
    bool closing;
};

struct http_request {
    struct http_request *previous, *next;
    struct http *http;
    struct MHD_Connection *mhd;
    struct connection *connection;
    const struct http_route *route; /* NULL: the fallback */
    const char *method, *path;      /* libmicrohttpd's; live as long as the request */
    uint64_t number;
    char *body;
    size_t body_length, body_size;
    uint64_t body_max;
    bool dispatched, waiting, suspended, no_memory;
    bool left; /* the client has closed its end while it waited */
    struct MHD_Response *response;
    unsigned status;
    http_take_fn take;
    void *take_data;
    http_fn gone;
    void *gone_data;
    struct {
        char name[48], value[256];
    } header[HEADERS_MAX];
    uint32_t header_count;
    struct dgo_arena arena;
};

/* ---- http.c ---- */
void http_kick(struct http *http); /* libmicrohttpd runs in the next turn of the loop */
uint64_t http_now_ns(void);

/* ---- http_request.c: libmicrohttpd's callbacks ---- */
enum MHD_Result http_on_request(void *http, struct MHD_Connection *mhd, const char *path,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_length, void **context);
void http_on_completed(void *http, struct MHD_Connection *mhd, void **context,
                       enum MHD_RequestTerminationCode how);
void http_set_deadline(struct connection *connection, uint64_t seconds); /* 0: none */

#endif
