/* fuzz_machine.c - any bytes as a machine file: a machine that keeps its promises, or a sentence.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "machine_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* What a plan relies on. */
static void use(const struct dgo_machine *machine)
{
    must(machine->gpu_count <= DGO_GPU_MAX);
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        must(strnlen(gpu->name, sizeof gpu->name) < sizeof gpu->name);
        if (dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) && dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
            must(gpu->free_bytes <= gpu->total_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    /* Of exactly that length: a byte read too far is seen. */
    char *copy = malloc(length ? length : 1);
    struct dgo_machine *machine = calloc(1, sizeof *machine);
    struct dgo_error err = {0};

    if (copy && machine) {
        if (length)
            memcpy(copy, data, length);
        if (gpu_machine_parse(copy, length, machine, &err) == DGO_OK)
            use(machine);
        else
            must(err.status != DGO_OK && err.text[0] != '\0');
    }
    free(machine);
    free(copy);
    return 0;
}
