/* guard.c - the process between us and an engine: no descendant outlives the engine or us. */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Handlers would run our code in a child that shares nothing of it any more, and ignored signals
 * (SIGPIPE, often) would stay ignored in the engine. */
static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &action, NULL); /* KILL, STOP and libc's own refuse */
}

/* Everything but 0, 1, 2 and these: our sockets, the driver's devices, other lifelines. */
static void close_all_but(const struct guard_task *task)
{
    int kept[] = {task->lifeline_fd, task->report_fd,   task->keep.listen_fd,
                  task->keep.out_fd, task->keep.err_fd, task->keep.log_fd};
    const int count = sizeof kept / sizeof kept[0];
    unsigned next = 3;

    for (int i = 1; i < count; i++) /* sorted: there are six */
        for (int k = i; k > 0 && kept[k - 1] > kept[k]; k--) {
            const int higher = kept[k - 1];

            kept[k - 1] = kept[k];
            kept[k] = higher;
        }
    for (int i = 0; i < count; i++) {
        if (kept[i] < (int)next)
            continue; /* none, or the one before */
        if ((unsigned)kept[i] > next)
            (void)close_range(next, (unsigned)kept[i] - 1, 0);
        next = (unsigned)kept[i] + 1;
    }
    (void)close_range(next, ~0U, 0);
}

static void set_streams(int in_fd, int out_fd, int err_fd)
{
    (void)dup2(in_fd, STDIN_FILENO);
    (void)dup2(out_fd, STDOUT_FILENO);
    (void)dup2(err_fd, STDERR_FILENO);
}

static _Noreturn void exec_fail(int report_fd, enum guard_stage stage)
{
    const struct guard_start failure = {.stage = (int32_t)stage, .errno_value = errno};

    (void)!write(report_fd, &failure, sizeof failure);
    _exit(127);
}

/* The first so many of the cores that we may use.  A limit is for the sake of others: where the
 * system refuses, the engine runs all the same. */
static void limit_cores(uint32_t core_count)
{
    cpu_set_t allowed, chosen;

    CPU_ZERO(&chosen);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    for (size_t core = 0; core < CPU_SETSIZE && core_count > 0; core++)
        if (CPU_ISSET(core, &allowed)) {
            CPU_SET(core, &chosen);
            core_count--;
        }
    (void)sched_setaffinity(0, sizeof chosen, &chosen);
}

/* In the engine's process.  It dies when the guard is killed: the guard has one thread, so the rule
 * that PDEATHSIG follows the thread that forked does no harm here. */
static _Noreturn void engine_exec(const struct guard_task *task, pid_t guard_pid, int failure_fd)
{
    const struct rlimit no_core = {0, 0}; /* a core of an engine is as large as its model */
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guard_pid)
        _exit(127);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (task->nice != 0)
        (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + task->nice);
    if (task->core_count > 0)
        limit_cores(task->core_count);
    if (task->directory && chdir(task->directory) < 0)
        exec_fail(failure_fd, GUARD_DIRECTORY);
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    execve(task->argv[0], (char *const *)task->argv, (char *const *)task->environment);
    exec_fail(failure_fd, GUARD_EXEC);
}

/* Forks the engine and waits for its execve, which closes the pipe. */
static struct guard_start engine_start(const struct guard_task *task)
{
    struct guard_start start = {.stage = GUARD_FORK};
    const pid_t guard_pid = getpid();
    int failure[2];

    if (pipe2(failure, O_CLOEXEC) < 0) {
        start.errno_value = errno;
        return start;
    }

    const pid_t pid = _Fork();

    if (pid == 0)
        engine_exec(task, guard_pid, failure[1]);
    start.errno_value = pid < 0 ? errno : 0;
    close(failure[1]);
    if (pid > 0) {
        start = (struct guard_start){.stage = GUARD_OK, .pid = pid};
        if (read(failure[0], &start, sizeof start) == (ssize_t)sizeof start)
            (void)waitpid(pid, NULL, 0); /* it has failed, and said so */
    }
    close(failure[0]);
    return start;
}

/* Kills every direct child.  Their children become ours the moment they die (we are a subreaper),
 * so that the caller's rounds get to the bottom, setsid or not.  False: this system cannot list
 * them. */
static bool kill_children(void)
{
    const int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    char text[4096]; /* more than fit are met in a later round */
    pid_t pid = 0;

    if (fd < 0)
        return false;

    const ssize_t got = read(fd, text, sizeof text);

    close(fd);
    for (ssize_t i = 0; i < got; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            pid = pid * 10 + (text[i] - '0');
        } else if (pid > 0) { /* a number that the buffer cut has nothing after it */
            (void)kill(pid, SIGKILL);
            pid = 0;
        }
    }
    return got >= 0;
}

/* Reaps who has ended; remembers how the engine did.  Returns whether any child is left. */
static bool reap(pid_t engine, struct guard_end *end)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0)
            return errno != ECHILD;
        if (info.si_pid == 0)
            return true;
        if (info.si_pid == engine)
            *end = (struct guard_end){.code = info.si_code, .status = info.si_status};
    }
}

/* Until nothing is left.  What cannot die (stuck in a driver) is waited for: it still holds its
 * memory.  Returns false when there may be others that could not be listed. */
static bool kill_all(pid_t engine, int child_fd, struct guard_end *end)
{
    while (reap(engine, end)) {
        struct signalfd_siginfo ended;
        struct pollfd wait = {.fd = child_fd, .events = POLLIN};

        if (end->code == 0)
            (void)kill(engine, SIGKILL); /* not reaped yet, so the number is still its own */
        if (!kill_children() && end->code != 0)
            return false;
        (void)poll(&wait, 1, 20); /* the pause bounds the rounds against a fork storm */
        (void)!read(child_fd, &ended, sizeof ended);
    }
    return true;
}

/* The lifeline has moved: a byte means that the engine has to go, its end that we died. */
static bool is_orphaned(int lifeline_fd)
{
    char byte;
    ssize_t got;

    do
        got = read(lifeline_fd, &byte, 1);
    while (got < 0 && errno == EINTR);
    return got == 0;
}

/* Until another one of us holds the lifeline; false: nobody came, or the engine has ended. */
static bool wait_for_another(struct guard_task *task, pid_t engine, int child_fd,
                             struct guard_end *end)
{
    guard_keep_begin(&task->keep);
    while (end->code == 0) {
        struct signalfd_siginfo ended;

        switch (
            guard_keep_wait(&task->keep, engine, child_fd, &task->lifeline_fd, &task->report_fd)) {
        case KEEP_TAKEN:
            return true;
        case KEEP_OVER:
            return false;
        case KEEP_CHILD:
            (void)!read(child_fd, &ended, sizeof ended);
            (void)reap(engine, end);
        }
    }
    return false;
}

/* Sleeps until the engine ends or has to go. */
static void watch(struct guard_task *task, pid_t engine, int child_fd, struct guard_end *end)
{
    while (end->code == 0) {
        struct pollfd wait[2] = {{.fd = task->lifeline_fd, .events = POLLIN},
                                 {.fd = child_fd, .events = POLLIN}};
        struct signalfd_siginfo ended;

        if (poll(wait, 2, -1) < 0 && errno != EINTR)
            return;
        if (wait[0].revents) {
            if (!is_orphaned(task->lifeline_fd) || task->keep.listen_fd < 0 ||
                !wait_for_another(task, engine, child_fd, end))
                return;
            continue;
        }
        (void)!read(child_fd, &ended, sizeof ended);
        (void)reap(engine, end);
    }
}

static int child_signals(void)
{
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn void guard_run(const struct guard_task *given)
{
    struct guard_task own = *given, *task = &own; /* its lifeline may become another one */
    struct guard_start start = {.stage = GUARD_FORK};
    struct guard_end end = {0};

    (void)setpgid(0, 0);
    (void)prctl(PR_SET_NAME, "dgo-guard");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    reset_signals();
    set_streams(task->null_fd, task->out_fd, task->err_fd);
    close_all_but(task);

    const int child_fd = child_signals();

    if (child_fd < 0)
        start.errno_value = errno;
    else
        start = engine_start(task);
    /* Only the engine may hold its pipes, or they would never end. */
    set_streams(STDIN_FILENO, STDIN_FILENO, STDIN_FILENO);
    (void)!write(task->report_fd, &start, sizeof start);
    if (start.stage != GUARD_OK) {
        guard_keep_end(&task->keep);
        _exit(127);
    }
    watch(task, start.pid, child_fd, &end);

    const bool all_gone = kill_all(start.pid, child_fd, &end);

    guard_keep_end(&task->keep);
    (void)!write(task->report_fd, &end, sizeof end);
    if (!all_gone)
        (void)kill(0, SIGKILL); /* the group at least, and with it ourselves */
    _exit(0);
}
