/* cmd_export.c - `dualgpuopt export FORMAT MODEL`: a plan as a file of another tool. */
#include "cmd.h"
#include "export_formats.h"
#include "dgo_text.h"
#include "flow.h"
#include "print.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXPORT_BYTES = 256 * 1024 };

/* A word that units, containers and sections may be called: the model's file without its ending. */
static void name_of(const struct flow *flow, const struct options *options, char *name, size_t size)
{
    const char *given = option_text(options, OPTION_NAME);
    const char *slash = strrchr(flow->model->path, '/');
    const char *from = given ? given : slash ? slash + 1 : flow->model->path;
    size_t length = 0;

    for (; *from && length + 1 < size; from++) {
        if (!given && strcmp(from, ".gguf") == 0)
            break;
        name[length++] = isalnum((unsigned char)*from) ? (char)tolower((unsigned char)*from) : '-';
    }
    while (length && name[length - 1] == '-')
        length--;
    if (length == 0)
        name[length++] = 'm';
    name[length] = '\0';
}

static enum dgo_status find_format(const char *word, const struct dgo_export **format,
                                   struct dgo_error *err)
{
    char known[256];
    struct dgo_text text = DGO_TEXT(known);

    *format = dgo_export_find(word);
    if (*format)
        return DGO_OK;
    for (const struct dgo_export *one = dgo_exports; one->name; one++)
        dgo_text_addf(&text, "%s%s", text.length ? ", " : "", one->name);
    return dgo_fail(err, DGO_EUSAGE, "'%.40s' is no format; there are %s", word, known);
}

/* Engines of one file only: a model planned for another would not be what is exported. */
static void default_engine(const struct dgo_export *format, struct options *options)
{
    static const struct {
        const char *format, *engine;
    } rows[] = {{"modelfile", "ollama"},
                {"vllm", "vllm"},
                {"ray", "vllm"},
                {"tabbyapi", "tabbyapi"},
                {"accelerate", "transformers"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].format, format->name) == 0 && !option_given(options, OPTION_ENGINE) &&
            !option_given(options, OPTION_FOR)) {
            options->value[OPTION_FOR].given = true;
            options->value[OPTION_FOR].text = rows[i].engine;
        }
}

static int write_out(const struct cmd_call *call, const struct dgo_export *format,
                     const struct flow *flow)
{
    static char bytes[EXPORT_BYTES], program[PATH_MAX];
    struct dgo_text text = DGO_TEXT(bytes);
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    const char *path = option_text(&call->options, OPTION_OUTPUT);
    struct dgo_error err = {0};
    char name[48] = "dualgpuopt";

    program[length > 0 ? length : 0] = '\0';
    if (flow)
        name_of(flow, &call->options, name, sizeof name);
    if (flow_export(flow, format, name, program, path, &text, &err) != DGO_OK)
        return print_failure(&err);
    if (path)
        print_message("%s is written", path);
    else
        printf("%s", bytes);
    return 0;
}

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    struct options options = call->options;
    const struct dgo_export *format;
    struct dgo_error err = {0};
    enum dgo_status status = find_format(call->args[0], &format, &err);
    int exit_status;
    char *real;

    if (status != DGO_OK)
        return print_failure(&err);
    if (!format->needs_plan)
        return write_out(call, format, NULL);
    if (call->arg_count < 2) {
        print_message("usage: dualgpuopt export %s MODEL [options of plan]", format->name);
        return dgo_status_exit(DGO_EUSAGE);
    }
    default_engine(format, &options);
    flow_init(&flow, &options, call->environment);
    real = realpath(call->args[1], NULL); /* the file is used from another folder */
    status = flow_prepare(&flow, real ? real : call->args[1], false, &err);
    if (status == DGO_OK)
        status = flow_command(&flow, flow_shown_port(&flow), call->rest, call->rest_count, &err);
    exit_status = status == DGO_OK ? write_out(call, format, &flow) : print_failure(&err);
    flow_done(&flow);
    free(real);
    return exit_status;
}

const struct cmd cmd_export = {
    .name = "export",
    .does = "write a plan as a unit, a compose file, a preset, a manifest of another tool",
    .usage = "FORMAT [MODEL] [options of plan] [-- ENGINE FLAGS]",
    .examples = "dualgpuopt export systemd model.gguf -o ~/.config/systemd/user/model.service\n"
                "dualgpuopt export compose model-folder --engine vllm > compose.yaml\n"
                "dualgpuopt export llama-swap --preset coder\n"
                "dualgpuopt export k8s model-folder --engine vllm --node b=b.yaml --host 10.0.0.1",
    .details =
        "Formats: systemd, systemd-daemon, compose, llama-swap, preset (llama.cpp), modelfile,\n"
        "vllm, tabbyapi, accelerate, env, sh; over several machines: rpc, ray, native, k8s.",
    .arg_min = 1,
    .arg_max = 2,
    .takes_rest = true,
    .options = {OPTION_OUTPUT, OPTION_NAME, OPTION_PRESET, OPTION_GPUS, OPTION_NODE, OPTION_NETWORK,
                OPTIONS_OF_PLAN, OPTION_CONFIG, OPTION_STATE_DIR, OPTION_NVML, OPTION_VERBOSE,
                OPTION_HELP},
    .run = run,
};
