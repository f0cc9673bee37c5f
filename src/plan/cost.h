/* cost.h - private to the plan module: the speed model, and predictions made with it.
 *
 * A roofline with few constants: a decoded token reads every active weight and the cache once, a
 * prompt multiplies them.  It is made to rank placements; absolute figures are within some 15 % on
 * the cards it was compared with (docs/FORMULAS.md, "Speed"). */
#ifndef PLAN_COST_H
#define PLAN_COST_H

#include "memory.h"
#include "rates.h"

enum { COST_CPU = -1 };

/* A typical request on a machine, ready for sums over layers. */
struct cost_model {
    uint32_t layer_count; /* repeating; the output layer has this index */
    struct rates rates;
    bool op_offload;

    double prompt_tokens, generated_tokens;
    double concurrent;    /* requests that a decode step serves */
    double ubatch_count;  /* micro-batches of the prompt */
    double ubatch_tokens; /* tokens in each */
    double batch_count;   /* the pipeline drains after each batch */
    double hop_bytes;     /* a micro-batch handed on */

    double launch_s[DGO_LAYER_MAX + 1];
    /* Read for one step by the device that holds the layer, and beside it from host memory
     * (-ncmoe, -nkvo); by the CPU when the layer is there. */
    double read_bytes[DGO_LAYER_MAX + 1], kept_read_bytes[DGO_LAYER_MAX + 1];
    double host_read_bytes[DGO_LAYER_MAX + 1];
    double expert_read_bytes[DGO_LAYER_MAX + 1]; /* of its routed experts, wherever they are */
    double decode_flops[DGO_LAYER_MAX + 1];      /* of one token for each concurrent request */
    /* One micro-batch: operations, weights touched on the device, weights fetched from the host. */
    double flops[DGO_LAYER_MAX + 1], touched_bytes[DGO_LAYER_MAX + 1];
    double fetched_bytes[DGO_LAYER_MAX + 1], host_fetched_bytes[DGO_LAYER_MAX + 1];
};

/* What a speed is asked for: requests of `prompt_tokens` and `generated_tokens` (0: 1500 and 400, a
 * chat), `concurrent` of them at once (0: 1), each at half of its slot's context. */
struct cost_request {
    uint32_t slot_count, concurrent;
    uint32_t gpu_mask; /* bit per GPU that may be used; 0: all */
    double prompt_tokens, generated_tokens;
};
void cost_make(const struct dgo_machine *machine, const struct plan_memory *memory,
               const struct cost_request *request, struct cost_model *cost);

/* Seconds of one layer for a decoded token, and for one micro-batch of the prompt; `gpu` is an
 * index in the machine or COST_CPU. */
double cost_decode_s(const struct cost_model *cost, int32_t gpu, uint32_t layer);
double cost_prefill_s(const struct cost_model *cost, int32_t gpu, uint32_t layer);

/* Seconds of handing on, from a GPU or COST_CPU to a GPU. */
double cost_hop_decode_s(const struct cost_model *cost, int32_t from, int32_t to);
double cost_hop_prefill_s(const struct cost_model *cost, int32_t from, int32_t to);

/* Micro-batches that find every stage of a pipeline busy: what the slowest stage is paid again. */
double cost_pipeline_repeats(const struct cost_model *cost);

/* Seconds of one decode step as `estimate` places the layers. */
double cost_decode_step_s(const struct cost_model *cost, const struct dgo_estimate *estimate);
/* Seconds of the whole prompt. */
double cost_prompt_s(const struct cost_model *cost, const struct dgo_estimate *estimate);

/* A decode step of these settings can take no less, whatever layers go where and whichever experts
 * stay in host memory (bound.c).  room_bytes[g] is what GPU g has for weights and cache under the
 * most favourable role, 0 when it may not be used. */
double cost_lower_bound_s(const struct cost_model *cost, const struct plan_memory *memory,
                          const uint64_t room_bytes[DGO_GPU_MAX]);

#endif
