/* llama_cpp_flags.c - a user's llama-server flags to exact settings, with the engine's defaults for
 * what is not given. */
#include "llama_cpp_flags.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What is not computed yet, as the end of "-ot is not supported: ". */
static const char *const refusals[ACTION_COUNT] = {
    [ACTION_CPU_FFN] = "feed-forward weights kept on the host are not computed",
    [ACTION_MOE_CACHE] = "the cache of experts on the GPUs is not computed",
    [ACTION_SPECULATION] = "the memory of a draft model is not computed",
    [ACTION_OVERRIDE] = "placing single tensors is not computed; whole layers (-ngl, -ts) and the "
                        "experts of the first layers (-ncmoe) are",
    [ACTION_VISION] = "the memory of a vision projector is not computed",
    [ACTION_REMOTE] = "devices of other machines are not computed",
    [ACTION_ADAPTER] = "the memory of adapters is not computed",
    [ACTION_EMBEDDING] = "embedding and reranking servers keep other outputs, which are not "
                         "computed",
    [ACTION_METADATA] = "the model is computed as its file says",
    [ACTION_SLOT_CONTEXT] = "give the whole context with -c instead",
    [ACTION_DRAFT] = "the memory of a draft model is not computed",
    [ACTION_DEVICE_SAMPLING] = "sampling on the GPUs is not computed",
    [ACTION_OTHER_MODEL] = "the model is the file given before the flags",
};

/* What was read so far; -1 stands for "the engine chooses". */
struct flag_reader {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    uint32_t build; /* 0: the newest */
    struct dgo_error *err;
    struct dgo_settings settings;
    int64_t slots, gpu_layers, main_gpu, unified;
    bool devices_given;
};

static enum dgo_status bad_value(const struct flag_reader *reader, const char *flag,
                                 const char *value, const char *wanted)
{
    char text[64];

    dgo_text_copy_escaped(text, sizeof text, value, strlen(value));
    return dgo_fail(reader->err, DGO_EUSAGE, "%s takes %s, not '%s'", flag, wanted, text);
}

/* A whole number within [least, most]; the engine itself would also take "12abc" as 12. */
static enum dgo_status number(const struct flag_reader *reader, const char *flag, const char *value,
                              int64_t least, int64_t most, int64_t *result)
{
    long long parsed;
    char *end;

    errno = 0;
    parsed = strtoll(value, &end, 10);
    if (end == value || *end || errno || parsed < least || parsed > most)
        return dgo_fail(reader->err, DGO_EUSAGE, "%s takes a number from %lld to %lld, not '%.40s'",
                        flag, (long long)least, (long long)most, value);
    *result = parsed;
    return DGO_OK;
}

static enum dgo_status number_u32(const struct flag_reader *reader, const char *flag,
                                  const char *value, uint32_t *result)
{
    int64_t parsed = 0;
    const enum dgo_status status = number(reader, flag, value, 0, INT32_MAX, &parsed);

    if (status == DGO_OK)
        *result = (uint32_t)parsed;
    return status;
}

/* The words of the engine's is_truthy, is_falsey and is_autoy. */
static bool is_one_of(const char *value, const char *const words[4])
{
    for (int i = 0; i < 4; i++)
        if (words[i] && strcmp(value, words[i]) == 0)
            return true;
    return false;
}

static enum dgo_status read_flash_attention(struct flag_reader *reader, const char *flag,
                                            const char *value)
{
    /* auto means on wherever a card can do it, and all that are planned for can. */
    static const char *const on[4] = {"on", "enabled", "true", "1"};
    static const char *const off[4] = {"off", "disabled", "false", "0"};
    static const char *const by_itself[4] = {"auto", "-1"};

    if (is_one_of(value, on) || is_one_of(value, by_itself))
        reader->settings.flash_attention = DGO_FA_ON;
    else if (is_one_of(value, off))
        reader->settings.flash_attention = DGO_FA_OFF;
    else
        return bad_value(reader, flag, value, "on, off or auto");
    return DGO_OK;
}

static enum dgo_status read_gpu_layers(struct flag_reader *reader, const char *flag,
                                       const char *value)
{
    if (strcmp(value, "auto") == 0 || strcmp(value, "all") == 0) {
        reader->gpu_layers = -1;
        return DGO_OK;
    }
    return number(reader, flag, value, -2, INT32_MAX, &reader->gpu_layers);
}

static enum dgo_status read_split_mode(struct flag_reader *reader, const char *flag,
                                       const char *value)
{
    if (strcmp(value, "none") == 0)
        reader->settings.split_mode = DGO_SPLIT_NONE;
    else if (strcmp(value, "layer") == 0)
        reader->settings.split_mode = DGO_SPLIT_LAYER;
    else if (strcmp(value, "row") == 0 || strcmp(value, "tensor") == 0)
        return dgo_fail(reader->err, DGO_EUNSUPPORTED,
                        "%s %s is not supported: only whole layers (-sm layer) and one card "
                        "(-sm none) are computed",
                        flag, value);
    else
        return bad_value(reader, flag, value, "none, layer, row or tensor");
    return DGO_OK;
}

/* "3,1", "3/1", "3,,1": shares apart by any run of commas and slashes. */
static enum dgo_status read_tensor_split(struct flag_reader *reader, const char *flag,
                                         const char *value)
{
    static const char wanted[] = "shares like 3,1 (at most 16)";
    float shares[DGO_GPU_MAX] = {0};
    uint32_t count = 0;

    for (const char *at = value; *at; at += strspn(at, ",/")) {
        char *end;
        const float share = strtof(at, &end);

        if (end == at || (*end && *end != ',' && *end != '/') || !isfinite(share) || share < 0 ||
            count == DGO_GPU_MAX)
            return bad_value(reader, flag, value, wanted);
        shares[count++] = share;
        at = end;
    }
    if (count == 0)
        return bad_value(reader, flag, value, wanted);
    memcpy(reader->settings.tensor_split, shares, sizeof shares);
    reader->settings.tensor_split_given = true;
    return DGO_OK;
}

/* The machine's cards as an engine that sees them all would call them. */
static bool gpu_named(const struct dgo_machine *machine, const char *name, size_t length,
                      uint32_t *gpu)
{
    uint32_t all[DGO_GPU_MAX];

    for (uint32_t i = 0; i < machine->gpu_count; i++)
        all[i] = i;
    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        char candidate[LLAMA_DEVICE_NAME_MAX];

        llama_cpp_device_name(machine, all, machine->gpu_count, i, candidate);
        if (strlen(candidate) == length && strncasecmp(candidate, name, length) == 0) {
            *gpu = i;
            return true;
        }
    }
    return false;
}

static enum dgo_status no_such_device(const struct flag_reader *reader, const char *flag,
                                      const char *name, size_t length)
{
    char names[DGO_GPU_MAX * LLAMA_DEVICE_NAME_MAX + 16];
    struct dgo_text text = DGO_TEXT(names);
    uint32_t all[DGO_GPU_MAX];
    char shown[LLAMA_DEVICE_NAME_MAX * 2];

    for (uint32_t i = 0; i < reader->machine->gpu_count; i++)
        all[i] = i;
    for (uint32_t i = 0; i < reader->machine->gpu_count; i++) {
        char device[LLAMA_DEVICE_NAME_MAX];

        llama_cpp_device_name(reader->machine, all, reader->machine->gpu_count, i, device);
        dgo_text_addf(&text, "%s%s", i ? ", " : "", device);
    }
    dgo_text_copy_escaped(shown, sizeof shown, name, length);
    return dgo_fail(reader->err, DGO_EUSAGE, "%s names '%s'; this machine has %s", flag, shown,
                    names[0] ? names : "no GPU");
}

static enum dgo_status read_device(struct flag_reader *reader, const char *flag, const char *value)
{
    struct dgo_settings *settings = &reader->settings;

    settings->device_count = 0;
    reader->devices_given = true;
    if (strcmp(value, "none") == 0)
        return DGO_OK;
    for (const char *at = value;;) {
        const size_t length = strcspn(at, ",");
        uint32_t gpu = 0;

        if (!gpu_named(reader->machine, at, length, &gpu))
            return no_such_device(reader, flag, at, length);
        for (uint32_t d = 0; d < settings->device_count; d++)
            if (settings->device_gpu[d] == gpu)
                return dgo_fail(reader->err, DGO_EUSAGE, "%s names '%.*s' twice", flag, (int)length,
                                at);
        settings->device_gpu[settings->device_count++] = gpu;
        if (!at[length])
            return DGO_OK;
        at += length + 1;
    }
}

static enum dgo_status read_kv_type(struct flag_reader *reader, const char *flag, const char *value,
                                    enum dgo_kv_type *type)
{
    struct dgo_error err = {0};

    if (dgo_kv_type_parse(value, type, &err) != DGO_OK)
        return bad_value(reader, flag, value,
                         "f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0 or q5_1");
    return DGO_OK;
}

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
    const enum dgo_status status = number(reader, flag, value, 0, INT32_MAX, &asked);

    return status == DGO_OK && asked ? refuse(reader, flag, action) : status;
}

static enum dgo_status with_value(struct flag_reader *reader, enum flag_action action,
                                  const char *flag, const char *value)
{
    struct dgo_settings *settings = &reader->settings;

    switch (action) {
    case ACTION_CTX:
        return number_u32(reader, flag, value, &settings->ctx_tokens);
    case ACTION_BATCH:
        return number_u32(reader, flag, value, &settings->batch_tokens);
    case ACTION_UBATCH:
        return number_u32(reader, flag, value, &settings->ubatch_tokens);
    case ACTION_N_CPU_MOE:
        return number_u32(reader, flag, value, &settings->cpu_moe_layer_count);
    case ACTION_SLOTS:
        return number(reader, flag, value, -1, 256, &reader->slots);
    case ACTION_MAIN_GPU:
        return number(reader, flag, value, INT32_MIN, INT32_MAX, &reader->main_gpu);
    case ACTION_FLASH_ATTENTION:
        return read_flash_attention(reader, flag, value);
    case ACTION_KEY_TYPE:
        return read_kv_type(reader, flag, value, &settings->key_type);
    case ACTION_VALUE_TYPE:
        return read_kv_type(reader, flag, value, &settings->value_type);
    case ACTION_GPU_LAYERS:
        return read_gpu_layers(reader, flag, value);
    case ACTION_SPLIT_MODE:
        return read_split_mode(reader, flag, value);
    case ACTION_TENSOR_SPLIT:
        return read_tensor_split(reader, flag, value);
    case ACTION_DEVICE:
        return read_device(reader, flag, value);
    case ACTION_CPU_FFN:
    case ACTION_MOE_CACHE:
        return unless_zero(reader, flag, value, action);
    case ACTION_SPECULATION: /* guessing from n-grams needs no second model */
        return strstr(value, "draft") ? refuse(reader, flag, action) : DGO_OK;
    default:
        return refuse(reader, flag, action);
    }
}

static enum dgo_status without_value(struct flag_reader *reader, enum flag_action action,
                                     const char *flag)
{
    struct dgo_settings *settings = &reader->settings;

    switch (action) {
    case ACTION_FLASH_ATTENTION: /* builds before it took a value */
        settings->flash_attention = DGO_FA_ON;
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
    case ACTION_SWA_FULL:
        settings->swa_full = true;
        break;
    case ACTION_CPU_MOE:
        settings->cpu_moe_layer_count = reader->model->layer_count;
        break;
    default:
        return refuse(reader, flag, action);
    }
    return DGO_OK;
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

/* The engine takes "--ctx_size" for "--ctx-size". */
static void normalise(char flag[DGO_FLAG_TEXT_MAX * 2], const char *arg)
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

static enum dgo_status read_all(struct flag_reader *reader, const char *const *args,
                                uint32_t arg_count)
{
    uint32_t at = 0;

    /* A whole command line may have been pasted. */
    if (arg_count > 0 && args[0][0] != '-') {
        const char *slash = strrchr(args[0], '/');

        at = strncmp(slash ? slash + 1 : args[0], "llama-server", 12) == 0;
    }
    while (at < arg_count) {
        char flag[DGO_FLAG_TEXT_MAX * 2];
        const struct flag_row *row;
        enum dgo_status status = DGO_OK;
        uint32_t values;

        normalise(flag, args[at]);
        row = llama_cpp_flag_row(flag);
        if (!row)
            return unknown_flag(reader, flag);
        values = values_of(reader, row);
        if (values > arg_count - at - 1)
            return dgo_fail(reader->err, DGO_EUSAGE, "%s needs a value", flag);
        if (row->action != ACTION_SKIPPED)
            status = values ? with_value(reader, row->action, flag, args[at + 1])
                            : without_value(reader, row->action, flag);
        if (status != DGO_OK)
            return status;
        at += 1 + values;
    }
    return DGO_OK;
}

/* All cards, or with -sm none the one of -mg; a negative one means none. */
static enum dgo_status settle_devices(struct flag_reader *reader)
{
    struct dgo_settings *settings = &reader->settings;

    if (!reader->devices_given)
        for (uint32_t g = 0; g < reader->machine->gpu_count; g++)
            settings->device_gpu[settings->device_count++] = g;
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

/* The engine counts blocks that it does not load (multi-token prediction) as layers too. */
static void settle_layers(struct flag_reader *reader)
{
    const uint32_t all = reader->model->layer_count + reader->model->mtp_layer_count + 1;
    const bool given = reader->gpu_layers >= 0 && reader->gpu_layers < (int64_t)all;

    reader->settings.gpu_layer_count = given ? (uint32_t)reader->gpu_layers : all;
    if (reader->settings.device_count == 0)
        reader->settings.gpu_layer_count = 0;
}

static enum dgo_status settle(struct flag_reader *reader)
{
    struct dgo_settings *settings = &reader->settings;
    const bool automatic = reader->slots == -1;
    const bool newer = reader->build == 0 || reader->build >= LLAMA_AUTO_SLOTS_BUILD;
    const enum dgo_status status = settle_devices(reader);

    if (status != DGO_OK)
        return status;
    settle_layers(reader);
    if (reader->slots == 0)
        return dgo_fail(reader->err, DGO_EUSAGE, "-np takes 1 or more, or -1 for automatic");
    settings->slot_count = !automatic ? (uint32_t)reader->slots : newer ? LLAMA_AUTO_SLOTS : 1;
    settings->kv_unified = reader->unified >= 0 ? reader->unified == 1 : automatic && newer;
    if (settings->ctx_tokens == 0)
        settings->ctx_tokens = reader->model->context_length;
    if (settings->ctx_tokens == 0)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "the model does not say its context length; give one with -c");
    if (settings->batch_tokens == 0)
        return dgo_fail(reader->err, DGO_EUSAGE, "-b takes 1 or more");
    if (settings->ubatch_tokens == 0) /* the engine's meaning of 0 */
        settings->ubatch_tokens = settings->batch_tokens;
    if (settings->cpu_moe_layer_count > reader->model->layer_count)
        settings->cpu_moe_layer_count = reader->model->layer_count;
    return DGO_OK;
}

enum dgo_status llama_cpp_read_flags(const struct dgo_machine *machine,
                                     const struct dgo_model *model,
                                     const struct dgo_engine_rules *rules, const char *const *args,
                                     uint32_t arg_count, struct dgo_settings *settings,
                                     struct dgo_error *err)
{
    struct flag_reader reader = {
        .machine = machine,
        .model = model,
        .build = rules ? rules->build : 0,
        .err = err,
        .slots = -1,
        .gpu_layers = -1,
        .unified = -1,
        .settings = {.batch_tokens = LLAMA_BATCH_TOKENS,
                     .ubatch_tokens = LLAMA_UBATCH_TOKENS,
                     .key_type = DGO_KV_F16,
                     .value_type = DGO_KV_F16,
                     .flash_attention = DGO_FA_ON,
                     .op_offload = true},
    };
    enum dgo_status status = read_all(&reader, args, arg_count);

    if (status == DGO_OK)
        status = settle(&reader);
    if (status == DGO_OK)
        *settings = reader.settings;
    return status;
}
