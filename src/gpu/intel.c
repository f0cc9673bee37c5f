/* intel.c - Intel cards from sysfs, hwmon and fdinfo: no library, no context, no open device.
 *
 * Source: the kernel's Documentation/gpu for xe and i915.  What a card's memory is used for in all
 * only a privileged query tells; the sum over the processes that can be seen is what there is at
 * least. */
#include "drm.h"

#include "dgo_clock.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct intel_card {
    struct drm_card drm;
    uint64_t energy_uj, energy_at_ns; /* at the last look */
    struct dgo_gpu last;
    bool looked;
};

struct intel {
    char root[256];
    bool wake;
    uint32_t core_count; /* of the host */
    uint32_t count;
    struct intel_card card[DGO_GPU_MAX];
    struct drm_sweep sweep;
};

/* Tiles share a card; xe tells the memory of each. */
static uint64_t own_memory(const char *root, const struct drm_card *card)
{
    uint64_t total = 0;

    for (int tile = 0; tile < 4; tile++) {
        char file[48];
        uint64_t bytes = 0;

        snprintf(file, sizeof file, "tile%d/physical_vram_size_bytes", tile);
        if (drm_number(root, card->path, file, &bytes) && bytes <= 64 * DGO_TIB)
            total += bytes;
    }
    return total;
}

static enum dgo_status intel_open(const struct dgo_gpu_options *options, void **state,
                                  struct dgo_error *err)
{
    struct intel *intel = calloc(1, sizeof *intel);
    struct drm_card *cards = calloc(DGO_GPU_MAX, sizeof *cards);

    if (!intel || !cards || !dgo_text_copy(intel->root, sizeof intel->root, options->system_root)) {
        free(cards);
        free(intel);
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    }
    intel->wake = options->wake;
    intel->count = drm_list(intel->root, 0x8086, DGO_VENDOR_INTEL, cards, DGO_GPU_MAX);
    for (uint32_t i = 0; i < intel->count; i++)
        intel->card[i].drm = cards[i];
    free(cards);
    if (intel->count == 0) {
        free(intel);
        return dgo_fail(err, DGO_ENOGPU, "the kernel shows no Intel card");
    }
    intel->core_count = gpu_host_cores(intel->root);
    *state = intel;
    return DGO_OK;
}

static void intel_close(void *state)
{
    free(state);
}

static void read_memory(const struct intel *intel, const struct intel_card *card,
                        struct dgo_gpu *gpu)
{
    const uint64_t total = own_memory(intel->root, &card->drm);
    const uint64_t used = gpu->process_sum_bytes;

    if (total == 0) {
        dgo_text_copy(gpu->problem, sizeof gpu->problem,
                      "integrated graphics, or a driver that does not tell its memory");
        return;
    }
    GPU_SET(gpu, TOTAL_BYTES, total_bytes, total);
    GPU_SET(gpu, USED_BYTES, used_bytes, dgo_min_u64(used, total));
    GPU_SET(gpu, FREE_BYTES, free_bytes, total - dgo_min_u64(used, total));
}

/* Joules since the driver was loaded: their growth is the power. */
static void read_power(const struct intel *intel, struct intel_card *card, uint64_t now_ns,
                       struct dgo_gpu *gpu)
{
    uint64_t energy_uj = 0, cap = 0;

    gpu->known &= ~(UINT64_C(1) << DGO_GPU_POWER_MW);
    if (drm_number(intel->root, card->drm.hwmon, "energy1_input", &energy_uj)) {
        if (card->energy_at_ns && now_ns > card->energy_at_ns && energy_uj >= card->energy_uj)
            GPU_SET(gpu, POWER_MW, power_mw,
                    (uint32_t)((double)(energy_uj - card->energy_uj) * 1e6 /
                               (double)(now_ns - card->energy_at_ns)));
        GPU_SET(gpu, ENERGY_MJ, energy_mj, energy_uj / 1000);
        card->energy_uj = energy_uj;
        card->energy_at_ns = now_ns;
    }
    if (drm_number(intel->root, card->drm.hwmon, "power1_max", &cap) && cap < 100000000000)
        GPU_SET(gpu, POWER_LIMIT_MW, power_limit_mw, (uint32_t)(cap / 1000));
}

static void read_fast(const struct intel *intel, struct intel_card *card, uint64_t now_ns,
                      struct dgo_gpu *gpu)
{
    uint64_t value = 0;
    uint32_t busy = 0;

    read_memory(intel, card, gpu);
    read_power(intel, card, now_ns, gpu);
    /* xe tells the package's temperature as the second; i915 has one. */
    if ((drm_number(intel->root, card->drm.hwmon, "temp2_input", &value) ||
         drm_number(intel->root, card->drm.hwmon, "temp1_input", &value)) &&
        value <= 200000)
        GPU_SET(gpu, TEMPERATURE_C, temperature_c, (int32_t)(value / 1000));
    if ((drm_number(intel->root, card->drm.path, "tile0/gt0/freq0/cur_freq", &value) ||
         drm_number(intel->root, card->drm.path, "../gt_cur_freq_mhz", &value)) &&
        value < 100000)
        GPU_SET(gpu, CORE_CLOCK_MHZ, core_clock_mhz, (uint32_t)value);
    for (uint32_t i = 0; i < gpu->process_count; i++)
        busy += gpu->process[i].busy_known ? gpu->process[i].busy_permille : 0;
    if (gpu->process_count && gpu->process[0].busy_known)
        GPU_SET(gpu, BUSY_PERMILLE, busy_permille, busy < 1000 ? busy : 1000);
}

static void look_at(struct intel *intel, struct intel_card *card, unsigned tiers, uint64_t now_ns,
                    struct dgo_gpu *gpu)
{
    if (!card->looked) {
        tiers = DGO_TIERS_ALL;
        card->last = card->drm.fixed;
    }
    *gpu = card->last;
    gpu->problem[0] = '\0';
    if (tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES)) {
        drm_take_processes(&intel->sweep, card->drm.pci_id, gpu);
        drm_end_processes(gpu);
    }
    read_fast(intel, card, now_ns, gpu);
    if (tiers & DGO_TIER_BIT(DGO_TIER_SLOW))
        drm_read_link(intel->root, &card->drm, gpu);
    card->last = *gpu;
    card->looked = true;
}

static enum dgo_status intel_take(void *state, unsigned tiers, struct dgo_machine *machine,
                                  struct dgo_error *err)
{
    struct intel *intel = state;
    const uint64_t now_ns = dgo_clock_monotonic_ns(dgo_clock_system());

    (void)err;
    if (tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES) || intel->sweep.sweeps == 0)
        drm_sweep(&intel->sweep, intel->root, now_ns);
    machine->gpu_count = intel->count;
    dgo_text_copy(machine->driver, sizeof machine->driver, "i915 or xe");
    for (uint32_t i = 0; i < intel->count; i++)
        if (!drm_left_asleep(intel->root, &intel->card[i].drm, intel->wake, &machine->gpu[i]))
            look_at(intel, &intel->card[i], tiers, now_ns, &machine->gpu[i]);
    gpu_host_memory(intel->root, &machine->host);
    machine->host.core_count = intel->core_count;
    return DGO_OK;
}

const struct gpu_driver gpu_driver_intel = {
    .name = "intel", .open = intel_open, .take = intel_take, .close = intel_close};
