/* dgo_partition.h - how vLLM and SGLang cut a model: equal shards within a stage, runs of layers
 * between stages; and the partition that leaves the most room for requests.
 *
 * Tensor parallelism cuts every layer into `tensor_parallel` equal shards, so the smallest card of
 * a stage rules; pipeline parallelism gives each of `pipeline_parallel` stages a run of layers, and
 * the engine takes the least number of cache blocks over all ranks.  The engines' own runs are
 * equal in layers; the best ones are equal in blocks.  docs/FORMULAS.md, "Other engines".
 *
 * Pure, values in and out; any thread. */
#ifndef DGO_PARTITION_H
#define DGO_PARTITION_H

#include "dgo_gpu.h"
#include "dgo_model.h"

/* An engine's rules.  Sources stand beside the rows in partition.c. */
struct dgo_partition_rules {
    const char *engine;             /* "vllm" */
    const char *partition_variable; /* of the environment: layers of each stage, "20,12" */
    double memory_share;            /* its default, of a card's memory (memory_rule) */
    enum dgo_partition_memory {
        /* share x total may be used, activations included; that much must be free at the start */
        DGO_PARTITION_OF_TOTAL,
        /* weights and cache may take the share of what was free at the start on the fullest card */
        DGO_PARTITION_OF_FREE,
    } memory_rule;
    bool remainder_last;   /* layers that do not divide: to the last stages; else to those before
                            * the last one */
    uint32_t block_tokens; /* cache is given out in blocks of so many tokens */
};
extern const struct dgo_partition_rules dgo_partition_vllm, dgo_partition_sglang;

/* Zero means "choose for me" or the engine's default. */
struct dgo_partition_request {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    uint32_t gpu_mask; /* bit per GPU that may be used; 0: all that can be read */
    uint32_t tensor_parallel, pipeline_parallel;
    double memory_share;
    uint32_t kv_value_bytes;   /* 2: f16 and bf16; 1: fp8; 0: 2 */
    uint32_t ctx_tokens;       /* the longest request; 0: what the model was trained for, at most
                                * 8192 */
    uint32_t request_count;    /* served side by side at that length; 0: 1 */
    uint32_t batch_tokens;     /* computed at once; 0: 2048 */
    uint32_t quant_group;      /* rows of a group that shares a scale (GPTQ, AWQ); 0: none */
    uint64_t activation_bytes; /* of each rank, outside weights and cache; 0: estimated */
};

struct dgo_partition_rank {
    uint32_t gpu_index, stage, shard;
    uint64_t weights_bytes;
    uint64_t activation_bytes;   /* peak of a batch, graphs, libraries */
    uint64_t budget_bytes;       /* for weights, cache and, with OF_TOTAL, activations */
    uint64_t kv_bytes_per_token; /* of the layers here */
    uint64_t kv_tokens;          /* that this rank could hold; a multiple of block_tokens */
};

struct dgo_partition {
    uint32_t tensor_parallel, pipeline_parallel;
    uint32_t layer_count[DGO_GPU_MAX]; /* of each stage, pipeline_parallel of them */
    bool even; /* the engine cuts the same by itself: the variable is not needed */
    uint32_t rank_count;
    struct dgo_partition_rank
        rank[DGO_GPU_MAX];   /* stage by stage: the order to show the cards in */
    double memory_share;     /* to tell the engine, where it is OF_TOTAL or OF_FREE's fraction */
    uint64_t kv_tokens;      /* the least over the ranks: what the engine will have */
    uint32_t limiting_rank;  /* that has it */
    uint64_t even_kv_tokens; /* with the engine's own equal runs; 0: does not fit */
    double decode_tokens_per_second; /* one request alone, at half of its context */
    bool fits;                       /* kv_tokens serve what was asked for */
    uint64_t missing_bytes;          /* on the limiting rank, when it does not */
};

/* The best partition: the fastest that serves the requests, and among its cuts the one with the
 * most cache blocks.  What does not fit is DGO_ENOFIT with the nearest in *partition, as with
 * dgo_plan_make; DGO_EINVAL where the numbers asked for cannot be (a sentence each); DGO_ENOGPU. */
DGO_MUST_CHECK
enum dgo_status dgo_partition_make(const struct dgo_partition_rules *rules,
                                   const struct dgo_partition_request *request,
                                   struct dgo_partition *partition, struct dgo_error *err);

/* Whether the model can be cut into so many equal shards: heads, cache heads, feed-forward and
 * quantisation groups must divide.  DGO_EINVAL names what does not and the nearest number that
 * does. */
DGO_MUST_CHECK
enum dgo_status dgo_partition_check_shards(const struct dgo_model *model, uint32_t tensor_parallel,
                                           uint32_t quant_group, struct dgo_error *err);

/* The runs that the engine makes by itself. */
void dgo_partition_even(const struct dgo_partition_rules *rules, uint32_t layer_count,
                        uint32_t stage_count, uint32_t layers[DGO_GPU_MAX]);

#endif
