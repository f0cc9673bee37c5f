/* encoder_gemma4a.c - Gemma 4's conformer: attention within blocks of 12 rows and the 12 before. */
#include "encoder.h"

enum { RMS_NORM = true, OVER_FIRST = 1 };
enum { BLOCK = 12, REACH = 2 * BLOCK, PLACES = BLOCK + 1 };

static struct values normed(struct sketch *s, struct values x)
{
    return sketch_norm(s, x, RMS_NORM, true, false);
}

static struct values fed(struct sketch *s, struct values x, uint32_t l, const char *up,
                         const char *down)
{
    const struct values y =
        sketch_by(s, sketch_changed(s, sketch_by(s, normed(s, x), l, up)), l, down);

    return sketch_sum(s, x, sketch_changed(s, normed(s, y))); /* half of it */
}

/* --- attention ------------------------------------------------------------------------------- */

/* So many more rows behind, and all of them written anew. */
static struct values filled(struct sketch *s, struct values x, uint64_t rows)
{
    x = sketch_made(s, x.width, rows, x);
    return sketch_turned(s, x);
}

/* Keys or values: each block with the one before it. */
static struct values in_blocks(struct sketch *s, struct values x, uint64_t blocks)
{
    x = sketch_made(s, x.width, blocks * REACH, x);
    x = sketch_made(s, x.width, x.rows, x); /* rolled */
    x = sketch_made(s, x.width, x.rows, x);
    return sketch_turned(s, sketch_turned(s, x));
}

/* Scores of places, each row moved by one more than the row above. */
static tape_ref place_scores(struct sketch *s, struct values q, struct values places,
                             uint64_t heads)
{
    struct tape *t = s->tape;
    const uint64_t each = heads * q.rows * sizeof(float);

    places = sketch_turned(s, sketch_made(s, places.width, places.rows, places));
    tape_ref b = TAPE_PUT(t, each * PLACES, 0, places.ref, tape_view(t, q.ref));

    b = TAPE_PUT(t, each * (REACH + 1), 0, tape_view(t, b));
    b = TAPE_PUT(t, each * REACH, 0, tape_view(t, b));
    return tape_view(t, b);
}

static struct values attended(struct sketch *s, struct values x, uint32_t l, struct values places,
                              tape_ref mask)
{
    struct tape *t = s->tape;
    const uint64_t heads = s->encoder->head_count, rows = x.rows;
    const uint64_t blocks = (rows + BLOCK - 1) / BLOCK, full = blocks * BLOCK;
    const uint64_t scores = heads * full * REACH * sizeof(float);
    struct values q, k, v;

    x = normed(s, x);
    q = sketch_by(s, x, l, "attn_q");
    k = sketch_by(s, x, l, "attn_k");
    v = sketch_by(s, x, l, "attn_v");
    q = sketch_changed(s, sketch_changed(s, sketch_viewed(s, q.width, rows, q)));
    k = sketch_changed(s, sketch_viewed(s, k.width, rows, k));
    v = sketch_viewed(s, v.width, rows, v);
    q = filled(s, q, full);
    k = in_blocks(s, k, blocks);
    v = in_blocks(s, v, blocks);
    tape_ref a = TAPE_PUT(t, scores, 0, k.ref, q.ref);

    a = TAPE_PUT(t, scores, OVER_FIRST, a, place_scores(s, q, places, heads));
    for (int limit = 0; limit < 3; limit++)
        a = TAPE_PUT(t, scores, OVER_FIRST, a);
    a = TAPE_PUT(t, scores, OVER_FIRST, a, mask);
    a = TAPE_PUT(t, scores, OVER_FIRST, a);
    x = (struct values){TAPE_PUT(t, sketch_bytes(x.width, full), 0, v.ref, a), x.width, full};
    x = sketch_made(s, x.width, full, sketch_turned(s, x));
    if (full > rows)
        x = sketch_made(s, x.width, rows, sketch_viewed(s, x.width, rows, x));
    return normed(s, sketch_by(s, x, l, "attn_out"));
}

/* --- the convolution ------------------------------------------------------------------------- */

static struct values along_time(struct sketch *s, struct values x, uint32_t l)
{
    enum { FILLED = 4 }; /* frames before */
    const uint64_t width = x.width, rows = x.rows;
    struct values y = sketch_half_gated(s, sketch_by(s, normed(s, x), l, "conv_pw1"), width);

    y = sketch_made(s, width, rows + FILLED, sketch_turned(s, y));
    y = sketch_made(s, width, rows + FILLED, y); /* rolled */
    y = sketch_made(s, width, rows, y);
    return sketch_by(s, sketch_changed(s, normed(s, y)), l, "conv_pw2");
}

/* --- the whole ------------------------------------------------------------------------------- */

static struct values head(struct sketch *s, struct values x)
{
    enum { KERNEL = 3 };
    static const char *const names[] = {"a.conv1d.0", "a.conv1d.1"};
    uint64_t frames = x.rows, bands = x.width;

    x = sketch_turned(s, x);
    x.width = 1;
    for (int h = 0; h < 2; h++) {
        frames = (frames + 1) / 2;
        bands = (bands + 1) / 2;
        x = sketch_turned(s, sketch_convolved(s, x, names[h], KERNEL, frames * bands));
        x = sketch_norm(s, x, false, true, false);
        x = sketch_changed(s, sketch_turned(s, x));
    }
    x = sketch_turned(s, x);
    return sketch_linear(s, sketch_viewed(s, x.width * bands, frames, x), "a.input_projection");
}

struct values end_gemma4a(struct sketch *s, struct values x)
{
    struct values places = {TAPE_OUTSIDE, 0, PLACES};
    tape_ref mask;

    x = head(s, x);
    places.width = x.width;
    places.ref = sketch_input(s, sketch_bytes(x.width, PLACES));
    mask = sketch_input(s, (x.rows + BLOCK - 1) / BLOCK * BLOCK * REACH * sizeof(float));
    for (uint32_t l = 0; l < s->encoder->layer_count; l++) {
        x = fed(s, x, l, "ffn_up", "ffn_down");
        x = sketch_sum(s, x, attended(s, x, l, places, mask));
        x = sketch_sum(s, x, along_time(s, x, l));
        x = normed(s, fed(s, x, l, "ffn_up_1", "ffn_down_1"));
    }
    x = sketch_norm(s, sketch_linear(s, x, "a.pre_encode.out"), RMS_NORM, false, false);
    return sketch_linear(s, x, "mm.a.input_projection");
}
