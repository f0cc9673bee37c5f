/* test_fork.c - what a child has of a bus: its subscriptions, and no event that was the parent's;
 * whatever other threads did with it at the moment of fork. */
#include "child.h"

#include "dgo_bus.h"
#include "dgo_lock.h"
#include "dgo_units.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* The address sanitizer's allocator does not survive a fork in the middle of another thread's
 * malloc.
 */
#ifdef __SANITIZE_ADDRESS__
enum { COMES_AND_GOES = 0 };
#else
enum { COMES_AND_GOES = 1 };
#endif
enum { PLAIN = 0, BATCH, ALARM, TOPICS, STORM_FORKS = 150 };

static const struct dgo_topic topics[TOPICS] = {
    [PLAIN] = {PLAIN, "plain", DGO_TOPIC_NORMAL, DGO_TOPIC_CPU, DGO_TOPIC_BATCHED, sizeof(int), 0,
               0},
    [BATCH] = {BATCH, "batch", DGO_TOPIC_NORMAL, DGO_TOPIC_CPU, DGO_TOPIC_BATCHED, sizeof(int), 8,
               3600 * DGO_NS_PER_S},
    [ALARM] = {ALARM, "alarm", DGO_TOPIC_CRITICAL, DGO_TOPIC_CPU, DGO_TOPIC_NEVER, sizeof(int), 0,
               0},
};

/* ---- a listener that can be held up ---- */

struct listener {
    _Atomic uint32_t calls, is_open, is_inside;
    _Atomic int last;
    bool waits;
};

static enum dgo_status listen(const struct dgo_event *event, void *data)
{
    struct listener *listener = data;
    int value;

    memcpy(&value, event->payload, sizeof value);
    atomic_store(&listener->last, value);
    atomic_fetch_add(&listener->calls, 1);
    if (!listener->waits)
        return DGO_OK;
    atomic_store(&listener->is_inside, 1);
    dgo_wake_up(&listener->is_inside, INT32_MAX);
    while (!atomic_load(&listener->is_open))
        dgo_sleep_on(&listener->is_open, 0, UINT64_MAX);
    return DGO_OK;
}

static struct dgo_subscription subscribe(struct dgo_bus *bus, struct listener *listener,
                                         enum dgo_lane lane)
{
    const struct dgo_subscriber subscriber = {
        .name = "listener", .topics = DGO_ALL_TOPICS, .fn = listen, .data = listener, .lane = lane};
    struct dgo_subscription name;

    assert_int_equal(dgo_bus_subscribe(bus, &subscriber, &name, NULL), DGO_OK);
    return name;
}

static struct dgo_bus *start_with_bus(void)
{
    const struct dgo_resource_config config = {.workers = 1};
    struct dgo_bus *bus;

    assert_int_equal(dgo_bus_new(topics, TOPICS, NULL, &bus, NULL), DGO_OK);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    return bus;
}

static void stop_with_bus(struct dgo_bus *bus)
{
    dgo_bus_free(bus);
    assert_int_equal(dgo_resource_stop(DGO_FOREVER, NULL), DGO_OK);
}

/* Everything that a program does with a bus, in the child; the number of what went wrong. */
static int use_bus(struct dgo_bus *bus, struct listener *listener, struct dgo_subscription name)
{
    int value = 100;

    listener->waits = false; /* a child's copy of it */
    atomic_store(&listener->calls, 0);
    if (dgo_bus_publish(bus, PLAIN, 0, &value) != DGO_OK)
        return 1;
    if (atomic_load(&listener->calls) != 1 || atomic_load(&listener->last) != 100)
        return 2; /* deaf, or it heard what was the parent's */
    value = 101;
    if (dgo_bus_publish(bus, BATCH, 0, &value) != DGO_OK ||
        dgo_bus_drain(bus, DGO_NS_PER_S, NULL) != DGO_OK)
        return 3;
    if (atomic_load(&listener->calls) != 2 || atomic_load(&listener->last) != 101)
        return 4;
    value = 102;
    if (dgo_bus_publish(bus, ALARM, 0, &value) != DGO_OK || atomic_load(&listener->calls) != 3)
        return 5;
    if (dgo_bus_unsubscribe(bus, name, NULL) != DGO_OK)
        return 6;
    subscribe(bus, listener, DGO_LANE_NORMAL);
    if (dgo_bus_publish(bus, PLAIN, 0, &value) != DGO_OK || atomic_load(&listener->calls) != 4)
        return 7;
    dgo_bus_free(bus);
    return 0;
}

/* ---- what the strand is doing at the moment of fork ---- */

static void test_a_strand_that_is_queued(void **state)
{
    static const uint16_t by[] = {PLAIN, BATCH, ALARM};

    (void)state;
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
        struct listener listener = {0};
        struct dgo_bus *bus = start_with_bus();
        /* Nobody drains the UI lane: there it stays queued. */
        const struct dgo_subscription name = subscribe(bus, &listener, DGO_LANE_UI);
        int value = 1;
        pid_t child;

        assert_int_equal(dgo_bus_publish(bus, by[i], 0, &value), DGO_OK);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(use_bus(bus, &listener, name));
        assert_ends_well(child);
        assert_int_equal(atomic_load(&listener.calls), 0);
        stop_with_bus(bus);
    }
}

static void test_a_handler_that_is_running(void **state)
{
    struct listener listener = {.waits = true};
    struct dgo_bus *bus = start_with_bus();
    const struct dgo_subscription name = subscribe(bus, &listener, DGO_LANE_NORMAL);
    int value = 1;
    pid_t child;

    (void)state;
    assert_int_equal(dgo_bus_publish(bus, PLAIN, 0, &value), DGO_OK);
    while (!atomic_load(&listener.is_inside))
        dgo_sleep_on(&listener.is_inside, 0, UINT64_MAX);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(use_bus(bus, &listener, name));
    assert_ends_well(child);
    atomic_store(&listener.is_open, 1);
    dgo_wake_up(&listener.is_open, INT32_MAX);
    stop_with_bus(bus);
}

/* ---- a handler that forks, and returns in both ---- */

struct forking {
    struct dgo_bus *bus;
    struct listener listener;
    struct dgo_subscription name, its_name;
    pid_t child;
};

static enum dgo_status fork_in_handler(const struct dgo_event *event, void *data)
{
    struct forking *forking = data;

    (void)event;
    forking->child = fork();
    return forking->child >= 0 ? DGO_OK : DGO_EIO;
}

static void test_a_handler_that_forks(void **state)
{
    struct forking forking = {0};
    const struct dgo_subscriber forks = {
        .name = "forks", .topics = DGO_TOPIC_BIT(ALARM), .fn = fork_in_handler, .data = &forking};
    int value = 1;

    (void)state;
    assert_int_equal(dgo_bus_new(topics, TOPICS, NULL, &forking.bus, NULL), DGO_OK);
    assert_int_equal(dgo_bus_subscribe(forking.bus, &forks, &forking.name, NULL), DGO_OK);
    assert_int_equal(dgo_bus_publish(forking.bus, ALARM, 0, &value), DGO_OK); /* runs it here */
    if (forking.child == 0) {
        if (dgo_bus_unsubscribe(forking.bus, forking.name, NULL) != DGO_OK)
            _exit(10);
        forking.its_name = subscribe(forking.bus, &forking.listener, DGO_LANE_NORMAL);
        _exit(use_bus(forking.bus, &forking.listener, forking.its_name));
    }
    assert_ends_well(forking.child);
    dgo_bus_free(forking.bus);
}

/* ---- locks, half-written events, half-made subscriptions ---- */

struct storm {
    struct dgo_bus *bus;
    struct listener *listener;
    _Atomic uint32_t is_over;
};
static void *publish_for_ever(void *data)
{
    struct storm *storm = data;

    for (int value = 0; !atomic_load(&storm->is_over); value++)
        dgo_bus_publish(storm->bus, (uint16_t)(value % TOPICS), 0, &value);
    return NULL;
}
static void *come_and_go(void *data)
{
    struct storm *storm = data;
    struct listener other = {0};

    while (!atomic_load(&storm->is_over))
        dgo_bus_unsubscribe(storm->bus, subscribe(storm->bus, &other, DGO_LANE_NORMAL), NULL);
    return NULL;
}

static void test_forks_in_a_storm(void **state)
{
    struct listener listener = {0};
    struct storm storm = {.bus = start_with_bus(), .listener = &listener};
    const struct dgo_subscription name = subscribe(storm.bus, &listener, DGO_LANE_NORMAL);
    pthread_t publisher, comer;

    (void)state;
    assert_int_equal(dgo_bus_log_start(storm.bus, DGO_ALL_TOPICS, 64, NULL), DGO_OK);
    assert_int_equal(pthread_create(&publisher, NULL, publish_for_ever, &storm), 0);
    if (COMES_AND_GOES)
        assert_int_equal(pthread_create(&comer, NULL, come_and_go, &storm), 0);
    for (int i = 0; i < STORM_FORKS; i++) {
        const pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
            _exit(use_bus(storm.bus, &listener, name));
        assert_ends_well(child);
    }
    atomic_store(&storm.is_over, 1);
    assert_int_equal(pthread_join(publisher, NULL), 0);
    if (COMES_AND_GOES)
        assert_int_equal(pthread_join(comer, NULL), 0);
    stop_with_bus(storm.bus);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_handler_that_forks),
    cmocka_unit_test(test_a_strand_that_is_queued),
    cmocka_unit_test(test_a_handler_that_is_running),
    cmocka_unit_test(test_forks_in_a_storm),
};

CHECK_MAIN(tests)
