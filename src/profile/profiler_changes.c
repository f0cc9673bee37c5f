/* profiler_changes.c - changes of level over all series: whose they were, and on how many cards.
 *
 * A card's change is told as its own only where no process explains it: one that changed alike, one
 * that appeared and then held as much, one that ended and had held as much, or several of these
 * together. */
#include "profiler.h"

#include "dgo_text.h"

#include <math.h>
#include <stdlib.h>

static const double together_s = 2, appear_s = 60;
static const double least_mib = 8, least_part = 0.05; /* of a change, to be a cause of it */

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

/* ---- the rows ---- */

enum { ROW_MAX = 4096 };

struct rows {
    const struct dgo_profiler *profiler;
    uint32_t count;
    struct dgo_change_report row[ROW_MAX]; /* delta 0: explained by another row */
};

/* NULL: no room. */
static struct dgo_change_report *add_row(struct rows *rows, const struct dgo_series_report *of,
                                         double seconds, double delta_mib)
{
    struct dgo_change_report *row;

    if (rows->count == ROW_MAX)
        return NULL;
    row = &rows->row[rows->count++];
    *row = (struct dgo_change_report){.seconds = seconds,
                                      .delta_mib = delta_mib,
                                      .gpu_index = of->gpu_index,
                                      .pid = of->pid,
                                      .start = of->start,
                                      .gpu_count = 1};
    (void)dgo_text_copy(row->name, sizeof row->name, of->name);
    (void)dgo_text_copy(row->command, sizeof row->command, of->command);
    return row;
}

static void collect(struct rows *rows)
{
    for (uint32_t s = 0; s < rows->profiler->count; s++) {
        const struct dgo_series_report *report = &rows->profiler->series[s]->report;

        for (uint32_t c = 0; c < report->stats.change_count; c++)
            (void)add_row(rows, report, report->stats.change[c].seconds,
                          report->stats.change[c].delta_mib);
    }
}

static bool is_alike(const struct dgo_change_report *a, const struct dgo_change_report *b,
                     double slack_s)
{
    return fabs(a->seconds - b->seconds) <= slack_s && (a->delta_mib > 0) == (b->delta_mib > 0);
}

/* The same process, or no process that is known, within 2 s on other cards. */
static uint32_t count_cards(const struct rows *rows, const struct dgo_change_report *row)
{
    uint32_t cards = 0;

    for (uint32_t i = 0; i < rows->count; i++)
        if (rows->row[i].pid == row->pid && is_alike(&rows->row[i], row, together_s))
            cards |= 1u << rows->row[i].gpu_index;
    return (uint32_t)__builtin_popcount(cards);
}

/* ---- who explains a card's change ---- */

struct suspect {
    const struct dgo_series_report *process;
    enum dgo_change_how how;
    double delta_mib;
};

enum { SUSPECT_MAX = 64 };

struct suspects {
    uint32_t count;
    struct suspect suspect[SUSPECT_MAX];
};

static bool is_near(double delta_mib, double wanted_mib)
{
    return fabs(delta_mib - wanted_mib) <= fmax(16, 0.25 * fabs(wanted_mib));
}

static double level_at(const struct dgo_trace_stats *stats, double seconds)
{
    double level_mib = stats->first_mib;

    for (uint32_t c = 0; c < stats->change_count; c++)
        if (stats->change[c].seconds <= seconds)
            level_mib += stats->change[c].delta_mib;
    return level_mib;
}

/* What the process means to a card's change by coming or going; DGO_CHANGE_LEVEL: nothing. */
static struct suspect suspect_of(const struct dgo_series_report *process,
                                 const struct dgo_series_report *card,
                                 const struct dgo_change_report *change, double slack_s)
{
    const struct dgo_trace_stats *stats = &process->stats;
    struct suspect suspect = {.process = process, .how = DGO_CHANGE_LEVEL};

    if (change->delta_mib > 0 && stats->first_s > card->stats.first_s + slack_s &&
        stats->first_s >= change->seconds - appear_s &&
        stats->first_s <= change->seconds + slack_s) {
        suspect.how = DGO_CHANGE_APPEARED;
        suspect.delta_mib = level_at(stats, change->seconds + slack_s);
    } else if (change->delta_mib < 0 && stats->last_s + slack_s < card->stats.last_s &&
               fabs(stats->last_s - change->seconds) <= slack_s) {
        suspect.how = DGO_CHANGE_ENDED;
        suspect.delta_mib = -stats->last_mib;
    }
    return suspect;
}

static void find_suspects(const struct rows *rows, const struct dgo_series_report *card,
                          const struct dgo_change_report *change, double slack_s,
                          struct suspects *suspects)
{
    suspects->count = 0;
    for (uint32_t s = 0; s < rows->profiler->count && suspects->count < SUSPECT_MAX; s++) {
        const struct dgo_series_report *process = &rows->profiler->series[s]->report;
        struct suspect suspect;

        if (process->pid == 0 || process->gpu_index != change->gpu_index)
            continue;
        suspect = suspect_of(process, card, change, slack_s);
        if (suspect.how != DGO_CHANGE_LEVEL &&
            fabs(suspect.delta_mib) >= fmax(least_mib, least_part * fabs(change->delta_mib)))
            suspects->suspect[suspects->count++] = suspect;
    }
}

/* The row of one that came or went stands for its own changes up to then. */
static void accuse(struct rows *rows, const struct suspect *suspect,
                   const struct dgo_change_report *change, double slack_s)
{
    const struct dgo_series_report *process = suspect->process;
    struct dgo_change_report *row;

    for (uint32_t i = 0; suspect->how == DGO_CHANGE_APPEARED && i < rows->count; i++) {
        struct dgo_change_report *own = &rows->row[i];

        if (own->pid == process->pid && own->start == process->start &&
            own->gpu_index == process->gpu_index && own->how == DGO_CHANGE_LEVEL &&
            own->seconds <= change->seconds + slack_s)
            own->delta_mib = 0;
    }
    row = add_row(rows, process, change->seconds, suspect->delta_mib);
    if (row)
        row->how = suspect->how;
}

/* What processes that were there before and after changed alike; `one_changed`: as much as the
 * card, one of them alone. */
static double alike_sum(const struct rows *rows, const struct dgo_change_report *change,
                        const struct suspects *suspects, double slack_s, bool *one_changed)
{
    double sum_mib = 0;

    *one_changed = false;
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct dgo_change_report *row = &rows->row[i];
        bool counted = false;

        if (row->pid == 0 || row->how != DGO_CHANGE_LEVEL || row->gpu_index != change->gpu_index ||
            !is_alike(row, change, slack_s))
            continue;
        for (uint32_t s = 0; s < suspects->count; s++)
            counted |= suspects->suspect[s].process->pid == row->pid &&
                       suspects->suspect[s].process->start == row->start;
        if (counted)
            continue;
        sum_mib += row->delta_mib;
        *one_changed |= is_near(row->delta_mib, change->delta_mib);
    }
    return sum_mib;
}

/* The suspect whose size is nearest to the card's change; NULL: none is near. */
static const struct suspect *find_nearest(const struct suspects *suspects, double delta_mib)
{
    const struct suspect *best = NULL;

    for (uint32_t s = 0; s < suspects->count; s++) {
        const struct suspect *suspect = &suspects->suspect[s];

        if (is_near(suspect->delta_mib, delta_mib) &&
            (!best || fabs(suspect->delta_mib - delta_mib) < fabs(best->delta_mib - delta_mib)))
            best = suspect;
    }
    return best;
}

static bool explain(struct rows *rows, const struct dgo_series_report *card,
                    const struct dgo_change_report *change)
{
    const double slack_s = fmin(fmax(together_s, 2.5 * card->stats.step_s), 30);
    const struct suspect *best;
    struct suspects suspects;
    double sum_mib;
    bool one_changed;

    find_suspects(rows, card, change, slack_s, &suspects);
    best = find_nearest(&suspects, change->delta_mib);
    sum_mib = alike_sum(rows, change, &suspects, slack_s, &one_changed);
    if (one_changed && !best)
        return true;
    for (uint32_t s = 0; s < suspects.count; s++)
        sum_mib += suspects.suspect[s].delta_mib;
    /* All of them, where that is nearer than the best alone. */
    if (is_near(sum_mib, change->delta_mib) &&
        (!best || fabs(sum_mib - change->delta_mib) < fabs(best->delta_mib - change->delta_mib))) {
        for (uint32_t s = 0; s < suspects.count; s++)
            accuse(rows, &suspects.suspect[s], change, slack_s);
        return true;
    }
    if (best)
        accuse(rows, best, change, slack_s);
    return best != NULL;
}

static const struct dgo_series_report *card_of(const struct dgo_profiler *profiler,
                                               uint32_t gpu_index)
{
    for (uint32_t s = 0; s < profiler->count; s++)
        if (profiler->series[s]->report.pid == 0 &&
            profiler->series[s]->report.gpu_index == gpu_index)
            return &profiler->series[s]->report;
    return NULL;
}

uint32_t dgo_profiler_changes(const struct dgo_profiler *profiler,
                              struct dgo_change_report *changes, uint32_t max)
{
    struct rows *rows = malloc(sizeof *rows);
    uint32_t kept = 0, of_series;

    if (!rows)
        return 0;
    rows->profiler = profiler;
    rows->count = 0;
    collect(rows);
    of_series = rows->count; /* accuse adds behind them */
    for (uint32_t i = 0; i < of_series; i++) {
        const struct dgo_change_report change = rows->row[i];

        if (change.pid == 0 && explain(rows, card_of(profiler, change.gpu_index), &change))
            rows->row[i].delta_mib = 0;
    }
    for (uint32_t i = 0; i < rows->count; i++)
        rows->row[i].gpu_count = count_cards(rows, &rows->row[i]);
    /* Where there are too many, the largest are told. */
    qsort(rows->row, rows->count, sizeof rows->row[0], by_size);
    for (uint32_t i = 0; i < rows->count && kept < max; i++)
        if (fabs(rows->row[i].delta_mib) > 0)
            changes[kept++] = rows->row[i];
    qsort(changes, kept, sizeof *changes, by_time);
    free(rows);
    return kept;
}

const char *dgo_change_how_name(enum dgo_change_how how)
{
    static const char *const names[] = {[DGO_CHANGE_LEVEL] = "level",
                                        [DGO_CHANGE_APPEARED] = "appeared",
                                        [DGO_CHANGE_ENDED] = "ended"};

    return names[how];
}

void dgo_change_text(const struct dgo_change_report *change, struct dgo_text *text)
{
    dgo_text_addf(text, "GPU %u: %+.0f MiB", change->gpu_index, change->delta_mib);
    if (change->pid == 0)
        dgo_text_add(text, " of no process that is known");
    else
        dgo_text_addf(text, " by pid %u%s%s", change->pid, change->name[0] ? " " : "",
                      change->name);
    if (change->how != DGO_CHANGE_LEVEL)
        dgo_text_addf(text, ", which %s", dgo_change_how_name(change->how));
    if (change->pid && change->command[0])
        dgo_text_addf(text, ": %s", change->command);
}
