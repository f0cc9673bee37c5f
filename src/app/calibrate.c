/* calibrate.c - one device at a time: a tiny model for launches, a large one for the rest. */
#include "calibrate.h"

#include "bench_run.h"
#include "dgo_app.h"
#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_sampler.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "probe_model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Tokens of a first short run, from which the real one's length follows. */
enum { GAUGE_PROMPT = 32, GAUGE_GENERATED = 4, PROMPT_MAX = 512, GENERATED_MAX = 128, REPEATS = 3 };
/* Of a device's time: for the tiny model, and for the two halves of the real run (a warm-up takes
 * part of each). */
#define TINY_SHARE 0.2
#define HALF_SHARE 0.3

/* ---- session ---- */

static bool executable(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

/* Beside the engine: both come from one package and one build. */
static enum dgo_status find_bench(const struct flow *flow, char *bench, size_t size,
                                  struct dgo_error *err)
{
    const char *slash = strrchr(flow->binary, '/');
    const int length = snprintf(bench, size, "%.*s/llama-bench",
                                slash ? (int)(slash - flow->binary) : 0, flow->binary);

    if (slash && length > 0 && (size_t)length < size && executable(bench))
        return DGO_OK;
    return dgo_fail(err, DGO_ENOTFOUND,
                    "llama-bench is not beside %s; install the package that llama.cpp's tools come "
                    "in, or name an engine that has it with --engine PATH",
                    flow->binary);
}

/* The type that most of the model's layers are in. */
static uint32_t main_type(const struct dgo_model *model)
{
    enum { TYPES_MAX = 64 };
    uint64_t bytes[TYPES_MAX] = {0};
    uint32_t best = 0;

    for (uint32_t i = 0; i < model->tensor_count; i++) {
        const struct dgo_tensor *tensor = &model->tensor[i];

        if (tensor->class == DGO_TENSOR_LAYER && tensor->type < TYPES_MAX)
            bytes[tensor->type] += tensor->size_bytes;
    }
    for (uint32_t t = 1; t < TYPES_MAX; t++)
        if (bytes[t] > bytes[best])
            best = t;
    return best;
}

static enum dgo_status choose_type(const struct flow *flow, const char *type_name,
                                   struct calibrate_session *session, struct dgo_error *err)
{
    const struct dgo_ggml_type *type = NULL;

    if (flow->model)
        type = dgo_ggml_type(main_type(flow->model));
    else
        type = dgo_ggml_type_by_name(type_name ? type_name : "Q4_K");
    if (!type)
        return dgo_fail(err, DGO_EUSAGE, "--type: '%.40s' is no type of weights; Q4_K is one",
                        type_name ? type_name : "");
    session->type = type->id;
    (void)dgo_text_copy(session->quantisation, sizeof session->quantisation, type->name);
    return DGO_OK;
}

enum dgo_status calibrate_start(struct flow *flow, const struct calibrate_limits *limits,
                                const char *type_name, struct calibrate_session *session,
                                struct dgo_error *err)
{
    const char *temporary = getenv("TMPDIR");
    struct timespec now;
    enum dgo_status status;

    memset(session, 0, sizeof *session);
    session->flow = flow;
    session->limits = *limits;
    session->deadline_ns = dgo_clock_monotonic_ns(dgo_clock_system()) + limits->time_ns;
    clock_gettime(CLOCK_REALTIME, &now);
    session->now_wall_ns = (uint64_t)now.tv_sec * DGO_NS_PER_S + (uint64_t)now.tv_nsec;
    status = find_bench(flow, session->bench, sizeof session->bench, err);
    if (status == DGO_OK)
        status = choose_type(flow, type_name, session, err);
    if (status != DGO_OK)
        return status;
    if (!temporary || temporary[0] != '/')
        temporary = "/tmp";
    const int length =
        snprintf(session->folder, sizeof session->folder, "%s/dualgpuopt-XXXXXX", temporary);

    if (length < 0 || (size_t)length >= sizeof session->folder || !mkdtemp(session->folder)) {
        session->folder[0] = '\0';
        return dgo_fail_errno(err, DGO_EIO, errno, "no folder can be made in %s", temporary);
    }
    return DGO_OK;
}

enum { PROBE_PATH_MAX = 288 };

static void probe_path(const struct calibrate_session *session, bool tiny,
                       char path[PROBE_PATH_MAX])
{
    (void)snprintf(path, PROBE_PATH_MAX, "%s/%s.gguf", session->folder, tiny ? "tiny" : "probe");
}

void calibrate_done(struct calibrate_session *session)
{
    char path[PROBE_PATH_MAX];

    if (!session->folder[0])
        return;
    for (int tiny = 0; tiny < 2; tiny++) {
        probe_path(session, tiny, path);
        (void)unlink(path);
    }
    (void)rmdir(session->folder);
    session->folder[0] = '\0';
}

/* ---- one device ---- */

struct device_run {
    struct calibrate_session *session;
    struct calibrate_result *result;
    uint64_t until_ns; /* monotonic */
    struct bench_device device;
    struct dgo_model *tiny, *probe;
    const struct dgo_model *timed; /* the probe, or the user's model */
    const char *timed_path;
    struct dgo_calibration calibration;
};

static uint64_t left_ns(const struct device_run *run)
{
    const uint64_t now = dgo_clock_monotonic_ns(dgo_clock_system());

    return run->until_ns > now ? run->until_ns - now : 0;
}

static enum dgo_status open_probe(struct device_run *run, bool tiny, struct dgo_model **model,
                                  struct dgo_error *err)
{
    struct probe_shape shape = probe_tiny;
    char path[PROBE_PATH_MAX];
    enum dgo_status status;

    if (!tiny)
        probe_shape_of(run->session->type, run->session->limits.vram_bytes, &shape);
    probe_path(run->session, tiny, path);
    status = probe_model_write(path, &shape, err);
    return status == DGO_OK ? dgo_model_open(path, model, err) : status;
}

/* What the model would take of the card, for the limit and for the overhead; 0 on the CPU. */
static enum dgo_status books_bytes(const struct device_run *run, const struct dgo_model *model,
                                   uint64_t *bytes, bool *fits, struct dgo_error *err)
{
    const struct flow *flow = run->session->flow;
    struct dgo_settings settings;
    struct dgo_estimate *estimate = NULL;
    enum dgo_status status = DGO_OK;

    *bytes = 0;
    *fits = true;
    if (run->result->gpu == DGO_CALIBRATE_CPU)
        return DGO_OK;
    estimate = malloc(sizeof *estimate);
    if (!estimate)
        return dgo_fail(err, DGO_ENOMEM, "no memory for an estimate");
    dgo_calibration_settings(model, (uint32_t)run->result->gpu, PROMPT_MAX, &settings);
    status = dgo_estimate_make(&flow->machine, model, &settings, &flow->rules, NULL, estimate, err);
    if (status == DGO_OK) {
        const struct dgo_device_estimate *device = &estimate->device[0];

        *bytes = device->weights_bytes + device->context_bytes + device->compute_bytes;
        *fits = estimate->fits && device->weights_bytes <= run->session->limits.vram_bytes;
    }
    free(estimate);
    return status;
}

/* The user's model where it fits on the card under the limit, else a probe of its type. */
static enum dgo_status choose_model(struct device_run *run, struct dgo_error *err)
{
    const struct dgo_model *own = run->session->flow->model;
    const bool on_cpu = run->result->gpu == DGO_CALIBRATE_CPU;
    uint64_t bytes = 0;
    bool fits = false;
    enum dgo_status status = DGO_OK;

    if (own)
        status = books_bytes(run, own, &bytes, &fits, err);
    if (status != DGO_OK)
        return status;
    if (own && fits && (!on_cpu || own->file_bytes <= run->session->limits.vram_bytes)) {
        run->timed = own;
        run->timed_path = own->path;
        return DGO_OK;
    }
    run->result->probe = true;
    status = open_probe(run, false, &run->probe, err);
    if (status == DGO_OK) {
        run->timed = run->probe;
        run->timed_path = run->probe->path;
        status = books_bytes(run, run->probe, &bytes, &fits, err);
    }
    if (status == DGO_OK && !fits)
        return dgo_fail(err, DGO_ENOFIT,
                        "a probe needs more than is free on the card; free some memory, or give a "
                        "lower --vram-limit");
    return status;
}

static enum dgo_status time_model(struct device_run *run, const char *path, uint32_t prompt,
                                  uint32_t generated, uint32_t repeats, uint64_t timeout_ns,
                                  struct dgo_timing *timing, struct dgo_error *err)
{
    const struct bench_request request = {
        .bench = run->session->bench,
        .model_path = path,
        .device = &run->device,
        .prompt_tokens = prompt,
        .generated_tokens = generated,
        .repeats = repeats,
        .timeout_ns = timeout_ns,
        .nice = run->session->limits.nice,
        .core_count = run->session->limits.core_count,
    };

    return bench_run(&request, timing, err);
}

static uint32_t affordable(double seconds, double token_s, uint32_t least, uint32_t most)
{
    const double count = token_s > 0 ? seconds / token_s : most;

    return count <= least ? least : count >= most ? most : (uint32_t)count;
}

static enum dgo_status time_tiny(struct device_run *run, struct dgo_error *err)
{
    struct dgo_timing timing;
    enum dgo_status status = open_probe(run, true, &run->tiny, err);

    if (status == DGO_OK)
        status =
            time_model(run, run->tiny->path, 0, 32, REPEATS,
                       (uint64_t)((double)left_ns(run) * TINY_SHARE) + DGO_NS_PER_S, &timing, err);
    if (status == DGO_OK)
        run->calibration.layer_launch_s = dgo_calibration_launch_s(run->tiny, &timing);
    return status;
}

/* A short run says how long a token takes; the real one is as long as the time allows.  Where that
 * is no longer than the short one, it counts itself. */
static enum dgo_status time_timed(struct device_run *run, struct dgo_error *err)
{
    struct dgo_timing *timing = &run->result->timing;
    enum dgo_status status = time_model(run, run->timed_path, GAUGE_PROMPT, GAUGE_GENERATED, 1,
                                        left_ns(run), timing, err);
    uint32_t prompt, generated;

    if (status != DGO_OK)
        return status;
    const double half_s = (double)left_ns(run) / 1e9 * HALF_SHARE / (REPEATS + 1);

    prompt = affordable(half_s, timing->prompt_s / timing->prompt_tokens, GAUGE_PROMPT, PROMPT_MAX);
    generated = affordable(half_s, timing->token_s, GAUGE_GENERATED, GENERATED_MAX);
    prompt = prompt / 32 * 32;
    if (prompt == GAUGE_PROMPT && generated == GAUGE_GENERATED)
        return DGO_OK;
    return time_model(run, run->timed_path, prompt, generated, REPEATS, left_ns(run), timing, err);
}

/* ---- overhead: what the card had less than the engine's books say ---- */

struct watching {
    int32_t gpu;
    _Atomic uint64_t least_free;
};

static void on_sample(const struct dgo_sample *sample, void *data)
{
    struct watching *watching = data;
    const struct dgo_gpu *gpu = &sample->machine.gpu[watching->gpu];
    const uint64_t free_bytes = gpu->free_bytes;

    if ((uint32_t)watching->gpu < sample->machine.gpu_count &&
        dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES) && free_bytes < atomic_load(&watching->least_free))
        atomic_store(&watching->least_free, free_bytes); /* one writer */
}

static struct dgo_sampler *watch_card(const struct device_run *run, struct watching *watching)
{
    const struct dgo_sampler_options options = {
        .gpu = {.nvml_library = option_text(run->session->flow->options, OPTION_NVML)},
        .interval_ns = 50 * DGO_NS_PER_MS,
        .on_sample = on_sample,
        .data = watching,
    };
    struct dgo_sampler *sampler = NULL;

    watching->gpu = run->result->gpu;
    atomic_init(&watching->least_free, UINT64_MAX);
    if (run->result->gpu == DGO_CALIBRATE_CPU ||
        option_given(run->session->flow->options, OPTION_GPUS) || /* a file does not change */
        dgo_sampler_start(&options, &sampler, NULL) != DGO_OK)
        return NULL;
    return sampler;
}

/* Other programs may take or give back memory meanwhile: a figure that cannot be one is not kept.
 */
static void find_overhead(struct device_run *run, const struct watching *watching)
{
    const struct dgo_gpu *gpu = &run->session->flow->machine.gpu[run->result->gpu];
    const uint64_t least = atomic_load(&watching->least_free);
    uint64_t books = 0;
    bool fits = false;

    if (least == UINT64_MAX || !dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES) || least > gpu->free_bytes ||
        books_bytes(run, run->timed, &books, &fits, NULL) != DGO_OK)
        return;
    const uint64_t taken = gpu->free_bytes - least;

    if (taken <= books || taken - books > 4 * DGO_GIB)
        return;
    run->calibration.overhead_known = true;
    run->calibration.overhead_bytes = taken - books;
}

/* ---- the record ---- */

static void name_device(const struct flow *flow, int32_t gpu, struct dgo_calibration_record *record)
{
    const struct dgo_gpu *card = gpu == DGO_CALIBRATE_CPU ? NULL : &flow->machine.gpu[gpu];

    (void)dgo_text_copy(record->device_name, sizeof record->device_name, card ? card->name : "cpu");
    (void)dgo_text_copy(record->device_key, sizeof record->device_key,
                        card && card->uuid[0] ? card->uuid : record->device_name);
    record->simulated = !dgo_machine_is_live(&flow->machine);
    (void)dgo_text_copy(record->binary_hash, sizeof record->binary_hash, flow->binary_hash);
    record->build = flow->rules.build;
}

static void keep(struct device_run *run)
{
    const struct calibrate_session *session = run->session;
    struct calibrate_result *result = run->result;
    struct dgo_calibration_record *record = &result->record;

    name_device(session->flow, result->gpu, record);
    (void)dgo_text_copy(record->quantisation, sizeof record->quantisation, session->quantisation);
    record->made_ns = session->now_wall_ns;
    record->decode_bytes_per_s = run->calibration.decode_bytes_per_s;
    record->prompt_flops = run->calibration.prompt_flops;
    record->layer_launch_s = run->calibration.layer_launch_s;
    record->overhead_known = run->calibration.overhead_known;
    record->overhead_bytes = run->calibration.overhead_bytes;
    result->kept = session->flow->store && dgo_store_put_calibration(session->flow->store, record,
                                                                     &result->problem) == DGO_OK;
}

static enum dgo_status measure(struct device_run *run, struct dgo_error *err)
{
    const struct flow *flow = run->session->flow;
    struct watching watching;
    struct dgo_sampler *sampler = NULL;
    enum dgo_status status = choose_model(run, err);

    if (status == DGO_OK)
        status =
            bench_device_make(run->session->flow, run->timed, run->result->gpu, &run->device, err);
    if (status == DGO_OK)
        status = time_tiny(run, err);
    if (status != DGO_OK)
        return status;
    sampler = watch_card(run, &watching);
    status = time_timed(run, err);
    if (sampler) {
        (void)dgo_sampler_stop(sampler, DGO_NS_PER_S);
        find_overhead(run, &watching);
    }
    if (status == DGO_OK)
        status = dgo_calibration_solve(&flow->machine, run->result->gpu, run->timed, &flow->rules,
                                       &run->result->timing, &run->calibration, err);
    if (status == DGO_OK)
        run->result->model_bytes = run->timed->file_bytes;
    return status;
}

static enum dgo_status job_measure(void *data)
{
    struct device_run *run = data;

    dgo_blocking_begin();
    run->result->status = measure(run, &run->result->problem);
    dgo_blocking_end();
    if (run->result->status == DGO_OK)
        keep(run);
    return run->result->status;
}

void calibrate_device(struct calibrate_session *session, int32_t gpu, double share,
                      struct calibrate_result *result)
{
    const uint64_t now = dgo_clock_monotonic_ns(dgo_clock_system());
    const uint64_t left = session->deadline_ns > now ? session->deadline_ns - now : 0;
    struct device_run run = {
        .session = session, .result = result, .until_ns = now + (uint64_t)((double)left * share)};

    memset(result, 0, sizeof *result);
    result->gpu = gpu;
    name_device(session->flow, gpu, &result->record);
    (void)dgo_text_copy(result->device_name, sizeof result->device_name,
                        result->record.device_name);
    (void)app_run(COMPONENT_PROFILING, job_measure, &run);
    bench_device_done(&run.device);
    dgo_model_close(run.tiny);
    dgo_model_close(run.probe);
}

/* ---- later plans ---- */

static bool recall_one(struct flow *flow, int32_t gpu, const char *quantisation,
                       struct dgo_calibration_record *found)
{
    struct dgo_calibration_record like = {0};

    name_device(flow, gpu, &like);
    (void)dgo_text_copy(like.quantisation, sizeof like.quantisation, quantisation);
    if (!like.device_name[0] ||
        dgo_store_find_calibration(flow->store, &like, found, NULL) != DGO_OK)
        return false;
    dgo_calibration_apply(&flow->machine, gpu,
                          &(struct dgo_calibration){.layer_launch_s = found->layer_launch_s,
                                                    .decode_bytes_per_s = found->decode_bytes_per_s,
                                                    .prompt_flops = found->prompt_flops,
                                                    .overhead_known = found->overhead_known,
                                                    .overhead_bytes = found->overhead_bytes});
    return true;
}

/* "calibrated on 2026-11-27 (Q4_K, build 11669)" */
static void tell(const struct dgo_calibration_record *oldest, uint32_t cards, char text[160])
{
    const time_t made = (time_t)(oldest->made_ns / DGO_NS_PER_S);
    struct tm day;
    char date[16] = "";

    if (gmtime_r(&made, &day))
        (void)strftime(date, sizeof date, "%Y-%m-%d", &day);
    (void)snprintf(text, 160, "%" PRIu32 " card%s calibrated on %s (%s, build %" PRIu32 "%s)",
                   cards, cards == 1 ? "" : "s", date, oldest->quantisation, oldest->build,
                   oldest->simulated ? ", SIMULATED" : "");
}

void calibrate_recall(struct flow *flow, char text[160])
{
    const struct dgo_ggml_type *type = flow->model ? dgo_ggml_type(main_type(flow->model)) : NULL;
    const char *quantisation = type ? type->name : "";
    struct dgo_calibration_record found, oldest = {0};
    uint32_t cards = 0;

    if (text)
        text[0] = '\0';
    if (!flow->store)
        return;
    for (uint32_t g = 0; g < flow->machine.gpu_count; g++)
        if (recall_one(flow, (int32_t)g, quantisation, &found)) {
            if (cards++ == 0 || found.made_ns < oldest.made_ns)
                oldest = found;
        }
    (void)recall_one(flow, DGO_CALIBRATE_CPU, quantisation, &found);
    if (cards > 0 && text)
        tell(&oldest, cards, text);
}
