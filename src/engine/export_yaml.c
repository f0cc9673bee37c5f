/* export_yaml.c - files of other tools: compose, llama-swap, llama.cpp presets, Modelfile, vLLM,
 * TabbyAPI, device maps. */
#include "export.h"
#include "ranked.h"

#include <stdlib.h>
#include <string.h>

/* ---- compose ---- */

static const struct {
    const char *engine, *image, *program; /* the program's path inside */
} images[] = {
    {"llama.cpp", "ghcr.io/ggml-org/llama.cpp:server-cuda", "/app/llama-server"},
    {"vllm", "vllm/vllm-openai:latest", "vllm"},
    {"sglang", "lmsysorg/sglang:latest", "sglang"},
    {"ollama", "ollama/ollama:latest", "ollama"},
    {"tgi", "ghcr.io/huggingface/text-generation-inference:latest", "text-generation-launcher"},
};

static void compose_devices(const struct dgo_export_question *question, struct dgo_text *text)
{
    const struct dgo_settings *settings = &question->plan->settings;

    dgo_text_add(text, "    deploy:\n      resources:\n        reservations:\n          devices:\n"
                       "            - driver: nvidia\n              device_ids: [");
    for (uint32_t d = 0; d < settings->device_count; d++) {
        const struct dgo_gpu *gpu = &question->machine->gpu[settings->device_gpu[d]];
        char index[8];
        struct dgo_text number = DGO_TEXT(index);

        dgo_text_addf(&number, "%u", (unsigned)settings->device_gpu[d]);
        dgo_text_add(text, d ? ", " : "");
        export_quoted(text,
                      gpu->uuid[0] && dgo_machine_is_live(question->machine) ? gpu->uuid : index);
    }
    dgo_text_add(text, "]\n              capabilities: [gpu]\n");
}

EXPORT(export_compose)
{
    const struct dgo_command *command = question->command;
    const char *image = NULL, *program = NULL;
    char order[DGO_GPU_MAX * 4] = "";
    struct dgo_text cards = DGO_TEXT(order);

    export_card_order(question, 0, &cards);
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        if (strcmp(images[i].engine, question->engine->name) == 0) {
            image = images[i].image;
            program = images[i].program;
        }
    if (!image)
        return dgo_fail(err, DGO_EUNSUPPORTED, "no published image of %s is known to us",
                        question->engine->name);
    if (question->machine->node_count > 1)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "a compose file is about one machine; export k8s is about several");
    export_head(question, text, "#");
    dgo_text_addf(text, "services:\n  %s:\n    image: %s\n    entrypoint: [%s]\n    command:\n",
                  question->name, image, program);
    for (uint32_t i = 1; i < command->arg_count; i++) {
        /* Inside it must listen on all addresses; the host's side is bound below. */
        const bool host = i > 1 && (strcmp(command->arg[i - 1], "--host") == 0 ||
                                    strcmp(command->arg[i - 1], "--hostname") == 0);

        dgo_text_add(text, "      - ");
        export_quoted(text, host ? "0.0.0.0" : command->arg[i]);
        dgo_text_add(text, "\n");
    }
    dgo_text_add(text, "    environment:\n");
    for (uint32_t i = 0; i < command->env_count; i++)
        if (command->env[i].value) {
            const char *name = command->env[i].name;

            dgo_text_addf(text, "      %s: ", name);
            export_quoted(text, strcmp(name, "OLLAMA_HOST") == 0 ? "0.0.0.0:11434"
                                : strcmp(name, "CUDA_VISIBLE_DEVICES") == 0
                                    ? order
                                    : command->env[i].value);
            dgo_text_add(text, "\n");
        }
    dgo_text_add(text, "    volumes:\n      - type: bind\n        source: ");
    export_quoted(text, question->model->path);
    dgo_text_add(text, "\n        target: ");
    export_quoted(text, question->model->path);
    dgo_text_addf(text, "\n        read_only: true\n    ports:\n      - \"%s:%u:%u\"\n",
                  question->host, (unsigned)question->port,
                  strcmp(question->engine->name, "ollama") == 0 ? 11434u
                                                                : (unsigned)question->port);
    dgo_text_add(text, "    ipc: host\n    security_opt: [\"no-new-privileges:true\"]\n"
                       "    restart: on-failure\n");
    compose_devices(question, text);
    return DGO_OK;
}

/* ---- llama-swap ---- */

EXPORT(export_llama_swap)
{
    const struct dgo_command *command = question->command;
    bool any = false;

    (void)err;
    export_head(question, text, "#");
    dgo_text_add(text, "models:\n  ");
    export_quoted(text, question->name);
    dgo_text_add(text, ":\n    cmd: |\n     ");
    for (uint32_t i = 0; i < command->arg_count; i++) {
        dgo_text_add(text, " ");
        if (i > 0 && strcmp(command->arg[i - 1], "--port") == 0)
            dgo_text_add(text, "${PORT}"); /* llama-swap chooses it */
        else
            dgo_word_quote(text, command->arg[i]);
    }
    dgo_text_addf(text, "\n    proxy: \"http://%s:${PORT}\"\n    checkEndpoint: %s\n",
                  question->host,
                  question->engine->health_path ? question->engine->health_path : "none");
    for (uint32_t i = 0; i < command->env_count; i++) {
        if (!command->env[i].value)
            continue;
        dgo_text_add(text, any ? "" : "    env:\n");
        any = true;
        dgo_text_add(text, "      - \"");
        dgo_text_addf(text, "%s=", command->env[i].name);
        for (const char *at = command->env[i].value; *at; at++)
            dgo_text_addf(text, *at == '"' || *at == '\\' ? "\\%c" : "%c", *at);
        dgo_text_add(text, "\"\n");
    }
    return DGO_OK;
}

/* ---- llama.cpp's presets ---- */

/* What the router decides for its children. */
static bool is_router_flag(const char *flag)
{
    static const char *const flags[] = {
        "-m",           "--host",           "--port",      "-lv", "--cors-origins",
        "--log-prefix", "--log-timestamps", "--log-colors"};

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (strcmp(flags[i], flag) == 0)
            return true;
    return false;
}

EXPORT(export_llama_preset)
{
    const struct dgo_command *command = question->command;

    if (strcmp(question->engine->name, "llama.cpp") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED, "presets.ini is llama.cpp's, not of %s",
                        question->engine->name);
    export_head(question, text, ";");
    dgo_text_addf(text, "version = 1\n\n[%s]\nmodel = %s\n", question->name, question->model->path);
    for (uint32_t i = 1; i < command->arg_count; i++) {
        const char *flag = command->arg[i];

        if (!command->why[i] || flag[0] != '-' || is_router_flag(flag))
            continue;
        /* The key of -no-kvu is kv-unified, which it turns off. */
        if (strcmp(flag, "-no-kvu") == 0)
            dgo_text_add(text, "kv-unified = false\n");
        else if (i + 1 < command->arg_count && !command->why[i + 1])
            dgo_text_addf(text, "%s = %s\n", flag + strspn(flag, "-"), command->arg[i + 1]);
        else
            dgo_text_addf(text, "%s = true\n", flag + strspn(flag, "-"));
    }
    return DGO_OK;
}

/* ---- Ollama ---- */

EXPORT(export_modelfile)
{
    const struct dgo_settings *settings = &question->plan->settings;

    if (question->model->format != DGO_FORMAT_GGUF || question->plan->partitioned)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "a Modelfile is for a GGUF model; plan with --engine ollama");
    export_head(question, text, "#");
    dgo_text_addf(text, "# ollama create %s -f Modelfile\n", question->name);
    if (settings->device_count > 1)
        dgo_text_add(text, "# The split over the cards is not in here: it is in the environment of "
                           "`ollama serve` (export env --engine ollama).\n");
    dgo_text_addf(
        text, "FROM %s\nPARAMETER num_ctx %u\nPARAMETER num_batch %u\nPARAMETER num_gpu %u\n",
        question->model->path,
        (unsigned)(settings->ctx_tokens / (settings->slot_count ? settings->slot_count : 1)),
        (unsigned)settings->ubatch_tokens,
        (unsigned)(settings->device_count ? settings->gpu_layer_count : 0));
    return DGO_OK;
}

/* ---- vLLM, TabbyAPI ---- */

static bool is_number(const char *text)
{
    return text[0] && text[strspn(text, "0123456789.")] == '\0';
}

static void yaml_scalar(struct dgo_text *text, const char *value)
{
    if (is_number(value) || strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
        dgo_text_add(text, value);
    else
        export_quoted(text, value);
}

EXPORT(export_vllm)
{
    const struct dgo_command *command = question->command;

    if (strcmp(question->engine->name, "vllm") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED, "such a file is vLLM's; plan with --engine vllm");
    export_head(question, text, "#");
    dgo_text_add(text, "# vllm serve --config FILE; the environment is not in it (export env):\n");
    for (uint32_t i = 0; i < command->env_count; i++)
        if (command->env[i].value)
            dgo_text_addf(text, "#   %s=%s\n", command->env[i].name, command->env[i].value);
    dgo_text_add(text, "model: ");
    export_quoted(text, question->model->path);
    dgo_text_add(text, "\n");
    for (uint32_t i = 2; i < command->arg_count; i++) {
        if (!command->why[i] || strncmp(command->arg[i], "--", 2) != 0)
            continue;
        dgo_text_addf(text, "%s: ", command->arg[i] + 2);
        if (i + 1 < command->arg_count && !command->why[i + 1])
            yaml_scalar(text, command->arg[i + 1]);
        else
            dgo_text_add(text, "true");
        dgo_text_add(text, "\n");
    }
    return DGO_OK;
}

/* "--gpu-split" as the key of its file: gpu_split. */
static void tabby_key(struct dgo_text *text, const char *flag)
{
    for (const char *at = flag + 2; *at; at++)
        dgo_text_addf(text, "%c", *at == '-' ? '_' : *at);
}

EXPORT(export_tabbyapi)
{
    const struct dgo_command *command = question->command;

    if (strcmp(question->engine->name, "tabbyapi") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "such a file is TabbyAPI's; plan with --engine tabbyapi");
    export_head(question, text, "#");
    dgo_text_addf(text, "network:\n  host: %s\n  port: %u\nmodel:\n", question->host,
                  (unsigned)question->port);
    for (uint32_t i = 1; i < command->arg_count; i++) {
        const char *flag = command->arg[i];

        if (!command->why[i] || strncmp(flag, "--", 2) != 0 || strcmp(flag, "--host") == 0 ||
            strcmp(flag, "--port") == 0)
            continue;
        dgo_text_add(text, "  ");
        tabby_key(text, flag);
        dgo_text_add(text, ": ");
        if (strcmp(flag, "--gpu-split") == 0) {
            dgo_text_add(text, "[");
            for (uint32_t w = i + 1; w < command->arg_count && !command->why[w]; w++)
                dgo_text_addf(text, "%s%s", w > i + 1 ? ", " : "", command->arg[w]);
            dgo_text_add(text, "]");
        } else if (i + 1 < command->arg_count) {
            yaml_scalar(text, command->arg[i + 1]);
        }
        dgo_text_add(text, "\n");
    }
    return DGO_OK;
}

EXPORT(export_accelerate)
{
    if (strcmp(question->engine->name, "transformers") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "a device map is for Transformers; plan with --engine transformers");
    if (!transformers_device_map(question->model, question->plan, text))
        return dgo_fail(err, DGO_ELIMIT, "the device map is too long");
    dgo_text_add(text, "\n");
    return DGO_OK;
}
