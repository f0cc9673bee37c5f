/* fake_nvml.c - a libnvidia-ml.so.1 of our own, which pretends the cards that a file describes.
 *
 * Use:  DUALGPUOPT_NVML=<build>/tests/gpu/libnvidia-ml.so.1 DUALGPUOPT_FAKE_NVML=scenario.txt
 * PROGRAM
 *
 * The scenario is read again whenever the file changes (replace it by rename), so cards can be lost
 * and drivers can vanish while the program runs.  No file: the driver is not loaded (code 9).
 * One statement a line, '#' starts a comment line.  First what holds for all:
 *
 *   driver 550.54.14                   its version
 *   fail nvmlInit_v2 18                a function's return code (fail in a card: for that card)
 *   missing nvmlDeviceGetMemoryInfo_v2 the library has no such function
 *   stride 24                          bytes of an entry in the _v3 process lists: 16, 24, 32
 *   written 16                         of those, how many are really written
 *   backend_processes                  lists who holds memory of the pretend backend, as compute
 *   hide 2                             processes that the call for the list's size does not count
 *   delay nvmlDeviceGetPowerUsage 50   milliseconds that a function takes
 *   trace calls.txt                    appends "find NAME" and "call NAME" for each
 *   topology 0 1 30                    nearest common ancestor of two cards (10 PIX ... 50 SYS)
 *   p2p 0 1 0 0                        capability (0 read, 1 write, 2 nvlink) and status (0 OK)
 *   nvlink 0 1 4                       active links between two cards; 0 31 18: to a switch
 *
 * (the three of pairs and `missing` may stand anywhere), then each card in bus order:
 *
 *   card NVIDIA GeForce RTX 3090
 *     uuid GPU-...                     defaults are made up from the card's number
 *     pci 00000000:01:00.0
 *     memory 24576 450 1000            MiB: total, reserved, used; the rest is free
 *     memory_bytes 1 2 3 4             total, reserved, free, used, however wrong
 *     compute 8.6
 *     busy 40, memory_busy 20 (percent), temperature 55, power 120000, power_instant 121000,
 *     power_limit 350000, core_clock 1800, memory_clock 9501, memory_clock_max 9751, pcie_gen 1,
 *     pcie_width 16, pcie_gen_max 4, pcie_width_max 16, cores 10496, bus_bits 384, mig 1,
 *     nvlink_speed 14062 (MB/s), throttle 4 (bits), pstate 2, slowdown 93, fan 40 (percent),
 *     encoder 10, decoder 5 (percent), ecc_corrected 3, ecc_uncorrected 0, bar1_total 256,
 *     bar1_used 5 (MiB), replays 7, display 1
 *                                      one a line; a reading that is not here is not supported
 *     field 197 4294967290 u32         a field by number, its value and type (u64 if not said)
 *     sample 1234 80 1000000           a process kept it busy: pid, percent, microseconds
 *     slice 1g.10gb 9728 100           a MIG slice (with mig 1): MiB in all, used; none: no slice
 *     xid 79                           an error, reported once for each line
 *     process compute 1234 512         compute, graphics or mps; a pid or `self`; MiB or `unknown`
 *     lost                             every call answers 15
 *
 * With PRETEND_GPU_USAGE=file (the books of tools/pretend-gpu/usage.h) what living processes hold
 * of the pretend backend is used too, and missing from free. For one thread at a time. */
#include "fake_scenario.h"
#include "nvml_abi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Each function is an "indirect function": looking it up runs find_NAME, which may answer NULL.
 * So one library can miss any function, as old and new drivers do. */
static bool is_missing(const char *name);

#define DECLARE(type, name, arguments)                                                             \
    static type fake_##name arguments;                                                             \
    __attribute__((used)) static __typeof__(&fake_##name) find_##name(void)                        \
    {                                                                                              \
        return is_missing(#name) ? NULL : fake_##name;                                             \
    }                                                                                              \
    type name arguments __attribute__((ifunc("find_" #name), visibility("default")))

#define REQUIRED(type, name, arguments) DECLARE(type, name, arguments);
#define OPTIONAL(name, arguments)       DECLARE(int, name, arguments);
#include "nvml_symbols.def"
DECLARE(int, nvmlDeviceGetPcieThroughput,
        (struct nvml_device * device, int counter, unsigned *value));

static unsigned init_count;
static uintptr_t generation; /* of handles: those from before a shutdown are not good any more */

static void trace(const struct fake_scenario *s, const char *what, const char *name)
{
    FILE *file = s->trace[0] != '\0' ? fopen(s->trace, "ae") : NULL;

    if (!file)
        return;
    fprintf(file, "%s %s\n", what, name);
    fclose(file);
}

static bool is_missing(const char *name)
{
    const struct fake_scenario *s = fake_scenario();

    trace(s, "find", name);
    return fake_find(&s->missing, name) != NULL;
}

/* ---- what every call does first ------------------------------------------------------------ */

static struct nvml_device *handle_of(uint32_t index)
{
    return (struct nvml_device *)(generation << 16 | (index + 1));
}

static struct nvml_device *slice_handle_of(const struct nvml_device *device, uint32_t slice)
{
    return (struct nvml_device *)((uintptr_t)device | (uintptr_t)(slice + 1) << 8);
}

/* NULL for the card itself. */
static const struct fake_slice *slice_of(const struct fake_card *card,
                                         const struct nvml_device *device)
{
    const uint32_t number = (uint32_t)((uintptr_t)device >> 8 & 0xff);

    return number ? &card->slice[number - 1] : NULL;
}

static uint32_t index_of(const struct nvml_device *device)
{
    return (uint32_t)((uintptr_t)device & 0xff) - 1;
}

static int begin(const struct fake_scenario *s, const char *name)
{
    const struct fake_rule *delay = fake_find(&s->delay, name);
    const struct fake_rule *fail = fake_find(&s->fail, name);

    trace(s, "call", name);
    if (delay) {
        const struct timespec time = {.tv_sec = delay->number / 1000,
                                      .tv_nsec = delay->number % 1000 * 1000000L};

        nanosleep(&time, NULL);
    }
    if (!s->loaded)
        return NVML_DRIVER_NOT_LOADED;
    return fail ? fail->number : NVML_SUCCESS;
}

static int begin_card(const char *name, const struct nvml_device *device,
                      const struct fake_card **card)
{
    const struct fake_scenario *s = fake_scenario();
    const uint32_t index = index_of(device);
    const struct fake_rule *fail;
    int code;

    if (init_count == 0)
        return NVML_UNINITIALIZED;
    code = begin(s, name);
    if (code != NVML_SUCCESS)
        return code;
    if ((uintptr_t)device >> 16 != generation || index >= s->card_count)
        return 2; /* invalid argument */
    *card = &s->card[index];
    if ((*card)->lost)
        return NVML_GPU_IS_LOST;
    fail = fake_find(&(*card)->fail, name);
    return fail ? fail->number : NVML_SUCCESS;
}

#define BEGIN(device)                                                                              \
    const struct fake_card *card = NULL;                                                           \
    const int code = begin_card(__func__ + strlen("fake_"), device, &card);                        \
                                                                                                   \
    if (code != NVML_SUCCESS)                                                                      \
    return code

static int give(const struct fake_card *card, const char *key, unsigned *value)
{
    const struct fake_rule *rule = fake_find(&card->value, key);

    if (!rule)
        return NVML_NOT_SUPPORTED;
    *value = (unsigned)rule->number;
    return NVML_SUCCESS;
}

static int give_text(const char *text, char *to, unsigned size)
{
    if (strlen(text) >= size)
        return NVML_INSUFFICIENT_SIZE;
    memcpy(to, text, strlen(text) + 1);
    return NVML_SUCCESS;
}

/* ---- the library --------------------------------------------------------------------------- */

static int fake_nvmlInit_v2(void)
{
    const int code = begin(fake_scenario(), "nvmlInit_v2");
    struct timespec now = {0};

    if (code != NVML_SUCCESS)
        return code;
    if (init_count++ == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        generation = ((uintptr_t)now.tv_nsec & 0xffffff) + 1;
    }
    return NVML_SUCCESS;
}

static int fake_nvmlShutdown(void)
{
    trace(fake_scenario(), "call", "nvmlShutdown");
    if (init_count == 0)
        return NVML_UNINITIALIZED;
    init_count--;
    return NVML_SUCCESS;
}

static const char *fake_nvmlErrorString(int code)
{
    return code == NVML_UNKNOWN ? "Unknown Error" : "Some Error";
}

static int fake_nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    const struct fake_scenario *s = fake_scenario();
    const int code = begin(s, "nvmlSystemGetDriverVersion");

    return code == NVML_SUCCESS ? give_text(s->driver, text, size) : code;
}

static int fake_nvmlDeviceGetCount_v2(unsigned *count)
{
    const struct fake_scenario *s = fake_scenario();
    const int code = begin(s, "nvmlDeviceGetCount_v2");

    if (init_count == 0)
        return NVML_UNINITIALIZED;
    if (code == NVML_SUCCESS)
        *count = s->card_count;
    return code;
}

static int fake_nvmlDeviceGetHandleByIndex_v2(unsigned index, struct nvml_device **device)
{
    struct nvml_device *handle = handle_of(index);

    BEGIN(handle);
    *device = handle;
    return NVML_SUCCESS;
}

/* ---- what does not change ------------------------------------------------------------------ */

static int fake_nvmlDeviceGetName(struct nvml_device *device, char *text, unsigned size)
{
    BEGIN(device);
    return give_text(slice_of(card, device) ? slice_of(card, device)->name : card->name, text,
                     size);
}

static int fake_nvmlDeviceGetUUID(struct nvml_device *device, char *text, unsigned size)
{
    BEGIN(device);
    return give_text(slice_of(card, device) ? slice_of(card, device)->uuid : card->uuid, text,
                     size);
}

static void fill_pci(const struct fake_card *card, struct nvml_pci *pci)
{
    memset(pci, 0, sizeof *pci);
    memcpy(pci->bus_id, card->pci, sizeof pci->bus_id);
    (void)sscanf(card->pci, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
}

static int fake_nvmlDeviceGetPciInfo_v3(struct nvml_device *device, struct nvml_pci *pci)
{
    BEGIN(device);
    fill_pci(card, pci);
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceGetCudaComputeCapability(struct nvml_device *device, int *major,
                                                   int *minor)
{
    BEGIN(device);
    if (card->compute_major == 0)
        return NVML_NOT_SUPPORTED;
    *major = card->compute_major;
    *minor = card->compute_minor;
    return NVML_SUCCESS;
}

#define GIVES(name, key)                                                                           \
    static int fake_##name(struct nvml_device *device, unsigned *value)                            \
    {                                                                                              \
        BEGIN(device);                                                                             \
        return give(card, key, value);                                                             \
    }

GIVES(nvmlDeviceGetNumGpuCores, "cores")
GIVES(nvmlDeviceGetMemoryBusWidth, "bus_bits")
GIVES(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_gen_max")
GIVES(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
GIVES(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_gen")
GIVES(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
GIVES(nvmlDeviceGetPowerUsage, "power")
GIVES(nvmlDeviceGetEnforcedPowerLimit, "power_limit")

static int fake_nvmlDeviceGetMaxClockInfo(struct nvml_device *device, int clock, unsigned *mhz)
{
    BEGIN(device);
    return give(card, clock == NVML_CLOCK_MEMORY ? "memory_clock_max" : "core_clock_max", mhz);
}

static int fake_nvmlDeviceGetMigMode(struct nvml_device *device, unsigned *now, unsigned *pending)
{
    BEGIN(device);
    *pending = 0;
    return give(card, "mig", now);
}

/* ---- readings ------------------------------------------------------------------------------ */

static uint64_t backend_bytes(const struct nvml_device *device)
{
    return fake_backend_bytes(index_of(device));
}

static int fake_nvmlDeviceGetMemoryInfo_v2(struct nvml_device *device,
                                           struct nvml_memory_v2 *memory)
{
    BEGIN(device);
    const uint64_t held = backend_bytes(device);

    if (memory->version != 0x02000028)
        return 25; /* argument version mismatch */
    if (slice_of(card, device)) {
        memory->total = slice_of(card, device)->total;
        memory->reserved = 0;
        memory->used = slice_of(card, device)->used;
        memory->free = memory->total - memory->used;
        return NVML_SUCCESS;
    }
    memory->total = card->total;
    memory->reserved = card->reserved;
    memory->free = card->free - (held < card->free ? held : card->free);
    memory->used = card->used + held;
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceGetMemoryInfo(struct nvml_device *device, struct nvml_memory *memory)
{
    BEGIN(device);
    const uint64_t held = backend_bytes(device);

    memory->total = card->total;
    memory->free = card->free - (held < card->free ? held : card->free);
    memory->used = card->used + card->reserved + held;
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceGetUtilizationRates(struct nvml_device *device,
                                              struct nvml_utilization *rates)
{
    BEGIN(device);
    rates->memory = 0;
    (void)give(card, "memory_busy", &rates->memory);
    return give(card, "busy", &rates->gpu);
}

static int fake_nvmlDeviceGetTemperatureV(struct nvml_device *device,
                                          struct nvml_temperature *reading)
{
    BEGIN(device);
    return reading->version == 0x0100000c ? give(card, "temperature", (unsigned *)&reading->celsius)
                                          : 25;
}

static int fake_nvmlDeviceGetTemperature(struct nvml_device *device, int sensor, unsigned *celsius)
{
    BEGIN(device);
    return sensor == NVML_TEMPERATURE_GPU ? give(card, "temperature", celsius) : 2;
}

static int fake_nvmlDeviceGetClockInfo(struct nvml_device *device, int clock, unsigned *mhz)
{
    BEGIN(device);
    return give(card, clock == NVML_CLOCK_MEMORY ? "memory_clock" : "core_clock", mhz);
}

/* Counters of NVLink 5 are told of all links together only. */
static bool wants_all_links(unsigned field_id)
{
    return field_id >= 201 && field_id <= 204;
}

static void give_field(const struct fake_card *card, struct nvml_field_value *value)
{
    for (uint32_t i = 0; i < card->field_count; i++) {
        if (card->field[i].id != value->field_id)
            continue;
        if (wants_all_links(value->field_id) && value->scope_id != NVML_SCOPE_ALL)
            continue;
        value->value_type = card->field[i].type;
        value->value.u64 = card->field[i].value;
        if (card->field[i].type == NVML_VALUE_F64)
            value->value.f64 = (double)card->field[i].value;
        value->code = NVML_SUCCESS;
    }
}

static int fake_nvmlDeviceGetFieldValues(struct nvml_device *device, int count,
                                         struct nvml_field_value *values)
{
    BEGIN(device);
    for (int i = 0; i < count; i++) {
        const char *key = values[i].field_id == NVML_FIELD_POWER_INSTANT  ? "power_instant"
                          : values[i].field_id == NVML_FIELD_NVLINK_SPEED ? "nvlink_speed"
                                                                          : "";

        values[i].value_type = NVML_VALUE_U32;
        values[i].code = give(card, key, &values[i].value.u32);
        give_field(card, &values[i]);
    }
    return NVML_SUCCESS;
}

GIVES(nvmlDeviceGetPerformanceState, "pstate")
GIVES(nvmlDeviceGetFanSpeed, "fan")
GIVES(nvmlDeviceGetPcieReplayCounter, "replays")
GIVES(nvmlDeviceGetDisplayActive, "display")

static int fake_nvmlDeviceGetCurrentClocksEventReasons(struct nvml_device *device,
                                                       unsigned long long *reasons)
{
    BEGIN(device);
    unsigned bits = 0;
    const int given = give(card, "throttle", &bits);

    *reasons = bits;
    return given;
}

static int fake_nvmlDeviceGetCurrentClocksThrottleReasons(struct nvml_device *device,
                                                          unsigned long long *reasons)
{
    BEGIN(device);
    unsigned bits = 0;
    const int given = give(card, "throttle", &bits);

    *reasons = bits;
    return given;
}

static int fake_nvmlDeviceGetTemperatureThreshold(struct nvml_device *device, int threshold,
                                                  unsigned *celsius)
{
    BEGIN(device);
    return threshold == 1 ? give(card, "slowdown", celsius) : NVML_NOT_SUPPORTED;
}

static int fake_nvmlDeviceGetEncoderUtilization(struct nvml_device *device, unsigned *percent,
                                                unsigned *period_us)
{
    BEGIN(device);
    *period_us = 167000;
    return give(card, "encoder", percent);
}

static int fake_nvmlDeviceGetDecoderUtilization(struct nvml_device *device, unsigned *percent,
                                                unsigned *period_us)
{
    BEGIN(device);
    *period_us = 167000;
    return give(card, "decoder", percent);
}

static int fake_nvmlDeviceGetTotalEccErrors(struct nvml_device *device, int type, int counter,
                                            unsigned long long *count)
{
    BEGIN(device);
    unsigned errors = 0;
    const int given = give(card, type == 0 ? "ecc_corrected" : "ecc_uncorrected", &errors);

    *count = errors;
    return counter == 0 ? given : 2;
}

static int fake_nvmlDeviceGetBAR1MemoryInfo(struct nvml_device *device, struct nvml_memory *memory)
{
    BEGIN(device);
    unsigned total = 0, used = 0;

    if (give(card, "bar1_total", &total) != NVML_SUCCESS)
        return NVML_NOT_SUPPORTED;
    (void)give(card, "bar1_used", &used);
    memory->total = (unsigned long long)total << 20;
    memory->used = (unsigned long long)used << 20;
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceGetPcieThroughput(struct nvml_device *device, int counter,
                                            unsigned *value)
{
    BEGIN(device);
    (void)counter;
    *value = 0;
    return NVML_SUCCESS;
}

/* ---- processes ----------------------------------------------------------------------------- */

static uint32_t count_of(const struct fake_card *card, enum fake_list list)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < card->process_count; i++)
        count += card->process[i].list == list;
    return count;
}

/* One entry as the driver writes it; returns where the next one goes. */
static unsigned char *put_entry(unsigned char *to, unsigned stride, unsigned written, uint32_t pid,
                                uint64_t used)
{
    unsigned char entry[NVML_PROCESS_STRIDE_MAX] = {0};

    memcpy(entry + NVML_PROCESS_PID_AT, &pid, sizeof pid);
    memcpy(entry + NVML_PROCESS_USED_AT, &used, sizeof used);
    memset(entry + 16, 0xff, 8); /* no slice */
    memcpy(to, entry, written);
    return to + stride;
}

static int give_list(const struct fake_card *card, enum fake_list list, unsigned stride,
                     unsigned *count, void *entries)
{
    const struct fake_scenario *s = fake_scenario();
    struct pretend_use use[PRETEND_PROCESSES_MAX];
    const uint32_t uses = s->backend_processes && list == FAKE_COMPUTE
                              ? fake_backend_uses((uint32_t)(card - s->card), use)
                              : 0;
    const uint32_t have = count_of(card, list) + uses;
    const unsigned written = s->written < stride ? s->written : stride;
    unsigned char *to = entries;

    if (!entries || *count < have) {
        const bool hides = !entries && s->hide < have;

        *count = hides ? have - s->hide : have;
        return have ? NVML_INSUFFICIENT_SIZE : NVML_SUCCESS;
    }
    *count = have;
    for (uint32_t i = 0; i < card->process_count; i++)
        if (card->process[i].list == list)
            to = put_entry(to, stride, written, card->process[i].pid, card->process[i].used);
    for (uint32_t i = 0; i < uses; i++)
        to = put_entry(to, stride, written, (uint32_t)use[i].pid, use[i].bytes);
    return NVML_SUCCESS;
}

#define LISTS(kind, list)                                                                          \
    static int fake_nvmlDeviceGet##kind##RunningProcesses_v3(struct nvml_device *device,           \
                                                             unsigned *count, void *entries)       \
    {                                                                                              \
        BEGIN(device);                                                                             \
        return give_list(card, list, fake_scenario()->stride, count, entries);                     \
    }                                                                                              \
    static int fake_nvmlDeviceGet##kind##RunningProcesses_v2(struct nvml_device *device,           \
                                                             unsigned *count, void *entries)       \
    {                                                                                              \
        BEGIN(device);                                                                             \
        return give_list(card, list, 24, count, entries);                                          \
    }                                                                                              \
    static int fake_nvmlDeviceGet##kind##RunningProcesses(struct nvml_device *device,              \
                                                          unsigned *count, void *entries)          \
    {                                                                                              \
        BEGIN(device);                                                                             \
        return give_list(card, list, 16, count, entries);                                          \
    }

LISTS(Compute, FAKE_COMPUTE)
LISTS(Graphics, FAKE_GRAPHICS)
LISTS(MPSCompute, FAKE_MPS)

static int fake_nvmlDeviceGetProcessUtilization(struct nvml_device *device,
                                                struct nvml_process_sample *samples,
                                                unsigned *count, unsigned long long last_us)
{
    BEGIN(device);
    unsigned have = 0;

    (void)last_us; /* some drivers give old ones, too */
    for (uint32_t i = 0; i < card->sample_count && have < *count; i++)
        samples[have++] = (struct nvml_process_sample){.pid = card->sample[i].pid,
                                                       .time_us = card->sample[i].time_us,
                                                       .sm = card->sample[i].sm};
    *count = have;
    return have ? NVML_SUCCESS : NVML_NOT_FOUND;
}

/* ---- slices -------------------------------------------------------------------------------- */

static int fake_nvmlDeviceGetMaxMigDeviceCount(struct nvml_device *device, unsigned *value)
{
    BEGIN(device);
    *value = card->slice_count;
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceGetMigDeviceHandleByIndex(struct nvml_device *device, unsigned index,
                                                    struct nvml_device **slice)
{
    BEGIN(device);
    if (index >= card->slice_count || card->slice[index].empty)
        return NVML_NOT_FOUND;
    *slice = slice_handle_of(device, index);
    return NVML_SUCCESS;
}

/* ---- events -------------------------------------------------------------------------------- */

/* How many of each card's errors were reported, and whether they are asked for. */
static struct nvml_events {
    bool open, registered[FAKE_CARD_MAX];
    uint32_t told[FAKE_CARD_MAX];
} events;

static int fake_nvmlDeviceGetSupportedEventTypes(struct nvml_device *device,
                                                 unsigned long long *types)
{
    BEGIN(device);
    *types = NVML_EVENT_XID | 0x4;
    return NVML_SUCCESS;
}

static int fake_nvmlEventSetCreate(struct nvml_events **set)
{
    const int code = begin(fake_scenario(), "nvmlEventSetCreate");

    if (code != NVML_SUCCESS)
        return code;
    memset(&events, 0, sizeof events);
    events.open = true;
    *set = &events;
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceRegisterEvents(struct nvml_device *device, unsigned long long types,
                                         struct nvml_events *set)
{
    BEGIN(device);
    if (!set->open || types != NVML_EVENT_XID)
        return 2;
    set->registered[index_of(device)] = true;
    return NVML_SUCCESS;
}

static int fake_nvmlEventSetWait_v2(struct nvml_events *set, struct nvml_event *event,
                                    unsigned timeout_ms)
{
    const struct fake_scenario *s = fake_scenario();
    const int code = begin(s, "nvmlEventSetWait_v2");

    if (code != NVML_SUCCESS)
        return code;
    if (!set->open || timeout_ms != 0)
        return 2; /* nobody here waits */
    for (uint32_t i = 0; i < s->card_count; i++) {
        if (!set->registered[i] || set->told[i] >= s->card[i].xid_count)
            continue;
        *event = (struct nvml_event){
            .device = handle_of(i), .type = NVML_EVENT_XID, .data = s->card[i].xid[set->told[i]++]};
        return NVML_SUCCESS;
    }
    return NVML_TIMEOUT;
}

static int fake_nvmlEventSetFree(struct nvml_events *set)
{
    trace(fake_scenario(), "call", "nvmlEventSetFree");
    set->open = false;
    return NVML_SUCCESS;
}

/* ---- pairs --------------------------------------------------------------------------------- */

static int fake_nvmlDeviceGetTopologyCommonAncestor(struct nvml_device *one,
                                                    struct nvml_device *other, int *level)
{
    BEGIN(one);
    const struct fake_pair *pair = &fake_scenario()->pair[index_of(one)][index_of(other) & 31];

    if (!pair->has_topology)
        return NVML_NOT_SUPPORTED;
    *level = pair->topology;
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceGetP2PStatus(struct nvml_device *one, struct nvml_device *other,
                                       int capability, int *status)
{
    BEGIN(one);
    const struct fake_pair *pair = &fake_scenario()->pair[index_of(one)][index_of(other) & 31];

    if (capability < 0 || capability > 4 || !pair->has_p2p[capability])
        return NVML_NOT_SUPPORTED;
    *status = pair->p2p[capability];
    return NVML_SUCCESS;
}

/* Links are numbered in the order of the cards at their other ends; a number past the last card
 * stands for a switch. */
static const struct fake_card *other_end(uint32_t index, unsigned link)
{
    const struct fake_scenario *s = fake_scenario();

    for (uint32_t other = 0; other < FAKE_CARD_MAX; other++) {
        const unsigned links = s->pair[index][other].nvlinks;

        if (link < links)
            return &s->card[other];
        link -= links;
    }
    return NULL;
}

static int fake_nvmlDeviceGetNvLinkState(struct nvml_device *device, unsigned link, int *active)
{
    BEGIN(device);
    if (!other_end(index_of(device), 0))
        return NVML_NOT_SUPPORTED;
    *active = other_end(index_of(device), link) != NULL;
    return NVML_SUCCESS;
}

static int fake_nvmlDeviceGetNvLinkRemotePciInfo_v2(struct nvml_device *device, unsigned link,
                                                    struct nvml_pci *pci)
{
    BEGIN(device);
    const struct fake_card *other = other_end(index_of(device), link);

    if (!other)
        return NVML_NOT_SUPPORTED;
    fill_pci(other, pci);
    return NVML_SUCCESS;
}
