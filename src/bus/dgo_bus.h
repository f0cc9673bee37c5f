/* dgo_bus.h - the event bus: typed topics, handlers that run as jobs, publishing that never waits.
 *
 * The application gives a table of topics (topics.def).  Publishing copies the payload into a
 * buffer of every interested strand and returns: it never blocks on a handler, never allocates and
 * runs no handler.  A handler runs as a job of a lane, or on the UI thread when it or its topic
 * says UI.  Order is kept for each publisher and subscriber; an event of a CRITICAL topic overtakes
 * what waits of the others.  No handler of a subscription is running or will run once
 * dgo_bus_unsubscribe returned (inside that handler: once it returned).  Subscribing, unsubscribing
 * and publishing are allowed inside handlers.  A handler that is slow or fails is counted under its
 * name and delays nobody but those who chose to share its strand.  Any thread, unless it says
 * otherwise.  A child after fork has the bus and its subscriptions; the events that waited are the
 * parent's. */
#ifndef DGO_BUS_H
#define DGO_BUS_H

#include "dgo_base.h"
#include "dgo_resource.h"

enum {
    DGO_BUS_TOPIC_MAX = 64,
    DGO_BUS_PAYLOAD_MAX = 4096,
    DGO_BUS_STRAND_MAX = 64,     /* of one bus */
    DGO_BUS_SUBSCRIBER_MAX = 32, /* of one strand */
    DGO_BUS_NAME_MAX = 48,
    DGO_BUS_DEPTH_DEFAULT = 1024, /* events waiting for one strand */
    DGO_BUS_DEPTH_MAX = 1 << 16,
};

enum dgo_topic_priority {
    DGO_TOPIC_NORMAL,
    DGO_TOPIC_CRITICAL,  /* overtakes the others */
    DGO_TOPIC_TELEMETRY, /* waits for the others on a busy lane */
};

/* Which resource the handlers of a topic use, where a subscription does not say. */
enum dgo_topic_hint {
    DGO_TOPIC_CPU, /* NORMAL lane */
    DGO_TOPIC_GPU, /* talks to a driver: BLOCKING lane */
    DGO_TOPIC_UI,  /* UI lane */
};

/* What happens to an event for which there is no time or no room. */
enum dgo_topic_drop {
    DGO_TOPIC_NEWEST_WINS, /* the waiting event of the same topic and source is replaced */
    DGO_TOPIC_BATCHED,     /* collected; when full the oldest batched event goes */
    DGO_TOPIC_NEVER,       /* never lost silently: when full, publish answers DGO_EBUSY */
};

/* One row of the application's table; row i must have id i.  Lives as long as the bus. */
struct dgo_topic {
    uint16_t id;
    const char *name;
    enum dgo_topic_priority priority;
    enum dgo_topic_hint hint;
    enum dgo_topic_drop drop;
    uint32_t payload_bytes; /* exactly so many are published; 0: none */
    uint32_t batch_events;  /* BATCHED: handlers start at so many ... */
    uint64_t batch_ns;      /* ... or after this long, whichever is first.  0: at once */
};

struct dgo_event {
    uint16_t topic;
    uint16_t flags;      /* DGO_EVENT_... */
    uint32_t source;     /* the publisher's: a GPU index, a launch number; 0: nothing to tell */
    uint64_t sequence;   /* of the topic: 1, 2, 3 ...; a gap was dropped or replaced */
    uint64_t time_ns;    /* monotonic, when published, to the kernel's tick (1 to 10 ms) */
    const void *payload; /* valid during the call */
};
enum { DGO_EVENT_REPLAYED = 1 };

/* A failure is counted under the subscription's name and changes nothing else. */
typedef enum dgo_status (*dgo_event_fn)(const struct dgo_event *event, void *data);
/* Pure, quick: whether the handler wants this event.  Called where the handler would be. */
typedef bool (*dgo_event_filter)(const struct dgo_event *event, void *data);

struct dgo_bus;

struct dgo_bus_config {
    const struct dgo_clock *clock; /* NULL: the machine's */
    dgo_component_id component;    /* handlers without one are counted here */
    uint64_t slow_ns;              /* a handler's call above it is counted; 0: 5 ms */
};

enum dgo_status dgo_bus_new(const struct dgo_topic *topics, size_t topic_count,
                            const struct dgo_bus_config *config, struct dgo_bus **bus,
                            struct dgo_error *err) DGO_MUST_CHECK;
/* Takes no more events, waits for running handlers, drops what is left.  Not inside a handler.
 * Accepts NULL.  Before dgo_resource_stop, or after it. */
void dgo_bus_free(struct dgo_bus *bus);

/* DGO_OK also when nobody listens (counted as unheard).  DGO_EBUSY: a NEVER topic found no room at
 * one or more strands, the others have it.  DGO_ESTATE: closing.  `payload` has the topic's size.
 */
enum dgo_status dgo_bus_publish(struct dgo_bus *bus, uint16_t topic, uint32_t source,
                                const void *payload);

/* A subscription's name; zero is none. */
struct dgo_subscription {
    uint32_t index, generation;
};
/* A queue with its runner, for handlers that choose to share one (cheaper by far where many
 * listen to the same busy topic).  A slow handler delays those it shares with. */
struct dgo_bus_strand {
    uint32_t index, generation;
};

enum dgo_status dgo_bus_strand_new(struct dgo_bus *bus, const char *name, enum dgo_lane lane,
                                   uint32_t depth, struct dgo_bus_strand *strand,
                                   struct dgo_error *err) DGO_MUST_CHECK;
/* Ends its subscriptions too. */
void dgo_bus_strand_free(struct dgo_bus *bus, struct dgo_bus_strand strand);

#define DGO_TOPIC_BIT(topic) (UINT64_C(1) << (topic))
#define DGO_ALL_TOPICS       UINT64_MAX
#define DGO_ANY_SOURCE       UINT32_MAX

struct dgo_subscriber {
    const char *name; /* copied; shown in figures and complaints */
    uint64_t topics;  /* DGO_TOPIC_BIT ored */
    bool one_source;  /* only events from `source` */
    uint32_t source;
    dgo_event_filter filter; /* NULL: all */
    dgo_event_fn fn;
    void *data;
    uint64_t tag;                 /* the subscriber's own, for dgo_bus_unsubscribe_tag; 0: none */
    enum dgo_lane lane;           /* DGO_LANE_OWN: by the hint of its lowest topic */
    dgo_component_id component;   /* 0: the bus's */
    uint32_t depth;               /* events that may wait; 0: DGO_BUS_DEPTH_DEFAULT */
    struct dgo_bus_strand strand; /* zero: one of its own; else lane and depth are the strand's */
};

enum dgo_status dgo_bus_subscribe(struct dgo_bus *bus, const struct dgo_subscriber *subscriber,
                                  struct dgo_subscription *subscription,
                                  struct dgo_error *err) DGO_MUST_CHECK;
/* A stale one is DGO_ENOTFOUND. */
enum dgo_status dgo_bus_unsubscribe(struct dgo_bus *bus, struct dgo_subscription subscription,
                                    struct dgo_error *err);
uint32_t dgo_bus_unsubscribe_tag(struct dgo_bus *bus, uint64_t tag); /* how many */

/* Waits until no event waits and no handler runs.  On the UI thread UI handlers run
 * meanwhile; elsewhere UI strands are not waited for.  DGO_ETIMEOUT; DGO_ESTATE in a handler. */
enum dgo_status dgo_bus_drain(struct dgo_bus *bus, uint64_t timeout_ns, struct dgo_error *err);

/* ---- log and replay --------------------------------------------------------------------- */

/* Remembers the last `capacity` events of the topics, in the order of publishing.  Once a bus. */
enum dgo_status dgo_bus_log_start(struct dgo_bus *bus, uint64_t topics, uint32_t capacity,
                                  struct dgo_error *err) DGO_MUST_CHECK;
/* Calls fn with each remembered event, oldest first, in the caller; returns how many. */
uint32_t dgo_bus_log_each(struct dgo_bus *bus, dgo_event_fn fn, void *data);
/* Publishes them once more, marked DGO_EVENT_REPLAYED, not logged again; returns how many, without
 * those of a NEVER topic that a full strand refused. */
uint32_t dgo_bus_replay(struct dgo_bus *bus, uint64_t topics);

/* ---- figures ---------------------------------------------------------------------------- */

/* delivered, coalesced, dropped and refused count strands: with two listeners on strands of their
 * own an event counts twice.  queued = accepted by strands - delivered - coalesced - dropped; what
 * still waits in a strand when it ends is dropped. */
struct dgo_topic_stats {
    uint64_t published, unheard, delivered, coalesced, dropped, refused;
};
struct dgo_subscriber_stats {
    char name[DGO_BUS_NAME_MAX];
    enum dgo_lane lane;
    uint64_t tag, delivered, filtered, failed, slow;
    uint64_t time_ns, slowest_ns; /* in the handler; by batches */
    enum dgo_status last_failure; /* DGO_OK: none */
    uint32_t waiting;             /* events in its strand */
};
enum dgo_status dgo_bus_topic_read_stats(struct dgo_bus *bus, uint16_t topic,
                                         struct dgo_topic_stats *stats, struct dgo_error *err);
/* All living subscriptions; returns how many were written. */
uint32_t dgo_bus_subscriber_read_stats(struct dgo_bus *bus, struct dgo_subscriber_stats *stats,
                                       uint32_t max);

#endif
