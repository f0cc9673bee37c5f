/* profile_file.c - reads CSV line by line into a profiler; what cannot be read is named. */
#include "profile_file.h"

#include "dgo_memory_csv.h"
#include "dgo_text.h"
#include "profile_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    struct dgo_profiler *profiler;
    struct profile_file_stats *stats;
    struct dgo_memory_csv csv;
    bool begun;
};

static void note_problem(struct profile_file_stats *stats, const char *what)
{
    struct dgo_text text;

    stats->bad_lines++;
    if (stats->problem_count == PROFILE_PROBLEM_MAX)
        return;
    text = DGO_TEXT(stats->problem[stats->problem_count]);
    dgo_text_addf(&text, "line %" PRIu64 ": %s", stats->lines, what);
    stats->problem_count++;
}

/* A name tells the role of programs that are known; of others there is no command line to ask. */
static void take_name(struct dgo_profiler *profiler, const struct dgo_memory_csv_row *row)
{
    const struct dgo_profiler_reading *reading = &row->reading;
    const enum dgo_process_role role = dgo_process_role_of(row->name, "");

    dgo_profiler_set_name(profiler, reading->gpu_index, reading->pid, reading->start, row->name);
    if (role != DGO_ROLE_OTHER)
        dgo_profiler_set_role(profiler, reading->gpu_index, reading->pid, reading->start, role);
}

static enum dgo_status take_row(struct reader *reader, const struct dgo_memory_csv_row *row,
                                struct dgo_error *err)
{
    const struct dgo_profiler_reading *reading = &row->reading;
    struct dgo_error problem = {0};
    const enum dgo_status status = dgo_profiler_add(reader->profiler, reading, &problem);

    if (status == DGO_ENOMEM)
        return dgo_fail(err, status, "%s", problem.text);
    if (status != DGO_OK) {
        note_problem(reader->stats, problem.text);
        return DGO_OK;
    }
    if (row->name[0])
        take_name(reader->profiler, row);
    if (!isnan(row->total_mib))
        dgo_profiler_set_capacity(reader->profiler, reading->gpu_index, row->total_mib);
    reader->stats->readings++;
    return DGO_OK;
}

/* One line without its end. */
static enum dgo_status take_line(struct reader *reader, const char *line, size_t length,
                                 struct dgo_error *err)
{
    struct dgo_error problem = {0};
    struct dgo_memory_csv_row row;
    enum dgo_status status;

    reader->stats->lines++;
    if (!reader->begun) {
        if (length == 0 || line[0] == '#' || (length == 1 && line[0] == '\r'))
            return DGO_OK;
        reader->begun = true;
        return dgo_memory_csv_begin(&reader->csv, line, length, err);
    }
    if (length > DGO_MEMORY_CSV_LINE_MAX) {
        note_problem(reader->stats, "longer than 64 KiB");
        return DGO_OK;
    }
    status = dgo_memory_csv_read(&reader->csv, line, length, &row, &problem);
    if (status == DGO_OK)
        return take_row(reader, &row, err);
    if (status == DGO_EFORMAT)
        note_problem(reader->stats, problem.text);
    return DGO_OK;
}

static enum dgo_status check_end(const struct reader *reader, struct dgo_error *err)
{
    if (!reader->begun)
        return dgo_fail(err, DGO_EFORMAT,
                        "the file is empty; its first line names the columns "
                        "seconds,gpu,pid,used_mib");
    if (reader->stats->readings > 0)
        return DGO_OK;
    if (reader->stats->problem_count)
        return dgo_fail(err, DGO_EFORMAT, "no line can be read; %s", reader->stats->problem[0]);
    return dgo_fail(err, DGO_EFORMAT, "there are no readings after the first line");
}

enum dgo_status profile_csv_read(const char *bytes, size_t length, struct dgo_profiler *profiler,
                                 struct profile_file_stats *stats, struct dgo_error *err)
{
    struct reader reader = {.profiler = profiler, .stats = stats};
    enum dgo_status status = DGO_OK;

    *stats = (struct profile_file_stats){0};
    for (size_t at = 0; status == DGO_OK && at < length;) {
        const char *end = memchr(bytes + at, '\n', length - at);
        const size_t line = end ? (size_t)(end - bytes) - at : length - at;

        status = take_line(&reader, bytes + at, line, err);
        at += line + 1;
    }
    return status == DGO_OK ? check_end(&reader, err) : status;
}

/* A buffer of fixed size; what is left of a line moves to its front. */
struct buffer {
    size_t used;
    bool skipping; /* within a line that is too long, which was told */
    char data[4 * DGO_MEMORY_CSV_LINE_MAX];
};

static enum dgo_status take_lines(struct reader *reader, struct buffer *buffer, bool last,
                                  struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    size_t at = 0;

    while (status == DGO_OK && at < buffer->used) {
        const char *end = memchr(buffer->data + at, '\n', buffer->used - at);
        const size_t length = (end ? (size_t)(end - buffer->data) : buffer->used) - at;

        if (!end && !last && length <= DGO_MEMORY_CSV_LINE_MAX)
            break;
        if (!buffer->skipping)
            status = take_line(reader, buffer->data + at, length, err);
        buffer->skipping = !end;
        at += length + (end != NULL);
    }
    memmove(buffer->data, buffer->data + at, buffer->used - at);
    buffer->used -= at;
    return status;
}

static enum dgo_status read_csv(int fd, struct reader *reader, struct dgo_error *err)
{
    struct buffer *buffer = malloc(sizeof *buffer);
    enum dgo_status status = DGO_OK;

    if (!buffer)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    buffer->used = 0;
    buffer->skipping = false;
    while (status == DGO_OK) {
        const ssize_t got =
            read(fd, buffer->data + buffer->used, sizeof buffer->data - buffer->used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = dgo_fail_errno(err, DGO_EIO, errno, "reading failed");
            break;
        }
        buffer->used += (size_t)got;
        status = take_lines(reader, buffer, got == 0, err);
        if (got == 0)
            break;
    }
    free(buffer);
    return status == DGO_OK ? check_end(reader, err) : status;
}

static enum dgo_status take_item(struct dgo_profiler *profiler, struct profile_loads *loads,
                                 const struct dgo_recording_item *item,
                                 struct profile_file_stats *stats, struct dgo_error *err)
{
    const double seconds = (double)item->at_ns / 1e9;

    switch (item->kind) {
    case DGO_RECORDED_SAMPLE:
        if (item->sample->problem[0] != '\0')
            return DGO_OK; /* a look that failed says nothing new */
        stats->readings++;
        stats->origin = item->sample->machine.origin;
        return profile_feed(profiler, &item->sample->machine, loads, seconds, err);
    case DGO_RECORDED_LOAD:
        profile_loads_add(loads, &item->load);
        return DGO_OK;
    case DGO_RECORDED_MARK:
        dgo_profiler_mark(profiler, seconds, item->mark);
        return DGO_OK;
    }
    return DGO_OK;
}

static enum dgo_status read_recording(const char *path, struct dgo_profiler *profiler,
                                      struct profile_file_stats *stats, struct dgo_error *err)
{
    struct dgo_recording_item item = {0};
    struct profile_loads loads = {0};
    struct dgo_recording *recording = NULL;
    enum dgo_status status = dgo_recording_open(path, &recording, err);

    while (status == DGO_OK) {
        status = dgo_recording_next(recording, &item, err);
        if (status == DGO_OK)
            status = take_item(profiler, &loads, &item, stats, err);
        else if (status == DGO_ENOTFOUND)
            break;
    }
    dgo_recording_close(recording);
    if (status != DGO_ENOTFOUND || (err && err->status != DGO_OK))
        return status;
    return stats->readings
               ? DGO_OK
               : dgo_fail(err, DGO_EFORMAT, "\"%s\": the recording has no readings", path);
}

enum dgo_status profile_file_read(const char *path, struct dgo_profiler *profiler,
                                  struct profile_file_stats *stats, struct dgo_error *err)
{
    struct reader reader = {.profiler = profiler, .stats = stats};
    const bool is_stdin = strcmp(path, "-") == 0;
    enum dgo_status status;
    int fd;

    *stats = (struct profile_file_stats){0};
    if (!is_stdin && dgo_recording_is_one(path))
        return read_recording(path, profiler, stats, err);
    fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dgo_fail_errno(err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                              "cannot read \"%s\"", path);
    status = read_csv(fd, &reader, err);
    if (!is_stdin)
        close(fd);
    return status == DGO_OK ? status : dgo_error_prefix(err, status, "%s", path);
}
