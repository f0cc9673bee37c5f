/* status.c - the status table and the error sentence. */
#include "dgo_base.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int exit_status;
    const char *sentence;
} table[] = {
#define ROW(name, exit_status, sentence) [DGO_##name] = {"DGO_" #name, exit_status, sentence},
    DGO_STATUS_TABLE(ROW)
#undef ROW
};

const char *dgo_status_name(enum dgo_status status)
{
    return (unsigned)status < DGO_STATUS_COUNT ? table[status].name : "unknown";
}

const char *dgo_status_sentence(enum dgo_status status)
{
    return (unsigned)status < DGO_STATUS_COUNT ? table[status].sentence : "unknown";
}

int dgo_status_exit(enum dgo_status status)
{
    return (unsigned)status < DGO_STATUS_COUNT ? table[status].exit_status : 1;
}

/* Cuts visibly: a sentence that ends in the middle must not look whole. */
static void mark_cut(char *text, size_t size, int wanted)
{
    if (wanted >= 0 && (size_t)wanted >= size)
        memcpy(text + size - 4, "...", 4);
}

enum dgo_status dgo_fail(struct dgo_error *err, enum dgo_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;

        err->status = status;
        va_start(args, fmt);
        mark_cut(err->text, sizeof err->text, vsnprintf(err->text, sizeof err->text, fmt, args));
        va_end(args);
    }
    return status;
}

enum dgo_status dgo_fail_errno(struct dgo_error *err, enum dgo_status status, int errno_value,
                               const char *fmt, ...)
{
    if (err) {
        char head[DGO_ERROR_TEXT_MAX];
        char reason[128];
        va_list args;

        va_start(args, fmt);
        mark_cut(head, sizeof head, vsnprintf(head, sizeof head, fmt, args));
        va_end(args);
        dgo_fail(err, status, "%s: %s", head, strerror_r(errno_value, reason, sizeof reason));
    }
    return status;
}

enum dgo_status dgo_error_prefix(struct dgo_error *err, enum dgo_status status, const char *fmt,
                                 ...)
{
    if (!err)
        return status;

    char head[DGO_ERROR_TEXT_MAX];
    char tail[DGO_ERROR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    mark_cut(head, sizeof head, vsnprintf(head, sizeof head, fmt, args));
    va_end(args);
    memcpy(tail, err->text, sizeof tail);
    return dgo_fail(err, err->status, "%s: %s", head, tail);
}
