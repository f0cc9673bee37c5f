/* test_process.c - the life of a child: lines before the exit, exit once, the stop ladder, garbage,
 * floods, and what the child is given. */
#include "loop.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const struct {
    const char *name;
    const char *mode;
    uint64_t lines, out_lines;
    struct dgo_exit want;
} ends[] = {
    {"no line, exit 0", "lines 0 0", 0, 0, {.code = 0}},
    {"no line, exit 1", "lines 0 1", 0, 0, {.code = 1}},
    {"lines on both streams", "lines 25 3", 28, 25, {.code = 3}},
    {"more lines than a turn takes", "lines 5000 255", 5500, 5000, {.code = 255}},
    {"killed by a stranger", "signal 9", 1, 1, {.signalled = true, .signal = SIGKILL}},
    {"aborted", "signal 6", 1, 1, {.signalled = true, .signal = SIGABRT}},
    {"segmentation fault", "signal 11", 1, 1, {.signalled = true, .signal = SIGSEGV}},
    {"unknown flag", "nonsense", 1, 0, {.code = 96}},
};

static void test_lines_then_exit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct life life;

        life_init(&life);
        life.free_inside = i % 2;
        life_start(&life, ends[i].mode, 0);
        loop_until(life.loop, &life.exited);
        CHECK_ROW_U64(life.line_count, ends[i].lines, ends[i].name);
        CHECK_ROW_U64(life.out_count, ends[i].out_lines, ends[i].name);
        CHECK_ROW_U64(life.exit.signalled, ends[i].want.signalled, ends[i].name);
        CHECK_ROW_U64(life.exit.code, ends[i].want.code, ends[i].name);
        CHECK_ROW_U64(life.exit.signal, ends[i].want.signal, ends[i].name);
        CHECK_ROW(!life.exit.stopped_by_us && !life.exit.killed, ends[i].name);
        life_done(&life);
    }
}

static const struct {
    const char *name;
    const char *mode;
    bool await_ready;
    int stops; /* calls of dgo_process_stop */
    uint64_t term_wait_ns;
    struct dgo_exit want;
    const char *last_line; /* NULL: any */
} stops[] = {
    {"ends in order", "polite", true, 1, 0, {.code = 3}, "o goodbye\n"},
    {"loses the first TERM", "forgetful", true, 1, 2 * DGO_NS_PER_S, {.code = 3}, "o goodbye\n"},
    {"dies by TERM", "hang", false, 1, 0, {.signalled = true, .signal = SIGTERM}, NULL},
    {"ignores TERM",
     "ignore-term",
     true,
     1,
     DGO_NS_PER_MS * 50,
     {.signalled = true, .signal = SIGKILL, .killed = true},
     NULL},
    {"second call kills",
     "ignore-term",
     true,
     2,
     3600 * DGO_NS_PER_S,
     {.signalled = true, .signal = SIGKILL, .killed = true},
     NULL},
    {"a family is killed whole",
     "family stay",
     true,
     1,
     0,
     {.signalled = true, .signal = SIGTERM},
     NULL},
};

static void test_the_stop_ladder(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        const char *name = stops[i].name;
        struct life life;

        life_init(&life);
        life.await = strncmp(stops[i].mode, "family", 6) ? "ready" : "complete";
        life_start(&life, stops[i].mode, stops[i].term_wait_ns);
        if (stops[i].await_ready)
            loop_until(life.loop, &life.seen);
        CHECK_ROW(dgo_process_running(life.process), name);
        for (int call = 0; call < stops[i].stops; call++)
            dgo_process_stop(life.process);
        loop_until(life.loop, &life.exited);
        CHECK_ROW_U64(life.exit.signalled, stops[i].want.signalled, name);
        CHECK_ROW_U64(life.exit.code, stops[i].want.code, name);
        CHECK_ROW_U64(life.exit.signal, stops[i].want.signal, name);
        CHECK_ROW_U64(life.exit.killed, stops[i].want.killed, name);
        CHECK_ROW(life.exit.stopped_by_us, name);
        CHECK_ROW(!stops[i].last_line || strstr(life.text, stops[i].last_line), name);
        dgo_process_stop(life.process); /* too late: harmless */
        life_done(&life);
    }
}

/* The log holds NULs, so strstr does not do. */
static bool log_has(const struct life *life, const char *text)
{
    return memmem(life->text, life->log.length, text, strlen(text)) != NULL;
}

static void test_garbage_is_cut_not_changed(void **state)
{
    static const char odd[] = "o a\0b\xff\xfe\x1b[31m\no xxx";
    struct life life;

    (void)state;
    life_init(&life);
    life_start(&life, "garbage", 0);
    loop_until(life.loop, &life.exited);
    /* 1 odd line, 10000 = 4096 + 4096 + 1808, two progress lines, one without an end */
    assert_int_equal(life.line_count, 1 + 3 + 2 + 1);
    assert_int_equal(life.byte_count, 10 + 10000 + 10 + 10 + 6);
    assert_memory_equal(life.text, odd, sizeof odd - 1);
    assert_true(log_has(&life, "x+\no x"));
    assert_true(log_has(&life, "o progress 1\no progress 2\no no end\n"));
    life_done(&life);
}

/* Somebody else on the loop, always ready again. */
static int count_turns(sd_event_source *source, uint64_t now_us, void *data)
{
    (void)now_us;
    ++*(uint64_t *)data;
    return sd_event_source_set_time_relative(source, 0);
}

static const struct {
    const char *name;
    const char *mode;
    uint64_t lines, bytes;
} floods[] = {
    {"10 MiB of lines", "flood 10485760 64", 163840, 163840 * 63},
    {"empty lines, more than a turn takes in one read", "flood 200000 1", 200000, 0},
};

static void test_a_flood_is_whole_and_starves_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        sd_event_source *other = NULL;
        uint64_t turns = 0;
        struct life life;

        life_init(&life);
        assert_true(sd_event_add_time_relative(life.loop, &other, CLOCK_MONOTONIC, 0, 1,
                                               count_turns, &turns) >= 0);
        assert_true(sd_event_source_set_enabled(other, SD_EVENT_ON) >= 0);
        life_start(&life, floods[i].mode, 0);
        loop_until(life.loop, &life.exited);
        CHECK_ROW_U64(life.line_count, floods[i].lines, floods[i].name);
        CHECK_ROW_U64(life.byte_count, floods[i].bytes, floods[i].name);
        CHECK_ROW_U64(life.exit.code, 0, floods[i].name);
        /* The other had its turns in between. */
        CHECK_ROW(turns >= floods[i].lines / DGO_LINES_PER_TURN / 2, floods[i].name);
        sd_event_source_disable_unref(other);
        life_done(&life);
    }
}

static const struct {
    const char *name;
    const char *path;
    const char *directory;
    enum dgo_status want;
    const char *sentence;
} failures[] = {
    {"no such file", "/nonexistent/engine", NULL, DGO_ENOTFOUND, "no program"},
    {"below a file", "/dev/null/engine", NULL, DGO_ENOTFOUND, "no program"},
    {"not executable", "/etc/passwd", NULL, DGO_EIO, "may not be executed"},
    {"a directory", "/usr", NULL, DGO_EIO, "may not be executed"},
    {"not searched on the PATH", "true", "/", DGO_ENOTFOUND, "no program"},
    {"no such directory", "/bin/true", "/nonexistent", DGO_ENOTFOUND, "in the directory"},
};

static void test_what_cannot_run_is_told_at_once(void **state)
{
    static const char *const environment[] = {NULL};

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        const char *argv[] = {failures[i].path, NULL};
        const struct dgo_process_options options = {
            .argv = argv, .environment = environment, .directory = failures[i].directory};
        struct dgo_process *process = NULL;
        struct dgo_error err = {0};
        sd_event *loop = NULL;

        assert_true(sd_event_new(&loop) >= 0);
        CHECK_ROW_U64(dgo_process_start(loop, &options, &process, &err), failures[i].want,
                      failures[i].name);
        CHECK_ROW(!process, failures[i].name);
        CHECK_ROW(strstr(err.text, failures[i].sentence), failures[i].name);
        sd_event_unref(loop);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
}

static void write_script(const char *path, const char *text, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_a_missing_interpreter_is_named_as_such(void **state)
{
    static const char *const environment[] = {NULL};
    char path[] = "/tmp/dgo-launch-XXXXXX";
    char script[64];
    struct dgo_process *process = NULL;
    struct dgo_error err = {0};
    sd_event *loop = NULL;

    (void)state;
    assert_non_null(mkdtemp(path));
    snprintf(script, sizeof script, "%s/engine", path);
    write_script(script, "#!/nonexistent/python3\n", 0700);
    assert_true(sd_event_new(&loop) >= 0);

    const char *argv[] = {script, NULL};
    const struct dgo_process_options options = {.argv = argv, .environment = environment};

    assert_int_equal(dgo_process_start(loop, &options, &process, &err), DGO_ENOTFOUND);
    assert_non_null(strstr(err.text, "interpreter"));
    sd_event_unref(loop);
    unlink(script);
    rmdir(path);
}

static void test_the_child_starts_clean(void **state)
{
    struct life life;
    sigset_t usr1;
    const int leaked = open("/dev/null", O_RDONLY); /* not close-on-exec, on purpose */

    (void)state;
    life_init(&life);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    assert_int_equal(sigprocmask(SIG_BLOCK, &usr1, NULL), 0);
    signal(SIGPIPE, SIG_IGN);
    life_start(&life, "inside", 0);
    loop_until(life.loop, &life.exited);
    assert_string_equal(life.text, "o open 0\no blocked 0\no ignored 0\no core 0\no stdin 0\n"
                                   "o group of the guard\no directory /\no variable ONLY=this\n");
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(sigprocmask(SIG_UNBLOCK, &usr1, NULL), 0);
    close(leaked);
    life_done(&life);
}

static bool wait_end(int pidfd)
{
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};

    return poll(&wait, 1, LOOP_DEADLINE_S * 1000) == 1;
}

static int open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void test_free_ends_a_running_child(void **state)
{
    struct life life;

    (void)state;
    life_init(&life);
    life.await = "ready";
    life_start(&life, "ignore-term", 0);
    loop_until(life.loop, &life.seen);

    const int pidfd = open_pidfd(dgo_process_pid(life.process));

    assert_true(pidfd >= 0);
    life_done(&life);
    assert_true(wait_end(pidfd));
    assert_false(life.exited); /* no callback comes after free */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    close(pidfd);
}

static pid_t pid_in(const char *text, const char *who, const char *which)
{
    const char *line = strstr(text, who);
    const char *number = line ? strstr(line, which) : NULL;

    assert_non_null(number);
    return (pid_t)strtol(number + strlen(which), NULL, 10);
}

/* Somebody kills the guard.  The engine dies with it; a descendant in another session escapes and
 * holds the pipes, and `exited` comes nevertheless. */
static void test_a_killed_guard_is_survived(void **state)
{
    struct life life;

    (void)state;
    life_init(&life);
    life.await = "complete";
    life_start(&life, "family stay", 0);
    loop_until(life.loop, &life.seen);

    const pid_t guard = pid_in(life.text, "o engine", "parent ");
    const pid_t away = pid_in(life.text, "o away", "away ");
    const int child_fd = open_pidfd(pid_in(life.text, "o child", "child "));

    assert_int_equal(kill(guard, SIGKILL), 0);
    loop_until(life.loop, &life.exited);
    assert_true(life.exit.signalled);
    assert_int_equal(life.exit.signal, SIGKILL);
    assert_true(wait_end(child_fd)); /* the group died with it */
    assert_int_equal(kill(away, SIGKILL), 0);
    close(child_fd);
    life_done(&life);
}

static void test_needs_a_program(void **state)
{
    static const char *const nothing[] = {NULL};
    struct dgo_process *process = NULL;
    struct dgo_error err = {0};
    sd_event *loop = NULL;

    (void)state;
    assert_true(sd_event_new(&loop) >= 0);
    assert_int_equal(
        dgo_process_start(loop,
                          &(struct dgo_process_options){.argv = nothing, .environment = nothing},
                          &process, &err),
        DGO_EINVAL);
    sd_event_unref(loop);
    dgo_process_free(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_lines_then_exit),
    cmocka_unit_test(test_the_stop_ladder),
    cmocka_unit_test(test_garbage_is_cut_not_changed),
    cmocka_unit_test(test_a_flood_is_whole_and_starves_nobody),
    cmocka_unit_test(test_what_cannot_run_is_told_at_once),
    cmocka_unit_test(test_a_missing_interpreter_is_named_as_such),
    cmocka_unit_test(test_the_child_starts_clean),
    cmocka_unit_test(test_free_ends_a_running_child),
    cmocka_unit_test(test_a_killed_guard_is_survived),
    cmocka_unit_test(test_needs_a_program),
};

CHECK_MAIN(tests)
