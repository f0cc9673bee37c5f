/* encoder_ends.c - what is behind an encoder's last layer, type by type. */
#include "encoder.h"

#include "dgo_units.h"

enum { POSITION_BYTES = 4, LAYER_NORM = false, RMS_NORM = true };

/* Squares of merge x merge patches become one row each. */
static struct values squares(struct sketch *s, struct values x, uint64_t side)
{
    x = sketch_turned(s, sketch_turned(s, x));
    x.width *= s->encoder->merge * s->encoder->merge;
    x.rows = side * side;
    return x;
}

/* The same where sides are filled up first. */
static struct values merged(struct sketch *s, struct values x)
{
    const uint64_t merge = s->encoder->merge;
    const uint64_t side = (s->side + merge - 1) / merge;

    if (s->side % merge != 0)
        x = sketch_made(s, x.width, side * merge * side * merge,
                        sketch_viewed(s, x.width, x.rows, x));
    return squares(s, x, side);
}

static struct values without_class_row(struct sketch *s, struct values x)
{
    return sketch_viewed(s, x.width, s->side * s->side, x);
}

static struct values gated(struct sketch *s, struct values x)
{
    const struct values up = sketch_linear(s, x, "mm.up");

    return sketch_linear(s, sketch_gated(s, sketch_linear(s, x, "mm.gate"), up), "mm.down");
}

/* Averages of squares. */
static struct values pooled(struct sketch *s, struct values x)
{
    const uint64_t side = s->side / s->encoder->merge;

    x = sketch_made(s, x.width, side * side, sketch_turned(s, x));
    return sketch_turned(s, x);
}

/* The matrix is turned over first, which takes room to the end. */
struct values end_pooled(struct sketch *s, struct values x)
{
    const struct dgo_tensor *matrix = encoder_tensor(s->encoder, "mm.input_projection.weight");

    if (!matrix || matrix->size_bytes > DGO_GIB || matrix->dim[0] > UINT32_MAX) {
        s->encoder->damaged = true;
        return x;
    }
    const tape_ref turned = TAPE_PUT(s->tape, matrix->size_bytes, 0, TAPE_OUTSIDE);

    x = sketch_norm(s, pooled(s, x), RMS_NORM, true, false);
    x.width = matrix->dim[0];
    x.ref = TAPE_PUT(s->tape, x.width * x.rows * sizeof(float), 0, turned, x.ref);
    return x;
}

struct values end_pooled_scaled(struct sketch *s, struct values x)
{
    x = sketch_changed(s, pooled(s, x));
    return sketch_linear(s, sketch_norm(s, x, RMS_NORM, false, false), "mm.input_projection");
}

struct values end_shuffled(struct sketch *s, struct values x)
{
    return sketch_linear(s, merged(s, x), "mm.model.fc");
}

struct values end_normed_merged(struct sketch *s, struct values x)
{
    x = merged(s, x);
    if (encoder_tensor(s->encoder, "mm.input_norm.weight"))
        x = sketch_norm(s, x, LAYER_NORM, true, true);
    return sketch_two(s, x, "mm.1", "mm.2");
}

struct values end_two(struct sketch *s, struct values x)
{
    return sketch_two(s, x, "mm.0", "mm.2");
}

struct values end_janus(struct sketch *s, struct values x)
{
    return sketch_two(s, x, "mm.0", "mm.1");
}

/* Four patches a row: they lie in blocks already. */
struct values end_blocks(struct sketch *s, struct values x)
{
    enum { BLOCK = 4 };

    x = sketch_viewed(s, x.width * BLOCK, x.rows / BLOCK, x);
    x = sketch_two(s, x, "mm.0", "mm.2");
    if (s->encoder->windowed)
        x = sketch_reordered(s, x);
    if (s->stacked.ref == TAPE_OUTSIDE)
        return x;
    x.width += s->stacked.width;
    x.ref = TAPE_PUT(s->tape, x.width * x.rows * sizeof(float), 0, x.ref, s->stacked.ref);
    return x;
}

/* Mistral Small's: patches are merged by a convolution with a matrix of its own. */
static struct values unfolded(struct sketch *s, struct values x)
{
    const uint64_t merge = s->encoder->merge, side = s->side / merge;

    x = sketch_turned(s, sketch_norm(s, x, RMS_NORM, true, false));
    const tape_ref kernel = tape_view(s->tape, x.ref);

    x.width *= merge * merge;
    x.rows = side * side;
    x.ref = TAPE_PUT(s->tape, x.width * x.rows * sizeof(float), 0, kernel, x.ref);
    return sketch_linear(s, x, "mm.patch_merger");
}

/* Each row of the picture ends with a row that says so. */
struct values end_broken_rows(struct sketch *s, struct values x)
{
    const uint64_t side = s->side / s->encoder->merge;

    if (encoder_tensor(s->encoder, "mm.patch_merger.weight"))
        x = unfolded(s, x);
    x = sketch_two(s, x, "mm.1", "mm.2");
    if (!encoder_tensor(s->encoder, "v.token_embd.img_break"))
        return x;
    struct values breaks = {TAPE_OUTSIDE, x.width, side};
    const uint64_t bytes = breaks.width * breaks.rows * sizeof(float);

    breaks.ref = sketch_input(s, bytes);
    s->unfilled_bytes += dgo_pad_u64(bytes, MEMORY_HOST_ALIGN);
    breaks = sketch_changed(s, sketch_changed(s, breaks));
    return sketch_beside(s, sketch_viewed(s, x.width, x.rows, x), breaks);
}

struct values end_internvl(struct sketch *s, struct values x)
{
    x = sketch_turned(s, without_class_row(s, x));
    x = squares(s, x, s->side / s->encoder->merge);
    x = sketch_norm(s, x, LAYER_NORM, true, true);
    return sketch_two(s, x, "mm.model.mlp.1", "mm.model.mlp.3");
}

struct values end_llama4(struct sketch *s, struct values x)
{
    x = squares(s, without_class_row(s, x), s->side / s->encoder->merge);
    x = sketch_changed(s, sketch_two(s, x, "mm.model.mlp.1", "mm.model.mlp.2"));
    return sketch_linear(s, x, "mm.model.fc");
}

/* Sine and cosine of a patch's place, made anew each time. */
static struct values waves(struct sketch *s, uint64_t width, uint64_t rows)
{
    enum { PARTS = 4 }; /* sine and cosine, of two axes */
    const uint64_t bytes = width / PARTS * rows * sizeof(float);
    const tape_ref pace = sketch_input(s, width / PARTS * sizeof(float));
    const tape_ref paces = TAPE_PUT(s->tape, bytes, 0, pace);
    tape_ref axis[2];

    for (int a = 0; a < 2; a++) {
        const tape_ref place = sketch_input(s, rows * sizeof(float));
        const tape_ref angle = TAPE_PUT(s->tape, bytes, 1, paces, place);
        const tape_ref sine = TAPE_PUT(s->tape, bytes, 0, angle);
        const tape_ref cosine = TAPE_PUT(s->tape, bytes, 0, angle);

        axis[a] = TAPE_PUT(s->tape, 2 * bytes, 0, sine, cosine);
    }
    return (struct values){TAPE_PUT(s->tape, PARTS * bytes, 0, axis[0], axis[1]), width, rows};
}

/* A few learnt queries attend to all patches. */
struct values end_resampled(struct sketch *s, struct values x)
{
    enum { HEAD_SIZE = 128 };
    const struct dgo_tensor *query = encoder_tensor(s->encoder, "resampler.query");
    struct values q = {TAPE_OUTSIDE, 0, 0}, k, v;

    if (!query || query->dim[0] > UINT16_MAX || query->dim[1] > UINT16_MAX) {
        s->encoder->damaged = true;
        return x;
    }
    q.width = query->dim[0];
    q.rows = query->dim[1];
    v = sketch_norm(s, sketch_linear(s, x, "resampler.kv"), LAYER_NORM, true, true);
    q = sketch_norm(s, q, LAYER_NORM, true, true);
    k = sketch_sum(s, v, waves(s, v.width, v.rows));
    q = sketch_linear(s, q, "resampler.attn.q");
    k = sketch_linear(s, k, "resampler.attn.k");
    v = sketch_linear(s, v, "resampler.attn.v");
    x = sketch_attend(s, sketch_viewed(s, q.width, q.rows, q), sketch_viewed(s, k.width, k.rows, k),
                      sketch_viewed(s, v.width, v.rows, v), q.width / HEAD_SIZE, TAPE_OUTSIDE);
    x = sketch_norm(s, sketch_linear(s, x, "resampler.attn.out"), LAYER_NORM, true, true);
    return sketch_linear(s, x, "resampler.proj");
}

struct values end_merged_normed(struct sketch *s, struct values x)
{
    struct values y = merged(s, x);

    x = sketch_norm(s, sketch_viewed(s, y.width, y.rows, y), LAYER_NORM, true, true);
    return sketch_two(s, sketch_viewed(s, y.width, y.rows, x), "mm.1", "mm.2");
}

struct values end_glm4v(struct sketch *s, struct values x)
{
    const uint64_t merge = s->encoder->merge, rows = x.rows / (merge * merge);

    x = sketch_convolved(s, sketch_turned(s, x), "mm.patch_merger", merge, rows);
    x = sketch_changed(s, sketch_viewed(s, x.width, rows, x)); /* its bias */
    x = sketch_norm(s, sketch_linear(s, x, "mm.model.fc"), LAYER_NORM, true, true);
    return gated(s, sketch_changed(s, x));
}

struct values end_cogvlm(struct sketch *s, struct values x)
{
    const struct values row = {TAPE_OUTSIDE, 0, 1};

    x = sketch_linear(s, without_class_row(s, x), "mm.model.fc");
    x = sketch_norm(s, x, LAYER_NORM, true, true);
    x = gated(s, sketch_viewed(s, x.width, x.rows, x)); /* activated in place */
    return sketch_beside(s, sketch_beside(s, x, row), row);
}

struct values end_paddle(struct sketch *s, struct values x)
{
    return sketch_two(s, merged(s, sketch_norm(s, x, LAYER_NORM, true, true)), "mm.1", "mm.2");
}

struct values end_dots(struct sketch *s, struct values x)
{
    return sketch_two(s, merged(s, sketch_norm(s, x, LAYER_NORM, true, true)), "mm.0", "mm.2");
}

/* Each patch is normed before four of them become a row. */
struct values end_ling(struct sketch *s, struct values x)
{
    enum { BLOCK = 4 };

    x = sketch_norm(s, x, LAYER_NORM, true, true);
    x = sketch_viewed(s, x.width * BLOCK, x.rows / BLOCK, x);
    return sketch_two(s, x, "mm.0", "mm.2");
}

/* DeepSeek V4's: squares of patches; rows of tokens and what stands between them, by number. */
struct values end_deepseek(struct sketch *s, struct values x)
{
    enum { SENTINELS = 4, EVEN = 2 };
    const uint64_t merge = s->encoder->merge, side = (s->side + merge - 1) / merge;
    const uint64_t lines = side + side % EVEN, cells = lines * (side + 1);
    const struct values row = {TAPE_OUTSIDE, 0, 1};

    x = sketch_turned(s, x);
    if (s->side % merge != 0)
        x = sketch_made(s, x.width, side * merge * side * merge, x);
    const tape_ref kernel = tape_view(s->tape, x.ref);

    x.width *= merge * merge;
    x.rows = side * side;
    x.ref = TAPE_PUT(s->tape, sketch_bytes(x.width, x.rows), 0, kernel, x.ref);
    x = sketch_two(s, sketch_viewed(s, x.width, x.rows, x), "mm.1", "mm.2");
    for (int r = 0; r < SENTINELS; r++)
        x = sketch_beside(s, x, row);
    return sketch_chosen(s, 1 + cells + cells / 2 % EVEN * 2 + 1, x);
}

/* Muse's: rows in the picture's order again, then four patches beside each other. */
struct values end_glimmer(struct sketch *s, struct values x)
{
    const uint64_t merged_count = s->encoder->merge * s->encoder->merge;

    x = sketch_chosen(s, x.rows, sketch_chosen(s, x.rows, x));
    x = sketch_turned(s, x);
    x = sketch_viewed(s, x.width * merged_count, x.rows / merged_count, x);
    x = sketch_two(s, x, "mm.0", "mm.1");
    return sketch_linear(s, sketch_changed(s, x), "mm.2");
}

/* Each row of tokens ends with one that says so, all of them stand between two others. */
struct values end_hunyuan(struct sketch *s, struct values x)
{
    const uint64_t merge = s->encoder->merge, side = s->side / merge;
    struct values row = {TAPE_OUTSIDE, 0, 1};

    x = sketch_turned(s, sketch_norm(s, x, RMS_NORM, true, false));
    x = sketch_changed(s, sketch_convolved(s, x, "mm.0", merge, side * side));
    x = sketch_convolved(s, sketch_changed(s, x), "mm.2", 1, side * side);
    x = sketch_changed(s, x);
    row.width = x.width;
    row.rows = side;
    x = sketch_beside(s, x, sketch_made(s, row.width, row.rows, row));
    x = sketch_linear(s, sketch_turned(s, x), "mm.model.fc");
    row = (struct values){TAPE_OUTSIDE, x.width, 1};
    x = sketch_beside(s, sketch_beside(s, row, x), row);
    return sketch_norm(s, x, RMS_NORM, true, false);
}

struct values end_nemotron(struct sketch *s, struct values x)
{
    x = sketch_norm(s, merged(s, without_class_row(s, x)), RMS_NORM, true, false);
    x = sketch_changed(s, sketch_changed(s, sketch_linear(s, x, "mm.model.mlp.1")));
    return sketch_linear(s, x, "mm.model.mlp.3");
}

/* A convolution of 3 x 3 that halves the side; its bias is added to rows of channels. */
static struct values halved(struct sketch *s, struct values x, uint64_t side, const char *name)
{
    enum { KERNEL = 3 };

    x = sketch_convolved(s, x, name, KERNEL, side * side);
    return sketch_turned(s, sketch_changed(s, sketch_turned(s, x)));
}

struct values end_step3(struct sketch *s, struct values x)
{
    const uint64_t half = (s->side + 1) / 2, quarter = (half + 1) / 2;

    x = halved(s, sketch_turned(s, x), half, "mm.0");
    x = halved(s, x, quarter, "mm.1");
    return sketch_linear(s, sketch_turned(s, x), "mm.model.fc");
}

struct values end_minimax(struct sketch *s, struct values x)
{
    const uint64_t merged_count = s->encoder->merge * s->encoder->merge;

    x = sketch_two(s, x, "mm.1", "mm.2");
    x = sketch_viewed(s, x.width * merged_count, x.rows / merged_count, x);
    return sketch_two(s, x, "mm.merger.fc1", "mm.merger.fc2");
}

struct values end_glm_edge(struct sketch *s, struct values x)
{
    enum { KERNEL = 2 };
    const uint64_t side = s->side / KERNEL;
    const struct values row = {TAPE_OUTSIDE, 0, 1};
    struct values gate;

    x = sketch_convolved(s, sketch_turned(s, x), "adapter.conv", KERNEL, side * side);
    x = sketch_linear(s, sketch_changed(s, sketch_turned(s, x)), "adapter.linear.linear");
    x = sketch_norm(s, x, LAYER_NORM, true, true);
    x = sketch_viewed(s, x.width, x.rows, x); /* activated in place */
    gate = sketch_linear(s, x, "adapter.linear.gate");
    x = sketch_gated(s, gate, sketch_linear(s, x, "adapter.linear.dense_h_to_4h"));
    x = sketch_linear(s, x, "adapter.linear.dense_4h_to_h");
    return sketch_beside(s, sketch_beside(s, x, row), row);
}

/* Gemma 4's without layers: patches as rows, normed and projected, with places along each axis. */
struct values end_unified(struct sketch *s, struct values x)
{
    enum { COLOURS = 3 };
    const uint64_t piece = s->encoder->patch * s->encoder->patch * COLOURS;
    const uint64_t patches = s->side * s->side;
    const tape_ref kernel = sketch_input(s, piece * sizeof(float));

    s->unfilled_bytes += dgo_pad_u64(piece * sizeof(float), MEMORY_HOST_ALIGN);
    x = (struct values){TAPE_PUT(s->tape, sketch_bytes(piece, patches), 0, kernel, x.ref), piece,
                        patches};
    x = sketch_norm(s, sketch_viewed(s, piece, patches, x), LAYER_NORM, true, true);
    x = sketch_norm(s, sketch_linear(s, x, "v.patch_embd"), LAYER_NORM, true, true);
    for (int axis = 0; axis < 2; axis++)
        x = sketch_sum(s, x, sketch_chosen(s, patches, (struct values){TAPE_OUTSIDE, x.width, 0}));
    x = sketch_norm(s, x, LAYER_NORM, true, true);
    return sketch_linear(s, sketch_norm(s, x, RMS_NORM, false, false), "mm.input_projection");
}

struct values end_youtu(struct sketch *s, struct values x)
{
    enum { BLOCK = 4 };

    x = sketch_norm(s, x, RMS_NORM, true, false);
    x = sketch_viewed(s, x.width * BLOCK, x.rows / BLOCK, x);
    return sketch_two(s, x, "mm.0", "mm.2");
}

/* LLaVA's: the patches without the class row. */
static struct values patches_chosen(struct sketch *s, struct values x)
{
    if (s->stacked.ref != TAPE_OUTSIDE)
        x = s->stacked;
    return sketch_chosen(s, s->side * s->side, sketch_viewed(s, x.width, x.rows, x));
}

/* Yi's has norms behind both matrices. */
struct values end_llava(struct sketch *s, struct values x)
{
    x = patches_chosen(s, x);
    if (encoder_tensor(s->encoder, "mm.3.weight")) {
        x = sketch_norm(s, sketch_linear(s, x, "mm.0"), LAYER_NORM, true, true);
        x = sketch_linear(s, sketch_changed(s, x), "mm.3");
        return sketch_norm(s, x, LAYER_NORM, true, true);
    }
    x = sketch_changed(s, sketch_linear(s, x, "mm.0"));
    return encoder_tensor(s->encoder, "mm.2.weight") ? sketch_linear(s, x, "mm.2") : x;
}

/* --- MobileVLM ------------------------------------------------------------------------------- */

enum { MOBILE_SIDE = 24 };

static struct values normed_rows(struct sketch *s, struct values x)
{
    return sketch_norm(s, sketch_turned(s, x), LAYER_NORM, true, true);
}

/* Channels are weighed by what two matrices make of their means. */
static struct values weighed(struct sketch *s, struct values x, const char *first,
                             const char *second)
{
    struct values mean = sketch_made(s, x.width, 1, x);

    mean = sketch_changed(s, sketch_linear(s, sketch_viewed(s, mean.width, 1, mean), first));
    mean = sketch_changed(s, sketch_linear(s, mean, second));
    mean = sketch_viewed(s, mean.width, 1, mean);
    x.ref = TAPE_PUT(s->tape, x.width * x.rows * sizeof(float), 1, x.ref, mean.ref);
    return x;
}

static struct values mobile_block(struct sketch *s, struct values x, uint64_t rows, int block)
{
    static const char *const names[][4] = {
        {"mm.model.mb_block.1.block.1.fc1", "mm.model.mb_block.1.block.1.fc2",
         "mm.model.mb_block.1.block.2.0", "mm.model.mb_block.1.block.0.0.weight"},
        {"mm.model.mb_block.2.block.1.fc1", "mm.model.mb_block.2.block.1.fc2",
         "mm.model.mb_block.2.block.2.0", "mm.model.mb_block.2.block.0.0.weight"},
    };
    const char *const *name = names[block];
    const struct kernel kernel = sketch_kernel(s, encoder_tensor(s->encoder, name[3]));

    x = sketch_changed(s, sketch_turned(s, normed_rows(s, sketch_apart(s, x, kernel, rows))));
    x = weighed(s, x, name[0], name[1]);
    x = sketch_turned(s, sketch_viewed(s, x.width, x.rows, x));
    x = sketch_linear(s, x, name[2]);
    return sketch_norm(s, sketch_viewed(s, x.width, x.rows, x), LAYER_NORM, true, true);
}

/* Made for 24 x 24 patches, whatever the picture. */
static bool fits_mobile(struct sketch *s)
{
    if (s->side != MOBILE_SIDE)
        s->encoder->damaged = true;
    return s->side == MOBILE_SIDE;
}

struct values end_ldp(struct sketch *s, struct values x)
{
    struct values before;

    if (!fits_mobile(s))
        return x;
    x = sketch_two(s, patches_chosen(s, x), "mm.model.mlp.1", "mm.model.mlp.3");
    before = sketch_turned(s, x);
    x = sketch_turned(s, mobile_block(s, before, before.rows, 0));
    x = sketch_sum(s, before, x);
    x = mobile_block(s, x, x.rows / 4, 1);
    return sketch_viewed(s, x.width, x.rows, x);
}

struct values end_ldp2(struct sketch *s, struct values x)
{
    const struct kernel kernel =
        sketch_kernel(s, encoder_tensor(s->encoder, "mm.model.peg.0.weight"));
    struct values peg;

    if (!fits_mobile(s))
        return x;
    x = sketch_two(s, patches_chosen(s, x), "mm.model.mlp.0", "mm.model.mlp.2");
    x = sketch_made(s, x.width, x.rows / 4, sketch_turned(s, x));
    peg = sketch_changed(s, sketch_turned(s, sketch_apart(s, x, kernel, x.rows)));
    return sketch_sum(s, peg, sketch_turned(s, x));
}
