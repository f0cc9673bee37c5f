/* dgo_difference.h - memory before and after a change: what really moved, and what it is worth.
 *
 * A snapshot is taken from the quiet end of a recording: of each series the median of its last
 * part, and as its noise the greatest difference of that part's medians to those of five parts
 * before it (before against before).  A difference counts when it is greater than the noise of both
 * ends and 2 MiB; else it is no measurable change.  With repeats (before, after, before, after,
 * ...) the median and the range are told.  Pure; any thread that has 512 KiB of stack. */
#ifndef DGO_DIFFERENCE_H
#define DGO_DIFFERENCE_H

#include "dgo_profiler.h"

enum { DGO_SNAPSHOT_ENTRY_MAX = 512, DGO_DIFFERENCE_REPEAT_MAX = 16 };

struct dgo_snapshot_entry {
    uint32_t gpu_index, pid; /* pid 0: the card */
    uint64_t start;
    char name[DGO_PROFILER_NAME_MAX];
    bool role_known;
    enum dgo_process_role role;
    double used_mib, noise_mib;
};

struct dgo_snapshot {
    uint32_t count;
    bool quiet; /* no card moved by 2 MiB or more in its last part */
    struct dgo_card_state card[DGO_PROFILER_GPU_MAX]; /* as it was at the end */
    struct dgo_snapshot_entry entry[DGO_SNAPSHOT_ENTRY_MAX];
};

/* Processes that are gone at the end of the recording are not in it.  dgo_profiler_judge first.
 * `part_s`: how long a part is, at least 1; 0: a twelfth of the recording, at least 10 s. */
void dgo_snapshot_take(const struct dgo_profiler *profiler, double part_s,
                       struct dgo_snapshot *snapshot);

/* Who holds what at the end, without noise: a process that has been silent for three of its usual
 * distances, at least 30 s, is gone.  dgo_profiler_judge first. */
void dgo_snapshot_now(const struct dgo_profiler *profiler, struct dgo_snapshot *snapshot);

enum dgo_difference_kind { DGO_CHANGED, DGO_APPEARED, DGO_DISAPPEARED };

struct dgo_difference_row {
    enum dgo_difference_kind kind;
    uint32_t gpu_index, pid; /* of the first pair that has it */
    char name[DGO_PROFILER_NAME_MAX];
    double before_mib, after_mib;        /* medians; 0 where it is not */
    double delta_mib, low_mib, high_mib; /* median and range over the repeats */
    double floor_mib;                    /* below it nothing is said */
    bool measurable;
};

struct dgo_difference {
    uint32_t repeat_count, count;
    struct dgo_difference_row row[DGO_SNAPSHOT_ENTRY_MAX];
    /* Over the cards that were read at both ends: median, range, noise, measurable or not. */
    double total_mib, total_low_mib, total_high_mib, total_floor_mib;
    bool total_measurable;
    uint32_t unread_count; /* cards that were read at one end only: nothing is said of them */
    uint32_t unread[DGO_PROFILER_GPU_MAX];
};

/* `count` pairs, at most DGO_DIFFERENCE_REPEAT_MAX.  A process is the same when pid and start are;
 * over repeats, when card and name are.  A card's row comes before those of its processes. */
void dgo_difference_make(const struct dgo_snapshot *before, const struct dgo_snapshot *after,
                         uint32_t count, struct dgo_difference *difference);

#endif
