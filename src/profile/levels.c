/* levels.c - what a level that comes back has become: a model that is loaded again, a cache that is
 * cut again.  A trend over all of it sees only the jumps. */
#include "levels.h"

#include <math.h>
#include <string.h>

enum { STRETCH_MAX = 256, CELLS_LEAST = 3, EDGE_CELLS = 4 };
static const double jump_least_mib = 128, jump_share = 0.1; /* of the range */
static const double near_share = 0.12, near_most_mib = 768; /* of a level, to be the same one */
static const double tie_mib = 6, left_mib = 96;

struct stretch {
    double begin_s, end_s, begin_mib, end_mib;
};

struct stretches {
    uint32_t count;
    double tie_mib; /* levels nearer than that are equal */
    struct stretch of[STRETCH_MAX];
};

static double edge_level(const struct dgo_trace *trace, uint32_t first, uint32_t end)
{
    double values[EDGE_CELLS];
    uint32_t count = 0;

    for (uint32_t i = first; i < end && count < EDGE_CELLS; i++)
        if (trace->cell[i].count)
            values[count++] = (double)trace->cell[i].mean;
    return rank_median(values, count);
}

/* The cells at its edges hold a part of the jump: they are left out. */
static void keep(const struct dgo_trace *trace, uint32_t first, uint32_t end,
                 struct stretches *stretches)
{
    const uint32_t from = first + 1, to = end - 1;

    if (end < first + CELLS_LEAST + 2)
        return;
    if (stretches->count == STRETCH_MAX)
        memmove(stretches->of, stretches->of + 1, --stretches->count * sizeof stretches->of[0]);

    const uint32_t edge = to - from < EDGE_CELLS ? to - from : EDGE_CELLS;

    stretches->of[stretches->count++] = (struct stretch){
        .begin_s = (from + edge / 2.0) * trace->width_s,
        .end_s = (to - edge / 2.0) * trace->width_s,
        .begin_mib = edge_level(trace, from, to),
        .end_mib = edge_level(trace, to - edge, to),
    };
}

/* How much a cell's mean differs from the next one's, usually. */
static double tremble(const struct dgo_trace *trace)
{
    double apart[DGO_TRACE_CELL_MAX];
    uint32_t count = 0;

    for (uint32_t i = 1; i < trace->cell_count; i++)
        if (trace->cell[i].count && trace->cell[i - 1].count)
            apart[count++] = fabs((double)trace->cell[i].mean - (double)trace->cell[i - 1].mean);
    return count ? rank_median(apart, count) : 0;
}

static void find_stretches(const struct dgo_trace *trace, struct stretches *stretches)
{
    const double range = trace->greatest_mib - trace->least_mib, trembles = tremble(trace);
    const double jump = fmax(fmax(jump_least_mib, jump_share * range), 8 * trembles);
    uint32_t first = 0;
    double last = NAN;

    stretches->count = 0;
    stretches->tie_mib = fmax(tie_mib, 2 * trembles);
    for (uint32_t i = 0; i < trace->cell_count; i++) {
        if (trace->cell[i].count == 0)
            continue;

        const double value = (double)trace->cell[i].mean;

        if (fabs(value - last) >= jump) { /* of NAN false */
            keep(trace, first, i, stretches);
            first = i;
        }
        last = value;
    }
    keep(trace, first, trace->cell_count, stretches);
}

struct edge {
    double s, mib;
};
static struct edge edge_of(const struct stretch *stretch, bool end)
{
    return end ? (struct edge){stretch->end_s, stretch->end_mib}
               : (struct edge){stretch->begin_s, stretch->begin_mib};
}

/* The nearest level before stretch `at`; between them memory was elsewhere, as each jump does. */
static bool find_before(const struct stretches *stretches, uint32_t at, bool end,
                        struct edge *before)
{
    const struct edge now = edge_of(&stretches->of[at], end);
    double nearest = fmin(near_most_mib, fmax(left_mib, near_share * now.mib));
    bool found = false;

    for (uint32_t i = 0; i < at; i++) {
        const struct edge other = edge_of(&stretches->of[i], end);

        if (fabs(now.mib - other.mib) < nearest) {
            nearest = fabs(now.mib - other.mib);
            *before = other;
            found = true;
        }
    }
    return found;
}

/* Which level of its kind a stretch has can be chance once, never over and over. */
static uint32_t compare(const struct stretches *stretches, struct levels *levels, double *slope)
{
    uint32_t ups = 0;
    double last_up_s = 0;

    for (uint32_t at = 1; at < stretches->count; at++) {
        for (int end = 0; end < 2; end++) {
            const struct edge now = edge_of(&stretches->of[at], end);
            struct edge before;

            /* Where the series ends is no edge. */
            if ((end && at + 1 == stretches->count) || !find_before(stretches, at, end, &before))
                continue;
            levels->returns++;
            levels->down += now.mib < before.mib - stretches->tie_mib;
            if (now.mib <= before.mib + stretches->tie_mib)
                continue;
            slope[ups++] = (now.mib - before.mib) / (now.s - before.s) * 3600;
            last_up_s = now.s;
        }
    }
    levels->up = ups;
    levels->end_share = levels->span_s > 0 ? last_up_s / levels->span_s : 0;
    return ups;
}

bool levels_look(const struct dgo_trace *trace, struct levels *levels)
{
    struct stretches stretches;
    double slope[2 * STRETCH_MAX], early[2 * STRETCH_MAX];
    uint32_t even = 0;

    memset(levels, 0, sizeof *levels);
    find_stretches(trace, &stretches);
    levels->stretches = stretches.count;
    levels->span_s = trace->cell_count * trace->width_s;
    if (stretches.count < 3)
        return false;

    const uint32_t ups = compare(&stretches, levels, slope);

    if (ups < 2)
        return levels->returns >= 2;
    memcpy(early, slope, ups / 2 * sizeof *early);

    const double first = rank_median(early, ups / 2);

    memcpy(early, slope + ups / 2, (ups - ups / 2) * sizeof *early);
    levels->late_share = rank_median(early, ups - ups / 2) / first;
    levels->slope.slope = rank_median(slope, ups); /* and sorts them */
    levels->slope.low = rank_quantile(slope, ups, fmax(0, 0.5 - 0.98 / sqrt(ups)));
    levels->slope.high = rank_quantile(slope, ups, fmin(1, 0.5 + 0.98 / sqrt(ups)));
    for (uint32_t i = 0; i < ups; i++)
        even += slope[i] > levels->slope.slope / 3 && slope[i] < levels->slope.slope * 3;
    levels->even_share = (double)even / ups;
    levels->growth_mib = levels->slope.slope * levels->span_s / 3600;
    return true;
}
