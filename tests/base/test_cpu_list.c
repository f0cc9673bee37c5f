/* test_cpu_list.c - the kernel's lists of CPUs, and what is none. */
#include "check.h"
#include "cpu_list.h"

static void test_lists(void **state)
{
    static const struct {
        const char *name, *list;
        uint32_t count, in_set;
    } rows[] = {
        {"one", "0", 1, 1},
        {"a range", "0-15", 16, 16},
        {"two ranges", "0-15,32-47", 32, 32},
        {"a line", "0,2,4\n", 3, 3},
        {"the first line", "0-3\n8-9\n", 4, 4},
        {"overlapping", "0-3,2-5", 8, 6},
        {"the last of the set", "1023", 1, 1},
        {"beyond the set", "1022-1025", 4, 2},
        {"empty", "", 0, 0},
        {"an empty line", "\n", 0, 0},
        {"more than there are", "0-1048576", 0, 0},
        {"more than a number holds", "0-99999999999999999999", 0, 0},
        {"backwards", "5-2", 0, 0},
        {"open", "3-", 0, 0},
        {"no begin", "-3", 0, 0},
        {"comma at the end", "0-3,", 0, 0},
        {"two commas", "0,,2", 0, 0},
        {"a wrong end after a right begin", "0-3;", 0, 0},
        {"words", "all", 0, 0},
        {"blanks", "0, 1", 0, 0},
        {"signs", "+1", 0, 0},
        {"a sign in a range", "1-+2", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(77, &cpus); /* what was in it before is gone */
        CHECK_ROW_U64(cpu_list_read(rows[i].list, &cpus), rows[i].count, rows[i].name);
        CHECK_ROW_U64((uint64_t)CPU_COUNT(&cpus), rows[i].in_set, rows[i].name);
        CHECK_ROW_U64(cpu_list_read(rows[i].list, NULL), rows[i].count, rows[i].name);
    }
}

/* Ranges that each are small enough, and all together more than any machine has. */
static void test_a_long_list_ends(void **state)
{
    char list[2048];
    size_t length = 0;

    (void)state;
    while (length + 16 < sizeof list)
        length += (size_t)snprintf(list + length, sizeof list - length, "0-1000000,");
    list[length - 1] = '\0';
    assert_int_equal(cpu_list_read(list, NULL), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_lists),
    cmocka_unit_test(test_a_long_list_ends),
};

CHECK_MAIN(tests)
