/* tensorrt_llm.c - TensorRT-LLM's trtllm-serve: equal shards, stages of equal runs only; the cache
 * takes a fraction of what is free once weights and buffers are there. */
#include "engines.h"
#include "ranked.h"

#include <stdio.h>
#include <string.h>

#define SERVE "tensorrt_llm/commands/serve.py"

/* The first release with trtllm-serve. */
#define OLDEST DGO_ENGINE_VERSION(0, 15, 0)

static const struct engine_flag flags[] = {
    /* Older releases know --tp_size, --pp_size and --kv_cache_free_gpu_memory_fraction only, later
     * ones take both spellings.  Those without a version came with the program itself. */
    {"--tp_size --tensor_parallel_size", 0, 0, SERVE},
    {"--pp_size --pipeline_parallel_size", 0, 0, SERVE},
    {"--max_seq_len", 0, 0, SERVE},
    {"--max_batch_size", 0, 0, SERVE},
    {"--max_num_tokens", 0, 0, SERVE},
    {"--kv_cache_free_gpu_memory_fraction --free_gpu_memory_fraction", 0, 0, SERVE},
    /* in the documentation of 0.18.2; not in the source of 0.17.0.dev of December 2024 */
    {"--backend", DGO_ENGINE_VERSION(0, 18, 0), 0, SERVE},
    {"--host", 0, 0, SERVE},
    {"--port", 0, 0, SERVE},
    {0},
};

static const struct dgo_partition_rules partition = {
    .engine = "tensorrt-llm",
    .partition_variable = "",
    .memory_share = 0.95,
    .memory_rule = DGO_PARTITION_OF_TOTAL,
    .remainder_last = false,
    .block_tokens = 32,
};

static const struct ranked_kv_type kv_types[] = {
    {"auto", "auto", 2}, {"f16", "auto", 2}, {"bf16", "auto", 2}, {0}};

static const struct ranked_rules rules = {.partition = &partition,
                                          .kv_types = kv_types,
                                          .even_only = true,
                                          .batch_tokens = 8192,
                                          .least_compute = 80,
                                          .requests_most = 256};

static enum dgo_status plan(const struct dgo_engine_question *question, struct dgo_plan *made,
                            struct dgo_error *err)
{
    return ranked_plan(&rules, question, made, err);
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    static const char *const decided[] = {"--tp_size",
                                          "--tensor_parallel_size",
                                          "--pp_size",
                                          "--pipeline_parallel_size",
                                          "--max_seq_len",
                                          "--max_batch_size",
                                          "--max_num_tokens",
                                          "--free_gpu_memory_fraction",
                                          "--kv_cache_free_gpu_memory_fraction",
                                          "--host",
                                          "--port",
                                          NULL};
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "trtllm-serve", .probe = probe, .flags = flags, .err = err};
    char fraction[16];

    (void)model;
    if (probe && probe->build && probe->build < OLDEST)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "TensorRT-LLM before 0.15 has no trtllm-serve; install a newer one");
    ranked_share_text(ranked_cache_fraction(plan, true, partition.memory_share), fraction);
    build_word(&builder, options->binary, NULL);
    /* Up to 0.18 there is no word `serve`; later it may be left out. */
    build_word(&builder, options->model_path, NULL);
    build_flag(&builder, BUILD_WANTED, "--backend", "pytorch",
               "runs the folder as it is; the other one needs an engine that was built before");
    build_flag_u32(&builder, BUILD_NEEDED, "--tp_size", plan->partition.tensor_parallel,
                   "equal shards of every layer");
    build_flag_u32(&builder, BUILD_NEEDED, "--pp_size", plan->partition.pipeline_parallel,
                   "equal runs of layers");
    build_flag_u32(&builder, BUILD_NEEDED, "--max_seq_len", plan->settings.ctx_tokens,
                   "the longest request");
    build_flag_u32(&builder, BUILD_NEEDED, "--max_batch_size", plan->settings.slot_count,
                   "requests served side by side");
    build_flag_u32(&builder, BUILD_NEEDED, "--max_num_tokens", plan->settings.batch_tokens,
                   "tokens computed at once: sets the activations' peak");
    build_flag(&builder, BUILD_NEEDED, "--kv_cache_free_gpu_memory_fraction", fraction,
               "cache, of what is free after weights and buffers");
    build_listen(&builder, "--host", "--port", options);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

/* "[MemUsageChange] Allocated 12.34 GiB for max tokens in paged KV cache (101088)." */
static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    char copy[1024];
    double number;

    ranked_line(copy, sizeof copy, line, length);
    if (ranked_number(copy, "max tokens in paged KV cache (", &number)) {
        report->kv_tokens = (uint64_t)number;
        if (ranked_number(copy, "Allocated", &number))
            ranked_set(ranked_device(report, 0), DGO_BUFFER_CONTEXT, number);
    }
    if (strstr(copy, "Application startup complete"))
        report->listening = report->model_loaded = true;
    if (strstr(copy, "out of memory"))
        ranked_trouble(report, ranked_oom(report), copy);
}

/* Where there is no word `serve` it is taken for a model, and --help is answered all the same. */
static const char *const help_args[] = {"serve", "--help", NULL};

const struct dgo_engine dgo_tensorrt_llm = {
    .name = "tensorrt-llm",
    .what = "equal shards and equal stages of one kind of card; safetensors, FP8, NVFP4",
    .binary = "trtllm-serve",
    .health_path = "/health",
    .formats = 1u << DGO_FORMAT_SAFETENSORS,
    .help_args = help_args,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
