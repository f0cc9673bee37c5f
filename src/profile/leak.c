/* leak.c - the verdict: lives between restarts, what each of them shows, and what may be said. */
#include "finding.h"
#include "leak.h"

#include "dgo_text.h"

#include <math.h>
#include <string.h>

/* docs/decisions/0025-verdicts.md says where each comes from. */
static const double device_floor_mib = 64; /* growth below it is not told apart from wander */
static const double process_floor_mib = 32;
static const double floor_share = 0.0025;      /* of the card */
static const double raw_window_s = 3.4 * 3600; /* a process under load */
static const double idle_window_s = 3600;      /* its idle floor */
static const double request_window_s = 900;
static const double life_window_s = 2700; /* of each life, where it comes again */
static const double requests_least = 100;
static const double step_spread = 0.15; /* of sizes of steps that are alike */
static const double warm_s = 7200;
static const double stopped_ratio = 0.25; /* slope of a life's last quarter over the whole */
static const double full_share = 0.985;   /* of the card: it grows no further */

enum { BUSY_BLOCK_MIN = 16, STEP_MIN = 6, SWAP_LIFE_MIN = 4 };

/* ---- lives ------------------------------------------------------------------------------ */

static double typical_mib(const struct dgo_trace *trace)
{
    double values[DGO_TRACE_CELL_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < trace->cell_count; i++)
        if (trace->cell[i].count)
            values[count++] = (double)trace->cell[i].max;
    return rank_quantile(values, count, 0.75);
}

/* The load of the model and the first requests: at least five minutes or 4 % of the life, and until
 * nine tenths of the level at its middle are there; at most a quarter, and two hours: what is low
 * for longer has little to do. */
static uint32_t warm_up(const struct dgo_trace *trace, struct window_span life)
{
    const uint32_t length = life.end - life.first;
    const uint32_t least = (uint32_t)fmax(0.04 * length, fmin(300 / trace->width_s, 0.1 * length));
    const uint32_t most = (uint32_t)fmax(least, fmin(0.25 * length, warm_s / trace->width_s));
    uint32_t middle = life.first + length / 2, at = life.first + least;

    while (middle + 1 < life.end && trace->cell[middle].count == 0)
        middle++;
    while (at < life.first + most &&
           (trace->cell[at].count == 0 ||
            (double)trace->cell[at].max < 0.9 * (double)trace->cell[middle].min))
        at++;
    return at;
}

uint32_t leak_lives(const struct dgo_trace *trace, struct window_span lives[LEAK_LIFE_MAX])
{
    const double gone_mib = 0.35 * typical_mib(trace);
    uint32_t count = 0;

    for (uint32_t i = 0, end; i < trace->cell_count; i = end + 1) {
        struct window_span life = {i, i, 0};

        for (end = i; end < trace->cell_count; end++) {
            const struct trace_cell *cell = &trace->cell[end];

            if (cell->count && (double)cell->min < gone_mib)
                break;
        }
        life.end = end;
        if (life.end - life.first < 2 * WINDOW_BLOCK_MIN)
            continue;
        life.first = warm_up(trace, life);
        if (count == LEAK_LIFE_MAX)
            memmove(lives, lives + 1, --count * sizeof *lives);
        lives[count++] = life;
    }
    return count;
}

/* Whether idle moments are spread over the life, so that their floor is a series. */
static bool has_idle_floor(const struct dgo_trace *trace, struct window_span life)
{
    struct window window;

    return window_fill(trace, life, WINDOW_TIME, true, &window) && window.count >= BUSY_BLOCK_MIN;
}

static double floor_of(const struct dgo_trend_question *question)
{
    const double least = question->is_device ? device_floor_mib : process_floor_mib;

    return isnan(question->capacity_mib) ? least
                                         : fmax(least, floor_share * question->capacity_mib);
}

static void look_over_requests(const struct dgo_trace *trace, struct window_span life, bool idle,
                               struct finding *finding)
{
    memset(finding, 0, sizeof *finding);
    if (trace_requests_known(trace))
        finding_look(trace, life, WINDOW_REQUESTS, idle, process_floor_mib, finding);
}

/* Lives other than the newest that grew as leaks do. */
static uint32_t growing_lives(const struct dgo_trace *trace, const struct window_span *lives,
                              uint32_t count)
{
    uint32_t growing = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct finding finding;

        if ((lives[i].end - lives[i].first) * trace->width_s < life_window_s)
            continue;
        finding_look(trace, lives[i], WINDOW_TIME, has_idle_floor(trace, lives[i]),
                     process_floor_mib, &finding);
        growing += finding_is_leak(&finding);
    }
    return growing;
}

/* An earlier life went as high and then grew no further: what fills up to there again is no leak.
 * By requests where they are told, since at night there are few. */
static bool was_full_before(const struct dgo_trace *trace, const struct window_span *lives,
                            uint32_t count, bool idle)
{
    const enum window_axis axis = trace_requests_known(trace) ? WINDOW_REQUESTS : WINDOW_TIME;
    struct finding now, before;

    if (count < 2)
        return false;
    finding_look(trace, lives[count - 1], axis, idle, process_floor_mib, &now);
    for (uint32_t i = 0; now.made && i + 1 < count; i++) {
        finding_look(trace, lives[i], axis, idle, process_floor_mib, &before);
        if (before.made && before.shape.end_ratio < stopped_ratio &&
            before.window.y_mib[before.window.count - 1] >=
                now.window.y_mib[now.window.count - 1] - process_floor_mib)
            return true;
    }
    return false;
}

/* Steps of one size, again and again, none back: a cache that grows by one entry each time.  What a
 * person opens differs in size; what is opened and closed comes back. */
static bool has_alike_steps(const struct dgo_trace *trace, struct window_span life)
{
    const double from_s = trace->origin_s + life.first * trace->width_s;
    const double to_s = trace->origin_s + life.end * trace->width_s;
    double up[DGO_TRACE_CHANGE_MAX], apart[DGO_TRACE_CHANGE_MAX], down = 0, last_s = from_s;
    uint32_t count = 0;

    for (uint32_t i = 0; i < trace->changes.count; i++) {
        const struct changes_kept *kept = &trace->changes.kept[i];

        if (kept->axis_s < from_s || kept->axis_s > to_s)
            continue;
        if (kept->change.delta_mib < 0) {
            down -= kept->change.delta_mib;
            continue;
        }
        up[count++] = kept->change.delta_mib;
        last_s = kept->axis_s;
    }
    if (count < STEP_MIN || to_s - last_s > (to_s - from_s) / 3)
        return false;

    const double size = rank_median(up, count);

    for (uint32_t i = 0; i < count; i++)
        apart[i] = fabs(up[i] - size);
    return rank_quantile(apart, count, 0.8) <= step_spread * size && down < 0.5 * size &&
           trace->last_mib - trace->least_mib >= 0.7 * count * size;
}

/* Models that come and go, and each time more is left: the levels of all lives as one window. */
static void look_over_lives(const struct dgo_trace *trace, const struct window_span *lives,
                            uint32_t count, double floor_mib, struct finding *finding)
{
    const struct window_span all = {lives[0].first, lives[count - 1].end,
                                    0.35 * typical_mib(trace)};

    memset(finding, 0, sizeof *finding);
    if (count >= SWAP_LIFE_MIN)
        finding_look(trace, all, WINDOW_TIME, false, floor_mib, finding);
}

/* ---- verdict ---------------------------------------------------------------------------- */

/* Growth that is told, whatever becomes of it: a trend that goes on at the end of the window. */
static bool is_growing(const struct finding *finding)
{
    const struct shape *shape = &finding->shape;

    return finding->made && finding->trend && shape->end_ratio >= 0.25 &&
           shape->retained_mib >= 0.5 * shape->growth_mib && shape->jump_share <= 0.6;
}

static void copy_time(const struct finding *finding, struct dgo_trend *trend)
{
    const struct shape *shape = &finding->shape;

    if (!finding->made)
        return;
    trend->slope_known = true;
    trend->slope_mib_per_hour = shape->slope.slope;
    trend->slope_low = shape->slope.low;
    trend->slope_high = shape->slope.high;
    trend->window_s = finding->window.span_s;
    trend->growth_mib = shape->growth_mib;
    trend->mann_kendall_z = shape->z;
    trend->sustained = finding->sustained;
    trend->spread = finding->spread;
    trend->not_slowing = finding->not_slowing;
    trend->not_random = finding->not_random;
    trend->by_days = finding->by_days;
    trend->by_levels = finding->by_levels;
    trend->day_period_s = finding->by_days ? finding->day_period_s : NAN;
    trend->leak_shape = finding_is_leak(finding);
}

static void copy_requests(const struct finding *finding, struct dgo_trend *trend)
{
    if (!finding->made)
        return;
    trend->per_request_known = true;
    trend->request_count = finding->window.requests;
    trend->mib_per_request = finding->shape.slope.slope;
    trend->mib_per_request_low = finding->shape.slope.low;
    trend->mib_per_request_high = finding->shape.slope.high;
}

/* What has filled the card stands still: the time before that tells how it came to it. */
static struct window_span until_full(const struct dgo_trace *trace, struct window_span life,
                                     const struct dgo_trend_question *question)
{
    uint32_t end = life.end;

    if (isnan(question->capacity_mib))
        return life;
    while (end > life.first &&
           (trace->cell[end - 1].count == 0 ||
            (double)trace->cell[end - 1].max >= full_share * question->capacity_mib))
        end--;
    if (end > life.first + 2 * WINDOW_BLOCK_MIN)
        life.end = end;
    return life;
}

static bool is_below_plan(const struct dgo_trace *trace, const struct dgo_trend_question *question)
{
    return !isnan(question->planned_mib) && trace->last_mib <= question->planned_mib;
}

static enum dgo_verdict decide(const struct dgo_trace *trace,
                               const struct dgo_trend_question *question,
                               const struct finding *time, const struct finding *requests,
                               struct dgo_trend *trend)
{
    const double least_s = trend->on_idle_floor ? idle_window_s : raw_window_s;
    const bool leak = finding_is_leak(time), long_enough = time->seen_s >= least_s;
    const bool per_request = finding_is_leak(requests) &&
                             requests->window.requests >= requests_least &&
                             requests->window.span_s >= request_window_s;
    const bool again = trend->growing_lives >= 2 || (leak && question->grew_in_another_life);
    const bool some_grew = trend->growing_lives && trend->growing_lives * 2 + 1 >= trend->lives;
    const bool suspect = (leak && long_enough) || trend->alike_steps || (some_grew && !leak);

    if (!is_growing(time) && !leak && !per_request && !again && !suspect)
        return DGO_VERDICT_STEADY;
    if (question->is_device || is_below_plan(trace, question) || trend->filled_before)
        return DGO_VERDICT_GROWING;
    if (per_request || again)
        return DGO_VERDICT_CONFIRMED;
    return suspect ? DGO_VERDICT_SUSPECTED : DGO_VERDICT_GROWING;
}

void leak_judge(const struct dgo_trace *trace, const struct dgo_trend_question *question,
                struct dgo_trend *trend)
{
    struct window_span lives[LEAK_LIFE_MAX] = {0};
    struct finding time = {0}, requests = {0};

    trend->lives = leak_lives(trace, lives);
    if (trend->lives == 0)
        return;

    const struct window_span life = until_full(trace, lives[trend->lives - 1], question);
    const bool idle = has_idle_floor(trace, life);
    const double least_s = idle ? idle_window_s : raw_window_s;

    trend->on_idle_floor = idle;
    finding_over_time(trace, life, idle, floor_of(question), least_s, &time);
    if (!finding_is_leak(&time) && (life.end - life.first) * trace->width_s >= least_s)
        finding_at_tail(trace, life, idle, floor_of(question), &time);
    look_over_requests(trace, life, idle, &requests);
    if (trend->lives > 1)
        trend->growing_lives = growing_lives(trace, lives, trend->lives - 1);
    if (trend->growing_lives)
        trend->growing_lives += finding_is_leak(&time);
    trend->alike_steps = has_alike_steps(trace, life);
    if (!finding_is_leak(&time) && !idle) {
        struct finding over_lives;

        look_over_lives(trace, lives, trend->lives, floor_of(question), &over_lives);
        if (finding_is_leak(&over_lives))
            time = over_lives;
    }
    if (!finding_is_leak(&time)) {
        struct finding over_levels;

        finding_over_levels(trace, floor_of(question), &over_levels);
        if (finding_is_leak(&over_levels))
            time = over_levels;
    }
    if (!finding_is_leak(&time)) {
        struct finding over_days;

        finding_over_days(trace, life, idle, floor_of(question), &over_days);
        if (finding_is_leak(&over_days))
            time = over_days;
    }
    trend->filled_before =
        !time.by_levels &&
        (finding_is_leak(&time) || finding_is_leak(&requests) || trend->alike_steps) &&
        was_full_before(trace, lives, trend->lives, idle);
    copy_time(&time, trend);
    copy_requests(&requests, trend);
    trend->verdict = decide(trace, question, &time, &requests, trend);
}
