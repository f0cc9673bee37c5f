/* shrink.c - the next smaller plan after one that ran out of memory: what failed gets less. */
#include "dgo_plan.h"

#include <inttypes.h>
#include <string.h>

#include "dgo_text.h"
#include "intent.h"
#include "search.h"

/* How much less the device that failed must use: a few scratch pools' worth. */
#define STEP_BYTES    (128 * DGO_MIB)
#define STEP_PERMILLE 15
/* Below, prompts become slow and buffers hardly smaller. */
#define UBATCH_LEAST 64u

struct shrinking {
    struct search_request request; /* the failed plan's settings, with grown margins */
    const struct dgo_plan *failed;
    bool cpu_allowed;
    struct search_answer answer;
};

static uint64_t device_used(const struct dgo_device_estimate *device)
{
    return device->weights_bytes + device->context_bytes + device->compute_bytes +
           device->overhead_bytes;
}

/* The new margin leaves the device room for a step less than it was given.  Margins never get
 * smaller, which is why repeated shrinking ends. */
static void grow_margin(struct shrinking *shrinking, const struct dgo_device_estimate *device)
{
    const struct dgo_gpu *gpu = &shrinking->request.machine->gpu[device->gpu_index];
    const uint64_t used = device_used(device);
    const uint64_t free_bytes = assign_free_bytes(gpu);
    const uint64_t unused = free_bytes > used ? free_bytes - used : 0;
    const uint64_t step = dgo_max_u64(STEP_BYTES, free_bytes / 1000 * STEP_PERMILLE);
    uint64_t *margin = &shrinking->request.margin_bytes[device->gpu_index];

    *margin = dgo_max_u64(*margin, unused) + step;
}

static enum search_room room_of(const struct dgo_plan *plan, const struct dgo_model *model)
{
    if (plan->settings.gpu_layer_count < assign_all_layers(model))
        return SEARCH_CPU;
    return plan->settings.cpu_moe_layer_count > 0 ? SEARCH_EXPERTS : SEARCH_GPUS;
}

static enum dgo_status try_request(struct shrinking *shrinking,
                                   const struct search_request *request, bool *found,
                                   struct dgo_error *err)
{
    return search_best(request, found, &shrinking->answer, err);
}

static enum dgo_status try_ubatches(struct shrinking *shrinking, bool *found, struct dgo_error *err)
{
    struct search_request request = shrinking->request;
    enum dgo_status status = DGO_OK;

    *found = false;
    while (status == DGO_OK && !*found && request.settings.ubatch_tokens / 2 >= UBATCH_LEAST) {
        request.settings.ubatch_tokens /= 2;
        status = try_request(shrinking, &request, found, err);
    }
    return status;
}

/* The longest shorter context, with the smallest micro-batch tried above. */
static enum dgo_status try_contexts(struct shrinking *shrinking, uint32_t least, bool *found,
                                    struct dgo_error *err)
{
    struct search_request request = shrinking->request;
    const uint32_t ctx = intent_ctx(&request.settings);
    uint32_t longest = 0;
    enum dgo_status status = DGO_OK;

    *found = false;
    if (ctx < least + INTENT_CTX_STEP)
        return DGO_OK;
    while (request.settings.ubatch_tokens / 2 >= UBATCH_LEAST)
        request.settings.ubatch_tokens /= 2;
    status = intent_longest_ctx(&request, least, ctx - INTENT_CTX_STEP, &longest, err);
    if (status != DGO_OK || longest == 0)
        return status;
    intent_set_ctx(&request, longest);
    return try_request(shrinking, &request, found, err);
}

static enum dgo_status try_host(struct shrinking *shrinking, bool *found, struct dgo_error *err)
{
    struct search_request request = shrinking->request;
    enum dgo_status status = DGO_OK;

    *found = false;
    if (!shrinking->cpu_allowed || request.room == SEARCH_CPU)
        return DGO_OK;
    if (request.model->expert_count > 0 && request.room == SEARCH_GPUS) {
        request.room = SEARCH_EXPERTS;
        status = try_request(shrinking, &request, found, err);
    }
    if (status != DGO_OK || *found)
        return status;
    request.room = SEARCH_CPU;
    if (request.model->expert_count > 0)
        request.settings.cpu_moe_layer_count = request.model->layer_count;
    return try_request(shrinking, &request, found, err);
}

/* From the gentlest to the last resort. */
static enum dgo_status descend(struct shrinking *shrinking, bool *found, struct dgo_error *err)
{
    const uint32_t floor =
        shrinking->cpu_allowed ? intent_ctx_floor(shrinking->request.model) : INTENT_CTX_STEP;
    enum dgo_status status = try_request(shrinking, &shrinking->request, found, err);

    if (status == DGO_OK && !*found)
        status = try_ubatches(shrinking, found, err);
    if (status == DGO_OK && !*found)
        status = try_contexts(shrinking, floor, found, err);
    if (status == DGO_OK && !*found)
        status = try_host(shrinking, found, err);
    if (status == DGO_OK && !*found && floor > INTENT_CTX_STEP)
        status = try_contexts(shrinking, INTENT_CTX_STEP, found, err);
    return status;
}

static void tell_layers(struct dgo_text *text, const char *what,
                        const struct dgo_estimate *estimate)
{
    dgo_text_addf(text, "%s", what);
    for (uint32_t d = 0; d < estimate->device_count; d++)
        dgo_text_addf(text, "%s%s %" PRIu32, d > 0 ? ", " : " ", estimate->device[d].name,
                      estimate->device[d].layer_count);
    if (estimate->host.layer_count > 0)
        dgo_text_addf(text, ", CPU %" PRIu32, estimate->host.layer_count);
}

static bool same_layers(const struct dgo_estimate *a, const struct dgo_estimate *b)
{
    if (a->device_count != b->device_count || a->host.layer_count != b->host.layer_count)
        return false;
    for (uint32_t d = 0; d < a->device_count; d++)
        if (a->device[d].gpu_index != b->device[d].gpu_index ||
            a->device[d].layer_count != b->device[d].layer_count)
            return false;
    return true;
}

/* What changed, most visible first: "context 8192 -> 6144; layers CUDA0 20, CUDA1 12". */
static void tell_change(const struct dgo_plan *from, const struct dgo_plan *to, char change[160])
{
    struct dgo_text text = {.data = change, .size = 160};

    dgo_text_clear(&text);
    if (to->settings.ubatch_tokens != from->settings.ubatch_tokens)
        dgo_text_addf(&text, "micro-batch %" PRIu32 " -> %" PRIu32, from->settings.ubatch_tokens,
                      to->settings.ubatch_tokens);
    if (to->settings.ctx_tokens != from->settings.ctx_tokens)
        dgo_text_addf(&text, "%scontext %" PRIu32 " -> %" PRIu32, text.length > 0 ? "; " : "",
                      intent_ctx(&from->settings), intent_ctx(&to->settings));
    if (to->settings.cpu_moe_layer_count != from->settings.cpu_moe_layer_count)
        dgo_text_addf(&text, "%sexperts of %" PRIu32 " layers in host memory",
                      text.length > 0 ? "; " : "", to->settings.cpu_moe_layer_count);
    if (!same_layers(&from->estimate, &to->estimate)) {
        dgo_text_add(&text, text.length > 0 ? "; " : "");
        tell_layers(&text, "layers", &to->estimate);
    }
}

static enum dgo_status start(struct shrinking *shrinking, const struct dgo_machine *machine,
                             const struct dgo_model *model, const struct dgo_intent *intent,
                             const struct dgo_engine_rules *rules, int32_t device,
                             struct dgo_error *err)
{
    const struct dgo_plan *failed = shrinking->failed;
    const struct dgo_estimate *estimate = &failed->estimate;
    enum dgo_status status = DGO_OK;

    if (device < -1 || device >= (int32_t)estimate->device_count)
        return dgo_fail(err, DGO_EINVAL,
                        "the plan has no device %" PRId32 "; it has %" PRIu32 " devices", device,
                        estimate->device_count);
    status = intent_request(machine, model, intent, rules, &shrinking->request, err);
    if (status != DGO_OK)
        return status;
    shrinking->request.settings = failed->settings;
    shrinking->request.room = room_of(failed, model);
    memcpy(shrinking->request.margin_bytes, failed->margin_bytes, sizeof failed->margin_bytes);
    for (uint32_t d = 0; d < estimate->device_count; d++)
        if (device < 0 || device == (int32_t)d)
            grow_margin(shrinking, &estimate->device[d]);
    return DGO_OK;
}

enum dgo_status dgo_plan_shrink(const struct dgo_machine *machine, const struct dgo_model *model,
                                const struct dgo_intent *intent,
                                const struct dgo_engine_rules *rules, const struct dgo_plan *plan,
                                int32_t device, struct dgo_plan *smaller, char change[160],
                                struct dgo_error *err)
{
    struct shrinking shrinking = {.failed = plan, .cpu_allowed = !intent->cpu_layers_refused};
    struct dgo_plan next;
    bool found = false;
    enum dgo_status status = start(&shrinking, machine, model, intent, rules, device, err);

    if (status == DGO_OK)
        status = descend(&shrinking, &found, err);
    if (status != DGO_OK)
        return status;
    if (!found)
        return dgo_fail(err, DGO_ENOFIT,
                        "nothing smaller is left to try: free memory on %s, or take a smaller "
                        "model or quantisation",
                        device >= 0 ? plan->estimate.device[device].name : "the GPUs");
    memset(&next, 0, sizeof next);
    next.settings = shrinking.answer.settings;
    next.estimate = shrinking.answer.estimate;
    next.predicted = shrinking.answer.predicted;
    memcpy(next.margin_bytes, shrinking.request.margin_bytes, sizeof next.margin_bytes);
    if (change)
        tell_change(plan, &next, change);
    *smaller = next; /* last: `smaller` may be `plan` */
    return DGO_OK;
}
