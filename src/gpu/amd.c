/* amd.c - AMD cards from sysfs, hwmon, KFD and fdinfo: no library, no context.
 *
 * Source: the kernel's Documentation/gpu/amdgpu.  pcie_bw is never read: the kernel sleeps a second
 * in it. */
#include "drm.h"

#include "dgo_clock.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct amd_card {
    struct drm_card drm;
    uint32_t kfd_id; /* of the compute driver; 0 unknown */
    struct dgo_gpu last;
    bool looked;
};

struct amd {
    char root[256];
    bool wake;
    uint32_t core_count; /* of the host */
    uint32_t count;
    struct amd_card card[DGO_GPU_MAX];
    struct drm_sweep sweep;
};

/* ---- opening ------------------------------------------------------------------------------- */

/* "key 123" on a line of a topology node's properties. */
static bool property(const char *text, const char *key, uint64_t *value)
{
    const size_t length = strlen(key);

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            *value = strtoull(line + length + 1, NULL, 10);
            return true;
        }
    return false;
}

/* The compute driver names cards by numbers of its own; its nodes tell where each is. */
static void find_kfd_ids(struct amd *amd)
{
    static const char nodes[] = "/sys/class/kfd/kfd/topology/nodes";

    for (int node = 0; node < 64; node++) {
        char path[96], text[4096], pci_id[GPU_PCI_ID_MAX], place[24];
        uint64_t id = 0, location = 0, domain = 0;

        snprintf(path, sizeof path, "%s/%d", nodes, node);
        if (!drm_number(amd->root, path, "gpu_id", &id))
            return;
        snprintf(path, sizeof path, "%s/%d/properties", nodes, node);
        if (id == 0 || !gpu_read_text(amd->root, path, text, sizeof text) ||
            !property(text, "location_id", &location))
            continue; /* a CPU */
        (void)property(text, "domain", &domain);
        snprintf(place, sizeof place, "%04x:%02x:%02x.%x", (unsigned)(domain & 0xffff),
                 (unsigned)(location >> 8 & 0xff), (unsigned)(location >> 3 & 0x1f),
                 (unsigned)(location & 7));
        if (!gpu_pci_normalise(place, pci_id))
            continue;
        for (uint32_t i = 0; i < amd->count; i++)
            if (strcmp(amd->card[i].drm.pci_id, pci_id) == 0)
                amd->card[i].kfd_id = (uint32_t)id;
    }
}

static void read_fixed(const struct amd *amd, struct amd_card *card)
{
    struct dgo_gpu *gpu = &card->drm.fixed;
    char path[2 * DRM_PATH_MAX], text[32];

    snprintf(path, sizeof path, "%s/unique_id", card->drm.path);
    if (gpu_read_text(amd->root, path, text, sizeof text) && text[0])
        snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-%.24s", text);
}

static enum dgo_status amd_open(const struct dgo_gpu_options *options, void **state,
                                struct dgo_error *err)
{
    struct amd *amd = calloc(1, sizeof *amd);
    struct drm_card *cards = calloc(DGO_GPU_MAX, sizeof *cards);

    if (!amd || !cards || !dgo_text_copy(amd->root, sizeof amd->root, options->system_root)) {
        free(cards);
        free(amd);
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    }
    amd->wake = options->wake;
    amd->count = drm_list(amd->root, 0x1002, DGO_VENDOR_AMD, cards, DGO_GPU_MAX);
    for (uint32_t i = 0; i < amd->count; i++) {
        amd->card[i].drm = cards[i];
        read_fixed(amd, &amd->card[i]);
    }
    free(cards);
    if (amd->count == 0) {
        free(amd);
        return dgo_fail(err, DGO_ENOGPU, "the kernel shows no AMD card");
    }
    find_kfd_ids(amd);
    amd->core_count = gpu_host_cores(amd->root);
    *state = amd;
    return DGO_OK;
}

static void amd_close(void *state)
{
    free(state);
}

/* ---- a look at a card ---------------------------------------------------------------------- */

static void read_memory(const struct amd *amd, const struct amd_card *card, struct dgo_gpu *gpu)
{
    /* Integrated graphics has a little of the host's memory as its own, for the screen. */
    static const uint64_t least_bytes = 2 * DGO_GIB;
    const char *path = card->drm.path;
    uint64_t total = 0, used = 0;

    if (!drm_number(amd->root, path, "mem_info_vram_total", &total) ||
        !drm_number(amd->root, path, "mem_info_vram_used", &used) || used > total || total == 0) {
        dgo_text_copy(gpu->problem, sizeof gpu->problem,
                      "its memory cannot be read; is the amdgpu driver loaded?");
        return;
    }
    GPU_SET(gpu, TOTAL_BYTES, total_bytes, total);
    GPU_SET(gpu, USED_BYTES, used_bytes, used);
    GPU_SET(gpu, FREE_BYTES, free_bytes, total - used);
    if (total < least_bytes)
        dgo_text_copy(gpu->problem, sizeof gpu->problem,
                      "integrated graphics: too little memory of its own for a model");
    if (drm_number(amd->root, path, "mem_info_gtt_total", &total))
        GPU_SET(gpu, GTT_TOTAL_BYTES, gtt_total_bytes, total);
    if (drm_number(amd->root, path, "mem_info_gtt_used", &used))
        GPU_SET(gpu, GTT_USED_BYTES, gtt_used_bytes, used);
}

/* "1: 1500Mhz *": the line with the star is the clock now. */
static bool clock_of(const char *root, const char *folder, const char *file, uint32_t *mhz)
{
    char path[2 * DRM_PATH_MAX], text[1024];
    const char *star, *colon;

    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (!gpu_read_text(root, path, text, sizeof text) || !(star = strchr(text, '*')))
        return false;
    while (star > text && star[-1] != '\n')
        star--;
    colon = strchr(star, ':');
    *mhz = colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
    return *mhz > 0 && *mhz < 100000;
}

static void read_clocks(const struct amd *amd, const struct amd_card *card, struct dgo_gpu *gpu)
{
    uint64_t hertz = 0;
    uint32_t mhz = 0;

    if (drm_number(amd->root, card->drm.hwmon, "freq1_input", &hertz) && hertz < 100000000000)
        GPU_SET(gpu, CORE_CLOCK_MHZ, core_clock_mhz, (uint32_t)(hertz / 1000000));
    else if (clock_of(amd->root, card->drm.path, "pp_dpm_sclk", &mhz))
        GPU_SET(gpu, CORE_CLOCK_MHZ, core_clock_mhz, mhz);
    if (drm_number(amd->root, card->drm.hwmon, "freq2_input", &hertz) && hertz < 100000000000)
        GPU_SET(gpu, MEMORY_CLOCK_MHZ, memory_clock_mhz, (uint32_t)(hertz / 1000000));
    else if (clock_of(amd->root, card->drm.path, "pp_dpm_mclk", &mhz))
        GPU_SET(gpu, MEMORY_CLOCK_MHZ, memory_clock_mhz, mhz);
}

static void read_fast(const struct amd *amd, const struct amd_card *card, struct dgo_gpu *gpu)
{
    const char *hwmon = card->drm.hwmon;
    uint64_t value = 0;

    read_memory(amd, card, gpu);
    if (drm_number(amd->root, card->drm.path, "gpu_busy_percent", &value) && value <= 100)
        GPU_SET(gpu, BUSY_PERMILLE, busy_permille, (uint32_t)value * 10);
    if (drm_number(amd->root, card->drm.path, "mem_busy_percent", &value) && value <= 100)
        GPU_SET(gpu, MEMORY_BUSY_PERMILLE, memory_busy_permille, (uint32_t)value * 10);
    if (drm_number(amd->root, hwmon, "temp1_input", &value) && value <= 200000)
        GPU_SET(gpu, TEMPERATURE_C, temperature_c, (int32_t)(value / 1000));
    if (drm_number(amd->root, hwmon, "temp3_input", &value) && value <= 200000)
        GPU_SET(gpu, MEMORY_TEMPERATURE_C, memory_temperature_c, (int32_t)(value / 1000));
    if ((drm_number(amd->root, hwmon, "power1_average", &value) ||
         drm_number(amd->root, hwmon, "power1_input", &value)) &&
        value < 100000000000)
        GPU_SET(gpu, POWER_MW, power_mw, (uint32_t)(value / 1000));
    read_clocks(amd, card, gpu);
}

static void read_slow(const struct amd *amd, const struct amd_card *card, struct dgo_gpu *gpu)
{
    const char *hwmon = card->drm.hwmon;
    uint64_t value = 0, most = 0;

    drm_read_link(amd->root, &card->drm, gpu);
    if (drm_number(amd->root, hwmon, "power1_cap", &value) && value < 100000000000)
        GPU_SET(gpu, POWER_LIMIT_MW, power_limit_mw, (uint32_t)(value / 1000));
    if (drm_number(amd->root, hwmon, "temp1_crit", &value) && value <= 200000)
        GPU_SET(gpu, SLOWDOWN_TEMPERATURE_C, slowdown_temperature_c, (int32_t)(value / 1000));
    if (drm_number(amd->root, hwmon, "pwm1", &value) &&
        drm_number(amd->root, hwmon, "pwm1_max", &most) && most > 0 && value <= most)
        GPU_SET(gpu, FAN_PERMILLE, fan_permille, (uint32_t)(1000 * value / most));
}

/* Compute processes, whose memory the compute driver knows; fdinfo may know it too, and the
 * greater of the two counts. */
static void add_kfd(const struct amd *amd, const struct amd_card *card, struct dgo_gpu *gpu)
{
    static const char procs[] = "/sys/class/kfd/kfd/proc";
    char full[PATH_MAX], path[64], file[32];
    const struct dirent *entry;
    DIR *dir;

    if (!card->kfd_id)
        return;
    snprintf(full, sizeof full, "%s%s", amd->root, procs);
    snprintf(file, sizeof file, "vram_%" PRIu32, card->kfd_id);
    dir = opendir(full);
    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        uint64_t bytes = 0;

        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof path, "%s/%.16s", procs, entry->d_name);
        if (drm_number(amd->root, path, file, &bytes) && bytes > 0)
            drm_add_process(gpu, (uint32_t)strtoul(entry->d_name, NULL, 10), bytes, true);
    }
    closedir(dir);
}

/* Readings of the tiers that are not due stay as they were. */
static void look_at(struct amd *amd, struct amd_card *card, unsigned tiers, struct dgo_gpu *gpu)
{
    if (!card->looked) {
        tiers = DGO_TIERS_ALL;
        card->last = card->drm.fixed;
    }
    *gpu = card->last;
    gpu->problem[0] = '\0';
    read_fast(amd, card, gpu);
    if (tiers & DGO_TIER_BIT(DGO_TIER_SLOW))
        read_slow(amd, card, gpu);
    if (tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES)) {
        drm_take_processes(&amd->sweep, card->drm.pci_id, gpu);
        add_kfd(amd, card, gpu);
        drm_end_processes(gpu);
    }
    card->last = *gpu;
    card->looked = true;
}

static enum dgo_status amd_take(void *state, unsigned tiers, struct dgo_machine *machine,
                                struct dgo_error *err)
{
    struct amd *amd = state;

    (void)err;
    if (tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES) || amd->sweep.sweeps == 0)
        drm_sweep(&amd->sweep, amd->root, dgo_clock_monotonic_ns(dgo_clock_system()));
    machine->gpu_count = amd->count;
    dgo_text_copy(machine->driver, sizeof machine->driver, "amdgpu");
    for (uint32_t i = 0; i < amd->count; i++)
        if (!drm_left_asleep(amd->root, &amd->card[i].drm, amd->wake, &machine->gpu[i]))
            look_at(amd, &amd->card[i], tiers, &machine->gpu[i]);
    gpu_host_memory(amd->root, &machine->host);
    machine->host.core_count = amd->core_count;
    return DGO_OK;
}

const struct gpu_driver gpu_driver_amd = {
    .name = "amd", .open = amd_open, .take = amd_take, .close = amd_close};
