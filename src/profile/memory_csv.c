/* memory_csv.c - lines of CSV to readings. */
#include "dgo_memory_csv.h"

#include "dgo_text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum column { SKIPPED, SECONDS, GPU, PID, USED, REQUESTS, BUSY, START, NAME, TOTAL, COLUMN_COUNT };

static const char *const names[COLUMN_COUNT] = {
    [SECONDS] = "seconds", [GPU] = "gpu",           [PID] = "pid",
    [USED] = "used_mib",   [REQUESTS] = "requests", [BUSY] = "busy",
    [START] = "start",     [NAME] = "name",         [TOTAL] = "total_mib",
};

struct field {
    const char *text;
    size_t length;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '"';
}

/* Where the field at `at` ends: a separator between quotes is none, but a quote that nothing closes
 * is a character like others. */
static size_t end_of_field(const char *line, size_t length, char separator, size_t at)
{
    size_t end = at, close;

    while (end < length && line[end] == ' ')
        end++;
    if (end < length && line[end] == '"') {
        for (close = end + 1; close < length; close++) {
            if (line[close] != '"')
                continue;
            if (close + 1 == length || line[close + 1] != '"')
                break;
            close++; /* a quote within is told twice */
        }
        end = close < length ? close : end;
    }
    while (end < length && line[end] != separator)
        end++;
    return end;
}

/* The field at *at, without blanks and quotes around it; false after the last one. */
static bool next_field(const char *line, size_t length, char separator, size_t *at,
                       struct field *field)
{
    size_t end;

    if (*at > length)
        return false;
    end = end_of_field(line, length, separator, *at);
    field->text = line + *at;
    field->length = end - *at;
    *at = end + 1;
    while (field->length && is_blank(field->text[0])) {
        field->text++;
        field->length--;
    }
    while (field->length && is_blank(field->text[field->length - 1]))
        field->length--;
    return true;
}

static enum column column_of(const struct field *field)
{
    for (uint32_t i = SECONDS; i < COLUMN_COUNT; i++)
        if (strlen(names[i]) == field->length &&
            strncasecmp(names[i], field->text, field->length) == 0)
            return (enum column)i;
    return SKIPPED;
}

static char separator_of(const char *line, size_t length)
{
    static const char separators[] = ",;\t";

    for (uint32_t i = 0; separators[i]; i++)
        if (memchr(line, separators[i], length))
            return separators[i];
    return ',';
}

static bool has_column(const struct dgo_memory_csv *csv, enum column column)
{
    return memchr(csv->column, (int)column, csv->column_count) != NULL;
}

enum dgo_status dgo_memory_csv_begin(struct dgo_memory_csv *csv, const char *line, size_t length,
                                     struct dgo_error *err)
{
    static const enum column needed[] = {SECONDS, GPU, USED};
    struct dgo_memory_csv made = {0};
    struct field field;
    size_t at = 0;

    if (length >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        line += 3;
        length -= 3;
    }
    made.separator = separator_of(line, length);
    while (next_field(line, length, made.separator, &at, &field)) {
        const enum column column = column_of(&field);

        if (made.column_count == DGO_MEMORY_CSV_COLUMN_MAX)
            return dgo_fail(err, DGO_EFORMAT, "more than %d columns", DGO_MEMORY_CSV_COLUMN_MAX);
        if (column != SKIPPED && has_column(&made, column))
            return dgo_fail(err, DGO_EFORMAT, "the column \"%s\" is there twice", names[column]);
        made.column[made.column_count++] = (uint8_t)column;
    }
    for (uint32_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!has_column(&made, needed[i]))
            return dgo_fail(err, DGO_EFORMAT,
                            "the first line must name the columns seconds,gpu,pid,used_mib (and "
                            "may name requests,busy); \"%s\" is missing",
                            names[needed[i]]);
    *csv = made;
    return DGO_OK;
}

static bool to_number(const struct field *field, double *number)
{
    char text[64], *end = NULL;

    if (field->length == 0 || field->length >= sizeof text)
        return false;
    memcpy(text, field->text, field->length);
    text[field->length] = '\0';
    if (strpbrk(text, "xXnNpP")) /* no hexadecimal, nan or infinity */
        return false;
    errno = 0;
    *number = strtod(text, &end);
    return *end == '\0' && errno == 0 && isfinite(*number);
}

static enum dgo_status bad(enum column column, const struct field *field, const char *must,
                           struct dgo_error *err)
{
    char shown[64];

    (void)dgo_text_copy_escaped(shown, sizeof shown, field->text, field->length);
    return dgo_fail(err, DGO_EFORMAT, "%s \"%s\" %s", names[column], shown, must);
}

static bool is_whole(double number, double most)
{
    return number >= 0 && number <= most && number == floor(number);
}

static bool is_true(const struct field *field, bool *busy)
{
    static const struct {
        const char *word;
        bool busy;
    } words[] = {{"true", true}, {"yes", true}, {"false", false}, {"no", false}};

    for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].word) == field->length &&
            strncasecmp(words[i].word, field->text, field->length) == 0) {
            *busy = words[i].busy;
            return true;
        }
    }
    return false;
}

/* One field into the row.  An empty one of a column that may be missing is unknown. */
static enum dgo_status take(enum column column, const struct field *field,
                            struct dgo_memory_csv_row *row, struct dgo_error *err)
{
    struct dgo_profiler_reading *reading = &row->reading;
    struct dgo_trace_sample *sample = &reading->sample;
    double number = 0;

    if (column == SKIPPED || (field->length == 0 && column >= PID && column != USED))
        return DGO_OK;
    if (column == NAME) {
        (void)dgo_text_copy_escaped(row->name, sizeof row->name, field->text, field->length);
        return DGO_OK;
    }
    if (column == BUSY && is_true(field, &sample->busy)) {
        sample->busy_known = true;
        return DGO_OK;
    }
    if (column == PID && field->length == 1 && field->text[0] == '-')
        return DGO_OK;
    if (!to_number(field, &number))
        return bad(column, field, "is no number", err);
    switch (column) {
    case SECONDS:
        if (fabs(number) > 1e15)
            return bad(column, field, "is out of range", err);
        sample->seconds = number;
        break;
    case GPU:
        if (!is_whole(number, DGO_PROFILER_GPU_MAX - 1))
            return bad(column, field, "is not an index of a GPU (0 to 15)", err);
        reading->gpu_index = (uint32_t)number;
        break;
    case PID:
        if (number > 0 && !is_whole(number, UINT32_MAX))
            return bad(column, field, "is no process", err);
        reading->pid = number > 0 ? (uint32_t)number : 0;
        break;
    case USED:
        if (number < 0 || number > 1e9)
            return bad(column, field, "is no amount of memory in MiB", err);
        sample->used_mib = number;
        break;
    case REQUESTS:
        if (number < 0)
            return bad(column, field, "is no count", err);
        sample->requests_known = true;
        sample->requests = number;
        break;
    case BUSY:
        sample->busy_known = true;
        sample->busy = number > 0;
        break;
    case START:
        reading->start = number > 0 && number < 1e18 ? (uint64_t)number : 0;
        break;
    case TOTAL:
        row->total_mib = number;
        break;
    default:
        break;
    }
    return DGO_OK;
}

enum dgo_status dgo_memory_csv_read(const struct dgo_memory_csv *csv, const char *line,
                                    size_t length, struct dgo_memory_csv_row *row,
                                    struct dgo_error *err)
{
    struct field field;
    size_t at = 0;
    uint32_t c = 0;

    *row = (struct dgo_memory_csv_row){.total_mib = NAN};
    while (length && (line[length - 1] == ' ' || line[length - 1] == '\r'))
        length--;
    if (length == 0 || line[0] == '#')
        return DGO_ENOTFOUND;
    for (; next_field(line, length, csv->separator, &at, &field); c++) {
        if (c == csv->column_count)
            return dgo_fail(err, DGO_EFORMAT, "more than the %u columns of the first line",
                            csv->column_count);

        const enum dgo_status status = take((enum column)csv->column[c], &field, row, err);

        if (status != DGO_OK)
            return status;
    }
    for (; c < csv->column_count; c++) {
        const enum column column = (enum column)csv->column[c];

        if (column == SECONDS || column == GPU || column == USED)
            return dgo_fail(err, DGO_EFORMAT, "%s is missing", names[column]);
    }
    return DGO_OK;
}
