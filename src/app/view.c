/* view.c - an estimate, a plan and a comparison as JSON, and how all views are made. */
#include "view_internal.h"

#include "dgo_app.h"
#include "dgo_text.h"

#include <stdlib.h>
#include <string.h>

static enum dgo_status job_view(void *data)
{
    struct view *view = data;

    view->made = view->make(view);
    return view->made ? DGO_OK : DGO_ENOMEM;
}

json_t *view_make(struct view *view)
{
    app_run(COMPONENT_VIEW_FORMATTING, job_view, view);
    return view->made;
}

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
    return view_make(
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
    return view_make(
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
    return view_make(&(struct view){.make = make_settings, .settings = settings});
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
    return view_make(&(struct view){
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
    return view_make(&(struct view){
        .make = make_comparison, .machine = machine, .comparison = comparison, .report = report});
}
