/* trace.c - a series compacted as it comes: cells that widen as it grows longer. */
#include "trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_ROOM_FIRST = 64 };
/* A reading further ahead than this is a clock that was set, not a pause. */
static const double forward_max_s = 12 * 3600;
/* An engine that has just answered may still give memory back: idle counts after this long. */
static const double idle_after_s = 3;

enum dgo_status dgo_trace_new(struct dgo_trace **trace, struct dgo_error *err)
{
    struct dgo_trace *made = calloc(1, sizeof *made);

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "no memory for another series");
    made->width_s = 1;
    made->quiet_since_s = NAN;
    made->last_requests = NAN;
    changes_init(&made->changes);
    *trace = made;
    return DGO_OK;
}

void dgo_trace_free(struct dgo_trace *trace)
{
    if (trace)
        free(trace->cell);
    free(trace);
}

static struct trace_cell empty_cell(void)
{
    return (struct trace_cell){.idle_min = NAN, .busy = NAN};
}

static struct trace_cell join(const struct trace_cell *a, const struct trace_cell *b)
{
    const float all = (float)(a->count + b->count);

    if (a->count == 0 || b->count == 0)
        return a->count ? *a : *b;
    return (struct trace_cell){
        .min = fminf(a->min, b->min),
        .max = fmaxf(a->max, b->max),
        .mean = (a->mean * (float)a->count + b->mean * (float)b->count) / all,
        .idle_min = fminf(a->idle_min, b->idle_min), /* of a NAN and a number, the number */
        .requests_up = a->requests_up + b->requests_up,
        .requests_sum = a->requests_sum + b->requests_sum,
        .busy = isnan(a->busy)   ? b->busy
                : isnan(b->busy) ? a->busy
                                 : (a->busy * (float)a->count + b->busy * (float)b->count) / all,
        .count = a->count + b->count,
    };
}

/* Twice the width, half the cells; or, at the greatest width, the newer half alone. */
static void compact(struct dgo_trace *trace)
{
    if (trace->width_s * 2 <= DGO_TRACE_CELL_S_MAX) {
        for (uint32_t i = 0; i * 2 < trace->cell_count; i++) {
            const struct trace_cell none = empty_cell();
            const bool pair = i * 2 + 1 < trace->cell_count;

            trace->cell[i] = join(&trace->cell[i * 2], pair ? &trace->cell[i * 2 + 1] : &none);
        }
        trace->cell_count = (trace->cell_count + 1) / 2;
        trace->width_s *= 2;
        return;
    }

    const uint32_t gone = trace->cell_count / 2;

    memmove(trace->cell, trace->cell + gone, (trace->cell_count - gone) * sizeof *trace->cell);
    trace->cell_count -= gone;
    trace->origin_s += gone * trace->width_s;
}

/* The cell of a time that is not before the last one. */
static enum dgo_status cell_of(struct dgo_trace *trace, double seconds, struct trace_cell **cell,
                               struct dgo_error *err)
{
    while ((seconds - trace->origin_s) / trace->width_s >= DGO_TRACE_CELL_MAX)
        compact(trace);

    const uint32_t at = (uint32_t)((seconds - trace->origin_s) / trace->width_s);
    uint32_t room = trace->cell_room ? trace->cell_room : CELL_ROOM_FIRST;

    while (room <= at)
        room *= 2;
    if (room > trace->cell_room) {
        struct trace_cell *grown = realloc(trace->cell, room * sizeof *grown);

        if (!grown)
            return dgo_fail(err, DGO_ENOMEM, "no memory for the cells of a series");
        trace->cell = grown;
        trace->cell_room = room;
    }
    while (trace->cell_count <= at)
        trace->cell[trace->cell_count++] = empty_cell();
    *cell = &trace->cell[at];
    return DGO_OK;
}

/* Where the axis stands for a time as told; jumps of the clock are taken out. */
static double axis_of(struct dgo_trace *trace, double told_s)
{
    const double seconds = told_s + trace->shift_s, ahead = seconds - trace->last_s;

    if (ahead >= 0 && ahead <= forward_max_s)
        return seconds;
    trace->clock_jumps++;

    const double at = trace->last_s + trace->step_s;

    trace->shift_s += at - seconds;
    return at;
}

static void count_requests(struct dgo_trace *trace, struct trace_cell *cell,
                           const struct dgo_trace_sample *sample)
{
    if (!sample->requests_known || !isfinite(sample->requests) || sample->requests < 0)
        return;
    if (trace->request_samples++ > 0) {
        const double rise = sample->requests - trace->last_requests;

        trace->request_rises += rise > 0;
        trace->request_falls += rise < 0;
        /* A counter that fell was set back: what it shows came since. */
        cell->requests_up += (float)(rise < 0 ? sample->requests : rise);
        cell->requests_sum += (float)sample->requests;
    }
    trace->last_requests = sample->requests;
}

static void note_idle(struct dgo_trace *trace, struct trace_cell *cell, double seconds,
                      const struct dgo_trace_sample *sample)
{
    if (!sample->busy_known)
        return;

    const float share = cell->count ? 1 / (float)(cell->count + 1) : 1;

    cell->busy = isnan(cell->busy) ? (float)sample->busy
                                   : cell->busy + ((float)sample->busy - cell->busy) * share;
    if (sample->busy) {
        trace->quiet_since_s = NAN;
        return;
    }
    if (isnan(trace->quiet_since_s))
        trace->quiet_since_s = seconds;
    /* Samples further apart than that are each on their own: idle is what was told. */
    if (seconds - trace->quiet_since_s >= idle_after_s || trace->step_s >= idle_after_s)
        cell->idle_min = fminf(cell->idle_min, (float)sample->used_mib);
}

static void take_value(struct trace_cell *cell, float used_mib)
{
    cell->min = cell->count && cell->min < used_mib ? cell->min : used_mib;
    cell->max = cell->count && cell->max > used_mib ? cell->max : used_mib;
    cell->mean =
        cell->count ? cell->mean + (used_mib - cell->mean) / (float)(cell->count + 1) : used_mib;
    cell->count++;
}

enum dgo_status dgo_trace_add(struct dgo_trace *trace, const struct dgo_trace_sample *sample,
                              struct dgo_error *err)
{
    const bool first = trace->sample_count == 0;
    struct trace_cell *cell = NULL;

    if (!isfinite(sample->seconds) || !isfinite(sample->used_mib) || sample->used_mib < 0 ||
        fabs(sample->seconds) > 1e15)
        return DGO_OK;
    if (first)
        trace->origin_s = trace->first_s = trace->last_s = sample->seconds;

    const double seconds = axis_of(trace, sample->seconds);
    const enum dgo_status status = cell_of(trace, seconds, &cell, err);

    if (status != DGO_OK)
        return status;
    if (seconds > trace->last_s) /* halfway between the mean and the latest: gaps fade */
        trace->step_s += (seconds - trace->last_s - trace->step_s) * (trace->step_s > 0 ? 0.1 : 1);
    note_idle(trace, cell, seconds, sample);
    take_value(cell, (float)sample->used_mib);
    count_requests(trace, cell, sample);
    changes_add(&trace->changes, seconds, sample->seconds, sample->used_mib);
    trace->least_mib = first ? sample->used_mib : fmin(trace->least_mib, sample->used_mib);
    trace->greatest_mib = first ? sample->used_mib : fmax(trace->greatest_mib, sample->used_mib);
    trace->first_mib = first ? sample->used_mib : trace->first_mib;
    trace->last_mib = sample->used_mib;
    trace->last_s = seconds;
    trace->sample_count++;
    return DGO_OK;
}

void dgo_trace_read_stats(const struct dgo_trace *trace, struct dgo_trace_stats *stats)
{
    *stats = (struct dgo_trace_stats){
        .sample_count = trace->sample_count,
        .clock_jumps = trace->clock_jumps,
        .first_s = trace->first_s,
        .last_s = trace->last_s,
        .step_s = trace->step_s,
        .first_mib = trace->first_mib,
        .last_mib = trace->last_mib,
        .least_mib = trace->least_mib,
        .greatest_mib = trace->greatest_mib,
        .cell_s = trace->width_s,
        .cell_count = trace->cell_count,
        .change_count = trace->changes.count,
    };
    for (uint32_t i = 0; i < trace->changes.count; i++)
        stats->change[i] = trace->changes.kept[i].change;
}

uint32_t dgo_trace_points(const struct dgo_trace *trace, struct dgo_trace_point *points,
                          uint32_t max)
{
    uint32_t written = 0;

    if (max == 0 || trace->cell_count == 0)
        return 0;

    const uint32_t step = (trace->cell_count + max - 1) / max;

    for (uint32_t first = 0; first < trace->cell_count; first += step) {
        struct trace_cell all = empty_cell();

        for (uint32_t i = first; i < first + step && i < trace->cell_count; i++)
            all = join(&all, &trace->cell[i]);
        points[written++] = (struct dgo_trace_point){
            .seconds = trace->origin_s + first * trace->width_s,
            .span_s = step * trace->width_s,
            .min_mib = all.count ? (double)all.min : NAN,
            .max_mib = all.count ? (double)all.max : NAN,
            .mean_mib = all.count ? (double)all.mean : NAN,
        };
    }
    return written;
}
