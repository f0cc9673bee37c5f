/* plan_cache.c - the key of a plan, and the process's one cache of them. */
#include "plan_cache.h"

#include "dgo_app.h"
#include "dgo_log.h"

#include <pthread.h>

static struct context_cache *cache; /* NULL: no memory for one, so every plan is made anew */

static void make_cache(void)
{
    struct dgo_error err = {0};

    if (context_cache_new(PLAN_CACHE_ENTRIES, sizeof(struct dgo_plan), &cache, &err) != DGO_OK)
        dgo_log(DGO_LOG_WARN, "plans are not remembered: %s", err.text);
}

static struct context_cache *the_cache(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_cache);
    return cache;
}

/* ---- the key ---- */

static void add_uint64_t(struct context_key *key, uint64_t value)
{
    context_key_add(key, value);
}
static void add_uint32_t(struct context_key *key, uint32_t value)
{
    context_key_add(key, value);
}
static void add_int32_t(struct context_key *key, int32_t value)
{
    context_key_add(key, (uint64_t)value);
}
static void add_double(struct context_key *key, double value)
{
    context_key_add_real(key, value);
}

/* The readings that a plan may look at; the others change with every look. */
#define BIT(id) (UINT64_C(1) << DGO_GPU_##id)
static const uint64_t lasting_fields =
    BIT(TOTAL_BYTES) | BIT(RESERVED_BYTES) | BIT(USED_BYTES) | BIT(FREE_BYTES) |
    BIT(POWER_LIMIT_MW) | BIT(PCIE_GEN) | BIT(PCIE_WIDTH) | BIT(PCIE_GEN_MAX) |
    BIT(PCIE_WIDTH_MAX) | BIT(COMPUTE_MAJOR) | BIT(COMPUTE_MINOR) | BIT(CORE_COUNT) |
    BIT(MEMORY_BUS_BITS) | BIT(BANDWIDTH_BYTES_PER_S) | BIT(FP16_FLOPS) | BIT(GTT_TOTAL_BYTES) |
    BIT(DECODE_BYTES_PER_S) | BIT(PROMPT_FLOPS) | BIT(LAYER_LAUNCH_S) | BIT(ENGINE_OVERHEAD_BYTES) |
    BIT(ENGINE_OVERHEAD_LAUNCHES) | BIT(ENGINE_OVERHEAD_DRIFTS) | BIT(ENGINE_OVERHEAD_SPREAD_BYTES);
#undef BIT

static void add_gpu(struct context_key *key, const struct dgo_gpu *gpu)
{
    const uint64_t lasting = gpu->known & lasting_fields;

    context_key_add(key, gpu->vendor);
    context_key_add_text(key, gpu->name);
    context_key_add_text(key, gpu->uuid);
    context_key_add_text(key, gpu->pci_id);
    context_key_add_text(key, gpu->problem);
    context_key_add(key, lasting);
#define X(id, type, name, title)                                                                   \
    if (lasting >> DGO_GPU_##id & 1)                                                               \
        add_##type(key, gpu->name);
#include "fields.def"
#undef X
}

static void add_machine(struct context_key *key, const struct dgo_machine *machine)
{
    context_key_add(key, machine->gpu_count);
    for (uint32_t i = 0; i < machine->gpu_count; i++)
        add_gpu(key, &machine->gpu[i]);
    for (uint32_t a = 0; a < machine->gpu_count; a++)
        for (uint32_t b = 0; b < machine->gpu_count; b++) {
            const struct dgo_link *link = &machine->link[a][b];

            if (a == b)
                continue;
            context_key_add(key, (uint64_t)link->kind << 2 | (uint64_t)link->p2p_known << 1 |
                                     (uint64_t)link->p2p);
            context_key_add_real(key, link->bandwidth_bytes_per_s);
        }
    context_key_add(key, machine->host.memory_known);
    context_key_add(key, machine->host.total_bytes);
    context_key_add(key, machine->host.free_bytes);
    context_key_add_real(key, machine->host.bandwidth_bytes_per_s);
    context_key_add_real(key, machine->host.decode_bytes_per_s);
    context_key_add(key, machine->host.core_count);
}

static void add_key(struct context_key *key, const struct dgo_model_key *pair)
{
    context_key_add_text(key, pair->name);
    context_key_add(key, (uint64_t)pair->kind << 1 | (uint64_t)pair->is_array);
    context_key_add(key, pair->length);
    context_key_add(key, pair->number);
    context_key_add_real(key, pair->real);
    for (uint64_t i = 0; pair->elements && i < pair->length; i++)
        context_key_add_real(key, pair->elements[i]);
}

static void add_layer(struct context_key *key, const struct dgo_layer *layer)
{
    context_key_add(key, layer->weights_bytes);
    context_key_add(key, layer->expert_bytes);
    context_key_add(key, (uint64_t)layer->head_count << 32 | layer->head_count_kv);
    context_key_add(key, (uint64_t)layer->key_length << 32 | layer->value_length);
    context_key_add(key, (uint64_t)layer->feed_forward_length << 2 |
                             (uint64_t)layer->sliding_window << 1 | (uint64_t)layer->recurrent);
}

static void add_shape(struct context_key *key, const struct dgo_model *model)
{
    const uint64_t numbers[] = {
        model->file_type,
        model->file_bytes,
        model->parameter_count,
        model->layer_count,
        model->mtp_layer_count,
        model->vocab_size,
        model->verified,
        model->mla,
        model->tied_embeddings,
        model->input_bytes,
        model->output_bytes,
        model->table_bytes,
        model->expert_count,
        model->expert_used_count,
        model->expert_feed_forward_length,
        model->tensor_count,
        model->embedding_length,
        model->context_length,
        model->key_count,
        model->sliding_window,
    };

    context_key_add_text(key, model->architecture);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        context_key_add(key, numbers[i]);
    for (uint32_t i = 0; i < model->layer_count + model->mtp_layer_count; i++)
        add_layer(key, &model->layer[i]);
}

/* What the file says, not where it lies: a copy of it is the same model. */
static void add_model(struct context_key *key, const struct dgo_model *model)
{
    add_shape(key, model);
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        const struct dgo_tensor *tensor = &model->tensor[i];

        context_key_add_text(key, tensor->name);
        context_key_add(key, (uint64_t)tensor->type << 24 | (uint64_t)tensor->class << 16 |
                                 tensor->layer);
        context_key_add(key, tensor->size_bytes);
        for (uint32_t d = 0; d < DGO_DIM_MAX; d++)
            context_key_add(key, tensor->dim[d]);
    }
    for (uint32_t i = 0; i < model->key_count; i++)
        add_key(key, &model->key[i]);
}

static void add_intent(struct context_key *key, const struct dgo_intent *intent)
{
    context_key_add(key, intent->objective);
    context_key_add(key, intent->ctx_tokens);
    context_key_add(key, intent->slot_count);
    context_key_add(key, intent->batch_tokens);
    context_key_add(key, intent->ubatch_tokens);
    context_key_add(key, intent->kv_type_given);
    context_key_add(key, intent->key_type);
    context_key_add(key, intent->value_type);
    context_key_add(key, intent->flash_attention_off);
    context_key_add(key, intent->swa_full);
    context_key_add(key, intent->cpu_layers_refused);
    context_key_add(key, intent->margin_bytes);
    context_key_add(key, intent->gpu_margin_mask);
    for (uint32_t g = 0; g < DGO_GPU_MAX; g++)
        context_key_add(key, intent->gpu_margin_mask >> g & 1 ? intent->gpu_margin_bytes[g] : 0);
    context_key_add(key, intent->concurrent_requests);
    context_key_add(key, intent->draft_tokens);
    context_key_add(key, intent->every_gpu);
    context_key_add(key, intent->alone);
    context_key_add(key, intent->gpu_mask);
    context_key_add_real(key, intent->prompt_tokens);
    context_key_add_real(key, intent->generated_tokens);
}

void plan_cache_key(const struct dgo_machine *machine, const struct dgo_model *model,
                    const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                    struct context_key *key)
{
    *key = (struct context_key){0};
    add_model(key, model);
    add_machine(key, machine);
    add_intent(key, intent);
    context_key_add(key, rules->build);
}

/* ---- asking ---- */

struct question {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_intent *intent;
    const struct dgo_engine_rules *rules;
    struct dgo_plan *plan;
    struct dgo_error *err;
};

static enum dgo_status job_plan(void *data)
{
    const struct question *question = data;

    return dgo_plan_make(question->machine, question->model, question->intent, question->rules,
                         question->plan, question->err);
}

static enum dgo_status compute(void *value, void *arg, struct dgo_error *err)
{
    struct question *question = arg;

    question->plan = value;
    question->err = err;
    return app_run(COMPONENT_OPTIMIZER, job_plan, question);
}

enum dgo_status plan_cache_get(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_intent *intent,
                               const struct dgo_engine_rules *rules, struct dgo_plan *plan,
                               enum context_source *source, struct dgo_error *err)
{
    struct question question = {
        .machine = machine, .model = model, .intent = intent, .rules = rules};
    struct context_key key;

    if (!the_cache()) {
        if (source)
            *source = CONTEXT_COMPUTED;
        return compute(plan, &question, err);
    }
    plan_cache_key(machine, model, intent, rules, &key);
    return context_cache_get(cache, &key, plan, compute, &question, source, err);
}

void plan_cache_read_stats(struct context_cache_stats *stats)
{
    *stats = (struct context_cache_stats){0};
    if (the_cache())
        context_cache_read_stats(cache, stats);
}
