/* measure.c - phases with and without the manager, in turns, and what was seen in each. */
#include "measure.h"

#include "dgo_lock.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "engine_http.h"
#include "supervise.h"
#include "view.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_MAX = 1 << 16, TOKENS_MAX = 4096, ANSWER_TOKENS = 24, WARM_UP = 3 };
static const uint32_t loads_permille[MEASURE_LEVELS] = {20, 100, 500};

/* One piece of work on its way. */
struct piece {
    struct run *run;
    enum busy_kind kind;
    enum dgo_status status;
    uint64_t due_ns, took_ns;
};

/* One phase. */
struct run {
    struct busy *busy;
    bool managed;
    uint64_t begun_ns;
    uint32_t count;
    struct busy_event *event;
    struct piece *piece;
    _Atomic uint32_t ended, refused; /* ended: futex */
    _Atomic bool is_over;
};

/* Asks the engine for tokens, one request after the other, while it is allowed to. */
struct asker {
    pthread_t thread;
    bool is_there;
    char url[96];
    _Atomic uint32_t asks; /* futex: 0 wait, 1 ask, 2 end */
    _Atomic uint32_t is_asking;
    uint32_t count;
    double tokens_per_second[TOKENS_MAX];
};

struct session {
    struct dgo_app *app;
    struct flow *flow;
    const struct measure_options *options;
    struct measure *measure;
    struct busy *busy;
    struct supervise *launch;
    struct asker asker;
};

/* ---- the engine beside it ---- */

static double read_speed(const struct engine_answer *answer)
{
    json_t *root = json_loadb(answer->data ? answer->data : "", answer->length, 0, NULL);
    const double speed = json_number_value(
        json_object_get(json_object_get(root, "timings"), "predicted_per_second"));

    json_decref(root);
    return speed;
}

static void *ask(void *data)
{
    struct asker *asker = data;
    const struct engine_request request = {
        .url = asker->url,
        .json = "{\"prompt\":\"layers and cards\",\"n_predict\":24,\"ignore_eos\":true,"
                "\"cache_prompt\":false,\"temperature\":0}",
        .what = "the request for tokens",
        .timeout_ns = 60 * DGO_NS_PER_S,
    };

    for (;;) {
        const uint32_t what = atomic_load(&asker->asks);
        struct engine_answer answer = {0};

        if (what == 2)
            return NULL;
        if (what == 0) {
            dgo_sleep_on(&asker->asks, 0, UINT64_MAX);
            continue;
        }
        atomic_store(&asker->is_asking, 1);
        if (engine_http(&request, &answer, NULL) == DGO_OK && asker->count < TOKENS_MAX) {
            const double speed = read_speed(&answer);

            if (speed > 0)
                asker->tokens_per_second[asker->count++] = speed;
        }
        engine_answer_done(&answer);
        atomic_store(&asker->is_asking, 0);
        dgo_wake_up(&asker->is_asking, 1);
    }
}

static void set_asking(struct asker *asker, uint32_t what)
{
    atomic_store(&asker->asks, what);
    dgo_wake_up(&asker->asks, 1);
}

/* Lets the loop live so long, or until the condition. */
static void live(struct session *session, uint64_t until_ns, const _Atomic bool *is_over)
{
    for (;;) {
        const uint64_t now_ns = dgo_monotonic_ns();

        if (now_ns >= until_ns || (is_over && atomic_load(is_over)))
            return;
        sd_event_run(session->app->loop,
                     dgo_min_u64(until_ns - now_ns, 20 * DGO_NS_PER_MS) / DGO_NS_PER_US);
    }
}

static void stop_asking(struct session *session)
{
    set_asking(&session->asker, 0);
    while (atomic_load(&session->asker.is_asking))
        live(session, dgo_monotonic_ns() + 5 * DGO_NS_PER_MS, NULL);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The median since the last call; 0 without any. */
static double take_speed(struct asker *asker)
{
    const uint32_t count = asker->count;
    double median = 0;

    if (count) {
        qsort(asker->tokens_per_second, count, sizeof *asker->tokens_per_second, compare_doubles);
        median = asker->tokens_per_second[count / 2];
    }
    asker->count = 0;
    return median;
}

static void no_engine(struct session *session, const struct dgo_error *err)
{
    dgo_text_copy(session->measure->no_engine, sizeof session->measure->no_engine, err->text);
    supervise_free(session->launch);
    session->launch = NULL;
}

static void start_engine(struct session *session)
{
    const struct supervise_options options = {.ready_timeout_ns = 300 * DGO_NS_PER_S,
                                              .stop_timeout_ns = 10 * DGO_NS_PER_S};
    struct measure *measure = session->measure;
    struct dgo_error err = {0};

    if (!session->flow->binary_found) {
        dgo_text_copy(measure->no_engine, sizeof measure->no_engine,
                      "no llama-server was found (--engine PATH)");
        return;
    }
    if (flow_check_devices(session->flow, &err) != DGO_OK ||
        supervise_start(session->app, session->flow, &options, &session->launch, &err) != DGO_OK) {
        no_engine(session, &err);
        return;
    }
    while (supervise_state(session->launch) != LAUNCH_READY &&
           supervise_state(session->launch) != LAUNCH_ENDED)
        live(session, dgo_monotonic_ns() + 20 * DGO_NS_PER_MS, NULL);
    if (supervise_state(session->launch) == LAUNCH_ENDED) {
        if (supervise_outcome(session->launch, &err) == DGO_OK)
            dgo_text_copy(err.text, sizeof err.text, "the engine ended by itself");
        no_engine(session, &err);
        return;
    }
    snprintf(session->asker.url, sizeof session->asker.url, "http://127.0.0.1:%u/completion",
             supervise_port(session->launch));
    session->asker.is_there =
        pthread_create(&session->asker.thread, NULL, ask, &session->asker) == 0;
    measure->has_engine = session->asker.is_there;
    dgo_resource_set_streaming(true);
}

static void stop_engine(struct session *session)
{
    if (session->asker.is_there) {
        set_asking(&session->asker, 2);
        pthread_join(session->asker.thread, NULL);
        dgo_resource_set_streaming(false);
    }
    if (!session->launch)
        return;
    supervise_stop(session->launch);
    while (supervise_state(session->launch) != LAUNCH_ENDED)
        live(session, dgo_monotonic_ns() + 20 * DGO_NS_PER_MS, NULL);
    supervise_free(session->launch);
}

/* ---- the workload ---- */

static enum dgo_status work(void *data)
{
    struct piece *piece = data;

    piece->status = busy_do(piece->run->busy, piece->kind);
    return piece->status;
}

static void note_end(const struct dgo_result *result, void *data)
{
    struct piece *piece = data;

    piece->status = result->status;
    piece->took_ns = dgo_monotonic_ns() - piece->due_ns;
    atomic_fetch_add(&piece->run->ended, 1);
    dgo_wake_up(&piece->run->ended, 1);
}

static void offer(struct run *run, struct piece *piece)
{
    const struct dgo_result result = {.status = DGO_OK};

    if (!run->managed) {
        work(piece);
        note_end(&(struct dgo_result){.outcome = result.outcome, .status = piece->status}, piece);
        return;
    }
    if (dgo_submit(&(struct dgo_job){.component = app_component(busy_component(piece->kind)),
                                     .fn = work,
                                     .arg = piece,
                                     .done = note_end},
                   NULL, NULL) == DGO_OK)
        return;
    piece->status = DGO_EBUSY;
    atomic_fetch_add(&run->refused, 1);
    atomic_fetch_add(&run->ended, 1);
}

static void sleep_until(uint64_t ns)
{
    const struct timespec until = {.tv_sec = (time_t)(ns / DGO_NS_PER_S),
                                   .tv_nsec = (long)(ns % DGO_NS_PER_S)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        ;
}

/* The thread that asks for everything, as a program's own would. */
static void *drive(void *data)
{
    struct run *run = data;

    run->begun_ns = dgo_monotonic_ns();
    for (uint32_t i = 0; i < run->count; i++) {
        struct piece *piece = &run->piece[i];

        *piece = (struct piece){
            .run = run, .kind = run->event[i].kind, .due_ns = run->begun_ns + run->event[i].at_ns};
        sleep_until(piece->due_ns);
        offer(run, piece);
    }
    for (uint32_t ended = atomic_load(&run->ended); ended < run->count;
         ended = atomic_load(&run->ended))
        dgo_sleep_on(&run->ended, ended, UINT64_MAX);
    atomic_store(&run->is_over, true);
    return NULL;
}

/* ---- what was seen ---- */

static int compare_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void note_times(const struct run *run, int kind, struct measure_times *times,
                       uint64_t *scratch)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < run->count; i++)
        if ((kind < 0 || run->piece[i].kind == (enum busy_kind)kind) &&
            run->piece[i].status == DGO_OK)
            scratch[count++] = run->piece[i].took_ns;
    qsort(scratch, count, sizeof *scratch, compare_u64);
    *times = (struct measure_times){.count = count};
    if (count == 0)
        return;
    times->p50_ns = scratch[count / 2];
    times->p99_ns = scratch[(uint64_t)count * 99 / 100];
    times->worst_ns = scratch[count - 1];
}

static uint64_t cpu_ns(void)
{
    struct timespec now;

    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0
               ? (uint64_t)now.tv_sec * DGO_NS_PER_S + (uint64_t)now.tv_nsec
               : 0;
}

static uint64_t rss_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long all = 0, resident = 0;

    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &all, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What everybody uses on the cards together; and what this process does, as the drivers see it. */
static bool look_at_vram(struct session *session, uint64_t *used_bytes, uint64_t *own_bytes,
                         bool *own_known)
{
    const struct dgo_machine *machine = &session->flow->machine;
    const uint32_t pid = (uint32_t)getpid();

    *used_bytes = *own_bytes = 0;
    *own_known = false;
    if (flow_look(session->flow, NULL) != DGO_OK || machine->gpu_count == 0)
        return false;
    *own_known = dgo_machine_is_live(machine);
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if (!dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES))
            return false;
        *used_bytes += gpu->used_bytes;
        *own_known &= gpu->processes_known;
        for (uint32_t i = 0; i < gpu->process_count; i++)
            if (gpu->process[i].pid == pid)
                *own_bytes += gpu->process[i].used_bytes;
    }
    return true;
}

/* ---- phases ---- */

static enum dgo_status restart_manager(bool managed, struct dgo_error *err)
{
    const struct dgo_resource_config config = {.workers = managed ? 0 : DGO_WORKERS_NONE};
    enum dgo_status status = dgo_resource_stop(DGO_NS_PER_S, err);

    if (status == DGO_OK)
        status = dgo_resource_start(&config, err);
    return status;
}

static enum dgo_status run_phase(struct session *session, struct run *run,
                                 struct measure_phase *phase, struct dgo_error *err)
{
    const uint64_t length_ns = session->measure->length_ns;
    uint64_t cpu_before_ns, begun_ns;
    pthread_t driver;

    take_speed(&session->asker);
    set_asking(&session->asker, session->asker.is_there);
    begun_ns = dgo_monotonic_ns();
    cpu_before_ns = cpu_ns();
    if (pthread_create(&driver, NULL, drive, run) != 0)
        return dgo_fail(err, DGO_EIO, "the system refused a thread for the workload");
    live(session, begun_ns + length_ns, NULL);
    phase->cpu_permille =
        (uint32_t)((cpu_ns() - cpu_before_ns) * 1000 / (dgo_monotonic_ns() - begun_ns));
    phase->rss_bytes = rss_bytes();
    stop_asking(session);
    phase->tokens_per_second = take_speed(&session->asker);
    live(session, UINT64_MAX, &run->is_over); /* what was left waiting, with nothing beside it */
    pthread_join(driver, NULL);
    phase->tokens_known = phase->tokens_per_second > 0;
    return DGO_OK;
}

static enum dgo_status measure_phase(struct session *session, uint32_t load_permille, bool managed,
                                     struct measure_phase *phase, struct dgo_error *err)
{
    struct measure *measure = session->measure;
    const double per_second = load_permille * 1e6 / (double)measure->mix_cost_ns;
    struct run *run = calloc(1, sizeof *run);
    uint64_t *scratch = calloc(EVENT_MAX, sizeof *scratch);
    enum dgo_status status = DGO_ENOMEM;

    *phase = (struct measure_phase){.managed = managed, .load_permille = load_permille};
    if (!run || !scratch)
        goto out;
    run->busy = session->busy;
    run->managed = managed;
    run->event = calloc(EVENT_MAX, sizeof *run->event);
    run->piece = calloc(EVENT_MAX, sizeof *run->piece);
    if (!run->event || !run->piece)
        goto out;
    run->count =
        busy_schedule(load_permille, per_second, measure->length_ns, run->event, EVENT_MAX);
    status = restart_manager(managed, err);
    if (status == DGO_OK)
        status = run_phase(session, run, phase, err);
    if (status != DGO_OK)
        goto out;
    phase->offered = run->count;
    phase->refused = atomic_load(&run->refused);
    note_times(run, -1, &phase->all, scratch);
    for (int kind = 0; kind < BUSY_KIND_COUNT; kind++)
        note_times(run, kind, &phase->of[kind], scratch);
    phase->done = phase->all.count;
    phase->failed = phase->offered - phase->refused - phase->done;
    phase->vram_known =
        look_at_vram(session, &phase->vram_bytes, &phase->own_vram_bytes, &phase->own_vram_known);
out:
    if (status == DGO_ENOMEM)
        dgo_fail(err, DGO_ENOMEM, "out of memory for the workload");
    if (run) {
        free(run->event);
        free(run->piece);
    }
    free(run);
    free(scratch);
    return status;
}

/* How long one piece of the mix takes alone, by a schedule of its own. */
static enum dgo_status weigh(struct session *session, struct dgo_error *err)
{
    enum { PIECES = 200 };
    struct busy_event event[PIECES];
    const uint32_t count = busy_schedule(7, 1000, UINT64_MAX, event, PIECES);
    uint64_t begun_ns = 0;

    for (uint32_t i = 0; i < WARM_UP + count; i++) {
        const enum busy_kind kind = event[i < WARM_UP ? i : i - WARM_UP].kind;

        if (i == WARM_UP)
            begun_ns = cpu_ns();
        if (busy_do(session->busy, kind) != DGO_OK)
            return dgo_fail(err, DGO_EFORMAT, "the work of the component %s failed",
                            dgo_component_get(app_component(busy_component(kind)))->name);
    }
    session->measure->mix_cost_ns = dgo_max_u64((cpu_ns() - begun_ns) / count, 1000);
    return DGO_OK;
}

static void tell(struct session *session, const char *text)
{
    if (session->options->tell)
        session->options->tell(text, session->options->data);
}

static enum dgo_status measure_all(struct session *session, struct dgo_error *err)
{
    struct measure *measure = session->measure;
    enum dgo_status status = weigh(session, err);
    char text[120];

    if (status == DGO_OK && measure->has_engine) {
        tell(session, "the engine alone");
        set_asking(&session->asker, 1);
        live(session, dgo_monotonic_ns() + measure->length_ns, NULL);
        stop_asking(session);
        measure->tokens_alone = take_speed(&session->asker);
    }
    for (uint32_t i = 0; i < MEASURE_PHASE_MAX && status == DGO_OK; i++) {
        const uint32_t load = loads_permille[i / 2];

        snprintf(text, sizeof text, "%" PRIu32 " %% of a CPU asked for, %s the manager", load / 10,
                 i % 2 ? "with" : "without");
        tell(session, text);
        status = measure_phase(session, load, i % 2, &measure->phase[i], err);
    }
    return status;
}

enum dgo_status measure_run(struct dgo_app *app, struct flow *flow,
                            const struct measure_options *options, struct measure *measure,
                            struct dgo_error *err)
{
    struct session *session = calloc(1, sizeof *session);
    uint64_t own_bytes;
    bool own_known;
    enum dgo_status status, restarted;

    if (!session)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for the measurement");
    *measure = (struct measure){.length_ns = options->total_ns / (MEASURE_PHASE_MAX + 1)};
    session->app = app;
    session->flow = flow;
    session->options = options;
    session->measure = measure;
    measure->vram_before_known =
        look_at_vram(session, &measure->vram_before_bytes, &own_bytes, &own_known);
    status = flow_command(flow, flow_shown_port(flow), NULL, 0, err);
    if (status == DGO_OK)
        status = busy_open(flow, &session->busy, err);
    if (status == DGO_OK) {
        tell(session, "the engine starts");
        start_engine(session);
        status = measure_all(session, err);
        restarted = restart_manager(true, status == DGO_OK ? err : NULL);
        status = status == DGO_OK ? restarted : status;
        stop_engine(session);
    }
    busy_close(session->busy);
    free(session);
    return status;
}

/* ---- view ---- */

static json_t *view_times(const struct measure_times *times)
{
    json_t *object = json_pack("{s:I}", "count", (json_int_t)times->count);

    if (times->count == 0)
        return object;
    json_object_set_new(object, "p50_ns", json_integer((json_int_t)times->p50_ns));
    json_object_set_new(object, "p99_ns", json_integer((json_int_t)times->p99_ns));
    json_object_set_new(object, "worst_ns", json_integer((json_int_t)times->worst_ns));
    return object;
}

static json_t *view_phase(const struct measure_phase *phase)
{
    json_t *components = json_object();
    json_t *object =
        json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "managed", (int)phase->managed,
                  "load_permille", (json_int_t)phase->load_permille, "offered",
                  (json_int_t)phase->offered, "done", (json_int_t)phase->done, "failed",
                  (json_int_t)phase->failed, "refused", (json_int_t)phase->refused, "cpu_permille",
                  (json_int_t)phase->cpu_permille, "completion", view_times(&phase->all));

    for (int kind = 0; kind < BUSY_KIND_COUNT; kind++)
        json_object_set_new(
            components,
            dgo_component_get(app_component(busy_component((enum busy_kind)kind)))->name,
            view_times(&phase->of[kind]));
    json_object_set_new(object, "components", components);
    if (phase->rss_bytes)
        json_object_set_new(object, "rss_bytes", json_integer((json_int_t)phase->rss_bytes));
    if (phase->own_vram_known)
        json_object_set_new(object, "own_vram_bytes",
                            json_integer((json_int_t)phase->own_vram_bytes));
    if (phase->vram_known)
        json_object_set_new(object, "vram_used_bytes", json_integer((json_int_t)phase->vram_bytes));
    if (phase->tokens_known)
        json_object_set_new(object, "tokens_per_second", json_real(phase->tokens_per_second));
    return object;
}

json_t *measure_view(const struct flow *flow, const struct measure *measure)
{
    json_t *phases = json_array();
    json_t *object =
        json_pack("{s:s, s:b, s:o, s:I, s:I, s:I, s:b}", "schema", "dualgpuopt.bench-resources/1",
                  "simulated", (int)flow->machine.origin.simulated, "model",
                  view_text(flow->model->name), "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
                  "phase_ns", (json_int_t)measure->length_ns, "mix_cost_ns",
                  (json_int_t)measure->mix_cost_ns, "engine", (int)measure->has_engine);

    view_add_recorded(object, &flow->machine.origin);
    if (measure->no_engine[0])
        json_object_set_new(object, "no_engine", view_text(measure->no_engine));
    if (measure->tokens_alone > 0)
        json_object_set_new(object, "tokens_per_second_alone", json_real(measure->tokens_alone));
    if (measure->vram_before_known)
        json_object_set_new(object, "vram_used_before_bytes",
                            json_integer((json_int_t)measure->vram_before_bytes));
    for (uint32_t i = 0; i < MEASURE_PHASE_MAX; i++)
        json_array_append_new(phases, view_phase(&measure->phase[i]));
    json_object_set_new(object, "phases", phases);
    return object;
}
