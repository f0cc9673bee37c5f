/* daemon.c - the daemon from start to end: sockets, watch, fleet, servers, signals, and the view
 * that all faces show. */
#include "daemon.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "api.h"
#include "front.h"
#include "keep.h"
#include "alert_sinks.h"
#include "listen.h"
#include "machine_json.h"
#include "profile_live.h"
#include "view.h"
#include "view_config.h"
#include "view_resources.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SNAPSHOT_MS = 100 };

static const int stop_signals[] = {SIGINT, SIGTERM};
enum { STOP_SIGNAL_COUNT = sizeof stop_signals / sizeof stop_signals[0] };

/* ---- the view ---- */

static const char *word_of(enum option_id id, const struct options *options, char word[32])
{
    const char *choices = option_specs[id].metavar;

    for (uint64_t at = option_number(options, id); at > 0; at--)
        choices = strchr(choices, '|') + 1;
    snprintf(word, 32, "%.*s", (int)strcspn(choices, "|"), choices);
    return word;
}

const struct config *daemon_config(const struct daemon *daemon)
{
    return config_watch_current(daemon->config);
}

const struct options *daemon_options(const struct daemon *daemon)
{
    return &daemon_config(daemon)->options;
}

static json_t *view_policy(const struct options *options)
{
    char admission[32], oom[32];

    return json_pack("{s:s, s:s, s:I, s:I, s:b}", "admission",
                     word_of(OPTION_ADMISSION, options, admission), "oom",
                     word_of(OPTION_OOM, options, oom), "idle_timeout_ns",
                     (json_int_t)option_number(options, OPTION_IDLE_TIMEOUT), "keep_engines_ns",
                     (json_int_t)option_number(options, OPTION_KEEP_ENGINES), "on_demand",
                     (int)!option_given(options, OPTION_NO_ON_DEMAND));
}

static json_t *view_daemon(const struct daemon *daemon)
{
    const uint32_t clients = (daemon->tcp ? http_client_count(daemon->tcp) : 0) +
                             (daemon->local ? http_client_count(daemon->local) : 0);

    return json_pack("{s:i, s:I, s:s, s:i, s:i}", "pid", (int)getpid(), "started_ns",
                     (json_int_t)daemon->started_ns, "listen", daemon->listen, "clients",
                     (int)clients, "event_clients", (int)events_client_count(daemon->events));
}

/* What an engine tells of its work stands with its launch. */
static json_t *view_launches(const struct daemon *daemon)
{
    struct dgo_engine_load load[WATCH_ENGINE_MAX];
    const uint32_t count = watch_loads(daemon->watch, load, WATCH_ENGINE_MAX);
    json_t *launches = fleet_view(daemon->fleet), *launch;
    size_t at;

    json_array_foreach(launches, at, launch)
    {
        const json_int_t pid = json_integer_value(json_object_get(launch, "pid"));

        for (uint32_t i = 0; i < count; i++)
            if (pid > 0 && load[i].pid == (uint32_t)pid)
                json_object_set_new(launch, "engine", gpu_json_of_load(&load[i]));
    }
    return launches;
}

json_t *daemon_view(void *data)
{
    struct daemon *daemon = data;
    const struct dgo_sample *sample = daemon->sample;
    json_t *object;

    watch_latest(daemon->watch, daemon->sample);
    object = json_pack("{s:s, s:s, s:I, s:b}", "schema", "dualgpuopt.view/1", "version",
                       DGO_VERSION, "time_ns", (json_int_t)dgo_clock_wall_ns(dgo_clock_system()),
                       "simulated", (int)sample->machine.origin.simulated);
    view_add_recorded(object, &sample->machine.origin);
    if (sample->sequence > 0) {
        json_object_set_new(object, "machine", view_machine(&sample->machine));
        json_object_set_new(object, "machine_age_ns", json_integer((json_int_t)sample->age_ns));
    }
    if (sample->problem[0])
        json_object_set_new(object, "machine_problem", view_text(sample->problem));
    json_object_set_new(object, "machine_stale", json_boolean(sample->stale));
    json_object_set_new(object, "launches", view_launches(daemon));
    json_object_set_new(object, "queue", fleet_queue_view(daemon->fleet));
    json_object_set_new(object, "vram", view_ledger(&sample->machine));
    json_object_set_new(object, "alerts", profile_live_alerts(daemon->profile));
    json_object_set_new(object, "policy", view_policy(daemon_options(daemon)));
    json_object_set_new(object, "groups", view_groups(&daemon_config(daemon)->groups));
    json_object_set_new(object, "daemon", view_daemon(daemon));
    return object;
}

static int on_snapshot(sd_event_source *source, uint64_t now_us, void *data)
{
    struct daemon *daemon = data;

    (void)source;
    (void)now_us;
    if (events_client_count(daemon->events) > 0)
        events_snapshot(daemon->events, daemon_view(daemon));
    return 0;
}

void daemon_changed(struct daemon *daemon)
{
    int enabled = SD_EVENT_OFF;

    free(daemon->view);
    daemon->view = NULL;
    if (!daemon->snapshot || sd_event_source_get_enabled(daemon->snapshot, &enabled) < 0 ||
        enabled != SD_EVENT_OFF)
        return;
    (void)sd_event_source_set_time_relative(daemon->snapshot, SNAPSHOT_MS * 1000);
    (void)sd_event_source_set_enabled(daemon->snapshot, SD_EVENT_ONESHOT);
}

static void on_fleet_event(const char *type, json_t *object, void *data)
{
    struct daemon *daemon = data;

    if (strcmp(type, "launch") == 0)
        profile_note_launch(daemon, object);
    else if (strcmp(type, "drift") == 0)
        profile_note_drift(daemon, object);
    events_publish(daemon->events, type, object);
    if (strcmp(type, "lines") != 0)
        daemon_changed(daemon);
    if (daemon->stopping && fleet_running_count(daemon->fleet) == 0)
        (void)sd_event_exit(daemon->app.loop, 0);
}

static void on_alert(struct daemon *daemon, const struct alert_event *event)
{
    struct dgo_alert alert = {.rule = event->rule,
                              .level = event->level,
                              .before = event->before,
                              .gpu_index = event->gpu_index,
                              .pid = event->pid,
                              .value = event->value};

    (void)dgo_text_copy(alert.text, sizeof alert.text, event->text);
    events_publish(daemon->events, "alert", alert_view(&alert, event->wall_ns));
}

static enum dgo_status on_sample(const struct dgo_event *event, void *data)
{
    if (event->topic == TOPIC_ALERT)
        on_alert(data, event->payload);
    if (event->topic == TOPIC_GPU_SAMPLE)
        profile_note_plans(data);
    if (event->topic == TOPIC_CONFIG_CHANGED)
        profile_live_set_alerts(((struct daemon *)data)->profile, daemon_config(data)->setting);
    daemon_changed(data);
    return DGO_OK;
}

/* ---- signals ---- */

static void say(const struct daemon *daemon, const char *fmt, ...) DGO_PRINTF(2, 3);

static void say(const struct daemon *daemon, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    daemon->say(text);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    struct daemon *daemon = data;
    const uint32_t running = fleet_running_count(daemon->fleet);

    (void)source;
    (void)info;
    if (running == 0)
        return sd_event_exit(daemon->app.loop, 0);
    say(daemon, daemon->stopping ? "killing %u engines" : "stopping %u engines; once more kills",
        (unsigned)running);
    fleet_stop_all(daemon->fleet, daemon->stopping);
    daemon->stopping = true;
    return 0;
}

/* Another daemon follows at once: engines go on, for as long as they are kept. */
static int on_leave(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    struct daemon *daemon = data;

    (void)source;
    (void)info;
    fleet_leave(daemon->fleet);
    return sd_event_exit(daemon->app.loop, 0);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    (void)source;
    (void)info;
    config_watch_reload(((struct daemon *)data)->config);
    return 0;
}

/* Before the threads start, so that they inherit it and the loop alone gets the signals. */
static void block_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    for (int i = 0; i < STOP_SIGNAL_COUNT; i++)
        sigaddset(&signals, stop_signals[i]);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* a client that went away is no reason to end */
    (void)signal(SIGXFSZ, SIG_IGN); /* nor is a file that may not grow */
}

/* A thousand clients are a thousand descriptors. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- start ---- */

static enum dgo_status add_sources(struct daemon *daemon, struct dgo_error *err)
{
    const struct dgo_subscriber subscriber = {
        .name = "serve",
        .topics = DGO_TOPIC_BIT(TOPIC_GPU_SAMPLE) | DGO_TOPIC_BIT(TOPIC_ALERT) |
                  DGO_TOPIC_BIT(TOPIC_CONFIG_CHANGED),
        .fn = on_sample,
        .data = daemon,
        .lane = DGO_LANE_UI,
    };
    struct dgo_subscription subscription;
    int result = 0;

    for (int i = 0; i < STOP_SIGNAL_COUNT && result >= 0; i++)
        result = sd_event_add_signal(daemon->app.loop, NULL, stop_signals[i], on_signal, daemon);
    if (result >= 0)
        result = sd_event_add_signal(daemon->app.loop, NULL, SIGHUP, on_reload, daemon);
    if (result >= 0)
        result = sd_event_add_signal(daemon->app.loop, NULL, SIGUSR1, on_leave, daemon);
    if (result >= 0)
        result = sd_event_add_time_relative(daemon->app.loop, &daemon->snapshot, CLOCK_MONOTONIC,
                                            SNAPSHOT_MS * 1000, 1000, on_snapshot, daemon);
    if (result < 0)
        return dgo_fail_errno(err, DGO_EIO, -result, "the loop cannot watch signals and time");
    return dgo_bus_subscribe(daemon->app.bus, &subscriber, &subscription, err);
}

static enum dgo_status start_watch(struct daemon *daemon, struct dgo_error *err)
{
    const struct watch_options options = {
        .gpu = {.machine_file = option_text(daemon_options(daemon), OPTION_GPUS),
                .nvml_library = option_text(daemon_options(daemon), OPTION_NVML)},
        .on_sample = profile_live_sample,
        .on_load = profile_live_load,
        .data = daemon->profile,
    };

    daemon->sample = calloc(1, sizeof *daemon->sample);
    if (!daemon->sample)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    return watch_start(&daemon->app, &options, &daemon->watch, err);
}

static enum dgo_status start_profile(struct daemon *daemon, struct dgo_error *err)
{
    const struct options *options = daemon_options(daemon);
    char state[PATH_MAX];
    const struct profile_live_options wanted = {
        .state_directory = flow_state_folder(options, state, sizeof state) ? state : NULL,
        .setting = daemon_config(daemon)->setting,
    };

    return profile_live_start(&daemon->app, &wanted, &daemon->profile, err);
}

static enum dgo_status start_fleet(struct daemon *daemon, struct dgo_error *err)
{
    struct fleet_options wanted = {
        .config = daemon->config,
        .environment = daemon->environment,
    };
    char state[PATH_MAX];
    enum dgo_status status;

    if (flow_state_folder(daemon_options(daemon), state, sizeof state - 8)) {
        snprintf(daemon->directory, sizeof daemon->directory, "%.*s/daemon",
                 (int)sizeof daemon->directory - 8, state);
        status = keep_open(daemon->directory, &daemon->lock_fd, err);
        if (status != DGO_OK)
            return status;
        wanted.directory = daemon->directory;
    }
    if (serve_socket_path(daemon_options(daemon), daemon->socket, sizeof daemon->socket))
        wanted.daemon_socket = daemon->socket;
    return fleet_new(&daemon->app, daemon->watch, &wanted, on_fleet_event, daemon, &daemon->fleet,
                     err);
}

static enum dgo_status serve_tcp(struct daemon *daemon, const struct http_options *http,
                                 struct dgo_error *err)
{
    const char *address = option_text(daemon_options(daemon), OPTION_LISTEN);
    const char *token_file = option_text(daemon_options(daemon), OPTION_TOKEN_FILE);
    struct policy policy = {.host_count = 0};
    bool is_loopback = true;
    int fd = -1;
    enum dgo_status status = token_load(token_file, daemon->token, err);

    memcpy(policy.token, daemon->token, sizeof policy.token);
    if (status == DGO_OK)
        status = listen_tcp(address, &fd, &policy, daemon->listen, &is_loopback, err);
    if (status == DGO_OK)
        status = http_open(daemon->app.loop, fd, &policy, http, &daemon->tcp, err);
    if (status != DGO_OK)
        return status;
    if (!is_loopback)
        say(daemon,
            "%s can be reached from other machines, without encryption: everybody who sees "
            "the token may use it",
            daemon->listen);
    if (strncmp(daemon->listen, "0.0.0.0:", 8) == 0 || strncmp(daemon->listen, "[::]:", 5) == 0)
        say(daemon,
            "requests from there are refused (421) all the same, for their Host names another "
            "address: give the one by which they come, as --listen 192.168.1.5:4585");
    if (token_file)
        say(daemon, "http://%s/ with the token in %s", daemon->listen, token_file);
    else
        say(daemon, "http://%s/#t=%s", daemon->listen, daemon->token);
    return DGO_OK;
}

bool serve_socket_path(const struct options *options, char *path, size_t size)
{
    const char *given = option_text(options, OPTION_SOCKET);
    char state[PATH_MAX];

    if (given)
        return dgo_text_copy(path, size, given);
    return listen_default_path(flow_state_folder(options, state, sizeof state) ? state : NULL, path,
                               size);
}

static enum dgo_status serve_local(struct daemon *daemon, const struct http_options *http,
                                   struct dgo_error *err)
{
    const struct policy policy = {.local = true};
    int fd = -1;
    enum dgo_status status;

    if (!daemon->socket[0]) {
        say(daemon, "no Unix socket: neither XDG_RUNTIME_DIR nor a state folder; ps, logs and stop "
                    "need one, see --socket");
        return DGO_OK;
    }
    status = listen_unix(daemon->socket, &fd, err);
    if (status == DGO_OK)
        status = http_open(daemon->app.loop, fd, &policy, http, &daemon->local, err);
    return status;
}

static enum dgo_status start_servers(struct daemon *daemon, struct dgo_error *err)
{
    const struct http_options http = {.routes = api_routes, .fallback = page_serve, .data = daemon};
    enum dgo_status status = serve_local(daemon, &http, err);

    if (status == DGO_OK)
        status = serve_tcp(daemon, &http, err);
    return status;
}

static enum dgo_status start(struct daemon *daemon, const struct options *given,
                             struct dgo_error *err)
{
    enum dgo_status status = dgo_app_open(&daemon->app, err);

    if (status == DGO_OK)
        status = config_watch_start(&daemon->app, given, daemon->environment, &daemon->config, err);

    if (status == DGO_OK)
        status = listen_check(option_text(daemon_options(daemon), OPTION_LISTEN), err);
    if (status == DGO_OK)
        status = events_new(daemon->app.loop, daemon_view, daemon, &daemon->events, err);
    if (status == DGO_OK)
        status = start_profile(daemon, err);
    if (status == DGO_OK)
        status = start_watch(daemon, err);
    if (status == DGO_OK)
        status = start_fleet(daemon, err);
    if (status == DGO_OK)
        status = front_new(daemon, &daemon->front, err);
    if (status == DGO_OK)
        status = add_sources(daemon, err);
    if (status == DGO_OK)
        status = start_servers(daemon, err);
    if (status == DGO_OK)
        fleet_restore(daemon->fleet);
    return status;
}

static void stop(struct daemon *daemon)
{
    front_stop(daemon->front);
    http_close(daemon->tcp);
    if (daemon->local)
        (void)unlink(daemon->socket);
    http_close(daemon->local);
    daemon->tcp = daemon->local = NULL;
    sd_event_source_disable_unref(daemon->snapshot);
    daemon->snapshot = NULL;
    fleet_free(daemon->fleet);
    watch_stop(daemon->watch);
    profile_live_stop(daemon->profile);
    config_watch_stop(daemon->config);
    events_free(daemon->events);
    dgo_app_close(&daemon->app);
    front_free(daemon->front);
    if (daemon->lock_fd >= 0)
        close(daemon->lock_fd);
    free(daemon->sample);
    free(daemon->view);
}

enum dgo_status serve_run(const struct options *options, char *const *environment,
                          serve_say_fn sayer, struct dgo_error *err)
{
    struct daemon *daemon = calloc(1, sizeof *daemon);
    enum dgo_status status;

    if (!daemon)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    daemon->environment = environment;
    daemon->lock_fd = -1;
    daemon->say = sayer;
    daemon->started_ns = dgo_clock_wall_ns(dgo_clock_system());
    block_signals();
    raise_file_limit();
    status = start(daemon, options, err);
    if (status == DGO_OK) {
        const int result = sd_event_loop(daemon->app.loop);

        if (result < 0)
            status = dgo_fail_errno(err, DGO_EIO, -result, "the event loop has failed");
    }
    stop(daemon);
    free(daemon);
    return status;
}
