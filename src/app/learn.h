/* learn.h - what launches teach of the memory outside the engine's books: one launch is measured as
 * it becomes ready, the next plan takes what several have taught.  Private to app.
 *
 * A launch on described cards teaches nothing: their memory does not change. */
#ifndef LEARN_H
#define LEARN_H

#include "dgo_app.h"
#include "dgo_overhead.h"
#include "dgo_profile.h"
#include "dgo_store.h"
#include "flow.h"

/* What earlier launches of the flow's binary on cards of these names under this driver taught, into
 * flow->machine; after flow_find_engine and calibrate_recall, whose figure one or two launches only
 * raise.  The store must not be in use. */
void learn_recall(struct flow *flow);

/* One launch.  Loop thread only. */
struct learn;

struct learn_options {
    struct dgo_app *app;
    struct flow *flow;           /* outlives it */
    struct dgo_sampler *sampler; /* outlives it */
    void (*looked)(void *data);  /* follows learn_look once, unless it is cancelled */
    /* While it runs: the engine has come to hold another amount of a card; may be NULL. */
    void (*drifted)(const struct dgo_overhead_record *record, uint32_t gpu_index, void *data);
    void *data;
};

/* NULL: nothing can be learnt (no sampler, described cards, no memory). */
struct learn *learn_new(const struct learn_options *options);

/* Before each start of the engine: what the cards hold now.  Accepts NULL, as those below. */
void learn_before(struct learn *learn);

/* The engine `pid` is ready: looks at the cards anew, on the BLOCKING lane.  False: no look can be
 * had, and `looked` does not follow.  A driver that does not answer is given up after 3 s. */
bool learn_look(struct learn *learn, uint32_t pid);
void learn_cancel(struct learn *learn);

/* After `looked`: what was measured, into the rows of the comparison, and as records for the store;
 * returns how many.  What a card does not teach is said in the log. */
uint32_t learn_measure(struct learn *learn, struct dgo_comparison *comparison,
                       struct dgo_overhead_record records[DGO_GPU_MAX]);

/* After learn_measure: what the engine's process holds is followed with hysteresis
 * (dgo_overhead_follow) until learn_before, _cancel or _free. */
void learn_watch(struct learn *learn);

void learn_free(struct learn *learn);

#endif
