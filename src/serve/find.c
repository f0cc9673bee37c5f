/* find.c - what a request means by a name: a model of the folders, a preset, a file of the user. */
#include "api.h"

#include <stdlib.h>
#include <string.h>

enum dgo_status api_scan(const struct config *config, struct catalog **catalog,
                         struct dgo_error *err)
{
    const char *text = option_text(&config->options, OPTION_MODEL_FOLDERS);
    const char *folders[CONFIG_FOLDER_MAX];
    char *copy;
    enum dgo_status status;

    if (!text)
        return catalog_scan(config->folders.path, config->folders.count, catalog, err);
    copy = strdup(text);
    if (!copy)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    status = catalog_scan(folders, catalog_split(copy, folders, CONFIG_FOLDER_MAX), catalog, err);
    free(copy);
    return status;
}

enum dgo_status api_find_model(const struct config *config, const char *name,
                               struct catalog **catalog, const struct catalog_model **model,
                               struct dgo_error *err)
{
    enum dgo_status status;

    if (!name)
        return dgo_fail(err, DGO_EUSAGE, "a model is needed, as /api/v1/models names it");
    status = api_scan(config, catalog, err);
    if (status == DGO_OK)
        status = catalog_find(*catalog, name, model, err);
    return status;
}

enum dgo_status api_read_preset(char *const *environment, const json_t *body,
                                struct preset **preset, struct dgo_error *err)
{
    const json_t *name = json_object_get(body, "preset");
    struct preset *made;
    enum dgo_status status;

    if (!name || json_is_null(name))
        return DGO_OK;
    if (!json_is_string(name))
        return dgo_fail(err, DGO_EUSAGE, "preset is a name, as /api/v1/presets lists them");
    made = malloc(sizeof *made);
    status = made ? preset_read(environment, json_string_value(name), made, err)
                  : dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (status != DGO_OK)
        free(made);
    else
        *preset = made;
    return status;
}

enum dgo_status api_take_path(const char *path, struct catalog **catalog,
                              const struct catalog_model **model, struct dgo_error *err)
{
    struct catalog *made;
    char *real = realpath(path, NULL);
    const char *base;
    size_t stem;

    if (!real)
        return dgo_fail(err, DGO_ENOTFOUND, "there is no file \"%.300s\"", path);
    base = strrchr(real, '/') ? strrchr(real, '/') + 1 : real;
    stem = strlen(base);
    if (stem > 5 && strcmp(base + stem - 5, ".gguf") == 0)
        stem -= 5;
    made = calloc(1, sizeof *made);
    if (made)
        made->model = calloc(1, sizeof *made->model);
    if (!made || !made->model) {
        free(made);
        free(real);
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    }
    made->model_count = 1;
    made->model->path = real;
    *catalog = made; /* the caller's to free, also after a failure */
    made->model->name = strndup(base, stem);
    if (!made->model->name)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    *model = made->model;
    return DGO_OK;
}

enum dgo_status api_find_asked(char *const *environment, const struct config *config,
                               const char *name, struct catalog **catalog,
                               const struct catalog_model **model, struct preset **preset,
                               struct dgo_error *err)
{
    struct preset *made;
    struct dgo_error no_preset = {0};
    enum dgo_status status;

    made = malloc(sizeof *made);
    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    status = preset_find(environment, name, made, &no_preset);
    if (status == DGO_OK) {
        *preset = made;
        return api_take_path(made->model, catalog, model, err);
    }
    free(made);
    if (status == DGO_ENOTFOUND)
        return api_find_model(config, name, catalog, model, err);
    return dgo_fail(err, status, "%s", no_preset.text);
}
