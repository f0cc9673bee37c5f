/* guard_keep.h - how a guard waits for another one of us when we died; private to the folder.
 *
 *     we ──lifeline──► guard          we die: the lifeline ends
 *                      guard          keeps the engine, writes its lines to the log, listens
 *   next ──connect───► guard ──hello, pipes──► next      or the time is over: it kills, and ends
 *
 * So an engine outlives a crash of ours by a bounded time and is never left alone.
 * docs/decisions/0030-engines-outlive-a-crash.md says why.  Async-signal-safe, as all of guard.c.
 */
#ifndef GUARD_KEEP_H
#define GUARD_KEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { GUARD_HELLO_MAGIC = 0x44474f31, GUARD_FDS = 4 };

/* What the next one of us gets, with the four descriptors: the engine's stdout and stderr, our end
 * of a new lifeline, our end of a new report. */
struct guard_hello {
    uint32_t magic;
    int32_t guard, engine; /* pids */
};

struct guard_keep {
    int listen_fd;      /* -1: nobody is waited for */
    int out_fd, err_fd; /* the reading ends */
    int log_fd;         /* lines go here while nobody reads; -1: nowhere */
    const char *path;   /* of the socket, removed at the end */
    uint64_t wait_ms;
    uint64_t deadline_ms; /* of this wait */
};

enum keep_event {
    KEEP_TAKEN, /* lifeline and report are new */
    KEEP_CHILD, /* a child has ended: reap, and wait on */
    KEEP_OVER   /* nobody came */
};

void guard_keep_begin(struct guard_keep *keep);
enum keep_event guard_keep_wait(struct guard_keep *keep, pid_t engine, int child_fd,
                                int *lifeline_fd, int *report_fd);
void guard_keep_end(const struct guard_keep *keep);

#endif
