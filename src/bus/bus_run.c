/* bus_run.c - a strand's run: swap, hand chunks to one handler after the other, look again. */
#include "bus.h"

/* With the lock: which subscribers there are, noted again only when that changed. */
static void look_at_subscribers(struct bus_strand *strand)
{
    const uint32_t version = atomic_load_explicit(&strand->version, memory_order_relaxed);

    if (strand->view_version == version)
        return;
    strand->view_version = version;
    strand->view_count = 0;
    for (uint32_t i = 0; i < DGO_BUS_SUBSCRIBER_MAX; i++)
        if (atomic_load(&strand->subscriber[i].state) == BUS_LIVE)
            strand->view[strand->view_count++] = (uint8_t)i;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static bool wants(struct bus_subscriber *subscriber, const struct dgo_event *event, uint64_t order)
{
    const struct dgo_subscriber *what = &subscriber->what;

    if (!(what->topics & DGO_TOPIC_BIT(event->topic)) || order <= subscriber->from_order ||
        (what->one_source && what->source != event->source))
        return false;
    if (what->filter && !what->filter(event, what->data)) {
        add(&subscriber->filtered, 1);
        return false;
    }
    return true;
}

static void note_time(const struct bus_strand *strand, struct bus_subscriber *subscriber,
                      uint64_t took_ns, uint32_t calls)
{
    const uint64_t slow_ns = strand->bus->config.slow_ns;

    if (calls == 0)
        return;
    add(&subscriber->time_ns, took_ns);
    if (took_ns / calls > atomic_load_explicit(&subscriber->slowest_ns, memory_order_relaxed))
        atomic_store_explicit(&subscriber->slowest_ns, took_ns / calls, memory_order_relaxed);
    if (took_ns <= slow_ns)
        return;
    if (calls == 1)
        add(&subscriber->slow, 1);
    subscriber->watch_calls = BUS_WATCH_CALLS; /* which call was it?  Look closer from now on */
}

/* One handler's turn with a chunk.  It may unsubscribe itself or be unsubscribed meanwhile. */
static void call(struct bus_strand *strand, struct bus_subscriber *subscriber,
                 const struct dgo_event *event, const uint64_t *order, uint32_t count)
{
    const struct dgo_bus *bus = strand->bus;
    const bool is_single = count <= BUS_TIMED_SINGLY || subscriber->watch_calls > 0;
    uint64_t begun_ns = bus_now_ns(bus);
    uint32_t calls = 0;

    for (uint32_t i = 0; i < count; i++) {
        enum dgo_status status;

        if (atomic_load_explicit(&subscriber->state, memory_order_relaxed) != BUS_LIVE)
            break;
        if (!wants(subscriber, &event[i], order[i]))
            continue;
        status = subscriber->what.fn(&event[i], subscriber->what.data);
        calls++;
        if (status != DGO_OK) {
            add(&subscriber->failed, 1);
            atomic_store_explicit(&subscriber->last_failure, status, memory_order_relaxed);
        }
        if (is_single) {
            const uint64_t now_ns = bus_now_ns(bus);

            if (subscriber->watch_calls > 0)
                subscriber->watch_calls--;
            note_time(strand, subscriber, now_ns - begun_ns, 1);
            begun_ns = now_ns;
        }
    }
    add(&subscriber->delivered, calls);
    if (!is_single)
        note_time(strand, subscriber, bus_now_ns(bus) - begun_ns, calls);
}

static void wake_waiters(struct bus_strand *strand, _Atomic uint32_t *word)
{
    if (atomic_load(&strand->waiters))
        dgo_wake_up(word, INT32_MAX);
}

/* Announces whose handler is called before it looks whether it may be: dgo_bus_unsubscribe does
 * the two the other way round, so one of them sees the other. */
static void offer(struct bus_strand *strand, uint32_t number, const struct dgo_event *event,
                  const uint64_t *order, uint32_t count)
{
    struct bus_subscriber *subscriber = &strand->subscriber[number];

    atomic_store(&strand->running, number + 1);
    if (atomic_load(&subscriber->state) == BUS_LIVE)
        call(strand, subscriber, event, order, count);
    atomic_store(&strand->running, 0);
    wake_waiters(strand, &strand->running);
    if (!atomic_load(&subscriber->is_left) || !atomic_exchange(&subscriber->is_left, false))
        return;
    atomic_store(&subscriber->state, BUS_FREE);
    if (!strand->is_shared && !bus_has_subscribers(strand))
        strand->closes_after_run = true;
}

static uint32_t open_chunk(struct bus_strand *strand, const struct bus_buffer *buffer,
                           uint32_t from, struct dgo_event event[BUS_CHUNK],
                           uint64_t order[BUS_CHUNK])
{
    uint32_t count = 0;

    for (; count < BUS_CHUNK && from + count < buffer->count; count++) {
        const struct bus_cell *cell = bus_cell_at(strand, buffer, from + count);

        event[count] = (struct dgo_event){
            .topic = cell->topic,
            .flags = cell->flags,
            .source = cell->source,
            .sequence = cell->sequence,
            .time_ns = cell->time_ns,
            .payload = cell->payload,
        };
        order[count] = cell->order;
        add(&strand->counts[cell->topic].delivered, 1);
    }
    return count;
}

static void work_through(struct bus_strand *strand, const struct bus_buffer *buffer);

/* Critical events come first, also in the middle of others. */
static void work_critical(struct bus_strand *strand)
{
    while (atomic_load_explicit(&strand->critical.waiting, memory_order_relaxed) ||
           atomic_load_explicit(&strand->inbox, memory_order_relaxed)) {
        const struct bus_buffer *buffer = NULL;

        dgo_lock(&strand->lock);
        bus_strand_empty_inbox(strand);
        if (atomic_load(&strand->critical.waiting)) {
            look_at_subscribers(strand);
            buffer = bus_queue_swap(&strand->critical);
        }
        dgo_unlock(&strand->lock);
        if (!buffer)
            return;
        work_through(strand, buffer);
    }
}

static void work_through(struct bus_strand *strand, const struct bus_buffer *buffer)
{
    const bool is_normal =
        buffer == &strand->normal.buffer[0] || buffer == &strand->normal.buffer[1];
    struct dgo_event event[BUS_CHUNK];
    uint64_t order[BUS_CHUNK];

    for (uint32_t from = 0; from < buffer->count;) {
        const uint32_t count = open_chunk(strand, buffer, from, event, order);

        for (uint32_t i = 0; i < strand->view_count; i++)
            offer(strand, strand->view[i], event, order, count);
        from += count;
        if (is_normal)
            work_critical(strand);
    }
}

/* With the lock: the next buffer to work through; NULL: nothing waits, and the next event kicks. */
static const struct bus_buffer *next_buffer(struct bus_strand *strand)
{
    struct bus_queue *queue = NULL;

    bus_strand_empty_inbox(strand);
    if (atomic_load(&strand->critical.waiting))
        queue = &strand->critical;
    else if (atomic_load(&strand->normal.waiting))
        queue = &strand->normal;
    if (!queue) {
        strand->is_scheduled = false;
        return NULL;
    }
    look_at_subscribers(strand);
    return bus_queue_swap(queue);
}

/* A runner that is faster than its publisher would fight with it for the same lines, an event or
 * two at a time.  A critical event ends the nap; a UI thread takes none. */
static void nap_if_too_fast(struct bus_strand *strand, uint32_t round, uint32_t count)
{
    if (round == 0 || count >= BUS_FEW || strand->lane == DGO_LANE_UI ||
        strand->lane == DGO_LANE_EXPRESS || !dgo_on_worker())
        return;
    atomic_store(&strand->nap, 1);
    if (atomic_load(&strand->critical.waiting) == 0)
        dgo_sleep_on(&strand->nap, 1, dgo_monotonic_ns() + BUS_NAP_NS);
    atomic_store(&strand->nap, 0);
}

enum dgo_status bus_run(void *data)
{
    struct bus_strand *strand = data;
    const uint64_t until_ns = dgo_monotonic_ns() + BUS_RUN_NS;
    struct bus_strand *const outer = *bus_current();
    struct dgo_bus *const bus = strand->bus;
    const struct bus_buffer *buffer;

    atomic_fetch_add(&bus->running, 1);
    *bus_current() = strand;
    atomic_fetch_add(&strand->runs_now, 1);
    for (uint32_t round = 0;; round++) {
        const bool is_over = round >= BUS_ROUNDS && dgo_monotonic_ns() >= until_ns;

        dgo_lock(&strand->lock);
        strand->is_timed = false;
        buffer = next_buffer(strand);
        strand->is_scheduled = buffer != NULL;
        dgo_unlock(&strand->lock);
        if (!buffer)
            break;
        work_through(strand, buffer);
        nap_if_too_fast(strand, round, buffer->count);
        if (is_over) { /* others have their turn, then it goes on */
            dgo_strand_kick(bus_runner(strand), DGO_LEVEL_MIDDLE);
            break;
        }
    }
    if (strand->closes_after_run)
        bus_strand_close(strand);
    *bus_current() = outer;
    atomic_fetch_sub(&strand->runs_now, 1);
    atomic_fetch_add(&strand->rounds, 1);
    wake_waiters(strand, &strand->rounds);
    atomic_fetch_sub(&bus->running, 1); /* from here on the bus may be gone */
    return DGO_OK;
}
