/* encoder_blocks.c - the blocks that encoders of pictures are drawn of. */
#include "encoder.h"

#include "dgo_units.h"

#include <stdio.h>

enum { F16_BYTES = 2, POSITION_BYTES = 4, BLOCK_PATCHES = 4, TYPE_BF16 = 30, MATRIX_MAX = 1 << 20 };
enum { OVER_FIRST = 1, OVER_EITHER = 3 };

uint64_t sketch_bytes(uint64_t width, uint64_t rows)
{
    return width * rows * sizeof(float);
}

tape_ref sketch_input(struct sketch *s, uint64_t bytes)
{
    return tape_input(s->tape, bytes);
}

struct values sketch_made(struct sketch *s, uint64_t width, uint64_t rows, struct values x)
{
    return (struct values){TAPE_PUT(s->tape, sketch_bytes(width, rows), 0, x.ref), width, rows};
}

struct values sketch_changed(struct sketch *s, struct values x)
{
    x.ref = TAPE_PUT(s->tape, sketch_bytes(x.width, x.rows), OVER_FIRST, x.ref);
    return x;
}

struct values sketch_viewed(struct sketch *s, uint64_t width, uint64_t rows, struct values x)
{
    return (struct values){tape_view(s->tape, x.ref), width, rows};
}

struct values sketch_turned(struct sketch *s, struct values x)
{
    return sketch_made(s, x.width, x.rows, sketch_viewed(s, x.width, x.rows, x));
}

struct values sketch_sum(struct sketch *s, struct values a, struct values b)
{
    a.ref = TAPE_PUT(s->tape, sketch_bytes(a.width, a.rows), OVER_EITHER, a.ref, b.ref);
    return a;
}

struct values sketch_beside(struct sketch *s, struct values a, struct values b)
{
    const uint64_t rows = a.rows + b.rows;

    return (struct values){TAPE_PUT(s->tape, sketch_bytes(a.width, rows), 0, a.ref, b.ref), a.width,
                           rows};
}

/* How wide what a matrix makes is; what is not there, or impossible, makes the graph unknown. */
static uint64_t made_width(struct sketch *s, const char *name, uint32_t dim)
{
    char full[DGO_TENSOR_NAME_MAX];
    const struct dgo_tensor *matrix;

    snprintf(full, sizeof full, "%s.weight", name);
    matrix = encoder_tensor(s->encoder, full);
    if (matrix && matrix->dim[dim] <= MATRIX_MAX)
        return matrix->dim[dim];
    s->encoder->damaged = true;
    return 0;
}

static bool has_bias(const struct sketch *s, const char *name)
{
    char full[DGO_TENSOR_NAME_MAX];

    snprintf(full, sizeof full, "%s.bias", name);
    return encoder_tensor(s->encoder, full) != NULL;
}

struct values sketch_product(struct sketch *s, struct values x, uint64_t width, bool bias)
{
    const bool clamped = s->encoder->type->flags & ENCODER_CLAMPED;

    if (clamped)
        x = sketch_changed(s, x);
    x = sketch_made(s, width, x.rows, x);
    if (clamped)
        x = sketch_changed(s, x);
    return bias ? sketch_changed(s, x) : x;
}

struct values sketch_linear(struct sketch *s, struct values x, const char *name)
{
    return sketch_product(s, x, made_width(s, name, 1), has_bias(s, name));
}

struct values sketch_two(struct sketch *s, struct values x, const char *first, const char *second)
{
    x = sketch_changed(s, sketch_linear(s, x, first));
    return sketch_linear(s, x, second);
}

struct values sketch_norm(struct sketch *s, struct values x, bool rms, bool weight, bool bias)
{
    x = rms ? sketch_changed(s, x) : sketch_made(s, x.width, x.rows, x);
    if (weight)
        x = sketch_changed(s, x);
    return bias ? sketch_changed(s, x) : x;
}

struct values sketch_normed(struct sketch *s, struct values x, bool weight, bool bias)
{
    return sketch_norm(s, x, s->encoder->rms, weight, bias);
}

/* A norm whose tensors have a name of their own; none without them. */
struct values sketch_normed_by(struct sketch *s, struct values x, const char *name)
{
    char full[DGO_TENSOR_NAME_MAX];

    snprintf(full, sizeof full, "%s.weight", name);
    return encoder_tensor(s->encoder, full) ? sketch_normed(s, x, true, has_bias(s, name)) : x;
}

/* Pieces are F16, beside kernels of BF16 F32. */
static uint32_t piece_value_bytes(const struct dgo_tensor *kernel)
{
    return kernel && kernel->type == TYPE_BF16 ? sizeof(float) : F16_BYTES;
}

/* Pieces of the picture as rows, their product, and that turned over. */
struct values sketch_convolved(struct sketch *s, struct values x, const char *name, uint64_t kernel,
                               uint64_t rows)
{
    char full[DGO_TENSOR_NAME_MAX];
    struct values y = {TAPE_OUTSIDE, 0, rows};
    uint64_t value;

    snprintf(full, sizeof full, "%s.weight", name);
    value = piece_value_bytes(encoder_tensor(s->encoder, full));
    y.width = made_width(s, name, 3);
    y.ref = TAPE_PUT(s->tape, kernel * kernel * x.width * rows * value, 0, x.ref);
    y = sketch_made(s, y.width, rows, sketch_viewed(s, y.width, rows, y));
    return sketch_turned(s, y);
}

struct kernel sketch_kernel(struct sketch *s, const struct dgo_tensor *tensor)
{
    enum { KERNEL_MAX = 31 };

    if (!tensor)
        return (struct kernel){0};
    if (tensor->dim[0] > KERNEL_MAX)
        s->encoder->damaged = true;
    return (struct kernel){(uint32_t)dgo_min_u64(tensor->dim[0], KERNEL_MAX),
                           piece_value_bytes(tensor)};
}

struct values sketch_apart(struct sketch *s, struct values x, struct kernel kernel, uint64_t rows)
{
    const uint64_t piece = (uint64_t)kernel.side * kernel.side * kernel.value_bytes;
    struct values y = {TAPE_OUTSIDE, x.width, rows};

    y.ref = TAPE_PUT(s->tape, x.width * rows * piece, 0, tape_view(s->tape, x.ref));
    y = sketch_made(s, x.width, rows, sketch_viewed(s, x.width, rows, y));
    return sketch_viewed(s, x.width, rows, y);
}

struct values sketch_reordered(struct sketch *s, struct values x)
{
    const tape_ref order = sketch_input(s, s->rows / BLOCK_PATCHES * POSITION_BYTES);
    const tape_ref blocks = tape_view(s->tape, x.ref);

    x.ref = TAPE_PUT(s->tape, sketch_bytes(x.width, x.rows), 0, blocks, order);
    return sketch_viewed(s, x.width, x.rows, x);
}

struct values sketch_chosen(struct sketch *s, uint64_t rows, struct values x)
{
    const tape_ref numbers = sketch_input(s, rows * POSITION_BYTES);

    x.rows = rows;
    x.ref = TAPE_PUT(s->tape, sketch_bytes(x.width, rows), 0, x.ref, numbers);
    return x;
}

struct values sketch_gated(struct sketch *s, struct values gate, struct values up)
{
    gate.ref = TAPE_PUT(s->tape, sketch_bytes(gate.width, gate.rows), 0, gate.ref, up.ref);
    return gate;
}

struct values sketch_half_gated(struct sketch *s, struct values x, uint64_t width)
{
    enum { OVER_SECOND = 2 };
    const struct values gate = sketch_made(s, width, x.rows, sketch_viewed(s, x.width, x.rows, x));

    x.ref = TAPE_PUT(s->tape, sketch_bytes(width, x.rows), OVER_SECOND, tape_view(s->tape, x.ref),
                     gate.ref);
    x.width = width;
    return x;
}

/* Rows are led to the experts that score highest; what those make is weighed and added up. */
struct values sketch_experts(struct sketch *s, const struct encoder_layer *layer, struct values x)
{
    const uint64_t used = s->encoder->used_expert_count, rows = x.rows;
    struct tape *t = s->tape;
    const struct values scores = sketch_changed(s, sketch_made(s, layer->expert_count, rows, x));
    const struct values chosen =
        sketch_made(s, layer->expert_count, rows, sketch_changed(s, scores));
    const tape_ref order = tape_view(t, chosen.ref);
    struct values weight = {TAPE_OUTSIDE, used, rows},
                  gate = {TAPE_OUTSIDE, layer->inner, used * rows}, up = gate;

    weight.ref = TAPE_PUT(t, sketch_bytes(used, rows), 0, tape_view(t, scores.ref), order);
    weight = sketch_viewed(s, used, rows, weight);
    weight = sketch_sum(s, weight, sketch_made(s, 1, rows, weight));
    gate.ref = TAPE_PUT(t, sketch_bytes(gate.width, gate.rows), 0, tape_view(t, x.ref), order);
    up.ref = TAPE_PUT(t, sketch_bytes(up.width, up.rows), 0, tape_view(t, x.ref), order);
    gate = sketch_sum(s, sketch_changed(s, gate), up);
    x.ref = TAPE_PUT(t, sketch_bytes(x.width, used * rows), 0, gate.ref, order);
    x.ref = TAPE_PUT(t, sketch_bytes(x.width, used * rows), OVER_FIRST, x.ref,
                     tape_view(t, weight.ref));
    const tape_ref all = x.ref;

    x.ref = tape_view(t, all);
    for (uint64_t e = 1; e < used; e++)
        x.ref = TAPE_PUT(t, sketch_bytes(x.width, rows), e > 1 ? OVER_FIRST : 0, x.ref,
                         tape_view(t, all));
    return used > 1 ? x : sketch_made(s, x.width, rows, x);
}

struct values sketch_attend(struct sketch *s, struct values q, struct values k, struct values v,
                            uint64_t heads, tape_ref mask)
{
    struct tape *t = s->tape;

    tape_expand(t, q.ref);
    tape_expand(t, k.ref);
    tape_expand(t, v.ref);
    const tape_ref queries = tape_view(t, q.ref), keys = tape_view(t, k.ref),
                   turned = tape_view(t, v.ref);
    const uint64_t result = sketch_bytes(q.width, q.rows), half = k.width * k.rows * F16_BYTES;

    if (s->fused) {
        const tape_ref short_keys = TAPE_PUT(t, half, 0, keys);
        const tape_ref short_values = TAPE_PUT(t, half, 0, turned);

        q.ref = tape_view(t, TAPE_PUT(t, result, 0, queries, short_keys, short_values, mask));
        return q;
    }
    const uint64_t scores = heads * sketch_bytes(k.rows, q.rows);
    const tape_ref columns = TAPE_PUT(t, sketch_bytes(v.width, v.rows), 0, turned);
    const tape_ref raw = TAPE_PUT(t, scores, 0, keys, queries);
    const tape_ref shares = TAPE_PUT(t, scores, OVER_FIRST, raw, mask);

    q.ref = TAPE_PUT(t, result, 0, columns, shares);
    return sketch_turned(s, q);
}
