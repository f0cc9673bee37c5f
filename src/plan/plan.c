/* plan.c - intent to plan: what was chosen, beside its alternatives, or why nothing fits. */
#include "dgo_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "dgo_text.h"
#include "intent.h"
#include "search.h"

static bool same_settings(const struct dgo_settings *a, const struct dgo_settings *b)
{
    if (a->ctx_tokens != b->ctx_tokens || a->ubatch_tokens != b->ubatch_tokens ||
        a->key_type != b->key_type || a->value_type != b->value_type ||
        a->gpu_layer_count != b->gpu_layer_count || a->device_count != b->device_count ||
        a->tensor_split_given != b->tensor_split_given ||
        a->cpu_moe_layer_count != b->cpu_moe_layer_count)
        return false;
    for (uint32_t d = 0; d < a->device_count; d++)
        if (a->device_gpu[d] != b->device_gpu[d] ||
            (a->tensor_split_given && a->tensor_split[d] != b->tensor_split[d]))
            return false;
    return true;
}

DGO_PRINTF(3, 4)
static void add_alternative(struct dgo_plan *plan, const struct search_answer *answer,
                            const char *fmt, ...)
{
    struct dgo_alternative *to = &plan->alternative[plan->alternative_count];
    va_list args;

    if (plan->alternative_count == DGO_ALTERNATIVE_MAX - 1 ||
        same_settings(&plan->settings, &answer->settings))
        return;
    for (uint32_t i = 0; i < plan->alternative_count; i++)
        if (same_settings(&plan->alternative[i].settings, &answer->settings))
            return;
    plan->alternative_count++;
    va_start(args, fmt);
    vsnprintf(to->why, sizeof to->why, fmt, args);
    va_end(args);
    to->settings = answer->settings;
    to->estimate = answer->estimate;
    to->predicted = answer->predicted;
}

/* What the engine would do by itself with the same context: every allowed card, by free memory. */
static enum dgo_status offer_default_split(const struct planning *planning, struct dgo_plan *plan,
                                           struct dgo_error *err)
{
    struct search_answer answer;
    struct dgo_settings settings = plan->settings;
    const uint32_t count =
        search_usable(planning->request.machine, planning->request.gpu_mask, settings.device_gpu);
    enum dgo_status status = DGO_OK;

    settings.device_count = count;
    settings.tensor_split_given = false;
    memset(settings.tensor_split, 0, sizeof settings.tensor_split);
    settings.gpu_layer_count = assign_all_layers(planning->model);
    settings.cpu_moe_layer_count = 0;
    if (count < 2)
        return DGO_OK;
    status = search_judge(&planning->request, &settings, &answer, err);
    if (status == DGO_OK)
        add_alternative(plan, &answer, "the engine's default split, by free memory");
    return status;
}

/* The plan's own cache with the most context, when that is more. */
static enum dgo_status offer_longest(const struct planning *planning, struct dgo_plan *plan,
                                     enum dgo_kv_type cache, const char *why, struct dgo_error *err)
{
    struct planning other = *planning;
    const uint32_t ctx = intent_ctx(&plan->settings), cap = intent_ctx_cap(planning->model);
    const bool experts = plan->settings.cpu_moe_layer_count > 0 && choose_experts_allowed(planning);
    bool found = false;
    enum dgo_status status = DGO_OK;

    other.request.most_spare = false;
    if (ctx < cap)
        status = choose_try_longest(&other, ctx, cap, cache, experts ? SEARCH_EXPERTS : SEARCH_GPUS,
                                    &found, err);
    if (status == DGO_OK && found)
        add_alternative(plan, &other.answer, "%s", why);
    return status;
}

/* Less context, and none of the experts in host memory that the most of it took. */
static enum dgo_status offer_gpus_alone(const struct planning *planning, struct dgo_plan *plan,
                                        struct dgo_error *err)
{
    struct planning other = *planning;
    bool found = false;
    enum dgo_status status = DGO_OK;

    if (!planning->longest || plan->settings.cpu_moe_layer_count == 0)
        return DGO_OK;
    status =
        choose_try_longest(&other, intent_ctx_floor(planning->model), intent_ctx(&plan->settings),
                           plan->settings.key_type, SEARCH_GPUS, &found, err);
    if (status == DGO_OK && found)
        add_alternative(plan, &other.answer, "longest context on the GPUs alone");
    return status;
}

/* An 8-bit cache where the plan has a 16-bit one; a 16-bit one where the plan gave it up. */
static enum dgo_status offer_cache(const struct planning *planning, struct dgo_plan *plan,
                                   struct dgo_error *err)
{
    struct planning other = *planning;
    const uint32_t ctx = intent_ctx(&plan->settings);
    bool found = false;
    enum dgo_status status = DGO_OK;

    if (!planning->cache_open)
        return DGO_OK;
    if (plan->settings.key_type == DGO_KV_Q8_0) {
        status = choose_try_at(&other, ctx, DGO_KV_F16, SEARCH_GPUS, &found, err);
        if (status == DGO_OK && !found)
            status = choose_try_host(&other, ctx, &found, err);
        if (status == DGO_OK && found)
            add_alternative(
                plan, &other.answer, "f16 cache at the same context%s",
                other.answer.estimate.host.layer_count > 0 ? ", first layers in host memory" : "");
        return status;
    }
    status = choose_try_at(&other, ctx, DGO_KV_Q8_0, SEARCH_GPUS, &found, err);
    if (status == DGO_OK && found)
        add_alternative(plan, &other.answer, "8-bit cache (q8_0) at the same context");
    return status;
}

/* One card when the plan takes several, else the placement with the most memory left free. */
static enum dgo_status offer_cards(const struct planning *planning, struct dgo_plan *plan,
                                   struct dgo_error *err)
{
    struct search_request request = planning->request;
    struct search_answer answer;
    bool found = false;
    enum dgo_status status = DGO_OK;

    request.settings = plan->settings;
    request.settings.cpu_moe_layer_count = 0;
    if (plan->settings.device_count > 1) {
        request.one_gpu = true;
        request.every_gpu = false;
        status = search_best(&request, &found, &answer, err);
        if (status == DGO_OK && found)
            add_alternative(plan, &answer, "one card alone");
        if (status != DGO_OK || found)
            return status;
    }
    request.one_gpu = false;
    request.most_spare = true;
    status = search_best(&request, &found, &answer, err);
    if (status == DGO_OK && found)
        add_alternative(plan, &answer, "the most memory left free on every card");
    return status;
}

static enum dgo_status fill_alternatives(const struct planning *planning, struct dgo_plan *plan,
                                         struct dgo_error *err)
{
    const enum dgo_kv_type own = plan->settings.key_type;
    enum dgo_status status = offer_longest(planning, plan, own, "longest context", err);

    if (status == DGO_OK)
        status = offer_gpus_alone(planning, plan, err);
    if (status == DGO_OK)
        status = offer_default_split(planning, plan, err);
    if (status == DGO_OK)
        status = offer_cards(planning, plan, err);
    if (status == DGO_OK && planning->cache_open && own == DGO_KV_F16)
        status = offer_longest(planning, plan, DGO_KV_Q8_0,
                               "longest context with an 8-bit cache (q8_0)", err);
    if (status == DGO_OK)
        status = offer_cache(planning, plan, err);
    return status;
}

static void write_plan(const struct planning *planning, struct dgo_plan *plan)
{
    plan->settings = planning->answer.settings;
    plan->estimate = planning->answer.estimate;
    plan->predicted = planning->answer.predicted;
    plan->alternative_count = 0;
    plan->every_gpu = planning->request.every_gpu;
    plan->gpu_mask = planning->request.gpu_mask;
    memcpy(plan->margin_bytes, planning->request.margin_bytes, sizeof plan->margin_bytes);
}

/* The longest context below `asked` that fits with layers or experts in host memory; 0: none. */
static uint32_t longest_with_host(const struct planning *planning,
                                  const struct search_request *nearest, uint32_t asked)
{
    const bool experts = planning->model->expert_count > 0;
    struct search_request request = *nearest;
    uint32_t with_experts = 0, with_layers = 0;

    if (!planning->cpu_allowed)
        return 0;
    request.room = SEARCH_EXPERTS;
    if (experts &&
        intent_longest_ctx(&request, INTENT_CTX_STEP, asked, &with_experts, NULL) != DGO_OK)
        with_experts = 0;
    request.room = SEARCH_CPU;
    request.settings.cpu_moe_layer_count = experts ? planning->model->layer_count : 0;
    if (intent_longest_ctx(&request, INTENT_CTX_STEP, asked, &with_layers, NULL) != DGO_OK)
        with_layers = 0;
    return with_experts > with_layers ? with_experts : with_layers;
}

/* Whether host memory without end would let it fit.  Where not, no card has room for any layer. */
static bool host_is_short(const struct planning *planning, const struct search_request *nearest)
{
    struct search_request request = *nearest;
    struct dgo_machine *endless = malloc(sizeof *endless);
    bool fits = false;

    if (!endless)
        return true;
    *endless = *nearest->machine;
    endless->host.memory_known = false;
    request.machine = endless;
    request.room = SEARCH_CPU;
    request.settings.cpu_moe_layer_count = planning->model->layer_count;
    if (planning->model->expert_count == 0)
        request.settings.cpu_moe_layer_count = 0;
    if (search_fits(&request, &fits, NULL) != DGO_OK)
        fits = true;
    free(endless);
    return fits;
}

/* What would help, in the order of least loss; found by asking, not guessed. */
static void add_advice(const struct planning *planning, const struct search_request *nearest,
                       struct dgo_text *text)
{
    const uint32_t asked = intent_ctx(&nearest->settings);
    const char *each = nearest->settings.slot_count > 1 ? " for each slot" : "";
    uint32_t alone = 0, shared = 0;

    if (asked > INTENT_CTX_STEP) {
        if (intent_longest_ctx(nearest, INTENT_CTX_STEP, asked, &alone, NULL) != DGO_OK)
            alone = 0;
        shared = longest_with_host(planning, nearest, asked);
    }
    if (shared > alone && alone > 0)
        dgo_text_addf(text,
                      "; a context of at most %" PRIu32 " tokens%s would fit, %" PRIu32
                      " on the GPUs alone",
                      shared, each, alone);
    else if (shared > alone)
        dgo_text_addf(
            text, "; a context of at most %" PRIu32 " tokens%s would fit with host memory's help",
            shared, each);
    else if (alone > 0)
        dgo_text_addf(text, "; a context of at most %" PRIu32 " tokens%s would fit", alone, each);
    else if (!planning->cpu_allowed)
        dgo_text_add(text, "; allow layers in host memory, or take a smaller quantisation");
    else if (host_is_short(planning, nearest))
        dgo_text_add(text, "; host memory is too small for the rest, too: free some memory, or "
                           "take a smaller model or quantisation");
    else
        dgo_text_add(text, "; no card has room for even one layer beside its overhead and margin: "
                           "free some of its memory, give it a smaller --margin, or let the CPU "
                           "compute all (the engine's -ngl 0)");
}

static enum dgo_status fail_nofit(const struct planning *planning,
                                  const struct search_request *nearest, struct dgo_error *err)
{
    const struct dgo_estimate *estimate = &planning->answer.estimate;
    const struct dgo_machine *machine = planning->request.machine;
    char sentence[DGO_ERROR_TEXT_MAX], missing[DGO_UNIT_TEXT_MAX], free_text[DGO_UNIT_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(sentence);

    dgo_bytes_text(estimate->missing_bytes, missing);
    if (estimate->limiting_device >= 0) {
        const struct dgo_device_estimate *device = &estimate->device[estimate->limiting_device];

        /* By index: an engine that is shown fewer cards would name them otherwise. */
        dgo_text_addf(&text, "the model does not fit: GPU %" PRIu32, device->gpu_index);
        if (machine->gpu[device->gpu_index].name[0])
            dgo_text_addf(&text, " (%s)", machine->gpu[device->gpu_index].name);
        dgo_text_addf(&text, " misses %s of its %s free", missing,
                      dgo_bytes_text(device->free_bytes, free_text));
    } else {
        dgo_text_addf(&text, "the model does not fit: host memory misses %s of its %s free",
                      missing, dgo_bytes_text(estimate->host.free_bytes, free_text));
    }
    dgo_text_addf(&text, " at %" PRIu32 " tokens of context with a %s cache",
                  intent_ctx(&planning->answer.settings),
                  dgo_kv_type_name(planning->answer.settings.key_type));
    add_advice(planning, nearest, &text);
    return dgo_fail(err, DGO_ENOFIT, "%s", text.data);
}

/* The nearest placement is kept for the faces. */
static enum dgo_status settle_nofit(struct planning *planning, struct dgo_plan *plan,
                                    struct dgo_error *err)
{
    struct search_request request;
    const enum dgo_status status = choose_nearest(planning, &request, err);

    if (status != DGO_OK)
        return status;
    write_plan(planning, plan);
    return plan->estimate.fits ? DGO_OK : fail_nofit(planning, &request, err);
}

enum dgo_status dgo_plan_make(const struct dgo_machine *machine, const struct dgo_model *model,
                              const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                              struct dgo_plan *plan, struct dgo_error *err)
{
    struct planning planning;
    bool found = false;
    enum dgo_status status = choose_begin(machine, model, intent, rules, &planning, err);

    if (status != DGO_OK)
        return status;
    status = choose_placement(&planning, &found, err);
    if (status != DGO_OK)
        return status;
    if (!found)
        return settle_nofit(&planning, plan, err);
    write_plan(&planning, plan);
    return intent->alone ? DGO_OK : fill_alternatives(&planning, plan, err);
}

enum dgo_status dgo_plan_judge(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_intent *intent,
                               const struct dgo_engine_rules *rules,
                               const struct dgo_settings *settings, struct dgo_alternative *judged,
                               struct dgo_error *err)
{
    struct search_request request;
    struct search_answer answer;
    enum dgo_status status = intent_request(machine, model, intent, rules, &request, err);

    if (status == DGO_OK)
        status = search_judge(&request, settings, &answer, err);
    if (status != DGO_OK)
        return status;
    judged->settings = answer.settings;
    judged->estimate = answer.estimate;
    judged->predicted = answer.predicted;
    return DGO_OK;
}
