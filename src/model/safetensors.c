/* safetensors.c - reads the header of a safetensors file. */
#include "safetensors.h"

#include "dgo_json.h"
#include "dgo_read.h"
#include "dgo_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8 };

static const struct {
    const char *name;
    uint32_t bits;
} dtypes[] = {
    {"BOOL", 8},    {"U8", 8},   {"I8", 8},      {"F8_E4M3", 8}, {"F8_E5M2", 8},
    {"F8_E8M0", 8}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"I16", 16},
    {"U16", 16},    {"F16", 16}, {"BF16", 16},   {"I32", 32},    {"U32", 32},
    {"F32", 32},    {"I64", 64}, {"U64", 64},    {"F64", 64},    {"C64", 64},
};

static uint32_t bits_of(const char *dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, dtype) == 0)
            return dtypes[i].bits;
    return 0;
}

/* What is known of the tensor at hand. */
struct reading {
    uint64_t data_bytes, told_bytes;
    uint32_t tensor_count;
    safetensors_fn each;
    void *data;
    uint64_t pos;
    bool open, has_dtype, has_shape;
    uint32_t offset_count;
    uint64_t offset[2];
    struct safetensors_tensor tensor;
};

static enum dgo_status bad_tensor(const struct reading *reading, struct dgo_error *err,
                                  const char *what)
{
    char name[96];

    dgo_text_copy_escaped(name, sizeof name, reading->tensor.name, strlen(reading->tensor.name));
    return dgo_fail(err, DGO_EFORMAT, "byte %" PRIu64 ": tensor '%s' %s", reading->pos, name, what);
}

/* Elements and bits fit together with the place the data is said to have. */
static enum dgo_status finish_tensor(struct reading *reading, struct dgo_error *err)
{
    struct safetensors_tensor *tensor = &reading->tensor;
    uint64_t bits;

    if (!reading->has_dtype || !reading->has_shape || reading->offset_count != 2)
        return bad_tensor(reading, err, "lacks its dtype, shape or data_offsets");
    if (reading->offset[0] > reading->offset[1] || reading->offset[1] > reading->data_bytes)
        return bad_tensor(reading, err, "lies outside of the file; is the download complete?");
    tensor->element_count = 1;
    for (uint32_t i = 0; i < tensor->dim_count; i++)
        if (__builtin_mul_overflow(tensor->element_count, tensor->dim[i], &tensor->element_count))
            return bad_tensor(reading, err, "is larger than any file");
    tensor->size_bytes = reading->offset[1] - reading->offset[0];
    tensor->bits = bits_of(tensor->dtype);
    if (tensor->bits && (__builtin_mul_overflow(tensor->element_count, tensor->bits, &bits) ||
                         bits / 8 + (bits % 8 != 0) != tensor->size_bytes))
        return bad_tensor(reading, err, "has a shape that does not fit its data_offsets");
    /* Tensors may not overlap: together they are no more than the file. */
    if (__builtin_add_overflow(reading->told_bytes, tensor->size_bytes, &reading->told_bytes) ||
        reading->told_bytes > reading->data_bytes)
        return bad_tensor(reading, err, "overlaps others: together they exceed the file");
    if (++reading->tensor_count > SAFETENSORS_TENSOR_MAX)
        return bad_tensor(reading, err, "is one too many");
    return reading->each(tensor, reading->data, err);
}

static enum dgo_status begin_tensor(struct reading *reading, const struct dgo_json_value *value)
{
    reading->open = strcmp(value->step[0].key, "__metadata__") != 0;
    reading->has_dtype = reading->has_shape = false;
    reading->offset_count = 0;
    reading->pos = value->pos;
    memset(&reading->tensor, 0, sizeof reading->tensor);
    dgo_text_copy(reading->tensor.name, sizeof reading->tensor.name, value->step[0].key);
    return DGO_OK;
}

/* A number of `shape` or `data_offsets`. */
static enum dgo_status take_number(struct reading *reading, const struct dgo_json_value *value,
                                   struct dgo_error *err)
{
    const char *key = value->step[1].key;
    struct safetensors_tensor *tensor = &reading->tensor;

    if (!value->is_whole)
        return bad_tensor(reading, err, "has a number that is no count");
    if (strcmp(key, "shape") == 0) {
        if (tensor->dim_count == SAFETENSORS_DIM_MAX)
            return bad_tensor(reading, err, "has more than 8 dimensions");
        tensor->dim[tensor->dim_count++] = value->whole;
    } else if (strcmp(key, "data_offsets") == 0) {
        if (reading->offset_count == 2)
            return bad_tensor(reading, err, "has more than 2 data_offsets");
        reading->offset[reading->offset_count++] = value->whole;
    }
    return DGO_OK;
}

static enum dgo_status read_value(const struct dgo_json_value *value, void *data,
                                  struct dgo_error *err)
{
    struct reading *reading = data;

    if (value->depth == 0)
        return value->kind == DGO_JSON_OPEN || value->kind == DGO_JSON_CLOSE
                   ? (value->is_array
                          ? dgo_fail(err, DGO_EFORMAT,
                                     "byte %" PRIu64 ": the header is a list, not an object",
                                     value->pos)
                          : DGO_OK)
                   : dgo_fail(err, DGO_EFORMAT, "byte %" PRIu64 ": the header is no object",
                              value->pos);
    if (value->depth == 1) {
        if (value->kind == DGO_JSON_OPEN && !value->is_array)
            return begin_tensor(reading, value);
        if (value->kind == DGO_JSON_CLOSE)
            return reading->open ? finish_tensor(reading, err) : DGO_OK;
        return dgo_fail(err, DGO_EFORMAT, "byte %" PRIu64 ": a tensor that is no object",
                        value->pos);
    }
    if (!reading->open)
        return DGO_OK;
    if (value->depth == 2 && value->kind == DGO_JSON_STRING &&
        strcmp(value->step[1].key, "dtype") == 0)
        reading->has_dtype = dgo_text_copy_escaped(
            reading->tensor.dtype, sizeof reading->tensor.dtype, value->text, strlen(value->text));
    if (value->depth == 2 && value->kind == DGO_JSON_OPEN && value->is_array &&
        strcmp(value->step[1].key, "shape") == 0)
        reading->has_shape = true;
    if (value->depth == 3 && value->step[2].is_index) {
        if (value->kind != DGO_JSON_NUMBER)
            return bad_tensor(reading, err, "has something else than numbers in a list");
        return take_number(reading, value, err);
    }
    return DGO_OK;
}

enum dgo_status safetensors_parse(const char *header, size_t length, uint64_t data_bytes,
                                  safetensors_fn each, void *data, struct dgo_error *err)
{
    struct reading reading = {.data_bytes = data_bytes, .each = each, .data = data};

    return dgo_json_walk(header, length, LENGTH_BYTES, read_value, &reading, err);
}

enum dgo_status safetensors_read(int fd, uint64_t file_bytes, safetensors_fn each, void *data,
                                 struct dgo_error *err)
{
    struct dgo_reader in;
    unsigned char buffer[4096];
    enum dgo_status status;
    uint64_t length;
    char *header;

    dgo_read_file(&in, fd, file_bytes, buffer, sizeof buffer);
    length = dgo_read_u64(&in);
    if (in.failed)
        return dgo_fail(err, DGO_EFORMAT, "byte 0: the file is shorter than its header's length");
    if (length > SAFETENSORS_HEADER_MAX || length > in.left_bytes)
        return dgo_fail(err, DGO_EFORMAT,
                        "byte 0: a header of %" PRIu64
                        " bytes is not in this file: it is cut, or no safetensors file",
                        length);
    header = malloc(length ? (size_t)length : 1);
    if (!header)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a header of %" PRIu64 " bytes", length);
    dgo_read_bytes(&in, header, (size_t)length);
    if (in.failed)
        status = dgo_fail_errno(err, DGO_EIO, in.errno_value, "byte %" PRIu64 ": cannot be read",
                                in.failed_pos);
    else
        status = safetensors_parse(header, (size_t)length, in.left_bytes, each, data, err);
    free(header);
    return status;
}
