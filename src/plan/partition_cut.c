/* partition_cut.c - one number of shards and stages on given cards: what each stage may hold, and
 * the runs of layers that leave most cache. */
#include "partition.h"

#include <math.h>
#include <string.h>

#include "memory.h"

enum {
    DEFAULT_BATCH = 2048,
    EXACT_STAGES_MAX = 8, /* every order of stages is tried; beyond, the greatest room first */
    HALVINGS = 50,
};

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- one stage ---- */

uint64_t partition_run_weights(const struct partition_cut *cut, uint32_t first, uint32_t end)
{
    const struct partition_shape *shape = &cut->shape;

    return shape->weights_sum[end] - shape->weights_sum[first] +
           (first == 0 ? shape->first_bytes : 0) +
           (end == shape->layer_count ? shape->last_bytes : 0);
}

uint64_t partition_run_kv(const struct partition_cut *cut, uint32_t first, uint32_t end)
{
    return cut->shape.kv_sum[end] - cut->shape.kv_sum[first];
}

/* Seconds of a decoded token in this run. */
static double run_s(const struct partition_cut *cut, uint32_t group, uint32_t first, uint32_t end)
{
    const struct partition_shape *shape = &cut->shape;
    const double read = shape->read_sum[end] - shape->read_sum[first] +
                        (end == shape->layer_count ? (double)shape->last_bytes : 0) +
                        (double)partition_run_kv(cut, first, end) * cut->read_ctx;

    return read / cut->rate[group] + (end - first) * cut->layer_s[group] +
           (shape->expert_layers_sum[end] - shape->expert_layers_sum[first]) * COST_EXPERTS_LAUNCH;
}

static bool run_fits(const struct partition_cut *cut, uint32_t group, uint32_t first, uint32_t end,
                     uint64_t tokens, double cap_s)
{
    const uint64_t kv = partition_run_kv(cut, first, end),
                   weights = partition_run_weights(cut, first, end);
    const uint64_t room = cut->room[group] + cut->extra;

    if (weights > room || run_s(cut, group, first, end) > cap_s)
        return false;
    return kv == 0 || tokens <= (room - weights) / kv;
}

/* How far a group reaches from `first` when `after` stages follow, each of which needs a layer. */
static uint32_t reach(const struct partition_cut *cut, uint32_t group, uint32_t first,
                      uint32_t after, uint64_t tokens, double cap_s)
{
    const uint32_t layers = cut->shape.layer_count;
    uint32_t end = first;

    if (after == 0)
        return run_fits(cut, group, first, layers, tokens, cap_s) ? layers : first;
    while (end + 1 + after <= layers && run_fits(cut, group, first, end + 1, tokens, cap_s))
        end++;
    return end;
}

/* ---- all stages ---- */

/* Runs for every stage within the limits.  farthest[set] is the most layers that the set of groups
 * can hold in any order: a longer run is never worse for those that follow. */
static bool runs_exact(const struct partition_cut *cut, uint64_t tokens, double cap_s,
                       struct partition_stage stages[DGO_GPU_MAX])
{
    struct partition_stage last[1 << EXACT_STAGES_MAX] = {{0}};
    const uint32_t all = (1U << cut->stages) - 1;

    for (uint32_t set = 1; set <= all; set++) {
        const uint32_t after = cut->stages - (uint32_t)__builtin_popcount(set);

        for (uint32_t g = 0; g < cut->stages; g++) {
            const uint32_t before = set & ~(1U << g);

            if (!(set >> g & 1) || (before && last[before].end == 0))
                continue;
            const uint32_t first = before ? last[before].end : 0;
            const uint32_t end = reach(cut, g, first, after, tokens, cap_s);

            if (end > first && end > last[set].end)
                last[set] = (struct partition_stage){g, end};
        }
    }
    if (last[all].end != cut->shape.layer_count)
        return false;
    for (uint32_t set = all, s = cut->stages; s-- > 0; set &= ~(1U << last[set].group))
        stages[s] = last[set];
    return true;
}

static bool runs_in_order(const struct partition_cut *cut, uint64_t tokens, double cap_s,
                          struct partition_stage stages[DGO_GPU_MAX])
{
    uint32_t first = 0;

    for (uint32_t s = 0; s < cut->stages; s++) {
        const uint32_t end = reach(cut, s, first, cut->stages - 1 - s, tokens, cap_s);

        if (end == first)
            return false;
        stages[s] = (struct partition_stage){s, end};
        first = end;
    }
    return true;
}

static bool runs(const struct partition_cut *cut, uint64_t tokens, double cap_s,
                 struct partition_stage stages[DGO_GPU_MAX])
{
    return cut->stages <= EXACT_STAGES_MAX ? runs_exact(cut, tokens, cap_s, stages)
                                           : runs_in_order(cut, tokens, cap_s, stages);
}

bool partition_cut_runs(const struct partition_cut *cut, uint64_t tokens,
                        struct partition_stage stages[DGO_GPU_MAX])
{
    return runs(cut, tokens, INFINITY, stages);
}

uint64_t partition_whole_blocks(const struct partition_cut *cut, uint64_t tokens)
{
    return tokens / cut->rules->block_tokens * cut->rules->block_tokens;
}

uint64_t partition_cut_most_tokens(const struct partition_cut *cut)
{
    struct partition_stage stages[DGO_GPU_MAX];
    uint64_t low = 0, high = PARTITION_TOKENS_MAX / cut->rules->block_tokens;

    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;

        if (runs(cut, middle * cut->rules->block_tokens, INFINITY, stages))
            low = middle;
        else
            high = middle;
    }
    return low * cut->rules->block_tokens;
}

bool partition_cut_balance(const struct partition_cut *cut, uint64_t tokens,
                           struct partition_stage stages[DGO_GPU_MAX])
{
    double low = 0, high = 0;

    if (!runs(cut, tokens, INFINITY, stages))
        return false;
    for (uint32_t s = 0; s < cut->stages; s++)
        high =
            fmax(high, run_s(cut, stages[s].group, s > 0 ? stages[s - 1].end : 0, stages[s].end));
    for (int i = 0; i < HALVINGS && high - low > 1e-9; i++) {
        struct partition_stage found[DGO_GPU_MAX];
        const double middle = (low + high) / 2;

        if (runs(cut, tokens, middle, found)) {
            memcpy(stages, found, sizeof found);
            high = middle;
        } else {
            low = middle;
        }
    }
    return true;
}

/* ---- a cut of the machine ---- */

static uint64_t total_bytes(const struct dgo_gpu *gpu)
{
    return dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) ? gpu->total_bytes : assign_free_bytes(gpu);
}

double partition_free_share(const struct dgo_gpu *gpu)
{
    return floor((double)assign_free_bytes(gpu) / (double)total_bytes(gpu) * 100 + 1e-9) / 100;
}

/* The share to tell the engine: its default or the user's, less where a card has less free.  In
 * hundredths, as people write it. */
static double choose_share(const struct partition_cut *cut, uint64_t least_free)
{
    const bool given = cut->request->memory_share > 0;
    double share = given ? cut->request->memory_share : cut->rules->memory_share;

    for (uint32_t i = 0; i < cut->shards * cut->stages && !given; i++) {
        const struct dgo_gpu *gpu = &cut->request->machine->gpu[cut->gpu[i]];
        const double free_bytes = (double)assign_free_bytes(gpu);

        if (cut->rules->memory_rule == DGO_PARTITION_OF_TOTAL)
            share = fmin(share, free_bytes / (double)total_bytes(gpu));
        else if (least_free > cut->activation[i])
            share = fmin(share, 1 - (double)cut->activation[i] / (double)least_free);
    }
    return given ? share : floor(share * 100 + 1e-9) / 100;
}

static void fill_rooms(struct partition_cut *cut)
{
    const uint32_t count = cut->shards * cut->stages;
    uint64_t least_free = UINT64_MAX;

    for (uint32_t i = 0; i < count; i++) {
        const struct dgo_gpu *gpu = &cut->request->machine->gpu[cut->gpu[i]];

        cut->activation[i] =
            cut->request->activation_bytes > 0
                ? cut->request->activation_bytes
                : partition_activation_bytes(
                      cut->request->model, gpu, cut->shards, count,
                      cut->request->batch_tokens > 0 ? cut->request->batch_tokens : DEFAULT_BATCH);
        least_free = dgo_min_u64(least_free, assign_free_bytes(gpu));
    }
    cut->share = choose_share(cut, least_free);
    for (uint32_t i = 0; i < count; i++) {
        const struct dgo_gpu *gpu = &cut->request->machine->gpu[cut->gpu[i]];
        uint64_t room = 0;

        if (cut->rules->memory_rule == DGO_PARTITION_OF_TOTAL) {
            cut->budget[i] = (uint64_t)(cut->share * (double)total_bytes(gpu));
            room = minus(cut->budget[i], cut->activation[i]);
        } else {
            cut->budget[i] =
                minus(assign_free_bytes(gpu), (uint64_t)((1 - cut->share) * (double)least_free));
            room = cut->budget[i];
        }
        cut->room[i / cut->shards] =
            i % cut->shards == 0 ? room : dgo_min_u64(cut->room[i / cut->shards], room);
    }
}

/* Two sums over the shards in each layer, of one token's state at two bytes a value. */
static void fill_speeds(struct partition_cut *cut)
{
    const double state_bytes = 2.0 * cut->request->model->embedding_length;

    for (uint32_t g = 0; g < cut->stages; g++) {
        const uint32_t *gpu = cut->gpu + (size_t)g * cut->shards;

        cut->rate[g] = INFINITY;
        for (uint32_t i = 0; i < cut->shards; i++)
            cut->rate[g] = fmin(cut->rate[g], cut->rates->gpu_rate[gpu[i]]);
        cut->layer_s[g] =
            COST_LAYER_LAUNCH + 2 * rates_all_reduce_s(cut->rates, gpu, cut->shards, state_bytes);
    }
}

void partition_cut_fill(struct partition_cut *cut)
{
    fill_rooms(cut);
    fill_speeds(cut);
}

double partition_step_s(const struct partition_cut *cut, const struct partition_stage *stages)
{
    double sum = 0;

    for (uint32_t s = 0; s < cut->stages; s++) {
        const uint32_t group = stages[s].group;

        sum += run_s(cut, group, s > 0 ? stages[s - 1].end : 0, stages[s].end);
        if (s > 0)
            sum += cut->rates->hop_s[cut->gpu[(size_t)stages[s - 1].group * cut->shards]]
                                    [cut->gpu[(size_t)group * cut->shards]];
    }
    return sum;
}
