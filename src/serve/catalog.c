/* catalog.c - looks for model files below the configured folders, within bounds. */
#include "catalog.h"

#include "dgo_text.h"
#include "view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct scan {
    struct catalog *catalog;
    const char *folder;
    int folder_fd;
    uint32_t entry_count;
    char relative[CATALOG_NAME_MAX];
    bool no_memory;
};

/* A regular file below the folder, links followed as far as they stay there. */
static bool stat_beneath(const struct scan *scan, struct stat *info)
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    const int fd = (int)syscall(SYS_openat2, scan->folder_fd, scan->relative, &how, sizeof how);
    bool regular;

    if (fd < 0)
        return false;
    regular = fstat(fd, info) == 0 && S_ISREG(info->st_mode);
    close(fd);
    return regular;
}

static struct catalog_model *last_model(struct catalog *catalog)
{
    return &catalog->model[catalog->model_count];
}

/* "x-00002-of-00003.gguf": part 2 of 3, and the length of "x". */
static bool parse_part(const char *name, size_t length, uint32_t *part, uint32_t *parts,
                       size_t *stem)
{
    static const char pattern[] = "-ddddd-of-ddddd.gguf";
    const size_t suffix = sizeof pattern - 1;

    if (length <= suffix)
        return false;
    for (size_t i = 0; i < suffix; i++) {
        const char c = name[length - suffix + i];

        if (pattern[i] == 'd' && i + 5 < suffix ? !(c >= '0' && c <= '9') : c != pattern[i])
            return false;
    }
    *part = (uint32_t)strtoul(name + length - suffix + 1, NULL, 10);
    *parts = (uint32_t)strtoul(name + length - suffix + 10, NULL, 10);
    *stem = length - suffix;
    return true;
}

static void add_file(struct scan *scan, const char *base, uint64_t bytes)
{
    struct catalog *catalog = scan->catalog;
    const size_t length = strlen(scan->relative);
    size_t stem = length - strlen(".gguf");
    uint32_t part = 1, parts = 1;
    struct catalog_model *model;

    if (strncmp(base, "mmproj", 6) == 0)
        return; /* a projector is part of another model */
    if (parse_part(scan->relative, length, &part, &parts, &stem) && part != 1) {
        for (uint32_t i = 0; i < catalog->model_count; i++) /* its first part may come later */
            if (strncmp(catalog->model[i].path + strlen(scan->folder) + 1, scan->relative, stem) ==
                    0 &&
                catalog->model[i].shard_count == parts)
                catalog->model[i].file_bytes += bytes;
        return;
    }
    if (catalog->model_count == CATALOG_MODEL_MAX) {
        catalog->truncated = true;
        return;
    }
    model = last_model(catalog);
    *model = (struct catalog_model){.file_bytes = bytes, .shard_count = parts};
    model->name = strndup(scan->relative, stem);
    if (asprintf(&model->path, "%s/%s", scan->folder, scan->relative) < 0)
        model->path = NULL;
    if (!model->name || !model->path) {
        free(model->name);
        free(model->path);
        scan->no_memory = true;
        return;
    }
    catalog->model_count++;
}

static bool is_model_name(const char *name)
{
    const size_t length = strlen(name);

    return length > 5 && strcmp(name + length - 5, ".gguf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* One folder, in the order of names, so that first parts come first and lists are stable. */
static void scan_folder(struct scan *scan, int depth)
{
    const size_t here = strlen(scan->relative);
    struct dirent **list = NULL;
    const int fd = openat(scan->folder_fd, here ? scan->relative : ".",
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const int count = fd < 0 ? -1 : scandirat(fd, ".", &list, is_visible, by_name);

    for (int i = 0; i < count; i++) {
        const char *name = list[i]->d_name;
        struct stat info;

        if (++scan->entry_count > CATALOG_ENTRY_MAX) {
            scan->catalog->truncated = true;
        } else if (snprintf(scan->relative + here, sizeof scan->relative - here, "%s%s",
                            here ? "/" : "", name) >= (int)(sizeof scan->relative - here)) {
            scan->catalog->truncated = true;
        } else if (is_model_name(name)) {
            if (stat_beneath(scan, &info))
                add_file(scan, name, (uint64_t)info.st_size);
        } else if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) {
            if (depth < CATALOG_DEPTH_MAX)
                scan_folder(scan, depth + 1);
            else
                scan->catalog->truncated = true;
        }
        scan->relative[here] = '\0';
    }
    for (int i = 0; i < count; i++)
        free(list[i]);
    free(list);
    if (fd >= 0)
        close(fd);
}

static void add_problem(struct catalog *catalog, const char *folder, int errno_value)
{
    char *text;

    if (asprintf(&text, "%s%sthe folder \"%s\" cannot be read: %s",
                 catalog->problem ? catalog->problem : "", catalog->problem ? "; " : "", folder,
                 strerror(errno_value)) < 0)
        return;
    free(catalog->problem);
    catalog->problem = text;
}

static void scan_one(struct catalog *catalog, char *folder, bool *no_memory)
{
    struct scan scan = {.catalog = catalog, .folder = folder};

    scan.folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scan.folder_fd < 0) {
        add_problem(catalog, folder, errno);
        return;
    }
    scan_folder(&scan, 0);
    close(scan.folder_fd);
    *no_memory |= scan.no_memory;
}

static int compare_models(const void *a, const void *b)
{
    const struct catalog_model *one = a, *other = b;
    const int order = strcmp(one->name, other->name);

    return order ? order : strcmp(one->path, other->path);
}

static bool add_folders(struct catalog *catalog, const char *const *folders, uint32_t count)
{
    catalog->folder = calloc(count + 1, sizeof catalog->folder[0]);
    for (uint32_t i = 0; catalog->folder && i < count; i++) {
        size_t length = strlen(folders[i]);

        while (length > 1 && folders[i][length - 1] == '/')
            length--;
        catalog->folder[i] = strndup(folders[i], length);
        if (!catalog->folder[i])
            return false;
        catalog->folder_count++;
    }
    return catalog->folder != NULL;
}

uint32_t catalog_split(char *text, const char **folders, uint32_t max)
{
    uint32_t count = 0;
    char *rest = NULL;

    for (char *folder = strtok_r(text, ":", &rest); folder && count < max;
         folder = strtok_r(NULL, ":", &rest))
        folders[count++] = folder;
    return count;
}

enum dgo_status catalog_scan(const char *const *folders, uint32_t folder_count,
                             struct catalog **catalog, struct dgo_error *err)
{
    struct catalog *made = calloc(1, sizeof *made);
    bool no_memory = false;

    if (made)
        made->model = calloc(CATALOG_MODEL_MAX, sizeof made->model[0]);
    if (!made || !made->model || !add_folders(made, folders, folder_count)) {
        catalog_free(made);
        return dgo_fail(err, DGO_ENOMEM, "out of memory while looking for models");
    }
    for (uint32_t i = 0; i < made->folder_count; i++)
        scan_one(made, made->folder[i], &no_memory);
    if (no_memory) {
        catalog_free(made);
        return dgo_fail(err, DGO_ENOMEM, "out of memory while looking for models");
    }
    if (made->model_count)
        qsort(made->model, made->model_count, sizeof made->model[0], compare_models);
    *catalog = made;
    return DGO_OK;
}

void catalog_free(struct catalog *catalog)
{
    if (!catalog)
        return;
    for (uint32_t i = 0; i < catalog->model_count; i++) {
        free(catalog->model[i].name);
        free(catalog->model[i].path);
    }
    for (uint32_t i = 0; i < catalog->folder_count && catalog->folder; i++)
        free(catalog->folder[i]);
    free(catalog->model);
    free(catalog->folder);
    free(catalog->problem);
    free(catalog);
}

enum dgo_status catalog_find(const struct catalog *catalog, const char *name,
                             const struct catalog_model **model, struct dgo_error *err)
{
    char shown[120];

    for (uint32_t i = 0; i < catalog->model_count; i++)
        if (strcmp(catalog->model[i].name, name) == 0) {
            *model = &catalog->model[i];
            return DGO_OK;
        }
    dgo_text_copy_escaped(shown, sizeof shown, name, strlen(name));
    return dgo_fail(err, DGO_ENOTFOUND, "there is no model \"%s\" in the configured folders%s%s",
                    shown, catalog->problem ? "; " : "", catalog->problem ? catalog->problem : "");
}

json_t *catalog_view(const struct catalog *catalog)
{
    json_t *models = json_array(), *folders = json_array();
    json_t *object = json_pack("{s:o, s:o, s:b}", "models", models, "folders", folders, "truncated",
                               (int)catalog->truncated);

    for (uint32_t i = 0; i < catalog->model_count; i++)
        json_array_append_new(models, json_pack("{s:o, s:I, s:i}", "name",
                                                view_text(catalog->model[i].name), "file_bytes",
                                                (json_int_t)catalog->model[i].file_bytes,
                                                "shard_count", (int)catalog->model[i].shard_count));
    for (uint32_t i = 0; i < catalog->folder_count; i++)
        json_array_append_new(folders, view_text(catalog->folder[i]));
    if (catalog->problem)
        json_object_set_new(object, "problem", view_text(catalog->problem));
    return object;
}
