/* dgo_trend.h - judging the memory of one series over time: does it grow, does it leak, what shape
 * has it, when is the card full.
 *
 * A trace is one series compacted as it comes: at most DGO_TRACE_CELL_MAX cells of equal width,
 * each with its least and greatest value, the least value while the engine was idle, and the
 * requests served.  The width doubles as the series grows longer, up to five minutes; after a week
 * the older half goes.  Time is the caller's, in seconds on any axis; nothing here reads a clock.
 *
 * What may be said (docs/decisions/0025-verdicts.md): a card's series mixes causes, so it never
 * goes beyond "growing".  "Suspected" needs the series of a process, or its floor while the engine
 * was idle, with growth that is sustained, spread over many moments, not slowing down, and not what
 * a random walk does.  "Confirmed" needs besides that the growth follows the requests (the interval
 * of MiB a request lies above 0 over at least 100 requests), or that it came again after a restart.
 *
 * A trace belongs to one thread at a time; judging changes nothing and allocates nothing. */
#ifndef DGO_TREND_H
#define DGO_TREND_H

#include "dgo_base.h"

enum {
    DGO_TRACE_CELL_MAX = 2048,
    DGO_TRACE_CELL_S_MAX = 300,   /* widest cell */
    DGO_TRACE_CHANGE_MAX = 64,    /* change points kept; the smallest goes */
    DGO_TREND_EVIDENCE_MAX = 512, /* text */
};

/* X(ID, name) */
#define DGO_VERDICT_TABLE(X)                                                                       \
    X(STEADY, "steady")                                                                            \
    X(GROWING, "growing")                                                                          \
    X(SUSPECTED, "suspected_leak")                                                                 \
    X(CONFIRMED, "confirmed_leak")

#define DGO_PATTERN_TABLE(X)                                                                       \
    X(UNKNOWN, "unknown")                                                                          \
    X(STEADY, "steady")                                                                            \
    X(STEP, "step")                                                                                \
    X(GROWTH, "growth")                                                                            \
    X(SATURATING, "saturating")                                                                    \
    X(SAWTOOTH, "sawtooth")                                                                        \
    X(PERIODIC, "periodic")                                                                        \
    X(SPIKE, "spike")                                                                              \
    X(LOAD_UNLOAD, "load_unload")                                                                  \
    X(NOISY, "noisy")

#define DGO_TREND_ENUM(id, name) DGO_VERDICT_##id,
enum dgo_verdict { DGO_VERDICT_TABLE(DGO_TREND_ENUM) DGO_VERDICT_COUNT };
#undef DGO_TREND_ENUM
#define DGO_TREND_ENUM(id, name) DGO_PATTERN_##id,
enum dgo_pattern { DGO_PATTERN_TABLE(DGO_TREND_ENUM) DGO_PATTERN_COUNT };
#undef DGO_TREND_ENUM

const char *dgo_verdict_name(enum dgo_verdict verdict); /* "steady", ... "unknown" */
const char *dgo_pattern_name(enum dgo_pattern pattern);

struct dgo_trace;

/* One reading.  `requests` is a counter that only grows (a restart may set it back) or the count
 * since the last reading; which of the two is found out.  busy: the engine works on something. */
struct dgo_trace_sample {
    double seconds, used_mib;
    bool requests_known, busy_known;
    double requests;
    bool busy;
};

DGO_MUST_CHECK
enum dgo_status dgo_trace_new(struct dgo_trace **trace, struct dgo_error *err);
void dgo_trace_free(struct dgo_trace *trace); /* accepts NULL */

/* O(1), amortised.  Not finite values are left out.  A time before the last one is a clock that was
 * set back, more than half a day ahead one that was set forward: the axis goes on from where it was
 * and the jump is counted.  DGO_ENOMEM leaves the trace as it was. */
enum dgo_status dgo_trace_add(struct dgo_trace *trace, const struct dgo_trace_sample *sample,
                              struct dgo_error *err);

/* A lasting change of level: at least max(8 MiB, 3 x 1.4826 x MAD), held for 5 s. */
struct dgo_trace_change {
    double seconds;   /* as the samples gave it */
    double delta_mib; /* may be negative */
};

struct dgo_trace_stats {
    uint64_t sample_count, clock_jumps;
    double first_s, last_s; /* of the axis, which jumps do not move */
    double step_s;          /* from sample to sample, of late */
    double first_mib, last_mib, least_mib, greatest_mib;
    double cell_s;
    uint32_t cell_count;
    uint32_t change_count;
    struct dgo_trace_change change[DGO_TRACE_CHANGE_MAX]; /* in the order of time */
};
void dgo_trace_read_stats(const struct dgo_trace *trace, struct dgo_trace_stats *stats);

/* A span of the trace for pictures; min NAN: no sample. */
struct dgo_trace_point {
    double seconds, span_s, min_mib, max_mib, mean_mib;
};
uint32_t dgo_trace_points(const struct dgo_trace *trace, struct dgo_trace_point *points,
                          uint32_t max);

/* What is known of the series apart from its samples.  NAN: unknown. */
struct dgo_trend_question {
    bool is_device;            /* the whole card: never beyond growing */
    double capacity_mib;       /* of the card */
    double card_free_mib;      /* at the end */
    double planned_mib;        /* ceiling of the plan: growth below it is filling */
    bool grew_in_another_life; /* another process of the same program grew alike */
};

struct dgo_trend {
    enum dgo_verdict verdict;
    enum dgo_pattern pattern;
    double period_s; /* of SAWTOOTH and PERIODIC; NAN */
    bool slope_known;
    double slope_mib_per_hour;    /* Theil-Sen over the lower envelope */
    double slope_low, slope_high; /* 95 % */
    double window_s, growth_mib;  /* what the slope was found over, and slope x window */
    bool on_idle_floor;           /* the envelope is that of idle moments */
    bool by_days;                 /* the slope is of the same hours of successive days */
    double day_period_s;          /* of by_days; NAN otherwise */
    bool by_levels;               /* the slope is of levels that memory came back to */
    double mann_kendall_z;        /* corrected for ties and autocorrelation */
    bool per_request_known;
    double request_count, mib_per_request, mib_per_request_low, mib_per_request_high;
    uint32_t lives, growing_lives; /* between restarts, and those of them that grew alike */
    /* The range the slope's interval gives; high may be INFINITY.  by_days: counted from the
     * heights of the days, a period wider on both sides. */
    bool time_to_full_known;
    double seconds_to_full, seconds_to_full_low, seconds_to_full_high;
    bool sustained, spread, not_slowing, not_random; /* the tests of shape, as they came out */
    bool filled_before; /* an earlier life came as high and grew no further: never beyond growing */
    bool alike_steps;   /* six or more steps up of one size, none back */
    bool leak_shape;    /* all of them passed, of a process or a card */
    char evidence[DGO_TREND_EVIDENCE_MAX]; /* for people */
};

/* Everything but the pattern, which is "unknown" then. */
void dgo_trace_judge(const struct dgo_trace *trace, const struct dgo_trend_question *question,
                     struct dgo_trend *trend);

/* The pattern, after the verdict. */
void dgo_trace_find_pattern(const struct dgo_trace *trace,
                            const struct dgo_trend_question *question, struct dgo_trend *trend);

#endif
