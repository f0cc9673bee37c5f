/* nvml_readings.c - what an NVIDIA card tells beside memory and processes, by tier: many fields in
 * one call where the driver has that, and nothing that blocks. */
#include "nvml.h"

#include "dgo_units.h"

#include <math.h>
#include <string.h>

static void forget(struct dgo_gpu *gpu, enum dgo_gpu_field field)
{
    gpu->known &= ~(UINT64_C(1) << field);
}

/* ---- readings that are one call giving one unsigned number --------------------------------- */

struct reading {
    const char *name; /* of the function */
    size_t call_at;   /* in struct nvml_api */
    size_t value_at;  /* in struct dgo_gpu */
    enum dgo_gpu_field field;
    uint32_t least, most; /* outside it is no reading */
    uint32_t scale;
};
#define READING(name, ID, member, least, most, scale)                                              \
    {                                                                                              \
#name, offsetof(struct nvml_api, name), offsetof(struct dgo_gpu, member), DGO_GPU_##ID,    \
            least, most, scale                                                                     \
    }

static const struct reading unchanging[] = {
    READING(nvmlDeviceGetNumGpuCores, CORE_COUNT, core_count, 1, 10000000, 1),
    READING(nvmlDeviceGetMemoryBusWidth, MEMORY_BUS_BITS, memory_bus_bits, 16, 65536, 1),
    READING(nvmlDeviceGetMaxPcieLinkGeneration, PCIE_GEN_MAX, pcie_gen_max, 1, 16, 1),
    READING(nvmlDeviceGetMaxPcieLinkWidth, PCIE_WIDTH_MAX, pcie_width_max, 1, 32, 1),
};
static const struct reading fast[] = {
    READING(nvmlDeviceGetPerformanceState, PERFORMANCE_STATE, performance_state, 0, 15, 1),
};
/* A fan's speed is the intended one and may be above 100 %. */
static const struct reading slow[] = {
    READING(nvmlDeviceGetEnforcedPowerLimit, POWER_LIMIT_MW, power_limit_mw, 1, 100000000, 1),
    READING(nvmlDeviceGetCurrPcieLinkGeneration, PCIE_GEN, pcie_gen, 1, 16, 1),
    READING(nvmlDeviceGetCurrPcieLinkWidth, PCIE_WIDTH, pcie_width, 1, 32, 1),
    READING(nvmlDeviceGetFanSpeed, FAN_PERMILLE, fan_permille, 0, 1000, 10),
    READING(nvmlDeviceGetDisplayActive, DISPLAY_ACTIVE, display_active, 0, 1, 1),
};

typedef int (*u32_call)(struct nvml_device *device, unsigned *value);

static void read_all(struct nvml_look *look, const struct reading *readings, size_t count,
                     struct dgo_gpu *gpu)
{
    for (size_t i = 0; i < count; i++) {
        const struct reading *reading = &readings[i];
        unsigned value = 0;
        u32_call call;

        forget(gpu, reading->field);
        memcpy(&call, (const char *)look->api + reading->call_at, sizeof call);
        if (!nvml_wanted(look, reading->call_at) ||
            !nvml_answered(look, reading->call_at, reading->name, call(look->device, &value)))
            continue;
        if (value < reading->least || value > reading->most)
            continue;
        value *= reading->scale;
        memcpy((char *)gpu + reading->value_at, &value, sizeof value);
        gpu->known |= UINT64_C(1) << reading->field;
    }
}
#define READ_ALL(look, rows, gpu) read_all(look, rows, sizeof(rows) / sizeof((rows)[0]), gpu)

void nvml_read_unchanging(struct nvml_look *look, struct dgo_gpu *gpu)
{
    READ_ALL(look, unchanging, gpu);
}

/* ---- fields -------------------------------------------------------------------------------- */

static bool field_value(const struct nvml_field_value *field, uint64_t *value)
{
    if (field->code != NVML_SUCCESS)
        return false;
    switch (field->value_type) {
    case NVML_VALUE_U32:
        *value = field->value.u32;
        return true;
    case NVML_VALUE_ULONG:
        *value = field->value.ulong;
        return true;
    case NVML_VALUE_U64:
        *value = field->value.u64;
        return true;
    case NVML_VALUE_U16:
        *value = field->value.u16;
        return true;
    case NVML_VALUE_I64:
        *value = (uint64_t)field->value.i64;
        return field->value.i64 >= 0;
    case NVML_VALUE_I32:
        *value = (uint64_t)field->value.i32;
        return field->value.i32 >= 0;
    default:
        return false;
    }
}

static unsigned field_bits(const struct nvml_field_value *field)
{
    return field->value_type == NVML_VALUE_U32 || field->value_type == NVML_VALUE_I32 ? 32 : 64;
}

/* Codes of the whole call left in each field where it fails. */
static bool ask_fields(struct nvml_look *look, struct nvml_field_value *fields, int count)
{
    if (NVML_CALL(look, nvmlDeviceGetFieldValues, count, fields))
        return true;
    for (int i = 0; i < count; i++)
        fields[i].code = NVML_NOT_SUPPORTED;
    return false;
}

/* ---- counters ------------------------------------------------------------------------------ */

bool nvml_count(struct nvml_counter *counter, uint64_t now, unsigned bits, uint64_t now_us,
                double most_per_s, double *per_s)
{
    const uint64_t elapsed_us = now_us - counter->time_us;
    const bool first = !counter->known;
    uint64_t grown = now - counter->last;
    bool wrapped = now < counter->last;

    /* Drivers give a counter of 32 bits as one of 64, too. */
    if (bits == 32 || (wrapped && counter->last <= UINT32_MAX)) {
        grown &= UINT32_MAX;
        wrapped = false;
    }
    counter->known = true;
    counter->last = now;
    counter->time_us = now_us;
    if (first || wrapped || elapsed_us == 0)
        return false; /* the first, or it began anew */
    *per_s = (double)grown * 1e6 / (double)elapsed_us;
    if (*per_s > most_per_s)
        return false; /* nothing carries so much: it began anew */
    counter->total += grown;
    return true;
}

struct counter_row {
    int counter; /* NVML_COUNTER_... */
    int field;   /* index in the batch */
    uint64_t unit_bytes;
    size_t total_at, rate_at;
    enum dgo_gpu_field total, rate;
};
#define COUNTER(counter, field, unit, TOTAL, total, RATE, rate)                                    \
    {                                                                                              \
        counter, field, unit, offsetof(struct dgo_gpu, total), offsetof(struct dgo_gpu, rate),     \
            DGO_GPU_##TOTAL, DGO_GPU_##RATE                                                        \
    }

/* The fast batch, by place. */
enum {
    FAST_POWER,
    FAST_ENERGY,
    FAST_MEMORY_TEMPERATURE,
    FAST_PCIE_TX,
    FAST_PCIE_RX,
    FAST_NVLINK_TX,
    FAST_NVLINK_RX,
    FAST_NVLINK5_TX,
    FAST_NVLINK5_RX,
    FAST_COUNT
};
static const struct nvml_field_value fast_fields[FAST_COUNT] = {
    [FAST_POWER] = {.field_id = NVML_FIELD_POWER_INSTANT},
    [FAST_ENERGY] = {.field_id = NVML_FIELD_ENERGY},
    [FAST_MEMORY_TEMPERATURE] = {.field_id = NVML_FIELD_MEMORY_TEMPERATURE},
    [FAST_PCIE_TX] = {.field_id = NVML_FIELD_PCIE_TX},
    [FAST_PCIE_RX] = {.field_id = NVML_FIELD_PCIE_RX},
    [FAST_NVLINK_TX] = {.field_id = NVML_FIELD_NVLINK_TX, .scope_id = NVML_SCOPE_ALL},
    [FAST_NVLINK_RX] = {.field_id = NVML_FIELD_NVLINK_RX, .scope_id = NVML_SCOPE_ALL},
    [FAST_NVLINK5_TX] = {.field_id = NVML_FIELD_NVLINK5_TX, .scope_id = NVML_SCOPE_ALL},
    [FAST_NVLINK5_RX] = {.field_id = NVML_FIELD_NVLINK5_RX, .scope_id = NVML_SCOPE_ALL},
};
static const struct counter_row counter_rows[] = {
    COUNTER(NVML_COUNTER_PCIE_TX, FAST_PCIE_TX, 1, PCIE_TX_BYTES, pcie_tx_bytes,
            PCIE_TX_BYTES_PER_S, pcie_tx_bytes_per_s),
    COUNTER(NVML_COUNTER_PCIE_RX, FAST_PCIE_RX, 1, PCIE_RX_BYTES, pcie_rx_bytes,
            PCIE_RX_BYTES_PER_S, pcie_rx_bytes_per_s),
    COUNTER(NVML_COUNTER_NVLINK_TX, FAST_NVLINK_TX, DGO_KIB, NVLINK_TX_BYTES, nvlink_tx_bytes,
            NVLINK_TX_BYTES_PER_S, nvlink_tx_bytes_per_s),
    COUNTER(NVML_COUNTER_NVLINK_RX, FAST_NVLINK_RX, DGO_KIB, NVLINK_RX_BYTES, nvlink_rx_bytes,
            NVLINK_RX_BYTES_PER_S, nvlink_rx_bytes_per_s),
    /* Last, so that they count where a card (NVLink 5: Blackwell on) answers both. */
    COUNTER(NVML_COUNTER_NVLINK5_TX, FAST_NVLINK5_TX, 1, NVLINK_TX_BYTES, nvlink_tx_bytes,
            NVLINK_TX_BYTES_PER_S, nvlink_tx_bytes_per_s),
    COUNTER(NVML_COUNTER_NVLINK5_RX, FAST_NVLINK5_RX, 1, NVLINK_RX_BYTES, nvlink_rx_bytes,
            NVLINK_RX_BYTES_PER_S, nvlink_rx_bytes_per_s),
};

/* What the link can carry and half as much again, as its clock and ours differ. */
static double most_of(const struct counter_row *row, const struct dgo_gpu *gpu)
{
    const bool pcie = row->counter <= NVML_COUNTER_PCIE_RX;
    const double peak = gpu_pcie_bytes_per_s(gpu->pcie_gen_max, gpu->pcie_width_max);

    return pcie && peak > 0 ? 1.5 * peak : 4e12;
}

static void read_counters(struct nvml_look *look, struct nvml_card *card,
                          const struct nvml_field_value *fields, struct dgo_gpu *gpu)
{
    for (size_t i = 0; i < sizeof counter_rows / sizeof counter_rows[0]; i++) {
        forget(gpu, counter_rows[i].total);
        forget(gpu, counter_rows[i].rate);
    }
    for (size_t i = 0; i < sizeof counter_rows / sizeof counter_rows[0]; i++) {
        const struct counter_row *row = &counter_rows[i];
        const struct nvml_field_value *field = &fields[row->field];
        struct nvml_counter *counter = &card->counter[row->counter];
        uint64_t now = 0, total_bytes;
        double per_s = 0;

        if (!field_value(field, &now))
            continue;
        forget(gpu, row->rate);
        if (nvml_count(counter, now, field_bits(field), look->now_us,
                       most_of(row, gpu) / (double)row->unit_bytes, &per_s)) {
            per_s *= (double)row->unit_bytes;
            memcpy((char *)gpu + row->rate_at, &per_s, sizeof per_s);
            gpu->known |= UINT64_C(1) << row->rate;
        }
        total_bytes = counter->total * row->unit_bytes;
        memcpy((char *)gpu + row->total_at, &total_bytes, sizeof total_bytes);
        gpu->known |= UINT64_C(1) << row->total;
    }
}

/* ---- the fast tier ------------------------------------------------------------------------- */

static void read_utilization(struct nvml_look *look, struct dgo_gpu *gpu)
{
    struct nvml_utilization rates = {0};

    forget(gpu, DGO_GPU_BUSY_PERMILLE);
    forget(gpu, DGO_GPU_MEMORY_BUSY_PERMILLE);
    if (!NVML_CALL(look, nvmlDeviceGetUtilizationRates, &rates))
        return;
    if (rates.gpu <= 100)
        GPU_SET(gpu, BUSY_PERMILLE, busy_permille, rates.gpu * 10);
    if (rates.memory <= 100)
        GPU_SET(gpu, MEMORY_BUSY_PERMILLE, memory_busy_permille, rates.memory * 10);
}

static bool is_temperature(int64_t celsius)
{
    return celsius >= -60 && celsius <= 200;
}

static void read_temperature(struct nvml_look *look, struct dgo_gpu *gpu)
{
    struct nvml_temperature reading = {.version = NVML_VERSION(struct nvml_temperature, 1),
                                       .sensor = NVML_TEMPERATURE_GPU};
    unsigned celsius = 0;

    forget(gpu, DGO_GPU_TEMPERATURE_C);
    if (!NVML_CALL(look, nvmlDeviceGetTemperatureV, &reading)) {
        if (!NVML_CALL(look, nvmlDeviceGetTemperature, NVML_TEMPERATURE_GPU, &celsius) ||
            celsius > 1000)
            return;
        reading.celsius = (int)celsius;
    }
    if (is_temperature(reading.celsius))
        GPU_SET(gpu, TEMPERATURE_C, temperature_c, reading.celsius);
}

/* The averaged power takes milliseconds to ask for; it is asked where the instant one is not. */
static void read_power(struct nvml_look *look, const struct nvml_field_value *instant,
                       struct dgo_gpu *gpu)
{
    uint64_t milliwatts = 0;
    unsigned average = 0;

    forget(gpu, DGO_GPU_POWER_MW);
    if (!field_value(instant, &milliwatts)) {
        if (!NVML_CALL(look, nvmlDeviceGetPowerUsage, &average))
            return;
        milliwatts = average;
    }
    if (milliwatts <= 100000000)
        GPU_SET(gpu, POWER_MW, power_mw, (uint32_t)milliwatts);
}

static void read_clocks(struct nvml_look *look, struct dgo_gpu *gpu)
{
    unsigned mhz = 0;

    forget(gpu, DGO_GPU_CORE_CLOCK_MHZ);
    forget(gpu, DGO_GPU_MEMORY_CLOCK_MHZ);
    if (NVML_CALL(look, nvmlDeviceGetClockInfo, NVML_CLOCK_GRAPHICS, &mhz) && mhz <= 100000)
        GPU_SET(gpu, CORE_CLOCK_MHZ, core_clock_mhz, mhz);
    if (NVML_CALL(look, nvmlDeviceGetClockInfo, NVML_CLOCK_MEMORY, &mhz) && mhz <= 100000)
        GPU_SET(gpu, MEMORY_CLOCK_MHZ, memory_clock_mhz, mhz);
}

/* The driver's bits are in the order of enum dgo_throttle. */
static void read_throttle(struct nvml_look *look, const struct nvml_card *card, struct dgo_gpu *gpu)
{
    unsigned long long reasons = 0;

    forget(gpu, DGO_GPU_THROTTLE_MASK);
    if (!NVML_CALL(look, nvmlDeviceGetCurrentClocksEventReasons, &reasons) &&
        !NVML_CALL(look, nvmlDeviceGetCurrentClocksThrottleReasons, &reasons))
        return;
    GPU_SET(gpu, THROTTLE_MASK, throttle_mask,
            ((uint32_t)reasons & ((1u << DGO_THROTTLE_COUNT) - 1)) | card->throttle_recent);
}

void nvml_read_fast(struct nvml_look *look, struct nvml_card *card, struct dgo_gpu *gpu)
{
    struct nvml_field_value fields[FAST_COUNT];
    uint64_t value = 0;

    memcpy(fields, fast_fields, sizeof fields);
    (void)ask_fields(look, fields, FAST_COUNT);
    read_utilization(look, gpu);
    read_temperature(look, gpu);
    read_power(look, &fields[FAST_POWER], gpu);
    read_clocks(look, gpu);
    read_throttle(look, card, gpu);
    READ_ALL(look, fast, gpu);
    read_counters(look, card, fields, gpu);
    forget(gpu, DGO_GPU_ENERGY_MJ);
    if (field_value(&fields[FAST_ENERGY], &value))
        GPU_SET(gpu, ENERGY_MJ, energy_mj, value);
    forget(gpu, DGO_GPU_MEMORY_TEMPERATURE_C);
    if (field_value(&fields[FAST_MEMORY_TEMPERATURE], &value) && value > 0 && value <= 200)
        GPU_SET(gpu, MEMORY_TEMPERATURE_C, memory_temperature_c, (int32_t)value);
    if (card->watched) {
        GPU_SET(gpu, XID_COUNT, xid_count, card->xid_count);
        if (card->xid_count)
            GPU_SET(gpu, XID_LAST, xid_last, card->xid_last);
    }
}

/* ---- the slow tier ------------------------------------------------------------------------- */

enum {
    SLOW_REPLAYS,
    SLOW_REMAPPED_CORRECTED,
    SLOW_REMAPPED_UNCORRECTED,
    SLOW_REMAP_PENDING,
    SLOW_REMAP_FAILED,
    SLOW_RETIRED_PENDING,
    SLOW_RECOVERY,
    SLOW_THROTTLE, /* of NVML_THROTTLE_COUNT */
    SLOW_COUNT = SLOW_THROTTLE + NVML_THROTTLE_COUNT
};
static const struct nvml_field_value slow_fields[SLOW_COUNT] = {
    [SLOW_REPLAYS] = {.field_id = NVML_FIELD_PCIE_REPLAYS},
    [SLOW_REMAPPED_CORRECTED] = {.field_id = NVML_FIELD_REMAPPED_CORRECTED},
    [SLOW_REMAPPED_UNCORRECTED] = {.field_id = NVML_FIELD_REMAPPED_UNCORRECTED},
    [SLOW_REMAP_PENDING] = {.field_id = NVML_FIELD_REMAP_PENDING},
    [SLOW_REMAP_FAILED] = {.field_id = NVML_FIELD_REMAP_FAILED},
    [SLOW_RETIRED_PENDING] = {.field_id = NVML_FIELD_RETIRED_PENDING},
    [SLOW_RECOVERY] = {.field_id = NVML_FIELD_RECOVERY_ACTION},
    [SLOW_THROTTLE + 0] = {.field_id = NVML_FIELD_POWER_THROTTLE},
    [SLOW_THROTTLE + 1] = {.field_id = NVML_FIELD_SYNC_BOOST_THROTTLE},
    [SLOW_THROTTLE + 2] = {.field_id = NVML_FIELD_HEAT_THROTTLE},
    [SLOW_THROTTLE + 3] = {.field_id = NVML_FIELD_HARDWARE_HEAT_THROTTLE},
    [SLOW_THROTTLE + 4] = {.field_id = NVML_FIELD_POWER_BRAKE_THROTTLE},
};
static const enum dgo_throttle throttle_of[NVML_THROTTLE_COUNT] = {
    DGO_THROTTLE_POWER_CAP, DGO_THROTTLE_SYNC_BOOST, DGO_THROTTLE_HEAT, DGO_THROTTLE_HARDWARE_HEAT,
    DGO_THROTTLE_POWER_BRAKE};

/* Times that a card was slowed for.  What their unit is, drivers and tools do not agree on; that
 * one grew is enough to know of a throttling between two looks. */
static void read_throttle_times(struct nvml_card *card, const struct nvml_field_value *fields)
{
    card->throttle_recent = 0;
    for (int i = 0; i < NVML_THROTTLE_COUNT; i++) {
        uint64_t time = 0;
        const bool known = field_value(&fields[i], &time);

        if (known && card->throttle_known >> i & 1 && time > card->throttle_time[i])
            card->throttle_recent |= 1u << throttle_of[i];
        card->throttle_time[i] = time;
        card->throttle_known =
            (uint8_t)((card->throttle_known & ~(1u << i)) | (unsigned)known << i);
    }
}

static void read_ecc(struct nvml_look *look, struct dgo_gpu *gpu)
{
    unsigned long long count = 0;

    forget(gpu, DGO_GPU_ECC_CORRECTED);
    forget(gpu, DGO_GPU_ECC_UNCORRECTED);
    if (NVML_CALL(look, nvmlDeviceGetTotalEccErrors, NVML_ECC_CORRECTED, NVML_ECC_SINCE_LOADED,
                  &count))
        GPU_SET(gpu, ECC_CORRECTED, ecc_corrected, count);
    if (NVML_CALL(look, nvmlDeviceGetTotalEccErrors, NVML_ECC_UNCORRECTED, NVML_ECC_SINCE_LOADED,
                  &count))
        GPU_SET(gpu, ECC_UNCORRECTED, ecc_uncorrected, count);
}

/* Cards before Ampere retire pages where later ones remap rows; pending means the same of both. */
static void read_remap(const struct nvml_field_value *fields, struct dgo_gpu *gpu)
{
    uint64_t corrected = 0, uncorrected = 0, pending = 0, failed = 0;

    forget(gpu, DGO_GPU_REMAPPED_ROWS);
    forget(gpu, DGO_GPU_REMAP_PENDING);
    forget(gpu, DGO_GPU_REMAP_FAILED);
    if (field_value(&fields[SLOW_REMAPPED_CORRECTED], &corrected) &&
        field_value(&fields[SLOW_REMAPPED_UNCORRECTED], &uncorrected) &&
        corrected + uncorrected <= UINT32_MAX)
        GPU_SET(gpu, REMAPPED_ROWS, remapped_rows, (uint32_t)(corrected + uncorrected));
    if (field_value(&fields[SLOW_REMAP_PENDING], &pending) ||
        field_value(&fields[SLOW_RETIRED_PENDING], &pending))
        GPU_SET(gpu, REMAP_PENDING, remap_pending, pending != 0);
    if (field_value(&fields[SLOW_REMAP_FAILED], &failed))
        GPU_SET(gpu, REMAP_FAILED, remap_failed, failed != 0);
}

static void read_window(struct nvml_look *look, struct dgo_gpu *gpu)
{
    struct nvml_memory window = {0};

    forget(gpu, DGO_GPU_BAR1_TOTAL_BYTES);
    forget(gpu, DGO_GPU_BAR1_USED_BYTES);
    if (!NVML_CALL(look, nvmlDeviceGetBAR1MemoryInfo, &window) || window.used > window.total ||
        window.total > 64 * DGO_TIB)
        return;
    GPU_SET(gpu, BAR1_TOTAL_BYTES, bar1_total_bytes, window.total);
    GPU_SET(gpu, BAR1_USED_BYTES, bar1_used_bytes, window.used);
}

static void read_codecs(struct nvml_look *look, struct dgo_gpu *gpu)
{
    unsigned percent = 0, period_us = 0;

    forget(gpu, DGO_GPU_ENCODER_BUSY_PERMILLE);
    forget(gpu, DGO_GPU_DECODER_BUSY_PERMILLE);
    if (NVML_CALL(look, nvmlDeviceGetEncoderUtilization, &percent, &period_us) && percent <= 100)
        GPU_SET(gpu, ENCODER_BUSY_PERMILLE, encoder_busy_permille, percent * 10);
    if (NVML_CALL(look, nvmlDeviceGetDecoderUtilization, &percent, &period_us) && percent <= 100)
        GPU_SET(gpu, DECODER_BUSY_PERMILLE, decoder_busy_permille, percent * 10);
}

void nvml_read_slow(struct nvml_look *look, struct nvml_card *card, struct dgo_gpu *gpu)
{
    struct nvml_field_value fields[SLOW_COUNT];
    uint64_t value = 0;
    unsigned replays = 0;

    memcpy(fields, slow_fields, sizeof fields);
    (void)ask_fields(look, fields, SLOW_COUNT);
    READ_ALL(look, slow, gpu);
    read_ecc(look, gpu);
    read_remap(fields, gpu);
    read_window(look, gpu);
    read_codecs(look, gpu);
    read_throttle_times(card, fields + SLOW_THROTTLE);
    forget(gpu, DGO_GPU_PCIE_REPLAYS);
    if (field_value(&fields[SLOW_REPLAYS], &value))
        GPU_SET(gpu, PCIE_REPLAYS, pcie_replays, value);
    else if (NVML_CALL(look, nvmlDeviceGetPcieReplayCounter, &replays))
        GPU_SET(gpu, PCIE_REPLAYS, pcie_replays, replays);
    forget(gpu, DGO_GPU_RECOVERY_ACTION);
    if (field_value(&fields[SLOW_RECOVERY], &value) && value <= 16)
        GPU_SET(gpu, RECOVERY_ACTION, recovery_action, (uint32_t)value);
}

/* ---- the rare tier ------------------------------------------------------------------------- */

void nvml_read_rare(struct nvml_look *look, struct dgo_gpu *gpu)
{
    unsigned celsius = 0;

    forget(gpu, DGO_GPU_SLOWDOWN_TEMPERATURE_C);
    if (NVML_CALL(look, nvmlDeviceGetTemperatureThreshold, NVML_TEMPERATURE_SLOWDOWN, &celsius) &&
        celsius > 0 && celsius <= 200)
        GPU_SET(gpu, SLOWDOWN_TEMPERATURE_C, slowdown_temperature_c, (int32_t)celsius);
}
