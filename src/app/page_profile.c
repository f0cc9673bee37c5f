/* page_profile.c - what the profiler found as one HTML file: no script, nothing fetched. */
#include "picture_profile.h"

#include "dgo_app.h"
#include "dgo_svg.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <math.h>

enum { SERIES_SHOWN_MAX = 2000 };

struct page {
    struct dgo_text *out;
    const struct dgo_profiler *profiler;
    const struct dgo_worth *worth; /* may be NULL */
    const struct profile_file_stats *stats;
};

/* The policy holds even where a name from outside should get past the escaping: nothing runs,
 * nothing is fetched. */
static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" "
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<title>Memory report</title>\n<style>\n"
    ":root{color-scheme:light dark;--ink:#1c1c1c;--pale:#5f5f5f;--page:#fff;--rule:#d4d4d4;"
    "--bad:#b00020;--warn:#8a5a00}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#ededed;--pale:#a6a6a6;--page:#151515;"
    "--rule:#3c3c3c;--bad:#ff6b7d;--warn:#f0b536}}\n"
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,sans-serif}\n"
    "main{max-width:1100px;margin:0 auto;padding:16px}\nh1{font-size:24px}h2{font-size:18px;"
    "margin-top:32px}\n.wide{overflow-x:auto}\n"
    "table{border-collapse:collapse}caption{text-align:left;color:var(--pale)}\n"
    "th,td{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-bottom:1px solid "
    "var(--rule)}\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.pale{color:var(--"
    "pale)}\n"
    ".growing{color:var(--warn);font-weight:600}.suspected_leak,.confirmed_leak{color:var(--bad);"
    "font-weight:600}\n"
    ".origin{border:2px solid var(--warn);padding:6px 10px;font-weight:600}\n"
    "@media print{main{max-width:none}}\n"
    "</style>\n</head>\n<body>\n<main>\n";

/* ---- cells ------------------------------------------------------------------------------ */

static void add_cell(struct page *page, const char *class, const char *text)
{
    dgo_text_addf(page->out, "<td class=\"%s\">", class);
    dgo_svg_escape(page->out, text);
    dgo_text_add(page->out, "</td>");
}

/* NAN is unknown: an empty cell. */
static void add_number(struct page *page, double value)
{
    dgo_text_add(page->out, "<td class=\"n\">");
    if (isfinite(value))
        dgo_text_addf(page->out, "%.1f", value);
    dgo_text_add(page->out, "</td>");
}

static void add_change(struct page *page, double value)
{
    dgo_text_add(page->out, "<td class=\"n\">");
    if (isfinite(value))
        dgo_text_addf(page->out, "%+.1f", value);
    dgo_text_add(page->out, "</td>");
}

static void add_count(struct page *page, uint32_t number)
{
    dgo_text_addf(page->out, "<td class=\"n\">%" PRIu32 "</td>", number);
}

/* Whose it is: card, process and name. */
static void add_who(struct page *page, uint32_t gpu_index, uint32_t pid, const char *name)
{
    add_count(page, gpu_index);
    if (pid)
        add_count(page, pid);
    else
        add_cell(page, "pale", "card");
    add_cell(page, "", name);
}

static void add_head(struct page *page, const char *title, const char *caption,
                     const char *const *column, size_t count)
{
    dgo_text_addf(page->out, "<h2>%s</h2>\n<div class=\"wide\"><table>\n<caption>%s</caption>\n",
                  title, caption);
    dgo_text_add(page->out, "<thead><tr>");
    for (size_t i = 0; i < count; i++)
        dgo_text_addf(page->out, "<th scope=\"col\">%s</th>", column[i]);
    dgo_text_add(page->out, "</tr></thead>\n<tbody>\n");
}

static void add_foot(struct page *page)
{
    dgo_text_add(page->out, "</tbody></table></div>\n");
}

/* ---- series ----------------------------------------------------------------------------- */

static void add_full(struct page *page, const struct dgo_trend *trend)
{
    char words[DGO_UNIT_TEXT_MAX];

    if (!trend->time_to_full_known || !(trend->seconds_to_full < 3650.0 * 86400))
        add_cell(page, "n", "");
    else
        add_cell(page, "n",
                 dgo_duration_text((uint64_t)(fmax(0, trend->seconds_to_full) * 1e9), words));
}

static void add_evidence(struct page *page, const struct dgo_series_report *report)
{
    dgo_text_add(page->out, "<td>");
    dgo_svg_escape(page->out, report->trend.evidence);
    for (uint32_t e = 0; e < report->episode_count; e++)
        dgo_text_addf(page->out, "<br><span class=\"pale\">%s since %.0f s%s</span>",
                      dgo_verdict_name(report->episode[e].worst), report->episode[e].began_s,
                      isnan(report->episode[e].ended_s) ? "" : ", over");
    dgo_text_add(page->out, "</td>");
}

static void add_series(struct page *page)
{
    static const char *const columns[] = {"GPU",     "pid",   "process", "MiB",     "verdict",
                                          "pattern", "MiB/h", "full in", "evidence"};
    const uint32_t count = dgo_profiler_count(page->profiler);

    add_head(page, "Verdicts", "Each card and process; MiB is what it held at the end", columns,
             sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < count && i < SERIES_SHOWN_MAX; i++) {
        const struct dgo_series_report *report = dgo_profiler_report(page->profiler, i);
        const char *verdict = dgo_verdict_name(report->trend.verdict);

        dgo_text_add(page->out, "<tr>");
        add_who(page, report->gpu_index, report->pid, report->name);
        add_number(page, report->stats.last_mib);
        add_cell(page, verdict, verdict);
        add_cell(page, "", dgo_pattern_name(report->trend.pattern));
        add_change(page, report->trend.slope_known ? report->trend.slope_mib_per_hour : NAN);
        add_full(page, &report->trend);
        add_evidence(page, report);
        dgo_text_add(page->out, "</tr>\n");
    }
    add_foot(page);
    if (count > SERIES_SHOWN_MAX)
        dgo_text_addf(page->out, "<p>and %" PRIu32 " more series</p>\n", count - SERIES_SHOWN_MAX);
}

/* ---- changes, what could be freed, marks ------------------------------------------------ */

static void add_changes(struct page *page)
{
    static const char *const columns[] = {"seconds", "MiB", "GPU",  "pid",
                                          "process", "how", "cards"};
    struct dgo_change_report change[DGO_PROFILER_CHANGE_MAX];
    const uint32_t count = dgo_profiler_changes(page->profiler, change, DGO_PROFILER_CHANGE_MAX);

    if (count == 0)
        return;
    add_head(page, "Lasting changes", "When a level changed, and the process that caused it",
             columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < count; i++) {
        dgo_text_add(page->out, "<tr>");
        add_number(page, change[i].seconds);
        add_change(page, change[i].delta_mib);
        add_who(page, change[i].gpu_index, change[i].pid,
                change[i].command[0] ? change[i].command : change[i].name);
        add_cell(page, "", change[i].pid ? dgo_change_how_name(change[i].how) : "");
        add_count(page, change[i].gpu_count);
        dgo_text_add(page->out, "</tr>\n");
    }
    add_foot(page);
}

static void add_freeable_row(struct page *page, const struct dgo_freeable *row)
{
    const bool worth = page->worth != NULL;

    dgo_text_add(page->out, "<tr>");
    add_who(page, row->gpu_index, row->pid, row->name);
    add_cell(page, row->role_known ? "" : "pale",
             row->role_known ? dgo_process_role_name(row->role) : "not known");
    add_number(page, row->used_mib);
    add_number(page, worth ? dgo_worth_tokens(page->worth, row->used_mib) : NAN);
    add_number(page, worth ? dgo_worth_layers(page->worth, row->used_mib) : NAN);
    dgo_text_add(page->out, "</tr>\n");
}

static void add_freeable(struct page *page)
{
    static const char *const columns[] = {"GPU", "pid",       "process", "role",
                                          "MiB", "KV tokens", "layers"};
    struct dgo_snapshot snapshot;
    struct dgo_freeable row[DGO_SNAPSHOT_ENTRY_MAX];
    uint32_t count;

    dgo_snapshot_now(page->profiler, &snapshot);
    count = dgo_freeable_find(&snapshot, row, DGO_SNAPSHOT_ENTRY_MAX);
    if (count == 0)
        return;
    add_head(page, "What could be freed",
             "Processes that are no engine and hold memory at the end; tokens of KV cache and "
             "layers are those of the model, where one was named",
             columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < count; i++)
        add_freeable_row(page, &row[i]);
    add_foot(page);
}

static void add_marks(struct page *page)
{
    static const char *const columns[] = {"seconds", "mark"};
    const struct dgo_mark *mark;
    const uint32_t count = dgo_profiler_marks(page->profiler, &mark);

    if (count == 0)
        return;
    add_head(page, "Marks", "What the user said while it was recorded", columns,
             sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < count; i++) {
        dgo_text_add(page->out, "<tr>");
        add_number(page, mark[i].seconds);
        add_cell(page, "", mark[i].text);
        dgo_text_add(page->out, "</tr>\n");
    }
    add_foot(page);
}

static void add_problems(struct page *page)
{
    if (page->stats->bad_lines == 0)
        return;
    dgo_text_addf(page->out, "<h2>Left out</h2>\n<p>%" PRIu64 " lines could not be read.</p>\n<ul>",
                  page->stats->bad_lines);
    for (uint32_t i = 0; i < page->stats->problem_count; i++) {
        dgo_text_add(page->out, "<li>");
        dgo_svg_escape(page->out, page->stats->problem[i]);
        dgo_text_add(page->out, "</li>");
    }
    dgo_text_add(page->out, "</ul>\n");
}

/* ---- the whole -------------------------------------------------------------------------- */

static enum dgo_status job_write(void *data)
{
    struct page *page = data;

    add_series(page);
    add_changes(page);
    add_freeable(page);
    add_marks(page);
    add_problems(page);
    dgo_text_add(page->out, "</main>\n</body>\n</html>\n");
    return DGO_OK;
}

bool page_profile(const struct dgo_profiler *profiler, const struct dgo_worth *worth,
                  const struct profile_file_stats *stats, const char *source, struct dgo_text *out)
{
    struct page page = {.out = out, .profiler = profiler, .worth = worth, .stats = stats};
    char origin[DGO_ORIGIN_TEXT_MAX];

    dgo_text_add(out, head);
    dgo_text_add(out, "<h1>Memory report</h1>\n");
    if (dgo_origin_text(&stats->origin, origin)[0])
        dgo_text_addf(out, "<p class=\"origin\">%s: these readings come from a recording</p>\n",
                      origin);
    dgo_text_add(out, "<p class=\"pale\">");
    dgo_svg_escape(out, source);
    dgo_text_addf(out, ", %" PRIu64 " readings</p>\n<div class=\"wide\">\n", stats->readings);
    if (!picture_profile(profiler, stats, out))
        return false;
    dgo_text_add(out, "</div>\n");
    return app_run(COMPONENT_VIEW_FORMATTING, job_write, &page) == DGO_OK && !out->truncated;
}
