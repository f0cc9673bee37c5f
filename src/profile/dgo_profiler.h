/* dgo_profiler.h - all series of a machine together: whose memory it is, verdicts and episodes,
 * what happened on several cards at once, and whether growth came again after a restart.
 *
 * Readings are added as they come, from a recording, a CSV file or a live machine; times are the
 * caller's, in seconds.  One owner at a time. */
#ifndef DGO_PROFILER_H
#define DGO_PROFILER_H

#include "dgo_gpu.h"
#include "dgo_text.h"
#include "dgo_trend.h"

enum {
    DGO_PROFILER_SERIES_MAX = 16384,
    DGO_PROFILER_GPU_MAX = 16,
    DGO_PROFILER_EPISODE_MAX = 8, /* of one series; the last one goes on counting */
    DGO_PROFILER_MARK_MAX = 256,
    DGO_PROFILER_NAME_MAX = 64,
    DGO_PROFILER_COMMAND_MAX = 160,
    DGO_PROFILER_CHANGE_MAX = 256,
};

struct dgo_profiler_reading {
    uint32_t gpu_index, pid; /* pid 0: the whole card */
    uint64_t start;          /* of the process, if known: tells a pid that is used again; else 0 */
    struct dgo_trace_sample sample;
};

/* Growth that was suspected or more, for at least half an hour of judgements: one event each. */
struct dgo_episode {
    double began_s, ended_s; /* of the readings' own time; ended NAN: it goes on */
    enum dgo_verdict worst;
    double slope_mib_per_hour;
};

struct dgo_series_report {
    uint32_t gpu_index, pid;
    uint64_t start;
    char name[DGO_PROFILER_NAME_MAX];       /* of the process; "" unknown */
    char command[DGO_PROFILER_COMMAND_MAX]; /* as it was started, cut; "" unknown */
    bool role_known;
    enum dgo_process_role role;
    struct dgo_trace_stats stats;
    struct dgo_trend trend;
    uint32_t episode_count;
    struct dgo_episode episode[DGO_PROFILER_EPISODE_MAX];
};

enum dgo_change_how {
    DGO_CHANGE_LEVEL,    /* it holds more or less than before */
    DGO_CHANGE_APPEARED, /* a process that was not there before the card's change */
    DGO_CHANGE_ENDED,
};
const char *dgo_change_how_name(enum dgo_change_how how); /* "level", "appeared", "ended" */

/* A lasting change of level and whose it was. */
struct dgo_change_report {
    double seconds, delta_mib;
    uint32_t gpu_index, pid; /* pid 0: no process is known to have caused it */
    uint64_t start;
    enum dgo_change_how how;
    char name[DGO_PROFILER_NAME_MAX], command[DGO_PROFILER_COMMAND_MAX];
    uint32_t gpu_count; /* cards that changed alike within 2 s; 1: this one alone */
};

/* "GPU 0: +4512 MiB by pid 4242 llama-server, which appeared: llama-server -m ..." */
void dgo_change_text(const struct dgo_change_report *change, struct dgo_text *text);

struct dgo_mark {
    double seconds;
    char text[128];
};

struct dgo_profiler_options {
    double judge_every_s; /* judges each series so often as its readings come; 0: only when asked */
};

struct dgo_profiler;

DGO_MUST_CHECK
enum dgo_status dgo_profiler_new(const struct dgo_profiler_options *options,
                                 struct dgo_profiler **profiler, struct dgo_error *err);
void dgo_profiler_free(struct dgo_profiler *profiler); /* accepts NULL */

/* DGO_ENOMEM; DGO_ELIMIT when there are DGO_PROFILER_SERIES_MAX series or the card's index is too
 * large: the reading is left out. */
enum dgo_status dgo_profiler_add(struct dgo_profiler *profiler,
                                 const struct dgo_profiler_reading *reading, struct dgo_error *err);

/* Forgets the process series that were heard of longest ago, until `keep` are left. */
void dgo_profiler_trim(struct dgo_profiler *profiler, uint32_t keep);

/* What a card holds in all; without it there is no time to full. */
void dgo_profiler_set_capacity(struct dgo_profiler *profiler, uint32_t gpu_index, double mib);
double dgo_profiler_capacity(const struct dgo_profiler *profiler, uint32_t gpu_index); /* or NAN */

/* What a card said last beside its use.  NAN and -1: it did not say. */
struct dgo_card_state {
    double total_mib, reserved_mib, free_mib;
    double bar1_used_mib; /* of its window to the host */
    int drives_display;   /* 0, 1 or -1 */
};
void dgo_profiler_set_card(struct dgo_profiler *profiler, uint32_t gpu_index,
                           const struct dgo_card_state *state);
/* All unknown where it was never set. */
struct dgo_card_state dgo_profiler_card(const struct dgo_profiler *profiler, uint32_t gpu_index);

/* Of a series that has a reading. */
void dgo_profiler_set_name(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                           uint64_t start, const char *name);
void dgo_profiler_set_command(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                              uint64_t start, const char *command);
void dgo_profiler_set_role(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                           uint64_t start, enum dgo_process_role role);
void dgo_profiler_set_plan(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                           uint64_t start, double planned_mib);

void dgo_profiler_mark(struct dgo_profiler *profiler, double seconds, const char *text);
uint32_t dgo_profiler_marks(const struct dgo_profiler *profiler, const struct dgo_mark **marks);

/* Judges every series as of now, restarts considered; opens and closes episodes. */
void dgo_profiler_judge(struct dgo_profiler *profiler);

/* Reads the series' stats and changes without judging: all that dgo_profiler_changes needs. */
void dgo_profiler_refresh(struct dgo_profiler *profiler);

/* Finds the pattern of each series, after dgo_profiler_judge. */
void dgo_profiler_find_patterns(struct dgo_profiler *profiler);

/* Series in the order of card, then process (the card itself first), after dgo_profiler_judge; the
 * report lives until the next call of a function that changes the profiler. */
uint32_t dgo_profiler_count(const struct dgo_profiler *profiler);
const struct dgo_series_report *dgo_profiler_report(const struct dgo_profiler *profiler,
                                                    uint32_t index);
uint32_t dgo_profiler_points(const struct dgo_profiler *profiler, uint32_t index,
                             struct dgo_trace_point *points, uint32_t max);

/* Changes of all series, in time, as of the last dgo_profiler_judge or _refresh; what a process
 * caused is told once, as its own.  A process that came or went is named as the cause where the
 * card's change is as large as what it held, within max(16 MiB, 25 %); several where they are
 * together. */
uint32_t dgo_profiler_changes(const struct dgo_profiler *profiler,
                              struct dgo_change_report *changes, uint32_t max);

/* |used/capacity of one card - of the other|, the largest of all pairs; NAN with fewer than two. */
double dgo_profiler_imbalance(const struct dgo_profiler *profiler);

#endif
