/* sglang.c - SGLang: equal shards, runs of layers; weights and cache take a share of what the
 * fullest card had free, and the poorest rank sets the pool of all. */
#include "engines.h"
#include "ranked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS "python/sglang/srt/server_args.py"

static const struct engine_flag flags[] = {
    {"--model-path --model", 0, 0, ARGS},
    {"--tp-size --tensor-parallel-size --tp", 0, 0, ARGS},
    {"--pp-size --pipeline-parallel-size", DGO_ENGINE_VERSION(0, 4, 6), 0, ARGS},
    {"--mem-fraction-static", 0, 0, ARGS},
    {"--context-length", DGO_ENGINE_VERSION(0, 1, 13), 0, ARGS},
    {"--max-running-requests", DGO_ENGINE_VERSION(0, 1, 17), 0, ARGS},
    {"--chunked-prefill-size", DGO_ENGINE_VERSION(0, 2, 7), 0, ARGS},
    {"--kv-cache-dtype", DGO_ENGINE_VERSION(0, 2, 14), 0, ARGS},
    {"--disable-custom-all-reduce", DGO_ENGINE_VERSION(0, 2, 14), 0, ARGS},
    {"--nnodes", DGO_ENGINE_VERSION(0, 1, 18), 0, ARGS},
    {"--node-rank", DGO_ENGINE_VERSION(0, 1, 18), 0, ARGS},
    {"--dist-init-addr", DGO_ENGINE_VERSION(0, 3, 3), 0, ARGS},
    {"--host", 0, 0, ARGS},
    {"--port", 0, 0, ARGS},
    {"SGLANG_PP_LAYER_PARTITION", DGO_ENGINE_VERSION(0, 4, 6), 0,
     "python/sglang/srt/distributed/utils.py"},
    /* The older name went with 0.5.6.post2; releases and their posts count as one here. */
    {"SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK", DGO_ENGINE_VERSION(0, 5, 6), 0,
     "python/sglang/srt/environ.py"},
    {"SGL_DISABLE_TP_MEMORY_INBALANCE_CHECK", DGO_ENGINE_VERSION(0, 4, 5),
     DGO_ENGINE_VERSION(0, 5, 7), "python/sglang/srt/model_executor/model_runner.py"},
    {0},
};

static const struct ranked_kv_type kv_types[] = {
    {"auto", "auto", 2},         {"f16", "auto", 2},
    {"bf16", "auto", 2},         {"fp8", "fp8_e4m3", 1},
    {"fp8_e4m3", "fp8_e4m3", 1}, {"fp8_e5m2", "fp8_e5m2", 1},
    {"q8_0", "fp8_e4m3", 1},     {0},
};

static const struct ranked_rules rules = {.partition = &dgo_partition_sglang,
                                          .kv_types = kv_types,
                                          .batch_tokens = 2048,
                                          .amd = true,
                                          .least_compute = 75,
                                          .requests_most = 256};

static enum dgo_status plan(const struct dgo_engine_question *question, struct dgo_plan *made,
                            struct dgo_error *err)
{
    return ranked_plan(&rules, question, made, err);
}

/* SGLang refuses shards on cards whose free memory differs by a tenth. */
static bool is_unbalanced(const struct dgo_machine *machine, const struct dgo_plan *plan)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (uint32_t d = 0; d < plan->settings.device_count; d++) {
        const struct dgo_gpu *gpu = &machine->gpu[plan->settings.device_gpu[d]];

        if (!dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
            continue;
        least = dgo_min_u64(least, gpu->free_bytes);
        most = dgo_max_u64(most, gpu->free_bytes);
    }
    return plan->partition.tensor_parallel > 1 && (double)least < 0.9 * (double)most;
}

/* The first of several machines.  The others' commands: export native. */
static void add_machines(struct command_builder *builder, const struct dgo_machine *machine,
                         const struct dgo_plan *plan, const struct dgo_launch_options *options)
{
    char address[256];
    bool alike;
    const uint32_t count = ranked_machines(machine, plan, &alike);

    if (count < 2)
        return;
    if (builder->status == DGO_OK)
        builder->status = ranked_address(options, builder->err);
    if (builder->status == DGO_OK && !alike)
        builder->status = dgo_fail(builder->err, DGO_EUNSUPPORTED,
                                   "sglang takes the same number of cards on every machine; choose "
                                   "them with --use");
    build_flag_u32(builder, BUILD_NEEDED, "--nnodes", count, "machines");
    build_flag(builder, BUILD_NEEDED, "--node-rank", "0", "this is the first");
    snprintf(address, sizeof address, "%s:20000", options->host);
    build_flag(builder, BUILD_NEEDED, "--dist-init-addr", address, "where the others find it");
}

static void add_parallel(struct command_builder *builder, const struct dgo_machine *machine,
                         const struct dgo_plan *plan)
{
    static const char unbalanced[] =
        "the cards differ by more than a tenth, which it refuses; the plan counts with the poorest";
    char runs[DGO_GPU_MAX * 4];

    build_flag_u32(builder, BUILD_NEEDED, "--tp-size", plan->partition.tensor_parallel,
                   "equal shards of every layer");
    build_flag_u32(builder, plan->partition.pipeline_parallel > 1 ? BUILD_NEEDED : BUILD_WANTED,
                   "--pp-size", plan->partition.pipeline_parallel, "runs of layers, one a stage");
    if (ranked_partition_text(plan, runs, sizeof runs))
        build_environment(builder, "SGLANG_PP_LAYER_PARTITION", runs,
                          "equal cache tokens in every stage instead of equal layers");
    if (is_unbalanced(machine, plan)) {
        build_environment(builder, "SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK", "0", unbalanced);
        build_environment(builder, "SGL_DISABLE_TP_MEMORY_INBALANCE_CHECK", "1", unbalanced);
    }
}

static const char *const decided[] = {"--tp-size",
                                      "--tp",
                                      "--tensor-parallel-size",
                                      "--pp-size",
                                      "--pipeline-parallel-size",
                                      "--mem-fraction-static",
                                      "--context-length",
                                      "--max-running-requests",
                                      "--chunked-prefill-size",
                                      "--kv-cache-dtype",
                                      "--host",
                                      "--port",
                                      NULL};

/* "sglang serve", or "python3 -m sglang.launch_server" where the binary is a Python. */
static void add_program(struct command_builder *builder, const struct dgo_launch_options *options)
{
    const char *slash = strrchr(options->binary, '/'), *name = slash ? slash + 1 : options->binary;

    build_word(builder, options->binary, NULL);
    if (strncmp(name, "python", 6) == 0) {
        build_word(builder, "-m", NULL);
        build_word(builder, "sglang.launch_server", NULL);
    } else {
        build_word(builder, "serve", NULL);
    }
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "sglang", .probe = probe, .flags = flags, .err = err};
    char share[16];

    (void)model;
    add_program(&builder, options);
    build_flag(&builder, BUILD_NEEDED, "--model-path", options->model_path, "the model's folder");
    add_parallel(&builder, machine, plan);
    add_machines(&builder, machine, plan, options);
    ranked_share_text(plan->partition.memory_share, share);
    build_flag(&builder, BUILD_NEEDED, "--mem-fraction-static", share,
               "weights and cache, of what is free on the fullest card; the rest is for "
               "activations and graphs");
    build_flag_u32(&builder, BUILD_NEEDED, "--context-length", plan->settings.ctx_tokens,
                   "the longest request");
    build_flag_u32(&builder, BUILD_NEEDED, "--max-running-requests", plan->settings.slot_count,
                   "requests served side by side");
    build_flag_u32(&builder, BUILD_NEEDED, "--chunked-prefill-size", plan->settings.batch_tokens,
                   "tokens of a prompt computed at once: sets the activations' peak");
    build_flag(&builder, strcmp(plan->kv_type, "auto") == 0 ? BUILD_WANTED : BUILD_NEEDED,
               "--kv-cache-dtype", plan->kv_type, "precision of the cache");
    build_listen(&builder, "--host", "--port", options);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

/* ---- the log ---- */

/* "[2026-02-09 03:51:05 PP1 TP0] ...": which rank writes. */
static uint32_t rank_of(const struct dgo_report *report, const char *line)
{
    const char *end = line[0] == '[' ? strchr(line, ']') : NULL;
    const char *stage = strstr(line, " PP"), *shard = strstr(line, " TP");
    uint32_t rank = 0;

    if (!end)
        return 0;
    if (stage && stage < end)
        rank = (uint32_t)strtoul(stage + 3, NULL, 10) *
               (report->state.generation ? report->state.generation : 1);
    if (shard && shard < end)
        rank += (uint32_t)strtoul(shard + 3, NULL, 10);
    return rank;
}

static void read_trouble(struct dgo_report *report, const char *line)
{
    static const struct {
        const char *text;
        enum dgo_trouble trouble;
    } rows[] = {
        {"Not enough memory. Please try to increase --mem-fraction-static",
         DGO_TROUBLE_OOM_CONTEXT},
        {"The memory capacity is unbalanced", DGO_TROUBLE_ARGUMENT},
        {"unrecognized arguments", DGO_TROUBLE_ARGUMENT},
        {"error: argument", DGO_TROUBLE_ARGUMENT},
        {"address already in use", DGO_TROUBLE_PORT},
        {"Capture cuda graph failed: CUDA out of memory", DGO_TROUBLE_OOM_COMPUTE},
        {"CUDA out of memory", DGO_TROUBLE_OOM_WEIGHTS},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strstr(line, rows[i].text))
            ranked_trouble(report,
                           rows[i].trouble == DGO_TROUBLE_OOM_WEIGHTS ? ranked_oom(report)
                                                                      : rows[i].trouble,
                           line);
    }
}

static void read_memory(struct dgo_report *report, const char *line)
{
    double number, values;

    if (strstr(line, "Load weight end") && ranked_number(line, "mem usage=", &number)) {
        ranked_set(ranked_device(report, rank_of(report, line)), DGO_BUFFER_MODEL, number);
        report->model_loaded = true;
    }
    if (strstr(line, "KV Cache is allocated") && ranked_number(line, "#tokens:", &number)) {
        report->kv_tokens = (uint64_t)number;
        if (ranked_number(line, "K size:", &number) && ranked_number(line, "V size:", &values))
            ranked_set(ranked_device(report, rank_of(report, line)), DGO_BUFFER_CONTEXT,
                       number + values);
        else if (ranked_number(line, "KV size:", &number))
            ranked_set(ranked_device(report, rank_of(report, line)), DGO_BUFFER_CONTEXT, number);
    }
    if (ranked_number(line, "max_total_num_tokens=", &number))
        report->kv_tokens = (uint64_t)number;
    if (ranked_number(line, ", context_len=", &number))
        report->ctx_tokens_per_slot = (uint32_t)number;
    if (ranked_number(line, "max_running_requests=", &number))
        report->slot_count = (uint32_t)number;
}

static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    char copy[2048];
    double number;

    ranked_line(copy, sizeof copy, line, length);
    if (report->state.generation == 0 && ranked_number(copy, "tp_size=", &number) &&
        number <= DGO_GPU_MAX)
        report->state.generation = (uint8_t)number;
    read_memory(report, copy);
    read_trouble(report, copy);
    if (strstr(copy, "The server is fired up and ready to roll"))
        report->listening = true;
    if (report->kv_tokens && report->ctx_tokens_per_slot)
        report->concurrency = (double)report->kv_tokens / report->ctx_tokens_per_slot;
    if (ranked_number(copy, "gen throughput (token/s):", &number))
        report->decode_tokens_per_second = number;
}

static const char *const version_args[] = {"version", NULL};
static const char *const help_args[] = {"serve", "--help", NULL};

const struct dgo_engine dgo_sglang = {
    .name = "sglang",
    .what = "shards and stages over equal processes; safetensors, AWQ, GPTQ, FP8; prefix caches",
    .binary = "sglang",
    .several_machines = true,
    .health_path = "/health_generate",
    .formats = 1u << DGO_FORMAT_SAFETENSORS | 1u << DGO_FORMAT_GGUF,
    .version_args = version_args,
    .help_args = help_args,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
