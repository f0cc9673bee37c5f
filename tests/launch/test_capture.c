/* test_capture.c - probes: what a program says of itself, and what when it does not end. */
#include "loop.h"

#include <sys/resource.h>

static const struct {
    const char *name;
    const char *argv[5]; /* [0] NULL: the stand-in */
    uint64_t timeout_ns;
    size_t output_size;
    enum dgo_status want;
    int exit_code;
    const char *output;   /* on success */
    const char *sentence; /* on failure */
} cases[] = {
    {"says something",
     {NULL, "lines", "2", "0"},
     60 * DGO_NS_PER_S,
     256,
     DGO_OK,
     0,
     "error 0\nline 0\nline 1\n",
     NULL},
    {"fails with words",
     {NULL, "lines", "1", "5"},
     60 * DGO_NS_PER_S,
     256,
     DGO_OK,
     5,
     "error 0\nline 0\n",
     NULL},
    {"more than there is room for",
     {NULL, "flood", "1000000", "10"},
     60 * DGO_NS_PER_S,
     16,
     DGO_OK,
     0,
     "000000000\n00000",
     NULL},
    {"room for nothing", {NULL, "lines", "9", "0"}, 60 * DGO_NS_PER_S, 1, DGO_OK, 0, "", NULL},
    {"leaves children behind that hold the pipe",
     {NULL, "family", "leave"},
     60 * DGO_NS_PER_S,
     256,
     DGO_OK,
     7,
     NULL,
     NULL},
    {"dies",
     {NULL, "signal", "6"},
     60 * DGO_NS_PER_S,
     256,
     DGO_ECHILD,
     0,
     NULL,
     "signal 6 (Aborted); it had written: about to die"},
    {"hangs", {NULL, "hang"}, DGO_NS_PER_MS * 30, 256, DGO_ETIMEOUT, 0, NULL, "within 30.0 ms"},
    {"hangs with closed streams",
     {NULL, "silent"},
     DGO_NS_PER_MS * 30,
     256,
     DGO_ETIMEOUT,
     0,
     NULL,
     "killed"},
    {"ignores TERM",
     {NULL, "ignore-term"},
     DGO_NS_PER_MS * 30,
     256,
     DGO_ETIMEOUT,
     0,
     NULL,
     "killed"},
    {"floods for ever",
     {NULL, "flood", "1000000000000", "64"},
     DGO_NS_PER_MS * 30,
     256,
     DGO_ETIMEOUT,
     0,
     NULL,
     "killed"},
    {"no time at all", {NULL, "hang"}, 0, 256, DGO_ETIMEOUT, 0, NULL, "killed"},
    {"is not there",
     {"/nonexistent/engine"},
     60 * DGO_NS_PER_S,
     256,
     DGO_ENOTFOUND,
     0,
     NULL,
     "no program"},
};

static void check_case(size_t row)
{
    static const char *const environment[] = {NULL};
    const char *name = cases[row].name;
    const char *argv[6] = {0};
    char output[256] = "old";
    int exit_code = -1;
    struct dgo_error err = {0};

    memcpy(argv, cases[row].argv, sizeof cases[row].argv);
    if (!argv[0])
        argv[0] = stand_in_path();
    CHECK_ROW_U64(dgo_process_capture(argv, environment, cases[row].timeout_ns, output,
                                      cases[row].output_size, &exit_code, &err),
                  cases[row].want, name);
    if (cases[row].want == DGO_OK) {
        CHECK_ROW_U64(exit_code, cases[row].exit_code, name);
        CHECK_ROW(!cases[row].output || !strcmp(output, cases[row].output), name);
    } else {
        if (!strstr(err.text, cases[row].sentence))
            print_error("%s\n", err.text);
        CHECK_ROW(strstr(err.text, cases[row].sentence), name);
        CHECK_ROW_U64(exit_code, -1, name);
    }
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(i);
}

/* NULs would hide what follows them. */
static void test_nul_bytes_do_not_cut(void **state)
{
    static const char *const environment[] = {NULL};
    const char *argv[] = {stand_in_path(), "garbage", NULL};
    char output[64];
    int exit_code = -1;

    (void)state;
    assert_int_equal(dgo_process_capture(argv, environment, 60 * DGO_NS_PER_S, output,
                                         sizeof output, &exit_code, NULL),
                     DGO_OK);
    assert_int_equal(strlen(output), sizeof output - 1);
    assert_memory_equal(output, "a b\xff\xfe", 5);
}

/* Each stream cut by itself, and a program that writes to one of them alone. */
static void test_streams_apart(void **state)
{
    static const char *const environment[] = {NULL};
    static const struct {
        const char *name, *script, *output, *errors;
    } rows[] = {
        {"both, in turns", "printf a; printf b >&2; printf c; printf d >&2", "ac", "bd"},
        {"output alone", "printf abc", "abc", ""},
        {"errors alone", "printf abc >&2", "", "abc"},
        {"each too long", "printf 0123456789; printf abcdefghij >&2", "0123456", "abc"},
        {"one closed long before the other", "exec 2>&-; sleep 0.1; printf a", "a", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const argv[] = {"/bin/sh", "-c", rows[i].script, NULL};
        char output[8] = "old", errors[4] = "old";
        const struct dgo_capture_options options = {.argv = argv,
                                                    .environment = environment,
                                                    .timeout_ns = 60 * DGO_NS_PER_S,
                                                    .errors = errors,
                                                    .errors_size = sizeof errors};
        int exit_code = -1;

        CHECK_ROW_U64(
            dgo_process_capture_limited(&options, output, sizeof output, &exit_code, NULL), DGO_OK,
            rows[i].name);
        CHECK_ROW(strcmp(output, rows[i].output) == 0, rows[i].name);
        CHECK_ROW(strcmp(errors, rows[i].errors) == 0, rows[i].name);
    }
}

/* coreutils tell what they run under. */
static const struct {
    const char *name, *program;
    int nice;
    uint32_t core_count;
    const char *want;
} limits[] = {
    {"niceness", "/usr/bin/nice", 7, 0, "7\n"},
    {"niceness has an end", "/usr/bin/nice", 100, 0, "19\n"},
    {"one core", "/usr/bin/nproc", 0, 1, "1\n"},
    {"both", "/usr/bin/nproc", 3, 1, "1\n"},
};

static void test_limits(void **state)
{
    static const char *const environment[] = {NULL};

    (void)state;
    if (getpriority(PRIO_PROCESS, 0) != 0) {
        print_message("# left out: whoever runs the tests is nice already\n");
        return;
    }
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const char *const argv[] = {limits[i].program, NULL};
        const struct dgo_capture_options options = {.argv = argv,
                                                    .environment = environment,
                                                    .timeout_ns = 60 * DGO_NS_PER_S,
                                                    .nice = limits[i].nice,
                                                    .core_count = limits[i].core_count};
        char output[64];
        int exit_code = -1;

        CHECK_ROW_U64(
            dgo_process_capture_limited(&options, output, sizeof output, &exit_code, NULL), DGO_OK,
            limits[i].name);
        CHECK_ROW(strcmp(output, limits[i].want) == 0, limits[i].name);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_cases),
    cmocka_unit_test(test_streams_apart),
    cmocka_unit_test(test_limits),
    cmocka_unit_test(test_nul_bytes_do_not_cut),
};

CHECK_MAIN(tests)
