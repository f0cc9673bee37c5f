/* shapes_held.c - shapes written on 2026-11-27, when every judge was frozen, and run once
 * (docs/MEASUREMENTS.md, "held out").  No judge was changed after that run. */
#include "shapes.h"

#include <math.h>

static const double hour_s = 3600;

#define SAMPLE(name)                                                                               \
    static void name(struct shape_state *s, double t, struct dgo_trace_sample *sample)

/* p[0] base, p[1] noise of a reading, p[2] leak in MiB a second. */
static void draw_common(struct shape_state *s)
{
    s->p[0] = shape_uniform(s, 3000, 12000);
    s->p[1] = shape_scale(s, 0.2, 6);
    s->p[2] = 0;
}

static void set(struct shape_state *s, struct dgo_trace_sample *sample, double mib)
{
    sample->used_mib = s->p[0] + mib + s->p[1] * fabs(shape_normal(s));
}

static double exponential(struct shape_state *s, double mean)
{
    return -mean * log(shape_uniform(s, 1e-12, 1));
}

static double leak_of_a_day(struct shape_state *s)
{
    return shape_scale(s, 250, 4000) / 86400;
}

/* A pool as large as the largest request so far; their sizes have a heavy tail. */
static void draw_extremes(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = 1 / shape_scale(s, 20, 400);
    s->p[4] = shape_scale(s, 30, 200);
    s->p[5] = shape_uniform(s, 0.5, 1.0);
}
SAMPLE(extremes)
{
    (void)t;
    if (shape_moment(s, s->p[3]))
        s->v[0] = fmax(s->v[0], s->p[4] * exp(s->p[5] * shape_normal(s)));
    set(s, sample, 64 * ceil(s->v[0] / 64));
}

/* Models of a few sizes take turns; each load may leave something behind.  p[3] time each stays,
 * p[4], p[5], p[6] sizes, p[7] what a load leaves. */
static void draw_turns(struct shape_state *s)
{
    draw_common(s);
    s->p[0] = shape_uniform(s, 300, 800);
    s->p[3] = shape_scale(s, 600, 3600);
    for (int i = 4; i < 7; i++)
        s->p[i] = shape_uniform(s, 3000, 14000);
    s->p[7] = 0;
}
static void draw_turns_leak(struct shape_state *s)
{
    draw_turns(s);
    s->p[7] = shape_uniform(s, 15, 90);
}
SAMPLE(turns)
{
    if (t >= s->v[0]) {
        s->v[0] = t + 60 + exponential(s, s->p[3]);
        s->v[1] = fmod(s->v[1] + 1 + floor(shape_uniform(s, 0, 2)), 3);
        s->v[2] += s->p[7];
    }
    set(s, sample, s->p[4 + (int)s->v[1]] + s->v[2]);
}

/* A cache fills for hours and is cut to half; under it, perhaps, a leak. */
static void draw_cut(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 1.5, 5) * hour_s;
    s->p[4] = shape_uniform(s, 500, 4000);
}
static void draw_cut_leak(struct shape_state *s)
{
    draw_cut(s);
    s->p[2] = leak_of_a_day(s);
}
SAMPLE(cut)
{
    s->v[0] += s->p[4] / s->p[3] * (0.5 + shape_uniform(s, 0, 1));
    if (s->v[0] >= s->p[4])
        s->v[0] /= 2;
    set(s, sample, s->v[0] + s->p[2] * t);
}

/* Contexts of users who come and stay for a while: as many go as come. */
static void draw_sessions(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 600, 5400);
    s->p[4] = shape_uniform(s, 3, 20); /* at a time, in the mean */
    s->p[5] = shape_scale(s, 20, 150);
}
SAMPLE(sessions)
{
    (void)t;
    if (shape_moment(s, s->p[4] / s->p[3]))
        s->v[0]++;
    if (s->v[0] > 0 && shape_moment(s, s->v[0] / s->p[3]))
        s->v[0]--;
    set(s, sample, s->v[0] * s->p[5]);
}

/* Two pools that fill, one in minutes and one in hours. */
static void draw_two_pools(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 200, 900);
    s->p[4] = shape_uniform(s, 1.5, 5) * hour_s;
    s->p[5] = shape_scale(s, 100, 2000);
    s->p[6] = shape_scale(s, 100, 2000);
}
SAMPLE(two_pools)
{
    set(s, sample, s->p[5] * (1 - exp(-t / s->p[3])) + s->p[6] * (1 - exp(-t / s->p[4])));
}

/* A training job: a step up at each new length of sequence, an evaluation every so often. */
static void draw_training(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 1200, 7200);
    s->p[4] = shape_scale(s, 100, 1500);
    s->p[5] = shape_uniform(s, 1, 4);
}
SAMPLE(training)
{
    const double stage = fmin(s->p[5], floor(t / (s->span_s / 6)));

    set(s, sample, stage * s->p[4] + (fmod(t, s->p[3]) < 90 ? 0.6 * s->p[4] : 0));
}

/* One request of so many leaves 8 MiB; requests are told. */
static void draw_some_requests(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = 1 / shape_scale(s, 10, 90);
    s->p[4] = shape_scale(s, 0.02, 0.3);
}
SAMPLE(some_requests)
{
    (void)t;
    sample->requests_known = sample->busy_known = true;
    if (s->v[2] > 0)
        s->v[2]--;
    if (shape_moment(s, s->p[3])) {
        s->v[1]++;
        s->v[2] = floor(shape_uniform(s, 2, 12));
        if (shape_uniform(s, 0, 1) < s->p[4])
            s->v[0] += 8;
    }
    sample->requests = s->v[1];
    sample->busy = s->v[2] > 0;
    set(s, sample, s->v[0] + (sample->busy ? 40 : 0));
}

/* It leaks while it is used: ten hours of a day. */
static void draw_working_hours(struct shape_state *s)
{
    draw_common(s);
    s->p[2] = 2 * leak_of_a_day(s);
    s->p[3] = shape_uniform(s, 0, 24);
}
SAMPLE(working_hours)
{
    if (fmod(t / hour_s + s->p[3], 24) < 10)
        s->v[0] += s->p[2];
    set(s, sample, s->v[0]);
}

/* Many small pieces that are never given back, under users who come and go. */
static void draw_pieces(struct shape_state *s)
{
    draw_sessions(s);
    s->p[5] = shape_scale(s, 5, 30);
    s->p[2] = leak_of_a_day(s);
}
SAMPLE(pieces)
{
    sessions(s, t, sample);
    if (shape_moment(s, s->p[2] / 2))
        s->v[3] += 2;
    sample->used_mib += s->v[3];
}

/* Half as fast in the second half, and never over. */
static void draw_slower(struct shape_state *s)
{
    draw_common(s);
    s->p[2] = leak_of_a_day(s);
}
SAMPLE(slower)
{
    s->v[0] += s->p[2] * (t < s->span_s / 2 ? 1 : 0.5);
    set(s, sample, s->v[0]);
}

const struct shape_row shape_held_rows[] = {
    {"extremes", SHAPE_HELD, false, false, draw_extremes, extremes, DGO_PATTERN_SATURATING},
    {"models in turn", SHAPE_HELD, false, false, draw_turns, turns, DGO_PATTERN_LOAD_UNLOAD},
    {"cut cache", SHAPE_HELD, false, false, draw_cut, cut, DGO_PATTERN_SAWTOOTH},
    {"sessions", SHAPE_HELD, false, false, draw_sessions, sessions, DGO_PATTERN_NOISY},
    {"two pools", SHAPE_HELD, false, false, draw_two_pools, two_pools, DGO_PATTERN_SATURATING},
    {"training", SHAPE_HELD, false, false, draw_training, training, DGO_PATTERN_UNKNOWN},
    {"models in turn, leak", SHAPE_HELD, true, false, draw_turns_leak, turns,
     DGO_PATTERN_LOAD_UNLOAD},
    {"cut cache, leak", SHAPE_HELD, true, false, draw_cut_leak, cut, DGO_PATTERN_UNKNOWN},
    {"some requests", SHAPE_HELD, true, true, draw_some_requests, some_requests,
     DGO_PATTERN_GROWTH},
    {"working hours", SHAPE_HELD, true, false, draw_working_hours, working_hours,
     DGO_PATTERN_UNKNOWN},
    {"pieces", SHAPE_HELD, true, false, draw_pieces, pieces, DGO_PATTERN_GROWTH},
    {"slower", SHAPE_HELD, true, false, draw_slower, slower, DGO_PATTERN_GROWTH},
};
const uint32_t shape_held_count = sizeof shape_held_rows / sizeof shape_held_rows[0];
