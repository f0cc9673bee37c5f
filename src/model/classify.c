/* classify.c - from a tensor's name to the place where the engine puts it (llama.cpp's
 * LLM_TENSOR_INFOS, build 10256). */
#include "model_internal.h"

#include <string.h>

/* The name without ".weight", ".bias", ".scale", ...; rows of LAYER without a block go with the
 * first one. */
static const struct {
    const char *name;
    enum dgo_tensor_class class;
} outside_blocks[] = {
    {"token_embd", DGO_TENSOR_INPUT},
    {"position_embd", DGO_TENSOR_INPUT},
    {"token_types", DGO_TENSOR_INPUT},
    {"per_layer_token_embd", DGO_TENSOR_INPUT},
    {"token_embd_norm", DGO_TENSOR_LAYER},
    {"per_layer_model_proj", DGO_TENSOR_LAYER},
    {"per_layer_proj_norm", DGO_TENSOR_LAYER},
    {"rope_freqs", DGO_TENSOR_TABLE},
    {"rope_factors_long", DGO_TENSOR_TABLE},
    {"rope_factors_short", DGO_TENSOR_TABLE},
    {"output", DGO_TENSOR_OUTPUT},
    {"output_norm", DGO_TENSOR_OUTPUT},
    {"output_hc_fn", DGO_TENSOR_OUTPUT},
    {"output_hc_base", DGO_TENSOR_OUTPUT},
    {"output_hc_scale", DGO_TENSOR_OUTPUT},
    {"cls", DGO_TENSOR_OUTPUT},
    {"dense_2", DGO_TENSOR_OUTPUT},
    {"dense_3", DGO_TENSOR_OUTPUT},
    {"dec.output_norm", DGO_TENSOR_OUTPUT},
    {"enc.output_norm", DGO_TENSOR_OUTPUT},
    {"altup_proj", DGO_TENSOR_OUTPUT},
    {"altup_unembd_proj", DGO_TENSOR_OUTPUT},
    {"nextn.post_projection", DGO_TENSOR_OUTPUT},
    {"fc", DGO_TENSOR_OUTPUT},
    {"d2t", DGO_TENSOR_OUTPUT},
};

const char *block_part(const char *name, uint32_t *layer)
{
    uint32_t number = 0;
    const char *at;

    if (strncmp(name, "enc.", 4) == 0 || strncmp(name, "dec.", 4) == 0)
        name += 4;
    if (strncmp(name, "blk.", 4) != 0)
        return NULL;
    at = name + 4;
    for (; *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (uint32_t)(*at - '0');
        if (number > UINT16_MAX)
            return NULL;
    }
    if (at == name + 4 || *at != '.')
        return NULL;
    *layer = number;
    return at + 1;
}

static bool has_name(const char *tensor, const char *name)
{
    const size_t length = strlen(name);

    return strncmp(tensor, name, length) == 0 && (tensor[length] == '.' || tensor[length] == '\0');
}

bool classify_tensor(const char *architecture, struct dgo_tensor *tensor)
{
    uint32_t layer;

    tensor->layer = 0;
    if (block_part(tensor->name, &layer)) {
        tensor->class = DGO_TENSOR_LAYER;
        tensor->layer = (uint16_t)layer;
        return true;
    }
    tensor->class = DGO_TENSOR_OUTPUT;
    /* The engine knows lfm2's output norm by the name that others give their input norm. */
    if (strncmp(architecture, "lfm2", 4) == 0 && has_name(tensor->name, "token_embd_norm"))
        return true;
    for (size_t i = 0; i < sizeof outside_blocks / sizeof outside_blocks[0]; i++) {
        if (has_name(tensor->name, outside_blocks[i].name)) {
            tensor->class = outside_blocks[i].class;
            return true;
        }
    }
    return false;
}

bool is_expert_tensor(const char *name)
{
    static const char *const parts[] = {"up_", "down_", "gate_up_", "gate_"};
    uint32_t layer;
    const char *part = block_part(name, &layer);

    if (!part || strncmp(part, "ffn_", 4) != 0)
        return false;
    part += 4;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const size_t length = strlen(parts[i]);

        if (strncmp(part, parts[i], length) != 0)
            continue;
        if (strncmp(part + length, "exps", 4) == 0 || strncmp(part + length, "chexps", 6) == 0)
            return true;
    }
    return false;
}
