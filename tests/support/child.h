/* child.h - what tests that fork ask of a child: to end by itself, with status 0, and in time. */
#ifndef TEST_CHILD_H
#define TEST_CHILD_H

#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void assert_ends_well(pid_t child)
{
    enum { HANGS_S = 20 };
    int status = 0;

    for (int i = 0; i < HANGS_S * 1000; i++) {
        const struct timespec moment = {.tv_nsec = 1000000};
        const pid_t ended = waitpid(child, &status, WNOHANG);

        assert_true(ended >= 0);
        if (ended == child) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
            return;
        }
        nanosleep(&moment, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    fail_msg("the child does not end");
}

#endif
