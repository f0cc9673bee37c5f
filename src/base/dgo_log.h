/* dgo_log.h - one leveled log with one sink; what others wrote is escaped before it gets there.
 *
 * Library code logs nothing above debug: it returns a status and a sentence instead.  Programs set
 * the level and may replace the sink.  Any thread; the sink is called by one thread at a time. */
#ifndef DGO_LOG_H
#define DGO_LOG_H

#include "dgo_base.h"

enum dgo_log_level { DGO_LOG_ERROR, DGO_LOG_WARN, DGO_LOG_INFO, DGO_LOG_DEBUG };
enum { DGO_LOG_LINE_MAX = 2048 };

/* `line` is one line of printable UTF-8 without its newline; longer ones end in "...". */
typedef void (*dgo_log_sink)(enum dgo_log_level level, const char *line, void *data);

/* Until set: level WARN, sink "dualgpuopt: <line>" to stderr.  sink NULL restores that one. */
void dgo_log_set(enum dgo_log_level level, dgo_log_sink sink, void *data);
bool dgo_log_wants(enum dgo_log_level level);

/* Formats, escapes (dgo_text_add_escaped) and hands the line to the sink. */
void dgo_log(enum dgo_log_level level, const char *fmt, ...) DGO_PRINTF(2, 3);

/* "error", "warn", "info", "debug". */
const char *dgo_log_level_name(enum dgo_log_level level);
enum dgo_status dgo_log_level_parse(const char *name, enum dgo_log_level *level,
                                    struct dgo_error *err) DGO_MUST_CHECK;

#endif
