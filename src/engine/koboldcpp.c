/* koboldcpp.c - KoboldCpp: llama.cpp's layers and shares behind flags of its own; one request at a
 * time, three types of cache. */
#include "build.h"
#include "llama_cpp.h"
#include "ranked.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ARGS "koboldcpp.py"

/* Older ones take a short list of contexts only, and are refused: flags that came before have no
 * version here. */
#define OLDEST DGO_ENGINE_VERSION(1, 60, 0)

/* First versions are from the history of koboldcpp.py up to 1.104; every spelling was read again in
 * 1.113.1, where flash attention is on by itself: --flashattention is still taken there and does
 * nothing, and --help no longer shows it.  --noflashattention came after 1.104. */
static const struct engine_flag flags[] = {
    {"--model", 0, 0, ARGS},
    {"--usecublas --usecuda", 0, 0, ARGS}, /* the second since 1.96 */
    {"--usevulkan", 0, 0, ARGS},
    {"--usecpu", DGO_ENGINE_VERSION(1, 75, 0), 0, ARGS},
    {"--gpulayers", 0, 0, ARGS},
    {"--tensor_split", 0, 0, ARGS},
    {"--moecpu", DGO_ENGINE_VERSION(1, 97, 0), 0, ARGS},
    {"--contextsize", 0, 0, ARGS},
    {"--blasbatchsize --batchsize", 0, 0, ARGS}, /* the second since 1.101 */
    {"--flashattention", DGO_ENGINE_VERSION(1, 64, 0), 0, ARGS},
    {"--noflashattention", DGO_ENGINE_VERSION(1, 113, 0), 0, ARGS},
    {"--quantkv", DGO_ENGINE_VERSION(1, 67, 0), 0, ARGS},
    {"--threads", 0, 0, ARGS},
    {"--host", 0, 0, ARGS},
    {"--port", 0, 0, ARGS},
    {"--skiplauncher", 0, 0, ARGS},
    {"--quiet", 0, 0, ARGS},
    {0},
};

enum { CTX_MOST = 262144 }; /* that its parser takes */

/* The cache as --quantkv counts: 0 f16, 1 q8, 2 q4. */
static const char *cache_level(const struct dgo_settings *settings)
{
    if (settings->key_type != settings->value_type)
        return NULL;
    return settings->key_type == DGO_KV_F16    ? "0"
           : settings->key_type == DGO_KV_Q8_0 ? "1"
           : settings->key_type == DGO_KV_Q4_0 ? "2"
                                               : NULL;
}

/* Its parser takes powers of two from a list that grew with 1.99. */
static enum dgo_status check_sizes(const struct dgo_settings *settings, uint32_t version,
                                   struct dgo_error *err)
{
    const bool newer = version == 0 || version >= DGO_ENGINE_VERSION(1, 99, 0);
    const uint32_t least = newer ? 16 : 32, most = newer ? 4096 : 2048;
    uint32_t batch = least;

    if (version && version < OLDEST)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "koboldcpp before 1.60 takes a few sizes of context only; install a newer "
                        "one");
    if (settings->ctx_tokens > CTX_MOST)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "koboldcpp takes a context of %d tokens at most, the plan has %" PRIu32
                        "; give --ctx %d",
                        CTX_MOST, settings->ctx_tokens, CTX_MOST);
    while (batch < most && batch * 2 <= settings->ubatch_tokens)
        batch *= 2;
    if (batch != settings->ubatch_tokens)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "koboldcpp takes batches of %" PRIu32 ", %" PRIu32 ", ... %" PRIu32
                        " tokens, the plan has %" PRIu32 "; give --ubatch %" PRIu32,
                        least, least * 2, most, settings->ubatch_tokens, batch);
    return DGO_OK;
}

static enum dgo_status check(const struct dgo_settings *settings, const struct dgo_probe *probe,
                             struct dgo_error *err)
{
    if (settings->slot_count > 1)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "koboldcpp answers one request at a time and queues the others; leave out "
                        "--parallel, or plan for llama.cpp");
    if (!cache_level(settings))
        return dgo_fail(err, DGO_EUNSUPPORTED, "koboldcpp has caches of f16, q8_0 and q4_0 only");
    if (settings->kv_on_host)
        return dgo_fail(err, DGO_EUNSUPPORTED, "koboldcpp cannot keep the cache in host memory");
    return check_sizes(settings, probe ? probe->build : 0, err);
}

static void add_placement(struct command_builder *builder, const struct dgo_machine *machine,
                          const struct dgo_settings *settings)
{
    const bool vulkan =
        settings->device_count && machine->gpu[settings->device_gpu[0]].vendor == DGO_VENDOR_INTEL;

    if (settings->device_count == 0) {
        build_flag(builder, BUILD_WANTED, "--usecpu", NULL, "the plan uses no card");
        return;
    }
    build_flag(builder, BUILD_NEEDED, vulkan ? "--usevulkan" : "--usecublas", NULL,
               "all cards that are seen: the plan's");
    build_flag_u32(builder, BUILD_NEEDED, "--gpulayers", settings->gpu_layer_count,
                   "layers on the cards, the output layer counted");
    if (settings->device_count > 1) {
        build_flag(builder, BUILD_NEEDED, "--tensor_split", NULL, "layers of each card");
        for (uint32_t d = 0; d < settings->device_count; d++)
            build_wordf(builder, NULL, "%.9g", (double)settings->tensor_split[d]);
    }
    if (settings->cpu_moe_layer_count)
        build_flag_u32(builder, BUILD_NEEDED, "--moecpu", settings->cpu_moe_layer_count,
                       "experts of the first layers stay in host memory");
}

/* A help that shows --noflashattention is of a build where it is on without a flag. */
static void add_attention(struct command_builder *builder, const struct dgo_settings *settings)
{
    const bool by_itself = build_spelling(builder, "--noflashattention") != NULL;

    if (settings->flash_attention == DGO_FA_ON)
        build_flag(builder, by_itself ? BUILD_WANTED : BUILD_NEEDED, "--flashattention", NULL,
                   "attention without its big intermediate matrix");
    else
        build_flag(builder, BUILD_WANTED, "--noflashattention", NULL,
                   "newer builds turn it on by themselves, and the plan counted without it");
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    static const char *const decided[] = {"--model",     "--usecuda",      "--usecublas",
                                          "--gpulayers", "--contextsize",  "--blasbatchsize",
                                          "--batchsize", "--tensor_split", "--quantkv",
                                          "--host",      "--port",         NULL};
    const struct dgo_settings *settings = &plan->settings;
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "koboldcpp", .probe = probe, .flags = flags, .err = err};

    (void)model;
    builder.status = check(settings, probe, err);
    build_word(&builder, options->binary, NULL);
    build_flag(&builder, BUILD_NEEDED, "--model", options->model_path, "the model file");
    add_placement(&builder, machine, settings);
    build_flag_u32(&builder, BUILD_NEEDED, "--contextsize", settings->ctx_tokens,
                   "context in tokens");
    build_flag_u32(&builder, BUILD_NEEDED, "--blasbatchsize", settings->ubatch_tokens,
                   "tokens computed at once: sets the size of the compute buffers");
    add_attention(&builder, settings);
    if (builder.status == DGO_OK)
        build_flag(&builder, BUILD_WANTED, "--quantkv", cache_level(settings),
                   "precision of the cache: 0 f16, 1 q8_0, 2 q4_0");
    build_threads(&builder, "--threads", options);
    build_flag(&builder, BUILD_NEEDED, "--host", options->host,
               "where it listens; without it on every address");
    build_flag_u32(&builder, BUILD_NEEDED, "--port", options->port, "where it listens");
    build_flag(&builder, BUILD_WANTED, "--skiplauncher", NULL, "no window");
    build_flag(&builder, BUILD_WANTED, "--quiet", NULL, "what is asked and answered is not logged");
    llama_cpp_environment(&builder, machine, settings);
    ranked_extra(&builder, options, decided);
    return build_end(&builder, made);
}

const struct dgo_engine dgo_koboldcpp = {
    .name = "koboldcpp",
    .what = "llama.cpp's layers and shares, one request at a time; GGUF",
    .binary = "koboldcpp",
    .health_path = "/api/v1/model",
    .swa_full = true, /* --useswa costs it context shifting */
    .formats = 1u << DGO_FORMAT_GGUF,
    .command = command,
    .name_devices = llama_cpp_name_devices,
    .read_line = llama_cpp_read_line,
    .read_probe = ranked_read_probe,
};
