/* compare_looks.c - the memory of the machine now, from the daemon or from the driver. */
#include "compare.h"

#include "client.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "view.h"

#include <string.h>
#include <time.h>

static bool is_named(const struct options *options, enum option_id id)
{
    return option_given(options, id) && options->value[id].origin >= ORIGIN_ENVIRONMENT;
}

static enum dgo_status ask_daemon(const struct options *options, json_t **view,
                                  struct dgo_error *err)
{
    return client_ask(options, "GET", "/api/v1/view", NULL, view, err);
}

/* A daemon that has just begun answers before its first look at the cards is over. */
static enum dgo_status await_daemon(const struct options *options, struct dgo_error *err)
{
    enum { TRIES = 50 };
    const struct timespec pause = {0, 100 * DGO_NS_PER_MS};
    enum dgo_status status = DGO_OK;
    bool has_looked = false;

    for (int i = 0; i < TRIES && status == DGO_OK && !has_looked; i++) {
        json_t *view = NULL;

        if (i > 0)
            (void)nanosleep(&pause, NULL);
        status = ask_daemon(options, &view, err);
        has_looked = json_is_object(json_object_get(view, "machine")) ||
                     json_object_get(view, "machine_problem");
        json_decref(view);
    }
    return status;
}

enum dgo_status compare_looks_open(const struct options *options, struct compare_looks *looks,
                                   struct dgo_error *err)
{
    const struct dgo_gpu_options gpu = {.machine_file = option_text(options, OPTION_GPUS),
                                        .nvml_library = option_text(options, OPTION_NVML)};
    const bool asked_for = is_named(options, OPTION_SOCKET);
    enum dgo_status status;

    *looks = (struct compare_looks){.options = options};
    if (asked_for || (!is_named(options, OPTION_GPUS) && !is_named(options, OPTION_NVML))) {
        status = await_daemon(options, err);
        looks->daemon = status == DGO_OK;
        if (status == DGO_OK || status != DGO_ENOTFOUND || asked_for)
            return status;
        *err = (struct dgo_error){0};
    }
    return dgo_gpu_open(&gpu, &looks->source, err);
}

void compare_looks_close(struct compare_looks *looks)
{
    dgo_gpu_close(looks->source);
    looks->source = NULL;
}

void compare_mark(const struct compare_looks *looks, const char *text)
{
    json_t *body, *answer = NULL;
    struct dgo_error err = {0};

    if (!looks->daemon)
        return;
    body = json_pack("{s:s}", "text", text);
    if (client_ask(looks->options, "POST", "/api/v1/marks", body, &answer, &err) == DGO_OK)
        json_decref(answer);
    json_decref(body);
}

/* ---- the daemon's view, as a machine ----------------------------------------------------- */

static void read_process(const json_t *object, struct dgo_gpu_process *process)
{
    const json_t *used = json_object_get(object, "used_bytes");
    const char *name = json_string_value(json_object_get(object, "name"));
    const char *role = json_string_value(json_object_get(object, "role"));

    *process = (struct dgo_gpu_process){
        .pid = (uint32_t)json_integer_value(json_object_get(object, "pid")),
        .start_ticks = (uint64_t)json_integer_value(json_object_get(object, "start_ticks")),
        .used_known = json_is_integer(used),
        .used_bytes = (uint64_t)json_integer_value(used),
    };
    (void)dgo_text_copy(process->name, sizeof process->name, name ? name : "");
    for (int r = DGO_ROLE_OTHER; role && r <= DGO_ROLE_OURS; r++)
        if (strcmp(dgo_process_role_name((enum dgo_process_role)r), role) == 0)
            process->role = (enum dgo_process_role)r;
}

/* What a comparison looks at. */
#define READINGS(X)                                                                                \
    X(TOTAL_BYTES, uint64_t, total_bytes)                                                          \
    X(RESERVED_BYTES, uint64_t, reserved_bytes)                                                    \
    X(USED_BYTES, uint64_t, used_bytes)                                                            \
    X(FREE_BYTES, uint64_t, free_bytes)                                                            \
    X(BAR1_USED_BYTES, uint64_t, bar1_used_bytes)                                                  \
    X(DISPLAY_ACTIVE, uint32_t, display_active)

static void read_gpu(const json_t *object, struct dgo_gpu *gpu)
{
    const char *problem = json_string_value(json_object_get(object, "problem"));
    const json_t *process;
    size_t at;

    memset(gpu, 0, sizeof *gpu);
    (void)dgo_text_copy(gpu->problem, sizeof gpu->problem, problem ? problem : "");
#define X(FIELD, type, field)                                                                      \
    if (json_is_integer(json_object_get(object, #field))) {                                        \
        gpu->known |= UINT64_C(1) << DGO_GPU_##FIELD;                                              \
        gpu->field = (type)json_integer_value(json_object_get(object, #field));                    \
    }
    READINGS(X)
#undef X
    json_array_foreach(json_object_get(object, "processes"), at, process)
    {
        if (gpu->process_count < DGO_GPU_PROCESS_MAX)
            read_process(process, &gpu->process[gpu->process_count++]);
    }
}

static enum dgo_status read_view(const json_t *view, struct dgo_machine *machine,
                                 struct dgo_error *err)
{
    const json_t *gpus = json_object_get(json_object_get(view, "machine"), "gpus"), *gpu;
    const char *problem = json_string_value(json_object_get(view, "machine_problem"));
    size_t at;

    if (!gpus || json_is_true(json_object_get(view, "machine_stale")))
        return dgo_fail(err, DGO_EDRIVER, "the daemon has no fresh readings: %.400s",
                        problem ? problem : "the driver does not answer");
    memset(machine, 0, sizeof *machine);
    view_read_origin(view, &machine->origin);
    json_array_foreach(gpus, at, gpu)
    {
        if (machine->gpu_count < DGO_GPU_MAX)
            read_gpu(gpu, &machine->gpu[machine->gpu_count++]);
    }
    return DGO_OK;
}

enum dgo_status compare_look(struct compare_looks *looks, bool slow_too,
                             struct dgo_machine *machine, struct dgo_error *err)
{
    const unsigned tiers = DGO_TIER_BIT(DGO_TIER_FAST) | DGO_TIER_BIT(DGO_TIER_PROCESSES) |
                           (slow_too ? DGO_TIER_BIT(DGO_TIER_SLOW) : 0);
    enum dgo_status status;
    json_t *view = NULL;

    if (!looks->daemon)
        return dgo_gpu_take_tiers(looks->source, tiers, machine, err);
    status = ask_daemon(looks->options, &view, err);
    if (status == DGO_OK)
        status = read_view(view, machine, err);
    json_decref(view);
    return status;
}
