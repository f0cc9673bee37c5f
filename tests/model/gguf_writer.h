/* gguf_writer.h - builds GGUF files in memory, and remembers where every number in them stands. */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WRITER_MARK_MAX = 4096 };

/* The types that tests write; sizes are the writer's own, so that it is a second opinion. */
enum writer_type {
    W_F32 = 0,
    W_F16 = 1,
    W_Q8_0 = 8,
    W_Q4_K = 12,
    W_Q6_K = 14,
    W_MXFP4 = 39,
};

struct writer_bytes {
    unsigned char *data;
    size_t length, size;
};

/* One number in the file: a count, length, type, dimension, offset or value. */
struct writer_mark {
    size_t pos;
    unsigned width; /* 1, 2, 4 or 8 bytes */
};

struct writer {
    uint32_t version;   /* 3 */
    uint64_t alignment; /* 32; writer_u32(w, "general.alignment", ..) announces another one */
    struct writer_bytes pairs, entries;
    uint64_t pair_count, tensor_count, data_bytes;
    struct writer_mark mark[WRITER_MARK_MAX];
    size_t mark_count, entry_mark_from; /* marks of entries are moved at the end */

    /* after writer_finish */
    unsigned char *file; /* header and padding, without tensor data */
    size_t length;
    uint64_t file_bytes; /* with it */
};

void writer_init(struct writer *w);
void writer_done(struct writer *w);

void writer_u32(struct writer *w, const char *key, uint32_t value);
void writer_u16(struct writer *w, const char *key, uint16_t value);
void writer_i32(struct writer *w, const char *key, int32_t value);
void writer_u64(struct writer *w, const char *key, uint64_t value);
void writer_f32(struct writer *w, const char *key, float value);
void writer_f64(struct writer *w, const char *key, double value);
void writer_bool(struct writer *w, const char *key, bool value);
void writer_text(struct writer *w, const char *key, const char *value);
void writer_u32s(struct writer *w, const char *key, const uint32_t *values, uint32_t count);
void writer_bools(struct writer *w, const char *key, const bool *values, uint32_t count);
void writer_texts(struct writer *w, const char *key, uint32_t count); /* "t0", "t1", ... */

/* A pair of any type id whose value is the given bytes. */
void writer_raw(struct writer *w, const char *key, uint32_t type, const void *value, size_t length);

/* After the last pair.  Unused dimensions are 0; the offset follows from the tensors before. */
void writer_tensor(struct writer *w, const char *name, enum writer_type type, uint64_t d0,
                   uint64_t d1, uint64_t d2);

/* The same with everything said: any type id and size. */
void writer_entry(struct writer *w, const char *name, uint32_t type, uint32_t dim_count,
                  const uint64_t *dims, uint64_t bytes);

/* Puts the file together; writer_done frees it. */
void writer_finish(struct writer *w);

/* "general.architecture" and the keys that every model has, "ARCH." put in front. */
void writer_arch(struct writer *w, const char *architecture, uint32_t block_count, uint32_t width,
                 uint32_t heads, uint32_t heads_kv);
void writer_arch_u32(struct writer *w, const char *architecture, const char *suffix,
                     uint32_t value);

#endif
