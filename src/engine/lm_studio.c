/* lm_studio.c - LM Studio's command line, lms: how much goes to the cards, not which layer where.
 */
#include "build.h"
#include "llama_cpp.h"
#include "ranked.h"

#include <stdio.h>
#include <string.h>

#define LOAD "src/subcommands/load.ts" /* of lmstudio-ai/lms */

static const struct engine_flag flags[] = {
    {"--gpu", 0, 0, LOAD},        {"--context-length", 0, 0, LOAD},
    {"--identifier", 0, 0, LOAD}, {"--parallel", 0, 0, LOAD}, /* since January 2026 */
    {"-y --yes", 0, 0, LOAD},     {0},
};

/* It spreads by its own setting; only a plan for one card is what it will do. */
static enum dgo_status check(const struct dgo_settings *settings, struct dgo_error *err)
{
    if (settings->device_count > 1)
        return dgo_fail(
            err, DGO_EUNSUPPORTED,
            "lms cannot be told which layers go on which card (its window can: Hardware, "
            "GPUs); plan for one card with --use N, or for llama.cpp");
    if (settings->key_type != DGO_KV_F16 || settings->value_type != DGO_KV_F16)
        return dgo_fail(err, DGO_EUNSUPPORTED, "lms load takes no cache type; leave out --kv-type");
    if (settings->cpu_moe_layer_count)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "lms load cannot keep experts in host memory; plan for llama.cpp");
    return DGO_OK;
}

static enum dgo_status command(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *made,
                               struct dgo_error *err)
{
    static const char *const decided[] = {"--gpu", "--context-length", NULL};
    const struct dgo_settings *settings = &plan->settings;
    struct dgo_command building = {0};
    struct command_builder builder = {
        .command = &building, .engine = "lms", .probe = probe, .flags = flags, .err = err};
    const bool all = settings->gpu_layer_count > model->layer_count;
    char share[16];

    builder.status = check(settings, err);
    snprintf(share, sizeof share, "%.3f",
             (double)settings->gpu_layer_count / (model->layer_count + 1.0));
    build_word(&builder, options->binary, NULL);
    build_word(&builder, "load", NULL);
    build_word(&builder, options->model_path, "as `lms ls` names it after `lms import`");
    build_flag(&builder, BUILD_NEEDED, "--gpu",
               settings->device_count == 0 ? "off"
               : all                       ? "max"
                                           : share,
               "share of the layers on the card");
    build_flag_u32(&builder, BUILD_NEEDED, "--context-length", settings->ctx_tokens,
                   "context in tokens");
    if (settings->slot_count > 1)
        build_flag_u32(&builder, BUILD_NEEDED, "--parallel", settings->slot_count,
                       "requests served side by side");
    build_flag(&builder, BUILD_WANTED, "-y", NULL, "no question asked");
    llama_cpp_environment(&builder, machine, settings);
    ranked_extra(&builder, options, decided);
    return build_end(&builder, made);
}

const struct dgo_engine dgo_lm_studio = {
    .name = "lmstudio",
    .what = "lms loads into LM Studio: one card, a share of the layers; GGUF",
    .binary = "lms",
    .formats = 1u << DGO_FORMAT_GGUF,
    .command = command,
    .name_devices = llama_cpp_name_devices,
    .read_line = llama_cpp_read_line,
    .read_probe = ranked_read_probe,
};
