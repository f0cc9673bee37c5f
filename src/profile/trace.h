/* trace.h - the inside of a trace, for the judges.  Private to profile. */
#ifndef TRACE_H
#define TRACE_H

#include "changes.h"
#include "dgo_trend.h"

struct trace_cell {
    float min, max, mean; /* MiB; only where count > 0 */
    float idle_min;       /* NAN: never idle in it */
    float requests_up;    /* what a counter rose by */
    float requests_sum;   /* the readings added up */
    float busy;           /* share of the samples, NAN unknown */
    uint32_t count;       /* samples */
};

struct dgo_trace {
    struct trace_cell *cell;
    uint32_t cell_count, cell_room;
    double width_s, origin_s; /* cell i is [origin + i * width, ...) */
    double shift_s;           /* added to the times that come, for clocks that jumped */
    double last_s, step_s;    /* of the axis; step: the usual distance of samples */
    double first_mib, last_mib, least_mib, greatest_mib, first_s;
    double last_requests;
    uint64_t sample_count, clock_jumps;
    uint64_t request_samples, request_rises, request_falls;
    double quiet_since_s; /* idle since then; NAN: busy or not told */
    struct changes changes;
};

/* Requests in a cell, by what the column turned out to be. */
static inline bool trace_requests_known(const struct dgo_trace *trace)
{
    return trace->request_samples > 0;
}
static inline double trace_requests(const struct dgo_trace *trace, const struct trace_cell *cell)
{
    const bool counter = trace->request_falls * 20 <= trace->request_rises;

    return (double)(counter ? cell->requests_up : cell->requests_sum);
}

#endif
