/* test_probes.c - probes come back as they were put, for their binary only. */
#include "dgo_store.h"
#include "folder_of_test.h"

static struct test_folder folder;
static struct dgo_store *store;

static const char *hash_of(uint32_t number)
{
    static char hash[65];

    snprintf(hash, sizeof hash, "%064x", number);
    return hash;
}

static void fill(struct dgo_probe *probe, uint32_t build, uint32_t flag_count)
{
    memset(probe, 0, sizeof *probe);
    probe->build = build;
    snprintf(probe->version, sizeof probe->version, "version: %u (\"quoted\", 'too')", build);
    probe->flag_count = flag_count;
    for (uint32_t i = 0; i < flag_count; i++)
        snprintf(probe->flag[i], sizeof probe->flag[i], "--option-%024u", i);
}

static const struct {
    const char *name;
    uint32_t build, flag_count;
} cases[] = {
    {"nothing known", 0, 0},
    {"one flag", 10256, 1},
    {"as many as llama-server", 11669, 450},
    {"as many as there can be", UINT32_MAX, DGO_FLAG_MAX},
};

static void test_a_probe_comes_back(void **state)
{
    static struct dgo_probe put, got;

    (void)state;
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        fill(&put, cases[i].build, cases[i].flag_count);
        memset(&got, 0xee, sizeof got);
        CHECK_ROW_U64(dgo_store_put_probe(store, hash_of(i), &put, &err), DGO_OK, cases[i].name);
        CHECK_ROW_U64(dgo_store_get_probe(store, hash_of(i), &got, &err), DGO_OK, cases[i].name);
        CHECK_ROW(!memcmp(&put, &got, sizeof put), cases[i].name);
    }
}

static void test_only_for_its_binary(void **state)
{
    static struct dgo_probe put, got;
    struct dgo_error err = {0};

    (void)state;
    fill(&put, 7, 3);
    assert_int_equal(dgo_store_put_probe(store, hash_of(1000), &put, &err), DGO_OK);
    got.build = 99;
    assert_int_equal(dgo_store_get_probe(store, hash_of(1001), &got, &err), DGO_ENOTFOUND);
    assert_int_equal(dgo_store_get_probe(store, "", &got, &err), DGO_ENOTFOUND);
    assert_int_equal(dgo_store_get_probe(store, "' OR 1=1 --", &got, &err), DGO_ENOTFOUND);
    assert_int_equal(got.build, 99); /* written on success only */
}

static void test_the_last_put_counts(void **state)
{
    static struct dgo_probe put, got;

    (void)state;
    for (uint32_t build = 1; build <= 3; build++) {
        fill(&put, build, build);
        assert_int_equal(dgo_store_put_probe(store, hash_of(5), &put, NULL), DGO_OK);
    }
    assert_int_equal(dgo_store_get_probe(store, hash_of(5), &got, NULL), DGO_OK);
    assert_int_equal(got.build, 3);
    assert_int_equal(got.flag_count, 3);
}

static void test_the_oldest_go(void **state)
{
    static struct dgo_probe put, got;
    const uint32_t first = 100;

    (void)state;
    fill(&put, 1, 1);
    assert_int_equal(dgo_store_put_probe(store, hash_of(first), &put, NULL), DGO_OK);
    for (uint32_t i = 1; i < DGO_STORE_PROBE_MAX; i++) {
        assert_int_equal(dgo_store_put_probe(store, hash_of(first + i), &put, NULL), DGO_OK);
        assert_int_equal(dgo_store_put_probe(store, hash_of(first + i), &put, NULL), DGO_OK);
    }
    assert_int_equal(dgo_store_get_probe(store, hash_of(first), &got, NULL), DGO_OK);
    assert_int_equal(dgo_store_put_probe(store, hash_of(first + 999), &put, NULL), DGO_OK);
    assert_int_equal(dgo_store_get_probe(store, hash_of(first), &got, NULL), DGO_ENOTFOUND);
    assert_int_equal(dgo_store_get_probe(store, hash_of(first + 1), &got, NULL), DGO_OK);
}

static void test_a_line_end_in_a_flag_is_refused(void **state)
{
    static struct dgo_probe put;

    (void)state;
    fill(&put, 1, 2);
    put.flag[1][3] = '\n';
    assert_int_equal(dgo_store_put_probe(store, hash_of(1), &put, NULL), DGO_EINVAL);
}

static int open_store(void **state)
{
    (void)state;
    folder_make(&folder);
    return dgo_store_open(folder.path, &store, NULL, NULL) == DGO_OK ? 0 : -1;
}

static int close_store(void **state)
{
    (void)state;
    dgo_store_close(store);
    store = NULL;
    folder_remove(&folder);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

static const struct CMUnitTest tests[] = {
    TEST(test_a_probe_comes_back),
    TEST(test_only_for_its_binary),
    TEST(test_the_last_put_counts),
    TEST(test_the_oldest_go),
    TEST(test_a_line_end_in_a_flag_is_refused),
};

CHECK_MAIN(tests)
