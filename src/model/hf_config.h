/* hf_config.h - what config.json says of a model; private to model. */
#ifndef HF_CONFIG_H
#define HF_CONFIG_H

#include "dgo_model.h"

enum {
    HF_CONFIG_BYTES_MAX = 8 << 20, /* some carry per-layer tables of quantisation */
};

enum hf_layer_kind { HF_LAYER_UNSAID, HF_LAYER_FULL, HF_LAYER_WINDOW, HF_LAYER_LINEAR };

/* 0 and "": not said.  Names are the file's own; several name the same thing. */
struct hf_config {
    char model_type[64], model_class[64], dtype[16];
    uint32_t hidden_size, layer_count, head_count, head_count_kv, head_dim;
    bool head_count_kv_said;
    uint32_t intermediate_size, expert_intermediate_size;
    uint32_t expert_count, expert_used_count, dense_layer_count;
    uint32_t vocab_size, context_length;
    bool tied, tied_said;
    uint32_t sliding_window, window_pattern, window_layer_from;
    bool window_off;
    uint32_t kv_lora_rank, rope_head_dim;
    uint32_t full_attention_interval, mtp_layer_count, kv_shared_layer_count;
    uint8_t layer_kind[DGO_LAYER_MAX]; /* enum hf_layer_kind */
    bool attention_free;               /* Mamba and the like: known by their model_type */
    struct dgo_quantization quantization;
};

/* DGO_EFORMAT names the byte or the missing key. */
enum dgo_status hf_config_parse(const char *text, size_t length, struct hf_config *config,
                                struct dgo_error *err) DGO_MUST_CHECK;

/* hf_quant_config.json of NVIDIA's ModelOpt: fills the method where config.json names none. */
enum dgo_status hf_quant_config_parse(const char *text, size_t length, struct hf_config *config,
                                      struct dgo_error *err) DGO_MUST_CHECK;

#endif
