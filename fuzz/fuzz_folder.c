/* fuzz_folder.c - any bytes as config.json and the header of a safetensors file.  The first two
 * bytes say where the one ends and the other begins, the third how much data the file would have.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

/* A copy of exactly that length: reading one byte too far is seen. */
static char *copy_of(const uint8_t *data, size_t length)
{
    char *copy = malloc(length ? length : 1);

    if (copy && length)
        memcpy(copy, data, length);
    return copy;
}

static void use(const struct dgo_model *model)
{
    uint64_t bytes = model->input_bytes + model->output_bytes;

    if (model->layer_count > DGO_LAYER_MAX || model->weight_type_count > DGO_WEIGHT_TYPE_MAX)
        abort();
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];

        if (layer->expert_bytes + layer->replicated_bytes > layer->weights_bytes)
            abort();
        bytes += layer->weights_bytes;
    }
    if (bytes > UINT64_C(1) << 40)
        abort();
    (void)dgo_model_kv_bytes_per_token(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct dgo_error err = {0};
    struct dgo_model *model = NULL;
    size_t config_length;
    char *config, *header;

    if (length < 3)
        return 0;
    config_length = (size_t)data[0] << 8 | data[1];
    if (config_length > length - 3)
        config_length = length - 3;
    config = copy_of(data + 3, config_length);
    header = copy_of(data + 3 + config_length, length - 3 - config_length);
    if (config && header) {
        if (dgo_model_parse_folder(config, config_length, header, length - 3 - config_length,
                                   (uint64_t)data[2] << 20, &model, &err) == DGO_OK) {
            use(model);
            dgo_model_close(model);
        } else if (err.status == DGO_OK || err.text[0] == '\0') {
            abort();
        }
    }
    free(config);
    free(header);
    return 0;
}
