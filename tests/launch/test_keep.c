/* test_keep.c - an engine that is kept outlives our death: the next one of us takes it over, or it
 * ends after a bounded time. */
#include "loop.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct rig {
    char folder[64], socket[96], log[96];
    pid_t parent, engine;
    int out, pidfd; /* the parent's stdout; of the engine */
};

static void read_until(int fd, char *text, size_t size, const char *last)
{
    size_t length = 0;
    ssize_t got;

    do {
        got = read(fd, text + length, size - 1 - length);
        assert_true(got > 0);
        length += (size_t)got;
        text[length] = '\0';
    } while (!strstr(text, last) && length < size - 1);
}

/* A parent that keeps a stand-in which writes `ticks` lines. */
static void rig_start(struct rig *rig, const char *wait_ms, const char *ticks)
{
    char text[4096];
    int out[2];

    memset(rig, 0, sizeof *rig);
    strcpy(rig->folder, "/tmp/dgo-keep-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->socket, sizeof rig->socket, "%s/keep.sock", rig->folder);
    snprintf(rig->log, sizeof rig->log, "%s/log", rig->folder);
    assert_int_equal(pipe(out), 0);
    rig->parent = fork();
    if (rig->parent == 0) {
        const char *program = getenv("DGO_ORPHAN_PARENT");

        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execl(program, program, stand_in_path(), rig->socket, wait_ms, rig->log, "tick", ticks,
              (char *)NULL);
        _exit(127);
    }
    assert_true(rig->parent > 0);
    close(out[1]);
    rig->out = out[0];
    read_until(rig->out, text, sizeof text, "tick 3");
    rig->engine = (pid_t)strtol(strstr(text, "engine ") + strlen("engine "), NULL, 10);
    rig->pidfd = (int)syscall(SYS_pidfd_open, rig->engine, 0);
    assert_true(rig->pidfd >= 0);
}

static void rig_kill_parent(const struct rig *rig)
{
    assert_int_equal(kill(rig->parent, SIGKILL), 0);
    assert_int_equal(waitpid(rig->parent, NULL, 0), rig->parent);
}

static bool is_dead(const struct rig *rig, int wait_ms)
{
    struct pollfd wait = {.fd = rig->pidfd, .events = POLLIN};

    return poll(&wait, 1, wait_ms) == 1;
}

static void rig_done(struct rig *rig)
{
    close(rig->out);
    close(rig->pidfd);
    (void)unlink(rig->socket);
    (void)unlink(rig->log);
    assert_int_equal(rmdir(rig->folder), 0);
}

static enum dgo_status adopt(struct life *life, const struct rig *rig, struct dgo_error *err)
{
    const struct dgo_process_options options = {.keep = {.path = rig->socket, .log_fd = -1},
                                                .term_wait_ns = DGO_NS_PER_S,
                                                .line = life_line,
                                                .exited = life_exited,
                                                .data = life};

    return dgo_process_adopt(life->loop, &options, &life->process, err);
}

static long last_tick(const char *text)
{
    long tick = 0;

    for (const char *at = text; (at = strstr(at, "tick ")); at++)
        tick = strtol(at + strlen("tick "), NULL, 10);
    return tick;
}

static void read_log(const struct rig *rig, char *text, size_t size)
{
    const int fd = open(rig->log, O_RDONLY);
    const ssize_t got = fd >= 0 ? read(fd, text, size - 1) : -1;

    assert_true(got >= 0);
    text[got] = '\0';
    close(fd);
}

static void wait_for_log(const struct rig *rig, char *text, size_t size, long tick)
{
    for (int i = 0; i < LOOP_DEADLINE_S * 100; i++) {
        const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

        read_log(rig, text, size);
        if (last_tick(text) >= tick)
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("the log did not get to tick %ld", tick);
}

/* Lines go on in the log, then to the new one; a stop ends all; twice, for a second crash. */
static void test_the_next_one_takes_over(void **state)
{
    struct rig rig;
    struct life life;
    struct stat info;
    struct dgo_error err = {0};
    char text[8192];

    (void)state;
    rig_start(&rig, "60000", "0");
    assert_int_equal(stat(rig.socket, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    rig_kill_parent(&rig);
    wait_for_log(&rig, text, sizeof text, 10);
    life_init(&life);
    if (adopt(&life, &rig, &err) != DGO_OK)
        fail_msg("%s", err.text);
    assert_int_equal(dgo_process_pid(life.process), rig.engine);
    assert_true(dgo_process_running(life.process));
    while (last_tick(life.text) < 20)
        assert_true(sd_event_run(life.loop, 100000) >= 0);
    read_log(&rig, text, sizeof text);
    /* Not a line is lost between the log and us. */
    assert_int_equal(strtol(strstr(life.text, "tick ") + 5, NULL, 10), last_tick(text) + 1);

    dgo_process_leave(life.process); /* as if we died again */
    life.process = NULL;
    wait_for_log(&rig, text, sizeof text, 30);
    assert_false(is_dead(&rig, 0));
    if (adopt(&life, &rig, &err) != DGO_OK)
        fail_msg("%s", err.text);
    dgo_process_stop(life.process);
    loop_until(life.loop, &life.exited);
    assert_true(life.exit.signalled && life.exit.signal == SIGTERM && life.exit.stopped_by_us);
    assert_true(is_dead(&rig, 0));
    assert_int_not_equal(stat(rig.socket, &info), 0);
    life_done(&life);
    rig_done(&rig);
}

static void test_freeing_an_adopted_one_kills(void **state)
{
    struct rig rig;
    struct life life;

    (void)state;
    rig_start(&rig, "60000", "0");
    rig_kill_parent(&rig);
    life_init(&life);
    assert_int_equal(adopt(&life, &rig, NULL), DGO_OK);
    life_done(&life);
    assert_true(is_dead(&rig, 0));
    rig_done(&rig);
}

static void test_nobody_comes(void **state)
{
    struct rig rig;
    struct life life;
    struct stat info;

    (void)state;
    rig_start(&rig, "200", "0");
    rig_kill_parent(&rig);
    assert_true(is_dead(&rig, LOOP_DEADLINE_S * 1000));
    for (int i = 0; i < 500 && stat(rig.socket, &info) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    assert_int_not_equal(stat(rig.socket, &info), 0);
    life_init(&life);
    assert_int_equal(adopt(&life, &rig, NULL), DGO_ENOTFOUND);
    life_done(&life);
    rig_done(&rig);
}

static void test_the_engine_ends_meanwhile(void **state)
{
    struct rig rig;
    struct stat info;

    (void)state;
    rig_start(&rig, "60000", "12");
    rig_kill_parent(&rig);
    assert_true(is_dead(&rig, LOOP_DEADLINE_S * 1000));
    for (int i = 0; i < 500 && stat(rig.socket, &info) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    assert_int_not_equal(stat(rig.socket, &info), 0); /* nothing is left to be found */
    rig_done(&rig);
}

static void test_a_second_one_does_not_get_it(void **state)
{
    struct rig rig;
    struct life life;
    struct dgo_error err = {0};

    (void)state;
    rig_start(&rig, "60000", "0");
    life_init(&life);
    assert_int_equal(adopt(&life, &rig, &err), DGO_EBUSY);
    assert_non_null(strstr(err.text, "held by another"));
    assert_false(is_dead(&rig, 0));
    /* Who asked and went away does not get it later, and does not keep others from it. */
    rig_kill_parent(&rig);
    assert_int_equal(adopt(&life, &rig, NULL), DGO_OK);
    life_done(&life);
    assert_true(is_dead(&rig, 0));
    rig_done(&rig);
}

static void test_a_guard_that_is_killed_takes_its_engine_along(void **state)
{
    struct rig rig;
    struct life life;
    char path[64], line[256] = "";
    FILE *file;
    long parent = 0;

    (void)state;
    rig_start(&rig, "60000", "0");
    rig_kill_parent(&rig);
    life_init(&life);
    assert_int_equal(adopt(&life, &rig, NULL), DGO_OK);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)rig.engine);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_int_equal(sscanf(strrchr(line, ')') + 1, " %*c %ld", &parent), 1);
    assert_int_equal(kill((pid_t)parent, SIGKILL), 0);
    loop_until(life.loop, &life.exited);
    assert_true(life.exit.signalled);
    assert_true(is_dead(&rig, LOOP_DEADLINE_S * 1000));
    life_done(&life);
    (void)unlink(rig.socket);
    rig_done(&rig);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_next_one_takes_over),
    cmocka_unit_test(test_freeing_an_adopted_one_kills),
    cmocka_unit_test(test_nobody_comes),
    cmocka_unit_test(test_the_engine_ends_meanwhile),
    cmocka_unit_test(test_a_second_one_does_not_get_it),
    cmocka_unit_test(test_a_guard_that_is_killed_takes_its_engine_along),
};

CHECK_MAIN(tests)
