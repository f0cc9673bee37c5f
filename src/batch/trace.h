/* trace.h - private to batch: what the readers of the three formats share. */
#ifndef TRACE_H
#define TRACE_H

#include "dgo_trace.h"

/* A field of a CSV line: its bytes without the quotes.  false: there is none. */
bool trace_field(const char *line, size_t length, char separator, int32_t column, char *to,
                 size_t size);

/* "2023-11-16 18:17:03.9799600", with T, Z or an offset too, or a plain number of `unit_s`. */
bool trace_time(const char *text, double unit_s, double *seconds);

/* A whole number of tokens. */
bool trace_tokens(const char *text, uint32_t *tokens);

bool trace_is_blank(const char *line, size_t length);

/* Token count of a text, or its estimate. */
bool trace_count(const struct dgo_trace_counter *counter, const char *text, size_t length,
                 struct dgo_trace_request *request, uint64_t *tokens);

enum dgo_trace_verdict trace_csv_line(const struct dgo_trace_format *format, const char *line,
                                      size_t length, dgo_trace_take_fn take, void *data, char *why);
enum dgo_trace_verdict trace_json_line(const struct dgo_trace_format *format, const char *line,
                                       size_t length, const struct dgo_trace_counter *counter,
                                       dgo_trace_take_fn take, void *data, char *why);

#endif
