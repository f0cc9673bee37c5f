/* cut.c - the pieces of -sm tensor, as llama.cpp's llama_meta_device_get_split_state deals them out
 * (read in its source of August 2026; measured against build 11669). */
#include "cut.h"

#include "dgo_units.h"

#include <string.h>

enum {
    SEGMENT_MAX = 2,
    WIDTH_LEAST = 128, /* pieces are made this wide where heads allow it: faster kernels */
};

/* Which dimension is cut; the others are whole.  WHOLE: every card has all of it. */
enum cut_axis { CUT_0, CUT_1, CUT_WHOLE };

/* A run of values along the cut dimension that is dealt out by itself, `repeat` times. */
struct segment {
    uint64_t values, granularity;
    uint32_t repeat;
};

struct cut {
    enum cut_axis axis;
    uint32_t rotation; /* which device is served first */
    uint32_t segment_count;
    struct segment segment[SEGMENT_MAX];
};

struct cutter {
    const struct dgo_model *model;
    const struct dgo_settings *settings;
    const struct plan_memory *memory;
    struct override_set *overrides;
    struct cut_part *part;
    struct dgo_error *err;
    uint32_t device_count;
    bool delta_interleaved;                  /* qwen35: values follow their keys group by group */
    bool gated;                              /* the query matrix holds a gate of the same width */
    uint64_t head_keys, groups, ranks, conv; /* of a gated delta net */
};

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b > 0) {
        const uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

static uint64_t common_multiple(uint64_t a, uint64_t b)
{
    return a && b ? a / common_divisor(a, b) * b : 0;
}

/* --- what is cut, and how finely ------------------------------------------------------------- */

/* Layers of the same kind before this one: pieces that do not divide go round from one to the
 * next. */
static uint32_t rotation_of(const struct cutter *c, uint32_t l)
{
    const struct dgo_layer *layer = c->model->layer;
    uint32_t before = 0;

    for (uint32_t i = 0; i < l; i++)
        before += layer[i].recurrent == layer[l].recurrent &&
                  layer[i].sliding_window == layer[l].sliding_window;
    return before % c->device_count;
}

/* Values in a block of the layer's matrix of that name; 0: there is none. */
static uint32_t block_of(const struct cutter *c, uint32_t l, const char *name)
{
    for (uint32_t i = 0; i < c->model->tensor_count; i++) {
        const struct dgo_tensor *tensor = &c->model->tensor[i];
        const char *dot = tensor->class == DGO_TENSOR_LAYER && tensor->layer == l
                              ? strchr(tensor->name + 4, '.')
                              : NULL;

        if (dot && strcmp(dot + 1, name) == 0) {
            const struct dgo_ggml_type *type = dgo_ggml_type(tensor->type);

            return type ? type->block_values : 0;
        }
    }
    return 0;
}

static uint32_t block_of_either(const struct cutter *c, uint32_t l, const char *name,
                                const char *other)
{
    const uint32_t block = block_of(c, l, name);

    return block ? block : block_of(c, l, other);
}

static uint64_t sharing_heads(const struct cutter *c, uint32_t l)
{
    const struct dgo_layer *layer = &c->model->layer[l];

    return layer->head_count_kv ? layer->head_count / layer->head_count_kv : 1;
}

/* Of queries, in values: whole groups of heads that share a cache head, wide enough for the fast
 * kernels where that leaves every card something.  `each` is 2 where a gate comes with a query. */
static uint64_t query_granularity(const struct cutter *c, uint32_t l, uint64_t block, uint64_t each)
{
    const uint64_t group = sharing_heads(c, l) * c->model->layer[l].key_length;

    while (block > 0 && block < WIDTH_LEAST && block * c->device_count < group)
        block *= 2;
    return common_multiple(each * group, block);
}

static uint64_t delta_granularity(const struct cutter *c, uint64_t block)
{
    return common_multiple(common_multiple(block, WIDTH_LEAST), c->head_keys);
}

static void one_segment(struct cut *cut, enum cut_axis axis, uint64_t values, uint64_t granularity,
                        uint32_t repeat)
{
    cut->axis = axis;
    cut->segment_count = 1;
    cut->segment[0] =
        (struct segment){.values = values, .granularity = granularity, .repeat = repeat};
}

/* Queries, keys and values in one matrix, of a gated delta net. */
static void cut_delta_mixed(const struct cutter *c, uint64_t block, enum cut_axis axis,
                            uint64_t each, struct cut *cut)
{
    const uint64_t granularity = delta_granularity(c, block) * each;
    const uint64_t keys = c->head_keys * c->groups * each, ratio = c->ranks / c->groups;

    if (c->delta_interleaved) {
        one_segment(cut, axis, keys, granularity, (uint32_t)(2 + ratio));
        return;
    }
    one_segment(cut, axis, keys, granularity, 2);
    cut->segment_count = 2;
    cut->segment[1] = (struct segment){
        .values = c->head_keys * c->ranks * each, .granularity = granularity, .repeat = 1};
}

/* The other matrices and vectors of one; false: none of them. */
static bool cut_delta(const struct cutter *c, const char *name, uint64_t block,
                      const struct dgo_tensor *tensor, struct cut *cut)
{
    static const char *const per_head[] = {"ssm_dt.bias", "ssm_a", "ssm_alpha.weight",
                                           "ssm_beta.weight"};
    const uint64_t granularity = delta_granularity(c, block);
    const uint64_t ratio = c->ranks / c->groups;

    if (strcmp(name, "attn_qkv.weight") == 0 || strcmp(name, "ssm_conv1d.weight") == 0) {
        cut_delta_mixed(c, block, CUT_1, 1, cut);
    } else if (strcmp(name, "attn_gate.weight") == 0 || strcmp(name, "ssm_out.weight") == 0) {
        const enum cut_axis axis = name[0] == 's' ? CUT_0 : CUT_1;

        if (c->delta_interleaved)
            one_segment(cut, axis, c->head_keys * c->groups, granularity, (uint32_t)ratio);
        else
            one_segment(cut, axis, tensor->dim[axis == CUT_1], granularity, 1);
    } else if (DGO_TEXT_IN(name, per_head)) {
        const enum cut_axis axis = strstr(name, "weight") ? CUT_1 : CUT_0;

        if (c->delta_interleaved)
            one_segment(cut, axis, c->groups, granularity / c->head_keys, (uint32_t)ratio);
        else
            one_segment(cut, axis, tensor->dim[axis == CUT_1], granularity / c->head_keys, 1);
    } else if (strcmp(name, "ssm_ba.weight") == 0) {
        one_segment(cut, CUT_1, tensor->dim[1], 2 * (granularity / c->head_keys), 1);
    } else {
        return false;
    }
    return true;
}

static bool cut_attention(const struct cutter *c, const char *name, uint64_t block, uint32_t l,
                          const struct dgo_tensor *tensor, struct cut *cut)
{
    const enum cut_axis axis = strstr(name, ".bias") ? CUT_0 : CUT_1;
    const uint64_t queries = query_granularity(c, l, block, 1),
                   cache = queries / sharing_heads(c, l);
    const struct dgo_layer *layer = &c->model->layer[l];
    const uint64_t width = tensor->dim[axis == CUT_1];

    if (strcmp(name, "attn_q.weight") == 0 || strcmp(name, "attn_q.bias") == 0) {
        one_segment(cut, axis, width, query_granularity(c, l, block, c->gated ? 2 : 1), 1);
    } else if (strncmp(name, "attn_k.", 7) == 0 || strncmp(name, "attn_v.", 7) == 0) {
        one_segment(cut, axis, width, cache, 1);
    } else if (strncmp(name, "attn_qkv.", 9) == 0) {
        one_segment(cut, axis, c->model->embedding_length, queries, 1);
        cut->segment_count = 2;
        cut->segment[1] =
            (struct segment){.values = (uint64_t)layer->head_count_kv * layer->value_length,
                             .granularity = cache,
                             .repeat = 2};
    } else if (strcmp(name, "attn_output.weight") == 0) {
        one_segment(cut, CUT_0, tensor->dim[0], queries, 1);
    } else if (strcmp(name, "attn_gate.weight") == 0) {
        one_segment(cut, CUT_1, tensor->dim[1], 1, 1);
    } else {
        return false;
    }
    return true;
}

static void cut_feed_forward(const struct cutter *c, const char *name, uint64_t block, uint32_t l,
                             const struct dgo_tensor *tensor, struct cut *cut)
{
    const bool down = strncmp(name, "ffn_down", 8) == 0;
    const enum cut_axis axis = down || strstr(name, ".bias") ? CUT_0 : CUT_1;
    const uint64_t width = tensor->dim[axis == CUT_1];
    const bool fused = strncmp(name, "ffn_gate_up", 11) == 0 ||
                       (strncmp(name, "ffn_up", 6) == 0 &&
                        width == 2 * (uint64_t)c->model->layer[l].feed_forward_length);

    one_segment(cut, axis, fused ? width / 2 : width, common_multiple(block, WIDTH_LEAST),
                fused ? 2 : 1);
}

/* `name` is what stands behind "blk.N.".  0: the engine would abort. */
static bool cut_layer_tensor(const struct cutter *c, const char *name, uint32_t l,
                             const struct dgo_tensor *tensor, struct cut *cut)
{
    static const char *const feed_forward[] = {
        "ffn_up.weight",      "ffn_up_exps.weight",      "ffn_up.bias",     "ffn_up_exps.bias",
        "ffn_gate.weight",    "ffn_gate_exps.weight",    "ffn_gate.bias",   "ffn_gate_exps.bias",
        "ffn_gate_up.weight", "ffn_gate_up_exps.weight", "ffn_down.weight", "ffn_down_exps.weight"};
    static const char *const attention[] = {
        "attn_q.weight",      "attn_k.weight",   "attn_v.weight",   "attn_q.bias",
        "attn_k.bias",        "attn_v.bias",     "attn_qkv.weight", "attn_qkv.bias",
        "attn_output.weight", "attn_gate.weight"};
    const bool recurrent = c->model->layer[l].recurrent;
    uint32_t block;

    cut->axis = CUT_WHOLE;
    if (DGO_TEXT_IN(name, feed_forward)) {
        block = block_of_either(c, l, "ffn_down.weight", "ffn_down_exps.weight");
        cut_feed_forward(c, name, block, l, tensor, cut);
        return block > 0;
    }
    if (strcmp(name, "attn_sinks.weight") == 0) {
        const uint64_t sharing = sharing_heads(c, l);

        block = block_of(c, l, "attn_output.weight");
        one_segment(cut, CUT_0, tensor->dim[0],
                    query_granularity(c, l, block, 1) / c->model->layer[l].key_length / sharing *
                        sharing,
                    1);
        return block > 0;
    }
    if ((strcmp(name, "attn_q_norm.weight") == 0 || strcmp(name, "attn_k_norm.weight") == 0) &&
        tensor->dim[1] > 1) {
        one_segment(cut, CUT_1, tensor->dim[1], 1, 1);
        return block_of(c, l, "attn_output.weight") > 0;
    }
    if (recurrent) {
        block = block_of_either(c, l, "ssm_out.weight", "attn_output.weight");
        if (c->head_keys > 0 && c->groups > 0 && block > 0)
            (void)cut_delta(c, name, block, tensor, cut); /* what it does not know is whole */
        return true;
    }
    if (!DGO_TEXT_IN(name, attention))
        return true;
    block = block_of_either(c, l, "attn_output.weight", "ssm_out.weight");
    return block > 0 && cut_attention(c, name, block, l, tensor, cut);
}

/* --- pieces ---------------------------------------------------------------------------------- */

/* Values of each device along the cut dimension: in float, and in the order of the rotation. */
static void deal_segment(const struct cutter *c, const struct segment *segment, uint32_t rotation,
                         uint64_t values[DGO_GPU_MAX])
{
    const uint32_t count = c->device_count;
    float scan[DGO_GPU_MAX], sum = 0.0F;
    int64_t low = 0;

    for (uint32_t j = 0; j < count; j++) {
        sum += c->settings->tensor_split_given ? c->settings->tensor_split[(j + rotation) % count]
                                               : 0.0F;
        scan[j] = sum;
    }
    for (uint32_t j = 0; j < count; j++) {
        int64_t high = (int64_t)segment->values;

        if (j + 1 < count) {
            high = sum == 0.0F ? high * (j + 1) / count : (int64_t)((float)high * scan[j] / sum);
            high -= segment->granularity ? high % (int64_t)segment->granularity : 0;
        }
        values[(j + rotation) % count] += (uint64_t)(high - low) * segment->repeat;
        low = high;
    }
}

/* Of rows of `width` values in blocks; a card pads the last row of packed ones. */
static uint64_t piece_bytes(uint32_t type_id, uint64_t size_bytes, uint64_t whole_width,
                            uint64_t width)
{
    const struct dgo_ggml_type *type = dgo_ggml_type(type_id);
    const uint64_t rest = width % MEMORY_DEVICE_ROW;

    if (size_bytes == 0)
        return 0;
    if (type && type->block_values > 1 && rest && whole_width > 0)
        size_bytes += (MEMORY_DEVICE_ROW - rest) / type->block_values * type->block_bytes;
    return dgo_pad_u64(size_bytes, MEMORY_DEVICE_ALIGN);
}

static void add_pieces(const struct cutter *c, const struct dgo_tensor *tensor,
                       const struct cut *cut)
{
    uint64_t values[DGO_GPU_MAX] = {0};
    const uint64_t whole = cut->axis == CUT_WHOLE ? 1 : tensor->dim[cut->axis == CUT_1];

    for (uint32_t s = 0; s < cut->segment_count && cut->axis != CUT_WHOLE; s++)
        deal_segment(c, &cut->segment[s], cut->rotation, values);
    for (uint32_t d = 0; d < c->device_count; d++) {
        const uint64_t mine = cut->axis == CUT_WHOLE ? 1 : values[d];
        /* Whole blocks: no piece ends within one. */
        const uint64_t bytes =
            (uint64_t)((double)tensor->size_bytes / (double)whole * (double)mine);

        c->part[d].weights_bytes += piece_bytes(tensor->type, bytes, tensor->dim[0],
                                                cut->axis == CUT_0 ? mine : tensor->dim[0]);
    }
}

static enum dgo_status add_tensor(const struct cutter *c, const struct dgo_tensor *tensor,
                                  uint32_t first_layer)
{
    struct cut cut = {.axis = CUT_WHOLE};
    const char *dot = NULL;

    if (override_device(c->overrides, tensor->name) == DGO_OVERRIDE_HOST)
        return DGO_OK;
    if (tensor->class == DGO_TENSOR_LAYER) {
        if (tensor->layer >= c->model->layer_count || tensor->layer < first_layer ||
            memory_expert_on_host(tensor, c->settings))
            return DGO_OK;
        dot = strchr(tensor->name + 4, '.');
        cut.rotation = rotation_of(c, tensor->layer);
        if (dot && !cut_layer_tensor(c, dot + 1, tensor->layer, tensor, &cut))
            return dgo_fail(c->err, DGO_EUNSUPPORTED,
                            "-sm tensor: the engine aborts on %s, for it finds no matrix of the "
                            "layer's output to cut it by; use -sm layer",
                            tensor->name);
    } else if (strcmp(tensor->name, "output.weight") == 0 ||
               strcmp(tensor->name, "output.bias") == 0) {
        cut.rotation = assign_all_layers(c->model) - 1;
        cut.rotation %= c->device_count;
        one_segment(&cut, tensor->name[7] == 'w' ? CUT_1 : CUT_0, 0, 1, 1);
        cut.segment[0].values = tensor->dim[cut.axis == CUT_1];
    } else if (tensor->class == DGO_TENSOR_INPUT &&
               !(c->model->tied_embeddings && strcmp(tensor->name, "token_embd.weight") == 0)) {
        return DGO_OK;
    }
    add_pieces(c, tensor, &cut);
    return DGO_OK;
}

/* One cache tensor: rows of `width` values, `cells` of them. */
static void add_cache(const struct cutter *c, enum dgo_kv_type kind, uint64_t width, uint64_t cells,
                      const struct cut *cut)
{
    const struct dgo_ggml_type *type = memory_kv_type(kind);
    uint64_t values[DGO_GPU_MAX] = {0};

    for (uint32_t s = 0; s < cut->segment_count; s++)
        deal_segment(c, &cut->segment[s], cut->rotation, values);
    for (uint32_t d = 0; d < c->device_count && width > 0; d++)
        c->part[d].context_bytes += piece_bytes(
            type->id, values[d] / type->block_values * type->block_bytes * cells, width, values[d]);
}

static void add_state(const struct cutter *c, uint64_t bytes, uint64_t values, uint64_t granularity,
                      uint32_t repeat, uint32_t rotation)
{
    struct cut cut = {.rotation = rotation};

    if (bytes == 0)
        return;
    one_segment(&cut, CUT_0, values, granularity, repeat);
    add_cache(c, DGO_KV_F32, values, c->settings->slot_count, &cut);
}

static enum dgo_status add_context(const struct cutter *c, uint32_t l)
{
    const struct dgo_layer *layer = &c->model->layer[l];
    const struct plan_memory *memory = c->memory;
    struct cut cut = {.rotation = rotation_of(c, l)};
    uint32_t block;

    if (layer->head_count_kv > 0) {
        const uint64_t cells =
            (uint64_t)(layer->sliding_window ? memory->window_cells : memory->ctx_tokens_per_slot) *
            memory->stream_count;
        const uint64_t keys = (uint64_t)layer->head_count_kv * layer->key_length;
        const uint64_t values = (uint64_t)layer->head_count_kv * layer->value_length;

        block = block_of(c, l, "attn_output.weight");
        if (block == 0)
            return dgo_fail(c->err, DGO_EUNSUPPORTED,
                            "-sm tensor: layer %u has no attn_output.weight to cut its cache by, "
                            "and the engine aborts; use -sm layer",
                            (unsigned)l);
        one_segment(&cut, CUT_0, keys, query_granularity(c, l, block, 1) / sharing_heads(c, l), 1);
        add_cache(c, c->settings->key_type, keys, cells, &cut);
        cut.segment[0].values = values;
        add_cache(c, c->settings->value_type, values, cells, &cut);
    }
    if (layer->recurrent) {
        uint64_t shift, state;

        block = block_of(c, l, "ssm_out.weight");
        memory_state_bytes(c->model, &shift, &state);
        if (block == 0 || c->head_keys == 0 || c->groups == 0)
            return dgo_fail(c->err, DGO_EUNSUPPORTED,
                            "-sm tensor: the engine cannot cut the state of architecture \"%s\"; "
                            "use -sm layer",
                            c->model->architecture);
        const uint64_t granularity = delta_granularity(c, block);
        const uint64_t times = c->delta_interleaved ? c->ranks / c->groups : 0;
        const uint64_t shifts = c->conv - 1;

        add_state(c, shift, times ? c->head_keys * c->groups * shifts : shift / sizeof(float),
                  granularity * shifts, times ? (uint32_t)(2 + times) : 1, cut.rotation);
        add_state(c, state, times ? c->groups * c->head_keys * c->head_keys : state / sizeof(float),
                  granularity * c->head_keys, times ? (uint32_t)times : 1, cut.rotation);
    }
    return DGO_OK;
}

enum dgo_status cut_make(const struct dgo_model *model, const struct dgo_settings *settings,
                         const struct plan_memory *memory, uint32_t first_layer,
                         struct cut_part part[DGO_GPU_MAX], struct dgo_error *err)
{
    struct cutter c = {.model = model,
                       .settings = settings,
                       .memory = memory,
                       .part = part,
                       .err = err,
                       .device_count = settings->device_count,
                       .head_keys = memory_key_number(model, "ssm.state_size"),
                       .groups = memory_key_number(model, "ssm.group_count"),
                       .ranks = memory_key_number(model, "ssm.time_step_rank"),
                       .conv = memory_key_number(model, "ssm.conv_kernel")};
    enum dgo_status status = override_set_make(settings, &c.overrides, err);

    c.delta_interleaved = strncmp(model->architecture, "qwen35", 6) == 0;
    c.gated = c.delta_interleaved || strcmp(model->architecture, "qwen3next") == 0;
    memset(part, 0, DGO_GPU_MAX * sizeof part[0]);
    for (uint32_t i = 0; i < model->tensor_count && status == DGO_OK; i++)
        status = add_tensor(&c, &model->tensor[i], first_layer);
    for (uint32_t l = first_layer; l < model->layer_count && status == DGO_OK; l++)
        if (!settings->kv_on_host)
            status = add_context(&c, l);
    override_set_free(c.overrides);
    return status;
}
