/* nvml_card.c - the readings of one NVIDIA card, with those that cannot be true left unknown. */
#include "nvml.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what does not change ------------------------------------------------------------------ */

void nvml_read_names(struct nvml_look *look, char name[DGO_GPU_TEXT_MAX],
                     char uuid[DGO_GPU_TEXT_MAX])
{
    char text[NVML_NAME_MAX + 1] = "";

    if (NVML_CALL(look, nvmlDeviceGetName, text, NVML_NAME_MAX))
        dgo_text_copy_escaped(name, DGO_GPU_TEXT_MAX, text, strnlen(text, NVML_NAME_MAX));
    memset(text, 0, sizeof text);
    if (NVML_CALL(look, nvmlDeviceGetUUID, text, NVML_NAME_MAX))
        dgo_text_copy_escaped(uuid, DGO_GPU_TEXT_MAX, text, strnlen(text, NVML_NAME_MAX));
}

static void read_identity(struct nvml_look *look, struct dgo_gpu *gpu)
{
    struct nvml_pci pci = {.bus_id = ""};
    char fallback[32];

    nvml_read_names(look, gpu->name, gpu->uuid);
    if (NVML_CALL(look, nvmlDeviceGetPciInfo_v3, &pci)) {
        pci.bus_id[sizeof pci.bus_id - 1] = '\0';
        if (!gpu_pci_normalise(pci.bus_id, gpu->pci_id)) {
            snprintf(fallback, sizeof fallback, "%04x:%02x:%02x.0", pci.domain, pci.bus & 0xff,
                     pci.device & 0xff);
            (void)gpu_pci_normalise(fallback, gpu->pci_id);
        }
    }
}

static void read_compute(struct nvml_look *look, struct dgo_gpu *gpu)
{
    int major = 0, minor = 0;

    if (!NVML_CALL(look, nvmlDeviceGetCudaComputeCapability, &major, &minor) || major < 1 ||
        major > 99 || minor < 0 || minor > 99)
        return;
    GPU_SET(gpu, COMPUTE_MAJOR, compute_major, (uint32_t)major);
    GPU_SET(gpu, COMPUTE_MINOR, compute_minor, (uint32_t)minor);
}

/* Two transfers a clock over the whole bus: 936 GB/s for a 3090 (384 bits, 9751 MHz), as published.
 * It tells apart cards of one name, like the two sizes of the RTX 3080. */
static void read_bandwidth(struct nvml_look *look, struct dgo_gpu *gpu)
{
    unsigned mhz = 0;
    double bandwidth;

    if (!dgo_gpu_knows(gpu, DGO_GPU_MEMORY_BUS_BITS) ||
        !NVML_CALL(look, nvmlDeviceGetMaxClockInfo, NVML_CLOCK_MEMORY, &mhz))
        return;
    bandwidth = 2e6 * mhz * gpu->memory_bus_bits / 8;
    if (bandwidth >= 5e9 && bandwidth <= 1e14)
        GPU_SET(gpu, BANDWIDTH_BYTES_PER_S, bandwidth_bytes_per_s, bandwidth);
}

/* Chips whose memory is the host's: the driver has no memory figures for them, or zeros.  For any
 * other card that is a fault, and the host's memory would be a wrong answer. */
static bool is_integrated(const char *name)
{
    static const char *const chips[] = {"GB10", "Orin", "Thor", "Xavier", "Tegra"};

    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++)
        if (strstr(name, chips[i]))
            return true;
    return false;
}

void nvml_read_fixed(struct nvml_look *look, struct nvml_card *card)
{
    struct dgo_gpu *gpu = &card->fixed;

    *gpu = (struct dgo_gpu){.vendor = DGO_VENDOR_NVIDIA};
    read_identity(look, gpu);
    read_compute(look, gpu);
    nvml_read_unchanging(look, gpu);
    read_bandwidth(look, gpu);
    card->integrated = is_integrated(gpu->name);
}

/* ---- memory -------------------------------------------------------------------------------- */

struct memory {
    uint64_t total, reserved, free, used;
    bool reserved_known;
};

/* The second version tells what the driver reserves apart from what is used; the first, of older
 * drivers, counts it as used, and then it stays so with `reserved` unknown. */
static int ask_memory(struct nvml_look *look, struct memory *memory)
{
    struct nvml_memory_v2 second = {.version = NVML_VERSION(struct nvml_memory_v2, 2)};
    struct nvml_memory first = {0};
    int code = NVML_NOT_SUPPORTED;

    if (look->api->nvmlDeviceGetMemoryInfo_v2) {
        code = look->api->nvmlDeviceGetMemoryInfo_v2(look->device, &second);
        if (nvml_ok(look, code)) {
            *memory = (struct memory){second.total, second.reserved, second.free, second.used,
                                      .reserved_known = true};
            return code;
        }
        if (look->gone || look->lost)
            return code;
    }
    if (look->api->nvmlDeviceGetMemoryInfo) {
        code = look->api->nvmlDeviceGetMemoryInfo(look->device, &first);
        if (nvml_ok(look, code))
            *memory = (struct memory){first.total, 0, first.free, first.used, false};
    }
    return code;
}

/* The figures are not read at one instant; more than this between them is no rounding. */
static const uint64_t slack_bytes = 16 * DGO_MIB;
static const uint64_t absurd_bytes = 64 * DGO_TIB;

static bool contradicts_itself(const struct memory *memory)
{
    return memory->total > absurd_bytes || memory->free > memory->total ||
           memory->used > memory->total || memory->reserved > memory->total ||
           memory->free + memory->used > memory->total + slack_bytes;
}

static void tell_contradiction(const struct memory *memory, struct dgo_gpu *gpu)
{
    char total[DGO_UNIT_TEXT_MAX], free_text[DGO_UNIT_TEXT_MAX], used[DGO_UNIT_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(gpu->problem);

    dgo_text_addf(&text, "the driver's memory figures cannot be true: total %s, free %s, used %s",
                  dgo_bytes_text(memory->total, total), dgo_bytes_text(memory->free, free_text),
                  dgo_bytes_text(memory->used, used));
}

static void set_memory(const struct memory *memory, struct dgo_gpu *gpu)
{
    GPU_SET(gpu, TOTAL_BYTES, total_bytes, memory->total);
    GPU_SET(gpu, FREE_BYTES, free_bytes, memory->free);
    GPU_SET(gpu, USED_BYTES, used_bytes, memory->used);
    /* Sums beyond the total come from drivers whose `used` holds the reserved part after all. */
    if (memory->reserved_known &&
        memory->free + memory->used + memory->reserved <= memory->total + slack_bytes)
        GPU_SET(gpu, RESERVED_BYTES, reserved_bytes, memory->reserved);
}

/* The host's memory is the card's.  What processes hold is used; that the rest of the system's
 * use were the card's would overstate it by gigabytes. */
static void set_shared_memory(const char *root, uint64_t process_bytes, struct dgo_gpu *gpu)
{
    struct dgo_host host = {0};

    gpu_host_memory(root, &host);
    if (!host.memory_known)
        return;
    GPU_SET(gpu, TOTAL_BYTES, total_bytes, host.total_bytes);
    GPU_SET(gpu, FREE_BYTES, free_bytes, host.free_bytes);
    if (gpu->processes_known)
        GPU_SET(gpu, USED_BYTES, used_bytes, dgo_min_u64(process_bytes, host.total_bytes));
}

static const uint64_t memory_fields =
    UINT64_C(1) << DGO_GPU_TOTAL_BYTES | UINT64_C(1) << DGO_GPU_FREE_BYTES |
    UINT64_C(1) << DGO_GPU_USED_BYTES | UINT64_C(1) << DGO_GPU_RESERVED_BYTES;

/* The lists are read again when the memory says that they have changed, so that their sum is of
 * the same moment as `used`. */
static bool processes_due(const struct nvml_look *look, const struct nvml_card *card,
                          const struct dgo_gpu *gpu)
{
    return look->tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES) ||
           !dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES) || gpu->used_bytes != card->listed_used_bytes;
}

static void read_memory(struct nvml_look *look, struct nvml_card *card, const char *root,
                        struct dgo_gpu *gpu)
{
    struct memory memory = {0};
    const int code = ask_memory(look, &memory);
    const bool plausible = code == NVML_SUCCESS && !contradicts_itself(&memory);
    uint64_t process_bytes = 0;

    gpu->known &= ~memory_fields;
    if (plausible && memory.total > 0)
        set_memory(&memory, gpu);
    if (processes_due(look, card, gpu)) {
        process_bytes = nvml_read_processes(look, card, gpu);
        card->listed_used_bytes = gpu->used_bytes;
    } else {
        for (uint32_t i = 0; i < gpu->process_count; i++)
            process_bytes += gpu->process[i].used_bytes;
    }
    if (dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES))
        return;
    if (card->integrated && (code == NVML_NOT_SUPPORTED || (plausible && memory.total == 0))) {
        set_shared_memory(root, process_bytes, gpu);
    } else if (code == NVML_SUCCESS) {
        tell_contradiction(&memory, gpu);
    } else {
        struct dgo_text text = DGO_TEXT(gpu->problem);

        dgo_text_addf(&text, "its memory cannot be read (code %d): %s", code,
                      nvml_explain(look->api, code));
    }
}

/* ---- one look ------------------------------------------------------------------------------ */

/* A card in slices cannot be used as one GPU, whatever it has in all. */
static bool is_sliced(struct nvml_look *look)
{
    unsigned now = 0, pending = 0;

    return NVML_CALL(look, nvmlDeviceGetMigMode, &now, &pending) && now == 1;
}

void nvml_read_now(struct nvml_look *look, struct nvml_card *card, const char *root,
                   struct dgo_gpu *gpu)
{
    if (look->tiers & DGO_TIER_BIT(DGO_TIER_RARE)) {
        memset(card->refused, 0, sizeof card->refused); /* a setting may have changed */
        gpu->sliced = is_sliced(look);
    }
    gpu->problem[0] = '\0';
    if (gpu->sliced) {
        dgo_text_copy(gpu->problem, sizeof gpu->problem,
                      "MIG is on: it is divided into slices and cannot be used as one GPU; "
                      "'sudo nvidia-smi -mig 0' turns it off");
        if (look->tiers & DGO_TIER_BIT(DGO_TIER_PROCESSES))
            nvml_read_slices(look, gpu);
    } else {
        gpu->slice_count = 0;
        read_memory(look, card, root, gpu);
    }
    if (look->gone || look->lost)
        return;
    if (look->tiers & DGO_TIER_BIT(DGO_TIER_FAST))
        nvml_read_fast(look, card, gpu);
    if (look->tiers & DGO_TIER_BIT(DGO_TIER_SLOW))
        nvml_read_slow(look, card, gpu);
    if (look->tiers & DGO_TIER_BIT(DGO_TIER_RARE))
        nvml_read_rare(look, gpu);
}
