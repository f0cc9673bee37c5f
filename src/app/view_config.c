/* view_config.c - the settings in force as JSON. */
#include "view_config.h"

#include "dgo_units.h"
#include "view.h"

#include <stdio.h>
#include <string.h>

static const char *const origin_names[] = {[ORIGIN_DEFAULT] = "default",
                                           [ORIGIN_FILE] = "file",
                                           [ORIGIN_ENVIRONMENT] = "environment",
                                           [ORIGIN_FLAG] = "flag"};
static const char *const kind_names[] = {
    [KIND_FLAG] = "flag",   [KIND_TEXT] = "text",         [KIND_COUNT] = "count",
    [KIND_SIZE] = "size",   [KIND_DURATION] = "duration", [KIND_CHOICE] = "choice",
    [KIND_SIZES] = "sizes", [KIND_TOKENS] = "tokens"};

/* The number a program wants: bytes, seconds, tokens. */
static json_t *view_value(const struct option_spec *spec, const struct option_value *value)
{
    switch (spec->kind) {
    case KIND_FLAG:
        return json_boolean(value->given);
    case KIND_COUNT:
    case KIND_SIZE:
        return json_integer((json_int_t)value->number);
    case KIND_SIZES: /* one for all is a number, a list by index is what was written */
        if (!strpbrk(value->text, ",="))
            return json_integer((json_int_t)value->number);
        break;
    case KIND_DURATION:
        return json_real((double)value->number / (double)DGO_NS_PER_S);
    case KIND_TOKENS:
        if (value->number != OPTION_TOKENS_MAX)
            return json_integer((json_int_t)value->number);
        break;
    case KIND_TEXT:
    case KIND_CHOICE:
        break;
    }
    return view_text(value->text);
}

static json_t *view_key(const char *key, const char *kind, const char *help)
{
    return json_pack("{s:s, s:s, s:s}", "key", key, "kind", kind, "help", help);
}

static void add_origin(json_t *object, const char *key, enum option_origin origin, uint32_t line)
{
    const struct option_spec spec = {.name = key};
    char variable[OPTION_VARIABLE_MAX];

    json_object_set_new(object, "origin", json_string(origin_names[origin]));
    option_variable(&spec, variable);
    if (origin == ORIGIN_FILE)
        json_object_set_new(object, "line", json_integer(line));
    if (origin == ORIGIN_ENVIRONMENT)
        json_object_set_new(object, "variable", json_string(variable));
}

static json_t *view_row(const struct option_spec *spec, const struct option_value *value)
{
    json_t *object = view_key(spec->name, kind_names[spec->kind], spec->help);

    if (spec->metavar)
        json_object_set_new(object, "accepts", json_string(spec->metavar));
    if (spec->value)
        json_object_set_new(object, "default", json_string(spec->value));
    if (!value->given && value->origin == ORIGIN_DEFAULT)
        return object;
    json_object_set_new(object, "value", view_value(spec, value));
    json_object_set_new(object, "text",
                        spec->kind == KIND_FLAG ? json_string(value->given ? "true" : "false")
                                                : view_text(value->text));
    add_origin(object, spec->name, value->origin, value->line);
    return object;
}

static json_t *view_folders(const struct config_folders *folders)
{
    json_t *object = view_key("models", "list", "folders of model files");
    json_t *list = json_array();
    char text[4096];
    size_t length = 0;

    json_object_set_new(object, "accepts", json_string("DIR ..."));
    text[0] = '\0';
    for (uint32_t i = 0; i < folders->count; i++) {
        json_array_append_new(list, view_text(folders->path[i]));
        if (length < sizeof text)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", i ? ", " : "",
                                       folders->path[i]);
    }
    if (folders->origin == ORIGIN_DEFAULT) {
        json_decref(list);
        return object;
    }
    json_object_set_new(object, "value", list);
    json_object_set_new(object, "text", view_text(text));
    add_origin(object, "models", folders->origin, folders->line);
    return object;
}

static json_t *view_place(enum component component, const struct config_place *place)
{
    const char *name = dgo_component_get(app_component(component))->name;
    char key[64];
    json_t *object;

    (void)snprintf(key, sizeof key, "components.%s", name);
    object = view_key(key, "choice", "where this work runs");
    json_object_set_new(object, "accepts", json_string("cpu|gpu|auto"));
    if (!place->given)
        return object;
    json_object_set_new(object, "value", json_string(dgo_hint_name(place->hint)));
    json_object_set_new(object, "text", json_string(dgo_hint_name(place->hint)));
    (void)snprintf(key, sizeof key, "component.%s", name); /* as its variable says it */
    add_origin(object, key, place->origin, place->line);
    return object;
}

json_t *view_groups(const struct config_groups *groups)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < groups->count; i++) {
        const struct config_group *group = &groups->group[i];
        json_t *members = json_array();

        for (uint32_t m = 0; m < group->member_count; m++)
            json_array_append_new(members, view_text(group->member[m]));
        json_array_append_new(list, json_pack("{s:o, s:o, s:b, s:b, s:b}", "name",
                                              view_text(group->name), "members", members, "swap",
                                              (int)group->swap, "exclusive", (int)group->exclusive,
                                              "persistent", (int)group->persistent));
    }
    return list;
}

json_t *view_config(const struct config *config)
{
    json_t *values = json_array();

    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (config_option_is_key((enum option_id)i))
            json_array_append_new(values, view_row(&option_specs[i], &config->options.value[i]));
    json_array_append_new(values, view_folders(&config->folders));
    for (unsigned i = 0; i < SETTING_COUNT; i++)
        json_array_append_new(values, view_row(&setting_specs[i], &config->setting[i]));
    for (unsigned i = 0; i < COMPONENT_COUNT; i++)
        json_array_append_new(values, view_place((enum component)i, &config->component[i]));
    return json_pack("{s:o, s:b, s:o, s:o}", "path", view_text(config->path), "from_file",
                     config->from_file, "values", values, "groups", view_groups(&config->groups));
}
