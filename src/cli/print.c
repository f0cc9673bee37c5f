/* print.c - messages, JSON, tables. */
#include "print.h"

#include "dgo_log.h"
#include "dgo_text.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void print_message(const char *fmt, ...)
{
    char raw[2048], line[4096];
    va_list args;

    va_start(args, fmt);
    vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    dgo_text_copy_escaped(line, sizeof line, raw, strlen(raw));
    fflush(stdout); /* so that both streams on one terminal keep their order */
    fprintf(stderr, "dualgpuopt: %s\n", line);
}

int print_failure(const struct dgo_error *err)
{
    print_message("%s", err->text[0] ? err->text : dgo_status_sentence(err->status));
    return dgo_status_exit(err->status);
}

int print_json(json_t *object)
{
    int status = 0;

    if (!object) {
        print_message("out of memory");
        return 1;
    }
    if (json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) != 0 ||
        putchar('\n') == EOF)
        status = 1;
    json_decref(object);
    return status;
}

bool print_unicode(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

bool print_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return !(no && no[0]) && isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

struct table {
    uint32_t column_count, row_count, at; /* at: next cell's column */
    struct {
        const char *title;
        bool right;
        uint32_t width;
    } column[TABLE_COLUMN_MAX];
    char (*cell)[TABLE_COLUMN_MAX][TABLE_CELL_MAX];
};

/* The largest tables: a row for each layer of a model, for each listed process of a machine. */
_Static_assert((uint32_t)TABLE_ROW_MAX > (uint32_t)DGO_LAYER_MAX + 2 &&
                   (uint32_t)TABLE_ROW_MAX > (uint32_t)DGO_GPU_MAX * DGO_GPU_PROCESS_MAX,
               "a table would be cut");

struct table *table_new(void)
{
    struct table *table = calloc(1, sizeof *table);

    if (table)
        table->cell = calloc(TABLE_ROW_MAX, sizeof *table->cell);
    if (!table || !table->cell) {
        print_message("out of memory");
        exit(1);
    }
    return table;
}

/* Columns a string takes: characters, not bytes.  Wide characters count as one: names of cards and
 * models hardly have them, and a ragged column is no harm. */
static uint32_t shown_width(const char *text)
{
    uint32_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0u) != 0x80;
    return width;
}

void table_column(struct table *table, const char *title, bool right)
{
    const uint32_t c = table->column_count++;

    table->column[c].title = title;
    table->column[c].right = right;
    table->column[c].width = shown_width(title);
}

void table_cell(struct table *table, const char *fmt, ...)
{
    char raw[512];
    const uint32_t c = table->at;
    va_list args;

    if (table->row_count == TABLE_ROW_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    dgo_text_copy_escaped(table->cell[table->row_count][c], TABLE_CELL_MAX, raw, strlen(raw));
    const uint32_t width = shown_width(table->cell[table->row_count][c]);
    if (width > table->column[c].width)
        table->column[c].width = width;
    if (++table->at == table->column_count) {
        table->at = 0;
        table->row_count++;
    }
}

static void print_padded(const struct table *table, uint32_t c, const char *text)
{
    const uint32_t pad = table->column[c].width - shown_width(text);
    const bool last = c + 1 == table->column_count;

    if (table->column[c].right)
        printf("%*s%s%s", (int)pad, "", text, last ? "\n" : "  ");
    else if (last)
        printf("%s\n", text);
    else
        printf("%s%*s  ", text, (int)pad, "");
}

void table_print(struct table *table)
{
    for (uint32_t c = 0; c < table->column_count; c++)
        print_padded(table, c, table->column[c].title);
    for (uint32_t r = 0; r < table->row_count; r++)
        for (uint32_t c = 0; c < table->column_count; c++)
            print_padded(table, c, table->cell[r][c]);
    free(table->cell);
    free(table);
}
