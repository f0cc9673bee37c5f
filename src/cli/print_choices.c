/* print_choices.c - what could be instead of a plan, for people. */
#include "print.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "view_choices.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "gpu 1: 22, gpu 0: 44", or for many cards "gpus 1,0,2: 22,44,9", or what fits a cell. */
static void layers_text(const struct dgo_estimate *estimate, struct dgo_text *text)
{
    uint32_t least = UINT32_MAX, most = 0;

    for (uint32_t i = 0; i < estimate->device_count; i++)
        dgo_text_addf(text, "%sgpu %" PRIu32 ": %" PRIu32, i ? ", " : "",
                      estimate->device[i].gpu_index, estimate->device[i].layer_count);
    if (!text->truncated)
        return;
    dgo_text_clear(text);
    for (uint32_t i = 0; i < estimate->device_count; i++)
        dgo_text_addf(text, "%s%" PRIu32, i ? "," : "gpus ", estimate->device[i].gpu_index);
    for (uint32_t i = 0; i < estimate->device_count; i++)
        dgo_text_addf(text, "%s%" PRIu32, i ? "," : ": ", estimate->device[i].layer_count);
    if (!text->truncated)
        return;
    dgo_text_clear(text);
    for (uint32_t i = 0; i < estimate->device_count; i++) {
        least = estimate->device[i].layer_count < least ? estimate->device[i].layer_count : least;
        most = estimate->device[i].layer_count > most ? estimate->device[i].layer_count : most;
    }
    dgo_text_addf(text, "%" PRIu32 " gpus: %" PRIu32 " to %" PRIu32 " each", estimate->device_count,
                  least, most);
}

void table_layers(struct table *table, const struct dgo_estimate *estimate)
{
    char host[24] = "", cell[TABLE_CELL_MAX];

    if (estimate->host.layer_count)
        snprintf(host, sizeof host, "host: %" PRIu32 ", ", estimate->host.layer_count);
    struct dgo_text text = {.data = cell, .size = sizeof cell - strlen(host)};

    dgo_text_clear(&text);
    layers_text(estimate, &text);
    table_cell(table, "%s%s", host, cell);
}

static void rival_row(struct table *table, const struct rival *rival)
{
    char text[DGO_UNIT_TEXT_MAX];

    table_cell(table, "%s", rival->what);
    if (!rival->judged) {
        for (int i = 0; i < 4; i++)
            table_cell(table, "?");
        return;
    }
    table_layers(table, &rival->as.estimate);
    if (rival->as.estimate.fits)
        table_cell(table, "yes");
    else
        table_cell(table, "misses %s", dgo_bytes_text(rival->as.estimate.missing_bytes, text));
    table_cell(table, "%.1f tokens/s", rival->as.predicted.decode_tokens_per_second);
    table_cell(table, "%.0f tokens/s", rival->as.predicted.prefill_tokens_per_second);
}

void print_rivals(const struct rival *rivals, uint32_t count)
{
    struct table *table = table_new();

    printf("\nbeside the engine's own choices, at the same context and under the same margins:\n");
    table_column(table, "what", false);
    table_column(table, "layers", false);
    table_column(table, "fits", false);
    table_column(table, "decode", true);
    table_column(table, "prefill", true);
    for (uint32_t i = 0; i < count; i++)
        rival_row(table, &rivals[i]);
    table_print(table);
    for (uint32_t i = 0; i < count; i++) {
        if (rivals[i].words[0])
            printf("%s says: %s\n", rivals[i].what, rivals[i].words);
        if (rivals[i].problem[0])
            printf("%s: %s\n", rivals[i].what, rivals[i].problem);
    }
}

void print_needs(const struct dgo_machine *machine, const struct dgo_needs *needs)
{
    char text[NEED_TEXT_MAX];

    if (needs->nothing) {
        printf("\nnothing is needed: the GPUs carry the whole model\n");
        return;
    }
    printf("\nany one of these would let %s:\n",
           needs->count == 1 && needs->need[0].kind == DGO_NEED_HOST ? "the machine carry the model"
                                                                     : "the GPUs carry all of it");
    for (uint32_t i = 0; i < needs->count; i++)
        printf("  %s (%.1f tokens/s)\n", need_text(machine, &needs->need[i], text),
               needs->need[i].decode_tokens_per_second);
    if (needs->count == 0)
        printf("  no amount of memory: see why it does not fit\n");
}
