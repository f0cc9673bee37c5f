/* flow.c - the arrows from machine, model and intent to a command, one short function each.
 *
 * Each arrow is the job of a component (components.def): it runs in its caller, unless that is the
 * UI thread, which waits for it while a worker does it. */
#include "flow.h"

#include "engine_threads.h"

#include "batch.h"
#include "calibrate.h"
#include "dgo_app.h"
#include "dgo_store.h"
#include "dgo_text.h"
#include "dgo_tensor.h"
#include "dgo_units.h"
#include "flow_engine.h"
#include "flow_estimate.h"
#include "flow_wishes.h"
#include "learn.h"
#include "measured.h"
#include "nodes.h"
#include "plan_cache.h"
#include "wish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an arrow is given; each uses the fields it needs. */
struct arrow {
    enum dgo_status (*fn)(const struct arrow *arrow);
    struct flow *flow;
    struct dgo_error *err;
    const char *path;
    bool needed;
    uint16_t port;
    const char *const *args;
    uint32_t arg_count;
    int32_t device;
    char *change;
    struct dgo_arena *arena;
    const char ***environment;
    struct dgo_report *report;
    const char *line;
    size_t length;
    struct dgo_comparison *comparison;
    const struct dgo_command *command;
    char *const *parent;
    struct dgo_text *text;
};

static enum dgo_status job(void *data)
{
    const struct arrow *arrow = data;

    return arrow->fn(arrow);
}

void flow_init(struct flow *flow, const struct options *options, char *const *environment)
{
    memset(flow, 0, sizeof *flow);
    flow->options = options;
    flow->environment = environment;
}

/* ---- machine, model, intent ---- */

void flow_change_free(struct flow *flow)
{
    for (uint32_t g = 0; g < flow->machine.gpu_count; g++) {
        struct dgo_gpu *gpu = &flow->machine.gpu[g];
        const int64_t change = flow->free_change_bytes[g];
        const uint64_t size = change < 0 ? (uint64_t)-change : (uint64_t)change;

        if (!dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
            continue;
        if (change < 0)
            gpu->free_bytes -= dgo_min_u64(size, gpu->free_bytes);
        else
            gpu->free_bytes = dgo_min_u64(gpu->free_bytes + size, gpu->total_bytes);
    }
}

/* A driver that is slow is waited for; one that is stuck is not: it may stay so for ever. */
static const uint64_t look_patience_ns = 30 * DGO_NS_PER_S;

/* The looks are made by a thread of their own, which can be left behind in a driver that is stuck.
 */
static enum dgo_status start_looking(struct flow *flow, struct dgo_error *err)
{
    const struct dgo_sampler_options options = {
        .gpu =
            {
                .machine_file = option_text(flow->options, OPTION_GPUS),
                .nvml_library = option_text(flow->options, OPTION_NVML),
                .wake = true, /* whoever asks for a plan is about to use the cards */
            },
        .interval_ns = DGO_FOREVER / 4, /* only when asked */
    };

    if (!flow->sampler)
        return dgo_sampler_start(&options, &flow->sampler, err);
    dgo_sampler_look_now(flow->sampler);
    return DGO_OK;
}

static void stop_looking(struct flow *flow)
{
    (void)dgo_sampler_stop(flow->sampler, DGO_NS_PER_S);
    flow->sampler = NULL;
    flow->look_count = 0;
}

static enum dgo_status take_look(struct flow *flow, struct dgo_error *err)
{
    struct dgo_sample *sample = malloc(sizeof *sample);
    enum dgo_status status;

    if (!sample)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    status = dgo_sampler_wait(flow->sampler, flow->look_count, look_patience_ns, err);
    if (status == DGO_OK) {
        dgo_sampler_latest(flow->sampler, sample);
        flow->look_count = sample->sequence;
        flow->machine = sample->machine;
    }
    free(sample);
    return status;
}

static enum dgo_status look(const struct arrow *arrow)
{
    struct flow *flow = arrow->flow;
    enum dgo_status status = start_looking(flow, arrow->err);

    if (status == DGO_OK)
        status = take_look(flow, arrow->err);
    if (status != DGO_OK)
        stop_looking(flow);
    if (status == DGO_OK)
        flow_change_free(flow);
    if (status == DGO_OK)
        status = nodes_join(flow->options, &flow->machine, arrow->err);
    return status;
}

enum dgo_status flow_look(struct flow *flow, struct dgo_error *err)
{
    return app_run(COMPONENT_MACHINE_LOOK, job,
                   &(struct arrow){.fn = look, .flow = flow, .err = err});
}

/* Any part of a split model may be given; the engine wants the first. */
static void name_first_part(struct dgo_model *model)
{
    static const char first[] = "-00001-of-00001.gguf";
    const size_t length = strlen(model->path), suffix = sizeof first - 1;

    if (model->shard_count > 1 && length >= suffix) /* or it would not have found its parts */
        memcpy(model->path + length - suffix, first, strlen("-00001"));
}

static enum dgo_status read_model(const struct arrow *arrow)
{
    const enum dgo_status status = dgo_model_open(arrow->path, &arrow->flow->model, arrow->err);

    if (status == DGO_OK)
        name_first_part(arrow->flow->model);
    return status;
}

enum dgo_status flow_read(struct flow *flow, const char *model_path, struct dgo_error *err)
{
    return app_run(COMPONENT_MODEL_READING, job,
                   &(struct arrow){.fn = read_model, .flow = flow, .err = err, .path = model_path});
}

static enum dgo_status intend(const struct arrow *arrow)
{
    struct flow *flow = arrow->flow;
    enum dgo_status status = flow_engine_choose(flow, arrow->err);

    if (status == DGO_OK)
        status = wish_intent(flow->options, &flow->machine, flow->engine->plan == NULL,
                             &flow->intent, arrow->err);
    if (status == DGO_OK)
        flow->intent.swa_full = flow->engine->swa_full;
    return status == DGO_OK ? flow_check_wishes(flow, arrow->err) : status;
}

enum dgo_status flow_intend(struct flow *flow, struct dgo_error *err)
{
    return app_run(COMPONENT_VALIDATION, job,
                   &(struct arrow){.fn = intend, .flow = flow, .err = err});
}

/* ---- engine ---- */

static enum dgo_status find_engine(const struct arrow *arrow)
{
    const enum dgo_status status = flow_engine_find(arrow->flow, arrow->needed, arrow->err);

    if (status == DGO_OK) {
        calibrate_recall(arrow->flow, arrow->flow->calibrated);
        learn_recall(arrow->flow);
    }
    return status;
}

enum dgo_status flow_find_engine(struct flow *flow, bool needed, struct dgo_error *err)
{
    return app_run(COMPONENT_ENGINE_PROBE, job,
                   &(struct arrow){.fn = find_engine, .flow = flow, .err = err, .needed = needed});
}

static enum dgo_status check_devices(const struct arrow *arrow)
{
    return flow_engine_check(arrow->flow, arrow->err);
}

enum dgo_status flow_check_devices(struct flow *flow, struct dgo_error *err)
{
    return app_run(COMPONENT_ENGINE_PROBE, job,
                   &(struct arrow){.fn = check_devices, .flow = flow, .err = err});
}

/* ---- plan ---- */

static void name_devices(struct flow *flow)
{
    struct dgo_plan *plan = &flow->plan;

    flow->engine->name_devices(&flow->machine, &plan->settings, &plan->estimate);
    for (uint32_t i = 0; i < plan->alternative_count; i++)
        flow->engine->name_devices(&flow->machine, &plan->alternative[i].settings,
                                   &plan->alternative[i].estimate);
}

/* The first engine that loads such a model. */
static const char *loader_of(enum dgo_model_format format)
{
    for (const struct dgo_engine *const *engine = dgo_engines; *engine; engine++)
        if ((*engine)->formats >> format & 1)
            return (*engine)->name;
    return NULL;
}

enum dgo_status flow_check_format(const struct flow *flow, struct dgo_error *err)
{
    const enum dgo_model_format format = flow->model->format;
    const bool convertible = format == DGO_FORMAT_SAFETENSORS && flow->engine->formats & 1;
    const char *other = loader_of(format);

    if (flow->engine->formats >> format & 1)
        return DGO_OK;
    return dgo_fail(err, DGO_EUNSUPPORTED, "%s does not load %s; %s%s", flow->engine->name,
                    dgo_model_format_name(format),
                    convertible ? "convert the model to GGUF (convert_hf_to_gguf.py), or plan for "
                                  "an engine that does: --engine "
                                : "an engine that does: --engine ",
                    other ? other : "none");
}

/* A nearest placement is left where nothing fits. */
static enum dgo_status plan_by_engine(struct flow *flow, struct dgo_error *err)
{
    struct dgo_engine_question question = {
        .machine = &flow->machine, .model = flow->model, .intent = &flow->intent};
    enum dgo_status status = wish_question(flow->options, &question, err);

    memset(&flow->plan, 0, sizeof flow->plan);
    return status == DGO_OK ? flow->engine->plan(&question, &flow->plan, err) : status;
}

static bool uses_this_machine_only(const struct flow *flow)
{
    for (uint32_t d = 0; d < flow->plan.settings.device_count; d++)
        if (flow->machine.gpu_node[flow->plan.settings.device_gpu[d]] > 0)
            return false;
    return true;
}

/* The best plan leaves the other machines alone: made anew without them, as the engine will run. */
static enum dgo_status plan_here(struct flow *flow, struct dgo_error *err)
{
    const uint32_t local = nodes_local_mask(&flow->machine);

    flow->machine.node_count = 1;
    flow->intent.gpu_mask = flow->intent.gpu_mask ? flow->intent.gpu_mask & local : local;
    return flow->engine->plan ? plan_by_engine(flow, err)
                              : plan_cache_get(&flow->machine, flow->model, &flow->intent,
                                               &flow->rules, &flow->plan, &flow->plan_source, err);
}

static enum dgo_status plan(const struct arrow *arrow)
{
    struct flow *flow = arrow->flow;
    enum dgo_status status = flow_check_format(flow, arrow->err);

    if (status != DGO_OK)
        return status;
    if (flow->machine.node_count > 1 && !flow->engine->several_machines)
        return dgo_fail(arrow->err, DGO_EUNSUPPORTED,
                        "%s uses the cards of one machine; llama.cpp, vllm and sglang take several "
                        "(--node)",
                        flow->engine->name);
    if (flow->engine->plan)
        status = plan_by_engine(flow, arrow->err);
    else
        status = plan_cache_get(&flow->machine, flow->model, &flow->intent, &flow->rules,
                                &flow->plan, &flow->plan_source, arrow->err);

    if (status == DGO_OK && flow->machine.node_count > 1 && uses_this_machine_only(flow))
        status = plan_here(flow, arrow->err);
    if (status == DGO_OK && flow->engine->read_flags && !flow->engine->plan)
        status = dgo_tensor_split_offer(&flow->machine, flow->model, &flow->intent, &flow->rules,
                                        &flow->plan, arrow->err);
    /* A wish that no machine could grant has no nearest placement. */
    flow->planned = (status == DGO_OK || status == DGO_ENOFIT) && flow->plan.estimate.build > 0;
    if (flow->planned)
        name_devices(flow);
    if (flow->planned && !flow->engine->plan)
        measured_use(flow, &flow->plan.settings, &flow->plan.estimate);
    return status;
}

enum dgo_status flow_plan(struct flow *flow, struct dgo_error *err)
{
    return app_run(COMPONENT_CONTEXT_CALCULATION, job,
                   &(struct arrow){.fn = plan, .flow = flow, .err = err});
}

static enum dgo_status shrink(const struct arrow *arrow)
{
    struct flow *flow = arrow->flow;
    struct dgo_plan *smaller;
    enum dgo_status status;

    if (flow->plan.partitioned)
        return dgo_fail(arrow->err, DGO_ENOFIT,
                        "%s has no smaller plan of ours; ask for less with --ctx, --parallel or "
                        "--memory-share",
                        flow->engine->name);
    smaller = malloc(sizeof *smaller);
    if (!smaller)
        return dgo_fail(arrow->err, DGO_ENOMEM, "out of memory while looking for a smaller plan");
    status = dgo_plan_shrink(&flow->machine, flow->model, &flow->intent, &flow->rules, &flow->plan,
                             arrow->device, smaller, arrow->change, arrow->err);
    if (status == DGO_OK) {
        flow->plan = *smaller;
        name_devices(flow);
    }
    free(smaller);
    return status;
}

enum dgo_status flow_shrink(struct flow *flow, int32_t device, char change[160],
                            struct dgo_error *err)
{
    return app_run(COMPONENT_LAYER_DISTRIBUTION, job,
                   &(struct arrow){
                       .fn = shrink, .flow = flow, .err = err, .device = device, .change = change});
}

/* ---- command ---- */

uint16_t flow_shown_port(const struct flow *flow)
{
    const uint64_t port = option_number(flow->options, OPTION_PORT);

    return port ? (uint16_t)port : FLOW_PORT_DEFAULT;
}

/* CPUs of this machine for the engine; those of a machine file are only what the file says. */
static uint32_t cpus_here(const struct flow *flow, struct engine_threads *threads)
{
    struct dgo_budget_facts facts;

    if (!dgo_machine_is_live(&flow->machine))
        return 0;
    dgo_resource_budget(&facts);
    engine_threads_decide(&facts, flow->machine.host.core_count,
                          engine_threads_near("", &flow->machine, &flow->plan), &flow->plan,
                          threads);
    return threads->count;
}

static enum dgo_status command(const struct arrow *arrow)
{
    struct flow *flow = arrow->flow;
    struct engine_threads threads = {0};
    const struct dgo_launch_options options = {
        .binary = flow->binary_found ? flow->binary : flow->engine->binary,
        .model_path = flow->model->path,
        .host = option_text(flow->options, OPTION_HOST),
        .port = arrow->port,
        .extra_args = arrow->args,
        .extra_count = arrow->arg_count,
        .thread_count = option_given(flow->options, OPTION_THREADS)
                            ? (int32_t)option_number(flow->options, OPTION_THREADS)
                            : -1,
        .cpu_count = cpus_here(flow, &threads),
        .cpu_why = threads.why,
    };
    enum dgo_status status;

    if (flow->command_made)
        dgo_command_done(&flow->command);
    flow->command_made = false;
    memset(&flow->command, 0, sizeof flow->command);
    status = flow->engine->command(&flow->machine, flow->model, &flow->plan, &options,
                                   flow->probed ? &flow->probe : NULL, &flow->command, arrow->err);
    flow->command_made = status == DGO_OK;
    return status;
}

enum dgo_status flow_command(struct flow *flow, uint16_t port, const char *const *extra_args,
                             uint32_t extra_count, struct dgo_error *err)
{
    return app_run(COMPONENT_COMMAND_GENERATION, job,
                   &(struct arrow){.fn = command,
                                   .flow = flow,
                                   .err = err,
                                   .port = port,
                                   .args = extra_args,
                                   .arg_count = extra_count});
}

static enum dgo_status environment(const struct arrow *arrow)
{
    *arrow->environment =
        dgo_command_environment(&arrow->flow->command, arrow->flow->environment, arrow->arena);
    return *arrow->environment
               ? DGO_OK
               : dgo_fail(arrow->err, DGO_ENOMEM, "out of memory for the engine's environment");
}

enum dgo_status flow_environment(struct flow *flow, struct dgo_arena *arena, const char ***made,
                                 struct dgo_error *err)
{
    return app_run(
        COMPONENT_ENVIRONMENT, job,
        &(struct arrow){
            .fn = environment, .flow = flow, .err = err, .arena = arena, .environment = made});
}

static enum dgo_status preview(const struct arrow *arrow)
{
    dgo_command_text(arrow->command, arrow->parent, arrow->text);
    return DGO_OK;
}

void flow_preview(const struct dgo_command *shown, char *const *parent, struct dgo_text *text)
{
    app_run(COMPONENT_COMMAND_PREVIEW, job,
            &(struct arrow){.fn = preview, .command = shown, .parent = parent, .text = text});
}

/* ---- the engine's log ---- */

static enum dgo_status read_line(const struct arrow *arrow)
{
    arrow->flow->engine->read_line(arrow->report, arrow->line, arrow->length);
    return DGO_OK;
}

void flow_read_line(struct flow *flow, struct dgo_report *report, const char *line, size_t length)
{
    app_run(COMPONENT_OUTPUT_PARSING, job,
            &(struct arrow){
                .fn = read_line, .flow = flow, .report = report, .line = line, .length = length});
}

static enum dgo_status compare(const struct arrow *arrow)
{
    const struct dgo_plan *plan = &arrow->flow->plan;

    dgo_compare(&plan->estimate, arrow->report, arrow->comparison);
    if (plan->partitioned)
        dgo_compare_pool(plan, arrow->report, arrow->comparison);
    return DGO_OK;
}

void flow_compare(struct flow *flow, struct dgo_report *report, struct dgo_comparison *comparison)
{
    app_run(
        COMPONENT_COMPARISON, job,
        &(struct arrow){.fn = compare, .flow = flow, .report = report, .comparison = comparison});
}

/* ---- several in a row ---- */

enum dgo_status flow_prepare(struct flow *flow, const char *model_path, bool engine_needed,
                             struct dgo_error *err)
{
    enum dgo_status status;

    status = flow_read(flow, model_path, err); /* first: a wrong path is the likeliest mistake */
    if (status == DGO_OK)
        status = flow_look(flow, err);
    if (!engine_needed)
        stop_looking(flow); /* nothing is started: what the looks hold is in the plan's way */
    if (status == DGO_OK)
        status = flow_intend(flow, err);
    if (status == DGO_OK)
        status = flow_find_engine(flow, engine_needed, err);
    if (status == DGO_OK && option_given(flow->options, OPTION_WORKLOAD))
        status = batch_intend(flow, option_text(flow->options, OPTION_WORKLOAD), err);
    if (status == DGO_OK)
        status = flow_plan(flow, err);
    return status;
}

enum dgo_status flow_estimate(struct flow *flow, const char *model_path, const char *const *args,
                              uint32_t arg_count, struct dgo_estimate *made, struct dgo_error *err)
{
    enum dgo_status status;

    status = flow_read(flow, model_path, err);
    if (status == DGO_OK)
        status = flow_look(flow, err);
    if (status == DGO_OK)
        status = flow_find_engine(flow, false, err);
    if (status == DGO_OK)
        status = flow_check_format(flow, err);
    return status == DGO_OK ? flow_estimate_flags(flow, args, arg_count, made, err) : status;
}

void flow_done(struct flow *flow)
{
    if (flow->command_made)
        dgo_command_done(&flow->command);
    dgo_model_close(flow->model);
    stop_looking(flow);
    dgo_store_close(flow->store);
    memset(flow, 0, sizeof *flow);
}
