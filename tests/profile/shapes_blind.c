/* shapes_blind.c - the third set of shapes held out: written on 2026-11-27 before the judges were
 * changed for single looks, run once when they were frozen again (docs/MEASUREMENTS.md). */
#include "shapes.h"

#include <math.h>

static const double hour_s = 3600, turn = 6.283185307179586;

#define SAMPLE(name)                                                                               \
    static void name(struct shape_state *s, double t, struct dgo_trace_sample *sample)

/* p[0] base, p[1] noise on both sides, p[2] leak in MiB a second. */
static void draw_common(struct shape_state *s)
{
    s->p[0] = shape_uniform(s, 2000, 14000);
    s->p[1] = shape_scale(s, 0.3, 8);
    s->p[2] = 0;
}

static double leak_rate(struct shape_state *s)
{
    return shape_scale(s, 250, 6000) / 86400;
}

static void set(struct shape_state *s, struct dgo_trace_sample *sample, double mib)
{
    sample->used_mib = fmax(0, s->p[0] + mib + s->p[1] * shape_normal(s));
}

static double exponential(struct shape_state *s, double mean)
{
    return -mean * log(shape_uniform(s, 1e-12, 1));
}

/* ---- normal ----------------------------------------------------------------------------- */

/* Half of it is there after p[4] seconds, and the rest ever more slowly. */
static void draw_hyperbola(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 200, 4000);
    s->p[4] = shape_scale(s, 300, s->span_s / 10);
}
SAMPLE(hyperbola)
{
    set(s, sample, s->p[3] * t / (t + s->p[4]));
}

/* Garbage is collected at a limit that differs, down to a floor that differs. */
static void draw_collected(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 200, 3000); /* to collect at, in the mean */
    s->p[4] = s->p[3] / shape_scale(s, 120, s->span_s / 8);
    s->v[0] = shape_uniform(s, 0, 1) * s->p[3];
    s->v[1] = s->p[3];
}
SAMPLE(collected)
{
    s->v[0] += (s->p[4] + s->p[2]) * shape_uniform(s, 0, 2);
    s->v[2] += s->p[2];
    if (s->v[0] - s->v[2] > s->v[1]) {
        s->v[1] = s->p[3] * shape_uniform(s, 0.85, 1.15);
        s->v[0] = s->v[2] + s->p[3] * shape_uniform(s, 0.05, 0.25);
    }
    (void)t;
    set(s, sample, s->v[0]);
}

/* A second model beside the first: there while it is asked for. */
static void draw_beside(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 800, 4000);
    s->p[4] = shape_uniform(s, 300, 2400);
    s->p[5] = shape_uniform(s, 300, 2400);
}
SAMPLE(beside)
{
    if (t >= s->v[0]) {
        s->v[1] = 1 - s->v[1];
        s->v[0] = t + 60 + exponential(s, s->v[1] > 0 ? s->p[4] : s->p[5]);
    }
    set(s, sample, s->v[1] > 0 ? s->p[3] : 0);
}

/* Work from morning to evening with slopes of two hours, some of it random. */
static void draw_working_day(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 0, 24);
    s->p[4] = shape_scale(s, 300, 3000);
    s->p[5] = shape_uniform(s, 0.01, 0.1);
}
SAMPLE(working_day)
{
    const double hour = fmod(t / hour_s + s->p[3], 24);
    const double load = fmax(0, fmin(1, fmin((hour - 7) / 2, (19 - hour) / 2)));

    s->v[0] += -s->v[0] / 600 + s->p[5] * sqrt(2 / 600.0) * shape_normal(s);
    set(s, sample, s->p[4] * fmax(0, load * (1 + s->v[0])));
}

/* Slow at first, fast, and then full. */
static void draw_logistic(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 200, 4000);
    s->p[4] = shape_uniform(s, 0.15, 0.5) * s->span_s;
    s->p[5] = shape_uniform(s, 0.02, 0.08) * s->span_s;
}
SAMPLE(logistic)
{
    set(s, sample, s->p[3] / (1 + exp(-(t - s->p[4]) / s->p[5])));
}

/* Wanders about a mean and comes back to it. */
static void draw_reverting(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 40, 300);
    s->p[4] = shape_scale(s, 300, 3600);
    s->v[0] = s->p[3] * shape_normal(s);
}
SAMPLE(reverting)
{
    (void)t;
    s->v[0] += -s->v[0] / s->p[4] + s->p[3] * sqrt(2 / s->p[4]) * shape_normal(s);
    set(s, sample, 4 * s->p[3] + s->v[0]);
}

/* A job every so often, by the clock. */
static void draw_jobs(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 900, 3600);
    s->p[4] = shape_uniform(s, 0.15, 0.6) * s->p[3];
    s->p[5] = shape_scale(s, 150, 1500);
}
SAMPLE(jobs)
{
    set(s, sample, fmod(t, s->p[3]) < s->p[4] ? s->p[5] : 0);
}

/* One or two adapters are loaded and stay. */
static void draw_adapters_kept(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 0.1, 0.45) * s->span_s;
    s->p[4] = shape_uniform(s, 0.55, 0.9) * s->span_s;
    s->p[5] = shape_scale(s, 150, 1500);
    s->p[6] = shape_moment(s, 0.5) ? shape_scale(s, 150, 1500) : 0;
}
SAMPLE(adapters_kept)
{
    set(s, sample, (t > s->p[3] ? s->p[5] : 0) + (t > s->p[4] ? s->p[6] : 0));
}

/* ---- leaks ------------------------------------------------------------------------------ */

/* Even, under noise on both sides. */
static void draw_drip(struct shape_state *s)
{
    draw_common(s);
    s->p[1] = shape_scale(s, 5, 60);
    s->p[2] = leak_rate(s);
}
SAMPLE(drip)
{
    set(s, sample, s->p[2] * t);
}

/* Each connection holds some memory while it lasts and leaves a little for good. */
static void draw_connections(struct shape_state *s)
{
    draw_common(s);
    s->p[2] = leak_rate(s);
    s->p[3] = 1 / shape_scale(s, 20, 200); /* connections a second */
    s->p[4] = shape_scale(s, 60, 900);     /* how long each lasts */
    s->p[5] = shape_scale(s, 10, 60);      /* what it holds */
    s->p[6] = shape_uniform(s, 0.3, 1.0);
}
SAMPLE(connections)
{
    (void)t;
    if (shape_moment(s, s->p[3])) {
        s->v[0]++;
        s->v[1] += s->p[2] / s->p[3] * exp(s->p[6] * shape_normal(s) - 0.5 * s->p[6] * s->p[6]);
    }
    for (double i = s->v[0]; i > 0; i--)
        s->v[0] -= shape_moment(s, 1 / s->p[4]);
    set(s, sample, s->v[1] + s->p[5] * s->v[0]);
}

/* Requests are told as they were since the last reading; each leaves some KiB to MiB. */
static void draw_deltas(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_scale(s, 0.02, 0.4);
    s->p[2] = leak_rate(s) / s->p[3];
    s->p[4] = shape_scale(s, 10, 150);
}
SAMPLE(deltas)
{
    double came = 0;

    (void)t;
    while (shape_moment(s, s->p[3]))
        came++;
    s->v[0] += came * s->p[2];
    s->v[1] = fmax(s->v[1] - 1, came > 0 ? floor(shape_uniform(s, 1, 6)) : 0);
    sample->requests_known = sample->busy_known = true;
    sample->requests = came;
    sample->busy = s->v[1] > 0;
    set(s, sample, s->v[0] + (s->v[1] > 0 ? s->p[4] : 0));
}

/* A timer takes a piece each time and never gives it back. */
static void draw_timer(struct shape_state *s)
{
    draw_common(s);
    s->p[3] = shape_uniform(s, 300, 2400);
    s->p[4] = shape_scale(s, 16, 128);
    s->v[0] = s->p[3];
}
SAMPLE(timer)
{
    if (t >= s->v[0]) {
        s->v[0] = t + s->p[3] * shape_uniform(s, 0.8, 1.2);
        s->v[1] += s->p[4] * shape_uniform(s, 0.8, 1.2);
    }
    set(s, sample, s->v[1]);
}

/* What is collected leaves ever more. */
static void draw_collected_leak(struct shape_state *s)
{
    draw_collected(s);
    s->p[0] = shape_uniform(s, 2000, 9000);
    s->p[2] = leak_rate(s);
}

/* One model comes and goes, and what is left when it is gone grows. */
static void draw_loader(struct shape_state *s)
{
    draw_common(s);
    s->p[0] = shape_uniform(s, 300, 1200);
    s->p[3] = shape_uniform(s, 4000, 12000);
    s->p[4] = shape_uniform(s, 400, 2400);
    s->p[5] = shape_uniform(s, 400, 2400);
    s->p[6] = shape_uniform(s, 10, 80);
}
SAMPLE(loader)
{
    if (t >= s->v[0]) {
        s->v[1] = 1 - s->v[1];
        s->v[0] = t + 60 + exponential(s, s->v[1] > 0 ? s->p[4] : s->p[5]);
        s->v[2] += s->v[1] > 0 ? s->p[6] : 0;
    }
    set(s, sample, s->v[2] + (s->v[1] > 0 ? s->p[3] : 0));
}

/* It leaks while there is work, and there are pauses. */
static void draw_pauses(struct shape_state *s)
{
    draw_common(s);
    s->p[2] = 1.5 * leak_rate(s);
    s->p[3] = shape_uniform(s, 1800, 7200);
    s->p[4] = shape_uniform(s, 900, 3600);
    s->v[1] = 1;
}
SAMPLE(pauses)
{
    if (t >= s->v[0]) {
        s->v[1] = 1 - s->v[1];
        s->v[0] = t + s->p[s->v[1] > 0 ? 3 : 4] * shape_uniform(s, 0.5, 1.5);
    }
    s->v[2] += s->v[1] > 0 ? s->p[2] : 0;
    set(s, sample, s->v[2]);
}

/* Another rate from some moment on. */
static void draw_two_rates(struct shape_state *s)
{
    draw_common(s);
    s->p[2] = leak_rate(s);
    s->p[3] = shape_uniform(s, 0.25, 0.75) * s->span_s;
    s->p[4] = shape_scale(s, 0.4, 2.5);
}
SAMPLE(two_rates)
{
    s->v[0] += s->p[2] * (t < s->p[3] ? 1 : s->p[4]);
    set(s, sample, s->v[0]);
}

/* Follows a fast cycle of load and drips under it. */
static void draw_drip_under_jobs(struct shape_state *s)
{
    draw_jobs(s);
    s->p[2] = leak_rate(s);
}
SAMPLE(drip_under_jobs)
{
    set(s, sample, s->p[2] * t + s->p[5] * 0.5 * (1 - cos(turn * t / s->p[3])));
}

#define BLIND SHAPE_BLIND
const struct shape_row shape_blind_rows[] = {
    {"hyperbola", BLIND, false, false, draw_hyperbola, hyperbola, DGO_PATTERN_SATURATING},
    {"collected", BLIND, false, false, draw_collected, collected, DGO_PATTERN_SAWTOOTH},
    {"model beside", BLIND, false, false, draw_beside, beside, DGO_PATTERN_LOAD_UNLOAD},
    {"working day", BLIND, false, false, draw_working_day, working_day, DGO_PATTERN_UNKNOWN},
    {"logistic", BLIND, false, false, draw_logistic, logistic, DGO_PATTERN_SATURATING},
    {"reverting", BLIND, false, false, draw_reverting, reverting, DGO_PATTERN_NOISY},
    {"jobs by the clock", BLIND, false, false, draw_jobs, jobs, DGO_PATTERN_PERIODIC},
    {"adapters kept", BLIND, false, false, draw_adapters_kept, adapters_kept, DGO_PATTERN_STEP},
    {"drip", BLIND, true, false, draw_drip, drip, DGO_PATTERN_GROWTH},
    {"connections", BLIND, true, false, draw_connections, connections, DGO_PATTERN_GROWTH},
    {"requests since", BLIND, true, true, draw_deltas, deltas, DGO_PATTERN_GROWTH},
    {"timer", BLIND, true, false, draw_timer, timer, DGO_PATTERN_GROWTH},
    {"collected, leak", BLIND, true, false, draw_collected_leak, collected, DGO_PATTERN_UNKNOWN},
    {"loader", BLIND, true, false, draw_loader, loader, DGO_PATTERN_LOAD_UNLOAD},
    {"pauses", BLIND, true, false, draw_pauses, pauses, DGO_PATTERN_GROWTH},
    {"two rates", BLIND, true, false, draw_two_rates, two_rates, DGO_PATTERN_GROWTH},
    {"drip under jobs", BLIND, true, false, draw_drip_under_jobs, drip_under_jobs,
     DGO_PATTERN_UNKNOWN},
};
const uint32_t shape_blind_count = sizeof shape_blind_rows / sizeof shape_blind_rows[0];
