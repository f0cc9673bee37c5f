/* intent.c - what "choose for me" means: margins, batches, context. */
#include "intent.h"

#include <inttypes.h>
#include <string.h>

static uint64_t default_margin(const struct dgo_gpu *gpu, enum dgo_objective objective)
{
    const bool safe = objective == DGO_OBJECTIVE_SAFE;
    const uint64_t total =
        dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) ? gpu->total_bytes : assign_free_bytes(gpu);
    const uint64_t share =
        total / 1000 * (safe ? INTENT_SAFE_MARGIN_PERMILLE : INTENT_MARGIN_PERMILLE);

    return dgo_max_u64(share, safe ? INTENT_SAFE_MARGIN_BYTES : INTENT_MARGIN_BYTES);
}

static void fill_margins(const struct dgo_machine *machine, const struct dgo_intent *intent,
                         struct search_request *request)
{
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const bool own = intent->gpu_margin_mask >> g & 1;
        uint64_t margin = own ? intent->gpu_margin_bytes[g] : intent->margin_bytes;

        if (margin == UINT64_MAX)
            margin = 0;
        else if (margin == 0 && !own)
            margin = default_margin(&machine->gpu[g], intent->objective);
        request->margin_bytes[g] = margin;
    }
    request->safety = intent->margin_bytes != UINT64_MAX;
}

/* Why no GPU at all can be planned for. */
static enum dgo_status fail_unusable(const struct dgo_machine *machine, struct dgo_error *err)
{
    const char *why = "their free memory is unknown";

    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if (gpu->problem[0] == '\0' && dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
            return dgo_fail(err, DGO_ENOGPU,
                            "GPU %" PRIu32 "%s%.60s%s has no free memory%s; `dualgpuopt gpus` "
                            "shows who has it",
                            g, gpu->name[0] ? " (" : "", gpu->name, gpu->name[0] ? ")" : "",
                            machine->gpu_count > 1 ? ", and no other GPU can be used" : "");
        if (gpu->problem[0])
            why = gpu->problem;
    }
    return dgo_fail(err, DGO_ENOGPU, "none of the %" PRIu32 " GPUs can be read: %s",
                    machine->gpu_count, why);
}

/* A machine and a mask that leave something to plan for. */
static enum dgo_status check_gpus(const struct dgo_machine *machine,
                                  const struct dgo_intent *intent, struct dgo_error *err)
{
    uint32_t gpus[DGO_GPU_MAX];

    if (machine->gpu_count == 0)
        return dgo_fail(err, DGO_ENOGPU,
                        "the machine has no GPU to plan for; describe one in a machine file to "
                        "plan for another machine");
    const uint32_t usable = search_usable(machine, intent->gpu_mask, gpus);

    if (usable > PLACE_EXACT_MAX && intent->every_gpu)
        return dgo_fail(err, DGO_EINVAL,
                        "using every GPU can be asked for up to %d GPUs, here are %" PRIu32
                        "; leave it out, or allow fewer",
                        PLACE_EXACT_MAX, usable);
    if (usable > 0)
        return DGO_OK;
    if (search_usable(machine, 0, gpus) == 0)
        return fail_unusable(machine, err);
    return dgo_fail(err, DGO_EINVAL,
                    "none of the GPUs that were allowed can be used; the machine has GPUs 0 to "
                    "%" PRIu32,
                    machine->gpu_count - 1);
}

static enum dgo_status check_context(const struct dgo_intent *intent, uint32_t slots,
                                     struct dgo_error *err)
{
    const uint64_t total = dgo_pad_u64(intent->ctx_tokens, INTENT_CTX_STEP) * slots;

    if (intent->ctx_tokens != DGO_CTX_MAX && total > INT32_MAX)
        return dgo_fail(err, DGO_EINVAL,
                        "a context of %" PRIu32 " tokens for each of %" PRIu32
                        " slots is more than the engine can count; ask for less of either",
                        intent->ctx_tokens, slots);
    return DGO_OK;
}

static enum dgo_status check_concurrent(const struct dgo_intent *intent, struct dgo_error *err)
{
    const uint32_t slots = intent->slot_count > 0 ? intent->slot_count : 1;

    if (intent->concurrent_requests > slots)
        return dgo_fail(err, DGO_EINVAL,
                        "%" PRIu32 " requests at once need as many slots, and there %s %" PRIu32
                        "; ask for more slots (--parallel)",
                        intent->concurrent_requests, slots == 1 ? "is" : "are", slots);
    return DGO_OK;
}

static enum dgo_status check_draft(const struct dgo_model *model, const struct dgo_intent *intent,
                                   struct dgo_error *err)
{
    const char *refusal = intent->draft_tokens > 0 ? dgo_own_draft_refusal(model) : NULL;

    return refusal ? dgo_fail(err, DGO_EINVAL, "--draft: %s", refusal) : DGO_OK;
}

/* The engine would quietly take the smaller of the two. */
static enum dgo_status check_batches(const struct dgo_intent *intent, struct dgo_error *err)
{
    if (intent->batch_tokens > 0 && intent->ubatch_tokens > intent->batch_tokens)
        return dgo_fail(err, DGO_EINVAL,
                        "a batch of %" PRIu32 " tokens cannot hold a micro-batch of %" PRIu32
                        "; give a larger --batch or a smaller --ubatch",
                        intent->batch_tokens, intent->ubatch_tokens);
    return DGO_OK;
}

/* A row of logits for each guess and one more; the block's cache is like the model's. */
static void fill_draft(const struct dgo_intent *intent, struct dgo_settings *settings)
{
    if (intent->draft_tokens == 0)
        return;
    settings->own_draft = settings->states_out = true;
    settings->rollback_tokens = intent->draft_tokens;
    settings->draft_key_type = settings->key_type;
    settings->draft_value_type = settings->value_type;
    settings->output_row_count = (uint32_t)dgo_min_u64(
        settings->slot_count * (UINT64_C(1) + intent->draft_tokens), settings->batch_tokens);
}

static void fill_settings(const struct dgo_model *model, const struct dgo_intent *intent,
                          const struct dgo_engine_rules *rules, struct search_request *request)
{
    const struct memory_build *rule = memory_build_find(rules ? rules->build : 0);
    struct dgo_settings *settings = &request->settings;
    uint32_t gpus[DGO_GPU_MAX];

    settings->slot_count = intent->slot_count > 0 ? intent->slot_count : 1;
    settings->batch_tokens = intent->batch_tokens > 0 ? intent->batch_tokens : INTENT_BATCH_DEFAULT;
    settings->ubatch_tokens =
        intent->ubatch_tokens > 0 ? intent->ubatch_tokens : INTENT_UBATCH_DEFAULT;
    if (intent->ubatch_tokens == 0 && settings->ubatch_tokens > settings->batch_tokens)
        settings->ubatch_tokens = settings->batch_tokens;
    if (intent->batch_tokens == 0 && settings->batch_tokens < settings->ubatch_tokens)
        settings->batch_tokens = settings->ubatch_tokens;
    settings->key_type = intent->kv_type_given ? intent->key_type : DGO_KV_F16;
    settings->value_type = intent->kv_type_given ? intent->value_type : DGO_KV_F16;
    settings->flash_attention =
        intent->flash_attention_off || !memory_has_kernels(model, settings, rule) ? DGO_FA_OFF
                                                                                  : DGO_FA_ON;
    settings->swa_full = intent->swa_full;
    fill_draft(intent, settings);
    settings->op_offload = true;
    settings->split_mode = DGO_SPLIT_LAYER;
    /* One device with everything: what memory_check looks at until there is a placement. */
    settings->gpu_layer_count = assign_all_layers(model);
    settings->device_count = 1;
    if (search_usable(request->machine, intent->gpu_mask, gpus) > 0)
        settings->device_gpu[0] = gpus[0];
}

enum dgo_status intent_request(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_intent *intent,
                               const struct dgo_engine_rules *rules, struct search_request *request,
                               struct dgo_error *err)
{
    enum dgo_status status = check_gpus(machine, intent, err);

    if (status == DGO_OK)
        status = check_context(intent, intent->slot_count > 0 ? intent->slot_count : 1, err);
    if (status == DGO_OK)
        status = check_concurrent(intent, err);
    if (status == DGO_OK)
        status = check_batches(intent, err);
    if (status == DGO_OK)
        status = check_draft(model, intent, err);
    if (status != DGO_OK)
        return status;
    *request = (struct search_request){
        .machine = machine,
        .model = model,
        .rules = rules,
        .gpu_mask = intent->gpu_mask,
        .every_gpu = intent->every_gpu,
        .most_spare = intent->objective == DGO_OBJECTIVE_SAFE,
        .room = SEARCH_GPUS,
        .prompt_tokens = intent->prompt_tokens,
        .generated_tokens = intent->generated_tokens,
        .concurrent_requests = intent->concurrent_requests > 0 ? intent->concurrent_requests : 1,
    };
    fill_settings(model, intent, rules, request);
    fill_margins(machine, intent, request);
    intent_set_ctx(request, intent_ctx_default(model));
    if (intent->ctx_tokens > 0 && intent->ctx_tokens != DGO_CTX_MAX)
        intent_set_ctx(request, intent->ctx_tokens);
    return memory_check(machine, model, &request->settings, err);
}

bool intent_cache_open(const struct dgo_intent *intent, const struct dgo_settings *settings)
{
    /* Without flash attention the engine refuses a quantised value cache. */
    return !intent->kv_type_given && settings->flash_attention == DGO_FA_ON;
}

void intent_set_cache(struct search_request *request, enum dgo_kv_type key, enum dgo_kv_type value)
{
    request->settings.key_type = request->settings.draft_key_type = key;
    request->settings.value_type = request->settings.draft_value_type = value;
}

uint32_t intent_ctx_cap(const struct dgo_model *model)
{
    const uint32_t trained = model->context_length > 0 ? model->context_length : INTENT_CTX_UNKNOWN;
    const uint32_t cap = trained / INTENT_CTX_STEP * INTENT_CTX_STEP;

    return cap > 0 ? cap : INTENT_CTX_STEP;
}

uint32_t intent_ctx_default(const struct dgo_model *model)
{
    const uint32_t cap = intent_ctx_cap(model);

    return cap < INTENT_CTX_DEFAULT ? cap : INTENT_CTX_DEFAULT;
}

uint32_t intent_ctx_floor(const struct dgo_model *model)
{
    const uint32_t cap = intent_ctx_cap(model);

    return cap < INTENT_CTX_FLOOR ? cap : INTENT_CTX_FLOOR;
}

void intent_set_ctx(struct search_request *request, uint32_t ctx_per_slot)
{
    request->settings.ctx_tokens =
        (uint32_t)dgo_pad_u64(ctx_per_slot, INTENT_CTX_STEP) * request->settings.slot_count;
}

uint32_t intent_ctx(const struct dgo_settings *settings)
{
    return settings->ctx_tokens / (settings->slot_count > 0 ? settings->slot_count : 1);
}

enum dgo_status intent_longest_ctx(const struct search_request *request, uint32_t least,
                                   uint32_t most, uint32_t *longest, struct dgo_error *err)
{
    struct search_request asked = *request;
    const uint32_t countable =
        INT32_MAX / request->settings.slot_count / INTENT_CTX_STEP * INTENT_CTX_STEP;
    uint32_t low = least / INTENT_CTX_STEP;
    uint32_t high = (most < countable ? most : countable) / INTENT_CTX_STEP + 1;
    bool fits = false;
    enum dgo_status status = DGO_OK;

    *longest = 0;
    if (high <= low)
        return DGO_OK;
    intent_set_ctx(&asked, low * INTENT_CTX_STEP);
    status = search_fits(&asked, &fits, err);
    if (status != DGO_OK || !fits)
        return status;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;

        intent_set_ctx(&asked, middle * INTENT_CTX_STEP);
        status = search_fits(&asked, &fits, err);
        if (status != DGO_OK)
            return status;
        if (fits)
            low = middle;
        else
            high = middle;
    }
    *longest = low * INTENT_CTX_STEP;
    return DGO_OK;
}
