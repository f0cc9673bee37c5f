/* grouping.c - buckets that fill, wait and are sent. */
#include "dgo_grouping.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY UINT32_MAX

/* A waiting request; in the list of its bucket, or in the list of free ones. */
struct entry {
    uint64_t id;
    double arrival_s;
    uint32_t tokens, next;
};

struct bucket {
    uint32_t first, last, count;
};

struct dgo_grouping {
    struct dgo_grouping_policy policy;
    struct dgo_grouping_stats stats;
    struct bucket bucket[DGO_BUCKET_MAX];
    uint32_t free_first;
    struct entry entry[]; /* queue_most of them, and a batch's worth for those that come back */
};

static enum dgo_status check_policy(const struct dgo_grouping_policy *policy, struct dgo_error *err)
{
    if (policy->bucket_count == 0 || policy->bucket_count > DGO_BUCKET_MAX)
        return dgo_fail(err, DGO_EINVAL, "%" PRIu32 " buckets; 1 to %d are possible",
                        policy->bucket_count, DGO_BUCKET_MAX);
    for (uint32_t b = 1; b < policy->bucket_count; b++)
        if (policy->bound[b] <= policy->bound[b - 1])
            return dgo_fail(err, DGO_EINVAL, "bucket bounds must grow: %" PRIu32 " after %" PRIu32,
                            policy->bound[b], policy->bound[b - 1]);
    if (policy->budget_tokens < policy->bound[policy->bucket_count - 1])
        return dgo_fail(err, DGO_EINVAL,
                        "a budget of %" PRIu64 " tokens cannot hold a request of %" PRIu32,
                        policy->budget_tokens, policy->bound[policy->bucket_count - 1]);
    if (policy->batch_most == 0 || policy->batch_most > DGO_GROUPING_BATCH_MAX)
        return dgo_fail(err, DGO_EINVAL, "batches of %" PRIu32 " requests; 1 to %d are possible",
                        policy->batch_most, DGO_GROUPING_BATCH_MAX);
    if (policy->queue_most == 0 || policy->queue_most > DGO_GROUPING_QUEUE_MAX)
        return dgo_fail(err, DGO_EINVAL, "a queue of %" PRIu32 " requests; 1 to %d are possible",
                        policy->queue_most, DGO_GROUPING_QUEUE_MAX);
    if (!(policy->flush_after_s >= 0) || isinf(policy->flush_after_s))
        return dgo_fail(err, DGO_EINVAL, "requests must be sent after some time");
    return DGO_OK;
}

enum dgo_status dgo_grouping_new(const struct dgo_grouping_policy *policy,
                                 struct dgo_grouping **grouping, struct dgo_error *err)
{
    const enum dgo_status status = check_policy(policy, err);
    struct dgo_grouping *made;
    uint32_t count;

    if (status != DGO_OK)
        return status;
    count = policy->queue_most + DGO_GROUPING_BATCH_MAX;
    made = malloc(sizeof *made + count * sizeof made->entry[0]);
    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for %" PRIu32 " waiting requests", count);
    memset(made, 0, sizeof *made);
    made->policy = *policy;
    made->stats.budget_tokens = policy->budget_tokens;
    for (uint32_t b = 0; b < DGO_BUCKET_MAX; b++)
        made->bucket[b] = (struct bucket){NOBODY, NOBODY, 0};
    for (uint32_t i = 0; i < count; i++)
        made->entry[i].next = i + 1 < count ? i + 1 : NOBODY;
    *grouping = made;
    return DGO_OK;
}

void dgo_grouping_free(struct dgo_grouping *grouping)
{
    free(grouping);
}

enum dgo_status dgo_grouping_push(struct dgo_grouping *grouping, uint64_t id, uint32_t tokens,
                                  double now_s, struct dgo_error *err)
{
    struct dgo_grouping_stats *stats = &grouping->stats;
    uint32_t b = 0;

    while (b < grouping->policy.bucket_count && grouping->policy.bound[b] < tokens)
        b++;
    if (b == grouping->policy.bucket_count) {
        stats->too_long++;
        return dgo_fail(err, DGO_ELIMIT,
                        "a request of %" PRIu32 " tokens; at most %" PRIu32 " are grouped", tokens,
                        grouping->policy.bound[b - 1]);
    }
    if (stats->waiting >= grouping->policy.queue_most) {
        stats->refused++;
        return dgo_fail(err, DGO_EBUSY, "%" PRIu32 " requests are waiting already", stats->waiting);
    }
    struct bucket *bucket = &grouping->bucket[b];
    const uint32_t e = grouping->free_first;

    grouping->free_first = grouping->entry[e].next;
    grouping->entry[e] = (struct entry){id, now_s, tokens, NOBODY};
    if (bucket->count++ == 0)
        bucket->first = e;
    else
        grouping->entry[bucket->last].next = e;
    bucket->last = e;
    stats->pushed++;
    if (++stats->waiting > stats->waiting_most)
        stats->waiting_most = stats->waiting;
    return DGO_OK;
}

/* Requests of a bucket that one batch may hold now; at least one. */
static uint32_t batch_size(const struct dgo_grouping *grouping, uint32_t b)
{
    const uint64_t bound = grouping->policy.bound[b] ? grouping->policy.bound[b] : 1;
    const uint64_t fitting = grouping->stats.budget_tokens / bound;

    return (uint32_t)dgo_min_u64(dgo_max_u64(fitting, 1), grouping->policy.batch_most);
}

/* Overdue: the oldest head.  Full: likewise.  NOBODY: neither. */
static uint32_t choose(const struct dgo_grouping *grouping, double now_s, bool drain, bool *overdue)
{
    uint32_t oldest[2] = {NOBODY, NOBODY}; /* full, overdue */
    double arrival[2] = {INFINITY, INFINITY};

    for (uint32_t b = 0; b < grouping->policy.bucket_count; b++) {
        const struct bucket *bucket = &grouping->bucket[b];

        if (bucket->count == 0)
            continue;
        const double at = grouping->entry[bucket->first].arrival_s;
        /* As in dgo_grouping_due_s: whoever sleeps until then finds it overdue. */
        const bool late = drain || now_s >= at + grouping->policy.flush_after_s;

        if (!late && bucket->count < batch_size(grouping, b))
            continue;
        if (at < arrival[late]) {
            arrival[late] = at;
            oldest[late] = b;
        }
    }
    *overdue = oldest[1] != NOBODY;
    return *overdue ? oldest[1] : oldest[0];
}

bool dgo_grouping_next(struct dgo_grouping *grouping, double now_s, bool drain,
                       struct dgo_grouping_batch *batch)
{
    bool overdue;
    const uint32_t b = choose(grouping, now_s, drain, &overdue);

    if (b == NOBODY)
        return false;
    struct bucket *bucket = &grouping->bucket[b];
    const uint32_t most = batch_size(grouping, b);

    batch->bucket = b;
    batch->count = 0;
    batch->overdue = overdue && bucket->count < most;
    batch->budget_tokens = grouping->stats.budget_tokens;
    while (batch->count < most && bucket->count > 0) {
        const uint32_t e = bucket->first;
        struct entry *entry = &grouping->entry[e];

        batch->id[batch->count] = entry->id;
        batch->tokens[batch->count] = entry->tokens;
        batch->arrival_s[batch->count++] = entry->arrival_s;
        bucket->first = entry->next;
        bucket->count--;
        grouping->stats.waiting--;
        entry->next = grouping->free_first;
        grouping->free_first = e;
    }
    batch->padded_tokens = (uint64_t)batch->count * grouping->policy.bound[b];
    grouping->stats.batches++;
    grouping->stats.overdue_batches += batch->overdue;
    return true;
}

double dgo_grouping_due_s(const struct dgo_grouping *grouping)
{
    double due = INFINITY;

    for (uint32_t b = 0; b < grouping->policy.bucket_count; b++)
        if (grouping->bucket[b].count > 0)
            due = fmin(due, grouping->entry[grouping->bucket[b].first].arrival_s +
                                grouping->policy.flush_after_s);
    return due;
}

/* To the head of their bucket, in their order.  There is always room: the pool holds a batch more
 * than the queue. */
static void take_back(struct dgo_grouping *grouping, const struct dgo_grouping_batch *batch)
{
    struct bucket *bucket = &grouping->bucket[batch->bucket];

    for (uint32_t i = batch->count; i-- > 0;) {
        const uint32_t e = grouping->free_first;

        if (e == NOBODY)
            return;
        grouping->free_first = grouping->entry[e].next;
        grouping->entry[e] =
            (struct entry){batch->id[i], batch->arrival_s[i], batch->tokens[i], bucket->first};
        bucket->first = e;
        if (bucket->count++ == 0)
            bucket->last = e;
        grouping->stats.waiting++;
    }
}

bool dgo_grouping_ended(struct dgo_grouping *grouping, const struct dgo_grouping_batch *batch,
                        bool out_of_memory)
{
    uint64_t *budget = &grouping->stats.budget_tokens;

    if (!out_of_memory) {
        *budget = dgo_min_u64(grouping->policy.budget_tokens, *budget + *budget / 16 + 1);
        return true;
    }
    grouping->stats.out_of_memory++;
    /* From what failed, not from the budget: it may have been far below. */
    *budget = dgo_max_u64(dgo_min_u64(*budget, batch->padded_tokens) / 2, 1);
    if (batch->count == 1)
        return false;
    take_back(grouping, batch);
    return true;
}

void dgo_grouping_read_stats(const struct dgo_grouping *grouping, struct dgo_grouping_stats *stats)
{
    *stats = grouping->stats;
}
