/* difference.c - snapshots from the quiet end of recordings, and what changed between them. */
#include "dgo_difference.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "rank.h"

#include <math.h>
#include <string.h>

enum { PARTS = 6 }; /* the last one and five before it */
static const double least_mib = 2, part_least_s = 10;

/* ---- snapshot --------------------------------------------------------------------------- */

/* Median of the means within [from_s, to_s), and how far apart least and greatest are; NAN: none.
 */
static double level_of(const struct dgo_trace_point *point, uint32_t count, double from_s,
                       double to_s, double *span_mib)
{
    double value[DGO_TRACE_CELL_MAX];
    double least = INFINITY, greatest = -INFINITY;
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (isnan(point[i].mean_mib) || point[i].seconds + point[i].span_s / 2 < from_s ||
            point[i].seconds >= to_s)
            continue;
        value[found++] = point[i].mean_mib;
        least = fmin(least, point[i].min_mib);
        greatest = fmax(greatest, point[i].max_mib);
    }
    *span_mib = found ? greatest - least : 0;
    return rank_median(value, found);
}

enum { PART_NOW = -1 };

/* PART_NOW: long enough for three readings of a series that goes on, and for its widest cell. */
static double part_of(const struct dgo_series_report *report, double given_s, double end_s,
                      const struct dgo_trace_point *last)
{
    const double length_s = report->stats.last_s - report->stats.first_s;

    if (given_s > 0)
        return fmax(1, given_s);
    if (given_s == 0)
        return fmax(part_least_s, (end_s - report->stats.first_s) / 12);
    return fmax(fmax(30, last ? 1.5 * last->span_s : 0),
                3 * length_s / (double)dgo_max_u64(report->stats.sample_count, 2));
}

static bool take_entry(const struct dgo_profiler *profiler, uint32_t index, double end_s,
                       double given_part_s, struct dgo_snapshot_entry *entry, bool *quiet)
{
    struct dgo_trace_point point[DGO_TRACE_CELL_MAX];
    const struct dgo_series_report *report = dgo_profiler_report(profiler, index);
    const uint32_t count = dgo_profiler_points(profiler, index, point, DGO_TRACE_CELL_MAX);
    const double part_s = part_of(report, given_part_s, end_s, count ? &point[count - 1] : NULL);
    double span_mib;

    *entry = (struct dgo_snapshot_entry){.gpu_index = report->gpu_index,
                                         .pid = report->pid,
                                         .start = report->start,
                                         .role_known = report->role_known,
                                         .role = report->role};
    (void)dgo_text_copy(entry->name, sizeof entry->name, report->name);
    entry->used_mib = level_of(point, count, end_s - part_s, INFINITY, &span_mib);
    if (isnan(entry->used_mib))
        return false;
    if (report->pid == 0 && span_mib >= least_mib)
        *quiet = false;
    for (uint32_t part = 1; part < PARTS; part++) {
        const double to_s = end_s - part * part_s;
        const double level = level_of(point, count, to_s - part_s, to_s, &span_mib);

        if (!isnan(level))
            entry->noise_mib = fmax(entry->noise_mib, fabs(level - entry->used_mib));
    }
    return true;
}

void dgo_snapshot_take(const struct dgo_profiler *profiler, double part_s,
                       struct dgo_snapshot *snapshot)
{
    double end_s = -INFINITY;

    memset(snapshot, 0, sizeof *snapshot);
    snapshot->quiet = true;
    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++)
        snapshot->card[g] = dgo_profiler_card(profiler, g);
    for (uint32_t i = 0; i < dgo_profiler_count(profiler); i++)
        end_s = fmax(end_s, dgo_profiler_report(profiler, i)->stats.last_s);
    for (uint32_t i = 0;
         i < dgo_profiler_count(profiler) && snapshot->count < DGO_SNAPSHOT_ENTRY_MAX; i++)
        snapshot->count += take_entry(profiler, i, end_s, part_s, &snapshot->entry[snapshot->count],
                                      &snapshot->quiet);
}

void dgo_snapshot_now(const struct dgo_profiler *profiler, struct dgo_snapshot *snapshot)
{
    dgo_snapshot_take(profiler, PART_NOW, snapshot);
}

/* ---- difference ------------------------------------------------------------------------- */

static const struct dgo_snapshot_entry *find_same(const struct dgo_snapshot *snapshot,
                                                  const struct dgo_snapshot_entry *like)
{
    for (uint32_t i = 0; i < snapshot->count; i++) {
        const struct dgo_snapshot_entry *entry = &snapshot->entry[i];

        if (entry->gpu_index == like->gpu_index && entry->pid == like->pid &&
            entry->start == like->start)
            return entry;
    }
    return NULL;
}

static bool is_row_of(const struct dgo_difference_row *row, const struct dgo_snapshot_entry *entry,
                      enum dgo_difference_kind kind)
{
    if (row->gpu_index != entry->gpu_index || (row->pid == 0) != (entry->pid == 0) ||
        row->kind != kind)
        return false;
    return row->pid == entry->pid || (entry->name[0] && !strcmp(row->name, entry->name));
}

/* Deltas of one row over the repeats. */
struct gathered {
    uint32_t count;
    double before[DGO_DIFFERENCE_REPEAT_MAX], after[DGO_DIFFERENCE_REPEAT_MAX];
    double delta[DGO_DIFFERENCE_REPEAT_MAX], floor_mib;
};

static void gather(struct dgo_difference *difference, struct gathered *gathered, uint32_t repeat,
                   const struct dgo_snapshot_entry *before, const struct dgo_snapshot_entry *after)
{
    const struct dgo_snapshot_entry *entry = before ? before : after;
    const enum dgo_difference_kind kind = !before  ? DGO_APPEARED
                                          : !after ? DGO_DISAPPEARED
                                                   : DGO_CHANGED;
    uint32_t at = 0;

    while (at < difference->count &&
           (!is_row_of(&difference->row[at], entry, kind) || gathered[at].count > repeat))
        at++;
    if (at == DGO_SNAPSHOT_ENTRY_MAX)
        return;
    if (at == difference->count) {
        struct dgo_difference_row *row = &difference->row[difference->count++];

        *row = (struct dgo_difference_row){
            .kind = kind, .gpu_index = entry->gpu_index, .pid = entry->pid};
        (void)dgo_text_copy(row->name, sizeof row->name, entry->name);
        memset(&gathered[at], 0, sizeof gathered[at]);
    }

    struct gathered *to = &gathered[at];
    const double was = before ? before->used_mib : 0, is = after ? after->used_mib : 0;

    to->before[to->count] = was;
    to->after[to->count] = is;
    to->delta[to->count++] = is - was;
    to->floor_mib =
        fmax(to->floor_mib, fmax(before ? before->noise_mib : 0, after ? after->noise_mib : 0));
}

static void close_row(struct dgo_difference_row *row, struct gathered *gathered)
{
    row->low_mib = rank_quantile(gathered->delta, gathered->count, 0);
    row->high_mib = rank_quantile(gathered->delta, gathered->count, 1);
    row->delta_mib = rank_median(gathered->delta, gathered->count);
    row->before_mib = rank_median(gathered->before, gathered->count);
    row->after_mib = rank_median(gathered->after, gathered->count);
    row->floor_mib = fmax(least_mib, gathered->floor_mib);
    /* All repeats must say the same. */
    row->measurable = fabs(row->delta_mib) > row->floor_mib && row->low_mib * row->high_mib > 0;
}

static const struct dgo_snapshot_entry *find_card(const struct dgo_snapshot *snapshot,
                                                  uint32_t gpu_index)
{
    return find_same(snapshot, &(struct dgo_snapshot_entry){.gpu_index = gpu_index});
}

/* Without a reading there is no difference: what a card holds that went away is not freed. */
static void find_unread(const struct dgo_snapshot *before, const struct dgo_snapshot *after,
                        struct dgo_difference *difference)
{
    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++) {
        bool unread = false;

        for (uint32_t repeat = 0; repeat < difference->repeat_count; repeat++)
            unread |= !find_card(&before[repeat], g) != !find_card(&after[repeat], g);
        if (unread)
            difference->unread[difference->unread_count++] = g;
    }
}

static bool is_unread(const struct dgo_difference *difference, uint32_t gpu_index)
{
    for (uint32_t i = 0; i < difference->unread_count; i++)
        if (difference->unread[i] == gpu_index)
            return true;
    return false;
}

static void sum_cards(const struct dgo_snapshot *before, const struct dgo_snapshot *after,
                      struct dgo_difference *difference)
{
    double delta[DGO_DIFFERENCE_REPEAT_MAX] = {0}, noise_mib = 0;
    const uint32_t count = difference->repeat_count;

    for (uint32_t repeat = 0; repeat < count; repeat++) {
        double repeat_noise_mib = 0;

        for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++) {
            const struct dgo_snapshot_entry *was = find_card(&before[repeat], g);
            const struct dgo_snapshot_entry *is = find_card(&after[repeat], g);

            if (!was || !is || is_unread(difference, g))
                continue;
            delta[repeat] += is->used_mib - was->used_mib;
            repeat_noise_mib += fmax(was->noise_mib, is->noise_mib);
        }
        noise_mib = fmax(noise_mib, repeat_noise_mib);
    }
    if (count == 0)
        return;
    difference->total_floor_mib = fmax(least_mib, noise_mib);
    difference->total_low_mib = rank_quantile(delta, count, 0);
    difference->total_high_mib = rank_quantile(delta, count, 1);
    difference->total_mib = rank_median(delta, count);
    difference->total_measurable = fabs(difference->total_mib) > difference->total_floor_mib &&
                                   difference->total_low_mib * difference->total_high_mib > 0;
}

void dgo_difference_make(const struct dgo_snapshot *before, const struct dgo_snapshot *after,
                         uint32_t count, struct dgo_difference *difference)
{
    struct gathered gathered[DGO_SNAPSHOT_ENTRY_MAX] = {0};

    memset(difference, 0, sizeof *difference);
    difference->repeat_count =
        count < DGO_DIFFERENCE_REPEAT_MAX ? count : (uint32_t)DGO_DIFFERENCE_REPEAT_MAX;
    find_unread(before, after, difference);
    for (uint32_t repeat = 0; repeat < difference->repeat_count; repeat++) {
        for (uint32_t i = 0; i < before[repeat].count; i++)
            if (!is_unread(difference, before[repeat].entry[i].gpu_index))
                gather(difference, gathered, repeat, &before[repeat].entry[i],
                       find_same(&after[repeat], &before[repeat].entry[i]));
        for (uint32_t i = 0; i < after[repeat].count; i++)
            if (!is_unread(difference, after[repeat].entry[i].gpu_index) &&
                !find_same(&before[repeat], &after[repeat].entry[i]))
                gather(difference, gathered, repeat, NULL, &after[repeat].entry[i]);
    }
    for (uint32_t i = 0; i < difference->count; i++)
        close_row(&difference->row[i], &gathered[i]);
    sum_cards(before, after, difference);
}
