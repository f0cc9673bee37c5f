/* bus_queue.c - the waiting events of a strand: replaced, dropped or kept as their topic says. */
#include "bus.h"

#include <string.h>

struct bus_cell *bus_cell_in_slot(const struct bus_strand *strand, const struct bus_buffer *buffer,
                                  uint32_t slot)
{
    return (struct bus_cell *)(void *)(buffer->cells + (size_t)slot * strand->stride);
}

static uint32_t slot_of(const struct bus_queue *queue, const struct bus_buffer *buffer,
                        uint32_t place)
{
    const uint32_t slot = buffer->head + place;

    return slot < queue->depth ? slot : slot - queue->depth;
}

struct bus_queue *bus_queue_of(struct bus_strand *strand, uint16_t topic)
{
    return strand->bus->topic[topic].what.priority == DGO_TOPIC_CRITICAL ? &strand->critical
                                                                         : &strand->normal;
}

static uint32_t conflate_place(uint16_t topic, uint32_t source)
{
    const uint64_t hash = ((uint64_t)topic << 32 | source) * UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(hash >> 32) % BUS_CONFLATE;
}

static bool is_waiting(const struct bus_queue *queue, const struct bus_buffer *buffer,
                       uint32_t slot)
{
    const uint32_t from_head =
        slot >= buffer->head ? slot - buffer->head : slot + queue->depth - buffer->head;

    return from_head < buffer->count;
}

/* The waiting event of the same topic and source; NULL: none, or the table has lost it (then the
 * new one simply follows it). */
static struct bus_cell *find_older(const struct bus_strand *strand, const struct bus_queue *queue,
                                   const struct bus_cell *event)
{
    const struct bus_buffer *buffer = &queue->buffer[queue->fill];
    const uint32_t place = conflate_place(event->topic, event->source);
    struct bus_cell *cell;

    if (queue->conflate[place].epoch != queue->epoch ||
        !is_waiting(queue, buffer, queue->conflate[place].slot))
        return NULL;
    cell = bus_cell_in_slot(strand, buffer, queue->conflate[place].slot);
    return cell->topic == event->topic && cell->source == event->source ? cell : NULL;
}

/* The cells that come next were the runner's last, and giving back the lock waits until those that
 * were written now are ours: 105 ns an event where the two run on distant cores, 45 so. */
static void fetch_ahead(const struct bus_strand *strand, const struct bus_queue *queue,
                        const struct bus_buffer *buffer)
{
    const uint32_t place = buffer->count + BUS_FETCH_AHEAD;
    const unsigned char *cell;

    if (place >= queue->depth)
        return;
    cell = buffer->cells + (size_t)slot_of(queue, buffer, place) * strand->stride;
    for (uint32_t at = 0; at < strand->stride && at < BUS_FETCH_BYTES; at += 64)
        dgo_prefetch_to_write(cell + at);
}

/* Copies the event; its order in the strand is its own. */
static void fill(struct bus_strand *strand, struct bus_cell *cell, const struct bus_cell *event,
                 uint32_t payload_bytes, const void *payload)
{
    *cell = *event;
    cell->order = ++strand->order;
    if (payload_bytes)
        memcpy(cell->payload, payload, payload_bytes);
}

static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static bool may_be_dropped(const struct bus_strand *strand, const struct bus_cell *cell)
{
    return strand->bus->topic[cell->topic].what.drop != DGO_TOPIC_NEVER;
}

/* Makes room by dropping the oldest event that may go; what stood before it moves up. */
static bool drop_oldest(struct bus_strand *strand, struct bus_queue *queue)
{
    struct bus_buffer *buffer = &queue->buffer[queue->fill];

    for (uint32_t place = 0; place < buffer->count && place < BUS_CHUNK; place++) {
        struct bus_cell *cell = bus_cell_in_slot(strand, buffer, slot_of(queue, buffer, place));

        if (!may_be_dropped(strand, cell))
            continue;
        count(&strand->counts[cell->topic].dropped);
        for (; place > 0; place--)
            memcpy(bus_cell_in_slot(strand, buffer, slot_of(queue, buffer, place)),
                   bus_cell_in_slot(strand, buffer, slot_of(queue, buffer, place - 1)),
                   strand->stride);
        buffer->head = slot_of(queue, buffer, 1);
        buffer->count--;
        return true;
    }
    return false;
}

/* With the lock.  False: a topic that is never dropped found no room. */
bool bus_queue_put(struct bus_strand *strand, const struct bus_cell *event, uint32_t payload_bytes,
                   const void *payload)
{
    struct bus_queue *queue = bus_queue_of(strand, event->topic);
    struct bus_buffer *buffer = &queue->buffer[queue->fill];
    const enum dgo_topic_drop drop = strand->bus->topic[event->topic].what.drop;
    struct bus_counts *counts = &strand->counts[event->topic];
    struct bus_cell *older;
    uint32_t slot;

    if (drop == DGO_TOPIC_NEWEST_WINS && (older = find_older(strand, queue, event))) {
        fill(strand, older, event, payload_bytes, payload);
        count(&counts->coalesced);
        return true;
    }
    /* The last quarter is for what must not be lost. */
    if (buffer->count >=
            (drop == DGO_TOPIC_NEVER ? queue->depth : queue->depth - queue->depth / 4) &&
        !drop_oldest(strand, queue)) {
        if (drop == DGO_TOPIC_NEVER && buffer->count >= queue->depth) {
            count(&counts->refused);
            return false;
        }
        if (drop != DGO_TOPIC_NEVER) {
            count(&counts->dropped); /* all that waits is dearer */
            return true;
        }
    }
    slot = slot_of(queue, buffer, buffer->count++);
    fetch_ahead(strand, queue, buffer);
    fill(strand, bus_cell_in_slot(strand, buffer, slot), event, payload_bytes, payload);
    if (drop == DGO_TOPIC_NEWEST_WINS) {
        const uint32_t place = conflate_place(event->topic, event->source);

        queue->conflate[place].epoch = queue->epoch;
        queue->conflate[place].slot = slot;
    }
    atomic_store_explicit(&queue->waiting, buffer->count, memory_order_relaxed);
    return true;
}

void bus_count_dropped(struct bus_strand *strand, const struct bus_cell *cell)
{
    if (cell->topic < DGO_BUS_TOPIC_MAX)
        atomic_fetch_add(&strand->counts[cell->topic].dropped, 1);
}

void bus_queue_drop_all(struct bus_strand *strand, struct bus_queue *queue)
{
    struct bus_buffer *buffer = &queue->buffer[queue->fill];

    for (uint32_t place = 0; buffer->cells && place < buffer->count; place++)
        bus_count_dropped(strand, bus_cell_in_slot(strand, buffer, slot_of(queue, buffer, place)));
    for (uint32_t i = 0; i < 2; i++)
        queue->buffer[i].head = queue->buffer[i].count = 0;
    queue->epoch++;
    atomic_store_explicit(&queue->waiting, 0, memory_order_relaxed);
}

/* With the lock: what waited is the runner's now, and the other buffer is filled. */
struct bus_buffer bus_queue_swap(struct bus_queue *queue)
{
    const struct bus_buffer full = queue->buffer[queue->fill];

    queue->fill ^= 1;
    queue->buffer[queue->fill].head = 0;
    queue->buffer[queue->fill].count = 0;
    queue->epoch++;
    atomic_store_explicit(&queue->waiting, 0, memory_order_relaxed);
    return full;
}
