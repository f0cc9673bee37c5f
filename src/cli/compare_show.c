/* compare_show.c - a difference as a table with a sentence, and as JSON. */
#include "compare_show.h"

#include "print.h"
#include "view.h"
#include "view_profile.h"

#include <math.h>
#include <stdio.h>

static const char *const kind_names[] = {"changed", "appeared", "disappeared"};

/* ---- for programs ----------------------------------------------------------------------- */

/* What a card's change is more than those of its processes: the driver's, the display's, or that
 * of processes that the driver does not tell.  NAN where no process was told of at all. */
static double unattributed_mib(const struct dgo_difference *difference,
                               const struct dgo_difference_row *card)
{
    double mib = card->delta_mib;
    bool told = false;

    for (uint32_t i = 0; i < difference->count; i++) {
        const struct dgo_difference_row *row = &difference->row[i];

        told |= row->pid != 0;
        if (row->pid && row->gpu_index == card->gpu_index)
            mib -= row->delta_mib;
    }
    return told ? mib : NAN;
}

static json_t *view_row(const struct dgo_difference *difference,
                        const struct dgo_difference_row *row, const struct dgo_worth *worth)
{
    json_t *view = json_pack(
        "{s:s, s:I, s:o, s:f, s:f, s:f, s:[f, f], s:f, s:b}", "kind", kind_names[row->kind], "gpu",
        (json_int_t)row->gpu_index, "pid",
        row->pid ? json_integer((json_int_t)row->pid) : json_null(), "before_mib", row->before_mib,
        "after_mib", row->after_mib, "delta_mib", row->delta_mib, "delta_interval", row->low_mib,
        row->high_mib, "floor_mib", row->floor_mib, "measurable", (int)row->measurable);

    if (view && row->name[0])
        json_object_set_new(view, "name", view_text(row->name));
    if (view && row->pid == 0 && !isnan(unattributed_mib(difference, row)))
        json_object_set_new(view, "unattributed_delta_mib",
                            json_real(unattributed_mib(difference, row)));
    view_add_worth(view, worth, row->delta_mib);
    return view;
}

static json_t *view_unsteady(const struct compare_unsteady *one)
{
    json_t *view =
        json_pack("{s:I, s:s, s:I, s:o, s:f}", "repeat", (json_int_t)one->repeat + 1, "at",
                  one->after ? "after" : "before", "gpu", (json_int_t)one->who.gpu_index, "pid",
                  one->who.pid ? json_integer((json_int_t)one->who.pid) : json_null(), "moved_mib",
                  one->who.moved_mib);

    if (view && one->who.name[0])
        json_object_set_new(view, "name", view_text(one->who.name));
    return view;
}

static void add_live(json_t *view, const struct compare_live *live)
{
    json_t *unsteady = json_array();

    for (uint32_t i = 0; i < live->unsteady_count; i++)
        json_array_append_new(unsteady, view_unsteady(&live->unsteady[i]));
    json_object_update_new(view, json_pack("{s:b, s:s, s:f, s:o}", "simulated",
                                           (int)live->origin.simulated, "source",
                                           live->daemon ? "daemon" : "driver", "still_seconds",
                                           live->still_s, "unsteady", unsteady));
    view_add_recorded(view, &live->origin);
}

json_t *compare_view(const struct dgo_difference *difference, const struct dgo_worth *worth,
                     const struct compare_live *live)
{
    json_t *rows = json_array(), *unread = json_array(), *view;

    for (uint32_t i = 0; i < difference->count; i++)
        json_array_append_new(rows, view_row(difference, &difference->row[i], worth));
    for (uint32_t i = 0; i < difference->unread_count; i++)
        json_array_append_new(unread, json_integer((json_int_t)difference->unread[i]));
    view = json_pack("{s:s, s:I, s:f, s:[f, f], s:f, s:b, s:o, s:o}", "schema",
                     "dualgpuopt.difference/1", "repeats", (json_int_t)difference->repeat_count,
                     "total_mib", difference->total_mib, "total_interval",
                     difference->total_low_mib, difference->total_high_mib, "total_floor_mib",
                     difference->total_floor_mib, "total_measurable",
                     (int)difference->total_measurable, "unread_gpus", unread, "rows", rows);
    view_add_worth(view, worth, difference->total_mib);
    if (view && live)
        add_live(view, live);
    return view;
}

/* ---- for people ------------------------------------------------------------------------- */

static void add_row(struct table *table, const struct dgo_difference_row *row)
{
    table_cell(table, "%u", row->gpu_index);
    if (row->pid)
        table_cell(table, "%u", row->pid);
    else
        table_cell(table, "card");
    table_cell(table, "%s", row->name);
    table_cell(table, "%.1f", row->before_mib);
    table_cell(table, "%.1f", row->after_mib);
    if (!row->measurable)
        table_cell(table, "%s", "no measurable change");
    else if (row->low_mib < row->high_mib)
        table_cell(table, "%+.1f (%+.1f to %+.1f)", row->delta_mib, row->low_mib, row->high_mib);
    else
        table_cell(table, "%+.1f", row->delta_mib);
    table_cell(table, "%s", row->kind == DGO_CHANGED ? "" : kind_names[row->kind]);
    table_cell(table, "%.1f", row->floor_mib);
}

static void print_unattributed(const struct dgo_difference *difference)
{
    for (uint32_t i = 0; i < difference->count; i++) {
        const struct dgo_difference_row *row = &difference->row[i];
        const double mib = row->pid ? 0 : unattributed_mib(difference, row);

        if (fabs(mib) > row->floor_mib)
            printf("GPU %u: %+.1f MiB of it are no process's\n", row->gpu_index, mib);
    }
}

static void print_total(const struct dgo_difference *difference, const struct dgo_worth *worth)
{
    const double mib = fabs(difference->total_mib);
    const double a = fabs(difference->total_low_mib), b = fabs(difference->total_high_mib);

    if (!difference->total_measurable) {
        printf("no measurable change over the cards: %+.1f MiB, the noise is %.1f\n",
               difference->total_mib, difference->total_floor_mib);
        return;
    }
    printf("%.1f MiB %s over the cards", mib, difference->total_mib < 0 ? "freed" : "taken");
    if (difference->repeat_count > 1)
        printf(" (%.1f to %.1f in %u repeats; the noise is %.1f)", fmin(a, b), fmax(a, b),
               difference->repeat_count, difference->total_floor_mib);
    else
        printf(" (give or take %.1f, the noise)", difference->total_floor_mib);
    print_worth(worth, mib);
    printf("%s\n",
           difference->repeat_count < 3 ? "; repeat it three times before you rely on it" : "");
}

void compare_print(const struct dgo_difference *difference, const struct dgo_worth *worth,
                   const struct compare_live *live)
{
    struct table *table = table_new();
    char origin[DGO_ORIGIN_TEXT_MAX];

    if (live && dgo_origin_text(&live->origin, origin)[0])
        printf("%s: these readings come from a file\n", origin);
    table_column(table, "gpu", true);
    table_column(table, "pid", true);
    table_column(table, "process", false);
    table_column(table, "before MiB", true);
    table_column(table, "after MiB", true);
    table_column(table, "change", false);
    table_column(table, "", false);
    table_column(table, "noise", true);
    for (uint32_t i = 0; i < difference->count; i++)
        add_row(table, &difference->row[i]);
    table_print(table);
    printf("\n");
    print_unattributed(difference);
    print_total(difference, worth);
    for (uint32_t i = 0; i < difference->unread_count; i++)
        printf("GPU %u could be read at one end only: nothing is said of it\n",
               difference->unread[i]);
}

static void print_moved(uint32_t g, const char *what, double before_mib, double after_mib)
{
    enum { LEAST_MIB = 2 };

    if (fabs(after_mib - before_mib) > LEAST_MIB) /* of NAN false */
        printf("GPU %u: %s %.1f MiB before, %.1f after\n", g, what, before_mib, after_mib);
}

void compare_print_cards(const struct dgo_snapshot *before, const struct dgo_snapshot *after)
{
    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++) {
        const struct dgo_card_state *a = &before->card[g], *b = &after->card[g];

        print_moved(g, "reserved by the driver", a->reserved_mib, b->reserved_mib);
        print_moved(g, "window to the host (BAR1) in use", a->bar1_used_mib, b->bar1_used_mib);
        if (a->drives_display >= 0 && b->drives_display >= 0 &&
            a->drives_display != b->drives_display)
            printf("GPU %u: it %s\n", g,
                   b->drives_display ? "drives a display now" : "drives no display any more");
    }
}
