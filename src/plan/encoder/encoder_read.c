/* encoder_read.c - what a projector's file has of its type's encoder. */
#include "encoder.h"

#include "dgo_units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Larger ones do not exist; the engine takes pictures up to 8192, too.  Products of all of them
 * stay far below 64 bits. */
enum {
    WIDTH_MAX = 1 << 16,
    INNER_MAX = 1 << 18,
    HEADS_MAX = 1 << 10,
    NAMED_MAX = 1 << 13, /* pixels of a picture that the file names */
    SIDE_MAX = 1 << 15,
    PATCHES_MAX = 1 << 11, /* along a side */
    PATCH_MAX = 1 << 10,
    BANDS_MAX = 1 << 12,
    EXPERTS_MAX = 1 << 10,
    MERGE_MAX = 1 << 4,
    TENSORS_MAX = 1 << 13, /* each is looked up by its name */
};

static const struct {
    const char *name;
    uint32_t part;
} parts[] = {
    {"attn_q.bias", PART_QUERY_BIAS},
    {"attn_k.bias", PART_KEY_BIAS},
    {"attn_v.bias", PART_VALUE_BIAS},
    {"attn_qkv.weight", PART_JOINT},
    {"attn_qkv.bias", PART_JOINT_BIAS},
    {"attn_q_norm.weight", PART_QUERY_NORM},
    {"attn_k_norm.weight", PART_KEY_NORM},
    {"attn_out.bias", PART_OUT_BIAS},
    {"attn_sinks", PART_SINKS},
    {"ln1.weight", PART_FIRST_NORM},
    {"ln1.bias", PART_FIRST_NORM_BIAS},
    {"ln2.weight", PART_SECOND_NORM},
    {"ln2.bias", PART_SECOND_NORM_BIAS},
    {"attn_post_norm.weight", PART_OUT_NORM},
    {"ffn_post_norm.weight", PART_FEED_NORM},
    {"ls1.weight", PART_OUT_SCALE},
    {"ls2.weight", PART_FEED_SCALE},
    {"out_scale.weight", PART_LAYER_SCALE},
    {"ffn_up.bias", PART_UP_BIAS},
    {"ffn_gate.weight", PART_GATE},
    {"ffn_gate.bias", PART_GATE_BIAS},
    {"ffn_gate_exps.weight", PART_EXPERTS},
    {"ffn_down.bias", PART_DOWN_BIAS},
};

const struct dgo_tensor *encoder_tensor(const struct encoder *encoder, const char *name)
{
    const struct dgo_model *projector = encoder->projector;

    for (uint32_t i = 0; i < projector->tensor_count; i++)
        if (strcmp(projector->tensor[i].name, name) == 0)
            return &projector->tensor[i];
    return NULL;
}

/* "v.blk.12.ffn_up.weight": the layer 12 and what follows; NULL: not of a layer that is drawn. */
static const char *layer_of(const struct encoder *encoder, const char *name, const char *prefix,
                            uint32_t *layer)
{
    const size_t length = strlen(prefix);
    unsigned long number;
    char *end;

    if (strncmp(name, prefix, length) != 0 || name[length] < '0' || name[length] > '9')
        return NULL;
    number = strtoul(name + length, &end, 10);
    if (*end != '.' || number >= encoder->layer_count)
        return NULL;
    *layer = (uint32_t)number;
    return end + 1;
}

/* The feed-forward's width is that of its first matrix, whatever an old file calls that. */
static void read_feed(const struct encoder *encoder, struct encoder_layer *layer, const char *name,
                      const struct dgo_tensor *tensor)
{
    const bool swapped = encoder->type->flags & ENCODER_SWAPPED && tensor->dim[0] == encoder->width;

    if (strcmp(name, "ffn_down.weight") == 0 && swapped)
        layer->swapped = true;
    if (strcmp(name, layer->swapped ? "ffn_down.weight" : "ffn_up.weight") == 0)
        layer->inner = (uint32_t)dgo_min_u64(tensor->dim[1], UINT32_MAX);
    if (strcmp(name, "ffn_up_exps.weight") == 0) {
        layer->inner = (uint32_t)dgo_min_u64(tensor->dim[1], UINT32_MAX);
        layer->expert_count = (uint32_t)dgo_min_u64(tensor->dim[2], UINT32_MAX);
    }
}

static void swap_biases(struct encoder_layer *layer)
{
    const uint32_t both = PART_UP_BIAS | PART_DOWN_BIAS;
    const uint32_t has = layer->parts & both;

    if (layer->swapped && has && has != both)
        layer->parts ^= both;
}

static void read_part(struct encoder *encoder, const struct dgo_tensor *tensor)
{
    struct encoder_layer *layer;
    uint32_t l = 0;
    const char *name =
        layer_of(encoder, tensor->name, encoder->bands > 0 ? "a.blk." : "v.blk.", &l);

    if (!name) {
        name = layer_of(encoder, tensor->name, "v.deepstack.", &l);
        if (name && encoder->bands == 0 && strcmp(name, "fc1.weight") == 0)
            encoder->layer[l].stacked = true;
        return;
    }
    layer = &encoder->layer[l];
    read_feed(encoder, layer, name, tensor);
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++)
        if (strcmp(name, parts[p].name) == 0)
            layer->parts |= parts[p].part;
    if (strcmp(name, "attn_q_norm.weight") == 0 && tensor->dim[0] == encoder->head_size)
        layer->parts |= PART_HEAD_NORMS;
}

/* LLaVA's: the last layer but one, or the deepest of those that the file names. */
static void read_depth(struct encoder *encoder)
{
    const struct dgo_model_key *key =
        dgo_model_find(encoder->projector, "clip.vision.feature_layer");
    uint32_t deepest = 0;

    encoder->drawn_count = encoder->layer_count - 1;
    if (!key || !key->is_array)
        return;
    if (!key->elements || key->length > ENCODER_FEATURES_MAX) {
        encoder->damaged = true;
        return;
    }
    for (uint64_t i = 0; i < key->length; i++) {
        if (!(key->elements[i] >= 0 && key->elements[i] <= encoder->layer_count)) {
            encoder->damaged = true;
            return;
        }
        encoder->feature[encoder->feature_count++] = (uint32_t)key->elements[i];
        if (encoder->feature[i] > deepest)
            deepest = encoder->feature[i];
    }
    if (encoder->feature_count > 0)
        encoder->drawn_count = deepest;
}

static uint64_t number_of(const struct encoder *encoder, const char *key)
{
    return memory_key_number(encoder->projector, key);
}

/* What pictures and sounds both have. */
static void read_widths(struct encoder *e, bool sounds)
{
    const uint64_t head = sounds ? 0 : number_of(e, "vision.attention.head_dim");

    e->width = number_of(e, sounds ? "audio.embedding_length" : "vision.embedding_length");
    e->head_count =
        number_of(e, sounds ? "audio.attention.head_count" : "vision.attention.head_count");
    if (e->width > WIDTH_MAX || e->head_count > HEADS_MAX)
        e->width = 0;
    e->head_size = head ? head : e->head_count > 0 ? e->width / e->head_count : 0;
    e->kv_head_count = e->head_count;
}

static bool read_sound_sizes(struct encoder *e)
{
    enum { SAMPLES = 640 }; /* of a frame, whatever the file says */
    const uint64_t layers = number_of(e, "audio.block_count");
    const bool waves = e->type->flags & ENCODER_WAVES;

    read_widths(e, true);
    e->bands = waves ? SAMPLES : number_of(e, "audio.num_mel_bins");
    e->rms = e->type->flags & ENCODER_RMS;
    e->layer_count = e->drawn_count = waves ? 0 : (uint32_t)dgo_min_u64(layers, UINT32_MAX);
    return e->bands > 0 && e->bands <= BANDS_MAX &&
           (waves ||
            (e->width > 0 && e->head_size > 0 && layers > 0 && layers <= ENCODER_LAYERS_MAX));
}

/* InternViT-6B, which the engine knows by its size. */
static bool is_6b(const struct encoder *encoder)
{
    enum { WIDTH = 3200, LAYERS = 45 };

    return encoder->width == WIDTH && encoder->layer_count == LAYERS;
}

/* The rest does not matter to such a graph. */
static bool read_layerless(struct encoder *e)
{
    if (e->type->flags & ENCODER_WIDE_PATCHES) {
        if (e->merge > MERGE_MAX || e->patch == 0 || e->patch > PATCH_MAX)
            return false;
        e->patch *= e->merge;
        e->pixels = e->type->warm_up_side * e->patch;
    }
    return e->pixels > 0 && e->pixels <= NAMED_MAX;
}

/* In tokens; no more of them than one picture may have. */
static uint64_t warm_up_side(const struct encoder_type *type, uint32_t picture_tokens)
{
    const uint64_t most = (uint64_t)sqrt(picture_tokens);

    return picture_tokens > 0 ? dgo_min_u64(type->warm_up_side, most) : type->warm_up_side;
}

static bool read_sizes(struct encoder *e, uint32_t picture_tokens)
{
    const struct encoder_type *type = e->type;
    const uint64_t merge = type->merge_key ? number_of(e, type->merge_key) : 0;
    const uint64_t kv = number_of(e, "vision.attention.head_count_kv");
    const uint64_t layers = number_of(e, "vision.block_count");

    read_widths(e, false);
    e->used_expert_count = number_of(e, "vision.expert_used_count");
    e->patch = number_of(e, "vision.patch_size");
    e->merge = merge ? merge : type->merge;
    e->pixels = number_of(e, "vision.image_size");
    if (type->flags & ENCODER_NO_LAYERS)
        return read_layerless(e);
    if (e->width == 0 || e->head_count == 0 || e->patch == 0 || e->patch > PATCH_MAX ||
        e->merge > MERGE_MAX || layers == 0 || layers > ENCODER_LAYERS_MAX)
        return false;
    if (type->flags & ENCODER_BY_MOST && picture_tokens > 0)
        e->pixels = (uint64_t)(sqrt(picture_tokens) * (double)(e->patch * e->merge));
    else if (type->warm_up_side > 0)
        e->pixels = warm_up_side(type, picture_tokens) * e->patch * e->merge;
    if (type->flags & ENCODER_CAPPED && number_of(e, "vision.image_min_pixels") > 0 &&
        number_of(e, "vision.image_max_pixels") > 0)
        e->pixels = (uint64_t)sqrt((double)number_of(e, "vision.image_max_pixels"));
    if (kv > 0)
        e->kv_head_count = kv;
    e->layer_count = e->drawn_count = (uint32_t)layers;
    e->rms = type->flags & ENCODER_RMS || (type->flags & ENCODER_RMS_6B && is_6b(e));
    return e->pixels >= e->patch * e->merge && e->pixels <= SIDE_MAX &&
           e->pixels / e->patch <= PATCHES_MAX && number_of(e, "vision.image_size") <= NAMED_MAX &&
           e->head_size > 0 && e->head_size * e->head_count <= WIDTH_MAX &&
           e->kv_head_count <= e->head_count;
}

static const struct dgo_model_key *layers_named(const struct encoder *encoder)
{
    const struct dgo_model_key *key =
        dgo_model_find(encoder->projector, "clip.vision.wa_layer_indexes");

    return key && key->is_array && key->elements && key->length > 0 ? key : NULL;
}

/* Which layers attend within windows. */
static void read_windows(struct encoder *encoder)
{
    const uint32_t flags = encoder->type->flags;
    const uint64_t each = number_of(encoder, "vision.n_wa_pattern");
    const struct dgo_model_key *named = layers_named(encoder);

    for (uint32_t l = 0; flags & ENCODER_CHOSEN && l + 1 < encoder->layer_count; l++)
        encoder->layer[l].window = (l + 1) % 4 != 0;
    encoder->windowed =
        (flags & ENCODER_WINDOWS && each > 0) || (flags & ENCODER_WINDOWS_BUT && named);
    for (uint32_t l = 0; l < encoder->layer_count && encoder->windowed; l++)
        encoder->layer[l].window = flags & ENCODER_WINDOWS_BUT || (l + 1) % each != 0;
    for (uint64_t i = 0; flags & ENCODER_WINDOWS_BUT && named && i < named->length; i++)
        if (named->elements[i] >= 0 && named->elements[i] < encoder->layer_count)
            encoder->layer[(uint32_t)named->elements[i]].window = false;
}

static void read_merger(struct encoder *encoder)
{
    enum { MERGE = 4 };
    const struct dgo_model_key *named = layers_named(encoder);

    encoder->merger_layer = UINT32_MAX;
    if (!(encoder->type->flags & ENCODER_MERGER_INSIDE) || encoder->merge != MERGE)
        return;
    encoder->merger_layer = 0;
    if (!named)
        return;
    if (named->elements[0] >= 0 && named->elements[0] < encoder->layer_count)
        encoder->merger_layer = (uint32_t)named->elements[0];
    else
        encoder->damaged = true;
}

static bool layer_is_drawn(const struct encoder *encoder, const struct encoder_layer *layer)
{
    const uint64_t used = encoder->used_expert_count;

    if (layer->inner == 0 || layer->inner > INNER_MAX || layer->parts & PART_SINKS)
        return false;
    return !(layer->parts & PART_EXPERTS) ||
           (used > 0 && used <= layer->expert_count && layer->expert_count <= EXPERTS_MAX);
}

bool encoder_read(const struct dgo_model *projector, const struct encoder_use *use,
                  struct encoder *encoder)
{
    const struct encoder_type *type = encoder_type_of(projector, use->sounds);

    *encoder = (struct encoder){.type = type, .projector = projector};
    if (!type || projector->tensor_count > TENSORS_MAX ||
        !(use->sounds ? read_sound_sizes(encoder) : read_sizes(encoder, use->picture_tokens)))
        return false;
    for (uint32_t i = 0; i < projector->tensor_count; i++)
        read_part(encoder, &projector->tensor[i]);
    if (type->flags & ENCODER_LLAVA)
        read_depth(encoder);
    read_windows(encoder);
    read_merger(encoder);
    for (uint32_t l = 0; l < encoder->layer_count; l++) {
        struct encoder_layer *layer = &encoder->layer[l];

        swap_biases(layer);
        if (!layer_is_drawn(encoder, layer))
            return false;
    }
    return !encoder->damaged;
}
