/* cmd_profile_record.c - `dualgpuopt profile record`: the machine's readings into a file. */
#include "cmd_profile.h"
#include "dgo_clock.h"
#include "dgo_recording.h"
#include "dgo_units.h"
#include "engine_load.h"
#include "print.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Filled on the sampler's thread and, with an engine's answers, on the main one. */
struct recording {
    pthread_mutex_t lock;
    struct dgo_recorder *recorder;
    pthread_t waiter; /* woken when nothing can be written any more */
    uint64_t looks, failures, first_ns, last_ns;
    bool told_engine; /* that it does not answer */
    enum dgo_status status;
    struct dgo_error err;
};

static void record(const struct dgo_sample *sample, void *data)
{
    struct recording *recording = data;

    pthread_mutex_lock(&recording->lock);
    if (recording->status == DGO_OK) {
        recording->failures += sample->problem[0] != '\0';
        if (sample->problem[0] == '\0') {
            recording->looks++;
            recording->first_ns = recording->first_ns ? recording->first_ns : sample->monotonic_ns;
            recording->last_ns = sample->monotonic_ns;
        }
        recording->status = dgo_recorder_add_sample(recording->recorder, sample, &recording->err);
        if (recording->status != DGO_OK)
            pthread_kill(recording->waiter, SIGUSR1);
    }
    pthread_mutex_unlock(&recording->lock);
}

static void record_load(struct recording *recording, struct load_source *engine)
{
    const uint64_t now_ns = dgo_clock_monotonic_ns(dgo_clock_system());
    struct dgo_error err = {0};
    const enum dgo_status status = load_ask(engine, now_ns, &err);

    if (status != DGO_OK && !recording->told_engine)
        print_message("%s; it is asked again", err.text);
    recording->told_engine = status != DGO_OK;
    if (status != DGO_OK)
        return;
    pthread_mutex_lock(&recording->lock);
    if (recording->status == DGO_OK)
        recording->status = dgo_recorder_add_load(recording->recorder, now_ns, &engine->track.load,
                                                  &recording->err);
    pthread_mutex_unlock(&recording->lock);
}

/* Waits for a signal; false after so long without one. */
static bool has_signal(const sigset_t *signals, uint64_t ns)
{
    const struct timespec most = {.tv_sec = (time_t)(ns / DGO_NS_PER_S),
                                  .tv_nsec = (long)(ns % DGO_NS_PER_S)};

    return sigtimedwait(signals, NULL, &most) >= 0;
}

/* Until a signal, or so long (0: a signal only); asks the engine at each interval. */
static void wait_for_end(struct recording *recording, struct load_source *engine,
                         const sigset_t *signals, uint64_t interval_ns, uint64_t length_ns)
{
    const uint64_t start_ns = dgo_clock_monotonic_ns(dgo_clock_system());
    uint64_t elapsed_ns = 0;

    while (!length_ns || elapsed_ns < length_ns) {
        const uint64_t left_ns = length_ns ? length_ns - elapsed_ns : interval_ns;

        if (engine->url[0])
            record_load(recording, engine);
        if (has_signal(signals, dgo_min_u64(left_ns, interval_ns)))
            return;
        elapsed_ns = dgo_clock_monotonic_ns(dgo_clock_system()) - start_ns;
    }
}

static const int end_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

static int tell(const struct recording *recording, const char *path)
{
    char length[DGO_UNIT_TEXT_MAX];

    if (recording->status != DGO_OK)
        return print_failure(&recording->err);
    print_message("%" PRIu64 " looks in %s%s%s%s", recording->looks,
                  dgo_duration_text(recording->last_ns - recording->first_ns, length),
                  recording->failures ? ", with failures of the driver" : "",
                  strcmp(path, "-") == 0 ? "" : ", in ", strcmp(path, "-") == 0 ? "" : path);
    return 0;
}

/* The first failure is the one that is told. */
static void close_file(struct recording *recording)
{
    struct dgo_error err = {0};
    const enum dgo_status status = dgo_recorder_close(recording->recorder, &err);

    if (recording->status != DGO_OK || status == DGO_OK)
        return;
    recording->status = status;
    recording->err = err;
}

static enum dgo_status find_engine(const struct options *options, struct load_source *engine,
                                   struct dgo_error *err)
{
    const char *url = option_text(options, OPTION_ENGINE_URL);

    *engine = (struct load_source){.url = ""};
    return url ? load_source_init(engine, url, getenv("LLAMA_API_KEY"), 0, err) : DGO_OK;
}

static int run(const struct cmd_call *call)
{
    const struct options *options = &call->options;
    const char *given = option_text(options, OPTION_OUTPUT), *path = given ? given : "-";
    static struct load_source engine;
    struct recording recording = {.lock = PTHREAD_MUTEX_INITIALIZER, .waiter = pthread_self()};
    const uint64_t interval_ns = option_number(options, OPTION_INTERVAL);
    const struct dgo_sampler_options sampling = {
        .gpu = {.machine_file = option_text(options, OPTION_GPUS),
                .nvml_library = option_text(options, OPTION_NVML)},
        .interval_ns = interval_ns,
        .on_sample = record,
        .data = &recording};
    struct dgo_sampler *sampler = NULL;
    struct dgo_error err = {0};
    enum dgo_status status = find_engine(options, &engine, &err);
    sigset_t signals;

    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof end_signals / sizeof end_signals[0]; i++)
        sigaddset(&signals, end_signals[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (status == DGO_OK)
        status = dgo_recorder_open(path, &recording.recorder, &err);
    if (status == DGO_OK)
        status = dgo_sampler_start(&sampling, &sampler, &err);
    if (status == DGO_OK)
        status = dgo_sampler_wait(sampler, 0, 10 * DGO_NS_PER_S, &err);
    if (status == DGO_OK)
        wait_for_end(&recording, &engine, &signals,
                     dgo_max_u64(interval_ns, DGO_SAMPLER_INTERVAL_MIN_NS),
                     option_number(options, OPTION_SECONDS));
    if (!dgo_sampler_stop(sampler, DGO_NS_PER_S))
        print_message("the driver does not answer; its thread is left behind");
    close_file(&recording);
    if (status == DGO_OK)
        return tell(&recording, path);
    if (given && strcmp(path, "-") != 0 && recording.looks == 0)
        (void)unlink(path); /* an empty one helps nobody */
    return print_failure(&err);
}

const struct cmd cmd_profile_record = {
    .name = "profile record",
    .does = "write the readings of the GPUs to a file, until Ctrl-C",
    .usage = "[--seconds N] [-o FILE] [--interval TIME] [--engine-url URL]",
    .examples = "dualgpuopt profile record --seconds 60 -o machine.jsonl\n"
                "dualgpuopt profile record -o machine.jsonl --engine-url http://127.0.0.1:8080\n"
                "dualgpuopt gpus --gpus machine.jsonl\n"
                "dualgpuopt profile replay machine.jsonl",
    .details =
        "The file (dualgpuopt-recording(5)) can be used wherever a machine file can, on a machine\n"
        "without GPUs too. It holds names and command lines of the processes that use the GPUs,\n"
        "with the values of secrets masked; look at it before you send it to somebody.\n\n"
        "With --engine-url the work of a running llama-server or vLLM is recorded too: its\n"
        "requests, busy slots, tokens and cache. Its API key is taken from LLAMA_API_KEY.",
    .options = {OPTION_SECONDS, OPTION_OUTPUT, OPTION_INTERVAL, OPTION_ENGINE_URL, OPTION_GPUS,
                OPTION_NVML, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
