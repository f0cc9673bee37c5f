/* cmd_presets.c - `dualgpuopt presets`: named launches kept as files. */
#include "cmd_presets.h"

#include "dgo_text.h"
#include "print.h"
#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *presets_view(const struct preset *preset)
{
    json_t *options = json_object(), *args = json_array(), *aliases = json_array();

    for (uint32_t i = 0; i < preset->option_count; i++)
        json_object_set_new(options, option_specs[preset->option[i].id].name,
                            view_text(preset->option[i].text));
    for (uint32_t i = 0; i < preset->arg_count; i++)
        json_array_append_new(args, view_text(preset->arg[i]));
    for (uint32_t i = 0; i < preset->alias_count; i++)
        json_array_append_new(aliases, view_text(preset->alias[i]));
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "name", preset->name, "version",
                     PRESET_VERSION, "model", view_text(preset->model), "options", options, "args",
                     args, "aliases", aliases);
}

/* ---- list ---- */

static void add_row(const char *name, const struct preset *preset, const char *problem, void *data)
{
    struct table *table = data;
    char cell[TABLE_CELL_MAX];
    struct dgo_text text = DGO_TEXT(cell);

    table_cell(table, "%s", name);
    if (!preset) {
        table_cell(table, "%s", "");
        table_cell(table, "%.200s", problem);
        return;
    }
    for (uint32_t i = 0; i < preset->option_count; i++)
        dgo_text_addf(&text, "%s%s=%s", i ? " " : "", option_specs[preset->option[i].id].name,
                      preset->option[i].text);
    table_cell(table, "%s", preset->model);
    table_cell(table, "%s", cell);
}

static void add_json(const char *name, const struct preset *preset, const char *problem, void *data)
{
    json_array_append_new(
        data, preset ? presets_view(preset)
                     : json_pack("{s:s, s:o}", "name", name, "problem", view_text(problem)));
}

static int list(const struct cmd_call *call)
{
    struct dgo_error err = {0};

    if (option_given(&call->options, OPTION_JSON)) {
        json_t *presets = json_array();

        if (preset_each(call->environment, add_json, presets, &err) != DGO_OK) {
            json_decref(presets);
            return print_failure(&err);
        }
        return print_json(
            json_pack("{s:s, s:o}", "schema", "dualgpuopt.presets/1", "presets", presets));
    }

    struct table *table = table_new();

    table_column(table, "name", false);
    table_column(table, "model", false);
    table_column(table, "options", false);
    if (preset_each(call->environment, add_row, table, &err) != DGO_OK)
        return print_failure(&err);
    table_print(table);
    return 0;
}

/* ---- show, remove ---- */

static int show(const struct cmd_call *call)
{
    static struct preset preset;
    static char bytes[PRESET_BYTES_MAX];
    struct dgo_text text = DGO_TEXT(bytes);
    struct dgo_error err = {0};

    if (preset_read(call->environment, call->args[0], &preset, &err) != DGO_OK)
        return print_failure(&err);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(presets_view(&preset));
    (void)preset_text(&preset, &text);
    printf("%s", bytes);
    return 0;
}

static int discard(const struct cmd_call *call)
{
    struct dgo_error err = {0};

    if (preset_remove(call->environment, call->args[0], &err) != DGO_OK)
        return print_failure(&err);
    print_message("preset %s is gone", call->args[0]);
    return 0;
}

/* ---- save ---- */

/* Options as flags gave them; the file and the environment stay what they are. */
static enum dgo_status take_options(const struct cmd_call *call, struct preset *preset,
                                    struct dgo_error *err)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const enum option_id id = (enum option_id)i;
        const struct option_value *value = &call->options.value[id];
        const bool flag = option_specs[id].kind == KIND_FLAG;
        enum dgo_status status;

        if (!value->given || value->origin != ORIGIN_FLAG || id == OPTION_REPLACE ||
            id == OPTION_VERBOSE || id == OPTION_JSON || id == OPTION_CONFIG)
            continue;
        status = preset_set(preset, id, flag ? "true" : value->text, err);
        if (status != DGO_OK)
            return status;
    }
    return DGO_OK;
}

static int save(const struct cmd_call *call)
{
    static struct preset preset;
    struct dgo_error err = {0};
    char *real = realpath(call->args[1], NULL);
    enum dgo_status status = preset_check_name(call->args[0], &err);

    if (status == DGO_OK && !real)
        status = dgo_fail(&err, DGO_ENOTFOUND, "there is no model at '%.200s'", call->args[1]);
    if (status == DGO_OK && !dgo_text_copy(preset.model, sizeof preset.model, real))
        status = dgo_fail(&err, DGO_ELIMIT, "the model's path is too long");
    free(real);
    (void)dgo_text_copy(preset.name, sizeof preset.name, call->args[0]);
    if (status == DGO_OK)
        status = take_options(call, &preset, &err);
    for (uint32_t i = 0; i < call->rest_count && status == DGO_OK; i++)
        if (i == PRESET_ARG_MAX || !dgo_text_copy(preset.arg[i], PRESET_TEXT_MAX, call->rest[i]))
            status = dgo_fail(&err, DGO_ELIMIT, "too many words for the engine, or too long ones");
        else
            preset.arg_count = i + 1;
    if (status == DGO_OK)
        status = preset_write(call->environment, &preset,
                              option_given(&call->options, OPTION_REPLACE), &err);
    if (status != DGO_OK)
        return print_failure(&err);
    print_message("saved; start it with: dualgpuopt run --preset %s", preset.name);
    return 0;
}

static const struct cmd cmd_list = {
    .name = "presets list",
    .does = "list the named launches",
    .usage = "[options]",
    .examples = "dualgpuopt presets list",
    .options = {OPTION_JSON, OPTION_CONFIG, OPTION_VERBOSE, OPTION_HELP},
    .run = list,
};

static const struct cmd cmd_show = {
    .name = "presets show",
    .does = "print a named launch as its file has it",
    .usage = "NAME [options]",
    .examples = "dualgpuopt presets show coder",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_JSON, OPTION_CONFIG, OPTION_VERBOSE, OPTION_HELP},
    .run = show,
};

static const struct cmd cmd_save = {
    .name = "presets save",
    .does = "keep a model and the options of its plan under a name",
    .usage = "NAME MODEL [options of plan] [-- ENGINE FLAGS]",
    .examples = "dualgpuopt presets save coder /models/qwen3-32b.gguf --ctx 32768 --kv-type q8_0\n"
                "dualgpuopt presets save api /models/qwen3 --engine vllm --parallel 16\n"
                "dualgpuopt run --preset coder",
    .details =
        "The files lie in $XDG_CONFIG_HOME/dualgpuopt/presets, one YAML file each; edit them\n"
        "as you like. Flags win over what a preset says.",
    .arg_min = 2,
    .arg_max = 2,
    .takes_rest = true,
    .options = {OPTION_REPLACE, OPTIONS_OF_PLAN, OPTION_RETRY_SMALLER, OPTION_RESTART,
                OPTION_READY_TIMEOUT, OPTION_STOP_TIMEOUT, OPTION_IDLE_TIMEOUT, OPTION_CONFIG,
                OPTION_VERBOSE, OPTION_HELP},
    .run = save,
};

static const struct cmd cmd_remove = {
    .name = "presets remove",
    .does = "remove a named launch",
    .usage = "NAME [options]",
    .examples = "dualgpuopt presets remove coder",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_CONFIG, OPTION_VERBOSE, OPTION_HELP},
    .run = discard,
};

static const struct cmd *const below[] = {&cmd_list,   &cmd_show,           &cmd_save,
                                          &cmd_remove, &cmd_presets_import, NULL};

const struct cmd cmd_presets = {
    .name = "presets",
    .does = "named launches: a model and the options of its plan",
    .examples = "dualgpuopt presets save coder /models/qwen3-32b.gguf --ctx 32768\n"
                "dualgpuopt presets list\n"
                "dualgpuopt run --preset coder",
    .options = {OPTION_HELP},
    .sub = below,
};
