/* recipes.c - what an architecture's graph does that its tensors and keys do not show.
 *
 * Each was compared, byte by byte, with what the allocator of build 11669 takes for the model that
 * test-llama-archs writes of it: FORMULAS "Replay". */
#include "graph.h"

#include <string.h>

/* clang-format off: a row each */
static const struct recipe recipes[] = {
    {"afmoe", RECIPE_SCALED},
    {"arcee", 0},
    {"bailingmoe", 0},
    {"bailingmoe2", 0},
    {"bailingmoe3", RECIPE_POSITIONS_BY_FILE},
    {"chatglm", 0},
    {"codeshell", RECIPE_LAYER_NORM},
    {"cohere2", RECIPE_LAYER_NORM | RECIPE_PARALLEL | RECIPE_ROPE_IN_WINDOWS},
    {"cohere2moe", RECIPE_PARALLEL},
    {"command-r", RECIPE_LAYER_NORM | RECIPE_PARALLEL},
    {"deci", 0},
    {"deepseek", 0},
    {"deepseek2", 0},
    {"dots1", 0},
    {"ernie4_5", 0},
    {"ernie4_5-moe", RECIPE_SHARES_NORMED},
    {"exaone", 0},
    {"exaone-moe", 0},
    {"exaone4", 0},
    {"falcon-h1", 0},
    {"gemma", RECIPE_SCALED},
    {"gemma2", RECIPE_SCALED},
    {"gemma3", RECIPE_SCALED | RECIPE_SCALED_ROWS},
    {"glm4", RECIPE_POSITIONS_BY_FILE},
    {"glm4moe", RECIPE_POSITIONS_BY_FILE},
    {"gpt-oss", RECIPE_SHARES_LATE},
    {"granite", 0},
    {"granite_swa", 0},
    {"granitehybrid", RECIPE_SHARES_NORMED},
    {"granitemoe", RECIPE_SHARES_NORMED},
    {"hunyuan-dense", 0},
    {"hunyuan-moe", RECIPE_SHARES_NORMED},
    {"hunyuan_vl", RECIPE_POSITIONS_BY_FILE},
    {"hy_v3", 0},
    {"internlm2", 0},
    {"jais2", RECIPE_LAYER_NORM},
    {"kimi-linear", RECIPE_NO_ROPE},
    {"laguna", 0},
    {"lfm2", RECIPE_OWN_FIRST},
    {"lfm2moe", RECIPE_OWN_FIRST},
    {"llama", RECIPE_SHARES_NORMED},
    {"llama4", RECIPE_SHARES_FIRST | RECIPE_ROUTER_RAW | RECIPE_ROPE_NOT_FOURTH | RECIPE_QUERIES_SCALED},
    {"maincoder", 0},
    {"mamba2", 0},
    {"maple", RECIPE_SHARES_NORMED},
    {"mellum", RECIPE_SHARES_NORMED},
    {"mimo2", RECIPE_SHARES_NORMED},
    {"minicpm", RECIPE_SCALED | RECIPE_SHARES_NORMED},
    {"minimax-m2", RECIPE_SHARES_NORMED},
    {"mistral3", RECIPE_SHARES_NORMED},
    {"mistral4", 0},
    {"muse-glimmer", RECIPE_SCALED},
    {"nanbeige", 0},
    {"nemotron", RECIPE_LAYER_NORM},
    {"nemotron_h", RECIPE_NO_ROPE},
    {"nemotron_h_moe", RECIPE_NO_ROPE},
    {"olmo2", 0},
    {"olmoe", 0},
    {"orion", RECIPE_LAYER_NORM},
    {"paddleocr", RECIPE_POSITIONS_4},
    {"pangu-embedded", 0},
    {"phi2", RECIPE_LAYER_NORM | RECIPE_PARALLEL | RECIPE_ATTENTION_FIRST},
    {"phi3", RECIPE_FEED_OWN_FIRST},
    {"phimoe", RECIPE_FEED_OWN_FIRST | RECIPE_SHARES_NORMED},
    {"qwen2", 0},
    {"qwen2moe", RECIPE_GATE_PROPORTION},
    {"qwen2vl", RECIPE_POSITIONS_4},
    {"qwen3", 0},
    {"qwen35", RECIPE_POSITIONS_4 | RECIPE_SHARES_NORMED},
    {"qwen35moe", RECIPE_POSITIONS_4 | RECIPE_SHARES_NORMED},
    {"qwen3moe", RECIPE_SHARES_NORMED},
    {"qwen3next", RECIPE_SHARES_NORMED | RECIPE_KEYS_REPEATED},
    {"qwen3vl", RECIPE_POSITIONS_4},
    {"qwen3vlmoe", RECIPE_POSITIONS_4 | RECIPE_SHARES_NORMED},
    {"seed_oss", 0},
    {"smollm3", RECIPE_ROPE_NOT_FOURTH},
    {"spark2_5", 0},
    {"stablelm", RECIPE_LAYER_NORM},
    {"starcoder2", RECIPE_LAYER_NORM},
    {"xverse", 0},
};
/* clang-format on */

const struct recipe *recipe_find(const char *architecture)
{
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        if (strcmp(recipes[i].architecture, architecture) == 0)
            return &recipes[i];
    return NULL;
}
