/* gguf_keys.c - the metadata pairs: small values are kept, vocabularies are walked over. */
#include "gguf.h"

#include <inttypes.h>
#include <string.h>

enum { TYPE_STRING = 8, TYPE_ARRAY = 9, TYPE_COUNT = 13 };

/* By the format's type id; string and array have no fixed size. */
static const struct {
    uint8_t bytes;
    enum dgo_value_kind kind;
} types[TYPE_COUNT] = {
    {1, DGO_VALUE_UINT},   {1, DGO_VALUE_INT},   {2, DGO_VALUE_UINT},  {2, DGO_VALUE_INT},
    {4, DGO_VALUE_UINT},   {4, DGO_VALUE_INT},   {4, DGO_VALUE_FLOAT}, {1, DGO_VALUE_BOOL},
    {0, DGO_VALUE_STRING}, {0, DGO_VALUE_ARRAY}, {8, DGO_VALUE_UINT},  {8, DGO_VALUE_INT},
    {8, DGO_VALUE_FLOAT},
};

/* One number of a fixed-size type, into the key's fields. */
static void read_number(struct dgo_reader *in, uint32_t type, struct dgo_model_key *key)
{
    const unsigned bits = types[type].bytes * 8u;
    uint64_t raw = 0;

    switch (types[type].bytes) {
    case 1:
        raw = dgo_read_u8(in);
        break;
    case 2:
        raw = dgo_read_u16(in);
        break;
    case 4:
        raw = dgo_read_u32(in);
        break;
    default:
        raw = dgo_read_u64(in);
        break;
    }
    key->number = 0;
    key->real = 0;
    if (types[type].kind == DGO_VALUE_FLOAT && bits == 32) {
        const uint32_t half = (uint32_t)raw;
        float value;

        memcpy(&value, &half, sizeof value);
        key->real = (double)value;
    } else if (types[type].kind == DGO_VALUE_FLOAT) {
        memcpy(&key->real, &raw, sizeof key->real);
    } else if (types[type].kind == DGO_VALUE_BOOL) {
        key->number = raw != 0;
    } else if (types[type].kind == DGO_VALUE_INT && bits < 64 && raw >> (bits - 1)) {
        key->number = raw | UINT64_MAX << bits;
    } else {
        key->number = raw;
    }
}

static double number_as_real(const struct dgo_model_key *key)
{
    switch (key->kind) {
    case DGO_VALUE_FLOAT:
        return key->real;
    case DGO_VALUE_INT:
        return (double)(int64_t)key->number;
    default:
        return (double)key->number;
    }
}

/* The length in front of a string, checked against what is there. */
static enum dgo_status read_length(struct gguf_parser *parser, const char *name, uint64_t *length)
{
    struct dgo_reader *in = parser->in;
    const uint64_t pos = in->pos;

    *length = dgo_read_u64(in);
    if (in->failed)
        return gguf_cut(parser, name);
    if (*length <= in->left_bytes && *length <= GGUF_STRING_BYTES_MAX)
        return DGO_OK;
    if (*length <= parser->file->file_bytes - in->pos && *length <= GGUF_STRING_BYTES_MAX) {
        dgo_read_skip(in, *length); /* the file has it, but beyond where a header may reach */
        return gguf_cut(parser, name);
    }
    return dgo_fail(parser->err, DGO_EFORMAT,
                    "byte %" PRIu64 ": a string of %" PRIu64 " bytes in %.128s, %" PRIu64
                    " bytes follow; the file is damaged or cut",
                    pos, *length, name, in->left_bytes);
}

static enum dgo_status read_string(struct gguf_parser *parser, struct dgo_model_key *key)
{
    const enum dgo_status status = read_length(parser, key->name, &key->length);

    if (status)
        return status;
    if (key->length > GGUF_TEXT_KEPT_MAX) {
        dgo_read_skip(parser->in, key->length);
        return DGO_OK;
    }

    char *text = gguf_take(parser, key->length + 1, 1);

    if (!text)
        return parser->err->status;
    dgo_read_bytes(parser->in, text, (size_t)key->length);
    key->text = text;
    return DGO_OK;
}

static enum dgo_status read_numbers(struct gguf_parser *parser, uint32_t type,
                                    struct dgo_model_key *key)
{
    if (key->length > DGO_LAYER_MAX) {
        dgo_read_skip(parser->in, key->length * types[type].bytes);
        return DGO_OK;
    }

    double *elements = gguf_take(parser, key->length, sizeof *elements);

    if (!elements)
        return parser->err->status;
    for (uint64_t i = 0; i < key->length; i++) {
        read_number(parser->in, type, key);
        elements[i] = number_as_real(key);
    }
    key->number = 0;
    key->real = 0;
    key->elements = elements;
    return DGO_OK;
}

static enum dgo_status walk_strings(struct gguf_parser *parser, struct dgo_model_key *key)
{
    for (uint64_t i = 0; i < key->length; i++) {
        uint64_t length;
        const enum dgo_status status = read_length(parser, key->name, &length);

        if (status)
            return status;
        dgo_read_skip(parser->in, length);
    }
    return DGO_OK;
}

static enum dgo_status read_array(struct gguf_parser *parser, struct dgo_model_key *key)
{
    struct dgo_reader *in = parser->in;
    const uint64_t pos = in->pos;
    const uint32_t type = dgo_read_u32(in);

    key->is_array = true;
    key->length = dgo_read_u64(in);
    if (in->failed)
        return gguf_cut(parser, key->name);
    if (type >= TYPE_COUNT || type == TYPE_ARRAY)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": %.128s is an array of the unknown type %" PRIu32, pos,
                        key->name, type);
    key->kind = types[type].kind;

    const uint64_t least_bytes = type == TYPE_STRING ? 8 : types[type].bytes;

    if (key->length > in->left_bytes / least_bytes &&
        key->length <= (parser->file->file_bytes - in->pos) / least_bytes) {
        dgo_read_skip(in, key->length * least_bytes);
        return gguf_cut(parser, key->name);
    }
    if (key->length > in->left_bytes / least_bytes)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": %.128s has %" PRIu64 " elements, which cannot be in the "
                        "%" PRIu64 " bytes that follow; the file is damaged or cut",
                        pos + 4, key->name, key->length, in->left_bytes);
    return type == TYPE_STRING ? walk_strings(parser, key) : read_numbers(parser, type, key);
}

static enum dgo_status read_pair(struct gguf_parser *parser, struct dgo_model_key *key)
{
    struct dgo_reader *in = parser->in;
    enum dgo_status status =
        gguf_read_name(parser, "a metadata key", GGUF_KEY_LENGTH_MAX, &key->name);

    if (status)
        return status;

    const uint64_t pos = in->pos;
    const uint32_t type = dgo_read_u32(in);

    if (in->failed)
        return gguf_cut(parser, "the metadata");
    if (type >= TYPE_COUNT)
        return dgo_fail(parser->err, DGO_EFORMAT,
                        "byte %" PRIu64 ": %.128s has the unknown type %" PRIu32, pos, key->name,
                        type);
    key->kind = types[type].kind;
    key->length = 1;
    if (type == TYPE_ARRAY)
        status = read_array(parser, key);
    else if (type == TYPE_STRING)
        status = read_string(parser, key);
    else
        read_number(in, type, key);
    if (!status && in->failed)
        status = gguf_cut(parser, "the metadata");
    return status;
}

enum dgo_status gguf_read_keys(struct gguf_parser *parser, uint64_t count)
{
    struct gguf_file *file = parser->file;
    struct gguf_name *names = gguf_take(parser, count, sizeof *names);

    file->key = names ? gguf_take(parser, count, sizeof *file->key) : NULL;
    if (!file->key)
        return parser->err->status;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t pos = parser->in->pos;
        const enum dgo_status status = read_pair(parser, &file->key[i]);

        if (status)
            return status;
        file->key[i].pos = pos;
        names[i] = (struct gguf_name){file->key[i].name, pos};
    }
    file->key_count = (uint32_t)count;
    return gguf_check_unique(names, (uint32_t)count, "metadata key", parser->err);
}

const struct dgo_model_key *gguf_find(const struct gguf_file *file, const char *name)
{
    for (uint32_t i = 0; i < file->key_count; i++) {
        if (strcmp(file->key[i].name, name) == 0)
            return &file->key[i];
    }
    return NULL;
}

bool gguf_number(const struct dgo_model_key *key, uint64_t *number)
{
    if (!key || key->is_array)
        return false;
    if (key->kind == DGO_VALUE_INT && key->number > INT64_MAX)
        return false;
    if (key->kind != DGO_VALUE_UINT && key->kind != DGO_VALUE_INT && key->kind != DGO_VALUE_BOOL)
        return false;
    *number = key->number;
    return true;
}
