/* bus.c - the bus: made from a table, published on, drained, freed. */
#include "bus.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static enum dgo_status check_topic(const struct dgo_topic *topic, size_t place,
                                   struct dgo_error *err)
{
    if (!topic->name || !*topic->name || topic->id != place)
        return dgo_fail(err, DGO_EINVAL, "topic %zu needs a name and the id %zu", place, place);
    if ((unsigned)topic->priority > DGO_TOPIC_TELEMETRY || (unsigned)topic->hint > DGO_TOPIC_UI ||
        (unsigned)topic->drop > DGO_TOPIC_NEVER)
        return dgo_fail(err, DGO_EINVAL, "topic %s: priority, hint or policy out of range",
                        topic->name);
    if (topic->payload_bytes > DGO_BUS_PAYLOAD_MAX)
        return dgo_fail(err, DGO_EINVAL, "topic %s: %" PRIu32 " bytes of payload, at most %d",
                        topic->name, topic->payload_bytes, DGO_BUS_PAYLOAD_MAX);
    return DGO_OK;
}

static bool make_relay(struct dgo_bus *bus)
{
    bus->relay_stride = (uint32_t)dgo_pad_u64(
        sizeof(struct bus_relay) + sizeof(struct bus_cell) + bus->payload_max, 16);
    bus->relay = calloc(BUS_RELAY, bus->relay_stride);
    if (!bus->relay)
        return false;
    bus_relay_free_all(bus);
    return true;
}

enum dgo_status dgo_bus_new(const struct dgo_topic *topics, size_t topic_count,
                            const struct dgo_bus_config *config, struct dgo_bus **out,
                            struct dgo_error *err)
{
    struct dgo_bus *bus;

    if (topic_count == 0 || topic_count > DGO_BUS_TOPIC_MAX)
        return dgo_fail(err, DGO_EINVAL, "a bus has from 1 to %d topics, not %zu",
                        DGO_BUS_TOPIC_MAX, topic_count);
    for (size_t i = 0; i < topic_count; i++)
        if (check_topic(&topics[i], i, err) != DGO_OK)
            return DGO_EINVAL;
    bus = aligned_alloc(64, dgo_pad_u64(sizeof *bus, 64));
    if (!bus)
        return dgo_fail(err, DGO_ENOMEM, "no memory for a bus");
    memset(bus, 0, sizeof *bus);
    bus->topic_count = (uint32_t)topic_count;
    for (size_t i = 0; i < topic_count; i++) {
        bus->topic[i].what = topics[i];
        if (topics[i].payload_bytes > bus->payload_max)
            bus->payload_max = topics[i].payload_bytes;
    }
    if (config)
        bus->config = *config;
    if (bus->config.slow_ns == 0)
        bus->config.slow_ns = 5 * DGO_NS_PER_MS;
    if (!make_relay(bus)) {
        free(bus);
        return dgo_fail(err, DGO_ENOMEM, "no memory for a bus");
    }
    bus_list_add(bus);
    *out = bus;
    return DGO_OK;
}

void dgo_bus_free(struct dgo_bus *bus)
{
    if (!bus)
        return;
    atomic_store(&bus->is_closing, true);
    bus_unsubscribe_all(bus);
    for (uint32_t i = 0; i < DGO_BUS_STRAND_MAX; i++) {
        struct bus_strand *strand = atomic_load(&bus->strand[i]);

        if (strand && atomic_load(&strand->is_open))
            bus_strand_close(strand);
    }
    for (uint32_t left; (left = atomic_load(&bus->running)) > 0;)
        dgo_sleep_on(&bus->running, left, dgo_monotonic_ns() + DGO_NS_PER_MS);
    bus_list_remove(bus);
    for (uint32_t i = 0; i < DGO_BUS_STRAND_MAX; i++)
        free(atomic_load(&bus->strand[i]));
    free(bus->relay);
    free(bus->log_cells);
    free(bus);
}

enum dgo_status bus_publish(struct dgo_bus *bus, uint16_t topic_id, uint32_t source,
                            const void *payload, uint16_t flags)
{
    struct bus_topic *topic = &bus->topic[topic_id];
    const uint32_t payload_bytes = topic->what.payload_bytes;
    uint64_t strands = atomic_load_explicit(&topic->strands, memory_order_acquire);
    struct bus_cell event = {.topic = topic_id, .flags = flags, .source = source};
    enum dgo_status status = DGO_OK;

    event.sequence = atomic_fetch_add_explicit(&topic->published, 1, memory_order_relaxed) + 1;
    event.time_ns = bus_tick_ns(bus);
    if (atomic_load_explicit(&bus->log_topics, memory_order_relaxed) & DGO_TOPIC_BIT(topic_id) &&
        !(flags & DGO_EVENT_REPLAYED))
        bus_log_add(bus, &event, payload_bytes, payload);
    if (strands == 0)
        atomic_fetch_add_explicit(&topic->unheard, 1, memory_order_relaxed);
    for (; strands; strands &= strands - 1) {
        struct bus_strand *strand = atomic_load(&bus->strand[__builtin_ctzll(strands)]);

        if (!bus_strand_put(strand, &event, payload_bytes, payload))
            status = DGO_EBUSY;
    }
    return status;
}

enum dgo_status dgo_bus_publish(struct dgo_bus *bus, uint16_t topic, uint32_t source,
                                const void *payload)
{
    if (topic >= bus->topic_count || (!payload && bus->topic[topic].what.payload_bytes))
        return DGO_EINVAL;
    if (atomic_load_explicit(&bus->is_closing, memory_order_relaxed))
        return DGO_ESTATE;
    return bus_publish(bus, topic, source, payload, 0);
}

/* ---- drain ---- */

/* The first strand that still has something to do; NULL: none. */
static struct bus_strand *find_busy(struct dgo_bus *bus, bool with_ui)
{
    for (uint32_t i = 0; i < DGO_BUS_STRAND_MAX; i++) {
        struct bus_strand *strand = atomic_load(&bus->strand[i]);

        if (!strand || !atomic_load(&strand->is_open) || (strand->lane == DGO_LANE_UI && !with_ui))
            continue;
        if (!bus_strand_is_quiet(strand))
            return strand;
    }
    return NULL;
}

enum dgo_status dgo_bus_drain(struct dgo_bus *bus, uint64_t timeout_ns, struct dgo_error *err)
{
    const uint64_t begun_ns = dgo_monotonic_ns();
    const uint64_t until_ns =
        timeout_ns > UINT64_MAX - begun_ns ? UINT64_MAX : begun_ns + timeout_ns;

    if (*bus_current() && (*bus_current())->bus == bus)
        return dgo_fail(err, DGO_ESTATE, "a handler cannot wait for all handlers");
    for (;;) {
        const bool is_ui = dgo_resource_ui_drain(DGO_NS_PER_MS, NULL, NULL) != DGO_ESTATE;
        struct bus_strand *strand = find_busy(bus, is_ui);
        uint64_t now_ns;
        uint32_t rounds;

        if (!strand)
            return DGO_OK;
        now_ns = dgo_monotonic_ns();
        if (now_ns >= until_ns)
            return dgo_fail(err, DGO_ETIMEOUT, "events still wait for \"%s\"", strand->name);
        rounds = atomic_load(&strand->rounds);
        bus_strand_hurry(strand);
        atomic_fetch_add(&strand->waiters, 1);
        if (!bus_strand_is_quiet(strand))
            dgo_sleep_on(&strand->rounds, rounds,
                         dgo_min_u64(until_ns, now_ns + (is_ui ? 1 : 10) * DGO_NS_PER_MS));
        atomic_fetch_sub(&strand->waiters, 1);
    }
}
