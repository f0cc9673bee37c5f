/* tgi.c - Text Generation Inference: equal shards only, a pool of tokens within a fraction of each
 * card.  Its repository is in maintenance since 2026. */
#include "engines.h"
#include "ranked.h"

#include <stdio.h>
#include <string.h>

#define MAIN "launcher/src/main.rs"

static const struct engine_flag flags[] = {
    {"--model-id", 0, 0, MAIN},
    {"--sharded", DGO_ENGINE_VERSION(0, 4, 0), 0, MAIN},
    {"--num-shard", DGO_ENGINE_VERSION(0, 4, 0), 0, MAIN},
    {"--cuda-memory-fraction", DGO_ENGINE_VERSION(0, 9, 4), 0, MAIN},
    {"--max-input-tokens --max-input-length", DGO_ENGINE_VERSION(2, 0, 0), 0, MAIN},
    {"--max-total-tokens", DGO_ENGINE_VERSION(0, 3, 2), 0, MAIN},
    {"--max-batch-prefill-tokens", DGO_ENGINE_VERSION(0, 9, 0), 0, MAIN},
    {"--max-batch-size", DGO_ENGINE_VERSION(1, 4, 1), 0, MAIN},
    {"--kv-cache-dtype", DGO_ENGINE_VERSION(2, 4, 0), 0, MAIN},
    {"--hostname", DGO_ENGINE_VERSION(0, 9, 1), 0, MAIN},
    {"--port -p", 0, 0, MAIN},
    {0},
};

static const struct dgo_partition_rules partition = {
    .engine = "tgi",
    .partition_variable = "",
    .memory_share = 0.95,
    .memory_rule = DGO_PARTITION_OF_TOTAL,
    .block_tokens = 1,
};

static const struct ranked_kv_type kv_types[] = {{"auto", "auto", 2},
                                                 {"f16", "auto", 2},
                                                 {"bf16", "auto", 2},
                                                 {"fp8", "fp8_e4m3fn", 1},
                                                 {"fp8_e4m3", "fp8_e4m3fn", 1},
                                                 {"fp8_e5m2", "fp8_e5m2", 1},
                                                 {0}};

static const struct ranked_rules rules = {.partition = &partition,
                                          .kv_types = kv_types,
                                          .no_stages = true,
                                          .batch_tokens = 4096,
                                          .amd = true,
                                          .least_compute = 75,
                                          .requests_most = 128};

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
    static const char *const decided[] = {"--num-shard",
                                          "--sharded",
                                          "--cuda-memory-fraction",
                                          "--max-total-tokens",
                                          "--max-input-tokens",
                                          "--max-batch-prefill-tokens",
                                          "--hostname",
                                          "--port",
                                          NULL};
    struct dgo_command building = {0};
    struct command_builder builder = {.command = &building,
                                      .engine = "text-generation-launcher",
                                      .probe = probe,
                                      .flags = flags,
                                      .err = err};
    const uint32_t shards = plan->partition.tensor_parallel;
    char share[16];

    (void)model;
    ranked_share_text(plan->partition.memory_share, share);
    build_word(&builder, options->binary, NULL);
    build_flag(&builder, BUILD_NEEDED, "--model-id", options->model_path, "the model's folder");
    build_flag(&builder, BUILD_NEEDED, "--sharded", shards > 1 ? "true" : "false",
               "whether the layers are cut");
    if (shards > 1)
        build_flag_u32(&builder, BUILD_NEEDED, "--num-shard", shards,
                       "equal shards of every layer, one a card");
    build_flag(&builder, BUILD_NEEDED, "--cuda-memory-fraction", share,
               "of each card's total: all that it may take");
    build_flag_u32(&builder, BUILD_NEEDED, "--max-total-tokens", plan->settings.ctx_tokens,
                   "prompt and answer of one request");
    build_flag_u32(&builder, BUILD_NEEDED, "--max-input-tokens", plan->settings.ctx_tokens - 1,
                   "the prompt alone; one token less, as it insists");
    build_flag_u32(&builder, BUILD_NEEDED, "--max-batch-prefill-tokens",
                   plan->settings.batch_tokens > plan->settings.ctx_tokens
                       ? plan->settings.batch_tokens
                       : plan->settings.ctx_tokens,
                   "tokens of prompts computed at once; one prompt at least");
    build_flag_u32(&builder, BUILD_WANTED, "--max-batch-size", plan->settings.slot_count,
                   "requests served side by side");
    if (strcmp(plan->kv_type, "auto") != 0)
        build_flag(&builder, BUILD_NEEDED, "--kv-cache-dtype", plan->kv_type,
                   "precision of the cache");
    build_listen(&builder, "--hostname", "--port", options);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    char copy[1024];
    double number;

    ranked_line(copy, sizeof copy, line, length);
    if (ranked_number(copy, "Setting max batch total tokens to", &number))
        report->kv_tokens = (uint64_t)number;
    report->model_loaded |= strstr(copy, "Shard ready in") != NULL;
    report->listening |= strstr(copy, "Connected") && report->model_loaded;
    if (strstr(copy, "Not enough memory to handle"))
        ranked_trouble(report, DGO_TROUBLE_OOM_CONTEXT, copy);
    else if (strstr(copy, "out of memory"))
        ranked_trouble(report, ranked_oom(report), copy);
}

const struct dgo_engine dgo_tgi = {
    .name = "tgi",
    .what = "equal shards on equal cards; safetensors, AWQ, GPTQ, EXL2, FP8",
    .binary = "text-generation-launcher",
    .health_path = "/health",
    .formats = 1u << DGO_FORMAT_SAFETENSORS | 1u << DGO_FORMAT_EXL2,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
