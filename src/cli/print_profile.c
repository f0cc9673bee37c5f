/* print_profile.c - what the profiler found, as tables, small pictures and sentences. */
#include "print.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "dgo_worth.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    PICTURE_WIDTH = 24,
    SERIES_SHOWN_MAX = 200,
    CHANGES_SHOWN_MAX = 12,
    FREEABLE_SHOWN_MAX = 20
};

/* One column for each part, its height the greatest value in it: a spike is seen. */
static void draw(const struct dgo_profiler *profiler, uint32_t index, char *picture, size_t size)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
    const struct dgo_trace_stats *stats = &dgo_profiler_report(profiler, index)->stats;
    const double span_mib = stats->greatest_mib - stats->least_mib;
    struct dgo_trace_point point[PICTURE_WIDTH];
    const uint32_t count = dgo_profiler_points(profiler, index, point, PICTURE_WIDTH);
    struct dgo_text text = {.data = picture, .size = size};

    picture[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        /* What does not move is a line at the bottom, not a mountain of noise. */
        const double height = span_mib < 1 ? 0 : (point[i].max_mib - stats->least_mib) / span_mib;
        const uint32_t step = (uint32_t)fmin(7, fmax(0, height * 7.99));

        dgo_text_add(&text, isnan(point[i].max_mib) ? " "
                            : print_unicode()       ? blocks[step]
                                                    : ascii[step]);
    }
}

static void duration_text(double seconds, char text[DGO_UNIT_TEXT_MAX])
{
    if (!isfinite(seconds) || seconds > 3650.0 * 86400)
        (void)snprintf(text, DGO_UNIT_TEXT_MAX, "years");
    else
        (void)dgo_duration_text((uint64_t)(fmax(0, seconds) * 1e9), text);
}

static void full_text(const struct dgo_trend *trend, char text[3 * DGO_UNIT_TEXT_MAX])
{
    char low[DGO_UNIT_TEXT_MAX], high[DGO_UNIT_TEXT_MAX];

    text[0] = '\0';
    if (!trend->time_to_full_known)
        return;
    duration_text(trend->seconds_to_full_low, low);
    duration_text(trend->seconds_to_full_high, high);
    if (strcmp(low, high) == 0)
        (void)snprintf(text, 3 * DGO_UNIT_TEXT_MAX, "%s", low);
    else
        (void)snprintf(text, 3 * DGO_UNIT_TEXT_MAX, "%s to %s", low, high);
}

static void add_row(struct table *table, const struct dgo_profiler *profiler, uint32_t index)
{
    const struct dgo_series_report *report = dgo_profiler_report(profiler, index);
    const struct dgo_trend *trend = &report->trend;
    char picture[PICTURE_WIDTH * 4], full[3 * DGO_UNIT_TEXT_MAX];

    draw(profiler, index, picture, sizeof picture);
    full_text(trend, full);
    table_cell(table, "%u", report->gpu_index);
    if (report->pid)
        table_cell(table, "%u", report->pid);
    else
        table_cell(table, "card");
    table_cell(table, "%s", report->name);
    table_cell(table, "%.0f", report->stats.last_mib);
    table_cell(table, "%s", picture);
    table_cell(table, "%s", dgo_verdict_name(trend->verdict));
    table_cell(table, "%s", dgo_pattern_name(trend->pattern));
    if (trend->slope_known)
        table_cell(table, "%+.1f", trend->slope_mib_per_hour);
    else
        table_cell(table, "%s", "");
    table_cell(table, "%s", full);
}

static void print_series(const struct dgo_profiler *profiler)
{
    const uint32_t count = dgo_profiler_count(profiler);
    struct table *table = table_new();

    table_column(table, "gpu", true);
    table_column(table, "pid", true);
    table_column(table, "process", false);
    table_column(table, "MiB", true);
    table_column(table, "over time", false);
    table_column(table, "verdict", false);
    table_column(table, "pattern", false);
    table_column(table, "MiB/h", true);
    table_column(table, "full in", false);
    for (uint32_t i = 0; i < count && i < SERIES_SHOWN_MAX; i++)
        add_row(table, profiler, i);
    table_print(table);
    if (count > SERIES_SHOWN_MAX)
        printf("and %u more series; --json has them all\n", count - SERIES_SHOWN_MAX);
}

static void print_who(uint32_t gpu_index, uint32_t pid, const char *name)
{
    printf("GPU %u", gpu_index);
    if (pid)
        printf(", process %u%s%s%s", pid, name[0] ? " (" : "", name, name[0] ? ")" : "");
}

static void print_evidence(const struct dgo_profiler *profiler)
{
    uint32_t shown = 0;

    for (uint32_t i = 0; i < dgo_profiler_count(profiler) && shown < SERIES_SHOWN_MAX; i++) {
        const struct dgo_series_report *report = dgo_profiler_report(profiler, i);

        if (report->trend.verdict == DGO_VERDICT_STEADY)
            continue;
        printf("\n");
        print_who(report->gpu_index, report->pid, report->name);
        printf(": %s\n  %s\n", dgo_verdict_name(report->trend.verdict), report->trend.evidence);
        for (uint32_t e = 0; e < report->episode_count; e++)
            printf("  %s since %.0f s%s\n", dgo_verdict_name(report->episode[e].worst),
                   report->episode[e].began_s, isnan(report->episode[e].ended_s) ? "" : ", over");
        shown++;
    }
}

static void print_changes(const struct dgo_profiler *profiler)
{
    static struct dgo_change_report change[CHANGES_SHOWN_MAX];
    const uint32_t count = dgo_profiler_changes(profiler, change, CHANGES_SHOWN_MAX);

    if (count)
        printf("\nThe largest lasting changes:\n");
    for (uint32_t i = 0; i < count; i++) {
        printf("  at %.0f s %+.0f MiB on ", change[i].seconds, change[i].delta_mib);
        print_who(change[i].gpu_index, change[i].pid, change[i].name);
        if (change[i].gpu_count > 1)
            printf(", on %u cards at once", change[i].gpu_count);
        printf("\n");
    }
}

void print_worth(const struct dgo_worth *worth, double mib)
{
    if (worth->token_bytes)
        printf(", %.0f tokens of KV cache", dgo_worth_tokens(worth, mib));
    if (worth->layer_bytes)
        printf("%s%.1f layers", worth->token_bytes ? " or " : ", ", dgo_worth_layers(worth, mib));
}

static void print_freeable_row(const struct dgo_freeable *row, const struct dgo_worth *worth)
{
    printf("  %.1f MiB on ", row->used_mib);
    print_who(row->gpu_index, row->pid, row->name);
    printf(", %s", row->role_known ? dgo_process_role_name(row->role) : "what it is is not known");
    print_worth(worth, row->used_mib);
    printf("\n");
}

static void print_freeable(const struct dgo_profiler *profiler, const struct dgo_worth *worth)
{
    static struct dgo_snapshot snapshot;
    static struct dgo_freeable row[DGO_SNAPSHOT_ENTRY_MAX];
    uint32_t count;
    double sum_mib;

    dgo_snapshot_take(profiler, 0, &snapshot);
    count = dgo_freeable_find(&snapshot, row, DGO_SNAPSHOT_ENTRY_MAX);
    sum_mib = dgo_freeable_sum(row, count);
    if (count)
        printf("\nWhat could be freed, of processes that are no engine:\n");
    for (uint32_t i = 0; i < count && i < FREEABLE_SHOWN_MAX; i++)
        print_freeable_row(&row[i], worth);
    if (count > FREEABLE_SHOWN_MAX)
        printf("  and %u smaller ones; --json has them all\n", count - FREEABLE_SHOWN_MAX);
    if (sum_mib > 0 && count > 1) {
        printf("  %.1f MiB together", sum_mib);
        print_worth(worth, sum_mib);
        printf("%s\n", row[count - 1].role_known ? "" : ", without those that are not known");
    }
}

void print_profile(const struct dgo_profiler *profiler, const struct dgo_worth *worth)
{
    const struct dgo_mark *mark;
    const uint32_t marks = dgo_profiler_marks(profiler, &mark);
    const double imbalance = dgo_profiler_imbalance(profiler);

    print_series(profiler);
    print_evidence(profiler);
    print_changes(profiler);
    print_freeable(profiler, worth);
    if (!isnan(imbalance))
        printf("\nImbalance of the cards: %.0f %% of their memory\n", imbalance * 100);
    for (uint32_t i = 0; i < marks; i++)
        printf("  mark at %.0f s: %s\n", mark[i].seconds, mark[i].text);
}
