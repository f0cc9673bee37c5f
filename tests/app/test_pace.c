/* test_pace.c - looks are rarer only while an engine streams on a tight machine, and do not flap.
 */
#include "check.h"
#include "pace.h"

/* One letter a look: '.' neither, 't' tight alone, 's' streaming alone, 'b' both; and whether looks
 * are slow after it. */
static const struct {
    const char *name, *looks, *slow;
    uint64_t changes;
} rows[] = {
    {"idle", "....", "0000", 0},
    {"tight, but nothing streams", "tttt", "0000", 0},
    {"it streams, and there is room", "ssss", "0000", 0},
    {"slower at once", ".b", "01", 1},
    {"back after five calm looks", "bb.....", "1111110", 2},
    {"whichever of the two is over", "bstst.", "111110", 2},
    {"a calm look or two between requests change nothing", "b..b....b", "111111111", 1},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pace pace = {.normal_ns = 1000};

        for (size_t at = 0; rows[i].looks[at]; at++) {
            const char look = rows[i].looks[at];
            const uint64_t interval =
                pace_look(&pace, look == 't' || look == 'b', look == 's' || look == 'b');

            CHECK_ROW_U64(interval, rows[i].slow[at] == '1' ? 1000 * PACE_FACTOR : 1000,
                          rows[i].name);
        }
        CHECK_ROW_U64(pace.change_count, rows[i].changes, rows[i].name);
    }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

CHECK_MAIN(tests)
