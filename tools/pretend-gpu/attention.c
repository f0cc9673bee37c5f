/* attention.c - what CUDA's kernels for fused attention ask for: heads of some sizes, caches in
 * f16.
 *
 * Cards from Turing on.  Their kernel for batches reads f16 alone, so behind the result there is
 * room for what a cache of another type becomes; that for single tokens reads packed caches as they
 * are. */
#include "attention.h"

#include <stdint.h>
#include <string.h>

enum {
    ALIGNMENT_BYTES = 128,
    CELLS_AT_ONCE = 256,
    STRIDE_BYTES = 16,
    OP_PARAM_MAX_BIAS = 1, /* of ALiBi; 0.0f: none */
};

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
}

static bool has_bias(const struct ggml_tensor *result)
{
    float max_bias;

    memcpy(&max_bias, result->op_params + OP_PARAM_MAX_BIAS, sizeof max_bias);
    return max_bias != 0.0f;
}

static bool is_aligned(const struct ggml_tensor *tensor)
{
    if (ggml_is_quantized(tensor->type))
        return true;
    for (int i = 1; i < GGML_MAX_DIMS; i++)
        if (tensor->nb[i] % STRIDE_BYTES != 0)
            return false;
    return true;
}

static int64_t queries_for_each_key(const struct ggml_tensor *result)
{
    return result->src[0]->ne[2] / result->src[1]->ne[2];
}

/* Several heads of queries against one of keys at once. */
static bool groups_queries(const struct ggml_tensor *result)
{
    const struct ggml_tensor *mask = result->src[3];

    if (queries_for_each_key(result) < 2 || !mask || has_bias(result) ||
        result->src[1]->ne[1] % CELLS_AT_ONCE != 0)
        return false;
    for (int i = 0; i < 4; i++)
        if (!is_aligned(result->src[i]))
            return false;
    return true;
}

/* One token at a time, heads of 64, 128 or 256 values. */
static bool is_vector(const struct ggml_tensor *result)
{
    const struct ggml_tensor *queries = result->src[0];
    const bool packed =
        ggml_is_quantized(result->src[1]->type) || ggml_is_quantized(result->src[2]->type);

    return queries->ne[1] == 1 &&
           (queries->ne[0] == 64 || queries->ne[0] == 128 || queries->ne[0] == 256) &&
           result->src[1]->ne[1] % CELLS_AT_ONCE == 0 && (packed || !groups_queries(result));
}

size_t pretend_attention_size(const struct ggml_tensor *result)
{
    const struct ggml_tensor *keys = result->src[1], *values = result->src[2];
    const bool shared =
        values->view_src && (values->view_src == keys || (values->view_src == keys->view_src &&
                                                          values->view_offs == keys->view_offs));
    size_t size = ggml_nbytes(result);

    if (is_vector(result))
        return size;
    if (keys->type != GGML_TYPE_F16)
        size = padded(size) + (size_t)ggml_nelements(keys) * sizeof(uint16_t);
    if (values->type != GGML_TYPE_F16 && !shared)
        size = padded(size) + (size_t)ggml_nelements(values) * sizeof(uint16_t);
    return size;
}

static bool is_type_read(enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0:
        return true;
    default:
        return false;
    }
}

bool pretend_attention_supported(const struct ggml_tensor *result)
{
    static const struct {
        int64_t key, value, group; /* group: queries for each key are a multiple; 0: any number */
    } heads[] = {
        {40, 40, 0},   {64, 64, 0},   {72, 72, 0},   {80, 80, 0},    {96, 96, 0},   {112, 112, 0},
        {128, 128, 0}, {256, 256, 0}, {192, 128, 8}, {320, 256, 32}, {512, 512, 1}, {576, 512, 1},
    };
    const struct ggml_tensor *keys = result->src[1], *values = result->src[2];

    if ((result->src[3] && result->src[3]->ne[2] != 1) || !is_type_read(keys->type) ||
        !is_type_read(values->type))
        return false;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (keys->ne[0] == heads[i].key && values->ne[0] == heads[i].value)
            return heads[i].group == 0 ||
                   (groups_queries(result) && queries_for_each_key(result) % heads[i].group == 0);
    return false;
}
