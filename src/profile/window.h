/* window.h - a stretch of a trace as blocks of its lower envelope, and what shape they have.
 * Private to profile. */
#ifndef WINDOW_H
#define WINDOW_H

#include "rank.h"
#include "trace.h"

enum { WINDOW_BLOCK_MAX = 48, WINDOW_BLOCK_MIN = 12, WINDOW_PART_COUNT = 12 };

enum window_axis { WINDOW_TIME, WINDOW_REQUESTS };

/* Cells [first, end) of a trace; those that reach below `least_mib` count as without a value. */
struct window_span {
    uint32_t first, end;
    double least_mib;
};

/* Block i holds the least value of its cells; blocks without a value are left out.  x is in hours
 * since the window's start, or in requests served since then. */
struct window {
    uint32_t count;
    double x[WINDOW_BLOCK_MAX], y_mib[WINDOW_BLOCK_MAX];
    double swing_mib[WINDOW_BLOCK_MAX]; /* greatest less least of the block's cells */
    double span_s, requests;            /* of the whole window */
};

/* Blocks of equal time, or of equal counts of requests; of the idle floor when told.  False when
 * fewer than WINDOW_BLOCK_MIN blocks have a value. */
bool window_fill(const struct dgo_trace *trace, struct window_span span, enum window_axis axis,
                 bool idle, struct window *window);

struct shape {
    struct rank_slope slope; /* MiB for each unit of x */
    double z;                /* Mann-Kendall */
    double growth_mib;       /* slope x the window's length */
    double retained_mib;     /* the end's floor above the start's */
    double residual;         /* root mean square distance from the line, in growths */
    double residual_memory;  /* correlation of those distances with the next ones */
    double drift_t;    /* mean over deviation of the steps between parts: what a walk has not */
    double half_ratio; /* slope of the second half over that of the first */
    double half_t;     /* how sure it is that the second half is slower; negative: faster */
    double end_ratio;  /* slope of the last quarter over the whole */
    double bend;       /* of the lines through each half: the later slope over the earlier ... */
    double bend_error; /* ... and its standard error */
    double curve_gain; /* how much of the distance from the line a cubic takes away */
    double curve_end;  /* slope of the last third over that of the middle one, two errors added */
    double down_share; /* what it went down in all, over what it went up */
    double jump_share; /* the largest single step of what is retained */
    double swing_z, swing_ratio; /* do the swings within blocks grow too, and to how much */
    double swing_share;          /* their usual size, in growths */
    double moments;              /* how many equal steps would spread the growth as much */
};

void window_shape(const struct window *window, struct shape *shape);

/* Least squares of all blocks; MiB for each unit of x. */
double window_slope(const struct window *window);

#endif
