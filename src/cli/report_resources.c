/* report_resources.c - phases as a table, as Markdown, and as two pictures. */
#include "report_resources.h"

#include "dgo_svg.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "print.h"
#include "view.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURE_BYTES = 64 << 10, REPORT_BYTES = 64 << 10 };

static uint64_t count_of(const json_t *object, const char *key)
{
    const json_int_t count = json_integer_value(json_object_get(object, key));

    return count > 0 ? (uint64_t)count : 0;
}

static double real_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static bool is_managed(const json_t *phase)
{
    return json_is_true(json_object_get(phase, "managed"));
}

static const char *time_of(const json_t *times, const char *key, char text[DGO_UNIT_TEXT_MAX])
{
    if (!json_object_get(times, key))
        return "-";
    return dgo_duration_text(count_of(times, key), text);
}

static const char *bytes_of(const json_t *object, const char *key, char text[DGO_UNIT_TEXT_MAX])
{
    if (!json_object_get(object, key))
        return "unknown";
    return dgo_bytes_text(count_of(object, key), text);
}

/* The engine's speed beside a phase, of what it does alone; NAN unknown. */
static double kept(const json_t *figures, const json_t *phase)
{
    const double alone = real_of(figures, "tokens_per_second_alone");

    if (alone <= 0 || !json_object_get(phase, "tokens_per_second"))
        return NAN;
    return real_of(phase, "tokens_per_second") / alone;
}

static const char *percent(double part, char text[24])
{
    if (isnan(part))
        return "-";
    snprintf(text, 24, "%.1f %%", part * 100);
    return text;
}

/* ---- the table ---- */

void report_resources_print(const json_t *figures)
{
    static const char *const titles[] = {"load", "manager",  "asked",       "refused",
                                         "p50",  "p99",      "worst",       "CPU",
                                         "RSS",  "own VRAM", "engine keeps"};
    struct table *table = table_new();
    const json_t *phases = json_object_get(figures, "phases");

    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_column(table, titles[i], i != 1);
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        const json_t *all = json_object_get(phase, "completion");
        char p50[DGO_UNIT_TEXT_MAX], p99[DGO_UNIT_TEXT_MAX], worst[DGO_UNIT_TEXT_MAX],
            rss[DGO_UNIT_TEXT_MAX], vram[DGO_UNIT_TEXT_MAX], part[24];

        table_cell(table, "%.0f %%", (double)count_of(phase, "load_permille") / 10);
        table_cell(table, "%s", is_managed(phase) ? "with" : "without");
        table_cell(table, "%" PRIu64, count_of(phase, "offered"));
        table_cell(table, "%" PRIu64, count_of(phase, "refused"));
        table_cell(table, "%s", time_of(all, "p50_ns", p50));
        table_cell(table, "%s", time_of(all, "p99_ns", p99));
        table_cell(table, "%s", time_of(all, "worst_ns", worst));
        table_cell(table, "%.1f %%", (double)count_of(phase, "cpu_permille") / 10);
        table_cell(table, "%s", bytes_of(phase, "rss_bytes", rss));
        table_cell(table, "%s", bytes_of(phase, "own_vram_bytes", vram));
        table_cell(table, "%s", percent(kept(figures, phase), part));
    }
    table_print(table);
}

/* ---- pictures ---- */

/* A pair of bars for each load: without and with the manager. */
static void draw_pairs(struct dgo_svg *svg, const json_t *figures,
                       double (*value)(const json_t *figures, const json_t *phase), double most,
                       const char *(*label)(double value, char text[DGO_UNIT_TEXT_MAX]))
{
    const json_t *phases = json_object_get(figures, "phases");

    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        const double y = 60 + (double)i * 26 + (double)(i / 2) * 14;
        const double length = value(figures, phase);
        char text[DGO_UNIT_TEXT_MAX], load[32];

        if (i % 2 == 0) {
            snprintf(load, sizeof load, "%.0f %% of a CPU",
                     (double)count_of(phase, "load_permille") / 10);
            dgo_svg_text(svg, 120, y + 29, DGO_SVG_END, DGO_SVG_PLAIN, load);
        }
        if (isnan(length)) {
            dgo_svg_text(svg, 134, y + 16, DGO_SVG_START, DGO_SVG_MUTED, "unknown");
            continue;
        }
        dgo_svg_rect(svg, 130, y, most > 0 ? 430 * length / most : 0, 20,
                     i % 2 ? DGO_SVG_SERIES_1 : DGO_SVG_SERIES_2,
                     i % 2 ? "with the manager" : "without it");
        dgo_svg_text(svg, 136 + (most > 0 ? 430 * length / most : 0), y + 15, DGO_SVG_START,
                     DGO_SVG_PLAIN, label(length, text));
    }
}

static double p99_of(const json_t *figures, const json_t *phase)
{
    const json_t *all = json_object_get(phase, "completion");

    (void)figures;
    return json_object_get(all, "p99_ns") ? (double)count_of(all, "p99_ns") : NAN;
}

static const char *label_time(double value, char text[DGO_UNIT_TEXT_MAX])
{
    return dgo_duration_text((uint64_t)value, text);
}

static const char *label_part(double value, char text[DGO_UNIT_TEXT_MAX])
{
    snprintf(text, DGO_UNIT_TEXT_MAX, "%.1f %%", value * 100);
    return text;
}

static double greatest(const json_t *figures,
                       double (*value)(const json_t *figures, const json_t *phase))
{
    const json_t *phases = json_object_get(figures, "phases");
    double most = 0;

    for (size_t i = 0; i < json_array_size(phases); i++)
        most = fmax(most, value(figures, json_array_get(phases, i))); /* fmax leaves NAN out */
    return most;
}

static bool draw(struct dgo_text *out, const json_t *figures, const char *title,
                 const char *description,
                 double (*value)(const json_t *figures, const json_t *phase),
                 const char *(*label)(double value, char text[DGO_UNIT_TEXT_MAX]))
{
    struct dgo_svg svg;

    dgo_svg_begin(&svg, out, 680, 270, title, description);
    dgo_svg_text(&svg, 10, 22, DGO_SVG_START, DGO_SVG_STRONG, title);
    dgo_svg_rect(&svg, 130, 32, 12, 12, DGO_SVG_SERIES_2, NULL);
    dgo_svg_text(&svg, 147, 43, DGO_SVG_START, DGO_SVG_PLAIN, "without the manager");
    dgo_svg_rect(&svg, 300, 32, 12, 12, DGO_SVG_SERIES_1, NULL);
    dgo_svg_text(&svg, 317, 43, DGO_SVG_START, DGO_SVG_PLAIN, "with it");
    draw_pairs(&svg, figures, value, greatest(figures, value), label);
    return dgo_svg_end(&svg);
}

/* ---- the report ---- */

static void add_phases(struct dgo_text *out, const json_t *figures)
{
    const json_t *phases = json_object_get(figures, "phases");

    dgo_text_add(
        out, "| load | manager | asked | refused | failed | p50 | p99 | worst | CPU | RSS | own "
             "VRAM | VRAM of all | engine tokens/s | engine keeps |\n"
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        const json_t *all = json_object_get(phase, "completion");
        char p50[DGO_UNIT_TEXT_MAX], p99[DGO_UNIT_TEXT_MAX], worst[DGO_UNIT_TEXT_MAX],
            rss[DGO_UNIT_TEXT_MAX], own[DGO_UNIT_TEXT_MAX], vram[DGO_UNIT_TEXT_MAX], part[24];

        dgo_text_addf(out,
                      "| %.0f %% | %s | %" PRIu64 " | %" PRIu64 " | %" PRIu64
                      " | %s | %s | %s | %.1f %% | %s | %s | %s | ",
                      (double)count_of(phase, "load_permille") / 10,
                      is_managed(phase) ? "with" : "without", count_of(phase, "offered"),
                      count_of(phase, "refused"), count_of(phase, "failed"),
                      time_of(all, "p50_ns", p50), time_of(all, "p99_ns", p99),
                      time_of(all, "worst_ns", worst), (double)count_of(phase, "cpu_permille") / 10,
                      bytes_of(phase, "rss_bytes", rss), bytes_of(phase, "own_vram_bytes", own),
                      bytes_of(phase, "vram_used_bytes", vram));
        if (json_object_get(phase, "tokens_per_second"))
            dgo_text_addf(out, "%.1f | %s |\n", real_of(phase, "tokens_per_second"),
                          percent(kept(figures, phase), part));
        else
            dgo_text_add(out, "- | - |\n");
    }
}

static void add_components(struct dgo_text *out, const json_t *figures)
{
    const json_t *phases = json_object_get(figures, "phases");
    const json_t *first = json_object_get(json_array_get(phases, 0), "components");
    void *iterator = json_object_iter((json_t *)(uintptr_t)first);

    dgo_text_add(out, "| component |");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);

        dgo_text_addf(out, " %.0f %%, %s |", (double)count_of(phase, "load_permille") / 10,
                      is_managed(phase) ? "with" : "without");
    }
    dgo_text_add(out, "\n|---|");
    for (size_t i = 0; i < json_array_size(phases); i++)
        dgo_text_add(out, "---|");
    dgo_text_add(out, "\n");
    for (; iterator; iterator = json_object_iter_next((json_t *)(uintptr_t)first, iterator)) {
        const char *name = json_object_iter_key(iterator);

        dgo_text_addf(out, "| %s |", name);
        for (size_t i = 0; i < json_array_size(phases); i++) {
            const json_t *times =
                json_object_get(json_object_get(json_array_get(phases, i), "components"), name);
            char p50[DGO_UNIT_TEXT_MAX], p99[DGO_UNIT_TEXT_MAX];

            dgo_text_addf(out, " %s / %s |", time_of(times, "p50_ns", p50),
                          time_of(times, "p99_ns", p99));
        }
        dgo_text_add(out, "\n");
    }
}

static void add_report(struct dgo_text *out, const json_t *figures, const char *completion,
                       const char *engine)
{
    char length[DGO_UNIT_TEXT_MAX], mix[DGO_UNIT_TEXT_MAX], before[DGO_UNIT_TEXT_MAX];
    char origin[DGO_ORIGIN_TEXT_MAX];
    struct dgo_origin from;

    dgo_text_add(out, "# What the resource manager is worth\n\n");
    view_read_origin(figures, &from);
    if (dgo_origin_text(&from, origin)[0])
        dgo_text_addf(out, "**%s**: the GPUs come from a file.\n\n", origin);
    dgo_text_addf(out,
                  "One recorded workload of real components, asked for at the same moments by one "
                  "thread that does everything itself (without) and through the resource manager "
                  "(with). %" PRIu64 " CPUs, %s a phase; a piece of the mix takes %s alone.\n\n",
                  count_of(figures, "cpus"),
                  dgo_duration_text(count_of(figures, "phase_ns"), length),
                  dgo_duration_text(count_of(figures, "mix_cost_ns"), mix));
    if (json_is_true(json_object_get(figures, "engine")))
        dgo_text_addf(out,
                      "Beside it a real engine answers requests; alone it makes %.1f tokens/s.\n\n",
                      real_of(figures, "tokens_per_second_alone"));
    else
        dgo_text_add(out, "No engine ran beside it.\n\n");
    if (json_object_get(figures, "vram_used_before_bytes"))
        dgo_text_addf(out, "VRAM used on all cards before: %s.\n\n",
                      bytes_of(figures, "vram_used_before_bytes", before));
    add_phases(out, figures);
    dgo_text_addf(out, "\n![completion times](%s)\n\n![the engine's speed](%s)\n\n", completion,
                  engine);
    dgo_text_add(out, "## Completion times by component (p50 / p99, from due to done)\n\n");
    add_components(out, figures);
}

static enum dgo_status write_file(const char *path, const struct dgo_text *text,
                                  struct dgo_error *err)
{
    FILE *file = fopen(path, "we");
    bool is_written;

    if (!file)
        return dgo_fail_errno(err, DGO_EIO, errno, "\"%s\" cannot be written", path);
    is_written = fwrite(text->data, 1, text->length, file) == text->length;
    if (fclose(file) != 0 || !is_written)
        return dgo_fail_errno(err, DGO_EIO, errno, "\"%s\" cannot be written", path);
    return DGO_OK;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static enum dgo_status write_picture(const char *path, const json_t *figures, bool engine,
                                     struct dgo_error *err)
{
    static char data[PICTURE_BYTES];
    struct dgo_text out = DGO_TEXT(data);
    const bool is_whole =
        engine ? draw(&out, figures, "The engine's speed beside it",
                      "Part of its tokens per second that a real engine keeps at each load.", kept,
                      label_part)
               : draw(&out, figures, "99 of 100 are done within",
                      "Time from due to done that 99 of 100 pieces of work keep, at each load.",
                      p99_of, label_time);

    if (!is_whole)
        return dgo_fail(err, DGO_ELIMIT, "the picture is larger than %d bytes", PICTURE_BYTES);
    return write_file(path, &out, err);
}

enum dgo_status report_resources_write(const char *path, const json_t *figures,
                                       struct dgo_error *err)
{
    static char data[REPORT_BYTES];
    struct dgo_text out = DGO_TEXT(data);
    char completion[PATH_MAX], engine[PATH_MAX];
    const size_t length = strlen(path);
    const size_t stem = length > 3 && strcmp(path + length - 3, ".md") == 0 ? length - 3 : length;
    enum dgo_status status;

    if (length + sizeof "-completion.svg" > sizeof completion)
        return dgo_fail(err, DGO_EINVAL, "the name of the report is too long");
    snprintf(completion, sizeof completion, "%.*s-completion.svg", (int)stem, path);
    snprintf(engine, sizeof engine, "%.*s-engine.svg", (int)stem, path);
    add_report(&out, figures, name_of(completion), name_of(engine));
    if (out.truncated)
        return dgo_fail(err, DGO_ELIMIT, "the report is larger than %d bytes", REPORT_BYTES);
    status = write_picture(completion, figures, false, err);
    if (status == DGO_OK)
        status = write_picture(engine, figures, true, err);
    return status == DGO_OK ? write_file(path, &out, err) : status;
}
