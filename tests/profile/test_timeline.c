/* test_timeline.c - tiers keep every spike, gaps stay gaps, clocks may jump, memory is bounded. */
#include "check.h"
#include "dgo_timeline.h"
#include "dgo_units.h"

#include <math.h>

static const struct dgo_series_key card = {.kind = DGO_SERIES_USED};
static const uint64_t start_ns = UINT64_C(1795737600) * 1000000000;

static struct dgo_timeline *open_timeline(uint32_t series_max)
{
    const struct dgo_timeline_config config = {.series_max = series_max, .event_max = 4};
    struct dgo_timeline *timeline = NULL;
    struct dgo_error err = {0};

    assert_int_equal(dgo_timeline_new(&config, &timeline, &err), DGO_OK);
    return timeline;
}

static void add(struct dgo_timeline *timeline, const struct dgo_series_key *key, double seconds,
                double value)
{
    struct dgo_error err = {0};

    assert_int_equal(
        dgo_timeline_add(timeline, key, start_ns + (uint64_t)(seconds * 1e9), value, &err), DGO_OK);
}

static uint32_t query(struct dgo_timeline *timeline, const struct dgo_series_key *key, double from,
                      double to, struct dgo_timeline_point *points, uint32_t max)
{
    return dgo_timeline_query(timeline, key, start_ns + (uint64_t)(from * 1e9),
                              start_ns + (uint64_t)(to * 1e9), points, max);
}

/* A spike of one second, looked for after times that take it through every tier. */
static void test_spike_is_kept(void **state)
{
    static const struct {
        const char *name;
        uint32_t seconds, points;
    } rows[] = {
        {"an hour", 3600, 60},
        {"six hours", 6 * 3600, 100},
        {"a day", 24 * 3600, 800},
        {"three days", 3 * 86400, 50},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_timeline *timeline = open_timeline(4);
        struct dgo_timeline_point points[1000];
        float greatest = 0, smallest = INFINITY;
        double sum = 0;

        for (uint32_t s = 0; s < rows[i].seconds; s++)
            add(timeline, &card, s, s == 777 ? 9000 : s == 888 ? 10 : 1000);

        const uint32_t count = query(timeline, &card, 0, rows[i].seconds, points, rows[i].points);

        CHECK_ROW(count > 0 && count <= rows[i].points, rows[i].name);
        for (uint32_t p = 0; p < count; p++) {
            greatest = fmaxf(greatest, points[p].max);
            smallest = fminf(smallest, points[p].min);
            sum += points[p].mean * (double)points[p].span_ns / 1e9;
        }
        CHECK_ROW(greatest == 9000 && smallest == 10, rows[i].name);
        CHECK_ROW(fabs(sum / rows[i].seconds - 1000) < 10, rows[i].name);
        CHECK_ROW(points[count - 1].last == 1000, rows[i].name);
        dgo_timeline_free(timeline);
    }
}

static void test_against_every_sample(void **state)
{
    uint64_t seed = check_seed();
    struct dgo_timeline *timeline = open_timeline(4);
    float value[3000];
    struct dgo_timeline_point points[64];

    (void)state;
    for (uint32_t s = 0; s < 3000; s++) {
        value[s] = (float)check_below(&seed, 1000);
        add(timeline, &card, s, value[s]);
    }
    for (uint32_t round = 0; round < 200; round++) {
        const uint32_t from = (uint32_t)check_below(&seed, 2900);
        const uint32_t to = from + 1 + (uint32_t)check_below(&seed, 3000 - from);
        const uint32_t max = 1 + (uint32_t)check_below(&seed, 64);
        const uint32_t count = query(timeline, &card, from, to, points, max);
        uint32_t seen = from;

        assert_in_range(count, 1, max);
        for (uint32_t p = 0; p < count; p++) {
            const uint32_t first = (uint32_t)((points[p].time_ns - start_ns) / DGO_NS_PER_S);
            const uint32_t length = (uint32_t)(points[p].span_ns / DGO_NS_PER_S);
            float least = INFINITY, most = 0;

            assert_int_equal(first, seen);
            for (uint32_t s = first; s < first + length; s++) {
                least = fminf(least, value[s]);
                most = fmaxf(most, value[s]);
            }
            assert_true(points[p].min == least && points[p].max == most);
            assert_true(points[p].last == value[first + length - 1]);
            seen = first + length;
        }
        assert_int_equal(seen, to);
    }
    dgo_timeline_free(timeline);
}

static void test_gaps_and_jumps(void **state)
{
    struct dgo_timeline *timeline = open_timeline(4);
    struct dgo_timeline_point points[4000];
    struct dgo_timeline_stats stats;

    (void)state;
    add(timeline, &card, 0, 100);
    add(timeline, &card, 600, 200); /* ten minutes of nothing */
    assert_int_equal(query(timeline, &card, 0, 601, points, 4000), 2);
    add(timeline, &card, 300, 900); /* the clock went back: counts in the newest bucket */
    assert_int_equal(query(timeline, &card, 0, 601, points, 4000), 2);
    assert_true(points[1].max == 900 && points[1].min == 200);
    dgo_timeline_read_stats(timeline, &stats);
    assert_int_equal(stats.backwards, 1);
    add(timeline, &card, 400 * 86400.0, 300); /* longer than every ring */
    assert_int_equal(query(timeline, &card, 0, 401 * 86400.0, points, 4000), 1);
    assert_true(points[0].min == 300 && points[0].max == 300);
    add(timeline, &card, 400 * 86400.0, NAN); /* no number, no sample */
    dgo_timeline_read_stats(timeline, &stats);
    assert_int_equal(stats.sample_count, 4);
    dgo_timeline_free(timeline);
}

static void test_series_are_bounded(void **state)
{
    struct dgo_timeline *timeline = open_timeline(3);
    struct dgo_timeline_series series[8];
    struct dgo_timeline_stats stats;
    struct dgo_error err = {0};

    (void)state;
    add(timeline, &card, 0, 1);
    for (uint32_t pid = 1; pid <= 100; pid++)
        add(timeline, &(struct dgo_series_key){.pid = pid, .start = pid}, pid, pid);
    assert_int_equal(dgo_timeline_list(timeline, series, 8), 3);
    assert_int_equal(series[0].key.pid, 0); /* the card stays */
    assert_int_equal(series[1].key.pid, 99);
    assert_int_equal(series[2].key.pid, 100);
    dgo_timeline_read_stats(timeline, &stats);
    assert_int_equal(stats.evicted, 98);
    assert_true(stats.bytes < 3 * 160 * DGO_KIB);
    /* A pid that is used again is another process. */
    add(timeline, &(struct dgo_series_key){.pid = 100, .start = 7}, 200, 5);
    assert_int_equal(dgo_timeline_list(timeline, series, 8), 3);
    assert_true(series[2].last == 5);
    for (uint32_t gpu = 1; gpu < 3; gpu++)
        add(timeline, &(struct dgo_series_key){.gpu_index = gpu}, 300, 1);
    assert_int_equal(
        dgo_timeline_add(timeline, &(struct dgo_series_key){.gpu_index = 3}, start_ns, 1, &err),
        DGO_ELIMIT);
    dgo_timeline_free(timeline);
}

static void test_events(void **state)
{
    struct dgo_timeline *timeline = open_timeline(4);
    struct dgo_timeline_event events[8];

    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct dgo_timeline_event event = {.time_ns = i, .kind = DGO_TIMELINE_MARK};

        snprintf(event.text, sizeof event.text, "mark %u", i);
        dgo_timeline_note(timeline, &event);
    }
    assert_int_equal(dgo_timeline_events(timeline, 0, 100, events, 8), 4); /* the oldest went */
    assert_string_equal(events[0].text, "mark 2");
    assert_int_equal(dgo_timeline_events(timeline, 3, 5, events, 1), 2);
    assert_string_equal(events[0].text, "mark 3");
    dgo_timeline_free(timeline);
}

static void test_names(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DGO_SERIES_KIND_COUNT; i++) {
        enum dgo_series_kind kind;

        assert_true(dgo_series_kind_parse(dgo_series_kind_name((enum dgo_series_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    for (uint32_t i = 0; i < DGO_TIMELINE_EVENT_KIND_COUNT; i++) {
        enum dgo_timeline_event_kind kind;

        assert_true(dgo_timeline_event_parse(
            dgo_timeline_event_name((enum dgo_timeline_event_kind)i), &kind));
        assert_int_equal(kind, i);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_spike_is_kept),  cmocka_unit_test(test_against_every_sample),
    cmocka_unit_test(test_gaps_and_jumps), cmocka_unit_test(test_series_are_bounded),
    cmocka_unit_test(test_events),         cmocka_unit_test(test_names),
};
CHECK_MAIN(tests)
