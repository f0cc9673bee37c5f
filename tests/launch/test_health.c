/* test_health.c - readiness against a real HTTP server that is slow, wrong or absent. */
#include "loop.h"

struct watch {
    struct dgo_health *health;
    bool free_inside;
    bool ready, timed_out, done;
    char last_error[256];
};

static void end(struct watch *watch)
{
    assert_false(watch->done); /* one of the two, once */
    watch->done = true;
    if (watch->free_inside) {
        dgo_health_free(watch->health);
        watch->health = NULL;
    }
}

static void on_ready(struct dgo_health *health, void *data)
{
    struct watch *watch = data;

    assert_ptr_equal(health, watch->health);
    watch->ready = true;
    end(watch);
}

static void on_timed_out(struct dgo_health *health, const char *last_error, void *data)
{
    struct watch *watch = data;

    assert_ptr_equal(health, watch->health);
    (void)dgo_text_copy(watch->last_error, sizeof watch->last_error, last_error);
    watch->timed_out = true;
    end(watch);
}

/* Turns the loop until the server has told its port. */
static uint16_t server_port(struct life *life)
{
    while (!strstr(life->text, "o port ")) {
        bool line = false;
        const uint64_t before = life->line_count;

        while (!line) {
            assert_true(sd_event_run(life->loop, 100 * 1000) >= 0);
            line = life->line_count != before;
            assert_false(life->exited);
        }
    }
    return (uint16_t)strtoul(strstr(life->text, "o port ") + 7, NULL, 10);
}

static uint64_t count_requests(const char *text)
{
    uint64_t count = 0;

    for (const char *at = text; (at = strstr(at, "o request GET ")) != NULL; at++)
        count++;
    return count;
}

static const struct {
    const char *name;
    const char *server;
    uint64_t timeout_ns;
    bool ready;
    uint64_t requests; /* when ready */
    const char *last_error;
} cases[] = {
    {"ready at once", "http 0 503 2", 0, true, 1, NULL},
    {"loads first", "http 3 503 40", 0, true, 4, NULL},
    {"loads first, with a deadline", "http 3 503 40", 60 * DGO_NS_PER_S, true, 4, NULL},
    {"a redirect is not followed", "http 2 302 0", 0, true, 3, NULL},
    {"another kind of success is none", "http 2 204 0", 0, true, 3, NULL},
    {"a long answer", "http 0 200 300000", 0, true, 1, NULL},
    {"never ready", "http 1000000 503 0", DGO_NS_PER_MS * 200, false, 0, "status 503"},
    {"never answers", "mute", DGO_NS_PER_MS * 100, false, 0, "has not answered"},
};

static void check_case(size_t row)
{
    const char *name = cases[row].name;
    struct watch watch = {.free_inside = row % 2};
    struct dgo_error err = {0};
    struct life life;

    life_init(&life);
    life_start(&life, cases[row].server, 0);

    const struct dgo_health_options options = {
        .host = "127.0.0.1",
        .port = server_port(&life),
        .path = "/health",
        .interval_ns = DGO_NS_PER_MS * 5,
        .timeout_ns = cases[row].timeout_ns,
        .ready = on_ready,
        .timed_out = on_timed_out,
        .data = &watch,
    };

    CHECK_ROW_U64(dgo_health_start(life.loop, &options, &watch.health, &err), DGO_OK, name);
    CHECK_ROW(!watch.done, name); /* never from inside the call */
    loop_until(life.loop, &watch.done);
    CHECK_ROW_U64(watch.ready, cases[row].ready, name);
    if (cases[row].last_error)
        CHECK_ROW(strstr(watch.last_error, cases[row].last_error), name);
    dgo_process_stop(life.process);
    loop_until(life.loop, &life.exited); /* now all that it printed is here */
    if (cases[row].ready)
        CHECK_ROW_U64(count_requests(life.text), cases[row].requests, name);
    dgo_health_free(watch.health);
    life_done(&life);
}

static void test_servers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(i);
}

/* A proxy in the environment must not see us: port 9 of that address answers nobody. */
static void test_no_proxy_is_used(void **state)
{
    (void)state;
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:9", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:9", 1), 0);
    check_case(0);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("ALL_PROXY"), 0);
}

static void test_nobody_listens(void **state)
{
    struct watch watch = {0};
    struct dgo_error err = {0};
    sd_event *loop = NULL;
    uint16_t port;

    (void)state;
    assert_true(sd_event_new(&loop) >= 0);
    assert_int_equal(dgo_port_find("127.0.0.1", 0, &port, &err), DGO_OK);

    const struct dgo_health_options options = {
        .host = "localhost",
        .port = port,
        .path = "/",
        .interval_ns = DGO_NS_PER_MS,
        .timeout_ns = DGO_NS_PER_MS * 100,
        .timed_out = on_timed_out,
        .data = &watch,
    };

    assert_int_equal(dgo_health_start(loop, &options, &watch.health, &err), DGO_OK);
    loop_until(loop, &watch.done);
    if (!strstr(watch.last_error, "onnect"))
        fail_msg("the last error is: %s", watch.last_error);
    dgo_health_free(watch.health);
    sd_event_unref(loop);
}

/* Freed while a try is in flight: nothing may come, nothing may leak. */
static void test_free_in_the_middle(void **state)
{
    struct watch watch = {0};
    struct life life;

    (void)state;
    life_init(&life);
    life_start(&life, "mute", 0);

    const struct dgo_health_options options = {.host = "127.0.0.1",
                                               .port = server_port(&life),
                                               .path = "/health",
                                               .ready = on_ready,
                                               .timed_out = on_timed_out,
                                               .data = &watch};

    assert_int_equal(dgo_health_start(life.loop, &options, &watch.health, NULL), DGO_OK);
    for (int i = 0; i < 5; i++)
        assert_true(sd_event_run(life.loop, 1000) >= 0);
    dgo_health_free(watch.health);
    dgo_process_stop(life.process);
    loop_until(life.loop, &life.exited);
    assert_false(watch.done);
    dgo_health_free(NULL);
    life_done(&life);
}

static const struct {
    const char *name;
    const char *host, *path;
} refused[] = {
    {"a name", "example.com", "/health"}, {"no slash", "127.0.0.1", "health"},
    {"a space", "127.0.0.1", "/a b"},     {"a line end", "127.0.0.1", "/a\r\nHost: x"},
    {"empty path", "127.0.0.1", ""},      {"empty host", "", "/health"},
};

static void test_bad_options_are_refused(void **state)
{
    sd_event *loop = NULL;

    (void)state;
    assert_true(sd_event_new(&loop) >= 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct dgo_health_options options = {
            .host = refused[i].host, .port = 80, .path = refused[i].path};
        struct dgo_health *health = NULL;
        struct dgo_error err = {0};

        CHECK_ROW_U64(dgo_health_start(loop, &options, &health, &err), DGO_EINVAL, refused[i].name);
        CHECK_ROW(!health && err.text[0], refused[i].name);
    }
    sd_event_unref(loop);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_servers),
    cmocka_unit_test(test_no_proxy_is_used),
    cmocka_unit_test(test_nobody_listens),
    cmocka_unit_test(test_free_in_the_middle),
    cmocka_unit_test(test_bad_options_are_refused),
};

CHECK_MAIN(tests)
