/* http.h - an HTTP server on the app's loop: libmicrohttpd with our rules around it.  Private to
 * the folder.
 *
 * A request reaches its handler when its head was allowed and its body is whole.  The handler
 * answers at once, or calls http_wait and somebody answers later on the loop.  A request lives
 * until its `gone` callback returned; when the client goes away while it waits, the answer goes
 * nowhere and `gone` is called then.  Loop thread only. */
#ifndef HTTP_H
#define HTTP_H

#include "dgo_base.h"
#include "policy.h"

#include <jansson.h>
#include <systemd/sd-event.h>

enum {
    HTTP_HEAD_MAX = 32 * 1024,
    HTTP_CLIENTS_MAX = 1280,
    HTTP_API_BODY_MAX = 1 << 20,
    HTTP_FRONT_BODY_MAX = 16 << 20,
    HTTP_UPLOAD_BODY_MAX = 64 << 20, /* sound and pictures */
    HTTP_BODIES_MAX = 512 << 20,     /* of all requests together */
    HTTP_HEAD_WAIT_S = 10,
    HTTP_BODY_WAIT_S = 30,
    HTTP_IDLE_S = 30, /* a client that takes nothing, or says nothing between requests */
};

struct http;
struct http_request;

typedef void (*http_fn)(struct http_request *request, void *data);

/* One row of the route table.  `path` is matched whole; one '*' stands for a decimal number. */
struct http_route {
    const char *method; /* "GET" answers HEAD too */
    const char *path;
    http_fn fn;
    struct policy_route policy;
};

struct http_options {
    const struct http_route *routes; /* ends with a NULL method */
    http_fn fallback;     /* open GETs that no route has: the page's files; may be NULL */
    void *data;           /* of both */
    uint32_t clients_max; /* 0: HTTP_CLIENTS_MAX */
};

/* Serves a socket that listens; owns it from here on, also when it fails.  `policy` is copied. */
DGO_MUST_CHECK
enum dgo_status http_open(sd_event *loop, int listen_fd, const struct policy *policy,
                          const struct http_options *options, struct http **http,
                          struct dgo_error *err);
/* Answers what waits with 503, closes all connections.  Accepts NULL. */
void http_close(struct http *http);
uint32_t http_client_count(const struct http *http);

/* ---- a request ---- */

const char *http_path(const struct http_request *request);
const char *http_method(const struct http_request *request);
uint64_t http_number(const struct http_request *request); /* what '*' stood for */
bool http_is_local(const struct http_request *request);   /* the same user, by the Unix socket */
const char *http_header(const struct http_request *request, const char *name); /* or NULL */
/* A decoded value of the query, in the request's own memory; NULL: not there, or no valid text. */
const char *http_query(struct http_request *request, const char *name);
const char *http_body(const struct http_request *request, size_t *length);

/* Takes the request off its connection until it is answered. */
void http_wait(struct http_request *request);
/* Called once when the request ends, however it does. */
void http_on_gone(struct http_request *request, http_fn gone, void *data);

/* ---- answers; each ends the handler's part ---- */

void http_answer_json(struct http_request *request, unsigned status, json_t *object); /* frees */
void http_answer_verdict(struct http_request *request, const struct verdict *verdict,
                         const char *param, const char *code);
void http_answer_error(struct http_request *request, const struct dgo_error *err,
                       const char *param);
/* `text` is copied. */
void http_answer_text(struct http_request *request, unsigned status, const char *type,
                      const char *text, size_t length);
/* `bytes` must outlive the server. */
void http_answer_file(struct http_request *request, const char *type, const char *etag,
                      bool gzipped, const void *bytes, size_t length);

/* A body that is made while it is sent.  `take` copies up to `size` bytes and returns how many; 0:
 * nothing now, http_stream_wake tells when there is more; -1: the end; -2: break the connection. */
typedef ptrdiff_t (*http_take_fn)(struct http_request *request, char *to, size_t size, void *data);
void http_answer_stream(struct http_request *request, unsigned status, const char *type,
                        http_take_fn take, void *data);
/* One more header of the answer; before http_answer_stream or http_answer_text. */
void http_set_header(struct http_request *request, const char *name, const char *value);
void http_stream_wake(struct http_request *request);

#endif
