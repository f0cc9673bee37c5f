/* finding.c - a stretch of a series under the tests of shape: over time, of its straight tail, over
 * levels that come back, over days. */
#include "finding.h"

#include "levels.h"
#include "season.h"

#include <math.h>
#include <string.h>

/* docs/decisions/0025-verdicts.md says where each comes from. */
static const double trend_z = 3; /* Mann-Kendall */
static const double walk_t = 4, walk_residual = 0.075, walk_memory = 0.4;
static const double slow_ratio = 0.5, slow_ratio_sure = 0.8, slow_t = 2;
static const double fast_ratio = 1 / 0.35;
/* Half a day of a daily load bends; less than that is no proof of a leak, so it must be straight.
 */
static const double day_s = 20 * 3600, bent_ratio = 0.75, bent_up_ratio = 1.4;
static const double swing_z = 3, swing_ratio = 1.4, swing_share = 0.03; /* load that rises */
static const double before_ratio = 1.2; /* growth just before a later window, over that in it */
/* The same hours of other days: a fifth of them grew less than half as much as usual; the last
 * third of the growth is slower; the largest step, over a day's growth; distance from the line,
 * over all of it; quiet hours must grow with the busy ones. */
static const double low_share = 0.5, late_share = 0.7, later_share = 1.6, step_share = 0.45,
                    few_cycles = 3.75, day_residual = 0.12;
static const double quiet_share = 0.5;

/* What slowed down and then goes on as a line: the later half of it over the earlier. */
static const double line_least = 0.93, line_most = 1.15, line_s = 3600;
static const double curve_gain = 0.85, curve_ratio = 0.97, curve_bend = 0.8;
/* Levels that come back higher. */
static const double level_up_share = 0.8, level_down_share = 0.1, level_even = 0.65;
static const double ratchet_share = 0.1, ratchet_moments = 8;

enum { LEVEL_UP_MIN = 7 };

bool finding_is_leak(const struct finding *finding)
{
    return finding->made && finding->trend && finding->sustained && finding->spread &&
           finding->not_slowing && finding->not_random && finding->not_load && finding->novel;
}

/* A second half that is slower: clearly, or surely.  One that is far faster began in the window:
 * a later window shows it alone. */
static bool is_even(const struct shape *shape, bool straight)
{
    const double ratio = shape->half_ratio;

    if (ratio < slow_ratio || (ratio < slow_ratio_sure && shape->half_t > slow_t))
        return false;
    if (straight && (ratio < bent_ratio || ratio > bent_up_ratio) && fabs(shape->half_t) > slow_t)
        return false;
    return ratio < fast_ratio || shape->half_t > -slow_t;
}

/* It bends smoothly towards level: the height of a load comes near, or a power of time. */
static bool is_curved(const struct shape *shape, bool within_a_day)
{
    if (shape->curve_gain < curve_gain)
        return false;
    return within_a_day ? shape->curve_end <= curve_ratio : shape->bend <= curve_bend;
}

static bool is_slowing(const struct shape *shape)
{
    return shape->curve_gain >= curve_gain && shape->bend > 0 && shape->bend <= 0.9;
}

void finding_look(const struct dgo_trace *trace, struct window_span span, enum window_axis axis,
                  bool idle, double floor_mib, struct finding *finding)
{
    struct shape *shape = &finding->shape;

    memset(finding, 0, sizeof *finding);
    finding->made = window_fill(trace, span, axis, idle, &finding->window);
    if (!finding->made)
        return;
    window_shape(&finding->window, shape);
    finding->trend = shape->z > trend_z && shape->growth_mib >= floor_mib && shape->slope.low > 0;
    finding->sustained = shape->end_ratio >= 0.4 && shape->retained_mib >= 0.5 * shape->growth_mib;
    finding->spread = shape->jump_share <= 0.34 && shape->moments >= 6;
    finding->not_slowing =
        is_even(shape, axis == WINDOW_TIME && !idle && finding->window.span_s < day_s);
    if (axis == WINDOW_TIME && !idle && is_curved(shape, finding->window.span_s < day_s))
        finding->not_slowing = false;
    finding->not_random = shape->drift_t >= walk_t || shape->residual <= walk_residual ||
                          (finding->window.count >= 40 && shape->residual_memory <= walk_memory) ||
                          (shape->down_share <= ratchet_share && shape->moments >= ratchet_moments);
    finding->not_load = idle || axis == WINDOW_REQUESTS || finding->window.span_s >= day_s ||
                        shape->swing_z < swing_z || shape->swing_ratio < swing_ratio ||
                        shape->swing_share < swing_share;
    finding->novel = true;
    finding->seen_s = finding->window.span_s;
}

/* A later part must lead above everything before it, or it is a part of what goes up and down; and
 * what came just before must not have grown faster, or it is what slows down. */
static bool is_novel(const struct dgo_trace *trace, struct window_span life,
                     struct window_span part, bool idle, const struct shape *shape)
{
    struct window_span before = life;
    double greatest = 0, after = NAN;
    struct window window;
    struct shape earlier;

    before.end = part.first;
    if (window_fill(trace, before, WINDOW_TIME, idle, &window))
        for (uint32_t i = 0; i < window.count; i++)
            greatest = fmax(greatest, window.y_mib[i]);
    if (window_fill(trace, part, WINDOW_TIME, idle, &window))
        after = window.y_mib[window.count - 1];
    if (!(after - greatest >= 0.5 * shape->growth_mib))
        return false;
    before.first += (before.end - before.first) / 2;
    if (!window_fill(trace, before, WINDOW_TIME, idle, &window))
        return true;
    window_shape(&window, &earlier);
    return earlier.slope.slope <= before_ratio * shape->slope.slope;
}

/* The whole life first; its later parts where growth began within it. */
void finding_over_time(const struct dgo_trace *trace, struct window_span life, bool idle,
                       double floor_mib, double least_s, struct finding *best)
{
    static const double shares[] = {1, 0.8, 0.6, 0.36};
    struct finding part;

    finding_look(trace, life, WINDOW_TIME, idle, floor_mib, best);
    if (is_slowing(&best->shape)) /* its later parts look straighter than it is: finding_at_tail */
        return;
    for (uint32_t i = 1; i < sizeof shares / sizeof shares[0] && !finding_is_leak(best); i++) {
        struct window_span span = life;

        span.first = life.end - (uint32_t)(shares[i] * (life.end - life.first));

        if ((span.end - span.first) * trace->width_s < least_s)
            break;
        finding_look(trace, span, WINDOW_TIME, idle, floor_mib, &part);
        part.novel = part.made && is_novel(trace, life, span, idle, &part.shape);
        if (finding_is_leak(&part) || (part.trend && part.sustained && part.novel && !best->trend))
            *best = part;
    }
}

/* Of t to some power, what (from, to) grew in a unit of time. */
static double power_rate(double from, double to, double power)
{
    return (pow(to, power) - pow(from, power)) / (to - from);
}

/* How much slower the later half of a tail would be, were the whole life a power of time: of all
 * that slows down for good, that bends least at its end.  `ratio`: the tail's slope over the slope
 * before it. */
static double power_bend(double from, double tail, double ratio)
{
    double low = 0.01, high = 1;

    for (uint32_t i = 0; i < 40; i++) {
        const double power = (low + high) / 2;

        if (power_rate(tail, 1, power) < ratio * power_rate(from, tail, power))
            low = power;
        else
            high = power;
    }
    return power_rate((1 + tail) / 2, 1, low) / power_rate(tail, (1 + tail) / 2, low);
}

/* It goes on as a line more surely than a power of time would. */
static bool is_line(const struct dgo_trace *trace, struct window_span life, struct window_span tail,
                    bool idle, const struct shape *shape)
{
    struct window_span before = life;
    struct window window;

    before.end = tail.first;
    if (!window_fill(trace, before, WINDOW_TIME, idle, &window))
        return false;

    const double slope = window_slope(&window);
    const double bend = slope > shape->slope.slope
                            ? power_bend((double)life.first / life.end,
                                         (double)tail.first / life.end, shape->slope.slope / slope)
                            : 1;

    return shape->bend >= fmax(line_least, (1 + bend) / 2) && shape->bend <= line_most &&
           shape->bend - 2 * shape->bend_error > bend;
}

/* It slowed down, and since then it goes on evenly, with more certainty than a logarithm or what
 * fills up would leave. */
void finding_at_tail(const struct dgo_trace *trace, struct window_span life, bool idle,
                     double floor_mib, struct finding *best)
{
    static const double shares[] = {0.7, 0.6, 0.5, 0.4, 0.3};

    if (!best->made || !best->trend || !best->sustained || !best->spread || !best->not_random ||
        !best->not_load)
        return;
    for (uint32_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        struct window_span span = life;
        struct finding part;

        span.first = life.end - (uint32_t)(shares[i] * (life.end - life.first));
        if ((span.end - span.first) * trace->width_s < line_s)
            return;
        finding_look(trace, span, WINDOW_TIME, idle, floor_mib, &part);
        if (!finding_is_leak(&part) || !is_line(trace, life, span, idle, &part.shape))
            continue;
        part.seen_s = (life.end - life.first) * trace->width_s;
        *best = part;
        return;
    }
}

/* Two days that grew alike may be chance, three hardly. */
static bool is_even_by_days(const struct season *season)
{
    const bool few = season->span_s < few_cycles * season->period_s;

    return season->late_share >= (few ? 0.8 : late_share) &&
           season->late_share <= (few ? 1.25 : later_share);
}

/* Memory that follows the load of the day, and more of it each day at the same hour. */
void finding_over_days(const struct dgo_trace *trace, struct window_span life, bool idle,
                       double floor_mib, struct finding *finding)
{
    struct season season;
    struct shape *shape = &finding->shape;

    memset(finding, 0, sizeof *finding);
    finding->made = season_look(trace, life, idle, &season);
    if (!finding->made)
        return;
    finding->window.span_s = finding->seen_s = season.span_s;
    shape->slope = season.slope;
    shape->z = season.z;
    shape->growth_mib = season.growth_mib;
    finding->trend = season.z > trend_z && season.growth_mib >= floor_mib && season.t >= walk_t;
    finding->sustained = season.low_share >= low_share;
    finding->spread =
        season.jump_share <= 0.34 && season.moments >= 6 && season.step_share <= step_share;
    finding->not_slowing = is_even_by_days(&season);
    finding->not_random = season.residual <= day_residual;
    finding->not_load = season.quiet_share >= quiet_share;
    finding->novel = finding->by_days = true;
    finding->day_period_s = season.period_s;
}

/* Models that take turns and caches that are cut: levels that come back, higher each time. */
void finding_over_levels(const struct dgo_trace *trace, double floor_mib, struct finding *finding)
{
    struct levels levels;
    struct shape *shape = &finding->shape;

    memset(finding, 0, sizeof *finding);
    finding->made = levels_look(trace, &levels);
    if (!finding->made)
        return;
    finding->window.span_s = finding->seen_s = levels.span_s;
    shape->slope = levels.slope;
    shape->growth_mib = levels.growth_mib;
    shape->z = levels.up ? ((double)levels.up - levels.down) / sqrt(levels.up + levels.down) : 0;
    finding->trend =
        levels.up > levels.down && levels.growth_mib >= floor_mib && levels.slope.low > 0;
    finding->sustained = levels.up >= level_up_share * levels.returns && levels.end_share >= 0.7;
    finding->spread = levels.up >= LEVEL_UP_MIN;
    finding->not_slowing = levels.late_share >= slow_ratio;
    finding->not_random =
        levels.down <= level_down_share * levels.returns && levels.even_share >= level_even;
    finding->not_load = finding->novel = finding->by_levels = true;
}
