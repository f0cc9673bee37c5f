/* draft.c - the context in which a model's own next-token block drafts (--spec-type draft-mtp).
 *
 * The block is loaded with the model, between its last layer and the output; its context has a
 * cache for the block alone, and a graph that joins the embedding of a token with the hidden state
 * before it, runs the block, and hands on to the model's output.  FORMULAS "Drafts". */
#include "memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Architectures with a graph for the block (their graph_mtp in build 11669), of those that were
 * compared with the engine's log.  All but some of the others end in an assertion, or run the whole
 * model once more. */
static const char *const drafters[] = {"qwen35",    "qwen35moe",  "qwen3next", "glm4moe",
                                       "deepseek2", "deepseek32", "glm-dsa"};

static bool can_draft(const struct dgo_model *model)
{
    return DGO_TEXT_IN(model->architecture, drafters);
}

const char *dgo_own_draft_refusal(const struct dgo_model *model)
{
    if (model->mtp_layer_count == 0)
        return "the model has no next-token block; another model can draft, as -md FILE in the "
               "engine's own flags";
    if (!can_draft(model))
        return "the memory of this architecture's next-token block is not computed; leave it "
               "out, or let another model draft, as -md FILE in the engine's own flags";
    if (model->mtp_layer_count > 1)
        return "the engine runs one next-token block of this architecture, and ends where a file "
               "has more";
    return NULL;
}

/* The block as a model of one layer: its tensors, under their names in the file, and those of no
 * layer. */
static enum dgo_status cut_out(const struct dgo_model *model, struct dgo_model *block,
                               struct dgo_error *err)
{
    *block = *model;
    block->layer_count = 1;
    block->layer[0] = model->layer[model->layer_count];
    block->layer[0].index_key_length = 0; /* it attends to every cell */
    block->tensor_count = 0;
    block->tensor = malloc((model->tensor_count + 1) * sizeof *block->tensor);
    if (!block->tensor)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for the draft");
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        struct dgo_tensor *tensor = &block->tensor[block->tensor_count];

        if (model->tensor[i].class == DGO_TENSOR_LAYER &&
            model->tensor[i].layer != model->layer_count)
            continue;
        *tensor = model->tensor[i];
        tensor->layer = 0;
        block->tensor_count++;
    }
    return DGO_OK;
}

/* It is asked for the context that the model got: a micro-batch may be wider than the model's,
 * whose -c bounds it. */
void draft_settings(const struct plan_memory *memory, const struct dgo_settings *settings,
                    struct dgo_settings *draft)
{
    const uint32_t before = memory->model->layer_count;

    *draft = *settings;
    draft->ctx_tokens = memory->ctx_tokens;
    draft->key_type = settings->draft_key_type;
    draft->value_type = settings->draft_value_type;
    /* The engine decides anew; a packed cache of values makes auto mean on. */
    if (settings->flash_attention == DGO_FA_WITHDRAWN &&
        memory_kv_type(draft->value_type)->block_values > 1)
        draft->flash_attention = DGO_FA_ON;
    if (settings->draft_ubatch_tokens > 0)
        draft->ubatch_tokens = settings->draft_ubatch_tokens;
    draft->output_row_count = settings->slot_count;
    draft->cpu_moe_layer_count =
        settings->cpu_moe_layer_count > before ? settings->cpu_moe_layer_count - before : 0;
    draft->rollback_tokens = 0;
    draft->own_draft = false;
    draft->adapter_count = 0;
    draft->embeds = draft->samples_on_device = false;
    draft->pooling = DGO_POOLING_UNSAID;
}

/* Some blocks bring an embedding table of their own, which lies with them. */
static bool has_own_table(const struct dgo_model *model)
{
    for (uint32_t i = 0; i < model->tensor_count; i++)
        if (strstr(model->tensor[i].name, ".nextn.embed_tokens."))
            return true;
    return false;
}

/* Unfused latent attention turns its cache over, and beside the scores what else it makes was seen
 * to stand twice: bounds over what was seen. */
static uint64_t turned_bytes(const struct plan_memory *block, const struct memory_draft *draft)
{
    enum { TURNED = 2 };
    const struct memory_terms *t = &block->terms;
    const uint64_t scores = (uint64_t)block->model->layer[0].head_count *
                            block->ctx_tokens_per_slot * block->graph_tokens * sizeof(float);

    if (t->family != MEMORY_MLA)
        return 0;
    if (t->attention_fused)
        return 4 * t->queries; /* 3.8 were seen to be missing */
    return TURNED * (draft->block.context_bytes + draft->block.host_context_bytes) +
           (t->extra > scores ? t->extra - scores : 0);
}

/* The token's embedding and the hidden state come from outside; normed, they are laid side by side
 * and multiplied back to the width of one, which is the residual of the block. */
static void fill_compute(const struct plan_memory *block, bool own_table,
                         struct memory_draft *draft)
{
    const struct memory_terms *t = &block->terms;
    const uint64_t e = t->embedding, looked_up = own_table ? 0 : e;
    const uint64_t latent = t->family == MEMORY_MLA ? 3 * e : 0; /* 2.8 were seen to be missing */
    const uint64_t joining = 4 * e;
    /* It picks its guesses on the device: two more rows as wide as the logits. */
    const uint64_t sampled =
        2 * (uint64_t)block->output_row_count * block->model->vocab_size * sizeof(float);
    const uint64_t running =
        e + 2 * t->queries + dgo_max_u64(t->base, t->extra) + turned_bytes(block, draft);
    const uint64_t moment = dgo_max_u64(dgo_max_u64(joining, running), e + t->logits + sampled);

    draft->compute_bytes[DRAFT_ALONE] = t->inputs + 2 * e + moment;
    draft->compute_bytes[DRAFT_IN_PIPELINE] = MEMORY_COPIES * (t->inputs + 2 * e) + moment;
    draft->output_bytes[DRAFT_ALONE] = draft->output_bytes[DRAFT_IN_PIPELINE] =
        t->output_alone + sampled;
    draft->host_bytes[DRAFT_ALONE] = t->inputs + e + looked_up + latent;
    draft->host_bytes[DRAFT_IN_PIPELINE] = MEMORY_COPIES * (t->inputs + e) + looked_up + latent;
}

/* With parts in host memory what meets at a moment is not known: bounds over what was seen.  A
 * cache of f32 is made f16 for fused attention; unfused latent attention turns its cache over, in
 * parts that meet. */
static void fill_bounds(const struct plan_memory *block, const struct dgo_settings *settings,
                        struct memory_draft *draft)
{
    /* 15 MiB were seen to be missing, with 31 slots. */
    enum { TURNED = 3, HOLES_BYTES = 16 * 1024 * 1024 };
    const struct memory_terms *t = &block->terms;
    const uint64_t e = t->embedding;
    const uint64_t cache = draft->block.context_bytes + draft->block.host_context_bytes;
    const uint64_t made = settings->key_type == DGO_KV_F32 ? cache : 0;
    const uint64_t turned =
        t->family == MEMORY_MLA && !t->attention_fused ? TURNED * cache : 0; /* a card's: above */

    draft->compute_bytes[DRAFT_BESIDE_HOST] =
        draft->compute_bytes[DRAFT_ALONE] + 2 * t->queries + t->base + made + HOLES_BYTES;
    draft->output_bytes[DRAFT_BESIDE_HOST] = draft->output_bytes[DRAFT_ALONE] + 3 * e;
    draft->host_bytes[DRAFT_BESIDE_HOST] =
        draft->host_bytes[DRAFT_ALONE] + 2 * e + made + turned + HOLES_BYTES;
    if (!t->attention_fused && settings->kv_on_host)
        draft->host_bytes[DRAFT_BESIDE_HOST] += t->extra + 4 * e; /* as the model's */
    if (block->graph_tokens < DGO_OFFLOAD_ROWS_MIN || !settings->op_offload)
        draft->host_bytes[DRAFT_BESIDE_HOST] += t->base + t->extra_alone + t->logits;
}

/* What is large goes on the heap: a plan makes this once for each placement that it weighs. */
enum dgo_status draft_block_make(const struct dgo_model *model, const struct dgo_settings *settings,
                                 const struct dgo_engine_rules *rules, struct draft_block *block,
                                 struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    block->model = calloc(1, sizeof *block->model);
    block->memory = calloc(1, sizeof *block->memory);
    if (!block->model || !block->memory)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for the draft");
    status = cut_out(model, block->model, err);
    if (status == DGO_OK)
        status = memory_check_cache(block->model, settings, err);
    if (status != DGO_OK)
        return dgo_error_prefix(err, status, "the draft");
    block->memory->model = block->model;
    block->memory->layer_count = 1;
    block->memory->kv_on_host = settings->kv_on_host;
    block->memory->op_offload = settings->op_offload;
    memory_context_sizes(block->model, settings, block->memory);
    status = memory_context_fill(block->model, settings, block->memory, err);
    if (status == DGO_OK)
        memory_terms_fill(block->model, settings, rules, block->memory);
    return status;
}

void draft_block_free(struct draft_block *block)
{
    if (block->model)
        free(block->model->tensor);
    free(block->model);
    free(block->memory);
    *block = (struct draft_block){0};
}

static enum dgo_status size_block(struct plan_memory *memory, const struct dgo_settings *settings,
                                  const struct dgo_engine_rules *rules, struct dgo_error *err)
{
    struct memory_draft *draft = &memory->draft;
    struct dgo_settings own;
    struct draft_block block;
    enum dgo_status status;

    draft_settings(memory, settings, &own);
    own.override_count = 0;
    status = draft_block_make(memory->model, &own, rules, &block, err);
    if (status == DGO_OK) {
        draft->block.context_bytes = block.memory->context_bytes[0];
        draft->block.kept_context_bytes = block.memory->kept_context_bytes[0];
        draft->block.host_context_bytes = block.memory->host_context_bytes[0];
        fill_compute(block.memory, has_own_table(memory->model), draft);
        fill_bounds(block.memory, &own, draft);
    }
    draft_block_free(&block);
    return status;
}

/* Of a model that only drafts, all is loaded, and the block alone has a context. */
static void drop_context(struct plan_memory *memory)
{
    memset(memory->context_bytes, 0, sizeof memory->context_bytes);
    memset(memory->kept_context_bytes, 0, sizeof memory->kept_context_bytes);
    memset(memory->host_context_bytes, 0, sizeof memory->host_context_bytes);
}

enum dgo_status draft_make(const struct dgo_model *model, const struct dgo_settings *settings,
                           const struct dgo_engine_rules *rules, struct plan_memory *memory,
                           struct dgo_error *err)
{
    const char *refusal = dgo_own_draft_refusal(model);
    enum dgo_status status;

    if (!refusal && settings->split_mode == DGO_SPLIT_TENSOR)
        refusal = "the memory of a draft under -sm tensor is not computed; use -sm layer";
    if (refusal)
        return dgo_fail(err, DGO_EUNSUPPORTED, "draft-mtp: %s", refusal);
    status = size_block(memory, settings, rules, err);
    memory->draft.used = status == DGO_OK;
    if (settings->own_draft_alone)
        drop_context(memory);
    else
        memory->host_output_bytes *= 2; /* logits are handed out of both */
    return status;
}

/* With something in host memory the first device computes what the CPU would: what it needs of the
 * block visits it. */
static uint64_t visitors_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    const struct memory_draft *draft = &memory->draft;
    const uint64_t cache =
        memory->kv_on_host || role->block_on_cpu ? draft->block.host_context_bytes : 0;

    if (role->position > 0 && !role->holds_block)
        return 0;
    if (role->position > 0 || !memory->op_offload)
        return cache;
    return cache + (role->block_on_cpu ? draft->weight_max : draft->kept_weight_max) *
                       (memory->overrides ? memory->terms.rule->shared_visitors + 1 : 1);
}

uint64_t draft_compute_bytes(const struct plan_memory *memory, const struct memory_role *role,
                             bool partial, enum dgo_figure_source *source)
{
    const struct memory_draft *draft = &memory->draft;
    uint64_t bytes = 0;

    if (!draft->used)
        return 0;
    const enum memory_draft_place place = partial          ? DRAFT_BESIDE_HOST
                                          : role->pipeline ? DRAFT_IN_PIPELINE
                                                           : DRAFT_ALONE;

    if (role->holds_block || (partial && role->position == 0))
        bytes = draft->compute_bytes[place];
    else if (role->holds_output)
        bytes = draft->output_bytes[place];
    if (partial && bytes > 0)
        bytes += visitors_bytes(memory, role);
    if (source && bytes > 0 && (partial || !draft->exact))
        *source = DGO_FIGURE_BOUND;
    return bytes;
}
