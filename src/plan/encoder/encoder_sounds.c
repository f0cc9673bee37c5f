/* encoder_sounds.c - encoders of sounds with layers as pictures' have them: Whisper's, and those
 * that halve both axes three times first. */
#include "encoder.h"

#include <stdio.h>

enum { LAYER_NORM = false, RMS_NORM = true, POSITION_BYTES = 4 };

/* --- Whisper's ------------------------------------------------------------------------------- */

/* A convolution along the time, its bias, its activation. */
static struct values convolved(struct sketch *s, struct values x, const char *name, uint64_t rows)
{
    enum { KERNEL = 3, F16_BYTES = 2, WIDTH_MAX = 1 << 16 };
    char full[DGO_TENSOR_NAME_MAX];
    const struct dgo_tensor *kernel;
    struct values y = {TAPE_OUTSIDE, 0, rows};

    snprintf(full, sizeof full, "%s.weight", name);
    kernel = encoder_tensor(s->encoder, full);
    if (!kernel || kernel->dim[2] > WIDTH_MAX) {
        s->encoder->damaged = true;
        return x;
    }
    y.ref = TAPE_PUT(s->tape, KERNEL * x.width * rows * F16_BYTES, 0, x.ref);
    y = sketch_made(s, kernel->dim[2], rows, sketch_viewed(s, 0, 0, y));
    return sketch_changed(s, sketch_changed(s, sketch_viewed(s, y.width, y.rows, y)));
}

static struct values whisper(struct sketch *s, struct values x)
{
    const struct values table = {TAPE_OUTSIDE, 0, 0};

    x = convolved(s, x, "a.conv1d.1", x.rows);
    x = convolved(s, x, "a.conv1d.2", x.rows / 2);
    x = sketch_sum(s, sketch_turned(s, x), table);
    return sketch_layers(s, sketch_viewed(s, x.width, x.rows, x));
}

/* So many rows become one, the last one filled up. */
static struct values stacked(struct sketch *s, struct values x)
{
    enum { STACK_MAX = 64 };
    const uint64_t factor =
        memory_key_number(s->encoder->projector, "audio.projector.stack_factor");

    if (factor > STACK_MAX)
        s->encoder->damaged = true;
    if (factor <= 1 || factor > STACK_MAX)
        return x;
    const uint64_t rows = (x.rows + factor - 1) / factor;

    if (x.rows % factor != 0)
        x = sketch_made(s, x.width, rows * factor, sketch_viewed(s, x.width, x.rows, x));
    return sketch_viewed(s, x.width * factor, rows, x);
}

struct values end_ultravox(struct sketch *s, struct values x)
{
    x = stacked(s, whisper(s, x));
    x = sketch_linear(s, sketch_norm(s, x, RMS_NORM, true, false), "mm.a.mlp.1");
    x = sketch_made(s, x.width / 2, x.rows, x);
    return sketch_linear(s, sketch_norm(s, x, RMS_NORM, true, false), "mm.a.mlp.2");
}

struct values end_qwen2a(struct sketch *s, struct values x)
{
    return sketch_linear(s, whisper(s, x), "mm.a.fc");
}

struct values end_voxtral(struct sketch *s, struct values x)
{
    return sketch_two(s, stacked(s, whisper(s, x)), "mm.a.mlp.1", "mm.a.mlp.2");
}

struct values end_flamingo(struct sketch *s, struct values x)
{
    return sketch_two(s, whisper(s, x), "mm.a.mlp.1", "mm.a.mlp.2");
}

struct values end_glma(struct sketch *s, struct values x)
{
    const struct values row = {TAPE_OUTSIDE, 0, 1};

    x = stacked(s, sketch_norm(s, whisper(s, x), LAYER_NORM, true, true));
    x = sketch_two(s, x, "mm.a.mlp.1", "mm.a.mlp.2");
    return sketch_beside(s, sketch_beside(s, x, row), row);
}

struct values end_meralion(struct sketch *s, struct values x)
{
    struct values gate;

    x = sketch_norm(s, stacked(s, whisper(s, x)), LAYER_NORM, true, true);
    x = sketch_changed(s, sketch_linear(s, x, "mm.a.mlp.0"));
    gate = sketch_changed(s, sketch_linear(s, x, "mm.a.mlp.1"));
    x = sketch_sum(s, gate, sketch_linear(s, x, "mm.a.mlp.2"));
    return sketch_linear(s, x, "mm.a.mlp.3");
}

/* --- both axes halved three times ------------------------------------------------------------ */

/* `frames` of each of so many chunks, `bands` of each frame; one row for what is left of a frame.
 */
static struct values halved_thrice(struct sketch *s, struct values x, uint64_t frames,
                                   uint64_t chunks)
{
    enum { HALVINGS = 3, KERNEL = 3 };
    static const char *const names[HALVINGS] = {"a.conv2d.1", "a.conv2d.2", "a.conv2d.3"};
    uint64_t bands = s->encoder->bands;

    x.width = 1;
    for (int h = 0; h < HALVINGS; h++) {
        frames = (frames + 1) / 2;
        bands = (bands + 1) / 2;
        x = sketch_convolved(s, x, names[h], KERNEL, frames * bands * chunks);
        x = sketch_changed(s, sketch_changed(s, x));
    }
    x = sketch_turned(s, x);
    x = sketch_viewed(s, x.width * bands, frames * chunks, x);
    x = sketch_linear(s, x, "a.conv_out");
    return sketch_viewed(s, x.width, x.rows, x);
}

struct values end_qwen3a(struct sketch *s, struct values x)
{
    enum { CHUNK = 100 }; /* frames, each with convolutions of its own */
    const struct values table = {TAPE_OUTSIDE, 0, 0};

    x = sketch_made(s, x.width, x.rows, sketch_viewed(s, x.width, x.rows, x));
    x = halved_thrice(s, x, CHUNK, x.rows / CHUNK);
    x = sketch_sum(s, x, table);
    x = sketch_layers(s, sketch_viewed(s, x.width, x.rows, x));
    return sketch_two(s, x, "mm.a.mlp.1", "mm.a.mlp.2");
}

struct values end_dots_sounds(struct sketch *s, struct values x)
{
    x = halved_thrice(s, x, x.rows, 1);
    s->position[0] = sketch_input(s, x.rows * POSITION_BYTES);
    x = sketch_layers(s, sketch_viewed(s, x.width, x.rows, x));
    x = sketch_norm(s, x, LAYER_NORM, true, true);
    return sketch_two(s, x, "mm.a.mlp.1", "mm.a.mlp.3");
}

struct values sketch_by(struct sketch *s, struct values x, uint32_t layer, const char *part)
{
    char name[DGO_TENSOR_NAME_MAX];

    snprintf(name, sizeof name, "a.blk.%u.%s", layer, part);
    return sketch_linear(s, x, name);
}

/* Gemma 4's without an encoder: samples, normed and projected. */
struct values end_waves(struct sketch *s, struct values x)
{
    x = sketch_norm(s, sketch_turned(s, x), RMS_NORM, false, false);
    return sketch_linear(s, x, "mm.a.input_projection");
}
