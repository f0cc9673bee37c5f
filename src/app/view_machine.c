/* view_machine.c - the machine as JSON. */
#include "view_internal.h"

#include "machine_json.h"

static const char *vendor_name(enum dgo_gpu_vendor vendor)
{
    static const char *const names[] = {"unknown", "nvidia", "amd", "intel"};

    return (unsigned)vendor < sizeof names / sizeof names[0] ? names[vendor] : names[0];
}

static json_t *number_uint64_t(uint64_t value)
{
    return count_value(value);
}
static json_t *number_uint32_t(uint32_t value)
{
    return json_integer((json_int_t)value);
}
static json_t *number_int32_t(int32_t value)
{
    return json_integer((json_int_t)value);
}
static json_t *number_double(double value)
{
    return json_real(value);
}

static json_t *view_process(const struct dgo_gpu_process *process)
{
    json_t *object = json_object();

    set_count(object, "pid", process->pid);
    if (process->start_ticks)
        set_count(object, "start_ticks", process->start_ticks);
    json_object_set_new(object, "name", text_or_null(process->name));
    if (process->used_known)
        set_count(object, "used_bytes", process->used_bytes);
    json_object_set_new(object, "compute", json_boolean(process->compute));
    json_object_set_new(object, "graphics", json_boolean(process->graphics));
    if (process->busy_known)
        set_count(object, "busy_permille", process->busy_permille);
    set_text(object, "role", dgo_process_role_name(process->role));
    json_object_set_new(object, "owner", text_or_null(process->owner));
    json_object_set_new(object, "container", text_or_null(process->container));
    json_object_set_new(object, "command", text_or_null(process->command));
    return object;
}

/* What slows the card now, in words. */
static json_t *view_throttle(uint32_t mask)
{
    json_t *list = json_array();

    for (int why = 0; why < DGO_THROTTLE_COUNT; why++)
        if (mask >> why & 1)
            json_array_append_new(list, json_string(dgo_throttle_name((enum dgo_throttle)why)));
    return list;
}

static json_t *view_slice(const struct dgo_gpu_slice *slice)
{
    json_t *object = json_object();

    json_object_set_new(object, "name", text_or_null(slice->name));
    json_object_set_new(object, "uuid", text_or_null(slice->uuid));
    if (slice->memory_known) {
        set_count(object, "total_bytes", slice->total_bytes);
        set_count(object, "used_bytes", slice->used_bytes);
        set_count(object, "free_bytes", slice->free_bytes);
    }
    return object;
}

/* The rows of fields.def that are numbers for machines, in words. */
static void set_words(json_t *object, const struct dgo_gpu *gpu)
{
    json_t *slices;

    if (dgo_gpu_knows(gpu, DGO_GPU_THROTTLE_MASK))
        json_object_set_new(object, "throttle", view_throttle(gpu->throttle_mask));
    if (dgo_gpu_knows(gpu, DGO_GPU_RECOVERY_ACTION))
        set_text(object, "recovery", dgo_recovery_name(gpu->recovery_action));
    if (!gpu->sliced)
        return;
    slices = json_array();
    for (uint32_t i = 0; i < gpu->slice_count; i++)
        json_array_append_new(slices, view_slice(&gpu->slice[i]));
    json_object_set_new(object, "slices", slices);
}

static json_t *view_gpu(const struct dgo_gpu *gpu, uint32_t index)
{
    json_t *object = json_object();

    set_count(object, "index", index);
    json_object_set_new(object, "name", text_or_null(gpu->name));
    set_text(object, "vendor", vendor_name(gpu->vendor));
    json_object_set_new(object, "uuid", text_or_null(gpu->uuid));
    json_object_set_new(object, "pci_id", text_or_null(gpu->pci_id));
    if (gpu->problem[0])
        set_text(object, "problem", gpu->problem);
#define X(id, type, name, title)                                                                   \
    if (dgo_gpu_knows(gpu, DGO_GPU_##id))                                                          \
        json_object_set_new(object, #name, number_##type(gpu->name));
#include "fields.def"
#undef X
    set_words(object, gpu);
    if (gpu->processes_known) {
        json_t *processes = json_array();

        for (uint32_t i = 0; i < gpu->process_count; i++)
            json_array_append_new(processes, view_process(&gpu->process[i]));
        json_object_set_new(object, "processes", processes);
        set_count(object, "processes_not_listed", gpu->process_more);
    }
    return object;
}

static json_t *view_host(const struct dgo_host *host)
{
    json_t *object = json_object();

    if (host->memory_known) {
        set_count(object, "total_bytes", host->total_bytes);
        set_count(object, "free_bytes", host->free_bytes);
    }
    set_rate(object, "bandwidth_bytes_per_s", host->bandwidth_bytes_per_s);
    set_rate(object, "decode_bytes_per_s", host->decode_bytes_per_s);
    if (host->core_count)
        set_count(object, "core_count", host->core_count);
    return object;
}

static json_t *make_machine(const struct view *view)
{
    const struct dgo_machine *machine = view->machine;
    json_t *gpus = json_array(), *object;

    for (uint32_t i = 0; i < machine->gpu_count; i++)
        json_array_append_new(gpus, view_gpu(&machine->gpu[i], i));
    object =
        json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "schema", "dualgpuopt.machine/1",
                  "simulated", (int)machine->origin.simulated, "source", view_text(machine->source),
                  "driver", text_or_null(machine->driver), "gpus", gpus, "links",
                  gpu_json_of_links(machine), "host", view_host(&machine->host));
    view_add_recorded(object, &machine->origin);
    return object;
}

json_t *view_machine(const struct dgo_machine *machine)
{
    return view_make(&(struct view){.make = make_machine, .machine = machine});
}
