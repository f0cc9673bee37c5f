/* bus_log.c - the last events, in the order of publishing, to look at and to publish again. */
#include "bus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct bus_cell *cell_at(const struct dgo_bus *bus, uint64_t number)
{
    return (struct bus_cell *)(void *)(bus->log_cells +
                                       (size_t)(number % bus->log_capacity) * bus->log_stride);
}

enum dgo_status dgo_bus_log_start(struct dgo_bus *bus, uint64_t topics, uint32_t capacity,
                                  struct dgo_error *err)
{
    if (capacity == 0 || capacity > DGO_BUS_DEPTH_MAX)
        return dgo_fail(err, DGO_EINVAL, "a log of from 1 to %d events, not %" PRIu32,
                        DGO_BUS_DEPTH_MAX, capacity);
    dgo_lock(&bus->log_lock);
    if (bus->log_cells) {
        dgo_unlock(&bus->log_lock);
        return dgo_fail(err, DGO_ESTATE, "the bus is logged already");
    }
    bus->log_stride = (uint32_t)dgo_pad_u64(sizeof(struct bus_cell) + bus->payload_max, 16);
    bus->log_cells = calloc(capacity, bus->log_stride);
    bus->log_capacity = capacity;
    if (bus->log_cells)
        atomic_store(&bus->log_topics, topics);
    dgo_unlock(&bus->log_lock);
    return bus->log_cells
               ? DGO_OK
               : dgo_fail(err, DGO_ENOMEM, "no memory for a log of %" PRIu32 " events", capacity);
}

void bus_log_add(struct dgo_bus *bus, const struct bus_cell *event, uint32_t payload_bytes,
                 const void *payload)
{
    struct bus_cell *cell;

    dgo_lock(&bus->log_lock);
    cell = cell_at(bus, bus->log_count++);
    *cell = *event;
    if (payload_bytes)
        memcpy(cell->payload, payload, payload_bytes);
    dgo_unlock(&bus->log_lock);
}

/* Copies the event out, so that it can be handed on without the lock.  False: overwritten. */
static bool copy_out(struct dgo_bus *bus, uint64_t number, struct bus_cell *to)
{
    bool is_there;

    dgo_lock(&bus->log_lock);
    is_there = number < bus->log_count && bus->log_count - number <= bus->log_capacity;
    if (is_there)
        memcpy(to, cell_at(bus, number), bus->log_stride);
    dgo_unlock(&bus->log_lock);
    return is_there;
}

/* What the log holds now: numbers from *first up to and without the answer. */
static uint64_t range(struct dgo_bus *bus, uint64_t *first)
{
    uint64_t end;

    dgo_lock(&bus->log_lock);
    end = bus->log_count;
    *first = end > bus->log_capacity ? end - bus->log_capacity : 0;
    dgo_unlock(&bus->log_lock);
    return end;
}

uint32_t dgo_bus_log_each(struct dgo_bus *bus, dgo_event_fn fn, void *data)
{
    alignas(16) unsigned char room[sizeof(struct bus_cell) + DGO_BUS_PAYLOAD_MAX + 16];
    struct bus_cell *cell = (struct bus_cell *)(void *)room;
    uint64_t number, end;
    uint32_t count = 0;

    for (end = range(bus, &number); number < end; number++) {
        struct dgo_event event;

        if (!copy_out(bus, number, cell))
            continue;
        event = (struct dgo_event){.topic = cell->topic,
                                   .flags = cell->flags,
                                   .source = cell->source,
                                   .sequence = cell->sequence,
                                   .time_ns = cell->time_ns,
                                   .payload = cell->payload};
        count++;
        if (fn(&event, data) != DGO_OK)
            break;
    }
    return count;
}

uint32_t dgo_bus_replay(struct dgo_bus *bus, uint64_t topics)
{
    alignas(16) unsigned char room[sizeof(struct bus_cell) + DGO_BUS_PAYLOAD_MAX + 16];
    struct bus_cell *cell = (struct bus_cell *)(void *)room;
    uint64_t number, end;
    uint32_t count = 0;

    for (end = range(bus, &number); number < end; number++) {
        if (!copy_out(bus, number, cell) || !(topics & DGO_TOPIC_BIT(cell->topic)) ||
            atomic_load(&bus->is_closing))
            continue;
        count += bus_publish(bus, cell->topic, cell->source, cell->payload, DGO_EVENT_REPLAYED) ==
                 DGO_OK;
    }
    return count;
}
