/* memory.c - the weights of every layer, wherever it is put, and what the engine would refuse.
 *
 * FORMULAS "Allocation" and "Weights". */
#include "memory.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    SLOT_MAX = 256,             /* LLAMA_MAX_SEQ */
    BATCH_TOKENS_MAX = 1 << 17, /* of -ub; nobody computes so many at once */
};

/* --- weights --------------------------------------------------------------------------------- */

/* What every step below needs. */
struct sizing {
    const struct dgo_settings *settings;
    struct plan_memory *memory;
    struct override_set *overrides;
};

uint64_t memory_tensor_device_bytes(const struct dgo_tensor *tensor)
{
    const struct dgo_ggml_type *type = dgo_ggml_type(tensor->type);
    uint64_t bytes = tensor->size_bytes;
    const uint64_t rest = tensor->dim[0] % MEMORY_DEVICE_ROW;

    if (type && type->block_values > 1 && rest)
        bytes += (MEMORY_DEVICE_ROW - rest) / type->block_values * type->block_bytes;
    return dgo_pad_u64(bytes, MEMORY_DEVICE_ALIGN);
}

static uint64_t tensor_host_bytes(const struct dgo_tensor *tensor)
{
    return dgo_pad_u64(tensor->size_bytes, MEMORY_HOST_ALIGN);
}

/* What -ncmoe sends to host memory: \.ffn_(up|down|gate_up|gate)_(ch|)exps anywhere in the name. */
static bool is_routed_expert(const char *name)
{
    static const char *const parts[] = {".ffn_up_", ".ffn_down_", ".ffn_gate_", ".ffn_gate_up_"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *at = strstr(name, parts[i]);

        if (!at)
            continue;
        at += strlen(parts[i]);
        if (strncmp(at, "exps", 4) == 0 || strncmp(at, "chexps", 6) == 0)
            return true;
    }
    return false;
}

bool memory_expert_on_host(const struct dgo_tensor *tensor, const struct dgo_settings *settings)
{
    return tensor->class == DGO_TENSOR_LAYER && tensor->layer < settings->cpu_moe_layer_count &&
           is_routed_expert(tensor->name);
}

bool memory_is_repacked(const struct dgo_tensor *tensor, const struct dgo_settings *settings)
{
    /* Of a CPU with AVX2; with AVX-512 Q2_K too.  Eight rows are woven into one. */
    static const char *const types[] = {"Q4_0", "Q4_K", "Q2_K", "IQ4_NL", "MXFP4"};
    enum { WOVEN_ROWS = 8 };
    const struct dgo_ggml_type *type = dgo_ggml_type(tensor->type);

    /* Pinned memory of a card in use comes first. */
    if (settings->repack_off || (settings->device_count > 0 && !settings->host_plain) || !type ||
        tensor->dim_count < 2 || tensor->dim[1] % WOVEN_ROWS)
        return false;
    return DGO_TEXT_IN(type->name, types);
}

/* Into the block's own books; the same rules as for a layer. */
static void add_block_tensor(const struct sizing *s, const struct dgo_tensor *tensor)
{
    struct memory_draft *draft = &s->memory->draft;
    const uint64_t host = tensor_host_bytes(tensor);
    const int32_t device = override_device(s->overrides, tensor->name);

    if (device >= 0) {
        s->memory->moved_bytes[device] += memory_tensor_device_bytes(tensor);
        return;
    }
    draft->block.host_weights_bytes += host;
    draft->weight_max = dgo_max_u64(draft->weight_max, memory_tensor_device_bytes(tensor));
    if (device == DGO_OVERRIDE_HOST || memory_expert_on_host(tensor, s->settings)) {
        draft->block.kept_weights_bytes += host;
        draft->kept_weight_max =
            dgo_max_u64(draft->kept_weight_max, memory_tensor_device_bytes(tensor));
    } else {
        draft->block.weights_bytes += memory_tensor_device_bytes(tensor);
    }
}

/* Where one tensor goes that an override names; false: none does. */
static bool move_tensor(const struct sizing *s, const struct dgo_tensor *tensor, uint32_t l)
{
    struct plan_memory *memory = s->memory;
    const int32_t device = override_device(s->overrides, tensor->name);

    if (device == OVERRIDE_NONE)
        return false;
    if (device != DGO_OVERRIDE_HOST) {
        memory->moved_bytes[device] += memory_tensor_device_bytes(tensor);
        return true;
    }
    memory->kept_weights_bytes[l] += tensor_host_bytes(tensor);
    memory->host_weights_bytes[l] += tensor_host_bytes(tensor);
    memory->terms.kept_weight_max =
        dgo_max_u64(memory->terms.kept_weight_max, memory_tensor_device_bytes(tensor));
    return true;
}

static void add_layer_tensor(const struct sizing *s, const struct dgo_tensor *tensor)
{
    const struct dgo_settings *settings = s->settings;
    struct plan_memory *memory = s->memory;
    const uint32_t l = tensor->layer;
    const uint64_t device = memory_tensor_device_bytes(tensor), host = tensor_host_bytes(tensor);
    struct memory_terms *terms = &memory->terms;

    if (l >= memory->layer_count) { /* loaded only to draft */
        if (settings->own_draft || settings->states_out)
            add_block_tensor(s, tensor);
        return;
    }
    if (move_tensor(s, tensor, l))
        return;
    memory->host_weights_bytes[l] += host;
    terms->weight_max = dgo_max_u64(terms->weight_max, device);
    if (memory_expert_on_host(tensor, settings)) {
        memory->kept_weights_bytes[l] += host;
        terms->kept_weight_max = dgo_max_u64(terms->kept_weight_max, device);
    } else {
        memory->weights_bytes[l] += device;
    }
}

static void add_output_tensor(const struct sizing *s, const struct dgo_tensor *tensor)
{
    struct plan_memory *memory = s->memory;
    const uint32_t l = memory->layer_count;
    const uint64_t device = memory_tensor_device_bytes(tensor);

    if (move_tensor(s, tensor, l))
        return;
    memory->weights_bytes[l] += device;
    /* Tied embeddings: the output matrix is a second copy of the token embedding, except in host
     * memory, where the first one serves. */
    if (tensor->class != DGO_TENSOR_INPUT || memory_is_repacked(tensor, s->settings))
        memory->host_weights_bytes[l] += tensor_host_bytes(tensor);
    memory->terms.output_weight = dgo_max_u64(memory->terms.output_weight, device);
}

/* Their loaders ask for the output's matrix first, and what the embeddings are then is another
 * tensor. */
static bool asks_output_first(const struct dgo_model *model)
{
    return strcmp(model->architecture, "gemma3n") == 0 ||
           strcmp(model->architecture, "gemma4") == 0;
}

static void add_tensor(const struct sizing *s, const struct dgo_tensor *tensor)
{
    struct plan_memory *memory = s->memory;
    int32_t device;

    switch (tensor->class) {
    case DGO_TENSOR_INPUT:
        device = override_device(s->overrides, tensor->name);
        if (device >= 0)
            memory->moved_bytes[device] += memory_tensor_device_bytes(tensor);
        else
            memory->host_input_bytes += tensor_host_bytes(tensor);
        if (!memory->model->tied_embeddings || strcmp(tensor->name, "token_embd.weight") != 0)
            return;
        /* Sent elsewhere, the output matrix goes there, too: one copy serves. */
        if (device == OVERRIDE_NONE)
            add_output_tensor(s, tensor);
        else if (device >= 0 && asks_output_first(memory->model))
            memory->moved_bytes[device] += memory_tensor_device_bytes(tensor);
        else if (device == DGO_OVERRIDE_HOST)
            memory->terms.kept_weight_max =
                dgo_max_u64(memory->terms.kept_weight_max, memory_tensor_device_bytes(tensor));
        return;
    case DGO_TENSOR_LAYER:
        add_layer_tensor(s, tensor);
        return;
    case DGO_TENSOR_OUTPUT:
        add_output_tensor(s, tensor);
        return;
    case DGO_TENSOR_TABLE:
        memory->table_bytes += memory_tensor_device_bytes(tensor);
        memory->host_table_bytes += tensor_host_bytes(tensor);
        return;
    }
}

/* Far above any model there is, and low enough that no product below can pass 64 bits: what a file
 * claims is not trusted with our arithmetic. */
static enum dgo_status check_shape(const struct dgo_model *model, struct dgo_error *err)
{
    enum { WIDTH_MAX = 1 << 20, HEAD_MAX = 1 << 12, FF_MAX = 1 << 24, VOCAB_MAX = 1 << 26 };
    uint64_t shift, state;
    bool sane = model->embedding_length <= WIDTH_MAX && model->vocab_size <= VOCAB_MAX &&
                model->expert_used_count <= HEAD_MAX && model->sliding_window <= INT32_MAX &&
                model->expert_feed_forward_length <= FF_MAX;

    for (uint32_t l = 0; l < model->layer_count && sane; l++) {
        const struct dgo_layer *layer = &model->layer[l];

        sane = layer->head_count <= HEAD_MAX && layer->head_count_kv <= HEAD_MAX &&
               layer->key_length <= WIDTH_MAX && layer->value_length <= WIDTH_MAX &&
               layer->head_count * (uint64_t)layer->key_length <= WIDTH_MAX &&
               layer->head_count_kv * (uint64_t)layer->key_length <= WIDTH_MAX &&
               layer->head_count_kv * (uint64_t)layer->value_length <= WIDTH_MAX &&
               layer->feed_forward_length <= FF_MAX && layer->index_key_length <= WIDTH_MAX &&
               layer->index_value_length <= WIDTH_MAX && layer->compress_ratio <= WIDTH_MAX;
    }
    sane = sane && memory_key_number(model, "ple.conv_kernel") <= HEAD_MAX &&
           memory_key_number(model, "ple.ngram_size") <= HEAD_MAX &&
           memory_key_number(model, "hyper_connection.count") <= HEAD_MAX;
    memory_state_bytes(model, &shift, &state);
    if (sane && shift <= DGO_GIB && state <= DGO_GIB)
        return DGO_OK;
    return dgo_fail(err, DGO_EUNSUPPORTED,
                    "architecture \"%s\": widths, heads or states of an impossible size; the file "
                    "is damaged",
                    model->architecture);
}

/* What an adapter adds lies beside the tensor that it changes: "NAME.lora_a" with NAME.  Tensors of
 * no known base go with the output, the widest guess. */
static void add_adapter_tensor(const struct sizing *s, const struct dgo_tensor *tensor)
{
    static const char ending[] = ".lora_";
    struct dgo_tensor beside = *tensor;
    char *end = strstr(beside.name, ending);

    if (end)
        *end = '\0';
    if (beside.class == DGO_TENSOR_INPUT)
        s->memory->host_input_bytes += tensor_host_bytes(&beside);
    else
        add_tensor(s, &beside);
}

/* The engine loads a tensor onto any card, and ends when its graph comes to it on one that has no
 * part in the context: "pre-allocated tensor ... in a buffer (CUDA0) that cannot run the
 * operation".  A pattern that finds no tensor harms nobody. */
static enum dgo_status check_overrides(const struct sizing *s, const struct dgo_model *model,
                                       struct dgo_error *err)
{
    for (uint32_t i = 0; i < model->tensor_count && s->overrides; i++) {
        const struct dgo_tensor *tensor = &model->tensor[i];
        const bool loaded = tensor->class != DGO_TENSOR_LAYER ||
                            tensor->layer < model->layer_count || s->settings->own_draft ||
                            s->settings->states_out;

        if (loaded && override_device(s->overrides, tensor->name) == DGO_OVERRIDE_UNUSED)
            return dgo_fail(err, DGO_EINVAL,
                            "-ot sends %.80s to a card that is not among the devices in use: the "
                            "engine loads it and then ends; add the card with -dev, or send the "
                            "tensor to CPU or a device in use",
                            tensor->name);
    }
    return DGO_OK;
}

static enum dgo_status add_weights(const struct dgo_model *model,
                                   const struct dgo_settings *settings, struct plan_memory *memory,
                                   struct dgo_error *err)
{
    struct sizing s = {.settings = settings, .memory = memory};
    enum dgo_status status = override_set_make(settings, &s.overrides, err);

    if (status)
        return status;
    status = check_overrides(&s, model, err);
    for (uint32_t i = 0; i < model->tensor_count && status == DGO_OK; i++)
        add_tensor(&s, &model->tensor[i]);
    for (uint32_t a = 0; a < settings->adapter_count && status == DGO_OK; a++)
        for (uint32_t i = 0; i < settings->adapter[a]->tensor_count; i++)
            add_adapter_tensor(&s, &settings->adapter[a]->tensor[i]);
    override_set_free(s.overrides);
    return status;
}

/* Devices of rpc-servers have no events in this build, so nothing is pipelined over them (its
 * source); 11669 has them, and its log says so.  Between the two the larger figure is taken. */
#define RPC_NO_EVENTS_BUILD 10256

/* The model's own word is llama_pooling_type. */
static enum dgo_pooling find_pooling(const struct dgo_model *model,
                                     const struct dgo_settings *settings)
{
    static const enum dgo_pooling own[] = {DGO_POOLING_NONE, DGO_POOLING_MEAN, DGO_POOLING_PICKED,
                                           DGO_POOLING_PICKED, DGO_POOLING_RANK};
    const uint64_t said = memory_key_number(model, "pooling_type");

    if (settings->pooling != DGO_POOLING_UNSAID)
        return settings->pooling;
    return said < sizeof own / sizeof own[0] ? own[said] : DGO_POOLING_NONE;
}

/* The graph that the engine reserves has as many tokens for each slot, and as many rows as it was
 * asked for: "GGML_ASSERT(ggml_can_mul_mat(a, b)) failed" where they differ. */
static enum dgo_status check_pooling(const struct dgo_model *model,
                                     const struct dgo_settings *settings,
                                     const struct plan_memory *memory, struct dgo_error *err)
{
    if (!settings->embeds || find_pooling(model, settings) != DGO_POOLING_MEAN ||
        memory->ubatch_tokens == memory->graph_tokens)
        return DGO_OK;
    return dgo_fail(err, DGO_EINVAL,
                    "-ub %" PRIu32 ": the engine ends where a mean is made of so many tokens in "
                    "%" PRIu32 " slots; give a multiple of them",
                    memory->ubatch_tokens, settings->slot_count);
}

/* Logits of a token for each slot.  An embedding server hands all tokens' out, beside their hidden
 * states: the first request of a whole batch makes it so. */
static void fill_handed_out(const struct dgo_model *model, const struct dgo_settings *settings,
                            struct plan_memory *memory)
{
    const uint64_t rows = settings->embeds ? dgo_max_u64(memory->batch_tokens, settings->slot_count)
                                           : settings->slot_count;

    memory->embeds = settings->embeds;
    memory->pooling = find_pooling(model, settings);
    /* Of a sampler on the device: its choice, and logits, odds and tokens that it left. */
    const uint64_t width = (settings->samples_on_device ? 4 : 1) * (uint64_t)model->vocab_size +
                           (settings->embeds ? model->embedding_length : 0);

    memory->host_output_bytes = rows * width * sizeof(float);
}

enum dgo_status memory_make(const struct dgo_model *model, const struct dgo_settings *settings,
                            const struct dgo_engine_rules *rules, struct plan_memory *memory,
                            struct dgo_error *err)
{
    enum dgo_status status;

    if (model->layer_count == 0 || model->embedding_length == 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "architecture \"%s\" is no language model that can be split; give the "
                        "model that generates text",
                        model->architecture);
    status = check_shape(model, err);
    if (status)
        return status;
    memset(memory, 0, sizeof *memory);
    memory->model = model;
    memory->layer_count = model->layer_count;
    memory->kv_on_host = settings->kv_on_host;
    memory->op_offload = settings->op_offload;
    memory->no_events =
        settings->remote && rules && rules->build > 0 && rules->build <= RPC_NO_EVENTS_BUILD;
    memory->overrides = settings->cpu_moe_layer_count > 0 || settings->override_count > 0;
    status = add_weights(model, settings, memory, err);
    if (status)
        return status;
    memory_context_sizes(model, settings, memory);
    status = memory_context_fill(model, settings, memory, err);
    if (!status)
        status = check_pooling(model, settings, memory, err);
    if (status)
        return status;
    memory->attention_on_cpu =
        memory_attention_fused(model, settings) &&
        !memory_has_kernels(model, settings, memory_build_find(rules ? rules->build : 0));
    memory_terms_fill(model, settings, rules, memory);
    fill_handed_out(model, settings, memory);
    memory->states_out = settings->states_out;
    memory->block_only = settings->own_draft && settings->own_draft_alone;
    return settings->own_draft ? draft_make(model, settings, rules, memory, err) : DGO_OK;
}

/* --- what the engine would refuse ------------------------------------------------------------ */

static enum dgo_status check_devices(const struct dgo_machine *machine,
                                     const struct dgo_settings *settings, struct dgo_error *err)
{
    uint32_t seen = 0;

    if (settings->device_count > DGO_GPU_MAX)
        return dgo_fail(err, DGO_EINVAL, "%" PRIu32 " devices, the engine takes at most %d",
                        settings->device_count, DGO_GPU_MAX);
    for (uint32_t d = 0; d < settings->device_count; d++) {
        const uint32_t gpu = settings->device_gpu[d];

        if (gpu >= machine->gpu_count)
            return dgo_fail(err, DGO_EINVAL, "device %" PRIu32 ": the machine has %" PRIu32 " GPUs",
                            gpu, machine->gpu_count);
        if (seen >> gpu & 1)
            return dgo_fail(err, DGO_EINVAL, "GPU %" PRIu32 " is named twice in the device list",
                            gpu);
        seen |= UINT32_C(1) << gpu;
        if (settings->tensor_split_given &&
            !(settings->tensor_split[d] >= 0 && isfinite(settings->tensor_split[d])))
            return dgo_fail(err, DGO_EINVAL,
                            "the tensor split of device %" PRIu32 " is no share; use 0 or more", d);
    }
    return DGO_OK;
}

static bool is_quantised(enum dgo_kv_type type)
{
    return type != DGO_KV_F16 && type != DGO_KV_F32 && type != DGO_KV_BF16;
}

static enum dgo_status check_cache_type(const char *what, enum dgo_kv_type type, uint32_t width,
                                        uint32_t head, bool fused, struct dgo_error *err)
{
    const uint32_t block = memory_kv_type(type)->block_values;

    if (width % block || (fused && head % block))
        return dgo_fail(err, DGO_EINVAL,
                        "%s cache type %s works in blocks of %" PRIu32
                        " values, which do not divide heads of %" PRIu32 "; use f16",
                        what, dgo_kv_type_name(type), block, head);
    return DGO_OK;
}

enum dgo_status memory_check_cache(const struct dgo_model *model,
                                   const struct dgo_settings *settings, struct dgo_error *err)
{
    const bool fused = memory_attention_fused(model, settings);

    if ((uint32_t)settings->key_type >= DGO_KV_TYPE_COUNT ||
        (uint32_t)settings->value_type >= DGO_KV_TYPE_COUNT)
        return dgo_fail(err, DGO_EINVAL, "unknown cache type; use f16, q8_0 or q4_0");
    if (!fused && is_quantised(settings->value_type))
        return dgo_fail(
            err, DGO_EINVAL,
            settings->flash_attention == DGO_FA_ON
                ? "a %s value cache needs flash attention, which the engine has not for "
                  "this architecture; use -ctv f16"
            : !memory_has_kernels(model, settings, memory_build_find(0))
                ? "a %s value cache needs flash attention, and cards have no kernel for it with "
                  "heads or cache types like these; use -ctv f16 (--kv-type f16)"
                : "a %s value cache needs flash attention; leave out -fa off "
                  "(--no-flash-attention) or use -ctv f16 (--kv-type f16)",
            dgo_kv_type_name(settings->value_type));
    if (model->mla && settings->key_type != settings->value_type)
        return dgo_fail(err, DGO_EINVAL,
                        "latent attention keeps keys and values in one cache; give -ctk and -ctv "
                        "the same type (%s and %s were asked for)",
                        dgo_kv_type_name(settings->key_type),
                        dgo_kv_type_name(settings->value_type));
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];
        enum dgo_status status =
            check_cache_type("key", settings->key_type, layer->head_count_kv * layer->key_length,
                             layer->key_length, fused, err);

        if (!status && !model->mla)
            status = check_cache_type("value", settings->value_type,
                                      layer->head_count_kv * layer->value_length,
                                      layer->value_length, fused, err);
        if (status)
            return status;
    }
    return DGO_OK;
}

enum dgo_status memory_check(const struct dgo_machine *machine, const struct dgo_model *model,
                             const struct dgo_settings *settings, struct dgo_error *err)
{
    enum dgo_status status;

    if (settings->slot_count == 0 || settings->slot_count > SLOT_MAX)
        return dgo_fail(err, DGO_EINVAL, "%" PRIu32 " slots (-np), the engine takes 1 to %d",
                        settings->slot_count, SLOT_MAX);
    if (settings->batch_tokens == 0 || settings->ubatch_tokens == 0)
        return dgo_fail(err, DGO_EINVAL, "a batch (-b, -ub) needs at least one token");
    const uint32_t ctx = settings->ctx_tokens ? settings->ctx_tokens : model->context_length;
    const uint64_t most =
        dgo_min_u64(dgo_min_u64(ctx, settings->batch_tokens), settings->ubatch_tokens);

    if (most > BATCH_TOKENS_MAX)
        return dgo_fail(err, DGO_EINVAL, "a micro-batch of %" PRIu64 " tokens (-ub), at most %d",
                        most, BATCH_TOKENS_MAX);
    if (settings->ctx_tokens == 0 && model->context_length == 0)
        return dgo_fail(err, DGO_EINVAL,
                        "the model does not say its context length; give one with -c");
    if (settings->ctx_tokens > INT32_MAX || model->context_length > INT32_MAX)
        return dgo_fail(err, DGO_EINVAL, "a context of %" PRIu32 " tokens (-c) is out of range",
                        settings->ctx_tokens);
    status = check_devices(machine, settings, err);
    return status ? status : memory_check_cache(model, settings, err);
}
