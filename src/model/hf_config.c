/* hf_config.c - config.json of a model folder. */
#include "hf_config.h"

#include "dgo_json.h"
#include "dgo_text.h"

#include <inttypes.h>
#include <string.h>

/* Keys that name a number, at the top or in the text part of a model that also sees. */
static const struct {
    const char *key;
    size_t offset;
} numbers[] = {
#define N(key, field)                                                                              \
    {                                                                                              \
        key, offsetof(struct hf_config, field)                                                     \
    }
    N("hidden_size", hidden_size),
    N("n_embd", hidden_size),
    N("d_model", hidden_size),
    N("num_hidden_layers", layer_count),
    N("n_layer", layer_count),
    N("num_layers", layer_count),
    N("num_attention_heads", head_count),
    N("n_head", head_count),
    N("num_key_value_heads", head_count_kv),
    N("head_dim", head_dim),
    N("intermediate_size", intermediate_size),
    N("n_inner", intermediate_size),
    N("moe_intermediate_size", expert_intermediate_size),
    N("num_experts", expert_count),
    N("num_local_experts", expert_count),
    N("n_routed_experts", expert_count),
    N("num_experts_per_tok", expert_used_count),
    N("experts_per_token", expert_used_count),
    N("top_k_experts", expert_used_count),
    N("first_k_dense_replace", dense_layer_count),
    N("vocab_size", vocab_size),
    N("max_position_embeddings", context_length),
    N("n_positions", context_length),
    N("max_sequence_length", context_length),
    N("sliding_window", sliding_window),
    N("sliding_window_pattern", window_pattern),
    N("max_window_layers", window_layer_from),
    N("kv_lora_rank", kv_lora_rank),
    N("qk_rope_head_dim", rope_head_dim),
    N("full_attention_interval", full_attention_interval),
    N("num_nextn_predict_layers", mtp_layer_count),
    N("mtp_num_hidden_layers", mtp_layer_count),
    N("num_kv_shared_layers", kv_shared_layer_count),
#undef N
};

static const char *const attention_free[] = {"mamba", "mamba2", "falcon_mamba",
                                             "rwkv",  "rwkv6",  "rwkv7"};

/* In a text part the same keys mean the language model; they win over the outer ones, which in
 * such files are those of the whole (and few). */
static const char *const text_parts[] = {"text_config", "llm_config", "language_config"};

struct reading {
    struct hf_config *config;
};

static bool is_text_part(const char *key)
{
    return DGO_TEXT_IN(key, text_parts);
}

static void copy_text(char *to, size_t size, const struct dgo_json_value *value)
{
    dgo_text_copy_escaped(to, size, value->text, strlen(value->text));
}

static enum dgo_status take_number(struct hf_config *config, const char *key,
                                   const struct dgo_json_value *value, struct dgo_error *err)
{
    uint32_t number;

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(numbers[i].key, key) != 0)
            continue;
        if (!value->is_whole || value->whole > UINT32_MAX)
            return dgo_fail(err, DGO_EFORMAT,
                            "config.json, byte %" PRIu64 ": %s is no count that could be",
                            value->pos, key);
        number = (uint32_t)value->whole;
        memcpy((char *)config + numbers[i].offset, &number, sizeof number);
        if (strcmp(key, "num_key_value_heads") == 0)
            config->head_count_kv_said = true;
        return DGO_OK;
    }
    return DGO_OK;
}

static void take_word(struct hf_config *config, const char *key, bool outermost,
                      const struct dgo_json_value *value)
{
    if (strcmp(key, "model_type") == 0 && (outermost || !config->model_type[0]))
        copy_text(config->model_type, sizeof config->model_type, value);
    else if (strcmp(key, "torch_dtype") == 0 || strcmp(key, "dtype") == 0)
        copy_text(config->dtype, sizeof config->dtype, value);
}

static void take_flag(struct hf_config *config, const char *key, bool is_true)
{
    if (strcmp(key, "tie_word_embeddings") == 0) {
        config->tied = is_true;
        config->tied_said = true;
    } else if (strcmp(key, "use_sliding_window") == 0) {
        config->window_off = !is_true;
    }
}

static void take_layer_kind(struct hf_config *config, const struct dgo_json_value *value)
{
    const uint64_t layer = value->step[value->depth - 1].index;

    if (layer >= DGO_LAYER_MAX)
        return;
    config->layer_kind[layer] =
        strstr(value->text, "linear") || strstr(value->text, "mamba") ||
                strstr(value->text, "recurrent") || strcmp(value->text, "conv") == 0
            ? HF_LAYER_LINEAR
        : strstr(value->text, "sliding") || strstr(value->text, "chunked") ? HF_LAYER_WINDOW
                                                                           : HF_LAYER_FULL;
}

/* A scalar of the model itself; `at` is the step that names it. */
static enum dgo_status take_scalar(struct hf_config *config, const struct dgo_json_value *value,
                                   uint32_t at, struct dgo_error *err)
{
    const char *key = value->step[at].key;

    switch (value->kind) {
    case DGO_JSON_NUMBER:
        return take_number(config, key, value, err);
    case DGO_JSON_STRING:
        take_word(config, key, at == 0, value);
        return DGO_OK;
    case DGO_JSON_TRUE:
    case DGO_JSON_FALSE:
        take_flag(config, key, value->kind == DGO_JSON_TRUE);
        return DGO_OK;
    default:
        return DGO_OK;
    }
}

/* "quantization_config": methods differ in where they keep the bits. */
static void take_quantization(struct dgo_quantization *quantization,
                              const struct dgo_json_value *value, uint32_t at)
{
    const char *key = value->step[value->depth - 1].key;

    if (value->kind == DGO_JSON_STRING && value->depth == at + 1) {
        if (strcmp(key, "quant_method") == 0 || strcmp(key, "quant_algo") == 0)
            copy_text(quantization->method, sizeof quantization->method, value);
    } else if (value->kind == DGO_JSON_TRUE && value->depth == at + 1) {
        if (strcmp(key, "load_in_4bit") == 0 || strcmp(key, "_load_in_4bit") == 0)
            quantization->bits = 4;
        else if (strcmp(key, "load_in_8bit") == 0 || strcmp(key, "_load_in_8bit") == 0)
            quantization->bits = 8;
    } else if (value->kind == DGO_JSON_NUMBER && value->real > 0 && value->real < 1024) {
        /* The first that is named is the weights': activations and the cache follow. */
        const bool weights =
            value->depth == at + 1 || strcmp(value->step[value->depth - 2].key, "weights") == 0;

        if (weights &&
            (strcmp(key, "bits") == 0 || strcmp(key, "num_bits") == 0 || strcmp(key, "w_bit") == 0))
            quantization->bits =
                quantization->bits ? quantization->bits : (uint32_t)(value->real + 0.999);
        else if (weights && (strcmp(key, "group_size") == 0 || strcmp(key, "q_group_size") == 0))
            quantization->group_size =
                quantization->group_size ? quantization->group_size : (uint32_t)value->real;
    }
}

static enum dgo_status read_value(const struct dgo_json_value *value, void *data,
                                  struct dgo_error *err)
{
    struct hf_config *config = data;
    uint32_t at = 0;

    if (value->depth == 0)
        return value->kind == DGO_JSON_CLOSE || (value->kind == DGO_JSON_OPEN && !value->is_array)
                   ? DGO_OK
                   : dgo_fail(err, DGO_EFORMAT, "config.json, byte %" PRIu64 ": it is no object",
                              value->pos);
    if (dgo_json_at(value, "architectures.#") && value->kind == DGO_JSON_STRING &&
        value->step[1].index == 0)
        copy_text(config->model_class, sizeof config->model_class, value);
    if (value->depth > 1 && is_text_part(value->step[0].key))
        at = 1;
    if ((strcmp(value->step[at].key, "quantization_config") == 0 ||
         strcmp(value->step[at].key, "compression_config") == 0) &&
        value->depth > at + 1)
        take_quantization(&config->quantization, value, at + 1);
    else if (value->depth == at + 1)
        return take_scalar(config, value, at, err);
    else if (value->depth == at + 2 && value->kind == DGO_JSON_STRING &&
             strcmp(value->step[at].key, "layer_types") == 0 && value->step[at + 1].is_index)
        take_layer_kind(config, value);
    return DGO_OK;
}

static enum dgo_status check(struct hf_config *config, struct dgo_error *err)
{
    const char *missing = !config->layer_count   ? "num_hidden_layers"
                          : !config->hidden_size ? "hidden_size"
                          : !config->vocab_size  ? "vocab_size"
                                                 : NULL;

    config->attention_free = DGO_TEXT_IN(config->model_type, attention_free);
    if (!missing && !config->head_count && !config->attention_free)
        missing = "num_attention_heads";
    if (missing)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "config.json names no %s; is it the configuration of a language model?",
                        missing);
    if (config->layer_count > DGO_LAYER_MAX)
        return dgo_fail(err, DGO_ELIMIT, "config.json: %" PRIu32 " layers, at most %d",
                        config->layer_count, DGO_LAYER_MAX);
    if (!config->head_count_kv_said)
        config->head_count_kv = config->head_count;
    if (!config->head_dim && config->head_count)
        config->head_dim = config->hidden_size / config->head_count;
    return DGO_OK;
}

enum dgo_status hf_config_parse(const char *text, size_t length, struct hf_config *config,
                                struct dgo_error *err)
{
    struct hf_config parsed = {0};
    enum dgo_status status = dgo_json_walk(text, length, 0, read_value, &parsed, err);

    if (status == DGO_OK)
        status = check(&parsed, err);
    if (status == DGO_OK)
        *config = parsed;
    return status;
}

static enum dgo_status read_quant_value(const struct dgo_json_value *value, void *data,
                                        struct dgo_error *err)
{
    struct hf_config *config = data;

    (void)err;
    if (dgo_json_at(value, "quantization.quant_algo") && value->kind == DGO_JSON_STRING &&
        !config->quantization.method[0]) {
        copy_text(config->quantization.method, sizeof config->quantization.method, value);
        config->quantization.bits = strstr(value->text, "4") ? 4 : 8; /* NVFP4, W4A16, FP8, INT8 */
    } else if (dgo_json_at(value, "quantization.group_size") && value->is_whole &&
               value->whole < 65536) {
        config->quantization.group_size = (uint32_t)value->whole;
    }
    return DGO_OK;
}

enum dgo_status hf_quant_config_parse(const char *text, size_t length, struct hf_config *config,
                                      struct dgo_error *err)
{
    return dgo_json_walk(text, length, 0, read_quant_value, config, err);
}
