/* ik_llama_cpp.c - ik_llama.cpp: llama.cpp's layers and shares with kernels, caches and types of
 * its own.  The figures are llama.cpp's: weights and cache agree, compute buffers are a guide. */
#include "build.h"
#include "llama_cpp.h"
#include "ranked.h"

#include <string.h>

#define COMMON "common/common.cpp"

static const struct engine_flag flags[] = {
    {"-m --model", 0, 0, COMMON},
    {"-dev --device", 0, 0, COMMON},
    {"-ngl --gpu-layers", 0, 0, COMMON},
    {"-sm --split-mode", 0, 0, COMMON},
    {"-ts --tensor-split", 0, 0, COMMON},
    {"-mg --main-gpu", 0, 0, COMMON},
    {"-ncmoe --n-cpu-moe", 0, 0, COMMON},
    {"-c --ctx-size", 0, 0, COMMON},
    {"-np --parallel", 0, 0, COMMON},
    {"-b --batch-size", 0, 0, COMMON},
    {"-ub --ubatch-size", 0, 0, COMMON},
    {"-fa --flash-attn", 0, 0, COMMON},
    {"-ctk --cache-type-k", 0, 0, COMMON},
    {"-ctv --cache-type-v", 0, 0, COMMON},
    {"-nkvo --no-kv-offload", 0, 0, COMMON},
    {"-t --threads", 0, 0, COMMON},
    {"--host", 0, 0, COMMON},
    {"--port", 0, 0, COMMON},
    {0},
};

static void add_placement(struct command_builder *builder, const struct dgo_machine *machine,
                          const struct dgo_settings *settings)
{
    char devices[LLAMA_LIST_MAX], shares[LLAMA_LIST_MAX];

    llama_cpp_device_list(machine, settings, ",", devices);
    llama_cpp_share_list(settings, ",", shares);
    if (settings->device_count)
        build_flag(builder, BUILD_WANTED, "-dev", devices, "the cards in the plan's order");
    build_flag_u32(builder, BUILD_NEEDED, "-ngl",
                   settings->device_count ? settings->gpu_layer_count : 0,
                   "layers on the cards, the output layer counted");
    if (settings->device_count > 1 && settings->split_mode == DGO_SPLIT_LAYER)
        build_flag(builder, BUILD_NEEDED, "-sm", "layer",
                   "whole layers on each card, as the plan counts");
    if (settings->device_count > 1 && settings->tensor_split_given)
        build_flag(builder, BUILD_NEEDED, "-ts", shares, "layers of each card");
    if (settings->cpu_moe_layer_count)
        build_flag_u32(builder, BUILD_NEEDED, "-ncmoe", settings->cpu_moe_layer_count,
                       "experts of the first layers stay in host memory");
}

static void add_context(struct command_builder *builder, const struct dgo_settings *settings)
{
    build_flag_u32(builder, BUILD_NEEDED, "-c", settings->ctx_tokens,
                   "context of all slots together");
    build_flag_u32(builder, BUILD_NEEDED, "-np", settings->slot_count,
                   "requests served side by side");
    build_flag_u32(builder, BUILD_NEEDED, "-b", settings->batch_tokens,
                   "tokens of a prompt taken at once");
    build_flag_u32(builder, BUILD_NEEDED, "-ub", settings->ubatch_tokens,
                   "tokens computed at once: sets the size of the compute buffers");
    build_flag(builder, BUILD_NEEDED, "-fa", settings->flash_attention == DGO_FA_ON ? "on" : "off",
               "attention without its big intermediate matrix");
    build_flag(builder, BUILD_NEEDED, "-ctk", dgo_kv_type_name(settings->key_type),
               "precision of the keys in the cache");
    build_flag(builder, BUILD_NEEDED, "-ctv", dgo_kv_type_name(settings->value_type),
               "precision of the values in the cache");
    if (settings->kv_on_host)
        build_flag(builder, BUILD_NEEDED, "-nkvo", NULL, "the cache stays in host memory");
}

static const char *const decided[] = {"-m",     "-c",     "-np",    "-b",  "-ub",  "-ngl",
                                      "-ts",    "-sm",    "-dev",   "-fa", "-ctk", "-ctv",
                                      "-ncmoe", "--host", "--port", NULL};

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "ik_llama.cpp", .probe = probe, .flags = flags, .err = err};

    (void)model;
    build_word(&builder, options->binary, NULL);
    build_flag(&builder, BUILD_NEEDED, "-m", options->model_path, "the model file");
    add_placement(&builder, machine, &plan->settings);
    add_context(&builder, &plan->settings);
    build_threads(&builder, "-t", options);
    build_listen(&builder, "--host", "--port", options);
    llama_cpp_environment(&builder, machine, &plan->settings);
    ranked_extra(&builder, options, decided);
    return build_end(&builder, made);
}

const struct dgo_engine dgo_ik_llama_cpp = {
    .name = "ik_llama.cpp",
    .what = "llama.cpp's layers and shares with other kernels; GGUF and types of its own",
    .binary = "llama-server",
    .health_path = "/health",
    .swa_full = true, /* --swa-compress is new */
    .formats = 1u << DGO_FORMAT_GGUF,
    .command = command,
    .name_devices = llama_cpp_name_devices,
    .read_line = llama_cpp_read_line,
    .read_probe = ranked_read_probe,
};
