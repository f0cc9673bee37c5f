/* recording.c - reads a recording line by line, and plays it as if it were a driver.
 *
 * A recording comes from strangers, in bug reports: lines, lists, texts and numbers are all bounded
 * before they are believed. */
#include "recording.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "machine_json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_KEY "{\"dualgpuopt_recording\":"

struct dgo_recording {
    FILE *file; /* NULL: the bytes are the caller's */
    const char *bytes;
    size_t length, at;
    char path[256]; /* for messages, escaped */
    uint64_t line_number;
    char *line; /* DGO_RECORDING_LINE_MAX + 2 bytes */
    uint64_t start_wall_ns, last_ns;
    json_t *gpu[DGO_GPU_MAX]; /* all keys, as the lines so far leave them */
    json_t *host;
    struct dgo_sample sample;
};

static enum dgo_status fail_line(const struct dgo_recording *recording, struct dgo_error *err,
                                 const char *what)
{
    return dgo_fail(err, DGO_EFORMAT, "%s: line %" PRIu64 ": %s", recording->path,
                    recording->line_number, what);
}

/* ---- lines --------------------------------------------------------------------------------- */

static int next_byte(struct dgo_recording *recording)
{
    if (recording->file)
        return getc_unlocked(recording->file);
    return recording->at < recording->length ? (unsigned char)recording->bytes[recording->at++]
                                             : EOF;
}

/* One line without its end.  DGO_ENOTFOUND: there is none, or the last one has no end. */
static enum dgo_status read_line(struct dgo_recording *recording, size_t *length,
                                 struct dgo_error *err)
{
    int byte;

    *length = 0;
    recording->line_number++;
    while ((byte = next_byte(recording)) != EOF && byte != '\n') {
        if (*length == DGO_RECORDING_LINE_MAX)
            return fail_line(recording, err, "it is too long");
        recording->line[(*length)++] = (char)byte;
    }
    recording->line[*length] = '\0';
    if (byte == EOF && recording->file && ferror(recording->file))
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot read %s", recording->path);
    return byte == EOF ? DGO_ENOTFOUND : DGO_OK;
}

static enum dgo_status parse_line(struct dgo_recording *recording, json_t **object,
                                  struct dgo_error *err)
{
    json_error_t reason;
    size_t length;
    enum dgo_status status = read_line(recording, &length, err);

    if (status != DGO_OK)
        return status;
    *object = json_loadb(recording->line, length, JSON_REJECT_DUPLICATES, &reason);
    if (json_is_object(*object))
        return DGO_OK;
    json_decref(*object);
    *object = NULL;
    return fail_line(recording, err, "it is no JSON object");
}

/* ---- what a line says ---------------------------------------------------------------------- */

static enum dgo_status read_time(struct dgo_recording *recording, const json_t *line,
                                 struct dgo_error *err)
{
    const json_t *seconds = json_object_get(line, "seconds");
    const double value = json_number_value(seconds);
    uint64_t at_ns;

    if (!json_is_number(seconds) || !(value >= 0) || value > 1e9)
        return fail_line(recording, err, "seconds must be a number, 0 or more");
    at_ns = (uint64_t)llround(value * 1000) * DGO_NS_PER_MS;
    if (at_ns < recording->last_ns)
        return fail_line(recording, err, "its time is before that of the line above");
    recording->last_ns = at_ns;
    return DGO_OK;
}

/* Who made it and when: of the header, or of the first look's line. */
static void read_origin(struct dgo_recording *recording, const json_t *line)
{
    struct dgo_machine *machine = &recording->sample.machine;
    const json_int_t wall_ns = json_integer_value(json_object_get(line, "wall_ns"));

    if (wall_ns > 0)
        recording->start_wall_ns = (uint64_t)wall_ns;
    if (json_object_get(line, "driver"))
        gpu_json_to_text(json_object_get(line, "driver"), machine->driver, sizeof machine->driver);
    if (json_is_false(json_object_get(line, "simulated")))
        machine->origin = (struct dgo_origin){.recorded = true};
    if (machine->origin.recorded)
        machine->origin.recorded_ns = recording->start_wall_ns;
}

/* Keys of a change replace, null takes away. */
static json_t *merged(json_t *before, const json_t *change)
{
    json_t *object = before ? before : json_object();
    const char *key;
    json_t *value;

    /* The line is ours and thrown away: to share its values is safe. */
    json_object_foreach((json_t *)change, key, value) if (json_is_null(value))
        json_object_del(object, key);
    else json_object_set(object, key, value);
    return object;
}

static enum dgo_status apply_gpus(struct dgo_recording *recording, const json_t *list,
                                  struct dgo_machine *machine, struct dgo_error *err)
{
    const size_t count = json_array_size(list);

    if (!json_is_array(list) || count > DGO_GPU_MAX)
        return dgo_fail(err, DGO_EFORMAT, "gpus must be a list of at most %d", DGO_GPU_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *change = json_array_get(list, i);
        enum dgo_status status;

        if (!json_is_object(change))
            return dgo_fail(err, DGO_EFORMAT, "a GPU must be an object");
        recording->gpu[i] = merged(recording->gpu[i], change);
        if (json_object_size(change) == 0 && i < machine->gpu_count)
            continue;
        memset(&machine->gpu[i], 0, sizeof machine->gpu[i]);
        status = gpu_json_to_gpu(recording->gpu[i], &machine->gpu[i], err);
        if (status != DGO_OK)
            return dgo_error_prefix(err, status, "GPU %zu", i);
    }
    for (size_t i = count; i < DGO_GPU_MAX; i++) {
        json_decref(recording->gpu[i]);
        recording->gpu[i] = NULL;
    }
    machine->gpu_count = (uint32_t)count;
    return DGO_OK;
}

static enum dgo_status apply_sample(struct dgo_recording *recording, const json_t *line,
                                    struct dgo_error *err)
{
    struct dgo_sample *sample = &recording->sample;
    struct dgo_machine *machine = &sample->machine;
    const json_t *gpus = json_object_get(line, "gpus");
    const json_t *links = json_object_get(line, "links");
    const json_t *host = json_object_get(line, "host");
    enum dgo_status status = DGO_OK;

    read_origin(recording, line);
    if (gpus)
        status = apply_gpus(recording, gpus, machine, err);
    if (status == DGO_OK && links) {
        memset(machine->link, 0, sizeof machine->link);
        status = gpu_json_to_links(links, machine, err);
    }
    if (status == DGO_OK && host) {
        memset(&machine->host, 0, sizeof machine->host);
        recording->host = merged(recording->host, host);
        status = gpu_json_to_host(recording->host, &machine->host, err);
    }
    gpu_json_to_text(json_object_get(line, "problem"), sample->problem, sizeof sample->problem);
    sample->stale = sample->problem[0] != '\0';
    if (sample->stale) {
        sample->age_ns = recording->last_ns - sample->monotonic_ns;
        return status;
    }
    sample->sequence++;
    sample->age_ns = 0;
    sample->monotonic_ns = recording->last_ns;
    sample->wall_ns = recording->start_wall_ns + recording->last_ns;
    for (int tier = 0; tier < DGO_TIER_COUNT; tier++)
        sample->tier_ns[tier] = recording->last_ns;
    return status;
}

static enum dgo_status apply(struct dgo_recording *recording, const json_t *line,
                             struct dgo_recording_item *item, struct dgo_error *err)
{
    const json_t *engine = json_object_get(line, "engine");
    const json_t *mark = json_object_get(line, "mark");

    *item = (struct dgo_recording_item){.at_ns = recording->last_ns};
    if (mark) {
        item->kind = DGO_RECORDED_MARK;
        gpu_json_to_text(mark, item->mark, sizeof item->mark);
        return DGO_OK;
    }
    if (engine) {
        item->kind = DGO_RECORDED_LOAD;
        return gpu_json_to_load(engine, &item->load, err);
    }
    item->kind = DGO_RECORDED_SAMPLE;
    item->sample = &recording->sample;
    return apply_sample(recording, line, err);
}

enum dgo_status dgo_recording_next(struct dgo_recording *recording, struct dgo_recording_item *item,
                                   struct dgo_error *err)
{
    json_t *line = NULL;
    enum dgo_status status = parse_line(recording, &line, err);

    if (status != DGO_OK)
        return status;
    status = read_time(recording, line, err);
    if (status == DGO_OK) {
        status = apply(recording, line, item, err);
        if (status != DGO_OK)
            dgo_error_prefix(err, status, "%s: line %" PRIu64, recording->path,
                             recording->line_number);
    }
    json_decref(line);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------- */

static enum dgo_status read_header(struct dgo_recording *recording, struct dgo_error *err)
{
    struct dgo_machine *machine = &recording->sample.machine;
    json_t *line = NULL;
    enum dgo_status status = parse_line(recording, &line, err);
    json_int_t version;

    if (status == DGO_ENOTFOUND)
        return dgo_fail(err, DGO_EFORMAT, "%s: it is no recording: its first line is not whole",
                        recording->path);
    if (status != DGO_OK)
        return status;
    version = json_integer_value(json_object_get(line, "dualgpuopt_recording"));
    if (version < 1)
        status = fail_line(recording, err, "it is no recording of this program");
    else if (version > 1)
        status =
            dgo_fail(err, DGO_EUNSUPPORTED,
                     "%s: a newer version of this program made the recording", recording->path);
    machine->origin.simulated = true; /* unless it says otherwise */
    read_origin(recording, line);
    dgo_text_copy(machine->source, sizeof machine->source, "recording");
    json_decref(line);
    return status;
}

static struct dgo_recording *new_recording(const char *path)
{
    struct dgo_recording *recording = calloc(1, sizeof *recording);

    if (!recording || !(recording->line = malloc(DGO_RECORDING_LINE_MAX + 2))) {
        free(recording);
        return NULL;
    }
    dgo_text_copy_escaped(recording->path, sizeof recording->path, path, strlen(path));
    return recording;
}

static enum dgo_status begin(struct dgo_recording *made, struct dgo_recording **recording,
                             struct dgo_error *err)
{
    const enum dgo_status status = read_header(made, err);

    if (status != DGO_OK)
        dgo_recording_close(made);
    else
        *recording = made;
    return status;
}

enum dgo_status dgo_recording_open(const char *path, struct dgo_recording **recording,
                                   struct dgo_error *err)
{
    struct dgo_recording *made = new_recording(path);

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->file = fopen(path, "re");
    if (!made->file) {
        const int reason = errno;

        dgo_recording_close(made);
        return dgo_fail_errno(err, reason == ENOENT ? DGO_ENOTFOUND : DGO_EIO, reason,
                              "cannot open the recording %s", path);
    }
    return begin(made, recording, err);
}

enum dgo_status gpu_recording_of_bytes(const char *bytes, size_t length,
                                       struct dgo_recording **recording, struct dgo_error *err)
{
    struct dgo_recording *made = new_recording("recording");

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    made->bytes = bytes;
    made->length = length;
    return begin(made, recording, err);
}

void dgo_recording_close(struct dgo_recording *recording)
{
    if (!recording)
        return;
    if (recording->file)
        fclose(recording->file);
    for (int i = 0; i < DGO_GPU_MAX; i++)
        json_decref(recording->gpu[i]);
    json_decref(recording->host);
    free(recording->line);
    free(recording);
}

bool dgo_recording_is_one(const char *path)
{
    char bytes[sizeof FIRST_KEY - 1];
    FILE *file = fopen(path, "re");
    size_t got;

    if (!file)
        return false;
    got = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return got == sizeof bytes && memcmp(bytes, FIRST_KEY, sizeof bytes) == 0;
}

/* ---- as a driver --------------------------------------------------------------------------- */

/* Plays a recording from the moment it was opened; after its end the last look stays. */
struct player {
    struct dgo_recording *recording;
    const struct dgo_clock *clock;
    uint64_t opened_ns;
    bool ended;
    bool pending; /* `item` is read and its time has not come */
    struct dgo_recording_item item;
    bool has_machine;
    char problem[640];
    struct dgo_machine machine;
};

static void take_item(struct player *player)
{
    const struct dgo_sample *sample = player->item.sample;

    player->pending = false;
    if (player->item.kind != DGO_RECORDED_SAMPLE)
        return;
    dgo_text_copy(player->problem, sizeof player->problem, sample->problem);
    if (sample->sequence == 0)
        return;
    player->machine = sample->machine;
    player->has_machine = true;
}

/* Reads on up to the time; at least up to the first look that tells of a machine. */
static enum dgo_status play(struct player *player, uint64_t elapsed_ns, struct dgo_error *err)
{
    while (!player->ended) {
        if (!player->pending) {
            const enum dgo_status status =
                dgo_recording_next(player->recording, &player->item, err);

            if (status != DGO_OK && status != DGO_ENOTFOUND)
                return status;
            player->ended = status == DGO_ENOTFOUND;
            player->pending = status == DGO_OK;
            continue;
        }
        if (player->has_machine && player->item.at_ns > elapsed_ns)
            break;
        take_item(player);
    }
    return DGO_OK;
}

static void player_close(void *state)
{
    struct player *player = state;

    dgo_recording_close(player->recording);
    free(player);
}

static enum dgo_status player_open(const struct dgo_gpu_options *options, void **state,
                                   struct dgo_error *err)
{
    struct player *player = calloc(1, sizeof *player);
    enum dgo_status status;

    if (!player)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    player->clock = dgo_clock_system();
    status = dgo_recording_open(options->machine_file, &player->recording, err);
    if (status == DGO_OK)
        status = play(player, 0, err);
    if (status == DGO_OK && !player->has_machine)
        status = dgo_fail(err, DGO_EFORMAT, "%s: the recording tells of no machine",
                          options->machine_file);
    if (status != DGO_OK) {
        player_close(player);
        return status;
    }
    player->opened_ns = dgo_clock_monotonic_ns(player->clock);
    *state = player;
    return DGO_OK;
}

static enum dgo_status player_take(void *state, unsigned tiers, struct dgo_machine *machine,
                                   struct dgo_error *err)
{
    struct player *player = state;
    const enum dgo_status status =
        play(player, dgo_clock_monotonic_ns(player->clock) - player->opened_ns, err);

    (void)tiers;
    if (status != DGO_OK)
        return status;
    if (player->problem[0] != '\0')
        return dgo_fail(err, DGO_EDRIVER, "%s", player->problem);
    *machine = player->machine;
    return DGO_OK;
}

const struct gpu_driver gpu_driver_recording = {
    .name = "recording", .open = player_open, .take = player_take, .close = player_close};
