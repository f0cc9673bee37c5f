/* partition.h - private to the plan module: a model as one rank of an equal cut sees it, and the
 * runs of layers that one such cut allows. */
#ifndef PLAN_PARTITION_H
#define PLAN_PARTITION_H

#include "dgo_partition.h"
#include "rates.h"

/* Sums of layers [0, l), so that a run is a difference.  About 16 KB. */
struct partition_shape {
    uint32_t layer_count, tensor_parallel;
    uint64_t first_bytes, last_bytes;            /* embeddings; output layer and its norm */
    uint64_t weights_sum[DGO_LAYER_MAX + 1];     /* of one shard */
    uint64_t kv_sum[DGO_LAYER_MAX + 1];          /* cache of one token, of one shard */
    double read_sum[DGO_LAYER_MAX + 1];          /* weights that a decoded token reads */
    double expert_layers_sum[DGO_LAYER_MAX + 1]; /* layers with routed experts: they launch more */
};

void partition_shape_make(const struct dgo_model *model, uint32_t tensor_parallel,
                          uint32_t kv_value_bytes, struct partition_shape *shape);

/* Peak of one batch in one shard, captured graphs and libraries: an estimate (FORMULAS, "Other
 * engines"); the engines measure it when they start. */
uint64_t partition_activation_bytes(const struct dgo_model *model, const struct dgo_gpu *gpu,
                                    uint32_t tensor_parallel, uint32_t rank_count,
                                    uint32_t batch_tokens);

/* One way to take cards: `stages` groups of `shards` cards each. */
struct partition_cut {
    const struct dgo_partition_rules *rules;
    const struct dgo_partition_request *request;
    const struct rates *rates;
    struct partition_shape shape;
    uint32_t shards, stages;
    uint32_t gpu[DGO_GPU_MAX]; /* group by group */
    uint64_t activation[DGO_GPU_MAX];
    uint64_t budget[DGO_GPU_MAX]; /* of each card */
    uint64_t room[DGO_GPU_MAX];   /* of each group: for weights and cache of a shard */
    double rate[DGO_GPU_MAX];     /* of each group: its slowest card */
    double layer_s[DGO_GPU_MAX];  /* launches and sums of one layer, beside the bytes */
    double share;
    double read_ctx; /* tokens of cache that a step reads */
    uint64_t extra;  /* bytes more on each card than there are */
};

/* A stage: its group and the end of its run. */
struct partition_stage {
    uint32_t group, end;
};

/* Past any cache. */
#define PARTITION_TOKENS_MAX (UINT64_C(1) << 34)

/* What is free of a card's memory, in whole hundredths. */
double partition_free_share(const struct dgo_gpu *gpu);

/* Room and speed of every group, from shards, stages, cards and shape. */
void partition_cut_fill(struct partition_cut *cut);

/* Runs for every stage in which each group holds `tokens` of cache; false: there are none. */
bool partition_cut_runs(const struct partition_cut *cut, uint64_t tokens,
                        struct partition_stage stages[DGO_GPU_MAX]);
/* The most tokens, in whole blocks, that any runs leave room for. */
uint64_t partition_cut_most_tokens(const struct partition_cut *cut);
/* Of the runs that leave so many tokens, those whose slowest stage is the fastest. */
bool partition_cut_balance(const struct partition_cut *cut, uint64_t tokens,
                           struct partition_stage stages[DGO_GPU_MAX]);

/* One shard's weights, and cache of one token, of the layers [first, end). */
uint64_t partition_run_weights(const struct partition_cut *cut, uint32_t first, uint32_t end);
uint64_t partition_run_kv(const struct partition_cut *cut, uint32_t first, uint32_t end);
/* Seconds of a decoded token in all stages. */
double partition_step_s(const struct partition_cut *cut, const struct partition_stage *stages);
uint64_t partition_whole_blocks(const struct partition_cut *cut, uint64_t tokens);

#endif
