/* stream.c - reads a child's pipe on the loop, a bounded piece a turn. */
#include "stream.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum read_result { READ_SOME, READ_NOTHING_NOW, READ_END };

/* stream_finish stops here: a stranger that keeps writing must not keep us reading. */
enum { FINISH_BYTES_MAX = 4 << 20 };

static enum read_result read_more(struct stream *stream)
{
    const ssize_t got = read(stream->fd, stream->bytes, sizeof stream->bytes);

    stream->at = 0;
    stream->filled = got > 0 ? (size_t)got : 0;
    if (got > 0)
        return READ_SOME;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? READ_NOTHING_NOW : READ_END;
}

/* Hands over lines from `bytes`; false when the turn's share was used up before the bytes. */
static bool hand_over(struct stream *stream, uint32_t line_max)
{
    const char *bytes = stream->bytes + stream->at;
    size_t left = stream->filled - stream->at;
    struct line line;

    for (uint32_t i = 0; i < line_max; i++) {
        const bool ready = lines_next(&stream->lines, &bytes, &left, &line);

        stream->at = stream->filled - left;
        if (!ready)
            return true;
        stream->line(stream, &line, stream->data);
    }
    return left == 0;
}

static void end_lines(struct stream *stream)
{
    struct line line;

    stream->ended = true;
    if (lines_end(&stream->lines, &line))
        stream->line(stream, &line, stream->data);
}

/* With lines left the next turn must come although the pipe may be empty, and must not read.  A
 * timer that is due now queues behind whatever else is ready; a defer source would not: sd-event
 * keeps it marked as the one that has waited longest, and the rest of the loop would starve. */
static void take_turn(struct stream *stream)
{
    const bool all = hand_over(stream, DGO_LINES_PER_TURN);

    if (!all)
        (void)sd_event_source_set_time_relative(stream->again, 0);
    (void)sd_event_source_set_enabled(stream->again, all ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
    (void)sd_event_source_set_enabled(stream->readable, all ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct stream *stream = data;

    (void)source;
    (void)fd;
    (void)events;
    switch (read_more(stream)) {
    case READ_SOME:
        take_turn(stream);
        break;
    case READ_NOTHING_NOW:
        break;
    case READ_END:
        stream_close(stream);
        end_lines(stream);
        stream->end(stream, stream->data); /* may free the stream */
        break;
    }
    return 0;
}

static int on_again(sd_event_source *source, uint64_t now_us, void *data)
{
    (void)source;
    (void)now_us;
    take_turn(data);
    return 0;
}

enum dgo_status stream_open(struct stream *stream, sd_event *loop, struct dgo_error *err)
{
    int result = sd_event_add_io(loop, &stream->readable, stream->fd, EPOLLIN, on_readable, stream);

    if (result >= 0)
        result = sd_event_add_time_relative(loop, &stream->again, CLOCK_MONOTONIC, 0, 1, on_again,
                                            stream);
    if (result >= 0)
        result = sd_event_source_set_enabled(stream->again, SD_EVENT_OFF);
    if (result < 0)
        return dgo_fail_errno(err, DGO_EIO, -result, "cannot watch a pipe of the engine");
    return DGO_OK;
}

void stream_finish(struct stream *stream)
{
    size_t taken = 0;

    if (stream->ended)
        return;
    stream_close(stream);
    do
        (void)hand_over(stream, UINT32_MAX);
    while (read_more(stream) == READ_SOME && (taken += stream->filled) <= FINISH_BYTES_MAX);
    end_lines(stream);
}

void stream_close(struct stream *stream)
{
    stream->readable = sd_event_source_disable_unref(stream->readable);
    stream->again = sd_event_source_disable_unref(stream->again);
}
