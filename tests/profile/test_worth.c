/* test_worth.c - whose memory could be had, and what it is worth. */
#include "check.h"
#include "dgo_worth.h"

#include <math.h>

static void test_freeable(void **state)
{
    static const struct {
        const char *name;
        uint32_t pid;
        bool role_known;
        enum dgo_process_role role;
        double used_mib;
    } entries[] = {
        {"card", 0, false, DGO_ROLE_OTHER, 20000},   {"llama", 1, true, DGO_ROLE_ENGINE, 9000},
        {"who", 2, false, DGO_ROLE_OTHER, 4000},     {"desktop", 3, true, DGO_ROLE_DESKTOP, 300},
        {"browser", 4, true, DGO_ROLE_BROWSER, 800}, {"tiny", 5, true, DGO_ROLE_OTHER, 0.5},
        {"ours", 6, true, DGO_ROLE_OURS, 10},        {"game", 7, true, DGO_ROLE_OTHER, 500},
    };
    static const char *const want[] = {"browser", "game", "desktop", "who"};
    static struct dgo_snapshot snapshot;
    struct dgo_freeable row[8];
    uint32_t count;

    (void)state;
    for (uint32_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        struct dgo_snapshot_entry *entry = &snapshot.entry[snapshot.count++];

        *entry = (struct dgo_snapshot_entry){.pid = entries[i].pid,
                                             .role_known = entries[i].role_known,
                                             .role = entries[i].role,
                                             .used_mib = entries[i].used_mib};
        snprintf(entry->name, sizeof entry->name, "%s", entries[i].name);
    }
    count = dgo_freeable_find(&snapshot, row, 8);
    assert_int_equal(count, 4);
    for (uint32_t i = 0; i < count; i++)
        assert_string_equal(row[i].name, want[i]);
    assert_int_equal(dgo_freeable_find(&snapshot, row, 2), 2);
    snapshot.count = 0;
    assert_int_equal(dgo_freeable_find(&snapshot, row, 8), 0);
}

static void test_worth(void **state)
{
    const struct dgo_worth worth = {.token_bytes = 128 << 10, .layer_bytes = 64 << 20};
    const struct dgo_worth unknown = {0};

    (void)state;
    assert_true(fabs(dgo_worth_tokens(&worth, 800) - 6400) < 1e-9);
    assert_true(fabs(dgo_worth_layers(&worth, 800) - 12.5) < 1e-9);
    assert_true(isnan(dgo_worth_tokens(&unknown, 800)));
    assert_true(isnan(dgo_worth_layers(&unknown, 800)));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_freeable),
    cmocka_unit_test(test_worth),
};
CHECK_MAIN(tests)
