/* guard.h - the small process that stands between us and an engine; private to the folder.
 *
 *     we ──lifeline──► guard ──fork, execve──► engine ──► its children, and theirs
 *      ◄──report───────┘
 *
 * The guard is a fork of ours that execs nothing.  It is the engine's parent, the leader of its
 * process group and the subreaper of everything the engine starts, and it does one thing: when the
 * engine ends, or when the lifeline closes (we died, however suddenly) or brings a byte (we want
 * the engine gone), it kills and reaps every descendant, then ends.  With a `keep` it waits a while
 * for another one of us when the lifeline closes.  docs/decisions/0002-child-guard.md says why. */
#ifndef GUARD_H
#define GUARD_H

#include "guard_keep.h"

#include <stdint.h>
#include <sys/types.h>

enum guard_stage { GUARD_OK, GUARD_FORK, GUARD_DIRECTORY, GUARD_EXEC };

/* First record of the report pipe: the engine runs, or why it does not. */
struct guard_start {
    int32_t stage;       /* enum guard_stage: where it failed; GUARD_OK: it runs */
    int32_t errno_value; /* when it failed */
    int32_t pid;         /* of the engine */
};

/* Second record, when the engine has ended and nothing of it is left. */
struct guard_end {
    int32_t code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    int32_t status; /* exit status or signal */
};

struct guard_task {
    const char *const *argv;
    const char *const *environment;
    const char *directory; /* NULL: ours */
    int nice;              /* added to ours; 0: as we are */
    uint32_t core_count;   /* of those we may use; 0: all */
    int null_fd;           /* /dev/null; these five are all above 2 */
    int out_fd, err_fd;    /* the engine's stdout and stderr */
    int lifeline_fd;       /* end of file: kill */
    int report_fd;         /* records go here */
    struct guard_keep keep;
};

/* Called in the forked child with every signal blocked.  Only async-signal-safe calls from here on:
 * we may have had threads, and their locks were copied as they stood. */
_Noreturn void guard_run(const struct guard_task *task);

#endif
