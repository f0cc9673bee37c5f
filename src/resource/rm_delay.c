/* rm_delay.c - jobs and strands that wait for their time: a small heap, the earliest on top. */
#include "rm.h"

static struct dgo_lock lock;
static struct waiting {
    uint64_t due_ns, ref;
} heap[DGO_DELAYED_MAX];
static uint32_t heap_count;
static bool is_closed; /* stop has emptied it: what came now would wait for ever */
static _Atomic uint64_t next_ns = UINT64_MAX;

static void swap(uint32_t a, uint32_t b)
{
    const uint64_t due_ns = heap[a].due_ns, ref = heap[a].ref;

    heap[a] = heap[b];
    heap[b].due_ns = due_ns;
    heap[b].ref = ref;
}

static void sift_down(uint32_t at)
{
    for (;;) {
        uint32_t least = at;

        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap_count; child++)
            if (heap[child].due_ns < heap[least].due_ns)
                least = child;
        if (least == at)
            return;
        swap(at, least);
        at = least;
    }
}

static void publish_next(void)
{
    atomic_store(&next_ns, heap_count ? heap[0].due_ns : UINT64_MAX);
}

/* The heap's own hold on a job ends; whoever else may hold it decides when its slot is free. */
static void let_go(struct rm_thread *self, uint64_t ref)
{
    const uint32_t index = (uint32_t)ref & RM_INDEX_MASK;
    struct rm_job *job = rm_job_at(index);
    const uint64_t state = atomic_load(&job->state);

    if (rm_generation(state) == rm_generation(ref) && state & RM_LINKED)
        rm_job_release(self, job, index, RM_LINKED);
}

/* Ended before its time, or a strand's kick whose place an earlier one took. */
static bool is_void(uint32_t at)
{
    const uint64_t ref = heap[at].ref;
    uint64_t state;

    if ((uint32_t)ref & RM_TAG_STRAND)
        return !rm_strand_is_due_at((uint32_t)ref & ~RM_TAG_STRAND, heap[at].due_ns);
    state = atomic_load(&rm_job_at((uint32_t)ref & RM_INDEX_MASK)->state);
    return rm_generation(state) != rm_generation(ref) || (state & RM_PHASE) != RM_PENDING;
}

/* With the lock: what need not wait any more makes room. */
static void sweep(void)
{
    struct rm_thread *self = rm_thread();
    uint32_t left = 0;

    for (uint32_t at = 0; at < heap_count; at++) {
        if (!is_void(at))
            heap[left++] = heap[at];
        else if (!((uint32_t)heap[at].ref & RM_TAG_STRAND))
            let_go(self, heap[at].ref);
    }
    heap_count = left;
    for (uint32_t at = left / 2; at-- > 0;)
        sift_down(at);
}

enum rm_push rm_delay_add(uint64_t ref, uint64_t due_ns)
{
    bool is_first;
    uint32_t at;

    if (!rm_keeper_ensure())
        return RM_FULL; /* it would wait for ever */
    dgo_lock(&lock);
    if (!is_closed && heap_count == DGO_DELAYED_MAX)
        sweep();
    if (is_closed || heap_count == DGO_DELAYED_MAX) {
        const enum rm_push refused = is_closed ? RM_CLOSED_LANE : RM_FULL;

        dgo_unlock(&lock);
        return refused;
    }
    at = heap_count++;
    heap[at].due_ns = due_ns;
    heap[at].ref = ref;
    for (; at > 0 && heap[at].due_ns < heap[(at - 1) / 2].due_ns; at = (at - 1) / 2)
        swap(at, (at - 1) / 2);
    is_first = at == 0;
    publish_next();
    dgo_unlock(&lock);
    if (is_first)
        rm_keeper_poke();
    return RM_PUSHED;
}

uint64_t rm_delay_next_ns(void)
{
    return atomic_load(&next_ns);
}

/* `closing`: when nothing is left, nothing may come any more either. */
static bool take_due(uint64_t now_ns, bool closing, struct waiting *out)
{
    bool found;

    dgo_lock(&lock);
    found = heap_count > 0 && heap[0].due_ns <= now_ns;
    if (found) {
        *out = heap[0];
        heap[0] = heap[--heap_count];
        sift_down(0);
        publish_next();
    }
    is_closed |= closing && !found;
    dgo_unlock(&lock);
    return found;
}

/* From "not before its time" to the queue; false when it ended meanwhile. */
static bool make_ready(struct rm_thread *self, struct rm_job *job, uint32_t index,
                       uint32_t generation)
{
    uint64_t seen = atomic_load_explicit(&job->state, memory_order_acquire);

    do {
        if (rm_generation(seen) != generation)
            return false;
        if ((seen & RM_PHASE) != RM_PENDING) {
            if (seen & RM_LINKED)
                rm_job_release(self, job, index, RM_LINKED);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&job->state, &seen,
                                                    (seen & ~(uint64_t)RM_DELAYED) | RM_LINKED,
                                                    memory_order_acq_rel, memory_order_acquire));
    return true;
}

/* Its time will not come: jobs are cancelled; a kick is a promise, so its strand runs now. */
static void cancel(struct rm_thread *self, const struct waiting *waiting)
{
    if ((uint32_t)waiting->ref & RM_TAG_STRAND) {
        rm_strand_due((uint32_t)waiting->ref & ~RM_TAG_STRAND, waiting->due_ns);
        return;
    }
    rm_cancel_ref(self, waiting->ref);
    let_go(self, waiting->ref);
}

static void start(struct rm_thread *self, const struct waiting *waiting)
{
    const uint64_t ref = waiting->ref;
    const uint32_t index = (uint32_t)ref & RM_INDEX_MASK;
    struct rm_job *job = rm_job_at(index);
    const uint32_t tags = (uint32_t)ref & RM_TAG_KEYED ? 0 : RM_TAG_KEPT;
    struct rm_dead dead = {0};
    enum dgo_lane lane;

    if ((uint32_t)ref & RM_TAG_STRAND) {
        rm_strand_due((uint32_t)ref & ~RM_TAG_STRAND, waiting->due_ns);
        return;
    }
    if (!make_ready(self, job, index, rm_generation(ref)))
        return;
    lane = (enum dgo_lane)job->lane;
    /* It was accepted, so it has room; the heap is its bound. */
    if (rm_lane_push(&rm.lane[lane], self, ref | tags, (enum dgo_level)job->level, RM_PLACE_ADD,
                     &dead) != RM_PUSHED)
        cancel(self, waiting);
    rm_end_dead(self, &dead);
    rm_submitted(self, lane);
}

uint32_t rm_delay_run(struct rm_thread *self, uint64_t now_ns)
{
    struct waiting due;
    uint32_t count = 0;

    while (now_ns >= rm_delay_next_ns() && take_due(now_ns, false, &due)) {
        start(self, &due);
        count++;
    }
    return count;
}

void rm_delay_open(void)
{
    dgo_lock(&lock);
    is_closed = false;
    dgo_unlock(&lock);
}

/* Ends all that waits. */
void rm_delay_close(struct rm_thread *self)
{
    struct waiting left;

    while (take_due(UINT64_MAX, true, &left))
        cancel(self, &left);
}

void rm_delay_forget(void)
{
    atomic_store(&lock.word, 0);
    heap_count = 0;
    is_closed = false;
    atomic_store(&next_ns, UINT64_MAX);
}
