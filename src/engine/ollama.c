/* ollama.c - Ollama: a server that starts llama-server itself; most is said by its environment,
 * which it hands on, the rest by a Modelfile (export modelfile). */
#include "build.h"
#include "llama_cpp.h"
#include "ranked.h"

#include <stdio.h>
#include <string.h>

#define CONFIG "envconfig/config.go"
/* Its child gets the whole environment, and llama-server reads LLAMA_ARG_* for every flag that its
 * command line leaves out: since the release whose engine is llama-server alone. */
#define CHILD "llm/llama_server.go"

#define OWN_SERVER DGO_ENGINE_VERSION(0, 30, 0)

static const struct engine_flag flags[] = {
    {"OLLAMA_HOST", 0, 0, CONFIG},
    {"OLLAMA_CONTEXT_LENGTH", DGO_ENGINE_VERSION(0, 5, 13), 0, CONFIG},
    {"OLLAMA_NUM_PARALLEL", DGO_ENGINE_VERSION(0, 1, 33), 0, CONFIG},
    {"OLLAMA_KV_CACHE_TYPE", DGO_ENGINE_VERSION(0, 5, 0), 0, CONFIG},
    {"OLLAMA_FLASH_ATTENTION", DGO_ENGINE_VERSION(0, 1, 39), 0, CONFIG},
    {"OLLAMA_SCHED_SPREAD", DGO_ENGINE_VERSION(0, 1, 45), 0, CONFIG},
    {"OLLAMA_MAX_LOADED_MODELS", DGO_ENGINE_VERSION(0, 1, 33), 0, CONFIG},
    {"OLLAMA_KEEP_ALIVE", DGO_ENGINE_VERSION(0, 1, 29), 0, CONFIG},
    {"LLAMA_ARG_FIT", OWN_SERVER, 0, CONFIG},
    {"LLAMA_ARG_TENSOR_SPLIT", OWN_SERVER, 0, CHILD},
    {"LLAMA_ARG_DEVICE", OWN_SERVER, 0, CHILD},
    {"LLAMA_ARG_N_GPU_LAYERS", OWN_SERVER, 0, CHILD},
    {"LLAMA_ARG_N_CPU_MOE", OWN_SERVER, 0, CHILD},
    {0},
};

static enum dgo_status check(const struct dgo_settings *settings, const struct dgo_probe *probe,
                             struct dgo_error *err)
{
    const bool type = settings->key_type == settings->value_type &&
                      (settings->key_type == DGO_KV_F16 || settings->key_type == DGO_KV_Q8_0 ||
                       settings->key_type == DGO_KV_Q4_0);

    if (!type)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "ollama has caches of f16, q8_0 and q4_0, the same for keys and values");
    if (settings->device_count > 1 && probe && probe->build && probe->build < OWN_SERVER)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "this ollama (%s) splits by its own estimate and cannot be told; one that "
                        "starts llama-server can, or plan for one card with --use",
                        probe->version);
    return DGO_OK;
}

static void add_child(struct command_builder *builder, const struct dgo_machine *machine,
                      const struct dgo_settings *settings)
{
    char devices[LLAMA_LIST_MAX], shares[LLAMA_LIST_MAX], layers[16], moe[16];

    llama_cpp_device_list(machine, settings, ",", devices);
    llama_cpp_share_list(settings, ",", shares);
    snprintf(layers, sizeof layers, "%u",
             (unsigned)(settings->device_count ? settings->gpu_layer_count : 0));
    snprintf(moe, sizeof moe, "%u", (unsigned)settings->cpu_moe_layer_count);
    build_environment(builder, "LLAMA_ARG_FIT", "off",
                      "the plan is exact; the engine below must not change it");
    build_environment(builder, "LLAMA_ARG_N_GPU_LAYERS", layers,
                      "layers on the cards, the output layer counted");
    if (settings->device_count)
        build_environment(builder, "LLAMA_ARG_DEVICE", devices, "the cards in the plan's order");
    if (settings->device_count > 1 && settings->tensor_split_given)
        build_environment(builder, "LLAMA_ARG_TENSOR_SPLIT", shares, "layers of each card");
    if (settings->cpu_moe_layer_count)
        build_environment(builder, "LLAMA_ARG_N_CPU_MOE", moe,
                          "experts of the first layers stay in host memory");
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    static const char *const decided[] = {NULL};
    const struct dgo_settings *settings = &plan->settings;
    const bool v6 = strchr(options->host, ':') != NULL;
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "ollama", .probe = probe, .flags = flags, .err = err};
    char host[128], ctx[16], slots[16];

    (void)model;
    builder.status = check(settings, probe, err);
    snprintf(host, sizeof host, v6 ? "[%s]:%u" : "%s:%u", options->host, (unsigned)options->port);
    snprintf(ctx, sizeof ctx, "%u", (unsigned)(settings->ctx_tokens / settings->slot_count));
    snprintf(slots, sizeof slots, "%u", (unsigned)settings->slot_count);
    build_word(&builder, options->binary, NULL);
    build_word(&builder, "serve",
               "the model is made known by `ollama create NAME -f Modelfile`; "
               "`dualgpuopt export modelfile` writes it");
    llama_cpp_environment(&builder, machine, settings);
    build_environment(&builder, "OLLAMA_HOST", host, "where it listens");
    build_environment(&builder, "OLLAMA_CONTEXT_LENGTH", ctx, "context of each request");
    build_environment(&builder, "OLLAMA_NUM_PARALLEL", slots, "requests served side by side");
    build_environment(&builder, "OLLAMA_KV_CACHE_TYPE", dgo_kv_type_name(settings->key_type),
                      "precision of the cache");
    build_environment(&builder, "OLLAMA_FLASH_ATTENTION",
                      settings->flash_attention == DGO_FA_ON ? "1" : "0",
                      "attention without its big intermediate matrix");
    build_environment(&builder, "OLLAMA_MAX_LOADED_MODELS", "1",
                      "a second model would take what this one was promised");
    build_environment(&builder, "OLLAMA_KEEP_ALIVE", "-1", "the model stays loaded");
    if (settings->device_count > 1)
        build_environment(&builder, "OLLAMA_SCHED_SPREAD", "1",
                          "all cards of the plan, even where one would do");
    add_child(&builder, machine, settings);
    ranked_extra(&builder, options, decided);
    return build_end(&builder, made);
}

const struct dgo_engine dgo_ollama = {
    .name = "ollama",
    .what = "starts llama-server by itself; layers and shares by its environment; GGUF",
    .binary = "ollama",
    .health_path = "/api/version",
    .formats = 1u << DGO_FORMAT_GGUF,
    .command = command,
    .name_devices = llama_cpp_name_devices,
    .read_line = llama_cpp_read_line,
    .read_probe = ranked_read_probe,
};
