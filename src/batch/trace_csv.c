/* trace_csv.c - a request in a line of separated values. */
#include "trace.h"

#include "dgo_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Reads one field at *at, quotes taken off; *at is left on the separator or the end. */
static void read_field(const char *line, size_t length, char separator, size_t *at, char *to,
                       size_t size)
{
    size_t i = *at, kept = 0;
    bool quoted = false;

    while (i < length && line[i] == ' ')
        i++;
    for (; i < length && (quoted || line[i] != separator); i++) {
        if (line[i] == '"') {
            if (!quoted || i + 1 >= length || line[i + 1] != '"') {
                quoted = !quoted;
                continue;
            }
            i++; /* "" in quotes is one quote */
        }
        if (to && kept + 1 < size)
            to[kept++] = line[i];
    }
    while (to && kept > 0 && (to[kept - 1] == ' ' || to[kept - 1] == '\r'))
        kept--;
    if (to)
        to[kept] = '\0';
    *at = i;
}

bool trace_field(const char *line, size_t length, char separator, int32_t column, char *to,
                 size_t size)
{
    size_t at = 0;

    for (int32_t c = 0; c < column; c++) {
        read_field(line, length, separator, &at, NULL, 0);
        if (at >= length)
            return false;
        at++;
    }
    read_field(line, length, separator, &at, to, size);
    return true;
}

bool trace_tokens(const char *text, uint32_t *tokens)
{
    uint64_t value = 0;
    const char *at = text;

    if (*at == '\0')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > DGO_REQUEST_TOKENS_MAX)
            return false;
    }
    if (*at == '.') /* spreadsheets write 374.0 */
        for (at++; *at == '0'; at++)
            ;
    *tokens = (uint32_t)value;
    return *at == '\0';
}

/* Days from 1970-01-01 to a date of the Gregorian calendar; months count from March, so that the
 * leap day is the last of its year. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    const int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* Exactly `digits` digits at *at, then `after` (0: anything). */
static bool read_digits(const char **at, unsigned digits, char after, int *value)
{
    *value = 0;
    for (unsigned i = 0; i < digits; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (**at - '0');
    }
    if (after == '\0')
        return true;
    return *(*at)++ == after;
}

/* "", "Z", " UTC", "+02:00", "-0530": seconds east of Greenwich. */
static bool read_zone(const char *at, double *zone_s)
{
    const double sign = *at == '-' ? -1 : 1;
    int hours, minutes = 0;

    *zone_s = 0;
    if (*at == '\0' || strcmp(at, "Z") == 0 || strcmp(at, " UTC") == 0)
        return true;
    if ((*at != '+' && *at != '-') || (at++, !read_digits(&at, 2, '\0', &hours)))
        return false;
    at += *at == ':';
    if (*at != '\0' && !read_digits(&at, 2, '\0', &minutes))
        return false;
    *zone_s = sign * (hours * 3600.0 + minutes * 60.0);
    return *at == '\0';
}

static bool read_date(const char *at, double *seconds)
{
    int year, month, day, hour, minute;
    double second, zone_s;
    char *end;

    if (!read_digits(&at, 4, '-', &year) || !read_digits(&at, 2, '-', &month) ||
        !read_digits(&at, 2, '\0', &day) || (*at != ' ' && *at != 'T'))
        return false;
    at++;
    if (!read_digits(&at, 2, ':', &hour) || !read_digits(&at, 2, ':', &minute) || *at < '0' ||
        *at > '9')
        return false;
    second = strtod(at, &end);
    if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        !(second < 62) || !read_zone(end, &zone_s))
        return false;
    *seconds =
        (double)(days_of(year, month, day) * 86400 + hour * 3600 + minute * 60) + second - zone_s;
    return true;
}

bool trace_time(const char *text, double unit_s, double *seconds)
{
    double number;
    char *end;

    if (read_date(text, seconds))
        return true;
    number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number))
        return false;
    *seconds = number * unit_s;
    return true;
}

/* Files that were joined repeat their header. */
static bool is_header(const struct dgo_trace_format *format, const char *prompt)
{
    return strcasecmp(prompt, format->prompt_name) == 0;
}

enum dgo_trace_verdict trace_csv_line(const struct dgo_trace_format *format, const char *line,
                                      size_t length, dgo_trace_take_fn take, void *data, char *why)
{
    struct dgo_trace_request request = {0};
    struct dgo_text text = {.data = why, .size = DGO_TRACE_WHY_MAX};
    char field[DGO_TRACE_NAME_MAX];

    if (!trace_field(line, length, format->separator, format->prompt_column, field, sizeof field)) {
        dgo_text_addf(&text, "it ends before the column %s", format->prompt_name);
        return DGO_TRACE_BAD;
    }
    if (is_header(format, field))
        return DGO_TRACE_NOTHING;
    if (!trace_tokens(field, &request.request.prompt_tokens)) {
        dgo_text_addf(&text, "%s is no number of tokens: '", format->prompt_name);
        dgo_text_add_escaped(&text, field, strnlen(field, 24));
        dgo_text_add(&text, "'");
        return DGO_TRACE_BAD;
    }
    if (format->generated_column >= 0) {
        request.generated_known = trace_field(line, length, format->separator,
                                              format->generated_column, field, sizeof field) &&
                                  trace_tokens(field, &request.request.generated_tokens);
        if (!request.generated_known) {
            dgo_text_addf(&text, "%s is no number of tokens", format->generated_name);
            return DGO_TRACE_BAD;
        }
    }
    if (format->time_column >= 0) {
        request.arrival_known = trace_field(line, length, format->separator, format->time_column,
                                            field, sizeof field) &&
                                trace_time(field, format->time_unit_s, &request.request.arrival_s);
        if (!request.arrival_known) {
            dgo_text_addf(&text, "%s is no time: '", format->time_name);
            dgo_text_add_escaped(&text, field, strnlen(field, 24));
            dgo_text_add(&text, "'");
            return DGO_TRACE_BAD;
        }
    }
    return take(&request, data) == DGO_OK ? DGO_TRACE_TAKEN : DGO_TRACE_FAILED;
}
