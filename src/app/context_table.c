/* context_table.c - plans by context, cache type and slots. */
#include "context_table.h"

#include "plan_cache.h"

#include <stdlib.h>
#include <string.h>

struct making {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_engine_rules *rules;
    struct context_table *table;
    struct dgo_plan *plan;
    struct dgo_error *err;
};

/* What another cell could still do. */
static bool of_this_cell(enum dgo_status status)
{
    return status == DGO_OK || status == DGO_ENOFIT || status == DGO_EINVAL;
}

static bool uses_host(const struct dgo_plan *plan)
{
    return plan->estimate.host.layer_count > 0 || plan->settings.cpu_moe_layer_count > 0 ||
           plan->settings.kv_on_host;
}

static enum dgo_status fill_cell(struct making *making, const struct dgo_intent *intent,
                                 struct context_cell *cell)
{
    enum context_source source = CONTEXT_COMPUTED;
    const enum dgo_status status = plan_cache_get(
        making->machine, making->model, intent, making->rules, making->plan, &source, making->err);
    const struct dgo_plan *plan = making->plan;

    making->table->cache_hits += source == CONTEXT_HIT;
    *cell = (struct context_cell){.fits = status == DGO_OK};
    if (status == DGO_OK)
        *cell = (struct context_cell){
            .fits = true,
            .ctx_tokens = plan->estimate.ctx_tokens_per_slot,
            .host = uses_host(plan),
            .ubatch_tokens = plan->estimate.ubatch_tokens,
            .decode_tokens_per_second = plan->predicted.decode_tokens_per_second,
            .prefill_tokens_per_second = plan->predicted.prefill_tokens_per_second,
        };
    return of_this_cell(status) ? DGO_OK : status;
}

static void choose_types(const struct dgo_model *model, const struct dgo_intent *intent,
                         struct context_table *table)
{
    static const enum dgo_kv_type usual[] = {DGO_KV_F16, DGO_KV_Q8_0, DGO_KV_Q4_0};

    /* Without flash attention the value cache cannot be quantised. */
    table->type_count = intent->flash_attention_off || !dgo_model_fuses_attention(model)
                            ? 1
                            : sizeof usual / sizeof usual[0];
    memcpy(table->type, usual, sizeof usual);
    if (intent->kv_type_given) {
        table->type_count = 1;
        table->type[0] = intent->key_type;
    }
}

/* 1, 2, 4, 8 and the intent's own, in order. */
static void choose_slots(const struct dgo_intent *intent, struct context_table *table)
{
    const uint32_t own = intent->slot_count > 0 ? intent->slot_count : 1;
    bool placed = false;

    for (uint32_t slots = 1; slots <= 8; slots *= 2) {
        if (!placed && own <= slots) {
            placed = true;
            if (own < slots)
                table->slots[table->slots_count++] = own;
        }
        table->slots[table->slots_count++] = slots;
    }
    if (!placed)
        table->slots[table->slots_count++] = own;
}

/* Doubling from 4096 up to what the model was trained for, which is the last. */
static void choose_sizes(const struct dgo_model *model, const struct dgo_intent *intent,
                         struct context_table *table)
{
    const uint32_t trained = model->context_length > 0 ? model->context_length : 32768;
    const uint32_t cap = trained / 256 > 0 ? trained / 256 * 256 : 256;

    if (intent->ctx_tokens > 0 && intent->ctx_tokens != DGO_CTX_MAX) {
        table->size[table->size_count++] = intent->ctx_tokens;
        return;
    }
    for (uint32_t size = 4096; size < cap && table->size_count + 1 < CONTEXT_SIZES_MAX; size *= 2)
        table->size[table->size_count++] = size;
    table->size[table->size_count++] = cap;
}

static enum dgo_status fill_longest(struct making *making, const struct dgo_intent *intent)
{
    struct context_table *table = making->table;
    enum dgo_status status = DGO_OK;

    for (uint32_t s = 0; s < table->slots_count; s++)
        for (uint32_t t = 0; status == DGO_OK && t < table->type_count; t++) {
            struct dgo_intent asked = *intent;

            asked.alone = asked.kv_type_given = asked.cpu_layers_refused = true;
            asked.key_type = asked.value_type = table->type[t];
            asked.slot_count = table->slots[s];
            asked.ctx_tokens = DGO_CTX_MAX;
            if (asked.concurrent_requests > asked.slot_count)
                asked.concurrent_requests = asked.slot_count;
            status = fill_cell(making, &asked, &table->longest[s][t]);
        }
    return status;
}

static enum dgo_status fill_sizes(struct making *making, const struct dgo_intent *intent)
{
    struct context_table *table = making->table;
    enum dgo_status status = DGO_OK;

    for (uint32_t c = 0; c < table->size_count; c++)
        for (uint32_t t = 0; status == DGO_OK && t < table->type_count; t++) {
            struct dgo_intent asked = *intent;

            asked.alone = asked.kv_type_given = true;
            asked.key_type = asked.value_type = table->type[t];
            asked.ctx_tokens = table->size[c];
            status = fill_cell(making, &asked, &table->at[c][t]);
        }
    return status;
}

enum dgo_status context_table_make(const struct dgo_machine *machine, const struct dgo_model *model,
                                   const struct dgo_intent *intent,
                                   const struct dgo_engine_rules *rules,
                                   struct context_table *table, struct dgo_error *err)
{
    struct making making = {
        .machine = machine, .model = model, .rules = rules, .table = table, .err = err};
    enum dgo_status status;

    memset(table, 0, sizeof *table);
    making.plan = malloc(sizeof *making.plan);
    if (!making.plan)
        return dgo_fail(err, DGO_ENOMEM, "no memory for a table of contexts");
    choose_types(model, intent, table);
    choose_slots(intent, table);
    choose_sizes(model, intent, table);
    status = fill_longest(&making, intent);
    if (status == DGO_OK)
        status = fill_sizes(&making, intent);
    free(making.plan);
    return status;
}
