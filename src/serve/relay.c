/* relay.c - requests to engines, by libcurl's multi interface. */
#include "relay.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>

enum { TYPE_MAX = 128, URL_MAX = 512, ACCURACY_US = 1 };

struct relay {
    sd_event *loop;
    CURLM *multi;
    sd_event_source *timer;
    struct transfer *transfers;
};

struct transfer {
    struct transfer *previous, *next;
    struct relay *relay;
    struct http_request *request;
    bool (*unreachable)(void *owner, bool was_sent);
    void *owner;
    relay_got_fn got; /* of a GET of our own, which has no request */
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    char type[TYPE_MAX];
    bool answered, ended, failed, paused;
    char *buffer; /* what the client has not taken: [at, length) */
    size_t at, length, size;
};

static void free_transfer(struct transfer *transfer)
{
    struct relay *relay = transfer->relay;

    if (transfer->easy) {
        (void)curl_multi_remove_handle(relay->multi, transfer->easy);
        curl_easy_cleanup(transfer->easy);
    }
    curl_slist_free_all(transfer->headers);
    if (transfer->previous)
        transfer->previous->next = transfer->next;
    else
        relay->transfers = transfer->next;
    if (transfer->next)
        transfer->next->previous = transfer->previous;
    free(transfer->buffer);
    free(transfer);
}

/* ---- to the client ---- */

static ptrdiff_t take(struct http_request *request, char *to, size_t size, void *data)
{
    struct transfer *transfer = data;
    const size_t left = transfer->length - transfer->at;
    const size_t taken = left < size ? left : size;

    (void)request;
    if (taken == 0)
        return transfer->failed ? -2 : transfer->ended ? -1 : 0;
    memcpy(to, transfer->buffer + transfer->at, taken);
    transfer->at += taken;
    if (transfer->at == transfer->length) {
        transfer->at = transfer->length = 0;
        if (transfer->paused && transfer->easy) {
            transfer->paused = false;
            (void)curl_easy_pause(transfer->easy, CURLPAUSE_CONT); /* may fill the buffer again */
        }
    }
    return (ptrdiff_t)taken;
}

/* Its head is whole: the client gets the same status and type. */
static void answer(struct transfer *transfer)
{
    long status = 200;

    if (transfer->answered)
        return;
    transfer->answered = true;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 599)
        status = 502;
    http_answer_stream(transfer->request, (unsigned)status,
                       transfer->type[0] ? transfer->type : "application/octet-stream", take,
                       transfer);
}

/* ---- from the engine ---- */

static size_t on_header(char *bytes, size_t size, size_t count, void *data)
{
    static const char name[] = "content-type:";
    struct transfer *transfer = data;
    const size_t length = size * count;
    const char *at = bytes + sizeof name - 1, *end = bytes + length;

    if (length <= sizeof name - 1 || strncasecmp(bytes, name, sizeof name - 1) != 0)
        return length;
    while (at < end && *at == ' ')
        at++;
    while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    for (const char *c = at; c < end; c++)
        if (*c < ' ' || *c > '~')
            return length; /* no type is better than one that breaks our head */
    snprintf(transfer->type, sizeof transfer->type, "%.*s", (int)(end - at), at);
    return length;
}

static bool grow(struct transfer *transfer, size_t wanted)
{
    const size_t size = dgo_max_u64(wanted, 2 * transfer->size);
    char *grown = realloc(transfer->buffer, size);

    if (!grown)
        return false;
    transfer->buffer = grown;
    transfer->size = size;
    return true;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
    struct transfer *transfer = data;
    const size_t length = size * count;

    if (transfer->length > RELAY_BUFFER_MAX && transfer->got)
        return 0; /* it was to be short */
    if (transfer->length > RELAY_BUFFER_MAX) {
        transfer->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (transfer->length + length > transfer->size && !grow(transfer, transfer->length + length))
        return 0;
    memcpy(transfer->buffer + transfer->length, bytes, length);
    transfer->length += length;
    if (transfer->got)
        return length;
    if (transfer->answered)
        http_stream_wake(transfer->request);
    else
        answer(transfer);
    return length;
}

static void end_get(struct transfer *transfer, CURLcode result)
{
    const relay_got_fn got = transfer->got;
    void *data = transfer->owner;
    char *text = transfer->buffer;
    const size_t length = transfer->length;
    long status = 0;

    (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    transfer->buffer = NULL;
    free_transfer(transfer);
    got(result == CURLE_OK && status == 200 ? text : NULL, length, data);
    free(text);
}

/* The kernel still takes connections for an engine that is being killed, and then resets them. */
static bool is_broken(CURLcode result)
{
    return result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR || result == CURLE_GOT_NOTHING;
}

static void on_end(struct transfer *transfer, CURLcode result)
{
    if (transfer->got) {
        end_get(transfer, result);
        return;
    }
    if (transfer->unreachable && !transfer->answered &&
        (result == CURLE_COULDNT_CONNECT || is_broken(result)) &&
        transfer->unreachable(transfer->owner, result != CURLE_COULDNT_CONNECT)) {
        free_transfer(transfer);
        return;
    }
    (void)curl_multi_remove_handle(transfer->relay->multi, transfer->easy);
    transfer->ended = true;
    if (result == CURLE_OK) {
        answer(transfer); /* an answer without a body */
    } else if (!transfer->answered) {
        struct dgo_error err = {0};
        const char *why = transfer->error[0] ? transfer->error : curl_easy_strerror(result);

        if (result == CURLE_OPERATION_TIMEDOUT)
            dgo_fail(&err, DGO_ETIMEOUT,
                     "the engine has not answered in time; --request-timeout "
                     "allows more");
        else
            dgo_fail(&err, DGO_ECHILD, "the engine did not answer: %.200s", why);
        transfer->answered = true;
        http_answer_error(transfer->request, &err, NULL);
    } else {
        transfer->failed = true; /* the connection breaks, so that nobody takes it for whole */
    }
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
    http_stream_wake(transfer->request);
}

static void look(struct relay *relay)
{
    const CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(relay->multi, &left))) {
        const CURLcode result = message->data.result;
        char *data = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &data);
        if (data)
            on_end((struct transfer *)(void *)data, result);
    }
}

/* ---- libcurl on the loop ---- */

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct relay *relay = data;
    const int mask = (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                     (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                     (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    int running;

    (void)source;
    (void)curl_multi_socket_action(relay->multi, fd, mask, &running);
    look(relay);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t now_us, void *data)
{
    struct relay *relay = data;
    int running;

    (void)source;
    (void)now_us;
    (void)curl_multi_socket_action(relay->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    look(relay);
    return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    struct relay *relay = data;
    sd_event_source *source = socket_data;
    const uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                            (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        sd_event_source_disable_unref(source);
        (void)curl_multi_assign(relay->multi, fd, NULL);
        return 0;
    }
    if (source)
        return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
    if (sd_event_add_io(relay->loop, &source, fd, events, on_socket, relay) < 0)
        return -1;
    (void)curl_multi_assign(relay->multi, fd, source);
    return 0;
}

static int want_timer(CURLM *multi, long wait_ms, void *data)
{
    struct relay *relay = data;

    (void)multi;
    if (wait_ms < 0)
        return sd_event_source_set_enabled(relay->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
    if (sd_event_source_set_time_relative(relay->timer, (uint64_t)wait_ms * 1000) < 0 ||
        sd_event_source_set_enabled(relay->timer, SD_EVENT_ONESHOT) < 0)
        return -1;
    return 0;
}

/* ---- life ---- */

enum dgo_status relay_new(sd_event *loop, struct relay **relay, struct dgo_error *err)
{
    struct relay *made = calloc(1, sizeof *made);

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->loop = sd_event_ref(loop);
    made->multi = curl_multi_init();
    if (!made->multi ||
        sd_event_add_time_relative(loop, &made->timer, CLOCK_MONOTONIC, 0, ACCURACY_US, on_timer,
                                   made) < 0 ||
        curl_multi_setopt(made->multi, CURLMOPT_SOCKETFUNCTION, want_socket) != CURLM_OK ||
        curl_multi_setopt(made->multi, CURLMOPT_SOCKETDATA, made) != CURLM_OK ||
        curl_multi_setopt(made->multi, CURLMOPT_TIMERFUNCTION, want_timer) != CURLM_OK ||
        curl_multi_setopt(made->multi, CURLMOPT_TIMERDATA, made) != CURLM_OK) {
        relay_free(made);
        return dgo_fail(err, DGO_EIO, "the HTTP client cannot be set up");
    }
    *relay = made;
    return DGO_OK;
}

void relay_free(struct relay *relay)
{
    if (!relay)
        return;
    while (relay->transfers) {
        struct transfer *transfer = relay->transfers;

        const relay_got_fn got = transfer->got;
        void *owner = transfer->owner;

        if (transfer->request)
            http_on_gone(transfer->request, NULL, NULL);
        free_transfer(transfer);
        if (got)
            got(NULL, 0, owner);
    }
    if (relay->multi)
        (void)curl_multi_cleanup(relay->multi);
    sd_event_source_disable_unref(relay->timer);
    sd_event_unref(relay->loop);
    free(relay);
}

void relay_cancel(struct relay *relay, const void *owner)
{
    for (struct transfer *transfer = relay ? relay->transfers : NULL; transfer;
         transfer = transfer->next)
        if (transfer->owner == owner) {
            free_transfer(transfer);
            return;
        }
}

/* A wildcard address is reached by loopback. */
static void make_url(const char *host, uint16_t port, const char *path, char url[URL_MAX])
{
    const bool is_v6 = strchr(host, ':') != NULL;

    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (strcmp(host, "::") == 0)
        host = "::1";
    snprintf(url, URL_MAX, "http://%s%s%s:%u%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "", port,
             path);
}

/* No proxy, no redirect, no other protocol. */
static bool set_up(struct transfer *transfer, const char *host, uint16_t port, const char *path,
                   uint64_t timeout_ns)
{
    CURL *easy = transfer->easy;
    char url[URL_MAX];

    make_url(host, port, path, url);
    return curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(timeout_ns / DGO_NS_PER_MS)) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK;
}

/* Nothing of the client's head is sent on but the type. */
static bool set_body(struct transfer *transfer, const struct relay_request *wanted)
{
    CURL *easy = transfer->easy;
    size_t length;
    const char *body = http_body(wanted->request, &length);
    char type[TYPE_MAX + sizeof "Content-Type: "];
    struct curl_slist *headers;

    snprintf(type, sizeof type, "Content-Type: %s", wanted->type);
    headers = curl_slist_append(NULL, type);
    if (!headers)
        return false;
    transfer->headers = curl_slist_append(headers, "Expect:");
    if (!transfer->headers)
        transfer->headers = headers;
    return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length) == CURLE_OK;
}

static struct transfer *new_transfer(struct relay *relay)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);

    if (!transfer)
        return NULL;
    transfer->relay = relay;
    transfer->next = relay->transfers;
    if (transfer->next)
        transfer->next->previous = transfer;
    relay->transfers = transfer;
    transfer->easy = curl_easy_init();
    return transfer;
}

enum dgo_status relay_start(struct relay *relay, const struct relay_request *wanted,
                            struct dgo_error *err)
{
    struct transfer *transfer = new_transfer(relay);

    if (!transfer)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    transfer->request = wanted->request;
    transfer->unreachable = wanted->unreachable;
    transfer->owner = wanted->owner;
    if (!transfer->easy ||
        !set_up(transfer, wanted->host, wanted->port, http_path(wanted->request),
                wanted->timeout_ns) ||
        !set_body(transfer, wanted) ||
        curl_multi_add_handle(relay->multi, transfer->easy) != CURLM_OK) {
        free_transfer(transfer);
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a request to the engine");
    }
    return DGO_OK;
}

enum dgo_status relay_get(struct relay *relay, const char *host, uint16_t port, const char *path,
                          uint64_t timeout_ns, relay_got_fn done, void *data, struct dgo_error *err)
{
    struct transfer *transfer = new_transfer(relay);

    if (!transfer)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    transfer->got = done;
    transfer->owner = data;
    if (!transfer->easy || !set_up(transfer, host, port, path, timeout_ns) ||
        curl_multi_add_handle(relay->multi, transfer->easy) != CURLM_OK) {
        free_transfer(transfer);
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a request to the engine");
    }
    return DGO_OK;
}
