/* llama_cpp_flags.c - a user's llama-server flags to exact settings, with the engine's defaults for
 * what is not given. */
#include "llama_cpp_flags.h"

#include <string.h>

/* What is not computed yet, as the end of "--rpc is not supported: ". */
static const char *const refusals[ACTION_COUNT] = {
    [ACTION_MOE_CACHE] = "the cache of experts on the GPUs is not computed; leave it out, and "
                         "count its MiB besides",
    [ACTION_GONE_DRAFT_TOKENS] = "use --spec-draft-n-max, or --spec-ngram-mod-n-max",
    [ACTION_GONE_DRAFT_LEAST] = "use --spec-draft-n-min, or --spec-ngram-mod-n-min",
    [ACTION_GONE_NGRAM] = "use that of a kind of guesses, like --spec-ngram-simple-size-n",
    [ACTION_GONE_LOADING] = "use --load-mode with none, mmap, mlock or dio",
    [ACTION_GONE] = "leave it out",
    [ACTION_VISION] = "a file that is still to be fetched is not computed; give it with --mmproj",
    [ACTION_ADAPTER] = "the memory of control vectors is not computed; leave it out: they are a "
                       "row of each layer",
    [ACTION_METADATA] = "the model is computed as its file says; leave it out if it "
                        "changes no size",
    [ACTION_DRAFT] = "a file that is still to be fetched is not computed; give it with -md",
    [ACTION_OTHER_MODEL] = "the model is the file given before the flags; fetch it, and give "
                           "that file",
};

enum { FIT_MARGIN_MIB = 1024 }; /* --fit-target */

static enum dgo_status refuse(const struct flag_reader *reader, const char *flag,
                              enum flag_action action)
{
    return dgo_fail(reader->err, DGO_EUNSUPPORTED, "%s is not supported: %s", flag,
                    refusals[action]);
}

/* Flags that may be given, as long as they ask for nothing. */
static enum dgo_status unless_zero(const struct flag_reader *reader, const char *flag,
                                   const char *value, enum flag_action action)
{
    int64_t asked = 0;
    const enum dgo_status status = flag_number(reader, flag, value, 0, INT32_MAX, &asked);

    return status == DGO_OK && asked ? refuse(reader, flag, action) : status;
}

static enum dgo_status read_projector_device(struct flag_reader *reader, const char *flag,
                                             const char *value)
{
    uint32_t gpu = 0;

    if (strcmp(value, "none") == 0) {
        reader->projector_gpu = FLAG_PROJECTOR_HOST;
        return DGO_OK;
    }
    if (!flag_gpu_named(reader, value, strlen(value), &gpu))
        return flag_bad_value(reader, flag, value, "the name of a device");
    reader->projector_gpu = gpu;
    return DGO_OK;
}

/* Anything below one stands for the projector's own number. */
static enum dgo_status read_picture_tokens(struct flag_reader *reader, const char *flag,
                                           const char *value)
{
    int64_t tokens = 0;
    const enum dgo_status status = flag_number(reader, flag, value, INT32_MIN, INT32_MAX, &tokens);

    reader->flags->picture_tokens = tokens > 0 ? (uint32_t)tokens : 0;
    return status;
}

/* "ngram-simple,draft-simple": lists add up, and one with a "none" in it adds nothing. */
static enum dgo_status read_speculation(struct flag_reader *reader, const char *flag,
                                        const char *value)
{
    static const char *const names[GUESS_COUNT] = {
        [GUESS_DRAFT_SIMPLE] = "draft-simple", [GUESS_DRAFT_MTP] = "draft-mtp",
        [GUESS_DRAFT_EAGLE3] = "draft-eagle3", [GUESS_DRAFT_DFLASH] = "draft-dflash",
        [GUESS_DRAFT_DSPARK] = "draft-dspark", [GUESS_NGRAM_SIMPLE] = "ngram-simple",
        [GUESS_NGRAM_MAP_K] = "ngram-map-k",   [GUESS_NGRAM_MAP_K4V] = "ngram-map-k4v",
        [GUESS_NGRAM_MOD] = "ngram-mod",       [GUESS_NGRAM_CACHE] = "ngram-cache",
    };

    uint32_t kinds = 0;
    bool none = false;

    for (const char *at = value; *at;) {
        const size_t length = strcspn(at, ",");
        uint32_t guess = 0;

        while (guess < GUESS_COUNT &&
               (strlen(names[guess]) != length || memcmp(at, names[guess], length) != 0))
            guess++;
        if (guess < GUESS_COUNT)
            kinds |= UINT32_C(1) << guess;
        else if (length == 4 && memcmp(at, "none", 4) == 0)
            none = true;
        else
            return flag_bad_value(reader, flag, value, "a list of the engine's kinds, or none");
        at += length + (at[length] == ',');
    }
    reader->guesses |= none ? 0 : kinds;
    reader->guesses_given = true;
    return DGO_OK;
}

static enum dgo_status read_pooling(struct flag_reader *reader, const char *flag, const char *value)
{
    static const struct {
        const char *word;
        enum dgo_pooling pooling;
    } words[] = {{"none", DGO_POOLING_NONE},
                 {"mean", DGO_POOLING_MEAN},
                 {"cls", DGO_POOLING_PICKED},
                 {"last", DGO_POOLING_PICKED},
                 {"rank", DGO_POOLING_RANK}};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(value, words[i].word) == 0) {
            reader->flags->settings.pooling = words[i].pooling;
            return DGO_OK;
        }
    return flag_bad_value(reader, flag, value, "none, mean, cls, last or rank");
}

static enum dgo_status read_draft_tokens(struct flag_reader *reader, const char *flag,
                                         const char *value)
{
    int64_t *tokens = &reader->guess_tokens[GUESS_DRAFT_SIMPLE];
    const enum dgo_status status = flag_number(reader, flag, value, 0, UINT16_MAX, tokens);

    for (int guess = GUESS_DRAFT_MTP; guess <= GUESS_DRAFT_DSPARK; guess++)
        reader->guess_tokens[guess] = *tokens;
    return status;
}

/* What a flag means that only older builds have. */
static enum dgo_status read_gone(struct flag_reader *reader, const char *flag,
                                 enum flag_action action, const char *value)
{
    if (reader->build == 0 || reader->build >= LLAMA_GONE_BUILD)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "%s is gone from llama-server since build %d at "
                        "the latest; %s",
                        flag, LLAMA_GONE_BUILD, refusals[action]);
    return action == ACTION_GONE_DRAFT_TOKENS ? read_draft_tokens(reader, flag, value) : DGO_OK;
}

static enum dgo_status read_fit(struct flag_reader *reader, const char *flag, const char *value)
{
    const int truth = flag_truth(value);

    if (truth < 0)
        return flag_bad_value(reader, flag, value, "on or off");
    reader->flags->fit = truth == 1;
    return DGO_OK;
}

/* The least of a list: what every device keeps. */
static enum dgo_status read_fit_target(struct flag_reader *reader, const char *flag,
                                       const char *value)
{
    int64_t mib = 0;
    char first[24] = "";
    const size_t length = strcspn(value, ",/");
    enum dgo_status status;

    if (length < sizeof first)
        memcpy(first, value, length);
    status = flag_number(reader, flag, first, 0, INT32_MAX, &mib);
    if (status == DGO_OK)
        reader->flags->fit_margin_bytes = (uint64_t)mib << 20;
    return status;
}

static enum dgo_status with_value(struct flag_reader *reader, enum flag_action action,
                                  const char *flag, const char *value)
{
    struct dgo_settings *settings = &reader->flags->settings, *draft = &reader->flags->draft;

    switch (action) {
    case ACTION_CTX:
        reader->ctx_given = true;
        return flag_number_u32(reader, flag, value, &settings->ctx_tokens);
    case ACTION_BATCH:
        return flag_number(reader, flag, value, INT32_MIN, INT32_MAX, &reader->batch);
    case ACTION_UBATCH:
        return flag_number(reader, flag, value, INT32_MIN, INT32_MAX, &reader->ubatch);
    case ACTION_SLOT_CONTEXT:
        return flag_number(reader, flag, value, INT32_MIN, INT32_MAX, &reader->slot_context);
    case ACTION_POOLING:
        return read_pooling(reader, flag, value);
    case ACTION_N_CPU_MOE:
        return flag_cpu_experts(reader, flag, value, false);
    case ACTION_SLOTS:
        return flag_number(reader, flag, value, INT32_MIN, 256, &reader->slots);
    case ACTION_MAIN_GPU:
        return flag_number(reader, flag, value, INT32_MIN, INT32_MAX, &reader->main_gpu);
    case ACTION_FLASH_ATTENTION:
        return flag_fused(reader, flag, value);
    case ACTION_KEY_TYPE:
        return flag_kv_type(reader, flag, value, &settings->key_type);
    case ACTION_VALUE_TYPE:
        return flag_kv_type(reader, flag, value, &settings->value_type);
    case ACTION_GPU_LAYERS:
        return flag_layers(reader, flag, value, &reader->gpu_layers);
    case ACTION_SPLIT_MODE:
        return flag_split_mode(reader, flag, value);
    case ACTION_TENSOR_SPLIT:
        return flag_shares(reader, flag, value);
    case ACTION_DEVICE:
        reader->devices_given = true;
        return flag_devices(reader, flag, value, settings);
    case ACTION_REMOTE:
        return flag_servers(reader, flag, value);
    case ACTION_OVERRIDE:
        return flag_override(reader, flag, value, false);
    case ACTION_DRAFT_OVERRIDE:
        return flag_override(reader, flag, value, true);
    case ACTION_CPU_FFN:
        return flag_cpu_ffn(reader, flag, value);
    case ACTION_LORA:
    case ACTION_LORA_SCALED:
        return flag_adapters(reader, flag, value, action == ACTION_LORA_SCALED);
    case ACTION_PROJECTOR:
        reader->flags->projector = value;
        return DGO_OK;
    case ACTION_PROJECTOR_DEVICE:
        return read_projector_device(reader, flag, value);
    case ACTION_PICTURE_TOKENS:
        return read_picture_tokens(reader, flag, value);
    case ACTION_DRAFT_MODEL:
        reader->flags->draft_model = value;
        return DGO_OK;
    case ACTION_DRAFT_KEY_TYPE:
        return flag_kv_type(reader, flag, value, &draft->key_type);
    case ACTION_DRAFT_VALUE_TYPE:
        return flag_kv_type(reader, flag, value, &draft->value_type);
    case ACTION_DRAFT_TOKENS:
        return read_draft_tokens(reader, flag, value);
    case ACTION_DRAFT_UBATCH:
        return flag_number(reader, flag, value, 0, INT32_MAX, &reader->draft_ubatch);
    case ACTION_DRAFT_DEVICE:
        reader->draft_devices_given = true;
        return flag_devices(reader, flag, value, draft);
    case ACTION_DRAFT_LAYERS:
        return flag_layers(reader, flag, value, &reader->draft_layers);
    case ACTION_DRAFT_N_CPU_MOE:
        return flag_cpu_experts(reader, flag, value, true);
    case ACTION_FIT:
        return read_fit(reader, flag, value);
    case ACTION_FIT_TARGET:
        return read_fit_target(reader, flag, value);
    case ACTION_MOE_CACHE:
        return unless_zero(reader, flag, value, action);
    case ACTION_SPECULATION:
        return read_speculation(reader, flag, value);
    case ACTION_NGRAM_SIMPLE:
    case ACTION_NGRAM_MAP_K:
    case ACTION_NGRAM_MAP_K4V:
    case ACTION_NGRAM_MOD:
        return flag_number(
            reader, flag, value, 0, UINT16_MAX,
            &reader->guess_tokens[GUESS_NGRAM_SIMPLE + action - ACTION_NGRAM_SIMPLE]);
    default:
        return refuse(reader, flag, action);
    }
}

static enum dgo_status without_value(struct flag_reader *reader, enum flag_action action,
                                     const char *flag)
{
    struct dgo_settings *settings = &reader->flags->settings;

    switch (action) {
    case ACTION_FLASH_ATTENTION: /* builds before it took a value */
        settings->flash_attention = DGO_FA_ON;
        settings->flash_attention_auto = false;
        break;
    case ACTION_KV_OFFLOAD:
    case ACTION_NO_KV_OFFLOAD:
        settings->kv_on_host = action == ACTION_NO_KV_OFFLOAD;
        break;
    case ACTION_KV_UNIFIED:
    case ACTION_NO_KV_UNIFIED:
        reader->unified = action == ACTION_KV_UNIFIED;
        break;
    case ACTION_OP_OFFLOAD:
    case ACTION_NO_OP_OFFLOAD:
        settings->op_offload = action == ACTION_OP_OFFLOAD;
        break;
    case ACTION_NO_HOST:
        settings->host_plain = true;
        break;
    case ACTION_REPACK:
    case ACTION_NO_REPACK:
        settings->repack_off = action == ACTION_NO_REPACK;
        break;
    case ACTION_SWA_FULL:
        settings->swa_full = true;
        break;
    case ACTION_CPU_MOE:
        settings->cpu_moe_layer_count = DGO_LAYER_MAX;
        break;
    case ACTION_SPECULATION_DEFAULT:
        reader->guesses |= UINT32_C(1) << GUESS_NGRAM_MOD;
        reader->guesses_given = true;
        break;
    case ACTION_DRAFT_CPU_MOE:
        reader->flags->draft.cpu_moe_layer_count = DGO_LAYER_MAX;
        break;
    case ACTION_EMBEDDING:
        settings->embeds = true;
        break;
    case ACTION_DEVICE_SAMPLING:
        settings->samples_on_device = true;
        break;
    case ACTION_RERANKING:
        settings->embeds = true;
        settings->pooling = DGO_POOLING_RANK;
        break;
    case ACTION_PROJECTOR_OFFLOAD:
    case ACTION_NO_PROJECTOR_OFFLOAD:
        reader->projector_gpu = action == ACTION_PROJECTOR_OFFLOAD ? -1 : FLAG_PROJECTOR_HOST;
        break;
    default:
        return refuse(reader, flag, action);
    }
    return DGO_OK;
}

enum dgo_status flag_apply(struct flag_reader *reader, enum flag_action action, const char *flag,
                           const char *value)
{
    if (action >= ACTION_GONE_DRAFT_TOKENS && action <= ACTION_GONE)
        return read_gone(reader, flag, action, value);
    return value ? with_value(reader, action, flag, value) : without_value(reader, action, flag);
}

/* A flag that is not in the table may change memory for all we know: a wrong estimate would be
 * worse than none. */
static enum dgo_status unknown_flag(const struct flag_reader *reader, const char *flag)
{
    const char *nearest = llama_cpp_flag_nearest(flag);
    char shown[64];

    dgo_text_copy_escaped(shown, sizeof shown, flag, strlen(flag));
    if (flag[0] != '-')
        return dgo_fail(reader->err, DGO_EUSAGE, "'%s' is no flag of llama-server", shown);
    if (strchr(flag, '='))
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "'%s': llama-server takes a flag and its value as two words", shown);
    if (nearest)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "'%s' is no flag of llama-server that is known here; did you mean %.*s?",
                        shown, (int)strcspn(nearest, " "), nearest);
    return dgo_fail(reader->err, DGO_EUSAGE,
                    "'%s' is no flag of llama-server that is known here; leave it out if it does "
                    "not change memory",
                    shown);
}

void llama_cpp_flag_normalise(char flag[DGO_FLAG_TEXT_MAX * 2], const char *arg)
{
    dgo_text_copy(flag, DGO_FLAG_TEXT_MAX * 2, arg);
    if (strncmp(flag, "--", 2) == 0)
        for (char *c = flag + 2; *c; c++)
            if (*c == '_')
                *c = '-';
}

static uint32_t values_of(const struct flag_reader *reader, const struct flag_row *row)
{
    if (row->action == ACTION_FLASH_ATTENTION && reader->build > 0 &&
        reader->build < LLAMA_FA_VALUE_BUILD)
        return 0;
    return row->value_count;
}

static enum dgo_status read_all(struct flag_reader *reader)
{
    const char *const *args = reader->source->args;
    const uint32_t arg_count = reader->source->arg_count;
    uint32_t at = 0;
    enum dgo_status first = flag_environment(reader, &at);

    if (first != DGO_OK)
        return first;
    /* A whole command line may have been pasted. */
    if (arg_count > at && args[at][0] != '-') {
        const char *slash = strrchr(args[at], '/');

        at += strncmp(slash ? slash + 1 : args[at], "llama-server", 12) == 0;
    }
    while (at < arg_count) {
        char flag[DGO_FLAG_TEXT_MAX * 2];
        const struct flag_row *row;
        enum dgo_status status = DGO_OK;
        uint32_t values;

        llama_cpp_flag_normalise(flag, args[at]);
        row = llama_cpp_flag_row(flag);
        if (!row)
            return unknown_flag(reader, flag);
        values = values_of(reader, row);
        if (values > arg_count - at - 1)
            return dgo_fail(reader->err, DGO_EUSAGE, "%s needs a value", flag);
        if (row->action != ACTION_SKIPPED)
            status = flag_apply(reader, row->action, flag, values ? args[at + 1] : NULL);
        if (status != DGO_OK)
            return status;
        at += 1 + values;
    }
    return DGO_OK;
}

enum dgo_status llama_cpp_read_flags(const struct dgo_flag_source *source, struct dgo_flags *flags,
                                     struct dgo_error *err)
{
    struct flag_reader reader = {
        .source = source,
        .build = source->rules ? source->rules->build : 0,
        .err = err,
        .flags = flags,
        .slots = -1,
        .batch = LLAMA_BATCH_TOKENS,
        .ubatch = LLAMA_UBATCH_TOKENS,
        .gpu_layers = -1,
        .unified = -1,
        .draft_layers = -1,
        /* The defaults of build 11669. */
        .guess_tokens = {[GUESS_DRAFT_SIMPLE] = LLAMA_DRAFT_TOKENS,
                         [GUESS_DRAFT_MTP] = LLAMA_DRAFT_TOKENS,
                         [GUESS_DRAFT_EAGLE3] = LLAMA_DRAFT_TOKENS,
                         [GUESS_DRAFT_DFLASH] = LLAMA_DRAFT_TOKENS,
                         [GUESS_DRAFT_DSPARK] = LLAMA_DRAFT_TOKENS,
                         [GUESS_NGRAM_SIMPLE] = 48,
                         [GUESS_NGRAM_MAP_K] = 48,
                         [GUESS_NGRAM_MAP_K4V] = 48,
                         [GUESS_NGRAM_MOD] = 64,
                         [GUESS_NGRAM_CACHE] = 8},
        .projector_gpu = -1,
    };
    enum dgo_status status;

    memset(flags, 0, sizeof *flags);
    flags->settings = (struct dgo_settings){.key_type = DGO_KV_F16,
                                            .value_type = DGO_KV_F16,
                                            .flash_attention = DGO_FA_ON,
                                            .flash_attention_auto = true,
                                            .op_offload = true};
    flags->fit = true;
    flags->fit_margin_bytes = (uint64_t)FIT_MARGIN_MIB << 20;
    for (uint32_t i = 0; i < source->machine->gpu_count && !source->visible; i++)
        if (!flag_is_remote(&reader, i))
            reader.visible[reader.visible_count++] = i;
    for (uint32_t i = 0; i < source->visible_count && source->visible; i++)
        reader.visible[reader.visible_count++] = source->visible[i];
    status = read_all(&reader);
    if (status == DGO_OK)
        status = flag_settle(&reader);
    return status;
}
