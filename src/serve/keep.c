/* keep.c - files of a launch. */
#include "keep.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static bool path_of(const char *directory, uint64_t id, const char *suffix, char *path, size_t size)
{
    return directory && snprintf(path, size, "%s/%" PRIu64 "%s", directory, id, suffix) < (int)size;
}

bool keep_log_path(const char *directory, uint64_t id, char *path, size_t size)
{
    return path_of(directory, id, ".log", path, size);
}

void keep_remove(const char *directory, uint64_t id)
{
    static const char *const suffixes[] = {".log", ".log.1", ".json"};
    char path[256];

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (path_of(directory, id, suffixes[i], path, sizeof path))
            (void)unlink(path);
}
