/* shapes_days.c - shapes of several days: memory that follows the load of the day, with a leak and
 * without.
 *
 * DAILY shapes were looked at while the judge of days (src/profile/season.c) was written; UNSEEN
 * ones were written before it, and run once when it was done (docs/MEASUREMENTS.md).  Leaks are of
 * 0.15 to 3 GiB a day. */
#include "shapes.h"

#include <math.h>
#include <string.h>

static const double day_s = 86400, turn = 6.283185307179586;

#define SAMPLE(name)                                                                               \
    static void name(struct shape_state *s, double t, struct dgo_trace_sample *sample)

/* p[0] base, p[1] noise of a reading, p[2] leak in MiB a second, p[3] hour of the day at which the
 * series begins, p[4] MiB that the load takes at its height. */
static void draw_day(struct shape_state *s)
{
    s->p[0] = shape_uniform(s, 4000, 9000);
    s->p[1] = shape_scale(s, 0.2, 4);
    s->p[2] = 0;
    s->p[3] = shape_uniform(s, 0, 24);
    s->p[4] = shape_scale(s, 300, 3000);
}
static void draw_day_leak(struct shape_state *s)
{
    draw_day(s);
    s->p[2] = shape_scale(s, 150, 3000) / day_s;
}

static double reading(struct shape_state *s, double value)
{
    return value + s->p[1] * fabs(shape_normal(s));
}

static double hour_of(const struct shape_state *s, double t)
{
    return fmod(t / 3600 + s->p[3], 24);
}
static double date_of(const struct shape_state *s, double t)
{
    return floor((t / 3600 + s->p[3]) / 24);
}

static double sine_load(double hour)
{
    return 0.5 * (1 - cos(turn * hour / 24));
}

/* 0 to 1: low at night, up in the morning, a dip at noon. */
static double office_load(double hour)
{
    const double up = 1 / (1 + exp(-(hour - 8.5) * 2)), down = 1 / (1 + exp(-(18 - hour) * 1.5));

    return 0.05 + 0.95 * up * down * (1 - 0.35 * exp(-(hour - 12.5) * (hour - 12.5) * 3));
}

/* A draw that holds for one date: v[10] remembers the date, v[11] the draw. */
static double of_date(struct shape_state *s, double t, double low, double high)
{
    if (t <= 0 || date_of(s, t) > s->v[10]) {
        s->v[10] = date_of(s, t);
        s->v[11] = shape_uniform(s, low, high);
    }
    return s->v[11];
}

/* ---- daily ------------------------------------------------------------------------------ */

SAMPLE(sine_day)
{
    const double load = sine_load(hour_of(s, t));

    sample->used_mib =
        reading(s, s->p[0] + s->p[2] * t + s->p[4] * load * (1 + 0.1 * shape_normal(s)));
}

/* Each day busier or calmer than the one before. */
SAMPLE(office_day)
{
    const double load = office_load(hour_of(s, t)) * of_date(s, t, 0.7, 1.3);

    sample->used_mib =
        reading(s, s->p[0] + s->p[2] * t + s->p[4] * load * (1 + 0.05 * shape_normal(s)));
}

/* The leak follows the load too. */
SAMPLE(office_leak_by_load)
{
    const double load = office_load(hour_of(s, t)) * of_date(s, t, 0.8, 1.2);

    if (t <= 0)
        s->v[0] = 0;
    s->v[0] += 2.5 * s->p[2] * load;
    sample->used_mib = reading(s, s->p[0] + s->v[0] + s->p[4] * load);
}

/* Users who come and go, each with a cache of its own. */
static void draw_users(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_uniform(s, 6, 30);   /* at the height */
    s->p[6] = shape_scale(s, 300, 3600); /* seconds each stays */
}
static void draw_users_leak(struct shape_state *s)
{
    draw_users(s);
    s->p[2] = shape_scale(s, 150, 3000) / day_s;
}
SAMPLE(users_day)
{
    const double want = s->p[5] * office_load(hour_of(s, t));

    if (t <= 0)
        s->v[0] = floor(want);
    if (shape_moment(s, want / s->p[6]))
        s->v[0] += 1;
    for (double i = s->v[0]; i > 0; i--)
        s->v[0] -= shape_moment(s, 1 / s->p[6]);
    sample->used_mib = reading(s, s->p[0] + s->p[2] * t + s->p[4] / s->p[5] * s->v[0]);
}

/* A pool that fills as a logarithm, under the load of the day. */
static void draw_log_day(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_scale(s, 80, 600);
    s->p[6] = shape_scale(s, 300, 7200);
}
SAMPLE(log_day)
{
    sample->used_mib =
        reading(s, s->p[0] + s->p[5] * log(1 + t / s->p[6]) + s->p[4] * office_load(hour_of(s, t)));
}

/* What is opened and kept: a few steps over the days. */
static void draw_steps_day(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = floor(shape_uniform(s, 2, 7));
    for (uint32_t i = 0; i < 6; i++)
        s->v[i] = shape_uniform(s, 0, s->span_s);
    s->p[6] = shape_scale(s, 50, 600);
}
SAMPLE(steps_day)
{
    double used = s->p[0] + s->p[4] * office_load(hour_of(s, t));

    for (uint32_t i = 0; i < (uint32_t)s->p[5]; i++)
        used += t > s->v[i] ? s->p[6] * (1 + 0.3 * i) : 0;
    sample->used_mib = reading(s, used);
}

/* ---- unseen ----------------------------------------------------------------------------- */

/* Five days of work, two without. */
static double week_load(const struct shape_state *s, double t)
{
    const double date = fmod(date_of(s, t) + floor(s->p[5]), 7);

    return office_load(hour_of(s, t)) * (date < 5 ? 1 : s->p[6]);
}
static void draw_week(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_uniform(s, 0, 7);
    s->p[6] = shape_uniform(s, 0.05, 0.4);
}
static void draw_week_leak(struct shape_state *s)
{
    draw_week(s);
    s->p[2] = shape_scale(s, 150, 3000) / day_s;
}
SAMPLE(week)
{
    sample->used_mib = reading(s, s->p[0] + s->p[2] * t +
                                      s->p[4] * week_load(s, t) * (1 + 0.05 * shape_normal(s)));
}

/* The height of the load comes later, or earlier, each day. */
static void draw_drift(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_uniform(s, -1.5, 1.5); /* hours a day */
}
static void draw_drift_leak(struct shape_state *s)
{
    draw_drift(s);
    s->p[2] = shape_scale(s, 150, 3000) / day_s;
}
SAMPLE(drifting)
{
    const double hour = fmod(t / 3600 + s->p[3] + s->p[5] * t / day_s + 240, 24);

    sample->used_mib = reading(s, s->p[0] + s->p[2] * t +
                                      s->p[4] * sine_load(hour) * (1 + 0.05 * shape_normal(s)));
}

/* Decoy: more users every day; at night it is all given back. */
static void draw_growing_load(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_uniform(s, 0.1, 0.5); /* more a day */
}
SAMPLE(growing_load)
{
    sample->used_mib =
        reading(s, s->p[0] + s->p[4] * office_load(hour_of(s, t)) * (1 + s->p[5] * t / day_s) *
                                 (1 + 0.05 * shape_normal(s)));
}

/* Decoy: a cache that is full after one to two days. */
static void draw_two_day_cache(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_scale(s, 500, 4000);
    s->p[6] = shape_uniform(s, 1, 2) * day_s;
}
SAMPLE(two_day_cache)
{
    sample->used_mib =
        reading(s, s->p[0] + s->p[5] * fmin(1, t / s->p[6]) + s->p[4] * office_load(hour_of(s, t)));
}

/* Started anew each night at four; tells its requests. */
static void draw_nightly(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_scale(s, 0.01, 0.1); /* requests a second at the height */
    s->p[6] = shape_scale(s, 20, 200);   /* MiB each in flight */
    s->p[7] = shape_scale(s, 3, 20);     /* seconds each */
    s->p[8] = shape_scale(s, 100, 1500); /* a pool that fills once in each life */
    s->p[9] = shape_scale(s, 20, 300);   /* in so many requests */
}
static void draw_nightly_leak(struct shape_state *s)
{
    draw_nightly(s);
    s->p[2] = shape_scale(s, 300, 3000) / (s->p[5] * 0.42 * day_s); /* MiB a request */
}
SAMPLE(nightly)
{
    const double hour = hour_of(s, t);

    if (t <= 0)
        memset(s->v, 0, sizeof s->v);
    if (hour >= 4 && hour < 4.02) { /* v[0] served in this life, v[1] in flight */
        s->v[0] = s->v[1] = 0;
        sample->used_mib = 0;
        sample->requests_known = sample->busy_known = true;
        return;
    }
    if (shape_moment(s, s->p[5] * office_load(hour))) {
        s->v[0] += 1;
        s->v[1] += 1;
    }
    for (double i = s->v[1]; i > 0; i--)
        s->v[1] -= shape_moment(s, 1 / s->p[7]);
    sample->requests_known = sample->busy_known = true;
    sample->requests = s->v[0];
    sample->busy = s->v[1] > 0;
    sample->used_mib = reading(s, s->p[0] + s->p[6] * s->v[1] + s->p[2] * s->v[0] +
                                      s->p[8] * (1 - exp(-s->v[0] / s->p[9])));
}

/* The day and a job of its own every few hours, on top of one another. */
static void draw_two_cycles(struct shape_state *s)
{
    draw_day(s);
    s->p[5] = shape_uniform(s, 2.5, 9) * 3600;
    s->p[6] = shape_scale(s, 200, 2000);
    s->p[7] = shape_uniform(s, 0.2, 0.6); /* of its time it runs */
}
static void draw_two_cycles_leak(struct shape_state *s)
{
    draw_two_cycles(s);
    s->p[2] = shape_scale(s, 150, 3000) / day_s;
}
SAMPLE(two_cycles)
{
    const bool on = fmod(t / s->p[5], 1) < s->p[7];

    sample->used_mib = reading(s, s->p[0] + s->p[2] * t + (on ? s->p[6] : 0) +
                                      s->p[4] * office_load(hour_of(s, t)));
}

/* Decoy: a day's height is a step of a random walk away from the last one's. */
SAMPLE(wandering_days)
{
    if (t <= 0)
        s->v[0] = s->p[4];
    if (t <= 0 || date_of(s, t) > s->v[10]) {
        s->v[10] = date_of(s, t);
        s->v[0] = fmax(0, s->v[0] + 0.4 * s->p[4] * shape_normal(s));
    }
    sample->used_mib = reading(s, s->p[0] + s->v[0] * (0.2 + office_load(hour_of(s, t))));
}

/* A leak of every error, in the hours of work. */
SAMPLE(errors_by_day)
{
    const double load = office_load(hour_of(s, t));

    if (t <= 0)
        s->v[0] = 0;
    if (shape_moment(s, 2.5 * load * s->p[2] / 25))
        s->v[0] += -25 * log(shape_uniform(s, 1e-9, 1));
    sample->used_mib = reading(s, s->p[0] + s->v[0] + s->p[4] * load);
}

const struct shape_row shape_day_rows[] = {
    {"sine day", SHAPE_DAILY, false, false, draw_day, sine_day, DGO_PATTERN_UNKNOWN},
    {"office day", SHAPE_DAILY, false, false, draw_day, office_day, DGO_PATTERN_UNKNOWN},
    {"users by day", SHAPE_DAILY, false, false, draw_users, users_day, DGO_PATTERN_UNKNOWN},
    {"log by day", SHAPE_DAILY, false, false, draw_log_day, log_day, DGO_PATTERN_UNKNOWN},
    {"steps by day", SHAPE_DAILY, false, false, draw_steps_day, steps_day, DGO_PATTERN_UNKNOWN},
    {"sine day, leak", SHAPE_DAILY, true, false, draw_day_leak, sine_day, DGO_PATTERN_UNKNOWN},
    {"office day, leak", SHAPE_DAILY, true, false, draw_day_leak, office_day, DGO_PATTERN_UNKNOWN},
    {"office day, leak by load", SHAPE_DAILY, true, false, draw_day_leak, office_leak_by_load,
     DGO_PATTERN_UNKNOWN},
    {"users by day, leak", SHAPE_DAILY, true, false, draw_users_leak, users_day,
     DGO_PATTERN_UNKNOWN},
    {"week", SHAPE_UNSEEN, false, false, draw_week, week, DGO_PATTERN_UNKNOWN},
    {"drifting day", SHAPE_UNSEEN, false, false, draw_drift, drifting, DGO_PATTERN_UNKNOWN},
    {"growing load", SHAPE_UNSEEN, false, false, draw_growing_load, growing_load,
     DGO_PATTERN_UNKNOWN},
    {"cache of two days", SHAPE_UNSEEN, false, false, draw_two_day_cache, two_day_cache,
     DGO_PATTERN_UNKNOWN},
    {"nightly restart", SHAPE_UNSEEN, false, true, draw_nightly, nightly, DGO_PATTERN_UNKNOWN},
    {"two cycles", SHAPE_UNSEEN, false, false, draw_two_cycles, two_cycles, DGO_PATTERN_UNKNOWN},
    {"wandering days", SHAPE_UNSEEN, false, false, draw_day, wandering_days, DGO_PATTERN_UNKNOWN},
    {"week, leak", SHAPE_UNSEEN, true, false, draw_week_leak, week, DGO_PATTERN_UNKNOWN},
    {"drifting day, leak", SHAPE_UNSEEN, true, false, draw_drift_leak, drifting,
     DGO_PATTERN_UNKNOWN},
    {"nightly restart, leak", SHAPE_UNSEEN, true, true, draw_nightly_leak, nightly,
     DGO_PATTERN_UNKNOWN},
    {"two cycles, leak", SHAPE_UNSEEN, true, false, draw_two_cycles_leak, two_cycles,
     DGO_PATTERN_UNKNOWN},
    {"errors by day", SHAPE_UNSEEN, true, false, draw_day_leak, errors_by_day, DGO_PATTERN_UNKNOWN},
};
const uint32_t shape_day_count = sizeof shape_day_rows / sizeof shape_day_rows[0];
