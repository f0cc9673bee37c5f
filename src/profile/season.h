/* season.h - growth of a series that follows the load of the day: the same hours of days that
 * follow one another.  Private to profile. */
#ifndef SEASON_H
#define SEASON_H

#include "rank.h"
#include "trace.h"
#include "window.h"

/* What the quiet hours of each day show; an hour's value is its least. */
struct season {
    double period_s;         /* what the load repeats after: a day, or what fits better */
    double span_s;           /* of the whole */
    struct rank_slope slope; /* MiB an hour, Sen's over pairs of the same hour, 95 % */
    double growth_mib;       /* slope x span */
    double z;                /* seasonal Mann-Kendall */
    double t;                /* slope over its error, autocorrelation considered */
    double step_share;  /* largest change from hour to hour of what they grew, over the usual */
    double quiet_share; /* growth of quiet hours over that of busy ones */
    double low_share;   /* what a fifth of the hours grew less than, over the usual */
    double late_share;  /* growth of the last third over that of the first */
    double residual;    /* root mean square distance from the line and the day, in growths */
    double jump_share;  /* the largest single step of what is retained */
    double moments;     /* how many equal steps would spread the growth as much */
};

/* Of [first, end) of the trace; false before SEASON_CYCLES_LEAST periods are there. */
bool season_look(const struct dgo_trace *trace, struct window_span life, bool idle,
                 struct season *season);

#endif
