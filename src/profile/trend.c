/* trend.c - the judgement of a trace as a whole, and the sentence that carries its evidence. */
#include "leak.h"
#include "pattern.h"
#include "trace.h"

#include "dgo_text.h"

#include <math.h>
#include <string.h>

static const char *const verdict_names[] = {
#define X(id, name) name,
    DGO_VERDICT_TABLE(X)
#undef X
};
static const char *const pattern_names[] = {
#define X(id, name) name,
    DGO_PATTERN_TABLE(X)
#undef X
};

const char *dgo_verdict_name(enum dgo_verdict verdict)
{
    return (unsigned)verdict < DGO_VERDICT_COUNT ? verdict_names[verdict] : "unknown";
}

const char *dgo_pattern_name(enum dgo_pattern pattern)
{
    return (unsigned)pattern < DGO_PATTERN_COUNT ? pattern_names[pattern] : "unknown";
}

/* Heights of days, what grew since then put on top. */
struct heights {
    double last_mib, least_mib, greatest_mib;
};

/* A day that is not whole has not shown its height. */
static void find_heights(const struct dgo_trace *trace, const struct dgo_trend *trend,
                         struct heights *heights)
{
    const double period_s = trend->day_period_s;
    const double end_s = trace->origin_s + trace->cell_count * trace->width_s;
    const uint32_t days = (uint32_t)(trend->window_s / period_s);
    uint32_t at = trace->cell_count;

    *heights = (struct heights){trace->last_mib, INFINITY, trace->last_mib};
    for (uint32_t day = 0; day < days; day++) {
        double height_mib = 0;

        for (; at > 0 && trace->origin_s + at * trace->width_s > end_s - (day + 1) * period_s; at--)
            if (trace->cell[at - 1].count)
                height_mib = fmax(height_mib, (double)trace->cell[at - 1].max);
        if (height_mib <= 0)
            continue;
        height_mib += trend->slope_mib_per_hour * day * period_s / 3600;
        if (day == 0)
            heights->last_mib = height_mib;
        heights->least_mib = fmin(heights->least_mib, height_mib);
        heights->greatest_mib = fmax(heights->greatest_mib, height_mib);
    }
    heights->least_mib = fmin(heights->least_mib, heights->last_mib);
}

/* The fastest slope the interval allows fills the card first.  Under the load of the day the card
 * is full at a height: the highest of the days as the load goes, or the lowest and a day late
 * (docs/decisions/0064-time-to-full.md). */
static void judge_full(const struct dgo_trace *trace, const struct dgo_trend_question *question,
                       struct dgo_trend *trend)
{
    struct heights heights = {trace->last_mib, trace->last_mib, trace->last_mib};
    double late_s = 0;

    if (isnan(question->card_free_mib) || !trend->slope_known || trend->slope_mib_per_hour <= 0 ||
        trend->verdict == DGO_VERDICT_STEADY)
        return;
    if (trend->by_days) {
        find_heights(trace, trend, &heights);
        late_s = trend->day_period_s;
    }

    const double full_mib = question->card_free_mib + trace->last_mib;
    const double left_mib = fmax(0, full_mib - heights.last_mib);
    const double least_mib = fmax(0, full_mib - heights.greatest_mib);
    const double most_mib = fmax(0, full_mib - heights.least_mib);

    trend->time_to_full_known = true;
    trend->seconds_to_full = left_mib / trend->slope_mib_per_hour * 3600;
    trend->seconds_to_full_low = fmax(0, least_mib / trend->slope_high * 3600 - late_s);
    trend->seconds_to_full_high =
        trend->slope_low > 0 ? most_mib / trend->slope_low * 3600 + late_s : INFINITY;
}

static void say_window(struct dgo_text *text, const struct dgo_trend *trend)
{
    dgo_text_addf(
        text, "%+.1f MiB/h (95 %%: %.1f to %.1f) over %.1f h, %+.0f MiB in all, on the %s",
        trend->slope_mib_per_hour, trend->slope_low, trend->slope_high, trend->window_s / 3600,
        trend->growth_mib, trend->on_idle_floor ? "floor of idle moments" : "lower envelope");
    if (trend->by_days)
        dgo_text_add(text, ", each hour against the same hours of other days");
    if (trend->by_levels)
        dgo_text_add(text, ", of levels that came back higher");
}

static void say_tests(struct dgo_text *text, const struct dgo_trend *trend)
{
    static const char *const told[][2] = {
        {"not sustained to the end", "sustained to the end"},
        {"in few steps", "spread over many moments"},
        {"slowing or not even", "not slowing"},
        {"as a random walk may", "not as a random walk"},
    };
    const bool passed[] = {trend->sustained, trend->spread, trend->not_slowing, trend->not_random};

    dgo_text_addf(text, "; Mann-Kendall z %.1f", trend->mann_kendall_z);
    for (uint32_t i = 0; i < sizeof passed / sizeof passed[0]; i++)
        dgo_text_addf(text, ", %s", told[i][passed[i]]);
}

static void say_rest(struct dgo_text *text, const struct dgo_trend *trend,
                     const struct dgo_trend_question *question)
{
    if (trend->per_request_known)
        dgo_text_addf(text, "; %+.3f MiB a request (95 %%: %.3f to %.3f) over %.0f requests",
                      trend->mib_per_request, trend->mib_per_request_low,
                      trend->mib_per_request_high, trend->request_count);
    if (trend->alike_steps)
        dgo_text_add(text, "; steps of one size again and again, none back");
    if (trend->filled_before)
        dgo_text_add(text, "; before a restart it came as high and grew no further");
    if (trend->growing_lives)
        dgo_text_addf(text, "; came again: %u of %u lives between restarts grew",
                      trend->growing_lives, trend->lives);
    if (question->grew_in_another_life)
        dgo_text_add(text, "; another process of the same program grew alike");
    if (question->is_device && trend->verdict == DGO_VERDICT_GROWING)
        dgo_text_add(text, "; a card's memory mixes causes: look at its processes");
}

static void say(const struct dgo_trace *trace, const struct dgo_trend_question *question,
                struct dgo_trend *trend)
{
    struct dgo_text text = DGO_TEXT(trend->evidence);

    if (!trend->slope_known) {
        dgo_text_addf(&text, "%.0f to %.0f MiB in %.1f min, too short for a trend",
                      trace->least_mib, trace->greatest_mib, (trace->last_s - trace->first_s) / 60);
        return;
    }
    if (trend->verdict == DGO_VERDICT_STEADY && trend->mann_kendall_z < 3) {
        dgo_text_addf(&text, "no trend: ");
        say_window(&text, trend);
        return;
    }
    say_window(&text, trend);
    say_tests(&text, trend);
    say_rest(&text, trend, question);
}

void dgo_trace_judge(const struct dgo_trace *trace, const struct dgo_trend_question *question,
                     struct dgo_trend *trend)
{
    *trend = (struct dgo_trend){.period_s = NAN, .day_period_s = NAN};
    if (trace->sample_count == 0)
        return;
    leak_judge(trace, question, trend);
    judge_full(trace, question, trend);
    say(trace, question, trend);
}

void dgo_trace_find_pattern(const struct dgo_trace *trace,
                            const struct dgo_trend_question *question, struct dgo_trend *trend)
{
    pattern_judge(trace, question->capacity_mib, trend);
}
