/* test_orphans.c - nothing that an engine started outlives the engine or us, however we die. */
#include "loop.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The three processes of the stand-in's family: engine, a child in its group, one that left. */
enum { FAMILY = 3 };
static const char *const who[FAMILY] = {"engine ", "child ", "away "};

static pid_t pid_after(const char *text, const char *name)
{
    const char *line = strstr(text, name);

    return line ? (pid_t)strtol(line + strlen(name), NULL, 10) : -1;
}

/* A pidfd cannot be fooled by a number that is used again; it is readable at the death. */
static void open_family(const char *text, int pidfd[FAMILY])
{
    for (int i = 0; i < FAMILY; i++) {
        pidfd[i] = (int)syscall(SYS_pidfd_open, pid_after(text, who[i]), 0);
        CHECK_ROW(pidfd[i] >= 0, who[i]);
    }
}

static bool is_dead(int pidfd, int wait_ms)
{
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};

    return poll(&wait, 1, wait_ms) == 1;
}

static void read_until(int fd, char *text, size_t size, const char *last)
{
    size_t length = 0;
    ssize_t got;

    do {
        got = read(fd, text + length, size - 1 - length);
        assert_true(got > 0);
        length += (size_t)got;
        text[length] = '\0';
    } while (!strstr(text, last));
}

/* Starts the parent program; its stdout comes out of *fd. */
static pid_t start_parent(int *fd)
{
    const char *program = getenv("DGO_ORPHAN_PARENT");
    int out[2];

    assert_non_null(program);
    assert_int_equal(pipe(out), 0);

    const pid_t pid = fork();

    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execl(program, program, stand_in_path(), (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(out[1]);
    *fd = out[0];
    return pid;
}

static const struct {
    const char *name;
    int signal;
} deaths[] = {{"killed", SIGKILL}, {"terminated", SIGTERM}, {"crashed", SIGABRT}};

static void test_our_death_ends_the_family(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        char text[4096];
        int fd, pidfd[FAMILY];
        const pid_t parent = start_parent(&fd);

        read_until(fd, text, sizeof text, "complete");
        open_family(text, pidfd);
        for (int member = 0; member < FAMILY; member++)
            CHECK_ROW(!is_dead(pidfd[member], 0), who[member]);
        assert_int_equal(kill(parent, deaths[i].signal), 0);
        assert_int_equal(waitpid(parent, NULL, 0), parent);
        for (int member = 0; member < FAMILY; member++) {
            CHECK_ROW(is_dead(pidfd[member], LOOP_DEADLINE_S * 1000), who[member]);
            close(pidfd[member]);
        }
        close(fd);
    }
}

/* The engine's own end: `exited` comes when the rest is gone too. */
static void test_the_engines_end_ends_the_family(void **state)
{
    static const char *const modes[] = {"family leave", "family stay"};

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct life life;
        int pidfd[FAMILY];

        life_init(&life);
        life.await = "complete";
        life_start(&life, modes[i], 0);
        loop_until(life.loop, &life.seen);
        if (i == 1) {
            open_family(life.text, pidfd);
            dgo_process_stop(life.process);
        }
        loop_until(life.loop, &life.exited);
        assert_true(i == 1 ? life.exit.signal == SIGTERM : life.exit.code == 7);
        for (int member = 0; member < FAMILY; member++) {
            if (i == 1) {
                CHECK_ROW(is_dead(pidfd[member], 0), who[member]);
                close(pidfd[member]);
            } else {
                CHECK_ROW(kill(pid_after(life.text, who[member]), 0) < 0, who[member]);
            }
        }
        life_done(&life);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_our_death_ends_the_family),
    cmocka_unit_test(test_the_engines_end_ends_the_family),
};

CHECK_MAIN(tests)
