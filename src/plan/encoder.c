/* encoder.c - the graph of an encoder of pictures: what goes in, and its layers.  And the blocks
 * that the ends share. */
#include "encoder.h"

#include "dgo_units.h"

#include <stdio.h>

enum {
    F16_BYTES = 2,
    POSITION_BYTES = 4,
    COLOURS = 3,
    BLOCK_PATCHES = 4,
    TYPE_BF16 = 30,
    MATRIX_MAX = 1 << 20
};
enum { OVER_FIRST = 1, OVER_EITHER = 3 };

/* --- blocks ---------------------------------------------------------------------------------- */

static uint64_t bytes_of(uint64_t width, uint64_t rows)
{
    return width * rows * sizeof(float);
}

tape_ref sketch_input(struct sketch *s, uint64_t bytes)
{
    return tape_input(s->tape, bytes);
}

struct values sketch_made(struct sketch *s, uint64_t width, uint64_t rows, struct values x)
{
    return (struct values){TAPE_PUT(s->tape, bytes_of(width, rows), 0, x.ref), width, rows};
}

struct values sketch_changed(struct sketch *s, struct values x)
{
    x.ref = TAPE_PUT(s->tape, bytes_of(x.width, x.rows), OVER_FIRST, x.ref);
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
    a.ref = TAPE_PUT(s->tape, bytes_of(a.width, a.rows), OVER_EITHER, a.ref, b.ref);
    return a;
}

struct values sketch_beside(struct sketch *s, struct values a, struct values b)
{
    const uint64_t rows = a.rows + b.rows;

    return (struct values){TAPE_PUT(s->tape, bytes_of(a.width, rows), 0, a.ref, b.ref), a.width,
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

static struct values product(struct sketch *s, struct values x, uint64_t width, bool bias)
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
    return product(s, x, made_width(s, name, 1), has_bias(s, name));
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

static struct values normed(struct sketch *s, struct values x, bool weight, bool bias)
{
    return sketch_norm(s, x, s->encoder->rms, weight, bias);
}

/* A norm whose tensors have a name of their own; none without them. */
static struct values normed_by(struct sketch *s, struct values x, const char *name)
{
    char full[DGO_TENSOR_NAME_MAX];

    snprintf(full, sizeof full, "%s.weight", name);
    return encoder_tensor(s->encoder, full) ? normed(s, x, true, has_bias(s, name)) : x;
}

/* Pieces of the picture as rows of F16, their product, and that turned over. */
struct values sketch_convolved(struct sketch *s, struct values x, const char *name, uint64_t kernel,
                               uint64_t rows)
{
    char full[DGO_TENSOR_NAME_MAX];
    const struct dgo_tensor *tensor;
    struct values y = {TAPE_OUTSIDE, 0, rows};
    uint64_t value = F16_BYTES;

    snprintf(full, sizeof full, "%s.weight", name);
    tensor = encoder_tensor(s->encoder, full);
    if (tensor && tensor->type == TYPE_BF16)
        value = sizeof(float);
    y.width = made_width(s, name, 3);
    y.ref = TAPE_PUT(s->tape, kernel * kernel * x.width * rows * value, 0, x.ref);
    y = sketch_made(s, y.width, rows, sketch_viewed(s, y.width, rows, y));
    return sketch_turned(s, y);
}

struct values sketch_apart(struct sketch *s, struct values x, uint64_t kernel, uint64_t rows)
{
    struct values y = {TAPE_OUTSIDE, x.width, rows};

    y.ref = TAPE_PUT(s->tape, x.width * rows * kernel * kernel * F16_BYTES, 0,
                     tape_view(s->tape, x.ref));
    y = sketch_made(s, x.width, rows, sketch_viewed(s, x.width, rows, y));
    return sketch_viewed(s, x.width, rows, y);
}

/* --- what goes in ---------------------------------------------------------------------------- */

/* Rows of patches become rows of blocks of 2 x 2 patches. */
static struct values in_blocks(struct sketch *s, struct values x)
{
    return sketch_turned(s, sketch_turned(s, x));
}

static struct values picture_patches(struct sketch *s, struct values picture)
{
    const struct encoder *e = s->encoder;
    const uint64_t patches = s->side * s->side;

    if (e->type->flags & ENCODER_FLAT) {
        const uint64_t pieces = e->patch * e->patch * COLOURS;

        return product(s, sketch_made(s, pieces, patches, picture), e->width, false);
    }
    if (e->type->flags & ENCODER_UNFOLDED) {
        enum { TURNS = 4 };

        picture.width = e->patch * e->patch * COLOURS;
        picture.rows = patches;
        for (int t = 0; t < TURNS; t++)
            picture = sketch_turned(s, picture);
        return product(s, picture, e->width, false);
    }
    struct values x = sketch_convolved(s, picture, "v.patch_embd", e->patch, patches);

    if (e->type->flags & ENCODER_TWICE) {
        /* The second kernel has the first one's shape; its name has no ending. */
        x = sketch_sum(s, x, sketch_convolved(s, picture, "v.patch_embd", e->patch, patches));
        return in_blocks(s, x);
    }
    return sketch_turned(s, x);
}

/* A square table of positions is stretched to the picture's side. */
static struct values table_resized(struct sketch *s)
{
    struct encoder *e = s->encoder;
    const struct dgo_tensor *table = encoder_tensor(e, "v.position_embd.weight");
    const uint64_t patches = s->side * s->side;
    struct values x = {TAPE_OUTSIDE, e->width, patches};

    if (!table)
        e->damaged = true;
    else if (e->type->table == TABLE_CUBE && table->dim[1] == s->side && table->dim[2] == s->side)
        x = sketch_made(s, e->width, patches, x);
    else if (e->type->table == TABLE_CUBE || table->dim[1] / s->side != s->side ||
             table->dim[1] % s->side != 0)
        x = sketch_turned(s, sketch_made(s, e->width, patches, x));
    return e->type->flags & ENCODER_TWICE ? in_blocks(s, x) : x;
}

static struct values rows_chosen(struct sketch *s, uint64_t rows, tape_ref by)
{
    const uint64_t width = s->encoder->width;

    return (struct values){TAPE_PUT(s->tape, bytes_of(width, rows), 0, TAPE_OUTSIDE, by), width,
                           rows};
}

static struct values positions_added(struct sketch *s, struct values x)
{
    struct values outside = {TAPE_OUTSIDE, x.width, x.rows};

    switch ((enum encoder_table)s->encoder->type->table) {
    case TABLE_NONE:
        return x;
    case TABLE_ADDED:
        return sketch_sum(s, x, outside);
    case TABLE_RESIZED:
        return encoder_tensor(s->encoder, "v.position_embd.weight")
                   ? sketch_sum(s, x, table_resized(s))
                   : x;
    case TABLE_CUBE:
        return sketch_sum(s, x, table_resized(s));
    case TABLE_INPUT:
        outside.ref = sketch_input(s, bytes_of(x.width, x.rows));
        return sketch_sum(s, x, outside);
    case TABLE_CHOSEN:
        return sketch_sum(s, x, rows_chosen(s, x.rows, sketch_input(s, x.rows * POSITION_BYTES)));
    case TABLE_AXES:
        x = sketch_sum(s, x, rows_chosen(s, x.rows, s->position[0]));
        return sketch_sum(s, x, rows_chosen(s, x.rows, s->position[1]));
    }
    return x;
}

static void open_positions(struct sketch *s)
{
    const uint8_t turn = s->encoder->type->turn;
    const uint64_t each = s->rows * POSITION_BYTES;

    s->position[0] = sketch_input(s, turn == TURN_BY_FOUR ? 4 * each : each);
    s->position[1] = sketch_input(s, each);
    s->mask = sketch_input(s, s->rows * s->rows * (s->fused ? F16_BYTES : sizeof(float)));
}

struct values sketch_reordered(struct sketch *s, struct values x)
{
    const tape_ref order = sketch_input(s, s->rows / BLOCK_PATCHES * POSITION_BYTES);
    const tape_ref blocks = tape_view(s->tape, x.ref);

    x.ref = TAPE_PUT(s->tape, bytes_of(x.width, x.rows), 0, blocks, order);
    return sketch_viewed(s, x.width, x.rows, x);
}

struct values sketch_chosen(struct sketch *s, uint64_t rows, struct values x)
{
    const tape_ref numbers = sketch_input(s, rows * POSITION_BYTES);

    x.rows = rows;
    x.ref = TAPE_PUT(s->tape, bytes_of(x.width, rows), 0, x.ref, numbers);
    return x;
}

static struct values before_class(struct sketch *s, struct values x)
{
    struct values row = {TAPE_OUTSIDE, x.width, 1};

    if (s->encoder->type->flags & ENCODER_CLASS_COPIED)
        row = sketch_made(s, row.width, 1, row);
    return sketch_beside(s, x, row);
}

static struct values behind_class(struct sketch *s, struct values x)
{
    const struct dgo_tensor *rows = encoder_tensor(s->encoder, "v.class_embd");

    if (!rows || rows->dim[1] > s->encoder->pixels) {
        s->encoder->damaged = true;
        return x;
    }
    return sketch_beside(s, (struct values){TAPE_OUTSIDE, x.width, rows->dim[1]}, x);
}

static struct values draw_picture(struct sketch *s)
{
    const uint64_t pixels = s->encoder->pixels * s->encoder->pixels;
    struct values x = {sketch_input(s, bytes_of(COLOURS, pixels)), COLOURS, pixels};

    return s->encoder->type->flags & ENCODER_SCALED ? sketch_changed(s, x) : x;
}

static struct values draw_input(struct sketch *s, struct values x)
{
    struct encoder *e = s->encoder;
    const bool class_row = encoder_tensor(e, "v.class_embd") != NULL;

    if (e->type->flags & ENCODER_CLASS_NEEDED && !class_row)
        e->damaged = true;
    x = picture_patches(s, x);
    if (encoder_tensor(e, "v.patch_embd.bias"))
        x = sketch_changed(s, x);
    x = normed_by(s, x, "v.norm_embd");
    if (e->type->flags & ENCODER_CLASS_FIRST)
        x = behind_class(s, positions_added(s, x));
    else if (e->type->flags & ENCODER_CLASS_ROW && class_row)
        x = before_class(s, x);
    s->rows = x.rows;
    open_positions(s);
    if (!(e->type->flags & ENCODER_CLASS_FIRST))
        x = positions_added(s, x);
    x = sketch_viewed(s, x.width, x.rows, x);
    x = normed_by(s, x, "v.pre_ln");
    return e->windowed ? sketch_reordered(s, x) : x;
}

/* --- layers ---------------------------------------------------------------------------------- */

struct values sketch_attend(struct sketch *s, struct values q, struct values k, struct values v,
                            uint64_t heads, tape_ref mask)
{
    struct tape *t = s->tape;

    tape_expand(t, q.ref);
    tape_expand(t, k.ref);
    tape_expand(t, v.ref);
    const tape_ref queries = tape_view(t, q.ref), keys = tape_view(t, k.ref),
                   turned = tape_view(t, v.ref);
    const uint64_t result = bytes_of(q.width, q.rows), half = k.width * k.rows * F16_BYTES;

    if (s->fused) {
        const tape_ref short_keys = TAPE_PUT(t, half, 0, keys);
        const tape_ref short_values = TAPE_PUT(t, half, 0, turned);

        q.ref = tape_view(t, TAPE_PUT(t, result, 0, queries, short_keys, short_values, mask));
        return q;
    }
    const uint64_t scores = heads * bytes_of(k.rows, q.rows);
    const tape_ref columns = TAPE_PUT(t, bytes_of(v.width, v.rows), 0, turned);
    const tape_ref raw = TAPE_PUT(t, scores, 0, keys, queries);
    const tape_ref shares = TAPE_PUT(t, scores, OVER_FIRST, raw, mask);

    q.ref = TAPE_PUT(t, result, 0, columns, shares);
    return sketch_turned(s, q);
}

/* Positions turn halves of each head one after the other, the second in place. */
static struct values turned_in(struct sketch *s, struct values x)
{
    if (s->encoder->type->turn == TURN_NONE)
        return x;
    x.ref = TAPE_PUT(s->tape, bytes_of(x.width, x.rows), OVER_FIRST, x.ref, s->position[0]);
    if (s->encoder->type->turn == TURN_BY_TWO)
        x.ref = TAPE_PUT(s->tape, bytes_of(x.width, x.rows), OVER_FIRST, x.ref, s->position[1]);
    return x;
}

/* Queries and keys: as rows or as heads, normed there if the file says so. */
static struct values as_heads(struct sketch *s, const struct encoder_layer *layer, struct values x,
                              enum encoder_part norm)
{
    const bool has_norm = layer->parts & norm, by_head = layer->parts & PART_HEAD_NORMS;

    if (has_norm && !by_head)
        x = normed(s, x, true, false);
    x = sketch_viewed(s, x.width, x.rows, x);
    return has_norm && by_head ? normed(s, x, true, false) : x;
}

static struct values draw_attention(struct sketch *s, const struct encoder_layer *layer,
                                    struct values x, tape_ref mask)
{
    const struct encoder *e = s->encoder;
    const uint64_t width = e->head_count * e->head_size, kv = e->kv_head_count * e->head_size;
    const uint32_t parts = layer->parts;
    struct values q, k, v;

    if (parts & PART_JOINT) {
        const struct values all = product(s, x, width + 2 * kv, parts & PART_JOINT_BIAS);

        q = sketch_viewed(s, width, x.rows, all);
        k = sketch_viewed(s, kv, x.rows, all);
        v = sketch_viewed(s, kv, x.rows, all);
        if (parts & PART_QUERY_NORM)
            q = normed(s, q, true, false);
        if (parts & PART_KEY_NORM)
            k = normed(s, k, true, false);
    } else {
        q = product(s, x, width, parts & PART_QUERY_BIAS);
        k = product(s, x, kv, parts & PART_KEY_BIAS);
        v = product(s, x, kv, parts & PART_VALUE_BIAS);
        q = as_heads(s, layer, q, PART_QUERY_NORM);
        k = as_heads(s, layer, k, PART_KEY_NORM);
        v = sketch_viewed(s, v.width, v.rows, v);
    }
    q = turned_in(s, q);
    k = turned_in(s, k);
    if (e->type->flags & ENCODER_VALUES_NORMED)
        v = sketch_norm(s, v, true, false, false);
    return product(s, sketch_attend(s, q, k, v, e->head_count, mask), e->width,
                   parts & PART_OUT_BIAS);
}

struct values sketch_gated(struct sketch *s, struct values gate, struct values up)
{
    gate.ref = TAPE_PUT(s->tape, bytes_of(gate.width, gate.rows), 0, gate.ref, up.ref);
    return gate;
}

static struct values draw_feed(struct sketch *s, const struct encoder_layer *layer, struct values x)
{
    const uint32_t parts = layer->parts;
    struct values up = product(s, x, layer->inner, parts & PART_UP_BIAS);

    if (parts & PART_GATE)
        up = sketch_gated(s, product(s, x, layer->inner, parts & PART_GATE_BIAS), up);
    else
        up = sketch_changed(s, up);
    return product(s, up, s->encoder->width, parts & PART_DOWN_BIAS);
}

static struct values draw_layer(struct sketch *s, uint32_t l, struct values residual)
{
    const struct encoder *e = s->encoder;
    const struct encoder_layer *layer = &e->layer[l];
    const bool late = e->type->flags & ENCODER_NORMED_LATE;
    const uint32_t p = layer->parts;
    struct values x = residual;

    if (!late)
        x = normed(s, x, p & PART_FIRST_NORM, p & PART_FIRST_NORM_BIAS);
    x = draw_attention(s, layer, x, layer->window ? s->mask : TAPE_OUTSIDE);
    if (late)
        x = normed(s, x, p & PART_FIRST_NORM, p & PART_FIRST_NORM_BIAS);
    if (p & PART_OUT_SCALE)
        x = sketch_changed(s, x);
    if (p & PART_OUT_NORM)
        x = normed(s, x, true, false);
    residual = sketch_sum(s, x, residual);
    x = residual;
    if (!late)
        x = normed(s, x, p & PART_SECOND_NORM, p & PART_SECOND_NORM_BIAS);
    x = draw_feed(s, layer, x);
    if (late)
        return sketch_sum(s, normed(s, x, p & PART_SECOND_NORM, p & PART_SECOND_NORM_BIAS),
                          residual);
    if (p & PART_FEED_NORM)
        x = normed(s, x, true, false);
    if (p & PART_FEED_SCALE)
        x = sketch_changed(s, x);
    x = sketch_sum(s, residual, x);
    return p & PART_LAYER_SCALE ? sketch_changed(s, x) : x;
}

/* Side by side with what goes to the end already. */
static void stack(struct sketch *s, struct values x)
{
    const bool first = s->stacked.ref == TAPE_OUTSIDE;
    const uint64_t width = s->stacked.width + x.width;

    if (!first)
        x.ref = TAPE_PUT(s->tape, bytes_of(width, x.rows), 0, s->stacked.ref, x.ref);
    x.width = width;
    s->stacked = x;
}

/* Qwen3-VL: the results of some layers, four patches a row, through two matrices of their own. */
static void stack_result(struct sketch *s, uint32_t l, struct values x)
{
    char first[DGO_TENSOR_NAME_MAX], second[DGO_TENSOR_NAME_MAX];
    const uint64_t merged = s->encoder->merge * s->encoder->merge;

    snprintf(first, sizeof first, "v.deepstack.%u.fc1", l);
    snprintf(second, sizeof second, "v.deepstack.%u.fc2", l);
    x = sketch_viewed(s, x.width * merged, x.rows / merged, x);
    stack(s, sketch_two(s, normed(s, x, true, true), first, second));
}

/* LLaVA: what some layers get. */
static void stack_feature(struct sketch *s, uint32_t l, struct values x)
{
    const struct encoder *e = s->encoder;

    for (uint32_t f = 0; f < e->feature_count; f++)
        if (e->feature[f] == l) {
            stack(s, x);
            return;
        }
}

static struct values draw_layers(struct sketch *s, struct values x)
{
    const struct encoder *e = s->encoder;

    for (uint32_t l = 0; l < e->drawn_count; l++) {
        stack_feature(s, l, x);
        x = draw_layer(s, l, x);
        if (e->layer[l].stacked)
            stack_result(s, l, x);
        if (l == e->merger_layer)
            x = sketch_merger_inside(s, x);
    }
    if (e->type->flags & ENCODER_WINDOWS_BUT && e->windowed)
        x = sketch_reordered(s, x);
    x = normed_by(s, x, e->type->flags & ENCODER_TRUNK_NORM ? "mm.post_norm" : "v.post_ln");
    stack_feature(s, e->drawn_count, x);
    return sketch_viewed(s, x.width, x.rows, x);
}

/* --- the whole ------------------------------------------------------------------------------- */

static uint64_t inputs_bytes(const struct tape *tape)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < tape->count; i++)
        if (tape->tensor[i].is_input && tape->tensor[i].is_ordered)
            bytes += dgo_pad_u64(tape->tensor[i].bytes, MEMORY_HOST_ALIGN);
    return bytes;
}

bool encoder_bytes(const struct dgo_model *projector, bool fused, struct encoder_need *need)
{
    struct encoder encoder;
    struct tape tape;
    struct sketch s = {.encoder = &encoder, .tape = &tape, .fused = fused};

    if (!encoder_read(projector, &encoder))
        return false;
    tape_init(&tape, false);
    s.side = encoder.patch > 0 ? encoder.pixels / encoder.patch : 0;
    s.stacked.ref = TAPE_OUTSIDE;
    struct values x = draw_picture(&s);

    if (!(encoder.type->flags & ENCODER_NO_LAYERS))
        x = draw_layers(&s, draw_input(&s, x));
    const struct values end = encoder.type->end(&s, x);

    tape_expand(&tape, end.ref);
    if (encoder.damaged || tape.overflown || end.ref == TAPE_OUTSIDE)
        return false;
    need->input_bytes = inputs_bytes(&tape) - s.unfilled_bytes;
    need->compute_bytes = tape_peak(&tape);
    return true;
}
