/* recorder.c - writes a recording: each line is what has changed since the line before. */
#include "machine_json.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dgo_recorder {
    FILE *file;
    char path[256]; /* for messages, escaped */
    bool started, told_origin;
    uint64_t start_ns, last_ns;
    int failed; /* errno of the first failure */
    /* As the last line that told them had them; NULL before. */
    json_t *gpu[DGO_GPU_MAX], *links, *host;
    uint32_t gpu_count;
    char problem[640];
};

static enum dgo_status fail_write(const struct dgo_recorder *recorder, struct dgo_error *err)
{
    return dgo_fail_errno(err, DGO_EIO, recorder->failed, "cannot write the recording %s",
                          recorder->path);
}

/* Writes one line and releases it. */
static enum dgo_status write_line(struct dgo_recorder *recorder, json_t *line,
                                  struct dgo_error *err)
{
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;

    json_decref(line);
    if (!text)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (!recorder->failed && (fputs(text, recorder->file) < 0 || fputc('\n', recorder->file) < 0 ||
                              fflush(recorder->file) != 0))
        recorder->failed = errno ? errno : EIO;
    free(text);
    return recorder->failed ? fail_write(recorder, err) : DGO_OK;
}

static json_t *new_line(struct dgo_recorder *recorder, uint64_t monotonic_ns)
{
    uint64_t ms;

    /* Lines come from several threads' clocks; a file's time never goes back. */
    recorder->last_ns = dgo_max_u64(recorder->last_ns, monotonic_ns);
    ms = (recorder->last_ns - recorder->start_ns + DGO_NS_PER_MS / 2) / DGO_NS_PER_MS;
    return json_pack("{s:f}", "seconds", (double)ms / 1000);
}

/* Of the first sample: in the header, or, where something else came first, in the sample's line. */
static void add_origin(struct dgo_recorder *recorder, const struct dgo_sample *sample, json_t *line)
{
    const struct dgo_machine *machine = &sample->machine;
    const uint64_t since_ns = sample->monotonic_ns - recorder->start_ns;

    /* Of a driver that has not answered yet nothing is known: not that it is real either. */
    if (recorder->told_origin || sample->sequence == 0)
        return;
    recorder->told_origin = true;
    json_object_set_new(
        line, "wall_ns",
        json_integer((json_int_t)(machine->origin.recorded ? machine->origin.recorded_ns
                                                           : sample->wall_ns - since_ns)));
    json_object_set_new(line, "source", gpu_json_text(machine->source));
    json_object_set_new(line, "driver", gpu_json_text(machine->driver));
    json_object_set_new(line, "simulated", json_boolean(machine->origin.simulated));
}

static enum dgo_status start(struct dgo_recorder *recorder, uint64_t monotonic_ns,
                             const struct dgo_sample *sample, struct dgo_error *err)
{
    json_t *line;

    if (recorder->started)
        return DGO_OK;
    recorder->started = true;
    recorder->start_ns = recorder->last_ns = monotonic_ns;
    line = json_pack("{s:i, s:s}", "dualgpuopt_recording", 1, "version", DGO_VERSION);
    if (line && sample)
        add_origin(recorder, sample, line);
    return write_line(recorder, line, err);
}

/* The keys of `now` that are not as they were before; a key that is gone is null.  Replaces
 * *before. */
static json_t *changes(json_t **before, json_t *now)
{
    json_t *changed = json_object();
    const char *key;
    json_t *value;

    json_object_foreach(now, key, value) if (!json_equal(json_object_get(*before, key), value))
        json_object_set(changed, key, value);
    json_object_foreach(*before, key, value) if (!json_object_get(now, key))
        json_object_set_new(changed, key, json_null());
    json_decref(*before);
    *before = now;
    return changed;
}

static void add_gpus(struct dgo_recorder *recorder, const struct dgo_machine *machine, json_t *line)
{
    json_t *list = json_array();
    bool any = machine->gpu_count != recorder->gpu_count;

    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        json_t *changed = changes(&recorder->gpu[i], gpu_json_of_gpu(&machine->gpu[i]));

        any |= json_object_size(changed) > 0;
        json_array_append_new(list, changed);
    }
    for (uint32_t i = machine->gpu_count; i < recorder->gpu_count; i++) {
        json_decref(recorder->gpu[i]);
        recorder->gpu[i] = NULL;
    }
    recorder->gpu_count = machine->gpu_count;
    if (any)
        json_object_set(line, "gpus", list);
    json_decref(list);
}

static void add_rest(struct dgo_recorder *recorder, const struct dgo_machine *machine, json_t *line)
{
    json_t *links = gpu_json_of_links(machine);
    json_t *host = changes(&recorder->host, gpu_json_of_host(&machine->host));

    if (!json_equal(links, recorder->links) && (json_array_size(links) > 0 || recorder->links))
        json_object_set(line, "links", links);
    json_decref(recorder->links);
    recorder->links = links;
    if (json_object_size(host) > 0)
        json_object_set(line, "host", host);
    json_decref(host);
}

enum dgo_status dgo_recorder_open(const char *path, struct dgo_recorder **recorder,
                                  struct dgo_error *err)
{
    const bool is_stdout = strcmp(path, "-") == 0;
    struct dgo_recorder *made = calloc(1, sizeof *made);

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    dgo_text_copy_escaped(made->path, sizeof made->path, path, strlen(path));
    made->file = is_stdout ? stdout : fopen(path, "we");
    if (!made->file) {
        made->failed = errno;
        fail_write(made, err);
        free(made);
        return DGO_EIO;
    }
    *recorder = made;
    return DGO_OK;
}

enum dgo_status dgo_recorder_add_sample(struct dgo_recorder *recorder,
                                        const struct dgo_sample *sample, struct dgo_error *err)
{
    enum dgo_status status = start(recorder, sample->monotonic_ns, sample, err);
    json_t *line;

    if (status != DGO_OK)
        return status;
    line = new_line(recorder, sample->monotonic_ns + (sample->problem[0] ? sample->age_ns : 0));
    if (sample->problem[0] != '\0')
        json_object_set_new(line, "problem", gpu_json_text(sample->problem));
    if (line && sample->sequence > 0) {
        add_origin(recorder, sample, line);
        add_gpus(recorder, &sample->machine, line);
        add_rest(recorder, &sample->machine, line);
    }
    return write_line(recorder, line, err);
}

enum dgo_status dgo_recorder_add_load(struct dgo_recorder *recorder, uint64_t monotonic_ns,
                                      const struct dgo_engine_load *load, struct dgo_error *err)
{
    enum dgo_status status = start(recorder, monotonic_ns, NULL, err);
    json_t *line;

    if (status != DGO_OK)
        return status;
    line = new_line(recorder, monotonic_ns);
    json_object_set_new(line, "engine", gpu_json_of_load(load));
    return write_line(recorder, line, err);
}

enum dgo_status dgo_recorder_add_mark(struct dgo_recorder *recorder, uint64_t monotonic_ns,
                                      const char *text, struct dgo_error *err)
{
    enum dgo_status status = start(recorder, monotonic_ns, NULL, err);
    json_t *line;

    if (status != DGO_OK)
        return status;
    line = new_line(recorder, monotonic_ns);
    json_object_set_new(line, "mark", gpu_json_text(text));
    return write_line(recorder, line, err);
}

enum dgo_status dgo_recorder_close(struct dgo_recorder *recorder, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    if (!recorder)
        return DGO_OK;
    if (recorder->file == stdout ? fflush(stdout) != 0 : fclose(recorder->file) != 0)
        recorder->failed = recorder->failed ? recorder->failed : errno;
    if (recorder->failed)
        status = fail_write(recorder, err);
    for (uint32_t i = 0; i < recorder->gpu_count; i++)
        json_decref(recorder->gpu[i]);
    json_decref(recorder->links);
    json_decref(recorder->host);
    free(recorder);
    return status;
}
