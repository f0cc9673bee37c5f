/* llama_cpp_flag_settle.c - what flags mean together, when all have been read: devices, layers,
 * slots, draft, projector. */
#include "llama_cpp_flags.h"

#include "dgo_units.h"

#include <string.h>

/* llama_prepare_model_devices: servers come first, to save traffic; where all are one device they
 * come last, as they were registered. */
static void take_visible(struct flag_reader *reader)
{
    struct dgo_settings *settings = &reader->flags->settings;
    const bool remote_first = settings->split_mode != DGO_SPLIT_TENSOR;

    for (int turn = 0; turn < 2; turn++)
        for (uint32_t i = 0; i < reader->visible_count; i++)
            if (flag_is_remote(reader, reader->visible[i]) == (remote_first == (turn == 0)))
                settings->device_gpu[settings->device_count++] = reader->visible[i];
}

static void note_remote(struct flag_reader *reader)
{
    struct dgo_settings *settings = &reader->flags->settings;

    for (uint32_t d = 0; d < settings->device_count; d++)
        settings->remote = settings->remote || flag_is_remote(reader, settings->device_gpu[d]);
}

/* All cards that are seen, or with -sm none the one of -mg; a negative one means none. */
static enum dgo_status settle_devices(struct flag_reader *reader)
{
    struct dgo_settings *settings = &reader->flags->settings;

    if (!reader->devices_given)
        take_visible(reader);
    note_remote(reader);
    if (settings->split_mode != DGO_SPLIT_NONE || settings->device_count == 0)
        return DGO_OK;
    if (reader->main_gpu >= (int64_t)settings->device_count)
        return dgo_fail(reader->err, DGO_EUSAGE, "-mg %lld: the engine sees %u devices, from 0 on",
                        (long long)reader->main_gpu, (unsigned)settings->device_count);
    if (reader->main_gpu < 0) {
        settings->device_count = 0;
        return DGO_OK;
    }
    settings->device_gpu[0] = settings->device_gpu[reader->main_gpu];
    settings->device_count = 1;
    return DGO_OK;
}

/* The place of a card among the settings' devices; -1: it is none of them. */
static int32_t place_of(const struct dgo_settings *settings, uint32_t gpu)
{
    for (uint32_t d = 0; d < settings->device_count; d++)
        if (settings->device_gpu[d] == gpu)
            return (int32_t)d;
    return -1;
}

/* Until now an override names a card. */
static void settle_overrides(const struct dgo_settings *settings, struct dgo_override *override)
{
    for (uint32_t i = 0; i < settings->override_count; i++) {
        struct dgo_override *row = &override[i];

        if (row->device == DGO_OVERRIDE_HOST)
            continue;
        row->device = place_of(settings, (uint32_t)row->device);
        if (row->device < 0)
            row->device = DGO_OVERRIDE_UNUSED;
    }
}

static void name_devices(struct flag_reader *reader)
{
    struct dgo_flags *flags = reader->flags;

    for (uint32_t d = 0; d < flags->settings.device_count; d++)
        for (uint32_t i = 0; i < reader->visible_count; i++)
            if (reader->visible[i] == flags->settings.device_gpu[d])
                flag_device_name(reader, i, flags->device_name[d]);
}

/* The engine counts blocks that it does not load (multi-token prediction) as layers too. */
static void settle_layers(struct flag_reader *reader)
{
    const struct dgo_model *model = reader->source->model;
    struct dgo_settings *settings = &reader->flags->settings;
    const uint32_t all = model->layer_count + model->mtp_layer_count + 1;
    const bool given = reader->gpu_layers >= 0 && reader->gpu_layers < (int64_t)all;

    settings->gpu_layer_count = given ? (uint32_t)reader->gpu_layers : all;
    if (settings->device_count == 0)
        settings->gpu_layer_count = 0;
}

/* On devices of its own; on one of them it is not split. */
static void take_draft_devices(struct dgo_settings *draft, const struct dgo_settings *own)
{
    draft->device_count = own->device_count;
    memcpy(draft->device_gpu, own->device_gpu, sizeof own->device_gpu);
    if (own->device_count == 0)
        draft->gpu_layer_count = 0;
    if (own->device_count == 1)
        draft->split_mode = DGO_SPLIT_LAYER;
}

/* common_base_params_to_speculative: the draft follows the model in all but what has flags of its
 * own; on one device of its own it is not split. */
static void settle_draft(struct flag_reader *reader)
{
    struct dgo_flags *flags = reader->flags;
    struct dgo_settings *draft = &flags->draft;
    const struct dgo_settings own = *draft;

    *draft = flags->settings;
    draft->override = own.override;
    draft->override_count = own.override_count;
    draft->key_type = own.key_type;
    draft->value_type = own.value_type;
    draft->cpu_moe_layer_count = own.cpu_moe_layer_count;
    draft->own_draft = own.own_draft;
    draft->output_row_count = draft->slot_count;
    draft->embeds = draft->samples_on_device = false;
    draft->pooling = DGO_POOLING_UNSAID;
    if (reader->draft_ubatch > 0)
        draft->ubatch_tokens = (uint32_t)reader->draft_ubatch;
    draft->gpu_layer_count =
        reader->draft_layers >= 0 ? (uint32_t)reader->draft_layers : DGO_LAYER_MAX * 2;
    if (reader->draft_devices_given)
        take_draft_devices(draft, &own);
    settle_overrides(draft, flags->draft_override);
}

/* A draft model without a word about its kind is of the kind that its file shows. */
static void settle_guesses(struct flag_reader *reader)
{
    struct dgo_flags *flags = reader->flags;
    const bool mtp = reader->guesses >> GUESS_DRAFT_MTP & 1;

    const bool idle = reader->build == 0 || reader->build >= LLAMA_IDLE_DRAFT_BUILD;

    if (!reader->guesses_given && flags->draft_model && !idle)
        reader->guesses = 1 << GUESS_DRAFT_SIMPLE;
    flags->draft_by_file = !reader->guesses_given;
    for (int guess = GUESS_DRAFT_EAGLE3; guess <= GUESS_DRAFT_DSPARK; guess++)
        flags->draft_fed = flags->draft_fed || reader->guesses >> guess & 1;
    flags->draft.own_draft = mtp && flags->draft_model;
    flags->settings.own_draft = mtp && !flags->draft_model;
    flags->settings.draft_key_type = flags->draft.key_type;
    flags->settings.draft_value_type = flags->draft.value_type;
    flags->settings.draft_ubatch_tokens = (uint32_t)reader->draft_ubatch;
}

/* Of hidden states all are wanted; a pooling alone is enough, which then does nothing else. */
static bool wants_all_rows(const struct dgo_settings *settings)
{
    return settings->embeds || settings->pooling > DGO_POOLING_NONE;
}

/* With guesses to verify a server wants a row of logits for each of them and one more; what a
 * next-token block guessed in vain is gone back from. */
static void settle_rows(struct flag_reader *reader)
{
    struct dgo_flags *flags = reader->flags;
    int64_t most = 0;

    if (wants_all_rows(&flags->settings))
        flags->settings.output_row_count = flags->settings.batch_tokens;
    else if (reader->batch < 0) /* the engine's least of both */
        flags->settings.output_row_count = 1;
    for (uint32_t guess = 0; guess < GUESS_COUNT && flags->settings.output_row_count == 0; guess++)
        if (reader->guesses >> guess & 1 && reader->guess_tokens[guess] > most)
            most = reader->guess_tokens[guess];
    if (most > 0)
        flags->settings.output_row_count = (uint32_t)dgo_min_u64(
            flags->settings.slot_count * (uint64_t)(1 + most), flags->settings.batch_tokens);
    flags->draft_tokens = (uint32_t)reader->guess_tokens[GUESS_DRAFT_MTP];
    if (flags->settings.own_draft || flags->draft.own_draft)
        flags->settings.rollback_tokens = flags->draft_tokens;
}

/* The first of -dev, else the first card that is seen: it does not know of -sm none and -mg, nor of
 * the order of servers, so this comes before the devices are settled. */
static void settle_projector(struct flag_reader *reader)
{
    const struct dgo_settings *settings = &reader->flags->settings;
    int64_t gpu = reader->projector_gpu;

    if (gpu == FLAG_PROJECTOR_HOST)
        gpu = -1;
    else if (gpu < 0 && reader->devices_given)
        gpu = settings->device_count > 0 ? (int64_t)settings->device_gpu[0] : -1;
    else if (gpu < 0 && reader->visible_count > 0)
        gpu = reader->visible[0];
    reader->flags->projector_gpu = (int32_t)gpu;
}

/* Negative ones are counts without a sign to the engine, which takes as many as there can be.  An
 * embedding server computes a prompt at once, as it compares them: with their signs. */
static enum dgo_status settle_batch(struct flag_reader *reader)
{
    struct dgo_settings *settings = &reader->flags->settings;
    int64_t batch = reader->batch;

    if (settings->embeds && (batch > reader->ubatch || batch < 0))
        batch = reader->ubatch;
    if (batch == 0)
        return dgo_fail(reader->err, DGO_EUSAGE, "%s takes 1 or more",
                        reader->batch == 0 ? "-b" : "-ub with --embedding");
    settings->batch_tokens = batch < 0 ? INT32_MAX : (uint32_t)batch;
    settings->ubatch_tokens = reader->ubatch < 0    ? INT32_MAX
                              : reader->ubatch == 0 ? settings->batch_tokens
                                                    : (uint32_t)reader->ubatch;
    if (reader->batch < 0 && !wants_all_rows(settings) && settings->slot_count > 1)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "-b %lld: the engine ends at its start with so many tokens at once for "
                        "more than one slot; give a number above 0",
                        (long long)reader->batch);
    return DGO_OK;
}

/* At its start the engine computes two tokens, and wants a row of logits for each slot. */
static enum dgo_status check_batch(const struct flag_reader *reader)
{
    enum { TOKENS_TRIED = 2 };
    const struct dgo_settings *settings = &reader->flags->settings;
    const uint32_t slots = settings->slot_count;
    const uint32_t least = slots > TOKENS_TRIED ? slots : TOKENS_TRIED;

    if (reader->build > 0 && reader->build < LLAMA_BATCH_LEAST_BUILD)
        return DGO_OK;
    if (settings->batch_tokens < least)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "-b %u: the engine ends at its start with fewer than %u tokens at once for "
                        "%u slots; give that many, or fewer slots with -np",
                        (unsigned)settings->batch_tokens, (unsigned)least, (unsigned)slots);
    if (settings->ctx_tokens < TOKENS_TRIED)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "-c %u: the engine ends at its start with fewer than %d tokens; give as "
                        "many as a prompt and its answer have",
                        (unsigned)settings->ctx_tokens, TOKENS_TRIED);
    return DGO_OK;
}

enum dgo_status flag_settle(struct flag_reader *reader)
{
    struct dgo_settings *settings = &reader->flags->settings;
    const struct dgo_model *model = reader->source->model;
    const bool automatic = reader->slots < 0;
    const bool newer = reader->build == 0 || reader->build >= LLAMA_AUTO_SLOTS_BUILD;
    enum dgo_status status;

    settle_projector(reader);
    status = settle_devices(reader);
    if (status != DGO_OK)
        return status;
    settle_overrides(settings, reader->flags->override);
    name_devices(reader);
    settle_layers(reader);
    if (reader->slots == 0)
        return dgo_fail(reader->err, DGO_EUSAGE, "-np takes 1 or more, or -1 for automatic");
    settings->slot_count = !automatic ? (uint32_t)reader->slots : newer ? LLAMA_AUTO_SLOTS : 1;
    /* Automatic slots share one cache, whatever was said about it. */
    settings->kv_unified = (automatic && newer) || reader->unified == 1;
    /* -c 0 asks for the model's own, whatever one slot is limited to. */
    if (reader->slot_context > 0 && !reader->ctx_given)
        settings->ctx_tokens =
            (uint32_t)dgo_min_u64(settings->slot_count * (uint64_t)reader->slot_context, INT32_MAX);
    if (settings->ctx_tokens == 0)
        settings->ctx_tokens = model->context_length;
    if (settings->ctx_tokens == 0)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "the model does not say its context length; give one with -c");
    status = settle_batch(reader);
    if (status == DGO_OK)
        status = check_batch(reader);
    if (status != DGO_OK)
        return status;
    settle_guesses(reader);
    const uint32_t blocks = model->layer_count + (settings->own_draft ? model->mtp_layer_count : 0);

    if (settings->cpu_moe_layer_count > blocks)
        settings->cpu_moe_layer_count = blocks;
    settle_draft(reader);
    settle_rows(reader);
    /* fit.cpp gives up when any of these is given. */
    reader->flags->fit = reader->flags->fit && newer && reader->gpu_layers == FLAG_LAYERS_AUTO &&
                         settings->split_mode != DGO_SPLIT_TENSOR &&
                         !settings->tensor_split_given && !reader->flags->settings.override_count &&
                         settings->device_count > 0;
    return DGO_OK;
}
