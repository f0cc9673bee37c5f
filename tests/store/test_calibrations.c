/* test_calibrations.c - what was measured comes back for the card, quantisation and binary it was
 * measured with, else for the nearest. */
#include "dgo_store.h"
#include "folder_of_test.h"

static struct test_folder folder;
static struct dgo_store *store;

#define CARD_A "GPU-aaaa"
#define CARD_B "GPU-bbbb"
#define NAME   "NVIDIA GeForce RTX 3090"

static struct dgo_calibration_record record(const char *key, const char *quantisation,
                                            const char *hash, bool simulated, double rate)
{
    struct dgo_calibration_record made = {.made_ns = 1000,
                                          .build = 11669,
                                          .decode_bytes_per_s = rate,
                                          .layer_launch_s = 1e-5,
                                          .simulated = simulated};

    snprintf(made.device_key, sizeof made.device_key, "%s", key);
    snprintf(made.device_name, sizeof made.device_name, "%s", NAME);
    snprintf(made.quantisation, sizeof made.quantisation, "%s", quantisation);
    snprintf(made.binary_hash, sizeof made.binary_hash, "%s", hash);
    return made;
}

static void put(const char *key, const char *quantisation, const char *hash, bool simulated,
                double rate)
{
    const struct dgo_calibration_record made = record(key, quantisation, hash, simulated, rate);

    assert_int_equal(dgo_store_put_calibration(store, &made, NULL), DGO_OK);
}

static void test_a_record_comes_back(void **state)
{
    struct dgo_calibration_record got, made = record(CARD_A, "Q4_K", "h1", false, 7e11);

    (void)state;
    made.overhead_known = true;
    made.overhead_bytes = 314572800;
    assert_int_equal(dgo_store_put_calibration(store, &made, NULL), DGO_OK);
    assert_int_equal(dgo_store_find_calibration(store, &made, &got, NULL), DGO_OK);
    assert_int_equal(got.made_ns, 1000);
    assert_int_equal(got.build, 11669);
    assert_string_equal(got.quantisation, "Q4_K");
    assert_true(got.decode_bytes_per_s == 7e11 && got.layer_launch_s == 1e-5);
    assert_true(got.prompt_flops == 0); /* unknown stays unknown */
    assert_true(got.overhead_known);
    assert_int_equal(got.overhead_bytes, 314572800);
    made.decode_bytes_per_s = 8e11;
    made.overhead_known = false;
    assert_int_equal(dgo_store_put_calibration(store, &made, NULL), DGO_OK);
    assert_int_equal(dgo_store_find_calibration(store, &made, &got, NULL), DGO_OK);
    assert_true(got.decode_bytes_per_s == 8e11);
    assert_false(got.overhead_known);
}

static const struct {
    const char *name, *key, *quantisation, *hash;
    bool simulated;
    double want; /* 0: nothing is found */
} rows[] = {
    {"all of it", CARD_A, "Q4_K", "h1", false, 1},
    {"another quantisation, same binary", CARD_A, "Q8_0", "h1", false, 2},
    {"a quantisation that was not measured: the newest", CARD_A, "Q5_K", "h1", false, 2},
    {"another binary", CARD_A, "Q4_K", "h9", false, 1},
    {"a namesake", "GPU-cccc", "Q8_0", "h1", false, 2},
    {"a simulated card takes the real one's", "", "Q4_K", "h1", true, 1},
};

static void test_the_nearest_is_found(void **state)
{
    struct dgo_calibration_record got, like;

    (void)state;
    put(CARD_A, "Q4_K", "h1", false, 1);
    put(CARD_A, "Q8_0", "h1", false, 2);
    put(CARD_B, "Q4_K", "h2", false, 3);
    put(NAME, "Q4_K", "h1", true, 4);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        like = record(rows[i].key, rows[i].quantisation, rows[i].hash, rows[i].simulated, 0);
        CHECK_ROW_U64(dgo_store_find_calibration(store, &like, &got, NULL), DGO_OK, rows[i].name);
        CHECK_ROW(got.decode_bytes_per_s == rows[i].want, rows[i].name);
    }
}

static void test_pretend_cards_are_for_pretend_machines(void **state)
{
    struct dgo_calibration_record got, like = record(NAME, "Q4_K", "h1", false, 0);

    (void)state;
    put(NAME, "Q4_K", "h1", true, 4);
    assert_int_equal(dgo_store_find_calibration(store, &like, &got, NULL), DGO_ENOTFOUND);
    like.simulated = true;
    assert_int_equal(dgo_store_find_calibration(store, &like, &got, NULL), DGO_OK);
    assert_true(got.simulated);
}

static void test_the_oldest_go(void **state)
{
    struct dgo_calibration_record got, like;
    char hash[24];

    (void)state;
    for (uint32_t i = 0; i <= DGO_STORE_CALIBRATION_MAX; i++) {
        snprintf(hash, sizeof hash, "%u", i);
        put(CARD_A, "Q4_K", hash, false, 1 + i);
    }
    like = record(CARD_A, "Q4_K", "0", false, 0);
    assert_int_equal(dgo_store_find_calibration(store, &like, &got, NULL), DGO_OK);
    assert_string_not_equal(got.binary_hash, "0");
    like = record(CARD_A, "Q4_K", "1", false, 0);
    assert_int_equal(dgo_store_find_calibration(store, &like, &got, NULL), DGO_OK);
    assert_string_equal(got.binary_hash, "1");
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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_a_record_comes_back, open_store, close_store),
    cmocka_unit_test_setup_teardown(test_the_nearest_is_found, open_store, close_store),
    cmocka_unit_test_setup_teardown(test_pretend_cards_are_for_pretend_machines, open_store,
                                    close_store),
    cmocka_unit_test_setup_teardown(test_the_oldest_go, open_store, close_store),
};

CHECK_MAIN(tests)
