/* bus_stats.c - the figures of topics and subscribers. */
#include "bus.h"

#include "dgo_text.h"

enum dgo_status dgo_bus_topic_read_stats(struct dgo_bus *bus, uint16_t topic,
                                         struct dgo_topic_stats *out, struct dgo_error *err)
{
    struct dgo_topic_stats stats = {0};

    if (topic >= bus->topic_count)
        return dgo_fail(err, DGO_EINVAL, "topic %u: the bus has %u", topic, bus->topic_count);
    stats.published = atomic_load(&bus->topic[topic].published);
    stats.unheard = atomic_load(&bus->topic[topic].unheard);
    for (uint32_t i = 0; i < DGO_BUS_STRAND_MAX; i++) {
        struct bus_strand *strand = atomic_load(&bus->strand[i]);

        if (!strand)
            continue;
        stats.delivered += atomic_load(&strand->delivered[topic]);
        stats.coalesced += atomic_load(&strand->counts[topic].coalesced);
        stats.dropped += atomic_load(&strand->counts[topic].dropped);
        stats.refused += atomic_load(&strand->counts[topic].refused);
    }
    *out = stats;
    return DGO_OK;
}

static void read_one(const struct bus_strand *strand, struct bus_subscriber *subscriber,
                     struct dgo_subscriber_stats *out)
{
    *out = (struct dgo_subscriber_stats){
        .lane = strand->lane,
        .tag = subscriber->what.tag,
        .delivered = atomic_load(&subscriber->delivered),
        .filtered = atomic_load(&subscriber->filtered),
        .failed = atomic_load(&subscriber->failed),
        .slow = atomic_load(&subscriber->slow),
        .time_ns = atomic_load(&subscriber->time_ns),
        .slowest_ns = atomic_load(&subscriber->slowest_ns),
        .last_failure = (enum dgo_status)atomic_load(&subscriber->last_failure),
        .waiting = atomic_load(&strand->normal.waiting) + atomic_load(&strand->critical.waiting),
    };
    dgo_text_copy(out->name, sizeof out->name, subscriber->name);
}

uint32_t dgo_bus_subscriber_read_stats(struct dgo_bus *bus, struct dgo_subscriber_stats *stats,
                                       uint32_t max)
{
    uint32_t count = 0;

    dgo_lock(&bus->lock); /* nobody comes or goes meanwhile */
    for (uint32_t s = 0; s < DGO_BUS_STRAND_MAX; s++) {
        struct bus_strand *strand = atomic_load(&bus->strand[s]);

        for (uint32_t i = 0; strand && i < DGO_BUS_SUBSCRIBER_MAX && count < max; i++)
            if (atomic_load(&strand->subscriber[i].state) == BUS_LIVE)
                read_one(strand, &strand->subscriber[i], &stats[count++]);
    }
    dgo_unlock(&bus->lock);
    return count;
}
