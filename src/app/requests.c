/* requests.c - blocks of lines: read by one thread, counted by jobs, taken over in order. */
#include "requests.h"

#include "dgo_app.h"
#include "dgo_recording.h"
#include "dgo_text.h"
#include "requests_recording.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whole lines of one file and what they hold.  Belongs to its job between submit and wait. */
struct block {
    char *text;
    size_t size, length; /* of text; the lines are text[0..length) */
    bool busy;
    struct dgo_future future;
    const struct dgo_trace_format *format;
    const struct dgo_trace_counter *counter;
    const char *path;

    struct dgo_workload found;
    bool generated_known, arrivals_known; /* of all of them */
    uint64_t lines, bad_lines;
    uint32_t bad_shown;
    struct requests_bad bad[REQUESTS_BAD_SHOWN]; /* line counts from the block's first */
    struct dgo_error err;
};

struct reader {
    const struct requests_question *question;
    struct requests *out;
    struct block block[REQUESTS_BLOCKS_MAX];
    uint32_t block_count, next; /* the block that is filled next, the oldest one in flight */
    bool format_known;
    bool skipping; /* inside a line that is too long */
    uint64_t file_lines, done_bytes, total_bytes;
    struct dgo_error *err;
};

/* ---- a block as a job ---- */

static enum dgo_status take_request(const struct dgo_trace_request *request, void *data)
{
    struct block *block = data;

    block->generated_known = block->generated_known && request->generated_known;
    block->arrivals_known = block->arrivals_known && request->arrival_known;
    block->found.estimated = block->found.estimated || request->estimated;
    return dgo_workload_add(&block->found, &request->request, &block->err);
}

static void note_bad(struct block *block, const char *why)
{
    block->bad_lines++;
    if (block->bad_shown == REQUESTS_BAD_SHOWN)
        return;
    struct requests_bad *bad = &block->bad[block->bad_shown++];

    bad->path = block->path;
    bad->line = block->lines;
    dgo_text_copy(bad->why, sizeof bad->why, why);
}

static enum dgo_status count_block(void *data)
{
    struct block *block = data;
    const char *at = block->text, *end = block->text + block->length;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        char why[DGO_TRACE_WHY_MAX] = "";
        enum dgo_trace_verdict verdict;

        block->lines++;
        verdict = dgo_trace_line(block->format, at, (size_t)(line_end - at), block->counter,
                                 take_request, block, why);
        if (verdict == DGO_TRACE_FAILED)
            return block->err.status;
        if (verdict == DGO_TRACE_BAD)
            note_bad(block, why);
        if (dgo_job_should_stop())
            return DGO_ECANCELLED;
        at = newline ? newline + 1 : end;
    }
    return DGO_OK;
}

/* ---- the reading thread ---- */

/* What a counted block found, added to the whole; the block is free again. */
static enum dgo_status take_over(struct reader *reader, struct block *block)
{
    struct dgo_workload *all = &reader->out->workload;
    struct requests *out = reader->out;
    struct dgo_result result;
    enum dgo_status status;

    if (!block->busy)
        return DGO_OK;
    block->busy = false;
    status = dgo_wait(block->future, DGO_FOREVER, &result, reader->err);
    if (status == DGO_OK && result.outcome != DGO_OUTCOME_DONE)
        status = block->err.status ? dgo_fail(reader->err, block->err.status, "%s", block->err.text)
                                   : dgo_fail(reader->err, DGO_ECANCELLED, "reading was stopped");
    for (uint32_t i = 0; i < block->found.count && status == DGO_OK; i++)
        status = dgo_workload_add(all, &block->found.request[i], reader->err);
    all->generated_known = all->generated_known && block->generated_known;
    all->arrivals_known = all->arrivals_known && block->arrivals_known;
    all->estimated = all->estimated || block->found.estimated;
    for (uint32_t i = 0; i < block->bad_shown && out->bad_shown < REQUESTS_BAD_SHOWN; i++) {
        out->bad[out->bad_shown] = block->bad[i];
        out->bad[out->bad_shown++].line += reader->file_lines;
    }
    out->bad_lines += block->bad_lines;
    out->lines += block->lines;
    reader->file_lines += block->lines;
    reader->done_bytes += block->length;
    if (reader->question->progress)
        reader->question->progress(reader->done_bytes, reader->total_bytes,
                                   reader->question->progress_data);
    return status;
}

static void clear_block(struct block *block)
{
    block->found.count = 0;
    block->found.estimated = false;
    block->generated_known = block->arrivals_known = true;
    block->lines = block->bad_lines = 0;
    block->bad_shown = 0;
    block->err = (struct dgo_error){0};
}

/* The next free block, with room for `size` bytes. */
static enum dgo_status free_block(struct reader *reader, size_t size, struct block **free_one)
{
    struct block *block = &reader->block[reader->next];
    enum dgo_status status = take_over(reader, block);

    if (status != DGO_OK)
        return status;
    if (block->size < size) {
        char *grown = realloc(block->text, size);

        if (!grown)
            return dgo_fail(reader->err, DGO_ENOMEM, "out of memory for a line of %zu bytes", size);
        block->text = grown;
        block->size = size;
    }
    clear_block(block);
    *free_one = block;
    return DGO_OK;
}

static enum dgo_status submit(struct reader *reader, struct block *block, const char *path)
{
    const struct requests_question *question = reader->question;
    enum dgo_status status;

    if (block->length == 0)
        return DGO_OK;
    if (!reader->format_known) {
        status = dgo_trace_detect(block->text, block->length, question->columns,
                                  &reader->out->format, reader->err);
        if (status != DGO_OK) {
            dgo_error_prefix(reader->err, status, "%s", path);
            return status;
        }
        reader->format_known = true;
    }
    block->format = &reader->out->format;
    block->counter =
        question->counter_count > 0 ? &question->counters[block - reader->block] : NULL;
    block->path = path;
    status = dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_TOKEN_LENGTHS),
                                          .on_full = DGO_FULL_INLINE,
                                          .fn = count_block,
                                          .arg = block},
                        &block->future, reader->err);
    block->busy = status == DGO_OK;
    reader->next = (reader->next + 1) % reader->block_count;
    return status;
}

/* The end of a line that was too long: skipped, and counted as a bad one. */
static size_t skip_to_newline(struct reader *reader, char *text, size_t length)
{
    const char *newline = memchr(text, '\n', length);
    const size_t left = newline ? length - (size_t)(newline + 1 - text) : 0;

    if (newline) {
        memmove(text, newline + 1, left);
        reader->skipping = false;
    }
    return left;
}

static void drop_long_line(struct reader *reader, const char *path)
{
    struct requests *out = reader->out;

    reader->skipping = true;
    out->bad_lines++;
    out->lines++;
    reader->file_lines++;
    if (out->bad_shown == REQUESTS_BAD_SHOWN)
        return;
    out->bad[out->bad_shown] = (struct requests_bad){.path = path, .line = reader->file_lines};
    dgo_text_copy(out->bad[out->bad_shown++].why, DGO_TRACE_WHY_MAX,
                  "it is longer than 16 MiB; one request a line is wanted");
}

/* Fills blocks with whole lines: what follows the last newline begins the next block. */
static enum dgo_status read_blocks(struct reader *reader, int fd, const char *path)
{
    struct block *block = NULL;
    enum dgo_status status = free_block(reader, REQUESTS_BLOCK_BYTES, &block);
    size_t held = 0;

    while (status == DGO_OK) {
        const ssize_t got = read(fd, block->text + held, block->size - held);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dgo_fail_errno(reader->err, DGO_EIO, errno, "%s: reading failed", path);
        reader->out->bytes += (uint64_t)got;
        held += (size_t)got;
        if (reader->skipping)
            held = skip_to_newline(reader, block->text, held);
        if (got == 0) { /* the last line may have no newline */
            block->length = held;
            return submit(reader, block, path);
        }
        if (held < block->size)
            continue;

        const char *newline = memrchr(block->text, '\n', held);
        const size_t whole = newline ? (size_t)(newline + 1 - block->text) : 0;
        struct block *before = block;

        if (whole == 0 && block->size >= REQUESTS_LINE_MAX) {
            for (uint32_t i = 0; i < reader->block_count && status == DGO_OK; i++)
                status =
                    take_over(reader, &reader->block[(reader->next + i) % reader->block_count]);
            drop_long_line(reader, path);
            held = 0;
            continue;
        }
        if (whole == 0) { /* one long line: a bigger block */
            char *grown = realloc(block->text, block->size * 2);

            if (!grown)
                return dgo_fail(reader->err, DGO_ENOMEM, "out of memory for a line of %zu bytes",
                                block->size * 2);
            block->text = grown;
            block->size *= 2;
            continue;
        }
        block->length = whole;
        held -= whole;
        char *rest = malloc(held + 1);

        if (!rest)
            return dgo_fail(reader->err, DGO_ENOMEM, "out of memory while reading %s", path);
        memcpy(rest, before->text + whole, held);
        status = submit(reader, block, path);
        if (status == DGO_OK)
            status = free_block(reader, dgo_max_u64(REQUESTS_BLOCK_BYTES, held * 2), &block);
        if (status == DGO_OK)
            memcpy(block->text, rest, held);
        free(rest);
    }
    return status;
}

static enum dgo_status finish_blocks(struct reader *reader)
{
    enum dgo_status status = DGO_OK;

    for (uint32_t i = 0; i < reader->block_count; i++) {
        struct block *block = &reader->block[(reader->next + i) % reader->block_count];
        const enum dgo_status one = take_over(reader, block);

        status = status ? status : one;
    }
    return status;
}

static enum dgo_status read_path(struct reader *reader, const char *path)
{
    const bool standard = strcmp(path, "-") == 0;
    const int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    enum dgo_status status, finished;

    if (fd < 0)
        return dgo_fail_errno(reader->err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                              "%.300s cannot be read", path);
    reader->file_lines = 0;
    reader->skipping = false;
    status = read_blocks(reader, fd, standard ? "standard input" : path);
    finished = finish_blocks(reader); /* also after a failure: blocks are still being counted */
    if (!standard)
        close(fd);
    return status ? status : finished;
}

static uint64_t sum_sizes(const struct requests_question *question)
{
    uint64_t sum = 0;
    struct stat about;

    for (uint32_t i = 0; i < question->path_count; i++) {
        if (stat(question->paths[i], &about) != 0 || !S_ISREG(about.st_mode))
            return 0;
        sum += (uint64_t)about.st_size;
    }
    return sum;
}

static enum dgo_status read_all(struct reader *reader)
{
    const struct requests_question *question = reader->question;
    struct requests *out = reader->out;

    for (uint32_t i = 0; i < question->path_count; i++) {
        const char *path = question->paths[i];
        const enum dgo_status status = dgo_recording_is_one(path)
                                           ? requests_read_recording(path, out, reader->err)
                                           : read_path(reader, path);

        if (status != DGO_OK)
            return status;
    }
    if (out->workload.count > 0)
        return DGO_OK;
    if (out->bad_shown > 0)
        return dgo_fail(reader->err, DGO_EFORMAT,
                        "%.200s holds no request that can be read; line %" PRIu64 ": %s",
                        question->paths[0], out->bad[0].line, out->bad[0].why);
    return dgo_fail(reader->err, DGO_EFORMAT, "%.200s holds no requests", question->paths[0]);
}

enum dgo_status requests_read(const struct requests_question *question, struct requests *requests,
                              struct dgo_error *err)
{
    struct reader *reader = calloc(1, sizeof *reader);
    enum dgo_status status;

    memset(requests, 0, sizeof *requests);
    if (!reader)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    requests->workload.generated_known = requests->workload.arrivals_known = true;
    reader->question = question;
    reader->out = requests;
    reader->err = err;
    reader->block_count = question->counter_count > 0 ? question->counter_count : 1;
    reader->total_bytes = sum_sizes(question);
    status = read_all(reader);
    for (uint32_t i = 0; i < REQUESTS_BLOCKS_MAX; i++) {
        free(reader->block[i].text);
        dgo_workload_done(&reader->block[i].found);
    }
    free(reader);
    requests->counted = question->counter_count > 0 && (requests->format.kind == DGO_TRACE_JSONL ||
                                                        requests->format.kind == DGO_TRACE_TEXT);
    if (status == DGO_OK)
        dgo_workload_sort(&requests->workload);
    else
        requests_done(requests);
    return status;
}

void requests_done(struct requests *requests)
{
    dgo_workload_done(&requests->workload);
}
