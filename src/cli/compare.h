/* compare.h - `profile compare` on the running machine: looks at it, waits until it stands still,
 * makes the change, and takes snapshots.  Private to the command; one thread. */
#ifndef COMPARE_H
#define COMPARE_H

#include "cmd.h"
#include "dgo_difference.h"
#include "dgo_settle.h"

#include <sys/types.h>

/* ---- looks: of the daemon where one runs, else our own ---- */

/* `machine` gets at least the used memory of each card and of each process. */
struct compare_looks {
    const struct options *options;
    bool daemon;
    struct dgo_gpu_source *source; /* when !daemon */
};

/* Asks the daemon unless --gpus or --nvml names something else; where none runs the driver is
 * opened.  Both without a compute context. */
DGO_MUST_CHECK
enum dgo_status compare_looks_open(const struct options *options, struct compare_looks *looks,
                                   struct dgo_error *err);
/* `slow_too`: what changes seldom is read anew, else as it was at the look before. */
DGO_MUST_CHECK
enum dgo_status compare_look(struct compare_looks *looks, bool slow_too,
                             struct dgo_machine *machine, struct dgo_error *err);
void compare_looks_close(struct compare_looks *looks);

/* A mark on the daemon's timeline, if it is the daemon that looks. */
void compare_mark(const struct compare_looks *looks, const char *text);

/* ---- the change ---- */

enum compare_change_kind { COMPARE_ASK, COMPARE_COMMAND };

struct compare_change {
    enum compare_change_kind kind;
    const char *const *argv; /* of COMMAND, ended by NULL */
    pid_t pid;               /* of COMMAND while it runs; else 0 */
};

/* Starts COMMAND, or asks for the change and waits for Enter. */
DGO_MUST_CHECK
enum dgo_status compare_change_make(struct compare_change *change, struct dgo_error *err);

/* Whether COMMAND has failed meanwhile; to be asked while the memory is waited for. */
DGO_MUST_CHECK
enum dgo_status compare_change_check(struct compare_change *change, struct dgo_error *err);

/* Ends COMMAND (TERM, after 10 s KILL), or asks for the change to be taken back.  DGO_ECHILD: the
 * command has ended by itself, and what it did stays. */
DGO_MUST_CHECK
enum dgo_status compare_change_undo(struct compare_change *change, struct dgo_error *err);

/* Ends COMMAND if it still runs. */
void compare_change_end(struct compare_change *change);

/* ---- the whole ---- */

enum { COMPARE_UNSTEADY_MAX = 64 };

/* Who moved when a wait was given up. */
struct compare_unsteady {
    uint32_t repeat;
    bool after;
    struct dgo_settle_entry who;
};

struct compare_live {
    const struct options *options;
    struct compare_change change;
    uint32_t repeat_count; /* wanted; made: pair_count */
    double still_s, wait_s;
    uint64_t interval_ns;
    /* what came of it */
    uint32_t pair_count;
    struct dgo_snapshot *before, *after; /* the caller's, repeat_count each */
    struct dgo_origin origin;            /* of the last look */
    bool daemon;
    uint32_t unsteady_count;
    struct compare_unsteady unsteady[COMPARE_UNSTEADY_MAX];
};

DGO_MUST_CHECK
enum dgo_status compare_live_run(struct compare_live *live, struct dgo_error *err);

/* ---- marks ---- */

/* Snapshots from the daemon's timeline: what stood there in the seconds before the last mark of
 * that text.  DGO_ENOTFOUND names the marks there are. */
DGO_MUST_CHECK
enum dgo_status compare_marks_take(const struct options *options, const char *mark, double part_s,
                                   struct dgo_snapshot *snapshot, struct dgo_error *err);

#endif
