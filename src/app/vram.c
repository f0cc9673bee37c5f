/* vram.c - what a look at the machine tells the VRAM ledger. */
#include "vram.h"

#include "dgo_resource.h"

static uint32_t list_usage(const struct dgo_gpu *gpu,
                           struct dgo_ledger_usage usage[DGO_GPU_PROCESS_MAX], bool *complete)
{
    uint32_t count = 0;

    *complete = gpu->process_more == 0;
    for (uint32_t i = 0; i < gpu->process_count; i++) {
        if (!gpu->process[i].used_known) {
            *complete = false; /* reconciling without it would take it for nothing */
            continue;
        }
        usage[count++] = (struct dgo_ledger_usage){gpu->process[i].pid, gpu->process[i].used_bytes};
    }
    return count;
}

enum dgo_status vram_observe(const struct dgo_machine *machine, uint64_t margin_bytes,
                             struct dgo_error *err)
{
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];
        struct dgo_ledger_usage usage[DGO_GPU_PROCESS_MAX];
        const struct dgo_ledger_gpu seen = {
            .known = true,
            .total_bytes = gpu->total_bytes,
            .driver_bytes = dgo_gpu_knows(gpu, DGO_GPU_RESERVED_BYTES) ? gpu->reserved_bytes : 0,
            .free_bytes = gpu->free_bytes,
            .margin_bytes = margin_bytes,
        };
        enum dgo_status status;
        bool complete;
        uint32_t count;

        if (!dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) || !dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
            continue;
        status = dgo_resource_set_vram(g, &seen, err);
        if (status != DGO_OK)
            return status;
        if (!gpu->processes_known)
            continue;
        count = list_usage(gpu, usage, &complete);
        if (complete)
            status = dgo_vram_reconcile(g, usage, count, err);
        if (status != DGO_OK)
            return status;
    }
    return DGO_OK;
}
