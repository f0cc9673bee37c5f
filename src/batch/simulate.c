/* simulate.c - a workload replayed through the grouping policy, on an engine of two numbers. */
#include "dgo_grouping.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct simulator {
    const struct dgo_workload *workload;
    const struct dgo_simulation *engine;
    struct dgo_grouping *grouping;
    struct dgo_grouping_batch batch;
    struct dgo_simulated out;
    double *wait_s; /* of each request that was started */
    uint32_t next;  /* the request that arrives next */
    double now_s, busy_s;
};

static double arrival(const struct dgo_workload *workload, uint32_t i)
{
    return workload->arrivals_known ? workload->request[i].arrival_s : 0;
}

/* Everybody who has come by now. */
static void let_in(struct simulator *s)
{
    while (s->next < s->workload->count && arrival(s->workload, s->next) <= s->now_s) {
        const uint32_t i = s->next++;

        if (dgo_grouping_push(s->grouping, i, s->workload->request[i].prompt_tokens,
                              arrival(s->workload, i), NULL) != DGO_OK)
            s->out.refused++;
    }
}

static void compute(struct simulator *s)
{
    const struct dgo_grouping_batch *batch = &s->batch;
    const bool failed =
        s->engine->memory_tokens > 0 && batch->padded_tokens > s->engine->memory_tokens;
    const double seconds =
        s->engine->batch_s + (failed ? 0 : (double)batch->padded_tokens / s->engine->tokens_per_s);

    if (!dgo_grouping_ended(s->grouping, batch, failed))
        s->out.given_up += batch->count;
    s->out.out_of_memory += failed;
    if (!failed) {
        for (uint32_t i = 0; i < batch->count; i++) {
            s->wait_s[s->out.requests++] = s->now_s - batch->arrival_s[i];
            s->out.tokens += batch->tokens[i];
        }
        s->out.padded_tokens += batch->padded_tokens;
        s->out.batches++;
    }
    s->now_s += seconds;
    s->busy_s += seconds;
}

static void replay(struct simulator *s)
{
    for (;;) {
        let_in(s);
        const bool drain = s->next == s->workload->count;

        if (dgo_grouping_next(s->grouping, s->now_s, drain, &s->batch)) {
            compute(s);
            continue;
        }
        if (drain)
            return;
        s->now_s =
            fmax(s->now_s, fmin(arrival(s->workload, s->next), dgo_grouping_due_s(s->grouping)));
    }
}

static int ascending(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static void sum_up(struct simulator *s)
{
    struct dgo_simulated *out = &s->out;
    double sum = 0;

    out->span_s = s->now_s;
    out->busy_share = s->now_s > 0 ? s->busy_s / s->now_s : 0;
    if (out->requests == 0)
        return;
    qsort(s->wait_s, out->requests, sizeof *s->wait_s, ascending);
    for (uint64_t i = 0; i < out->requests; i++)
        sum += s->wait_s[i];
    out->mean_wait_s = sum / (double)out->requests;
    out->p50_wait_s = s->wait_s[(out->requests - 1) / 2];
    out->p99_wait_s = s->wait_s[(uint64_t)(0.99 * (double)(out->requests - 1))];
    out->most_wait_s = s->wait_s[out->requests - 1];
    out->mean_batch = (double)out->requests / (double)out->batches;
}

enum dgo_status dgo_grouping_simulate(const struct dgo_workload *workload,
                                      const struct dgo_grouping_policy *policy,
                                      const struct dgo_simulation *engine,
                                      struct dgo_simulated *simulated, struct dgo_error *err)
{
    struct simulator *s = NULL;
    enum dgo_status status;

    if (!(engine->tokens_per_s > 0) || !(engine->batch_s >= 0))
        return dgo_fail(err, DGO_EINVAL, "an engine that computes nothing cannot be simulated");
    s = calloc(1, sizeof *s);
    if (!s)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    s->workload = workload;
    s->engine = engine;
    s->wait_s = malloc(((size_t)workload->count + 1) * sizeof *s->wait_s);
    status = s->wait_s ? dgo_grouping_new(policy, &s->grouping, err)
                       : dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (status == DGO_OK) {
        replay(s);
        sum_up(s);
        *simulated = s->out;
    }
    dgo_grouping_free(s->grouping);
    free(s->wait_s);
    free(s);
    return status;
}
