/* test_folder.c - model folders: what is read from config.json and a safetensors header, and that
 * hostile ones are refused with a sentence. */
#include "check.h"
#include "dgo_model.h"

#define CONFIG_HEAD                                                                                \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","                          \
    "\"torch_dtype\":\"bfloat16\",\"hidden_size\":64,\"num_attention_heads\":4,"                   \
    "\"num_key_value_heads\":2,\"vocab_size\":32,\"intermediate_size\":128,"
#define CONFIG CONFIG_HEAD "\"num_hidden_layers\":1}"
#define LAYER                                                                                      \
    "\"model.layers.0.x.weight\":{\"dtype\":\"BF16\",\"shape\":[4,8],\"data_offsets\":[0,64]}"

static enum dgo_status parse(const char *config, const char *header, uint64_t data_bytes,
                             struct dgo_model **model, struct dgo_error *err)
{
    return dgo_model_parse_folder(config, strlen(config), header, strlen(header), data_bytes, model,
                                  err);
}

static const struct {
    const char *name, *config, *header;
    uint64_t data_bytes;
    const char *sentence;
} bad[] = {
    {"config is a list", "[]", "{}", 0, "it is no object"},
    {"no layers named", CONFIG_HEAD "\"x\":1}", "{}", 0, "names no num_hidden_layers"},
    {"layers beyond any", CONFIG_HEAD "\"num_hidden_layers\":513}", "{}", 0, "at most 512"},
    {"layers not whole", CONFIG_HEAD "\"num_hidden_layers\":1.5}", "{}", 0, "no count"},
    {"layers negative", CONFIG_HEAD "\"num_hidden_layers\":-1}", "{}", 0, "no count"},
    {"an image model", "{\"model_type\":\"vit\"}", "{}", 0, "names no"},
    {"nothing of a layer", CONFIG, "{}", 0, "nothing of layer 0"},
    {"header is a list", CONFIG, "[]", 0, "a list"},
    {"header is a word", CONFIG, "null", 0, "no object"},
    {"tensor is a number", CONFIG, "{\"a\":1}", 0, "a tensor that is no object"},
    {"no dtype", CONFIG, "{\"a\":{\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "lacks its dtype"},
    {"one offset", CONFIG, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 2,
     "lacks its dtype, shape or data_offsets"},
    {"three offsets", CONFIG, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}",
     2, "more than 2 data_offsets"},
    {"offsets backwards", CONFIG, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,1]}}",
     9, "outside of the file"},
    {"beyond the file", CONFIG, "{" LAYER "}", 63, "outside of the file"},
    {"shape and offsets", CONFIG,
     "{\"a\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,9]}}", 9, "does not fit"},
    {"shape beyond 64 bits", CONFIG,
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,9]}}", 9,
     "larger than any file"},
    {"nine dimensions", CONFIG,
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 9,
     "more than 8 dimensions"},
    {"text in a shape", CONFIG,
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 9,
     "something else than numbers"},
    {"tensors overlap", CONFIG,
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}",
     9, "overlaps"},
    {"cut header", CONFIG, "{" LAYER, 64, "byte"},
};

static void test_bad_input_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct dgo_error err = {0};
        struct dgo_model *model = NULL;

        if (parse(bad[i].config, bad[i].header, bad[i].data_bytes, &model, &err) == DGO_OK) {
            dgo_model_close(model);
            fail_msg("%s was accepted", bad[i].name);
        }
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("%s: '%s' does not say '%s'", bad[i].name, err.text, bad[i].sentence);
    }
}

/* What a folder's layer 0 is under a configuration. */
static const struct {
    const char *name, *more;
    uint32_t head_count_kv, key_length, value_length;
    bool window, recurrent;
} layers[] = {
    {"plain", "", 2, 16, 16, false, false},
    {"a head size of its own", "\"head_dim\":32,", 2, 32, 32, false, false},
    {"latent attention", "\"kv_lora_rank\":512,\"qk_rope_head_dim\":64,", 1, 576, 0, false, false},
    {"a window", "\"sliding_window\":128,", 2, 16, 16, true, false},
    {"a window that is off", "\"sliding_window\":128,\"use_sliding_window\":false,", 2, 16, 16,
     false, false},
    {"a window that is null", "\"sliding_window\":null,", 2, 16, 16, false, false},
    {"layer types: window", "\"layer_types\":[\"sliding_attention\"],\"sliding_window\":128,", 2,
     16, 16, true, false},
    {"layer types: full", "\"layer_types\":[\"full_attention\"],\"sliding_window\":128,", 2, 16, 16,
     false, false},
    {"layer types: linear", "\"layer_types\":[\"linear_attention\"],", 0, 0, 0, false, true},
    {"every fourth is full", "\"full_attention_interval\":4,", 0, 0, 0, false, true},
};

static void test_layers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        char config[1024];
        struct dgo_error err = {0};
        struct dgo_model *model;

        snprintf(config, sizeof config, CONFIG_HEAD "%s\"num_hidden_layers\":1}", layers[i].more);
        if (parse(config, "{" LAYER "}", 64, &model, &err) != DGO_OK)
            fail_msg("%s: %s", layers[i].name, err.text);
        CHECK_ROW_U64(model->layer[0].head_count_kv, layers[i].head_count_kv, layers[i].name);
        CHECK_ROW_U64(model->layer[0].key_length, layers[i].key_length, layers[i].name);
        CHECK_ROW_U64(model->layer[0].value_length, layers[i].value_length, layers[i].name);
        CHECK_ROW(model->layer[0].sliding_window == layers[i].window, layers[i].name);
        CHECK_ROW(model->layer[0].recurrent == layers[i].recurrent, layers[i].name);
        CHECK_ROW_U64(model->layer[0].weights_bytes, 64, layers[i].name);
        dgo_model_close(model);
    }
}

/* Where each tensor of a model ends up. */
static void test_places(void **state)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"model.language_model.embed_tokens.weight\":{\"dtype\":\"U8\",\"shape\":[1],"
        "\"data_offsets\":[0,1]},"
        "\"model.visual.blocks.0.attn.weight\":{\"dtype\":\"U8\",\"shape\":[1,2],"
        "\"data_offsets\":[1,3]},"
        "\"model.language_model.layers.0.mlp.experts.7.up_proj.weight\":{\"dtype\":\"U8\","
        "\"shape\":[2,2],\"data_offsets\":[3,7]},"
        "\"model.language_model.layers.0.mlp.gate.weight\":{\"dtype\":\"U8\",\"shape\":[2,4],"
        "\"data_offsets\":[7,15]},"
        "\"model.language_model.layers.1.eh_proj.weight\":{\"dtype\":\"U8\",\"shape\":[16],"
        "\"data_offsets\":[15,31]},"
        "\"model.language_model.norm.weight\":{\"dtype\":\"U8\",\"shape\":[32],"
        "\"data_offsets\":[31,63]}}";
    struct dgo_error err = {0};
    struct dgo_model *model;

    (void)state;
    if (parse(CONFIG, header, 63, &model, &err) != DGO_OK)
        fail_msg("%s", err.text);
    assert_int_equal(model->input_bytes, 3);
    assert_int_equal(model->vision_bytes, 2);
    assert_int_equal(model->layer[0].weights_bytes, 12);
    assert_int_equal(model->layer[0].expert_bytes, 4);
    assert_int_equal(model->layer[0].replicated_bytes, 8);
    assert_int_equal(model->mtp_layer_count, 1);
    assert_int_equal(model->output_bytes, 32);
    assert_true(model->tied_embeddings);
    assert_int_equal(model->parameter_count, 3 + 12 + 32);
    dgo_model_close(model);
}

/* ---- how methods store a matrix: names and shapes as their own code writes them ---- */

#define L0 "\"model.layers.0."
#define TENSOR(name, type, shape, first, end)                                                      \
    L0 name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" first "," end "]}"

static const struct {
    const char *name, *quantization, *header;
    uint64_t data_bytes, parameters, experts; /* values; bytes of experts */
} methods[] = {
    {"MXFP4 of all experts in one tensor (gpt-oss)", "{\"quant_method\":\"mxfp4\"}",
     TENSOR("mlp.experts.gate_up_proj_blocks", "U8", "2,4,2,16", "0", "256") "," TENSOR(
         "mlp.experts.gate_up_proj_scales", "U8", "2,4,2", "256",
         "272") "," TENSOR("mlp.experts.gate_up_proj_bias", "BF16", "2,4", "272", "288"),
     288, 512 + 8, 288},
    {"bitsandbytes, 8 bits", "{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}",
     TENSOR("mlp.up_proj.weight", "I8", "8,16", "0", "128") "," TENSOR(
         "mlp.up_proj.SCB", "F32", "8", "128", "160") "," TENSOR("mlp.up_proj.weight_format", "U8",
                                                                 "", "160", "161"),
     161, 128, 0},
    {"bitsandbytes, 4 bits", "{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}",
     TENSOR("mlp.up_proj.weight", "U8", "64,1", "0",
            "64") "," TENSOR("mlp.up_proj.weight.absmax", "U8", "2", "64",
                             "66") "," TENSOR("mlp.up_proj.weight.quant_state."
                                              "bitsandbytes__nf4",
                                              "U8", "90", "66", "156"),
     156, 128, 0},
    {"FP8, a scale for each tensor", "{\"quant_method\":\"fp8\"}",
     TENSOR("mlp.up_proj.weight", "F8_E4M3", "8,16", "0",
            "128") "," TENSOR("mlp.up_proj.weight_scale", "F32", "", "128",
                              "132") "," TENSOR("mlp.up_proj.input_scale", "F32", "", "132", "136"),
     136, 128, 0},
    {"NVFP4 of ModelOpt", "{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"}",
     TENSOR("mlp.up_proj.weight", "U8", "8,8", "0",
            "64") "," TENSOR("mlp.up_proj.weight_scale", "F8_E4M3", "8,1", "64",
                             "72") "," TENSOR("mlp.up_proj.weight_scale_2", "F32", "", "72", "76"),
     76, 128, 0},
    {"GPTQ, 8 bits", "{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":16}",
     TENSOR("mlp.up_proj.qweight", "I32", "4,8", "0",
            "128") "," TENSOR("mlp.up_proj.qzeros", "I32", "1,2", "128",
                              "136") "," TENSOR("mlp.up_proj.scales", "F16", "1,8", "136", "152"),
     152, 128, 0},
    {"EXL3, 3 bits", "{\"quant_method\":\"exl3\",\"bits\":3.0}",
     TENSOR("mlp.up_proj.trellis", "I16", "1,2,48", "0",
            "192") "," TENSOR("mlp.up_proj.suh", "F16", "16", "192",
                              "224") "," TENSOR("mlp.up_proj.svh", "F16", "32", "224", "288"),
     288, 512, 0},
};

static void test_methods(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        char config[1024], header[2048];
        struct dgo_error err = {0};
        struct dgo_model *model;

        snprintf(config, sizeof config,
                 CONFIG_HEAD "\"num_hidden_layers\":1,\"num_local_experts\":2,"
                             "\"num_experts_per_tok\":1,\"quantization_config\":%s}",
                 methods[i].quantization);
        snprintf(header, sizeof header, "{%s}", methods[i].header);
        if (parse(config, header, methods[i].data_bytes, &model, &err) != DGO_OK)
            fail_msg("%s: %s", methods[i].name, err.text);
        CHECK_ROW_U64(model->layer[0].weights_bytes, methods[i].data_bytes, methods[i].name);
        CHECK_ROW_U64(model->layer[0].expert_bytes, methods[i].experts, methods[i].name);
        CHECK_ROW_U64(model->parameter_count, methods[i].parameters, methods[i].name);
        dgo_model_close(model);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_bad_input_is_told),
    cmocka_unit_test(test_layers),
    cmocka_unit_test(test_places),
    cmocka_unit_test(test_methods),
};

CHECK_MAIN(tests)
