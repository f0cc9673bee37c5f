/* spawn.c - fork without a shell: pipes, the guard, and the answer whether the program runs. */
#include "spawn.h"

#include "adopt.h"

#include "dgo_clock.h"
#include "dgo_units.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Room for a burst of log while our loop is busy; an engine that blocks on its log does not
 * compute. */
enum { PIPE_BYTES = 256 * 1024 };

struct pipes {
    int null_fd;
    int out[2], err[2], lifeline[2], report[2]; /* [0] reads */
    int listen_fd;                              /* of a keep */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_pair(int pair[2])
{
    close_fd(&pair[0]);
    close_fd(&pair[1]);
}

/* 0, 1 and 2 may be closed in our own process; the child's streams are put there one by one, so
 * nothing else may live there. */
static bool raise_above_streams(int *fd)
{
    if (*fd > STDERR_FILENO)
        return true;

    const int raised = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    close_fd(fd);
    *fd = raised;
    return raised >= 0;
}

static bool open_pair(int pair[2])
{
    if (pipe2(pair, O_CLOEXEC) < 0) {
        pair[0] = pair[1] = -1;
        return false;
    }
    return raise_above_streams(&pair[0]) && raise_above_streams(&pair[1]);
}

/* A pair of sockets, since a write to a pipe whose reader died would be a signal to us. */
static bool open_lifeline(int pair[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        pair[0] = pair[1] = -1;
        return false;
    }
    return raise_above_streams(&pair[0]) && raise_above_streams(&pair[1]);
}

static void pipes_close(struct pipes *pipes)
{
    const int errno_value = errno;

    close_fd(&pipes->null_fd);
    close_pair(pipes->out);
    close_pair(pipes->err);
    close_pair(pipes->lifeline);
    close_pair(pipes->report);
    close_fd(&pipes->listen_fd);
    errno = errno_value;
}

static bool pipes_open(struct pipes *pipes, bool joined)
{
    *pipes = (struct pipes){-1, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, -1};
    pipes->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (pipes->null_fd < 0 || !raise_above_streams(&pipes->null_fd) || !open_pair(pipes->out) ||
        (!joined && !open_pair(pipes->err)) || !open_lifeline(pipes->lifeline) ||
        !open_pair(pipes->report)) {
        pipes_close(pipes);
        return false;
    }
    (void)fcntl(pipes->out[0], F_SETPIPE_SZ, PIPE_BYTES); /* refused: it stays at 64 KiB */
    if (!joined)
        (void)fcntl(pipes->err[0], F_SETPIPE_SZ, PIPE_BYTES);
    return true;
}

/* All signals are blocked around the fork, so that no handler of ours runs in the child. */
static pid_t fork_guard(const struct spawn_request *request, const struct pipes *pipes)
{
    const struct guard_task task = {
        .argv = request->argv,
        .environment = request->environment,
        .directory = request->directory,
        .nice = request->nice,
        .core_count = request->core_count,
        .null_fd = pipes->null_fd,
        .out_fd = pipes->out[1],
        .err_fd = request->joined ? pipes->out[1] : pipes->err[1],
        .lifeline_fd = pipes->lifeline[0],
        .report_fd = pipes->report[1],
        .keep = {.listen_fd = pipes->listen_fd,
                 .out_fd = pipes->listen_fd < 0 ? -1 : pipes->out[0],
                 .err_fd = pipes->listen_fd < 0 ? -1 : pipes->err[0],
                 .log_fd = pipes->listen_fd < 0 ? -1 : request->keep.log_fd,
                 .path = request->keep.path,
                 .wait_ms = request->keep.wait_ms},
    };
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);

    const pid_t pid = _Fork(); /* no atfork handlers: the child calls nothing that needs them */

    if (pid == 0)
        guard_run(&task);

    const int errno_value = errno;

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = errno_value;
    return pid;
}

static bool read_record(int fd, void *record, size_t size)
{
    ssize_t got;

    do
        got = read(fd, record, size);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)size; /* records are written whole: they are shorter than PIPE_BUF */
}

static enum dgo_status fail_exec(const char *path, int errno_value, struct dgo_error *err)
{
    const bool there = access(path, F_OK) == 0;

    switch (errno_value) {
    case ENOENT:
        if (there)
            return dgo_fail(err, DGO_ENOTFOUND,
                            "\"%s\" is there, but the interpreter or loader it asks for is not; "
                            "reinstall it for this system",
                            path);
        return dgo_fail(err, DGO_ENOTFOUND, "there is no program \"%s\"; check the path", path);
    case ENOTDIR:
        return dgo_fail(err, DGO_ENOTFOUND, "there is no program \"%s\"; check the path", path);
    case EACCES:
        return dgo_fail(err, DGO_EIO, "\"%s\" may not be executed; check it with ls -l", path);
    case ENOEXEC:
        return dgo_fail(err, DGO_EIO, "\"%s\" is not a program for this machine", path);
    default:
        return dgo_fail_errno(err, DGO_EIO, errno_value, "\"%s\" could not be executed", path);
    }
}

static enum dgo_status fail_start(const struct spawn_request *request,
                                  const struct guard_start *start, struct dgo_error *err)
{
    if (start->stage == GUARD_EXEC)
        return fail_exec(request->argv[0], start->errno_value, err);
    if (start->stage == GUARD_DIRECTORY)
        return dgo_fail_errno(err, start->errno_value == ENOENT ? DGO_ENOTFOUND : DGO_EIO,
                              start->errno_value, "cannot start in the directory \"%s\"",
                              request->directory);
    return dgo_fail_errno(err, DGO_EIO, start->errno_value, "cannot start a process for \"%s\"",
                          request->argv[0]);
}

static void set_nonblocking(int fd)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* Takes our ends out of the pipes; the rest is closed by the caller. */
static void keep_ends(struct pipes *pipes, struct spawned *child)
{
    child->out_fd = pipes->out[0];
    child->err_fd = pipes->err[0];
    child->lifeline_fd = pipes->lifeline[1];
    child->report_fd = pipes->report[0];
    pipes->out[0] = pipes->err[0] = pipes->lifeline[1] = pipes->report[0] = -1;
    set_nonblocking(child->out_fd);
    set_nonblocking(child->err_fd);
    set_nonblocking(child->report_fd);
}

enum dgo_status spawn(const struct spawn_request *request, struct spawned *child,
                      struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    struct guard_start start = {.stage = GUARD_FORK, .errno_value = ECHILD};
    struct pipes pipes;

    if (!request->argv || !request->argv[0] || !request->environment)
        return dgo_fail(err, DGO_EINVAL, "a program and its environment are needed");
    if (!pipes_open(&pipes, request->joined))
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot open pipes for \"%s\"",
                              request->argv[0]);

    if (request->keep.path) {
        status = adopt_listen(request->keep.path, &pipes.listen_fd, err);
        if (status != DGO_OK || !raise_above_streams(&pipes.listen_fd))
            goto out;
    }

    const pid_t guard = fork_guard(request, &pipes);

    if (guard < 0) {
        status = dgo_fail_errno(err, DGO_EIO, errno, "cannot fork for \"%s\"", request->argv[0]);
        goto out;
    }
    (void)setpgid(guard, guard); /* both sides: whoever is first */
    close_fd(&pipes.report[1]);  /* so that a guard that died is an end of file, not a wait */
    if (!read_record(pipes.report[0], &start, sizeof start) || start.stage != GUARD_OK) {
        status = fail_start(request, &start, err);
        (void)waitpid(guard, NULL, 0);
        goto out;
    }
    *child = (struct spawned){.guard = guard, .pid = start.pid};
    keep_ends(&pipes, child);
out:
    pipes_close(&pipes);
    return status;
}

/* The guard leads the group and is not reaped before it is gone, so the number stays ours. */
void spawn_signal(const struct spawned *child, int signal_number)
{
    if (child->guard > 0)
        (void)kill(-child->guard, signal_number);
}

void spawn_kill(struct spawned *child)
{
    if (child->lifeline_fd >= 0) /* without the byte a guard that keeps would wait for another */
        (void)!send(child->lifeline_fd, "K", 1, MSG_NOSIGNAL);
    close_fd(&child->lifeline_fd);
}

static void reap_guard(struct spawned *child)
{
    if (child->end.code == 0)
        spawn_signal(child, SIGKILL); /* somebody killed the guard; the engine died with it */
    while (!child->adopted && waitpid(child->guard, NULL, 0) < 0 && errno == EINTR)
        ;
    child->guard = 0;
}

bool spawn_gone(struct spawned *child)
{
    while (child->guard > 0) {
        struct guard_end end;
        const ssize_t got = read(child->report_fd, &end, sizeof end);

        if (got == (ssize_t)sizeof end)
            child->end = end;
        else if (got < 0 && errno == EAGAIN)
            return false;
        else if (got >= 0 || errno != EINTR)
            reap_guard(child); /* the end of the pipe: it closes with the guard's death only */
    }
    return true;
}

bool spawn_wait_gone(struct spawned *child, int wait_ms)
{
    const uint64_t start_ns = dgo_clock_monotonic_ns(dgo_clock_system());

    while (!spawn_gone(child)) {
        const uint64_t waited_ns = dgo_clock_monotonic_ns(dgo_clock_system()) - start_ns;
        const int waited_ms = (int)dgo_min_u64(waited_ns / DGO_NS_PER_MS, INT_MAX);
        struct pollfd wait = {.fd = child->report_fd, .events = POLLIN};

        if (wait_ms >= 0 && waited_ms >= wait_ms)
            return false;
        (void)poll(&wait, 1, wait_ms < 0 ? -1 : wait_ms - waited_ms);
    }
    return true;
}

void spawn_close(struct spawned *child)
{
    close_fd(&child->out_fd);
    close_fd(&child->err_fd);
    close_fd(&child->lifeline_fd);
    close_fd(&child->report_fd);
}
