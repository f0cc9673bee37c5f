/* compute.c - the compute buffers: closed forms by build, and bounds where there is none.
 *
 * FORMULAS "Compute buffer" derives the terms and lists how far each build's figures are off.  A
 * new build that changes them is one row in `builds` and, at most, one flag. */
#include "memory.h"

#include "dgo_units.h"

#include <string.h>

#define COPIES UINT64_C(4) /* GGML_SCHED_MAX_COPIES: inputs under pipeline parallelism */

struct memory_build {
    uint32_t first_build;    /* the row holds from here to the next row */
    uint32_t measured_build; /* the one it was compared with */
    bool exact;              /* false: between two measured builds; the greater of both forms */
    bool row_for_each_slot;  /* logits are reserved for a row a slot, else for a micro-batch */
    uint8_t first_inputs;    /* tensors of width E that the first device of a pipeline keeps ... */
    uint8_t other_inputs;    /* ... and each later one: hidden state, residual */
    uint8_t first_extra;     /* times E at the first device's peak */
    bool cache_unpacked;     /* a cache that is not f16 is copied to f16 in the compute buffer */
    bool packed_holes;       /* packing a cache leaves holes of width Q that are used again */
    bool alone_wide;         /* embeddings held during the graph also on a single device */
    uint8_t shared_visitors; /* tensors of -ncmoe on the first device at once, of several devices */
    bool attention_place_known; /* where unfused attention runs over a cache in host memory */
    uint8_t host_inputs, host_extra, host_extra_alone; /* times E in host memory */
};

/* b9430 (ggml-org/llama.cpp#23861) stopped reserving logits for a whole micro-batch in the server.
 * Between b10256 and b11669 a second embedding input appeared (v0.5.0, somewhere between, has not
 * got it) and the copy of packed caches went; which build did which was not measured. */
#define FORM_10256                                                                                 \
    .measured_build = 10256, .first_inputs = 1, .other_inputs = 2, .cache_unpacked = true,         \
    .shared_visitors = 2, .host_extra = 2, .host_extra_alone = 2
#define FORM_11669                                                                                 \
    .measured_build = 11669, .first_inputs = 3, .first_extra = 1, .alone_wide = true,              \
    .host_inputs = 2, .host_extra = 2, .host_extra_alone = 4

static const struct memory_build builds[] = {
    {.first_build = 0, FORM_10256, .exact = true},
    {.first_build = 9430, FORM_10256, .exact = true, .row_for_each_slot = true},
    {.first_build = 10257,
     FORM_11669,
     .row_for_each_slot = true,
     .other_inputs = 2,
     .cache_unpacked = true,
     .shared_visitors = 2},
    {.first_build = 11669,
     FORM_11669,
     .exact = true,
     .row_for_each_slot = true,
     .other_inputs = 1,
     .packed_holes = true,
     .shared_visitors = 1,
     .attention_place_known = true},
};

static const struct memory_build *find_build(uint32_t build)
{
    const size_t count = sizeof builds / sizeof builds[0];
    const struct memory_build *found = &builds[count - 1];

    if (build == 0)
        return found;
    for (size_t i = 0; i < count; i++) {
        if (builds[i].first_build <= build)
            found = &builds[i];
    }
    return found;
}

/* Whose graphs were compared with the engine's own figures: FORMULAS "Measured". */
static bool is_studied(const struct dgo_model *model)
{
    static const char *const names[] = {"llama",  "qwen2",   "qwen3",     "qwen3moe",  "gemma2",
                                        "gemma3", "gpt-oss", "deepseek2", "qwen35moe", "qwen3next"};

    if (!model->verified)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(model->architecture, names[i]) == 0)
            return true;
    }
    return false;
}

static enum memory_family find_family(const struct dgo_model *model)
{
    if (model->mla)
        return MEMORY_MLA;
    if (strncmp(model->architecture, "qwen35", 6) == 0 ||
        strcmp(model->architecture, "qwen3next") == 0)
        return MEMORY_DELTA;
    if (model->expert_count == 0)
        return MEMORY_DENSE;
    return strcmp(model->architecture, "gpt-oss") == 0 ? MEMORY_MOE_FUSED : MEMORY_MOE;
}

/* --- the shape of a graph -------------------------------------------------------------------- */

/* Widths in floats for each token, the widest layer counting. */
struct widths {
    uint64_t queries, heads, feed_forward, key, value; /* key, value: of one cache row */
    uint64_t head;                                     /* values in one key head */
    uint64_t scan; /* of a state-space layer's scan, besides the delta net's */
    bool cache, window, recurrent;
};

static struct widths find_widths(const struct dgo_model *model)
{
    const uint64_t latent = memory_key_number(model, "attention.value_length_mla");
    struct widths w = {0};

    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];
        const uint64_t head = model->mla ? latent : layer->key_length;

        w.queries = dgo_max_u64(w.queries, layer->head_count * head);
        w.feed_forward = dgo_max_u64(w.feed_forward, layer->feed_forward_length);
        w.recurrent = w.recurrent || (layer->recurrent && layer->head_count_kv == 0);
        if (!layer->recurrent)
            w.heads = dgo_max_u64(w.heads, layer->head_count);
        if (layer->head_count_kv == 0)
            continue;
        w.heads = dgo_max_u64(w.heads, layer->head_count);
        w.head = dgo_max_u64(w.head, layer->key_length);
        w.key = dgo_max_u64(w.key, (uint64_t)layer->head_count_kv * layer->key_length);
        w.value = dgo_max_u64(w.value, (uint64_t)layer->head_count_kv * layer->value_length);
        w.cache = true;
        w.window = w.window || layer->sliding_window;
    }
    if (w.recurrent && find_family(model) != MEMORY_DELTA)
        w.scan = memory_key_number(model, "ssm.inner_size") +
                 2 * memory_key_number(model, "ssm.group_count") *
                     memory_key_number(model, "ssm.state_size");
    return w;
}

static bool is_packed(enum dgo_kv_type type)
{
    return memory_kv_type(type)->block_values > 1;
}

/* A packed cache is rotated (Hadamard) before it is packed: the matrices are inputs. */
static uint64_t rotation_bytes(const struct dgo_settings *settings, const struct widths *w)
{
    enum { VALUE_ROTATION = 64 };
    uint64_t size = w->head & -w->head; /* the greatest power of two that divides a head */
    uint64_t bytes = 0;

    if (is_packed(settings->key_type))
        bytes += size * size * sizeof(float);
    if (is_packed(settings->value_type))
        bytes += VALUE_ROTATION * VALUE_ROTATION * sizeof(float);
    return bytes;
}

/* What a mask is wide: the cells of a slot or, without a cache, the tokens of the batch itself. */
static uint64_t attended_cells(const struct plan_memory *memory, const struct widths *w)
{
    return w->cache ? memory->ctx_tokens_per_slot : memory->ubatch_tokens;
}

/* M: a mask and the row indices for each cache, positions. */
static uint64_t inputs_bytes(const struct dgo_model *model, const struct dgo_settings *settings,
                             const struct plan_memory *memory, const struct widths *w)
{
    const uint64_t tokens = memory->ubatch_tokens;
    const bool fused = memory_attention_fused(model, settings);
    const uint64_t mask_value = fused ? 2 : 4;
    uint64_t cache = tokens * sizeof(int64_t); /* key rows */
    uint64_t bytes = tokens * sizeof(int32_t);

    if (!w->heads)
        return bytes;
    if (!model->mla) {
        /* Value rows; transposed values are scattered one by one. */
        cache += tokens * sizeof(int64_t) * (fused ? 1 : w->value);
        cache += rotation_bytes(settings, w);
    }
    bytes += cache + mask_value * attended_cells(memory, w) * tokens;
    if (w->window)
        bytes += cache + mask_value * memory->window_cells * tokens;
    return bytes;
}

/* The gated delta net: convolution input and its parts, or the states of all slots. */
static uint64_t delta_bytes(const struct dgo_model *model, const struct dgo_settings *settings,
                            uint64_t token_bytes, uint64_t embedding)
{
    const uint64_t inner = memory_key_number(model, "ssm.inner_size");
    const uint64_t mixed = inner + 2 * memory_key_number(model, "ssm.group_count") *
                                       memory_key_number(model, "ssm.state_size");
    uint64_t shift, state;

    memory_state_bytes(model, &shift, &state);
    return dgo_max_u64(4 * mixed * token_bytes + embedding,
                       3 * mixed * token_bytes + embedding +
                           settings->slot_count * (2 * state + shift));
}

static uint64_t latent_bytes(const struct dgo_model *model, const struct widths *w,
                             uint64_t token_bytes)
{
    const uint64_t latent = memory_key_number(model, "attention.kv_lora_rank");
    const uint64_t rope = memory_key_number(model, "rope.dimension_count");
    const uint64_t key = memory_key_number(model, "attention.key_length_mla");
    const uint64_t value = memory_key_number(model, "attention.value_length_mla");

    /* Absorbed queries, their result, and two parts of the heads before absorption. */
    return w->heads * token_bytes * (latent + rope + latent + (key - rope) + value);
}

/* The widest moment of the feed-forward or, where it is wider, of the mixer. */
static uint64_t base_bytes(const struct dgo_model *model, const struct dgo_settings *settings,
                           const struct memory_terms *terms, const struct widths *w,
                           uint64_t token_bytes)
{
    const uint64_t e = terms->embedding, q = terms->queries;
    const uint64_t f =
        (uint64_t)model->expert_used_count * model->expert_feed_forward_length * token_bytes;
    const uint64_t d = (uint64_t)model->expert_used_count * model->embedding_length * token_bytes;
    const uint64_t dense = 2 * e + q + 3 * w->feed_forward * token_bytes;

    switch (terms->family) {
    case MEMORY_DENSE:
        return dense;
    case MEMORY_MOE:
        return dgo_max_u64(w->feed_forward ? dense : 0, 2 * e + q + 3 * f + d);
    case MEMORY_MOE_FUSED:
        return 2 * e + q + 3 * f;
    case MEMORY_MLA:
        return dgo_max_u64(3 * e + latent_bytes(model, w, token_bytes),
                           dgo_max_u64(dense, 2 * e + q + 3 * f + d));
    case MEMORY_DELTA:
        break;
    }
    return dgo_max_u64(delta_bytes(model, settings, token_bytes, e),
                       model->expert_count ? 3 * e + 3 * f + d : dense);
}

/* X: the scores of unfused attention, or packed caches copied to f16. */
static uint64_t extra_bytes(const struct dgo_model *model, const struct dgo_settings *settings,
                            const struct plan_memory *memory, const struct widths *w)
{
    const struct memory_terms *terms = &memory->terms;
    const uint64_t e = terms->embedding, q = terms->queries;
    const uint64_t token_bytes = memory->ubatch_tokens * sizeof(float);
    const uint64_t attended = attended_cells(memory, w);
    const uint64_t cells = attended * memory->stream_count;
    const uint64_t gates = terms->family == MEMORY_DELTA ? 2 * q : 0;
    const uint64_t latent = memory_key_number(model, "attention.kv_lora_rank");

    if (!w->heads)
        return 0;
    if (!terms->attention_fused) {
        const uint64_t scores = w->heads * attended * token_bytes;

        if (terms->family == MEMORY_MLA)
            return scores + 2 * e +
                   w->heads * token_bytes *
                       (w->key + latent + 3 * memory_key_number(model, "attention.key_length_mla") -
                        3 * memory_key_number(model, "rope.dimension_count"));
        return scores + 2 * e + 2 * q + gates -
               (terms->rule->packed_holes && is_packed(settings->key_type) && !gates ? q : 0);
    }
    if (!terms->rule->cache_unpacked || terms->cache_f16)
        return 0;
    if (terms->family == MEMORY_MLA)
        return 2 * e + w->heads * token_bytes * (w->key + latent) + 2 * cells * w->key;
    return 2 * e + 2 * q + 2 * cells * (w->key + w->value) + 2 * gates;
}

/* A device alone keeps the embeddings of the whole graph beside a layer's peak. */
static void fill_alone(const struct dgo_settings *settings, const struct widths *w,
                       struct memory_terms *terms)
{
    const uint64_t e = terms->embedding, q = terms->queries;
    const uint64_t free_e = 2 * e > q ? 2 * e - q : 0;

    terms->base_alone = terms->base;
    terms->extra_alone = terms->extra;
    if (!terms->rule->alone_wide)
        return;
    if (terms->family == MEMORY_MLA || terms->family == MEMORY_DELTA)
        terms->base_alone += e;
    else
        terms->base_alone += free_e + (w->window && is_packed(settings->value_type) ? e : 0);
    if (terms->extra && terms->family != MEMORY_MLA && terms->family != MEMORY_DELTA)
        terms->extra_alone += q > e ? 2 * e : free_e;
}

/* Copies of one of the two caches, or of both, leave holes of the width Q that are used again. */
static uint64_t packed_saving(const struct dgo_settings *settings, const struct memory_terms *terms)
{
    const bool key = is_packed(settings->key_type), value = is_packed(settings->value_type);
    const uint64_t e = terms->embedding, q = terms->queries;

    if (!terms->rule->packed_holes || !terms->studied)
        return 0;
    if (terms->family == MEMORY_MOE_FUSED && key != value && q > e)
        return q;
    if (terms->family != MEMORY_DENSE || terms->sliding_window)
        return 0;
    return (key && value && q == e) || (key != value && q > e) ? q : 0;
}

/* Devices of a pipeline.  The first has a layer whose inputs come in one by one. */
static void fill_pipeline(const struct dgo_settings *settings, const struct widths *w,
                          uint64_t token_bytes, struct memory_terms *terms)
{
    enum { LATENT_FIRST = 64, SCAN_LATER = 3 };
    const uint64_t e = terms->embedding, q = terms->queries;

    terms->base_later = terms->base - packed_saving(settings, terms);
    if (terms->rule->alone_wide && w->window && is_packed(settings->value_type) && q < e)
        terms->base_later += q;
    terms->base_first = terms->base_later;
    if (terms->family == MEMORY_MLA)
        terms->base_first += w->heads * LATENT_FIRST * token_bytes;
    if (terms->rule->alone_wide && terms->family == MEMORY_DELTA && !terms->cache_f16) {
        terms->base_first += e;
        if (terms->extra)
            terms->extra += e;
    }
    terms->scan_first = w->scan * token_bytes;
    terms->scan_later = SCAN_LATER * w->scan * token_bytes;
}

static uint64_t logits_bytes(const struct dgo_model *model, const struct plan_memory *memory)
{
    const struct memory_terms *terms = &memory->terms;
    const uint64_t times[] = {
        [MEMORY_DENSE] = 1, [MEMORY_MOE] = 1,   [MEMORY_MOE_FUSED] = 2,
        [MEMORY_MLA] = 3,   [MEMORY_DELTA] = 3,
    };

    return (uint64_t)model->vocab_size * memory->output_row_count * sizeof(float) +
           times[terms->family] * terms->embedding;
}

/* The output layer on a device without layers sees the wanted rows only, handed on as any input. */
static uint64_t output_alone_bytes(const struct dgo_model *model, const struct plan_memory *memory)
{
    const uint64_t rows = memory->output_row_count * sizeof(float);

    return rows * model->vocab_size +
           rows * model->embedding_length * (1U + COPIES * memory->terms.rule->other_inputs);
}

static uint32_t output_rows(const struct dgo_settings *settings, const struct memory_build *rule,
                            uint32_t ubatch)
{
    uint32_t rows = settings->output_row_count;

    if (rows == 0)
        rows = rule->row_for_each_slot ? settings->slot_count : ubatch;
    return rows < ubatch ? rows : ubatch;
}

void memory_terms_fill(const struct dgo_model *model, const struct dgo_settings *settings,
                       const struct dgo_engine_rules *rules, struct plan_memory *memory)
{
    struct memory_terms *terms = &memory->terms;
    const struct widths w = find_widths(model);
    const uint64_t token_bytes = memory->ubatch_tokens * sizeof(float);

    terms->rule = find_build(rules ? rules->build : 0);
    memory->build = terms->rule->measured_build;
    memory->output_row_count = output_rows(settings, terms->rule, memory->ubatch_tokens);
    terms->family = find_family(model);
    terms->studied = is_studied(model);
    terms->sliding_window = w.window;
    terms->attention_fused = memory_attention_fused(model, settings);
    terms->cache_f16 = settings->key_type == DGO_KV_F16 && settings->value_type == DGO_KV_F16;
    terms->embedding = model->embedding_length * token_bytes;
    terms->queries = w.queries * token_bytes;
    terms->inputs = inputs_bytes(model, settings, memory, &w);
    terms->base = base_bytes(model, settings, terms, &w, token_bytes);
    if (!terms->studied)
        terms->base += 2 * terms->embedding + terms->queries + 5 * w.scan * token_bytes;
    terms->extra = extra_bytes(model, settings, memory, &w);
    fill_alone(settings, &w, terms);
    fill_pipeline(settings, &w, token_bytes, terms);
    terms->logits = logits_bytes(model, memory);
    terms->output_alone = output_alone_bytes(model, memory);
    enum { OFFLOAD_ROWS = 32 }; /* GGML_OP_OFFLOAD_MIN_BATCH */
    if (memory->output_row_count < OFFLOAD_ROWS)
        terms->output_weight = 0;
}

/* --- one device ------------------------------------------------------------------------------ */

bool memory_pipeline(const struct plan_memory *memory, uint32_t device_count,
                     uint32_t cpu_layer_count, bool output_on_cpu)
{
    return device_count > 1 && cpu_layer_count == 0 && !output_on_cpu && !memory->kv_on_host &&
           !memory->overrides;
}

static bool has_part_on_host(const struct plan_memory *memory, uint32_t cpu_layer_count,
                             bool output_on_cpu)
{
    return memory->kv_on_host || memory->overrides || cpu_layer_count > 0 || output_on_cpu;
}

/* What is copied from host memory to the first device to be used there: one tensor at a time, two
 * where several devices share the work, and the output matrix when rows enough go through it. */
static uint64_t visiting_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    const struct memory_terms *t = &memory->terms;
    uint64_t weight = memory->overrides ? t->kept_weight_max : 0;

    if (!memory->op_offload)
        return 0;
    if (role->cpu_layer_count > 0)
        weight = dgo_max_u64(weight, t->weight_max);
    if (role->output_on_cpu)
        weight = dgo_max_u64(weight, t->output_weight);
    if (role->device_count == 1 || !memory->overrides)
        return weight;
    return weight * (t->family == MEMORY_DELTA ? 2U : t->rule->shared_visitors);
}

/* Unfused attention over a cache in host memory (-nkvo -fa off): on the CPU, except where it has
 * operands of its own on the device (sinks, latent heads). */
static bool attends_on_host(const struct memory_terms *t)
{
    return t->family != MEMORY_MLA && t->family != MEMORY_MOE_FUSED;
}

/* With something in host memory the order of the graph's allocations decides; this is never under:
 * every moment's widest parts, whether or not they meet. */
static uint64_t bound_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t cache = memory->kv_on_host ? t->layer_context_max : 0;
    const bool elsewhere =
        memory->kv_on_host && t->rule->attention_place_known && attends_on_host(t);
    uint64_t peak = dgo_max_u64(t->base, t->base_later);

    if (!elsewhere)
        peak = dgo_max_u64(peak, dgo_max_u64(t->extra, t->extra_alone));
    if (role->holds_output)
        peak = dgo_max_u64(peak, t->logits);
    if (role->position > 0)
        return t->inputs + peak + cache + t->scan_later + (memory->kv_on_host ? t->embedding : 0);

    const uint64_t weight = visiting_bytes(memory, role);

    peak = dgo_max_u64(peak, dgo_max_u64(t->base_first, t->base_alone));
    peak += t->inputs + t->embedding + t->scan_later;
    if (memory->kv_on_host)
        return peak + cache + weight;
    if (role->cpu_layer_count > 0) {
        peak += t->embedding;
        /* The copy of a cache and that of a weight meet only where two kinds of layers do. */
        if (t->sliding_window || t->family == MEMORY_DELTA)
            return peak + weight + t->layer_context_max;
        return peak + dgo_max_u64(weight, t->layer_context_max);
    }
    return peak + weight;
}

uint64_t memory_compute_bytes(const struct plan_memory *memory, const struct memory_role *role,
                              enum dgo_figure_source *source)
{
    const struct memory_terms *t = &memory->terms;
    const bool first = role->position == 0;
    const bool partial = has_part_on_host(memory, role->cpu_layer_count, role->output_on_cpu);
    uint64_t peak;

    if (source)
        *source = t->studied && t->rule->exact && !partial ? DGO_FIGURE_FORMULA : DGO_FIGURE_BOUND;
    if (!role->holds_layers && !role->holds_output && !(partial && first))
        return 0;
    if (!role->holds_layers && role->holds_output && !(partial && first))
        return t->output_alone;
    if (partial)
        return bound_bytes(memory, role);
    if (!role->pipeline)
        return dgo_max_u64(t->inputs + dgo_max_u64(t->base_alone, t->extra_alone), t->logits);
    peak = dgo_max_u64(first ? t->base_first : t->base_later, t->extra);
    if (role->holds_output)
        peak = dgo_max_u64(peak, t->logits);
    if (first)
        return COPIES * (t->inputs + t->rule->first_inputs * t->embedding + t->scan_first) + peak +
               t->rule->first_extra * t->embedding;
    return COPIES * (t->inputs + t->rule->other_inputs * t->embedding + t->scan_later) + peak;
}

/* --- the host -------------------------------------------------------------------------------- */

uint64_t memory_host_compute_bytes(const struct plan_memory *memory, uint32_t device_count,
                                   bool pipeline, uint32_t cpu_layer_count, bool output_on_cpu)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t e = t->embedding;
    uint64_t bytes;

    if (pipeline)
        return COPIES * (t->inputs + t->rule->host_inputs * e) + t->rule->host_extra * e;
    bytes = t->inputs + t->rule->host_extra_alone * e;
    if (!has_part_on_host(memory, cpu_layer_count, output_on_cpu))
        return bytes;
    if (t->family == MEMORY_DELTA)
        bytes += 3 * e; /* the state's gather stays with the host */
    if (!memory->op_offload || device_count == 0)
        return bytes + dgo_max_u64(t->base_alone, t->extra) + (output_on_cpu ? t->logits : 0);
    if (!t->attention_fused && memory->kv_on_host &&
        !(t->rule->attention_place_known && !attends_on_host(t)))
        bytes += t->extra;
    if (!t->attention_fused && memory->kv_on_host)
        bytes += 4 * e;
    return bytes;
}

/* --- around the figures ---------------------------------------------------------------------- */

uint64_t memory_safety_bytes(uint64_t compute_bytes, enum dgo_figure_source source)
{
    if (source == DGO_FIGURE_BOUND)
        return 16 * DGO_MIB;
    return dgo_max_u64(4 * DGO_MIB, compute_bytes / 200);
}
