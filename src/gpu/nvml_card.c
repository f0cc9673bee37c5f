/* nvml_card.c - the readings of one NVIDIA card, with those that cannot be true left unknown. */
#include "nvml.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A call may be made when its function exists; a missing one is answered as unsupported. */
#define CALL(look, name, ...)                                                                      \
    nvml_ok(look, (look)->api->name ? (look)->api->name((look)->device, __VA_ARGS__)               \
                                    : NVML_NOT_SUPPORTED)

/* Readings that are one call giving one unsigned number. */
struct reading {
    size_t call_at;  /* in struct nvml_api */
    size_t value_at; /* in struct dgo_gpu */
    enum dgo_gpu_field field;
    uint32_t least, most; /* outside it is no reading */
};
#define READING(name, ID, member, least, most)                                                     \
    {                                                                                              \
        offsetof(struct nvml_api, name), offsetof(struct dgo_gpu, member), DGO_GPU_##ID, least,    \
            most                                                                                   \
    }

static const struct reading fixed_readings[] = {
    READING(nvmlDeviceGetNumGpuCores, CORE_COUNT, core_count, 1, 10000000),
    READING(nvmlDeviceGetMemoryBusWidth, MEMORY_BUS_BITS, memory_bus_bits, 16, 65536),
    READING(nvmlDeviceGetMaxPcieLinkGeneration, PCIE_GEN_MAX, pcie_gen_max, 1, 16),
    READING(nvmlDeviceGetMaxPcieLinkWidth, PCIE_WIDTH_MAX, pcie_width_max, 1, 32),
};

static const struct reading readings_now[] = {
    READING(nvmlDeviceGetEnforcedPowerLimit, POWER_LIMIT_MW, power_limit_mw, 1, 100000000),
    READING(nvmlDeviceGetCurrPcieLinkGeneration, PCIE_GEN, pcie_gen, 1, 16),
    READING(nvmlDeviceGetCurrPcieLinkWidth, PCIE_WIDTH, pcie_width, 1, 32),
};

typedef int (*u32_call)(struct nvml_device *device, unsigned *value);

static void read_all(struct nvml_look *look, const struct reading *readings, size_t count,
                     struct dgo_gpu *gpu)
{
    for (size_t i = 0; i < count; i++) {
        const struct reading *reading = &readings[i];
        unsigned value = 0;
        u32_call call;

        memcpy(&call, (const char *)look->api + reading->call_at, sizeof call);
        if (!call || !nvml_ok(look, call(look->device, &value)))
            continue;
        if (value < reading->least || value > reading->most)
            continue;
        memcpy((char *)gpu + reading->value_at, &value, sizeof value);
        gpu->known |= UINT64_C(1) << reading->field;
    }
}

/* ---- what does not change ------------------------------------------------------------------ */

static void read_identity(struct nvml_look *look, struct dgo_gpu *gpu)
{
    char text[NVML_NAME_MAX + 1] = "";
    struct nvml_pci pci = {.bus_id = ""};
    char fallback[32];

    if (CALL(look, nvmlDeviceGetName, text, NVML_NAME_MAX))
        dgo_text_copy_escaped(gpu->name, sizeof gpu->name, text, strnlen(text, NVML_NAME_MAX));
    memset(text, 0, sizeof text);
    if (CALL(look, nvmlDeviceGetUUID, text, NVML_NAME_MAX))
        dgo_text_copy_escaped(gpu->uuid, sizeof gpu->uuid, text, strnlen(text, NVML_NAME_MAX));
    if (CALL(look, nvmlDeviceGetPciInfo_v3, &pci)) {
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

    if (!CALL(look, nvmlDeviceGetCudaComputeCapability, &major, &minor) || major < 1 ||
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
        !CALL(look, nvmlDeviceGetMaxClockInfo, NVML_CLOCK_MEMORY, &mhz))
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
    read_all(look, fixed_readings, sizeof fixed_readings / sizeof fixed_readings[0], gpu);
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

static void read_memory(struct nvml_look *look, const struct nvml_card *card, const char *root,
                        struct dgo_gpu *gpu)
{
    struct memory memory = {0};
    const int code = ask_memory(look, &memory);
    const bool plausible = code == NVML_SUCCESS && !contradicts_itself(&memory);
    uint64_t process_bytes;

    if (plausible && memory.total > 0)
        set_memory(&memory, gpu);
    process_bytes = nvml_read_processes(look, root, gpu);
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

/* ---- the rest ------------------------------------------------------------------------------ */

static void read_utilization(struct nvml_look *look, struct dgo_gpu *gpu)
{
    struct nvml_utilization rates = {0};

    if (!CALL(look, nvmlDeviceGetUtilizationRates, &rates))
        return;
    if (rates.gpu <= 100)
        GPU_SET(gpu, BUSY_PERMILLE, busy_permille, rates.gpu * 10);
    if (rates.memory <= 100)
        GPU_SET(gpu, MEMORY_BUSY_PERMILLE, memory_busy_permille, rates.memory * 10);
}

static void read_temperature(struct nvml_look *look, struct dgo_gpu *gpu)
{
    struct nvml_temperature reading = {.version = NVML_VERSION(struct nvml_temperature, 1),
                                       .sensor = NVML_TEMPERATURE_GPU};
    unsigned celsius = 0;

    if (!CALL(look, nvmlDeviceGetTemperatureV, &reading)) {
        if (!CALL(look, nvmlDeviceGetTemperature, NVML_TEMPERATURE_GPU, &celsius) || celsius > 1000)
            return;
        reading.celsius = (int)celsius;
    }
    if (reading.celsius >= -60 && reading.celsius <= 200)
        GPU_SET(gpu, TEMPERATURE_C, temperature_c, reading.celsius);
}

static void read_power(struct nvml_look *look, struct dgo_gpu *gpu)
{
    struct nvml_field_value instant = {.field_id = NVML_FIELD_POWER_INSTANT};
    unsigned milliwatts = 0;

    if (CALL(look, nvmlDeviceGetFieldValues, 1, &instant) && instant.code == NVML_SUCCESS &&
        instant.value_type == NVML_VALUE_U32)
        milliwatts = instant.value.u32;
    else if (!CALL(look, nvmlDeviceGetPowerUsage, &milliwatts))
        return;
    if (milliwatts <= 100000000)
        GPU_SET(gpu, POWER_MW, power_mw, milliwatts);
}

static void read_clocks(struct nvml_look *look, struct dgo_gpu *gpu)
{
    unsigned mhz = 0;

    if (CALL(look, nvmlDeviceGetClockInfo, NVML_CLOCK_GRAPHICS, &mhz) && mhz <= 100000)
        GPU_SET(gpu, CORE_CLOCK_MHZ, core_clock_mhz, mhz);
    if (CALL(look, nvmlDeviceGetClockInfo, NVML_CLOCK_MEMORY, &mhz) && mhz <= 100000)
        GPU_SET(gpu, MEMORY_CLOCK_MHZ, memory_clock_mhz, mhz);
}

/* A card in slices cannot be used as one GPU, whatever it has in all. */
static bool is_sliced(struct nvml_look *look)
{
    unsigned now = 0, pending = 0;

    return CALL(look, nvmlDeviceGetMigMode, &now, &pending) && now == 1;
}

void nvml_read_now(struct nvml_look *look, const struct nvml_card *card, const char *root,
                   struct dgo_gpu *gpu)
{
    if (is_sliced(look))
        dgo_text_copy(gpu->problem, sizeof gpu->problem,
                      "MIG is on: it is divided into slices and cannot be used as one GPU; "
                      "'sudo nvidia-smi -mig 0' turns it off");
    else
        read_memory(look, card, root, gpu);
    if (look->gone || look->lost)
        return;
    read_utilization(look, gpu);
    read_temperature(look, gpu);
    read_power(look, gpu);
    read_clocks(look, gpu);
    read_all(look, readings_now, sizeof readings_now / sizeof readings_now[0], gpu);
}
