/* wish.c - options into an intent, with the machine at hand: indexes must be of cards it has. */
#include "wish.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "0,2" -> bits 0 and 2. */
static enum dgo_status parse_gpu_list(const struct dgo_machine *machine, const char *list,
                                      uint32_t *mask, struct dgo_error *err)
{
    *mask = 0;
    for (const char *at = list;; at++) {
        const size_t length = strcspn(at, ",");
        char word[24];
        uint64_t index;

        snprintf(word, sizeof word, "%.*s", (int)length, at);
        if (length >= sizeof word ||
            dgo_u64_parse(word, "--use", 0, DGO_GPU_MAX - 1, &index, NULL) != DGO_OK)
            return dgo_fail(err, DGO_EUSAGE, "--use: '%.40s' is not a list of GPU indexes like 0,1",
                            list);
        if (index >= machine->gpu_count)
            return dgo_fail(err, DGO_EUSAGE,
                            "--use: there is no GPU %" PRIu64 ", the machine has %" PRIu32
                            " (0 to %" PRIu32 ")",
                            index, machine->gpu_count, machine->gpu_count - 1);
        *mask |= 1u << index;
        at += length;
        if (*at == '\0')
            return DGO_OK;
    }
}

/* --margin, whose indexes must be cards of the machine. */
static enum dgo_status read_margins(const struct options *options,
                                    const struct dgo_machine *machine, struct option_sizes *sizes,
                                    struct dgo_error *err)
{
    option_sizes(options, OPTION_MARGIN, sizes);
    for (uint32_t i = machine->gpu_count; i < OPTION_SIZES_MAX; i++)
        if (sizes->mask >> i & 1)
            return dgo_fail(err, DGO_EUSAGE,
                            "--margin: there is no GPU %" PRIu32 ", the machine has %" PRIu32, i,
                            machine->gpu_count);
    return DGO_OK;
}

static enum dgo_status fill_margins(const struct options *options,
                                    const struct dgo_machine *machine, struct dgo_intent *intent,
                                    struct dgo_error *err)
{
    struct option_sizes sizes;
    const enum dgo_status status = read_margins(options, machine, &sizes, err);

    if (status != DGO_OK)
        return status;
    if (sizes.all_given) /* dgo_plan.h: UINT64_MAX is none at all */
        intent->margin_bytes = sizes.all_bytes > 0 ? sizes.all_bytes : UINT64_MAX;
    intent->gpu_margin_mask = sizes.mask;
    for (uint32_t i = 0; i < OPTION_SIZES_MAX && i < DGO_GPU_MAX; i++)
        intent->gpu_margin_bytes[i] = sizes.bytes[i];
    return DGO_OK;
}

enum dgo_status wish_margins(const struct options *options, const struct dgo_machine *machine,
                             uint64_t margins_bytes[DGO_GPU_MAX], struct dgo_error *err)
{
    struct option_sizes sizes;
    const enum dgo_status status = read_margins(options, machine, &sizes, err);

    for (uint32_t i = 0; status == DGO_OK && i < DGO_GPU_MAX; i++)
        margins_bytes[i] = sizes.mask >> i & 1 ? sizes.bytes[i] : sizes.all_bytes;
    return status;
}

static enum dgo_status fill_cache_type(const struct options *options, struct dgo_intent *intent,
                                       struct dgo_error *err)
{
    const char *kv_type = option_text(options, OPTION_KV_TYPE);

    if (!kv_type)
        return DGO_OK;
    if (dgo_kv_type_parse(kv_type, &intent->key_type, err) != DGO_OK) {
        dgo_error_prefix(err, DGO_EUSAGE, "--kv-type");
        if (err)
            err->status = DGO_EUSAGE;
        return DGO_EUSAGE;
    }
    intent->value_type = intent->key_type;
    intent->kv_type_given = true;
    return DGO_OK;
}

enum dgo_status wish_question(const struct options *options, struct dgo_engine_question *question,
                              struct dgo_error *err)
{
    const char *share = option_text(options, OPTION_MEMORY_SHARE);
    char *end;

    question->kv_type = option_text(options, OPTION_KV_TYPE);
    question->tensor_parallel = (uint32_t)option_number(options, OPTION_TENSOR_PARALLEL);
    question->pipeline_parallel = (uint32_t)option_number(options, OPTION_PIPELINE_PARALLEL);
    question->requests_given = options->value[OPTION_PARALLEL].origin != ORIGIN_DEFAULT;
    question->memory_share = 0;
    if (!share)
        return DGO_OK;
    question->memory_share = strtod(share, &end);
    if (*end != '\0' || !(question->memory_share >= 0.05 && question->memory_share <= 1))
        return dgo_fail(err, DGO_EUSAGE, "--memory-share: '%.20s' is no share from 0.05 to 1",
                        share);
    return DGO_OK;
}

enum dgo_status wish_intent(const struct options *options, const struct dgo_machine *machine,
                            bool ggml_types, struct dgo_intent *intent, struct dgo_error *err)
{
    struct dgo_intent wish = {
        .objective = (enum dgo_objective)option_number(options, OPTION_OBJECTIVE),
        .slot_count = (uint32_t)option_number(options, OPTION_PARALLEL),
        .batch_tokens = (uint32_t)option_number(options, OPTION_BATCH),
        .ubatch_tokens = (uint32_t)option_number(options, OPTION_UBATCH),
        .flash_attention_off = option_given(options, OPTION_NO_FLASH_ATTENTION),
        .every_gpu = option_given(options, OPTION_SPREAD),
        .cpu_layers_refused = option_given(options, OPTION_NO_CPU_LAYERS),
        .prompt_tokens = (double)option_number(options, OPTION_PROMPT_TOKENS),
        .generated_tokens = (double)option_number(options, OPTION_GENERATED_TOKENS),
        .concurrent_requests = (uint32_t)option_number(options, OPTION_CONCURRENT),
        .draft_tokens = (uint32_t)option_number(options, OPTION_DRAFT),
    };
    const uint64_t ctx = option_number(options, OPTION_CTX);
    const char *use = option_text(options, OPTION_USE);
    enum dgo_status status = fill_margins(options, machine, &wish, err);

    wish.ctx_tokens = ctx == OPTION_TOKENS_MAX ? DGO_CTX_MAX : (uint32_t)ctx;
    if (status == DGO_OK && ggml_types)
        status = fill_cache_type(options, &wish, err);
    if (status == DGO_OK && use)
        status = parse_gpu_list(machine, use, &wish.gpu_mask, err);
    if (status == DGO_OK)
        *intent = wish;
    return status;
}
