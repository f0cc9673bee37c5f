/* spawn.h - our end of a guarded child: its pipes and the two ways to signal it; private to the
 * folder. */
#ifndef SPAWN_H
#define SPAWN_H

#include "dgo_launch.h"
#include "guard.h"

/* Where another one of us finds the engine after our death; see guard_keep.h. */
struct spawn_keep {
    const char *path; /* of a Unix socket; NULL: the engine ends with us */
    uint64_t wait_ms;
    int log_fd; /* -1: none; not taken over */
};

struct spawn_request {
    const char *const *argv;
    const char *const *environment;
    const char *directory; /* NULL: ours */
    bool joined;           /* stdout and stderr through one pipe */
    struct spawn_keep keep;
    int nice;            /* added to ours; 0: as we are */
    uint32_t core_count; /* of those we may use; 0: all */
};

/* Every descriptor is ours, non-blocking, close-on-exec; -1 when closed. */
struct spawned {
    pid_t guard;        /* our child unless adopted, leader of the group; 0 when gone */
    pid_t pid;          /* the engine, the guard's child */
    int out_fd, err_fd; /* err_fd is -1 when joined */
    int lifeline_fd;
    bool adopted;         /* the guard is a child of one of us that died */
    int report_fd;        /* readable when the engine has ended, at its end when the guard has */
    struct guard_end end; /* code 0: not told; once gone: somebody killed the guard */
};

/* Returns when the program runs; what cannot be executed is a failure here. */
enum dgo_status spawn(const struct spawn_request *request, struct spawned *child,
                      struct dgo_error *err) DGO_MUST_CHECK;

/* To the engine and whoever shares its group; the guard does not listen. */
void spawn_signal(const struct spawned *child, int signal_number);

/* Takes over an engine that a guard keeps at this socket.  DGO_ENOTFOUND: nobody listens there;
 * DGO_EBUSY: another one of us holds it. */
enum dgo_status spawn_adopt(const char *path, struct spawned *child,
                            struct dgo_error *err) DGO_MUST_CHECK;

/* SIGKILL to every descendant, by the guard. */
void spawn_kill(struct spawned *child);

/* Looks at report_fd without waiting: true when the guard and all below it are gone; `end` is then
 * as good as it gets. */
bool spawn_gone(struct spawned *child);

/* The same, waiting so long (-1: for ever). */
bool spawn_wait_gone(struct spawned *child, int wait_ms);

/* Closes our ends.  What still runs and is kept stays for another one of us; else it ends. */
void spawn_close(struct spawned *child);

#endif
