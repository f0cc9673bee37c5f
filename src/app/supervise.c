/* supervise.c - the life of one launch, as a state machine on the loop.
 *
 *   STARTING ─► LOADING ─► READY ─► STOPPING ─► ENDED
 *       ▲          │         │                    ▲
 *       └── RESTARTING ◄─────┘ (crash, back-off)  │
 *              ▲   └──────────────────────────────┘ (nothing smaller, no restarts left)
 *              └── out of memory and --retry-smaller: the next smaller plan, at once
 *
 * Ready means two things at once: the health address answers 200, and the log has said that the
 * server listens, because the figures to compare stand in the log before that line. */
#include "supervise_internal.h"

#include "dgo_launch.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "engine_end.h"
#include "history.h"
#include "learn.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PORT_TRIES_MAX = 5,
    TIMER_ACCURACY_US = 1000, /* sd-event's own default is a quarter of a second */
};

/* Builds whose "listening" line has another wording still get ready, this long after health, once
 * they have said that the model is loaded.  Health alone does not do: on a port that two programs
 * chose at the same moment it is the other one's engine that answers. */
#define LISTENING_GRACE_NS (2 * DGO_NS_PER_S)
/* An engine that ran this long before it crashed starts its back-off anew. */
#define STABLE_NS (600 * DGO_NS_PER_S)

static void begin(struct supervise *launch);

void supervise_enter(struct supervise *launch, enum launch_state state, const char *fmt, ...)
{
    struct launch_event event = {
        .state = state, .attempt = launch->starts ? launch->starts - 1 : 0, .port = launch->port};
    va_list args;

    launch->state = state;
    if (launch->process && dgo_process_running(launch->process))
        event.pid = (int32_t)dgo_process_pid(launch->process);
    va_start(args, fmt);
    vsnprintf(event.text, sizeof event.text, fmt, args);
    va_end(args);
    if (dgo_bus_publish(launch->app->bus, TOPIC_LAUNCH_STATE, launch->options.source, &event) !=
        DGO_OK)
        dgo_log(DGO_LOG_WARN, "launch.state %s was not published", launch_state_name(state));
}

static void end_with(struct supervise *launch, const struct dgo_error *failure)
{
    if (failure)
        launch->failure = *failure;
    supervise_enter(launch, LAUNCH_ENDED, "%s", failure ? failure->text : "stopped");
}

static uint64_t now_ns(struct supervise *launch)
{
    uint64_t us = 0;

    sd_event_now(launch->app->loop, CLOCK_MONOTONIC, &us);
    return us * DGO_NS_PER_US;
}

/* Replaces the launch's one timer; false: the loop has none left. */
static bool start_timer(struct supervise *launch, uint64_t delay_ns, sd_event_time_handler_t fn)
{
    const uint64_t at_us = (now_ns(launch) + delay_ns) / DGO_NS_PER_US;

    launch->timer = sd_event_source_disable_unref(launch->timer);
    return sd_event_add_time(launch->app->loop, &launch->timer, CLOCK_MONOTONIC, at_us,
                             TIMER_ACCURACY_US, fn, launch) >= 0;
}

static void enter_ready(struct supervise *launch)
{
    struct dgo_overhead_record overhead[DGO_GPU_MAX];
    uint32_t overhead_count = 0;

    launch->was_ready = true;
    launch->ready_ns = now_ns(launch);
    if (launch->learning)
        overhead_count = learn_measure(launch->learn, &launch->comparison, overhead);
    launch->learning = false;
    if (!launch->adopted) /* else it is in the history since it was first ready */
        history_start(launch->flow, &launch->comparison, &launch->report, overhead, overhead_count);
    supervise_enter(launch, LAUNCH_READY, "%s", launch->comparison.sentence);
    learn_watch(launch->learn);
}

/* What the engine holds now is what the next plan is to count on. */
static void on_drifted(const struct dgo_overhead_record *record, uint32_t gpu_index, void *data)
{
    struct supervise *launch = data;
    char now[DGO_UNIT_TEXT_MAX], ready[DGO_UNIT_TEXT_MAX], line[128];
    struct dgo_text text = DGO_TEXT(line);

    for (uint32_t i = 0; i < launch->comparison.row_count; i++) {
        struct dgo_comparison_row *row = &launch->comparison.row[i];

        if (row->is_host || row->unplanned || row->gpu_index != gpu_index)
            continue;
        row->overhead.measured_bytes = record->bytes;
        row->drift_bytes = (int64_t)record->bytes - (int64_t)record->ready_bytes;
    }
    history_drift(launch->flow, record);
    dgo_text_addf(
        &text, "GPU %" PRIu32 ": the engine holds %s outside its books, %s as it was ready",
        gpu_index, dgo_bytes_text(record->bytes, now), dgo_bytes_text(record->ready_bytes, ready));
    dgo_log(DGO_LOG_INFO, "%s", line);
    if (launch->options.drifted)
        launch->options.drifted(gpu_index, line, launch->options.data);
}

static void on_looked(void *data)
{
    struct supervise *launch = data;

    if (launch->learning && launch->state == LAUNCH_LOADING)
        enter_ready(launch);
}

/* The look at the cards comes before the word: whoever is told may stop the engine at once. */
static void become_ready(struct supervise *launch)
{
    launch->timer = sd_event_source_disable_unref(launch->timer);
    flow_compare(launch->flow, &launch->report, &launch->comparison);
    launch->learning =
        !launch->adopted && learn_look(launch->learn, (uint32_t)dgo_process_pid(launch->process));
    if (!launch->learning)
        enter_ready(launch);
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *data)
{
    struct supervise *launch = data;

    (void)source;
    (void)usec;
    if (launch->state == LAUNCH_LOADING)
        become_ready(launch);
    return 0;
}

static void give_up_waiting(struct supervise *launch, const char *reason)
{
    char took[DGO_UNIT_TEXT_MAX];

    if (launch->state != LAUNCH_LOADING)
        return;
    dgo_fail(&launch->failure, DGO_ETIMEOUT,
             "the engine was not ready after %s (%.200s); see its log with --log, or allow more "
             "with --ready-timeout",
             dgo_duration_text(launch->options.ready_timeout_ns, took), reason);
    supervise_enter(launch, LAUNCH_STOPPING, "the engine takes too long");
    dgo_process_stop(launch->process);
}

void supervise_on_ready_timeout(struct dgo_health *health, const char *last_error, void *data)
{
    (void)health;
    give_up_waiting(data, last_error);
}

static int on_silence(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source;
    (void)usec;
    give_up_waiting(data, "its address answers, but its own log does not say that it listens; is "
                          "the port another program's?");
    return 0;
}

static void check_ready(struct supervise *launch)
{
    bool timed = true;

    if (launch->state != LAUNCH_LOADING || !launch->healthy || launch->learning)
        return;
    if (launch->report.listening) {
        become_ready(launch);
    } else if (launch->report.model_loaded && !launch->in_grace) {
        launch->in_grace = true;
        timed = start_timer(launch, LISTENING_GRACE_NS, on_grace_over);
    } else if (!launch->timer) { /* health has ended its own time-out with its answer */
        timed = start_timer(launch, launch->options.ready_timeout_ns, on_silence);
    }
    if (!timed)
        become_ready(launch);
}

void supervise_on_healthy(struct dgo_health *health, void *data)
{
    struct supervise *launch = data;

    (void)health;
    launch->healthy = true;
    check_ready(launch);
}

void supervise_on_line(struct dgo_process *process, enum dgo_stream stream, const char *line,
                       size_t length, bool partial, void *data)
{
    struct supervise *launch = data;
    struct line_event event = {.text = ""};

    (void)process;
    (void)stream;
    if (partial && length == 0)
        return;
    flow_read_line(launch->flow, &launch->report, line, length);
    dgo_text_copy_escaped(event.text, sizeof event.text, line, length);
    engine_words_add(&launch->witness.words, line, length);
    if (launch->options.line)
        launch->options.line(event.text, launch->options.data);
    (void)dgo_bus_publish(launch->app->bus, TOPIC_ENGINE_LINE, launch->options.source, &event);
    check_ready(launch);
}

/* ---- an end that nobody asked for ---- */

static void judge_end(struct supervise *launch, const struct dgo_exit *exit,
                      struct engine_end_verdict *verdict)
{
    struct engine_end end = {.exit = exit,
                             .report = &launch->report,
                             .plan = &launch->flow->plan,
                             .pid = (uint32_t)dgo_process_pid(launch->process),
                             .was_ready = launch->was_ready};

    engine_witness_testify(&launch->witness, &end);
    engine_end_judge(&end, verdict);
}

/* Takes the next smaller plan and starts it; false, with the reason in `failure`, when there is
 * none. */
static bool retry_smaller(struct supervise *launch, int32_t device, struct dgo_error *failure)
{
    char change[160], reason[DGO_ERROR_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(reason);
    struct dgo_error err = {0};

    if (flow_shrink(launch->flow, device, change, &err) != DGO_OK) {
        dgo_text_addf(&text, "%s; %s", failure->text, err.text);
        dgo_fail(failure, DGO_ECHILD, "%s", reason);
        return false;
    }
    engine_end_add_sentence(&text, failure->text, 400);
    supervise_enter(launch, LAUNCH_RESTARTING, "%s Trying a smaller plan: %s.", reason, change);
    begin(launch);
    return true;
}

static int on_backoff_over(sd_event_source *source, uint64_t usec, void *data)
{
    struct supervise *launch = data;

    (void)source;
    (void)usec;
    launch->timer = sd_event_source_disable_unref(launch->timer);
    begin(launch);
    return 0;
}

static void restart_later(struct supervise *launch, const struct dgo_error *failure)
{
    char wait[DGO_UNIT_TEXT_MAX], reason[DGO_ERROR_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(reason);
    uint64_t delay_ns;

    if (launch->ready_ns && now_ns(launch) - launch->ready_ns > STABLE_NS)
        launch->restarts = 0;
    launch->ready_ns = 0;
    delay_ns = dgo_restart_delay_ns(launch->restarts++);
    engine_end_add_sentence(&text, failure->text, 480);
    supervise_enter(launch, LAUNCH_RESTARTING, "%s Starting it again in %s.", reason,
                    dgo_duration_text(delay_ns, wait));
    if (!start_timer(launch, delay_ns, on_backoff_over))
        end_with(launch, failure);
}

void supervise_on_exit(struct dgo_process *process, const struct dgo_exit *end, void *data)
{
    struct supervise *launch = data;
    struct engine_end_verdict verdict;

    (void)process;
    dgo_resource_unprotect((uint32_t)dgo_process_pid(launch->process));
    dgo_health_free(launch->health);
    launch->health = NULL;
    launch->timer = sd_event_source_disable_unref(launch->timer);
    learn_cancel(launch->learn);
    launch->learning = false;
    if (launch->state == LAUNCH_STOPPING) {
        end_with(launch, launch->failure.status != DGO_OK ? &launch->failure : NULL);
        return;
    }
    judge_end(launch, end, &verdict);
    if (verdict.out_of_vram && launch->options.oom == OOM_SMALLER) {
        if (!retry_smaller(launch, verdict.device, &verdict.failure))
            end_with(launch, &verdict.failure);
    } else if (verdict.out_of_vram && launch->options.oom == OOM_RESTART &&
               launch->restarts < launch->options.restart_max) {
        restart_later(launch, &verdict.failure);
    } else if (launch->report.trouble == DGO_TROUBLE_PORT && launch->options.port == 0 &&
               launch->port_tries < PORT_TRIES_MAX) {
        launch->port_tries++;
        supervise_enter(launch, LAUNCH_RESTARTING, "port %u was taken meanwhile; trying another",
                        launch->port);
        launch->port++;
        begin(launch);
    } else if (launch->state == LAUNCH_READY && (end->signalled || end->code != 0) &&
               launch->restarts < launch->options.restart_max) {
        restart_later(launch, &verdict.failure);
    } else {
        end_with(launch, &verdict.failure);
    }
}

/* One start; a failure of it ends the launch. */
static void begin(struct supervise *launch)
{
    struct dgo_error failure = {0};

    if (supervise_start_engine(launch, &failure) == DGO_OK)
        return;
    if (launch->process && dgo_process_running(launch->process)) {
        launch->failure = failure; /* its exit will end the launch */
        supervise_enter(launch, LAUNCH_STOPPING, "%s", failure.text);
        dgo_process_stop(launch->process);
    } else {
        end_with(launch, &failure);
    }
}

enum dgo_status supervise_start(struct dgo_app *app, struct flow *flow,
                                const struct supervise_options *options, struct supervise **launch,
                                struct dgo_error *err)
{
    struct supervise *made = calloc(1, sizeof *made);
    enum dgo_status status;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->app = app;
    made->flow = flow;
    made->options = *options;
    made->witness = (struct engine_witness){.sampler = options->sampler};
    made->learn = learn_new(&(struct learn_options){.app = app,
                                                    .flow = flow,
                                                    .sampler = options->sampler,
                                                    .looked = on_looked,
                                                    .drifted = on_drifted,
                                                    .data = made});
    status = supervise_start_engine(made, err);
    if (status != DGO_OK) {
        supervise_free(made);
        return status;
    }
    *launch = made;
    return DGO_OK;
}

void supervise_replay(struct supervise *launch, const char *line, size_t length)
{
    flow_read_line(launch->flow, &launch->report, line, length);
}

enum dgo_status supervise_adopt(struct dgo_app *app, struct flow *flow,
                                const struct supervise_options *options, uint16_t port,
                                struct supervise **launch, struct dgo_error *err)
{
    struct supervise *made = calloc(1, sizeof *made);
    enum dgo_status status;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->app = app;
    made->flow = flow;
    made->options = *options;
    made->witness = (struct engine_witness){.sampler = options->sampler};
    made->port = port;
    made->starts = 1;
    made->adopted = true;
    engine_witness_start(&made->witness);
    status = supervise_adopt_engine(made, err);
    if (status != DGO_OK) {
        supervise_free(made);
        return status;
    }
    *launch = made;
    return DGO_OK;
}

void supervise_stop(struct supervise *launch)
{
    if (launch->state == LAUNCH_ENDED)
        return;
    if (launch->state == LAUNCH_RESTARTING) { /* nothing runs, only the timer */
        launch->timer = sd_event_source_disable_unref(launch->timer);
        end_with(launch, NULL);
        return;
    }
    if (launch->state != LAUNCH_STOPPING) {
        if (!launch->was_ready)
            dgo_fail(&launch->failure, DGO_ECANCELLED, "stopped before the engine was ready");
        supervise_enter(launch, LAUNCH_STOPPING, "stopping the engine");
    }
    dgo_process_stop(launch->process);
}

enum launch_state supervise_state(const struct supervise *launch)
{
    return launch->state;
}

uint16_t supervise_port(const struct supervise *launch)
{
    return launch->port;
}

const struct dgo_report *supervise_report(const struct supervise *launch)
{
    return &launch->report;
}

const struct dgo_comparison *supervise_comparison(const struct supervise *launch)
{
    return &launch->comparison;
}

enum dgo_status supervise_outcome(const struct supervise *launch, struct dgo_error *err)
{
    assert(launch->state == LAUNCH_ENDED);
    if (launch->failure.status != DGO_OK && err)
        *err = launch->failure;
    return launch->failure.status;
}

static void release(struct supervise *launch)
{
    sd_event_source_disable_unref(launch->timer);
    dgo_health_free(launch->health);
    if (launch->process)
        dgo_resource_unprotect((uint32_t)dgo_process_pid(launch->process));
    engine_witness_done(&launch->witness);
    learn_free(launch->learn);
    history_settle(); /* the caller closes the store */
}

void supervise_free(struct supervise *launch)
{
    if (!launch)
        return;
    release(launch);
    dgo_process_free(launch->process);
    free(launch);
}

void supervise_leave(struct supervise *launch)
{
    if (!launch)
        return;
    release(launch);
    dgo_process_leave(launch->process);
    free(launch);
}
