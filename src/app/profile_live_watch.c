/* profile_live_watch.c - what looks and verdicts mean for alerts. */
#include "profile_live_internal.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <math.h>

static const double mib = (double)DGO_MIB;

struct watching {
    struct profile_live *live;
    uint32_t gpu_index;
    double seconds;
};

static void observe(const struct watching *watching, enum dgo_alert_rule rule, double value,
                    const char *text)
{
    dgo_alerts_observe(watching->live->alerts, rule, watching->gpu_index, 0, watching->seconds,
                       value, text);
}

static void watch_memory(const struct watching *watching, const struct dgo_gpu *gpu)
{
    struct dgo_oom *oom = &watching->live->oom[watching->gpu_index];
    const double reserved =
        dgo_gpu_knows(gpu, DGO_GPU_RESERVED_BYTES) ? (double)gpu->reserved_bytes : 0;
    const double capacity_mib = ((double)gpu->total_bytes - reserved) / mib;
    const double used_mib = (double)gpu->used_bytes / mib;
    double soon, share;
    char line[200], full[DGO_UNIT_TEXT_MAX] = "";
    struct dgo_text text = DGO_TEXT(line);

    if (!dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES) || !dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) ||
        capacity_mib <= 0)
        return;
    soon = dgo_oom_add(oom, watching->seconds, used_mib, capacity_mib);
    if (isfinite(oom->seconds_to_full))
        (void)dgo_duration_text((uint64_t)(fmin(oom->seconds_to_full, 1e6) * 1e9), full);
    dgo_text_addf(&text, "GPU %u: %.0f MiB are left%s%s", watching->gpu_index,
                  fmax(0, capacity_mib - used_mib), full[0] ? ", gone in " : "", full);
    observe(watching, DGO_ALERT_OOM, soon, line);
    /* A card that stands still may be as full as it likes. */
    share = dgo_oom_is_static(oom, watching->seconds) ? 0 : used_mib / capacity_mib * 100;
    dgo_text_clear(&text);
    dgo_text_addf(&text, "GPU %u: %.0f %% of its memory are in use, and it moves",
                  watching->gpu_index, used_mib / capacity_mib * 100);
    observe(watching, DGO_ALERT_MEMORY, share, line);
}

static double throttle_of(const struct dgo_gpu *gpu)
{
    const uint32_t hard = 1u << DGO_THROTTLE_HARDWARE_HEAT | 1u << DGO_THROTTLE_POWER_BRAKE;

    if (gpu->throttle_mask & hard)
        return 2;
    return gpu->throttle_mask & 1u << DGO_THROTTLE_HEAT ? 1 : 0;
}

static void watch_card(const struct watching *watching, const struct dgo_gpu *gpu)
{
    char line[200];
    struct dgo_text text = DGO_TEXT(line);

    watch_memory(watching, gpu);
    if (dgo_gpu_knows(gpu, DGO_GPU_TEMPERATURE_C)) {
        dgo_text_clear(&text);
        dgo_text_addf(&text, "GPU %u: %d C", watching->gpu_index, (int)gpu->temperature_c);
        observe(watching, DGO_ALERT_TEMPERATURE, (double)gpu->temperature_c, line);
    }
    if (dgo_gpu_knows(gpu, DGO_GPU_POWER_MW) && dgo_gpu_knows(gpu, DGO_GPU_POWER_LIMIT_MW) &&
        gpu->power_limit_mw > 0) {
        dgo_text_clear(&text);
        dgo_text_addf(&text, "GPU %u: %u of %u W", watching->gpu_index, gpu->power_mw / 1000,
                      gpu->power_limit_mw / 1000);
        observe(watching, DGO_ALERT_POWER, 100.0 * gpu->power_mw / gpu->power_limit_mw, line);
    }
    if (dgo_gpu_knows(gpu, DGO_GPU_THROTTLE_MASK)) {
        dgo_text_clear(&text);
        dgo_text_addf(&text, "GPU %u: it is slowed down because of its heat or its power supply",
                      watching->gpu_index);
        observe(watching, DGO_ALERT_THROTTLE, throttle_of(gpu), line);
    }
    dgo_text_clear(&text);
    dgo_text_addf(&text, "GPU %u: %.150s", watching->gpu_index,
                  gpu->problem[0] ? gpu->problem : "it can be read again");
    observe(watching, DGO_ALERT_DRIVER, gpu->problem[0] != '\0', line);
}

/* Cards of unlike use while both work: one of them has room that the other lacks. */
static void watch_balance(const struct watching *watching, const struct dgo_machine *machine)
{
    double least = INFINITY, most = -INFINITY;
    char line[200];
    struct dgo_text text = DGO_TEXT(line);
    uint32_t busy = 0;

    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if (!dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES) || !dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) ||
            gpu->total_bytes == 0)
            continue;
        if (dgo_gpu_knows(gpu, DGO_GPU_BUSY_PERMILLE) && gpu->busy_permille < 50)
            continue;
        least = fmin(least, (double)gpu->used_bytes / (double)gpu->total_bytes);
        most = fmax(most, (double)gpu->used_bytes / (double)gpu->total_bytes);
        busy++;
    }
    dgo_text_addf(&text, "the busy cards differ by %.0f %% of their memory", (most - least) * 100);
    observe(watching, DGO_ALERT_IMBALANCE, busy < 2 ? 0 : (most - least) * 100, line);
}

void profile_live_watch(struct profile_live *live, const struct dgo_sample *sample)
{
    struct watching watching = {live, DGO_TIMELINE_NO_GPU, (double)live->axis_ns / 1e9};
    const bool lost = sample->problem[0] != '\0';

    observe(&watching, DGO_ALERT_DRIVER, lost,
            lost ? sample->problem : "the GPU driver answers again");
    if (lost != live->driver_lost) {
        struct dgo_timeline_event event = {.time_ns = live->axis_ns,
                                           .kind = DGO_TIMELINE_DRIVER,
                                           .gpu_index = DGO_TIMELINE_NO_GPU};

        (void)dgo_text_copy(event.text, sizeof event.text,
                            lost ? sample->problem : "the GPU driver answers again");
        dgo_timeline_note(live->timeline, &event);
        live->driver_lost = lost;
    }
    if (lost)
        return;
    watch_balance(&watching, &sample->machine);
    for (uint32_t g = 0; g < sample->machine.gpu_count; g++) {
        watching.gpu_index = g;
        watch_card(&watching, &sample->machine.gpu[g]);
    }
}

void profile_live_watch_leaks(struct profile_live *live)
{
    for (uint32_t i = 0; i < dgo_profiler_count(live->profiler); i++) {
        const struct dgo_series_report *report = dgo_profiler_report(live->profiler, i);
        char line[256];
        struct dgo_text text = DGO_TEXT(line);

        if (report->pid == 0)
            continue;
        dgo_text_addf(&text, "GPU %u, process %u %s: %s", report->gpu_index, report->pid,
                      report->name, report->trend.evidence);
        dgo_alerts_observe(live->alerts, DGO_ALERT_LEAK, report->gpu_index, report->pid,
                           (double)live->axis_ns / 1e9, (double)report->trend.verdict, line);
    }
}
