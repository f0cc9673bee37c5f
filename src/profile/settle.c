/* settle.c - whether a machine's GPU memory stands still. */
#include "dgo_settle.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <math.h>
#include <string.h>

static const double least_mib = 2;

void dgo_settle_init(struct dgo_settle *settle, double still_s)
{
    memset(settle, 0, sizeof *settle);
    settle->still_s = still_s;
}

static struct dgo_settle_entry *find(struct dgo_settle *settle, uint32_t gpu_index, uint32_t pid,
                                     uint64_t start)
{
    for (uint32_t i = 0; i < settle->count; i++) {
        struct dgo_settle_entry *entry = &settle->entry[i];

        if (entry->gpu_index == gpu_index && entry->pid == pid && entry->start == start)
            return entry;
    }
    return NULL;
}

/* What appears after the first look has moved by all that it holds. */
static struct dgo_settle_entry *make(struct dgo_settle *settle, uint32_t gpu_index, uint32_t pid,
                                     uint64_t start, double used_mib)
{
    struct dgo_settle_entry *entry;

    if (settle->count == DGO_SETTLE_ENTRY_MAX)
        return NULL;
    entry = &settle->entry[settle->count++];
    *entry = (struct dgo_settle_entry){.gpu_index = gpu_index,
                                       .pid = pid,
                                       .start = start,
                                       .since_s = settle->now_s,
                                       .least_mib = used_mib,
                                       .greatest_mib = used_mib};
    if (settle->now_s > settle->began_s && pid && used_mib >= least_mib) {
        entry->moved_mib = used_mib;
        entry->moved_s = settle->now_s;
    }
    return entry;
}

static void note(struct dgo_settle *settle, uint32_t gpu_index,
                 const struct dgo_gpu_process *process, uint64_t used_bytes)
{
    const double used_mib = (double)used_bytes / (double)DGO_MIB;
    const uint32_t pid = process ? process->pid : 0;
    const uint64_t start = process ? process->start_ticks : 0;
    struct dgo_settle_entry *entry = find(settle, gpu_index, pid, start);

    if (!entry)
        entry = make(settle, gpu_index, pid, start, used_mib);
    if (!entry)
        return;
    entry->seen = true;
    if (process)
        (void)dgo_text_copy(entry->name, sizeof entry->name, process->name);

    const double least = fmin(entry->least_mib, used_mib);
    const double greatest = fmax(entry->greatest_mib, used_mib);

    entry->least_mib = least;
    entry->greatest_mib = greatest;
    if (greatest - least < least_mib)
        return;
    entry->moved_mib = used_mib - (used_mib > least ? least : greatest);
    entry->moved_s = settle->now_s;
    entry->since_s = settle->now_s;
    entry->least_mib = entry->greatest_mib = used_mib;
}

/* Those that are gone leave; a card that comes back begins anew. */
static void drop_unseen(struct dgo_settle *settle)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < settle->count; i++)
        if (settle->entry[i].seen)
            settle->entry[kept++] = settle->entry[i];
    settle->count = kept;
}

void dgo_settle_look(struct dgo_settle *settle, const struct dgo_machine *machine, double seconds)
{
    if (!settle->begun)
        settle->began_s = seconds;
    settle->begun = true;
    settle->now_s = seconds;
    for (uint32_t i = 0; i < settle->count; i++)
        settle->entry[i].seen = false;
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if (gpu->problem[0] != '\0' || !dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES))
            continue;
        note(settle, g, NULL, gpu->used_bytes);
        for (uint32_t p = 0; p < gpu->process_count; p++)
            if (gpu->process[p].used_known && gpu->process[p].pid)
                note(settle, g, &gpu->process[p], gpu->process[p].used_bytes);
    }
    drop_unseen(settle);
}

static bool moves(const struct dgo_settle *settle, const struct dgo_settle_entry *entry)
{
    return settle->now_s - entry->since_s < settle->still_s;
}

bool dgo_settle_is_still(const struct dgo_settle *settle)
{
    bool any = false;

    for (uint32_t i = 0; i < settle->count; i++) {
        if (settle->entry[i].pid != 0)
            continue;
        any = true;
        if (moves(settle, &settle->entry[i]))
            return false;
    }
    return any;
}

static int order(const struct dgo_settle_entry *a, const struct dgo_settle_entry *b)
{
    if (a->gpu_index != b->gpu_index)
        return a->gpu_index < b->gpu_index ? -1 : 1;
    return (a->pid > b->pid) - (a->pid < b->pid);
}

uint32_t dgo_settle_movers(const struct dgo_settle *settle,
                           struct dgo_settle_entry movers[DGO_SETTLE_MOVER_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < settle->count && count < DGO_SETTLE_MOVER_MAX; i++) {
        const struct dgo_settle_entry *entry = &settle->entry[i];
        uint32_t at = count;

        if (entry->moved_mib == 0 || settle->now_s - entry->moved_s >= settle->still_s)
            continue;
        for (; at > 0 && order(entry, &movers[at - 1]) < 0; at--)
            movers[at] = movers[at - 1];
        movers[at] = *entry;
        count++;
    }
    return count;
}
