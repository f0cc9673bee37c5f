/* dgo_memory_csv.h - memory over time as CSV: seconds,gpu,pid,used_mib and, where known,
 * requests,busy,start,name,total_mib.
 *
 * The first line names the columns, in any order; columns that are not known are skipped.  An empty
 * pid, 0 or none at all is the whole card.  A line that cannot be read is told, and the file goes
 * on with the next.  Pure: the caller brings the lines.  One owner at a time. */
#ifndef DGO_MEMORY_CSV_H
#define DGO_MEMORY_CSV_H

#include "dgo_profiler.h"

enum { DGO_MEMORY_CSV_COLUMN_MAX = 64, DGO_MEMORY_CSV_LINE_MAX = 65536 };

struct dgo_memory_csv {
    char separator; /* , ; or a tab, as the first line has it */
    uint32_t column_count;
    uint8_t column[DGO_MEMORY_CSV_COLUMN_MAX]; /* what each is; private */
};

struct dgo_memory_csv_row {
    struct dgo_profiler_reading reading;
    double total_mib;                 /* NAN unknown */
    char name[DGO_PROFILER_NAME_MAX]; /* escaped; "" unknown */
};

/* The first line, without its end.  DGO_EFORMAT names what is missing. */
DGO_MUST_CHECK
enum dgo_status dgo_memory_csv_begin(struct dgo_memory_csv *csv, const char *line, size_t length,
                                     struct dgo_error *err);

/* One more line.  DGO_EFORMAT: left out, for the reason in `err`.  DGO_ENOTFOUND: an empty line or
 * a comment (#), nothing to say. */
DGO_MUST_CHECK
enum dgo_status dgo_memory_csv_read(const struct dgo_memory_csv *csv, const char *line,
                                    size_t length, struct dgo_memory_csv_row *row,
                                    struct dgo_error *err);

#endif
