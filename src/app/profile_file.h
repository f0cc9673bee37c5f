/* profile_file.h - a recording or a CSV file into a profiler.  Private to app and the faces. */
#ifndef PROFILE_FILE_H
#define PROFILE_FILE_H

#include "dgo_gpu.h"
#include "dgo_profiler.h"

enum { PROFILE_PROBLEM_MAX = 8 };

struct profile_file_stats {
    uint64_t readings, lines, bad_lines;
    uint32_t problem_count; /* the first bad lines */
    char problem[PROFILE_PROBLEM_MAX][200];
    struct dgo_origin origin; /* of a recording; else zero */
};

/* `path` "-" is stdin, which is CSV.  Lines that cannot be read are counted, the first ones are
 * named, and left out; a file with none that can is DGO_EFORMAT.  DGO_ENOTFOUND, DGO_EIO,
 * DGO_ENOMEM. Memory is bounded by the number of series, not by the length of the file. */
DGO_MUST_CHECK
enum dgo_status profile_file_read(const char *path, struct dgo_profiler *profiler,
                                  struct profile_file_stats *stats, struct dgo_error *err);

/* As profile_file_read, of bytes; for the fuzzer and the tests. */
DGO_MUST_CHECK
enum dgo_status profile_csv_read(const char *bytes, size_t length, struct dgo_profiler *profiler,
                                 struct profile_file_stats *stats, struct dgo_error *err);

#endif
