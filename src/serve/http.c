/* http.c - libmicrohttpd on the loop: connections, requests, deadlines, answers.
 *
 *     head ─► judged ─► body whole ─► handler ─┬─► answer
 *                                              └─► waits (connection suspended) ─► answer, later
 *
 * libmicrohttpd has one epoll descriptor, which is one source of our loop, and one timer.  What it
 * leaves open (two Host headers, two lengths, a head that trickles in) is closed here and in
 * policy.c; reference: docs/decisions/0031-http-server.md. */
#include "http_internal.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    POOL_BYTES = HTTP_HEAD_MAX + 4096, /* above 32 KiB libmicrohttpd maps it, page by page */
    ACCURACY_US = 1000,
};

uint64_t http_now_ns(void)
{
    return dgo_clock_monotonic_ns(dgo_clock_system());
}

void http_kick(struct http *http)
{
    (void)sd_event_source_set_enabled(http->again, SD_EVENT_ONESHOT);
}

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
        http_set_deadline(connection, HTTP_HEAD_WAIT_S);
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
    const uint64_t now = http_now_ns();

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
    http_kick(http);
    return 0;
}

static void run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    (void)MHD_run(http->daemon);
    if (MHD_get_timeout(http->daemon, &wait_ms) != MHD_YES) {
        (void)sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
    } else if (wait_ms == 0) {
        http_kick(http);
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
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        http_on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)clients, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, http, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,
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
