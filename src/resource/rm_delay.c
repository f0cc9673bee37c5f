/* rm_delay.c - jobs and strands that wait for their time: a small heap, the earliest on top. */
#include "rm.h"

static struct dgo_lock lock;
static struct {
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

enum rm_push rm_delay_add(uint64_t ref, uint64_t due_ns)
{
    bool is_first;
    uint32_t at;

    if (!rm_keeper_ensure())
        return RM_FULL; /* it would wait for ever */
    dgo_lock(&lock);
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
static bool take_due(uint64_t now_ns, bool closing, uint64_t *ref)
{
    bool found;

    dgo_lock(&lock);
    found = heap_count > 0 && heap[0].due_ns <= now_ns;
    if (found) {
        *ref = heap[0].ref;
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

static void start(struct rm_thread *self, uint64_t ref)
{
    const uint32_t index = (uint32_t)ref & RM_INDEX_MASK;
    struct rm_job *job = rm_job_at(index);
    const uint32_t tags = (uint32_t)ref & RM_TAG_KEYED ? 0 : RM_TAG_KEPT;
    struct rm_dead dead = {0};
    enum dgo_lane lane;

    if ((uint32_t)ref & RM_TAG_STRAND) {
        rm_strand_due((uint32_t)ref & ~RM_TAG_STRAND);
        return;
    }
    if (!make_ready(self, job, index, rm_generation(ref)))
        return;
    lane = (enum dgo_lane)job->lane;
    /* It was accepted, so it has room; the heap is its bound. */
    if (rm_lane_push(&rm.lane[lane], self, ref | tags, (enum dgo_level)job->level, RM_PLACE_ADD,
                     &dead) != RM_PUSHED)
        rm_cancel_ref(self, ref);
    rm_end_dead(self, &dead);
    rm_submitted(self, lane);
}

uint32_t rm_delay_run(struct rm_thread *self, uint64_t now_ns)
{
    uint64_t ref;
    uint32_t count = 0;

    while (now_ns >= rm_delay_next_ns() && take_due(now_ns, false, &ref)) {
        start(self, ref);
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

/* Ends all that waits: jobs are cancelled; a kick is a promise, so its strand runs now. */
void rm_delay_close(struct rm_thread *self)
{
    uint64_t ref;

    while (take_due(UINT64_MAX, true, &ref)) {
        const uint32_t index = (uint32_t)ref & RM_INDEX_MASK;
        struct rm_job *job;
        uint64_t state;

        if ((uint32_t)ref & RM_TAG_STRAND) {
            rm_strand_due((uint32_t)ref & ~RM_TAG_STRAND);
            continue;
        }
        rm_cancel_ref(self, ref);
        job = rm_job_at(index);
        state = atomic_load(&job->state);
        if (rm_generation(state) == rm_generation(ref) && state & RM_LINKED)
            rm_job_release(self, job, index, RM_LINKED);
    }
}

void rm_delay_forget(void)
{
    atomic_store(&lock.word, 0);
    heap_count = 0;
    is_closed = false;
    atomic_store(&next_ns, UINT64_MAX);
}
