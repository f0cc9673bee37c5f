/* log.c - a ring of lines, and a file that is moved aside when it is full. */
#include "log.h"

#include "dgo_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct log {
    char *line[LOG_LINES];
    uint64_t next;
    char *path;
    int fd;
    uint64_t file_bytes;
};

static void open_file(struct log *log)
{
    log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd < 0) {
        dgo_log(DGO_LOG_WARN, "the engine's log is not kept: \"%s\": %s", log->path,
                strerror(errno));
        return;
    }

    const off_t end = lseek(log->fd, 0, SEEK_END);

    log->file_bytes = end > 0 ? (uint64_t)end : 0;
}

struct log *log_new(const char *path)
{
    struct log *log = calloc(1, sizeof *log);

    if (!log)
        return NULL;
    log->next = 1;
    log->fd = -1;
    if (path) {
        log->path = strdup(path);
        if (log->path)
            open_file(log);
    }
    return log;
}

void log_free(struct log *log)
{
    if (!log)
        return;
    if (log->fd >= 0)
        close(log->fd);
    for (size_t i = 0; i < LOG_LINES; i++)
        free(log->line[i]);
    free(log->path);
    free(log);
}

static void move_aside(struct log *log)
{
    char *old;

    close(log->fd);
    if (asprintf(&old, "%s.1", log->path) >= 0) {
        (void)rename(log->path, old);
        free(old);
    }
    open_file(log);
}

static void write_line(struct log *log, const char *line)
{
    const size_t length = strlen(line);
    char text[1100];

    if (log->fd < 0)
        return;
    if (log->file_bytes + length + 1 > LOG_FILE_MAX)
        move_aside(log);
    if (log->fd < 0 || length + 1 >= sizeof text)
        return;
    memcpy(text, line, length);
    text[length] = '\n';
    if (write(log->fd, text, length + 1) == (ssize_t)(length + 1)) {
        log->file_bytes += length + 1;
        return;
    }
    dgo_log(DGO_LOG_WARN, "the engine's log is kept no longer: \"%s\": %s", log->path,
            strerror(errno));
    close(log->fd);
    log->fd = -1;
}

void log_add(struct log *log, const char *line)
{
    char **place = &log->line[log->next % LOG_LINES];

    free(*place);
    *place = strdup(line); /* NULL: no memory; shown as missing */
    log->next++;
    write_line(log, line);
}

uint64_t log_next(const struct log *log)
{
    return log->next;
}

static uint64_t first_kept(const struct log *log)
{
    return log->next > LOG_LINES ? log->next - LOG_LINES : 1;
}

json_t *log_lines(const struct log *log, uint64_t from, uint32_t limit)
{
    json_t *lines = json_array();

    if (from < first_kept(log))
        from = first_kept(log);
    for (uint64_t at = from; at < log->next && limit > 0; at++, limit--) {
        const char *line = log->line[at % LOG_LINES];

        if (line)
            json_array_append_new(
                lines, json_pack("{s:I, s:s}", "sequence", (json_int_t)at, "text", line));
    }
    return lines;
}

json_t *log_view(const struct log *log, uint64_t after, uint32_t limit)
{
    uint64_t from = after + 1;

    /* Without a place the last lines are meant, not the first. */
    if (after == 0 && log->next > limit)
        from = log->next - limit;
    return json_pack("{s:o, s:I, s:I}", "lines", log_lines(log, from, limit), "first",
                     (json_int_t)first_kept(log), "next", (json_int_t)log->next);
}
