/* bench_bus.c - the event bus beside GLib's queue with a dispatcher, GLib's idle sources, GObject
 * signals (which call in the publisher), ZeroMQ, Qt and a plain ring: published to handled, for one
 * and for eight subscribers, with an event of 48 bytes.
 * Usage: bench_bus [ROUNDS [PART OF A NAME]] */
#include <pthread.h>
#include <stdatomic.h>

#include "../resource/bench.h"
#include "peers.h"

#include "dgo_bus.h"
#include "dgo_units.h"

#include <glib-object.h>
#include <sched.h>
#include <time.h>

enum { EVENTS = 300000, IDLE_EVENTS = 60000, THREAD_EVENTS = 30000, WINDOW = 4096, HANDLERS = 8 };

struct metrics {
    uint64_t words[6];
};

static const struct dgo_topic topics[] = {
    {0, "metrics", DGO_TOPIC_NORMAL, DGO_TOPIC_CPU, DGO_TOPIC_NEVER, sizeof(struct metrics), 0, 0},
};

struct handler {
    _Alignas(64) uint64_t sum;
    _Atomic uint64_t count;
};
static struct handler handlers[HANDLERS];

static void handle(struct handler *handler, const struct metrics *metrics)
{
    handler->sum += metrics->words[0] ^ metrics->words[5];
    atomic_store_explicit(&handler->count,
                          atomic_load_explicit(&handler->count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void await_count(uint32_t handler_count, uint64_t events)
{
    const struct timespec moment = {0, 20000};

    for (uint32_t i = 0; i < handler_count; i++)
        while (atomic_load(&handlers[i].count) < events)
            nanosleep(&moment, NULL);
}

static uint32_t watched; /* handlers of this round */

/* Nobody may be more than a window ahead of the slowest, so that all queues are of one size and
 * none refuses. */
static void keep_in_window(uint32_t published)
{
    const struct timespec moment = {0, 20000};

    if (published % 512 == 0)
        for (uint32_t i = 0; i < watched; i++)
            while (published > atomic_load(&handlers[i].count) + WINDOW - 1024)
                nanosleep(&moment, NULL);
}

static void forget_counts(uint32_t handler_count)
{
    watched = handler_count;
    for (int i = 0; i < HANDLERS; i++)
        atomic_store(&handlers[i].count, 0);
}

struct shape {
    uint32_t handler_count;
    bool is_shared;
};

/* ---- ours ---- */

static enum dgo_status handle_ours(const struct dgo_event *event, void *data)
{
    handle(data, event->payload);
    return DGO_OK;
}

static struct bench_sample run_ours(void *data)
{
    const struct shape *shape = data;
    struct dgo_bus_strand strand = {0, 0};
    struct metrics metrics = {{1, 2, 3, 4, 5, 6}};
    struct bench_sample begun, sample;
    struct dgo_bus *bus;

    if (dgo_bus_new(topics, 1, NULL, &bus, NULL) != DGO_OK)
        abort();
    if (shape->is_shared &&
        dgo_bus_strand_new(bus, "shared", DGO_LANE_NORMAL, WINDOW, &strand, NULL) != DGO_OK)
        abort();
    for (uint32_t i = 0; i < shape->handler_count; i++) {
        const struct dgo_subscriber subscriber = {.name = "handler",
                                                  .topics = 1,
                                                  .fn = handle_ours,
                                                  .data = &handlers[i],
                                                  .depth = WINDOW,
                                                  .strand = strand};
        struct dgo_subscription name;

        if (dgo_bus_subscribe(bus, &subscriber, &name, NULL) != DGO_OK)
            abort();
    }
    forget_counts(shape->handler_count);
    begun = bench_begin();
    for (uint32_t i = 0; i < EVENTS; i++) {
        metrics.words[0] = i;
        while (dgo_bus_publish(bus, 0, 0, &metrics) == DGO_EBUSY)
            sched_yield();
        keep_in_window(i + 1);
    }
    await_count(shape->handler_count, EVENTS);
    sample = bench_end(begun, EVENTS);
    dgo_bus_free(bus);
    return sample;
}

/* ---- a queue and a thread that calls all handlers ---- */

/* As on any bus, who dispatches knows its handlers by a list only. */
static struct listener {
    void (*fn)(struct handler *handler, const struct metrics *metrics);
    struct handler *handler;
} listeners[HANDLERS];
static uint32_t dispatch_count;

static void listen_all(uint32_t handler_count)
{
    for (uint32_t i = 0; i < handler_count; i++)
        listeners[i] = (struct listener){handle, &handlers[i]};
    dispatch_count = handler_count;
    forget_counts(handler_count);
}

static void dispatch(const struct metrics *metrics)
{
    for (uint32_t i = 0; i < dispatch_count; i++)
        listeners[i].fn(listeners[i].handler, metrics);
}

static GAsyncQueue *queue;

static void *dispatch_glib(void *unused)
{
    (void)unused;
    for (;;) {
        struct metrics *metrics = g_async_queue_pop(queue);
        const bool is_last = metrics->words[0] == UINT64_MAX;

        if (!is_last)
            dispatch(metrics);
        g_free(metrics);
        if (is_last)
            return NULL;
    }
}

static struct metrics *new_metrics(uint64_t number)
{
    struct metrics *metrics = g_new(struct metrics, 1);

    *metrics = (struct metrics){{number, 2, 3, 4, 5, 6}};
    return metrics;
}

static struct bench_sample run_glib_queue(void *data)
{
    const struct shape *shape = data;
    struct bench_sample begun, sample;
    pthread_t thread;

    queue = g_async_queue_new();
    listen_all(shape->handler_count);
    pthread_create(&thread, NULL, dispatch_glib, NULL);
    begun = bench_begin();
    for (uint32_t i = 0; i < EVENTS; i++) {
        g_async_queue_push(queue, new_metrics(i));
        keep_in_window(i + 1);
    }
    await_count(shape->handler_count, EVENTS);
    sample = bench_end(begun, EVENTS);
    g_async_queue_push(queue, new_metrics(UINT64_MAX));
    pthread_join(thread, NULL);
    g_async_queue_unref(queue);
    return sample;
}

/* What costs as much as strands of their own give: a queue and a thread for each handler. */
static void *dispatch_own(void *data)
{
    GAsyncQueue *own = data;
    const struct listener *listener = g_async_queue_pop(own);

    for (;;) {
        struct metrics *metrics = g_async_queue_pop(own);
        const bool is_last = metrics->words[0] == UINT64_MAX;

        if (!is_last)
            listener->fn(listener->handler, metrics);
        g_free(metrics);
        if (is_last)
            return NULL;
    }
}

static struct bench_sample run_glib_queues(void *data)
{
    const struct shape *shape = data;
    GAsyncQueue *queues[HANDLERS];
    pthread_t thread[HANDLERS];
    struct bench_sample begun, sample;

    listen_all(shape->handler_count);
    for (uint32_t i = 0; i < shape->handler_count; i++) {
        queues[i] = g_async_queue_new();
        g_async_queue_push(queues[i], &listeners[i]);
        pthread_create(&thread[i], NULL, dispatch_own, queues[i]);
    }
    begun = bench_begin();
    for (uint32_t i = 0; i < THREAD_EVENTS; i++) {
        for (uint32_t k = 0; k < shape->handler_count; k++)
            g_async_queue_push(queues[k], new_metrics(i));
        keep_in_window(i + 1);
    }
    await_count(shape->handler_count, THREAD_EVENTS);
    sample = bench_end(begun, THREAD_EVENTS);
    for (uint32_t i = 0; i < shape->handler_count; i++) {
        g_async_queue_push(queues[i], new_metrics(UINT64_MAX));
        pthread_join(thread[i], NULL);
        g_async_queue_unref(queues[i]);
    }
    return sample;
}

static struct bench_ring ring;

static void *dispatch_ring(void *unused)
{
    struct metrics *metrics;

    (void)unused;
    while ((metrics = bench_ring_get(&ring))) {
        dispatch(metrics);
        g_free(metrics);
    }
    return NULL;
}

static struct bench_sample run_ring(void *data)
{
    const struct shape *shape = data;
    struct bench_sample begun, sample;
    pthread_t thread;

    bench_ring_init(&ring, WINDOW);
    listen_all(shape->handler_count);
    pthread_create(&thread, NULL, dispatch_ring, NULL);
    begun = bench_begin();
    for (uint32_t i = 0; i < EVENTS; i++) {
        bench_ring_put(&ring, new_metrics(i));
        keep_in_window(i + 1);
    }
    await_count(shape->handler_count, EVENTS);
    sample = bench_end(begun, EVENTS);
    bench_ring_close(&ring);
    pthread_join(thread, NULL);
    free(ring.item);
    return sample;
}

/* ---- idle sources of a main loop ---- */

static GMainContext *context;
static GMainLoop *loop;

static gboolean on_idle(gpointer data)
{
    dispatch(data);
    return G_SOURCE_REMOVE;
}

static void *run_loop(void *unused)
{
    (void)unused;
    g_main_context_push_thread_default(context);
    g_main_loop_run(loop);
    g_main_context_pop_thread_default(context);
    return NULL;
}

static struct bench_sample run_glib_idle(void *data)
{
    const struct shape *shape = data;
    struct bench_sample begun, sample;
    pthread_t thread;

    context = g_main_context_new();
    loop = g_main_loop_new(context, FALSE);
    listen_all(shape->handler_count);
    pthread_create(&thread, NULL, run_loop, NULL);
    begun = bench_begin();
    for (uint32_t i = 0; i < IDLE_EVENTS; i++) {
        GSource *source = g_idle_source_new();

        g_source_set_callback(source, on_idle, new_metrics(i), g_free);
        g_source_attach(source, context);
        g_source_unref(source);
        keep_in_window(i + 1);
    }
    await_count(shape->handler_count, IDLE_EVENTS);
    sample = bench_end(begun, IDLE_EVENTS);
    g_main_loop_quit(loop);
    pthread_join(thread, NULL);
    g_main_loop_unref(loop);
    g_main_context_unref(context);
    return sample;
}

/* ---- GObject signals: no queue at all ---- */

static void on_signal(GObject *object, gpointer event, gpointer handler)
{
    (void)object;
    handle(handler, event);
}

static struct bench_sample run_gobject(void *data)
{
    static guint signal;
    const struct shape *shape = data;
    GObject *object = g_object_new(G_TYPE_OBJECT, NULL);
    struct metrics metrics = {{0, 2, 3, 4, 5, 6}};
    struct bench_sample begun, sample;

    if (!signal)
        signal = g_signal_new("metrics", G_TYPE_OBJECT, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                              g_cclosure_marshal_VOID__POINTER, G_TYPE_NONE, 1, G_TYPE_POINTER);
    for (uint32_t i = 0; i < shape->handler_count; i++)
        g_signal_connect(object, "metrics", G_CALLBACK(on_signal), &handlers[i]);
    forget_counts(shape->handler_count);
    begun = bench_begin();
    for (uint32_t i = 0; i < EVENTS; i++) {
        metrics.words[0] = i;
        g_signal_emit(object, signal, 0, &metrics);
    }
    sample = bench_end(begun, EVENTS);
    g_object_unref(object);
    return sample;
}

/* ---- peers that may be missing ---- */

#if defined PEER_ZMQ || defined PEER_QT
static void handle_of_peer(uint32_t number, const void *event)
{
    handle(&handlers[number], event);
}

static struct bench_sample run_peer(void (*peer)(const struct peer_run *),
                                    const struct shape *shape, uint32_t events)
{
    const struct peer_run run = {shape->handler_count, events, handle_of_peer, keep_in_window,
                                 await_count};
    struct bench_sample begun;

    forget_counts(shape->handler_count);
    begun = bench_begin();
    peer(&run);
    return bench_end(begun, events);
}
#endif

#ifdef PEER_ZMQ
static struct bench_sample run_zmq(void *data)
{
    return run_peer(peer_zmq, data, EVENTS);
}
#endif

#ifdef PEER_QT
static struct bench_sample run_qt(void *data)
{
    return run_peer(peer_qt, data, IDLE_EVENTS);
}
#endif

int main(int argc, char **argv)
{
    const struct dgo_resource_config config = {.workers = 2};
    const uint32_t rounds = bench_rounds(argc, argv);
    struct dgo_error err;

    if (dgo_resource_start(&config, &err) != DGO_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (uint32_t count = 1; count <= HANDLERS; count += HANDLERS - 1) {
        struct shape shared = {count, true}, own = {count, false};
        const struct bench_side sides[] = {
            {"ours", run_ours, &shared},           {"GAsyncQueue", run_glib_queue, &shared},
            {"GLib idle", run_glib_idle, &shared}, {"GObject signal", run_gobject, &shared},
#ifdef PEER_ZMQ
            {"ZeroMQ inproc", run_zmq, &shared},
#endif
#ifdef PEER_QT
            {"Qt queued", run_qt, &shared},
#endif
            {"mutex+cond ring", run_ring, &shared}};
        const struct bench_side own_sides[] = {
            {"ours", run_ours, &own},
            {"GAsyncQueue", run_glib_queue, &own},
            {"GAsyncQueue and thread each", run_glib_queues, &own}};
        char name[64];

        snprintf(name, sizeof name, "event, %" PRIu32 " subscriber%s, one strand", count,
                 count > 1 ? "s" : "");
        bench_sides(name, sides, sizeof sides / sizeof sides[0], rounds);
        snprintf(name, sizeof name, "event, %" PRIu32 " subscriber%s, strands of their own", count,
                 count > 1 ? "s" : "");
        bench_sides(name, own_sides, count > 1 ? 3 : 2, rounds);
    }
    return dgo_resource_stop(DGO_FOREVER, NULL) == DGO_OK ? 0 : 1;
}
