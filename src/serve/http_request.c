/* http_request.c - one request: judged by its head, its body gathered, handed to its route. */
#include "http_internal.h"

#include "dgo_clock.h"
#include "dgo_units.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

void http_set_deadline(struct connection *connection, uint64_t seconds)
{
    if (connection)
        connection->deadline_ns = seconds ? http_now_ns() + seconds * DGO_NS_PER_S : 0;
}

/* Whether a body of that announced length would fit beside those that are here. */
static bool has_room(const struct http *http, const char *announced)
{
    uint64_t length = 0;

    return dgo_u64_parse(announced, "Content-Length", 0, INT64_MAX, &length, NULL) == DGO_OK &&
           http->body_bytes + length <= HTTP_BODIES_MAX;
}

static struct verdict judge(struct http *http, struct http_request *request)
{
    static const struct policy_route files = {.open = true};
    static const struct policy_route closed = {.open = false};
    const struct verdict unknown = {404, "not_found", "there is nothing here"};
    const struct verdict busy = {503, "busy",
                                 "other requests fill the memory for bodies; try again"};
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
        verdict = policy_judge_route(&http->policy, &request->route->policy, &head);
        return verdict.status == 200 && head.length && !has_room(http, head.length) ? busy
                                                                                    : verdict;
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
        http_set_deadline(request->connection, HTTP_BODY_WAIT_S);
        request->dispatched = true;
        http_answer_verdict(request, &verdict, NULL, NULL);
        return queue(request);
    }
    http_set_deadline(request->connection, HTTP_BODY_WAIT_S);
    return MHD_YES;
}

static enum MHD_Result take_body(struct http_request *request, const char *bytes, size_t length)
{
    const size_t wanted = request->body_length + length;

    if (wanted > request->body_max || request->http->body_bytes + length > HTTP_BODIES_MAX) {
        request->http->body_bytes -= request->body_length;
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
    request->http->body_bytes += length;
    request->body[wanted] = '\0';
    return MHD_YES;
}

static enum MHD_Result dispatch(struct http_request *request)
{
    struct http *http = request->http;

    request->dispatched = true;
    http_set_deadline(request->connection, 0);
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

enum MHD_Result http_on_request(void *data, struct MHD_Connection *mhd, const char *path,
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

void http_on_completed(void *data, struct MHD_Connection *mhd, void **context,
                       enum MHD_RequestTerminationCode how)
{
    struct http_request *request = *context;

    (void)data;
    (void)mhd;
    (void)how;
    if (!request)
        return;
    *context = NULL;
    http_set_deadline(request->connection,
                      HTTP_IDLE_S + HTTP_HEAD_WAIT_S); /* of the next one's head */
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
    request->http->body_bytes -= request->body_length;
    free(request->body);
    free(request);
}
