/* probe_model.c - the header of a GGUF file, and a hole in the place of its data. */
#include "probe_model.h"

#include "dgo_model.h"
#include "dgo_units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_MAX = 256 * 1024, ALIGNMENT = 32, LAYERS_MAX = 64, GGUF_VERSION = 3 };
enum { VALUE_UINT32 = 4, VALUE_FLOAT32 = 6, VALUE_STRING = 8 };
enum { TYPE_F32 = 0 };

const struct probe_shape probe_tiny = {.type = TYPE_F32,
                                       .layer_count = 32,
                                       .embedding = 128, /* heads of 64: all kernels know them */
                                       .head_count = 2,
                                       .head_count_kv = 1,
                                       .feed_forward = 128,
                                       .vocab = 64};

struct writing {
    uint8_t *data;
    size_t length;
    bool full;
    uint64_t tensor_count;
    uint64_t offset; /* of the next tensor */
    const struct probe_shape *shape;
    const struct dgo_ggml_type *type;
};

static void add(struct writing *w, const void *bytes, size_t length)
{
    if (length > HEADER_MAX - w->length) {
        w->full = true;
        return;
    }
    memcpy(w->data + w->length, bytes, length);
    w->length += length;
}

/* Little-endian, as the machines this runs on are. */
static void add_u32(struct writing *w, uint32_t value)
{
    add(w, &value, sizeof value);
}

static void add_u64(struct writing *w, uint64_t value)
{
    add(w, &value, sizeof value);
}

static void add_text(struct writing *w, const char *text)
{
    add_u64(w, strlen(text));
    add(w, text, strlen(text));
}

static void key_u32(struct writing *w, const char *name, uint32_t value)
{
    add_text(w, name);
    add_u32(w, VALUE_UINT32);
    add_u32(w, value);
}

static void key_float(struct writing *w, const char *name, float value)
{
    add_text(w, name);
    add_u32(w, VALUE_FLOAT32);
    add(w, &value, sizeof value);
}

static void key_text(struct writing *w, const char *name, const char *value)
{
    add_text(w, name);
    add_u32(w, VALUE_STRING);
    add_text(w, value);
}

/* "no_vocab": the engine makes up tokens for a benchmark and asks for no words. */
enum { KEY_COUNT = 12 };
static void add_keys(struct writing *w)
{
    const struct probe_shape *shape = w->shape;

    key_text(w, "general.architecture", "llama");
    key_text(w, "general.name", "dualgpuopt probe");
    key_u32(w, "llama.context_length", 8192);
    key_u32(w, "llama.embedding_length", shape->embedding);
    key_u32(w, "llama.block_count", shape->layer_count);
    key_u32(w, "llama.feed_forward_length", shape->feed_forward);
    key_u32(w, "llama.attention.head_count", shape->head_count);
    key_u32(w, "llama.attention.head_count_kv", shape->head_count_kv);
    key_float(w, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    key_u32(w, "llama.rope.dimension_count", shape->embedding / shape->head_count);
    key_u32(w, "llama.vocab_size", shape->vocab);
    key_text(w, "tokenizer.ggml.model", "no_vocab");
}

static void add_info(struct writing *w, const char *name, uint32_t dims, uint64_t a, uint64_t b,
                     const struct dgo_ggml_type *type)
{
    const uint64_t bytes = a * b / type->block_values * type->block_bytes;

    add_text(w, name);
    add_u32(w, dims);
    add_u64(w, a);
    if (dims > 1)
        add_u64(w, b);
    add_u32(w, type->id);
    add_u64(w, w->offset);
    w->offset += dgo_pad_u64(bytes, ALIGNMENT);
    w->tensor_count++;
}

static void add_matrix(struct writing *w, const char *name, uint64_t columns, uint64_t rows)
{
    add_info(w, name, 2, columns, rows, w->type);
}

static void add_norm(struct writing *w, const char *name, uint64_t width)
{
    add_info(w, name, 1, width, 1, dgo_ggml_type(TYPE_F32));
}

static void add_layer(struct writing *w, uint32_t layer)
{
    const struct probe_shape *s = w->shape;
    const uint64_t e = s->embedding, kv = e / s->head_count * s->head_count_kv;
    const struct {
        const char *name;
        uint64_t columns, rows; /* rows 0: a norm */
    } tensors[] = {
        {"attn_norm", e, 0},
        {"attn_q", e, e},
        {"attn_k", e, kv},
        {"attn_v", e, kv},
        {"attn_output", e, e},
        {"ffn_norm", e, 0},
        {"ffn_gate", e, s->feed_forward},
        {"ffn_up", e, s->feed_forward},
        {"ffn_down", s->feed_forward, e},
    };

    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        char name[DGO_TENSOR_NAME_MAX];

        (void)snprintf(name, sizeof name, "blk.%u.%s.weight", (unsigned)layer, tensors[i].name);
        if (tensors[i].rows > 0)
            add_matrix(w, name, tensors[i].columns, tensors[i].rows);
        else
            add_norm(w, name, tensors[i].columns);
    }
}

static void add_tensors(struct writing *w)
{
    add_matrix(w, "token_embd.weight", w->shape->embedding, w->shape->vocab);
    add_norm(w, "output_norm.weight", w->shape->embedding);
    add_matrix(w, "output.weight", w->shape->embedding, w->shape->vocab);
    for (uint32_t l = 0; l < w->shape->layer_count; l++)
        add_layer(w, l);
}

/* Infos are counted while they are written, so they come first and the start is put before. */
static void add_all(struct writing *w)
{
    size_t counts;

    add(w, "GGUF", 4);
    add_u32(w, GGUF_VERSION);
    counts = w->length;
    add_u64(w, 0);
    add_u64(w, KEY_COUNT);
    add_keys(w);
    add_tensors(w);
    memcpy(w->data + counts, &w->tensor_count, sizeof w->tensor_count);
    while (w->length % ALIGNMENT && !w->full)
        add(w, "", 1);
}

static enum dgo_status write_file(const char *path, const struct writing *w, struct dgo_error *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool done;

    if (fd < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "'%.200s' cannot be written", path);
    done = write(fd, w->data, w->length) == (ssize_t)w->length &&
           ftruncate(fd, (off_t)(w->length + w->offset)) == 0;
    const int why = errno;

    if (close(fd) != 0 || !done)
        return dgo_fail_errno(err, DGO_EIO, why, "'%.200s' cannot be written", path);
    return DGO_OK;
}

enum dgo_status probe_model_write(const char *path, const struct probe_shape *shape,
                                  struct dgo_error *err)
{
    struct writing w = {.shape = shape, .type = dgo_ggml_type(shape->type)};
    enum dgo_status status;

    if (!w.type || shape->embedding % w.type->block_values ||
        shape->feed_forward % w.type->block_values)
        return dgo_fail(err, DGO_EINVAL, "no probe can be made of type %u", (unsigned)shape->type);
    w.data = calloc(1, HEADER_MAX);
    if (!w.data)
        return dgo_fail(err, DGO_ENOMEM, "no memory for a probe model");
    add_all(&w);
    status = w.full ? dgo_fail(err, DGO_ELIMIT, "the probe's header is too large")
                    : write_file(path, &w, err);
    free(w.data);
    return status;
}

/* Rows of 256 suit every block there is. */
enum { PROBE_VOCAB = 1024, PROBE_EMBEDDING_MAX = 4096, PROBE_EMBEDDING_MIN = 256 };

void probe_shape_of(uint32_t type, uint64_t bytes, struct probe_shape *shape)
{
    const struct dgo_ggml_type *row = dgo_ggml_type(type);
    const double value_bytes = row ? (double)row->block_bytes / row->block_values : 4;
    uint32_t embedding = 2 * PROBE_EMBEDDING_MAX, heads, heads_kv;
    double layer_bytes, layers;

    /* Narrower until a dozen layers fit, so that the output layer stays a small part.  Queries and
     * their output, keys and values, a feed-forward of 3.5 times the width; an eighth of a layer is
     * spared for norms and padding. */
    do {
        embedding /= 2;
        heads = embedding / 128;
        heads_kv = heads / 4 > 0 ? heads / 4 : 1;
        layer_bytes = value_bytes * embedding * embedding * (2 + 2.0 * heads_kv / heads + 3 * 3.5);
        layers = ((double)bytes - value_bytes * embedding * PROBE_VOCAB) / layer_bytes - 0.125;
    } while (layers < 12 && embedding > PROBE_EMBEDDING_MIN);
    *shape = (struct probe_shape){
        .type = type,
        .layer_count = layers < 2            ? 2
                       : layers > LAYERS_MAX ? LAYERS_MAX
                                             : (uint32_t)layers,
        .embedding = embedding,
        .head_count = heads,
        .head_count_kv = heads_kv,
        .feed_forward = embedding / 2 * 7 / 256 * 256,
        .vocab = PROBE_VOCAB,
    };
}
