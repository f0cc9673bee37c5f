/* recipes.c - what an architecture's graph does that its tensors and keys do not show.
 *
 * Each was compared, byte by byte, with what the allocator of build 11669 takes for the model that
 * test-llama-archs writes of it: FORMULAS "Replay". */
#include "graph.h"

#include <string.h>

static const struct recipe recipes[] = {
    {"afmoe", RECIPE_SCALED | RECIPE_ROPE_NOT_FOURTH | RECIPE_WHOLE_NEWEST},
    {"arcee", RECIPE_WHOLE_NEWEST},
    {"bailingmoe", RECIPE_WHOLE_NEWEST},
    {"bailingmoe2", RECIPE_WHOLE},
    {"bailingmoe3", RECIPE_POSITIONS_BY_FILE | RECIPE_WHOLE_NEWEST},
    {"chatglm", RECIPE_WHOLE_NEWEST},
    {"codeshell", RECIPE_LAYER_NORM | RECIPE_WHOLE_NEWEST},
    {"cohere2", RECIPE_LAYER_NORM | RECIPE_ROPE_IN_WINDOWS | RECIPE_WHOLE},
    {"cohere2moe", RECIPE_ROPE_IN_WINDOWS | RECIPE_WHOLE_NEWEST},
    {"command-r", RECIPE_LAYER_NORM | RECIPE_WHOLE},
    {"deci", RECIPE_WHOLE_NEWEST},
    {"deepseek", RECIPE_WHOLE_NEWEST},
    {"deepseek2", RECIPE_WHOLE},
    {"dots1", RECIPE_WHOLE},
    {"ernie4_5", RECIPE_WHOLE},
    {"ernie4_5-moe", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"exaone", RECIPE_WHOLE_NEWEST},
    {"exaone-moe", RECIPE_ROPE_IN_WINDOWS | RECIPE_WHOLE_NEWEST},
    {"exaone4", RECIPE_ROPE_IN_WINDOWS | RECIPE_WHOLE_NEWEST},
    {"falcon-h1", RECIPE_WHOLE_NEWEST},
    {"gemma", RECIPE_SCALED | RECIPE_WHOLE_NEWEST},
    {"gemma2", RECIPE_SCALED | RECIPE_KEYS_FIRST | RECIPE_WHOLE},
    {"gemma3", RECIPE_SCALED | RECIPE_SCALED_ROWS | RECIPE_KEYS_FIRST | RECIPE_WHOLE},
    {"gemma3n",
     RECIPE_SCALED | RECIPE_SCALED_ROWS | RECIPE_BORROWS | RECIPE_STREAMS | RECIPE_WHOLE_NEWEST},
    {"gemma4", RECIPE_SCALED | RECIPE_SCALED_ROWS | RECIPE_BORROWS | RECIPE_SHARES_NORMED |
                   RECIPE_WHOLE_NEWEST},
    {"glm4", RECIPE_POSITIONS_BY_FILE | RECIPE_LAST_NORM_TOLD | RECIPE_WHOLE},
    {"glm4moe", RECIPE_POSITIONS_BY_FILE | RECIPE_WHOLE},
    {"gpt-oss", RECIPE_SHARES_LATE | RECIPE_KEYS_FIRST | RECIPE_RESULT_KEPT | RECIPE_WHOLE},
    {"granite", RECIPE_WHOLE},
    {"granite_swa", RECIPE_WHOLE_NEWEST},
    {"granitehybrid", RECIPE_SHARES_NORMED | RECIPE_WHOLE_NEWEST},
    {"granitemoe", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"hunyuan-dense", RECIPE_NORM_LAST | RECIPE_WHOLE},
    {"hunyuan-moe", RECIPE_SHARES_NORMED | RECIPE_NORM_LAST | RECIPE_WHOLE},
    {"hunyuan_vl", RECIPE_POSITIONS_BY_FILE | RECIPE_NORM_LAST | RECIPE_WHOLE_NEWEST},
    {"hy_v3", RECIPE_WHOLE_NEWEST},
    {"internlm2", RECIPE_WHOLE_NEWEST},
    {"jais2", RECIPE_LAYER_NORM | RECIPE_WHOLE_NEWEST},
    {"kimi-linear", RECIPE_NO_ROPE | RECIPE_WHOLE_NEWEST},
    {"laguna", RECIPE_WHOLE_NEWEST},
    {"lfm2", RECIPE_OWN_FIRST | RECIPE_WHOLE_NEWEST},
    {"lfm2moe", RECIPE_OWN_FIRST | RECIPE_WHOLE_NEWEST},
    {"llama", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"llama4", RECIPE_SHARES_FIRST | RECIPE_ROUTER_RAW | RECIPE_ROPE_NOT_FOURTH |
                   RECIPE_QUERIES_SCALED | RECIPE_KEYS_FIRST | RECIPE_WHOLE},
    {"maincoder", RECIPE_NORM_LAST | RECIPE_WHOLE_NEWEST},
    {"mamba2", RECIPE_WHOLE_NEWEST},
    {"maple", RECIPE_SHARES_NORMED | RECIPE_ROPE_IN_WINDOWS | RECIPE_WHOLE_NEWEST},
    {"mellum", RECIPE_SHARES_NORMED | RECIPE_WHOLE_NEWEST},
    {"mimo2", RECIPE_NO_BIASES | RECIPE_SHARES_NORMED | RECIPE_WHOLE_NEWEST},
    {"minicpm", RECIPE_SCALED | RECIPE_SHARES_NORMED | RECIPE_WHOLE_NEWEST},
    {"minimax-m2", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"mistral3", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"mistral4", RECIPE_WHOLE_NEWEST},
    {"muse-glimmer", RECIPE_SCALED | RECIPE_ROPE_IN_WINDOWS | RECIPE_WHOLE_NEWEST},
    {"nanbeige", RECIPE_WHOLE_NEWEST},
    {"nemotron", RECIPE_LAYER_NORM | RECIPE_WHOLE_NEWEST},
    {"nemotron_h", RECIPE_NO_ROPE | RECIPE_WHOLE_NEWEST},
    {"nemotron_h_moe", RECIPE_NO_ROPE | RECIPE_WHOLE_NEWEST},
    {"olmo2", RECIPE_WHOLE},
    {"olmoe", RECIPE_WHOLE},
    {"orion", RECIPE_LAYER_NORM | RECIPE_WHOLE_NEWEST},
    {"paddleocr", RECIPE_POSITIONS_4 | RECIPE_WHOLE_NEWEST},
    {"pangu-embedded", RECIPE_WHOLE_NEWEST},
    {"phi2", RECIPE_LAYER_NORM | RECIPE_WHOLE_NEWEST},
    {"phi3", RECIPE_FEED_OWN_FIRST | RECIPE_WHOLE},
    {"phimoe", RECIPE_FEED_OWN_FIRST | RECIPE_SHARES_NORMED | RECIPE_WHOLE_NEWEST},
    {"qwen2", RECIPE_WHOLE},
    {"qwen2moe", RECIPE_GATE_PROPORTION | RECIPE_WHOLE},
    {"qwen2vl", RECIPE_POSITIONS_4 | RECIPE_WHOLE_NEWEST},
    {"qwen3", RECIPE_WHOLE},
    {"qwen35", RECIPE_POSITIONS_4 | RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"qwen35moe", RECIPE_POSITIONS_4 | RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"qwen3moe", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"qwen3next", RECIPE_SHARES_NORMED | RECIPE_KEYS_REPEATED | RECIPE_WHOLE},
    {"qwen3vl", RECIPE_POSITIONS_4 | RECIPE_WHOLE},
    {"qwen3vlmoe", RECIPE_POSITIONS_4 | RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"seed_oss", RECIPE_WHOLE},
    {"smollm3", RECIPE_ROPE_NOT_FOURTH | RECIPE_WHOLE},
    {"spark2_5", RECIPE_WHOLE_NEWEST},
    {"stablelm", RECIPE_LAYER_NORM | RECIPE_WHOLE_NEWEST},
    {"starcoder2", RECIPE_LAYER_NORM | RECIPE_WHOLE},
    {"xverse", RECIPE_WHOLE_NEWEST},
};

/* Compared with build 11669 alone. */
static const struct recipe newest[] = {
    {"arctic", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"baichuan", RECIPE_ROPE_IN_7B | RECIPE_WHOLE},
    {"bloom", RECIPE_LAYER_NORM | RECIPE_NO_ROPE | RECIPE_WHOLE},
    {"dbrx", RECIPE_LAYER_NORM | RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"dflash", RECIPE_WHOLE},
    {"eagle3", RECIPE_WHOLE},
    {"falcon", RECIPE_LAYER_NORM | RECIPE_WHOLE},
    {"gpt2", RECIPE_LAYER_NORM | RECIPE_NO_ROPE | RECIPE_WHOLE},
    {"gptneox", RECIPE_LAYER_NORM | RECIPE_WHOLE},
    {"grok", RECIPE_SCALED | RECIPE_SHARES_NORMED | RECIPE_LAST_NORM_TOLD | RECIPE_WHOLE},
    {"jais", RECIPE_LAYER_NORM | RECIPE_NO_ROPE | RECIPE_WHOLE},
    {"jamba", RECIPE_OWN_FIRST | RECIPE_NO_ROPE | RECIPE_WHOLE},
    {"mamba", RECIPE_WHOLE},
    {"minicpm3", RECIPE_SCALED | RECIPE_WHOLE},
    {"mpt", RECIPE_LAYER_NORM | RECIPE_NO_ROPE | RECIPE_WHOLE},
    {"openelm", RECIPE_MIXER_OWN_FIRST | RECIPE_WHOLE},
    {"plamo", RECIPE_WHOLE},
    {"plamo3", RECIPE_LAST_NORM_TOLD | RECIPE_WHOLE},
    {"qwen", RECIPE_WHOLE},
    {"refact", RECIPE_NO_ROPE | RECIPE_NO_EXPERTS | RECIPE_WHOLE},
    {"starcoder", RECIPE_LAYER_NORM | RECIPE_NO_ROPE | RECIPE_WHOLE},
};

/* The same, and drawn whole only: a search takes the bounds of its roles. */
static const struct recipe whole_alone[] = {
    {"deepseek32", RECIPE_WHOLE},
    {"grovemoe", RECIPE_SHARES_NORMED | RECIPE_WHOLE},
    {"olmo", RECIPE_LAYER_NORM | RECIPE_WHOLE},
    {"rwkv7", RECIPE_LAYER_NORM | RECIPE_NO_ROPE | RECIPE_WHOLE},
    {"smallthinker", RECIPE_SHARES_NORMED | RECIPE_ROPE_IN_WINDOWS | RECIPE_WHOLE},
    {"glm-dsa", RECIPE_WHOLE},
};

/* Which pick the wanted rows behind the last layer in older builds, for all hidden states may be
 * asked for: they are kept, normed or as they come out of the layer. */
static const struct {
    const char *architecture;
    uint8_t since; /* of struct memory_build's rows_late: from which on it does */
    bool normed;
} late[] = {
    {"bailingmoe3", LATE_MANY, true},    {"cohere2moe", LATE_FEW, true},
    {"gemma4", LATE_FEW, true},          {"gpt-oss", LATE_MANY, false},
    {"hy_v3", LATE_MANY, true},          {"nemotron_h", LATE_MANY, true},
    {"nemotron_h_moe", LATE_MANY, true}, {"qwen35", LATE_FEW, true},
    {"qwen35moe", LATE_FEW, true},       {"qwen3next", LATE_MANY, true},
};

/* Whose attention and feed-forward run beside each other. */
static const struct {
    const char *architecture;
    enum graph_halves halves;
    const char *key; /* only where the file has it; NULL: always */
    bool unnormed;   /* only where the feed-forward has no norm of its own */
} beside[] = {
    {"cohere2", HALVES_FEED_FIRST, NULL, false},
    {"cohere2moe", HALVES_FEED_FIRST, NULL, false},
    {"command-r", HALVES_FEED_FIRST, NULL, false},
    {"falcon", HALVES_JOINED, NULL, false},
    {"gptneox", HALVES_FEED_FIRST, "use_parallel_residual", false},
    {"phi2", HALVES_ATTENTION_FIRST, NULL, false},
    {"plamo", HALVES_JOINED, NULL, false},
    {"stablelm", HALVES_APART, NULL, true},
};

bool graph_mixes_embeddings(const struct memory_graph *graph)
{
    return graph->rule->first_inputs > 1;
}

bool graph_picks_late(const struct memory_graph *graph)
{
    return graph->late_since > 0 && graph->rule->rows_late >= graph->late_since;
}

void recipe_fill_late(const struct dgo_model *model, struct memory_graph *graph)
{
    for (size_t i = 0; i < sizeof late / sizeof late[0]; i++) {
        if (strcmp(late[i].architecture, model->architecture) != 0)
            continue;
        graph->late_since = late[i].since;
        graph->late_normed = late[i].normed;
    }
}

bool recipe_norms_all(const struct dgo_model *model, const struct memory_build *rule)
{
    struct memory_graph graph = {.rule = rule};

    recipe_fill_late(model, &graph);
    return graph_picks_late(&graph) && graph.late_normed;
}

static const struct recipe *find(const struct recipe *table, size_t count, const char *architecture)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].architecture, architecture) == 0)
            return &table[i];
    return NULL;
}

const struct recipe *recipe_find(const char *architecture)
{
    const struct recipe *found = find(recipes, sizeof recipes / sizeof recipes[0], architecture);

    if (!found)
        found = find(newest, sizeof newest / sizeof newest[0], architecture);
    return found ? found
                 : find(whole_alone, sizeof whole_alone / sizeof whole_alone[0], architecture);
}

bool recipe_has_roles(const struct recipe *recipe)
{
    return recipe < whole_alone ||
           recipe >= whole_alone + sizeof whole_alone / sizeof whole_alone[0];
}

bool recipe_holds(const struct recipe *recipe, const struct memory_build *rule)
{
    const bool newest_alone =
        recipe >= newest && recipe < newest + sizeof newest / sizeof newest[0];

    if (!recipe_has_roles(recipe)) /* compared with 0.5.0 and build 11669 */
        return rule->graphs == GRAPHS_ALL;
    return !newest_alone || rule->graphs >= GRAPHS_MOST;
}

static bool is_cohere_moe(const struct dgo_model *model)
{
    return strcmp(model->architecture, "cohere2moe") == 0;
}

bool recipe_norms_plainly(const struct dgo_model *model)
{
    return is_cohere_moe(model) &&
           !dgo_model_find(model, "cohere2moe.attention.layer_norm_rms_epsilon");
}

bool recipe_scales_rows(const struct dgo_model *model)
{
    return strcmp(model->architecture, "minicpm3") == 0;
}

bool recipe_asks_first(const struct dgo_model *model)
{
    return strcmp(model->architecture, "smallthinker") == 0;
}

bool recipe_norms_barely(const struct dgo_model *model)
{
    return strcmp(model->architecture, "olmo") == 0;
}

uint32_t recipe_rotated_first(const struct dgo_model *model)
{
    return is_cohere_moe(model) ? (uint32_t)memory_key_number(model, "leading_dense_block_count")
                                : 0;
}

enum graph_halves recipe_halves(const struct dgo_model *model)
{
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        if (strcmp(beside[i].architecture, model->architecture) != 0)
            continue;
        if (beside[i].key && memory_key_number(model, beside[i].key) == 0)
            return HALVES_IN_TURN;
        if (beside[i].unnormed && graph_has_tensor(model, "blk.0.ffn_norm.weight"))
            return HALVES_IN_TURN;
        return beside[i].halves;
    }
    return HALVES_IN_TURN;
}
