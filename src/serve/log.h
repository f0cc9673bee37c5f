/* log.h - the log of one engine: the last lines in memory, all of it in a file within bounds.
 * Private to the folder.  Loop thread only. */
#ifndef LOG_H
#define LOG_H

#include "dgo_base.h"

#include <jansson.h>

enum {
    LOG_LINES = 2000,       /* in memory */
    LOG_FILE_MAX = 8 << 20, /* then it moves to ".1", in the place of an older one */
};

struct log;

/* `path` may be NULL: memory only.  A file that cannot be written is said once and done without. */
struct log *log_new(const char *path); /* NULL: no memory */
void log_free(struct log *log);        /* the file stays; accepts NULL */

/* A new start of the engine: the file begins anew, the one before moves to ".1". */
void log_begin(struct log *log);
/* What the file holds of the last start, into memory and to `each`; the head is kept in ".head"
 * when the file was moved aside meanwhile. */
void log_replay(struct log *log, void (*each)(const char *line, size_t length, void *data),
                void *data);
/* Of the file, to be appended to; -1: there is none.  Lives until the next line is added. */
int log_fd(const struct log *log);

/* A third line that says what the two before it said is only counted: an idle engine has one for
 * each time that we ask what it does.  The next other line is preceded by how many there were. */
void log_add(struct log *log, const char *line);
uint64_t log_next(const struct log *log); /* sequence of the next line; the first is 1 */
/* Lines after `after`, at most `limit`, as {"lines": [...], "first": N, "next": N}. */
json_t *log_view(const struct log *log, uint64_t after, uint32_t limit);
/* The lines from `from` on as an array, for an event. */
json_t *log_lines(const struct log *log, uint64_t from, uint32_t limit);

#endif
