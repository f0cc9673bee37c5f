/* truth.c - see truth.h.  Columns: model, GiB of each card, flags, buffer type, bytes of the model,
 * of the context, of compute; anything after that is not read. */
#include "truth.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 512, ALL_LAYERS = 999 };

struct truth_table {
    FILE *file;
    bool has_rows;
    char line[LINE]; /* the row that begins the next case; "" at the end */
};

static bool is_data(const char *line)
{
    return line[0] != '#' && line[0] != '\n' && strncmp(line, "model\t", 6) != 0;
}

static void read_row(struct truth_table *table)
{
    do {
        if (!fgets(table->line, sizeof table->line, table->file)) {
            table->line[0] = '\0';
            return;
        }
    } while (!is_data(table->line));
}

struct truth_table *truth_open(const char *path, bool has_rows)
{
    FILE *file = fopen(path, "r");
    struct truth_table *table;

    if (!file)
        return NULL;
    table = calloc(1, sizeof *table);
    if (!table)
        abort();
    table->file = file;
    table->has_rows = has_rows;
    read_row(table);
    return table;
}

void truth_close(struct truth_table *table)
{
    if (table)
        fclose(table->file);
    free(table);
}

static void add_figures(struct truth_case *row, const char *buffer, uint64_t weights,
                        uint64_t context, uint64_t compute)
{
    struct truth_figures *to = &row->host;

    if (strncmp(buffer, "CUDA", 4) == 0 && buffer[4] >= '0' && buffer[4] < '0' + TRUTH_DEVICE_MAX)
        to = &row->device[buffer[4] - '0'];
    to->seen = true;
    to->weights_bytes += weights;
    to->context_bytes += context;
    to->compute_bytes += compute;
}

bool truth_next(struct truth_table *table, struct truth_case *row)
{
    char model[16], cards[64], args[128], buffer[32];
    uint64_t weights, context, compute;

    memset(row, 0, sizeof *row);
    while (table->line[0]) {
        if (sscanf(table->line,
                   "%15[^\t]\t%63[^\t]\t%127[^\t]\t%31[^\t]\t%" SCNu64 "\t%" SCNu64 "\t%" SCNu64,
                   model, cards, args, buffer, &weights, &context, &compute) != 7) {
            fprintf(stderr, "not a row: %s", table->line);
            abort();
        }
        if (row->model[0] == '\0') {
            memcpy(row->model, model, sizeof model);
            memcpy(row->cards, cards, sizeof cards);
            memcpy(row->args, args, sizeof args);
            row->full_rows = table->has_rows && !strstr(args, "-nout");
        } else if (strcmp(row->model, model) != 0 || strcmp(row->cards, cards) != 0 ||
                   strcmp(row->args, args) != 0) {
            return true;
        }
        add_figures(row, buffer, weights, context, compute);
        read_row(table);
    }
    return row->model[0] != '\0';
}

void truth_machine(const char *cards, struct dgo_machine *machine)
{
    char *end;

    memset(machine, 0, sizeof *machine);
    for (const char *at = cards; *at; at = *end == ',' ? end + 1 : end) {
        struct dgo_gpu *gpu = &machine->gpu[machine->gpu_count++];

        gpu->vendor = DGO_VENDOR_NVIDIA;
        gpu->free_bytes = gpu->total_bytes = strtoull(at, &end, 10) * DGO_GIB;
        gpu->known = UINT64_C(1) << DGO_GPU_FREE_BYTES | UINT64_C(1) << DGO_GPU_TOTAL_BYTES;
    }
}

static void set_split(const char *value, struct dgo_settings *settings)
{
    char *end;
    uint32_t d = 0;

    settings->tensor_split_given = true;
    for (const char *at = value; *at && d < DGO_GPU_MAX; at = *end == ',' ? end + 1 : end)
        settings->tensor_split[d++] = strtof(at, &end);
}

static bool set_value(const char *flag, const char *value, struct dgo_settings *settings)
{
    const struct {
        const char *flag;
        uint32_t *number;
    } numbers[] = {
        {"-c", &settings->ctx_tokens},          {"-b", &settings->batch_tokens},
        {"-ub", &settings->ubatch_tokens},      {"-np", &settings->slot_count},
        {"-ngl", &settings->gpu_layer_count},   {"-ncmoe", &settings->cpu_moe_layer_count},
        {"-nout", &settings->output_row_count},
    };

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(flag, numbers[i].flag) == 0) {
            *numbers[i].number = (uint32_t)strtoul(value, NULL, 10);
            return true;
        }
    }
    if (strcmp(flag, "-ctk") == 0)
        return dgo_kv_type_parse(value, &settings->key_type, NULL) == DGO_OK;
    if (strcmp(flag, "-ctv") == 0)
        return dgo_kv_type_parse(value, &settings->value_type, NULL) == DGO_OK;
    if (strcmp(flag, "-fa") == 0)
        settings->flash_attention = strcmp(value, "off") == 0 ? DGO_FA_OFF : DGO_FA_ON;
    else if (strcmp(flag, "-sm") == 0)
        settings->split_mode = strcmp(value, "none") == 0 ? DGO_SPLIT_NONE : DGO_SPLIT_LAYER;
    else if (strcmp(flag, "-ts") == 0)
        set_split(value, settings);
    else
        return false;
    return true;
}

static bool set_switch(const char *flag, struct dgo_settings *settings)
{
    if (strcmp(flag, "-kvu") == 0)
        settings->kv_unified = true;
    else if (strcmp(flag, "-nkvo") == 0)
        settings->kv_on_host = true;
    else if (strcmp(flag, "-swafull") == 0 || strcmp(flag, "--swa-full") == 0)
        settings->swa_full = true;
    else if (strcmp(flag, "--no-op-offload") == 0)
        settings->op_offload = false;
    else
        return false;
    return true;
}

bool truth_settings(const struct truth_case *row, const struct dgo_machine *machine,
                    struct dgo_settings *settings)
{
    char args[sizeof row->args], *save = NULL;

    *settings = (struct dgo_settings){.slot_count = 1,
                                      .batch_tokens = 2048,
                                      .ubatch_tokens = 512,
                                      .gpu_layer_count = ALL_LAYERS,
                                      .op_offload = true,
                                      .device_count = machine->gpu_count};
    for (uint32_t d = 0; d < machine->gpu_count; d++)
        settings->device_gpu[d] = d;
    memcpy(args, row->args, sizeof args);
    for (char *flag = strtok_r(args, " ", &save); flag; flag = strtok_r(NULL, " ", &save)) {
        char *value;

        if (set_switch(flag, settings))
            continue;
        value = strtok_r(NULL, " ", &save);
        if (!value || !set_value(flag, value, settings)) {
            fprintf(stderr, "flag %s is not known to truth.c\n", flag);
            return false;
        }
    }
    return true;
}
