/* gguf_writer.c - GGUF files in memory, written without any code of the module under test. */
#include "gguf_writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 4 + 4 + 8 + 8 };

static void put(struct writer_bytes *to, const void *data, size_t length)
{
    if (to->size - to->length < length) {
        to->size = (to->size + length) * 2;
        to->data = realloc(to->data, to->size);
        assert(to->data);
    }
    if (length)
        memcpy(to->data + to->length, data, length);
    to->length += length;
}

/* Little-endian, and marked: the position is within `to` until writer_finish. */
static void put_number(struct writer *w, struct writer_bytes *to, uint64_t value, unsigned width)
{
    unsigned char bytes[8];

    for (unsigned i = 0; i < width; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    assert(w->mark_count < WRITER_MARK_MAX);
    w->mark[w->mark_count++] = (struct writer_mark){to->length, width};
    put(to, bytes, width);
}

static void put_text(struct writer *w, struct writer_bytes *to, const char *text)
{
    put_number(w, to, strlen(text), 8);
    put(to, text, strlen(text));
}

void writer_init(struct writer *w)
{
    *w = (struct writer){.version = 3, .alignment = 32};
}

void writer_done(struct writer *w)
{
    free(w->pairs.data);
    free(w->entries.data);
    free(w->file);
}

static void begin_pair(struct writer *w, const char *key, uint32_t type)
{
    assert(w->tensor_count == 0);
    put_text(w, &w->pairs, key);
    put_number(w, &w->pairs, type, 4);
    w->pair_count++;
}

static void number_pair(struct writer *w, const char *key, uint32_t type, uint64_t value,
                        unsigned width)
{
    begin_pair(w, key, type);
    put_number(w, &w->pairs, value, width);
}

void writer_u16(struct writer *w, const char *key, uint16_t value)
{
    number_pair(w, key, 2, value, 2);
}

void writer_u32(struct writer *w, const char *key, uint32_t value)
{
    number_pair(w, key, 4, value, 4);
}

void writer_i32(struct writer *w, const char *key, int32_t value)
{
    number_pair(w, key, 5, (uint32_t)value, 4);
}

void writer_u64(struct writer *w, const char *key, uint64_t value)
{
    number_pair(w, key, 10, value, 8);
}

void writer_f32(struct writer *w, const char *key, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    number_pair(w, key, 6, bits, 4);
}

void writer_f64(struct writer *w, const char *key, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    number_pair(w, key, 12, bits, 8);
}

void writer_bool(struct writer *w, const char *key, bool value)
{
    number_pair(w, key, 7, value, 1);
}

void writer_text(struct writer *w, const char *key, const char *value)
{
    begin_pair(w, key, 8);
    put_text(w, &w->pairs, value);
}

static void begin_array(struct writer *w, const char *key, uint32_t type, uint64_t count)
{
    begin_pair(w, key, 9);
    put_number(w, &w->pairs, type, 4);
    put_number(w, &w->pairs, count, 8);
}

void writer_u32s(struct writer *w, const char *key, const uint32_t *values, uint32_t count)
{
    begin_array(w, key, 4, count);
    for (uint32_t i = 0; i < count; i++)
        put_number(w, &w->pairs, values[i], 4);
}

void writer_bools(struct writer *w, const char *key, const bool *values, uint32_t count)
{
    begin_array(w, key, 7, count);
    for (uint32_t i = 0; i < count; i++)
        put_number(w, &w->pairs, values[i], 1);
}

void writer_texts(struct writer *w, const char *key, uint32_t count)
{
    begin_array(w, key, 8, count);
    for (uint32_t i = 0; i < count; i++) {
        char text[16];

        snprintf(text, sizeof text, "t%u", i);
        put_text(w, &w->pairs, text);
    }
}

void writer_raw(struct writer *w, const char *key, uint32_t type, const void *value, size_t length)
{
    begin_pair(w, key, type);
    put(&w->pairs, value, length);
}

void writer_entry(struct writer *w, const char *name, uint32_t type, uint32_t dim_count,
                  const uint64_t *dims, uint64_t bytes)
{
    if (w->tensor_count == 0)
        w->entry_mark_from = w->mark_count;
    put_text(w, &w->entries, name);
    put_number(w, &w->entries, dim_count, 4);
    for (uint32_t d = 0; d < dim_count; d++)
        put_number(w, &w->entries, dims[d], 8);
    put_number(w, &w->entries, type, 4);
    put_number(w, &w->entries, w->data_bytes, 8);
    w->data_bytes += (bytes + w->alignment - 1) / w->alignment * w->alignment;
    w->tensor_count++;
}

static uint64_t type_bytes(enum writer_type type, uint64_t values)
{
    switch (type) {
    case W_F32:
        return values * 4;
    case W_F16:
        return values * 2;
    case W_Q8_0:
        return values / 32 * 34;
    case W_Q4_K:
        return values / 256 * 144;
    case W_Q6_K:
        return values / 256 * 210;
    case W_MXFP4:
        return values / 32 * 17;
    }
    abort();
}

void writer_tensor(struct writer *w, const char *name, enum writer_type type, uint64_t d0,
                   uint64_t d1, uint64_t d2)
{
    const uint64_t dims[] = {d0, d1, d2};
    const uint32_t dim_count = d2 ? 3 : d1 ? 2 : 1;

    writer_entry(w, name, type, dim_count, dims,
                 type_bytes(type, d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1)));
}

void writer_finish(struct writer *w)
{
    struct writer_bytes file = {0};
    const size_t marks = w->mark_count;
    const size_t entry_from = w->tensor_count ? w->entry_mark_from : marks;

    put(&file, "GGUF", 4);
    put_number(w, &file, w->version, 4);
    put_number(w, &file, w->tensor_count, 8);
    put_number(w, &file, w->pair_count, 8);
    for (size_t i = 0; i < marks; i++)
        w->mark[i].pos += HEADER_BYTES + (i < entry_from ? 0 : w->pairs.length);
    put(&file, w->pairs.data, w->pairs.length);
    put(&file, w->entries.data, w->entries.length);
    while (file.length % w->alignment)
        put(&file, "", 1);
    w->file = file.data;
    w->length = file.length;
    w->file_bytes = file.length + w->data_bytes;
}

void writer_arch_u32(struct writer *w, const char *architecture, const char *suffix, uint32_t value)
{
    char key[128];

    snprintf(key, sizeof key, "%s.%s", architecture, suffix);
    writer_u32(w, key, value);
}

void writer_arch(struct writer *w, const char *architecture, uint32_t block_count, uint32_t width,
                 uint32_t heads, uint32_t heads_kv)
{
    writer_text(w, "general.architecture", architecture);
    writer_arch_u32(w, architecture, "block_count", block_count);
    writer_arch_u32(w, architecture, "context_length", 4096);
    writer_arch_u32(w, architecture, "embedding_length", width);
    writer_arch_u32(w, architecture, "attention.head_count", heads);
    writer_arch_u32(w, architecture, "attention.head_count_kv", heads_kv);
}
