/* profile_feed.c - from the value of one look to the readings that are kept. */
#include "profile_feed.h"

#include "dgo_units.h"

#include <math.h>

static double mib_of(uint64_t bytes)
{
    return (double)bytes / (double)DGO_MIB;
}

void profile_loads_add(struct profile_loads *loads, const struct dgo_engine_load *load)
{
    uint32_t at = 0;

    while (at < loads->count && loads->engine[at].pid != load->pid)
        at++;
    if (at == PROFILE_ENGINE_MAX)
        return;
    loads->engine[at] = *load;
    if (at == loads->count)
        loads->count++;
}

/* An engine whose process is not known is the one engine there is, if it is the only one that
 * tells. */
static const struct dgo_engine_load *load_of(const struct profile_loads *loads,
                                             const struct dgo_gpu_process *process)
{
    const bool engine = process->role == DGO_ROLE_ENGINE || process->role == DGO_ROLE_OURS;

    for (uint32_t i = 0; loads && i < loads->count; i++)
        if (loads->engine[i].pid == process->pid)
            return &loads->engine[i];
    return loads && engine && loads->count == 1 && loads->engine[0].pid == 0 ? &loads->engine[0]
                                                                             : NULL;
}

static void add_load(struct dgo_trace_sample *sample, const struct dgo_engine_load *load)
{
    if (!load)
        return;
    sample->requests_known = dgo_load_knows(load, DGO_LOAD_REQUESTS);
    sample->requests = (double)load->requests;
    sample->busy_known = dgo_load_knows(load, DGO_LOAD_BUSY);
    sample->busy = load->busy > 0;
}

/* A bound that is reached leaves a series out; no memory is another matter. */
static enum dgo_status add(struct dgo_profiler *profiler,
                           const struct dgo_profiler_reading *reading, struct dgo_error *err)
{
    const enum dgo_status status = dgo_profiler_add(profiler, reading, err);

    return status == DGO_ELIMIT ? DGO_OK : status;
}

static enum dgo_status feed_process(struct dgo_profiler *profiler, uint32_t gpu_index,
                                    const struct dgo_gpu_process *process,
                                    const struct profile_loads *loads, double seconds,
                                    struct dgo_error *err)
{
    struct dgo_profiler_reading reading = {
        .gpu_index = gpu_index,
        .pid = process->pid,
        .start = process->start_ticks,
        .sample = {.seconds = seconds, .used_mib = mib_of(process->used_bytes)}};
    enum dgo_status status;

    if (!process->used_known || process->pid == 0)
        return DGO_OK;
    add_load(&reading.sample, load_of(loads, process));
    status = add(profiler, &reading, err);
    if (status == DGO_OK && process->name[0])
        dgo_profiler_set_name(profiler, gpu_index, process->pid, process->start_ticks,
                              process->name);
    if (status == DGO_OK && process->command[0])
        dgo_profiler_set_command(profiler, gpu_index, process->pid, process->start_ticks,
                                 process->command);
    /* "Other" without a name is a process that nobody could look at. */
    if (status == DGO_OK && (process->name[0] || process->role != DGO_ROLE_OTHER))
        dgo_profiler_set_role(profiler, gpu_index, process->pid, process->start_ticks,
                              process->role);
    return status;
}

static void feed_card(struct dgo_profiler *profiler, uint32_t g, const struct dgo_gpu *gpu)
{
#define MIB_OR_NAN(FIELD, field) (dgo_gpu_knows(gpu, DGO_GPU_##FIELD) ? mib_of(gpu->field) : NAN)
    const struct dgo_card_state state = {
        .total_mib = MIB_OR_NAN(TOTAL_BYTES, total_bytes),
        .reserved_mib = MIB_OR_NAN(RESERVED_BYTES, reserved_bytes),
        .free_mib = MIB_OR_NAN(FREE_BYTES, free_bytes),
        .bar1_used_mib = MIB_OR_NAN(BAR1_USED_BYTES, bar1_used_bytes),
        .drives_display =
            dgo_gpu_knows(gpu, DGO_GPU_DISPLAY_ACTIVE) ? gpu->display_active != 0 : -1,
    };
#undef MIB_OR_NAN

    dgo_profiler_set_card(profiler, g, &state);
}

enum dgo_status profile_feed(struct dgo_profiler *profiler, const struct dgo_machine *machine,
                             const struct profile_loads *loads, double seconds,
                             struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    for (uint32_t g = 0; g < machine->gpu_count && status == DGO_OK; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if (dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES)) {
            const bool reserved = dgo_gpu_knows(gpu, DGO_GPU_RESERVED_BYTES);

            /* What the driver keeps is nobody's to fill. */
            dgo_profiler_set_capacity(
                profiler, g, mib_of(gpu->total_bytes - (reserved ? gpu->reserved_bytes : 0)));
        }
        if (gpu->problem[0] != '\0')
            continue; /* its readings are old */
        feed_card(profiler, g, gpu);
        if (dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES))
            status = add(profiler,
                         &(struct dgo_profiler_reading){
                             .gpu_index = g,
                             .sample = {.seconds = seconds, .used_mib = mib_of(gpu->used_bytes)}},
                         err);
        for (uint32_t p = 0; p < gpu->process_count && status == DGO_OK; p++)
            status = feed_process(profiler, g, &gpu->process[p], loads, seconds, err);
    }
    return status;
}

/* ---- timeline --------------------------------------------------------------------------- */

/* The field of a card, the kind it is kept as, and what its unit is multiplied with. */
#define READINGS(X)                                                                                \
    X(USED_BYTES, used_bytes, USED, 1)                                                             \
    X(RESERVED_BYTES, reserved_bytes, RESERVED, 1)                                                 \
    X(FREE_BYTES, free_bytes, FREE, 1)                                                             \
    X(UNATTRIBUTED_BYTES, unattributed_bytes, UNATTRIBUTED, 1)                                     \
    X(BUSY_PERMILLE, busy_permille, UTILISATION, 0.1)                                              \
    X(MEMORY_BUSY_PERMILLE, memory_busy_permille, MEMORY_UTILISATION, 0.1)                         \
    X(TEMPERATURE_C, temperature_c, TEMPERATURE, 1)                                                \
    X(POWER_MW, power_mw, POWER, 0.001)                                                            \
    X(PCIE_RX_BYTES_PER_S, pcie_rx_bytes_per_s, PCIE_RX, 1)                                        \
    X(PCIE_TX_BYTES_PER_S, pcie_tx_bytes_per_s, PCIE_TX, 1)

struct target {
    struct dgo_timeline *timeline;
    uint64_t time_ns;
    enum dgo_status status;
    struct dgo_error *err;
};

static void put(struct target *target, struct dgo_series_key key, double value)
{
    enum dgo_status status;

    if (target->status != DGO_OK)
        return;
    status = dgo_timeline_add(target->timeline, &key, target->time_ns, value, target->err);
    target->status = status == DGO_ELIMIT ? DGO_OK : status;
}

static void put_card(struct target *target, uint32_t gpu_index, const struct dgo_gpu *gpu)
{
#define X(field, member, of, factor)                                                               \
    if (dgo_gpu_knows(gpu, DGO_GPU_##field))                                                       \
        put(target, (struct dgo_series_key){.kind = DGO_SERIES_##of, .gpu_index = gpu_index},      \
            (double)gpu->member *(factor));
    READINGS(X)
#undef X
    for (uint32_t p = 0; p < gpu->process_count; p++)
        if (gpu->process[p].used_known)
            put(target,
                (struct dgo_series_key){.kind = DGO_SERIES_USED,
                                        .gpu_index = gpu_index,
                                        .pid = gpu->process[p].pid,
                                        .start = gpu->process[p].start_ticks},
                (double)gpu->process[p].used_bytes);
}

static void put_load(struct target *target, const struct dgo_engine_load *load)
{
    struct dgo_series_key key = {.gpu_index = DGO_TIMELINE_NO_GPU, .pid = load->pid};

#define LOAD(field, member, of)                                                                    \
    if (dgo_load_knows(load, DGO_LOAD_##field)) {                                                  \
        key.kind = DGO_SERIES_##of;                                                                \
        put(target, key, (double)load->member);                                                    \
    }
    LOAD(REQUESTS, requests, REQUESTS)
    LOAD(BUSY, busy, BUSY)
    LOAD(GENERATED_TOKENS_PER_S, generated_tokens_per_s, TOKENS_PER_SECOND)
#undef LOAD
}

enum dgo_status profile_feed_timeline(struct dgo_timeline *timeline,
                                      const struct dgo_machine *machine,
                                      const struct profile_loads *loads, uint64_t time_ns,
                                      struct dgo_error *err)
{
    struct target target = {.timeline = timeline, .time_ns = time_ns, .err = err};

    for (uint32_t g = 0; g < machine->gpu_count; g++)
        if (machine->gpu[g].problem[0] == '\0')
            put_card(&target, g, &machine->gpu[g]);
    if (machine->host.memory_known)
        put(&target,
            (struct dgo_series_key){.kind = DGO_SERIES_HOST_FREE, .gpu_index = DGO_TIMELINE_NO_GPU},
            (double)machine->host.free_bytes);
    for (uint32_t i = 0; loads && i < loads->count; i++)
        put_load(&target, &loads->engine[i]);
    return target.status;
}
