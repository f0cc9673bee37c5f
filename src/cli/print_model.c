/* print_model.c - what a model file holds, for people. */
#include "print.h"

#include "dgo_units.h"
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *parameters_text(uint64_t count, char text[PARAMETERS_TEXT_MAX])
{
    if (count >= 995000000)
        snprintf(text, PARAMETERS_TEXT_MAX, "%.2f B", (double)count / 1e9);
    else if (count >= 995000)
        snprintf(text, PARAMETERS_TEXT_MAX, "%.2f M", (double)count / 1e6);
    else
        snprintf(text, PARAMETERS_TEXT_MAX, "%" PRIu64, count);
    return text;
}

/* What "Q4_K - Medium" really is, from the view: the largest first. */
static void print_types(const struct dgo_model *model)
{
    json_t *view = view_model(model);
    const json_t *types = json_object_get(view, "types");

    printf("types          ");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const json_t *type = json_array_get(types, i);
        const json_int_t bytes = json_integer_value(json_object_get(type, "bytes"));
        char text[DGO_UNIT_TEXT_MAX];

        printf("%s%s %s", i ? ", " : "", json_string_value(json_object_get(type, "type")),
               dgo_bytes_text((uint64_t)bytes, text));
    }
    printf("\n");
    json_decref(view);
}

static void print_quantization(const struct dgo_quantization *quantization)
{
    printf("quantisation   %s", quantization->method);
    if (quantization->bits)
        printf(", %" PRIu32 " bits", quantization->bits);
    if (quantization->group_size)
        printf(", groups of %" PRIu32, quantization->group_size);
    printf("\n");
}

static void print_summary(const struct dgo_model *model)
{
    char text[DGO_UNIT_TEXT_MAX], count[PARAMETERS_TEXT_MAX];
    const char *file_type = dgo_file_type_name(model->file_type);

    printf("%s\n", model->name[0] ? model->name : "(no name)");
    printf("architecture   %s%s\n", model->architecture,
           model->verified ? "" : " (not verified: sizes follow the tensors' shapes)");
    printf("parameters     %s in %" PRIu64 " tensors\n",
           parameters_text(model->parameter_count, count),
           model->tensor_count + model->source_tensor_count);
    if (model->format == DGO_FORMAT_GGUF)
        printf("file           GGUF v%" PRIu32 ", %s", model->gguf_version,
               dgo_bytes_text(model->file_bytes, text));
    else
        printf("folder         %s, %s", dgo_model_format_name(model->format),
               dgo_bytes_text(model->file_bytes, text));
    if (model->shard_count > 1)
        printf(" in %" PRIu32 " shards", model->shard_count);
    printf("%s%s\n", file_type ? ", " : "", file_type ? file_type : "");
    if (model->quantization.method[0])
        print_quantization(&model->quantization);
    print_types(model);
    if (model->context_length)
        printf("context        %" PRIu32 " tokens in training\n", model->context_length);
    printf("vocabulary     %" PRIu32 " tokens", model->vocab_size);
    if (model->format == DGO_FORMAT_GGUF)
        printf(", tokenizer %s%s%s", model->tokenizer[0] ? model->tokenizer : "?",
               model->tokenizer_pre[0] ? "/" : "", model->tokenizer_pre);
    printf("\n");
    printf("embeddings     %" PRIu32 " wide, %s\n", model->embedding_length,
           model->tied_embeddings ? "tied: loaded once on the host and once with the output layer"
                                  : "output layer of its own");
    if (model->expert_count)
        printf("experts        %" PRIu32 ", %" PRIu32 " used for each token\n", model->expert_count,
               model->expert_used_count);
    if (model->sliding_window)
        printf("window         %" PRIu32 " tokens\n", model->sliding_window);
    if (model->mtp_layer_count)
        printf("prediction     %" PRIu32 " further blocks that the engine does not load\n",
               model->mtp_layer_count);
    printf("KV cache       %s for each token at f16\n",
           dgo_bytes_text(dgo_model_kv_bytes_per_token(model), text));
}

static bool same_layer(const struct dgo_layer *a, const struct dgo_layer *b)
{
    return a->weights_bytes == b->weights_bytes && a->expert_bytes == b->expert_bytes &&
           a->head_count == b->head_count && a->head_count_kv == b->head_count_kv &&
           a->key_length == b->key_length && a->value_length == b->value_length &&
           a->feed_forward_length == b->feed_forward_length &&
           a->sliding_window == b->sliding_window && a->recurrent == b->recurrent;
}

/* One row for each run of equal layers: 61 rows of the same numbers say less than one. */
static void print_layers(const struct dgo_model *model)
{
    struct table *table = table_new();
    char text[DGO_UNIT_TEXT_MAX];

    printf("\n");
    table_column(table, "layers", false);
    table_column(table, "weights each", true);
    table_column(table, "of it experts", true);
    table_column(table, "heads", true);
    table_column(table, "KV heads", true);
    table_column(table, "head size", true);
    table_column(table, "FFN", true);
    table_column(table, "kind", false);
    table_cell(table, "%s", model->format == DGO_FORMAT_GGUF ? "input (host)" : "input");
    table_cell(table, "%s", dgo_bytes_text(model->input_bytes, text));
    for (int i = 0; i < 6; i++)
        table_cell(table, "%s", "");
    for (uint32_t i = 0; i < model->layer_count;) {
        const struct dgo_layer *layer = &model->layer[i];
        uint32_t last = i;

        while (last + 1 < model->layer_count && same_layer(layer, &model->layer[last + 1]))
            last++;
        if (last > i)
            table_cell(table, "%" PRIu32 "-%" PRIu32, i, last);
        else
            table_cell(table, "%" PRIu32, i);
        table_cell(table, "%s", dgo_bytes_text(layer->weights_bytes, text));
        table_cell(table, "%s",
                   layer->expert_bytes ? dgo_bytes_text(layer->expert_bytes, text) : "");
        table_cell(table, "%" PRIu32, layer->head_count);
        table_cell(table, "%" PRIu32, layer->head_count_kv);
        if (layer->key_length == layer->value_length)
            table_cell(table, "%" PRIu32, layer->key_length);
        else
            table_cell(table, "%" PRIu32 "/%" PRIu32, layer->key_length, layer->value_length);
        table_cell(table, "%" PRIu32, layer->feed_forward_length);
        table_cell(table, "%s%s%s", layer->recurrent ? "recurrent" : "attention",
                   layer->recurrent && layer->head_count_kv ? "+attention" : "",
                   layer->sliding_window ? ", window" : "");
        i = last + 1;
    }
    table_cell(table, "output");
    table_cell(table, "%s", dgo_bytes_text(model->output_bytes, text));
    for (int i = 0; i < 6; i++)
        table_cell(table, "%s", "");
    table_print(table);
}

void print_model(const struct dgo_model *model)
{
    print_summary(model);
    print_layers(model);
}
