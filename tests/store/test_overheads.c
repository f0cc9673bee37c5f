/* test_overheads.c - what launches took comes back for the same card, driver and engine, newest
 * first, bounded; a launch's row is replaced by what it holds later. */
#include "dgo_store.h"
#include "folder_of_test.h"

static struct test_folder folder;
static struct dgo_store *store;

static struct dgo_overhead_record record(uint64_t launch_ns, const char *key, const char *driver,
                                         const char *hash, uint64_t bytes)
{
    struct dgo_overhead_record made = {
        .launch_ns = launch_ns, .ready_bytes = bytes, .bytes = bytes, .by_process = true};

    snprintf(made.device_key, sizeof made.device_key, "%s", key);
    snprintf(made.device_name, sizeof made.device_name, "NVIDIA GeForce RTX 3090");
    snprintf(made.driver, sizeof made.driver, "%s", driver);
    snprintf(made.binary_hash, sizeof made.binary_hash, "%s", hash);
    return made;
}

static void put(const struct dgo_overhead_record *made)
{
    assert_int_equal(dgo_store_put_overhead(store, made, NULL), DGO_OK);
}

static uint32_t find(const char *driver, const char *hash, struct dgo_overhead_record found[8])
{
    const struct dgo_overhead_record like = record(0, "GPU-a", driver, hash, 0);
    uint32_t count = 99;

    assert_int_equal(dgo_store_find_overheads(store, &like, found, 8, &count, NULL), DGO_OK);
    return count;
}

static void test_found_again(void **state)
{
    struct dgo_overhead_record found[8];
    struct dgo_overhead_record made[] = {
        record(1, "GPU-a", "550", "h1", 100), record(3, "GPU-b", "550", "h1", 300),
        record(2, "GPU-a", "550", "h1", 200), record(4, "GPU-a", "560", "h1", 400),
        record(5, "GPU-a", "550", "h2", 500)};

    (void)state;
    assert_int_equal(find("550", "h1", found), 0);
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        put(&made[i]);
    assert_int_equal(find("550", "h1", found), 3);
    assert_int_equal(found[0].launch_ns, 3);
    assert_string_equal(found[0].device_key, "GPU-b");
    assert_int_equal(found[1].bytes, 200);
    assert_int_equal(found[2].bytes, 100);
    assert_true(found[2].by_process);
    assert_int_equal(find("560", "h1", found), 1);
    assert_int_equal(find("550", "h3", found), 0);
}

static void test_held_later(void **state)
{
    struct dgo_overhead_record found[8], made = record(7, "GPU-a", "550", "h1", 100);

    (void)state;
    put(&made);
    made.bytes = 180;
    put(&made);
    assert_int_equal(find("550", "h1", found), 1);
    assert_int_equal(found[0].ready_bytes, 100);
    assert_int_equal(found[0].bytes, 180);
}

static void test_bounded(void **state)
{
    struct dgo_overhead_record found[8];

    (void)state;
    for (uint64_t i = 1; i <= DGO_STORE_OVERHEAD_MAX + 3; i++) {
        const struct dgo_overhead_record made =
            record(i, "GPU-a", "550", i <= 8 ? "old" : "new", i);

        put(&made);
    }
    assert_int_equal(find("550", "old", found), 5); /* the oldest three are gone */
    assert_int_equal(found[4].launch_ns, 4);
    assert_int_equal(find("550", "new", found), 8);
    assert_int_equal(found[0].launch_ns, DGO_STORE_OVERHEAD_MAX + 3);
}

static int set_up(void **state)
{
    char notice[DGO_STORE_NOTICE_MAX];

    (void)state;
    folder_make(&folder);
    assert_int_equal(dgo_store_open(folder.path, &store, notice, NULL), DGO_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dgo_store_close(store);
    folder_remove(&folder);
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_found_again, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_held_later, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_bounded, set_up, tear_down),
};

CHECK_MAIN(tests)
