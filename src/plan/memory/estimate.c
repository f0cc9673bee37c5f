/* estimate.c - what each device would hold under exactly these settings, and whether it fits.
 *
 * Sums the parts that memory.c, kv.c and compute.c size over the split that assign.c repeats. */
#include "cut.h"
#include "memory.h"
#include "whole.h"

#include "dgo_units.h"

#include <string.h>

/* FORMULAS "Overhead": driver context and code grow with the number of multiprocessors. */
enum {
    OVERHEAD_CORE_COUNT = 84, /* assumed where the card does not say: an RTX 3090 or 4080 */
    OVERHEAD_CORE_KIB = 2560, /* 2.5 MiB for each multiprocessor */
    OVERHEAD_FIXED_MIB = 96,
    CORES_PER_MULTIPROCESSOR = 128, /* of CUDA cores; 64 before compute capability 8.6 and on 8.0 */
};

/* The field is the driver's count of CUDA cores. */
static uint64_t multiprocessors(const struct dgo_gpu *gpu)
{
    uint32_t each = CORES_PER_MULTIPROCESSOR;

    if (!dgo_gpu_knows(gpu, DGO_GPU_CORE_COUNT) || gpu->core_count == 0)
        return OVERHEAD_CORE_COUNT;
    if (dgo_gpu_knows(gpu, DGO_GPU_COMPUTE_MAJOR) && dgo_gpu_knows(gpu, DGO_GPU_COMPUTE_MINOR)) {
        const uint32_t capability = gpu->compute_major * 10 + gpu->compute_minor;

        if (capability == 60 || (capability >= 70 && capability <= 80))
            each = 64;
    }
    return (gpu->core_count + each - 1) / each;
}

static uint64_t assumed_overhead_bytes(const struct dgo_gpu *gpu)
{
    return OVERHEAD_FIXED_MIB * DGO_MIB + multiprocessors(gpu) * OVERHEAD_CORE_KIB * DGO_KIB;
}

enum dgo_overhead_source dgo_overhead_source(const struct dgo_gpu *gpu)
{
    if (!dgo_gpu_knows(gpu, DGO_GPU_ENGINE_OVERHEAD_BYTES))
        return DGO_OVERHEAD_ASSUMED;
    if (!dgo_gpu_knows(gpu, DGO_GPU_ENGINE_OVERHEAD_LAUNCHES))
        return DGO_OVERHEAD_CALIBRATED;
    return gpu->engine_overhead_launches >= DGO_OVERHEAD_LAUNCHES_MIN ? DGO_OVERHEAD_LEARNT
                                                                      : DGO_OVERHEAD_ASSUMED;
}

const char *dgo_overhead_source_name(enum dgo_overhead_source source)
{
    static const char *const names[] = {
        [DGO_OVERHEAD_ASSUMED] = "assumed",
        [DGO_OVERHEAD_CALIBRATED] = "calibrated",
        [DGO_OVERHEAD_LEARNT] = "learnt",
    };

    return names[source];
}

uint64_t memory_overhead_bytes(const struct dgo_gpu *gpu)
{
    const bool known = dgo_gpu_knows(gpu, DGO_GPU_ENGINE_OVERHEAD_BYTES);

    if (dgo_overhead_source(gpu) != DGO_OVERHEAD_ASSUMED)
        return gpu->engine_overhead_bytes;
    /* What one launch took is a floor; it takes more of them to come below the assumption. */
    return dgo_max_u64(assumed_overhead_bytes(gpu), known ? gpu->engine_overhead_bytes : 0);
}

/* --- devices --------------------------------------------------------------------------------- */

struct assembly {
    const struct dgo_machine *machine;
    const struct dgo_settings *settings;
    const struct plan_memory *memory;
    const uint64_t *margins_bytes; /* for each GPU of the machine; NULL: none */
    int32_t layer_device[DGO_LAYER_MAX + 1];
    int32_t block_device; /* of the next-token block */
    struct dgo_estimate *estimate;
    const struct dgo_engine_rules *rules;
};

/* Compute buffers of the context in which that block drafts. */
struct draft_bytes {
    uint64_t device[DGO_GPU_MAX], host;
};

static void open_devices(const struct assembly *a)
{
    struct dgo_estimate *estimate = a->estimate;

    estimate->device_count = a->settings->device_count;
    for (uint32_t d = 0; d < estimate->device_count; d++) {
        struct dgo_device_estimate *device = &estimate->device[d];
        const uint32_t g = a->settings->device_gpu[d];
        const struct dgo_gpu *gpu = &a->machine->gpu[g];

        assign_device_name(a->machine, g, device->name);
        device->gpu_index = g;
        device->free_bytes = assign_free_bytes(gpu);
        device->overhead_bytes = memory_overhead_bytes(gpu);
        device->margin_bytes = a->margins_bytes ? a->margins_bytes[g] : 0;
    }
}

/* Layers come in order, so a device's are one run. */
static void place_layer(const struct assembly *a, uint32_t l)
{
    const struct plan_memory *m = a->memory;
    struct dgo_estimate *estimate = a->estimate;
    const bool is_output = l == m->layer_count;

    if (a->layer_device[l] == ASSIGN_CPU) {
        estimate->host.weights_bytes += m->host_weights_bytes[l];
        estimate->host.context_bytes += m->host_context_bytes[l];
        estimate->host.layer_count += !is_output;
        estimate->host.holds_output = is_output;
        return;
    }

    struct dgo_device_estimate *device = &estimate->device[a->layer_device[l]];

    device->weights_bytes += m->weights_bytes[l];
    device->context_bytes += m->context_bytes[l];
    estimate->host.weights_bytes += m->kept_weights_bytes[l];
    estimate->host.context_bytes += m->kept_context_bytes[l];
    if (is_output) {
        device->holds_output = true;
        return;
    }
    if (device->layer_count++ == 0) {
        device->layer_first = l;
        device->weights_bytes += m->table_bytes;
    }
}

/* The next-token block, which need not lie with the output. */
static void place_block(const struct assembly *a)
{
    const struct memory_block *block = &a->memory->draft.block;
    struct dgo_estimate *estimate = a->estimate;

    if (a->block_device == ASSIGN_CPU) {
        estimate->host.weights_bytes += block->host_weights_bytes;
        estimate->host.context_bytes += block->host_context_bytes;
        return;
    }
    estimate->device[a->block_device].weights_bytes += block->weights_bytes;
    estimate->device[a->block_device].context_bytes += block->context_bytes;
    estimate->host.weights_bytes += block->kept_weights_bytes;
    estimate->host.context_bytes += block->kept_context_bytes;
}

/* Which masks a device needs, and whether rows are picked in its only layer. */
static void note_kinds(const struct assembly *a, const struct dgo_device_estimate *device,
                       struct memory_role *role)
{
    const struct dgo_model *model = a->memory->model;

    role->no_full_layer = role->no_window_layer = device->layer_count > 0;
    for (uint32_t i = 0; i < device->layer_count; i++) {
        const struct dgo_layer *layer = &model->layer[device->layer_first + i];

        /* A layer without a cache of its own reads another one's. */
        if (layer->sliding_window)
            role->no_window_layer = false;
        else if (layer->head_count_kv > 0 || !layer->recurrent)
            role->no_full_layer = false;
    }
    role->layer_first = device->layer_first;
    role->layer_count = device->layer_count;
    role->drawn_if_few = !a->settings->sized_by_role;
    role->first_layer_only = device->layer_count == 1 && device->layer_first == 0;
    role->last_layer_only =
        device->layer_count == 1 && device->layer_first + 1 == a->memory->layer_count;
}

static bool all_on_devices(const struct assembly *a)
{
    return a->estimate->host.layer_count == 0 && !a->estimate->host.holds_output;
}

/* The same of the context in which the block drafts; `draft` gets what it takes. */
static bool replay_draft(const struct assembly *a, uint32_t engine_devices,
                         struct draft_bytes *draft)
{
    const int32_t device[] = {a->block_device, a->layer_device[a->memory->layer_count]};
    const struct whole_placement placement = {.settings = a->settings,
                                              .memory = a->memory,
                                              .layer_device = device,
                                              .device_count = engine_devices,
                                              .pipeline = a->estimate->pipeline,
                                              .all_on_devices = all_on_devices(a)};

    return a->memory->draft.used && !a->settings->sized_by_role &&
           whole_draft_bytes(&placement, a->rules, draft->device, &draft->host);
}

/* Where the engine's graph of the whole model is known, its scheduler answers for all devices. */
static bool replay_all(const struct assembly *a, uint32_t engine_devices)
{
    struct dgo_estimate *estimate = a->estimate;
    const struct whole_placement placement = {.settings = a->settings,
                                              .memory = a->memory,
                                              .layer_device = a->layer_device,
                                              .device_count = engine_devices,
                                              .pipeline = estimate->pipeline,
                                              .all_on_devices = all_on_devices(a)};
    uint64_t device_bytes[DGO_GPU_MAX];

    if (a->settings->sized_by_role ||
        !whole_compute_bytes(&placement, device_bytes, &estimate->host.compute_bytes))
        return false;
    /* States to go back to that lie in host memory: E of it was missing in one launch of 36, and is
     * in a test of qwen35 with -nkvo. */
    if (a->memory->graph.state_count > 1 && (a->memory->kv_on_host || !all_on_devices(a)))
        estimate->host.compute_bytes += a->memory->terms.embedding;
    const uint64_t unsure = a->settings->feeding ? whole_fed_unsure_bytes(a->memory) : 0;

    for (uint32_t d = 0; d < engine_devices; d++) {
        estimate->device[d].compute_bytes = device_bytes[d] + (device_bytes[d] > 0 ? unsure : 0);
        estimate->device[d].compute_source = unsure > 0 ? DGO_FIGURE_BOUND : DGO_FIGURE_FORMULA;
    }
    return true;
}

/* Sampled on the device: the logits once more, with a row for slots that rest, which was seen; how
 * requests want to be sampled is not known before they come, so it is a bound. */
static void add_sampling(const struct assembly *a)
{
    struct dgo_estimate *estimate = a->estimate;
    const struct plan_memory *m = a->memory;
    const int32_t home = a->layer_device[m->layer_count];
    const uint64_t bytes =
        (m->output_row_count + UINT64_C(1)) * m->model->vocab_size * sizeof(float);

    if (home == ASSIGN_CPU) {
        estimate->host.compute_bytes += bytes;
        return;
    }
    estimate->device[home].compute_bytes += bytes;
    estimate->device[home].compute_source = DGO_FIGURE_BOUND;
}

static void add_compute(const struct assembly *a)
{
    struct dgo_estimate *estimate = a->estimate;
    const uint32_t engine_devices =
        a->settings->split_mode != DGO_SPLIT_LAYER && estimate->device_count
            ? 1
            : estimate->device_count;
    struct memory_role role = {
        .device_count = engine_devices,
        .pipeline = memory_pipeline(a->memory, engine_devices, estimate->host.layer_count,
                                    estimate->host.holds_output),
        .cpu_layer_count = estimate->host.layer_count,
        .output_on_cpu = estimate->host.holds_output,
        .block_on_cpu = a->memory->draft.used && a->block_device == ASSIGN_CPU,
    };

    estimate->pipeline = role.pipeline;
    const bool by_role = a->settings->sized_by_role;
    const bool whole = replay_all(a, engine_devices);
    struct draft_bytes draft;
    const bool drawn = replay_draft(a, engine_devices, &draft);

    for (uint32_t d = 0; d < engine_devices; d++) {
        struct dgo_device_estimate *device = &estimate->device[d];

        role.holds_layers = device->layer_count > 0 || a->memory->moved_bytes[d] > 0;
        role.holds_output = device->holds_output;
        role.holds_block = a->memory->draft.used && a->block_device == (int32_t)d;
        note_kinds(a, device, &role);
        if (!whole)
            device->compute_bytes = (by_role ? memory_role_bytes : memory_compute_bytes)(
                a->memory, &role, &device->compute_source);
        if (!by_role)
            device->compute_bytes +=
                drawn ? draft.device[d]
                      : memory_draft_bytes(a->memory, &role, &device->compute_source);
        if (role.holds_layers || role.holds_output || role.holds_block || device->compute_bytes > 0)
            role.position++;
    }
    if (!whole)
        estimate->host.compute_bytes =
            (by_role ? memory_host_role_bytes : memory_host_compute_bytes)(
                a->memory, engine_devices, role.pipeline, role.cpu_layer_count, role.output_on_cpu);
    /* Over several cards as one device the engine refuses it, and samples on the CPU. */
    if (a->settings->samples_on_device && a->settings->split_mode != DGO_SPLIT_TENSOR)
        add_sampling(a);
    if (!whole)
        memory_add_fed(estimate, a->memory->model, a->settings);
    if (!by_role)
        estimate->host.compute_bytes +=
            drawn ? draft.host
                  : memory_draft_host_bytes(a->memory, role.pipeline, role.cpu_layer_count,
                                            role.output_on_cpu);
}

/* -sm tensor: what the one device of the engine's books holds becomes a piece on each card, and its
 * compute buffer lies on every one of them. */
static enum dgo_status cut_over_cards(const struct assembly *a, struct dgo_error *err)
{
    struct dgo_estimate *estimate = a->estimate;
    const struct dgo_device_estimate all = estimate->device[0];
    struct cut_part part[DGO_GPU_MAX];
    const uint32_t first = all.layer_count > 0 ? all.layer_first : a->memory->layer_count;
    enum dgo_status status = DGO_OK;

    if (all.layer_count == 0 && !all.holds_output)
        return DGO_OK;
    status = cut_make(a->memory->model, a->settings, a->memory, first, part, err);
    for (uint32_t d = 0; d < estimate->device_count && status == DGO_OK; d++) {
        struct dgo_device_estimate *device = &estimate->device[d];

        device->layer_first = all.layer_first;
        device->layer_count = all.layer_count;
        device->holds_output = all.holds_output;
        device->weights_bytes = part[d].weights_bytes;
        device->context_bytes = part[d].context_bytes;
        device->compute_bytes = all.compute_bytes;
        device->compute_source = all.compute_source;
    }
    return status;
}

/* --- does it fit ----------------------------------------------------------------------------- */

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void note_missing(struct dgo_estimate *estimate, int32_t device, uint64_t need,
                         uint64_t have)
{
    if (need <= have || (!estimate->fits && need - have <= estimate->missing_bytes))
        return;
    estimate->fits = false;
    estimate->limiting_device = device;
    estimate->missing_bytes = need - have;
}

/* A card that holds nothing is not opened by much: its context is still created. */
void dgo_estimate_judge(struct dgo_estimate *estimate)
{
    uint64_t need;

    estimate->missing_bytes = 0;
    estimate->fits = true;
    estimate->limiting_device = -2;
    for (uint32_t d = 0; d < estimate->device_count; d++) {
        const struct dgo_device_estimate *device = &estimate->device[d];

        need = sum(sum(device->weights_bytes, device->context_bytes), device->compute_bytes);
        if (need == 0)
            continue;
        need = sum(sum(need, device->overhead_bytes), device->margin_bytes);
        note_missing(estimate, (int32_t)d, need, device->free_bytes);
    }
    if (!estimate->host.free_known)
        return;
    need = sum(sum(estimate->host.weights_bytes, estimate->host.context_bytes),
               sum(estimate->host.compute_bytes, estimate->host.output_bytes));
    note_missing(estimate, -1, need, estimate->host.free_bytes);
}

static enum dgo_status assemble(const struct assembly *a, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    struct dgo_estimate *estimate = a->estimate;
    const struct plan_memory *m = a->memory;

    memset(estimate, 0, sizeof *estimate);
    estimate->build = m->build;
    estimate->newer_build = m->newer_build;
    estimate->ctx_tokens = m->ctx_tokens;
    estimate->ctx_tokens_per_slot = m->ctx_tokens_per_slot;
    estimate->batch_tokens = m->batch_tokens;
    estimate->ubatch_tokens = m->ubatch_tokens;
    estimate->host.free_known = a->machine->host.memory_known;
    estimate->host.free_bytes = a->machine->host.memory_known ? a->machine->host.free_bytes : 0;
    estimate->host.weights_bytes = m->host_input_bytes;
    estimate->host.output_bytes = m->host_output_bytes;
    open_devices(a);
    for (uint32_t l = 0; l <= m->layer_count; l++)
        place_layer(a, l);
    place_block(a);
    for (uint32_t d = 0; d < estimate->device_count; d++)
        estimate->device[d].weights_bytes += m->moved_bytes[d];
    if (estimate->host.layer_count > 0)
        estimate->host.weights_bytes += m->host_table_bytes;
    add_compute(a);
    if (a->settings->split_mode == DGO_SPLIT_TENSOR)
        status = cut_over_cards(a, err);
    dgo_estimate_judge(estimate);
    return status;
}

enum dgo_status dgo_estimate_make(const struct dgo_machine *machine, const struct dgo_model *model,
                                  const struct dgo_settings *given,
                                  const struct dgo_engine_rules *rules,
                                  const uint64_t *margins_bytes, struct dgo_estimate *estimate,
                                  struct dgo_error *err)
{
    struct plan_memory memory;
    struct dgo_settings own = *given;
    const struct dgo_settings *settings = &own;
    struct assembly a = {.machine = machine,
                         .block_device = ASSIGN_CPU,
                         .settings = settings,
                         .memory = &memory,
                         .margins_bytes = margins_bytes,
                         .estimate = estimate,
                         .rules = rules};
    enum dgo_status status = memory_check(machine, model, settings, err);

    if (!status && settings->split_mode == DGO_SPLIT_TENSOR) {
        const char *refusal = cut_refusal(model, settings, rules);

        if (refusal)
            status = dgo_fail(err, DGO_EINVAL, "-sm tensor: %s", refusal);
    }
    if (status)
        return status;
    assign_layers(machine, model, settings, a.layer_device, &a.block_device);
    status = withdrawn_settle(model, memory_build_find(rules ? rules->build : 0), &own,
                              a.layer_device, err);
    if (!status)
        status = memory_make(model, settings, rules, &memory, err);
    if (status)
        return status;
    status = assemble(&a, err);
    estimate->flash_attention_withdrawn = settings->flash_attention == DGO_FA_WITHDRAWN;
    estimate->attention_kernel_missing =
        memory.attention_on_cpu || (estimate->flash_attention_withdrawn &&
                                    !memory_has_kernels(model, settings, memory.terms.rule));
    return status;
}
