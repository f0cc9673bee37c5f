/* bus_fork.c - what a child has of a bus: its subscriptions, whole, and none of the parent's
 * events.
 *
 * Other threads are gone in the middle of what they did: with a strand's lock in hand, half through
 * its events, between two steps of unsubscribing.  Whatever waited is the parent's to deliver. */
#include "bus.h"

#include <pthread.h>

static struct dgo_lock list_lock;
static struct dgo_bus *first_bus;

/* So that the list is whole in the child. */
static void before_fork(void)
{
    dgo_lock(&list_lock);
}

static void after_fork_in_parent(void)
{
    dgo_unlock(&list_lock);
}

/* Who was taken out by another thread has left; this thread's own handler leaves when it returns.
 */
static void forget_subscriber(struct bus_strand *strand, uint32_t number)
{
    struct bus_subscriber *subscriber = &strand->subscriber[number];
    const bool is_called_here = bus_is_here(strand) && atomic_load(&strand->running) == number + 1;
    const bool is_leaving = atomic_load(&subscriber->state) == BUS_DYING;

    atomic_store(&subscriber->is_left, is_leaving && is_called_here);
    if (is_leaving && !is_called_here)
        atomic_store(&subscriber->state, BUS_FREE);
}

/* Anew, for another thread may have been changing them. */
static void sum_topics(struct bus_strand *strand)
{
    const uint64_t bit = UINT64_C(1) << strand->number;

    strand->topics = 0;
    for (uint32_t i = 0; i < DGO_BUS_SUBSCRIBER_MAX; i++)
        if (atomic_load(&strand->subscriber[i].state) == BUS_LIVE)
            strand->topics |= strand->subscriber[i].what.topics;
    for (uint32_t t = 0; t < strand->bus->topic_count; t++)
        if (strand->topics & DGO_TOPIC_BIT(t))
            atomic_fetch_or(&strand->bus->topic[t].strands, bit);
        else
            atomic_fetch_and(&strand->bus->topic[t].strands, ~bit);
    atomic_fetch_add(&strand->version, 1);
}

static void drop_inbox(struct bus_strand *strand)
{
    uint32_t at = (uint32_t)atomic_exchange(&strand->inbox, 0);

    for (uint32_t i = 0; at && i < BUS_RELAY; i++) {
        struct bus_relay *relay = bus_relay_at(strand->bus, at - 1);

        bus_count_dropped(strand, bus_relay_cell(relay));
        at = atomic_load(&relay->next);
    }
}

static void forget_strand(struct bus_strand *strand)
{
    const bool was_locked = atomic_load(&strand->lock.word) != 0;

    atomic_store(&strand->lock.word, 0);
    bus_queue_drop_all(strand, &strand->normal);
    bus_queue_drop_all(strand, &strand->critical);
    drop_inbox(strand);
    strand->is_scheduled = bus_is_here(strand); /* then its run looks again */
    strand->is_timed = false;
    for (uint32_t i = 0; i < DGO_BUS_SUBSCRIBER_MAX; i++)
        forget_subscriber(strand, i);
    if (!bus_is_here(strand)) {
        atomic_store(&strand->run_by, NULL);
        atomic_store(&strand->running, 0);
        strand->closes_after_run = false;
    }
    atomic_store(&strand->runs_now, bus_is_here(strand));
    atomic_store(&strand->waiters, 0);
    atomic_store(&strand->nap, 0);
    strand->waits_for = NULL;
    sum_topics(strand);
    if (!atomic_load(&strand->is_open) || strand->is_shared || bus_is_here(strand) ||
        bus_has_subscribers(strand))
        return;
    if (was_locked) /* its buffers may have been freed already */
        bus_strand_lose_buffers(strand);
    bus_strand_close(strand);
}

static void forget_bus(struct dgo_bus *bus)
{
    uint32_t running = 0;

    if (atomic_exchange(&bus->log_lock.word, 0) != 0)
        bus->log_count = 0; /* its newest cell may be half written */
    atomic_store(&bus->lock.word, 0);
    for (uint32_t i = 0; i < DGO_BUS_STRAND_MAX; i++) {
        struct bus_strand *strand = atomic_load(&bus->strand[i]);

        if (!strand)
            continue;
        forget_strand(strand);
        running += bus_is_here(strand);
    }
    atomic_store(&bus->running, running);
    bus_relay_free_all(bus);
}

/* After the resource manager's own: strands can be freed. */
static void after_fork_in_child(void)
{
    atomic_store(&list_lock.word, 0);
    for (struct dgo_bus *bus = first_bus; bus; bus = bus->next)
        forget_bus(bus);
}

static void watch_fork(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void bus_list_add(struct dgo_bus *bus)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)dgo_on_worker(); /* the manager watches forks from its first call on: before us */
    pthread_once(&once, watch_fork);
    dgo_lock(&list_lock);
    bus->next = first_bus;
    first_bus = bus;
    dgo_unlock(&list_lock);
}

void bus_list_remove(struct dgo_bus *bus)
{
    dgo_lock(&list_lock);
    for (struct dgo_bus **at = &first_bus; *at; at = &(*at)->next)
        if (*at == bus) {
            *at = bus->next;
            break;
        }
    dgo_unlock(&list_lock);
}
