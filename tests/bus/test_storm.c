/* test_storm.c - the bus under everything at once, seeded: publishers on several threads, handlers
 * that come, go, publish and fail.  The laws:
 *     each publisher's events reach each subscriber in order,
 *     no handler is called after its unsubscription has returned,
 *     what was accepted = delivered + coalesced + dropped,  and nothing is allocated. */
#include "check.h"

#include "dgo_bus.h"
#include "dgo_lock.h"
#include "dgo_units.h"

#include <pthread.h>
#include <sched.h>

static _Atomic uint64_t allocations;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t size);
void *malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}
#endif

enum { STREAM, GAUGE, ALARM, TOPICS };
enum { PUBLISHERS = 3, EVENTS = 4000, LISTENERS = 6 };

struct event {
    uint32_t publisher, number;
};

static const struct dgo_topic topics[TOPICS] = {
    {STREAM, "stream", DGO_TOPIC_NORMAL, DGO_TOPIC_CPU, DGO_TOPIC_BATCHED, sizeof(struct event), 0,
     0},
    {GAUGE, "gauge", DGO_TOPIC_TELEMETRY, DGO_TOPIC_GPU, DGO_TOPIC_NEWEST_WINS,
     sizeof(struct event), 8, 100000},
    {ALARM, "alarm", DGO_TOPIC_CRITICAL, DGO_TOPIC_CPU, DGO_TOPIC_NEVER, sizeof(struct event), 0,
     0},
};

struct listener {
    _Atomic bool may_be_called;
    _Atomic uint32_t out_of_order, too_late, calls, inside, overlaps;
    uint32_t last[TOPICS][PUBLISHERS];
};

static enum dgo_status hear(const struct dgo_event *event, void *data)
{
    struct listener *listener = data;
    struct event payload;

    if (atomic_fetch_add(&listener->inside, 1) != 0)
        atomic_fetch_add(&listener->overlaps, 1);
    memcpy(&payload, event->payload, sizeof payload);
    if (!atomic_load(&listener->may_be_called))
        atomic_fetch_add(&listener->too_late, 1);
    if (payload.number <= listener->last[event->topic][payload.publisher])
        atomic_fetch_add(&listener->out_of_order, 1);
    listener->last[event->topic][payload.publisher] = payload.number;
    atomic_fetch_add(&listener->calls, 1);
    atomic_fetch_sub(&listener->inside, 1);
    return payload.number % 7 ? DGO_OK : DGO_EIO;
}

struct publisher {
    pthread_t thread;
    struct dgo_bus *bus;
    uint32_t number;
    uint64_t seed;
    uint64_t published[TOPICS];
};

static void *publish(void *data)
{
    struct publisher *publisher = data;

    for (uint32_t i = 1; i <= EVENTS; i++) {
        const struct event payload = {publisher->number, i};
        const uint16_t topic = (uint16_t)check_below(&publisher->seed, TOPICS);

        dgo_bus_publish(publisher->bus, topic, publisher->number, &payload);
        publisher->published[topic]++;
        if (i % 512 == 0)
            sched_yield();
    }
    return NULL;
}

/* The same from a thread of the idle class, which may hold no lock. */
static enum dgo_status publish_as_job(void *data)
{
    publish(data);
    return DGO_OK;
}

static struct dgo_subscription join(struct dgo_bus *bus, struct listener *listener, uint64_t *seed,
                                    struct dgo_bus_strand shared)
{
    static const enum dgo_lane lanes[] = {DGO_LANE_OWN, DGO_LANE_NORMAL, DGO_LANE_BACKGROUND,
                                          DGO_LANE_EXPRESS, DGO_LANE_BLOCKING};
    struct dgo_subscriber subscriber = {
        .name = "storm",
        .topics = 1 + check_below(seed, 7),
        .fn = hear,
        .data = listener,
        .lane = lanes[check_below(seed, 5)],
        .depth = check_below(seed, 2) ? 16 : 0,
    };
    struct dgo_subscription name;
    struct dgo_error err = {0};

    if (check_below(seed, 3) == 0)
        subscriber.strand = shared;
    memset(listener->last, 0, sizeof listener->last);
    atomic_store(&listener->may_be_called, true);
    if (dgo_bus_subscribe(bus, &subscriber, &name, &err) != DGO_OK)
        fail_msg("%s", err.text);
    return name;
}

static void check_topics(struct dgo_bus *bus)
{
    for (uint16_t topic = 0; topic < TOPICS; topic++) {
        struct dgo_topic_stats stats;

        assert_int_equal(dgo_bus_topic_read_stats(bus, topic, &stats, NULL), DGO_OK);
        if (topic != ALARM)
            assert_int_equal(stats.refused, 0);
        if (topic != GAUGE)
            assert_int_equal(stats.coalesced, 0);
    }
}

static void one_round(uint64_t *seed)
{
    const struct dgo_resource_config config = {.workers = 1 + (uint32_t)check_below(seed, 3)};
    struct listener listeners[LISTENERS];
    struct dgo_subscription names[LISTENERS];
    struct publisher publishers[PUBLISHERS];
    struct dgo_bus_strand shared;
    struct dgo_future in_background;
    struct dgo_bus *bus;

    memset(listeners, 0, sizeof listeners);
    memset(publishers, 0, sizeof publishers);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_bus_new(topics, TOPICS, NULL, &bus, NULL), DGO_OK);
    assert_int_equal(dgo_bus_strand_new(bus, "shared", DGO_LANE_NORMAL, 64, &shared, NULL), DGO_OK);
    for (int i = 0; i < LISTENERS; i++)
        names[i] = join(bus, &listeners[i], seed, shared);
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        publishers[i].bus = bus;
        publishers[i].number = i;
        publishers[i].seed = check_random(seed);
    }
    for (uint32_t i = 1; i < PUBLISHERS; i++)
        assert_int_equal(pthread_create(&publishers[i].thread, NULL, publish, &publishers[i]), 0);
    const struct dgo_job job = {
        .fn = publish_as_job, .arg = &publishers[0], .lane = DGO_LANE_BACKGROUND};
    assert_int_equal(dgo_submit(&job, &in_background, NULL), DGO_OK);
    for (int i = 0; i < 100; i++) {
        const uint64_t which = check_below(seed, LISTENERS);

        assert_int_equal(dgo_bus_unsubscribe(bus, names[which], NULL), DGO_OK);
        atomic_store(&listeners[which].may_be_called, false);
        names[which] = join(bus, &listeners[which], seed, shared);
        if (i % 10 == 0)
            sched_yield();
    }
    for (uint32_t i = 1; i < PUBLISHERS; i++)
        assert_int_equal(pthread_join(publishers[i].thread, NULL), 0);
    while (!dgo_future_ended(in_background)) /* not waited for: the waiter would run it */
        sched_yield();
    dgo_future_forget(in_background);
    assert_int_equal(dgo_bus_drain(bus, 60 * DGO_NS_PER_S, NULL), DGO_OK);
    check_topics(bus);
    for (int i = 0; i < LISTENERS; i++) {
        assert_int_equal(atomic_load(&listeners[i].too_late), 0);
        assert_int_equal(atomic_load(&listeners[i].out_of_order), 0);
        assert_int_equal(atomic_load(&listeners[i].overlaps), 0);
    }
    dgo_bus_free(bus);
    for (int i = 0; i < LISTENERS; i++)
        atomic_store(&listeners[i].may_be_called, false);
    assert_int_equal(dgo_resource_stop(DGO_FOREVER, NULL), DGO_OK);
    for (int i = 0; i < LISTENERS; i++)
        assert_int_equal(atomic_load(&listeners[i].too_late), 0);
}

static void test_storms(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (int round = 0; round < 12; round++)
        one_round(&seed);
}

static enum dgo_status count(const struct dgo_event *event, void *data)
{
    (void)event;
    atomic_fetch_add((_Atomic uint64_t *)data, 1);
    return DGO_OK;
}

/* Nothing is lost when there is room, and nothing is allocated. */
static void test_conservation(void **state)
{
    const struct dgo_resource_config config = {.workers = 2};
    _Atomic uint64_t heard = 0;
    const struct dgo_subscriber subscriber = {
        .name = "counter", .topics = DGO_ALL_TOPICS, .fn = count, .data = &heard, .depth = 256};
    struct dgo_topic_stats stats[TOPICS];
    struct dgo_subscription name;
    struct dgo_bus *bus;
    uint64_t before, delivered = 0, refused = 0;

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(dgo_bus_new(topics, TOPICS, NULL, &bus, NULL), DGO_OK);
    assert_int_equal(dgo_bus_subscribe(bus, &subscriber, &name, NULL), DGO_OK);
    for (int warm = 0; warm < 2; warm++) {
        before = atomic_load(&allocations);
        for (uint32_t i = 0; i < 20000; i++) {
            const struct event payload = {0, i};

            refused += dgo_bus_publish(bus, (uint16_t)(i % TOPICS), i % 5, &payload) == DGO_EBUSY;
        }
        assert_int_equal(dgo_bus_drain(bus, DGO_FOREVER, NULL), DGO_OK);
    }
    assert_int_equal(atomic_load(&allocations), before);
    for (uint16_t topic = 0; topic < TOPICS; topic++) {
        assert_int_equal(dgo_bus_topic_read_stats(bus, topic, &stats[topic], NULL), DGO_OK);
        assert_int_equal(stats[topic].published, stats[topic].delivered + stats[topic].coalesced +
                                                     stats[topic].dropped + stats[topic].refused);
        delivered += stats[topic].delivered;
    }
    assert_int_equal(delivered, atomic_load(&heard));
    assert_int_equal(stats[ALARM].refused, refused);
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(DGO_FOREVER, NULL), DGO_OK);
}

/* Two handlers that take each other out at the same time do not wait for each other for ever. */
struct rival {
    struct dgo_bus *bus;
    struct dgo_subscription other;
    _Atomic uint32_t *inside;
    enum dgo_status answer;
};
static enum dgo_status take_other_out(const struct dgo_event *event, void *data)
{
    struct rival *rival = data;

    (void)event;
    atomic_fetch_add(rival->inside, 1);
    while (atomic_load(rival->inside) < 2)
        dgo_pause();
    rival->answer = dgo_bus_unsubscribe(rival->bus, rival->other, NULL);
    return DGO_OK;
}

static void test_rivals(void **state)
{
    const struct dgo_resource_config config = {.workers = 2};

    (void)state;
    for (int round = 0; round < 20; round++) {
        _Atomic uint32_t inside = 0;
        struct rival rivals[2];
        struct dgo_subscription names[2];
        const struct event payload = {0, 1};
        struct dgo_bus *bus;

        assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
        assert_int_equal(dgo_bus_new(topics, TOPICS, NULL, &bus, NULL), DGO_OK);
        for (int i = 0; i < 2; i++) {
            const struct dgo_subscriber subscriber = {.name = i ? "second" : "first",
                                                      .topics = DGO_TOPIC_BIT(STREAM),
                                                      .fn = take_other_out,
                                                      .data = &rivals[i]};

            rivals[i] = (struct rival){.bus = bus, .inside = &inside};
            assert_int_equal(dgo_bus_subscribe(bus, &subscriber, &names[i], NULL), DGO_OK);
        }
        rivals[0].other = names[1];
        rivals[1].other = names[0];
        assert_int_equal(dgo_bus_publish(bus, STREAM, 0, &payload), DGO_OK);
        assert_int_equal(dgo_bus_drain(bus, 60 * DGO_NS_PER_S, NULL), DGO_OK);
        assert_true(rivals[0].answer == DGO_EBUSY || rivals[1].answer == DGO_EBUSY);
        assert_int_equal(dgo_bus_subscriber_read_stats(bus, NULL, 0), 0);
        dgo_bus_free(bus);
        assert_int_equal(dgo_resource_stop(DGO_FOREVER, NULL), DGO_OK);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_storms),
    cmocka_unit_test(test_conservation),
    cmocka_unit_test(test_rivals),
};

CHECK_MAIN(tests)
