/* dgo_overhead.h - what a launch takes of a card outside the engine's books (driver context, code,
 * libraries), and what several launches together teach of it.
 *
 * Pure functions on values.  Any thread. */
#ifndef DGO_OVERHEAD_H
#define DGO_OVERHEAD_H

#include "dgo_base.h"
#include "dgo_gpu.h"
#include "dgo_plan.h"

/* How it was measured. */
enum dgo_overhead_way {
    DGO_OVERHEAD_BY_PROCESS, /* the driver says what the engine's process holds */
    DGO_OVERHEAD_BY_CARD,    /* only what the card has less than before the launch */
};

struct dgo_overhead_question {
    const struct dgo_machine *before; /* NULL: nobody looked before the engine was started */
    const struct dgo_machine *after;  /* the engine is ready */
    uint32_t gpu_index;               /* in both */
    uint32_t pid;                     /* of the engine */
    uint64_t books_bytes;             /* what its log says it holds of the card */
};

struct dgo_overhead {
    uint64_t bytes;
    enum dgo_overhead_way way;
};

/* Two figures are looked for: what the driver says of the process, and what the card lost less what
 * other processes took meanwhile.  Where both are there they must agree within 64 MiB, and the
 * greater counts, for a plan is about what is free.  Where the driver hides what processes hold the
 * card's own loss stands alone.
 *
 * DGO_ENOTFOUND with a sentence: the driver does not tell enough.  DGO_EINVAL with a sentence: the
 * figures contradict each other or the books, or cannot be an overhead (over 4 GiB).  Nothing is
 * learnt from such a launch. */
DGO_MUST_CHECK
enum dgo_status dgo_overhead_measure(const struct dgo_overhead_question *question,
                                     struct dgo_overhead *found, struct dgo_error *err);

/* What a running engine is taken to hold outside its books: follows what it holds with hysteresis.
 * Zero-initialised but for `bytes`, which it had as it became ready. */
struct dgo_overhead_drift {
    uint64_t bytes;
    bool away; /* it holds another amount, since when and how much */
    uint64_t away_bytes, since_ns;
};

#define DGO_OVERHEAD_HOLD_NS UINT64_C(30000000000)

/* What it holds at that time; true when `bytes` has become that: at least 32 MiB and an eighth away
 * from it, and within 16 MiB of one level for DGO_OVERHEAD_HOLD_NS.  What goes on growing is no
 * level: that is a leak's matter, not the next plan's. */
bool dgo_overhead_follow(struct dgo_overhead_drift *drift, uint64_t held_bytes, uint64_t at_ns);

/* What one launch took of one card. */
struct dgo_overhead_sample {
    uint64_t launch_ns; /* the same for the cards of one launch */
    bool same_card;     /* the very card that is asked about, not its namesake */
    bool drifted;       /* it held another amount later than as it became ready */
    uint64_t bytes;
};

enum { DGO_OVERHEAD_SAMPLE_MAX = 32, DGO_OVERHEAD_LAUNCH_MAX = 9 };

struct dgo_overhead_lesson {
    uint32_t launch_count, drifted_count;
    uint64_t bytes;        /* to plan with: the median and the spread */
    uint64_t spread_bytes; /* three times the median distance from the median */
};

/* The newest DGO_OVERHEAD_LAUNCH_MAX launches, newest first in `sample`, of the card itself where
 * there are DGO_OVERHEAD_LAUNCHES_MIN of it, else of its namesakes too.  One that lies far off
 * moves neither median nor spread.  Fewer than DGO_OVERHEAD_LAUNCHES_MIN: the greatest of them,
 * without a spread.  False without any. */
bool dgo_overhead_learn(const struct dgo_overhead_sample *sample, uint32_t count,
                        struct dgo_overhead_lesson *lesson);

#endif
