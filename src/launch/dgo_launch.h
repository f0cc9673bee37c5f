/* dgo_launch.h - start a process without a shell, follow its lines, keep it alive, stop it for
 * good.
 *
 * Runs on the caller's sd-event loop: every call and every callback is on the loop's thread.
 * Nothing here waits for the engine, except where it says so.
 *
 * Between us and an engine stands a small process of ours, the guard (docs/decisions/
 * 0002-child-guard.md): when the engine ends, or we do, even by SIGKILL, it kills every descendant
 * of the engine.  So an engine that leaves a daemon behind cannot be run by this. */
#ifndef DGO_LAUNCH_H
#define DGO_LAUNCH_H

#include "dgo_base.h"

#include <sys/types.h>
#include <systemd/sd-event.h>

enum {
    DGO_LINE_MAX = 4096,      /* longer lines are handed over in pieces, marked */
    DGO_LINES_PER_TURN = 512, /* a chatty child must not starve the loop */
};

enum dgo_stream { DGO_STREAM_OUT, DGO_STREAM_ERR };

struct dgo_exit {
    bool signalled;
    int code;   /* exit status when !signalled */
    int signal; /* when signalled */
    bool core_dumped;
    bool stopped_by_us; /* dgo_process_stop was called */
    bool killed;        /* and only SIGKILL ended it */
};

struct dgo_process;

/* `line` has no newline, may hold any bytes and is not terminated by anyone but us (line[length] is
 * 0).  `partial`: the line goes on in the next call. */
typedef void (*dgo_line_fn)(struct dgo_process *process, enum dgo_stream stream, const char *line,
                            size_t length, bool partial, void *data);
/* Exactly once, after the last line, when no descendant of the engine is left.  The process may be
 * freed inside. */
typedef void (*dgo_exit_fn)(struct dgo_process *process, const struct dgo_exit *exit, void *data);

/* Where another process of ours finds the engine again when this one died (docs/decisions/0030).
 * Until then, and for `wait_ns` after, the engine runs on; then it ends. */
struct dgo_process_keep {
    const char *path; /* of a Unix socket, in a folder of the user; NULL: the engine ends with us */
    uint64_t wait_ns;
    int log_fd; /* what it writes meanwhile is appended here; -1: it is lost.  Borrowed */
};

struct dgo_process_options {
    const char *const *argv;        /* argv[0] is the path that is executed; not searched */
    const char *const *environment; /* whole; NULL-terminated */
    const char *directory;          /* NULL: ours */
    struct dgo_process_keep keep;   /* zero: none */
    uint64_t term_wait_ns;          /* from TERM to KILL, a second TERM half-way; 0: 10 s */
    dgo_line_fn line;
    dgo_exit_fn exited;
    void *data;
};

/* fork + execve in an own process group, signals reset, descriptors above stderr closed, stdin
 * empty, no core file, killed when we die.  A failing execve is reported here (DGO_ENOTFOUND,
 * DGO_EIO), not as an exit.  The options are copied; argv and environment are not kept. */
DGO_MUST_CHECK
enum dgo_status dgo_process_start(sd_event *loop, const struct dgo_process_options *options,
                                  struct dgo_process **process, struct dgo_error *err);

/* Takes over the engine that is kept at `options->keep.path`, with its pipes; argv, environment and
 * directory are not used.  From here on as if this process had started it.  DGO_ENOTFOUND: there is
 * none any more; DGO_EBUSY: another process holds it.  Waits up to a second for the guard. */
DGO_MUST_CHECK
enum dgo_status dgo_process_adopt(sd_event *loop, const struct dgo_process_options *options,
                                  struct dgo_process **process, struct dgo_error *err);

/* Frees, and leaves an engine that is kept to the next one of us.  Accepts NULL. */
void dgo_process_leave(struct dgo_process *process);

pid_t dgo_process_pid(const struct dgo_process *process); /* the engine's, also after its end */
/* Until the engine and all that it started are gone. */
bool dgo_process_running(const struct dgo_process *process);

/* The ladder: TERM to the group, wait, KILL to every descendant.  Returns at once; `exited` tells.
 * A second call kills now.  What the engine leaves behind at its own end is killed in any case. */
void dgo_process_stop(struct dgo_process *process);

/* Kills all of it if still running, waits for that (10 s at most: what is stuck in a driver is left
 * to its guard), frees.  Accepts NULL.  No callback comes after.  Not from inside `line`. */
void dgo_process_free(struct dgo_process *process);

/* Runs a program to its end and keeps what it wrote (both streams together, cut at `output_size` -
 * 1, NUL bytes as spaces).  For probes (--help, --version): blocks up to `timeout_ns`, then kills
 * (DGO_ETIMEOUT); ended by a signal is DGO_ECHILD, any exit status is a success.  Needs no loop;
 * not on a loop thread that must answer. */
DGO_MUST_CHECK
enum dgo_status dgo_process_capture(const char *const *argv, const char *const *environment,
                                    uint64_t timeout_ns, char *output, size_t output_size,
                                    int *exit_code, struct dgo_error *err);

/* The same under limits, for measurements beside other work, and with the streams apart: a program
 * that logs from a thread of its own writes in the middle of what it prints. */
struct dgo_capture_options {
    const char *const *argv, *const *environment;
    uint64_t timeout_ns;
    char *errors; /* what it writes to stderr, cut at `errors_size` - 1; NULL: in the output */
    size_t errors_size;
    int nice;            /* added to our own; 0: as we run ourselves */
    uint32_t core_count; /* of those that we may use; 0: all */
};
DGO_MUST_CHECK
enum dgo_status dgo_process_capture_limited(const struct dgo_capture_options *options, char *output,
                                            size_t output_size, int *exit_code,
                                            struct dgo_error *err);

/* Polls http://host:port/path until it answers 200, on the loop, by libcurl; each try is bounded in
 * time and bytes.  No proxy, no redirect, no name look-up: `host` is a numeric address or
 * "localhost"; for 0.0.0.0 and :: loopback is asked.  The health may be freed inside ready and
 * timed_out, which are its last act. */
struct dgo_health;
struct dgo_health_options {
    const char *host;
    uint16_t port;
    const char *path;
    uint64_t interval_ns; /* between tries; 0: 100 ms */
    uint64_t timeout_ns;  /* of all tries; 0: no end */
    void (*ready)(struct dgo_health *health, void *data);
    void (*timed_out)(struct dgo_health *health, const char *last_error, void *data);
    void *data;
};
DGO_MUST_CHECK
enum dgo_status dgo_health_start(sd_event *loop, const struct dgo_health_options *options,
                                 struct dgo_health **health, struct dgo_error *err);
void dgo_health_free(struct dgo_health *health); /* accepts NULL; no callback comes after */

/* Delay before restart number `attempt` (0, 1, ...): doubles from 1 s to 60 s; back to 0 after the
 * process has run for 10 minutes (the caller resets its counter).  Pure. */
uint64_t dgo_restart_delay_ns(uint32_t attempt);

/* A free TCP port on `host` at this moment, from `first` on (0: any).  DGO_EBUSY when none. */
DGO_MUST_CHECK
enum dgo_status dgo_port_find(const char *host, uint16_t first, uint16_t *port,
                              struct dgo_error *err);

/* SHA-256 of a regular file as 64 hex digits and NUL, read in bounded pieces; keys the probe cache.
 */
DGO_MUST_CHECK
enum dgo_status dgo_file_hash(const char *path, char hex[65], struct dgo_error *err);
/* The same of bytes. */
DGO_MUST_CHECK
enum dgo_status dgo_bytes_hash(const void *bytes, size_t length, char hex[65],
                               struct dgo_error *err);

#endif
