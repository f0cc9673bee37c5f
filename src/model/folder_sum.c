/* folder_sum.c - from the tensors of a model folder to its layers: bytes, parameters, caches. */
#include "folder.h"

#include "dgo_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* ---- names ---- */

/* The layer's number in "model.layers.12.mlp...", "transformer.h.3...": the first number between
 * points that follows a word for blocks. */
static bool layer_of(const char *name, uint32_t *layer, const char **part)
{
    static const char *const blocks[] = {"layers.", "h.", "blocks.", "layer."};

    for (const char *at = name; *at; at++) {
        if (at != name && at[-1] != '.')
            continue;
        for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
            const size_t length = strlen(blocks[i]);
            const char *digit = at + length;
            uint32_t number = 0;

            if (strncmp(at, blocks[i], length) != 0 || !isdigit((unsigned char)*digit))
                continue;
            for (; isdigit((unsigned char)*digit) && number < 100000; digit++)
                number = number * 10 + (uint32_t)(*digit - '0');
            if (*digit != '.')
                continue;
            *layer = number;
            *part = digit + 1;
            return true;
        }
    }
    return false;
}

/* Towers that see or hear, and what joins them to the text. */
static bool is_vision(const char *name)
{
    static const char *const words[] = {"visual.",      "vision_",   "vision.", "multi_modal_",
                                        "mm_projector", "audio_",    "audio.",  "image_newline",
                                        "patch_merger", "resampler", "img_",    "speech_"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t length = strlen(name), end_length = strlen(end);

    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

static bool is_embedding(const char *name)
{
    return strstr(name, "embed_tokens") || strstr(name, "wte.") ||
           strstr(name, "word_embeddings.") || strstr(name, "tok_embeddings") ||
           strstr(name, "embeddings.weight");
}

static bool is_head(const char *name)
{
    return strstr(name, "lm_head") || strncmp(name, "output.", 7) == 0 || strstr(name, "embed_out");
}

static bool is_expert(const char *part)
{
    return strstr(part, "experts.") && !strstr(part, "shared_expert");
}

/* Whole on every card under tensor parallelism: what has one dimension, and routers. */
static bool is_replicated(const char *part, const struct safetensors_tensor *tensor)
{
    return tensor->dim_count < 2 || ends_with(part, "mlp.gate.weight") ||
           ends_with(part, "router.weight") || strstr(part, "block_sparse_moe.gate.") ||
           strstr(part, "kv_a_proj") || strstr(part, "q_a_proj");
}

/* ---- parameters ---- */

/* Values that the tensor stands for: packed ones hold several an element, scales none. */
static uint64_t parameters_of(const struct hf_config *config,
                              const struct safetensors_tensor *tensor)
{
    static const char *const helpers[] = {"scales",
                                          "qzeros",
                                          "g_idx",
                                          "weight_scale",
                                          "zero_point",
                                          "scale_inv",
                                          "input_scale",
                                          "weight_shape",
                                          "absmax",
                                          "quant_map",
                                          "bitsandbytes__nf4", /* .quant_state. before it */
                                          "bitsandbytes__fp4",
                                          "SCB", /* of its 8 bits */
                                          "weight_format",
                                          "weight_scale_2",
                                          "suh",
                                          "svh",
                                          "k_scale",
                                          "v_scale",
                                          "mcg",
                                          "mul1",
                                          "q_perm",
                                          "q_scale",
                                          "q_scale_max",
                                          "q_groups",
                                          "q_invperm",
                                          "weight_global_scale",
                                          "_scales",
                                          "input_global_scale",
                                          "rotary_emb.inv_freq"};
    const uint32_t bits = config->quantization.bits ? config->quantization.bits : 4;

    for (size_t i = 0; i < sizeof helpers / sizeof helpers[0]; i++)
        if (ends_with(tensor->name, helpers[i]))
            return 0;
    if (ends_with(tensor->name, ".trellis")) /* EXL3: a tile of 16 x 16 values in 16 * K words */
        return tensor->dim_count == 3 && tensor->dim[0] < UINT32_MAX && tensor->dim[1] < UINT32_MAX
                   ? tensor->dim[0] * tensor->dim[1] * 256
                   : 0;
    if (ends_with(tensor->name, "qweight") || ends_with(tensor->name, "weight_packed") ||
        ends_with(tensor->name, "q_weight") || ends_with(tensor->name, "_blocks") ||
        (strcmp(tensor->dtype, "U8") == 0 &&
         (strncmp(config->quantization.method, "modelopt", 8) == 0 ||
          strcmp(config->quantization.method, "NVFP4") == 0 ||
          (strncmp(config->quantization.method, "bitsandbytes", 12) == 0 &&
           config->quantization.bits == 4))))
        return tensor->size_bytes / bits * 8 + tensor->size_bytes % bits * 8 / bits;
    return tensor->element_count;
}

/* ---- sums ---- */

static void count_type(struct dgo_model *model, const struct safetensors_tensor *tensor)
{
    struct dgo_weight_type *type = model->weight_type;
    uint32_t i = 0;

    while (i < model->weight_type_count && strcmp(type[i].name, tensor->dtype) != 0)
        i++;
    if (i == DGO_WEIGHT_TYPE_MAX)
        return; /* more kinds than there are: the sums stay right */
    if (i == model->weight_type_count) {
        dgo_text_copy(type[i].name, sizeof type[i].name, tensor->dtype);
        model->weight_type_count++;
    }
    type[i].tensor_count++;
    type[i].size_bytes += tensor->size_bytes;
}

/* What stands before "12.mlp...". */
static void keep_prefix(struct dgo_model *model, const char *name, const char *part)
{
    size_t length = (size_t)(part - name) - 1;

    while (length > 0 && isdigit((unsigned char)name[length - 1]))
        length--;
    if (length < sizeof model->layer_prefix)
        dgo_text_copy_escaped(model->layer_prefix, sizeof model->layer_prefix, name, length);
}

enum dgo_status folder_add_tensor(const struct hf_config *config, struct dgo_model *model,
                                  const struct safetensors_tensor *tensor, struct dgo_error *err)
{
    const char *part = tensor->name;
    uint32_t layer;

    (void)err;
    model->source_tensor_count++;
    count_type(model, tensor);
    if (is_vision(tensor->name)) {
        model->vision_bytes += tensor->size_bytes;
        model->input_bytes += tensor->size_bytes;
        model->parameter_count += parameters_of(config, tensor);
    } else if (layer_of(tensor->name, &layer, &part)) {
        if (layer >= model->layer_count) { /* prediction blocks: engines leave them out */
            model->mtp_layer_count =
                layer < DGO_LAYER_MAX && layer - model->layer_count + 1 > model->mtp_layer_count
                    ? layer - model->layer_count + 1
                    : model->mtp_layer_count;
            return DGO_OK;
        }
        if (!model->layer_prefix[0])
            keep_prefix(model, tensor->name, part);
        model->layer[layer].weights_bytes += tensor->size_bytes;
        if (is_expert(part))
            model->layer[layer].expert_bytes += tensor->size_bytes;
        else if (is_replicated(part, tensor))
            model->layer[layer].replicated_bytes += tensor->size_bytes;
        model->parameter_count += parameters_of(config, tensor);
    } else if (is_embedding(tensor->name)) {
        model->input_bytes += tensor->size_bytes;
        model->parameter_count += parameters_of(config, tensor);
    } else if (strncmp(tensor->name, "mtp.", 4) != 0) {
        model->output_bytes += tensor->size_bytes;
        model->tied_embeddings &= !is_head(tensor->name);
        model->parameter_count += parameters_of(config, tensor);
    }
    return DGO_OK;
}

/* ---- what a layer keeps ---- */

static bool has_window(const struct hf_config *config, uint32_t l)
{
    if (config->layer_kind[l] != HF_LAYER_UNSAID)
        return config->layer_kind[l] == HF_LAYER_WINDOW;
    if (config->sliding_window == 0 || config->window_off)
        return false;
    if (config->window_pattern > 1)
        return (l + 1) % config->window_pattern != 0;
    if (strncmp(config->model_type, "qwen2", 5) == 0) /* the first layers attend to all */
        return l >= config->window_layer_from;
    if (strcmp(config->model_type, "gemma2") == 0)
        return l % 2 == 0;
    if (strncmp(config->model_type, "gemma3", 6) == 0)
        return (l + 1) % 6 != 0;
    return true;
}

static bool is_linear(const struct hf_config *config, uint32_t l)
{
    if (config->attention_free)
        return true;
    if (config->layer_kind[l] != HF_LAYER_UNSAID)
        return config->layer_kind[l] == HF_LAYER_LINEAR;
    return config->full_attention_interval > 1 && (l + 1) % config->full_attention_interval != 0;
}

static void describe_layer(const struct hf_config *config, struct dgo_layer *layer, uint32_t l)
{
    const bool dense = config->expert_count == 0 || l < config->dense_layer_count;

    layer->head_count = config->head_count;
    layer->recurrent = is_linear(config, l);
    layer->sliding_window = !layer->recurrent && has_window(config, l);
    layer->feed_forward_length = dense || !config->expert_intermediate_size
                                     ? config->intermediate_size
                                     : config->expert_intermediate_size;
    if (layer->recurrent || l + config->kv_shared_layer_count >= config->layer_count)
        return;                 /* no cache of its own: a state, or that of an earlier layer */
    if (config->kv_lora_rank) { /* latent attention: one head of keys, no values */
        layer->head_count_kv = 1;
        layer->key_length = config->kv_lora_rank + config->rope_head_dim;
        return;
    }
    layer->head_count_kv = config->head_count_kv;
    layer->key_length = layer->value_length = config->head_dim;
}

void folder_begin(const struct hf_config *config, struct dgo_model *model)
{
    model->layer_count = config->layer_count;
    model->tied_embeddings = true; /* until a head is found */
    for (uint32_t l = 0; l < model->layer_count; l++)
        describe_layer(config, &model->layer[l], l);
}

enum dgo_status folder_finish(const struct hf_config *config, struct dgo_model *model,
                              struct dgo_error *err)
{
    static const char exl3[] = "exl3", exl2[] = "exl2";

    dgo_text_copy(model->architecture, sizeof model->architecture,
                  config->model_type[0] ? config->model_type : "unknown");
    dgo_text_copy(model->model_class, sizeof model->model_class, config->model_class);
    dgo_text_copy(model->dtype, sizeof model->dtype, config->dtype);
    model->quantization = config->quantization;
    model->format = strcmp(config->quantization.method, exl3) == 0   ? DGO_FORMAT_EXL3
                    : strcmp(config->quantization.method, exl2) == 0 ? DGO_FORMAT_EXL2
                                                                     : DGO_FORMAT_SAFETENSORS;
    model->file_type = UINT32_MAX;
    model->context_length = config->context_length;
    model->embedding_length = config->hidden_size;
    model->vocab_size = config->vocab_size;
    model->expert_count = config->expert_count;
    model->expert_used_count = config->expert_used_count;
    model->expert_feed_forward_length = config->expert_intermediate_size;
    model->mla = config->kv_lora_rank != 0;
    model->verified = true;
    for (uint32_t l = 0; l < model->layer_count; l++)
        if (model->layer[l].sliding_window)
            model->sliding_window = config->sliding_window;
    for (uint32_t l = 0; l < model->layer_count; l++)
        if (model->layer[l].weights_bytes == 0)
            return dgo_fail(err, DGO_EUNSUPPORTED,
                            "config.json names %" PRIu32 " layers, but the files hold nothing of "
                            "layer %" PRIu32 "; are all files there?",
                            model->layer_count, l);
    if (model->input_bytes == 0)
        model->tied_embeddings = false;
    return DGO_OK;
}
