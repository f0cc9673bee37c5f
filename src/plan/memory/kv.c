/* kv.c - the context: how the engine rounds it, and what each layer's cache and state take.
 *
 * FORMULAS "Context" and "Cache"; llama.cpp's llama_kv_cache, llama_kv_cache_iswa and
 * llama_memory_recurrent. */
#include "memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CTX_PAD = 256,
    NUMBER_MAX = 1 << 24, /* of a width in the metadata; a greater one is not believed */
};

const struct dgo_ggml_type *memory_kv_type(enum dgo_kv_type type)
{
    return dgo_ggml_type_by_name(dgo_kv_type_name(type));
}

uint64_t memory_key_number(const struct dgo_model *model, const char *suffix)
{
    char name[sizeof model->architecture + 64];
    const struct dgo_model_key *key;

    snprintf(name, sizeof name, "%s.%s", model->architecture, suffix);
    key = dgo_model_find(model, name);
    if (!key || key->is_array || key->kind == DGO_VALUE_FLOAT || key->kind == DGO_VALUE_STRING)
        return 0;
    return key->number > NUMBER_MAX ? 0 : key->number;
}

/* --- how many tokens ------------------------------------------------------------------------- */

static uint32_t pad_tokens(uint64_t tokens)
{
    return (uint32_t)dgo_min_u64(dgo_pad_u64(tokens, CTX_PAD), UINT32_MAX - CTX_PAD + 1);
}

/* llama_context: n_ctx, n_ctx_seq, n_batch, n_ubatch; llama_kv_cache_iswa: cells of the window. */
void memory_context_sizes(const struct dgo_model *model, const struct dgo_settings *settings,
                          struct plan_memory *memory)
{
    const uint32_t slots = settings->slot_count;
    const bool one_stream = settings->kv_unified || slots == 1;
    const bool shared = one_stream && !model->cache_for_each_slot;

    const uint32_t asked = settings->ctx_tokens ? settings->ctx_tokens : model->context_length;

    memory->slot_count = slots;
    memory->ctx_tokens = pad_tokens(asked);
    memory->ctx_tokens_per_slot = memory->ctx_tokens;
    if (!one_stream) {
        memory->ctx_tokens_per_slot = pad_tokens(memory->ctx_tokens / slots);
        memory->ctx_tokens = memory->ctx_tokens_per_slot * slots;
    }
    memory->stream_count = shared ? 1 : slots;
    /* Of the context that was asked for, before it is rounded up. */
    memory->batch_tokens = asked < settings->batch_tokens ? asked : settings->batch_tokens;
    memory->ubatch_tokens = memory->batch_tokens < settings->ubatch_tokens
                                ? memory->batch_tokens
                                : settings->ubatch_tokens;
    memory->graph_tokens = (memory->ubatch_tokens + slots - 1) / slots * slots;

    const uint64_t window =
        (uint64_t)model->sliding_window * (shared ? slots : 1) + memory->ubatch_tokens;

    memory->window_cells = memory->ctx_tokens_per_slot;
    if (!settings->swa_full && pad_tokens(window) < memory->window_cells)
        memory->window_cells = pad_tokens(window);
}

bool memory_attention_fused(const struct dgo_model *model, const struct dgo_settings *settings)
{
    return settings->flash_attention == DGO_FA_ON && strcmp(model->architecture, "grok") != 0;
}

bool memory_values_transposed(const struct dgo_model *model, const struct dgo_settings *settings)
{
    return !memory_attention_fused(model, settings) &&
           settings->flash_attention != DGO_FA_WITHDRAWN;
}

/* --- bytes of a layer ------------------------------------------------------------------------ */

/* One cache tensor of `width` values a cell. */
static uint64_t cache_bytes(enum dgo_kv_type type, uint64_t width, uint64_t cells, bool on_device)
{
    const struct dgo_ggml_type *t = memory_kv_type(type);
    uint64_t bytes = width / t->block_values * t->block_bytes * cells;

    if (!on_device)
        return dgo_pad_u64(bytes, MEMORY_HOST_ALIGN);
    if (t->block_values > 1 && width % MEMORY_DEVICE_ROW)
        bytes += (MEMORY_DEVICE_ROW - width % MEMORY_DEVICE_ROW) / t->block_values * t->block_bytes;
    return dgo_pad_u64(bytes, MEMORY_DEVICE_ALIGN);
}

/* deepseek4: what its layers keep beside the window, each for every slot.  A layer compresses the
 * past 4 times, with an indexer, or 128 times; until a group is whole its parts are kept in F32,
 * with their scores (llama_kv_cache_dsv4). */
static uint64_t compressed_bytes(const struct dgo_settings *settings,
                                 const struct plan_memory *memory, const struct dgo_layer *layer,
                                 bool on_device)
{
    enum { OVERLAPPING = 4 }; /* groups of so many share their parts with the group before */
    const uint64_t ratio = layer->compress_ratio;
    const uint32_t align = on_device ? MEMORY_DEVICE_ALIGN : MEMORY_HOST_ALIGN;
    const uint64_t times = ratio == OVERLAPPING ? 2 : 1;
    uint64_t cells, bytes;

    if (ratio == 0)
        return 0;
    cells = dgo_pad_u64((memory->ctx_tokens_per_slot + ratio - 1) / ratio, CTX_PAD) *
            settings->slot_count;
    bytes = cache_bytes(settings->key_type, layer->key_length, cells, on_device) +
            2 * dgo_pad_u64(times * layer->key_length * times * ratio * settings->slot_count *
                                sizeof(float),
                            align);
    if (layer->index_key_length)
        bytes += cache_bytes(settings->key_type, layer->index_key_length, cells, on_device) +
                 2 * dgo_pad_u64(times * layer->index_key_length * times * ratio *
                                     settings->slot_count * sizeof(float),
                                 align);
    return bytes;
}

/* Unfused attention reads V transposed; its rows are then as wide as the widest layer's. */
static uint64_t value_width_max(const struct dgo_model *model)
{
    uint64_t most = 0;

    for (uint32_t l = 0; l < model->layer_count; l++)
        most = dgo_max_u64(most,
                           (uint64_t)model->layer[l].head_count_kv * model->layer[l].value_length);
    return most;
}

static uint64_t layer_cache_bytes(const struct dgo_model *model,
                                  const struct dgo_settings *settings,
                                  const struct plan_memory *memory, uint32_t l, bool on_device)
{
    const struct dgo_layer *layer = &model->layer[l];
    const uint64_t cells =
        (uint64_t)(layer->sliding_window ? memory->window_cells : memory->ctx_tokens_per_slot) *
        memory->stream_count;
    const uint64_t index_cells = (uint64_t)memory->ctx_tokens_per_slot * memory->stream_count;
    uint64_t value_width = (uint64_t)layer->head_count_kv * layer->value_length;
    uint64_t bytes;

    if (layer->head_count_kv == 0)
        return 0;
    if (memory_values_transposed(model, settings) && value_width)
        value_width = value_width_max(model);
    bytes = cache_bytes(settings->key_type, (uint64_t)layer->head_count_kv * layer->key_length,
                        cells, on_device);
    if (!model->mla) /* the latent keys hold the values too */
        bytes += cache_bytes(settings->value_type, value_width, cells, on_device);
    if (layer->compress_ratio)
        return bytes + compressed_bytes(settings, memory, layer, on_device);
    if (layer->index_key_length)
        bytes += cache_bytes(settings->key_type, layer->index_key_length, index_cells, on_device);
    if (layer->index_value_length)
        bytes +=
            cache_bytes(settings->value_type, layer->index_value_length, index_cells, on_device);
    return bytes;
}

/* llama_hparams::n_embd_r and n_embd_s, in bytes of F32. */
void memory_state_bytes(const struct dgo_model *model, uint64_t *shift, uint64_t *state)
{
    const uint64_t width = model->embedding_length;
    const uint64_t kda = memory_key_number(model, "kda.head_dim");
    const uint64_t conv = memory_key_number(model, "ssm.conv_kernel");
    const uint64_t inner = memory_key_number(model, "ssm.inner_size");
    const uint64_t size = memory_key_number(model, "ssm.state_size");
    const uint64_t groups = memory_key_number(model, "ssm.group_count");
    const uint64_t head_size = memory_key_number(model, "wkv.head_size");
    const uint64_t short_conv = memory_key_number(model, "shortconv.l_cache");
    const bool linear = strcmp(model->architecture, "minimax-01") == 0;
    uint64_t token_shift = memory_key_number(model, "token_shift_count");
    const uint64_t heads = model->layer[0].head_count;

    *shift = *state = 0;
    if (head_size) {
        token_shift = token_shift ? token_shift : 2;
        *shift = token_shift * width;
        *state = width * head_size;
    } else if (short_conv) {
        *shift = width * (short_conv - 1);
    } else if (kda) {
        *shift = 3 * (conv ? conv - 1 : 3) * heads * kda;
        *state = kda * kda * heads;
    } else if (linear) {
        const uint64_t head = memory_key_number(model, "attention.key_length");

        *state = head * head * heads;
    } else {
        *shift = (conv ? conv - 1 : 0) * (inner + 2 * groups * size);
        *state = size * inner;
    }
    *shift *= sizeof(float);
    *state *= sizeof(float);
}

/* qwen4exp: what one layer convolves of the hashed embeddings of the last words
 * (llama_hparams::ple_conv_state), in bytes; 0: not this layer. */
static uint64_t word_state_bytes(const struct dgo_model *model, uint32_t l)
{
    char name[sizeof model->architecture + 16];
    const struct dgo_model_key *layers;
    const uint64_t kernel = memory_key_number(model, "ple.conv_kernel");

    snprintf(name, sizeof name, "%s.ple.layers", model->architecture);
    layers = dgo_model_find(model, name);
    if (!layers || !layers->elements || kernel == 0)
        return 0;
    for (uint64_t i = 0; i < layers->length; i++)
        if (layers->elements[i] == l)
            return (kernel - 1) * memory_key_number(model, "ple.ngram_size") *
                   memory_key_number(model, "hyper_connection.count") * model->embedding_length *
                   sizeof(float);
    return 0;
}

/* Whose states can be gone back to one by one (n_rs_seq in the log of build 11669); the others are
 * copied whole before a draft, to host memory. */
bool memory_rolls_back(const struct dgo_model *model)
{
    static const char *const names[] = {"qwen35",     "qwen35moe",      "lfm2",     "lfm2moe",
                                        "nemotron_h", "nemotron_h_moe", "qwen4exp", "bailingmoe3",
                                        "glm5-next",  "kimi-k3"};

    return DGO_TEXT_IN(model->architecture, names);
}

enum dgo_status memory_context_fill(const struct dgo_model *model,
                                    const struct dgo_settings *settings, struct plan_memory *memory,
                                    struct dgo_error *err)
{
    uint64_t shift, state;

    memory_state_bytes(model, &shift, &state);
    const uint64_t kept = memory_rolls_back(model) ? settings->rollback_tokens : 0;
    const uint64_t copies = settings->slot_count * (1 + kept);

    shift *= copies;
    state *= copies;
    for (uint32_t l = 0; l < model->layer_count; l++) {
        uint64_t device = layer_cache_bytes(model, settings, memory, l, true);
        uint64_t host = layer_cache_bytes(model, settings, memory, l, false);

        if (model->layer[l].recurrent) {
            if (shift + state == 0)
                return dgo_fail(err, DGO_EUNSUPPORTED,
                                "architecture \"%s\": the size of its recurrent state is not "
                                "known; ask the engine: llama-fit-params --fit-print on",
                                model->architecture);
            const uint64_t words = word_state_bytes(model, l) * copies;

            device += dgo_pad_u64(shift, MEMORY_DEVICE_ALIGN) +
                      dgo_pad_u64(state, MEMORY_DEVICE_ALIGN) +
                      dgo_pad_u64(words, MEMORY_DEVICE_ALIGN);
            host += dgo_pad_u64(shift, MEMORY_HOST_ALIGN) + dgo_pad_u64(state, MEMORY_HOST_ALIGN) +
                    dgo_pad_u64(words, MEMORY_HOST_ALIGN);
        }
        memory->terms.layer_context_max = dgo_max_u64(memory->terms.layer_context_max, device);
        memory->context_bytes[l] = settings->kv_on_host ? 0 : device;
        memory->kept_context_bytes[l] = settings->kv_on_host ? host : 0;
        memory->host_context_bytes[l] = host;
    }
    return DGO_OK;
}
