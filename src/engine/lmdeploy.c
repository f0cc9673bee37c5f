/* lmdeploy.c - LMDeploy's TurboMind: equal shards in powers of two; the cache takes a part of what
 * the poorest card of all has free once the weights are there. */
#include "engines.h"
#include "ranked.h"

#include <stdio.h>
#include <string.h>

#define SERVE "lmdeploy/cli/serve.py"
#define UTILS "lmdeploy/cli/utils.py"

/* First versions are from its history and tags; what has none came with `lmdeploy serve` as it is
 * now, in 0.2.0. */
static const struct engine_flag flags[] = {
    {"--backend", 0, 0, UTILS},
    {"--tp", 0, 0, UTILS},
    {"--session-len", 0, 0, UTILS},
    {"--max-batch-size", 0, 0, UTILS},
    {"--max-prefill-token-num", DGO_ENGINE_VERSION(0, 6, 0), 0, UTILS},
    {"--cache-max-entry-count", 0, 0, UTILS},
    {"--quant-policy", 0, 0, UTILS},
    {"--server-name", 0, 0, SERVE},
    {"--server-port", 0, 0, SERVE},
    {0},
};
#define OLDEST DGO_ENGINE_VERSION(0, 2, 1) /* before, the part was of a card's total */

enum { BLOCK_TOKENS = 64 };

static const struct dgo_partition_rules partition = {
    .engine = "lmdeploy",
    .partition_variable = "",
    .memory_share = 0.95,
    .memory_rule = DGO_PARTITION_OF_TOTAL,
    .block_tokens = BLOCK_TOKENS,
};

static const struct ranked_kv_type kv_types[] = {
    {"auto", "0", 2}, {"f16", "0", 2}, {"bf16", "0", 2}, {"q8_0", "8", 1}, {"int8", "8", 1}, {0},
};

static const struct ranked_rules rules = {.partition = &partition,
                                          .kv_types = kv_types,
                                          .no_stages = true,
                                          .doubled_shards = true,
                                          .batch_tokens = 8192,
                                          .least_compute = 70,
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
    static const char *const decided[] = {"--tp",
                                          "--session-len",
                                          "--max-batch-size",
                                          "--max-prefill-token-num",
                                          "--cache-max-entry-count",
                                          "--cache-block-seq-len",
                                          "--quant-policy",
                                          "--server-name",
                                          "--server-port",
                                          NULL};
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "lmdeploy", .probe = probe, .flags = flags, .err = err};
    char fraction[16];

    (void)model;
    if (probe && probe->build && probe->build < OLDEST)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "lmdeploy before 0.2.1 gives its cache a part of the whole card; install a "
                        "newer one");
    ranked_share_text(ranked_cache_fraction(plan, false, partition.memory_share), fraction);
    build_word(&builder, options->binary, NULL);
    build_word(&builder, "serve", NULL);
    build_word(&builder, "api_server", NULL);
    build_word(&builder, options->model_path, NULL);
    build_flag(&builder, BUILD_WANTED, "--backend", "turbomind",
               "its own kernels; the other backend holds other buffers");
    build_flag_u32(&builder, BUILD_NEEDED, "--tp", plan->partition.tensor_parallel,
                   "equal shards of every layer");
    build_flag_u32(&builder, BUILD_NEEDED, "--session-len", plan->settings.ctx_tokens,
                   "the longest request");
    build_flag_u32(&builder, BUILD_NEEDED, "--max-batch-size", plan->settings.slot_count,
                   "requests served side by side");
    build_flag_u32(&builder, BUILD_WANTED, "--max-prefill-token-num", plan->settings.batch_tokens,
                   "tokens of prompts computed at once: sets the activations' peak");
    build_flag(&builder, BUILD_NEEDED, "--cache-max-entry-count", fraction,
               "cache, of what the poorest card has free after the weights");
    build_flag(&builder, BUILD_NEEDED, "--quant-policy", plan->kv_type,
               "bits of a cached number; 0: as the model's");
    build_listen(&builder, "--server-name", "--server-port", options);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

/* "[BlockManager] max_block_count = 1871", the same on every card; newer ones tell the bytes. */
static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    char copy[1024];
    double number;

    ranked_line(copy, sizeof copy, line, length);
    if (ranked_number(copy, "[BlockManager] max_block_count =", &number))
        report->kv_tokens = (uint64_t)number * BLOCK_TOKENS;
    if (ranked_number(copy, "Object cache budget:", &number))
        ranked_set(ranked_device(report, 0), DGO_BUFFER_CONTEXT, number / 1024);
    if (strstr(copy, "Uvicorn running on"))
        report->listening = report->model_loaded = true;
    if (strstr(copy, "No enough gpu memory"))
        ranked_trouble(report, DGO_TROUBLE_OOM_CONTEXT, copy);
    else if (strstr(copy, "error: out of memory") || strstr(copy, "CUDA out of memory"))
        ranked_trouble(report, ranked_oom(report), copy);
}

static const char *const help_args[] = {"serve", "api_server", "--help", NULL};

const struct dgo_engine dgo_lmdeploy = {
    .name = "lmdeploy",
    .what = "equal shards in powers of two; safetensors, AWQ, GPTQ, FP8, MXFP4; many requests",
    .binary = "lmdeploy",
    .health_path = "/health",
    .formats = 1u << DGO_FORMAT_SAFETENSORS,
    .help_args = help_args,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
