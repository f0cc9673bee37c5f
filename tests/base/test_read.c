/* test_read.c - the sticky reader: same answers from memory and file, first failure remembered. */
#include "check.h"
#include "dgo_read.h"

#include <unistd.h>

static int temporary_file(const void *data, size_t length)
{
    char path[] = "/tmp/dgo-read-XXXXXX";
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, data, length), (ssize_t)length);
    return fd;
}

static const unsigned char sample[] = {
    0x01, 0x02, 0x03, 0x78, 0x56, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
    0x00, 0x00, 0x80, 0x3f, 0,    0,    0,    0,    0,    0,    0xf0, 0x3f, 'x',  'y',
};

static void read_sample(struct dgo_reader *in)
{
    char text[2];

    assert_int_equal(dgo_read_u8(in), 1);
    assert_int_equal(dgo_read_u16(in), 0x0302);
    assert_int_equal(dgo_read_u32(in), 0x12345678);
    assert_int_equal(dgo_read_u64(in), UINT64_C(0x0123456789abcdef));
    assert_true(dgo_read_f32(in) == 1.0f);
    assert_true(dgo_read_f64(in) == 1.0);
    dgo_read_bytes(in, text, 2);
    assert_memory_equal(text, "xy", 2);
    assert_false(in->failed);
    assert_int_equal(in->left_bytes, 0);
    assert_int_equal(dgo_read_u32(in), 0);
    assert_true(in->failed);
    assert_int_equal(in->failed_pos, sizeof sample);
    assert_int_equal(in->errno_value, 0);
}

static void test_reads_memory(void **state)
{
    struct dgo_reader in;

    (void)state;
    dgo_read_memory(&in, sample, sizeof sample);
    read_sample(&in);
}

static void test_reads_file_across_its_buffer(void **state)
{
    const int fd = temporary_file(sample, sizeof sample);
    unsigned char buffer[16]; /* smaller than the data, so fields straddle refills */
    struct dgo_reader in;

    (void)state;
    dgo_read_file(&in, fd, sizeof sample, buffer, sizeof buffer);
    read_sample(&in);
    close(fd);
}

static void test_failure_is_sticky(void **state)
{
    unsigned char byte = 0xff;
    struct dgo_reader in;

    (void)state;
    dgo_read_memory(&in, sample, 3);
    assert_int_equal(dgo_read_u32(&in), 0);
    assert_true(in.failed);
    assert_int_equal(dgo_read_u8(&in), 0); /* though a byte is there */
    dgo_read_bytes(&in, &byte, 1);
    assert_int_equal(byte, 0);
    dgo_read_skip(&in, 1);
    assert_int_equal(in.failed_pos, 3);
}

static void test_skip(void **state)
{
    struct dgo_reader in;

    (void)state;
    dgo_read_memory(&in, sample, sizeof sample);
    dgo_read_skip(&in, 27);
    assert_int_equal(dgo_read_u8(&in), 'x');
    dgo_read_skip(&in, UINT64_MAX);
    assert_true(in.failed);
    assert_int_equal(in.failed_pos, sizeof sample);
}

static void test_a_file_cut_while_read_is_an_error(void **state)
{
    const int fd = temporary_file(sample, sizeof sample);
    unsigned char buffer[16];
    struct dgo_reader in;

    (void)state;
    dgo_read_file(&in, fd, 1000, buffer, sizeof buffer);
    dgo_read_skip(&in, sizeof sample);
    assert_int_equal(dgo_read_u8(&in), 0);
    assert_true(in.failed);
    assert_int_equal(in.failed_pos, sizeof sample);
    close(fd);
}

static void test_a_read_error_keeps_errno(void **state)
{
    unsigned char buffer[16];
    struct dgo_reader in;

    (void)state;
    dgo_read_file(&in, 9999, 1000, buffer, sizeof buffer);
    assert_int_equal(dgo_read_u8(&in), 0);
    assert_true(in.failed);
    assert_int_not_equal(in.errno_value, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reads_memory),
    cmocka_unit_test(test_reads_file_across_its_buffer),
    cmocka_unit_test(test_failure_is_sticky),
    cmocka_unit_test(test_skip),
    cmocka_unit_test(test_a_file_cut_while_read_is_an_error),
    cmocka_unit_test(test_a_read_error_keeps_errno),
};

CHECK_MAIN(tests)
