/* cmd_doctor.c - `dualgpuopt doctor`: what is there, what is missing, and the next step for each.
 */
#include "cmd.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "flow.h"
#include "presets.h"
#include "print.h"
#include "view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum grade { GOOD, WARN, BAD };

static const char *const grade_names[] = {[GOOD] = "ok", [WARN] = "warn", [BAD] = "fail"};

/* Findings in the order in which they are made. */
struct findings {
    json_t *rows;
    uint32_t count[3];
};

static void find(struct findings *to, enum grade grade, const char *what, const char *next,
                 const char *fmt, ...) DGO_PRINTF(5, 6);
static void find(struct findings *to, enum grade grade, const char *what, const char *next,
                 const char *fmt, ...)
{
    char sentence[DGO_ERROR_TEXT_MAX];
    json_t *row;
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(sentence, sizeof sentence, fmt, args);
    va_end(args);
    row = json_pack("{s:s, s:s, s:o}", "grade", grade_names[grade], "what", what, "sentence",
                    view_text(sentence));
    if (next)
        json_object_set_new(row, "next", view_text(next));
    json_array_append_new(to->rows, row);
    to->count[grade]++;
}

/* ---- cards ---- */

static void check_device_file(struct findings *to, const char *path)
{
    if (access(path, F_OK) != 0)
        return;
    if (access(path, R_OK | W_OK) == 0)
        find(to, GOOD, "permissions", NULL, "%s can be opened", path);
    else
        find(to, BAD, "permissions",
             "add yourself to the group that owns it (ls -l shows it; often video or render), then "
             "log in anew",
             "%s cannot be opened: %s", path, strerror(errno));
}

static void check_cards(struct findings *to, struct flow *flow)
{
    struct dgo_error err = {0};

    if (flow_look(flow, &err) != DGO_OK) {
        find(to, BAD, "cards",
             "install the driver of your cards, or try with a machine file: --gpus "
             "examples/machines/two-equal.yaml",
             "%s", err.text);
        return;
    }
    find(to, GOOD, "cards", NULL, "%" PRIu32 " by %s%s%s", flow->machine.gpu_count,
         flow->machine.source, flow->machine.driver[0] ? ", driver " : "", flow->machine.driver);
    for (uint32_t g = 0; g < flow->machine.gpu_count; g++) {
        const struct dgo_gpu *gpu = &flow->machine.gpu[g];
        char used[DGO_UNIT_TEXT_MAX];

        if (gpu->problem[0])
            find(to, BAD, "cards", "see the kernel log (journalctl -k) for what the driver says",
                 "gpu %" PRIu32 " (%s): %s", g, gpu->name, gpu->problem);
        else if (dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES) &&
                 dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) && gpu->used_bytes > gpu->total_bytes / 10)
            find(to, WARN, "cards", "`dualgpuopt gpus` lists who uses it",
                 "gpu %" PRIu32 " (%s): %s are in use already", g, gpu->name,
                 dgo_bytes_text(gpu->used_bytes, used));
    }
    if (flow->machine.gpu_count == 1)
        find(to, WARN, "cards", NULL, "one card only: there is nothing to split");
}

/* ---- engines ---- */

static void check_llama(struct findings *to, struct flow *flow)
{
    struct dgo_error err = {0};

    if (flow_find_engine(flow, false, &err) != DGO_OK)
        find(to, BAD, "engine", "see --engine", "%s", err.text);
    else if (!flow->binary_found)
        find(to, WARN, "engine",
             "install llama.cpp, or name its server with --engine PATH or `config set engine PATH`",
             "%s is not on the PATH", flow->engine->binary);
    else if (!flow->probed)
        find(to, BAD, "engine", "run it by hand with --version", "%s does not say what it can do",
             flow->binary);
    else
        find(to, GOOD, "engine", NULL, "%s: %s, %" PRIu32 " options", flow->binary,
             flow->probe.version[0] ? flow->probe.version : "version unknown",
             flow->probe.flag_count);
}

/* Other engines are only looked for: asking PyTorch for its version takes as long as loading it. */
static void check_others(struct findings *to)
{
    char missing[512];
    struct dgo_text text = DGO_TEXT(missing);

    for (size_t i = 1; dgo_engines[i]; i++) {
        char path[PATH_MAX];

        if (dgo_engines[i]->binary_shared ||
            strcmp(dgo_engines[i]->binary, dgo_engines[0]->binary) == 0)
            continue;
        if (flow_on_path(dgo_engines[i]->binary, path, sizeof path))
            find(to, GOOD, "engine", NULL, "%s: %s (%s)", dgo_engines[i]->name, path,
                 dgo_engines[i]->what);
        else
            dgo_text_addf(&text, "%s%s", text.length ? ", " : "", dgo_engines[i]->name);
    }
    if (text.length)
        find(to, GOOD, "engine", NULL, "not installed, which is no fault: %s", missing);
}

/* ---- settings ---- */

static void check_preset(const char *name, const struct preset *preset, const char *problem,
                         void *data)
{
    if (!preset)
        find(data, BAD, "presets", "correct or remove that file", "%s", problem);
    else if (access(preset->model, R_OK) != 0)
        find(data, WARN, "presets", "correct its model, or `dualgpuopt presets remove` it",
             "%s: its model %s cannot be read", name, preset->model);
}

static void check_settings(struct findings *to, const struct cmd_call *call)
{
    const struct config *config = NULL;
    struct dgo_error err = {0};

    if (config_open(&call->options, call->environment, &config, &err) != DGO_OK)
        find(to, BAD, "config", "correct it; `dualgpuopt config check` reads it again", "%s",
             err.text);
    else if (config->from_file)
        find(to, GOOD, "config", NULL, "%s is good", config->path);
    else
        find(to, GOOD, "config", NULL, "there is no %s, which is good too", config->path);
    config_unref(config);
    err = (struct dgo_error){0};
    if (preset_each(call->environment, check_preset, to, &err) != DGO_OK)
        find(to, BAD, "presets", NULL, "%s", err.text);
}

static void check_store(struct findings *to, const struct flow *flow)
{
    if (flow->store)
        find(to, GOOD, "store", NULL, "history and caches are kept");
    else
        find(to, WARN, "store", "see --state-dir; -v says why",
             "nothing is remembered between calls");
}

/* ---- the command ---- */

static void print_rows(const struct findings *findings)
{
    const bool colour = print_colour();
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    size_t i;
    json_t *row;

    json_array_foreach(findings->rows, i, row)
    {
        const char *grade = json_string_value(json_object_get(row, "grade"));
        const char *next = json_string_value(json_object_get(row, "next"));
        const int which = grade[0] == 'o' ? GOOD : grade[0] == 'w' ? WARN : BAD;

        printf("%s%-5s%s %-12s %s\n", colour ? colours[which] : "", grade, colour ? "\033[0m" : "",
               json_string_value(json_object_get(row, "what")),
               json_string_value(json_object_get(row, "sentence")));
        if (next)
            printf("                   next: %s\n", next);
    }
    printf("\n%" PRIu32 " ok, %" PRIu32 " to look at, %" PRIu32 " to mend\n", findings->count[GOOD],
           findings->count[WARN], findings->count[BAD]);
}

static int run(const struct cmd_call *call)
{
    static const char *const device_files[] = {"/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD128"};
    static struct flow flow;
    struct findings findings = {.rows = json_array()};
    int status = 0;

    flow_init(&flow, &call->options, call->environment);
    check_cards(&findings, &flow);
    for (size_t i = 0; i < sizeof device_files / sizeof device_files[0]; i++)
        check_device_file(&findings, device_files[i]);
    check_llama(&findings, &flow);
    check_others(&findings);
    check_settings(&findings, call);
    check_store(&findings, &flow);
    flow_done(&flow);
    if (option_given(&call->options, OPTION_JSON)) {
        status = print_json(json_pack("{s:s, s:b, s:O}", "schema", "dualgpuopt.doctor/1", "good",
                                      (int)(findings.count[BAD] == 0), "findings", findings.rows));
    } else {
        print_rows(&findings);
    }
    json_decref(findings.rows);
    return status ? status : findings.count[BAD] ? 1 : 0;
}

const struct cmd cmd_doctor = {
    .name = "doctor",
    .does = "check driver, cards, permissions, engines, settings, and name the next steps",
    .usage = "[options]",
    .examples = "dualgpuopt doctor\n"
                "dualgpuopt doctor --json",
    .details =
        "Starts nothing but the engine's --version and --help. Exits with 1 where something\n"
        "must be mended.",
    .reads_config = true,
    .options = {OPTION_GPUS, OPTION_ENGINE, OPTION_FOR, OPTION_CONFIG, OPTION_STATE_DIR,
                OPTION_NVML, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
