/* llama_cpp_command.c - plan to llama-server's command line and environment. */
#include "build.h"
#include "llama_cpp.h"

#include <math.h>
#include <string.h>

/* Variables of the parent that would make the engine run something else than the plan.  What
 * chooses a backend (GGML_BACKEND_PATH) stays: it belongs to the installation. */
static const struct dgo_env_change removals[] = {
    {"LLAMA_ARG_*", NULL,
     "every flag of llama-server has a variable; a left-over one would "
     "change the plan"},
    {"LLAMA_LOG_*", NULL, "the log must stay as this program reads it"},
    {"LLAMA_API_KEY", NULL, "a key from outside would lock out the health check"},
    {"LLAMA_ATTN_ROT_DISABLE", NULL, "it changes the size of the buffers"},
    {"LLAMA_GRAPH_REUSE_DISABLE", NULL, "it changes the speed"},
    {"MTMD_BACKEND_DEVICE", NULL, "it would move parts of the model to another device"},
    {"GGML_CUDA_*", NULL, "they change how much memory is used, and where"},
    {"GGML_VK_*", NULL, "they change which devices are seen"},
    {"GGML_OP_OFFLOAD_MIN_BATCH", NULL, "it changes what is computed where"},
    {"CUDA_VISIBLE_DEVICES", NULL, "the plan says which cards are seen"},
    {"HIP_VISIBLE_DEVICES", NULL, "the plan says which cards are seen"},
    {"ROCR_VISIBLE_DEVICES", NULL, "it would renumber the cards of HIP_VISIBLE_DEVICES"},
    {"GPU_DEVICE_ORDINAL", NULL, "it would renumber the cards of HIP_VISIBLE_DEVICES"},
    {"ONEAPI_DEVICE_SELECTOR", NULL, "the plan says which cards are seen"},
    {"ZE_AFFINITY_MASK", NULL, "the plan says which cards are seen"},
};

static const struct llama_cpp_vendor *vendor_of(const struct dgo_machine *machine, uint32_t gpu)
{
    return llama_cpp_vendor(machine->gpu[gpu].vendor);
}

/* UUIDs only when all cards of the list have one: the runtime does not mix them with indexes.  A
 * simulated card's UUID belongs to no driver. */
static bool uuids_known(const struct dgo_machine *machine, const struct dgo_settings *settings,
                        const struct llama_cpp_vendor *vendor)
{
    if (!dgo_machine_is_live(machine) || !vendor->by_uuid)
        return false;
    for (uint32_t d = 0; d < settings->device_count; d++) {
        const uint32_t gpu = settings->device_gpu[d];

        if (machine->gpu_node[gpu] == 0 && vendor_of(machine, gpu) == vendor &&
            !machine->gpu[gpu].uuid[0])
            return false;
    }
    return true;
}

/* The card's number as its own runtime counts: cards of that vendor, in bus order. */
static uint32_t runtime_index(const struct dgo_machine *machine, uint32_t gpu)
{
    uint32_t index = 0;

    for (uint32_t i = 0; i < gpu; i++)
        index += machine->gpu_node[i] == machine->gpu_node[gpu] &&
                 vendor_of(machine, i) == vendor_of(machine, gpu);
    return index;
}

static void visible_list(const struct dgo_machine *machine, const struct dgo_settings *settings,
                         const struct llama_cpp_vendor *vendor, struct dgo_text *list)
{
    const bool by_uuid = uuids_known(machine, settings, vendor);

    for (uint32_t d = 0; d < settings->device_count; d++) {
        const uint32_t gpu = settings->device_gpu[d];

        if (machine->gpu_node[gpu] > 0 || vendor_of(machine, gpu) != vendor)
            continue;
        if (list->length)
            dgo_text_add(list, ",");
        if (by_uuid)
            dgo_text_add(list, machine->gpu[gpu].uuid);
        else
            dgo_text_addf(list, "%u", (unsigned)runtime_index(machine, gpu));
    }
}

void llama_cpp_visible(struct command_builder *builder, const struct dgo_machine *machine,
                       const struct dgo_settings *settings)
{
    uint32_t done = 0;

    for (uint32_t d = 0; d < settings->device_count; d++) {
        const struct llama_cpp_vendor *vendor = vendor_of(machine, settings->device_gpu[d]);
        char list[DGO_GPU_MAX * (DGO_GPU_TEXT_MAX + 1)];
        struct dgo_text text = DGO_TEXT(list);

        if (machine->gpu_node[settings->device_gpu[d]] > 0 || done & 1u << vendor->vendor)
            continue;
        done |= 1u << vendor->vendor;
        visible_list(machine, settings, vendor, &text);
        build_environment(builder, vendor->visible, list,
                          uuids_known(machine, settings, vendor)
                              ? "the cards of the plan, in its order; UUIDs survive a card that is "
                                "moved or missing"
                              : "the cards of the plan, in its order");
    }
    if (done == 0)
        build_environment(builder, "CUDA_VISIBLE_DEVICES", "",
                          "the plan uses no card of this machine; a visible one would lose memory "
                          "to a context");
}

void llama_cpp_environment(struct command_builder *builder, const struct dgo_machine *machine,
                           const struct dgo_settings *settings)
{
    for (size_t i = 0; i < sizeof removals / sizeof removals[0]; i++)
        build_environment(builder, removals[i].name, NULL, removals[i].why);
    build_environment(builder, "CUDA_DEVICE_ORDER", "PCI_BUS_ID",
                      "CUDA's own order is by speed, the driver's and this program's by bus");
    llama_cpp_visible(builder, machine, settings);
    build_environment(builder, "GGML_NO_BACKTRACE", "1", "a crash must not start a debugger");
}

bool llama_cpp_servers(const struct dgo_machine *machine, const struct dgo_settings *settings,
                       char *text, size_t size)
{
    struct dgo_text list = {.data = text, .size = size};

    text[0] = '\0';
    for (uint32_t node = 1; node < machine->node_count; node++)
        for (uint32_t d = 0; d < settings->device_count; d++)
            if (machine->gpu_node[settings->device_gpu[d]] == node) {
                dgo_text_addf(&list, "%s%s:%u", list.length ? "," : "", machine->node[node].host,
                              (unsigned)machine->node[node].port);
                break;
            }
    return list.length > 0;
}

static void add_devices(struct command_builder *builder, const struct dgo_machine *machine,
                        const struct dgo_settings *settings)
{
    char list[LLAMA_LIST_MAX];

    llama_cpp_device_list(machine, settings, ",", list);
    /* Builds before 2025 lack the flag; they use the visible cards in their order, which is the
     * same. */
    build_flag(builder, BUILD_WANTED, "-dev --device", settings->device_count ? list : "none",
               settings->device_count ? "the cards in the plan's order" : "the plan uses no card");
}

static void add_tensor_split(struct command_builder *builder, const struct dgo_settings *settings)
{
    char list[LLAMA_LIST_MAX];

    if (!settings->tensor_split_given || settings->device_count < 2 ||
        settings->split_mode == DGO_SPLIT_NONE)
        return;
    llama_cpp_share_list(settings, ",", list);
    build_flag(builder, BUILD_NEEDED, "-ts --tensor-split", list,
               settings->split_mode == DGO_SPLIT_TENSOR
                   ? "heads of each card"
                   : "layers of each card, the output layer counted with the last");
}

static void add_placement(struct command_builder *builder, const struct dgo_machine *machine,
                          const struct dgo_settings *settings)
{
    char servers[DGO_NODE_MAX * (DGO_HOST_TEXT_MAX + 8)];

    if (llama_cpp_servers(machine, settings, servers, sizeof servers))
        build_flag(builder, BUILD_NEEDED, "--rpc", servers,
                   "the machines whose cards the plan uses; no password, no encryption");
    add_devices(builder, machine, settings);
    build_flag_u32(builder, BUILD_NEEDED, "-ngl --gpu-layers --n-gpu-layers",
                   settings->device_count ? settings->gpu_layer_count : 0,
                   "layers on the cards, the output layer counted");
    if (settings->split_mode == DGO_SPLIT_NONE && settings->device_count > 0) {
        build_flag(builder, BUILD_NEEDED, "-sm --split-mode", "none", "one card holds everything");
        build_flag(builder, BUILD_NEEDED, "-mg --main-gpu", "0", "the first card of the list");
    } else if (settings->split_mode == DGO_SPLIT_TENSOR) {
        build_flag(builder, BUILD_NEEDED, "-sm --split-mode", "tensor",
                   "every layer on every card: all read at the same time");
    } else if (settings->device_count > 1) {
        build_flag(builder, BUILD_NEEDED, "-sm --split-mode", "layer",
                   "whole layers on each card: the least traffic between them");
    }
    add_tensor_split(builder, settings);
    if (settings->cpu_moe_layer_count)
        build_flag_u32(builder, BUILD_NEEDED, "-ncmoe --n-cpu-moe", settings->cpu_moe_layer_count,
                       "experts of the first layers stay in host memory");
    if (!settings->op_offload)
        build_flag(builder, BUILD_NEEDED, "--no-op-offload", NULL,
                   "weights in host memory are used there, not copied to a card");
    /* Builds without the flag have no such adjustment. */
    build_flag(builder, BUILD_WANTED, "-fit --fit", "off",
               "the plan is exact; the engine must not change it");
}

/* -fa took no value before August 2025.  A build without a number (a shallow clone) is dated by its
 * other flags. */
static bool fa_takes_value(const struct dgo_probe *probe)
{
    if (!probe || probe->build >= LLAMA_FA_VALUE_BUILD)
        return true;
    return probe->build == 0 &&
           (dgo_probe_has(probe, "--fit") || dgo_probe_has(probe, "--cache-ram"));
}

static void add_flash_attention(struct command_builder *builder,
                                const struct dgo_settings *settings)
{
    const bool on = settings->flash_attention == DGO_FA_ON;
    const char *why = on ? "attention without its big intermediate matrix"
                         : "the plan was made without flash attention";

    if (fa_takes_value(builder->probe))
        build_flag(builder, BUILD_NEEDED, "-fa --flash-attn", on ? "on" : "off", why);
    else if (on)
        build_flag(builder, BUILD_NEEDED, "-fa --flash-attn", NULL, why);
}

static void add_cache(struct command_builder *builder, const struct dgo_model *model,
                      const struct dgo_settings *settings)
{
    const bool unified = settings->kv_unified;
    const bool plain_cache = settings->key_type == DGO_KV_F16 && settings->value_type == DGO_KV_F16;
    const enum build_need type_need = plain_cache ? BUILD_WANTED : BUILD_NEEDED;

    /* Without the second spelling a build keeps the slots apart anyway. */
    if (unified)
        build_flag(builder, settings->slot_count > 1 ? BUILD_NEEDED : BUILD_WANTED,
                   "-kvu --kv-unified", NULL, "the slots share one pool of tokens");
    else
        build_flag(builder, BUILD_WANTED, "-no-kvu --no-kv-unified", NULL,
                   "each slot has its own share of the tokens");
    add_flash_attention(builder, settings);
    build_flag(builder, type_need, "-ctk --cache-type-k", dgo_kv_type_name(settings->key_type),
               "precision of the keys in the cache");
    build_flag(builder, type_need, "-ctv --cache-type-v", dgo_kv_type_name(settings->value_type),
               "precision of the values in the cache");
    if (settings->kv_on_host)
        build_flag(builder, BUILD_NEEDED, "-nkvo --no-kv-offload", NULL,
                   "the cache stays in host memory");
    if (settings->swa_full)
        build_flag(builder, model->sliding_window ? BUILD_NEEDED : BUILD_WANTED, "--swa-full", NULL,
                   "layers with a window keep the whole context");
}

static void add_context(struct command_builder *builder, const struct dgo_model *model,
                        const struct dgo_settings *settings)
{
    build_flag_u32(builder, BUILD_NEEDED, "-c --ctx-size", settings->ctx_tokens,
                   "context of all slots together");
    build_flag_u32(builder, BUILD_NEEDED, "-np --parallel", settings->slot_count,
                   "requests served side by side");
    build_flag_u32(builder, BUILD_NEEDED, "-b --batch-size", settings->batch_tokens,
                   "tokens of a prompt taken at once");
    build_flag_u32(builder, BUILD_NEEDED, "-ub --ubatch-size", settings->ubatch_tokens,
                   "tokens computed at once: sets the size of the compute buffers");
    add_cache(builder, model, settings);
}

/* The block drafts with a cache of its own, which is not of the model's type unless it is told. */
static void add_draft(struct command_builder *builder, const struct dgo_settings *settings)
{
    if (!settings->own_draft)
        return;
    build_flag(builder, BUILD_NEEDED, "--spec-type", "draft-mtp",
               "the model's own next-token block guesses ahead");
    build_flag_u32(builder, BUILD_NEEDED, "--spec-draft-n-max", settings->rollback_tokens,
                   "tokens that it guesses at once");
    build_flag(builder, BUILD_NEEDED, "-ctkd --cache-type-k-draft --spec-draft-type-k",
               dgo_kv_type_name(settings->draft_key_type), "precision of the keys in its cache");
    build_flag(builder, BUILD_NEEDED, "-ctvd --cache-type-v-draft --spec-draft-type-v",
               dgo_kv_type_name(settings->draft_value_type),
               "precision of the values in its cache");
}

static void add_log(struct command_builder *builder)
{
    build_flag(builder, BUILD_WANTED, "-lv --verbosity --log-verbosity", "4",
               "below level 4 the engine does not say what it allocates");
    /* The stamp tells a line of the log from text that a model or a client brought into it. */
    build_flag(builder, BUILD_WANTED, "--log-prefix", NULL, "marks each message's first line");
    build_flag(builder, BUILD_WANTED, "--log-timestamps", NULL, "marks each message's first line");
    /* Before it took a value it switched colours on; builds that know --fit take one. */
    if (build_spelling(builder, "--fit"))
        build_flag(builder, BUILD_WANTED, "--log-colors", "off", "plain text, as it is read back");
}

static void add_server(struct command_builder *builder, const struct dgo_launch_options *options)
{
    build_threads(builder, "-t --threads", options);
    build_flag(builder, BUILD_NEEDED, "--host", options->host, "where it listens");
    build_flag_u32(builder, BUILD_NEEDED, "--port", options->port, "where it listens");
    build_flag(builder, BUILD_WANTED, "--cors-origins", "localhost",
               "pages of other sites must not talk to it from a browser");
    add_log(builder);
    for (uint32_t i = 0; i < options->extra_count; i++)
        build_word(builder, options->extra_args[i], i == 0 ? "given by the user" : NULL);
}

/* What the plan has decided: given once more after it, the engine would take that one, and what is
 * shown would not be what runs. */
static enum dgo_status check_extra(const struct dgo_launch_options *options, struct dgo_error *err)
{
    static const char *const decided[] = {
        "-m",
        "--model",
        "-c",
        "--ctx-size",
        "-np",
        "--parallel",
        "-b",
        "--batch-size",
        "-ub",
        "--ubatch-size",
        "-ngl",
        "--gpu-layers",
        "--n-gpu-layers",
        "-ts",
        "--tensor-split",
        "-dev",
        "--device",
        "-sm",
        "--split-mode",
        "-mg",
        "--main-gpu",
        "-fa",
        "--flash-attn",
        "-ctk",
        "--cache-type-k",
        "-ctv",
        "--cache-type-v",
        "-kvu",
        "--kv-unified",
        "-nkvo",
        "--no-kv-offload",
        "-ncmoe",
        "--n-cpu-moe",
        "-cmoe",
        "--cpu-moe",
        "-fit",
        "--fit",
        "--host",
        "--port",
        "-lv",
        "--verbosity",
        "--log-verbosity",
    };

    for (uint32_t i = 0; i < options->extra_count; i++)
        if (strstr(options->extra_args[i], "draft-mtp"))
            return dgo_fail(err, DGO_EUSAGE,
                            "draft-mtp after -- takes memory that the plan would not know of; use "
                            "--draft N");
    for (uint32_t i = 0; i < options->extra_count; i++)
        for (size_t d = 0; d < sizeof decided / sizeof decided[0]; d++)
            if (strcmp(options->extra_args[i], decided[d]) == 0)
                return dgo_fail(err, DGO_EUSAGE,
                                "%s after -- is decided by the plan and would make it untrue; use "
                                "this program's own option, or `estimate` for flags of your own",
                                decided[d]);
    return DGO_OK;
}

static enum dgo_status check(const struct dgo_machine *machine, const struct dgo_settings *settings,
                             const struct dgo_launch_options *options, struct dgo_error *err)
{
    if (!options->binary || !options->binary[0])
        return dgo_fail(err, DGO_EINVAL, "no llama-server was given");
    if (!options->model_path || !options->model_path[0])
        return dgo_fail(err, DGO_EINVAL, "no model file was given");
    if (settings->device_count > DGO_GPU_MAX)
        return dgo_fail(err, DGO_ELIMIT, "%u devices, the engine takes at most %d",
                        (unsigned)settings->device_count, DGO_GPU_MAX);
    for (uint32_t d = 0; d < settings->device_count; d++)
        if (settings->device_gpu[d] >= machine->gpu_count)
            return dgo_fail(err, DGO_EINVAL, "the plan uses GPU %u, the machine has %u",
                            (unsigned)settings->device_gpu[d], (unsigned)machine->gpu_count);
    return check_extra(options, err);
}

enum dgo_status llama_cpp_command(const struct dgo_machine *machine, const struct dgo_model *model,
                                  const struct dgo_plan *plan,
                                  const struct dgo_launch_options *options,
                                  const struct dgo_probe *probe, struct dgo_command *command,
                                  struct dgo_error *err)
{
    struct dgo_command made = {0};
    struct command_builder builder = {.command = &made,
                                      .engine = "llama-server",
                                      .probe = probe,
                                      .source = "common/arg.cpp",
                                      .err = err};

    builder.status = check(machine, &plan->settings, options, err);
    build_word(&builder, options->binary ? options->binary : "", NULL);
    build_flag(&builder, BUILD_NEEDED, "-m --model", options->model_path, "the model file");
    add_placement(&builder, machine, &plan->settings);
    add_context(&builder, model, &plan->settings);
    add_draft(&builder, &plan->settings);
    add_server(&builder, options);
    llama_cpp_environment(&builder, machine, &plan->settings);
    return build_end(&builder, command);
}
