/* terms.c - the terms of the compute buffers: what a graph of this model holds at its widest
 * moments.
 *
 * FORMULAS "Compute buffer" derives them and lists how far each build's figures are off. */
#include "graph.h"
#include "memory.h"

#include <string.h>

/* Whose graphs were compared with the engine's own figures: FORMULAS "Measured". */
static bool is_studied(const struct dgo_model *model)
{
    static const char *const names[] = {"llama",     "qwen2",         "qwen3",   "qwen3moe",
                                        "gemma2",    "gemma3",        "gpt-oss", "deepseek2",
                                        "qwen35moe", "qwen3next",     "granite", "seed_oss",
                                        "mistral3",  "hunyuan-dense", "qwen3vl"};

    if (!model->verified)
        return false;
    return DGO_TEXT_IN(model->architecture, names);
}

/* A next-token block is attention, whatever the layers are. */
static bool has_states(const struct dgo_model *model)
{
    for (uint32_t l = 0; l < model->layer_count; l++)
        if (model->layer[l].recurrent)
            return true;
    return false;
}

static enum memory_family find_family(const struct dgo_model *model)
{
    if (model->mla)
        return MEMORY_MLA;
    if (has_states(model) && (strncmp(model->architecture, "qwen35", 6) == 0 ||
                              strcmp(model->architecture, "qwen3next") == 0))
        return MEMORY_DELTA;
    if (model->expert_count == 0)
        return MEMORY_DENSE;
    return strcmp(model->architecture, "gpt-oss") == 0 ? MEMORY_MOE_FUSED : MEMORY_MOE;
}

/* --- the shape of a graph -------------------------------------------------------------------- */

/* Widths in floats for each token, the widest layer counting. */
struct widths {
    uint64_t queries, heads, feed_forward, key, value; /* key, value: of one cache row */
    uint64_t mixed;                                    /* attention's result */
    uint64_t head;                                     /* values in one key head */
    uint64_t scan; /* of a state-space layer's scan, besides the delta net's */
    bool cache, window, recurrent, state; /* state: also beside attention */
    uint64_t index;                       /* queries of an indexer (sparse attention) */
    uint64_t index_scores;                /* bytes of its scores for each token and cell */
};

/* Sparse attention scores every cell for every token, picks the best and makes a mask of them.
 * Build 11669 was seen with up to 23.3 bytes for each pair (qwen4exp), and, where the scores of
 * the heads are not summed up at once (minimax-m3), 18 with two heads. */
static void add_index(const struct dgo_model *model, const struct dgo_layer *layer,
                      struct widths *w)
{
    enum { PAIR_BYTES = 24 };
    const uint64_t heads = memory_key_number(model, "attention.indexer.head_count");

    if (layer->index_key_length == 0)
        return;
    w->index = dgo_max_u64(w->index, heads * layer->index_key_length);
    w->index_scores = PAIR_BYTES + (layer->index_value_length ? heads * sizeof(float) : 0);
}

static struct widths find_widths(const struct dgo_model *model)
{
    const uint64_t latent = memory_key_number(model, "attention.value_length_mla");
    struct widths w = {0};

    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];
        const uint64_t head = model->mla ? latent : layer->key_length;

        w.queries = dgo_max_u64(w.queries, layer->head_count * head);
        w.feed_forward = dgo_max_u64(w.feed_forward, layer->feed_forward_length);
        w.state = w.state || layer->recurrent;
        w.recurrent = w.recurrent || (layer->recurrent && layer->head_count_kv == 0);
        if (!layer->recurrent)
            w.heads = dgo_max_u64(w.heads, layer->head_count);
        add_index(model, layer, &w);
        if (layer->head_count_kv == 0)
            continue;
        w.heads = dgo_max_u64(w.heads, layer->head_count);
        w.head = dgo_max_u64(w.head, layer->key_length);
        w.key = dgo_max_u64(w.key, (uint64_t)layer->head_count_kv * layer->key_length);
        w.value = dgo_max_u64(w.value, (uint64_t)layer->head_count_kv * layer->value_length);
        w.mixed = dgo_max_u64(w.mixed, (uint64_t)layer->head_count * layer->value_length);
        w.cache = true;
        w.window = w.window || layer->sliding_window;
    }
    if (w.recurrent && find_family(model) != MEMORY_DELTA)
        w.scan = memory_key_number(model, "ssm.inner_size") +
                 2 * memory_key_number(model, "ssm.group_count") *
                     memory_key_number(model, "ssm.state_size");
    /* Two stacks of layers take turns: hidden states cross from device to device several times. */
    if (strcmp(model->architecture, "hrm_text") == 0)
        w.scan = 3 * (uint64_t)model->embedding_length;
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
    return w->cache ? memory->ctx_tokens_per_slot : memory->graph_tokens;
}

/* M: a mask and the row indices for each cache, positions. */
static void fill_inputs(const struct dgo_model *model, const struct dgo_settings *settings,
                        const struct plan_memory *memory, const struct widths *w,
                        struct memory_terms *terms)
{
    const uint64_t tokens = memory->graph_tokens;
    const bool fused = memory_attention_fused(model, settings);
    const uint64_t mask_value = fused ? 2 : 4;
    uint64_t cache = tokens * sizeof(int64_t); /* key rows */

    terms->inputs = tokens * sizeof(int32_t);
    if (!w->heads)
        return;
    if (!model->mla) {
        /* Value rows; transposed values are scattered one by one. */
        cache +=
            tokens * sizeof(int64_t) * (memory_values_transposed(model, settings) ? w->value : 1);
        cache += rotation_bytes(settings, w);
    }
    terms->full_inputs = cache + mask_value * attended_cells(memory, w) * tokens;
    if (w->window)
        terms->window_inputs = cache + mask_value * memory->window_cells * tokens;
    terms->inputs += terms->full_inputs + terms->window_inputs;
}

/* The gated delta net: convolution input and its parts, or the states of all slots. */
static uint64_t delta_bytes(const struct dgo_model *model, const struct dgo_settings *settings,
                            uint64_t token_bytes, uint64_t embedding)
{
    const uint64_t inner = memory_key_number(model, "ssm.inner_size");
    const uint64_t mixed = inner + 2 * memory_key_number(model, "ssm.group_count") *
                                       memory_key_number(model, "ssm.state_size");
    const bool is_qwen35 = strncmp(model->architecture, "qwen35", 6) == 0;
    const uint64_t kept = memory_rolls_back(model) ? settings->rollback_tokens : 0;
    uint64_t shift, state;

    memory_state_bytes(model, &shift, &state);
    return dgo_max_u64(4 * mixed * token_bytes + embedding,
                       3 * mixed * token_bytes + (is_qwen35 ? embedding : embedding * 5 / 2) +
                           settings->slot_count * ((2 + kept) * state + shift));
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

    /* The experts' gate, up and product; or their results before and after they are weighted. */
    const uint64_t experts =
        dgo_max_u64(w->feed_forward ? dense : 0, dgo_max_u64(2 * e + q + 3 * f, 2 * e + f + 2 * d));
    const uint64_t mixed = dgo_max_u64(experts, 2 * e + q + 3 * f + d); /* shared experts beside */

    switch (terms->family) {
    case MEMORY_DENSE:
        return dense;
    case MEMORY_MOE:
        return terms->studied ? experts : mixed;
    case MEMORY_MOE_FUSED:
        return 2 * e + q + 3 * f + d;
    case MEMORY_MLA:
        return dgo_max_u64(3 * e + latent_bytes(model, w, token_bytes), mixed);
    case MEMORY_DELTA:
        break;
    }
    return dgo_max_u64(delta_bytes(model, settings, token_bytes, e),
                       model->expert_count ? 3 * e + 3 * f + d : dense);
}

/* Values that lie as for fused attention are turned over for the plain one, and so copied. */
static uint64_t turned_over_bytes(const struct dgo_settings *settings, uint64_t cells,
                                  const struct widths *w)
{
    const struct dgo_ggml_type *type = memory_kv_type(settings->value_type);

    return settings->flash_attention == DGO_FA_WITHDRAWN
               ? cells * w->value / type->block_values * type->block_bytes
               : 0;
}

/* X: the scores of unfused attention, or packed caches copied to f16. */
static uint64_t extra_bytes(const struct dgo_model *model, const struct dgo_settings *settings,
                            const struct plan_memory *memory, const struct widths *w)
{
    const struct memory_terms *terms = &memory->terms;
    const uint64_t e = terms->embedding, q = terms->queries;
    const uint64_t token_bytes = memory->graph_tokens * sizeof(float);
    const uint64_t attended = attended_cells(memory, w);
    const uint64_t cells = attended * memory->stream_count;
    const uint64_t gates = terms->family == MEMORY_DELTA ? 2 * q : 0;
    const uint64_t latent = memory_key_number(model, "attention.kv_lora_rank");

    if (!w->heads)
        return 0;
    if (!terms->attention_fused) {
        const uint64_t scores = w->heads * attended * token_bytes;

        if (terms->family == MEMORY_MLA)
            return scores + 3 * e +
                   w->heads * token_bytes *
                       (w->key + latent + memory_key_number(model, "attention.key_length_mla") +
                        memory_key_number(model, "rope.dimension_count"));
        return scores + turned_over_bytes(settings, cells, w) + 2 * e + 2 * q + gates;
    }
    /* CUDA's kernels read f16: an f32 cache is copied before, others are unpacked behind the
     * result. */
    const uint64_t width = (settings->key_type == DGO_KV_F16 ? 0 : w->key) +
                           (settings->value_type == DGO_KV_F16 ? 0 : w->value);

    if (width == 0)
        return 0;
    if (terms->family == MEMORY_MLA)
        return 2 * e + w->heads * token_bytes * (w->key + latent) + 2 * cells * w->key;
    return 2 * e + 2 * q + 2 * cells * width + 2 * gates;
}

/* Seen on build 11669, on a device alone: what packing leaves no hole for. */
static uint64_t alone_unpacked(const struct dgo_settings *settings, const struct widths *w,
                               const struct memory_terms *terms)
{
    const bool key = is_packed(settings->key_type), value = is_packed(settings->value_type);
    const uint64_t e = terms->embedding, q = terms->queries;

    if (terms->family != MEMORY_MOE_FUSED && q > e && key != value)
        return e;
    return value && w->window && q < e ? e : 0;
}

/* A device alone keeps the embeddings of the whole graph beside a layer's peak. */
static void fill_alone(const struct dgo_settings *settings, const struct widths *w,
                       struct memory_terms *terms)
{
    const uint64_t e = terms->embedding, q = terms->queries;
    const uint64_t free_e = 2 * e > q ? 2 * e - q : 0;

    terms->extra_alone = dgo_max_u64(terms->extra, terms->extra_first);
    if (terms->extra && terms->family == MEMORY_MLA && !terms->attention_fused)
        terms->extra_alone = dgo_max_u64(terms->extra_alone, terms->extra + e);
    if (terms->extra && terms->family == MEMORY_DELTA && !terms->attention_fused)
        terms->extra_alone += e;
    terms->base_alone = terms->base;
    if (terms->family == MEMORY_MLA || terms->family == MEMORY_DELTA)
        terms->base_alone += e;
    else
        terms->base_alone += free_e + alone_unpacked(settings, w, terms);
    if (terms->extra && terms->family != MEMORY_MLA && terms->family != MEMORY_DELTA)
        terms->extra_alone += q > e ? 2 * e : free_e;
}

/* Devices of a pipeline.  The first has a layer whose inputs come in one by one. */
static void fill_pipeline(const struct dgo_settings *settings, const struct widths *w,
                          uint64_t token_bytes, struct memory_terms *terms)
{
    enum { LATENT_FIRST = 64 };
    const uint64_t e = terms->embedding, q = terms->queries;

    terms->base_later = terms->base;
    if (w->window && is_packed(settings->value_type) && q < e)
        terms->base_later += q;
    terms->base_first = terms->base_later;
    if (terms->family == MEMORY_MLA) {
        terms->base_first += w->heads * LATENT_FIRST * token_bytes;
        if (terms->extra && !terms->attention_fused)
            terms->extra_first = terms->extra + w->heads * LATENT_FIRST * token_bytes;
    }
    if (terms->family == MEMORY_DELTA) {
        const bool one = is_packed(settings->key_type) != is_packed(settings->value_type) ||
                         settings->key_type == DGO_KV_F32;

        terms->base_first += one ? e : 0;
        if (terms->extra)
            terms->extra += one ? e : 0;
    }
    terms->scan = w->scan * token_bytes;
}

static uint64_t logits_bytes(const struct dgo_model *model, const struct plan_memory *memory)
{
    const struct memory_terms *terms = &memory->terms;
    const uint64_t times[] = {
        [MEMORY_DENSE] = 1, [MEMORY_MOE] = 1,   [MEMORY_MOE_FUSED] = 2,
        [MEMORY_MLA] = 3,   [MEMORY_DELTA] = 3,
    };

    const uint64_t logits = (uint64_t)model->vocab_size * memory->output_row_count * sizeof(float);

    /* What is fed turns its own logits into the model's vocabulary, or picks its guesses there. */
    return (terms->fed ? 2 : 1) * logits +
           (times[terms->family] + (terms->fed ? 2 : 0)) * terms->embedding;
}

/* The output layer on a device without layers sees the wanted rows only, handed on as any input. */
static uint64_t output_alone_bytes(const struct dgo_model *model, const struct plan_memory *memory)
{
    const uint64_t rows = memory->output_row_count * sizeof(float);
    const uint64_t wide = recipe_norms_all(model, memory->terms.rule) ? memory->terms.embedding : 0;
    const uint64_t fed = memory->terms.fed ? 3 * memory->terms.embedding : 0;

    return rows * model->vocab_size * (fed ? 2 : 1) +
           (fed + wide + rows * model->embedding_length) *
               (1U + MEMORY_COPIES * memory->terms.rule->other_inputs);
}

/* A graph for the generation is reserved, too: a token and a row for each slot. */
static uint32_t output_rows(const struct dgo_settings *settings, const struct memory_build *rule,
                            const struct plan_memory *memory)
{
    uint32_t rows = settings->output_row_count;

    if (rows == 0)
        rows = rule->row_for_each_slot ? settings->slot_count : memory->ubatch_tokens;
    return rows < memory->graph_tokens ? rows : memory->graph_tokens;
}

/* An architecture whose graphs were not compared gets a bound; FORMULAS "Measured" has how far. */
static void add_slack(const struct dgo_model *model, const struct dgo_settings *settings,
                      const struct plan_memory *memory, const struct widths *w,
                      struct memory_terms *terms)
{
    const uint64_t token_bytes = memory->graph_tokens * sizeof(float);
    uint64_t slack = 2 * terms->embedding + terms->queries +
                     (5 * w->scan + 2 * w->index) * token_bytes +
                     w->index_scores * memory->ctx_tokens_per_slot * memory->graph_tokens;
    uint64_t shift, state;

    if (w->state) {
        memory_state_bytes(model, &shift, &state);
        slack += settings->slot_count * (2 * state + shift);
    }
    terms->base += slack;
    if (terms->extra)
        terms->extra += slack;
}

void memory_terms_fill(const struct dgo_model *model, const struct dgo_settings *settings,
                       const struct dgo_engine_rules *rules, struct plan_memory *memory)
{
    struct memory_terms *terms = &memory->terms;
    const struct widths w = find_widths(model);
    const uint64_t token_bytes = memory->graph_tokens * sizeof(float);

    terms->rule = memory_build_find(rules ? rules->build : 0);
    memory->build = terms->rule->measured_build;
    memory->newer_build =
        rules && rules->build > memory_build_find(0)->measured_build ? rules->build : 0;
    memory->output_row_count = output_rows(settings, terms->rule, memory);
    terms->family = find_family(model);
    terms->fed = memory_fed_layer_count(model) > 0;
    terms->studied = is_studied(model);
    terms->sliding_window = w.window;
    terms->attention_fused = memory_attention_fused(model, settings);
    terms->values_transposed = memory_values_transposed(model, settings);
    terms->embedding = model->embedding_length * token_bytes;
    terms->host_more = graph_host_bytes(model, token_bytes);
    terms->queries = w.queries * token_bytes;
    fill_inputs(model, settings, memory, &w, terms);
    terms->base = base_bytes(model, settings, terms, &w, token_bytes);
    terms->extra = extra_bytes(model, settings, memory, &w);
    if (!terms->studied)
        add_slack(model, settings, memory, &w, terms);
    terms->adapted = settings->adapter_count > 0;
    terms->crossing = settings->override_count > 0;
    if (terms->adapted) /* a product as wide as the widest, scaled and added */
        terms->base +=
            2 * dgo_max_u64(w.feed_forward * token_bytes, terms->queries) + 2 * terms->embedding;
    fill_pipeline(settings, &w, token_bytes, terms);
    fill_alone(settings, &w, terms);
    terms->logits = logits_bytes(model, memory);
    memory->graph_known = !terms->adapted && graph_fill(model, settings, memory, &memory->graph);
    memory->replayed =
        memory->graph_known && !terms->fed && recipe_has_roles(recipe_find(model->architecture));
    terms->output_alone = output_alone_bytes(model, memory);
    if (memory->output_row_count < DGO_OFFLOAD_ROWS_MIN)
        terms->output_weight = 0;
}
