/* folder.c - files around the database. */
#include "folder.h"

#include "dgo_clock.h"
#include "dgo_file.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FOLDER_PATH_MAX = 4096 };
static const uint64_t lock_wait_ns = 5 * DGO_NS_PER_S;
static const uint64_t lock_retry_ns = 10 * DGO_NS_PER_MS;

/* Opening takes milliseconds; an opener that was stopped must not stop everybody for ever. */
static enum dgo_status wait_lock(int fd, const char *directory, struct dgo_error *err)
{
    const struct timespec pause = {.tv_nsec = (long)lock_retry_ns};
    const uint64_t start_ns = dgo_clock_monotonic_ns(dgo_clock_system());

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return dgo_fail_errno(err, DGO_EIO, errno, "cannot lock the folder \"%s\"", directory);
        if (dgo_clock_monotonic_ns(dgo_clock_system()) - start_ns > lock_wait_ns)
            return dgo_fail(err, DGO_EBUSY, "the folder \"%s\" is locked by another process",
                            directory);
        (void)nanosleep(&pause, NULL);
    }
    return DGO_OK;
}

enum dgo_status folder_lock(const char *directory, int *fd, struct dgo_error *err)
{
    enum dgo_status status = dgo_folder_make(directory, err);

    if (status != DGO_OK)
        return status;

    const int opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (opened < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot open the folder \"%s\"", directory);
    status = wait_lock(opened, directory, err);
    if (status != DGO_OK) {
        close(opened);
        return status;
    }
    *fd = opened;
    return DGO_OK;
}

enum dgo_status folder_touch(const char *path, struct dgo_error *err)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    struct stat info;

    if (fd < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot write \"%s\"", path);

    const bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);

    close(fd);
    return regular ? DGO_OK : dgo_fail(err, DGO_EIO, "\"%s\" is not a regular file", path);
}

/* A file that is not there is moved already. */
static bool move(const char *path, const char *suffix, const char *after)
{
    char from[FOLDER_PATH_MAX + 16], to[FOLDER_PATH_MAX + 32];

    (void)snprintf(from, sizeof from, "%s%s", path, suffix);
    (void)snprintf(to, sizeof to, "%s%s%s", path, after, suffix);
    return rename(from, to) == 0 || errno == ENOENT;
}

enum dgo_status folder_move_aside(const char *path, struct dgo_error *err)
{
    char index[FOLDER_PATH_MAX + 16];

    (void)snprintf(index, sizeof index, "%s-shm", path);
    (void)unlink(index); /* made anew from the log */
    if (!move(path, "-wal", ".damaged") || !move(path, "-journal", ".damaged") ||
        !move(path, "", ".damaged"))
        return dgo_fail_errno(err, DGO_EIO, errno, "\"%s\" is damaged and cannot be moved aside",
                              path);
    return DGO_OK;
}
