/* export_unit.c - systemd units, environment files, shell scripts. */
#include "export.h"

#include <string.h>

/* ---- systemd ---- */

/* One word of ExecStart: % and $ mean something there. */
static void unit_word(struct dgo_text *text, const char *word)
{
    dgo_text_add(text, "\"");
    for (const char *at = word; *at; at++)
        if (*at == '%' || *at == '$')
            dgo_text_addf(text, "%c%c", *at, *at);
        else if (*at == '"' || *at == '\\')
            dgo_text_addf(text, "\\%c", *at);
        else if ((unsigned char)*at < 0x20)
            dgo_text_addf(text, "\\x%02x", (unsigned)(unsigned char)*at);
        else
            dgo_text_add_bytes(text, at, 1);
    dgo_text_add(text, "\"");
}

/* Environment= knows % only. */
static void unit_variable(struct dgo_text *text, const char *name, const char *value)
{
    dgo_text_addf(text, "Environment=\"%s=", name);
    for (const char *at = value; *at; at++)
        if (*at == '%')
            dgo_text_add(text, "%%");
        else if (*at == '"' || *at == '\\')
            dgo_text_addf(text, "\\%c", *at);
        else if ((unsigned char)*at < 0x20)
            dgo_text_addf(text, "\\x%02x", (unsigned)(unsigned char)*at);
        else
            dgo_text_add_bytes(text, at, 1);
    dgo_text_add(text, "\"\n");
}

/* What an engine needs of the machine: cards, its own cache folder, the network.  No
 * MemoryDenyWriteExecute: CUDA and PyTorch compile kernels.  No PrivateDevices: it hides the cards.
 */
static const char hardening[] = "NoNewPrivileges=yes\n"
                                "PrivateTmp=yes\n"
                                "ProtectSystem=strict\n"
                                "ProtectKernelTunables=yes\n"
                                "ProtectKernelModules=yes\n"
                                "ProtectKernelLogs=yes\n"
                                "ProtectControlGroups=yes\n"
                                "ProtectClock=yes\n"
                                "ProtectHostname=yes\n"
                                "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
                                "RestrictNamespaces=yes\n"
                                "RestrictRealtime=yes\n"
                                "RestrictSUIDSGID=yes\n"
                                "LockPersonality=yes\n"
                                "SystemCallArchitectures=native\n"
                                "CapabilityBoundingSet=\n"
                                "UMask=0077\n";

/* Taken out first and set then: systemd does it the other way round. */
static bool is_set(const struct dgo_command *command, const char *name)
{
    for (uint32_t i = 0; i < command->env_count; i++)
        if (command->env[i].value && strcmp(command->env[i].name, name) == 0)
            return true;
    return false;
}

EXPORT(export_systemd)
{
    const struct dgo_command *command = question->command;

    (void)err;
    export_head(question, text, "#");
    dgo_text_addf(text,
                  "# ~/.config/systemd/user/%s.service; then: systemctl --user enable --now %s\n",
                  question->name, question->name);
    dgo_text_addf(text, "[Unit]\nDescription=%s: %s, planned by dualgpuopt\n",
                  question->engine->name, question->name);
    dgo_text_add(text, "StartLimitIntervalSec=10min\nStartLimitBurst=5\n\n[Service]\nType=exec\n");
    for (uint32_t i = 0; i < command->env_count; i++)
        if (command->env[i].value)
            unit_variable(text, command->env[i].name, command->env[i].value);
    dgo_text_add(text, "UnsetEnvironment=");
    for (uint32_t i = 0; i < command->env_count; i++)
        if (!command->env[i].value && !strchr(command->env[i].name, '*') &&
            !is_set(command, command->env[i].name))
            dgo_text_addf(text, "%s ", command->env[i].name);
    dgo_text_add(text, "\nExecStart=");
    for (uint32_t i = 0; i < command->arg_count; i++) {
        if (i)
            dgo_text_add(text, " ");
        unit_word(text, command->arg[i]);
    }
    dgo_text_add(text, "\nRestart=on-failure\nRestartSec=5\nTimeoutStartSec=15min\n"
                       "TimeoutStopSec=30\nLimitMEMLOCK=infinity\nLimitCORE=0\n"
                       "CacheDirectory=dualgpuopt\n");
    dgo_text_add(text, hardening);
    dgo_text_add(text, "ProtectHome=read-only\n\n[Install]\nWantedBy=default.target\n");
    return DGO_OK;
}

/* examples/systemd/dualgpuopt.service before and after the program's path; a test compares them.
 * Less is forbidden than to one launch: engines that it starts outlive it (KillMode), and a
 * namespace of files would be the daemon's, not theirs. */
static const char daemon_head[] =
    "[Unit]\n"
    "Description=DualGPUOptimizer: large language models on several GPUs\n"
    "Documentation=man:dualgpuopt(1)\n"
    "\n"
    "[Service]\n"
    "ExecStart=";
static const char daemon_tail[] =
    " serve --token-file %E/dualgpuopt/token\n"
    "ExecReload=kill -HUP $MAINPID\n"
    "# Engines outlive a crash for --keep-engines and are found again; each has a guard that ends "
    "it when nobody comes back\n"
    "# (docs/decisions/0030).  With the default, control-group, they would end with the daemon.\n"
    "KillMode=process\n"
    "Restart=on-failure\n"
    "RestartSec=1s\n"
    "# Time for engines to end by TERM before the daemon itself is killed.\n"
    "TimeoutStopSec=60s\n"
    "LimitNOFILE=65536\n"
    "LimitCORE=0\n"
    "# Not here: MemoryDenyWriteExecute (CUDA compiles kernels at run time), PrivateDevices and "
    "DeviceAllow (engines open /dev/nvidia*,\n"
    "# /dev/dri, /dev/kfd), PrivateNetwork, and what a user manager cannot do without privileges.\n"
    "NoNewPrivileges=yes\n"
    "RestrictRealtime=yes\n"
    "RestrictSUIDSGID=yes\n"
    "LockPersonality=yes\n"
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
    "SystemCallArchitectures=native\n"
    "SystemCallFilter=@system-service sched_setattr sched_setaffinity\n"
    "SystemCallErrorNumber=EPERM\n"
    "UMask=0077\n"
    "\n"
    "[Install]\n"
    "WantedBy=default.target\n";

EXPORT(export_systemd_daemon)
{
    (void)err;
    dgo_text_add(text,
                 "# Written by dualgpuopt " DGO_VERSION ": the daemon with its page and API.\n"
                 "# ~/.config/systemd/user/dualgpuopt.service; then: systemctl --user enable "
                 "--now dualgpuopt\n");
    dgo_text_add(text, daemon_head);
    unit_word(text, question->program);
    dgo_text_add(text, daemon_tail);
    return DGO_OK;
}

/* ---- environment and script ---- */

EXPORT(export_env)
{
    const struct dgo_command *command = question->command;

    (void)err;
    export_head(question, text, "#");
    for (uint32_t i = 0; i < command->env_count; i++) {
        if (!command->env[i].value)
            continue;
        dgo_text_addf(text, "%s=", command->env[i].name);
        dgo_word_quote(text, command->env[i].value);
        dgo_text_add(text, "\n");
    }
    return DGO_OK;
}

/* Variables with a prefix are taken out by name as env lists them. */
static void unset_variables(struct dgo_text *text, const struct dgo_command *command)
{
    for (uint32_t i = 0; i < command->env_count; i++) {
        const char *name = command->env[i].name;
        const size_t length = strlen(name);

        if (command->env[i].value)
            continue;
        if (name[length - 1] == '*')
            dgo_text_addf(text,
                          "for name in $(env | sed -n 's/^\\(%.*s[A-Za-z0-9_]*\\)=.*/\\1/p'); do "
                          "unset \"$name\"; done\n",
                          (int)(length - 1), name);
        else
            dgo_text_addf(text, "unset %s\n", name);
    }
}

EXPORT(export_sh)
{
    const struct dgo_command *command = question->command;

    (void)err;
    dgo_text_add(text, "#!/bin/sh\n");
    export_head(question, text, "#");
    dgo_text_add(text, "set -eu\n");
    unset_variables(text, command);
    for (uint32_t i = 0; i < command->env_count; i++) {
        if (!command->env[i].value)
            continue;
        dgo_text_addf(text, "export %s=", command->env[i].name);
        dgo_word_quote(text, command->env[i].value);
        dgo_text_add(text, "\n");
    }
    dgo_text_add(text, "exec");
    for (uint32_t i = 0; i < command->arg_count; i++) {
        dgo_text_add(text, " ");
        dgo_word_quote(text, command->arg[i]);
    }
    dgo_text_add(text, " \"$@\"\n");
    return DGO_OK;
}
