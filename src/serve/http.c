/* http.c - libmicrohttpd on the loop: connections, requests, deadlines, answers.
 *
 *     head ─► judged ─► body whole ─► handler ─┬─► answer
 *                                              └─► waits (connection suspended) ─► answer, later
 *
 * libmicrohttpd has one epoll descriptor, which is one source of our loop, and one timer.  What it
 * leaves open (two Host headers, two lengths, a head that trickles in) is closed here and in
 * policy.c; reference: docs/decisions/0031-http-server.md. */
#include "http.h"

#include "dgo_arena.h"
#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    STREAM_BLOCK = 16 * 1024,
    POOL_BYTES = HTTP_HEAD_MAX + 4096, /* above 32 KiB libmicrohttpd maps it, page by page */
    HEADERS_MAX = 4,
    ACCURACY_US = 1000,
};

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

static uint64_t now_ns(void)
{
    return dgo_clock_monotonic_ns(dgo_clock_system());
}

/* ---- answers ---- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value);
}

/* Nothing of ours is framed, sniffed, cached by strangers or named to them; the page loads only
 * what we serve. */
static void add_common_headers(struct MHD_Response *response)
{
    static const char *const headers[][2] = {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
         "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };

    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        add_header(response, headers[i][0], headers[i][1]);
}

/* The request has its answer; a waiting one goes back to its connection. */
static void finish(struct http_request *request, unsigned status, struct MHD_Response *response)
{
    if (request->response || !response) {
        if (response)
            MHD_destroy_response(response); /* answered before: the first one stands */
        else
            request->no_memory = true;
        if (request->response)
            return;
    }
    request->status = status;
    request->response = response;
    if (response) {
        add_common_headers(response);
        for (uint32_t i = 0; i < request->header_count; i++)
            add_header(response, request->header[i].name, request->header[i].value);
    }
    http_stream_wake(request);
}

static void finish_text(struct http_request *request, unsigned status, const char *type, char *text,
                        size_t length)
{
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE) : NULL;

    if (!response)
        free(text);
    if (response) {
        add_header(response, "Content-Type", type);
        add_header(response, "Cache-Control", "no-store");
    }
    finish(request, status, response);
}

void http_answer_json(struct http_request *request, unsigned status, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    json_decref(object);
    finish_text(request, status, "application/json", text, text ? strlen(text) : 0);
}

void http_answer_text(struct http_request *request, unsigned status, const char *type,
                      const char *text, size_t length)
{
    char *copy = malloc(length + 1);

    if (copy)
        memcpy(copy, text, length);
    finish_text(request, status, type, copy, length);
}

static json_t *text_value(const char *text)
{
    return text ? json_string(text) : json_null();
}

void http_answer_verdict(struct http_request *request, const struct verdict *verdict,
                         const char *param, const char *code)
{
    char message[DGO_ERROR_TEXT_MAX + 64];

    dgo_text_copy_escaped(message, sizeof message, verdict->sentence, strlen(verdict->sentence));
    if (verdict->status == 401)
        http_set_header(request, "WWW-Authenticate", "Bearer");
    http_answer_json(request, verdict->status,
                     json_pack("{s:{s:s, s:s, s:o, s:o}}", "error", "message", message, "type",
                               verdict->type, "param", text_value(param), "code",
                               text_value(code)));
}

void http_answer_error(struct http_request *request, const struct dgo_error *err, const char *param)
{
    const struct verdict verdict = policy_of_error(err);

    http_answer_verdict(request, &verdict, param, policy_code(err->status));
}

void http_answer_file(struct http_request *request, const char *type, const char *etag,
                      bool gzipped, const void *bytes, size_t length)
{
    const char *known = http_header(request, "If-None-Match");
    const bool same = known && strcmp(known, etag) == 0;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        same ? 0 : length, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);

    if (response) {
        add_header(response, "Content-Type", type);
        add_header(response, "Cache-Control", "no-cache"); /* ask again, by the tag */
        add_header(response, "ETag", etag);
        if (gzipped && !same)
            add_header(response, "Content-Encoding", "gzip");
    }
    finish(request, same ? 304 : 200, response);
}

void http_set_header(struct http_request *request, const char *name, const char *value)
{
    if (request->header_count == HEADERS_MAX)
        return;
    (void)dgo_text_copy(request->header[request->header_count].name, 48, name);
    (void)dgo_text_copy(request->header[request->header_count].value, 256, value);
    request->header_count++;
}

/* libmicrohttpd wants more of a stream: nothing there means that the connection sleeps. */
static ssize_t on_take(void *data, uint64_t at, char *to, size_t size)
{
    struct http_request *request = data;
    ptrdiff_t taken;

    (void)at;
    if (request->http->closing)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (request->left)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    taken = request->take(request, to, size, request->take_data);
    if (taken == -1)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (taken < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (taken == 0) {
        request->suspended = true;
        MHD_suspend_connection(request->mhd);
    }
    return taken;
}

void http_answer_stream(struct http_request *request, unsigned status, const char *type,
                        http_take_fn take, void *data)
{
    struct MHD_Response *response;

    request->take = take;
    request->take_data = data;
    response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_take, request, NULL);
    if (response) {
        add_header(response, "Content-Type", type);
        add_header(response, "Cache-Control", "no-store");
    }
    finish(request, status, response);
}

static void kick(struct http *http)
{
    (void)sd_event_source_set_enabled(http->again, SD_EVENT_ONESHOT);
}

void http_stream_wake(struct http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false;
    MHD_resume_connection(request->mhd);
    kick(request->http);
}

/* ---- the request ---- */

const char *http_path(const struct http_request *request)
{
    return request->path;
}
const char *http_method(const struct http_request *request)
{
    return request->method;
}
uint64_t http_number(const struct http_request *request)
{
    return request->number;
}
bool http_is_local(const struct http_request *request)
{
    return request->http->policy.local;
}

const char *http_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

const char *http_body(const struct http_request *request, size_t *length)
{
    *length = request->body_length;
    return request->body ? request->body : "";
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %41 -> A, + -> space; no NUL, no half escape. */
static bool decode(const char *from, char *to)
{
    for (; *from; from++) {
        int value = *from == '+' ? ' ' : (unsigned char)*from;

        if (*from == '%') {
            const int high = hex_digit(from[1]);
            const int low = high < 0 ? -1 : hex_digit(from[2]);

            value = high < 0 || low < 0 ? 0 : high * 16 + low;
            if (value == 0)
                return false;
            from += 2;
        }
        *to++ = (char)value;
    }
    *to = '\0';
    return true;
}

const char *http_query(struct http_request *request, const char *name)
{
    const char *raw = MHD_lookup_connection_value(request->mhd, MHD_GET_ARGUMENT_KIND, name);
    char *decoded = raw ? dgo_arena_take(&request->arena, strlen(raw) + 1) : NULL;

    return decoded && decode(raw, decoded) ? decoded : NULL;
}

void http_wait(struct http_request *request)
{
    request->waiting = true;
}

void http_on_gone(struct http_request *request, http_fn gone, void *data)
{
    request->gone = gone;
    request->gone_data = data;
}

static bool match(const char *pattern, const char *path, uint64_t *number)
{
    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (*pattern != *path++)
                return false;
            continue;
        }

        const size_t digits = strspn(path, "0123456789");
        char text[24];

        if (digits == 0 || digits >= sizeof text)
            return false;
        memcpy(text, path, digits);
        text[digits] = '\0';
        if (dgo_u64_parse(text, "number", 0, UINT64_MAX, number, NULL) != DGO_OK)
            return false;
        path += digits;
    }
    return *path == '\0';
}

/* The row for a request; `other` is set where the path is known with another method. */
static const struct http_route *find_route(const struct http *http, const char *method,
                                           const char *path, uint64_t *number, bool *other)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;

    *other = false;
    for (const struct http_route *route = http->options.routes; route->method; route++) {
        if (!match(route->path, path, number))
            continue;
        if (strcmp(route->method, wanted) == 0)
            return route;
        *other = true;
    }
    return NULL;
}

static enum MHD_Result queue(struct http_request *request)
{
    if (!request->response)
        return MHD_NO; /* no memory for an answer: the connection is closed */
    return MHD_queue_response(request->mhd, request->status, request->response);
}

static enum MHD_Result take_header(void *data, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    policy_take(data, name, value);
    return MHD_YES;
}

static bool is_same_user(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred peer;
    socklen_t size = sizeof peer;

    return info && getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

static void set_deadline(struct connection *connection, uint64_t seconds)
{
    if (connection)
        connection->deadline_ns = seconds ? now_ns() + seconds * DGO_NS_PER_S : 0;
}

static struct verdict judge(struct http *http, struct http_request *request)
{
    static const struct policy_route files = {.open = true};
    static const struct policy_route closed = {.open = false};
    const struct verdict unknown = {404, "not_found", "there is nothing here"};
    const struct verdict wrong_method = {405, "invalid_request", "this route takes another method"};
    struct policy_head head = {0};
    struct verdict verdict;
    bool other;

    MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, take_header, &head);
    if (http->policy.local && !is_same_user(request->mhd))
        return (struct verdict){403, "forbidden", "this socket is another user's"};
    verdict = policy_judge_head(&http->policy, request->method, request->path, &head);
    if (verdict.status != 200)
        return verdict;
    request->route = find_route(http, request->method, request->path, &request->number, &other);
    if (request->route) {
        request->body_max = request->route->policy.body_max;
        return policy_judge_route(&http->policy, &request->route->policy, &head);
    }
    if (http->options.fallback && !other && request->method[0] != 'P' &&
        request->method[0] != 'D' && strncmp(request->path, "/api/", 5) != 0 &&
        strncmp(request->path, "/v1/", 4) != 0)
        return policy_judge_route(&http->policy, &files, &head);
    verdict = policy_judge_route(&http->policy, &closed, &head);
    return verdict.status == 401 ? verdict : other ? wrong_method : unknown;
}

static enum MHD_Result begin(struct http *http, struct MHD_Connection *mhd, const char *method,
                             const char *path, void **context)
{
    struct http_request *request = calloc(1, sizeof *request);
    struct verdict verdict;

    if (!request)
        return MHD_NO;
    request->http = http;
    request->mhd = mhd;
    request->method = method;
    request->path = path;
    request->connection = connection_of(mhd);
    request->arena.limit_bytes = 2 * HTTP_HEAD_MAX;
    request->next = http->requests;
    if (request->next)
        request->next->previous = request;
    http->requests = request;
    *context = request;
    verdict = judge(http, request);
    if (verdict.status != 200) {
        set_deadline(request->connection, HTTP_BODY_WAIT_S);
        request->dispatched = true;
        http_answer_verdict(request, &verdict, NULL, NULL);
        return queue(request);
    }
    set_deadline(request->connection, HTTP_BODY_WAIT_S);
    return MHD_YES;
}

static enum MHD_Result take_body(struct http_request *request, const char *bytes, size_t length)
{
    const size_t wanted = request->body_length + length;

    if (request->body_length + length > request->body_max) {
        request->body_length = 0;
        request->body_max = 0;
        return MHD_NO; /* more than it announced, or chunks without end: closed */
    }
    if (wanted + 1 > request->body_size) {
        const size_t size = dgo_max_u64(wanted + 1, 2 * request->body_size);
        char *grown = realloc(request->body, size);

        if (!grown)
            return MHD_NO;
        request->body = grown;
        request->body_size = size;
    }
    memcpy(request->body + request->body_length, bytes, length);
    request->body_length = wanted;
    request->body[wanted] = '\0';
    return MHD_YES;
}

static enum MHD_Result dispatch(struct http_request *request)
{
    struct http *http = request->http;

    request->dispatched = true;
    set_deadline(request->connection, 0);
    if (http->closing)
        return MHD_NO;
    if (request->route)
        request->route->fn(request, http->options.data);
    else
        http->options.fallback(request, http->options.data);
    if (request->response || request->no_memory || !request->waiting)
        return queue(request);
    request->suspended = true;
    MHD_suspend_connection(request->mhd);
    return MHD_YES;
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_length, void **context)
{
    struct http_request *request = *context;

    (void)version;
    if (!request)
        return begin(data, mhd, method, path, context);
    if (*upload_length > 0) {
        const enum MHD_Result result = take_body(request, upload, *upload_length);

        *upload_length = 0;
        return result;
    }
    return request->dispatched ? queue(request) : dispatch(request);
}

static void on_completed(void *data, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode how)
{
    struct http_request *request = *context;

    (void)data;
    (void)mhd;
    (void)how;
    if (!request)
        return;
    *context = NULL;
    set_deadline(request->connection, HTTP_IDLE_S + HTTP_HEAD_WAIT_S); /* of the next one's head */
    if (request->gone)
        request->gone(request, request->gone_data);
    if (request->previous)
        request->previous->next = request->next;
    else
        request->http->requests = request->next;
    if (request->next)
        request->next->previous = request->previous;
    if (request->response)
        MHD_destroy_response(request->response);
    dgo_arena_done(&request->arena);
    free(request->body);
    free(request);
}

/* ---- connections ---- */

static void on_connection(void *data, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *http = data;
    struct connection *connection = *context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        connection = calloc(1, sizeof *connection);
        *context = connection;
        http->client_count++;
        if (!connection)
            return;
        connection->mhd = mhd;
        set_deadline(connection, HTTP_HEAD_WAIT_S);
        connection->next = http->connections;
        if (connection->next)
            connection->next->previous = connection;
        http->connections = connection;
        return;
    }
    http->client_count--;
    if (!connection)
        return;
    *context = NULL;
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        http->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    free(connection);
}

/* A connection that sleeps is not watched by libmicrohttpd: whether its client is still there is
 * asked here, so that an engine does not work for nobody. */
static void find_left(struct http *http)
{
    for (struct http_request *request = http->requests; request; request = request->next) {
        const union MHD_ConnectionInfo *info;
        char byte;

        if (!request->suspended)
            continue;
        info = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info && recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
            request->left = true;
            http_stream_wake(request);
        }
    }
}

/* A head or a body that trickles in byte by byte keeps a connection from being idle; it has a
 * deadline of its own. */
static int on_sweep(sd_event_source *source, uint64_t now_us, void *data)
{
    struct http *http = data;
    const uint64_t now = now_ns();

    (void)now_us;
    for (struct connection *c = http->connections; c; c = c->next) {
        const union MHD_ConnectionInfo *info;

        if (c->deadline_ns == 0 || c->deadline_ns > now)
            continue;
        c->deadline_ns = 0;
        info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info)
            (void)shutdown(info->connect_fd, SHUT_RDWR); /* libmicrohttpd sees its end */
    }
    find_left(http);
    (void)sd_event_source_set_time_relative(source, DGO_NS_PER_S / DGO_NS_PER_US);
    (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    kick(http);
    return 0;
}

static void run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    (void)MHD_run(http->daemon);
    if (MHD_get_timeout(http->daemon, &wait_ms) != MHD_YES) {
        (void)sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
    } else if (wait_ms == 0) {
        kick(http);
    } else {
        (void)sd_event_source_set_time_relative(http->timer, wait_ms * 1000);
        (void)sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
    }
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *data)
{
    (void)source;
    (void)fd;
    (void)events;
    run(data);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t now_us, void *data)
{
    (void)source;
    (void)now_us;
    run(data);
    return 0;
}

static int on_again(sd_event_source *source, void *data)
{
    (void)source;
    run(data);
    return 0;
}

static void on_log(void *data, const char *fmt, va_list args)
{
    char line[256];

    (void)data;
    if (!dgo_log_wants(DGO_LOG_DEBUG))
        return; /* it has a line for every client that goes away */
    vsnprintf(line, sizeof line, fmt, args);
    dgo_log(DGO_LOG_DEBUG, "http: %s", line);
}

/* Decoding would turn %00 into the end of the string, and a path is compared as it came. */
static size_t no_unescape(void *data, struct MHD_Connection *mhd, char *text)
{
    (void)data;
    (void)mhd;
    return strlen(text);
}

static enum dgo_status start_daemon(struct http *http, int listen_fd, struct dgo_error *err)
{
    const uint32_t clients =
        http->options.clients_max ? http->options.clients_max : HTTP_CLIENTS_MAX;

    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
        http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)clients, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, http, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    return http->daemon ? DGO_OK
                        : dgo_fail(err, DGO_EIO, "the HTTP server cannot be started on its socket");
}

static enum dgo_status add_sources(struct http *http, struct dgo_error *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int result = info ? 0 : -EIO;

    if (result >= 0)
        result = sd_event_add_io(http->loop, &http->io, info->epoll_fd, EPOLLIN, on_io, http);
    if (result >= 0)
        result = sd_event_add_time_relative(http->loop, &http->timer, CLOCK_MONOTONIC, 0,
                                            ACCURACY_US, on_timer, http);
    if (result >= 0)
        result = sd_event_add_defer(http->loop, &http->again, on_again, http);
    if (result >= 0)
        result =
            sd_event_add_time_relative(http->loop, &http->sweep, CLOCK_MONOTONIC,
                                       DGO_NS_PER_S / DGO_NS_PER_US, ACCURACY_US, on_sweep, http);
    return result < 0 ? dgo_fail_errno(err, DGO_EIO, -result, "the loop cannot watch the server")
                      : DGO_OK;
}

enum dgo_status http_open(sd_event *loop, int listen_fd, const struct policy *policy,
                          const struct http_options *options, struct http **http,
                          struct dgo_error *err)
{
    struct http *made = calloc(1, sizeof *made);
    enum dgo_status status;

    if (!made) {
        close(listen_fd);
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    }
    made->loop = sd_event_ref(loop);
    made->policy = *policy;
    made->options = *options;
    status = start_daemon(made, listen_fd, err);
    if (status != DGO_OK)
        close(listen_fd);
    else
        status = add_sources(made, err);
    if (status != DGO_OK) {
        http_close(made);
        return status;
    }
    *http = made;
    return DGO_OK;
}

void http_close(struct http *http)
{
    static const struct verdict ending = {503, "unavailable", "the daemon ends"};

    if (!http)
        return;
    http->closing = true;
    for (struct http_request *request = http->requests, *next; request; request = next) {
        next = request->next;
        if (request->suspended && !request->response)
            http_answer_verdict(request, &ending, NULL, NULL);
        http_stream_wake(request);
    }
    if (http->daemon) {
        for (int round = 0; round < 4; round++) /* what was answered goes out */
            (void)MHD_run(http->daemon);
        MHD_stop_daemon(http->daemon);
    }
    sd_event_source_disable_unref(http->io);
    sd_event_source_disable_unref(http->timer);
    sd_event_source_disable_unref(http->again);
    sd_event_source_disable_unref(http->sweep);
    sd_event_unref(http->loop);
    free(http);
}

uint32_t http_client_count(const struct http *http)
{
    return http->client_count;
}
