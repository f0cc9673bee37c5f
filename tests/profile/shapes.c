/* shapes.c - the shapes: what engines, desktops and leaks look like from outside.
 *
 * Signatures and figures: what users of llama.cpp, vLLM, torch and ollama reported (see
 * docs/MEASUREMENTS.md).  base: 8 to 20 GB of weights and cache on a 24 GiB card. */
#include "shapes.h"

#include <math.h>
#include <string.h>

static uint64_t next_random(struct shape_state *state)
{
    uint64_t z = (state->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double shape_uniform(struct shape_state *state, double low, double high)
{
    return low + (high - low) * (double)(next_random(state) >> 11) / 9007199254740992.0;
}

double shape_scale(struct shape_state *state, double low, double high)
{
    return low * pow(high / low, shape_uniform(state, 0, 1));
}

double shape_normal(struct shape_state *state)
{
    return sqrt(-2 * log(shape_uniform(state, 1e-12, 1))) *
           cos(6.283185307179586 * shape_uniform(state, 0, 1));
}

bool shape_moment(struct shape_state *state, double rate)
{
    return shape_uniform(state, 0, 1) < rate;
}

/* p[0] base, p[1] noise of a reading; what a shape adds comes in p[2]... */
static void draw_base(struct shape_state *state)
{
    state->p[0] = shape_uniform(state, 8000, 20000);
    state->p[1] = shape_scale(state, 0.2, 4);
}

/* Leaks of 0.15 to 3 GiB a day, and those so fast that hours fill the card. */
static void draw_leak(struct shape_state *state)
{
    draw_base(state);
    state->p[0] = shape_uniform(state, 8000, 14000);
    state->p[2] = shape_scale(state, 250, 6000) / 86400; /* MiB a second */
}

static double reading(struct shape_state *state, double value)
{
    return value + state->p[1] * fabs(shape_normal(state));
}

#define SAMPLE(name)                                                                               \
    static void name(struct shape_state *s, double t, struct dgo_trace_sample *sample)
#define USED(value) sample->used_mib = reading(s, value)

/* ---- normal, tuned ---------------------------------------------------------------------- */

SAMPLE(flat)
{
    (void)t;
    USED(s->p[0]);
}

static void draw_step(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_uniform(s, 0.1, 0.9) * s->span_s;
    s->p[3] = shape_scale(s, 100, 3000);
}
SAMPLE(one_step)
{
    USED(s->p[0] + (t > s->p[2] ? s->p[3] : 0));
}

static void draw_saturating(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 200, 4000);
    s->p[3] = shape_scale(s, 300, s->span_s / 5);
}
SAMPLE(saturating)
{
    USED(s->p[0] + s->p[2] * (1 - exp(-t / s->p[3])));
}

/* A caching allocator keeps the largest it ever needed. */
static void draw_high_water(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 200, 1500);
    s->p[3] = shape_scale(s, 0.002, 0.05);
}
SAMPLE(high_water)
{
    if (t <= 0)
        s->v[0] = 0;
    if (shape_moment(s, s->p[3]))
        s->v[0] = fmax(s->v[0], s->p[2] * -log(shape_uniform(s, 1e-9, 1)) / 3);
    USED(s->p[0] + s->v[0]);
}

/* The cache of a conversation grows and is given back. */
static void draw_sawtooth(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 300, 4000);
    s->p[3] = shape_scale(s, 60, s->span_s / 12);
    s->p[4] = shape_uniform(s, 0, 1);
}
SAMPLE(sawtooth)
{
    USED(s->p[0] + s->p[2] * fmod(t / s->p[3] + s->p[4], 1));
}

static void draw_periodic(struct shape_state *s)
{
    draw_sawtooth(s);
    s->p[3] = shape_scale(s, 600, s->span_s / 4);
}
SAMPLE(periodic)
{
    USED(s->p[0] + s->p[2] * 0.5 * (1 + sin(6.2832 * (t / s->p[3] + s->p[4]))));
}

/* A desktop: slow wander about a mean, windows that come and go. */
static void draw_desktop(struct shape_state *s)
{
    s->p[0] = shape_uniform(s, 300, 1500);
    s->p[1] = shape_scale(s, 0.2, 4);
    s->p[2] = shape_scale(s, 2, 20);
    s->p[3] = shape_scale(s, 300, 1800);
}
SAMPLE(desktop)
{
    if (t <= 0)
        memset(s->v, 0, sizeof s->v);
    s->v[0] += -s->v[0] / s->p[3] + s->p[2] * sqrt(2 / s->p[3]) * shape_normal(s);
    for (uint32_t i = 1; i <= 4; i++) { /* four windows, each open some of the time */
        if (s->v[i] > 0 && shape_moment(s, 1 / 900.0))
            s->v[i] = 0;
        else if (s->v[i] <= 0 && shape_moment(s, 1 / 1800.0))
            s->v[i] = shape_uniform(s, 20, 120);
    }
    USED(s->p[0] + s->v[0] + s->v[1] + s->v[2] + s->v[3] + s->v[4]);
}

static void draw_rectangles(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 300, 3000);
    s->p[3] = shape_scale(s, 300, 3000);
}
SAMPLE(rectangles)
{
    if (t <= 0)
        s->v[0] = 0;
    if (shape_moment(s, 1 / (s->v[0] > 0 ? s->p[2] : s->p[3])))
        s->v[0] = s->v[0] > 0 ? 0 : 1;
    USED(s->v[0] > 0 ? s->p[0] : 300);
}

static void draw_spikes(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 200, 3000);
    s->p[3] = shape_scale(s, 1800, 7200);
}
SAMPLE(spikes)
{
    if (t <= 0)
        s->v[0] = 0;
    if (s->v[0] <= 0 && shape_moment(s, 1 / s->p[3]))
        s->v[0] = shape_uniform(s, 1, 40);
    USED(s->p[0] + (s->v[0] > 0 ? s->p[2] : 0));
    s->v[0] -= 1;
}

/* A server under load: cache by requests in flight, and it says how busy it is. */
static void draw_served(struct shape_state *s)
{
    draw_base(s);
    s->p[3] = shape_scale(s, 0.02, 0.3); /* requests a second */
    s->p[4] = shape_scale(s, 20, 200);   /* MiB each in flight */
    s->p[5] = shape_scale(s, 3, 20);     /* seconds each */
    s->p[6] = shape_scale(s, 100, 1500); /* the pool that fills once */
    s->p[7] = shape_scale(s, 20, 300);   /* in so many requests */
}
static void serve(struct shape_state *s, double t, struct dgo_trace_sample *sample)
{
    if (t <= 0)
        s->v[0] = s->v[1] = s->v[2] = 0;
    if (shape_moment(s, s->p[3])) {
        s->v[0] += 1; /* served and in flight */
        s->v[1] += 1;
    }
    for (double i = s->v[1]; i > 0; i--)
        s->v[1] -= shape_moment(s, 1 / s->p[5]);
    sample->requests_known = sample->busy_known = true;
    sample->requests = s->v[0];
    sample->busy = s->v[1] > 0;
}
SAMPLE(served)
{
    serve(s, t, sample);
    USED(s->p[0] + s->p[4] * s->v[1] + s->p[6] * (1 - exp(-s->v[0] / s->p[7])));
}

/* ---- leaks, tuned ----------------------------------------------------------------------- */

SAMPLE(linear)
{
    USED(s->p[0] + s->p[2] * t);
}

static void draw_linear_sawtooth(struct shape_state *s)
{
    draw_leak(s);
    s->p[3] = shape_scale(s, 60, s->span_s / 20);
    s->p[4] = shape_scale(s, 200, 3000);
}
SAMPLE(linear_sawtooth)
{
    USED(s->p[0] + s->p[2] * t + s->p[4] * fmod(t / s->p[3], 1));
}
SAMPLE(linear_periodic)
{
    USED(s->p[0] + s->p[2] * t + s->p[4] * 0.5 * (1 + sin(6.2832 * t / s->p[3])));
}

/* About 90 MB at a time, as the unbounded cache of graphs does it. */
SAMPLE(chunks)
{
    if (t <= 0)
        s->v[0] = 0;
    if (shape_moment(s, s->p[2] * 2 / 90))
        s->v[0] += 90;
    USED(s->p[0] + s->v[0]);
}

static void draw_late(struct shape_state *s)
{
    draw_leak(s);
    s->p[2] *= 2;
    s->p[3] = shape_uniform(s, 0.1, 0.35) * s->span_s;
}
SAMPLE(late)
{
    USED(s->p[0] + s->p[2] * fmax(0, t - s->p[3]));
}

static void draw_per_request(struct shape_state *s)
{
    draw_served(s);
    s->p[0] = shape_uniform(s, 8000, 12000);
    s->p[2] = shape_scale(s, 0.3, 8) * fmin(1, 0.12 / s->p[3]);
}
SAMPLE(per_request)
{
    serve(s, t, sample);
    if (t <= 0)
        s->v[2] = s->v[3] = 0; /* requests before its start; seconds until it runs again */

    const double served = s->v[0] - s->v[2];
    const double used =
        s->p[0] + s->p[4] * s->v[1] + s->p[6] * (1 - exp(-served / s->p[7])) + s->p[2] * served;

    if (used > s->card_mib && s->v[3] <= 0) { /* out of memory: it is started again */
        s->v[3] = 60;
        s->v[2] = s->v[0];
    }
    s->v[3] -= 1;
    USED(s->v[3] > 0 ? 0 : used);
}

/* ---- known: the shapes that broke the published trend tests ----------------------------- */

static void draw_log_growth(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 80, 600);
    s->p[3] = shape_scale(s, 300, 3600);
}
SAMPLE(log_growth)
{
    USED(s->p[0] + s->p[2] * log(1 + t / s->p[3]));
}

static void draw_diurnal(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 300, 3000);
    s->p[3] = shape_uniform(s, 0, 1);
    s->p[4] = shape_uniform(s, 0.02, 0.2);
}
SAMPLE(diurnal)
{
    const double load = 0.5 * (1 + sin(6.2832 * (t / 86400 + s->p[3])));

    USED(s->p[0] + s->p[2] * load * (1 + s->p[4] * shape_normal(s)));
}

static void draw_apps(struct shape_state *s)
{
    draw_desktop(s);
    s->p[4] = floor(shape_uniform(s, 4, 9));
    for (uint32_t i = 0; i < 8; i++)
        s->v[i] = shape_uniform(s, 0, 1) * s->span_s;
    for (uint32_t i = 0; i < 7; i++)
        s->p[5 + i] = shape_scale(s, 50, 600);
}
SAMPLE(apps_kept)
{
    double used = s->p[0];

    for (uint32_t i = 0; i < (uint32_t)s->p[4]; i++)
        used += t > s->v[i] ? s->p[5 + i % 7] : 0;
    USED(used);
}

static void draw_windows(struct shape_state *s)
{
    draw_desktop(s);
    s->p[4] = shape_scale(s, 120, 1800);
    s->p[5] = shape_scale(s, 30, 200);
}
SAMPLE(windows)
{
    if (t <= 0)
        s->v[0] = floor(shape_uniform(s, 0, 6));
    if (shape_moment(s, 1 / s->p[4]))
        s->v[0] += shape_moment(s, 0.5) || s->v[0] < 1 ? 1 : -1;
    USED(s->p[0] + s->p[5] * s->v[0]);
}

static void draw_walk(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 0.5, 8);
}
SAMPLE(walk)
{
    if (t <= 0)
        s->v[0] = 0;
    s->v[0] += s->p[2] * shape_normal(s);
    USED(fmin(s->card_mib, fmax(0, s->p[0] + s->v[0])));
}

static void draw_cache_fill(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 500, 4000);
    s->p[3] = shape_uniform(s, 0.1, 0.6) * s->span_s;
}
SAMPLE(cache_fill)
{
    USED(s->p[0] + s->p[2] * fmin(1, t / s->p[3]));
}

static void draw_bursts(struct shape_state *s)
{
    draw_leak(s);
    s->p[3] = shape_uniform(s, 0, 4) * 3600;
}
SAMPLE(bursts)
{
    const bool on = fmod(t + s->p[3], 4 * 3600) < 2 * 3600;

    if (t <= 0)
        s->v[0] = 0;
    s->v[0] += on ? 2 * s->p[2] : 0;
    USED(s->p[0] + s->v[0]);
}

static void draw_swap(struct shape_state *s)
{
    draw_rectangles(s);
    s->p[0] = shape_uniform(s, 8000, 14000);
    s->p[4] = shape_scale(s, 250, 6000) / 86400;
}
SAMPLE(leak_under_swap)
{
    if (t <= 0)
        s->v[0] = 1;
    if (shape_moment(s, 1 / (s->v[0] > 0 ? s->p[2] : s->p[3])))
        s->v[0] = s->v[0] > 0 ? 0 : 1;
    USED((s->v[0] > 0 ? s->p[0] : 300) + s->p[4] * t);
}

/* The process ends and starts again, the leak from nothing. */
static void draw_restarts(struct shape_state *s)
{
    draw_leak(s);
    s->p[3] = shape_uniform(s, 0.2, 0.45) * s->span_s;
    s->p[4] = shape_uniform(s, 20, 120);
}
SAMPLE(leak_with_restarts)
{
    const double at = fmod(t, s->p[3]);

    USED(at > s->p[3] - s->p[4] ? 0 : s->p[0] + 2 * s->p[2] * at);
}

/* ---- fresh: written after the judges were frozen, run once ------------------------------- */

/* A team's day: more users from morning to noon, fewer at lunch, gone at night; two cards' worth of
 * cache follows them, and each frees what it took. */
static void draw_office(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_uniform(s, 4, 30);    /* users at the peak */
    s->p[3] = shape_scale(s, 40, 300);    /* MiB each */
    s->p[4] = shape_uniform(s, 0, 86400); /* when the series begins */
    s->p[5] = shape_scale(s, 300, 3600);  /* how long each stays */
}
SAMPLE(office)
{
    const double hour = fmod((t + s->p[4]) / 3600, 24);
    const double want = (hour > 8 && hour < 18 ? 1 : 0.1) * (hour > 12 && hour < 13 ? 0.5 : 1);

    if (t <= 0)
        s->v[0] = floor(s->p[2] * want);
    if (shape_moment(s, s->p[2] * want / s->p[5]))
        s->v[0] += 1;
    for (double i = s->v[0]; i > 0; i--)
        s->v[0] -= shape_moment(s, 1 / s->p[5]);
    USED(s->p[0] + s->p[3] * s->v[0]);
}

/* Fragmentation: the pool grows when a longer prompt than ever comes; lengths are log-normal. */
static void draw_fragments(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 0.005, 0.2);
    s->p[3] = shape_scale(s, 0.02, 0.2);
}
SAMPLE(fragments)
{
    if (t <= 0)
        s->v[0] = 0;
    if (shape_moment(s, s->p[2]))
        s->v[0] = fmax(s->v[0], s->p[3] * exp(7 + shape_normal(s)));
    USED(s->p[0] + fmin(s->v[0], 6000));
}

/* Adapters (LoRA) loaded on demand and thrown out when there are too many. */
static void draw_adapters(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = floor(shape_uniform(s, 4, 24));
    s->p[3] = shape_scale(s, 20, 200);
    s->p[4] = shape_scale(s, 60, 1800);
}
SAMPLE(adapters)
{
    if (t <= 0)
        s->v[0] = 0;
    if (shape_moment(s, 1 / s->p[4]) && s->v[0] < s->p[2])
        s->v[0] += 1;
    else if (shape_moment(s, 0.3 / s->p[4]) && s->v[0] > 0)
        s->v[0] -= 1;
    USED(s->p[0] + s->p[3] * s->v[0]);
}

/* A batch job in phases: each holds another level for a while. */
static void draw_phases(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 600, 7200);
}
SAMPLE(phases)
{
    if (t <= 0 || shape_moment(s, 1 / s->p[2]))
        s->v[0] = shape_uniform(s, 0, 4000);
    USED(s->p[0] + s->v[0]);
}

/* A server whose prefix cache fills to its bound with the requests, and which says so. */
static void draw_prefix(struct shape_state *s)
{
    draw_served(s);
    s->p[8] = shape_scale(s, 500, 4000);
    s->p[9] = shape_uniform(s, 0.1, 0.7) * s->span_s * s->p[3]; /* requests until it is full */
}
SAMPLE(prefix_cache)
{
    serve(s, t, sample);
    USED(s->p[0] + s->p[4] * s->v[1] + s->p[8] * fmin(1, s->v[0] / s->p[9]));
}

/* A square root: what diffuses, as the set of graphs by shape under random lengths. */
static void draw_root(struct shape_state *s)
{
    draw_base(s);
    s->p[2] = shape_scale(s, 200, 3000);
}
SAMPLE(square_root)
{
    USED(s->p[0] + s->p[2] * sqrt(t / s->span_s));
}

/* A leak of every error only: rare, of random size, exponential. */
SAMPLE(by_error)
{
    if (t <= 0)
        s->v[0] = 0;
    if (shape_moment(s, s->p[2] * 2 / 40))
        s->v[0] += -40 * log(shape_uniform(s, 1e-9, 1));
    USED(s->p[0] + s->v[0]);
}

/* Grows with the load of the day, and the load itself comes and goes. */
static void draw_leak_by_day(struct shape_state *s)
{
    draw_leak(s);
    s->p[3] = shape_uniform(s, 0, 1);
    s->p[4] = shape_scale(s, 200, 2000);
}
SAMPLE(leak_by_day)
{
    const double load = 0.5 * (1 + sin(6.2832 * (t / 86400 + s->p[3])));

    if (t <= 0)
        s->v[0] = 0;
    s->v[0] += 2 * s->p[2] * load;
    USED(s->p[0] + s->v[0] + s->p[4] * load * (1 + 0.1 * shape_normal(s)));
}

/* A process that ends by running out and is started again under another number is another series;
 * this one gives a part back every so often and keeps more each time. */
static void draw_partial(struct shape_state *s)
{
    draw_leak(s);
    s->p[3] = shape_scale(s, 900, s->span_s / 8);
    s->p[4] = shape_uniform(s, 0.3, 0.8); /* of what came since the last time is given back */
}
SAMPLE(partly_freed)
{
    const double cycle = floor(t / s->p[3]), at = fmod(t, s->p[3]);
    const double kept = cycle * s->p[3] * (1 - s->p[4]);

    USED(s->p[0] + s->p[2] * 2 * (kept + at));
}

/* Per request, and the idle floor is hidden for hours by a queue that never empties. */
static void draw_always_busy(struct shape_state *s)
{
    draw_per_request(s);
    s->p[3] = shape_scale(s, 0.3, 1);
    s->p[2] = shape_scale(s, 0.02, 0.3);
}

/* Faster and faster. */
SAMPLE(accelerating)
{
    USED(s->p[0] + s->p[2] * t * (0.4 + 1.2 * t / s->span_s));
}

#define TUNED SHAPE_TUNED
#define KNOWN SHAPE_KNOWN
#define FRESH SHAPE_FRESH
const struct shape_row shape_rows[] = {
    {"flat", TUNED, false, false, draw_base, flat, DGO_PATTERN_STEADY},
    {"one step", TUNED, false, false, draw_step, one_step, DGO_PATTERN_STEP},
    {"saturating", TUNED, false, false, draw_saturating, saturating, DGO_PATTERN_SATURATING},
    {"high water", TUNED, false, false, draw_high_water, high_water, DGO_PATTERN_SATURATING},
    {"sawtooth", TUNED, false, false, draw_sawtooth, sawtooth, DGO_PATTERN_SAWTOOTH},
    {"periodic", TUNED, false, false, draw_periodic, periodic, DGO_PATTERN_PERIODIC},
    {"desktop", TUNED, false, false, draw_desktop, desktop, DGO_PATTERN_NOISY},
    {"load and unload", TUNED, false, false, draw_rectangles, rectangles, DGO_PATTERN_LOAD_UNLOAD},
    {"spikes", TUNED, false, false, draw_spikes, spikes, DGO_PATTERN_SPIKE},
    {"served", TUNED, false, true, draw_served, served, DGO_PATTERN_UNKNOWN},
    {"linear", TUNED, true, false, draw_leak, linear, DGO_PATTERN_GROWTH},
    {"linear under sawtooth", TUNED, true, false, draw_linear_sawtooth, linear_sawtooth,
     DGO_PATTERN_UNKNOWN},
    {"linear under load", TUNED, true, false, draw_linear_sawtooth, linear_periodic,
     DGO_PATTERN_UNKNOWN},
    {"chunks", TUNED, true, false, draw_leak, chunks, DGO_PATTERN_GROWTH},
    {"late", TUNED, true, false, draw_late, late, DGO_PATTERN_GROWTH},
    {"by request", TUNED, true, true, draw_per_request, per_request, DGO_PATTERN_GROWTH},
    {"log growth", KNOWN, false, false, draw_log_growth, log_growth, DGO_PATTERN_SATURATING},
    {"diurnal", KNOWN, false, false, draw_diurnal, diurnal, DGO_PATTERN_UNKNOWN},
    {"apps kept open", KNOWN, false, false, draw_apps, apps_kept, DGO_PATTERN_UNKNOWN},
    {"windows", KNOWN, false, false, draw_windows, windows, DGO_PATTERN_NOISY},
    {"random walk", KNOWN, false, false, draw_walk, walk, DGO_PATTERN_NOISY},
    {"cache fill", KNOWN, false, false, draw_cache_fill, cache_fill, DGO_PATTERN_SATURATING},
    {"bursts", KNOWN, true, false, draw_bursts, bursts, DGO_PATTERN_GROWTH},
    {"under swap", KNOWN, true, false, draw_swap, leak_under_swap, DGO_PATTERN_LOAD_UNLOAD},
    {"with restarts", KNOWN, true, false, draw_restarts, leak_with_restarts, DGO_PATTERN_UNKNOWN},
    {"office", FRESH, false, false, draw_office, office, DGO_PATTERN_UNKNOWN},
    {"fragments", FRESH, false, false, draw_fragments, fragments, DGO_PATTERN_SATURATING},
    {"adapters", FRESH, false, false, draw_adapters, adapters, DGO_PATTERN_UNKNOWN},
    {"phases", FRESH, false, false, draw_phases, phases, DGO_PATTERN_NOISY},
    {"prefix cache", FRESH, false, true, draw_prefix, prefix_cache, DGO_PATTERN_UNKNOWN},
    {"square root", FRESH, false, false, draw_root, square_root, DGO_PATTERN_SATURATING},
    {"by error", FRESH, true, false, draw_leak, by_error, DGO_PATTERN_GROWTH},
    {"leak by day", FRESH, true, false, draw_leak_by_day, leak_by_day, DGO_PATTERN_UNKNOWN},
    {"partly freed", FRESH, true, false, draw_partial, partly_freed, DGO_PATTERN_UNKNOWN},
    {"always busy", FRESH, true, true, draw_always_busy, per_request, DGO_PATTERN_GROWTH},
    {"accelerating", FRESH, true, false, draw_leak, accelerating, DGO_PATTERN_GROWTH},
};
const uint32_t shape_count = sizeof shape_rows / sizeof shape_rows[0];

const struct shape_row *shape_at(uint32_t index)
{
    const struct {
        const struct shape_row *rows;
        uint32_t count;
    } sets[] = {{shape_rows, shape_count},
                {shape_day_rows, shape_day_count},
                {shape_held_rows, shape_held_count},
                {shape_weak_rows, shape_weak_count},
                {shape_blind_rows, shape_blind_count}};

    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; index -= sets[i++].count)
        if (index < sets[i].count)
            return &sets[i].rows[index];
    return NULL;
}

void shape_start(const struct shape_row *row, struct shape_state *state, uint64_t seed,
                 double span_s)
{
    memset(state, 0, sizeof *state);
    state->random = seed;
    for (const char *name = row->name; *name; name++)
        state->random = state->random * 31 + (unsigned char)*name;
    state->span_s = span_s;
    state->card_mib = 24576;
    row->draw(state);
}

void shape_next(const struct shape_row *row, struct shape_state *state, double seconds,
                struct dgo_trace_sample *sample)
{
    *sample = (struct dgo_trace_sample){.seconds = seconds};
    row->sample(state, seconds, sample);
}
