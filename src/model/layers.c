/* layers.c - from keys, tensor shapes and the architecture's rules to the facts of every layer.
 *
 * The engine trusts the keys and refuses a file whose tensors have other shapes.  So do we for a
 * known architecture; where keys and shapes disagree, and for an unknown architecture, the shapes
 * win (they are what takes memory) and the model is not `verified`. */
#include "model_internal.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const struct dgo_model_key *arch_key(const struct dgo_model *model, const char *suffix)
{
    char name[sizeof model->architecture + 64];

    snprintf(name, sizeof name, "%s.%s", model->architecture, suffix);
    return dgo_model_find(model, name);
}

/* The sentence about one of the architecture's keys, with its place; where it is missing, that of
 * the count of pairs. */
static DGO_PRINTF(4, 5) enum dgo_status bad_key(const struct derive *d, enum dgo_status status,
                                                const char *suffix, const char *fmt, ...)
{
    const struct dgo_model_key *key = arch_key(d->model, suffix);
    char what[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return dgo_fail(d->err, status, "byte %" PRIu64 ": metadata key %s.%s %s",
                    key ? key->pos : (uint64_t)GGUF_KEY_COUNT_POS, d->model->architecture, suffix,
                    what);
}

/* --- numbers from keys ----------------------------------------------------------------------- */

static const struct {
    const char *suffix;
    bool of_model; /* at: in struct dgo_model, else in struct numbers */
    size_t at;
} number_keys[] = {
#define OF_MODEL(suffix, field)                                                                    \
    {                                                                                              \
        suffix, true, offsetof(struct dgo_model, field)                                            \
    }
#define OF_NUMBERS(suffix, field)                                                                  \
    {                                                                                              \
        suffix, false, offsetof(struct numbers, field)                                             \
    }
    OF_MODEL("context_length", context_length),
    OF_MODEL("embedding_length", embedding_length),
    OF_MODEL("expert_count", expert_count),
    OF_MODEL("expert_used_count", expert_used_count),
    OF_MODEL("expert_feed_forward_length", expert_feed_forward_length),
    OF_MODEL("nextn_predict_layers", mtp_layer_count),
    OF_NUMBERS("block_count", block_count),
    OF_NUMBERS("vocab_size", vocab_size),
    OF_NUMBERS("attention.key_length", key_length),
    OF_NUMBERS("attention.value_length", value_length),
    OF_NUMBERS("attention.key_length_swa", key_length_swa),
    OF_NUMBERS("attention.value_length_swa", value_length_swa),
    OF_NUMBERS("attention.key_length_mla", key_length_mla),
    OF_NUMBERS("attention.value_length_mla", value_length_mla),
    OF_NUMBERS("attention.sliding_window", sliding_window),
    OF_NUMBERS("attention.shared_kv_layers", shared_kv_layers),
    OF_NUMBERS("full_attention_interval", full_attention_interval),
    OF_NUMBERS("leading_dense_block_count", leading_dense),
    OF_NUMBERS("attention.indexer.key_length", index_key_length),
    OF_NUMBERS("attention.indexer.kpool", index_pool),
    OF_NUMBERS("attention.indexer.top_k", index_top_k),
#undef OF_MODEL
#undef OF_NUMBERS
};

static enum dgo_status read_numbers(struct derive *d)
{
    for (size_t i = 0; i < sizeof number_keys / sizeof number_keys[0]; i++) {
        const char *suffix = number_keys[i].suffix;
        const struct dgo_model_key *key = arch_key(d->model, suffix);
        uint64_t number;

        if (!key || key->is_array)
            continue; /* some families write one of these a layer; the shapes have it */
        if (!gguf_number(key, &number) || number > INT32_MAX)
            return bad_key(d, DGO_EFORMAT, suffix, "is no possible number");

        char *base = number_keys[i].of_model ? (char *)d->model : (char *)&d->n;
        const uint32_t value = (uint32_t)number;

        memcpy(base + number_keys[i].at, &value, sizeof value);
    }
    return DGO_OK;
}

/* A key that is one number for all layers or an array with one for each. */
static enum dgo_status check_layer_key(const struct derive *d, const char *suffix,
                                       const struct dgo_model_key *key)
{
    uint64_t number;

    if (!key)
        return DGO_OK;
    if (!key->is_array) {
        if (gguf_number(key, &number) && number <= INT32_MAX)
            return DGO_OK;
        return bad_key(d, DGO_EFORMAT, suffix, "is no possible number");
    }
    if (!key->elements || key->length < d->model->layer_count)
        return bad_key(d, DGO_EFORMAT, suffix, "has %" PRIu64 " values for %" PRIu32 " layers",
                       key->length, d->model->layer_count);
    for (uint32_t l = 0; l < d->n.block_count && l < key->length; l++) {
        if (!(key->elements[l] >= 0 && key->elements[l] <= INT32_MAX))
            return bad_key(d, DGO_EFORMAT, suffix, "has no possible number for layer %" PRIu32, l);
    }
    return DGO_OK;
}

uint32_t layer_number(const struct dgo_model_key *key, uint32_t layer)
{
    if (!key)
        return 0;
    if (!key->is_array)
        return (uint32_t)key->number;
    /* Some files leave next-token blocks out of their arrays: such a block is like the last one. */
    return (uint32_t)key->elements[layer < key->length ? layer : key->length - 1];
}

static enum dgo_status find_layer_keys(struct derive *d)
{
    const struct {
        const char *suffix;
        const struct dgo_model_key **key;
    } keys[] = {
        {"attention.head_count", &d->head_count},
        {"attention.head_count_kv", &d->head_count_kv},
        {"feed_forward_length", &d->feed_forward},
        {"attention.sliding_window_pattern", &d->window_pattern},
        {"attention.recurrent_layers", &d->recurrent_layers},
        {"attention.indexer.types", &d->index_types},
        {"attention.compress_ratios", &d->compress_ratios},
    };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        *keys[i].key = arch_key(d->model, keys[i].suffix);

        const enum dgo_status status = check_layer_key(d, keys[i].suffix, *keys[i].key);

        if (status)
            return status;
    }
    return DGO_OK;
}

/* --- shapes from tensors --------------------------------------------------------------------- */

static const struct {
    const char *part; /* of the name, after "blk.N." */
    uint8_t dim;
    size_t at;
} shape_parts[] = {
    {"attn_k.weight", 1, offsetof(struct shape, key_rows)},
    {"attn_v.weight", 1, offsetof(struct shape, value_rows)},
    {"attn_qkv.weight", 1, offsetof(struct shape, qkv_rows)},
    {"attn_kv_a_mqa.weight", 1, offsetof(struct shape, latent_rows)},
    {"ffn_down.weight", 0, offsetof(struct shape, feed_forward)},
    {"ffn_down_exps.weight", 0, offsetof(struct shape, expert_feed_forward)},
    {"ffn_down_exps.weight", 2, offsetof(struct shape, expert_count)},
    {"indexer_compressor_gate.weight", 1, offsetof(struct shape, index_gate)},
};

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void note_shape(struct shape *shape, const char *part, const struct dgo_tensor *tensor)
{
    for (size_t i = 0; i < sizeof shape_parts / sizeof shape_parts[0]; i++) {
        if (strcmp(part, shape_parts[i].part) == 0)
            memcpy((char *)shape + shape_parts[i].at, &tensor->dim[shape_parts[i].dim],
                   sizeof tensor->dim[0]);
    }
    if (starts_with(part, "ssm_") || starts_with(part, "shortconv.") ||
        starts_with(part, "time_mix_"))
        shape->recurrent = true;
    if (starts_with(part, "attn_k.") || starts_with(part, "attn_qkv.") ||
        starts_with(part, "attn_kv_"))
        shape->attention = true;
}

/* Sums that saturate: a hostile file may claim 2^63 bytes often. */
static void add(uint64_t *sum, uint64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum))
        *sum = UINT64_MAX;
}

static void count_tensor(struct derive *d, const struct dgo_tensor *tensor)
{
    struct dgo_model *model = d->model;
    uint32_t layer;
    const char *part = block_part(tensor->name, &layer);

    add(&model->parameter_count, tensor->dim[0] * tensor->dim[1] * tensor->dim[2] * tensor->dim[3]);
    switch (tensor->class) {
    case DGO_TENSOR_INPUT:
        add(&model->input_bytes, tensor->size_bytes);
        return;
    case DGO_TENSOR_OUTPUT:
        add(&model->output_bytes, tensor->size_bytes);
        return;
    case DGO_TENSOR_TABLE:
        add(&model->table_bytes, tensor->size_bytes);
        return;
    case DGO_TENSOR_LAYER:
        break;
    }
    if (tensor->layer >= d->n.block_count) {
        model->verified = false; /* the engine counts its tensors and would refuse */
        return;
    }

    struct dgo_layer *to = &model->layer[tensor->layer];

    if (part)
        note_shape(&d->shape[tensor->layer], part, tensor);
    if (tensor->layer >= model->layer_count)
        return; /* next-token blocks are no part of what a token goes through */
    add(&to->weights_bytes, tensor->size_bytes);
    if (is_expert_tensor(tensor->name))
        add(&to->expert_bytes, tensor->size_bytes);
}

/* --- how many layers ------------------------------------------------------------------------- */

static uint32_t highest_block(const struct dgo_model *model)
{
    uint32_t count = 0, layer;

    for (uint32_t i = 0; i < model->tensor_count; i++) {
        if (block_part(model->tensor[i].name, &layer) && layer >= count)
            count = layer + 1;
    }
    return count;
}

static enum dgo_status count_layers(struct derive *d)
{
    struct dgo_model *model = d->model;

    if (d->n.block_count == 0) {
        d->n.block_count = highest_block(model);
        model->verified = false;
    }
    if (d->n.block_count > DGO_LAYER_MAX)
        return bad_key(d, DGO_ELIMIT, "block_count", "is %" PRIu32 ", the engine takes at most %d",
                       d->n.block_count, DGO_LAYER_MAX);
    if (d->n.block_count == 0 && strcmp(model->architecture, "clip") != 0)
        return bad_key(d, DGO_EFORMAT, "block_count", "is missing and no tensor is in a block");
    if (model->mtp_layer_count && model->mtp_layer_count >= d->n.block_count)
        return bad_key(d, DGO_EFORMAT, "nextn_predict_layers",
                       "is %" PRIu32 ", of %" PRIu32 " blocks", model->mtp_layer_count,
                       d->n.block_count);
    model->layer_count = d->n.block_count - model->mtp_layer_count;
    return DGO_OK;
}

/* --- one layer -------------------------------------------------------------------------------- */

static uint32_t narrow(uint64_t value)
{
    return value > INT32_MAX ? INT32_MAX : (uint32_t)value;
}

static bool rows_match(uint64_t rows, uint32_t head_count, uint32_t length)
{
    return rows == 0 || rows == (uint64_t)head_count * length;
}

/* K and V of an unknown architecture's fused tensor: what it has more than the queries. */
static void split_fused(const struct derive *d, uint32_t l, struct dgo_layer *layer)
{
    const uint64_t rows = d->shape[l].qkv_rows;
    const uint64_t heads = (uint64_t)layer->head_count + 2ull * layer->head_count_kv;

    if (!d->rule && rows && heads && rows % heads == 0)
        layer->key_length = layer->value_length = narrow(rows / heads);
}

/* The cache's rows are what the tensors say; where the keys say otherwise the heads are a guess. */
static void match_shapes(struct derive *d, uint32_t l, struct dgo_layer *layer)
{
    const struct shape *shape = &d->shape[l];
    const uint64_t key_rows = d->model->mla ? shape->latent_rows : shape->key_rows;
    const uint64_t value_rows =
        d->model->mla || (d->rule && d->rule->keys_only) ? 0 : shape->value_rows;
    uint32_t heads = layer->head_count_kv;

    if (rows_match(key_rows, heads, layer->key_length) &&
        rows_match(value_rows, heads, layer->value_length))
        return;
    d->model->verified = false;
    if (heads == 0 || key_rows % heads || value_rows % heads) {
        layer->key_length = narrow((uint64_t)layer->key_length * heads);
        layer->value_length = narrow((uint64_t)layer->value_length * heads);
        heads = 1;
    }
    layer->head_count_kv = heads;
    if (key_rows)
        layer->key_length = narrow(key_rows / heads);
    if (value_rows)
        layer->value_length = narrow(value_rows / heads);
}

static void set_head_lengths(const struct derive *d, struct dgo_layer *layer)
{
    const uint32_t first_heads = layer_number(d->head_count, 0);
    const uint32_t even = first_heads ? d->model->embedding_length / first_heads : 0;

    layer->key_length = d->n.key_length ? d->n.key_length : even;
    layer->value_length = d->n.value_length ? d->n.value_length : even;
    if (layer->sliding_window && d->n.key_length_swa)
        layer->key_length = d->n.key_length_swa;
    if (layer->sliding_window && d->n.value_length_swa)
        layer->value_length = d->n.value_length_swa;
    if (d->model->mla || (d->rule && d->rule->keys_only))
        layer->value_length = 0;
}

static void derive_layer(struct derive *d, uint32_t l)
{
    struct dgo_layer *layer = &d->model->layer[l];
    const struct shape *shape = &d->shape[l];

    layer->head_count = layer_number(d->head_count, l);
    layer->head_count_kv = layer_number(d->head_count_kv ? d->head_count_kv : d->head_count, l);
    layer->recurrent = rule_is_recurrent(d, l, layer->head_count_kv);
    layer->sliding_window =
        rule_has_window(d, l) &&
        (!layer->recurrent || (d->rule && d->rule->recurrent == RECURRENT_BESIDE));
    layer->feed_forward_length = narrow(shape->feed_forward);
    if (shape->expert_count)
        d->model->expert_count = narrow(shape->expert_count);
    if (shape->expert_feed_forward)
        d->model->expert_feed_forward_length = narrow(shape->expert_feed_forward);
    if (d->rule && layer->recurrent != shape->recurrent)
        d->model->verified = false;
    if (!rule_has_cache(d, l, layer->recurrent)) {
        layer->head_count_kv = 0;
        return;
    }
    rule_set_index(d, l, layer);
    set_head_lengths(d, layer);
    split_fused(d, l, layer);
    match_shapes(d, l, layer);
}

/* Next-token blocks attend to everything, whatever the layers do.  What is wrong with them is no
 * reason to doubt the model, which is loaded without them. */
static void derive_next_token_blocks(struct derive *d)
{
    const bool verified = d->model->verified;

    for (uint32_t l = d->model->layer_count; l < d->n.block_count; l++)
        derive_layer(d, l);
    d->model->verified = verified;
}

/* --- the model as a whole -------------------------------------------------------------------- */

static const struct dgo_tensor *find_tensor(const struct dgo_model *model, const char *name)
{
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        if (strcmp(model->tensor[i].name, name) == 0)
            return &model->tensor[i];
    }
    return NULL;
}

static void copy_text_key(const struct dgo_model *model, const char *name, char *to, size_t size)
{
    const struct dgo_model_key *key = dgo_model_find(model, name);

    if (key && key->kind == DGO_VALUE_STRING && !key->is_array && key->text)
        dgo_text_copy_escaped(to, size, key->text, key->length);
}

/* A draft that other layers feed (EAGLE3, DFlash) uses the output of the model that it drafts for
 * where it has none. */
static bool is_fed(const struct dgo_model *model)
{
    char name[80];

    snprintf(name, sizeof name, "%.48s.target_layers", model->architecture);
    return dgo_model_find(model, name) != NULL;
}

static void describe(struct derive *d)
{
    struct dgo_model *model = d->model;
    const struct dgo_tensor *input = find_tensor(model, "token_embd.weight");
    const struct dgo_model_key *tokens = dgo_model_find(model, "tokenizer.ggml.tokens");
    uint64_t number;

    copy_text_key(model, "general.name", model->name, sizeof model->name);
    copy_text_key(model, "tokenizer.ggml.model", model->tokenizer, sizeof model->tokenizer);
    copy_text_key(model, "tokenizer.ggml.pre", model->tokenizer_pre, sizeof model->tokenizer_pre);
    model->file_type = UINT32_MAX;
    if (gguf_number(dgo_model_find(model, "general.file_type"), &number) && number < UINT32_MAX)
        model->file_type = (uint32_t)number;
    model->vocab_size = d->n.vocab_size;
    if (input)
        model->vocab_size = narrow(input->dim[1]);
    else if (model->vocab_size == 0 && tokens && tokens->is_array)
        model->vocab_size = narrow(tokens->length);
    model->tied_embeddings = input && !find_tensor(model, "output.weight") &&
                             !(d->rule && d->rule->no_output) && !is_fed(model);
}

enum dgo_status layers_derive(struct dgo_model *model, struct dgo_error *err)
{
    struct derive d = {.model = model, .rule = arch_find(model->architecture), .err = err};
    enum dgo_status status;

    d.shape = dgo_arena_take_array(model->arena, DGO_LAYER_MAX, sizeof *d.shape);
    if (!d.shape)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    model->verified = model->verified && d.rule && !d.rule->unverified;
    if ((status = read_numbers(&d)) || (status = count_layers(&d)) ||
        (status = find_layer_keys(&d)))
        return status;
    if (arch_key(model, "full_attention_interval") == NULL)
        d.n.full_attention_interval =
            d.rule && d.rule->recurrent_interval ? d.rule->recurrent_interval : 4;
    if (d.n.full_attention_interval == 0)
        return bad_key(&d, DGO_EFORMAT, "full_attention_interval", "is 0");
    describe(&d);
    model->mla = d.n.key_length_mla && d.n.value_length_mla;
    model->cache_for_each_slot = d.rule && d.rule->cache_for_each_slot;
    model->sliding_window = rule_window_tokens(&d);
    for (uint32_t i = 0; i < model->tensor_count; i++)
        count_tensor(&d, &model->tensor[i]);
    for (uint32_t l = 0; l < model->layer_count; l++)
        derive_layer(&d, l);
    derive_next_token_blocks(&d);
    return DGO_OK;
}
