/* view_model.c - the model as JSON. */
#include "view_internal.h"

#include <stdlib.h>

/* Listed of one model; ggml has 40.  A broken file may name thousands: what is beyond is left out.
 */
enum { TYPES_MAX = 64 };

static json_t *view_layer(const struct dgo_layer *layer, uint32_t index)
{
    json_t *object = json_pack("{s:i, s:I}", "index", (int)index, "weights_bytes",
                               (json_int_t)layer->weights_bytes);

    if (layer->expert_bytes)
        set_count(object, "expert_bytes", layer->expert_bytes);
    set_count(object, "head_count", layer->head_count);
    set_count(object, "head_count_kv", layer->head_count_kv);
    set_count(object, "key_length", layer->key_length);
    set_count(object, "value_length", layer->value_length);
    set_count(object, "feed_forward_length", layer->feed_forward_length);
    json_object_set_new(object, "sliding_window", json_boolean(layer->sliding_window));
    json_object_set_new(object, "recurrent", json_boolean(layer->recurrent));
    return object;
}

struct type_sum {
    uint32_t id;
    uint64_t tensor_count, bytes;
};

static int by_bytes(const void *a, const void *b)
{
    const struct type_sum *one = a, *other = b;

    return one->bytes != other->bytes ? (one->bytes < other->bytes ? 1 : -1)
                                      : (one->id > other->id) - (one->id < other->id);
}

static struct type_sum *sum_of(struct type_sum *sums, uint32_t *count, uint32_t id)
{
    uint32_t i = 0;

    while (i < *count && sums[i].id != id)
        i++;
    if (i == TYPES_MAX)
        return NULL;
    if (i == *count)
        sums[(*count)++] = (struct type_sum){.id = id};
    return &sums[i];
}

/* Bytes and tensors by type, largest first: what "Q4_K - Medium" really is. */
static json_t *view_types(const struct dgo_model *model)
{
    struct type_sum sums[TYPES_MAX] = {{0}};
    json_t *types = json_array();
    uint32_t count = 0;

    for (uint32_t i = 0; i < model->tensor_count; i++) {
        struct type_sum *sum = sum_of(sums, &count, model->tensor[i].type);

        if (sum) {
            sum->tensor_count++;
            sum->bytes += model->tensor[i].size_bytes;
        }
    }
    for (uint32_t i = 0; i < model->weight_type_count; i++)
        json_array_append_new(
            types, json_pack("{s:o, s:o, s:o}", "type", view_text(model->weight_type[i].name),
                             "tensor_count", count_value(model->weight_type[i].tensor_count),
                             "bytes", count_value(model->weight_type[i].size_bytes)));
    qsort(sums, count, sizeof sums[0], by_bytes);
    for (uint32_t i = 0; i < count; i++) {
        const struct dgo_ggml_type *type = dgo_ggml_type(sums[i].id);
        char unknown[32];
        struct dgo_text text = DGO_TEXT(unknown);

        dgo_text_addf(&text, "type %u", (unsigned)sums[i].id);
        json_array_append_new(types,
                              json_pack("{s:s, s:o, s:o}", "type", type ? type->name : unknown,
                                        "tensor_count", count_value(sums[i].tensor_count), "bytes",
                                        count_value(sums[i].bytes)));
    }
    return types;
}

/* What only a folder has. */
static void set_folder(json_t *object, const struct dgo_model *model)
{
    const struct dgo_quantization *quantization = &model->quantization;
    json_t *stored = json_object();

    set_text(object, "model_class", model->model_class);
    set_text(object, "dtype", model->dtype);
    if (model->vision_bytes)
        set_count(object, "vision_bytes", model->vision_bytes);
    if (!quantization->method[0]) {
        json_decref(stored);
        return;
    }
    set_text(stored, "method", quantization->method);
    if (quantization->bits)
        set_count(stored, "bits", quantization->bits);
    if (quantization->group_size)
        set_count(stored, "group_size", quantization->group_size);
    json_object_set_new(object, "quantization", stored);
}

static json_t *make_model(const struct view *view)
{
    const struct dgo_model *model = view->model;
    json_t *object = json_object();
    json_t *layers = json_array();
    const char *file_type = dgo_file_type_name(model->file_type);

    set_text(object, "schema", "dualgpuopt.model/1");
    set_text(object, "format", dgo_model_format_name(model->format));
    set_text(object, "architecture", model->architecture);
    json_object_set_new(object, "architecture_verified", json_boolean(model->verified));
    json_object_set_new(object, "name", text_or_null(model->name));
    json_object_set_new(object, "file_type", file_type ? view_text(file_type) : json_null());
    if (model->format == DGO_FORMAT_GGUF)
        set_count(object, "gguf_version", model->gguf_version);
    else
        set_folder(object, model);
    set_count(object, "shard_count", model->shard_count);
    set_count(object, "file_bytes", model->file_bytes);
    set_count(object, "tensor_count", model->tensor_count + model->source_tensor_count);
    set_count(object, "parameter_count", model->parameter_count);
    if (model->context_length)
        set_count(object, "context_length", model->context_length);
    set_count(object, "embedding_length", model->embedding_length);
    set_count(object, "vocab_size", model->vocab_size);
    set_count(object, "layer_count", model->layer_count);
    if (model->mtp_layer_count)
        set_count(object, "mtp_layer_count", model->mtp_layer_count);
    json_object_set_new(object, "tied_embeddings", json_boolean(model->tied_embeddings));
    if (model->expert_count) {
        set_count(object, "expert_count", model->expert_count);
        set_count(object, "expert_used_count", model->expert_used_count);
    }
    if (model->sliding_window)
        set_count(object, "sliding_window", model->sliding_window);
    set_count(object, "kv_bytes_per_token", dgo_model_kv_bytes_per_token(model));
    json_object_set_new(object, "tokenizer",
                        json_pack("{s:o, s:o}", "model", text_or_null(model->tokenizer), "pre",
                                  text_or_null(model->tokenizer_pre)));
    set_count(object, "input_bytes", model->input_bytes);
    set_count(object, "output_bytes", model->output_bytes);
    set_count(object, "table_bytes", model->table_bytes);
    json_object_set_new(object, "types", view_types(model));
    for (uint32_t i = 0; i < model->layer_count; i++)
        json_array_append_new(layers, view_layer(&model->layer[i], i));
    json_object_set_new(object, "layers", layers);
    return object;
}

json_t *view_model(const struct dgo_model *model)
{
    return view_make(&(struct view){.make = make_model, .model = model});
}
