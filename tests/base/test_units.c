/* test_units.c - bytes, durations and rates, both ways. */
#include "check.h"
#include "dgo_units.h"

static void test_bytes_to_text(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *want, *want_mib;
    } rows[] = {
        {0, "0 B", "0.00 MiB"},
        {1023, "1023 B", "0.00 MiB"},
        {1024, "1.00 KiB", "0.00 MiB"},
        {DGO_MIB, "1.00 MiB", "1.00 MiB"},
        {25270681600, "23.54 GiB", "24100.00 MiB"},
        {UINT64_MAX, "16.00 EiB", "17592186044416.00 MiB"},
    };
    char text[DGO_UNIT_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(dgo_bytes_text(rows[i].bytes, text), rows[i].want);
        assert_string_equal(dgo_mib_text(rows[i].bytes, text), rows[i].want_mib);
    }
}

static void test_bytes_from_text(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t want;
    } rows[] = {
        {"0", true, 0},
        {"4096", true, 4096},
        {"512B", true, 512},
        {"512MiB", true, 512 * DGO_MIB},
        {"512 mib", true, 512 * DGO_MIB},
        {"24GiB", true, 24 * DGO_GIB},
        {"1.5g", true, 3 * DGO_GIB / 2},
        {"24GB", true, UINT64_C(24000000000)},
        {".5k", true, 512},
        {"1T", true, DGO_TIB},
        {"", false, 0},
        {"-1", false, 0},
        {" 1", false, 0},
        {"+1", false, 0},
        {"nan", false, 0},
        {"inf", false, 0},
        {"0x10", false, 0},
        {"1e400", false, 0},
        {"99999999999 TiB", false, 0},
        {"24 GiBs", false, 0},
        {"24 gigs", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t bytes = 77;
        struct dgo_error err = {0};
        const enum dgo_status status = dgo_bytes_parse(rows[i].text, &bytes, &err);

        CHECK_ROW((status == DGO_OK) == rows[i].good, rows[i].text);
        CHECK_ROW_U64(bytes, rows[i].good ? rows[i].want : 77, rows[i].text);
        CHECK_ROW(rows[i].good || strstr(err.text, "is not a size"), rows[i].text);
    }
}

static void test_durations(void **state)
{
    static const struct {
        uint64_t ns;
        const char *want;
    } texts[] = {
        {0, "0 ns"},
        {999, "999 ns"},
        {12300, "12.3 us"},
        {4500000, "4.5 ms"},
        {UINT64_C(1250000000), "1.25 s"},
        {185 * DGO_NS_PER_S, "3m05s"},
        {7800 * DGO_NS_PER_S, "2h10m"},
        {273600 * DGO_NS_PER_S, "3d04h"},
    };
    static const struct {
        const char *text;
        bool good;
        uint64_t want;
    } parses[] = {
        {"250ms", true, 250 * DGO_NS_PER_MS},
        {"90", true, 90 * DGO_NS_PER_S},
        {"30 s", true, 30 * DGO_NS_PER_S},
        {"1.5m", true, 90 * DGO_NS_PER_S},
        {"2h", true, 7200 * DGO_NS_PER_S},
        {"1d", true, 86400 * DGO_NS_PER_S},
        {"5 parsecs", false, 0},
        {"", false, 0},
        {"-5s", false, 0},
        {"1e30d", false, 0},
    };
    char text[DGO_UNIT_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_string_equal(dgo_duration_text(texts[i].ns, text), texts[i].want);
    for (size_t i = 0; i < sizeof parses / sizeof parses[0]; i++) {
        uint64_t ns = 0;

        CHECK_ROW((dgo_duration_parse(parses[i].text, &ns, NULL) == DGO_OK) == parses[i].good,
                  parses[i].text);
        CHECK_ROW_U64(ns, parses[i].want, parses[i].text);
    }
}

static void test_rates(void **state)
{
    char text[DGO_UNIT_TEXT_MAX];
    double rate = 0;

    (void)state;
    assert_string_equal(dgo_rate_text(936.2e9, text), "936 GB/s");
    assert_string_equal(dgo_rate_text(63.5e9, text), "63.5 GB/s");
    assert_string_equal(dgo_rate_text(0.55e9, text), "550.0 MB/s");
    assert_int_equal(dgo_rate_parse("936GB/s", &rate, NULL), DGO_OK);
    assert_true(rate == 936e9);
    assert_int_equal(dgo_rate_parse("550 MB/s", &rate, NULL), DGO_OK);
    assert_true(rate == 550e6);
    assert_int_equal(dgo_rate_parse("fast", &rate, NULL), DGO_EINVAL);
    assert_true(rate == 550e6);
}

static void test_numbers(void **state)
{
    struct dgo_error err = {0};
    uint64_t value = 7;

    (void)state;
    assert_int_equal(dgo_u64_parse("12", "--parallel", 1, 64, &value, &err), DGO_OK);
    assert_int_equal(value, 12);
    static const char *const bad[] = {"",   "-1", "1x", " 1", "0", "65", "99999999999999999999",
                                      "1.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_ROW(dgo_u64_parse(bad[i], "--parallel", 1, 64, &value, &err) == DGO_EINVAL, bad[i]);
    assert_int_equal(value, 12);
    assert_non_null(strstr(err.text, "--parallel: '1.0' is not a whole number from 1 to 64"));
}

static void test_what_is_printed_is_read_back(void **state)
{
    uint64_t random = check_seed();

    (void)state;
    for (int i = 0; i < 20000; i++) {
        const uint64_t bytes = check_random(&random) >> (1 + check_below(&random, 62));
        char text[DGO_UNIT_TEXT_MAX];
        uint64_t back = 0;

        dgo_bytes_text(bytes, text);
        if (strstr(text, "PiB") || strstr(text, "EiB"))
            continue; /* nobody types these */
        assert_int_equal(dgo_bytes_parse(text, &back, NULL), DGO_OK);
        const uint64_t off = back > bytes ? back - bytes : bytes - back;
        assert_true(off <= bytes / 150 + 1); /* two decimals of at least 1.00 */
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_bytes_to_text), cmocka_unit_test(test_bytes_from_text),
    cmocka_unit_test(test_durations),     cmocka_unit_test(test_rates),
    cmocka_unit_test(test_numbers),       cmocka_unit_test(test_what_is_printed_is_read_back),
};

CHECK_MAIN(tests)
