/* advice_plan.c - the planner answers how fast a machine is with so many slots. */
#include "dgo_advice.h"

#include <math.h>
#include <stdlib.h>

struct planner {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_engine_rules *rules;
    const struct dgo_mix *mix;
    struct dgo_intent intent;
    struct dgo_plan *plan; /* scratch */
    uint32_t host_layers;  /* of the plan with one slot: more of them is too many slots */
    bool host_layers_known;
};

static uint32_t in_host_memory(const struct dgo_plan *plan)
{
    return plan->estimate.host.layer_count + plan->settings.cpu_moe_layer_count;
}

static uint64_t context_bytes(const struct dgo_plan *plan)
{
    uint64_t bytes = plan->estimate.host.context_bytes;

    for (uint32_t d = 0; d < plan->estimate.device_count; d++)
        bytes += plan->estimate.device[d].context_bytes;
    return bytes;
}

static enum dgo_status make_plan(struct planner *planner, uint32_t slots, uint32_t ctx,
                                 struct dgo_error *err)
{
    planner->intent.slot_count = slots;
    planner->intent.concurrent_requests = slots;
    planner->intent.ctx_tokens = ctx;
    return dgo_plan_make(planner->machine, planner->model, &planner->intent, planner->rules,
                         planner->plan, err);
}

/* The planner predicts a slot at half of its context: twice the mean use of one gives the speed at
 * that use. */
static uint32_t speed_context(const struct dgo_mix *mix)
{
    const double used = mix->prompt_tokens + mix->generated_tokens / 2;
    const double padded = ceil(2 * used / DGO_ADVICE_STEP) * DGO_ADVICE_STEP;

    return padded < mix->context_per_slot ? (uint32_t)padded : mix->context_per_slot;
}

static enum dgo_status probe(uint32_t slots, void *data, struct dgo_probe_answer *answer,
                             struct dgo_error *err)
{
    struct planner *planner = data;
    enum dgo_status status = make_plan(planner, slots, planner->mix->context_per_slot, err);

    if (status != DGO_OK)
        return status;
    if (!planner->host_layers_known)
        planner->host_layers = in_host_memory(planner->plan);
    planner->host_layers_known = true;
    answer->fits = in_host_memory(planner->plan) <= planner->host_layers;
    answer->kv_bytes = context_bytes(planner->plan);
    status = make_plan(planner, slots, speed_context(planner->mix), err);
    if (status != DGO_OK)
        return status;
    answer->step_s = slots / planner->plan->predicted.throughput_tokens_per_second;
    answer->prompt_s =
        planner->mix->prompt_tokens / planner->plan->predicted.prefill_tokens_per_second;
    return DGO_OK;
}

/* The smallest micro-batch within 3 % of the best prefill; a longer one than nearly all prompts is
 * never filled. */
static enum dgo_status choose_ubatch(struct planner *planner, uint32_t slots,
                                     const struct dgo_lengths *prompt, uint32_t *ubatch,
                                     struct dgo_error *err)
{
    static const uint32_t sizes[] = {256, 512, 1024, 2048};
    const uint32_t most = dgo_lengths_percentile(prompt, 0.9);
    double best = 0, rate[4] = {0};

    for (unsigned i = 0; i < 4; i++) {
        if (i > 1 && sizes[i - 1] >= most)
            break;
        planner->intent.ubatch_tokens = sizes[i];
        if (make_plan(planner, slots, planner->mix->context_per_slot, err) != DGO_OK ||
            in_host_memory(planner->plan) > planner->host_layers)
            continue;
        rate[i] = planner->plan->predicted.prefill_tokens_per_second;
        best = fmax(best, rate[i]);
    }
    planner->intent.ubatch_tokens = 0;
    for (unsigned i = 0; i < 4; i++)
        if (rate[i] > 0 && rate[i] >= best / 1.03) {
            *ubatch = sizes[i];
            return DGO_OK;
        }
    return dgo_fail(err, DGO_ENOFIT, "no micro-batch fits beside %u slots", slots);
}

static uint32_t power_up_to(double most, uint32_t least, uint32_t greatest)
{
    uint32_t power = least;

    while (power * 2 <= most && power < greatest)
        power *= 2;
    return power;
}

/* A paged cache is shared: as many sequences as the mean ones that fill what the slots reserve.
 * Tokens of a step: a whole usual prompt, but no longer than the latency target allows a step to
 * be; vLLM's own default is 2048, and more than 8192 gains nothing on one machine. */
static void for_paged_engines(const struct dgo_mix *mix, const struct dgo_lengths *prompt,
                              double prefill_rate, struct dgo_planned_advice *made)
{
    const struct dgo_advice *advice = &made->advice;
    const double mean = mix->prompt_tokens + mix->generated_tokens / 2;
    const double in_cache = floor(advice->context_tokens / mean);
    double tokens = fmax(2048, dgo_lengths_percentile(prompt, 0.9));

    made->max_num_seqs = (uint32_t)fmax(advice->slots, fmin(DGO_ADVICE_SLOTS_MAX, in_cache));
    if (mix->rate_known && advice->limit == DGO_LIMIT_ARRIVALS)
        made->max_num_seqs = advice->slots;
    if (mix->token_latency_s > 0) {
        tokens = fmin(tokens, mix->token_latency_s * prefill_rate);
        if (advice->slots_latency && made->max_num_seqs > advice->slots_latency)
            made->max_num_seqs = advice->slots_latency;
    }
    made->max_num_batched_tokens = power_up_to(tokens, 256, 8192);
}

enum dgo_status dgo_advise_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                                const struct dgo_intent *intent,
                                const struct dgo_engine_rules *rules, const struct dgo_mix *mix,
                                const struct dgo_lengths *prompt, struct dgo_planned_advice *made,
                                struct dgo_error *err)
{
    struct dgo_mix wished = *mix;
    struct planner planner = {
        .machine = machine, .model = model, .rules = rules, .mix = &wished, .intent = *intent};
    enum dgo_status status;

    if (intent->ctx_tokens > 0 && intent->ctx_tokens != DGO_CTX_MAX)
        wished.context_per_slot = intent->ctx_tokens;
    if (model->context_length > 0 && wished.context_per_slot > model->context_length)
        wished.context_per_slot = model->context_length; /* the model knows no longer ones */
    planner.intent.prompt_tokens = wished.prompt_tokens;
    planner.intent.generated_tokens = wished.generated_tokens;
    planner.plan = &made->plan;
    status = dgo_advise(&wished, probe, &planner, &made->advice, err);
    if (status != DGO_OK)
        return status;
    made->ubatch_tokens = intent->ubatch_tokens;
    if (made->ubatch_tokens == 0)
        status = choose_ubatch(&planner, made->advice.slots, prompt, &made->ubatch_tokens, err);
    if (status != DGO_OK)
        return status;
    made->batch_tokens = intent->batch_tokens ? intent->batch_tokens : 2048;
    if (made->batch_tokens < made->ubatch_tokens)
        made->batch_tokens = made->ubatch_tokens;
    planner.intent.ubatch_tokens = made->ubatch_tokens;
    planner.intent.batch_tokens = made->batch_tokens;
    status = make_plan(&planner, made->advice.slots, wished.context_per_slot, err);
    if (status == DGO_OK)
        for_paged_engines(&wished, prompt, made->plan.predicted.prefill_tokens_per_second, made);
    return status;
}
