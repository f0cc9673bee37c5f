/* process.c - the life of one engine: started, its lines handed over, stopped, gone, told once.
 *
 *     running ──TERM──► stopping ──half, TERM again, half──► killing ─┐
 *        └── ends by itself ─────────────────────────────────────────┴─► all gone ──► exited
 *
 * `exited` waits for both: the guard's end (nothing of the engine is left) and the end of both
 * pipes (no line is lost).  The second wait is bounded, because a stranger may hold a pipe. */
#include "spawn.h"
#include "stream.h"

#include "dgo_units.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#define TERM_WAIT_NS  (10 * DGO_NS_PER_S)
#define DRAIN_WAIT_NS (500 * DGO_NS_PER_MS)

/* How long dgo_process_free waits for what SIGKILL does not end at once: pages of a large model are
 * given back, a driver call returns.  After that the guard waits alone. */
enum { FREE_WAIT_MS = 10000 };

enum { ACCURACY_US = 1000 }; /* 0 would be sd-event's 250 ms */

enum ladder { RUNNING, STOPPING, KILLING };

struct dgo_process {
    sd_event *loop;
    struct spawned child;
    struct stream stream[2]; /* by enum dgo_stream */
    sd_event_source *report;
    sd_event_source *term_timer, *drain_timer;
    uint64_t term_wait_ns;
    enum ladder ladder;
    bool gone; /* the guard and all below it */
    bool told; /* exited was called */
    bool in_line;
    dgo_line_fn line;
    dgo_exit_fn exited;
    void *data;
};

static struct dgo_exit exit_of(const struct dgo_process *process)
{
    const struct guard_end *end = &process->child.end;
    struct dgo_exit result = {.stopped_by_us = process->ladder != RUNNING};

    if (end->code == CLD_EXITED) {
        result.code = end->status;
        return result;
    }
    result.signalled = true;
    result.signal = end->code == 0 ? SIGKILL : end->status; /* 0: it died with its guard */
    result.core_dumped = end->code == CLD_DUMPED;
    result.killed = process->ladder == KILLING && result.signal == SIGKILL;
    return result;
}

static void release_sources(struct dgo_process *process)
{
    stream_close(&process->stream[DGO_STREAM_OUT]);
    stream_close(&process->stream[DGO_STREAM_ERR]);
    process->report = sd_event_source_disable_unref(process->report);
    process->term_timer = sd_event_source_disable_unref(process->term_timer);
    process->drain_timer = sd_event_source_disable_unref(process->drain_timer);
}

/* The callback may free the process, so callers return right after. */
static void tell_when_done(struct dgo_process *process)
{
    const struct dgo_exit result = exit_of(process);

    if (process->told || !process->gone || !process->stream[DGO_STREAM_OUT].ended ||
        !process->stream[DGO_STREAM_ERR].ended)
        return;
    process->told = true;
    release_sources(process);
    if (process->exited)
        process->exited(process, &result, process->data);
}

static void on_line(struct stream *stream, const struct line *line, void *data)
{
    struct dgo_process *process = data;
    const enum dgo_stream which =
        stream == &process->stream[DGO_STREAM_OUT] ? DGO_STREAM_OUT : DGO_STREAM_ERR;

    if (!process->line)
        return;
    process->in_line = true;
    process->line(process, which, line->text, line->length, line->partial, process->data);
    process->in_line = false;
}

static void on_stream_end(struct stream *stream, void *data)
{
    (void)stream;
    tell_when_done(data);
}

static int on_drain_deadline(sd_event_source *source, uint64_t now_us, void *data)
{
    struct dgo_process *process = data;

    (void)source;
    (void)now_us;
    stream_finish(&process->stream[DGO_STREAM_OUT]);
    stream_finish(&process->stream[DGO_STREAM_ERR]);
    tell_when_done(process);
    return 0;
}

static int add_timer(struct dgo_process *process, sd_event_source **timer, uint64_t wait_ns,
                     sd_event_time_handler_t handler)
{
    return sd_event_add_time_relative(process->loop, timer, CLOCK_MONOTONIC,
                                      wait_ns / DGO_NS_PER_US, ACCURACY_US, handler, process);
}

static int on_report(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct dgo_process *process = data;

    (void)source;
    (void)fd;
    (void)events;
    if (!spawn_gone(&process->child))
        return 0;
    process->gone = true;
    process->report = sd_event_source_disable_unref(process->report);
    process->term_timer = sd_event_source_disable_unref(process->term_timer);
    if (add_timer(process, &process->drain_timer, DRAIN_WAIT_NS, on_drain_deadline) < 0)
        on_drain_deadline(NULL, 0, process);
    else
        tell_when_done(process);
    return 0;
}

static enum dgo_status watch(struct dgo_process *process, struct dgo_error *err)
{
    const int fds[2] = {
        [DGO_STREAM_OUT] = process->child.out_fd, [DGO_STREAM_ERR] = process->child.err_fd};

    for (uint32_t i = 0; i < 2; i++) {
        struct stream *stream = &process->stream[i];

        stream->fd = fds[i];
        stream->line = on_line;
        stream->end = on_stream_end;
        stream->data = process;

        const enum dgo_status status = stream_open(stream, process->loop, err);

        if (status != DGO_OK)
            return status;
    }

    const int result = sd_event_add_io(process->loop, &process->report, process->child.report_fd,
                                       EPOLLIN, on_report, process);

    return result < 0 ? dgo_fail_errno(err, DGO_EIO, -result, "cannot watch the engine's process")
                      : DGO_OK;
}

static struct dgo_process *make(sd_event *loop, const struct dgo_process_options *options,
                                struct dgo_error *err)
{
    struct dgo_process *made = calloc(1, sizeof *made);

    if (!made) {
        dgo_fail(err, DGO_ENOMEM, "no memory to start the engine");
        return NULL;
    }
    made->loop = sd_event_ref(loop);
    made->line = options->line;
    made->exited = options->exited;
    made->data = options->data;
    made->term_wait_ns = options->term_wait_ns ? options->term_wait_ns : TERM_WAIT_NS;
    made->child = (struct spawned){.out_fd = -1, .err_fd = -1, .lifeline_fd = -1, .report_fd = -1};
    return made;
}

/* Watches what was started or adopted (`status`), or gives it up. */
static enum dgo_status finish(struct dgo_process *made, enum dgo_status status,
                              struct dgo_process **process, struct dgo_error *err)
{
    if (status == DGO_OK)
        status = watch(made, err);
    if (status != DGO_OK) {
        dgo_process_free(made);
        return status;
    }
    *process = made;
    return DGO_OK;
}

enum dgo_status dgo_process_start(sd_event *loop, const struct dgo_process_options *options,
                                  struct dgo_process **process, struct dgo_error *err)
{
    const struct spawn_request request = {.argv = options->argv,
                                          .environment = options->environment,
                                          .directory = options->directory,
                                          .keep = {.path = options->keep.path,
                                                   .wait_ms = options->keep.wait_ns / DGO_NS_PER_MS,
                                                   .log_fd = options->keep.log_fd}};
    struct dgo_process *made = make(loop, options, err);

    if (!made)
        return DGO_ENOMEM;
    return finish(made, spawn(&request, &made->child, err), process, err);
}

enum dgo_status dgo_process_adopt(sd_event *loop, const struct dgo_process_options *options,
                                  struct dgo_process **process, struct dgo_error *err)
{
    struct dgo_process *made = make(loop, options, err);

    if (!made)
        return DGO_ENOMEM;
    return finish(made, spawn_adopt(options->keep.path, &made->child, err), process, err);
}

void dgo_process_leave(struct dgo_process *process)
{
    if (!process)
        return;
    assert(!process->in_line);
    release_sources(process);
    spawn_close(&process->child); /* the end of the lifeline, without the word to kill */
    sd_event_unref(process->loop);
    free(process);
}

pid_t dgo_process_pid(const struct dgo_process *process)
{
    return process->child.pid;
}

bool dgo_process_running(const struct dgo_process *process)
{
    return !process->gone;
}

static void kill_now(struct dgo_process *process)
{
    process->ladder = KILLING;
    process->term_timer = sd_event_source_disable_unref(process->term_timer);
    spawn_kill(&process->child);
}

static int on_term_deadline(sd_event_source *source, uint64_t now_us, void *data)
{
    (void)source;
    (void)now_us;
    kill_now(data);
    return 0;
}

/* Half of the time is over.  A server may lose a TERM that comes while it starts its loop
 * (llama-server 0.7.0 does, between "listening" and "all slots are idle"), so it is told again. */
static int on_term_again(sd_event_source *source, uint64_t now_us, void *data)
{
    struct dgo_process *process = data;

    (void)source;
    (void)now_us;
    process->term_timer = sd_event_source_disable_unref(process->term_timer);
    spawn_signal(&process->child, SIGTERM);
    if (add_timer(process, &process->term_timer, process->term_wait_ns / 2, on_term_deadline) < 0)
        kill_now(process);
    return 0;
}

void dgo_process_stop(struct dgo_process *process)
{
    if (process->gone)
        return;
    if (process->ladder != RUNNING) {
        kill_now(process);
        return;
    }
    process->ladder = STOPPING;
    spawn_signal(&process->child, SIGTERM);
    spawn_signal(&process->child, SIGCONT); /* one that was stopped would not hear TERM */
    if (add_timer(process, &process->term_timer, process->term_wait_ns / 2, on_term_again) < 0)
        kill_now(process);
}

void dgo_process_free(struct dgo_process *process)
{
    if (!process)
        return;
    assert(!process->in_line);
    release_sources(process);
    spawn_kill(&process->child);
    (void)spawn_wait_gone(&process->child, FREE_WAIT_MS);
    spawn_close(&process->child);
    sd_event_unref(process->loop);
    free(process);
}
