/* choose.c - what gives way, and in which order. */
#include "choose.h"

#include "intent.h"

enum {
    CHOOSE_UBATCH_MIN = 128, /* below, prompts become slow and buffers hardly smaller */
};

enum dgo_status choose_try_at(struct planning *planning, uint32_t ctx, enum dgo_kv_type cache,
                              enum search_room room, bool *found, struct dgo_error *err)
{
    struct search_request request = planning->request;

    intent_set_ctx(&request, ctx);
    if (planning->cache_open)
        intent_set_cache(&request, cache, cache);
    request.room = room;
    return search_best(&request, found, &planning->answer, err);
}

enum dgo_status choose_try_longest(struct planning *planning, uint32_t least, uint32_t most,
                                   enum dgo_kv_type cache, enum search_room room, bool *found,
                                   struct dgo_error *err)
{
    struct search_request request = planning->request;
    uint32_t ctx = 0;
    enum dgo_status status = DGO_OK;

    *found = false;
    request.room = room;
    if (planning->cache_open)
        intent_set_cache(&request, cache, cache);
    status = intent_longest_ctx(&request, least, most, &ctx, err);
    if (status != DGO_OK || ctx == 0)
        return status;
    return choose_try_at(planning, ctx, cache, room, found, err);
}

bool choose_experts_allowed(const struct planning *planning)
{
    return planning->cpu_allowed && planning->model->expert_count > 0;
}

/* Layers or experts in host memory: experts first, they are read sparsely and leave attention and
 * cache on the GPUs. */
static enum dgo_status try_host_with(struct planning *planning, uint32_t ctx,
                                     enum dgo_kv_type cache, bool *found, struct dgo_error *err)
{
    const struct dgo_model *model = planning->model;
    const uint32_t cpu_moe = planning->request.settings.cpu_moe_layer_count;
    enum dgo_status status = DGO_OK;

    if (model->expert_count > 0)
        status = choose_try_at(planning, ctx, cache, SEARCH_EXPERTS, found, err);
    if (status == DGO_OK && !*found)
        status = choose_try_at(planning, ctx, cache, SEARCH_CPU, found, err);
    if (status != DGO_OK || *found || model->expert_count == 0)
        return status;
    planning->request.settings.cpu_moe_layer_count = model->layer_count;
    status = choose_try_at(planning, ctx, cache, SEARCH_CPU, found, err);
    planning->request.settings.cpu_moe_layer_count = cpu_moe;
    return status;
}

/* Host memory is slow enough for an f16 cache; an 8-bit one is for what still does not fit. */
enum dgo_status choose_try_host(struct planning *planning, uint32_t ctx, bool *found,
                                struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    *found = false;
    if (!planning->cpu_allowed)
        return DGO_OK;
    status = try_host_with(planning, ctx, DGO_KV_F16, found, err);
    if (status == DGO_OK && !*found && planning->cache_open)
        status = try_host_with(planning, ctx, DGO_KV_Q8_0, found, err);
    return status;
}

/* The cache that needs least of those the planner may take. */
static enum dgo_kv_type smallest_cache(const struct planning *planning)
{
    return planning->cache_open ? DGO_KV_Q8_0 : DGO_KV_F16;
}

/* On GPUs: with the usual micro-batch, else with smaller ones, which make prompts a little slower
 * and nothing worse. */
static enum dgo_status try_on_gpus(struct planning *planning, uint32_t ctx, enum dgo_kv_type cache,
                                   bool *found, struct dgo_error *err)
{
    const uint32_t usual = planning->request.settings.ubatch_tokens;
    enum dgo_status status = choose_try_at(planning, ctx, cache, SEARCH_GPUS, found, err);

    for (uint32_t ubatch = usual / 2;
         status == DGO_OK && !*found && planning->ubatch_open && ubatch >= CHOOSE_UBATCH_MIN;
         ubatch /= 2) {
        planning->request.settings.ubatch_tokens = ubatch;
        status = choose_try_at(planning, ctx, cache, SEARCH_GPUS, found, err);
    }
    planning->request.settings.ubatch_tokens = usual;
    return status;
}

/* All layers on GPUs, and as many experts of them as there is room for. */
static enum dgo_status try_experts(struct planning *planning, uint32_t ctx, bool *found,
                                   struct dgo_error *err)
{
    enum dgo_status status = choose_try_at(planning, ctx, DGO_KV_F16, SEARCH_EXPERTS, found, err);

    if (status == DGO_OK && !*found && planning->cache_open)
        status = choose_try_at(planning, ctx, DGO_KV_Q8_0, SEARCH_EXPERTS, found, err);
    return status;
}

/* A context that was asked for, or the default one: an 8-bit cache before host memory, and where
 * the context was not asked for a shorter one before layers go there; experts are read sparsely,
 * and a few of them there cost less than half of the context.  What is tried later never has more
 * context than what is tried before, so more memory never gives less context. */
static enum dgo_status choose_at(struct planning *planning, uint32_t ctx, bool *found,
                                 struct dgo_error *err)
{
    const uint32_t floor = intent_ctx_floor(planning->model);
    const bool shorter = planning->ctx_free && floor < ctx;
    enum dgo_status status = try_on_gpus(planning, ctx, DGO_KV_F16, found, err);

    if (status == DGO_OK && !*found && planning->cache_open)
        status = try_on_gpus(planning, ctx, DGO_KV_Q8_0, found, err);
    if (status == DGO_OK && !*found && shorter && choose_experts_allowed(planning))
        status = try_experts(planning, ctx, found, err);
    if (status == DGO_OK && !*found && shorter)
        status = choose_try_longest(planning, floor, ctx, smallest_cache(planning), SEARCH_GPUS,
                                    found, err);
    if (status == DGO_OK && !*found)
        status = choose_try_host(planning, shorter ? floor : ctx, found, err);
    return status;
}

/* The longest context in that room, at least the floor: with an f16 cache if that reaches it, with
 * an 8-bit one where context is the objective. */
static enum dgo_status choose_longest_in(struct planning *planning, enum search_room room,
                                         bool *found, struct dgo_error *err)
{
    const uint32_t floor = intent_ctx_floor(planning->model);
    const uint32_t cap = intent_ctx_cap(planning->model);
    const bool compress =
        planning->cache_open && planning->intent->objective == DGO_OBJECTIVE_CONTEXT;
    enum dgo_status status = choose_try_longest(planning, floor, cap, DGO_KV_F16, room, found, err);

    if (status == DGO_OK && compress && *found && intent_ctx(&planning->answer.settings) < cap) {
        const struct search_answer plain = planning->answer;
        bool more = false;

        status = choose_try_longest(planning, floor, cap, DGO_KV_Q8_0, room, &more, err);
        if (!more)
            planning->answer = plain;
    }
    if (status == DGO_OK && !*found && planning->cache_open)
        status = choose_try_longest(planning, floor, compress ? cap : floor, DGO_KV_Q8_0, room,
                                    found, err);
    return status;
}

/* Experts in host memory make room for more, where `*found` on GPUs is not all the model can. */
static enum dgo_status lengthen_with_experts(struct planning *planning, bool *found,
                                             struct dgo_error *err)
{
    const uint32_t before = *found ? intent_ctx(&planning->answer.settings) : 0;
    struct planning other = *planning;
    bool more = false;
    enum dgo_status status = DGO_OK;

    if (!choose_experts_allowed(planning) || before >= intent_ctx_cap(planning->model))
        return DGO_OK;
    status = choose_longest_in(&other, SEARCH_EXPERTS, &more, err);
    if (status != DGO_OK || !more || intent_ctx(&other.answer.settings) <= before)
        return status;
    planning->answer = other.answer;
    *found = true;
    return DGO_OK;
}

/* The most context: on GPUs, or with experts in host memory where that is more.  Where they cannot
 * carry the floor, it is served with layers in host memory; where that is refused or too small,
 * whatever the GPUs can carry. */
static enum dgo_status choose_longest(struct planning *planning, bool *found, struct dgo_error *err)
{
    const uint32_t floor = intent_ctx_floor(planning->model);
    enum dgo_status status = choose_longest_in(planning, SEARCH_GPUS, found, err);

    if (status == DGO_OK)
        status = lengthen_with_experts(planning, found, err);
    if (status == DGO_OK && !*found)
        status = choose_try_host(planning, floor, found, err);
    if (status == DGO_OK && !*found)
        status = choose_try_longest(planning, INTENT_CTX_STEP, floor, smallest_cache(planning),
                                    SEARCH_GPUS, found, err);
    return status;
}

/* The whole of a typical request. */
static double request_s(const struct dgo_prediction *predicted)
{
    return predicted->generated_tokens / predicted->decode_tokens_per_second +
           predicted->prompt_tokens / predicted->prefill_tokens_per_second;
}

static enum search_room room_of(const struct planning *planning)
{
    const struct dgo_settings *settings = &planning->answer.settings;

    if (settings->gpu_layer_count < assign_all_layers(planning->model))
        return SEARCH_CPU;
    return settings->cpu_moe_layer_count > 0 ? SEARCH_EXPERTS : SEARCH_GPUS;
}

/* Weights in host memory travel to a card with every micro-batch of a prompt: larger ones have
 * fewer travels, where they fit.  The fastest is taken. */
static enum dgo_status grow_ubatch(struct planning *planning, struct dgo_error *err)
{
    const enum search_room room = room_of(planning);
    struct planning other = *planning;
    enum dgo_status status = DGO_OK;

    if (room == SEARCH_GPUS || !planning->ubatch_open)
        return DGO_OK;
    if (room == SEARCH_CPU)
        other.request.settings.cpu_moe_layer_count = planning->answer.settings.cpu_moe_layer_count;
    for (uint32_t ubatch = 2 * planning->answer.settings.ubatch_tokens;
         status == DGO_OK && ubatch <= planning->request.settings.batch_tokens; ubatch *= 2) {
        bool found = false;

        other.request.settings.ubatch_tokens = ubatch;
        status = choose_try_at(&other, intent_ctx(&planning->answer.settings),
                               planning->answer.settings.key_type, room, &found, err);
        if (status == DGO_OK && found &&
            request_s(&other.answer.predicted) < request_s(&planning->answer.predicted))
            planning->answer = other.answer;
    }
    return status;
}

/* Where context is what counts: the longest with the smallest micro-batch.  However little it is
 * longer: a threshold would give less context for more memory. */
static enum dgo_status shrink_ubatch(struct planning *planning, struct dgo_error *err)
{
    const uint32_t ctx = intent_ctx(&planning->answer.settings);
    const uint32_t cap = intent_ctx_cap(planning->model);
    struct planning other = *planning;
    bool found = false;
    enum dgo_status status = DGO_OK;

    if (planning->intent->objective != DGO_OBJECTIVE_CONTEXT || !planning->ubatch_open ||
        !planning->longest || ctx >= cap || room_of(planning) != SEARCH_GPUS)
        return DGO_OK;
    other.request.settings.ubatch_tokens = CHOOSE_UBATCH_MIN;
    status = choose_try_longest(&other, ctx, cap, planning->answer.settings.key_type, SEARCH_GPUS,
                                &found, err);
    if (status == DGO_OK && found && intent_ctx(&other.answer.settings) > ctx)
        planning->answer = other.answer;
    return status;
}

/* Heads of an odd length cannot be cut into the blocks of a quantised cache. */
static bool cache_can_shrink(const struct planning *planning)
{
    struct search_request request = planning->request;

    intent_set_cache(&request, DGO_KV_Q8_0, DGO_KV_Q8_0);
    return memory_check(request.machine, request.model, &request.settings, NULL) == DGO_OK;
}

enum dgo_status choose_begin(const struct dgo_machine *machine, const struct dgo_model *model,
                             const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                             struct planning *planning, struct dgo_error *err)
{
    *planning = (struct planning){
        .model = model,
        .intent = intent,
        .longest = intent->ctx_tokens == DGO_CTX_MAX ||
                   (intent->ctx_tokens == 0 && intent->objective == DGO_OBJECTIVE_CONTEXT),
        .ctx_free = intent->ctx_tokens == 0,
        .cpu_allowed = !intent->cpu_layers_refused,
        .ubatch_open = intent->ubatch_tokens == 0,
    };
    const enum dgo_status status =
        intent_request(machine, model, intent, rules, &planning->request, err);

    planning->cache_open =
        status == DGO_OK && intent_cache_open(intent, &planning->request.settings);
    return status;
}

enum dgo_status choose_placement(struct planning *planning, bool *found, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    planning->cache_open = planning->cache_open && cache_can_shrink(planning);
    if (planning->longest)
        status = choose_longest(planning, found, err);
    else
        status = choose_at(planning, intent_ctx(&planning->request.settings), found, err);
    if (status == DGO_OK && *found)
        status = grow_ubatch(planning, err);
    if (status == DGO_OK && *found)
        status = shrink_ubatch(planning, err);
    return status;
}

enum dgo_status choose_nearest(struct planning *planning, struct search_request *request,
                               struct dgo_error *err)
{
    *request = planning->request;
    if (planning->longest)
        intent_set_ctx(request, INTENT_CTX_STEP);
    else if (planning->ctx_free)
        intent_set_ctx(request, intent_ctx_floor(planning->model));
    if (planning->cache_open)
        intent_set_cache(request, DGO_KV_Q8_0, DGO_KV_Q8_0);
    return search_nearest(request, &planning->answer, err);
}
