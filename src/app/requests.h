/* requests.h - request files read: lines in blocks, each block a job, so that tokens are counted on
 * several CPUs while memory stays bounded.  Private to app and the faces. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "dgo_batch.h"
#include "dgo_trace.h"

enum {
    REQUESTS_BLOCK_BYTES = 1 << 20, /* lines of one job */
    REQUESTS_LINE_MAX = 16 << 20,   /* a longer line is a bad one */
    REQUESTS_BLOCKS_MAX = 16,       /* read and not yet counted */
    REQUESTS_BAD_SHOWN = 8,
};

struct requests_question {
    const char *const *paths; /* "-" is standard input */
    uint32_t path_count;      /* read one after the other; all of one format */
    const char *columns;      /* dgo_trace_detect */
    /* One for each block that is being counted: each is used by one thread at a time.
     * counter_count 0: lengths in texts are estimated, blocks are read one by one. */
    const struct dgo_trace_counter *counters;
    uint32_t counter_count; /* at most REQUESTS_BLOCKS_MAX */
    /* Called by the reading thread now and then; total 0: not known.  NULL: nobody looks. */
    void (*progress)(uint64_t done_bytes, uint64_t total_bytes, void *data);
    void *progress_data;
};

struct requests_bad {
    const char *path;
    uint64_t line; /* from 1 */
    char why[DGO_TRACE_WHY_MAX];
};

struct requests {
    struct dgo_workload workload; /* sorted by arrival where that is known */
    struct dgo_trace_format format;
    uint64_t bytes, lines;
    bool counted;       /* a counter counted texts */
    uint64_t bad_lines; /* skipped */
    uint32_t bad_shown;
    struct requests_bad bad[REQUESTS_BAD_SHOWN]; /* the first of them */
};

/* Runs under COMPONENT_TOKEN_LENGTHS.  A line that cannot be read is skipped and counted; a file
 * that cannot be opened or read, or has no requests at all, fails.  requests_done frees. */
DGO_MUST_CHECK
enum dgo_status requests_read(const struct requests_question *question, struct requests *requests,
                              struct dgo_error *err);
void requests_done(struct requests *requests);

#endif
