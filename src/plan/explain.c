/* explain.c - the derivation of a plan's numbers, line by line, recomputed from its settings. */
#include "dgo_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "memory.h"
#include "variants.h"

enum { LINE_MAX = 512, CLASS_MAX = 4 };

struct telling {
    dgo_explain_fn line;
    void *data;
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_plan *plan;
    struct plan_memory memory;
    struct cost_model cost;
};

DGO_PRINTF(2, 3)
static void say(const struct telling *to, const char *fmt, ...)
{
    char line[LINE_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    to->line(line, to->data);
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (double)DGO_MIB;
}

static void tell_context(const struct telling *to)
{
    const struct dgo_settings *settings = &to->plan->settings;
    const struct dgo_estimate *estimate = &to->plan->estimate;

    say(to,
        "context: %" PRIu32 " tokens = %" PRIu32 " slot%s x %" PRIu32
        " (each a multiple of 256%s); batch %" PRIu32 ", micro-batch %" PRIu32,
        estimate->ctx_tokens, settings->slot_count, settings->slot_count == 1 ? "" : "s",
        estimate->ctx_tokens_per_slot, settings->kv_unified ? ", shared" : "",
        estimate->batch_tokens, estimate->ubatch_tokens);
    if (to->model->context_length > 0 && estimate->ctx_tokens_per_slot > to->model->context_length)
        say(to, "  the model was trained for %" PRIu32 " tokens: beyond, answers get worse",
            to->model->context_length);
}

static void tell_draft(const struct telling *to)
{
    const struct dgo_settings *settings = &to->plan->settings;
    const struct memory_draft *draft = &to->memory.draft;

    char block[24];

    if (!draft->used)
        return;
    snprintf(block, sizeof block, "blk.%" PRIu32, to->model->layer_count);
    say(to,
        "draft: the next-token block (%s) guesses %" PRIu32 " tokens: %" PRIu32 " slot%s x %" PRIu32
        " rows of logits; its cache is %s, %s; its own context's compute buffer is %.2f MiB (%s)",
        block, settings->rollback_tokens, settings->slot_count,
        settings->slot_count == 1 ? "" : "s", settings->rollback_tokens + 1,
        dgo_kv_type_name(settings->draft_key_type), dgo_kv_type_name(settings->draft_value_type),
        mib(draft->compute_bytes[to->plan->estimate.pipeline ? DRAFT_IN_PIPELINE : DRAFT_ALONE]),
        dgo_figure_source_name(draft->exact ? DGO_FIGURE_FORMULA : DGO_FIGURE_BOUND));
    if (memory_rolls_back(to->model))
        say(to, "  each slot keeps %" PRIu32 " states more, to go back to when a guess is wrong",
            settings->rollback_tokens);
    say(to, "  the model's graph hands on the hidden states of all tokens; the engine reserves for "
            "that at the first request");
    say(to, "  speeds are without it: what it saves depends on how many guesses are right");
}

static void tell_weights(const struct telling *to, const struct dgo_device_estimate *device)
{
    const struct plan_memory *m = &to->memory;
    char layers[96] = "", tables[64] = "", output[64] = "", block[64] = "";
    uint64_t sum = 0;

    for (uint32_t l = 0; l < device->layer_count; l++)
        sum += m->weights_bytes[device->layer_first + l];
    if (device->layer_count > 0)
        snprintf(layers, sizeof layers, "layers %" PRIu32 "-%" PRIu32 ": %.2f", device->layer_first,
                 device->layer_first + device->layer_count - 1, mib(sum));
    if (device->layer_count > 0 && m->table_bytes > 0)
        snprintf(tables, sizeof tables, " + rope tables %" PRIu64 " B", m->table_bytes);
    if (device->holds_output)
        snprintf(output, sizeof output, "%soutput layer: %.2f%s",
                 device->layer_count > 0 ? " + " : "", mib(m->weights_bytes[m->layer_count]),
                 to->model->tied_embeddings ? " (a copy of the embeddings)" : "");
    if (device->holds_output && m->draft.used)
        snprintf(block, sizeof block, " + next-token block: %.2f",
                 mib(m->draft.block.weights_bytes));
    say(to, "  weights  %9.2f MiB = %s%s%s%s", mib(device->weights_bytes), layers, tables, output,
        block);
}

/* Layers of a device whose caches are of one size, and one of them. */
struct cache_class {
    uint64_t bytes;
    uint32_t count, example;
};

static uint32_t cache_classes(const struct telling *to, const struct dgo_device_estimate *device,
                              struct cache_class classes[CLASS_MAX])
{
    uint32_t count = 0;

    for (uint32_t l = device->layer_first; l < device->layer_first + device->layer_count; l++) {
        const uint64_t bytes = to->memory.context_bytes[l];
        uint32_t c = 0;

        while (c < count && classes[c].bytes != bytes)
            c++;
        if (c == CLASS_MAX)
            continue;
        if (c == count)
            classes[count++] = (struct cache_class){.bytes = bytes, .example = l};
        classes[c].count++;
    }
    return count;
}

/* One layer's cache with the numbers put in, where the plain formula gives it. */
static void tell_cache_formula(const struct telling *to, const struct cache_class *class)
{
    const struct dgo_layer *layer = &to->model->layer[class->example];
    const struct plan_memory *m = &to->memory;
    const uint64_t values =
        (uint64_t)layer->head_count_kv * ((uint64_t)layer->key_length + layer->value_length);
    const double per_value =
        values > 0 ? (double)class->bytes / (double)values / (double)m->ctx_tokens : 0;

    if (layer->recurrent && layer->head_count_kv == 0)
        say(to, "    a recurrent layer keeps a state of %.2f MiB whatever the context",
            mib(class->bytes));
    else if (layer->sliding_window && to->model->sliding_window > 0)
        say(to,
            "    a layer with a window of %" PRIu32 " tokens keeps the window and a micro-batch: "
            "%.2f MiB",
            to->model->sliding_window, mib(class->bytes));
    else if (values > 0)
        say(to,
            "    a layer: %" PRIu32 " KV heads x (%" PRIu32 " + %" PRIu32 ") values (%s, %s: "
            "%.4g B each) x %" PRIu32 " cells = %" PRIu64 " B",
            layer->head_count_kv, layer->key_length, layer->value_length,
            dgo_kv_type_name(to->plan->settings.key_type),
            dgo_kv_type_name(to->plan->settings.value_type), per_value, m->ctx_tokens,
            class->bytes);
}

static void tell_cache(const struct telling *to, const struct dgo_device_estimate *device)
{
    struct cache_class classes[CLASS_MAX];
    const uint32_t count = cache_classes(to, device, classes);
    char sum[256];
    struct dgo_text text = DGO_TEXT(sum);

    for (uint32_t c = 0; c < count; c++)
        dgo_text_addf(&text, "%s%" PRIu32 " x %.2f", c > 0 ? " + " : "", classes[c].count,
                      mib(classes[c].bytes));
    if (count == 0)
        dgo_text_add(&text, "no layer here");
    if (device->holds_output && to->memory.draft.used)
        dgo_text_addf(&text, " + next-token block: %.2f",
                      mib(to->memory.draft.block.context_bytes));
    say(to, "  cache    %9.2f MiB = %s", mib(device->context_bytes), sum);
    for (uint32_t c = 0; c < count; c++)
        if (classes[c].bytes > 0)
            tell_cache_formula(to, &classes[c]);
}

static void tell_overhead(const struct telling *to, const struct dgo_device_estimate *device)
{
    const struct dgo_gpu *gpu = &to->machine->gpu[device->gpu_index];
    const enum dgo_overhead_source source = dgo_overhead_source(gpu);
    const uint32_t launches =
        dgo_gpu_knows(gpu, DGO_GPU_ENGINE_OVERHEAD_LAUNCHES) ? gpu->engine_overhead_launches : 0;

    if (source == DGO_OVERHEAD_LEARNT)
        say(to,
            "  overhead %9.2f MiB = %.2f learnt from %" PRIu32 " launches + %.2f by which they "
            "differ: driver context and libraries, outside the engine's books",
            mib(device->overhead_bytes),
            mib(device->overhead_bytes - gpu->engine_overhead_spread_bytes), launches,
            mib(gpu->engine_overhead_spread_bytes));
    else
        say(to,
            "  overhead %9.2f MiB, %s: driver context and libraries, outside the engine's books",
            mib(device->overhead_bytes), dgo_overhead_source_name(source));
    if (launches > 0 && gpu->engine_overhead_drifts > 0)
        say(to, "    %" PRIu32 " of the launches held another amount later; that is what counts",
            gpu->engine_overhead_drifts);
    if (source == DGO_OVERHEAD_ASSUMED && launches > 0)
        say(to, "    %" PRIu32 " launch%s took up to %.2f MiB; %d are needed to plan with less",
            launches, launches == 1 ? "" : "es", mib(gpu->engine_overhead_bytes),
            DGO_OVERHEAD_LAUNCHES_MIN);
}

static void tell_rest(const struct telling *to, const struct dgo_device_estimate *device,
                      bool first)
{
    const struct dgo_estimate *estimate = &to->plan->estimate;
    const uint64_t base = to->plan->margin_bytes[device->gpu_index];
    const uint64_t taken = device->weights_bytes + device->context_bytes + device->compute_bytes +
                           device->overhead_bytes + device->margin_bytes;

    say(to, "  compute  %9.2f MiB: %s of build %" PRIu32 " for %" PRIu32 " tokens at once%s%s%s",
        mib(device->compute_bytes), dgo_figure_source_name(device->compute_source), estimate->build,
        estimate->ubatch_tokens, estimate->pipeline ? ", inputs held 4 times for the pipeline" : "",
        first && estimate->device_count > 1 ? ", first of the row" : "",
        device->holds_output ? ", with the logits" : "");
    tell_overhead(to, device);
    if (device->margin_bytes > base)
        say(to, "  margin   %9.2f MiB = %.2f kept free + %.2f the compute figure may be short of",
            mib(device->margin_bytes), mib(base), mib(device->margin_bytes - base));
    else
        say(to, "  margin   %9.2f MiB kept free", mib(device->margin_bytes));
    if (taken <= device->free_bytes)
        say(to, "  spare    %9.2f MiB = %.2f free - %.2f", mib(device->free_bytes - taken),
            mib(device->free_bytes), mib(taken));
    else
        say(to, "  missing  %9.2f MiB = %.2f - %.2f free", mib(taken - device->free_bytes),
            mib(taken), mib(device->free_bytes));
}

static void tell_device(const struct telling *to, uint32_t d)
{
    const struct dgo_device_estimate *device = &to->plan->estimate.device[d];

    say(to, "%s%s%s: %" PRIu32 " layer%s%s", device->name,
        to->machine->gpu[device->gpu_index].name[0] ? " " : "",
        to->machine->gpu[device->gpu_index].name, device->layer_count,
        device->layer_count == 1 ? "" : "s", device->holds_output ? " and the output layer" : "");
    tell_weights(to, device);
    tell_cache(to, device);
    tell_rest(to, device, d == 0);
}

static void tell_host(const struct telling *to)
{
    const struct dgo_estimate *estimate = &to->plan->estimate;
    const struct plan_memory *m = &to->memory;

    say(to, "host: weights %.2f MiB (embeddings %.2f), cache %.2f, compute %.2f, outputs %.2f MiB",
        mib(estimate->host.weights_bytes), mib(m->host_input_bytes),
        mib(estimate->host.context_bytes), mib(estimate->host.compute_bytes),
        mib(estimate->host.output_bytes));
    if (estimate->host.layer_count > 0)
        say(to, "  layers 0-%" PRIu32 " are computed on the CPU: the GPUs have no room for them",
            estimate->host.layer_count - 1);
    if (to->plan->settings.cpu_moe_layer_count > 0)
        say(to, "  the experts of the first %" PRIu32 " layers stay in host memory",
            to->plan->settings.cpu_moe_layer_count);
}

static bool in_plan(const struct dgo_estimate *estimate, uint32_t gpu)
{
    for (uint32_t d = 0; d < estimate->device_count; d++)
        if (estimate->device[d].gpu_index == gpu)
            return true;
    return false;
}

/* Why a GPU takes no part. */
static void tell_left_out(const struct telling *to, uint32_t g)
{
    const struct dgo_gpu *gpu = &to->machine->gpu[g];
    const uint64_t room = assign_free_bytes(gpu);
    const uint64_t overhead = memory_overhead_bytes(gpu), margin = to->plan->margin_bytes[g];
    char why[128] = "";

    if (to->plan->gpu_mask != 0 && !(to->plan->gpu_mask >> g & 1))
        snprintf(why, sizeof why, "it is not among those allowed");
    else if (!dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
        snprintf(why, sizeof why, "its free memory is unknown");
    else if (room <= overhead + margin)
        snprintf(why, sizeof why, "of %.0f MiB free, overhead takes %.0f and the margin %.0f",
                 mib(room), mib(overhead), mib(margin));
    else
        snprintf(why, sizeof why, "what it saves is not worth a card more");
    say(to, "  GPU %" PRIu32 "%s%s is left out: %s", g, gpu->name[0] ? " " : "", gpu->name,
        gpu->problem[0] ? gpu->problem : why);
}

static void tell_split(const struct telling *to)
{
    const struct dgo_estimate *estimate = &to->plan->estimate;
    char order[256];
    struct dgo_text text = DGO_TEXT(order);

    for (uint32_t d = 0; d < estimate->device_count; d++)
        dgo_text_addf(&text, "%s%s %" PRIu32, d > 0 ? ", " : "", estimate->device[d].name,
                      estimate->device[d].layer_count + estimate->device[d].holds_output);
    say(to, "split: %s (output layer counted), pipeline %s", order,
        estimate->pipeline ? "on" : "off");
    if (to->plan->every_gpu)
        say(to,
            "  the fastest of every order that uses all the cards for a request of %.0f + %.0f "
            "tokens",
            to->cost.prompt_tokens, to->cost.generated_tokens);
    else
        say(to,
            "  the fastest of every order and subset of the cards for a request of %.0f + %.0f "
            "tokens; a card more must save %.0f %% of it",
            to->cost.prompt_tokens, to->cost.generated_tokens, VARIANTS_CARD_PRICE * 100);
    for (uint32_t g = 0; g < to->machine->gpu_count; g++)
        if (!in_plan(estimate, g))
            tell_left_out(to, g);
}

/* "702 GB/s (0.75 of 936)" */
static void tell_rate(const struct cost_model *cost, uint32_t gpu, char text[96])
{
    const double rate = cost->rates.gpu_rate[gpu] / 1e9;

    if (cost->rates.calibrated[gpu])
        snprintf(text, 96, "%.0f GB/s (calibrated)", rate);
    else
        snprintf(text, 96, "%.0f GB/s (%.2f of %.0f%s)", rate, COST_BANDWIDTH_SHARE,
                 rate / COST_BANDWIDTH_SHARE, cost->rates.assumed[gpu] ? ", assumed" : "");
}

/* The layers of a device, the output layer as the last. */
static uint32_t layer_at(const struct telling *to, const struct dgo_device_estimate *device,
                         uint32_t i)
{
    return i < device->layer_count ? device->layer_first + i : to->memory.layer_count;
}

static const char *host_rate_source(const struct rates *rates)
{
    return rates->host_assumed ? " (assumed)" : rates->host_calibrated ? " (calibrated)" : "";
}

/* What the CPU reads for a device's layers: experts that stay in host memory. */
static void tell_kept(const struct telling *to, const struct dgo_device_estimate *device,
                      char text[160])
{
    const struct cost_model *cost = &to->cost;
    double bytes = 0;
    uint32_t visits = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < device->layer_count; i++) {
        bytes += cost->kept_read_bytes[layer_at(to, device, i)];
        visits += cost->kept_read_bytes[layer_at(to, device, i)] > 0;
    }
    if (visits > 0)
        snprintf(text, 160,
                 "; the CPU reads %.3f GB beside at %.0f GB/s%s, %" PRIu32
                 " times there and back in %.2f ms",
                 bytes / 1e9, cost->rates.host_rate / 1e9, host_rate_source(&cost->rates), visits,
                 visits * COST_EXPERTS_VISIT * 1e3);
}

/* Tells and returns the seconds of a device's share of a decode step. */
static double tell_device_speed(const struct telling *to, const struct dgo_device_estimate *device)
{
    const struct cost_model *cost = &to->cost;
    const int32_t gpu = (int32_t)device->gpu_index;
    double bytes = 0, launches = 0, seconds = 0;
    char rate[96], kept[160];
    const uint32_t count = device->layer_count + device->holds_output;

    for (uint32_t i = 0; i < count; i++) {
        const uint32_t l = layer_at(to, device, i);

        bytes += cost->read_bytes[l];
        launches += cost->launch_s[l] * cost->rates.launch_share[gpu];
        seconds += cost_decode_s(cost, gpu, l);
    }
    tell_rate(cost, device->gpu_index, rate);
    tell_kept(to, device, kept);
    say(to,
        "  %s reads %.3f GB for a token at %s and launches %" PRIu32
        " layers in %.2f ms%s: %.3f ms",
        device->name, bytes / 1e9, rate, count, launches * 1e3, kept, seconds * 1e3);
    return seconds;
}

/* A device's share of one micro-batch of the prompt. */
static void tell_device_prompt(const struct telling *to, const struct dgo_device_estimate *device)
{
    const struct cost_model *cost = &to->cost;
    const int32_t gpu = (int32_t)device->gpu_index;
    double flops = 0, fetched = 0, seconds = 0;
    char fetching[64] = "";

    for (uint32_t i = 0; i < device->layer_count + device->holds_output; i++) {
        const uint32_t l = layer_at(to, device, i);

        flops += cost->flops[l];
        fetched += cost->fetched_bytes[l];
        seconds += cost_prefill_s(cost, gpu, l);
    }
    if (fetched > 0)
        snprintf(fetching, sizeof fetching, " and fetches %.3f GB at %.1f GB/s", fetched / 1e9,
                 cost->rates.upload_rate[gpu] / 1e9);
    say(to, "    %s computes %.2f TFLOP at %.1f TFLOPS%s: %.1f ms", device->name, flops / 1e12,
        cost->rates.gpu_flops[gpu] / 1e12, fetching, seconds * 1e3);
}

static void tell_prompt(const struct telling *to)
{
    const struct dgo_estimate *estimate = &to->plan->estimate;
    const struct cost_model *cost = &to->cost;
    const double repeats = cost_pipeline_repeats(cost);
    char way[96] = "";

    if (estimate->pipeline && repeats > 0)
        snprintf(way, sizeof way, ", %.0f through all cards and %.0f more behind the slowest",
                 cost->batch_count, repeats);
    say(to, "  a prompt of %.0f tokens is %.0f micro-batch%s of %.0f%s, %.3f s: %.0f tokens/s",
        cost->prompt_tokens, cost->ubatch_count, cost->ubatch_count > 1 ? "es" : "",
        cost->ubatch_tokens, way, cost_prompt_s(cost, estimate),
        to->plan->predicted.prefill_tokens_per_second);
    for (uint32_t d = 0; d < estimate->device_count; d++)
        tell_device_prompt(to, &estimate->device[d]);
}

static void tell_speed(const struct telling *to)
{
    const struct dgo_estimate *estimate = &to->plan->estimate;
    const struct dgo_prediction *predicted = &to->plan->predicted;
    const double step = cost_decode_step_s(&to->cost, estimate);
    double parts = 0;

    say(to, "speed of one request, at half of its context:");
    for (uint32_t l = 0; l < estimate->host.layer_count; l++)
        parts += cost_decode_s(&to->cost, COST_CPU, l);
    if (estimate->host.layer_count > 0)
        say(to, "  CPU computes %" PRIu32 " layers at %.0f GB/s%s: %.3f ms",
            estimate->host.layer_count, to->cost.rates.host_rate / 1e9,
            host_rate_source(&to->cost.rates), parts * 1e3);
    for (uint32_t d = 0; d < estimate->device_count; d++)
        parts += tell_device_speed(to, &estimate->device[d]);
    say(to, "  a step is %.3f ms with %.0f us for handing on: %.1f tokens/s", step * 1e3,
        (step - parts) * 1e6, predicted->decode_tokens_per_second);
    tell_prompt(to);
    say(to,
        "  lower bound: with this context, cache and micro-batch, layers cut anywhere%s could save "
        "no more than %.2f %% of a step",
        to->model->expert_count > 0 ? " and experts wherever they like" : "",
        predicted->lower_bound_gap / (1 + predicted->lower_bound_gap) * 100);
    if (predicted->bandwidth_assumed)
        say(to,
            "  a bandwidth was not known and is assumed: the ranking holds, the figures may not");
}

static void tell_alternatives(const struct telling *to)
{
    for (uint32_t i = 0; i < to->plan->alternative_count; i++) {
        const struct dgo_alternative *other = &to->plan->alternative[i];

        say(to, "instead, %s: %" PRIu32 " tokens of context, %s cache, %.1f tokens/s%s", other->why,
            other->estimate.ctx_tokens_per_slot, dgo_kv_type_name(other->settings.key_type),
            other->predicted.decode_tokens_per_second,
            other->estimate.fits ? "" : " - does not fit");
    }
}

void dgo_plan_explain(const struct dgo_machine *machine, const struct dgo_model *model,
                      const struct dgo_plan *plan, dgo_explain_fn line, void *data)
{
    struct telling *to = calloc(1, sizeof *to);
    struct dgo_error err = {0};

    if (!to) {
        line("no memory to explain the plan", data);
        return;
    }
    *to = (struct telling){
        .line = line, .data = data, .machine = machine, .model = model, .plan = plan};
    const struct dgo_engine_rules rules = {.build = plan->estimate.build};

    if (memory_make(model, &plan->settings, &rules, &to->memory, &err) != DGO_OK) {
        say(to, "the plan cannot be explained: %s", err.text);
        free(to);
        return;
    }
    /* Of one request: what the prediction is told for. */
    cost_make(machine, &to->memory,
              &(struct cost_request){.slot_count = plan->settings.slot_count,
                                     .gpu_mask = plan->gpu_mask,
                                     .prompt_tokens = plan->predicted.prompt_tokens,
                                     .generated_tokens = plan->predicted.generated_tokens},
              &to->cost);
    tell_context(to);
    tell_draft(to);
    for (uint32_t d = 0; d < plan->estimate.device_count; d++)
        tell_device(to, d);
    tell_host(to);
    tell_split(to);
    tell_speed(to);
    tell_alternatives(to);
    free(to);
}
