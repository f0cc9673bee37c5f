/* batch.c - a workload analysed: lengths, buckets, padding, packing, arrivals. */
#include "batch.h"

#include "dgo_app.h"
#include "flow.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <math.h>
#include <stdlib.h>

#include <string.h>

/* As the planner's typical request (dgo_plan.h). */
#define GENERATED_TOKENS_DEFAULT 400.0

struct analysis {
    const struct batch_question *question;
    struct batch_report *report;
    struct dgo_error *err;
};

static enum dgo_status count_lengths(struct batch_report *report, struct dgo_error *err)
{
    const struct dgo_workload *workload = &report->requests->workload;
    enum dgo_status status;

    status = dgo_lengths_make(workload, DGO_LENGTH_PROMPT, &report->arena, &report->prompt, err);
    if (status == DGO_OK && workload->generated_known)
        status = dgo_lengths_make(workload, DGO_LENGTH_GENERATED, &report->arena,
                                  &report->generated, err);
    if (status == DGO_OK && workload->generated_known)
        status = dgo_lengths_make(workload, DGO_LENGTH_TOTAL, &report->arena, &report->total, err);
    return status;
}

static enum dgo_status analyse(void *data)
{
    static const uint32_t batches[BATCH_PADDING_ROWS] = {4, 8, 16, 32};
    const struct analysis *analysis = data;
    struct batch_report *report = analysis->report;
    const uint32_t capacity = analysis->question->capacity_tokens;
    enum dgo_status status = count_lengths(report, analysis->err);

    if (status == DGO_OK)
        status = dgo_buckets_make(&report->prompt, DGO_BUCKET_MAX, report->bucket, analysis->err);
    if (status == DGO_OK)
        status = dgo_pack(&report->prompt,
                          capacity ? capacity : dgo_pack_capacity_default(&report->prompt),
                          &report->packing, analysis->err);
    if (status != DGO_OK)
        return status;
    dgo_histogram_make(&report->prompt, &report->prompt_histogram);
    dgo_histogram_make(&report->generated, &report->generated_histogram);
    for (unsigned i = 0; i < BATCH_PADDING_ROWS; i++)
        dgo_padding_make(&report->requests->workload, &report->prompt, batches[i],
                         &report->padding[i]);
    report->arrivals_known = dgo_arrivals_make(&report->requests->workload, &report->arrivals);
    dgo_mix_make(&report->prompt, &report->generated, &report->total,
                 report->arrivals_known ? &report->arrivals : NULL,
                 analysis->question->generated_tokens > 0 ? analysis->question->generated_tokens
                                                          : GENERATED_TOKENS_DEFAULT,
                 analysis->question->token_latency_s, &report->mix);
    return DGO_OK;
}

enum dgo_status batch_analyse(const struct requests *requests,
                              const struct batch_question *question, struct batch_report *report,
                              struct dgo_error *err)
{
    enum dgo_status status;

    memset(report, 0, sizeof *report);
    report->requests = requests;
    status = app_run(COMPONENT_BATCH, analyse,
                     &(struct analysis){.question = question, .report = report, .err = err});
    if (status != DGO_OK)
        batch_done(report);
    return status;
}

struct advising {
    struct batch_report *report;
    const struct flow *flow;
    struct dgo_error *err;
};

static enum dgo_status advise(void *data)
{
    const struct advising *advising = data;
    const struct flow *flow = advising->flow;
    struct batch_report *report = advising->report;
    const enum dgo_status status =
        dgo_advise_plan(&flow->machine, flow->model, &flow->intent, &flow->rules, &report->mix,
                        &report->prompt, &report->planned, advising->err);

    report->advised = status == DGO_OK;
    dgo_text_copy(report->model_name, sizeof report->model_name, flow->model->name);
    return status;
}

enum dgo_status batch_advise(struct batch_report *report, const struct flow *flow,
                             struct dgo_error *err)
{
    return app_run(COMPONENT_BATCH, advise,
                   &(struct advising){.report = report, .flow = flow, .err = err});
}

/* ---- grouping ---- */

/* Buckets that the simulation uses: fewer than these gain much, more of them little. */
enum { GROUPING_BUCKETS = 8, GROUPING_QUEUE = 1 << 16, GROUPING_BATCH = 64 };
#define GROUPING_FLUSH_S 0.5
#define GROUPING_LOAD    0.8 /* of the assumed engine */

static void make_policy(const struct batch_report *report, const struct batch_question *question,
                        struct dgo_grouping_policy *policy)
{
    const struct dgo_buckets *buckets = &report->bucket[GROUPING_BUCKETS - 1];
    const uint32_t count = report->requests->workload.count;

    *policy = (struct dgo_grouping_policy){
        .bucket_count = buckets->bound_count,
        .budget_tokens =
            dgo_max_u64(report->packing.capacity, buckets->bound[buckets->bound_count - 1]),
        .batch_most = GROUPING_BATCH,
        .flush_after_s = question->flush_after_s > 0 ? question->flush_after_s : GROUPING_FLUSH_S,
        /* Without arrivals all come at once, and nobody should be refused. */
        .queue_most = report->arrivals_known && count > GROUPING_QUEUE ? GROUPING_QUEUE : count,
    };
    memcpy(policy->bound, buckets->bound, sizeof policy->bound);
}

/* Where no planner says how fast the machine is: prompts as they are would keep it busy to four
 * fifths. */
static void make_engine(struct batch_report *report)
{
    const double tokens = (double)dgo_lengths_sum(&report->prompt);

    report->engine_assumed = !report->advised;
    report->engine = (struct dgo_simulation){.batch_s = 0.002};
    if (report->advised)
        report->engine.tokens_per_s = report->planned.plan.predicted.prefill_tokens_per_second;
    else if (report->arrivals_known)
        report->engine.tokens_per_s = tokens / report->arrivals.span_s / GROUPING_LOAD;
    if (!(report->engine.tokens_per_s > 0))
        report->engine.tokens_per_s = 10000;
}

struct grouping {
    struct batch_report *report;
    const struct batch_question *question;
    struct dgo_error *err;
};

static enum dgo_status group(void *data)
{
    const struct grouping *grouping = data;
    struct batch_report *report = grouping->report;
    const struct dgo_workload *workload = &report->requests->workload;
    struct dgo_grouping_policy one;
    enum dgo_status status;

    make_policy(report, grouping->question, &report->policy);
    make_engine(report);
    one = report->policy;
    one.bucket_count = 1;
    one.bound[0] = report->policy.bound[report->policy.bucket_count - 1];
    status = dgo_grouping_simulate(workload, &report->policy, &report->engine, &report->grouped,
                                   grouping->err);
    if (status == DGO_OK)
        status =
            dgo_grouping_simulate(workload, &one, &report->engine, &report->queued, grouping->err);
    return status;
}

enum dgo_status batch_group(struct batch_report *report, const struct batch_question *question,
                            struct dgo_error *err)
{
    return app_run(COMPONENT_GROUPING, group,
                   &(struct grouping){.report = report, .question = question, .err = err});
}

/* What every engine needs to know: the usual request, and the longest that is meant. */
static void fill_request(struct flow *flow, const struct batch_report *report)
{
    struct dgo_intent *intent = &flow->intent;

    if (intent->ctx_tokens == 0)
        intent->ctx_tokens = report->mix.context_per_slot;
    if (flow->model->context_length > 0 && intent->ctx_tokens != DGO_CTX_MAX &&
        intent->ctx_tokens > flow->model->context_length)
        intent->ctx_tokens = flow->model->context_length;
    if (!(intent->prompt_tokens > 0))
        intent->prompt_tokens = report->mix.prompt_tokens;
    if (!(intent->generated_tokens > 0))
        intent->generated_tokens = report->mix.generated_tokens;
}

/* Where the user said nothing.  --parallel has a default, which is not a wish. */
static void fill_intent(struct flow *flow, const struct batch_report *report)
{
    const struct dgo_planned_advice *planned = &report->planned;
    struct dgo_intent *intent = &flow->intent;
    const bool slots_wished = option_given(flow->options, OPTION_PARALLEL) &&
                              flow->options->value[OPTION_PARALLEL].origin != ORIGIN_DEFAULT;

    if (!slots_wished)
        intent->slot_count = planned->advice.slots;
    if (intent->ctx_tokens == 0)
        intent->ctx_tokens = planned->advice.context_per_slot;
    if (intent->batch_tokens == 0)
        intent->batch_tokens = planned->batch_tokens;
    if (intent->ubatch_tokens == 0)
        intent->ubatch_tokens = planned->ubatch_tokens;
    fill_request(flow, report);
    if (intent->concurrent_requests == 0)
        intent->concurrent_requests =
            (uint32_t)fmax(1, fmin(ceil(planned->advice.concurrency - 1e-9), intent->slot_count));
}

enum dgo_status batch_intend(struct flow *flow, const char *path, struct dgo_error *err)
{
    const char *const paths[] = {path};
    const struct requests_question question = {
        .paths = paths, .path_count = 1, .columns = option_text(flow->options, OPTION_COLUMNS)};
    struct batch_question wanted = {
        .generated_tokens = flow->intent.generated_tokens,
        .token_latency_s =
            (double)option_number(flow->options, OPTION_TOKEN_LATENCY) / (double)DGO_NS_PER_S,
    };
    struct requests requests;
    struct batch_report *report = malloc(sizeof *report);
    enum dgo_status status;

    if (!report)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    status = requests_read(&question, &requests, err);
    if (status == DGO_OK) {
        status = batch_analyse(&requests, &wanted, report, err);
        if (status == DGO_OK) {
            /* An engine with rules of its own decides shapes and batches itself. */
            if (flow->engine->plan)
                fill_request(flow, report);
            else
                status = batch_advise(report, flow, err);
            if (status == DGO_OK && !flow->engine->plan)
                fill_intent(flow, report);
            batch_done(report);
        }
        requests_done(&requests);
    }
    free(report);
    return status;
}

void batch_done(struct batch_report *report)
{
    dgo_arena_done(&report->arena);
    memset(report, 0, sizeof *report);
}
