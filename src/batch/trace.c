/* trace.c - which format a file has, and plain text. */
#include "trace.h"

#include "dgo_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *dgo_trace_kind_name(enum dgo_trace_kind kind)
{
    static const char *const names[] = {"csv", "jsonl", "text", "recording"};

    return names[kind];
}

/* Names that traces use, the likeliest first: Azure's, OpenAI's, Mooncake's, vLLM's, ours. */
static const char *const prompt_names[] = {"ContextTokens", "prompt_tokens",  "input_tokens",
                                           "input_length",  "Request tokens", "num_prefill_tokens",
                                           "prompt_len",    "prompt_length",  NULL};
static const char *const generated_names[] = {
    "GeneratedTokens",   "completion_tokens", "output_tokens", "output_length", "Response tokens",
    "num_decode_tokens", "generated_tokens",  "output_len",    "generated_len", NULL};
static const char *const time_names[] = {"TIMESTAMP",  "timestamp", "arrived_at", "arrival_time",
                                         "arrival_s",  "created",   "time",       "timestamp_ms",
                                         "arrival_ms", NULL};

bool trace_is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\f' &&
            line[i] != '\v')
            return false;
    return true;
}

/* The column called `name`, case-blind; -1: none. */
static int32_t find_column(const char *header, size_t length, char separator, const char *name)
{
    char field[DGO_TRACE_NAME_MAX];

    for (int32_t c = 0; trace_field(header, length, separator, c, field, sizeof field); c++)
        if (strcasecmp(field, name) == 0)
            return c;
    return -1;
}

static int32_t find_known(const char *header, size_t length, char separator,
                          const char *const *names, char *name)
{
    for (size_t i = 0; names[i]; i++) {
        const int32_t column = find_column(header, length, separator, names[i]);

        if (column >= 0) {
            dgo_text_copy(name, DGO_TRACE_NAME_MAX, names[i]);
            return column;
        }
    }
    return -1;
}

/* The one that splits the header most often. */
static char find_separator(const char *header, size_t length)
{
    static const char candidates[] = ",;\t|";
    char best = ',';
    size_t most = 0;

    for (size_t c = 0; candidates[c]; c++) {
        size_t count = 0;

        for (size_t i = 0; i < length; i++)
            count += header[i] == candidates[c];
        if (count > most) {
            most = count;
            best = candidates[c];
        }
    }
    return best;
}

/* "A,B,C" into the three names; an empty one is not named. */
static enum dgo_status split_names(const char *columns, struct dgo_trace_format *format,
                                   struct dgo_error *err)
{
    char *const names[] = {format->prompt_name, format->generated_name, format->time_name};
    const char *at = columns;

    for (unsigned i = 0; i < 3; i++) {
        const size_t length = strcspn(at, ",");

        if (length >= DGO_TRACE_NAME_MAX || (i == 0 && length == 0))
            return dgo_fail(err, DGO_EUSAGE,
                            "--columns: '%.60s' is not PROMPT,GENERATED or PROMPT,GENERATED,TIME",
                            columns);
        memcpy(names[i], at, length);
        at += length;
        if (*at == '\0')
            return DGO_OK;
        at++;
    }
    return dgo_fail(err, DGO_EUSAGE, "--columns: '%.60s' names more than three columns", columns);
}

static enum dgo_status no_column(const char *header, size_t length, char separator,
                                 const char *wanted, struct dgo_error *err)
{
    char list[256], field[DGO_TRACE_NAME_MAX];
    struct dgo_text text = DGO_TEXT(list);

    for (int32_t c = 0; c < 32; c++) {
        if (!trace_field(header, length, separator, c, field, sizeof field))
            break;
        dgo_text_add(&text, c ? ", " : "");
        dgo_text_add_escaped(&text, field, strlen(field));
    }
    if (wanted)
        return dgo_fail(err, DGO_EUSAGE, "there is no column '%.60s'; the file has: %s", wanted,
                        list);
    return dgo_fail(err, DGO_EFORMAT,
                    "no column with prompt lengths is known; name it with --columns "
                    "PROMPT,GENERATED; the file has: %s",
                    list);
}

static enum dgo_status find_columns(const char *header, size_t length, bool named,
                                    struct dgo_trace_format *format, struct dgo_error *err)
{
    const struct {
        char *name;
        const char *const *known;
        int32_t *column;
    } wanted[] = {
        {format->prompt_name, prompt_names, &format->prompt_column},
        {format->generated_name, generated_names, &format->generated_column},
        {format->time_name, time_names, &format->time_column},
    };

    format->separator = find_separator(header, length);
    for (unsigned i = 0; i < 3; i++) {
        if (wanted[i].name[0]) {
            *wanted[i].column = find_column(header, length, format->separator, wanted[i].name);
            if (*wanted[i].column < 0)
                return no_column(header, length, format->separator, wanted[i].name, err);
        } else if (!named || i == 2) {
            *wanted[i].column =
                find_known(header, length, format->separator, wanted[i].known, wanted[i].name);
        }
    }
    if (format->prompt_column < 0)
        return no_column(header, length, format->separator, NULL, err);
    return DGO_OK;
}

/* A CSV of lengths has a header with a column that is asked for or known. */
static bool looks_like_csv(const char *line, size_t length, const char *columns)
{
    char name[DGO_TRACE_NAME_MAX];

    return columns ||
           find_known(line, length, find_separator(line, length), prompt_names, name) >= 0;
}

enum dgo_status dgo_trace_detect(const char *head, size_t length, const char *columns,
                                 struct dgo_trace_format *format, struct dgo_error *err)
{
    struct dgo_trace_format made = {
        .prompt_column = -1, .generated_column = -1, .time_column = -1, .time_unit_s = 1};
    size_t end, name_length;

    if (length >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0) {
        head += 3;
        length -= 3;
    }
    while (length > 0 && (*head == '\n' || *head == '\r')) {
        head++;
        length--;
    }
    for (end = 0; end < length && head[end] != '\n'; end++)
        ;
    if (end > 0 && head[end - 1] == '\r')
        end--;
    if (end == 0)
        return dgo_fail(err, DGO_EFORMAT, "the file holds nothing");
    if (columns) {
        const enum dgo_status status = split_names(columns, &made, err);

        if (status != DGO_OK)
            return status;
    }
    if (head[strspn(head, " \t") < end ? strspn(head, " \t") : 0] == '{') {
        made.kind = DGO_TRACE_JSONL;
    } else if (looks_like_csv(head, end, columns)) {
        const enum dgo_status status = find_columns(head, end, columns != NULL, &made, err);

        if (status != DGO_OK)
            return status;
        made.kind = DGO_TRACE_CSV;
    } else {
        made.kind = DGO_TRACE_TEXT;
    }
    name_length = strlen(made.time_name);
    if (name_length >= 2 && strcasecmp(made.time_name + name_length - 2, "ms") == 0)
        made.time_unit_s = 0.001;
    *format = made;
    return DGO_OK;
}

bool trace_count(const struct dgo_trace_counter *counter, const char *text, size_t length,
                 struct dgo_trace_request *request, uint64_t *tokens)
{
    if (counter && counter->count) {
        request->estimated = request->estimated || counter->inexact;
        return counter->count(text, length, counter->data, tokens) == DGO_OK;
    }
    request->estimated = true;
    *tokens = (uint64_t)ceil((double)length / DGO_TRACE_BYTES_PER_TOKEN);
    return true;
}

static enum dgo_trace_verdict text_line(const char *line, size_t length,
                                        const struct dgo_trace_counter *counter,
                                        dgo_trace_take_fn take, void *data, char *why)
{
    struct dgo_trace_request request = {0};
    uint64_t tokens;

    if (!trace_count(counter, line, length, &request, &tokens) || tokens > DGO_REQUEST_TOKENS_MAX) {
        dgo_text_copy(why, DGO_TRACE_WHY_MAX, "its tokens cannot be counted");
        return DGO_TRACE_BAD;
    }
    request.request.prompt_tokens = (uint32_t)tokens + (counter ? counter->prompt_tokens : 0);
    return take(&request, data) == DGO_OK ? DGO_TRACE_TAKEN : DGO_TRACE_FAILED;
}

enum dgo_trace_verdict dgo_trace_line(const struct dgo_trace_format *format, const char *line,
                                      size_t length, const struct dgo_trace_counter *counter,
                                      dgo_trace_take_fn take, void *data,
                                      char why[DGO_TRACE_WHY_MAX])
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        line += 3;
        length -= 3;
    }
    if (trace_is_blank(line, length))
        return DGO_TRACE_NOTHING;
    switch (format->kind) {
    case DGO_TRACE_CSV:
        return trace_csv_line(format, line, length, take, data, why);
    case DGO_TRACE_JSONL:
        return trace_json_line(format, line, length, counter, take, data, why);
    default:
        return text_line(line, length, counter, take, data, why);
    }
}
