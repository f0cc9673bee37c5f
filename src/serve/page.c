/* page.c - the page's files: from the table in the program, or from a folder while developing.
 *
 * A path of a client is only compared: with the rows of the table, or with what the folder holds
 * after a look that stays beneath it. */
#include "page.h"

#include "daemon.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILE_MAX = 4 << 20 };

static void not_there(struct http_request *request)
{
    http_answer_verdict(request, &(struct verdict){404, "not_found", "there is nothing here"}, NULL,
                        NULL);
}

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".json", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
    };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i][0], dot) == 0)
            return types[i][1];
    return "application/octet-stream";
}

/* A regular file beneath the folder, whole; NULL when there is none. */
static char *read_beneath(const char *folder, const char *relative, size_t *length)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    const int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int fd =
        folder_fd < 0 ? -1 : (int)syscall(SYS_openat2, folder_fd, relative, &how, sizeof how);
    char *bytes = NULL;
    struct stat info;

    if (folder_fd >= 0)
        close(folder_fd);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size <= FILE_MAX)
        bytes = malloc((size_t)info.st_size + 1);
    if (bytes) {
        const ssize_t got = read(fd, bytes, (size_t)info.st_size);

        *length = got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return bytes;
}

static void serve_from(const char *folder, struct http_request *request)
{
    const char *path = http_path(request);
    const char *relative = path[1] ? path + 1 : "index.html";
    size_t length = 0;
    char *bytes = strchr(path, '%') ? NULL : read_beneath(folder, relative, &length);

    if (!bytes) {
        not_there(request);
        return;
    }
    http_answer_text(request, 200, type_of(relative), bytes, length);
    free(bytes);
}

void page_serve(struct http_request *request, void *data)
{
    const struct daemon *daemon = data;
    const char *folder = option_text(daemon_options(daemon), OPTION_WEB);
    const char *path = http_path(request);

    if (folder) {
        serve_from(folder, request);
        return;
    }
    if (strcmp(path, "/") == 0)
        path = "/index.html";
    for (const struct page_file *file = page_files; file->path; file++)
        if (strcmp(file->path, path) == 0) {
            http_answer_file(request, file->type, file->etag, file->gzipped, file->bytes,
                             file->length);
            return;
        }
    not_there(request);
}
