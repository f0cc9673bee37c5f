/* restore.c - launches on disk: written as they change, taken up by the next daemon.
 *
 *     record ─► launch ─► prepared with its kept plan ─► engine kept? ─► taken over
 *                                                            └── no ───► started anew, if wanted */
#include "launch.h"

#include "dgo_launch.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "keep.h"
#include "view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const origins[] = {"api", "cli", "request"};

json_t *restore_cards(const struct dgo_machine *machine)
{
    json_t *cards = json_array();

    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        json_array_append_new(cards, view_text(gpu->uuid[0] ? gpu->uuid : gpu->name));
    }
    return cards;
}

static json_t *extra_of(const struct launch *launch)
{
    json_t *list = json_array();
    const uint32_t first = launch->preset ? launch->preset->arg_count : 0;

    for (uint32_t i = first; i < launch->extra_count; i++) /* the preset's come from its file */
        json_array_append_new(list, view_text(launch->extra[i]));
    return list;
}

static json_t *reserved_of(const struct launch *launch)
{
    json_t *list = json_array();

    for (uint32_t g = 0; g < DGO_GPU_MAX; g++)
        json_array_append_new(list, json_integer((json_int_t)launch->reserved_bytes[g]));
    return list;
}

void fleet_keep(struct launch *launch)
{
    const char *directory = fleet_options(launch->fleet)->directory;
    json_t *record;

    if (!directory)
        return;
    if (launch->phase == PHASE_ENDED && !launch->wanted) {
        keep_remove(directory, launch->id, false);
        return;
    }
    record = json_pack("{s:s, s:I, s:o, s:o, s:o, s:s, s:b, s:i, s:I, s:I, s:i, s:o, s:o, s:b}",
                       "schema", "dualgpuopt.launch-record/1", "id", (json_int_t)launch->id, "name",
                       view_text(launch->name), "model", view_text(launch->model_name), "path",
                       view_text(launch->model_path), "origin", launch->origin, "pinned",
                       (int)launch->pinned, "admission", (int)launch->admission, "created_ns",
                       (json_int_t)launch->created_ns, "started_ns", (json_int_t)launch->started_ns,
                       "port", (int)launch->port, "extra", extra_of(launch), "reserved_bytes",
                       reserved_of(launch), "running", launch->phase == PHASE_RUNNING);
    if (launch->preset)
        json_object_set_new(record, "preset", view_text(launch->preset->name));
    if (launch->intent)
        json_object_set(record, "intent", launch->intent);
    if (launch->flow && launch->phase == PHASE_RUNNING)
        json_object_set_new(record, "cards", restore_cards(&launch->flow->machine));
    keep_save_record(directory, launch->id, record);
    json_decref(record);
}

void restore_end_kept(struct launch *launch)
{
    const struct dgo_process_options options = {
        .keep = {.path = launch->keep_socket, .log_fd = -1}};
    struct dgo_process *process = NULL;

    if (launch->keep_socket[0] &&
        dgo_process_adopt(fleet_app(launch->fleet)->loop, &options, &process, NULL) == DGO_OK)
        dgo_process_free(process); /* kills it and waits */
}

static const char *origin_of(const json_t *record)
{
    const char *text = json_string_value(json_object_get(record, "origin"));

    for (size_t i = 0; text && i < sizeof origins / sizeof origins[0]; i++)
        if (strcmp(origins[i], text) == 0)
            return origins[i];
    return "api";
}

static enum dgo_status take_up(struct fleet *fleet, const json_t *record, struct dgo_error *err)
{
    const json_t *list = json_object_get(record, "extra");
    const json_t *reserved = json_object_get(record, "reserved_bytes");
    const char *preset = json_string_value(json_object_get(record, "preset"));
    const char *extra[256], *param = NULL;
    struct wish wish = {
        .model_name = json_string_value(json_object_get(record, "model")),
        .model_path = json_string_value(json_object_get(record, "path")),
        .name = json_string_value(json_object_get(record, "name")),
        .intent = json_object_get(record, "intent"),
        .extra = extra,
        .pinned = json_is_true(json_object_get(record, "pinned")),
        .admission_given = true,
        .admission = (enum admission)(json_integer_value(json_object_get(record, "admission")) % 3),
        .origin = origin_of(record),
    };
    struct launch *launch = NULL;
    enum dgo_status status;

    for (; wish.extra_count < json_array_size(list) && wish.extra_count < 256; wish.extra_count++) {
        extra[wish.extra_count] = json_string_value(json_array_get(list, wish.extra_count));
        if (!extra[wish.extra_count])
            return dgo_fail(err, DGO_EFORMAT, "its flags are no words");
    }
    if (!wish.model_name || !wish.model_path || !wish.name)
        return dgo_fail(err, DGO_EFORMAT, "it names no model");
    if (preset) {
        wish.preset = malloc(sizeof *wish.preset);
        status = wish.preset
                     ? preset_read(fleet_options(fleet)->environment, preset, wish.preset, err)
                     : dgo_fail(err, DGO_ENOMEM, "out of memory");
        if (status != DGO_OK) {
            free(wish.preset);
            return status;
        }
    }
    status =
        fleet_make_launch(fleet, &wish, (uint64_t)json_integer_value(json_object_get(record, "id")),
                          &launch, &param, err);
    if (status != DGO_OK)
        return status;
    launch->adopt = json_is_true(json_object_get(record, "running")) && launch->keep_socket[0];
    launch->port = (uint16_t)json_integer_value(json_object_get(record, "port"));
    launch->created_ns = (uint64_t)json_integer_value(json_object_get(record, "created_ns"));
    launch->started_ns = (uint64_t)json_integer_value(json_object_get(record, "started_ns"));
    launch->cards = json_deep_copy(json_object_get(record, "cards"));
    for (uint32_t g = 0; g < DGO_GPU_MAX; g++)
        launch->reserved_bytes[g] = (uint64_t)json_integer_value(json_array_get(reserved, g));
    (void)dgo_text_copy(launch->text, sizeof launch->text, "looks for its engine");
    return DGO_OK;
}

static bool is_known(uint64_t id, void *fleet)
{
    return fleet_find(fleet, id) != NULL;
}

void fleet_restore(struct fleet *fleet)
{
    const char *directory = fleet_options(fleet)->directory;
    json_t *records[KEEP_LAUNCH_MAX];
    const uint32_t count = keep_load_records(directory, records);

    for (uint32_t i = 0; i < count; i++) {
        const uint64_t id = (uint64_t)json_integer_value(json_object_get(records[i], "id"));
        const bool runs = json_is_true(json_object_get(records[i], "running"));
        struct dgo_error err = {0};

        if (!runs && strcmp(origin_of(records[i]), "request") == 0) {
            keep_remove(directory, id, true); /* it comes back when it is asked for */
        } else if (take_up(fleet, records[i], &err) != DGO_OK) {
            dgo_log(DGO_LOG_WARN, "launch %" PRIu64 " is not taken up again: %s", id, err.text);
            keep_remove(directory, id, true);
        }
        json_decref(records[i]);
    }
    keep_sweep(directory, is_known, fleet);
    if (count)
        fleet_changed(fleet);
}
