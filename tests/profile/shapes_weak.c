/* shapes_weak.c - what single looks were weak at: leaks that slow down, under models that take
 * turns, under caches that are cut, under noise and users; and what resembles each and is none.
 * Looked at while the judges were changed (docs/MEASUREMENTS.md). */
#include "shapes.h"

#include <math.h>

static const double turn = 6.283185307179586;

#define SAMPLE(name)                                                                               \
    static void name(struct shape_state *s, double t, struct dgo_trace_sample *sample)

/* p[0] base, p[1] noise, p[2] leak in MiB a second. */
static void draw_common(struct shape_state *s)
{
    s->p[0] = shape_uniform(s, 4000, 12000);
    s->p[1] = shape_scale(s, 0.2, 8);
}

static void draw_leaking(struct shape_state *s)
{
    draw_common(s);
    s->p[2] = shape_scale(s, 250, 6000) / 86400;
}

static void put(struct shape_state *s, struct dgo_trace_sample *sample, double mib)
{
    sample->used_mib = fmax(0, s->p[0] + mib + s->p[1] * shape_normal(s));
}

/* ---- what slows down -------------------------------------------------------------------- */

/* A cache that is far from full, or nearly. */
static void draw_slow_fill(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 200, 4000);
    s->p[4] = shape_uniform(s, 0.1, 0.8) * s->span_s;
}
SAMPLE(slow_fill)
{
    put(s, sample, s->p[3] * (1 - exp(-t / s->p[4])));
}

/* Between a square root and a line. */
static void draw_power(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 200, 3000);
    s->p[4] = shape_uniform(s, 0.4, 0.7);
}
SAMPLE(power)
{
    put(s, sample, s->p[3] * pow(t / s->span_s, s->p[4]));
}

/* Fills evenly, and is full before the end. */
static void draw_even_fill(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 200, 4000);
    s->p[4] = shape_uniform(s, 0.3, 0.9) * s->span_s;
}
SAMPLE(even_fill)
{
    put(s, sample, s->p[3] * fmin(1, t / s->p[4]));
}

/* Fewer users from some moment on: it leaks more slowly. */
static void draw_slower_leak(struct shape_state *s)
{
    draw_leaking(s);
    s->p[3] = shape_uniform(s, 0.2, 0.6) * s->span_s;
    s->p[4] = shape_uniform(s, 0.3, 0.8);
}
SAMPLE(slower_leak)
{
    put(s, sample, s->p[2] * (fmin(t, s->p[3]) + s->p[4] * fmax(0, t - s->p[3])));
}

/* ---- models that take turns ------------------------------------------------------------- */

/* p[3] time each stays; p[4] how many; p[5] to p[8] their sizes; p[9] what each load leaves. */
static void draw_by_turns(struct shape_state *s)
{
    draw_common(s);
    s->p[0] = shape_uniform(s, 300, 1500);
    s->p[3] = shape_scale(s, 400, 3000);
    s->p[4] = floor(shape_uniform(s, 2, 5));
    for (uint32_t i = 5; i < 9; i++)
        s->p[i] = shape_uniform(s, 2000, 14000);
    s->p[9] = 0;
}
static void draw_by_turns_leak(struct shape_state *s)
{
    draw_by_turns(s);
    s->p[9] = shape_scale(s, 12, 120);
}
SAMPLE(by_turns)
{
    if (t >= s->v[0]) {
        s->v[0] = t + s->p[3] * shape_uniform(s, 0.3, 2);
        s->v[1] = floor(shape_uniform(s, 0, s->p[4]));
        s->v[2] += s->p[9] * shape_uniform(s, 0.7, 1.3);
        s->v[3] = t + shape_uniform(s, 5, 40); /* gone, until the next one is loaded */
    }
    put(s, sample, s->v[2] + (t < s->v[3] ? 0 : s->p[5 + (int)s->v[1]]));
}

/* Loaded and unloaded; the leak shows in both states. */
static void draw_on_off(struct shape_state *s)
{
    draw_common(s);
    s->p[0] = shape_uniform(s, 300, 900);
    s->p[3] = shape_scale(s, 300, 2400);
    s->p[4] = shape_uniform(s, 3000, 14000);
    s->p[2] = 0;
}
static void draw_on_off_leak(struct shape_state *s)
{
    draw_on_off(s);
    s->p[2] = shape_scale(s, 250, 6000) / 86400;
}
SAMPLE(on_off)
{
    if (t >= s->v[0]) {
        s->v[0] = t + s->p[3] * shape_uniform(s, 0.3, 2);
        s->v[1] = 1 - s->v[1];
    }
    put(s, sample, s->p[2] * t + (s->v[1] > 0 ? s->p[4] : 0));
}

/* ---- caches that are cut ---------------------------------------------------------------- */

/* Fills in p[3] seconds, more or less; a share p[5] of it stays at a cut. */
static void draw_cut_back(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 0.03, 0.35) * s->span_s;
    s->p[4] = shape_uniform(s, 300, 3000);
    s->p[5] = shape_uniform(s, 0, 0.7);
    s->p[6] = shape_uniform(s, 0, 0.1); /* limits differ by so much */
    s->p[2] = 0;
    s->v[0] = s->p[4] * shape_uniform(s, 0, 1);
    s->v[1] = s->p[4];
}
static void draw_cut_back_leak(struct shape_state *s)
{
    draw_cut_back(s);
    s->p[2] = shape_scale(s, 250, 6000) / 86400;
}
SAMPLE(cut_back)
{
    s->v[0] += s->p[4] / s->p[3] * shape_uniform(s, 0.5, 1.5);
    if (s->v[0] >= s->v[1]) {
        s->v[0] = s->p[4] * s->p[5] * (1 + s->p[6] * shape_normal(s));
        s->v[1] = s->p[4] * (1 + s->p[6] * shape_normal(s));
    }
    put(s, sample, s->v[0] + s->p[2] * t);
}

/* ---- users and noise -------------------------------------------------------------------- */

static void draw_guests(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 300, 3600);
    s->p[4] = shape_uniform(s, 2, 25);
    s->p[5] = shape_scale(s, 5, 100);
    s->p[2] = 0;
    s->v[0] = floor(s->p[4]);
}
static void draw_guests_leak(struct shape_state *s)
{
    draw_guests(s);
    s->p[5] = shape_scale(s, 5, 40);
    s->p[2] = shape_scale(s, 250, 6000) / 86400;
}
SAMPLE(guests)
{
    if (shape_moment(s, s->p[4] / s->p[3]))
        s->v[0]++;
    for (double i = s->v[0]; i > 0; i--)
        s->v[0] -= shape_moment(s, 1 / s->p[3]);
    put(s, sample, s->v[0] * s->p[5] + s->p[2] * t);
}

static void draw_noisy_line(struct shape_state *s)
{
    draw_leaking(s);
    s->p[1] = shape_scale(s, 4, 80);
}
SAMPLE(noisy_line)
{
    put(s, sample, s->p[2] * t);
}

static void draw_day_part(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 0, 1);
    s->p[4] = shape_scale(s, 300, 3000);
}
SAMPLE(day_part)
{
    put(s, sample, s->p[4] * 0.5 * (1 + sin(turn * (t / 86400 + s->p[3]))));
}

/* Pieces of 8 to 64 MiB at random moments. */
static void draw_drops(struct shape_state *s)
{
    draw_leaking(s);
    s->p[3] = shape_scale(s, 8, 64);
}
SAMPLE(drops)
{
    if (shape_moment(s, s->p[2] / s->p[3]))
        s->v[0] += s->p[3] * shape_uniform(s, 0.5, 1.5);
    (void)t;
    put(s, sample, s->v[0]);
}

/* What is opened now and then and stays, until there is enough of it. */
static void draw_opened(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = floor(shape_uniform(s, 3, 10));
    s->p[4] = s->p[3] / (shape_uniform(s, 0.3, 1) * s->span_s);
    s->p[5] = shape_scale(s, 40, 400);
}
SAMPLE(opened)
{
    (void)t;
    if (s->v[0] < s->p[3] && shape_moment(s, s->p[4])) {
        s->v[0]++;
        s->v[1] += s->p[5] * shape_scale(s, 0.4, 2.5);
    }
    put(s, sample, s->v[1]);
}

#define WEAK SHAPE_WEAK
const struct shape_row shape_weak_rows[] = {
    {"slow fill", WEAK, false, false, draw_slow_fill, slow_fill, DGO_PATTERN_SATURATING},
    {"power", WEAK, false, false, draw_power, power, DGO_PATTERN_SATURATING},
    {"even fill", WEAK, false, false, draw_even_fill, even_fill, DGO_PATTERN_SATURATING},
    {"by turns", WEAK, false, false, draw_by_turns, by_turns, DGO_PATTERN_LOAD_UNLOAD},
    {"on and off", WEAK, false, false, draw_on_off, on_off, DGO_PATTERN_LOAD_UNLOAD},
    {"cut back", WEAK, false, false, draw_cut_back, cut_back, DGO_PATTERN_SAWTOOTH},
    {"guests", WEAK, false, false, draw_guests, guests, DGO_PATTERN_NOISY},
    {"part of a day", WEAK, false, false, draw_day_part, day_part, DGO_PATTERN_UNKNOWN},
    {"opened", WEAK, false, false, draw_opened, opened, DGO_PATTERN_UNKNOWN},
    {"slower leak", WEAK, true, false, draw_slower_leak, slower_leak, DGO_PATTERN_GROWTH},
    {"by turns, leak", WEAK, true, false, draw_by_turns_leak, by_turns, DGO_PATTERN_LOAD_UNLOAD},
    {"on and off, leak", WEAK, true, false, draw_on_off_leak, on_off, DGO_PATTERN_LOAD_UNLOAD},
    {"cut back, leak", WEAK, true, false, draw_cut_back_leak, cut_back, DGO_PATTERN_UNKNOWN},
    {"guests, leak", WEAK, true, false, draw_guests_leak, guests, DGO_PATTERN_GROWTH},
    {"noisy line", WEAK, true, false, draw_noisy_line, noisy_line, DGO_PATTERN_GROWTH},
    {"drops", WEAK, true, false, draw_drops, drops, DGO_PATTERN_GROWTH},
};
const uint32_t shape_weak_count = sizeof shape_weak_rows / sizeof shape_weak_rows[0];
