/* encoder_types.c - the types of projectors whose graph is known. */
#include "encoder.h"

#include <string.h>

#define SCALE_FACTOR "vision.projector.scale_factor"
#define MERGE_SIZE   "vision.spatial_merge_size"

/* Warm-up sides: load_hparams' set_warmup_n_tokens and set_limit_image_tokens of build 11669. */
static const struct encoder_type types[] = {
    {"mlp", 0, 1, NULL, TABLE_CHOSEN, TURN_NONE,
     ENCODER_CLASS_ROW | ENCODER_LLAVA | ENCODER_SWAPPED, end_llava},
    {"gemma3", 0, 4, SCALE_FACTOR, TABLE_ADDED, TURN_NONE, ENCODER_SWAPPED, end_pooled},
    {"gemma4v", 16, 3, SCALE_FACTOR, TABLE_AXES, TURN_BY_TWO,
     ENCODER_RMS | ENCODER_SCALED | ENCODER_CLAMPED | ENCODER_VALUES_NORMED, end_pooled_scaled},
    {"idefics3", 0, 1, SCALE_FACTOR, TABLE_ADDED, TURN_NONE, ENCODER_SWAPPED, end_shuffled},
    {"lfm2", 16, 1, SCALE_FACTOR, TABLE_RESIZED, TURN_NONE, ENCODER_BY_MOST, end_normed_merged},
    {"janus_pro", 0, 1, NULL, TABLE_ADDED, TURN_NONE, 0, end_janus},
    {"phi4", 16, 1, NULL, TABLE_RESIZED, TURN_NONE, 0, end_two},
    {"qwen2vl_merger", 46, 2, MERGE_SIZE, TABLE_NONE, TURN_BY_FOUR,
     ENCODER_TWICE | ENCODER_WINDOWS | ENCODER_SWAPPED, end_blocks},
    {"qwen2.5vl_merger", 46, 2, MERGE_SIZE, TABLE_NONE, TURN_BY_FOUR,
     ENCODER_RMS | ENCODER_TWICE | ENCODER_WINDOWS | ENCODER_SWAPPED, end_blocks},
    {"qwen2.5o", 46, 2, MERGE_SIZE, TABLE_NONE, TURN_BY_FOUR,
     ENCODER_RMS | ENCODER_TWICE | ENCODER_WINDOWS | ENCODER_SWAPPED, end_blocks},
    {"qwen3vl_merger", 46, 2, MERGE_SIZE, TABLE_RESIZED, TURN_BY_FOUR, ENCODER_TWICE, end_blocks},
    {"pixtral", 16, 1, MERGE_SIZE, TABLE_NONE, TURN_BY_TWO, ENCODER_RMS, end_broken_rows},
    {"lightonocr", 16, 1, MERGE_SIZE, TABLE_NONE, TURN_BY_TWO, ENCODER_RMS, end_broken_rows},
    {"internvl", 0, 1, SCALE_FACTOR, TABLE_ADDED, TURN_NONE,
     ENCODER_CLASS_ROW | ENCODER_CLASS_NEEDED | ENCODER_CLASS_COPIED | ENCODER_RMS_6B,
     end_internvl},
    {"llama4", 0, 1, SCALE_FACTOR, TABLE_ADDED, TURN_BY_TWO,
     ENCODER_FLAT | ENCODER_CLASS_ROW | ENCODER_CLASS_NEEDED, end_llama4},
    {"resampler", 0, 1, NULL, TABLE_CHOSEN, TURN_NONE, ENCODER_SWAPPED, end_resampled},
    {"kimivl", 16, 1, SCALE_FACTOR, TABLE_RESIZED, TURN_BY_TWO, 0, end_merged_normed},
    {"glm4v", 46, 2, MERGE_SIZE, TABLE_RESIZED, TURN_BY_FOUR, ENCODER_RMS | ENCODER_TWICE,
     end_glm4v},
    {"cogvlm", 0, 1, NULL, TABLE_ADDED, TURN_NONE,
     ENCODER_CLASS_ROW | ENCODER_CLASS_NEEDED | ENCODER_NORMED_LATE, end_cogvlm},
    {"paddleocr", 28, 2, NULL, TABLE_RESIZED, TURN_BY_FOUR, 0, end_paddle},
    {"dots_ocr", 46, 1, SCALE_FACTOR, TABLE_NONE, TURN_BY_FOUR, ENCODER_RMS | ENCODER_TRUNK_NORM,
     end_dots},
    {"kimik25", 64, 1, SCALE_FACTOR, TABLE_CUBE, TURN_BY_TWO, ENCODER_CAPPED | ENCODER_BY_MOST,
     end_merged_normed},
    {"hunyuanvl", 32, 2, MERGE_SIZE, TABLE_INPUT, TURN_NONE, 0, end_hunyuan},
    {"nemotron_v2_vl", 0, 1, SCALE_FACTOR, TABLE_ADDED, TURN_NONE,
     ENCODER_CLASS_FIRST | ENCODER_CLASS_NEEDED, end_nemotron},
    {"step3vl", 0, 4, SCALE_FACTOR, TABLE_RESIZED, TURN_BY_TWO, 0, end_step3},
    {"exaone4_5", 46, 2, MERGE_SIZE, TABLE_NONE, TURN_BY_FOUR,
     ENCODER_RMS | ENCODER_TWICE | ENCODER_WINDOWS | ENCODER_SWAPPED, end_blocks},
    {"minimax_m3", 16, 2, MERGE_SIZE, TABLE_NONE, TURN_BY_TWO, ENCODER_TWICE, end_minimax},
    {"gemma4uv", 16, 3, SCALE_FACTOR, TABLE_NONE, TURN_NONE,
     ENCODER_NO_LAYERS | ENCODER_WIDE_PATCHES, end_unified},
    {"gemma3nv", 0, 1, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS | ENCODER_DEAF, end_mobile},
    {"minicpmv4_6", 0, 4, SCALE_FACTOR, TABLE_CHOSEN, TURN_NONE,
     ENCODER_MERGER_INSIDE | ENCODER_SWAPPED, end_minicpm46},
    {"youtuvl", 16, 2, MERGE_SIZE, TABLE_NONE, TURN_BY_FOUR, ENCODER_UNFOLDED | ENCODER_WINDOWS_BUT,
     end_youtu},
    {"ldp", 0, 1, NULL, TABLE_CHOSEN, TURN_NONE,
     ENCODER_CLASS_ROW | ENCODER_LLAVA | ENCODER_SWAPPED, end_ldp},
    {"ldpv2", 0, 1, NULL, TABLE_CHOSEN, TURN_NONE,
     ENCODER_CLASS_ROW | ENCODER_LLAVA | ENCODER_SWAPPED, end_ldp2},
    {"adapter", 0, 1, NULL, TABLE_CHOSEN, TURN_NONE, ENCODER_SWAPPED, end_glm_edge},
    {"nemotron_omni", 0, 1, SCALE_FACTOR, TABLE_ADDED, TURN_NONE,
     ENCODER_CLASS_FIRST | ENCODER_CLASS_NEEDED, end_nemotron},
    {"ling3vl", 46, 2, MERGE_SIZE, TABLE_RESIZED, TURN_BY_FOUR, ENCODER_TWICE, end_ling},
    {"deepseek4v", 16, 3, SCALE_FACTOR, TABLE_NONE, TURN_BY_FOUR, ENCODER_RMS, end_deepseek},
    {"dots3note_v", 46, 1, MERGE_SIZE, TABLE_NONE, TURN_BY_FOUR, ENCODER_RMS | ENCODER_TRUNK_NORM,
     end_dots},
    {"muse-glimmer", 32, 2, MERGE_SIZE, TABLE_RESIZED, TURN_BY_TWO, ENCODER_CHOSEN, end_glimmer},
};

/* Of sounds: no picture, so that only the last four columns say something. */
static const struct encoder_type sound_types[] = {
    {"ultravox", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS, end_ultravox},
    {"qwen2a", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS | ENCODER_HALVED, end_qwen2a},
    {"qwen2.5o", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS | ENCODER_HALVED, end_qwen2a},
    {"voxtral", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS, end_voxtral},
    {"musicflamingo", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS | ENCODER_HALVED,
     end_flamingo},
    {"glma", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS, end_glma},
    {"meralion", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS, end_meralion},
    {"qwen3a", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS, end_qwen3a},
    {"dots3note_a", 0, 0, NULL, TABLE_NONE, TURN_ONCE, ENCODER_NO_LAYERS | ENCODER_RMS,
     end_dots_sounds},
    {"gemma4ua", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS | ENCODER_WAVES, end_waves},
    {"lfm2a", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS, end_lfm2a},
    {"parakeet", 0, 0, NULL, TABLE_NONE, TURN_NONE, ENCODER_NO_LAYERS, end_parakeet},
    {"gemma4a", 0, 0, NULL, TABLE_NONE, TURN_NONE,
     ENCODER_NO_LAYERS | ENCODER_RMS | ENCODER_CLAMPED, end_gemma4a},
};

static const struct dgo_model_key *name_of(const struct dgo_model *projector, bool sounds)
{
    const struct dgo_model_key *key = dgo_model_find(projector, "clip.projector_type");

    if (key && key->text && key->length > 0)
        return key;
    return dgo_model_find(projector,
                          sounds ? "clip.audio.projector_type" : "clip.vision.projector_type");
}

const struct encoder_type *encoder_type_of(const struct dgo_model *projector, bool sounds)
{
    const struct dgo_model_key *name = name_of(projector, sounds);
    const struct encoder_type *type = sounds ? sound_types : types;
    const size_t count =
        sounds ? sizeof sound_types / sizeof sound_types[0] : sizeof types / sizeof types[0];

    for (size_t t = 0; name && name->text && t < count; t++)
        if (name->length == strlen(type[t].name) &&
            memcmp(name->text, type[t].name, name->length) == 0)
            return &type[t];
    return NULL;
}
