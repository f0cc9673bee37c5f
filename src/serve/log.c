/* log.c - a ring of lines, and a file that is moved aside when it is full. */
#include "log.h"

#include "dgo_log.h"
#include "dgo_text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct log {
    char *line[LOG_LINES];
    uint64_t next;
    uint64_t folded; /* lines since the last one that said what the two before it said */
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

/* The first part of a start stays as ".head": the engine's figures stand there. */
static void move_aside(struct log *log, bool is_new_start)
{
    char old[PATH_MAX], head[PATH_MAX];

    close(log->fd);
    log->fd = -1;
    if (snprintf(old, sizeof old, "%s.1", log->path) < (int)sizeof old &&
        snprintf(head, sizeof head, "%s.head", log->path) < (int)sizeof head) {
        (void)rename(log->path, old);
        if (is_new_start)
            (void)unlink(head);
        else if (access(head, F_OK) != 0)
            (void)link(old, head);
    }
    open_file(log);
}

int log_fd(const struct log *log)
{
    return log->fd;
}

static void remember(struct log *log, const char *line)
{
    char **place = &log->line[log->next % LOG_LINES];

    free(*place);
    *place = strdup(line); /* NULL: no memory; shown as missing */
    log->next++;
}

static void replay_file(struct log *log, const char *suffix,
                        void (*each)(const char *line, size_t length, void *data), void *data)
{
    char path[PATH_MAX], *line = NULL;
    size_t size = 0;
    ssize_t length;
    FILE *file = NULL;

    if (snprintf(path, sizeof path, "%s%s", log->path, suffix) < (int)sizeof path)
        file = fopen(path, "re");
    while (file && (length = getline(&line, &size, file)) > 0) {
        char shown[1024];

        if (line[length - 1] == '\n')
            line[--length] = '\0';
        each(line, (size_t)length, data);
        dgo_text_copy_escaped(shown, sizeof shown, line, (size_t)length);
        remember(log, shown);
    }
    free(line);
    if (file)
        fclose(file);
}

void log_replay(struct log *log, void (*each)(const char *line, size_t length, void *data),
                void *data)
{
    char head[PATH_MAX];

    if (!log->path)
        return;
    if (snprintf(head, sizeof head, "%s.head", log->path) < (int)sizeof head &&
        access(head, F_OK) == 0)
        replay_file(log, ".head", each, data);
    replay_file(log, "", each, data);
}

static void write_line(struct log *log, const char *line)
{
    const size_t length = strlen(line);
    char text[1100];

    if (log->fd < 0)
        return;
    if (log->file_bytes + length + 1 > LOG_FILE_MAX)
        move_aside(log, false);
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

static void add(struct log *log, const char *line)
{
    remember(log, line);
    write_line(log, line);
}

static void tell_folded(struct log *log)
{
    char more[64];

    if (log->folded == 0)
        return;
    snprintf(more, sizeof more, "(said %" PRIu64 " times more)", log->folded);
    log->folded = 0;
    add(log, more);
}

void log_begin(struct log *log)
{
    tell_folded(log);
    if (log->fd >= 0 && log->file_bytes > 0)
        move_aside(log, true);
}

/* What a line says: behind llama.cpp's time, "12.34.567.890 ". */
static const char *said(const char *line)
{
    const char *at = line;

    for (int part = 0; part < 4; part++) {
        const size_t digits = strspn(at, "0123456789");

        if (digits == 0 || at[digits] != (part < 3 ? '.' : ' '))
            return line;
        at += digits + 1;
    }
    return at;
}

static bool is_again(const struct log *log, const char *line, uint64_t back)
{
    const char *before = log->next > back ? log->line[(log->next - back) % LOG_LINES] : NULL;

    return before && strcmp(said(before), said(line)) == 0;
}

void log_add(struct log *log, const char *line)
{
    if (is_again(log, line, 1) && is_again(log, line, 2)) {
        log->folded++;
        return;
    }
    tell_folded(log);
    add(log, line);
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
