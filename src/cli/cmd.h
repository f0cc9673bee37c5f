/* cmd.h - the command table: one row and one file for each command (HACKING.md, "Adding a
 * command"). Parsing, help and "did you mean" all read these rows. */
#ifndef CMD_H
#define CMD_H

#include "config.h"
#include "options.h"

/* One call of a command, parsed. */
struct cmd_call {
    struct options options;      /* with what the configuration file says; see reads_config */
    const struct config *config; /* the same and more; NULL where the command reads it itself */
    const char *const *args;     /* positional */
    uint32_t arg_count;
    uint32_t model_at;       /* where among them a model stands that a preset may name */
    const char *const *rest; /* after "--" */
    uint32_t rest_count;
    bool preset_model, preset_rest; /* the model, or `rest`, is the preset's */
    char *const *environment;
};

enum { CMD_OPTION_MAX = 64 };

struct cmd {
    const char *name;     /* with the name of its group in front: "profile record" */
    const char *does;     /* one line */
    const char *usage;    /* what follows the name */
    const char *examples; /* lines, shown first */
    const char *details;  /* NULL or a paragraph */
    uint32_t arg_min, arg_max;
    bool takes_rest;
    bool reads_config; /* itself: `options` then holds flags and environment only */
    enum option_id options[CMD_OPTION_MAX];  /* ended by OPTION_HELP, which every command has */
    int (*run)(const struct cmd_call *call); /* returns the exit status */
    const struct cmd *const *sub; /* NULL-terminated: a group, which only has commands below it */
};

extern const struct cmd cmd_gpus, cmd_inspect, cmd_plan, cmd_estimate, cmd_run, cmd_resources,
    cmd_config;
extern const struct cmd cmd_batch, cmd_bench, cmd_calibrate, cmd_context;
extern const struct cmd cmd_serve, cmd_ps, cmd_logs, cmd_stop;
extern const struct cmd cmd_profile;
extern const struct cmd cmd_presets, cmd_export, cmd_doctor;
extern const struct cmd *const commands[]; /* NULL-terminated; the order of the help */

/* Runs the program's arguments; returns the exit status. */
int cmd_main(int argc, char **argv, char *const *environment);

#endif
