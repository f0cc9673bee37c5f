/* stream.h - one output pipe of a child on the loop: bytes in, lines out; private to the folder. */
#ifndef STREAM_H
#define STREAM_H

#include "lines.h"

struct stream;
typedef void (*stream_line_fn)(struct stream *stream, const struct line *line, void *data);
typedef void (*stream_end_fn)(struct stream *stream, void *data);

struct stream {
    int fd; /* the caller's to close */
    sd_event_source *readable;
    sd_event_source *again; /* lines are left from the last read */
    stream_line_fn line;
    stream_end_fn end; /* once, after the last line */
    void *data;
    bool ended;
    size_t at, filled; /* what is left of `bytes` */
    struct lines lines;
    char bytes[16384];
};

/* Hands over at most DGO_LINES_PER_TURN lines a turn of the loop. */
enum dgo_status stream_open(struct stream *stream, sd_event *loop,
                            struct dgo_error *err) DGO_MUST_CHECK;

/* Takes what is in the pipe now, whoever still holds it, and ends the stream without `end`. */
void stream_finish(struct stream *stream);

void stream_close(struct stream *stream);

#endif
