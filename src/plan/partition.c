/* partition.c - the search: how many shards and stages, on which cards, and what comes out. */
#include "partition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_units.h"
#include "memory.h"

/* vLLM: gpu_memory_utilization 0.92 of a card's total, which must be free when it starts
 * ("Free memory on device ... is less than desired GPU memory utilization"); get_pp_indices in
 * vllm/distributed/utils.py hands layers left over to the stages before the last.  SGLang:
 * mem_fraction_static of the least free memory over the ranks, measured before loading; its
 * get_pp_indices (python/sglang/srt/distributed/utils.py) hands them to the last stages.  Its cache
 * has no blocks larger than a token unless --page-size says so. */
const struct dgo_partition_rules dgo_partition_vllm = {
    .engine = "vllm",
    .partition_variable = "VLLM_PP_LAYER_PARTITION",
    .memory_share = 0.92,
    .memory_rule = DGO_PARTITION_OF_TOTAL,
    .block_tokens = 16,
};
const struct dgo_partition_rules dgo_partition_sglang = {
    .engine = "sglang",
    .partition_variable = "SGLANG_PP_LAYER_PARTITION",
    .memory_share = 0.88,
    .memory_rule = DGO_PARTITION_OF_FREE,
    .remainder_last = true,
    .block_tokens = 1,
};

enum { DEFAULT_CTX = 8192 };

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t wanted_ctx(const struct dgo_partition_request *request)
{
    const uint32_t trained = request->model->context_length;

    if (request->ctx_tokens > 0)
        return request->ctx_tokens;
    return trained > 0 && trained < DEFAULT_CTX ? trained : DEFAULT_CTX;
}

static uint64_t wanted_tokens(const struct dgo_partition_request *request)
{
    return wanted_ctx(request) * (request->request_count > 0 ? request->request_count : 1);
}

/* Tokens under the engine's own equal runs, in the order in which the cards stand. */
static uint64_t even_tokens(const struct partition_cut *cut, const uint32_t *layers,
                            const struct partition_stage *stages)
{
    uint64_t least = UINT64_MAX;
    uint32_t first = 0;

    for (uint32_t s = 0; s < cut->stages; s++) {
        const uint32_t end = first + layers[s];
        const uint64_t room = cut->room[stages[s].group];
        const uint64_t weights = partition_run_weights(cut, first, end),
                       kv = partition_run_kv(cut, first, end);

        if (weights > room)
            return 0;
        if (kv > 0)
            least = dgo_min_u64(least, (room - weights) / kv);
        first = end;
    }
    return partition_whole_blocks(cut, least == UINT64_MAX ? PARTITION_TOKENS_MAX : least);
}

static void write_rank(const struct partition_cut *cut, const struct partition_stage *stages,
                       uint32_t s, uint32_t shard, struct dgo_partition_rank *rank)
{
    const uint32_t first = s > 0 ? stages[s - 1].end : 0, end = stages[s].end;
    const uint32_t at = stages[s].group * cut->shards + shard;
    const bool of_total = cut->rules->memory_rule == DGO_PARTITION_OF_TOTAL;

    *rank = (struct dgo_partition_rank){
        .gpu_index = cut->gpu[at],
        .stage = s,
        .shard = shard,
        .weights_bytes = partition_run_weights(cut, first, end),
        .activation_bytes = cut->activation[at],
        .budget_bytes = cut->budget[at],
        .kv_bytes_per_token = partition_run_kv(cut, first, end),
    };
    const uint64_t room = minus(minus(rank->budget_bytes, of_total ? rank->activation_bytes : 0),
                                rank->weights_bytes);

    rank->kv_tokens = rank->kv_bytes_per_token > 0
                          ? partition_whole_blocks(cut, room / rank->kv_bytes_per_token)
                          : PARTITION_TOKENS_MAX;
}

/* What a rank misses for the tokens that were asked for. */
static uint64_t missing(const struct partition_cut *cut, const struct dgo_partition_rank *rank,
                        uint64_t tokens)
{
    const bool of_total = cut->rules->memory_rule == DGO_PARTITION_OF_TOTAL;

    return minus(rank->weights_bytes + rank->kv_bytes_per_token * tokens +
                     (of_total ? rank->activation_bytes : 0),
                 rank->budget_bytes);
}

static void write_answer(const struct partition_cut *cut, const struct partition_stage *stages,
                         struct dgo_partition *partition)
{
    const uint64_t wanted = wanted_tokens(cut->request);
    uint32_t even[DGO_GPU_MAX] = {0};
    uint64_t most_missing = 0;

    *partition = (struct dgo_partition){
        .tensor_parallel = cut->shards,
        .pipeline_parallel = cut->stages,
        .rank_count = cut->shards * cut->stages,
        .memory_share = cut->share,
        .kv_tokens = UINT64_MAX,
        .decode_tokens_per_second = 1 / partition_step_s(cut, stages),
        .even = true,
    };
    dgo_partition_even(cut->rules, cut->shape.layer_count, cut->stages, even);
    for (uint32_t s = 0; s < cut->stages; s++) {
        partition->layer_count[s] = stages[s].end - (s > 0 ? stages[s - 1].end : 0);
        partition->even = partition->even && partition->layer_count[s] == even[s];
        for (uint32_t i = 0; i < cut->shards; i++) {
            const uint32_t r = s * cut->shards + i;
            struct dgo_partition_rank *rank = &partition->rank[r];

            write_rank(cut, stages, s, i, rank);
            const uint64_t short_of = missing(cut, rank, wanted);

            if (short_of > most_missing ||
                (most_missing == 0 && rank->kv_tokens < partition->kv_tokens))
                partition->limiting_rank = r;
            most_missing = dgo_max_u64(most_missing, short_of);
            partition->kv_tokens = dgo_min_u64(partition->kv_tokens, rank->kv_tokens);
        }
    }
    partition->even_kv_tokens = even_tokens(cut, even, stages);
    partition->fits = most_missing == 0;
    partition->missing_bytes = most_missing;
}

/* The best runs of this cut, or the nearest where it cannot serve the tokens asked for. */
static bool solve_cut(struct partition_cut *cut, struct dgo_partition *partition)
{
    struct partition_stage stages[DGO_GPU_MAX] = {{0}};
    const uint64_t wanted = wanted_tokens(cut->request);
    uint64_t low = 0, high = 1;

    cut->extra = 0;
    const uint64_t tokens = partition_cut_most_tokens(cut);

    if (tokens >= wanted) {
        if (!partition_cut_balance(cut, tokens, stages))
            return false;
        write_answer(cut, stages, partition);
        return true;
    }
    for (; high < UINT64_C(1) << 24; low = high, high *= 2) {
        cut->extra = high * DGO_MIB;
        if (partition_cut_runs(cut, wanted, stages))
            break;
    }
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;

        cut->extra = middle * DGO_MIB;
        if (partition_cut_runs(cut, wanted, stages))
            high = middle;
        else
            low = middle;
    }
    cut->extra = high * DGO_MIB;
    if (!partition_cut_runs(cut, wanted, stages))
        return false;
    write_answer(cut, stages, partition);
    return true;
}

/* ---- which cards, how many shards and stages ---- */

static bool more_room(const struct dgo_machine *machine, uint32_t a, uint32_t b)
{
    return assign_free_bytes(&machine->gpu[a]) > assign_free_bytes(&machine->gpu[b]);
}

/* Cards with the most room first; equal ones keep the machine's order.  Neighbours form a group, so
 * that a small card holds back as few others as can be. */
static uint32_t order_cards(const struct dgo_partition_request *request, uint32_t gpus[DGO_GPU_MAX])
{
    uint32_t count = 0;

    for (uint32_t g = 0; g < request->machine->gpu_count && g < DGO_GPU_MAX; g++) {
        const struct dgo_gpu *gpu = &request->machine->gpu[g];
        uint32_t at = count;

        if ((request->gpu_mask && !(request->gpu_mask >> g & 1)) || gpu->problem[0] ||
            assign_free_bytes(gpu) == 0)
            continue;
        for (; at > 0 && more_room(request->machine, g, gpus[at - 1]); at--)
            gpus[at] = gpus[at - 1];
        gpus[at] = g;
        count++;
    }
    return count;
}

/* Serving what was asked for comes first, then speed; else the nearest. */
static bool better(const struct dgo_partition *a, const struct dgo_partition *b)
{
    if (a->fits != b->fits)
        return a->fits;
    if (!a->fits)
        return a->missing_bytes < b->missing_bytes;
    /* A card more must pay for itself. */
    return a->decode_tokens_per_second > b->decode_tokens_per_second * 1.02;
}

static void try_cut(struct partition_cut *cut, uint32_t shards, uint32_t stages, bool *found,
                    struct dgo_partition *best)
{
    struct dgo_partition partition;

    cut->shards = shards;
    cut->stages = stages;
    partition_cut_fill(cut);
    if (!solve_cut(cut, &partition))
        return;
    if (!*found || better(&partition, best))
        *best = partition;
    *found = true;
}

/* vLLM measures what is free before it starts, and refuses a share that is not. */
static enum dgo_status check_share(const struct dgo_partition_rules *rules,
                                   const struct dgo_partition_request *request,
                                   const uint32_t *gpus, uint32_t usable, struct dgo_error *err)
{
    if (request->memory_share < 0 || request->memory_share > 1)
        return dgo_fail(err, DGO_EINVAL, "a share of memory lies between 0 and 1");
    for (uint32_t i = 0; i < usable && rules->memory_rule == DGO_PARTITION_OF_TOTAL; i++) {
        const struct dgo_gpu *gpu = &request->machine->gpu[gpus[i]];
        const double most = partition_free_share(gpu);

        if (request->memory_share > most)
            return dgo_fail(err, DGO_EINVAL,
                            "%s would not start: GPU %" PRIu32
                            " has less free than %.2f of its memory; %.2f is the most",
                            rules->engine, gpus[i], request->memory_share, most);
    }
    return DGO_OK;
}

static enum dgo_status check(const struct dgo_partition_request *request, uint32_t usable,
                             struct dgo_error *err)
{
    const uint32_t shards = request->tensor_parallel > 0 ? request->tensor_parallel : 1;
    const uint32_t stages = request->pipeline_parallel > 0 ? request->pipeline_parallel : 1;

    if (usable == 0)
        return dgo_fail(err, DGO_ENOGPU,
                        "no GPU can be planned for: none is allowed, readable and with free memory "
                        "(`dualgpuopt gpus` shows each)");
    if (shards > usable || stages > usable || shards * stages > usable)
        return dgo_fail(err, DGO_EINVAL,
                        "%" PRIu32 " shards in %" PRIu32 " stages need %" PRIu32
                        " GPUs, here are %" PRIu32,
                        shards, stages, shards * stages, usable);
    if (stages > request->model->layer_count)
        return dgo_fail(err, DGO_EINVAL,
                        "%" PRIu32 " stages need a layer each; the model has %" PRIu32, stages,
                        request->model->layer_count);
    return dgo_partition_check_shards(request->model, shards, request->quant_group, err);
}

static enum dgo_status fail_nofit(const struct partition_cut *cut,
                                  const struct dgo_partition *partition, struct dgo_error *err)
{
    const struct dgo_partition_rank *rank = &partition->rank[partition->limiting_rank];
    char missing_text[DGO_UNIT_TEXT_MAX];

    return dgo_fail(err, DGO_ENOFIT,
                    "the model does not fit under the rules of %s: GPU %" PRIu32
                    " misses %s for %" PRIu64 " tokens of cache; fewer tokens, a smaller "
                    "quantisation or an 8-bit cache would need less",
                    cut->rules->engine, rank->gpu_index,
                    dgo_bytes_text(partition->missing_bytes, missing_text),
                    wanted_tokens(cut->request));
}

/* All shards and stages that are open, on the cards with most room. */
static void search(struct partition_cut *cut, uint32_t usable, bool *found,
                   struct dgo_partition *best)
{
    const struct dgo_partition_request *request = cut->request;

    for (uint32_t shards = 1; shards <= usable; shards++) {
        if ((request->tensor_parallel > 0 && shards != request->tensor_parallel) ||
            dgo_partition_check_shards(request->model, shards, request->quant_group, NULL) !=
                DGO_OK)
            continue;
        partition_shape_make(request->model, shards,
                             request->kv_value_bytes > 0 ? request->kv_value_bytes : 2,
                             &cut->shape);
        for (uint32_t stages = 1; shards * stages <= usable; stages++)
            if ((request->pipeline_parallel == 0 || stages == request->pipeline_parallel) &&
                stages <= request->model->layer_count)
                try_cut(cut, shards, stages, found, best);
    }
}

enum dgo_status dgo_partition_make(const struct dgo_partition_rules *rules,
                                   const struct dgo_partition_request *request,
                                   struct dgo_partition *partition, struct dgo_error *err)
{
    uint32_t gpus[DGO_GPU_MAX];
    const uint32_t usable = order_cards(request, gpus);
    enum dgo_status status = check(request, usable, err);
    struct rates *rates = NULL;
    struct partition_cut *cut = NULL;
    bool found = false;

    if (status == DGO_OK)
        status = check_share(rules, request, gpus, usable, err);
    if (status != DGO_OK)
        return status;
    rates = malloc(sizeof *rates);
    cut = calloc(1, sizeof *cut);
    if (!rates || !cut) {
        status = dgo_fail(err, DGO_ENOMEM, "no memory to search for a partition");
        goto out;
    }
    rates_make(request->machine, 0, rates);
    cut->rules = rules;
    cut->request = request;
    cut->rates = rates;
    cut->read_ctx = (double)wanted_ctx(request) / 2;
    memcpy(cut->gpu, gpus, sizeof cut->gpu);
    search(cut, usable, &found, partition);
    if (!found)
        status = dgo_fail(err, DGO_EINVAL, "no number of shards and stages suits this model");
    else if (!partition->fits)
        status = fail_nofit(cut, partition, err);
out:
    free(cut);
    free(rates);
    return status;
}
