/* profiler_changes.c - changes of level over all series: whose they were, and on how many cards. */
#include "profiler.h"

#include "dgo_text.h"

#include <math.h>
#include <stdlib.h>

static const double together_s = 2;

static int by_time(const void *a, const void *b)
{
    const struct dgo_change_report *x = a, *y = b;

    if (x->seconds < y->seconds || x->seconds > y->seconds)
        return x->seconds < y->seconds ? -1 : 1;
    if (x->gpu_index != y->gpu_index)
        return x->gpu_index < y->gpu_index ? -1 : 1;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static int by_size(const void *a, const void *b)
{
    const double x = fabs(((const struct dgo_change_report *)a)->delta_mib);
    const double y = fabs(((const struct dgo_change_report *)b)->delta_mib);

    return (x < y) - (x > y);
}

static bool is_alike(const struct dgo_change_report *a, const struct dgo_change_report *b)
{
    return fabs(a->seconds - b->seconds) <= together_s && (a->delta_mib > 0) == (b->delta_mib > 0);
}

/* A card's change that one of its processes made. */
static bool has_cause(const struct dgo_change_report *all, uint32_t count,
                      const struct dgo_change_report *change)
{
    for (uint32_t i = 0; i < count; i++)
        if (all[i].pid && all[i].gpu_index == change->gpu_index && is_alike(&all[i], change) &&
            fabs(all[i].delta_mib - change->delta_mib) <= fmax(16, 0.25 * fabs(change->delta_mib)))
            return true;
    return false;
}

/* The same process, or no process that is known, within 2 s on other cards. */
static uint32_t count_cards(const struct dgo_change_report *all, uint32_t count,
                            const struct dgo_change_report *change)
{
    uint32_t cards = 0;

    for (uint32_t i = 0; i < count; i++)
        if (all[i].pid == change->pid && is_alike(&all[i], change))
            cards |= 1u << all[i].gpu_index;
    return (uint32_t)__builtin_popcount(cards);
}

static uint32_t collect(const struct dgo_profiler *profiler, struct dgo_change_report *all,
                        uint32_t room)
{
    uint32_t count = 0;

    for (uint32_t s = 0; s < profiler->count; s++) {
        const struct dgo_series_report *report = &profiler->series[s]->report;

        for (uint32_t c = 0; c < report->stats.change_count && count < room; c++) {
            struct dgo_change_report *change = &all[count++];

            *change = (struct dgo_change_report){
                .seconds = report->stats.change[c].seconds,
                .delta_mib = report->stats.change[c].delta_mib,
                .gpu_index = report->gpu_index,
                .pid = report->pid,
            };
            (void)dgo_text_copy(change->name, sizeof change->name, report->name);
        }
    }
    return count;
}

uint32_t dgo_profiler_changes(const struct dgo_profiler *profiler,
                              struct dgo_change_report *changes, uint32_t max)
{
    enum { ROOM = 4096 };
    struct dgo_change_report *all = calloc(ROOM, sizeof *all);
    uint32_t count = 0, kept = 0;

    if (!all)
        return 0;
    count = collect(profiler, all, ROOM);
    for (uint32_t i = 0; i < count; i++)
        all[i].gpu_count = count_cards(all, count, &all[i]);
    qsort(all, count, sizeof *all, by_size); /* where there are too many, the largest are told */
    for (uint32_t i = 0; i < count && kept < max; i++)
        if (all[i].pid || !has_cause(all, count, &all[i]))
            changes[kept++] = all[i];
    qsort(changes, kept, sizeof *changes, by_time);
    free(all);
    return kept;
}
