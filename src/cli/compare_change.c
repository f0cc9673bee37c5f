/* compare_change.c - the change itself: a command that runs, or something that the person does.
 *
 * The command stays in our process group and keeps our terminal, so that it may ask for a password
 * and Ctrl-C ends it with us; its output goes to stderr, because ours on stdout is the result. */
#include "compare.h"

#include "dgo_clock.h"
#include "dgo_units.h"
#include "print.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint64_t patience_ns = 10 * DGO_NS_PER_S;

/* ---- a person ---------------------------------------------------------------------------- */

static enum dgo_status wait_for_enter(const char *request, struct dgo_error *err)
{
    int byte;

    print_message("%s", request);
    do {
        byte = getchar();
    } while (byte != '\n' && byte != EOF);
    if (byte == EOF)
        return dgo_fail(err, DGO_EUSAGE,
                        "standard input ended before the change was made; to compare around a "
                        "command: dualgpuopt profile compare -- COMMAND");
    return DGO_OK;
}

/* ---- a command --------------------------------------------------------------------------- */

/* In the child; what execve says goes through the pipe, which closes when it succeeds. */
static void become(const char *const *argv, int report_fd)
{
    int failure;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    execvp(argv[0], (char *const *)argv);
    failure = errno;
    (void)!write(report_fd, &failure, sizeof failure);
    _exit(127);
}

static enum dgo_status start(struct compare_change *change, struct dgo_error *err)
{
    int report[2], failure = 0;
    pid_t pid;

    if (pipe2(report, O_CLOEXEC) != 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "no pipe for the command");
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        become(change->argv, report[1]);
    close(report[1]);
    if (pid < 0)
        failure = errno;
    else if (read(report[0], &failure, sizeof failure) == (ssize_t)sizeof failure)
        (void)waitpid(pid, NULL, 0);
    close(report[0]);
    if (failure)
        return dgo_fail_errno(err, failure == ENOENT ? DGO_ENOTFOUND : DGO_EIO, failure,
                              "'%.200s' cannot be started", change->argv[0]);
    change->pid = pid;
    return DGO_OK;
}

/* Gone: pid becomes 0.  `status` may be NULL. */
static bool has_ended(struct compare_change *change, int *status)
{
    int ended = 0;

    if (change->pid && waitpid(change->pid, &ended, WNOHANG) == change->pid) {
        change->pid = 0;
        if (status)
            *status = ended;
        return true;
    }
    return false;
}

enum dgo_status compare_change_check(struct compare_change *change, struct dgo_error *err)
{
    int status = 0;

    if (!has_ended(change, &status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return DGO_OK;
    if (WIFSIGNALED(status))
        return dgo_fail(err, DGO_ECHILD, "'%.200s' was ended by signal %d: nothing was compared",
                        change->argv[0], WTERMSIG(status));
    return dgo_fail(err, DGO_ECHILD, "'%.200s' ended with status %d: nothing was compared",
                    change->argv[0], WEXITSTATUS(status));
}

void compare_change_end(struct compare_change *change)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    const uint64_t began_ns = dgo_clock_monotonic_ns(dgo_clock_system());

    if (!change->pid)
        return;
    (void)kill(change->pid, SIGTERM);
    while (!has_ended(change, NULL)) {
        if (dgo_clock_monotonic_ns(dgo_clock_system()) - began_ns > patience_ns)
            (void)kill(change->pid, SIGKILL);
        (void)nanosleep(&pause, NULL);
    }
}

/* ---- either ------------------------------------------------------------------------------ */

enum dgo_status compare_change_make(struct compare_change *change, struct dgo_error *err)
{
    return change->kind == COMPARE_COMMAND
               ? start(change, err)
               : wait_for_enter("now make your change, then press Enter", err);
}

enum dgo_status compare_change_undo(struct compare_change *change, struct dgo_error *err)
{
    if (change->kind == COMPARE_ASK)
        return wait_for_enter("now take your change back, then press Enter", err);
    if (!change->pid)
        return dgo_fail(err, DGO_ECHILD,
                        "'%.200s' has ended, and nothing takes back what it did: it was compared "
                        "once; without a command you are asked to make the change and to take it "
                        "back",
                        change->argv[0]);
    compare_change_end(change);
    return DGO_OK;
}
