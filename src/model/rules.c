/* rules.c - an architecture's row applied to one layer: window, state, cache. */
#include "model_internal.h"

uint32_t rule_window_tokens(const struct derive *d)
{
    const struct arch_rule *rule = d->rule;
    const bool given = arch_key(d->model, "attention.sliding_window") != NULL;

    if (!rule) /* flags for every layer are plain enough to be believed without a rule */
        return d->window_pattern && d->window_pattern->is_array ? d->n.sliding_window : 0;
    if (rule->window_layers == WINDOW_NONE)
        return 0;
    if (rule->window_only_layer_count && rule->window_only_layer_count != d->model->layer_count)
        return 0;
    switch (rule->window_size) {
    case WINDOW_DEFAULT:
        return given ? d->n.sliding_window : rule->window_tokens;
    case WINDOW_FIXED:
        return given && d->n.sliding_window == 0 ? 0 : rule->window_tokens;
    case WINDOW_FIXED_IF_KEY:
        return d->n.sliding_window ? rule->window_tokens : 0;
    case WINDOW_KEY:
        break;
    }
    return d->n.sliding_window;
}

/* Period 0 means every layer, 1 none (llama_hparams::set_swa_pattern). */
static bool in_period(uint32_t layer, uint32_t period, bool dense_first)
{
    if (period == 0)
        return true;
    return dense_first ? layer % period != 0 : layer % period < period - 1;
}

bool rule_has_window(const struct derive *d, uint32_t l)
{
    const struct dgo_model_key *pattern = d->window_pattern;
    const struct arch_rule *rule = d->rule;

    if (d->model->sliding_window == 0)
        return false;
    if (rule && (rule->window_layers == WINDOW_ALL || rule->window_layers == WINDOW_ATTENTION))
        return true;
    if (!rule || rule->window_layers == WINDOW_ARRAY || (pattern && pattern->is_array))
        return layer_number(pattern, l) != 0;
    return in_period(l, pattern ? (uint32_t)pattern->number : rule->window_period,
                     rule->window_dense_first);
}

bool rule_is_recurrent(const struct derive *d, uint32_t l, uint32_t head_count_kv)
{
    if (l >= d->model->layer_count) /* a next-token block */
        return false;
    if (!d->rule)
        return d->shape[l].recurrent;
    switch (d->rule->recurrent) {
    case RECURRENT_NONE:
        return false;
    case RECURRENT_ALL:
    case RECURRENT_BESIDE:
        return true;
    case RECURRENT_NO_KV_HEADS:
        return head_count_kv == 0;
    case RECURRENT_NO_KV_NO_FF:
        return head_count_kv == 0 && layer_number(d->feed_forward, l) == 0;
    case RECURRENT_INTERVAL:
        break;
    }
    if (d->recurrent_layers)
        return layer_number(d->recurrent_layers, l) != 0;
    return (l + 1) % d->n.full_attention_interval != 0;
}

bool rule_has_cache(const struct derive *d, uint32_t l, bool recurrent)
{
    const struct arch_rule *rule = d->rule;

    if (!rule)
        return d->shape[l].attention && !(recurrent && !d->shape[l].key_rows);
    if (l >= d->model->layer_count)
        return !rule->no_kv && d->shape[l].attention;
    if (rule->no_kv || (recurrent && rule->recurrent != RECURRENT_BESIDE))
        return false;
    if (rule->recurrent == RECURRENT_NO_KV_NO_FF && layer_number(d->feed_forward, l) != 0)
        return false;
    if (rule->kv_layer_count && l >= rule->kv_layer_count)
        return false;
    return d->n.shared_kv_layers == 0 || l + d->n.shared_kv_layers < d->n.block_count;
}

/* GLM 5.2 came without flags: two full indexers, then the first of each four (llama.cpp's
 * GLM_5_2_DEFAULT_INDEXER_TYPES); what was trained on less has one in every layer. */
static bool glm_has_index(const struct derive *d, uint32_t l)
{
    enum { GLM_5_2_CONTEXT = 1 << 20 };

    return d->model->context_length < GLM_5_2_CONTEXT || l < 2 || (l - 2) % 4 == 0;
}

static bool has_index(const struct derive *d, uint32_t l)
{
    switch (d->rule->index_layers) {
    case INDEX_NONE:
        return false;
    case INDEX_ALL:
    case INDEX_ATTENTION: /* a recurrent layer does not come here */
        return true;
    case INDEX_AFTER_DENSE:
        return l >= d->n.leading_dense;
    case INDEX_FLAGS:
        break;
    }
    if (d->index_types)
        return layer_number(d->index_types, l) != 0;
    return glm_has_index(d, l);
}

void rule_set_index(const struct derive *d, uint32_t l, struct dgo_layer *layer)
{
    /* Pooled keys are kept beside those they were made of, and so are a compressor's gates. */
    const bool pooled = d->n.index_pool > 1;
    const uint32_t kept = 1u + pooled + (pooled && d->shape[l].index_gate > 0);
    enum { INDEXED_RATIO = 4 }; /* deepseek4: what is compressed more has no indexer */

    if (!d->rule)
        return;
    layer->compress_ratio = d->rule->cache_for_each_slot ? layer_number(d->compress_ratios, l) : 0;
    if (d->n.index_top_k == 0 || !has_index(d, l) ||
        (d->rule->cache_for_each_slot && layer->compress_ratio != INDEXED_RATIO))
        return;
    layer->index_key_length = d->n.index_key_length * kept;
    if (d->rule->index_values)
        layer->index_value_length = d->n.value_length;
}
