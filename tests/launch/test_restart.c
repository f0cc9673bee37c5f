/* test_restart.c - the delays before restarts. */
#include "check.h"
#include "dgo_launch.h"
#include "dgo_units.h"

static const struct {
    const char *name;
    uint32_t attempt;
    uint64_t seconds;
} cases[] = {
    {"first", 0, 1},          {"second", 1, 2},   {"third", 2, 4},
    {"sixth", 5, 32},         {"seventh", 6, 60}, {"far beyond a shift", 64, 60},
    {"last", UINT32_MAX, 60},
};

static void test_delays(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_ROW_U64(dgo_restart_delay_ns(cases[i].attempt), cases[i].seconds * DGO_NS_PER_S,
                      cases[i].name);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(test_delays)};

CHECK_MAIN(tests)
