/* engine_check.h - what the tests of the engine share: recorded files, and a small plan to vary. */
#ifndef ENGINE_CHECK_H
#define ENGINE_CHECK_H

#include "check.h"

#include <strings.h>

#include "dgo_engine.h"

/* A recorded file, whole; the test fails when it is missing. */
static inline char *engine_data(const char *name)
{
    char path[4096];
    char *text = NULL;
    size_t size = 0;
    FILE *file, *out;
    int c;

    snprintf(path, sizeof path, "%s/%s", ENGINE_DATA, name);
    file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    out = open_memstream(&text, &size);
    while ((c = fgetc(file)) != EOF)
        fputc(c, out);
    fclose(out);
    fclose(file);
    return text;
}

/* Two NVIDIA cards with UUIDs, a dense model of 32 layers on both, 16 and 17 of 33. */
static inline void engine_example(struct dgo_machine *machine, struct dgo_model *model,
                                  struct dgo_plan *plan)
{
    struct dgo_settings *settings = &plan->settings;

    memset(machine, 0, sizeof *machine);
    memset(model, 0, sizeof *model);
    memset(plan, 0, sizeof *plan);
    machine->gpu_count = 2;
    for (uint32_t g = 0; g < 2; g++) {
        machine->gpu[g].vendor = DGO_VENDOR_NVIDIA;
        snprintf(machine->gpu[g].uuid, sizeof machine->gpu[g].uuid, "GPU-%u%u", g, g);
    }
    model->layer_count = 32;
    model->context_length = 8192;
    settings->ctx_tokens = 4096;
    settings->slot_count = 1;
    settings->batch_tokens = 2048;
    settings->ubatch_tokens = 512;
    settings->gpu_layer_count = 33;
    settings->device_count = 2;
    settings->device_gpu[1] = 1;
    settings->tensor_split_given = true;
    settings->tensor_split[0] = 16;
    settings->tensor_split[1] = 17;
    settings->op_offload = true;
}

#endif
