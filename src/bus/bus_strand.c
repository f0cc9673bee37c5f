/* bus_strand.c - strands: made, filled by publishers, closed. */
#include "bus.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <stdlib.h>
#include <string.h>

struct bus_strand **bus_current(void)
{
    static _Thread_local struct bus_strand *current;

    return &current;
}

/* ---- relay cells: events on their way to a strand whose lock was not to be had ---- */

struct bus_relay *bus_relay_at(const struct dgo_bus *bus, uint32_t index)
{
    return (struct bus_relay *)(void *)(bus->relay + (size_t)index * bus->relay_stride);
}

struct bus_cell *bus_relay_cell(struct bus_relay *relay)
{
    return (struct bus_cell *)(void *)(relay + 1);
}

void bus_relay_free_all(struct dgo_bus *bus)
{
    for (uint32_t i = 0; i < BUS_RELAY; i++)
        atomic_store(&bus_relay_at(bus, i)->next, i + 1 < BUS_RELAY ? i + 2 : 0);
    atomic_store(&bus->relay_free, 1);
}

static bool take_relay(struct dgo_bus *bus, uint32_t *index)
{
    uint64_t head = atomic_load(&bus->relay_free);
    uint64_t next;

    do {
        if ((uint32_t)head == 0)
            return false;
        next = atomic_load_explicit(&bus_relay_at(bus, (uint32_t)head - 1)->next,
                                    memory_order_relaxed);
    } while (
        !atomic_compare_exchange_weak(&bus->relay_free, &head, ((head >> 32) + 1) << 32 | next));
    *index = (uint32_t)head - 1;
    return true;
}

static void give_relay(struct dgo_bus *bus, uint32_t index)
{
    uint64_t head = atomic_load(&bus->relay_free);

    do
        atomic_store_explicit(&bus_relay_at(bus, index)->next, (uint32_t)head,
                              memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&bus->relay_free, &head,
                                         ((head >> 32) + 1) << 32 | (index + 1)));
}

/* Newest first in the inbox, oldest first into the queue. */
void bus_strand_empty_inbox(struct bus_strand *strand)
{
    struct dgo_bus *bus = strand->bus;
    uint32_t at, oldest = 0;

    if (atomic_load(&strand->inbox) == 0)
        return;
    at = (uint32_t)atomic_exchange(&strand->inbox, 0);
    while (at) {
        struct bus_relay *relay = bus_relay_at(bus, at - 1);
        const uint32_t next = atomic_load_explicit(&relay->next, memory_order_relaxed);

        atomic_store_explicit(&relay->next, oldest, memory_order_relaxed);
        oldest = at;
        at = next;
    }
    while (oldest) {
        struct bus_relay *relay = bus_relay_at(bus, oldest - 1);
        const uint32_t index = oldest - 1;
        const struct bus_cell *cell = bus_relay_cell(relay);

        oldest = atomic_load_explicit(&relay->next, memory_order_relaxed);
        if (strand->topics & DGO_TOPIC_BIT(cell->topic))
            bus_queue_put(strand, cell, relay->payload_bytes, cell->payload);
        give_relay(bus, index);
    }
}

static bool put_in_inbox(struct bus_strand *strand, const struct bus_cell *event,
                         uint32_t payload_bytes, const void *payload)
{
    struct dgo_bus *bus = strand->bus;
    struct bus_relay *relay;
    uint64_t head = atomic_load(&strand->inbox);
    uint32_t index;

    if (!take_relay(bus, &index)) {
        const bool is_never = bus->topic[event->topic].what.drop == DGO_TOPIC_NEVER;
        struct bus_counts *counts = &strand->counts[event->topic];

        atomic_fetch_add(is_never ? &counts->refused : &counts->dropped, 1);
        return !is_never;
    }
    relay = bus_relay_at(bus, index);
    relay->payload_bytes = payload_bytes;
    *bus_relay_cell(relay) = *event;
    if (payload_bytes)
        memcpy(bus_relay_cell(relay)->payload, payload, payload_bytes);
    do
        atomic_store_explicit(&relay->next, (uint32_t)head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&strand->inbox, &head, index + 1));
    return true;
}

/* ---- filling ---- */

struct dgo_strand bus_runner(struct bus_strand *strand)
{
    const uint64_t word = atomic_load(&strand->runner);

    return (struct dgo_strand){(uint32_t)word, (uint32_t)(word >> 32)};
}

static enum dgo_level level_of(const struct bus_strand *strand, uint16_t topic)
{
    switch (strand->bus->topic[topic].what.priority) {
    case DGO_TOPIC_CRITICAL:
        return DGO_LEVEL_HIGH;
    case DGO_TOPIC_TELEMETRY:
        return DGO_LEVEL_LOW;
    default:
        return DGO_LEVEL_MIDDLE;
    }
}

/* With the lock: whether the runner is to be woken, and when. */
static bool is_due(struct bus_strand *strand, uint16_t topic, uint64_t *wait_ns)
{
    const struct dgo_topic *what = &strand->bus->topic[topic].what;

    *wait_ns = 0;
    if (strand->is_scheduled && what->priority != DGO_TOPIC_CRITICAL)
        return false;
    if (what->drop == DGO_TOPIC_BATCHED && what->batch_ns && what->batch_events > 1 &&
        what->priority != DGO_TOPIC_CRITICAL &&
        strand->normal.buffer[strand->normal.fill].count < what->batch_events) {
        *wait_ns = what->batch_ns;
        if (strand->is_timed)
            return false;
        strand->is_timed = true;
        return true;
    }
    strand->is_scheduled = true;
    return true;
}

static void wake(struct bus_strand *strand, uint16_t topic, uint64_t wait_ns)
{
    if (strand->bus->topic[topic].what.priority == DGO_TOPIC_CRITICAL &&
        atomic_exchange(&strand->nap, 0))
        dgo_wake_up(&strand->nap, 1);
    if (wait_ns)
        dgo_strand_kick_after(bus_runner(strand), wait_ns);
    else
        dgo_strand_kick(bus_runner(strand), level_of(strand, topic));
}

static bool try_lock(struct bus_strand *strand)
{
    if (dgo_thread_is_idle_class())
        return false;
    for (uint32_t i = 0; i < BUS_LOCK_TRIES; i++) {
        if (dgo_try_lock(&strand->lock))
            return true;
        dgo_pause();
    }
    return false;
}

/* False: refused, and counted as such. */
bool bus_strand_put(struct bus_strand *strand, const struct bus_cell *event, uint32_t payload_bytes,
                    const void *payload)
{
    uint64_t wait_ns = 0;
    bool is_put = true, wakes = true;

    if (!try_lock(strand)) {
        is_put = put_in_inbox(strand, event, payload_bytes, payload);
        wake(strand, event->topic, 0);
        return is_put;
    }
    bus_strand_empty_inbox(strand);
    if (strand->topics & DGO_TOPIC_BIT(event->topic)) {
        is_put = bus_queue_put(strand, event, payload_bytes, payload);
        wakes = is_due(strand, event->topic, &wait_ns);
    }
    dgo_spin_unlock(&strand->lock);
    if (wakes)
        wake(strand, event->topic, wait_ns);
    return is_put;
}

void bus_strand_hurry(struct bus_strand *strand)
{
    dgo_strand_kick(bus_runner(strand), DGO_LEVEL_MIDDLE);
}

bool bus_strand_is_quiet(struct bus_strand *strand)
{
    bool is_quiet;

    dgo_spin_lock(&strand->lock);
    is_quiet = !strand->is_scheduled && atomic_load(&strand->inbox) == 0 &&
               atomic_load(&strand->runs_now) == 0 && atomic_load(&strand->normal.waiting) == 0 &&
               atomic_load(&strand->critical.waiting) == 0;
    dgo_spin_unlock(&strand->lock);
    return is_quiet;
}

/* ---- life ---- */

static bool make_buffers(struct bus_strand *strand, struct bus_queue *queue, uint32_t depth)
{
    memset(queue, 0, sizeof *queue);
    queue->depth = depth;
    queue->epoch = 1;
    for (uint32_t i = 0; i < 2; i++) {
        queue->buffer[i].cells = malloc((size_t)depth * strand->stride);
        if (!queue->buffer[i].cells)
            return false;
    }
    return true;
}

void bus_strand_lose_buffers(struct bus_strand *strand)
{
    for (uint32_t i = 0; i < 2; i++)
        strand->normal.buffer[i].cells = strand->critical.buffer[i].cells = NULL;
}

static void free_buffers(struct bus_strand *strand)
{
    for (uint32_t i = 0; i < 2; i++) {
        free(strand->normal.buffer[i].cells);
        free(strand->critical.buffer[i].cells);
    }
    bus_strand_lose_buffers(strand);
}

/* With the bus's lock: a place for a strand, its memory kept from an earlier one if there was. */
static struct bus_strand *find_place(struct dgo_bus *bus)
{
    for (uint32_t i = 0; i < DGO_BUS_STRAND_MAX; i++) {
        struct bus_strand *strand = atomic_load(&bus->strand[i]);

        if (strand && !atomic_load(&strand->is_open))
            return strand;
        if (strand)
            continue;
        strand = aligned_alloc(64, dgo_pad_u64(sizeof *strand, 64));
        if (!strand)
            return NULL;
        memset(strand, 0, sizeof *strand);
        strand->bus = bus;
        strand->number = i;
        atomic_store(&bus->strand[i], strand);
        return strand;
    }
    return NULL;
}

/* With its lock: buffers and a clean slate. */
static enum dgo_status outfit(struct bus_strand *strand, const char *name, uint32_t depth,
                              uint32_t payload_max, struct dgo_error *err)
{
    strand->stride = (uint32_t)dgo_pad_u64(sizeof(struct bus_cell) + payload_max, 16);
    if (!make_buffers(strand, &strand->normal, depth) ||
        !make_buffers(strand, &strand->critical, depth < 64 ? depth : 64 + (depth - 64) / 4)) {
        free_buffers(strand);
        return dgo_fail(err, DGO_ENOMEM, "\"%.40s\": no memory for %u events", name, depth);
    }
    strand->topics = 0;
    strand->is_scheduled = strand->is_timed = strand->closes_after_run = false;
    dgo_text_copy(strand->name, sizeof strand->name, name);
    return DGO_OK;
}

enum dgo_status bus_strand_make(struct dgo_bus *bus, const char *name, enum dgo_lane lane,
                                dgo_component_id component, uint32_t depth, uint32_t payload_max,
                                struct bus_strand **out, struct dgo_error *err)
{
    struct bus_strand *strand;
    struct dgo_strand runner;
    enum dgo_status status;

    if (depth == 0)
        depth = DGO_BUS_DEPTH_DEFAULT;
    if (depth < 4 || depth > DGO_BUS_DEPTH_MAX)
        return dgo_fail(err, DGO_EINVAL, "\"%.40s\": from 4 to %d events may wait, not %u", name,
                        DGO_BUS_DEPTH_MAX, depth);
    strand = find_place(bus);
    if (!strand)
        return dgo_fail(err, DGO_ELIMIT,
                        "\"%.40s\": %d strands exist already, or no memory for one more", name,
                        DGO_BUS_STRAND_MAX);
    dgo_spin_lock(&strand->lock); /* late publishers to its forerunner may still look */
    status = outfit(strand, name, depth, payload_max, err);
    strand->lane = lane;
    dgo_spin_unlock(&strand->lock);
    if (status != DGO_OK)
        return status;
    status = dgo_strand_new(component, lane, bus_run, strand, &runner, err);
    if (status != DGO_OK) {
        dgo_spin_lock(&strand->lock);
        free_buffers(strand);
        dgo_spin_unlock(&strand->lock);
        return status;
    }
    atomic_store(&strand->runner, (uint64_t)runner.generation << 32 | runner.index);
    strand->generation = strand->generation + 1 ? strand->generation + 1 : 1;
    atomic_store(&strand->is_open, true);
    *out = strand;
    return DGO_OK;
}

/* With the bus's lock; no subscriber is left.  The struct stays for publishers that still look. */
void bus_strand_close(struct bus_strand *strand)
{
    dgo_strand_free(bus_runner(strand));
    dgo_spin_lock(&strand->lock);
    strand->topics = 0;
    bus_strand_empty_inbox(strand);
    bus_queue_drop_all(strand, &strand->normal);
    bus_queue_drop_all(strand, &strand->critical);
    free_buffers(strand);
    dgo_spin_unlock(&strand->lock);
    atomic_store(&strand->is_open, false);
}
