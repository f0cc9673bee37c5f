/* dgo_grouping.h - requests of like length put together while they come in: an online policy, and a
 * simulator that replays a workload through it.
 *
 * Each request waits in the bucket of its length.  A bucket is sent when it is full (its padded
 * tokens reach the budget, or the batch its size) or when its oldest request has waited long
 * enough. fairness       overdue buckets go before full ones, the one with the oldest request
 * first: an overdue request waits for nobody but those overdue before it back-pressure  a full
 * queue refuses (DGO_EBUSY): whoever asks should wait, or tell its client to back-off       a batch
 * that ran out of memory comes back whole and first, the budget halves, and grows again by a
 * sixteenth with each batch that succeeds Time is a parameter, in seconds from anywhere.  No I/O,
 * no clock, no threads: one owner at a time. Nothing is allocated after dgo_grouping_new. */
#ifndef DGO_GROUPING_H
#define DGO_GROUPING_H

#include "dgo_batch.h"

enum { DGO_GROUPING_BATCH_MAX = 256, DGO_GROUPING_QUEUE_MAX = 1 << 24 };

struct dgo_grouping_policy {
    uint32_t bucket_count;          /* 1..DGO_BUCKET_MAX */
    uint32_t bound[DGO_BUCKET_MAX]; /* longest request of each, ascending */
    uint64_t budget_tokens;         /* padded tokens of a batch; at least the last bound */
    uint32_t batch_most;            /* requests of a batch, 1..DGO_GROUPING_BATCH_MAX */
    double flush_after_s;           /* a request waits no longer for company */
    uint32_t queue_most;            /* waiting requests, 1..DGO_GROUPING_QUEUE_MAX */
};

/* One batch to be computed; a value. */
struct dgo_grouping_batch {
    uint32_t bucket, count;
    uint64_t id[DGO_GROUPING_BATCH_MAX]; /* as they were pushed */
    uint32_t tokens[DGO_GROUPING_BATCH_MAX];
    double arrival_s[DGO_GROUPING_BATCH_MAX];
    uint64_t padded_tokens, budget_tokens; /* the budget it was made under */
    bool overdue;                          /* sent because it had waited, not because it was full */
};

struct dgo_grouping_stats {
    uint64_t pushed, refused, too_long, batches, overdue_batches, out_of_memory;
    uint32_t waiting, waiting_most;
    uint64_t budget_tokens; /* now */
};

struct dgo_grouping;

/* DGO_EINVAL names what is wrong with the policy; DGO_ENOMEM. */
enum dgo_status dgo_grouping_new(const struct dgo_grouping_policy *policy,
                                 struct dgo_grouping **grouping,
                                 struct dgo_error *err) DGO_MUST_CHECK;
void dgo_grouping_free(struct dgo_grouping *grouping); /* accepts NULL */

/* A request comes in.  DGO_EBUSY: the queue is full; DGO_ELIMIT: longer than the last bucket. */
enum dgo_status dgo_grouping_push(struct dgo_grouping *grouping, uint64_t id, uint32_t tokens,
                                  double now_s, struct dgo_error *err) DGO_MUST_CHECK;

/* Something can be computed: the batch that should be.  false: nothing is full or overdue.
 * `drain`: no more will come, so whatever waits is overdue. */
bool dgo_grouping_next(struct dgo_grouping *grouping, double now_s, bool drain,
                       struct dgo_grouping_batch *batch);
/* When something will be overdue; INFINITY: nothing waits. */
double dgo_grouping_due_s(const struct dgo_grouping *grouping);

/* How a batch ended.  After running out of memory its requests wait again, before all others; a
 * batch of one request that does so is given up (false), for no smaller one can be made of it. */
bool dgo_grouping_ended(struct dgo_grouping *grouping, const struct dgo_grouping_batch *batch,
                        bool out_of_memory);

void dgo_grouping_read_stats(const struct dgo_grouping *grouping, struct dgo_grouping_stats *stats);

/* ---- replaying a workload ---------------------------------------------------------------- */

/* One engine that computes a batch at a time. */
struct dgo_simulation {
    double tokens_per_s;    /* padded tokens it computes */
    double batch_s;         /* beside them, for each batch */
    uint64_t memory_tokens; /* a batch with more padded tokens fails; 0: none does */
};

struct dgo_simulated {
    uint64_t requests, refused, given_up, batches, out_of_memory;
    uint64_t tokens, padded_tokens;                          /* of successful batches */
    double mean_wait_s, p50_wait_s, p99_wait_s, most_wait_s; /* from arrival to the batch's start */
    double mean_batch;                                       /* requests in one */
    double busy_share, span_s; /* of the time from the first arrival to the last end */
};

/* Prompts in order of arrival (all at 0 where arrivals are not known).  DGO_EINVAL, DGO_ENOMEM. */
enum dgo_status dgo_grouping_simulate(const struct dgo_workload *workload,
                                      const struct dgo_grouping_policy *policy,
                                      const struct dgo_simulation *engine,
                                      struct dgo_simulated *simulated,
                                      struct dgo_error *err) DGO_MUST_CHECK;

#endif
