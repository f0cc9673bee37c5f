/* picture_profile.c - memory over time as a picture: a strip for each card and process. */
#include "picture_profile.h"

#include "dgo_app.h"
#include "dgo_svg.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 960,
    LEFT = 220, /* who it is */
    PLOT = 530,
    RIGHT = LEFT + PLOT + 12, /* what is to be said of it */
    HEAD = 74,
    STRIP = 62, /* from one series to the next */
    HEIGHT = 42,
    FOOT = 48,
    SERIES_MAX = 64,
    POINT_MAX = 300,
};

struct drawing {
    struct dgo_svg svg;
    const struct dgo_profiler *profiler;
    char origin[DGO_ORIGIN_TEXT_MAX + 3]; /* " (SIMULATED)"; "" of this machine */
    bool whole;
    struct dgo_text *out;
    double first_s, last_s;
    uint32_t shown_count;
    uint32_t shown[SERIES_MAX]; /* indexes of series, rising */
};

/* What a verdict looks like: a mark of its colour, told in words beside it. */
static const enum dgo_svg_paint verdict_paint[DGO_VERDICT_COUNT] = {
    [DGO_VERDICT_STEADY] = DGO_SVG_SERIES_2,
    [DGO_VERDICT_GROWING] = DGO_SVG_SERIES_3,
    [DGO_VERDICT_SUSPECTED] = DGO_SVG_BAD,
    [DGO_VERDICT_CONFIRMED] = DGO_SVG_BAD,
};

/* ---- what is shown ---------------------------------------------------------------------- */

/* Cards, then what is suspected, then what is large. */
static double weight_of(const struct dgo_series_report *report)
{
    return (report->pid == 0 ? 1e12 : 0) + 1e9 * (int)report->trend.verdict +
           report->stats.greatest_mib;
}

/* Puts a series in, the lightest goes out where there is no room. */
static void choose(struct drawing *drawing, uint32_t index)
{
    const struct dgo_profiler *profiler = drawing->profiler;
    uint32_t lightest = 0;

    if (drawing->shown_count < SERIES_MAX) {
        drawing->shown[drawing->shown_count++] = index;
        return;
    }
    for (uint32_t i = 1; i < SERIES_MAX; i++)
        if (weight_of(dgo_profiler_report(profiler, drawing->shown[i])) <
            weight_of(dgo_profiler_report(profiler, drawing->shown[lightest])))
            lightest = i;
    if (weight_of(dgo_profiler_report(profiler, index)) <=
        weight_of(dgo_profiler_report(profiler, drawing->shown[lightest])))
        return;
    for (uint32_t i = lightest; i + 1 < SERIES_MAX; i++)
        drawing->shown[i] = drawing->shown[i + 1];
    drawing->shown[SERIES_MAX - 1] = index;
}

static void choose_all(struct drawing *drawing)
{
    drawing->first_s = INFINITY;
    drawing->last_s = -INFINITY;
    for (uint32_t i = 0; i < dgo_profiler_count(drawing->profiler); i++) {
        const struct dgo_trace_stats *stats = &dgo_profiler_report(drawing->profiler, i)->stats;

        choose(drawing, i);
        drawing->first_s = fmin(drawing->first_s, stats->first_s);
        drawing->last_s = fmax(drawing->last_s, stats->last_s);
    }
}

/* NAN outside of what is shown. */
static double x_of(const struct drawing *drawing, double seconds)
{
    const double span_s = fmax(1e-3, drawing->last_s - drawing->first_s);
    const double share = (seconds - drawing->first_s) / span_s;

    return share >= 0 && share <= 1 ? LEFT + PLOT * share : NAN;
}

/* ---- time ------------------------------------------------------------------------------- */

static void draw_times(struct drawing *drawing, double bottom)
{
    static const struct {
        double seconds, unit_s;
        const char *unit;
    } steps[] = {{0.1, 1, "s"},       {0.5, 1, "s"},      {1, 1, "s"},         {5, 1, "s"},
                 {10, 1, "s"},        {30, 1, "s"},       {60, 60, "min"},     {300, 60, "min"},
                 {600, 60, "min"},    {1800, 60, "min"},  {3600, 3600, "h"},   {7200, 3600, "h"},
                 {14400, 3600, "h"},  {28800, 3600, "h"}, {86400, 86400, "d"}, {172800, 86400, "d"},
                 {604800, 86400, "d"}};
    enum { LABEL_MAX = 8, STEPS = sizeof steps / sizeof steps[0] };
    const double span_s = drawing->last_s - drawing->first_s;
    double factor = 1;
    size_t i = 0;

    while (i + 1 < STEPS && span_s / steps[i].seconds > LABEL_MAX)
        i++;
    while (span_s / (steps[i].seconds * factor) > LABEL_MAX)
        factor *= 2;
    for (double t = 0; t <= span_s; t += steps[i].seconds * factor) {
        const double x = x_of(drawing, drawing->first_s + t);
        char words[32];
        struct dgo_text text = DGO_TEXT(words);

        dgo_text_addf(&text, "%.6g %s", t / steps[i].unit_s, steps[i].unit);
        dgo_svg_line(&drawing->svg, x, HEAD, x, bottom, DGO_SVG_GRID);
        dgo_svg_text(&drawing->svg, x, bottom + 16, DGO_SVG_MIDDLE, DGO_SVG_MUTED, words);
    }
    dgo_svg_text(&drawing->svg, LEFT + PLOT, bottom + 34, DGO_SVG_END, DGO_SVG_MUTED,
                 "since the first reading");
}

/* What the user said, over all strips; its words at the top, where they do not run together. */
static void draw_marks(struct drawing *drawing, double bottom)
{
    const struct dgo_mark *mark;
    const uint32_t count = dgo_profiler_marks(drawing->profiler, &mark);
    double free_from = LEFT;

    for (uint32_t i = 0; i < count; i++) {
        const double x = x_of(drawing, mark[i].seconds);

        if (isnan(x))
            continue;
        dgo_svg_group_begin(&drawing->svg, mark[i].text);
        dgo_svg_line(&drawing->svg, x, HEAD - 6, x, bottom, DGO_SVG_SERIES_4);
        dgo_svg_rect(&drawing->svg, x - 3, HEAD - 12, 6, 6, DGO_SVG_SERIES_4, NULL);
        if (x >= free_from) {
            char words[40];

            (void)dgo_text_copy(words, sizeof words, mark[i].text);
            dgo_svg_text(&drawing->svg, x + 6, HEAD - 6, DGO_SVG_START, DGO_SVG_MUTED, words);
            free_from = x + 220;
        }
        dgo_svg_group_end(&drawing->svg);
    }
}

/* ---- a strip ---------------------------------------------------------------------------- */

/* The scale of a strip is its own, so that slow growth of a large process is seen; what hardly
 * moves stays a line. */
struct scale {
    double top, least_mib, span_mib;
};

static struct scale scale_of(const struct dgo_trace_stats *stats, double top)
{
    const double span_mib =
        fmax(fmax(16, 0.02 * stats->greatest_mib), stats->greatest_mib - stats->least_mib);

    return (struct scale){
        .top = top, .least_mib = fmax(0, stats->greatest_mib - span_mib), .span_mib = span_mib};
}

static double y_of(const struct scale *scale, double mib)
{
    return scale->top + HEIGHT - HEIGHT * (mib - scale->least_mib) / scale->span_mib;
}

/* Between two readings there is a line, unless they lie so far apart that nobody looked. */
static double gap_of(const struct dgo_trace_stats *stats)
{
    const double usual_s = stats->sample_count > 1 ? (stats->last_s - stats->first_s) /
                                                         (double)(stats->sample_count - 1)
                                                   : 1;

    return fmax(10, 4 * usual_s);
}

/* Both ends of each span are drawn: no spike and no dip is lost. */
static void draw_line(struct drawing *drawing, uint32_t index, const struct scale *scale)
{
    struct dgo_trace_point point[POINT_MAX];
    double x[3 * POINT_MAX + 1], y[3 * POINT_MAX + 1], before_s = INFINITY;
    const struct dgo_series_report *report = dgo_profiler_report(drawing->profiler, index);
    const uint32_t points = dgo_profiler_points(drawing->profiler, index, point, POINT_MAX);
    const double gap_s = gap_of(&report->stats);
    size_t count = 0;

    for (uint32_t i = 0; i < points; i++) {
        const double at = x_of(drawing, fmin(drawing->last_s, point[i].seconds));
        const double high = y_of(scale, point[i].max_mib), low = y_of(scale, point[i].min_mib);

        if (isnan(point[i].max_mib))
            continue;
        if (point[i].seconds - before_s > gap_s + point[i].span_s) {
            x[count] = y[count] = NAN;
            count++;
        }
        before_s = point[i].seconds;
        x[count] = at;
        y[count++] = low;
        if (low - high < 0.5)
            continue;
        x[count] = at;
        y[count++] = high;
    }
    if (count && isfinite(before_s)) { /* a last reading alone would be no line */
        x[count] = fmin(LEFT + PLOT, x[count - 1] + 2);
        y[count] = y_of(scale, report->stats.last_mib);
        count++;
    }
    dgo_svg_polyline(&drawing->svg, x, y, count,
                     (enum dgo_svg_paint)(DGO_SVG_SERIES_1 + (report->pid ? 4 : 0)), NULL);
}

static void draw_episodes(struct drawing *drawing, const struct dgo_series_report *report,
                          double top)
{
    for (uint32_t e = 0; e < report->episode_count; e++) {
        const struct dgo_episode *episode = &report->episode[e];
        const double from = x_of(drawing, episode->began_s);
        const double ended_s = isnan(episode->ended_s) ? drawing->last_s : episode->ended_s;
        const double to = x_of(drawing, fmin(drawing->last_s, ended_s));
        char words[96];
        struct dgo_text text = DGO_TEXT(words);

        if (isnan(from) || isnan(to))
            continue;
        dgo_text_addf(&text, "%s from %.0f s%s", dgo_verdict_name(episode->worst), episode->began_s,
                      isnan(episode->ended_s) ? "" : ", over");
        dgo_svg_rect(&drawing->svg, from, top + HEIGHT + 1, fmax(3, to - from), 4, DGO_SVG_BAD,
                     words);
        dgo_svg_line(&drawing->svg, from, top, from, top + HEIGHT + 5, DGO_SVG_BAD);
    }
}

static void draw_changes(struct drawing *drawing, const struct dgo_series_report *report,
                         double top)
{
    for (uint32_t c = 0; c < report->stats.change_count; c++) {
        const struct dgo_trace_change *change = &report->stats.change[c];
        const double x = x_of(drawing, change->seconds);
        char words[96];
        struct dgo_text text = DGO_TEXT(words);

        dgo_text_addf(&text, "%+.0f MiB at %.0f s", change->delta_mib, change->seconds);
        dgo_svg_rect(&drawing->svg, x - 2, top - 4, 4, 4, DGO_SVG_SERIES_8, words);
    }
}

/* Left: whose it is, and between which values its strip lies. */
static void draw_who(struct drawing *drawing, const struct dgo_series_report *report,
                     const struct scale *scale)
{
    const double capacity_mib = dgo_profiler_capacity(drawing->profiler, report->gpu_index);
    char words[128];
    struct dgo_text text = DGO_TEXT(words);

    if (report->pid)
        dgo_text_addf(&text, "%.22s", report->name[0] ? report->name : "process");
    else
        dgo_text_addf(&text, "GPU %" PRIu32, report->gpu_index);
    dgo_svg_text(&drawing->svg, report->pid ? 22 : 10, scale->top + 14, DGO_SVG_START,
                 report->pid ? DGO_SVG_PLAIN : DGO_SVG_STRONG, words);
    dgo_text_clear(&text);
    if (report->pid)
        dgo_text_addf(&text, "pid %" PRIu32, report->pid);
    else if (!isnan(capacity_mib))
        dgo_text_addf(&text, "of %.0f MiB", capacity_mib);
    if (text.length)
        dgo_svg_text(&drawing->svg, report->pid ? 22 : 10, scale->top + 30, DGO_SVG_START,
                     DGO_SVG_MUTED, words);
    dgo_text_clear(&text);
    dgo_text_addf(&text, "%.0f", scale->least_mib + scale->span_mib);
    dgo_svg_text(&drawing->svg, LEFT - 6, scale->top + 10, DGO_SVG_END, DGO_SVG_MUTED, words);
    dgo_text_clear(&text);
    dgo_text_addf(&text, "%.0f", scale->least_mib);
    dgo_svg_text(&drawing->svg, LEFT - 6, scale->top + HEIGHT, DGO_SVG_END, DGO_SVG_MUTED, words);
}

/* Right: the verdict, and in figures what it rests on. */
static void draw_verdict(struct drawing *drawing, const struct dgo_series_report *report,
                         double top)
{
    const struct dgo_trend *trend = &report->trend;
    char words[128], full[DGO_UNIT_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(words);

    dgo_svg_rect(&drawing->svg, RIGHT, top + 4, 10, 10, verdict_paint[trend->verdict],
                 trend->evidence);
    dgo_svg_text(&drawing->svg, RIGHT + 16, top + 13, DGO_SVG_START,
                 trend->verdict == DGO_VERDICT_STEADY ? DGO_SVG_PLAIN : DGO_SVG_STRONG,
                 dgo_verdict_name(trend->verdict));
    dgo_text_addf(&text, "%.0f MiB, %s", report->stats.last_mib, dgo_pattern_name(trend->pattern));
    dgo_svg_text(&drawing->svg, RIGHT, top + 28, DGO_SVG_START, DGO_SVG_MUTED, words);
    dgo_text_clear(&text);
    if (trend->slope_known && trend->verdict != DGO_VERDICT_STEADY)
        dgo_text_addf(&text, "%+.1f MiB/h", trend->slope_mib_per_hour);
    if (trend->time_to_full_known && trend->seconds_to_full < 3650.0 * 86400)
        dgo_text_addf(&text, ", full in %s",
                      dgo_duration_text((uint64_t)(fmax(0, trend->seconds_to_full) * 1e9), full));
    if (text.length)
        dgo_svg_text(&drawing->svg, RIGHT, top + HEIGHT + 1, DGO_SVG_START, DGO_SVG_MUTED, words);
}

static void draw_series(struct drawing *drawing, uint32_t index, double top)
{
    const struct dgo_series_report *report = dgo_profiler_report(drawing->profiler, index);
    const struct scale scale = scale_of(&report->stats, top);

    dgo_svg_group_begin(&drawing->svg, NULL);
    dgo_svg_line(&drawing->svg, LEFT, top + HEIGHT, LEFT + PLOT, top + HEIGHT, DGO_SVG_GRID);
    draw_who(drawing, report, &scale);
    draw_line(drawing, index, &scale);
    draw_changes(drawing, report, top);
    draw_episodes(drawing, report, top);
    draw_verdict(drawing, report, top);
    dgo_svg_group_end(&drawing->svg);
}

/* ---- the whole -------------------------------------------------------------------------- */

static void draw_legend(struct drawing *drawing)
{
    static const struct {
        enum dgo_svg_paint paint;
        const char *words;
    } rows[] = {{DGO_SVG_BAD, "leak suspected"},
                {DGO_SVG_SERIES_3, "growing"},
                {DGO_SVG_SERIES_2, "steady"},
                {DGO_SVG_SERIES_8, "lasting change"},
                {DGO_SVG_SERIES_4, "mark"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const double x = LEFT + 150 * (double)i;

        dgo_svg_rect(&drawing->svg, x, 32, 10, 10, rows[i].paint, NULL);
        dgo_svg_text(&drawing->svg, x + 15, 41, DGO_SVG_START, DGO_SVG_MUTED, rows[i].words);
    }
}

static enum dgo_status job_draw(void *data)
{
    struct drawing *drawing = data;
    char title[128];
    struct dgo_text text = DGO_TEXT(title);
    uint32_t left_out;
    double bottom;

    choose_all(drawing);
    bottom = HEAD + (double)STRIP * drawing->shown_count;
    left_out = dgo_profiler_count(drawing->profiler) - drawing->shown_count;
    dgo_text_addf(&text, "Memory over time, by card and process%s", drawing->origin);
    if (left_out)
        dgo_text_addf(&text, "; %" PRIu32 " smaller series are not shown", left_out);
    dgo_svg_begin(&drawing->svg, drawing->out, WIDTH, bottom + FOOT, title,
                  "A strip for each series, its scale in MiB beside it; its verdict to the right. "
                  "A bar below a strip is a time in which a leak was suspected.");
    dgo_svg_text(&drawing->svg, 10, 22, DGO_SVG_START, DGO_SVG_STRONG, title);
    draw_legend(drawing);
    draw_times(drawing, bottom);
    for (uint32_t i = 0; i < drawing->shown_count; i++)
        draw_series(drawing, drawing->shown[i], HEAD + (double)STRIP * i + 8);
    draw_marks(drawing, bottom);
    drawing->whole = dgo_svg_end(&drawing->svg);
    return DGO_OK;
}

bool picture_profile(const struct dgo_profiler *profiler, const struct profile_file_stats *stats,
                     struct dgo_text *out)
{
    struct drawing drawing = {.profiler = profiler, .out = out};
    char origin[DGO_ORIGIN_TEXT_MAX];

    if (stats && dgo_origin_text(&stats->origin, origin)[0])
        (void)snprintf(drawing.origin, sizeof drawing.origin, " (%s)", origin);
    return dgo_profiler_count(profiler) > 0 &&
           app_run(COMPONENT_VIEW_FORMATTING, job_draw, &drawing) == DGO_OK && drawing.whole;
}
