/* encoder_bound.c - what an encoder takes at most, of a type whose graph is not known. */
#include "encoder.h"

#include "dgo_units.h"

#include <string.h>

enum { SAM_SIDE = 64, SAM_TOKENS = SAM_SIDE * SAM_SIDE };

struct picture {
    uint64_t patches;
    uint64_t bytes; /* its pixels, as floats */
};

static uint64_t sam_heads(const struct dgo_model *projector)
{
    return dgo_min_u64(memory_key_number(projector, "vision.sam.head_count"), 1 << 10);
}

static uint64_t sam_width(const struct dgo_model *projector)
{
    return dgo_min_u64(memory_key_number(projector, "vision.sam.embedding_length"), 1 << 16);
}

bool encoder_masks_heads(const struct dgo_model *projector)
{
    return sam_heads(projector) > 0;
}

uint64_t encoder_attention_bytes(uint64_t rows, uint64_t width, uint64_t masks)
{
    enum { HALF = 2 };

    return rows * (2 * width * (sizeof(float) + HALF) + masks * rows * HALF);
}

/* The picture that the engine warms up with.  LLaVA's has the size that the file names; most others
 * take any size, and the engine's own choice for them is 46 x 46 tokens of four patches or less. */
static struct picture warm_up_picture(const struct dgo_model *projector)
{
    enum { SIDE_LEAST = 2 * 46, SAM_LEFT = 2 * 16 * 16 + 1, SAM_PIXELS = 1024 };
    const struct dgo_model_key *type = dgo_model_find(projector, "clip.projector_type");
    const bool as_named =
        type && type->text && type->length == 3 && memcmp(type->text, "mlp", 3) == 0;
    const uint64_t image = dgo_min_u64(memory_key_number(projector, "vision.image_size"), 1 << 14);
    const uint64_t patch = dgo_min_u64(memory_key_number(projector, "vision.patch_size"), 1 << 10);
    const uint64_t named = patch ? image / patch : 0;
    const uint64_t side = as_named && named ? named : dgo_max_u64(named, SIDE_LEAST);
    const uint64_t pixels = dgo_max_u64(image, side * patch);

    if (sam_heads(projector) > 0) /* what SAM leaves of any picture, and as many queries */
        return (struct picture){.patches = SAM_LEFT,
                                .bytes = 3 * SAM_PIXELS * SAM_PIXELS * sizeof(float)};
    return (struct picture){.patches = dgo_min_u64(side * side, 1 << 20) + 1,
                            .bytes = 3 * pixels * pixels * sizeof(float)};
}

/* SAM's encoder before CLIP's or Qwen's, over a picture of 1024 pixels.  It is told where tokens
 * lie by a mask for each head: that and its half, or that and the scores. */
static uint64_t sam_bytes(const struct dgo_model *projector, bool fused)
{
    enum { ROWS = 12, MASK_AND_HALF = 6, MASK_AND_SCORES = 8 };
    const uint64_t score_bytes = fused ? MASK_AND_HALF : MASK_AND_SCORES;

    return SAM_TOKENS * (ROWS * sam_width(projector) * sizeof(float) +
                         score_bytes * sam_heads(projector) * SAM_TOKENS);
}

/* Masks of windows: of each pair of tokens, whatever the windows' size. */
static uint64_t mask_bytes(const struct dgo_model *projector, const struct picture *picture)
{
    static const char *const keys[] = {"clip.vision.n_wa_pattern", "clip.vision.window_size",
                                       "clip.vision.wa_layer_indexes",
                                       "clip.vision.wa_pattern_mode"};

    if (sam_heads(projector) > 0) /* SAM's are cut; Qwen's queries behind them have one */
        return picture->patches * picture->patches * sizeof(float);
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        if (dgo_model_find(projector, keys[k]))
            return picture->patches * picture->patches * sizeof(float);
    return 0;
}

/* The widest moment of an encoder's layer over one picture: residual, normed input, queries, keys,
 * values, and the feed-forward; and, unfused, the scores of all heads. */
static uint64_t widest_bytes(const struct dgo_model *projector, const struct picture *picture,
                             bool fused)
{
    const uint64_t width = memory_key_number(projector, "vision.embedding_length");
    const uint64_t inner = memory_key_number(projector, "vision.feed_forward_length");
    const uint64_t heads =
        dgo_min_u64(memory_key_number(projector, "vision.attention.head_count"), 256);
    const uint64_t tokens = picture->patches;
    const uint64_t scores = fused ? 0 : heads * tokens * tokens;

    return (tokens * (6 * dgo_min_u64(width, 1 << 16) + 3 * dgo_min_u64(inner, 1 << 18)) + scores) *
               sizeof(float) +
           2 * (picture->bytes + mask_bytes(projector, picture)) +
           (sam_heads(projector) > 0 ? sam_bytes(projector, fused) : 0);
}

void encoder_bound(const struct dgo_model *projector, bool fused, struct encoder_need *need)
{
    enum { POSITIONS_BYTES = 32 }; /* of one patch: four numbers, and four in another order */
    const struct picture picture = warm_up_picture(projector);

    need->compute_bytes = widest_bytes(projector, &picture, fused);
    need->input_bytes =
        picture.bytes + picture.patches * POSITIONS_BYTES + mask_bytes(projector, &picture);
    need->attention_bytes =
        encoder_masks_heads(projector)
            ? encoder_attention_bytes(SAM_TOKENS, sam_width(projector), sam_heads(projector))
            : encoder_attention_bytes(
                  picture.patches,
                  dgo_min_u64(memory_key_number(projector, "vision.embedding_length"), 1 << 16), 1);
}

/* --- sounds ---------------------------------------------------------------------------------- */

/* Convolutions before the layers, at half of both axes: two of what the widest one makes. */
static uint64_t convolved_bytes(const struct dgo_model *projector, uint64_t bands)
{
    enum { CHANNELS_MAX = 1 << 13, PLANES = 3 };
    uint64_t channels = 0;

    for (uint32_t i = 0; i < projector->tensor_count; i++) {
        const struct dgo_tensor *tensor = &projector->tensor[i];

        if (strncmp(tensor->name, "a.", 2) == 0 && tensor->dim[3] > 1)
            channels = dgo_max_u64(channels, dgo_min_u64(tensor->dim[3], CHANNELS_MAX));
    }
    return PLANES * channels * (ENCODER_FRAMES / 2) * (bands / 2) * sizeof(float);
}

/* Three of a layer's widest moment, all heads' scores with it: conformers do not fuse attention,
 * but queries behind them may. */
void encoder_sounds_bound(const struct dgo_model *projector, struct encoder_need *need)
{
    enum { TOKENS = ENCODER_FRAMES / 2, PIECES = TOKENS / 4, TIMES = 3, ROWS = 7, SAMPLES = 640 };
    const uint64_t bands = dgo_min_u64(memory_key_number(projector, "audio.num_mel_bins"), 1 << 12);
    const uint64_t width =
        dgo_min_u64(memory_key_number(projector, "audio.embedding_length"), 1 << 16);
    const uint64_t inner =
        dgo_min_u64(memory_key_number(projector, "audio.feed_forward_length"), 1 << 18);
    const uint64_t heads =
        dgo_min_u64(memory_key_number(projector, "audio.attention.head_count"), 256);
    const uint64_t masks = dgo_model_find(projector, "clip.audio.window_size") ? TIMES : 0;
    const uint64_t frame = dgo_max_u64(bands, SAMPLES);

    need->compute_bytes = TIMES *
                              (TOKENS * (ROWS * width + inner) + heads * TOKENS * TOKENS +
                               ENCODER_FRAMES * frame + masks * TOKENS * TOKENS) *
                              sizeof(float) +
                          convolved_bytes(projector, bands);
    need->input_bytes =
        (ENCODER_FRAMES * bands + 2 * PIECES * width + PIECES * PIECES + masks * TOKENS * TOKENS) *
        sizeof(float);
    need->attention_bytes = encoder_attention_bytes(TOKENS, width, masks > 0);
}
