/* import_entry.h - a launch while it is read; private to import*.c. */
#ifndef IMPORT_ENTRY_H
#define IMPORT_ENTRY_H

#include "dgo_engine.h"
#include "dgo_text.h"
#include "import.h"

struct import_entry {
    const struct import_call *call;
    uint32_t line;
    char name[128]; /* as the file calls it, fit to be shown */
    bool lost;
    struct preset *preset;

    const struct dgo_engine *engine;
    uint64_t ctx_tokens, slots; /* 0: not said */
    char key_type[24], value_type[24];
    uint32_t visible[DGO_GPU_MAX], visible_count; /* CUDA_VISIBLE_DEVICES */
    uint32_t device[DGO_GPU_MAX], device_count;   /* CUDA1 of -dev: in `visible` where given */
    uint32_t share_count;
    bool bus_order, visible_given;
    char planned[256];
    struct dgo_text planned_text;
};

/* Sets an option of the preset; a value that it does not take is told. */
void import_set(struct import_entry *entry, uint32_t line, enum option_id id, const char *text);

/* "CUDA1,CUDA0" (named) or "0,2": the numbers; false: something else is among them. */
bool import_numbers(const char *list, bool named, uint32_t numbers[DGO_GPU_MAX], uint32_t *count);

#endif
