/* worth.c - whose memory could be had, and what memory is worth. */
#include "dgo_worth.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <math.h>
#include <stdlib.h>

static const double least_mib = 1;

struct dgo_worth dgo_worth_of(const struct dgo_model *model)
{
    struct dgo_worth worth = {.token_bytes = dgo_model_kv_bytes_per_token(model)};

    for (uint32_t i = 0; i < model->layer_count; i++)
        worth.layer_bytes += model->layer[i].weights_bytes / model->layer_count;
    return worth;
}

static double share(double mib, uint64_t bytes)
{
    return bytes ? mib * (double)DGO_MIB / (double)bytes : NAN;
}

double dgo_worth_tokens(const struct dgo_worth *worth, double mib)
{
    return share(mib, worth->token_bytes);
}

double dgo_worth_layers(const struct dgo_worth *worth, double mib)
{
    return share(mib, worth->layer_bytes);
}

static bool could_be_freed(const struct dgo_snapshot_entry *entry)
{
    const bool engine =
        entry->role_known && (entry->role == DGO_ROLE_ENGINE || entry->role == DGO_ROLE_OURS);

    return entry->pid != 0 && !engine && entry->used_mib >= least_mib;
}

static int by_size(const void *a, const void *b)
{
    const struct dgo_freeable *x = a, *y = b;

    if (x->role_known != y->role_known)
        return x->role_known ? -1 : 1;
    return (x->used_mib < y->used_mib) - (x->used_mib > y->used_mib);
}

uint32_t dgo_freeable_find(const struct dgo_snapshot *snapshot, struct dgo_freeable *rows,
                           uint32_t max)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < snapshot->count && count < max; i++) {
        const struct dgo_snapshot_entry *entry = &snapshot->entry[i];

        if (!could_be_freed(entry))
            continue;
        rows[count] = (struct dgo_freeable){.gpu_index = entry->gpu_index,
                                            .pid = entry->pid,
                                            .role_known = entry->role_known,
                                            .role = entry->role,
                                            .used_mib = entry->used_mib};
        (void)dgo_text_copy(rows[count].name, sizeof rows[count].name, entry->name);
        count++;
    }
    if (count)
        qsort(rows, count, sizeof *rows, by_size);
    return count;
}
