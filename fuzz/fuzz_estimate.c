/* fuzz_estimate.c - any bytes as a model file, sized under settings that its first bytes choose,
 * and as a projector beside another model: an estimate that adds up, or a sentence. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

enum { CARDS = 3, CHOICES = 4 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct dgo_settings choose(const uint8_t choice[CHOICES])
{
    struct dgo_settings settings = {
        .ctx_tokens = (uint32_t)choice[0] << (choice[1] & 15),
        .slot_count = 1 + (choice[1] >> 4),
        .kv_unified = choice[2] & 1,
        .batch_tokens = 2048,
        .ubatch_tokens = 1u << (choice[2] >> 1 & 15),
        .key_type = (enum dgo_kv_type)(choice[3] % DGO_KV_TYPE_COUNT),
        .value_type = (enum dgo_kv_type)(choice[3] / 16 % DGO_KV_TYPE_COUNT),
        .flash_attention = choice[2] & 128 ? DGO_FA_OFF : DGO_FA_ON,
        .gpu_layer_count = choice[0] & 7 ? DGO_LAYER_MAX : choice[3],
        .device_count = 1 + choice[3] % CARDS,
        .op_offload = true,
        .cpu_moe_layer_count = choice[1] & 3,
        .device_gpu = {0, 1, 2},
    };
    static const struct dgo_override row = {.pattern = "ffn_(up|down)", .device = 0};

    if (choice[0] & 64) {
        settings.override = &row;
        settings.override_count = 1;
    }
    return settings;
}

static void size(const struct dgo_model *model, const uint8_t choice[CHOICES])
{
    static struct dgo_machine machine = {.gpu_count = CARDS};
    static const uint32_t builds[] = {0, 9000, 10256, 11146, 11300};
    const struct dgo_settings settings = choose(choice);
    struct dgo_estimate estimate;
    struct dgo_error err = {0};

    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        const struct dgo_engine_rules rules = {.build = builds[i]};

        if (dgo_estimate_make(&machine, model, &settings, &rules, NULL, &estimate, &err) !=
            DGO_OK) {
            must(err.text[0] != '\0');
            continue;
        }
        must(estimate.device_count <= CARDS && estimate.host.layer_count <= model->layer_count);
        must(estimate.fits == (estimate.missing_bytes == 0));
    }
}

static void size_projector(const struct dgo_model *model, const uint8_t choice[CHOICES])
{
    static const struct dgo_machine machine = {.gpu_count = CARDS};
    const struct dgo_projector_use use = {
        .gpu = choice[0] % (CARDS + 1) - 1,
        .flash_attention = choice[2] & 128 ? DGO_FA_OFF : DGO_FA_ON,
        .picture_tokens = choice[1],
    };
    struct dgo_estimate estimate = {0};
    struct dgo_error err = {0};

    if (dgo_estimate_add_projector(&estimate, &machine, model, &use, NULL, &err) != DGO_OK) {
        must(err.text[0] != '\0');
        return;
    }
    must(estimate.device_count == (use.gpu >= 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    const uint64_t claimed = length > CHOICES ? (uint64_t)data[CHOICES] << 12 : 0;
    const size_t left = length > CHOICES + 1 ? length - CHOICES - 1 : 0;
    struct dgo_model *model = NULL;

    if (left && dgo_model_parse(data + CHOICES + 1, left, left + claimed, &model, NULL) == DGO_OK) {
        size(model, data);
        size_projector(model, data);
    }
    dgo_model_close(model);
    return 0;
}
