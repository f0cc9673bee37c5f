/* picture_batch.c - a workload as a picture: how long prompts are, where the best buckets end, and
 * what each more of them gains. */
#include "batch.h"

#include "dgo_svg.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 760,
    LEFT = 60,
    RIGHT = 20,
    PLOT = WIDTH - LEFT - RIGHT,
    TOP = 60,
    PANEL = 200,
    GAP = 90,
    HEIGHT = TOP + 2 * PANEL + GAP + 50,
    SHOWN_BUCKETS = 8,
};

struct drawing {
    struct dgo_svg svg;
    const struct batch_report *report;
};

/* Where a length lies: bins are equally wide, so the axis is logarithmic between their borders. */
static double x_of(const struct dgo_histogram *histogram, uint32_t tokens)
{
    const double width = (double)PLOT / histogram->bins;

    for (uint32_t i = 0; i < histogram->bins; i++) {
        const double before = i ? histogram->up_to[i - 1] : 0;

        if (tokens <= histogram->up_to[i])
            return LEFT +
                   width * (i + ((double)tokens - before) / ((double)histogram->up_to[i] - before));
    }
    return LEFT + PLOT;
}

static void draw_axis(struct drawing *drawing, double y)
{
    dgo_svg_line(&drawing->svg, LEFT, y, LEFT + PLOT, y, DGO_SVG_GRID);
}

static void draw_bars(struct drawing *drawing)
{
    const struct dgo_histogram *histogram = &drawing->report->prompt_histogram;
    const double width = (double)PLOT / histogram->bins, bottom = TOP + PANEL;
    uint64_t most = 1;

    for (uint32_t i = 0; i < histogram->bins; i++)
        most = dgo_max_u64(most, histogram->count[i]);
    for (uint32_t i = 0; i < histogram->bins; i++) {
        const double height = (double)PANEL * (double)histogram->count[i] / (double)most;
        char words[80];

        snprintf(words, sizeof words, "%" PRIu64 " prompts of up to %" PRIu32 " tokens",
                 histogram->count[i], histogram->up_to[i]);
        dgo_svg_rect(&drawing->svg, LEFT + width * i + 1, bottom - height, width - 2, height,
                     DGO_SVG_SERIES_1, words);
        snprintf(words, sizeof words, "%" PRIu32, histogram->up_to[i]);
        if (i % 2 == (histogram->bins - 1) % 2) /* two an octave: every other one has room */
            dgo_svg_text(&drawing->svg, LEFT + width * (i + 1), bottom + 16, DGO_SVG_MIDDLE,
                         DGO_SVG_MUTED, words);
    }
    draw_axis(drawing, bottom);
}

static void draw_bounds(struct drawing *drawing)
{
    const struct dgo_histogram *histogram = &drawing->report->prompt_histogram;
    const struct dgo_buckets *buckets = &drawing->report->bucket[SHOWN_BUCKETS - 1];

    for (uint32_t b = 0; b < buckets->bound_count; b++) {
        const double x = x_of(histogram, buckets->bound[b]);

        dgo_svg_line(&drawing->svg, x, TOP - 4, x, TOP + PANEL, DGO_SVG_SERIES_2);
    }
}

static void draw_lengths(struct drawing *drawing)
{
    dgo_svg_text(&drawing->svg, LEFT, TOP - 12, DGO_SVG_START, DGO_SVG_STRONG,
                 "prompts by tokens, and the bounds of the best 8 buckets");
    draw_bars(drawing);
    draw_bounds(drawing);
}

/* Share of padded tokens that are waste, for each number of buckets. */
static void draw_gain(struct drawing *drawing)
{
    const struct batch_report *report = drawing->report;
    const double top = TOP + PANEL + GAP, bottom = top + PANEL;
    const double tokens = (double)dgo_lengths_sum(&report->prompt);
    double x[DGO_BUCKET_MAX], y[DGO_BUCKET_MAX];
    char words[64];

    dgo_svg_text(&drawing->svg, LEFT, top - 12, DGO_SVG_START, DGO_SVG_STRONG,
                 "padding that is left, by number of buckets");
    for (unsigned k = 0; k < DGO_BUCKET_MAX; k++) {
        const double waste = (double)report->bucket[k].waste_tokens;
        const double share = waste + tokens > 0 ? waste / (waste + tokens) : 0;

        x[k] = LEFT + (double)PLOT * (k + 0.5) / DGO_BUCKET_MAX;
        y[k] = bottom - PANEL * share;
        snprintf(words, sizeof words, "%u", k + 1);
        dgo_svg_text(&drawing->svg, x[k], bottom + 16, DGO_SVG_MIDDLE, DGO_SVG_MUTED, words);
        snprintf(words, sizeof words, "%.0f %%", 100 * share);
        dgo_svg_text(&drawing->svg, x[k], y[k] - 6, DGO_SVG_MIDDLE, DGO_SVG_PLAIN, words);
    }
    dgo_svg_polyline(&drawing->svg, x, y, DGO_BUCKET_MAX, DGO_SVG_SERIES_2, "padding");
    draw_axis(drawing, bottom);
}

bool picture_batch(const struct batch_report *report, struct dgo_text *out)
{
    struct drawing drawing = {.report = report};
    char words[160];

    snprintf(words, sizeof words,
             "%" PRIu32 " requests: lengths of their prompts, the bounds of eight buckets that "
             "waste least, and what is left of padding for 1 to 16 buckets",
             report->requests->workload.count);
    dgo_svg_begin(&drawing.svg, out, WIDTH, HEIGHT, "token lengths and buckets", words);
    draw_lengths(&drawing);
    draw_gain(&drawing);
    return dgo_svg_end(&drawing.svg);
}
