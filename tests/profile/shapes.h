/* shapes.h - made series of GPU memory, leaking and not, for tests and for the accuracy tables.
 *
 * A shape is drawn with random parameters from a seed and gives one sample for each second.  The
 * set says what it was for: TUNED shapes were looked at while the judges were written, FRESH ones
 * were written after they were frozen and were run once; DAILY and UNSEEN are the same for the
 * judge of days; HELD ones were written after both were frozen; WEAK ones were looked at while
 * single looks were made to see more, BLIND ones were written before that and run when it was done
 * (docs/MEASUREMENTS.md). */
#ifndef SHAPES_H
#define SHAPES_H

#include "dgo_trend.h"

enum shape_set {
    SHAPE_TUNED,
    SHAPE_KNOWN,
    SHAPE_FRESH,
    SHAPE_DAILY,
    SHAPE_UNSEEN,
    SHAPE_HELD,
    SHAPE_WEAK,
    SHAPE_BLIND,
    SHAPE_SET_COUNT
};

struct shape_state {
    uint64_t random;
    double span_s, card_mib;
    double p[12]; /* drawn parameters */
    double v[12]; /* what changes */
};

struct shape_row {
    const char *name;
    enum shape_set set;
    bool leaks;
    bool tells_requests; /* its samples have requests and busy */
    void (*draw)(struct shape_state *state);
    void (*sample)(struct shape_state *state, double seconds, struct dgo_trace_sample *sample);
    enum dgo_pattern pattern; /* what it is; UNKNOWN: no single word is right */
};

extern const struct shape_row shape_rows[];
extern const uint32_t shape_count;
extern const struct shape_row shape_day_rows[]; /* of several days: shapes_days.c */
extern const uint32_t shape_day_count;
extern const struct shape_row shape_held_rows[]; /* shapes_held.c */
extern const uint32_t shape_held_count;
extern const struct shape_row shape_weak_rows[]; /* shapes_weak.c */
extern const uint32_t shape_weak_count;
extern const struct shape_row shape_blind_rows[]; /* shapes_blind.c */
extern const uint32_t shape_blind_count;

/* All of them, set after set; NULL past the last. */
const struct shape_row *shape_at(uint32_t index);

/* Draws the parameters; the same seed gives the same series. */
void shape_start(const struct shape_row *row, struct shape_state *state, uint64_t seed,
                 double span_s);

/* The sample of the next second; called with 0, 1, 2, ... */
void shape_next(const struct shape_row *row, struct shape_state *state, double seconds,
                struct dgo_trace_sample *sample);

/* For the rows: uniform in [low, high), log-uniform, standard normal, and a Poisson moment of the
 * rate each second. */
double shape_uniform(struct shape_state *state, double low, double high);
double shape_scale(struct shape_state *state, double low, double high);
double shape_normal(struct shape_state *state);
bool shape_moment(struct shape_state *state, double rate);

#endif
