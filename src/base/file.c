/* file.c - small files read whole and saved atomically. */
#include "dgo_file.h"

#include "dgo_text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum dgo_status read_all(int fd, char *bytes, size_t size, size_t *length)
{
    *length = 0;
    while (*length < size) {
        const ssize_t got = read(fd, bytes + *length, size - *length);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return DGO_EIO;
        if (got == 0)
            break;
        *length += (size_t)got;
    }
    return DGO_OK;
}

enum dgo_status dgo_file_read(const char *path, const char *what, size_t limit_bytes, char **bytes,
                              size_t *length, struct dgo_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *read_bytes = malloc(limit_bytes + 2); /* one more, so that a larger file shows */
    enum dgo_status status = DGO_OK;
    size_t got = 0;

    if (fd < 0)
        status = dgo_fail_errno(err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                                "cannot open %s %s", what, path);
    else if (!read_bytes)
        status = dgo_fail(err, DGO_ENOMEM, "out of memory");
    else if (read_all(fd, read_bytes, limit_bytes + 1, &got) != DGO_OK)
        status = dgo_fail_errno(err, DGO_EIO, errno, "cannot read %s %s", what, path);
    else if (got > limit_bytes)
        status = dgo_fail(err, DGO_ELIMIT, "%s: larger than %g MiB", path,
                          (double)limit_bytes / (double)(1 << 20));
    if (fd >= 0)
        close(fd);
    if (status != DGO_OK) {
        free(read_bytes);
        return status;
    }
    read_bytes[got] = '\0';
    *bytes = read_bytes;
    *length = got;
    return DGO_OK;
}

enum dgo_status dgo_folder_make(const char *path, struct dgo_error *err)
{
    char part[PATH_MAX];

    if (!path[0] || !dgo_text_copy(part, sizeof part, path))
        return dgo_fail(err, DGO_EINVAL, "a folder has no usable name");
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(part, 0700); /* what fails here makes the last one fail */
        *slash = '/';
    }
    if (mkdir(part, 0700) < 0 && errno != EEXIST)
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot make the folder \"%s\"", path);
    return DGO_OK;
}

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t written = write(fd, bytes, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        length -= (size_t)written;
    }
    return fsync(fd) == 0;
}

/* After a rename: without it the old name may come back with the power. */
static void sync_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

enum dgo_status dgo_file_save(const char *path, const char *bytes, size_t length,
                              struct dgo_error *err)
{
    char target[PATH_MAX], folder[PATH_MAX], fresh[PATH_MAX + 16];
    enum dgo_status status = DGO_OK;
    struct stat info;
    const char *slash;
    int fd;

    if (!realpath(path, target) && !dgo_text_copy(target, sizeof target, path))
        return dgo_fail(err, DGO_EINVAL, "a path that long cannot be");
    slash = strrchr(target, '/');
    (void)snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - target) + 1 : 1,
                   slash ? target : ".");
    if (stat(folder, &info) < 0)
        status = dgo_folder_make(folder, err);
    if (status != DGO_OK)
        return status;
    (void)snprintf(fresh, sizeof fresh, "%s.XXXXXX", target);
    fd = mkostemp(fresh, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot write beside %s", target);
    if (stat(target, &info) == 0)
        (void)fchmod(fd, info.st_mode & 07777);
    if (!write_all(fd, bytes, length))
        status = dgo_fail_errno(err, DGO_EIO, errno, "cannot write %s", fresh);
    close(fd);
    if (status == DGO_OK && rename(fresh, target) < 0)
        status = dgo_fail_errno(err, DGO_EIO, errno, "cannot replace %s", target);
    if (status == DGO_OK)
        sync_folder(folder);
    else
        (void)unlink(fresh);
    return status;
}
