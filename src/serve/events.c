/* events.c - one ring of events, many clients that read along. */
#include "events.h"

#include "dgo_clock.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct text {
    uint32_t references;
    bool is_lines;
    size_t length;
    char data[];
};

struct client {
    struct client *previous, *next;
    struct events *events;
    struct http_request *request;
    bool without_lines, pinged;
    uint64_t at;            /* sequence of its next event */
    uint64_t snapshot_seen; /* number of the last snapshot it got */
    struct text *sending;
    size_t sent;
};

struct events {
    sd_event_source *ping;
    json_t *(*make)(void *data);
    void *data;
    struct text *ring[EVENTS_KEPT];
    uint64_t next; /* sequence of the next event; the first is 1 */
    struct text *snapshot;
    uint64_t snapshot_number;
    struct client *clients;
    uint32_t client_count;
};

static struct text *text_ref(struct text *text)
{
    text->references++;
    return text;
}

static void text_unref(struct text *text)
{
    if (text && --text->references == 0)
        free(text);
}

/* "event: TYPE, id: SEQUENCE, data: OBJECT"; compact JSON is one line. */
static struct text *make_text(const char *type, uint64_t sequence, json_t *object)
{
    char *data = object ? json_dumps(object, JSON_COMPACT) : NULL;
    const size_t size = data ? strlen(data) + strlen(type) + 64 : 0;
    struct text *text = data ? malloc(sizeof *text + size) : NULL;

    if (text) {
        *text = (struct text){.references = 1};
        text->length = (size_t)snprintf(
            text->data, size, "event: %s\nid: %" PRIu64 "\ndata: %s\n\n", type, sequence, data);
    }
    free(data);
    json_decref(object);
    return text;
}

static void wake_all(struct events *events)
{
    for (struct client *client = events->clients; client; client = client->next)
        http_stream_wake(client->request);
}

void events_publish(struct events *events, const char *type, json_t *object)
{
    struct text **place = &events->ring[events->next % EVENTS_KEPT];
    struct text *text = make_text(type, events->next, object);

    if (!text)
        return;
    text->is_lines = strcmp(type, "lines") == 0;
    text_unref(*place);
    *place = text;
    events->next++;
    wake_all(events);
}

void events_snapshot(struct events *events, json_t *object)
{
    /* The id of the last event: who comes back with it gets those after it. */
    struct text *text = make_text("snapshot", events->next - 1, object);

    if (!text)
        return;
    text_unref(events->snapshot);
    events->snapshot = text;
    events->snapshot_number++;
    wake_all(events);
}

/* What the client gets next; NULL: nothing.  A reference of its own. */
static struct text *pick(struct client *client)
{
    struct events *events = client->events;

    if (events->snapshot && client->snapshot_seen != events->snapshot_number) {
        client->snapshot_seen = events->snapshot_number;
        return text_ref(events->snapshot);
    }
    while (client->at < events->next) {
        struct text *text = events->ring[client->at++ % EVENTS_KEPT];

        if (text && !(text->is_lines && client->without_lines))
            return text_ref(text);
    }
    return NULL;
}

static ptrdiff_t take(struct http_request *request, char *to, size_t size, void *data)
{
    static const char ping[] = ": ping\n\n";
    struct client *client = data;
    size_t taken = 0;

    (void)request;
    if (client->at + EVENTS_KEPT < client->events->next)
        return -2;
    while (taken < size) {
        if (!client->sending) {
            client->sending = pick(client);
            client->sent = 0;
        }
        if (!client->sending)
            break;

        const size_t left = client->sending->length - client->sent;
        const size_t length = left < size - taken ? left : size - taken;

        memcpy(to + taken, client->sending->data + client->sent, length);
        taken += length;
        client->sent += length;
        if (length == left) {
            text_unref(client->sending);
            client->sending = NULL;
        }
    }
    if (taken == 0 && client->pinged && size >= sizeof ping) {
        memcpy(to, ping, sizeof ping - 1);
        taken = sizeof ping - 1;
    }
    client->pinged = false;
    return (ptrdiff_t)taken;
}

static void on_gone(struct http_request *request, void *data)
{
    struct client *client = data;
    struct events *events = client->events;

    (void)request;
    if (client->previous)
        client->previous->next = client->next;
    else
        events->clients = client->next;
    if (client->next)
        client->next->previous = client->previous;
    events->client_count--;
    text_unref(client->sending);
    free(client);
}

/* Where a client that was here before goes on: after its last event, if that is still known. */
static uint64_t resume_at(const struct events *events, const char *last)
{
    uint64_t id;

    if (!last || dgo_u64_parse(last, "Last-Event-ID", 0, UINT64_MAX - 1, &id, NULL) != DGO_OK ||
        id >= events->next || id + 1 + EVENTS_KEPT < events->next)
        return events->next;
    return id + 1;
}

void events_serve(struct events *events, struct http_request *request)
{
    const char *lines = http_query(request, "lines");
    struct client *client = calloc(1, sizeof *client);

    if (!client) {
        http_answer_error(request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
        return;
    }
    client->events = events;
    client->request = request;
    client->without_lines = lines && strcmp(lines, "0") == 0;
    client->at = resume_at(events, http_header(request, "Last-Event-ID"));
    client->next = events->clients;
    if (client->next)
        client->next->previous = client;
    events->clients = client;
    events->client_count++;
    http_on_gone(request, on_gone, client);
    if (events->client_count == 1 || !events->snapshot)
        events_snapshot(events, events->make(events->data)); /* nobody looked for a while */
    http_answer_stream(request, 200, "text/event-stream", take, client);
}

/* So that a client that is gone is noticed, and one that is not knows that we are here. */
static int on_ping(sd_event_source *source, uint64_t now_us, void *data)
{
    struct events *events = data;

    (void)now_us;
    for (struct client *client = events->clients; client; client = client->next) {
        client->pinged = true;
        http_stream_wake(client->request);
    }
    (void)sd_event_source_set_time_relative(source, EVENTS_PING_S * 1000000ull);
    (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

enum dgo_status events_new(sd_event *loop, json_t *(*snapshot)(void *data), void *data,
                           struct events **events, struct dgo_error *err)
{
    struct events *made = calloc(1, sizeof *made);
    int result;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->make = snapshot;
    made->data = data;
    made->next = 1;
    result = sd_event_add_time_relative(loop, &made->ping, CLOCK_MONOTONIC,
                                        EVENTS_PING_S * 1000000ull, 100000, on_ping, made);
    if (result < 0) {
        events_free(made);
        return dgo_fail_errno(err, DGO_EIO, -result, "the loop has no timer left");
    }
    *events = made;
    return DGO_OK;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    sd_event_source_disable_unref(events->ping);
    for (size_t i = 0; i < EVENTS_KEPT; i++)
        text_unref(events->ring[i]);
    text_unref(events->snapshot);
    free(events);
}

uint32_t events_client_count(const struct events *events)
{
    return events->client_count;
}
