/* view_choices.c - needs, the engine's own choices and contexts as JSON. */
#include "view_choices.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const kind_names[] = {
    [DGO_NEED_ONE_GPU] = "one_gpu",
    [DGO_NEED_EVERY_GPU] = "every_gpu",
    [DGO_NEED_CARD] = "card",
    [DGO_NEED_HOST] = "host",
};

const char *need_text(const struct dgo_machine *machine, const struct dgo_need *need,
                      char text[NEED_TEXT_MAX])
{
    char size[DGO_UNIT_TEXT_MAX];

    dgo_bytes_text(need->bytes, size);
    switch (need->kind) {
    case DGO_NEED_ONE_GPU:
        (void)snprintf(text, NEED_TEXT_MAX, "%s more on GPU %" PRIu32 " (%.96s)", size,
                       need->gpu_index, machine->gpu[need->gpu_index].name);
        break;
    case DGO_NEED_EVERY_GPU:
        (void)snprintf(text, NEED_TEXT_MAX, "%s more on every GPU", size);
        break;
    case DGO_NEED_CARD:
        (void)snprintf(text, NEED_TEXT_MAX, "one more card with %s", size);
        break;
    case DGO_NEED_HOST:
        (void)snprintf(text, NEED_TEXT_MAX, "%s more host memory, for layers on the CPU", size);
        break;
    }
    return text;
}

json_t *view_needs(const struct dgo_machine *machine, const struct dgo_needs *needs)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < needs->count; i++) {
        const struct dgo_need *need = &needs->need[i];
        char text[NEED_TEXT_MAX];
        json_t *entry = json_pack("{s:s, s:I, s:f, s:o}", "kind", kind_names[need->kind], "bytes",
                                  (json_int_t)need->bytes, "decode_tokens_per_second",
                                  need->decode_tokens_per_second, "text",
                                  view_text(need_text(machine, need, text)));

        if (need->kind == DGO_NEED_ONE_GPU)
            json_object_set_new(entry, "gpu_index", json_integer(need->gpu_index));
        json_array_append_new(list, entry);
    }
    return json_pack("{s:b, s:o}", "nothing", (int)needs->nothing, "additions", list);
}

json_t *view_rivals(const struct dgo_machine *machine, const struct rival *rivals, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        const struct rival *rival = &rivals[i];
        json_t *entry = rival->judged ? view_alternative(machine, &rival->as) : json_object();

        json_object_set_new(entry, "what", view_text(rival->what));
        json_object_set_new(entry, "judged", json_boolean(rival->judged));
        if (rival->problem[0])
            json_object_set_new(entry, "problem", view_text(rival->problem));
        if (rival->words[0])
            json_object_set_new(entry, "flags", view_text(rival->words));
        json_array_append_new(list, entry);
    }
    return list;
}

json_t *view_tensor_split(const struct dgo_model *model, const struct dgo_plan *plan,
                          const struct dgo_tensor_split *split)
{
    char text[512];
    json_t *object, *devices = json_array();

    dgo_tensor_split_text(model, plan, split, text);
    object = json_pack("{s:b, s:b, s:o}", "possible", (int)split->possible, "pays",
                       (int)split->pays, "text", view_text(text));
    if (!split->possible) {
        json_decref(devices);
        return object;
    }
    for (uint32_t d = 0; d < split->device_count; d++)
        json_array_append_new(
            devices, json_pack("{s:i, s:i, s:I, s:I, s:I}", "gpu_index",
                               (int)split->device[d].gpu_index, "part", (int)split->device[d].part,
                               "weights_bytes", (json_int_t)split->device[d].weights_bytes,
                               "context_bytes", (json_int_t)split->device[d].context_bytes,
                               "compute_bytes", (json_int_t)split->device[d].compute_bytes));
    json_object_set_new(object, "fits", json_boolean(split->fits));
    json_object_set_new(object, "devices", devices);
    json_object_set_new(object, "decode_tokens_per_second",
                        json_real(split->decode_tokens_per_second));
    json_object_set_new(object, "prefill_tokens_per_second",
                        json_real(split->prefill_tokens_per_second));
    return object;
}

static json_t *view_cell(const struct context_cell *cell, enum dgo_kv_type type)
{
    json_t *object =
        json_pack("{s:s, s:b}", "kv_type", dgo_kv_type_name(type), "fits", (int)cell->fits);

    if (!cell->fits)
        return object;
    json_object_set_new(object, "context_tokens_per_slot", json_integer(cell->ctx_tokens));
    json_object_set_new(object, "ubatch_tokens", json_integer(cell->ubatch_tokens));
    json_object_set_new(object, "host_memory", json_boolean(cell->host));
    json_object_set_new(object, "decode_tokens_per_second",
                        json_real(cell->decode_tokens_per_second));
    json_object_set_new(object, "prefill_tokens_per_second",
                        json_real(cell->prefill_tokens_per_second));
    return object;
}

static json_t *view_row(const struct context_table *table, const struct context_cell *cells,
                        const char *key, uint32_t value)
{
    json_t *list = json_array();

    for (uint32_t t = 0; t < table->type_count; t++)
        json_array_append_new(list, view_cell(&cells[t], table->type[t]));
    return json_pack("{s:i, s:o}", key, (int)value, "cells", list);
}

json_t *view_context_table(const struct dgo_machine *machine, const struct context_table *table)
{
    json_t *longest = json_array(), *sizes = json_array(), *object;

    for (uint32_t s = 0; s < table->slots_count; s++)
        json_array_append_new(longest,
                              view_row(table, table->longest[s], "slot_count", table->slots[s]));
    for (uint32_t c = 0; c < table->size_count; c++)
        json_array_append_new(
            sizes, view_row(table, table->at[c], "context_tokens_per_slot", table->size[c]));
    object = json_pack("{s:s, s:b, s:o, s:o}", "schema", "dualgpuopt.context/1", "simulated",
                       (int)machine->origin.simulated, "longest", longest, "contexts", sizes);
    view_add_recorded(object, &machine->origin);
    return object;
}
