/* cmd_presets_import.c - `dualgpuopt presets import FILE`: launches of other tools as presets. */
#include "cmd_presets.h"

#include "config.h"
#include "dgo_file.h"
#include "dgo_text.h"
#include "import.h"
#include "print.h"
#include "view.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct import_state {
    const struct cmd_call *call;
    const char *file;
    bool dry_run, replace, json;
    json_t *presets, *groups, *notes;
    bool refused; /* a group */
    uint32_t lost;
};

static void add_note(const char *entry, uint32_t line, bool lost, const char *sentence, void *data)
{
    struct import_state *state = data;

    state->lost += lost;
    json_array_append_new(state->notes, json_pack("{s:i, s:o, s:b, s:o}", "line", (int)line,
                                                  "entry", view_text(entry), "lost", (int)lost,
                                                  "sentence", view_text(sentence)));
    if (!state->json)
        print_message("%s:%" PRIu32 ": %s%s%s%s", state->file, line, entry, entry[0] ? ": " : "",
                      lost ? "not imported: " : "", sentence);
}

static bool was_made(const struct import_state *state, const char *name)
{
    size_t i;
    json_t *one;

    json_array_foreach(state->presets, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0)
            return true;
    }
    return false;
}

/* In a dry run, what would be refused is told as well. */
static enum dgo_status keep(const struct import_state *state, const struct preset *preset,
                            struct dgo_error *err)
{
    if (was_made(state, preset->name))
        return dgo_fail(err, DGO_EBUSY, "an earlier entry has the name %s", preset->name);
    if (!state->dry_run)
        return preset_write(state->call->environment, preset, state->replace, err);
    return preset_write_check(state->call->environment, preset, state->replace, err);
}

static void add_preset(const struct preset *preset, uint32_t line, void *data)
{
    static char bytes[PRESET_BYTES_MAX];
    struct import_state *state = data;
    struct dgo_text text = DGO_TEXT(bytes);
    struct dgo_error err = {0};

    if (keep(state, preset, &err) != DGO_OK) {
        add_note(preset->name, line, true, err.text, state);
        return;
    }
    json_array_append_new(state->presets, presets_view(preset));
    if (state->json)
        return;
    if (state->dry_run && preset_text(preset, &text))
        printf("# %s.yaml\n%s\n", preset->name, bytes);
    else
        print_message("%s is saved", preset->name);
}

/* Into the configuration file, word by word: each is checked as `config set` checks it. */
static enum dgo_status save_group(const struct import_state *state,
                                  const struct import_group *group, struct dgo_error *err)
{
    const struct {
        const char *key;
        bool value, otherwise;
    } words[] = {{"swap", group->swap, true},
                 {"exclusive", group->exclusive, true},
                 {"persistent", group->persistent, false}};
    char key[PRESET_NAME_MAX + 32];
    enum dgo_status status;

    snprintf(key, sizeof key, "groups.%s.members", group->name);
    status = config_set(&state->call->options, state->call->environment, key, group->member,
                        group->member_count, err);
    for (size_t i = 0; i < sizeof words / sizeof words[0] && status == DGO_OK; i++) {
        const char *value = words[i].value ? "true" : "false";

        if (words[i].value == words[i].otherwise)
            continue;
        snprintf(key, sizeof key, "groups.%s.%s", group->name, words[i].key);
        status = config_set(&state->call->options, state->call->environment, key, &value, 1, err);
    }
    return status;
}

static void add_group(const struct import_group *group, uint32_t line, void *data)
{
    struct import_state *state = data;
    struct dgo_error err = {0};
    json_t *members = json_array();

    if (!state->dry_run && save_group(state, group, &err) != DGO_OK) {
        json_decref(members);
        add_note(group->name, line, false, err.text, state);
        state->refused = true;
        return;
    }
    for (uint32_t i = 0; i < group->member_count; i++)
        json_array_append_new(members, view_text(group->member[i]));
    json_array_append_new(state->groups,
                          json_pack("{s:o, s:o, s:b, s:b, s:b}", "name", view_text(group->name),
                                    "members", members, "swap", (int)group->swap, "exclusive",
                                    (int)group->exclusive, "persistent", (int)group->persistent));
    if (!state->json)
        print_message("the group %s %s, with %u member%s", group->name,
                      state->dry_run ? "would be in the configuration" : "is in the configuration",
                      (unsigned)group->member_count, group->member_count == 1 ? "" : "s");
}

static enum dgo_status read_file(struct import_state *state, const char *path, const char *real,
                                 struct dgo_error *err)
{
    struct import_call call = {.environment = state->call->environment,
                               .preset = add_preset,
                               .note = add_note,
                               .group = add_group,
                               .data = state};
    char folder[PATH_MAX], *text = NULL;
    enum dgo_status status;

    if (!import_kind_of(path, &call.kind))
        return dgo_fail(err, DGO_EUSAGE,
                        "'%.200s' is neither llama-swap's config.yaml nor llama.cpp's presets.ini: "
                        "its name ends in neither .yaml nor .ini",
                        path);
    if (!real)
        return dgo_fail(err, DGO_ENOTFOUND, "there is no file '%.200s'", path);
    (void)dgo_text_copy(folder, sizeof folder, real);
    *strrchr(folder, '/') = '\0';
    call.folder = folder;
    status = dgo_file_read(real, "the file", IMPORT_BYTES_MAX, &text, &call.length, err);
    call.text = text;
    if (status == DGO_OK)
        status = import_read(&call, err);
    free(text);
    return status == DGO_OK ? DGO_OK : dgo_error_prefix(err, status, "%.200s", path);
}

static int run(const struct cmd_call *call)
{
    struct import_state state = {.call = call,
                                 .file = call->args[0],
                                 .dry_run = option_given(&call->options, OPTION_DRY_RUN),
                                 .replace = option_given(&call->options, OPTION_REPLACE),
                                 .json = option_given(&call->options, OPTION_JSON),
                                 .presets = json_array(),
                                 .groups = json_array(),
                                 .notes = json_array()};
    char *real = realpath(call->args[0], NULL);
    struct dgo_error err = {0};
    int status = 0;

    if (read_file(&state, call->args[0], real, &err) != DGO_OK)
        status = print_failure(&err);
    else if (state.json)
        status = print_json(json_pack("{s:s, s:o, s:b, s:O, s:O, s:O}", "schema",
                                      "dualgpuopt.import/1", "file", view_text(call->args[0]),
                                      "dry_run", (int)state.dry_run, "presets", state.presets,
                                      "groups", state.groups, "notes", state.notes));
    else
        print_message("%zu of %zu launches %s", json_array_size(state.presets),
                      json_array_size(state.presets) + state.lost,
                      state.dry_run ? "would be presets; nothing is written" : "are presets now");
    json_decref(state.presets);
    json_decref(state.groups);
    json_decref(state.notes);
    free(real);
    return status ? status : state.lost || state.refused ? 1 : 0;
}

const struct cmd cmd_presets_import = {
    .name = "presets import",
    .does = "make presets of llama-swap's config.yaml or llama.cpp's presets.ini",
    .usage = "FILE [options]",
    .examples = "dualgpuopt presets import ~/llama-swap/config.yaml --dry-run\n"
                "dualgpuopt presets import presets.ini --replace",
    .details =
        "Nothing of the file is started. What a preset cannot say is told by line; where layers\n"
        "lie is planned anew; groups go into the configuration, their members under the names\n"
        "of their presets. Exits with 1 where a launch could not be imported.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_DRY_RUN, OPTION_REPLACE, OPTION_JSON, OPTION_CONFIG, OPTION_VERBOSE,
                OPTION_HELP},
    .run = run,
};
