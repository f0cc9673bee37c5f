/* ktransformers.c - KTransformers' kernels in SGLang: attention and shared weights on the cards,
 * the routed experts in host memory, but for as many of each layer as the cards have room for. */
#include "engines.h"
#include "ranked.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS "python/sglang/srt/server_args.py"

/* First versions of --kt-...: the release after the commit that brought them, of SGLang and of
 * kvcache-ai's own copy of it.  What stands without one is older than these. */
static const struct engine_flag flags[] = {
    {"--model-path --model", 0, 0, ARGS},
    {"--kt-weight-path", DGO_ENGINE_VERSION(0, 5, 6), 0, ARGS},
    {"--kt-method", DGO_ENGINE_VERSION(0, 5, 6), 0, ARGS},
    {"--kt-cpuinfer", DGO_ENGINE_VERSION(0, 5, 4), 0, ARGS},
    {"--kt-num-gpu-experts", DGO_ENGINE_VERSION(0, 5, 4), 0, ARGS},
    {"--tp-size --tensor-parallel-size --tp", 0, 0, ARGS},
    {"--mem-fraction-static", 0, 0, ARGS},
    {"--context-length", 0, 0, ARGS},
    {"--max-running-requests", 0, 0, ARGS},
    {"--chunked-prefill-size", 0, 0, ARGS},
    {"--host", 0, 0, ARGS},
    {"--port", 0, 0, ARGS},
    {0},
};

static const struct ranked_kv_type kv_types[] = {
    {"auto", "auto", 2}, {"f16", "auto", 2}, {"bf16", "auto", 2}, {0}};

static const struct ranked_rules rules = {.partition = &dgo_partition_sglang,
                                          .kv_types = kv_types,
                                          .no_stages = true,
                                          .batch_tokens = 4096,
                                          .least_compute = 75,
                                          .requests_most = 32};

/* A copy of the model that holds `kept` experts of each layer; the rest's bytes are returned. */
static uint64_t keep_experts(const struct dgo_model *model, uint32_t kept, struct dgo_model *copy)
{
    uint64_t host_bytes = 0;

    *copy = *model;
    for (uint32_t l = 0; l < copy->layer_count; l++) {
        struct dgo_layer *layer = &copy->layer[l];
        const uint64_t each = layer->expert_bytes / model->expert_count;
        const uint64_t away = layer->expert_bytes - each * kept;

        layer->weights_bytes -= away;
        layer->expert_bytes -= away;
        host_bytes += away;
    }
    return host_bytes;
}

static enum dgo_status check(const struct dgo_model *model, struct dgo_error *err)
{
    uint64_t experts = 0;

    for (uint32_t l = 0; l < model->layer_count; l++)
        experts += model->layer[l].expert_bytes;
    if (model->expert_count && experts)
        return DGO_OK;
    return dgo_fail(err, DGO_EUNSUPPORTED,
                    "ktransformers moves routed experts to host memory, and %s has none; plan for "
                    "sglang or vllm",
                    model->name);
}

static enum dgo_status check_host(const struct dgo_machine *machine, uint64_t bytes,
                                  struct dgo_plan *made, struct dgo_error *err)
{
    made->estimate.host.weights_bytes = bytes;
    if (!machine->host.memory_known || bytes <= machine->host.free_bytes)
        return DGO_OK;
    made->estimate.fits = false;
    made->estimate.limiting_device = -1;
    made->estimate.missing_bytes = bytes - machine->host.free_bytes;
    return dgo_fail(err, DGO_ENOFIT,
                    "the experts that the cards have no room for do not fit into host memory: it "
                    "misses %" PRIu64 " MiB",
                    made->estimate.missing_bytes >> 20);
}

/* The most experts of each layer that leave room for the requests. */
static enum dgo_status plan(const struct dgo_engine_question *question, struct dgo_plan *made,
                            struct dgo_error *err)
{
    const struct dgo_model *model = question->model;
    struct dgo_model *copy;
    struct dgo_engine_question reduced = *question;
    enum dgo_status status = check(model, err);
    uint32_t low = 0, high;

    if (status != DGO_OK)
        return status;
    copy = malloc(sizeof *copy);
    if (!copy)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a plan");
    reduced.model = copy;
    (void)keep_experts(model, 0, copy);
    status = ranked_plan(&rules, &reduced, made, err);
    for (high = model->expert_count; status == DGO_OK && low < high;) {
        const uint32_t middle = low + (high - low + 1) / 2;
        struct dgo_plan tried;

        (void)keep_experts(model, middle, copy);
        if (ranked_plan(&rules, &reduced, &tried, NULL) == DGO_OK) {
            *made = tried;
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    if (status == DGO_OK) {
        /* The settings say it as experts that are away, as -ncmoe says layers. */
        made->settings.cpu_moe_layer_count = model->expert_count - low;
        status = check_host(question->machine, keep_experts(model, low, copy), made, err);
    }
    free(copy);
    return status;
}

/* FP8 and BF16 folders are read as they are; others need weights converted for the CPU. */
static const char *method_of(const struct dgo_model *model)
{
    return strcmp(model->quantization.method, "fp8") == 0 ? "FP8"
           : model->quantization.method[0] == '\0'        ? "BF16"
                                                          : "AMXINT4";
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    static const char *const decided[] = {"--kt-num-gpu-experts",
                                          "--tp-size",
                                          "--context-length",
                                          "--mem-fraction-static",
                                          "--host",
                                          "--port",
                                          NULL};
    const char *method = method_of(model);
    struct dgo_command building = {0};
    struct command_builder builder = {.command = &building,
                                      .engine = "ktransformers",
                                      .probe = probe,
                                      .flags = flags,
                                      .err = err};
    const uint32_t cores = options->cpu_count ? options->cpu_count : machine->host.core_count;
    char share[16];

    ranked_share_text(plan->partition.memory_share, share);
    build_word(&builder, options->binary, NULL);
    build_word(&builder, "-m", NULL);
    build_word(&builder, "sglang.launch_server", "SGLang of kvcache-ai, with kt-kernel");
    build_flag(&builder, BUILD_NEEDED, "--model-path", options->model_path, "the model's folder");
    build_flag(&builder, BUILD_NEEDED, "--kt-weight-path", options->model_path,
               strcmp(method, "AMXINT4") == 0
                   ? "to be replaced by the folder that convert_cpu_weights.py writes"
                   : "the experts, read as they are stored");
    build_flag(&builder, BUILD_NEEDED, "--kt-method", method, "how the CPU computes the experts");
    if (cores)
        build_flag_u32(&builder, BUILD_NEEDED, "--kt-cpuinfer",
                       options->thread_count > 0 ? (uint32_t)options->thread_count
                       : cores > 2               ? cores - 2
                                                 : 1,
                       options->thread_count > 0 ? "threads for the experts, as --threads says"
                       : options->cpu_count
                           ? build_why(&builder,
                                       "threads for the experts, two fewer for the server: %s",
                                       options->cpu_why)
                           : "threads for the experts; two cores are left to the server");
    build_flag_u32(&builder, BUILD_NEEDED, "--kt-num-gpu-experts",
                   model->expert_count - plan->settings.cpu_moe_layer_count,
                   "experts of each layer that the cards have room for");
    build_flag_u32(&builder, BUILD_NEEDED, "--tp-size", plan->partition.tensor_parallel,
                   "equal shards of every layer");
    build_flag(&builder, BUILD_NEEDED, "--mem-fraction-static", share,
               "weights and cache, of what is free on the fullest card");
    build_flag_u32(&builder, BUILD_NEEDED, "--context-length", plan->settings.ctx_tokens,
                   "the longest request");
    build_flag_u32(&builder, BUILD_NEEDED, "--max-running-requests", plan->settings.slot_count,
                   "requests served side by side");
    build_flag_u32(&builder, BUILD_NEEDED, "--chunked-prefill-size", plan->settings.batch_tokens,
                   "tokens of a prompt computed at once");
    build_listen(&builder, "--host", "--port", options);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

/* What it prints is SGLang's. */
static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    dgo_sglang.read_line(report, line, length);
}

static const char *const help_args[] = {"-m", "sglang.launch_server", "--help", NULL};

const struct dgo_engine dgo_ktransformers = {
    .name = "ktransformers",
    .what = "routed experts in host memory, the rest in shards on the cards; safetensors, FP8",
    .binary = "python3",
    .binary_shared = true,
    .health_path = "/health_generate",
    .formats = 1u << DGO_FORMAT_SAFETENSORS,
    .help_args = help_args,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
