/* test_log.c - levels, escaping and long lines of the log; and the clock that tests own. */
#include "check.h"
#include "dgo_clock.h"
#include "dgo_log.h"

struct seen {
    int count;
    enum dgo_log_level level;
    char line[DGO_LOG_LINE_MAX + 4];
};

static void remember(enum dgo_log_level level, const char *line, void *data)
{
    struct seen *seen = data;

    seen->count++;
    seen->level = level;
    assert_true(strlen(line) < sizeof seen->line);
    strcpy(seen->line, line);
}

static void test_levels(void **state)
{
    struct seen seen = {0};

    (void)state;
    dgo_log_set(DGO_LOG_WARN, remember, &seen);
    dgo_log(DGO_LOG_INFO, "not wanted");
    assert_int_equal(seen.count, 0);
    dgo_log(DGO_LOG_WARN, "wanted %d", 1);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.line, "wanted 1");
    assert_int_equal(seen.level, DGO_LOG_WARN);
    assert_true(dgo_log_wants(DGO_LOG_ERROR));
    assert_false(dgo_log_wants(DGO_LOG_DEBUG));
    dgo_log_set(DGO_LOG_WARN, NULL, NULL);
}

static void test_lines_are_escaped_and_cut_visibly(void **state)
{
    struct seen seen = {0};
    char long_text[2 * DGO_LOG_LINE_MAX];

    (void)state;
    dgo_log_set(DGO_LOG_DEBUG, remember, &seen);
    dgo_log(DGO_LOG_DEBUG, "card \x1b[2J says\n%s", "hello");
    assert_string_equal(seen.line, "card \\x1b[2J says\\x0ahello");
    memset(long_text, '\x01', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    dgo_log(DGO_LOG_DEBUG, "%s", long_text);
    assert_string_equal(seen.line + strlen(seen.line) - 3, "...");
    dgo_log_set(DGO_LOG_WARN, NULL, NULL);
}

static void test_level_names(void **state)
{
    enum dgo_log_level level = DGO_LOG_ERROR;
    struct dgo_error err = {0};

    (void)state;
    for (int i = DGO_LOG_ERROR; i <= DGO_LOG_DEBUG; i++) {
        assert_int_equal(
            dgo_log_level_parse(dgo_log_level_name((enum dgo_log_level)i), &level, NULL), DGO_OK);
        assert_int_equal(level, i);
    }
    assert_int_equal(dgo_log_level_parse("loud", &level, &err), DGO_EINVAL);
    assert_non_null(strstr(err.text, "loud"));
}

static void test_the_fake_clock_stands_still(void **state)
{
    struct dgo_clock_fake fake;

    (void)state;
    dgo_clock_fake_init(&fake, 100, 5000);
    assert_int_equal(dgo_clock_monotonic_ns(&fake.clock), 100);
    assert_int_equal(dgo_clock_monotonic_ns(&fake.clock), 100);
    dgo_clock_fake_advance(&fake, 11);
    assert_int_equal(dgo_clock_monotonic_ns(&fake.clock), 111);
    assert_int_equal(dgo_clock_wall_ns(&fake.clock), 5011);
}

static void test_the_system_clock_never_goes_back(void **state)
{
    const struct dgo_clock *clock = dgo_clock_system();
    uint64_t before = dgo_clock_monotonic_ns(clock);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        const uint64_t now = dgo_clock_monotonic_ns(clock);

        assert_true(now >= before);
        before = now;
    }
    assert_true(dgo_clock_wall_ns(clock) > UINT64_C(1600000000000000000));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_levels),
    cmocka_unit_test(test_lines_are_escaped_and_cut_visibly),
    cmocka_unit_test(test_level_names),
    cmocka_unit_test(test_the_fake_clock_stands_still),
    cmocka_unit_test(test_the_system_clock_never_goes_back),
};

CHECK_MAIN(tests)
