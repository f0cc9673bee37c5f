/* finding.h - a stretch of a series as the tests of shape see it.  Private to profile. */
#ifndef FINDING_H
#define FINDING_H

#include "window.h"

struct finding {
    bool made; /* the window had enough */
    struct window window;
    struct shape shape;
    bool trend, sustained, spread, not_slowing, not_random, not_load, novel;
    bool by_days, by_levels;
    double day_period_s; /* of by_days */
    double seen_s;       /* how long it has grown: the window, or more before it */
};

bool finding_is_leak(const struct finding *finding);

/* Over a span of cells; `idle`: the floor of idle moments.  Growth of less than `floor_mib` is no
 * trend. */
void finding_look(const struct dgo_trace *trace, struct window_span span, enum window_axis axis,
                  bool idle, double floor_mib, struct finding *finding);

/* The whole life first; its later parts, of `least_s` and more, where growth began within it. */
void finding_over_time(const struct dgo_trace *trace, struct window_span life, bool idle,
                       double floor_mib, double least_s, struct finding *best);

/* Where `best`, of the whole life, slowed down, and since then it goes on evenly: more surely than
 * a logarithm, a root or what fills up would. */
void finding_at_tail(const struct dgo_trace *trace, struct window_span life, bool idle,
                     double floor_mib, struct finding *best);

/* Models that take turns and caches that are cut: levels that come back, higher each time. */
void finding_over_levels(const struct dgo_trace *trace, double floor_mib, struct finding *finding);

/* Memory that follows the load of the day, and more of it each day at the same hour. */
void finding_over_days(const struct dgo_trace *trace, struct window_span life, bool idle,
                       double floor_mib, struct finding *finding);

#endif
