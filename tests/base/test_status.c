/* test_status.c - the status table is whole and sentences are cut visibly. */
#include "check.h"
#include "dgo_base.h"

#include <errno.h>

static void test_every_status_has_name_sentence_and_exit(void **state)
{
    (void)state;
    for (int i = 0; i < DGO_STATUS_COUNT; i++) {
        const enum dgo_status status = (enum dgo_status)i;

        assert_int_equal(strncmp(dgo_status_name(status), "DGO_", 4), 0);
        assert_true(strlen(dgo_status_sentence(status)) > 3);
        assert_in_range(dgo_status_exit(status), 0, 3);
        assert_int_equal(dgo_status_exit(status) == 0, status == DGO_OK);
    }
    assert_int_equal(dgo_status_exit(DGO_EUSAGE), 2);
    assert_int_equal(dgo_status_exit(DGO_ENOFIT), 3);
    assert_string_equal(dgo_status_name((enum dgo_status)999), "unknown");
    assert_int_equal(dgo_status_exit((enum dgo_status)999), 1);
}

static void test_fail_writes_and_returns(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(dgo_fail(&err, DGO_EFORMAT, "byte %d: %s", 12, "bad"), DGO_EFORMAT);
    assert_int_equal(err.status, DGO_EFORMAT);
    assert_string_equal(err.text, "byte 12: bad");
    assert_int_equal(dgo_fail(NULL, DGO_EIO, "nobody listens"), DGO_EIO);
    assert_int_equal(dgo_fail_errno(&err, DGO_EIO, ENOENT, "cannot open %s", "x"), DGO_EIO);
    assert_string_equal(err.text, "cannot open x: No such file or directory");
    assert_int_equal(dgo_error_prefix(&err, DGO_EIO, "machine %d", 1), DGO_EIO);
    assert_string_equal(err.text, "machine 1: cannot open x: No such file or directory");
    assert_int_equal(dgo_error_prefix(NULL, DGO_EBUSY, "x"), DGO_EBUSY);
}

static void test_long_sentences_end_in_dots(void **state)
{
    char long_text[2 * DGO_ERROR_TEXT_MAX];
    struct dgo_error err = {0};

    (void)state;
    memset(long_text, 'a', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    dgo_fail(&err, DGO_EIO, "%s", long_text);
    assert_int_equal(strlen(err.text), DGO_ERROR_TEXT_MAX - 1);
    assert_string_equal(err.text + DGO_ERROR_TEXT_MAX - 4, "...");
    dgo_error_prefix(&err, DGO_EIO, "%s", long_text);
    assert_string_equal(err.text + DGO_ERROR_TEXT_MAX - 4, "...");
}

static void test_pad(void **state)
{
    static const struct {
        const char *name;
        uint64_t value, to, want;
    } rows[] = {
        {"zero", 0, 256, 0},
        {"already a multiple", 512, 256, 512},
        {"one above", 513, 256, 768},
        {"one below", 511, 256, 512},
        {"saturates", UINT64_MAX, 256, UINT64_MAX - 255},
        {"last that fits", UINT64_MAX - 255, 256, UINT64_MAX - 255},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_ROW_U64(dgo_pad_u64(rows[i].value, rows[i].to), rows[i].want, rows[i].name);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_status_has_name_sentence_and_exit),
    cmocka_unit_test(test_fail_writes_and_returns),
    cmocka_unit_test(test_long_sentences_end_in_dots),
    cmocka_unit_test(test_pad),
};

CHECK_MAIN(tests)
