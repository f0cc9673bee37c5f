/* test_hash.c - known digests (FIPS 180-2's examples among them), and files that are none. */
#include "check.h"
#include "dgo_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/dgo-hash-XXXXXX";

static const struct {
    const char *name;
    const char *piece;
    uint32_t repeats;
    const char *want;
} cases[] = {
    {"empty", "", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"a million letters", "aaaaaaaaaa", 100000,
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void test_known_digests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[64], hex[65];
        struct dgo_error err = {0};

        snprintf(path, sizeof path, "%s/file", folder);

        FILE *file = fopen(path, "w");

        assert_non_null(file);
        for (uint32_t n = 0; n < cases[i].repeats; n++)
            fputs(cases[i].piece, file);
        assert_int_equal(fclose(file), 0);
        CHECK_ROW_U64(dgo_file_hash(path, hex, &err), DGO_OK, cases[i].name);
        CHECK_ROW(!strcmp(hex, cases[i].want), cases[i].name);
        unlink(path);
    }
}

static void test_what_is_no_file_is_refused(void **state)
{
    char fifo[64];
    const struct {
        const char *name;
        const char *path;
        enum dgo_status want;
    } refused[] = {
        {"missing", "/nonexistent/file", DGO_ENOTFOUND},
        {"below a file", "/dev/null/file", DGO_ENOTFOUND},
        {"a folder", folder, DGO_EINVAL},
        {"a device without an end", "/dev/zero", DGO_EINVAL},
        {"a pipe nobody writes to", fifo, DGO_EINVAL},
    };

    (void)state;
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char hex[65] = "untouched";
        struct dgo_error err = {0};

        CHECK_ROW_U64(dgo_file_hash(refused[i].path, hex, &err), refused[i].want, refused[i].name);
        CHECK_ROW(strstr(err.text, refused[i].path), refused[i].name);
        CHECK_ROW(!strcmp(hex, "untouched"), refused[i].name);
    }
    unlink(fifo);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_known_digests),
    cmocka_unit_test(test_what_is_no_file_is_refused),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
