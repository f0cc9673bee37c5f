/* cut_refusal.c - why the engine would not run a model with -sm tensor. */
#include "cut.h"

enum { QUANTISED_BUILD = 9500 }; /* #23792, merged on 2026-06-01, some days after b9430 */

/* "LLAMA_SPLIT_MODE_TENSOR not implemented for architecture": all that build 11669 says it of,
 * asked with a small model of each of 131 architectures; and those its source of b10256 lists
 * (llm_arch_supports_sm_tensor) that no such model is written for.  lfm2 came later than that. */
static const char *const refused_architectures[] = {
    "bailingmoe3",    "bitnet",     "deepseek2",   "deepseek32",    "dots3note", "falcon-h1",
    "gemma3n",        "glm-dsa",    "glm5-next",   "granitehybrid", "grok",      "hy_v4",
    "jamba",          "kimi-k3",    "kimi-linear", "mamba",         "mamba2",    "minicpm3",
    "minimax-01",     "minimax-m2", "minimax-m3",  "mistral4",      "mpt",       "nemotron_h",
    "nemotron_h_moe", "olmo2",      "olmoe",       "plamo2",        "qwen3tts",  "t5",
    "t5encoder",
};

const char *cut_refusal(const struct dgo_model *model, const struct dgo_settings *settings,
                        const struct dgo_engine_rules *rules)
{
    /* Loaded by the engine, with pieces that follow other rules. */
    static const char *const not_computed[] = {"deepseek4", "hrm_text", "lfm2", "lfm2moe",
                                               "qwen4exp"};
    const uint32_t build = rules ? rules->build : 0;
    const bool packed = memory_kv_type(settings->key_type)->block_values > 1 ||
                        memory_kv_type(settings->value_type)->block_values > 1;

    if (DGO_TEXT_IN(model->architecture, refused_architectures))
        return "the engine does not implement it for this architecture; use -sm layer";
    if (DGO_TEXT_IN(model->architecture, not_computed))
        return "its pieces are not computed for this architecture; use -sm layer";
    if (settings->device_count == 0)
        return "it needs a device at least";
    if (settings->flash_attention != DGO_FA_ON)
        return "it needs flash attention; leave out -fa off";
    if (!memory_has_kernels(model, settings, memory_build_find(build)))
        return "it needs flash attention, and cards have no kernel for it with heads or cache "
               "types like these; use -sm layer";
    if (packed && build > 0 && build < QUANTISED_BUILD)
        return "this build takes no quantised cache with it (llama.cpp #23792 brought it); use f16";
    if (settings->adapter_count > 0)
        return "the engine ends where adapters meet it; use -sm layer";
    for (uint32_t i = 0; i < settings->override_count; i++)
        if (settings->override[i].device != DGO_OVERRIDE_HOST)
            return "single tensors can only be sent to CPU with it, for all cards are one device";
    return NULL;
}
