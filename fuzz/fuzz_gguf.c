/* fuzz_gguf.c - any bytes as a model file: parsed from a copy of exactly their length, so that
 * reading one byte too far is seen (a longer or terminated buffer would hide it). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_arena.h"
#include "dgo_model.h"

enum { MEMORY_BYTES_MAX = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

/* What a caller does with a model: walk it.  Aborting here is a finding. */
static void use(const struct dgo_model *model)
{
    uint64_t bytes = 0;

    if (model->layer_count > DGO_LAYER_MAX || model->tensor_count > DGO_TENSOR_MAX ||
        model->arena->used_bytes > MEMORY_BYTES_MAX)
        abort();
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        const struct dgo_tensor *tensor = &model->tensor[i];

        if (strnlen(tensor->name, sizeof tensor->name) == sizeof tensor->name ||
            tensor->size_bytes > model->file_bytes - bytes)
            abort();
        bytes += tensor->size_bytes;
    }
    for (uint32_t i = 0; i < model->key_count && i < 64; i++) {
        if (!dgo_model_find(model, model->key[i].name))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    /* The first byte says how much tensor data the file would have behind the header. */
    const uint64_t claimed = length ? (uint64_t)data[0] << 12 : 0;
    uint8_t *copy = length > 1 ? malloc(length - 1) : NULL;
    struct dgo_error err = {0};
    struct dgo_model *model = NULL;

    if (!copy)
        return 0;
    memcpy(copy, data + 1, length - 1);
    if (dgo_model_parse(copy, length - 1, length - 1 + claimed, &model, &err) == DGO_OK) {
        use(model);
        dgo_model_close(model);
    } else if (err.status == DGO_OK || err.text[0] == '\0') {
        abort();
    }
    free(copy);
    return 0;
}
