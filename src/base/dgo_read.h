/* dgo_read.h - a reader for binary formats that remembers its first failure.
 *
 * After a failure every read gives 0, so a parser reads like the format and tests `failed` where it
 * is about to trust a number.  Reads little-endian from memory, or from a file through a fixed
 * buffer: memory never follows what the data claims, and a file cut while it is read is an error,
 * not a signal.  Not thread-safe: one owner. */
#ifndef DGO_READ_H
#define DGO_READ_H

#include "dgo_base.h"

struct dgo_reader {
    uint64_t pos;        /* of the next byte, from the start of the data */
    uint64_t left_bytes; /* after pos */
    bool failed;         /* sticky */
    uint64_t failed_pos; /* first byte that could not be had */
    int errno_value;     /* of a read error; 0: the data ended */

    /* private */
    const unsigned char *window; /* bytes in memory, from window_pos on */
    uint64_t window_pos;
    size_t window_length;
    int fd; /* -1: memory only */
    unsigned char *buffer;
    size_t buffer_size;
};

/* The data is `length` bytes, which must outlive the reader. */
void dgo_read_memory(struct dgo_reader *reader, const void *data, size_t length);

/* The data is the first `length` bytes of `fd` (read by pread: its offset is not moved), through
 * the caller's buffer of at least 16 bytes; both must outlive the reader. */
void dgo_read_file(struct dgo_reader *reader, int fd, uint64_t length, void *buffer,
                   size_t buffer_size);

uint8_t dgo_read_u8(struct dgo_reader *reader);
uint16_t dgo_read_u16(struct dgo_reader *reader);
uint32_t dgo_read_u32(struct dgo_reader *reader);
uint64_t dgo_read_u64(struct dgo_reader *reader);
float dgo_read_f32(struct dgo_reader *reader);
double dgo_read_f64(struct dgo_reader *reader);

/* Copies `length` bytes to `to`; on failure `to` is zeroed. */
void dgo_read_bytes(struct dgo_reader *reader, void *to, size_t length);

/* Moves on without reading; fails when fewer than `length` bytes are left. */
void dgo_read_skip(struct dgo_reader *reader, uint64_t length);

#endif
