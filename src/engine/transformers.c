/* transformers.c - Transformers with Accelerate: whole layers by name in a device map; the cache
 * grows as it is used. */
#include "engines.h"
#include "ranked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Accelerate splits nothing inside a layer and preallocates nothing; what is planned is room. */
static const struct dgo_partition_rules partition = {
    .engine = "transformers",
    .partition_variable = "device_map",
    .memory_share = 0.95,
    .memory_rule = DGO_PARTITION_OF_TOTAL,
    .block_tokens = 1,
};

static const struct engine_flag flags[] = {
    {"DEVICE_MAP", 0, 0, "src/accelerate/big_modeling.py: dispatch_model(device_map)"},
    {0},
};

static const struct ranked_kv_type kv_types[] = {
    {"auto", "auto", 2}, {"f16", "auto", 2}, {"bf16", "auto", 2}, {0}};

static const struct ranked_rules rules = {.partition = &partition,
                                          .kv_types = kv_types,
                                          .no_shards = true,
                                          .pool_as_asked = true,
                                          .batch_tokens = 2048,
                                          .amd = true,
                                          .least_compute = 0,
                                          .requests_most = 1};

static enum dgo_status plan(const struct dgo_engine_question *question, struct dgo_plan *made,
                            struct dgo_error *err)
{
    const char *prefix = question->model->layer_prefix;
    const size_t length = strlen(prefix);

    if (length < 7 || strcmp(prefix + length - 7, "layers.") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "a device map names the parts of a model, and those of %s are not known to "
                        "us (its layers are called '%s'); use device_map=\"auto\" with max_memory",
                        question->model->model_class, prefix);
    return ranked_plan(&rules, question, made, err);
}

bool transformers_device_map(const struct dgo_model *model, const struct dgo_plan *plan,
                             struct dgo_text *json)
{
    const uint32_t last = plan->partition.pipeline_parallel - 1;
    const int base = (int)strlen(model->layer_prefix) - 7; /* without "layers." */

    dgo_text_addf(json, "{\"%.*sembed_tokens\":0,\"%.*srotary_emb\":0", base, model->layer_prefix,
                  base, model->layer_prefix);
    if (model->vision_bytes)
        dgo_text_add(json, ",\"model.visual\":0,\"model.vision_tower\":0,"
                           "\"model.multi_modal_projector\":0");
    for (uint32_t s = 0, layer = 0; s <= last; s++)
        for (uint32_t i = 0; i < plan->partition.layer_count[s]; i++, layer++)
            dgo_text_addf(json, ",\"%s%u\":%u", model->layer_prefix, (unsigned)layer, (unsigned)s);
    dgo_text_addf(json, ",\"%.*snorm\":%u,\"lm_head\":%u}", base, model->layer_prefix,
                  (unsigned)last, (unsigned)last);
    return !json->truncated;
}

/* Loads the model as the map says and shows what it took: a program of one line, so that there is
 * no file to lose. */
static const char program[] =
    "import json, os, sys, torch\n"
    "from transformers import AutoModelForCausalLM\n"
    "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype='auto', "
    "device_map=json.loads(os.environ['DEVICE_MAP']))\n"
    "for d in range(torch.cuda.device_count()): print(f'cuda:{d} weights "
    "{torch.cuda.memory_allocated(d) / 2**30:.2f} GiB')\n";

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    enum { MAP_BYTES = 64 * 1024 };
    static const char *const decided[] = {NULL};
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "transformers", .probe = probe, .flags = flags, .err = err};
    char *map = malloc(MAP_BYTES);
    struct dgo_text text = {.data = map, .size = MAP_BYTES};

    if (!map)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a device map");
    map[0] = '\0';
    if (!transformers_device_map(model, plan, &text))
        builder.status = dgo_fail(err, DGO_ELIMIT, "the device map is longer than 64 KiB");
    build_word(&builder, strcmp(options->binary, "python3") == 0 ? "python3" : options->binary,
               NULL);
    build_word(&builder, "-c", NULL);
    build_word(&builder, program, "loads the model as the map says and shows what each card holds");
    build_word(&builder, options->model_path, NULL);
    build_environment(&builder, "DEVICE_MAP", map,
                      "the card of each part, for device_map= of from_pretrained");
    free(map);
    return ranked_end(&builder, machine, plan, options, decided, made);
}

/* The program's own lines. */
static void read_line(struct dgo_report *report, const char *line, size_t length)
{
    char copy[256];
    double number;

    ranked_line(copy, sizeof copy, line, length);
    if (strncmp(copy, "cuda:", 5) == 0 && ranked_number(copy, " weights", &number)) {
        ranked_set(ranked_device(report, (uint32_t)strtoul(copy + 5, NULL, 10)), DGO_BUFFER_MODEL,
                   number);
        report->model_loaded = true;
    }
    if (strstr(copy, "CUDA out of memory"))
        ranked_trouble(report, DGO_TROUBLE_OOM_WEIGHTS, copy);
}

const struct dgo_engine dgo_transformers = {
    .name = "transformers",
    .what = "a device map of whole layers for Accelerate; safetensors as PyTorch loads them",
    .binary = "python3",
    .binary_shared = true,
    .formats = 1u << DGO_FORMAT_SAFETENSORS,
    .plan = plan,
    .command = command,
    .name_devices = ranked_name_devices,
    .read_line = read_line,
    .read_probe = ranked_read_probe,
};
