/* shards.c - a model that lies in several files: any one names the others. */
#include "model_internal.h"

#include "dgo_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_BUFFER_BYTES = 128 << 10,
    SUFFIX_LENGTH = sizeof "-00001-of-00002.gguf" - 1,
    PATH_BYTES_MAX = sizeof((struct dgo_model *)0)->path,
    SHOWN_PATH_MAX = 320, /* in a sentence */
};

/* --- one file -------------------------------------------------------------------------------- */

static const char *kind_of_file(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a directory without a config.json; name a .gguf file in it, or a folder of "
               "safetensors";
    case S_IFIFO:
        return "a pipe; a model must be a regular file";
    case S_IFCHR:
    case S_IFBLK:
        return "a device; a model must be a regular file";
    case S_IFSOCK:
        return "a socket; a model must be a regular file";
    default:
        return "not a regular file";
    }
}

static enum dgo_status parse_file(int fd, uint64_t file_bytes, struct dgo_arena *arena,
                                  struct gguf_file *file, struct dgo_error *err)
{
    unsigned char *buffer = malloc(READ_BUFFER_BYTES);
    struct dgo_reader in;

    if (!buffer)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    dgo_read_file(&in, fd, dgo_min_u64(file_bytes, GGUF_HEADER_BYTES_MAX), buffer,
                  READ_BUFFER_BYTES);

    const enum dgo_status status = gguf_parse(&in, file_bytes, arena, file, err);

    free(buffer);
    return status;
}

/* O_NONBLOCK: opening a pipe must not wait for its writer. */
static enum dgo_status open_file(const char *path, struct dgo_arena *arena, struct gguf_file *file,
                                 struct dgo_error *err)
{
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat about;
    enum dgo_status status;

    if (fd < 0)
        return dgo_fail_errno(err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                              "cannot be opened");
    if (fstat(fd, &about) < 0)
        status = dgo_fail_errno(err, DGO_EIO, errno, "cannot be examined");
    else if (!S_ISREG(about.st_mode))
        status = dgo_fail(err, DGO_EUNSUPPORTED, "it is %s", kind_of_file(about.st_mode));
    else
        status = parse_file(fd, (uint64_t)about.st_size, arena, file, err);
    close(fd);
    return status;
}

static enum dgo_status open_named(const char *path, struct dgo_arena *arena, struct gguf_file *file,
                                  struct dgo_error *err)
{
    const enum dgo_status status = open_file(path, arena, file, err);
    char shown[SHOWN_PATH_MAX];

    if (status == DGO_OK)
        return DGO_OK;
    dgo_text_copy_escaped(shown, sizeof shown, path, strlen(path));
    return dgo_error_prefix(err, status, "%s", shown);
}

/* --- several --------------------------------------------------------------------------------- */

/* What a file says about itself; count 1: it stands alone. */
struct split {
    uint64_t number; /* from 0 */
    uint64_t count;
    uint64_t tensor_count; /* of all parts; 0: not said */
    uint64_t pos;          /* where the file says the count */
};

static struct split split_of(const struct gguf_file *file)
{
    struct split split = {.count = 1};

    const struct dgo_model_key *count = gguf_find(file, "split.count");

    if (gguf_number(count, &split.count))
        split.pos = count->pos;
    else
        split.count = 1;
    if (!gguf_number(gguf_find(file, "split.no"), &split.number))
        split.number = 0;
    if (!gguf_number(gguf_find(file, "split.tensors.count"), &split.tensor_count))
        split.tensor_count = 0;
    return split;
}

/* Writes the name of part `number` of `count`; false: `path` is not named like a part. */
static bool name_part(const char *path, uint64_t number, uint64_t count, char name[PATH_BYTES_MAX])
{
    const size_t length = strlen(path);
    unsigned given_number, given_count;
    char end;

    if (length <= SUFFIX_LENGTH ||
        sscanf(path + length - SUFFIX_LENGTH, "-%5u-of-%5u.ggu%c", &given_number, &given_count,
               &end) != 3 ||
        end != 'f')
        return false;
    snprintf(name, PATH_BYTES_MAX, "%.*s-%05" PRIu64 "-of-%05" PRIu64 ".gguf",
             (int)(length - SUFFIX_LENGTH), path, number + 1, count);
    return true;
}

static enum dgo_status check_given(const char *path, const struct split *split,
                                   struct dgo_error *err)
{
    char name[PATH_BYTES_MAX];

    if (split->count > DGO_SHARD_MAX)
        return dgo_fail(err, DGO_ELIMIT,
                        "byte %" PRIu64 ": split.count is %" PRIu64 ", at most %d are taken",
                        split->pos, split->count, DGO_SHARD_MAX);
    if (split->number >= split->count)
        return dgo_fail(err, DGO_EFORMAT,
                        "byte %" PRIu64 ": split.no is %" PRIu64 " of %" PRIu64 " parts",
                        split->pos, split->number, split->count);
    if (!name_part(path, split->number, split->count, name) || strcmp(name, path) != 0)
        return dgo_fail(err, DGO_EFORMAT,
                        "byte %" PRIu64 ": it is part %" PRIu64 " of %" PRIu64
                        " of a split model; the engine finds "
                        "the others only when its name ends in -%05" PRIu64 "-of-%05" PRIu64
                        ".gguf, so rename or link all parts that way",
                        split->pos, split->number + 1, split->count, split->number + 1,
                        split->count);
    return DGO_OK;
}

static enum dgo_status open_part(const char *path, uint64_t number, const struct split *split,
                                 struct dgo_arena *arena, struct gguf_file *file,
                                 struct dgo_error *err)
{
    char name[PATH_BYTES_MAX], shown[SHOWN_PATH_MAX];

    if (!name_part(path, number, split->count, name))
        return dgo_fail(err, DGO_EINVAL, "the path is too long");

    enum dgo_status status = open_named(name, arena, file, err);

    dgo_text_copy_escaped(shown, sizeof shown, name, strlen(name));
    if (status == DGO_ENOTFOUND)
        return dgo_fail(err, status,
                        "%s: part %" PRIu64 " of %" PRIu64 " of the model is missing; it belongs "
                        "in the same folder as the others",
                        shown, number + 1, split->count);
    if (status)
        return status;

    const struct split said = split_of(file);

    if (said.count != split->count || said.number != number)
        return dgo_fail(err, DGO_EFORMAT,
                        "%s: byte %" PRIu64 ": says of itself that it is part %" PRIu64
                        " of %" PRIu64 "; was a part renamed, or does it come from another model?",
                        shown, said.pos, said.number + 1, said.count);
    return DGO_OK;
}

static enum dgo_status check_total(const char *path, const struct shard_set *set,
                                   const struct split *split, struct dgo_error *err)
{
    char shown[SHOWN_PATH_MAX];
    uint64_t total = 0;

    for (uint32_t i = 0; i < set->count; i++)
        total += set->file[i].tensor_count;
    if (split->tensor_count == 0 || total == split->tensor_count)
        return DGO_OK;
    dgo_text_copy_escaped(shown, sizeof shown, path, strlen(path));
    return dgo_fail(err, DGO_EFORMAT,
                    "%s: byte %" PRIu64 ": the %" PRIu32 " parts hold %" PRIu64
                    " tensors, split.tensors.count says "
                    "%" PRIu64 "; do they all come from the same model?",
                    shown, split->pos, set->count, total, split->tensor_count);
}

static enum dgo_status open_others(const char *path, const struct gguf_file *given,
                                   const struct split *split, struct dgo_arena *arena,
                                   struct shard_set *set, struct dgo_error *err)
{
    struct gguf_file *file = dgo_arena_take_array(arena, split->count, sizeof *file);

    if (!file)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    for (uint64_t i = 0; i < split->count; i++) {
        if (i == split->number) {
            file[i] = *given;
            continue;
        }

        const enum dgo_status status = open_part(path, i, split, arena, &file[i], err);

        if (status)
            return status;
    }
    set->count = (uint32_t)split->count;
    set->file = file;
    return check_total(path, set, split, err);
}

enum dgo_status shards_open(const char *path, struct dgo_arena *arena, struct shard_set *set,
                            struct dgo_error *err)
{
    struct gguf_file *given = dgo_arena_take(arena, sizeof *given);
    char shown[SHOWN_PATH_MAX];

    if (!given)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (strlen(path) >= PATH_BYTES_MAX)
        return dgo_fail(err, DGO_EINVAL, "the path of a model may have %d bytes at most",
                        (int)PATH_BYTES_MAX - 1);

    enum dgo_status status = open_named(path, arena, given, err);

    if (status)
        return status;

    const struct split split = split_of(given);

    if (split.count <= 1) {
        *set = (struct shard_set){.count = 1, .file = given};
        return DGO_OK;
    }
    if ((status = check_given(path, &split, err))) {
        dgo_text_copy_escaped(shown, sizeof shown, path, strlen(path));
        return dgo_error_prefix(err, status, "%s", shown);
    }
    return open_others(path, given, &split, arena, set, err);
}
