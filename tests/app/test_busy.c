/* test_busy.c - the work that the manager is measured with: real, repeatable, the same every time.
 */
#include "busy.h"
#include "check.h"
#include "dgo_units.h"

static void test_schedule(void **state)
{
    static struct busy_event a[20000], b[20000];
    const uint32_t count = busy_schedule(5, 1000, 10 * DGO_NS_PER_S, a, 20000);
    uint32_t of[BUSY_KIND_COUNT] = {0};

    (void)state;
    assert_int_equal(busy_schedule(5, 1000, 10 * DGO_NS_PER_S, b, 20000), count);
    assert_memory_equal(a, b, count * sizeof *a); /* recorded: the same for both sides */
    assert_in_range(count, 9500, 10500);          /* 10 000, five standard deviations */
    for (uint32_t i = 0; i < count; i++) {
        assert_true(a[i].at_ns < 10 * DGO_NS_PER_S);
        assert_true(i == 0 || a[i].at_ns >= a[i - 1].at_ns);
        of[a[i].kind]++;
    }
    for (int kind = 0; kind < BUSY_KIND_COUNT; kind++)
        assert_true(of[kind] > 0);
    assert_int_equal(busy_schedule(5, 1000, UINT64_MAX, b, 100), 100);
    assert_int_equal(busy_schedule(5, 1000, 0, b, 100), 0);
    assert_true(busy_schedule(6, 1000, 10 * DGO_NS_PER_S, b, 20000) == 0 ||
                memcmp(a, b, 100 * sizeof *a) != 0);
}

static void test_components_are_there(void **state)
{
    (void)state;
    for (int kind = 0; kind < BUSY_KIND_COUNT; kind++) {
        const enum component component = busy_component((enum busy_kind)kind);

        assert_in_range(component, 0, COMPONENT_COUNT - 1);
        assert_int_not_equal(app_component(component), 0);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_schedule),
    cmocka_unit_test(test_components_are_there),
};

CHECK_MAIN(tests)
