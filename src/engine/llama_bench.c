/* llama_bench.c - llama-bench: the plan's placement measured by llama.cpp's own benchmark. */
#include "build.h"
#include "llama_cpp.h"
#include "ranked.h"

#include <string.h>

#define BENCH "tools/llama-bench/llama-bench.cpp"

static const struct engine_flag flags[] = {
    {"-m --model", 0, 0, BENCH},
    {"-dev --device", 0, 0, BENCH},
    {"-ngl --n-gpu-layers", 0, 0, BENCH},
    {"-sm --split-mode", 0, 0, BENCH},
    {"-ts --tensor-split", 0, 0, BENCH},
    {"-ncmoe --n-cpu-moe", 0, 0, BENCH},
    {"-b --batch-size", 0, 0, BENCH},
    {"-ub --ubatch-size", 0, 0, BENCH},
    {"-fa --flash-attn", 0, 0, BENCH},
    {"-ctk --cache-type-k", 0, 0, BENCH},
    {"-ctv --cache-type-v", 0, 0, BENCH},
    {"-nkvo --no-kv-offload", 0, 0, BENCH},
    {"-t --threads", 0, 0, BENCH},
    {"-p --n-prompt", 0, 0, BENCH},
    {"-n --n-gen", 0, 0, BENCH},
    {"-o --output", 0, 0, BENCH},
    {0},
};

/* Here a comma means "measure with each of these": cards and shares are joined by slashes. */
static void add_placement(struct command_builder *builder, const struct dgo_machine *machine,
                          const struct dgo_settings *settings)
{
    char devices[LLAMA_LIST_MAX], shares[LLAMA_LIST_MAX];

    llama_cpp_device_list(machine, settings, "/", devices);
    llama_cpp_share_list(settings, "/", shares);
    build_flag(builder, BUILD_WANTED, "-dev", settings->device_count ? devices : "none",
               "the cards in the plan's order");
    build_flag_u32(builder, BUILD_NEEDED, "-ngl",
                   settings->device_count ? settings->gpu_layer_count : 0,
                   "layers on the cards, the output layer counted");
    if (settings->device_count > 1) {
        const bool cut = settings->split_mode == DGO_SPLIT_TENSOR;

        build_flag(builder, BUILD_NEEDED, "-sm", cut ? "tensor" : "layer",
                   cut ? "every layer on every card" : "whole layers on each card");
        if (settings->tensor_split_given)
            build_flag(builder, BUILD_NEEDED, "-ts", shares,
                       cut ? "heads of each card" : "layers of each card");
    }
    if (settings->cpu_moe_layer_count)
        build_flag_u32(builder, BUILD_NEEDED, "-ncmoe", settings->cpu_moe_layer_count,
                       "experts of the first layers stay in host memory");
    if (settings->kv_on_host)
        build_flag(builder, BUILD_NEEDED, "-nkvo", "1", "the cache stays in host memory");
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    static const char *const decided[] = {"-m",  "-ngl", "-ts",  "-sm",    "-dev", "-fa",
                                          "-ub", "-ctk", "-ctv", "-ncmoe", NULL};
    const struct dgo_settings *settings = &plan->settings;
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "llama-bench", .probe = probe, .flags = flags, .err = err};

    (void)model;
    build_word(&builder, options->binary, NULL);
    build_flag(&builder, BUILD_NEEDED, "-m", options->model_path, "the model file");
    add_placement(&builder, machine, settings);
    build_flag_u32(&builder, BUILD_NEEDED, "-b", settings->batch_tokens, "as in the plan");
    build_flag_u32(&builder, BUILD_NEEDED, "-ub", settings->ubatch_tokens, "as in the plan");
    build_flag(&builder, BUILD_NEEDED, "-fa", settings->flash_attention == DGO_FA_ON ? "1" : "0",
               "as in the plan");
    build_flag(&builder, BUILD_NEEDED, "-ctk", dgo_kv_type_name(settings->key_type),
               "as in the plan");
    build_flag(&builder, BUILD_NEEDED, "-ctv", dgo_kv_type_name(settings->value_type),
               "as in the plan");
    build_threads(&builder, "-t", options);
    build_flag(&builder, BUILD_NEEDED, "-o", "json", "figures a program can read");
    llama_cpp_environment(&builder, machine, settings);
    ranked_extra(&builder, options, decided);
    return build_end(&builder, made);
}

const struct dgo_engine dgo_llama_bench = {
    .name = "llama-bench",
    .what = "llama.cpp's benchmark with the plan's placement: it measures and ends",
    .binary = "llama-bench",
    .formats = 1u << DGO_FORMAT_GGUF,
    .command = command,
    .name_devices = llama_cpp_name_devices,
    .read_line = llama_cpp_read_line,
    .read_probe = ranked_read_probe,
};
