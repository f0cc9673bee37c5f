/* arch.c - the architecture table: what a model's family does that its keys and shapes do not say.
 *
 * Read from llama.cpp's load_arch_hparams and create_memory (build 10256) and compared with what
 * build 11669 allocates for the 131 models of its own test-llama-archs.  A family that needs no row
 * of its own stands in `plain`: full attention in every layer, everything else by the keys. */
#include "model_internal.h"

#include <string.h>

#define PERIOD(size, period, tokens)                                                               \
    .window_layers = WINDOW_PERIOD, .window_size = (size), .window_period = (period),              \
    .window_tokens = (tokens)

static const struct arch_rule rules[] = {
    /* sliding windows */
    {"gemma2", PERIOD(WINDOW_DEFAULT, 2, 4096)},
    {"gemma3", PERIOD(WINDOW_KEY, 6, 0)},
    {"gemma3n", PERIOD(WINDOW_KEY, 5, 0), .kv_layer_count = 20},
    {"gpt-oss", PERIOD(WINDOW_KEY, 2, 0)},
    {"cohere2", PERIOD(WINDOW_KEY, 4, 0)},
    {"exaone4", PERIOD(WINDOW_DEFAULT, 4, 4096), .window_only_layer_count = 64},
    {"exaone-moe", PERIOD(WINDOW_DEFAULT, 4, 128)},
    {"olmo2", PERIOD(WINDOW_KEY, 4, 0)},
    {"plamo3", PERIOD(WINDOW_KEY, 8, 0)},
    {"afmoe", PERIOD(WINDOW_KEY, 4, 0)},
    {"llama4", PERIOD(WINDOW_FIXED, 4, 8192)},
    {"smallthinker", PERIOD(WINDOW_FIXED_IF_KEY, 4, 4096), .window_dense_first = true},
    {"laguna", PERIOD(WINDOW_KEY, 4, 0), .window_dense_first = true},
    {"cohere2moe", PERIOD(WINDOW_KEY, 4, 0), .window_dense_first = true},
    {"mellum", PERIOD(WINDOW_KEY, 4, 0)},
    {"gemma4", .window_layers = WINDOW_ARRAY},
    {"mimo2", .window_layers = WINDOW_ARRAY},
    {"step35", .window_layers = WINDOW_ARRAY},
    {"granite_swa", .window_layers = WINDOW_ARRAY},
    {"maion-coder", .window_layers = WINDOW_ARRAY},
    {"maple", .window_layers = WINDOW_ARRAY},
    {"muse-glimmer", .window_layers = WINDOW_ARRAY},
    {"spark2_5", .window_layers = WINDOW_ARRAY},
    {"gemma4-assistant", .window_layers = WINDOW_ARRAY, .unverified = true},
    {"dflash", .window_layers = WINDOW_ARRAY, .unverified = true},
    /* a window, and beside it a cache compressed 4 times with an indexer, or 128 times */
    {"deepseek4", .window_layers = WINDOW_ALL, .index_layers = INDEX_ALL, .keys_only = true,
     .cache_for_each_slot = true},

    /* a state instead of, or beside, a KV cache */
    {"mamba", .recurrent = RECURRENT_ALL},
    {"mamba2", .recurrent = RECURRENT_ALL},
    {"rwkv6", .recurrent = RECURRENT_ALL},
    {"rwkv6qwen2", .recurrent = RECURRENT_ALL},
    {"rwkv7", .recurrent = RECURRENT_ALL},
    {"arwkv7", .recurrent = RECURRENT_ALL},
    {"jamba", .recurrent = RECURRENT_NO_KV_HEADS},
    {"plamo2", .recurrent = RECURRENT_NO_KV_HEADS},
    {"granitehybrid", .recurrent = RECURRENT_NO_KV_HEADS},
    {"lfm2", .recurrent = RECURRENT_NO_KV_HEADS, .window_layers = WINDOW_ATTENTION},
    {"lfm2moe", .recurrent = RECURRENT_NO_KV_HEADS},
    {"kimi-linear", .recurrent = RECURRENT_NO_KV_HEADS},
    {"barbet", .recurrent = RECURRENT_NO_KV_HEADS},
    {"nemotron_h", .recurrent = RECURRENT_NO_KV_NO_FF},
    {"nemotron_h_moe", .recurrent = RECURRENT_NO_KV_NO_FF},
    {"qwen3next", .recurrent = RECURRENT_INTERVAL},
    {"qwen35", .recurrent = RECURRENT_INTERVAL},
    {"qwen35moe", .recurrent = RECURRENT_INTERVAL},
    {"falcon-h1", .recurrent = RECURRENT_BESIDE},
    {"bailingmoe3", .recurrent = RECURRENT_NO_KV_HEADS},
    {"kimi-k3", .recurrent = RECURRENT_NO_KV_HEADS},
    {"minimax-01", .recurrent = RECURRENT_INTERVAL, .recurrent_interval = 8},
    {"qwen4exp", .recurrent = RECURRENT_INTERVAL, .index_layers = INDEX_ATTENTION},
    {"glm5-next", .recurrent = RECURRENT_NO_KV_HEADS, .index_layers = INDEX_ATTENTION},

    /* sparse attention: an indexer with a cache of its own */
    {"deepseek32", .index_layers = INDEX_ALL},
    {"glm-dsa", .index_layers = INDEX_FLAGS},
    {"hy_v4", .index_layers = INDEX_FLAGS},
    {"dots3note", .window_layers = WINDOW_ARRAY, .index_layers = INDEX_FLAGS},
    {"minimax-m3", .index_layers = INDEX_AFTER_DENSE, .index_values = true},

    /* no cache at all: encoders and diffusion models */
    {"bert", .no_kv = true, .no_output = true},
    {"nomic-bert", .no_kv = true, .no_output = true},
    {"nomic-bert-moe", .no_kv = true, .no_output = true},
    {"neo-bert", .no_kv = true, .no_output = true},
    {"jina-bert-v2", .no_kv = true, .no_output = true},
    {"jina-bert-v3", .no_kv = true, .no_output = true},
    {"eurobert", .no_kv = true, .no_output = true},
    {"modern-bert", PERIOD(WINDOW_KEY, 3, 0), .window_dense_first = true, .no_kv = true,
     .no_output = true},
    {"gemma-embedding", PERIOD(WINDOW_KEY, 6, 0), .no_kv = true},
    {"dream", .no_kv = true},
    {"llada", .no_kv = true},
    {"llada-moe", .no_kv = true},
    {"rnd1", .no_kv = true},
    {"wavtokenizer-dec", .no_kv = true, .no_output = true, .unverified = true},

    /* a second model (encoder) that these rules do not describe */
    {"t5", .unverified = true},
    {"t5encoder", .no_output = true, .unverified = true},
    {"clip", .no_kv = true, .no_output = true, .unverified = true},
};

static const char *const plain[] = {
    "llama",      "llama-embed",  "mistral3",    "mistral4",      "deci",       "falcon",
    "grok",       "gpt2",         "gptj",        "gptneox",       "mpt",        "baichuan",
    "starcoder",  "starcoder2",   "refact",      "bloom",         "stablelm",   "qwen",
    "qwen2",      "qwen2moe",     "qwen2vl",     "qwen3",         "qwen3moe",   "qwen3vl",
    "qwen3vlmoe", "phi2",         "phi3",        "phimoe",        "plamo",      "codeshell",
    "orion",      "internlm2",    "minicpm",     "minicpm3",      "gemma",      "xverse",
    "command-r",  "dbrx",         "olmo",        "olmoe",         "openelm",    "arctic",
    "deepseek",   "deepseek2",    "chatglm",     "glm4",          "glm4moe",    "bitnet",
    "jais",       "jais2",        "nemotron",    "exaone",        "granite",    "granitemoe",
    "chameleon",  "plm",          "bailingmoe",  "bailingmoe2",   "dots1",      "arcee",
    "ernie4_5",   "ernie4_5-moe", "hunyuan-moe", "hunyuan-dense", "hunyuan_vl", "smollm3",
    "seed_oss",   "grovemoe",     "apertus",     "minimax-m2",    "cogvlm",     "pangu-embedded",
    "paddleocr",  "maincoder",    "hy_v3",       "deepseek2-ocr", "talkie",     "k2-horizon",
    "hrm_text",   "nanbeige",     "pockettts",   "qwen3tts",
};

const struct arch_rule *arch_find(const char *architecture)
{
    static const struct arch_rule plain_rule = {.name = ""};

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strcmp(rules[i].name, architecture) == 0)
            return &rules[i];
    }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(plain[i], architecture) == 0)
            return &plain_rule;
    }
    return NULL;
}
