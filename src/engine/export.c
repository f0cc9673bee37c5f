/* export.c - the list of export formats, and what they share. */
#include "export.h"

#include <string.h>
#include <strings.h>

/* A new format is one function and one row. */
const struct dgo_export dgo_exports[] = {
    {"systemd", "a user unit for this launch, hardened", "NAME.service", true, false,
     export_systemd},
    {"systemd-daemon", "a user unit for the daemon (dualgpuopt serve), hardened",
     "dualgpuopt.service", false, false, export_systemd_daemon},
    {"compose", "a compose file: the cards by UUID, the model read-only", "compose.yaml", true,
     true, export_compose},
    {"llama-swap", "a models: entry for llama-swap's config.yaml", "config.yaml", true, false,
     export_llama_swap},
    {"preset", "a section for llama-server --models-preset", "presets.ini", true, false,
     export_llama_preset},
    {"modelfile", "a Modelfile for `ollama create`", "Modelfile", true, false, export_modelfile},
    {"vllm", "a file for `vllm serve --config`", "vllm.yaml", true, false, export_vllm},
    {"tabbyapi", "TabbyAPI's config.yml", "config.yml", true, false, export_tabbyapi},
    {"accelerate", "a device map for Transformers and Accelerate, as JSON", "device_map.json", true,
     false, export_accelerate},
    {"env", "the changed environment, NAME=value a line", "NAME.env", true, false, export_env},
    {"sh", "a shell script that starts exactly this", "NAME.sh", true, false, export_sh},
    {"rpc", "what to start on each machine for llama.cpp over several", "NAME.txt", true, true,
     export_rpc},
    {"ray", "vLLM over several machines by Ray", "NAME.txt", true, true, export_ray},
    {"native", "vLLM or SGLang over several machines by their own processes", "NAME.txt", true,
     true, export_native},
    {"k8s", "a LeaderWorkerSet for Kubernetes", "NAME.yaml", true, true, export_k8s},
    {0},
};

const struct dgo_export *dgo_export_find(const char *name)
{
    for (const struct dgo_export *format = dgo_exports; format->name; format++)
        if (strcasecmp(format->name, name) == 0)
            return format;
    return NULL;
}

static enum dgo_status check_cards(const struct dgo_export *format,
                                   const struct dgo_export_question *question,
                                   struct dgo_error *err)
{
    const struct dgo_settings *settings = &question->plan->settings;

    for (uint32_t d = 0; d < settings->device_count; d++) {
        const struct dgo_gpu *gpu = &question->machine->gpu[settings->device_gpu[d]];

        if (gpu->vendor == DGO_VENDOR_AMD || gpu->vendor == DGO_VENDOR_INTEL)
            return dgo_fail(err, DGO_EUNSUPPORTED,
                            "export %s gives out NVIDIA's cards only, and the plan uses %s; export "
                            "systemd and sh start engines on any",
                            format->name, gpu->name);
    }
    return DGO_OK;
}

enum dgo_status dgo_export_write(const struct dgo_export *format,
                                 const struct dgo_export_question *question, struct dgo_text *text,
                                 struct dgo_error *err)
{
    enum dgo_status status = format->nvidia ? check_cards(format, question, err) : DGO_OK;

    if (status == DGO_OK)
        status = format->write(question, text, err);
    if (status == DGO_OK && text->truncated)
        return dgo_fail(err, DGO_ELIMIT, "the %s file is longer than %zu bytes", format->name,
                        text->size);
    return status;
}

void export_quoted(struct dgo_text *text, const char *value)
{
    dgo_text_add(text, "\"");
    for (const char *at = value; *at; at++) {
        const unsigned char c = (unsigned char)*at;

        if (c == '"' || c == '\\')
            dgo_text_addf(text, "\\%c", c);
        else if (c == '\n')
            dgo_text_add(text, "\\n");
        else if (c < 0x20 || c == 0x7f)
            dgo_text_addf(text, "\\u%04x", c);
        else
            dgo_text_add_bytes(text, at, 1);
    }
    dgo_text_add(text, "\"");
}

void export_head(const struct dgo_export_question *question, struct dgo_text *text,
                 const char *comment)
{
    char origin[DGO_ORIGIN_TEXT_MAX];

    dgo_text_addf(text, "%s Written by dualgpuopt " DGO_VERSION " for %s.\n", comment,
                  question->engine->name);
    if (dgo_origin_text(&question->machine->origin, origin)[0])
        dgo_text_addf(text, "%s %s: planned for cards of a %s; indexes may differ where it runs.\n",
                      comment, origin,
                      question->machine->origin.recorded ? "recording" : "machine file");
}

const char *export_value(const struct dgo_command *command, const char *flag)
{
    for (uint32_t i = 1; i + 1 < command->arg_count; i++)
        if (strcmp(command->arg[i], flag) == 0 && command->why[i])
            return command->arg[i + 1];
    return NULL;
}

const char *export_variable(const struct dgo_command *command, const char *name)
{
    for (uint32_t i = 0; i < command->env_count; i++)
        if (command->env[i].value && strcmp(command->env[i].name, name) == 0)
            return command->env[i].value;
    return "";
}

uint32_t export_nodes(const struct dgo_export_question *question, uint32_t nodes[DGO_NODE_MAX])
{
    uint32_t count = 1;

    nodes[0] = 0;
    for (uint32_t n = 1; n < question->machine->node_count; n++)
        if (export_node_card_count(question, n))
            nodes[count++] = n;
    return count;
}

uint32_t export_node_card_count(const struct dgo_export_question *question, uint32_t node)
{
    const struct dgo_settings *settings = &question->plan->settings;
    uint32_t count = 0;

    for (uint32_t d = 0; d < settings->device_count; d++)
        count += question->machine->gpu_node[settings->device_gpu[d]] == node;
    return count;
}

void export_node_cards(const struct dgo_export_question *question, uint32_t node,
                       struct dgo_text *list)
{
    const struct dgo_settings *settings = &question->plan->settings;
    const struct dgo_machine *machine = question->machine;

    for (uint32_t d = 0; d < settings->device_count; d++) {
        const uint32_t gpu = settings->device_gpu[d];
        uint32_t index = 0;

        if (machine->gpu_node[gpu] != node)
            continue;
        for (uint32_t g = 0; g < gpu; g++)
            index += machine->gpu_node[g] == node;
        dgo_text_addf(list, "%s%u", list->length ? "," : "", (unsigned)index);
    }
}

void export_card_order(const struct dgo_export_question *question, uint32_t node,
                       struct dgo_text *list)
{
    const struct dgo_settings *settings = &question->plan->settings;
    const struct dgo_machine *machine = question->machine;

    for (uint32_t d = 0; d < settings->device_count; d++) {
        uint32_t index = 0;

        if (machine->gpu_node[settings->device_gpu[d]] != node)
            continue;
        for (uint32_t other = 0; other < settings->device_count; other++)
            index += machine->gpu_node[settings->device_gpu[other]] == node &&
                     settings->device_gpu[other] < settings->device_gpu[d];
        dgo_text_addf(list, "%s%u", list->length ? "," : "", (unsigned)index);
    }
}
