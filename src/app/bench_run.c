/* bench_run.c - llama-bench's command line, and the lines it answers with. */
#include "bench_run.h"

#include "dgo_launch.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_BYTES = 256 * 1024, SAMPLES_MAX = 64, ALL_LAYERS = 999 };

/* ---- the device ---- */

/* A plan of the model on that card alone: its command has the environment that shows the engine
 * this card and no other. */
static enum dgo_status make_command(struct flow *flow, const struct dgo_model *model, int32_t gpu,
                                    struct bench_device *device, struct dgo_error *err)
{
    struct dgo_plan *plan = calloc(1, sizeof *plan);
    const struct dgo_launch_options options = {
        .binary = flow->binary, .model_path = model->path, .host = "127.0.0.1", .thread_count = -1};
    enum dgo_status status;

    if (!plan)
        return dgo_fail(err, DGO_ENOMEM, "no memory to calibrate");
    dgo_calibration_settings(model, (uint32_t)gpu, 512, &plan->settings);
    status = dgo_estimate_make(&flow->machine, model, &plan->settings, &flow->rules, NULL,
                               &plan->estimate, err);
    if (status == DGO_OK) {
        flow->engine->name_devices(&flow->machine, &plan->settings, &plan->estimate);
        (void)dgo_text_copy(device->name, sizeof device->name, plan->estimate.device[0].name);
        status = flow->engine->command(&flow->machine, model, plan, &options,
                                       flow->probed ? &flow->probe : NULL, &device->command, err);
        device->command_made = status == DGO_OK;
    }
    free(plan);
    return status;
}

enum dgo_status bench_device_make(struct flow *flow, const struct dgo_model *model, int32_t gpu,
                                  struct bench_device *device, struct dgo_error *err)
{
    enum dgo_status status;

    memset(device, 0, sizeof *device);
    if (gpu == DGO_CALIBRATE_CPU) {
        (void)dgo_text_copy(device->name, sizeof device->name, "none");
        device->environment = (const char *const *)flow->environment;
        return DGO_OK;
    }
    status = make_command(flow, model, gpu, device, err);
    if (status != DGO_OK)
        return status;
    device->environment = (const char *const *)dgo_command_environment(
        &device->command, flow->environment, &device->arena);
    return device->environment ? DGO_OK : dgo_fail(err, DGO_ENOMEM, "no memory to calibrate");
}

void bench_device_done(struct bench_device *device)
{
    if (device->command_made)
        dgo_command_done(&device->command);
    dgo_arena_done(&device->arena);
    memset(device, 0, sizeof *device);
}

/* ---- what it wrote ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Seconds of the middle one of "samples_ns"; 0: there are none. */
static double median_s(const json_t *line)
{
    const json_t *list = json_object_get(line, "samples_ns");
    double samples[SAMPLES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(list) && count < SAMPLES_MAX; i++) {
        const double ns = json_number_value(json_array_get(list, i));

        if (ns > 0)
            samples[count++] = ns / 1e9;
    }
    if (count == 0)
        return 0;
    qsort(samples, count, sizeof samples[0], by_value);
    return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

static bool read_line(const char *text, size_t length, struct dgo_timing *timing)
{
    json_t *line = json_loadb(text, length, 0, NULL);
    const json_int_t prompt = json_integer_value(json_object_get(line, "n_prompt"));
    const json_int_t generated = json_integer_value(json_object_get(line, "n_gen"));
    const double seconds = median_s(line);
    bool used = false;

    if (seconds > 0 && prompt > 0 && prompt <= INT32_MAX && generated == 0) {
        timing->prompt_tokens = (uint32_t)prompt;
        timing->prompt_s = seconds;
        used = true;
    } else if (seconds > 0 && generated > 0 && generated <= INT32_MAX && prompt == 0) {
        timing->generated_tokens = (uint32_t)generated;
        timing->token_s = seconds / (double)generated;
        used = true;
    }
    json_decref(line);
    return used;
}

bool bench_read(const char *output, struct dgo_timing *timing)
{
    struct dgo_timing read = {0};
    bool any = false;

    for (const char *at = output; *at;) {
        const size_t length = strcspn(at, "\n");

        if (*at == '{')
            any = read_line(at, length, &read) || any;
        at += length + (at[length] == '\n');
    }
    if (any)
        *timing = read;
    return any;
}

/* ---- one run ---- */

/* What it said of its end, for a sentence: its first line with an error, else its last. */
static void last_words(const char *log, char *words, size_t size)
{
    const char *error = strstr(log, "error: ");

    if (error) {
        (void)dgo_text_copy_escaped(words, size, error, strcspn(error, "\n"));
        return;
    }
    size_t end = strlen(log), start;

    while (end > 0 && log[end - 1] == '\n')
        end--;
    for (start = end; start > 0 && log[start - 1] != '\n'; start--)
        ;
    (void)dgo_text_copy_escaped(words, size, log + start, end - start);
}

static enum dgo_status judge(const struct bench_request *request, const char *output,
                             const char *log, int exit_code, struct dgo_timing *timing,
                             struct dgo_error *err)
{
    char words[200];

    if (exit_code == 0 && bench_read(output, timing) &&
        (request->prompt_tokens == 0 || timing->prompt_s > 0) &&
        (request->generated_tokens == 0 || timing->token_s > 0))
        return DGO_OK;
    last_words(log, words, sizeof words);
    return dgo_fail(err, DGO_ECHILD, "llama-bench gave no times on %s (exit status %d)%s%s",
                    request->device->name, exit_code, words[0] ? "; it said: " : "", words);
}

enum dgo_status bench_run(const struct bench_request *request, struct dgo_timing *timing,
                          struct dgo_error *err)
{
    char prompt[16], generated[16], repeats[16], layers[16], threads[16];
    const bool on_cpu = strcmp(request->device->name, "none") == 0;
    const char *argv[32] = {request->bench, "-m", request->model_path, "-o", "jsonl"};
    uint32_t count = 5;
    char *output = malloc(OUTPUT_BYTES), *log = malloc(OUTPUT_BYTES);
    int exit_code = -1;
    enum dgo_status status;

    if (!output || !log) {
        free(output);
        free(log);
        return dgo_fail(err, DGO_ENOMEM, "no memory for what llama-bench writes");
    }
    (void)snprintf(prompt, sizeof prompt, "%" PRIu32, request->prompt_tokens);
    (void)snprintf(generated, sizeof generated, "%" PRIu32, request->generated_tokens);
    (void)snprintf(repeats, sizeof repeats, "%" PRIu32, request->repeats);
    (void)snprintf(layers, sizeof layers, "%d", on_cpu ? 0 : ALL_LAYERS);
    (void)snprintf(threads, sizeof threads, "%" PRIu32, request->core_count);
    const char *const words[] = {
        "-dev", request->device->name, "-ngl", layers, "-p", prompt, "-n", generated, "-r",
        repeats};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        argv[count++] = words[i];
    if (request->core_count > 0) {
        argv[count++] = "-t";
        argv[count++] = threads;
    }
    argv[count] = NULL;
    status = dgo_process_capture_limited(
        &(struct dgo_capture_options){.argv = argv,
                                      .environment = request->device->environment,
                                      .timeout_ns = request->timeout_ns,
                                      .errors = log,
                                      .errors_size = OUTPUT_BYTES,
                                      .nice = request->nice,
                                      .core_count = request->core_count},
        output, OUTPUT_BYTES, &exit_code, err);
    if (status == DGO_OK)
        status = judge(request, output, log, exit_code, timing, err);
    free(output);
    free(log);
    return status;
}
