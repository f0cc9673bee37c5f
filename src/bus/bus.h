/* bus.h - what the files of the bus share: cells, queues, strands, subscriptions.
 *
 * A strand owns two buffers; publishers fill one behind a short lock, its runner swaps them and
 * works through the other without one.  Who cannot have the lock at once (its holder may have been
 * put aside by the scheduler), or belongs to the idle class, leaves the event in the strand's
 * inbox, from where the next holder of the lock takes it.  So publishing waits for nobody.
 *
 * Lock order: bus lock, strand lock.  No handler is called under any lock. */
#ifndef BUS_H
#define BUS_H

#include "dgo_bus.h"
#include "dgo_lock.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <time.h>

enum {
    BUS_CHUNK = 32,     /* events that one handler gets before the next handler's turn */
    BUS_CONFLATE = 256, /* places of the table that finds waiting NEWEST_WINS events */
    BUS_RELAY = 256,    /* events on their way through inboxes */
    BUS_LOCK_TRIES = 100,
    BUS_FETCH_AHEAD = 4, /* events; their lines are fetched before they are written */
    BUS_FETCH_BYTES = 256,
    BUS_FEW = 16,         /* events of a round: fewer, and it fights with its publisher */
    BUS_NAP_NS = 30000,   /* so it lets some gather */
    BUS_ROUNDS = 8,       /* swaps of one run before other jobs have their turn */
    BUS_RUN_NS = 1000000, /* and no longer than this */
    BUS_WATCH_CALLS = 64, /* handlers found slow are timed call by call so long */
    BUS_TIMED_SINGLY = 4, /* so few events of a chunk are timed one by one */
};

/* An event at rest. */
struct bus_cell {
    uint16_t topic, flags;
    uint32_t source;
    uint64_t sequence, time_ns;
    uint64_t order; /* of the strand: newcomers do not get what was there before */
    alignas(8) unsigned char payload[];
};

struct bus_buffer {
    unsigned char *cells;
    uint32_t head, count;
};

/* One of the two priorities of a strand: two buffers, one of which is being filled. */
struct bus_queue {
    struct bus_buffer buffer[2];
    uint32_t depth, fill;
    _Atomic uint32_t waiting; /* in the filled one */
    uint32_t epoch;           /* of the table below: a swap empties it */
    struct {
        uint32_t epoch, slot;
    } conflate[BUS_CONFLATE];
};

enum bus_subscriber_state { BUS_FREE, BUS_LIVE, BUS_DYING };

struct bus_subscriber {
    _Atomic uint32_t state;
    uint32_t generation;  /* with the bus's lock */
    _Atomic bool is_left; /* to the runner, to be freed once its handler has returned */
    char name[DGO_BUS_NAME_MAX];
    struct dgo_subscriber what;
    uint64_t from_order;
    _Atomic uint64_t delivered, filtered, failed, slow, time_ns, slowest_ns;
    _Atomic uint32_t last_failure;
    uint32_t watch_calls; /* the runner's */
};

struct bus_counts {
    _Atomic uint64_t coalesced, dropped, refused;
};

/* What publishers write, what the runner writes and what both only read stand on lines of their
 * own: a line that both touch for each event costs more than the event. */
struct bus_strand {
    /* With the lock; publishers' but for a swap. */
    alignas(64) struct dgo_lock lock;
    bool is_scheduled; /* kicked, or running and going to look again */
    bool is_timed;     /* a batch waits for its time */
    uint64_t topics, order;
    struct bus_queue normal;
    alignas(64) struct bus_queue critical;
    alignas(64) _Atomic uint64_t inbox; /* relay cell + 1, newest first */
    /* Seldom written. */
    alignas(64) struct dgo_bus *bus;
    _Atomic uint64_t runner; /* struct dgo_strand in one word: publishers read it unlocked */
    enum dgo_lane lane;
    uint32_t generation, stride, number;
    _Atomic bool is_open;
    bool is_shared;
    bool closes_after_run;    /* its last subscriber left inside its own handler; the runner's */
    _Atomic uint32_t version; /* of the subscribers */
    _Atomic uint32_t waiters; /* sleeping on `running` or `rounds` */
    struct bus_strand *waits_for; /* its handler waits for that one's; with the bus's lock */
    char name[DGO_BUS_NAME_MAX];
    /* The runner's own. */
    alignas(64) _Atomic uint32_t running; /* futex: subscriber + 1 whose handler is called */
    struct bus_strand **_Atomic run_by;   /* its thread, by what bus_current gives there; or NULL */
    _Atomic uint32_t rounds;              /* futex: counts runs */
    _Atomic uint32_t runs_now;
    _Atomic uint32_t nap; /* futex: 1 while it lets events gather */
    uint32_t view_version, view_count;
    uint8_t view[DGO_BUS_SUBSCRIBER_MAX];
    struct bus_subscriber subscriber[DGO_BUS_SUBSCRIBER_MAX];
    _Atomic uint64_t delivered[DGO_BUS_TOPIC_MAX];
    alignas(64) struct bus_counts counts[DGO_BUS_TOPIC_MAX]; /* publishers' */
};

struct bus_topic {
    alignas(64) struct dgo_topic what;
    _Atomic uint64_t strands; /* a bit each that wants it */
    alignas(64) _Atomic uint64_t published, unheard;
};

struct bus_relay {
    _Atomic uint32_t next; /* of the free ones, or in an inbox: index + 1 */
    uint32_t payload_bytes;
};

struct dgo_bus {
    struct dgo_bus *next; /* of all buses: bus_fork.c */
    uint32_t topic_count, payload_max;
    struct dgo_bus_config config;
    _Atomic bool is_closing;
    _Atomic uint32_t running; /* runs of strands that have not returned */
    struct dgo_lock lock;     /* subscribing and unsubscribing */
    struct bus_topic topic[DGO_BUS_TOPIC_MAX];
    struct bus_strand *_Atomic strand[DGO_BUS_STRAND_MAX]; /* made once, kept until the end */
    unsigned char *relay;                                  /* BUS_RELAY of relay_stride */
    uint32_t relay_stride;
    alignas(64) _Atomic uint64_t relay_free; /* tag << 32 | index + 1 */
    /* The log. */
    struct dgo_lock log_lock;
    _Atomic uint64_t log_topics;
    unsigned char *log_cells;
    uint32_t log_capacity, log_stride;
    uint64_t log_count;
};

/* For timing handlers. */
static inline uint64_t bus_now_ns(const struct dgo_bus *bus)
{
    return bus->config.clock ? dgo_clock_monotonic_ns(bus->config.clock) : dgo_monotonic_ns();
}

/* For stamping events: to the kernel's tick, at a quarter of the price. */
static inline uint64_t bus_tick_ns(const struct dgo_bus *bus)
{
    struct timespec now = {0};

    if (bus->config.clock)
        return dgo_clock_monotonic_ns(bus->config.clock);
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The strand whose handler this thread is in; NULL: none. */
struct bus_strand **bus_current(void);

/* Whether this thread is in the middle of the strand's run: in one of its handlers, or in what that
 * one called (a handler of another strand, where handlers run in who publishes). */
static inline bool bus_is_here(const struct bus_strand *strand)
{
    return atomic_load(&strand->run_by) == bus_current();
}

/* bus_queue.c */
bool bus_queue_put(struct bus_strand *strand, const struct bus_cell *event, uint32_t payload_bytes,
                   const void *payload);
struct bus_cell *bus_cell_in_slot(const struct bus_strand *strand, const struct bus_buffer *buffer,
                                  uint32_t slot);
struct bus_buffer bus_queue_swap(struct bus_queue *queue);
void bus_queue_drop_all(struct bus_strand *strand, struct bus_queue *queue); /* with the lock */
void bus_count_dropped(struct bus_strand *strand, const struct bus_cell *cell);
struct bus_queue *bus_queue_of(struct bus_strand *strand, uint16_t topic);

/* bus_strand.c */
struct dgo_strand bus_runner(struct bus_strand *strand);
enum dgo_status bus_strand_make(struct dgo_bus *bus, const char *name, enum dgo_lane lane,
                                dgo_component_id component, uint32_t depth, uint32_t payload_max,
                                struct bus_strand **strand, struct dgo_error *err);
void bus_strand_close(struct bus_strand *strand);
bool bus_strand_put(struct bus_strand *strand, const struct bus_cell *event, uint32_t payload_bytes,
                    const void *payload);
void bus_strand_empty_inbox(struct bus_strand *strand); /* with the lock */
bool bus_strand_is_quiet(struct bus_strand *strand);
void bus_strand_hurry(struct bus_strand *strand); /* do not wait for a batch to fill */
struct bus_relay *bus_relay_at(const struct dgo_bus *bus, uint32_t index);
struct bus_cell *bus_relay_cell(struct bus_relay *relay);
void bus_relay_free_all(struct dgo_bus *bus);
void bus_strand_lose_buffers(struct bus_strand *strand); /* without freeing them */

/* bus_run.c */
enum dgo_status bus_run(void *strand);

/* bus_subscribe.c */
void bus_unsubscribe_all(struct dgo_bus *bus);
bool bus_has_subscribers(const struct bus_strand *strand);

/* bus_fork.c */
void bus_list_add(struct dgo_bus *bus);
void bus_list_remove(struct dgo_bus *bus);

/* bus_log.c */
void bus_log_add(struct dgo_bus *bus, const struct bus_cell *event, uint32_t payload_bytes,
                 const void *payload);

/* bus.c */
enum dgo_status bus_publish(struct dgo_bus *bus, uint16_t topic, uint32_t source,
                            const void *payload, uint16_t flags);

#endif
