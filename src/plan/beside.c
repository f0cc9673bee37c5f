/* beside.c - what a server loads beside its model: a draft model, a projector of pictures or
 * sounds.
 *
 * FORMULAS "Beside the model". */
#include "encoder.h"
#include "memory.h"

#include "dgo_units.h"

#include <string.h>

static struct dgo_device_estimate *device_of(struct dgo_estimate *estimate, uint32_t gpu_index)
{
    for (uint32_t d = 0; d < estimate->device_count; d++)
        if (estimate->device[d].gpu_index == gpu_index)
            return &estimate->device[d];
    return NULL;
}

static void add_device(struct dgo_device_estimate *to, const struct dgo_device_estimate *from)
{
    to->weights_bytes += from->weights_bytes;
    to->context_bytes += from->context_bytes;
    to->compute_bytes += from->compute_bytes;
    if (from->compute_bytes > 0 && from->compute_source == DGO_FIGURE_BOUND)
        to->compute_source = DGO_FIGURE_BOUND;
}

void dgo_estimate_add(struct dgo_estimate *estimate, const struct dgo_estimate *beside)
{
    for (uint32_t d = 0; d < beside->device_count; d++) {
        const struct dgo_device_estimate *from = &beside->device[d];
        struct dgo_device_estimate *to = device_of(estimate, from->gpu_index);

        if (to) {
            add_device(to, from);
        } else if (estimate->device_count < DGO_GPU_MAX) {
            to = &estimate->device[estimate->device_count++];
            *to = *from;
            to->layer_count = 0;
            to->holds_output = false;
        }
    }
    estimate->host.weights_bytes += beside->host.weights_bytes;
    estimate->host.context_bytes += beside->host.context_bytes;
    estimate->host.compute_bytes += beside->host.compute_bytes;
    estimate->host.output_bytes += beside->host.output_bytes;
    dgo_estimate_judge(estimate);
}

/* Head sizes that the CUDA backend fuses attention for; with others the engine falls back. */
static bool fuses(uint64_t head_size)
{
    static const uint64_t sizes[] = {40, 64, 72, 80, 96, 112, 128, 256};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (head_size == sizes[i])
            return true;
    return false;
}

static bool is_fused(const struct dgo_model *projector, bool on_card, enum dgo_flash_attention wish)
{
    const uint64_t width = memory_key_number(projector, "vision.embedding_length");
    const uint64_t heads = memory_key_number(projector, "vision.attention.head_count");
    const uint64_t told = memory_key_number(projector, "vision.attention.head_dim");

    return wish == DGO_FA_ON && (!on_card || (heads > 0 && fuses(told ? told : width / heads)));
}

/* What the encoder of pictures takes: its graph's where that is known, else a bound.  Attention
 * that the card cannot fuse is computed unfused by a server that decides itself, and on the CPU by
 * one that was told to fuse: the most of both. */
static bool picture_need(const struct dgo_model *projector, const struct dgo_projector_use *use,
                         struct encoder_need *need)
{
    const enum dgo_flash_attention wish = use->flash_attention;
    const bool fused = is_fused(projector, use->gpu >= 0, wish);
    const struct encoder_use as_is = {fused, use->picture_tokens};
    const struct encoder_use on_cpu = {true, use->picture_tokens};
    struct encoder_need other = {0};

    if (encoder_bytes(projector, &as_is, need)) {
        if (fused || wish != DGO_FA_ON || !encoder_bytes(projector, &on_cpu, &other))
            return true;
        const uint64_t unfused_bytes = need->compute_bytes;

        need->compute_bytes = dgo_max_u64(unfused_bytes, other.compute_bytes);
        return unfused_bytes == other.compute_bytes; /* no attention that could be fused */
    }
    encoder_bound(projector, fused, need);
    return false;
}

/* Half a minute of sound, which the engine warms up with: frames of so many bands, and two of them
 * a token. */
enum { SOUND_FRAMES = 3000, SOUND_TOKENS = SOUND_FRAMES / 2 };

/* Whisper's encoder; what others do beside attention and feed-forward was not measured. */
static bool is_whisper(const struct dgo_model *projector)
{
    static const char *const types[] = {"ultravox", "qwen2a", "voxtral"};
    const struct dgo_model_key *type = dgo_model_find(projector, "clip.projector_type");

    for (size_t i = 0; type && type->text && i < sizeof types / sizeof types[0]; i++)
        if (type->length == strlen(types[i]) && memcmp(type->text, types[i], type->length) == 0)
            return true;
    return false;
}

/* Of Whisper's a layer's feed-forward, with residual, norm and result beside it, or the scores of
 * all heads with four of the width: the server's to the byte. */
static uint64_t listener_bytes(const struct dgo_model *projector, bool fused)
{
    enum { OTHERS = 3 };
    const uint64_t width =
        dgo_min_u64(memory_key_number(projector, "audio.embedding_length"), 1 << 16);
    const uint64_t inner =
        dgo_min_u64(memory_key_number(projector, "audio.feed_forward_length"), 1 << 18);
    const uint64_t heads =
        dgo_min_u64(memory_key_number(projector, "audio.attention.head_count"), 256);
    const uint64_t scores =
        fused && heads > 0 && fuses(width / heads) ? 0 : heads * SOUND_TOKENS * SOUND_TOKENS;
    const uint64_t feeding = SOUND_TOKENS * (3 * width + inner);
    const uint64_t attending = SOUND_TOKENS * 4 * width + scores;

    if (is_whisper(projector))
        return dgo_max_u64(feeding, attending) * sizeof(float);
    return OTHERS * (feeding + attending) * sizeof(float);
}

static uint64_t sound_bytes(const struct dgo_model *projector)
{
    const uint64_t bands = dgo_min_u64(memory_key_number(projector, "audio.num_mel_bins"), 1 << 12);

    return SOUND_FRAMES * bands * sizeof(float);
}

/* Whether the file's encoder of sounds is loaded: never beside Gemma 3n's of pictures. */
static bool hears(const struct dgo_model *projector)
{
    const struct encoder_type *type = encoder_type_of(projector);

    return memory_key_number(projector, "has_audio_encoder") > 0 &&
           !(type && type->flags & ENCODER_DEAF);
}

static bool ends_with(const char *text, const char *ending)
{
    const size_t length = strlen(text), ending_length = strlen(ending);

    return length >= ending_length && strcmp(text + length - ending_length, ending) == 0;
}

/* Limits of what goes into a matrix and comes out of it are read, but kept elsewhere. */
static bool is_limit(const char *name)
{
    static const char *const endings[] = {".input_min", ".input_max", ".output_min", ".output_max"};

    for (size_t e = 0; e < sizeof endings / sizeof endings[0]; e++)
        if (ends_with(name, endings[e]))
            return true;
    return false;
}

static uint64_t loaded_bytes(const struct dgo_model *projector)
{
    const bool with_sounds = hears(projector);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < projector->tensor_count; i++) {
        const char *name = projector->tensor[i].name;
        const bool of_sounds = strncmp(name, "a.", 2) == 0 || strncmp(name, "mm.a.", 5) == 0;

        if (!is_limit(name) && (with_sounds || !of_sounds))
            bytes += dgo_pad_u64(projector->tensor[i].size_bytes, MEMORY_DEVICE_ALIGN);
    }
    return bytes;
}

/* A card that holds nothing else gets a row of its own; NULL: there is no room for it. */
static struct dgo_device_estimate *device_made(struct dgo_estimate *estimate,
                                               const struct dgo_machine *machine, uint32_t gpu,
                                               const uint64_t *margins_bytes)
{
    struct dgo_device_estimate *device = device_of(estimate, gpu);

    if (device || estimate->device_count == DGO_GPU_MAX)
        return device;
    device = &estimate->device[estimate->device_count++];
    *device = (struct dgo_device_estimate){
        .gpu_index = gpu,
        .free_bytes = assign_free_bytes(&machine->gpu[gpu]),
        .overhead_bytes = memory_overhead_bytes(&machine->gpu[gpu]),
        .margin_bytes = margins_bytes ? margins_bytes[gpu] : 0,
        .compute_source = DGO_FIGURE_FORMULA,
    };
    assign_device_name(machine, gpu, device->name);
    return device;
}

enum dgo_status dgo_estimate_add_projector(struct dgo_estimate *estimate,
                                           const struct dgo_machine *machine,
                                           const struct dgo_model *projector,
                                           const struct dgo_projector_use *use,
                                           const uint64_t *margins_bytes, struct dgo_error *err)
{
    const bool fused = use->flash_attention == DGO_FA_ON && use->gpu >= 0;
    struct encoder_need need;
    const bool known = picture_need(projector, use, &need);
    const bool listens = hears(projector);
    const uint64_t listening = listens ? listener_bytes(projector, fused) : 0;
    const uint64_t weights = loaded_bytes(projector);
    struct dgo_device_estimate *to = NULL;

    if (strcmp(projector->architecture, "clip") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "architecture \"%s\" is no projector; give the mmproj file of the model",
                        projector->architecture);
    if (use->gpu >= 0)
        to = device_made(estimate, machine, (uint32_t)use->gpu, margins_bytes);
    if (to) {
        to->weights_bytes += weights;
        to->compute_bytes += need.compute_bytes + listening;
        if (!known || listening > 0)
            to->compute_source = DGO_FIGURE_BOUND;
        estimate->host.compute_bytes += need.input_bytes + (listens ? sound_bytes(projector) : 0);
    } else {
        estimate->host.weights_bytes += weights;
        estimate->host.compute_bytes += need.compute_bytes + listening;
    }
    dgo_estimate_judge(estimate);
    return DGO_OK;
}
