/* tensor.c - sizes, limits and speed of -sm tensor. */
#include "dgo_tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "cut.h"
#include "intent.h"
#include "dgo_text.h"
#include "memory.h"

struct tensor_work {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_intent *intent;
    const struct dgo_engine_rules *rules;
    const struct dgo_plan *plan;
    struct plan_memory memory;
    struct cost_model cost;
    uint64_t cut_bytes, whole_bytes; /* matrices; norms and routers, which every card has */
    uint64_t padding_bytes;          /* at most, for the pieces' alignment */
    uint64_t cache_bytes;            /* of all layers */
    double read_cut, read_whole;     /* of one token: weights that are cut, those that are not */
};

/* Cache heads of the layers that have some: the least, for that is what can be dealt out. */
static uint32_t least_heads(const struct dgo_model *model)
{
    uint32_t least = 0;

    for (uint32_t l = 0; l < model->layer_count; l++) {
        const uint32_t heads = model->layer[l].head_count_kv;

        if (heads > 0 && (least == 0 || heads < least))
            least = heads;
    }
    return least;
}

/* The engine's reasons to refuse it, a sentence each; false: none. */
static bool refused(const struct tensor_work *work, uint32_t usable, struct dgo_tensor_split *split)
{
    const struct dgo_settings *settings = &work->plan->settings;
    const char *why = settings->own_draft ? "a draft of the model's own is not computed under it"
                                          : cut_refusal(work->model, settings, work->rules);

    if (usable < 2)
        why = "it needs two cards at least";
    else if (why)
        ;
    else if (least_heads(work->model) < 2)
        why = "the model has too few cache heads to cut";
    else if (settings->gpu_layer_count < assign_all_layers(work->model) ||
             settings->cpu_moe_layer_count > 0)
        why = "nothing may stay in host memory with it";
    if (why)
        (void)snprintf(split->why_not, sizeof split->why_not, "%s", why);
    return why != NULL;
}

/* Norms, routers, rope tables and what is added to a sum are whole on every card; what belongs to
 * heads or rows is cut with them. */
static bool whole_on_each(const struct dgo_tensor *tensor)
{
    static const char *const cut_vectors[] = {"attn_q.bias", "attn_k.bias", "attn_v.bias",
                                              "attn_qkv.bias", "attn_sinks"};

    if (tensor->class == DGO_TENSOR_TABLE || strstr(tensor->name, "ffn_gate_inp") ||
        strstr(tensor->name, "ffn_down_exps.bias"))
        return true;
    for (size_t i = 0; i < sizeof cut_vectors / sizeof cut_vectors[0]; i++)
        if (strstr(tensor->name, cut_vectors[i]))
            return false;
    return tensor->dim_count <= 1;
}

static void sum_tensors(struct tensor_work *work)
{
    for (uint32_t i = 0; i < work->model->tensor_count; i++) {
        const struct dgo_tensor *tensor = &work->model->tensor[i];
        const bool whole = whole_on_each(tensor);

        if (tensor->class == DGO_TENSOR_INPUT ||
            (tensor->class == DGO_TENSOR_LAYER && tensor->layer >= work->model->layer_count))
            continue;
        if (whole)
            work->whole_bytes += tensor->size_bytes;
        else
            work->cut_bytes += tensor->size_bytes;
        work->padding_bytes += MEMORY_DEVICE_ALIGN;
    }
    if (work->model->tied_embeddings) /* the copy for the output is whole on each card */
        work->whole_bytes += work->model->input_bytes;
    for (uint32_t l = 0; l <= work->memory.layer_count; l++) {
        work->cache_bytes += work->memory.context_bytes[l];
        work->read_cut += work->cost.read_bytes[l];
    }
    work->read_whole = (double)work->whole_bytes;
    work->read_cut = fmax(0, work->read_cut - work->read_whole);
}

/* ---- sizes ---- */

static uint64_t share_of(const struct dgo_tensor_split *split, uint64_t bytes, uint32_t part)
{
    return (uint64_t)ceil((double)bytes * (double)part / split->parts);
}

static void fill_device(const struct tensor_work *work, struct dgo_tensor_split *split, uint32_t d)
{
    const struct dgo_gpu *gpu = &work->machine->gpu[split->device[d].gpu_index];
    const struct memory_role alone = {
        .device_count = 1, .holds_layers = true, .holds_output = true};
    enum dgo_figure_source source = DGO_FIGURE_FORMULA;

    split->device[d].weights_bytes = share_of(split, work->cut_bytes, split->device[d].part) +
                                     work->whole_bytes + work->padding_bytes;
    split->device[d].context_bytes = share_of(split, work->cache_bytes, split->device[d].part);
    /* As one card alone, on each: seen for llama and qwen3 at every micro-batch tried. */
    split->device[d].compute_bytes = memory_compute_bytes(&work->memory, &alone, &source);
    split->device[d].overhead_bytes = memory_overhead_bytes(gpu);
    split->device[d].margin_bytes = work->plan->margin_bytes[split->device[d].gpu_index];
    split->device[d].free_bytes = assign_free_bytes(gpu);
}

static uint64_t missing_of(const struct dgo_tensor_split *split, uint32_t d)
{
    const uint64_t need = split->device[d].weights_bytes + split->device[d].context_bytes +
                          split->device[d].compute_bytes + split->device[d].overhead_bytes +
                          split->device[d].margin_bytes;

    return need > split->device[d].free_bytes ? need - split->device[d].free_bytes : 0;
}

static double reading_s(const struct tensor_work *work, const struct dgo_tensor_split *split,
                        uint32_t d)
{
    const double share = (double)split->device[d].part / split->parts;

    return (work->read_cut * share + work->read_whole) /
           work->cost.rates.gpu_rate[split->device[d].gpu_index];
}

/* What the engine would put on each card for these parts as -ts: dealing goes by even shares, the
 * engine by whole blocks. */
static enum dgo_status fill_pieces(const struct tensor_work *work, struct dgo_tensor_split *split,
                                   struct dgo_error *err)
{
    struct dgo_settings settings = work->plan->settings;
    struct cut_part part[DGO_GPU_MAX];
    enum dgo_status status;

    settings.split_mode = DGO_SPLIT_TENSOR;
    settings.device_count = split->device_count;
    settings.tensor_split_given = true;
    for (uint32_t d = 0; d < split->device_count; d++)
        settings.tensor_split[d] = (float)split->device[d].part;
    status = cut_make(work->model, &settings, &work->memory, 0, part, err);
    for (uint32_t d = 0; d < split->device_count && status == DGO_OK; d++) {
        split->device[d].weights_bytes = part[d].weights_bytes;
        split->device[d].context_bytes = part[d].context_bytes;
    }
    return status;
}

/* Deals the heads out one by one, each to the card that would be done first with one more; cards
 * that are full get none.  For equal pieces that is the least time of the slowest. */
static void deal(const struct tensor_work *work, struct dgo_tensor_split *split)
{
    for (uint32_t piece = 0; piece < split->parts; piece++) {
        uint32_t best = UINT32_MAX;
        double best_s = INFINITY;

        for (uint32_t d = 0; d < split->device_count; d++) {
            split->device[d].part++;
            fill_device(work, split, d);
            const double s = reading_s(work, split, d);

            if (missing_of(split, d) == 0 && s < best_s) {
                best_s = s;
                best = d;
            }
            split->device[d].part--;
        }
        if (best == UINT32_MAX) /* nobody has room: shown with the one it is missing on */
            best = piece % split->device_count;
        split->device[best].part++;
    }
}

/* ---- speed ---- */

/* Two sums of the hidden state in each layer, as floats. */
static double sum_s(const struct tensor_work *work, const struct dgo_tensor_split *split,
                    double tokens)
{
    uint32_t gpus[DGO_GPU_MAX];

    for (uint32_t d = 0; d < split->device_count; d++)
        gpus[d] = split->device[d].gpu_index;
    return rates_all_reduce_s(&work->cost.rates, gpus, split->device_count,
                              4.0 * work->model->embedding_length * tokens);
}

static void fill_speed(const struct tensor_work *work, struct dgo_tensor_split *split)
{
    const struct cost_model *cost = &work->cost;
    const uint32_t layers = cost->layer_count;
    double launch_share = 0, flops = 0, computing = 0;

    for (uint32_t l = 0; l <= layers; l++)
        flops += cost->flops[l];
    split->direct = true;
    for (uint32_t d = 0; d < split->device_count; d++) {
        const uint32_t g = split->device[d].gpu_index;

        split->reading_s = fmax(split->reading_s, reading_s(work, split, d));
        launch_share = fmax(launch_share, cost->rates.launch_share[g]);
        computing = fmax(computing,
                         flops * split->device[d].part / split->parts / cost->rates.gpu_flops[g]);
        for (uint32_t e = 0; e < d; e++)
            split->direct = split->direct && cost->rates.direct[g][split->device[e].gpu_index];
    }
    for (uint32_t l = 0; l <= layers; l++)
        split->launches_s += cost->launch_s[l] * launch_share;
    split->sum_s = sum_s(work, split, 1);
    split->sums_s = 2.0 * layers * split->sum_s;
    split->decode_tokens_per_second = 1 / (split->reading_s + split->launches_s + split->sums_s);
    const double ubatch_s = fmax(computing, split->reading_s) + split->launches_s +
                            2.0 * layers * sum_s(work, split, cost->ubatch_tokens);

    split->prefill_tokens_per_second = cost->ubatch_tokens / ubatch_s;
    split->request_s = cost->generated_tokens / split->decode_tokens_per_second +
                       cost->prompt_tokens / split->prefill_tokens_per_second;
}

/* ---- the best number of cards ---- */

static uint32_t fastest_first(const struct tensor_work *work, uint32_t gpus[DGO_GPU_MAX])
{
    const uint32_t count = search_usable(work->machine, work->intent->gpu_mask, gpus);

    for (uint32_t i = 1; i < count; i++) {
        const uint32_t gpu = gpus[i];
        uint32_t at = i;

        for (; at > 0 && work->cost.rates.gpu_rate[gpus[at - 1]] < work->cost.rates.gpu_rate[gpu];
             at--)
            gpus[at] = gpus[at - 1];
        gpus[at] = gpu;
    }
    return count;
}

static void try_cards(const struct tensor_work *work, const uint32_t *gpus, uint32_t count,
                      struct dgo_tensor_split *split)
{
    struct dgo_error err = {0};

    memset(split, 0, sizeof *split);
    split->possible = true;
    split->device_count = count;
    split->parts = least_heads(work->model);
    split->fits = true;
    for (uint32_t d = 0; d < count; d++)
        split->device[d].gpu_index = gpus[d];
    deal(work, split);
    for (uint32_t d = 0; d < count; d++)
        fill_device(work, split, d);
    if (fill_pieces(work, split, &err) != DGO_OK) {
        split->possible = false;
        (void)dgo_text_copy(split->why_not, sizeof split->why_not, err.text);
        return;
    }
    for (uint32_t d = 0; d < count; d++) {
        const uint64_t missing = missing_of(split, d);

        if (missing > split->missing_bytes) {
            split->missing_bytes = missing;
            split->limiting = d;
            split->fits = false;
        }
    }
    fill_speed(work, split);
}

static bool better(const struct dgo_tensor_split *a, const struct dgo_tensor_split *b)
{
    if (a->fits != b->fits)
        return a->fits;
    return a->fits ? a->request_s < b->request_s : a->missing_bytes < b->missing_bytes;
}

/* Over `exactly` so many cards, or the best number of them (0). */
static void choose(const struct tensor_work *work, uint32_t exactly, struct dgo_tensor_split *split)
{
    uint32_t gpus[DGO_GPU_MAX];
    const uint32_t usable = fastest_first(work, gpus);

    if (refused(work, usable, split))
        return;
    for (uint32_t count = 2; count <= usable && count <= least_heads(work->model); count++) {
        struct dgo_tensor_split other;

        if (exactly > 0 && count != exactly)
            continue;
        try_cards(work, gpus, count, &other);
        if (!split->possible || (other.possible && better(&other, split)))
            *split = other;
    }
    if (!split->possible && !split->why_not[0])
        (void)snprintf(split->why_not, sizeof split->why_not,
                       "there are not so many cards, or not so many cache heads");
    if (!split->possible)
        return;
    split->plan_request_s =
        work->cost.generated_tokens / work->plan->predicted.decode_tokens_per_second +
        work->cost.prompt_tokens / work->plan->predicted.prefill_tokens_per_second;
    split->faster = split->fits && split->request_s * DGO_TENSOR_WORTH < split->plan_request_s;
    split->pays = split->faster && split->direct;
}

enum dgo_status dgo_tensor_split_over(const struct dgo_machine *machine,
                                      const struct dgo_model *model,
                                      const struct dgo_intent *intent,
                                      const struct dgo_engine_rules *rules,
                                      const struct dgo_plan *plan, uint32_t card_count,
                                      struct dgo_tensor_split *split, struct dgo_error *err)
{
    struct tensor_work *work = calloc(1, sizeof *work);
    enum dgo_status status;

    *split = (struct dgo_tensor_split){0};
    if (!work)
        return dgo_fail(err, DGO_ENOMEM, "no memory to weigh a tensor split");
    work->machine = machine;
    work->model = model;
    work->intent = intent;
    work->rules = rules;
    work->plan = plan;
    status = memory_make(model, &plan->settings, rules, &work->memory, err);
    if (status == DGO_OK) {
        cost_make(machine, &work->memory,
                  &(struct cost_request){.slot_count = plan->settings.slot_count,
                                         .prompt_tokens = plan->predicted.prompt_tokens,
                                         .generated_tokens = plan->predicted.generated_tokens},
                  &work->cost);
        sum_tensors(work);
        choose(work, card_count, split);
    }
    free(work);
    return status;
}

enum dgo_status dgo_tensor_split_make(const struct dgo_machine *machine,
                                      const struct dgo_model *model,
                                      const struct dgo_intent *intent,
                                      const struct dgo_engine_rules *rules,
                                      const struct dgo_plan *plan, struct dgo_tensor_split *split,
                                      struct dgo_error *err)
{
    return dgo_tensor_split_over(machine, model, intent, rules, plan, 0, split, err);
}

enum dgo_status dgo_tensor_split_offer(const struct dgo_machine *machine,
                                       const struct dgo_model *model,
                                       const struct dgo_intent *intent,
                                       const struct dgo_engine_rules *rules, struct dgo_plan *plan,
                                       struct dgo_error *err)
{
    struct dgo_tensor_split split = {0};
    struct dgo_alternative *to;
    enum dgo_status status =
        dgo_tensor_split_make(machine, model, intent, rules, plan, &split, err);

    if (status != DGO_OK || !split.pays || plan->alternative_count == DGO_ALTERNATIVE_MAX)
        return status;
    to = &plan->alternative[plan->alternative_count];
    to->settings = plan->settings;
    to->settings.split_mode = DGO_SPLIT_TENSOR;
    to->settings.device_count = split.device_count;
    to->settings.tensor_split_given = true;
    memset(to->settings.tensor_split, 0, sizeof to->settings.tensor_split);
    for (uint32_t d = 0; d < split.device_count; d++) {
        to->settings.device_gpu[d] = split.device[d].gpu_index;
        to->settings.tensor_split[d] = (float)split.device[d].part;
    }
    status = dgo_estimate_make(machine, model, &to->settings, rules, plan->margin_bytes,
                               &to->estimate, err);
    if (status != DGO_OK || !to->estimate.fits)
        return status;
    to->predicted = plan->predicted; /* the request, and what is assumed */
    to->predicted.decode_tokens_per_second = split.decode_tokens_per_second;
    to->predicted.prefill_tokens_per_second = split.prefill_tokens_per_second;
    /* The bound is of whole layers and does not hold for cut ones; several at once are not
     * computed. */
    to->predicted.lower_bound_gap = 0;
    to->predicted.concurrent_requests = 1;
    to->predicted.throughput_tokens_per_second = split.decode_tokens_per_second;
    (void)snprintf(to->why, sizeof to->why, "-sm tensor over %" PRIu32 " cards (experimental)",
                   split.device_count);
    plan->alternative_count++;
    return DGO_OK;
}

void dgo_tensor_split_text(const struct dgo_model *model, const struct dgo_plan *plan,
                           const struct dgo_tensor_split *split, char text[512])
{
    char missing[DGO_UNIT_TEXT_MAX];

    if (!split->possible)
        (void)snprintf(text, 512, "-sm tensor: %s", split->why_not);
    else if (!split->fits)
        (void)snprintf(text, 512, "-sm tensor over %" PRIu32 " cards: GPU %" PRIu32 " misses %s",
                       split->device_count, split->device[split->limiting].gpu_index,
                       dgo_bytes_text(split->missing_bytes, missing));
    else
        (void)snprintf(
            text, 512,
            "-sm tensor over %" PRIu32
            " cards: a token reads for %.2f ms, launches for %.2f ms and "
            "adds up 2 x %" PRIu32
            " times over %s link, %.0f us each, %.2f ms: %.1f tokens/s where "
            "the plan has %.1f; prompts %.0f instead of %.0f tokens/s; a request takes %.2f "
            "instead "
            "of %.2f s: %s",
            split->device_count, split->reading_s * 1e3, split->launches_s * 1e3,
            model->layer_count, split->direct ? "a direct" : "the host's", split->sum_s * 1e6,
            split->sums_s * 1e3, split->decode_tokens_per_second,
            plan->predicted.decode_tokens_per_second, split->prefill_tokens_per_second,
            plan->predicted.prefill_tokens_per_second, split->request_s, split->plan_request_s,
            split->pays     ? "the link pays; the mode is experimental"
            : split->faster ? "faster by this arithmetic, but through the host the sums vary much: "
                              "measure before you trust it"
                            : "the link does not pay");
}
