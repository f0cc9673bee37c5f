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

/* What a swap gave, its size noted: the queue itself is the publishers', line by line. */
struct work {
    struct bus_buffer buffer;
    uint32_t depth;
    bool is_normal;
};

static uint32_t open_chunk(struct bus_strand *strand, const struct work *work, uint32_t from,
                           struct dgo_event event[BUS_CHUNK], uint64_t order[BUS_CHUNK])
{
    const uint32_t left = work->buffer.count - from, count = left < BUS_CHUNK ? left : BUS_CHUNK;
    uint32_t slot = work->buffer.head + from;

    for (uint32_t i = 0; i < count; i++, slot++) {
        const struct bus_cell *cell =
            bus_cell_in_slot(strand, &work->buffer, slot < work->depth ? slot : slot - work->depth);

        event[i] = (struct dgo_event){
            .topic = cell->topic,
            .flags = cell->flags,
            .source = cell->source,
            .sequence = cell->sequence,
            .time_ns = cell->time_ns,
            .payload = cell->payload,
        };
        order[i] = cell->order;
        add(&strand->delivered[cell->topic], 1);
    }
    return count;
}

/* With the lock. */
static void take(struct bus_strand *strand, struct bus_queue *queue, struct work *work)
{
    look_at_subscribers(strand);
    work->buffer = bus_queue_swap(queue);
    work->depth = queue->depth;
    work->is_normal = queue == &strand->normal;
}

static void work_through(struct bus_strand *strand, const struct work *work);

/* Critical events come first, also in the middle of others. */
static void work_critical(struct bus_strand *strand)
{
    while (atomic_load_explicit(&strand->critical.waiting, memory_order_relaxed) ||
           atomic_load_explicit(&strand->inbox, memory_order_relaxed)) {
        struct work work;
        bool is_there;

        dgo_spin_lock(&strand->lock);
        bus_strand_empty_inbox(strand);
        is_there = atomic_load(&strand->critical.waiting) > 0;
        if (is_there)
            take(strand, &strand->critical, &work);
        dgo_spin_unlock(&strand->lock);
        if (!is_there)
            return;
        work_through(strand, &work);
    }
}

static void work_through(struct bus_strand *strand, const struct work *work)
{
    struct dgo_event event[BUS_CHUNK];
    uint64_t order[BUS_CHUNK];

    for (uint32_t from = 0; from < work->buffer.count;) {
        const uint32_t count = open_chunk(strand, work, from, event, order);

        for (uint32_t i = 0; i < strand->view_count; i++)
            offer(strand, strand->view[i], event, order, count);
        from += count;
        if (work->is_normal)
            work_critical(strand);
    }
}

/* With the lock.  False: nothing waits, and the next event kicks. */
static bool take_next(struct bus_strand *strand, struct work *work)
{
    bus_strand_empty_inbox(strand);
    if (atomic_load(&strand->critical.waiting))
        take(strand, &strand->critical, work);
    else if (atomic_load(&strand->normal.waiting))
        take(strand, &strand->normal, work);
    else
        return false;
    return true;
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

    atomic_fetch_add(&bus->running, 1);
    *bus_current() = strand;
    atomic_store(&strand->run_by, bus_current());
    atomic_fetch_add(&strand->runs_now, 1);
    for (uint32_t round = 0;; round++) {
        const bool is_over = round >= BUS_ROUNDS && dgo_monotonic_ns() >= until_ns;
        struct work work;
        bool is_there;

        dgo_spin_lock(&strand->lock);
        strand->is_timed = false;
        is_there = strand->is_scheduled = take_next(strand, &work);
        dgo_spin_unlock(&strand->lock);
        if (!is_there)
            break;
        work_through(strand, &work);
        nap_if_too_fast(strand, round, work.buffer.count);
        if (is_over) { /* others have their turn, then it goes on */
            dgo_strand_kick(bus_runner(strand), DGO_LEVEL_MIDDLE);
            break;
        }
    }
    atomic_store(&strand->run_by, NULL);
    if (strand->closes_after_run)
        bus_strand_close(strand);
    *bus_current() = outer;
    atomic_fetch_sub(&strand->runs_now, 1);
    atomic_fetch_add(&strand->rounds, 1);
    wake_waiters(strand, &strand->rounds);
    atomic_fetch_sub(&bus->running, 1); /* from here on the bus may be gone */
    return DGO_OK;
}
