/* ledger.c - the VRAM ledger: arithmetic on promises, measurements and what the driver sees. */
#include "dgo_ledger.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <string.h>

void dgo_ledger_init(struct dgo_ledger *ledger)
{
    memset(ledger, 0, sizeof *ledger);
}

static enum dgo_status check_gpu(uint32_t gpu_index, struct dgo_error *err)
{
    if (gpu_index < DGO_LEDGER_GPU_MAX)
        return DGO_OK;
    return dgo_fail(err, DGO_EINVAL, "GPU %" PRIu32 ": at most %d GPUs are kept", gpu_index,
                    DGO_LEDGER_GPU_MAX);
}

static struct dgo_ledger_entry *find(struct dgo_ledger *ledger, uint64_t id)
{
    for (uint32_t i = 0; i < ledger->entry_count; i++)
        if (ledger->entry[i].id == id)
            return &ledger->entry[i];
    return NULL;
}

static enum dgo_status no_entry(uint64_t id, struct dgo_error *err)
{
    return dgo_fail(err, DGO_ENOTFOUND, "no reservation %" PRIu64 ": released or expired", id);
}

const struct dgo_ledger_entry *dgo_ledger_find(const struct dgo_ledger *ledger, uint64_t id)
{
    for (uint32_t i = 0; i < ledger->entry_count; i++)
        if (ledger->entry[i].id == id)
            return &ledger->entry[i];
    return NULL;
}

static uint64_t add_sat(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t sub_floor(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Promised and not taken yet.  A settled owner has what it wants. */
static uint64_t outstanding_of(const struct dgo_ledger_entry *entry, uint32_t gpu_index)
{
    if (entry->state == DGO_LEDGER_SETTLED)
        return 0;
    return sub_floor(entry->planned_bytes[gpu_index], entry->measured_bytes[gpu_index]);
}

static uint64_t outstanding(const struct dgo_ledger *ledger, uint32_t gpu_index)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < ledger->entry_count; i++)
        sum = add_sat(sum, outstanding_of(&ledger->entry[i], gpu_index));
    return sum;
}

/* What the driver calls free is counted once here: memory that a loading owner took since the
 * last measurement is missing from `free` and still outstanding, which errs on the safe side. */
uint64_t dgo_ledger_promisable_bytes(const struct dgo_ledger *ledger, uint32_t gpu_index)
{
    const struct dgo_ledger_gpu *gpu;

    if (gpu_index >= DGO_LEDGER_GPU_MAX || !ledger->gpu[gpu_index].known)
        return 0;
    gpu = &ledger->gpu[gpu_index];
    return sub_floor(gpu->free_bytes, add_sat(outstanding(ledger, gpu_index), gpu->margin_bytes));
}

enum dgo_status dgo_ledger_observe(struct dgo_ledger *ledger, uint32_t gpu_index,
                                   const struct dgo_ledger_gpu *seen, struct dgo_error *err)
{
    struct dgo_ledger_gpu *gpu;

    if (check_gpu(gpu_index, err) != DGO_OK)
        return DGO_EINVAL;
    if (seen->known && (seen->free_bytes > seen->total_bytes ||
                        seen->driver_bytes > seen->total_bytes - seen->free_bytes))
        return dgo_fail(err, DGO_EINVAL,
                        "GPU %" PRIu32 ": %" PRIu64 " bytes free and %" PRIu64
                        " of the driver cannot be of %" PRIu64,
                        gpu_index, seen->free_bytes, seen->driver_bytes, seen->total_bytes);
    gpu = &ledger->gpu[gpu_index];
    gpu->known = seen->known;
    gpu->total_bytes = seen->total_bytes;
    gpu->driver_bytes = seen->driver_bytes;
    gpu->free_bytes = seen->free_bytes;
    gpu->margin_bytes = seen->margin_bytes;
    return DGO_OK;
}

/* A process's memory goes to its entries in order, each up to its plan; the last takes the rest. */
static void share_out(struct dgo_ledger *ledger, uint32_t gpu_index, uint64_t owner, uint64_t bytes)
{
    struct dgo_ledger_entry *last = NULL;

    for (uint32_t i = 0; i < ledger->entry_count; i++) {
        struct dgo_ledger_entry *entry = &ledger->entry[i];
        uint64_t part;

        if (entry->owner != owner)
            continue;
        part = dgo_min_u64(bytes, entry->planned_bytes[gpu_index]);
        entry->measured_bytes[gpu_index] = part;
        bytes -= part;
        last = entry;
    }
    if (last)
        last->measured_bytes[gpu_index] = add_sat(last->measured_bytes[gpu_index], bytes);
}

static bool is_owner(const struct dgo_ledger *ledger, uint64_t pid)
{
    for (uint32_t i = 0; i < ledger->entry_count; i++)
        if (pid != 0 && ledger->entry[i].owner == pid)
            return true;
    return false;
}

enum dgo_status dgo_ledger_reconcile(struct dgo_ledger *ledger, uint32_t gpu_index,
                                     const struct dgo_ledger_usage *usage, size_t usage_count,
                                     struct dgo_error *err)
{
    uint64_t others = 0;

    if (check_gpu(gpu_index, err) != DGO_OK)
        return DGO_EINVAL;
    for (uint32_t i = 0; i < ledger->entry_count; i++)
        if (ledger->entry[i].owner != 0)
            ledger->entry[i].measured_bytes[gpu_index] = 0;
    for (size_t i = 0; i < usage_count; i++) {
        uint64_t bytes = usage[i].bytes;
        bool is_first = true;

        for (size_t k = 0; k < i; k++)
            is_first &= usage[k].pid != usage[i].pid;
        if (!is_owner(ledger, usage[i].pid)) {
            others = add_sat(others, bytes);
            continue;
        }
        if (!is_first) /* a driver may list a process once as compute and once as graphics */
            continue;
        for (size_t k = i + 1; k < usage_count; k++)
            if (usage[k].pid == usage[i].pid)
                bytes = add_sat(bytes, usage[k].bytes);
        share_out(ledger, gpu_index, usage[i].pid, bytes);
    }
    ledger->gpu[gpu_index].others_bytes = others;
    ledger->gpu[gpu_index].others_known = true;
    return DGO_OK;
}

/* The first GPU that cannot give what is asked, or DGO_LEDGER_GPU_MAX. */
static uint32_t find_short(const struct dgo_ledger *ledger,
                           const struct dgo_ledger_request *request)
{
    for (uint32_t g = 0; g < DGO_LEDGER_GPU_MAX; g++)
        if (request->bytes[g] &&
            (!ledger->gpu[g].known || request->bytes[g] > dgo_ledger_promisable_bytes(ledger, g)))
            return g;
    return DGO_LEDGER_GPU_MAX;
}

static enum dgo_status refuse(struct dgo_ledger *ledger, const struct dgo_ledger_request *request,
                              uint32_t g, struct dgo_error *err)
{
    char need[DGO_UNIT_TEXT_MAX], missing[DGO_UNIT_TEXT_MAX], promised[DGO_UNIT_TEXT_MAX];
    const uint64_t there = dgo_ledger_promisable_bytes(ledger, g);

    ledger->refused++;
    if (!ledger->gpu[g].known)
        return dgo_fail(err, DGO_ENOGPU, "GPU %" PRIu32 " has not been seen yet", g);
    return dgo_fail(err, DGO_ENOFIT,
                    "GPU %" PRIu32 ": %s asked for, %s missing (%s of the free memory are promised "
                    "to others); stop one of them or ask for less",
                    g, dgo_bytes_text(request->bytes[g], need),
                    dgo_bytes_text(request->bytes[g] - there, missing),
                    dgo_bytes_text(outstanding(ledger, g), promised));
}

/* There is room for one more. */
static struct dgo_ledger_entry *append(struct dgo_ledger *ledger,
                                       const struct dgo_ledger_request *request, uint64_t now_ns)
{
    struct dgo_ledger_entry *entry = &ledger->entry[ledger->entry_count++];

    memset(entry, 0, sizeof *entry);
    entry->id = ++ledger->last_id;
    entry->owner = request->owner;
    entry->created_ns = now_ns;
    entry->state = DGO_LEDGER_PLANNED;
    dgo_text_copy(entry->what, sizeof entry->what, request->what ? request->what : "");
    memcpy(entry->planned_bytes, request->bytes, sizeof entry->planned_bytes);
    return entry;
}

static enum dgo_status no_room(struct dgo_ledger *ledger, struct dgo_error *err)
{
    ledger->refused++;
    return dgo_fail(err, DGO_ELIMIT, "%d reservations exist already; release one first",
                    DGO_LEDGER_ENTRY_MAX);
}

enum dgo_status dgo_ledger_reserve(struct dgo_ledger *ledger,
                                   const struct dgo_ledger_request *request, uint64_t now_ns,
                                   uint64_t *id, struct dgo_error *err)
{
    struct dgo_ledger_entry *entry;
    uint32_t short_gpu;

    dgo_ledger_expire(ledger, now_ns);
    if (request->expires_ns && request->expires_ns <= now_ns)
        return dgo_fail(err, DGO_EINVAL, "the reservation would have expired already");
    if (ledger->entry_count == DGO_LEDGER_ENTRY_MAX)
        return no_room(ledger, err);
    short_gpu = find_short(ledger, request);
    if (short_gpu != DGO_LEDGER_GPU_MAX)
        return refuse(ledger, request, short_gpu, err);
    entry = append(ledger, request, now_ns);
    entry->expires_ns = request->expires_ns;
    ledger->granted++;
    *id = entry->id;
    return DGO_OK;
}

enum dgo_status dgo_ledger_hold(struct dgo_ledger *ledger, const struct dgo_ledger_request *request,
                                bool is_measured, uint64_t now_ns, uint64_t *id,
                                struct dgo_error *err)
{
    struct dgo_ledger_entry *entry;

    if (ledger->entry_count == DGO_LEDGER_ENTRY_MAX)
        return no_room(ledger, err);
    entry = append(ledger, request, now_ns);
    if (is_measured)
        memcpy(entry->measured_bytes, request->bytes, sizeof entry->measured_bytes);
    ledger->granted++;
    *id = entry->id;
    return DGO_OK;
}

enum dgo_status dgo_ledger_adopt(struct dgo_ledger *ledger, uint64_t id, uint64_t pid,
                                 struct dgo_error *err)
{
    struct dgo_ledger_entry *entry = find(ledger, id);

    if (!entry)
        return no_entry(id, err);
    if (pid == 0) /* nobody would ever end it */
        return dgo_fail(err, DGO_EINVAL, "0 is no process");
    entry->owner = pid;
    entry->expires_ns = 0; /* from now on it lives as long as the process */
    return DGO_OK;
}

enum dgo_status dgo_ledger_measure(struct dgo_ledger *ledger, uint64_t id, uint32_t gpu_index,
                                   uint64_t bytes, struct dgo_error *err)
{
    struct dgo_ledger_entry *entry = find(ledger, id);

    if (check_gpu(gpu_index, err) != DGO_OK)
        return DGO_EINVAL;
    if (!entry)
        return no_entry(id, err);
    entry->measured_bytes[gpu_index] = bytes;
    return DGO_OK;
}

enum dgo_status dgo_ledger_settle(struct dgo_ledger *ledger, uint64_t id, struct dgo_error *err)
{
    struct dgo_ledger_entry *entry = find(ledger, id);

    if (!entry)
        return no_entry(id, err);
    entry->state = DGO_LEDGER_SETTLED;
    return DGO_OK;
}

static void remove_at(struct dgo_ledger *ledger, uint32_t at)
{
    memmove(&ledger->entry[at], &ledger->entry[at + 1],
            (ledger->entry_count - at - 1) * sizeof ledger->entry[0]);
    ledger->entry_count--;
}

enum dgo_status dgo_ledger_release(struct dgo_ledger *ledger, uint64_t id, struct dgo_error *err)
{
    struct dgo_ledger_entry *entry = find(ledger, id);

    if (!entry)
        return no_entry(id, err);
    remove_at(ledger, (uint32_t)(entry - ledger->entry));
    return DGO_OK;
}

uint32_t dgo_ledger_release_owner(struct dgo_ledger *ledger, uint64_t pid)
{
    uint32_t count = 0;

    for (uint32_t i = ledger->entry_count; pid != 0 && i-- > 0;)
        if (ledger->entry[i].owner == pid) {
            remove_at(ledger, i);
            count++;
        }
    return count;
}

uint32_t dgo_ledger_expire(struct dgo_ledger *ledger, uint64_t now_ns)
{
    uint32_t count = 0;

    for (uint32_t i = ledger->entry_count; i-- > 0;)
        if (ledger->entry[i].expires_ns && ledger->entry[i].expires_ns <= now_ns) {
            remove_at(ledger, i);
            count++;
        }
    ledger->expired += count;
    return count;
}

static int64_t difference(uint64_t a, uint64_t b)
{
    const uint64_t most = INT64_MAX;

    return a >= b ? (int64_t)dgo_min_u64(a - b, most) : -(int64_t)dgo_min_u64(b - a, most);
}

static int64_t add_clamped(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return a > 0 ? INT64_MAX : -INT64_MAX;
    return sum;
}

enum dgo_status dgo_ledger_balance_of(const struct dgo_ledger *ledger, uint32_t gpu_index,
                                      struct dgo_ledger_balance *out, struct dgo_error *err)
{
    struct dgo_ledger_balance balance = {0};
    const struct dgo_ledger_gpu *gpu;
    uint64_t explained;

    if (check_gpu(gpu_index, err) != DGO_OK)
        return DGO_EINVAL;
    gpu = &ledger->gpu[gpu_index];
    if (!gpu->known)
        return dgo_fail(err, DGO_ENOGPU, "GPU %" PRIu32 " has not been seen yet", gpu_index);
    balance.total_bytes = gpu->total_bytes;
    balance.driver_bytes = gpu->driver_bytes;
    balance.free_bytes = gpu->free_bytes;
    balance.margin_bytes = gpu->margin_bytes;
    balance.others_bytes = gpu->others_bytes;
    for (uint32_t i = 0; i < ledger->entry_count; i++) {
        const struct dgo_ledger_entry *entry = &ledger->entry[i];

        balance.ours_bytes = add_sat(balance.ours_bytes, entry->measured_bytes[gpu_index]);
        if (entry->state == DGO_LEDGER_SETTLED)
            balance.drift_bytes =
                add_clamped(balance.drift_bytes, difference(entry->measured_bytes[gpu_index],
                                                            entry->planned_bytes[gpu_index]));
    }
    balance.outstanding_bytes = outstanding(ledger, gpu_index);
    balance.promisable_bytes = dgo_ledger_promisable_bytes(ledger, gpu_index);
    explained = add_sat(add_sat(gpu->driver_bytes, gpu->free_bytes),
                        add_sat(balance.ours_bytes, balance.others_bytes));
    balance.unexplained_bytes = difference(gpu->total_bytes, explained);
    *out = balance;
    return DGO_OK;
}

enum dgo_status dgo_ledger_load(struct dgo_ledger *ledger, const struct dgo_ledger_entry *entry,
                                size_t entry_count, struct dgo_error *err)
{
    uint64_t last_id = ledger->last_id;

    if (entry_count > DGO_LEDGER_ENTRY_MAX)
        return dgo_fail(err, DGO_ELIMIT, "%zu stored reservations, at most %d", entry_count,
                        DGO_LEDGER_ENTRY_MAX);
    for (size_t i = 0; i < entry_count; i++) {
        if (entry[i].id == 0 || entry[i].id > INT64_MAX || /* so many were never given */
            (unsigned)entry[i].state > DGO_LEDGER_SETTLED ||
            !memchr(entry[i].what, '\0', sizeof entry[i].what))
            return dgo_fail(err, DGO_EFORMAT, "stored reservation %zu makes no sense", i);
        for (size_t k = 0; k < i; k++)
            if (entry[k].id == entry[i].id)
                return dgo_fail(err, DGO_EFORMAT, "stored reservation %" PRIu64 " exists twice",
                                entry[i].id);
        last_id = dgo_max_u64(last_id, entry[i].id);
    }
    if (entry_count)
        memcpy(ledger->entry, entry, entry_count * sizeof *entry);
    ledger->entry_count = (uint32_t)entry_count;
    ledger->last_id = last_id;
    return DGO_OK;
}
