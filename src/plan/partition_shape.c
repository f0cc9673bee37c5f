/* partition_shape.c - what one shard of a model holds, and whether it can be cut so. */
#include "partition.h"

#include <inttypes.h>
#include <string.h>

#include "dgo_units.h"
#include "memory.h"

/* Captured graphs of all batch sizes, and NCCL's buffers beside the context: what start-up logs of
 * both engines show on one to eight cards; to be replaced by what the engine itself logs. */
#define GRAPHS_BYTES     (512 * DGO_MIB)
#define COLLECTIVE_BYTES (128 * DGO_MIB)
#define SAMPLED_ROWS     256 /* requests whose logits are held at once: both engines' default */

static bool named(const struct dgo_tensor *tensor, const char *const *words)
{
    for (; *words; words++)
        if (strstr(tensor->name, *words))
            return true;
    return false;
}

/* Of one tensor in one of `shards` shards: norms, routers and latent projections are whole in each,
 * keys and values are cut by cache heads, of which each shard has one at least. */
static uint64_t shard_bytes(const struct dgo_tensor *tensor, uint32_t heads_kv, uint32_t shards)
{
    static const char *const whole[] = {"attn_kv_a_mqa", "kv_a_proj",    "attn_q_a.", "q_a_proj",
                                        "ffn_gate_inp",  ".gate.weight", NULL};
    static const char *const cached[] = {"attn_k.", "attn_v.", "k_proj.", "v_proj.", NULL};

    if (tensor->dim_count <= 1 || named(tensor, whole))
        return tensor->size_bytes;
    if (heads_kv > 0 && heads_kv < shards && named(tensor, cached))
        return tensor->size_bytes / heads_kv;
    return (tensor->size_bytes + shards - 1) / shards;
}

/* Cache of one token of one layer in one shard; latent attention keeps all of it in each. */
static uint64_t token_bytes(const struct dgo_layer *layer, uint32_t shards, uint32_t value_bytes)
{
    const uint32_t heads = layer->head_count_kv / shards;

    if (layer->head_count_kv == 0)
        return 0;
    return (uint64_t)(heads > 0 ? heads : 1) * (layer->key_length + layer->value_length) *
           value_bytes;
}

/* Sums hold the layers' own bytes until they are summed up. */
static void add_tensor(const struct dgo_model *model, const struct dgo_tensor *tensor,
                       uint32_t shards, struct partition_shape *shape)
{
    const bool layer = tensor->class == DGO_TENSOR_LAYER && tensor->layer < model->layer_count;
    const uint64_t bytes =
        shard_bytes(tensor, layer ? model->layer[tensor->layer].head_count_kv : 0, shards);

    if (layer)
        shape->weights_sum[tensor->layer + 1] += bytes;
    else if (tensor->class == DGO_TENSOR_INPUT)
        shape->first_bytes += bytes;
    else if (tensor->class == DGO_TENSOR_OUTPUT)
        shape->last_bytes += bytes;
}

/* A folder keeps sums, not tensors.  The keys' and values' projections count as cut evenly; where
 * there are fewer cache heads than shards they are not, which is some MiB of a layer. */
static void add_folder(const struct dgo_model *model, uint32_t shards,
                       struct partition_shape *shape)
{
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];

        shape->weights_sum[l + 1] =
            layer->replicated_bytes +
            (layer->weights_bytes - layer->replicated_bytes + shards - 1) / shards;
    }
    shape->first_bytes =
        model->vision_bytes + (model->input_bytes - model->vision_bytes + shards - 1) / shards;
    shape->last_bytes = (model->output_bytes + shards - 1) / shards;
}

void partition_shape_make(const struct dgo_model *model, uint32_t tensor_parallel,
                          uint32_t kv_value_bytes, struct partition_shape *shape)
{
    const double used =
        model->expert_count > 0 ? (double)model->expert_used_count / model->expert_count : 1;

    memset(shape, 0, sizeof *shape);
    shape->layer_count = model->layer_count;
    shape->tensor_parallel = tensor_parallel;
    if (model->tensor_count == 0)
        add_folder(model, tensor_parallel, shape);
    for (uint32_t i = 0; i < model->tensor_count; i++)
        add_tensor(model, &model->tensor[i], tensor_parallel, shape);
    if (model->tied_embeddings)
        shape->last_bytes += shape->first_bytes;
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];
        const double experts = (double)layer->expert_bytes / tensor_parallel;
        const double dense = (double)shape->weights_sum[l + 1] - experts;

        shape->read_sum[l + 1] = shape->read_sum[l] + dense + experts * used;
        shape->expert_layers_sum[l + 1] = shape->expert_layers_sum[l] + (layer->expert_bytes > 0);
        shape->weights_sum[l + 1] += shape->weights_sum[l];
        shape->kv_sum[l + 1] =
            shape->kv_sum[l] + token_bytes(layer, tensor_parallel, kv_value_bytes);
    }
}

uint64_t partition_activation_bytes(const struct dgo_model *model, const struct dgo_gpu *gpu,
                                    uint32_t tensor_parallel, uint32_t rank_count,
                                    uint32_t batch_tokens)
{
    uint64_t queries = 0, inner = 0;

    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];

        queries = dgo_max_u64(queries, (uint64_t)layer->head_count * layer->key_length);
        inner = dgo_max_u64(inner, layer->feed_forward_length);
    }
    inner =
        dgo_max_u64(inner, (uint64_t)model->expert_used_count * model->expert_feed_forward_length);
    /* Two bytes a value: residual, normed input, sum; queries and their result; gate, up, product.
     * Logits of the sampled rows as two bytes and as floats. */
    return 2 * (uint64_t)batch_tokens *
               (4 * (uint64_t)model->embedding_length +
                (2 * queries + 3 * inner) / tensor_parallel) +
           6 * (uint64_t)model->vocab_size * SAMPLED_ROWS + GRAPHS_BYTES +
           (rank_count > 1 ? COLLECTIVE_BYTES : 0) + memory_overhead_bytes(gpu);
}

static bool divides(uint32_t shards, const struct dgo_layer *layer)
{
    const uint32_t kv = layer->head_count_kv;

    return layer->head_count % shards == 0 &&
           (kv == 0 || layer->value_length == 0 || kv % shards == 0 || shards % kv == 0);
}

/* The largest number of shards below `shards` that every layer's heads allow. */
static uint32_t nearest_shards(const struct dgo_model *model, uint32_t shards)
{
    for (uint32_t s = shards; s > 1; s--) {
        bool all = true;

        for (uint32_t l = 0; l < model->layer_count && all; l++)
            all = divides(s, &model->layer[l]);
        if (all)
            return s;
    }
    return 1;
}

static enum dgo_status check_feed_forward(uint32_t inner, uint32_t shards, uint32_t group,
                                          struct dgo_error *err)
{
    if (inner % shards)
        return dgo_fail(err, DGO_EINVAL,
                        "the feed-forward width of %" PRIu32 " cannot be cut into %" PRIu32
                        " equal shards",
                        inner, shards);
    if (group > 0 && inner / shards % group)
        return dgo_fail(err, DGO_EINVAL,
                        "a shard of %" PRIu32 " feed-forward rows (%" PRIu32 " / %" PRIu32
                        ") is no multiple of the quantisation group of %" PRIu32,
                        inner / shards, inner, shards, group);
    return DGO_OK;
}

enum dgo_status dgo_partition_check_shards(const struct dgo_model *model, uint32_t tensor_parallel,
                                           uint32_t quant_group, struct dgo_error *err)
{
    if (tensor_parallel < 1 || tensor_parallel > DGO_GPU_MAX)
        return dgo_fail(err, DGO_EINVAL, "tensor parallelism is over 1 to %d cards, not %" PRIu32,
                        DGO_GPU_MAX, tensor_parallel);
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];
        enum dgo_status status = DGO_OK;

        if (!divides(tensor_parallel, layer))
            return dgo_fail(err, DGO_EINVAL,
                            "layer %" PRIu32 " has %" PRIu32 " heads and %" PRIu32
                            " cache heads, which cannot be shared by %" PRIu32 " cards; %" PRIu32
                            " would do",
                            l, layer->head_count, layer->head_count_kv, tensor_parallel,
                            nearest_shards(model, tensor_parallel));
        if (layer->feed_forward_length > 0)
            status =
                check_feed_forward(layer->feed_forward_length, tensor_parallel, quant_group, err);
        if (status != DGO_OK)
            return status;
    }
    if (model->expert_count > 0 && model->expert_feed_forward_length > 0)
        return check_feed_forward(model->expert_feed_forward_length, tensor_parallel, quant_group,
                                  err);
    return DGO_OK;
}

void dgo_partition_even(const struct dgo_partition_rules *rules, uint32_t layer_count,
                        uint32_t stage_count, uint32_t layers[DGO_GPU_MAX])
{
    const uint32_t least = layer_count / stage_count, rest = layer_count % stage_count;

    for (uint32_t s = 0; s < stage_count; s++)
        layers[s] = least;
    for (uint32_t i = 0; i < rest; i++)
        layers[stage_count - 1 - i - (rules->remainder_last ? 0 : 1)]++;
}
