/* The books that all users of the pretend cards share: seen by others, given back on any death. */
#include "check.h"

#include "usage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static char path[] = "/tmp/pretend-usage-XXXXXX";

static struct pretend_usage *books(void)
{
    char error[256] = "";
    struct pretend_usage *usage = pretend_usage_open(path, error, sizeof(error));

    if (!usage)
        print_error("%s\n", error);
    assert_non_null(usage);
    return usage;
}

static int make_file(void **state)
{
    const int fd = mkstemp(path);

    (void)state;
    if (fd < 0)
        return -1;
    return close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    return 0;
}

/* A child that takes `mib` of card 1, says so by a byte on the pipe, and waits to be ended. */
static pid_t start_holder(uint64_t mib)
{
    int ready[2];
    char said = 0;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char error[256];
        struct pretend_usage *usage = pretend_usage_open(path, error, sizeof(error));
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failing assertion leaves nobody behind */
        const bool took = usage && pretend_usage_take(usage, 1, mib * MIB, 100 * MIB, UINT64_MAX);
        if (write(ready[1], took ? "y" : "n", 1) != 1)
            _exit(1);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &said, 1), 1);
    assert_int_equal(said, 'y');
    close(ready[0]);
    return pid;
}

static void end_holder(pid_t pid, int signal_number)
{
    int status;

    assert_int_equal(kill(pid, signal_number), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static uint64_t word_of_file(unsigned index)
{
    uint64_t word = 0;
    const int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &word, sizeof(word), (off_t)(index * sizeof(word))), sizeof(word));
    close(fd);
    return word;
}

static void takes_and_gives(void **state)
{
    struct pretend_usage *usage = books();

    (void)state;
    assert_true(pretend_usage_take(usage, 1, 60 * MIB, 100 * MIB, UINT64_MAX));
    assert_false(pretend_usage_take(usage, 1, 41 * MIB, 100 * MIB, UINT64_MAX));
    assert_true(pretend_usage_take(usage, 1, 40 * MIB, 100 * MIB, UINT64_MAX));
    assert_true(pretend_usage_take(usage, 0, 100 * MIB, 100 * MIB, UINT64_MAX));
    assert_int_equal(word_of_file(0), 100 * MIB);
    assert_int_equal(word_of_file(1), 100 * MIB);
    pretend_usage_give(usage, 1, 60 * MIB);
    assert_int_equal(pretend_usage_total(usage, 1), 40 * MIB);
    assert_int_equal(word_of_file(1), 40 * MIB);
    pretend_usage_give(usage, 1, 400 * MIB); /* more than was taken */
    assert_int_equal(pretend_usage_total(usage, 1), 0);
    pretend_usage_close(usage);
}

static void limits_one_process(void **state)
{
    struct pretend_usage *usage = books();

    (void)state;
    assert_true(pretend_usage_take(usage, 0, 20 * MIB, 100 * MIB, 30 * MIB));
    assert_false(pretend_usage_take(usage, 0, 11 * MIB, 100 * MIB, 30 * MIB));
    assert_true(pretend_usage_take(usage, 0, 10 * MIB, 100 * MIB, 30 * MIB));
    pretend_usage_close(usage);
}

static void others_see_it_and_death_gives_it_back(void **state)
{
    static const int deaths[] = {SIGTERM, SIGKILL};
    struct pretend_usage *usage = books();

    (void)state;
    for (size_t i = 0; i < sizeof(deaths) / sizeof(*deaths); i++) {
        const pid_t holder = start_holder(70);
        struct pretend_use uses[PRETEND_PROCESSES_MAX];

        assert_int_equal(pretend_usage_total(usage, 1), 70 * MIB);
        assert_int_equal(word_of_file(1), 70 * MIB);
        assert_int_equal(pretend_usage_processes(usage, 1, uses), 1);
        assert_int_equal(uses[0].pid, holder);
        assert_int_equal(uses[0].bytes, 70 * MIB);
        assert_int_equal(pretend_usage_processes(usage, 0, uses), 0);
        assert_false(pretend_usage_take(usage, 1, 31 * MIB, 100 * MIB, UINT64_MAX));
        end_holder(holder, deaths[i]);
        assert_int_equal(pretend_usage_total(usage, 1), 0);
        assert_int_equal(word_of_file(1), 0);
        assert_true(pretend_usage_take(usage, 1, 31 * MIB, 100 * MIB, UINT64_MAX));
        pretend_usage_give(usage, 1, 31 * MIB);
    }
    pretend_usage_close(usage);
}

static void a_zombie_holds_nothing(void **state)
{
    struct pretend_usage *usage = books();
    const pid_t holder = start_holder(50);
    siginfo_t info;

    (void)state;
    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)holder, &info, WEXITED | WNOWAIT), 0); /* dead, unreaped */
    assert_int_equal(pretend_usage_total(usage, 1), 0);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    pretend_usage_close(usage);
}

static void a_full_table_refuses(void **state)
{
    struct pretend_usage *usage = books();
    pid_t holder[PRETEND_PROCESSES_MAX];

    (void)state;
    for (int i = 0; i < PRETEND_PROCESSES_MAX; i++)
        holder[i] = start_holder(1);
    assert_int_equal(pretend_usage_total(usage, 1), PRETEND_PROCESSES_MAX * MIB);
    assert_false(pretend_usage_take(usage, 1, MIB, 100 * MIB, UINT64_MAX));
    for (int i = 0; i < PRETEND_PROCESSES_MAX; i++)
        end_holder(holder[i], SIGKILL);
    assert_true(pretend_usage_take(usage, 1, MIB, 100 * MIB, UINT64_MAX));
    assert_int_equal(pretend_usage_total(usage, 1), MIB);
    pretend_usage_close(usage);
}

static void a_file_of_rubbish_heals(void **state)
{
    const int fd = open(path, O_WRONLY);
    char rubbish[4096];
    struct pretend_usage *usage;

    (void)state;
    memset(rubbish, 0xa5, sizeof(rubbish));
    assert_int_equal(write(fd, rubbish, sizeof(rubbish)), sizeof(rubbish));
    close(fd);
    usage = books();
    assert_int_equal(pretend_usage_total(usage, 1), 0);
    assert_int_equal(word_of_file(1), 0);
    pretend_usage_close(usage);
}

static void says_why_a_file_cannot_be_used(void **state)
{
    char error[256] = "";

    (void)state;
    assert_null(pretend_usage_open("/nonexistent/usage", error, sizeof(error)));
    assert_non_null(strstr(error, "/nonexistent/usage"));
    assert_non_null(strstr(error, strerror(ENOENT)));
}

static void private_books_need_no_file(void **state)
{
    char error[256] = "";
    struct pretend_usage *usage = pretend_usage_open(NULL, error, sizeof(error));

    (void)state;
    assert_non_null(usage);
    assert_true(pretend_usage_take(usage, 3, MIB, MIB, UINT64_MAX));
    assert_false(pretend_usage_take(usage, 3, 1, MIB, UINT64_MAX));
    assert_int_equal(pretend_usage_total(usage, 3), MIB);
    pretend_usage_close(usage);
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, make_file, remove_file)

static const struct CMUnitTest tests[] = {
    WITH_FILE(takes_and_gives),
    WITH_FILE(limits_one_process),
    WITH_FILE(others_see_it_and_death_gives_it_back),
    WITH_FILE(a_zombie_holds_nothing),
    WITH_FILE(a_full_table_refuses),
    WITH_FILE(a_file_of_rubbish_heals),
    cmocka_unit_test(says_why_a_file_cannot_be_used),
    cmocka_unit_test(private_books_need_no_file),
};

CHECK_MAIN(tests)
