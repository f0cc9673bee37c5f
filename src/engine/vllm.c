/* vllm.c - vLLM: equal shards of every layer, runs of layers between stages, and one pool of cache
 * blocks that takes all of a card's share at the start. */
#include "engines.h"
#include "ranked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS "vllm/engine/arg_utils.py"

/* `vllm serve` came with 0.5.2, the layers of each stage with this; flags that came before have no
 * version here. */
#define OLDEST DGO_ENGINE_VERSION(0, 5, 4)

/* First versions are from the history of the sources named and its tags up to 0.10.0.  The flags
 * for several machines came on 2025-11-16, between 0.11.0 and 0.12.0: whether a 0.11.1 or 0.11.2
 * has them, its help says. */
static const struct engine_flag flags[] = {
    {"--tensor-parallel-size -tp", 0, 0, ARGS},
    {"--pipeline-parallel-size -pp", 0, 0, ARGS},
    {"--distributed-executor-backend", 0, 0, ARGS},
    {"--gpu-memory-utilization", 0, 0, ARGS},
    {"--max-model-len", 0, 0, ARGS},
    {"--max-num-seqs", 0, 0, ARGS},
    {"--max-num-batched-tokens", 0, 0, ARGS},
    {"--kv-cache-dtype", 0, 0, ARGS},
    {"--disable-custom-all-reduce", 0, 0, ARGS},
    {"--nnodes", DGO_ENGINE_VERSION(0, 12, 0), 0, ARGS},
    {"--node-rank", DGO_ENGINE_VERSION(0, 12, 0), 0, ARGS},
    {"--master-addr", DGO_ENGINE_VERSION(0, 12, 0), 0, ARGS},
    {"--headless", DGO_ENGINE_VERSION(0, 9, 0), 0, "vllm/entrypoints/openai/cli_args.py"},
    {"--host", 0, 0, "vllm/entrypoints/openai/cli_args.py"},
    {"--port", 0, 0, "vllm/entrypoints/openai/cli_args.py"},
    {"VLLM_PP_LAYER_PARTITION", 0, 0, "vllm/envs.py"},
    {"VLLM_WORKER_MULTIPROC_METHOD", 0, 0, "vllm/envs.py"},
    {"VLLM_API_KEY", 0, 0, "vllm/envs.py"},
    {"VLLM_HOST_IP", 0, 0, "vllm/envs.py"},
    {0},
};

static const struct ranked_kv_type kv_types[] = {
    {"auto", "auto", 2},
    {"f16", "auto", 2},
    {"bf16", "auto", 2},
    {"fp8", "fp8", 1},
    {"fp8_e4m3", "fp8_e4m3", 1},
    {"fp8_e5m2", "fp8_e5m2", 1},
    {"q8_0", "fp8", 1}, /* the nearest that it has */
    {0},
};

/* 2048 tokens at once keep a first token of others within some 100 ms on such cards; vLLM's own
 * default is 8192 on the largest ones. */
static const struct ranked_rules rules = {.partition = &dgo_partition_vllm,
                                          .kv_types = kv_types,
                                          .batch_tokens = 2048,
                                          .amd = true,
                                          .least_compute = 70,
                                          .requests_most = 256};

static enum dgo_status plan(const struct dgo_engine_question *question, struct dgo_plan *made,
                            struct dgo_error *err)
{
    if (question->model->format == DGO_FORMAT_GGUF && question->model->shard_count > 1)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "vllm loads GGUF from one file only, this model has %u parts; merge them "
                        "with llama-gguf-split --merge, or give the original folder",
                        (unsigned)question->model->shard_count);
    return ranked_plan(&rules, question, made, err);
}

/* ---- the command ---- */

/* The first of several machines.  The others' commands: export native, export ray. */
static void add_machines(struct command_builder *builder, bool alike, uint32_t count,
                         const struct dgo_launch_options *options)
{
    if (builder->status == DGO_OK)
        builder->status = ranked_address(options, builder->err);
    build_environment(builder, "VLLM_HOST_IP", options->host,
                      "this machine's address for the others");
    if (!alike) {
        build_flag(builder, BUILD_NEEDED, "--distributed-executor-backend", "ray",
                   "machines with different numbers of cards are joined by Ray");
        return;
    }
    build_flag(builder, BUILD_NEEDED, "--distributed-executor-backend", "mp",
               "processes of its own on every machine");
    build_flag_u32(builder, BUILD_NEEDED, "--nnodes", count, "machines");
    build_flag(builder, BUILD_NEEDED, "--node-rank", "0", "this is the first");
    build_flag(builder, BUILD_NEEDED, "--master-addr", options->host, "where the others find it");
}

static void add_parallel(struct command_builder *builder, const struct dgo_machine *machine,
                         const struct dgo_plan *plan, const struct dgo_launch_options *options)
{
    bool alike;
    const struct dgo_partition *partition = &plan->partition;
    char runs[DGO_GPU_MAX * 4];
    bool p2p = true;

    build_flag_u32(builder, BUILD_NEEDED, "--tensor-parallel-size", partition->tensor_parallel,
                   "equal shards of every layer");
    build_flag_u32(builder, BUILD_NEEDED, "--pipeline-parallel-size", partition->pipeline_parallel,
                   "runs of layers, one a stage");
    if (ranked_machines(machine, plan, &alike) > 1)
        add_machines(builder, alike, ranked_machines(machine, plan, &alike), options);
    else if (partition->rank_count > 1)
        build_flag(builder, BUILD_WANTED, "--distributed-executor-backend", "mp",
                   "processes of this machine; Ray is for several");
    if (ranked_partition_text(plan, runs, sizeof runs))
        build_environment(builder, "VLLM_PP_LAYER_PARTITION", runs,
                          "equal cache blocks in every stage instead of equal layers");
    for (uint32_t a = 0; a < plan->settings.device_count; a++)
        for (uint32_t b = a + 1; b < plan->settings.device_count; b++) {
            const struct dgo_link *link =
                &machine->link[plan->settings.device_gpu[a]][plan->settings.device_gpu[b]];

            p2p = p2p && !(link->p2p_known && !link->p2p);
        }
    if (partition->tensor_parallel > 1 && !p2p)
        build_flag(builder, BUILD_WANTED, "--disable-custom-all-reduce", NULL,
                   "the cards cannot read each other's memory, which it needs");
}

static void add_memory(struct command_builder *builder, const struct dgo_plan *plan)
{
    char share[16];

    ranked_share_text(plan->partition.memory_share, share);
    build_flag(builder, BUILD_NEEDED, "--gpu-memory-utilization", share,
               "of each card's total; all of it is taken at the start, and must be free then");
    build_flag_u32(builder, BUILD_NEEDED, "--max-model-len", plan->settings.ctx_tokens,
                   "the longest request; the pool must hold one at least");
    build_flag_u32(builder, BUILD_NEEDED, "--max-num-seqs", plan->settings.slot_count,
                   "requests served side by side");
    build_flag_u32(builder, BUILD_NEEDED, "--max-num-batched-tokens", plan->settings.batch_tokens,
                   "tokens computed at once: sets the activations' peak");
    build_flag(builder, strcmp(plan->kv_type, "auto") == 0 ? BUILD_WANTED : BUILD_NEEDED,
               "--kv-cache-dtype", plan->kv_type, "precision of the cache");
}

static const char *const decided[] = {"--tensor-parallel-size",
                                      "-tp",
                                      "--pipeline-parallel-size",
                                      "-pp",
                                      "--gpu-memory-utilization",
                                      "--max-model-len",
                                      "--max-num-seqs",
                                      "--max-num-batched-tokens",
                                      "--kv-cache-dtype",
                                      "--host",
                                      "--port",
                                      NULL};

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "vllm", .probe = probe, .flags = flags, .err = err};

    (void)model;
    if (probe && probe->build && probe->build < OLDEST)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "vllm before 0.5.4 cannot be told the layers of its stages; install a "
                        "newer one");
    build_word(&builder, options->binary, NULL);
    build_word(&builder, "serve", NULL);
    build_word(&builder, options->model_path, NULL);
    build_environment(&builder, "VLLM_PP_LAYER_PARTITION", NULL,
                      "a left-over one would change the plan");
    build_environment(&builder, "VLLM_API_KEY", NULL, "a key from outside would lock clients out");
    add_parallel(&builder, machine, plan, options);
    add_memory(&builder, plan);
    build_environment(&builder, "VLLM_WORKER_MULTIPROC_METHOD", "spawn",
                      "forked workers inherit CUDA's state, which breaks it");
    build_listen(&builder, "--host", "--port", options);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

/* ---- the log ---- */

/* "(Worker_PP1_TP0 pid=7) INFO ...": which rank writes; 0 for a line without. */
static uint32_t rank_of(const struct dgo_report *report, const char *line)
{
    const char *worker = strstr(line, "(Worker");
    const char *stage, *shard, *end;
    uint32_t rank = 0;

    if (!worker || !(end = strchr(worker, ')')))
        return 0;
    stage = strstr(worker, "_PP");
    shard = strstr(worker, "_TP");
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
        {"larger than the available KV cache memory", DGO_TROUBLE_OOM_CONTEXT},
        {"larger than the available KV Cache memory", DGO_TROUBLE_OOM_CONTEXT}, /* first V1 */
        {"larger than the maximum number of tokens that can be stored in KV cache",
         DGO_TROUBLE_OOM_CONTEXT}, /* V0 */
        {"No available memory for the cache blocks", DGO_TROUBLE_OOM_CONTEXT},
        {"is less than desired GPU memory utilization", DGO_TROUBLE_OOM_WEIGHTS},
        {"unrecognized arguments", DGO_TROUBLE_ARGUMENT},
        {"error: argument", DGO_TROUBLE_ARGUMENT},
        {"address already in use", DGO_TROUBLE_PORT},
        {"Address already in use", DGO_TROUBLE_PORT},
        {"are not supported for now", DGO_TROUBLE_MODEL},
        {"must be divisible by tensor parallel size", DGO_TROUBLE_ARGUMENT},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strstr(line, rows[i].text))
            ranked_trouble(report, rows[i].trouble, line);
    if (strstr(line, "CUDA out of memory")) {
        double gib;

        if (report->trouble == DGO_TROUBLE_NONE && ranked_number(line, "Tried to allocate", &gib))
            report->trouble_bytes =
                (uint64_t)(gib * (strstr(line, "MiB. GPU") ? 1 << 20 : 1 << 30));
        ranked_trouble(report, ranked_oom(report), line);
    }
}

static void read_memory(struct dgo_report *report, const char *line)
{
    struct dgo_report_device *device;
    double number;

    if (ranked_number(line, "Model loading took", &number)) {
        device = ranked_device(report, rank_of(report, line));
        ranked_set(device, DGO_BUFFER_MODEL, number);
        report->model_loaded = true;
    } else if (ranked_number(line, "Available KV cache memory", &number)) {
        device = ranked_device(report, rank_of(report, line));
        ranked_set(device, DGO_BUFFER_CONTEXT, number);
    }
    if (ranked_number(line, "GPU KV cache size", &number))
        report->kv_tokens = (uint64_t)number;
    if (ranked_number(line, "Maximum concurrency for", &number))
        report->ctx_tokens_per_slot = (uint32_t)number;
    if (ranked_number(line, "tokens per request", &number))
        report->concurrency = number;
}

static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    char copy[2048];
    double number;

    ranked_line(copy, sizeof copy, line, length);
    if (report->state.generation == 0 && ranked_number(copy, "tensor_parallel_size=", &number) &&
        number <= DGO_GPU_MAX)
        report->state.generation = (uint8_t)number;
    read_memory(report, copy);
    read_trouble(report, copy);
    if (strstr(copy, "Application startup complete"))
        report->listening = true;
    if (ranked_number(copy, "Avg generation throughput", &number))
        report->decode_tokens_per_second = number;
    if (ranked_number(copy, "Avg prompt throughput", &number))
        report->prompt_tokens_per_second = number;
}

static const char *const help_args[] = {"serve", "--help=all", NULL};

const struct dgo_engine dgo_vllm = {
    .name = "vllm",
    .what = "shards and stages over equal processes; safetensors, AWQ, GPTQ, FP8; many requests",
    .binary = "vllm",
    .several_machines = true,
    .health_path = "/health",
    .formats = 1u << DGO_FORMAT_SAFETENSORS | 1u << DGO_FORMAT_GGUF,
    .help_args = help_args,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
