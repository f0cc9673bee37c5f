/* tabbyapi.c - TabbyAPI on ExLlamaV3: whole layers filled card after card up to a limit in GB, a
 * cache of as many tokens as it is told. */
#include "engines.h"
#include "ranked.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dgo_units.h"

#define MODELS "common/config_models.py"

static const struct engine_flag flags[] = {
    {"--model-dir", 0, 0, MODELS},
    {"--model-name", 0, 0, MODELS},
    {"--backend", 0, 0, MODELS},
    {"--max-seq-len", 0, 0, MODELS},
    {"--cache-size", 0, 0, MODELS},
    {"--cache-mode", 0, 0, MODELS},
    {"--gpu-split-auto", 0, 0, MODELS},
    {"--gpu-split", 0, 0, MODELS},
    {"--tensor-parallel", 0, 0, MODELS},
    {"--chunk-size", 0, 0, MODELS},
    {"--max-batch-size", 0, 0, MODELS},
    {"--host", 0, 0, MODELS},
    {"--port", 0, 0, MODELS},
    {0},
};

/* Pages of 256 tokens; limits of each card by itself; a run of layers ends where a card is full. */
static const struct dgo_partition_rules partition = {
    .engine = "tabbyapi",
    .partition_variable = "gpu_split",
    .memory_share = 0.95,
    .memory_rule = DGO_PARTITION_OF_TOTAL,
    .block_tokens = 256,
};

static const struct ranked_kv_type kv_types[] = {
    {"fp16", "FP16", 2}, {"f16", "FP16", 2}, {"auto", "FP16", 2},
    {"q8", "8,8", 1},    {"q8_0", "8,8", 1}, {"q6", "6,6", 1},
    {"q4", "4,4", 1},    {"q4_0", "4,4", 1}, {0},
};

static const struct ranked_rules rules = {.partition = &partition,
                                          .kv_types = kv_types,
                                          .no_shards = true,
                                          .pool_as_asked = true,
                                          .batch_tokens = 2048,
                                          .least_compute = 80,
                                          .requests_most = 1};

static enum dgo_status plan(const struct dgo_engine_question *question, struct dgo_plan *made,
                            struct dgo_error *err)
{
    return ranked_plan(&rules, question, made, err);
}

/* The folder above the model's, and the model's own name: TabbyAPI wants them apart. */
static void split_path(const char *path, char *folder, char *name, size_t size)
{
    const char *slash = strrchr(path, '/');

    snprintf(name, size, "%s", slash ? slash + 1 : path);
    if (!slash)
        snprintf(folder, size, ".");
    else if (slash == path)
        snprintf(folder, size, "/");
    else
        snprintf(folder, size, "%.*s", (int)(slash - path), path);
}

/* GB (GiB, as it counts) on each card: what the plan puts there and half a layer, so that rounding
 * does not push the run's last layer on. */
static void add_split(struct command_builder *builder, const struct dgo_plan *plan)
{
    build_flag(builder, BUILD_NEEDED, "--gpu-split-auto", "false",
               "the plan says which layers go "
               "where");
    build_flag(builder, BUILD_NEEDED, "--gpu-split", NULL,
               "GB of each card for weights, cache and a pass, in the order of the cards");
    for (uint32_t d = 0; d < plan->estimate.device_count; d++) {
        const struct dgo_device_estimate *device = &plan->estimate.device[d];
        const double layer = (double)device->weights_bytes / (device->layer_count + 1.0);
        const double bytes =
            (double)(device->weights_bytes + device->context_bytes + device->compute_bytes) +
            layer / 2;

        build_wordf(builder, NULL, "%.2f", ceil(bytes / (double)DGO_GIB * 100) / 100);
    }
}

static void add_program(struct command_builder *builder, const char *binary)
{
    const size_t length = strlen(binary);

    if (strcmp(binary, "tabbyapi") == 0) { /* not installed: as its folder is used */
        build_word(builder, "python3", NULL);
        build_word(builder, "main.py", "in TabbyAPI's folder");
    } else if (length > 3 && strcmp(binary + length - 3, ".py") == 0) {
        build_word(builder, "python3", NULL);
        build_word(builder, binary, NULL);
    } else {
        build_word(builder, binary, NULL);
    }
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    static const char *const decided[] = {"--model-dir",  "--model-name", "--max-seq-len",
                                          "--cache-size", "--cache-mode", "--gpu-split",
                                          "--host",       "--port",       NULL};
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "tabbyapi", .probe = probe, .flags = flags, .err = err};
    char folder[4096], name[4096];

    (void)model;
    split_path(options->model_path, folder, name, sizeof folder);
    add_program(&builder, options->binary);
    build_flag(&builder, BUILD_NEEDED, "--model-dir", folder, "where the model's folder lies");
    build_flag(&builder, BUILD_NEEDED, "--model-name", name, "the model's folder");
    build_flag(&builder, BUILD_WANTED, "--backend", "exllamav3", "as the folder is quantised");
    build_flag_u32(&builder, BUILD_NEEDED, "--max-seq-len", plan->settings.ctx_tokens,
                   "the longest request");
    build_flag_u32(&builder, BUILD_NEEDED, "--cache-size", (uint32_t)plan->partition.kv_tokens,
                   "tokens of all requests together, a multiple of 256");
    build_flag(&builder, BUILD_NEEDED, "--cache-mode", plan->kv_type,
               "bits of keys and values in the cache");
    if (plan->estimate.device_count > 1)
        add_split(&builder, plan);
    build_flag_u32(&builder, BUILD_NEEDED, "--chunk-size", plan->settings.batch_tokens,
                   "tokens of a prompt computed at once");
    if (plan->settings.slot_count > 1)
        build_flag_u32(&builder, BUILD_NEEDED, "--max-batch-size", plan->settings.slot_count,
                       "requests served side by side");
    build_listen(&builder, "--host", "--port", options);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    char copy[1024];
    double number;

    ranked_line(copy, sizeof copy, line, length);
    report->model_loaded |= strstr(copy, "Model successfully loaded") != NULL;
    report->listening |= strstr(copy, "Uvicorn running on") || strstr(copy, "Developer docs:");
    if (ranked_number(copy, "Using configured cache_size:", &number))
        report->kv_tokens = (uint64_t)number;
    if (strstr(copy, "Insufficient VRAM") || strstr(copy, "out of memory"))
        ranked_trouble(
            report, report->model_loaded ? DGO_TROUBLE_OOM_RUNTIME : DGO_TROUBLE_OOM_WEIGHTS, copy);
}

const struct dgo_engine dgo_tabbyapi = {
    .name = "tabbyapi",
    .what = "ExLlamaV3: whole layers up to a limit of each card; EXL3, safetensors",
    .binary = "tabbyapi",
    .health_path = "/health",
    .formats = 1u << DGO_FORMAT_EXL3 | 1u << DGO_FORMAT_SAFETENSORS,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
