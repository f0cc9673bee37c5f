/* view.c - the machine, the model, an estimate and a plan as JSON. */
#include "view.h"

#include "dgo_app.h"
#include "dgo_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One view to be made, as a job of view_formatting: in its caller, unless that is the UI thread.
 * Each maker uses the fields it needs. */
struct view {
    json_t *(*make)(const struct view *view);
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_estimate *estimate;
    const struct dgo_settings *settings;
    const struct dgo_plan *plan;
    const struct dgo_alternative *alternative;
    const struct dgo_command *command;
    const struct dgo_comparison *comparison;
    const struct dgo_report *report;
    json_t *made;
};

static enum dgo_status job_view(void *data)
{
    struct view *view = data;

    view->made = view->make(view);
    return view->made ? DGO_OK : DGO_ENOMEM;
}

static json_t *make_view(struct view *view)
{
    app_run(COMPONENT_VIEW_FORMATTING, job_view, view);
    return view->made;
}

/* Listed of one model; ggml has 40.  A broken file may name thousands: what is beyond is left out.
 */
enum { TYPES_MAX = 64 };

void view_add_recorded(json_t *object, const struct dgo_origin *origin)
{
    if (!object || !origin->recorded)
        return;
    json_object_set_new(object, "recorded", json_true());
    if (origin->recorded_ns)
        json_object_set_new(object, "recorded_ns", json_integer((json_int_t)origin->recorded_ns));
}

void view_read_origin(const json_t *object, struct dgo_origin *origin)
{
    *origin = (struct dgo_origin){
        .simulated = json_is_true(json_object_get(object, "simulated")),
        .recorded = json_is_true(json_object_get(object, "recorded")),
        .recorded_ns = (uint64_t)json_integer_value(json_object_get(object, "recorded_ns"))};
}

json_t *view_text(const char *text)
{
    const size_t length = strlen(text), size = 4 * length + 1; /* "\xff" is the longest escape */
    json_t *value = json_string(text);
    char *escaped;

    if (value)
        return value;
    escaped = malloc(size);
    if (!escaped)
        return NULL;
    dgo_text_copy_escaped(escaped, size, text, length);
    value = json_string(escaped);
    free(escaped);
    return value;
}

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, view_text(text));
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? view_text(text) : json_null();
}

/* JSON knows no largest integer, jansson does. */
static json_t *count_value(uint64_t value)
{
    return value > INT64_MAX ? json_real((double)value) : json_integer((json_int_t)value);
}

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, count_value(value));
}

static void set_number(json_t *object, const char *key, double value)
{
    if (isfinite(value)) /* JSON has no word for the others */
        json_object_set_new(object, key, json_real(value));
}

static void set_rate(json_t *object, const char *key, double value)
{
    if (value > 0)
        set_number(object, key, value);
}

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

static json_t *view_links(const struct dgo_machine *machine)
{
    json_t *links = json_array();

    for (uint32_t a = 0; a < machine->gpu_count; a++)
        for (uint32_t b = a + 1; b < machine->gpu_count; b++) {
            const struct dgo_link *link = &machine->link[a][b];
            json_t *object = json_pack("{s:[ii], s:s}", "between", (int)a, (int)b, "kind",
                                       dgo_link_kind_name(link->kind));

            if (link->p2p_known)
                json_object_set_new(object, "p2p", json_boolean(link->p2p));
            set_rate(object, "bandwidth_bytes_per_s", link->bandwidth_bytes_per_s);
            json_array_append_new(links, object);
        }
    return links;
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
    object = json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "schema", "dualgpuopt.machine/1",
                       "simulated", (int)machine->origin.simulated, "source",
                       view_text(machine->source), "driver", text_or_null(machine->driver), "gpus",
                       gpus, "links", view_links(machine), "host", view_host(&machine->host));
    view_add_recorded(object, &machine->origin);
    return object;
}

json_t *view_machine(const struct dgo_machine *machine)
{
    return make_view(&(struct view){.make = make_machine, .machine = machine});
}

static json_t *view_layer(const struct dgo_layer *layer, uint32_t index)
{
    json_t *object = json_pack("{s:i, s:I}", "index", (int)index, "weights_bytes",
                               (json_int_t)layer->weights_bytes);

    if (layer->expert_bytes)
        set_count(object, "expert_bytes", layer->expert_bytes);
    set_count(object, "head_count", layer->head_count);
    set_count(object, "head_count_kv", layer->head_count_kv);
    set_count(object, "key_length", layer->key_length);
    set_count(object, "value_length", layer->value_length);
    set_count(object, "feed_forward_length", layer->feed_forward_length);
    json_object_set_new(object, "sliding_window", json_boolean(layer->sliding_window));
    json_object_set_new(object, "recurrent", json_boolean(layer->recurrent));
    return object;
}

struct type_sum {
    uint32_t id;
    uint64_t tensor_count, bytes;
};

static int by_bytes(const void *a, const void *b)
{
    const struct type_sum *one = a, *other = b;

    return one->bytes != other->bytes ? (one->bytes < other->bytes ? 1 : -1)
                                      : (one->id > other->id) - (one->id < other->id);
}

static struct type_sum *sum_of(struct type_sum *sums, uint32_t *count, uint32_t id)
{
    uint32_t i = 0;

    while (i < *count && sums[i].id != id)
        i++;
    if (i == TYPES_MAX)
        return NULL;
    if (i == *count)
        sums[(*count)++] = (struct type_sum){.id = id};
    return &sums[i];
}

/* Bytes and tensors by type, largest first: what "Q4_K - Medium" really is. */
static json_t *view_types(const struct dgo_model *model)
{
    struct type_sum sums[TYPES_MAX] = {{0}};
    json_t *types = json_array();
    uint32_t count = 0;

    for (uint32_t i = 0; i < model->tensor_count; i++) {
        struct type_sum *sum = sum_of(sums, &count, model->tensor[i].type);

        if (sum) {
            sum->tensor_count++;
            sum->bytes += model->tensor[i].size_bytes;
        }
    }
    for (uint32_t i = 0; i < model->weight_type_count; i++)
        json_array_append_new(
            types, json_pack("{s:o, s:o, s:o}", "type", view_text(model->weight_type[i].name),
                             "tensor_count", count_value(model->weight_type[i].tensor_count),
                             "bytes", count_value(model->weight_type[i].size_bytes)));
    qsort(sums, count, sizeof sums[0], by_bytes);
    for (uint32_t i = 0; i < count; i++) {
        const struct dgo_ggml_type *type = dgo_ggml_type(sums[i].id);
        char unknown[32];
        struct dgo_text text = DGO_TEXT(unknown);

        dgo_text_addf(&text, "type %u", (unsigned)sums[i].id);
        json_array_append_new(types,
                              json_pack("{s:s, s:o, s:o}", "type", type ? type->name : unknown,
                                        "tensor_count", count_value(sums[i].tensor_count), "bytes",
                                        count_value(sums[i].bytes)));
    }
    return types;
}

/* What only a folder has. */
static void set_folder(json_t *object, const struct dgo_model *model)
{
    const struct dgo_quantization *quantization = &model->quantization;
    json_t *stored = json_object();

    set_text(object, "model_class", model->model_class);
    set_text(object, "dtype", model->dtype);
    if (model->vision_bytes)
        set_count(object, "vision_bytes", model->vision_bytes);
    if (!quantization->method[0]) {
        json_decref(stored);
        return;
    }
    set_text(stored, "method", quantization->method);
    if (quantization->bits)
        set_count(stored, "bits", quantization->bits);
    if (quantization->group_size)
        set_count(stored, "group_size", quantization->group_size);
    json_object_set_new(object, "quantization", stored);
}

static json_t *make_model(const struct view *view)
{
    const struct dgo_model *model = view->model;
    json_t *object = json_object();
    json_t *layers = json_array();
    const char *file_type = dgo_file_type_name(model->file_type);

    set_text(object, "schema", "dualgpuopt.model/1");
    set_text(object, "format", dgo_model_format_name(model->format));
    set_text(object, "architecture", model->architecture);
    json_object_set_new(object, "architecture_verified", json_boolean(model->verified));
    json_object_set_new(object, "name", text_or_null(model->name));
    json_object_set_new(object, "file_type", file_type ? view_text(file_type) : json_null());
    if (model->format == DGO_FORMAT_GGUF)
        set_count(object, "gguf_version", model->gguf_version);
    else
        set_folder(object, model);
    set_count(object, "shard_count", model->shard_count);
    set_count(object, "file_bytes", model->file_bytes);
    set_count(object, "tensor_count", model->tensor_count + model->source_tensor_count);
    set_count(object, "parameter_count", model->parameter_count);
    if (model->context_length)
        set_count(object, "context_length", model->context_length);
    set_count(object, "embedding_length", model->embedding_length);
    set_count(object, "vocab_size", model->vocab_size);
    set_count(object, "layer_count", model->layer_count);
    if (model->mtp_layer_count)
        set_count(object, "mtp_layer_count", model->mtp_layer_count);
    json_object_set_new(object, "tied_embeddings", json_boolean(model->tied_embeddings));
    if (model->expert_count) {
        set_count(object, "expert_count", model->expert_count);
        set_count(object, "expert_used_count", model->expert_used_count);
    }
    if (model->sliding_window)
        set_count(object, "sliding_window", model->sliding_window);
    set_count(object, "kv_bytes_per_token", dgo_model_kv_bytes_per_token(model));
    json_object_set_new(object, "tokenizer",
                        json_pack("{s:o, s:o}", "model", text_or_null(model->tokenizer), "pre",
                                  text_or_null(model->tokenizer_pre)));
    set_count(object, "input_bytes", model->input_bytes);
    set_count(object, "output_bytes", model->output_bytes);
    set_count(object, "table_bytes", model->table_bytes);
    json_object_set_new(object, "types", view_types(model));
    for (uint32_t i = 0; i < model->layer_count; i++)
        json_array_append_new(layers, view_layer(&model->layer[i], i));
    json_object_set_new(object, "layers", layers);
    return object;
}

json_t *view_model(const struct dgo_model *model)
{
    return make_view(&(struct view){.make = make_model, .model = model});
}

static json_t *view_device(const struct dgo_machine *machine,
                           const struct dgo_device_estimate *device)
{
    const struct dgo_gpu *gpu = &machine->gpu[device->gpu_index];
    json_t *object = json_object();

    set_text(object, "name", device->name);
    set_count(object, "gpu_index", device->gpu_index);
    json_object_set_new(object, "gpu_name", text_or_null(gpu->name));
    if (device->layer_count)
        set_count(object, "layer_first", device->layer_first);
    set_count(object, "layer_count", device->layer_count);
    json_object_set_new(object, "holds_output", json_boolean(device->holds_output));
    set_count(object, "weights_bytes", device->weights_bytes);
    set_count(object, "context_bytes", device->context_bytes);
    set_count(object, "compute_bytes", device->compute_bytes);
    set_text(object, "compute_source", dgo_figure_source_name(device->compute_source));
    set_count(object, "overhead_bytes", device->overhead_bytes);
    set_text(object, "overhead_source", dgo_overhead_source_name(dgo_overhead_source(gpu)));
    if (dgo_gpu_knows(gpu, DGO_GPU_ENGINE_OVERHEAD_LAUNCHES)) {
        set_count(object, "overhead_launches", gpu->engine_overhead_launches);
        set_count(object, "overhead_drifts", gpu->engine_overhead_drifts);
        set_count(object, "overhead_spread_bytes", gpu->engine_overhead_spread_bytes);
    }
    set_count(object, "margin_bytes", device->margin_bytes);
    set_count(object, "free_bytes", device->free_bytes);
    return object;
}

/* The keys that an estimate, a plan and an alternative share. */
static void set_estimate(json_t *object, const struct dgo_machine *machine,
                         const struct dgo_estimate *estimate)
{
    json_t *devices = json_array();
    json_t *host = json_object();

    for (uint32_t i = 0; i < estimate->device_count; i++)
        json_array_append_new(devices, view_device(machine, &estimate->device[i]));
    json_object_set_new(object, "devices", devices);
    set_count(host, "layer_count", estimate->host.layer_count);
    set_count(host, "weights_bytes", estimate->host.weights_bytes);
    set_count(host, "context_bytes", estimate->host.context_bytes);
    set_count(host, "compute_bytes", estimate->host.compute_bytes);
    set_count(host, "output_bytes", estimate->host.output_bytes);
    if (estimate->host.free_known)
        set_count(host, "free_bytes", estimate->host.free_bytes);
    json_object_set_new(object, "host", host);
    set_count(object, "engine_build", estimate->build);
    if (estimate->newer_build > 0)
        set_count(object, "engine_build_newer", estimate->newer_build);
    set_count(object, "context_tokens", estimate->ctx_tokens);
    set_count(object, "context_tokens_per_slot", estimate->ctx_tokens_per_slot);
    set_count(object, "batch_tokens", estimate->batch_tokens);
    set_count(object, "ubatch_tokens", estimate->ubatch_tokens);
    json_object_set_new(object, "pipeline", json_boolean(estimate->pipeline));
    if (estimate->flash_attention_withdrawn)
        json_object_set_new(object, "flash_attention_withdrawn", json_true());
    if (estimate->attention_kernel_missing)
        json_object_set_new(object, "attention_kernel_missing", json_true());
    if (estimate->engine_refits)
        json_object_set_new(object, "engine_refits", json_true());
    json_object_set_new(object, "fits", json_boolean(estimate->fits));
    if (!estimate->fits) {
        const int32_t limiting = estimate->limiting_device;

        json_object_set_new(object, "limiting_device",
                            limiting >= 0    ? view_text(estimate->device[limiting].name)
                            : limiting == -1 ? view_text("host")
                                             : json_null());
        set_count(object, "missing_bytes", estimate->missing_bytes);
    }
}

static json_t *make_estimate(const struct view *view)
{
    const struct dgo_machine *machine = view->machine;
    const struct dgo_estimate *estimate = view->estimate;
    json_t *object = json_pack("{s:s, s:b}", "schema", "dualgpuopt.estimate/1", "simulated",
                               (int)machine->origin.simulated);

    view_add_recorded(object, &machine->origin);
    set_estimate(object, machine, estimate);
    return object;
}

json_t *view_estimate(const struct dgo_machine *machine, const struct dgo_estimate *estimate)
{
    return make_view(
        &(struct view){.make = make_estimate, .machine = machine, .estimate = estimate});
}

static json_t *view_prediction(const struct dgo_prediction *predicted)
{
    json_t *object = json_object();

    set_number(object, "decode_tokens_per_second", predicted->decode_tokens_per_second);
    if (predicted->prefill_tokens_per_second > 0)
        set_number(object, "prefill_tokens_per_second", predicted->prefill_tokens_per_second);
    set_number(object, "lower_bound_gap", predicted->lower_bound_gap);
    json_object_set_new(object, "bandwidth_assumed", json_boolean(predicted->bandwidth_assumed));
    set_count(object, "concurrent_requests", predicted->concurrent_requests);
    set_number(object, "throughput_tokens_per_second", predicted->throughput_tokens_per_second);
    return object;
}

static void set_settings(json_t *object, const struct dgo_settings *settings)
{
    set_count(object, "slot_count", settings->slot_count);
    set_text(object, "key_type", dgo_kv_type_name(settings->key_type));
    set_text(object, "value_type", dgo_kv_type_name(settings->value_type));
    json_object_set_new(object, "flash_attention",
                        json_boolean(settings->flash_attention == DGO_FA_ON));
    set_count(object, "gpu_layer_count", settings->gpu_layer_count);
}

static json_t *alternative_object(const struct dgo_machine *machine,
                                  const struct dgo_alternative *alternative)
{
    json_t *entry = json_object();

    if (alternative->why[0])
        set_text(entry, "why", alternative->why);
    set_estimate(entry, machine, &alternative->estimate);
    set_settings(entry, &alternative->settings);
    json_object_set_new(entry, "predicted", view_prediction(&alternative->predicted));
    return entry;
}

static json_t *make_alternative(const struct view *view)
{
    return alternative_object(view->machine, view->alternative);
}

json_t *view_alternative(const struct dgo_machine *machine,
                         const struct dgo_alternative *alternative)
{
    return make_view(
        &(struct view){.make = make_alternative, .machine = machine, .alternative = alternative});
}

static json_t *make_settings(const struct view *view)
{
    const struct dgo_settings *settings = view->settings;
    json_t *object = json_object();
    json_t *gpus = json_array(), *split = json_array();

    set_settings(object, settings);
    set_count(object, "ctx_tokens", settings->ctx_tokens);
    set_count(object, "batch_tokens", settings->batch_tokens);
    set_count(object, "ubatch_tokens", settings->ubatch_tokens);
    json_object_set_new(object, "kv_unified", json_boolean(settings->kv_unified));
    json_object_set_new(object, "kv_on_host", json_boolean(settings->kv_on_host));
    json_object_set_new(object, "swa_full", json_boolean(settings->swa_full));
    json_object_set_new(object, "op_offload", json_boolean(settings->op_offload));
    set_count(object, "cpu_moe_layer_count", settings->cpu_moe_layer_count);
    if (settings->own_draft) {
        set_count(object, "draft_tokens", settings->rollback_tokens);
        set_text(object, "draft_key_type", dgo_kv_type_name(settings->draft_key_type));
        set_text(object, "draft_value_type", dgo_kv_type_name(settings->draft_value_type));
        set_count(object, "draft_ubatch_tokens", settings->draft_ubatch_tokens);
    }
    for (uint32_t i = 0; i < settings->device_count; i++) {
        json_array_append_new(gpus, json_integer(settings->device_gpu[i]));
        if (settings->tensor_split_given)
            json_array_append_new(split, json_real((double)settings->tensor_split[i]));
    }
    json_object_set_new(object, "gpus", gpus);
    json_object_set_new(object, "tensor_split", split);
    return object;
}

json_t *view_settings(const struct dgo_settings *settings)
{
    return make_view(&(struct view){.make = make_settings, .settings = settings});
}

static void set_command(json_t *object, const struct dgo_command *command)
{
    json_t *words = json_array();
    json_t *environment = json_object();

    for (uint32_t i = 0; i < command->arg_count; i++)
        json_array_append_new(words, view_text(command->arg[i]));
    for (uint32_t i = 0; i < command->env_count; i++)
        json_object_set_new(environment, command->env[i].name,
                            command->env[i].value ? view_text(command->env[i].value) : json_null());
    json_object_set_new(object, "command", words);
    json_object_set_new(object, "environment", environment);
}

/* Shards and stages of an engine that cuts so. */
static json_t *view_partition(const struct dgo_plan *plan)
{
    const struct dgo_partition *partition = &plan->partition;
    json_t *stages = json_array(), *object = json_object();

    for (uint32_t s = 0; s < partition->pipeline_parallel; s++)
        json_array_append_new(stages, json_integer(partition->layer_count[s]));
    set_count(object, "tensor_parallel", partition->tensor_parallel);
    set_count(object, "pipeline_parallel", partition->pipeline_parallel);
    json_object_set_new(object, "stage_layer_count", stages);
    set_number(object, "memory_share", partition->memory_share);
    set_text(object, "kv_type", plan->kv_type);
    set_count(object, "kv_tokens", partition->kv_tokens);
    set_count(object, "even_kv_tokens", partition->even_kv_tokens);
    if (plan->settings.ctx_tokens)
        set_number(object, "concurrency", (double)partition->kv_tokens / plan->settings.ctx_tokens);
    return object;
}

static json_t *make_plan(const struct view *view)
{
    const struct dgo_machine *machine = view->machine;
    const struct dgo_model *model = view->model;
    const struct dgo_plan *plan = view->plan;
    const struct dgo_command *command = view->command;
    json_t *object =
        json_pack("{s:s, s:b, s:o}", "schema", "dualgpuopt.plan/1", "simulated",
                  (int)machine->origin.simulated, "architecture", view_text(model->architecture));
    json_t *alternatives = json_array();

    view_add_recorded(object, &machine->origin);
    json_object_set_new(object, "architecture_verified", json_boolean(model->verified));
    set_estimate(object, machine, &plan->estimate);
    set_settings(object, &plan->settings);
    if (plan->partitioned)
        json_object_set_new(object, "partition", view_partition(plan));
    json_object_set_new(object, "predicted", view_prediction(&plan->predicted));
    for (uint32_t i = 0; i < plan->alternative_count; i++) {
        const struct dgo_alternative *alternative = &plan->alternative[i];
        json_array_append_new(alternatives, alternative_object(machine, alternative));
    }
    json_object_set_new(object, "alternatives", alternatives);
    if (command)
        set_command(object, command);
    return object;
}

json_t *view_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                  const struct dgo_plan *plan, const struct dgo_command *command)
{
    return make_view(&(struct view){
        .make = make_plan, .machine = machine, .model = model, .plan = plan, .command = command});
}

/* One figure of each kind; measured is left out where the engine logged nothing. */
static void set_compared(json_t *planned, json_t *measured, const char *key,
                         const struct dgo_compared *compared)
{
    set_count(planned, key, compared->planned_bytes);
    if (compared->known)
        set_count(measured, key, compared->measured_bytes);
}

static json_t *view_comparison_row(const struct dgo_comparison_row *row)
{
    json_t *planned = json_object(), *measured = json_object();

    set_compared(planned, measured, "weights_bytes", &row->weights);
    set_compared(planned, measured, "context_bytes", &row->context);
    set_compared(planned, measured, "compute_bytes", &row->compute);
    if (row->is_host)
        set_compared(planned, measured, "output_bytes", &row->output);
    else if (row->overhead.known)
        set_compared(planned, measured, "overhead_bytes", &row->overhead);
    if (row->drift_bytes)
        json_object_set_new(measured, "drift_bytes", json_integer(row->drift_bytes));
    return json_pack("{s:o, s:b, s:o, s:o, s:b, s:b, s:b}", "name", view_text(row->name),
                     "unplanned", (int)row->unplanned, "planned", planned, "measured", measured,
                     "weights_equal", (int)row->weights.equal, "context_equal",
                     (int)row->context.equal, "compute_equal", (int)row->compute.equal);
}

static json_t *view_pool(const struct dgo_compared_pool *pool)
{
    json_t *planned = json_object(), *measured = json_object();

    set_count(planned, "kv_tokens", pool->planned_tokens);
    set_number(planned, "concurrency", pool->planned_requests);
    if (pool->known)
        set_count(measured, "kv_tokens", pool->measured_tokens);
    if (pool->measured_requests > 0)
        set_number(measured, "concurrency", pool->measured_requests);
    return json_pack("{s:o, s:o}", "planned", planned, "measured", measured);
}

static json_t *make_comparison(const struct view *view)
{
    const struct dgo_machine *machine = view->machine;
    const struct dgo_comparison *comparison = view->comparison;
    const struct dgo_report *report = view->report;
    json_t *devices = json_array();
    json_t *object;

    object = json_pack("{s:s, s:b, s:b, s:b, s:b, s:o}", "schema", "dualgpuopt.run/1", "simulated",
                       (int)machine->origin.simulated, "equal", (int)comparison->as_planned,
                       "weights_equal", (int)comparison->weights_equal, "context_equal",
                       (int)comparison->context_equal, "sentence", view_text(comparison->sentence));
    view_add_recorded(object, &machine->origin);
    for (uint32_t i = 0; i < comparison->row_count; i++) {
        json_t *row = view_comparison_row(&comparison->row[i]);

        if (comparison->row[i].is_host)
            json_object_set_new(object, "host", row);
        else
            json_array_append_new(devices, row);
    }
    json_object_set_new(object, "devices", devices);
    if (comparison->pool.planned_tokens)
        json_object_set_new(object, "pool", view_pool(&comparison->pool));
    if (comparison->compute_known)
        set_count(object, "compute_worst_bytes", comparison->compute_worst_bytes);
    if (report->pipeline_known)
        json_object_set_new(object, "pipeline", json_boolean(report->pipeline));
    return object;
}

json_t *view_comparison(const struct dgo_machine *machine, const struct dgo_comparison *comparison,
                        const struct dgo_report *report)
{
    return make_view(&(struct view){
        .make = make_comparison, .machine = machine, .comparison = comparison, .report = report});
}
