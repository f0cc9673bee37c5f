/* encoder.c - the graph of an encoder: what goes in, and its layers. */
#include "encoder.h"

#include "dgo_units.h"

#include <stdio.h>

enum { F16_BYTES = 2, POSITION_BYTES = 4, COLOURS = 3, OVER_FIRST = 1 };

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

        return sketch_product(s, sketch_made(s, pieces, patches, picture), e->width, false);
    }
    if (e->type->flags & ENCODER_UNFOLDED) {
        enum { TURNS = 4 };

        picture.width = e->patch * e->patch * COLOURS;
        picture.rows = patches;
        for (int t = 0; t < TURNS; t++)
            picture = sketch_turned(s, picture);
        return sketch_product(s, picture, e->width, false);
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

    return (struct values){TAPE_PUT(s->tape, sketch_bytes(width, rows), 0, TAPE_OUTSIDE, by), width,
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
        outside.ref = sketch_input(s, sketch_bytes(x.width, x.rows));
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

static struct values draw_frame(struct sketch *s)
{
    const uint64_t pixels = s->encoder->pixels * s->encoder->pixels, bands = s->encoder->bands;

    if (bands > 0)
        return (struct values){sketch_input(s, sketch_bytes(bands, ENCODER_FRAMES)), bands,
                               ENCODER_FRAMES};
    struct values x = {sketch_input(s, sketch_bytes(COLOURS, pixels)), COLOURS, pixels};

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
    x = sketch_normed_by(s, x, "v.norm_embd");
    if (e->type->flags & ENCODER_CLASS_FIRST)
        x = behind_class(s, positions_added(s, x));
    else if (e->type->flags & ENCODER_CLASS_ROW && class_row)
        x = before_class(s, x);
    s->rows = x.rows;
    open_positions(s);
    if (!(e->type->flags & ENCODER_CLASS_FIRST))
        x = positions_added(s, x);
    if (e->type->flags & ENCODER_CHOSEN)
        x = sketch_chosen(s, x.rows, x);
    x = sketch_viewed(s, x.width, x.rows, x);
    x = sketch_normed_by(s, x, "v.pre_ln");
    return e->windowed && !(e->type->flags & ENCODER_CHOSEN) ? sketch_reordered(s, x) : x;
}

/* --- layers ---------------------------------------------------------------------------------- */

/* Positions turn halves of each head one after the other, the second in place. */
static struct values turned_in(struct sketch *s, struct values x)
{
    if (s->encoder->type->turn == TURN_NONE)
        return x;
    x.ref = TAPE_PUT(s->tape, sketch_bytes(x.width, x.rows), OVER_FIRST, x.ref, s->position[0]);
    if (s->encoder->type->turn == TURN_BY_TWO)
        x.ref = TAPE_PUT(s->tape, sketch_bytes(x.width, x.rows), OVER_FIRST, x.ref, s->position[1]);
    return x;
}

/* Queries and keys: as rows or as heads, normed there if the file says so. */
static struct values as_heads(struct sketch *s, const struct encoder_layer *layer, struct values x,
                              enum encoder_part norm)
{
    const bool has_norm = layer->parts & norm, by_head = layer->parts & PART_HEAD_NORMS;

    if (has_norm && !by_head)
        x = sketch_normed(s, x, true, false);
    x = sketch_viewed(s, x.width, x.rows, x);
    return has_norm && by_head ? sketch_normed(s, x, true, false) : x;
}

static struct values draw_attention(struct sketch *s, const struct encoder_layer *layer,
                                    struct values x, tape_ref mask)
{
    const struct encoder *e = s->encoder;
    const uint64_t width = e->head_count * e->head_size, kv = e->kv_head_count * e->head_size;
    const uint32_t parts = layer->parts;
    struct values q, k, v;

    if (parts & PART_JOINT) {
        const struct values all = sketch_product(s, x, width + 2 * kv, parts & PART_JOINT_BIAS);

        q = sketch_viewed(s, width, x.rows, all);
        k = sketch_viewed(s, kv, x.rows, all);
        v = sketch_viewed(s, kv, x.rows, all);
        if (parts & PART_QUERY_NORM)
            q = sketch_normed(s, q, true, false);
        if (parts & PART_KEY_NORM)
            k = sketch_normed(s, k, true, false);
    } else {
        q = sketch_product(s, x, width, parts & PART_QUERY_BIAS);
        k = sketch_product(s, x, kv, parts & PART_KEY_BIAS);
        v = sketch_product(s, x, kv, parts & PART_VALUE_BIAS);
        q = as_heads(s, layer, q, PART_QUERY_NORM);
        k = as_heads(s, layer, k, PART_KEY_NORM);
        v = sketch_viewed(s, v.width, v.rows, v);
    }
    q = turned_in(s, q);
    k = turned_in(s, k);
    if (e->type->flags & ENCODER_VALUES_NORMED)
        v = sketch_norm(s, v, true, false, false);
    return sketch_product(s, sketch_attend(s, q, k, v, e->head_count, mask), e->width,
                          parts & PART_OUT_BIAS);
}

static struct values draw_feed(struct sketch *s, const struct encoder_layer *layer, struct values x)
{
    const uint32_t parts = layer->parts;

    if (parts & PART_EXPERTS)
        return sketch_experts(s, layer, x);
    struct values up = sketch_product(s, x, layer->inner, parts & PART_UP_BIAS);

    if (parts & PART_GATE)
        up = sketch_gated(s, sketch_product(s, x, layer->inner, parts & PART_GATE_BIAS), up);
    else
        up = sketch_changed(s, up);
    return sketch_product(s, up, s->encoder->width, parts & PART_DOWN_BIAS);
}

static struct values draw_layer(struct sketch *s, uint32_t l, struct values residual)
{
    const struct encoder *e = s->encoder;
    const struct encoder_layer *layer = &e->layer[l];
    const bool late = e->type->flags & ENCODER_NORMED_LATE;
    const uint32_t p = layer->parts;
    struct values x = residual;

    if (!late)
        x = sketch_normed(s, x, p & PART_FIRST_NORM, p & PART_FIRST_NORM_BIAS);
    x = draw_attention(s, layer, x, layer->window ? s->mask : TAPE_OUTSIDE);
    if (late)
        x = sketch_normed(s, x, p & PART_FIRST_NORM, p & PART_FIRST_NORM_BIAS);
    if (p & PART_OUT_SCALE)
        x = sketch_changed(s, x);
    if (p & PART_OUT_NORM)
        x = sketch_normed(s, x, true, false);
    residual = sketch_sum(s, x, residual);
    x = residual;
    if (!late)
        x = sketch_normed(s, x, p & PART_SECOND_NORM, p & PART_SECOND_NORM_BIAS);
    x = draw_feed(s, layer, x);
    if (late)
        return sketch_sum(s, sketch_normed(s, x, p & PART_SECOND_NORM, p & PART_SECOND_NORM_BIAS),
                          residual);
    if (p & PART_FEED_NORM)
        x = sketch_normed(s, x, true, false);
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
        x.ref = TAPE_PUT(s->tape, sketch_bytes(width, x.rows), 0, s->stacked.ref, x.ref);
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
    stack(s, sketch_two(s, sketch_normed(s, x, true, true), first, second));
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

/* Means of two rows, made of columns. */
static struct values halved(struct sketch *s, struct values x)
{
    x = sketch_made(s, x.width, x.rows / 2, sketch_turned(s, x));
    return sketch_turned(s, x);
}

struct values sketch_layers(struct sketch *s, struct values x)
{
    const struct encoder *e = s->encoder;
    const char *const norm = e->type->flags & ENCODER_TRUNK_NORM ? "mm.post_norm"
                             : e->bands > 0                      ? "a.post_ln"
                                                                 : "v.post_ln";

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
    if (e->type->flags & ENCODER_HALVED)
        x = halved(s, x);
    x = sketch_normed_by(s, x, norm);
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

bool encoder_bytes(const struct dgo_model *projector, const struct encoder_use *use,
                   struct encoder_need *need)
{
    struct encoder encoder;
    struct tape tape;
    struct sketch s = {.encoder = &encoder, .tape = &tape, .fused = use->fused};

    if (!encoder_read(projector, use, &encoder))
        return false;
    tape_init(&tape, false);
    s.side = encoder.patch > 0 ? encoder.pixels / encoder.patch : 0;
    s.stacked.ref = s.mask = TAPE_OUTSIDE;
    struct values x = draw_frame(&s);

    if (!(encoder.type->flags & ENCODER_NO_LAYERS))
        x = sketch_layers(&s, draw_input(&s, x));
    const struct values end = encoder.type->end(&s, x);

    tape_expand(&tape, end.ref);
    if (encoder.damaged || tape.overflown || end.ref == TAPE_OUTSIDE)
        return false;
    need->input_bytes = inputs_bytes(&tape) - s.unfilled_bytes;
    need->compute_bytes = tape_peak(&tape);
    need->attention_bytes = encoder_attention_bytes(s.rows, encoder.head_count * encoder.head_size,
                                                    s.mask != TAPE_OUTSIDE);
    return true;
}
