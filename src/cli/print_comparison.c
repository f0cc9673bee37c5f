/* print_comparison.c - plan against measured for people. */
#include "print.h"

#include "dgo_units.h"

#include <stdio.h>

static void compared_cells(struct table *table, const struct dgo_compared *compared)
{
    char text[DGO_UNIT_TEXT_MAX];

    table_cell(table, "%s", dgo_mib_text(compared->planned_bytes, text));
    if (!compared->known)
        table_cell(table, "%s", compared->planned_bytes ? "not logged" : "-");
    else
        table_cell(table, "%s %s", dgo_mib_text(compared->measured_bytes, text),
                   compared->equal                                      ? "="
                   : compared->measured_bytes > compared->planned_bytes ? ">"
                                                                        : "<");
}

static bool any_overhead(const struct dgo_comparison *comparison)
{
    for (uint32_t i = 0; i < comparison->row_count; i++)
        if (comparison->row[i].overhead.known)
            return true;
    return false;
}

static void overhead_cells(struct table *table, const struct dgo_compared *overhead)
{
    char text[DGO_UNIT_TEXT_MAX];

    if (overhead->known) {
        table_cell(table, "%s", dgo_mib_text(overhead->planned_bytes, text));
        table_cell(table, "%s", dgo_mib_text(overhead->measured_bytes, text));
    } else {
        table_cell(table, "-");
        table_cell(table, "-");
    }
}

void print_comparison(const struct dgo_comparison *comparison)
{
    const bool overhead = any_overhead(comparison);
    struct table *table = table_new();

    table_column(table, "device", false);
    table_column(table, "weights", true);
    table_column(table, "measured", true);
    table_column(table, "context", true);
    table_column(table, "measured", true);
    table_column(table, "compute", true);
    table_column(table, "measured", true);
    if (overhead) {
        table_column(table, "overhead", true);
        table_column(table, "measured", true);
    }
    for (uint32_t i = 0; i < comparison->row_count; i++) {
        const struct dgo_comparison_row *row = &comparison->row[i];

        table_cell(table, "%s", row->name);
        compared_cells(table, &row->weights);
        compared_cells(table, &row->context);
        compared_cells(table, &row->compute);
        if (overhead)
            overhead_cells(table, &row->overhead);
    }
    table_print(table);
    printf("%s\n", comparison->sentence);
}
