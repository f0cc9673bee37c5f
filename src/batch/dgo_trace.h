/* dgo_trace.h - one line of a request file at a time: CSV of lengths, JSON lines, plain text.
 *
 * Which kind a file is follows from its first bytes.  Lines are independent of each other, so that
 * several threads may read them at once; a format does not change after it was made. */
#ifndef DGO_TRACE_H
#define DGO_TRACE_H

#include "dgo_base.h"
#include "dgo_batch.h"

enum dgo_trace_kind {
    DGO_TRACE_CSV,   /* a header line, then a line a request */
    DGO_TRACE_JSONL, /* an object a line: chat, completion, OpenAI batch input and output, lengths
                      */
    DGO_TRACE_TEXT,  /* every line that is not blank is a prompt */
    DGO_TRACE_RECORDING, /* read elsewhere (app): what a recorded engine answered */
};
const char *dgo_trace_kind_name(enum dgo_trace_kind kind); /* "csv", "jsonl", "text", "recording" */

enum { DGO_TRACE_NAME_MAX = 64, DGO_TRACE_WHY_MAX = 120 };

/* What makes the lines of one file mean something; a value. */
struct dgo_trace_format {
    enum dgo_trace_kind kind;
    char separator; /* CSV */
    /* CSV: column numbers; JSONL: only whether they were named.  -1: none. */
    int32_t prompt_column, generated_column, time_column;
    char prompt_name[DGO_TRACE_NAME_MAX], generated_name[DGO_TRACE_NAME_MAX];
    char time_name[DGO_TRACE_NAME_MAX];
    double time_unit_s; /* of a plain number: 1, or 0.001 for a name that ends in "ms" */
};

/* `head` is the beginning of the file (whole first line, or as much of it as the caller keeps).
 * `columns` is "PROMPT", "PROMPT,GENERATED" or "PROMPT,GENERATED,TIME", or NULL: then well-known
 * names are looked for.  DGO_EUSAGE: a named column is not there (the sentence lists those that
 * are); DGO_EFORMAT: a CSV without known columns, or nothing at all. */
enum dgo_status dgo_trace_detect(const char *head, size_t length, const char *columns,
                                 struct dgo_trace_format *format,
                                 struct dgo_error *err) DGO_MUST_CHECK;

/* Counts the tokens of UTF-8 (or any) bytes. */
typedef enum dgo_status (*dgo_trace_count_fn)(const char *text, size_t length, void *data,
                                              uint64_t *tokens);
struct dgo_trace_counter {
    dgo_trace_count_fn count; /* NULL: lengths are estimated, DGO_TRACE_BYTES_PER_TOKEN each */
    void *data;
    uint32_t prompt_tokens;  /* added to each prompt: what begins and ends it */
    uint32_t message_tokens; /* added for each message of a chat: what its template writes */
    bool inexact;            /* what it counts is an estimate all the same */
};
/* English prose with vocabularies of 32 k to 150 k: 3.5 to 4.6. */
#define DGO_TRACE_BYTES_PER_TOKEN 4.0

struct dgo_trace_request {
    struct dgo_request request; /* arrival_s is absolute here */
    bool generated_known, arrival_known, estimated;
};
typedef enum dgo_status (*dgo_trace_take_fn)(const struct dgo_trace_request *request, void *data);

enum dgo_trace_verdict {
    DGO_TRACE_TAKEN,   /* one or several requests */
    DGO_TRACE_NOTHING, /* blank, or the header */
    DGO_TRACE_BAD,     /* `why` says it, as the end of a sentence */
    DGO_TRACE_FAILED,  /* `take` failed */
};
/* One line without its newline.  Any thread. */
enum dgo_trace_verdict dgo_trace_line(const struct dgo_trace_format *format, const char *line,
                                      size_t length, const struct dgo_trace_counter *counter,
                                      dgo_trace_take_fn take, void *data,
                                      char why[DGO_TRACE_WHY_MAX]);

#endif
