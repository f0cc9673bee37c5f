/* llama_cpp_books.c - the devices and buffers of a report: which device a buffer belongs to, and
 * what adds to what. */
#include "llama_cpp.h"

#include <stdlib.h>
#include <string.h>

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_host_name(const char *name)
{
    const size_t length = strlen(name);

    return starts(name, "CPU") || strcmp(name, "AMX") == 0 || strcmp(name, "BLAS") == 0 ||
           (length > 5 && strcmp(name + length - 5, "_Host") == 0);
}

/* The device of that name, added when there is room; -1 else. */
int llama_cpp_device_named(struct dgo_report *report, const char *name)
{
    enum { ROOM = sizeof report->device / sizeof report->device[0] };
    struct dgo_report_device *device;

    for (uint32_t d = 0; d < report->device_count; d++)
        if (strcmp(report->device[d].name, name) == 0)
            return (int)d;
    if (report->device_count == ROOM)
        return -1;
    device = &report->device[report->device_count];
    memset(device, 0, sizeof *device);
    dgo_text_copy_escaped(device->name, sizeof device->name, name, strlen(name));
    device->is_host = is_host_name(name);
    return (int)report->device_count++;
}

static bool is_at(const struct dgo_report_device *device, const char *endpoint)
{
    const size_t length = strlen(device->endpoint);

    return length > 0 && strncmp(endpoint, device->endpoint, length) == 0 &&
           endpoint[length] == ']';
}

static uint32_t remote_number(const char *name)
{
    return (uint32_t)strtoul(name + strlen("RPC"), NULL, 10);
}

/* Whether every number in `seen`, counted from `base`, is a device in use at that endpoint. */
static bool is_base(const struct dgo_report *report, const char *endpoint, uint32_t seen,
                    uint32_t base)
{
    for (uint32_t d = 0; d < report->device_count; d++) {
        const uint32_t number = remote_number(report->device[d].name) - base;

        if (is_at(&report->device[d], endpoint) && number < 32)
            seen &= ~(UINT32_C(1) << number);
    }
    return seen == 0;
}

/* The number over all servers of that server's own number 0: the highest that explains what was
 * seen.  `lowest` is its lowest device in use; the first server begins with 0. */
static uint32_t remote_base(const struct dgo_report *report, const char *endpoint, uint32_t seen,
                            uint32_t lowest)
{
    uint32_t least = 0;

    for (uint32_t d = 0; d < report->device_count; d++)
        if (report->device[d].endpoint[0] && !is_at(&report->device[d], endpoint) &&
            remote_number(report->device[d].name) < lowest)
            least = remote_number(report->device[d].name) + 1 > least
                        ? remote_number(report->device[d].name) + 1
                        : least;
    if (least == 0)
        return 0;
    for (uint32_t base = lowest; base > least; base--)
        if (is_base(report, endpoint, seen, base))
            return base;
    return is_base(report, endpoint, seen, least) ? least : lowest;
}

static int device_at(const struct dgo_report *report, const char *endpoint, uint32_t number)
{
    for (uint32_t d = 0; d < report->device_count; d++)
        if (is_at(&report->device[d], endpoint) && remote_number(report->device[d].name) == number)
            return (int)d;
    return -1;
}

static void sum_device(struct dgo_report *report, uint8_t device, uint8_t kind)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < report->state.buffer_count; i++)
        if (report->state.buffer[i].device == device && report->state.buffer[i].kind == kind)
            sum += report->state.buffer[i].bytes;
    report->device[device].bytes[kind] = sum;
}

/* What was booked under another base belongs to the devices so many numbers further. */
static void move_books(struct dgo_report *report, const char *endpoint, uint32_t by)
{
    for (uint32_t i = 0; i < report->state.buffer_count; i++) {
        const struct dgo_report_device *device = &report->device[report->state.buffer[i].device];
        const int to = is_at(device, endpoint)
                           ? device_at(report, endpoint, remote_number(device->name) + by)
                           : -1;

        if (to < 0)
            continue;
        report->state.buffer[i].device = (uint8_t)to;
    }
    for (uint32_t d = 0; d < report->device_count; d++) {
        if (!is_at(&report->device[d], endpoint))
            continue;
        report->device[d].known = 0;
        for (uint32_t i = 0; i < report->state.buffer_count; i++)
            if (report->state.buffer[i].device == d)
                report->device[d].known |= UINT64_C(1) << report->state.buffer[i].kind;
        for (uint8_t kind = 0; kind < DGO_BUFFER_KIND_COUNT; kind++)
            sum_device(report, (uint8_t)d, kind);
    }
}

/* Buffers of remote devices are called after the device's number on its own server, "RPC0[h:p]",
 * while the device list counts over all servers, and has only those in use: the endpoint joins the
 * two.  Which device of a later server is its own first one shows only when more of them have been
 * seen, as that one may be unused. */
int llama_cpp_buffer_device(struct dgo_report *report, const char *name)
{
    const char *open = strchr(name, '[');
    uint32_t lowest = UINT32_MAX, base;
    int first = -1, found;

    if (!starts(name, "RPC") || !open)
        return llama_cpp_device_named(report, name);
    for (uint32_t d = 0; d < report->device_count; d++)
        if (is_at(&report->device[d], open + 1) && remote_number(report->device[d].name) < lowest) {
            lowest = remote_number(report->device[d].name);
            first = (int)d;
        }
    if (first < 0)
        return llama_cpp_device_named(report, name);
    base = remote_base(report, open + 1, report->state.remote_seen[first], lowest);
    if (remote_number(name) < 32)
        report->state.remote_seen[first] |= UINT32_C(1) << remote_number(name);
    if (remote_base(report, open + 1, report->state.remote_seen[first], lowest) != base) {
        const uint32_t before = base;

        base = remote_base(report, open + 1, report->state.remote_seen[first], lowest);
        move_books(report, open + 1, base - before);
    }
    found = device_at(report, open + 1, base + remote_number(name));
    return found < 0 ? first : found;
}

void llama_cpp_book(struct dgo_report *report, uint8_t device, uint8_t kind, uint8_t tag, bool adds,
                    uint64_t bytes)
{
    enum { ROOM = sizeof report->state.buffer / sizeof report->state.buffer[0] };
    uint32_t i = 0;

    while (i < report->state.buffer_count &&
           (report->state.buffer[i].device != device || report->state.buffer[i].kind != kind ||
            report->state.buffer[i].tag != tag))
        i++;
    if (i == ROOM)
        return;
    if (i == report->state.buffer_count) {
        report->state.buffer_count++;
        report->state.buffer[i].device = device;
        report->state.buffer[i].kind = kind;
        report->state.buffer[i].tag = tag;
        report->state.buffer[i].bytes = 0;
    }
    report->state.buffer[i].bytes = (adds ? report->state.buffer[i].bytes : 0) + bytes;
    report->device[device].known |= UINT64_C(1) << kind;
    sum_device(report, device, kind);
}

/* Engines rehearse: --fit constructs the model and the context several times before the one that
 * stays.  Each construction starts its part of the books anew. */
void llama_cpp_start_over(struct dgo_report *report, bool model)
{
    for (uint32_t i = 0; i < report->state.buffer_count; i++) {
        const uint8_t kind = report->state.buffer[i].kind;

        if (report->state.buffer[i].tag / 2 != report->state.generation ||
            (kind == DGO_BUFFER_MODEL) != model)
            continue;
        report->state.buffer[i].bytes = 0;
        sum_device(report, report->state.buffer[i].device, kind);
    }
}

/* "KV", "SWA KV", "RS", "DSV4 raw state": what is no weight, scratch or logits is context. */
enum dgo_buffer_kind llama_cpp_buffer_kind(const char *words, size_t length)
{
    static const struct {
        const char *word;
        enum dgo_buffer_kind kind;
    } kinds[] = {
        {"model", DGO_BUFFER_MODEL},
        {"LoRA", DGO_BUFFER_MODEL},
        {"compute", DGO_BUFFER_COMPUTE},
        {"output", DGO_BUFFER_OUTPUT},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strlen(kinds[i].word) == length && memcmp(kinds[i].word, words, length) == 0)
            return kinds[i].kind;
    return DGO_BUFFER_CONTEXT;
}
