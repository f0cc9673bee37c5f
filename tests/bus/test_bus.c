/* test_bus.c - what the event bus promises, without threads where order matters and with them
 * where waiting does. */
#include "check.h"

#include "dgo_bus.h"
#include "dgo_lock.h"
#include "dgo_units.h"

#include <pthread.h>
#include <unistd.h>

enum { PLAIN, ALARM, GAUGE, BATCH, KEEP, SCREEN, TOPICS };

static const struct dgo_topic topics[TOPICS] = {
    [PLAIN] = {PLAIN, "plain", DGO_TOPIC_NORMAL, DGO_TOPIC_CPU, DGO_TOPIC_BATCHED, sizeof(int), 0,
               0},
    [ALARM] = {ALARM, "alarm", DGO_TOPIC_CRITICAL, DGO_TOPIC_CPU, DGO_TOPIC_NEVER, sizeof(int), 0,
               0},
    [GAUGE] = {GAUGE, "gauge", DGO_TOPIC_TELEMETRY, DGO_TOPIC_CPU, DGO_TOPIC_NEWEST_WINS,
               sizeof(int), 0, 0},
    [BATCH] = {BATCH, "batch", DGO_TOPIC_NORMAL, DGO_TOPIC_CPU, DGO_TOPIC_BATCHED, sizeof(int), 4,
               1000},
    [KEEP] = {KEEP, "keep", DGO_TOPIC_NORMAL, DGO_TOPIC_GPU, DGO_TOPIC_NEVER, sizeof(int), 0, 0},
    [SCREEN] = {SCREEN, "screen", DGO_TOPIC_NORMAL, DGO_TOPIC_UI, DGO_TOPIC_BATCHED, sizeof(int), 0,
                0},
};

/* ---- a listener that writes everything down ---- */

struct listener {
    struct dgo_bus *bus;
    struct dgo_subscription name;
    _Atomic uint32_t count;
    int value[4096];
    uint16_t topic[4096];
    uint64_t sequence[4096];
    uint32_t leave_after; /* unsubscribes itself; 0: never */
    int republish_below;  /* publishes value + 1 on PLAIN while below */
    enum dgo_status answer;
};

static enum dgo_status listen(const struct dgo_event *event, void *data)
{
    struct listener *listener = data;
    const uint32_t at = atomic_load(&listener->count);
    int value = 0;

    if (event->payload)
        memcpy(&value, event->payload, sizeof value);
    if (at < 4096) {
        listener->value[at] = value;
        listener->topic[at] = event->topic;
        listener->sequence[at] = event->sequence;
    }
    atomic_store(&listener->count, at + 1);
    if (listener->leave_after && at + 1 == listener->leave_after)
        return dgo_bus_unsubscribe(listener->bus, listener->name, NULL);
    if (value < listener->republish_below) {
        value++;
        return dgo_bus_publish(listener->bus, PLAIN, 0, &value);
    }
    return listener->answer;
}

static struct dgo_bus *new_bus(void)
{
    struct dgo_bus *bus = NULL;
    struct dgo_error err = {0};

    if (dgo_bus_new(topics, TOPICS, NULL, &bus, &err) != DGO_OK)
        fail_msg("%s", err.text);
    return bus;
}

static void subscribe(struct dgo_bus *bus, struct listener *listener,
                      struct dgo_subscriber subscriber)
{
    struct dgo_error err = {0};

    listener->bus = bus;
    subscriber.fn = listen;
    subscriber.data = listener;
    if (!subscriber.name)
        subscriber.name = "listener";
    if (dgo_bus_subscribe(bus, &subscriber, &listener->name, &err) != DGO_OK)
        fail_msg("%s", err.text);
}

static void publish(struct dgo_bus *bus, uint16_t topic, int value)
{
    assert_int_equal(dgo_bus_publish(bus, topic, 0, &value), DGO_OK);
}

static void start_with(uint32_t workers)
{
    const struct dgo_resource_config config = {.workers = workers};

    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
}

static void drain(struct dgo_bus *bus)
{
    struct dgo_error err = {0};

    if (dgo_bus_drain(bus, 60 * DGO_NS_PER_S, &err) != DGO_OK)
        fail_msg("%s", err.text);
}

/* ---- delivery, in every way the manager can be ---- */

static void test_delivery(void **state)
{
    static const struct {
        const char *name;
        bool started;
        uint32_t workers;
    } managers[] = {
        {"not started", false, 0},
        {"no threads", true, DGO_WORKERS_NONE},
        {"one worker", true, 1},
        {"three workers", true, 3},
    };

    (void)state;
    for (size_t m = 0; m < sizeof managers / sizeof managers[0]; m++) {
        struct listener *one = test_calloc(2, sizeof *one), *two = one + 1;
        struct dgo_topic_stats stats;
        struct dgo_bus *bus;

        if (managers[m].started)
            start_with(managers[m].workers);
        bus = new_bus();
        publish(bus, PLAIN, -1); /* nobody listens yet */
        subscribe(bus, one, (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(PLAIN)});
        subscribe(bus, two, (struct dgo_subscriber){.topics = DGO_ALL_TOPICS});
        for (int i = 0; i < 500; i++)
            publish(bus, PLAIN, i);
        drain(bus);
        CHECK_ROW_U64(atomic_load(&one->count), 500, managers[m].name);
        CHECK_ROW_U64(atomic_load(&two->count), 500, managers[m].name);
        for (int i = 0; i < 500; i++) {
            CHECK_ROW(one->value[i] == i && two->value[i] == i, managers[m].name);
            CHECK_ROW_U64(one->sequence[i], (uint64_t)i + 2, managers[m].name);
        }
        assert_int_equal(dgo_bus_topic_read_stats(bus, PLAIN, &stats, NULL), DGO_OK);
        CHECK_ROW_U64(stats.published, 501, managers[m].name);
        CHECK_ROW_U64(stats.unheard, 1, managers[m].name);
        CHECK_ROW_U64(stats.delivered, 1000, managers[m].name);
        CHECK_ROW_U64(stats.dropped + stats.coalesced + stats.refused, 0, managers[m].name);
        dgo_bus_free(bus);
        if (managers[m].started)
            assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
        test_free(one);
    }
}

/* ---- what happens to events that must wait: their lane is held up by a job ---- */

struct gate {
    _Atomic uint32_t is_open, waiting;
};
static enum dgo_status hold(void *data)
{
    struct gate *gate = data;

    atomic_store(&gate->waiting, 1);
    dgo_wake_up(&gate->waiting, 1);
    while (!atomic_load(&gate->is_open))
        dgo_sleep_on(&gate->is_open, 0, UINT64_MAX);
    return DGO_OK;
}

static bool odd_only(const struct dgo_event *event, void *data)
{
    int value;

    (void)data;
    memcpy(&value, event->payload, sizeof value);
    return value & 1;
}

/* UI handlers run when the UI thread says so, which makes the waiting exact. */
static void test_policies_while_waiting(void **state)
{
    static const struct {
        const char *name;
        uint16_t topic;
        uint32_t depth, published;
        uint32_t delivered, coalesced, dropped, refused;
        int first, last;
    } cases[] = {
        {"all fit", PLAIN, 16, 10, 10, 0, 0, 0, 0, 9},
        {"batched: the oldest go", PLAIN, 16, 40, 12, 0, 28, 0, 28, 39},
        {"newest wins: one is left", GAUGE, 16, 40, 1, 39, 0, 0, 39, 39},
        {"never dropped: publish says so", KEEP, 16, 40, 16, 0, 0, 24, 0, 15},
    };
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct listener *listener = test_calloc(1, sizeof *listener);
        struct dgo_topic_stats stats;
        struct dgo_bus *bus;
        uint32_t refused = 0;

        start_with(DGO_WORKERS_NONE);
        assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
        bus = new_bus();
        subscribe(bus, listener,
                  (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(cases[i].topic),
                                          .lane = DGO_LANE_UI,
                                          .depth = cases[i].depth});
        for (int value = 0; value < (int)cases[i].published; value++)
            refused += dgo_bus_publish(bus, cases[i].topic, 0, &value) == DGO_EBUSY;
        CHECK_ROW_U64(atomic_load(&listener->count), 0, cases[i].name);
        CHECK_ROW_U64(refused, cases[i].refused, cases[i].name);
        drain(bus);
        CHECK_ROW_U64(atomic_load(&listener->count), cases[i].delivered, cases[i].name);
        CHECK_ROW(listener->value[0] == cases[i].first, cases[i].name);
        CHECK_ROW(listener->value[cases[i].delivered - 1] == cases[i].last, cases[i].name);
        assert_int_equal(dgo_bus_topic_read_stats(bus, cases[i].topic, &stats, NULL), DGO_OK);
        CHECK_ROW_U64(stats.coalesced, cases[i].coalesced, cases[i].name);
        CHECK_ROW_U64(stats.dropped, cases[i].dropped, cases[i].name);
        CHECK_ROW_U64(stats.refused, cases[i].refused, cases[i].name);
        CHECK_ROW_U64(stats.delivered + stats.coalesced + stats.dropped + stats.refused,
                      stats.published, cases[i].name);
        dgo_bus_free(bus);
        assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
        test_free(listener);
    }
}

static void test_newest_wins_by_source(void **state)
{
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_bus *bus;
    int fd;

    (void)state;
    start_with(DGO_WORKERS_NONE);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    bus = new_bus();
    subscribe(bus, listener,
              (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(GAUGE), .lane = DGO_LANE_UI});
    for (int round = 0; round < 3; round++)
        for (uint32_t gpu = 0; gpu < 4; gpu++) {
            const int value = round * 10 + (int)gpu;

            assert_int_equal(dgo_bus_publish(bus, GAUGE, gpu, &value), DGO_OK);
        }
    drain(bus);
    assert_int_equal(atomic_load(&listener->count), 4);
    for (int gpu = 0; gpu < 4; gpu++)
        assert_int_equal(listener->value[gpu], 20 + gpu);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

static void test_critical_overtakes(void **state)
{
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_bus *bus;
    int fd;

    (void)state;
    start_with(DGO_WORKERS_NONE);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    bus = new_bus();
    subscribe(bus, listener,
              (struct dgo_subscriber){.topics = DGO_ALL_TOPICS, .lane = DGO_LANE_UI});
    for (int i = 0; i < 100; i++)
        publish(bus, PLAIN, i);
    publish(bus, ALARM, 1000);
    drain(bus);
    assert_int_equal(atomic_load(&listener->count), 101);
    assert_int_equal(listener->topic[0], ALARM);
    for (int i = 0; i < 100; i++)
        assert_int_equal(listener->value[i + 1], i);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

/* An alarm that comes while a handler works through a long batch is not left for its end. */
static enum dgo_status alarm_in_the_middle(const struct dgo_event *event, void *data)
{
    struct listener *listener = data;

    if (event->topic == PLAIN && atomic_load(&listener->count) == 10) {
        const int value = 7;

        dgo_bus_publish(listener->bus, ALARM, 0, &value);
    }
    return listen(event, data);
}

static void test_critical_in_the_middle(void **state)
{
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_subscriber subscriber = {.name = "middle",
                                        .topics = DGO_ALL_TOPICS,
                                        .lane = DGO_LANE_UI,
                                        .fn = alarm_in_the_middle,
                                        .data = listener};
    struct dgo_bus *bus;
    uint32_t at = 0;
    int fd;

    (void)state;
    start_with(DGO_WORKERS_NONE);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    bus = listener->bus = new_bus();
    assert_int_equal(dgo_bus_subscribe(bus, &subscriber, &listener->name, NULL), DGO_OK);
    for (int i = 0; i < 600; i++)
        publish(bus, PLAIN, i);
    drain(bus);
    while (at < 601 && listener->topic[at] != ALARM)
        at++;
    assert_in_range(at, 11, 11 + 64);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

static void test_batch_by_count_and_time(void **state)
{
    struct dgo_clock_fake fake;
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE, .clock = &fake.clock};
    const struct dgo_bus_config bus_config = {.clock = &fake.clock};
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_bus *bus;

    (void)state;
    dgo_clock_fake_init(&fake, 1, 1);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_bus_new(topics, TOPICS, &bus_config, &bus, NULL), DGO_OK);
    subscribe(bus, listener, (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(BATCH)});
    for (int i = 0; i < 3; i++)
        publish(bus, BATCH, i);
    assert_int_equal(atomic_load(&listener->count), 0); /* neither four nor late */
    publish(bus, BATCH, 3);
    assert_int_equal(atomic_load(&listener->count), 4); /* four */
    publish(bus, BATCH, 4);
    dgo_resource_run_due();
    assert_int_equal(atomic_load(&listener->count), 4);
    dgo_clock_fake_advance(&fake, 1000);
    dgo_resource_run_due();
    assert_int_equal(atomic_load(&listener->count), 5); /* late */
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

/* ---- filters, tags ---- */

static void test_filters(void **state)
{
    static const struct {
        const char *name;
        struct dgo_subscriber subscriber;
        uint32_t want;
    } cases[] = {
        {"all", {.topics = DGO_ALL_TOPICS}, 40},
        {"one topic", {.topics = DGO_TOPIC_BIT(KEEP)}, 20},
        {"one source", {.topics = DGO_ALL_TOPICS, .one_source = true, .source = 1}, 20},
        {"a predicate", {.topics = DGO_ALL_TOPICS, .filter = odd_only}, 20},
        {"all three",
         {.topics = DGO_TOPIC_BIT(PLAIN), .one_source = true, .source = 0, .filter = odd_only},
         5},
    };
    struct listener *listeners = test_calloc(5, sizeof *listeners);
    struct dgo_bus *bus;

    (void)state;
    start_with(2);
    bus = new_bus();
    for (size_t i = 0; i < 5; i++)
        subscribe(bus, &listeners[i], cases[i].subscriber);
    for (int value = 0; value < 20; value++)
        for (uint16_t topic = 0; topic < 2; topic++)
            assert_int_equal(
                dgo_bus_publish(bus, topic ? KEEP : PLAIN, (uint32_t)value / 10, &value), DGO_OK);
    drain(bus);
    for (size_t i = 0; i < 5; i++)
        CHECK_ROW_U64(atomic_load(&listeners[i].count), cases[i].want, cases[i].name);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listeners);
}

static void test_tags(void **state)
{
    struct listener *listeners = test_calloc(3, sizeof *listeners);
    struct dgo_subscriber_stats stats[4];
    struct dgo_bus *bus = new_bus();

    (void)state;
    for (size_t i = 0; i < 3; i++)
        subscribe(bus, &listeners[i],
                  (struct dgo_subscriber){.topics = DGO_ALL_TOPICS, .tag = i == 1 ? 8 : 7});
    publish(bus, PLAIN, 1);
    assert_int_equal(dgo_bus_unsubscribe_tag(bus, 7), 2);
    assert_int_equal(dgo_bus_unsubscribe_tag(bus, 7), 0);
    publish(bus, PLAIN, 2);
    assert_int_equal(atomic_load(&listeners[0].count), 1);
    assert_int_equal(atomic_load(&listeners[1].count), 2);
    assert_int_equal(atomic_load(&listeners[2].count), 1);
    assert_int_equal(dgo_bus_subscriber_read_stats(bus, stats, 4), 1);
    assert_int_equal(stats[0].tag, 8);
    assert_int_equal(stats[0].delivered, 2);
    assert_int_equal(dgo_bus_unsubscribe(bus, listeners[0].name, NULL), DGO_ENOTFOUND);
    dgo_bus_free(bus);
    test_free(listeners);
}

/* ---- inside handlers ---- */

static void test_inside_handlers(void **state)
{
    static const struct {
        const char *name;
        bool shared;
        uint32_t workers;
    } cases[] = {
        {"own strand, no threads", false, DGO_WORKERS_NONE},
        {"shared strand, no threads", true, DGO_WORKERS_NONE},
        {"own strand, two workers", false, 2},
        {"shared strand, two workers", true, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct listener *leaver = test_calloc(3, sizeof *leaver), *echo = leaver + 1,
                        *third = leaver + 2;
        struct dgo_bus_strand strand = {0, 0};
        struct dgo_bus *bus;

        start_with(cases[i].workers);
        bus = new_bus();
        if (cases[i].shared)
            assert_int_equal(dgo_bus_strand_new(bus, "shared", DGO_LANE_NORMAL, 0, &strand, NULL),
                             DGO_OK);
        leaver->leave_after = 3;
        echo->republish_below = 50;
        subscribe(bus, leaver,
                  (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(PLAIN), .strand = strand});
        subscribe(bus, echo,
                  (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(PLAIN), .strand = strand});
        publish(bus, PLAIN, 0);
        drain(bus);
        CHECK_ROW_U64(atomic_load(&leaver->count), 3, cases[i].name);
        CHECK_ROW_U64(atomic_load(&echo->count), 51, cases[i].name);
        for (int value = 0; value <= 50; value++)
            CHECK_ROW(echo->value[value] == value, cases[i].name);
        CHECK_ROW(dgo_bus_unsubscribe(bus, leaver->name, NULL) == DGO_ENOTFOUND, cases[i].name);
        /* The place is free for another, which gets nothing of before. */
        subscribe(bus, third,
                  (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(PLAIN), .strand = strand});
        publish(bus, PLAIN, 99);
        drain(bus);
        CHECK_ROW_U64(atomic_load(&third->count), 1, cases[i].name);
        CHECK_ROW(third->value[0] == 99, cases[i].name);
        dgo_bus_free(bus);
        assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
        test_free(leaver);
    }
}

/* ---- isolation ---- */

struct slow {
    struct gate gate;
    _Atomic uint32_t calls;
};
static enum dgo_status be_slow(const struct dgo_event *event, void *data)
{
    struct slow *slow = data;

    (void)event;
    if (atomic_fetch_add(&slow->calls, 1) == 0)
        return hold(&slow->gate);
    return DGO_OK;
}

/* ---- a handler that is taken out by one that runs inside it ---- */

struct inside {
    struct dgo_bus *bus;
    struct dgo_subscription outer;
    uint32_t outer_calls, inner_calls;
    enum dgo_status answer;
};
static enum dgo_status publish_inside(const struct dgo_event *event, void *data)
{
    struct inside *inside = data;
    const int value = 1;

    (void)event;
    inside->outer_calls++;
    return dgo_bus_publish(inside->bus, PLAIN, 0, &value);
}
static enum dgo_status take_out_the_outer(const struct dgo_event *event, void *data)
{
    struct inside *inside = data;

    (void)event;
    if (inside->inner_calls++ == 0)
        inside->answer = dgo_bus_unsubscribe(inside->bus, inside->outer, NULL);
    return DGO_OK;
}

/* Not started: handlers run in who publishes, so the one stands in the middle of the other. */
static void test_a_handler_takes_out_the_one_around_it(void **state)
{
    struct inside inside = {.bus = new_bus(), .answer = DGO_EIO};
    const struct dgo_subscriber outer = {
        .name = "outer", .topics = DGO_TOPIC_BIT(ALARM), .fn = publish_inside, .data = &inside};
    const struct dgo_subscriber inner = {
        .name = "inner", .topics = DGO_TOPIC_BIT(PLAIN), .fn = take_out_the_outer, .data = &inside};
    struct dgo_subscription name;

    (void)state;
    alarm(30); /* they would wait for each other for ever */
    assert_int_equal(dgo_bus_subscribe(inside.bus, &outer, &inside.outer, NULL), DGO_OK);
    assert_int_equal(dgo_bus_subscribe(inside.bus, &inner, &name, NULL), DGO_OK);
    publish(inside.bus, ALARM, 1);
    publish(inside.bus, ALARM, 2);
    publish(inside.bus, PLAIN, 3);
    assert_int_equal(inside.answer, DGO_OK);
    assert_int_equal(inside.outer_calls, 1);
    assert_int_equal(inside.inner_calls, 2);
    dgo_bus_free(inside.bus);
    alarm(0);
}

/* The same with two threads: the other one's handler takes out the one that this thread stands in
 * the middle of, while that waits, further in, for the other one's handler. */
struct crossed {
    struct dgo_bus *bus;
    struct dgo_subscription outer, other;
    _Atomic uint32_t other_is_there;
    enum dgo_status inner_answer, other_answer;
};
static enum dgo_status publish_once_crossed(const struct dgo_event *event, void *data)
{
    struct crossed *crossed = data;
    const int value = 1;

    (void)event;
    while (!atomic_load(&crossed->other_is_there))
        dgo_sleep_on(&crossed->other_is_there, 0, UINT64_MAX);
    return dgo_bus_publish(crossed->bus, PLAIN, 0, &value);
}
static enum dgo_status take_out_the_other(const struct dgo_event *event, void *data)
{
    struct crossed *crossed = data;

    (void)event;
    crossed->inner_answer = dgo_bus_unsubscribe(crossed->bus, crossed->other, NULL);
    return DGO_OK;
}
static enum dgo_status take_out_across(const struct dgo_event *event, void *data)
{
    const struct timespec until_it_waits = {.tv_nsec = 50000000};
    struct crossed *crossed = data;

    (void)event;
    atomic_store(&crossed->other_is_there, 1);
    dgo_wake_up(&crossed->other_is_there, INT32_MAX);
    nanosleep(&until_it_waits, NULL);
    crossed->other_answer = dgo_bus_unsubscribe(crossed->bus, crossed->outer, NULL);
    return DGO_OK;
}
static void *publish_alarm(void *data)
{
    const int value = 1;

    return dgo_bus_publish(((struct crossed *)data)->bus, ALARM, 0, &value) == DGO_OK ? data : NULL;
}

static void test_handlers_take_each_other_out_across_threads(void **state)
{
    struct crossed crossed = {.bus = new_bus(), .inner_answer = DGO_EIO, .other_answer = DGO_EIO};
    const struct dgo_subscriber subscribers[] = {
        {.name = "outer", .topics = DGO_TOPIC_BIT(ALARM), .fn = publish_once_crossed},
        {.name = "inner", .topics = DGO_TOPIC_BIT(PLAIN), .fn = take_out_the_other},
        {.name = "other", .topics = DGO_TOPIC_BIT(KEEP), .fn = take_out_across},
    };
    struct dgo_subscription name[3];
    pthread_t thread;

    (void)state;
    alarm(30);
    for (size_t i = 0; i < 3; i++) {
        struct dgo_subscriber subscriber = subscribers[i];

        subscriber.data = &crossed;
        assert_int_equal(dgo_bus_subscribe(crossed.bus, &subscriber, &name[i], NULL), DGO_OK);
    }
    crossed.outer = name[0];
    crossed.other = name[2];
    assert_int_equal(pthread_create(&thread, NULL, publish_alarm, &crossed), 0);
    publish(crossed.bus, KEEP, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    /* Whoever came second did not wait. */
    assert_true((crossed.inner_answer == DGO_OK && crossed.other_answer == DGO_EBUSY) ||
                (crossed.inner_answer == DGO_EBUSY && crossed.other_answer == DGO_OK));
    dgo_bus_free(crossed.bus);
    alarm(0);
}

static void test_slow_handler_hurts_nobody(void **state)
{
    struct slow slow = {0};
    struct listener *listener = test_calloc(1, sizeof *listener);
    const struct dgo_subscriber sleeper = {.name = "sleeper",
                                           .topics = DGO_TOPIC_BIT(PLAIN),
                                           .fn = be_slow,
                                           .data = &slow,
                                           .depth = 8};
    struct dgo_subscription name;
    struct dgo_topic_stats stats;
    struct dgo_bus *bus;

    (void)state;
    start_with(1); /* one worker, held up by the sleeper: it is replaced */
    bus = new_bus();
    assert_int_equal(dgo_bus_subscribe(bus, &sleeper, &name, NULL), DGO_OK);
    publish(bus, PLAIN, -1);
    while (!atomic_load(&slow.gate.waiting))
        dgo_sleep_on(&slow.gate.waiting, 0, UINT64_MAX);
    subscribe(bus, listener, (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(PLAIN)});
    for (int i = 0; i < 100; i++)
        publish(bus, PLAIN, i);
    while (atomic_load(&listener->count) < 100)
        dgo_pause();
    assert_int_equal(atomic_load(&slow.calls), 1);
    assert_int_equal(dgo_bus_drain(bus, 1000, NULL), DGO_ETIMEOUT);
    assert_int_equal(dgo_bus_topic_read_stats(bus, PLAIN, &stats, NULL), DGO_OK);
    assert_int_equal(stats.dropped, 100 - 6); /* three quarters of eight wait for the sleeper */
    atomic_store(&slow.gate.is_open, 1);
    dgo_wake_up(&slow.gate.is_open, 1);
    drain(bus);
    assert_int_equal(atomic_load(&slow.calls), 7);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

static void test_failures_are_named(void **state)
{
    struct listener *listeners = test_calloc(2, sizeof *listeners);
    struct dgo_subscriber_stats stats[2];
    struct dgo_bus *bus = new_bus();

    (void)state;
    listeners[0].answer = DGO_EIO;
    subscribe(bus, &listeners[0],
              (struct dgo_subscriber){.name = "broken", .topics = DGO_ALL_TOPICS});
    subscribe(bus, &listeners[1],
              (struct dgo_subscriber){.name = "sound", .topics = DGO_ALL_TOPICS});
    for (int i = 0; i < 10; i++)
        publish(bus, PLAIN, i);
    assert_int_equal(dgo_bus_subscriber_read_stats(bus, stats, 2), 2);
    assert_string_equal(stats[0].name, "broken");
    assert_int_equal(stats[0].failed, 10);
    assert_int_equal(stats[0].last_failure, DGO_EIO);
    assert_int_equal(stats[1].failed, 0);
    assert_int_equal(stats[1].delivered, 10);
    dgo_bus_free(bus);
    test_free(listeners);
}

static enum dgo_status take_time(const struct dgo_event *event, void *data)
{
    (void)event;
    dgo_clock_fake_advance(data, 6 * DGO_NS_PER_MS);
    return DGO_OK;
}

static void test_slowness_is_named(void **state)
{
    struct dgo_clock_fake fake;
    const struct dgo_bus_config config = {.clock = &fake.clock};
    const struct dgo_subscriber subscriber = {
        .name = "slow", .topics = DGO_ALL_TOPICS, .fn = take_time, .data = &fake};
    struct dgo_subscription name;
    struct dgo_subscriber_stats stats;
    struct dgo_bus *bus;

    (void)state;
    dgo_clock_fake_init(&fake, 1, 1);
    assert_int_equal(dgo_bus_new(topics, TOPICS, &config, &bus, NULL), DGO_OK);
    assert_int_equal(dgo_bus_subscribe(bus, &subscriber, &name, NULL), DGO_OK);
    publish(bus, PLAIN, 1);
    publish(bus, PLAIN, 2);
    assert_int_equal(dgo_bus_subscriber_read_stats(bus, &stats, 1), 1);
    assert_int_equal(stats.slow, 2);
    assert_int_equal(stats.slowest_ns, 6 * DGO_NS_PER_MS);
    assert_int_equal(stats.time_ns, 12 * DGO_NS_PER_MS);
    dgo_bus_free(bus);
}

/* ---- UI ---- */

static void test_ui_handlers_run_on_the_ui_thread_only(void **state)
{
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_bus *bus;
    uint32_t ran;
    int fd;

    (void)state;
    start_with(2);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    bus = new_bus();
    subscribe(bus, listener, (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(SCREEN)});
    for (int i = 0; i < 10; i++)
        publish(bus, SCREEN, i);
    assert_int_equal(atomic_load(&listener->count), 0);
    assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, &ran, NULL), DGO_OK);
    assert_int_equal(ran, 1); /* one run for all that waited */
    assert_int_equal(atomic_load(&listener->count), 10);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

/* Stop finds the strand's turn still queued: it is run there, and the strand hears what comes after
 * the next start. */
static void test_a_strand_hears_after_a_restart(void **state)
{
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_bus *bus;
    int fd;

    (void)state;
    start_with(2);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    bus = new_bus();
    subscribe(bus, listener, (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(SCREEN)});
    for (uint32_t round = 1; round <= 3; round++) {
        publish(bus, SCREEN, 1);
        assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
        assert_int_equal(atomic_load(&listener->count), 2 * round - 1);
        start_with(2);
        publish(bus, SCREEN, 2);
        assert_int_equal(dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL), DGO_OK);
        assert_int_equal(atomic_load(&listener->count), 2 * round);
    }
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

/* ---- log and replay ---- */

static void test_log_and_replay(void **state)
{
    struct listener *log = test_calloc(2, sizeof *log), *listener = log + 1;
    struct dgo_bus *bus = new_bus();

    (void)state;
    assert_int_equal(dgo_bus_log_start(bus, DGO_TOPIC_BIT(PLAIN) | DGO_TOPIC_BIT(ALARM), 8, NULL),
                     DGO_OK);
    assert_int_equal(dgo_bus_log_start(bus, DGO_ALL_TOPICS, 8, NULL), DGO_ESTATE);
    for (int i = 0; i < 10; i++) {
        publish(bus, PLAIN, i);
        publish(bus, KEEP, i); /* not logged */
    }
    publish(bus, ALARM, 77);
    assert_int_equal(dgo_bus_log_each(bus, listen, log), 8);
    assert_int_equal(log->value[0], 3);
    assert_int_equal(log->value[7], 77);
    subscribe(bus, listener, (struct dgo_subscriber){.topics = DGO_ALL_TOPICS});
    assert_int_equal(dgo_bus_replay(bus, DGO_TOPIC_BIT(PLAIN)), 7);
    assert_int_equal(atomic_load(&listener->count), 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(listener->value[i], i + 3);
    assert_int_equal(dgo_bus_replay(bus, DGO_ALL_TOPICS), 8); /* replays are not logged */
    dgo_bus_free(bus);
    test_free(log);
}

/* ---- bad input ---- */

/* What a strand refuses has not been published once more. */
static void test_a_refused_replay_is_not_counted(void **state)
{
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_bus *bus = new_bus();
    int fd;

    (void)state;
    start_with(1);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    assert_int_equal(dgo_bus_log_start(bus, DGO_TOPIC_BIT(KEEP), 16, NULL), DGO_OK);
    for (int i = 0; i < 12; i++)
        publish(bus, KEEP, i);
    subscribe(
        bus, listener,
        (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(KEEP), .lane = DGO_LANE_UI, .depth = 8});
    assert_int_equal(dgo_bus_replay(bus, DGO_ALL_TOPICS), 8);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

/* The law of the figures holds when a strand ends with events that wait. */
static void test_what_waits_at_the_end_is_dropped(void **state)
{
    struct listener *listener = test_calloc(1, sizeof *listener);
    struct dgo_bus *bus = new_bus();
    struct dgo_topic_stats stats;
    int fd;

    (void)state;
    start_with(1);
    assert_int_equal(dgo_resource_ui_attach(&fd, NULL), DGO_OK);
    subscribe(bus, listener,
              (struct dgo_subscriber){.topics = DGO_TOPIC_BIT(SCREEN) | DGO_TOPIC_BIT(ALARM),
                                      .lane = DGO_LANE_UI});
    for (int i = 0; i < 5; i++) {
        publish(bus, SCREEN, i);
        publish(bus, ALARM, i);
    }
    assert_int_equal(dgo_bus_unsubscribe(bus, listener->name, NULL), DGO_OK);
    assert_int_equal(dgo_bus_topic_read_stats(bus, SCREEN, &stats, NULL), DGO_OK);
    assert_int_equal(stats.dropped, 5);
    assert_int_equal(dgo_bus_topic_read_stats(bus, ALARM, &stats, NULL), DGO_OK);
    assert_int_equal(stats.dropped, 5);
    assert_int_equal(atomic_load(&listener->count), 0);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    test_free(listener);
}

static void test_bad_tables(void **state)
{
    static const struct {
        const char *name;
        struct dgo_topic topic;
    } cases[] = {
        {"no name", {.id = 0}},
        {"wrong id", {.id = 3, .name = "x"}},
        {"too much payload", {.id = 0, .name = "x", .payload_bytes = DGO_BUS_PAYLOAD_MAX + 1}},
        {"no such policy", {.id = 0, .name = "x", .drop = (enum dgo_topic_drop)9}},
    };
    struct dgo_bus *bus = NULL;
    struct dgo_subscription name;
    const int value = 0;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW(dgo_bus_new(&cases[i].topic, 1, NULL, &bus, &err) == DGO_EINVAL, cases[i].name);
        CHECK_ROW(err.text[0] && !bus, cases[i].name);
    }
    bus = new_bus();
    assert_int_equal(dgo_bus_publish(bus, TOPICS, 0, &value), DGO_EINVAL);
    assert_int_equal(dgo_bus_publish(bus, PLAIN, 0, NULL), DGO_EINVAL);
    assert_int_equal(
        dgo_bus_subscribe(bus, &(struct dgo_subscriber){.name = "x", .topics = 1}, &name, NULL),
        DGO_EINVAL);
    assert_int_equal(
        dgo_bus_subscribe(
            bus, &(struct dgo_subscriber){.name = "x", .fn = listen, .topics = UINT64_C(1) << 60},
            &name, NULL),
        DGO_EINVAL);
    dgo_bus_free(bus);
    dgo_bus_free(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_delivery),
    cmocka_unit_test(test_policies_while_waiting),
    cmocka_unit_test(test_newest_wins_by_source),
    cmocka_unit_test(test_critical_overtakes),
    cmocka_unit_test(test_critical_in_the_middle),
    cmocka_unit_test(test_batch_by_count_and_time),
    cmocka_unit_test(test_filters),
    cmocka_unit_test(test_tags),
    cmocka_unit_test(test_inside_handlers),
    cmocka_unit_test(test_a_handler_takes_out_the_one_around_it),
    cmocka_unit_test(test_handlers_take_each_other_out_across_threads),
    cmocka_unit_test(test_slow_handler_hurts_nobody),
    cmocka_unit_test(test_failures_are_named),
    cmocka_unit_test(test_slowness_is_named),
    cmocka_unit_test(test_ui_handlers_run_on_the_ui_thread_only),
    cmocka_unit_test(test_a_strand_hears_after_a_restart),
    cmocka_unit_test(test_log_and_replay),
    cmocka_unit_test(test_a_refused_replay_is_not_counted),
    cmocka_unit_test(test_what_waits_at_the_end_is_dropped),
    cmocka_unit_test(test_bad_tables),
};

CHECK_MAIN(tests)
