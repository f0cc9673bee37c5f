/* cost.c - the speed model: bytes read, operations done, states handed on. */
#include "cost.h"

#include <math.h>
#include <string.h>

#define REQUEST_PROMPT_TOKENS    1500.0
#define REQUEST_GENERATED_TOKENS 400.0

static void fill_request(struct cost_model *cost, const struct plan_memory *memory,
                         const struct cost_request *request)
{
    const double ubatch = memory->ubatch_tokens > 0 ? memory->ubatch_tokens : 1;
    const double batch = memory->batch_tokens > 0 ? memory->batch_tokens : 1;

    cost->prompt_tokens =
        request->prompt_tokens > 0 ? request->prompt_tokens : REQUEST_PROMPT_TOKENS;
    cost->generated_tokens =
        request->generated_tokens > 0 ? request->generated_tokens : REQUEST_GENERATED_TOKENS;
    cost->concurrent = request->concurrent > 0 ? request->concurrent : 1;
    cost->ubatch_count = fmax(1, ceil(cost->prompt_tokens / ubatch));
    cost->batch_count = fmax(1, ceil(cost->prompt_tokens / batch));
    cost->ubatch_tokens = cost->prompt_tokens / cost->ubatch_count;
    /* The hidden state and the residual stream, as floats. */
    cost->hop_bytes = 2.0 * 4 * memory->model->embedding_length * cost->ubatch_tokens;
}

/* Of a layer's cache, the part that a token reads when half of the slot's context is used. */
static double cache_share(const struct plan_memory *memory, uint32_t layer, uint32_t slot_count)
{
    const struct dgo_layer *of = &memory->model->layer[layer];
    const double ctx = memory->ctx_tokens_per_slot > 0 ? memory->ctx_tokens_per_slot : 1;
    const double streams = memory->stream_count > 0 ? memory->stream_count : 1;
    const double used = ctx / 2;
    const double window = memory->model->sliding_window;

    if (of->recurrent && of->head_count_kv == 0)
        return 2.0 / (slot_count > 0 ? slot_count : 1); /* the state is read and written */
    if (!of->sliding_window || !(window > 0) || window >= used)
        return used / ctx / streams;
    return fmin(1, window / fmax(1, memory->window_cells)) / streams;
}

static double active_share(const struct dgo_model *model)
{
    if (model->expert_count == 0 || model->expert_used_count >= model->expert_count)
        return 1;
    return (double)model->expert_used_count / model->expert_count;
}

/* Expected share of the experts that `tokens` touch together, with even routing. */
static double touched_share(const struct dgo_model *model, double tokens)
{
    return 1 - pow(1 - active_share(model), tokens);
}

static double less_or_zero(uint64_t a, uint64_t b)
{
    return a > b ? (double)(a - b) : 0;
}

static void fill_layer(struct cost_model *cost, const struct plan_memory *memory, uint32_t l,
                       uint32_t slot_count, double parameters_per_byte)
{
    const struct dgo_model *model = memory->model;
    const struct dgo_layer *layer = &model->layer[l];
    const double active = active_share(model);
    const double touched = touched_share(model, cost->ubatch_tokens);
    const double stepped = touched_share(model, cost->concurrent); /* active for one request */
    const double experts = (double)layer->expert_bytes;
    const double kept = fmin((double)memory->kept_weights_bytes[l], experts);
    const double dense = less_or_zero(layer->weights_bytes, layer->expert_bytes);
    const double dense_here = fmax(0, (double)memory->weights_bytes[l] - (experts - kept));
    const double dense_host = less_or_zero(memory->host_weights_bytes[l], layer->expert_bytes);
    const double cache = cache_share(memory, l, slot_count) * cost->concurrent;
    const double attended = layer->sliding_window && model->sliding_window > 0
                                ? fmin(cost->prompt_tokens / 2, model->sliding_window)
                                : cost->prompt_tokens / 2;

    cost->launch_s[l] = COST_LAYER_LAUNCH + (experts > 0 ? COST_EXPERTS_LAUNCH : 0);
    cost->expert_read_bytes[l] = experts * stepped;
    cost->read_bytes[l] =
        dense_here + (experts - kept) * stepped + (double)memory->context_bytes[l] * cache;
    cost->kept_read_bytes[l] = kept * stepped + (double)memory->kept_context_bytes[l] * cache;
    cost->host_read_bytes[l] =
        dense_host + experts * stepped + (double)memory->host_context_bytes[l] * cache;
    cost->decode_flops[l] = 2 * parameters_per_byte * (dense + experts * active) * cost->concurrent;
    cost->flops[l] = 2 * parameters_per_byte * (dense + experts * active) * cost->ubatch_tokens;
    if (layer->head_count_kv > 0)
        cost->flops[l] +=
            4.0 * layer->head_count * layer->key_length * cost->ubatch_tokens * attended;
    cost->touched_bytes[l] = dense_here + (experts - kept) * touched;
    cost->fetched_bytes[l] = kept * touched;
    cost->host_fetched_bytes[l] = dense_host + experts * touched;
}

static void fill_layers(struct cost_model *cost, const struct plan_memory *memory,
                        uint32_t slot_count)
{
    const struct dgo_model *model = memory->model;
    const uint32_t output = memory->layer_count;
    uint64_t bytes = model->input_bytes + model->output_bytes + model->table_bytes;

    for (uint32_t l = 0; l < memory->layer_count; l++)
        bytes += model->layer[l].weights_bytes;
    const double parameters_per_byte = model->parameter_count > 0 && bytes > 0
                                           ? (double)model->parameter_count / (double)bytes
                                           : 8 / 4.5; /* bits of a Q4_K weight */

    for (uint32_t l = 0; l < memory->layer_count; l++)
        fill_layer(cost, memory, l, slot_count, parameters_per_byte);
    cost->launch_s[output] = COST_LAYER_LAUNCH;
    cost->read_bytes[output] = (double)memory->weights_bytes[output];
    cost->decode_flops[output] =
        2 * parameters_per_byte * cost->read_bytes[output] * cost->concurrent;
    /* Tied, it is read there as well, though it has no bytes of its own. */
    cost->host_read_bytes[output] =
        fmax((double)memory->host_weights_bytes[output], cost->read_bytes[output]);
    /* One row of logits for the whole prompt. */
    cost->touched_bytes[output] = cost->read_bytes[output] / cost->ubatch_count;
    cost->host_fetched_bytes[output] = cost->host_read_bytes[output] / cost->ubatch_count;
}

void cost_make(const struct dgo_machine *machine, const struct plan_memory *memory,
               const struct cost_request *request, struct cost_model *cost)
{
    memset(cost, 0, sizeof *cost);
    cost->layer_count = memory->layer_count;
    cost->op_offload = memory->op_offload;
    rates_make(machine, request->gpu_mask, &cost->rates);
    fill_request(cost, memory, request);
    fill_layers(cost, memory, request->slot_count);
}

double cost_decode_s(const struct cost_model *cost, int32_t gpu, uint32_t layer)
{
    if (gpu == COST_CPU)
        return fmax(cost->host_read_bytes[layer] / cost->rates.host_rate,
                    cost->decode_flops[layer] / COST_HOST_FLOPS) +
               cost->launch_s[layer];
    const double kept = cost->kept_read_bytes[layer] / cost->rates.host_rate;

    return fmax(cost->read_bytes[layer] / cost->rates.gpu_rate[gpu],
                cost->decode_flops[layer] / cost->rates.gpu_flops[gpu]) +
           kept + cost->launch_s[layer] * cost->rates.launch_share[gpu] +
           (kept > 0 ? COST_EXPERTS_VISIT : 0);
}

double cost_prefill_s(const struct cost_model *cost, int32_t gpu, uint32_t layer)
{
    if (gpu == COST_CPU && (!cost->op_offload || !(cost->rates.best_flops > 0)))
        return fmax(cost->flops[layer] / COST_HOST_FLOPS,
                    cost->host_fetched_bytes[layer] / cost->rates.host_rate);
    /* Large batches are computed on a GPU even so: the weights travel there each time. */
    if (gpu == COST_CPU)
        return cost->host_fetched_bytes[layer] / cost->rates.best_upload_rate +
               cost->flops[layer] / cost->rates.best_flops;
    return fmax(cost->flops[layer] / cost->rates.gpu_flops[gpu],
                cost->touched_bytes[layer] / cost->rates.gpu_rate[gpu]) +
           cost->fetched_bytes[layer] / cost->rates.upload_rate[gpu] +
           cost->launch_s[layer] * cost->rates.launch_share[gpu];
}

double cost_hop_decode_s(const struct cost_model *cost, int32_t from, int32_t to)
{
    return from == COST_CPU || to == COST_CPU ? COST_HOP_HOST : cost->rates.hop_s[from][to];
}

double cost_hop_prefill_s(const struct cost_model *cost, int32_t from, int32_t to)
{
    if (from == COST_CPU || to == COST_CPU)
        return COST_HOP_HOST +
               cost->hop_bytes / cost->rates.upload_rate[to == COST_CPU ? from : to];
    return cost->rates.hop_s[from][to] + cost->hop_bytes / cost->rates.link_rate[from][to];
}

double cost_pipeline_repeats(const struct cost_model *cost)
{
    return cost->ubatch_count - cost->batch_count;
}

typedef double (*layer_time)(const struct cost_model *cost, int32_t gpu, uint32_t layer);
typedef double (*hop_time)(const struct cost_model *cost, int32_t from, int32_t to);

/* The sum over the row of devices, CPU first; the slowest device's share in *slowest. */
static double walk(const struct cost_model *cost, const struct dgo_estimate *estimate,
                   layer_time layer_s, hop_time hop_s, double *slowest)
{
    const uint32_t output = cost->layer_count;
    double sum = 0;
    int32_t previous = COST_CPU;
    bool any = estimate->host.layer_count > 0;

    *slowest = 0;
    for (uint32_t l = 0; l < estimate->host.layer_count && l < output; l++)
        sum += layer_s(cost, COST_CPU, l);
    for (uint32_t d = 0; d < estimate->device_count; d++) {
        const struct dgo_device_estimate *device = &estimate->device[d];
        const int32_t gpu = (int32_t)device->gpu_index;
        double stage = 0;

        if (device->layer_count == 0 && !device->holds_output)
            continue;
        for (uint32_t l = 0; l < device->layer_count; l++)
            stage += layer_s(cost, gpu, device->layer_first + l);
        if (device->holds_output)
            stage += layer_s(cost, gpu, output);
        if (any)
            sum += hop_s(cost, previous, gpu);
        sum += stage;
        *slowest = fmax(*slowest, stage);
        previous = gpu;
        any = true;
    }
    if (estimate->host.holds_output)
        sum += layer_s(cost, COST_CPU, output);
    return sum;
}

double cost_decode_step_s(const struct cost_model *cost, const struct dgo_estimate *estimate)
{
    double slowest = 0;

    return walk(cost, estimate, cost_decode_s, cost_hop_decode_s, &slowest);
}

double cost_prompt_s(const struct cost_model *cost, const struct dgo_estimate *estimate)
{
    double slowest = 0;
    const double sum = walk(cost, estimate, cost_prefill_s, cost_hop_prefill_s, &slowest);

    if (!estimate->pipeline)
        return sum * cost->ubatch_count;
    return sum * cost->batch_count + slowest * cost_pipeline_repeats(cost);
}
