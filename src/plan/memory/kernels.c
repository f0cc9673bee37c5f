/* kernels.c - whether cards can compute fused attention: CUDA has kernels for heads of some sizes
 * and for caches of some types (ROCm shares them).  Where there is none the engine withdraws flash
 * attention, or computes it on the CPU if it was told to use it.  Source: ggml-cuda/fattn.cu of
 * b10068 to b11146; FORMULAS "Flash attention". */
#include "memory.h"

/* Heads of queries for each of keys: so many at `least`, and a multiple of `by`. */
static const struct {
    uint32_t key, value, least, by;
} kernels[] = {
    {40, 40, 0, 1},   {64, 64, 0, 1},     {72, 72, 0, 1},   {80, 80, 0, 1},
    {96, 96, 0, 1},   {112, 112, 0, 1},   {128, 128, 0, 1}, {256, 256, 0, 1},
    {192, 128, 8, 8}, {320, 256, 32, 32}, {512, 512, 2, 1}, {576, 512, 2, 1},
};

bool memory_heads_have_kernel(uint64_t key, uint64_t value, uint64_t heads, uint64_t heads_kv)
{
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
        if (kernels[i].key == key && kernels[i].value == value)
            return heads / heads_kv >= kernels[i].least && heads / heads_kv % kernels[i].by == 0;
    return false;
}

/* Builds before the one that unpacks what it has no kernel for know pairs of types only. */
static bool are_types_read(enum dgo_kv_type key, enum dgo_kv_type value,
                           const struct memory_build *rule)
{
    if (rule->cache_types_free)
        return key != DGO_KV_IQ4_NL && value != DGO_KV_IQ4_NL;
    if (key == DGO_KV_Q8_0 && value == DGO_KV_Q4_0)
        return true;
    /* An f32 cache is made f16 before. */
    key = key == DGO_KV_F32 ? DGO_KV_F16 : key;
    value = value == DGO_KV_F32 ? DGO_KV_F16 : value;
    return key == value &&
           (key == DGO_KV_F16 || key == DGO_KV_BF16 || key == DGO_KV_Q8_0 || key == DGO_KV_Q4_0);
}

bool memory_layer_has_kernel(const struct dgo_model *model, const struct dgo_settings *settings,
                             const struct memory_build *rule, uint32_t l)
{
    const struct dgo_layer *layer = &model->layer[l];
    const uint32_t value = model->mla ? (uint32_t)memory_key_number(model, "attention.kv_lora_rank")
                                      : layer->value_length;

    return layer->head_count_kv == 0 ||
           (are_types_read(settings->key_type, settings->value_type, rule) &&
            memory_heads_have_kernel(layer->key_length, value, layer->head_count,
                                     layer->head_count_kv));
}

bool dgo_model_fuses_attention(const struct dgo_model *model)
{
    const struct dgo_settings settings = {.key_type = DGO_KV_F16, .value_type = DGO_KV_F16};

    return memory_has_kernels(model, &settings, memory_build_find(0));
}

bool memory_has_kernels(const struct dgo_model *model, const struct dgo_settings *settings,
                        const struct memory_build *rule)
{
    for (uint32_t l = 0; l < model->layer_count; l++)
        if (!memory_layer_has_kernel(model, settings, rule, l))
            return false;
    return true;
}
