/* metrics_work.c - what the resource manager and the event bus did, as metrics: the counters of
 * `resources --json`, by topic, subscriber, component and lane. */
#include "metrics_work.h"

#include <string.h>

enum { SUBSCRIBERS = 64 };

/* One counter of several by one label; `kind` tells them apart. */
struct kind {
    const char *name;
    uint64_t value;
};

static void write_kinds(struct om *om, const char *label, const char *of, const struct kind *kinds,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        om_sample_u64(om,
                      (const struct om_label[]){{label, of}, {"kind", kinds[i].name}, {NULL, NULL}},
                      kinds[i].value);
}

static void write_topics(struct om *om, struct dgo_bus *bus)
{
    om_family(
        om, "dualgpuopt_bus_events", OM_COUNTER, NULL,
        "Events of a topic; delivered, coalesced, dropped and refused count listening strands.");
    for (uint16_t i = 0; app_topic(i); i++) {
        struct dgo_topic_stats stats;

        if (dgo_bus_topic_read_stats(bus, i, &stats, NULL) != DGO_OK)
            continue;

        const struct kind kinds[] = {{"published", stats.published}, {"unheard", stats.unheard},
                                     {"delivered", stats.delivered}, {"coalesced", stats.coalesced},
                                     {"dropped", stats.dropped},     {"refused", stats.refused}};

        write_kinds(om, "topic", app_topic(i)->name, kinds, sizeof kinds / sizeof kinds[0]);
    }
}

/* A name may subscribe more than once: one sample each, or a scraper refuses all. */
static uint32_t sum_by_name(struct dgo_subscriber_stats *stats, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 0;

        while (at < kept && strcmp(stats[at].name, stats[i].name) != 0)
            at++;
        if (at == kept) {
            stats[kept++] = stats[i];
            continue;
        }
        stats[at].delivered += stats[i].delivered;
        stats[at].filtered += stats[i].filtered;
        stats[at].failed += stats[i].failed;
        stats[at].slow += stats[i].slow;
        stats[at].time_ns += stats[i].time_ns;
        stats[at].waiting += stats[i].waiting;
    }
    return kept;
}

static void write_subscribers(struct om *om, struct dgo_bus *bus)
{
    struct dgo_subscriber_stats stats[SUBSCRIBERS];
    const uint32_t count =
        sum_by_name(stats, dgo_bus_subscriber_read_stats(bus, stats, SUBSCRIBERS));

    om_family(om, "dualgpuopt_bus_handler_events", OM_COUNTER, NULL,
              "Events that a subscriber got; failed and slow are among the delivered.");
    for (uint32_t i = 0; i < count; i++) {
        const struct kind kinds[] = {{"delivered", stats[i].delivered},
                                     {"filtered", stats[i].filtered},
                                     {"failed", stats[i].failed},
                                     {"slow", stats[i].slow}};

        write_kinds(om, "subscriber", stats[i].name, kinds, sizeof kinds / sizeof kinds[0]);
    }
    om_family(om, "dualgpuopt_bus_handler_seconds", OM_COUNTER, "seconds",
              "Time in the handler of a subscriber.");
    for (uint32_t i = 0; i < count; i++)
        om_sample(om, (const struct om_label[]){{"subscriber", stats[i].name}, {NULL, NULL}},
                  (double)stats[i].time_ns / 1e9);
    om_family(om, "dualgpuopt_bus_waiting_events", OM_GAUGE, NULL,
              "Events that wait for a subscriber.");
    for (uint32_t i = 0; i < count; i++)
        om_sample_u64(om, (const struct om_label[]){{"subscriber", stats[i].name}, {NULL, NULL}},
                      stats[i].waiting);
}

static void write_components(struct om *om)
{
    om_family(om, "dualgpuopt_component_jobs", OM_COUNTER, NULL,
              "Jobs of a component by how they ended; inline ones ran in their caller.");
    for (uint32_t id = 0; id < dgo_component_count(); id++) {
        struct dgo_component_stats stats;

        dgo_component_read_stats((dgo_component_id)id, &stats);

        const struct kind kinds[] = {{"done", stats.done},           {"failed", stats.failed},
                                     {"cancelled", stats.cancelled}, {"expired", stats.expired},
                                     {"rejected", stats.rejected},   {"inline", stats.ran_inline}};

        write_kinds(om, "component", dgo_component_get((dgo_component_id)id)->name, kinds,
                    sizeof kinds / sizeof kinds[0]);
    }
}

static void write_lanes(struct om *om)
{
    struct dgo_lane_stats stats[DGO_LANE_COUNT];

    for (unsigned lane = DGO_LANE_EXPRESS; lane < DGO_LANE_COUNT; lane++)
        dgo_lane_read_stats((enum dgo_lane)lane, &stats[lane]);
    om_family(om, "dualgpuopt_lane_threads", OM_GAUGE, NULL, "Threads of a lane.");
    for (unsigned lane = DGO_LANE_EXPRESS; lane < DGO_LANE_COUNT; lane++) {
        const struct kind kinds[] = {{"there", stats[lane].workers},
                                     {"allowed", stats[lane].allowed},
                                     {"running", stats[lane].running},
                                     {"blocked", stats[lane].blocked}};

        write_kinds(om, "lane", dgo_lane_name((enum dgo_lane)lane), kinds,
                    sizeof kinds / sizeof kinds[0]);
    }
    om_family(om, "dualgpuopt_lane_waiting_jobs", OM_GAUGE, NULL, "Jobs that wait in a lane.");
    for (unsigned lane = DGO_LANE_EXPRESS; lane < DGO_LANE_COUNT; lane++)
        om_sample_u64(
            om,
            (const struct om_label[]){{"lane", dgo_lane_name((enum dgo_lane)lane)}, {NULL, NULL}},
            stats[lane].queued);
}

void metrics_write_work(struct om *om, const struct dgo_app *app)
{
    if (app->bus) {
        write_topics(om, app->bus);
        write_subscribers(om, app->bus);
    }
    write_components(om);
    write_lanes(om);
}
