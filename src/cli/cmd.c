/* cmd.c - from argv to a command: parsing, help, "did you mean". */
#include "cmd.h"

#include "dgo_log.h"
#include "presets.h"
#include "print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cmd *const commands[] = {
    &cmd_gpus,   &cmd_inspect, &cmd_plan,      &cmd_context,   &cmd_estimate,
    &cmd_run,    &cmd_serve,   &cmd_ps,        &cmd_logs,      &cmd_stop,
    &cmd_batch,  &cmd_profile, &cmd_calibrate, &cmd_resources, &cmd_bench,
    &cmd_config, &cmd_presets, &cmd_export,    &cmd_doctor,    NULL,
};

enum { ARGS_MAX = 4096 };

/* "record" of "profile record" */
static const char *own_name(const struct cmd *cmd)
{
    const char *blank = strrchr(cmd->name, ' ');

    return blank ? blank + 1 : cmd->name;
}

static const struct cmd *find_command(const struct cmd *const *list, const char *name)
{
    for (size_t i = 0; list[i]; i++)
        if (strcmp(own_name(list[i]), name) == 0)
            return list[i];
    return NULL;
}

static void print_usage(FILE *to)
{
    fprintf(to,
            "dualgpuopt plans, starts and watches large language models on several GPUs.\n\n"
            "  dualgpuopt gpus                      what this machine has\n"
            "  dualgpuopt plan model.gguf           which layers go where, and why\n"
            "  dualgpuopt run model.gguf            start the engine, compare plan with reality\n\n"
            "commands:\n");
    for (size_t i = 0; commands[i]; i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->does);
    fprintf(to, "\ndualgpuopt COMMAND --help shows examples and options; --version the version.\n");
}

static void print_group(const struct cmd *cmd)
{
    printf("\nusage: dualgpuopt %s COMMAND\n\ncommands:\n", cmd->name);
    for (size_t i = 0; cmd->sub[i]; i++)
        printf("  %-10s %s\n", own_name(cmd->sub[i]), cmd->sub[i]->does);
    printf("\ndualgpuopt %s COMMAND --help shows examples and options.\n", cmd->name);
}

static void print_help(const struct cmd *cmd)
{
    printf("dualgpuopt %s - %s\n\nexamples:\n", cmd->name, cmd->does);
    for (const char *line = cmd->examples; *line;) {
        const size_t length = strcspn(line, "\n");

        printf("  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    if (cmd->sub) {
        print_group(cmd);
        return;
    }
    printf("\nusage: dualgpuopt %s %s\n\noptions:\n", cmd->name, cmd->usage);
    for (size_t i = 0;; i++) {
        const enum option_id id = cmd->options[i];
        const struct option_spec *spec = &option_specs[id];
        char left[64];

        snprintf(left, sizeof left, "--%s%s%s", spec->name, spec->metavar ? " " : "",
                 spec->metavar ? spec->metavar : "");
        if (spec->value)
            printf("  %-36s %s (%s)\n", left, spec->help, spec->value);
        else
            printf("  %-36s %s\n", left, spec->help);
        if (id == OPTION_HELP)
            break;
    }
    if (cmd->details)
        printf("\n%s\n", cmd->details);
    printf("\nEach option can be given as an environment variable (--kv-type is\n"
           "DUALGPUOPT_KV_TYPE) or in the configuration file (kv-type: q8_0; --config FILE names "
           "it).\n"
           "Exit status: 0 done, 1 failed, 2 usage, 3 does not fit.\n");
}

static bool is_named(enum option_id id, const char *name, size_t length)
{
    const char *const known = option_specs[id].name;

    return strlen(known) == length && memcmp(known, name, length) == 0;
}

/* The option called `name` (length given, it may be followed by '='), if this command has it; every
 * command has --config. */
static bool find_option(const struct cmd *cmd, const char *name, size_t length, enum option_id *id)
{
    if (is_named(OPTION_CONFIG, name, length)) {
        *id = OPTION_CONFIG;
        return true;
    }
    for (size_t i = 0;; i++) {
        if (is_named(cmd->options[i], name, length)) {
            *id = cmd->options[i];
            return true;
        }
        if (cmd->options[i] == OPTION_HELP)
            return false;
    }
}

static enum dgo_status unknown_option(const struct cmd *cmd, const char *arg, struct dgo_error *err)
{
    const char *names[CMD_OPTION_MAX + 1] = {NULL};
    char word[64];
    size_t count = 0;
    const char *nearest;

    do {
        names[count] = option_specs[cmd->options[count]].name;
    } while (cmd->options[count++] != OPTION_HELP);
    snprintf(word, sizeof word, "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
    nearest = nearest_word(word, names);
    if (nearest)
        return dgo_fail(err, DGO_EUSAGE, "%s has no option '%.60s'; did you mean --%s?", cmd->name,
                        arg, nearest);
    return dgo_fail(err, DGO_EUSAGE, "%s has no option '%.60s'; see dualgpuopt %s --help",
                    cmd->name, arg, cmd->name);
}

/* The options that people expect to be short. */
static const char *long_form(const char *arg)
{
    if (strcmp(arg, "-h") == 0)
        return "--help";
    return strcmp(arg, "-o") == 0 ? "--output" : arg;
}

/* One argument that starts with a dash; moves *at past a separate value. */
static enum dgo_status parse_option(const struct cmd *cmd, struct options *options, char **argv,
                                    int *at, struct dgo_error *err)
{
    const char *arg = long_form(argv[*at]);
    const char *equals = strchr(arg, '=');
    const char *value = equals ? equals + 1 : NULL;
    enum option_id id;

    if (arg[1] != '-' ||
        !find_option(cmd, arg + 2, equals ? (size_t)(equals - arg - 2) : strlen(arg + 2), &id))
        return unknown_option(cmd, arg, err);
    if (option_specs[id].kind == KIND_FLAG) {
        if (value)
            return dgo_fail(err, DGO_EUSAGE, "--%s takes no value", option_specs[id].name);
    } else if (!value) {
        value = argv[*at + 1];
        if (!value)
            return dgo_fail(err, DGO_EUSAGE, "--%s needs a value: %s", option_specs[id].name,
                            option_specs[id].metavar);
        (*at)++;
    }
    return options_set(options, id, value, ORIGIN_FLAG, err);
}

static enum dgo_status parse(const struct cmd *cmd, char **argv, const char **args,
                             struct cmd_call *call, struct dgo_error *err)
{
    for (int i = 0; argv[i]; i++) {
        enum dgo_status status = DGO_OK;

        if (strcmp(argv[i], "--") == 0) {
            call->rest = (const char *const *)&argv[i + 1];
            while (call->rest[call->rest_count])
                call->rest_count++;
            break;
        }
        if (argv[i][0] == '-' && argv[i][1] != '\0')
            status = parse_option(cmd, &call->options, argv, &i, err);
        else if (call->arg_count == ARGS_MAX)
            status = dgo_fail(err, DGO_EUSAGE, "more than %d arguments", ARGS_MAX);
        else
            args[call->arg_count++] = argv[i];
        if (status != DGO_OK)
            return status;
    }
    if (option_given(&call->options, OPTION_HELP))
        return DGO_OK;
    if (call->rest && !cmd->takes_rest)
        return dgo_fail(err, DGO_EUSAGE, "%s takes no engine flags after --", cmd->name);
    /* A preset names the model, which is the last argument. */
    if (call->arg_count +
                (option_given(&call->options, OPTION_PRESET) && cmd->arg_min == cmd->arg_max) <
            cmd->arg_min ||
        call->arg_count > cmd->arg_max)
        return dgo_fail(err, DGO_EUSAGE, "usage: dualgpuopt %s %s", cmd->name, cmd->usage);
    return DGO_OK;
}

static int unknown_command(const struct cmd *group, const struct cmd *const *list, const char *name)
{
    const char *names[32] = {NULL};
    const char *const space = group ? " " : "", *const of = group ? group->name : "";
    const char *nearest;

    for (size_t i = 0; list[i] && i + 1 < sizeof names / sizeof names[0]; i++)
        names[i] = own_name(list[i]);
    nearest = nearest_word(name, names);
    if (nearest)
        print_message("there is no command '%s%s%.60s'; did you mean %s%s%s?", of, space, name, of,
                      space, nearest);
    else
        print_message("there is no command '%s%s%.60s'; see dualgpuopt%s%s --help", of, space, name,
                      space, of);
    return dgo_status_exit(DGO_EUSAGE);
}

/* --preset: its options under the flags, its model and words where the call names none. */
static enum dgo_status take_preset(struct cmd_call *call, const char **args, struct dgo_error *err)
{
    static struct preset preset; /* of the one call a process makes */
    enum dgo_status status;

    if (!option_given(&call->options, OPTION_PRESET))
        return DGO_OK;
    status =
        preset_read(call->environment, option_text(&call->options, OPTION_PRESET), &preset, err);
    if (status == DGO_OK)
        status = preset_apply(&preset, &call->options, err);
    if (status == DGO_OK && call->arg_count == call->model_at) {
        args[call->arg_count++] = preset.model;
        call->preset_model = true;
    }
    if (status == DGO_OK && !call->rest) {
        call->preset_rest = true;
        call->rest = preset.arg_list;
        call->rest_count = preset.arg_count;
    }
    return status;
}

/* The file's values join those of flags and environment. */
static enum dgo_status take_config(struct cmd_call *call, char *const *environment,
                                   struct dgo_error *err)
{
    const struct options given = call->options;
    enum dgo_status status = config_open(&given, environment, &call->config, err);

    if (status != DGO_OK)
        return status;
    call->options = call->config->options;
    config_place_components(call->config, NULL);
    return DGO_OK;
}

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* "presets needs a command: list, show or remove; see ..." */
static void tell_below(const struct cmd *cmd)
{
    char list[160];
    struct dgo_text text = DGO_TEXT(list);

    for (uint32_t i = 0; cmd->sub[i]; i++)
        dgo_text_addf(&text, "%s%s",
                      i == 0            ? ""
                      : cmd->sub[i + 1] ? ", "
                                        : " or ",
                      cmd->sub[i]->name + strlen(cmd->name) + 1);
    print_message("%s needs a command: %s; see dualgpuopt %s --help", cmd->name, list, cmd->name);
}

/* Goes down the groups; moves *argv past the words of the command.  NULL: there is nothing to run,
 * and *status is the exit status. */
static const struct cmd *descend(char ***argv, int *status)
{
    const struct cmd *const *list = commands;
    const struct cmd *cmd = NULL;

    do {
        const char *name = **argv;
        const struct cmd *next;

        if (cmd && !name) {
            tell_below(cmd);
            *status = dgo_status_exit(DGO_EUSAGE);
            return NULL;
        }
        if (cmd && is_help(name)) {
            print_help(cmd);
            *status = 0;
            return NULL;
        }
        next = find_command(list, name);
        if (!next) {
            *status = unknown_command(cmd, list, name);
            return NULL;
        }
        cmd = next;
        list = cmd->sub;
        (*argv)++;
    } while (list);
    return cmd;
}

/* `help profile` is about the group, `help profile record` about one of its commands. */
static int help_on(char **argv)
{
    const struct cmd *const *list = commands;
    const struct cmd *cmd = NULL;

    for (; *argv && list; argv++, list = cmd->sub) {
        const struct cmd *next = find_command(list, *argv);

        if (!next)
            return unknown_command(cmd, list, *argv);
        cmd = next;
    }
    print_help(cmd);
    return 0;
}

int cmd_main(int argc, char **argv, char *const *environment)
{
    static const char *args[ARGS_MAX]; /* of the one call a process makes */
    const struct cmd *cmd;
    struct cmd_call call = {.args = args, .environment = environment};
    struct dgo_error err = {0};
    int status = 0;

    if (argc < 2) {
        print_usage(stderr);
        return dgo_status_exit(DGO_EUSAGE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("dualgpuopt %s\n", DGO_VERSION);
        return 0;
    }
    if (is_help(argv[1]) || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "help") == 0)
        return help_on(argv + 2);
    argv++;
    cmd = descend(&argv, &status);
    if (!cmd)
        return status;
    if (options_init(&call.options, environment, &err) != DGO_OK ||
        parse(cmd, argv, args, &call, &err) != DGO_OK)
        return print_failure(&err);
    call.model_at = cmd->arg_max ? cmd->arg_max - 1 : 0;
    if (option_given(&call.options, OPTION_HELP)) {
        print_help(cmd);
        return 0;
    }
    if (take_preset(&call, args, &err) != DGO_OK)
        return print_failure(&err);
    if (!cmd->reads_config && take_config(&call, environment, &err) != DGO_OK)
        return print_failure(&err);
    if (option_given(&call.options, OPTION_VERBOSE))
        dgo_log_set(DGO_LOG_INFO, NULL, NULL);
    status = cmd->run(&call);
    config_unref(call.config);
    return status;
}
