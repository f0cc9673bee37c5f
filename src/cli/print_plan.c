/* print_plan.c - a plan or an estimate for people: a table, a picture of each GPU, and why. */
#include "print.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "flow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a GPU's memory is made of, in the order in which it is drawn. */
enum part { PART_WEIGHTS, PART_CONTEXT, PART_COMPUTE, PART_OVERHEAD, PART_MARGIN, PART_COUNT };

static const struct {
    const char *title, *unicode, *ascii, *colour;
} parts[PART_COUNT] = {
    [PART_WEIGHTS] = {"weights", "\u2588", "W", "\033[34m"},
    [PART_CONTEXT] = {"context", "\u2593", "K", "\033[32m"},
    [PART_COMPUTE] = {"compute", "\u2592", "C", "\033[33m"},
    [PART_OVERHEAD] = {"overhead", "\u2591", "o", "\033[35m"},
    [PART_MARGIN] = {"margin", "\u00b7", "-", "\033[90m"},
};

static void part_bytes(const struct dgo_device_estimate *device, uint64_t bytes[PART_COUNT])
{
    bytes[PART_WEIGHTS] = device->weights_bytes;
    bytes[PART_CONTEXT] = device->context_bytes;
    bytes[PART_COMPUTE] = device->compute_bytes;
    bytes[PART_OVERHEAD] = device->overhead_bytes;
    bytes[PART_MARGIN] = device->margin_bytes;
}

static uint64_t needed_bytes(const struct dgo_device_estimate *device)
{
    return device->weights_bytes + device->context_bytes + device->compute_bytes +
           device->overhead_bytes + device->margin_bytes;
}

/* "1.20 GiB" or "-300.00 MiB". */
static const char *signed_bytes(uint64_t have, uint64_t need, char text[DGO_UNIT_TEXT_MAX])
{
    char plain[DGO_UNIT_TEXT_MAX];

    if (have >= need)
        return dgo_bytes_text(have - need, text);
    snprintf(text, DGO_UNIT_TEXT_MAX, "-%.30s", dgo_bytes_text(need - have, plain));
    return text;
}

static void layers_cell(struct table *table, const struct dgo_device_estimate *device)
{
    if (device->layer_count == 0)
        table_cell(table, "%s", device->holds_output ? "output" : "none");
    else
        table_cell(table, "%" PRIu32 "-%" PRIu32 "%s", device->layer_first,
                   device->layer_first + device->layer_count - 1,
                   device->holds_output ? "+output" : "");
}

static void host_row(struct table *table, const struct dgo_estimate *estimate)
{
    const uint64_t need = estimate->host.weights_bytes + estimate->host.context_bytes +
                          estimate->host.compute_bytes + estimate->host.output_bytes;
    char text[DGO_UNIT_TEXT_MAX];

    table_cell(table, "host");
    table_cell(table, "%s", "");
    table_cell(table, "%s", "");
    if (estimate->host.layer_count)
        table_cell(table, "0-%" PRIu32 "%s", estimate->host.layer_count - 1,
                   estimate->host.holds_output ? "+output" : "");
    else
        table_cell(table, "%s", "embeddings");
    table_cell(table, "%s", dgo_mib_text(estimate->host.weights_bytes, text));
    table_cell(table, "%s", dgo_mib_text(estimate->host.context_bytes, text));
    table_cell(table, "%s",
               dgo_mib_text(estimate->host.compute_bytes + estimate->host.output_bytes, text));
    table_cell(table, "%s", "");
    table_cell(table, "%s", "");
    table_cell(table, "%s",
               estimate->host.free_known ? signed_bytes(estimate->host.free_bytes, need, text)
                                         : "?");
}

static void print_device_table(const struct dgo_machine *machine,
                               const struct dgo_estimate *estimate)
{
    struct table *table = table_new();
    char text[DGO_UNIT_TEXT_MAX];

    table_column(table, "device", false);
    table_column(table, "gpu", true);
    table_column(table, "card", false);
    table_column(table, "layers", false);
    table_column(table, "weights", true);
    table_column(table, "context", true);
    table_column(table, "compute", true);
    table_column(table, "overhead", true);
    table_column(table, "margin", true);
    table_column(table, "spare", true);
    for (uint32_t i = 0; i < estimate->device_count; i++) {
        const struct dgo_device_estimate *device = &estimate->device[i];
        uint64_t bytes[PART_COUNT];

        part_bytes(device, bytes);
        table_cell(table, "%s", device->name);
        table_cell(table, "%" PRIu32, device->gpu_index);
        table_cell(table, "%s", machine->gpu[device->gpu_index].name);
        layers_cell(table, device);
        for (int part = 0; part < PART_COUNT; part++)
            table_cell(table, "%s%s", dgo_mib_text(bytes[part], text),
                       part == PART_COMPUTE && device->compute_source == DGO_FIGURE_BOUND
                           ? " at most"
                           : "");
        table_cell(table, "%s", signed_bytes(device->free_bytes, needed_bytes(device), text));
    }
    if (estimate->host.weights_bytes || estimate->host.compute_bytes || estimate->host.layer_count)
        host_row(table, estimate);
    table_print(table);
}

/* One GPU as a bar: each part in its own character, so that it reads without colour too. */
static void print_bar(const struct dgo_device_estimate *device, uint64_t scale_bytes)
{
    enum { WIDTH = 60 };
    const bool unicode = print_unicode(), colour = print_colour();
    const uint64_t whole = dgo_max_u64(device->free_bytes, needed_bytes(device));
    uint64_t bytes[PART_COUNT], sum = 0;
    uint32_t drawn = 0;
    char need[DGO_UNIT_TEXT_MAX], have[DGO_UNIT_TEXT_MAX];

    part_bytes(device, bytes);
    printf("%-7s ", device->name);
    for (int part = 0; part < PART_COUNT; part++) {
        sum += bytes[part];
        /* Ends are rounded, not lengths, so that the parts add up to the whole. */
        const uint32_t end = (uint32_t)((double)sum / (double)scale_bytes * WIDTH + 0.5);

        if (colour && end > drawn)
            printf("%s", parts[part].colour);
        for (; drawn < end; drawn++)
            printf("%s", unicode ? parts[part].unicode : parts[part].ascii);
        if (colour)
            printf("\033[0m");
    }
    for (const uint32_t end = (uint32_t)((double)whole / (double)scale_bytes * WIDTH + 0.5);
         drawn < end; drawn++)
        printf(" ");
    printf("| %s of %s free\n", dgo_bytes_text(needed_bytes(device), need),
           dgo_bytes_text(device->free_bytes, have));
}

static void print_picture(const struct dgo_estimate *estimate)
{
    const bool unicode = print_unicode();
    uint64_t scale_bytes = 1;

    for (uint32_t i = 0; i < estimate->device_count; i++)
        scale_bytes = dgo_max_u64(scale_bytes, dgo_max_u64(estimate->device[i].free_bytes,
                                                           needed_bytes(&estimate->device[i])));
    printf("\n");
    for (uint32_t i = 0; i < estimate->device_count; i++)
        print_bar(&estimate->device[i], scale_bytes);
    printf("        ");
    for (int part = 0; part < PART_COUNT; part++)
        printf("%s %s%s", unicode ? parts[part].unicode : parts[part].ascii, parts[part].title,
               part + 1 < PART_COUNT ? "  " : "\n");
}

static void print_fit(const struct dgo_estimate *estimate)
{
    char text[DGO_UNIT_TEXT_MAX];

    if (estimate->fits)
        return;
    printf("\nDOES NOT FIT: %s is short of %s\n",
           estimate->limiting_device >= 0 ? estimate->device[estimate->limiting_device].name
                                          : "the host",
           dgo_bytes_text(estimate->missing_bytes, text));
}

static void print_context_line(const struct dgo_estimate *estimate,
                               const struct dgo_settings *settings)
{
    printf("context %" PRIu32 " tokens", estimate->ctx_tokens_per_slot);
    if (settings && settings->slot_count > 1)
        printf(" for each of %" PRIu32 " slots", settings->slot_count);
    if (settings && settings->key_type == settings->value_type)
        printf(", %s cache", dgo_kv_type_name(settings->key_type));
    else if (settings)
        printf(", %s/%s cache", dgo_kv_type_name(settings->key_type),
               dgo_kv_type_name(settings->value_type));
    printf(", micro-batch %" PRIu32 "%s; figures of llama.cpp build %" PRIu32,
           estimate->ubatch_tokens, estimate->pipeline ? ", pipelined" : "", estimate->build);
    if (estimate->newer_build > 0)
        printf(", the newest measured; the engine is build %" PRIu32, estimate->newer_build);
    putchar('\n');
}

/* Of an engine that cuts into shards and stages. */
static void print_partition_line(const struct dgo_plan *plan)
{
    const struct dgo_partition *partition = &plan->partition;
    const uint32_t ctx = plan->settings.ctx_tokens;

    printf("context %" PRIu32 " tokens, %s cache, batches of %" PRIu32 " tokens; %" PRIu32
           " shards x %" PRIu32 " stages",
           ctx, plan->kv_type, plan->settings.batch_tokens, partition->tensor_parallel,
           partition->pipeline_parallel);
    if (partition->pipeline_parallel > 1)
        for (uint32_t s = 0; s < partition->pipeline_parallel; s++)
            printf("%s%" PRIu32, s ? "," : " of ", partition->layer_count[s]);
    printf("%s\n", partition->pipeline_parallel > 1 ? " layers" : "");
    if (plan->estimate.fits && ctx)
        printf("the pool holds %" PRIu64 " tokens: %.1f requests of full length side by side\n",
               partition->kv_tokens, (double)partition->kv_tokens / ctx);
}

void print_estimate(const struct dgo_machine *machine, const struct dgo_estimate *estimate)
{
    print_machine_origin(machine);
    print_context_line(estimate, NULL);
    printf("\n");
    print_device_table(machine, estimate);
    print_picture(estimate);
    print_fit(estimate);
    if (estimate->attention_kernel_missing)
        printf("\nCards have no kernel for flash attention with heads or cache types like these: "
               "%s.\n",
               estimate->flash_attention_withdrawn
                   ? "llama-server would\nswitch it off, and the figures count that"
                   : "the CPU would\ncompute each layer's attention; leave -fa to auto, or use "
                     "-fa off");
    else if (estimate->flash_attention_withdrawn)
        printf("\nllama-server would switch flash attention off: a layer's attention would not run "
               "where the layer is.\nThe figures count that; -fa on keeps it.\n");
    if (estimate->engine_refits)
        printf(
            "\nllama-server would not run these flags as they are: its --fit, which is on unless "
            "-fit off "
            "is given,\ntakes a shorter context or fewer layers when a card would keep less than "
            "its target free.\n");
}

static void print_prediction(const struct dgo_prediction *predicted)
{
    if (!(predicted->prefill_tokens_per_second >
          0)) { /* by an engine whose prompts we do not model */
        printf("\npredicted: decode %.1f tokens/s for one request alone (a ranking of shapes, no "
               "promise)\n",
               predicted->decode_tokens_per_second);
        return;
    }
    printf("\npredicted: decode %.1f tokens/s, prefill %.0f tokens/s; %.1f %% above the lower bound"
           "%s\n",
           predicted->decode_tokens_per_second, predicted->prefill_tokens_per_second,
           predicted->lower_bound_gap * 100,
           predicted->bandwidth_assumed
               ? " (a bandwidth is assumed: a ranking, no promise; `calibrate` measures it)"
               : "");
    if (predicted->concurrent_requests > 1)
        printf("%" PRIu32 " requests at once: %.1f tokens/s together\n",
               predicted->concurrent_requests, predicted->throughput_tokens_per_second);
}

static void print_alternatives(const struct dgo_plan *plan)
{
    struct table *table;

    if (plan->alternative_count == 0)
        return;
    printf("\nalternatives:\n");
    table = table_new();
    table_column(table, "what", false);
    table_column(table, "layers", false);
    table_column(table, "context", true);
    table_column(table, "cache", false);
    table_column(table, "decode", true);
    table_column(table, "prefill", true);
    for (uint32_t i = 0; i < plan->alternative_count; i++) {
        const struct dgo_alternative *alternative = &plan->alternative[i];

        table_cell(table, "%s%s", alternative->why,
                   alternative->estimate.fits ? "" : " (does not fit)");
        table_layers(table, &alternative->estimate);
        table_cell(table, "%" PRIu32, alternative->estimate.ctx_tokens_per_slot);
        table_cell(table, "%s", dgo_kv_type_name(alternative->settings.key_type));
        table_cell(table, "%.1f tokens/s", alternative->predicted.decode_tokens_per_second);
        table_cell(table, "%.0f tokens/s", alternative->predicted.prefill_tokens_per_second);
    }
    table_print(table);
}

/* Several machines: where the cards are, and what the network lets others do. */
static void print_network_note(const struct dgo_machine *machine)
{
    for (uint32_t n = 1; n < machine->node_count; n++) {
        printf("machine %s:", machine->node[n].host);
        for (uint32_t g = 0; g < machine->gpu_count; g++)
            if (machine->gpu_node[g] == n)
                printf(" gpu %" PRIu32, g);
        printf("\n");
    }
    printf("WARNING: engines talk to other machines without password and encryption: whoever "
           "reaches their\nports can read the conversation and run code there. Use a network of "
           "your own or a tunnel.\n");
}

/* What a reader of the table would not see, and should know. */
static void print_notes(const struct dgo_machine *machine, const struct dgo_model *model,
                        const struct dgo_estimate *estimate)
{
    if (model->context_length && estimate->ctx_tokens_per_slot > model->context_length)
        printf("the model was trained for %" PRIu32
               " tokens: beyond them its answers get worse, unless the engine is told to stretch "
               "them (--rope-scaling)\n",
               model->context_length);
    if (machine->node_count > 1)
        print_network_note(machine);
    for (uint32_t i = 0; i < machine->gpu_count; i++)
        if (machine->gpu[i].problem[0])
            printf("gpu %" PRIu32 " is left out: %s\n", i, machine->gpu[i].problem);
}

void print_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                const struct dgo_plan *plan, const struct dgo_command *command,
                char *const *environment, const char *calibrated)
{
    char count[PARAMETERS_TEXT_MAX];

    print_machine_origin(machine);
    printf("%s: %s, %" PRIu32 " layers, %s parameters\n",
           model->name[0] ? model->name : "(no name)", model->architecture, model->layer_count,
           parameters_text(model->parameter_count, count));
    if (plan->partitioned)
        print_partition_line(plan);
    else
        print_context_line(&plan->estimate, &plan->settings);
    print_notes(machine, model, &plan->estimate);
    printf("\n");
    print_device_table(machine, &plan->estimate);
    print_picture(&plan->estimate);
    print_fit(&plan->estimate);
    if (!plan->estimate.fits)
        return;
    print_prediction(&plan->predicted);
    if (calibrated[0])
        printf("%s\n", calibrated);
    print_alternatives(plan);
    if (command) {
        static char line[65536];
        struct dgo_text text = DGO_TEXT(line);

        flow_preview(command, environment, &text);
        if (text.truncated) /* a part of a command must not be run by accident */
            printf("\nthe command is longer than %zu bytes; --json shows it\n", sizeof line);
        else
            printf("\ncommand:\n%s\n", line);
    }
}
