/* cmd_profile_record.c - `dualgpuopt profile record`: the machine's readings into a file. */
#include "cmd_profile.h"
#include "dgo_recording.h"
#include "dgo_units.h"
#include "print.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Filled on the sampler's thread, read when it has stopped. */
struct recording {
    struct dgo_recorder *recorder;
    pthread_t waiter; /* woken when nothing can be written any more */
    uint64_t looks, failures, first_ns, last_ns;
    enum dgo_status status;
    struct dgo_error err;
};

static void record(const struct dgo_sample *sample, void *data)
{
    struct recording *recording = data;

    if (recording->status != DGO_OK)
        return;
    if (sample->problem[0] != '\0') {
        recording->failures++;
    } else {
        recording->looks++;
        recording->first_ns = recording->first_ns ? recording->first_ns : sample->monotonic_ns;
        recording->last_ns = sample->monotonic_ns;
    }
    recording->status = dgo_recorder_add_sample(recording->recorder, sample, &recording->err);
    if (recording->status != DGO_OK)
        pthread_kill(recording->waiter, SIGUSR1);
}

/* Until a signal, or so long; 0: a signal only. */
static void wait_for_end(const sigset_t *signals, uint64_t ns)
{
    const struct timespec most = {.tv_sec = (time_t)(ns / DGO_NS_PER_S),
                                  .tv_nsec = (long)(ns % DGO_NS_PER_S)};

    while ((ns ? sigtimedwait(signals, NULL, &most) : sigwaitinfo(signals, NULL)) < 0 &&
           errno == EINTR)
        continue;
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

static int run(const struct cmd_call *call)
{
    const struct options *options = &call->options;
    const char *path = option_text(options, OPTION_OUTPUT);
    struct recording recording = {.waiter = pthread_self()};
    const struct dgo_sampler_options sampling = {
        .gpu = {.machine_file = option_text(options, OPTION_GPUS),
                .nvml_library = option_text(options, OPTION_NVML)},
        .interval_ns = option_number(options, OPTION_INTERVAL),
        .on_sample = record,
        .data = &recording};
    struct dgo_sampler *sampler = NULL;
    struct dgo_error err = {0};
    enum dgo_status status;
    sigset_t signals;

    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof end_signals / sizeof end_signals[0]; i++)
        sigaddset(&signals, end_signals[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    path = path ? path : "-";
    status = dgo_recorder_open(path, &recording.recorder, &err);
    if (status == DGO_OK)
        status = dgo_sampler_start(&sampling, &sampler, &err);
    if (status == DGO_OK)
        status = dgo_sampler_wait(sampler, 0, 10 * DGO_NS_PER_S, &err);
    if (status == DGO_OK)
        wait_for_end(&signals, option_number(options, OPTION_SECONDS));
    if (!dgo_sampler_stop(sampler, DGO_NS_PER_S))
        print_message("the driver does not answer; its thread is left behind");
    close_file(&recording);
    if (status == DGO_OK)
        return tell(&recording, path);
    if (strcmp(path, "-") != 0 && recording.looks == 0)
        (void)unlink(path); /* an empty one helps nobody */
    return print_failure(&err);
}

const struct cmd cmd_profile_record = {
    .name = "profile record",
    .does = "write the readings of the GPUs to a file, until Ctrl-C",
    .usage = "[--seconds N] [-o FILE] [--interval TIME]",
    .examples = "dualgpuopt profile record --seconds 60 -o machine.jsonl\n"
                "dualgpuopt gpus --gpus machine.jsonl\n"
                "dualgpuopt profile replay machine.jsonl",
    .details =
        "The file (dualgpuopt-recording(5)) can be used wherever a machine file can, on a machine\n"
        "without GPUs too. It holds names and command lines of the processes that use the GPUs,\n"
        "with the values of secrets masked; look at it before you send it to somebody.",
    .options = {OPTION_SECONDS, OPTION_OUTPUT, OPTION_INTERVAL, OPTION_GPUS, OPTION_NVML,
                OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
