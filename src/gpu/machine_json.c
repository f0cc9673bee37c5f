/* machine_json.c - a machine as JSON and back. */
#include "machine_json.h"

#include "dgo_text.h"
#include "driver.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- values -------------------------------------------------------------------------------- */

json_t *gpu_json_text(const char *text)
{
    json_t *value = json_string(text);
    char escaped[1024];

    if (value)
        return value;
    dgo_text_copy_escaped(escaped, sizeof escaped, text, strlen(text));
    return json_string(escaped);
}

static json_t *of_uint64_t(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}
static json_t *of_uint32_t(uint32_t value)
{
    return json_integer(value);
}
static json_t *of_int32_t(int32_t value)
{
    return json_integer(value);
}
static json_t *of_double(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static enum dgo_status to_number(const json_t *value, const char *key, json_int_t least,
                                 json_int_t most, json_int_t *number, struct dgo_error *err)
{
    const json_int_t given = json_integer_value(value);

    if (!json_is_integer(value) || given < least || given > most)
        return dgo_fail(err, DGO_EFORMAT, "%s must be a whole number from %" PRId64 " to %" PRId64,
                        key, (int64_t)least, (int64_t)most);
    *number = given;
    return DGO_OK;
}

#define TO_WHOLE(type, least, most)                                                                \
    static enum dgo_status to_##type(const json_t *value, const char *key, type *to,               \
                                     struct dgo_error *err)                                        \
    {                                                                                              \
        json_int_t number = 0;                                                                     \
        const enum dgo_status status = to_number(value, key, least, most, &number, err);           \
                                                                                                   \
        *to = (type)number;                                                                        \
        return status;                                                                             \
    }
TO_WHOLE(uint64_t, 0, INT64_MAX)
TO_WHOLE(uint32_t, 0, UINT32_MAX)
TO_WHOLE(int32_t, INT32_MIN, INT32_MAX)

static enum dgo_status to_double(const json_t *value, const char *key, double *to,
                                 struct dgo_error *err)
{
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return dgo_fail(err, DGO_EFORMAT, "%s must be a number", key);
    *to = json_number_value(value);
    return DGO_OK;
}

void gpu_json_to_text(const json_t *value, char *text, size_t size)
{
    text[0] = '\0';
    if (json_is_string(value))
        dgo_text_copy_escaped(text, size, json_string_value(value), json_string_length(value));
}

/* Texts of a struct: one row each, for both directions. */
struct text_row {
    const char *key;
    size_t at, size;
};
#define TEXT_ROW(type, member)                                                                     \
    {                                                                                              \
#member, offsetof(struct type, member), sizeof(((struct type *)0)->member)                 \
    }
static const struct text_row gpu_texts[] = {TEXT_ROW(dgo_gpu, name), TEXT_ROW(dgo_gpu, uuid),
                                            TEXT_ROW(dgo_gpu, pci_id), TEXT_ROW(dgo_gpu, problem)};
static const struct text_row process_texts[] = {
    TEXT_ROW(dgo_gpu_process, name), TEXT_ROW(dgo_gpu_process, owner),
    TEXT_ROW(dgo_gpu_process, container), TEXT_ROW(dgo_gpu_process, command)};
static const struct text_row slice_texts[] = {TEXT_ROW(dgo_gpu_slice, name),
                                              TEXT_ROW(dgo_gpu_slice, uuid)};
#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

static void put_texts(json_t *object, const struct text_row *rows, size_t count, const void *from)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = (const char *)from + rows[i].at;

        if (text[0] != '\0')
            json_object_set_new(object, rows[i].key, gpu_json_text(text));
    }
}

static void get_texts(const json_t *object, const struct text_row *rows, size_t count, void *to)
{
    for (size_t i = 0; i < count; i++)
        gpu_json_to_text(json_object_get(object, rows[i].key), (char *)to + rows[i].at,
                         rows[i].size);
}

/* The number of a name in the order of its enum; 0 for none of them. */
static int number_of(const json_t *value, const char *(*name_of)(int), int count)
{
    for (int i = 0; i < count && json_is_string(value); i++)
        if (strcmp(json_string_value(value), name_of(i)) == 0)
            return i;
    return 0;
}

static const char *vendor_of_number(int vendor)
{
    static const char *const names[] = {"unknown", "nvidia", "amd", "intel"};

    return names[vendor];
}
static const char *role_of_number(int role)
{
    return dgo_process_role_name((enum dgo_process_role)role);
}
static const char *kind_of_number(int kind)
{
    return dgo_link_kind_name((enum dgo_link_kind)kind);
}

/* ---- a process and a slice ----------------------------------------------------------------- */

static json_t *of_process(const struct dgo_gpu_process *process)
{
    json_t *object = json_object();

    json_object_set_new(object, "pid", of_uint32_t(process->pid));
    if (process->used_known)
        json_object_set_new(object, "used_bytes", of_uint64_t(process->used_bytes));
    json_object_set_new(object, "compute", json_boolean(process->compute));
    json_object_set_new(object, "graphics", json_boolean(process->graphics));
    if (process->busy_known)
        json_object_set_new(object, "busy_permille", of_uint32_t(process->busy_permille));
    json_object_set_new(object, "role", json_string(dgo_process_role_name(process->role)));
    if (process->start_ticks)
        json_object_set_new(object, "start_ticks", of_uint64_t(process->start_ticks));
    put_texts(object, process_texts, COUNT_OF(process_texts), process);
    return object;
}

static enum dgo_status to_process(const json_t *object, struct dgo_gpu_process *process,
                                  struct dgo_error *err)
{
    const json_t *used = json_object_get(object, "used_bytes");
    const json_t *ticks = json_object_get(object, "start_ticks");
    const json_t *busy = json_object_get(object, "busy_permille");
    enum dgo_status status = to_uint32_t(json_object_get(object, "pid"), "pid", &process->pid, err);

    if (status == DGO_OK && used)
        status = to_uint64_t(used, "used_bytes", &process->used_bytes, err);
    process->used_known = used != NULL;
    if (status == DGO_OK && ticks)
        status = to_uint64_t(ticks, "start_ticks", &process->start_ticks, err);
    process->busy_known = busy != NULL;
    if (status == DGO_OK && busy)
        status = to_uint32_t(busy, "busy_permille", &process->busy_permille, err);
    process->compute = json_is_true(json_object_get(object, "compute"));
    process->graphics = json_is_true(json_object_get(object, "graphics"));
    process->role = (enum dgo_process_role)number_of(json_object_get(object, "role"),
                                                     role_of_number, DGO_ROLE_OURS + 1);
    get_texts(object, process_texts, COUNT_OF(process_texts), process);
    return status;
}

static json_t *of_slice(const struct dgo_gpu_slice *slice)
{
    json_t *object = json_object();

    put_texts(object, slice_texts, COUNT_OF(slice_texts), slice);
    if (slice->memory_known) {
        json_object_set_new(object, "total_bytes", of_uint64_t(slice->total_bytes));
        json_object_set_new(object, "used_bytes", of_uint64_t(slice->used_bytes));
        json_object_set_new(object, "free_bytes", of_uint64_t(slice->free_bytes));
    }
    return object;
}

static enum dgo_status to_slice(const json_t *object, struct dgo_gpu_slice *slice,
                                struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    get_texts(object, slice_texts, COUNT_OF(slice_texts), slice);
    slice->memory_known = json_object_get(object, "total_bytes") != NULL;
    if (!slice->memory_known)
        return DGO_OK;
    status = to_uint64_t(json_object_get(object, "total_bytes"), "total_bytes", &slice->total_bytes,
                         err);
    if (status == DGO_OK)
        status = to_uint64_t(json_object_get(object, "used_bytes"), "used_bytes",
                             &slice->used_bytes, err);
    if (status == DGO_OK)
        status = to_uint64_t(json_object_get(object, "free_bytes"), "free_bytes",
                             &slice->free_bytes, err);
    return status;
}

/* ---- a GPU --------------------------------------------------------------------------------- */

json_t *gpu_json_of_gpu(const struct dgo_gpu *gpu)
{
    json_t *object = json_object();
    json_t *list;

    put_texts(object, gpu_texts, COUNT_OF(gpu_texts), gpu);
    json_object_set_new(object, "vendor", json_string(vendor_of_number((int)gpu->vendor)));
#define X(id, type, name, title)                                                                   \
    if (dgo_gpu_knows(gpu, DGO_GPU_##id))                                                          \
        json_object_set_new(object, #name, of_##type(gpu->name));
#include "fields.def"
#undef X
    if (gpu->sliced) {
        list = json_array();
        for (uint32_t i = 0; i < gpu->slice_count; i++)
            json_array_append_new(list, of_slice(&gpu->slice[i]));
        json_object_set_new(object, "slices", list);
    }
    if (gpu->processes_known) {
        list = json_array();
        for (uint32_t i = 0; i < gpu->process_count; i++)
            json_array_append_new(list, of_process(&gpu->process[i]));
        json_object_set_new(object, "processes", list);
    }
    if (gpu->process_more)
        json_object_set_new(object, "processes_not_listed", of_uint32_t(gpu->process_more));
    return object;
}

static enum dgo_status to_lists(const json_t *object, struct dgo_gpu *gpu, struct dgo_error *err)
{
    const json_t *processes = json_object_get(object, "processes");
    const json_t *slices = json_object_get(object, "slices");
    const json_t *more = json_object_get(object, "processes_not_listed");
    enum dgo_status status = DGO_OK;

    gpu->processes_known = json_is_array(processes);
    gpu->sliced = json_is_array(slices);
    for (size_t i = 0; i < json_array_size(slices) && i < DGO_GPU_SLICE_MAX; i++) {
        status = to_slice(json_array_get(slices, i), &gpu->slice[gpu->slice_count++], err);
        if (status != DGO_OK)
            return status;
    }
    for (size_t i = 0; i < json_array_size(processes) && i < DGO_GPU_PROCESS_MAX; i++) {
        status = to_process(json_array_get(processes, i), &gpu->process[gpu->process_count++], err);
        if (status != DGO_OK)
            return status;
    }
    return more ? to_uint32_t(more, "processes_not_listed", &gpu->process_more, err) : DGO_OK;
}

enum dgo_status gpu_json_to_gpu(const json_t *object, struct dgo_gpu *gpu, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    const json_t *value;

    if (!json_is_object(object))
        return dgo_fail(err, DGO_EFORMAT, "a GPU must be an object");
    get_texts(object, gpu_texts, COUNT_OF(gpu_texts), gpu);
    gpu->vendor = (enum dgo_gpu_vendor)number_of(json_object_get(object, "vendor"),
                                                 vendor_of_number, DGO_VENDOR_INTEL + 1);
#define X(id, type, name, title)                                                                   \
    value = status == DGO_OK ? json_object_get(object, #name) : NULL;                              \
    if (value && !json_is_null(value)) {                                                           \
        status = to_##type(value, #name, &gpu->name, err);                                         \
        gpu->known |= UINT64_C(1) << DGO_GPU_##id;                                                 \
    }
#include "fields.def"
#undef X
    return status == DGO_OK ? to_lists(object, gpu, err) : status;
}

/* ---- the rest ------------------------------------------------------------------------------ */

json_t *gpu_json_of_links(const struct dgo_machine *machine)
{
    json_t *list = json_array();

    for (uint32_t a = 0; a < machine->gpu_count; a++)
        for (uint32_t b = a + 1; b < machine->gpu_count; b++) {
            const struct dgo_link *link = &machine->link[a][b];
            json_t *object = json_pack("{s:[ii], s:s}", "between", (int)a, (int)b, "kind",
                                       dgo_link_kind_name(link->kind));

            if (link->p2p_known)
                json_object_set_new(object, "p2p", json_boolean(link->p2p));
            if (link->bandwidth_bytes_per_s > 0)
                json_object_set_new(object, "bandwidth_bytes_per_s",
                                    of_double(link->bandwidth_bytes_per_s));
            json_array_append_new(list, object);
        }
    return list;
}

enum dgo_status gpu_json_to_links(const json_t *list, struct dgo_machine *machine,
                                  struct dgo_error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *object = json_array_get(list, i);
        const json_t *between = json_object_get(object, "between");
        const json_t *bandwidth = json_object_get(object, "bandwidth_bytes_per_s");
        const json_int_t a = json_integer_value(json_array_get(between, 0));
        const json_int_t b = json_integer_value(json_array_get(between, 1));
        struct dgo_link link = {0};

        if (a < 0 || b < 0 || a == b || a >= machine->gpu_count || b >= machine->gpu_count)
            return dgo_fail(err, DGO_EFORMAT, "a link must be between two of the GPUs");
        link.kind = (enum dgo_link_kind)number_of(json_object_get(object, "kind"), kind_of_number,
                                                  DGO_LINK_NET + 1);
        link.p2p_known = json_object_get(object, "p2p") != NULL;
        link.p2p = json_is_true(json_object_get(object, "p2p"));
        if (bandwidth) {
            const enum dgo_status status =
                to_double(bandwidth, "bandwidth_bytes_per_s", &link.bandwidth_bytes_per_s, err);

            if (status != DGO_OK)
                return status;
        }
        gpu_set_link(machine, (uint32_t)a, (uint32_t)b, &link);
    }
    return DGO_OK;
}

json_t *gpu_json_of_host(const struct dgo_host *host)
{
    json_t *object = json_object();

    if (host->memory_known) {
        json_object_set_new(object, "total_bytes", of_uint64_t(host->total_bytes));
        json_object_set_new(object, "free_bytes", of_uint64_t(host->free_bytes));
    }
    if (host->bandwidth_bytes_per_s > 0)
        json_object_set_new(object, "bandwidth_bytes_per_s",
                            of_double(host->bandwidth_bytes_per_s));
    if (host->decode_bytes_per_s > 0)
        json_object_set_new(object, "decode_bytes_per_s", of_double(host->decode_bytes_per_s));
    if (host->core_count)
        json_object_set_new(object, "core_count", of_uint32_t(host->core_count));
    return object;
}

enum dgo_status gpu_json_to_host(const json_t *object, struct dgo_host *host, struct dgo_error *err)
{
    const json_t *total = json_object_get(object, "total_bytes");
    const json_t *spare = json_object_get(object, "free_bytes");
    const json_t *bandwidth = json_object_get(object, "bandwidth_bytes_per_s");
    const json_t *decode = json_object_get(object, "decode_bytes_per_s");
    const json_t *cores = json_object_get(object, "core_count");
    enum dgo_status status = DGO_OK;

    if (total)
        status = to_uint64_t(total, "total_bytes", &host->total_bytes, err);
    if (status == DGO_OK && spare)
        status = to_uint64_t(spare, "free_bytes", &host->free_bytes, err);
    if (status == DGO_OK && bandwidth)
        status = to_double(bandwidth, "bandwidth_bytes_per_s", &host->bandwidth_bytes_per_s, err);
    if (status == DGO_OK && decode)
        status = to_double(decode, "decode_bytes_per_s", &host->decode_bytes_per_s, err);
    if (status == DGO_OK && cores)
        status = to_uint32_t(cores, "core_count", &host->core_count, err);
    host->memory_known = total && spare;
    return status;
}

json_t *gpu_json_of_load(const struct dgo_engine_load *load)
{
    json_t *object = json_object();

    if (load->pid)
        json_object_set_new(object, "pid", of_uint32_t(load->pid));
    if (load->model[0])
        json_object_set_new(object, "model", gpu_json_text(load->model));
#define X(id, type, name, title)                                                                   \
    if (dgo_load_knows(load, DGO_LOAD_##id))                                                       \
        json_object_set_new(object, #name, of_##type(load->name));
#include "engine_load.def"
#undef X
    return object;
}

enum dgo_status gpu_json_to_load(const json_t *object, struct dgo_engine_load *load,
                                 struct dgo_error *err)
{
    const json_t *value = json_object_get(object, "pid");
    enum dgo_status status = DGO_OK;

    if (value)
        status = to_uint32_t(value, "pid", &load->pid, err);
    gpu_json_to_text(json_object_get(object, "model"), load->model, sizeof load->model);
#define X(id, type, name, title)                                                                   \
    value = status == DGO_OK ? json_object_get(object, #name) : NULL;                              \
    if (value && !json_is_null(value)) {                                                           \
        status = to_##type(value, #name, &load->name, err);                                        \
        load->known |= UINT32_C(1) << DGO_LOAD_##id;                                               \
    }
#include "engine_load.def"
#undef X
    return status;
}
