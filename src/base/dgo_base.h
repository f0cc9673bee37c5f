/* dgo_base.h - status, error sentence and attributes: what every other module starts from.
 *
 * The error contract of the whole library: a function that can fail returns enum dgo_status
 * (DGO_OK is 0) and takes `struct dgo_error *err` last, which may be NULL.  The status is for the
 * program, the sentence is for the person and names the next step where there is one.  Outputs are
 * written on success only.  The library never prints and never exits; assert() is kept for our own
 * mistakes and is never reached by input.  Everything here may be called from any thread. */
#ifndef DGO_BASE_H
#define DGO_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DGO_MUST_CHECK      __attribute__((warn_unused_result))
#define DGO_PRINTF(fmt, at) __attribute__((format(printf, fmt, at)))

/* name, exit status of the program, sentence.  Exit statuses: 0 done, 1 failed, 2 usage, 3 does not
 * fit (docs/ARCHITECTURE.md, "Command line"). */
#define DGO_STATUS_TABLE(X)                                                                        \
    X(OK, 0, "done")                                                                               \
    X(EUSAGE, 2, "the command line is not understood")                                             \
    X(EINVAL, 1, "a value is not acceptable")                                                      \
    X(ENOFIT, 3, "it does not fit")                                                                \
    X(EIO, 1, "reading or writing failed")                                                         \
    X(EFORMAT, 1, "the data is malformed")                                                         \
    X(ENOMEM, 1, "out of memory")                                                                  \
    X(ENOTFOUND, 1, "not found")                                                                   \
    X(EUNSUPPORTED, 1, "not supported")                                                            \
    X(ENOGPU, 1, "no GPU was found")                                                               \
    X(EDRIVER, 1, "the GPU driver failed")                                                         \
    X(ELIMIT, 1, "a limit was exceeded")                                                           \
    X(ETIMEOUT, 1, "it took too long")                                                             \
    X(ECHILD, 1, "the engine failed")                                                              \
    X(EBUSY, 1, "busy")                                                                            \
    X(ECANCELLED, 1, "cancelled")                                                                  \
    X(ESTATE, 1, "not possible in this state")

#define DGO_STATUS_ENUM(name, exit_status, sentence) DGO_##name,
enum dgo_status { DGO_STATUS_TABLE(DGO_STATUS_ENUM) DGO_STATUS_COUNT };
#undef DGO_STATUS_ENUM

enum { DGO_ERROR_TEXT_MAX = 640 };

/* A failure told to a person.  Zero-initialise it; a success leaves it alone. */
struct dgo_error {
    enum dgo_status status;
    char text[DGO_ERROR_TEXT_MAX]; /* NUL-terminated, cut with "..." when too long */
};

/* The table's three columns.  A status outside the table is answered as "unknown". */
const char *dgo_status_name(enum dgo_status status);
const char *dgo_status_sentence(enum dgo_status status);
int dgo_status_exit(enum dgo_status status);

/* Writes the sentence (when err is given) and returns `status`, so that a failure is one line:
 *     return dgo_fail(err, DGO_EFORMAT, "byte %" PRIu64 ": bad magic", pos); */
enum dgo_status dgo_fail(struct dgo_error *err, enum dgo_status status, const char *fmt, ...)
    DGO_PRINTF(3, 4);

/* The same with ": <strerror(errno_value)>" appended. */
enum dgo_status dgo_fail_errno(struct dgo_error *err, enum dgo_status status, int errno_value,
                               const char *fmt, ...) DGO_PRINTF(4, 5);

/* Puts "<text>: " in front of a sentence that a callee wrote; returns err->status (or `status`
 * when err is NULL), for the caller that knows the file name its callee did not. */
enum dgo_status dgo_error_prefix(struct dgo_error *err, enum dgo_status status, const char *fmt,
                                 ...) DGO_PRINTF(3, 4);

/* The smaller and the greater of two values of the same type, evaluated once. */
static inline uint64_t dgo_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t dgo_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* `value` rounded up to a multiple of `to` (not 0); saturates at the greatest multiple. */
static inline uint64_t dgo_pad_u64(uint64_t value, uint64_t to)
{
    const uint64_t rest = value % to;

    if (rest == 0)
        return value;
    return value > UINT64_MAX - (to - rest) ? value - rest : value + (to - rest);
}

#endif
