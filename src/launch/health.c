/* health.c - asks an engine over HTTP until it is ready: libcurl's multi interface on our loop.
 *
 * libcurl says which sockets and which timer it wants; both are event sources here.  One try is in
 * flight at a time.  Everything that may call out is the last act of a handler, because the health
 * may be freed in there. */
#include "address.h"
#include "dgo_launch.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_NS (100 * DGO_NS_PER_MS)

enum {
    TRY_MS = 5000,        /* one try: an engine that loads may answer late, not never */
    BODY_MAX = 64 * 1024, /* of an answer; only its status counts */
    URL_MAX = 256,
    ACCURACY_US = 1, /* 0 would be sd-event's 250 ms */
};

struct dgo_health {
    sd_event *loop;
    struct dgo_health_options options; /* its texts are not kept */
    char url[URL_MAX];
    CURLM *multi;
    CURL *easy;
    bool in_flight; /* easy is in multi */
    sd_event_source *socket, *curl_timer, *next_try, *deadline;
    size_t body_bytes;
    bool body_cut;
    char curl_error[CURL_ERROR_SIZE];
    char last_error[CURL_ERROR_SIZE + 32];
};

static void begin_try(struct dgo_health *health);

static int set_timer(struct dgo_health *health, sd_event_source **timer, uint64_t wait_us,
                     sd_event_time_handler_t handler)
{
    int result;

    if (!*timer)
        return sd_event_add_time_relative(health->loop, timer, CLOCK_MONOTONIC, wait_us,
                                          ACCURACY_US, handler, health);
    result = sd_event_source_set_time_relative(*timer, wait_us);
    return result < 0 ? result : sd_event_source_set_enabled(*timer, SD_EVENT_ONESHOT);
}

/* Nothing goes on after this: no try, no timer. */
static void halt(struct dgo_health *health)
{
    if (health->in_flight)
        (void)curl_multi_remove_handle(health->multi, health->easy);
    health->in_flight = false;
    health->curl_timer = sd_event_source_disable_unref(health->curl_timer);
    health->next_try = sd_event_source_disable_unref(health->next_try);
    health->deadline = sd_event_source_disable_unref(health->deadline);
}

static void give_up(struct dgo_health *health)
{
    halt(health);
    if (health->options.timed_out)
        health->options.timed_out(health, health->last_error, health->options.data);
}

static int on_deadline(sd_event_source *source, uint64_t now_us, void *data)
{
    (void)source;
    (void)now_us;
    give_up(data);
    return 0;
}

static int on_next_try(sd_event_source *source, uint64_t now_us, void *data)
{
    (void)source;
    (void)now_us;
    begin_try(data);
    return 0;
}

static bool is_ready(struct dgo_health *health, CURLcode result)
{
    long code = 0;

    (void)curl_easy_getinfo(health->easy, CURLINFO_RESPONSE_CODE, &code);
    if (code == 200 && (result == CURLE_OK || health->body_cut))
        return true;

    struct dgo_text text = DGO_TEXT(health->last_error);

    if (result == CURLE_OK)
        dgo_text_addf(&text, "it answers with status %ld", code);
    else
        dgo_text_add(&text,
                     health->curl_error[0] ? health->curl_error : curl_easy_strerror(result));
    return false;
}

/* After libcurl ran: has the try ended?  The last call of its handler. */
static void look(struct dgo_health *health)
{
    int waiting;
    const CURLMsg *message = curl_multi_info_read(health->multi, &waiting);

    if (!message || message->msg != CURLMSG_DONE)
        return;

    const CURLcode result = message->data.result; /* the message dies with the next call */
    const bool ready = is_ready(health, result);

    (void)curl_multi_remove_handle(health->multi, health->easy);
    health->in_flight = false;
    if (ready) {
        halt(health);
        if (health->options.ready)
            health->options.ready(health, health->options.data);
        return;
    }
    if (set_timer(health, &health->next_try, health->options.interval_ns / DGO_NS_PER_US,
                  on_next_try) < 0)
        give_up(health);
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct dgo_health *health = data;
    const int mask = (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                     (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                     (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    int running;

    (void)source;
    (void)curl_multi_socket_action(health->multi, fd, mask, &running);
    look(health);
    return 0;
}

static int on_curl_timer(sd_event_source *source, uint64_t now_us, void *data)
{
    struct dgo_health *health = data;
    int running;

    (void)source;
    (void)now_us;
    (void)curl_multi_socket_action(health->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    look(health);
    return 0;
}

/* libcurl's wish for a socket.  A try has one: the address is a number, so there is no look-up and
 * no race of several addresses. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    struct dgo_health *health = data;
    const uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                            (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);

    (void)easy;
    (void)socket_data;
    if (what == CURL_POLL_REMOVE) {
        health->socket = sd_event_source_disable_unref(health->socket);
        return 0;
    }
    if (health->socket)
        return sd_event_source_set_io_events(health->socket, events) < 0 ? -1 : 0;
    return sd_event_add_io(health->loop, &health->socket, fd, events, on_socket, health) < 0 ? -1
                                                                                             : 0;
}

/* libcurl closes some sockets before it says that it wants them no more; by then the number may be
 * another file's, whose place in the loop must not be lost. */
static int close_socket(void *data, curl_socket_t fd)
{
    struct dgo_health *health = data;

    if (health->socket && sd_event_source_get_io_fd(health->socket) == fd)
        health->socket = sd_event_source_disable_unref(health->socket);
    return close(fd);
}

static int want_timer(CURLM *multi, long wait_ms, void *data)
{
    struct dgo_health *health = data;

    (void)multi;
    if (wait_ms >= 0)
        return set_timer(health, &health->curl_timer, (uint64_t)wait_ms * 1000, on_curl_timer) < 0
                   ? -1
                   : 0;
    if (health->curl_timer)
        (void)sd_event_source_set_enabled(health->curl_timer, SD_EVENT_OFF);
    return 0;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *data)
{
    struct dgo_health *health = data;

    (void)bytes;
    health->body_bytes += size * count;
    health->body_cut = health->body_bytes > BODY_MAX;
    return health->body_cut ? 0 : size * count;
}

static void begin_try(struct dgo_health *health)
{
    health->body_bytes = 0;
    health->body_cut = false;
    health->curl_error[0] = '\0';
    if (curl_multi_add_handle(health->multi, health->easy) != CURLM_OK) {
        (void)dgo_text_copy(health->last_error, sizeof health->last_error, "out of memory");
        give_up(health);
        return;
    }
    health->in_flight = true; /* it starts with libcurl's timer, which is 0 now */
}

/* No proxy, whatever the environment says, no redirect, no other protocol, no kept connection. */
static bool set_up_curl(struct dgo_health *health)
{
    CURL *const easy = health->easy;
    CURLM *const multi = health->multi;

    return easy && multi && curl_easy_setopt(easy, CURLOPT_URL, health->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TRY_MS) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "dualgpuopt/" DGO_VERSION) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, health->curl_error) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, health) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, health) == CURLE_OK &&
           curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, want_socket) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, health) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, want_timer) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERDATA, health) == CURLM_OK;
}

static enum dgo_status make_url(const struct dgo_health_options *options, char url[URL_MAX],
                                struct dgo_error *err)
{
    struct dgo_text text = {.data = url, .size = URL_MAX};
    struct address address;
    char reach[ADDRESS_TEXT_MAX];
    const enum dgo_status status = address_parse(options->host, options->port, &address, err);

    if (status != DGO_OK)
        return status;
    address_to_reach(&address, reach);
    dgo_text_addf(&text, "http://%s%s", reach, options->path);
    for (const char *c = options->path; *c; c++)
        if (*c <= ' ' || *c > '~')
            return dgo_fail(err, DGO_EINVAL, "a health path has printable characters only");
    if (options->path[0] != '/' || text.truncated)
        return dgo_fail(err, DGO_EINVAL, "a health path starts with / and has less than %d bytes",
                        URL_MAX - ADDRESS_TEXT_MAX);
    return DGO_OK;
}

enum dgo_status dgo_health_start(sd_event *loop, const struct dgo_health_options *options,
                                 struct dgo_health **health, struct dgo_error *err)
{
    struct dgo_health *made = calloc(1, sizeof *made);
    enum dgo_status status;
    int result = 0;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "no memory to watch the engine's health");
    made->loop = sd_event_ref(loop);
    made->options = *options;
    made->options.host = made->options.path = NULL;
    if (options->interval_ns == 0)
        made->options.interval_ns = INTERVAL_NS;
    (void)dgo_text_copy(made->last_error, sizeof made->last_error, "it has not answered");
    status = make_url(options, made->url, err);
    if (status == DGO_OK) {
        made->easy = curl_easy_init(); /* with curl_global_init, which is thread-safe by now */
        made->multi = curl_multi_init();
        if (!set_up_curl(made))
            status = dgo_fail(err, DGO_EIO, "the HTTP client cannot be set up");
    }
    if (status == DGO_OK) {
        result = set_timer(made, &made->next_try, 0, on_next_try);
        if (result >= 0 && options->timeout_ns > 0)
            result =
                set_timer(made, &made->deadline, options->timeout_ns / DGO_NS_PER_US, on_deadline);
        if (result < 0)
            status = dgo_fail_errno(err, DGO_EIO, -result, "cannot set a timer");
    }
    if (status != DGO_OK) {
        dgo_health_free(made);
        return status;
    }
    *health = made;
    return DGO_OK;
}

void dgo_health_free(struct dgo_health *health)
{
    if (!health)
        return;
    halt(health);
    if (health->multi)
        (void)curl_multi_cleanup(health->multi); /* gives its sockets back through want_socket */
    if (health->easy)
        curl_easy_cleanup(health->easy);
    halt(health); /* and a timer it may have asked for meanwhile */
    sd_event_unref(health->loop);
    free(health);
}
