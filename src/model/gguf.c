/* gguf.c - the container: header, tensor directory, and the checks that tie both to the file.
 *
 *   magic "GGUF" | u32 version | u64 tensors | u64 pairs | pairs | tensor directory | pad | data
 *
 * Everything is read once, front to back, through the sticky reader.  A count is compared with the
 * bytes that are left before a loop or an allocation follows it; the tensor data is never read. */
#include "gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAIR_BYTES_MIN = 8 + 1 + 4 + 1,      /* length, one byte of key, type, one byte of value */
    ENTRY_BYTES_MIN = 8 + 1 + 4 + 4 + 8, /* length, one byte of name, dimensions, type, offset */
};

enum dgo_status gguf_cut(const struct gguf_parser *parser, const char *what)
{
    const struct dgo_reader *in = parser->in;

    if (in->errno_value)
        return dgo_fail_errno(parser->err, DGO_EIO, in->errno_value,
                              "byte %" PRIu64 ": reading failed", in->failed_pos);
    if (in->failed_pos < parser->file->file_bytes && in->failed_pos >= GGUF_HEADER_BYTES_MAX)
        return dgo_fail(parser->err, DGO_ELIMIT,
                        "byte %" PRIu64 ": the header has not ended after %d MiB, inside %s; "
                        "no model needs that much",
                        in->failed_pos, GGUF_HEADER_BYTES_MAX >> 20, what);
    return dgo_fail(parser->err, DGO_EFORMAT,
                    "byte %" PRIu64 ": the file ends inside %s; was the download complete?",
                    in->failed_pos, what);
}

void *gguf_take(struct gguf_parser *parser, uint64_t count, size_t size)
{
    uint64_t bytes;
    void *taken = NULL;

    if (!__builtin_mul_overflow(count, size, &bytes) && bytes <= GGUF_MEMORY_BYTES_MAX)
        taken = dgo_arena_take(parser->arena, (size_t)bytes);
    else
        bytes = GGUF_MEMORY_BYTES_MAX;
    if (taken)
        return taken;

    const size_t limit = parser->arena->limit_bytes;
    const bool ceiling = limit && bytes > limit - parser->arena->used_bytes - sizeof(max_align_t);

    dgo_fail(parser->err, ceiling ? DGO_ELIMIT : DGO_ENOMEM,
             ceiling ? "byte %" PRIu64 ": the header wants more than the %zu MiB that a model may "
                       "take"
                     : "byte %" PRIu64 ": out of memory (the limit is %zu MiB)",
             parser->in->pos, limit >> 20);
    return NULL;
}

enum dgo_status gguf_read_name(struct gguf_parser *parser, const char *what, size_t most,
                               const char **name)
{
    struct dgo_reader *in = parser->in;
    const uint64_t pos = in->pos;
    const uint64_t length = dgo_read_u64(in);

    if (in->failed)
        return gguf_cut(parser, what);
    if (length == 0 || length > most)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": %s of %" PRIu64 " bytes, 1 to %zu are possible", pos,
                        what, length, most);
    if (length > in->left_bytes) {
        dgo_read_skip(in, length);
        return gguf_cut(parser, what);
    }

    char *text = gguf_take(parser, length + 1, 1);

    if (!text)
        return parser->err->status;
    dgo_read_bytes(in, text, (size_t)length);
    if (in->failed)
        return gguf_cut(parser, what);
    /* The engine matches names byte by byte and they are shown to people: both want plain text. */
    for (uint64_t i = 0; i < length; i++) {
        const unsigned char byte = (unsigned char)text[i];

        if (byte <= 0x20 || byte >= 0x7f)
            return dgo_fail(parser->err, DGO_EFORMAT, "byte %" PRIu64 ": %s holds the byte 0x%02x",
                            pos + 8 + i, what, byte);
    }
    *name = text;
    return DGO_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct gguf_name *left = a, *right = b;
    const int order = strcmp(left->text, right->text);

    return order ? order : (left->pos > right->pos) - (left->pos < right->pos);
}

/* Sorting, not hashing: n log n for every input, also for one made to collide. */
uint32_t gguf_find_twice(struct gguf_name *names, uint32_t count)
{
    qsort(names, count, sizeof *names, compare_names);
    for (uint32_t i = 1; i < count; i++) {
        if (strcmp(names[i - 1].text, names[i].text) == 0)
            return i;
    }
    return 0;
}

enum dgo_status gguf_check_unique(struct gguf_name *names, uint32_t count, const char *what,
                                  struct dgo_error *err)
{
    const uint32_t twice = gguf_find_twice(names, count);

    if (twice == 0)
        return DGO_OK;
    return dgo_fail(err, DGO_EFORMAT,
                    "byte %" PRIu64 ": the %s %.128s occurs twice, first at byte %" PRIu64,
                    names[twice].pos, what, names[twice].text, names[twice - 1].pos);
}

/* Reads the dimensions and the product of them; the engine's own limits. */
static enum dgo_status read_shape(struct gguf_parser *parser, struct dgo_tensor *tensor,
                                  uint64_t *values)
{
    struct dgo_reader *in = parser->in;
    const uint64_t pos = in->pos;
    const uint32_t dim_count = dgo_read_u32(in);

    *values = 1;
    if (in->failed)
        return gguf_cut(parser, "the tensor directory");
    if (dim_count > DGO_DIM_MAX)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": tensor %s has %" PRIu32 " dimensions, at most %d are "
                        "possible",
                        pos, tensor->name, dim_count, DGO_DIM_MAX);
    tensor->dim_count = dim_count ? dim_count : 1; /* a scalar is written without dimensions */
    for (uint32_t d = 0; d < DGO_DIM_MAX; d++)
        tensor->dim[d] = 1;
    for (uint32_t d = 0; d < dim_count; d++) {
        const uint64_t dim_pos = in->pos;

        tensor->dim[d] = dgo_read_u64(in);
        if (in->failed)
            return gguf_cut(parser, "the tensor directory");
        if (tensor->dim[d] == 0 || __builtin_mul_overflow(*values, tensor->dim[d], values) ||
            *values > INT64_MAX)
            return dgo_fail(parser->err, DGO_EFORMAT,
                            "byte %" PRIu64 ": tensor %s has an impossible dimension of %" PRIu64,
                            dim_pos, tensor->name, tensor->dim[d]);
    }
    return DGO_OK;
}

/* The bytes that type and shape say; 0 when the type is unknown and only offsets can tell. */
static enum dgo_status size_by_type(struct gguf_parser *parser, uint64_t pos,
                                    struct dgo_tensor *tensor, uint64_t values)
{
    const struct dgo_ggml_type *type = dgo_ggml_type(tensor->type);

    tensor->type_known = type != NULL;
    if (!type)
        return DGO_OK;
    if (tensor->dim[0] % type->block_values)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": tensor %s has rows of %" PRIu64
                        " values, which blocks of %" PRIu32 " (%s) do not fill",
                        pos, tensor->name, tensor->dim[0], type->block_values, type->name);
    if (__builtin_mul_overflow(values / type->block_values, (uint64_t)type->block_bytes,
                               &tensor->size_bytes) ||
        tensor->size_bytes > INT64_MAX)
        return dgo_fail(parser->err, DGO_EFORMAT, "byte %" PRIu64 ": tensor %s is impossibly big",
                        pos, tensor->name);
    return DGO_OK;
}

/* A tensor's offset must be the padded sum of the sizes before it; where the size before is not
 * known, the offset gives it. */
static enum dgo_status place(struct gguf_parser *parser, uint64_t pos, struct dgo_tensor *before,
                             struct dgo_tensor *tensor)
{
    const uint64_t alignment = parser->file->alignment;
    uint64_t end = 0;

    if (before && !before->type_known) {
        if (tensor->offset <= before->offset || tensor->offset % alignment)
            return dgo_fail(parser->err, DGO_EFORMAT,
                            "byte %" PRIu64 ": tensor %s starts at %" PRIu64
                            " of the data, which does not follow %s at %" PRIu64,
                            pos, tensor->name, tensor->offset, before->name, before->offset);
        before->size_bytes = tensor->offset - before->offset;
        return DGO_OK;
    }
    if (before && __builtin_add_overflow(before->offset, before->size_bytes, &end))
        return dgo_fail(parser->err, DGO_EFORMAT, "byte %" PRIu64 ": tensor %s is impossibly big",
                        pos, before->name);
    end = dgo_pad_u64(end, alignment);
    if (tensor->offset != end)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": tensor %s starts at %" PRIu64
                        " of the data, where the tensors before it say %" PRIu64,
                        pos, tensor->name, tensor->offset, end);
    return DGO_OK;
}

static enum dgo_status read_entry(struct gguf_parser *parser, struct dgo_tensor *before,
                                  struct dgo_tensor *tensor)
{
    struct dgo_reader *in = parser->in;
    const char *name;
    uint64_t values;
    enum dgo_status status =
        gguf_read_name(parser, "a tensor name", DGO_TENSOR_NAME_MAX - 1, &name);

    if (status)
        return status;
    memcpy(tensor->name, name, strlen(name) + 1);
    if ((status = read_shape(parser, tensor, &values)))
        return status;

    const uint64_t type_pos = in->pos;

    tensor->type = dgo_read_u32(in);
    tensor->offset = dgo_read_u64(in);
    if (in->failed)
        return gguf_cut(parser, "the tensor directory");
    if ((status = size_by_type(parser, type_pos, tensor, values)))
        return status;
    return place(parser, type_pos + 4, before, tensor);
}

/* The data of the last tensor ends the file; what the last one is also tells whether all is here.
 */
static enum dgo_status check_data(struct gguf_parser *parser)
{
    struct gguf_file *file = parser->file;

    file->data_offset = dgo_pad_u64(parser->in->pos, file->alignment);
    if (file->tensor_count == 0)
        return DGO_OK;

    struct dgo_tensor *last = &file->tensor[file->tensor_count - 1];
    uint64_t start, end;

    if (__builtin_add_overflow(file->data_offset, last->offset, &start) ||
        __builtin_add_overflow(start, last->size_bytes, &end))
        return dgo_fail(parser->err, DGO_EFORMAT, "byte %" PRIu64 ": tensor %s is impossibly big",
                        parser->in->pos, last->name);
    if (!last->type_known) {
        /* Of a type we do not know, at least one byte; the rest of the file is its size. */
        end = start + 1;
        if (file->file_bytes >= end)
            last->size_bytes = file->file_bytes - start;
    }
    if (end > file->file_bytes)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": the file ends %" PRIu64
                        " bytes early (tensor %s ends at byte %" PRIu64
                        "); was the download complete?",
                        file->file_bytes, end - file->file_bytes, last->name, end);
    return DGO_OK;
}

static enum dgo_status read_tensors(struct gguf_parser *parser, uint64_t count)
{
    struct gguf_file *file = parser->file;
    struct gguf_name *names = gguf_take(parser, count, sizeof *names);

    file->tensor = names ? gguf_take(parser, count, sizeof *file->tensor) : NULL;
    if (!file->tensor)
        return parser->err->status;
    for (uint32_t i = 0; i < count; i++) {
        struct dgo_tensor *tensor = &file->tensor[i];

        names[i] = (struct gguf_name){tensor->name, parser->in->pos};

        const enum dgo_status status = read_entry(parser, i ? tensor - 1 : NULL, tensor);

        if (status)
            return status;
    }
    file->tensor_count = (uint32_t)count;

    const enum dgo_status status = gguf_check_unique(names, (uint32_t)count, "tensor", parser->err);

    return status ? status : check_data(parser);
}

static enum dgo_status check_version(struct gguf_parser *parser)
{
    const uint32_t version = parser->file->version;

    if (version == 2 || version == 3)
        return DGO_OK;
    if (version == 1)
        return dgo_fail(parser->err, DGO_EUNSUPPORTED,
                        "byte 4: GGUF version 1, which llama.cpp no longer reads; convert the "
                        "model again or download a newer file");
    if (version != 0 && (version & 0xffff) == 0)
        return dgo_fail(parser->err, DGO_EUNSUPPORTED,
                        "byte 4: a big-endian GGUF file; this machine needs the little-endian one "
                        "(gguf-py's gguf_convert_endian.py makes it)");
    if (version == 0)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte 4: GGUF version 0 does not exist; the file is damaged");
    return dgo_fail(parser->err, DGO_EUNSUPPORTED,
                    "byte 4: GGUF version %" PRIu32 ", this program knows 2 and 3; a newer "
                    "dualgpuopt may read it",
                    version);
}

static enum dgo_status read_magic(struct gguf_parser *parser)
{
    unsigned char head[GGUF_SNIFF_BYTES];
    struct dgo_reader peek = *parser->in; /* reading from a copy does not move the original */
    const size_t length = (size_t)dgo_min_u64(peek.left_bytes, sizeof head);

    dgo_read_bytes(&peek, head, length);
    if (peek.failed) {
        *parser->in = peek;
        return gguf_cut(parser, "its first bytes");
    }
    if (length >= 4 && memcmp(head, "GGUF", 4) == 0) {
        dgo_read_skip(parser->in, 4);
        return DGO_OK;
    }
    return dgo_fail(parser->err, DGO_EUNSUPPORTED, "byte 0: not a GGUF file: %s",
                    gguf_looks_like(head, length));
}

/* Counts first: nothing is allocated for one that the bytes left cannot hold. */
static enum dgo_status check_count(struct gguf_parser *parser, uint64_t pos, uint64_t count,
                                   uint64_t least_bytes, uint64_t most, const char *what)
{
    if (count > parser->in->left_bytes / least_bytes)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": %" PRIu64 " %s cannot be in the %" PRIu64
                        " bytes that follow; the file is damaged or cut",
                        pos, count, what, parser->in->left_bytes);
    if (count > most)
        return dgo_fail(parser->err, DGO_ELIMIT,
                        "byte %" PRIu64 ": %" PRIu64 " %s, at most %" PRIu64 " are taken", pos,
                        count, what, most);
    return DGO_OK;
}

static enum dgo_status read_alignment(struct gguf_parser *parser)
{
    const struct dgo_model_key *key = gguf_find(parser->file, "general.alignment");
    uint64_t alignment = GGUF_ALIGNMENT_DEFAULT;

    if (key && !gguf_number(key, &alignment))
        alignment = 0;
    if (alignment == 0 || alignment > GGUF_ALIGNMENT_MAX || (alignment & (alignment - 1)))
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": general.alignment is %" PRIu64
                        ", not a power of two up to %d (its pair is before this byte)",
                        parser->in->pos, alignment, GGUF_ALIGNMENT_MAX);
    parser->file->alignment = alignment;
    return DGO_OK;
}

static enum dgo_status parse(struct gguf_parser *parser)
{
    struct dgo_reader *in = parser->in;
    enum dgo_status status = read_magic(parser);

    if (status)
        return status;
    parser->file->version = dgo_read_u32(in);
    if (in->failed)
        return gguf_cut(parser, "the header");
    if ((status = check_version(parser)))
        return status;

    const uint64_t tensor_count = dgo_read_u64(in);
    const uint64_t key_count = dgo_read_u64(in);

    if (in->failed)
        return gguf_cut(parser, "the header");
    if ((status =
             check_count(parser, 8, tensor_count, ENTRY_BYTES_MIN, DGO_TENSOR_MAX, "tensors")) ||
        (status =
             check_count(parser, 16, key_count, PAIR_BYTES_MIN, GGUF_KEY_MAX, "metadata pairs")) ||
        (status = gguf_read_keys(parser, key_count)) || (status = read_alignment(parser)))
        return status;
    return read_tensors(parser, tensor_count);
}

enum dgo_status gguf_parse(struct dgo_reader *in, uint64_t file_bytes, struct dgo_arena *arena,
                           struct gguf_file *file, struct dgo_error *err)
{
    struct dgo_error sentence = {0}; /* the callees read the status from it */
    struct gguf_file parsed = {.file_bytes = file_bytes};
    struct gguf_parser parser = {in, arena, &parsed, &sentence};
    const enum dgo_status status = parse(&parser);

    if (status == DGO_OK)
        *file = parsed;
    else if (err)
        *err = sentence;
    return status;
}
