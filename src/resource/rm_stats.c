/* rm_stats.c - what each thread keeps to itself, and the sums of what all of them counted.
 *
 * A counter is written by one thread only, so counting is an ordinary load and store; reading adds
 * up all sets.  A set outlives its thread and is taken over by the next one. */
#include "rm.h"

#include <stdlib.h>

_Thread_local struct rm_thread rm_me;
struct rm_counter_set rm_shared_counters;
static struct rm_counter_set *_Atomic sets;
static pthread_key_t leave_key;
static pthread_once_t leave_once = PTHREAD_ONCE_INIT;
static bool leave_known;

static void leave(void *data)
{
    struct rm_thread *self = data;

    if (self->epoch == atomic_load(&rm.fork_epoch)) {
        rm_slots_leave(self);
        rm_shard_leave(self);
    }
    if (self->counters)
        atomic_store(&self->counters->owned, false);
    self->counters = NULL;
    self->known = false;
}

static void make_key(void)
{
    leave_known = pthread_key_create(&leave_key, leave) == 0;
    pthread_atfork(NULL, NULL, rm_after_fork); /* strands and groups are there before any start */
}

static struct rm_counter_set *adopt_set(void)
{
    struct rm_counter_set *set = atomic_load(&sets);

    for (; set; set = set->next) {
        bool owned = false;

        if (atomic_compare_exchange_strong(&set->owned, &owned, true))
            return set;
    }
    set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    atomic_store(&set->owned, true);
    set->next = atomic_load(&sets);
    while (!atomic_compare_exchange_weak(&sets, &set->next, set))
        ;
    return set;
}

void rm_get_to_know(struct rm_thread *self)
{
    const uint32_t epoch = atomic_load(&rm.fork_epoch);

    if (self->epoch != epoch)
        self->magazine_count = self->shard = 0; /* of the process before fork */
    self->epoch = epoch;
    self->known = true;
    pthread_once(&leave_once, make_key);
    if (!self->counters)
        self->counters = adopt_set();
    if (leave_known)
        pthread_setspecific(leave_key, self);
}

bool dgo_thread_is_idle_class(void)
{
    return rm_thread()->is_idle_class;
}

bool dgo_on_worker(void)
{
    return rm_thread()->worker != NULL;
}

/* ---- counting ---- */

static struct rm_counters *counters_of(struct rm_thread *self, uint32_t component)
{
    return self->counters ? &self->counters->component[component]
                          : &rm_shared_counters.component[component];
}

uint32_t rm_histogram_slot(uint64_t ns)
{
    const uint32_t slot = ns ? 64 - (uint32_t)__builtin_clzll(ns) : 0;

    return slot < RM_HISTOGRAM ? slot : RM_HISTOGRAM - 1;
}

/* The middle of the slot that holds the quantile: within a third of the truth. */
uint64_t rm_histogram_quantile(const uint64_t bin[RM_HISTOGRAM], uint32_t permille)
{
    uint64_t sum = 0, below = 0;

    for (uint32_t i = 0; i < RM_HISTOGRAM; i++)
        sum += bin[i];
    if (sum == 0)
        return 0;
    for (uint32_t i = 0; i < RM_HISTOGRAM; i++) {
        below += bin[i];
        if (below * 1000 >= sum * permille)
            return i < 2 ? i : (UINT64_C(3) << (i - 1)) / 2;
    }
    return 0;
}

static void add_sample(_Atomic uint32_t *bin)
{
    atomic_fetch_add_explicit(bin, 1, memory_order_relaxed);
}

void rm_count_run(struct rm_thread *self, uint32_t component, uint64_t ns)
{
    struct rm_counters *counters = counters_of(self, component);

    add_sample(&counters->run[rm_histogram_slot(ns)]);
    if (ns > atomic_load_explicit(&counters->n[RM_RUN_MAX], memory_order_relaxed))
        atomic_store_explicit(&counters->n[RM_RUN_MAX], ns, memory_order_relaxed);
}

void rm_count_queue(struct rm_thread *self, uint32_t component, struct rm_lane *lane, uint64_t ns)
{
    const uint32_t slot = rm_histogram_slot(ns);

    add_sample(&counters_of(self, component)->queue[slot]);
    add_sample(&lane->queue_hist[slot]);
}

/* ---- reading ---- */

static uint64_t sum_of(uint32_t component, enum rm_counter counter)
{
    uint64_t sum = atomic_load_explicit(&rm_shared_counters.component[component].n[counter],
                                        memory_order_relaxed);

    for (struct rm_counter_set *set = atomic_load(&sets); set; set = set->next) {
        const uint64_t n =
            atomic_load_explicit(&set->component[component].n[counter], memory_order_relaxed);

        if (counter == RM_RUN_MAX)
            sum = sum > n ? sum : n;
        else
            sum += n;
    }
    return sum;
}

uint64_t rm_count_of(uint32_t component, enum rm_counter counter)
{
    return sum_of(component, counter);
}

static void add_bins(uint64_t bin[RM_HISTOGRAM], _Atomic uint32_t *from)
{
    for (uint32_t i = 0; i < RM_HISTOGRAM; i++)
        bin[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
}

static void read_times(uint32_t component, struct dgo_component_stats *stats)
{
    uint64_t queue[RM_HISTOGRAM] = {0}, run[RM_HISTOGRAM] = {0};

    add_bins(queue, rm_shared_counters.component[component].queue);
    add_bins(run, rm_shared_counters.component[component].run);
    for (struct rm_counter_set *set = atomic_load(&sets); set; set = set->next) {
        add_bins(queue, set->component[component].queue);
        add_bins(run, set->component[component].run);
    }
    stats->queue_p50_ns = rm_histogram_quantile(queue, 500);
    stats->queue_p99_ns = rm_histogram_quantile(queue, 990);
    stats->run_p50_ns = rm_histogram_quantile(run, 500);
    stats->run_p99_ns = rm_histogram_quantile(run, 990);
    stats->run_max_ns = sum_of(component, RM_RUN_MAX);
}

void dgo_component_read_stats(dgo_component_id id, struct dgo_component_stats *stats)
{
    const uint32_t component = id < dgo_component_count() ? id : 0;

    *stats = (struct dgo_component_stats){
        .accepted = sum_of(component, RM_ACCEPTED),
        .done = sum_of(component, RM_DONE),
        .failed = sum_of(component, RM_FAILED),
        .cancelled = sum_of(component, RM_CANCELLED),
        .expired = sum_of(component, RM_EXPIRED),
        .rejected = sum_of(component, RM_REJECTED),
        .ran_inline = sum_of(component, RM_RAN_INLINE),
        .coalesced = sum_of(component, RM_COALESCED),
        .dropped = sum_of(component, RM_DROPPED),
        .ui_waits = sum_of(component, RM_UI_WAITS),
        .over_budget = sum_of(component, RM_OVER_BUDGET),
        .gpu_runs = sum_of(component, RM_GPU_RUNS),
        .gpu_fallbacks = sum_of(component, RM_GPU_FALLBACKS),
    };
    read_times(component, stats);
}

void dgo_lane_read_stats(enum dgo_lane lane_id, struct dgo_lane_stats *stats)
{
    struct rm_lane *lane;
    uint64_t queue[RM_HISTOGRAM] = {0};
    int32_t active;

    *stats = (struct dgo_lane_stats){.policy = "unknown lane"};
    if (lane_id <= DGO_LANE_OWN || lane_id >= DGO_LANE_COUNT)
        return;
    lane = &rm.lane[lane_id];
    active = rm_lane_busy(lane);
    add_bins(queue, lane->queue_hist);
    *stats = (struct dgo_lane_stats){
        .workers = (uint32_t)atomic_load(&lane->threads),
        .allowed = (uint32_t)atomic_load(&lane->allowed),
        .running = active > 0 ? (uint32_t)active : 0,
        .blocked = (uint32_t)atomic_load(&lane->blocked),
        .queued = rm_lane_queued(lane),
        .queued_max = atomic_load(&lane->queued_max),
        .limit = lane->limit,
        .taken = atomic_load(&lane->taken),
        .wakes = atomic_load(&lane->wakes),
        .replacements = atomic_load(&lane->replacements),
        .queue_p99_ns = rm_histogram_quantile(queue, 990),
        .policy = atomic_load(&lane->policy),
    };
    if (!stats->policy)
        stats->policy = lane_id == DGO_LANE_UI ? "the face's thread" : "no thread yet";
}
