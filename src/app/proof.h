/* proof.h - the proof that this program takes no VRAM: what the driver lists, what is mapped, what
 * is open.
 *
 * VRAM is had through a driver's device file, by a library that knows how.  So three things are
 * looked at while the driver library that reads the cards is still loaded: whether a GPU's process
 * list names us or a child of ours, whether a compute or graphics library is mapped, and whether a
 * device file is open that reading does not need.  What cannot be read proves nothing.  Any thread.
 */
#ifndef PROOF_H
#define PROOF_H

#include "dgo_gpu.h"

enum {
    PROOF_PATH_MAX = 256,
    PROOF_ROW_MAX = 32, /* rows of each list; more are counted */
    PROOF_PROCESS_MAX = 256,
};

struct proof_row {
    char path[PROOF_PATH_MAX]; /* escaped */
    bool allowed;              /* explained by reading alone */
    const char *why;           /* what it is and, when allowed, why */
};

struct proof_rows {
    bool known;     /* could be read */
    uint32_t count; /* in `row` */
    uint32_t more;  /* found, not listed */
    uint32_t bad;   /* of all found: not allowed */
    struct proof_row row[PROOF_ROW_MAX];
};

struct proof {
    struct proof_rows libraries; /* GPU libraries only */
    struct proof_rows devices;   /* GPU device files only */

    bool driver_answered; /* a real driver, not a machine file */
    bool lists_known;     /* of all its cards */
    bool foreign_pids;    /* a PID namespace of our own: the driver may count by other numbers */
    char driver_problem[160];
    uint32_t process_count; /* we and our descendants */
    uint32_t pid[PROOF_PROCESS_MAX];

    bool own_pid_listed;
    uint32_t listed_pid, listed_gpu; /* the first, when listed */
    bool self_vram_known;
    uint64_t self_vram_bytes;

    bool proven;
    char sentence[DGO_ERROR_TEXT_MAX];
};

struct proof_question {
    const char *root; /* in front of /proc, for tests; NULL: none */
    uint32_t pid;     /* 0: this process */
    bool alone; /* without its children: a daemon's engines take VRAM, that is what they are for */
    const struct dgo_machine *machine; /* as the real driver gave it; NULL: it gave none */
    const char *driver_problem; /* why `machine` is NULL although a driver is there; or NULL */
};

void proof_take(const struct proof_question *question, struct proof *proof);

#endif
