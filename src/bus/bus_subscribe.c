/* bus_subscribe.c - subscriptions come and go, also inside handlers. */
#include "bus.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <string.h>

static struct dgo_subscription name_of(const struct bus_strand *strand, uint32_t number)
{
    return (struct dgo_subscription){strand->number * DGO_BUS_SUBSCRIBER_MAX + number,
                                     strand->subscriber[number].generation};
}

/* With both locks: what the strand wants is what its subscribers want. */
static void sum_topics(struct bus_strand *strand)
{
    const uint64_t before = strand->topics, bit = UINT64_C(1) << strand->number;
    uint64_t after = 0;

    for (uint32_t i = 0; i < DGO_BUS_SUBSCRIBER_MAX; i++)
        if (atomic_load(&strand->subscriber[i].state) == BUS_LIVE)
            after |= strand->subscriber[i].what.topics;
    strand->topics = after;
    for (uint32_t t = 0; t < strand->bus->topic_count; t++) {
        if (after & ~before & DGO_TOPIC_BIT(t))
            atomic_fetch_or(&strand->bus->topic[t].strands, bit);
        if (before & ~after & DGO_TOPIC_BIT(t))
            atomic_fetch_and(&strand->bus->topic[t].strands, ~bit);
    }
    atomic_fetch_add(&strand->version, 1);
}

static enum dgo_status check(const struct dgo_bus *bus, const struct dgo_subscriber *what,
                             struct dgo_error *err)
{
    const uint64_t known =
        bus->topic_count == DGO_BUS_TOPIC_MAX ? UINT64_MAX : DGO_TOPIC_BIT(bus->topic_count) - 1;

    if (!what->name || !what->fn)
        return dgo_fail(err, DGO_EINVAL, "a subscription needs a name and a handler");
    if ((what->topics & known) == 0)
        return dgo_fail(err, DGO_EINVAL, "\"%.40s\" subscribes to no topic that exists",
                        what->name);
    if ((unsigned)what->lane >= DGO_LANE_COUNT)
        return dgo_fail(err, DGO_EINVAL, "\"%.40s\": no such lane", what->name);
    return DGO_OK;
}

/* Where handlers run whose subscription does not say. */
static enum dgo_lane lane_by_hint(const struct dgo_bus *bus, uint64_t topics)
{
    static const enum dgo_lane lanes[] = {
        [DGO_TOPIC_CPU] = DGO_LANE_NORMAL,
        [DGO_TOPIC_GPU] = DGO_LANE_BLOCKING,
        [DGO_TOPIC_UI] = DGO_LANE_UI,
    };

    return lanes[bus->topic[__builtin_ctzll(topics)].what.hint];
}

static uint32_t largest_payload(const struct dgo_bus *bus, uint64_t topics)
{
    uint32_t bytes = 0;

    for (uint32_t t = 0; t < bus->topic_count; t++)
        if (topics & DGO_TOPIC_BIT(t) && bus->topic[t].what.payload_bytes > bytes)
            bytes = bus->topic[t].what.payload_bytes;
    return bytes;
}

static struct bus_strand *find_strand(struct dgo_bus *bus, struct dgo_bus_strand name)
{
    struct bus_strand *strand =
        name.index < DGO_BUS_STRAND_MAX ? atomic_load(&bus->strand[name.index]) : NULL;

    return strand && atomic_load(&strand->is_open) && strand->is_shared &&
                   strand->generation == name.generation
               ? strand
               : NULL;
}

/* With the bus's lock. */
static enum dgo_status add(struct bus_strand *strand, const struct dgo_subscriber *what,
                           uint64_t topics, struct dgo_subscription *name, struct dgo_error *err)
{
    for (uint32_t i = 0; i < DGO_BUS_SUBSCRIBER_MAX; i++) {
        struct bus_subscriber *subscriber = &strand->subscriber[i];

        if (atomic_load(&subscriber->state) != BUS_FREE)
            continue;
        dgo_spin_lock(&strand->lock);
        subscriber->generation = subscriber->generation + 1 ? subscriber->generation + 1 : 1;
        subscriber->what = *what;
        subscriber->what.topics = topics;
        dgo_text_copy(subscriber->name, sizeof subscriber->name, what->name);
        subscriber->what.name = subscriber->name;
        bus_strand_empty_inbox(strand);
        subscriber->from_order = strand->order;
        atomic_store(&subscriber->is_left, false);
        subscriber->watch_calls = 0;
        atomic_store(&subscriber->delivered, 0);
        atomic_store(&subscriber->filtered, 0);
        atomic_store(&subscriber->failed, 0);
        atomic_store(&subscriber->slow, 0);
        atomic_store(&subscriber->time_ns, 0);
        atomic_store(&subscriber->slowest_ns, 0);
        atomic_store(&subscriber->last_failure, DGO_OK);
        atomic_store(&subscriber->state, BUS_LIVE);
        sum_topics(strand);
        *name = name_of(strand, i);
        dgo_spin_unlock(&strand->lock);
        return DGO_OK;
    }
    return dgo_fail(err, DGO_ELIMIT, "\"%.40s\": %d handlers share the strand already", what->name,
                    DGO_BUS_SUBSCRIBER_MAX);
}

static enum dgo_status subscribe(struct dgo_bus *bus, const struct dgo_subscriber *what,
                                 uint64_t topics, struct dgo_subscription *name,
                                 struct dgo_error *err)
{
    struct bus_strand *strand;
    enum dgo_status status;

    if (what->strand.generation) {
        strand = find_strand(bus, what->strand);
        if (!strand)
            return dgo_fail(err, DGO_ENOTFOUND, "\"%.40s\": its strand does not exist (any more)",
                            what->name);
        return add(strand, what, topics, name, err);
    }
    status = bus_strand_make(bus, what->name,
                             what->lane == DGO_LANE_OWN ? lane_by_hint(bus, topics) : what->lane,
                             what->component ? what->component : bus->config.component, what->depth,
                             largest_payload(bus, topics), &strand, err);
    if (status != DGO_OK)
        return status;
    strand->is_shared = false;
    return add(strand, what, topics, name, err);
}

enum dgo_status dgo_bus_subscribe(struct dgo_bus *bus, const struct dgo_subscriber *what,
                                  struct dgo_subscription *name, struct dgo_error *err)
{
    enum dgo_status status = check(bus, what, err);

    if (status != DGO_OK)
        return status;
    if (atomic_load(&bus->is_closing))
        return dgo_fail(err, DGO_ESTATE, "the bus is closing");
    dgo_lock(&bus->lock);
    status = subscribe(bus, what,
                       bus->topic_count == DGO_BUS_TOPIC_MAX
                           ? what->topics
                           : what->topics & (DGO_TOPIC_BIT(bus->topic_count) - 1),
                       name, err);
    dgo_unlock(&bus->lock);
    return status;
}

/* Two handlers that take each other out would wait for each other for ever. */
static bool would_wait_in_a_ring(const struct bus_strand *other)
{
    for (uint32_t i = 0; other && i <= DGO_BUS_STRAND_MAX; i++, other = other->waits_for)
        if (bus_is_here(other))
            return true;
    return false;
}

/* With the bus's lock: every strand that this thread is in the middle of waits. */
static void note_wait(struct dgo_bus *bus, struct bus_strand *other)
{
    for (uint32_t s = 0; s < DGO_BUS_STRAND_MAX; s++) {
        struct bus_strand *strand = atomic_load(&bus->strand[s]);

        if (strand && bus_is_here(strand))
            strand->waits_for = other;
    }
}

/* Until the handler has returned, if it is called just now elsewhere. */
static enum dgo_status wait_until_not_running(struct dgo_bus *bus, struct bus_strand *strand,
                                              uint32_t number, struct dgo_error *err)
{
    struct bus_strand *mine = *bus_current();

    if (atomic_load(&strand->running) != number + 1)
        return DGO_OK;
    if (mine && mine->bus == bus) {
        dgo_lock(&bus->lock);
        if (would_wait_in_a_ring(strand)) {
            dgo_unlock(&bus->lock);
            return dgo_fail(err, DGO_EBUSY,
                            "\"%s\" gets no more events, but its handler still runs: it waits "
                            "for this one",
                            strand->subscriber[number].name);
        }
        note_wait(bus, strand);
        dgo_unlock(&bus->lock);
    }
    atomic_fetch_add(&strand->waiters, 1);
    dgo_blocking_begin();
    while (atomic_load(&strand->running) == number + 1)
        dgo_sleep_on(&strand->running, number + 1, UINT64_MAX);
    dgo_blocking_end();
    atomic_fetch_sub(&strand->waiters, 1);
    if (mine && mine->bus == bus) {
        dgo_lock(&bus->lock);
        note_wait(bus, NULL);
        dgo_unlock(&bus->lock);
    }
    return DGO_OK;
}

bool bus_has_subscribers(const struct bus_strand *strand)
{
    for (uint32_t i = 0; i < DGO_BUS_SUBSCRIBER_MAX; i++)
        if (atomic_load(&strand->subscriber[i].state) != BUS_FREE)
            return true;
    return false;
}

/* With the bus's lock: an own strand goes with its subscription; inside its run, after it. */
static void close_if_unused(struct bus_strand *strand)
{
    if (strand->is_shared || !atomic_load(&strand->is_open) || bus_has_subscribers(strand))
        return;
    if (bus_is_here(strand))
        strand->closes_after_run = true;
    else
        bus_strand_close(strand);
}

/* With the bus's lock: from now on it gets no more events.  False: it is not there any more. */
static bool silence(struct bus_strand *strand, uint32_t number)
{
    struct bus_subscriber *subscriber = &strand->subscriber[number];

    if (atomic_load(&subscriber->state) != BUS_LIVE)
        return false;
    dgo_spin_lock(&strand->lock);
    atomic_store(&subscriber->state, BUS_DYING);
    sum_topics(strand);
    dgo_spin_unlock(&strand->lock);
    return true;
}

/* The rest, without the lock: waits for the handler and frees the place; or, where waiting is not
 * possible, leaves that to the runner. */
static enum dgo_status take_out(struct dgo_bus *bus, struct bus_strand *strand, uint32_t number,
                                struct dgo_error *err)
{
    struct bus_subscriber *subscriber = &strand->subscriber[number];
    enum dgo_status status = DGO_OK;
    bool is_mine = true;

    if (!bus_is_here(strand))
        status = wait_until_not_running(bus, strand, number, err);
    dgo_lock(&bus->lock);
    if (atomic_load(&strand->running) == number + 1) {
        atomic_store(&subscriber->is_left, true);
        /* It may have returned just now: whoever takes the flag back frees. */
        is_mine = atomic_load(&strand->running) != number + 1 &&
                  atomic_exchange(&subscriber->is_left, false);
    }
    if (is_mine) {
        atomic_store(&subscriber->state, BUS_FREE);
        close_if_unused(strand);
    }
    dgo_unlock(&bus->lock);
    return status;
}

static struct bus_strand *find_living(struct dgo_bus *bus, struct dgo_subscription name)
{
    const uint32_t number = name.index % DGO_BUS_SUBSCRIBER_MAX;
    const uint32_t index = name.index / DGO_BUS_SUBSCRIBER_MAX;
    struct bus_strand *strand =
        index < DGO_BUS_STRAND_MAX ? atomic_load(&bus->strand[index]) : NULL;

    return strand && name.generation != 0 &&
                   strand->subscriber[number].generation == name.generation
               ? strand
               : NULL;
}

enum dgo_status dgo_bus_unsubscribe(struct dgo_bus *bus, struct dgo_subscription name,
                                    struct dgo_error *err)
{
    const uint32_t number = name.index % DGO_BUS_SUBSCRIBER_MAX;
    struct bus_strand *strand;
    bool is_ours;

    dgo_lock(&bus->lock);
    strand = find_living(bus, name);
    is_ours = strand && silence(strand, number);
    dgo_unlock(&bus->lock);
    if (!is_ours)
        return dgo_fail(err, DGO_ENOTFOUND, "the subscription does not exist (any more)");
    return take_out(bus, strand, number, err);
}

/* Every living subscription that `is_one` picks. */
static uint32_t take_out_all(struct dgo_bus *bus, const struct bus_strand *only, uint64_t tag)
{
    uint32_t count = 0;

    for (uint32_t s = 0; s < DGO_BUS_STRAND_MAX; s++) {
        struct bus_strand *strand = atomic_load(&bus->strand[s]);

        for (uint32_t i = 0; strand && i < DGO_BUS_SUBSCRIBER_MAX; i++) {
            bool is_ours;

            if (only && only != strand)
                continue;
            dgo_lock(&bus->lock);
            is_ours = (tag == 0 || strand->subscriber[i].what.tag == tag) && silence(strand, i);
            dgo_unlock(&bus->lock);
            if (!is_ours)
                continue;
            take_out(bus, strand, i, NULL);
            count++;
        }
    }
    return count;
}

uint32_t dgo_bus_unsubscribe_tag(struct dgo_bus *bus, uint64_t tag)
{
    return tag ? take_out_all(bus, NULL, tag) : 0;
}

void bus_unsubscribe_all(struct dgo_bus *bus)
{
    take_out_all(bus, NULL, 0);
}

/* ---- shared strands ---- */

enum dgo_status dgo_bus_strand_new(struct dgo_bus *bus, const char *name, enum dgo_lane lane,
                                   uint32_t depth, struct dgo_bus_strand *out,
                                   struct dgo_error *err)
{
    struct bus_strand *strand;
    enum dgo_status status;

    if (!name || (unsigned)lane >= DGO_LANE_COUNT)
        return dgo_fail(err, DGO_EINVAL, "a strand needs a name and a lane");
    dgo_lock(&bus->lock);
    status = bus_strand_make(bus, name, lane == DGO_LANE_OWN ? DGO_LANE_NORMAL : lane,
                             bus->config.component, depth, bus->payload_max, &strand, err);
    if (status == DGO_OK) {
        strand->is_shared = true;
        *out = (struct dgo_bus_strand){strand->number, strand->generation};
    }
    dgo_unlock(&bus->lock);
    return status;
}

void dgo_bus_strand_free(struct dgo_bus *bus, struct dgo_bus_strand name)
{
    struct bus_strand *strand;

    dgo_lock(&bus->lock);
    strand = find_strand(bus, name);
    dgo_unlock(&bus->lock);
    if (!strand)
        return;
    take_out_all(bus, strand, 0);
    dgo_lock(&bus->lock);
    if (strand->generation == name.generation) {
        strand->is_shared = false;
        close_if_unused(strand);
    }
    dgo_unlock(&bus->lock);
}
