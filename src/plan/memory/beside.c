/* beside.c - what a server loads beside its model: a draft model, a projector of pictures or
 * sounds.
 *
 * FORMULAS "Beside the model". */
#include "encoder.h"
#include "memory.h"

#include "dgo_units.h"

#include <stdlib.h>
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

/* Heads that each have keys of their own. */
static bool fuses(uint64_t head_size)
{
    return memory_heads_have_kernel(head_size, head_size, 1, 1);
}

/* Heads of queries behind a conformer, if it has such, are counted apart. */
static bool has_kernel(const struct dgo_model *projector, bool sounds)
{
    const char *const widths = sounds ? "audio.embedding_length" : "vision.embedding_length";
    const char *const counts =
        sounds ? "audio.attention.head_count" : "vision.attention.head_count";
    const uint64_t width = memory_key_number(projector, widths);
    const uint64_t heads = memory_key_number(projector, counts);
    const uint64_t told = sounds ? 0 : memory_key_number(projector, "vision.attention.head_dim");
    const uint64_t asking = sounds ? memory_key_number(projector, "audio.projector.head_count") : 0;

    return heads > 0 && fuses(told ? told : width / heads) &&
           (asking == 0 || fuses(width / asking)) && !encoder_masks_heads(projector);
}

/* Of a type whose graph is not known. */
static void bound(const struct dgo_model *projector, bool sounds, bool fused,
                  struct encoder_need *need)
{
    if (sounds)
        encoder_sounds_bound(projector, need);
    else
        encoder_bound(projector, fused, need);
}

/* What an encoder takes: its graph's where that is known, else a bound.  Attention that the card
 * cannot fuse is computed unfused by a server that decides itself, and on the CPU by one that was
 * told to fuse: the most of both. */
static bool encoder_need_of(const struct dgo_model *projector, bool sounds,
                            const struct dgo_projector_use *use, struct encoder_need *need)
{
    const bool wished = use->flash_attention == DGO_FA_ON;
    const bool fused = wished && (use->gpu < 0 || has_kernel(projector, sounds));
    const struct encoder_use as_is = {fused, use->picture_tokens, sounds};
    const struct encoder_use on_cpu = {true, use->picture_tokens, sounds};
    struct encoder_need other = {0};
    const bool known = encoder_bytes(projector, &as_is, need);

    if (!known)
        bound(projector, sounds, fused, need);
    if (fused || !wished)
        return known;
    if (known && encoder_bytes(projector, &on_cpu, &other) &&
        need->compute_bytes == other.compute_bytes)
        return true; /* no attention that could be fused */
    need->compute_bytes = dgo_max_u64(need->compute_bytes, other.compute_bytes);
    need->input_bytes += need->attention_bytes;
    return false;
}

/* Whether the file's encoder of sounds is loaded: never beside Gemma 3n's of pictures. */
static bool hears(const struct dgo_model *projector)
{
    const struct encoder_type *type = encoder_type_of(projector, false);

    return memory_key_number(projector, "has_audio_encoder") > 0 &&
           !(type && type->flags & ENCODER_DEAF);
}

/* A file that does not say what it has is taken for one of pictures. */
static bool sees(const struct dgo_model *projector)
{
    return memory_key_number(projector, "has_vision_encoder") > 0 || !hears(projector);
}

static bool ends_with(const char *text, const char *ending)
{
    const size_t length = strlen(text), ending_length = strlen(ending);

    return length >= ending_length && strcmp(text + length - ending_length, ending) == 0;
}

/* Limits of what goes into a matrix and comes out of it, and how sounds become bands, are read, but
 * kept elsewhere. */
static bool is_kept_elsewhere(const char *name)
{
    static const char *const endings[] = {".input_min",  ".input_max",    ".output_min",
                                          ".output_max", "a.mel_filters", "a.window"};

    for (size_t e = 0; e < sizeof endings / sizeof endings[0]; e++)
        if (ends_with(name, endings[e]))
            return true;
    return false;
}

/* Tensors that each of a file's two encoders loads for itself: their names do not say whose they
 * are. */
static bool is_loaded_twice(const char *name)
{
    static const char *const beginnings[] = {"v.class_embd", "v.patch_embd.", "v.norm_embd."};

    for (size_t b = 0; b < sizeof beginnings / sizeof beginnings[0]; b++)
        if (strncmp(name, beginnings[b], strlen(beginnings[b])) == 0)
            return true;
    return false;
}

/* Qwen 3's stacked results belong to a layer by number, of either encoder. */
static bool is_stacked_twice(const struct dgo_model *projector, const char *name)
{
    static const char beginning[] = "v.deepstack.";
    const size_t length = sizeof beginning - 1;

    return strncmp(name, beginning, length) == 0 &&
           strtoull(name + length, NULL, 10) < memory_key_number(projector, "audio.block_count");
}

static uint64_t loaded_bytes(const struct dgo_model *projector)
{
    const bool with_sounds = hears(projector), with_both = with_sounds && sees(projector);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < projector->tensor_count; i++) {
        const char *name = projector->tensor[i].name;
        const bool of_sounds = strncmp(name, "a.", 2) == 0 || strncmp(name, "mm.a.", 5) == 0;

        const uint64_t padded = dgo_pad_u64(projector->tensor[i].size_bytes, MEMORY_DEVICE_ALIGN);

        if (!is_kept_elsewhere(name) && (with_sounds || !of_sounds))
            bytes += padded;
        if (with_both && (is_loaded_twice(name) || is_stacked_twice(projector, name)))
            bytes += padded;
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
    struct encoder_need seeing = {0}, hearing = {0};
    const bool seen = !sees(projector) || encoder_need_of(projector, false, use, &seeing);
    const bool heard = !hears(projector) || encoder_need_of(projector, true, use, &hearing);
    const uint64_t compute = seeing.compute_bytes + hearing.compute_bytes;
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
        to->compute_bytes += compute;
        if (!seen || !heard)
            to->compute_source = DGO_FIGURE_BOUND;
        estimate->host.compute_bytes += seeing.input_bytes + hearing.input_bytes;
    } else {
        estimate->host.weights_bytes += weights;
        estimate->host.compute_bytes += compute;
    }
    dgo_estimate_judge(estimate);
    return DGO_OK;
}
