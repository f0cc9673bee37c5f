/* calibration.c - the speed model turned round: from seconds to bytes and operations a second. */
#include "dgo_calibration.h"

#include <stdlib.h>

#include "cost.h"
#include "memory.h"

/* Faster than the published bandwidth, and it was no memory that was read.  What is not known ends
 * where no memory is for years: the fastest card of 2026 has 8 TB/s. */
#define PEAK_SHARE_MAX   1.25
#define PEAK_UNKNOWN_MAX 64e12

/* More of a token's time than this in launches, and the rest says nothing about reading. */
#define LAUNCH_SHARE_MAX 0.8

double dgo_calibration_launch_s(const struct dgo_model *tiny, const struct dgo_timing *timing)
{
    return timing->token_s / (tiny->layer_count + 1);
}

void dgo_calibration_settings(const struct dgo_model *model, uint32_t gpu, uint32_t ctx_tokens,
                              struct dgo_settings *settings)
{
    *settings = (struct dgo_settings){
        .ctx_tokens = (uint32_t)dgo_pad_u64(ctx_tokens > 0 ? ctx_tokens : 1, 256),
        .slot_count = 1,
        .batch_tokens = 2048,
        .ubatch_tokens = 512,
        .key_type = DGO_KV_F16,
        .value_type = DGO_KV_F16,
        .flash_attention = DGO_FA_ON,
        .gpu_layer_count = assign_all_layers(model),
        .split_mode = DGO_SPLIT_LAYER,
        .device_count = 1,
        .device_gpu = {gpu},
        .op_offload = true,
    };
}

struct solving {
    struct plan_memory memory;
    struct cost_model cost;
};

/* What a token reads and what its launches take; a model on a GPU reads its own copy of the output
 * layer, one on the CPU the host's. */
static double token_bytes(const struct solving *s, bool on_cpu)
{
    double bytes = 0;

    for (uint32_t l = 0; l <= s->cost.layer_count; l++)
        bytes += on_cpu ? s->cost.host_read_bytes[l] : s->cost.read_bytes[l];
    return bytes;
}

static double launches_s(const struct solving *s, double layer_launch_s)
{
    double sum = 0;

    for (uint32_t l = 0; l <= s->cost.layer_count; l++)
        sum += s->cost.launch_s[l] / COST_LAYER_LAUNCH * layer_launch_s;
    return sum;
}

static double prompt_operations(const struct solving *s)
{
    double sum = 0;

    for (uint32_t l = 0; l <= s->cost.layer_count; l++)
        sum += s->cost.flops[l];
    return sum * s->cost.ubatch_count;
}

/* A cache that holds the model, or times that are wrong, must not be planned with. */
static enum dgo_status check_rate(const struct dgo_gpu *card, double bytes_per_s,
                                  struct dgo_error *err)
{
    const bool known = card && dgo_gpu_knows(card, DGO_GPU_BANDWIDTH_BYTES_PER_S);
    const double most = known ? PEAK_SHARE_MAX * card->bandwidth_bytes_per_s : PEAK_UNKNOWN_MAX;

    if (bytes_per_s <= most)
        return DGO_OK;
    return dgo_fail(err, DGO_EINVAL,
                    "the engine's times say that %.0f GB/s are read, more than the memory can "
                    "(%.0f GB/s): a cache holds the model, or the times are wrong; take a larger "
                    "model",
                    bytes_per_s / 1e9, (known ? card->bandwidth_bytes_per_s : most) / 1e9);
}

static enum dgo_status solve(const struct solving *s, const struct dgo_timing *timing,
                             const struct dgo_gpu *card, struct dgo_calibration *calibration,
                             struct dgo_error *err)
{
    const double layer_s =
        calibration->layer_launch_s > 0 ? calibration->layer_launch_s : COST_LAYER_LAUNCH;
    const double launches = launches_s(s, layer_s);

    if (!(timing->token_s > 0) || launches > LAUNCH_SHARE_MAX * timing->token_s)
        return dgo_fail(err, DGO_EINVAL,
                        "launches take %.3f of %.3f ms of a token: the model is too small to tell "
                        "how fast it is read; take a larger one",
                        launches * 1e3, timing->token_s * 1e3);
    calibration->decode_bytes_per_s = token_bytes(s, !card) / (timing->token_s - launches);
    const enum dgo_status status = check_rate(card, calibration->decode_bytes_per_s, err);

    if (status != DGO_OK)
        return status;
    /* The output layer is read once for the prompt's last token: it has no operations of note. */
    const double output_s =
        s->cost.read_bytes[s->cost.layer_count] / calibration->decode_bytes_per_s;
    const double computing_s = timing->prompt_s - launches * s->cost.ubatch_count - output_s;

    if (computing_s > 0)
        calibration->prompt_flops = prompt_operations(s) / computing_s;
    return DGO_OK;
}

enum dgo_status dgo_calibration_solve(const struct dgo_machine *machine, int32_t gpu,
                                      const struct dgo_model *model,
                                      const struct dgo_engine_rules *rules,
                                      const struct dgo_timing *timing,
                                      struct dgo_calibration *calibration, struct dgo_error *err)
{
    const bool on_cpu = gpu == DGO_CALIBRATE_CPU;
    const uint32_t longest = timing->generated_tokens > timing->prompt_tokens
                                 ? timing->generated_tokens
                                 : timing->prompt_tokens;
    struct solving *s = calloc(1, sizeof *s);
    struct dgo_calibration found = *calibration;
    struct dgo_settings settings;
    enum dgo_status status;

    if (!s)
        return dgo_fail(err, DGO_ENOMEM, "no memory to calibrate");
    dgo_calibration_settings(model, on_cpu ? 0 : (uint32_t)gpu, longest, &settings);
    status = memory_make(model, &settings, rules, &s->memory, err);
    if (status == DGO_OK) {
        cost_make(machine, &s->memory,
                  &(struct cost_request){.slot_count = 1,
                                         .prompt_tokens = timing->prompt_tokens,
                                         .generated_tokens = timing->generated_tokens},
                  &s->cost);
        status = solve(s, timing, on_cpu ? NULL : &machine->gpu[gpu], &found, err);
    }
    free(s);
    if (status == DGO_OK)
        *calibration = found;
    return status;
}

void dgo_calibration_apply(struct dgo_machine *machine, int32_t gpu,
                           const struct dgo_calibration *calibration)
{
    if (gpu == DGO_CALIBRATE_CPU) {
        machine->host.decode_bytes_per_s = calibration->decode_bytes_per_s;
        return;
    }
    struct dgo_gpu *card = &machine->gpu[gpu];

    if (calibration->decode_bytes_per_s > 0) {
        card->decode_bytes_per_s = calibration->decode_bytes_per_s;
        card->known |= UINT64_C(1) << DGO_GPU_DECODE_BYTES_PER_S;
    }
    if (calibration->prompt_flops > 0) {
        card->prompt_flops = calibration->prompt_flops;
        card->known |= UINT64_C(1) << DGO_GPU_PROMPT_FLOPS;
    }
    if (calibration->overhead_known) {
        card->engine_overhead_bytes = calibration->overhead_bytes;
        card->known |= UINT64_C(1) << DGO_GPU_ENGINE_OVERHEAD_BYTES;
    }
    if (calibration->layer_launch_s > 0) {
        card->layer_launch_s = calibration->layer_launch_s;
        card->known |= UINT64_C(1) << DGO_GPU_LAYER_LAUNCH_S;
    }
}
