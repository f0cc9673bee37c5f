/* cmd_run.c - `dualgpuopt run MODEL`: plan, start, wait until ready, plan against measured,
 * supervise. */
#include "cmd.h"
#include "chat.h"
#include "detach.h"
#include "dgo_app.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "flow.h"
#include "print.h"
#include "supervise.h"
#include "view.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_TOKENS_MAX = 64 };
#define ASK_TIMEOUT_NS (300 * DGO_NS_PER_S)

struct face;

/* One chat request: its job's argument until it is done. */
struct ask {
    struct face *face;
    const char *host, *message;
    uint16_t port;
    enum dgo_status status;
    struct dgo_error err;
    struct chat_answer answer;
};

/* What the face remembers of one `run`. */
struct face {
    const struct cmd_call *call;
    struct flow *flow;
    struct dgo_app app;
    struct supervise *launch;
    struct ask ask;
    struct dgo_future asking; /* zero: not asked */
    bool answered, shown;     /* once each */
    bool once_failed;         /* --once: something was not as planned */
    bool interrupted;
};

static json_t *view_ask(const struct ask *ask)
{
    if (ask->status != DGO_OK)
        return json_pack("{s:b, s:o}", "answered", 0, "error", view_text(ask->err.text));
    return json_pack("{s:b, s:o, s:I, s:I}", "answered", 1, "text", view_text(ask->answer.text),
                     "prompt_tokens", (json_int_t)ask->answer.prompt_tokens, "generated_tokens",
                     (json_int_t)ask->answer.generated_tokens);
}

static void show_json(const struct face *face)
{
    json_t *object = view_comparison(&face->flow->machine, supervise_comparison(face->launch),
                                     supervise_report(face->launch));

    json_object_set_new(object, "ready", json_true());
    json_object_set_new(object, "port", json_integer(supervise_port(face->launch)));
    if (face->answered)
        json_object_set_new(object, "chat", view_ask(&face->ask));
    print_json(object);
}

static bool is_as_planned(const struct face *face)
{
    const struct dgo_comparison *comparison = supervise_comparison(face->launch);

    return comparison->as_planned && (!face->answered || face->ask.status == DGO_OK);
}

/* The result of the run so far, once: the table or the JSON object. */
static void show_result(struct face *face)
{
    face->shown = true;
    if (option_given(&face->call->options, OPTION_JSON))
        show_json(face);
    else if (face->answered && face->ask.status == DGO_OK)
        printf("\nasked:    %s\nanswered: %s\n(%" PRIu32 " tokens)\n", face->ask.message,
               face->ask.answer.text, face->ask.answer.generated_tokens);
    fflush(stdout);
    if (option_given(&face->call->options, OPTION_ONCE)) {
        face->once_failed = !is_as_planned(face);
        supervise_stop(face->launch);
    }
}

static enum dgo_status job_ask(void *data)
{
    struct ask *ask = data;

    ask->status = chat_ask(ask->host, ask->port, ask->message, ASK_TOKENS_MAX, ASK_TIMEOUT_NS,
                           &ask->answer, &ask->err);
    return ask->status;
}

static void on_asked(const struct dgo_result *result, void *data)
{
    struct ask *ask = data;
    struct face *face = ask->face;

    if (!face->launch || face->interrupted)
        return; /* nobody waits for an answer any more; the launch may be gone */
    if (result->outcome != DGO_OUTCOME_DONE && ask->status == DGO_OK)
        ask->status = dgo_fail(&ask->err, result->status, "the chat message was not sent");
    if (ask->status != DGO_OK)
        print_message("%s", ask->err.text);
    face->answered = true;
    show_result(face);
}

static void start_asking(struct face *face)
{
    struct ask *ask = &face->ask;
    struct dgo_error err = {0};

    ask->face = face;
    ask->host = option_text(&face->call->options, OPTION_HOST);
    ask->port = supervise_port(face->launch);
    ask->message = option_text(&face->call->options, OPTION_ASK);
    if (dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_CHAT_REQUEST),
                                     .fn = job_ask,
                                     .arg = ask,
                                     .done = on_asked,
                                     .done_lane = DGO_LANE_UI},
                   &face->asking, &err) != DGO_OK) {
        print_message("the chat message was not sent: %s", err.text);
        face->once_failed = true;
        supervise_stop(face->launch);
    }
}

/* Started again after a crash it is ready again: the question is asked and the result shown once.
 */
static void on_ready(struct face *face)
{
    const char *host = option_text(&face->call->options, OPTION_HOST);
    const bool is_v6 = strchr(host, ':') != NULL;
    char origin[DGO_ORIGIN_TEXT_MAX];

    (void)dgo_origin_text(&face->flow->machine.origin, origin);
    if (!option_given(&face->call->options, OPTION_JSON)) {
        printf("\nplan against measured%s%s:\n", origin[0] ? ", " : "", origin);
        print_comparison(supervise_comparison(face->launch));
    }
    fflush(stdout);
    print_message("ready: http://%s%s%s:%u, model %s%s%s%s; Ctrl-C stops it", is_v6 ? "[" : "",
                  host, is_v6 ? "]" : "", supervise_port(face->launch),
                  face->flow->model->name[0] ? face->flow->model->name : "without a name",
                  origin[0] ? ", on " : "", origin, origin[0] ? " cards" : "");
    if (!option_given(&face->call->options, OPTION_ASK)) {
        if (!face->shown)
            show_result(face);
    } else if (face->asking.generation == 0) {
        start_asking(face);
    }
}

static enum dgo_status on_event(const struct dgo_event *event, void *data)
{
    struct face *face = data;
    const struct launch_event *launch = event->payload;
    const struct line_event *line = event->payload;

    if (event->topic == TOPIC_ENGINE_LINE) {
        if (option_given(&face->call->options, OPTION_LOG))
            fprintf(stderr, "engine: %s\n", line->text);
        return DGO_OK;
    }
    switch (launch->state) {
    case LAUNCH_READY:
        on_ready(face);
        break;
    case LAUNCH_ENDED:
        sd_event_exit(face->app.loop, 0);
        break;
    default:
        print_message("%s: %s", launch_state_name(launch->state), launch->text);
    }
    return DGO_OK;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    struct face *face = data;

    (void)source;
    (void)info;
    face->interrupted = true;
    (void)dgo_cancel(face->asking, NULL); /* an engine waits for its clients before it ends */
    supervise_stop(face->launch);         /* the second one kills */
    return 0;
}

/* What stops a run. A signal that was ignored when we were started (nohup) stays ignored: blocked,
 * as it must be for the loop, it would arrive after all. */
static bool is_stop_signal(int number)
{
    struct sigaction action;

    return number != SIGHUP ||
           (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN);
}

static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { STOP_SIGNAL_COUNT = sizeof stop_signals / sizeof stop_signals[0] };

static enum dgo_status watch(struct face *face, struct dgo_error *err)
{
    const struct dgo_subscriber subscriber = {
        .name = "cli run",
        .topics = DGO_TOPIC_BIT(TOPIC_LAUNCH_STATE) | DGO_TOPIC_BIT(TOPIC_ENGINE_LINE),
        .fn = on_event,
        .data = face,
        .lane = DGO_LANE_UI,
        .depth = 4096,
    };
    struct dgo_subscription subscription;
    int result = 0;

    for (int i = 0; i < STOP_SIGNAL_COUNT && result >= 0; i++)
        if (is_stop_signal(stop_signals[i]))
            result = sd_event_add_signal(face->app.loop, NULL, stop_signals[i], on_signal, face);
    if (result < 0)
        return dgo_fail_errno(err, DGO_EIO, -result, "signals cannot be watched");
    return dgo_bus_subscribe(face->app.bus, &subscriber, &subscription, err);
}

/* The engine runs until it ends; returns why, if that was not what was wanted. */
static enum dgo_status supervise(struct face *face, struct dgo_error *err)
{
    const struct options *options = &face->call->options;
    const struct supervise_options wanted = {
        .port = (uint16_t)option_number(options, OPTION_PORT),
        .oom = option_given(options, OPTION_RETRY_SMALLER) ? OOM_SMALLER : OOM_STOP,
        .restart_max = (uint32_t)option_number(options, OPTION_RESTART),
        .ready_timeout_ns = option_number(options, OPTION_READY_TIMEOUT),
        .stop_timeout_ns = option_number(options, OPTION_STOP_TIMEOUT),
        .extra_args = face->call->rest,
        .extra_count = face->call->rest_count,
        .sampler = face->flow->sampler,
    };
    enum dgo_status status;
    int result;

    status = watch(face, err);
    if (status == DGO_OK)
        status = supervise_start(&face->app, face->flow, &wanted, &face->launch, err);
    if (status != DGO_OK)
        return status;
    result = sd_event_loop(face->app.loop);
    if (result < 0 || supervise_state(face->launch) != LAUNCH_ENDED)
        return dgo_fail_errno(err, DGO_EIO, result < 0 ? -result : ECANCELED,
                              "the event loop has failed");
    /* The end overtook the lines that led to it. */
    (void)dgo_bus_drain(face->app.bus, DGO_NS_PER_S, NULL);
    status = supervise_outcome(face->launch, err);
    /* Stopping before it was ready is what Ctrl-C asked for. */
    if (status == DGO_ECANCELLED && face->interrupted)
        return DGO_OK;
    return status;
}

/* Before the threads start, so that they inherit it and the loop alone gets the signals. */
static void block_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    for (int i = 0; i < STOP_SIGNAL_COUNT; i++)
        if (is_stop_signal(stop_signals[i]))
            sigaddset(&signals, stop_signals[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* The last line of a run that did not fail, and its exit status: --once promises a result. */
static int close_run(const struct face *face)
{
    if (option_given(&face->call->options, OPTION_ONCE) && face->interrupted &&
        (!face->shown || face->once_failed))
        print_message("stopped before there was a result");
    else if (face->once_failed)
        print_message("not as planned: see the table above");
    else {
        print_message("stopped");
        return 0;
    }
    return 1;
}

static int run_engine(const struct cmd_call *call, struct flow *flow)
{
    static struct face face;
    struct dgo_error err = {0};
    enum dgo_status status;
    int exit_status;

    face = (struct face){.call = call, .flow = flow};
    status = flow_check_devices(flow, &err); /* Ctrl-C still ends us, and the engine with us */
    block_signals();
    if (status == DGO_OK)
        status = dgo_app_open(&face.app, &err);
    if (status == DGO_OK)
        status = supervise(&face, &err);
    if (status != DGO_OK)
        exit_status = print_failure(&err);
    else
        exit_status = close_run(&face);
    supervise_free(face.launch);
    face.launch = NULL;
    (void)dgo_cancel(face.asking, NULL); /* its end, on_asked, may come while the app closes */
    dgo_future_forget(face.asking);
    dgo_app_close(&face.app);
    return exit_status;
}

static int dry_run(const struct cmd_call *call, struct flow *flow)
{
    static char line[65536];
    struct dgo_text text = DGO_TEXT(line);
    struct dgo_error err = {0};

    if (flow_command(flow, flow_shown_port(flow), call->rest, call->rest_count, &err) != DGO_OK)
        return print_failure(&err);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(view_plan(&flow->machine, flow->model, &flow->plan, &flow->command));
    flow_preview(&flow->command, call->environment, &text);
    if (text.truncated) {
        print_message("the command is longer than %zu bytes; --json shows all of it", sizeof line);
        return 1;
    }
    printf("%s\n", line);
    if (!option_given(&call->options, OPTION_EXPLAIN))
        return 0;
    for (uint32_t i = 0; i < flow->command.env_count; i++)
        print_message("%s=%s: %s", flow->command.env[i].name,
                      flow->command.env[i].value ? flow->command.env[i].value : "(removed)",
                      flow->command.env[i].why);
    for (uint32_t i = 0; i < flow->command.arg_count; i++)
        if (flow->command.why[i])
            print_message("%s: %s", flow->command.arg[i], flow->command.why[i]);
    return 0;
}

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    const bool dry = option_given(&call->options, OPTION_DRY_RUN);
    struct dgo_error err = {0};
    enum dgo_status status;
    int exit_status;

    if (option_given(&call->options, OPTION_DETACH) && !dry)
        return run_detached(call);
    flow_init(&flow, &call->options, call->environment);
    status = flow_prepare(&flow, call->args[0], !dry, &err);
    if (status != DGO_OK) {
        if (status == DGO_ENOFIT && flow.planned && !option_given(&call->options, OPTION_JSON))
            print_plan(&flow.machine, flow.model, &flow.plan, NULL, call->environment,
                       flow.calibrated);
        else if (status == DGO_ENOFIT && flow.planned)
            print_json(view_plan(&flow.machine, flow.model, &flow.plan, NULL));
        exit_status = print_failure(&err);
    } else if (dry) {
        exit_status = dry_run(call, &flow);
    } else {
        if (!option_given(&call->options, OPTION_JSON))
            print_plan(&flow.machine, flow.model, &flow.plan, NULL, call->environment,
                       flow.calibrated);
        exit_status = run_engine(call, &flow);
    }
    flow_done(&flow);
    return exit_status;
}

const struct cmd cmd_run = {
    .name = "run",
    .does = "plan, start the engine, show plan against measured, supervise",
    .usage = "MODEL.gguf [options] [-- ENGINE FLAGS]",
    .examples = "dualgpuopt run model.gguf\n"
                "dualgpuopt run model.gguf --ctx max --parallel 4 --port 8080\n"
                "dualgpuopt run model.gguf --detach --name chat\n"
                "dualgpuopt run model.gguf --dry-run\n"
                "dualgpuopt run model.gguf --once --ask 'Are you there?'",
    .details = "The engine ends with this program. Ctrl-C stops it: once by TERM, twice by KILL.\n"
               "With --detach the daemon (dualgpuopt serve) runs it, and this program returns.",
    .arg_min = 1,
    .arg_max = 1,
    .takes_rest = true,
    .options = {OPTION_DETACH,   OPTION_NAME,          OPTION_PINNED,        OPTION_SOCKET,
                OPTION_DRY_RUN,  OPTION_ONCE,          OPTION_ASK,           OPTIONS_OF_PLAN,
                OPTION_WORKLOAD, OPTION_COLUMNS,       OPTION_TOKEN_LATENCY, OPTION_GPUS,
                OPTION_PRESET,   OPTION_NODE,          OPTION_NETWORK,       OPTION_RETRY_SMALLER,
                OPTION_RESTART,  OPTION_READY_TIMEOUT, OPTION_STOP_TIMEOUT,  OPTION_LOG,
                OPTION_EXPLAIN,  OPTION_JSON,          OPTION_STATE_DIR,     OPTION_VERBOSE,
                OPTION_NVML,     OPTION_HELP},
    .run = run,
};
