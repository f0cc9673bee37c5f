/* read.c - the sticky reader over memory or a file. */
#include "dgo_read.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

void dgo_read_memory(struct dgo_reader *reader, const void *data, size_t length)
{
    *reader = (struct dgo_reader){
        .left_bytes = length, .window = data, .window_length = length, .fd = -1};
}

void dgo_read_file(struct dgo_reader *reader, int fd, uint64_t length, void *buffer,
                   size_t buffer_size)
{
    assert(buffer_size >= 16);
    *reader = (struct dgo_reader){
        .left_bytes = length, .fd = fd, .buffer = buffer, .buffer_size = buffer_size};
}

static void fail_at(struct dgo_reader *reader, uint64_t pos, int errno_value)
{
    if (reader->failed)
        return;
    reader->failed = true;
    reader->failed_pos = pos;
    reader->errno_value = errno_value;
}

/* Makes at least one byte at `pos` present in the window; false at a read error or a cut file. */
static bool fill(struct dgo_reader *reader)
{
    ssize_t got;

    if (reader->fd < 0)
        return false;
    do {
        got =
            pread(reader->fd, reader->buffer,
                  (size_t)dgo_min_u64(reader->buffer_size, reader->left_bytes), (off_t)reader->pos);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
        fail_at(reader, reader->pos, got < 0 ? errno : 0);
        return false;
    }
    reader->window = reader->buffer;
    reader->window_pos = reader->pos;
    reader->window_length = (size_t)got;
    return true;
}

void dgo_read_bytes(struct dgo_reader *reader, void *to, size_t length)
{
    unsigned char *out = to;
    size_t done = 0;

    if (!reader->failed && length > reader->left_bytes)
        fail_at(reader, reader->pos + reader->left_bytes, 0);
    while (!reader->failed && done < length) {
        const uint64_t at = reader->pos - reader->window_pos;

        if (at >= reader->window_length) {
            if (!fill(reader))
                break;
            continue;
        }

        const size_t here = (size_t)dgo_min_u64(reader->window_length - at, length - done);

        memcpy(out + done, reader->window + at, here);
        done += here;
        reader->pos += here;
        reader->left_bytes -= here;
    }
    if (reader->failed && length)
        memset(to, 0, length);
}

void dgo_read_skip(struct dgo_reader *reader, uint64_t length)
{
    if (reader->failed)
        return;
    if (length > reader->left_bytes) {
        fail_at(reader, reader->pos + reader->left_bytes, 0);
        return;
    }
    reader->pos += length;
    reader->left_bytes -= length;
}

uint8_t dgo_read_u8(struct dgo_reader *reader)
{
    unsigned char b[1];

    dgo_read_bytes(reader, b, sizeof b);
    return b[0];
}

uint16_t dgo_read_u16(struct dgo_reader *reader)
{
    unsigned char b[2];

    dgo_read_bytes(reader, b, sizeof b);
    return (uint16_t)(b[0] | b[1] << 8);
}

uint32_t dgo_read_u32(struct dgo_reader *reader)
{
    unsigned char b[4];

    dgo_read_bytes(reader, b, sizeof b);
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t dgo_read_u64(struct dgo_reader *reader)
{
    const uint64_t low = dgo_read_u32(reader);
    const uint64_t high = dgo_read_u32(reader);

    return reader->failed ? 0 : low | high << 32;
}

float dgo_read_f32(struct dgo_reader *reader)
{
    const uint32_t bits = dgo_read_u32(reader);
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

double dgo_read_f64(struct dgo_reader *reader)
{
    const uint64_t bits = dgo_read_u64(reader);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}
