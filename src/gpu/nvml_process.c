/* nvml_process.c - who uses a card: three lists whose entries changed size without a new name. */
#include "nvml.h"

#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES_MAX = 4096, /* of one list */
    FILL = 0xa5,
    PID_MAX = 1 << 22, /* the kernel's own limit */
};

/* One list of the driver.  `count` entries of unknown size lie in `bytes`. */
struct list {
    unsigned char *bytes;
    size_t size;
    uint32_t count;
};

typedef int (*list_call)(struct nvml_device *device, unsigned *count, void *entries);

static uint32_t load_u32(const unsigned char *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint64_t load_u64(const unsigned char *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, sizeof value);
    return value;
}

/* Asks for the size, then for the list, again when it grew in between. */
static int ask(struct nvml_look *look, list_call call, struct list *list)
{
    unsigned count = 0;
    int code = call(look->device, &count, NULL);

    if (code == NVML_SUCCESS && count == 0)
        return code;
    for (int attempt = 0; attempt < 6; attempt++) {
        if ((code != NVML_SUCCESS && code != NVML_INSUFFICIENT_SIZE) || count > ENTRIES_MAX)
            break;

        const unsigned room = count * 2 + 5;

        free(list->bytes);
        list->size = (size_t)room * NVML_PROCESS_STRIDE_MAX;
        list->bytes = malloc(list->size);
        if (!list->bytes)
            return NVML_UNKNOWN;
        memset(list->bytes, FILL, list->size);
        count = room;
        code = call(look->device, &count, list->bytes);
        if (code == NVML_SUCCESS && count <= room) {
            list->count = count;
            return code;
        }
    }
    return code == NVML_SUCCESS || code == NVML_INSUFFICIENT_SIZE ? NVML_UNKNOWN : code;
}

/* Could these be `count` entries of `stride` bytes? */
static bool plausible(const struct list *list, size_t stride, uint64_t total_bytes)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const unsigned char *entry = list->bytes + i * stride;
        const uint32_t pid = load_u32(entry + NVML_PROCESS_PID_AT);
        const uint64_t used = load_u64(entry + NVML_PROCESS_USED_AT);

        if (pid == 0 || pid > PID_MAX)
            return false;
        if (used != UINT64_MAX && total_bytes > 0 && used > total_bytes)
            return false;
    }
    return true;
}

/* The entry is 16, 24 or 32 bytes long, by driver version and not by function name.  The buffer was
 * filled before the call, so the last byte that changed tells the size; where it does not (an entry
 * written in part, or more than asked for), entries that make sense do.  0: none does. */
static size_t find_stride(const struct list *list, uint64_t total_bytes)
{
    static const size_t strides[] = {24, 32, 16};
    size_t end = list->size;

    while (end > 0 && list->bytes[end - 1] == FILL)
        end--;
    for (size_t i = 0; i < 3; i++)
        if (list->count * strides[i] == end && plausible(list, strides[i], total_bytes))
            return strides[i];
    for (size_t i = 0; i < 3; i++)
        if (plausible(list, strides[i], total_bytes))
            return strides[i];
    /* A driver that gives a process more than the card has: believe the size, not the figure. */
    for (size_t i = 0; i < 3; i++)
        if (list->count * strides[i] == end && plausible(list, strides[i], 0))
            return strides[i];
    return 0;
}

struct found {
    struct dgo_gpu_process *process;
    uint32_t count;
};

static bool add_list(const struct list *list, size_t stride, bool compute, bool graphics,
                     uint64_t total_bytes, struct found *found)
{
    const uint32_t size = found->count + list->count;
    struct dgo_gpu_process *grown = realloc(found->process, size * sizeof *grown);

    if (!grown)
        return false;
    found->process = grown;
    for (uint32_t i = 0; i < list->count; i++) {
        const unsigned char *entry = list->bytes + i * stride;
        const uint64_t used = load_u64(entry + NVML_PROCESS_USED_AT);
        /* All ones means hidden: by WSL, by permissions.  It is never 16 EiB. */
        const bool known = used != UINT64_MAX && (total_bytes == 0 || used <= total_bytes);

        grown[found->count++] =
            (struct dgo_gpu_process){.pid = load_u32(entry + NVML_PROCESS_PID_AT),
                                     .used_known = known,
                                     .used_bytes = known ? used : 0,
                                     .compute = compute,
                                     .graphics = graphics};
    }
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct dgo_gpu_process *one = a, *other = b;

    return (one->pid > other->pid) - (one->pid < other->pid);
}

static int by_use(const void *a, const void *b)
{
    const struct dgo_gpu_process *one = a, *other = b;

    if (one->used_bytes != other->used_bytes)
        return one->used_bytes < other->used_bytes ? 1 : -1;
    return by_pid(a, b);
}

/* A process that computes and draws is in two lists with the same memory: the greater counts. */
static void merge(struct found *found)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < found->count; i++) {
        const struct dgo_gpu_process *next = &found->process[i];
        struct dgo_gpu_process *last = kept ? &found->process[kept - 1] : NULL;

        if (!last || last->pid != next->pid) {
            found->process[kept++] = *next;
            continue;
        }
        last->used_known |= next->used_known;
        last->used_bytes = dgo_max_u64(last->used_bytes, next->used_bytes);
        last->compute |= next->compute;
        last->graphics |= next->graphics;
    }
    found->count = kept;
}

static uint64_t hand_over(struct found *found, struct dgo_gpu *gpu)
{
    uint64_t sum = 0;

    if (found->count > 1)
        qsort(found->process, found->count, sizeof found->process[0], by_pid);
    merge(found);
    if (found->count > 1)
        qsort(found->process, found->count, sizeof found->process[0], by_use);
    gpu->process_sum_known = gpu->processes_known;
    for (uint32_t i = 0; i < found->count; i++) {
        sum += found->process[i].used_bytes;
        gpu->process_sum_known &= found->process[i].used_known;
    }
    gpu->process_sum_bytes = sum;
    gpu->process_count =
        found->count < DGO_GPU_PROCESS_MAX ? found->count : (uint32_t)DGO_GPU_PROCESS_MAX;
    gpu->process_more = found->count - gpu->process_count;
    for (uint32_t i = 0; i < gpu->process_count; i++)
        gpu->process[i] = found->process[i];
    return sum;
}

/* Who kept the card busy.  A driver that has no sample since the last look says so with a code of
 * its own: nobody did.  Some give samples from long before, or of more than all of the time. */
static void read_busy(struct nvml_look *look, struct nvml_card *card, struct dgo_gpu *gpu)
{
    enum { SAMPLES_MAX = 512 };
    struct nvml_process_sample *samples;
    const uint64_t last_us = card->utilization_us;
    unsigned count = SAMPLES_MAX;
    int code;

    if (!nvml_wanted(look, offsetof(struct nvml_api, nvmlDeviceGetProcessUtilization)))
        return;
    samples = calloc(SAMPLES_MAX, sizeof *samples);
    if (!samples)
        return;
    code = look->api->nvmlDeviceGetProcessUtilization(look->device, samples, &count, last_us);
    if (code == NVML_NOT_FOUND)
        count = 0;
    else if (!nvml_answered(look, offsetof(struct nvml_api, nvmlDeviceGetProcessUtilization),
                            "nvmlDeviceGetProcessUtilization", code) ||
             count > SAMPLES_MAX)
        goto out;
    for (uint32_t p = 0; p < gpu->process_count; p++) {
        struct dgo_gpu_process *process = &gpu->process[p];

        process->busy_known = true;
        for (unsigned i = 0; i < count; i++)
            if (samples[i].pid == process->pid && samples[i].time_us > last_us &&
                samples[i].sm <= 100)
                process->busy_permille =
                    (uint32_t)dgo_max_u64(process->busy_permille, samples[i].sm * 10);
    }
    for (unsigned i = 0; i < count; i++)
        card->utilization_us = dgo_max_u64(card->utilization_us, samples[i].time_us);
out:
    free(samples);
}

uint64_t nvml_read_processes(struct nvml_look *look, struct nvml_card *card, struct dgo_gpu *gpu)
{
#define NEWEST(kind)                                                                               \
    (look->api->nvmlDeviceGet##kind##RunningProcesses_v3                                           \
         ? look->api->nvmlDeviceGet##kind##RunningProcesses_v3                                     \
     : look->api->nvmlDeviceGet##kind##RunningProcesses_v2                                         \
         ? look->api->nvmlDeviceGet##kind##RunningProcesses_v2                                     \
         : look->api->nvmlDeviceGet##kind##RunningProcesses)
    const struct {
        list_call call;
        bool compute, graphics;
    } lists[] = {
        {NEWEST(Compute), true, false},
        {NEWEST(Graphics), false, true},
        {NEWEST(MPSCompute), true, false},
    };
#undef NEWEST
    const uint64_t total_bytes = dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) ? gpu->total_bytes : 0;
    struct found found = {0};
    bool garbled = false;
    uint64_t sum;

    gpu->processes_known = false;

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct list list = {0};

        if (lists[i].call && nvml_ok(look, ask(look, lists[i].call, &list))) {
            const size_t stride = list.count ? find_stride(&list, total_bytes) : 0;

            gpu->processes_known = true;
            if (list.count && (stride == 0 || !add_list(&list, stride, lists[i].compute,
                                                        lists[i].graphics, total_bytes, &found)))
                garbled = true;
        }
        free(list.bytes);
    }
    if (garbled) { /* part of the truth would name the wrong culprits */
        gpu->processes_known = false;
        found.count = 0;
    }
    sum = hand_over(&found, gpu);
    free(found.process);
    if (gpu->process_count > 0)
        read_busy(look, card, gpu);
    return sum;
}
