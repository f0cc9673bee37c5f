/* command.c - a command as a value: its builder, its environment, and its text for a shell. */
#include "build.h"

#include <stdio.h>
#include <string.h>

void dgo_command_done(struct dgo_command *command)
{
    dgo_arena_done(&command->arena);
    memset(command, 0, sizeof *command);
}

/* Whether the change is about this NAME=value entry. */
static bool touches(const struct dgo_env_change *change, const char *entry)
{
    const size_t length = strlen(change->name);

    if (!change->value && length > 0 && change->name[length - 1] == '*')
        return strncmp(entry, change->name, length - 1) == 0;
    return strncmp(entry, change->name, length) == 0 && entry[length] == '=';
}

static bool is_touched(const struct dgo_command *command, const char *entry)
{
    for (uint32_t i = 0; i < command->env_count; i++)
        if (touches(&command->env[i], entry))
            return true;
    return false;
}

const char **dgo_command_environment(const struct dgo_command *command, char *const *parent,
                                     struct dgo_arena *arena)
{
    size_t parent_count = 0, count = 0;
    const char **entries;

    while (parent && parent[parent_count])
        parent_count++;
    entries = dgo_arena_take_array(arena, parent_count + command->env_count + 1, sizeof *entries);
    if (!entries)
        return NULL;
    for (size_t i = 0; i < parent_count; i++)
        if (!is_touched(command, parent[i]))
            entries[count++] = parent[i];
    for (uint32_t i = 0; i < command->env_count; i++) {
        const struct dgo_env_change *change = &command->env[i];
        char *entry;
        size_t size;

        if (!change->value)
            continue;
        size = strlen(change->name) + strlen(change->value) + 2;
        entry = dgo_arena_take(arena, size);
        if (!entry)
            return NULL;
        snprintf(entry, size, "%s=%s", change->name, change->value);
        entries[count++] = entry;
    }
    return entries;
}

static void add_removal(struct dgo_text *text, const char *name, size_t length)
{
    char copy[256];

    if (length >= sizeof copy)
        return; /* no engine reads a variable of such a name */
    memcpy(copy, name, length);
    copy[length] = '\0';
    dgo_text_add(text, " -u ");
    dgo_word_quote(text, copy);
}

/* env knows no prefixes, so what is shown are the variables that the parent really has. */
static void add_removals(const struct dgo_command *command, char *const *parent,
                         struct dgo_text *text)
{
    for (char *const *entry = parent; entry && *entry; entry++) {
        for (uint32_t i = 0; i < command->env_count; i++) {
            if (command->env[i].value || !touches(&command->env[i], *entry))
                continue;
            add_removal(text, *entry, strcspn(*entry, "="));
            break;
        }
    }
}

void dgo_command_text(const struct dgo_command *command, char *const *parent, struct dgo_text *text)
{
    const size_t start = text->length;

    dgo_text_add(text, "env");
    add_removals(command, parent, text);
    for (uint32_t i = 0; i < command->env_count; i++) {
        if (!command->env[i].value)
            continue;
        dgo_text_addf(text, " %s=", command->env[i].name);
        dgo_word_quote(text, command->env[i].value);
    }
    if (text->length == start + strlen("env") && !text->truncated) {
        text->length = start;
        text->data[start] = '\0';
    }
    for (uint32_t i = 0; i < command->arg_count; i++) {
        if (text->length > start)
            dgo_text_add(text, " ");
        dgo_word_quote(text, command->arg[i]);
    }
}

static const char *keep(struct command_builder *builder, const char *string)
{
    const char *copy;

    if (builder->status != DGO_OK)
        return NULL;
    copy = dgo_arena_take_text(&builder->command->arena, string, strlen(string));
    if (!copy)
        builder->status = dgo_fail(builder->err, DGO_ENOMEM, "no memory for the command");
    return copy;
}

void build_word(struct command_builder *builder, const char *word, const char *why)
{
    struct dgo_command *command = builder->command;
    const char *copy = keep(builder, word);

    if (!copy)
        return;
    if (command->arg_count == DGO_ARG_MAX) {
        builder->status = dgo_fail(builder->err, DGO_ELIMIT,
                                   "the command has more than %d words; give fewer flags of your "
                                   "own",
                                   DGO_ARG_MAX);
        return;
    }
    command->why[command->arg_count] = why;
    command->arg[command->arg_count++] = copy;
}

void build_wordf(struct command_builder *builder, const char *why, const char *fmt, ...)
{
    char word[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(word, sizeof word, fmt, args);
    va_end(args);
    build_word(builder, word, why);
}

const char *build_why(struct command_builder *builder, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return keep(builder, text);
}

void build_threads(struct command_builder *builder, const char *spellings,
                   const struct dgo_launch_options *options)
{
    if (options->thread_count > 0)
        build_flag_u32(builder, BUILD_NEEDED, spellings, (uint32_t)options->thread_count,
                       "CPU threads, as --threads says");
    else if (options->cpu_count > 0)
        build_flag_u32(builder, BUILD_WANTED, spellings, options->cpu_count,
                       build_why(builder, "CPU threads: %s", options->cpu_why));
}

void build_listen(struct command_builder *builder, const char *host, const char *port,
                  const struct dgo_launch_options *options)
{
    build_flag(builder, BUILD_NEEDED, host, options->host, "where it listens");
    build_flag_u32(builder, BUILD_NEEDED, port, options->port, "where it listens");
}

enum dgo_status build_end(struct command_builder *builder, struct dgo_command *made)
{
    if (builder->status != DGO_OK)
        dgo_command_done(builder->command);
    else
        *made = *builder->command;
    return builder->status;
}

/* The row whose first spelling is this name. */
static const struct engine_flag *find_row(const struct command_builder *builder, const char *name)
{
    const size_t length = strcspn(name, " ");

    for (const struct engine_flag *row = builder->flags; row && row->spellings; row++)
        if (strncmp(row->spellings, name, length) == 0 &&
            (row->spellings[length] == ' ' || row->spellings[length] == '\0'))
            return row;
    return NULL;
}

/* Whether the engine's version, where it is known, has what the row describes. */
static bool is_of_version(const struct command_builder *builder, const struct engine_flag *row)
{
    const uint32_t version = builder->probe ? builder->probe->build : 0;

    return !row || version == 0 ||
           (version >= row->since && (row->until == 0 || version < row->until));
}

void build_environment(struct command_builder *builder, const char *name, const char *value,
                       const char *why)
{
    struct dgo_command *command = builder->command;
    const struct engine_flag *row = find_row(builder, name);
    const char *copy = value ? keep(builder, value) : NULL;

    if (builder->status != DGO_OK || !is_of_version(builder, row))
        return;
    if (command->env_count == DGO_ENV_MAX) {
        builder->status =
            dgo_fail(builder->err, DGO_ELIMIT, "more than %d variables to change", DGO_ENV_MAX);
        return;
    }
    command->env_source[command->env_count] = row ? row->source : NULL;
    command->env[command->env_count++] = (struct dgo_env_change){name, copy, why};
}

static bool has_help(const struct command_builder *builder)
{
    return builder->probe && builder->probe->flag_count > 0;
}

const char *build_spelling(const struct command_builder *builder, const char *spellings)
{
    char name[DGO_FLAG_TEXT_MAX];

    for (const char *at = spellings; *at; at += strspn(at, " ")) {
        const size_t length = strcspn(at, " ");

        snprintf(name, sizeof name, "%.*s", (int)length, at);
        if (!has_help(builder) || dgo_probe_has(builder->probe, name))
            return at;
        at += length;
    }
    return NULL;
}

void build_flag(struct command_builder *builder, enum build_need need, const char *spellings,
                const char *value, const char *why)
{
    const struct engine_flag *row = find_row(builder, spellings);
    const char *found = build_spelling(builder, row ? row->spellings : spellings);

    /* A help text that shows the flag is a proof, the table is what is known without one. */
    if (found && !has_help(builder) && !is_of_version(builder, row))
        found = NULL;
    if (builder->status != DGO_OK || (!found && need == BUILD_WANTED))
        return;
    if (!found) {
        const char *version = builder->probe->version;

        builder->status = dgo_fail(
            builder->err, DGO_EUNSUPPORTED,
            "this %s (%s) has no flag %.*s, which the plan cannot do without: %s. Install a newer "
            "build",
            builder->engine, version[0] ? version : "version unknown", (int)strcspn(spellings, " "),
            spellings, why);
        return;
    }
    build_wordf(builder, why, "%.*s", (int)strcspn(found, " "), found);
    if (builder->status == DGO_OK)
        builder->command->source[builder->command->arg_count - 1] =
            row ? row->source : builder->source;
    if (value)
        build_word(builder, value, NULL);
}

void build_flag_u32(struct command_builder *builder, enum build_need need, const char *spellings,
                    uint32_t value, const char *why)
{
    char text[16];

    snprintf(text, sizeof text, "%u", (unsigned)value);
    build_flag(builder, need, spellings, text, why);
}
