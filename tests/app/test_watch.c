/* test_watch.c - looks reach the bus, the ledger and whoever asks; so does their absence. */
#include "rig.h"

#include "dgo_units.h"
#include "watch.h"

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

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_looks_on_the_bus),
        RIG_TEST(test_silence_is_told),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
