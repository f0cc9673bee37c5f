/* encoder_mobile.c - Gemma 3n's encoder, MobileNetV5: convolutions in four stages, each at half the
 * side of the one before, and attention with one key and one value head. */
#include "encoder.h"

#include "dgo_units.h"

#include <stdio.h>

enum { STAGES = 4, BLOCKS_MAX = 64, STEM_KERNEL = 3, RMS_NORM = true };

/* A picture that is square: channels, and pixels as rows. */
struct image {
    struct values v;
    uint64_t side;
};

/* What makes two blocks alike. */
struct block {
    uint64_t expanded, queries, made;    /* channels; 0: no such matrix */
    struct kernel kernel[2], key_kernel; /* of side 0: no such convolution */
    bool edge, scaled;
};

static const struct dgo_tensor *part_of(const struct sketch *s, uint32_t stage, uint32_t b,
                                        const char *part)
{
    char name[DGO_TENSOR_NAME_MAX];

    snprintf(name, sizeof name, "v.blk.%u.%u.%s", stage, b, part);
    return encoder_tensor(s->encoder, name);
}

/* --- pieces ---------------------------------------------------------------------------------- */

static struct image convolved(struct sketch *s, struct image x, uint64_t channels, uint64_t side)
{
    x.v = sketch_made(s, channels, side * side, x.v);
    x.side = side;
    return x;
}

/* By one matrix for each pixel. */
static struct image pointwise(struct sketch *s, struct image x, uint64_t channels)
{
    return convolved(s, x, channels, x.side);
}

/* Channels are turned to the front and back. */
static struct image normed(struct sketch *s, struct image x)
{
    x.v = sketch_turned(s, sketch_norm(s, sketch_turned(s, x.v), RMS_NORM, true, false));
    return x;
}

static struct image activated(struct sketch *s, struct image x)
{
    x.v = sketch_changed(s, x.v);
    return x;
}

/* Filled up so that each second pixel gets a whole kernel. */
static struct image filled(struct sketch *s, struct image x, uint64_t kernel)
{
    const uint64_t need = ((x.side + 1) / 2 - 1) * 2 + kernel;

    if (need > x.side)
        x = convolved(s, x, x.v.width, need);
    return x;
}

/* Each channel alone. */
static struct image apart(struct sketch *s, struct image x, struct kernel kernel, uint64_t side)
{
    x.v = sketch_apart(s, x.v, kernel, side * side);
    x.side = side;
    return x;
}

static struct image halved_apart(struct sketch *s, struct image x, struct kernel kernel)
{
    const uint64_t side = (x.side + 1) / 2;

    return apart(s, filled(s, x, kernel.side), kernel, side);
}

/* --- blocks ---------------------------------------------------------------------------------- */

static struct image residual_added(struct sketch *s, struct image x, struct image before)
{
    if (x.side == before.side && x.v.width == before.v.width)
        x.v = sketch_sum(s, x.v, before.v);
    return x;
}

static struct image draw_edge(struct sketch *s, const struct block *b, struct image x, bool halves)
{
    const struct image before = x;
    const uint64_t side = halves ? (x.side + 1) / 2 : x.side;

    if (halves)
        x = filled(s, x, STEM_KERNEL);
    x = activated(s, normed(s, convolved(s, x, b->expanded, side)));
    return residual_added(s, normed(s, pointwise(s, x, b->made)), before);
}

static struct image draw_inverted(struct sketch *s, const struct block *b, struct image x,
                                  bool halves)
{
    const struct image before = x;

    if (b->kernel[0].side > 0)
        x = normed(s, apart(s, x, b->kernel[0], x.side));
    if (b->expanded > 0)
        x = activated(s, normed(s, pointwise(s, x, b->expanded)));
    if (b->kernel[1].side > 0) {
        x = halves ? halved_apart(s, x, b->kernel[1]) : apart(s, x, b->kernel[1], x.side);
        x = activated(s, normed(s, x));
    }
    if (b->made > 0)
        x = normed(s, pointwise(s, x, b->made));
    if (b->scaled)
        x.v = sketch_changed(s, x.v);
    return residual_added(s, x, before);
}

/* Keys or values, of each second pixel. */
static struct image one_head(struct sketch *s, const struct block *b, struct image x, uint64_t size)
{
    if (b->key_kernel.side > 0)
        x = normed(s, halved_apart(s, x, b->key_kernel));
    return pointwise(s, x, size);
}

static struct image draw_attention(struct sketch *s, const struct block *b, struct image x)
{
    const struct image before = x;
    struct image q, k, v;

    x = normed(s, x);
    q = pointwise(s, x, b->queries);
    k = one_head(s, b, x, b->expanded);
    v = one_head(s, b, x, b->expanded);
    q.v = sketch_turned(s, q.v);
    k.v = sketch_turned(s, k.v);
    v.v = sketch_turned(s, v.v);
    const uint64_t scores = b->queries / b->expanded * q.v.rows * k.v.rows * sizeof(float);
    tape_ref shares = TAPE_PUT(s->tape, scores, 0, k.v.ref, q.v.ref);

    shares = TAPE_PUT(s->tape, scores, 1, shares); /* scaled */
    shares = TAPE_PUT(s->tape, scores, 1, shares);
    q.v.ref = TAPE_PUT(s->tape, q.v.width * q.v.rows * sizeof(float), 0, v.v.ref, shares);
    q.v = sketch_turned(s, sketch_turned(s, q.v));
    x = pointwise(s, q, b->made);
    if (x.v.width != before.v.width)
        return x;
    if (b->scaled)
        x.v = sketch_changed(s, x.v);
    return residual_added(s, x, before);
}

/* --- stages ---------------------------------------------------------------------------------- */

static uint64_t channels_of(struct sketch *s, const struct dgo_tensor *matrix)
{
    if (!matrix)
        return 0;
    if (matrix->dim[3] > UINT16_MAX || matrix->dim[3] == 0)
        s->encoder->damaged = true;
    return dgo_min_u64(matrix->dim[3], UINT16_MAX);
}

static bool read_block(struct sketch *s, uint32_t stage, uint32_t i, struct block *b)
{
    const struct dgo_tensor *edge = part_of(s, stage, i, "conv_exp.weight");
    const struct dgo_tensor *query = part_of(s, stage, i, "attn.query.proj.weight");

    *b = (struct block){.edge = edge != NULL};
    b->scaled = part_of(s, stage, i, "layer_scale.gamma") != NULL;
    if (edge) {
        b->expanded = channels_of(s, edge);
        b->made = channels_of(s, part_of(s, stage, i, "conv_pwl.weight"));
        return true;
    }
    if (query) {
        b->queries = channels_of(s, query);
        b->expanded = channels_of(s, part_of(s, stage, i, "attn.key.proj.weight"));
        b->made = channels_of(s, part_of(s, stage, i, "attn.output.proj.weight"));
        b->key_kernel = sketch_kernel(s, part_of(s, stage, i, "attn.key.down_conv.weight"));
        if (b->expanded == 0 || b->made == 0)
            s->encoder->damaged = true;
        return b->expanded > 0;
    }
    b->expanded = channels_of(s, part_of(s, stage, i, "pw_exp.conv.weight"));
    b->made = channels_of(s, part_of(s, stage, i, "pw_proj.conv.weight"));
    b->kernel[0] = sketch_kernel(s, part_of(s, stage, i, "dw_start.conv.weight"));
    b->kernel[1] = sketch_kernel(s, part_of(s, stage, i, "dw_mid.conv.weight"));
    return b->expanded > 0 || b->kernel[0].side > 0;
}

static bool alike(const struct block *a, const struct block *b)
{
    return a->expanded == b->expanded && a->queries == b->queries && a->made == b->made &&
           a->kernel[0].side == b->kernel[0].side && a->kernel[1].side == b->kernel[1].side &&
           a->key_kernel.side == b->key_kernel.side && a->edge == b->edge && a->scaled == b->scaled;
}

/* Two blocks like the two before them, which were like those before: they add nothing. */
static bool is_repeated(const struct block *block, uint32_t i, uint32_t count)
{
    enum { SEEN = 4 };

    return i >= SEEN && i + SEEN < count && alike(&block[i], &block[i - 2]) &&
           alike(&block[i - 2], &block[i - 4]) && alike(&block[i + 1], &block[i - 1]) &&
           alike(&block[i - 1], &block[i - 3]);
}

static struct image draw_stage(struct sketch *s, uint32_t stage, struct image x)
{
    struct block block[BLOCKS_MAX];
    uint32_t count = 0;

    while (count < BLOCKS_MAX && read_block(s, stage, count, &block[count]))
        count++;
    if (count == 0 || count == BLOCKS_MAX)
        s->encoder->damaged = true;
    for (uint32_t i = 0; i < count; i++) {
        if (is_repeated(block, i, count)) {
            i++;
            continue;
        }
        if (block[i].edge)
            x = draw_edge(s, &block[i], x, i == 0);
        else if (block[i].queries > 0)
            x = draw_attention(s, &block[i], x);
        else
            x = draw_inverted(s, &block[i], x, i == 0);
    }
    return x;
}

/* --- the whole ------------------------------------------------------------------------------- */

/* The last two stages, the smaller one stretched, one above the other. */
static struct image fused(struct sketch *s, struct image large, struct image small)
{
    const uint64_t side = large.side;

    if (small.side < side)
        small = convolved(s, small, small.v.width, side);
    large.v.width += small.v.width;
    large.v.ref = TAPE_PUT(s->tape, large.v.width * large.v.rows * sizeof(float), 0, large.v.ref,
                           small.v.ref);
    large = pointwise(s, large,
                      channels_of(s, encoder_tensor(s->encoder, "v.msfa.ffn.pw_exp.conv.weight")));
    if (encoder_tensor(s->encoder, "v.msfa.ffn.pw_exp.bn.weight"))
        large = normed(s, large);
    large = pointwise(s, activated(s, large),
                      channels_of(s, encoder_tensor(s->encoder, "v.msfa.ffn.pw_proj.conv.weight")));
    if (encoder_tensor(s->encoder, "v.msfa.ffn.pw_proj.bn.weight"))
        large = normed(s, large);
    return large;
}

struct values end_mobile(struct sketch *s, struct values x)
{
    enum { SIDE = 16 };
    struct image picture = {x, s->encoder->pixels}, large;

    picture = convolved(s, filled(s, picture, STEM_KERNEL),
                        channels_of(s, encoder_tensor(s->encoder, "v.conv_stem.conv.weight")),
                        (picture.side + 1) / 2);
    if (encoder_tensor(s->encoder, "v.conv_stem.conv.bias"))
        picture = activated(s, picture);
    if (encoder_tensor(s->encoder, "v.conv_stem.bn.weight"))
        picture = normed(s, picture);
    picture = activated(s, picture);
    for (uint32_t stage = 0; stage < STAGES - 1; stage++)
        picture = draw_stage(s, stage, picture);
    large = picture;
    picture = draw_stage(s, STAGES - 1, picture);
    picture = fused(s, large, picture);
    if (picture.side > SIDE)
        picture = convolved(s, picture, picture.v.width, SIDE);
    if (encoder_tensor(s->encoder, "v.msfa.norm.weight"))
        picture = normed(s, picture);
    x = sketch_turned(s, sketch_turned(s, picture.v));
    x = sketch_norm(s, sketch_changed(s, x), RMS_NORM, true, false);
    return sketch_norm(s, sketch_linear(s, x, "mm.input_projection"), RMS_NORM, false, false);
}
