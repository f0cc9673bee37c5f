/* folder.c - opens a model folder: config.json, the index, and the header of each file. */
#include "folder.h"

#include "dgo_arena.h"
#include "dgo_json.h"
#include "dgo_text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    INDEX_BYTES_MAX = 64 << 20, /* DeepSeek-V3's has 8 MB */
    FILE_NAME_MAX = 256,
};

/* ---- files ---- */

static bool is_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat about;

    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
           stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

bool folder_is_model(const char *path, char *folder, size_t size)
{
    struct stat about;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    if (stat(path, &about) != 0 || !dgo_text_copy(folder, size, path))
        return false;
    if (!S_ISDIR(about.st_mode)) {
        const size_t length = strlen(name);

        if (!S_ISREG(about.st_mode) ||
            !((length > 12 && strcmp(name + length - 12, ".safetensors") == 0) ||
              strcmp(name, "config.json") == 0 ||
              strcmp(name, "model.safetensors.index.json") == 0))
            return false;
        if (!slash)
            dgo_text_copy(folder, size, ".");
        else
            folder[slash == path ? 1 : slash - path] = '\0';
    }
    for (size_t length = strlen(folder); length > 1 && folder[length - 1] == '/'; length--)
        folder[length - 1] = '\0';
    return is_file(folder, "config.json");
}

/* The whole of a text file, to be freed. */
static enum dgo_status read_text(const char *folder, const char *name, size_t most, char **text,
                                 size_t *length, struct dgo_error *err)
{
    char path[PATH_MAX];
    enum dgo_status status = DGO_OK;
    struct stat about;
    char *bytes = NULL;
    size_t at = 0;
    int fd;

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return dgo_fail(err, DGO_ELIMIT, "the path of %s is too long", name);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) < 0)
        status = dgo_fail_errno(err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                                "%s cannot be read", name);
    else if (!S_ISREG(about.st_mode) || about.st_size < 0 || (uint64_t)about.st_size > most)
        status = dgo_fail(err, DGO_ELIMIT, "%s is no file of at most %zu bytes", name, most);
    else if (!(bytes = malloc((size_t)about.st_size + 1)))
        status = dgo_fail(err, DGO_ENOMEM, "out of memory for %s", name);
    while (status == DGO_OK && at < (size_t)about.st_size) {
        const ssize_t got = pread(fd, bytes + at, (size_t)about.st_size - at, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            status = dgo_fail_errno(err, DGO_EIO, got < 0 ? errno : 0,
                                    "%s was cut while it was read", name);
        else
            at += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    if (status != DGO_OK) {
        free(bytes);
        return status;
    }
    bytes[at] = '\0';
    *text = bytes;
    *length = at;
    return DGO_OK;
}

/* ---- which files ---- */

struct file_list {
    uint32_t count;
    char (*name)[FILE_NAME_MAX]; /* DGO_SHARD_MAX of them */
};

static enum dgo_status add_file(struct file_list *list, const char *name, struct dgo_error *err)
{
    for (uint32_t i = list->count; i-- > 0;) /* an index names the same file many times in a row */
        if (strcmp(list->name[i], name) == 0)
            return DGO_OK;
    if (list->count == DGO_SHARD_MAX)
        return dgo_fail(err, DGO_ELIMIT, "more than %d files of weights", DGO_SHARD_MAX);
    dgo_text_copy(list->name[list->count++], FILE_NAME_MAX, name);
    return DGO_OK;
}

/* "weight_map": {tensor: file}.  A file of the folder itself, nothing else: an index from the
 * network must not make us read elsewhere. */
static enum dgo_status read_index(const struct dgo_json_value *value, void *data,
                                  struct dgo_error *err)
{
    if (value->depth != 2 || strcmp(value->step[0].key, "weight_map") != 0)
        return DGO_OK;
    if (value->kind != DGO_JSON_STRING || value->length == 0 || value->length >= FILE_NAME_MAX ||
        strchr(value->text, '/') || value->text[0] == '.')
        return dgo_fail(err, DGO_EFORMAT, "byte %" PRIu64 ": weight_map names no plain file",
                        value->pos);
    return add_file(data, value->text, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* consolidated.safetensors of Mistral holds the same weights once more. */
static enum dgo_status list_folder(const char *folder, struct file_list *list,
                                   struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    DIR *dir = opendir(folder);
    struct dirent *entry;

    if (!dir)
        return dgo_fail_errno(err, DGO_EIO, errno, "the folder cannot be listed");
    while (status == DGO_OK && (entry = readdir(dir))) {
        const size_t length = strlen(entry->d_name);

        if (length > 12 && length < FILE_NAME_MAX &&
            strcmp(entry->d_name + length - 12, ".safetensors") == 0 &&
            strncmp(entry->d_name, "consolidated", 12) != 0)
            status = add_file(list, entry->d_name, err);
    }
    closedir(dir);
    qsort(list->name, list->count, FILE_NAME_MAX, by_name);
    if (status == DGO_OK && list->count == 0)
        status = dgo_fail(err, DGO_ENOTFOUND,
                          "the folder holds config.json but no .safetensors files; is the download "
                          "complete?");
    return status;
}

static enum dgo_status list_files(const char *folder, struct file_list *list, struct dgo_error *err)
{
    static const char index[] = "model.safetensors.index.json";
    enum dgo_status status;
    size_t length;
    char *text;

    if (!is_file(folder, index))
        return list_folder(folder, list, err);
    status = read_text(folder, index, INDEX_BYTES_MAX, &text, &length, err);
    if (status != DGO_OK)
        return status;
    status = dgo_json_walk(text, length, 0, read_index, list, err);
    free(text);
    if (status != DGO_OK)
        return dgo_error_prefix(err, status, "%s", index);
    return list->count ? DGO_OK : dgo_fail(err, DGO_EFORMAT, "%s: weight_map names no file", index);
}

/* ---- the model ---- */

struct opening {
    const struct hf_config *config;
    struct dgo_model *model;
};

static enum dgo_status add_tensor(const struct safetensors_tensor *tensor, void *data,
                                  struct dgo_error *err)
{
    const struct opening *opening = data;

    return folder_add_tensor(opening->config, opening->model, tensor, err);
}

enum dgo_status folder_parse(const char *config_text, size_t config_length, const char *header,
                             size_t header_length, uint64_t data_bytes, struct dgo_model *model,
                             struct dgo_error *err)
{
    struct hf_config *config = calloc(1, sizeof *config);
    const struct opening opening = {config, model};
    enum dgo_status status;

    if (!config)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    status = hf_config_parse(config_text, config_length, config, err);
    if (status == DGO_OK) {
        folder_begin(config, model);
        model->shard_count = 1;
        status =
            safetensors_parse(header, header_length, data_bytes, add_tensor, (void *)&opening, err);
    }
    if (status == DGO_OK)
        status = folder_finish(config, model, err);
    free(config);
    return status;
}

static enum dgo_status read_weights(const char *folder, const char *name,
                                    const struct opening *opening, struct dgo_error *err)
{
    char path[PATH_MAX], shown[320];
    enum dgo_status status;
    struct stat about;
    int fd = -1;

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return dgo_fail(err, DGO_ELIMIT, "a path of the model is too long");
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        status =
            dgo_fail_errno(err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                           errno == ENOENT ? "a file of the model is missing" : "cannot be opened");
    else if (fstat(fd, &about) < 0 || !S_ISREG(about.st_mode))
        status = dgo_fail(err, DGO_EUNSUPPORTED, "it is no regular file");
    else
        status = safetensors_read(fd, (uint64_t)about.st_size, add_tensor, (void *)opening, err);
    if (fd >= 0)
        close(fd);
    if (status == DGO_OK)
        opening->model->file_bytes += (uint64_t)about.st_size;
    else {
        dgo_text_copy_escaped(shown, sizeof shown, name, strlen(name));
        dgo_error_prefix(err, status, "%s", shown);
    }
    return status;
}

static enum dgo_status read_config(const char *folder, struct hf_config *config,
                                   struct dgo_error *err)
{
    enum dgo_status status;
    size_t length;
    char *text;

    status = read_text(folder, "config.json", HF_CONFIG_BYTES_MAX, &text, &length, err);
    if (status != DGO_OK)
        return status;
    status = hf_config_parse(text, length, config, err);
    free(text);
    if (status != DGO_OK || !is_file(folder, "hf_quant_config.json"))
        return status;
    status = read_text(folder, "hf_quant_config.json", HF_CONFIG_BYTES_MAX, &text, &length, err);
    if (status == DGO_OK) {
        status = hf_quant_config_parse(text, length, config, err);
        free(text);
        if (status != DGO_OK)
            dgo_error_prefix(err, status, "hf_quant_config.json");
    }
    return status;
}

enum dgo_status folder_open(const char *folder, struct dgo_model *model, struct dgo_error *err)
{
    struct hf_config *config = calloc(1, sizeof *config);
    struct file_list list = {0, calloc(DGO_SHARD_MAX, FILE_NAME_MAX)};
    const struct opening opening = {config, model};
    enum dgo_status status = DGO_OK;
    const char *base = strrchr(folder, '/');

    if (!config || !list.name)
        status = dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (status == DGO_OK)
        status = read_config(folder, config, err);
    if (status == DGO_OK)
        status = list_files(folder, &list, err);
    if (status == DGO_OK)
        folder_begin(config, model);
    for (uint32_t i = 0; status == DGO_OK && i < list.count; i++)
        status = read_weights(folder, list.name[i], &opening, err);
    if (status == DGO_OK)
        status = folder_finish(config, model, err);
    if (status == DGO_OK) {
        dgo_text_copy(model->path, sizeof model->path, folder);
        dgo_text_copy_escaped(model->name, sizeof model->name, base ? base + 1 : folder,
                              strlen(base ? base + 1 : folder));
        model->shard_count = list.count;
    }
    free(list.name);
    free(config);
    return status;
}
