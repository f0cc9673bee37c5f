/* test_watch.c - looks reach the bus, the ledger and whoever asks; so does their absence. */
#include "rig.h"

#include "dgo_units.h"
#include "watch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#define CARD(used) "card NVIDIA GeForce RTX 3090\n memory 24576 450 " used "\n"

static struct dgo_app app;
static struct dgo_sample sample;
static struct {
    uint64_t count, last;
    bool stale;
} heard;

static enum dgo_status hear(const struct dgo_event *event, void *data)
{
    const struct sample_event *looked = event->payload;

    (void)data;
    heard.count++;
    heard.last = looked->sequence;
    heard.stale = looked->stale;
    return DGO_OK;
}

static struct watch *start(void)
{
    const struct watch_options options = {
        .gpu = rig_options(), .interval_ns = 20 * DGO_NS_PER_MS, .margin_bytes = 256 * DGO_MIB};
    const struct dgo_subscriber subscriber = {
        .name = "test", .topics = DGO_TOPIC_BIT(TOPIC_GPU_SAMPLE), .fn = hear};
    struct dgo_subscription subscription;
    struct watch *watch = NULL;
    struct dgo_error err = {0};

    memset(&heard, 0, sizeof heard);
    assert_int_equal(dgo_app_open(&app, &err), DGO_OK);
    assert_int_equal(dgo_bus_subscribe(app.bus, &subscriber, &subscription, &err), DGO_OK);
    assert_int_equal(watch_start(&app, &options, &watch, &err), DGO_OK);
    return watch;
}

static bool heard_three(void)
{
    return heard.count >= 3 && !heard.stale;
}
static bool heard_stale(void)
{
    return heard.stale;
}

static bool loop_until(bool (*holds)(void))
{
    for (int i = 0; i < 2000 && !holds(); i++)
        assert_true(sd_event_run(app.loop, 10000) >= 0);
    return holds();
}

static void test_looks_on_the_bus(void **state)
{
    static struct dgo_ledger ledger;
    struct watch *watch;

    (void)state;
    rig_scenario(CARD("1000"));
    watch = start();
    assert_true(loop_until(heard_three));
    watch_latest(watch, &sample);
    assert_true(sample.sequence >= heard.last);
    assert_int_equal(sample.machine.gpu[0].used_bytes, 1000 * DGO_MIB);
    dgo_vram_snapshot(&ledger);
    assert_true(ledger.gpu[0].known);
    assert_int_equal(ledger.gpu[0].margin_bytes, 256 * DGO_MIB);
    watch_stop(watch);
    watch_stop(NULL);
    dgo_app_close(&app);
}

static void test_silence_is_told(void **state)
{
    struct watch *watch;

    (void)state;
    rig_scenario(CARD("1000"));
    watch = start();
    assert_true(loop_until(heard_three));
    rig_scenario("delay nvmlDeviceGetMemoryInfo_v2 2500\n" CARD("1000"));
    assert_true(loop_until(heard_stale));
    watch_latest(watch, &sample);
    assert_true(sample.stale);
    assert_int_equal(sample.machine.gpu[0].used_bytes, 1000 * DGO_MIB);
    rig_scenario(CARD("1000"));
    assert_true(loop_until(heard_three));
    watch_stop(watch);
    dgo_app_close(&app);
}

/* ---- engines ---- */

/* Answers every request with the slots of an engine at work, until it is closed. */
static int listener;

static void *answer_all(void *data)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 43\r\n\r\n"
        "[{\"n_ctx\":256,\"is_processing\":true,\"x\":12}]";
    int peer;

    (void)data;
    while ((peer = accept(listener, NULL, NULL)) >= 0) {
        char request[2048];

        if (read(peer, request, sizeof request) > 0)
            (void)!write(peer, answer, sizeof answer - 1);
        close(peer);
    }
    return NULL;
}

static uint16_t listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static struct watch *watched;
static struct dgo_engine_load loads[4];

static bool one_answers(void)
{
    return watch_loads(watched, loads, 4) == 1;
}
static bool none_answers(void)
{
    return watch_loads(watched, loads, 4) == 0;
}

static void tell_launch(enum launch_state state, uint16_t port)
{
    const struct launch_event event = {.state = state, .pid = 4242, .port = port};

    assert_int_equal(dgo_bus_publish(app.bus, TOPIC_LAUNCH_STATE, 7, &event), DGO_OK);
}

/* A launch is asked while it is ready; an engine that is pointed at, while it is there. */
static void test_engines_are_asked(void **state)
{
    struct dgo_error err = {0};
    pthread_t thread;
    uint16_t port;

    (void)state;
    rig_scenario(CARD("1000"));
    port = listen_somewhere();
    assert_int_equal(pthread_create(&thread, NULL, answer_all, NULL), 0);
    watched = start();
    tell_launch(LAUNCH_LOADING, port);
    tell_launch(LAUNCH_READY, port);
    assert_true(loop_until(one_answers));
    assert_int_equal(loads[0].pid, 4242);
    assert_int_equal(loads[0].busy, 1);
    assert_int_equal(loads[0].slot_tokens, 256);
    tell_launch(LAUNCH_ENDED, port);
    assert_true(loop_until(none_answers));
    assert_int_equal(watch_add_engine(watched, 1, "file:///x", NULL, &err), DGO_EUSAGE);
    assert_int_equal(watch_add_engine(watched, 1, "http://127.0.0.1:1", NULL, &err), DGO_OK);
    {
        char url[64];

        snprintf(url, sizeof url, "127.0.0.1:%u", port);
        assert_int_equal(watch_add_engine(watched, 2, url, NULL, &err), DGO_OK);
    }
    assert_true(loop_until(one_answers)); /* the other is not there */
    assert_int_equal(loads[0].pid, 2);
    watch_remove_engine(watched, 2);
    watch_remove_engine(watched, 3);
    assert_true(none_answers());
    watch_stop(watched);
    dgo_app_close(&app);
    shutdown(listener, SHUT_RDWR);
    close(listener);
    pthread_join(thread, NULL);
}

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_looks_on_the_bus),
        RIG_TEST(test_silence_is_told),
        RIG_TEST(test_engines_are_asked),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
